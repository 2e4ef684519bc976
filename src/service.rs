//! The store's owner as commands and the page see it: the engine with its store, the queue of the one worker, and the
//! time of the next run. Commands only ask; the worker of the daemon's module does the work, one request after the other.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::config;
use crate::control::Output;
use crate::schedule;
use crate::store;
use crate::sync::{
    Answer, Applied, Checked, Engine, ImportRequest, ImportSource, Imported, Matched, Report, Request, Restored, Step,
    Verification, Verified, Watcher,
};

pub mod activity;
pub mod timetable;
pub mod wall_clock;

use activity::Activity;
use timetable::SharedTimetable;

/// Longest time that a command with another configuration waits for the end of a running cycle.
const RELOAD_PATIENCE: Duration = Duration::from_secs(20);

/// A request to the worker, with the channel for its result.
pub enum WorkerRequest {
    /// A cycle.
    Cycle(Request, Watcher, oneshot::Sender<Result<Report, store::Error>>),
    /// A check of sources and destinations.
    Check(Watcher, oneshot::Sender<Result<Vec<Checked>, store::Error>>),
    /// A recording of the sources; the flag: a person sits at a terminal.
    Trace(bool, Watcher, oneshot::Sender<Result<(Vec<Checked>, String), store::Error>>),
    /// An application of the rules; the flag: values of rules are overwritten.
    ApplyRules(bool, Watcher, oneshot::Sender<Result<(Applied, Report), store::Error>>),
    /// A read-back of destinations.
    Verify(Verification, Watcher, oneshot::Sender<Result<Vec<Verified>, store::Error>>),
    /// Rows with these ids come back to a destination.
    Restore(Box<config::Destination>, Vec<String>, Watcher, oneshot::Sender<Result<Restored, store::Error>>),
    /// The owner's answer about the row with this id that is kept apart.
    Match(String, Answer, Watcher, oneshot::Sender<Result<Matched, store::Error>>),
    /// A statement file goes into the store.
    Import(Box<ImportFile>, Watcher, oneshot::Sender<Result<Vec<Imported>, store::Error>>),
    /// Notices that are due between two runs.
    Remind(oneshot::Sender<()>),
    /// A new engine for all later requests.
    Renew(Arc<Engine>, oneshot::Sender<()>),
}

/// A statement file to import.
pub struct ImportFile {
    /// Account, currency and layout.
    pub request: ImportRequest,
    /// The source that the file belongs to.
    pub source: ImportSource,
    /// The name of the file.
    pub name: String,
    /// The open file.
    pub file: File,
}

/// A wish that the daemon reads its configuration again.
pub struct ReloadRequest {
    /// The text of the configuration; `None`: the daemon reads the file.
    pub text: Option<String>,
    /// The channel of the command that waits for the result.
    pub reply: Option<std::sync::mpsc::Sender<Result<(), String>>>,
}

/// The process that owns the store. Clones share everything.
#[derive(Clone)]
pub struct StoreService {
    /// The engine with configuration and store.
    pub engine: Arc<Engine>,
    /// True in the daemon, false in a command that owns the store for itself.
    pub is_daemon: bool,
    /// Rung when a session was kept: the timer looks anew at what ends when.
    pub session_kept: Arc<Notify>,
    /// The daemon's next run and next notice.
    pub timetable: SharedTimetable,
    /// Rung when somebody but the timer has found out that the wall clock was set.
    pub clock_set: Arc<Notify>,
    /// The daemon's queue of wishes for another configuration.
    pub reloads: Option<mpsc::Sender<ReloadRequest>>,
    /// The worker's queue.
    pub requests: mpsc::Sender<WorkerRequest>,
    /// Everything that keeps the daemon from going idle.
    pub activity: Activity,
}

impl StoreService {
    /// Asks for a cycle and waits for its end. Blocks: not for async code.
    pub fn cycle(&self, request: Request, output: &mut dyn Output) -> io::Result<Result<Report, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| WorkerRequest::Cycle(request, watcher, reply), output)
    }

    /// Asks for a check and waits for its end. Blocks: not for async code.
    pub fn check(&self, output: &mut dyn Output) -> io::Result<Result<Vec<Checked>, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| WorkerRequest::Check(watcher, reply), output)
    }

    /// Asks for a recording of the sources and waits for its end. Blocks: not for async code.
    pub fn trace(
        &self,
        at_terminal: bool,
        output: &mut dyn Output,
    ) -> io::Result<Result<(Vec<Checked>, String), store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| WorkerRequest::Trace(at_terminal, watcher, reply), output)
    }

    /// Asks for the rules to be applied and waits for the end. Blocks: not for async code.
    pub fn apply_rules(
        &self,
        overwrite: bool,
        output: &mut dyn Output,
    ) -> io::Result<Result<(Applied, Report), store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| WorkerRequest::ApplyRules(overwrite, watcher, reply), output)
    }

    /// Asks for a read-back and waits for its end. Blocks: not for async code.
    pub fn verify(
        &self,
        request: Verification,
        output: &mut dyn Output,
    ) -> io::Result<Result<Vec<Verified>, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| WorkerRequest::Verify(request, watcher, reply), output)
    }

    /// Asks for rows to be put back and waits for the end. Blocks: not for async code.
    pub fn restore(
        &self,
        destination: config::Destination,
        ids: Vec<String>,
        output: &mut dyn Output,
    ) -> io::Result<Result<Restored, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| WorkerRequest::Restore(Box::new(destination), ids, watcher, reply), output)
    }

    /// Asks for the owner's answer about a row to be carried out and waits for the end. Blocks: not for async code.
    pub fn match_row(
        &self,
        id: String,
        answer: Answer,
        output: &mut dyn Output,
    ) -> io::Result<Result<Matched, store::Error>> {
        let (reply, answered) = oneshot::channel();
        self.ask(answered, |watcher| WorkerRequest::Match(id, answer, watcher, reply), output)
    }

    /// Asks for a statement file to be imported and waits for the end. Blocks: not for async code.
    pub fn import(&self, file: ImportFile, output: &mut dyn Output) -> io::Result<Result<Vec<Imported>, store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.ask(answer, |watcher| WorkerRequest::Import(Box::new(file), watcher, reply), output)
    }

    fn ask<T>(
        &self,
        mut answer: oneshot::Receiver<T>,
        request: impl FnOnce(Watcher) -> WorkerRequest,
        output: &mut dyn Output,
    ) -> io::Result<T> {
        let (steps, mut seen) = mpsc::unbounded_channel();
        // The worker goes on when the command that asked has gone away.
        let watcher: Watcher = Arc::new(move |step: Step| drop(steps.send(step)));
        self.requests
            .try_send(request(watcher))
            .map_err(|_| io::Error::other("too many commands are waiting; try again later"))?;
        while let Some(step) = seen.blocking_recv() {
            output.step(step)?;
        }
        answer.try_recv().map_err(|_| io::Error::other("stopped before it was done"))
    }

    /// The time of the next scheduled cycle. The timer is told where that has to be worked out anew.
    pub fn next_run(&self) -> Option<DateTime<Utc>> {
        let now = Utc::now();
        let is_running = self.timetable.lock().run.is_none_or(|run| run <= now);
        let config = &self.engine.config;
        if is_running {
            return schedule::next_run(&config.schedule, now.with_timezone(&config.timezone)).map(|next| next.to_utc());
        }
        if self.plan_run() {
            self.clock_set.notify_one();
        }
        self.timetable.lock().run
    }

    /// Works out the next run where none is noted or the wall clock was set. Returns whether the clock was set.
    pub fn plan_run(&self) -> bool {
        let was_set = self.timetable.lock().plan(&self.engine.config, Utc::now(), wall_clock::offset());
        if was_set {
            tracing::info!("the clock was set: {}", self.next_run_text());
        }
        was_set
    }

    /// The next run in words.
    pub fn next_run_text(&self) -> String {
        self.next_run().map_or("no scheduled run".into(), |next| format!("next run {}", self.engine.local(next)))
    }

    /// Has the daemon take this text for its configuration. `true`: the new one counts; `false`: a long cycle has to end
    /// first; `Err`: why the old one stays. Blocks: not for async code.
    pub fn reload(&self, text: String) -> Result<bool, String> {
        let (reply, answer) = std::sync::mpsc::channel();
        let reloads =
            self.reloads.as_ref().ok_or("no daemon is running; each command reads the configuration itself")?;
        let gone = "the daemon stopped before it was done";
        reloads.blocking_send(ReloadRequest { text: Some(text), reply: Some(reply) }).map_err(|_| gone)?;
        match answer.recv_timeout(RELOAD_PATIENCE) {
            Ok(reloaded) => reloaded.map(|()| true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(gone.into()),
        }
    }
}
