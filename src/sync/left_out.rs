//! The parts that a dashboard's formulas cannot see: transfers between own accounts, and rows the bank took back that
//! still stand there. Drawn up for destinations that show such sums.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike;
use rust_decimal::Decimal;

use super::Engine;
use super::balances::stands;
use crate::config;
use crate::destination::LeftOut;
use crate::destination::policy::Vanished;
use crate::figures::{Standing, standing};
use crate::model::{Transaction, is_in_bounds, plus};
use crate::store::{self, DestinationState};

/// Entries told apart by names; more are told by month and currency alone.
const MOST_ENTRIES: usize = 2_000;

/// Month, currency, type, category and counterparty.
type Key = (i32, u32, [String; 4]);

impl Engine {
    /// Works out which rows are halves of transfers, in pieces: commands are answered meanwhile.
    pub(super) async fn know_transfers(&self) -> Result<(), store::Error> {
        for day in self.store.stretches()? {
            self.store.know_transfers_of(day)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The amounts that no sum of this destination's dashboard may hold, gathered by everything its tables tell apart.
    pub(super) fn left_out(
        &self,
        config: &config::Destination,
        state: &DestinationState,
    ) -> Result<Vec<LeftOut>, store::Error> {
        if !config.shown().dashboard {
            return Ok(Vec::new());
        }
        let mut numbers: BTreeSet<u64> = self.store.halves().into_iter().collect();
        if config.rows().vanished != Vanished::Delete {
            numbers.extend(self.store.outlines()?.into_values().flat_map(|outline| outline.vanished));
        }
        let mut sums: BTreeMap<Key, [Decimal; 2]> = BTreeMap::new();
        for number in numbers {
            let transaction = self.store.transaction(number)?;
            let row = &transaction.row;
            let standing = standing(transaction.vanished, !transaction.transfer.is_empty(), row.amount);
            let is_left_out = matches!(standing, Standing::TakenBack | Standing::Transfer);
            if is_left_out && is_in_bounds(row.amount) && config.filter.accepts(&transaction) && stands(state, &row.id)
            {
                let sum = &mut sums.entry(key(&transaction)).or_default()[usize::from(row.debit().is_none())];
                *sum = plus(*sum, row.amount.abs());
            }
        }
        if sums.len() > MOST_ENTRIES {
            let mut fewer: BTreeMap<Key, [Decimal; 2]> = BTreeMap::new();
            for ((year, month, [currency, ..]), [debit, credit]) in sums {
                let sum =
                    fewer.entry((year, month, [currency, String::new(), String::new(), String::new()])).or_default();
                *sum = [plus(sum[0], debit), plus(sum[1], credit)];
            }
            sums = fewer;
        }
        Ok(sums.into_iter().map(entry).collect())
    }
}

fn key(transaction: &Transaction) -> Key {
    let (row, category) = (&transaction.row, &transaction.enrichment.category);
    let names = [&row.currency, &row.kind, category, &row.counterparty].map(Clone::clone);
    (row.date.year(), row.date.month(), names)
}

fn entry(((year, month, [currency, kind, category, counterparty]), [debit, credit]): (Key, [Decimal; 2])) -> LeftOut {
    let month = chrono::NaiveDate::from_ymd_opt(year, month, 1);
    LeftOut { month, currency, kind, category, counterparty, debit, credit }
}
