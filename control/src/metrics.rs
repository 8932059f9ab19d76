//! Metrics in the OpenMetrics text format, from what the director answers. Names and labels follow node_exporter's
//! (`collector/ipvs_linux.go`), so that a dashboard needs another prefix and nothing else.
//!
//! [`http`] serves them; [`health`] tells whether the director works.

pub mod health;
pub mod http;

#[cfg(test)]
mod tests;

use crate::command::{
    Command, Counters, Error, ForwardingView, PortView, Reply, ServerView, ServiceName, ServiceView, Statistics,
    StatusView, WorkerView,
};
use crate::ipvsadm::Executor;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// The content type of [`Scrape::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is exposed besides what always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Servers have series of their own.
    pub backends: bool,
    /// Workers have series of their own, and not only sums.
    pub workers: bool,
    /// What node_exporter tells of the kernel's IPVS is told under its names as well.
    pub node_names: bool,
    /// Connections that all workers together can keep.
    pub capacity: u64,
}

/// What the director says at one moment.
#[derive(Clone, Debug)]
pub struct Scrape {
    options: Options,
    version: String,
    status: StatusView,
    services: Vec<ServiceView>,
    total: Statistics,
    forwarding: ForwardingView,
    workers: Vec<WorkerView>,
    ports: Vec<PortView>,
    frames_available: Option<u32>,
}

/// Asks for one kind of answer.
macro_rules! ask {
    ($executor:expr, $command:expr, $kind:ident) => {
        match $executor.execute($command)? {
            Reply::$kind(answer) => answer,
            _ => return Err(Error::Invalid),
        }
    };
}

impl Scrape {
    /// Asks the director. `frames_available` are the free frames of the memory pool, if that is known.
    ///
    /// # Errors
    /// The director does not answer.
    pub fn ask(executor: &mut dyn Executor, options: Options, frames_available: Option<u32>) -> Result<Self, Error> {
        Ok(Self {
            options,
            version: ask!(executor, Command::Version, Version).rvs,
            status: ask!(executor, Command::Status, Status),
            services: ask!(executor, Command::Services { service: None }, Services),
            total: ask!(executor, Command::Statistics, Statistics),
            forwarding: ask!(executor, Command::Forwarding, Forwarding),
            workers: ask!(executor, Command::Workers, Workers),
            ports: ask!(executor, Command::Ports { port: None, extended: false }, Ports),
            frames_available,
        })
    }

    /// The text of the exposition.
    #[must_use]
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        let of_node = self.options.node_names.then(|| NodeNames(self.clone()));
        registry.sub_registry_with_prefix("rvs").register_collector(Box::new(self));
        if let Some(of_node) = of_node {
            registry.sub_registry_with_prefix("node_ipvs").register_collector(Box::new(of_node));
        }
        let mut text = String::new();
        // Nothing but a full memory can fail here, and that does not return.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

type Labels = Vec<(&'static str, String)>;

/// Families of metrics, one after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            // An empty family would be written with empty braces.
            if labels.is_empty() {
                write(&mut family, kind, value)?;
            } else {
                write(&mut family.encode_family(&labels)?, kind, value)?;
            }
        }
        Ok(())
    }

    fn counters(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, u64)>) -> fmt::Result {
        self.family(MetricType::Counter, name, help, samples)
    }

    fn gauges(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, u64)>) -> fmt::Result {
        self.family(MetricType::Gauge, name, help, samples)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, [(Labels::new(), value)])
    }

    /// What a service, a server or the whole director balanced; `whose` begins the names and `of` ends the explanations.
    fn balanced(&mut self, whose: &str, of: &str, samples: &[(Labels, Counters)]) -> fmt::Result {
        type Row = (&'static str, &'static str, fn(&Counters) -> u64);
        let rows: [Row; 5] = [
            ("connections", "Connections scheduled", |counters| counters.connections),
            ("incoming_packets", "Packets from clients", |counters| counters.in_packets),
            ("outgoing_packets", "Packets to clients that passed the director", |counters| counters.out_packets),
            ("incoming_bytes", "Bytes of IP packets from clients", |counters| counters.in_bytes),
            ("outgoing_bytes", "Bytes of IP packets to clients that passed the director", |counters| {
                counters.out_bytes
            }),
        ];
        for (name, help, value) in rows {
            let samples = samples.iter().map(|(labels, counters)| (labels.clone(), value(counters)));
            self.counters(&format!("{whose}{name}"), &format!("{help}{of}"), samples)?;
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<Labels, _, u64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

/// What names a service, as node_exporter does.
fn service_labels(name: &ServiceName) -> Labels {
    let (address, port, mark) = match name {
        ServiceName::Address { address, port, .. } => (address.to_string(), *port, String::new()),
        ServiceName::Mark { mark, .. } => (String::new(), 0, format!("{mark:08X}")),
    };
    vec![
        ("local_address", address),
        ("local_port", port.to_string()),
        ("local_mark", mark),
        ("proto", protocol(name).to_owned()),
    ]
}

fn protocol(name: &ServiceName) -> &'static str {
    use forwarder::service::Protocol;
    match name {
        ServiceName::Mark { .. } => "FWM",
        ServiceName::Address { protocol: Protocol::Tcp, .. } => "TCP",
        ServiceName::Address { protocol: Protocol::Udp, .. } => "UDP",
        ServiceName::Address { protocol: Protocol::Sctp, .. } => "SCTP",
    }
}

fn server_labels(service: &Labels, server: &ServerView) -> Labels {
    let mut labels = service.clone();
    labels.push(("remote_address", server.spec.address.to_string()));
    labels.push(("remote_port", server.spec.port.to_string()));
    labels
}

fn label(name: &'static str, value: impl ToString) -> Labels {
    vec![(name, value.to_string())]
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Families(encoder);
        self.daemon(&mut to)?;
        self.services(&mut to)?;
        if self.options.backends {
            self.backends(&mut to)?;
        }
        self.connections(&mut to)?;
        self.frames(&mut to)?;
        self.ports(&mut to)
    }
}

/// What node_exporter tells, for a registry with its prefix.
#[derive(Debug)]
struct NodeNames(Scrape);

impl Collector for NodeNames {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (Self(scrape), mut to) = (self, Families(encoder));
        to.balanced("", ", over all services", &[(Labels::new(), scrape.total.counters)])?;
        if scrape.options.backends { scrape.states_of_backends(&mut to, &OF_NODE) } else { Ok(()) }
    }
}

/// Something of a server: name, help and value.
type ServerRow = (&'static str, &'static str, fn(&ServerView) -> u64);

/// What node_exporter tells of a server.
const OF_NODE: [ServerRow; 3] = [
    ("connections_active", "ActiveConn of a real server", |server| server.active.into()),
    ("connections_inactive", "InActConn of a real server", |server| server.inactive.into()),
    ("weight", "The weight of a real server", |server| server.spec.weight.into()),
];

/// What more is told under our own names.
const OF_OURS: [ServerRow; 2] = [
    ("connections_persistent", "PersistConn of a real server", |server| server.persistent.into()),
    ("draining", "1 while a real server drains", |server| server.drain.is_some().into()),
];

/// Frames of a turn up to which a turn is counted, by class: [`forwarder::stats::burst_class`]. The last has no bound.
const BURST_BOUNDS: [f64; 6] = [1.0, 3.0, 7.0, 15.0, 31.0, f64::INFINITY];

impl Scrape {
    fn daemon(&self, to: &mut Families<'_>) -> fmt::Result {
        let version = vec![("version", self.version.clone())];
        to.0.encode_descriptor("build", "The director's version", None, MetricType::Info)?.encode_info(&version)?;
        let StatusView { started, reloads, failed_reloads, last_reload } = self.status;
        to.gauge("start_time_seconds", "When the director started, in seconds since 1970", started)?;
        let results = [(label("result", "success"), reloads), (label("result", "failure"), failed_reloads)];
        to.counters("config_reloads", "How often the configuration file was read again", results)?;
        let help = "When the configuration file was last taken over, in seconds since 1970";
        to.gauge("config_last_reload_success_timestamp_seconds", help, last_reload)?;
        to.gauge("forwarding", "1 while packets are forwarded, 0 after `stop`", self.forwarding.running.into())
    }

    fn services(&self, to: &mut Families<'_>) -> fmt::Result {
        to.balanced("", ", over all services", &[(Labels::new(), self.total.counters)])?;
        to.gauge("services", "Virtual services", self.services.len() as u64)?;
        let all = self.services.iter().map(|view| (service_labels(&view.spec.service), view.statistics.counters));
        to.balanced("service_", ", by virtual service", &all.collect::<Vec<_>>())?;
        let names = self.services.iter().map(|view| {
            let mut labels = service_labels(&view.spec.service);
            let name = view.spec.name.clone().unwrap_or_else(|| view.spec.service.to_string());
            labels.push(("name", name));
            labels.push(("scheduler", view.spec.scheduler.clone()));
            labels
        });
        let mut infos = to.0.encode_descriptor("service", "Virtual services", None, MetricType::Info)?;
        for labels in names {
            infos.encode_info(&labels)?;
        }
        Ok(())
    }

    fn servers(&self) -> Vec<(Labels, &ServerView)> {
        let servers = self.services.iter().flat_map(|view| {
            let service = service_labels(&view.spec.service);
            view.servers.iter().map(move |server| (server_labels(&service, server), server))
        });
        servers.collect()
    }

    fn states_of_backends(&self, to: &mut Families<'_>, rows: &[ServerRow]) -> fmt::Result {
        let servers = self.servers();
        for (name, help, value) in rows {
            let samples = servers.iter().map(|(labels, server)| (labels.clone(), value(server)));
            to.gauges(&format!("backend_{name}"), help, samples)?;
        }
        Ok(())
    }

    fn backends(&self, to: &mut Families<'_>) -> fmt::Result {
        self.states_of_backends(to, &OF_NODE)?;
        self.states_of_backends(to, &OF_OURS)?;
        let servers = self.servers();
        let all: Vec<_> = servers.iter().map(|(labels, server)| (labels.clone(), server.statistics.counters)).collect();
        to.balanced("backend_", ", by real server", &all)
    }

    /// The workers, each with its label; or all as one without.
    fn crew(&self) -> Vec<(Labels, Vec<&WorkerView>)> {
        if self.options.workers {
            self.workers.iter().map(|worker| (label("worker", worker.worker), vec![worker])).collect()
        } else {
            vec![(Labels::new(), self.workers.iter().collect())]
        }
    }

    /// A number of each worker, or their sum.
    fn each(&self, of: fn(&WorkerView) -> u64) -> Vec<(Labels, u64)> {
        let sum = |workers: Vec<&WorkerView>| workers.into_iter().map(of).sum();
        self.crew().into_iter().map(|(labels, workers)| (labels, sum(workers))).collect()
    }

    /// Numbers by name of each worker, or their sums.
    fn each_by_name<N: ToString>(
        &self,
        name: &'static str,
        of: impl Fn(&WorkerView) -> Vec<(N, u64)>,
    ) -> Vec<(Labels, u64)> {
        let mut samples = Vec::new();
        for (labels, workers) in self.crew() {
            let mut sums = std::collections::BTreeMap::<String, u64>::new();
            for (name, count) in workers.into_iter().flat_map(&of) {
                *sums.entry(name.to_string()).or_default() += count;
            }
            samples.extend(sums.into_iter().map(|(value, sum)| {
                let mut labels = labels.clone();
                labels.push((name, value));
                (labels, sum)
            }));
        }
        samples
    }

    fn connections(&self, to: &mut Families<'_>) -> fmt::Result {
        to.gauges("conn_entries", "Entries in the connection tables", self.each(|worker| worker.entries))?;
        let states = |worker: &WorkerView| worker.states.clone().into_iter().collect();
        to.gauges("conn_state_entries", "Entries by their state", self.each_by_name("state", states))?;
        to.gauge("conn_capacity", "Entries that the connection tables have room for", self.options.capacity)?;
        to.counters("conn_created", "Entries made", self.each(|worker| worker.created))?;
        let failures = self.each(|worker| worker.insert_failures);
        to.counters("conn_alloc_failures", "Entries for which there was no room", failures)?;
        let help = "Half-open or closed entries that gave way to new ones";
        to.counters("conn_evicted", help, self.each(|worker| worker.evicted))?;
        let help = "Entries that an operator took away";
        to.counters("conn_flushed", help, self.each(|worker| worker.flushed))?;
        let expired = |worker: &WorkerView| worker.expired_in.clone().into_iter().collect();
        let help = "Entries whose time was over, by the state they were in";
        to.counters("conn_expired", help, self.each_by_name("state", expired))
    }

    fn frames(&self, to: &mut Families<'_>) -> fmt::Result {
        to.counters("received_packets", "Frames received from the ports", self.each(|worker| worker.received))?;
        to.counters("forwarded_packets", "Frames of connections sent", self.each(|worker| worker.forwarded))?;
        to.counters("answered_packets", "Frames the director answered itself", self.each(|worker| worker.answered))?;
        to.counters("handed_over_packets", "Frames given to another worker", self.each(|worker| worker.handed_out))?;
        let drops = |worker: &WorkerView| worker.drops.clone().into_iter().collect();
        to.counters("drops", "Frames dropped, by reason", self.each_by_name("reason", drops))?;
        let passed = |worker: &WorkerView| {
            worker.classes.iter().map(|(class, view)| (class.clone(), view.passed)).collect::<Vec<_>>()
        };
        to.counters("exception_packets", "Frames given to the kernel, by class", self.each_by_name("class", passed))?;
        let lost = |worker: &WorkerView| {
            worker.classes.iter().map(|(class, view)| (class.clone(), view.policed + view.dropped)).collect::<Vec<_>>()
        };
        let help = "Frames that the kernel did not get: above the limit of their class, or its queue was full";
        to.counters("exception_dropped", help, self.each_by_name("class", lost))?;
        self.loops(to)?;
        let available = self.frames_available.map(|frames| (label("pool", "rvs_frames"), frames.into()));
        to.gauges("mempool_available", "Free frames of the memory pool", available)
    }

    /// What the workers' loops do with their time.
    fn loops(&self, to: &mut Families<'_>) -> fmt::Result {
        to.gauge("workers", "Workers", self.workers.len() as u64)?;
        to.counters("worker_turns", "Turns of the workers' loops", self.each(|worker| worker.turns))?;
        to.counters("worker_busy_turns", "Turns that found frames", self.each(|worker| worker.busy_turns))?;
        let help = "Cycles of the processor's counter that went into turns with frames";
        to.counters("worker_busy_cycles", help, self.each(|worker| worker.busy_cycles))?;
        let all = self.each(|worker| worker.busy_cycles.saturating_add(worker.idle_cycles));
        to.counters("worker_cycles", "Cycles of the processor's counter", all)?;
        let help = "Frames that a turn received, from ports and other workers, of turns that received any";
        let mut family = to.0.encode_descriptor("worker_rx_burst_size", help, None, MetricType::Histogram)?;
        for (labels, workers) in self.crew() {
            let sum: u64 = workers.iter().map(|worker| worker.received.saturating_add(worker.handed_in)).sum();
            let counts = (0..BURST_BOUNDS.len()).map(|class| workers.iter().map(|worker| worker.bursts[class]).sum());
            let buckets: Vec<(f64, u64)> = BURST_BOUNDS.into_iter().zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            if labels.is_empty() {
                family.encode_histogram::<Labels>(sum as f64, count, &buckets, None)?;
            } else {
                family.encode_family(&labels)?.encode_histogram::<Labels>(sum as f64, count, &buckets, None)?;
            }
        }
        Ok(())
    }

    fn ports(&self, to: &mut Families<'_>) -> fmt::Result {
        type Row = (&'static str, &'static str, fn(&PortView) -> u64);
        let rows: [Row; 8] = [
            ("rx_packets", "Frames received", |port| port.stats.rx_packets),
            ("rx_bytes", "Bytes received", |port| port.stats.rx_bytes),
            ("tx_packets", "Frames sent", |port| port.stats.tx_packets),
            ("tx_bytes", "Bytes sent", |port| port.stats.tx_bytes),
            ("rx_missed", "Frames lost because the queues were full", |port| port.stats.rx_missed),
            ("rx_errors", "Frames received with errors", |port| port.stats.rx_errors),
            ("rx_nombuf", "Frames lost because the memory pool was empty", |port| port.stats.rx_nombuf),
            ("tx_errors", "Frames that could not be sent", |port| port.stats.tx_errors),
        ];
        let labels = |port: &PortView| vec![("port", port.port.to_string()), ("device", port.device.clone())];
        for (name, help, value) in rows {
            let samples = self.ports.iter().map(|port| (labels(port), value(port)));
            to.counters(&format!("port_{name}"), help, samples)?;
        }
        let links = self.ports.iter().map(|port| (labels(port), port.link_up.into()));
        to.gauges("port_link_up", "1 while the port has a link", links)
    }
}
