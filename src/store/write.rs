//! Writing: batches that are applied whole or not at all, with the counters that belong to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use chrono::NaiveDate;
use serde::Serialize;

use super::keys::{Day, DayIndex, format_day, index_key, numbered, parse_day, parse_number};
use super::read::StoredChange;
use super::{Error, Meta, Result, Store, StoredAccount, StoredRow, codec, lock, readable};
use crate::model::{Account, ChangeKind, Enrichment, Row, id_hash};
use crate::reconcile::{Known, fingerprint};

/// Runs kept.
pub(super) const RUNS_KEPT: u64 = 500;

/// Further ids kept of a row, for each source.
const ALIASES_KEPT: usize = 4;

/// The part of an id that all ids of a source's account share: `<kind>:<account>:`.
pub fn id_prefix(id: &str) -> Option<&str> {
    let kind = id.find(':')? + 1;
    Some(&id[..kind + id[kind..].find(':')? + 1])
}

impl Store {
    /// Begins a batch of writes.
    pub fn writer(&self) -> Writer<'_> {
        Writer {
            store: self,
            batch: Batch::default(),
            days: HashMap::new(),
            meta: self.meta(),
            accounts: self.feeds(),
            rows: 0,
        }
    }

    /// Records a finished run and forgets the oldest.
    pub fn put_run<T: Serialize>(&self, report: &T) -> Result<()> {
        let mut writer = self.writer();
        writer.meta.runs += 1;
        let number = writer.meta.runs;
        writer.batch.insert(numbered(b'r', number).to_vec(), codec::encode_json(report)?);
        if number > RUNS_KEPT {
            writer.batch.remove(numbered(b'r', number - RUNS_KEPT).to_vec());
        }
        writer.commit()?;
        self.sync()
    }

    /// Applies a batch with the counters that belong to it.
    pub(super) fn apply(&self, batch: Batch, count: impl FnOnce(&mut Meta)) -> Result<()> {
        let _writing = lock(&self.writing);
        for (key, value) in &batch.0 {
            value.as_ref().map_or(Ok(()), |value| readable::short_enough(key, value.len()))?;
        }
        let mut meta = self.meta();
        let newest = meta.last_seq;
        count(&mut meta);
        meta.generation += 1;
        let mut writes = batch.0;
        for (key, value) in &writes {
            // A row or change that gets its number only now has no former record.
            let is_new = matches!(key.first(), Some(b't' | b'c')) && parse_number(key)? > newest;
            if !is_new && let Some(former) = self.db.get(key)? {
                meta.sums.remove(key, &former);
            }
            value.iter().for_each(|value| meta.sums.add(key, value));
        }
        writes.insert(b"m".to_vec(), Some(codec::encode_json(&meta)?));
        self.db.apply(writes)?;
        *lock(&self.meta) = meta;
        Ok(())
    }
}

/// Writes by key; no value: removed. The last write of a key counts.
#[derive(Default)]
pub(super) struct Batch(pub(super) BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Batch {
    pub(super) fn insert(&mut self, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.0.insert(key.into(), Some(value));
    }

    pub(super) fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.0.insert(key.into(), None);
    }
}

/// A batch of writes, applied whole by [`Writer::commit`] or not at all.
pub struct Writer<'a> {
    store: &'a Store,
    pub(super) batch: Batch,
    days: HashMap<(DayIndex, NaiveDate, u16), Day>,
    pub(super) meta: Meta,
    accounts: Vec<StoredAccount>,
    rows: usize,
}

impl Writer<'_> {
    /// Rows written so far, to keep batches small.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Stores an account as a source describes it; one that is new to the source gets the next number.
    pub fn put_account(
        &mut self,
        source: &str,
        account: &Account,
        change: impl FnOnce(&mut StoredAccount),
    ) -> Result<u16> {
        let of = |stored: &StoredAccount| stored.source == source && stored.account.account == account.account;
        let at = self.accounts.iter().position(of).unwrap_or(self.accounts.len());
        if at == self.accounts.len() {
            let number = u16::try_from(at).map_err(|_| Error::Io("more accounts than the store can hold".into()))?;
            self.accounts.push(StoredAccount::new(number, source, account));
        }
        let stored = &mut self.accounts[at];
        stored.account = account.clone();
        change(stored);
        let (number, value) = (stored.number, codec::encode_json(&*stored)?);
        self.batch.insert([&b"a"[..], &number.to_be_bytes()].concat(), value);
        Ok(number)
    }

    /// Stores a transaction seen for the first time.
    pub fn add(&mut self, account: u16, row: Row) -> Result<u64> {
        self.add_enriched(account, row, Enrichment::default())
    }

    /// Stores a transaction seen for the first time, with what rules give it.
    pub fn add_enriched(&mut self, account: u16, row: Row, enrichment: Enrichment) -> Result<u64> {
        if self.prefix(account).is_empty()
            && let Some(prefix) = id_prefix(&row.id)
        {
            // Chosen by the account's first row and never changed: records leave it out of their ids.
            let stored = &mut self.accounts[usize::from(account)];
            stored.id_prefix = prefix.to_owned();
            self.batch.insert([&b"a"[..], &account.to_be_bytes()].concat(), codec::encode_json(&*stored)?);
        }
        let stored = StoredRow { account, vanished: false, row, enrichment };
        let value = self.encode(&stored)?;
        let row = &stored.row;
        let number = self.next_seq();
        self.meta.rows += 1;
        let known = Known { number, fingerprint: fingerprint(&row.raw), date: row.date, vanished: false };
        let hash = id_hash(&row.id);
        self.day(DayIndex::Ids, row.date, account)?.push((hash, known));
        self.put_row(number, value);
        Ok(number)
    }

    /// Notes that a source knows a row under a further id, with the fingerprint of the payload under that id. `account`
    /// is the source's record of the account, which need not be the row's.
    pub fn add_alias(&mut self, account: u16, id: &str, alias: Known) -> Result<()> {
        let hash = id_hash(id);
        let day = self.day(DayIndex::Aliases, alias.date, account)?;
        day.retain(|(of, _)| *of != hash);
        // A source that gives another id at every fetch would fill the disk with them.
        let of_row = day.iter().filter(|(_, known)| known.number == alias.number).count();
        if of_row >= ALIASES_KEPT
            && let Some(oldest) = day.iter().position(|(_, known)| known.number == alias.number)
        {
            day.remove(oldest);
        }
        day.push((hash, alias));
        self.rows += 1;
        Ok(())
    }

    /// Forgets a further id, because the id is now an entry's own.
    pub fn remove_alias(&mut self, account: u16, id: &str, date: NaiveDate) -> Result<()> {
        let hash = id_hash(id);
        self.day(DayIndex::Aliases, date, account)?.retain(|(of, _)| *of != hash);
        Ok(())
    }

    /// Replaces a transaction's bank data, or only its standing, keeping the former version in the change log. The id
    /// first given stays.
    pub fn change(&mut self, known: Known, former: &StoredRow, row: Row, kind: ChangeKind, at: i64) -> Result<u64> {
        let vanished = match kind {
            ChangeKind::Vanished => true,
            ChangeKind::Reappeared => false,
            ChangeKind::New | ChangeKind::Changed | ChangeKind::Enriched => former.vanished,
        };
        let stored = StoredRow { account: former.account, vanished, row, enrichment: former.enrichment.clone() };
        let value = self.encode(&stored)?;
        let row = &stored.row;
        let seq = self.log(known.number, kind, at)?;
        let hash = id_hash(&row.id);
        self.day(DayIndex::Ids, former.row.date, former.account)?.retain(|(of, _)| *of != hash);
        let now = Known { number: known.number, fingerprint: fingerprint(&row.raw), date: row.date, vanished };
        self.day(DayIndex::Ids, row.date, former.account)?.push((hash, now));
        self.put_row(known.number, value);
        Ok(seq)
    }

    /// Replaces the fields that rules have set in a transaction, keeping the former version in the change log. A batch
    /// may change a transaction only once: a second change in it would be lost.
    pub fn enrich(&mut self, number: u64, enrichment: Enrichment, at: i64) -> Result<u64> {
        let stored = self.store.stored(number)?;
        let value = self.encode(&StoredRow { enrichment, ..stored })?;
        let seq = self.log(number, ChangeKind::Enriched, at)?;
        self.put_row(number, value);
        Ok(seq)
    }

    /// Notes that every row has been looked at with these rules.
    pub fn note_rules(&mut self, fingerprint: u64) {
        self.meta.rules = fingerprint;
    }

    /// Writes a change with the present version as the former one.
    fn log(&mut self, number: u64, kind: ChangeKind, at: i64) -> Result<u64> {
        let value = self.store.db.get(numbered(b't', number))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("transaction number {number} is gone")))?;
        let seq = self.next_seq();
        let change = StoredChange { number, kind, at, former: value.to_vec() };
        let change = postcard::to_stdvec(&change).map_err(|error| Error::Io(error.to_string()))?;
        self.batch.insert(numbered(b'c', seq).to_vec(), codec::encode_bytes(&change));
        Ok(seq)
    }

    /// Applies everything at once. The batch counts as acknowledged after [`Store::sync`].
    pub fn commit(mut self) -> Result<()> {
        for ((index, date, account), day) in self.days.drain() {
            let key = index_key(index, date, account).to_vec();
            if day.is_empty() { self.batch.remove(key) } else { self.batch.insert(key, format_day(&day)) }
        }
        let counted = self.meta;
        self.store.apply(self.batch, |meta| {
            // The parts that every batch moves on are newer there.
            *meta = Meta { generation: meta.generation, sums: meta.sums, ..counted };
        })?;
        *self.store.accounts.write().unwrap_or_else(PoisonError::into_inner) = self.accounts.into();
        Ok(())
    }

    fn next_seq(&mut self) -> u64 {
        self.meta.last_seq += 1;
        self.meta.last_seq
    }

    fn prefix(&self, account: u16) -> &str {
        self.accounts.get(usize::from(account)).map_or("", |account| &account.id_prefix)
    }

    fn encode(&self, stored: &StoredRow) -> Result<Vec<u8>> {
        Ok(self.store.codec.encode_row(stored, self.prefix(stored.account))?)
    }

    fn put_row(&mut self, number: u64, value: Vec<u8>) {
        self.rows += 1;
        self.batch.insert(numbered(b't', number).to_vec(), value);
    }

    fn day(&mut self, index: DayIndex, date: NaiveDate, account: u16) -> Result<&mut Day> {
        use std::collections::hash_map::Entry;
        Ok(match self.days.entry((index, date, account)) {
            Entry::Occupied(day) => day.into_mut(),
            Entry::Vacant(vacant) => {
                let value = self.store.db.get(index_key(index, date, account))?;
                vacant.insert(value.map_or(Ok(Vec::new()), |value| parse_day(&value, date))?)
            }
        })
    }
}
