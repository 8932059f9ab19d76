//! The kernel's `/proc/net/ip_vs` and `ip_vs_stats` as files of a directory of ours, so that what reads those of the kernel
//! (node_exporter with `--path.procfs`) reads ours.
//!
//! Each file is replaced as a whole: a reader never sees half of one.

use crate::command::Error;
use crate::ipvsadm::{Executor, proc};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files that are written. Connections are not: nobody reads them every few seconds.
const FILES: [&str; 2] = ["ip_vs", "ip_vs_stats"];

/// Why they were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What the director says.
    #[error(transparent)]
    Director(#[from] Error),
    /// What the system says.
    #[error("cannot write {path}: {error}; choose another directory with [metrics] procfs")]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Writes `net/ip_vs` and `net/ip_vs_stats` below `directory`, which is made if need be.
///
/// # Errors
/// [`WriteError`].
pub fn write(directory: &Path, executor: &mut dyn Executor) -> Result<(), WriteError> {
    let net = directory.join("net");
    let system = |path: &Path, error| WriteError::System { path: path.to_owned(), error };
    fs::create_dir_all(&net).map_err(|error| system(&net, error))?;
    for file in FILES {
        let mut text = Vec::new();
        proc::write(file, executor, &mut text)?;
        let (new, path) = (net.join(format!(".{file}.new")), net.join(file));
        fs::write(&new, &text).and_then(|()| fs::rename(&new, &path)).map_err(|error| system(&path, error))?;
    }
    Ok(())
}

/// Removes them: what nobody renews any more would look like a director that stands still.
pub fn remove(directory: &Path) {
    for file in FILES {
        // It may be gone already.
        let _ = fs::remove_file(directory.join("net").join(file));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, Reply, ServiceName, ServiceSpec, ServiceView, Statistics};

    struct One;

    impl Executor for One {
        fn execute(&mut self, command: Command) -> Result<Reply, Error> {
            Ok(match command {
                Command::Statistics => Reply::Statistics(Statistics::default()),
                _ => Reply::Services(vec![ServiceView {
                    spec: ServiceSpec::new(ServiceName::Mark { mark: 1, ipv6: false }),
                    statistics: Statistics::default(),
                    servers: Vec::new(),
                    origin: Default::default(),
                }]),
            })
        }
    }

    #[test]
    fn files_come_whole_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("a/proc");
        for _ in 0..2 {
            write(&root, &mut One).unwrap();
            let text = fs::read_to_string(root.join("net/ip_vs")).unwrap();
            assert!(text.starts_with("IP Virtual Server version") && text.ends_with("FWM  00000001 wlc \n"), "{text}");
            let names = fs::read_dir(root.join("net")).unwrap().map(|file| file.unwrap().file_name());
            let mut names: Vec<_> = names.collect();
            names.sort();
            assert_eq!(names, ["ip_vs", "ip_vs_stats"]);
        }
        remove(&root);
        assert_eq!(fs::read_dir(root.join("net")).unwrap().count(), 0);
        fs::write(directory.path().join("file"), "").unwrap();
        let error = write(&directory.path().join("file"), &mut One).unwrap_err().to_string();
        assert!(error.contains("file/net") && error.contains("[metrics] procfs"), "{error}");
    }
}
