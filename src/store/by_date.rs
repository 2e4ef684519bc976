//! Reading transactions in the order of their dates, a date at a time.

use chrono::NaiveDate;

use super::keys::{day_key, parse_day, parse_day_key};
use super::sled_db;
use super::{Result, Store};
use crate::model::Transaction;

impl Store {
    /// Transactions with their numbers by date and time, oldest first, within these days.
    pub fn by_date(&self, since: Option<NaiveDate>, until: Option<NaiveDate>) -> ByDate<'_> {
        let first = day_key(since.unwrap_or(NaiveDate::MIN), 0);
        let last = day_key(until.unwrap_or(NaiveDate::MAX), u16::MAX);
        let days = self.db.range(&first[..]..=&last[..]);
        ByDate { store: self, days, newest_first: false, paired: false, next: None, ready: Vec::new().into_iter() }
    }
}

/// Transactions in the order of their dates, oldest first unless turned. See [`Store::by_date`].
pub struct ByDate<'a> {
    store: &'a Store,
    days: sled_db::Entries,
    newest_first: bool,
    paired: bool,
    /// The first account-day of the next date, read already.
    next: Option<(NaiveDate, Vec<u64>)>,
    ready: std::vec::IntoIter<(u64, Transaction)>,
}

impl ByDate<'_> {
    /// Turns the order: newest first. To be called before the first item is taken.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Lets every half of a transfer say so. To be called before the first item is taken.
    pub fn with_transfers(mut self) -> Self {
        self.paired = true;
        self
    }

    /// Gathers the accounts of one date and sorts their rows by time.
    fn refill(&mut self) -> Result<bool> {
        let (mut date, mut numbers) = match self.next.take() {
            Some((date, numbers)) => (Some(date), numbers),
            None => (None, Vec::new()),
        };
        while let Some(entry) = if self.newest_first { self.days.next_back() } else { self.days.next() } {
            let (key, value) = entry?;
            let (day, _) = parse_day_key(&key)?;
            let of_day = parse_day(&value, day)?.iter().map(|(_, known)| known.number).collect();
            if date.is_some_and(|date| date != day) {
                self.next = Some((day, of_day));
                break;
            }
            date = Some(day);
            numbers.extend(of_day);
        }
        if let Some(day) = date.filter(|_| self.paired) {
            self.store.know_transfers_of(day)?;
        }
        let mut rows = Vec::with_capacity(numbers.len());
        for number in numbers {
            rows.push((number, self.store.transaction(number)?));
        }
        rows.sort_by_key(|(number, transaction)| (transaction.row.time, *number));
        if self.newest_first {
            rows.reverse();
        }
        self.ready = rows.into_iter();
        Ok(date.is_some())
    }
}

impl Iterator for ByDate<'_> {
    type Item = Result<(u64, Transaction)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.ready.next() {
                return Some(Ok(next));
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
