//! Inserting, deleting and moving rows or columns, and everything that follows them: metadata, named ranges, filter
//! and filter views, protected ranges, merges.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::a1::{Area, OPEN};
use super::filters;
use super::model::{Cell, Line, Location, Row, Spreadsheet};
use super::read::Axis;

/// A change of the indices along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shift {
    /// New ones before `at`.
    Insert { at: usize, count: usize },
    /// Lines removed.
    Delete { start: usize, end: usize },
    /// Lines moved to the present position of `to`, counted before the lines are taken out.
    Move { start: usize, end: usize, to: usize },
}

impl Shift {
    /// The index after the change; `None` if it is deleted.
    pub fn index(self, index: usize) -> Option<usize> {
        match self {
            Shift::Insert { at, count } => Some(if index >= at { index + count } else { index }),
            Shift::Delete { start, end } if (start..end).contains(&index) => None,
            Shift::Delete { start, end } => Some(if index >= end { index - (end - start) } else { index }),
            Shift::Move { start, end, to } => {
                let count = end - start;
                Some(match (start..end).contains(&index) {
                    true if to > end => index - start + to - count,
                    true if to < start => index - start + to,
                    false if index >= end && index < to => index - count,
                    false if index < start && index >= to => index + count,
                    _ => index,
                })
            }
        }
    }

    /// The span after the change; empty if its lines are deleted. An open end stays open.
    fn span(self, first: usize, last: usize) -> (usize, usize) {
        let open = last == OPEN;
        let (first, last) = match self {
            // A span grows only when something is put inside it, not when it is put at its edge.
            Shift::Insert { at, count } if at <= first => (first + count, last.saturating_add(count)),
            Shift::Insert { at, count } if at < last => (first, last.saturating_add(count)),
            Shift::Insert { .. } => (first, last),
            Shift::Delete { start, end } => {
                let gone = |bound: usize| bound.min(end).saturating_sub(start.min(bound));
                (first - gone(first), last - gone(last))
            }
            Shift::Move { start, end, .. } if start <= first && last <= end => {
                let to = self.index(first).unwrap_or(first);
                (to, to + (last - first))
            }
            Shift::Move { start, end, to } if first <= start && end <= last && first <= to && to <= last => {
                (first, last)
            }
            Shift::Move { start, end, to } => {
                let (first, last) = Shift::Delete { start, end }.span(first, last);
                let at = if to >= end { to - (end - start) } else { to };
                Shift::Insert { at, count: end - start }.span(first, last)
            }
        };
        (first, if open { OPEN } else { last })
    }

    fn area(self, axis: Axis, mut area: Area) -> Area {
        match axis {
            Axis::Rows => (area.top, area.bottom) = self.span(area.top, area.bottom),
            Axis::Columns => (area.left, area.right) = self.span(area.left, area.right),
        }
        area
    }
}

/// Carries a shift out on a sheet that exists. New rows or columns take their formats from the one before (`inherit`)
/// or the one after.
pub(super) fn shift(book: &mut Spreadsheet, id: i64, axis: Axis, shift: Shift, inherit: bool) {
    let Some(sheet) = book.sheet_mut(id) else { return };
    match axis {
        Axis::Rows => shift_rows(&mut sheet.rows, shift, inherit),
        Axis::Columns => {
            sheet.rows.iter_mut().for_each(|row| shift_cells(&mut Arc::make_mut(row).cells, shift, inherit));
            sheet.columns = shift_columns(&sheet.columns, shift);
        }
    }
    let count = match axis {
        Axis::Rows => &mut sheet.row_count,
        Axis::Columns => &mut sheet.column_count,
    };
    match shift {
        Shift::Insert { count: more, .. } => *count += more,
        Shift::Delete { start, end } => *count -= end - start,
        Shift::Move { .. } => {}
    }
    let alive = |area: &Area| area.top < area.bottom && area.left < area.right;
    let moved = |area: Area| shift.area(axis, area);
    sheet.merges = sheet.merges.iter().map(|area| moved(*area)).filter(alive).collect();
    sheet.protected.iter_mut().for_each(|range| range.area = moved(range.area));
    sheet.protected.retain(|range| alive(&range.area));
    sheet.tables.iter_mut().for_each(|table| table.area = moved(table.area));
    sheet.tables.retain(|table| alive(&table.area));
    let filters = sheet.filter.iter_mut().map(|(area, rest)| (area, rest));
    for (area, rest) in filters.chain(sheet.filter_views.iter_mut().map(|view| (&mut view.area, &mut view.rest))) {
        *area = moved(*area);
        if axis == Axis::Columns {
            filters::shift_columns(rest, shift);
        }
    }
    sheet.filter.take_if(|(area, _)| !alive(area));
    sheet.filter_views.retain(|view| alive(&view.area));
    filters::refresh(sheet);
    // A name outlives its cells: it then names no cell but is still taken.
    for range in book.named_ranges.iter_mut().filter(|range| range.area.sheet == id) {
        range.area = moved(range.area);
    }
    book.metadata.retain_mut(|entry| {
        let place = match (&mut entry.location, axis) {
            (Location::Row(sheet, row), Axis::Rows) if *sheet == id => row,
            (Location::Column(sheet, column), Axis::Columns) if *sheet == id => column,
            _ => return true,
        };
        let after = shift.index(*place);
        *place = after.unwrap_or(*place);
        after.is_some()
    });
}

fn shift_rows(rows: &mut Vec<Arc<Row>>, shift: Shift, inherit: bool) {
    match shift {
        Shift::Insert { at, count } if at < rows.len() || (inherit && at == rows.len() && at > 0) => {
            let model = if inherit { at.checked_sub(1) } else { Some(at) };
            let formats = model.and_then(|row| rows.get(row)).map_or_else(Vec::new, |row| formats(&row.cells));
            let fresh = Arc::new(Row { cells: formats, line: Line::default() });
            rows.splice(at..at, std::iter::repeat_n(fresh, count));
        }
        Shift::Insert { .. } => {}
        Shift::Delete { start, end } => {
            let last = rows.len();
            rows.drain(start.min(last)..end.min(last));
        }
        Shift::Move { end, to, .. } => {
            let length = rows.len().max(end).max(to);
            rows.resize_with(length, Arc::default);
            let before = rows.clone();
            for (index, row) in before.into_iter().enumerate() {
                if let Some(after) = shift.index(index) {
                    rows[after] = row;
                }
            }
        }
    }
}

fn shift_cells(cells: &mut Vec<Cell>, shift: Shift, inherit: bool) {
    match shift {
        Shift::Insert { at, count } if at < cells.len() || (inherit && at == cells.len() && at > 0) => {
            let model = if inherit { at.checked_sub(1) } else { Some(at) };
            let format = model.and_then(|at| formats(cells).into_iter().nth(at)).unwrap_or_default();
            cells.splice(at..at, std::iter::repeat_n(format, count));
        }
        Shift::Insert { .. } => {}
        Shift::Delete { start, end } => {
            let last = cells.len();
            cells.drain(start.min(last)..end.min(last));
        }
        Shift::Move { end, to, .. } => {
            let length = cells.len().max(end).max(to);
            cells.resize_with(length, Cell::default);
            let before = std::mem::take(cells);
            cells.resize_with(length, Cell::default);
            for (index, cell) in before.into_iter().enumerate() {
                if let Some(after) = shift.index(index) {
                    cells[after] = cell;
                }
            }
        }
    }
}

fn shift_columns(columns: &BTreeMap<usize, Line>, shift: Shift) -> BTreeMap<usize, Line> {
    columns.iter().filter_map(|(column, line)| Some((shift.index(*column)?, line.clone()))).collect()
}

/// The cells with only their formats left.
fn formats(cells: &[Cell]) -> Vec<Cell> {
    let format = |cell: &Cell| {
        let format = cell.format()?;
        Some(Arc::new([("userEnteredFormat".to_owned(), format.clone())].into_iter().collect()))
    };
    cells.iter().map(|cell| Cell { rest: format(cell), ..Cell::default() }).collect()
}
