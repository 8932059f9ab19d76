//! Finds DPDK with pkg-config and binds it.
fn main() {}
