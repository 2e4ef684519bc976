//! Reading a destination back: the store's deliveries compared with the rows found there.
//!
//! [`Findings`] listens to a read-back row by row and keeps only the needed part of each; the verdict is a pure matter
//! of store and rows. The consequences of the verdict (remembered, or mended) are decided beside the delivery, with
//! which it shares every safeguard against applying a write twice.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Engine, Outcome, Step, Watcher, selected};
use crate::config;
use crate::destination::policy::{Updates, Vanished};
use crate::destination::readback::{Cell, FoundRow, Reader, Shown, in_words};
use crate::model::{Transaction, id_hash};
use crate::source::aliases;
use crate::store::{self, DestinationState, Numbers, Store};

/// The parameters of a read-back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Only these destinations; `None`: all.
    pub destinations: Option<Vec<String>>,
    /// Mend what is found.
    pub repair: bool,
}

/// The result of a read-back, in the shape of `verify --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Name of the destination.
    pub destination: String,
    /// The outcome of the read-back.
    pub outcome: Outcome,
    /// Why not, if so.
    pub error: Option<String>,
    /// Rows that were delivered and are not there.
    pub missing: Vec<String>,
    /// Rows that are there more than once.
    pub doubled: Vec<String>,
    /// Cells of the bank's that hold something else.
    pub different: Vec<Different>,
    /// Rows not there whose absence was known before: they are left in peace.
    pub deleted: Vec<String>,
    /// Rows put back.
    pub put_back: Vec<String>,
    /// Rows whose cells were written again or whose surplus copies were removed.
    pub mended: Vec<String>,
    /// Oddities.
    pub notes: Vec<String>,
    /// HTTP requests sent.
    pub requests: u64,
    /// True if no row was ever delivered there.
    #[serde(skip)]
    pub is_untouched: bool,
    /// Found and not mended.
    #[serde(skip)]
    pub open: bool,
}

/// A cell that holds something else than it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Different {
    /// Id of the transaction.
    pub id: String,
    /// Key of the field.
    pub column: String,
    /// The expected value of the cell; null for an empty cell.
    pub expected: Option<String>,
    /// The value found in the cell.
    pub found: Option<String>,
}

impl Verified {
    /// True if no row is missing, doubled or different.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.doubled.is_empty() && self.different.is_empty()
    }
}

/// Exit status (design section 2): attention before failure and findings before success.
pub fn exit_status(verified: &[Verified]) -> u8 {
    let any = |test: &dyn Fn(&Verified) -> bool| verified.iter().any(test);
    if any(&|one| one.outcome == Outcome::Attention) {
        3
    } else {
        u8::from(any(&|one| one.open || one.outcome == Outcome::Failed))
    }
}

impl Engine {
    /// Reads destinations back, one after the other.
    pub async fn verify(&self, request: &Verification, watcher: &Watcher) -> Result<Vec<Verified>, store::Error> {
        // A store that lost rows could take the last copies of them for surplus, so it is proven first.
        self.make_ready().await?;
        let mut verified = Vec::new();
        for config in &self.config.destinations {
            if selected(request.destinations.as_deref(), &config.name) {
                watcher(Step { label: format!("{}: reading back", config.name), done: 0, total: 0 });
                verified.push(self.inspect(config, request.repair, watcher).await?);
            }
        }
        self.store.rest();
        Ok(verified)
    }
}

/// The allowed versions of rows: as last delivered, or as they are about to be.
pub(super) struct Versions(HashMap<u64, Vec<Transaction>>);

impl Versions {
    /// The versions at this destination.
    pub fn new(
        store: &Store,
        config: &config::Destination,
        state: &DestinationState,
    ) -> Result<Versions, store::Error> {
        // Without corrections a row may be of any age.
        let since = if config.rows().updates == Updates::Ignore { 0 } else { state.watermark };
        Ok(Versions(store.replaced_after(since)?))
    }

    /// The versions of a transaction, the one to write first.
    pub fn of(&self, number: u64, present: Transaction) -> Vec<Transaction> {
        let mut versions = self.0.get(&number).cloned().unwrap_or_default();
        versions.push(present);
        versions
    }
}

/// A row of ours that was found, at the place of it that counts.
struct Seen {
    place: String,
    /// Id and times found, where more than once.
    doubled: bool,
    different: Vec<Different>,
}

/// Listens to a read-back.
pub(super) struct Findings<'a> {
    store: &'a Store,
    config: &'a config::Destination,
    state: &'a DestinationState,
    numbers: Numbers,
    versions: Versions,
    shown: Option<Shown>,
    seen: HashMap<u64, Seen>,
    /// Rows under ids the store does not know.
    strangers: BTreeMap<String, FoundRow>,
    /// Rows that have lost their ids, by their numbers.
    nameless: HashMap<String, VecDeque<FoundRow>>,
    failed: Option<store::Error>,
}

/// The verdict on a destination.
#[derive(Default)]
pub(super) struct Verdict {
    pub missing: Vec<String>,
    pub doubled: Vec<String>,
    pub different: Vec<Different>,
    /// Not there because the service refuses them.
    pub refused: Vec<String>,
    /// Known to be deleted, and not there.
    pub deleted: Vec<String>,
    /// Known to be deleted, and there again.
    pub returned: Vec<String>,
    /// Not one row of ours is there.
    pub emptied: bool,
}

impl<'a> Findings<'a> {
    /// Expects what the store has delivered to this destination.
    pub fn new(
        store: &'a Store,
        config: &'a config::Destination,
        state: &'a DestinationState,
    ) -> Result<Findings<'a>, store::Error> {
        Ok(Findings {
            store,
            config,
            state,
            numbers: store.numbers()?,
            versions: Versions::new(store, config, state)?,
            shown: None,
            seen: HashMap::new(),
            strangers: BTreeMap::new(),
            nameless: HashMap::new(),
            failed: None,
        })
    }

    fn take(&mut self, hash: u64, number: u64, found: &FoundRow) -> Result<(), store::Error> {
        let first = match self.seen.get_mut(&hash) {
            // A row that was listed twice.
            Some(seen) if seen.place == found.place => return Ok(()),
            Some(seen) => {
                seen.doubled = true;
                found.place < seen.place
            }
            None => true,
        };
        if first {
            let different = self.compare(number, found)?;
            let doubled = self.seen.contains_key(&hash);
            self.seen.insert(hash, Seen { place: found.place.clone(), doubled, different });
        }
        Ok(())
    }

    /// The cells that differ from the version that the row is most like.
    fn compare(&self, number: u64, found: &FoundRow) -> Result<Vec<Different>, store::Error> {
        let Some(shown) = self.shown.as_ref().filter(|_| number <= self.state.watermark) else { return Ok(Vec::new()) };
        let present = self.store.transaction(number)?;
        let id = present.row.id.clone();
        if self.state.rows.is_rejected(&id) || !self.config.filter.accepts(&present) {
            return Ok(Vec::new());
        }
        let versions = self.versions.of(number, present);
        let differences = versions.iter().map(|version| (version, shown.differences(version, &found.cells)));
        let Some((version, positions)) = differences.min_by_key(|(_, positions)| positions.len()) else {
            return Ok(Vec::new());
        };
        let different = positions.into_iter().map(|at| {
            let field = &shown.fields[at];
            Different {
                id: id.clone(),
                column: field.key().into_owned(),
                expected: in_words(field, &shown.expected(at, version)),
                found: found.cells.get(at).and_then(|cell| in_words(field, cell)),
            }
        });
        Ok(different.collect())
    }

    /// A row that has lost its id, as it was last written; each serves once.
    fn take_nameless(&mut self, number: u64, transaction: &Transaction) -> Option<FoundRow> {
        let shown = self.shown.as_ref().filter(|_| !self.nameless.is_empty())?;
        let version = self.versions.of(number, transaction.clone()).into_iter().next()?;
        let expected: Vec<Cell> = (0..shown.fields.len()).map(|at| shown.expected(at, &version)).collect();
        let alike = self.nameless.get_mut(&numbers_in(&expected))?;
        let at = alike.iter().position(|found| shown.differences(&version, &found.cells).is_empty())?;
        alike.remove(at)
    }

    /// True if a delivered row ought to be there.
    fn is_wanted(&self, transaction: &Transaction) -> bool {
        let id = transaction.row.id.as_str();
        let taken_away = transaction.vanished && self.config.rows().vanished == Vanished::Delete;
        let never = transaction.vanished && self.state.rows.is_rejected(id);
        self.config.filter.accepts(transaction) && !never && !self.state.rows.is_suppressed(id) && !taken_away
    }

    /// The verdict, once every row was heard.
    pub fn conclude(mut self) -> Result<Verdict, store::Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut verdict = Verdict::default();
        let mut delivered: Vec<(u64, u64)> = self
            .numbers
            .iter()
            .map(|(hash, number)| (*number, *hash))
            .filter(|(number, _)| *number <= self.state.watermark)
            .collect();
        delivered.sort_unstable();
        for (number, hash) in
            delivered.into_iter().filter(|(_, hash)| !self.seen.contains_key(hash)).collect::<Vec<_>>()
        {
            let transaction = self.store.transaction(number)?;
            let id = transaction.row.id.clone();
            let old = aliases(&id).iter().find_map(|alias| self.strangers.remove(alias));
            if let Some(old) = old.or_else(|| self.take_nameless(number, &transaction)) {
                let mut different = self.compare(number, &old)?;
                different.push(Different {
                    id: id.clone(),
                    column: "id".into(),
                    expected: Some(id),
                    found: Some(old.id).filter(|id| !id.is_empty()),
                });
                self.seen.insert(hash, Seen { place: old.place, doubled: false, different });
            } else if self.state.rows.is_deleted(&id) {
                verdict.deleted.push(id);
            } else if self.is_wanted(&transaction) {
                if self.state.rows.is_rejected(&id) { &mut verdict.refused } else { &mut verdict.missing }.push(id);
            }
        }
        verdict.emptied = self.seen.is_empty();
        verdict.returned =
            self.state.rows.deleted().filter(|id| self.seen.contains_key(&id_hash(id))).cloned().collect();
        let mut odd: Vec<(u64, Seen)> = self
            .seen
            .into_iter()
            .filter(|(_, seen)| seen.doubled || !seen.different.is_empty())
            .map(|(hash, seen)| (self.numbers.get(&hash).copied().unwrap_or_default(), seen))
            .collect();
        odd.sort_by_key(|(number, _)| *number);
        for (number, seen) in odd {
            if seen.doubled {
                verdict.doubled.push(self.store.transaction(number)?.row.id);
            }
            verdict.different.extend(seen.different);
        }
        Ok(verdict)
    }
}

/// A key that tells most rows apart without comparing every pair.
fn numbers_in(cells: &[Cell]) -> String {
    let number = |cell: &Cell| if let Cell::Number(number) = cell { format!("{number:.2} ") } else { String::new() };
    cells.iter().map(number).collect()
}

impl Reader for Findings<'_> {
    fn begin(&mut self, shown: Shown) {
        self.shown = Some(shown);
        self.seen.clear();
        self.strangers.clear();
        self.nameless.clear();
        self.failed = None;
    }

    fn row(&mut self, found: FoundRow) {
        if self.failed.is_some() {
            return;
        }
        if found.id.is_empty() {
            self.nameless.entry(numbers_in(&found.cells)).or_default().push_back(found);
            return;
        }
        let hash = id_hash(&found.id);
        let taken = match self.numbers.get(&hash) {
            Some(number) => self.take(hash, *number, &found),
            None => {
                self.strangers.entry(found.id.clone()).or_insert(found);
                Ok(())
            }
        };
        self.failed = taken.err();
    }
}
