//! NocoDB: rows go into a table of a base, ten at a time.
//!
//! NocoDB has no upsert, and only some of the stores behind it enforce a unique field. The promise that nothing is written
//! twice therefore rests on looking: every batch begins with one search for its ids, writes what is missing, and after a
//! lost answer begins again with the search. On PostgreSQL the unique id field keeps out whatever arrives late; on other
//! stores the ids of insertions without an answer stay in doubt for an hour, and each delivery deletes what came twice
//! (see `doubt`). Table and field ids are kept in [`Destination::state`], so that a delivery reads no layout unless a search
//! finds rows or misses a field.
//!
//! Two cases are left open: an owner who deletes a row between a lost answer and the repetition of its first write gets it
//! back, and a correction that arrives minutes late overwrites a newer one until the next. NocoDB has no means to prevent
//! either.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::destination::policy::Rows;
use crate::destination::readback::{FoundRow, Reader, Shown};
use crate::destination::{
    Batch, BatchStatus, ConnectorState, DeliveryDigest, Destination, Extras, Misplaced, Opened, Outcome, Reading,
    RowChange, Summary,
};
use crate::remote::{Backoff, Cause, Client, Context, Error};

use client::NocodbClient;
use doubt::Doubt;
use errors::Wording;
use layout::Layout;
use settings::NocodbSettings;

mod cells;
mod client;
mod doubt;
mod errors;
mod filter;
pub(crate) mod interview;
mod layout;
mod look;
mod plan;
mod readback;
pub mod settings;
mod setup;
mod write;

/// Changes in one batch: as many as one search finds.
const BATCH_LIMIT: usize = 100;

/// Longest time that NocoDB may take for a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Most requests in a second: the limit of NocoDB's own cloud, and what no other server notices.
const CLOUD_PACE: usize = 5;
const PACE: usize = 1_000;

/// The message to the owner after the column with the ids was deleted and made again.
const ID_MADE_AGAIN: &str = "the field with the transaction ids was deleted and has been made again, because rows are found by it; \
     rows written before have no id now and get no corrections: delete them and run `bankfeed verify --repair`, or leave them as \
     they are";

/// The connector.
pub struct Nocodb {
    client: NocodbClient,
    rows: Rows,
    backoff: Backoff,
    /// The known layout of the base; survives in the memory.
    layout: Option<Layout>,
    /// The layout has been read in this cycle: reading it again would bring nothing new.
    fresh: bool,
    /// The table was made here, so that nothing in it is of another's making.
    made: bool,
    /// The id's field was deleted and made again, which the owner has not been told yet.
    id_made_again: bool,
    /// Keys of fields set by rules that were made where rows were already.
    unfilled: Vec<String>,
    /// Insertions without an answer.
    doubt: Doubt,
    /// The rows that the server takes at once, as far as is known.
    group: usize,
}

/// The state for the next construction of the connector.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    layout: Option<Layout>,
    /// Id of the table that was made by this very store.
    made: Option<String>,
    id_made_again: bool,
    unfilled: Vec<String>,
    doubt: Doubt,
}

impl Nocodb {
    /// Prepares the connector; nothing is sent.
    pub fn new(name: &str, config: &NocodbSettings, context: Context, memory: &[u8]) -> Result<Nocodb, Error> {
        let service = format!("nocodb `{name}`");
        let refused = |why: &str| Error::attention(Cause::Token, format!("{service}: token: {why}"));
        let token = config.token.reveal().map_err(|error| refused(&error))?;
        if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("it holds characters that no token has: copy it once more"));
        }
        let Memory { layout, made, id_made_again, unfilled, mut doubt } = recall(&service, memory);
        doubt.take_over();
        let is_cloud = config.url.host_str().is_some_and(|host| host.ends_with("nocodb.com"));
        let most = if is_cloud { CLOUD_PACE } else { PACE };
        let pace = context.backoff.paces.pace(format!("nocodb {}", config.url), most, Duration::from_secs(1));
        let client = NocodbClient {
            client: Client::at(&config.url, &service, context.requests, false, TIMEOUT)?,
            root: config.url.clone(),
            token,
            wording: Wording { service, base: config.base.clone(), table: config.table.clone() },
            pace,
            patience: context.backoff.patience,
            shutdown: context.shutdown,
        };
        let layout = layout.filter(|layout| layout.speaks_of(&config.base, &config.table));
        Ok(Nocodb {
            client,
            rows: config.rows.clone(),
            backoff: context.backoff,
            made: layout.as_ref().is_some_and(|layout| made.as_ref() == Some(&layout.table)),
            layout,
            fresh: false,
            id_made_again,
            unfilled,
            doubt,
            group: write::GROUP,
        })
    }

    async fn plan(&mut self, items: &[RowChange]) -> Result<Vec<plan::PlannedRow>, Error> {
        let layout = self.make_ready().await?;
        Ok(plan::plan(items, &self.rows, &layout))
    }

    /// Looks for rows that came twice, again after a lost answer.
    async fn heal_patiently(&mut self) -> Result<(), Error> {
        let (backoff, shutdown) = (self.backoff.clone(), self.client.shutdown.clone());
        backoff.retry(&shutdown, self, |base| Box::pin(base.heal())).await
    }

    fn service(&self) -> &str {
        &self.client.wording.service
    }
}

#[async_trait]
impl Destination for Nocodb {
    async fn check(&mut self) -> Result<Vec<String>, Error> {
        self.inspect().await
    }

    /// Sends no request if the layout is remembered and no insertion is in doubt. The number is always 0, because there is
    /// no ledger.
    async fn open(&mut self, _summary: Option<&Summary>) -> Result<Opened, Error> {
        self.fresh = false;
        self.make_ready().await?;
        self.heal_patiently().await?;
        let late_columns = self.unfilled.iter().filter_map(|key| key.parse().ok()).collect();
        Ok(Opened { batch_limit: BATCH_LIMIT, late_columns, ..Opened::default() })
    }

    /// Notes the ids that are about to be inserted: the engine keeps the state before the first byte leaves.
    async fn prepare(&mut self, number: u64, items: &[RowChange]) -> Result<Batch, Error> {
        let taken = plan::cut(items, BATCH_LIMIT);
        let steps = self.plan(&items[..taken]).await?;
        // With nothing to send there is nothing the engine would have to note beforehand.
        let body = if steps.iter().all(|step| step.op.is_idle()) {
            Vec::new()
        } else {
            serde_json::to_vec(&steps)
                .map_err(|error| Error::malformed(format!("{}: cannot write a batch: {error}", self.service())))?
        };
        self.doubt.begin(&steps);
        Ok(Batch { number, taken, hash: xxh3_64(&body), body, by_position: false })
    }

    async fn write(&mut self, _batch: &Batch, items: &[RowChange]) -> Result<Outcome, Error> {
        // A layout that turns out to have changed makes the plan void. The layout is read at most once in a cycle, so
        // the loop ends.
        loop {
            let steps = self.plan(items).await?;
            self.doubt.begin(&steps);
            match self.carry_out(&steps).await {
                Ok(Some(verdicts)) => {
                    self.doubt.end();
                    return Ok(Outcome::Done(verdicts.into()));
                }
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn read(&mut self, reading: Reading, reader: &mut dyn Reader) -> Result<Option<DeliveryDigest>, Error> {
        if reading == Reading::Ids {
            reader.begin(Shown::nothing());
            // A table made here holds nothing but what this store has delivered.
            if !self.made {
                // Lists go by titles, which may have changed since the layout was read.
                self.refresh().await?;
                let layout = self.make_ready().await?;
                self.listed_ids(&layout).await?.into_iter().for_each(|id| reader.row(FoundRow::id_only(id)));
            }
        } else {
            self.read_all(reader).await?;
        }
        Ok(None)
    }

    /// Always `NotApplied`, whatever became of the batch: sent again it looks for its rows first.
    async fn status(&mut self, _number: u64, _hash: u64) -> Result<(BatchStatus, Misplaced), Error> {
        Ok((BatchStatus::NotApplied, Misplaced::default()))
    }

    /// Batches have no numbers here.
    async fn fence(&mut self, _number: u64) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn extras(&mut self) -> &mut dyn Extras {
        self
    }

    fn state(&self) -> ConnectorState {
        ConnectorState { memory: self.memory(), notes: self.notes() }
    }
}

#[async_trait]
impl Extras for Nocodb {
    /// Rows that were lost in this delivery may have come since.
    async fn publish(&mut self) -> Result<Option<u64>, Error> {
        self.doubt.end();
        if self.doubt.fresh {
            self.heal_patiently().await?;
        }
        if std::mem::take(&mut self.id_made_again) {
            let (service, table) = (self.service(), &self.client.wording.table);
            return Err(Error::attention(Cause::Layout, format!("{service}: table `{table}`: {ID_MADE_AGAIN}")));
        }
        Ok(None)
    }

    fn columns_filled(&mut self) {
        self.unfilled.clear();
    }
}

impl Nocodb {
    fn notes(&self) -> Vec<String> {
        let columns = self.layout.iter().flat_map(|layout| &layout.columns);
        columns.filter_map(layout::oddness).map(|what| format!("{}: {what}", self.service())).collect()
    }

    fn memory(&self) -> Vec<u8> {
        let made = self.layout.as_ref().filter(|_| self.made).map(|layout| layout.table.clone());
        let (layout, doubt) = (self.layout.clone(), self.doubt.clone());
        let memory = Memory { layout, made, id_made_again: self.id_made_again, unfilled: self.unfilled.clone(), doubt };
        serde_json::to_vec(&memory).unwrap_or_else(|error| {
            // Strings and numbers only; should it fail all the same, the next cycle reads the layout again.
            tracing::warn!("{}: cannot keep what is known of the base: {error}", self.service());
            Vec::new()
        })
    }
}

/// The remembered state; unreadable text counts as none, because the service knows everything but what is in doubt.
fn recall(service: &str, memory: &[u8]) -> Memory {
    if memory.is_empty() {
        return Memory::default();
    }
    serde_json::from_slice(memory).unwrap_or_else(|error| {
        tracing::warn!("{service}: what was known of the base cannot be read ({error}); it is asked again");
        Memory::default()
    })
}
