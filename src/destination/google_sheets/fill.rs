//! The effect of the owner's changed rules on existing rows: empty cells of the owner's columns are filled. A cell with
//! any content is left alone, a word of the owner's or a formula that shows an empty text alike; it is written over
//! only if the rules have replaced their earlier value, which the owner was asked about.
//!
//! The decisions rest on a look made for this batch alone. Rows are found by their ids, as always.

use std::collections::HashMap;

use serde_json::Value as Json;
use xxhash_rust::xxh3::Xxh3;

use super::GoogleSheets;
use super::cells::{MOST_BYTES, write_cell, write_cells};
use super::changes::{Work, rows_by_id};
use super::expected_rows::RowWrite;
use super::layout::{Layout, Place};
use crate::destination::row_op::RowOp;
use crate::destination::{RowChange, Verdict};
use crate::model::{Field, Value};
use crate::remote::Error;
use crate::rules::SET_BY_RULES;

/// A column from its first row.
type Column = Vec<Vec<Json>>;

/// Columns of the owner's, as formulas and as what they show: a formula that shows nothing is found in the one, a value
/// that an array formula elsewhere has spilled into the cell perhaps only in the other.
#[derive(Default)]
struct Seen(HashMap<Field, [Column; 2]>);

impl Seen {
    fn is_empty(&self, field: &Field, row: u32) -> bool {
        let blank = |column: &Column| match column.get(row as usize).and_then(|cells| cells.first()) {
            None | Some(Json::Null) => true,
            Some(Json::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        // A column that was not read is none whose cells are known to be empty.
        self.0.get(field).is_some_and(|columns| columns.iter().all(blank))
    }
}

impl GoogleSheets {
    /// The requests that bring to these rows what rules have come to say, from a fresh look.
    pub(super) async fn enrich(&mut self, layout: &Layout, items: &[RowChange]) -> Result<Work, Error> {
        let count = items.iter().take_while(|item| item.op == RowOp::Fill).count();
        let items = &items[..count];
        let shown: Vec<&Place> = layout.places.iter().filter(|place| SET_BY_RULES.contains(&place.field)).collect();
        if !items.iter().any(|item| shown.iter().any(|place| differs(item, &place.field))) {
            return Ok(work(layout, items, &HashMap::new(), &Seen::default()));
        }
        let found = self.find().await?;
        let mut entries = HashMap::new();
        for place in layout.places.iter().filter(|place| place.field == Field::Id || shown.contains(place)) {
            match found.column(layout.sheet, &place.field) {
                Some(bound) if bound.index == place.index => entries.insert(place.field.clone(), bound.entry),
                _ => return Err(self.moved()),
            };
        }
        let wanted: Vec<i32> = entries.values().copied().collect();
        let transport = self.client().await?;
        let mut shown = transport.columns_by_entry(&wanted, "UNFORMATTED_VALUE").await?;
        let mut typed = transport.columns_by_entry(&wanted, "FORMULA").await?;
        let mut seen = HashMap::new();
        for (field, entry) in &entries {
            match (shown.remove(entry), typed.remove(entry)) {
                (Some(shown), Some(typed)) => seen.insert(field.clone(), [shown, typed]),
                _ => return Err(self.moved()),
            };
        }
        let [ids, again] = seen.remove(&Field::Id).unwrap_or_default();
        if ids != again {
            return Err(self.moved());
        }
        Ok(work(layout, items, &rows_by_id(&ids), &Seen(seen)))
    }

    /// The owner is moving things at this very moment: another look, a little later.
    pub(super) fn moved(&mut self) -> Error {
        self.known.forget_layout();
        Error::unavailable(self.names.say("rows or columns were moved while they were looked at"))
    }
}

/// True if the rules give this field a value now, and another one than before.
fn differs(item: &RowChange, field: &Field) -> bool {
    let now = field.value(&item.transaction);
    now != Value::Empty && item.previous.as_ref().is_some_and(|previous| field.value(previous) != now)
}

/// True if the field was empty before.
fn was_empty(item: &RowChange, field: &Field) -> bool {
    item.previous.as_ref().is_none_or(|previous| field.value(previous) == Value::Empty)
}

/// Pure: from what was seen to the requests.
fn work(layout: &Layout, items: &[RowChange], rows: &HashMap<&str, u32>, seen: &Seen) -> Work {
    let (mut out, mut verdicts, mut hash, mut touches) = (Vec::new(), Vec::new(), Xxh3::new(), Vec::new());
    for item in items {
        if out.len() > MOST_BYTES * 9 / 10 {
            break;
        }
        let ours = |place: &&Place| SET_BY_RULES.contains(&place.field) && differs(item, &place.field);
        let asked: Vec<Place> = layout.places.iter().filter(ours).cloned().collect();
        note(&mut hash, item, &asked);
        verdicts.push(match rows.get(item.transaction.row.id.as_str()) {
            _ if asked.is_empty() => Verdict::Unchanged,
            None => Verdict::Deleted,
            Some(row) => {
                let open = |place: &Place| !was_empty(item, &place.field) || seen.is_empty(&place.field, *row);
                let open: Vec<Place> = asked.into_iter().filter(open).collect();
                write_cells(&mut out, layout.sheet, &item.transaction, &open, *row);
                if open.is_empty() {
                    Verdict::Unchanged
                } else {
                    touches.push(RowWrite::cells(*row, &item.transaction, &open));
                    Verdict::Updated
                }
            }
        });
    }
    Work { requests: out, verdicts, hash: hash.digest(), touches, restored: Vec::new() }
}

/// Adds the item's request to the batch's hash, apart from its row's place and contents.
fn note(hash: &mut Xxh3, item: &RowChange, asked: &[Place]) {
    hash.update(b"enrich\0");
    hash.update(item.transaction.row.id.as_bytes());
    let mut cells = Vec::new();
    for place in asked {
        cells.push(u8::from(was_empty(item, &place.field)));
        write_cell(&mut cells, &place.field, &place.field.value(&item.transaction), false);
    }
    hash.update(&cells);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::google_sheets::cells::tests::{layout, transaction};

    fn item(n: u32, before: &str, now: &str) -> RowChange {
        let (mut transaction, mut previous) = (transaction(n), transaction(n));
        previous.enrichment.category = before.into();
        transaction.enrichment.category = now.into();
        transaction.enrichment.note = "бележка".into();
        RowChange::new(9, RowOp::Fill, transaction, Some(previous))
    }

    fn sheet() -> Layout {
        layout(&[(Field::Date, 0), (Field::Category, 1), (Field::Note, 2), (Field::Id, 5)])
    }

    fn rows() -> Vec<Vec<Json>> {
        let id = |n| vec![json!(transaction(n).row.id)];
        vec![vec![json!("Transaction ID")], id(3), id(1), id(2)]
    }

    fn seen(category: [&str; 4], note: [&str; 4]) -> Seen {
        let column = |cells: [&str; 4]| cells.iter().map(|cell| vec![json!(cell)]).collect::<Column>();
        let both = |cells| [column(cells), column(cells)];
        Seen([(Field::Category, both(category)), (Field::Note, both(note))].into())
    }

    fn written(work: &Work) -> Vec<Json> {
        serde_json::from_str(&format!("[{}]", String::from_utf8(work.requests.clone()).unwrap())).unwrap()
    }

    #[test]
    fn only_empty_cells_are_filled_where_the_row_is_now() {
        let (column, layout) = (rows(), sheet());
        let seen = seen(["Category", "mine", "", ""], ["Note", "", "mine", ""]);
        let items = [item(1, "", "Food"), item(2, "", "Food"), item(3, "", "Food"), item(4, "", "Food")];
        let work = work(&layout, &items, &rows_by_id(&column), &seen);
        assert_eq!(work.verdicts, [Verdict::Updated, Verdict::Updated, Verdict::Updated, Verdict::Deleted]);
        let at = |request: &Json| {
            let start = &request["updateCells"]["start"];
            (start["rowIndex"].as_u64().unwrap(), start["columnIndex"].as_u64().unwrap())
        };
        let requests = written(&work);
        assert_eq!(requests.iter().map(at).collect::<Vec<_>>(), [(2, 1), (3, 1), (1, 2)]);
        assert_eq!(requests[1]["updateCells"]["rows"][0]["values"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_rules_have_replaced_is_written_over_and_the_rest_is_not() {
        let (column, layout) = (rows(), sheet());
        let seen = seen(["Category", "", "mine", ""], ["Note", "", "mine", ""]);
        let work = work(&layout, &[item(1, "Food", "Drink")], &rows_by_id(&column), &seen);
        let requests = written(&work);
        assert_eq!(requests.len(), 1);
        assert_eq!(
            requests[0]["updateCells"]["rows"][0]["values"],
            json!([{"userEnteredValue": {"stringValue": "Drink"}}])
        );
    }

    #[test]
    fn a_formula_that_shows_nothing_and_a_spilled_value_are_no_empty_cells() {
        let mut seen = seen(["", "", "", ""], ["", "", "", ""]);
        seen.0.get_mut(&Field::Category).unwrap()[1][1] = vec![json!("=IF(A2>0,\"\",1)")];
        seen.0.get_mut(&Field::Category).unwrap()[0][2] = vec![json!(7)];
        assert_eq!([1, 2, 3, 9].map(|row| seen.is_empty(&Field::Category, row)), [false, false, true, true]);
        assert!(!seen.is_empty(&Field::Vendor, 1), "it was not looked at");
    }

    #[test]
    fn the_hash_is_of_what_is_asked_not_of_what_is_found() {
        let (column, layout) = (rows(), sheet());
        let empty = seen([""; 4], [""; 4]);
        let full = seen(["x"; 4], ["x"; 4]);
        let hash = |item: RowChange, seen: &Seen| work(&layout, &[item], &rows_by_id(&column), seen).hash;
        assert_eq!(hash(item(1, "", "Food"), &empty), hash(item(1, "", "Food"), &full));
        assert_ne!(hash(item(1, "", "Food"), &empty), hash(item(1, "", "Drink"), &empty));
        assert_ne!(hash(item(1, "", "Food"), &empty), hash(item(1, "Drink", "Food"), &empty));
        assert_eq!(work(&layout, &[item(1, "", "Food")], &rows_by_id(&column), &full).verdicts, [Verdict::Unchanged]);
    }
}
