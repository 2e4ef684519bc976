//! The middle of a cycle: cutting batches, sending them, and knowing what became of them.

use std::time::{Duration, SystemTime};

use hyper::body::Bytes;

use super::batch::{Asks, Cut, Envelope, asks_for_ids, asks_for_landing, unasking, with_plain_guard, without_removals};
use super::body::{self, OwnerFormats};
use super::changes::{Changes, rows_by_id};
use super::landing::{Fresh, Landed, Landing};
use super::layout::Layout;
use super::{GoogleSheets, MOST_ITEMS, Measuring, Prepared, is_by_position};
use crate::destination::google_sheets::settings::Order;
use crate::destination::readback::{id_text, is_id};
use crate::destination::{Batch, Item, Outcome, Settled, Verdict, What};
use crate::model::{Field, Transaction};
use crate::remote::Error;

/// How old found positions of rows may be when they are written to. Whatever is moved in between is noticed after it, so
/// this only has to keep that rare.
const POSITIONS_GOOD: Duration = Duration::from_secs(2);

/// The hash of a batch that only takes its number.
const NOTHING: u64 = u64::from_be_bytes(*b"nothing.");

/// What became of a batch.
pub(super) enum Sent {
    /// It was carried out, and this is where, if the answer says so.
    Now(Option<Landed>),
    /// It had been carried out before.
    Before,
    /// The number was taken.
    Refused(Outcome),
}

impl GoogleSheets {
    /// The id column from its first row.
    pub(super) async fn id_column(&mut self) -> Result<Vec<Vec<serde_json::Value>>, Error> {
        let (layout, ..) = self.ready().await?;
        if layout.fresh && self.ledger.as_ref().is_none_or(|(_, ledger)| ledger.rows == 0) {
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
        if let Some(layout) = &mut self.layout {
            layout.id_entry = Some(entry);
        }
        self.transport().await?.column(entry).await
    }

    pub(super) async fn prepare_new(&mut self, number: u64, items: &[Item]) -> Result<Batch, Error> {
        let (layout, entry, ledger) = self.ready().await?;
        let order = self.config.order;
        let careful = self.is_careful();
        let owner = match Cut::is_styled(order, items) && !careful {
            true => self.owner_formats(&layout).await?,
            false => OwnerFormats::default(),
        };
        let cut = Cut::new(&layout, order, items, &owner);
        let (hash, rows) = (cut.hash(), cut.rows());
        let mut prepared = Prepared::new(number, hash, cut.verdicts.clone());
        let mut body = Vec::new();
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
                let fresh = Fresh { ids, order, first: self.first_to_see(&layout), ..Fresh::default() };
                let landing = Landing { fresh: Some(fresh), ..Landing::default() };
                (work, landing, first_blank.map(|first| first + rows))
            };
            let now = unix_now();
            let removed = ledger.removable(number, now);
            let mut next = ledger.next(number, hash, rows, now, &removed);
            next.advance(items[..cut.taken].iter().map(|item| &item.transaction));
            let beside = if last { self.balances_work(&layout).await? } else { None };
            let is_watched = !std::mem::replace(&mut self.placed, true) || last || careful;
            let asks = match &landing.fresh {
                Some(fresh) if is_watched => self.asks_for_landing(&layout, fresh),
                _ => Asks::Nothing,
            };
            let envelope = Envelope { guards: &self.guards, layout: &layout, ledger_entry: entry, number, asks };
            body = prepared.wrap(&envelope, &work, beside, &next, &removed);
            prepared.first_blank = first_blank;
            prepared.next = Some(next);
            prepared.landing = landing;
            if let Some(fresh) = &mut prepared.landing.fresh {
                fresh.watched = is_watched;
            }
        }
        self.prepared = Some(prepared);
        Ok(Batch { number, taken: cut.taken, hash, body })
    }

    /// The first row whose id the answer to a batch of new rows has to tell.
    fn first_to_see(&self, layout: &Layout) -> u32 {
        let header = layout.header.unwrap_or_default();
        match (self.config.order, self.memory.ending.tail) {
            (Order::OldestFirst, Some(tail)) => (tail.saturating_sub(1) as u32).max(header),
            _ => header,
        }
    }

    /// What the answer to a batch of new rows is to say: where they landed, where enough is known to ask for it; else what
    /// will have to be known then.
    fn asks_for_landing(&self, layout: &Layout, fresh: &Fresh) -> Asks {
        let tabs = self.tabs();
        let is_known = match fresh.order {
            Order::OldestFirst => fresh.by_position || self.memory.ending.tail.is_some(),
            Order::NewestFirst => layout.header.is_some(),
        };
        if !tabs.is_empty() && is_known && self.locating != Measuring::Refused {
            // A range into which rows are inserted grows by them.
            let end = (fresh.order == Order::NewestFirst).then_some(fresh.first + 2);
            let others = tabs.into_iter().filter(|(id, _)| *id != layout.sheet).map(|(_, tab)| tab.title);
            return Asks::Landing { column: layout.id_index(), rows: (fresh.first, end), others: others.collect() };
        }
        match (self.measuring, self.locating) {
            (Measuring::Refused, _) | (_, Measuring::Refused) => Asks::Nothing,
            _ => Asks::Size,
        }
    }

    pub(super) async fn prepare_changes(&mut self, number: u64, items: &[Item]) -> Result<Batch, Error> {
        self.cut_changes(number, items, false).await
    }

    async fn cut_changes(&mut self, number: u64, items: &[Item], even_empty: bool) -> Result<Batch, Error> {
        let (layout, entry, ledger) = self.ready().await?;
        // First, so that nothing stands between the look at the rows and the write.
        let beside = if items.len() < MOST_ITEMS { self.balances_work(&layout).await? } else { None };
        let first = items.first().map(|item| item.what);
        let (work, landing) = if first == Some(What::Mend) {
            self.mend(items).await?
        } else if first == Some(What::Astray) {
            self.straighten(&layout, items).await?
        } else if first == Some(What::Enriched) {
            let mut work = self.enrich(&layout, items).await?;
            let touches = std::mem::take(&mut work.touches);
            (work, Landing { touches, ..Landing::default() })
        } else {
            let policy = self.config.rows.clone();
            let changes = Changes::new(&layout, &policy, items);
            let column = if changes.need_rows() { self.id_column().await? } else { Vec::new() };
            let rows = rows_by_id(&column);
            let appends = changes.may_append(&rows);
            let careful = appends && self.is_careful();
            let owner = match appends && !careful {
                true => self.owner_formats(&layout).await?,
                false => OwnerFormats::default(),
            };
            let mut work = changes.work(&rows, &owner, careful);
            let mut landing = Landing::default();
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
                landing.before = Landed::column(column).ids;
            }
            (work, landing)
        };
        let mut prepared = Prepared::new(number, work.hash, work.verdicts.clone());
        let mut body = Vec::new();
        if even_empty || !work.requests.is_empty() {
            let now = unix_now();
            let removed = ledger.removable(number, now);
            // Rows that return were counted when they first came.
            let next = ledger.next(number, work.hash, 0, now, &removed);
            let last = items.len() < MOST_ITEMS && work.verdicts.len() == items.len();
            let beside = beside.filter(|_| last);
            let asks = match layout.places.iter().find(|place| place.field == Field::Id) {
                Some(place)
                    if (!landing.touches.is_empty() || landing.fresh.is_some())
                        && self.locating != Measuring::Refused =>
                {
                    Asks::Ids { column: place.index, first: landing.first() }
                }
                _ if last && self.measuring != Measuring::Refused => Asks::Size,
                _ => Asks::Nothing,
            };
            let envelope = Envelope { guards: &self.guards, layout: &layout, ledger_entry: entry, number, asks };
            body = prepared.wrap(&envelope, &work.requests, beside, &next, &removed);
            prepared.next = Some(next);
            prepared.landing = landing;
        }
        self.prepared = Some(prepared);
        Ok(Batch { number, taken: work.verdicts.len(), hash: work.hash, body })
    }

    /// The number formats of the owner's cells among ours, as his first row has them: what is appended carries formats
    /// along, and those of his cells must not be cleared by that. Where none of his columns is among ours nothing is read.
    async fn owner_formats(&mut self, layout: &Layout) -> Result<OwnerFormats, Error> {
        if !layout.interleaved() || layout.fresh {
            return Ok(OwnerFormats::default());
        }
        let ours = |at: &u32| layout.places.iter().any(|place| place.index == *at);
        let mut formats = self.transport().await?.number_formats(layout.sheet, layout.top()).await?;
        formats.retain(|at, _| *at < layout.width() && !ours(at));
        Ok(OwnerFormats(formats))
    }

    /// The row from which on there is none of ours, at least the one below the header; read only where cells cannot carry
    /// their format along.
    async fn first_blank(&mut self) -> Result<u64, Error> {
        if let Some(first) = self.layout.as_ref().and_then(|layout| layout.first_blank) {
            return Ok(first);
        }
        let column = self.id_column().await?;
        let last = column.iter().rposition(|cells| cells.first().and_then(id_text).is_some());
        let top = self.layout.as_ref().map_or(0, Layout::top).max(1).into();
        Ok(last.map_or(top, |last| last as u64 + 1).max(top))
    }

    /// The verdicts of a batch, also where another process cut it.
    pub(super) fn verdicts(&self, batch: &Batch, items: &[Item]) -> Vec<Verdict> {
        if let Some(prepared) = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash)) {
            return prepared.verdicts.clone();
        }
        let Some(layout) = &self.layout else { return Vec::new() };
        if items.first().is_some_and(|item| item.what == What::New) {
            let verdict =
                |item: &Item| body::too_long(layout, &item.transaction).map_or(Verdict::Appended, Verdict::Rejected);
            return items.iter().map(verdict).collect();
        }
        if items.first().is_some_and(|item| matches!(item.what, What::Mend | What::Enriched)) {
            return vec![Verdict::Updated; items.len()];
        }
        if items.first().is_some_and(|item| item.what == What::Astray) {
            return vec![Verdict::Unchanged; items.len()];
        }
        Changes::new(layout, &self.config.rows, items).presumed()
    }

    /// The body to send now. Rows may have moved since their positions were read: then they are read again. Number and
    /// hash stay, so whichever version arrives first is the only one. `None`: it was cut for columns that have moved since.
    pub(super) async fn present_body(&mut self, batch: &Batch, items: &[Item]) -> Result<Option<Vec<u8>>, Error> {
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
        if !by_position || good {
            return Ok(Some(batch.body.clone()));
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
        Ok(same.then_some(again.body))
    }

    /// Whether columns are elsewhere than they were when the batch under way was cut.
    async fn columns_moved(&mut self) -> Result<bool, Error> {
        if self.opened_at.is_none_or(|at| at.elapsed() > POSITIONS_GOOD) {
            let found = self.find().await?;
            self.look_for_moves(&found);
        }
        Ok(self.layout.is_none())
    }

    /// Gives a batch up whose columns have moved, so that the engine cuts its rows anew. An earlier try may still arrive:
    /// its number is taken first.
    pub(super) async fn leave(&mut self, batch: &Batch) -> Result<Outcome, Error> {
        let taken_by = self.close_once(batch.number).await?;
        Ok(Outcome::Superseded { hash: taken_by.unwrap_or(NOTHING) })
    }

    /// Sends a guarded body. Should it be refused, the ledger says whether the guard was the reason: its sentence is
    /// known, but that another one comes first is not impossible, and reading once settles it.
    pub(super) async fn send(&mut self, batch: &Batch, body: Vec<u8>) -> Result<Sent, Error> {
        let mut body = Bytes::from(body);
        let asked_for_ids = asks_for_ids(&body) || asks_for_landing(&body);
        let sheet = self.layout.as_ref().map_or(0, |layout| layout.sheet);
        let mut beside = self.beside(batch);
        let mut without = false;
        loop {
            let failure = match self.transport().await?.send_to(sheet, body.clone()).await {
                Ok(landed) => {
                    if without {
                        *self.asking(asked_for_ids) = Measuring::Refused;
                    }
                    return Ok(Sent::Now(landed));
                }
                Err(failure) => failure,
            };
            let Some(message) = &failure.refused else { return Err(failure.error) };
            if self.guards.refused(batch.number, message) {
                return self.superseded_or_done(batch).await.map(Sent::Refused);
            }
            // That size or ids may be asked for along with a write is published and was never seen. No row is to blame for it,
            // and a refusal that names one of the requests does not mean it.
            // The row that is named may be outside of the grid by now, and a tab whose title is known may be called otherwise.
            if asks_for_landing(&body)
                && message.starts_with("Invalid requests[0].addNamedRange")
                && let Some((plain, shorter)) = with_plain_guard(&body)
            {
                beside = beside.map(|span| span.start - shorter..span.end - shorter);
                body = plain.into();
                continue;
            }
            let is_no_range = asked_for_ids && message.to_ascii_lowercase().contains("unable to parse range");
            if is_no_range {
                self.transport().await?.know_tabs(Default::default());
            }
            let refused = failure.error.is_refusal() || is_no_range;
            if without {
                (*self.asking(asked_for_ids), without) = (Measuring::Blameless, false);
            } else if *self.asking(asked_for_ids) == Measuring::Unknown
                && refused
                && !message.contains("requests[")
                && let Some((plain, shorter)) = unasking(&body)
            {
                beside = beside.map(|span| span.start - shorter..span.end - shorter);
                (body, without) = (plain.into(), true);
                continue;
            }
            // Rows never wait for the balances: whatever is wrong with those is told when they are written alone. The
            // first requests are the guard and the first of the rows.
            let of_rows = ["requests[0]", "requests[1]"].iter().any(|first| message.contains(first));
            if let Some(span) = beside.take().filter(|_| !of_rows && self.refused.is_none()) {
                self.leave_balances_out(batch);
                body = [&body[..span.start], &body[span.end..]].concat().into();
                continue;
            }
            // Nothing was applied, and the place is in the way: neither less of a batch nor the ledger would show more.
            if failure.error.cause().is_some() {
                return Err(failure.error);
            }
            // The owner may have tidied up the named ranges whose removal was asked for.
            if !of_rows && let Some(shorter) = without_removals(&body) {
                body = shorter.into();
                continue;
            }
            // The same words about the same number: the ledger has said that they do not mean the guard.
            let refused = (batch.number, message.clone());
            if self.refused.as_ref() == Some(&refused) {
                return Err(failure.error);
            }
            let ledger = self.read_ledger().await?;
            self.refused = Some(refused);
            return match ledger.settle(batch.number, batch.hash) {
                Settled::NotApplied => Err(failure.error),
                Settled::Applied => Ok(Sent::Before),
                Settled::Superseded { hash } => Ok(Sent::Refused(Outcome::Superseded { hash })),
            };
        }
    }

    fn asking(&mut self, for_ids: bool) -> &mut Measuring {
        if for_ids { &mut self.locating } else { &mut self.measuring }
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
        let asks = Asks::Nothing;
        let envelope = Envelope { guards: &self.guards, layout: &layout, ledger_entry: entry, number, asks };
        let body = envelope.wrap(&[], &next, &removed);
        let batch = Batch { number, taken: 0, hash: NOTHING, body: Vec::new() };
        // Whatever comes of it, what was known of the ledger is old.
        self.ledger = None;
        match self.send(&batch, body).await? {
            Sent::Refused(Outcome::Superseded { hash }) => Ok(taken_by(hash)),
            _ => {
                self.memory.floor = self.memory.floor.max(number);
                Ok(None)
            }
        }
    }

    pub(super) async fn superseded_or_done(&mut self, batch: &Batch) -> Result<Outcome, Error> {
        // Whatever the ledger says, this number is used up.
        self.memory.floor = self.memory.floor.max(batch.number);
        let ledger = self.read_ledger().await?;
        Ok(match ledger.settle(batch.number, batch.hash) {
            Settled::Applied => Outcome::Done(Vec::new()),
            Settled::Superseded { hash } => Outcome::Superseded { hash },
            Settled::NotApplied => Outcome::Superseded { hash: 0 },
        })
    }

    /// Takes over what an applied batch changed.
    pub(super) fn applied(&mut self, batch: &Batch) {
        self.memory.floor = self.memory.floor.max(batch.number);
        self.balances_written(batch.number, batch.hash);
        let prepared = self.prepared.as_mut().filter(|prepared| prepared.is(batch.number, batch.hash));
        let appended = prepared.as_ref().and_then(|prepared| prepared.landing.fresh.as_ref());
        let appended = appended.filter(|fresh| fresh.order == Order::OldestFirst).map(|fresh| fresh.ids.len() as u64);
        let (next, first_blank) =
            prepared.map_or((None, None), |prepared| (prepared.next.take(), prepared.first_blank));
        // A ledger that was read since is as good, or newer.
        let known = self.ledger.as_ref().is_some_and(|(_, ledger)| ledger.seq >= batch.number);
        match (next, &mut self.ledger) {
            (Some(next), Some((_, ledger))) if !known => *ledger = next,
            _ if known => {}
            _ => self.ledger = None,
        }
        if let Some(layout) = &mut self.layout {
            layout.first_blank = first_blank;
        }
        if let Some(rows) = appended {
            let ending = &mut self.memory.ending;
            ending.tail = ending.tail.map(|tail| tail + rows);
        }
    }
}

/// Whether a row is none of those above the data: titles, and the headers. What was written above the headers by mistake
/// is known by its id; and where the owner has deleted the headers, so is a first row that is none.
pub(super) fn is_data(header: Option<u32>, row: u32, id: &str) -> bool {
    match header {
        Some(header) if row == header => false,
        Some(header) => row > header || is_id(id),
        None => row > 0 || is_id(id),
    }
}

/// The ids in the id column.
pub(super) fn ids(header: Option<u32>, column: &[Vec<serde_json::Value>]) -> Vec<String> {
    let cells = (0..).zip(column).filter_map(|(row, cells)| Some((row, id_text(cells.first()?)?)));
    cells.filter(|(row, id)| is_data(header, *row, id)).map(|(_, id)| id).collect()
}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
