//! A batch on its way: noted before it is sent, settled after a lost answer, and what becomes of its rows.

use super::{Delivery, Stop};
use crate::destination::row_op::RowOp;
use crate::destination::{self, Batch, BatchStatus, Destination, RowChange, Verdict};
use crate::remote::{Cause, Error, Kind};
use crate::store::{self, PendingBatch};

/// Number of rows refused alone, one after the other, after which a place without accepted rows is to blame.
const SUSPECTS: usize = 3;

/// Number of rows refused alone after which a place with accepted rows is to blame.
const SUSPECTS_AMONG_GOOD: usize = 10;

impl Delivery<'_> {
    /// Cuts a batch, sends it and stays with it until its outcome is known. Returns the number of items covered; 0:
    /// another batch took the number.
    ///
    /// If a batch is refused whole and the words do not name the row to blame, the rows at the front are tried alone.
    /// They are refused for good only once another row is accepted; if no row is, the place is in the way, and all of
    /// them wait for it.
    pub(super) async fn send(&mut self, destination: &mut dyn Destination, items: &[RowChange]) -> Result<usize, Stop> {
        let (mut offered, mut refused) = (items, Vec::new());
        loop {
            let number = self.state.last_batch + 1;
            let batch = self.prepare(destination, number, offered).await?;
            let covered = &offered[..batch.taken];
            let error = match self.send_batch(destination, &batch, covered).await {
                Ok(Some(verdicts)) => {
                    self.contrast = self.contrast.map(|_| true);
                    let front = refused.len();
                    self.record_verdicts(&items[..front], refused);
                    self.record_verdicts(covered, verdicts);
                    return Ok(front + covered.len());
                }
                Ok(None) => return Ok(0),
                Err(Stop::Service(error)) if error.is_refusal() => error,
                Err(stop) => return Err(stop),
            };
            self.contrast.get_or_insert(false);
            if covered.len() > 1 {
                offered = &covered[..self.smaller(&error, covered.len(), refused.len())?];
                continue;
            }
            refused.push(Verdict::Rejected(error.message.clone()));
            let (front, suspects) = (refused.len(), self.suspects());
            if error.kind == Kind::Rejected && front == 1 {
                self.record_verdicts(covered, refused);
                return Ok(1);
            }
            if front > suspects || front == items.len() {
                return self.give_up(items, refused, error);
            }
            // In the end all others at once.
            offered = if front < suspects { &items[front..=front] } else { &items[front..] };
        }
    }

    /// Number of rows to try after `together` rows were refused together: half of them, if the place is known to accept
    /// rows or the words speak of the rows; else one.
    fn smaller(&self, error: &Error, together: usize, alone: usize) -> Result<usize, Error> {
        if error.kind == Kind::Rejected || alone == 0 && self.contrast == Some(true) {
            return Ok(together / 2);
        }
        let shut = shut(error, alone.max(SUSPECTS));
        // The last cycle has tried rows alone and found them all refused: once more would show nothing new.
        let before = self.state.attention.as_ref().map(|attention| &attention.message);
        if alone > 0 || before == Some(&shut.message) { Err(shut) } else { Ok(1) }
    }

    /// Number of rows refused alone, one after the other, after which the place and not the rows is to blame.
    fn suspects(&self) -> usize {
        if self.contrast == Some(true) { SUSPECTS_AMONG_GOOD } else { SUSPECTS }
    }

    /// Not one of these rows was taken. A few left over where others were taken are to blame themselves, and rows that
    /// were set aside before stay so; others wait for the place.
    fn give_up(&mut self, items: &[RowChange], mut refused: Vec<Verdict>, error: Error) -> Result<usize, Stop> {
        let set_aside = |item: &RowChange| self.state.rows.is_rejected(&item.transaction.row.id);
        let left_over =
            self.contrast == Some(true) && refused.len() == items.len() && items.len() < SUSPECTS_AMONG_GOOD;
        if !left_over && !items.iter().all(set_aside) {
            return Err(shut(&error, refused.len().min(SUSPECTS)).into());
        }
        refused.resize(items.len(), Verdict::Rejected(error.message));
        self.record_verdicts(items, refused);
        Ok(items.len())
    }

    async fn prepare(
        &self,
        destination: &mut dyn Destination,
        number: u64,
        items: &[RowChange],
    ) -> Result<Batch, Error> {
        let engine = self.engine;
        let mut tried = 0;
        loop {
            tried += 1;
            match destination.prepare(number, items).await {
                Err(error) => engine.backoff.wait(&engine.shutdown, tried, error).await?,
                batch => return batch,
            }
        }
    }

    /// Sends one batch, again after a lost answer if it was not applied. `None`: superseded.
    async fn send_batch(
        &mut self,
        destination: &mut dyn Destination,
        batch: &Batch,
        items: &[RowChange],
    ) -> Result<Option<Vec<Verdict>>, Stop> {
        // A former try may still be under way: a refusal then speaks of this one only.
        let mut unclear = self.state.pending.iter().any(|old| old.number == batch.number && old.hash == batch.hash);
        self.note_outside_filter(items);
        if !batch.body.is_empty() {
            self.state.pending.retain(|old| old.number == batch.number && old.hash != batch.hash);
            self.state.pending.push(self.pending(batch, items));
            // A later cycle that finds the batch must know the destination's state as well.
            self.state.set_connector(&destination.state().memory);
            self.save()?;
        }
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match destination.write(batch, items).await {
                Ok(destination::Outcome::Done(written)) => {
                    self.acknowledge(batch);
                    self.note_written(batch, items, &written.misplaced);
                    return Ok(Some(written.verdicts));
                }
                Ok(destination::Outcome::Superseded { hash }) => {
                    self.superseded(batch.number, hash)?;
                    return Ok(None);
                }
                Err(error) => error,
            };
            unclear |= error.is_transient();
            // A refused batch was not applied, be it for the row's sake or the place's.
            if (error.is_refusal() || error.cause().is_some()) && !unclear {
                self.state.pending.retain(|old| old.hash != batch.hash);
            }
            self.engine.backoff.wait(&self.engine.shutdown, tried, error).await?;
            match destination.status(batch.number, batch.hash).await {
                Ok((BatchStatus::Applied, misplaced)) => {
                    self.acknowledge(batch);
                    self.note_written(batch, items, &misplaced);
                    return Ok(Some(items.iter().map(applied).collect()));
                }
                Ok((BatchStatus::NotApplied, _)) => {}
                Ok((BatchStatus::Superseded { hash }, _)) => {
                    self.superseded(batch.number, hash)?;
                    return Ok(None);
                }
                // Still unclear: the next try of the same batch is harmless, it cannot apply twice.
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes delivered rows whose present version the filter refuses: a later change finds no other trace of their delivery.
    fn note_outside_filter(&mut self, items: &[RowChange]) {
        let is_outside = |item: &&RowChange| item.op != RowOp::Insert && !self.config.filter.accepts(&item.transaction);
        for item in items.iter().filter(is_outside) {
            self.state.rows.keep_outside_filter(item.transaction.row.id.clone());
        }
    }

    fn pending(&self, batch: &Batch, items: &[RowChange]) -> PendingBatch {
        let set_aside = |id: &&String| self.state.rows.is_rejected(id) || self.state.rows.is_suppressed(id);
        let returning = items.iter().map(|item| &item.transaction.row.id).filter(set_aside).cloned().collect();
        let through = items.last().map_or(0, |item| item.seq);
        let by_position = self.unverified(batch, items);
        PendingBatch { number: batch.number, hash: batch.hash, through, returning, by_position }
    }

    /// Finds out what became of batches whose answers a former cycle never got.
    pub(super) async fn settle(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        for intent in self.state.pending.clone() {
            // The rows that are noted with a pending batch say more than what the destination sees of it by now.
            let (status, _) = destination.status(intent.number, intent.hash).await?;
            match status {
                BatchStatus::Applied => {
                    return Ok(self.superseded(intent.number, intent.hash)?);
                }
                BatchStatus::Superseded { hash } => {
                    self.superseded(intent.number, hash)?;
                    return Ok(());
                }
                // The batch may still arrive. The next batch bears the same number, so only one of the two can apply,
                // and the batch stays noted until that number is taken.
                BatchStatus::NotApplied => {}
            }
        }
        Ok(())
    }

    /// Before the watermark passes a batch that may still arrive, its number is taken, so that it never will. `false`:
    /// it, or somebody else's, has arrived.
    pub(super) async fn fence(&mut self, destination: &mut dyn Destination) -> Result<bool, Stop> {
        if self.state.pending.is_empty() {
            return Ok(true);
        }
        let number = self.state.last_batch + 1;
        match destination.fence(number).await? {
            Some(hash) => {
                self.superseded(number, hash)?;
                Ok(false)
            }
            None => {
                self.state.last_batch = number;
                self.state.pending.clear();
                Ok(true)
            }
        }
    }

    /// A batch of this number is in the ledger. If it was one of ours, its rows are there; if not, somebody else writes
    /// to the same place and what is there must be read before anything is appended.
    fn superseded(&mut self, number: u64, hash: u64) -> Result<(), store::Error> {
        let ours = self.state.pending.iter().find(|intent| intent.number == number && intent.hash == hash).cloned();
        match ours {
            Some(ours) => {
                self.state.unverified.extend(ours.by_position);
                self.state.watermark = self.state.watermark.max(ours.through);
                for id in &ours.returning {
                    self.state.rows.answered(id);
                }
            }
            None => self.state.needs_inventory = true,
        }
        self.ahead = None;
        self.state.last_batch = self.state.last_batch.max(number);
        self.state.pending.clear();
        self.save()
    }

    fn acknowledge(&mut self, batch: &Batch) {
        if !batch.body.is_empty() {
            self.state.last_batch = batch.number;
            self.state.pending.clear();
        }
    }

    /// Counts verdicts and remembers what the owner or the service decided about single rows.
    fn record_verdicts(&mut self, items: &[RowChange], verdicts: Vec<Verdict>) {
        for (item, verdict) in items.iter().zip(verdicts) {
            let id = &item.transaction.row.id;
            self.decided |= matches!(verdict, Verdict::Deleted | Verdict::Rejected(_));
            let was_refused = self.state.rows.answered(id);
            match verdict {
                Verdict::Appended => self.report.appended += 1,
                Verdict::Updated => self.report.updated += 1,
                Verdict::Unchanged => {}
                Verdict::Deleted => {
                    if !was_refused {
                        self.state.rows.delete(id.clone(), false);
                    }
                }
                // The row is there, and stays as it is: no reason to deliver it as a new one later.
                Verdict::Rejected(reason) if matches!(item.op, RowOp::Fill | RowOp::Rewrite) => {
                    self.report.rejected += 1;
                    self.state.rows.rewritten(id);
                    tracing::warn!("{}: what was to be written to {id} is refused: {reason}", self.config.name);
                }
                Verdict::Rejected(reason) => {
                    self.report.rejected += 1;
                    self.state.rows.reject(id.clone(), reason);
                }
            }
        }
    }
}

/// A place that refuses every row alike.
fn shut(error: &Error, rows: usize) -> Error {
    let tried = if rows == 1 { "the one row there is".to_owned() } else { format!("each of {rows} rows tried alone") };
    let what = format!(
        "{}; it refuses {tried}, so the place seems to be in the way: see whether it is full, protected or read-only; rows wait until then",
        error.message
    );
    Error::attention(Cause::Closed, what)
}

/// The verdict on an item, if only the ledger tells that its batch was applied.
fn applied(item: &RowChange) -> Verdict {
    match item.op {
        RowOp::Insert | RowOp::Restore => Verdict::Appended,
        RowOp::Leave | RowOp::Rewrite => Verdict::Unchanged,
        RowOp::Reinsert { .. } | RowOp::Update { .. } | RowOp::Fill | RowOp::Repair | RowOp::Delete => Verdict::Updated,
    }
}
