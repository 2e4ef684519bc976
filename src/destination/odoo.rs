//! Odoo: rows become bank lines in the journal of their account, each made once by an external id that holds the
//! transaction's.
//!
//! The promise that nothing is made twice rests on a look before every `load`: only ids that are not there are loaded, and
//! an id that arrives twice all the same is one line for Odoo. The connector keeps no ledger and remembers no record id. The
//! external id goes with a line that the owner deletes, so only the engine's state knows of it; a line that was reconciled
//! is never touched, and a correction of it is told.
//!
//! Two cases are left open: an owner who deletes a line between a lost answer and the next try gets it back, and a request
//! that arrives minutes late brings an older version back until the next correction. Odoo has no means to prevent either.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::readback::Reader;
use super::{
    Batch, BatchStatus, ConnectorState, DeliveryDigest, Destination, Extras, Misplaced, Opened, Outcome, Reading,
    RowChange, Summary,
};
use crate::destination::policy::Rows;
use crate::model::Transaction;
use crate::remote::{Backoff, Cause, Client, Context, Error, Shutdown};

use check::KeyLife;
use client::{OdooClient, Server};
use errors::{Refusal, Wording};
use layout::Layout;
use settings::OdooSettings;

mod check;
mod client;
mod errors;
pub(crate) mod interview;
mod layout;
mod line;
mod load;
mod lookup;
mod plan;
mod readback;
pub mod settings;
mod write;

/// Lines in one request: Odoo takes some seconds for as many.
const BATCH_LIMIT: usize = 100;

/// Longest time that Odoo may take for a request.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Days for which moved dates are told.
const MOVED_DAYS: i64 = 30;

/// A question to the server under way.
type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// The connector.
pub struct Odoo {
    client: OdooClient,
    rows: Rows,
    /// Accounts with the ids of their journals.
    journals: BTreeMap<String, i64>,
    backoff: Backoff,
    shutdown: Shutdown,
    memory: Memory,
    /// The layout has been read in this cycle: reading it again would bring nothing new.
    fresh: bool,
    /// Every line of ours by transaction, once the cycle has looked at all.
    all: Option<HashMap<String, i64>>,
    /// Transactions whose lines were sent in this cycle.
    sent: HashSet<String>,
    /// Says what day it is.
    clock: fn() -> DateTime<Utc>,
}

/// The state for the next construction of the connector.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    server: Option<Server>,
    layout: Layout,
    key: Option<KeyLife>,
    /// Accounts whose rows wait for a journal.
    homeless: BTreeSet<String>,
    moved: Option<Moved>,
}

/// Lines that Odoo has dated later than the bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moved {
    lines: u64,
    /// The last of them: the bank's day and Odoo's.
    asked: NaiveDate,
    became: NaiveDate,
    /// The day on which that was seen.
    seen: NaiveDate,
}

impl Odoo {
    /// Prepares the connector; nothing is sent.
    pub fn new(name: &str, config: &OdooSettings, context: Context, memory: &[u8]) -> Result<Odoo, Error> {
        let service = format!("odoo `{name}`");
        let refused = |why: &str| Error::attention(Cause::Token, format!("{service}: api_key: {why}"));
        let key = config.api_key.reveal().map_err(|error| refused(&error))?;
        if !key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("it holds characters that no key has: copy it once more"));
        }
        if !config.database.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = format!("{service}: database: it holds characters that no database's name has");
            return Err(Error::attention(Cause::NotFound, what));
        }
        let mut memory = recall(&service, memory);
        let mut homeless = std::mem::take(&mut memory.homeless);
        homeless.retain(|account| !config.journals.contains_key(account));
        let client = OdooClient {
            client: Client::at(&config.url, &service, context.requests, false, TIMEOUT)?,
            root: config.url.clone(),
            login: config.login.clone(),
            wording: Wording { service, database: config.database.clone(), key },
            server: memory.server.take(),
        };
        Ok(Odoo {
            client,
            rows: config.rows.clone(),
            journals: config.journals.clone(),
            backoff: context.backoff,
            shutdown: context.shutdown,
            memory: Memory { homeless, ..memory },
            fresh: false,
            all: None,
            sent: HashSet::new(),
            clock: Utc::now,
        })
    }

    /// Takes the day from this clock.
    pub fn with_clock(mut self, clock: fn() -> DateTime<Utc>) -> Odoo {
        self.clock = clock;
        self
    }

    fn service(&self) -> &str {
        &self.client.wording.service
    }

    fn plan(&mut self, changes: &[RowChange]) -> Vec<plan::PlannedLine> {
        let homeless = changes.iter().map(|change| &*change.transaction.account);
        let homeless = homeless.filter(|account| !self.journals.contains_key(*account)).map(str::to_owned);
        self.memory.homeless.extend(homeless);
        plan::plan(changes, &self.rows, &self.journals, &self.memory.layout)
    }

    /// Notes a line that Odoo has dated otherwise than it was asked to.
    fn note_moved(&mut self, asked: NaiveDate, became: NaiveDate) {
        let today = (self.clock)().date_naive();
        let earlier = self.memory.moved.as_ref().filter(|moved| moved.is_told(today)).map_or(0, |moved| moved.lines);
        if earlier == 0 {
            tracing::warn!("{}: the books are locked: a line of {asked} is dated {became} by Odoo", self.service());
        }
        self.memory.moved = Some(Moved { lines: earlier + 1, asked, became, seen: today });
    }

    fn notes(&self) -> Vec<String> {
        let (service, today) = (self.service(), (self.clock)().date_naive());
        let homeless =
            self.memory.homeless.iter().map(|account| format!("{}; its rows wait", line::no_journal(account)));
        let bad = self.journals.values().filter_map(|id| {
            let problem = self.memory.layout.journals.get(id)?.problem.as_ref()?;
            Some(format!("{}; its rows wait", line::bad_journal(*id, problem)))
        });
        let mut notes: Vec<String> = homeless.chain(bad).map(|note| format!("{service}: {note}")).collect();
        notes.extend(self.memory.moved.as_ref().filter(|moved| moved.is_told(today)).map(|moved| {
            let Moved { lines, asked, became, .. } = moved;
            let count = if *lines == 1 { "a line was".to_owned() } else { format!("{lines} lines were") };
            format!(
                "{service}: {count} dated later by Odoo than by the bank, because the books are locked for that day (last: \
                 {asked} became {became}): nothing is lost; open the period and run `bankfeed verify --repair` to move them \
                 back, or leave them"
            )
        }));
        notes.extend(self.key_note());
        notes
    }

    fn memory(&self) -> Vec<u8> {
        let memory = Memory { server: self.client.server.clone(), ..self.memory.clone() };
        serde_json::to_vec(&memory).unwrap_or_else(|error| {
            // Strings, numbers and dates only; should it fail all the same, the next cycle asks the server again.
            tracing::warn!("{}: cannot keep what is known of the books: {error}", self.service());
            Vec::new()
        })
    }
}

impl Moved {
    fn is_told(&self, today: NaiveDate) -> bool {
        (today - self.seen).num_days() <= MOVED_DAYS
    }
}

#[async_trait]
impl Destination for Odoo {
    async fn check(&mut self) -> Result<Vec<String>, Error> {
        self.inspect().await
    }

    /// Sends no request if the layout is remembered, but the one a day that asks when the key ends. The number is always
    /// 0, because there is no ledger.
    async fn open(&mut self, _summary: Option<&Summary>) -> Result<Opened, Error> {
        self.fresh = false;
        self.make_ready().await?;
        let (backoff, shutdown) = (self.backoff.clone(), self.shutdown.clone());
        backoff.retry(&shutdown, self, |odoo| Box::pin(odoo.look_at_key())).await?;
        Ok(Opened { batch_limit: BATCH_LIMIT, ..Opened::default() })
    }

    async fn prepare(&mut self, number: u64, changes: &[RowChange]) -> Result<Batch, Error> {
        self.make_ready().await?;
        let taken = plan::cut(changes, BATCH_LIMIT);
        let steps = self.plan(&changes[..taken]);
        // With nothing to send there is nothing the engine would have to note beforehand.
        let body = if plan::is_idle(&steps) {
            Vec::new()
        } else {
            serde_json::to_vec(&steps)
                .map_err(|error| Error::malformed(format!("{}: cannot write a batch: {error}", self.service())))?
        };
        Ok(Batch { number, taken, hash: xxh3_64(&body), body, by_position: false })
    }

    /// Begins with a look each time, so that a try after a lost answer finds what an earlier one has made.
    async fn write(&mut self, _batch: &Batch, changes: &[RowChange]) -> Result<Outcome, Error> {
        self.make_ready().await?;
        let steps = self.plan(changes);
        Ok(Outcome::Done(self.carry_out(&steps).await?.into()))
    }

    async fn read(&mut self, reading: Reading, reader: &mut dyn Reader) -> Result<Option<DeliveryDigest>, Error> {
        match reading {
            Reading::Ids => self.read_ids(reader).await?,
            Reading::Rows | Reading::RowsAndMarks => self.read_rows(reader).await?,
        }
        Ok(None)
    }

    /// Always `NotApplied`, whatever became of the batch: sent again it finds its lines by their ids.
    async fn status(&mut self, _number: u64, _hash: u64) -> Result<(BatchStatus, Misplaced), Error> {
        Ok((BatchStatus::NotApplied, Misplaced::default()))
    }

    /// Batches have no numbers here.
    async fn fence(&mut self, _number: u64) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn is_lifted(&self, transaction: &Transaction, reason: &str) -> bool {
        let Some(id) = self.journals.get(&*transaction.account) else { return false };
        let problem = self.memory.layout.journals.get(id).and_then(|journal| journal.problem.as_ref());
        let is_journals = reason == line::no_journal(&transaction.account) || reason.starts_with("journal ");
        is_journals && problem.is_none_or(|problem| reason != line::bad_journal(*id, problem))
    }

    fn extras(&mut self) -> &mut dyn Extras {
        self
    }

    fn state(&self) -> ConnectorState {
        ConnectorState { memory: self.memory(), notes: self.notes() }
    }
}

#[async_trait]
impl Extras for Odoo {
    async fn publish(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn columns_filled(&mut self) {}
}

/// The remembered state; unreadable text counts as none, because the server knows everything of it.
fn recall(service: &str, memory: &[u8]) -> Memory {
    if memory.is_empty() {
        return Memory::default();
    }
    serde_json::from_slice(memory).unwrap_or_else(|error| {
        tracing::warn!("{service}: what was known of the books cannot be read ({error}); it is asked again");
        Memory::default()
    })
}
