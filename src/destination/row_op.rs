//! The operation that a change asks for on one row, under the owner's policy. Pure, and the only place that knows both:
//! connectors carry operations out.

use super::What;
use super::policy::{Rows, Updates, Vanished};

/// An operation on one row. `cells` says that the bank's changed cells are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOp {
    /// No operation.
    Leave,
    /// A new row is written.
    Insert,
    /// A row that was deleted because the bank took it back returns: as a new row, or, where it is still there, by its
    /// changed cells.
    Reinsert {
        /// The bank's changed cells are written.
        cells: bool,
    },
    /// A row that is gone is written as a new row, unless it is there.
    Restore,
    /// The row is written over where it is.
    Update {
        /// The bank's changed cells are written.
        cells: bool,
        /// The mark of a row that the bank took back is set or removed; `None`: the mark stays.
        mark: Option<bool>,
    },
    /// Cells of the owner's columns get the values that rules give, where they are empty or were given by rules.
    Fill,
    /// The row is compared with the bank's version and set right.
    Repair,
    /// Parts of a misplaced row are written once more.
    Rewrite,
    /// The row is deleted.
    Delete,
}

impl RowOp {
    /// The operation for a change of a row.
    pub fn of(what: What, rows: &Rows) -> RowOp {
        let cells = rows.updates == Updates::Apply;
        match (what, rows.vanished) {
            (What::New, _) => RowOp::Insert,
            (What::Changed, _) => RowOp::Update { cells, mark: None },
            (What::Vanished, Vanished::Ignore) => RowOp::Leave,
            (What::Vanished, Vanished::Mark) => RowOp::Update { cells: false, mark: Some(true) },
            (What::Vanished, Vanished::Delete) => RowOp::Delete,
            // The bank may have changed the row while it was away.
            (What::Reappeared, Vanished::Ignore) => RowOp::Update { cells, mark: None },
            (What::Reappeared, Vanished::Mark) => RowOp::Update { cells, mark: Some(false) },
            (What::Reappeared, Vanished::Delete) => RowOp::Reinsert { cells },
            (What::Enriched, _) => RowOp::Fill,
            (What::PutBack, _) => RowOp::Restore,
            (What::Mend, _) => RowOp::Repair,
            (What::Misplaced, _) => RowOp::Rewrite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RowOp::{Delete, Fill, Insert, Leave, Reinsert, Repair, Restore, Rewrite, Update};
    use super::*;
    use crate::model::Language;

    #[test]
    fn each_change_asks_for_one_operation_under_each_policy() {
        let update = |mark| Update { cells: true, mark };
        let marked = Update { cells: false, mark: Some(true) };
        // Under `vanished` = ignore, mark, delete.
        let table = [
            (What::New, [Insert; 3]),
            (What::Changed, [update(None); 3]),
            (What::Vanished, [Leave, marked, Delete]),
            (What::Reappeared, [update(None), update(Some(false)), Reinsert { cells: true }]),
            (What::Enriched, [Fill; 3]),
            (What::PutBack, [Restore; 3]),
            (What::Mend, [Repair; 3]),
            (What::Misplaced, [Rewrite; 3]),
        ];
        for (what, expected) in table {
            for (vanished, expected) in [Vanished::Ignore, Vanished::Mark, Vanished::Delete].into_iter().zip(expected) {
                let op =
                    |updates| RowOp::of(what, &Rows { columns: Vec::new(), updates, vanished, language: Language::En });
                assert_eq!(op(Updates::Apply), expected, "{what:?} {vanished:?}");
                let without = match expected {
                    Update { mark, .. } => Update { cells: false, mark },
                    Reinsert { .. } => Reinsert { cells: false },
                    other => other,
                };
                assert_eq!(op(Updates::Ignore), without, "{what:?} {vanished:?}, corrections ignored");
            }
        }
    }
}
