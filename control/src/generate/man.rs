//! The manual page rvsadm(8).

use super::spellings;
use crate::console;
use crate::ipvsadm::described::{CALLS, GROUPS};
use crate::socket;
use std::fmt::Write as _;

pub(super) fn page() -> String {
    let mut text = format!(
        ".\\\" Made by `make docs` from the tables of options and commands.\n\
         .TH RVSADM 8 \"\" \"RVS {}\" \"System Administration\"\n\
         .SH NAME\nrvsadm, ipvsadm \\- administer the virtual servers of rvsd\n.SH SYNOPSIS\n",
        env!("CARGO_PKG_VERSION")
    );
    for call in CALLS {
        let _ = writeln!(text, ".B rvsadm\n{}\n.br", escaped(call));
    }
    text += ".B rvsadm\nconsole [\\-e] [\\-f FILE]\n.br\n.B rvsadm\nCOMMAND ...\n";
    text += DESCRIPTION;
    text += ".SH OPTIONS\n";
    for group in GROUPS {
        let _ = writeln!(text, ".SS {}", escaped(group.title));
        for option in group.options {
            let names: Vec<String> =
                spellings(option).iter().map(|name| format!("\\fB{}\\fR", escaped(name))).collect();
            let argument = match option.argument {
                "" => String::new(),
                argument => format!(" \\fI{}\\fR", escaped(argument)),
            };
            let _ = writeln!(text, ".TP\n{}{argument}\n{}.", names.join(", "), escaped(option.text));
        }
        if !group.note.is_empty() {
            let _ = writeln!(text, ".PP\n{}", escaped(group.note));
        }
    }
    let schedulers: Vec<&str> = forwarder::scheduler::SCHEDULERS.iter().map(|known| known.name).collect();
    let _ = writeln!(text, ".SS Schedulers\n{}", schedulers.join(", "));
    text += CONSOLE;
    let mut last = "";
    for (section, pattern, help) in console::described() {
        if section != last {
            let _ = writeln!(text, ".SS {}", escaped(section));
            last = section;
        }
        let _ = writeln!(text, ".TP\n.B {}\n{}", escaped(pattern), escaped(help));
    }
    text += RULES;
    let _ = write!(
        text,
        ".SH ENVIRONMENT\n.TP\n.B {}\nThe control socket, if\n.B \\-\\-socket\ndoes not name it.\n\
         .SH FILES\n.TP\n.I {}\nThe control socket, if nobody says.\n",
        socket::VARIABLE,
        socket::DEFAULT
    );
    text + END
}

/// Text as troff takes it: hyphens that can be copied, backslashes, no line that looks like a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

const DESCRIPTION: &str = r"By the name
.B ipvsadm
it takes the options of ipvsadm 1.31, says what that says, and exits as that does; by the name
.B rvsadm
it does so too, and takes a word of its console besides.
.B ipvsadm\-save
and
.B ipvsadm\-restore
are
.B \-S
and
.B \-R \-\-atomic
under their names.
.PP
.B \-\-socket PATH
may stand before everything else and names the director's control socket.
";

const CONSOLE: &str = r".SH CONSOLE
.B rvsadm console
is a session with line editing, history and completion; with
.B \-f
it does the lines of a file, with
.B \-e
up to the first that fails. Any line can stand behind
.B rvsadm
itself, and any line of ipvsadm can be typed in the console. Words can be cut short while they stay clear.
.PP
.B rvsadm complete
and words print how the last of them goes on, for the completions of shells.
.B rvsadm generate
.RB { man | bash | zsh | fish }
prints this page and those completions.
.PP
.B rvsadm convert
.RI [ FILE ]
prints a configuration file for rvsd that says what rules of ipvsadm or the virtual servers of a keepalived.conf say; what has
no counterpart it names, with its line.
.B rvsadm top
shows services, servers, workers and drops as they change.
";

const RULES: &str = r".SH SAVING AND RESTORING
.B \-S
prints a line of options for each service and server, as ipvsadm does, and like ipvsadm forgets thresholds, timeouts and
daemons;
.B \-\-full
keeps them.
.B \-R
does such lines one after the other, passes over what is refused and ends at a line that makes no sense.
.B \-R \-\-atomic
puts all of them in place of what is there, or changes nothing and names the line that is wrong. Connections of servers that
are in both tables live on.
.SH JSON
With
.B \-\-json
a list is one JSON object on one line; docs/json.md describes each.
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
A list could not be had, or not be printed whole; or the console's command was refused.
.TP
.B 2
The call makes no sense. Called as ipvsadm also: rvsd cannot be reached.
.TP
.B 3
Called as rvsadm: rvsd cannot be reached, or was lost in the middle. A list that breaks off ends with a line that says so.
.TP
.B 4
A configuration file is wrong, whoever reads it:
.BR config\~check ,
.BR config\~reload ,
.BR rvsd\~check ;
or the text that
.B convert
was given. keepalived
.B \-t
says 3, 4 or 5 for the like.
.TP
.B 5
Called as rvsadm: rvsd, or a worker of it, did not answer in time.
.TP
.B 130
Ended by SIGINT (a shell's number for it).
.TP
.B 141
Whoever reads the output closed it before the end.
.TP
.B 255
The director refused, or an option is unknown. Called as ipvsadm also: rvsd was lost in the middle.
";

const END: &str = r".SH EXAMPLES
A web service on two servers behind NAT:
.PP
.nf
rvsadm \-A \-t 192.0.2.1:80 \-s wlc
rvsadm \-a \-t 192.0.2.1:80 \-r 10.0.0.2 \-m
rvsadm \-a \-t 192.0.2.1:80 \-r 10.0.0.3 \-m \-w 2
.fi
.PP
Take no new connections to one of them, and watch it become idle:
.PP
.nf
rvsadm \-e \-t 192.0.2.1:80 \-r 10.0.0.3 \-m \-w 0
rvsadm \-Ln \-t 192.0.2.1:80
.fi
.PP
Keep all, and have it back later without a gap in service:
.PP
.nf
rvsadm \-S \-n \-\-full > rules
rvsadm \-R \-\-atomic < rules
.fi
.SH SEE ALSO
.BR rvsd (8),
docs/differences.md for what differs from the kernel's IPVS and from ipvsadm.
";
