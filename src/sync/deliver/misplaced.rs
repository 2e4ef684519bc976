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
use crate::destination::{Destination, Item, What};
use crate::model::{Field, Transaction, id_hash};
use crate::remote::Error;
use crate::store::{self, DestinationState, Numbers, Store, UnverifiedBatch};
use crate::sync::verify::Versions;

/// Number of times in one delivery that rows are written once more, before the rest is put off to the next cycle.
const TRIES: u32 = 4;

impl Delivery<'_> {
    /// Takes over what a batch is known to have hit or missed; stored with the watermark that passes it.
    pub(super) fn note_astray(&mut self, destination: &mut dyn Destination, items: &[Item]) {
        let astray = destination.astray();
        if !astray.rows.is_empty() {
            // What is to be written of them is the destination's to remember.
            self.state.set_connector(&destination.memory());
        }
        self.rewrite_again.extend(astray.rows.iter().cloned());
        self.state.rows.ask_to_rewrite(astray.rows);
        self.state.rows.ask_to_restore(astray.gone.into_iter());
        if astray.unsure {
            self.state.unverified.extend(self.by_position(destination, items));
        }
    }

    /// The rows that a batch of these items writes to by position.
    pub(super) fn by_position(&self, destination: &dyn Destination, items: &[Item]) -> Option<UnverifiedBatch> {
        if !destination.writes_by_position() || items.first().is_none_or(|item| item.what == What::New) {
            return None;
        }
        let ids = items.iter().map(|item| item.transaction.row.id.clone()).collect();
        let strikes = items.iter().any(|item| matches!(item.what, What::Vanished | What::Reappeared | What::Astray));
        Some(UnverifiedBatch { since: self.state.watermark, ids, strikes })
    }

    /// Writes once more what went astray, until nothing does.
    pub(super) async fn straighten(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        for _ in 0..TRIES {
            self.investigate(destination).await?;
            if self.state.rows.to_rewrite().chain(self.state.rows.to_restore()).next().is_none() {
                return Ok(());
            }
            let numbers = self.engine.store.numbers()?;
            self.put_back(destination, &numbers).await?;
            let ids = in_order(self.state.rows.to_rewrite(), &numbers, usize::MAX);
            let items = self.once_more(&ids, &numbers)?;
            self.rewrite_again.clear();
            self.send_all(destination, &items).await?;
            // Rows that were hit or missed once more stay noted.
            for id in ids.iter().filter(|id| !self.rewrite_again.contains(*id)) {
                self.state.rows.rewritten(id);
            }
            self.state.set_connector(&destination.memory());
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
    fn once_more(&self, ids: &[String], numbers: &Numbers) -> Result<Vec<Item>, store::Error> {
        let versions = Delivered::new(&self.engine.store, self.config, &self.state)?;
        let (mut items, mut seen) = (Vec::new(), HashSet::new());
        for id in ids.iter().filter(|id| seen.insert(*id)) {
            let Some(number) = numbers.get(&id_hash(id)) else {
                let name = &self.config.name;
                tracing::warn!(
                    "{name}: a row with the id `{id}`, which is none of bankfeed's, was moved while it was written to, and some of its cells hold what belongs elsewhere"
                );
                continue;
            };
            let present = self.engine.store.transaction(*number)?;
            items.push(item(What::Astray, versions.of(*number, present)));
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
        destination.read_back(&mut suspects).await?;
        let strikes = suspects.strikes && self.config.rows().vanished == Vanished::Mark;
        let struck = if strikes { Some(destination.struck().await?) } else { None };
        if let Some(struck) = struck {
            suspects.compare_strikes(&struck)?;
        }
        let found = suspects.conclude()?;
        for (id, touched) in found.rows {
            destination.note_astray(&id, &touched.fields, touched.struck, touched.deleted);
            self.state.rows.ask_to_rewrite([id]);
        }
        self.state.rows.ask_to_restore(found.gone.into_iter());
        self.state.unverified.drain(..doubts.len());
        self.state.set_connector(&destination.memory());
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
struct Touched {
    fields: Vec<Field>,
    struck: bool,
    deleted: bool,
}

#[derive(Default)]
struct Found {
    rows: BTreeMap<String, Touched>,
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
        let present = self.store.transaction(*number)?;
        let version = self.versions.of(*number, present);
        let (id, is_written) = (&version.row.id, self.written.contains_key(&version.row.id));
        let former = self.former.get(number).map(Vec::as_slice).unwrap_or_default();
        let mut touched = Touched::default();
        for at in shown.differences(&version, &row.cells) {
            let (field, found) = (&shown.fields[at], row.cells.get(at).unwrap_or(&Cell::Empty));
            let is_missed = is_written && former.iter().any(|old| agrees(field, &shown.expected(at, old), found));
            let is_hit = || self.said[at].iter().any(|(of, said)| of != id && agrees(field, said, found));
            // Anything else is an edit of the owner's.
            if is_missed || is_hit() {
                touched.fields.push(field.clone());
            }
        }
        touched.deleted = is_written && version.vanished && self.config.rows().vanished == Vanished::Delete;
        if touched.deleted || !touched.fields.is_empty() {
            self.found.rows.insert(id.clone(), touched);
        }
        Ok(())
    }

    /// Where a row that was to be struck through is not, or the other way round, another is in its place; no more than that
    /// are, for the owner strikes through, too.
    fn compare_strikes(&mut self, struck: &[String]) -> Result<(), store::Error> {
        let struck: HashSet<u64> = struck.iter().map(|id| id_hash(id)).collect();
        let (mut missed, mut others) = (Vec::new(), Vec::new());
        for hash in &self.seen {
            let Some(number) = self.numbers.get(hash) else { continue };
            let version = self.versions.of(*number, self.store.transaction(*number)?);
            if version.vanished != struck.contains(hash) {
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
            self.found.rows.entry(id).or_default().struck = true;
        }
        Ok(())
    }

    /// A row that was to be deleted and is still there may have cost another row its place. An absent row is known not
    /// to be the owner's deletion only if no more rows are absent than were missed.
    fn conclude(mut self) -> Result<Found, store::Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let missed = self.found.rows.values().filter(|touched| touched.deleted).count();
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
        self.found = Found::default();
        self.failed = None;
    }

    fn row(&mut self, found: FoundRow) {
        if self.failed.is_none() {
            self.failed = self.look(&found).err();
        }
    }
}
