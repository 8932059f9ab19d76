//! `conformance [DIRECTORY]`: replays the recordings of a directory, or of `tests/corpus`. It fails if anything differs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let corpus = std::env::args_os().nth(1).map_or_else(|| root.join("tests/corpus"), PathBuf::from);
    let differences = std::fs::read_to_string(root.join("docs/differences.md")).unwrap_or_default();
    match conformance::run(&corpus, &differences) {
        Ok(report) => {
            print!("{report}");
            if report.tally().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}
