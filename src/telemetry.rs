//! What DPDK's telemetry socket answers about the director: `/rvs/services` and others, from ordinary commands.

use control::command::{Command, Counters, PortView, Reply, ServiceView, WorkerView};
use control::ipvsadm::Executor;
use dpdk_ffi::telemetry::Value;
use std::collections::BTreeMap;

/// The commands, with their explanations.
pub const COMMANDS: [(&str, &str); 5] = [
    (
        "/rvs/services",
        "The virtual services in their order. Parameters: the place of one, counted from 0, for all about it",
    ),
    ("/rvs/workers", "What the workers do. Parameters: the number of one, for all about it"),
    ("/rvs/ports", "What the ports count. Parameters: the number of one"),
    ("/rvs/drops", "Frames dropped, by reason. Takes no parameters"),
    ("/rvs/stats", "What all services did together. Takes no parameters"),
];

/// The answer to one of [`COMMANDS`]; none if its parameters mean nothing, or the director does not answer.
pub fn answer(executor: &mut dyn Executor, command: &str, parameters: Option<&str>) -> Option<Value> {
    let number = parameters.map(str::parse::<usize>).transpose().ok()?;
    match command {
        "/rvs/services" => {
            let Reply::Services(services) = executor.execute(Command::Services { service: None }).ok()? else {
                return None;
            };
            match number {
                None => Some(Value::List(services.iter().map(title).collect())),
                Some(number) => services.get(number).map(service),
            }
        }
        "/rvs/workers" => {
            let workers = workers(executor)?;
            match number {
                None => Some(Value::Table(workers.iter().map(|view| (view.worker.to_string(), brief(view))).collect())),
                Some(number) => workers.get(number).map(worker),
            }
        }
        "/rvs/ports" => {
            let port = number.map(u16::try_from).transpose().ok()?;
            match executor.execute(Command::Ports { port, extended: false }).ok()? {
                Reply::Ports(ports) if number.is_some() => ports.first().map(self::port),
                Reply::Ports(ports) => {
                    Some(Value::Table(ports.iter().map(|view| (view.port.to_string(), self::port(view))).collect()))
                }
                _ => None,
            }
        }
        "/rvs/drops" if number.is_none() => {
            let mut sums = BTreeMap::<String, u64>::new();
            for (reason, count) in workers(executor)?.into_iter().flat_map(|view| view.drops) {
                *sums.entry(reason).or_default() += count;
            }
            Some(Value::Table(numbers(sums)))
        }
        "/rvs/stats" if number.is_none() => match executor.execute(Command::Statistics).ok()? {
            Reply::Statistics(total) => Some(Value::Table(counters(total.counters))),
            _ => None,
        },
        _ => None,
    }
}

fn workers(executor: &mut dyn Executor) -> Option<Vec<WorkerView>> {
    match executor.execute(Command::Workers).ok()? {
        Reply::Workers(workers) => Some(workers),
        _ => None,
    }
}

fn numbers<N: ToString>(rows: impl IntoIterator<Item = (N, u64)>) -> Vec<(String, Value)> {
    rows.into_iter().map(|(name, number)| (name.to_string(), Value::Number(number))).collect()
}

fn counters(of: Counters) -> Vec<(String, Value)> {
    numbers([
        ("connections", of.connections),
        ("in_packets", of.in_packets),
        ("out_packets", of.out_packets),
        ("in_bytes", of.in_bytes),
        ("out_bytes", of.out_bytes),
    ])
}

fn title(view: &ServiceView) -> String {
    format!("{} {}", view.spec.service, view.spec.scheduler)
}

fn service(view: &ServiceView) -> Value {
    let servers = view.servers.iter().map(|server| {
        let (spec, active, inactive) = (&server.spec, server.active, server.inactive);
        format!("{} weight {} active {active} inactive {inactive}", spec.name(), spec.weight)
    });
    let mut rows = vec![
        ("service".to_owned(), Value::Text(view.spec.service.to_string())),
        ("scheduler".to_owned(), Value::Text(view.spec.scheduler.clone())),
    ];
    rows.extend(counters(view.statistics.counters));
    rows.push(("servers".to_owned(), Value::List(servers.collect())));
    Value::Table(rows)
}

fn brief(view: &WorkerView) -> Value {
    Value::Table(numbers([
        ("received", view.received),
        ("forwarded", view.forwarded),
        ("to_kernel", view.to_kernel),
        ("dropped", view.dropped),
        ("entries", view.entries),
    ]))
}

fn worker(view: &WorkerView) -> Value {
    let mut rows = numbers([
        ("received", view.received),
        ("forwarded", view.forwarded),
        ("to_kernel", view.to_kernel),
        ("dropped", view.dropped),
        ("held", view.held),
        ("handed_out", view.handed_out),
        ("handed_in", view.handed_in),
        ("answered", view.answered),
        ("from_kernel", view.from_kernel),
        ("entries", view.entries),
        ("created", view.created),
        ("insert_failures", view.insert_failures),
        ("evicted", view.evicted),
        ("expired", view.expired),
        ("turns", view.turns),
        ("busy_turns", view.busy_turns),
        ("busy_cycles", view.busy_cycles),
        ("idle_cycles", view.idle_cycles),
        ("snapshot", view.snapshot),
    ]);
    let drops = view.drops.iter().filter(|(_, count)| **count > 0).map(|(reason, count)| (reason, *count));
    rows.push(("drops".to_owned(), Value::Table(numbers(drops))));
    Value::Table(rows)
}

fn port(view: &PortView) -> Value {
    let mut rows = vec![
        ("device".to_owned(), Value::Text(view.device.clone())),
        ("driver".to_owned(), Value::Text(view.driver.clone())),
        ("kernel".to_owned(), Value::Text(view.kernel.clone().unwrap_or_default())),
        ("delivery".to_owned(), Value::Text(view.delivery.clone())),
    ];
    rows.extend(numbers([
        ("link_up", view.link_up.into()),
        ("queues", view.queues.into()),
        ("rx_packets", view.stats.rx_packets),
        ("rx_bytes", view.stats.rx_bytes),
        ("rx_missed", view.stats.rx_missed),
        ("rx_errors", view.stats.rx_errors),
        ("rx_nombuf", view.stats.rx_nombuf),
        ("tx_packets", view.stats.tx_packets),
        ("tx_bytes", view.stats.tx_bytes),
        ("tx_errors", view.stats.tx_errors),
    ]));
    Value::Table(rows)
}
