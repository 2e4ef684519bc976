//! Rows that a write by position hit in place of others, or missed: they are found here and handed to the engine, which
//! offers them to be written once more ([`RowOp::Rewrite`]), in a batch that is compared like any other.
//!
//! [`RowOp::Rewrite`]: crate::destination::row_op::RowOp::Rewrite

use std::time::Instant;

use super::GoogleSheets;
use super::answer::{PLACEMENT_FIELDS, RowIds, STRUCK_FIELDS, read_placement, read_struck_texts};
use super::expected_rows::{ExpectedRows, Litter, Mismatches, NewRows};
use crate::destination::google_sheets::settings::Order;
use crate::model::Field;
use crate::remote::Error;

impl GoogleSheets {
    /// Finds the landing of a batch that writes by position: from its answer, or, without one, by another look.
    pub(super) async fn look_where_it_landed(&mut self, number: u64, hash: u64, landed: Option<RowIds>) {
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
            (None, _) => self.id_column().await.map(RowIds::column),
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
    async fn see(&mut self, fresh: &NewRows) -> Result<RowIds, Error> {
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
    fn judge(&mut self, fresh: &NewRows, landed: &RowIds) {
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
    fn compare(&mut self, landing: &ExpectedRows, landed: &RowIds) {
        let strays = landing.compare(landed);
        if strays == Mismatches::default() {
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
