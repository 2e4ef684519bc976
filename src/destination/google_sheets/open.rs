//! The start of a cycle: finding what is ours, setting up what is missing, reading the ledger.
//!
//! Reads come first and decide; set-up writes at most one batch and is safe to repeat.

use std::time::{Duration, Instant};

use serde_json::json;

use super::GoogleSheets;
use super::balances::{BALANCES_KEY, PART_KEY};
use super::client::{Client, Failure};
use super::header_row::{MOST_ABOVE, Top};
use super::layout::Layout;
use super::ledger::{LEDGER_KEY, Ledger};
use super::left_out::LEFT_OUT_KEY;
use super::metadata::{COLUMN_KEY, DASHBOARD_KEY, HEADER_KEY, Metadata, TAB_KEY};
use super::requests::delete_named_range;
use super::rules_layout::{RULES_KEY, STATUS_KEY};
use super::setup::{LayoutPlan, NEW_ROWS, SPARE_COLUMNS, Wanted, plan};
use super::spreadsheet::{KnownTab, SPREADSHEET_FIELDS, Spreadsheet, fullness, is_nearly_full};
use crate::destination::BatchStatus;
use crate::model::Language;
use crate::remote::{Cause, Error};

/// Number of times that set-up reads and plans while its batch is refused.
const TRIES: u32 = 3;

/// The time that positions of columns are relied on.
const LAYOUT_GOOD: Duration = Duration::from_secs(20);

impl GoogleSheets {
    /// The client, set up when first needed.
    pub(super) async fn client(&mut self) -> Result<&Client, Error> {
        if self.client.is_none() {
            let client = Client::new(self.names.clone(), &self.config, self.context.clone(), self.limits).await?;
            self.names = client.names.clone();
            self.client = Some(client);
        }
        self.client.as_ref().ok_or_else(|| Error::malformed(self.names.say("the connection is not set up")))
    }

    /// Reads everything of ours in one request.
    pub(super) async fn find(&mut self) -> Result<Metadata, Error> {
        let entries = self
            .client()
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
        Ok(Metadata::sort(entries, &self.names.spreadsheet, &self.names.destination, &self.config.tab))
    }

    /// Reads titles, sizes and named ranges.
    pub(super) async fn read_spreadsheet(&mut self) -> Result<Spreadsheet, Error> {
        Ok(Spreadsheet::read(self.client().await?.spreadsheet(SPREADSHEET_FIELDS).await?))
    }

    /// Reads what set-up needs beyond metadata, and plans it.
    pub(super) async fn plan(&mut self, found: &Metadata, attempt: u32) -> Result<(Spreadsheet, LayoutPlan), Error> {
        let spreadsheet = self.read_spreadsheet().await?;
        let (first, cells) = match spreadsheet.ours(found, &self.config.tab) {
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
                (first, self.client().await?.values(&range).await?)
            }
        };
        self.memory.tabs = spreadsheet.known_tabs();
        let wanted = Wanted {
            names: &self.names,
            guards: &self.guards,
            title: &self.config.tab,
            columns: &self.config.rows.columns,
            floor: self.memory.floor,
            attempt,
        };
        let plan = plan(&wanted, found, &spreadsheet, Top { first, cells: &cells })?;
        Ok((spreadsheet, plan))
    }

    pub(super) async fn open_once(&mut self) -> Result<u64, Error> {
        let mut refusal = None;
        for attempt in 0..TRIES {
            let found = self.find().await?;
            self.beside.take(&found, &self.config);
            // A problem with the tab of balances must not keep rows waiting: set-up tries to make the tab once.
            let lacking = self.beside.lacks_balances(&self.config) && attempt == 0;
            let complete = found.complete(&self.config.rows.columns, &self.config.tab, &self.memory.gone);
            if let Some(layout) = complete.filter(|_| !lacking) {
                self.known.ledger = found.ledger;
                return Ok(self.opened(layout));
            }
            let (spreadsheet, mut plan) = self.plan(&found, attempt).await?;
            let balances =
                if lacking { Some(self.new_balances(&spreadsheet, &mut plan.requests, attempt)) } else { None };
            // The owner is told even where the answer is lost.
            self.memory.id_made_again |= plan.id_again;
            self.tab_made_again |= plan.tab_again;
            plan.unfilled.retain(|key| !self.memory.unfilled.contains(key));
            self.memory.unfilled.append(&mut plan.unfilled);
            if !plan.requests.is_empty() {
                let requests = std::mem::take(&mut plan.requests);
                match self.send_body(json!({ "requests": requests }).to_string().into()).await {
                    Ok(()) => {}
                    // The owner, or an earlier try of ours that arrived late, may have made the same: look again.
                    Err(Failure { error, refused: Some(_) }) if error.cause().is_none() || lacking => {
                        refusal = Some(error);
                        continue;
                    }
                    Err(failure) => return Err(failure.error),
                }
            }
            self.memory.gone = plan.gone;
            self.know_ending(&spreadsheet, &plan.layout);
            self.beside.balances = balances.or(found.balances);
            self.known.spreadsheet = Some(spreadsheet);
            self.known.ledger = Some((plan.ledger_entry, plan.ledger));
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
    fn know_ending(&mut self, spreadsheet: &Spreadsheet, layout: &Layout) {
        if layout.fresh {
            let cells = u64::from(NEW_ROWS) * u64::from(layout.width() + SPARE_COLUMNS);
            let title = self.config.tab.clone();
            self.memory.tabs.entry(layout.sheet).or_insert(KnownTab { title, cells });
        }
        let is_filled = layout.first_blank.is_some_and(|first| first > layout.top().into());
        let has_tables = spreadsheet.tabs.iter().any(|tab| tab.id == layout.sheet && tab.has_tables);
        self.memory.ending.careful |= has_tables || is_filled;
        if layout.first_blank == Some(layout.top().into()) {
            self.memory.ending.tail = layout.first_blank;
        }
    }

    pub(super) fn opened(&mut self, layout: Layout) -> u64 {
        self.known.layout = Some(layout);
        self.known.read_at = Some(Instant::now());
        self.memory.floor = self.memory.floor.max(self.known.seq());
        if self.known.is_bare() && self.memory.ending.tail.is_none() {
            self.memory.ending.tail = self.known.layout.as_ref().map(|layout| layout.top().into());
        }
        self.memory.floor
    }

    /// Reads the ledger alone.
    pub(super) async fn read_ledger(&mut self) -> Result<Ledger, Error> {
        let entries = self.client().await?.search(&[LEDGER_KEY]).await?;
        let found = Metadata::sort(entries, &self.names.spreadsheet, &self.names.destination, &self.config.tab);
        self.take_ledger(found)
    }

    fn take_ledger(&mut self, found: Metadata) -> Result<Ledger, Error> {
        self.known.ledger = found.ledger;
        let ledger = self.known.ledger.as_ref().map(|(_, ledger)| ledger.clone());
        ledger.ok_or_else(|| {
            Error::unavailable(self.names.say("the ledger was removed from the spreadsheet's developer metadata"))
        })
    }

    /// Forgets the layout where columns of ours are elsewhere by now.
    pub(super) fn look_for_moves(&mut self, found: &Metadata) {
        let Some(known) = &self.known.layout else { return };
        let now = found.complete(&self.config.rows.columns, &self.config.tab, &self.memory.gone);
        let now = now.map(|now| (now.sheet, now.places, now.header));
        if now.is_some_and(|(sheet, places, header)| {
            (sheet, &places, header) == (known.sheet, &known.places, known.header)
        }) {
            self.known.read_at = Some(Instant::now());
        } else {
            self.known.forget_layout();
        }
    }

    pub(super) async fn ready(&mut self) -> Result<(Layout, i32, Ledger), Error> {
        // A long delivery looks again now and then: the owner may be moving columns meanwhile.
        if self.known.layout.is_none() || self.known.is_older_than(LAYOUT_GOOD) {
            self.open_once().await?;
        }
        if self.known.ledger.is_none() {
            self.read_ledger().await?;
        }
        match (&self.known.layout, &self.known.ledger) {
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
            let cells = self.read_spreadsheet().await?.cells();
            news.extend(is_nearly_full(cells).then(|| fullness(cells, Language::En)));
            return Ok(news);
        }
        let (spreadsheet, plan) = self.plan(&found, 0).await?;
        news.push(format!("spreadsheet `{}` is readable", spreadsheet.title));
        news.extend(is_nearly_full(spreadsheet.cells()).then(|| fullness(spreadsheet.cells(), Language::En)));
        news.extend(plan.news);
        let balances = self.config.balances_tab.as_ref().filter(|_| found.balances.is_none());
        let dashboard = self.config.dashboard_tab.as_ref().filter(|_| found.dashboards.is_empty());
        let rules = self.config.rules_tab.as_ref().filter(|title| !found.rules.is_made(title));
        for title in balances.into_iter().chain(dashboard).chain(rules) {
            news.push(format!("tab `{}` will be created", spreadsheet.free_title(title, &self.names.destination)));
        }
        Ok(news)
    }

    /// Proves the right to write. No read tells, so a write is asked for that cannot be carried out: the removal of a named
    /// range that does not exist. Google refuses a reader for the missing right, and an editor for the missing range.
    async fn may_edit(&mut self) -> Result<(), Error> {
        let id = format!("bankfeed_check_{:016x}", fastrand::u64(..));
        let body = json!({ "requests": [delete_named_range(&id)] }).to_string();
        match self.send_body(body.into()).await {
            Ok(()) | Err(Failure { refused: Some(_), .. }) => Ok(()),
            Err(Failure { error, .. }) => Err(error),
        }
    }

    pub(super) async fn settle_once(&mut self, number: u64, hash: u64) -> Result<BatchStatus, Error> {
        let found = self.find().await?;
        self.look_for_moves(&found);
        let settled = self.take_ledger(found)?.settle(number, hash);
        if settled != BatchStatus::NotApplied {
            self.memory.floor = self.memory.floor.max(number);
        }
        if settled == BatchStatus::Applied {
            self.balances_written(number, hash);
            self.look_where_it_landed(number, hash, None).await;
        }
        if settled != BatchStatus::Applied {
            self.memory.ending.unsure |= settled != BatchStatus::NotApplied;
        }
        // The lost batch may have written rows.
        if let Some(layout) = &mut self.known.layout {
            layout.first_blank = None;
        }
        Ok(settled)
    }
}
