//! Completion for zsh.

use super::{commands, commands_of, companion_options, offered, spellings};
use crate::ipvsadm::described::{Described, Offer};
use std::fmt::Write as _;

pub(super) fn completion() -> String {
    let mut text = HEAD.to_owned();
    for (command, _) in commands() {
        for spelling in spellings(command) {
            let _ = writeln!(text, "        {}", quoted(&format!("{spelling}:{}", command.text)));
        }
    }
    text += WORDS;
    for (command, _) in commands() {
        let patterns: Vec<String> =
            command.letters().map(|letter| format!("-{letter}*")).chain([format!("--{}", command.long)]).collect();
        let _ = writeln!(text, "        ({}) command={} ;;", patterns.join("|"), command.long);
    }
    text += "    esac\n";
    for (command, _) in commands() {
        if let Some(words) = offered(command.offer) {
            let (long, words) = (command.long, words.join(" "));
            let _ = writeln!(text, "    [[ $command == {long} ]] && ((CURRENT == 3)) && {{ compadd {words}; return }}");
        }
    }
    text += "\n    local -a options\n";
    for option in companion_options() {
        let commands = commands_of(option).join("|");
        let _ = writeln!(text, "    [[ $command == ({commands}) ]] && options+=({})", specification(option));
    }
    text + TAIL
}

/// What `_arguments` takes for an option: a spelling excludes the others.
fn specification(option: &Described) -> String {
    let spellings = spellings(option);
    let action = match (offered(option.offer), option.offer, option.long) {
        (Some(words), ..) => format!("({})", words.join(" ")),
        (_, Offer::Services(kind), _) => format!("_rvsadm_ask show service {kind} ''"),
        (_, Offer::Interfaces, _) => "_net_interfaces".to_owned(),
        (.., "real-server") => "_rvsadm_servers".to_owned(),
        _ => " ".to_owned(),
    };
    let value = match option.argument {
        "" => String::new(),
        optional if optional.starts_with('[') => format!("::{}:{action}", plain(optional)),
        argument => format!(":{}:{action}", plain(argument)),
    };
    let text = option.text.replace('[', "(").replace(']', ")");
    let each = spellings.iter().map(|spelling| {
        let takes = match (option.argument.is_empty(), spelling.starts_with("--")) {
            (true, _) => "",
            (false, true) => "=",
            (false, false) => "+",
        };
        quoted(&format!("({}){spelling}{takes}[{text}]{value}", spellings.join(" ")))
    });
    each.collect::<Vec<_>>().join(" ")
}

fn plain(argument: &str) -> String {
    argument.replace(['[', ']', ':'], " ").trim().to_owned()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

const HEAD: &str = r#"#compdef rvsadm ipvsadm
# Completion of rvsadm, and of rvsadm as ipvsadm, for zsh. Made by `make docs`.

# What the director's console would complete.
_rvsadm_ask() {
    local -a found
    # colons divide a word from what is said of it, tabs do in the answer
    found=(${${${(f)"$(command rvsadm complete "$@" 2>/dev/null)"}//:/\\:}//$'\t'/:})
    _describe -V 'word' found
}

# The real servers of the service that the line names.
_rvsadm_servers() {
    local n
    for ((n = 2; n < CURRENT - 1; n++)); do
        case $words[n] in
            (-[^-]#t|--tcp-service) _rvsadm_ask server edit tcp $words[n+1] '' ;;
            (-[^-]#u|--udp-service) _rvsadm_ask server edit udp $words[n+1] '' ;;
            (--sctp-service) _rvsadm_ask server edit sctp $words[n+1] '' ;;
            (-[^-]#f|--fwmark-service) _rvsadm_ask server edit fwmark $words[n+1] '' ;;
        esac
    done
}

_rvsadm() {
    setopt local_options extended_glob
    local -a commands=(
"#;

const WORDS: &str = r#"    )
    if ((CURRENT == 2)); then
        [[ ${service:t} == rvsadm && $words[2] != -* ]] && _rvsadm_ask "$words[2]"
        [[ -z $words[2] || $words[2] == -* ]] && _describe -o 'command' commands
        return
    fi
    if [[ ${service:t} == rvsadm && $words[2] != -* ]]; then
        _rvsadm_ask "${(@)words[2,CURRENT]}"
        return
    fi

    local command
    case $words[2] in
"#;

const TAIL: &str = r#"
    # The command is done with; what is bundled with it is not.
    if [[ $words[2] == -[^-]?* ]]; then
        words[2]=-${words[2]:2}
    else
        words[2]=()
        ((CURRENT--))
    fi
    _arguments -s "$options[@]"
}

_rvsadm "$@"
"#;
