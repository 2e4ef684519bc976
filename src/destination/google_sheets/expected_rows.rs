//! The rows that a batch expects to write to, and the comparison with the rows that it hit. Pure.
//!
//! Rows are looked up by id and written by position, and between the two the owner may sort, insert or delete. A batch is
//! carried out at one instant, so the id column in its own answer shows exactly the rows that its positions meant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Instant;

use super::answer::RowIds;
use super::cells;
use super::layout::{Layout, Place};
use super::placing::{is_ours, table_of};
use crate::destination::Rewrite;
use crate::destination::google_sheets::settings::Order;
use crate::destination::readback::Cell;
use crate::model::{Field, Transaction};

/// A row that a batch writes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowWrite {
    /// The row's expected position before the batch is carried out.
    pub row: u32,
    /// The id there, once it is carried out; empty: none.
    pub id: String,
    /// The written cells.
    pub cells: Vec<(Field, Cell)>,
    /// The row is marked as taken back, or unmarked.
    pub struck: bool,
    /// The row is deleted.
    pub deleted: bool,
}

impl RowWrite {
    /// Cells of a row are written.
    pub fn cells(row: u32, transaction: &Transaction, places: &[Place]) -> RowWrite {
        let cell = |place: &Place| (place.field.clone(), cells::cell(&place.field.value(transaction)));
        let cells = places.iter().map(cell).collect();
        RowWrite { row, id: transaction.row.id.clone(), cells, struck: false, deleted: false }
    }
}

/// A row without an id that was written to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Litter {
    /// The position of the row.
    pub row: u32,
    /// The written cells.
    pub cells: Vec<(Field, Cell)>,
    /// When.
    pub at: Instant,
}

/// New rows of a batch, or rows that it moves to their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NewRows {
    pub ids: Vec<String>,
    pub order: Order,
    /// The first row that was looked at.
    pub first: u32,
    /// The rows were written by position, to `at` and below.
    pub by_position: bool,
    pub at: u32,
    /// Rows of the owner's between them and the last of ours.
    pub skipped: u32,
    /// The rows were there before.
    pub moved: bool,
    /// The answer to the batch is to tell the rows' landing.
    pub watched: bool,
    /// Rows of the grid afterwards, if nobody else adds or deletes some.
    pub grid: u32,
    /// Rows of ours that were there before: where, and their ids.
    pub before: Vec<(u32, String)>,
}

impl NewRows {
    /// True if rows landed in a wrong place, or may have.
    pub fn is_amiss(&self, layout: &Layout, landed: &RowIds) -> bool {
        let rows: Vec<u32> = self.rows(landed);
        let Some(top) = rows.iter().min().copied() else { return self.by_position };
        let is_below = match self.order {
            Order::NewestFirst => self.is_below_headers(layout, landed),
            Order::OldestFirst => self.follows(layout, landed, top),
        };
        !is_below || self.is_outside(layout, landed, &rows) || self.is_shifted(landed)
    }

    /// The rows that are there more than once.
    pub fn doubled(&self, landed: &RowIds) -> Vec<String> {
        let count = |id: &String| landed.ids.iter().flatten().filter(|found| *found == id).count();
        self.ids.iter().filter(|id| count(id) > 1).cloned().collect()
    }

    pub fn rows(&self, landed: &RowIds) -> Vec<u32> {
        let wanted: BTreeSet<&str> = self.ids.iter().map(String::as_str).collect();
        let is_fresh = |id: &Option<String>| id.as_deref().is_some_and(|id| wanted.contains(id));
        let rows = (landed.first as u32..).zip(&landed.ids).filter(|(_, id)| is_fresh(id));
        rows.map(|(row, _)| row).collect()
    }

    /// True if rows were moved in that instant while a table was given an end.
    fn is_shifted(&self, landed: &RowIds) -> bool {
        let is_elsewhere = |(row, id): &(u32, String)| landed.at(*row) != Some(id.as_str());
        let is_resized = self.by_position && landed.grid.is_some_and(|grid| grid != self.grid);
        let has_tables = landed.tables.as_ref().is_some_and(|tables| !tables.is_empty());
        has_tables && (is_resized || self.before.iter().any(is_elsewhere))
    }

    /// Oldest first: whether they follow the last of ours, or what the owner has right below it.
    fn follows(&self, layout: &Layout, landed: &RowIds, top: u32) -> bool {
        // Rows above were deleted since: the last of ours is not in the answer.
        if top <= landed.first as u32 && landed.first > 0 {
            return false;
        }
        // An owner's text in the id column is no row of ours.
        let holds_ours = |row: &u32| Some(*row) == layout.header || landed.at(*row).is_some_and(is_ours);
        let above = (landed.first as u32..top).rev().find(holds_ours);
        above.is_some_and(|above| top - above - 1 == self.skipped)
    }

    /// Newest first: whether the headers are above them, and not below.
    fn is_below_headers(&self, layout: &Layout, landed: &RowIds) -> bool {
        let (Some(header), top, count) = (layout.header, layout.top(), self.ids.len() as u32) else { return true };
        let in_order = (top..).zip(self.ids.iter().rev()).all(|(row, id)| landed.at(row) == Some(id.as_str()));
        let is_header = |row: u32| landed.at(row).is_some_and(|text| !is_ours(text));
        in_order && is_header(header) && !is_header(top + count)
    }

    /// True if a table ends above the rows, or may end there.
    fn is_outside(&self, layout: &Layout, landed: &RowIds, rows: &[u32]) -> bool {
        let Some(tables) = landed.tables.as_ref().filter(|tables| !tables.is_empty()) else { return false };
        if !self.by_position {
            return true;
        }
        let first = rows.iter().min().copied().unwrap_or_default();
        let last = match self.order {
            Order::NewestFirst => rows.iter().max().copied(),
            Order::OldestFirst => {
                let ours = |at: &usize| landed.ids[*at].as_deref().is_some_and(is_ours);
                (0..landed.ids.len()).rev().find(ours).map(|at| (landed.first + at) as u32)
            }
        };
        let table = table_of(tables, layout, first.saturating_sub(1));
        table.and_then(|table| table.bottom).is_some_and(|bottom| last.is_some_and(|last| bottom <= last))
    }

    /// The rows of ours that were written over, because others were moved below them in that instant.
    pub fn written_over(&self, landed: &RowIds) -> Vec<String> {
        // Rows that are moved to their place are deleted elsewhere, so that the distance to their neighbours says nothing.
        let written = if self.moved { 0..u32::MAX } else { self.at..self.at + self.ids.len() as u32 };
        written_over(&self.before, written, landed)
    }
}

/// The rows of `before` that are gone and stood where `written` was written, as far as their neighbours have moved since.
pub(super) fn written_over(before: &[(u32, String)], written: Range<u32>, landed: &RowIds) -> Vec<String> {
    let mut rows: HashMap<&str, u32> = HashMap::new();
    for (row, id) in (landed.first as u32..).zip(&landed.ids) {
        rows.extend(id.as_deref().map(|id| (id, row)));
    }
    let shift = |(row, id): &(u32, String)| Some(i64::from(*rows.get(id.as_str())?) - i64::from(*row));
    let written = i64::from(written.start)..i64::from(written.end);
    let lost = before.iter().enumerate().filter(|(_, (_, id))| !rows.contains_key(id.as_str()));
    let is_hit = |(at, (row, _)): &(usize, &(u32, String))| {
        let below = before[at + 1..].iter().find_map(shift);
        let near = below.or_else(|| before[..*at].iter().rev().find_map(shift));
        near.is_none_or(|shift| written.contains(&(i64::from(*row) + shift)))
    };
    lost.filter(is_hit).map(|(_, (_, id))| id.clone()).collect()
}

/// The batch's expectations of the sheet.
#[derive(Default)]
pub(super) struct ExpectedRows {
    pub touches: Vec<RowWrite>,
    /// The id column before, where rows are deleted.
    pub before: Vec<Option<String>>,
    /// Rows are written once more.
    pub again: bool,
    /// Rows that are new, or moved to their place.
    pub fresh: Option<NewRows>,
}

/// The rows that a batch hit instead.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mismatches {
    pub rows: BTreeMap<String, Rewrite>,
    /// Rows without an id that were written to, with the touch that did.
    pub blank: Vec<(u32, usize)>,
    /// Rows deleted in place of others.
    pub gone: Vec<String>,
}

impl Mismatches {
    fn touch(&mut self, id: &str, touch: &RowWrite) {
        let touched = self.rows.entry(id.to_owned()).or_default();
        touched.fields.extend(touch.cells.iter().map(|(field, _)| field.key().into_owned()));
        touched.mark |= touch.struck;
    }
}

impl ExpectedRows {
    /// The first row whose id the answer has to tell.
    pub fn first(&self) -> u32 {
        if self.deletes() {
            return 0;
        }
        let fresh = self.fresh.iter().map(|fresh| fresh.first);
        self.touches.iter().map(|touch| touch.row).chain(fresh).min().unwrap_or_default()
    }

    pub fn deletes(&self) -> bool {
        self.touches.iter().any(|touch| touch.deleted)
    }

    pub fn compare(&self, landed: &RowIds) -> Mismatches {
        let deleted = self.touches.iter().filter(|touch| touch.deleted).map(|touch| touch.row);
        let deleted: BTreeSet<u32> = deleted.collect();
        let mut strays = Mismatches::default();
        // A row that the batch writes to and then deletes shows no trace of the write.
        for (at, touch) in self.touches.iter().enumerate().filter(|(_, touch)| !deleted.contains(&touch.row)) {
            let row = touch.row - deleted.range(..touch.row).count() as u32;
            let found = landed.at(row);
            if found.unwrap_or_default() == touch.id {
                continue;
            }
            if !touch.id.is_empty() {
                strays.touch(&touch.id, touch);
            }
            match found {
                Some(id) => strays.touch(id, touch),
                None => strays.blank.push((row, at)),
            }
        }
        self.compare_deletions(landed, &deleted, &mut strays);
        strays
    }

    fn compare_deletions(&self, landed: &RowIds, deleted: &BTreeSet<u32>, strays: &mut Mismatches) {
        if deleted.is_empty() {
            return;
        }
        let mut there: HashMap<&str, i64> = HashMap::new();
        landed.ids.iter().flatten().for_each(|id| *there.entry(id).or_default() += 1);
        let mut before: HashMap<&str, i64> = HashMap::new();
        self.before.iter().flatten().for_each(|id| *before.entry(id).or_default() += 1);
        let mut wanted: HashMap<&str, i64> = HashMap::new();
        self.touches.iter().filter(|touch| touch.deleted).for_each(|touch| *wanted.entry(&touch.id).or_default() += 1);
        let count = |of: &HashMap<&str, i64>, id: &str| of.get(id).copied().unwrap_or_default();
        for (id, wanted) in &wanted {
            if wanted > &(count(&before, id) - count(&there, id)) {
                strays.rows.entry((*id).to_owned()).or_default().delete = true;
            }
        }
        // Other absent rows went in place of the wanted ones, or the owner has deleted them in that instant.
        let mut absent: Vec<&str> = Vec::new();
        for id in self.before.iter().flatten() {
            if count(&there, id) == 0 && !wanted.contains_key(id.as_str()) && !absent.contains(&id.as_str()) {
                absent.push(id);
            }
        }
        if !absent.is_empty()
            && let Some(near) = self.between(landed, deleted, &absent)
        {
            absent = near;
        }
        strays.gone = absent.into_iter().map(str::to_owned).collect();
    }

    /// The absent rows that may have stood where rows were deleted, if all others kept their order: each between rows
    /// that are neighbours now. With two such rows side by side either may be the owner's doing, and a row too
    /// many is better than one too few. `None`: the others did not keep their order.
    fn between<'a>(&self, landed: &RowIds, deleted: &BTreeSet<u32>, absent: &[&'a str]) -> Option<Vec<&'a str>> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (at, id) in self.before.iter().enumerate() {
            places.extend(id.as_deref().map(|id| (id, at)));
        }
        let known: Vec<Option<usize>> =
            landed.ids.iter().map(|id| id.as_deref().and_then(|id| places.get(id)).copied()).collect();
        if !known.iter().flatten().is_sorted() {
            return None;
        }
        let mut near = Vec::new();
        for (above, row) in deleted.iter().enumerate() {
            let at = (*row as usize).saturating_sub(above).min(known.len());
            let low = known[..at].iter().rev().flatten().next().copied();
            let high = known[at..].iter().flatten().next().copied().unwrap_or(usize::MAX);
            let is_between = |id: &&&str| {
                let place = places.get(**id).copied().unwrap_or_default();
                low.is_none_or(|low| low < place) && place < high
            };
            near.extend(absent.iter().filter(is_between).copied());
        }
        near.sort_unstable();
        near.dedup();
        Some(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<Option<String>> {
        text.chars().map(|c| (c != '.').then(|| c.to_string())).collect()
    }

    fn landed(first: usize, text: &str) -> RowIds {
        RowIds { first, ids: ids(text), ..RowIds::default() }
    }

    fn cells(row: u32, id: &str) -> RowWrite {
        RowWrite { row, id: id.into(), cells: vec![(Field::Amount, Cell::Empty)], struck: false, deleted: false }
    }

    fn deleting(before: &str, gone: &str) -> ExpectedRows {
        let touches = gone.chars().map(|c| {
            let row = before.find(c).unwrap() as u32;
            RowWrite { cells: vec![], deleted: true, ..cells(row, &c.to_string()) }
        });
        ExpectedRows { touches: touches.collect(), before: ids(before), ..ExpectedRows::default() }
    }

    #[test]
    fn what_landed_where_it_should_is_left_alone() {
        let landing =
            ExpectedRows { touches: vec![cells(2, "b"), cells(5, "e")], before: vec![], ..ExpectedRows::default() };
        assert_eq!(landing.first(), 2);
        assert_eq!(landing.compare(&landed(2, "bcde")), Mismatches::default());
        assert_eq!(deleting(".abcde", "bd").compare(&landed(0, ".ace")), Mismatches::default());
        // The owner deletes another in that instant, further down.
        assert_eq!(deleting(".abcdef", "bd").compare(&landed(0, ".ace")), Mismatches::default());
    }

    #[test]
    fn rows_hit_and_rows_missed_are_told() {
        let landing =
            ExpectedRows { touches: vec![cells(2, "b"), cells(4, "d")], before: vec![], ..ExpectedRows::default() };
        let strays = landing.compare(&landed(2, "abc"));
        assert_eq!(strays.rows.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert!(strays.rows["a"].fields.contains("amount"));
        let strays = landing.compare(&landed(2, ".bcd"));
        assert_eq!((strays.blank, strays.rows.len()), (vec![(2, 0)], 3));
    }

    #[test]
    fn rows_deleted_in_place_of_others_are_told_from_the_owners_own_deletions() {
        let gone = |before: &str, asked: &str, after: &str| {
            let strays = deleting(before, asked).compare(&landed(0, after));
            (strays.gone.concat(), strays.rows.into_keys().collect::<String>())
        };
        assert_eq!(gone(".abcdef", "c", ".bcef"), ("d".into(), "c".into()), "the owner has deleted a");
        assert_eq!(gone(".abcdef", "c", ".facde"), ("b".into(), "c".into()), "one was dragged to the top");
        assert_eq!(gone(".abcdef", "c", ".fedba").1, "", "sorted, and c was hit by chance");
        assert_eq!(gone(".abcdef", "bc", ".abdef").1, "b", "half of it");
        assert_eq!(gone(".abcd", "b", ".abcd"), (String::new(), "b".into()), "a blank row went instead");
        assert_eq!(gone(".abcd", "b", ".cb"), ("ad".into(), "b".into()), "unclear: rather a row too many");
        assert_eq!(gone(".abcd", "b", ".ad"), ("c".into(), String::new()), "the owner has deleted b, or c");
    }
}
