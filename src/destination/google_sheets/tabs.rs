//! The tabs beside the transactions: when the balances travel along with rows, when they are written alone, and the one
//! time that the dashboard is made. Neither ever keeps a row waiting.

use std::ops::Range;

use google_sheets4::api;
use hyper::body::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::balances::{Balances, Page, Sheetwise, TabState, separator, told};
use super::batch::{Asks, Envelope};
use super::dashboard;
use super::layout::{Found, Layout};
use super::ledger::Ledger;
use super::setup::{BOOK_FIELDS, Book, fullness};
use super::transport::Failure;
use super::{GoogleSheets, Measuring, Prepared};
use crate::destination::{Batch, Outcome, Settled, Summary};
use crate::remote::{Cause, Error, Kind};

/// Balances larger than this do not travel with rows: the request must stay below Google's two megabytes.
const MOST_BESIDE: usize = 24 * 1024;

/// How often the balances are tried alone, after a refusal or another hand's batch.
const TRIES: u32 = 3;

impl Prepared {
    /// Wraps a body, with the balances beside the work where there are any.
    pub(super) fn wrap(
        &mut self,
        envelope: &Envelope<'_>,
        work: &[u8],
        beside: Option<(Vec<u8>, TabState)>,
        ledger: &Ledger,
        removed: &[u64],
    ) -> Vec<u8> {
        let Some((requests, state)) = beside else { return envelope.wrap(work, ledger, removed) };
        let (body, span) = envelope.wrap_both(work, &requests, ledger, removed);
        self.beside = Some((span, state));
        body
    }
}

impl GoogleSheets {
    /// Takes over what a search found of these tabs.
    pub(super) fn take_tabs(&mut self, found: &Found) {
        (self.balances, self.left_out) = (found.balances.clone(), found.left_out.clone());
        let title = self.config.dashboard_tab.as_deref();
        self.rules_tab = self.config.rules_tab.as_deref().map(|title| found.rules.titled(title)).unwrap_or_default();
        self.dashboard_made = found.dashboards.iter().any(|made| Some(made.title.as_str()) == title);
    }

    /// Whether the tab of balances has to be made.
    pub(super) fn lacks_balances(&self) -> bool {
        self.summary.is_some() && self.config.balances_tab.is_some() && self.balances.is_none()
    }

    /// Adds the requests that make the tab of balances.
    pub(super) fn new_balances(&self, book: &Book, requests: &mut Vec<api::Request>, attempt: u32) -> Balances {
        let seq = self.ledger.as_ref().map_or(0, |(_, ledger)| ledger.seq);
        let sheet = book.free_id(&format!("{}\0balances\0{seq}\0{attempt}", self.guards.name(0)));
        // Beside the ledger's id, which has this bit never.
        let entry = (self.guards.metadata_id() | 0x4000_0000) ^ attempt as i32;
        let title = self.config.balances_tab.as_deref().unwrap_or_default();
        let title = book.free_title(title, &self.names.destination);
        let language = self.config.rows.language;
        let (creating, balances) = Balances::create(sheet, entry, &title, &self.names.destination, language);
        requests.extend(creating);
        balances
    }

    /// The requests that write the balances with the last rows, and the state of their tab after it.
    pub(super) async fn balances_work(&mut self, layout: &Layout) -> Result<Option<(Vec<u8>, TabState)>, Error> {
        let work = self.balances_requests(layout).await?;
        Ok(work.filter(|(requests, _)| requests.len() <= MOST_BESIDE))
    }

    async fn balances_requests(&mut self, layout: &Layout) -> Result<Option<(Vec<u8>, TabState)>, Error> {
        let (Some(summary), Some(balances)) = (self.summary.clone(), self.balances.clone()) else { return Ok(None) };
        let language = self.config.rows.language;
        let warning = self.nearly_full().map(|cells| fullness(cells, language));
        let page = Page { balances: &balances, summary: &summary, layout, language, warning };
        let sheetwise = if page.needs_formulas() { Some(self.sheetwise(layout).await?) } else { None };
        let mut requests = self.left_out_requests(&summary);
        requests.extend(page.requests(sheetwise.as_ref()));
        Ok(Some((requests, page.next_state())))
    }

    /// The requests that bring what dashboards leave out up to date, each followed by a comma.
    fn left_out_requests(&self, summary: &Summary) -> Vec<u8> {
        self.left_out.iter().flat_map(|table| table.update(&summary.left_out)).collect()
    }

    /// Writes what dashboards leave out, where there is no tab of balances that it could travel with. Whichever request
    /// comes last says what was true then, and the next cycle looks again.
    async fn publish_left_out(&mut self) -> Result<(), Error> {
        let Some(summary) = self.summary.clone().filter(|_| self.config.balances_tab.is_none()) else { return Ok(()) };
        let mut requests = self.left_out_requests(&summary);
        if requests.pop().is_none() {
            return Ok(());
        }
        let body = [&b"{\"requests\":["[..], &requests, b"]}"].concat();
        self.left_out.clear();
        let sent = self.transport().await?.send(Bytes::from(body)).await;
        sent.map(|_| ()).map_err(|failure| failure.error)
    }

    /// What formulas must know: read only when some have to be written.
    async fn sheetwise(&mut self, layout: &Layout) -> Result<Sheetwise, Error> {
        let book = self.book().await?;
        let tab = book.tabs.iter().find(|tab| tab.id == layout.sheet);
        // A tab that this very cycle made is not in what was read before.
        let tab = tab.map_or_else(|| self.config.tab.clone(), |tab| tab.title.clone());
        Ok(Sheetwise { tab, separator: separator(&book.locale) })
    }

    async fn book(&mut self) -> Result<Book, Error> {
        if let Some(book) = &self.book {
            return Ok(book.clone());
        }
        let book = Book::read(self.transport().await?.spreadsheet(BOOK_FIELDS).await?);
        self.book = Some(book.clone());
        Ok(book)
    }

    /// Where the balances stand in a batch's body.
    pub(super) fn beside(&self, batch: &Batch) -> Option<Range<usize>> {
        let prepared = self.prepared.as_ref().filter(|prepared| prepared.is(batch.number, batch.hash))?;
        prepared.beside.as_ref().map(|(span, _)| span.clone())
    }

    /// The batch goes without them.
    pub(super) fn leave_balances_out(&mut self, batch: &Batch) {
        if let Some(prepared) = self.prepared.as_mut().filter(|prepared| prepared.is(batch.number, batch.hash)) {
            prepared.beside = None;
        }
    }

    /// A batch was applied, and the balances with it if it carried them.
    pub(super) fn balances_written(&mut self, number: u64, hash: u64) {
        let prepared = self.prepared.as_mut().filter(|prepared| prepared.is(number, hash));
        let Some((_, state)) = prepared.and_then(|prepared| prepared.beside.take()) else {
            self.behind = true;
            return;
        };
        self.shown = true;
        if let Some(balances) = &mut self.balances {
            balances.state = state;
        }
    }

    /// Writes the balances alone, if no batch has carried them. The batch is guarded like any other: one that arrives late
    /// must not bring old figures back.
    pub(super) async fn publish_balances(&mut self) -> Result<(), Error> {
        if self.summary.is_none() || self.config.balances_tab.is_none() {
            return Ok(());
        }
        if !self.behind && self.told_already() {
            self.shown = true;
        }
        // What the answer to the rows has said is said in the tab as well, once.
        if self.balances.as_ref().is_some_and(|balances| balances.state.nearly_full != self.nearly_full().is_some()) {
            self.shown = false;
        }
        let (mut tried, mut refused) = (0, 0);
        while !self.shown {
            tried += 1;
            match self.publish_once(refused).await {
                Ok(()) => {}
                Err(Failure { error, refused: Some(_) }) => {
                    refused += 1;
                    // A place that is full or closed stays so, however often it is asked.
                    if refused == TRIES || error.cause().is_some() {
                        return Err(self.in_the_way(error));
                    }
                    // Made, moved or shortened by another hand since it was read: look again. The dashboard may be
                    // protected, which is no reason to do without the balances.
                    (self.layout, self.book) = (None, None);
                    self.left_out.clear();
                }
                Err(Failure { error, .. }) => self.pause(tried, error).await?,
            }
        }
        Ok(())
    }

    /// Whether the tab was written on this day with the owner having to do the same, whoever wrote it.
    fn told_already(&self) -> bool {
        let (Some(summary), Some(balances)) = (&self.summary, &self.balances) else { return false };
        balances.state.told == told(summary)
    }

    fn in_the_way(&self, error: Error) -> Error {
        let title = self.config.balances_tab.as_deref().unwrap_or_default();
        match error.kind {
            Kind::Rejected | Kind::Unexplained | Kind::Unavailable => Error::attention(
                Cause::Layout,
                format!("{}; the rows are written, the tab `{title}` is not", error.message),
            ),
            _ => error,
        }
    }

    async fn publish_once(&mut self, refused: u32) -> Result<(), Failure> {
        let (layout, entry, ledger) = self.ready().await?;
        if self.balances.is_none() {
            let (book, mut requests) = (self.book().await?, Vec::new());
            let balances = self.new_balances(&book, &mut requests, refused + 1);
            self.transport().await?.update(requests).await?;
            self.balances = Some(balances);
        }
        if refused > 0 {
            self.measure().await?;
        }
        let Some((requests, state)) = self.balances_requests(&layout).await? else { return Ok(()) };
        let (number, hash) = (ledger.seq.max(self.memory.floor) + 1, xxh3_64(&requests));
        let now = super::delivery::unix_now();
        let removed = ledger.removable(number, now);
        let next = ledger.next(number, hash, 0, now, &removed);
        let asks = if self.measuring != Measuring::Refused && refused == 0 { Asks::Size } else { Asks::Nothing };
        let envelope = Envelope { guards: &self.guards, layout: &layout, ledger_entry: entry, number, asks };
        let body = envelope.wrap(&requests, &next, &removed);
        let mut prepared = Prepared::new(number, hash, Vec::new());
        (prepared.next, prepared.beside) = (Some(next), Some((0..0, state)));
        self.prepared = Some(prepared);
        self.send_balances(&Batch { number, taken: 0, hash, body }).await
    }

    async fn send_balances(&mut self, batch: &Batch) -> Result<(), Failure> {
        let Err(failure) = self.transport().await?.send(Bytes::from(batch.body.clone())).await else {
            self.applied(batch);
            return Ok(());
        };
        match &failure.refused {
            Some(message) if self.guards.refused(batch.number, message) => {
                if let Outcome::Done(_) = self.superseded_or_done(batch).await? {
                    self.applied(batch);
                }
                // Else another batch took the number: it is done anew with the next one.
                Ok(())
            }
            Some(_) => Err(failure),
            None => {
                // Whether it was applied is asked before it is done anew under another number.
                if failure.error.is_transient() && self.settle_once(batch.number, batch.hash).await? == Settled::Applied
                {
                    return Ok(());
                }
                Err(failure)
            }
        }
    }

    /// The true size of the tab: the owner may have removed rows.
    async fn measure(&mut self) -> Result<(), Error> {
        let book = self.book().await?;
        if let Some(balances) = &mut self.balances
            && let Some(tab) = book.tabs.iter().find(|tab| tab.id == balances.state.sheet)
        {
            balances.state.grid = tab.rows;
        }
        Ok(())
    }

    /// Makes the dashboard, once. Afterwards it is the owner's: never looked at again, never made again.
    pub(super) async fn publish_dashboard(&mut self) -> Result<(), Error> {
        self.publish_left_out().await?;
        let release = env!("CARGO_PKG_VERSION");
        let Some(wanted) = self.config.dashboard_tab.clone() else { return Ok(()) };
        if self.dashboard_made || self.memory.dashboard_refused == release {
            return Ok(());
        }
        let (mut tried, mut refused) = (0, 0);
        loop {
            tried += 1;
            // The tables and charts are worth having without pivot and slicer.
            match self.make_dashboard(&wanted, refused < 2).await {
                Ok(()) => break,
                Err(Failure { error, refused: Some(_) }) if error.cause().is_some() => return Err(error),
                Err(Failure { error, refused: Some(_) }) => {
                    // It may be that an earlier try arrived after all.
                    let found = self.find().await?;
                    self.take_tabs(&found);
                    if self.dashboard_made {
                        break;
                    }
                    refused += 1;
                    if refused == TRIES {
                        self.memory.dashboard_refused = release.to_owned();
                        return Err(self.no_dashboard(error, &wanted));
                    }
                    // Another hand may have taken the title since the titles were read.
                    self.book = None;
                }
                Err(Failure { error, .. }) => {
                    self.pause(tried, error).await?;
                    let found = self.find().await?;
                    self.take_tabs(&found);
                    if self.dashboard_made {
                        break;
                    }
                }
            }
        }
        self.dashboard_made = true;
        Ok(())
    }

    fn no_dashboard(&self, error: Error, title: &str) -> Error {
        let message =
            format!("{}; the rows are written, the tab `{title}` is not and will not be tried again", error.message);
        Error { message, ..error }
    }

    async fn make_dashboard(&mut self, wanted: &str, whole: bool) -> Result<(), Failure> {
        let (layout, ..) = self.ready().await?;
        let sheetwise = self.sheetwise(&layout).await?;
        let book = self.book().await?;
        let balances = self.balances.as_ref().map(|balances| {
            let tab = book.tabs.iter().find(|tab| tab.id == balances.state.sheet);
            (balances, balances.title.clone().or_else(|| tab.map(|tab| tab.title.clone())).unwrap_or_default())
        });
        // The tab of balances may have been made since the titles were read.
        let title = book.free_title(wanted, &self.names.destination);
        let sheet = book.free_id(&format!("{}\0dashboard\0{wanted}", self.guards.name(0)));
        let plan = dashboard::Plan {
            sheet,
            title: &title,
            wanted,
            destination: &self.names.destination,
            layout: &layout,
            sheetwise: &sheetwise,
            balances,
            language: self.config.rows.language,
            currency: self.main_currency(),
            is_mixed: self.has_currencies(),
            left_out: self.summary.as_ref().map_or(&[], |summary| &summary.left_out),
            whole,
        };
        // Tabs of ours count, too.
        let asks = whole && self.measuring != Measuring::Refused;
        let body = serde_json::json!({ "includeSpreadsheetInResponse": asks, "requests": plan.requests() }).to_string();
        self.transport().await?.send(Bytes::from(body)).await
    }

    /// Whether accounts are kept in more than one currency.
    fn has_currencies(&self) -> bool {
        let accounts = self.summary.as_ref().map_or(&[][..], |summary| &summary.accounts);
        accounts.windows(2).any(|pair| pair[0].currency != pair[1].currency)
    }

    /// The currency most accounts have.
    fn main_currency(&self) -> String {
        let accounts = self.summary.as_ref().map_or(&[][..], |summary| &summary.accounts);
        let count = |currency: &str| accounts.iter().filter(|account| account.currency == currency).count();
        let most = accounts.iter().rev().max_by_key(|account| count(&account.currency));
        most.map_or_else(|| "EUR".to_owned(), |account| account.currency.clone())
    }
}
