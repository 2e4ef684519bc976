//! The bank's rows compared with the store's: finds the rows that are new, changed, vanished or back, also under new ids
//! ([`matching`]), and checks the chain of balances. Pure: no store, no clock.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::model::{Row, bgn_to_eur, id_hash, is_near, payload};

mod chain;
pub mod matching;

pub use chain::{Break, Chain, number_in, worded};

/// The part of a stored row that is known without opening its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Number of the row in the store.
    pub number: u64,
    /// Fingerprint of its payload as last stored.
    pub fingerprint: u64,
    /// Date of the row as last stored.
    pub date: NaiveDate,
    /// The bank no longer shows it.
    pub vanished: bool,
}

/// Rows of one account by the hash of their id.
pub type KnownRows = HashMap<u64, Known, std::hash::BuildHasherDefault<IdentityHasher>>;

/// The keys are hashes already; hashing them again would be waste on the hottest path.
#[derive(Default)]
pub struct IdentityHasher(u64);

impl std::hash::Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Fingerprint of a payload exactly as received. Stored, so it must never change.
pub fn fingerprint(raw: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(raw.as_bytes())
}

/// Numbers of rows, or hashes of ids.
type Numbers = HashSet<u64, std::hash::BuildHasherDefault<IdentityHasher>>;

/// Decides about the rows of one account as they come in.
pub struct Reconciler {
    window: KnownRows,
    seen: Numbers,
    /// Rows that the bank shows and that cannot be read.
    spared: Numbers,
    aliases: Option<Aliases>,
}

/// The rows of one account that a listing has shown.
#[derive(Default)]
pub struct Shown {
    ids: Numbers,
    numbers: Numbers,
}

/// The further ids of rows, where a source may give some.
struct Aliases {
    by_id: KnownRows,
    /// Numbers of rows that this answer has shown, under whichever id.
    shown: Numbers,
    /// Numbers of the window's rows that the bank showed no longer before this answer.
    vanished: Numbers,
}

/// First look at a fetched row, from its id and fingerprint alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The row is known and byte for byte the same.
    Unchanged,
    /// The row is known under this number; its record must be compared.
    Compare(Known),
    /// The id is a further id of the row with this number.
    Alias(Known),
    /// The row is not known in the window; it is new unless it is known outside of the window.
    Unknown,
    /// Second row of the same id in one fetch; left aside.
    Repeated,
}

impl Reconciler {
    /// `window`: the known rows dated inside the fetched window.
    pub fn new(window: KnownRows) -> Reconciler {
        let seen = HashSet::with_capacity_and_hasher(window.len(), Default::default());
        Reconciler { window, seen, spared: Default::default(), aliases: None }
    }

    /// `aliases`: the further ids in the fetched window.
    pub fn with_aliases(self, aliases: KnownRows) -> Reconciler {
        let vanished = self.window.values().filter(|known| known.vanished).map(|known| known.number).collect();
        Reconciler { aliases: Some(Aliases { by_id: aliases, shown: Default::default(), vanished }), ..self }
    }

    /// Takes over what the parts of the listing before this one have shown.
    pub fn resume(&mut self, shown: Shown) {
        self.seen.extend(shown.ids);
        if let Some(aliases) = &mut self.aliases {
            aliases.shown.extend(shown.numbers);
        }
    }

    /// Gives away what the listing has shown so far.
    pub fn take_shown(&mut self) -> Shown {
        let numbers = self.aliases.as_mut().map(|aliases| std::mem::take(&mut aliases.shown));
        Shown { ids: std::mem::take(&mut self.seen), numbers: numbers.unwrap_or_default() }
    }

    /// The number of known rows in the window.
    pub fn known(&self) -> usize {
        self.window.len()
    }

    /// Looks at one fetched row.
    pub fn look(&mut self, row: &Row) -> Look {
        let hash = id_hash(&row.id);
        if !self.seen.insert(hash) {
            return Look::Repeated;
        }
        let Some(known) = self.window.get(&hash) else {
            let alias = self.aliases.as_ref().and_then(|aliases| aliases.by_id.get(&hash));
            return alias.map_or(Look::Unknown, |known| Look::Alias(*known));
        };
        if let Some(aliases) = &mut self.aliases {
            aliases.shown.insert(known.number);
        }
        if known.fingerprint == fingerprint(&row.raw) && !known.vanished && known.date == row.date {
            Look::Unchanged
        } else {
            Look::Compare(*known)
        }
    }

    /// Notes that this answer shows the row with this number. False where the answer has shown the row before.
    pub fn show(&mut self, number: u64) -> bool {
        self.aliases.as_mut().is_none_or(|aliases| aliases.shown.insert(number))
    }

    /// True where this answer has shown the row with this number, under whichever id.
    pub fn is_shown(&self, number: u64) -> bool {
        self.aliases.as_ref().is_some_and(|aliases| aliases.shown.contains(&number))
    }

    /// True where a row with this id has come.
    pub fn is_seen(&self, id: &str) -> bool {
        self.seen.contains(&id_hash(id))
    }

    /// True where the row under this further id is byte for byte as it was.
    pub fn is_unchanged(&self, alias: Known, row: &Row) -> bool {
        let vanished = self.aliases.as_ref().is_some_and(|aliases| aliases.vanished.contains(&alias.number));
        alias.fingerprint == fingerprint(&row.raw) && alias.date == row.date && !vanished
    }

    /// Notes that the bank shows a row with this id whose other fields cannot be read: the row has not vanished.
    pub fn spare(&mut self, id: &str) {
        let hash = id_hash(id);
        self.spared.insert(hash);
        if let Some(aliases) = &mut self.aliases
            && let Some(known) = aliases.by_id.get(&hash)
        {
            aliases.shown.insert(known.number);
        }
    }

    /// The window's known rows that the bank did not show and that are not marked yet, in the order they were first
    /// seen.
    pub fn vanished(&self) -> Vec<Known> {
        let is_missing = |hash: &u64, known: &Known| {
            !self.seen.contains(hash) && !self.spared.contains(hash) && !self.is_shown(known.number)
        };
        let missing = |(hash, known): (&u64, &Known)| (!known.vanished && is_missing(hash, known)).then_some(*known);
        let mut vanished: Vec<Known> = self.window.iter().filter_map(missing).collect();
        vanished.sort_by_key(|known| known.number);
        vanished
    }
}

/// The difference between a stored row and the bank's present version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The content is the same, perhaps spelled differently.
    None,
    /// The entry is restated from leva to euros at the fixed rate, which is no correction.
    Restated,
    /// The bank's data differs.
    Changed,
}

/// Compares the stored row with the fetched one.
pub fn compare(stored: &Row, fetched: &Row) -> Difference {
    if same_words(stored, fetched) && same_money(stored, fetched) && same_payload(&stored.raw, &fetched.raw) {
        return Difference::None;
    }
    if is_restated(stored, fetched) && same_words(stored, fetched) { Difference::Restated } else { Difference::Changed }
}

/// Compares the stored row with the fetched one of a source whose ids and payloads change by themselves: words and money
/// decide.
pub fn compare_words(stored: &Row, fetched: &Row) -> Difference {
    match (same_words(stored, fetched), same_money(stored, fetched)) {
        (true, true) => Difference::None,
        (true, false) if is_restated(stored, fetched) => Difference::Restated,
        _ => Difference::Changed,
    }
}

/// The version to store of a fetched row that differs from the stored one: an entry keeps the currency it was first
/// seen in, and with it its figures. The payload stays as received.
pub fn as_first_seen(stored: &Row, fetched: Row) -> Row {
    if !is_restated(stored, &fetched) {
        return fetched;
    }
    Row { currency: stored.currency.clone(), amount: stored.amount, balance: stored.balance, ..fetched }
}

fn same_words(a: &Row, b: &Row) -> bool {
    a.time == b.time
        && a.date == b.date
        && a.value_date == b.value_date
        && a.counterparty == b.counterparty
        && a.counterparty_account == b.counterparty_account
        && a.description == b.description
        && a.kind == b.kind
        && a.kind_code == b.kind_code
        && a.reference == b.reference
}

fn same_money(a: &Row, b: &Row) -> bool {
    a.currency == b.currency && a.amount == b.amount && a.balance == b.balance
}

/// True if the fetched row is the stored entry, restated at the fixed rate. The amount decides: a balance in euros may
/// be off by every cent that rounding has lost along the chain, or moved by a late entry that is itself in euros, while
/// the balance in leva still follows from the rows in leva.
fn is_restated(stored: &Row, fetched: &Row) -> bool {
    // A tolerance of one cent covers the bank's unknown way of rounding.
    let near = |leva: &Row, euros: &Row| is_near(bgn_to_eur(leva.amount), euros.amount, Decimal::new(1, 2));
    match (stored.currency.as_str(), fetched.currency.as_str()) {
        ("BGN", "EUR") => near(stored, fetched),
        ("EUR", "BGN") => near(fetched, stored),
        _ => false,
    }
}

/// True if two payloads have the same content: key order, white space, the spelling of a number (100, 100.00, "100")
/// and empty or absent values make no difference.
fn same_payload(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (payload::read(a), payload::read(b)) {
        (Some(a), Some(b)) => same_value(&a, &b),
        _ => false,
    }
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let covered = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
                a.iter().all(|(key, value)| same_value(value, b.get(key).unwrap_or(&Value::Null)))
            };
            covered(a, b) && covered(b, a)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b)),
        _ => scalar(a) == scalar(b),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(_) | Value::String(_) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.parse::<Decimal>().map_or(text, |number| number.normalize().to_string())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn row(number: u32, minute: u32, amount: &str, balance: &str) -> Row {
        let time = DateTime::parse_from_rfc3339(&format!("2026-02-03T10:{minute:02}:00+02:00")).unwrap();
        Row {
            id: format!("fibank:BG32FINV91501000000001:{number}"),
            time,
            date: time.date_naive(),
            value_date: None,
            amount: amount.parse().unwrap(),
            currency: "EUR".into(),
            balance: Some(balance.parse().unwrap()),
            counterparty: "ИЗМИСЛЕН ЕООД".into(),
            counterparty_account: String::new(),
            description: String::new(),
            kind: String::new(),
            kind_code: String::new(),
            reference: String::new(),
            raw: format!(r#"{{"acEntrySrNo":{number},"amount":{amount}}}"#),
        }
    }

    fn chain(rows: &[Row]) -> Chain {
        let mut chain = Chain::default();
        rows.iter().for_each(|row| chain.add(row));
        chain
    }

    #[test]
    fn a_missing_row_breaks_the_chain() {
        let rows = [row(1, 1, "-10", "90"), row(2, 2, "-20", "70"), row(3, 3, "5", "75")];
        assert!(chain(&rows).breaks(Some("100".parse().unwrap()), Some("75".parse().unwrap())).is_empty());
        let holed = [rows[0].clone(), rows[2].clone()];
        let breaks = chain(&holed).breaks(None, None);
        assert_eq!(breaks.len(), 1);
        assert_eq!((breaks[0].expected, breaks[0].found), ("95".parse().unwrap(), "75".parse().unwrap()));
        assert_eq!(chain(&rows[..2]).breaks(None, Some("75".parse().unwrap())).len(), 1, "the last row is missing");
        assert_eq!(chain(&rows[1..]).breaks(Some("100".parse().unwrap()), None).len(), 1, "the first row is missing");
    }

    #[test]
    fn rows_of_one_instant_follow_in_any_order() {
        let rows = [row(2, 1, "-20", "70"), row(1, 1, "-10", "90"), row(3, 2, "5", "75")];
        assert!(chain(&rows).breaks(Some("100".parse().unwrap()), None).is_empty());
    }

    #[test]
    fn the_switch_to_the_euro_carries_the_balance_over() {
        let mut leva = row(1, 1, "-10", "195.58");
        leva.currency = "BGN".into();
        let euros = row(2, 2, "-50", "50");
        assert!(chain(&[leva, euros]).breaks(None, None).is_empty());
    }

    #[test]
    fn spelling_is_no_change_and_content_is() {
        let stored = row(1, 1, "-10", "90");
        let mut fetched = stored.clone();
        fetched.raw = r#"{ "amount":"-10.00", "acEntrySrNo":1, "remI":null }"#.into();
        assert_eq!(compare(&stored, &fetched), Difference::None);
        fetched.raw = r#"{"acEntrySrNo":1,"amount":-10,"isPayment":"Y"}"#.into();
        assert_eq!(compare(&stored, &fetched), Difference::Changed);
    }

    #[test]
    fn restated_history_is_no_correction() {
        let mut stored = row(1, 1, "-100", "1955.83");
        stored.currency = "BGN".into();
        let mut fetched = row(1, 1, "-51.13", "1000");
        assert_eq!(compare(&stored, &fetched), Difference::Restated);
        fetched.amount = "-51.20".parse().unwrap();
        assert_eq!(compare(&stored, &fetched), Difference::Changed);
        assert_eq!(as_first_seen(&stored, fetched.clone()), fetched, "another amount is the bank's word");
    }

    #[test]
    fn a_restated_row_keeps_its_first_currency_and_takes_every_other_change() {
        let (mut leva, mut euros) = (row(1, 1, "-100", "1955.83"), row(1, 1, "-51.13", "1000.01"));
        leva.currency = "BGN".into();
        euros.description = "поправка".into();
        for (stored, fetched) in [(&leva, &euros), (&euros, &leva)] {
            assert_eq!(compare(stored, fetched), Difference::Changed);
            let kept = as_first_seen(stored, fetched.clone());
            let figures = |row: &Row| (row.currency.clone(), row.amount, row.balance);
            assert_eq!(figures(&kept), figures(stored));
            assert_eq!((&kept.description, &kept.raw), (&fetched.description, &fetched.raw));
        }
        // A late entry before this one has moved its balance, or rounding has.
        euros.balance = Some("1010".parse().unwrap());
        euros.description = String::new();
        assert_eq!(compare(&leva, &euros), Difference::Restated);
        assert_eq!(as_first_seen(&leva, euros).balance, leva.balance);
    }

    /// A chain with a gap of -5 between two rows, and rows of another source.
    fn gap(loose: &[(&str, u32)]) -> Vec<Break> {
        let mut chain = Chain::default();
        let day = |row: Row, days: u32| Row {
            date: row.date + chrono::Days::new(days.into()),
            time: row.time + chrono::Days::new(days.into()),
            ..row
        };
        chain.add(&row(1, 1, "-10", "90"));
        chain.add(&day(row(2, 2, "-10", "75"), 4));
        loose.iter().for_each(|(amount, days)| chain.add_loose(&day(row(9, 9, amount, "0"), *days)));
        chain.breaks(None, None)
    }

    #[test]
    fn rows_of_another_source_close_a_gap_that_they_add_up_to() {
        assert_eq!(gap(&[]).len(), 1);
        assert_eq!(gap(&[("-5", 2)]), []);
        assert_eq!(gap(&[("-3", 1), ("-2", 3)]), []);
        // A row of the days inside belongs to the gap, a row at an edge may.
        assert_eq!(gap(&[("-5", 2), ("-1", 3)]).len(), 1);
        assert_eq!(gap(&[("-5", 2), ("-1", 4)]), []);
        assert_eq!(gap(&[("-5", 0), ("-1", 4)]), []);
        assert_eq!(gap(&[("-5", 5)]).len(), 1, "a later row");
        assert_eq!(gap(&[("5", 2)]).len(), 1);
    }

    #[test]
    fn a_row_the_bank_no_longer_shows_has_vanished_once() {
        let (kept, gone) = (row(1, 1, "-10", "90"), row(2, 2, "-20", "70"));
        let known = |row: &Row, vanished| {
            (id_hash(&row.id), Known { number: 7, fingerprint: fingerprint(&row.raw), date: row.date, vanished })
        };
        let mut reconciler = Reconciler::new([known(&kept, false), known(&gone, false)].into_iter().collect());
        assert_eq!(reconciler.look(&kept), Look::Unchanged);
        assert_eq!(reconciler.look(&kept), Look::Repeated);
        assert_eq!(reconciler.vanished().len(), 1);
        let reconciler = Reconciler::new([known(&gone, true)].into_iter().collect());
        assert!(reconciler.vanished().is_empty());
    }
}
