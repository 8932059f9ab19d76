//! Completion for fish.

use super::{commands, commands_of, companion_options, offered};
use crate::ipvsadm::described::{Described, Offer};
use std::fmt::Write as _;

pub(super) fn completion() -> String {
    let mut text = HEAD.to_owned();
    text += "function __rvsadm_command\n    set -l first (commandline -opc)[2]\n    switch \"$first\"\n";
    for (command, _) in commands() {
        let patterns: Vec<String> =
            command.letters().map(|letter| format!("'-{letter}*'")).chain([format!("--{}", command.long)]).collect();
        let _ = writeln!(text, "        case {}\n            echo {}", patterns.join(" "), command.long);
    }
    text += BODY;
    for (command, _) in commands() {
        text += &line(command, "__rvsadm_first");
        if let Some(words) = offered(command.offer) {
            let (long, words) = (command.long, words.join(" "));
            let _ = writeln!(text, "complete -c rvsadm -n '__rvsadm_behind --{long}' -a '{words}'");
        }
    }
    text.push('\n');
    for option in companion_options() {
        text += &line(option, &format!("__rvsadm_goes {}", commands_of(option).join(" ")));
    }
    text
}

fn line(option: &Described, condition: &str) -> String {
    let letters: String = option.letters().map(|letter| format!(" -s {letter}")).collect();
    let values = match (offered(option.offer), option.offer, option.long) {
        (Some(words), ..) => format!(" -x -a '{}'", words.join(" ")),
        (_, Offer::Services(kind), _) => format!(" -x -a '(__rvsadm_ask show service {kind} \"\")'"),
        (_, Offer::Interfaces, _) => " -x -a '(__fish_print_interfaces)'".to_owned(),
        (.., "real-server") => " -x -a '(__rvsadm_servers)'".to_owned(),
        _ if option.argument.is_empty() || option.argument.starts_with('[') => String::new(),
        _ => " -x".to_owned(),
    };
    let text = option.text.replace('\'', "\\'");
    format!("complete -c rvsadm -n '{condition}'{letters} -l {}{values} -d '{text}'\n", option.long)
}

const HEAD: &str = r#"# Completion of rvsadm, and of rvsadm as ipvsadm, for fish. Made by `make docs`.

# What the director's console would complete.
function __rvsadm_ask
    command rvsadm complete $argv 2>/dev/null
end

# The option that is the command of this line.
"#;

const BODY: &str = r#"    end
end

function __rvsadm_first
    test (count (commandline -opc)) = 1
end

function __rvsadm_behind
    string match -q -- $argv (commandline -opc)[-1]
end

function __rvsadm_goes
    contains -- (__rvsadm_command) $argv
end

# True while the line is one of the console's.
function __rvsadm_console
    set -l words (commandline -opc)
    string match -qr '(^|/)rvsadm$' -- $words[1]
    and not string match -q -- '-*' $words[2] (test (count $words) = 1; and commandline -ct)
end

# The real servers of the service that the line names.
function __rvsadm_servers
    set -l words (commandline -opc)
    for n in (seq 2 (math (count $words) - 1))
        set -l name $words[(math $n + 1)]
        switch $words[$n]
            case '-*t' --tcp-service
                __rvsadm_ask server edit tcp $name ''
            case '-*u' --udp-service
                __rvsadm_ask server edit udp $name ''
            case --sctp-service
                __rvsadm_ask server edit sctp $name ''
            case '-*f' --fwmark-service
                __rvsadm_ask server edit fwmark $name ''
        end
    end
end

complete -c rvsadm -f
complete -c ipvsadm -w rvsadm
complete -c rvsadm -n __rvsadm_console -a '(__rvsadm_ask (commandline -opc)[2..] (commandline -ct))'

"#;
