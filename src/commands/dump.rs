//! The dump of the store for the process that builds a file or a database from it.

use std::io;

use super::transactions::{matcher, say_that_there_are_none, select};
use super::{Done, Failure, USAGE};
use crate::control::Output;
use crate::destination::policy::Filter;
use crate::export::dump::{self, Account, Delivery, DeliveryState, Line, Row};
use crate::model::Transaction;
use crate::selection::Selection;
use crate::service::StoreService;
use crate::store::{Absence, DestinationState};

/// Bytes sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Sends accounts, destinations and the selected transactions.
pub(super) fn execute(service: &StoreService, selection: &Selection, output: &mut dyn Output) -> Done {
    let (config, store) = (&service.engine.config, &service.engine.store);
    let Some(matcher) = matcher(store, selection, output)? else { return Ok(USAGE) };
    let mut sender = Sender { output, chunk: String::new() };
    sender.send(&dump::fields())?;
    for stored in store.accounts() {
        sender.send(&Line::Account(Account::new(&stored)))?;
    }
    let mut states = Vec::new();
    for destination in &config.destinations {
        let state = store.destination(&destination.name, &destination.target())?;
        sender.send(&Line::Destination(destination.name.clone()))?;
        states.push((&destination.filter, state));
    }
    let count = select(store, selection, &matcher, |number, transaction| {
        let in_one = |(filter, state): &(&Filter, DestinationState)| {
            filter.accepts(transaction).then(|| delivery(state, number, transaction))
        };
        let deliveries = states.iter().map(in_one).collect();
        sender.send(&Line::Row(Row::new(transaction, deliveries)))
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

/// The delivery of one transaction to a destination.
fn delivery(destination: &DestinationState, number: u64, transaction: &Transaction) -> Delivery {
    let absent = destination.rows.get(&transaction.row.id).and_then(|row| row.absent.as_ref());
    let state = match (absent, number > destination.watermark) {
        (Some(Absence::Rejected(reason)), _) => {
            return Delivery { state: DeliveryState::Refused, reason: Some(reason.clone()) };
        }
        (Some(Absence::Deleted { .. }), _) => DeliveryState::Deleted,
        (Some(Absence::Suppressed), _) => DeliveryState::Withheld,
        (None, true) if transaction.vanished => DeliveryState::Withheld,
        (None, true) => DeliveryState::Waiting,
        (None, false) => DeliveryState::Delivered,
    };
    Delivery { state, reason: None }
}
