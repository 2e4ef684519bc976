//! PostgreSQL: rows go into a typed table, a batch in one transaction.
//!
//! The promise that nothing is written twice rests on a [ledger] in the same schema, written in the same transaction as
//! the rows, and on a look at the ids inside it. Everything is plain SQL, so that engines which speak the protocol do as
//! well; only the removal of surplus copies of a row asks for PostgreSQL itself. A connection is made when there is work
//! and ends with the cycle. A request, in reports, is a statement sent or a connection made.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::readback::Reader;
use super::{
    Batch, BatchStatus, ConnectorState, DeliveryDigest, Destination, Extras, Misplaced, Opened, Outcome, Reading,
    RowChange, Summary,
};
use crate::destination::policy::Rows;
use crate::remote::{Backoff, Cause, Context, Error, Shutdown};

use client::Session;
use errors::Wording;
use layout::{Known, Layout};
use ledger::{DUPLICATE, FENCE, written};
use plan::PlannedRow;
use settings::PostgresSettings;

mod address;
mod cells;
mod client;
mod errors;
mod inspect;
pub(crate) mod interview;
mod layout;
mod ledger;
mod plan;
mod readback;
pub mod settings;
mod tls;
mod write;

/// Rows of one transaction.
const BATCH_LIMIT: usize = 5000;

/// The connector.
pub struct Postgres {
    session: Session,
    rows: Rows,
    table: String,
    backoff: Backoff,
    shutdown: Shutdown,
    /// The table as it was read in this cycle.
    layout: Option<Layout>,
    /// The batch that was prepared last.
    planned: Option<Planned>,
    memory: Memory,
}

/// A batch between its preparation and its first try.
struct Planned {
    number: u64,
    hash: u64,
    rows: Vec<PlannedRow>,
}

/// The state for the next construction of the connector.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// The mark of the ledger that was written to.
    identity: Option<String>,
    known: Known,
    /// Keys of columns set by rules that were made where rows were already.
    unfilled: Vec<String>,
}

impl Postgres {
    /// Prepares the connector; nothing is sent.
    pub fn new(name: &str, config: &PostgresSettings, context: Context, memory: &[u8]) -> Result<Postgres, Error> {
        let service = format!("postgres `{name}`");
        let address = config.address();
        let address = address.map_err(|why| Error::attention(Cause::Token, format!("{service}: url: {why}")))?;
        let memory = if memory.is_empty() { Ok(Memory::default()) } else { serde_json::from_slice(memory) };
        let memory = memory.unwrap_or_else(|error| {
            tracing::warn!("{service}: what was known of the table cannot be read ({error}); it is asked again");
            Memory::default()
        });
        let words = Wording { service, place: address.shown.clone(), table: config.table.clone() };
        Ok(Postgres {
            session: Session::new(address, words, context.requests),
            rows: config.rows.clone(),
            table: config.table.clone(),
            backoff: context.backoff,
            shutdown: context.shutdown,
            layout: None,
            planned: None,
            memory,
        })
    }

    /// Connects, and reads the table unless it has been read in this cycle.
    async fn ready(&mut self) -> Result<Layout, Error> {
        self.session.connect().await?;
        if let Some(layout) = &self.layout {
            return Ok(layout.clone());
        }
        let layout = self.arrange().await?;
        self.layout = Some(layout.clone());
        Ok(layout)
    }

    async fn open_once(&mut self) -> Result<u64, Error> {
        self.ready().await?;
        self.last_batch().await
    }

    async fn status_once(&mut self, number: u64, hash: u64) -> Result<BatchStatus, Error> {
        self.session.connect().await?;
        Ok(match self.hash_of(number).await? {
            None => BatchStatus::NotApplied,
            Some(found) if found == hash => BatchStatus::Applied,
            Some(found) => BatchStatus::Superseded { hash: found },
        })
    }

    async fn fence_once(&mut self, number: u64) -> Result<Option<u64>, Error> {
        self.session.connect().await?;
        match self.session.execute(&self.entry(number, &written(FENCE))).await {
            Ok(_) => Ok(None),
            Err(failure) if failure.is(DUPLICATE) => Ok(self.hash_of(number).await?),
            Err(failure) => Err(failure.error),
        }
    }
}

#[async_trait]
impl Destination for Postgres {
    async fn check(&mut self) -> Result<Vec<String>, Error> {
        let (backoff, shutdown) = (self.backoff.clone(), self.shutdown.clone());
        backoff.retry(&shutdown, self, |this| Box::pin(this.inspect())).await
    }

    async fn open(&mut self, _summary: Option<&Summary>) -> Result<Opened, Error> {
        self.layout = None;
        let (backoff, shutdown) = (self.backoff.clone(), self.shutdown.clone());
        let last_batch = backoff.retry(&shutdown, self, |this| Box::pin(this.open_once())).await?;
        let late_columns = self.memory.unfilled.iter().filter_map(|key| key.parse().ok()).collect();
        Ok(Opened { last_batch, batch_limit: BATCH_LIMIT, late_columns, ..Opened::default() })
    }

    async fn prepare(&mut self, number: u64, changes: &[RowChange]) -> Result<Batch, Error> {
        let taken = plan::cut(changes, BATCH_LIMIT);
        let layout = self.ready().await?;
        let rows = plan::plan(&changes[..taken], self.rows.vanished, &layout);
        // With nothing to send there is nothing the engine would have to note beforehand.
        let body = if plan::is_idle(&rows) { Vec::new() } else { vec![1] };
        let hash = plan::hash(&rows);
        self.planned = Some(Planned { number, hash, rows });
        Ok(Batch { number, taken, hash, body, by_position: false })
    }

    async fn write(&mut self, batch: &Batch, changes: &[RowChange]) -> Result<Outcome, Error> {
        self.carry_out(batch, changes).await
    }

    async fn read(&mut self, reading: Reading, reader: &mut dyn Reader) -> Result<Option<DeliveryDigest>, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.read_once(reading, reader).await {
                Ok(()) => return Ok(None),
                Err(error) => self.backoff.wait(&self.shutdown, tried, error).await?,
            }
        }
    }

    async fn status(&mut self, number: u64, hash: u64) -> Result<(BatchStatus, Misplaced), Error> {
        let (backoff, shutdown) = (self.backoff.clone(), self.shutdown.clone());
        let status = backoff.retry(&shutdown, self, |this| Box::pin(this.status_once(number, hash))).await?;
        Ok((status, Misplaced::default()))
    }

    async fn fence(&mut self, number: u64) -> Result<Option<u64>, Error> {
        let (backoff, shutdown) = (self.backoff.clone(), self.shutdown.clone());
        backoff.retry(&shutdown, self, |this| Box::pin(this.fence_once(number))).await
    }

    fn extras(&mut self) -> &mut dyn Extras {
        self
    }

    fn state(&self) -> ConnectorState {
        // Texts and numbers only: writing them cannot fail.
        let memory = serde_json::to_vec(&self.memory).unwrap_or_default();
        ConnectorState { memory, notes: Vec::new() }
    }
}

#[async_trait]
impl Extras for Postgres {
    async fn publish(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn columns_filled(&mut self) {
        self.memory.unfilled.clear();
    }
}
