//! Putting rows back and setting wrong ones right: one listing that finds the existing rows, then the least that is
//! needed.
//!
//! The two operations rest on a look made for this very request, so repeating them after a lost answer finds the work
//! done. Deleting surplus rows never touches the oldest one of an id.

use std::collections::HashMap;

use crate::destination::Verdict;
use crate::destination::readback::{Cell, agrees, id_text};
use crate::model::Field;
use crate::remote::Error;
use crate::source::aliases;

use super::Airtable;
use super::cells::{Cells, raw, read};
use super::client::{Record, formula};
use super::errors::Reaction;
use super::layout::Layout;
use super::write::{PlacedVerdicts, Row, WriteKind};

impl Airtable {
    /// Writes those of the rows that are not there.
    pub(super) async fn put_back(&mut self, layout: &Layout, rows: Vec<Row>) -> Result<PlacedVerdicts, Error> {
        if rows.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let Some(found) = self.find(layout, &ids).await? else { return Ok(None) };
        let (there, gone): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| found.contains_key(&row.id));
        let Some(mut verdicts) = self.write_rows(layout, WriteKind::Upsert, gone).await? else { return Ok(None) };
        verdicts.extend(there.iter().map(|row| (row.at, Verdict::Unchanged)));
        Ok(Some(verdicts))
    }

    /// Makes each row what it should be, and the only one of its id.
    pub(super) async fn mend(&mut self, layout: &Layout, rows: Vec<Row>) -> Result<PlacedVerdicts, Error> {
        if rows.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(mut found) = self.find_whole(layout, &rows).await? else { return Ok(None) };
        // Formulas go by name. Before a row counts as deleted for good, be sure that the name is still the id column's.
        let absent = |row: &Row| !names(&row.id).any(|name| found.contains_key(&name));
        if rows.iter().any(absent) && self.refresh().await? {
            return Ok(None);
        }
        let mut verdicts = Vec::new();
        let (mut updates, mut surplus) = (Vec::new(), Vec::new());
        for row in rows {
            let (records, is_old) = match found.remove(&row.id) {
                Some(records) => (records, false),
                None => (take_alias(&mut found, &row.id).into_iter().collect(), true),
            };
            let Some(first) = records.first() else {
                verdicts.push((row.at, Verdict::Deleted));
                continue;
            };
            let mut cells = differing(layout, &row.cells, first);
            if let Some(column) = layout.id_column().filter(|_| is_old) {
                cells.extend(raw(&row.id).map(|cell| (column.id.clone(), cell)));
            }
            verdicts.push((row.at, Verdict::Unchanged));
            surplus.extend(records[1..].iter().map(|record| Row { record: Some(record.id.clone()), ..row.clone() }));
            if !cells.is_empty() {
                updates.push(Row { record: Some(first.id.clone()), cells, ..row });
            }
        }
        // Surplus rows last: only where what stays has been written. Later verdicts on one row stand.
        for (way, rows) in [(WriteKind::Update, updates), (WriteKind::Delete, surplus)] {
            let Some(written) = self.write_rows(layout, way, rows).await? else { return Ok(None) };
            verdicts.extend(written);
        }
        Ok(Some(verdicts))
    }

    /// Records by what their id field holds, the oldest first, with the bank's cells. `None`: the layout has changed.
    async fn find_whole(
        &mut self,
        layout: &Layout,
        rows: &[Row],
    ) -> Result<Option<HashMap<String, Vec<Record>>>, Error> {
        let Some(column) = layout.id_column() else {
            return Err(Error::malformed(format!("{}: no column shows the id", self.service())));
        };
        let ids: Vec<String> = rows.iter().flat_map(|row| names(&row.id)).collect();
        let mut fields = vec![column.id.as_str()];
        fields.extend(
            layout
                .columns
                .iter()
                .filter(|bound| !bound.gone)
                .map(|bound| bound.id.as_str())
                .filter(|id| *id != column.id),
        );
        let formula = formula(&column.name, ids.iter().map(String::as_str));
        let mut records = match self.client.find(&layout.table, &formula, &fields).await {
            Ok(records) => records,
            Err(refusal) if refusal.reaction == Reaction::Stale && self.refresh().await? => return Ok(None),
            Err(refusal) => return Err(refusal.error),
        };
        records.sort_by(|one, other| (&one.created, &one.id).cmp(&(&other.created, &other.id)));
        let mut found: HashMap<String, Vec<Record>> = HashMap::new();
        for record in records {
            let id = record.fields.get(&column.id).and_then(id_text);
            // Compared here once more: whether formulas heed case is not written anywhere.
            if let Some(id) = id.filter(|id| ids.contains(id)) {
                found.entry(id).or_default().push(record);
            }
        }
        Ok(Some(found))
    }
}

/// The id and its older forms.
fn names(id: &str) -> impl Iterator<Item = String> {
    std::iter::once(id.to_owned()).chain(aliases(id))
}

/// The oldest record under an older form of this id. A record serves once: two accounts might claim the same bare
/// number.
fn take_alias(found: &mut HashMap<String, Vec<Record>>, id: &str) -> Option<Record> {
    let alias = aliases(id).into_iter().find(|alias| found.get(alias).is_some_and(|records| !records.is_empty()))?;
    found.get_mut(&alias).map(|records| records.remove(0))
}

/// The cells whose values the record does not show.
fn differing(layout: &Layout, cells: &Cells, record: &Record) -> Cells {
    let field = |id: &String| {
        let bound = layout.columns.iter().find(|bound| &bound.id == id)?;
        bound.key.parse::<Field>().ok()
    };
    let differs = |id: &String, expected: Cell| {
        let found = record.fields.get(id).map_or(Cell::Empty, Cell::from_json);
        field(id).is_none_or(|field| !agrees(&field, &expected, &found))
    };
    let differing = cells.iter().filter(|(id, cell)| differs(id, read(cell)));
    differing.map(|(id, cell)| (id.clone(), cell.clone())).collect()
}
