//! Opening the ports, and giving each its kernel interface.

use crate::kernel_link::Interface;
use crate::options::KernelInterface;
use crate::plan::PortPlan;
use crate::queues::{Eyes, Place, Queues};
use crate::random;
use crate::rss::{self, Delivery};
use anyhow::{Context, Result, bail, ensure};
use control::config::Device;
use control::kernel;
use dpdk_ffi::eal::EalHandle;
use dpdk_ffi::mempool::Mempool;
use dpdk_ffi::port::{Port, PortConfig, PortId, PortInfo};
use dpdk_ffi::queue::{RxQueue, TxQueue};
use forwarder::rss::{Side, Spread};
use std::sync::Arc;

/// Descriptors of a kernel interface's queues: bursts of it are small.
const TAP_DESCRIPTORS: u16 = 256;

/// A port of the director.
pub struct DirectorPort {
    /// The device.
    pub port: Port,
    /// What it was when it was opened.
    pub info: PortInfo,
    /// Its kernel interface, and that interface's name.
    pub kernel: Option<(Port, String)>,
    /// Its queues in each direction.
    pub queues: u16,
    /// How its frames reach the workers that they belong to.
    pub delivery: Delivery,
    /// Whether somebody has stopped it.
    pub stopped: bool,
    /// On which side of the director it is, and how clients are spread over workers: it is told when it starts.
    side: Side,
    spread: Option<Arc<Spread>>,
}

impl DirectorPort {
    /// Starts it again.
    ///
    /// # Errors
    /// What its driver says.
    pub fn start(&mut self) -> Result<()> {
        self.port.start()?;
        self.delivery = rss::finish(&mut self.port, &self.info, self.queues, self.spread.as_deref(), self.side);
        self.stopped = false;
        Ok(())
    }

    /// Stops it. No worker has a queue of it any more.
    ///
    /// # Errors
    /// One has, or what its driver says.
    pub fn stop(&mut self) -> Result<()> {
        self.port.stop()?;
        self.stopped = true;
        Ok(())
    }

    /// Which of so many workers has a receive queue; see [`Self::queues_of`].
    pub fn receiver(&self, queue: u16, workers: usize) -> Option<u32> {
        usize::from(queue).checked_rem(workers).map(|worker| worker as u32)
    }

    /// The queues of one of so many workers. If there are more than workers, each gets several receive queues; if less,
    /// some get none.
    ///
    /// # Errors
    /// If a queue was taken before.
    pub fn queues_of(&mut self, worker: usize, workers: usize) -> Result<Queues> {
        let own = (worker..usize::from(self.queues)).step_by(workers);
        let rx = own.map(|queue| self.port.rx_queue(queue as u16)).collect::<Result<_, _>>()?;
        let tx = (worker < usize::from(self.queues)).then(|| self.port.tx_queue(worker as u16)).transpose()?;
        Ok((rx, tx))
    }
}

/// Open ports, and how clients are spread over workers, if there are several.
pub type Opened = (Vec<DirectorPort>, Option<Arc<Spread>>);

/// Opens and starts the ports asked for, or else all there are, each with queues for so many workers, if it can.
///
/// # Errors
/// Which port, and why not.
pub fn open(eal: &EalHandle, wanted: &[PortPlan], workers: usize, pool: &Mempool) -> Result<Opened> {
    let present = eal.ports();
    if present.is_empty() {
        return Err(dpdk_ffi::Error::NoPorts.into());
    }
    let infos = present.iter().map(|&id| Ok((id, eal.port_info(id)?))).collect::<Result<Vec<_>>>()?;
    let default = |device| PortPlan { device, kernel: KernelInterface::Default, mtu: None, queues: None, side: None };
    let chosen: Vec<(PortId, PortPlan)> = if wanted.is_empty() {
        infos.iter().map(|(id, _)| (*id, default(Device::Number(id.0)))).collect()
    } else {
        wanted.iter().map(|wanted| Ok((find(&infos, &wanted.device)?, wanted.clone()))).collect::<Result<_>>()?
    };
    let info = |id: PortId| &infos[infos.iter().position(|(known, _)| *known == id).unwrap_or_default()].1;
    let planned = chosen.iter().map(|(id, plan)| (info(*id), pairs(info(*id), plan.queues, workers)));
    let spread = rss::spread(workers, planned, random()?[0]).map(Arc::new);
    let mut ports = Vec::new();
    for (number, (id, PortPlan { kernel, mtu, queues, side, .. })) in chosen.into_iter().enumerate() {
        let mut port = Port::open(eal, id)?;
        offered(number, info(id));
        let (pairs, side) = (pairs(info(id), queues, workers), side.unwrap_or(side_of(number)));
        let config = PortConfig { rx_queues: pairs, tx_queues: pairs, mtu, ..PortConfig::default() };
        port.configure(&rss::configure(config, info(id), spread.as_deref(), side), pool)?;
        port.start()?;
        let delivery = rss::finish(&mut port, info(id), pairs, spread.as_deref(), side);
        let info = port.info()?;
        let name = match kernel {
            KernelInterface::None => None,
            KernelInterface::Named(name) => Some(name),
            KernelInterface::Default => (!replays(&info.driver)).then(|| format!("lvs{number}")),
        };
        let kernel = match name {
            Some(name) => Some((plug_interface(eal, number, &name, &info, pool)?, name)),
            None => None,
        };
        let interface = kernel.as_ref().map_or("none", |kernel| &kernel.1);
        tracing::info!(
            port = number,
            device = info.name,
            driver = info.driver,
            kernel = interface,
            queues = pairs,
            frames = delivery.name(),
            "port started"
        );
        let spread = spread.clone();
        ports.push(DirectorPort { port, info, kernel, queues: pairs, delivery, stopped: false, side, spread });
    }
    Ok((ports, spread))
}

/// Logs what a device offers.
fn offered(number: usize, info: &PortInfo) {
    tracing::info!(
        port = number,
        rx_queues = info.max_rx_queues,
        tx_queues = info.max_tx_queues,
        mtu = info.max_mtu,
        rss = %rss::offered(info),
        rx_offloads = format_args!("{:#x}", info.rx_offloads),
        tx_offloads = format_args!("{:#x}", info.tx_offloads),
        "device offers"
    );
}

/// The side of a port of which nobody said it.
fn side_of(number: usize) -> Side {
    if number == 0 { Side::Outside } else { Side::Inside }
}

/// How many queues a port gets in each direction: as many as asked for, or else one a worker, within what it can have.
fn pairs(info: &PortInfo, asked: Option<u16>, workers: usize) -> u16 {
    let most = info.max_rx_queues.min(info.max_tx_queues).max(1);
    // Its queues are sockets that exist from the start, and the kernel spreads frames over all of them.
    if info.driver == "net_af_packet" {
        return most;
    }
    asked.unwrap_or(u16::try_from(workers).unwrap_or(u16::MAX)).min(most)
}

fn find(present: &[(PortId, PortInfo)], device: &Device) -> Result<PortId> {
    let found = present.iter().find(|(id, info)| match device {
        Device::Number(number) => id.0 == *number,
        Device::Name(name) => info.name == *name,
    });
    match found {
        Some((id, _)) => Ok(*id),
        None => {
            let names: Vec<_> = present.iter().map(|(id, info)| format!("{} {}", id.0, info.name)).collect();
            let wanted = match device {
                Device::Number(number) => number.to_string(),
                Device::Name(name) => name.clone(),
            };
            bail!("there is no port '{wanted}'; the ports are: {} (add devices with -a or --vdev)", names.join(", "))
        }
    }
}

/// True for devices without a network behind them.
fn replays(driver: &str) -> bool {
    matches!(driver, "net_pcap" | "net_null" | "net_ring")
}

/// Makes the kernel interface of a port: a tap with the port's MAC address and MTU.
fn plug_interface(eal: &EalHandle, number: usize, name: &str, info: &PortInfo, pool: &Mempool) -> Result<Port> {
    let mac = info.mac.map(|byte| format!("{byte:02x}")).join(":");
    let context = || format!("the kernel interface '{name}' of port {number}");
    // The kernel would let it have two owners, and give each a part of the frames.
    ensure!(
        !kernel::exists(name),
        "there is an interface '{name}' already: another rvsd may have it; choose another name with --port DEVICE,kernel=NAME"
    );
    let plugged = eal.plug(&format!("net_tap{number},iface={name},mac={mac}")).with_context(context)?;
    ensure!(plugged.len() == 1, "the kernel interface '{name}' of port {number} came with {} ports", plugged.len());
    let mut tap = Port::open(eal, plugged[0]).with_context(context)?;
    let config = PortConfig {
        rx_descriptors: TAP_DESCRIPTORS,
        tx_descriptors: TAP_DESCRIPTORS,
        rx_checksum: false,
        ..PortConfig::default()
    };
    tap.configure(&config, pool).with_context(context)?;
    tap.start().with_context(context)?;
    kernel::set_up(name, None, Some(info.mtu)).with_context(context)?;
    Ok(tap)
}

/// The same, as a worker has them.
pub type Places = (Vec<Place<RxQueue>>, Option<Place<TxQueue>>);

/// Takes the queues of the ports and deals them out: the answer is by worker, then by port.
///
/// # Errors
/// If a queue was taken before.
pub fn queues(ports: &mut [DirectorPort], workers: usize, eyes: &Arc<Eyes>) -> Result<Vec<Vec<Places>>> {
    let mut dealt: Vec<Vec<Places>> = (0..workers).map(|_| Vec::with_capacity(ports.len())).collect();
    for (number, port) in (0..).zip(ports) {
        for (worker, dealt) in dealt.iter_mut().enumerate() {
            let (rx, tx) = port.queues_of(worker, workers)?;
            let rx = rx.into_iter().map(|queue| Place::new(number, queue, eyes)).collect();
            dealt.push((rx, tx.map(|queue| Place::new(number, queue, eyes))));
        }
    }
    Ok(dealt)
}

/// Takes the queues of the kernel interfaces.
///
/// # Errors
/// If a queue was taken before.
pub fn interfaces(ports: &mut [DirectorPort]) -> Result<Vec<Interface>> {
    let mut interfaces = Vec::new();
    for (number, port) in ports.iter_mut().enumerate() {
        if let Some((tap, _)) = &mut port.kernel {
            interfaces.push(Interface { port: number as u16, rx: tap.rx_queue(0)?, tx: tap.tx_queue(0)? });
        }
    }
    Ok(interfaces)
}
