//! `rvsd doctor`: looks at this machine, asks DPDK about its ports if its arguments name any, and says what stands in the
//! way. Decisions are `control::doctor`'s.

use crate::options::{KernelInterface, Options};
use crate::plan::Plan;
use anyhow::Result;
use control::doctor::{self, Finding, Level, Needs, PortAbility, System};
use dpdk_ffi::eal::{Eal, EalHandle};
use dpdk_ffi::mempool::{Mempool, MempoolConfig};
use dpdk_ffi::port::{Port, PortConfig, PortId, PortInfo};
use std::path::Path;
use std::process::ExitCode;

/// Bytes of a connection in its table, with the books of its block and the spare room.
const CONNECTION: u64 = 160;
/// Bytes of a frame beside its buffer.
const FRAME: u64 = 320;
/// What DPDK takes for itself.
const EAL: u64 = 64 << 20;

/// Prints what was found. The exit status is 1 if rvsd would not start so.
///
/// # Errors
/// What is wrong with the configuration file.
pub fn run(eal_arguments: Vec<String>, options: &Options, json: bool) -> Result<ExitCode> {
    let (plan, _) = Plan::new(eal_arguments, options)?;
    let has = |flag: &str| plan.eal.iter().any(|word| word == flag);
    let needs = Needs {
        huge: if has("--no-huge") { 0 } else { memory(&plan) },
        pci: !has("--no-pci"),
        in_memory: has("--in-memory"),
        interfaces: plan.ports.is_empty() || plan.ports.iter().any(|port| port.kernel != KernelInterface::None),
        workers: plan.workers.unwrap_or(1),
        running: false,
    };
    let mut system = doctor::read(Path::new("/"), rustix::process::geteuid().is_root());
    let refused = names_devices(&plan.eal).then(|| ask(&plan.eal, &mut system).err()).flatten();
    let mut findings = doctor::examine(&system, &needs);
    if let Some(error) = refused {
        let found = format!("does not start: {error:#}");
        findings.push(Finding { level: Level::Bad, about: "DPDK".to_owned(), found, mend: None });
    }
    if json {
        println!("{}", serde_json::json!({ "findings": findings }));
    } else {
        print!("{}", doctor::text(&findings));
    }
    let bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Bytes of huge pages that this plan takes.
fn memory(plan: &Plan) -> u64 {
    let workers = plan.workers.unwrap_or(1);
    let frames = u64::from(plan.mbufs(workers, plan.ports.len().max(1))) * (u64::from(plan.mbuf_size) + FRAME);
    plan.connections as u64 * workers as u64 * CONNECTION + frames + EAL
}

/// Whether the EAL's arguments say which devices there are. Without, DPDK would take all it finds.
fn names_devices(eal: &[String]) -> bool {
    eal.iter().any(|word| word.starts_with("-a") || word.starts_with("--allow") || word.starts_with("--vdev"))
}

/// Asks DPDK what its ports can do.
fn ask(arguments: &[String], system: &mut System) -> Result<()> {
    let eal = Eal::init(arguments, |_, _| {})?;
    let pool = Mempool::new(&eal, "rvs_doctor", &MempoolConfig { count: 4095, ..MempoolConfig::default() });
    for id in eal.ports() {
        let info = eal.port_info(id)?;
        let flow = pool.as_ref().ok().and_then(|pool| takes_flow_rules(&eal, id, pool).ok());
        system.ports.push(ability(&info, flow));
    }
    drop(pool);
    Ok(eal.cleanup()?)
}

/// What a port can do.
pub fn ability(info: &PortInfo, flow: Option<bool>) -> PortAbility {
    PortAbility {
        device: info.name.clone(),
        driver: info.driver.clone(),
        queues: info.max_rx_queues.min(info.max_tx_queues),
        rss: info.rss_types != 0 && info.rss_table != 0,
        flow,
    }
}

fn takes_flow_rules(eal: &EalHandle, id: PortId, pool: &Mempool) -> Result<bool> {
    let mut port = Port::open(eal, id)?;
    port.configure(&PortConfig::default(), pool)?;
    port.start()?;
    Ok(port.takes_flow_rules())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_asked_only_if_they_are_named() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(names_devices(&words("-l 0-1 -a 0000:3b:00.0")) && names_devices(&words("--vdev=net_null0")));
        assert!(!names_devices(&words("-l 0-1 --no-pci")));
    }
}
