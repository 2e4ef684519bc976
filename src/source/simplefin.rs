//! SimpleFIN: a read-only service for banks in the US and Canada, by its documented protocol, version 2 or 1.
//!
//! Promises: one request for all accounts where the last 44 days are enough, and slices of 44 days where more is wanted;
//! never more requests in a day than the service allows, counted on the disk over restarts; rows that are not booked yet
//! are held back; a complaint in an answer is told, and an answer that may not be complete leaves the account where it
//! stood. The access URL is the whole secret: no message and no address shows any part of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use self::api::Api;
use self::gathered::Gathered;
use self::memory::{Memory, Seen};
use self::reply::{Listing, Reply};
use self::rows::{Owner, Rows};
use self::trouble::Troubles;
use super::{Coverage, Ids, InteractiveSignIn, Page, Scope, Session, Setup, Source, State};
use crate::model::Account;
use crate::remote::{Context, Error, Kind};

mod access;
mod api;
mod gathered;
pub(crate) mod interview;
mod memory;
mod reply;
mod rows;
mod settings;
mod sign_in;
mod trouble;
mod wire;
mod words;

#[cfg(test)]
mod tests;

pub use settings::{KIND, SimpleFinSettings};

/// Days of a request, and days that a pull looks back: the service takes offence at more.
const SLICE_DAYS: u64 = 44;

/// Slices of a first pull without a first day: no bank was seen to give more than half a year.
const USUAL_SLICES: u64 = 5;

/// Most slices of a pull: the service allows 24 requests a day.
const MOST_SLICES: usize = 18;

/// Slices without a row after which the service is taken to have no older ones.
const EMPTY_SLICES: usize = 2;

/// Days that a row may lie ahead before its date is taken for wrong.
const DAYS_AHEAD: i64 = 5;

/// The connector.
pub struct SimpleFin {
    name: String,
    settings: SimpleFinSettings,
    scope: Scope,
    context: Context,
    state: Arc<dyn State>,
    is_attended: bool,
}

impl SimpleFin {
    /// Prepares the connector; nothing is sent.
    pub fn new(settings: &SimpleFinSettings, setup: Setup) -> SimpleFin {
        let Setup { name, scope, context, state, is_attended, .. } = setup;
        SimpleFin { name, settings: settings.clone(), scope, context, state, is_attended }
    }
}

#[async_trait]
impl Source for SimpleFin {
    async fn open(&self) -> Result<Box<dyn Session>, Error> {
        let access = self.settings.access(&self.name)?;
        let api = Api::new(&self.name, access, &self.context, self.state.clone(), self.is_attended)?;
        let (settings, scope) = (self.settings.clone(), self.scope.clone());
        let today = Utc::now().date_naive();
        let (slices, accounts, troubles) = (Vec::new(), Vec::new(), Troubles::default());
        Ok(Box::new(Pull { settings, scope, api, today, slices, accounts, troubles, is_at_end: false }))
    }

    fn sign_in(&self) -> Option<&dyn InteractiveSignIn> {
        Some(self)
    }
}

/// A pull.
struct Pull {
    settings: SimpleFinSettings,
    scope: Scope,
    api: Api,
    /// The day of UTC on which the pull began.
    today: NaiveDate,
    /// The answers so far, newest first; each begins on a day where the one before it ends.
    slices: Vec<Slice>,
    /// The accounts of the newest answer, each with its id here and its place in that answer.
    accounts: Vec<(String, usize)>,
    troubles: Troubles,
    /// No older slice is asked for in this pull.
    is_at_end: bool,
}

/// An answer and the first day that it was asked for.
struct Slice {
    from: NaiveDate,
    reply: Arc<Reply>,
}

#[async_trait]
impl Session for Pull {
    async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        let from = back(self.today, SLICE_DAYS);
        let reply = self.api.accounts(Some((midnight(from), None))).await?;
        self.troubles.hear(&reply, &self.api)?;
        let names = names(&reply.accounts, &self.api.memory, &self.settings.adopted);
        self.accounts = names.into_iter().zip(0..).collect();
        self.hold_strangers(&reply.accounts);
        for (name, listing) in self.accounts.iter().map(|(name, at)| (name, &reply.accounts[*at])) {
            if self.scope.wants(name) {
                self.troubles.look(name, listing, self.today, &self.api);
            }
        }
        self.slices = vec![Slice { from, reply: Arc::new(reply) }];
        let wanted = self.accounts.iter().filter(|(name, _)| self.scope.wants(name));
        Ok(wanted.filter_map(|(name, at)| Some(self.account(name, self.listing(*at)?))).collect())
    }

    async fn fetch(&mut self, account: &Account, from: Option<NaiveDate>) -> Result<Page, Error> {
        let name = &account.account;
        if account.currency.is_empty() {
            return Err(self.no_currency(name));
        }
        let first = from.unwrap_or_else(|| back(self.today, SLICE_DAYS * USUAL_SLICES));
        self.back_fill(first).await?;
        let silent = back(self.today, SLICE_DAYS);
        let from =
            from.map(|from| from.min(silent)).map(|from| self.scope.history_from.map_or(from, |day| day.max(from)));
        self.page(account, from, first)
    }

    async fn next(&mut self, stored: bool) -> Result<bool, Error> {
        let listed: Vec<(String, Seen)> = self.seen();
        let wanted = |name: &str| self.scope.wants(name);
        let memory = &mut self.api.memory;
        let verdict =
            self.troubles.verdict(&self.api.name, memory, &listed, self.scope.accounts.as_deref(), &wanted, self.today);
        if stored {
            memory.seen.extend(listed);
            memory.write(&*self.api.state)?;
        }
        verdict.map_or(Ok(false), Err)
    }

    /// The service has no end of a session.
    async fn close(self: Box<Self>) {}
}

impl Pull {
    /// Leaves accounts aside that look like one that is gone: a bank that is connected anew gets new ids, and the same rows
    /// would come a second time.
    fn hold_strangers(&mut self, listings: &[Listing]) {
        let (memory, scope, adopted) = (&self.api.memory, &self.scope, &self.settings.adopted);
        let is_listed = |known: &str| self.accounts.iter().any(|(name, _)| name == known);
        let gone: Vec<_> = memory.seen.iter().filter(|(known, _)| scope.wants(known) && !is_listed(known)).collect();
        let twin = |(name, at): &(String, usize)| {
            let listing = &listings[*at];
            let is_stranger = !memory.seen.contains_key(name) && !adopted.contains_key(name);
            let currency = self.currency(listing).unwrap_or_default();
            let like =
                |seen: &Seen| (&seen.bank, &seen.name, &seen.currency) == (&listing.bank, &listing.name, &currency);
            gone.iter()
                .filter(|_| is_stranger)
                .find(|(_, seen)| like(seen))
                .map(|(known, _)| (name.clone(), (*known).clone()))
        };
        let held: Vec<(String, String)> = self.accounts.iter().filter_map(twin).collect();
        self.accounts.retain(|(name, _)| !held.iter().any(|(stranger, _)| stranger == name));
        self.troubles.held = held;
    }

    /// Asks for older slices until the day `first` is reached, the service has nothing older, or a request fails. A failure
    /// is told once everything that came is stored.
    async fn back_fill(&mut self, first: NaiveDate) -> Result<(), Error> {
        while let Some(oldest) = self.slices.last().map(|slice| slice.from).filter(|oldest| *oldest > first) {
            if self.is_at_end || self.troubles.halted.is_some() {
                break;
            }
            let empty = self.slices.iter().rev().take_while(|slice| slice.reply.rows() == 0).count();
            if empty >= EMPTY_SLICES || self.slices.len() >= MOST_SLICES {
                self.is_at_end = true;
                break;
            }
            let from = back(oldest, SLICE_DAYS);
            match self.api.accounts(Some((midnight(from), Some(midnight(oldest))))).await {
                Ok(reply) => {
                    self.troubles.hear(&reply, &self.api)?;
                    self.slices.push(Slice { from, reply: Arc::new(reply) });
                }
                Err(error) if error.kind == Kind::Stopped => return Err(error),
                Err(error) => self.troubles.halted = Some(error),
            }
        }
        Ok(())
    }

    /// The page of an account, from the answers so far; `first` is the first day that was to be reached.
    fn page(&self, account: &Account, from: Option<NaiveDate>, first: NaiveDate) -> Result<Page, Error> {
        let name = &account.account;
        let found = self.accounts.iter().find(|(known, _)| known == name).and_then(|(_, at)| self.listing(*at));
        let Some(newest) = found else {
            let message = format!("{}: account {name}: the service does not list it", self.api.name);
            return Err(Error::malformed(message));
        };
        let mut gathered = Gathered::default();
        for (number, slice) in (0..).zip(&self.slices) {
            let listing =
                slice.reply.accounts.iter().find(|other| (&other.id, &other.within) == (&newest.id, &newest.within));
            gathered.add(number, slice.from, listing, self.troubles.spoils(&slice.reply, newest));
        }
        let floor = self.scope.history_from.max(from);
        let oldest = self.slices.last().map_or(self.today, |slice| slice.from);
        if self.troubles.halted.is_some() && oldest > first {
            gathered.lack(first);
        }
        let places = gathered.places(floor);
        let refused = gathered.refused(name, floor);
        let mut unread = Vec::new();
        if let Err(text) = &newest.balance {
            unread.push(format!("its balance cannot be read: `{text}` is not a plain decimal"));
        }
        let until = newest.balance_time.map_or(self.today, |time| time.date_naive().min(self.today));
        let notes = self.wrong_dates(&places);
        let owner = Owner {
            account: name.clone(),
            currency: account.currency.clone(),
            is_inverted: self.settings.inverted.contains(name),
        };
        let replies = self.slices.iter().map(|slice| slice.reply.clone()).collect();
        Ok(Page {
            account: account.clone(),
            from,
            until: until.max(from.unwrap_or(until)),
            opening: None,
            closing: None,
            count: places.len() + refused.len(),
            rows: Box::new(refused.into_iter().map(Err).chain(Rows::new(owner, replies, places))),
            ids: Ids::Reissued,
            continues: false,
            coverage: if gathered.is_listed { Coverage::Rows } else { Coverage::Nothing },
            unlisted: gathered.lacking.filter(|_| gathered.is_listed).map(|day| day.max(floor.unwrap_or(day))),
            unread,
            doubt: self.troubles.doubt(newest, self.today),
            notes,
        })
    }

    /// An alarm for rows whose date cannot be right: some feeds are off by a year.
    fn wrong_dates(&self, places: &[(u16, reply::Place)]) -> Vec<String> {
        let days = |place: &reply::Place| place.posted.date_naive().signed_duration_since(self.today).num_days();
        let ahead = places.iter().rev().take_while(|(_, place)| days(place) > DAYS_AHEAD);
        let told = |(_, place): &(u16, reply::Place)| {
            format!(
                "an entry is dated {}, {} days ahead; the bank's feed may be off",
                place.posted.date_naive(),
                days(place)
            )
        };
        ahead.take(3).map(told).collect()
    }

    fn listing(&self, at: usize) -> Option<&Listing> {
        self.slices.first()?.reply.accounts.get(at)
    }

    /// An account as the rest of the program knows it.
    fn account(&self, name: &str, listing: &Listing) -> Account {
        Account {
            account: name.to_owned(),
            name: if listing.name.is_empty() { name.to_owned() } else { listing.name.clone() },
            customer: listing.bank.clone(),
            currency: self.currency(listing).unwrap_or_default(),
            balance: listing.balance.as_ref().ok().copied().flatten().map(|balance| {
                if self.settings.inverted.iter().any(|inverted| inverted == name) { -balance } else { balance }
            }),
        }
    }

    /// The currency of an account; `None`: nothing says it, or it is no money.
    fn currency(&self, listing: &Listing) -> Option<String> {
        let code = listing.currency.to_uppercase();
        match code.as_str() {
            "" => self.settings.currency.clone(),
            code => Some(code.to_owned()).filter(|code| settings::is_code(code)),
        }
    }

    fn no_currency(&self, name: &str) -> Error {
        let service = &self.api.name;
        let found = self.accounts.iter().find(|(known, _)| known == name).and_then(|(_, at)| self.listing(*at));
        let (title, said) = found.map(|listing| (listing.name.as_str(), listing.currency.as_str())).unwrap_or_default();
        let (title, said) = (words::said(title, &self.api.access), words::said(said, &self.api.access));
        Error::rejected(match found.is_some_and(|listing| listing.currency.is_empty()) {
            true => format!(
                "{service}: account {name} ({title}): the service names no currency for it; set `currency` in the source's entry"
            ),
            false => format!(
                "{service}: account {name} ({title}) counts in `{said}`, which is no currency that bankfeed knows; name the \
                 accounts that you want under `accounts` to leave it out"
            ),
        })
    }

    /// The accounts of the newest answer, as they are remembered.
    fn seen(&self) -> Vec<(String, Seen)> {
        let seen = |(name, at): &(String, usize)| {
            let listing = self.listing(*at)?;
            let (within, bank, title) = (listing.within.clone(), listing.bank.clone(), listing.name.clone());
            let currency = self.currency(listing).unwrap_or_default();
            Some((name.clone(), Seen { within, bank, name: title, currency }))
        };
        self.accounts.iter().filter_map(seen).collect()
    }
}

/// The ids here of the accounts of an answer: the adopted one, or the service's own; for accounts that share one the
/// connection is added, except for the account that had the bare id first.
fn names(listings: &[Listing], memory: &Memory, adopted: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for listing in listings {
        let long = format!("{}@{}", listing.id, listing.within);
        let alike = || listings.iter().filter(|other| other.id == listing.id);
        let is_first = match memory.seen.get(&listing.id) {
            Some(seen) if alike().any(|other| other.within == seen.within) => seen.within == listing.within,
            _ => !names.contains(&listing.id),
        };
        let is_bare = !memory.seen.contains_key(&long) && (alike().count() == 1 || is_first);
        let name = if is_bare { listing.id.clone() } else { long };
        // An id that is in use already stays with the account that has it.
        let old =
            adopted.get(&name).filter(|old| !names.contains(old) && !listings.iter().any(|other| other.id == **old));
        names.push(old.cloned().unwrap_or(name));
    }
    names
}

/// The day so many days before.
fn back(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days)).unwrap_or(day)
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}
