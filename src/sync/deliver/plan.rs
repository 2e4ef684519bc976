//! The plan for a destination: the meaning of the change log's entries after its watermark.

use std::collections::HashSet;

use super::Delivery;
use crate::config;
use crate::destination::RowChange;
use crate::destination::row_op::RowOp;
use crate::model::{ChangeKind, Field, id_hash};
use crate::rules::SET_BY_RULES;
use crate::source::aliases;
use crate::store::{self, Change, DestinationState, Part};
use crate::sync::Engine;

/// Entries of the change log looked at in one go.
const CHANGES_PER_LOOK: usize = 1000;

/// Up to how many waiting changes are counted one by one; beyond, the log's own numbers are close enough.
const COUNTED_EXACTLY: u64 = 2000;

/// The meaning of a change for a destination.
enum Offer {
    /// No work.
    Nothing,
    /// To be delivered.
    Change(Box<RowChange>),
    /// The bank took the row back before its first delivery; the row waits for a return.
    Suppress(String),
}

/// The plan for the next entries of the change log.
#[derive(Default)]
pub(super) struct Plan {
    pub items: Vec<RowChange>,
    /// Ids of rows that the bank took back before their first delivery.
    pub suppressed: Vec<String>,
    /// The last change looked at.
    pub examined: u64,
}

impl Plan {
    fn has(&self, id: &str) -> bool {
        self.items.iter().any(|item| item.transaction.row.id == id)
    }
}

impl Engine {
    /// Number of changes that a destination has not been given yet.
    pub fn waiting(&self, config: &config::Destination, state: &DestinationState) -> Result<u64, store::Error> {
        let behind = self.store.meta().last_seq.saturating_sub(state.watermark);
        if behind > COUNTED_EXACTLY {
            return Ok(behind);
        }
        let mut waiting = 0;
        for change in self.store.changes_after(state.watermark, CHANGES_PER_LOOK * 2)? {
            waiting += u64::from(matches!(self.offer(config, state, &HashSet::new(), &change)?, Offer::Change(_)));
        }
        Ok(waiting)
    }

    /// Decides the meaning of a change for a destination. `existing` are the hashes of ids that were found there.
    fn offer(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        existing: &HashSet<u64>,
        change: &Change,
    ) -> Result<Offer, store::Error> {
        if matches!(change.kind, ChangeKind::Changed | ChangeKind::Enriched)
            && change.number > state.watermark
            && existing.is_empty()
        {
            // The first delivery of the row is still ahead and will carry the present version.
            return Ok(Offer::Nothing);
        }
        let transaction =
            self.store.transaction_of(change, if config.shows_raw() { Part::Whole } else { Part::WithoutRaw })?;
        let id = &transaction.row.id;
        if state.rows.is_deleted(id) {
            return Ok(Offer::Nothing);
        }
        let found = existing.contains(&id_hash(id));
        let offered_before = change.number <= state.watermark || found;
        let previous = match change.kind {
            ChangeKind::Changed | ChangeKind::Reappeared | ChangeKind::Enriched if offered_before => {
                Some(self.store.former(change.seq)?.transaction)
            }
            _ => None,
        };
        // The filter may have kept back what the row was before; and what it let through is kept right.
        let was_accepted = previous.as_ref().is_some_and(|previous| config.filter.accepts(previous))
            || state.rows.is_outside_filter(id);
        let accepted = config.filter.accepts(&transaction);
        if !accepted && !was_accepted {
            return Ok(Offer::Nothing);
        }
        let kept_back = previous.is_some() && !was_accepted && !found;
        let not_there = kept_back || state.rows.is_absent(id);
        let (kind, previous) = match change.kind {
            ChangeKind::Changed | ChangeKind::Enriched if !offered_before => return Ok(Offer::Nothing),
            ChangeKind::New if found => return Ok(Offer::Nothing),
            ChangeKind::New if transaction.vanished => return Ok(Offer::Suppress(id.clone())),
            // Not there yet, or in between back again: its own delivery says all there is to say.
            ChangeKind::Vanished if not_there || !transaction.vanished || !offered_before => return Ok(Offer::Nothing),
            ChangeKind::Changed | ChangeKind::Reappeared if not_there && transaction.vanished => {
                return Ok(Offer::Nothing);
            }
            ChangeKind::Changed | ChangeKind::Reappeared if not_there => (ChangeKind::New, None),
            ChangeKind::Reappeared if !offered_before => return Ok(Offer::Nothing),
            // The delivery of the row itself carries the present values of the rules.
            ChangeKind::Enriched if not_there => return Ok(Offer::Nothing),
            ChangeKind::Enriched => {
                let differs = |field: &Field| {
                    previous.as_ref().is_none_or(|former| field.value(former) != field.value(&transaction))
                };
                if !SET_BY_RULES.iter().any(|field| config.shows(field) && differs(field)) {
                    return Ok(Offer::Nothing);
                }
                (ChangeKind::Enriched, previous)
            }
            kind => (kind, previous),
        };
        Ok(Offer::Change(Box::new(RowChange::new(change.seq, RowOp::of(kind, config.rows()), transaction, previous))))
    }
}

impl Delivery<'_> {
    /// The next items, at most `most`: those left over from the last look first, because reading and decoding rows
    /// twice would be most of the work of a first delivery.
    pub(super) fn next_changes(&mut self, most: usize) -> Result<Plan, store::Error> {
        match self.ahead.take() {
            Some(ahead) => self.plan_from(ahead, most),
            None => self.plan(most),
        }
    }

    /// Keeps what a batch did not cover, unless the batch decided something that changes what the rest means.
    pub(super) fn keep_ahead(&mut self, mut ahead: Plan, taken: usize) {
        ahead.items.drain(..taken);
        let plain = ahead.items.iter().all(|item| item.op == RowOp::Insert);
        self.ahead = (plain && !self.decided).then_some(ahead);
        self.decided = false;
    }

    /// The next items after the watermark, at most `most`. Existing rows are passed over.
    pub(super) fn plan(&mut self, most: usize) -> Result<Plan, store::Error> {
        self.plan_from(Plan { examined: self.state.watermark, ..Plan::default() }, most)
    }

    fn plan_from(&mut self, mut look: Plan, most: usize) -> Result<Plan, store::Error> {
        let (mut changed, mut enriched) = (HashSet::new(), HashSet::new());
        while look.items.len() < most {
            let changes = self.engine.store.changes_after(look.examined, CHANGES_PER_LOOK.min(most.max(16)))?;
            if changes.is_empty() {
                return Ok(look);
            }
            for change in changes {
                look.examined = change.seq;
                // The first of several corrections of a row carries the present version and the oldest one before.
                let repeated = match change.kind {
                    ChangeKind::Changed => !changed.insert(change.number),
                    ChangeKind::Enriched => !enriched.insert(change.number),
                    _ => false,
                };
                if repeated {
                    continue;
                }
                match self.engine.offer(self.config, &self.state, &self.existing, &change)? {
                    Offer::Nothing => {}
                    Offer::Suppress(id) => look.suppressed.push(id),
                    // A row that was set aside may have come back more than once since.
                    Offer::Change(item)
                        if item.op == RowOp::Insert
                            && change.kind != ChangeKind::New
                            && look.has(&item.transaction.row.id) => {}
                    Offer::Change(item) => look.items.push(self.adopt(*item)),
                }
                if look.items.len() >= most {
                    break;
                }
            }
        }
        Ok(look)
    }

    /// A new row that was found there under an older form of its id is made ours instead of written again.
    fn adopt(&mut self, mut item: RowChange) -> RowChange {
        if item.op != RowOp::Insert || self.existing.is_empty() {
            return item;
        }
        let id = &item.transaction.row.id;
        let found = aliases(id).iter().map(|alias| id_hash(alias)).find(|alias| self.existing.contains(alias));
        if found.is_some_and(|alias| *self.claimed.entry(alias).or_insert(id_hash(id)) == id_hash(id)) {
            item.op = RowOp::Repair;
        }
        item
    }
}
