//! `rvsadm top`: what the director does, on a whole screen, as it changes. Here is what keys change; `sample` asks the
//! director, `view` draws, `screen` is the terminal.

mod sample;
pub mod screen;
mod view;

pub use sample::Sample;

use crate::command::{ServerView, ServiceView};
use std::time::Duration;

/// By what services are ordered, and servers within their service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// As `ipvsadm -L` lists them.
    #[default]
    List,
    /// Connections a second.
    Connections,
    /// Packets a second, both ways.
    Packets,
    /// Bytes a second, both ways.
    Bytes,
    /// ActiveConn.
    Active,
}

impl Sort {
    const ALL: [Self; 5] = [Self::List, Self::Connections, Self::Packets, Self::Bytes, Self::Active];

    fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Connections => "conn/s",
            Self::Packets => "packet/s",
            Self::Bytes => "bit/s",
            Self::Active => "active",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    fn of_server(self, server: &ServerView) -> u64 {
        let rates = &server.statistics.rates;
        match self {
            Self::List => 0,
            Self::Connections => rates.connections,
            Self::Packets => rates.in_packets + rates.out_packets,
            Self::Bytes => rates.in_bytes + rates.out_bytes,
            Self::Active => server.active.into(),
        }
    }

    fn of_service(self, service: &ServiceView) -> u64 {
        let rates = &service.statistics.rates;
        match self {
            Self::List => 0,
            Self::Connections => rates.connections,
            Self::Packets => rates.in_packets + rates.out_packets,
            Self::Bytes => rates.in_bytes + rates.out_bytes,
            Self::Active => service.servers.iter().map(|server| u64::from(server.active)).sum(),
        }
    }
}

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Interrupt,
}

/// What is shown, and how.
#[derive(Debug)]
pub struct Top {
    now: Sample,
    before: Option<Sample>,
    sort: Sort,
    /// Only what has this in its name is shown.
    filter: String,
    /// The filter is being typed.
    typing: bool,
    paused: bool,
    /// Lines of services that are scrolled away.
    scrolled: usize,
    interval: Duration,
}

/// Between the shortest and the longest interval, doubled and halved by keys.
const INTERVALS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(16)];
/// Lines of a page.
const PAGE: usize = 10;

impl Top {
    /// Begins with a sample.
    #[must_use]
    pub fn new(first: Sample, interval: Duration) -> Self {
        Self {
            now: first,
            before: None,
            sort: Sort::default(),
            filter: String::new(),
            typing: false,
            paused: false,
            scrolled: 0,
            interval: interval.clamp(INTERVALS[0], INTERVALS[1]),
        }
    }

    /// How long to wait for the next sample.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// True while the picture stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The next sample.
    pub fn take(&mut self, sample: Sample) {
        self.before = Some(std::mem::replace(&mut self.now, sample));
    }

    /// A key was pressed. Answers false if that was the end.
    pub fn key(&mut self, key: Key) -> bool {
        if key == Key::Interrupt {
            return false;
        }
        if self.typing {
            match key {
                Key::Char(c) => self.filter.push(c),
                Key::Backspace => drop(self.filter.pop()),
                Key::Enter => self.typing = false,
                Key::Escape => (self.typing, self.filter) = (false, String::new()),
                _ => {}
            }
            self.scrolled = 0;
            return true;
        }
        let rows = self.rows().len();
        match key {
            Key::Char('q') => return false,
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('/') => self.typing = true,
            Key::Char('p' | ' ') => self.paused = !self.paused,
            Key::Char('+') => self.interval = (self.interval / 2).max(INTERVALS[0]),
            Key::Char('-') => self.interval = (self.interval * 2).min(INTERVALS[1]),
            Key::Escape => self.filter.clear(),
            Key::Up | Key::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scrolled += 1,
            Key::PageUp => self.scrolled = self.scrolled.saturating_sub(PAGE),
            Key::PageDown => self.scrolled += PAGE,
            _ => {}
        }
        self.scrolled = self.scrolled.min(rows.saturating_sub(1));
        true
    }

    /// The lines of the list: a service, or one of its servers. A service with its servers stays if its own name fits the
    /// filter; else those of its servers stay whose names do, below it.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut services: Vec<&ServiceView> = self.now.services.iter().collect();
        // Sorting keeps the order of what is alike.
        services.sort_by_key(|service| std::cmp::Reverse(self.sort.of_service(service)));
        let mut rows = Vec::new();
        for service in services {
            let whole = service.spec.title().contains(&self.filter);
            let fits = |server: &&ServerView| whole || server_name(server).contains(&self.filter);
            let mut servers: Vec<&ServerView> = service.servers.iter().filter(fits).collect();
            servers.sort_by_key(|server| std::cmp::Reverse(self.sort.of_server(server)));
            if whole || !servers.is_empty() {
                rows.push(Row::Service(service));
                rows.extend(servers.into_iter().map(|server| Row::Server(service, server)));
            }
        }
        rows
    }
}

/// A line of the list.
enum Row<'a> {
    Service(&'a ServiceView),
    Server(&'a ServiceView, &'a ServerView),
}

fn server_name(server: &ServerView) -> String {
    std::net::SocketAddr::new(server.spec.address, server.spec.port).to_string()
}

#[cfg(test)]
mod tests;
