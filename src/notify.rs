//! Notices to the owner: tasks for the owner, failures, new transactions and recoveries go to the notifiers of the
//! configuration, once per cause.
//!
//! The store remembers the notices sent, so that neither the next cycle nor a restart repeats them. A lasting cause is
//! told again after a day, after a week and then every four weeks. A notifier that fails changes nothing about the
//! cycle, takes a bounded time, is logged once, and is told everything at the next cycle. A notice never contains a
//! secret, a full account number, an amount unless the owner asked for amounts, or more than the head of a bank's page.
//! The notice is decided purely ([`plan`]); the module knows the report and the store, and no connector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{Notifier, NotifierKind};
use crate::store::{self, NotifierState};
use crate::sync::{Engine, Report, Request};

mod email;
mod facts;
mod plan;
mod send;
pub mod unopened;

pub use facts::{Fact, Facts};
pub use plan::{Event, Notice, Planned, plan};

/// Longest time that one notifier may take for its notice.
const PATIENCE: Duration = Duration::from_secs(15);

/// The state of each notifier, by its name.
pub type Told = BTreeMap<String, NotifierState>;

/// Tells the notifiers of one store about its cycles.
pub struct Teller {
    engine: Arc<Engine>,
    /// The notifiers' states, kept here as well for a store that cannot take them: a full disk is told once all the
    /// same.
    states: Told,
    /// Pings for the beginning of a cycle, perhaps still under way.
    started: Vec<JoinHandle<Result<(), String>>>,
}

impl Teller {
    /// A teller for the notifiers of this engine's configuration.
    pub fn new(engine: Arc<Engine>) -> Teller {
        Teller::going_on(engine, Told::default())
    }

    /// [`Teller::new`] with the states that another teller left.
    pub fn going_on(engine: Arc<Engine>, told: Told) -> Teller {
        Teller { engine, states: told, started: Vec::new() }
    }

    /// The notifiers' states, for the next process to go on with.
    pub fn told(self) -> Told {
        self.states
    }

    /// Marks the beginning of a cycle: changes from here on are new. Does not wait for the pings.
    pub fn begin(&mut self, request: &Request) {
        if request.dry_run {
            return;
        }
        let engine = self.engine.clone();
        for notifier in &engine.config.notifiers {
            self.recall(notifier);
            if matches!(notifier.kind, NotifierKind::Healthchecks { .. }) {
                let notifier = notifier.clone();
                let ping = async move { within_patience(send::ping(&notifier, "start", "")).await };
                self.started.push(tokio::spawn(ping));
            }
        }
    }

    /// Tells the end of a cycle: its report, or an exit status with the store's error. Never fails.
    pub async fn end(&mut self, ended: Result<&Report, (u8, &str)>, now: DateTime<Utc>) {
        // The start ping comes first: a server would take a late one for another cycle.
        for start in self.started.drain(..) {
            drop(start.await);
        }
        let engine = self.engine.clone();
        if engine.config.notifiers.is_empty() || engine.shutdown.requested() || ended.is_ok_and(|report| report.dry_run)
        {
            return;
        }
        let facts = match facts::gather(&engine, ended) {
            Ok(facts) => facts,
            Err(error) => return tracing::warn!("nobody is told how the cycle went: {error}"),
        };
        self.tell(&facts, engine.config.notifiers.iter(), now).await;
    }

    /// Tells between cycles that a session ends soon. A dead man's switch hears of cycles only.
    pub async fn remind(&mut self, now: DateTime<Utc>) {
        let engine = self.engine.clone();
        let facts = facts::sessions(&engine, now);
        if facts.wrong.is_empty() || engine.shutdown.requested() {
            return;
        }
        let hears = |notifier: &&Notifier| !matches!(notifier.kind, NotifierKind::Healthchecks { .. });
        self.tell(&facts, engine.config.notifiers.iter().filter(hears), now).await;
    }

    async fn tell(&mut self, facts: &Facts, notifiers: impl Iterator<Item = &Notifier>, now: DateTime<Utc>) {
        let planned: Vec<(&Notifier, NotifierState, Planned)> = notifiers
            .map(|notifier| {
                let state = self.recall(notifier);
                let planned = self.plan(notifier, &state, facts, now);
                (notifier, state, planned)
            })
            .collect();
        let telling = planned.iter().map(|(notifier, _, planned)| tell(notifier, planned, facts));
        let told = futures_util::future::join_all(telling).await;
        for ((notifier, before, planned), told) in planned.into_iter().zip(told) {
            self.conclude(notifier, before, planned, told, now);
        }
    }

    /// Plans the notice of one notifier.
    fn plan(&self, notifier: &Notifier, state: &NotifierState, facts: &Facts, now: DateTime<Utc>) -> Planned {
        let news = facts::news(&self.engine, notifier, state.seq).unwrap_or_else(|error| {
            // The cause that keeps the store from being read is among the facts already.
            tracing::debug!("{error}");
            facts::News::default()
        });
        plan(notifier, state, facts, &news, now)
    }

    /// The remembered state of a notifier. A new notifier, or one with a new target, begins with the present.
    fn recall(&mut self, notifier: &Notifier) -> NotifierState {
        let (store, salt) = (&self.engine.store, self.engine.store.meta().salt);
        let target = xxh3_64(format!("{salt}\0{}", send::target(notifier)).as_bytes());
        let known = match self.states.get(&notifier.name) {
            Some(state) => Some(state.clone()),
            None => store.notifier(&notifier.name).ok().flatten(),
        };
        let known = known.filter(|state| state.target == target);
        let state =
            known.unwrap_or_else(|| NotifierState { target, seq: store.meta().last_seq, ..NotifierState::default() });
        self.states.insert(notifier.name.clone(), state.clone());
        state
    }

    /// Remembers a notice that was sent; the events of a failed one stay to be told.
    fn conclude(
        &mut self,
        notifier: &Notifier,
        before: NotifierState,
        planned: Planned,
        told: Result<bool, String>,
        now: DateTime<Utc>,
    ) {
        let name = &notifier.name;
        let after = match told {
            Ok(said) => {
                if before.error.is_some() && said {
                    tracing::info!("notify `{name}`: works again");
                }
                let error = before.error.filter(|_| !said);
                let last_success = if said { Some(now) } else { before.last_success };
                NotifierState { error, last_success, ..planned.state }
            }
            Err(why) => {
                if before.error.is_none() {
                    tracing::warn!("notify `{name}`: {why}; it is tried again after the next cycle");
                }
                NotifierState { error: Some(why), ..before }
            }
        };
        self.states.insert(name.clone(), after.clone());
        let store = &self.engine.store;
        let kept = match store.notifier(name) {
            Ok(stored) if stored.as_ref() == Some(&after) => Ok(()),
            Ok(_) => store.put_notifier(name, &after),
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => {}
            // The cycle has reported this error itself.
            Err(error @ (store::Error::Full | store::Error::Damaged(_))) => tracing::debug!("{error}"),
            Err(error) => tracing::warn!("notify `{name}`: what was told could not be noted: {error}"),
        }
    }
}

/// Sends each notifier a test notice and returns the results in their order. The store remembers none of these notices.
pub async fn test(notifiers: &[Notifier], now: DateTime<Utc>) -> Vec<Result<(), String>> {
    let notice = Notice::test(now);
    let telling = notifiers.iter().map(|notifier| async {
        if matches!(notifier.kind, NotifierKind::Healthchecks { .. }) {
            // A dead man's switch gets a line in its log; its waiting for the next cycle is not affected.
            within_patience(send::ping(notifier, "log", &notice.text())).await
        } else {
            within_patience(hand_over(notifier, &notice)).await
        }
    });
    futures_util::future::join_all(telling).await
}

/// Sends one notifier the planned notice. `false`: no notice was due.
async fn tell(notifier: &Notifier, planned: &Planned, facts: &Facts) -> Result<bool, String> {
    if matches!(notifier.kind, NotifierKind::Healthchecks { .. }) {
        let (path, text) = plan::ping(notifier, facts);
        return within_patience(send::ping(notifier, path, &text)).await.map(|()| true);
    }
    let Some(notice) = &planned.notice else { return Ok(false) };
    within_patience(hand_over(notifier, notice)).await.map(|()| true)
}

async fn hand_over(notifier: &Notifier, notice: &Notice) -> Result<(), String> {
    match &notifier.kind {
        NotifierKind::Email(email) => email::send(notifier, email, notice).await,
        _ => send::post(notifier, notice).await,
    }
}

async fn within_patience(telling: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let told = tokio::time::timeout(PATIENCE, telling).await;
    told.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}
