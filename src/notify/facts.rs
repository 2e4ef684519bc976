//! The situation after a cycle: a list of causes with stable names, and the subjects known to be well.
//!
//! Texts are made fit to leave the house here: one line, of bounded length, account numbers shortened.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::config::{self, Notifier, On};
use crate::model::{money_text, plus, shortened};
use crate::printable::is_printable;
use crate::store::{self, Attention};
use crate::sync::{DestinationReport, Engine, Outcome, Report, SourceReport};

/// Longest text about one cause. The text may quote a bank's page, which is too private to be sent as a whole.
const LONGEST_TEXT: usize = 300;

/// Transactions read at once.
const ROWS_PER_LOOK: usize = 1000;

/// A trouble that the owner may be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// [`On::Attention`] or [`On::Failure`].
    pub on: On,
    /// The service, account or part of the machine in trouble, e.g. `source fibank`.
    pub subject: String,
    /// The cause, the same for as long as it lasts, e.g. `password-refused`.
    pub cause: String,
    /// The text for the owner.
    pub text: String,
}

impl Fact {
    /// The key under which the fact is remembered.
    pub fn key(&self) -> String {
        format!("{}: {}", self.subject, self.cause)
    }
}

/// The situation after a cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The present troubles.
    pub wrong: Vec<Fact>,
    /// Subjects that are well.
    pub well: Vec<String>,
    /// Subjects of which the cycle learnt nothing.
    pub unknown: Vec<String>,
    /// A line for each destination that got rows in this cycle.
    pub delivered: Vec<String>,
    /// Exit status of the cycle.
    pub status: u8,
}

/// Transactions that one notifier was not told of yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Number of new transactions.
    pub count: u64,
    /// Number of the last change that the count includes.
    pub through: u64,
    /// Count and sum of money in and of money out, by currency; only if amounts may be told.
    pub sums: BTreeMap<String, [(u64, Decimal); 2]>,
}

/// The facts after a cycle, from its report or from the store's error.
pub fn gather(engine: &Engine, ended: Result<&Report, (u8, &str)>) -> Result<Facts, store::Error> {
    let mut facts = Facts::default();
    match ended {
        Ok(report) => {
            report.sources.iter().try_for_each(|source| facts.add_source(engine, source))?;
            report.destinations.iter().try_for_each(|destination| facts.add_destination(engine, destination))?;
            facts.add_accounts(engine);
            match &report.problem {
                Some(problem) if !facts.wrong.iter().any(|fact| fact.subject == MACHINE) => {
                    facts.add(On::Attention, MACHINE, "problem", problem);
                }
                Some(_) => {}
                None => facts.be_well(MACHINE),
            }
            facts.be_well(STORE);
            facts.status = report.exit_status();
        }
        Err((status, error)) => {
            facts.unknown = everything(engine);
            facts.add(if status == 1 { On::Failure } else { On::Attention }, STORE, "store", error);
            facts.status = status;
        }
    }
    Ok(facts)
}

/// The facts known without a cycle: the sessions that end soon.
pub fn sessions(engine: &Engine, now: DateTime<Utc>) -> Facts {
    let mut facts = Facts { unknown: everything(engine), ..Facts::default() };
    facts.unknown.push(STORE.to_owned());
    for source in &engine.config.sources {
        if let Some(note) = engine.session_note(source, now) {
            facts.add_session(engine, source, &note);
        }
    }
    facts
}

/// Every subject but the store itself.
fn everything(engine: &Engine) -> Vec<String> {
    let sources = || engine.config.sources.iter().map(|source| &source.name);
    let destinations = || engine.config.destinations.iter().map(|to| &to.name);
    let accounts = engine.store.accounts();
    let accounts = accounts.iter().map(|stored| account_subject(&stored.account.account));
    let mut subjects: Vec<String> = accounts.chain([MACHINE.to_owned()]).collect();
    subjects.extend(sources().map(|name| source_subject(name)).chain(sources().map(|name| session_subject(name))));
    subjects.extend(destinations().map(|name| destination_subject(name)));
    subjects.extend(destinations().map(|name| refused_subject(name)));
    subjects
}

/// The machine itself: a full disk, a backup that cannot be kept.
const MACHINE: &str = "this machine";
pub(super) const STORE: &str = "the store";

fn source_subject(name: &str) -> String {
    format!("source {name}")
}

fn session_subject(name: &str) -> String {
    format!("the session of {name}")
}

fn destination_subject(name: &str) -> String {
    format!("destination {name}")
}

fn account_subject(account: &str) -> String {
    format!("account {}", shortened(account))
}

fn refused_subject(name: &str) -> String {
    format!("refused by {name}")
}

impl Facts {
    fn add(&mut self, on: On, subject: &str, cause: &str, text: &str) {
        let (subject, cause) = (subject.to_owned(), cause.to_owned());
        let fact = Fact { on, subject, cause, text: presentable(text) };
        // A full disk stops every service with the same text.
        if !self.wrong.iter().any(|known| known.key() == fact.key()) {
            self.wrong.push(fact);
        }
    }

    fn be_well(&mut self, subject: &str) {
        if !self.wrong.iter().any(|fact| fact.subject == subject) {
            self.well.push(subject.to_owned());
        }
    }

    fn add_source(&mut self, engine: &Engine, report: &SourceReport) -> Result<(), store::Error> {
        let subject = source_subject(&report.name);
        let attention = engine.store.source(&report.name)?.attention;
        self.add_service(subject, report.outcome, report.error.as_deref(), attention);
        let session = session_subject(&report.name);
        let source = engine.config.sources.iter().find(|source| source.name == report.name);
        match source.and_then(|source| Some((source, engine.session_note(source, Utc::now())?))) {
            Some((source, note)) => self.add_session(engine, source, &note),
            None if report.outcome == Outcome::Ok => self.be_well(&session),
            None => self.unknown.push(session),
        }
        Ok(())
    }

    /// Each notice ahead of the end has a cause of its own, so that it is told whatever was told before.
    fn add_session(&mut self, engine: &Engine, source: &config::Source, note: &str) {
        let due = engine.session_life(source).map_or(0, |life| life.notices_due(Utc::now()));
        let cause = if due > 1 { format!("ending-{due}") } else { "ending".to_owned() };
        self.add(On::Attention, &session_subject(&source.name), &cause, &format!("{}: {note}", source.name));
    }

    fn add_destination(&mut self, engine: &Engine, report: &DestinationReport) -> Result<(), store::Error> {
        let subject = destination_subject(&report.name);
        let Some(config) = engine.config.destinations.iter().find(|config| config.name == report.name) else {
            return Ok(());
        };
        let state = engine.store.destination(&report.name, &config.target())?;
        self.add_service(subject, report.outcome, report.error.as_deref(), state.attention);
        let refused = refused_subject(&report.name);
        match state.rows.rejected().count() {
            0 if report.outcome == Outcome::Ok => self.be_well(&refused),
            0 => self.unknown.push(refused),
            count => {
                let rows = plural(count as u64, "row");
                let text = format!("{}: {rows} refused by the service; `bankfeed status` names them", report.name);
                self.add(On::Failure, &refused, "refused", &text);
            }
        }
        if report.appended + report.updated > 0 {
            let waiting = if report.waiting > 0 { format!(", {} waiting", report.waiting) } else { String::new() };
            let (added, updated) = (plural(report.appended, "row"), report.updated);
            let updated = if updated > 0 { format!(", {updated} corrected") } else { String::new() };
            self.delivered.push(format!("{}: {added} added{updated}{waiting}", report.name));
        }
        Ok(())
    }

    fn add_service(&mut self, subject: String, outcome: Outcome, error: Option<&str>, attention: Option<Attention>) {
        let full = store::Error::Full.to_string();
        match (outcome, error) {
            (Outcome::Ok, _) => self.be_well(&subject),
            (Outcome::Skipped, _) => self.unknown.push(subject),
            (Outcome::Attention, Some(error)) if error == full => {
                self.unknown.push(subject);
                self.add(On::Attention, MACHINE, "full", error);
            }
            (Outcome::Attention, error) => {
                let cause = attention.map_or("attention".into(), |attention| attention.cause.word());
                self.add(On::Attention, &subject, &cause, error.unwrap_or("needs you"));
            }
            (Outcome::Failed, error) => {
                // A failure of another kind does not do the owner's task, so the task is told as well.
                if let Some(attention) = attention {
                    self.add(On::Attention, &subject, &attention.cause.word(), &attention.message);
                }
                self.add(On::Failure, &subject, "failed", error.unwrap_or("failed"));
            }
        }
    }

    fn add_accounts(&mut self, engine: &Engine) {
        for stored in engine.store.accounts() {
            let subject = account_subject(&stored.account.account);
            if !stored.feeds.iter().any(|feed| engine.config.sources.iter().any(|source| source.name == feed.source)) {
                continue;
            }
            let (cause, what) = match (&stored.problem, &stored.doubt) {
                (None, None) => {
                    self.be_well(&subject);
                    continue;
                }
                (Some(_), _) => {
                    ("chain", "the chain of balances is broken, a row may be missing; `bankfeed status` says where")
                }
                (None, Some(_)) => ("doubt", "not every row may have come; `bankfeed status` says why"),
            };
            self.add(On::Failure, &subject, cause, &format!("{}: {subject}: {what}", stored.source));
        }
    }
}

/// Counts the transactions that came after the change `seq`.
pub fn news(engine: &Engine, notifier: &Notifier, seq: u64) -> Result<News, store::Error> {
    let store = &engine.store;
    let mut news = News { through: store.meta().last_seq, ..News::default() };
    if !notifier.on.contains(&On::NewRows) || news.through <= seq {
        return Ok(news);
    }
    if !notifier.amounts {
        news.count = store.count_after(seq)?;
        return Ok(news);
    }
    let mut after = seq;
    loop {
        let rows = store.transactions_after(after, ROWS_PER_LOOK)?;
        let Some((last, _)) = rows.last() else { break };
        after = *last;
        for (_, transaction) in &rows {
            let sums = news.sums.entry(transaction.row.currency.clone()).or_default();
            let sum = &mut sums[usize::from(transaction.row.debit().is_some())];
            *sum = (sum.0 + 1, plus(sum.1, transaction.row.amount.abs()));
            news.count += 1;
        }
    }
    store.rest();
    Ok(news)
}

impl News {
    /// `EUR: 2 in, 120.00; 1 out, 3.50`, a line for each currency.
    pub fn amounts(&self) -> Vec<String> {
        let side =
            |(count, sum): (u64, Decimal), way| (count > 0).then(|| format!("{count} {way}, {}", money_text(sum)));
        let line = |(currency, [credit, debit]): (&String, &[(u64, Decimal); 2])| {
            let sides: Vec<String> = [side(*credit, "in"), side(*debit, "out")].into_iter().flatten().collect();
            format!("{currency}: {}", sides.join("; "))
        };
        self.sums.iter().map(line).collect()
    }
}

/// `1 row`, `2 rows`.
pub fn plural(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// Text on one line, not too long, with account numbers shortened.
pub(super) fn presentable(text: &str) -> String {
    let clean: String = text.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
    let words: Vec<String> = clean.split_whitespace().map(shorten_ibans).collect();
    let text = words.join(" ");
    if text.chars().count() <= LONGEST_TEXT {
        return text;
    }
    let head: String = text.chars().take(LONGEST_TEXT).collect();
    format!("{}…", head.trim_end())
}

/// Shortens every account number inside a word.
fn shorten_ibans(word: &str) -> String {
    let mut shown = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        shown += &shortened(&rest[..end]);
        let tail = &rest[end..];
        let next = tail.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(tail.len());
        shown += &tail[..next];
        rest = &tail[next..];
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_fit_to_leave_the_house() {
        assert_eq!(
            presentable("fibank: account BG32FINV91501000000001:\n no\u{7} rows"),
            "fibank: account BG32…0001: no rows"
        );
        assert_eq!(presentable("fibank:BG32FINV91501000000001:7"), "fibank:BG32…0001:7");
        assert_eq!(presentable(&"дума ".repeat(500)).chars().count(), LONGEST_TEXT);
    }
}
