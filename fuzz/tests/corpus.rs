//! Every input that was ever worth keeping, and random ones, through each target.

use hostile::TARGETS;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("a corpus").map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn everything_kept() {
    for (name, run) in TARGETS {
        let files = corpus(name);
        assert!(!files.is_empty(), "{name} has no corpus");
        for (path, bytes) in files {
            if catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err() {
                panic!("{path} breaks {name}");
            }
        }
    }
}

/// Random bytes, and kept inputs with random bytes in their middle. More of them: `PROPTEST_CASES=100000`.
fn random(target: &str, longest: usize) {
    let run = TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let kept: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
    let some_kept = prop::sample::select(kept);
    let mixed = (some_kept, any::<prop::sample::Index>(), vec(any::<u8>(), 0..16)).prop_map(|(kept, at, new)| {
        let at = at.index(kept.len() + 1);
        [&kept[..at], &new, kept.get(at + new.len() / 2..).unwrap_or(&[])].concat()
    });
    let config = Config { failure_persistence: Some(Box::new(FileFailurePersistence::Off)), ..Config::default() };
    // Words of what was kept, in any order: what text is made of.
    let words: Vec<Vec<u8>> = corpus(target).iter().flat_map(|(_, bytes)| words(bytes)).collect();
    let shuffled = vec(prop::sample::select(words), 0..40).prop_map(|words| words.concat());
    let inputs = prop_oneof![vec(any::<u8>(), 0..longest), mixed, shuffled];
    TestRunner::new(config)
        .run(&inputs, |bytes| {
            run(&bytes);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

/// Runs of letters and digits, and single bytes between them.
fn words(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunk_by(|a, b| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric()).map(<[u8]>::to_vec).collect()
}

#[test]
fn random_frames() {
    random("parse", 200);
}

#[test]
fn random_plays() {
    random("pipeline", 3000);
}

#[test]
fn random_calls() {
    random("ipvsadm", 200);
}

#[test]
fn random_requests() {
    random("request", 300);
}

#[test]
fn random_files() {
    random("config", 300);
}

/// Random plays must reach what they are for: a play that only drops frames at the door would prove nothing.
#[test]
fn plays_reach_everything() {
    use forwarder::pipeline::DropReason;
    let mut state = 1u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut drops = vec![0; DropReason::COUNT];
    let mut others = [0; 8]; // forwarded, to the kernel, answered, from the kernel, made, gave way, not made, handed over
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..3000).map(|_| byte()).collect();
        for stats in hostile::pipeline::play(&bytes) {
            drops.iter_mut().zip(&stats.drops).for_each(|(sum, counter)| *sum += counter.get());
            let counters = [
                &stats.forwarded,
                &stats.to_kernel,
                &stats.answered,
                &stats.from_kernel,
                &stats.created,
                &stats.evicted,
                &stats.insert_failures,
                &stats.handed_in,
            ];
            others.iter_mut().zip(counters).for_each(|(sum, counter)| *sum += counter.get());
        }
    }
    assert!(others.iter().all(|count| *count > 0), "{others:?}");
    // There is always room for an outer header here, and in the rings between workers.
    let never = [DropReason::NoHeadroom, DropReason::HandoverFull];
    for (reason, count) in DropReason::ALL.iter().zip(&drops) {
        assert_eq!(*count > 0, !never.contains(reason), "{}: {count}", reason.name());
    }
}
