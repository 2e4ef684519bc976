//! The plan of a notice for one notifier after a cycle: a pure function of the notifier's state, the facts and the
//! time.

use chrono::{DateTime, Duration, Utc};

use super::facts::{Facts, News, STORE, plural, presentable};
use crate::config::{Notifier, On};
use crate::store::{NotifierState, Told};

/// Days after which a lasting cause is told again: the first time, the second time, and from then on.
const AGAIN_DAYS: [i64; 3] = [1, 7, 28];

/// A single item of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The kind of event, as in the notifier's `on`.
    pub on: On,
    /// The subject of the fact; empty for new transactions.
    pub subject: String,
    /// The cause in a word; empty for new transactions.
    pub cause: String,
    /// The text for the owner.
    pub text: String,
    /// Beginning of the trouble.
    pub since: DateTime<Utc>,
    /// True if the trouble was told before.
    pub again: bool,
}

/// A message to one notifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Time of the notice.
    pub at: DateTime<Utc>,
    /// The gravest kind among the events.
    pub on: On,
    /// True if an event in the notice was told before and still lasts.
    pub again: bool,
    /// A title of a few words, without names, in ASCII.
    pub title: String,
    /// The events, the gravest first.
    pub events: Vec<Event>,
    /// Counts, and amounts where they are asked for.
    pub summary: Vec<String>,
    /// New transactions.
    pub new: u64,
}

impl Notice {
    /// A notice without events, sent only to prove that notices arrive.
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

    /// The notice of a store that cannot be opened.
    pub fn of_the_store(why: &str, now: DateTime<Utc>) -> Notice {
        let (on, again, text) = (On::Attention, false, format!("needs you: {}", presentable(why)));
        let (subject, cause) = (STORE.to_owned(), "store".to_owned());
        let event = Event { on, subject, cause, text, since: now, again };
        Notice { at: now, on, again, title: title(on, 0), events: vec![event], summary: Vec::new(), new: 0 }
    }

    /// The notice's kind in a word; a notice without events is a test.
    pub fn kind(&self) -> &'static str {
        if self.events.is_empty() { "test" } else { self.on.as_str() }
    }

    /// The events and the summary as lines.
    pub fn text(&self) -> String {
        let events = self.events.iter().map(|event| event.text.as_str());
        events.chain(self.summary.iter().map(String::as_str)).collect::<Vec<_>>().join("\n")
    }
}

/// The notice to send, and the state to remember once it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// `None`: no notice is due.
    pub notice: Option<Notice>,
    /// The state to remember.
    pub state: NotifierState,
}

/// Plans the notice.
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

/// The last part of the address to ping, behind the configured address, and the text to send.
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

/// Events for the facts that were not told yet, or are due to be told again.
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

/// Events for told facts that have ended. A fact that has only given way to another trouble of the same subject is
/// forgotten in silence.
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
