//! The cycle: pull every source into the store, then bring every destination up to date, and report the results.
//!
//! The cycle knows the traits and the store, no service and no HTTP. A failing service is data in the [`Report`]; only
//! the store's own failure ends a cycle.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::remote::{Backoff, Error, Kind, Shutdown};
use crate::store::{self, Store};

mod apply_rules;
mod attempts;
mod balances;
mod check;
mod deliver;
mod doubtful;
mod import;
mod left_out;
mod login;
mod maintenance;
mod pull;
mod sheet_rules;
mod verify;

pub use apply_rules::Applied;
pub use check::Checked;
pub use deliver::{Left, Restored};
pub use doubtful::{Answer, Matched};
pub use import::{ImportRequest, ImportSource, Imported};
pub use login::Interactive;
pub use verify::{Different, Verification, Verified, exit_status};

/// Everything a cycle needs.
pub struct Engine {
    /// The configuration.
    pub config: Arc<Config>,
    /// The store, owned by this process.
    pub store: Arc<Store>,
    /// Patience with services.
    pub backoff: Backoff,
    /// Stop signal.
    pub shutdown: Shutdown,
}

/// The parameters of a cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Only these sources; `None`: all.
    pub sources: Option<Vec<String>>,
    /// Only these destinations; `None`: all.
    pub destinations: Option<Vec<String>>,
    /// Look and say, write nothing anywhere.
    pub dry_run: bool,
    /// The owner is there or says that he has acted: a source in attention is tried, except with a password that was
    /// refused.
    pub by_hand: bool,
    /// A person at a terminal waits for the result.
    #[serde(default)]
    pub at_terminal: bool,
}

/// The result for one source or destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    #[default]
    Ok,
    /// Will be tried again.
    Failed,
    /// The owner must act.
    Attention,
    /// Not asked for.
    Skipped,
}

/// The result of a pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Name of the source.
    pub name: String,
    /// The outcome of the pull.
    pub outcome: Outcome,
    /// Why not, if so.
    pub error: Option<String>,
    /// The word for the cause, e.g. `password-refused` or `unavailable`.
    #[serde(default)]
    pub cause: Option<String>,
    /// Accounts seen.
    pub accounts: u64,
    /// Transactions fetched.
    pub fetched: u64,
    /// First seen.
    pub new: u64,
    /// Seen again with other bank data.
    pub changed: u64,
    /// No longer shown by the bank.
    pub vanished: u64,
    /// HTTP requests sent.
    pub requests: u64,
    /// Oddities.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The result of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationReport {
    /// Name of the destination.
    pub name: String,
    /// The outcome of the delivery.
    pub outcome: Outcome,
    /// Why not, if so.
    pub error: Option<String>,
    /// The word for the cause, e.g. `password-refused` or `unavailable`.
    #[serde(default)]
    pub cause: Option<String>,
    /// Rows written for the first time (in a dry run: that would be).
    pub appended: u64,
    /// Rows corrected in place.
    pub updated: u64,
    /// Rows the service refuses.
    pub rejected: u64,
    /// Changes not delivered yet.
    pub waiting: u64,
    /// HTTP requests sent.
    pub requests: u64,
    /// Remarks on the place for the owner.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The result of a cycle, in the shape of `sync --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When it began, RFC 3339 in the owner's zone.
    pub started: String,
    /// When it ended.
    pub finished: String,
    /// True for a dry run, which writes nothing.
    pub dry_run: bool,
    /// An entry per source.
    pub sources: Vec<SourceReport>,
    /// An entry per destination.
    pub destinations: Vec<DestinationReport>,
    /// The owner's task on this machine, apart from the services' results.
    #[serde(default)]
    pub problem: Option<String>,
}

impl Report {
    /// Everything that went wrong: the name, the sentence, and the word for its cause.
    pub fn errors(&self) -> impl Iterator<Item = (&str, &str, Option<&str>)> {
        let sources = self.sources.iter().map(|source| (&source.name, &source.error, &source.cause));
        let destinations = self.destinations.iter().map(|to| (&to.name, &to.error, &to.cause));
        sources
            .chain(destinations)
            .filter_map(|(name, error, cause)| Some((name.as_str(), error.as_deref()?, cause.as_deref())))
    }

    /// The report without the texts of services, whose length has no limit.
    fn without_texts(&self) -> Report {
        let mut report = self.clone();
        for source in &mut report.sources {
            (source.error, source.notes) = (None, Vec::new());
        }
        for destination in &mut report.destinations {
            (destination.error, destination.notes) = (None, Vec::new());
        }
        report
    }

    /// Exit status (design section 2): attention before failure before success.
    pub fn exit_status(&self) -> u8 {
        let outcomes = || self.sources.iter().map(|s| s.outcome).chain(self.destinations.iter().map(|d| d.outcome));
        if self.problem.is_some() || outcomes().any(|outcome| outcome == Outcome::Attention) {
            3
        } else if outcomes().any(|outcome| outcome == Outcome::Failed) {
            1
        } else {
            0
        }
    }
}

/// A step worth showing while a cycle runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The current work, e.g. `household: delivering`.
    pub label: String,
    /// Units done.
    pub done: u64,
    /// Units in all; 0: unknown.
    pub total: u64,
}

/// A listener to the steps of a cycle.
pub type Watcher = Arc<dyn Fn(Step) + Send + Sync>;

impl Engine {
    /// Runs one cycle. On a damaged store nothing is asked or sent.
    pub async fn cycle(&self, request: &Request, watcher: &Watcher) -> Result<Report, store::Error> {
        self.carry_out(request, watcher).await.map_err(|error| self.store.note(error))
    }

    async fn carry_out(&self, request: &Request, watcher: &Watcher) -> Result<Report, store::Error> {
        // Without room to note what is done, nothing is done.
        let full = match self.make_ready().await {
            Err(error @ store::Error::Full) => Some(error),
            ready => ready.map(|()| None)?,
        };
        let started = Utc::now();
        let mut report = Report {
            started: self.local(started),
            finished: String::new(),
            dry_run: request.dry_run,
            sources: Vec::new(),
            destinations: Vec::new(),
            problem: None,
        };
        if !request.dry_run {
            // Before anything new arrives: that gets what the rules say when it is stored.
            self.follow_rules(started, watcher).await?;
        }
        let mut preview = pull::Preview::default();
        for source in &self.config.sources {
            let pulled = if !selected(request.sources.as_deref(), &source.name) {
                SourceReport { name: source.name.clone(), outcome: Outcome::Skipped, ..SourceReport::default() }
            } else if self.shutdown.requested() {
                let error = Some(format!("{}: {}", source.name, Error::stopped().message));
                let outcome = Outcome::Failed;
                SourceReport { name: source.name.clone(), outcome, error, ..SourceReport::default() }
            } else {
                let pulled = match &full {
                    Some(full) => Err(full.clone()),
                    None => self.pull(source, request, started, watcher, &mut preview).await,
                };
                maintenance::unless_full(&source.name, pulled)?
            };
            report.sources.push(pulled);
        }
        let full = full.or(self.store.room().err().filter(|error| *error == store::Error::Full));
        // The destinations are delivered to at once, so that a slow or broken one delays no other.
        let deliveries = self.config.destinations.iter().map(|destination| async {
            let name = destination.name.clone();
            if !selected(request.destinations.as_deref(), &destination.name) {
                return Ok(DestinationReport { name, outcome: Outcome::Skipped, ..DestinationReport::default() });
            }
            if self.shutdown.requested() {
                let (outcome, error) = (Outcome::Failed, Some(format!("{name}: {}", Error::stopped().message)));
                return Ok(DestinationReport { name, outcome, error, ..DestinationReport::default() });
            }
            let delivered = match &full {
                Some(full) => Err(full.clone()),
                None if request.dry_run => self.preview(destination, &preview),
                None => self.deliver(destination, watcher).await,
            };
            maintenance::unless_full(&destination.name, delivered)
        });
        for delivered in futures_util::future::join_all(deliveries).await {
            report.destinations.push(delivered?);
        }
        report.finished = self.local(Utc::now());
        if !request.dry_run && full.is_none() {
            report.problem = self.keep_backup(started).await?;
            match self.store.put_run(&report) {
                Err(error @ store::Error::Full) => report.problem = Some(error.to_string()),
                Err(store::Error::Unfit(_)) => self.store.put_run(&report.without_texts())?,
                put => put?,
            }
        }
        self.store.rest();
        Ok(report)
    }

    /// A time as the owner reads it.
    pub fn local(&self, time: DateTime<Utc>) -> String {
        time.with_timezone(&self.config.timezone).to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
    }
}

fn selected(names: Option<&[String]>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|asked| asked == name))
}

/// The outcome an error amounts to.
fn outcome_of(error: &Error) -> Outcome {
    if matches!(error.kind, Kind::Attention(_)) { Outcome::Attention } else { Outcome::Failed }
}
