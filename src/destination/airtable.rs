//! Airtable: rows go into a table of a base, ten at a time, by upsert on the transaction's id.
//!
//! The promise that nothing is written twice rests on that upsert alone: a batch sent again finds its rows and updates
//! them. There is no ledger and no record id is remembered. A delivery reads nothing: table and field ids are kept in
//! [`Destination::state`] together with the month's count of requests, because a Free plan has a thousand of them. A
//! row that is only corrected, taken back or given back is looked up first, so that one the owner deleted stays deleted.
//!
//! Two cases are left open: an owner who deletes a row between a lost answer and the repetition of its first write gets
//! it back, and a request that arrives minutes late overwrites a correction made meanwhile until the next one. Airtable
//! has no means to prevent either.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::readback::{FoundRow, Reader, Shown};
use super::{
    Batch, BatchStatus, ConnectorState, DeliveryDigest, Destination, Extras, ID_MADE_AGAIN, Misplaced, Opened, Outcome,
    Reading, RowChange, Summary,
};
use crate::destination::policy::Rows;
use crate::remote::{Backoff, Cause, Client, Context, Error};

use balances::Accounts;
use client::AirtableClient;
use errors::Wording;
use layout::Layout;
use pace::{Limits, Spending};
use settings::AirtableSettings;

mod balances;
mod cells;
mod client;
mod errors;
mod fill;
pub(crate) mod interview;
mod layout;
mod pace;
mod plan;
mod readback;
mod repair;
pub mod settings;
mod setup;
#[cfg(test)]
mod tests;
mod write;

/// Records in one request, by Airtable's own limit.
const BATCH_LIMIT: usize = 10;

/// Longest time that Airtable may take for a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The connector.
pub struct Airtable {
    client: AirtableClient,
    rows: Rows,
    backoff: Backoff,
    /// The known layout of the base; survives in the memory.
    layout: Option<Layout>,
    /// The layout has been read in this cycle: reading it again would bring nothing new.
    fresh: bool,
    /// The table was made here, so that nothing in it is of another's making.
    made: bool,
    /// Name of the table of accounts, where one is asked for.
    accounts_table: Option<String>,
    /// The known table of accounts.
    accounts: Option<Accounts>,
    /// The summary, until it is written.
    summary: Option<Summary>,
    /// The id's field was deleted and made again, which the owner has not been told yet.
    id_made_again: bool,
    /// Keys of fields set by rules that were made where rows were already.
    unfilled: Vec<String>,
    /// Records of the table, as far as is known.
    records: Option<u64>,
}

/// The state for the next construction of the connector.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    layout: Option<Layout>,
    spending: Spending,
    /// Id of the table that was made by this very store.
    #[serde(default)]
    made: Option<String>,
    /// The table of accounts.
    #[serde(default)]
    accounts: Option<Accounts>,
    /// The id's field was made again, and nobody was told yet.
    #[serde(default)]
    id_made_again: bool,
    /// Keys of fields set by rules that were made where rows were already.
    #[serde(default)]
    unfilled: Vec<String>,
    /// Records of the table, as far as is known.
    #[serde(default)]
    records: Option<u64>,
}

impl Airtable {
    /// Prepares the connector; nothing is sent.
    pub fn new(name: &str, config: &AirtableSettings, context: Context, memory: &[u8]) -> Result<Airtable, Error> {
        let service = format!("airtable `{name}`");
        let refused = |why: &str| Error::attention(Cause::Token, format!("{service}: token: {why}"));
        let token = config.token.reveal().map_err(|error| refused(&error))?;
        if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("it holds characters that no token has: copy it once more"));
        }
        let Memory { layout, spending, made, accounts, id_made_again, unfilled, records } = recall(&service, memory);
        let limits = Limits::new(&context.backoff, &config.base_url, &config.base, token.expose_secret());
        let client = AirtableClient {
            client: Client::at(&config.base_url, &service, context.requests, false, TIMEOUT)?,
            root: config.base_url.clone(),
            token,
            wording: Wording { service, base: config.base.clone(), table: config.table.clone() },
            limits,
            spending,
            monthly_requests: config.monthly_requests,
            shutdown: context.shutdown,
            clock: Utc::now,
        };
        let layout = layout.filter(|layout| layout.speaks_of(&config.base, &config.table));
        Ok(Airtable {
            client,
            rows: config.rows.clone(),
            backoff: context.backoff,
            made: layout.as_ref().is_some_and(|layout| made.as_ref() == Some(&layout.table)),
            layout,
            fresh: false,
            accounts_table: config.accounts_table.clone(),
            accounts,
            summary: None,
            id_made_again,
            unfilled,
            records,
        })
    }

    /// Takes the month of the request budget from this clock.
    pub fn with_clock(mut self, clock: fn() -> DateTime<Utc>) -> Airtable {
        self.client.clock = clock;
        self
    }

    async fn plan(&mut self, items: &[RowChange]) -> Result<Vec<plan::PlannedRow>, Error> {
        let layout = self.make_ready().await?;
        Ok(plan::plan(items, &self.rows, &layout))
    }

    fn service(&self) -> &str {
        &self.client.wording.service
    }
}

#[async_trait]
impl Destination for Airtable {
    async fn check(&mut self) -> Result<Vec<String>, Error> {
        self.inspect().await
    }

    /// Sends no request if the layout is remembered. The number is always 0, because there is no ledger.
    async fn open(&mut self, summary: Option<&Summary>) -> Result<Opened, Error> {
        if let Some(summary) = summary {
            self.summary = Some(summary.clone());
        }
        self.fresh = false;
        self.make_ready().await?;
        let late_columns = self.unfilled.iter().filter_map(|key| key.parse().ok()).collect();
        Ok(Opened { batch_limit: BATCH_LIMIT, late_columns, ..Opened::default() })
    }

    async fn prepare(&mut self, number: u64, items: &[RowChange]) -> Result<Batch, Error> {
        let taken = plan::cut(items, BATCH_LIMIT);
        let steps = self.plan(&items[..taken]).await?;
        // With nothing to send there is nothing the engine would have to note beforehand.
        let body = if plan::is_idle(&steps) {
            Vec::new()
        } else {
            serde_json::to_vec(&steps)
                .map_err(|error| Error::malformed(format!("{}: cannot write a batch: {error}", self.service())))?
        };
        Ok(Batch { number, taken, hash: xxh3_64(&body), body, by_position: false })
    }

    async fn write(&mut self, batch: &Batch, items: &[RowChange]) -> Result<Outcome, Error> {
        let mut steps = if batch.body.is_empty() {
            self.plan(items).await?
        } else {
            serde_json::from_slice(&batch.body)
                .map_err(|error| Error::malformed(format!("{}: cannot read a batch: {error}", self.service())))?
        };
        // A layout that turns out to have changed makes the plan void. The layout is read at most once in a cycle, so
        // the loop ends.
        loop {
            if let Some(verdicts) = self.carry_out(&steps).await? {
                return Ok(Outcome::Done(verdicts.into()));
            }
            steps = self.plan(items).await?;
        }
    }

    /// Upserts would double nothing, but write over what the owner has done to rows that are there, ten a request; a
    /// look at the ids costs a tenth of that. A table made here is not looked at.
    async fn read(&mut self, reading: Reading, reader: &mut dyn Reader) -> Result<Option<DeliveryDigest>, Error> {
        if reading == Reading::Ids {
            let layout = self.make_ready().await?;
            reader.begin(Shown::nothing());
            if !self.made {
                self.listed_ids(&layout).await?.into_iter().for_each(|id| reader.row(FoundRow::id_only(id)));
            }
        } else {
            self.read_all(reader).await?;
        }
        Ok(None)
    }

    /// Always `NotApplied`, whatever became of the batch: sent again it finds its rows by their ids and writes the same
    /// cells over them, corrections and ticks are the same each time, and a row already deleted stays deleted. Asking
    /// would cost as much as sending.
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
impl Extras for Airtable {
    async fn publish(&mut self) -> Result<Option<u64>, Error> {
        self.publish_accounts().await?;
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

impl Airtable {
    fn notes(&self) -> Vec<String> {
        let columns = self.layout.iter().flat_map(|layout| &layout.columns);
        let odd = columns.filter_map(layout::oddness).map(|what| format!("{}: {what}", self.service()));
        let full = self.records.and_then(layout::fullness).map(|what| format!("{}: {what}", self.service()));
        odd.chain(full).collect()
    }

    fn memory(&self) -> Vec<u8> {
        let made = self.layout.as_ref().filter(|_| self.made).map(|layout| layout.table.clone());
        let (layout, spending) = (self.layout.clone(), self.client.spending.clone());
        let (accounts, id_made_again) = (self.accounts.clone(), self.id_made_again);
        let unfilled = self.unfilled.clone();
        let records = self.records;
        let memory = Memory { layout, spending, made, accounts, id_made_again, unfilled, records };
        serde_json::to_vec(&memory).unwrap_or_else(|error| {
            // Strings, numbers and dates only; should it fail all the same, the next cycle reads the layout again.
            tracing::warn!("{}: cannot keep what is known of the base: {error}", self.service());
            Vec::new()
        })
    }
}

/// The remembered state; unreadable text counts as none, because the service knows everything but the budget.
fn recall(service: &str, memory: &[u8]) -> Memory {
    if memory.is_empty() {
        return Memory::default();
    }
    serde_json::from_slice(memory).unwrap_or_else(|error| {
        tracing::warn!("{service}: what was known of the base cannot be read ({error}); it is asked again");
        Memory::default()
    })
}
