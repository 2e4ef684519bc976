//! Google Sheets: one tab with a row per transaction.
//!
//! Delivered exactly once: each batch is one all-or-nothing request of guard, rows and ledger (`ledger`, `batch`), so a
//! batch sent again, or arriving minutes late, is refused whole. Positions are read at the start of each cycle and follow
//! whatever the owner moved (`layout`); what is missing is created (`setup`). A steady cycle costs a token, one read, and
//! one write per batch. It knows nothing of the store: what to send, and in which order, is the engine's affair.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::readback::Reader;
use super::{
    Astray, Batch, Destination, ID_MADE_AGAIN, Item, Outcome, OwnRules, Past, Settled, Summary, Verdict, What,
};
use crate::model::{Field, Language};
use crate::remote::{Cause, Context, Error};

mod auth;
mod balances;
mod batch;
mod body;
mod changes;
mod dashboard;
mod delivery;
mod enrich;
mod errors;
pub mod key_text;
mod landing;
mod layout;
mod ledger;
mod left_out;
mod mend;
mod metered;
mod opening;
mod placed;
mod placing;
mod readback;
mod requests;
mod rule_lines;
mod rules_tab;
pub mod settings;
mod setup;
mod straighten;
mod tab_sizes;
mod tabs;
#[cfg(test)]
mod tests;
mod transport;
pub mod user;

use balances::{Balances, TabState};
use delivery::Sent;
use errors::Names;
use landing::{Landing, Touched};
use layout::Layout;
use ledger::{Guards, Ledger};
use placed::Ending;
use rules_tab::RulesTab;
use settings::GoogleSheetsSettings;
use setup::{Book, fullness, is_nearly_full};
use straighten::Litter;
use tab_sizes::{Tabs, cells_of};
use transport::{Limits, Transport};

/// Most items looked at for one batch.
const MOST_ITEMS: usize = 5_000;

/// What is kept between cycles, for the case that the owner removes more than a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// The spreadsheet it speaks of.
    spreadsheet: String,
    /// The configured title of the tab.
    tab: String,
    /// Fields whose columns the owner has deleted from that tab.
    gone: Vec<String>,
    /// Highest batch number that was ever used up.
    floor: u64,
    /// The release whose dashboard Google has refused: it is not tried again.
    #[serde(default)]
    dashboard_refused: String,
    /// The id column was made again, and the owner was not told yet.
    #[serde(default)]
    id_made_again: bool,
    /// Keys of fields set by rules whose columns were added below which rows stood already.
    #[serde(default)]
    unfilled: Vec<String>,
    /// Cells of the spreadsheet when an answer said it last, empty ones included.
    #[serde(default)]
    cells: u64,
    /// Rows that a write hit in place of others, or missed, and what of them has to be written once more.
    #[serde(default)]
    astray: BTreeMap<String, Touched>,
    /// The tabs when an answer showed them last.
    #[serde(default)]
    tabs: Tabs,
    /// What stands at the end of our rows.
    #[serde(default)]
    ending: Ending,
}

/// What is known of asking for the spreadsheet's size along with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measuring {
    /// No write that asks for it was refused.
    Unknown,
    /// A refused write was refused without it, too.
    Blameless,
    /// A write was refused for it.
    Refused,
}

/// A batch that was cut, until the next one.
struct Prepared {
    number: u64,
    hash: u64,
    verdicts: Vec<Verdict>,
    /// The ledger once it is applied.
    next: Option<Ledger>,
    /// The row from which on there is none of ours once it is applied, where known.
    first_blank: Option<u64>,
    at: Instant,
    sent: bool,
    /// It was sent before with other positions.
    resent: bool,
    /// The rows it writes to by position.
    landing: Landing,
    /// The balances it carries: where they stand in the body, and the state of their tab once they are written.
    beside: Option<(Range<usize>, TabState)>,
}

/// The connector.
pub struct GoogleSheets {
    names: Names,
    guards: Guards,
    config: GoogleSheetsSettings,
    context: Context,
    limits: Limits,
    memory: Memory,
    transport: Option<Transport>,
    layout: Option<Layout>,
    opened_at: Option<Instant>,
    /// The ledger as last read or written, with the id of its entry.
    ledger: Option<(i32, Ledger)>,
    prepared: Option<Prepared>,
    /// How things stand, to be shown.
    summary: Option<Summary>,
    /// The summary has been written.
    shown: bool,
    /// Rows were written without it.
    behind: bool,
    /// The tab of balances as it is.
    balances: Option<Balances>,
    /// The dashboard was made before.
    dashboard_made: bool,
    /// What the sums of dashboards leave out, where it stands.
    left_out: Vec<left_out::Table>,
    /// What is known of the tab with the owner's rules.
    rules_tab: RulesTab,
    /// The spreadsheet's properties, where this cycle has read them.
    book: Option<Book>,
    /// The tab was made again in this cycle, though rows had been written before.
    tab_made_again: bool,
    /// Whether the spreadsheet's size can be asked for along with a write.
    measuring: Measuring,
    /// The same of ids.
    locating: Measuring,
    /// The number of a batch that was refused for a reason that is not its guard, and the words.
    refused: Option<(u64, String)>,
    /// What the latest writes by position hit in place of other rows, or missed.
    astray: Astray,
    /// Rows without an id among it.
    litter: Vec<Litter>,
    /// Where new rows land was asked for since this connector was made.
    placed: bool,
}

impl GoogleSheets {
    /// Prepares the connector; nothing is sent and no secret is read.
    pub fn new(
        name: &str,
        config: &GoogleSheetsSettings,
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
        let old: Memory = serde_json::from_slice(memory).unwrap_or_default();
        let old = if old.spreadsheet == spreadsheet { old } else { Memory::default() };
        let (gone, unfilled, ending) =
            if old.tab == config.tab { (old.gone, old.unfilled, old.ending) } else { Default::default() };
        let memory = Memory {
            spreadsheet,
            tab: config.tab.clone(),
            gone,
            floor: old.floor,
            dashboard_refused: old.dashboard_refused,
            id_made_again: old.id_made_again,
            unfilled,
            cells: old.cells,
            astray: old.astray,
            tabs: old.tabs,
            ending,
        };
        Ok(GoogleSheets {
            guards: Guards::new(&names.spreadsheet, name),
            names,
            config: config.clone(),
            context,
            limits: Limits::default(),
            memory,
            transport: None,
            layout: None,
            opened_at: None,
            ledger: None,
            prepared: None,
            summary: None,
            shown: false,
            behind: false,
            balances: None,
            dashboard_made: false,
            left_out: Vec::new(),
            rules_tab: RulesTab::default(),
            book: None,
            tab_made_again: false,
            measuring: Measuring::Unknown,
            locating: Measuring::Unknown,
            refused: None,
            astray: Astray::default(),
            litter: Vec::new(),
            placed: false,
        })
    }
}

impl Prepared {
    fn new(number: u64, hash: u64, verdicts: Vec<Verdict>) -> Prepared {
        Prepared {
            number,
            hash,
            verdicts,
            next: None,
            first_blank: None,
            at: Instant::now(),
            sent: false,
            resent: false,
            landing: Landing::default(),
            beside: None,
        }
    }

    fn is(&self, number: u64, hash: u64) -> bool {
        (self.number, self.hash) == (number, hash)
    }
}

/// Whether these items write to rows that are there.
fn is_by_position(items: &[Item]) -> bool {
    items.first().is_some_and(|item| item.what != What::New)
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
            match self.id_column().await {
                Err(error) => self.pause(tried, error).await?,
                Ok(column) => {
                    let header = self.layout.as_ref().and_then(|layout| layout.header);
                    return Ok(delivery::ids(header, &column));
                }
            }
        }
    }

    fn past(&self) -> Option<Past> {
        let (_, ledger) = self.ledger.as_ref()?;
        Some(Past { rows: ledger.rows, ids: ledger.ids, through: ledger.through.clone() })
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
            self.astray.unsure |= !batch.body.is_empty() && is_by_position(items);
            self.memory.ending.unsure |= !batch.body.is_empty() && !is_by_position(items);
            return Ok(Outcome::Done(self.verdicts(batch, items)));
        }
        let Some(body) = self.present_body(batch, items).await? else {
            return self.leave(batch).await;
        };
        if let Some(prepared) = &mut self.prepared {
            prepared.sent = true;
        }
        match self.send(batch, body).await? {
            Sent::Refused(Outcome::Superseded { hash }) => {
                self.layout = None;
                return Ok(Outcome::Superseded { hash });
            }
            Sent::Now(landed) => {
                self.applied(batch);
                self.look_where_it_landed(batch.number, batch.hash, landed).await;
            }
            // When, and so where, is not known.
            Sent::Before | Sent::Refused(_) => {
                self.applied(batch);
                self.astray.unsure |= is_by_position(items);
                if !is_by_position(items) {
                    self.look_where_it_landed(batch.number, batch.hash, None).await;
                }
            }
        }
        Ok(Outcome::Done(self.verdicts(batch, items)))
    }

    fn writes_by_position(&self) -> bool {
        true
    }

    fn astray(&mut self) -> Astray {
        std::mem::take(&mut self.astray)
    }

    async fn struck(&mut self) -> Result<Vec<String>, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.struck_once().await {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
            }
        }
    }

    fn note_astray(&mut self, id: &str, fields: &[Field], struck: bool, deleted: bool) {
        let touched = self.memory.astray.entry(id.to_owned()).or_default();
        touched.fields.extend(fields.iter().map(|field| field.key().into_owned()));
        touched.struck |= struck;
        touched.deleted |= deleted;
    }

    async fn read_back(&mut self, reader: &mut dyn Reader) -> Result<(), Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.read_back_once(reader).await {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
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

    async fn close(&mut self, number: u64) -> Result<Option<u64>, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.close_once(number).await {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
            }
        }
    }

    fn summarise(&mut self, summary: &Summary) {
        self.summary = Some(summary.clone());
        self.shown = false;
    }

    async fn publish(&mut self) -> Result<Option<u64>, Error> {
        let before = self.memory.floor;
        self.publish_balances().await?;
        self.publish_dashboard().await?;
        if std::mem::take(&mut self.memory.id_made_again) {
            let (tab, name) = (&self.config.tab, &self.names.destination);
            let what = format!(
                "tab `{tab}`: {ID_MADE_AGAIN}; `bankfeed verify {name} --repair` gives rows that are as they were written their ids again"
            );
            return Err(Error::attention(Cause::Layout, self.names.say(what)));
        }
        Ok(Some(self.memory.floor).filter(|floor| *floor != before))
    }

    async fn read_rules(&mut self) -> Result<Option<OwnRules>, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.rules_of_the_owner().await {
                Err(error) => self.pause(tried, error).await?,
                done => return done,
            }
        }
    }

    fn unfilled(&self) -> Vec<Field> {
        self.memory.unfilled.iter().filter_map(|key| key.parse().ok()).collect()
    }

    fn filled(&mut self) {
        self.memory.unfilled.clear();
    }

    fn notes(&self) -> Vec<String> {
        let full = self.nearly_full().map(|cells| fullness(cells, Language::En));
        let again = self.tab_made_again.then(|| {
            let (tab, name) = (&self.config.tab, &self.names.destination);
            format!(
                "there was no tab `{tab}` any more and it has been made again, for new rows: `bankfeed verify {name} --repair` puts older ones back; or delete it and call the tab to go on with `{tab}`"
            )
        });
        full.into_iter().chain(again).collect()
    }

    fn memory(&self) -> Vec<u8> {
        // A struct of plain fields always serialises.
        serde_json::to_vec(&Memory { cells: self.cells(), tabs: self.tabs(), ..self.memory.clone() })
            .unwrap_or_default()
    }
}

impl GoogleSheets {
    /// Cells of the spreadsheet as far as is known; 0: it is not.
    fn cells(&self) -> u64 {
        match cells_of(&self.tabs()) {
            0 => self.memory.cells,
            cells => cells,
        }
    }

    /// The tabs as far as they are known.
    fn tabs(&self) -> Tabs {
        self.transport.as_ref().map_or_else(|| self.memory.tabs.clone(), Transport::tabs)
    }

    /// The same where it is time to make room.
    fn nearly_full(&self) -> Option<u64> {
        Some(self.cells()).filter(|cells| is_nearly_full(*cells))
    }

    /// Waits before another try, or gives the error back where trying again is pointless.
    async fn pause(&self, tried: u32, error: Error) -> Result<(), Error> {
        let Some(pause) = self.context.backoff.pause(tried, &error) else { return Err(error) };
        tracing::debug!("{error}; trying again in {pause:?}");
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.context.shutdown.wait() => Err(Error::stopped()),
        }
    }
}
