//! The start of a cycle: finding what is ours, setting up what is missing, reading the ledger.
//!
//! Reads come first and decide; set-up writes at most one batch and is safe to repeat.

use std::time::{Duration, Instant};

use google_sheets4::api;

use super::GoogleSheets;
use super::balances::{BALANCES_KEY, PART_KEY};
use super::dashboard::DASHBOARD_KEY;
use super::layout::{COLUMN_KEY, Found, HEADER_KEY, Layout, TAB_KEY};
use super::ledger::{LEDGER_KEY, Ledger};
use super::left_out::LEFT_OUT_KEY;
use super::rules_tab::{RULES_KEY, STATUS_KEY};
use super::setup::{
    BOOK_FIELDS, Book, MOST_ABOVE, NEW_ROWS, Plan, SPARE_COLUMNS, Top, Wanted, fullness, is_nearly_full, plan,
};
use super::tab_sizes::{KnownTab, tabs_of};
use super::transport::{Failure, Transport};
use crate::destination::Settled;
use crate::model::Language;
use crate::remote::{Cause, Error};

/// How often set-up reads again after its batch was refused.
const TRIES: u32 = 3;

/// How long positions of columns are relied on.
const LAYOUT_GOOD: Duration = Duration::from_secs(20);

impl GoogleSheets {
    /// The way to Google, set up when first needed.
    pub(super) async fn transport(&mut self) -> Result<&Transport, Error> {
        if self.transport.is_none() {
            let transport = Transport::new(self.names.clone(), &self.config, self.context.clone(), self.limits).await?;
            self.names = transport.names.clone();
            transport.know_tabs(self.memory.tabs.clone());
            self.transport = Some(transport);
        }
        self.transport.as_ref().ok_or_else(|| Error::malformed(self.names.say("the connection is not set up")))
    }

    /// Reads everything of ours in one request.
    pub(super) async fn find(&mut self) -> Result<Found, Error> {
        let entries = self
            .transport()
            .await?
            .search(&[
                COLUMN_KEY,
                HEADER_KEY,
                TAB_KEY,
                LEDGER_KEY,
                BALANCES_KEY,
                PART_KEY,
                DASHBOARD_KEY,
                LEFT_OUT_KEY,
                RULES_KEY,
                STATUS_KEY,
            ])
            .await?;
        Ok(Found::sort(entries, &self.names.spreadsheet, &self.names.destination, &self.config.tab))
    }

    /// Reads what set-up needs beyond metadata, and plans it.
    pub(super) async fn plan(&mut self, found: &Found, attempt: u32) -> Result<(Book, Plan), Error> {
        let transport = self.transport().await?;
        let book = Book::read(transport.spreadsheet(BOOK_FIELDS).await?);
        let (first, cells) = match book.ours(found, &self.config.tab) {
            None => (0, Vec::new()),
            Some(tab) => {
                let title = tab.title.replace('\'', "''");
                let bound = found.columns.iter().any(|bound| bound.sheet == tab.id);
                // A tab that is ours already may be long; of a strange one everything matters.
                let (first, range) = match found.header(tab.id) {
                    _ if !bound => (0, format!("'{title}'")),
                    Some(row) => (row, format!("'{title}'!{0}:{0}", row + 1)),
                    None => (0, format!("'{title}'!1:{MOST_ABOVE}")),
                };
                (first, self.transport().await?.values(&range).await?)
            }
        };
        self.transport().await?.know_tabs(tabs_of(&book));
        let wanted = Wanted {
            names: &self.names,
            guards: &self.guards,
            title: &self.config.tab,
            columns: &self.config.rows.columns,
            floor: self.memory.floor,
            attempt,
        };
        let plan = plan(&wanted, found, &book, Top { first, cells: &cells })?;
        Ok((book, plan))
    }

    pub(super) async fn open_once(&mut self) -> Result<u64, Error> {
        let mut refusal = None;
        for attempt in 0..TRIES {
            let found = self.find().await?;
            self.take_tabs(&found);
            // Whatever is wrong with the tab of balances must not keep rows waiting: it is tried once here.
            let lacking = self.lacks_balances() && attempt == 0;
            let complete = found.complete(&self.config.rows.columns, &self.config.tab, &self.memory.gone);
            if let Some(layout) = complete.filter(|_| !lacking) {
                self.ledger = found.ledger;
                return Ok(self.opened(layout));
            }
            let (book, mut plan) = self.plan(&found, attempt).await?;
            let balances = if lacking { Some(self.new_balances(&book, &mut plan.requests, attempt)) } else { None };
            // Whatever becomes of the answer, the owner is told.
            self.memory.id_made_again |= plan.id_again;
            self.tab_made_again |= plan.tab_again;
            plan.unfilled.retain(|key| !self.memory.unfilled.contains(key));
            self.memory.unfilled.append(&mut plan.unfilled);
            if !plan.requests.is_empty() {
                let requests = std::mem::take(&mut plan.requests);
                match self.transport().await?.update(requests).await {
                    Ok(()) => {}
                    // Another hand, or an earlier try of ours that arrived late, may have done it: look again.
                    Err(Failure { error, refused: Some(_) }) if error.cause().is_none() || lacking => {
                        refusal = Some(error);
                        continue;
                    }
                    Err(failure) => return Err(failure.error),
                }
            }
            self.memory.gone = plan.gone;
            self.know_ending(&book, &plan.layout);
            self.balances = balances.or(found.balances);
            self.book = Some(book);
            self.ledger = Some((plan.ledger_entry, plan.ledger));
            return Ok(self.opened(plan.layout));
        }
        let error = refusal.unwrap_or_else(|| Error::unavailable(self.names.say("the tab cannot be set up")));
        if !error.is_refusal() {
            return Err(error);
        }
        // No row is to blame for it.
        Err(Error::attention(
            Cause::Layout,
            format!("{}; the tab `{}` cannot be set up", error.message, self.config.tab),
        ))
    }

    /// Set-up knows how the tab was, and has read it where it was not ours.
    fn know_ending(&mut self, book: &Book, layout: &Layout) {
        let mut tabs = self.tabs();
        if layout.fresh && !tabs.contains_key(&layout.sheet) {
            let cells = u64::from(NEW_ROWS) * u64::from(layout.width() + SPARE_COLUMNS);
            tabs.insert(layout.sheet, KnownTab { title: self.config.tab.clone(), cells });
        }
        if let Some(transport) = &self.transport {
            transport.know_tabs(tabs);
        }
        let is_filled = layout.first_blank.is_some_and(|first| first > layout.top().into());
        let has_tables = book.tabs.iter().any(|tab| tab.id == layout.sheet && tab.has_tables);
        self.memory.ending.careful |= has_tables || is_filled;
        if layout.first_blank == Some(layout.top().into()) {
            self.memory.ending.tail = layout.first_blank;
        }
    }

    pub(super) fn opened(&mut self, layout: Layout) -> u64 {
        self.layout = Some(layout);
        self.opened_at = Some(Instant::now());
        let seq = self.ledger.as_ref().map_or(0, |(_, ledger)| ledger.seq);
        self.memory.floor = self.memory.floor.max(seq);
        let is_bare = self.ledger.as_ref().is_none_or(|(_, ledger)| ledger.rows == 0);
        if is_bare && self.memory.ending.tail.is_none() {
            self.memory.ending.tail = self.layout.as_ref().map(|layout| layout.top().into());
        }
        self.memory.floor
    }

    /// Reads the ledger alone.
    pub(super) async fn read_ledger(&mut self) -> Result<Ledger, Error> {
        let entries = self.transport().await?.search(&[LEDGER_KEY]).await?;
        let found = Found::sort(entries, &self.names.spreadsheet, &self.names.destination, &self.config.tab);
        self.take_ledger(found)
    }

    fn take_ledger(&mut self, found: Found) -> Result<Ledger, Error> {
        self.ledger = found.ledger;
        let ledger = self.ledger.as_ref().map(|(_, ledger)| ledger.clone());
        ledger.ok_or_else(|| {
            Error::unavailable(self.names.say("the ledger was removed from the spreadsheet's developer metadata"))
        })
    }

    /// Forgets the layout where columns of ours are elsewhere by now.
    pub(super) fn look_for_moves(&mut self, found: &Found) {
        let Some(known) = &self.layout else { return };
        let now = found.complete(&self.config.rows.columns, &self.config.tab, &self.memory.gone);
        let now = now.map(|now| (now.sheet, now.places, now.header));
        if now.is_some_and(|(sheet, places, header)| {
            (sheet, &places, header) == (known.sheet, &known.places, known.header)
        }) {
            self.opened_at = Some(Instant::now());
        } else {
            self.layout = None;
        }
    }

    pub(super) async fn ready(&mut self) -> Result<(Layout, i32, Ledger), Error> {
        // A long delivery looks again now and then: the owner may be moving columns meanwhile.
        let old = self.opened_at.is_none_or(|at| at.elapsed() > LAYOUT_GOOD);
        if self.layout.is_none() || old {
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

    pub(super) async fn check_once(&mut self) -> Result<Vec<String>, Error> {
        let found = self.find().await?;
        self.may_edit().await?;
        let mut news = vec![format!("signed in as {}", self.names.account)];
        let complete = found.complete(&self.config.rows.columns, &self.config.tab, &self.memory.gone);
        if let Some(layout) = complete {
            news.push(format!("spreadsheet is readable, {} columns are in place", layout.places.len()));
            let cells = Book::read(self.transport().await?.spreadsheet(BOOK_FIELDS).await?).cells();
            news.extend(is_nearly_full(cells).then(|| fullness(cells, Language::En)));
            return Ok(news);
        }
        let (book, plan) = self.plan(&found, 0).await?;
        news.push(format!("spreadsheet `{}` is readable", book.title));
        news.extend(is_nearly_full(book.cells()).then(|| fullness(book.cells(), Language::En)));
        news.extend(plan.news);
        let balances = self.config.balances_tab.as_ref().filter(|_| found.balances.is_none());
        let dashboard = self.config.dashboard_tab.as_ref().filter(|_| found.dashboards.is_empty());
        let rules = self.config.rules_tab.as_ref().filter(|title| !found.rules.is_made(title));
        for title in balances.into_iter().chain(dashboard).chain(rules) {
            news.push(format!("tab `{}` will be created", book.free_title(title, &self.names.destination)));
        }
        Ok(news)
    }

    /// Whether a write would be let through. No read tells, so a write is asked for that cannot be carried out: the removal
    /// of a named range that does not exist. Who may not edit is refused for that reason, who may for the other.
    async fn may_edit(&mut self) -> Result<(), Error> {
        let id = format!("bankfeed_check_{:016x}", fastrand::u64(..));
        let nothing = api::DeleteNamedRangeRequest { named_range_id: Some(id) };
        let request = api::Request { delete_named_range: Some(nothing), ..Default::default() };
        match self.transport().await?.update(vec![request]).await {
            Ok(()) | Err(Failure { refused: Some(_), .. }) => Ok(()),
            Err(Failure { error, .. }) => Err(error),
        }
    }

    pub(super) async fn settle_once(&mut self, number: u64, hash: u64) -> Result<Settled, Error> {
        let found = self.find().await?;
        self.look_for_moves(&found);
        let settled = self.take_ledger(found)?.settle(number, hash);
        if settled != Settled::NotApplied {
            self.memory.floor = self.memory.floor.max(number);
        }
        if settled == Settled::Applied {
            self.balances_written(number, hash);
            self.look_where_it_landed(number, hash, None).await;
        }
        if settled != Settled::Applied {
            self.memory.ending.unsure |= settled != Settled::NotApplied;
        }
        // Whether the lost batch has written rows is not known any more.
        if let Some(layout) = &mut self.layout {
            layout.first_blank = None;
        }
        Ok(settled)
    }
}
