//! The store sent as lines to whoever builds something of it, and what takes them in.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::transactions::{say_that_there_are_none, select, wanted};
use super::{Done, Failure, USAGE, accounts, terminal};
use crate::control::{Output, Selection};
use crate::daemon::Owner;
use crate::extract::{self, Delivery, Line, Row, State};
use crate::model::Transaction;
use crate::store::{Absence, DestinationState};
use crate::sync::Step;

/// Sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Sends accounts, destinations and the selected transactions.
pub(super) fn execute(owner: &Owner, selection: &Selection, output: &mut dyn Output) -> Done {
    let (config, store) = (&owner.engine.config, &owner.engine.store);
    let Some(wanted) = wanted(store, selection, output)? else { return Ok(USAGE) };
    let mut sender = Sender { output, chunk: String::new() };
    sender.send(&extract::fields())?;
    for stored in store.accounts() {
        sender.send(&Line::Account(accounts::line(&stored)))?;
    }
    let mut states = Vec::new();
    for destination in &config.destinations {
        let state = store.destination(&destination.name, &destination.target())?;
        sender.send(&Line::Destination(destination.name.clone()))?;
        states.push((&destination.filter, state));
    }
    let count = select(store, selection, &wanted, |number, transaction| {
        let in_one = |(filter, state): &(&crate::destination::policy::Filter, DestinationState)| {
            filter.accepts(transaction).then(|| delivery(state, number, transaction))
        };
        let deliveries = states.iter().map(in_one).collect();
        sender.send(&Line::Row(Row::of(transaction, deliveries)))
    })?;
    sender.flush()?;
    if count == 0 {
        say_that_there_are_none(store, output)?;
    }
    store.rest();
    Ok(0)
}

struct Sender<'a> {
    output: &'a mut dyn Output,
    chunk: String,
}

impl Sender<'_> {
    fn send(&mut self, line: &Line) -> Result<(), Failure> {
        self.chunk += &serde_json::to_string(line).map_err(io::Error::from)?;
        self.chunk.push('\n');
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let chunk = std::mem::take(&mut self.chunk);
        Ok(self.output.data(&chunk)?)
    }
}

/// The fate of one row at a destination.
fn delivery(destination: &DestinationState, number: u64, transaction: &Transaction) -> Delivery {
    let absent = destination.rows.get(&transaction.row.id).and_then(|row| row.absent.as_ref());
    let state = match (absent, number > destination.watermark) {
        (Some(Absence::Rejected(reason)), _) => {
            return Delivery { state: State::Refused, reason: Some(reason.clone()) };
        }
        (Some(Absence::Deleted { .. }), _) => State::Deleted,
        (Some(Absence::Suppressed), _) => State::Withheld,
        (None, true) if transaction.vanished => State::Withheld,
        (None, true) => State::Waiting,
        (None, false) => State::Delivered,
    };
    Delivery { state, reason: None }
}

/// Takes lines in as they come.
pub(super) trait Builder: Send {
    /// One more line.
    fn take(&mut self, line: &Line) -> io::Result<()>;
}

/// A builder as an output.
pub(super) struct Receiver<B> {
    builder: Arc<Mutex<Option<B>>>,
    /// Transactions taken in.
    rows: Arc<AtomicU64>,
}

impl<B> Clone for Receiver<B> {
    fn clone(&self) -> Receiver<B> {
        Receiver { builder: self.builder.clone(), rows: self.rows.clone() }
    }
}

impl<B> Receiver<B> {
    /// For this builder.
    pub(super) fn new(builder: B) -> Receiver<B> {
        Receiver { builder: Arc::new(Mutex::new(Some(builder))), rows: Arc::default() }
    }

    /// How many transactions have come.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The builder with everything in it.
    pub(super) fn finish(self) -> io::Result<B> {
        self.builder().take().ok_or_else(|| io::Error::other("was finished already"))
    }

    fn builder(&self) -> MutexGuard<'_, Option<B>> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Builder> Output for Receiver<B> {
    fn data(&mut self, text: &str) -> io::Result<()> {
        let mut builder = self.builder();
        let builder = builder.as_mut().ok_or_else(|| io::Error::other("was finished already"))?;
        text.lines().try_for_each(|line| {
            let line = extract::parse(line)?;
            self.rows.fetch_add(u64::from(matches!(line, Line::Row(_))), Ordering::Relaxed);
            builder.take(&line)
        })
    }

    fn talk(&mut self, text: &str) -> io::Result<()> {
        terminal::Terminal::stdout().talk(text)
    }

    fn step(&mut self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}
