//! The fate of single rows at one destination: only rows whose fate the watermark does not tell have an entry.
//!
//! A row that is absent has exactly one reason for it. The three repairs stand beside that reason and beside each
//! other, because they really do coincide: a refused row is tried again, and a row that is to be compared may be
//! deleted in place of another before its turn comes. Every repair is crossed off by itself, after the destination's
//! answer.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::destination::Rewrite;

/// Most days until refused rows are tried again.
const LONGEST_WAIT: u32 = 32;

/// Why a row is not at the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The service refuses the row, with this reason.
    Rejected(String),
    /// The bank took the row back before its first delivery.
    Suppressed,
    /// The owner deleted the row there.
    Deleted {
        /// A read-back found the deletion, so `verify --repair` puts the row back.
        noticed: bool,
    },
}

/// The fate of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RowState {
    /// Why the row is not there; `None`: the row is there, or its delivery is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absence>,
    /// The row was delivered, though the filter would not let its present version through; corrections still go to it.
    #[serde(skip_serializing_if = "is_false")]
    pub outside_filter: bool,
    /// The next delivery puts the row back.
    #[serde(skip_serializing_if = "is_false")]
    pub restore: bool,
    /// The next delivery compares the row with the bank's version and writes the cells that differ.
    #[serde(skip_serializing_if = "is_false")]
    pub repair: bool,
    /// A write hit this row in place of another, or missed it; the next delivery writes these parts once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
}

/// The rows with a fate of their own, by id, and the day on which refused ones are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredRows")]
pub struct RowStates {
    rows: BTreeMap<String, RowState>,
    /// The day from which on refused rows are tried again: the service's reason may be gone.
    pub retry_on: Option<NaiveDate>,
    /// Days of waiting before that day.
    pub retry_waited: u32,
}

/// The record as it is read. Releases before this one kept a list for each fate.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredRows {
    rows: BTreeMap<String, RowState>,
    retry_on: Option<NaiveDate>,
    retry_waited: u32,
    rejected: BTreeMap<String, String>,
    withheld: Vec<String>,
    outgrown: Vec<String>,
    deleted: Vec<String>,
    noticed: Vec<String>,
    restoring: Vec<String>,
    mending: Vec<String>,
    astray: Vec<String>,
}

impl From<StoredRows> for RowStates {
    fn from(stored: StoredRows) -> RowStates {
        let StoredRows { rows, retry_on, retry_waited, .. } = stored;
        let mut states = RowStates { rows, retry_on, retry_waited };
        // A later reason overwrites an earlier one: rows that are refused are tried again, which loses none.
        stored.withheld.into_iter().for_each(|id| states.suppress(id));
        stored.deleted.into_iter().for_each(|id| states.delete(id, false));
        stored.noticed.into_iter().for_each(|id| states.delete(id, true));
        stored.rejected.into_iter().for_each(|(id, reason)| states.reject(id, reason));
        stored.outgrown.into_iter().for_each(|id| states.keep_outside_filter(id));
        states.ask_to_restore(stored.restoring);
        states.ask_to_repair(stored.mending);
        // The connectors of those releases kept the parts to write, and hand them over when they are opened.
        stored.astray.into_iter().for_each(|id| states.ask_to_rewrite(id, Rewrite::default()));
        states
    }
}

impl RowStates {
    /// The fate of a row, if it has one of its own.
    pub fn get(&self, id: &str) -> Option<&RowState> {
        self.rows.get(id)
    }

    fn absence(&self, id: &str) -> Option<&Absence> {
        self.get(id)?.absent.as_ref()
    }

    /// True if the row is known to be absent, for any reason.
    pub fn is_absent(&self, id: &str) -> bool {
        self.absence(id).is_some()
    }

    /// True if the service refuses the row.
    pub fn is_rejected(&self, id: &str) -> bool {
        matches!(self.absence(id), Some(Absence::Rejected(_)))
    }

    /// True if the bank took the row back before its first delivery.
    pub fn is_suppressed(&self, id: &str) -> bool {
        matches!(self.absence(id), Some(Absence::Suppressed))
    }

    /// True if the owner deleted the row.
    pub fn is_deleted(&self, id: &str) -> bool {
        matches!(self.absence(id), Some(Absence::Deleted { .. }))
    }

    /// True if a read-back found the owner's deletion of the row.
    pub fn is_deletion_noticed(&self, id: &str) -> bool {
        matches!(self.absence(id), Some(Absence::Deleted { noticed: true }))
    }

    /// True if the row was delivered and the filter would not let it through any more.
    pub fn is_outside_filter(&self, id: &str) -> bool {
        self.get(id).is_some_and(|row| row.outside_filter)
    }

    /// True if the row is to be put back.
    pub fn is_to_restore(&self, id: &str) -> bool {
        self.get(id).is_some_and(|row| row.restore)
    }

    /// Rows that the service refuses, with the reason.
    pub fn rejected(&self) -> impl Iterator<Item = (&String, &String)> {
        self.rows.iter().filter_map(|(id, row)| match &row.absent {
            Some(Absence::Rejected(reason)) => Some((id, reason)),
            _ => None,
        })
    }

    /// Rows that the owner deleted.
    pub fn deleted(&self) -> impl Iterator<Item = &String> {
        self.ids(|row| matches!(row.absent, Some(Absence::Deleted { .. })))
    }

    /// Rows to put back.
    pub fn to_restore(&self) -> impl Iterator<Item = &String> {
        self.ids(|row| row.restore)
    }

    /// Rows to compare and set right.
    pub fn to_repair(&self) -> impl Iterator<Item = &String> {
        self.ids(|row| row.repair)
    }

    /// Rows to write once more.
    pub fn to_rewrite(&self) -> impl Iterator<Item = &String> {
        self.ids(|row| row.rewrite.is_some())
    }

    /// True if any row waits for a repair of any kind.
    pub fn is_any_to_repair(&self) -> bool {
        self.rows.values().any(|row| row.restore || row.repair || row.rewrite.is_some())
    }

    fn ids(&self, test: impl Fn(&RowState) -> bool) -> impl Iterator<Item = &String> {
        self.rows.iter().filter(move |(_, row)| test(row)).map(|(id, _)| id)
    }

    /// The service refuses the row.
    pub fn reject(&mut self, id: String, reason: String) {
        self.rows.entry(id).or_default().absent = Some(Absence::Rejected(reason));
    }

    /// The bank took the row back before its first delivery.
    pub fn suppress(&mut self, id: String) {
        self.rows.entry(id).or_default().absent.get_or_insert(Absence::Suppressed);
    }

    /// The owner deleted the row. A deletion that a read-back noticed stays noticed.
    pub fn delete(&mut self, id: String, noticed: bool) {
        let row = self.rows.entry(id).or_default();
        let noticed = noticed || row.absent == Some(Absence::Deleted { noticed: true });
        row.absent = Some(Absence::Deleted { noticed });
    }

    /// Notes the destination's answer for the row: it is neither refused nor suppressed any more. Returns true if it
    /// was refused.
    pub fn answered(&mut self, id: &str) -> bool {
        let was_refused = self.is_rejected(id);
        if was_refused || self.is_suppressed(id) {
            self.change(id, |row| row.absent = None);
        }
        was_refused
    }

    /// The destination shows rows with these ids, so none of them is refused or suppressed any more.
    pub fn answered_where(&mut self, is_there: impl Fn(&str) -> bool) {
        let there: Vec<String> = self.rows.keys().filter(|id| is_there(id)).cloned().collect();
        for id in there {
            self.answered(&id);
        }
    }

    /// The row that the owner deleted is there again.
    pub fn forget_deletion(&mut self, id: &str) {
        if self.is_deleted(id) {
            self.change(id, |row| row.absent = None);
        }
    }

    /// The row was delivered and would be let through no more.
    pub fn keep_outside_filter(&mut self, id: String) {
        self.rows.entry(id).or_default().outside_filter = true;
    }

    /// Notes rows to put back.
    pub fn ask_to_restore(&mut self, ids: impl IntoIterator<Item = String>) {
        ids.into_iter().for_each(|id| self.rows.entry(id).or_default().restore = true);
    }

    /// Notes rows to compare and set right.
    pub fn ask_to_repair(&mut self, ids: impl IntoIterator<Item = String>) {
        ids.into_iter().for_each(|id| self.rows.entry(id).or_default().repair = true);
    }

    /// Notes parts of a row to write once more.
    pub fn ask_to_rewrite(&mut self, id: String, rewrite: Rewrite) {
        self.rows.entry(id).or_default().rewrite.get_or_insert_default().merge(rewrite);
    }

    /// The row is put back, as far as that is possible.
    pub fn restored(&mut self, id: &str) {
        self.change(id, |row| row.restore = false);
    }

    /// The row was compared and set right.
    pub fn repaired(&mut self, id: &str) {
        self.change(id, |row| row.repair = false);
    }

    /// The row was written once more.
    pub fn rewritten(&mut self, id: &str) {
        self.change(id, |row| row.rewrite = None);
    }

    /// Changes what is special about a row. A row without anything special has no entry.
    fn change(&mut self, id: &str, change: impl FnOnce(&mut RowState)) {
        if let Some(row) = self.rows.get_mut(id) {
            change(row);
            if *row == RowState::default() {
                self.rows.remove(id);
            }
        }
    }

    /// True if refused rows are due for another try. A day further ahead than any wait was noted while the clock was
    /// wrong.
    pub fn is_retry_due(&self, today: NaiveDate) -> bool {
        let furthest = today.checked_add_days(Days::new(LONGEST_WAIT.into())).unwrap_or(NaiveDate::MAX);
        self.retry_on.is_some_and(|day| day <= today || furthest < day)
    }

    /// Sets the day of the next try where rows are refused: each wait is twice as long as the one before.
    pub fn plan_retry(&mut self, today: NaiveDate) {
        if self.rejected().next().is_none() {
            (self.retry_on, self.retry_waited) = (None, 0);
        } else if self.retry_on.is_none() {
            self.retry_waited = (self.retry_waited * 2).clamp(1, LONGEST_WAIT);
            self.retry_on = today.checked_add_days(Days::new(self.retry_waited.into()));
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_one_reason_to_be_absent_and_keeps_what_is_to_be_repaired() {
        let mut rows = RowStates::default();
        rows.suppress("a".into());
        rows.reject("a".into(), "no".into());
        rows.ask_to_restore(["a".to_owned()]);
        rows.suppress("a".into());
        assert!(rows.is_rejected("a") && !rows.is_suppressed("a") && rows.is_to_restore("a"));
        assert!(rows.answered("a"));
        assert!(!rows.is_absent("a") && rows.is_to_restore("a"));
        rows.delete("a".into(), true);
        rows.delete("a".into(), false);
        assert!(!rows.answered("a") && rows.is_deletion_noticed("a"));
        rows.forget_deletion("a");
        rows.restored("a");
        assert_eq!(rows, RowStates::default(), "no entry is left");
    }

    #[test]
    fn refused_rows_are_tried_again_ever_more_seldom() {
        let mut rows = RowStates::default();
        rows.reject("a".into(), "no".into());
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let mut tried = Vec::new();
        rows.plan_retry(first);
        for day in 0..80 {
            let today = first + Days::new(day);
            if rows.is_retry_due(today) {
                tried.push(day);
                rows.retry_on = None;
                rows.plan_retry(today);
            }
        }
        assert_eq!(tried, [1, 3, 7, 15, 31, 63]);
        rows.retry_on = Some(first + Days::new(4_000));
        assert!(rows.is_retry_due(first), "the clock was wrong");
        rows.answered("a");
        rows.plan_retry(first);
        assert_eq!(rows, RowStates::default());
    }
}
