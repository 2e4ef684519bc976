//! Parts of an account that cannot be read or fetched: they are named, asked for again, and never a reason to doubt the
//! rest of the account.

use chrono::NaiveDate;

use super::ingest::AccountIngest;
use crate::config;
use crate::model::Account;
use crate::remote::Error;
use crate::source::Refused;
use crate::store::{self, Writer};
use crate::sync::Engine;

/// Refused rows of an account that a report names one by one.
const NAMED: usize = 10;

/// The rows of an account that cannot be read, and whatever else of it.
#[derive(Default)]
pub(super) struct Unreadable {
    /// The first of them, by name.
    named: Vec<String>,
    count: usize,
    /// The first day on which one may stand.
    since: Option<NaiveDate>,
    /// At least one of them has no readable id: any known row may be the one.
    is_nameless: bool,
}

impl Unreadable {
    /// Parts that are no rows.
    pub fn of(unread: Vec<String>) -> Unreadable {
        Unreadable { count: unread.len(), named: unread, ..Unreadable::default() }
    }

    fn add(&mut self, row: Refused) {
        self.count += 1;
        self.is_nameless |= row.id.is_none();
        self.since = Some(self.since.map_or(row.since, |since| since.min(row.since)));
        if self.named.len() < NAMED {
            self.named.push(row.why);
        }
    }

    /// The first day from which on everything is to be asked for again.
    pub fn since(&self) -> Option<NaiveDate> {
        self.since
    }

    /// True where a known row that has not come may be one of these.
    pub fn may_hide_known(&self) -> bool {
        self.is_nameless
    }

    /// Why the account is not complete.
    pub fn doubt(&self) -> Option<String> {
        let first = self.named.first()?;
        Some(if self.count == 1 { first.clone() } else { format!("{first} (and {} more)", self.count - 1) })
    }

    /// The names, as far as there is room.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let more = self.count - self.named.len();
        let rest = (more > 0).then(|| format!("{more} more cannot be read"));
        self.named.iter().cloned().chain(rest)
    }
}

impl AccountIngest {
    /// Leaves a row aside that cannot be read: the chain has a hole there, and what is known of the row stays.
    pub(super) fn refuse(&mut self, row: Refused) {
        let number = row.id.as_deref().and_then(crate::reconcile::number_in);
        self.chain.add_hole(row.time, number);
        row.id.iter().for_each(|id| self.reconciler.spare(id));
        self.unreadable.add(row);
    }

    /// The failure that a pull with such rows is.
    pub(super) fn failure(&self, source: &str) -> Option<Error> {
        let doubt = self.unreadable.doubt()?;
        Some(Error::malformed(format!(
            "{source}: account {}: {doubt}; everything else of the account is taken, and this is asked for again at every run",
            self.account.account
        )))
    }
}

impl Engine {
    /// Notes that an account could not be fetched at all: what is known of it may not be all.
    pub(super) fn note_unfetched(
        &self,
        source: &config::Source,
        account: &Account,
        error: &Error,
        writer: &mut Writer<'_>,
    ) -> Result<(), store::Error> {
        let known = self.store.feed(&source.name, &account.account).map(|known| known.account);
        // Without a currency it is a mere name, of the configuration or of something that has no account.
        let listed = (!account.currency.is_empty()).then(|| account.clone());
        let Some(account) = known.or(listed) else { return Ok(()) };
        let why = error.message.strip_prefix(&format!("{}: ", source.name)).unwrap_or(&error.message);
        writer.put_account(&source.name, &account, |stored| stored.doubt = Some(why.to_owned()))?;
        Ok(())
    }
}
