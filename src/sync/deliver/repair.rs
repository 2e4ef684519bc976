//! The consequences of a read-back: absent rows are remembered, or put back; wrong ones are set right; and rows the
//! owner once deleted return on request.
//!
//! Repairs go the delivery's own way: the planned work is in the store before the first request leaves, every batch is
//! noted before it is sent and settled after a lost answer, and work is crossed off only after the answer. Therefore a
//! repair that is cut off goes on at the next delivery, and no part of it happens twice.

use std::collections::HashSet;

use super::{Delivery, Stop};
use crate::config;
use crate::destination::policy::Vanished;
use crate::destination::row_op::RowOp;
use crate::destination::{DeliveryDigest, Destination, Reading, RowChange};
use crate::model::{ChangeKind, Field, Transaction, id_hash};
use crate::remote::{Context, Error};
use crate::source::aliases;
use crate::store::{self, Numbers};
use crate::sync::verify::{Findings, Verified, Versions};
use crate::sync::{Engine, Outcome, Watcher, outcome_of};

impl Engine {
    /// Reads one destination back and remembers what is gone, or mends what is wrong.
    pub(in crate::sync) async fn inspect(
        &self,
        config: &config::Destination,
        repair: bool,
        watcher: &Watcher,
    ) -> Result<Verified, store::Error> {
        let mut verified = Verified { destination: config.name.clone(), ..Verified::default() };
        let mut delivery = Delivery::new(self, config, watcher)?;
        if delivery.state.watermark == 0 && delivery.state.pending.is_empty() {
            // A destination without any delivery cannot have wrong rows.
            verified.is_untouched = true;
            verified.notes.push("nothing has been delivered there yet".into());
            return Ok(verified);
        }
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let result = delivery.inspect(context.clone(), repair, &mut verified).await;
        verified.requests = context.requests.get();
        match result {
            Ok(()) => {}
            Err(Stop::Store(error)) => return Err(error),
            Err(Stop::Service(error)) => {
                verified.outcome = outcome_of(&error);
                verified.error = Some(error.message);
            }
        }
        Ok(verified)
    }
}

impl Delivery<'_> {
    pub(super) async fn inspect(
        &mut self,
        context: Context,
        repair: bool,
        verified: &mut Verified,
    ) -> Result<(), Stop> {
        let patient = self.patient(&context.requests);
        let mut destination = self.config.connect(context, &self.state.connector())?;
        let result = patient.with(self.inspect_with(destination.as_mut(), repair, verified)).await;
        self.state.set_connector(&destination.state().memory);
        self.state.rows.plan_retry(self.today());
        self.save()?;
        result
    }

    async fn inspect_with(
        &mut self,
        destination: &mut dyn Destination,
        repair: bool,
        verified: &mut Verified,
    ) -> Result<(), Stop> {
        if self.config.shows(&Field::Transfer) {
            self.engine.know_transfers().await?;
        }
        let ledger = if repair { self.open(destination, None).await?.last_batch } else { 0 };
        // A batch whose answer was lost may be there or not: what ought to be there is unknown until that is settled.
        self.settle(destination).await?;
        self.catch_up(ledger);
        let mut findings = Findings::new(&self.engine.store, self.config, &self.state)?;
        destination.read(Reading::Rows, &mut findings).await?;
        let found = findings.conclude()?;
        (verified.missing, verified.doubled, verified.different) = (found.missing, found.doubled, found.different);
        verified.deleted = found.deleted;
        let deleted = verified.missing.len();
        verified.missing.extend(found.refused);
        verified.open = !verified.is_clean();
        // The owner has thought better of it.
        self.forget_deletion(&found.returned);
        if repair {
            return self.repair(destination, verified).await;
        }
        let deleted = &verified.missing[..deleted];
        if found.emptied && deleted.len() > 1 {
            // An owner does not delete rows one by one until the last; more likely the tab or table was emptied or
            // replaced.
            let note = "not one delivered row is there, so their absence is not remembered as deletion of each";
            verified.notes.push(format!("{note}: `bankfeed verify {} --repair` puts them back", self.config.name));
            return Ok(());
        }
        deleted.iter().for_each(|id| self.state.rows.delete(id.clone(), true));
        Ok(())
    }

    /// Puts back what is missing now and what earlier read-backs noticed, and sets right what is wrong. A row found gone
    /// by a correction was deleted long before anybody verified: only `restore` brings that back.
    async fn repair(&mut self, destination: &mut dyn Destination, verified: &mut Verified) -> Result<(), Stop> {
        let noticed = verified.deleted.iter().filter(|id| self.state.rows.is_deletion_noticed(id));
        let back: Vec<String> = verified.missing.iter().chain(noticed).cloned().collect();
        let mut wrong = verified.doubled.clone();
        let mut known: HashSet<String> = wrong.iter().cloned().collect();
        wrong.extend(verified.different.iter().map(|one| one.id.clone()).filter(|id| known.insert(id.clone())));
        if back.is_empty() && wrong.is_empty() {
            return Ok(());
        }
        self.state.rows.ask_to_restore(back.iter().cloned());
        self.state.rows.ask_to_repair(wrong.iter().cloned());
        self.save()?;
        self.put_right(destination).await?;
        let done = |id: &String| !self.state.rows.is_rejected(id);
        (verified.put_back, verified.mended) = (
            back.iter().filter(|id| done(id)).cloned().collect(),
            wrong.iter().filter(|id| done(id)).cloned().collect(),
        );
        let refused: Vec<String> = back.iter().chain(&wrong).filter(|id| !done(id)).cloned().collect();
        verified.deleted.retain(|id| !back.contains(id));
        verified.open = !refused.is_empty();
        if !refused.is_empty() {
            verified.outcome = Outcome::Failed;
            verified.error = Some(format!(
                "{}: the service refuses {}: see `bankfeed status`",
                self.config.name,
                refused.join(", ")
            ));
        }
        Ok(())
    }

    /// Does what is noted to be put back and to be mended.
    pub(super) async fn put_right(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        self.rewrite_misplaced(destination).await?;
        if self.state.rows.to_repair().next().is_none() {
            return Ok(());
        }
        let numbers = self.engine.store.numbers()?;
        self.mend(destination, &numbers).await?;
        self.rewrite_misplaced(destination).await
    }

    pub(super) async fn put_back(&mut self, destination: &mut dyn Destination, numbers: &Numbers) -> Result<(), Stop> {
        let policy = self.config.rows().vanished;
        loop {
            let ids = in_order(self.state.rows.to_restore(), numbers, self.batch_limit);
            if ids.is_empty() {
                return Ok(());
            }
            let mut items = Vec::with_capacity(ids.len());
            for (_, transaction) in self.known(&ids, numbers)? {
                // Rows that the bank took back do not return to a destination that deletes such rows.
                if !transaction.vanished || policy != Vanished::Delete {
                    items.push(item(RowOp::Restore, transaction));
                }
            }
            let refused: Vec<String> = ids.iter().filter(|id| self.state.rows.is_rejected(id)).cloned().collect();
            self.send_all(destination, &items).await?;
            // If the refused change was a correction, the row was there all the time, and still has the old values.
            let taken: Vec<String> = refused.into_iter().filter(|id| !self.state.rows.is_rejected(id)).collect();
            self.state.rows.ask_to_repair(taken);
            if policy == Vanished::Mark {
                let there = |item: &RowChange| {
                    item.transaction.vanished && !self.state.rows.is_rejected(&item.transaction.row.id)
                };
                let op = RowOp::of(ChangeKind::Vanished, self.config.rows());
                let vanished: Vec<RowChange> =
                    items.into_iter().filter(there).map(|item| RowChange { op, ..item }).collect();
                self.send_all(destination, &vanished).await?;
            }
            ids.iter().for_each(|id| self.state.rows.restored(id));
            self.forget_deletion(&ids);
            self.save()?;
        }
    }

    async fn mend(&mut self, destination: &mut dyn Destination, numbers: &Numbers) -> Result<(), Stop> {
        loop {
            let ids = in_order(self.state.rows.to_repair(), numbers, self.batch_limit);
            if ids.is_empty() {
                return Ok(());
            }
            let versions = Versions::new(&self.engine.store, self.config, &self.state)?;
            let mut items = Vec::with_capacity(ids.len());
            for (number, present) in self.known(&ids, numbers)? {
                items.extend(
                    versions.of(number, present).into_iter().next().map(|version| item(RowOp::Repair, version)),
                );
            }
            self.send_all(destination, &items).await?;
            ids.iter().for_each(|id| self.state.rows.repaired(id));
            self.save()?;
        }
    }

    /// Recognises the owner's deletions after a store without memory meets a place that was delivered to. If the rows
    /// there and the absent ones up to the last delivery together are exactly those that were ever written, each absent
    /// one was written and then deleted by the owner, and stays deleted. If the sums do not fit, the absence proves
    /// nothing, and the absent rows are delivered: better a row too many than one too few. An empty place proves
    /// nothing either.
    pub(super) fn recognise_deletions(&mut self, digest: &DeliveryDigest) -> Result<(), store::Error> {
        if self.existing.is_empty() || self.config.rows().vanished == Vanished::Delete {
            return Ok(());
        }
        let mut absent = Vec::new();
        for entry in self.engine.store.by_date(None, None) {
            let (_, transaction) = entry?;
            let id = &transaction.row.id;
            let there = |id: &String| self.existing.contains(&id_hash(id));
            let past =
                digest.through.get(&*transaction.account).is_some_and(|at| transaction.row.time.timestamp() <= *at);
            if past && self.config.filter.accepts(&transaction) && !there(id) && !aliases(id).iter().any(there) {
                absent.push(id.clone());
            }
        }
        let hashes = self.existing.iter().copied().chain(absent.iter().map(|id| id_hash(id)));
        let written = hashes.fold((0, 0), |(rows, ids): (u64, u64), hash| (rows + 1, ids.wrapping_add(hash)));
        if absent.is_empty() || written != (digest.rows, digest.ids) {
            return Ok(());
        }
        let (name, count) = (&self.config.name, absent.len());
        tracing::warn!(
            "{name}: {count} rows delivered by a former store are gone and stay deleted; `bankfeed status` lists them"
        );
        absent.into_iter().for_each(|id| self.state.rows.delete(id, false));
        self.save()
    }

    pub(super) async fn send_all(
        &mut self,
        destination: &mut dyn Destination,
        items: &[RowChange],
    ) -> Result<(), Stop> {
        let mut left = items;
        while !left.is_empty() {
            if self.engine.shutdown.requested() {
                return Err(Error::stopped().into());
            }
            match self.send(destination, left).await? {
                // Another batch took the number: the same items are planned anew.
                0 => self.read_ledger_again(destination).await?,
                taken => left = &left[taken..],
            }
        }
        Ok(())
    }

    /// The transactions with these ids, as they are now.
    fn known(&self, ids: &[String], numbers: &Numbers) -> Result<Vec<(u64, Transaction)>, store::Error> {
        let numbers = ids.iter().filter_map(|id| numbers.get(&id_hash(id)));
        numbers.map(|number| Ok((*number, self.engine.store.transaction(*number)?))).collect()
    }

    fn forget_deletion(&mut self, ids: &[String]) {
        ids.iter().for_each(|id| self.state.rows.forget_deletion(id));
    }
}

/// An item that stands nowhere in the change log.
pub(super) fn item(op: RowOp, transaction: Transaction) -> RowChange {
    RowChange::new(0, op, transaction, None)
}

/// The first of these rows, at most `most`, in the order in which the store came to know them.
pub(super) fn in_order<'a>(ids: impl Iterator<Item = &'a String>, numbers: &Numbers, most: usize) -> Vec<String> {
    let mut ids: Vec<&String> = ids.collect();
    ids.sort_by_key(|id| numbers.get(&id_hash(id)).copied().unwrap_or(u64::MAX));
    ids.into_iter().take(most).cloned().collect()
}
