//! Tables on whatever memory the machine has. Needs no EAL.

use dpdk_ffi::memory::{Pages, TableMemory};
use packet_io::TableMemory as _;

#[test]
fn a_table_is_filled_and_its_own() {
    let mut table = TableMemory::new(100_000, [7_u64; 8], Some(0)).unwrap();
    assert_eq!(table.len(), 100_000);
    assert!(table.iter().all(|element| *element == [7; 8]));
    table[99_999][7] = 1;
    let other = TableMemory::new(100_000, [7_u64; 8], None).unwrap();
    assert_eq!((table[99_999][7], other[99_999][7]), (1, 7));
    assert_eq!(table.as_ptr() as usize % 64, 0, "elements of a cache line lie on cache lines");
    // A hint about what is not there is harmless.
    for index in [0, 99_999, 100_000, usize::MAX] {
        table.prefetch(index);
    }
}

#[test]
fn tables_of_every_size_start_on_a_huge_page_and_can_be_written_to_the_end() {
    for len in [1, 511, 512, 513, 262_143, 262_144, 262_145] {
        let mut table = TableMemory::new(len, 0_u64, None).unwrap();
        assert_eq!(table.as_ptr() as usize % (2 << 20), 0);
        *table.last_mut().unwrap() = 5;
        assert_eq!(table.iter().sum::<u64>(), 5);
    }
    assert!(TableMemory::new(0, 0_u64, None).unwrap().is_empty());
}

#[test]
fn without_huge_pages_ordinary_memory_serves() {
    let free = std::fs::read_to_string("/proc/meminfo").unwrap();
    let has_huge = free.lines().any(|line| line.starts_with("HugePages_Total:") && !line.ends_with(" 0"));
    let kind = TableMemory::new(1000, 0_u64, None).unwrap().kind();
    // Huge pages may be there and in use: then ordinary memory serves, too.
    assert!(has_huge || matches!(kind, Pages::Transparent | Pages::Ordinary), "{kind}");
}

#[test]
fn what_cannot_be_had_is_an_error() {
    for len in [1 << 45, usize::MAX / 8, usize::MAX] {
        let error = TableMemory::new(len, 0_u64, None).unwrap_err();
        assert!(error.to_string().contains("bytes of table memory"), "{error}");
    }
}
