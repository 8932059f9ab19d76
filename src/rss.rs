//! Receive-side scaling that brings frames to the worker they belong to, where the device can.

use dpdk_ffi::port::{Port, PortConfig, PortInfo, Rss};
use forwarder::rss::{Side, Spread};

/// How frames of a port reach their owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// There is one worker.
    Single,
    /// The device brings them there: its RSS hash names the owner, so only some that RSS knows nothing of (ICMP errors,
    /// fragments, the other side's packets) are handed over.
    Rss,
    /// Whoever receives them hands them over.
    HandedOver,
}

impl Delivery {
    /// Its name in logs and views.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "one worker",
            Self::Rss => "rss",
            Self::HandedOver => "handed over",
        }
    }
}

/// How clients are spread over so many workers, if there are several, so that as many of these ports as can agree by
/// their RSS.
/// `seed` is random.
pub fn spread<'a>(workers: usize, ports: impl Iterator<Item = (&'a PortInfo, u16)>, seed: u64) -> Option<Spread> {
    let small = |info: &PortInfo| info.rss_table < 1 << Spread::MANY;
    let mut able = ports.filter(|(info, queues)| is_able(info, *queues, workers));
    let bits = if able.any(|(info, _)| small(info)) { Spread::FEW } else { Spread::MANY };
    (workers > 1).then(|| Spread::new(workers as u32, bits, seed))
}

/// True if a port with these queues can bring each frame to its owner: each worker has a queue, and the hash of TCP over
/// IPv4 is Toeplitz's with a key of ours, over a table that is ours.
fn is_able(info: &PortInfo, queues: u16, workers: usize) -> bool {
    let hashes = Rss::default().types & info.rss_types != 0;
    workers > 1 && usize::from(queues) == workers && hashes && info.rss_table >= 1 << Spread::FEW
}

/// What a device offers for receive-side scaling, in words.
pub fn offered(info: &PortInfo) -> String {
    match (info.rss_types, info.rss_table) {
        (0, _) => "none".to_owned(),
        (_, 0) => "by a table of its own".to_owned(),
        (types, entries) => format!("{entries} entries, types {types:#x}"),
    }
}

/// The configuration of a port that is on this side.
pub fn configure(config: PortConfig, info: &PortInfo, spread: Option<&Spread>, side: Side) -> PortConfig {
    PortConfig { rss: spread.map_or_else(Rss::default, |spread| rss(info, spread, side)), ..config }
}

fn rss(info: &PortInfo, spread: &Spread, side: Side) -> Rss {
    let mut key = spread.key(side).to_vec();
    // Longer keys are for IPv6 and more; the first bytes mean the same.
    key.resize(if info.rss_key == 0 { key.len() } else { usize::from(info.rss_key) }, 0);
    Rss { key, ..Rss::default() }
}

/// Programs the table of a started port; answers how its frames reach their owners.
pub fn finish(port: &mut Port, info: &PortInfo, queues: u16, spread: Option<&Spread>, side: Side) -> Delivery {
    let Some(spread) = spread else { return Delivery::Single };
    if !is_able(info, queues, spread.workers() as usize) {
        return Delivery::HandedOver;
    }
    let table: Vec<u16> = spread.table(info.rss_table).map(|worker| worker as u16).collect();
    if let Err(error) = port.set_rss_table(&table) {
        tracing::warn!("{error}");
        return Delivery::HandedOver;
    }
    if let Err(error) = port.set_rss(&rss(info, spread, side)) {
        tracing::debug!("{error}");
    }
    match port.rss_key() {
        Ok(key) if key.starts_with(&spread.key(side)[..16]) => Delivery::Rss,
        Ok(_) => Delivery::HandedOver,
        // A driver that took the key need not tell it.
        Err(error) => {
            tracing::debug!("{error}");
            Delivery::Rss
        }
    }
}
