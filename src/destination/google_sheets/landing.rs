//! Where a write by position has landed, and what follows where the owner moved rows in the instant before it.
//!
//! Rows are looked up by id and written by position, and between the two the owner may sort, insert or delete. A batch is
//! carried out at one instant, so the id column in its own answer is exactly what its positions meant. Comparing is pure;
//! rows that were hit or missed are written once more, found by their ids ([`Rewrite`]), in a batch that is compared
//! like any other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Instant;

use super::GoogleSheets;
use super::answer::{Landed, PLACEMENT_FIELDS, STRUCK_FIELDS, read_placement, read_struck_texts};
use super::cells;
use super::layout::{Layout, Place};
use super::placing::{is_ours, table_of};
use crate::destination::Rewrite;
use crate::destination::google_sheets::settings::Order;
use crate::destination::readback::Cell;
use crate::model::{Field, Transaction};
use crate::remote::Error;

/// A row that a batch writes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Touch {
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

impl Touch {
    /// Cells of a row are written.
    pub fn cells(row: u32, transaction: &Transaction, places: &[Place]) -> Touch {
        let cell = |place: &Place| (place.field.clone(), cells::cell(&place.field.value(transaction)));
        let cells = places.iter().map(cell).collect();
        Touch { row, id: transaction.row.id.clone(), cells, struck: false, deleted: false }
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
pub(super) struct Fresh {
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

impl Fresh {
    /// True if rows landed in a wrong place, or may have.
    fn is_amiss(&self, layout: &Layout, landed: &Landed) -> bool {
        let rows: Vec<u32> = self.rows(landed);
        let Some(top) = rows.iter().min().copied() else { return self.by_position };
        let is_below = match self.order {
            Order::NewestFirst => self.is_below_headers(layout, landed),
            Order::OldestFirst => self.follows(layout, landed, top),
        };
        !is_below || self.is_outside(layout, landed, &rows) || self.is_shifted(landed)
    }

    /// The rows that are there more than once.
    fn doubled(&self, landed: &Landed) -> Vec<String> {
        let count = |id: &String| landed.ids.iter().flatten().filter(|found| *found == id).count();
        self.ids.iter().filter(|id| count(id) > 1).cloned().collect()
    }

    fn rows(&self, landed: &Landed) -> Vec<u32> {
        let wanted: BTreeSet<&str> = self.ids.iter().map(String::as_str).collect();
        let is_fresh = |id: &Option<String>| id.as_deref().is_some_and(|id| wanted.contains(id));
        let rows = (landed.first as u32..).zip(&landed.ids).filter(|(_, id)| is_fresh(id));
        rows.map(|(row, _)| row).collect()
    }

    /// True if rows were moved in that instant while a table was given an end.
    fn is_shifted(&self, landed: &Landed) -> bool {
        let is_elsewhere = |(row, id): &(u32, String)| landed.at(*row) != Some(id.as_str());
        let is_resized = self.by_position && landed.grid.is_some_and(|grid| grid != self.grid);
        let has_tables = landed.tables.as_ref().is_some_and(|tables| !tables.is_empty());
        has_tables && (is_resized || self.before.iter().any(is_elsewhere))
    }

    /// Oldest first: whether they follow the last of ours, or what the owner has right below it.
    fn follows(&self, layout: &Layout, landed: &Landed, top: u32) -> bool {
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
    fn is_below_headers(&self, layout: &Layout, landed: &Landed) -> bool {
        let (Some(header), top, count) = (layout.header, layout.top(), self.ids.len() as u32) else { return true };
        let in_order = (top..).zip(self.ids.iter().rev()).all(|(row, id)| landed.at(row) == Some(id.as_str()));
        let is_header = |row: u32| landed.at(row).is_some_and(|text| !is_ours(text));
        in_order && is_header(header) && !is_header(top + count)
    }

    /// True if a table ends above the rows, or may end there.
    fn is_outside(&self, layout: &Layout, landed: &Landed, rows: &[u32]) -> bool {
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
    fn written_over(&self, landed: &Landed) -> Vec<String> {
        // Rows that are moved to their place are deleted elsewhere, so that the distance to their neighbours says nothing.
        let written = if self.moved { 0..u32::MAX } else { self.at..self.at + self.ids.len() as u32 };
        written_over(&self.before, written, landed)
    }
}

/// The rows of `before` that are gone and stood where `written` was written, as far as their neighbours have moved since.
pub(super) fn written_over(before: &[(u32, String)], written: Range<u32>, landed: &Landed) -> Vec<String> {
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
pub(super) struct Landing {
    pub touches: Vec<Touch>,
    /// The id column before, where rows are deleted.
    pub before: Vec<Option<String>>,
    /// Rows are written once more.
    pub again: bool,
    /// Rows that are new, or moved to their place.
    pub fresh: Option<Fresh>,
}

/// Where a batch went instead.
#[derive(Debug, Default, PartialEq, Eq)]
struct Strays {
    rows: BTreeMap<String, Rewrite>,
    /// Rows without an id that were written to, with the touch that did.
    blank: Vec<(u32, usize)>,
    /// Rows deleted in place of others.
    gone: Vec<String>,
}

impl Strays {
    fn touch(&mut self, id: &str, touch: &Touch) {
        let touched = self.rows.entry(id.to_owned()).or_default();
        touched.fields.extend(touch.cells.iter().map(|(field, _)| field.key().into_owned()));
        touched.mark |= touch.struck;
    }
}

impl Landing {
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

    fn compare(&self, landed: &Landed) -> Strays {
        let deleted = self.touches.iter().filter(|touch| touch.deleted).map(|touch| touch.row);
        let deleted: BTreeSet<u32> = deleted.collect();
        let mut strays = Strays::default();
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

    fn compare_deletions(&self, landed: &Landed, deleted: &BTreeSet<u32>, strays: &mut Strays) {
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
    /// that are neighbours now. Of two that stood side by side either may have been the owner's doing, and a row too
    /// many is better than one too few. `None`: the others did not keep their order.
    fn between<'a>(&self, landed: &Landed, deleted: &BTreeSet<u32>, absent: &[&'a str]) -> Option<Vec<&'a str>> {
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

impl GoogleSheets {
    /// Finds the landing of a batch that writes by position: from its answer, or, without one, by another look.
    pub(super) async fn look_where_it_landed(&mut self, number: u64, hash: u64, landed: Option<Landed>) {
        let prepared = self.prepared.as_mut().filter(|prepared| prepared.is(number, hash));
        let landing = prepared.filter(|prepared| landed.is_some() || !prepared.resent);
        let Some(landing) = landing.map(|prepared| std::mem::take(&mut prepared.landing)) else {
            self.misplaced.unverified = true;
            return;
        };
        if landing.touches.is_empty() && landing.fresh.is_none() {
            return;
        }
        if landed.is_none()
            && landing.touches.is_empty()
            && landing.fresh.as_ref().is_some_and(|fresh| !fresh.by_position && !fresh.watched)
        {
            // A later batch of the cycle is watched.
            return;
        }
        let landed = match (landed, &landing.fresh) {
            (Some(landed), _) => Ok(landed),
            (None, Some(fresh)) if landing.touches.is_empty() && !fresh.moved => self.see(fresh).await,
            (None, _) => self.id_column().await.map(Landed::column),
        };
        match landed {
            Ok(landed) => {
                if !landing.touches.is_empty() {
                    self.compare(&landing, &landed);
                }
                if let Some(fresh) = &landing.fresh {
                    self.judge(fresh, &landed);
                }
            }
            // The batch was applied, with any result of this look.
            Err(_) => {
                self.misplaced.unverified = true;
                self.memory.ending.unsure |= landing.fresh.is_some();
            }
        }
    }

    /// Reads what the lost answer to a batch of new rows would have said.
    async fn see(&mut self, fresh: &Fresh) -> Result<Landed, Error> {
        let (layout, ..) = self.ready().await?;
        let (first, id) = (fresh.first, layout.id_index());
        let mut range = serde_json::json!({
            "sheetId": layout.sheet, "startRowIndex": first, "startColumnIndex": id, "endColumnIndex": id + 1,
        });
        if fresh.order == Order::NewestFirst {
            range["endRowIndex"] = (first + fresh.ids.len() as u32 + 2).into();
        }
        let answer = self.client().await?.look(range, PLACEMENT_FIELDS).await?;
        let placement = read_placement(&answer).map_err(|_| self.garbled())?;
        placement.ok_or_else(|| self.garbled())
    }

    /// Sees whether new rows landed where they belong.
    fn judge(&mut self, fresh: &Fresh, landed: &Landed) {
        let Some(layout) = self.known.layout.clone() else {
            self.memory.ending.careful = true;
            self.mark_misplaced(fresh.ids.clone());
            return;
        };
        let over = fresh.written_over(landed);
        for id in &over {
            tracing::warn!(
                "{}: row {id} was written over, because rows were moved in that instant, and is put back; what stood beside it is beside another row now",
                self.names.destination
            );
        }
        self.misplaced.gone.extend(over);
        self.memory.ending.risked.clear();
        if fresh.moved {
            self.mark_misplaced(fresh.doubled(landed));
            return;
        }
        // A whole column without its tables does not tell if rows are inside of one.
        let is_unseen = fresh.by_position && landed.tables.is_none();
        if is_unseen || fresh.is_amiss(&layout, landed) {
            self.memory.ending.careful = true;
            self.mark_misplaced(fresh.ids.clone());
        } else if fresh.order == Order::OldestFirst
            && let Some(last) = fresh.rows(landed).iter().max()
        {
            self.memory.ending.tail = Some(u64::from(*last) + 1);
        }
    }

    /// Compares where a batch has landed with where it should have.
    fn compare(&mut self, landing: &Landing, landed: &Landed) {
        let strays = landing.compare(landed);
        if strays == Strays::default() {
            if landing.again {
                self.litter.clear();
            }
            return;
        }
        let (tab, count) = (&self.config.tab, strays.rows.len() + strays.gone.len());
        tracing::warn!(
            "{}: rows of tab `{tab}` were moved in the instant in which they were written: {count} rows are set right",
            self.names.destination
        );
        for id in &strays.gone {
            tracing::warn!(
                "{}: row {id} was deleted in place of another and is put back; what the owner had written beside it is lost",
                self.names.destination
            );
        }
        for (row, at) in &strays.blank {
            let touch = &landing.touches[*at];
            let fields = touch.cells.iter().map(|(field, _)| field.to_string()).collect::<Vec<_>>().join("`, `");
            if !fields.is_empty() {
                tracing::warn!(
                    "{}: row {} of tab `{tab}` is not bankfeed's, and its cells under `{fields}` were written over: they are emptied, and what stood in them is lost",
                    self.names.destination,
                    row + 1
                );
            }
            self.litter.push(Litter { row: *row, cells: touch.cells.clone(), at: Instant::now() });
        }
        self.misplaced.gone.extend(strays.gone);
        for (id, rewrite) in strays.rows {
            self.misplaced.rewrites.entry(id).or_default().merge(rewrite);
        }
    }

    /// The ids of rows that are struck through.
    pub(super) async fn marked_once(&mut self) -> Result<Vec<String>, Error> {
        let (layout, ..) = self.ready().await?;
        let Some(id) = layout.places.iter().find(|place| place.field == Field::Id) else { return Ok(Vec::new()) };
        let range = serde_json::json!({ "sheetId": layout.sheet, "startColumnIndex": id.index, "endColumnIndex": id.index + 1 });
        let answer = self.client().await?.look(range, STRUCK_FIELDS).await?;
        read_struck_texts(&answer).map_err(|_| self.garbled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<Option<String>> {
        text.chars().map(|c| (c != '.').then(|| c.to_string())).collect()
    }

    fn landed(first: usize, text: &str) -> Landed {
        Landed { first, ids: ids(text), ..Landed::default() }
    }

    fn cells(row: u32, id: &str) -> Touch {
        Touch { row, id: id.into(), cells: vec![(Field::Amount, Cell::Empty)], struck: false, deleted: false }
    }

    fn deleting(before: &str, gone: &str) -> Landing {
        let touches = gone.chars().map(|c| {
            let row = before.find(c).unwrap() as u32;
            Touch { cells: vec![], deleted: true, ..cells(row, &c.to_string()) }
        });
        Landing { touches: touches.collect(), before: ids(before), ..Landing::default() }
    }

    #[test]
    fn what_landed_where_it_should_is_left_alone() {
        let landing = Landing { touches: vec![cells(2, "b"), cells(5, "e")], before: vec![], ..Landing::default() };
        assert_eq!(landing.first(), 2);
        assert_eq!(landing.compare(&landed(2, "bcde")), Strays::default());
        assert_eq!(deleting(".abcde", "bd").compare(&landed(0, ".ace")), Strays::default());
        // The owner deletes another in that instant, further down.
        assert_eq!(deleting(".abcdef", "bd").compare(&landed(0, ".ace")), Strays::default());
    }

    #[test]
    fn rows_hit_and_rows_missed_are_told() {
        let landing = Landing { touches: vec![cells(2, "b"), cells(4, "d")], before: vec![], ..Landing::default() };
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
