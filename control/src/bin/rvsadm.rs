//! `rvsadm`, which is `ipvsadm` when called by that name: parses a command line, asks rvsd, prints.

use clap::Parser;
use control::client::{Lost, Remote};
use control::console::complete;
use control::console::live::Live;
use control::console::{Console, Outcome, Place};
use control::convert::Format;
use control::interactive;
use control::ipvsadm::run::Session;
use control::ipvsadm::system::SystemNames;
use control::progress::Told;
use control::socket;
use control::top::screen;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Stderr, Stdout, Write, stderr, stdin, stdout};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The daemon cannot be reached, or was lost. ipvsadm has other numbers for the like: 2 at first, 255 later.
const UNREACHABLE: u8 = 3;
/// The daemon, or a worker, did not answer in time.
const LATE: u8 = 5;

/// Bytes of rules that are read, and so done, together.
const BUFFER: usize = 256 * 1024;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_else(|| "rvsadm".to_owned());
    let mut arguments: Vec<String> = arguments.collect();
    let socket = match take_socket(&mut arguments) {
        Ok(socket) => socket,
        Err(message) => {
            complain(&message);
            return ExitCode::from(2);
        }
    };
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    match name.as_str() {
        "ipvsadm-save" => arguments.insert(0, "--save".to_owned()),
        "ipvsadm-restore" => arguments.splice(0..0, ["--restore".to_owned(), "--atomic".to_owned()]).for_each(drop),
        _ => {}
    }
    let path = socket::path(socket);
    let remote = Remote::new(&path);
    // Before a command of the console it is said as well as behind it.
    if let [json, word, ..] = arguments.as_slice()
        && json == "--json"
        && !name.starts_with("ipvsadm")
        && !word.starts_with('-')
    {
        arguments.rotate_left(1);
    }
    // ipvsadm's command is always an option, and none of these; a word is the console's.
    if !name.starts_with("ipvsadm")
        && arguments.first().is_some_and(|word| !word.starts_with('-') || ["-f", "-e"].contains(&word.as_str()))
    {
        return match arguments[0].as_str() {
            "complete" => complete(&arguments[1..], remote),
            "generate" => generate(&arguments[1..]),
            "convert" => convert(&arguments[1..]),
            "top" => top(&arguments[1..], remote),
            _ => console(arguments, remote, &path),
        };
    }
    let mut remote = remote;
    let mut output = Output::new();
    let mut session = Session {
        program: &program,
        executor: &mut remote,
        names: &SystemNames::new(),
        input: &mut told(BufReader::with_capacity(BUFFER, stdin().lock())),
        output: &mut output,
        errors: &mut stderr().lock(),
    };
    let end = session.run(&arguments);
    let status = match (end.lost, name.starts_with("ipvsadm"), remote.lost()) {
        (true, false, _) if remote.late() => LATE,
        (true, false, _) => UNREACHABLE,
        (true, true, Some(Lost::AtFirst)) => 2,
        (true, true, _) => 255,
        (false, ..) => end.status,
    };
    output.end(status)
}

/// Standard output. Once it fails it takes nothing more.
struct Output {
    buffered: BufWriter<Stdout>,
    failed: Option<io::ErrorKind>,
}

impl Output {
    fn new() -> Self {
        Self { buffered: BufWriter::new(stdout()), failed: None }
    }

    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.failed = Some(self.failed.unwrap_or(error.kind())))
    }

    /// The exit status: this one, unless it was a success of which not all was printed. Who reads no further is no failure
    /// to talk about, but ends others by SIGPIPE; a shell calls that 141.
    fn end(mut self, status: u8) -> ExitCode {
        let _ = self.flush();
        // What is left cannot be written, either, when this goes.
        let _ = self.buffered.into_parts();
        ExitCode::from(match self.failed {
            Some(io::ErrorKind::BrokenPipe) if status == 0 => 141,
            Some(kind) if status == 0 => {
                complain(&format!("cannot print all of it: {kind}"));
                1
            }
            _ => status,
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        let written = self.buffered.write(bytes);
        self.keep(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        let flushed = self.buffered.flush();
        self.keep(flushed)
    }
}

/// Standard error may be closed, too.
fn complain(message: &str) {
    let _ = writeln!(stderr(), "{message}");
}

/// Standard input; if it is a long file, a terminal shows how much of it has been read.
fn told<R: BufRead>(input: R) -> Told<R, Stderr> {
    let about = stdin().as_fd().try_clone_to_owned().and_then(|input| File::from(input).metadata());
    Told::at_terminal(input, about.map_or(0, |about| about.len()))
}

/// The console: a session, a file's lines, or one line.
#[derive(Debug, Parser)]
#[command(
    name = "rvsadm",
    override_usage = "rvsadm [--socket PATH] console [-e] [-f FILE]\n       rvsadm [--socket PATH] COMMAND …",
    after_help = "COMMAND is a line of the console; `rvsadm help` lists them. Options alone are ipvsadm's: `rvsadm -h`."
)]
struct Options {
    /// Do the lines of a file (`-` is standard input)
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Stop at the first line that fails
    #[arg(short = 'e', long)]
    stop_at_error: bool,
    /// `console`, or a line of it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

fn console(mut arguments: Vec<String>, mut remote: Remote, path: &Path) -> ExitCode {
    // Options may stand behind `console`, but what stands behind another word is that command's.
    if arguments[0] == "console" {
        arguments.remove(0);
    }
    let options = if arguments.first().is_none_or(|first| first.starts_with('-')) {
        Options::parse_from(std::iter::once("rvsadm".to_owned()).chain(arguments))
    } else {
        Options { file: None, stop_at_error: false, words: arguments }
    };
    let (mut output, mut errors) = (Output::new(), stderr());
    let names = SystemNames::new();
    let mut console = Console::new(&mut remote, &names, Place::Client, &mut output, &mut errors);
    let outcome = match &options {
        Options { words, .. } if !words.is_empty() => console.answer(words),
        Options { file: Some(file), stop_at_error, .. } if file.as_os_str() != "-" => match File::open(file) {
            Ok(opened) => console.lines(BufReader::new(opened), false, *stop_at_error),
            Err(error) => {
                complain(&format!("{}: {error}", file.display()));
                Outcome::Refused
            }
        },
        Options { file: None, .. } if stdin().is_terminal() => {
            match interactive::session(&mut console, Live(Remote::new(path))) {
                Ok(outcome) => outcome,
                Err(error) => {
                    complain(&format!("the terminal does not work: {error}"));
                    Outcome::Refused
                }
            }
        }
        Options { stop_at_error, .. } => console.lines(stdin().lock(), false, *stop_at_error),
    };
    let status = outcome.status();
    output.end(if status == UNREACHABLE && remote.late() { LATE } else { status })
}

/// For the completions of shells: how the last of these words, perhaps unfinished, can go on.
fn complete(words: &[String], remote: Remote) -> ExitCode {
    let mut text = String::new();
    for candidate in complete::candidates(&words.join(" "), &mut Live(remote)) {
        if let Some(word) = candidate.word {
            text += &format!("{word}\t{}\n", candidate.help);
        }
    }
    print(&text)
}

/// The manual page, and the completions themselves.
fn generate(words: &[String]) -> ExitCode {
    match words {
        [what] if let Some(text) = control::generate::generate(what) => print(&text),
        _ => {
            complain("usage: rvsadm generate man|bash|zsh|fish");
            ExitCode::from(2)
        }
    }
}

/// The picture.
#[derive(Debug, Parser)]
#[command(name = "rvsadm top")]
/// Shows services, servers, workers and drops as they change
struct TopOptions {
    /// Seconds between two pictures
    #[arg(short = 'd', long, default_value_t = 1.0, value_name = "SECONDS")]
    delay: f64,
}

fn top(words: &[String], mut remote: Remote) -> ExitCode {
    let options = TopOptions::parse_from(std::iter::once(&"rvsadm top".to_owned()).chain(words));
    if !stdout().is_terminal() || !stdin().is_terminal() {
        eprintln!("top needs a terminal; without one: rvsadm -L --rate, rvsadm show worker");
        return ExitCode::FAILURE;
    }
    let interval = Duration::try_from_secs_f64(options.delay).unwrap_or(Duration::from_secs(1));
    match screen::run(&mut remote, interval) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if matches!(error, screen::Ended::Lost(_)) { UNREACHABLE } else { 1 })
        }
    }
}

/// Another program's configuration.
#[derive(Debug, Parser)]
#[command(name = "rvsadm convert")]
/// Prints a file for rvsd that says what ipvsadm's rules or a keepalived.conf say
struct ConvertOptions {
    /// What FILE is [default: what it looks like]
    #[arg(long, value_name = "FORMAT", value_parser = ["ipvsadm", "keepalived"])]
    from: Option<String>,
    /// Rules as `ipvsadm -S` writes them, or a keepalived.conf; `-` is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// The exit status of a text that is wrong, as that of `rvsd check`.
const BAD_FILE: u8 = 4;

fn convert(words: &[String]) -> ExitCode {
    let options = ConvertOptions::parse_from(std::iter::once(&"rvsadm convert".to_owned()).chain(words));
    let read = if options.file.as_os_str() == "-" {
        std::io::read_to_string(stdin())
    } else {
        std::fs::read_to_string(&options.file)
    };
    let text = match read {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: {error}", options.file.display());
            return ExitCode::FAILURE;
        }
    };
    let format = match options.from.as_deref() {
        Some("ipvsadm") => Format::Rules,
        Some(_) => Format::Keepalived,
        None => Format::of(&text),
    };
    match control::convert::convert(&text, format, &SystemNames::new()) {
        Ok(converted) => {
            converted.notes.iter().for_each(|note| eprintln!("{note}"));
            print(&converted.file)
        }
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(BAD_FILE)
        }
    }
}

fn print(text: &str) -> ExitCode {
    let mut output = Output::new();
    let _ = output.write_all(text.as_bytes());
    output.end(0)
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
