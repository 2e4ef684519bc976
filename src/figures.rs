//! The money that counts as spent and earned, on page, workbook and sheet alike ([`standing`]), and the sums behind the charts: pure,
//! one pass over the transactions, memory bounded by months, days and names.
//!
//! Leva and euros are one unit, euros, at the fixed rate; every other currency is a unit of its own and never added to
//! another. Money that moves between the owner's own accounts is neither spent nor earned and is left out.

use std::collections::{BTreeMap, HashMap};

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use crate::model::{Direction, Transaction, bgn_to_eur, is_in_bounds, plus, total};

/// Names told apart; what comes after them counts as the rest.
const NAMES: usize = 20_000;

/// Rows of a chart of names.
const SHOWN: usize = 10;

/// More months than this are shown as years.
const MONTHS: usize = 24;

/// The part that a transaction has in the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Spent or earned.
    Counted,
    /// The bank took it back.
    TakenBack,
    /// A move between the owner's own accounts.
    Transfer,
    /// An amount of an older release that cannot be summed up.
    Impossible,
}

/// The standing of a transaction: the one rule for everything that is shown.
pub fn standing(vanished: bool, is_transfer: bool, amount: Decimal) -> Standing {
    match () {
        () if vanished => Standing::TakenBack,
        () if is_transfer => Standing::Transfer,
        () if !is_in_bounds(amount) => Standing::Impossible,
        () => Standing::Counted,
    }
}

/// A month, or a year (then `month` is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Period {
    pub year: i32,
    pub month: Option<u32>,
}

/// Money in and money out, both positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Flow {
    pub debit: Decimal,
    pub credit: Decimal,
    pub fees: Decimal,
}

impl std::ops::AddAssign for Flow {
    fn add_assign(&mut self, other: Flow) {
        self.debit = plus(self.debit, other.debit);
        self.credit = plus(self.credit, other.credit);
        self.fees = plus(self.fees, other.fees);
    }
}

/// A name in a chart; the empty name stands for rows without one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Share {
    pub name: String,
    pub amount: Decimal,
    pub count: u64,
}

/// The largest shares, and what the others come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Shares {
    pub largest: Vec<Share>,
    pub rest: Option<Share>,
}

/// An account's balance at the end of each day it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Balance {
    pub account: String,
    pub name: String,
    pub days: Vec<(NaiveDate, Decimal)>,
}

/// Everything the charts of one unit show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Figures {
    pub unit: String,
    /// Every unit there is, with its number of transactions.
    pub units: BTreeMap<String, u64>,
    pub total: Flow,
    pub periods: Vec<(Period, Flow)>,
    /// `categories` come from the owner's rules; else they are the bank's kinds of operation.
    pub by_rules: bool,
    pub categories: Shares,
    pub paid_to: Shares,
    pub received_from: Shares,
    pub balances: Vec<Balance>,
    /// Transfers between own accounts that were left out.
    pub own_transfers: u64,
    /// Rows the bank took back, left out too.
    pub vanished: u64,
    /// Ids of rows whose amounts are too large to be summed up, whatever their unit; the first few of them.
    pub impossible: Vec<String>,
}

/// Ids of rows with impossible amounts that are named.
const NAMED: usize = 10;

/// Gathers figures from transactions in the order of time.
#[derive(Default)]
pub struct Gather {
    units: BTreeMap<String, Unit>,
    impossible: Vec<String>,
}

#[derive(Default)]
struct Unit {
    rows: u64,
    months: BTreeMap<(i32, u32), Flow>,
    by_category: Tally,
    by_kind: Tally,
    paid_to: Tally,
    received_from: Tally,
    balances: BTreeMap<String, (String, BTreeMap<NaiveDate, Decimal>)>,
    own_transfers: u64,
    vanished: u64,
}

impl Gather {
    /// Takes the balance after a transaction in, whether or not the transaction itself is counted.
    pub fn add_balance(&mut self, transaction: &Transaction) {
        let row = &transaction.row;
        let balance = row.balance.filter(|balance| !transaction.vanished && is_in_bounds(*balance));
        let Some(balance) = balance else { return };
        let balance = if row.currency == "BGN" { bgn_to_eur(balance) } else { balance };
        let account = self.unit(transaction).0.balances.entry(transaction.account.to_string());
        let (_, days) = account.or_insert_with(|| (transaction.account_name.to_string(), BTreeMap::new()));
        days.insert(row.date, balance);
    }

    /// Counts one more transaction.
    pub fn add(&mut self, transaction: &Transaction) {
        let standing = standing(transaction.vanished, !transaction.transfer.is_empty(), transaction.row.amount);
        if standing == Standing::Impossible && self.impossible.len() < NAMED {
            self.impossible.push(transaction.row.id.clone());
        }
        let (unit, amount) = self.unit(transaction);
        unit.rows += 1;
        match standing {
            Standing::Counted => unit.count(transaction, amount),
            Standing::TakenBack => unit.vanished += 1,
            Standing::Transfer => unit.own_transfers += 1,
            Standing::Impossible => {}
        }
    }

    /// The unit a transaction belongs to, and its amount in it.
    fn unit(&mut self, transaction: &Transaction) -> (&mut Unit, Decimal) {
        let row = &transaction.row;
        let (name, amount) = match row.amount_eur() {
            Some(amount) => ("EUR", amount),
            None => (row.currency.as_str(), row.amount),
        };
        (self.units.entry(name.to_owned()).or_default(), amount)
    }

    /// The figures of one unit: the one asked for if there is one, else euros, else the commonest.
    pub fn finish(mut self, asked: Option<&str>) -> Figures {
        let counted = self.units.iter().filter(|(_, unit)| unit.rows > 0);
        let units: BTreeMap<String, u64> = counted.map(|(name, unit)| (name.clone(), unit.rows)).collect();
        let there = |name: &&str| units.contains_key(*name);
        let commonest = || units.iter().max_by_key(|(_, rows)| **rows).map(|(name, _)| name.as_str());
        let name = asked.filter(there).or(Some("EUR").filter(there)).or_else(commonest).unwrap_or("EUR").to_owned();
        let unit = self.units.remove(&name).unwrap_or_default();
        let mut total = Flow::default();
        unit.months.values().for_each(|flow| total += *flow);
        let by_rules = unit.by_category.names.keys().any(|name| !name.is_empty());
        Figures {
            unit: name,
            units,
            total,
            periods: periods(&unit.months),
            by_rules,
            categories: if by_rules { unit.by_category } else { unit.by_kind }.shares(),
            paid_to: unit.paid_to.shares(),
            received_from: unit.received_from.shares(),
            balances: unit
                .balances
                .into_iter()
                .map(|(account, (name, days))| Balance { account, name, days: days.into_iter().collect() })
                .collect(),
            own_transfers: unit.own_transfers,
            vanished: unit.vanished,
            impossible: self.impossible,
        }
    }
}

impl Unit {
    fn count(&mut self, transaction: &Transaction, amount: Decimal) {
        let row = &transaction.row;
        let month = self.months.entry((row.date.year(), row.date.month())).or_default();
        let enrichment = &transaction.enrichment;
        let party = [&enrichment.vendor, &row.counterparty, &row.kind].into_iter().find(|name| !name.is_empty());
        let party = party.map_or("", String::as_str);
        let size = amount.abs();
        if row.direction() == Direction::Credit {
            month.credit = plus(month.credit, size);
            self.received_from.add(party, size);
            return;
        }
        month.debit = plus(month.debit, size);
        if is_fee(transaction) {
            month.fees = plus(month.fees, size);
        }
        self.by_category.add(&enrichment.category, size);
        self.by_kind.add(&row.kind, size);
        self.paid_to.add(party, size);
    }
}

/// True where the bank or a rule calls the row a fee. "Такси" are taxis too, so a category is believed only in whole words.
fn is_fee(transaction: &Transaction) -> bool {
    const WORDS: [&str; 6] = ["fee", "fees", "charge", "charges", "commission", "commissions"];
    let kind = transaction.row.kind.to_lowercase();
    let category = transaction.enrichment.category.to_lowercase();
    let has_word = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| WORDS.contains(&word));
    kind.contains("такс")
        || kind.contains("комисион")
        || category.contains("комисион")
        || has_word(&kind)
        || has_word(&category)
}

/// The months from the first to the last, empty ones too; or the years where they are many.
fn periods(months: &BTreeMap<(i32, u32), Flow>) -> Vec<(Period, Flow)> {
    let (Some((first, _)), Some((last, _))) = (months.first_key_value(), months.last_key_value()) else {
        return Vec::new();
    };
    let index = |(year, month): (i32, u32)| year * 12 + month as i32 - 1;
    let span = usize::try_from(index(*last) - index(*first) + 1).unwrap_or(usize::MAX);
    if span <= MONTHS {
        let every = (index(*first)..=index(*last)).map(|at| (at.div_euclid(12), at.rem_euclid(12) as u32 + 1));
        let flow = |month| months.get(&month).copied().unwrap_or_default();
        return every.map(|month| (Period { year: month.0, month: Some(month.1) }, flow(month))).collect();
    }
    let mut years: BTreeMap<i32, Flow> = (first.0..=last.0).map(|year| (year, Flow::default())).collect();
    months.iter().for_each(|((year, _), flow)| *years.entry(*year).or_default() += *flow);
    years.into_iter().map(|(year, flow)| (Period { year, month: None }, flow)).collect()
}

/// Sums by name.
#[derive(Default)]
struct Tally {
    names: HashMap<String, (Decimal, u64)>,
    rest: (Decimal, u64),
}

impl Tally {
    fn add(&mut self, name: &str, amount: Decimal) {
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let full = self.names.len() >= NAMES && !self.names.contains_key(&name);
        let sum = if full { &mut self.rest } else { self.names.entry(name).or_default() };
        sum.0 = plus(sum.0, amount);
        sum.1 += 1;
    }

    fn shares(self) -> Shares {
        let of = |(name, (amount, count))| Share { name, amount, count };
        let mut all: Vec<Share> = self.names.into_iter().map(of).collect();
        // By name where the sums are equal, so that a page looks the same twice.
        all.sort_by(|one, other| other.amount.cmp(&one.amount).then_with(|| one.name.cmp(&other.name)));
        let smaller = all.split_off(all.len().min(SHOWN));
        let mut rest = Share { name: String::new(), amount: self.rest.0, count: self.rest.1 };
        rest.amount = total([rest.amount].into_iter().chain(smaller.iter().map(|share| share.amount)));
        rest.count += smaller.iter().map(|share| share.count).sum::<u64>();
        Shares { largest: all, rest: (rest.count > 0).then_some(rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Enrichment, Row};

    fn transaction(day: &str, amount: &str, currency: &str, party: &str) -> Transaction {
        let time = chrono::DateTime::parse_from_rfc3339(&format!("{day}T10:00:00+02:00")).unwrap();
        let row = Row {
            id: format!("x:{day}:{amount}"),
            time,
            date: time.date_naive(),
            value_date: None,
            amount: amount.parse().unwrap(),
            currency: currency.into(),
            balance: None,
            counterparty: party.into(),
            counterparty_account: String::new(),
            description: String::new(),
            kind: "Плащане".into(),
            kind_code: String::new(),
            reference: String::new(),
            raw: "{}".into(),
        };
        let (source, account) = ("fibank".into(), "BG32FINV91501000000001".into());
        let (account_name, customer) = Default::default();
        let (enrichment, transfer) = (Enrichment::default(), Default::default());
        Transaction { source, account, account_name, customer, row, enrichment, transfer, vanished: false }
    }

    fn gathered(transactions: &[Transaction], asked: Option<&str>) -> Figures {
        let mut gather = Gather::default();
        transactions.iter().for_each(|transaction| gather.add(transaction));
        gather.finish(asked)
    }

    #[test]
    fn leva_count_as_euros_and_dollars_by_themselves() {
        let rows = [
            transaction("2025-12-31", "-19.56", "BGN", "А"),
            transaction("2026-02-01", "-10", "EUR", "А"),
            transaction("2026-02-01", "7", "USD", "Б"),
        ];
        let figures = gathered(&rows, None);
        assert_eq!(figures.unit, "EUR");
        assert_eq!(figures.total.debit, "20.00".parse().unwrap());
        let months: Vec<_> =
            figures.periods.iter().map(|(period, flow)| (period.month, flow.debit.to_string())).collect();
        assert_eq!(months, [(Some(12), "10.00".into()), (Some(1), "0".into()), (Some(2), "10".into())]);
        assert_eq!(figures.paid_to.largest.len(), 1);
        assert_eq!(gathered(&rows, Some("USD")).total.credit, "7".parse().unwrap());
        assert_eq!(gathered(&rows, Some("GBP")).unit, "EUR");
    }

    #[test]
    fn what_only_moves_and_what_was_taken_back_is_not_counted() {
        let mut moved = transaction("2026-02-01", "-100", "EUR", "аз");
        moved.transfer = "BG05FINV91501000000002".into();
        let mut gone = transaction("2026-02-01", "-5", "EUR", "Б");
        gone.vanished = true;
        let mut fee = transaction("2026-02-02", "-1", "EUR", "");
        fee.row.kind = "Такси и комисиони".into();
        let mut coffee = transaction("2026-02-02", "-2", "EUR", "Кафе");
        coffee.enrichment.category = "Coffee".into();
        let figures = gathered(&[moved, gone, fee, coffee], None);
        assert_eq!((figures.own_transfers, figures.vanished), (1, 1));
        let three = "3".parse().unwrap();
        assert_eq!((figures.total.debit, figures.total.fees), (three, "1".parse().unwrap()));
        assert!(figures.by_rules);
        let names: Vec<_> = figures.categories.largest.iter().map(|share| share.name.as_str()).collect();
        assert_eq!(names, ["Coffee", ""]);
        assert_eq!(figures.paid_to.largest[1].name, "Такси и комисиони");
    }

    #[test]
    fn amounts_that_no_sum_can_hold_are_left_out_and_named() {
        let huge = "79228162514264337593543950335";
        let mut rows =
            [transaction("2026-02-01", huge, "EUR", "А"), transaction("2026-02-01", &format!("-{huge}"), "BGN", "А")];
        rows[1].row.balance = Some(huge.parse().unwrap());
        let figures = gathered(&[&rows[..], &rows, &[transaction("2026-02-01", "-2", "EUR", "Б")]].concat(), None);
        assert_eq!((figures.total.debit, figures.total.credit), ("2".parse().unwrap(), Decimal::ZERO));
        assert_eq!(figures.impossible.len(), 4);
        let mut gather = Gather::default();
        gather.add_balance(&rows[1]);
        assert!(gather.finish(None).balances.is_empty());
    }

    #[test]
    fn many_months_become_years_and_many_names_a_rest() {
        let rows: Vec<_> = (0..40)
            .map(|at| transaction(&format!("{}-{:02}-01", 2020 + at / 12, at % 12 + 1), "-1", "EUR", &format!("N{at}")))
            .collect();
        let figures = gathered(&rows, None);
        let years: Vec<_> = figures.periods.iter().map(|(period, _)| (period.year, period.month)).collect();
        assert_eq!(years, [(2020, None), (2021, None), (2022, None), (2023, None)]);
        assert_eq!(figures.paid_to.largest.len(), SHOWN);
        assert_eq!(figures.paid_to.rest.map(|rest| rest.count), Some(30));
    }
}
