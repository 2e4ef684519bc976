//! Finding rows by their transaction ids, and the decision on each planned row by what was found.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use super::Nocodb;
use super::cells::{self, Cells, is_bank_owned};
use super::client::Record;
use super::errors::Reaction;
use super::filter::filters;
use super::layout::{Bound, Layout};
use super::plan::{PlannedRow, RecordOp};
use crate::destination::Verdict;
use crate::destination::readback::{agrees, id_text};
use crate::model::Field;
use crate::remote::Error;
use crate::source::aliases;

/// Records by transaction id, the oldest first.
pub(super) type Found = HashMap<String, Vec<Record>>;

/// The requests that planned rows come to, each with the row's place among the steps.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub inserts: Vec<(usize, Cells)>,
    /// Cells by record.
    pub updates: Vec<(usize, Json, Cells)>,
    pub deletions: Vec<(usize, Json)>,
    /// Verdicts by place: those that hold once the requests were carried out.
    pub verdicts: BTreeMap<usize, Verdict>,
}

impl Nocodb {
    /// Looks for these ids and, where asked for, their older forms. `None`: the layout has changed.
    pub(super) async fn look(&mut self, layout: &Layout, ids: &[String]) -> Result<Option<Found>, Error> {
        let mut found = Found::new();
        let Some(id) = layout.id_column() else {
            return Err(Error::malformed(format!("{}: no column shows the id", self.service())));
        };
        let fields: Vec<&str> = layout.fields().map(Bound::listed_as).collect();
        for filter in filters(&id.id, ids.iter().map(String::as_str)) {
            let records = match self.client.find(&layout.table, &filter, &fields).await {
                Ok(records) => records,
                Err(refusal) if refusal.reaction == Reaction::Stale && self.refresh().await? => return Ok(None),
                Err(refusal) => return Err(refusal.error),
            };
            // Cells come under the titles of their fields. Before any is judged, the titles must be today's.
            if !records.is_empty() && !self.fresh && self.refresh().await? {
                return Ok(None);
            }
            if !records.iter().all(|record| record.fields.contains_key(&id.title)) {
                return Err(self.shows_no_id());
            }
            for record in records {
                // A pattern finds more than was asked for, and one database compares without case.
                let of = record.fields.get(&id.title).and_then(id_text).filter(|of| ids.contains(of));
                if let Some(of) = of {
                    found.entry(of).or_default().push(record);
                }
            }
        }
        for records in found.values_mut() {
            records.sort_by_key(Record::place);
            records.dedup_by_key(|record| record.place());
        }
        Ok(Some(found))
    }

    /// A record whose id is not shown would count as none: the row would be written twice.
    pub(super) fn shows_no_id(&self) -> Error {
        let service = self.service();
        Error::malformed(format!(
            "{service}: the answer to a search does not show the field with the ids: update NocoDB"
        ))
    }

    /// Decides each step by what was found.
    pub(super) fn decide(&self, layout: &Layout, steps: &[PlannedRow], mut found: Found) -> Work {
        let mut work = Work::default();
        for (at, step) in steps.iter().enumerate().filter(|(_, step)| !step.op.is_idle()) {
            let records = found.remove(&step.id).unwrap_or_default();
            let records = match (&step.op, records.is_empty()) {
                (RecordOp::Mend { .. }, true) => take_alias(&mut found, &step.id).into_iter().collect(),
                _ => records,
            };
            let verdict = self.decide_one(layout, at, step, &records, &mut work);
            work.verdicts.insert(at, verdict);
        }
        work
    }

    fn decide_one(
        &self,
        layout: &Layout,
        at: usize,
        step: &PlannedRow,
        records: &[Record],
        work: &mut Work,
    ) -> Verdict {
        let ticked = |cells: &Cells| ticked(cells, step.op.tick(), layout);
        let first = match (&step.op, records.first()) {
            (RecordOp::Insert { cells, .. } | RecordOp::PutBack { cells, .. }, None) => {
                work.inserts.push((at, ticked(cells)));
                return Verdict::Appended;
            }
            // Gone as it should be: our own deletion, its answer lost, looks the same.
            (RecordOp::Remove, None) => return Verdict::Unchanged,
            (_, None) => return Verdict::Deleted,
            (RecordOp::Remove, Some(_)) => {
                work.deletions.extend(records.iter().map(|record| (at, record.id.clone())));
                return Verdict::Updated;
            }
            (_, Some(first)) => first,
        };
        let cells = match &step.op {
            RecordOp::Insert { bank, .. } => differing(layout, &ticked(bank), first),
            RecordOp::Amend { cells, .. } => ticked(cells),
            RecordOp::Fill { empty, over } => filled(layout, empty, over, first),
            RecordOp::Mend { cells } => mended(layout, cells, &step.id, first),
            RecordOp::PutBack { .. } | RecordOp::Nothing | RecordOp::Refuse(_) | RecordOp::Remove => Cells::new(),
        };
        let verdict = match &step.op {
            // A former try of the batch has written it.
            RecordOp::Insert { .. } | RecordOp::PutBack { .. } if self.doubt.is_ours(&step.id) => Verdict::Appended,
            _ if cells.is_empty() => Verdict::Unchanged,
            _ => Verdict::Updated,
        };
        if !cells.is_empty() {
            work.updates.push((at, first.id.clone(), cells));
        }
        let surplus = &records[1..];
        if surplus.is_empty() {
            return verdict;
        }
        // Rows of an insertion that came twice are ours to delete; a copy of the owner's is the owner's.
        if matches!(step.op, RecordOp::Mend { .. }) || self.doubt.is_lost(&step.id) {
            work.deletions.extend(surplus.iter().map(|record| (at, record.id.clone())));
            return verdict;
        }
        Verdict::Rejected(doubles(records))
    }
}

/// The ids that a step's row may be found under.
pub(super) fn names(step: &PlannedRow) -> Vec<String> {
    let older = if matches!(step.op, RecordOp::Mend { .. }) { aliases(&step.id) } else { Vec::new() };
    std::iter::once(step.id.clone()).chain(older).collect()
}

/// The oldest record under an older form of this id. A record serves once: two accounts might claim the same bare
/// number.
fn take_alias(found: &mut Found, id: &str) -> Option<Record> {
    let alias = aliases(id).into_iter().find(|alias| found.get(alias).is_some_and(|records| !records.is_empty()))?;
    found.get_mut(&alias).map(|records| records.remove(0))
}

/// The cells with the tick, where one is wanted and has a field.
fn ticked(cells: &Cells, tick: Option<bool>, layout: &Layout) -> Cells {
    let mut cells = cells.clone();
    if let (Some(tick), Some(field)) = (tick, &layout.vanished) {
        cells.insert(field.id.clone(), tick.into());
    }
    cells
}

/// The cells whose values the record does not show.
fn differing(layout: &Layout, cells: &Cells, record: &Record) -> Cells {
    let differs = |id: &String, cell: &Json| {
        let Some(bound) = layout.fields().find(|bound| &bound.id == id) else { return true };
        let (expected, found) =
            (cells::shown(bound.shape, cell), cells::found(bound.shape, record.fields.get(&bound.title)));
        match bound.key.parse::<Field>() {
            Ok(field) => !agrees(&field, &expected, &found),
            Err(_) => expected != found,
        }
    };
    cells.iter().filter(|(id, cell)| differs(id, cell)).map(|(id, cell)| (id.clone(), cell.clone())).collect()
}

/// The differing cells, and the id where the record bears an older form of it.
fn mended(layout: &Layout, cells: &Cells, id: &str, record: &Record) -> Cells {
    let mut cells = differing(layout, cells, record);
    if let Some(column) = layout.id_column()
        && record.fields.get(&column.title).and_then(id_text).as_deref() != Some(id)
    {
        cells.insert(column.id.clone(), id.into());
    }
    cells
}

/// The cells of the owner's columns that are to be written to the record.
fn filled(layout: &Layout, empty: &Cells, over: &Cells, record: &Record) -> Cells {
    let cell =
        |id: &String| layout.fields().find(|bound| &bound.id == id).and_then(|bound| record.fields.get(&bound.title));
    let empty = empty.iter().filter(|(id, _)| is_empty(cell(id)));
    empty.chain(over).map(|(id, cell)| (id.clone(), cell.clone())).collect()
}

fn is_empty(cell: Option<&Json>) -> bool {
    match cell {
        None | Some(Json::Null) => true,
        Some(Json::String(text)) => text.is_empty(),
        Some(Json::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

/// True for a column whose cells can be compared with the bank's.
pub(super) fn is_compared(field: &Field, bound: &Bound) -> bool {
    is_bank_owned(field) && !bound.gone
}

fn doubles(records: &[Record]) -> String {
    let places: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
    format!(
        "the table holds this transaction {} times, as records {}: delete all but one",
        records.len(),
        places.join(", ")
    )
}
