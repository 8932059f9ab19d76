//! Services as `-L` gets them from the kernel: what, and in which order.

use super::{Observed, Service, State};
use crate::command::{Error, ServerView, ServiceName, ServiceView};
use forwarder::service::Protocol;
use std::cmp::Reverse;
use std::net::IpAddr;

impl State {
    /// One service, or all in the kernel's order.
    pub(super) fn list(&self, name: Option<ServiceName>, observed: &dyn Observed) -> Result<Vec<ServiceView>, Error> {
        if let Some(name) = name {
            let service = self.table.find(&name).ok_or(Error::NoSuchService)?;
            return Ok(vec![self.view(service, observed)]);
        }
        let mut services: Vec<&Service> = self.table.services().collect();
        services.sort_by_key(|service| (bucket(service.spec.service, self.hash_key), Reverse(service.generation)));
        Ok(services.into_iter().map(|service| self.view(service, observed)).collect())
    }

    fn view(&self, service: &Service, observed: &dyn Observed) -> ServiceView {
        let members = service.members.iter().filter_map(|id| self.table.destination(*id));
        let servers = members.map(|member| {
            let live = observed.live(member.id);
            ServerView {
                spec: member.spec,
                active: live.active,
                inactive: live.inactive,
                persistent: live.persistent,
                statistics: member.estimator.statistics(),
                origin: self.origins.server(service.spec.service, member.spec.name()),
                drain: self.drain_view(member.id, observed),
            }
        });
        ServiceView {
            spec: service.spec.clone(),
            statistics: service.estimator.statistics(),
            servers: servers.collect(),
            origin: self.origins.service(&service.spec.service),
        }
    }
}

/// Where the kernel's hash tables hold a service (`ip_vs_svc_hashkey`, `ip_vs_svc_fwm_hashkey`): the table of
/// addresses is listed before that of marks, each bucket by bucket, in a bucket the newest first.
fn bucket(name: ServiceName, key: u8) -> (bool, u8) {
    match name {
        ServiceName::Address { protocol, address, port } => {
            let folded = match address {
                IpAddr::V4(v4) => v4.to_bits(),
                IpAddr::V6(v6) => {
                    let bits = v6.to_bits();
                    (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
                }
            };
            let number = match protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
                Protocol::Sctp => 132,
            };
            (false, number ^ folded as u8 ^ key ^ (port >> 8) as u8 ^ port as u8)
        }
        ServiceName::Mark { mark, .. } => (true, mark as u8 ^ key),
    }
}
