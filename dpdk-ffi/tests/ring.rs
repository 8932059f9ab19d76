//! Frames, pools, queues, ports and lcores on devices in memory: net_ring (sends to itself) and net_null.

mod common;

use common::{contents, eal, frame, pool, port_named, started};
use dpdk_ffi::{EalHandle, Error, Mempool, Port, PortConfig, PortId, clock};
use packet_io::{BURST, Burst, Frame, FramePool, RxQueue as _, TxQueue as _};

#[test]
fn ring_and_null() {
    let eal = eal("ring", &["--vdev=net_ring0", "--vdev=net_null0"]);
    let mut pool = pool(&eal, "frames", 2048);
    assert_eq!((pool.in_use(), pool.available()), (0, 2047));

    let scenarios: [fn(&EalHandle, &mut Mempool); 7] = [rooms, exhaustion, names, endless_null, lcores, threads, ring];
    for scenario in scenarios {
        scenario(&eal, &mut pool);
        assert_eq!((pool.in_use(), pool.available()), (0, 2047), "every frame was released once");
    }

    let held = frame(&mut pool, b"held");
    drop(pool);
    let error = held_back(eal);
    assert!(error.contains("1 frames were not released"), "{error}");
    assert_eq!(held.bytes(), b"held");
}

/// Cleanup must refuse while a frame is out, and leave it valid.
fn held_back(eal: dpdk_ffi::Eal) -> String {
    eal.cleanup().unwrap_err().to_string()
}

fn rooms(_: &EalHandle, pool: &mut Mempool) {
    let mut frame = pool.allocate().unwrap();
    assert_eq!((frame.bytes().len(), frame.headroom(), frame.tailroom()), (0, 128, 2048));
    assert!(!frame.shrink_front(1) && !frame.grow_front(129) && !frame.grow_back(2049));
    assert!(frame.grow_back(2048) && frame.grow_front(128));
    assert_eq!((frame.bytes().len(), frame.headroom(), frame.tailroom()), (2176, 0, 0));
    assert!(!frame.grow_back(1) && !frame.grow_front(1) && !frame.grow_front(usize::MAX));
    frame.bytes_mut().iter_mut().enumerate().for_each(|(n, byte)| *byte = n as u8);
    assert!(frame.shrink_front(3));
    frame.truncate(4);
    frame.truncate(5);
    assert_eq!(frame.bytes(), [3, 4, 5, 6]);
    assert_eq!(frame.checksums(), packet_io::Checksums::Unknown);
}

fn exhaustion(_: &EalHandle, pool: &mut Mempool) {
    let all: Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
    assert_eq!((all.len(), pool.in_use(), pool.available()), (2047, 2047, 0));
    assert!(pool.allocate().is_none());
}

fn names(eal: &EalHandle, _: &mut Mempool) {
    let again = Mempool::new(eal, "frames", &Default::default()).unwrap_err();
    assert!(again.to_string().contains("the name is in use"), "{again}");
    let nul = Mempool::new(eal, "a\0b", &Default::default()).unwrap_err();
    assert!(nul.to_string().contains("NUL"), "{nul}");
    assert!(matches!(Port::open(eal, PortId(31)), Err(Error::NoSuchPort(31))));
    assert!(matches!(eal.port_info(PortId(31)), Err(Error::NoSuchPort(31))));
    assert!(clock::tsc_hz(eal) > 1_000_000);
    let before = clock::tsc();
    assert!(clock::tsc().wrapping_sub(before) < 1 << 62);
}

fn endless_null(eal: &EalHandle, pool: &mut Mempool) {
    let id = port_named(eal, "net_null0");
    let info = eal.port_info(id).unwrap();
    assert_eq!((info.driver.as_str(), info.interface), ("net_null", None));
    let mut port = Port::open(eal, id).unwrap();
    assert!(matches!(Port::open(eal, id), Err(Error::PortTaken(_))));
    assert!(matches!(port.rx_queue(0), Err(Error::NotStarted(_))));
    let many = PortConfig { rx_queues: info.max_rx_queues + 1, ..PortConfig::default() };
    assert!(matches!(port.configure(&many, pool), Err(Error::NoSuchQueue { .. })));
    port.configure(&PortConfig::default(), pool).unwrap();
    port.start().unwrap();
    assert!(matches!(port.configure(&PortConfig::default(), pool), Err(Error::Started(_))));
    let mut rx = port.rx_queue(0).unwrap();
    let mut tx = port.tx_queue(0).unwrap();
    assert!(matches!(port.rx_queue(0), Err(Error::QueueTaken { direction: "rx", queue: 0, .. })));
    assert!(matches!(port.tx_queue(0), Err(Error::QueueTaken { direction: "tx", queue: 0, .. })));
    assert!(matches!(port.tx_queue(1), Err(Error::NoSuchQueue { direction: "tx", queue: 1, .. })));
    assert!(matches!(port.stop(), Err(Error::QueuesInUse { out: 2, .. })));

    let mut burst = Burst::new();
    assert_eq!(rx.receive(&mut burst), BURST);
    assert_eq!(rx.receive(&mut burst), 0, "a full burst has no room");
    assert_eq!(burst.get(BURST - 1).unwrap().bytes().len(), 64);
    assert_eq!(pool.in_use(), BURST as u32);
    assert_eq!(tx.transmit(&mut burst), BURST);
    assert!(burst.is_empty());
    assert_eq!(pool.in_use(), 0);
    assert_eq!(tx.transmit(&mut burst), 0);

    // A burst that is half full is filled up behind its frames.
    burst.push(frame(pool, b"first")).unwrap();
    assert_eq!(rx.receive(&mut burst), BURST - 1);
    assert_eq!(burst.get(0).unwrap().bytes(), b"first");
    dpdk_ffi::mbuf::release(&mut burst);
    assert!(burst.is_empty());

    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (2 * BURST as u64 - 1, BURST as u64));
    assert!(port.extended_stats().unwrap().contains(&("tx_good_packets".to_owned(), BURST as u64)));
    port.reset_stats().unwrap();
    assert_eq!(port.stats().unwrap().rx_packets, 0);

    // A queue that was given back can be taken again; without queues out, the port stops and takes a new set-up.
    drop(rx);
    let rx = port.rx_queue(0).unwrap();
    drop((rx, tx));
    port.stop().unwrap();
    port.configure(&PortConfig { mtu: Some(1400), ..PortConfig::default() }, pool).unwrap();
    port.start().unwrap();
    let _outlives_its_port = port.rx_queue(0).unwrap();
    drop(port);
    assert!(matches!(Port::open(eal, id), Err(Error::PortTaken(_))), "the queue keeps the port open");
}

fn lcores(eal: &EalHandle, pool: &mut Mempool) {
    let lcores = eal.lcores();
    assert_eq!(lcores.iter().map(|lcore| (lcore.id, lcore.main)).collect::<Vec<_>>(), [(0, true), (1, false)]);
    let mut shared = pool.clone();
    let (go, wait) = std::sync::mpsc::channel();
    let task = eal
        .launch(1, move || {
            let frame = shared.allocate().unwrap();
            wait.recv().unwrap();
            frame
        })
        .unwrap();
    assert!(!task.is_finished());
    let busy = eal.launch(1, || ()).unwrap_err();
    assert!(busy.to_string().contains("busy"), "{busy}");
    go.send(()).unwrap();
    let frame = task.join();
    assert_eq!(pool.in_use(), 1);
    drop(frame);
    assert!(matches!(eal.launch(0, || ()), Err(Error::Lcore { lcore: 0, .. })), "the main lcore is not for launching");
    assert!(matches!(eal.launch(77, || ()), Err(Error::Lcore { .. })));
    // A panic of the work comes out where it is joined, and the lcore works on.
    let task = eal.launch(1, || panic!("expected")).unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.join())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"expected"));
    assert_eq!(eal.launch(1, || 7).unwrap().join(), 7);
}

fn threads(eal: &EalHandle, pool: &mut Mempool) {
    let mut shared = pool.clone();
    let handle = eal.clone();
    let frame = std::thread::spawn(move || {
        handle.unpin();
        let registered = handle.register_thread().unwrap();
        let frames: Vec<_> = (0..100).filter_map(|_| shared.allocate()).collect();
        assert_eq!(frames.len(), 100);
        drop(frames);
        let one = shared.allocate().unwrap();
        drop(registered);
        one
    })
    .join()
    .unwrap();
    assert_eq!(pool.in_use(), 1);
    drop(frame);
}

fn ring(eal: &EalHandle, pool: &mut Mempool) {
    let id = port_named(eal, "net_ring0");
    let (mut port, mut rx, mut tx) = started(eal, id, pool);
    let mut burst = Burst::new();
    for n in 0..10_u8 {
        burst.push(frame(pool, &[n; 60])).unwrap();
    }
    // Frames taken out of the middle leave gaps, which are no frames.
    for gap in [0, 4, 5, 9] {
        drop(burst.take(gap));
    }
    assert_eq!(tx.transmit(&mut burst), 6);
    assert!(burst.is_empty());
    assert_eq!(pool.in_use(), 6);
    assert_eq!(rx.receive(&mut burst), 6);
    assert_eq!(contents(&mut burst), [1, 2, 3, 6, 7, 8].map(|n| vec![n; 60]));

    // Until the ring (1023 places) is full: then the rest stays with the sender, in order.
    let mut sent = 0_u32;
    loop {
        for n in 0..BURST as u32 {
            burst.push(frame(pool, &(sent + n).to_be_bytes())).unwrap();
        }
        let taken = tx.transmit(&mut burst);
        sent += taken as u32;
        if taken < BURST {
            break;
        }
    }
    assert_eq!((sent, burst.len()), (1023, 1));
    assert_eq!(tx.transmit(&mut burst), 0);
    assert_eq!(burst.get(0).unwrap().bytes(), 1023_u32.to_be_bytes());
    assert_eq!(pool.in_use(), 1024);

    let mut received = Burst::new();
    let mut expected = 0_u32;
    while rx.receive(&mut received) > 0 {
        for bytes in contents(&mut received) {
            assert_eq!(bytes, expected.to_be_bytes());
            expected += 1;
        }
    }
    assert_eq!(expected, 1023);
    assert_eq!(tx.transmit(&mut burst), 1);

    let queue = port.rx_queue_info(0).unwrap();
    assert_eq!((queue.descriptors, queue.used), (1024, None), "net_ring does not count what waits");
    assert_eq!(port.tx_queue_info(0).unwrap().descriptors, 1024);
    assert!(matches!(port.rx_queue_info(1), Err(Error::NoSuchQueue { direction: "rx", queue: 1, .. })));
    assert_eq!(port.offloads().unwrap(), (0, 0));
    port.set_link(false).unwrap();
    assert!(!port.link().unwrap().up);
    port.set_link(true).unwrap();
    assert!(port.link().unwrap().up);
    port.set_all_multicast(true).unwrap();
    port.reset_extended_stats().unwrap();

    // What waits in the device when it is closed is the next owner's: take it out.
    assert_eq!(rx.receive(&mut received), 1);
    received.clear();
    drop((rx, tx));
    port.stop().unwrap();
    port.stop().unwrap();
    assert!(matches!(port.rx_queue(0), Err(Error::NotStarted(_))));
    assert_eq!(port.refused(), 0);
}
