//! Completion for bash.

use super::{commands, companion_options, offered, spellings};
use crate::ipvsadm::described::{Offer, all};
use std::fmt::Write as _;

pub(super) fn completion() -> String {
    let mut text = HEAD.to_owned();
    let every: Vec<String> = commands().flat_map(|(command, _)| spellings(command)).collect();
    let _ = writeln!(text, "    local commands='{}'\n", every.join(" "));
    text += WORDS;
    for option in all().filter(|option| option.offer != Offer::Nothing) {
        let action = match (offered(option.offer), option.offer) {
            (Some(words), _) => format!("_rvsadm_offer '{}'", words.join(" ")),
            (_, Offer::Services(kind)) => format!("_rvsadm_offer \"$(_rvsadm_ask show service {kind} '')\""),
            _ => "_rvsadm_offer \"$(ls /sys/class/net 2>/dev/null)\"".to_owned(),
        };
        let _ = writeln!(text, "        {}) {action}; return ;;", spellings(option).join("|"));
    }
    let silent = companion_options()
        .filter(|option| option.offer == Offer::Nothing && !option.argument.is_empty() && option.long != "real-server")
        .filter(|option| !option.argument.starts_with('['));
    let silent: Vec<String> = silent.flat_map(spellings).collect();
    let _ = writeln!(text, "        -r|--real-server) _rvsadm_offer \"$(_rvsadm_servers)\"; return ;;");
    let _ = writeln!(text, "        {}) return ;;\n    esac\n\n    case $command in", silent.join("|"));
    for (command, with) in commands() {
        let patterns: Vec<String> =
            command.letters().map(|letter| format!("-{letter}*")).chain([format!("--{}", command.long)]).collect();
        let with = companion_options().filter(|option| with.contains(&option.long));
        let with: Vec<String> = with.flat_map(spellings).collect();
        if !with.is_empty() {
            let _ = writeln!(text, "        {}) _rvsadm_offer '{}' ;;", patterns.join("|"), with.join(" "));
        }
    }
    text + TAIL
}

const HEAD: &str = r#"# Completion of rvsadm, and of rvsadm as ipvsadm, for bash. Made by `make docs`.

# What the director's console would complete.
_rvsadm_ask() {
    command rvsadm complete "$@" 2>/dev/null | cut -f 1
}

# Offers those of these words that go on with $word. What stands before its last colon is the shell's already.
_rvsadm_offer() {
    local before=${word%"${word##*[:,]}"} list=
    [[ $before == *, ]] && list=$before
    COMPREPLY=($(compgen -P "$list" -W "$1" -- "${word#"$list"}"))
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}

# The real servers of the service that the line names.
_rvsadm_servers() {
    local n
    for ((n = 1; n < ${#words[@]} - 1; n++)); do
        case ${words[n]} in
            -[!-]*t|-t|--tcp-service) _rvsadm_ask server edit tcp "${words[n + 1]}" '' ;;
            -[!-]*u|-u|--udp-service) _rvsadm_ask server edit udp "${words[n + 1]}" '' ;;
            --sctp-service) _rvsadm_ask server edit sctp "${words[n + 1]}" '' ;;
            -[!-]*f|-f|--fwmark-service) _rvsadm_ask server edit fwmark "${words[n + 1]}" '' ;;
        esac
    done
}

_rvsadm() {
    # Words as blanks divide them; bash divides at colons too.
    local line=${COMP_LINE:0:COMP_POINT} words word previous command
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=('')
    word=${words[-1]}
    previous=${words[-2]}
    command=${words[1]}
"#;

const WORDS: &str = r#"    if [[ ${words[0]##*/} == rvsadm && $command != -* ]]; then
        _rvsadm_offer "$(_rvsadm_ask "${words[@]:1}")"
        [[ ${#words[@]} == 2 && -z $word ]] && COMPREPLY+=($commands)
        return
    fi
    if [[ ${#words[@]} == 2 ]]; then
        _rvsadm_offer "$commands"
        return
    fi

    # The last letter of a bundle is the option that a value belongs to.
    [[ $previous == -[!-]* ]] && previous=-${previous: -1}
    case $previous in
"#;

const TAIL: &str = r#"    esac
}

complete -F _rvsadm rvsadm ipvsadm
"#;
