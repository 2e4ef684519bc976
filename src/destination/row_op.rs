//! The operation that a change asks for on one row, under the owner's policy. Pure, and the only place that knows both:
//! the engine decides, and connectors carry operations out.

use super::policy::{Rows, Updates, Vanished};
use crate::model::ChangeKind;

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
    /// True if the mark of a row that the bank took back may change, or the row itself may come or go.
    pub fn touches_mark(self) -> bool {
        matches!(self, RowOp::Update { mark: Some(_), .. } | RowOp::Reinsert { .. } | RowOp::Delete | RowOp::Rewrite)
    }

    /// The operation for an entry of the change log.
    pub fn of(kind: ChangeKind, rows: &Rows) -> RowOp {
        let cells = rows.updates == Updates::Apply;
        match (kind, rows.vanished) {
            (ChangeKind::New, _) => RowOp::Insert,
            (ChangeKind::Changed, _) => RowOp::Update { cells, mark: None },
            (ChangeKind::Vanished, Vanished::Ignore) => RowOp::Leave,
            (ChangeKind::Vanished, Vanished::Mark) => RowOp::Update { cells: false, mark: Some(true) },
            (ChangeKind::Vanished, Vanished::Delete) => RowOp::Delete,
            // The bank may have changed the row while it was away.
            (ChangeKind::Reappeared, Vanished::Ignore) => RowOp::Update { cells, mark: None },
            (ChangeKind::Reappeared, Vanished::Mark) => RowOp::Update { cells, mark: Some(false) },
            (ChangeKind::Reappeared, Vanished::Delete) => RowOp::Reinsert { cells },
            (ChangeKind::Enriched, _) => RowOp::Fill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RowOp::{Delete, Fill, Insert, Leave, Reinsert, Update};
    use super::*;
    use crate::model::Language;

    #[test]
    fn each_change_asks_for_one_operation_under_each_policy() {
        let update = |mark| Update { cells: true, mark };
        let marked = Update { cells: false, mark: Some(true) };
        // Under `vanished` = ignore, mark, delete.
        let table = [
            (ChangeKind::New, [Insert; 3]),
            (ChangeKind::Changed, [update(None); 3]),
            (ChangeKind::Vanished, [Leave, marked, Delete]),
            (ChangeKind::Reappeared, [update(None), update(Some(false)), Reinsert { cells: true }]),
            (ChangeKind::Enriched, [Fill; 3]),
        ];
        for (kind, expected) in table {
            for (vanished, expected) in [Vanished::Ignore, Vanished::Mark, Vanished::Delete].into_iter().zip(expected) {
                let op =
                    |updates| RowOp::of(kind, &Rows { columns: Vec::new(), updates, vanished, language: Language::En });
                assert_eq!(op(Updates::Apply), expected, "{kind:?} {vanished:?}");
                let without = match expected {
                    Update { mark, .. } => Update { cells: false, mark },
                    Reinsert { .. } => Reinsert { cells: false },
                    other => other,
                };
                assert_eq!(op(Updates::Ignore), without, "{kind:?} {vanished:?}, corrections ignored");
            }
        }
    }
}
