//! Halves of transfers that were delivered before their partners came, changed or went: where a column shows transfers,
//! their rows are set right once, and never again for the same reason.

use std::collections::BTreeSet;

use chrono::Days;

use super::Delivery;
use crate::model::{ChangeKind, Field, Transaction};
use crate::store::{self, Change, Store};
use crate::transfers::MOST_DAYS;

/// Entries of the change log looked at in one go.
const CHANGES_PER_LOOK: usize = 1000;

impl Delivery<'_> {
    /// Notes which delivered rows have to be set right since the last look.
    pub(super) async fn follow_transfers(&mut self) -> Result<(), store::Error> {
        let store = &self.engine.store;
        let last = store.meta().last_seq;
        if !self.config.shows(&Field::Transfer) || self.state.transfers >= last {
            return Ok(());
        }
        self.engine.know_transfers().await?;
        let mut touched = BTreeSet::new();
        // Before the first delivery there is nothing to set right.
        let mut after = if self.state.watermark == 0 { last } else { self.state.transfers };
        loop {
            let changes = store.changes_after(after, CHANGES_PER_LOOK)?;
            let Some(latest) = changes.last() else { break };
            after = latest.seq;
            for change in &changes {
                touch(store, change, &mut touched)?;
            }
        }
        let mut wrong = Vec::new();
        for number in touched.into_iter().filter(|number| *number <= self.state.watermark) {
            let transaction = store.transaction(number)?;
            if self.is_there(&transaction) {
                wrong.push(transaction.row.id);
            }
        }
        self.state.rows.ask_to_repair(wrong);
        self.state.transfers = last;
        self.save()
    }

    fn is_there(&self, transaction: &Transaction) -> bool {
        !self.state.rows.is_absent(&transaction.row.id) && self.config.filter.accepts(transaction)
    }
}

/// The rows whose transfers a change may have made or ended.
fn touch(store: &Store, change: &Change, touched: &mut BTreeSet<u64>) -> Result<(), store::Error> {
    match change.kind {
        ChangeKind::New => {
            if let Some(partner) = store.partner(change.number) {
                touched.extend([change.number, partner]);
            }
        }
        ChangeKind::Changed | ChangeKind::Vanished | ChangeKind::Reappeared => {
            touched.insert(change.number);
            for version in [store.former(change.seq)?.transaction, store.transaction(change.number)?] {
                touch_alike(store, &version, touched)?;
            }
        }
        ChangeKind::Enriched => {}
    }
    Ok(())
}

/// Rows that may be or have been the other half of this one.
fn touch_alike(store: &Store, version: &Transaction, touched: &mut BTreeSet<u64>) -> Result<(), store::Error> {
    let (date, days) = (version.row.date, Days::new(MOST_DAYS.unsigned_abs()));
    let is_alike = |other: &Transaction| {
        other.account != version.account
            && other.row.direction() != version.row.direction()
            && (other.row.amount.abs() == version.row.amount.abs() || other.row.currency != version.row.currency)
    };
    for found in store.by_date(date.checked_sub_days(days), date.checked_add_days(days)) {
        let (number, other) = found?;
        if is_alike(&other) {
            touched.insert(number);
        }
    }
    Ok(())
}
