//! The effect of the owner's changed rules on existing rows: one listing that shows which cells of the owner's columns
//! are still empty, then one write of those. A row without such a cell gets no request.
//!
//! A repetition after a lost answer finds the cells filled and leaves them.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::destination::Verdict;
use crate::remote::Error;

use super::Airtable;
use super::cells::Cells;
use super::client::{Record, formula};
use super::errors::Reaction;
use super::layout::Layout;
use super::write::{PlacedVerdicts, Row, WriteKind};

/// A row whose cells are written, with those that are only where nothing is.
pub(super) struct Filling {
    pub row: Row,
    pub empty: Cells,
}

impl Airtable {
    /// Fills rows that are there.
    pub(super) async fn fill(&mut self, layout: &Layout, fillings: Vec<Filling>) -> Result<PlacedVerdicts, Error> {
        if fillings.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(found) = self.find_for(layout, &fillings).await? else { return Ok(None) };
        // Formulas go by name. Before a row counts as deleted for good, be sure that the name is still the id column's.
        if fillings.iter().any(|filling| !found.contains_key(&filling.row.id)) && self.refresh().await? {
            return Ok(None);
        }
        let (mut verdicts, mut updates) = (Vec::new(), Vec::new());
        for Filling { mut row, empty } in fillings {
            let Some(record) = found.get(&row.id) else {
                verdicts.push((row.at, Verdict::Deleted));
                continue;
            };
            row.cells.extend(empty.into_iter().filter(|(field, _)| is_empty(record.fields.get(field))));
            if row.cells.is_empty() {
                verdicts.push((row.at, Verdict::Unchanged));
            } else {
                updates.push(Row { record: Some(record.id.clone()), ..row });
            }
        }
        let Some(written) = self.write_rows(layout, WriteKind::Update, updates).await? else { return Ok(None) };
        verdicts.extend(written);
        Ok(Some(verdicts))
    }

    /// The oldest record of each id, with the cells in question. `None`: the layout has changed.
    async fn find_for(
        &mut self,
        layout: &Layout,
        fillings: &[Filling],
    ) -> Result<Option<HashMap<String, Record>>, Error> {
        let Some(column) = layout.id_column() else {
            return Err(Error::malformed(format!("{}: no column shows the id", self.service())));
        };
        let mut fields: Vec<&str> =
            fillings.iter().flat_map(|filling| filling.empty.keys()).map(String::as_str).collect();
        fields.push(&column.id);
        fields.sort_unstable();
        fields.dedup();
        let formula = formula(&column.name, fillings.iter().map(|filling| filling.row.id.as_str()));
        let mut records = match self.client.find(&layout.table, &formula, &fields).await {
            Ok(records) => records,
            Err(refusal) if refusal.reaction == Reaction::Stale && self.refresh().await? => return Ok(None),
            Err(refusal) => return Err(refusal.error),
        };
        records.sort_by(|one, other| (&one.created, &one.id).cmp(&(&other.created, &other.id)));
        let mut found = HashMap::new();
        for record in records {
            if let Some(id) = record.fields.get(&column.id).and_then(Json::as_str).map(str::to_owned) {
                found.entry(id).or_insert(record);
            }
        }
        Ok(Some(found))
    }
}

/// Empty cells are left out of answers; should one be sent all the same, it looks like this.
fn is_empty(cell: Option<&Json>) -> bool {
    match cell {
        None | Some(Json::Null) => true,
        Some(Json::String(text)) => text.is_empty(),
        Some(Json::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}
