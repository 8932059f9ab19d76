//! ipvsadm's commands and options, and which goes with which: data.

use super::popt::{Known, Takes};

/// A command. The order is that of the rows of the table of what is legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    EditServer,
    DeleteServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
}

impl Verb {
    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        LEGAL[self as usize].0
    }
}

/// An option that the table of what is legal has a column for, in this order; it is also the order of complaints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forward,
    Weight,
    Upper,
    Lower,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    Ops,
    Engine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
    Json,
    Full,
    Atomic,
    ConnTimeouts,
}

const COLUMNS: usize = 38;

/// The options' names in messages. The last four are ours.
const NAMES: [&str; COLUMNS] = [
    "numeric",
    "connection",
    "service-address",
    "scheduler",
    "persistent",
    "netmask",
    "real-server",
    "forwarding-method",
    "weight",
    "u-threshold",
    "l-threshold",
    "mcast-interface",
    "timeout",
    "daemon",
    "stats",
    "rate",
    "thresholds",
    "persistent-conn",
    "nosort",
    "syncid",
    "exact",
    "ops",
    "pe",
    "sched-flags",
    "mcast-group",
    "mcast-port",
    "mcast-ttl",
    "sync-maxlen",
    "tun-info",
    "tun-type",
    "tun-port",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
    "json",
    "full",
    "atomic",
    "conn-timeouts",
];

/// By command, for each option: `+` required, `o` allowed, `x` refused, `1` at most one of those marked so.
const LEGAL: [(&str, &[u8; COLUMNS]); 14] = [
    ("add-service", b"xx+oooxxxxxxxxxxxxxxxoooxxxxxxxxxxxxxo"),
    ("edit-service", b"xx+oooxxxxxxxxxxxxxxxoooxxxxxxxxxxxxxo"),
    ("delete-service", b"xx+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("flush", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("list", b"o11xxxxxxxxx11oooooooxxxxxxxoxxxxxoxxx"),
    ("add-server", b"xx+xxx+ooooxxxxxxxxxxxxxxxxxxoooooxxxx"),
    ("edit-server", b"xx+xxx+ooooxxxxxxxxxxxxxxxxxxoooooxxxx"),
    ("delete-server", b"xx+xxx+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("set", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("start-daemon", b"xxxxxxxxxxxoxxxxxxxoxxxxooooxxxxxxxxxx"),
    ("stop-daemon", b"xxxxxxxxxxxxxxxxxxxoxxxxxxxxxxxxxxxxxx"),
    ("restore", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxox"),
    ("save", b"oxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoxx"),
    ("zero", b"xxoxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
];

/// The options of a tunnel that depend on its type.
const TUNNEL: [Opt; 4] = [Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum];

/// By tunnel type, for each of those, marked as in [`LEGAL`].
const TUNNEL_LEGAL: [(&str, &[u8; 4]); 3] = [("ipip", b"xxxx"), ("gue", b"+111"), ("gre", b"x11x")];

/// A set of options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptSet(u64);

impl OptSet {
    /// True if the option is in the set.
    #[must_use]
    pub fn has(self, option: Opt) -> bool {
        self.0 & (1 << option as u32) != 0
    }

    /// True if one of these is.
    #[must_use]
    pub fn any(self, options: &[Opt]) -> bool {
        options.iter().any(|option| self.has(*option))
    }

    /// Adds it; a complaint if it is there already.
    pub fn add(&mut self, option: Opt) -> Result<(), String> {
        if self.has(option) {
            return Err(format!("multiple '{}' options specified", NAMES[option as usize]));
        }
        self.0 |= 1 << option as u32;
        Ok(())
    }

    /// Checks the set against a command's row.
    pub fn check(self, verb: Verb) -> Result<(), String> {
        let (name, row) = LEGAL[verb as usize];
        let columns = (0..NAMES.len()).map(|column| (self.0 & 1 << column != 0, NAMES[column], row[column]));
        check(columns, &format!("'{name}' command"))
    }

    /// Checks the set against a tunnel type's row.
    pub fn check_tunnel(self, tunnel: &str) -> Result<(), String> {
        let Some((name, row)) = TUNNEL_LEGAL.iter().find(|(name, _)| *name == tunnel) else {
            return Err("illegal tunnel type specified".to_owned());
        };
        let columns = TUNNEL.iter().zip(row.iter()).map(|(opt, mark)| (self.has(*opt), NAMES[*opt as usize], *mark));
        check(columns, &format!("'{name}' tunnel type"))
    }
}

fn check(columns: impl Iterator<Item = (bool, &'static str, u8)>, whose: &str) -> Result<(), String> {
    let mut first_of_group = None;
    for (given, name, mark) in columns {
        match (given, mark) {
            (false, b'+') => return Err(format!("You need to supply the '{name}' option for the {whose}")),
            (true, b'x') => return Err(format!("Illegal '{name}' option with the {whose}")),
            (true, b'1') => match first_of_group {
                None => first_of_group = Some(name),
                Some(first) => {
                    return Err(format!("The option '{name}' conflicts with the '{first}' option in the {whose}"));
                }
            },
            _ => {}
        }
    }
    Ok(())
}

/// True if this option may stand in a call of this command.
#[must_use]
pub fn goes_with(tag: Tag, verb: Verb) -> bool {
    let column = match tag {
        Tag::Command(_) | Tag::Help | Tag::Version => return false,
        Tag::Tcp | Tag::Udp | Tag::Sctp | Tag::Mark | Tag::Ipv6 => Opt::Service,
        Tag::Masquerading | Tag::Ipip | Tag::Gatewaying => Opt::Forward,
        Tag::Sort => Opt::NoSort,
        Tag::Option(option) => option,
    };
    LEGAL[verb as usize].1[column as usize] != b'x'
}

/// What an option on the command line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tag {
    Command(Verb),
    Help,
    Version,
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    Masquerading,
    Ipip,
    Gatewaying,
    Sort,
    /// One that has its own column.
    Option(Opt),
}

macro_rules! known {
    ($($long:literal $short:literal $takes:ident $tag:expr;)*) => {
        &[$(Known { long: $long, short: letter($short), takes: Takes::$takes, tag: $tag },)*]
    };
}

const fn letter(short: char) -> Option<char> {
    if short == ' ' { None } else { Some(short) }
}

/// Every option of ipvsadm, and ours.
pub const KNOWN: &[Known<Tag>] = known! {
    "add-service" 'A' Nothing Tag::Command(Verb::AddService);
    "edit-service" 'E' Nothing Tag::Command(Verb::EditService);
    "delete-service" 'D' Nothing Tag::Command(Verb::DeleteService);
    "clear" 'C' Nothing Tag::Command(Verb::Flush);
    "list" 'L' Nothing Tag::Command(Verb::List);
    "list" 'l' Nothing Tag::Command(Verb::List);
    "zero" 'Z' Nothing Tag::Command(Verb::Zero);
    "add-server" 'a' Nothing Tag::Command(Verb::AddServer);
    "edit-server" 'e' Nothing Tag::Command(Verb::EditServer);
    "delete-server" 'd' Nothing Tag::Command(Verb::DeleteServer);
    "set" ' ' Nothing Tag::Command(Verb::Set);
    "help" 'h' Nothing Tag::Help;
    "version" 'v' Nothing Tag::Version;
    "restore" 'R' Nothing Tag::Command(Verb::Restore);
    "save" 'S' Nothing Tag::Command(Verb::Save);
    "start-daemon" ' ' Value Tag::Command(Verb::StartDaemon);
    "stop-daemon" ' ' Value Tag::Command(Verb::StopDaemon);
    "tcp-service" 't' Value Tag::Tcp;
    "udp-service" 'u' Value Tag::Udp;
    "sctp-service" ' ' Value Tag::Sctp;
    "fwmark-service" 'f' Value Tag::Mark;
    "ipv6" '6' Nothing Tag::Ipv6;
    "scheduler" 's' Value Tag::Option(Opt::Scheduler);
    "persistent" 'p' Optional Tag::Option(Opt::Persistent);
    "netmask" 'M' Value Tag::Option(Opt::Netmask);
    "real-server" 'r' Value Tag::Option(Opt::Server);
    "masquerading" 'm' Nothing Tag::Masquerading;
    "ipip" 'i' Nothing Tag::Ipip;
    "gatewaying" 'g' Nothing Tag::Gatewaying;
    "weight" 'w' Value Tag::Option(Opt::Weight);
    "u-threshold" 'x' Value Tag::Option(Opt::Upper);
    "l-threshold" 'y' Value Tag::Option(Opt::Lower);
    "numeric" 'n' Nothing Tag::Option(Opt::Numeric);
    "connection" 'c' Nothing Tag::Option(Opt::Connection);
    "mcast-interface" ' ' Value Tag::Option(Opt::McastInterface);
    "mcast-group" ' ' Value Tag::Option(Opt::McastGroup);
    "mcast-port" ' ' Value Tag::Option(Opt::McastPort);
    "mcast-ttl" ' ' Value Tag::Option(Opt::McastTtl);
    "sync-maxlen" ' ' Value Tag::Option(Opt::SyncMaxlen);
    "syncid" ' ' Value Tag::Option(Opt::SyncId);
    "timeout" ' ' Nothing Tag::Option(Opt::Timeout);
    "daemon" ' ' Nothing Tag::Option(Opt::Daemon);
    "stats" ' ' Nothing Tag::Option(Opt::Stats);
    "rate" ' ' Nothing Tag::Option(Opt::Rate);
    "thresholds" ' ' Nothing Tag::Option(Opt::Thresholds);
    "persistent-conn" ' ' Nothing Tag::Option(Opt::PersistentConn);
    "tun-info" ' ' Nothing Tag::Option(Opt::TunInfo);
    "nosort" ' ' Nothing Tag::Option(Opt::NoSort);
    "sort" ' ' Nothing Tag::Sort;
    "exact" 'X' Nothing Tag::Option(Opt::Exact);
    "ops" 'o' Nothing Tag::Option(Opt::Ops);
    "pe" ' ' Value Tag::Option(Opt::Engine);
    "sched-flags" 'b' Value Tag::Option(Opt::SchedulerFlags);
    "tun-type" ' ' Value Tag::Option(Opt::TunType);
    "tun-port" ' ' Value Tag::Option(Opt::TunPort);
    "tun-nocsum" ' ' Nothing Tag::Option(Opt::TunNocsum);
    "tun-csum" ' ' Nothing Tag::Option(Opt::TunCsum);
    "tun-remcsum" ' ' Nothing Tag::Option(Opt::TunRemcsum);
    "json" ' ' Nothing Tag::Option(Opt::Json);
    "full" ' ' Nothing Tag::Option(Opt::Full);
    "atomic" ' ' Nothing Tag::Option(Opt::Atomic);
    "conn-timeouts" ' ' Value Tag::Option(Opt::ConnTimeouts);
};
