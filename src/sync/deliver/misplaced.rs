//! Misplaced writes: rows that the owner moved in the very instant in which a batch was written by position.
//!
//! A destination reports the rows that a batch hit and missed; those rows are offered once more, in batches that are
//! watched in the same way. The rows to offer are stored together with the watermark that passes the batch. If a batch
//! is known to have been applied and its answer is lost, its landing place is unknown: then the destination is read
//! back, and a row with the batch's values in a wrong place, or with the values to be replaced still in place, counts
//! as hit or missed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::repair::{in_order, item};
use super::{Delivery, Stop};
use crate::config;
use crate::destination::policy::Vanished;
use crate::destination::readback::{Cell, FoundRow, Reader, Shown, agrees};
use crate::destination::row_op::RowOp;
use crate::destination::{Batch, Destination, Misplaced, Reading, Rewrite, RowChange};
use crate::model::{Transaction, id_hash};
use crate::remote::Error;
use crate::store::{self, DestinationState, Numbers, Store, UnverifiedBatch};
use crate::sync::verify::Versions;

/// Number of times in one delivery that rows are written once more, before the rest is put off to the next cycle.
const TRIES: u32 = 4;

impl Delivery<'_> {
    /// Notes the rows that an applied batch has hit or missed; stored with the watermark that passes the batch.
    pub(super) fn note_written(&mut self, batch: &Batch, items: &[RowChange], misplaced: &Misplaced) {
        if misplaced.unverified {
            self.state.unverified.extend(self.unverified(batch, items));
        } else {
            let rewritten = items.iter().filter(|item| item.op == RowOp::Rewrite);
            rewritten.for_each(|item| self.state.rows.rewritten(&item.transaction.row.id));
        }
        self.note_misplaced(misplaced);
    }

    /// Notes rows to be written once more or put back.
    pub(super) fn note_misplaced(&mut self, misplaced: &Misplaced) {
        for (id, rewrite) in &misplaced.rewrites {
            self.state.rows.ask_to_rewrite(id.clone(), rewrite.clone());
        }
        self.state.rows.ask_to_restore(misplaced.gone.iter().cloned());
    }

    /// The rows of a batch that writes by position.
    pub(super) fn unverified(&self, batch: &Batch, items: &[RowChange]) -> Option<UnverifiedBatch> {
        if !batch.by_position {
            return None;
        }
        let ids = items.iter().map(|item| item.transaction.row.id.clone()).collect();
        let strikes = items.iter().any(|item| item.op.touches_mark());
        Some(UnverifiedBatch { since: self.state.watermark, ids, strikes })
    }

    /// Writes misplaced rows once more, until none is left.
    pub(super) async fn rewrite_misplaced(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        for _ in 0..TRIES {
            self.investigate(destination).await?;
            if self.state.rows.to_rewrite().chain(self.state.rows.to_restore()).next().is_none() {
                return Ok(());
            }
            let numbers = self.engine.store.numbers()?;
            self.put_back(destination, &numbers).await?;
            let ids = in_order(self.state.rows.to_rewrite(), &numbers, usize::MAX);
            let items = self.once_more(&ids, &numbers)?;
            self.send_all(destination, &items).await?;
            self.save()?;
        }
        if self.state.rows.to_rewrite().next().is_none() && self.state.unverified.is_empty() {
            return Ok(());
        }
        let name = &self.config.name;
        let what = format!("`{name}`: rows keep being moved while they are written; the next run sets the rest right");
        Err(Error::unavailable(what).into())
    }

    /// The rows as they should be by now.
    fn once_more(&mut self, ids: &[String], numbers: &Numbers) -> Result<Vec<RowChange>, store::Error> {
        let versions = Delivered::new(&self.engine.store, self.config, &self.state)?;
        let mut items = Vec::new();
        for id in ids {
            let Some(number) = numbers.get(&id_hash(id)) else {
                let name = &self.config.name;
                tracing::warn!(
                    "{name}: a row with the id `{id}`, which is none of bankfeed's, was moved while it was written to, and some of its cells hold what belongs elsewhere"
                );
                self.state.rows.rewritten(id);
                continue;
            };
            let present = self.engine.store.transaction(*number)?;
            let rewrite = self.state.rows.get(id).and_then(|row| row.rewrite.clone()).unwrap_or_default();
            items.push(RowChange { rewrite, ..item(RowOp::Rewrite, versions.of(*number, present)) });
        }
        Ok(items)
    }

    /// Finds out by reading back where batches have landed of which that is not known.
    async fn investigate(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        if self.state.unverified.is_empty() {
            return Ok(());
        }
        let doubts = self.state.unverified.clone();
        let mut suspects = Suspects::new(&self.engine.store, self.config, &self.state, &doubts)?;
        let marks = suspects.strikes && self.config.rows().vanished == Vanished::Mark;
        destination.read(if marks { Reading::RowsAndMarks } else { Reading::Rows }, &mut suspects).await?;
        if marks {
            suspects.compare_marks()?;
        }
        let found = suspects.conclude()?;
        for (id, rewrite) in found.rows {
            self.state.rows.ask_to_rewrite(id, rewrite);
        }
        self.state.rows.ask_to_restore(found.gone);
        self.state.unverified.drain(..doubts.len());
        self.save()?;
        Ok(())
    }
}

/// Rows as they were delivered: with what they said then, and standing as the bank had them at the watermark.
struct Delivered {
    words: Versions,
    standing: HashMap<u64, Vec<Transaction>>,
}

impl Delivered {
    fn new(store: &Store, config: &config::Destination, state: &DestinationState) -> Result<Delivered, store::Error> {
        let standing = store.replaced_after(state.watermark)?;
        Ok(Delivered { words: Versions::new(store, config, state)?, standing })
    }

    fn of(&self, number: u64, present: Transaction) -> Transaction {
        let standing = self.standing.get(&number).and_then(|versions| versions.first()).unwrap_or(&present).clone();
        let words = self.words.of(number, present).into_iter().next().unwrap_or_else(|| standing.clone());
        // A destination without corrections keeps the bank's old data, but has the present values of the rules.
        Transaction { vanished: standing.vanished, enrichment: standing.enrichment, ..words }
    }
}

#[derive(Default)]
struct Found {
    rows: BTreeMap<String, Rewrite>,
    gone: Vec<String>,
}

/// Listens to a read-back for traces of batches that may have landed elsewhere.
struct Suspects<'a> {
    store: &'a Store,
    config: &'a config::Destination,
    state: &'a DestinationState,
    numbers: Numbers,
    /// As the rows should be by now.
    versions: Delivered,
    /// As rows were before those batches.
    former: HashMap<u64, Vec<Transaction>>,
    /// The rows that those batches wrote to.
    written: HashMap<String, Transaction>,
    shown: Option<Shown>,
    /// True if the batches mark rows as taken back, or unmark them.
    strikes: bool,
    /// The values of those rows, by column.
    said: Vec<Vec<(String, Cell)>>,
    seen: HashSet<u64>,
    /// Rows that are marked as taken back.
    marked: HashSet<u64>,
    found: Found,
    failed: Option<store::Error>,
}

impl<'a> Suspects<'a> {
    fn new(
        store: &'a Store,
        config: &'a config::Destination,
        state: &'a DestinationState,
        doubts: &[UnverifiedBatch],
    ) -> Result<Suspects<'a>, store::Error> {
        let numbers = store.numbers()?;
        let versions = Delivered::new(store, config, state)?;
        let since = doubts.iter().map(|doubt| doubt.since).min().unwrap_or_default();
        let mut written: HashMap<String, Transaction> = HashMap::new();
        for id in doubts.iter().flat_map(|doubt| &doubt.ids) {
            if let Some(number) = numbers.get(&id_hash(id)) {
                written.insert(id.clone(), versions.of(*number, store.transaction(*number)?));
            }
        }
        Ok(Suspects {
            store,
            config,
            state,
            numbers,
            versions,
            former: store.replaced_after(since)?,
            written,
            strikes: doubts.iter().any(|doubt| doubt.strikes),
            shown: None,
            said: Vec::new(),
            seen: HashSet::new(),
            marked: HashSet::new(),
            found: Found::default(),
            failed: None,
        })
    }

    fn look(&mut self, row: &FoundRow) -> Result<(), store::Error> {
        let hash = id_hash(&row.id);
        let (Some(shown), Some(number)) = (&self.shown, self.numbers.get(&hash)) else { return Ok(()) };
        if !self.seen.insert(hash) {
            return Ok(());
        }
        if row.is_marked {
            self.marked.insert(hash);
        }
        let present = self.store.transaction(*number)?;
        let version = self.versions.of(*number, present);
        let (id, is_written) = (&version.row.id, self.written.contains_key(&version.row.id));
        let former = self.former.get(number).map(Vec::as_slice).unwrap_or_default();
        let mut rewrite = Rewrite::default();
        for at in shown.differences(&version, &row.cells) {
            let (field, found) = (&shown.fields[at], row.cells.get(at).unwrap_or(&Cell::Empty));
            let is_missed = is_written && former.iter().any(|old| agrees(field, &shown.expected(at, old), found));
            let is_hit = || self.said[at].iter().any(|(of, said)| of != id && agrees(field, said, found));
            // Anything else is an edit of the owner's.
            if is_missed || is_hit() {
                rewrite.fields.insert(field.key().into_owned());
            }
        }
        rewrite.delete = is_written && version.vanished && self.config.rows().vanished == Vanished::Delete;
        if rewrite.delete || !rewrite.fields.is_empty() {
            self.found.rows.insert(id.clone(), rewrite);
        }
        Ok(())
    }

    /// Compares the marks. A row whose mark is missing, or too many, has a counterpart that was marked in its place; if
    /// there are more counterparts than missed rows, the owner may have marked rows himself, and only the missed rows
    /// are set right.
    fn compare_marks(&mut self) -> Result<(), store::Error> {
        let (mut missed, mut others) = (Vec::new(), Vec::new());
        for hash in &self.seen {
            let Some(number) = self.numbers.get(hash) else { continue };
            let version = self.versions.of(*number, self.store.transaction(*number)?);
            if version.vanished != self.marked.contains(hash) {
                let is_written = self.written.contains_key(&version.row.id);
                if is_written { &mut missed } else { &mut others }.push(version.row.id);
            }
        }
        if others.len() > missed.len() {
            if !missed.is_empty() {
                let (name, others) = (&self.config.name, others.join(", "));
                tracing::warn!("{name}: of {others} some may be struck through, or not, in place of another row");
            }
            others.clear();
        }
        for id in missed.into_iter().chain(others) {
            self.found.rows.entry(id).or_default().mark = true;
        }
        Ok(())
    }

    /// A row that was to be deleted and is still there may have cost another row its place. An absent row is known not
    /// to be the owner's deletion only if no more rows are absent than were missed.
    fn conclude(mut self) -> Result<Found, store::Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let missed = self.found.rows.values().filter(|rewrite| rewrite.delete).count();
        if missed == 0 {
            return Ok(self.found);
        }
        let set_aside = |id: &String| self.state.rows.is_absent(id) || self.state.rows.is_to_restore(id);
        let mut absent = Vec::new();
        for (hash, number) in &self.numbers {
            if *number <= self.state.watermark && !self.seen.contains(hash) {
                let transaction = self.store.transaction(*number)?;
                let id = transaction.row.id.clone();
                if !transaction.vanished && self.config.filter.accepts(&transaction) && !set_aside(&id) {
                    absent.push(id);
                }
            }
        }
        if absent.len() <= missed {
            self.found.gone = absent;
        } else {
            let name = &self.config.name;
            tracing::warn!(
                "{name}: a row may have been deleted in place of another while rows were moved: `bankfeed verify {name}` lists what is missing, and with `--repair` puts it back"
            );
        }
        Ok(self.found)
    }
}

impl Reader for Suspects<'_> {
    fn begin(&mut self, shown: Shown) {
        let said = |at: usize| {
            let each = self.written.iter().map(|(id, version)| (id.clone(), shown.expected(at, version)));
            each.filter(|(_, cell)| *cell != Cell::Empty).collect()
        };
        self.said = (0..shown.fields.len()).map(said).collect();
        self.shown = Some(shown);
        self.seen.clear();
        self.marked.clear();
        self.found = Found::default();
        self.failed = None;
    }

    fn row(&mut self, found: FoundRow) {
        if self.failed.is_none() {
            self.failed = self.look(&found).err();
        }
    }
}
