//! State of the connector: saved between cycles, known of the spreadsheet, prepared for sending. Plain values; no request is
//! made here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::balances::{Balances, TabState, told};
use super::expected_rows::ExpectedRows;
use super::layout::Layout;
use super::ledger::Ledger;
use super::left_out::LeftOutTable;
use super::metadata::Metadata;
use super::placed::Ending;
use super::request::GuardedRequest;
use super::rules_layout::RulesTab;
use super::settings::GoogleSheetsSettings;
use super::spreadsheet::{Spreadsheet, Tabs, cells_of};
use crate::destination::{Rewrite, Summary, Verdict};

/// The state that is saved between cycles, for an owner who removes more than a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SavedState {
    /// The spreadsheet that the state belongs to.
    pub spreadsheet: String,
    /// The configured title of the tab.
    pub tab: String,
    /// Keys of fields whose columns the owner has deleted from that tab.
    pub gone: Vec<String>,
    /// Highest batch number that was ever used up.
    pub floor: u64,
    /// The release whose dashboard Google has refused: the release does not try again.
    pub dashboard_refused: String,
    /// The id column was made again, and the owner was not told yet.
    pub id_made_again: bool,
    /// Keys of fields set by rules whose columns were added below which rows stood already.
    pub unfilled: Vec<String>,
    /// Number of cells of the spreadsheet in the latest answer that told, empty ones included.
    pub cells: u64,
    /// Misplaced rows as former releases kept them here, until the engine has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub astray: BTreeMap<String, Rewrite>,
    /// The tabs in the latest answers that showed them.
    pub tabs: Tabs,
    /// The end of our rows.
    pub ending: Ending,
}

impl SavedState {
    /// Reads the saved state of this tab. A state that cannot be read, or is of another spreadsheet, is no loss: everything
    /// in it is found anew.
    pub fn read(saved: &[u8], spreadsheet: &str, tab: &str) -> SavedState {
        let old: SavedState = serde_json::from_slice(saved).unwrap_or_default();
        let mut state = if old.spreadsheet == spreadsheet { old } else { SavedState::default() };
        if state.tab != tab {
            (state.gone, state.unfilled, state.ending) = Default::default();
        }
        SavedState { spreadsheet: spreadsheet.to_owned(), tab: tab.to_owned(), ..state }
    }

    /// Number of cells of the spreadsheet; 0: unknown.
    pub fn cells(&self) -> u64 {
        match cells_of(&self.tabs) {
            0 => self.cells,
            cells => cells,
        }
    }
}

/// Google's support for an answer to a write with a part of the spreadsheet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Support {
    /// No write that asks for the part was refused.
    #[default]
    Unknown,
    /// A refused write was refused without the part, too.
    Blameless,
    /// A write was refused for the part.
    Refused,
}

/// The parts of the spreadsheet that may be asked for along with a write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    pub size: Support,
    pub ids: Support,
}

impl Answers {
    pub fn support(&mut self, of_ids: bool) -> &mut Support {
        if of_ids { &mut self.ids } else { &mut self.size }
    }
}

/// The spreadsheet as this cycle knows it.
#[derive(Default)]
pub(super) struct KnownSheet {
    /// Positions of tab and columns.
    pub layout: Option<Layout>,
    /// The moment at which the layout was last seen to be true.
    pub read_at: Option<Instant>,
    /// The ledger as last read or written, with the id of its entry.
    pub ledger: Option<(i32, Ledger)>,
    /// Titles, sizes and named ranges, where this cycle has read them.
    pub spreadsheet: Option<Spreadsheet>,
}

impl KnownSheet {
    /// Forgets positions that are true no longer: they are read again before the next use.
    pub fn forget_layout(&mut self) {
        self.layout = None;
    }

    /// True where the layout was not seen to be true for so long.
    pub fn is_older_than(&self, age: Duration) -> bool {
        self.read_at.is_none_or(|at| at.elapsed() > age)
    }

    /// Number of the last batch in the ledger.
    pub fn seq(&self) -> u64 {
        self.ledger.as_ref().map_or(0, |(_, ledger)| ledger.seq)
    }

    /// True where the ledger knows of no row.
    pub fn is_bare(&self) -> bool {
        self.ledger.as_ref().is_none_or(|(_, ledger)| ledger.rows == 0)
    }
}

/// A batch that was cut, until the next batch.
pub(super) struct Prepared {
    pub number: u64,
    pub hash: u64,
    pub verdicts: Vec<Verdict>,
    /// The ledger once the batch is applied.
    pub next: Option<Ledger>,
    /// The row after all rows of ours once the batch is applied, where known.
    pub first_blank: Option<u64>,
    pub at: Instant,
    pub sent: bool,
    /// The batch was sent before with other positions.
    pub resent: bool,
    /// The rows that the batch writes to by position.
    pub landing: ExpectedRows,
    /// The request; `None`: there is nothing to send.
    pub request: Option<GuardedRequest>,
    /// The state of the balances' tab once the request's extras are written.
    pub balances: Option<TabState>,
}

impl Prepared {
    pub fn new(number: u64, hash: u64, verdicts: Vec<Verdict>) -> Prepared {
        Prepared {
            number,
            hash,
            verdicts,
            next: None,
            first_blank: None,
            at: Instant::now(),
            sent: false,
            resent: false,
            landing: ExpectedRows::default(),
            request: None,
            balances: None,
        }
    }

    /// Adds the requests of the balances, and the state of their tab after them.
    pub fn add_balances(&mut self, balances: Option<(Vec<u8>, TabState)>) {
        if let (Some(request), Some((extras, state))) = (&mut self.request, balances) {
            request.extras = extras.into();
            self.balances = Some(state);
        }
    }

    pub fn is(&self, number: u64, hash: u64) -> bool {
        (self.number, self.hash) == (number, hash)
    }
}

/// The tabs beside the transactions, and the standing to be shown there.
#[derive(Default)]
pub(super) struct TabsBeside {
    /// The standing to be shown.
    pub summary: Option<Summary>,
    /// The summary has been written.
    pub shown: bool,
    /// Rows were written without the summary.
    pub behind: bool,
    /// The tab of balances as it is.
    pub balances: Option<Balances>,
    /// The dashboard was made before.
    pub dashboard_made: bool,
    /// The tables of amounts that the sums of dashboards leave out.
    pub left_out: Vec<LeftOutTable>,
    /// The tab with the owner's rules.
    pub rules: RulesTab,
}

impl TabsBeside {
    /// Takes over the entries of these tabs that a search found.
    pub fn take(&mut self, found: &Metadata, config: &GoogleSheetsSettings) {
        (self.balances, self.left_out) = (found.balances.clone(), found.left_out.clone());
        let title = config.dashboard_tab.as_deref();
        self.rules = config.rules_tab.as_deref().map(|title| found.rules.titled(title)).unwrap_or_default();
        self.dashboard_made = found.dashboards.iter().any(|made| Some(made.title.as_str()) == title);
    }

    /// True where the tab of balances has to be made.
    pub fn lacks_balances(&self, config: &GoogleSheetsSettings) -> bool {
        self.summary.is_some() && config.balances_tab.is_some() && self.balances.is_none()
    }

    /// True where any process wrote the balances on this day, with the same things for the owner to do.
    pub fn is_told_already(&self) -> bool {
        let (Some(summary), Some(balances)) = (&self.summary, &self.balances) else { return false };
        balances.state.told == told(summary)
    }

    /// The requests that bring the tables of left-out amounts up to date, each followed by a comma.
    pub fn left_out_requests(&self, summary: &Summary) -> Vec<u8> {
        self.left_out.iter().flat_map(|table| table.update(&summary.left_out)).collect()
    }

    /// True where accounts are kept in more than one currency.
    pub fn has_currencies(&self) -> bool {
        let accounts = self.summary.as_ref().map_or(&[][..], |summary| &summary.accounts);
        accounts.windows(2).any(|pair| pair[0].currency != pair[1].currency)
    }

    /// The currency that most accounts have.
    pub fn main_currency(&self) -> String {
        let accounts = self.summary.as_ref().map_or(&[][..], |summary| &summary.accounts);
        let count = |currency: &str| accounts.iter().filter(|account| account.currency == currency).count();
        let most = accounts.iter().rev().max_by_key(|account| count(&account.currency));
        most.map_or_else(|| "EUR".to_owned(), |account| account.currency.clone())
    }
}
