//! Misplaced rows, written once more: those that a write by position hit in place of others, and those that the write
//! missed.
//!
//! Rows are found by their ids, in a batch that is compared with its own answer like any other. A row without an id that
//! was written to is emptied again where it holds what was written, and nothing else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value as Json;
use xxhash_rust::xxh3::Xxh3;

use super::GoogleSheets;
use super::answer::RowIds;
use super::cells::{self, delete_rows, strike, write_cells, write_nothing};
use super::changes::{Work, rows_by_id};
use super::expected_rows::{ExpectedRows, Litter, RowWrite};
use super::layout::{Layout, Place};
use crate::destination::policy::Vanished;
use crate::destination::readback::{Cell, agrees, id_text};
use crate::destination::row_op::RowOp;
use crate::destination::{RowChange, Verdict};
use crate::model::Field;
use crate::remote::Error;

/// Time for which the position of a row without an id is believed.
const PLACES_GOOD: Duration = Duration::from_secs(60);

impl GoogleSheets {
    /// The requests that write rows once more that were hit in place of others, or missed.
    pub(super) async fn straighten(
        &mut self,
        layout: &Layout,
        items: &[RowChange],
    ) -> Result<(Work, ExpectedRows), Error> {
        if items.first().is_some_and(|item| item.rewrite.relocate) {
            return self.put_in_place(items).await;
        }
        let litter = std::mem::take(&mut self.litter);
        let litter: Vec<Litter> = litter.into_iter().filter(|litter| litter.at.elapsed() < PLACES_GOOD).collect();
        let fields: HashSet<Field> =
            litter.iter().flat_map(|litter| litter.cells.iter().map(|(field, _)| field.clone())).collect();
        let (column, beside) = self.columns_of(layout, fields).await?;
        let (mut out, mut touches, mut deleted) = (Vec::new(), Vec::new(), BTreeSet::new());
        for Litter { row, cells, at } in litter.clone() {
            let Some(row) = find_litter(row, &cells, &litter, &column, &beside) else { continue };
            let is_ours = |place: &&Place| cells.iter().any(|(field, _)| *field == place.field);
            let places: Vec<Place> = layout.places.iter().filter(is_ours).cloned().collect();
            write_nothing(&mut out, layout.sheet, &places, row);
            strike(&mut out, layout, false, row);
            let emptied = places.into_iter().map(|place| (place.field, Cell::Empty)).collect();
            touches.push(RowWrite { row, id: String::new(), cells: emptied, struck: true, deleted: false });
            self.litter.push(Litter { row, cells, at });
            // Rows without an id cannot be told apart, so the neighbours show if this is the right one.
            let id = |row: u32| column.get(row as usize).and_then(|cells| cells.first()).and_then(id_text);
            let above = (1..row).rev().find_map(|row| Some((row, id(row)?)));
            let witness = |(row, id)| RowWrite { row, id, cells: Vec::new(), struck: false, deleted: false };
            let below = (row + 1..column.len() as u32).find_map(|row| Some((row, id(row)?)));
            touches.extend(above.into_iter().chain(below).map(witness));
        }
        let rows = rows_by_id(&column);
        let (mut verdicts, mut hash) = (Vec::new(), Xxh3::new());
        for item in items.iter().take_while(|item| item.op == RowOp::Rewrite && !item.rewrite.relocate) {
            if out.len() > cells::MOST_BYTES * 9 / 10 {
                break;
            }
            let (id, transaction) = (&item.transaction.row.id, &item.transaction);
            let rewrite = &item.rewrite;
            let places = layout.places.iter().filter(|place| rewrite.fields.contains(place.field.key().as_ref()));
            let places: Vec<Place> = places.cloned().collect();
            note(&mut hash, item, &places);
            let Some(row) = rows.get(id.as_str()).copied() else {
                let is_gone = rewrite.delete && self.config.rows.vanished == Vanished::Delete;
                verdicts.push(if is_gone { Verdict::Unchanged } else { Verdict::Deleted });
                continue;
            };
            verdicts.push(Verdict::Unchanged);
            let mut touch = RowWrite::cells(row, transaction, &places);
            if rewrite.delete && transaction.vanished && self.config.rows.vanished == Vanished::Delete {
                deleted.insert(row);
                touch.deleted = true;
            } else {
                write_cells(&mut out, layout.sheet, transaction, &places, row);
                if rewrite.mark {
                    strike(&mut out, layout, transaction.vanished && self.config.rows.vanished == Vanished::Mark, row);
                    touch.struck = true;
                }
            }
            touches.push(touch);
        }
        delete_rows(&mut out, layout.sheet, &deleted);
        let before = if deleted.is_empty() { Vec::new() } else { RowIds::column(column).ids };
        let landing = ExpectedRows { touches, before, again: true, ..ExpectedRows::default() };
        Ok((Work { requests: out, verdicts, hash: hash.digest(), touches: Vec::new(), restored: Vec::new() }, landing))
    }

    /// The id column, and those of these fields, all of one instant.
    async fn columns_of(
        &mut self,
        layout: &Layout,
        fields: HashSet<Field>,
    ) -> Result<(Vec<Vec<Json>>, HashMap<Field, Vec<Vec<Json>>>), Error> {
        if fields.is_empty() {
            return Ok((self.id_column().await?, HashMap::new()));
        }
        let found = self.find().await?;
        let mut entries = HashMap::new();
        for field in fields.into_iter().chain([Field::Id]) {
            let bound = found.column(layout.sheet, &field);
            entries.extend(bound.map(|bound| (field.clone(), bound.entry)));
        }
        let wanted: Vec<i32> = entries.values().copied().collect();
        let mut columns = self.client().await?.columns_by_entry(&wanted, "UNFORMATTED_VALUE").await?;
        let mut beside: HashMap<Field, Vec<Vec<Json>>> =
            entries.into_iter().filter_map(|(field, entry)| Some((field, columns.remove(&entry)?))).collect();
        match beside.remove(&Field::Id) {
            Some(ids) => Ok((ids, beside)),
            None => Err(self.moved()),
        }
    }
}

/// The row without an id that holds what was written there by mistake: where it was, or, where that row has been moved
/// since, the only one that does.
fn find_litter(
    row: u32,
    written: &[(Field, Cell)],
    all: &[Litter],
    ids: &[Vec<Json>],
    beside: &HashMap<Field, Vec<Vec<Json>>>,
) -> Option<u32> {
    let value = |column: &[Vec<Json>], row: u32| column.get(row as usize).and_then(|cells| cells.first().cloned());
    let holds = |row: u32| {
        // The row may have been hit more than once.
        let holds = |(field, _): &(Field, Cell)| {
            let found = beside.get(field).and_then(|column| value(column, row)).unwrap_or_default();
            let found = Cell::from_json(&found);
            all.iter().flat_map(|one| &one.cells).any(|(of, written)| of == field && agrees(field, written, &found))
        };
        value(ids, row).and_then(|id| id_text(&id)).is_none() && written.iter().all(holds)
    };
    if holds(row) {
        return Some(row);
    }
    if written.iter().all(|(_, cell)| *cell == Cell::Empty) {
        return None;
    }
    let longest = beside.values().map(Vec::len).max().unwrap_or_default() as u32;
    let is_empty = |row: u32| {
        let found = written.iter().filter_map(|(field, _)| value(beside.get(field)?, row));
        found.map(|found| Cell::from_json(&found)).all(|cell| cell == Cell::Empty)
    };
    let mut found = (1..longest).filter(|row| holds(*row) && !is_empty(*row));
    found.next().filter(|_| found.next().is_none())
}

/// Hashes the content to write, without the position of the row.
fn note(hash: &mut Xxh3, item: &RowChange, places: &[Place]) {
    hash.update(b"astray\0");
    hash.update(item.transaction.row.id.as_bytes());
    let mut cells =
        vec![u8::from(item.rewrite.mark), u8::from(item.rewrite.delete), u8::from(item.transaction.vanished)];
    for place in places {
        cells::write_cell(&mut cells, &place.field, &place.field.value(&item.transaction), false);
    }
    hash.update(&cells);
}
