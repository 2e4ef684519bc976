//! The first of January 2026: every account in leva becomes an account in euros, under the same IBAN. The real bank's
//! treatment of the rows before is unknown, so there are four readings.

use chrono::TimeDelta;
use rust_decimal::Decimal;

use super::{euro_day, in_euro};
use crate::simulator::fibank::{Account, Bank, Entry};

/// The fate of an account's rows from before the euro.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// Every amount is restated and rounded; balances follow from the amounts and end at the balance restated.
    #[default]
    Restated,
    /// Every amount and every balance is restated and rounded by itself: between two rows a cent may be missing.
    RestatedApart,
    /// Rows stay as they were; the first balance of 2026 is in euros without a row that says so.
    Kept,
    /// Rows stay as they were; two rows close the account in leva and open it in euros.
    KeptWithEntries,
}

impl Bank {
    /// Turns every account in leva into one in euros.
    pub fn introduce_euro(&mut self, history: History) {
        let mut number = self.last_number();
        let options = self.options.clone();
        for account in self.customers.iter_mut().flat_map(|customer| &mut customer.accounts) {
            if account.currency != "BGN" {
                continue;
            }
            let balances = crate::simulator::fibank::balances(account, &options);
            let closing = balances.last().copied().unwrap_or(account.opening);
            match history {
                History::Restated => restate(account, in_euro(closing)),
                History::RestatedApart => {
                    restate(account, in_euro(closing));
                    for (entry, balance) in account.entries.iter_mut().zip(balances) {
                        entry.balance = Some(in_euro(balance));
                    }
                }
                History::Kept => self.options.kept_in_leva.push(account.iban.clone()),
                History::KeptWithEntries => {
                    exchange(account, closing, number);
                    number += 2;
                }
            }
            account.currency = "EUR".to_owned();
            if let Some(blocked) = self.options.blocked.get_mut(&account.iban) {
                *blocked = in_euro(*blocked);
            }
        }
    }
}

/// Restates the entries. The cents that rounding leaves over go into the opening balance, because the law fixes today's
/// balance.
fn restate(account: &mut Account, closing: Decimal) {
    for entry in &mut account.entries {
        entry.amount = in_euro(entry.amount);
        entry.balance = None;
    }
    account.opening = closing - account.entries.iter().map(|entry| entry.amount).sum::<Decimal>();
}

fn exchange(account: &mut Account, closing: Decimal, number: u64) {
    let rows = [(-closing, -1, "Закриване на салдо в BGN"), (in_euro(closing), 0, "Откриване на салдо в EUR")];
    for (at, (amount, seconds, line)) in (1..).zip(rows) {
        let time = euro_day() + TimeDelta::seconds(seconds);
        account.entries.push(Entry {
            number: number + at,
            time,
            value_date: time.date_naive(),
            amount,
            reference: "EURO20260101".to_owned(),
            type_code: "CNV".to_owned(),
            type_name: "Превалутиране".to_owned(),
            remittance: [line.to_owned(), "Курс 1.95583".to_owned(), String::new()],
            ..Entry::default()
        });
    }
}
