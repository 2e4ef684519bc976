//! The process that owns the store: one worker that runs whole cycles, a control socket for the other commands, and,
//! as a daemon, the clock and the page. Everybody only asks; the worker does. A daemon with nothing to do rests ([`rest`]).

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Level;

use crate::config::{self, Config};
use crate::control::{self, Command, Output};
use crate::listing::with_names;
use crate::notify::{Teller, Told};
use crate::remote::{Backoff, Shutdown};
use crate::schedule;
use crate::store::{self, Store};
use crate::sync::{Applied, Checked, Engine, Report, Request, Restored, Step, Verification, Verified, Watcher};
use crate::web;

mod awake;
mod clock;
mod handover;
mod journal;
mod rest;

pub use awake::{Ended, run};
pub use handover::Handover;
use handover::Notes;
use journal::Journal;
use rest::Activity;
pub use rest::{rest, turn_away};

/// Hands waiting at most; one more is told to come back later.
const QUEUE: usize = 8;

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
}

/// The owner of the store, as the commands see it.
#[derive(Clone)]
pub struct Owner {
    /// The engine with configuration and store.
    pub engine: Arc<Engine>,
    /// Whether this is the daemon.
    pub is_daemon: bool,
    /// Rung when a session was kept: the clock looks anew at what ends when.
    pub kept: Arc<tokio::sync::Notify>,
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
        let now = Utc::now().with_timezone(&self.engine.config.timezone);
        schedule::next_run(&self.engine.config.schedule, now).map(|next| next.to_utc())
    }
}

/// What to do with an owned store; blocks on its own thread.
pub type Work = Box<dyn FnOnce(Owner) -> io::Result<u8> + Send>;

/// Owns the store for the time of `work`, answering other commands meanwhile. Returns its exit status.
pub async fn own(
    config: Config,
    store: Store,
    stop: watch::Sender<bool>,
    shutdown: Shutdown,
    work: Work,
) -> io::Result<u8> {
    let control = control::listen(store.data_dir())?;
    let Started { owner, worker: _, serving } = start(config, store, shutdown, control, None)?;
    let mut working = tokio::task::spawn_blocking(move || work(owner));
    let result = tokio::select! {
        result = &mut working => result,
        () = stop_signal() => {
            stop.send_replace(true);
            tokio::select! {
                result = &mut working => result,
                () = tokio::time::sleep(GRACE) => return Ok(1),
            }
        }
    };
    serving.abort();
    result.map_err(io::Error::other)?
}

/// Opens the page where the configuration asks for one, with the listener it had before if there is one; it stays open
/// until what is returned is dropped.
pub fn open_page(owner: &Owner, listener: Option<TcpListener>) -> io::Result<Option<web::Page>> {
    let Some(http) = &owner.engine.config.http else { return Ok(None) };
    let asking = owner.clone();
    let execute: web::Execute = Arc::new(move |command, output| crate::cli::execute(&asking, command, output));
    let begin = {
        let activity = owner.activity.clone();
        move || activity.begin()
    };
    web::open(http, listener, owner.engine.clone(), execute, begin).map(Some)
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
    listener: std::os::unix::net::UnixListener,
    notes: Option<Notes>,
) -> io::Result<Started> {
    let is_daemon = notes.is_some();
    let engine =
        Arc::new(Engine { config: Arc::new(config), store: Arc::new(store), backoff: Backoff::default(), shutdown });
    let (jobs, queue) = mpsc::channel(QUEUE);
    let owner = Owner { engine: engine.clone(), is_daemon, kept: Arc::default(), jobs, activity: Activity::default() };
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let worker = tokio::spawn(worker(engine, queue, owner.activity.clone(), notes));
    let serving = tokio::spawn(serve(listener, owner.clone()));
    Ok(Started { owner, worker, serving })
}

/// Runs one job after the other, until the stop signal. Returns what was told and said.
async fn worker(
    engine: Arc<Engine>,
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

/// Answers commands that come over the control socket.
async fn serve(listener: UnixListener, owner: Owner) {
    while let Ok((stream, _)) = listener.accept().await {
        let (owner, busy) = (owner.clone(), owner.activity.begin());
        tokio::task::spawn_blocking(move || {
            let _busy = busy;
            let execute = |command: Command, output: &mut dyn Output| crate::cli::execute(&owner, &command, output);
            let answered = stream.into_std().and_then(|stream| control::answer(stream, execute));
            if let Err(error) = answered {
                tracing::debug!("a command went away: {error}");
            }
        });
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

/// Returns at SIGTERM or SIGINT.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
