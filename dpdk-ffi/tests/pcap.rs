//! net_pcap: frames from a file and into one, and frames too long for one buffer.

mod common;

use common::{eal, pool, port_named, started};
use packet_io::{Burst, Frame, RxQueue as _, TxQueue as _};
use std::path::{Path, PathBuf};

/// A pcap file of Ethernet frames (little endian, microseconds).
fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    let mut file = Vec::new();
    for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(word.to_le_bytes());
    }
    for frame in frames {
        let len = frame.len() as u32;
        for word in [0, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    std::fs::write(path, file).unwrap();
}

fn read_pcap(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::read(path).unwrap();
    let mut rest = &file[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    frames
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.pcap", std::process::id()))
}

#[test]
fn frames_go_from_file_to_file_and_long_ones_are_refused() {
    let (input, output) = (file("in"), file("out"));
    // 300 bytes of data room (and 128 of headroom, which the driver leaves free). Every third frame is longer.
    let frames: Vec<Vec<u8>> =
        (0..100_u8).map(|n| vec![n; if n % 3 == 1 { 900 } else { 60 + usize::from(n) }]).collect();
    let short: Vec<_> = frames.iter().filter(|frame| frame.len() <= 300).cloned().collect();
    write_pcap(&input, &frames);

    let device = format!("--vdev=net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let eal = eal("pcap", &[&device]);
    let pool = pool(&eal, "frames", 300);
    let (mut port, mut rx, mut tx) = started(&eal, port_named(&eal, "net_pcap0"), &pool);
    let mut burst = Burst::new();
    let mut received = Vec::new();
    // A burst may be left empty because all of it was refused: the file's end is what the port has counted.
    while port.stats().unwrap().rx_packets < 100 {
        let n = rx.receive(&mut burst);
        assert_eq!(burst.len(), n);
        assert_eq!(pool.in_use(), n as u32, "refused frames were released, all their segments");
        received.extend((0..n).map(|slot| burst.get(slot).unwrap().bytes().to_vec()));
        assert_eq!(tx.transmit(&mut burst), n);
    }
    assert_eq!(received, short);
    assert_eq!(port.refused() as usize, frames.len() - short.len());
    assert_eq!(pool.in_use(), 0);
    drop((rx, tx));
    port.stop().unwrap();
    drop((port, pool));
    eal.cleanup().unwrap();
    assert_eq!(read_pcap(&output), short);
    let _ = (std::fs::remove_file(input), std::fs::remove_file(output));
}
