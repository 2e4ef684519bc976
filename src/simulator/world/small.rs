//! The two worlds of tests and benchmarks: one that can be read at a glance, and one of any size.

use chrono::{NaiveDate, TimeDelta};
use rust_decimal::Decimal;

use super::{bulgarian_iban, day, iban, sofia};
use crate::simulator::fibank::{Account, Bank, Customer, Entry};

impl Bank {
    /// A person with two euro accounts and a dozen rows of early 2026: a salary, a transfer with its fee, two equal
    /// coffees, a transfer between the accounts, a payee that looks like a formula.
    pub fn small() -> Bank {
        let mut bank = with_accounts(&[("00000001", "Ежедневна", "100.00"), ("00000002", "", "2500.00")]);
        let (daily, savings) = (iban("00000001"), iban("00000002"));
        let landlord = bulgarian_iban("DEMO93001000123456");
        let mut number = 900_000_000;
        let mut book = |account: &str, on: NaiveDate, at: [u32; 3], cents: i64, texts: [&str; 4]| {
            number += 1;
            let [counterparty, other, reference, line] = texts;
            bank.add(
                account,
                Entry {
                    number,
                    time: sofia(on, at[0], at[1], at[2]),
                    value_date: on,
                    amount: Decimal::new(cents, 2),
                    counterparty: counterparty.to_owned(),
                    counterparty_account: other.to_owned(),
                    reference: reference.to_owned(),
                    type_code: "TRF".to_owned(),
                    type_name: "Превод".to_owned(),
                    remittance: [line.to_owned(), String::new(), String::new()],
                    ..Entry::default()
                },
            );
        };
        let feb = |date| day(2026, 2, date);
        book(&daily, feb(2), [9, 0, 5], 185_000, ["ИЗМИСЛЕН РАБОТОДАТЕЛ ООД", "", "SAL0202", "Заплата 01/2026"]);
        book(&daily, feb(3), [8, 15, 0], -320, ["КАФЕ ПРИ МЕЧО", "", "POS0001", "ПОС 03.02 София"]);
        book(&daily, feb(3), [8, 15, 0], -320, ["КАФЕ ПРИ МЕЧО", "", "POS0001", "ПОС 03.02 София"]);
        book(&daily, feb(4), [10, 11, 12], -60_000, ["Радка Измислена", &landlord, "OUT0001", "Наем февруари"]);
        book(&daily, feb(4), [10, 11, 12], -125, ["", "", "OUT0001", "Такса превод"]);
        book(&daily, feb(5), [12, 0, 0], -20_000, ["Иван Измислен", &savings, "OWN0001", "Спестявания"]);
        book(&savings, feb(5), [12, 0, 0], 20_000, ["Иван Измислен", &daily, "OWN0001", "Спестявания"]);
        book(
            &daily,
            feb(6),
            [18, 45, 30],
            -950,
            ["=IMPORTXML(\"http://127.0.0.1/\";\"//a\")", "", "POS0002", "+359 2 000 000"],
        );
        book(&daily, feb(9), [19, 2, 3], -4_217, ["Супермаркет „Изобилие“", "", "POS0003", "-5% отстъпка"]);
        book(&savings, feb(28), [23, 40, 0], 31, ["", "", "INT0002", "Лихва"]);
        book(&savings, day(2026, 3, 31), [2, 30, 0], 33, ["", "", "INT0003", "Лихва"]);
        book(&daily, day(2026, 4, 1), [7, 30, 0], -1_799, ["АПТЕКА 🌿 ЗДРАВЕ", "", "POS0004", ""]);
        bank
    }

    /// Accounts with `rows` rows in all over the ten years to 2026, for benchmarks.
    pub fn large(rows: usize) -> Bank {
        const SHOPS: [&str; 5] =
            ["ПЕКАРНА ЗЛАТЕН КЛАС", "Супермаркет „Изобилие“", "БЕНЗИНОСТАНЦИЯ 7", "Книжарница", "АПТЕКА"];
        let mut bank = with_accounts(&[("10000001", "Голяма", "100000.00"), ("10000002", "Друга", "100000.00")]);
        for at in 0..rows {
            let time = sofia(day(2016, 1, 1), 8, 0, 0) + TimeDelta::seconds((at * 315_360_000 / rows) as i64);
            let on = time.date_naive();
            let seed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let income = seed.is_multiple_of(20);
            let cents = i64::try_from(seed % 9_000).unwrap_or_default() + 100;
            let entry = Entry {
                // Numbers so large that doubles cannot tell them apart.
                number: 9_007_199_254_740_993 + at as u64,
                time,
                value_date: on,
                amount: Decimal::new(if income { cents * 19 } else { -cents }, 2),
                counterparty: SHOPS[at % SHOPS.len()].to_owned(),
                reference: format!("FT{:09}", at / 2),
                type_code: "POS".to_owned(),
                type_name: "Плащане с карта".to_owned(),
                remittance: [format!("Покупка {at} от {on}"), format!("Карта *{:04}", seed % 10_000), String::new()],
                ..Entry::default()
            };
            bank.customers[0].accounts[at % 2].entries.push(entry);
        }
        bank
    }
}

/// A bank whose login is one person with these accounts in euros: account part, alias, opening balance.
fn with_accounts(accounts: &[(&str, &str, &str)]) -> Bank {
    let accounts = accounts.iter().map(|(part, alias, opening)| Account {
        iban: iban(part),
        currency: "EUR".to_owned(),
        alias: (*alias).to_owned(),
        product: "Разплащателна сметка".to_owned(),
        opening: opening.parse().unwrap_or_default(),
        ..Account::default()
    });
    Bank {
        username: "ivan".to_owned(),
        password: "correct horse".to_owned(),
        customers: vec![Customer {
            id: "1000001".to_owned(),
            name: "Иван Измислен".to_owned(),
            accounts: accounts.collect(),
        }],
        ..Bank::default()
    }
}
