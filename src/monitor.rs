//! Who is told how the director does: who scrapes its metrics, who checks its health, and systemd.

use anyhow::{Context, Result};
use control::command::{Command, Error, Reply, WorkerView};
use control::config::Metrics;
use control::ipvsadm::Executor;
use control::metrics::health::Heart;
use control::metrics::http::{Pages, Response, Server};
use control::metrics::{CONTENT_TYPE, Options, Scrape};
use sd_notify::NotifyState;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The director is asked for its metrics no more often, whoever scrapes.
const FRESH: Duration = Duration::from_millis(500);

/// Watches the workers, and answers who asks.
pub struct Monitor<E> {
    executor: Mutex<E>,
    options: Options,
    heart: Mutex<Heart>,
    /// Free frames of the memory pool, when they were last looked at.
    frames: AtomicU32,
    start: Instant,
    /// What was last scraped, and when.
    last: Mutex<Option<(Instant, String)>>,
    /// What `systemctl status` shows.
    told: Mutex<String>,
    /// systemd wants to hear that all is well.
    watched: bool,
    systemd: SyncSender<Beat>,
}

/// What systemd is told.
struct Beat {
    status: Option<String>,
    alive: bool,
}

/// Tells systemd, which may read slowly, what comes through the channel.
fn tell_systemd() -> Result<SyncSender<Beat>> {
    let (sender, beats) = sync_channel::<Beat>(1);
    crate::spawn("rvs-systemd", move || {
        for Beat { status, alive } in beats {
            let status = status.as_deref().map(NotifyState::Status);
            notify(&status.into_iter().chain(alive.then_some(NotifyState::Watchdog)).collect::<Vec<_>>());
        }
    })?;
    Ok(sender)
}

impl<E: Executor + Send + 'static> Monitor<E> {
    /// Of the director behind `executor`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn new(executor: E, options: Options) -> Result<Arc<Self>> {
        let (heart, frames) = (Mutex::default(), AtomicU32::new(0));
        let watched = sd_notify::watchdog_enabled().is_some();
        Ok(Arc::new(Self {
            executor: Mutex::new(executor),
            options,
            heart,
            frames,
            start: Instant::now(),
            last: Mutex::default(),
            told: Mutex::default(),
            watched,
            systemd: tell_systemd()?,
        }))
    }

    /// Takes note of how the workers do, and in a line of what the director does. systemd's watchdog hears of it only while
    /// all of them move.
    pub fn observe(&self, workers: &[WorkerView], frames: u32, brief: String) {
        self.frames.store(frames, Relaxed);
        let now = self.start.elapsed();
        let mut heart = lock(&self.heart);
        heart.observe(workers, now);
        let health = heart.check(now);
        // Who asks for health waits for nobody that is told of it.
        drop(heart);
        if let Err(why) = &health {
            tracing::error!("{why}");
        }
        let alive = health.is_ok() && self.watched;
        let mut told = lock(&self.told);
        let status = health.err().unwrap_or(brief);
        let news = (*told != status).then(|| status.clone());
        // systemd may be busy: what finds no room is told another time.
        if (news.is_some() || alive) && self.systemd.try_send(Beat { status: news, alive }).is_ok() {
            *told = status;
        }
    }

    /// Serves HTTP, if it is wanted. Where nobody asked for it, an address that cannot be had costs a warning only.
    pub fn serve(self: &Arc<Self>, metrics: &Metrics) -> Result<Option<Server>> {
        let Some(address) = metrics.listen else { return Ok(None) };
        let hint =
            || format!("cannot serve metrics on {address}: choose another address in [metrics] listen, or false");
        match Server::start(address, self.clone()).with_context(hint) {
            Ok(server) => {
                tracing::info!(address = %server.address(), "metrics");
                Ok(Some(server))
            }
            Err(error) if address == Metrics::default().listen.unwrap_or(address) => {
                tracing::warn!("{error:#}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The metrics, not older than [`FRESH`]. Those who ask meanwhile wait for the same text.
    fn metrics(&self) -> Result<String, Error> {
        let mut last = lock(&self.last);
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let frames = self.frames.load(Relaxed);
        let text = Scrape::ask(&mut *lock(&self.executor), self.options, Some(frames))?.text();
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }

    fn health(&self) -> Result<(), String> {
        lock(&self.heart).check(self.start.elapsed())
    }

    /// Healthy, forwarding, and with a link.
    fn readiness(&self) -> Result<(), String> {
        self.health()?;
        match lock(&self.executor).execute(Command::Forwarding) {
            Ok(Reply::Forwarding(view)) if !view.running => Err("forwarding is stopped".to_owned()),
            Ok(Reply::Forwarding(view)) if !view.ports.iter().any(|port| port.link_up) => {
                Err("no port has a link".to_owned())
            }
            Ok(Reply::Forwarding(_)) => Ok(()),
            Ok(_) => Err("the director gave another answer".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl<E: Executor + Send + 'static> Pages for Monitor<E> {
    fn page(&self, path: &str) -> Option<Response> {
        let line = |result: Result<(), String>| match result {
            Ok(()) => Response::line("200 OK", "ok"),
            Err(why) => Response::line("503 Service Unavailable", &why),
        };
        match path {
            "/metrics" => Some(match self.metrics() {
                Ok(body) => Response { status: "200 OK", content_type: CONTENT_TYPE, body },
                Err(error) => Response::line("503 Service Unavailable", &error.to_string()),
            }),
            "/healthz" => Some(line(self.health())),
            "/readyz" => Some(line(self.readiness())),
            _ => None,
        }
    }
}

/// Tells systemd, if it started this process.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd does not listen: {error}");
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
