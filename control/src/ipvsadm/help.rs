//! `--help` and `--version`.

/// What `--version` prints.
#[must_use]
pub fn version(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    format!("{name} of RVS v{} (speaks ipvsadm v1.31, IPVS v1.2.1)\n", env!("CARGO_PKG_VERSION"))
}

/// What `--help` prints.
#[must_use]
pub fn usage(program: &str) -> String {
    let calls = CALLS.iter().map(|call| format!("  {program} {call}\n")).collect::<String>();
    format!("{}Usage:\n{calls}\n{OPTIONS}", version(program))
}

const CALLS: &[&str] = &[
    "-A|-E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-b FLAGS] [-o]",
    "-D SERVICE",
    "-C",
    "-a|-e SERVICE -r SERVER [-g|-i|-m] [TUNNEL] [-w WEIGHT] [-x UPPER] [-y LOWER]",
    "-d SERVICE -r SERVER",
    "[-L|-l [SERVICE] [LISTING]]",
    "-Z [SERVICE]",
    "-S [-n] [--full] > RULES",
    "-R [--atomic] < RULES",
    "--set TCP TCPFIN UDP",
    "--start-daemon master|backup [DAEMON]",
    "--stop-daemon master|backup",
    "-h|-v",
];

const OPTIONS: &str = "\
Commands:
  -A, --add-service           add a virtual service
  -E, --edit-service          change one; what is not said goes back to its default
  -D, --delete-service        delete one
  -C, --clear                 delete all
  -a, --add-server            add a real server to a service
  -e, --edit-server           change one; what is not said goes back to its default
  -d, --delete-server         delete one; its connections come back with it
  -L, -l, --list              list services (also without any option), connections, timeouts or daemons
  -Z, --zero                  start counters and rates from zero
  -S, --save                  print the rules that make this table
  -R, --restore               read rules from standard input
      --set                   set timeouts in seconds, 0 leaves one as it is
      --start-daemon          start synchronising connections
      --stop-daemon           stop it
  -h, --help                  this text
  -v, --version               the version

SERVICE is one of:
  -t, --tcp-service HOST[:PORT]
  -u, --udp-service HOST[:PORT]
      --sctp-service HOST[:PORT]
  -f, --fwmark-service MARK [-6, --ipv6]
IPv6 addresses with a port are written [ADDRESS]:PORT. Port 0 is every port, with -p.

Of services:
  -s, --scheduler NAME        rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos; wlc if not said
  -p, --persistent [SECONDS]  clients stay with their server; 360 if not said
  -M, --netmask MASK          clients equal under this mask (IPv6: prefix length) stay together
      --pe ENGINE             how clients are told apart: sip
  -b, --sched-flags FLAGS     sh-fallback,sh-port mh-fallback,mh-port flag-1,flag-2,flag-3
  -o, --ops                   one-packet scheduling (UDP)
      --conn-timeouts T/F/U   timeouts of its connections, as those of --set; 0 is what all have (RVS)

Of servers:
  -r, --real-server HOST[:PORT]
  -g, --gatewaying            direct routing (if not said)
  -i, --ipip                  tunnelling
  -m, --masquerading          NAT
  -w, --weight N              0 takes no new connections; 1 if not said
  -x, --u-threshold N         no more connections at this many; 0 is no limit
  -y, --l-threshold N         again below this many
TUNNEL:
      --tun-type TYPE         ipip (if not said), gue or gre
      --tun-port PORT         of gue
      --tun-nocsum, --tun-csum, --tun-remcsum

LISTING:
  -n, --numeric               no names
  -c, --connection            connections
      --timeout               timeouts
      --daemon                daemons
      --stats                 counters
      --rate                  the same each second
      --exact, -X             every digit of them
      --thresholds            -x and -y
      --persistent-conn       persistent connections; with -c, engines
      --tun-info              tunnels
      --nosort                in the order of the director
      --sort                  does nothing
      --json                  as JSON (RVS)

Saving and restoring (RVS):
      --full                  save also thresholds, timeouts and daemons
      --atomic                restore all lines or none, in place of what is there, without a gap in service

DAEMON:
      --mcast-interface NAME, --syncid ID, --sync-maxlen BYTES,
      --mcast-group ADDRESS, --mcast-port PORT, --mcast-ttl N
";
