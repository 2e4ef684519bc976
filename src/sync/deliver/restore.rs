//! Rows that the owner once deleted in a destination and wants back.
//!
//! Promises: a row of which it is not known is looked for where it should be, so that nobody has to verify first; one that
//! is there is not written a second time; what cannot be put back is told row by row. The rows go the delivery's own way.

use std::collections::HashSet;

use super::{Delivery, Stop};
use crate::config;
use crate::destination::policy::Vanished;
use crate::remote::Context;
use crate::store;
use crate::sync::verify::Verified;
use crate::sync::{DestinationReport, Engine, Watcher, outcome_of};

/// The result of a request to have rows back.
#[derive(Debug)]
pub enum Restored {
    /// The store has no transactions with these ids; nothing was done.
    Unknown(Vec<String>),
    /// The delivery that put them back, or tried to.
    Done {
        /// The report of the delivery.
        report: DestinationReport,
        /// Rows that are back.
        put_back: Vec<String>,
        /// Rows that there was nothing to put back of, and why.
        left: Vec<(String, Left)>,
    },
}

/// Why a row is not put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The row is there.
    There,
    /// The row has never been delivered; the next delivery brings it.
    Waiting,
    /// The configuration leaves it out.
    LeftOut,
    /// The bank has taken it back, and such rows are not shown there.
    Withdrawn,
}

impl Engine {
    /// Puts rows back that the owner once deleted in a destination.
    pub async fn restore(
        &self,
        config: &config::Destination,
        ids: &[String],
        watcher: &Watcher,
    ) -> Result<Restored, store::Error> {
        self.make_ready().await?;
        let (mut known, mut unknown, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for id in ids.iter().filter(|id| seen.insert(*id)) {
            match self.store.find(id)? {
                Some(number) => known.push((id, number)),
                None => unknown.push(id.clone()),
            }
        }
        if !unknown.is_empty() {
            return Ok(Restored::Unknown(unknown));
        }
        let mut delivery = Delivery::new(self, config, watcher)?;
        let (mut gone, mut left, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (id, number) in known {
            match delivery.reason_against(number)? {
                Some(reason) => left.push((id.clone(), reason)),
                None if delivery.is_known_to_be_gone(id) => gone.push(id.clone()),
                None => open.push(id.clone()),
            }
        }
        delivery.state.rows.ask_to_restore(gone.iter().cloned());
        delivery.save()?;
        if !open.is_empty() {
            let absent = match delivery.look_for(&open).await? {
                Ok(absent) => absent,
                Err(report) => return Ok(Restored::Done { report, put_back: Vec::new(), left }),
            };
            left.extend(open.into_iter().filter(|id| !absent.contains(id)).map(|id| (id, Left::There)));
            delivery.state.rows.ask_to_restore(absent.iter().cloned());
            delivery.save()?;
            gone.extend(absent);
        }
        if gone.is_empty() {
            return Ok(Restored::Done { report: delivery.report, put_back: gone, left });
        }
        let report = self.deliver(config, watcher).await?;
        let state = self.store.destination(&config.name, &config.target())?;
        let is_back = |id: &String| !state.rows.is_to_restore(id) && !state.rows.is_rejected(id);
        Ok(Restored::Done { report, put_back: gone.into_iter().filter(is_back).collect(), left })
    }
}

impl Delivery<'_> {
    fn is_known_to_be_gone(&self, id: &str) -> bool {
        self.state.rows.is_deleted(id) || self.state.rows.is_rejected(id)
    }

    /// Why this row is not put back, as far as the store alone knows.
    fn reason_against(&self, number: u64) -> Result<Option<Left>, store::Error> {
        let transaction = self.engine.store.transaction(number)?;
        let known = self.is_known_to_be_gone(&transaction.row.id);
        Ok(if transaction.vanished && self.config.rows().vanished == Vanished::Delete {
            Some(Left::Withdrawn)
        } else if known {
            None
        } else if self.state.rows.is_suppressed(&transaction.row.id) {
            Some(Left::Withdrawn)
        } else if !self.config.filter.accepts(&transaction) && !self.state.rows.is_outside_filter(&transaction.row.id) {
            Some(Left::LeftOut)
        } else {
            (number > self.state.watermark).then_some(Left::Waiting)
        })
    }

    /// The absent ones of these rows, or the report of a failed look.
    async fn look_for(&mut self, ids: &[String]) -> Result<Result<Vec<String>, DestinationReport>, store::Error> {
        let context = Context::new(self.engine.shutdown.clone(), self.engine.backoff.clone());
        let mut verified = Verified::default();
        match self.inspect(context.clone(), false, &mut verified).await {
            Ok(()) => {}
            Err(Stop::Store(error)) => return Err(error),
            Err(Stop::Service(error)) => {
                let mut report = self.report.clone();
                (report.outcome, report.requests) = (outcome_of(&error), context.requests.get());
                report.error = Some(error.message);
                return Ok(Err(report));
            }
        }
        let absent: HashSet<&String> = verified.missing.iter().chain(&verified.deleted).collect();
        Ok(Ok(ids.iter().filter(|id| absent.contains(id)).cloned().collect()))
    }
}
