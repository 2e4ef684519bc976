//! Carries a plan out in the fewest requests: one upsert for new rows; for corrections, ticks and deletions one listing
//! that finds the rows still there, then one write of each kind.
//!
//! Airtable takes a batch whole or not at all. A batch refused because of a row is halved until the row stands alone;
//! the others land, and that one is set aside with the service's own words.

use std::collections::HashMap;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::destination::Verdict;
use crate::remote::{Cause, Error};

use super::Airtable;
use super::cells::{Cells, raw};
use super::client::{Outgoing, formula};
use super::errors::{Reaction, Refusal};
use super::fill::Filling;
use super::layout::{Bound, Layout};
use super::plan::{PlannedRow, RecordOp};

/// Number of rows refused alone because of a cell, with none accepted, after which the field is to blame.
const UNFIT: u32 = 3;

/// A row on its way, with its place among the steps.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub at: usize,
    pub id: String,
    pub record: Option<String>,
    pub cells: Cells,
}

/// The kinds of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteKind {
    /// By transaction id.
    Upsert,
    /// By record id.
    Update,
    /// By record id.
    Delete,
}

/// Verdicts by place among the steps; `None` where the layout turned out to have changed.
pub(super) type PlacedVerdicts = Option<Vec<(usize, Verdict)>>;

impl Airtable {
    /// Carries `steps` out. `None`: the layout has changed, and they have to be planned anew.
    pub(super) async fn carry_out(&mut self, steps: &[PlannedRow]) -> Result<Option<Vec<Verdict>>, Error> {
        let layout = self.make_ready().await?;
        let tick = self.tick_for(steps).await?;
        let mut verdicts: Vec<Verdict> = steps.iter().map(without_request).collect();
        let mut upserts = Vec::new();
        let mut lookups = Vec::new();
        let mut fills = Vec::new();
        let (mut put_backs, mut mends) = (Vec::new(), Vec::new());
        for (at, step) in steps.iter().enumerate() {
            match &step.op {
                RecordOp::Nothing | RecordOp::Refuse(_) => {}
                RecordOp::Upsert { cells, tick: ticked } => {
                    upserts.push(row(
                        at,
                        step,
                        None,
                        ticked_cells(cells, *ticked, &tick).unwrap_or_else(|_| cells.clone()),
                    ));
                }
                RecordOp::Amend { cells, tick: ticked } => match ticked_cells(cells, *ticked, &tick) {
                    Ok(cells) => lookups.push((WriteKind::Update, row(at, step, None, cells))),
                    Err(why) => verdicts[at] = Verdict::Rejected(format!("it cannot be ticked as vanished: {why}")),
                },
                RecordOp::Fill { empty, over } => {
                    fills.push(Filling { row: row(at, step, None, over.clone()), empty: empty.clone() });
                }
                RecordOp::PutBack { cells, tick: ticked } => {
                    let cells = ticked_cells(cells, *ticked, &tick).unwrap_or_else(|_| cells.clone());
                    put_backs.push(row(at, step, None, cells));
                }
                RecordOp::Mend { cells } => mends.push(row(at, step, None, cells.clone())),
                RecordOp::Remove => lookups.push((WriteKind::Delete, row(at, step, None, Cells::new()))),
            }
        }
        let Some(upserted) = self.write_rows(&layout, WriteKind::Upsert, upserts).await? else { return Ok(None) };
        let Some(found) = self.write_found(&layout, lookups).await? else { return Ok(None) };
        let Some(filled) = self.fill(&layout, fills).await? else { return Ok(None) };
        let Some(back) = self.put_back(&layout, put_backs).await? else { return Ok(None) };
        let Some(mended) = self.mend(&layout, mends).await? else { return Ok(None) };
        for (at, verdict) in upserted.into_iter().chain(found).chain(back).chain(mended).chain(filled) {
            verdicts[at] = verdict;
        }
        Ok(Some(verdicts))
    }

    /// The tick field, if a step needs it.
    async fn tick_for(&mut self, steps: &[PlannedRow]) -> Result<Result<Bound, String>, Error> {
        let needed = steps.iter().any(|step| {
            matches!(
                &step.op,
                RecordOp::Upsert { tick: Some(_), .. }
                    | RecordOp::PutBack { tick: Some(_), .. }
                    | RecordOp::Amend { tick: Some(_), .. }
            )
        });
        if needed { self.tick_field().await } else { Ok(Err("no row has to be ticked".into())) }
    }

    /// Looks rows up by id and writes over, or deletes, those still there.
    async fn write_found(&mut self, layout: &Layout, lookups: Vec<(WriteKind, Row)>) -> Result<PlacedVerdicts, Error> {
        if lookups.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let ids: Vec<String> = lookups.iter().map(|(_, row)| row.id.clone()).collect();
        let Some(found) = self.find(layout, &ids).await? else { return Ok(None) };
        // Formulas go by name. Before a row counts as deleted for good, be sure that the name is still the id column's.
        if ids.iter().any(|id| !found.contains_key(id)) && self.refresh().await? {
            return Ok(None);
        }
        let mut verdicts = Vec::new();
        let (mut updates, mut deletions, mut doubled) = (Vec::new(), Vec::new(), Vec::new());
        for (way, row) in lookups {
            let records = found.get(&row.id).map(Vec::as_slice).unwrap_or_default();
            match (way, records) {
                // Gone as it should be: our own deletion, its answer lost, looks the same.
                (WriteKind::Delete, []) => verdicts.push((row.at, Verdict::Unchanged)),
                (_, []) => verdicts.push((row.at, Verdict::Deleted)),
                (WriteKind::Delete, all) => {
                    deletions.extend(all.iter().map(|record| Row { record: Some(record.clone()), ..row.clone() }))
                }
                (_, [first, more @ ..]) => {
                    if !more.is_empty() {
                        doubled.push((row.at, Verdict::Rejected(doubles(records))));
                    }
                    updates.push(Row { record: Some(first.clone()), ..row });
                }
            }
        }
        for (way, rows) in [(WriteKind::Update, updates), (WriteKind::Delete, deletions)] {
            let Some(written) = self.write_rows(layout, way, rows).await? else { return Ok(None) };
            verdicts.extend(written);
        }
        // Last, so that they stand: the row has been written, and the owner must still be told.
        verdicts.extend(doubled);
        Ok(Some(verdicts))
    }

    /// Records by transaction id, the oldest first. `None`: the layout has changed.
    pub(super) async fn find(
        &mut self,
        layout: &Layout,
        ids: &[String],
    ) -> Result<Option<HashMap<String, Vec<String>>>, Error> {
        let Some(column) = layout.id_column() else {
            return Err(Error::malformed(format!("{}: no column shows the id", self.service())));
        };
        let formula = formula(&column.name, ids.iter().map(String::as_str));
        let mut records = match self.client.find(&layout.table, &formula, &[&column.id]).await {
            Ok(records) => records,
            Err(refusal) if refusal.reaction == Reaction::Stale && self.refresh().await? => return Ok(None),
            Err(refusal) => return Err(refusal.error),
        };
        records.sort_by(|one, other| (&one.created, &one.id).cmp(&(&other.created, &other.id)));
        let mut found: HashMap<String, Vec<String>> = HashMap::new();
        for record in records {
            // Compared here once more: whether formulas heed case is not written anywhere.
            let id = record.fields.get(&column.id).and_then(|value| value.as_str()).map(str::to_owned);
            if let Some(id) = id.filter(|id| ids.contains(id)) {
                found.entry(id).or_default().push(record.id);
            }
        }
        Ok(Some(found))
    }

    /// Writes `rows`, halving refused batches until the row to blame stands alone. If the first rows are refused alone
    /// because of a cell and none is accepted, the field is to blame and not the rows, and all rows wait for it.
    pub(super) async fn write_rows(
        &mut self,
        layout: &Layout,
        way: WriteKind,
        rows: Vec<Row>,
    ) -> Result<PlacedVerdicts, Error> {
        let mut verdicts = Vec::new();
        let mut waiting: Vec<Vec<Row>> = rows.chunks(super::BATCH_LIMIT).rev().map(<[Row]>::to_vec).collect();
        let (mut taken, mut unfit) = (false, 0);
        while let Some(group) = waiting.pop() {
            let refusal = match self.send(layout, way, &group).await {
                Ok(written) => {
                    taken = true;
                    verdicts.extend(written);
                    continue;
                }
                Err(refusal) => self.explain(layout, &group, refusal),
            };
            match refusal.reaction {
                Reaction::Final => return Err(refusal.error),
                Reaction::Stale => return if self.refresh().await? { Ok(None) } else { Err(refusal.error) },
                Reaction::Value | Reaction::Choice if self.refresh().await? => return Ok(None),
                Reaction::Doubled if way == WriteKind::Upsert => {
                    let Some(rest) = self.sort_doubles(layout, group, &refusal, &mut verdicts).await? else {
                        return Ok(None);
                    };
                    waiting.extend(rest);
                }
                _ if group.len() > 1 => {
                    let mut first = group;
                    let second = first.split_off(first.len() / 2);
                    waiting.extend([second, first]);
                }
                reaction => {
                    unfit += u32::from(matches!(reaction, Reaction::Value | Reaction::Choice));
                    if unfit == UNFIT && !taken {
                        return Err(refusal.error);
                    }
                    verdicts.extend(group.iter().map(|row| (row.at, alone(way, &refusal))));
                }
            }
        }
        Ok(Some(verdicts))
    }

    /// A refused choice with the field it was for and the ways out: the service names neither.
    fn explain(&self, layout: &Layout, rows: &[Row], refusal: Refusal) -> Refusal {
        if refusal.reaction != Reaction::Choice {
            return refusal;
        }
        let choice = refused_choice(&refusal.said);
        let shows = |bound: &&Bound| {
            let cells = rows.iter().filter_map(|row| row.cells.get(&bound.id));
            bound.shape.needs_typecast() && cells.into_iter().any(|cell| choice.is_none_or(|it| offers(cell, it)))
        };
        let fields: Vec<String> =
            layout.columns.iter().filter(shows).map(|bound| format!("`{}`", bound.name)).collect();
        let (field, choice) = (fields.join(" or "), choice.unwrap_or("what a row says"));
        let said = format!(
            "field {field} has no choice `{choice}` and the token may not make one: add it to the field, give the token's user the role creator, or make the field single line text (airtable says: {})",
            refusal.said
        );
        let (service, table) = (self.service(), &self.client.wording.table);
        let error = Error::attention(Cause::Layout, format!("{service}: table `{table}`: {said}"));
        Refusal { said, error, ..refusal }
    }

    async fn send(&mut self, layout: &Layout, way: WriteKind, rows: &[Row]) -> Result<Vec<(usize, Verdict)>, Refusal> {
        let typecast = layout
            .columns
            .iter()
            .any(|bound| bound.shape.needs_typecast() && rows.iter().any(|row| row.cells.contains_key(&bound.id)));
        let outgoing: Vec<Outgoing> =
            rows.iter().map(|row| Outgoing { id: row.record.clone(), fields: row.cells.clone() }).collect();
        let updated = || rows.iter().map(|row| (row.at, Verdict::Updated)).collect();
        match way {
            WriteKind::Upsert => {
                let key = layout.id_column().map(|bound| bound.id.as_str()).unwrap_or_default();
                let answer = self.client.upsert(&layout.table, key, &outgoing, typecast).await?;
                self.records = self.records.map(|known| known + answer.created.len() as u64);
                let verdict = |id: &String| {
                    if answer.created.contains(id) { Verdict::Appended } else { Verdict::Updated }
                };
                Ok(rows.iter().zip(&answer.records).map(|(row, record)| (row.at, verdict(&record.id))).collect())
            }
            WriteKind::Update => self.client.update(&layout.table, &outgoing, typecast).await.map(|()| updated()),
            WriteKind::Delete => {
                let records: Vec<String> = rows.iter().filter_map(|row| row.record.clone()).collect();
                self.client.delete(&layout.table, &records).await?;
                self.records = self.records.map(|known| known.saturating_sub(records.len() as u64));
                Ok(updated())
            }
        }
    }

    /// Handles "cannot update more than one record": finds the ids the base holds more than once, writes the bank's
    /// cells over the oldest of their rows, and tells the owner. The other rows go back to be sent.
    async fn sort_doubles(
        &mut self,
        layout: &Layout,
        group: Vec<Row>,
        refusal: &Refusal,
        verdicts: &mut Vec<(usize, Verdict)>,
    ) -> Result<Option<Vec<Vec<Row>>>, Error> {
        let ids: Vec<String> = group.iter().map(|row| row.id.clone()).collect();
        let Some(found) = self.find(layout, &ids).await? else { return Ok(None) };
        let (doubled, rest): (Vec<Row>, Vec<Row>) =
            group.into_iter().partition(|row| found.get(&row.id).is_some_and(|records| records.len() > 1));
        if doubled.is_empty() {
            // The base sees doubles that an exact comparison does not: one by one then.
            return match &rest[..] {
                [row] => {
                    verdicts.push((row.at, Verdict::Rejected(refusal.said.clone())));
                    Ok(Some(Vec::new()))
                }
                _ => Ok(Some(rest.into_iter().map(|row| vec![row]).collect())),
            };
        }
        for row in doubled {
            let records = &found[&row.id];
            let target = Row { record: records.first().cloned(), cells: bank_cells(layout, &row.cells), ..row };
            let verdict = match self.send(layout, WriteKind::Update, std::slice::from_ref(&target)).await {
                Ok(_) => Verdict::Rejected(doubles(records)),
                Err(refusal) if refusal.reaction == Reaction::Final => return Err(refusal.error),
                Err(refusal) => Verdict::Rejected(format!("{}; {}", doubles(records), refusal.said)),
            };
            verdicts.push((target.at, verdict));
        }
        Ok(Some(if rest.is_empty() { Vec::new() } else { vec![rest] }))
    }
}

/// The verdict of a step that needs no request, or a place-holder for one that does.
fn without_request(step: &PlannedRow) -> Verdict {
    match &step.op {
        RecordOp::Refuse(why) => Verdict::Rejected(why.clone()),
        _ => Verdict::Unchanged,
    }
}

fn row(at: usize, step: &PlannedRow, record: Option<String>, cells: Cells) -> Row {
    Row { at, id: step.id.clone(), record, cells }
}

/// The cells with the tick, where one is wanted.
fn ticked_cells(cells: &Cells, ticked: Option<bool>, field: &Result<Bound, String>) -> Result<Cells, String> {
    let mut cells = cells.clone();
    if let Some(ticked) = ticked {
        let field = field.as_ref().map_err(String::clone)?;
        cells.extend(raw(&ticked).map(|cell| (field.id.clone(), cell)));
    }
    Ok(cells)
}

/// Only what the bank owns: the row has been there, so the rest belongs to the owner by now.
fn bank_cells(layout: &Layout, cells: &Cells) -> Cells {
    let owned = |id: &String| {
        let key = layout.columns.iter().find(|bound| &bound.id == id).map(|bound| bound.key.as_str());
        let field: Option<crate::model::Field> = key.and_then(|key| key.parse().ok());
        field.is_some_and(|field| field != crate::model::Field::Id && !field.belongs_to_owner())
    };
    cells.iter().filter(|(id, _)| owned(id)).map(|(id, cell)| (id.clone(), cell.clone())).collect()
}

/// The choice that the service's words put between quotation marks, single or doubled.
fn refused_choice(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once('"')?;
    let (choice, _) = rest.rsplit_once('"')?;
    let bare = choice.strip_prefix('"').and_then(|choice| choice.strip_suffix('"')).unwrap_or(choice);
    Some(bare).filter(|choice| !choice.is_empty())
}

/// True if a cell asks for this choice.
fn offers(cell: &RawValue, choice: &str) -> bool {
    match serde_json::from_str(cell.get()) {
        Ok(Json::String(text)) => text.trim() == choice.trim(),
        Ok(Json::Array(all)) => all.iter().any(|one| one.as_str().is_some_and(|text| text.trim() == choice.trim())),
        _ => false,
    }
}

/// The verdict on a row that is refused alone.
fn alone(way: WriteKind, refusal: &Refusal) -> Verdict {
    match (refusal.reaction, way) {
        // Deleted between listing and write.
        (Reaction::Gone, WriteKind::Update) => Verdict::Deleted,
        (Reaction::Gone, WriteKind::Delete) => Verdict::Unchanged,
        (Reaction::TooLarge, _) => Verdict::Rejected("the row alone is too large for a request".into()),
        _ => Verdict::Rejected(refusal.said.clone()),
    }
}

fn doubles(records: &[String]) -> String {
    format!("the base holds this transaction {} times: {}: delete all but one", records.len(), records.join(", "))
}
