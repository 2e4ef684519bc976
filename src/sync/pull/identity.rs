//! Rows under ids that are not known: held until their day is over, then compared with the known rows of that day that
//! the answer has not shown. Used only where a source's ids change or where several sources feed the account; a source
//! with dependable ids that is alone on its account never gets here.
//!
//! The source that gave a row first is the only one to change it. A further id of a row is an alias, kept with the source
//! that uses it, so that its next fetch finds the row at once.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use chrono::NaiveDate;

use super::ingest::{AccountIngest, Alias, Judgement};
use crate::config;
use crate::model::{ChangeKind, Row, id_hash};
use crate::reconcile::matching::{
    Between, Within, between_sources, have_equal_amounts, is_repeated, same_money, within_one_source,
};
use crate::reconcile::{Difference, Known, KnownRows, Reconciler, compare_words};
use crate::source::{Ids, Page};
use crate::store::{self, DoubtfulRow, Store, StoredAccount, StoredRow};

/// The things needed to find rows under new ids.
pub(super) struct Identity {
    ids: Ids,
    /// Records of the account whose rows are this source's own: its own record, and those of sources with the same ids.
    own: Vec<u16>,
    /// Records of the account that other kinds of sources feed.
    others: Vec<u16>,
    /// The days that the answer shows whole.
    proven: RangeInclusive<NaiveDate>,
    day: Option<NaiveDate>,
    /// The day's rows under ids that are unknown or further ids.
    held: Vec<Held>,
    /// Own rows that rows of the same amount have taken the place of.
    replaced: HashSet<u64>,
    /// Rows of this source that are kept apart, by the hash of their ids.
    doubtful: HashMap<u64, DoubtfulRow>,
    /// Number of rows of this answer that are kept apart.
    pub doubtful_count: u64,
}

/// A row that waits for the end of its day, with the row that its id is a further id of.
struct Held {
    row: Row,
    alias: Option<Known>,
}

/// A known row that may be one of the fetched ones.
struct Candidate {
    known: Known,
    stored: StoredRow,
}

impl Identity {
    /// `None` where ids alone decide. `feed` is this source's record of the account.
    pub fn of(
        store: &Store,
        source: &config::Source,
        page: &Page,
        feed: Option<&StoredAccount>,
    ) -> Result<Option<Identity>, store::Error> {
        let is_of_account = |record: &StoredAccount| record.account.account == page.account.account;
        let siblings = store.feeds().into_iter().filter(|record| is_of_account(record) && record.source != source.name);
        let siblings: Vec<StoredAccount> = siblings.collect();
        if siblings.is_empty() && (feed.is_none() || page.ids == Ids::Dependable) {
            return Ok(None);
        }
        let kind = format!("{}:", source.kind.name);
        let (own, others): (Vec<_>, Vec<_>) =
            siblings.into_iter().partition(|sibling| sibling.id_prefix.starts_with(&kind));
        let own: Vec<u16> = feed.into_iter().chain(&own).map(|record| record.number).collect();
        let others: Vec<u16> = others.iter().map(|record| record.number).collect();
        let mut doubtful = store.doubtful()?;
        doubtful.retain(|doubtful| own.contains(&doubtful.feed));
        Ok(Some(Identity {
            ids: page.ids,
            own,
            others,
            proven: page.from.unwrap_or(NaiveDate::MIN)..=page.until,
            day: None,
            held: Vec::new(),
            replaced: HashSet::new(),
            doubtful: doubtful.into_iter().map(|doubtful| (id_hash(&doubtful.row.id), doubtful)).collect(),
            doubtful_count: 0,
        }))
    }

    /// The records whose rows this source may change.
    pub fn own(&self) -> &[u16] {
        &self.own
    }

    /// The records of the account that other kinds of sources feed.
    pub fn others(&self) -> &[u16] {
        &self.others
    }

    /// Every record of the account.
    pub fn all(&self) -> Vec<u16> {
        [&self.own[..], &self.others].concat()
    }

    /// True if a row of this day has to wait for the rows before it.
    pub fn is_new_day(&self, day: NaiveDate) -> bool {
        !self.held.is_empty() && self.day != Some(day)
    }

    /// Takes a row that waits for the end of its day.
    pub fn hold(&mut self, row: Row, alias: Option<Known>) {
        self.day = Some(row.date);
        self.held.push(Held { row, alias });
    }

    /// The row that is kept apart under this id.
    pub fn doubtful(&self, id: &str) -> Option<&DoubtfulRow> {
        self.doubtful.get(&id_hash(id))
    }

    /// Rows within these days that are kept apart and have not come again.
    pub fn doubtful_gone(&self, reconciler: &Reconciler, days: RangeInclusive<NaiveDate>) -> Vec<&DoubtfulRow> {
        let is_gone =
            |doubtful: &&DoubtfulRow| days.contains(&doubtful.row.date) && !reconciler.is_seen(&doubtful.row.id);
        self.doubtful.values().filter(is_gone).collect()
    }

    /// The missing rows of this source that have vanished. A row that another source has shown as well stays, unless rows
    /// of the same amount have taken its place: else the two would stand side by side.
    pub fn vanished(
        &self,
        store: &Store,
        gone: Vec<Known>,
        days: RangeInclusive<NaiveDate>,
    ) -> Result<Vec<Known>, store::Error> {
        if gone.is_empty() || self.others.is_empty() {
            return Ok(gone);
        }
        let shown: HashSet<u64> = store.aliases_of(&self.others, days)?.values().map(|alias| alias.number).collect();
        let has_vanished = |known: &Known| !shown.contains(&known.number) || self.replaced.contains(&known.number);
        Ok(gone.into_iter().filter(has_vanished).collect())
    }
}

/// Finds out what the rows are that waited for the end of their day.
pub(super) fn settle(store: &Store, account: &mut AccountIngest) -> Result<Vec<(Row, Judgement)>, store::Error> {
    let AccountIngest { identity: Some(identity), reconciler, .. } = account else { return Ok(Vec::new()) };
    let held = std::mem::take(&mut identity.held);
    let Some(day) = identity.day.filter(|_| !held.is_empty()) else { return Ok(Vec::new()) };
    let mut settling = Settling { store, identity, reconciler, day, open: Vec::new(), settled: Vec::new() };
    for Held { row, alias } in held {
        settling.by_alias(row, alias)?;
    }
    if settling.identity.ids == Ids::Reissued && !settling.open.is_empty() {
        settling.repeated()?;
        settling.within_source()?;
    }
    if !settling.identity.others.is_empty() && !settling.open.is_empty() {
        settling.between_sources()?;
    }
    settling.rest()
}

/// A day on its way to its judgements.
struct Settling<'a> {
    store: &'a Store,
    identity: &'a mut Identity,
    reconciler: &'a mut Reconciler,
    day: NaiveDate,
    /// The rows for which no known row is found yet.
    open: Vec<Row>,
    settled: Vec<(Row, Judgement)>,
}

impl Settling<'_> {
    /// A further id names its row, but for a row that the answer has shown already: then it is an entry of its own.
    fn by_alias(&mut self, row: Row, alias: Option<Known>) -> Result<(), store::Error> {
        let Some(alias) = alias.filter(|alias| self.reconciler.show(alias.number)) else {
            self.open.push(row);
            return Ok(());
        };
        let judgement = if self.reconciler.is_unchanged(alias, &row) {
            Judgement::Nothing
        } else {
            let candidate = Candidate { known: alias, stored: self.store.stored(alias.number)? };
            self.same(&row, candidate, Some(alias.date))
        };
        self.settled.push((row, judgement));
        Ok(())
    }

    /// A row that is the same as a known one under another id.
    fn same(&self, row: &Row, candidate: Candidate, known_at: Option<NaiveDate>) -> Judgement {
        let Candidate { known, stored } = candidate;
        let alias = Alias { number: known.number, known_at };
        if !self.identity.own.contains(&stored.account) {
            return Judgement::Same(alias);
        }
        let kind = match compare_words(&stored.row, row) {
            _ if stored.vanished => ChangeKind::Reappeared,
            Difference::Changed => ChangeKind::Changed,
            Difference::None | Difference::Restated => return Judgement::Same(alias),
        };
        let known = Known { date: stored.row.date, vanished: stored.vanished, ..known };
        Judgement::Again(known, Box::new(stored), kind, Some(alias))
    }

    /// An entry that one answer holds under two ids is one row: same content, same balance after it.
    fn repeated(&mut self) -> Result<(), store::Error> {
        if self.open.iter().all(|row| row.balance.is_none()) {
            return Ok(());
        }
        let shown = self.candidates(&self.identity.own.clone(), |reconciler, number| reconciler.is_shown(number))?;
        let mut open: Vec<Row> = Vec::new();
        for row in std::mem::take(&mut self.open) {
            if let Some(same) = shown.iter().find(|candidate| is_repeated(&candidate.stored.row, &row)) {
                let alias = Alias { number: same.known.number, known_at: None };
                self.settled.push((row, Judgement::Same(alias)));
            } else if !open.iter().any(|other| is_repeated(other, &row)) {
                open.push(row);
            }
        }
        self.open = open;
        Ok(())
    }

    /// Known rows of the day: those that the bank shows first, then by number.
    fn candidates(
        &self,
        records: &[u16],
        wanted: impl Fn(&Reconciler, u64) -> bool,
    ) -> Result<Vec<Candidate>, store::Error> {
        let known: KnownRows = self.store.known_of(records, self.day..=self.day)?;
        let mut known: Vec<Known> = known.into_values().filter(|known| wanted(self.reconciler, known.number)).collect();
        known.sort_by_key(|known| (known.vanished, known.number));
        let stored = known.into_iter().map(|known| Ok(Candidate { known, stored: self.store.stored(known.number)? }));
        stored.collect()
    }

    fn missing(&self, records: &[u16]) -> Result<Vec<Candidate>, store::Error> {
        let is_missing = |reconciler: &Reconciler, number| !reconciler.is_shown(number);
        // Rows that this answer has added are there already, if it is long.
        let of_answer = |candidate: &Candidate| self.reconciler.is_seen(&candidate.stored.row.id);
        let mut missing = self.candidates(records, is_missing)?;
        missing.retain(|candidate| !of_answer(candidate));
        Ok(missing)
    }

    /// Rows of the source itself under new ids.
    fn within_source(&mut self) -> Result<(), store::Error> {
        let missing = self.missing(&self.identity.own.clone())?;
        let (live, vanished): (Vec<_>, Vec<_>) = missing.into_iter().partition(|candidate| !candidate.known.vanished);
        // A day that the answer may hold in part misses rows for that reason alone, unless all of the day agrees.
        if !self.identity.proven.contains(&self.day) && !have_equal_amounts(&refs(&self.open), &rows(&live)) {
            return Ok(());
        }
        for (candidates, is_live) in [(live, true), (vanished, false)] {
            let matches = within_one_source(&refs(&self.open), &rows(&candidates));
            // A row that vanished comes back only with its own words.
            let found = matches.into_iter().map(|found| match found {
                Within::Same(at) => Some(at),
                Within::Reworded(at) if is_live => Some(at),
                Within::Reworded(_) | Within::New => None,
            });
            self.pair_off(candidates, found.collect());
        }
        Ok(())
    }

    /// Rows that other sources have given.
    fn between_sources(&mut self) -> Result<(), store::Error> {
        let missing = self.missing(&self.identity.others.clone())?;
        let (live, vanished): (Vec<_>, Vec<_>) = missing.into_iter().partition(|candidate| !candidate.known.vanished);
        let matches = between_sources(&refs(&self.open), &rows(&live));
        let mut doubtful = HashMap::new();
        for (row, found) in self.open.iter().zip(&matches) {
            if let Between::Doubtful(candidates) = found {
                let ids = candidates.iter().map(|at| live[*at].stored.row.id.clone()).collect();
                doubtful.insert(id_hash(&row.id), ids);
            }
        }
        let found = matches.into_iter().map(|found| if let Between::Same(at) = found { Some(at) } else { None });
        self.pair_off(live, found.collect());
        for row in std::mem::take(&mut self.open) {
            match doubtful.remove(&id_hash(&row.id)) {
                Some(candidates) => self.settled.push((row, Judgement::Doubtful(candidates))),
                None => self.open.push(row),
            }
        }
        let matches = between_sources(&refs(&self.open), &rows(&vanished));
        let found = matches.into_iter().map(|found| if let Between::Same(at) = found { Some(at) } else { None });
        self.pair_off(vanished, found.collect());
        Ok(())
    }

    /// Settles the open rows for which a candidate is found.
    fn pair_off(&mut self, candidates: Vec<Candidate>, found: Vec<Option<usize>>) {
        let mut candidates: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
        for (row, found) in std::mem::take(&mut self.open).into_iter().zip(found) {
            let Some(candidate) = found.and_then(|at| candidates[at].take()) else {
                self.open.push(row);
                continue;
            };
            self.reconciler.show(candidate.known.number);
            let judgement = if candidate.known.vanished && !self.identity.own.contains(&candidate.stored.account) {
                // The source that gave the row may miss it; this one shows it.
                let alias = Alias { number: candidate.known.number, known_at: None };
                Judgement::Back(candidate.known, Box::new(candidate.stored), alias)
            } else {
                self.same(&row, candidate, None)
            };
            self.settled.push((row, judgement));
        }
    }

    /// The rows that are left are new.
    fn rest(mut self) -> Result<Vec<(Row, Judgement)>, store::Error> {
        if !self.identity.others.is_empty() && !self.open.is_empty() {
            let missing = self.missing(&self.identity.own.clone())?;
            let is_replaced = |known: &&Candidate| self.open.iter().any(|row| same_money(&known.stored.row, row));
            self.identity.replaced.extend(missing.iter().filter(is_replaced).map(|known| known.known.number));
        }
        let new = self.open.into_iter().map(|row| (row, Judgement::New));
        self.settled.extend(new);
        self.settled.sort_by_key(|(row, _)| row.time);
        Ok(self.settled)
    }
}

fn refs(rows: &[Row]) -> Vec<&Row> {
    rows.iter().collect()
}

fn rows(candidates: &[Candidate]) -> Vec<&Row> {
    candidates.iter().map(|candidate| &candidate.stored.row).collect()
}
