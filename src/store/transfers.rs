//! The transactions that are halves of transfers: worked out of the rows when somebody asks, some months at a time, and kept
//! until the rows change. The pairs are never stored, so none can be out of date on the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{Datelike, Days, NaiveDate};

use super::keys::{day_key, numbered, parse_day, parse_day_key};
use super::{Error, Part, Result, Store, lock};
use crate::transfers::{Half, MOST_DAYS, Other, OwnAccounts, pair};

/// Days worked out in one go.
const DAYS: i32 = 128;

/// Days on either side that are looked at beside them: a row's partner may have a nearer partner of its own.
const BESIDE: u64 = 3 * MOST_DAYS.unsigned_abs();

/// The known halves of transfers.
#[derive(Default)]
pub(super) struct Transfers {
    /// The last change and the number of accounts that it rests on.
    basis: (u64, usize),
    /// The stretches of days that are worked out.
    known: BTreeSet<i32>,
    /// The other half by the number of the row.
    others: HashMap<u64, Other>,
}

impl Transfers {
    /// The other account of this row, as far as it is worked out.
    pub fn other(&self, number: u64) -> Option<u16> {
        self.others.get(&number).map(|other| other.account)
    }
}

impl Store {
    /// A day of every stretch that has rows, for [`Store::know_transfers_of`].
    pub fn stretches(&self) -> Result<Vec<NaiveDate>> {
        let mut days = BTreeMap::new();
        for entry in self.db.prefix(b"k") {
            let (day, _) = parse_day_key(&entry?.0)?;
            days.insert(stretch(day), day);
        }
        Ok(days.into_values().collect())
    }

    /// The other half of this row, as far as it is worked out.
    pub fn partner(&self, number: u64) -> Option<u64> {
        lock(&self.transfers).others.get(&number).map(|other| other.number)
    }

    /// The numbers of all halves, as far as they are worked out.
    pub fn halves(&self) -> Vec<u64> {
        lock(&self.transfers).others.keys().copied().collect()
    }

    /// Works out which rows of a day, and of the months around it, are halves of transfers, so that every transaction read
    /// from now on says so.
    pub fn know_transfers_of(&self, day: NaiveDate) -> Result<()> {
        self.know_stretch(stretch(day))
    }

    /// Held for all of it: of two who ask at once the second finds it done.
    fn know_stretch(&self, at: i32) -> Result<()> {
        let accounts = self.feeds();
        let mut transfers = lock(&self.transfers);
        let basis = (self.meta().last_seq, accounts.len());
        if transfers.basis != basis {
            *transfers = Transfers { basis, ..Transfers::default() };
        }
        if transfers.known.contains(&at) {
            return Ok(());
        }
        let own = OwnAccounts::new(accounts.iter().map(|stored| (stored.account.account.as_str(), stored.number)));
        let names: Vec<&str> = accounts.iter().map(|stored| stored.account.account.as_str()).collect();
        let (mut halves, mut inside) = (Vec::new(), BTreeSet::new());
        // With a single account nothing can be moved between two.
        if names.iter().any(|name| *name != names[0]) {
            for (date, account, number) in self.rows_around(at)? {
                let row = self.row_without_raw(number)?;
                let name = names.get(usize::from(account)).copied().unwrap_or_default();
                halves.extend(Half::new(number, name, &row, &own));
                if stretch(date) == at {
                    inside.insert(number);
                }
            }
        }
        transfers.others.extend(pair(&halves).into_iter().filter(|(number, _)| inside.contains(number)));
        transfers.known.insert(at);
        Ok(())
    }

    /// Date, account and number of the rows that the bank shows in a stretch of days and beside it.
    fn rows_around(&self, at: i32) -> Result<Vec<(NaiveDate, u16, u64)>> {
        let day = |days: i32| NaiveDate::from_num_days_from_ce_opt(days);
        let first = day(at.saturating_mul(DAYS)).and_then(|day| day.checked_sub_days(Days::new(BESIDE)));
        let last =
            day(at.saturating_add(1).saturating_mul(DAYS)).and_then(|day| day.checked_add_days(Days::new(BESIDE)));
        let first = day_key(first.unwrap_or(NaiveDate::MIN), 0);
        let last = day_key(last.unwrap_or(NaiveDate::MAX), u16::MAX);
        let mut rows = Vec::new();
        for entry in self.db.range(&first[..]..=&last[..]) {
            let (key, value) = entry?;
            let (date, account) = parse_day_key(&key)?;
            let live = parse_day(&value, date)?.into_iter().filter(|(_, known)| !known.vanished);
            rows.extend(live.map(|(_, known)| (date, account, known.number)));
        }
        Ok(rows)
    }

    fn row_without_raw(&self, number: u64) -> Result<crate::model::Row> {
        let value = self.db.get(numbered(b't', number))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("transaction number {number} is gone")))?;
        Ok(self.decode(&value, Part::WithoutRaw)?.row)
    }
}

fn stretch(day: NaiveDate) -> i32 {
    day.num_days_from_ce().div_euclid(DAYS)
}
