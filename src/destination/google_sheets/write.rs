//! Writing of prepared batches: sending them, leaving out parts that are refused, and finding out the fate of a batch.

use std::time::Duration;

use hyper::body::Bytes;

use super::answer::{RowIds, Written};
use super::cells;
use super::changes::Changes;
use super::client::Failure;
use super::prepare::unix_now;
use super::request::{GuardedRequest, ResponseDetail};
use super::state::Support;
use super::{GoogleSheets, is_by_position};
use crate::destination::google_sheets::settings::Order;
use crate::destination::row_op::RowOp;
use crate::destination::{Batch, BatchStatus, Outcome, RowChange, Verdict};
use crate::remote::Error;

/// The age up to which positions of rows are written to. Rows that are moved in between are noticed after the write; a
/// short age keeps them rare.
const POSITIONS_GOOD: Duration = Duration::from_secs(2);

/// The hash of a batch that only takes its number.
const NOTHING: u64 = u64::from_be_bytes(*b"nothing.");

/// The fate of a batch.
pub(super) enum Sent {
    /// The batch was carried out now. The ids are those of the answer.
    Now(Option<RowIds>),
    /// The batch had been carried out before.
    Before,
    /// The number was taken.
    Refused(Outcome),
}

impl GoogleSheets {
    /// The verdicts of a batch, also of a batch that another process cut.
    pub(super) fn verdicts(&self, batch: &Batch, items: &[RowChange]) -> Vec<Verdict> {
        if let Some(prepared) = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash)) {
            return prepared.verdicts.clone();
        }
        let Some(layout) = &self.known.layout else { return Vec::new() };
        if items.first().is_some_and(|item| item.op == RowOp::Insert) {
            let verdict = |item: &RowChange| {
                cells::too_long(layout, &item.transaction).map_or(Verdict::Appended, Verdict::Rejected)
            };
            return items.iter().map(verdict).collect();
        }
        if items.first().is_some_and(|item| matches!(item.op, RowOp::Repair | RowOp::Fill)) {
            return vec![Verdict::Updated; items.len()];
        }
        if items.first().is_some_and(|item| item.op == RowOp::Rewrite) {
            return vec![Verdict::Unchanged; items.len()];
        }
        Changes::new(layout, items).presumed()
    }

    /// The request to send now. Positions of rows that may have moved since are read again.
    /// Number and hash stay, so whichever version arrives first is the only one. `None`: the batch was cut for columns
    /// that have moved since.
    pub(super) async fn present_request(
        &mut self,
        batch: &Batch,
        items: &[RowChange],
    ) -> Result<Option<GuardedRequest>, Error> {
        let is_placed = self.prepared.as_ref().is_some_and(|prepared| {
            prepared.is(batch.number, batch.hash)
                && prepared.landing.fresh.as_ref().is_some_and(|fresh| fresh.by_position)
        });
        let by_position = is_by_position(items) || is_placed;
        let prepared = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash));
        let good = prepared.is_some_and(|prepared| !prepared.sent && prepared.at.elapsed() < POSITIONS_GOOD);
        // Between two tries lie seconds, or minutes.
        if prepared.is_some_and(|prepared| prepared.sent) && self.columns_moved().await? {
            return Ok(None);
        }
        let known = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash));
        if let Some(request) = known.and_then(|prepared| prepared.request.as_ref()).filter(|_| !by_position || good) {
            return Ok(Some(request.clone()));
        }
        // Even where no row is left to write to, the number is used up: an earlier try that arrives late must not apply.
        let prepared = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash));
        let resent = prepared.is_none_or(|prepared| prepared.sent);
        let before = self.prepared.as_mut().and_then(|prepared| prepared.landing.fresh.take());
        let again = match is_by_position(items) {
            true => self.cut_changes(batch.number, items, true).await?,
            false => self.prepare_new(batch.number, items).await?,
        };
        if let Some(prepared) = &mut self.prepared {
            prepared.resent = resent && is_by_position(items);
            // Whichever version is carried out, what it may hit was there before the first.
            if let (Some(before), Some(now)) = (before, &mut prepared.landing.fresh) {
                let known: Vec<String> = now.before.iter().map(|(_, id)| id.clone()).collect();
                now.before.extend(before.before.into_iter().filter(|(_, id)| !known.contains(id)));
                now.before.sort_unstable();
            }
        }
        let same = (again.hash, again.taken) == (batch.hash, items.len());
        Ok(self.prepared.as_ref().and_then(|prepared| prepared.request.clone()).filter(|_| same))
    }

    /// True where columns are elsewhere than they were when the batch under way was cut.
    async fn columns_moved(&mut self) -> Result<bool, Error> {
        if self.known.is_older_than(POSITIONS_GOOD) {
            let found = self.find().await?;
            self.look_for_moves(&found);
        }
        Ok(self.known.layout.is_none())
    }

    /// Gives a batch up whose columns have moved, so that the engine cuts its rows anew. An earlier try may still arrive:
    /// its number is taken first.
    pub(super) async fn leave(&mut self, batch: &Batch) -> Result<Outcome, Error> {
        let taken_by = self.close_once(batch.number).await?;
        Ok(Outcome::Superseded { hash: taken_by.unwrap_or(NOTHING) })
    }

    /// Sends a body as it is, and takes over the tabs that its answer shows.
    pub(super) async fn send_body(&mut self, body: Bytes) -> Result<(), Failure> {
        self.exchange(body, &ResponseDetail::Size, 0).await.map(|_| ())
    }

    /// Sends a guarded request as it is. The ids in the answer, where the request asks for them.
    pub(super) async fn send_request(&mut self, request: &GuardedRequest) -> Result<Option<RowIds>, Failure> {
        self.exchange(request.encode(), &request.response, request.sheet).await
    }

    async fn exchange(
        &mut self,
        body: Bytes,
        response: &ResponseDetail,
        sheet: i32,
    ) -> Result<Option<RowIds>, Failure> {
        let answer = self.client().await?.send(response.query(), body).await?;
        // A 200 says that the write was applied, but a body that is cut or foreign proves nothing: the ledger is asked.
        let cut = |_| Error::unavailable(self.names.say("the answer to a write cannot be read"));
        let written = Written::read(&answer, response, sheet).map_err(cut)?;
        if matches!(response, ResponseDetail::Placement { .. }) {
            self.memory.tabs.extend(written.tabs);
        } else if !written.tabs.is_empty() {
            self.memory.tabs = written.tabs;
        }
        Ok(written.ids)
    }

    /// Sends a guarded request, with fewer parts where others are refused. Should all of it be refused, the ledger says
    /// whether the guard was the reason: its sentence is known, but another sentence may come first.
    pub(super) async fn send(&mut self, batch: &Batch, mut request: GuardedRequest) -> Result<Sent, Error> {
        let shows_ids = request.response.shows_ids();
        let mut is_without_response = false;
        loop {
            let failure = match self.send_request(&request).await {
                Ok(landed) => {
                    if is_without_response {
                        *self.answers.support(shows_ids) = Support::Refused;
                    }
                    return Ok(Sent::Now(landed));
                }
                Err(failure) => failure,
            };
            let Some(message) = &failure.refused else { return Err(failure.error) };
            if self.guards.refused(batch.number, message) {
                return self.superseded_or_done(batch).await.map(Sent::Refused);
            }
            if std::mem::take(&mut is_without_response) {
                *self.answers.support(shows_ids) = Support::Blameless;
            } else if let Some(blames_response) = self.blames_response(&request.response, &failure.error, message) {
                (request.response, is_without_response) = (ResponseDetail::Nothing, blames_response);
                continue;
            }
            // The first requests are the guard and the first of the rows.
            let of_rows = ["requests[0]", "requests[1]"].iter().any(|first| message.contains(first));
            // Rows never wait for the balances: a problem with the balances is reported when they are written alone.
            if !of_rows && self.refused.is_none() && !request.extras.is_empty() {
                request.extras = Bytes::new();
                self.leave_balances_out(batch);
                continue;
            }
            // The place is in the way, and no row was applied: neither a smaller batch nor the ledger would show more.
            if failure.error.cause().is_some() {
                return Err(failure.error);
            }
            // The owner may have tidied up the named ranges whose removal was asked for.
            if !of_rows && !request.removals.is_empty() {
                request.removals.clear();
                continue;
            }
            let words = (batch.number, message.clone());
            return self.settle_refusal(batch, words, failure.error).await;
        }
    }

    /// Tells if a refusal may mean the parts of the spreadsheet that the request asks for: `Some(true)` where Google may not
    /// support them, `Some(false)` where the row that the guard names may be outside of the grid by now.
    fn blames_response(&mut self, response: &ResponseDetail, error: &Error, message: &str) -> Option<bool> {
        let is_placement = matches!(response, ResponseDetail::Placement { .. });
        if is_placement && message.starts_with("Invalid requests[0].addNamedRange") {
            return Some(false);
        }
        // A tab whose title is known may be called otherwise.
        let is_no_range = response.shows_ids() && message.to_ascii_lowercase().contains("unable to parse range");
        if is_no_range {
            self.memory.tabs.clear();
        }
        // Google documents an answer with size or ids, and no recording has shown one. No row is to blame for a refusal of
        // it, and a refusal that names one of the requests does not mean it.
        let is_possible = *response != ResponseDetail::Nothing && !message.contains("requests[");
        let is_unknown = *self.answers.support(response.shows_ids()) == Support::Unknown;
        (is_possible && is_unknown && (error.is_refusal() || is_no_range)).then_some(true)
    }

    /// Finds out by the ledger what a refusal means that names neither the guard nor a part to leave out.
    async fn settle_refusal(&mut self, batch: &Batch, words: (u64, String), error: Error) -> Result<Sent, Error> {
        // With the same words about the same number the ledger has told already that the guard is not meant.
        if self.refused.as_ref() == Some(&words) {
            return Err(error);
        }
        let ledger = self.read_ledger().await?;
        self.refused = Some(words);
        match ledger.settle(batch.number, batch.hash) {
            BatchStatus::NotApplied => Err(error),
            BatchStatus::Applied => Ok(Sent::Before),
            BatchStatus::Superseded { hash } => Ok(Sent::Refused(Outcome::Superseded { hash })),
        }
    }

    /// The batch goes on without the balances.
    fn leave_balances_out(&mut self, batch: &Batch) {
        if let Some(prepared) = self.prepared.as_mut().filter(|prepared| prepared.is(batch.number, batch.hash)) {
            prepared.balances = None;
            if let Some(request) = &mut prepared.request {
                request.extras = Bytes::new();
            }
        }
    }

    /// Guard and ledger without rows between them.
    pub(super) async fn close_once(&mut self, number: u64) -> Result<Option<u64>, Error> {
        let (layout, entry, ledger) = self.ready().await?;
        let taken_by = |hash| if hash == NOTHING { None } else { Some(hash) };
        if let Some(hash) = ledger.applied(number) {
            return Ok(taken_by(hash));
        }
        let now = unix_now();
        let removed = ledger.removable(number, now);
        let next = ledger.next(number, NOTHING, 0, now, &removed);
        let request = GuardedRequest::new(&self.guards, number, layout.sheet, entry, &next, &removed);
        let batch = Batch { number, taken: 0, hash: NOTHING, body: Vec::new(), by_position: false };
        // The known ledger is old after any outcome.
        self.known.ledger = None;
        match self.send(&batch, request).await? {
            Sent::Refused(Outcome::Superseded { hash }) => Ok(taken_by(hash)),
            _ => {
                self.memory.floor = self.memory.floor.max(number);
                Ok(None)
            }
        }
    }

    pub(super) async fn superseded_or_done(&mut self, batch: &Batch) -> Result<Outcome, Error> {
        // The number is used up under any ledger.
        self.memory.floor = self.memory.floor.max(batch.number);
        let ledger = self.read_ledger().await?;
        Ok(match ledger.settle(batch.number, batch.hash) {
            BatchStatus::Applied => Outcome::Done(Vec::new().into()),
            BatchStatus::Superseded { hash } => Outcome::Superseded { hash },
            BatchStatus::NotApplied => Outcome::Superseded { hash: 0 },
        })
    }

    /// Takes over what an applied batch changed.
    pub(super) fn applied(&mut self, batch: &Batch) {
        self.memory.floor = self.memory.floor.max(batch.number);
        self.balances_written(batch.number, batch.hash);
        let prepared = self.prepared.as_mut().filter(|prepared| prepared.is(batch.number, batch.hash));
        let appended = prepared.as_ref().and_then(|prepared| prepared.landing.fresh.as_ref());
        let appended = appended.filter(|fresh| fresh.order == Order::OldestFirst).map(|fresh| fresh.ids.len() as u64);
        let (next, first_blank) = prepared.map_or((None, None), |prepared| {
            // The rows of an applied batch would only take memory.
            prepared.request = None;
            (prepared.next.take(), prepared.first_blank)
        });
        // A ledger that was read since is as good, or newer.
        let known = self.known.ledger.as_ref().is_some_and(|(_, ledger)| ledger.seq >= batch.number);
        match (next, &mut self.known.ledger) {
            (Some(next), Some((_, ledger))) if !known => *ledger = next,
            _ if known => {}
            _ => self.known.ledger = None,
        }
        if let Some(layout) = &mut self.known.layout {
            layout.first_blank = first_blank;
        }
        if let Some(rows) = appended {
            let ending = &mut self.memory.ending;
            ending.tail = ending.tail.map(|tail| tail + rows);
        }
    }
}
