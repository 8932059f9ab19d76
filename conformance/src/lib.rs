//! Holds RVS against recordings of the kernel's IPVS: the command parser, the director and the data path as they are,
//! with ports in memory, simulated time, and a stand-in for the director's kernel.
//!
//! A directory of recordings has the layout that `tests/corpus/README.md` describes. Each of its groups has a module here
//! that replays its files: [`sched`], [`states`], [`packets`], [`calls`]. They act on a [`rig`]; [`shell`] does commands,
//! [`kernel`] is the stand-in, [`differences`] says what is skipped and why.

pub mod calls;
pub mod compare;
pub mod differences;
pub mod kernel;
pub mod listing;
pub mod packet;
pub mod packets;
pub mod report;
pub mod rig;
pub mod sched;
pub mod shell;
pub mod states;
pub mod subject;

use differences::Differences;
use report::{Case, File, Report};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What replays a file of one group: its cases, from its text.
type Replay = fn(&str, &dyn Fn(&str) -> Option<String>) -> Result<Vec<Case>, String>;

/// The groups that are replayed, by the name of their directory.
const GROUPS: [(&str, Replay); 4] =
    [("ipvsadm", calls::replay), ("packets", packets::replay), ("sched", sched::replay), ("states", states::replay)];

/// Replays every recording of a directory, several at a time. `differences` is the text of `docs/differences.md`.
///
/// # Errors
/// The directory has no recordings, or a file cannot be read.
pub fn run(corpus: &Path, differences: &str) -> Result<Report, String> {
    let differences = Differences::parse(differences);
    let mut work = Vec::new();
    for (group, replay) in GROUPS {
        for file in recordings(&corpus.join(group))? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            work.push((format!("{group}/{name}"), file, replay));
        }
    }
    if work.is_empty() {
        return Err(format!("{}: no recordings in its directories sched, states, packets, ipvsadm", corpus.display()));
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, file, replay)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = self::file(name, file, *replay, &differences);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    let mut files = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Report { files })
}

fn file(name: &str, path: &Path, replay: Replay, differences: &Differences) -> File {
    let cases = match differences.reason(name) {
        Some(reason) => vec![Case::skipped("all of it", reason)],
        None => std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| replay(&text, &|case| differences.reason(&format!("{name}: {case}"))))
            .unwrap_or_else(|error| vec![Case::failed("the file", "a recording", &error)]),
    };
    File { name: name.to_owned(), cases }
}

/// The recordings of a group, in order; a group that is not there has none.
fn recordings(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", directory.display())),
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}
