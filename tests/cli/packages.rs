//! Debian's packages that tests use unpacked, not installed. Where tests run the network is not: setup fetches them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// These members of a package (all, if none is named), unpacked to a new directory. None, after a word about it, if the
/// package cannot be had.
pub fn unpacked(package: &str, members: &[&str], to: &Path) -> Option<PathBuf> {
    std::fs::create_dir(to).expect("a new directory");
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages");
    let found = std::fs::read_dir(&cached).into_iter().flatten().filter_map(|file| Some(file.ok()?.path()));
    let begin = format!("{package}_");
    let is_it = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begin));
    let Some(file) = found.filter(|file| file.extension().is_some_and(|end| end == "deb")).find(is_it) else {
        eprintln!("SKIPPED: no package of {package} in {}: make setup fetches it", cached.display());
        return None;
    };
    let members = members.join(" ");
    let line = format!("dpkg-deb --fsys-tarfile '{}' | tar -x -C '{}' {members}", file.display(), to.display());
    let unpacked = Command::new("sh").args(["-c", &line]).status();
    assert!(unpacked.is_ok_and(|status| status.success()), "{} cannot be unpacked", file.display());
    Some(to.to_owned())
}
