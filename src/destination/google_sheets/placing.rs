//! The place of new rows: right below the last row of ours (or, newest first, below the headers), inside the table of
//! Google's that holds the headers.
//!
//! Rows below that the owner has filled in advance are taken as they are: only our cells are written. Rows that hold
//! something in our own columns are made room before, and a table ends where the rows end. Pure: what stands there is
//! passed in.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::cells::{NEW_VALUE, comma, push, push_number_format, runs, write_cell, write_cells};
use super::layout::{Layout, Place};
use crate::destination::google_sheets::settings::Order;
use crate::destination::readback::is_id;
use crate::model::{Transaction, Value};

/// A table of Google's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub id: String,
    /// The row with its headers.
    pub top: u32,
    /// The row after its last; none: it takes in whatever comes.
    pub bottom: Option<u32>,
    pub left: u32,
    pub right: u32,
    /// Columns of the table that have a type.
    pub typed: BTreeSet<u32>,
}

/// A row as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SeenRow {
    /// The id that the id column shows.
    pub id: Option<String>,
    /// The columns whose cells hold something.
    pub filled: BTreeSet<u32>,
}

/// A tab from some row on, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Rows of the grid.
    pub grid: u32,
    /// The first row that was looked at.
    pub first: u32,
    /// Rows from there to the last that holds something.
    pub rows: Vec<SeenRow>,
    pub tables: Vec<Table>,
}

/// The place of rows, and the room that has to be made before they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    /// The first of them, once there is room.
    pub at: u32,
    /// Rows of the owner's between it and the last of ours.
    pub skipped: u32,
    /// Rows added at the end of the grid.
    pub added: u32,
    /// Rows inserted: before which, and how many.
    pub inserted: Option<(u32, u32)>,
    /// The table that grows, with the row that comes after its last then.
    pub table: Option<(Table, u32)>,
    /// Columns with a type there.
    pub typed: BTreeSet<u32>,
    /// The owner's columns with contents in the rows that are taken, by row counted from the first of them.
    pub taken: BTreeMap<u32, BTreeSet<u32>>,
    /// Rows, counted likewise, that hold a row which is moved along: none of its cells stays.
    pub vacated: BTreeSet<u32>,
}

/// Tells an id of ours, older forms of ids as well, from other texts.
pub(super) fn is_ours(id: &str) -> bool {
    is_id(id) || (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The table that holds the headers, else the one that holds this row; of several the one with most of our columns.
pub(super) fn table_of<'a>(tables: &'a [Table], layout: &Layout, row: u32) -> Option<&'a Table> {
    let ours =
        |table: &Table| layout.places.iter().filter(|place| (table.left..table.right).contains(&place.index)).count();
    let holding = |row: u32| {
        let holds = |table: &&Table| table.top <= row && table.bottom.is_none_or(|bottom| row < bottom);
        tables.iter().filter(holds).filter(|table| ours(table) > 0).max_by_key(|table| ours(table))
    };
    layout.header.and_then(holding).or_else(|| holding(row))
}

impl End {
    fn row(&self, row: u32) -> Option<&SeenRow> {
        self.rows.get(row.checked_sub(self.first)? as usize)
    }

    /// The row after the last that holds something.
    fn bottom(&self) -> u32 {
        self.first + self.rows.len() as u32
    }

    /// The last row of ours, but for those that are being moved.
    pub fn last(&self, layout: &Layout, moving: &HashSet<u32>) -> Option<u32> {
        let is_last = |row: &u32| {
            let id = self.row(*row).and_then(|seen| seen.id.as_deref());
            *row >= layout.top() && !moving.contains(row) && id.is_some_and(is_ours)
        };
        (self.first..self.bottom()).rev().find(is_last)
    }

    /// True where neither contents below our rows nor a table keep appended rows from their place.
    pub fn is_plain(&self, layout: &Layout, moving: &HashSet<u32>) -> bool {
        let last = self.last(layout, moving).map_or(layout.top(), |last| last + 1);
        let is_empty = |row: u32| moving.contains(&row) || self.row(row).is_none_or(|seen| seen.filled.is_empty());
        self.tables.is_empty() && (last..self.bottom()).all(is_empty)
    }

    /// The rows of ours behind a gap of rows that would have been free for them.
    pub fn behind_a_gap(&self, layout: &Layout) -> HashSet<u32> {
        let ours = |row: &u32| *row >= layout.top() && self.ours(*row);
        let rows: Vec<u32> = (self.first..self.bottom()).filter(ours).collect();
        let is_gap = |pair: &&[u32]| {
            pair[1] > pair[0] + 1 && (pair[0] + 1..pair[1]).all(|row| !self.is_used(layout, row, &HashSet::new()))
        };
        let first = rows.windows(2).find(is_gap).map(|pair| pair[1]);
        first.map_or_else(HashSet::new, |first| rows.into_iter().filter(|row| *row >= first).collect())
    }

    /// The id that the id column shows in a row.
    pub fn id(&self, row: u32) -> Option<&str> {
        self.row(row)?.id.as_deref()
    }

    /// The ids in these rows.
    pub fn ids(&self, rows: &HashSet<u32>) -> Vec<String> {
        let mut rows: Vec<u32> = rows.iter().copied().collect();
        rows.sort_unstable();
        rows.into_iter().filter_map(|row| self.row(row)?.id.clone()).collect()
    }

    /// The rows of ours that were seen: positions and ids.
    pub fn before(&self, layout: &Layout) -> Vec<(u32, String)> {
        let rows = (self.first..self.bottom()).filter(|row| *row >= layout.top() && self.ours(*row));
        rows.filter_map(|row| Some((row, self.row(row)?.id.clone()?))).collect()
    }

    /// True where only our columns hold contents in a row.
    pub fn is_ours_alone(&self, layout: &Layout, row: u32) -> bool {
        let ours = |column: &u32| layout.places.iter().any(|place| place.index == *column);
        self.row(row).is_none_or(|seen| seen.filled.iter().all(ours))
    }

    fn ours(&self, row: u32) -> bool {
        self.row(row).and_then(|seen| seen.id.as_deref()).is_some_and(is_ours)
    }

    /// True where a cell of a bank's column holds contents in a row.
    fn is_used(&self, layout: &Layout, row: u32, moving: &HashSet<u32>) -> bool {
        let bank = |place: &&Place| !place.field.belongs_to_owner();
        let mut bank = layout.places.iter().filter(bank);
        let seen = self.row(row).filter(|_| !moving.contains(&row));
        seen.is_some_and(|seen| bank.any(|place| seen.filled.contains(&place.index)))
    }

    /// True where a row's cells that are ours or the table's hold contents.
    fn is_filled(&self, layout: &Layout, table: &Table, row: u32, moving: &HashSet<u32>) -> bool {
        let seen = self.row(row).filter(|_| !moving.contains(&row));
        seen.is_some_and(|seen| {
            let ours = layout.places.iter().any(|place| seen.filled.contains(&place.index));
            ours || seen.filled.range(table.left..table.right).next().is_some()
        })
    }

    /// The place of `count` rows below the last of ours. Rows that are being moved there count as empty.
    pub fn below(&self, layout: &Layout, count: u32, moving: &HashSet<u32>) -> Spot {
        let last = self.last(layout, moving);
        // With no row of ours in sight, rows of ours may be above: new rows go below everything that was seen.
        let unseen = if self.first > layout.top() { self.bottom() } else { layout.top() };
        let first = last.map_or(unseen, |last| last + 1);
        let table = table_of(&self.tables, layout, first.saturating_sub(1));
        let limit = table.and_then(|table| table.bottom).unwrap_or(u32::MAX);
        let mut at = first;
        // Rows that the owner has added right below ours in the same columns stay there.
        while at < limit && self.is_used(layout, at, moving) {
            at += 1;
        }
        let mut free = (at..limit.max(at)).take(count as usize);
        let free = free
            .position(|row| self.is_used(layout, row, moving))
            .map_or_else(|| count.min(limit.saturating_sub(at)), |used| used as u32);
        let mut spot = Spot { at, skipped: at - first, ..Spot::default() };
        let missing = count - free;
        if missing > 0 {
            let from = at + free;
            let is_inside = from < limit;
            let is_blocked = match table {
                Some(table) if !is_inside => {
                    (from..self.bottom()).any(|row| self.is_filled(layout, table, row, moving))
                }
                _ => true,
            };
            spot.inserted = is_blocked.then_some((from, missing));
        }
        let inserted = spot.inserted.map_or(0, |(_, count)| count);
        spot.added = (at + count).saturating_sub(self.grid + inserted);
        if let Some(table) = table {
            spot.typed = table.typed.clone();
            let inside = spot.inserted.filter(|(from, _)| *from < limit).map_or(0, |(_, count)| count);
            let grown = table.bottom.map(|bottom| (bottom + inside).max(at + count));
            let grown = grown.filter(|grown| Some(*grown) != table.bottom);
            spot.table = grown.map(|grown| (table.clone(), grown));
        }
        (spot.taken, spot.vacated) = self.taken(&spot, count, moving);
        spot
    }

    /// The table with the right bounds where rows were moved while it was given others: it begins with the headers, and ends
    /// no earlier than rows of ours, of which those that are not being moved end above `rows_end`.
    pub fn table_around(
        &self,
        layout: &Layout,
        spot: &Spot,
        rows_end: u32,
        count: u32,
        is_in_place: bool,
        order: Order,
    ) -> Option<(Table, u32)> {
        let table = table_of(&self.tables, layout, spot.at.saturating_sub(1))?;
        let bottom = table.bottom?;
        let holds_header = layout.header.filter(|header| (table.top..bottom).contains(header));
        let top = holds_header.unwrap_or(table.top);
        let end = match (is_in_place, order) {
            (true, _) => bottom.max(rows_end),
            (false, Order::NewestFirst) => bottom.max(rows_end) + count,
            (false, Order::OldestFirst) => spot.table.as_ref().map_or(bottom, |(_, grown)| *grown),
        };
        ((top, end) != (table.top, bottom)).then(|| (Table { top, ..table.clone() }, end))
    }

    fn taken(&self, spot: &Spot, count: u32, moving: &HashSet<u32>) -> (BTreeMap<u32, BTreeSet<u32>>, BTreeSet<u32>) {
        let before = |row: u32| match spot.inserted {
            Some((from, more)) if row >= from + more => Some(row - more),
            Some((from, _)) if row >= from => None,
            _ => Some(row),
        };
        let is_vacated = |offset: &u32| before(spot.at + offset).is_some_and(|row| moving.contains(&row));
        let (vacated, others): (BTreeSet<u32>, Vec<u32>) =
            ((0..count).filter(is_vacated).collect(), (0..count).filter(|offset| !is_vacated(offset)).collect());
        let seen = |offset: u32| {
            let seen = self.row(before(spot.at + offset)?)?;
            (!seen.filled.is_empty()).then(|| (offset, seen.filled.clone()))
        };
        (others.into_iter().filter_map(seen).collect(), vacated)
    }

    /// The place of `count` rows right below the headers.
    pub fn on_top(&self, layout: &Layout, count: u32) -> Spot {
        let at = layout.top();
        let mut spot = Spot { at, ..Spot::default() };
        if at < self.grid {
            spot.inserted = Some((at, count));
        } else {
            spot.added = (at + count).saturating_sub(self.grid);
        }
        if let Some(table) = table_of(&self.tables, layout, at) {
            spot.typed = table.typed.clone();
            spot.table = table.bottom.map(|bottom| (table.clone(), bottom + count));
        }
        spot
    }
}

impl Spot {
    /// The requests that make room and write the rows, from the first down.
    pub fn write(&self, out: &mut Vec<u8>, layout: &Layout, rows: &[&Transaction]) {
        self.make_room(out, layout);
        let is_free = |place: &&Place| !self.taken.values().any(|taken| taken.contains(&place.index));
        let (whole, single): (Vec<&Place>, Vec<&Place>) =
            layout.places.iter().partition(|place| !place.field.belongs_to_owner() || is_free(place));
        for (from, to) in runs(whole.iter().map(|place| place.index)) {
            let run: Vec<&&Place> = whole.iter().filter(|place| (from..to).contains(&place.index)).collect();
            self.write_run(out, layout.sheet, from, &run, rows);
        }
        for (offset, transaction) in (0..).zip(rows) {
            let taken = self.taken.get(&offset);
            let open = single.iter().filter(|place| {
                taken.is_none_or(|taken| !taken.contains(&place.index))
                    && (place.field.value(transaction) != Value::Empty || self.vacated.contains(&offset))
            });
            let open: Vec<Place> = open.map(|place| (*place).clone()).collect();
            write_cells(out, layout.sheet, transaction, &open, self.at + offset);
        }
        let range = format!(r#""startRowIndex":{},"endRowIndex":{}"#, self.at, self.at + rows.len() as u32);
        for (from, to, format) in layout.formats() {
            // Types of a table's columns are the owner's.
            for (from, to) in runs((from..to).filter(|column| !self.typed.contains(column))) {
                comma(out);
                push_number_format(out, layout.sheet, &range, (from, to), format);
            }
        }
    }

    /// The requests that make room for the rows.
    pub fn make_room(&self, out: &mut Vec<u8>, layout: &Layout) {
        let sheet = layout.sheet;
        if self.added > 0 {
            comma(out);
            let length = self.added;
            push(
                out,
                format_args!(r#"{{"appendDimension":{{"sheetId":{sheet},"dimension":"ROWS","length":{length}}}}}"#),
            );
        }
        if let Some((from, count)) = self.inserted {
            // Not like the headers.
            let (end, inherit) = (from + count, from > layout.top());
            comma(out);
            push(
                out,
                format_args!(
                    r#"{{"insertDimension":{{"range":{{"sheetId":{sheet},"dimension":"ROWS","startIndex":{from},"endIndex":{end}}},"inheritFromBefore":{inherit}}}}}"#
                ),
            );
        }
        if let Some((table, bottom)) = &self.table {
            comma(out);
            grow(out, sheet, table, *bottom);
        }
    }

    fn write_run(&self, out: &mut Vec<u8>, sheet: i32, from: u32, run: &[&&Place], rows: &[&Transaction]) {
        let at = self.at;
        comma(out);
        push(
            out,
            format_args!(
                r#"{{"updateCells":{{"start":{{"sheetId":{sheet},"rowIndex":{at},"columnIndex":{from}}},"fields":"{NEW_VALUE}","rows":["#
            ),
        );
        for (row, transaction) in rows.iter().enumerate() {
            out.extend_from_slice(if row > 0 { br#",{"values":["# } else { br#"{"values":["# });
            for (cell, place) in run.iter().enumerate() {
                if cell > 0 {
                    out.push(b',');
                }
                write_cell(out, &place.field, &place.field.value(transaction), false);
            }
            out.extend_from_slice(b"]}");
        }
        out.extend_from_slice(b"]}}");
    }
}

/// The request that lets a table end above row `bottom`.
pub(super) fn grow(out: &mut Vec<u8>, sheet: i32, table: &Table, bottom: u32) {
    let Table { id, top, left, right, .. } = table;
    let id = serde_json::Value::from(id.as_str());
    push(
        out,
        format_args!(
            r#"{{"updateTable":{{"table":{{"tableId":{id},"range":{{"sheetId":{sheet},"startRowIndex":{top},"endRowIndex":{bottom},"startColumnIndex":{left},"endColumnIndex":{right}}}}},"fields":"range"}}}}"#
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::google_sheets::cells::tests::{layout, transaction};
    use crate::model::Field;

    /// Date, amount, category, id in columns A to D; the owner's in E.
    fn sheet() -> Layout {
        layout(&[(Field::Date, 0), (Field::Amount, 1), (Field::Category, 2), (Field::Id, 3)])
    }

    /// A tab of twenty rows from its header on. `o` a row of ours, `m` one of the owner's in our columns, `x` one that he
    /// has filled in his, `c` the same of the category, `.` a blank one.
    fn end(rows: &str, tables: &[(u32, u32)]) -> End {
        let row = |kind: char| SeenRow {
            id: (kind == 'o').then(|| "fibank:X:1".to_owned()),
            filled: match kind {
                'o' => [0, 1, 3].into(),
                'm' => [1].into(),
                'x' => [4].into(),
                'c' => [2].into(),
                _ => BTreeSet::new(),
            },
        };
        let header = SeenRow { id: Some("Transaction ID".into()), filled: [0, 1, 2, 3].into() };
        let table = |(top, bottom): &(u32, u32)| Table {
            id: "t".into(),
            top: *top,
            bottom: Some(*bottom),
            left: 0,
            right: 5,
            typed: BTreeSet::new(),
        };
        End {
            grid: 20,
            first: 0,
            rows: std::iter::once(header).chain(rows.chars().map(row)).collect(),
            tables: tables.iter().map(table).collect(),
        }
    }

    /// First row, rows inserted, rows added to the grid, the table's new end.
    fn spot(rows: &str, tables: &[(u32, u32)], count: u32) -> (u32, Option<(u32, u32)>, u32, Option<u32>) {
        let spot = end(rows, tables).below(&sheet(), count, &HashSet::new());
        (spot.at, spot.inserted, spot.added, spot.table.map(|(_, bottom)| bottom))
    }

    #[test]
    fn rows_follow_the_last_of_ours() {
        assert_eq!(spot("", &[], 2), (1, None, 0, None));
        assert_eq!(spot("ooo", &[], 2), (4, None, 0, None));
        assert_eq!(spot("oooxxxxx", &[], 2), (4, None, 0, None), "into rows filled in advance");
        assert_eq!(spot("oooxxcxx", &[], 9), (4, None, 0, None));
        assert_eq!(spot("o.o", &[], 17), (4, None, 1, None), "the grid grows");
        assert_eq!(spot("oom..", &[], 2), (4, None, 0, None), "what the owner adds right below stays there");
        assert_eq!(spot("oox.m", &[], 3), (3, Some((5, 1)), 0, None), "and what is further down makes room");
    }

    #[test]
    fn a_table_grows_by_what_it_lacks() {
        assert_eq!(spot("ooo", &[(0, 4)], 2), (4, None, 0, Some(6)));
        assert_eq!(spot("ooo..", &[(0, 6)], 2), (4, None, 0, None), "there is room inside");
        assert_eq!(spot("ooo..", &[(0, 6)], 3), (4, None, 0, Some(7)));
        assert_eq!(spot("ooo.mm", &[(0, 4)], 2), (4, Some((4, 2)), 0, Some(6)), "totals below it go down");
        assert_eq!(spot("ooo.m", &[(0, 6)], 2), (4, Some((5, 1)), 0, Some(7)), "a row of the owner's inside");
        assert_eq!(spot("ooo", &[(0, 4)], 30), (4, None, 14, Some(34)));
        assert_eq!(spot("ooo", &[(0, 4), (8, 12)], 1), (4, None, 0, Some(5)), "not the other one");
        assert_eq!(end("ooo", &[(0, 4)]).on_top(&sheet(), 3).table.map(|(_, bottom)| bottom), Some(7));
    }

    #[test]
    fn what_the_owner_has_in_his_cells_is_left_there() {
        let spot = end("oocx", &[]).below(&sheet(), 3, &HashSet::new());
        let mut transaction = transaction(1);
        transaction.enrichment.category = "Food".into();
        let mut out = b"[".to_vec();
        let mut requests = Vec::new();
        spot.write(&mut requests, &sheet(), &[&transaction, &transaction, &transaction]);
        out.extend_from_slice(&requests);
        out.push(b']');
        let requests: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
        let starts: Vec<(u64, u64, usize)> = requests
            .iter()
            .filter_map(|request| request.get("updateCells"))
            .map(|request| {
                let start = &request["start"];
                let rows = request["rows"].as_array().unwrap().len();
                (start["rowIndex"].as_u64().unwrap(), start["columnIndex"].as_u64().unwrap(), rows)
            })
            .collect();
        assert_eq!(starts, [(3, 0, 3), (3, 3, 3), (4, 2, 1), (5, 2, 1)]);
    }

    #[test]
    fn rows_behind_a_gap_that_was_free_are_told() {
        let behind = |rows: &str| {
            let mut rows: Vec<u32> = end(rows, &[]).behind_a_gap(&sheet()).into_iter().collect();
            rows.sort_unstable();
            rows
        };
        assert_eq!(behind("ooo"), [0; 0]);
        assert_eq!(behind("oomo"), [0; 0]);
        assert_eq!(behind("ooxxoo"), [5, 6]);
        let moving = HashSet::from([5, 6]);
        assert_eq!(end("ooxxoo", &[]).below(&sheet(), 2, &moving).at, 3);
    }
}
