//! The manual page and the completions: the written ones are those that the tables make, and shells can use them.

use control::generate::{FILES, generate};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn what_is_written_is_current() {
    for (what, path) in FILES {
        let written = std::fs::read_to_string(file(path)).unwrap_or_default();
        assert!(written == generate(what).unwrap(), "{path} is not what the tables say: run make docs");
    }
}

/// Runs a program with the built rvsadm in its path, and no director. None, after a word about it, if there is no such program.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let rvsadm = Path::new(env!("CARGO_BIN_EXE_rvsadm")).parent().unwrap();
    let path = format!("{}:{}", rvsadm.display(), std::env::var("PATH").unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path).env("RVS_SOCKET", home.path().join("none")).env("HOME", home.path());
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {program}: {error}; make setup installs it");
            None
        }
    }
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_manual_page_has_no_mistakes() {
    let page = file("docs/rvsadm.8");
    let Some(output) = run("groff", &["-man", "-ww", "-Tascii", "-P-cbu", page.to_str().unwrap()]) else { return };
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["--sched-flags", "lblcr", "show worker", "EXIT STATUS", "--atomic"] {
        assert!(page.contains(word), "{word}");
    }
}

/// A line up to the cursor, what must be offered, and what must not. The program called is the first word.
const LINES: [(&str, &[&str], &[&str]); 12] = [
    ("rvsadm -A -t 10.0.0.1:80 --sch", &["--scheduler", "--sched-flags"], &["--weight"]),
    ("ipvsadm -At 10.0.0.1:80 -s lb", &["lblc", "lblcr"], &["rr"]),
    ("ipvsadm --add-server -t 10.0.0.1:80 --tun-type g", &["gue", "gre"], &["ipip"]),
    ("rvsadm -L --js", &["--json"], &[]),
    ("rvsadm -L -n --", &["--rate", "--thresholds"], &["--atomic", "--weight"]),
    ("ipvsadm -", &["--add-service", "--restore", "-A"], &["--weight", "show"]),
    ("ipvsadm --start-daemon m", &["master"], &["backup"]),
    ("rvsadm -R --", &["--atomic"], &["--full"]),
    ("rvsadm sh", &["show"], &["service"]),
    ("rvsadm show s", &["service", "stats"], &["worker"]),
    ("rvsadm service add tcp 10.0.0.1:80 scheduler w", &["wrr", "wlc"], &["rr"]),
    ("ipvsadm -C -", &[], &["-t", "--weight"]),
];

fn check(shell: &str, completes: impl Fn(&str) -> Option<Vec<String>>) {
    for (line, offered, not_offered) in LINES {
        let Some(got) = completes(line) else { return };
        let has = |word: &&&str| got.iter().any(|candidate| candidate.split('\t').next() == Some(**word));
        assert!(offered.iter().all(|word| has(&word)), "{shell}: {line}: {got:?}");
        assert!(!not_offered.iter().any(|word| has(&word)), "{shell}: {line}: {got:?}");
    }
}

#[test]
fn bash_completes() {
    check("bash", |line| {
        let script = format!(
            "source '{}'; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _rvsadm; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file("contrib/completions/rvsadm.bash").display()
        );
        run("bash", &["-c", &script]).map(|output| lines(&output))
    });
}

#[test]
fn fish_completes() {
    check("fish", |line| {
        let script = format!("source '{}'; complete -C '{line}'", file("contrib/completions/rvsadm.fish").display());
        run("fish", &["--no-config", "-c", &script]).map(|output| lines(&output))
    });
}

/// zsh completes at a terminal only; there is one in its module zpty, where what is offered is printed between marks.
#[test]
fn zsh_completes() {
    check("zsh", |line| {
        let script = format!(
            r#"
            zmodload zsh/zpty
            zpty shell zsh -f -i
            talk() {{ zpty -w shell "$1" }}
            until_mark() {{ local text all; while zpty -r shell text; do all+=$text; [[ $text == *$1* ]] && break; done; REPLY=$all }}
            talk 'PROMPT=; fpath=({} $fpath); autoload -Uz compinit; compinit -u -D'
            talk 'compadd() {{ local -a hits; builtin compadd -O hits "$@"; (( $#hits )) && print -rl -- "offered:"$^hits >&2; builtin compadd "$@" }}'
            talk '_offer() {{ _main_complete; print -u2 "the e""nd"; compstate[insert]=; compstate[list]= }}; zle -C offer complete-word _offer; bindkey "^X" offer'
            talk 'print rea""dy'
            until_mark ready
            zpty -w -n shell '{line}'$'\x18'
            until_mark 'the end'
            print -r -- $REPLY | sed -n 's/.*offered:\([^[:cntrl:]]*\).*/\1/p'
            zpty -d shell
            "#,
            file("contrib/completions").display()
        );
        run("zsh", &["-f", "-c", &script]).map(|output| lines(&output))
    });
}
