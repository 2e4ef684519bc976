//! Telling the owner: what needs them, what failed, what is new and what is over goes to the notifiers of the
//! configuration, once per cause.
//!
//! What it promises: what was told is remembered in the store, so that neither the next cycle nor a restart repeats it;
//! what lasts is told again after a day, after a week and then every four weeks; a notifier that fails changes nothing
//! about the cycle, takes a bounded time, is logged once, and is told everything at the next cycle. No secret, no
//! account number in full, no amount unless asked for, and never more than the head of a bank's page. What there is to
//! tell is decided purely ([`plan`]); it knows the report and the store, and no connector.

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

pub use facts::{Fact, Facts};
pub use plan::{Event, Notice, Planned, plan};

/// How long one notifier may take for all it has to say.
const PATIENCE: Duration = Duration::from_secs(15);

/// What each notifier was told, by its name.
pub type Told = BTreeMap<String, NotifierState>;

/// Tells the notifiers of one store what cycles come to.
pub struct Teller {
    engine: Arc<Engine>,
    /// What is remembered, also where the store cannot take it: a full disk is told once all the same.
    states: Told,
    /// Pings that say: a cycle begins.
    started: Vec<JoinHandle<Result<(), String>>>,
}

impl Teller {
    /// For the notifiers of this engine's configuration.
    pub fn new(engine: Arc<Engine>) -> Teller {
        Teller::going_on(engine, Told::default())
    }

    /// [`Teller::new`] with what was told before.
    pub fn going_on(engine: Arc<Engine>, told: Told) -> Teller {
        Teller { engine, states: told, started: Vec::new() }
    }

    /// What was told.
    pub fn told(self) -> Told {
        self.states
    }

    /// A cycle is about to begin: what comes from here on is new. Waits for nobody.
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

    /// The cycle has ended with this report, or with an exit status and what the store had to say. Never fails.
    pub async fn end(&mut self, ended: Result<&Report, (u8, &str)>, now: DateTime<Utc>) {
        // In their order: a server would take a late start for another cycle.
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
        let planned: Vec<(&Notifier, NotifierState, Planned)> = engine
            .config
            .notifiers
            .iter()
            .map(|notifier| {
                let state = self.recall(notifier);
                let planned = self.plan(notifier, &state, &facts, now);
                (notifier, state, planned)
            })
            .collect();
        let telling = planned.iter().map(|(notifier, _, planned)| tell(notifier, planned, &facts));
        let told = futures_util::future::join_all(telling).await;
        for ((notifier, before, planned), told) in planned.into_iter().zip(told) {
            self.conclude(notifier, before, planned, told, now);
        }
    }

    /// What there is to tell one notifier.
    fn plan(&self, notifier: &Notifier, state: &NotifierState, facts: &Facts, now: DateTime<Utc>) -> Planned {
        let news = facts::news(&self.engine, notifier, state.seq).unwrap_or_else(|error| {
            // Whatever keeps the store from being read is among the facts.
            tracing::debug!("{error}");
            facts::News::default()
        });
        plan(notifier, state, facts, &news, now)
    }

    /// What is remembered of a notifier. One that is new, or tells somewhere else now, begins with the present.
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

    /// Remembers what was told; what was not stays to be told.
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
            // The cycle itself has said so.
            Err(error @ (store::Error::Full | store::Error::Damaged(_))) => tracing::debug!("{error}"),
            Err(error) => tracing::warn!("notify `{name}`: what was told could not be noted: {error}"),
        }
    }
}

/// Tells one notifier what is planned. `false`: there was nothing to say.
async fn tell(notifier: &Notifier, planned: &Planned, facts: &Facts) -> Result<bool, String> {
    if matches!(notifier.kind, NotifierKind::Healthchecks { .. }) {
        let (path, text) = plan::ping(notifier, facts);
        return within_patience(send::ping(notifier, path, &text)).await.map(|()| true);
    }
    let Some(notice) = &planned.notice else { return Ok(false) };
    let telling = async {
        match &notifier.kind {
            NotifierKind::Email(email) => email::send(notifier, email, notice).await,
            _ => send::post(notifier, notice).await,
        }
    };
    within_patience(telling).await.map(|()| true)
}

async fn within_patience(telling: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let told = tokio::time::timeout(PATIENCE, telling).await;
    told.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}
