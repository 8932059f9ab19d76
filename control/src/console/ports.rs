//! What ports and their queues are asked and told, in testpmd's words.

use super::grammar::Matched;
use super::run::json;
use super::{Console, layout, show};
use crate::command::{Command, Error, LayoutView, QueueView, Reply};
use serde_json::json as value;

impl Console<'_> {
    pub(super) fn start_port(&mut self, port: Option<u16>) -> Result<(), Error> {
        self.executor.execute(Command::StartPort { port })?;
        self.show(Command::Ports { port, extended: false }, false, |reply| {
            let Reply::Ports(ports) = reply else { return String::new() };
            let lines: String = ports.iter().map(|view| format!("Port {}: {}\n", view.port, view.mac)).collect();
            lines + "Checking link statuses...\nDone\n"
        })
    }

    pub(super) fn stop_port(&mut self, port: Option<u16>) -> Result<(), Error> {
        self.tell_done(Command::StopPort { port }, "Stopping ports...\nChecking link statuses...\nDone\n")
    }

    /// `port attach`.
    pub(super) fn attach_port(&mut self, said: &Matched) -> Result<(), Error> {
        self.print("Attaching a new port...\n");
        let device = said.argument("DEVICE").unwrap_or_default().to_owned();
        let Reply::Ports(attached) = self.executor.execute(Command::AttachPort { device })? else { return Ok(()) };
        let attached: String = attached.iter().map(|view| format!("Port {} is attached. ", view.port)).collect();
        self.tell_total(&attached)
    }

    /// `port detach`.
    pub(super) fn detach_port(&mut self, said: &Matched) -> Result<(), Error> {
        let port = said.number("PORT").unwrap_or(u16::MAX);
        self.print("Removing a device...\n");
        self.executor.execute(Command::DetachPort { port })?;
        self.tell_total("Device is detached. ")
    }

    fn tell_total(&mut self, what: &str) -> Result<(), Error> {
        self.show(Command::Ports { port: None, extended: false }, false, |reply| {
            let Reply::Ports(ports) = reply else { return String::new() };
            format!("{what}Now total ports is {}\nDone\n", ports.len())
        })
    }

    pub(super) fn set_link(&mut self, said: &Matched) -> Result<(), Error> {
        let command = Command::SetLink { port: said.number("PORT").unwrap_or(u16::MAX), up: said.has("link-up") };
        self.executor.execute(command).map(|_| ())
    }

    /// `clear port`.
    pub(super) fn clear_port(&mut self, said: &Matched) -> Result<(), Error> {
        let (port, extended) = (said.number("PORT"), said.has("xstats"));
        self.executor.execute(Command::ClearPort { port, extended })?;
        self.show(Command::Ports { port, extended: false }, false, |reply| {
            let Reply::Ports(ports) = reply else { return String::new() };
            let what = if extended { "extended statistics" } else { "statistics" };
            ports.iter().map(|view| format!("\n  NIC {what} for port {} cleared\n", view.port)).collect()
        })
    }

    /// `show port`.
    pub(super) fn show_port(&mut self, said: &Matched) -> Result<(), Error> {
        let command = Command::Ports { port: said.number("PORT"), extended: said.has("xstats") };
        let json = self.json || said.has("json");
        self.show(command, json, |reply| {
            let Reply::Ports(ports) = reply else { return String::new() };
            match said.one_of(&["info", "stats", "xstats"]) {
                Some("info") => ports.iter().map(show::port_info).collect(),
                Some("stats") => ports.iter().map(show::port_stats).collect(),
                Some("xstats") => ports.iter().map(show::port_xstats).collect(),
                _ => show::port_summary(&ports),
            }
        })
    }

    /// `show device info`.
    pub(super) fn show_device(&mut self, said: &Matched) -> Result<(), Error> {
        let as_json = self.json || said.has("json");
        let Reply::Ports(mut ports) = self.executor.execute(Command::Ports { port: None, extended: false })? else {
            return Ok(());
        };
        if let Some(device) = said.argument("DEVICE") {
            ports.retain(|view| view.device == device);
            if ports.is_empty() {
                return Err(Error::Refused { why: format!("no device matches '{device}'") });
            }
        }
        let text = match as_json {
            true => json(&Reply::Ports(ports)),
            false => ports.iter().map(layout::device).collect(),
        };
        self.print(&text);
        Ok(())
    }

    /// `show config rxtx`, `cores` and `fwd`.
    pub(super) fn show_layout(&mut self, said: &Matched) -> Result<(), Error> {
        let json = self.json || said.has("json");
        self.show(Command::Layout, json, |reply| {
            let Reply::Layout(view) = reply else { return String::new() };
            match said.one_of(&["rxtx", "cores"]) {
                Some("rxtx") => layout::queues(&view),
                Some("cores") => layout::cores(&view),
                _ => layout::streams(&view),
            }
        })
    }

    /// `show rxq info` and `show txq info`.
    pub(super) fn show_queue(&mut self, said: &Matched) -> Result<(), Error> {
        let as_json = self.json || said.has("json");
        let (port, queue, view) = self.queue(said, said.has("rxq"))?;
        let text = match as_json {
            true => json(&value!({ "queue": view })),
            false => layout::queue(port, queue, said.has("rxq"), &view),
        };
        self.print(&text);
        Ok(())
    }

    /// `show port PORT rxq QUEUE desc used count`.
    pub(super) fn show_used(&mut self, said: &Matched) -> Result<(), Error> {
        let as_json = self.json || said.has("json");
        let (port, _, view) = self.queue(said, true)?;
        let silent = || Error::Port { port, why: "its driver does not tell how many frames wait".to_owned() };
        let used = view.used.ok_or_else(silent)?;
        let text = if as_json { json(&value!({ "used": used })) } else { format!("Used desc count = {used}\n") };
        self.print(&text);
        Ok(())
    }

    /// The queue that is named, with its port's number and its own.
    fn queue(&mut self, said: &Matched, receive: bool) -> Result<(u16, usize, QueueView), Error> {
        let port = said.number("PORT").unwrap_or(u16::MAX);
        let number = said.number("QUEUE").unwrap_or(usize::MAX);
        // Says which ports there are, if there is none of this number.
        self.executor.execute(Command::Ports { port: Some(port), extended: false })?;
        let Reply::Layout(LayoutView { ports, .. }) = self.executor.execute(Command::Layout)? else {
            return Err(Error::Invalid);
        };
        let of_port = ports.into_iter().find(|view| view.port == port).unwrap_or_default();
        let mut queues = if receive { of_port.rx } else { of_port.tx };
        if number >= queues.len() {
            let (word, count) = if receive { ("RX", "nb_rxq") } else { ("TX", "nb_txq") };
            return Err(Error::Refused { why: format!("Invalid {word} queue {number} (>= {count}={})", queues.len()) });
        }
        Ok((port, number, queues.swap_remove(number)))
    }
}
