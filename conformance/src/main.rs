//! `conformance [DIRECTORY]`: replays the recordings of a directory, or of `tests/corpus` and `tests/recorded`. It fails if
//! anything differs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let own = || ["tests/corpus", "tests/recorded"].map(|directory| root.join(directory)).to_vec();
    let directories = given.map_or_else(own, |directory| vec![directory]);
    let differences = std::fs::read_to_string(root.join("docs/differences.md")).unwrap_or_default();
    let mut failed = 0;
    for directory in directories {
        match conformance::run(&directory, &differences) {
            Ok(report) => {
                print!("{report}");
                failed += report.tally().failed;
            }
            Err(error) => {
                eprintln!("conformance: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
