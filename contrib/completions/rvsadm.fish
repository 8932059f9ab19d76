# Completion of rvsadm, and of rvsadm as ipvsadm, for fish. Made by `make docs`.

# What the director's console would complete.
function __rvsadm_ask
    command rvsadm complete $argv 2>/dev/null
end

# The option that is the command of this line.
function __rvsadm_command
    set -l first (commandline -opc)[2]
    switch "$first"
        case '-A*' --add-service
            echo add-service
        case '-E*' --edit-service
            echo edit-service
        case '-D*' --delete-service
            echo delete-service
        case '-C*' --clear
            echo clear
        case '-a*' --add-server
            echo add-server
        case '-e*' --edit-server
            echo edit-server
        case '-d*' --delete-server
            echo delete-server
        case '-L*' '-l*' --list
            echo list
        case '-Z*' --zero
            echo zero
        case '-S*' --save
            echo save
        case '-R*' --restore
            echo restore
        case --set
            echo set
        case --start-daemon
            echo start-daemon
        case --stop-daemon
            echo stop-daemon
        case '-h*' --help
            echo help
        case '-v*' --version
            echo version
    end
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

complete -c rvsadm -n '__rvsadm_first' -s A -l add-service -d 'add a virtual service'
complete -c rvsadm -n '__rvsadm_first' -s E -l edit-service -d 'change one; what is not said goes back to its default'
complete -c rvsadm -n '__rvsadm_first' -s D -l delete-service -d 'delete one'
complete -c rvsadm -n '__rvsadm_first' -s C -l clear -d 'delete all'
complete -c rvsadm -n '__rvsadm_first' -s a -l add-server -d 'add a real server to a service'
complete -c rvsadm -n '__rvsadm_first' -s e -l edit-server -d 'change one; what is not said goes back to its default'
complete -c rvsadm -n '__rvsadm_first' -s d -l delete-server -d 'delete one; its connections come back with it'
complete -c rvsadm -n '__rvsadm_first' -s L -s l -l list -d 'list services (also without any option), connections, timeouts or daemons'
complete -c rvsadm -n '__rvsadm_first' -s Z -l zero -d 'start counters and rates from zero'
complete -c rvsadm -n '__rvsadm_first' -s S -l save -d 'print the rules that make this table'
complete -c rvsadm -n '__rvsadm_first' -s R -l restore -d 'read rules from standard input'
complete -c rvsadm -n '__rvsadm_first' -l set -d 'set timeouts: TCP, TCPFIN and UDP in seconds, 0 leaves one as it is'
complete -c rvsadm -n '__rvsadm_first' -l start-daemon -x -a 'master backup' -d 'start synchronising connections, as master or backup'
complete -c rvsadm -n '__rvsadm_behind --start-daemon' -a 'master backup'
complete -c rvsadm -n '__rvsadm_first' -l stop-daemon -x -a 'master backup' -d 'stop it'
complete -c rvsadm -n '__rvsadm_behind --stop-daemon' -a 'master backup'
complete -c rvsadm -n '__rvsadm_first' -s h -l help -d 'print a summary'
complete -c rvsadm -n '__rvsadm_first' -s v -l version -d 'print the version'

complete -c rvsadm -n '__rvsadm_goes add-service edit-service delete-service add-server edit-server delete-server list zero' -s t -l tcp-service -x -a '(__rvsadm_ask show service tcp "")' -d 'TCP at this address and port'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service delete-service add-server edit-server delete-server list zero' -s u -l udp-service -x -a '(__rvsadm_ask show service udp "")' -d 'UDP'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service delete-service add-server edit-server delete-server list zero' -l sctp-service -x -a '(__rvsadm_ask show service sctp "")' -d 'SCTP'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service delete-service add-server edit-server delete-server list zero' -s f -l fwmark-service -x -a '(__rvsadm_ask show service fwmark "")' -d 'packets with this mark, 1 to 4294967295'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service delete-service add-server edit-server delete-server list zero' -s 6 -l ipv6 -d 'the mark is of IPv6; stands behind it'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service' -s s -l scheduler -x -a 'rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos' -d 'which server a connection gets; wlc if not said'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service' -s p -l persistent -d 'clients stay with their server; 360 if not said'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service' -s M -l netmask -x -d 'clients equal under this mask (IPv6: prefix length) stay together'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service' -l pe -x -a 'sip' -d 'how clients are told apart: sip'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service' -s b -l sched-flags -x -a 'sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3' -d 'flags of sh and mh, with commas between'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service' -s o -l ops -d 'one-packet scheduling (UDP)'
complete -c rvsadm -n '__rvsadm_goes add-service edit-service' -l conn-timeouts -x -d 'timeouts of its connections, as those of --set; 0 is what all have (RVS)'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server delete-server' -s r -l real-server -x -a '(__rvsadm_servers)' -d 'which; the service\'s port if not said'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -s g -l gatewaying -d 'direct routing (if not said)'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -s i -l ipip -d 'tunnelling'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -s m -l masquerading -d 'NAT'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -s w -l weight -x -d '0 takes no new connections; 1 if not said'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -s x -l u-threshold -x -d 'no more connections at this many; 0 is no limit'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -s y -l l-threshold -x -d 'again below this many; 3/4 of the other if not said'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -l tun-type -x -a 'ipip gue gre' -d 'ipip (if not said), gue or gre'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -l tun-port -x -d 'of gue'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -l tun-nocsum -d 'without checksum (gue, gre)'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -l tun-csum -d 'with checksum (gue, gre)'
complete -c rvsadm -n '__rvsadm_goes add-server edit-server' -l tun-remcsum -d 'with remote checksum (gue)'
complete -c rvsadm -n '__rvsadm_goes list save' -s n -l numeric -d 'no names'
complete -c rvsadm -n '__rvsadm_goes list' -s c -l connection -d 'connections'
complete -c rvsadm -n '__rvsadm_goes list' -l timeout -d 'timeouts'
complete -c rvsadm -n '__rvsadm_goes list' -l daemon -d 'daemons'
complete -c rvsadm -n '__rvsadm_goes list' -l stats -d 'counters'
complete -c rvsadm -n '__rvsadm_goes list' -l rate -d 'the same each second'
complete -c rvsadm -n '__rvsadm_goes list' -s X -l exact -d 'every digit of them'
complete -c rvsadm -n '__rvsadm_goes list' -l thresholds -d 'upper and lower thresholds of servers'
complete -c rvsadm -n '__rvsadm_goes list' -l persistent-conn -d 'persistent connections; with -c, engines'
complete -c rvsadm -n '__rvsadm_goes list' -l tun-info -d 'tunnels'
complete -c rvsadm -n '__rvsadm_goes list' -l nosort -d 'in the order of the director'
complete -c rvsadm -n '__rvsadm_goes list' -l sort -d 'does nothing'
complete -c rvsadm -n '__rvsadm_goes list' -l json -d 'as JSON (RVS)'
complete -c rvsadm -n '__rvsadm_goes save' -l full -d 'save also thresholds, timeouts and daemons (RVS)'
complete -c rvsadm -n '__rvsadm_goes restore' -l atomic -d 'restore all lines or none, in place of what is there, without a gap in service (RVS)'
complete -c rvsadm -n '__rvsadm_goes start-daemon' -l mcast-interface -x -a '(__fish_print_interfaces)' -d 'where the group is; eth0 if not said'
complete -c rvsadm -n '__rvsadm_goes list start-daemon stop-daemon' -l syncid -x -d '0 to 255; tells directors of one group apart'
complete -c rvsadm -n '__rvsadm_goes start-daemon' -l sync-maxlen -x -d 'longest message; by the interface\'s MTU if not said'
complete -c rvsadm -n '__rvsadm_goes start-daemon' -l mcast-group -x -d '224.0.0.81 if not said'
complete -c rvsadm -n '__rvsadm_goes start-daemon' -l mcast-port -x -d '8848 if not said'
complete -c rvsadm -n '__rvsadm_goes start-daemon' -l mcast-ttl -x -d '1 if not said'
