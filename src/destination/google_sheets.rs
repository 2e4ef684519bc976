//! Google Sheets: one tab with a row per transaction.
//!
//! Delivered exactly once: each batch is one all-or-nothing request of guard, rows and ledger (`ledger`, `batch`), so a
//! batch sent again, or arriving minutes late, is refused whole. Positions are read at the start of each cycle and follow
//! whatever the owner moved (`layout`); what is missing is created (`setup`). A steady cycle costs a token, one read, and
//! one write per batch. It knows nothing of the store: what to send, and in which order, is the engine's affair.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Batch, Destination, Item, Outcome, Settled, Verdict, What};
use crate::config;
use crate::remote::{Cause, Context, Error};

mod auth;
mod batch;
mod body;
mod changes;
mod errors;
mod layout;
mod ledger;
mod pace;
mod setup;
#[cfg(test)]
mod tests;
mod transport;

use batch::{Cut, Envelope, without_removals};
use changes::{Changes, rows_by_id};
use errors::Names;
use layout::{COLUMN_KEY, Found, Layout, TAB_KEY};
use ledger::{Guards, LEDGER_KEY, Ledger};
use setup::{BOOK_FIELDS, Book, Plan, Wanted, plan};
use transport::{Failure, Limits, Transport};

/// Most items looked at for one batch.
const MOST_ITEMS: usize = 5_000;
/// How often set-up reads again after its batch was refused.
const SETUP_TRIES: u32 = 3;
/// How old found positions of rows may be when they are written to.
const POSITIONS_GOOD: Duration = Duration::from_secs(10);

/// What is kept between cycles, for the case that the owner removes more than a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// The spreadsheet it speaks of.
    spreadsheet: String,
    /// Fields whose columns the owner has deleted.
    gone: Vec<String>,
    /// Highest batch number that was ever used up.
    floor: u64,
}

/// A batch that was cut, until the next one.
struct Prepared {
    number: u64,
    hash: u64,
    verdicts: Vec<Verdict>,
    /// The ledger once it is applied.
    next: Option<Ledger>,
    /// Rows of the grid once it is applied, where known.
    grid_rows: Option<u64>,
    at: Instant,
    sent: bool,
}

/// The connector.
pub struct GoogleSheets {
    names: Names,
    guards: Guards,
    config: config::GoogleSheets,
    context: Context,
    limits: Limits,
    memory: Memory,
    transport: Option<Transport>,
    layout: Option<Layout>,
    /// The ledger as last read or written, with the id of its entry.
    ledger: Option<(i32, Ledger)>,
    prepared: Option<Prepared>,
}

impl GoogleSheets {
    /// Prepares the connector; nothing is sent and no secret is read.
    pub fn new(
        name: &str,
        config: &config::GoogleSheets,
        context: Context,
        memory: &[u8],
    ) -> Result<GoogleSheets, Error> {
        let spreadsheet = config.spreadsheet.clone();
        let names = Names { destination: name.to_owned(), spreadsheet: spreadsheet.clone(), account: String::new() };
        // The id becomes part of a path, where the API crate escapes nothing.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if spreadsheet.is_empty() || !spreadsheet.chars().all(plain) {
            let what = "`spreadsheet` is no spreadsheet's id: copy the address from the browser";
            return Err(Error::attention(Cause::NotFound, names.say(what)));
        }
        // Memory that cannot be read, or is of another spreadsheet, is only a memory: everything is found anew.
        let memory: Memory = serde_json::from_slice(memory).unwrap_or_default();
        let memory =
            if memory.spreadsheet == spreadsheet { memory } else { Memory { spreadsheet, ..Memory::default() } };
        Ok(GoogleSheets {
            guards: Guards::new(&names.spreadsheet, name),
            names,
            config: config.clone(),
            context,
            limits: Limits::default(),
            memory,
            transport: None,
            layout: None,
            ledger: None,
            prepared: None,
        })
    }

    /// The way to Google, set up when first needed.
    async fn transport(&mut self) -> Result<&Transport, Error> {
        if self.transport.is_none() {
            let transport = Transport::new(self.names.clone(), &self.config, self.context.clone(), self.limits).await?;
            self.names = transport.names.clone();
            self.transport = Some(transport);
        }
        self.transport.as_ref().ok_or_else(|| Error::malformed(self.names.say("the connection is not set up")))
    }

    /// Reads everything of ours in one request.
    async fn find(&mut self) -> Result<Found, Error> {
        let entries = self.transport().await?.search(&[COLUMN_KEY, TAB_KEY, LEDGER_KEY]).await?;
        Ok(Found::sort(entries, &self.names.spreadsheet, &self.names.destination))
    }

    /// Reads what set-up needs beyond metadata, and plans it.
    async fn plan(&mut self, found: &Found, attempt: u32) -> Result<(Book, Plan), Error> {
        let transport = self.transport().await?;
        let book = Book::read(transport.spreadsheet(BOOK_FIELDS).await?);
        let cells = match book.ours(found, &self.config.tab) {
            None => Vec::new(),
            Some(tab) => {
                let title = tab.title.replace('\'', "''");
                let bound = found.columns.iter().any(|bound| bound.sheet == tab.id);
                // A tab that is ours already may be long; of a strange one everything matters.
                let range = if bound { format!("'{title}'!1:1") } else { format!("'{title}'") };
                self.transport().await?.values(&range).await?
            }
        };
        let wanted = Wanted {
            names: &self.names,
            guards: &self.guards,
            title: &self.config.tab,
            columns: &self.config.rows.columns,
            floor: self.memory.floor,
            attempt,
        };
        let plan = plan(&wanted, found, &book, &cells)?;
        Ok((book, plan))
    }

    async fn open_once(&mut self) -> Result<u64, Error> {
        let mut refusal = None;
        for attempt in 0..SETUP_TRIES {
            let found = self.find().await?;
            if let Some(layout) = found.complete(&self.config.rows.columns, &self.memory.gone) {
                self.ledger = found.ledger;
                return Ok(self.opened(layout));
            }
            let (_, mut plan) = self.plan(&found, attempt).await?;
            if !plan.requests.is_empty() {
                let requests = std::mem::take(&mut plan.requests);
                match self.transport().await?.update(requests).await {
                    Ok(()) => {}
                    // Another hand, or an earlier try of ours that arrived late, may have done it: look again.
                    Err(Failure { error, refused: Some(_) }) => {
                        refusal = Some(error);
                        continue;
                    }
                    Err(failure) => return Err(failure.error),
                }
            }
            self.memory.gone = plan.gone;
            self.ledger = Some((plan.ledger_entry, plan.ledger));
            return Ok(self.opened(plan.layout));
        }
        let error = refusal.unwrap_or_else(|| Error::unavailable(self.names.say("the tab cannot be set up")));
        if error.kind != crate::remote::Kind::Rejected {
            return Err(error);
        }
        // No row is to blame for it.
        Err(Error::attention(
            Cause::Layout,
            format!("{}; the tab `{}` cannot be set up", error.message, self.config.tab),
        ))
    }

    fn opened(&mut self, layout: Layout) -> u64 {
        self.layout = Some(layout);
        self.prepared = None;
        let seq = self.ledger.as_ref().map_or(0, |(_, ledger)| ledger.seq);
        self.memory.floor = self.memory.floor.max(seq);
        self.memory.floor
    }

    /// Reads the ledger alone.
    async fn read_ledger(&mut self) -> Result<Ledger, Error> {
        let entries = self.transport().await?.search(&[LEDGER_KEY]).await?;
        let found = Found::sort(entries, &self.names.spreadsheet, &self.names.destination);
        self.ledger = found.ledger;
        let ledger = self.ledger.as_ref().map(|(_, ledger)| ledger.clone());
        ledger.ok_or_else(|| {
            Error::unavailable(self.names.say("the ledger was removed from the spreadsheet's developer metadata"))
        })
    }

    async fn ready(&mut self) -> Result<(Layout, i32, Ledger), Error> {
        if self.layout.is_none() {
            self.open_once().await?;
        }
        if self.ledger.is_none() {
            self.read_ledger().await?;
        }
        match (&self.layout, &self.ledger) {
            (Some(layout), Some((entry, ledger))) => Ok((layout.clone(), *entry, ledger.clone())),
            _ => Err(Error::malformed(self.names.say("the layout is not known"))),
        }
    }

    /// The id column from its first row.
    async fn id_column(&mut self) -> Result<Vec<Vec<serde_json::Value>>, Error> {
        let (layout, ..) = self.ready().await?;
        if layout.fresh && self.ledger.as_ref().is_none_or(|(_, ledger)| ledger.rows == 0) {
            return Ok(Vec::new());
        }
        let entry = match layout.id_entry {
            Some(entry) => entry,
            None => {
                let found = self.find().await?;
                let bound = found.column(layout.sheet, &crate::model::Field::Id).map(|bound| bound.entry);
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

    async fn prepare_new(&mut self, number: u64, items: &[Item]) -> Result<Batch, Error> {
        let (layout, entry, ledger) = self.ready().await?;
        let order = self.config.order;
        let cut = Cut::new(&layout, order, items);
        let (hash, rows) = (cut.hash(), cut.rows());
        let mut prepared = Prepared::new(number, hash, cut.verdicts.clone());
        let mut body = Vec::new();
        if rows > 0 {
            let added = cut.rows_to_add(order, ledger.spare);
            let grid_rows = if added > 0 { self.grid_rows().await? } else { 0 };
            let now = unix_now();
            let removed = ledger.removable(number, now);
            let mut next = ledger.next(number, hash, rows, now, &removed);
            if order == config::Order::OldestFirst {
                next.spare = (ledger.spare + added).saturating_sub(rows);
            }
            let work = cut.requests(&layout, order, added, grid_rows);
            let envelope = Envelope { guards: &self.guards, layout: &layout, ledger_entry: entry, number };
            body = envelope.wrap(&work, &next, &removed);
            prepared.grid_rows = (added > 0).then_some(grid_rows + added);
            prepared.next = Some(next);
        }
        self.prepared = Some(prepared);
        Ok(Batch { number, taken: cut.taken, hash, body })
    }

    async fn prepare_changes(&mut self, number: u64, items: &[Item]) -> Result<Batch, Error> {
        let (layout, entry, ledger) = self.ready().await?;
        let policy = self.config.rows.clone();
        let changes = Changes::new(&layout, &policy, items);
        let column = if changes.need_rows() { self.id_column().await? } else { Vec::new() };
        let work = changes.work(&rows_by_id(&column));
        let mut prepared = Prepared::new(number, work.hash, work.verdicts.clone());
        let mut body = Vec::new();
        if !work.requests.is_empty() {
            let now = unix_now();
            let removed = ledger.removable(number, now);
            let mut next = ledger.next(number, work.hash, work.rows, now, &removed);
            next.spare = ledger.spare.saturating_sub(work.rows);
            let envelope = Envelope { guards: &self.guards, layout: &layout, ledger_entry: entry, number };
            body = envelope.wrap(&work.requests, &next, &removed);
            prepared.next = Some(next);
        }
        self.prepared = Some(prepared);
        Ok(Batch { number, taken: work.verdicts.len(), hash: work.hash, body })
    }

    /// How many rows the grid has; read only where cells cannot carry their format along.
    async fn grid_rows(&mut self) -> Result<u64, Error> {
        let Some(layout) = &self.layout else { return Ok(0) };
        if let Some(rows) = layout.grid_rows {
            return Ok(rows);
        }
        let sheet = layout.sheet;
        let book = Book::read(self.transport().await?.spreadsheet(BOOK_FIELDS).await?);
        let tab = book.tabs.iter().find(|tab| tab.id == sheet);
        tab.map(|tab| tab.rows.into())
            .ok_or_else(|| Error::unavailable(self.names.say("the tab was removed while it was in use")))
    }

    /// The verdicts of a batch, also where another process cut it.
    fn verdicts(&self, batch: &Batch, items: &[Item]) -> Vec<Verdict> {
        if let Some(prepared) = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash)) {
            return prepared.verdicts.clone();
        }
        let Some(layout) = &self.layout else { return Vec::new() };
        if items.first().is_some_and(|item| item.what == What::New) {
            let verdict =
                |item: &Item| body::too_long(layout, &item.transaction).map_or(Verdict::Appended, Verdict::Rejected);
            return items.iter().map(verdict).collect();
        }
        Changes::new(layout, &self.config.rows, items).presumed()
    }

    /// The body to send now. Rows may have moved since their positions were read: then they are read again. Number and
    /// hash stay, so whichever version arrives first is the only one.
    async fn present_body(&mut self, batch: &Batch, items: &[Item]) -> Result<Vec<u8>, Error> {
        let by_position = items.first().is_some_and(|item| item.what != What::New);
        let prepared = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash));
        let good = prepared.is_some_and(|prepared| !prepared.sent && prepared.at.elapsed() < POSITIONS_GOOD);
        if !by_position || good {
            return Ok(batch.body.clone());
        }
        let again = self.prepare_changes(batch.number, items).await?;
        if (again.hash, again.taken) != (batch.hash, items.len()) {
            // The columns changed meanwhile; the engine cuts anew.
            return Err(Error::unavailable(self.names.say("the layout changed while a batch was under way")));
        }
        Ok(again.body)
    }

    /// Sends a guarded body. Should it be refused, the ledger says whether the guard was the reason: its sentence is
    /// known, but that another one comes first is not impossible, and reading once settles it.
    async fn send(&mut self, batch: &Batch, body: Vec<u8>) -> Result<Option<Outcome>, Error> {
        let mut body = Some(body);
        loop {
            let Some(sending) = body.take() else { return Ok(None) };
            let shorter = without_removals(&sending);
            let Err(failure) = self.transport().await?.send(sending).await else { return Ok(None) };
            let Some(message) = &failure.refused else { return Err(failure.error) };
            if self.guards.refused(batch.number, message) {
                return self.superseded_or_done(batch).await.map(Some);
            }
            // The owner may have tidied up the named ranges whose removal was asked for.
            if let Some(shorter) = shorter {
                body = Some(shorter);
                continue;
            }
            let ledger = self.read_ledger().await?;
            return match ledger.settle(batch.number, batch.hash) {
                Settled::NotApplied => Err(failure.error),
                Settled::Applied => Ok(None),
                Settled::Superseded { hash } => Ok(Some(Outcome::Superseded { hash })),
            };
        }
    }

    async fn superseded_or_done(&mut self, batch: &Batch) -> Result<Outcome, Error> {
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
    fn applied(&mut self, batch: &Batch) {
        self.memory.floor = self.memory.floor.max(batch.number);
        let prepared = self.prepared.as_mut().filter(|prepared| prepared.is(batch.number, batch.hash));
        let (next, grid_rows) = prepared.map_or((None, None), |prepared| (prepared.next.take(), prepared.grid_rows));
        // A ledger that was read since is as good, or newer.
        let known = self.ledger.as_ref().is_some_and(|(_, ledger)| ledger.seq >= batch.number);
        match (next, &mut self.ledger) {
            (Some(next), Some((_, ledger))) if !known => *ledger = next,
            _ if known => {}
            _ => self.ledger = None,
        }
        if let Some(layout) = &mut self.layout {
            layout.grid_rows = grid_rows;
        }
    }
}

impl Prepared {
    fn new(number: u64, hash: u64, verdicts: Vec<Verdict>) -> Prepared {
        Prepared { number, hash, verdicts, next: None, grid_rows: None, at: Instant::now(), sent: false }
    }

    fn is(&self, number: u64, hash: u64) -> bool {
        (self.number, self.hash) == (number, hash)
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Ids are text; the first row is the header.
fn ids(column: Vec<Vec<serde_json::Value>>) -> Vec<String> {
    let cells = column.into_iter().skip(1).filter_map(|cells| cells.into_iter().next());
    cells
        .filter_map(|cell| match cell {
            serde_json::Value::String(id) if !id.trim().is_empty() => Some(id),
            _ => None,
        })
        .collect()
}

#[async_trait]
impl Destination for GoogleSheets {
    async fn check(&mut self) -> Result<Vec<String>, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.check_once().await {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
            }
        }
    }

    async fn open(&mut self) -> Result<u64, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.open_once().await {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
            }
        }
    }

    async fn existing_ids(&mut self) -> Result<Vec<String>, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.id_column().await.map(ids) {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
            }
        }
    }

    fn batch_limit(&self) -> usize {
        MOST_ITEMS
    }

    async fn prepare(&mut self, number: u64, items: &[Item]) -> Result<Batch, Error> {
        let items = &items[..items.len().min(MOST_ITEMS)];
        if items.first().is_some_and(|item| item.what == What::New) {
            self.prepare_new(number, items).await
        } else {
            self.prepare_changes(number, items).await
        }
    }

    async fn deliver(&mut self, batch: &Batch, items: &[Item]) -> Result<Outcome, Error> {
        let known = self.ledger.as_ref().and_then(|(_, ledger)| ledger.applied(batch.number));
        if batch.body.is_empty() || known == Some(batch.hash) {
            self.ready().await?;
            return Ok(Outcome::Done(self.verdicts(batch, items)));
        }
        let body = self.present_body(batch, items).await?;
        if body.is_empty() {
            return Ok(Outcome::Done(self.verdicts(batch, items)));
        }
        if let Some(prepared) = &mut self.prepared {
            prepared.sent = true;
        }
        match self.send(batch, body).await? {
            Some(Outcome::Superseded { hash }) => {
                self.layout = None;
                Ok(Outcome::Superseded { hash })
            }
            _ => {
                self.applied(batch);
                Ok(Outcome::Done(self.verdicts(batch, items)))
            }
        }
    }

    async fn settle(&mut self, number: u64, hash: u64) -> Result<Settled, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.settle_once(number, hash).await {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
            }
        }
    }

    fn memory(&self) -> Vec<u8> {
        // A struct of plain fields always serialises.
        serde_json::to_vec(&self.memory).unwrap_or_default()
    }
}

impl GoogleSheets {
    /// Waits before another try, or gives the error back where trying again is pointless.
    async fn pause(&self, tried: u32, error: Error) -> Result<(), Error> {
        let Some(pause) = self.context.backoff.pause(tried, &error) else { return Err(error) };
        tracing::debug!("{error}; trying again in {pause:?}");
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.context.shutdown.wait() => Err(Error::stopped()),
        }
    }

    async fn settle_once(&mut self, number: u64, hash: u64) -> Result<Settled, Error> {
        let settled = self.read_ledger().await?.settle(number, hash);
        if settled != Settled::NotApplied {
            self.memory.floor = self.memory.floor.max(number);
        }
        // Whether the lost batch has added rows to the grid is not known any more.
        if let Some(layout) = &mut self.layout {
            layout.grid_rows = None;
        }
        Ok(settled)
    }

    async fn check_once(&mut self) -> Result<Vec<String>, Error> {
        let found = self.find().await?;
        let mut news = vec![format!("signed in as {}", self.names.account)];
        let complete = found.complete(&self.config.rows.columns, &self.memory.gone);
        if let Some(layout) = complete {
            news.push(format!("spreadsheet is readable, {} columns are in place", layout.places.len()));
            return Ok(news);
        }
        let (book, plan) = self.plan(&found, 0).await?;
        news.push(format!("spreadsheet `{}` is readable", book.title));
        news.extend(plan.news);
        Ok(news)
    }
}
