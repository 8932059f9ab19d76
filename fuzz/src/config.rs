//! The configuration file.

use control::config::Config;

/// Checks a file with these bytes; every mistake must have a place in it.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Err(mistakes) = Config::parse(&text) else { return };
    assert!(!mistakes.is_empty(), "refused without a reason");
    let lines = text.lines().count().max(1);
    for mistake in mistakes {
        assert!((1..=lines + 1).contains(&mistake.line), "{mistake} of {lines} lines");
        assert!(!mistake.to_string().is_empty());
    }
}
