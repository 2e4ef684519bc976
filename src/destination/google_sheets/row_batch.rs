//! A batch of new rows, cut from the front of the offered items, and the requests that append or insert them. Pure.

use xxhash_rust::xxh3::xxh3_64;

use super::cells::{self, MOST_BYTES, MOST_STYLED, OwnerFormats, Rows, push, push_number_format, runs};
use super::layout::Layout;
use super::request::ENVELOPE_BYTES;
use crate::destination::google_sheets::settings::Order;
use crate::destination::row_op::RowOp;
use crate::destination::{RowChange, Verdict};

/// New rows cut from the front of some items.
pub(super) struct RowBatch {
    rows: Rows,
    /// Number of items covered.
    pub taken: usize,
    /// A verdict per item covered.
    pub verdicts: Vec<Verdict>,
}

impl RowBatch {
    /// True where the cells of so many items carry their formats along. Rows on top get their formats by range.
    pub fn is_styled(order: Order, items: &[RowChange]) -> bool {
        let offered = items.iter().take_while(|item| item.op == RowOp::Insert).count();
        offered <= MOST_STYLED && order == Order::OldestFirst
    }

    /// Takes as many new items as a request holds.
    pub fn new(layout: &Layout, order: Order, items: &[RowChange], owner: &OwnerFormats) -> RowBatch {
        let offered = items.iter().take_while(|item| item.op == RowOp::Insert).count();
        let rows = Rows::new(layout, RowBatch::is_styled(order, items), owner);
        let mut batch = RowBatch { rows, taken: 0, verdicts: Vec::new() };
        for item in &items[..offered] {
            // Rows that are refused here get a batch of their own, which sends no request: after a lost answer only the fact
            // that a batch was applied is known, and must be true of each of its rows.
            let sends = batch.rows() > 0;
            let verdict = match cells::too_long(layout, &item.transaction) {
                Some(_) if sends => break,
                Some(why) => Verdict::Rejected(why),
                None if !sends && batch.taken > 0 => break,
                None if batch.rows.push(&item.transaction, MOST_BYTES - ENVELOPE_BYTES) => Verdict::Appended,
                None => break,
            };
            batch.verdicts.push(verdict);
            batch.taken += 1;
        }
        batch
    }

    /// Number of rows written.
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Hash of the content.
    pub fn hash(&self) -> u64 {
        xxh3_64(self.rows.bytes())
    }

    /// True where the rows get their formats by range, which takes the place where they land.
    pub fn is_formatted_by_range(&self, order: Order) -> bool {
        order == Order::OldestFirst && self.rows.fields() != cells::VALUE_AND_FORMAT
    }

    /// The requests that write these rows. From `first_blank` on there is no row of ours; not asked for where the cells
    /// carry their formats or come on top.
    pub fn requests(&self, layout: &Layout, order: Order, first_blank: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.bytes().len() + ENVELOPE_BYTES);
        match order {
            Order::OldestFirst => self.append(&mut out, layout, first_blank),
            Order::NewestFirst => self.insert(&mut out, layout),
        }
        out
    }

    fn append(&self, out: &mut Vec<u8>, layout: &Layout, first_blank: u64) {
        let (sheet, fields) = (layout.sheet, self.rows.fields());
        push(out, format_args!(r#"{{"appendCells":{{"sheetId":{sheet},"fields":"{fields}","rows":["#));
        self.rows.write(out, false);
        out.extend_from_slice(b"]}}");
        if !self.is_formatted_by_range(Order::OldestFirst) {
            return;
        }
        // Formats of blank rows are the owner's affair, and rows that are added carry none. The range is open below, so that
        // it holds the rows wherever they landed, and lies in the grid because the rows do.
        for (from, to, format) in layout.formats() {
            out.push(b',');
            push_number_format(out, sheet, &format!(r#""startRowIndex":{first_blank}"#), (from, to), format);
        }
    }

    fn insert(&self, out: &mut Vec<u8>, layout: &Layout) {
        let (sheet, top) = (layout.sheet, u64::from(layout.top()));
        let end = top + self.rows();
        push(
            out,
            format_args!(
                r#"{{"insertDimension":{{"range":{{"sheetId":{sheet},"dimension":"ROWS","startIndex":{top},"endIndex":{end}}},"inheritFromBefore":false}}}},"#
            ),
        );
        let rows = format!(r#""startRowIndex":{top},"endRowIndex":{end}"#);
        for (from, to, format) in layout.formats() {
            push_number_format(out, sheet, &rows, (from, to), format);
            out.push(b',');
        }
        // The row below, whose look new rows take over, may be struck through.
        for (from, to) in runs(layout.places.iter().map(|place| place.index)) {
            push(
                out,
                format_args!(
                    r#"{{"repeatCell":{{"range":{{"sheetId":{sheet},{rows},"startColumnIndex":{from},"endColumnIndex":{to}}},"cell":{{"userEnteredFormat":{{"textFormat":{{"strikethrough":false}}}}}},"fields":"userEnteredFormat.textFormat.strikethrough"}}}},"#
                ),
            );
        }
        push(
            out,
            format_args!(
                r#"{{"updateCells":{{"start":{{"sheetId":{sheet},"rowIndex":{top},"columnIndex":0}},"fields":"{}","rows":["#,
                self.rows.fields()
            ),
        );
        self.rows.write(out, true);
        out.extend_from_slice(b"]}}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::destination::google_sheets::cells::tests::{layout, transaction};
    use crate::destination::google_sheets::ledger::{Guards, Ledger};
    use crate::destination::google_sheets::request::{GuardedRequest, ResponseDetail};
    use crate::model::Field;

    fn items(count: u32) -> Vec<RowChange> {
        let item = |n: u32| RowChange::new(n.into(), RowOp::Insert, transaction(n), None);
        (1..=count).map(item).collect()
    }

    fn request(batch: &RowBatch, layout: &Layout, order: Order, removed: &[u64]) -> GuardedRequest {
        let guards = Guards::new("1AbC", "home");
        let ledger = Ledger::default().next(42, batch.hash(), batch.rows(), 0, removed);
        GuardedRequest {
            rows: batch.requests(layout, order, 4).into(),
            response: ResponseDetail::Size,
            ..GuardedRequest::new(&guards, 42, layout.sheet, 5, &ledger, removed)
        }
    }

    fn body(batch: &RowBatch, layout: &Layout, order: Order, removed: &[u64]) -> (GuardedRequest, Value) {
        let request = request(batch, layout, order, removed);
        let json = serde_json::from_slice(&request.encode()).unwrap();
        (request, json)
    }

    fn kinds(body: &Value) -> Vec<String> {
        let requests = body["requests"].as_array().unwrap().iter();
        requests.map(|request| request.as_object().unwrap().keys().next().unwrap().clone()).collect()
    }

    #[test]
    fn a_small_batch_is_guard_rows_ledger() {
        let layout = layout(&[(Field::Date, 0), (Field::Id, 1)]);
        let cut = RowBatch::new(&layout, Order::OldestFirst, &items(3), &OwnerFormats::default());
        let (request, body) = body(&cut, &layout, Order::OldestFirst, &[7, 8]);
        assert_eq!(
            kinds(&body),
            ["addNamedRange", "appendCells", "updateDeveloperMetadata", "deleteNamedRange", "deleteNamedRange"]
        );
        assert_eq!(body["includeSpreadsheetInResponse"], true);
        let guard = &body["requests"][0]["addNamedRange"]["namedRange"];
        assert_eq!(guard["name"], Guards::new("1AbC", "home").name(42).as_str());
        assert_eq!(
            guard["range"],
            json!({"sheetId": 7, "startRowIndex": 0, "endRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 1})
        );
        let append = &body["requests"][1]["appendCells"];
        assert_eq!((append["rows"].as_array().unwrap().len(), &append["fields"]), (3, &json!(cells::VALUE_AND_FORMAT)));
        let update = &body["requests"][2]["updateDeveloperMetadata"];
        assert_eq!(update["dataFilters"], json!([{"developerMetadataLookup": {"metadataId": 5}}]));
        let ledger: Ledger =
            serde_json::from_str(update["developerMetadata"]["metadataValue"].as_str().unwrap()).unwrap();
        assert_eq!((ledger.seq, ledger.rows, ledger.applied(42)), (42, 3, Some(cut.hash())));
        let shorter = GuardedRequest { removals: Vec::new(), ..request }.encode();
        let shorter: Value = serde_json::from_slice(&shorter).unwrap();
        assert_eq!(kinds(&shorter), ["addNamedRange", "appendCells", "updateDeveloperMetadata"]);
    }

    #[test]
    fn a_large_batch_formats_the_rows_it_writes() {
        let layout = layout(&[(Field::Date, 0), (Field::Debit, 1), (Field::Balance, 2), (Field::Id, 3)]);
        let cut = RowBatch::new(&layout, Order::OldestFirst, &items(600), &OwnerFormats::default());
        assert!(cut.is_formatted_by_range(Order::OldestFirst));
        let (_, body) = body(&cut, &layout, Order::OldestFirst, &[]);
        assert_eq!(
            kinds(&body),
            ["addNamedRange", "appendCells", "repeatCell", "repeatCell", "updateDeveloperMetadata"]
        );
        assert_eq!(
            body["requests"][3]["repeatCell"]["range"],
            json!({"sheetId": 7, "startRowIndex": 4, "startColumnIndex": 1, "endColumnIndex": 3})
        );
        assert_eq!(body["requests"][1]["appendCells"]["fields"], cells::NEW_VALUE);
    }

    #[test]
    fn the_format_of_the_owners_columns_is_left_alone() {
        let layout = layout(&[(Field::Date, 0), (Field::Id, 2)]);
        let mine = OwnerFormats([(1, r#"{"type":"PERCENT"}"#.to_owned())].into());
        let cut = RowBatch::new(&layout, Order::OldestFirst, &items(3), &mine);
        assert!(!cut.is_formatted_by_range(Order::OldestFirst));
        let (_, body) = body(&cut, &layout, Order::OldestFirst, &[]);
        assert_eq!(body["requests"][1]["appendCells"]["fields"], cells::VALUE_AND_FORMAT);
        let cell = &body["requests"][1]["appendCells"]["rows"][0]["values"][1];
        assert_eq!(*cell, json!({"userEnteredFormat": {"numberFormat": {"type": "PERCENT"}}}));
    }

    #[test]
    fn newest_first_goes_under_the_header_turned_round() {
        let layout = layout(&[(Field::Date, 0), (Field::Id, 1)]);
        let cut = RowBatch::new(&layout, Order::NewestFirst, &items(2), &OwnerFormats::default());
        let (_, body) = body(&cut, &layout, Order::NewestFirst, &[]);
        assert_eq!(
            kinds(&body),
            ["addNamedRange", "insertDimension", "repeatCell", "repeatCell", "updateCells", "updateDeveloperMetadata"]
        );
        assert_eq!(
            body["requests"][1]["insertDimension"]["range"],
            json!({"sheetId": 7, "dimension": "ROWS", "startIndex": 1, "endIndex": 3})
        );
        let top = &body["requests"][4]["updateCells"]["rows"][0]["values"][1]["userEnteredValue"]["stringValue"];
        assert_eq!(*top, json!(transaction(2).row.id));
    }

    #[test]
    fn a_row_no_cell_holds_is_refused_in_a_batch_of_its_own() {
        let layout = layout(&[(Field::Description, 0), (Field::Id, 1)]);
        let mut items = items(3);
        items[1].transaction.row.description = "x".repeat(50_001);
        let cut = |items| RowBatch::new(&layout, Order::OldestFirst, items, &OwnerFormats::default());
        let (before, refused, after) = (cut(&items), cut(&items[1..]), cut(&items[2..]));
        assert_eq!((before.taken, before.rows()), (1, 1));
        assert_eq!((refused.taken, refused.rows()), (1, 0));
        assert!(matches!(&refused.verdicts[..], [Verdict::Rejected(_)]));
        assert_eq!((after.taken, after.rows()), (1, 1));
    }

    #[test]
    fn a_hundred_thousand_rows_fit_few_requests() {
        let fields: Vec<(Field, u32)> = Field::default_columns().into_iter().zip(0..).collect();
        let (layout, mut items) = (layout(&fields), items(5_000));
        for item in &mut items {
            // About as long as a card payment's texts are.
            item.transaction.row.counterparty = "КАУФЛАНД БЪЛГАРИЯ ЕООД СОФИЯ".into();
            item.transaction.row.description = "Плащане с карта 1234 на ПОС терминал 28.02.2026".into();
            item.transaction.row.kind = "Плащане на ПОС терминал".into();
            item.transaction.row.value_date = Some(item.transaction.row.date);
            item.transaction.row.reference = "FT26059XK1P0".into();
        }
        let cut = RowBatch::new(&layout, Order::OldestFirst, &items, &OwnerFormats::default());
        let bytes = request(&cut, &layout, Order::OldestFirst, &[]).encode();
        assert!(bytes.len() < MOST_BYTES, "{}", bytes.len());
        assert!(100_000_usize.div_ceil(cut.taken) <= 39, "{} rows a batch", cut.taken);
    }

    #[test]
    fn a_change_ends_the_run_of_new_rows() {
        let layout = layout(&[(Field::Id, 0)]);
        let mut items = items(3);
        items[2].op = RowOp::Update { cells: true, mark: None };
        assert_eq!(RowBatch::new(&layout, Order::OldestFirst, &items, &OwnerFormats::default()).taken, 2);
    }
}
