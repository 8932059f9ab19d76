//! What ipvsadm 1.31 answers to lines that the recordings do not have, and properties of any line.

use super::super::names::Table;
use super::*;
use proptest::prelude::*;

fn read(words: &[String]) -> Result<Invocation, Failure> {
    let names = Table::parse("127.0.0.1 localhost\n", "http 80/tcp\ndomain 53/udp\n");
    parse("ipvsadm", words, Source::Shell, &names)
}

fn read_line(line: &str) -> Result<Invocation, Failure> {
    read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

/// The same change, written another way.
#[test]
fn spellings_of_a_change() {
    let rows = [
        ("-A -t 1.2.3.4:80", "-At1.2.3.4:80"),
        ("-A -t 1.2.3.4:80", "-At=1.2.3.4:80"),
        ("-A -t 1.2.3.4:80", "--add-service --tcp-service=1.2.3.4:http -s wlc"),
        ("-A -t 1.2.3.4:80", "-A -t 1.2.3.4:80 --sort --"),
        ("-A -t 1.2.3.4:80", "-A -t 1.2.3.4:80 --scheduler= -b , --pe="),
        ("-A -t 1.2.3.4:80 -p 360", "-Ap -t 1.2.3.4:80"),
        ("-A -u 1.2.3.4:53 -o -p 5", "-A -u 1.2.3.4:domain -op5"),
        ("-A -t 1.2.3.4:80 -s sh -b sh-port", "-A -t 1.2.3.4:80 -b ,sh-port, -s sh"),
        ("-A -t 1.2.3.4:80 -s mh -b mh-fallback,mh-port", "-A -t 1.2.3.4:80 -s mh -b flag-2,flag-1"),
        ("-A -t 1.2.3.4:80 -p -M 255.255.0.255", "-A -M 0xffff00ff -t 1.2.3.4:80 -p"),
        ("-A -t [fd01::1]:80 -p", "-A -M 24 -t [fd01::1]:80 -p"),
        ("-A -f 3 -6 -p", "-A -f 3 -M 64 -6 -p"),
        ("-A -f 3", "-A -f +03"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8:80 -m", "-a -t 1.2.3.4:80 -r 5.6.7.8 -m -w 01"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8:0 -m", "-a -r 5.6.7.8 -t 1.2.3.4:80 -m"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8:80 -g", "-a -r 5.6.7.8:99 -t 1.2.3.4:80"),
        ("-a -t 1.2.3.4:80 -r 5.6.7.8:80 -i", "-a -t 1.2.3.4:80 -r 5.6.7.8:99 -i --tun-type ipip"),
        ("--start-daemon master --mcast-interface eth0", "--start-daemon=master"),
        ("--stop-daemon backup", "--stop-daemon backup --syncid 5"),
        ("--set 1 2 3", "--set 1 -- 2 3"),
        ("-L", "-L --syncid 4"),
        ("-L --stats", "-L --tun-info --rate --stats"),
    ];
    for (one, other) in rows {
        assert!(read_line(one).is_ok(), "{one}");
        assert_eq!(read_line(one), read_line(other), "{other}");
    }
}

#[test]
fn a_server_keeps_its_port_where_it_is_named() {
    let port = |line: &str| match read_line(line) {
        Ok(Invocation::Change(Command::DeleteServer { server, .. })) => server.port,
        Ok(Invocation::Change(Command::AddServer { server, .. })) => server.port,
        other => panic!("{other:?}"),
    };
    assert_eq!(port("-d -t 1.2.3.4:80 -r 5.6.7.8:99"), 99);
    assert_eq!(port("-a -f 5 -r 5.6.7.8:99 -g"), 99);
    assert_eq!(port("-a -f 5 -r 5.6.7.8"), 0);
}

#[test]
fn refusals() {
    let rows = [
        (2, "-A -6 -f 3", "-6 used before -f\n"),
        (2, "-A -t [fd01::1]:80 -6", "-6 used before -f\n"),
        (2, "-L -6", "-6 used before -f\n"),
        (2, "-A -f 4294967296", "invalid fwmark value `4294967296' specified"),
        (2, "-A -f 0", "invalid fwmark value `0' specified"),
        (2, "-A -t 1.2.3.4:80 -p 2678401", "invalid timeout value `2678401' specified"),
        (2, "-A -t 1.2.3.4:80 -pp", "invalid timeout value `p' specified"),
        (2, "-A -t 1.2.3.4:0 -o", "Zero port specified for non-persistent service"),
        (2, "-A -t 1.2.3.4:0 -b sh-port", "incompatible scheduler flag `sh-port'"),
        (2, "-A -t 1.2.3.4:80 -b bogus extra", "unexpected argument extra"),
        (2, "-A -b bogus -t x", "illegal virtual server address[:port] specified"),
        (2, "-L -b bogus", "invalid scheduler flag `bogus'"),
        (2, "-L -b flag-1", "Illegal 'sched-flags' option with the 'list' command"),
        (2, "-L -w x", "illegal weight specified"),
        (2, "-C -r 1.2.3.4:http", "illegal real server address[:port] specified"),
        (2, "-a -t 1.2.3.4:80 -r fd01::1 --tun-csum", "Different address family is allowed only for tunneling servers"),
        (2, "-a -t 1.2.3.4:80 -r 5.6.7.8 -i --tun-type GUE", "illegal tunnel type specified"),
        (2, "-a -t 1.2.3.4:80 -r 5.6.7.8 -i --tun-csum", "Illegal 'tun-csum' option with the 'ipip' tunnel type"),
        (
            2,
            "-a -t 1.2.3.4:80 -r 5.6.7.8 -i --tun-type gre --tun-port 5 --tun-remcsum",
            "Illegal 'tun-port' option with the 'gre' tunnel type",
        ),
        (
            2,
            "-a -t 1.2.3.4:80 -r 5.6.7.8 -i --tun-type gue --tun-port 5 --tun-csum --tun-remcsum",
            "The option 'tun-remcsum' conflicts with the 'tun-csum' option in the 'gue' tunnel type",
        ),
        (
            2,
            "-L -c --stats -t 1.2.3.4:80",
            "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
        ),
        (2, "-L --daemon --timeout", "The option 'daemon' conflicts with the 'timeout' option in the 'list' command"),
        (2, "-L --daemon --persistent-conn", "options conflicts in the list command"),
        (2, "-L -c --thresholds", "options conflicts in the list command"),
        (2, "-L --numeric -n", "multiple 'numeric' options specified"),
        (2, "--start-daemon master --start-daemon backup", "invalid option `backup'"),
        (2, "--start-daemon MASTER", "illegal start-daemon parameter specified"),
        (2, "--start-daemon master --mcast-group 10.0.0.1", "invalid IPv4 mcast-group `10.0.0.1'"),
        (2, "--start-daemon master --mcast-group fd00::1", "invalid IPv6 mcast-group `fd00::1'"),
        (2, "--start-daemon master --sync-maxlen 65508", "illegal sync-maxlen specified"),
        (2, "--start-daemon master --mcast-ttl 0", "illegal mcast-ttl specified"),
        (2, "--set 1 2 3 4 -n", "unexpected argument 4"),
        (2, "--set x 2", "--set option requires 3 timeout values"),
        (2, "--set 1 2 3 -n", "Illegal 'numeric' option with the 'set' command"),
        (2, "-S --json", "Illegal 'json' option with the 'save' command"),
        (255, "-A -t 1.2.3.4:80 --tcp-serv x", "--tcp-serv: unknown option"),
        (255, "-A -u 1.2.3.4:80 -o5", "-o5: unknown option"),
        (255, "-L --numeric=3", "--numeric=3: option does not take an argument"),
        (255, "-Lnx", "-Lnx: missing argument"),
        (255, "--list=3", "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
        (255, "-n -L", "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
    ];
    for (status, line, message) in rows {
        let failure = read_line(line).unwrap_err();
        assert_eq!((failure.status, failure.message.as_str()), (status, message), "{line}");
    }
}

#[test]
fn which_refusals_end_a_restore() {
    let ends = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse("ipvsadm", &words, Source::Restore, &Table::default()).map_err(|failure| failure.ends_restore)
    };
    assert_eq!(ends("-A -t x"), Err(true));
    assert_eq!(ends("junk"), Err(true));
    assert_eq!(ends("-R"), Err(true));
    assert_eq!(ends("-A -q"), Err(false));
    assert_eq!(ends("-A -t"), Err(false));
}

/// Words that mean something, and any others.
fn word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(
        KNOWN
            .iter()
            .flat_map(|known| [format!("--{}", known.long), format!("-{}", known.short.unwrap_or('-'))])
            .chain(
                ["1.2.3.4:80", "[fd01::1]:80", "5", "255.255.255.0", "sh", "gue", "master", "-", ""].map(String::from),
            )
            .collect::<Vec<_>>(),
    );
    prop_oneof![4 => known, 1 => any::<String>(), 1 => "[-a-zA-Z0-9=:.\\[\\]]{0,8}"]
}

proptest! {
    /// No line makes the parser panic, and a refusal is one that a script can tell from success.
    #[test]
    fn any_line_is_answered(words in prop::collection::vec(word(), 0..8)) {
        if let Err(failure) = read(&words) {
            prop_assert!(failure.status == 2 || failure.status == 255);
            prop_assert!(!failure.message.is_empty());
        }
    }
}
