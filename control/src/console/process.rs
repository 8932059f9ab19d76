//! The daemon's log, memory and end; routes and neighbours.

use super::commands::Verb;
use super::grammar::Matched;
use super::table::table;
use super::{Console, Outcome, Place};
use crate::command::{Command, Error, MemoryView, NeighbourView, Reply, RoutePage, RouteSpec, WayView};
use crate::top::screen;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdin, stdout};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How often the picture changes.
const PICTURE: Duration = Duration::from_secs(1);

impl Console<'_> {
    /// `shutdown`.
    pub(super) fn shut_down(&mut self, said: &Matched) -> Outcome {
        if !said.has("confirm") {
            let why = "This ends the director, and forwarding with it: shutdown confirm".to_owned();
            return self.refuse(&Error::Refused { why });
        }
        match self.tell_done(Command::Shutdown, "Bye...\n") {
            Ok(()) => Outcome::Goodbye,
            Err(error) => self.refuse(&error),
        }
    }

    /// `top`, between two lines of a session.
    pub(super) fn top(&mut self) -> Outcome {
        let here = self.place == Place::Client && stdin().is_terminal() && stdout().is_terminal();
        if !here {
            let why = "top is a picture at a terminal: rvsadm top, or rvsadm console; without one: show service rate, show worker";
            return self.refuse(&Error::Refused { why: why.to_owned() });
        }
        self.flush();
        match screen::run(self.executor, PICTURE) {
            Ok(()) => Outcome::Done,
            Err(screen::Ended::Lost(error)) => self.refuse(&error),
            Err(error) => self.refuse(&Error::Refused { why: error.to_string() }),
        }
    }

    /// `set log`.
    pub(super) fn set_log(&mut self, said: &Matched) -> Result<(), Error> {
        let level = said.one_of(&["off", "error", "warn", "info", "debug", "trace"]).unwrap_or_default();
        let target = said.argument("TARGET").map(str::to_owned);
        self.executor.execute(Command::SetLog { target, level: level.to_owned() }).map(|_| ())
    }

    /// `show memory` and `show hugepages`.
    pub(super) fn show_memory(&mut self, said: &Matched) -> Result<(), Error> {
        let json = self.json || said.has("json");
        self.show(Command::Memory, json, |reply| match reply {
            Reply::Memory(view) if said.has("hugepages") => huge_pages(&view),
            Reply::Memory(view) => memory(&view),
            _ => String::new(),
        })
    }

    /// `show route`.
    pub(super) fn show_routes(&mut self, said: &Matched) -> Result<(), Error> {
        let to = address(said, "ADDRESS")?;
        let json = self.json || said.has("json");
        self.show(Command::Routes { to }, json, |reply| match reply {
            Reply::Routes(page) => routes(&page),
            _ => String::new(),
        })
    }

    /// `neigh add` and `neigh del`.
    pub(super) fn change_neighbour(&mut self, verb: Verb, said: &Matched) -> Result<(), Error> {
        let (address, port) = (address(said, "ADDRESS")?.ok_or(Error::Invalid)?, port(said)?.ok_or(Error::Invalid)?);
        let command = match verb {
            Verb::AddNeighbour => {
                let mac = said.argument("MAC").unwrap_or_default().to_owned();
                Command::AddNeighbour { port, address, mac }
            }
            _ => Command::DeleteNeighbour { port, address },
        };
        self.executor.execute(command).map(|_| ())
    }

    /// `route add` and `route del`.
    pub(super) fn change_route(&mut self, verb: Verb, said: &Matched) -> Result<(), Error> {
        let metric = match (said.argument("N"), said.number("N")) {
            (Some(text), None) => return Err(Error::BadRequest { why: format!("'{text}' is no metric") }),
            (_, metric) => metric,
        };
        let to = said.argument("NETWORK").unwrap_or_default().to_owned();
        let route = RouteSpec { to, via: address(said, "GATEWAY")?, port: port(said)?, metric };
        let command = if verb == Verb::AddRoute { Command::AddRoute(route) } else { Command::DeleteRoute(route) };
        self.executor.execute(command).map(|_| ())
    }

    /// `show neigh`.
    pub(super) fn show_neighbours(&mut self, said: &Matched) -> Result<(), Error> {
        let json = self.json || said.has("json");
        self.show(Command::Neighbours, json, |reply| match reply {
            Reply::Neighbours(views) => neighbours(&views),
            _ => String::new(),
        })
    }
}

fn address(said: &Matched, name: &str) -> Result<Option<Ipv4Addr>, Error> {
    let bad = |text: &str| Error::BadRequest { why: format!("'{text}' is no address") };
    said.argument(name).map(|text| text.parse().map_err(|_| bad(text))).transpose()
}

/// A number that no port can have is none of a port.
fn port(said: &Matched) -> Result<Option<u16>, Error> {
    let bad = |text: &str| Error::BadRequest { why: format!("'{text}' is no port") };
    said.argument("PORT").map(|text| text.parse().map_err(|_| bad(text))).transpose()
}

fn memory(view: &MemoryView) -> String {
    let pool = |pool: &crate::command::PoolView| {
        let used = pool.size.saturating_sub(pool.available);
        [pool.name.clone(), pool.size.to_string(), used.to_string(), pool.available.to_string()]
    };
    let heap = |heap: &crate::command::HeapView| {
        let of_node = format!("node {}", heap.numa_node);
        [of_node, heap.total.to_string(), heap.free.to_string(), heap.largest_free.to_string()]
    };
    let pools = table(["pool", "frames", "used", "free"], &view.pools.iter().map(pool).collect::<Vec<_>>());
    let heaps = table(["heap", "bytes", "free", "largest piece"], &view.heaps.iter().map(heap).collect::<Vec<_>>());
    pools + "\n" + &heaps + "\n" + &huge_pages(view)
}

fn huge_pages(view: &MemoryView) -> String {
    let row = |pages: &crate::command::HugePagesView| {
        let of_node = format!("node {}", pages.numa_node);
        [of_node, pages.kib.to_string(), pages.total.to_string(), pages.free.to_string()]
    };
    table(["huge pages", "KiB", "reserved", "free"], &view.huge_pages.iter().map(row).collect::<Vec<_>>())
}

fn neighbours(views: &[NeighbourView]) -> String {
    let row = |view: &NeighbourView| {
        let mac = view.mac.clone().unwrap_or_else(|| "unknown".to_owned());
        [view.address.to_string(), view.port.to_string(), mac]
    };
    table(["neighbour", "port", "MAC address"], &views.iter().map(row).collect::<Vec<_>>())
}

fn routes(page: &RoutePage) -> String {
    let mut text = String::new();
    for route in &page.routes {
        let ways = route.ways.iter().map(|way| match way {
            WayView::Local => "local".to_owned(),
            WayView::Unreachable => "unreachable".to_owned(),
            WayView::OnLink { port } => format!("on port {port}"),
            WayView::Via { gateway, port } => format!("via {gateway} on port {port}"),
        });
        let ways: Vec<_> = ways.collect();
        let range = if route.first == route.last {
            route.first.to_string()
        } else {
            format!("{} - {}", route.first, route.last)
        };
        let _ = writeln!(text, "{range}: {}", ways.join(", "));
    }
    if page.more > 0 {
        let _ = writeln!(text, "and {} more; ask for an address", page.more);
    }
    text
}
