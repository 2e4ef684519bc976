//! The plan for each item: a pure function of items, configuration and layout, carried out elsewhere.

use serde::{Deserialize, Serialize};

use crate::destination::RowChange;
use crate::destination::policy::{Column, Rows, Vanished};
use crate::destination::row_op::RowOp;

use super::cells::{self, Cells};
use super::layout::Layout;

/// An item and what is to be done about it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlannedRow {
    /// The transaction's id.
    pub id: String,
    /// The operation.
    pub op: RecordOp,
}

/// The operation on the row of an item.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RecordOp {
    /// No operation; no request is needed to know that.
    Nothing,
    /// Set it aside for this reason.
    Refuse(String),
    /// Write it as a row of its own, or over the row that has its id.
    Upsert {
        /// Cells that are not empty.
        cells: Cells,
        /// `Some(true)` ticks the row as vanished, `Some(false)` unticks it, `None` leaves the tick alone.
        tick: Option<bool>,
    },
    /// Write over the row if the owner still has it.
    Amend {
        /// Cells of the bank's.
        cells: Cells,
        /// `Some(true)` ticks the row as vanished, `Some(false)` unticks it, `None` leaves the tick alone.
        tick: Option<bool>,
    },
    /// Write cells of the owner's columns if the owner still has the row.
    Fill {
        /// Only where nothing is.
        empty: Cells,
        /// Cells that replace any contents.
        over: Cells,
    },
    /// Write it as a row of its own unless it is there.
    PutBack {
        /// Cells that are not empty.
        cells: Cells,
        /// `Some(true)` ticks the row as vanished, `Some(false)` unticks it, `None` leaves the tick alone.
        tick: Option<bool>,
    },
    /// Make the row what it should be, and the only one of its id.
    Mend {
        /// Cells of the bank's.
        cells: Cells,
    },
    /// Delete the row.
    Remove,
}

/// Number of items from the front that make one batch: as many as fit, up to the second appearance of an id. Two states
/// of one transaction in a batch would race each other, and the same key twice in one upsert is not defined.
pub(super) fn cut(items: &[RowChange], limit: usize) -> usize {
    let id = |item: &RowChange| item.transaction.row.id.clone();
    let mut seen = std::collections::HashSet::new();
    items.iter().take(limit).take_while(|item| seen.insert(id(item))).count()
}

/// True if `steps` need no request.
pub(super) fn is_idle(steps: &[PlannedRow]) -> bool {
    steps.iter().all(|step| matches!(step.op, RecordOp::Nothing | RecordOp::Refuse(_)))
}

/// The steps for `items`.
pub(super) fn plan(items: &[RowChange], rows: &Rows, layout: &Layout) -> Vec<PlannedRow> {
    let columns = &rows.columns;
    items
        .iter()
        .map(|item| {
            let op = record_op(item, columns, rows, layout);
            PlannedRow { id: item.transaction.row.id.clone(), op: too_long(&op, layout).map_or(op, RecordOp::Refuse) }
        })
        .collect()
}

/// Why a row cannot be written at all: known beforehand, it costs no request and keeps no other row waiting.
fn too_long(op: &RecordOp, layout: &Layout) -> Option<String> {
    let cells = match op {
        RecordOp::Upsert { cells, .. }
        | RecordOp::Amend { cells, .. }
        | RecordOp::PutBack { cells, .. }
        | RecordOp::Mend { cells } => {
            vec![cells]
        }
        RecordOp::Fill { empty, over } => vec![empty, over],
        RecordOp::Nothing | RecordOp::Refuse(_) | RecordOp::Remove => Vec::new(),
    };
    let field = cells.into_iter().find_map(cells::too_long)?;
    let key = layout.columns.iter().find(|bound| &bound.id == field).map_or(field, |bound| &bound.key);
    Some(format!("`{key}` is longer than the {} characters a field holds", cells::MOST_CHARACTERS))
}

fn record_op(item: &RowChange, columns: &[Column], rows: &Rows, layout: &Layout) -> RecordOp {
    let transaction = &item.transaction;
    if transaction.row.id.trim().is_empty() {
        // An empty key matches nothing and would make a new row with every repetition.
        return RecordOp::Refuse("it has no transaction id".into());
    }
    let whole = || cells::row(columns, &layout.columns, transaction);
    let tick = (rows.vanished == Vanished::Mark && transaction.vanished).then_some(true);
    match item.op {
        RowOp::Leave => RecordOp::Nothing,
        // Gone before it ever came here: there is nothing to take away later.
        RowOp::Insert if transaction.vanished && rows.vanished == Vanished::Delete => RecordOp::Nothing,
        RowOp::Insert => RecordOp::Upsert { cells: whole(), tick },
        RowOp::Reinsert { .. } => RecordOp::Upsert { cells: whole(), tick: None },
        RowOp::Restore => RecordOp::PutBack { cells: whole(), tick },
        // Records have ids of their own: no write is misplaced.
        RowOp::Rewrite => RecordOp::Nothing,
        RowOp::Repair => RecordOp::Mend { cells: cells::bank_owned(columns, &layout.columns, transaction) },
        RowOp::Fill => enrichment(item, columns, layout),
        RowOp::Delete => RecordOp::Remove,
        RowOp::Update { cells, mark } => {
            // Only what the bank has changed: the owner may have put words of his own into the others.
            let corrected = || cells::corrected(columns, &layout.columns, item.previous.as_deref(), transaction);
            let cells = if cells { corrected() } else { Cells::new() };
            // Without a tick field nothing was ever ticked.
            let tick = mark.filter(|is_on| *is_on || layout.vanished.is_some());
            if tick.is_none() && cells.is_empty() { RecordOp::Nothing } else { RecordOp::Amend { cells, tick } }
        }
    }
}

fn enrichment(item: &RowChange, columns: &[Column], layout: &Layout) -> RecordOp {
    let (empty, over) = cells::enriched(columns, &layout.columns, item.previous.as_deref(), &item.transaction);
    if empty.is_empty() && over.is_empty() { RecordOp::Nothing } else { RecordOp::Fill { empty, over } }
}
