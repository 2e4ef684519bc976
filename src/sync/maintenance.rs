//! A cycle's work for the store itself: proves it whole before the first request, stops in good order on a full disk,
//! and keeps a backup afterwards.

use chrono::{DateTime, Utc};

use super::{DestinationReport, Engine, Outcome, SourceReport};
use crate::remote::Cause;
use crate::store::{self, Proof, Store, backup};
use crate::threads;

/// Records proven without a pause: a few milliseconds.
const PROVEN_AT_ONCE: usize = 4096;

/// A report that can say: the owner must act first.
pub(super) trait Stopped {
    /// The report of a service that was stopped for this reason.
    fn stopped(name: &str, outcome: Outcome, why: String) -> Self;
}

impl Stopped for SourceReport {
    fn stopped(name: &str, outcome: Outcome, why: String) -> SourceReport {
        let name = name.to_owned();
        let cause = (outcome == Outcome::Attention).then(|| Cause::Machine.word());
        SourceReport { name, outcome, error: Some(why), cause, ..SourceReport::default() }
    }
}

impl Stopped for DestinationReport {
    fn stopped(name: &str, outcome: Outcome, why: String) -> DestinationReport {
        let name = name.to_owned();
        let cause = (outcome == Outcome::Attention).then(|| Cause::Machine.word());
        DestinationReport { name, outcome, error: Some(why), cause, ..DestinationReport::default() }
    }
}

/// A full disk is something for the owner to do, told like any other, and a record that cannot be stored concerns one
/// source or destination; all else the store has to say ends the cycle.
pub(super) fn unless_full<T: Stopped>(name: &str, result: Result<T, store::Error>) -> Result<T, store::Error> {
    match result {
        Err(error @ store::Error::Full) => Ok(T::stopped(name, Outcome::Attention, error.to_string())),
        Err(error @ store::Error::Unfit(_)) => Ok(T::stopped(name, Outcome::Failed, format!("{name}: {error}"))),
        other => other,
    }
}

impl Engine {
    /// Makes sure of the store before anything is sent: one that lost something would send rows again.
    pub(in crate::sync) async fn make_ready(&self) -> Result<(), store::Error> {
        self.apart(|store| store.revive().and_then(|()| store.room())).await?;
        // In slices on this thread, so that commands are answered meanwhile: what another thread reads stays with that
        // thread's memory allocator, some 15 MiB of it.
        let mut proof = Proof::default();
        while !self.store.prove_on(&mut proof, PROVEN_AT_ONCE)? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Keeps a backup if one is due. An obstacle is returned as a sentence for the owner; only damage ends the cycle.
    pub(super) async fn keep_backup(&self, now: DateTime<Utc>) -> Result<Option<String>, store::Error> {
        match self.apart(move |store| backup::keep_if_due(store, now)).await {
            Ok(_) => Ok(None),
            Err(error @ store::Error::Damaged(_)) => Err(error),
            Err(error) => Ok(Some(format!("no backup could be kept: {error}"))),
        }
    }

    /// Work that reads the whole store is done on a thread of its own: commands are answered meanwhile.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, store::Error> {
        let store = self.store.clone();
        let done = threads::run("store", move || work(&store))?.await;
        done.unwrap_or_else(|_| Err(store::Error::Io("the store's thread ended before it was done".into())))
    }
}
