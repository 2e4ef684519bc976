//! Reading: transactions by number and by day, the change log, and the versions that changes have replaced.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::PoisonError;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::keys::{DayIndex, after, day_key, index_key, numbered, parse_day, parse_day_key, parse_number};
use super::{Error, Numbers, Part, Result, Store, StoredRow, Texts, codec, lock};
use crate::model::{ChangeKind, Row, Transaction, id_hash};
use crate::reconcile::KnownRows;

/// An entry of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Place in the log.
    pub seq: u64,
    /// Number of the transaction.
    pub number: u64,
    /// The kind of change.
    pub kind: ChangeKind,
    /// The transaction's record, where reading the log has come by it.
    pub(super) record: Option<sled::IVec>,
}

/// A later change as stored: which row, what, when, and the version before.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredChange {
    pub number: u64,
    pub kind: ChangeKind,
    pub at: i64,
    pub former: Vec<u8>,
}

/// A former version of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// When it was replaced, seconds since 1970.
    pub replaced_at: i64,
    /// The kind of change that replaced it.
    pub kind: ChangeKind,
    /// The version.
    pub transaction: Transaction,
}

/// The days and vanished rows of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Days with rows that the bank shows, oldest first.
    pub days: Vec<NaiveDate>,
    /// Numbers of the rows that it no longer shows.
    pub vanished: Vec<u64>,
}

impl Outline {
    /// The outline of an account that several sources feed.
    pub fn joined<'a>(outlines: impl Iterator<Item = &'a Outline>) -> Outline {
        let mut joined = Outline::default();
        for outline in outlines {
            joined.days.extend(&outline.days);
            joined.vanished.extend(&outline.vanished);
        }
        joined.days.sort_unstable();
        joined.days.dedup();
        joined
    }
}

impl Store {
    /// Known rows of an account dated within these days.
    pub fn known(&self, account: u16, days: RangeInclusive<NaiveDate>) -> Result<KnownRows> {
        self.indexed(DayIndex::Ids, &[account], days)
    }

    /// Known rows of these records of accounts dated within these days.
    pub fn known_of(&self, accounts: &[u16], days: RangeInclusive<NaiveDate>) -> Result<KnownRows> {
        self.indexed(DayIndex::Ids, accounts, days)
    }

    /// The further ids that these sources' records of accounts have for rows, whosever the rows are. The date is that of
    /// the entry under the further id; whether the row has vanished stands with the row alone.
    pub fn aliases_of(&self, accounts: &[u16], days: RangeInclusive<NaiveDate>) -> Result<KnownRows> {
        self.indexed(DayIndex::Aliases, accounts, days)
    }

    fn indexed(&self, index: DayIndex, accounts: &[u16], days: RangeInclusive<NaiveDate>) -> Result<KnownRows> {
        let mut known = KnownRows::default();
        let (first, last) = (index_key(index, *days.start(), 0), index_key(index, *days.end(), u16::MAX));
        for entry in self.db.range(&first[..]..=&last[..]) {
            let (key, value) = entry?;
            let (date, of) = parse_day_key(&key)?;
            if accounts.contains(&of) {
                known.extend(parse_day(&value, date)?);
            }
        }
        Ok(known)
    }

    /// The rows of the last day before `day` that one of these records of accounts has.
    pub fn last_before(&self, accounts: &[u16], day: NaiveDate) -> Result<Vec<Row>> {
        let (first, last) = (day_key(NaiveDate::MIN, 0), day_key(day, 0));
        let (mut found, mut rows) = (None, Vec::new());
        for entry in self.db.range(&first[..]..&last[..]).rev() {
            let (key, value) = entry?;
            let (date, of) = parse_day_key(&key)?;
            if found.is_some_and(|found| found != date) {
                break;
            }
            if accounts.contains(&of) {
                found = Some(date);
                for (_, known) in parse_day(&value, date)? {
                    rows.push(self.stored(known.number)?.row);
                }
            }
        }
        Ok(rows)
    }

    /// Calls `each` with the rows of these records of accounts that the bank still shows, by time, a day at a time.
    pub fn each_row(
        &self,
        accounts: &[u16],
        days: RangeInclusive<NaiveDate>,
        mut each: impl FnMut(u64, StoredRow),
    ) -> Result<()> {
        let (first, last) = (day_key(*days.start(), 0), day_key(*days.end(), u16::MAX));
        let (mut day, mut rows) = (None, Vec::new());
        for entry in self.db.range(&first[..]..=&last[..]) {
            let (key, value) = entry?;
            let (date, of) = parse_day_key(&key)?;
            if day.replace(date) != Some(date) {
                in_order(&mut rows).for_each(|(number, row)| each(number, row));
            }
            if accounts.contains(&of) {
                for (_, known) in parse_day(&value, date)?.into_iter().filter(|(_, known)| !known.vanished) {
                    rows.push((known.number, self.stored(known.number)?));
                }
            }
        }
        in_order(&mut rows).for_each(|(number, row)| each(number, row));
        Ok(())
    }

    /// A stored row by number.
    pub fn stored(&self, number: u64) -> Result<StoredRow> {
        let value = self.db.get(numbered(b't', number))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("transaction number {number} is gone")))?;
        self.decode(&value, Part::Whole)
    }

    /// The outline of every account's rows, from the index alone.
    pub fn outlines(&self) -> Result<HashMap<u16, Outline>> {
        let mut outlines: HashMap<u16, Outline> = HashMap::new();
        for entry in self.db.prefix(b"k") {
            let (key, value) = entry?;
            let (date, account) = parse_day_key(&key)?;
            let outline = outlines.entry(account).or_default();
            let mut live = false;
            for (_, known) in parse_day(&value, date)? {
                if known.vanished { outline.vanished.push(known.number) } else { live = true }
            }
            if live {
                outline.days.push(date);
            }
        }
        Ok(outlines)
    }

    /// The rows of one day and these records of accounts that the bank still shows, by time.
    pub fn rows_of_day(&self, accounts: &[u16], date: NaiveDate) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for account in accounts {
            let Some(value) = self.db.get(day_key(date, *account))? else { continue };
            for (_, known) in parse_day(&value, date)?.into_iter().filter(|(_, known)| !known.vanished) {
                rows.push(self.stored(known.number)?.row);
            }
        }
        rows.sort_by_key(|row| row.time);
        Ok(rows)
    }

    /// The transaction a change speaks of, as it was when the log was read. A part may be read where it is only delivered.
    pub fn transaction_of(&self, change: &Change, part: Part) -> Result<Transaction> {
        match &change.record {
            Some(value) => Ok(self.in_context(change.number, self.decode(value, part)?)),
            None => self.transaction(change.number),
        }
    }

    /// A transaction by number.
    pub fn transaction(&self, number: u64) -> Result<Transaction> {
        Ok(self.in_context(number, self.stored(number)?))
    }

    /// Transactions with their numbers in the order they were first seen, after `number`, `most` of them.
    pub fn transactions_after(&self, number: u64, most: usize) -> Result<Vec<(u64, Transaction)>> {
        let found = self.db.range(after(b't', number)).take(most);
        found
            .map(|entry| {
                let (key, value) = entry?;
                let number = parse_number(&key)?;
                Ok((number, self.in_context(number, self.decode(&value, Part::Whole)?)))
            })
            .collect()
    }

    /// The number of transactions that were first seen after `number`.
    pub fn count_after(&self, number: u64) -> Result<u64> {
        self.db.range(after(b't', number)).try_fold(0, |count, entry| entry.map(|_| count + 1))
    }

    /// A transaction's number by its id, or by a further id that a source has for it.
    pub fn find(&self, id: &str) -> Result<Option<u64>> {
        let hash = id_hash(id);
        for entry in self.db.prefix(b"k").chain(self.db.prefix(b"i")) {
            let (key, value) = entry?;
            let (date, _) = parse_day_key(&key)?;
            if let Some((_, known)) = parse_day(&value, date)?.into_iter().find(|(of, _)| *of == hash) {
                return Ok(Some(known.number));
            }
        }
        Ok(None)
    }

    /// The change log after `seq`, oldest first, `most` entries.
    pub fn changes_after(&self, seq: u64, most: usize) -> Result<Vec<Change>> {
        let mut log = BTreeMap::new();
        for entry in self.db.range(after(b't', seq)).take(most) {
            let (key, value) = entry?;
            let number = parse_number(&key)?;
            log.insert(number, Change { seq: number, number, kind: ChangeKind::New, record: Some(value) });
        }
        for entry in self.db.range(after(b'c', seq)).take(most) {
            let (key, value) = entry?;
            let seq = parse_number(&key)?;
            let change: StoredChange = parse_change(&value)?;
            log.insert(seq, Change { seq, number: change.number, kind: change.kind, record: None });
        }
        Ok(log.into_values().take(most).collect())
    }

    /// The version of a transaction that the change at `seq` replaced.
    pub fn former(&self, seq: u64) -> Result<Former> {
        let value = self.db.get(numbered(b'c', seq))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("change {seq} is gone")))?;
        self.parse_former(&value)
    }

    /// Every former version, by the number of the transaction.
    pub fn history(&self) -> Result<HashMap<u64, Vec<Former>>> {
        self.history_of(|_| true)
    }

    /// The former versions of the wanted transactions, by number.
    pub fn history_of(&self, wanted: impl Fn(u64) -> bool) -> Result<HashMap<u64, Vec<Former>>> {
        let mut history: HashMap<u64, Vec<Former>> = HashMap::new();
        for entry in self.db.prefix(b"c") {
            let (_, value) = entry?;
            let number = parse_change(&value)?.number;
            if wanted(number) {
                history.entry(number).or_default().push(self.parse_former(&value)?);
            }
        }
        Ok(history)
    }

    /// Versions that changes after `seq` replaced, by the number of the transaction.
    pub fn replaced_after(&self, seq: u64) -> Result<HashMap<u64, Vec<Transaction>>> {
        let mut replaced: HashMap<u64, Vec<Transaction>> = HashMap::new();
        for entry in self.db.range(after(b'c', seq)) {
            let (_, value) = entry?;
            let number = parse_change(&value)?.number;
            replaced.entry(number).or_default().push(self.parse_former(&value)?.transaction);
        }
        Ok(replaced)
    }

    /// The number of every transaction by the hash of its id.
    pub fn numbers(&self) -> Result<Numbers> {
        let mut numbers = Numbers::default();
        for entry in self.db.prefix(b"k") {
            let (key, value) = entry?;
            let (date, _) = parse_day_key(&key)?;
            numbers.extend(parse_day(&value, date)?.into_iter().map(|(hash, known)| (hash, known.number)));
        }
        Ok(numbers)
    }

    pub(super) fn parse_former(&self, value: &[u8]) -> Result<Former> {
        let change = parse_change(value)?;
        let transaction = self.in_context(change.number, self.decode(&change.former, Part::Whole)?);
        Ok(Former { replaced_at: change.at, kind: change.kind, transaction })
    }

    pub(super) fn decode(&self, value: &[u8], part: Part) -> Result<StoredRow> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let prefix = |number: u16| accounts.stored.get(usize::from(number)).map_or("", |account| &account.id_prefix);
        Ok(self.codec.decode_row(value, part, prefix)?)
    }

    fn in_context(&self, number: u64, stored: StoredRow) -> Transaction {
        let other = lock(&self.transfers).other(number);
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let transfer = other.and_then(|other| accounts.texts.get(usize::from(other)));
        let transfer = transfer.map(|texts| texts.account.clone()).unwrap_or_default();
        let texts = accounts.texts.get(usize::from(stored.account)).cloned().unwrap_or_default();
        let Texts { source, account, account_name, customer } = texts;
        let StoredRow { row, enrichment, vanished, .. } = stored;
        Transaction { source, account, account_name, customer, row, enrichment, transfer, vanished }
    }
}

/// Takes the rows of one day by time.
fn in_order(rows: &mut Vec<(u64, StoredRow)>) -> std::vec::IntoIter<(u64, StoredRow)> {
    rows.sort_by_key(|(number, stored)| (stored.row.time, *number));
    std::mem::take(rows).into_iter()
}

pub(super) fn parse_change(value: &[u8]) -> Result<StoredChange> {
    postcard::from_bytes(codec::decode_bytes(value)?).map_err(|error| Error::Damaged(error.to_string()))
}
