//! The commands of the console: one row each. Parsing, help and completion are all made from this table; what a command
//! does is one arm in [`super::run`].

use super::grammar::{Matched, Next, Pattern, Unclear, clearest};
use crate::ipvsadm::proc;
use forwarder::pipeline::DropReason;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // see the table
pub enum Verb {
    Help,
    Start,
    Stop,
    Quit,
    ShutDown,
    Load,
    ShowVersion,
    ShowService,
    ShowConnections,
    ShowTimeouts,
    ShowDaemons,
    ShowSettings,
    ShowStatistics,
    ShowProc,
    ShowMarks,
    ShowWorker,
    ShowDrop,
    ShowException,
    SetException,
    AddNeighbour,
    DeleteNeighbour,
    AddRoute,
    DeleteRoute,
    ShowPort,
    ShowDevice,
    ShowQueue,
    ShowUsed,
    ShowLayout,
    ClearPort,
    ClearDrop,
    ShowForwarding,
    ShowNeighbours,
    ShowRoutes,
    ShowLog,
    ShowMemory,
    Doctor,
    ClearForwarding,
    AddService,
    EditService,
    DeleteService,
    Flush,
    FlushConnections,
    Zero,
    AddServer,
    EditServer,
    DeleteServer,
    DrainServer,
    ShowDrain,
    SetTimeouts,
    SetServiceTimeout,
    SetSetting,
    SetLog,
    AddMark,
    DeleteMark,
    SetPromiscuous,
    SetAllMulticast,
    SetLink,
    SetBurst,
    SetVerbose,
    StartPort,
    StopPort,
    StartCapture,
    StopCapture,
    AddTrace,
    ShowTrace,
    ClearTrace,
    ResetPort,
    AttachPort,
    DetachPort,
    SetWorkers,
    Save,
    Restore,
    CheckConfig,
    DiffConfig,
    ReloadConfig,
    ShowConfig,
    ShowStatus,
    Top,
    StartDaemon,
    StopDaemon,
}

/// A section of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Section {
    Control,
    Display,
    Service,
    Config,
    Ports,
    Sync,
    Debug,
}

impl Section {
    /// All, in the order of the help.
    pub const ALL: [Self; 7] =
        [Self::Control, Self::Display, Self::Service, Self::Config, Self::Ports, Self::Sync, Self::Debug];

    /// Its name, what `help` says of it, and its title.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Control => ("control", "Start and stop forwarding.", "Control forwarding"),
            Self::Display => ("display", "Displaying services, workers, ports and counters.", "Display"),
            Self::Service => ("service", "Virtual services and real servers.", "Services and servers"),
            Self::Config => ("config", "Settings, timeouts, saved tables.", "Configuration"),
            Self::Ports => ("ports", "Configuring ports.", "Ports"),
            Self::Debug => ("debug", "Looking at frames.", "Debugging"),
            Self::Sync => ("sync", "Connection synchronisation.", "Connection synchronisation"),
        }
    }
}

/// A service in a pattern.
macro_rules! service {
    () => {
        "((tcp|udp|sctp) VIP:PORT|fwmark MARK [ipv6]|name SERVICE)"
    };
}

/// A service that there is not yet.
macro_rules! new_service {
    () => {
        "((tcp|udp|sctp) VIP:PORT|fwmark MARK [ipv6])"
    };
}

/// A marking rule in a pattern.
macro_rules! mark {
    () => {
        " [tcp|udp|sctp] [from SOURCE] [to TARGET] [port PORTS] set MARK"
    };
}

/// What can be said of a service.
macro_rules! service_options {
    () => {
        " [scheduler SCHEDULER] [persistent [SECONDS]] [netmask MASK] [pe ENGINE] [flags FLAGS] [ops] \
         [timeout TCP TCPFIN UDP] [name NAME]"
    };
}

/// What can be said of a server.
macro_rules! server_options {
    () => {
        " [mode (nat|tun|dr)] [weight WEIGHT] [upper UPPER] [lower LOWER] [tun-type (ipip|gue|gre)] [tun-port PORT] \
         [tun-nocsum|tun-csum|tun-remcsum]"
    };
}

#[rustfmt::skip]
const TABLE: &[(Verb, Section, &str, &str)] = &[
    (Verb::Help, Section::Control, "(help|?) [SECTION]", "Show the sections of the help, or one of them, or all."),
    (Verb::Start, Section::Control, "start", "Start packet forwarding on all workers."),
    (Verb::Stop, Section::Control, "stop",
        "Stop packet forwarding, and show what was forwarded. Connections stay, and age."),
    (Verb::Load, Section::Control, "(load|load_echo) FILE",
        "Execute the commands of a file, line by line; load_echo shows each before its answer."),
    (Verb::Quit, Section::Control, "(quit|exit)", "Leave. The director goes on."),
    (Verb::ShutDown, Section::Control, "shutdown [confirm]", "End the director, and with it all forwarding."),
    (Verb::ShowService, Section::Display,
        concat!("show service [all|", service!(), "] [stats|rate|thresholds|persistent|tunnel] [exact] [numeric] [json]"),
        "List services and their servers, as ipvsadm -L does, with their names, what came from the file, and what drains."),
    (Verb::ShowConnections, Section::Display,
        concat!("show conn [", service!(), "] [client ADDRESS] [server RIP] [state STATE] [limit N] [count] [numeric] [json]"),
        "List connections, or count them; by a service's address, or all that a mark's service has."),
    (Verb::ShowTimeouts, Section::Display, "show timeout [json]", "Show the timeouts of connections, in seconds."),
    (Verb::ShowSettings, Section::Display, "show vs [json]", "Show the settings, by the kernel's names for them."),
    (Verb::ShowMarks, Section::Display, "show mark [json]", "Show the marking rules, the first being the one that wins."),
    (Verb::ShowStatistics, Section::Display, "show stats [json]", "Show what all services counted, and their rates."),
    (Verb::ShowProc, Section::Display, "show proc ENTRY [json]",
        "Show what the kernel would in /proc/net: ip_vs, ip_vs_conn, ip_vs_conn_sync, ip_vs_stats or ip_vs_stats_percpu."),
    (Verb::ShowWorker, Section::Display, "show worker [WORKER|all] [json]",
        "Show what workers did: a line each, or all about one."),
    (Verb::ShowDrop, Section::Display, "show drop [json|REASON [json]]", "Show how many frames were dropped for each reason."),
    (Verb::ShowException, Section::Display, "show exception [json]",
        "Show the frames for the kernel, by class: given to it, over the class's limit, or dropped as its queue was full."),
    (Verb::ShowPort, Section::Display, "show port (info|stats|xstats|summary) (PORT|all) [json]",
        "Show what a port is, or what it counted."),
    (Verb::ShowDevice, Section::Display, "show device info (DEVICE|all) [json]", "Show the ports of a device."),
    (Verb::ShowQueue, Section::Display, "show (rxq|txq) info PORT QUEUE [json]", "Show how a queue of a port is set up."),
    (Verb::ShowUsed, Section::Display, "show port PORT rxq QUEUE desc used count [json]",
        "Show how many frames wait in a receive queue, if the driver tells."),
    (Verb::ShowLayout, Section::Display, "show config (rxtx|cores|fwd) [json]",
        "Show how queues are set up, which lcores forward, or which worker serves which queue."),
    (Verb::ClearPort, Section::Display, "clear port (stats|xstats) (PORT|all)",
        "Let a port count from zero: what all drivers count, or all that its own does."),
    (Verb::ClearDrop, Section::Display, "clear drop", "Let show drop count from zero; other counters go on."),
    (Verb::ShowForwarding, Section::Display, "show fwd stats all [json]",
        "Show what was forwarded since the start of forwarding, by port and by worker."),
    (Verb::ClearForwarding, Section::Display, "clear fwd stats all", "Count what is forwarded from zero."),
    (Verb::ShowNeighbours, Section::Display, "show neigh [json]", "Show the neighbours that the data path knows."),
    (Verb::ShowRoutes, Section::Display, "show route [ADDRESS] [json]",
        "Show where packets to addresses leave, as the data path has it."),
    (Verb::ShowMemory, Section::Display, "show (memory|hugepages) [json]",
        "Show pools of frames, DPDK's heaps, and the machine's huge pages."),
    (Verb::Doctor, Section::Display, "doctor [json]",
        "Say what on the director's machine is in the way, and the command that mends it; rvsd doctor says it before a start."),
    (Verb::ShowLog, Section::Display, "show log [json]", "Show from which levels on lines are logged."),
    (Verb::ShowVersion, Section::Display, "show version [json]", "Show the director's version."),
    (Verb::AddService, Section::Service, concat!("service add ", new_service!(), service_options!()),
        "Add a virtual service (ipvsadm -A)."),
    (Verb::EditService, Section::Service, concat!("service edit ", service!(), service_options!()),
        "Change what is said of a virtual service; the rest stays. An empty name ('') takes the name away."),
    (Verb::DeleteService, Section::Service, concat!("service (del|delete) ", service!()),
        "Delete a virtual service (ipvsadm -D)."),
    (Verb::Flush, Section::Service, "service flush", "Delete all virtual services (ipvsadm -C)."),
    (Verb::Zero, Section::Service, concat!("service zero (all|", service!(), ")"),
        "Count from zero (ipvsadm -Z)."),
    (Verb::AddServer, Section::Service, concat!("server add ", service!(), " RIP:PORT", server_options!()),
        "Add a real server to a service (ipvsadm -a)."),
    (Verb::EditServer, Section::Service, concat!("server edit ", service!(), " RIP:PORT", server_options!()),
        "Change what is named of a real server; the rest stays. Weight 0: no new connections."),
    (Verb::DeleteServer, Section::Service, concat!("server (del|delete) ", service!(), " RIP:PORT"),
        "Delete a real server from a service (ipvsadm -d)."),
    (Verb::DrainServer, Section::Service,
        concat!("server drain ", service!(), " RIP:PORT [deadline SECONDS] [delete]"),
        "Send a real server no new connections, until it has none left or the deadline is over; then perhaps delete it."),
    (Verb::ShowDrain, Section::Display, "show drain [json]", "Show the servers that drain, and their connections."),
    (Verb::FlushConnections, Section::Service,
        concat!("flush conn (all|client ADDRESS|", service!(), " [server RIP:PORT] [client ADDRESS])"),
        "Take connections away, and what keeps these clients with these servers. Packets that still come find none."),
    (Verb::AddMark, Section::Service, concat!("mark add", mark!()),
        "Mark packets for the service of a firewall mark, as iptables would; behind the rules that are there."),
    (Verb::DeleteMark, Section::Service, concat!("mark (del|delete)", mark!()), "Delete a marking rule."),
    (Verb::SetTimeouts, Section::Config, "set timeout TCP TCPFIN UDP",
        "Set the timeouts of connections, seconds; 0 leaves one as it is (ipvsadm --set)."),
    (Verb::SetServiceTimeout, Section::Config,
        concat!("set service ", service!(), " timeout (established|fin|udp|persistence) SECONDS"),
        "Set a timeout of a service's own connections, or how long its clients stay with a server."),
    (Verb::SetLog, Section::Config, "set log (global|TARGET) (off|error|warn|info|debug|trace)",
        "Log lines of a target (dpdk, packet, rvsd, control), or all others, from this level on."),
    (Verb::SetException, Section::Config, "set exception limit (arp|routing|icmp|other) PPS",
        "Let the kernel get so many frames of a class a second from each worker, at most."),
    (Verb::AddNeighbour, Section::Config, "neigh add ADDRESS MAC port PORT",
        "Write a neighbour's MAC address by hand, into the kernel, on the port's interface there."),
    (Verb::DeleteNeighbour, Section::Config, "neigh (del|delete) ADDRESS port PORT",
        "Let the kernel forget a neighbour, written by hand or not."),
    (Verb::AddRoute, Section::Config, "route add NETWORK (via GATEWAY [port PORT]|port PORT) [metric N]",
        "Add a route to the kernel's main table, to a network, an address, or default."),
    (Verb::DeleteRoute, Section::Config, "route (del|delete) NETWORK [via GATEWAY] [port PORT] [metric N]",
        "Take a route out of the kernel's main table, the first that is as described."),
    (Verb::SetSetting, Section::Config, "set vs SETTING VALUE [VALUE2]", "Change a setting, by the kernel's name for it."),
    (Verb::Save, Section::Config, "save [FILE] [full]",
        "Write services and servers as rules of ipvsadm (ipvsadm -S -n); full: with thresholds, timeouts and daemons."),
    (Verb::Restore, Section::Config, "restore FILE", "Replace all services by those of a file of rules, all or nothing."),
    (Verb::CheckConfig, Section::Config, "config check FILE", "Say what is wrong in a configuration file."),
    (Verb::DiffConfig, Section::Config, "config diff [FILE] [json]",
        "Say what a reload of the director's configuration file, or of another, would change."),
    (Verb::ReloadConfig, Section::Config, "config reload [FILE] [json]",
        "Take over the director's configuration file, or another: all of it or nothing."),
    (Verb::ShowConfig, Section::Config, "config show [running|file|FILE] [json]",
        "Write a configuration file that describes what runs, or what the director's or another file says, without what is so anyway."),
    (Verb::ShowStatus, Section::Display, "show status [json]", "Show since when the director runs, and how its file was read."),
    (Verb::Top, Section::Display, "top", "Show a live picture of services, servers, workers and drops; at a terminal."),
    (Verb::SetPromiscuous, Section::Ports, "set promisc (PORT|all) (on|off)", "Receive frames for every MAC address, or not."),
    (Verb::SetAllMulticast, Section::Ports, "set allmulti (PORT|all) (on|off)",
        "Receive frames for every multicast address, or not."),
    (Verb::SetLink, Section::Ports, "set (link-up|link-down) port PORT", "Let a port's link come up, or take it down."),
    (Verb::StartPort, Section::Ports, "port start (PORT|all)", "Start a stopped port. Others forward meanwhile."),
    (Verb::StopPort, Section::Ports, "port stop (PORT|all)", "Stop a port. Others forward meanwhile; frames that would leave by it are dropped."),
    (Verb::ResetPort, Section::Ports, "port reset (PORT|all)", "Stop a port and start it again."),
    (Verb::AttachPort, Section::Ports, "port attach DEVICE",
        "Add a device, as --vdev or -a would, in place of a detached port; the port is stopped."),
    (Verb::DetachPort, Section::Ports, "port detach PORT", "Remove the device of a stopped port. Others forward meanwhile."),
    (Verb::SetWorkers, Section::Config, "set nbcore N",
        "Let so many workers serve the ports' queues, from the next start on; connections stay with theirs."),
    (Verb::SetBurst, Section::Config, "set burst N", "Receive at most so many frames at once, 4 to 32, from now on."),
    (Verb::SetVerbose, Section::Config, "set verbose LEVEL",
        "Log a line about frames, as many as can be read: 0 about none, 1 those received, 2 the same with what was decided, \
         3 those received and sent."),
    (Verb::ShowDaemons, Section::Sync, "show daemon [json]", "Show the synchronisation daemons (ipvsadm -L --daemon)."),
    (Verb::StartCapture, Section::Debug,
        "capture start FILE [port PORT] [host ADDRESS] [point (rx|tx|drop)] [snaplen BYTES] [count N] [seconds SECONDS]",
        "Write frames to a file that tcpdump reads, as they are received and sent: 1000 of them, or those of 10 seconds. With \
         point drop those that are dropped, each with the reason as its comment."),
    (Verb::StopCapture, Section::Debug, "capture stop", "End the capture that another session has started."),
    (Verb::AddTrace, Section::Debug, "trace add [client ADDRESS] [vip VIP] [count N]",
        "Keep what is found and decided for the next packets, 10 if nobody says: of a client, of a virtual address or ADDRESS:PORT, \
         or all. All workers go packet by packet meanwhile, which is slower."),
    (Verb::ShowTrace, Section::Debug, "(trace show|show trace) [json]",
        "Show the way of each packet that was traced, step by step, and what is waited for."),
    (Verb::ClearTrace, Section::Debug, "trace (clear|del)", "Forget the packets that were traced, and wait for no more."),
    (Verb::StartDaemon, Section::Sync,
        "sync start (master|backup) interface INTERFACE [id ID] [group GROUP] [port PORT] [ttl TTL] [maxlen MAXLEN]",
        "Start a synchronisation daemon (ipvsadm --start-daemon)."),
    (Verb::StopDaemon, Section::Sync, "sync stop (master|backup)", "Stop a synchronisation daemon."),
];

struct Row {
    verb: Verb,
    section: Section,
    pattern: Pattern,
    help: &'static str,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = TABLE.iter();
    rows.map(|&(verb, section, pattern, help)| Row { verb, section, pattern: Pattern::new(pattern), help }).collect()
});

/// Whether a word can stand for an argument. The meaning of most is looked at later, so that what is wrong with it can
/// be said.
pub(super) fn takes(argument: &str, word: &str) -> bool {
    const NUMBERS: [&str; 17] = [
        "BYTES", "PORT", "QUEUE", "LEVEL", "WORKER", "N", "SECONDS", "TCP", "TCPFIN", "UDP", "ID", "TTL", "MAXLEN",
        "WEIGHT", "UPPER", "LOWER", "PPS",
    ];
    match argument {
        "ENTRY" => proc::FILES.contains(&word),
        "REASON" => DropReason::ALL.iter().any(|reason| reason.name() == word),
        "MARK" => word.parse::<u32>().is_ok(),
        "SECTION" => word == "all" || Section::ALL.iter().any(|section| section.words().0.starts_with(word)),
        _ => !NUMBERS.contains(&argument) || word.parse::<u64>().is_ok(),
    }
}

/// Which command a line is.
///
/// # Errors
/// The line that testpmd answers with.
pub fn parse(words: &[&str]) -> Result<(Verb, Matched), &'static str> {
    let fits =
        ROWS.iter().flat_map(|row| row.pattern.fits(words, &takes).into_iter().map(|matched| (row.verb, matched)));
    clearest(fits.collect()).map_err(|unclear| match unclear {
        Unclear::Several => "Ambiguous command",
        Unclear::None if words.first().is_some_and(|word| ROWS.iter().any(|row| row.pattern.starts(word))) => {
            "Bad arguments"
        }
        Unclear::None => "Command not found",
    })
}

/// A way to go on with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The word, an argument's name, or `[RETURN]`.
    pub next: Next,
    /// What the command does.
    pub help: &'static str,
}

/// What may follow these whole words.
#[must_use]
pub fn choices(words: &[&str]) -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    for row in ROWS.iter() {
        for next in row.pattern.next(words, &takes) {
            if !choices.iter().any(|choice| choice.next == next) {
                choices.push(Choice { next, help: row.help });
            }
        }
    }
    choices
}

/// True if a word starts a command of this table.
#[must_use]
pub fn is_command(word: &str) -> bool {
    ROWS.iter().any(|row| row.pattern.starts(word))
}

/// Every command, section by section: its title, how the command is written, and what it does.
pub fn described() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    Section::ALL.into_iter().flat_map(|section| {
        let of_section = TABLE.iter().filter(move |row| row.1 as u8 == section as u8);
        of_section.map(move |&(_, _, pattern, help)| (section.words().2, pattern, help))
    })
}

/// `help`: the sections, one of them, or all.
#[must_use]
pub fn help(section: Option<&str>) -> String {
    let Some(wanted) = section else {
        let mut text = "\nHelp is available for the following sections:\n\n".to_owned();
        for (name, about, _) in Section::ALL.map(Section::words) {
            let _ = writeln!(text, "    {:<32}: {about}", format!("help {name}"));
        }
        let _ = writeln!(text, "    {:<32}: All of the above sections.", "help all");
        text += "\nCommands of ipvsadm are understood as they are; ipvsadm -h lists them.\n\
                 A word can be cut short while it stays clear. A line that starts with { is a request as JSON.\n\n";
        return text;
    };
    let mut text = String::new();
    for section in Section::ALL {
        let (name, _, title) = section.words();
        if wanted != "all" && !name.starts_with(wanted) {
            continue;
        }
        let _ = writeln!(text, "\n{title}:\n{}\n", "-".repeat(title.len() + 1));
        for row in ROWS.iter().filter(|row| row.section == section) {
            let _ = writeln!(text, "{}\n    {}\n", row.pattern, row.help);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(line: &str) -> Result<Verb, &'static str> {
        parse(&line.split_whitespace().collect::<Vec<_>>()).map(|(verb, _)| verb)
    }

    #[test]
    fn lines_are_understood_or_refused_as_testpmd_does() {
        let rows = [
            ("start", Ok(Verb::Start)),
            ("stop", Ok(Verb::Stop)),
            ("st", Err("Ambiguous command")),
            ("help ports", Ok(Verb::Help)),
            ("help nothing", Err("Bad arguments")),
            ("?", Ok(Verb::Help)),
            ("show port stats 0", Ok(Verb::ShowPort)),
            ("show port stats 0 json", Ok(Verb::ShowPort)),
            ("show port stats", Err("Bad arguments")),
            ("show port stats -1", Err("Bad arguments")),
            ("show", Err("Bad arguments")),
            ("show nothing", Err("Bad arguments")),
            ("frobnicate", Err("Command not found")),
            ("show service", Ok(Verb::ShowService)),
            ("show service all stats exact", Ok(Verb::ShowService)),
            ("show service tcp 10.0.0.1:80 rate", Ok(Verb::ShowService)),
            ("show service fwmark 7 ipv6 json", Ok(Verb::ShowService)),
            ("sh wo", Ok(Verb::ShowWorker)),
            ("show drop", Ok(Verb::ShowDrop)),
            ("show drop json", Ok(Verb::ShowDrop)),
            ("service add tcp 10.0.0.1:80 ops scheduler rr persistent 60 netmask 255.255.0.0", Ok(Verb::AddService)),
            ("server add udp 10.0.0.1:53 10.0.0.2 mode tun weight 3 tun-type gue tun-port 6080", Ok(Verb::AddServer)),
            ("set timeout 900 120 300", Ok(Verb::SetTimeouts)),
            ("set timeout 900 120", Err("Bad arguments")),
            ("set vs sync_threshold 3 50", Ok(Verb::SetSetting)),
            ("load_echo f", Ok(Verb::Load)),
            ("show port 0 rxq 1 desc used count", Ok(Verb::ShowUsed)),
            ("show rxq info 0 0", Ok(Verb::ShowQueue)),
            ("show txq info 0", Err("Bad arguments")),
            ("set link-up port 0", Ok(Verb::SetLink)),
        ];
        for (line, expected) in rows {
            assert_eq!(verb(line), expected, "{line}");
        }
    }

    #[test]
    fn every_command_is_in_the_help_of_its_section() {
        let all = help(Some("all"));
        for (_, section, pattern, about) in TABLE {
            let own = help(Some(section.words().0));
            for text in [&all, &own] {
                assert!(text.contains(&format!("\n{pattern}\n    {about}\n")), "{pattern}");
            }
        }
        assert!(help(None).contains("    help control                    : Start and stop forwarding.\n"));
    }

    #[test]
    fn every_show_can_be_json() {
        for (_, _, pattern, _) in
            TABLE.iter().filter(|row| row.2.starts_with("show ") || row.2.starts_with("config show"))
        {
            assert!(pattern.contains("json"), "{pattern}");
        }
    }

    #[test]
    fn a_line_can_be_continued() {
        let words = |line: &str| -> Vec<String> {
            let words: Vec<&str> = line.split_whitespace().collect();
            choices(&words).iter().map(|choice| format!("{:?}", choice.next)).collect()
        };
        assert!(words("").contains(&"Word(\"service\")".to_owned()));
        let kinds = ["info", "stats", "xstats", "summary"].map(|word| format!("Word({word:?})"));
        assert_eq!(words("show port"), [&kinds[..], &["Argument(\"PORT\")".to_owned()]].concat());
        assert!(words("show port info all").contains(&"Return".to_owned()));
        assert!(words("nothing").is_empty());
    }
}
