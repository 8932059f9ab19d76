# Completion of rvsadm, and of rvsadm as ipvsadm, for bash. Made by `make docs`.

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
    local commands='-A --add-service -E --edit-service -D --delete-service -C --clear -a --add-server -e --edit-server -d --delete-server -L -l --list -Z --zero -S --save -R --restore --set --start-daemon --stop-daemon -h --help -v --version'

    if [[ ${words[0]##*/} == rvsadm && $command != -* ]]; then
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
        --start-daemon) _rvsadm_offer 'master backup'; return ;;
        --stop-daemon) _rvsadm_offer 'master backup'; return ;;
        -t|--tcp-service) _rvsadm_offer "$(_rvsadm_ask show service tcp '')"; return ;;
        -u|--udp-service) _rvsadm_offer "$(_rvsadm_ask show service udp '')"; return ;;
        --sctp-service) _rvsadm_offer "$(_rvsadm_ask show service sctp '')"; return ;;
        -f|--fwmark-service) _rvsadm_offer "$(_rvsadm_ask show service fwmark '')"; return ;;
        -s|--scheduler) _rvsadm_offer 'rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos'; return ;;
        --pe) _rvsadm_offer 'sip'; return ;;
        -b|--sched-flags) _rvsadm_offer 'sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3'; return ;;
        --tun-type) _rvsadm_offer 'ipip gue gre'; return ;;
        --mcast-interface) _rvsadm_offer "$(ls /sys/class/net 2>/dev/null)"; return ;;
        -r|--real-server) _rvsadm_offer "$(_rvsadm_servers)"; return ;;
        -M|--netmask|--conn-timeouts|-w|--weight|-x|--u-threshold|-y|--l-threshold|--tun-port|--syncid|--sync-maxlen|--mcast-group|--mcast-port|--mcast-ttl) return ;;
    esac

    case $command in
        -A*|--add-service) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -s --scheduler -p --persistent -M --netmask --pe -b --sched-flags -o --ops --conn-timeouts' ;;
        -E*|--edit-service) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -s --scheduler -p --persistent -M --netmask --pe -b --sched-flags -o --ops --conn-timeouts' ;;
        -D*|--delete-service) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6' ;;
        -a*|--add-server) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -r --real-server -g --gatewaying -i --ipip -m --masquerading -w --weight -x --u-threshold -y --l-threshold --tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum' ;;
        -e*|--edit-server) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -r --real-server -g --gatewaying -i --ipip -m --masquerading -w --weight -x --u-threshold -y --l-threshold --tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum' ;;
        -d*|--delete-server) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -r --real-server' ;;
        -L*|-l*|--list) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6 -n --numeric -c --connection --timeout --daemon --stats --rate -X --exact --thresholds --persistent-conn --tun-info --nosort --sort --json --syncid' ;;
        -Z*|--zero) _rvsadm_offer '-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6' ;;
        -S*|--save) _rvsadm_offer '-n --numeric --full' ;;
        -R*|--restore) _rvsadm_offer '--atomic' ;;
        --start-daemon) _rvsadm_offer '--mcast-interface --syncid --sync-maxlen --mcast-group --mcast-port --mcast-ttl' ;;
        --stop-daemon) _rvsadm_offer '--syncid' ;;
    esac
}

complete -F _rvsadm rvsadm ipvsadm
