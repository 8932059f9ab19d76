//! The table against a model: a plain list of entries.

use super::change::nearest;
use super::*;
use proptest::prelude::*;

/// An entry that knows its name, and whether and how easily it gives way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    name: u32,
    rank: Option<u8>,
}

type Table = FlowTable<Entry, Vec<Slot<Entry>>>;

fn table(slots: usize) -> Table {
    FlowTable::new(vec![Slot::default(); slots], Tick(0)).unwrap()
}

fn entry(name: u32) -> Entry {
    Entry { name, rank: None }
}

fn insert(table: &mut Table, hash: u64, entry: Entry, expires: Tick) -> Result<Inserted<Entry>, Full> {
    table.insert(hash, entry, expires, |other| other.rank)
}

fn find(table: &Table, hash: u64, name: u32) -> Option<SlotId> {
    table.find(hash, |entry| entry.name == name)
}

/// Moves the hand on until it has caught up; the names of those that expired.
fn catch_up(table: &mut Table, now: Tick) -> Vec<u32> {
    let mut expired = Vec::new();
    let mut decide = |entry: &mut Entry, _| {
        expired.push(entry.name);
        Fate::Expire
    };
    while table.advance(now, 40, &mut decide) > 0 {}
    expired
}

/// Everything that must hold of a table's words, whatever happened to it.
fn check(table: &Table) {
    let mut beyond = vec![0; table.blocks.len()];
    let mut words = vec![0u32; table.slots.len()];
    let mut len = 0;
    for at in 0..table.slots.len() {
        if !table.contains(SlotId(at as u32)) {
            continue;
        }
        len += 1;
        let (hash, expires) = (table.slots[at].hash(), table.slots[at].expires);
        assert!(expires.reached(table.blocks[at / BLOCK].earliest), "slot {at} may expire unseen");
        let window = (0..WINDOWS).find(|&window| {
            let home = table.home(hash, window);
            (home ^ at) < BLOCK - 1 && table.slots[home].entries & 1 << (home ^ at) != 0
        });
        let window = window.expect("no home points to the slot");
        words[table.home(hash, window)] |= 1 << (table.home(hash, window) ^ at);
        for passed in 0..window {
            let home = table.home(hash, passed);
            assert!(table.slots[home].entries & BEYOND != 0, "a search would stop too early");
            beyond[home / BLOCK] += 1;
        }
    }
    assert_eq!(table.len(), len);
    for (at, word) in words.iter().enumerate() {
        assert_eq!(table.slots[at].entries & WINDOW, *word, "word of slot {at}");
        let entries = (0..BLOCK).filter(|position| word & 1 << position != 0);
        for (position, tag) in entries.zip(table.slots[at].tags) {
            assert_eq!(tag, table.slots[at ^ position].tag, "tag of the entry {position} of slot {at}");
        }
    }
    for (block, expected) in beyond.iter().enumerate() {
        assert_eq!(table.beyond[block], *expected, "entries that passed by block {block}");
        if *expected == 0 {
            assert!(table.slots[block * BLOCK..][..BLOCK].iter().all(|slot| slot.entries & BEYOND == 0));
        }
    }
}

#[test]
fn exchanged_entries_are_found_in_the_other_order_and_expire_when_they_should() {
    let mut table = table(64);
    let slots = [10, 20, 30].map(|name| insert(&mut table, 5 << 32, entry(name), Tick(name)).unwrap().slot);
    table.exchange(slots[0], slots[2]);
    check(&table);
    assert_eq!(table.find(5 << 32, |_| true), Some(slots[0]));
    assert_eq!(slots.map(|slot| table.get(slot).name), [30, 20, 10]);
    assert_eq!(slots.map(|slot| table.expires(slot)), [Tick(30), Tick(20), Tick(10)]);
    assert_eq!(catch_up(&mut table, Tick(100)).len(), 3);
    check(&table);
}

#[test]
fn a_slot_with_48_bytes_is_a_cache_line() {
    assert_eq!(size_of::<Slot<[u64; 6]>>(), 64);
    // Ten million connections in less than 1.5 GiB, and no more than 64 bytes an entry beyond the free slots.
    let slots = slots_for(10_000_000);
    assert!(slots * size_of::<Slot<[u64; 6]>>() + slots / BLOCK * size_of::<Block>() < 3 << 29);
    assert!(slots * 6 >= 10_000_000 * 10 - 64 && slots.is_multiple_of(BLOCK));
    assert_eq!((slots_for(0), slots_for(1), slots_for(usize::MAX) % BLOCK), (32, 32, 0));
}

#[test]
fn memory_of_a_wrong_size_is_refused() {
    for slots in [0, 31, 33] {
        let refused = FlowTable::<Entry, _>::new(vec![Slot::default(); slots], Tick(0));
        assert_eq!(refused.unwrap_err(), BadSize(slots));
    }
}

#[test]
fn the_home_comes_first_then_its_neighbour_then_the_next_free_slot_within_reach() {
    for home in BLOCK..2 * BLOCK {
        assert_eq!(nearest(u32::MAX, home), Some(home));
        let without_home = !(1 << (home % BLOCK));
        assert_eq!(nearest(without_home, home), Some(home ^ 1));
        assert_eq!(nearest(1 << ((home ^ 31) % BLOCK), home), None);
        assert_eq!(nearest(0, home), None);
        for bit in 0..BLOCK {
            let expected = (BLOCK + bit != home ^ 31).then_some(BLOCK + bit);
            assert_eq!(nearest(1 << bit, home), expected);
        }
    }
    assert_eq!((nearest(0b1001 << 9, 8), nearest(0b1001, 30)), (Some(9), Some(0)));
}

#[test]
fn one_endpoint_fills_its_windows_and_no_more() {
    // All hashes equal: the worst that a hostile or odd client can do.
    let mut table = table(4096);
    let hash = 0xdead_beef_0bad_cafe;
    let limit = WINDOWS * (BLOCK as u32 - 1);
    for name in 0..limit {
        insert(&mut table, hash, entry(name), Tick(1000)).unwrap();
    }
    assert_eq!(insert(&mut table, hash, entry(limit), Tick(1000)), Err(Full));
    check(&table);
    let looked_at = std::cell::Cell::new(0);
    let missing = table.find(hash, |_| {
        looked_at.set(looked_at.get() + 1);
        false
    });
    assert_eq!((missing, looked_at.get()), (None, limit));
    // Others are found and made as before, also in the same blocks.
    for other in 1..65u32 {
        let other_hash = hash.wrapping_add(u64::from(other) << 57);
        insert(&mut table, other_hash, entry(1000 + other), Tick(1000)).unwrap();
        assert!(find(&table, other_hash, 1000 + other).is_some());
    }
    for name in 0..limit {
        let slot = find(&table, hash, name).unwrap();
        assert_eq!(table.remove(slot), Some(entry(name)));
        assert_eq!(find(&table, hash, name), None);
    }
    check(&table);
    assert_eq!(table.len(), 64);
}

#[test]
fn no_hash_leads_twice_to_the_same_block() {
    let table = table(64 * BLOCK);
    for high in [0, 1, u32::MAX / 3, u32::MAX] {
        for low in [0, 1, 0x4a7, u32::MAX / 4, u32::MAX / 3, u32::MAX / 2, u32::MAX] {
            let hash = u64::from(high) << 32 | u64::from(low);
            let mut blocks: Vec<_> = (0..WINDOWS).map(|window| table.home(hash, window) / BLOCK).collect();
            blocks.sort_unstable();
            blocks.dedup();
            assert_eq!(blocks.len(), WINDOWS as usize, "{hash:x}");
        }
    }
}

#[test]
fn the_lowest_rank_gives_way_and_entries_without_one_never_do() {
    let mut table = table(32);
    let hash = 7;
    let mut names = 0..;
    while table.len() < 32 {
        let name = names.next().unwrap();
        // Every home of this small table reaches all slots but one.
        let _ = insert(&mut table, u64::from(name) << 59 | hash, Entry { name, rank: None }, Tick(100));
    }
    assert_eq!(insert(&mut table, hash, entry(500), Tick(100)), Err(Full));
    for (slot, rank) in [(3, 2), (9, 1), (20, 1)] {
        table.get_mut(SlotId(slot)).rank = Some(rank);
    }
    let home = table.home(hash, 0) as u32;
    let inserted = insert(&mut table, hash, entry(501), Tick(100)).unwrap();
    let nearer = if (home ^ 9) < (home ^ 20) { 9 } else { 20 };
    assert_eq!(inserted.slot, SlotId(nearer));
    assert_eq!(inserted.evicted.unwrap().rank, Some(1));
    check(&table);
    assert_eq!(find(&table, hash, 501), Some(inserted.slot));
}

#[test]
fn never_early_and_late_by_less_than_a_second() {
    for slots in [32, 4096] {
        let mut table = table(slots);
        // Timeouts from none to longer than any wheel's horizon, from a moment shortly before the wrap.
        let start = Tick(u32::MAX - 5000);
        table.hand = expiry::Hand::new(start);
        let timeouts: Vec<u32> = (0..24).map(|n| if n < 20 { n * n * 50 } else { n * 20_000 }).collect();
        for (name, &timeout) in timeouts.iter().enumerate() {
            let hash = (name as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            insert(&mut table, hash, entry(name as u32), start.plus(timeout)).unwrap();
        }
        let mut gone = 0;
        for elapsed in (0..=480_000).step_by(2) {
            for name in catch_up(&mut table, start.plus(elapsed)) {
                let late = elapsed.checked_sub(timeouts[name as usize]).expect("an early expiry");
                assert!(late <= TURN + 2, "{late} ticks late");
                gone += 1;
            }
        }
        assert_eq!((gone, table.len()), (timeouts.len(), 0));
    }
}

#[test]
fn a_touched_entry_lives_on_and_a_rearmed_one_goes_sooner() {
    let mut table = table(64);
    let [touched, rearmed, renewed] =
        [1, 2, 3].map(|name| insert(&mut table, u64::from(name) << 60, entry(name), Tick(1000)).unwrap().slot);
    table.touch(touched, Tick(5000));
    table.rearm(rearmed, Tick(500));
    assert!(catch_up(&mut table, Tick(499)).is_empty());
    assert_eq!(catch_up(&mut table, Tick(600)), [2]);
    let mut asked = 0;
    while table.advance(Tick(1100), 100, |entry, slot| {
        assert_eq!((entry.name, slot), (3, renewed));
        asked += 1;
        Fate::Renew(Tick(7000))
    }) > 0
    {}
    assert_eq!(asked, 1);
    assert_eq!(catch_up(&mut table, Tick(5100)), [1]);
    assert_eq!(catch_up(&mut table, Tick(7100)), [3]);
}

#[test]
fn a_call_passes_no_more_blocks_than_its_budget_and_looks_into_one() {
    let mut table = table(64 * BLOCK);
    for name in 0..1000u32 {
        let hash = u64::from(name).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        insert(&mut table, hash, entry(name), Tick(10)).unwrap();
    }
    let (mut expired, mut calls, mut behind) = (0, 0, 64);
    while behind > 0 {
        let before = (expired, behind);
        behind = table.advance(Tick(100_000), 8, |_, _| {
            expired += 1;
            Fate::Expire
        });
        calls += 1;
        assert!(expired - before.0 <= BLOCK, "{} entries in one call", expired - before.0);
        assert!(behind + 8 >= before.1, "{} blocks in one call", before.1 - behind);
    }
    assert_eq!((expired, table.len()), (1000, 0));
    assert!(calls >= 64);
}

#[test]
fn a_walk_in_chunks_sees_each_entry_once_and_takes_out_what_it_is_told_to() {
    let mut table = table(256);
    for name in 0..100u32 {
        let hash = u64::from(name).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        insert(&mut table, hash, entry(name), Tick(name)).unwrap();
    }
    let mut seen = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        next = table.scan(from, 7, |slot, entry, expires| {
            assert_eq!((table.get(slot), expires), (entry, Tick(entry.name)));
            seen.push(entry.name);
        });
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());

    let mut next = Some(0);
    while let Some(from) = next {
        next = table.retain(from, 9, |_, entry| entry.name % 3 == 0);
    }
    assert_eq!(table.len(), 34);
    check(&table);
    assert_eq!(table.scan(10_000, 5, |_, _, _| ()), None);
}

#[derive(Clone, Debug)]
enum Action {
    Insert { hash: u64, rank: Option<u8>, life: u32 },
    Remove(prop::sample::Index),
    Touch(prop::sample::Index, u32),
    Rearm(prop::sample::Index, u32),
    Pass(u32, usize),
}

/// Hashes of a few kinds: random ones, ones with few different homes, and a single one.
fn hashes() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..4u64, 0..4u64).prop_map(|(high, low)| high << 62 | low << 30),
        Just(0x5555_5555_aaaa_aaaa),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (hashes(), prop_oneof![Just(None), (0..3u8).prop_map(Some)], 0..2000u32)
            .prop_map(|(hash, rank, life)| Action::Insert { hash, rank, life }),
        1 => any::<prop::sample::Index>().prop_map(Action::Remove),
        1 => (any::<prop::sample::Index>(), 0..3000u32).prop_map(|(of, by)| Action::Touch(of, by)),
        1 => (any::<prop::sample::Index>(), 0..3000u32).prop_map(|(of, to)| Action::Rearm(of, to)),
        2 => (0..200u32, 1..60usize).prop_map(|(ticks, budget)| Action::Pass(ticks, budget)),
    ];
    prop::collection::vec(action, 1..600)
}

/// What the model knows of an entry.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u64,
    entry: Entry,
    slot: SlotId,
    expires: Tick,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_does_what_a_list_does(actions in actions(), blocks in 1..7usize, start in any::<u32>()) {
        let mut now = Tick(start);
        let mut table = FlowTable::new(vec![Slot::default(); blocks * BLOCK], now).unwrap();
        let mut model: Vec<Known> = Vec::new();
        for (name, action) in actions.into_iter().enumerate() {
            match action {
                Action::Insert { hash, rank, life } => {
                    let (entry, expires) = (Entry { name: name as u32, rank }, now.plus(life));
                    match insert(&mut table, hash, entry, expires) {
                        Ok(Inserted { slot, evicted }) => {
                            if let Some(evicted) = evicted {
                                prop_assert!(evicted.rank.is_some());
                                let at = model.iter().position(|known| known.entry == evicted).unwrap();
                                prop_assert_eq!(model.swap_remove(at).slot, slot);
                            }
                            prop_assert!(model.iter().all(|known| known.slot != slot));
                            model.push(Known { hash, entry, slot, expires });
                        }
                        // A refusal is rightful only if a whole window is taken by entries that stay.
                        Err(Full) => {
                            let staying = model.iter().filter(|known| known.entry.rank.is_none());
                            prop_assert!(staying.count() >= BLOCK - 1);
                        }
                    }
                }
                Action::Remove(which) if !model.is_empty() => {
                    let known = model.swap_remove(which.index(model.len()));
                    prop_assert_eq!(table.remove(known.slot), Some(known.entry));
                    prop_assert_eq!(table.remove(known.slot), None);
                }
                Action::Touch(which, by) if !model.is_empty() => {
                    let at = which.index(model.len());
                    model[at].expires = model[at].expires.plus(by);
                    table.touch(model[at].slot, model[at].expires);
                }
                Action::Rearm(which, to) if !model.is_empty() => {
                    let at = which.index(model.len());
                    model[at].expires = now.plus(to);
                    table.rearm(model[at].slot, model[at].expires);
                }
                Action::Pass(ticks, budget) => {
                    now = now.plus(ticks);
                    let mut expired = Vec::new();
                    let behind = table.advance(now, budget, |entry, slot| {
                        expired.push((*entry, slot));
                        Fate::Expire
                    });
                    for (entry, slot) in expired {
                        let at = model.iter().position(|known| known.entry == entry).unwrap();
                        let known = model.swap_remove(at);
                        prop_assert!(now.reached(known.expires), "early");
                        prop_assert_eq!(known.slot, slot);
                    }
                    if behind == 0 && ticks > TURN {
                        prop_assert!(model.iter().all(|known| !now.reached(known.expires.plus(TURN + 1))), "late");
                    }
                }
                _ => {}
            }
            check(&table);
        }
        prop_assert_eq!(table.len(), model.len());
        for known in &model {
            prop_assert_eq!(table.find(known.hash, |entry| *entry == known.entry), Some(known.slot));
            prop_assert_eq!(table.expires(known.slot), known.expires);
        }
    }
}
