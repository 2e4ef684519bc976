//! Setting rows right that a read-back found wrong: the bank's cells that differ are written again, an older id becomes
//! the present one, and of several rows with one id only the topmost stays.
//!
//! Everything rests on a read made for this batch alone: positions and differences of a moment ago, never remembered
//! ones. Writes come first, then surplus rows go from the bottom up, all in one guarded batch.

use std::collections::{BTreeSet, HashMap, HashSet};

use xxhash_rust::xxh3::Xxh3;

use super::GoogleSheets;
use super::cells::{MOST_BYTES, delete_rows, too_long, write_cell, write_cells};
use super::changes::Work;
use super::expected_rows::{ExpectedRows, RowWrite};
use super::layout::{Layout, Place};
use crate::destination::readback::{Cell, Shown};
use crate::destination::row_op::RowOp;
use crate::destination::{RowChange, Verdict};
use crate::model::{Field, Transaction};
use crate::remote::Error;
use crate::source::aliases;

/// Rows by what their id cell holds, if anything: position and cells, topmost first.
type Rows = HashMap<String, Vec<(u32, Vec<Cell>)>>;

impl GoogleSheets {
    /// The requests that set the rows of these items right, from a fresh look.
    pub(super) async fn mend(&mut self, items: &[RowChange]) -> Result<(Work, ExpectedRows), Error> {
        let Some(columns) = self.columns().await? else {
            return Err(Error::unavailable(self.names.say("the tab was removed while it was in use")));
        };
        let wanted = items.iter().take_while(|item| item.op == RowOp::Repair).map(|item| &item.transaction.row.id);
        let wanted: HashSet<String> = wanted.flat_map(|id| aliases(id).into_iter().chain([id.clone()])).collect();
        let values = self.column_values(&columns).await?;
        let (mut rows, mut before) = (Rows::new(), Vec::new());
        self.each_row(&columns, &values, |row, id, cells| {
            before.resize(before.len().max(row as usize + 1), None);
            before[row as usize] = Some(id.clone());
            if id.is_empty() || wanted.contains(&id) {
                rows.entry(id).or_default().push((row, cells()));
            }
        })?;
        let mut work = work(&columns.layout, &columns.shown(), items, rows);
        let touches = std::mem::take(&mut work.touches);
        if !touches.iter().any(|touch| touch.deleted) {
            before.clear();
        }
        Ok((work, ExpectedRows { touches, before, ..ExpectedRows::default() }))
    }
}

/// Pure: from the rows found to the requests.
fn work(layout: &Layout, shown: &Shown, items: &[RowChange], mut rows: Rows) -> Work {
    let (mut out, mut verdicts, mut surplus, mut hash) = (Vec::new(), Vec::new(), BTreeSet::new(), Xxh3::new());
    let mut touches = Vec::new();
    for item in items.iter().take_while(|item| item.op == RowOp::Repair) {
        if out.len() > MOST_BYTES * 9 / 10 {
            break;
        }
        note(&mut hash, layout, item);
        let id = &item.transaction.row.id;
        if let Some(why) = too_long(layout, &item.transaction) {
            verdicts.push(Verdict::Rejected(why));
            continue;
        }
        let (found, is_old) = match rows.remove(id) {
            Some(found) => (found, false),
            None => {
                let found = take_alias(&mut rows, id).or_else(|| take_nameless(&mut rows, shown, &item.transaction));
                (found.into_iter().collect(), true)
            }
        };
        let Some((row, cells)) = found.first() else {
            verdicts.push(Verdict::Deleted);
            continue;
        };
        let wrong: Vec<&Field> =
            shown.differences(&item.transaction, cells).into_iter().map(|at| &shown.fields[at]).collect();
        let places = layout.places.iter();
        let places: Vec<Place> = places
            .filter(|place| wrong.contains(&&place.field) || (is_old && place.field == Field::Id))
            .cloned()
            .collect();
        write_cells(&mut out, layout.sheet, &item.transaction, &places, *row);
        if !places.is_empty() {
            touches.push(RowWrite::cells(*row, &item.transaction, &places));
        }
        for (row, _) in &found[1..] {
            surplus.insert(*row);
            touches.push(RowWrite { deleted: true, ..RowWrite::cells(*row, &item.transaction, &[]) });
        }
        let idle = places.is_empty() && found.len() == 1;
        verdicts.push(if idle { Verdict::Unchanged } else { Verdict::Updated });
    }
    delete_rows(&mut out, layout.sheet, &surplus);
    Work { requests: out, verdicts, hash: hash.digest(), touches, restored: Vec::new() }
}

/// The topmost row under an older form of this id. A row serves once: two accounts might claim the same bare number.
fn take_alias(rows: &mut Rows, id: &str) -> Option<(u32, Vec<Cell>)> {
    let alias = aliases(id).into_iter().find(|alias| rows.get(alias).is_some_and(|found| !found.is_empty()))?;
    rows.get_mut(&alias).map(|found| found.remove(0))
}

/// The topmost row that has lost its id and is otherwise just as this one should be. A row serves once.
fn take_nameless(rows: &mut Rows, shown: &Shown, transaction: &Transaction) -> Option<(u32, Vec<Cell>)> {
    let nameless = rows.get_mut("")?;
    let at = nameless.iter().position(|(_, cells)| shown.differences(transaction, cells).is_empty())?;
    Some(nameless.remove(at))
}

/// Adds the item's request to the batch's hash, apart from its row's place and contents.
fn note(hash: &mut Xxh3, layout: &Layout, item: &RowChange) {
    hash.update(b"mend\0");
    hash.update(item.transaction.row.id.as_bytes());
    let mut cells = Vec::new();
    for place in &layout.places {
        write_cell(&mut cells, &place.field, &place.field.value(&item.transaction), false);
    }
    hash.update(&cells);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::destination::google_sheets::cells;
    use crate::destination::google_sheets::cells::tests::{layout, transaction};
    use crate::model::Transaction;

    fn item(n: u32) -> RowChange {
        RowChange::new(0, RowOp::Repair, transaction(n), None)
    }

    fn sheet() -> Layout {
        layout(&[(Field::Date, 0), (Field::Description, 1), (Field::Amount, 2), (Field::Id, 4)])
    }

    fn shown() -> Shown {
        let fields = vec![Field::Date, Field::Description, Field::Amount];
        let of = fields.clone();
        Shown::new(fields, Box::new(move |at, transaction| cells::cell(&of[at].value(transaction))))
    }

    fn good(transaction: &Transaction) -> Vec<Cell> {
        let shown = shown();
        (0..3).map(|at| shown.expected(at, transaction)).collect()
    }

    fn requests(work: &Work) -> Vec<Value> {
        serde_json::from_str(&format!("[{}]", String::from_utf8(work.requests.clone()).unwrap())).unwrap()
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let rows = Rows::from([(transaction(1).row.id, vec![(3, good(&transaction(1)))])]);
        let work = work(&sheet(), &shown(), &[item(1)], rows);
        assert_eq!((work.verdicts, work.requests.len()), (vec![Verdict::Unchanged], 0));
    }

    #[test]
    fn only_wrong_cells_are_written_and_surplus_rows_go_from_the_bottom_up() {
        let (one, two) = (transaction(1), transaction(2));
        let mut edited = good(&one);
        edited[2] = Cell::Number(-99.0);
        let copies = |transaction: &Transaction, rows: &[u32]| {
            rows.iter().map(|row| (*row, good(transaction))).collect::<Vec<_>>()
        };
        let rows = Rows::from([
            (one.row.id.clone(), vec![(2, edited), (7, good(&one)), (9, good(&one))]),
            (two.row.id.clone(), copies(&two, &[5, 8])),
        ]);
        let work = work(&sheet(), &shown(), &[item(1), item(2), item(3)], rows);
        assert_eq!(work.verdicts, [Verdict::Updated, Verdict::Updated, Verdict::Deleted]);
        let requests = requests(&work);
        assert_eq!(requests.len(), 2);
        assert_eq!(
            requests[0]["updateCells"]["start"],
            json!({"sheetId": 7, "rowIndex": 2, "columnIndex": 2}),
            "the topmost row stays and gets its amount back"
        );
        assert_eq!(
            requests[0]["updateCells"]["rows"][0]["values"],
            json!([{"userEnteredValue": {"numberValue": -12.3}}])
        );
        let range = &requests[1]["deleteDimension"]["range"];
        assert_eq!((&range["startIndex"], &range["endIndex"]), (&json!(7), &json!(10)));
    }

    #[test]
    fn a_row_under_an_older_id_gets_the_present_one_and_serves_once() {
        let mut other = item(1);
        other.transaction.row.id = "fibank:BG05FINV91501000000002:1".into();
        let rows = Rows::from([("1".to_owned(), vec![(4, good(&transaction(1)))])]);
        let work = work(&sheet(), &shown(), &[item(1), other], rows);
        assert_eq!(work.verdicts, [Verdict::Updated, Verdict::Deleted]);
        let requests = requests(&work);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0]["updateCells"]["start"]["columnIndex"], 4);
    }

    #[test]
    fn the_hash_heeds_what_is_wanted_not_what_was_found() {
        let rows = Rows::from([(transaction(1).row.id, vec![(3, good(&transaction(1)))])]);
        let hash = work(&sheet(), &shown(), &[item(1)], rows).hash;
        assert_eq!(hash, work(&sheet(), &shown(), &[item(1)], Rows::new()).hash);
        let mut other = item(1);
        other.transaction.row.description = "друго".into();
        assert_ne!(hash, work(&sheet(), &shown(), &[other], Rows::new()).hash);
    }
}
