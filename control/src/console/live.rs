//! Values for completion, asked of the running director.

use super::commands::Section;
use super::complete::Values;
use crate::command::{Command, Reply, ServiceName, ServiceView};
use crate::ipvsadm::Executor;
use crate::ipvsadm::format::Endpoints;
use crate::ipvsadm::proc;
use forwarder::pipeline::DropReason;
use forwarder::scheduler::SCHEDULERS;
use forwarder::service::Protocol;

/// What the director knows. A director that does not answer knows nothing.
pub struct Live<E>(pub E);

impl<E: Executor> Values for Live<E> {
    fn of(&mut self, argument: &str, words: &[&str]) -> Vec<String> {
        let own = |names: &mut dyn Iterator<Item = &'static str>| names.map(str::to_owned).collect();
        match argument {
            "SECTION" => own(&mut Section::ALL.iter().map(|section| section.words().0).chain(["all"])),
            "ENTRY" => own(&mut proc::FILES.into_iter()),
            "REASON" => own(&mut DropReason::ALL.iter().map(|reason| reason.name())),
            "SCHEDULER" => own(&mut SCHEDULERS.iter().map(|known| known.name)),
            "ENGINE" => own(&mut ["sip"].into_iter()),
            "PORT" if ["port", "promisc", "allmulti", "rxq", "txq"].iter().any(|word| words.contains(word)) => {
                self.ports()
            }
            "DEVICE" => match self.0.execute(Command::Ports { port: None, extended: false }) {
                Ok(Reply::Ports(ports)) => ports.into_iter().map(|port| port.device).collect(),
                _ => Vec::new(),
            },
            "ADDRESS" if words.contains(&"neigh") => match self.0.execute(Command::Neighbours) {
                Ok(Reply::Neighbours(views)) => views.iter().map(|view| view.address.to_string()).collect(),
                _ => Vec::new(),
            },
            "WORKER" => match self.0.execute(Command::Workers) {
                Ok(Reply::Workers(workers)) => workers.iter().map(|worker| worker.worker.to_string()).collect(),
                _ => Vec::new(),
            },
            "SERVICE" => self.services().into_iter().filter_map(|view| view.spec.name).collect(),
            "SETTING" => match self.0.execute(Command::Settings) {
                Ok(Reply::Settings(settings)) => settings.into_iter().map(|setting| setting.name).collect(),
                _ => Vec::new(),
            },
            "VIP:PORT" | "MARK" => {
                let services = self.services();
                let named = services.iter().filter_map(|view| of_kind(&view.spec.service, words));
                named.collect()
            }
            "VIP" => self.services().iter().filter_map(|view| named_address(&view.spec.service)).collect(),
            "RIP:PORT" => self.servers(words),
            _ => Vec::new(),
        }
    }
}

impl<E: Executor> Live<E> {
    fn ports(&mut self) -> Vec<String> {
        match self.0.execute(Command::Ports { port: None, extended: false }) {
            Ok(Reply::Ports(ports)) => ports.iter().map(|port| port.port.to_string()).collect(),
            _ => Vec::new(),
        }
    }

    fn services(&mut self) -> Vec<ServiceView> {
        match self.0.execute(Command::Services { service: None }) {
            Ok(Reply::Services(services)) => services,
            _ => Vec::new(),
        }
    }

    /// The servers of the service that is named last.
    fn servers(&mut self, words: &[&str]) -> Vec<String> {
        let services = self.services();
        let named = |view: &&ServiceView| {
            let name = of_kind(&view.spec.service, words).or_else(|| view.spec.name.clone());
            name.is_some_and(|name| words.contains(&name.as_str()))
        };
        let Some(service) = services.iter().find(named) else { return Vec::new() };
        let text = |server: &crate::command::ServerView| {
            Endpoints { names: None }.full(server.spec.address, server.spec.port, None)
        };
        service.servers.iter().map(text).collect()
    }
}

/// The virtual address and port of a service.
fn named_address(service: &ServiceName) -> Option<String> {
    match service {
        ServiceName::Address { address, port, .. } => Some(Endpoints { names: None }.full(*address, *port, None)),
        ServiceName::Mark { .. } => None,
    }
}

/// How a service is named after the words that say its kind; none if it is of another.
fn of_kind(service: &ServiceName, words: &[&str]) -> Option<String> {
    match service {
        ServiceName::Mark { mark, .. } => words.contains(&"fwmark").then(|| mark.to_string()),
        ServiceName::Address { protocol, address, port } => {
            let word = match protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
                Protocol::Sctp => "sctp",
            };
            words.contains(&word).then(|| Endpoints { names: None }.full(*address, *port, None))
        }
    }
}
