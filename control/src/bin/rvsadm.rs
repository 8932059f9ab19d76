//! `rvsadm`, which is `ipvsadm` when called by that name: parses a command line, asks rvsd, prints.

use control::client::{Lost, Remote};
use control::console::{self, Outcome};
use control::ipvsadm::run::Session;
use control::ipvsadm::system::SystemNames;
use control::socket;
use std::io::{BufReader, BufWriter, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// The daemon cannot be reached, or was lost. ipvsadm has other numbers for the like: 2 at first, 255 later.
const UNREACHABLE: u8 = 3;

/// Bytes of rules that are read, and so done, together.
const BUFFER: usize = 256 * 1024;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_else(|| "rvsadm".to_owned());
    let mut arguments: Vec<String> = arguments.collect();
    let socket = match take_socket(&mut arguments) {
        Ok(socket) => socket,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    match name.as_str() {
        "ipvsadm-save" => arguments.insert(0, "--save".to_owned()),
        "ipvsadm-restore" => arguments.splice(0..0, ["--restore".to_owned(), "--atomic".to_owned()]).for_each(drop),
        _ => {}
    }
    let mut remote = Remote::new(&socket::path(socket));
    // ipvsadm's command is always an option; a word is the console's.
    if !name.starts_with("ipvsadm") && arguments.first().is_some_and(|word| !word.starts_with('-')) {
        return console(&arguments, &mut remote);
    }
    let mut output = BufWriter::new(stdout().lock());
    let mut session = Session {
        program: &program,
        executor: &mut remote,
        names: &SystemNames::new(),
        input: &mut BufReader::with_capacity(BUFFER, stdin().lock()),
        output: &mut output,
        errors: &mut stderr().lock(),
    };
    let end = session.run(&arguments);
    let printed = output.flush();
    let status = match (end.lost, name.starts_with("ipvsadm"), remote.lost()) {
        (true, false, _) => UNREACHABLE,
        (true, true, Some(Lost::AtFirst)) => 2,
        (true, true, _) => 255,
        (false, ..) if end.status == 0 && printed.is_err() => 1,
        (false, ..) => end.status,
    };
    ExitCode::from(status)
}

/// One line of the console.
fn console(words: &[String], remote: &mut Remote) -> ExitCode {
    let said = console::answer(words, remote, &SystemNames::new());
    let (status, printed) = match said.outcome {
        Outcome::Done | Outcome::Goodbye => (0, stdout().write_all(said.text.as_bytes())),
        Outcome::Refused => (1, stderr().write_all(said.text.as_bytes())),
        Outcome::Usage => (2, stderr().write_all(said.text.as_bytes())),
        Outcome::Unreachable => (UNREACHABLE, stderr().write_all(said.text.as_bytes())),
    };
    ExitCode::from(if status == 0 && printed.is_err() { 1 } else { status })
}

/// Takes `--socket PATH` off the front: ipvsadm's own command comes first, so ours comes before it.
fn take_socket(arguments: &mut Vec<String>) -> Result<Option<PathBuf>, String> {
    let Some(first) = arguments.first() else { return Ok(None) };
    if let Some(path) = first.strip_prefix("--socket=") {
        let path = PathBuf::from(path);
        arguments.remove(0);
        return Ok(Some(path));
    }
    if first != "--socket" {
        return Ok(None);
    }
    if arguments.len() < 2 {
        return Err("--socket: missing argument".to_owned());
    }
    Ok(arguments.drain(..2).nth(1).map(PathBuf::from))
}
