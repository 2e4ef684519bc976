//! The process that owns the store: one worker that runs whole cycles, a control socket for the other commands, and,
//! as a daemon, the clock and the page. Everybody only asks; the worker does. A daemon with nothing to do rests ([`rest`]).

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Level;

use crate::config::{self, Config};
use crate::control::{self, Command, Output};
use crate::notify::{Teller, Told};
use crate::remote::{Backoff, Shutdown};
use crate::schedule;
use crate::store::{self, Store};
use crate::sync::{Applied, Checked, Engine, Report, Request, Restored, Step, Verification, Verified, Watcher};
use crate::web;

mod handover;
mod journal;
mod rest;

pub use handover::Handover;
use handover::Notes;
use journal::Journal;
use rest::Activity;

/// Hands waiting at most; one more is told to come back later.
const QUEUE: usize = 8;

/// How long a request in flight may take to end after the stop signal.
const GRACE: Duration = Duration::from_secs(5);

/// Longest sleep of the clock: the machine may have slept, or somebody may have set its time.
const LONGEST_SLEEP: Duration = Duration::from_secs(15 * 60);

/// One thing for the worker to do.
enum Job {
    Cycle(Request, Watcher, oneshot::Sender<Result<Report, store::Error>>),
    Check(Watcher, oneshot::Sender<Result<Vec<Checked>, store::Error>>),
    Trace(Watcher, oneshot::Sender<Result<(Vec<Checked>, String), store::Error>>),
    Rules(bool, Watcher, oneshot::Sender<Result<(Applied, Report), store::Error>>),
    Verify(Verification, Watcher, oneshot::Sender<Result<Vec<Verified>, store::Error>>),
    Restore(Box<config::Destination>, Vec<String>, Watcher, oneshot::Sender<Result<Restored, store::Error>>),
}

/// The owner of the store, as the commands see it.
#[derive(Clone)]
pub struct Owner {
    /// The engine with configuration and store.
    pub engine: Arc<Engine>,
    /// Whether this is the daemon.
    pub is_daemon: bool,
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
    pub fn trace(&self, output: &mut dyn Output) -> io::Result<Result<(Vec<Checked>, String), store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| Job::Trace(watcher, reply), output)
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

/// How the daemon's time awake ended.
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// There is nothing to do; the store is closed.
    Resting(Box<Handover>),
}

/// Runs the daemon, anew or after a rest, until it is told to stop or may rest.
pub async fn run(
    config: Config,
    store: Store,
    stop: watch::Sender<bool>,
    shutdown: Shutdown,
    rested: Option<Handover>,
) -> io::Result<Ended> {
    let lock = store.lock()?;
    let (control, page, notes) = match rested {
        Some(Handover { control, page, notes, .. }) => (control, page, Some(notes)),
        None => (control::listen(store.data_dir())?, None, None),
    };
    let (patience, due) = (rest::patience(notes.as_ref()), notes.as_ref().and_then(|notes| notes.due));
    let (path, text) = (config.path.clone(), config.text.clone());
    let is_new = notes.is_none();
    let kept = control.try_clone()?;
    let Started { owner, worker, serving } = start(config, store, shutdown, control, Some(notes.unwrap_or_default()))?;
    let page = match open_page(&owner, page) {
        // Rows matter more than the page: a daemon that has worked so far goes on without.
        Err(error) if !is_new => {
            tracing::error!("{error}");
            None
        }
        page => page?,
    };
    if is_new {
        page.iter().for_each(|page| tracing::info!("the page is at http://{}", page.address));
        notify(&[sd_notify::NotifyState::Ready]);
        tracing::info!("ready, {}", next_text(&owner));
    }
    let due = Arc::new(Mutex::new(due));
    let clock = tokio::spawn(clock(owner.clone(), due.clone(), is_new));
    let watchdog = tokio::spawn(watchdog());
    let is_due = || *due.lock().unwrap_or_else(PoisonError::into_inner);
    let is_held = || !owner.engine.store.is_well() || page.as_ref().is_some_and(web::Page::is_in_use);
    let stopped = tokio::select! {
        () = stop_signal() => true,
        () = owner.activity.may_rest(patience, is_due, is_held) => false,
    };
    // From here on nobody is let in any more; whoever comes waits at the sockets.
    serving.abort();
    let due = is_due();
    if stopped {
        notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping");
    }
    stop.send_replace(true);
    let page = page.map(web::Page::close);
    // The request in flight ends and what it did is recorded; then the worker ends.
    let worked = tokio::time::timeout(GRACE, worker).await;
    if worked.is_err() {
        tracing::warn!(
            "a request did not end within {} s; what became of it is settled at the next start",
            GRACE.as_secs()
        );
    }
    clock.abort();
    watchdog.abort();
    if stopped {
        return Ok(Ended::Stopped);
    }
    let (told, journal) = worked.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let (_, _) = tokio::join!(serving, clock);
    let page = match page {
        Some(page) => Some(page.await?),
        None => None,
    };
    let text = text.expose_secret().to_owned();
    let notes = Notes { path, text, journal, told, due, patience, since: Utc::now() };
    Ok(Ended::Resting(Box::new(Handover { lock, control: kept, page, notes })))
}

/// Rests until it is time or somebody comes; `false`: it was told to stop.
pub async fn rest(handover: &Handover, due: Option<DateTime<Utc>>) -> io::Result<bool> {
    let time = async {
        match due {
            Some(due) => drop(sleep_until(due, &Shutdown::never()).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop_signal() => {
            notify(&[sd_notify::NotifyState::Stopping]);
            tracing::info!("stopping");
            Ok(false)
        }
        needed = rest::until_needed(handover, time) => needed.map(|()| true),
        () = watchdog() => Ok(true),
    }
}

/// Tells the commands that wait for a daemon that cannot work why it cannot.
pub fn turn_away(handover: &Handover, why: &str) {
    notify(&[sd_notify::NotifyState::Status(why)]);
    while let Ok((stream, _)) = handover.control.accept() {
        let why = why.to_owned();
        std::thread::spawn(move || {
            let told = control::answer(stream, |_, output| {
                output.talk(&format!("bankfeed: {why}\n"))?;
                Ok(crate::cli::ATTENTION)
            });
            if let Err(error) = told {
                tracing::debug!("a command went away: {error}");
            }
        });
    }
    // A browser shows that nobody answers.
    while handover.page.as_ref().is_some_and(|page| page.accept().is_ok()) {}
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
    let owner = Owner { engine: engine.clone(), is_daemon, jobs, activity: Activity::default() };
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
                    log(&mut journal, &report, began.elapsed(), &engine.config);
                }
                tell(&mut teller, &report, &engine.config).await;
                drop(reply.send(report));
            }
            Job::Check(watcher, reply) => {
                let checked = engine.check(&watcher).await;
                drop(reply.send(checked));
            }
            Job::Trace(watcher, reply) => {
                let traced = engine.trace(&watcher).await;
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
fn log(journal: &mut Journal, report: &Result<Report, store::Error>, took: Duration, config: &Config) {
    let why = report.as_ref().map_err(|error| crate::cli::explain(error, config));
    for (level, line) in journal.lines(why.as_ref().map(|report| *report).map_err(String::as_str), took) {
        match level {
            Level::ERROR => tracing::error!("{line}"),
            Level::WARN => tracing::warn!("{line}"),
            _ => tracing::info!("{line}"),
        }
    }
}

/// Asks for cycles when the schedule says so, and notes when that is. After a rest it goes on with what was noted.
async fn clock(owner: Owner, due: Arc<Mutex<Option<DateTime<Utc>>>>, is_new: bool) {
    let due = || due.lock().unwrap_or_else(PoisonError::into_inner);
    let Engine { config, store, shutdown, .. } = &*owner.engine;
    let last: Option<DateTime<Utc>> = match store.runs::<Report>(1) {
        Ok(runs) => {
            runs.first().and_then(|run| DateTime::parse_from_rfc3339(&run.started).ok()).map(|time| time.to_utc())
        }
        Err(error) => return tracing::error!("{error}"),
    };
    let now = Utc::now();
    // A store that has never seen a run has missed none.
    let missed = last.is_some_and(|last| schedule::missed(&config.schedule, last, now, config.timezone));
    if is_new && config.catch_up && missed {
        cycle(&owner).await;
    }
    while !shutdown.requested() {
        let Some(next) = owner.next_run() else {
            notify(&[sd_notify::NotifyState::Status("no schedule: cycles run when asked for")]);
            return shutdown.wait().await;
        };
        notify(&[sd_notify::NotifyState::Status(&next_text(&owner))]);
        let at = *due().get_or_insert_with(|| next + config.jitter.mul_f64(fastrand::f64()));
        if sleep_until(at, shutdown).await {
            cycle(&owner).await;
        }
        *due() = None;
    }
}

/// Sleeps until that instant by the wall clock; `false`: stopped before.
async fn sleep_until(instant: DateTime<Utc>, shutdown: &Shutdown) -> bool {
    loop {
        let Ok(left) = (instant - Utc::now()).to_std() else { return true };
        tokio::select! {
            () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
            () = shutdown.wait() => return false,
        }
    }
}

async fn cycle(owner: &Owner) {
    notify(&[sd_notify::NotifyState::Status("a cycle is running")]);
    let (reply, answer) = oneshot::channel();
    let watcher: Watcher = Arc::new(|_| {});
    if owner.jobs.send(Job::Cycle(Request::default(), watcher, reply)).await.is_ok() {
        // The worker logs how it went.
        drop(answer.await);
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
