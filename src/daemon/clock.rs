//! When something is to be done: asks for cycles when the schedule says so, and for what is to be said before the next
//! one. It wakes at those instants and for nothing else, and notes them, so that a rest lasts no longer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Job, Owner, next_text, notify};
use crate::notify::Teller;
use crate::remote::Shutdown;
use crate::schedule;
use crate::sync::{Engine, Report, Request, Watcher};

/// Longest sleep: the machine may have slept, or somebody may have set its time.
const LONGEST_SLEEP: Duration = Duration::from_secs(15 * 60);

/// What the clock has noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// When the next cycle runs, the random delay included.
    pub run: Option<DateTime<Utc>>,
    /// When something is to be said before that.
    pub notice: Option<DateTime<Utc>>,
    /// What was due until then has been said.
    pub looked: Option<DateTime<Utc>>,
}

impl Clock {
    /// When something is to be done next.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        self.run.into_iter().chain(self.notice).min()
    }
}

/// What is noted, for whoever wants to rest.
pub type Noted = Arc<Mutex<Clock>>;

/// What stands there now.
pub fn note(noted: &Noted) -> MutexGuard<'_, Clock> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs until the stop signal. A daemon that has just started looks whether a run was missed; after a rest it goes on
/// with what was noted.
pub async fn run(owner: Owner, noted: Noted, is_new: bool) {
    let Engine { config, store, shutdown, .. } = &*owner.engine;
    if is_new && config.catch_up {
        let last: Option<DateTime<Utc>> = match store.runs::<Report>(1) {
            Ok(runs) => {
                runs.first().and_then(|run| DateTime::parse_from_rfc3339(&run.started).ok()).map(|time| time.to_utc())
            }
            Err(error) => return tracing::error!("{error}"),
        };
        let now = Utc::now();
        // A store that has never seen a run has missed none.
        if last.is_some_and(|last| schedule::missed(&config.schedule, last, now, config.timezone)) {
            note(&noted).looked = Some(now);
            cycle(&owner).await;
        }
    }
    while !shutdown.requested() {
        let next = owner.next_run();
        let status = next.map_or("no schedule: cycles run when asked for".to_owned(), |_| next_text(&owner));
        notify(&[sd_notify::NotifyState::Status(&status)]);
        if let Some(next) = next {
            note(&noted).run.get_or_insert_with(|| next + config.jitter.mul_f64(fastrand::f64()));
        }
        if sleep(&owner, &noted).await {
            cycle(&owner).await;
            note(&noted).run = None;
        }
    }
}

/// Sleeps until the next run, or for ever, and says on the way what becomes due. `false`: stopped before.
async fn sleep(owner: &Owner, noted: &Noted) -> bool {
    let shutdown = &owner.engine.shutdown;
    loop {
        let clock = {
            let mut clock = note(noted);
            clock.notice = owner.engine.next_notice(clock.looked.unwrap_or(DateTime::<Utc>::MIN_UTC));
            *clock
        };
        let time = async {
            match clock.due() {
                Some(due) => sleep_until(due, shutdown).await,
                None => {
                    shutdown.wait().await;
                    false
                }
            }
        };
        tokio::select! {
            woken = time => if !woken { return false },
            // Another session, with another end.
            () = owner.kept.notified() => {
                note(noted).looked = None;
                continue;
            }
        }
        let now = Utc::now();
        note(noted).looked = Some(now);
        if clock.run.is_some_and(|run| run <= now) {
            // The cycle says it.
            return true;
        }
        let (reply, said) = oneshot::channel();
        if owner.jobs.send(Job::Remind(reply)).await.is_ok() {
            drop(said.await);
        }
    }
}

/// Sleeps until that instant by the wall clock; `false`: stopped before.
pub async fn sleep_until(instant: DateTime<Utc>, shutdown: &Shutdown) -> bool {
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

/// Says what is due, in the log and to the notifiers.
pub async fn remind(engine: &Engine, teller: &mut Teller) {
    let now = Utc::now();
    for source in &engine.config.sources {
        if let Some(note) = engine.session_note(source, now) {
            tracing::warn!("{}: {note}", source.name);
        }
    }
    teller.remind(now).await;
}
