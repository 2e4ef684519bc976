//! The daemon, and the process that owns the store for one command: one worker that runs whole cycles, a control socket
//! for the other commands, and, in the daemon, the timer and the page. A daemon without work goes idle ([`idle`]).

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::commands;
use crate::config::Config;
use crate::control::{self, Command, Output, Socket};
use crate::notify::Told;
use crate::remote::{Backoff, Shutdown};
use crate::service::activity::Activity;
use crate::service::timetable::SharedTimetable;
use crate::service::{ReloadRequest, StoreService};
use crate::store::Store;
use crate::sync::Engine;
use crate::threads;
use crate::web;

mod active;
mod calls;
mod cycle_log;
mod directories;
pub mod idle;
mod reexec;
mod reload;
pub mod signals;
mod timer;
mod worker;

pub use active::{Ended, run};
use calls::{Call, Callers};
use cycle_log::CycleLog;
pub use reexec::IdleDaemon;
use reexec::SavedState;
use signals::Signals;

/// Requests that may wait for the worker; one more is told to come back later.
const QUEUE: usize = 8;

/// Pause after the system refused to accept a command (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Longest time for a request in flight to end after the stop signal.
const GRACE: Duration = Duration::from_secs(5);

/// The work of a process that owns the store for one command; runs on a thread that may block.
pub type Work = Box<dyn FnOnce(StoreService) -> io::Result<u8> + Send>;

/// The end of a command in the process that owns the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The command's exit status.
    pub status: u8,
    /// True if a signal asked the process to stop.
    pub stopped: bool,
}

/// Owns the store for the time of `work` and answers other commands meanwhile.
pub async fn own(config: Config, store: Store, signals: &Signals, work: Work) -> io::Result<Owned> {
    let (stop, shutdown) = Shutdown::new();
    let socket = control::listen(store.data_dir(), store.lock()?)?;
    let Started { service, worker: _, serving } = start(config, store, shutdown, &socket, None)?;
    let mut working = threads::run("command", move || work(service))?;
    let mut stopped = false;
    let result = tokio::select! {
        result = &mut working => result,
        () = signals.stop() => {
            stopped = true;
            stop.send_replace(true);
            tokio::select! {
                result = &mut working => result,
                () = tokio::time::sleep(GRACE) => return Ok(Owned { status: 1, stopped }),
            }
        }
    };
    serving.abort();
    let status = result.map_err(|_| io::Error::other("the command ended without a word"))??;
    Ok(Owned { status, stopped })
}

/// Opens the page where the configuration asks for one, with the listener of the former page if there is one. The page
/// is open until the returned value is dropped.
pub fn open_page(service: &StoreService, listener: Option<TcpListener>) -> io::Result<Option<web::Page>> {
    make_page(service, listener)?.map(|page| show_page(service, page)).transpose()
}

/// The page, not yet open, where the configuration asks for one.
fn make_page(service: &StoreService, listener: Option<TcpListener>) -> io::Result<Option<web::ReadyPage>> {
    let Some(http) = &service.engine.config.http else { return Ok(None) };
    web::ReadyPage::new(http, listener, service.clone()).map(Some)
}

fn show_page(service: &StoreService, page: web::ReadyPage) -> io::Result<web::Page> {
    let activity = service.activity.clone();
    page.open(move || activity.begin())
}

/// A running service: its worker and its control socket.
struct Started {
    service: StoreService,
    worker: JoinHandle<(Told, CycleLog)>,
    serving: JoinHandle<()>,
}

/// Starts worker and control socket. The daemon passes its saved state and the queue for another configuration.
fn start(
    config: Config,
    store: Store,
    shutdown: Shutdown,
    socket: &Socket,
    daemon: Option<(SavedState, mpsc::Sender<ReloadRequest>)>,
) -> io::Result<Started> {
    let engine =
        Arc::new(Engine { config: Arc::new(config), store: Arc::new(store), backoff: Backoff::default(), shutdown });
    let (saved, reloads) = daemon.unzip();
    let (requests, queue) = mpsc::channel(QUEUE);
    let service = StoreService {
        engine: engine.clone(),
        is_daemon: saved.is_some(),
        session_kept: Arc::default(),
        timetable: SharedTimetable::new(saved.as_ref().map(|saved| saved.timetable).unwrap_or_default()),
        clock_set: Arc::default(),
        reloads,
        requests,
        activity: Activity::default(),
    };
    let serving = serve(socket, &service)?;
    let worker = tokio::spawn(worker::run(engine, queue, service.activity.clone(), saved));
    Ok(Started { service, worker, serving })
}

/// Answers commands that come over the control socket.
fn serve(socket: &Socket, service: &StoreService) -> io::Result<JoinHandle<()>> {
    let listener = socket.listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let (listener, service, callers) = (UnixListener::from_std(listener)?, service.clone(), Callers::default());
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(converse(stream, service.clone(), callers.clone()))),
                Err(error) => {
                    tracing::debug!("a command is not let in: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }))
}

/// Answers one command, on a thread that may block. If there is no thread for the command, the client is told so.
async fn converse(stream: UnixStream, service: StoreService, callers: Callers) {
    let busy = service.activity.begin();
    let Some(Call { stream, line, turn }) = callers.hear(stream).await else { return };
    let told = stream.try_clone();
    let begun = threads::run("command", move || {
        let _held = (busy, turn);
        let execute = |command: Command, output: &mut dyn Output| commands::execute(&service, &command, output);
        if let Err(error) = control::carry_out(stream, &line, execute) {
            tracing::debug!("a command went away: {error}");
        }
    });
    if let (Err(error), Ok(stream)) = (begun, told) {
        tracing::warn!("{error}");
        drop(control::refuse(&stream, &error.to_string()));
    }
}

/// Tells systemd at intervals that the program is alive, where a watchdog is set.
fn watchdog() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let Some(within) = sd_notify::watchdog_enabled() else { return Box::pin(std::future::pending()) };
    Box::pin(async move {
        loop {
            notify(&[sd_notify::NotifyState::Watchdog]);
            tokio::time::sleep(within / 2).await;
        }
    })
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd the message has no reader.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd cannot be told: {error}");
    }
}
