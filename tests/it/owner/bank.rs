//! The bank's actions between cycles, and the bank's data of each row after them.

use std::collections::BTreeMap;

use bankfeed::simulator::fibank::Entry;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::life::Life;

const PAYEES: [&str; 7] =
    ["КАФЕ", "=IMPORTXML(\"x\")", "Супермаркет „Изобилие“", "+359 2 000", "", "-5%", "O'Neil \\ {x}"];

/// Days back from today that hold every entry. A pull looks back that far, so that every action of the bank is seen at
/// once.
const DAYS: i64 = 9;

/// The bank's value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Date(NaiveDate),
    Money(Decimal),
}

/// The bank's clock and the entries it has taken back.
pub struct Books {
    clock: DateTime<Utc>,
    last_number: u64,
    away: Vec<(String, Entry)>,
}

impl Books {
    pub fn new(rng: &mut fastrand::Rng) -> Books {
        let clock = Utc::now() - TimeDelta::minutes(rng.i64((DAYS - 1) * 1440..DAYS * 1440));
        Books { clock, last_number: 900_000_000, away: Vec::new() }
    }
}

impl Life<'_> {
    /// A few things between two cycles.
    pub fn bank_happens(&mut self) {
        for _ in 0..self.rng.usize(..4) {
            match self.rng.u8(..8) {
                0..4 => {
                    let count = [1, 1, 2, 9][self.rng.usize(..4)];
                    (0..count).for_each(|_| self.book());
                }
                4..6 => self.correct(),
                6 => self.take_back(),
                _ => self.give_back(),
            }
        }
    }

    pub fn book(&mut self) {
        self.books.clock = (self.books.clock + TimeDelta::minutes(self.rng.i64(0..200))).min(Utc::now());
        self.books.last_number += 1;
        let time = self.books.clock.with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let entry = Entry {
            number: self.books.last_number,
            time,
            value_date: time.date_naive(),
            amount: Decimal::new(self.rng.i64(-9_999..5_000), 2),
            counterparty: PAYEES[self.rng.usize(..PAYEES.len())].into(),
            reference: ["REF", "REF", "ПЛАТЕНО"][self.rng.usize(..3)].into(),
            type_name: "Плащане".into(),
            remittance: [format!("ред {}", self.rng.u8(..)), String::new(), String::new()],
            ..Entry::default()
        };
        self.say(format!("booked {}", entry.number));
        self.world.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(entry));
    }

    fn place(&mut self) -> Option<usize> {
        let count = self.world.bank.edit(|bank| bank.customers[0].accounts[0].entries.len());
        (count > 0).then(|| self.rng.usize(..count))
    }

    fn correct(&mut self) {
        let Some(at) = self.place() else { return };
        let (what, cents) = (self.rng.u8(..4), self.rng.i64(-9_999..5_000));
        let payee = PAYEES[self.rng.usize(..PAYEES.len())];
        let number = self.world.bank.edit(|bank| {
            let entry = &mut bank.customers[0].accounts[0].entries[at];
            match what {
                0 => entry.amount = Decimal::new(cents, 2),
                1 => entry.value_date += TimeDelta::days(1),
                2 => entry.remittance[0] = format!("поправка {cents}"),
                _ => entry.counterparty = payee.into(),
            }
            entry.number
        });
        self.say(format!("corrected {number}, {what}"));
    }

    /// Takes back an entry other than the last one: an account that suddenly shows no rows proves nothing, and no row
    /// counts as vanished.
    fn take_back(&mut self) {
        let Some(at) = self.place() else { return };
        if self.world.bank.edit(|bank| bank.customers[0].accounts[0].entries.len() == 1) {
            return;
        }
        let (iban, entry) = self.world.bank.edit(|bank| {
            let account = &mut bank.customers[0].accounts[0];
            (account.iban.clone(), account.entries.remove(at))
        });
        self.say(format!("vanished {}", entry.number));
        self.books.away.push((iban, entry));
    }

    fn give_back(&mut self) {
        if self.books.away.is_empty() {
            return;
        }
        let (iban, entry) = self.books.away.swap_remove(self.rng.usize(..self.books.away.len()));
        self.say(format!("reappeared {}", entry.number));
        self.world.bank.edit(|bank| {
            let entries = &mut bank.account_mut(&iban).unwrap().entries;
            let at = entries.iter().position(|other| other.number > entry.number).unwrap_or(entries.len());
            entries.insert(at, entry);
        });
    }

    /// The bank's data of each row, by field.
    pub fn said(&self) -> BTreeMap<String, BTreeMap<&'static str, Said>> {
        let currency = self.world.bank.edit(|bank| bank.customers[0].accounts[0].currency.clone());
        let booked = self.world.bank.edit(|bank| bank.transactions());
        let row = |(iban, entry, balance): (String, Entry, Decimal)| {
            let text = |text: &str| Said::Text(text.trim().to_owned());
            let id = format!("fibank:{iban}:{}", entry.number);
            let direction = if entry.amount < Decimal::ZERO { "debit" } else { "credit" };
            let mut fields = BTreeMap::from([
                ("id", text(&id)),
                ("account", text(&iban)),
                ("date", Said::Date(entry.time.with_timezone(&chrono_tz::Europe::Sofia).date_naive())),
                ("value_date", Said::Date(entry.value_date)),
                ("amount", Said::Money(entry.amount)),
                ("balance", Said::Money(balance)),
                ("currency", text(&currency)),
                ("direction", text(direction)),
                ("counterparty", text(&entry.counterparty)),
                ("description", text(&entry.remittance[0])),
                ("type", text(&entry.type_name)),
                ("reference", text(&entry.reference)),
                ("raw.reference", text(&entry.reference)),
            ]);
            fields.insert(direction, Said::Money(entry.amount.abs()));
            (id, fields)
        };
        booked.into_iter().map(row).collect()
    }
}
