//! What to tell one notifier after a cycle: a pure function of what it was told before, how things stand, and the time.

use chrono::{DateTime, Duration, Utc};

use super::facts::{Facts, News, STORE, plural, presentable};
use crate::config::{Notifier, On};
use crate::store::{NotifierState, Told};

/// After how long what lasts is told again: the first time, the second time, and from then on.
const AGAIN_DAYS: [i64; 3] = [1, 7, 28];

/// One thing told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing.
    pub on: On,
    /// What it is about; empty for new transactions.
    pub subject: String,
    /// The cause in a word; empty for new transactions.
    pub cause: String,
    /// The sentence.
    pub text: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Told before.
    pub again: bool,
}

/// What one notifier is told at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub at: DateTime<Utc>,
    /// The gravest of what is told.
    pub on: On,
    /// Whether any of it has been told before and lasts.
    pub again: bool,
    /// In a few words, without names: ASCII.
    pub title: String,
    /// What is told, the gravest first.
    pub events: Vec<Event>,
    /// Counts, and amounts where they are asked for.
    pub summary: Vec<String>,
    /// New transactions.
    pub new: u64,
}

impl Notice {
    /// One that says only that it arrives.
    pub fn test(now: DateTime<Utc>) -> Notice {
        Notice {
            at: now,
            on: On::Recovery,
            again: false,
            title: "bankfeed: a test".into(),
            events: Vec::new(),
            summary: vec!["notices of bankfeed arrive here; `bankfeed check --notify` has sent this one".into()],
            new: 0,
        }
    }

    /// That the store cannot be opened.
    pub fn of_the_store(why: &str, now: DateTime<Utc>) -> Notice {
        let (on, again, text) = (On::Attention, false, format!("needs you: {}", presentable(why)));
        let (subject, cause) = (STORE.to_owned(), "store".to_owned());
        let event = Event { on, subject, cause, text, since: now, again };
        Notice { at: now, on, again, title: title(on, 0), events: vec![event], summary: Vec::new(), new: 0 }
    }

    /// Its kind in a word. About nothing at all is only a test.
    pub fn kind(&self) -> &'static str {
        if self.events.is_empty() { "test" } else { self.on.as_str() }
    }

    /// All of it as lines.
    pub fn text(&self) -> String {
        let events = self.events.iter().map(|event| event.text.as_str());
        events.chain(self.summary.iter().map(String::as_str)).collect::<Vec<_>>().join("\n")
    }
}

/// What is to be told, and what is remembered once it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// `None`: nothing.
    pub notice: Option<Notice>,
    /// To be remembered.
    pub state: NotifierState,
}

/// Plans what to tell.
pub fn plan(notifier: &Notifier, before: &NotifierState, facts: &Facts, news: &News, now: DateTime<Utc>) -> Planned {
    let mut state = NotifierState { seq: news.through.max(before.seq), ..before.clone() };
    let mut events = wrong(notifier, &mut state, facts, now);
    events.extend(over(notifier, &mut state, facts, now));
    let mut summary = Vec::new();
    if news.count > 0 && notifier.on.contains(&On::NewRows) {
        let text = plural(news.count, "new transaction");
        let (subject, cause) = (String::new(), String::new());
        events.push(Event { on: On::NewRows, subject, cause, text, since: now, again: false });
        summary.extend(news.amounts());
        summary.extend(facts.delivered.iter().cloned());
    }
    events.sort_by_key(|event| rank(event.on));
    let notice = events.first().map(|gravest| Notice {
        at: now,
        on: gravest.on,
        again: events.iter().any(|event| event.again),
        title: title(gravest.on, news.count),
        summary,
        new: if notifier.on.contains(&On::NewRows) { news.count } else { 0 },
        events: events.clone(),
    });
    Planned { notice, state }
}

/// The address to ping (a last part behind the configured one) and what to say there.
pub fn ping(notifier: &Notifier, facts: &Facts) -> (&'static str, String) {
    let failed = facts.wrong.iter().any(|fact| notifier.on.contains(&fact.on)) && facts.status != 0;
    let wrong = facts.wrong.iter().map(|fact| fact.text.as_str());
    let lines: Vec<&str> = wrong.chain(facts.delivered.iter().map(String::as_str)).collect();
    (if failed { "fail" } else { "" }, lines.join("\n"))
}

fn rank(on: On) -> u8 {
    match on {
        On::Attention => 0,
        On::Failure => 1,
        On::Recovery => 2,
        On::NewRows => 3,
    }
}

fn title(on: On, new: u64) -> String {
    match on {
        On::Attention => "bankfeed needs you".into(),
        On::Failure => "bankfeed: something failed".into(),
        On::Recovery => "bankfeed works again".into(),
        On::NewRows => format!("bankfeed: {}", plural(new, "new transaction")),
    }
}

/// What is wrong and was not told yet, or is due to be told again.
fn wrong(notifier: &Notifier, state: &mut NotifierState, facts: &Facts, now: DateTime<Utc>) -> Vec<Event> {
    let mut events = Vec::new();
    for fact in facts.wrong.iter().filter(|fact| notifier.on.contains(&fact.on)) {
        let told = state.told.entry(fact.key()).or_insert_with(|| Told {
            subject: fact.subject.clone(),
            text: String::new(),
            since: now,
            last: now,
            times: 0,
            attention: fact.on == On::Attention,
        });
        told.text.clone_from(&fact.text);
        if told.times > 0 && !due(told, now) {
            continue;
        }
        let word = if fact.on == On::Attention { "needs you" } else { "failed, will be tried again" };
        let text = match told.times {
            0 => format!("{word}: {}", fact.text),
            _ => format!("still, for {}: {word}: {}", lasting(now - told.since), fact.text),
        };
        let (subject, cause, since) = (fact.subject.clone(), fact.cause.clone(), told.since);
        events.push(Event { on: fact.on, subject, cause, text, since, again: told.times > 0 });
        told.times += 1;
        told.last = now;
    }
    events
}

fn due(told: &Told, now: DateTime<Utc>) -> bool {
    let at = usize::try_from(told.times).unwrap_or(usize::MAX).saturating_sub(1).min(AGAIN_DAYS.len() - 1);
    now - told.last >= Duration::days(AGAIN_DAYS[at])
}

/// What was told and has ended. What has only given way to another trouble of the same subject is forgotten in silence.
fn over(notifier: &Notifier, state: &mut NotifierState, facts: &Facts, now: DateTime<Utc>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let lasts = |key: &String| facts.wrong.iter().any(|fact| fact.key() == *key);
    let ended: Vec<String> = state
        .told
        .iter()
        .filter(|(key, told)| !lasts(key) && !facts.unknown.contains(&told.subject))
        .map(|(key, _)| key.clone())
        .collect();
    for key in ended {
        let Some(told) = state.told.remove(&key) else { continue };
        let known = events.iter().any(|event| event.subject == told.subject);
        if known || !facts.well.contains(&told.subject) || !notifier.on.contains(&On::Recovery) {
            continue;
        }
        let text = format!("works again, after {}: {}", lasting(now - told.since), told.subject);
        let cause = key.rsplit(": ").next().unwrap_or_default().to_owned();
        let (subject, since) = (told.subject, told.since);
        events.push(Event { on: On::Recovery, subject, cause, text, since, again: false });
    }
    events
}

/// `3 days`, `5 hours`, `10 minutes`.
fn lasting(time: Duration) -> String {
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (days @ 1.., ..) => plural(days.unsigned_abs(), "day"),
        (_, hours @ 1.., _) => plural(hours.unsigned_abs(), "hour"),
        (.., minutes) => plural(minutes.max(1).unsigned_abs(), "minute"),
    }
}
