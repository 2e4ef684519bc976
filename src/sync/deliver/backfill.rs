//! Columns for rules that were asked for after rows had been delivered: on request, the rules' earlier values are
//! brought to those rows, in cells that are still empty.
//!
//! The values go the way of every delivery: each batch is noted before it is sent and settled after a lost answer. The
//! destination itself remembers the columns that are still to be filled, until all rows were offered; a backfill that
//! is cut off begins anew, and finds the cells it has filled no longer empty.

use super::{Delivery, Stop};
use crate::config;
use crate::destination::row_op::RowOp;
use crate::destination::{Destination, RowChange};
use crate::model::{Field, Transaction, Value};
use crate::remote::Context;
use crate::rules::{SET_BY_RULES, put};
use crate::store;
use crate::sync::{DestinationReport, Engine, Watcher};

/// Rows looked at in one go.
const ROWS_PER_LOOK: usize = 1000;

impl Engine {
    /// Fills columns of one destination that rules had something for before they were there.
    pub(in crate::sync) async fn fill_new_columns(
        &self,
        config: &config::Destination,
        watcher: &Watcher,
    ) -> Result<Option<DestinationReport>, store::Error> {
        let mut delivery = Delivery::new(self, config, watcher)?;
        let never_delivered = delivery.state.watermark == 0;
        if never_delivered || !SET_BY_RULES.iter().any(|field| config.shows(field)) {
            return Ok(None);
        }
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let result = delivery.fill_new_columns(context.clone()).await;
        delivery.report.requests = context.requests.get();
        delivery.record_result(result).map(Some)
    }
}

impl Delivery<'_> {
    async fn fill_new_columns(&mut self, context: Context) -> Result<(), Stop> {
        let patient = self.patient(&context.requests);
        let mut destination = self.config.connect(context, &self.state.connector())?;
        let result = patient.with(self.fill_new_columns_of(destination.as_mut())).await;
        self.state.set_connector(&destination.state().memory);
        self.save()?;
        result
    }

    async fn fill_new_columns_of(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        let opened = self.open(destination, None).await?;
        let (ledger, fields) = (opened.last_batch, opened.late_columns);
        if fields.is_empty() {
            return Ok(());
        }
        self.settle(destination).await?;
        self.catch_up(ledger);
        let mut last = 0;
        loop {
            let found = self.engine.store.transactions_after(last, ROWS_PER_LOOK)?;
            let Some((number, _)) = found.last() else { break };
            last = *number;
            let delivered = found.into_iter().filter(|(number, _)| *number <= self.state.watermark);
            let items: Vec<RowChange> =
                delivered.filter_map(|(_, transaction)| self.item_to_fill(transaction, &fields)).collect();
            self.send_all(destination, &items).await?;
            self.rewrite_misplaced(destination).await?;
        }
        self.engine.store.rest();
        destination.extras().columns_filled();
        Ok(())
    }

    /// The row as one that rules had given nothing in these fields before. `None`: nothing is to be filled, or it is not
    /// there.
    fn item_to_fill(&self, transaction: Transaction, fields: &[Field]) -> Option<RowChange> {
        let id = &transaction.row.id;
        let gone = self.state.rows.is_absent(id) || !self.config.filter.accepts(&transaction);
        if gone || fields.iter().all(|field| field.value(&transaction) == Value::Empty) {
            return None;
        }
        let mut previous = transaction.clone();
        fields.iter().for_each(|field| put(&mut previous.enrichment, field, ""));
        Some(RowChange::new(0, RowOp::Fill, transaction, Some(previous)))
    }
}
