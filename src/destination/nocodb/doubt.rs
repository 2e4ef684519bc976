//! Insertions whose answers were lost: they may arrive later than anybody waits, and a store that does not enforce the
//! unique id then holds a row twice.
//!
//! Ids are noted before their insertion leaves, and stay in doubt for a while after an answer was lost. While they are,
//! each delivery looks for them and deletes what came a second time; the oldest row stays, because the owner may have
//! worked in it.

use std::collections::{BTreeMap, HashSet};

use chrono::Utc;
use serde::{Deserialize, Serialize};

use super::Nocodb;
use super::client::Record;
use super::errors::Reaction;
use super::plan::PlannedRow;
use super::write::GROUP;
use crate::remote::Error;

/// Seconds for which an insertion without an answer may still arrive.
const DOUBTFUL_FOR: i64 = 3600;

/// Most ids kept in doubt; beyond, the oldest are given up, and `verify` finds what they doubled.
const MOST: usize = 5_000;

/// The ids of insertions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Doubt {
    /// About to be sent, or sent and not answered yet.
    under_way: Vec<String>,
    /// Without an answer, with the time (seconds since 1970) at which it was given up.
    lost: BTreeMap<String, i64>,
    /// Rows were lost since they were last looked for.
    #[serde(skip)]
    pub fresh: bool,
    /// Written by a batch that has not come to its end.
    #[serde(skip)]
    inserted: HashSet<String>,
}

impl Doubt {
    /// The rows of these steps are about to leave.
    pub(super) fn begin(&mut self, steps: &[PlannedRow]) {
        self.under_way = steps.iter().filter(|step| step.op.may_insert()).map(|step| step.id.clone()).collect();
    }

    /// The answer to these insertions is lost.
    pub(super) fn lose(&mut self, ids: impl IntoIterator<Item = String>) {
        let now = Utc::now().timestamp();
        let before = self.lost.len();
        self.lost.extend(ids.into_iter().map(|id| (id, now)));
        self.fresh |= self.lost.len() > before;
        while self.lost.len() > MOST {
            let oldest = self.lost.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            self.lost.retain(|id, _| Some(id) != oldest.as_ref());
        }
    }

    /// Rows under way were sent by a former process, which never told how it went.
    pub(super) fn take_over(&mut self) {
        let lost = std::mem::take(&mut self.under_way);
        self.lose(lost);
    }

    /// The insertions of these rows are answered for.
    pub(super) fn answered(&mut self, ids: &[&str]) {
        self.under_way.retain(|id| !ids.contains(&id.as_str()));
        self.inserted.extend(ids.iter().map(|id| (*id).to_owned()));
    }

    /// The batch has come to its end: the engine has the verdicts.
    pub(super) fn end(&mut self) {
        self.under_way.clear();
        self.inserted.clear();
    }

    /// True for a row whose insertion may arrive once more.
    pub(super) fn is_lost(&self, id: &str) -> bool {
        self.lost.contains_key(id)
    }

    /// True for a row that a former try of the batch has written, or may have.
    pub(super) fn is_ours(&self, id: &str) -> bool {
        self.is_lost(id) || self.inserted.contains(id)
    }
}

impl Nocodb {
    /// Deletes rows that came a second time.
    pub(super) async fn heal(&mut self) -> Result<(), Error> {
        let ids: Vec<String> = self.doubt.lost.keys().cloned().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let layout = self.make_ready().await?;
        // A layout that has changed is read by the next look.
        let Some(found) = self.look(&layout, &ids).await? else { return Ok(()) };
        let surplus: Vec<Record> = found.into_values().flat_map(|records| records.into_iter().skip(1)).collect();
        for group in surplus.chunks(GROUP) {
            let records: Vec<_> = group.iter().map(|record| record.id.clone()).collect();
            let count = records.len();
            match self.client.delete(&layout.table, &records).await {
                Ok(()) => tracing::info!("{}: {count} rows that had come twice are deleted", self.service()),
                // A row was deleted in that instant: the next delivery looks again.
                Err(refusal) if refusal.reaction == Reaction::Gone => return Ok(()),
                Err(refusal) => return Err(refusal.error),
            }
        }
        let now = Utc::now().timestamp();
        self.doubt.lost.retain(|_, at| now - *at < DOUBTFUL_FOR);
        self.doubt.fresh = false;
        Ok(())
    }
}
