//! `flush conn`: connections and templates are taken out of the workers' tables.

use super::{Director, Workers};
use crate::command::{Error, FlushedView, Reply, ServerName, ServiceName};
use forwarder::pipeline::{Flushed, Listing, Which};
use std::net::IpAddr;
use std::sync::Arc;

impl<W: Workers> Director<W> {
    pub(super) fn flush(
        &mut self,
        service: Option<ServiceName>,
        server: Option<ServerName>,
        client: Option<IpAddr>,
    ) -> Result<Reply, Error> {
        let destinations = match service {
            Some(service) => Some(self.destinations(service, server)?),
            None if server.is_some() => return Err(Error::BadRequest { why: "a server of which service?".to_owned() }),
            None => None,
        };
        let client = match client {
            Some(IpAddr::V4(client)) => Some(client),
            // No connection is of IPv6.
            Some(IpAddr::V6(_)) => return Ok(Reply::Flushed(FlushedView::default())),
            None => None,
        };
        let Flushed { connections, templates } = self.flush_all(&Arc::new(Which { destinations, client }))?;
        tracing::info!(
            service = service.map(|service| service.to_string()),
            server = server.map(|server| server.to_string()),
            client = client.map(|client| client.to_string()),
            connections,
            templates,
            "flushed"
        );
        Ok(Reply::Flushed(FlushedView { connections, templates }))
    }

    /// The destinations of a service, or one of them, by slot with their generations; deleted ones, too.
    pub(super) fn destinations(
        &self,
        service: ServiceName,
        server: Option<ServerName>,
    ) -> Result<Vec<Option<u16>>, Error> {
        let table = self.state.table();
        let mut found = vec![None; table.destination_slots() as usize];
        let of_service = table.destinations().filter(|known| known.service_name == service);
        for known in of_service.filter(|known| server.is_none_or(|server| server == known.spec.name())) {
            found[known.id.0 as usize] = Some(known.generation);
        }
        match (found.iter().any(Option::is_some), table.find(&service), server) {
            (false, None, _) => Err(Error::NoSuchService),
            (false, Some(_), Some(_)) => Err(Error::NoSuchDestination),
            _ => Ok(found),
        }
    }

    /// First the connections of all workers, so that none hangs on a template any more when those go.
    fn flush_all(&mut self, which: &Arc<Which>) -> Result<Flushed, Error> {
        let snapshot = self.publisher.current();
        let mut flushed = Flushed::default();
        for first in [Listing::Start, Listing::Templates(0)] {
            for worker in 0..self.stats.len() {
                let mut place = first;
                while place != Listing::End && (place == first || place != Listing::Templates(0)) {
                    let next = self.workers.flush(worker, which, &snapshot, place, &mut flushed)?;
                    if next == place {
                        // It can tell another worker nothing, and has tried long enough.
                        return Err(Error::Stalled { worker });
                    }
                    place = next;
                }
            }
        }
        Ok(flushed)
    }
}
