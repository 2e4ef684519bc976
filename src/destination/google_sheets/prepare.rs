//! The preparation of batches: rows are cut from the front of the items, looked up where they are written by position, and
//! wrapped into a guarded request.

use std::time::SystemTime;

use super::answer::{NUMBER_FORMAT_FIELDS, RowIds, read_number_formats};
use super::cells::OwnerFormats;
use super::changes::{Changes, rows_by_id};
use super::expected_rows::{ExpectedRows, NewRows};
use super::layout::Layout;
use super::request::{GuardedRequest, ResponseDetail};
use super::row_batch::RowBatch;
use super::state::{Prepared, Support};
use super::{GoogleSheets, MOST_ITEMS};
use crate::destination::google_sheets::settings::Order;
use crate::destination::readback::id_text;
use crate::destination::row_op::RowOp;
use crate::destination::{Batch, RowChange, Verdict};
use crate::model::{Field, Transaction};
use crate::remote::Error;

impl GoogleSheets {
    /// The id column from its first row.
    pub(super) async fn id_column(&mut self) -> Result<Vec<Vec<serde_json::Value>>, Error> {
        let (layout, ..) = self.ready().await?;
        if layout.fresh && self.known.is_bare() {
            return Ok(Vec::new());
        }
        let entry = match layout.id_entry {
            Some(entry) => entry,
            None => {
                let found = self.find().await?;
                let bound = found.column(layout.sheet, &Field::Id).map(|bound| bound.entry);
                bound.ok_or_else(|| {
                    Error::unavailable(self.names.say("the id column was removed while it was in use"))
                })?
            }
        };
        if let Some(layout) = &mut self.known.layout {
            layout.id_entry = Some(entry);
        }
        self.client().await?.column(entry).await
    }

    pub(super) async fn prepare_new(&mut self, number: u64, items: &[RowChange]) -> Result<Batch, Error> {
        let (layout, entry, ledger) = self.ready().await?;
        let order = self.config.order;
        let careful = self.is_careful();
        let owner = match RowBatch::is_styled(order, items) && !careful {
            true => self.owner_formats(&layout).await?,
            false => OwnerFormats::default(),
        };
        let cut = RowBatch::new(&layout, order, items, &owner);
        let (hash, rows) = (cut.hash(), cut.rows());
        let mut prepared = Prepared::new(number, hash, cut.verdicts.clone());
        let last = items.len() < MOST_ITEMS && cut.taken == items.len();
        if rows > 0 {
            let fresh: Vec<&Transaction> = items[..cut.taken]
                .iter()
                .zip(&cut.verdicts)
                .filter(|(_, verdict)| **verdict == Verdict::Appended)
                .map(|(item, _)| &item.transaction)
                .collect();
            let (work, landing, first_blank) = if careful {
                let (work, landing, tail) = self.place(&layout, number, &fresh, order).await?;
                (work, landing, Some(tail))
            } else {
                let by_range = cut.is_formatted_by_range(order);
                let first_blank = if by_range { Some(self.first_blank().await?) } else { layout.first_blank };
                let work = cut.requests(&layout, order, first_blank.unwrap_or_default());
                let ids = fresh.iter().map(|row| row.row.id.clone()).collect();
                let fresh = NewRows { ids, order, first: self.first_to_see(&layout), ..NewRows::default() };
                let landing = ExpectedRows { fresh: Some(fresh), ..ExpectedRows::default() };
                (work, landing, first_blank.map(|first| first + rows))
            };
            let now = unix_now();
            let removed = ledger.removable(number, now);
            let mut next = ledger.next(number, hash, rows, now, &removed);
            next.advance(items[..cut.taken].iter().map(|item| &item.transaction));
            let beside = if last { self.balances_work(&layout).await? } else { None };
            let is_watched = !std::mem::replace(&mut self.placed, true) || last || careful;
            let response = match &landing.fresh {
                Some(fresh) if is_watched => self.placement_detail(&layout, fresh),
                _ => ResponseDetail::Nothing,
            };
            let request = GuardedRequest::new(&self.guards, number, layout.sheet, entry, &next, &removed);
            prepared.request = Some(GuardedRequest { rows: work.into(), response, ..request });
            prepared.add_balances(beside);
            prepared.first_blank = first_blank;
            prepared.next = Some(next);
            prepared.landing = landing;
            if let Some(fresh) = &mut prepared.landing.fresh {
                fresh.watched = is_watched;
            }
        }
        Ok(self.hand_over(prepared, cut.taken, false))
    }

    /// The first row whose id the answer to a batch of new rows has to tell.
    fn first_to_see(&self, layout: &Layout) -> u32 {
        let header = layout.header.unwrap_or_default();
        match (self.config.order, self.memory.ending.tail) {
            (Order::OldestFirst, Some(tail)) => (tail.saturating_sub(1) as u32).max(header),
            _ => header,
        }
    }

    /// The parts that the answer to a batch of new rows shows: the rows' places, where enough is known to ask for them;
    /// else the sizes of tabs, for the next time.
    fn placement_detail(&self, layout: &Layout, fresh: &NewRows) -> ResponseDetail {
        let tabs = &self.memory.tabs;
        let is_known = match fresh.order {
            Order::OldestFirst => fresh.by_position || self.memory.ending.tail.is_some(),
            Order::NewestFirst => layout.header.is_some(),
        };
        if !tabs.is_empty() && is_known && self.answers.ids != Support::Refused {
            // A range into which rows are inserted grows by them.
            let end = (fresh.order == Order::NewestFirst).then_some(fresh.first + 2);
            let others = tabs.iter().filter(|(id, _)| **id != layout.sheet).map(|(_, tab)| tab.title.clone()).collect();
            return ResponseDetail::Placement { column: layout.id_index(), rows: (fresh.first, end), others };
        }
        match (self.answers.size, self.answers.ids) {
            (Support::Refused, _) | (_, Support::Refused) => ResponseDetail::Nothing,
            _ => ResponseDetail::Size,
        }
    }

    pub(super) async fn prepare_changes(&mut self, number: u64, items: &[RowChange]) -> Result<Batch, Error> {
        self.cut_changes(number, items, false).await
    }

    pub(super) async fn cut_changes(
        &mut self,
        number: u64,
        items: &[RowChange],
        even_empty: bool,
    ) -> Result<Batch, Error> {
        let (layout, entry, ledger) = self.ready().await?;
        // First, so that nothing stands between the look at the rows and the write.
        let beside = if items.len() < MOST_ITEMS { self.balances_work(&layout).await? } else { None };
        let first = items.first().map(|item| item.op);
        let (work, landing) = if first == Some(RowOp::Repair) {
            self.mend(items).await?
        } else if first == Some(RowOp::Rewrite) {
            self.straighten(&layout, items).await?
        } else if first == Some(RowOp::Fill) {
            let mut work = self.enrich(&layout, items).await?;
            let touches = std::mem::take(&mut work.touches);
            (work, ExpectedRows { touches, ..ExpectedRows::default() })
        } else {
            let changes = Changes::new(&layout, items);
            let column = if changes.need_rows() { self.id_column().await? } else { Vec::new() };
            let rows = rows_by_id(&column);
            let appends = changes.may_append(&rows);
            let careful = appends && self.is_careful();
            let owner = match appends && !careful {
                true => self.owner_formats(&layout).await?,
                false => OwnerFormats::default(),
            };
            let mut work = changes.work(&rows, &owner, careful);
            let mut landing = ExpectedRows::default();
            if careful && !work.restored.is_empty() {
                let restored: Vec<&Transaction> = work.restored.iter().map(|at| &items[*at].transaction).collect();
                let (mut placed, seen, _) = self.place(&layout, number, &restored, Order::OldestFirst).await?;
                landing = seen;
                // Below all rows of ours: no other is moved by it.
                if !work.requests.is_empty() {
                    placed.push(b',');
                }
                placed.append(&mut work.requests);
                work.requests = placed;
            }
            landing.touches = std::mem::take(&mut work.touches);
            if landing.deletes() {
                landing.before = RowIds::column(column).ids;
            }
            (work, landing)
        };
        let mut prepared = Prepared::new(number, work.hash, work.verdicts.clone());
        if even_empty || !work.requests.is_empty() {
            let now = unix_now();
            let removed = ledger.removable(number, now);
            // Rows that return were counted when they first came.
            let next = ledger.next(number, work.hash, 0, now, &removed);
            let last = items.len() < MOST_ITEMS && work.verdicts.len() == items.len();
            let beside = beside.filter(|_| last);
            let response = match layout.places.iter().find(|place| place.field == Field::Id) {
                Some(place)
                    if (!landing.touches.is_empty() || landing.fresh.is_some())
                        && self.answers.ids != Support::Refused =>
                {
                    ResponseDetail::Ids { column: place.index, first: landing.first() }
                }
                _ if last && self.answers.size != Support::Refused => ResponseDetail::Size,
                _ => ResponseDetail::Nothing,
            };
            let request = GuardedRequest::new(&self.guards, number, layout.sheet, entry, &next, &removed);
            prepared.request = Some(GuardedRequest { rows: work.requests.into(), response, ..request });
            prepared.add_balances(beside);
            prepared.next = Some(next);
            prepared.landing = landing;
        }
        Ok(self.hand_over(prepared, work.verdicts.len(), true))
    }

    /// Keeps a prepared batch until it is sent.
    fn hand_over(&mut self, prepared: Prepared, taken: usize, by_position: bool) -> Batch {
        // The request itself stays here; the batch says by these bytes only that there is one.
        let body = prepared.request.as_ref().map_or_else(Vec::new, |request| request.guard.clone().into_bytes());
        let batch = Batch { number: prepared.number, taken, hash: prepared.hash, body, by_position };
        self.prepared = Some(prepared);
        batch
    }

    /// The number formats of the owner's cells among ours, as his first row has them: what is appended carries formats
    /// along, and those of his cells must not be cleared by that. The row is read only where a column of his is among ours.
    async fn owner_formats(&mut self, layout: &Layout) -> Result<OwnerFormats, Error> {
        if !layout.interleaved() || layout.fresh {
            return Ok(OwnerFormats::default());
        }
        let ours = |at: &u32| layout.places.iter().any(|place| place.index == *at);
        let (sheet, top) = (layout.sheet, layout.top());
        let range = serde_json::json!({ "sheetId": sheet, "startRowIndex": top, "endRowIndex": top + 1 });
        let answer = self.client().await?.look(range, NUMBER_FORMAT_FIELDS).await?;
        let mut formats = read_number_formats(&answer).map_err(|_| self.garbled())?;
        formats.retain(|at, _| *at < layout.width() && !ours(at));
        Ok(OwnerFormats(formats))
    }

    /// The row from which on there is none of ours, at least the one below the header; read only where cells cannot carry
    /// their format along.
    async fn first_blank(&mut self) -> Result<u64, Error> {
        if let Some(first) = self.known.layout.as_ref().and_then(|layout| layout.first_blank) {
            return Ok(first);
        }
        let column = self.id_column().await?;
        let last = column.iter().rposition(|cells| cells.first().and_then(id_text).is_some());
        let top = self.known.layout.as_ref().map_or(0, Layout::top).max(1).into();
        Ok(last.map_or(top, |last| last as u64 + 1).max(top))
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
