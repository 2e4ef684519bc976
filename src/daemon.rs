//! The process that owns the store: one worker that runs whole cycles, a control socket for the other commands, and,
//! as a daemon, the clock and the page. Everybody only asks; the worker does. A daemon with nothing to do rests ([`rest`]).

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::Level;

use crate::config::{self, Config};
use crate::control::{self, Command, Output, Socket};
use crate::listing::with_names;
use crate::notify::{Teller, Told};
use crate::remote::{Backoff, Shutdown};
use crate::store::{self, Store};
use crate::sync::{Applied, Checked, Engine, Report, Request, Restored, Step, Verification, Verified, Watcher};
use crate::threads;
use crate::web;

mod alarm;
mod awake;
mod calls;
mod clock;
mod handover;
mod journal;
mod renewal;
mod rest;
pub mod signals;

pub use awake::{Ended, run};
use calls::{Call, Callers};
use clock::Noted;
pub use handover::Handover;
use handover::Notes;
use journal::Journal;
use renewal::Reload;
use rest::Activity;
pub use rest::{Woken, rest, turn_away};
use signals::Signals;

/// Hands waiting at most; one more is told to come back later.
const QUEUE: usize = 8;

/// How long whoever has another configuration waits for the end of a running cycle.
const RELOAD_PATIENCE: Duration = Duration::from_secs(20);

/// How long nobody is let in after the system refused to (no file descriptors left).
const NOT_LET_IN: Duration = Duration::from_millis(200);

/// How long a request in flight may take to end after the stop signal.
const GRACE: Duration = Duration::from_secs(5);

/// One thing for the worker to do.
enum Job {
    Cycle(Request, Watcher, oneshot::Sender<Result<Report, store::Error>>),
    Check(Watcher, oneshot::Sender<Result<Vec<Checked>, store::Error>>),
    Trace(bool, Watcher, oneshot::Sender<Result<(Vec<Checked>, String), store::Error>>),
    Rules(bool, Watcher, oneshot::Sender<Result<(Applied, Report), store::Error>>),
    Verify(Verification, Watcher, oneshot::Sender<Result<Vec<Verified>, store::Error>>),
    Restore(Box<config::Destination>, Vec<String>, Watcher, oneshot::Sender<Result<Restored, store::Error>>),
    Remind(oneshot::Sender<()>),
    /// From here on everything is done by this engine.
    Renew(Arc<Engine>, oneshot::Sender<()>),
}

/// The owner of the store, as the commands see it.
#[derive(Clone)]
pub struct Owner {
    /// The engine with configuration and store.
    pub engine: Arc<Engine>,
    /// Whether this is the daemon.
    pub is_daemon: bool,
    /// Rung when a session was kept: the clock looks anew at what ends when.
    pub kept: Arc<Notify>,
    /// What the clock has noted.
    noted: Noted,
    /// Rung when somebody has found out that the clock was set.
    set: Arc<Notify>,
    /// Where the daemon hears of another configuration.
    reloads: Option<mpsc::Sender<Reload>>,
    jobs: mpsc::Sender<Job>,
    activity: Activity,
}

impl Owner {
    /// Asks for a cycle and waits for its end. Blocks: not for async code.
    pub fn cycle(&self, request: Request, output: &mut dyn Output) -> io::Result<Result<Report, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| Job::Cycle(request, watcher, reply), output)
    }

    /// Asks for a check and waits for its end. Blocks: not for async code.
    pub fn check(&self, output: &mut dyn Output) -> io::Result<Result<Vec<Checked>, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| Job::Check(watcher, reply), output)
    }

    /// Asks for a recording of the sources and waits for its end. Blocks: not for async code.
    pub fn trace(
        &self,
        at_terminal: bool,
        output: &mut dyn Output,
    ) -> io::Result<Result<(Vec<Checked>, String), store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| Job::Trace(at_terminal, watcher, reply), output)
    }

    /// Asks for the rules to be applied and waits for the end. Blocks: not for async code.
    pub fn apply_rules(
        &self,
        overwrite: bool,
        output: &mut dyn Output,
    ) -> io::Result<Result<(Applied, Report), store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| Job::Rules(overwrite, watcher, reply), output)
    }

    /// Asks for a read-back and waits for its end. Blocks: not for async code.
    pub fn verify(
        &self,
        request: Verification,
        output: &mut dyn Output,
    ) -> io::Result<Result<Vec<Verified>, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| Job::Verify(request, watcher, reply), output)
    }

    /// Asks for rows to be put back and waits for the end. Blocks: not for async code.
    pub fn restore(
        &self,
        destination: config::Destination,
        ids: Vec<String>,
        output: &mut dyn Output,
    ) -> io::Result<Result<Restored, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| Job::Restore(Box::new(destination), ids, watcher, reply), output)
    }

    fn ask<T>(
        &self,
        mut answer: oneshot::Receiver<T>,
        job: impl FnOnce(Watcher) -> Job,
        output: &mut dyn Output,
    ) -> io::Result<T> {
        let (steps, mut seen) = mpsc::unbounded_channel();
        // Nobody watching any more is no reason to stop working.
        let watcher: Watcher = Arc::new(move |step: Step| drop(steps.send(step)));
        self.jobs
            .try_send(job(watcher))
            .map_err(|_| io::Error::other("too many commands are waiting; try again later"))?;
        while let Some(step) = seen.blocking_recv() {
            output.step(step)?;
        }
        answer.try_recv().map_err(|_| io::Error::other("stopped before it was done"))
    }

    /// When the next scheduled cycle runs.
    pub fn next_run(&self) -> Option<DateTime<Utc>> {
        clock::next_run(self)
    }

    /// Has the daemon take this text for its configuration. `true`: it has; `false`: it does so once a long cycle has ended;
    /// `Err`: why it does not. Blocks: not for async code.
    pub fn reload(&self, text: String) -> Result<bool, String> {
        let (reply, answer) = std::sync::mpsc::channel();
        let reloads =
            self.reloads.as_ref().ok_or("no daemon is running; each command reads the configuration itself")?;
        let gone = "the daemon stopped before it was done";
        reloads.blocking_send(Reload { text: Some(text), reply: Some(reply) }).map_err(|_| gone)?;
        match answer.recv_timeout(RELOAD_PATIENCE) {
            Ok(reloaded) => reloaded.map(|()| true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(gone.into()),
        }
    }
}

/// What to do with an owned store; blocks on its own thread.
pub type Work = Box<dyn FnOnce(Owner) -> io::Result<u8> + Send>;

/// How a command of an owner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its exit status.
    pub status: u8,
    /// Somebody wanted it to stop.
    pub stopped: bool,
}

/// Owns the store for the time of `work`, answering other commands meanwhile.
pub async fn own(config: Config, store: Store, signals: &Signals, work: Work) -> io::Result<Owned> {
    let (stop, shutdown) = Shutdown::new();
    let socket = control::listen(store.data_dir(), store.lock()?)?;
    let Started { owner, worker: _, serving } = start(config, store, shutdown, &socket, None)?;
    let mut working = threads::run("command", move || work(owner))?;
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

/// Opens the page where the configuration asks for one, with the listener it had before if there is one; it stays open
/// until what is returned is dropped.
pub fn open_page(owner: &Owner, listener: Option<TcpListener>) -> io::Result<Option<web::Page>> {
    make_page(owner, listener)?.map(|page| show_page(owner, page)).transpose()
}

/// A page that can be opened, where the configuration asks for one.
fn make_page(owner: &Owner, listener: Option<TcpListener>) -> io::Result<Option<web::Closed>> {
    let Some(http) = &owner.engine.config.http else { return Ok(None) };
    let asking = owner.clone();
    let execute: web::Execute = Arc::new(move |command, output| crate::cli::execute(&asking, command, output));
    web::Closed::new(http, listener, owner.engine.clone(), execute).map(Some)
}

fn show_page(owner: &Owner, page: web::Closed) -> io::Result<web::Page> {
    let activity = owner.activity.clone();
    page.open(move || activity.begin())
}

/// The tasks of an owner.
struct Started {
    owner: Owner,
    worker: tokio::task::JoinHandle<(Told, Journal)>,
    serving: tokio::task::JoinHandle<()>,
}

/// Starts worker and control socket; a daemon comes with what it has noted before.
fn start(
    config: Config,
    store: Store,
    shutdown: Shutdown,
    socket: &Socket,
    daemon: Option<(Notes, mpsc::Sender<Reload>)>,
) -> io::Result<Started> {
    let engine =
        Arc::new(Engine { config: Arc::new(config), store: Arc::new(store), backoff: Backoff::default(), shutdown });
    let (notes, reloads) = daemon.unzip();
    let (jobs, queue) = mpsc::channel(QUEUE);
    let owner = Owner {
        engine: engine.clone(),
        is_daemon: notes.is_some(),
        kept: Arc::default(),
        noted: Noted::new(notes.as_ref().map(|notes| notes.clock).unwrap_or_default().into()),
        set: Arc::default(),
        reloads,
        jobs,
        activity: Activity::default(),
    };
    let serving = serve(socket, &owner)?;
    let worker = tokio::spawn(worker(engine, queue, owner.activity.clone(), notes));
    Ok(Started { owner, worker, serving })
}

/// Runs one job after the other, until the stop signal. Returns what was told and said.
async fn worker(
    mut engine: Arc<Engine>,
    mut queue: mpsc::Receiver<Job>,
    activity: Activity,
    notes: Option<Notes>,
) -> (Told, Journal) {
    let is_daemon = notes.is_some();
    let Notes { mut journal, told, .. } = notes.unwrap_or_default();
    let mut teller = Teller::going_on(engine.clone(), told);
    loop {
        let job = tokio::select! {
            job = queue.recv() => job,
            () = engine.shutdown.wait() => None,
        };
        let Some(job) = job else { return (teller.told(), journal) };
        let _busy = activity.begin();
        // Whoever asked may have gone away; the work is done all the same.
        match job {
            Job::Cycle(request, watcher, reply) => {
                teller.begin(&request);
                let began = Instant::now();
                let report = engine.cycle(&request, &watcher).await;
                // Of a cycle by hand the command itself says everything.
                if is_daemon {
                    log(&mut journal, &report, began.elapsed(), &engine);
                }
                tell(&mut teller, &report, &engine.config).await;
                drop(reply.send(report));
            }
            Job::Check(watcher, reply) => {
                let checked = engine.check(&watcher).await;
                drop(reply.send(checked));
            }
            Job::Trace(at_terminal, watcher, reply) => {
                let traced = engine.trace(at_terminal, &watcher).await;
                drop(reply.send(traced));
            }
            Job::Rules(overwrite, watcher, reply) => {
                let applied = engine.apply_rules(overwrite, &watcher).await;
                drop(reply.send(applied));
            }
            Job::Verify(request, watcher, reply) => {
                let verified = engine.verify(&request, &watcher).await;
                drop(reply.send(verified));
            }
            Job::Restore(destination, ids, watcher, reply) => {
                let restored = engine.restore(&destination, &ids, &watcher).await;
                drop(reply.send(restored));
            }
            Job::Remind(reply) => {
                clock::remind(&engine, &mut teller).await;
                let _ = reply.send(());
            }
            Job::Renew(renewed, reply) => {
                teller = Teller::going_on(renewed.clone(), teller.told());
                engine = renewed;
                let _ = reply.send(());
            }
        }
    }
}

/// Tells whom the configuration names how the cycle went.
async fn tell(teller: &mut Teller, report: &Result<Report, store::Error>, config: &Config) {
    let why = report.as_ref().map_err(|error| (crate::cli::status_of(error), crate::cli::explain(error, config)));
    let ended = why.as_ref().map(|report| *report).map_err(|(status, why)| (*status, why.as_str()));
    teller.end(ended, Utc::now()).await;
}

/// Says in the log how the cycle went.
fn log(journal: &mut Journal, report: &Result<Report, store::Error>, took: Duration, engine: &Engine) {
    let (config, accounts) = (&engine.config, engine.store.accounts());
    let why = report.as_ref().map_err(|error| crate::cli::explain(error, config));
    for (level, line) in journal.lines(why.as_ref().map(|report| *report).map_err(String::as_str), took) {
        let line = with_names(&line, &accounts);
        match level {
            Level::ERROR => tracing::error!("{line}"),
            Level::WARN => tracing::warn!("{line}"),
            _ => tracing::info!("{line}"),
        }
    }
}

fn next_text(owner: &Owner) -> String {
    owner.next_run().map_or("no scheduled run".into(), |next| format!("next run {}", owner.engine.local(next)))
}

/// Answers commands that come over the control socket, from now on.
fn serve(socket: &Socket, owner: &Owner) -> io::Result<JoinHandle<()>> {
    let listener = socket.listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let (listener, owner, callers) = (UnixListener::from_std(listener)?, owner.clone(), Callers::default());
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(converse(stream, owner.clone(), callers.clone()))),
                Err(error) => {
                    tracing::debug!("a command is not let in: {error}");
                    tokio::time::sleep(NOT_LET_IN).await;
                }
            }
        }
    }))
}

/// Answers one command, on a thread that may block. One that cannot be answered is told so.
async fn converse(stream: UnixStream, owner: Owner, callers: Callers) {
    let busy = owner.activity.begin();
    let Some(Call { stream, line, turn }) = callers.hear(stream).await else { return };
    let told = stream.try_clone();
    let begun = threads::run("command", move || {
        let _held = (busy, turn);
        let execute = |command: Command, output: &mut dyn Output| crate::cli::execute(&owner, &command, output);
        if let Err(error) = control::carry_out(stream, &line, execute) {
            tracing::debug!("a command went away: {error}");
        }
    });
    if let (Err(error), Ok(stream)) = (begun, told) {
        tracing::warn!("{error}");
        drop(control::refuse(&stream, &error.to_string()));
    }
}

/// Tells systemd that the program is alive, where it wants to know.
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
    // Without systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd cannot be told: {error}");
    }
}
