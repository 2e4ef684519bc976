//! The ledger in the spreadsheet, and the guard that lets each batch apply only once.
//!
//! An entry of developer metadata names the batch that was applied last, and is written in the same all-or-nothing request
//! as the rows. The guard is a named range whose name holds the batch's number: a second batch of that number is refused
//! whole. The pair works as a compare-and-swap on the number. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::destination::BatchStatus;
use crate::model::{Transaction, id_hash};

/// Key of the ledger's metadata entry.
pub(super) const LEDGER_KEY: &str = "bankfeed.ledger";

/// Number of the latest batches that the ledger can tell apart.
const REMEMBERED: usize = 8;
/// The least time that a guard stands. A request runs for 180 s at most; an hour is plenty.
const GUARD_SECS: u64 = 3_600;
/// Most guards removed by one batch, so that its size stays small.
const MOST_REMOVED: u64 = 100;
/// Most accounts the ledger speaks of.
const MOST_ACCOUNTS: usize = 100;
/// Most runs of guards the ledger speaks of; far more than an hour can bring.
const MOST_RUNS: usize = 200;

/// Guards of consecutive batches, not yet removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    from: u64,
    to: u64,
    /// When the latest of them was first sent, in seconds since 1970.
    sent: u64,
}

/// The content of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// A copied spreadsheet copies its metadata; a ledger of another spreadsheet is not ours.
    #[serde(rename = "spreadsheetId")]
    pub spreadsheet: String,
    /// The destination it belongs to.
    pub destination: String,
    /// Number of the batch applied last.
    pub seq: u64,
    /// The hash of that batch, as sixteen hexadecimal digits; empty where unknown.
    pub hash: String,
    /// Rows appended in all; one that was put back counts once.
    pub rows: u64,
    /// Sum of the hashes of their ids.
    #[serde(default)]
    pub ids: u64,
    /// The latest time among them, by account. With `rows` and `ids` it tells a lost store which absent rows the owner
    /// deleted.
    #[serde(default)]
    pub through: BTreeMap<String, i64>,
    /// Numbers and hashes of the latest batches, newest last.
    #[serde(default)]
    pub recent: Vec<(u64, String)>,
    /// Guards that still stand.
    #[serde(default)]
    pub guards: Vec<Standing>,
}

impl Ledger {
    /// The hash of batch `number`, where it is known to have been applied; 0 where only that much is known.
    pub fn applied(&self, number: u64) -> Option<u64> {
        if number > self.seq {
            return None;
        }
        let remembered = self.recent.iter().rev().find(|(known, _)| *known == number);
        let hash = remembered.map_or(if number == self.seq { self.hash.as_str() } else { "" }, |(_, hash)| hash);
        Some(u64::from_str_radix(hash, 16).unwrap_or(0))
    }

    /// The fate of a batch, by this ledger.
    pub fn settle(&self, number: u64, hash: u64) -> BatchStatus {
        match self.applied(number) {
            None => BatchStatus::NotApplied,
            Some(known) if known == hash => BatchStatus::Applied,
            Some(known) => BatchStatus::Superseded { hash: known },
        }
    }

    /// The numbers of guards that a batch sent `now` may remove: old, and never the two latest.
    pub fn removable(&self, number: u64, now: u64) -> Vec<u64> {
        let old = self.guards.iter().filter(|run| run.sent + GUARD_SECS < now);
        let numbers = old.flat_map(|run| run.from..=run.to).filter(|guard| guard + 2 <= number);
        numbers.take(MOST_REMOVED as usize).collect()
    }

    /// The ledger once batch `number` has been applied and the guards `removed` are gone.
    pub fn next(&self, number: u64, hash: u64, rows: u64, now: u64, removed: &[u64]) -> Ledger {
        let hash = format!("{hash:016x}");
        let mut next = Ledger { seq: number, hash: hash.clone(), rows: self.rows + rows, ..self.clone() };
        next.recent.push((number, hash));
        next.recent.drain(..next.recent.len().saturating_sub(REMEMBERED));
        for run in &mut next.guards {
            // Removed are always the lowest numbers.
            let gone = removed.iter().filter(|guard| (run.from..=run.to).contains(guard)).count() as u64;
            run.from += gone;
        }
        next.guards.retain(|run| run.from <= run.to);
        match next.guards.last_mut() {
            Some(run) if run.to + 1 == number && now < run.sent + GUARD_SECS && run.to - run.from < MOST_REMOVED => {
                (run.to, run.sent) = (number, now);
            }
            _ => next.guards.push(Standing { from: number, to: number, sent: now }),
        }
        next.guards.drain(..next.guards.len().saturating_sub(MOST_RUNS));
        next
    }

    /// Notes rows appended for the first time.
    pub fn advance<'a>(&mut self, rows: impl Iterator<Item = &'a Transaction>) {
        for transaction in rows {
            self.ids = self.ids.wrapping_add(id_hash(&transaction.row.id));
            let time = transaction.row.time.timestamp();
            let is_full = self.through.len() >= MOST_ACCOUNTS;
            match self.through.get_mut(&*transaction.account) {
                Some(through) => *through = time.max(*through),
                // More would crowd out the rest; without them an absent row counts as never delivered.
                None if is_full => {}
                None => drop(self.through.insert(transaction.account.to_string(), time)),
            }
        }
    }

    /// As the entry's value.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Names of guards, all from one spreadsheet and destination.
#[derive(Clone, Debug)]
pub(super) struct Guards {
    prefix: String,
    metadata_id: i32,
}

impl Guards {
    /// The names for this destination in this spreadsheet.
    pub fn new(spreadsheet: &str, destination: &str) -> Guards {
        let hash = xxh3_64(format!("{spreadsheet}\0{destination}").as_bytes());
        let name: String = destination
            .chars()
            .take(40)
            .map(|c| c.to_ascii_lowercase())
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        // Metadata ids are positive; some room stays above.
        let metadata_id = ((hash >> 32) as u32 & 0x3fff_ffff).max(1) as i32;
        Guards { prefix: format!("bankfeed_{name}_{:08x}_", hash as u32), metadata_id }
    }

    /// The guard of a batch; also the id that its named range gets.
    pub fn name(&self, number: u64) -> String {
        format!("{}{number:06}", self.prefix)
    }

    /// The guard of the `n`th change of the layout.
    pub fn setup_name(&self, n: u64) -> String {
        format!("{}setup_{n:03}", self.prefix)
    }

    /// The number in a guard's name.
    pub fn number(&self, name: &str) -> Option<u64> {
        name.strip_prefix(&self.prefix)?.parse().ok()
    }

    /// The number in the name of a guard of a layout change.
    pub fn setup_number(&self, name: &str) -> Option<u64> {
        name.strip_prefix(&self.prefix)?.strip_prefix("setup_")?.parse().ok()
    }

    /// The ledger's own metadata id, chosen so that it cannot be created twice.
    pub fn metadata_id(&self) -> i32 {
        self.metadata_id
    }

    /// True where a refusal says that a batch of this number has been applied: in Google's exact sentence, of which two
    /// spellings are known.
    pub fn refused(&self, number: u64, message: &str) -> bool {
        let name = self.name(number);
        ["name: ", "name "].iter().any(|start| {
            message
                == format!(
                    "Invalid requests[0].addNamedRange: Cannot add named range with {start}{name}, a named range with that name already exists."
                )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_settles_what_it_remembers() {
        let mut ledger = Ledger::default();
        for number in 1..=12 {
            ledger = ledger.next(number, number * 100, 5, 1_000, &[]);
        }
        assert_eq!((ledger.seq, ledger.rows), (12, 60));
        assert_eq!(ledger.settle(13, 1), BatchStatus::NotApplied);
        assert_eq!(ledger.settle(12, 1200), BatchStatus::Applied);
        assert_eq!(ledger.settle(12, 1), BatchStatus::Superseded { hash: 1200 });
        assert_eq!(ledger.settle(6, 600), BatchStatus::Applied);
        assert_eq!(ledger.settle(2, 200), BatchStatus::Superseded { hash: 0 });
        let again: Ledger = serde_json::from_str(&ledger.to_json()).unwrap();
        assert_eq!(again, ledger);
    }

    #[test]
    fn guards_are_removed_late_and_never_the_last_two() {
        let hour = GUARD_SECS + 1;
        let mut ledger = Ledger::default();
        for number in 1..=3 {
            ledger = ledger.next(number, 7, 1, 1_000, &[]);
        }
        assert!(ledger.removable(4, 1_100).is_empty());
        let removed = ledger.removable(4, 1_000 + hour);
        assert_eq!(removed, [1, 2]);
        ledger = ledger.next(4, 7, 1, 1_000 + hour, &removed);
        assert_eq!(ledger.removable(5, 1_000 + 2 * hour), [3]);
    }

    #[test]
    fn a_long_delivery_keeps_the_ledger_small() {
        let mut ledger = Ledger::default();
        for number in 1..=5_000 {
            let removed = ledger.removable(number, number);
            ledger = ledger.next(number, u64::MAX, 3_000, number, &removed);
        }
        assert!(ledger.to_json().len() < 6_000, "{}", ledger.to_json().len());
    }

    #[test]
    fn only_the_exact_sentence_is_the_guard() {
        let guards = Guards::new("1AbC", "Дом 1");
        let name = guards.name(42);
        assert!(name.starts_with("bankfeed_____1_") && name.ends_with("_000042"), "{name}");
        let sentence = |start: &str, name: &str| {
            format!(
                "Invalid requests[0].addNamedRange: Cannot add named range with {start}{name}, a named range with that name already exists."
            )
        };
        assert!(guards.refused(42, &sentence("name: ", &name)));
        assert!(guards.refused(42, &sentence("name ", &name)));
        assert!(!guards.refused(43, &sentence("name: ", &name)));
        assert!(!guards.refused(42, &format!("{} ", sentence("name: ", &name))));
        assert!(!guards.refused(42, "Invalid requests[1].appendCells: No grid with id: 7"));
        assert_eq!(guards.number(&name), Some(42));
        assert_eq!(guards.number(&guards.setup_name(3)), None);
        assert_eq!(guards.setup_number(&guards.setup_name(3)), Some(3));
        assert_ne!(guards.name(1), Guards::new("1AbC", "Дом 2").name(1));
    }
}
