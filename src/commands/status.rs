//! `bankfeed status`: the status of accounts, sources, destinations and notifiers, in words or as JSON.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::{ATTENTION, Done, FAILED, explain, print_json, with_names};
use crate::control::Output;
use crate::model::money_text;
use crate::service::StoreService;
use crate::store::{self, Attention, DoubtfulRow, KnownAccount};

/// The status of everything: what `status --json` prints and what page and metrics show.
#[derive(Serialize)]
pub struct Status {
    /// True in the daemon.
    pub daemon: bool,
    /// The next scheduled run.
    pub next_run: Option<String>,
    /// Damage of the store, or a disk that is too full for a cycle.
    pub problem: Option<String>,
    /// Number of transactions in the store.
    pub transactions: u64,
    /// The accounts in the store.
    pub accounts: Vec<AccountStatus>,
    /// The sources of the configuration.
    pub sources: Vec<SourceStatus>,
    /// The destinations of the configuration.
    pub destinations: Vec<DestinationStatus>,
    /// The notifiers of the configuration.
    pub notifiers: Vec<NotifierStatus>,
}

/// The status of a notifier.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct NotifierStatus {
    pub name: String,
    pub last_success: Option<String>,
    pub error: Option<String>,
}

/// The status of an account.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct AccountStatus {
    pub account: String,
    pub account_name: String,
    pub currency: String,
    pub balance: Option<String>,
    pub complete: bool,
    pub problem: Option<String>,
    /// Rows that are kept apart, because each may be the same as a row of another source.
    pub doubtful: Vec<DoubtfulStatus>,
}

/// A row that is kept apart.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct DoubtfulStatus {
    pub id: String,
    pub date: String,
    pub amount: String,
    pub currency: String,
    pub counterparty: String,
    pub description: String,
    /// Ids of the transactions of which one may be the same.
    pub candidates: Vec<String>,
}

impl DoubtfulStatus {
    fn new(doubtful: &DoubtfulRow) -> DoubtfulStatus {
        let row = &doubtful.row;
        DoubtfulStatus {
            id: row.id.clone(),
            date: row.date.to_string(),
            amount: money_text(row.amount),
            currency: row.currency.clone(),
            counterparty: row.counterparty.clone(),
            description: row.description.clone(),
            candidates: doubtful.candidates.clone(),
        }
    }

    /// The words by which a person knows the row.
    pub fn text(&self) -> String {
        let texts = [self.counterparty.as_str(), self.description.as_str()];
        format!("{} {} {} {}", self.date, self.amount, self.currency, texts.join(" ").trim())
    }
}

/// The status of a source.
#[derive(Serialize)]
pub struct SourceStatus {
    /// Name in the configuration.
    pub name: String,
    /// End of the last pull that went through.
    pub last_success: Option<String>,
    /// End of the session that was opened by hand, where the end is known.
    pub session_until: Option<String>,
    /// A warning that the session ends soon.
    pub note: Option<String>,
    /// End of a pause that the service asks for while nothing is wrong.
    pub resting_until: Option<String>,
    /// The trouble that only the owner can end.
    #[serde(serialize_with = "message")]
    pub attention: Option<Attention>,
    /// The failure that will be tried again.
    pub error: Option<String>,
}

/// The status of a destination.
#[derive(Serialize)]
pub struct DestinationStatus {
    /// Name in the configuration.
    pub name: String,
    /// The change up to which everything is delivered.
    pub watermark: u64,
    /// Number of changes not yet delivered.
    pub waiting: u64,
    /// Rows that the service refuses.
    pub rejected: Vec<RejectedRow>,
    /// Ids of rows that the owner deleted.
    pub deleted: Vec<String>,
    /// Notes about the destination, and mistakes in the rules that the owner keeps there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// End of the last delivery that went through.
    pub last_success: Option<String>,
    /// The trouble that only the owner can end.
    #[serde(serialize_with = "message")]
    pub attention: Option<Attention>,
    /// The failure that will be tried again.
    pub error: Option<String>,
}

/// A row that the service refuses.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct RejectedRow {
    pub id: String,
    pub reason: String,
}

/// The parts of the status that sources and destinations have in common.
pub struct ServiceStatus<'a> {
    /// True for a source, false for a destination.
    pub is_source: bool,
    /// Name in the configuration.
    pub name: &'a str,
    /// End of the last run that went through.
    pub last_success: Option<&'a str>,
    /// The trouble that only the owner can end.
    pub attention: Option<&'a Attention>,
    /// The failure that will be tried again.
    pub error: Option<&'a str>,
    /// Number of changes not yet delivered; zero for a source.
    pub waiting: u64,
    /// Number of rows that the service refuses; zero for a source.
    pub rejected: u64,
}

/// Writes the sentence of an attention for `status --json`.
fn message<S: Serializer>(attention: &Option<Attention>, serializer: S) -> Result<S::Ok, S::Error> {
    attention.as_ref().map(|attention| &attention.message).serialize(serializer)
}

/// Prints the status.
pub(super) fn execute(service: &StoreService, json: bool, exit_code: bool, output: &mut dyn Output) -> Done {
    let status = gather(service)?;
    if json {
        print_json(&status, output)?;
    } else {
        output.data(&text(&status, &service.engine.store.accounts()))?;
    }
    Ok(if exit_code { status.exit_code() } else { 0 })
}

impl Status {
    /// The present status; `Err`: the error of the store in one line.
    pub fn now(service: &StoreService) -> Result<Status, String> {
        let store = &service.engine.store;
        let status = store.revive().and_then(|()| gather(service));
        status.map_err(|error| explain(&store.note(error), &service.engine.config))
    }

    /// Sources, then destinations.
    pub fn services(&self) -> impl Iterator<Item = ServiceStatus<'_>> {
        let sources = self.sources.iter().map(|source| ServiceStatus {
            is_source: true,
            name: &source.name,
            last_success: source.last_success.as_deref(),
            attention: source.attention.as_ref(),
            error: source.error.as_deref(),
            waiting: 0,
            rejected: 0,
        });
        sources.chain(self.destinations.iter().map(|destination| ServiceStatus {
            is_source: false,
            name: &destination.name,
            last_success: destination.last_success.as_deref(),
            attention: destination.attention.as_ref(),
            error: destination.error.as_deref(),
            waiting: destination.waiting,
            rejected: destination.rejected.len() as u64,
        }))
    }

    /// The exit status of a cycle that would end with this status.
    fn exit_code(&self) -> u8 {
        if self.problem.is_some() || self.services().any(|service| service.attention.is_some()) {
            ATTENTION
        } else if self.services().any(|service| service.error.is_some()) {
            FAILED
        } else {
            0
        }
    }
}

fn gather(service: &StoreService) -> Result<Status, store::Error> {
    let (engine, store) = (&service.engine, &service.engine.store);
    let local = |time: Option<DateTime<Utc>>| time.map(|time| engine.local(time));
    let doubtful = store.doubtful()?;
    let doubtful_of = |account: &KnownAccount| {
        let own = doubtful.iter().filter(|doubtful| account.numbers().contains(&doubtful.feed));
        own.map(DoubtfulStatus::new).collect()
    };
    let accounts = store.accounts().into_iter().map(|stored| AccountStatus {
        doubtful: doubtful_of(&stored),
        complete: stored.is_complete(),
        problem: stored.why_incomplete().map(str::to_owned),
        account: stored.account.account,
        account_name: stored.account.name,
        currency: stored.account.currency,
        balance: stored.account.balance.map(money_text),
    });
    let mut status = Status {
        daemon: service.is_daemon,
        next_run: if service.is_daemon { local(service.next_run()) } else { None },
        problem: problem(service),
        transactions: store.meta().rows,
        accounts: accounts.collect(),
        sources: Vec::new(),
        destinations: Vec::new(),
        notifiers: Vec::new(),
    };
    for source in &engine.config.sources {
        let state = store.source(&source.name)?;
        status.sources.push(SourceStatus {
            name: source.name.clone(),
            last_success: local(state.last_success),
            session_until: local(engine.session_life(source).map(|life| life.until)),
            note: engine.session_note(source, Utc::now()),
            resting_until: local(state.resting.map(|resting| resting.until).filter(|until| *until > Utc::now())),
            attention: state.attention,
            error: state.error,
        });
    }
    for destination in &engine.config.destinations {
        let state = store.destination(&destination.name, &destination.target())?;
        let refused = state.rows.rejected();
        status.destinations.push(DestinationStatus {
            name: destination.name.clone(),
            watermark: state.watermark,
            waiting: engine.waiting(destination, &state)?,
            rejected: refused.map(|(id, reason)| RejectedRow { id: id.clone(), reason: reason.clone() }).collect(),
            deleted: state.rows.deleted().cloned().collect(),
            notes: [state.notes, if destination.shown().rules_tab.is_some() { state.rules.notes } else { Vec::new() }]
                .concat(),
            last_success: local(state.last_success),
            attention: state.attention,
            error: state.error,
        });
    }
    for notifier in &engine.config.notifiers {
        let state = store.notifier(&notifier.name)?.unwrap_or_default();
        let (name, last_success) = (notifier.name.clone(), local(state.last_success));
        status.notifiers.push(NotifierStatus { name, last_success, error: state.error });
    }
    Ok(status)
}

/// Damage that was found since the start, or a disk that is too full for a cycle.
fn problem(service: &StoreService) -> Option<String> {
    let (store, config) = (&service.engine.store, &service.engine.config);
    let found = store.damage().map(store::Error::Damaged).or_else(|| store.room().err());
    found.map(|error| explain(&error, config))
}

fn text(status: &Status, accounts: &[KnownAccount]) -> String {
    let named = |line: &str| with_names(line, accounts);
    let mut text = match (&status.next_run, status.daemon) {
        (Some(next), _) => format!("daemon running, next run {}\n", clock_time(next)),
        (None, true) => "daemon running, no scheduled run\n".to_owned(),
        (None, false) => "no daemon running\n".to_owned(),
    };
    text += &format!("{} transactions in the store\n", status.transactions);
    status.problem.iter().for_each(|problem| text += &format!("  needs you: {problem}\n"));
    text += "\n";
    for account in &status.accounts {
        let balance = account.balance.as_deref().unwrap_or("-");
        let word = if account.complete { "complete" } else { "INCOMPLETE" };
        let line = format!("{}  {balance:>14} {}  {word}  {}", account.account, account.currency, account.account_name);
        text += &format!("{}\n", line.trim_end());
        account.problem.iter().for_each(|problem| text += &format!("  {}\n", named(problem)));
        for doubtful in &account.doubtful {
            text += &format!("  kept apart: {}\n", doubtful.text());
            text += &format!("    may be {}\n", doubtful.candidates.join(" or "));
            text +=
                &format!("    decide: bankfeed match same {0} [ID], or: bankfeed match different {0}\n", doubtful.id);
        }
    }
    for source in &status.sources {
        let last = source.last_success.as_deref().map_or("never".to_owned(), clock_time);
        text += &format!("\nsource {}: last success {last}\n", source.name);
        match (&source.note, &source.session_until) {
            (Some(note), _) => text += &format!("  note: {note}\n"),
            (None, Some(until)) => text += &format!("  session until {}\n", clock_time(until)),
            (None, None) => {}
        }
        if let Some(until) = &source.resting_until {
            text += &format!("  resting until {}\n", clock_time(until));
        }
        text += &named(&trouble(source.attention.as_ref(), source.error.as_deref()));
    }
    for destination in &status.destinations {
        let last = destination.last_success.as_deref().map_or("never".to_owned(), clock_time);
        text += &format!("\ndestination {}: last success {last}, {} waiting\n", destination.name, destination.waiting);
        text += &trouble(destination.attention.as_ref(), destination.error.as_deref());
        destination.notes.iter().for_each(|note| text += &format!("  note: {note}\n"));
        for rejected in &destination.rejected {
            text += &format!("  refused: {}: {}\n", rejected.id, rejected.reason);
        }
        if !destination.deleted.is_empty() {
            text += &format!("  deleted by you there: {}\n", destination.deleted.join(", "));
        }
    }
    for notifier in &status.notifiers {
        if let Some(error) = &notifier.error {
            text += &format!("\nnotify {}:\n", notifier.name);
            text += &trouble(None, Some(error));
        }
    }
    text
}

/// A time as the owner's clock shows it: `2026-11-22 03:00`.
fn clock_time(time: &str) -> String {
    DateTime::parse_from_rfc3339(time)
        .map_or_else(|_| time.to_owned(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

fn trouble(attention: Option<&Attention>, error: Option<&str>) -> String {
    let mut text = String::new();
    attention.iter().for_each(|attention| text += &format!("  needs you: {}\n", attention.message));
    error.iter().for_each(|error| text += &format!("  failed, will be tried again: {error}\n"));
    text
}
