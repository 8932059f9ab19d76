//! Opening the ports, and giving each its kernel interface.

use crate::kernel_link::Interface;
use crate::options::KernelInterface;
use crate::plan::PortPlan;
use crate::queues::{Eyes, Place, Queues};
use crate::random;
use crate::rss::{self, Delivery};
use anyhow::{Context, Result, anyhow, bail, ensure};
use control::config::Device;
use control::kernel;
use dpdk_ffi::eal::EalHandle;
use dpdk_ffi::mempool::Mempool;
use dpdk_ffi::port::{Port, PortConfig, PortId, PortInfo};
use dpdk_ffi::queue::{RxQueue, TxQueue};
use forwarder::rss::{Side, Spread};
use packet_io::{Burst, RxQueue as _};
use std::sync::Arc;

/// Descriptors of a kernel interface's queues: bursts of it are small.
const TAP_DESCRIPTORS: u16 = 256;

/// The driver of the kernel's packet sockets.
const AF_PACKET: &str = "net_af_packet";
/// Bursts that a queue of it holds, at least: 512 frames, if nobody says otherwise.
const AF_PACKET_BURSTS: usize = 64;

/// Releases the frames that wait in a port. Between making a socket and binding it, net_af_packet takes in frames of every
/// interface, also those that other ports send: they would be forwarded again.
fn empty(port: &mut Port, queues: u16) -> Result<()> {
    let mut burst = Burst::new();
    for queue in 0..queues {
        let mut rx = port.rx_queue(queue)?;
        for _ in 0..AF_PACKET_BURSTS {
            if rx.receive(&mut burst) == 0 {
                break;
            }
            burst.clear();
        }
    }
    Ok(())
}

/// A port of the director. It keeps its number, its kernel interface and its MAC address whatever device it has.
pub struct DirectorPort {
    /// The device, unless it was detached.
    pub port: Option<Port>,
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
    /// Its driver, stopped once, cannot start again.
    worn: bool,
    /// How many workers send by it, so how many transmit queues every device of it needs.
    seats: u16,
    setup: Setup,
}

/// How a port's devices are set up, the first one and every later one.
#[derive(Clone)]
struct Setup {
    eal: EalHandle,
    pool: Mempool,
    workers: usize,
    /// Queues, if somebody says.
    asked: Option<u16>,
    mtu: Option<u16>,
    /// On which side of the director it is, and how clients are spread over workers: it is told when it starts.
    side: Side,
    spread: Option<Arc<Spread>>,
}

impl Setup {
    /// Opens a port and configures it; answers how many queues it has in each direction.
    fn open(&self, id: PortId, info: &PortInfo) -> Result<(Port, u16)> {
        let mut port = Port::open(&self.eal, id)?;
        let pairs = pairs(info, self.asked, self.workers);
        let config = PortConfig { rx_queues: pairs, tx_queues: pairs, mtu: self.mtu, ..PortConfig::default() };
        port.configure(&rss::configure(config, info, self.spread.as_deref(), self.side), &self.pool)?;
        Ok((port, pairs))
    }

    /// Starts it; answers how its frames reach the workers that they belong to.
    fn start(&self, port: &mut Port, info: &PortInfo, pairs: u16) -> Result<Delivery> {
        port.start()?;
        if info.driver == AF_PACKET {
            empty(port, pairs)?;
        }
        Ok(rss::finish(port, info, pairs, self.spread.as_deref(), self.side))
    }
}

impl DirectorPort {
    /// Its device.
    ///
    /// # Errors
    /// It was detached.
    pub fn device(&mut self) -> Result<&mut Port> {
        self.port.as_mut().context("it is detached")
    }

    /// Starts it again.
    ///
    /// # Errors
    /// What its driver says.
    pub fn start(&mut self) -> Result<()> {
        if self.worn {
            let device = self.device()?.device()?;
            self.detach()?;
            self.attach(&device)?;
        }
        let Self { port, setup, info, queues, .. } = self;
        let port = port.as_mut().context("it is detached")?;
        self.delivery = setup.start(port, info, *queues)?;
        self.stopped = false;
        Ok(())
    }

    /// Stops it. No worker has a queue of it any more.
    ///
    /// # Errors
    /// One has, or what its driver says.
    pub fn stop(&mut self) -> Result<()> {
        self.device()?.stop()?;
        self.stopped = true;
        // What they receive from exists from probe to stop: eth_dev_stop closes it, and eth_dev_start opens nothing (in
        // DPDK's rte_eth_af_packet.c), or not what was opened with rx_iface_in (pcap_ethdev.c).
        self.worn |= [AF_PACKET, "net_pcap"].contains(&self.info.driver.as_str());
        Ok(())
    }

    /// Removes its device. It is stopped.
    ///
    /// # Errors
    /// What its driver says; the device then stays.
    pub fn detach(&mut self) -> Result<()> {
        let port = self.port.take().context("it is detached")?;
        port.unplug().map_err(|(port, error)| {
            self.port = Some(port);
            error.into()
        })
    }

    /// Gives it another device, which stays stopped.
    ///
    /// # Errors
    /// Why it cannot be that one.
    pub fn attach(&mut self, device: &str) -> Result<()> {
        let eal = &self.setup.eal;
        let plugged = eal.plug(device)?;
        let id = plugged[0];
        let info = eal.port_info(id)?;
        let opened = match pairs(&info, self.setup.asked, self.setup.workers) {
            _ if plugged.len() > 1 => {
                Err(anyhow!("it has {} ports; only devices of one can be attached", plugged.len()))
            }
            few if few < self.seats => Err(anyhow!(
                "it has {few} queues in each direction, and {} workers send by this port: give it as many (queues=, qpairs=)",
                self.seats
            )),
            _ => self.setup.open(id, &info),
        };
        let (mut port, pairs) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // It must not stay, half set up, under a name that could then not be used again.
                if let Ok(port) = Port::open(eal, id) {
                    let _ = port.unplug();
                }
                return Err(error);
            }
        };
        self.adopt(&mut port, &info);
        self.info = PortInfo { mac: self.info.mac, ..port.info()? };
        (self.queues, self.port) = (pairs, Some(port));
        (self.stopped, self.worn) = (true, false);
        Ok(())
    }

    /// The new device takes over the MAC address and the MTU of the old one, which the kernel interface and neighbours
    /// know. One that cannot take the address receives frames for it all the same, as ports are promiscuous.
    fn adopt(&self, port: &mut Port, info: &PortInfo) {
        let mtu = if info.mtu == self.info.mtu { Ok(()) } else { port.set_mtu(self.info.mtu) };
        let mac = if info.mac == self.info.mac { Ok(()) } else { port.set_mac(self.info.mac) };
        for error in [mtu.err(), mac.err()].into_iter().flatten() {
            tracing::warn!(device = info.name, "{error}");
        }
    }

    /// Which of so many workers has a receive queue; see [`Self::queues_of`].
    pub fn receiver(&self, queue: u16, workers: usize) -> Option<u32> {
        usize::from(queue).checked_rem(workers).map(|worker| worker as u32)
    }

    /// The queues of a worker, if so many workers serve receive queues. If there are more queues than these, each gets
    /// several; if less, some get none. Every worker has a transmit queue, if there are enough.
    ///
    /// # Errors
    /// If a queue was taken before.
    pub fn queues_of(&mut self, worker: usize, serving: usize) -> Result<Queues> {
        let count = usize::from(self.queues);
        let port = self.device()?;
        let own = (worker..count).step_by(serving.max(1)).filter(|_| worker < serving);
        let rx = own.map(|queue| port.rx_queue(queue as u16)).collect::<Result<_, _>>()?;
        let tx = (worker < count).then(|| port.tx_queue(worker as u16)).transpose()?;
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
        let (side, spread) = (side.unwrap_or(side_of(number)), spread.clone());
        let setup = Setup { eal: eal.clone(), pool: pool.clone(), workers, asked: queues, mtu, side, spread };
        offered(number, info(id));
        let (mut port, pairs) = setup.open(id, info(id))?;
        let delivery = setup.start(&mut port, info(id), pairs)?;
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
        let seats = pairs.min(u16::try_from(workers).unwrap_or(u16::MAX));
        let (port, stopped, worn) = (Some(port), false, false);
        ports.push(DirectorPort { port, info, kernel, queues: pairs, delivery, stopped, worn, seats, setup });
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
    if info.driver == AF_PACKET {
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
