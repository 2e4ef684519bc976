//! Late changes to rows that were delivered: corrections, rows the bank took back, rows that returned.
//!
//! A row is found by its id, never by a remembered position: the owner may have sorted. Only cells whose value the bank
//! changed are written, and never a cell that belongs to the owner. Pure: the id column is passed in.

use std::collections::{BTreeSet, HashMap};

use xxhash_rust::xxh3::Xxh3;

use super::cells::{
    MOST_BYTES, OwnerFormats, Rows, comma, delete_rows, push, strike, too_long, write_cell, write_cells,
};
use super::expected_rows::RowWrite;
use super::layout::{Layout, Place};
use crate::destination::row_op::RowOp;
use crate::destination::{RowChange, Verdict};
use crate::model::Field;

/// The operation of an item, before the row is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SheetOp {
    /// Nothing.
    Leave,
    /// The row cannot be written.
    Refuse(String),
    /// New values for these columns.
    Write(Vec<Place>),
    /// The row is struck through.
    Strike,
    /// The row is struck through no longer, and these columns get new values.
    Return(Vec<Place>),
    /// The row goes.
    Delete,
    /// The row we deleted comes back; where it is there still, these columns get new values.
    Restore(Vec<Place>),
}

/// Items that change rows, cut from the front of a slice.
pub(super) struct Changes<'a> {
    layout: &'a Layout,
    items: &'a [RowChange],
    ops: Vec<SheetOp>,
}

/// The requests of a batch of changes.
pub(super) struct Work {
    /// Requests joined by commas; empty: nothing to send.
    pub requests: Vec<u8>,
    /// A verdict per item covered.
    pub verdicts: Vec<Verdict>,
    /// Hash of what the items ask for; where rows are does not enter it.
    pub hash: u64,
    /// The rows written to.
    pub touches: Vec<RowWrite>,
    /// Items whose rows return and are not written yet.
    pub restored: Vec<usize>,
}

/// The ids in the id column with their rows, counted from 0; of doubled ones the topmost.
pub(super) fn rows_by_id(column: &[Vec<serde_json::Value>]) -> HashMap<&str, u32> {
    let mut rows = HashMap::with_capacity(column.len());
    for (row, cells) in (0..).zip(column) {
        if let Some(id) = cells.first().and_then(|cell| cell.as_str()).filter(|id| !id.is_empty()) {
            rows.entry(id).or_insert(row);
        }
    }
    rows
}

impl<'a> Changes<'a> {
    /// The changes at the front of `items`.
    pub fn new(layout: &'a Layout, items: &'a [RowChange]) -> Changes<'a> {
        let count = items
            .iter()
            .take_while(|item| !matches!(item.op, RowOp::Insert | RowOp::Repair | RowOp::Fill | RowOp::Rewrite))
            .count();
        let ops = items[..count].iter().map(|item| sheet_op(layout, item)).collect();
        Changes { layout, items: &items[..count], ops }
    }

    /// True if any row has to be found.
    pub fn need_rows(&self) -> bool {
        self.ops.iter().any(|op| !matches!(op, SheetOp::Leave | SheetOp::Refuse(_)))
    }

    /// True if a row may have to be written as a new one.
    pub fn may_append(&self, rows: &HashMap<&str, u32>) -> bool {
        let absent = |item: &RowChange| !rows.contains_key(item.transaction.row.id.as_str());
        let pairs = self.items.iter().zip(&self.ops);
        pairs.into_iter().any(|(item, op)| matches!(op, SheetOp::Restore(_)) && absent(item))
    }

    /// Verdicts where the batch is known to have been applied, but not what it found.
    pub fn presumed(&self) -> Vec<Verdict> {
        let verdict = |op: &SheetOp| match op {
            SheetOp::Leave => Verdict::Unchanged,
            SheetOp::Refuse(why) => Verdict::Rejected(why.clone()),
            SheetOp::Restore(_) => Verdict::Appended,
            SheetOp::Write(_) | SheetOp::Strike | SheetOp::Return(_) | SheetOp::Delete => Verdict::Updated,
        };
        self.ops.iter().map(verdict).collect()
    }

    /// The requests, as many as a batch holds. `placed`: rows that return are left to the caller.
    pub fn work(&self, rows: &HashMap<&str, u32>, owner: &OwnerFormats, placed: bool) -> Work {
        let mut out = Vec::new();
        let (mut verdicts, mut deleted, mut hash) = (Vec::new(), BTreeSet::new(), Xxh3::new());
        let mut restored = Rows::new(self.layout, true, owner);
        let mut touches = Vec::new();
        let mut left = Vec::new();
        for (at, (item, op)) in self.items.iter().zip(&self.ops).enumerate() {
            if out.len() + restored.bytes().len() > MOST_BYTES * 9 / 10 {
                break;
            }
            self.note(&mut hash, item, op);
            let row = rows.get(item.transaction.row.id.as_str()).copied();
            touches.extend(row.and_then(|row| touch(item, op, row)));
            verdicts.push(match (op, row) {
                (SheetOp::Leave, _) => Verdict::Unchanged,
                (SheetOp::Refuse(why), _) => Verdict::Rejected(why.clone()),
                (SheetOp::Write(places), Some(row)) => {
                    write_cells(&mut out, self.layout.sheet, &item.transaction, places, row);
                    Verdict::Updated
                }
                (SheetOp::Strike, Some(row)) => {
                    strike(&mut out, self.layout, true, row);
                    Verdict::Updated
                }
                (SheetOp::Return(places), Some(row)) => {
                    strike(&mut out, self.layout, false, row);
                    write_cells(&mut out, self.layout.sheet, &item.transaction, places, row);
                    Verdict::Updated
                }
                (SheetOp::Delete, Some(row)) => {
                    deleted.insert(row);
                    Verdict::Updated
                }
                (SheetOp::Restore(places), Some(_)) if places.is_empty() => Verdict::Unchanged,
                (SheetOp::Restore(places), Some(row)) => {
                    write_cells(&mut out, self.layout.sheet, &item.transaction, places, row);
                    Verdict::Updated
                }
                (SheetOp::Restore(_), None) => {
                    restored.push(&item.transaction, usize::MAX);
                    left.push(at);
                    Verdict::Appended
                }
                (_, None) => Verdict::Deleted,
            });
        }
        delete_rows(&mut out, self.layout.sheet, &deleted);
        if placed {
            return Work { requests: out, verdicts, hash: hash.digest(), touches, restored: left };
        }
        self.restore(&mut out, &restored);
        Work { requests: out, verdicts, hash: hash.digest(), touches, restored: Vec::new() }
    }

    fn note(&self, hash: &mut Xxh3, item: &RowChange, op: &SheetOp) {
        hash.update(item.transaction.row.id.as_bytes());
        hash.update(format!("\0{:?}\0", std::mem::discriminant(op)).as_bytes());
        if let SheetOp::Write(places) | SheetOp::Return(places) | SheetOp::Restore(places) = op {
            let mut cells = Vec::new();
            for place in places {
                write_cell(&mut cells, &place.field, &place.field.value(&item.transaction), false);
            }
            hash.update(&cells);
        }
    }

    fn restore(&self, out: &mut Vec<u8>, rows: &Rows) {
        if rows.len() == 0 {
            return;
        }
        comma(out);
        let (sheet, fields) = (self.layout.sheet, rows.fields());
        push(out, format_args!(r#"{{"appendCells":{{"sheetId":{sheet},"fields":"{fields}","rows":["#));
        rows.write(out, false);
        out.extend_from_slice(b"]}}");
    }
}

/// The row that an item writes to.
fn touch(item: &RowChange, op: &SheetOp, row: u32) -> Option<RowWrite> {
    let touch = |places: &[Place]| RowWrite::cells(row, &item.transaction, places);
    match op {
        SheetOp::Leave | SheetOp::Refuse(_) => None,
        SheetOp::Restore(places) if places.is_empty() => None,
        SheetOp::Write(places) | SheetOp::Restore(places) => Some(touch(places)),
        SheetOp::Strike => Some(RowWrite { struck: true, ..touch(&[]) }),
        SheetOp::Return(places) => Some(RowWrite { struck: true, ..touch(places) }),
        SheetOp::Delete => Some(RowWrite { deleted: true, ..touch(&[]) }),
    }
}

fn sheet_op(layout: &Layout, item: &RowChange) -> SheetOp {
    let unless_too_long = |op: SheetOp| too_long(layout, &item.transaction).map_or(op, SheetOp::Refuse);
    match item.op {
        RowOp::Leave | RowOp::Insert | RowOp::Fill | RowOp::Repair | RowOp::Rewrite => SheetOp::Leave,
        RowOp::Delete => SheetOp::Delete,
        RowOp::Restore => unless_too_long(SheetOp::Restore(Vec::new())),
        RowOp::Reinsert { cells } => unless_too_long(SheetOp::Restore(changed(layout, cells, item))),
        RowOp::Update { mark: Some(true), .. } => SheetOp::Strike,
        RowOp::Update { cells, mark } => match (changed(layout, cells, item), mark) {
            (places, None) if places.is_empty() => SheetOp::Leave,
            (places, None) => unless_too_long(SheetOp::Write(places)),
            (places, Some(_)) if places.is_empty() => SheetOp::Return(places),
            (places, Some(_)) => unless_too_long(SheetOp::Return(places)),
        },
    }
}

/// The columns of the bank's cells that have changed, where those are written.
fn changed(layout: &Layout, are_written: bool, item: &RowChange) -> Vec<Place> {
    let differs = |field: &Field| {
        let before = item.previous.as_ref().map(|previous| field.value(previous));
        before != Some(field.value(&item.transaction))
    };
    let bank = |field: &Field| !field.belongs_to_owner() && *field != Field::Id;
    let is_changed = |place: &&Place| are_written && bank(&place.field) && differs(&place.field);
    layout.places.iter().filter(is_changed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::destination::google_sheets::cells::tests::{layout, transaction};

    const UPDATE: RowOp = RowOp::Update { cells: true, mark: None };
    const MARK: RowOp = RowOp::Update { cells: false, mark: Some(true) };
    const UNMARK: RowOp = RowOp::Update { cells: true, mark: Some(false) };

    fn item(n: u32, op: RowOp) -> RowChange {
        let previous = (op != MARK).then(|| transaction(n));
        RowChange::new(n.into(), op, transaction(n), previous)
    }

    fn corrected(n: u32) -> RowChange {
        let mut item = item(n, UPDATE);
        item.previous = Some(item.transaction.clone().into());
        item.transaction.row.description = "поправка".into();
        item.transaction.row.balance = None;
        item.transaction.enrichment.category = "never sent".into();
        item
    }

    fn sheet() -> Layout {
        layout(&[(Field::Date, 0), (Field::Description, 1), (Field::Balance, 2), (Field::Category, 3), (Field::Id, 5)])
    }

    fn column() -> Vec<Vec<Value>> {
        let id = |n| vec![json!(transaction(n).row.id)];
        vec![vec![json!("Transaction ID")], id(3), vec![], id(1), id(2), id(1)]
    }

    fn requests(work: &Work) -> Vec<Value> {
        serde_json::from_str(&format!("[{}]", String::from_utf8(work.requests.clone()).unwrap())).unwrap()
    }

    #[test]
    fn only_cells_that_differ_are_written_where_the_row_is_now() {
        let (layout, column) = (sheet(), column());
        let items = [corrected(1)];
        let work = Changes::new(&layout, &items).work(&rows_by_id(&column), &OwnerFormats::default(), false);
        assert_eq!(work.verdicts, [Verdict::Updated]);
        assert_eq!(
            requests(&work),
            [
                json!({"updateCells": {"start": {"sheetId": 7, "rowIndex": 3, "columnIndex": 1}, "fields": "userEnteredValue",
                "rows": [{"values": [{"userEnteredValue": {"stringValue": "поправка"}}, {}]}]}})
            ]
        );
    }

    #[test]
    fn what_changes_nothing_in_the_sheet_needs_no_row() {
        let layout = layout(&[(Field::Date, 0), (Field::Category, 1), (Field::Id, 2)]);
        let items = [corrected(1)];
        assert!(!Changes::new(&layout, &items).need_rows());
        let layout = sheet();
        let ignored = [RowChange { op: RowOp::Update { cells: false, mark: None }, ..corrected(1) }];
        let changes = Changes::new(&layout, &ignored);
        assert!(!changes.need_rows());
        assert_eq!(changes.work(&HashMap::new(), &OwnerFormats::default(), false).verdicts, [Verdict::Unchanged]);
        let gone = [item(1, RowOp::Leave), item(2, UPDATE)];
        assert!(!Changes::new(&layout, &gone).need_rows());
    }

    #[test]
    fn a_row_the_owner_deleted_stays_deleted() {
        let (layout, column) = (sheet(), column());
        let items = [corrected(9), item(9, MARK)];
        let work = Changes::new(&layout, &items).work(&rows_by_id(&column), &OwnerFormats::default(), false);
        assert_eq!(work.verdicts, [Verdict::Deleted, Verdict::Deleted]);
        assert!(work.requests.is_empty());
    }

    #[test]
    fn vanished_rows_are_struck_through_in_the_banks_cells() {
        let (layout, column) = (sheet(), column());
        let items = [item(2, MARK), item(3, UNMARK)];
        let work = Changes::new(&layout, &items).work(&rows_by_id(&column), &OwnerFormats::default(), false);
        let requests = requests(&work);
        assert_eq!(requests.len(), 4);
        assert_eq!(
            requests[0]["repeatCell"]["range"],
            json!({"sheetId": 7, "startRowIndex": 4, "endRowIndex": 5, "startColumnIndex": 0, "endColumnIndex": 3})
        );
        assert_eq!(requests[1]["repeatCell"]["range"]["startColumnIndex"], 5);
        assert_eq!(requests[2]["repeatCell"]["cell"]["userEnteredFormat"]["textFormat"]["strikethrough"], false);
    }

    #[test]
    fn a_row_that_returns_with_other_words_gets_them() {
        let (layout, column) = (sheet(), column());
        for (op, requests_sent) in [(UNMARK, 3), (RowOp::Reinsert { cells: true }, 1), (UPDATE, 1)] {
            let returned = [RowChange { op, ..corrected(2) }];
            let work = Changes::new(&layout, &returned).work(&rows_by_id(&column), &OwnerFormats::default(), false);
            assert_eq!(work.verdicts, [Verdict::Updated], "{op:?}");
            let requests = requests(&work);
            assert_eq!(requests.len(), requests_sent, "{op:?}");
            assert!(requests[requests_sent - 1].to_string().contains("поправка"), "{op:?}");
        }
    }

    #[test]
    fn rows_are_deleted_from_the_bottom_up_and_can_return() {
        let (layout, column) = (sheet(), column());
        let items = [
            item(3, RowOp::Delete),
            item(1, RowOp::Delete),
            item(2, RowOp::Delete),
            item(8, RowOp::Reinsert { cells: true }),
        ];
        let work = Changes::new(&layout, &items).work(&rows_by_id(&column), &OwnerFormats::default(), false);
        let requests = requests(&work);
        let range = |at: usize| &requests[at]["deleteDimension"]["range"];
        assert_eq!((&range(0)["startIndex"], &range(0)["endIndex"]), (&json!(3), &json!(5)));
        assert_eq!((&range(1)["startIndex"], &range(1)["endIndex"]), (&json!(1), &json!(2)));
        assert_eq!(requests[2]["appendCells"]["rows"].as_array().unwrap().len(), 1);
        assert_eq!(work.verdicts[3], Verdict::Appended);
    }

    #[test]
    fn the_hash_is_of_the_content_not_of_the_place() {
        let (layout, mut column) = (sheet(), column());
        let (one, other) = ([corrected(1)], [corrected(2)]);
        let hash = Changes::new(&layout, &one).work(&rows_by_id(&column), &OwnerFormats::default(), false).hash;
        assert_ne!(
            hash,
            Changes::new(&layout, &other).work(&rows_by_id(&column), &OwnerFormats::default(), false).hash
        );
        column[1..].reverse();
        assert_eq!(hash, Changes::new(&layout, &one).work(&rows_by_id(&column), &OwnerFormats::default(), false).hash);
    }
}
