//! The order of listings.
//!
//! ipvsadm compares addresses by a 32-bit difference that wraps, so its order is not one: 172.1.5.8 comes before 9.1.5.5,
//! which comes before 100.0.2.4, and so on in a circle. What it prints then depends on the sorting algorithm, so that is
//! the C library's too: a stable merge sort, split at half, rounded down.

use crate::command::{ServerView, ServiceName, ServiceView};
use forwarder::service::{Family, Protocol};
use std::net::IpAddr;

/// Sorts services, and the servers of each.
pub fn sort(services: &mut Vec<ServiceView>) {
    for service in services.iter_mut() {
        merge_sort(&mut service.servers, &compare_servers);
    }
    merge_sort(services, &compare_services);
}

/// Sorts as glibc's `qsort` does while memory lasts (2.36): what `compare` calls greater only moves back.
fn merge_sort<T>(items: &mut Vec<T>, compare: &impl Fn(&T, &T) -> i32) {
    if items.len() < 2 {
        return;
    }
    let mut second = items.split_off(items.len() / 2);
    merge_sort(items, compare);
    merge_sort(&mut second, compare);
    let mut first = std::mem::take(items).into_iter().peekable();
    let mut second = second.into_iter().peekable();
    while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
        let next = if compare(a, b) <= 0 { first.next() } else { second.next() };
        items.extend(next);
    }
    items.extend(first);
    items.extend(second);
}

/// Mark, family, protocol, address, port. Of a mark service only the first two are known.
fn compare_services(a: &ServiceView, b: &ServiceView) -> i32 {
    let key = |view: &ServiceView| match view.spec.service {
        ServiceName::Address { protocol, .. } => (0, number(protocol)),
        ServiceName::Mark { mark, .. } => (mark, 0),
    };
    let ((mark_a, protocol_a), (mark_b, protocol_b)) = (key(a), key(b));
    let family = |view: &ServiceView| i32::from(view.spec.service.family() == Family::V6);
    first_difference([wrapping(mark_a, mark_b), family(a) - family(b), protocol_a - protocol_b].into_iter().chain(
        match (a.spec.service, b.spec.service) {
            (
                ServiceName::Address { address: address_a, port: port_a, .. },
                ServiceName::Address { address: address_b, port: port_b, .. },
            ) => [compare_addresses(address_a, address_b), i32::from(port_a) - i32::from(port_b)],
            _ => [0, 0],
        },
    ))
}

/// Family, address, port.
fn compare_servers(a: &ServerView, b: &ServerView) -> i32 {
    let (a, b) = (&a.spec, &b.spec);
    let family = i32::from(a.address.is_ipv6()) - i32::from(b.address.is_ipv6());
    let port = i32::from(a.port) - i32::from(b.port);
    first_difference([family, compare_addresses(a.address, b.address), port].into_iter())
}

/// Of one family; 0 otherwise.
fn compare_addresses(a: IpAddr, b: IpAddr) -> i32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => wrapping(a.to_bits(), b.to_bits()),
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let word = |bits: u128, index: u32| (bits >> (96 - 32 * index)) as u32;
            first_difference((0..4).map(|index| wrapping(word(a.to_bits(), index), word(b.to_bits(), index))))
        }
        _ => 0,
    }
}

fn wrapping(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

fn first_difference(mut differences: impl Iterator<Item = i32>) -> i32 {
    differences.find(|difference| *difference != 0).unwrap_or(0)
}

fn number(protocol: Protocol) -> i32 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_compare_by_a_difference_that_wraps() {
        let compare = |a: &str, b: &str| compare_addresses(a.parse().unwrap(), b.parse().unwrap()).signum();
        assert_eq!(compare("172.1.5.8", "9.1.5.5"), -1);
        assert_eq!(compare("9.1.5.5", "100.0.2.4"), -1);
        assert_eq!(compare("100.0.2.4", "172.1.5.8"), -1);
        assert_eq!(compare("fd01::2", "fd01::2:80"), -1);
        assert_eq!(compare("::1", "fd01::1"), 1, "the first words differ by more than 2^31");
    }

    proptest! {
        /// Where the comparison is an order, the result is the stable sort.
        #[test]
        fn merge_sort_is_a_stable_sort(items in prop::collection::vec((0i32..10, any::<u8>()), 0..60)) {
            let mut sorted = items.clone();
            merge_sort(&mut sorted, &|a, b| a.0 - b.0);
            let mut expected = items;
            expected.sort_by_key(|item| item.0);
            prop_assert_eq!(sorted, expected);
        }

        /// Where it is not, nothing is lost.
        #[test]
        fn nothing_is_lost(items in prop::collection::vec(any::<u32>(), 0..60)) {
            let mut sorted = items.clone();
            merge_sort(&mut sorted, &|a, b| wrapping(*a, *b));
            sorted.sort_unstable();
            let mut expected = items;
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
    }
}
