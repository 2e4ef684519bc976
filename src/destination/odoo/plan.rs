//! The plan for each change: a pure function of changes, configuration and layout, carried out elsewhere.

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;
use serde::Serialize;

use crate::destination::RowChange;
use crate::destination::policy::{Rows, Vanished};
use crate::destination::row_op::RowOp;

use super::layout::Layout;
use super::line::{Line, PARTS, Part, line, no_journal};

/// A change and what is to be done about it.
#[derive(Debug, Serialize)]
pub(super) struct PlannedLine {
    /// The transaction's id.
    pub id: String,
    /// The first day under which its line may stand.
    pub since: NaiveDate,
    /// The journal of its account.
    pub journal: Option<i64>,
    /// The operation.
    pub op: LineOp,
}

/// The operation on a line.
#[derive(Debug, Serialize)]
pub(super) enum LineOp {
    /// No operation; no request is needed to know that.
    Nothing,
    /// Set the row aside for this reason.
    Refuse(String),
    /// Make the line unless it is there; one that is there is changed as `found` says.
    Make { line: Line, is_marked: bool, found: Found },
    /// Change these parts of a line that is there.
    Change { line: Line, parts: Vec<Part>, mark: Option<bool> },
    /// Delete the line.
    Remove,
}

/// The treatment of a line that was to be made and is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Found {
    /// The line stays as it is.
    Leave,
    /// The line gets the bank's data.
    Mend,
}

/// Number of changes from the front that make one batch, up to the second appearance of an id: two states of one row in a
/// batch would race each other.
pub(super) fn cut(changes: &[RowChange], limit: usize) -> usize {
    let mut seen = HashSet::new();
    changes.iter().take(limit).take_while(|change| seen.insert(change.transaction.row.id.as_str())).count()
}

/// True if `steps` need no request.
pub(super) fn is_idle(steps: &[PlannedLine]) -> bool {
    steps.iter().all(|step| matches!(step.op, LineOp::Nothing | LineOp::Refuse(_)))
}

/// The steps for `changes`.
pub(super) fn plan(
    changes: &[RowChange],
    rows: &Rows,
    journals: &BTreeMap<String, i64>,
    layout: &Layout,
) -> Vec<PlannedLine> {
    let step = |change: &RowChange| {
        let (present, former) = (change.transaction.row.date, change.previous.as_ref().map(|it| it.row.date));
        PlannedLine {
            id: change.transaction.row.id.clone(),
            since: former.map_or(present, |former| former.min(present)),
            journal: journals.get(&*change.transaction.account).copied(),
            op: line_op(change, rows, journals, layout).unwrap_or_else(LineOp::Refuse),
        }
    };
    changes.iter().map(step).collect()
}

fn line_op(
    change: &RowChange,
    rows: &Rows,
    journals: &BTreeMap<String, i64>,
    layout: &Layout,
) -> Result<LineOp, String> {
    let transaction = &change.transaction;
    if transaction.row.id.trim().is_empty() {
        return Err("it has no transaction id".into());
    }
    let is_marked = rows.vanished == Vanished::Mark && transaction.vanished;
    let journal = || journals.get(&*transaction.account).copied().ok_or_else(|| no_journal(&transaction.account));
    let present = || line(transaction, journal()?, layout);
    Ok(match change.op {
        // Lines have ids of their own, so that no write is misplaced; and none of the owner's columns is shown.
        RowOp::Leave | RowOp::Rewrite | RowOp::Fill => LineOp::Nothing,
        RowOp::Insert if transaction.vanished && rows.vanished == Vanished::Delete => LineOp::Nothing,
        RowOp::Insert => LineOp::Make { line: present()?, is_marked, found: Found::Mend },
        RowOp::Reinsert { cells } => {
            let found = if cells { Found::Mend } else { Found::Leave };
            LineOp::Make { line: present()?, is_marked, found }
        }
        RowOp::Restore => LineOp::Make { line: present()?, is_marked, found: Found::Leave },
        RowOp::Repair => LineOp::Change { line: present()?, parts: PARTS.to_vec(), mark: Some(is_marked) },
        RowOp::Delete => LineOp::Remove,
        RowOp::Update { cells, mark } => {
            let line = present()?;
            // Only what the bank has changed: the owner may have put words of his own into the rest.
            let former = change.previous.as_ref().and_then(|former| self::line(former, line.journal, layout).ok());
            let parts = match former {
                _ if !cells => Vec::new(),
                Some(former) => line.parts_unlike(&former),
                None => PARTS.to_vec(),
            };
            if parts.is_empty() && mark.is_none() { LineOp::Nothing } else { LineOp::Change { line, parts, mark } }
        }
    })
}
