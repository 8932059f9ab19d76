//! What every option is for, in words: help, manual page and completions are made from this and from [`KNOWN`].

use super::options::KNOWN;

/// What a shell can offer behind an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing that is known.
    Nothing,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A scheduler.
    Schedulers,
    /// A service of this kind, as the console names it.
    Services(&'static str),
    /// A network interface.
    Interfaces,
}

/// An option in words.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// After `--`.
    pub long: &'static str,
    /// What stands behind it; empty for nothing, in brackets if it need not be there.
    pub argument: &'static str,
    /// What can stand there.
    pub offer: Offer,
    /// What it does.
    pub text: &'static str,
}

impl Described {
    /// Its letters, without the dash.
    pub fn letters(&self) -> impl Iterator<Item = char> + use<> {
        let long = self.long;
        KNOWN.iter().filter(move |known| known.long == long).filter_map(|known| known.short)
    }
}

/// Options that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its name.
    pub title: &'static str,
    /// The options.
    pub options: &'static [Described],
    /// What is to be said of all of them.
    pub note: &'static str,
}

const fn option(long: &'static str, argument: &'static str, offer: Offer, text: &'static str) -> Described {
    Described { long, argument, offer, text }
}

const fn plain(long: &'static str, text: &'static str) -> Described {
    option(long, "", Offer::Nothing, text)
}

const ROLES: Offer = Offer::Words(&["master", "backup"]);
const FLAGS: Offer = Offer::Words(&["sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3"]);

/// Every option.
pub const GROUPS: &[Group] = &[
    Group {
        title: "Commands",
        options: &[
            plain("add-service", "add a virtual service"),
            plain("edit-service", "change one; what is not said goes back to its default"),
            plain("delete-service", "delete one"),
            plain("clear", "delete all"),
            plain("add-server", "add a real server to a service"),
            plain("edit-server", "change one; what is not said goes back to its default"),
            plain("delete-server", "delete one; its connections come back with it"),
            plain("list", "list services (also without any option), connections, timeouts or daemons"),
            plain("zero", "start counters and rates from zero"),
            plain("save", "print the rules that make this table"),
            plain("restore", "read rules from standard input"),
            plain("set", "set timeouts: TCP, TCPFIN and UDP in seconds, 0 leaves one as it is"),
            option("start-daemon", "ROLE", ROLES, "start synchronising connections, as master or backup"),
            option("stop-daemon", "ROLE", ROLES, "stop it"),
            plain("help", "print a summary"),
            plain("version", "print the version"),
        ],
        note: "The command comes first.",
    },
    Group {
        title: "SERVICE is one of",
        options: &[
            option("tcp-service", "HOST[:PORT]", Offer::Services("tcp"), "TCP at this address and port"),
            option("udp-service", "HOST[:PORT]", Offer::Services("udp"), "UDP"),
            option("sctp-service", "HOST[:PORT]", Offer::Services("sctp"), "SCTP"),
            option("fwmark-service", "MARK", Offer::Services("fwmark"), "packets with this mark, 1 to 4294967295"),
            plain("ipv6", "the mark is of IPv6; stands behind it"),
        ],
        note: "IPv6 addresses with a port are written [ADDRESS]:PORT. Port 0 is every port, with -p.",
    },
    Group {
        title: "Of services",
        options: &[
            option("scheduler", "NAME", Offer::Schedulers, "which server a connection gets; wlc if not said"),
            option("persistent", "[SECONDS]", Offer::Nothing, "clients stay with their server; 360 if not said"),
            option(
                "netmask",
                "MASK",
                Offer::Nothing,
                "clients equal under this mask (IPv6: prefix length) stay together",
            ),
            option("pe", "ENGINE", Offer::Words(&["sip"]), "how clients are told apart: sip"),
            option("sched-flags", "FLAGS", FLAGS, "flags of sh and mh, with commas between"),
            plain("ops", "one-packet scheduling (UDP)"),
            option(
                "conn-timeouts",
                "T/F/U",
                Offer::Nothing,
                "timeouts of its connections, as those of --set; 0 is what all have (RVS)",
            ),
        ],
        note: "",
    },
    Group {
        title: "Of servers",
        options: &[
            option("real-server", "HOST[:PORT]", Offer::Nothing, "which; the service's port if not said"),
            plain("gatewaying", "direct routing (if not said)"),
            plain("ipip", "tunnelling"),
            plain("masquerading", "NAT"),
            option("weight", "N", Offer::Nothing, "0 takes no new connections; 1 if not said"),
            option("u-threshold", "N", Offer::Nothing, "no more connections at this many; 0 is no limit"),
            option("l-threshold", "N", Offer::Nothing, "again below this many; 3/4 of the other if not said"),
        ],
        note: "",
    },
    Group {
        title: "TUNNEL",
        options: &[
            option("tun-type", "TYPE", Offer::Words(&["ipip", "gue", "gre"]), "ipip (if not said), gue or gre"),
            option("tun-port", "PORT", Offer::Nothing, "of gue"),
            plain("tun-nocsum", "without checksum (gue, gre)"),
            plain("tun-csum", "with checksum (gue, gre)"),
            plain("tun-remcsum", "with remote checksum (gue)"),
        ],
        note: "",
    },
    Group {
        title: "LISTING",
        options: &[
            plain("numeric", "no names"),
            plain("connection", "connections"),
            plain("timeout", "timeouts"),
            plain("daemon", "daemons"),
            plain("stats", "counters"),
            plain("rate", "the same each second"),
            plain("exact", "every digit of them"),
            plain("thresholds", "upper and lower thresholds of servers"),
            plain("persistent-conn", "persistent connections; with -c, engines"),
            plain("tun-info", "tunnels"),
            plain("nosort", "in the order of the director"),
            plain("sort", "does nothing"),
            plain("json", "as JSON (RVS)"),
        ],
        note: "",
    },
    Group {
        title: "Saving and restoring",
        options: &[
            plain("full", "save also thresholds, timeouts and daemons (RVS)"),
            plain("atomic", "restore all lines or none, in place of what is there, without a gap in service (RVS)"),
        ],
        note: "",
    },
    Group {
        title: "DAEMON",
        options: &[
            option("mcast-interface", "NAME", Offer::Interfaces, "where the group is; eth0 if not said"),
            option("syncid", "ID", Offer::Nothing, "0 to 255; tells directors of one group apart"),
            option("sync-maxlen", "BYTES", Offer::Nothing, "longest message; by the interface's MTU if not said"),
            option("mcast-group", "ADDRESS", Offer::Nothing, "224.0.0.81 if not said"),
            option("mcast-port", "PORT", Offer::Nothing, "8848 if not said"),
            option("mcast-ttl", "N", Offer::Nothing, "1 if not said"),
        ],
        note: "",
    },
];

/// Every option.
pub fn all() -> impl Iterator<Item = &'static Described> {
    GROUPS.iter().flat_map(|group| group.options)
}

/// The forms of a call, behind the program's name.
pub const CALLS: &[&str] = &[
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
    "--stop-daemon master|backup [--syncid ID]",
    "-h|-v",
];

#[cfg(test)]
mod tests {
    use super::super::popt::Takes;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_option_is_described_once_and_as_it_is() {
        let known: BTreeSet<&str> = KNOWN.iter().map(|known| known.long).collect();
        let described: BTreeSet<&str> = all().map(|option| option.long).collect();
        assert_eq!(known, described);
        assert_eq!(all().count(), described.len());
        for known in KNOWN {
            let argument = all().find(|option| option.long == known.long).unwrap().argument;
            let takes = match argument {
                "" => Takes::Nothing,
                optional if optional.starts_with('[') => Takes::Optional,
                _ => Takes::Value,
            };
            assert_eq!(takes, known.takes, "{}", known.long);
        }
    }
}
