//! The plan for each row: a pure function of changes, configuration and layout, carried out elsewhere.

use std::collections::HashSet;
use std::hash::Hasher;

use xxhash_rust::xxh3::Xxh3;

use crate::destination::RowChange;
use crate::destination::policy::Vanished;
use crate::destination::row_op::RowOp;

use super::cells;
use super::layout::{Bound, Layout};

/// A cell: the position of its column in the layout, and its text.
pub(super) type Cells = Vec<(usize, Option<String>)>;

/// A row and the work on it.
#[derive(Debug)]
pub(super) struct PlannedRow {
    pub id: String,
    pub work: Work,
}

/// The work on a row.
#[derive(Debug)]
pub(super) enum Work {
    /// No work.
    None,
    /// The row is set aside for this reason.
    Refuse(String),
    /// A row of its own; where its id is there already, the bank's cells if `over`.
    Insert { cells: Cells, mark: bool, over: bool },
    /// Cells and mark of a row that is there.
    Update { cells: Cells, mark: Option<bool> },
    /// Cells of the owner's columns, `true` where only an empty one is filled.
    Fill(Vec<(usize, String, bool)>),
    /// The bank's cells of a row that is there, and no second row of its id.
    Repair(Cells),
    /// No row.
    Delete,
}

/// Number of changes from the front that make one batch: as many as fit, up to the second appearance of an id.
pub(super) fn cut(changes: &[RowChange], limit: usize) -> usize {
    let mut seen = HashSet::new();
    changes.iter().take(limit).take_while(|change| seen.insert(&change.transaction.row.id)).count()
}

/// True if the rows need no statement.
pub(super) fn is_idle(rows: &[PlannedRow]) -> bool {
    rows.iter().all(|row| matches!(row.work, Work::None | Work::Refuse(_)))
}

/// The hash of a batch.
pub(super) fn hash(rows: &[PlannedRow]) -> u64 {
    let mut hasher = Xxh3::new();
    let cell = |hasher: &mut Xxh3, at: usize, text: Option<&str>| {
        hasher.write_usize(at);
        hasher.write(text.unwrap_or("\0").as_bytes());
        hasher.write_u8(0xff);
    };
    for row in rows {
        hasher.write(row.id.as_bytes());
        let cells: &[(usize, Option<String>)] = match &row.work {
            Work::None | Work::Refuse(_) => continue,
            Work::Insert { cells, mark, over } => {
                hasher.write(&[1, u8::from(*mark), u8::from(*over)]);
                cells
            }
            Work::Update { cells, mark } => {
                hasher.write(&[2, mark.map_or(2, u8::from)]);
                cells
            }
            Work::Fill(cells) => {
                hasher.write_u8(3);
                cells.iter().for_each(|(at, text, _)| cell(&mut hasher, *at, Some(text)));
                continue;
            }
            Work::Repair(cells) => {
                hasher.write_u8(4);
                cells
            }
            Work::Delete => {
                hasher.write_u8(5);
                continue;
            }
        };
        cells.iter().for_each(|(at, text)| cell(&mut hasher, *at, text.as_deref()));
    }
    // Zero is the hash of a fence.
    hasher.digest().max(1)
}

/// The plan for `changes`.
pub(super) fn plan(changes: &[RowChange], vanished: Vanished, layout: &Layout) -> Vec<PlannedRow> {
    changes
        .iter()
        .map(|change| {
            let work = work(change, vanished, layout);
            let work = excess(&work, layout).map_or(work, Work::Refuse);
            PlannedRow { id: change.transaction.row.id.clone(), work }
        })
        .collect()
}

fn work(change: &RowChange, vanished: Vanished, layout: &Layout) -> Work {
    let transaction = &change.transaction;
    let all = |wanted: &dyn Fn(&Bound) -> bool| -> Cells {
        let bound = layout.columns.iter().enumerate().filter(|(_, bound)| wanted(bound));
        bound.map(|(at, bound)| (at, cells::cell(bound, transaction))).collect()
    };
    let whole = || all(&|_| true);
    let mark = vanished == Vanished::Mark && transaction.vanished;
    match change.op {
        RowOp::Leave | RowOp::Rewrite => Work::None,
        // Gone before it ever came here: there is nothing to take away later.
        RowOp::Insert if transaction.vanished && vanished == Vanished::Delete => Work::None,
        RowOp::Insert => Work::Insert { cells: whole(), mark, over: true },
        RowOp::Reinsert { cells } => Work::Insert { cells: whole(), mark: false, over: cells },
        RowOp::Restore => Work::Insert { cells: whole(), mark, over: false },
        RowOp::Repair => Work::Repair(all(&Bound::is_bank_owned)),
        RowOp::Delete => Work::Delete,
        RowOp::Fill => fill(change, layout),
        RowOp::Update { cells, mark } => {
            let former = change.previous.as_deref();
            let changed =
                |bound: &Bound| former.is_none_or(|former| bound.field.value(former) != bound.field.value(transaction));
            // Only the bank's own changes: the owner may have put words of his own into the others.
            let cells = if cells { all(&|bound| bound.is_bank_owned() && changed(bound)) } else { Cells::new() };
            let mark = mark.filter(|_| layout.mark.is_some());
            if cells.is_empty() && mark.is_none() { Work::None } else { Work::Update { cells, mark } }
        }
    }
}

/// The cells of the owner's columns that rules give another value than before.
fn fill(change: &RowChange, layout: &Layout) -> Work {
    let mut cells = Vec::new();
    for (at, bound) in layout.columns.iter().enumerate().filter(|(_, bound)| bound.field.belongs_to_owner()) {
        let now = bound.shape.text(&bound.field.value(&change.transaction));
        let former = change.previous.as_deref().and_then(|former| bound.shape.text(&bound.field.value(former)));
        if let Some(text) = now.filter(|now| former.as_ref() != Some(now)) {
            cells.push((at, text, former.is_none()));
        }
    }
    if cells.is_empty() { Work::None } else { Work::Fill(cells) }
}

/// Why a row cannot be written at all.
fn excess(work: &Work, layout: &Layout) -> Option<String> {
    let why = |at: usize, text: &str| {
        let bound = &layout.columns[at];
        bound.shape.excess(text).map(|what| format!("`{}` {what}", bound.field))
    };
    match work {
        Work::Insert { cells, .. } | Work::Update { cells, .. } | Work::Repair(cells) => {
            cells.iter().find_map(|(at, text)| why(*at, text.as_deref()?))
        }
        Work::Fill(cells) => cells.iter().find_map(|(at, text, _)| why(*at, text)),
        Work::None | Work::Refuse(_) | Work::Delete => None,
    }
}
