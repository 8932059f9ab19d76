//! `rvsd`: the director's daemon. Wiring only: it starts DPDK, opens the ports, starts the workers, and joins them with the control side; everything decided is decided in `forwarder` and `control`.

mod bench;
mod capture;
mod clock;
mod doctor;
mod front;
mod kernel_link;
mod launch;
mod layout;
mod lcore;
mod log;
mod monitor;
mod options;
mod plan;
mod ports;
mod procfs;
mod prompt;
mod queues;
mod rss;
mod telemetry;
mod trace;
mod workers;

use anyhow::{Context, Result, ensure};
use clock::Clock;
use control::config::Config;
use control::config::reload::{Configured, Reloader};
use control::director::Director;
use control::kernel::{self, Mirror, Operator};
use control::publish::Builder;
use control::server::Server;
use dpdk_ffi::eal::{Eal, EalHandle};
use dpdk_ffi::mempool::{Mempool, MempoolConfig};
use dpdk_ffi::telemetry::Commands;
use forwarder::publication::Publisher;
use forwarder::stats::WorkerStats;
use forwarder::worker::Wiring;
use front::{Front, SharedDirector};
use kernel_link::Rings;
use lcore::Shared;
use monitor::Monitor;
use options::{Action, Options};
use plan::Plan;
use ports::DirectorPort;
use prompt::Prompt;
use queues::Eyes;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use workers::Lcores;

/// How often the director's clock moves: rates, forgotten servers, neighbours to keep fresh.
const TICK: Duration = Duration::from_millis(500);

/// The name of the pool that all frames come from.
const FRAMES: &str = "rvs_frames";

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let (eal_arguments, options) = match options::split(words.collect()) {
        Ok(split) => split,
        Err(error) => error.exit(),
    };
    let done = match &options.action {
        Some(Action::Check { file }) => return check(file),
        Some(Action::Bench(options)) => bench::run(options),
        Some(Action::Doctor { json }) => match doctor::run(eal_arguments, &options, *json) {
            Ok(status) => return status,
            Err(error) => Err(error),
        },
        None => run(eal_arguments, &options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, with what mends it.
            eprintln!("rvsd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The exit status of a bad configuration file.
const BAD_FILE: u8 = 4;

/// Says what is wrong in a configuration file.
fn check(file: &Path) -> ExitCode {
    match Config::load(file) {
        Ok(_) => {
            println!("{}: right", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(BAD_FILE)
        }
    }
}

fn run(eal_arguments: Vec<String>, options: &Options) -> Result<()> {
    let (plan, log) = Plan::new(eal_arguments, options)?;
    log::start(&log.filter, log.format)?;
    let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot watch for signals")?;
    let server = Server::bind(plan.socket.as_deref())?;
    let eal = Eal::init(&plan.eal, log::dpdk)?;
    log::dpdk_started();
    // Control threads run anywhere; only the lcores stay where they are.
    eal.unpin();
    let workers = plan.workers.unwrap_or_else(|| launch::count(&eal));
    let pool = Mempool::new(
        &eal,
        FRAMES,
        &MempoolConfig {
            count: plan.mbufs(workers, eal.ports().len()),
            data_room: plan.mbuf_size,
            ..MempoolConfig::default()
        },
    )?;
    let result = direct(&eal, &pool, &plan, workers, server, signals, options.interactive);
    let leaked = pool.in_use();
    if leaked != 0 {
        tracing::error!(leaked, "frames were not released");
    }
    drop(pool);
    if let Err(error) = eal.cleanup() {
        tracing::warn!("{error}");
    }
    result
}

/// From open ports to the last signal. When it returns, nothing of DPDK is held any more.
fn direct(
    eal: &EalHandle,
    pool: &Mempool,
    plan: &Plan,
    workers: usize,
    server: Server,
    mut signals: signal_hook::iterator::Signals,
    interactive: bool,
) -> Result<()> {
    let (ports, spread) = ports::open(eal, &plan.ports, workers, pool)?;
    let ports = Arc::new(Mutex::new(ports));
    let clock = Clock::start(eal);
    let stats: Vec<_> = (0..workers).map(|_| Arc::new(WorkerStats::new(plan.destinations))).collect();
    let (mirror, director) = mirror_and_director(eal, plan, &ports, clock, &stats)?;
    let rings = Rings::new(workers, &lock(&ports).iter().map(|port| port.kernel.is_some()).collect::<Vec<_>>());

    // The workers.
    let shared = lock(&director).workers().shared.clone();
    let eyes = lock(&director).workers().eyes.clone();
    let wirings = Wiring::among(ports::queues(&mut lock(&ports), workers, &eyes)?)?;
    let kits = wirings.into_iter().zip(stats).zip(&shared).map(|((wiring, stats), shared)| launch::Kit {
        wiring,
        stats,
        subscription: lock(&director).subscribe(),
        shared: shared.clone(),
    });
    let kits = kits.collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (tasks, threads) = (Vec::new(), Vec::new());
    let mut running = Running { workers: shared, rings: rings.clone(), stop: stop.clone(), tasks, threads };
    launch::start(&launch::Crew { eal, plan, clock, pool, rings: &rings, spread }, kits, &mut running.tasks)?;
    let interfaces = lock(&ports).iter().map(|port| port.kernel.as_ref().map(|(_, name)| name.clone())).collect();
    let front = Front::new(director.clone(), eal, pool, Operator::new(interfaces, mirror.asker()));
    let file = Reloader::new(plan.file.clone(), plan.config().clone());
    let file = Arc::new(Mutex::new(file));
    lock(&file).start(&mut front.clone())?;

    // What carries frames between the workers and the kernel.
    running.threads.push({
        let (eal, rings, asker) = (eal.clone(), rings.clone(), mirror.asker());
        let interfaces = ports::interfaces(&mut lock(&ports))?;
        let carry = move || kernel_link::carry(&eal, &rings, interfaces, Some(&asker));
        spawn("rvs-carry", || launch::supervise("what carries frames to the kernel", carry, launch::end))?
    });

    // Time, and who watches.
    let capacity = (plan.connections * workers) as u64;
    let metrics = &plan.config().metrics;
    let options = control::metrics::Options {
        backends: metrics.backends,
        workers: metrics.workers,
        node_names: metrics.node_names,
        capacity,
    };
    let monitor = Monitor::new(Configured::new(front.clone(), file.clone()), options)?;
    running.threads.push({
        let (director, asker, stop) = (director.clone(), mirror.asker(), stop.clone());
        let (monitor, pool) = (monitor.clone(), pool.clone());
        let tick = move || {
            while !stop.load(Relaxed) {
                eyes.tell();
                let mut director = lock(&director);
                if let Err(error) = director.tick() {
                    tracing::warn!("{error}");
                }
                if let Err(error) = director.workers().watch() {
                    tracing::warn!("{error}");
                }
                let servers = director.servers();
                let (workers, brief) = (director.worker_views(), director.brief());
                drop(director);
                monitor.observe(&workers, pool.available(), brief);
                log::report();
                asker.keep_fresh(servers);
                std::thread::sleep(TICK);
            }
            eyes.tell();
        };
        spawn("rvs-tick", || launch::supervise("the clock", tick, launch::end))?
    });

    // The control socket, and HTTP.
    let serving = server.start(Configured::new(front.clone(), file.clone()))?;
    let http = monitor.serve(metrics)?;
    tracing::info!(socket = %serving.path().display(), "ready");
    let telemetry = {
        let front = front.clone();
        let answer = move |command: &str, words: Option<&str>| telemetry::answer(&mut front.clone(), command, words);
        Commands::register(eal, &telemetry::COMMANDS, Box::new(answer))?
    };
    if let Some(directory) = metrics.procfs.clone() {
        let mut executor = front.clone();
        let write = move || procfs::keep_writing(&directory, &mut executor, &stop);
        running.threads.push(spawn("rvs-procfs", || {
            launch::supervise("what writes files like those of /proc", write, launch::end)
        })?);
    }
    monitor::notify(&[NotifyState::Ready]);
    let prompt = interactive.then(|| Prompt::start(serving.path(), launch::end)).transpose()?;

    let signal = signals.forever().find(|signal| {
        let reload = *signal == SIGHUP;
        if reload {
            // Reload and ready again, whatever comes of it: why it failed, if it did, has been logged.
            let since = NotifyState::monotonic_usec_now();
            monitor::notify(&[NotifyState::Reloading].into_iter().chain(since.ok()).collect::<Vec<_>>());
            let _ = lock(&file).reload(&mut front.clone(), false);
            monitor::notify(&[NotifyState::Ready]);
        }
        !reload
    });
    tracing::info!(signal, "stopping");
    monitor::notify(&[NotifyState::Stopping]);
    drop((http, telemetry));
    serving.stop();
    let well = running.end();
    drop(mirror);
    drop((monitor, front, director, ports));
    // Last, because until then a prompt that was just answering may have taken the terminal once more.
    drop(prompt);
    ensure!(well, "a worker or a thread has panicked");
    Ok(())
}

/// Workers and threads, all of which must have ended before what they work on goes.
struct Running {
    workers: Vec<Arc<Shared>>,
    rings: Arc<Rings>,
    stop: Arc<AtomicBool>,
    tasks: Vec<launch::Task>,
    threads: Vec<std::thread::JoinHandle<bool>>,
}

impl Running {
    /// Ends them, and answers whether all ended well.
    fn end(&mut self) -> bool {
        self.stop.store(true, Relaxed);
        for worker in &self.workers {
            worker.stop.store(true, Relaxed);
        }
        self.rings.stop();
        let tasks = self.tasks.drain(..).map(launch::Task::join);
        let threads = self.threads.drain(..).map(|thread| thread.join().unwrap_or(false));
        tasks.chain(threads).fold(true, |well, this| well & this)
    }
}

/// Also where the start fails half-way.
impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The mirror of the kernel's routes, and the director that follows it.
fn mirror_and_director(
    eal: &EalHandle,
    plan: &Plan,
    ports: &Arc<Mutex<Vec<DirectorPort>>>,
    clock: Clock,
    stats: &[Arc<WorkerStats>],
) -> Result<(Mirror, SharedDirector)> {
    let mut interfaces = Vec::new();
    let mut without = Vec::new();
    for (number, port) in (0u16..).zip(lock(ports).iter()) {
        match &port.kernel {
            Some((_, name)) => interfaces.push((number, name.clone())),
            None => without.push((number, port.info.mac, port.info.mtu)),
        }
    }
    let fixed = plan.fixed(&without);
    let config = kernel::Config { ports: lock(ports).len() as u16, interfaces, fixed, ..kernel::Config::default() };
    // The mirror calls back only after it has answered, and the director is made from that answer.
    let slot: Arc<Mutex<Option<SharedDirector>>> = Arc::default();
    let callback = slot.clone();
    let mut guard = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let (mirror, first) = Mirror::start(config, move |update| {
        let director = callback.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(director) = director
            && let Err(error) = lock(&director).route(update.routes, update.ports)
        {
            tracing::warn!("{error}");
        }
    })?;
    let builder = Builder::new(first.routes, first.ports).with_day(clock.day());
    let publisher = Publisher::new(builder.snapshot().clone(), stats.to_vec());
    let shared = stats.iter().map(|stats| Arc::new(Shared::new(stats.clone(), publisher.reader())));
    let lcores = Lcores {
        clock,
        shared: shared.collect(),
        ports: ports.clone(),
        eyes: Arc::new(Eyes::new()),
        lcores: launch::lcores(eal).collect(),
        watched: vec![0; stats.len()],
        burst: packet_io::BURST as u16,
        serving: stats.len(),
    };
    let director = Arc::new(Mutex::new(Director::new(builder, publisher, stats.to_vec(), lcores)));
    *guard = Some(director.clone());
    drop(guard);
    Ok((mirror, director))
}

/// 128 random bits.
fn random() -> Result<[u64; 2]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let bits = u128::from_ne_bytes(bytes);
    Ok([bits as u64, (bits >> 64) as u64])
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).with_context(|| format!("cannot start thread {name}"))
}

/// A panic of another thread while it held the director or the ports leaves nothing half done that a later command
/// could not mend.
fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
