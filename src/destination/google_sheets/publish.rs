//! The tabs beside the transactions: when the balances travel along with rows, when they are written alone, and the one
//! time that the dashboard is made. Neither ever keeps a row waiting.

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::GoogleSheets;
use super::balances::{Balances, BalancesPage, TabState};
use super::client::Failure;
use super::dashboard;
use super::drawing::Drawing;
use super::formulas::{Formulas, Sums, separator};
use super::layout::Layout;
use super::request::{GuardedRequest, ResponseDetail};
use super::spreadsheet::{Spreadsheet, fullness};
use super::state::{Prepared, Support};
use crate::destination::{Batch, BatchStatus, Outcome};
use crate::remote::{Cause, Error, Kind};

/// Balances larger than this do not travel with rows: the request must stay below Google's two megabytes.
const MOST_BESIDE: usize = 24 * 1024;

/// Number of times that the balances are tried alone after refusals.
const TRIES: u32 = 3;

impl GoogleSheets {
    /// Adds the requests that make the tab of balances.
    pub(super) fn new_balances(&self, spreadsheet: &Spreadsheet, requests: &mut Vec<Json>, attempt: u32) -> Balances {
        let seed = format!("{}\0balances\0{}\0{attempt}", self.guards.name(0), self.known.seq());
        let sheet = spreadsheet.free_id(&seed);
        // Beside the ledger's id, which has this bit never.
        let entry = (self.guards.metadata_id() | 0x4000_0000) ^ attempt as i32;
        let title = self.config.balances_tab.as_deref().unwrap_or_default();
        let title = spreadsheet.free_title(title, &self.names.destination);
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
        let (Some(summary), Some(balances)) = (self.beside.summary.clone(), self.beside.balances.clone()) else {
            return Ok(None);
        };
        let language = self.config.rows.language;
        let warning = self.nearly_full().map(|cells| fullness(cells, language));
        let page = BalancesPage { balances: &balances, summary: &summary, layout, language, warning };
        let formulas = if page.needs_formulas() { Some(self.formulas(layout).await?) } else { None };
        let mut requests = self.beside.left_out_requests(&summary);
        requests.extend(page.requests(formulas.as_ref()));
        Ok(Some((requests, page.next_state())))
    }

    /// Writes what dashboards leave out, where there is no tab of balances that it could travel with. Whichever request
    /// comes last says what was true then, and the next cycle looks again.
    async fn publish_left_out(&mut self) -> Result<(), Error> {
        let Some(summary) = self.beside.summary.clone().filter(|_| self.config.balances_tab.is_none()) else {
            return Ok(());
        };
        let mut requests = self.beside.left_out_requests(&summary);
        if requests.pop().is_none() {
            return Ok(());
        }
        let body = [&b"{\"requests\":["[..], &requests, b"]}"].concat();
        self.beside.left_out.clear();
        Ok(self.send_body(body.into()).await?)
    }

    /// The facts that formulas depend on, read only where formulas have to be written.
    async fn formulas(&mut self, layout: &Layout) -> Result<Formulas, Error> {
        let spreadsheet = self.known_spreadsheet().await?;
        let tab = spreadsheet.tabs.iter().find(|tab| tab.id == layout.sheet);
        // A tab that this very cycle made is not in what was read before.
        let tab = tab.map_or_else(|| self.config.tab.clone(), |tab| tab.title.clone());
        Ok(Formulas { tab, separator: separator(&spreadsheet.locale) })
    }

    async fn known_spreadsheet(&mut self) -> Result<Spreadsheet, Error> {
        if let Some(spreadsheet) = &self.known.spreadsheet {
            return Ok(spreadsheet.clone());
        }
        let spreadsheet = self.read_spreadsheet().await?;
        self.known.spreadsheet = Some(spreadsheet.clone());
        Ok(spreadsheet)
    }

    /// A batch was applied, and the balances with it if it carried them.
    pub(super) fn balances_written(&mut self, number: u64, hash: u64) {
        let prepared = self.prepared.as_mut().filter(|prepared| prepared.is(number, hash));
        let Some(state) = prepared.and_then(|prepared| prepared.balances.take()) else {
            self.beside.behind = true;
            return;
        };
        self.beside.shown = true;
        if let Some(balances) = &mut self.beside.balances {
            balances.state = state;
        }
    }

    /// Writes the balances alone, if no batch has carried them. The batch is guarded like any other: one that arrives late
    /// must not bring old figures back.
    pub(super) async fn publish_balances(&mut self) -> Result<(), Error> {
        if self.beside.summary.is_none() || self.config.balances_tab.is_none() {
            return Ok(());
        }
        if !self.beside.behind && self.beside.is_told_already() {
            self.beside.shown = true;
        }
        // A spreadsheet that the answer to the rows shows to be nearly full is named in the tab as well, once.
        if self
            .beside
            .balances
            .as_ref()
            .is_some_and(|balances| balances.state.nearly_full != self.nearly_full().is_some())
        {
            self.beside.shown = false;
        }
        let (mut tried, mut refused) = (0, 0);
        while !self.beside.shown {
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
                    self.known.forget_layout();
                    self.known.spreadsheet = None;
                    self.beside.left_out.clear();
                }
                Err(Failure { error, .. }) => self.pause(tried, error).await?,
            }
        }
        Ok(())
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
        if self.beside.balances.is_none() {
            let (spreadsheet, mut requests) = (self.known_spreadsheet().await?, Vec::new());
            let balances = self.new_balances(&spreadsheet, &mut requests, refused + 1);
            self.send_body(json!({ "requests": requests }).to_string().into()).await?;
            self.beside.balances = Some(balances);
        }
        if refused > 0 {
            self.measure().await?;
        }
        let Some((requests, state)) = self.balances_requests(&layout).await? else { return Ok(()) };
        let (number, hash) = (ledger.seq.max(self.memory.floor) + 1, xxh3_64(&requests));
        let now = super::prepare::unix_now();
        let removed = ledger.removable(number, now);
        let next = ledger.next(number, hash, 0, now, &removed);
        let is_size_shown = self.answers.size != Support::Refused && refused == 0;
        let response = if is_size_shown { ResponseDetail::Size } else { ResponseDetail::Nothing };
        let request = GuardedRequest {
            rows: requests.into(),
            response,
            ..GuardedRequest::new(&self.guards, number, layout.sheet, entry, &next, &removed)
        };
        let mut prepared = Prepared::new(number, hash, Vec::new());
        (prepared.next, prepared.balances) = (Some(next), Some(state));
        self.prepared = Some(prepared);
        self.send_balances(&Batch { number, taken: 0, hash, body: Vec::new(), by_position: false }, &request).await
    }

    async fn send_balances(&mut self, batch: &Batch, request: &GuardedRequest) -> Result<(), Failure> {
        let Err(failure) = self.send_request(request).await else {
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
                // The ledger is asked before the balances are written anew under another number.
                if failure.error.is_transient()
                    && self.settle_once(batch.number, batch.hash).await? == BatchStatus::Applied
                {
                    return Ok(());
                }
                Err(failure)
            }
        }
    }

    /// The true size of the tab: the owner may have removed rows.
    async fn measure(&mut self) -> Result<(), Error> {
        let spreadsheet = self.known_spreadsheet().await?;
        if let Some(balances) = &mut self.beside.balances
            && let Some(tab) = spreadsheet.tabs.iter().find(|tab| tab.id == balances.state.sheet)
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
        if self.beside.dashboard_made || self.memory.dashboard_refused == release {
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
                    // An earlier try may have arrived after all.
                    let found = self.find().await?;
                    self.beside.take(&found, &self.config);
                    if self.beside.dashboard_made {
                        break;
                    }
                    refused += 1;
                    if refused == TRIES {
                        self.memory.dashboard_refused = release.to_owned();
                        return Err(self.no_dashboard(error, &wanted));
                    }
                    // The owner may have taken the title since the titles were read.
                    self.known.spreadsheet = None;
                }
                Err(Failure { error, .. }) => {
                    self.pause(tried, error).await?;
                    let found = self.find().await?;
                    self.beside.take(&found, &self.config);
                    if self.beside.dashboard_made {
                        break;
                    }
                }
            }
        }
        self.beside.dashboard_made = true;
        Ok(())
    }

    fn no_dashboard(&self, error: Error, title: &str) -> Error {
        let message =
            format!("{}; the rows are written, the tab `{title}` is not and will not be tried again", error.message);
        Error { message, ..error }
    }

    async fn make_dashboard(&mut self, wanted: &str, whole: bool) -> Result<(), Failure> {
        let (layout, ..) = self.ready().await?;
        let formulas = self.formulas(&layout).await?;
        let spreadsheet = self.known_spreadsheet().await?;
        let balances = self.beside.balances.as_ref().map(|balances| {
            let tab = spreadsheet.tabs.iter().find(|tab| tab.id == balances.state.sheet);
            (balances, balances.title.clone().or_else(|| tab.map(|tab| tab.title.clone())).unwrap_or_default())
        });
        // The tab of balances may have been made since the titles were read.
        let title = spreadsheet.free_title(wanted, &self.names.destination);
        let sheet = spreadsheet.free_id(&format!("{}\0dashboard\0{wanted}", self.guards.name(0)));
        let sums = Sums {
            layout: &layout,
            formulas: &formulas,
            table: dashboard::left_out_table(sheet, &self.names.destination),
            is_mixed: self.beside.has_currencies(),
        };
        let plan = dashboard::DashboardPlan {
            drawing: Drawing { sheet },
            title: &title,
            wanted,
            destination: &self.names.destination,
            layout: &layout,
            sums,
            balances,
            language: self.config.rows.language,
            currency: self.beside.main_currency(),
            left_out: self.beside.summary.as_ref().map_or(&[], |summary| &summary.left_out),
            whole,
        };
        // Tabs of ours count, too.
        let is_size_shown = whole && self.answers.size != Support::Refused;
        let body = json!({ "includeSpreadsheetInResponse": is_size_shown, "requests": plan.requests() }).to_string();
        self.send_body(body.into()).await
    }
}
