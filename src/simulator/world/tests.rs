//! The worlds keep their promises.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use ::iban::Iban;

use super::*;
use crate::simulator::fibank::{Account, Bank, Entry};

fn accounts(bank: &Bank) -> Vec<&Account> {
    bank.customers.iter().flat_map(|customer| &customer.accounts).collect()
}

fn entries(bank: &Bank) -> Vec<&Entry> {
    accounts(bank).into_iter().flat_map(|account| &account.entries).collect()
}

/// Entries under something they have in common.
fn groups<K: Ord>(bank: &Bank, key: impl Fn(&str, &Entry) -> K) -> Vec<Vec<Entry>> {
    let mut groups: BTreeMap<K, Vec<Entry>> = BTreeMap::new();
    for (iban, entry, _) in bank.transactions() {
        groups.entry(key(&iban, &entry)).or_default().push(entry);
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

fn assert_chain(bank: &Bank) {
    for account in accounts(bank) {
        let mut balance = account.opening;
        for (_, entry, after) in bank.transactions().into_iter().filter(|(iban, ..)| *iban == account.iban) {
            balance += entry.amount;
            assert_eq!(after, balance, "{} {}", account.iban, entry.number);
        }
        assert_eq!(bank.balance(&account.iban), Some(balance));
    }
}

#[test]
fn the_household_is_a_plausible_one() {
    let today = day(2026, 11, 22);
    let bank = Bank::household(today);
    let rows = entries(&bank).len();
    assert!((2_650..2_950).contains(&rows), "{rows} rows");
    assert_eq!(bank.customers.iter().map(|customer| customer.accounts.len()).collect::<Vec<_>>(), [3, 2]);
    let currencies: Vec<&str> = accounts(&bank).iter().map(|account| account.currency.as_str()).collect();
    assert_eq!(currencies, ["EUR", "EUR", "EUR", "EUR", "USD"]);
    assert!((5..40).contains(&accounts(&bank)[4].entries.len()), "the account in dollars sleeps");
    for (iban, entry, balance) in bank.transactions() {
        assert!(balance > Decimal::ZERO, "{iban} is overdrawn at {}", entry.time);
        assert!(entry.time < sofia(today, 0, 0, 0) && entry.time > sofia(day(2023, 1, 1), 0, 0, 0));
        assert!(!entry.amount.is_zero() && entry.amount.scale() <= 2);
    }
    assert_chain(&bank);
    for account in accounts(&bank) {
        let ordered = |pair: &[Entry]| pair[0].time <= pair[1].time && pair[0].number < pair[1].number;
        assert!(account.entries.windows(2).all(ordered), "{} is out of order", account.iban);
    }
    let numbers: BTreeSet<u64> = entries(&bank).iter().map(|entry| entry.number).collect();
    assert_eq!(numbers.len(), rows, "numbers are unique in the bank");
}

#[test]
fn the_household_has_what_is_hard() {
    let bank = Bank::household(day(2026, 11, 22));
    let twins = groups(&bank, |iban, entry| {
        let Entry { time, amount, counterparty, reference, remittance, .. } = entry.clone();
        (iban.to_owned(), time, amount, counterparty, reference, remittance)
    });
    assert!(twins.len() > 20 && twins.iter().all(|pair| pair[0].number != pair[1].number));
    let shared = groups(&bank, |_, entry| entry.reference.clone());
    let with_fee = shared.iter().filter(|group| group.iter().any(|entry| entry.type_code == "FEE"));
    assert!(with_fee.count() > 100);
    assert!(shared.iter().filter(|group| group.iter().all(|entry| entry.type_code == "OWN")).count() > 40);
    assert!(groups(&bank, |iban, entry| (iban.to_owned(), entry.time)).iter().any(|group| group.len() >= 3));
    let texts: Vec<String> = entries(&bank)
        .iter()
        .flat_map(|entry| [entry.counterparty.clone()].into_iter().chain(entry.remittance.clone()))
        .collect();
    for start in ["=IMPORTXML(", "=HYPERLINK(", "=SUM(", "+359", "-5% отстъпка", "@"] {
        assert!(texts.iter().any(|text| text.starts_with(start)), "nothing begins with {start}");
    }
    for part in ["\"", "'", "„", "\t", "\\", "🙏", "\u{200d}", ";", "<"] {
        assert!(texts.iter().any(|text| text.contains(part)), "nothing holds {part}");
    }
    assert!(texts.iter().any(|text| text.chars().count() > 120));
    for words in ["Заплата", "Наем", "Ел. енергия", "Данък", "ДДС", "Лихва", "Спестявания"]
    {
        assert!(texts.iter().any(|text| text.contains(words)), "nothing speaks of {words}");
    }
    assert!(entries(&bank).iter().any(|entry| entry.value_date < entry.time.date_naive()));
}

#[test]
fn every_iban_is_valid_and_some_have_letters() {
    for bank in [Bank::household(day(2026, 11, 22)), Bank::small(), Bank::large(10)] {
        let own = accounts(&bank).into_iter().map(|account| account.iban.clone());
        let others = entries(&bank).into_iter().map(|entry| entry.counterparty_account.clone());
        for iban in own.chain(others).filter(|iban| !iban.is_empty()) {
            assert!(iban.parse::<Iban>().is_ok(), "{iban}");
            assert_eq!(iban.len(), 22);
        }
        assert!(accounts(&bank).iter().all(|account| account.iban[4..12] == *"FINV9150"));
    }
    assert!(iban("0BGN4712").ends_with("0BGN4712"));
    assert_eq!(iban("00000001"), "BG32FINV91501000000001");
}

#[test]
fn a_later_day_gives_the_same_rows_and_more() {
    let start = day(2024, 1, 1);
    let history = History::Restated;
    let early = Bank::household_between(start, day(2025, 5, 5), history);
    let late = Bank::household_between(start, day(2025, 5, 20), history);
    for (before, after) in accounts(&early).into_iter().zip(accounts(&late)) {
        assert_eq!(before.entries[..], after.entries[..before.entries.len()]);
        assert_eq!((&before.currency, before.opening), (&after.currency, after.opening));
    }
    assert!(entries(&late).len() > entries(&early).len());
    assert_eq!(accounts(&early)[0].currency, "BGN");
}

#[test]
fn restated_history_ends_at_the_balance_the_law_fixes() {
    let start = day(2024, 1, 1);
    let leva = Bank::household_between(start, day(2026, 1, 1), History::Restated);
    let mut euro = leva.clone();
    euro.introduce_euro(History::Restated);
    assert_chain(&euro);
    for (before, after) in accounts(&leva).into_iter().zip(accounts(&euro)) {
        let closing = leva.balance(&before.iban).unwrap();
        if before.currency != "BGN" {
            assert_eq!(before, after);
            continue;
        }
        assert_eq!((euro.balance(&after.iban), after.currency.as_str()), (Some(in_euro(closing)), "EUR"));
        for (old, new) in before.entries.iter().zip(&after.entries) {
            assert_eq!((new.amount, new.number, new.time), (in_euro(old.amount), old.number, old.time));
        }
        let drift = (after.opening - in_euro(before.opening)).abs();
        assert!(drift < Decimal::ONE, "{drift} of rounding");
    }
    let lived = Bank::household_between(start, day(2026, 2, 1), History::Restated);
    for (changed, lived) in accounts(&euro).into_iter().zip(accounts(&lived)) {
        assert_eq!(changed.entries[..], lived.entries[..changed.entries.len()]);
    }
}

#[test]
fn balances_restated_apart_miss_a_cent_now_and_then() {
    let leva = Bank::household_between(day(2024, 1, 1), day(2026, 1, 1), History::Restated);
    let mut euro = leva.clone();
    euro.introduce_euro(History::RestatedApart);
    let daily = &accounts(&euro)[0].iban;
    let of_daily = |bank: &Bank| bank.transactions().into_iter().filter(|(iban, ..)| iban == daily).collect::<Vec<_>>();
    let (old, new) = (of_daily(&leva), of_daily(&euro));
    assert!(old.iter().zip(&new).all(|((.., leva), (.., euro))| *euro == in_euro(*leva)));
    let gaps: Vec<Decimal> = new.windows(2).map(|pair| (pair[0].2 + pair[1].1.amount - pair[1].2).abs()).collect();
    assert!(gaps.iter().all(|gap| *gap <= Decimal::new(1, 2)));
    assert!(gaps.iter().filter(|gap| !gap.is_zero()).count() > 10);
}

#[test]
fn kept_history_changes_currency_in_the_chain() {
    let start = day(2025, 6, 1);
    let leva = Bank::household_between(start, day(2026, 1, 1), History::Kept);
    let kept = Bank::household_between(start, day(2026, 2, 1), History::Kept);
    let with_entries = Bank::household_between(start, day(2026, 2, 1), History::KeptWithEntries);
    assert_chain(&with_entries);
    let before = accounts(&leva)[0];
    let (after, entered) = (accounts(&kept)[0], accounts(&with_entries)[0]);
    let old = before.entries.len();
    assert_eq!((&after.entries[..old], after.currency.as_str()), (&before.entries[..], "EUR"));
    let rows: Vec<_> = kept.transactions().into_iter().filter(|(iban, ..)| *iban == after.iban).collect();
    assert_eq!(rows[old].2, in_euro(rows[old - 1].2) + rows[old].1.amount);
    assert_eq!(entered.entries.len(), after.entries.len() + 2);
    assert_eq!(kept.balance(&after.iban), with_entries.balance(&after.iban));
}

#[test]
fn a_large_bank_has_as_many_rows_as_were_asked_for() {
    let bank = Bank::large(5_001);
    assert_eq!(entries(&bank).len(), 5_001);
    assert_chain(&bank);
    for account in accounts(&bank) {
        assert!(account.entries.windows(2).all(|pair| pair[0].time <= pair[1].time));
    }
    let last = accounts(&bank)[0].entries.last().unwrap().time;
    assert!(last > sofia(day(2025, 12, 1), 0, 0, 0) && last < sofia(day(2026, 1, 1), 0, 0, 0));
}

#[test]
fn the_clock_is_the_bulgarian_one() {
    assert_eq!(euro_day().to_rfc3339(), "2026-01-01T00:00:00+02:00");
    assert_eq!(sofia(day(2026, 3, 29), 3, 30, 0).to_rfc3339(), "2026-03-29T04:30:00+03:00");
    assert_eq!(sofia(day(2026, 10, 25), 3, 30, 0).to_rfc3339(), "2026-10-25T03:30:00+03:00");
}
