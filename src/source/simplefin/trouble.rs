//! Everything that goes wrong in a pull without ending it, and the one sentence that it makes at the end.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::api::Api;
use super::memory::{Memory, Seen};
use super::reply::{About, Complaint, Listing, Reply};
use super::words::said;
use crate::remote::{Cause, Error};

/// Days after which a balance is too old for a bank that is read once a day.
const STALE_DAYS: i64 = 4;

/// Days after which an account that the service cannot read is a matter for its owner.
const PATIENCE_DAYS: i64 = 3;

/// The troubles of a pull.
#[derive(Default)]
pub(super) struct Troubles {
    /// The failure that ended the way into the past.
    pub halted: Option<Error>,
    /// The complaints of all answers, each once, with harmless words.
    complaints: Vec<Complaint>,
    /// Accounts that wait, because each looks like a known one that is gone: its id, and the id of that one.
    pub held: Vec<(String, String)>,
    /// Accounts of which the service says nothing since a day, by bank and name.
    stale: Vec<String>,
}

impl Troubles {
    /// Takes note of the complaints in an answer. An answer that has nothing but the refusal of the access is a failure.
    pub fn hear(&mut self, reply: &Reply, api: &Api) -> Result<(), Error> {
        for complaint in &reply.complaints {
            let complaint = Complaint { words: said(&complaint.words, &api.access), about: complaint.about.clone() };
            if !self.complaints.contains(&complaint) {
                self.complaints.push(complaint);
            }
        }
        match self.ended(&api.name) {
            Some(error) if reply.accounts.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// The failure where access or subscription has ended.
    fn ended(&self, name: &str) -> Option<Error> {
        let words = |about: About| self.complaints.iter().find(|complaint| complaint.about == about);
        let access = words(About::Access).map(|complaint| {
            format!(
                "{name}: the service refuses the access URL; make a new setup token on the service's page and run `bankfeed \
                 login {name}`; the service says: {}",
                complaint.words
            )
        });
        let payment = || {
            let complaint = words(About::Payment)?;
            Some(format!(
                "{name}: the subscription at the service has lapsed; renew it on the service's page, then run `bankfeed sync \
                 --retry`; the service says: {}",
                complaint.words
            ))
        };
        Some(Error::attention(Cause::AccessEnded, access.or_else(payment)?))
    }

    /// True where the rows of an account in this answer may not be all.
    pub fn spoils(&self, reply: &Reply, listing: &Listing) -> bool {
        reply.complaints.iter().any(|complaint| match &complaint.about {
            About::Answer => true,
            About::Account { id } => id.as_ref().is_none_or(|id| *id == listing.id),
            About::Access | About::Payment | About::Login { .. } => false,
        })
    }

    /// Why the rows of an account may not be all.
    pub fn doubt(&self, listing: &Listing, today: NaiveDate) -> Option<String> {
        let concerns = |complaint: &&Complaint| match &complaint.about {
            About::Login { within } => is_of(within.as_deref(), &complaint.words, listing),
            About::Account { id } => id.as_ref().is_none_or(|id| *id == listing.id),
            About::Answer | About::Access | About::Payment => true,
        };
        let said =
            self.complaints.iter().find(concerns).map(|complaint| format!("the service says: {}", complaint.words));
        said.or_else(|| {
            let day = stale_since(listing.balance_time, today)?;
            Some(format!("the service has not refreshed it since {day}"))
        })
    }

    /// Looks at the age of the balances.
    pub fn look(&mut self, name: &str, listing: &Listing, today: NaiveDate, api: &Api) {
        let is_told = |complaint: &Complaint| match &complaint.about {
            About::Login { within } => is_of(within.as_deref(), &complaint.words, listing),
            _ => false,
        };
        if let Some(day) = stale_since(listing.balance_time, today).filter(|_| !self.complaints.iter().any(is_told)) {
            let bank = said(&listing.bank, &api.access);
            self.stale.push(format!("account {name} of {bank} was not refreshed since {day}"));
        }
    }

    /// The failure of a pull whose rows are stored; `None`: all is well. The memory gets to know which accounts fail.
    pub fn verdict(
        &mut self,
        name: &str,
        memory: &mut Memory,
        listed: &[(String, Seen)],
        wanted: Option<&[String]>,
        wants: &dyn Fn(&str) -> bool,
        today: NaiveDate,
    ) -> Option<Error> {
        self.note_failing(memory, today);
        let halted = self.halted.take();
        if let Some(error) = self.ended(name) {
            return Some(error);
        }
        let (halted, resting) = match halted {
            Some(error) if error.cause().is_some() => return Some(error),
            Some(error) if error.resting_until().is_some() => (None, Some(error)),
            other => (other, None),
        };
        let logins = self.complaints.iter().filter(|complaint| matches!(complaint.about, About::Login { .. }));
        let mut owners: Vec<String> =
            logins.map(|complaint| format!("the service says: {}", complaint.words)).collect();
        owners.append(&mut self.stale);
        let is_listed = |known: &str| listed.iter().any(|(name, _)| name == known);
        owners.extend(self.held.iter().map(|(stranger, known)| {
            format!(
                "account {stranger} looks like {known}, which is gone, and waits: put `adopt = {{ \"{stranger}\" = \"{known}\" }}` \
                 into the source's entry if it is the same, and `adopt = {{ \"{stranger}\" = \"{stranger}\" }}` if it is another one"
            )
        }));
        let is_twin = |known: &String| self.held.iter().any(|(_, twin)| twin == known);
        let missing = memory.seen.iter().filter(|(known, _)| wants(known) && !is_listed(known) && !is_twin(known));
        owners.extend(missing.map(|(known, seen)| {
            format!("account {known} ({}) is in the service's answer no more, and is kept as it is", seen.name)
        }));
        let strangers =
            wanted.into_iter().flatten().filter(|known| !is_listed(known) && !memory.seen.contains_key(*known));
        owners.extend(strangers.map(|known| format!("`accounts` names {known}, which the service does not list")));
        let overdue = memory.failing.iter().filter(|(_, since)| (today - **since).num_days() >= PATIENCE_DAYS);
        owners.extend(overdue.map(|(id, since)| format!("account {id} cannot be read by the service since {since}")));
        if !owners.is_empty() {
            let remedy = "look at the bank's login on the service's page, or name the accounts that you want under `accounts`; \
                          the other accounts go on";
            return Some(Error::attention(Cause::BankLogin, format!("{name}: {}; {remedy}", owners.join("; "))));
        }
        let incomplete = self.complaints.first().map(|complaint| {
            Error::unavailable(format!(
                "{name}: the answer may not be complete, so the same days are asked for again; the service says: {}",
                complaint.words
            ))
        });
        halted.or(incomplete).or(resting)
    }

    /// Remembers since when which accounts cannot be read.
    fn note_failing(&self, memory: &mut Memory, today: NaiveDate) {
        let ids = self.complaints.iter().filter_map(|complaint| match &complaint.about {
            About::Account { id } => id.clone(),
            _ => None,
        });
        let failing = ids.map(|id| {
            let since = memory.failing.get(&id).copied().unwrap_or(today);
            (id, since)
        });
        memory.failing = failing.collect::<BTreeMap<_, _>>();
    }
}

/// True where a complaint about a bank login is about the login of this account.
fn is_of(within: Option<&str>, words: &str, listing: &Listing) -> bool {
    match within {
        Some(within) => within == listing.within,
        None => listing.bank.is_empty() || words.contains(&listing.bank) || !words.contains("onnection to"),
    }
}

/// The day of a balance that is too old.
fn stale_since(time: Option<DateTime<Utc>>, today: NaiveDate) -> Option<NaiveDate> {
    let day = time?.date_naive();
    ((today - day).num_days() > STALE_DAYS).then_some(day)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn verdict(about: About, memory: &mut Memory, today: NaiveDate) -> Option<Error> {
        let complaints = vec![Complaint { about, words: "no".into() }];
        Troubles { complaints, ..Troubles::default() }.verdict("us", memory, &[], None, &|_| true, today)
    }

    #[test]
    fn an_account_that_cannot_be_read_for_days_is_a_matter_for_its_owner() {
        let (mut memory, first) = (Memory::default(), NaiveDate::from_ymd_opt(2026, 12, 1).unwrap());
        let account = || About::Account { id: Some("A".into()) };
        for (days, is_for_owner) in [(0, false), (2, false), (3, true), (9, true)] {
            let error = verdict(account(), &mut memory, first + chrono::Days::new(days)).unwrap();
            assert_eq!(error.cause() == Some(Cause::BankLogin), is_for_owner, "{days}: {error}");
        }
        assert_eq!(memory.failing["A"], first);
        verdict(About::Answer, &mut memory, first);
        assert!(memory.failing.is_empty(), "an account that is read again starts anew");
    }

    #[test]
    fn the_gravest_trouble_is_told() {
        let (mut memory, today) = (Memory::default(), NaiveDate::from_ymd_opt(2026, 12, 1).unwrap());
        memory.seen.insert("gone".into(), Seen::default());
        let mut troubles = Troubles { halted: Some(Error::resting(Utc::now(), "later")), ..Troubles::default() };
        let error = troubles.verdict("us", &mut memory, &[], None, &|_| true, today).unwrap();
        assert_eq!(error.cause(), Some(Cause::BankLogin), "{error}");
        let mut troubles = Troubles { halted: Some(Error::resting(Utc::now(), "later")), ..Troubles::default() };
        let error = troubles.verdict("us", &mut memory, &[], None, &|_| false, today).unwrap();
        assert!(error.resting_until().is_some(), "an account that nobody wants is no trouble");
        assert!(Troubles::default().verdict("us", &mut memory, &[], None, &|_| false, today).is_none());
        assert_eq!(verdict(About::Payment, &mut memory, today).unwrap().cause(), Some(Cause::AccessEnded));
    }
}
