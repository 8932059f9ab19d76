//! Receive-side scaling: net_null keeps what it is told, like a NIC.

mod common;

use common::{eal, pool, port_named};
use dpdk_ffi::port::{Port, PortConfig, Rss};

#[test]
fn keys_and_tables_are_taken() {
    let eal = eal("rss", &["--vdev=net_null0"]);
    let pool = pool(&eal, "frames", 2048);
    let mut port = Port::open(&eal, port_named(&eal, "net_null0")).unwrap();
    let info = port.info().unwrap();
    assert!(info.rss_types != 0 && info.rss_table >= 128, "{info:?}");
    let key: Vec<u8> = (1..=40).collect();
    let rss = Rss { key: key.clone(), ..Rss::default() };
    port.configure(&PortConfig { rx_queues: 2, tx_queues: 2, rss: rss.clone(), ..PortConfig::default() }, &pool)
        .unwrap();
    port.start().unwrap();
    // This driver takes no key while it is configured.
    port.set_rss(&rss).unwrap();
    assert_eq!(port.rss_key().unwrap(), key);
    let table: Vec<u16> = (0..info.rss_table).map(|entry| entry % 2).collect();
    port.set_rss_table(&table).unwrap();
    assert!(port.set_rss_table(&table[..64]).is_err(), "a table of another size");
    assert!(port.set_rss_table(&vec![9; table.len()]).is_err(), "a queue that does not exist");
    port.stop().unwrap();
}
