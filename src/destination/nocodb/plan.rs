//! The plan for each change: a pure function of changes, configuration and layout, carried out elsewhere.

use std::collections::HashSet;

use serde::Serialize;

use super::cells::{self, Cells, MOST_CHARACTERS};
use super::layout::Layout;
use crate::destination::RowChange;
use crate::destination::policy::{Rows, Vanished};
use crate::destination::row_op::RowOp;

/// A change and the operation on its record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PlannedRow {
    /// The transaction's id.
    pub id: String,
    /// The operation.
    pub op: RecordOp,
}

/// The operation on the record of a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) enum RecordOp {
    /// No operation; no request is needed to know that.
    Nothing,
    /// The row is set aside for this reason.
    Refuse(String),
    /// The row is written as a new one, or, where its id is there, the bank's cells are set right.
    Insert { cells: Cells, bank: Cells, tick: Option<bool> },
    /// Cells are written over the row if the owner still has it.
    Amend { cells: Cells, tick: Option<bool> },
    /// Cells of the owner's columns are written if the owner still has the row: the first only where nothing is.
    Fill { empty: Cells, over: Cells },
    /// The row is written as a new one unless it is there.
    PutBack { cells: Cells, tick: Option<bool> },
    /// The row becomes what it should be, and the only one of its id.
    Mend { cells: Cells },
    /// The row is deleted.
    Remove,
}

impl RecordOp {
    /// True if a new row may be written.
    pub(super) fn may_insert(&self) -> bool {
        matches!(self, RecordOp::Insert { .. } | RecordOp::PutBack { .. })
    }

    /// The tick that the operation sets or removes.
    pub(super) fn tick(&self) -> Option<bool> {
        match self {
            RecordOp::Insert { tick, .. } | RecordOp::Amend { tick, .. } | RecordOp::PutBack { tick, .. } => *tick,
            _ => None,
        }
    }

    /// True if no request is needed.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, RecordOp::Nothing | RecordOp::Refuse(_))
    }
}

/// Number of changes from the front that make one batch: as many as fit, up to the second appearance of an id. Two states
/// of one transaction in a batch would race each other.
pub(super) fn cut(items: &[RowChange], limit: usize) -> usize {
    let mut seen = HashSet::new();
    items.iter().take(limit).take_while(|item| seen.insert(&item.transaction.row.id)).count()
}

/// The steps for `items`.
pub(super) fn plan(items: &[RowChange], rows: &Rows, layout: &Layout) -> Vec<PlannedRow> {
    let step = |item: &RowChange| {
        let op = record_op(item, rows, layout);
        PlannedRow { id: item.transaction.row.id.clone(), op: too_long(&op, layout).map_or(op, RecordOp::Refuse) }
    };
    items.iter().map(step).collect()
}

/// Why a row cannot be written at all: known beforehand, it costs no request and keeps no other row waiting.
fn too_long(op: &RecordOp, layout: &Layout) -> Option<String> {
    let cells = match op {
        RecordOp::Insert { cells, .. }
        | RecordOp::Amend { cells, .. }
        | RecordOp::PutBack { cells, .. }
        | RecordOp::Mend { cells } => vec![cells],
        RecordOp::Fill { empty, over } => vec![empty, over],
        RecordOp::Nothing | RecordOp::Refuse(_) | RecordOp::Remove => Vec::new(),
    };
    let field = cells.into_iter().find_map(cells::too_long)?;
    let key = layout.columns.iter().find(|bound| &bound.id == field).map_or(field, |bound| &bound.key);
    Some(format!("`{key}` is longer than the {MOST_CHARACTERS} characters a field holds"))
}

fn record_op(item: &RowChange, rows: &Rows, layout: &Layout) -> RecordOp {
    let (transaction, columns, bound) = (&item.transaction, &rows.columns, &layout.columns);
    if transaction.row.id.trim().is_empty() {
        return RecordOp::Refuse("it has no transaction id".into());
    }
    let whole = || cells::row(columns, bound, transaction);
    let bank = || cells::bank_owned(columns, bound, transaction);
    let tick = (rows.vanished == Vanished::Mark && transaction.vanished).then_some(true);
    match item.op {
        RowOp::Leave => RecordOp::Nothing,
        // Gone before it ever came here: there is nothing to take away later.
        RowOp::Insert if transaction.vanished && rows.vanished == Vanished::Delete => RecordOp::Nothing,
        RowOp::Insert => RecordOp::Insert { cells: whole(), bank: bank(), tick },
        RowOp::Reinsert { cells } => {
            RecordOp::Insert { cells: whole(), bank: if cells { bank() } else { Cells::new() }, tick: None }
        }
        RowOp::Restore => RecordOp::PutBack { cells: whole(), tick },
        // Records have ids of their own: no write is misplaced.
        RowOp::Rewrite => RecordOp::Nothing,
        RowOp::Repair => RecordOp::Mend { cells: bank() },
        RowOp::Fill => {
            let (empty, over) = cells::enriched(columns, bound, item.previous.as_deref(), transaction);
            if empty.is_empty() && over.is_empty() { RecordOp::Nothing } else { RecordOp::Fill { empty, over } }
        }
        RowOp::Delete => RecordOp::Remove,
        RowOp::Update { cells, mark } => {
            // Only what the bank has changed: the owner may have put words of his own into the others.
            let corrected = || cells::corrected(columns, bound, item.previous.as_deref(), transaction);
            let cells = if cells { corrected() } else { Cells::new() };
            // Without a tick field nothing was ever ticked.
            let tick = mark.filter(|is_on| *is_on || layout.vanished.is_some());
            if tick.is_none() && cells.is_empty() { RecordOp::Nothing } else { RecordOp::Amend { cells, tick } }
        }
    }
}
