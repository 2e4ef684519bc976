//! `bankfeed status`: how everything stands, in words or as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ATTENTION, Done, FAILED, print_json};
use crate::control::Output;
use crate::daemon::Owner;
use crate::listing::with_names;
use crate::model::money_text;
use crate::store::{self, Attention, StoredAccount};

/// The shape of `status --json`.
#[derive(Serialize)]
struct Status {
    daemon: bool,
    next_run: Option<String>,
    /// What is wrong with the store or the disk it lies on.
    problem: Option<String>,
    transactions: u64,
    accounts: Vec<Account>,
    sources: Vec<Source>,
    destinations: Vec<Destination>,
    notifiers: Vec<Notifier>,
}

#[derive(Serialize)]
struct Notifier {
    name: String,
    last_success: Option<String>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Account {
    account: String,
    account_name: String,
    currency: String,
    balance: Option<String>,
    complete: bool,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Source {
    name: String,
    last_success: Option<String>,
    /// When the session that was opened by hand ends, where that is known.
    session_until: Option<String>,
    /// That it does so soon.
    note: Option<String>,
    attention: Option<String>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Destination {
    name: String,
    watermark: u64,
    waiting: u64,
    rejected: Vec<Rejected>,
    deleted: Vec<String>,
    /// What the owner should know of the place, and what is wrong with rules that he keeps there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    last_success: Option<String>,
    attention: Option<String>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Rejected {
    id: String,
    reason: String,
}

/// Prints the status.
pub(super) fn execute(owner: &Owner, json: bool, exit_code: bool, output: &mut dyn Output) -> Done {
    let status = gather(owner)?;
    if json {
        print_json(&status, output)?;
    } else {
        output.data(&text(&status, &owner.engine.store.accounts()))?;
    }
    Ok(if exit_code { status.exit_code() } else { 0 })
}

impl Status {
    /// The exit status of a cycle that ended like this.
    fn exit_code(&self) -> u8 {
        let services = || {
            let sources = self.sources.iter().map(|source| (&source.attention, &source.error));
            sources.chain(self.destinations.iter().map(|to| (&to.attention, &to.error)))
        };
        if self.problem.is_some() || services().any(|(attention, _)| attention.is_some()) {
            ATTENTION
        } else if services().any(|(_, error)| error.is_some()) {
            FAILED
        } else {
            0
        }
    }
}

fn gather(owner: &Owner) -> Result<Status, store::Error> {
    let (engine, store) = (&owner.engine, &owner.engine.store);
    let local = |time: Option<DateTime<Utc>>| time.map(|time| engine.local(time));
    let message = |attention: Option<Attention>| attention.map(|attention| attention.message);
    let accounts = store.accounts().into_iter().map(|stored| Account {
        complete: stored.is_complete(),
        problem: stored.why_incomplete().map(str::to_owned),
        account: stored.account.account,
        account_name: stored.account.name,
        currency: stored.account.currency,
        balance: stored.account.balance.map(money_text),
    });
    let mut status = Status {
        daemon: owner.is_daemon,
        next_run: if owner.is_daemon { local(owner.next_run()) } else { None },
        problem: problem(owner),
        transactions: store.meta().rows,
        accounts: accounts.collect(),
        sources: Vec::new(),
        destinations: Vec::new(),
        notifiers: Vec::new(),
    };
    for source in &engine.config.sources {
        let state = store.source(&source.name)?;
        status.sources.push(Source {
            name: source.name.clone(),
            last_success: local(state.last_success),
            session_until: local(engine.session_life(source).map(|life| life.until)),
            note: engine.session_note(source, Utc::now()),
            attention: message(state.attention),
            error: state.error,
        });
    }
    for destination in &engine.config.destinations {
        let state = store.destination(&destination.name, &destination.target())?;
        let refused = state.rows.rejected();
        status.destinations.push(Destination {
            name: destination.name.clone(),
            watermark: state.watermark,
            waiting: engine.waiting(destination, &state)?,
            rejected: refused.map(|(id, reason)| Rejected { id: id.clone(), reason: reason.clone() }).collect(),
            deleted: state.rows.deleted().cloned().collect(),
            notes: [state.notes, if destination.shown().rules_tab.is_some() { state.rules.notes } else { Vec::new() }]
                .concat(),
            last_success: local(state.last_success),
            attention: message(state.attention),
            error: state.error,
        });
    }
    for notifier in &engine.config.notifiers {
        let state = store.notifier(&notifier.name)?.unwrap_or_default();
        let (name, last_success) = (notifier.name.clone(), local(state.last_success));
        status.notifiers.push(Notifier { name, last_success, error: state.error });
    }
    Ok(status)
}

/// Damage that was found since the start, or a disk on which no cycle can run.
fn problem(owner: &Owner) -> Option<String> {
    let (store, config) = (&owner.engine.store, &owner.engine.config);
    let found = store.damage().map(store::Error::Damaged).or_else(|| store.room().err());
    found.map(|error| super::explain(&error, config))
}

fn text(status: &Status, accounts: &[StoredAccount]) -> String {
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
    }
    for source in &status.sources {
        let last = source.last_success.as_deref().map_or("never".to_owned(), clock_time);
        text += &format!("\nsource {}: last success {last}\n", source.name);
        match (&source.note, &source.session_until) {
            (Some(note), _) => text += &format!("  note: {note}\n"),
            (None, Some(until)) => text += &format!("  session until {}\n", clock_time(until)),
            (None, None) => {}
        }
        text += &named(&trouble(source.attention.as_deref(), source.error.as_deref()));
    }
    for destination in &status.destinations {
        let last = destination.last_success.as_deref().map_or("never".to_owned(), clock_time);
        text += &format!("\ndestination {}: last success {last}, {} waiting\n", destination.name, destination.waiting);
        text += &trouble(destination.attention.as_deref(), destination.error.as_deref());
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

/// A time as a clock on the owner's wall shows it: `2026-11-22 03:00`.
fn clock_time(time: &str) -> String {
    DateTime::parse_from_rfc3339(time)
        .map_or_else(|_| time.to_owned(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

fn trouble(attention: Option<&str>, error: Option<&str>) -> String {
    let mut text = String::new();
    attention.iter().for_each(|attention| text += &format!("  needs you: {attention}\n"));
    error.iter().for_each(|error| text += &format!("  failed, will be tried again: {error}\n"));
    text
}
