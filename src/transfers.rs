//! Transfers between the owner's own accounts: finds the two rows that are the halves of one transfer. Pure: no store,
//! no clock.
//!
//! Two rows are a pair if they lie on different accounts of the owner, within a few days, one out and one in, of one
//! amount, and evidence says that they belong together: a row names the other's account as its counterparty, or the
//! rows share a reference. A row that names somebody else's account is no half of a transfer; rows that cannot be
//! paired with certainty stay single as well.

use std::collections::HashMap;

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;

use crate::model::{Row, bgn_to_eur, is_in_bounds, is_near};

/// Days between the halves at most: a weekend and a holiday between two banks.
pub const MOST_DAYS: i64 = 5;

/// The fewest characters of a reference that is one; shorter ones are counters and placeholders.
const SHORTEST_REFERENCE: usize = 4;

/// The parts of a row that pairing needs.
#[derive(Clone, Debug)]
pub struct Half {
    number: u64,
    account: u16,
    names: Named,
    time: DateTime<FixedOffset>,
    date: NaiveDate,
    amount: Decimal,
    currency: String,
    reference: String,
}

/// The account that a row names as its counterparty's: no account, an own one, or somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Nobodys,
    Own(u16),
    Somebodys,
}

/// The other half of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// The number of its account.
    pub account: u16,
    /// The number of the row.
    pub number: u64,
}

/// The owner's accounts by their names in rows.
#[derive(Clone, Debug, Default)]
pub struct OwnAccounts(HashMap<String, u16>);

/// The evidence that two rows belong together, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sign {
    /// Rows of two currencies name each other's account, and time or reference agree.
    Exchange,
    /// Rows share a reference.
    Reference,
    /// Only one row names the other's account.
    OneNames,
    /// Rows name each other's account.
    BothName,
}

/// Two rows that may be a pair.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    sign: Sign,
    same_reference: bool,
    seconds: i64,
    debit: usize,
    credit: usize,
}

impl OwnAccounts {
    /// Accounts with their numbers; one that is known by several sources has the number it was given first.
    pub fn new<'a>(accounts: impl IntoIterator<Item = (&'a str, u16)>) -> OwnAccounts {
        let mut own = HashMap::new();
        for (account, number) in accounts {
            own.entry(compact(account)).or_insert(number);
        }
        OwnAccounts(own)
    }

    /// The number of the account of this name.
    fn number(&self, account: &str) -> Option<u16> {
        self.0.get(&compact(account)).copied()
    }
}

impl Half {
    /// The row as a half on this account of the owner; `None` if it cannot be half of a transfer.
    pub fn new(number: u64, account: &str, row: &Row, own: &OwnAccounts) -> Option<Half> {
        let account = own.number(account)?;
        let names = match (row.counterparty_account.trim(), own.number(&row.counterparty_account)) {
            ("", _) => Named::Nobodys,
            // A bank that writes the entry's own account in this field names no counterparty.
            (_, Some(named)) if named == account => Named::Nobodys,
            (_, Some(named)) => Named::Own(named),
            _ => Named::Somebodys,
        };
        let impossible = row.amount.is_zero() || !is_in_bounds(row.amount) || names == Named::Somebodys;
        (!impossible).then(|| Half {
            number,
            account,
            names,
            time: row.time,
            date: row.date,
            amount: row.amount,
            currency: row.currency.clone(),
            reference: if is_reference(&row.reference) { row.reference.clone() } else { String::new() },
        })
    }

    fn is_debit(&self) -> bool {
        self.amount.is_sign_negative()
    }

    /// The size of the amount by which halves find each other, to the cent: in euros where it is in leva.
    fn size(&self) -> Decimal {
        let amount = if self.currency == "BGN" { bgn_to_eur(self.amount) } else { self.amount };
        amount.abs().round_dp(2)
    }
}

/// The other half of every row that is half of a transfer, by the number of the row.
pub fn pair(halves: &[Half]) -> HashMap<u64, Other> {
    let mut candidates = candidates(halves);
    drop_doubtful(&mut candidates, halves);
    candidates.sort_by_key(|one| {
        let order = (halves[one.debit].number, halves[one.credit].number);
        (std::cmp::Reverse((one.sign, one.same_reference)), one.seconds, order)
    });
    let mut paired = HashMap::new();
    for Candidate { debit, credit, .. } in candidates {
        let (debit, credit) = (&halves[debit], &halves[credit]);
        if !paired.contains_key(&debit.number) && !paired.contains_key(&credit.number) {
            paired.insert(debit.number, Other { account: credit.account, number: credit.number });
            paired.insert(credit.number, Other { account: debit.account, number: debit.number });
        }
    }
    paired
}

fn candidates(halves: &[Half]) -> Vec<Candidate> {
    let mut by_size: HashMap<Decimal, Vec<usize>> = HashMap::new();
    let mut by_name: HashMap<(u16, u16), Vec<usize>> = HashMap::new();
    for (at, half) in halves.iter().enumerate().filter(|(_, half)| !half.is_debit()) {
        by_size.entry(half.size()).or_default().push(at);
        if let Named::Own(other) = half.names {
            by_name.entry((other, half.account)).or_default().push(at);
        }
    }
    let cent = Decimal::new(1, 2);
    let mut found = Vec::new();
    for (at, half) in halves.iter().enumerate().filter(|(_, half)| half.is_debit()) {
        let size = half.size();
        // A restated amount may be off by a cent.
        for near in [size, size + cent, size - cent] {
            let credits = by_size.get(&near).into_iter().flatten();
            found.extend(credits.filter_map(|credit| candidate(halves, at, *credit)));
        }
        if let Named::Own(other) = half.names {
            let credits = by_name.get(&(half.account, other)).into_iter().flatten();
            found.extend(credits.filter_map(|credit| exchange(halves, at, *credit)));
        }
    }
    found
}

/// The two as a pair of one amount.
fn candidate(halves: &[Half], debit: usize, credit: usize) -> Option<Candidate> {
    let (out, into) = (&halves[debit], &halves[credit]);
    let same_reference = !out.reference.is_empty() && out.reference == into.reference;
    let names = |one: &Half, other: &Half| match one.names {
        Named::Nobodys => Some(false),
        Named::Own(named) if named == other.account => Some(true),
        _ => None,
    };
    let sign = match (names(out, into)?, names(into, out)?) {
        (true, true) => Sign::BothName,
        (true, false) | (false, true) => Sign::OneNames,
        (false, false) if same_reference => Sign::Reference,
        (false, false) => return None,
    };
    let fits = are_close(out, into) && is_one_amount(out, into);
    fits.then(|| Candidate { sign, same_reference, debit, credit, seconds: apart(out, into) })
}

/// The two as a pair of two currencies.
fn exchange(halves: &[Half], debit: usize, credit: usize) -> Option<Candidate> {
    let (out, into) = (&halves[debit], &halves[credit]);
    let same_reference = !out.reference.is_empty() && out.reference == into.reference;
    let is_exchange = out.currency != into.currency
        && !is_one_amount(out, into)
        && are_close(out, into)
        && (same_reference || out.time == into.time);
    is_exchange.then(|| Candidate { sign: Sign::Exchange, same_reference, debit, credit, seconds: apart(out, into) })
}

fn is_one_amount(out: &Half, into: &Half) -> bool {
    let in_euros = |half: &Half| match half.currency.as_str() {
        "BGN" => Some(bgn_to_eur(half.amount.abs())),
        "EUR" => Some(half.amount.abs()),
        _ => None,
    };
    if out.currency == into.currency {
        return out.amount == -into.amount;
    }
    in_euros(out).zip(in_euros(into)).is_some_and(|(out, into)| is_near(out, into, Decimal::new(1, 2)))
}

fn are_close(one: &Half, other: &Half) -> bool {
    one.account != other.account && (one.date - other.date).num_days().abs() <= MOST_DAYS
}

fn apart(one: &Half, other: &Half) -> i64 {
    (one.time - other.time).num_seconds().abs()
}

/// Removes uncertain candidates: pairs with weaker evidence than the names on both sides, if their rows have different
/// numbers of candidates, or candidates on several accounts. Equal numbers of rows out and in between two accounts are
/// as many transfers, and any way to pair them is right.
fn drop_doubtful(candidates: &mut Vec<Candidate>, halves: &[Half]) {
    let mut partners: HashMap<(usize, Sign, bool), Vec<u16>> = HashMap::new();
    for one in candidates.iter() {
        for (row, other) in [(one.debit, one.credit), (one.credit, one.debit)] {
            partners.entry((row, one.sign, one.same_reference)).or_default().push(halves[other].account);
        }
    }
    candidates.retain(|one| {
        let of = |row: usize| partners.get(&(row, one.sign, one.same_reference)).map_or(&[][..], Vec::as_slice);
        let (out, into) = (of(one.debit), of(one.credit));
        let on_one_account = |accounts: &[u16]| accounts.iter().all(|account| *account == accounts[0]);
        one.sign == Sign::BothName || (out.len() == into.len() && on_one_account(out) && on_one_account(into))
    });
}

fn compact(account: &str) -> String {
    account.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_uppercase).collect()
}

/// True for a reference that tells one operation from others; words like `NONREF` do not.
fn is_reference(text: &str) -> bool {
    text.chars().count() >= SHORTEST_REFERENCE && text.chars().any(|c| c.is_ascii_digit() && c != '0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "BG32FINV91501000000001";
    const B: &str = "BG05FINV91501000000002";
    const C: &str = "BG75FINV91501000000003";
    const FOREIGN: &str = "DE89370400440532013000";

    /// Account, day of March 2026, amount, currency, counterparty account, reference.
    type Told<'a> = (&'a str, u32, &'a str, &'a str, &'a str, &'a str);

    /// The last letter of the account that is the other side of each row, or `-`.
    fn paired(rows: &[Told<'_>]) -> String {
        let own = OwnAccounts::new([(A, 1), (B, 2), (C, 3)]);
        let halves = rows.iter().zip(1..).filter_map(|((account, day, amount, currency, other, reference), number)| {
            let time = DateTime::parse_from_rfc3339(&format!("2026-03-{day:02}T10:00:00+02:00")).unwrap();
            let row = Row {
                id: format!("x:{account}:{number}"),
                time,
                date: time.date_naive(),
                value_date: None,
                amount: amount.parse().unwrap(),
                currency: (*currency).into(),
                balance: None,
                counterparty: String::new(),
                counterparty_account: (*other).into(),
                description: String::new(),
                kind: String::new(),
                kind_code: String::new(),
                reference: (*reference).into(),
                raw: "{}".into(),
            };
            Half::new(number, account, &row, &own)
        });
        let pairs = pair(&halves.collect::<Vec<_>>());
        let letter =
            |number: u64| pairs.get(&number).map_or("-", |other| ["-", "A", "B", "C"][usize::from(other.account)]);
        (1..=rows.len() as u64).map(letter).collect()
    }

    #[test]
    fn a_named_account_or_a_reference_makes_a_pair() {
        let spaced = "bg05 finv 9150 1000 0000 02";
        assert_eq!(paired(&[(A, 1, "-300", "EUR", spaced, ""), (B, 1, "300.00", "EUR", A, "")]), "BA");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", B, ""), (B, 3, "300", "EUR", "", "")]), "BA");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", "", "OWN260301"), (B, 1, "300", "EUR", "", "OWN260301")]), "BA");
        // A bank that writes the entry's own account.
        assert_eq!(paired(&[(A, 1, "-300", "EUR", A, "OWN260301"), (B, 1, "300", "EUR", B, "OWN260301")]), "BA");
    }

    #[test]
    fn leva_and_euros_are_one_amount_at_the_fixed_rate_and_other_currencies_need_both_names() {
        assert_eq!(paired(&[(A, 1, "-195.58", "BGN", B, ""), (B, 1, "100", "EUR", A, "")]), "BA");
        assert_eq!(paired(&[(A, 1, "-100.01", "EUR", B, ""), (B, 1, "195.58", "BGN", A, "")]), "BA");
        assert_eq!(paired(&[(A, 1, "-100", "EUR", B, "FX260301"), (B, 1, "108.50", "USD", A, "FX260301")]), "BA");
        assert_eq!(paired(&[(A, 1, "-100", "EUR", B, ""), (B, 1, "108.50", "USD", "", "")]), "--");
        assert_eq!(paired(&[(A, 1, "-100", "EUR", B, ""), (B, 1, "100", "USD", "", "")]), "--");
    }

    #[test]
    fn what_only_looks_alike_is_no_pair() {
        assert_eq!(paired(&[(A, 1, "-300", "EUR", "", ""), (B, 1, "300", "EUR", "", "")]), "--", "no sign");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", "", "NONREF"), (B, 1, "300", "EUR", "", "NONREF")]), "--");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", FOREIGN, "R12345"), (B, 1, "300", "EUR", "", "R12345")]), "--");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", B, ""), (B, 1, "299.99", "EUR", A, "")]), "--", "another amount");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", B, ""), (B, 1, "-300", "EUR", A, "")]), "--", "one direction");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", B, ""), (B, 7, "300", "EUR", A, "")]), "--", "too late");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", A, "R12345"), (A, 1, "300", "EUR", A, "R12345")]), "--");
        assert_eq!(
            paired(&[(A, 1, "-0.60", "EUR", B, ""), (A, 1, "-300", "EUR", B, ""), (B, 1, "300", "EUR", A, "")]),
            "-BA"
        );
    }

    #[test]
    fn what_could_belong_to_several_is_no_pair_unless_it_makes_no_difference() {
        let into = |account| (account, 1, "300", "EUR", "", "R12345");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", "", "R12345"), into(B), into(C)]), "---");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", "", "R12345"), into(B), into(B)]), "---");
        let twice = [(A, 1, "-300", "EUR", "", "R12345"), (A, 1, "-300", "EUR", "", "R12345"), into(B), into(B)];
        assert_eq!(paired(&twice), "BBAA");
        // Beside a deposit of the same size the reference decides, and without one the rows stay single.
        let deposit = (B, 1, "300", "EUR", "", "");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", B, "R12345"), deposit, into(B)]), "B-A");
        assert_eq!(paired(&[(A, 1, "-300", "EUR", B, ""), deposit, deposit]), "---");
    }

    #[test]
    fn each_row_is_half_of_one_pair() {
        let rows = [
            (A, 1, "-300", "EUR", B, ""),
            (A, 4, "-300", "EUR", B, ""),
            (B, 1, "300", "EUR", A, ""),
            (B, 4, "300", "EUR", A, ""),
            (A, 5, "-300", "EUR", B, ""),
        ];
        assert_eq!(paired(&rows), "BBAA-");
        assert_eq!(paired(&[(A, 1, "0", "EUR", B, ""), (B, 1, "0", "EUR", A, "")]), "--");
        let huge = "79228162514264337593543950335";
        assert_eq!(paired(&[(A, 1, &format!("-{huge}"), "EUR", B, ""), (B, 1, huge, "EUR", A, "")]), "--");
    }
}
