//! The guarded batch: guard first, the work in the middle, the ledger after it, old guards' removal last, in one
//! all-or-nothing request. This file writes its bytes and the requests of new rows; it is pure.

use std::io::Write;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::body::{self, MOST_BYTES, MOST_STYLED, OwnerFormats, Rows, write_string};
use super::layout::{Format, Layout};
use super::ledger::{Guards, Ledger};
use crate::destination::google_sheets::settings::Order;
use crate::destination::{Item, Verdict, What};

/// Room kept for everything but rows: guard, ledger, formats, removals.
const ENVELOPE: usize = 32 * 1024;

/// What a guarded batch needs to know of the spreadsheet.
pub(super) struct Envelope<'a> {
    pub guards: &'a Guards,
    pub layout: &'a Layout,
    pub ledger_entry: i32,
    pub number: u64,
    /// What the answer is to say.
    pub asks: Asks,
}

/// What the answer to a batch is to say beside that it was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// No more.
    Nothing,
    /// How large the spreadsheet is then. Asked for by the last batch only: it is read nowhere before.
    Size,
    /// Which ids stand in this column then, from this row on.
    Ids { column: u32, first: u32 },
    /// The same in these rows, with the tables of the tab and its size; and that of other tabs, by a cell of each.
    Landing { column: u32, rows: (u32, Option<u32>), others: Vec<String> },
}

impl Envelope<'_> {
    /// The whole body. `work` is any number of requests, joined by commas.
    pub fn wrap(&self, work: &[u8], ledger: &Ledger, removed: &[u64]) -> Vec<u8> {
        self.wrap_both(work, &[], ledger, removed).0
    }

    /// The same with requests that may be left out again, and where they stand in the body.
    pub fn wrap_both(&self, work: &[u8], beside: &[u8], ledger: &Ledger, removed: &[u64]) -> (Vec<u8>, Range<usize>) {
        let (name, sheet) = (self.guards.name(self.number), self.layout.sheet);
        let mut out = Vec::with_capacity(work.len() + ENVELOPE);
        // Names of guards are letters, digits and underscores: nothing to escape.
        // A range in an answer goes by a name, and the tab's may have changed: the guard names what is asked for. It is open
        // below, so that it lies in the grid however many rows there are left.
        let (asked, range) = match &self.asks {
            Asks::Nothing => (
                String::new(),
                r#""startRowIndex":0,"endRowIndex":1,"startColumnIndex":0,"endColumnIndex":1"#.to_owned(),
            ),
            Asks::Size => (
                format!("{ALONG},"),
                r#""startRowIndex":0,"endRowIndex":1,"startColumnIndex":0,"endColumnIndex":1"#.to_owned(),
            ),
            Asks::Ids { column, first } => (
                format!(r#"{ALONG},{IDS}"responseRanges":["{name}"],"#),
                format!(r#""startRowIndex":{first},"startColumnIndex":{column},"endColumnIndex":{}"#, column + 1),
            ),
            Asks::Landing { column, rows: (first, end), others } => {
                let end = end.map_or_else(String::new, |end| format!(r#""endRowIndex":{end},"#));
                let others = others.iter().map(|title| format!("'{}'!A1", title.replace('\'', "''")));
                let ranges = serde_json::json!(std::iter::once(name.clone()).chain(others).collect::<Vec<_>>());
                (
                    format!(r#"{ALONG},{RANGES}{ranges},"responseIncludeGridData":true,"#),
                    format!(
                        r#""startRowIndex":{first},{end}"startColumnIndex":{column},"endColumnIndex":{}"#,
                        column + 1
                    ),
                )
            }
        };
        let guard = format!(
            r#"{{{asked}"requests":[{{"addNamedRange":{{"namedRange":{{"namedRangeId":"{name}","name":"{name}","range":{{"sheetId":{sheet},{range}}}}}}}}}"#
        );
        out.extend_from_slice(guard.as_bytes());
        if !work.is_empty() {
            out.push(b',');
            out.extend_from_slice(work);
        }
        let start = out.len();
        if !beside.is_empty() {
            out.push(b',');
            out.extend_from_slice(beside);
        }
        let span = start..out.len();
        // Whether an update that matches no entry is an error is unknown. Where it is none and somebody removed the ledger
        // since it was read, the next opening makes it anew with the number that the guard tells.
        let entry = self.ledger_entry;
        push(
            &mut out,
            format_args!(
                r#",{{"updateDeveloperMetadata":{{"dataFilters":[{{"developerMetadataLookup":{{"metadataId":{entry}}}}}],"developerMetadata":{{"metadataValue":"#
            ),
        );
        write_string(&mut out, &ledger.to_json());
        out.extend_from_slice(br#"},"fields":"metadataValue"}}"#);
        for number in removed {
            let name = self.guards.name(*number);
            push(&mut out, format_args!(r#"{REMOVAL}{{"namedRangeId":"{name}"}}}}"#));
        }
        out.extend_from_slice(b"]}");
        (out, span)
    }
}

/// First in a body, so that what is cut from its end leaves it alone.
const ALONG: &str = r#""includeSpreadsheetInResponse":true"#;
/// Then, where cells are asked for.
const IDS: &str = r#""responseIncludeGridData":true,"#;

/// Whether a batch asks for ids.
pub(super) fn asks_for_ids(body: &[u8]) -> bool {
    let rest = body.strip_prefix(b"{").and_then(|rest| rest.strip_prefix(ALONG.as_bytes()));
    rest.and_then(|rest| rest.strip_prefix(b",")).is_some_and(|rest| rest.starts_with(IDS.as_bytes()))
}

/// Then, where it is asked where new rows landed.
const RANGES: &str = r#""responseRanges":"#;

/// Whether a batch asks where its new rows landed.
pub(super) fn asks_for_landing(body: &[u8]) -> bool {
    let rest = body.strip_prefix(b"{").and_then(|rest| rest.strip_prefix(ALONG.as_bytes()));
    rest.and_then(|rest| rest.strip_prefix(b",")).is_some_and(|rest| rest.starts_with(RANGES.as_bytes()))
}

/// The same batch whose guard names the first cell of the tab, should the range that it names be what was refused, and
/// that asks for nothing. By how many bytes it is shorter. `None`: it does not ask.
pub(super) fn with_plain_guard(body: &[u8]) -> Option<(Vec<u8>, usize)> {
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    let (plain, _) = unasking(body)?;
    let start = find(&plain, br#""startRowIndex":"#)?;
    let end = start + find(&plain[start..], b"}")?;
    let cell = br#""startRowIndex":0,"endRowIndex":1,"startColumnIndex":0,"endColumnIndex":1"#;
    let body_of = [&plain[..start], &cell[..], &plain[end..]].concat();
    let shorter = body.len().checked_sub(body_of.len())?;
    Some((body_of, shorter))
}

/// The same batch that asks for nothing, and by how many bytes it is shorter. `None`: it does not ask.
pub(super) fn unasking(body: &[u8]) -> Option<(Vec<u8>, usize)> {
    const REQUESTS: &[u8] = br#""requests":["#;
    let rest = body.strip_prefix(b"{").filter(|rest| rest.starts_with(ALONG.as_bytes()))?;
    let length = rest.windows(REQUESTS.len()).position(|window| window == REQUESTS)?;
    Some(([b"{", &rest[length..]].concat(), length))
}

const REMOVAL: &str = r#",{"deleteNamedRange":"#;

/// The same batch without the removal of old guards, should that have been what was refused. `None`: it removes none.
pub(super) fn without_removals(body: &[u8]) -> Option<Vec<u8>> {
    // Inside text every quotation mark is escaped, so these bytes stand nowhere else.
    let at = body.windows(REMOVAL.len()).position(|window| window == REMOVAL.as_bytes())?;
    let mut shorter = body[..at].to_vec();
    shorter.extend_from_slice(b"]}");
    Some(shorter)
}

/// Writes formatted text into memory, which cannot fail.
pub(super) fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// New rows cut from the front of some items.
pub(super) struct Cut {
    rows: Rows,
    /// How many items are covered.
    pub taken: usize,
    /// One per item covered.
    pub verdicts: Vec<Verdict>,
}

impl Cut {
    /// Whether the cells of so many items carry their formats along. Rows on top get theirs by range.
    pub fn is_styled(order: Order, items: &[Item]) -> bool {
        let offered = items.iter().take_while(|item| item.what == What::New).count();
        offered <= MOST_STYLED && order == Order::OldestFirst
    }

    /// Takes as many new items as a request holds.
    pub fn new(layout: &Layout, order: Order, items: &[Item], owner: &OwnerFormats) -> Cut {
        let offered = items.iter().take_while(|item| item.what == What::New).count();
        let rows = Rows::new(layout, Cut::is_styled(order, items), owner);
        let mut cut = Cut { rows, taken: 0, verdicts: Vec::new() };
        for item in &items[..offered] {
            // Rows that are refused here get a batch of their own, which sends nothing: where an answer is lost, all
            // that is known of a batch is that it was applied, and that must be true of each of its rows.
            let sends = cut.rows() > 0;
            let verdict = match body::too_long(layout, &item.transaction) {
                Some(_) if sends => break,
                Some(why) => Verdict::Rejected(why),
                None if !sends && cut.taken > 0 => break,
                None if cut.rows.push(&item.transaction, MOST_BYTES - ENVELOPE) => Verdict::Appended,
                None => break,
            };
            cut.verdicts.push(verdict);
            cut.taken += 1;
        }
        cut
    }

    /// How many rows are written.
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Hash of the content.
    pub fn hash(&self) -> u64 {
        xxh3_64(self.rows.bytes())
    }

    /// Whether the rows get their formats by range, for which must be known where they land.
    pub fn is_formatted_by_range(&self, order: Order) -> bool {
        order == Order::OldestFirst && self.rows.fields() != body::VALUE_AND_FORMAT
    }

    /// The requests that write these rows. From `first_blank` on there is no row of ours; not asked for where the cells
    /// carry their formats or come on top.
    pub fn requests(&self, layout: &Layout, order: Order, first_blank: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.bytes().len() + ENVELOPE);
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
        // What the blank rows carried is the owner's affair, and rows that are added carry nothing. Open below: wherever
        // the rows landed, the range holds them, and it lies in the grid because they are in it.
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

pub(super) fn push_number_format(out: &mut Vec<u8>, sheet: i32, rows: &str, columns: (u32, u32), format: Format) {
    let ((from, to), (kind, pattern)) = (columns, format.type_and_pattern());
    push(
        out,
        format_args!(
            r#"{{"repeatCell":{{"range":{{"sheetId":{sheet},{rows},"startColumnIndex":{from},"endColumnIndex":{to}}},"cell":{{"userEnteredFormat":{{"numberFormat":{{"type":"{kind}","pattern":"{pattern}"}}}}}},"fields":"userEnteredFormat.numberFormat"}}}}"#
        ),
    );
}

/// Runs of neighbouring positions: first, and one after the last.
pub(super) fn runs(positions: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some((_, end)) if *end == position => *end += 1,
            _ => runs.push((position, position + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::destination::google_sheets::body::tests::{layout, transaction};
    use crate::model::Field;

    fn items(count: u32) -> Vec<Item> {
        let item = |n: u32| Item { seq: n.into(), what: What::New, transaction: transaction(n), previous: None };
        (1..=count).map(item).collect()
    }

    fn body(cut: &Cut, layout: &Layout, order: Order, removed: &[u64]) -> (Vec<u8>, Value) {
        let guards = Guards::new("1AbC", "home");
        let envelope = Envelope { guards: &guards, layout, ledger_entry: 5, number: 42, asks: Asks::Size };
        let ledger = Ledger::default().next(42, cut.hash(), cut.rows(), 0, removed);
        let bytes = envelope.wrap(&cut.requests(layout, order, 4), &ledger, removed);
        let json = serde_json::from_slice(&bytes).unwrap();
        (bytes, json)
    }

    fn kinds(body: &Value) -> Vec<String> {
        let requests = body["requests"].as_array().unwrap().iter();
        requests.map(|request| request.as_object().unwrap().keys().next().unwrap().clone()).collect()
    }

    #[test]
    fn a_small_batch_is_guard_rows_ledger() {
        let layout = layout(&[(Field::Date, 0), (Field::Id, 1)]);
        let cut = Cut::new(&layout, Order::OldestFirst, &items(3), &OwnerFormats::default());
        let (bytes, body) = body(&cut, &layout, Order::OldestFirst, &[7, 8]);
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
        assert_eq!((append["rows"].as_array().unwrap().len(), &append["fields"]), (3, &json!(body::VALUE_AND_FORMAT)));
        let update = &body["requests"][2]["updateDeveloperMetadata"];
        assert_eq!(update["dataFilters"], json!([{"developerMetadataLookup": {"metadataId": 5}}]));
        let ledger: Ledger =
            serde_json::from_str(update["developerMetadata"]["metadataValue"].as_str().unwrap()).unwrap();
        assert_eq!((ledger.seq, ledger.rows, ledger.applied(42)), (42, 3, Some(cut.hash())));
        let shorter: Value = serde_json::from_slice(&without_removals(&bytes).unwrap()).unwrap();
        assert_eq!(kinds(&shorter), ["addNamedRange", "appendCells", "updateDeveloperMetadata"]);
        assert_eq!(without_removals(&serde_json::to_vec(&shorter).unwrap()), None);
    }

    #[test]
    fn a_large_batch_formats_the_rows_it_writes() {
        let layout = layout(&[(Field::Date, 0), (Field::Amount, 1), (Field::Balance, 2), (Field::Id, 3)]);
        let cut = Cut::new(&layout, Order::OldestFirst, &items(600), &OwnerFormats::default());
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
        assert_eq!(body["requests"][1]["appendCells"]["fields"], body::NEW_VALUE);
    }

    #[test]
    fn the_format_of_the_owners_columns_is_left_alone() {
        let layout = layout(&[(Field::Date, 0), (Field::Id, 2)]);
        let mine = OwnerFormats([(1, r#"{"type":"PERCENT"}"#.to_owned())].into());
        let cut = Cut::new(&layout, Order::OldestFirst, &items(3), &mine);
        assert!(!cut.is_formatted_by_range(Order::OldestFirst));
        let (_, body) = body(&cut, &layout, Order::OldestFirst, &[]);
        assert_eq!(body["requests"][1]["appendCells"]["fields"], body::VALUE_AND_FORMAT);
        let cell = &body["requests"][1]["appendCells"]["rows"][0]["values"][1];
        assert_eq!(*cell, json!({"userEnteredFormat": {"numberFormat": {"type": "PERCENT"}}}));
    }

    #[test]
    fn newest_first_goes_under_the_header_turned_round() {
        let layout = layout(&[(Field::Date, 0), (Field::Id, 1)]);
        let cut = Cut::new(&layout, Order::NewestFirst, &items(2), &OwnerFormats::default());
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
        let cut = |items| Cut::new(&layout, Order::OldestFirst, items, &OwnerFormats::default());
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
        let cut = Cut::new(&layout, Order::OldestFirst, &items, &OwnerFormats::default());
        let (bytes, _) = body(&cut, &layout, Order::OldestFirst, &[]);
        assert!(bytes.len() < MOST_BYTES, "{}", bytes.len());
        assert!(100_000_usize.div_ceil(cut.taken) <= 39, "{} rows a batch", cut.taken);
    }

    #[test]
    fn a_change_ends_the_run_of_new_rows() {
        let layout = layout(&[(Field::Id, 0)]);
        let mut items = items(3);
        items[2].what = What::Changed;
        assert_eq!(Cut::new(&layout, Order::OldestFirst, &items, &OwnerFormats::default()).taken, 2);
    }
}
