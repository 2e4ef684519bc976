//! New rows written by position, if appending would not bring them to their place: into rows that the owner has filled
//! in advance, or into a table of Google's.
//!
//! The answer to a batch shows if its appended rows landed right. If they did not, or a table is there, the end of our
//! rows is looked at before each further batch until the way is free again, and misplaced rows are moved to their place
//! in the same cycle.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use xxhash_rust::xxh3::Xxh3;

use super::GoogleSheets;
use super::answer::RowIds;
use super::cells::{delete_rows, write_nothing};
use super::changes::Work;
use super::expected_rows::{ExpectedRows, NewRows, written_over};
use super::layout::Layout;
use super::placing::{End, Spot, is_ours};
use crate::destination::google_sheets::settings::Order;
use crate::destination::readback::id_text;
use crate::destination::row_op::RowOp;
use crate::destination::{RowChange, Verdict};
use crate::model::Transaction;
use crate::remote::Error;

/// Number of rows above the last of ours that are looked at along with it.
const MARGIN: u64 = 5;

/// The owner's known content at the end of our rows, between cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// The row after the last of ours, when that was seen last.
    #[serde(default)]
    pub tail: Option<u64>,
    /// A table is there, or something below our rows: it is looked at before new rows are written.
    #[serde(default)]
    pub careful: bool,
    /// Rows were written, and where they landed was not seen.
    #[serde(default)]
    pub unsure: bool,
    /// The rows that a write by position may hit, while its outcome is not known: ids and where they were.
    #[serde(default)]
    pub risked: Vec<(u32, String)>,
    /// The number of that batch.
    #[serde(default)]
    pub risked_by: u64,
    /// The rows that it writes: the first, and how many.
    #[serde(default)]
    pub risked_at: (u32, u32),
}

impl GoogleSheets {
    /// True if the end of our rows is looked at before new ones are written.
    pub(super) fn is_careful(&self) -> bool {
        let ending = &self.memory.ending;
        let is_unknown = self.config.order == Order::OldestFirst && ending.tail.is_none();
        ending.careful || ending.unsure || is_unknown
    }

    /// The end of our rows as it is now.
    async fn look_at_end(&mut self, layout: &Layout) -> Result<End, Error> {
        let id = layout.id_index();
        let tail = self.memory.ending.tail.map(|tail| tail.saturating_sub(MARGIN) as u32);
        if let Some(first) = tail {
            let first = first.max(layout.header.unwrap_or_default());
            // The end may lie outside of the grid by now, if rows were deleted.
            let seen = self.end(layout.sheet, (first, None), id).await;
            match seen {
                Ok(end) if first <= layout.top() || end.last(layout, &HashSet::new()).is_some() => return Ok(end),
                Err(failure) if failure.refused.is_none() => return Err(failure.error),
                _ => {}
            }
        }
        let column = self.id_column().await?;
        // Rows above tell later whether a row that is gone was deleted.
        let first = last_of_ours(&column).map_or(layout.top(), |last| last.saturating_sub(MARGIN as u32));
        let first = first.max(layout.header.unwrap_or_default());
        Ok(self.end(layout.sheet, (first, None), id).await?)
    }

    /// The end of the sheet's rows at which new rows go.
    async fn look_at_place(&mut self, layout: &Layout) -> Result<End, Error> {
        let end = match self.config.order {
            Order::OldestFirst => self.look_at_end(layout).await?,
            Order::NewestFirst => {
                let first = layout.header.unwrap_or_default();
                let id = layout.id_index();
                self.end(layout.sheet, (first, Some(first + 1)), id).await?
            }
        };
        let ending = &mut self.memory.ending;
        ending.careful = match self.config.order {
            Order::OldestFirst => !end.is_plain(layout, &HashSet::new()),
            Order::NewestFirst => !end.tables.is_empty(),
        };
        Ok(end)
    }

    /// The requests that write new rows to their place.
    pub(super) async fn place(
        &mut self,
        layout: &Layout,
        number: u64,
        rows: &[&Transaction],
        order: Order,
    ) -> Result<(Vec<u8>, ExpectedRows, u64), Error> {
        self.look_for_risked(layout).await?;
        let end = match order {
            Order::NewestFirst => self.look_at_place(layout).await?,
            Order::OldestFirst if self.config.order == order => self.look_at_place(layout).await?,
            // Rows that return go below, whatever the order.
            Order::OldestFirst => self.look_at_end(layout).await?,
        };
        let count = rows.len() as u32;
        let mut out = Vec::new();
        let ids: Vec<String> = rows.iter().map(|row| row.row.id.clone()).collect();
        let mut fresh = NewRows { ids, order, first: end.first, by_position: true, ..NewRows::default() };
        let spot = match order {
            Order::OldestFirst => {
                let astray = if self.memory.ending.unsure { end.behind_a_gap(layout) } else { HashSet::new() };
                if !astray.is_empty() {
                    // The misplaced rows and the new ones go to their place together, and in their order.
                    self.mark_misplaced(end.ids(&astray));
                    self.mark_misplaced(fresh.ids.clone());
                }
                fresh.before = end.before(layout);
                let spot = end.below(layout, count, &HashSet::new());
                spot.write(&mut out, layout, rows);
                spot
            }
            Order::NewestFirst => {
                let spot = end.on_top(layout, count);
                let turned: Vec<&Transaction> = rows.iter().rev().copied().collect();
                spot.write(&mut out, layout, &turned);
                spot
            }
        };
        let ending = &mut self.memory.ending;
        (ending.unsure, ending.risked_by, ending.risked_at) = (false, number, (spot.at, count));
        ending.risked.clone_from(&fresh.before);
        (fresh.at, fresh.skipped) = (spot.at, spot.skipped);
        fresh.grid = end.grid + spot.added + spot.inserted.map_or(0, |(_, count)| count);
        let tail = u64::from(spot.at + count);
        Ok((out, ExpectedRows { fresh: Some(fresh), ..ExpectedRows::default() }, tail))
    }

    /// Rows that have to be moved to their place, before the end of the cycle.
    pub(super) fn mark_misplaced(&mut self, ids: Vec<String>) {
        for id in ids {
            self.misplaced.rewrites.entry(id).or_default().relocate = true;
        }
    }

    /// Finds the rows that a batch has written over whose rows nobody has seen land. The owner may have deleted rows since
    /// then: those did not stand where the batch wrote.
    async fn look_for_risked(&mut self, layout: &Layout) -> Result<(), Error> {
        let risked = std::mem::take(&mut self.memory.ending.risked);
        let (_, _, ledger) = self.ready().await?;
        if risked.is_empty() || ledger.applied(self.memory.ending.risked_by).is_none() {
            return Ok(());
        }
        let column = self.id_column().await?;
        self.memory.ending.tail = Some(last_of_ours(&column).map_or(layout.top(), |last| last + 1).into());
        let (at, count) = self.memory.ending.risked_at;
        self.misplaced.gone.extend(written_over(&risked, at..at + count, &RowIds::column(column)));
        Ok(())
    }

    /// Moves rows that landed elsewhere to their place.
    pub(super) async fn put_in_place(&mut self, items: &[RowChange]) -> Result<(Work, ExpectedRows), Error> {
        let found = self.find().await?;
        let Some(layout) = found.complete(&self.config.rows.columns, &self.config.tab, &self.memory.gone) else {
            return Err(self.moved());
        };
        self.look_for_moves(&found);
        if self.known.layout.is_none() {
            return Err(self.moved());
        }
        let column = self.id_column().await?;
        let is_misplaced = |item: &&RowChange| item.op == RowOp::Rewrite && item.rewrite.relocate;
        let items: Vec<&RowChange> = items.iter().take_while(is_misplaced).collect();
        let rows = all_rows(&column, &items);
        let (mut verdicts, mut hash, mut moved) = (Vec::new(), Xxh3::new(), Vec::new());
        for item in &items {
            let id = &item.transaction.row.id;
            hash.update(b"place\0");
            hash.update(id.as_bytes());
            let is_there = rows.contains_key(id.as_str());
            // A row that is gone by now was deleted by the owner, which a read-back finds.
            verdicts.push(Verdict::Unchanged);
            moved.extend(is_there.then_some(&item.transaction));
        }
        let from: HashSet<u32> = rows.values().flatten().copied().collect();
        let mut work =
            Work { requests: Vec::new(), verdicts, hash: hash.digest(), touches: Vec::new(), restored: Vec::new() };
        let landing = self.move_rows(&layout, &column, &moved, from, &mut work.requests).await?;
        Ok((work, landing))
    }

    async fn move_rows(
        &mut self,
        layout: &Layout,
        column: &[Vec<Json>],
        moved: &[&Transaction],
        from: HashSet<u32>,
        out: &mut Vec<u8>,
    ) -> Result<ExpectedRows, Error> {
        let order = self.config.order;
        let text = |row: u32| column.get(row as usize).and_then(|cells| cells.first()).and_then(id_text);
        let others =
            |row: &u32| *row >= layout.top() && !from.contains(row) && text(*row).is_some_and(|id| is_ours(&id));
        let last = (0..column.len() as u32).rev().find(others);
        let least = from.iter().min().copied().unwrap_or_default();
        let first = last.unwrap_or(layout.top()).min(least).max(layout.header.unwrap_or_default().min(least));
        let first = if order == Order::NewestFirst { least.min(layout.header.unwrap_or_default()) } else { first };
        let end = self.end(layout.sheet, (first, None), layout.id_index()).await?;
        if from.iter().any(|row| end.id(*row) != text(*row).as_deref()) {
            return Err(self.moved());
        }
        let count = moved.len() as u32;
        let rows: Vec<&Transaction> = match order {
            Order::OldestFirst => moved.to_vec(),
            Order::NewestFirst => moved.iter().rev().copied().collect(),
        };
        let mut spot = match order {
            Order::OldestFirst => end.below(layout, count, &from),
            Order::NewestFirst => end.on_top(layout, count),
        };
        let ending = &mut self.memory.ending;
        ending.careful = !end.tables.is_empty() || (order == Order::OldestFirst && !end.is_plain(layout, &from));
        let ids: Vec<String> = moved.iter().map(|row| row.row.id.clone()).collect();
        let is_in_place = from.len() == rows.len()
            && (spot.at..).zip(&rows).all(|(row, wanted)| text(row).as_deref() == Some(wanted.row.id.as_str()));
        ending.tail = Some(u64::from(spot.at + count)).filter(|_| order == Order::OldestFirst);
        let ours = |row: &u32| *row >= layout.top() && text(*row).is_some_and(|id| is_ours(&id));
        let rows_end = (0..column.len() as u32).rev().find(|row| ours(row) && (is_in_place || !from.contains(row)));
        spot.table = end.table_around(layout, &spot, rows_end.map_or(0, |row| row + 1), count, is_in_place, order);
        if is_in_place {
            Spot { inserted: None, added: 0, ..spot.clone() }.make_room(out, layout);
            if out.is_empty() {
                return Ok(ExpectedRows::default());
            }
        } else {
            spot.write(out, layout, &rows);
            remove(out, layout, &end, &spot, (from, count));
        }
        let before = (0..column.len() as u32).filter_map(|row| Some((row, text(row)?)));
        let before = before.filter(|(_, id)| !ids.contains(id)).collect();
        let fresh =
            NewRows { ids, order, before, first: 0, moved: true, by_position: true, at: spot.at, ..NewRows::default() };
        Ok(ExpectedRows { fresh: Some(fresh), ..ExpectedRows::default() })
    }
}

/// The last row of ours in a column of ids.
fn last_of_ours(column: &[Vec<Json>]) -> Option<u32> {
    let ours = |cells: &Vec<Json>| cells.first().and_then(id_text).is_some_and(|id| is_ours(&id));
    column.iter().rposition(ours).map(|last| last as u32)
}

/// The rows with the ids of these items.
fn all_rows<'a>(column: &[Vec<Json>], items: &[&'a RowChange]) -> HashMap<&'a str, Vec<u32>> {
    let wanted: HashSet<&str> = items.iter().map(|item| item.transaction.row.id.as_str()).collect();
    let mut rows: HashMap<&str, Vec<u32>> = HashMap::new();
    for (row, cells) in (0..).zip(column) {
        if let Some(id) = cells.first().and_then(id_text)
            && let Some(id) = wanted.get(id.as_str())
        {
            rows.entry(id).or_default().push(row);
        }
    }
    rows
}

/// Removes rows of which so many were written anew elsewhere: whole where nothing but ours is in them.
fn remove(out: &mut Vec<u8>, layout: &Layout, end: &End, spot: &Spot, (from, count): (HashSet<u32>, u32)) {
    let shifted = |row: u32| match spot.inserted {
        Some((at, count)) if row >= at => row + count,
        _ => row,
    };
    let written = spot.at..spot.at + count;
    let mut deleted = std::collections::BTreeSet::new();
    for row in from {
        let now = shifted(row);
        if written.contains(&now) {
            // The place of this row is taken by another of the moved rows.
            continue;
        }
        if end.is_ours_alone(layout, row) {
            deleted.insert(now);
        } else {
            write_nothing(out, layout.sheet, &layout.places, now);
        }
    }
    delete_rows(out, layout.sheet, &deleted);
}
