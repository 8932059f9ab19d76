//! The picture.

use super::{Row as Line, Top, server_name};
use crate::command::{Rates, ServerView, ServiceView, WorkerView};
use forwarder::service::Method;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

/// Lines of the list of services that are always there.
const LEAST: u16 = 5;

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const TITLE: Style = Style::new().add_modifier(Modifier::REVERSED);

impl Top {
    /// Draws all of it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let drops = self.drops();
        let workers = self.now.workers.len() as u16 + 1;
        let below = workers + if drops.is_empty() { 0 } else { drops.len() as u16 + 1 };
        // The list comes first where there is little room.
        let below = below.min(frame.area().height.saturating_sub(LEAST + 4));
        let parts = [Constraint::Length(3), Constraint::Min(LEAST), Constraint::Length(below), Constraint::Length(1)];
        let [head, list, rest, keys] = Layout::vertical(parts).areas(frame.area());
        let [workers_area, drops_area] =
            Layout::vertical([Constraint::Length(workers.min(below)), Constraint::Min(0)]).areas(rest);
        frame.render_widget(Paragraph::new(self.summary()), head);
        frame.render_widget(self.list(list), list);
        frame.render_widget(self.workers(), workers_area);
        if !drops.is_empty() {
            frame.render_widget(drop_table(&drops), drops_area);
        }
        frame.render_widget(Paragraph::new(self.keys()), keys);
    }

    /// Seconds since the sample before.
    fn seconds(&self) -> Option<f64> {
        let before = self.before.as_ref()?;
        Some(self.now.at.saturating_sub(before.at).as_secs_f64()).filter(|seconds| *seconds > 0.0)
    }

    /// What one worker counted in a second.
    fn per_second(&self, worker: &WorkerView, of: fn(&WorkerView) -> u64) -> Option<f64> {
        let earlier = self.before.as_ref()?.workers.iter().find(|earlier| earlier.worker == worker.worker)?;
        Some(of(worker).saturating_sub(of(earlier)) as f64 / self.seconds()?)
    }

    fn summary(&self) -> Vec<Text<'static>> {
        let up = self.now.clock.saturating_sub(self.now.status.started);
        let servers: usize = self.now.services.iter().map(|service| service.servers.len()).sum();
        let entries: u64 = self.now.workers.iter().map(|worker| worker.entries).sum();
        let mut rates = Rates::default();
        for service in &self.now.services {
            let of = &service.statistics.rates;
            rates.connections += of.connections;
            rates.in_packets += of.in_packets;
            rates.out_packets += of.out_packets;
            rates.in_bytes += of.in_bytes;
            rates.out_bytes += of.out_bytes;
        }
        let state = if self.now.forwarding { "forwarding" } else { "STOPPED" };
        let links: Vec<_> =
            self.now.ports.iter().filter(|port| !port.link_up).map(|port| port.port.to_string()).collect();
        let links = if links.is_empty() { String::new() } else { format!(", no link on port {}", links.join(", ")) };
        vec![
            Text::from(vec![
                Span::styled(format!("rvsd {}", self.now.version), BOLD),
                Span::raw(format!(
                    "  up {}  {state}{links}  {} services, {servers} servers  {} connections",
                    time(up),
                    self.now.services.len(),
                    number(entries as f64)
                )),
            ]),
            Text::raw(format!(
                "{} conn/s   in {} pkt/s {} bit/s   out {} pkt/s {} bit/s",
                number(rates.connections as f64),
                number(rates.in_packets as f64),
                number(rates.in_bytes as f64 * 8.0),
                number(rates.out_packets as f64),
                number(rates.out_bytes as f64 * 8.0)
            )),
        ]
    }

    fn list(&self, area: Rect) -> Table<'static> {
        let titles = [
            "SERVICE / SERVER",
            "HOW",
            "WEIGHT",
            "ACTIVE",
            "INACT",
            "CONN/S",
            "IN PKT/S",
            "OUT PKT/S",
            "IN BIT/S",
            "OUT BIT/S",
            "SHARE",
        ];
        let widths = [28, 7, 6, 7, 7, 7, 9, 9, 9, 9, 6];
        let visible = usize::from(area.height.saturating_sub(1));
        let rows = self.rows().into_iter().skip(self.scrolled).take(visible).map(|row| match row {
            Line::Service(service) => service_row(service),
            Line::Server(service, server) => server_row(service, server),
        });
        table(titles, widths, rows.collect())
    }

    fn workers(&self) -> Table<'static> {
        let titles = ["WORKER", "BUSY", "RX PKT/S", "TX PKT/S", "DROP/S", "HANDED/S", "ENTRIES"];
        let rows = self.now.workers.iter().map(|worker| {
            let rate = |of: fn(&WorkerView) -> u64| self.per_second(worker, of).map_or("-".to_owned(), number);
            let cells = [
                worker.worker.to_string(),
                worker.recent.busy().map_or("-".to_owned(), |percent| format!("{percent:.0}%")),
                rate(|worker| worker.received),
                rate(|worker| worker.forwarded),
                rate(|worker| worker.dropped),
                rate(|worker| worker.handed_out),
                number(worker.entries as f64),
            ];
            (PLAIN, cells)
        });
        table(titles, [28, 7, 9, 9, 9, 9, 9], rows.collect())
    }

    /// Reasons for which frames were dropped: how many a second, and ever.
    fn drops(&self) -> Vec<(String, Option<f64>, u64)> {
        let before = self.before.as_ref().map(super::Sample::drops).unwrap_or_default();
        let drops = self.now.drops().into_iter().filter(|(_, count)| *count > 0).map(|(reason, count)| {
            let since = count.saturating_sub(before.get(reason).copied().unwrap_or_default());
            (reason.to_owned(), self.seconds().map(|seconds| since as f64 / seconds), count)
        });
        let mut drops: Vec<_> = drops.collect();
        drops.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(std::cmp::Ordering::Equal));
        drops
    }

    fn keys(&self) -> Text<'static> {
        if self.typing {
            return Text::from(vec![Span::styled("filter: ", BOLD), Span::raw(format!("{}_", self.filter))]);
        }
        let filter = if self.filter.is_empty() { String::new() } else { format!(" \"{}\"", self.filter) };
        let paused = if self.paused { "  PAUSED" } else { "" };
        let keys = format!(
            "q quit  s sort: {}  / filter{filter}  p pause  +/- every {} s  up/down scroll{paused}",
            self.sort.name(),
            self.interval.as_secs_f64()
        );
        Text::styled(keys, BOLD)
    }
}

fn table<const N: usize>(
    titles: [&'static str; N],
    widths: [u16; N],
    rows: Vec<(Style, [String; N])>,
) -> Table<'static> {
    // The first column says what the line is about, the others are numbers.
    let cell = |(column, text): (usize, String)| {
        let text = Text::from(text);
        Cell::from(if column < 2 && N > 7 || column == 0 { text } else { text.right_aligned() })
    };
    let row = |cells: [String; N]| Row::new(cells.into_iter().enumerate().map(cell).collect::<Vec<_>>());
    let rows: Vec<_> = rows.into_iter().map(|(style, cells)| row(cells).style(style)).collect();
    Table::new(rows, widths).header(row(titles.map(str::to_owned)).style(TITLE))
}

fn drop_table(drops: &[(String, Option<f64>, u64)]) -> Table<'static> {
    let rows = drops.iter().map(|(reason, rate, count)| {
        let cells = [reason.clone(), rate.map_or("-".to_owned(), number), number(*count as f64)];
        (PLAIN, cells)
    });
    table(["DROPPED BECAUSE", "PKT/S", "EVER"], [28, 9, 9], rows.collect())
}

fn rates(rates: &Rates) -> [String; 5] {
    [
        rates.connections as f64,
        rates.in_packets as f64,
        rates.out_packets as f64,
        rates.in_bytes as f64 * 8.0,
        rates.out_bytes as f64 * 8.0,
    ]
    .map(number)
}

fn service_row(service: &ServiceView) -> (Style, [String; 11]) {
    let sum = |of: fn(&ServerView) -> u32| service.servers.iter().map(|server| u64::from(of(server))).sum::<u64>();
    let [connections, in_packets, out_packets, in_bits, out_bits] = rates(&service.statistics.rates);
    let cells = [
        service.spec.title(),
        service.spec.scheduler.clone(),
        sum(|server| server.spec.weight).to_string(),
        number(sum(|server| server.active) as f64),
        number(sum(|server| server.inactive) as f64),
        connections,
        in_packets,
        out_packets,
        in_bits,
        out_bits,
        String::new(),
    ];
    (BOLD, cells)
}

fn server_row(service: &ServiceView, server: &ServerView) -> (Style, [String; 11]) {
    let how = match server.spec.method {
        Method::Nat => "nat",
        Method::Tun(_) => "tun",
        Method::Dr => "dr",
        Method::Local => "local",
    };
    let how = if server.drain.is_some() { "drains" } else { how };
    let [connections, in_packets, out_packets, in_bits, out_bits] = rates(&server.statistics.rates);
    // Of the service's new connections; of its entries while there are none.
    let share = |of: fn(&ServerView) -> u64| {
        let all: u64 = service.servers.iter().map(of).sum();
        (all > 0).then(|| of(server) as f64 / all as f64)
    };
    let share = share(|server| server.statistics.rates.connections)
        .or_else(|| share(|server| u64::from(server.active) + u64::from(server.inactive)));
    let cells = [
        format!("  {}", server_name(server)),
        how.to_owned(),
        server.spec.weight.to_string(),
        number(server.active.into()),
        number(server.inactive.into()),
        connections,
        in_packets,
        out_packets,
        in_bits,
        out_bits,
        share.map_or(String::new(), |share| format!("{:.0}%", share * 100.0)),
    ];
    (PLAIN, cells)
}

/// A number in four digits or less, with k, M, G or T.
fn number(value: f64) -> String {
    let mut value = value;
    for unit in ["", "k", "M", "G", "T"] {
        if value < 999.5 || unit == "T" {
            return match unit {
                "" => format!("{value:.0}"),
                _ if value < 9.995 => format!("{value:.2}{unit}"),
                _ if value < 99.95 => format!("{value:.1}{unit}"),
                _ => format!("{value:.0}{unit}"),
            };
        }
        value /= 1000.0;
    }
    unreachable!("the last unit takes every number")
}

fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 { clock } else { format!("{days}d {clock}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let rows = [
            (0.0, "0"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (12_345.0, "12.3k"),
            (999_600.0, "1.00M"),
            (4.56e14, "456T"),
        ];
        for (value, text) in rows {
            assert_eq!(number(value), text);
        }
        assert_eq!((time(59), time(3_661), time(90_061)), ("0:00:59".into(), "1:01:01".into(), "1d 1:01:01".into()));
    }
}
