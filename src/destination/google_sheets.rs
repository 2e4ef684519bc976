//! Google Sheets: a tab with a row per transaction.
//!
//! Delivered exactly once: each batch is one all-or-nothing request of guard, rows and ledger (`ledger`, `request`), so a
//! batch sent again, or arriving minutes late, is refused whole. Positions are read at the start of each cycle and follow
//! every move of the owner's (`metadata`, `layout`); missing tabs and columns are created (`setup`). A steady cycle costs a
//! token, one read, and one write per batch. The engine decides which rows to send, and in which order; the store is
//! unknown here.
//!
//! The files come in two halves. The pure half turns what was read into requests: the files of `tests::PURE`, which
//! name no file of the other. The connected half sends requests through `client` and keeps `state`.

use std::collections::HashSet;

use async_trait::async_trait;

use super::readback::{FoundRow, Reader, Shown};
use super::row_op::RowOp;
use super::{
    Batch, BatchStatus, ConnectorState, DeliveryDigest, Destination, Extras, ID_MADE_AGAIN, Misplaced, Opened, Outcome,
    OwnRules, Reading, RowChange, Summary, Written,
};
use crate::model::Language;
use crate::remote::{Backoff, Cause, Context, Error, Shutdown};

mod answer;
mod auth;
mod balances;
mod cells;
mod changes;
mod client;
mod connection;
mod dashboard;
mod drawing;
mod entries;
mod errors;
mod expected_rows;
mod fill;
mod formulas;
mod header_row;
pub(crate) mod interview;
mod key_text;
mod layout;
mod ledger;
mod left_out;
mod metadata;
mod misplaced;
pub mod oauth;
mod open;
mod placed;
mod placing;
mod prepare;
mod publish;
mod readback;
mod repair;
mod request;
mod requests;
mod rewrite;
mod row_batch;
mod rule_lines;
mod rules_layout;
mod rules_tab;
pub mod settings;
mod setup;
mod spreadsheet;
mod state;
#[cfg(test)]
mod tests;
mod write;

use client::Client;
use connection::Limits;
use errors::MessageContext;
use expected_rows::Litter;
use ledger::{Guards, Ledger};
use settings::GoogleSheetsSettings;
use spreadsheet::{fullness, is_nearly_full};
use state::{Answers, KnownSheet, Prepared, SavedState, TabsBeside};
use write::Sent;

/// Most items looked at for one batch.
const MOST_ITEMS: usize = 5_000;

/// The connector.
pub struct GoogleSheets {
    names: MessageContext,
    guards: Guards,
    config: GoogleSheetsSettings,
    context: Context,
    limits: Limits,
    memory: SavedState,
    client: Option<Client>,
    /// The spreadsheet as this cycle knows it.
    known: KnownSheet,
    /// The tabs beside the transactions.
    beside: TabsBeside,
    /// The batch that was prepared last.
    prepared: Option<Prepared>,
    /// The tab was made again in this cycle, though rows had been written before.
    tab_made_again: bool,
    /// The parts of the spreadsheet that Google answers a write with.
    answers: Answers,
    /// The number of a batch that was refused for a reason that is not its guard, and the words.
    refused: Option<(u64, String)>,
    /// The rows that the latest writes by position hit in place of others, or missed.
    misplaced: Misplaced,
    /// Rows without an id among them.
    litter: Vec<Litter>,
    /// The place of new rows was asked for since this connector was made.
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
        let names =
            MessageContext { destination: name.to_owned(), spreadsheet: spreadsheet.clone(), account: String::new() };
        // The id becomes part of a path, where the API crate escapes nothing.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if spreadsheet.is_empty() || !spreadsheet.chars().all(plain) {
            let what = "`spreadsheet` is no spreadsheet's id: copy the address from the browser";
            return Err(Error::attention(Cause::NotFound, names.say(what)));
        }
        Ok(GoogleSheets {
            guards: Guards::new(&names.spreadsheet, name),
            names,
            config: config.clone(),
            context,
            limits: Limits::default(),
            memory: SavedState::read(memory, &config.spreadsheet, &config.tab),
            client: None,
            known: KnownSheet::default(),
            beside: TabsBeside::default(),
            prepared: None,
            tab_made_again: false,
            answers: Answers::default(),
            refused: None,
            misplaced: Misplaced::default(),
            litter: Vec::new(),
            placed: false,
        })
    }
}

/// True where these items write to rows that are there.
fn is_by_position(items: &[RowChange]) -> bool {
    items.first().is_some_and(|item| item.op != RowOp::Insert)
}

#[async_trait]
impl Destination for GoogleSheets {
    async fn check(&mut self) -> Result<Vec<String>, Error> {
        let (backoff, shutdown) = self.patience();
        backoff.retry(&shutdown, self, |sheets| Box::pin(sheets.check_once())).await
    }

    async fn open(&mut self, summary: Option<&Summary>) -> Result<Opened, Error> {
        if let Some(summary) = summary {
            self.beside.summary = Some(summary.clone());
            self.beside.shown = false;
        }
        let (backoff, shutdown) = self.patience();
        let last_batch = backoff.retry(&shutdown, self, |sheets| Box::pin(sheets.open_once())).await?;
        let late_columns = self.memory.unfilled.iter().filter_map(|key| key.parse().ok()).collect();
        for (id, rewrite) in std::mem::take(&mut self.memory.astray) {
            self.misplaced.rewrites.entry(id).or_default().merge(rewrite);
        }
        let misplaced = std::mem::take(&mut self.misplaced);
        Ok(Opened { last_batch, batch_limit: MOST_ITEMS, late_columns, misplaced })
    }

    async fn prepare(&mut self, number: u64, items: &[RowChange]) -> Result<Batch, Error> {
        let items = &items[..items.len().min(MOST_ITEMS)];
        if items.first().is_some_and(|item| item.op == RowOp::Insert) {
            self.prepare_new(number, items).await
        } else {
            self.prepare_changes(number, items).await
        }
    }

    async fn write(&mut self, batch: &Batch, items: &[RowChange]) -> Result<Outcome, Error> {
        let known = self.known.ledger.as_ref().and_then(|(_, ledger)| ledger.applied(batch.number));
        if batch.body.is_empty() || known == Some(batch.hash) {
            self.ready().await?;
            self.misplaced.unverified |= !batch.body.is_empty() && is_by_position(items);
            self.memory.ending.unsure |= !batch.body.is_empty() && !is_by_position(items);
            return Ok(Outcome::Done(self.written(batch, items)));
        }
        let Some(request) = self.present_request(batch, items).await? else {
            return self.leave(batch).await;
        };
        if let Some(prepared) = &mut self.prepared {
            prepared.sent = true;
        }
        match self.send(batch, request).await? {
            Sent::Refused(Outcome::Superseded { hash }) => {
                self.known.forget_layout();
                return Ok(Outcome::Superseded { hash });
            }
            Sent::Now(landed) => {
                self.applied(batch);
                self.look_where_it_landed(batch.number, batch.hash, landed).await;
            }
            // When, and so where, is not known.
            Sent::Before | Sent::Refused(_) => {
                self.applied(batch);
                self.misplaced.unverified |= is_by_position(items);
                if !is_by_position(items) {
                    self.look_where_it_landed(batch.number, batch.hash, None).await;
                }
            }
        }
        Ok(Outcome::Done(self.written(batch, items)))
    }

    async fn read(&mut self, reading: Reading, reader: &mut dyn Reader) -> Result<Option<DeliveryDigest>, Error> {
        let (backoff, shutdown) = self.patience();
        if reading == Reading::Ids {
            let column = backoff.retry(&shutdown, self, |sheets| Box::pin(sheets.id_column())).await?;
            let header = self.known.layout.as_ref().and_then(|layout| layout.header);
            reader.begin(Shown::nothing());
            layout::ids(header, &column).into_iter().for_each(|id| reader.row(FoundRow::id_only(id)));
            let digest = |ledger: &Ledger| DeliveryDigest {
                rows: ledger.rows,
                ids: ledger.ids,
                through: ledger.through.clone(),
            };
            return Ok(self.known.ledger.as_ref().map(|(_, ledger)| digest(ledger)));
        }
        let marked = match reading {
            Reading::RowsAndMarks => {
                backoff.retry(&shutdown, self, |sheets| Box::pin(sheets.marked_once())).await?.into_iter().collect()
            }
            _ => HashSet::new(),
        };
        let mut tried = 0;
        loop {
            tried += 1;
            match self.read_back_once(reader, &marked).await {
                Err(error) => backoff.wait(&shutdown, tried, error).await?,
                Ok(()) => return Ok(None),
            }
        }
    }

    async fn status(&mut self, number: u64, hash: u64) -> Result<(BatchStatus, Misplaced), Error> {
        let (backoff, shutdown) = self.patience();
        let status = backoff.retry(&shutdown, self, move |sheets| Box::pin(sheets.settle_once(number, hash))).await?;
        // Rows that a batch will misplace, or leaves to be moved, are told once it is applied.
        let applied = status == BatchStatus::Applied;
        Ok((status, if applied { std::mem::take(&mut self.misplaced) } else { Misplaced::default() }))
    }

    async fn fence(&mut self, number: u64) -> Result<Option<u64>, Error> {
        let (backoff, shutdown) = self.patience();
        backoff.retry(&shutdown, self, move |sheets| Box::pin(sheets.close_once(number))).await
    }

    fn extras(&mut self) -> &mut dyn Extras {
        self
    }

    fn state(&self) -> ConnectorState {
        ConnectorState { memory: self.memory(), notes: self.notes() }
    }
}

#[async_trait]
impl Extras for GoogleSheets {
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
        let (backoff, shutdown) = self.patience();
        backoff.retry(&shutdown, self, |sheets| Box::pin(sheets.rules_of_the_owner())).await
    }

    fn columns_filled(&mut self) {
        self.memory.unfilled.clear();
    }
}

impl GoogleSheets {
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
        serde_json::to_vec(&SavedState { cells: self.memory.cells(), ..self.memory.clone() }).unwrap_or_default()
    }

    /// Number of cells where it is time to make room.
    fn nearly_full(&self) -> Option<u64> {
        Some(self.memory.cells()).filter(|cells| is_nearly_full(*cells))
    }

    fn patience(&self) -> (Backoff, Shutdown) {
        (self.context.backoff.clone(), self.context.shutdown.clone())
    }

    /// Verdicts of a batch that was carried out, and the rows that it has misplaced.
    fn written(&mut self, batch: &Batch, items: &[RowChange]) -> Written {
        let verdicts = self.verdicts(batch, items);
        Written { verdicts, misplaced: std::mem::take(&mut self.misplaced) }
    }

    /// Waits before another try, or gives the error back where another try is pointless.
    async fn pause(&self, tried: u32, error: Error) -> Result<(), Error> {
        self.context.backoff.wait(&self.context.shutdown, tried, error).await
    }
}
