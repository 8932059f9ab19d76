//! Random command lines, said to rvsadm's parser and to the real ipvsadm 1.31 (Debian's, unpacked and not installed): both
//! must complain in the same words with the same exit status, or ask the kernel for the same.

#[path = "real_ipvsadm/asked.rs"]
mod asked;
#[path = "real_ipvsadm/lines.rs"]
mod lines;

use asked::{Asked, asked};
use control::command::{Command, Error, Reply, Timeouts};
use control::ipvsadm::Executor;
use control::ipvsadm::names::Table;
use control::ipvsadm::run::Session;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

/// `RVS_IPVSADM_LINES` says another number of random lines, and `RVS_IPVSADM_SEED` another start.
const LINES: u64 = 3_000;

/// What a call does.
#[derive(Debug, PartialEq)]
struct Done {
    status: i32,
    output: String,
    errors: String,
    asked: Vec<Asked>,
}

/// A kernel that has nothing and does everything.
#[derive(Default)]
struct Kernel(Vec<Asked>);

impl Executor for Kernel {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.extend(asked(&command));
        Ok(match command {
            Command::Services { .. } => Reply::Services(Vec::new()),
            Command::Timeouts => Reply::Timeouts(Timeouts { tcp: 0, tcp_fin: 0, udp: 0 }),
            Command::Daemons => Reply::Daemons(Vec::new()),
            // What ipvsadm says where the kernel has no such file.
            Command::Connections { .. } => {
                return Err(Error::Refused { why: "cannot open file /proc/net/ip_vs_conn".to_owned() });
            }
            _ => Reply::Done,
        })
    }
}

fn ours(names: &Table, words: &[String]) -> Done {
    let (mut output, mut errors, mut kernel) = (Vec::new(), Vec::new(), Kernel::default());
    let mut session = Session {
        program: "ipvsadm",
        executor: &mut kernel,
        names,
        input: &mut std::io::empty(),
        output: &mut output,
        errors: &mut errors,
    };
    let status = session.run(words).status.into();
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Done { status, output: text(output), errors: text(errors), asked: kernel.0 }
}

/// The real program, in a directory where libnl is what stands in for the kernel.
struct Real {
    directory: tempfile::TempDir,
}

impl Real {
    /// None, after a word about it, if something that it needs is not there.
    fn new() -> Option<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = tempfile::tempdir().expect("a place for files");
        let packages = here.join("../target/packages");
        let files = std::fs::read_dir(&packages).into_iter().flatten().filter_map(|file| Some(file.ok()?.path()));
        let is_it = |file: &PathBuf| {
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ipvsadm_1%3a1.31"))
        };
        let Some(package) = files.filter(|file| file.extension().is_some_and(|end| end == "deb")).find(is_it) else {
            eprintln!("SKIPPED: no package of ipvsadm 1.31 in {}: make setup fetches it", packages.display());
            return None;
        };
        let unpacked = Process::new("dpkg-deb").arg("-x").arg(package).arg(directory.path()).status();
        assert!(unpacked.is_ok_and(|status| status.success()), "the package cannot be unpacked");
        let library = directory.path().join("libnl-3.so.200");
        let mut compiler = Process::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(here.join("tests/real_ipvsadm/kernel.c"));
        assert!(compiler.status().is_ok_and(|status| status.success()), "kernel.c cannot be compiled");
        std::fs::copy(&library, directory.path().join("libnl-genl-3.so.200")).expect("a new file");
        let real = Self { directory };
        let version = real.run(&["--version".to_owned()]);
        if !version.output.starts_with("ipvsadm v1.31 ") {
            eprintln!("SKIPPED: the real ipvsadm does not run here (libpopt0?): {version:?}");
            return None;
        }
        Some(real)
    }

    fn run(&self, words: &[String]) -> Done {
        let asked = self.directory.path().join("asked");
        let _ = std::fs::remove_file(&asked);
        let mut program = Process::new(self.directory.path().join("sbin/ipvsadm"));
        // Named as it is called, and by the shortest name.
        std::os::unix::process::CommandExt::arg0(&mut program, "ipvsadm");
        program.args(words).env("LD_LIBRARY_PATH", self.directory.path()).env("ASKED", &asked);
        let output = program.stdin(std::process::Stdio::null()).output().expect("it was unpacked");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let asked = std::fs::read_to_string(asked).unwrap_or_default();
        Done {
            status: output.status.code().unwrap_or(-1),
            output: text(&output.stdout),
            errors: text(&output.stderr),
            asked: asked.lines().filter_map(Asked::read).collect(),
        }
    }
}

#[test]
fn random_lines_mean_the_same() {
    let Some(real) = Real::new() else { return };
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let names = Table::parse("127.0.0.1 localhost\n", &services);
    let number = |name| std::env::var(name).ok().and_then(|said: String| said.parse::<u64>().ok());
    let (count, seed) = (number("RVS_IPVSADM_LINES").unwrap_or(LINES), number("RVS_IPVSADM_SEED").unwrap_or(1));
    let (mut done, mut refused, mut different) = (0, 0, String::new());
    for number in 0..count {
        let words = lines::line(seed << 32 | number);
        let (mut ours, mut real) = (ours(&names, &words), real.run(&words));
        // Help and version name RVS; a service that the kernel has not is printed as rubbish; the rest is a crash.
        if real.status < 0
            || [real.output.as_str(), &ours.output]
                .iter()
                .any(|text| text.contains(" v1.") || text.contains("\n?    ["))
        {
            continue;
        }
        if ours.status == 0 {
            done += 1
        } else {
            refused += 1
        }
        for Done { output, .. } in [&mut ours, &mut real] {
            output.truncate(output.trim_end_matches('\n').len());
        }
        if ours != real {
            different += &format!("ipvsadm {}\nours {ours:?}\nreal {real:?}\n\n", words.join(" "));
        }
    }
    println!("{done} lines were done, {refused} refused");
    assert!(different.is_empty(), "{different}");
    assert!(done > count / 10 && refused > count / 10, "{done} lines were done, {refused} refused");
}
