//! The promises of the simulated Google, each where it would break. Requests go straight to the state, without a
//! socket.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ring::rsa::KeyPair;
use serde_json::{Value, json};

use super::method::Call;
use super::model::Spreadsheet;
use super::refusal::Refusal;
use super::service::State;
use super::token::{self, Refused, Token};
use super::{Access, CellValue, Google, Location};

const EMAIL: &str = super::EMAIL;
const AUDIENCE: &str = "http://127.0.0.1:1/token";

struct Bench(State);

impl Bench {
    fn new() -> Bench {
        let mut state = State::new(EMAIL);
        state.quota = None;
        state.hold(Spreadsheet::new("s", "Household"), false);
        let mut bench = Bench(state);
        bench.grant("t", &["spreadsheets"]);
        bench
    }

    fn grant(&mut self, name: &str, scopes: &[&str]) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.0.tokens.insert(name.to_owned(), Token { scopes, until: SystemTime::now() + Duration::from_secs(3599) });
    }

    fn send(&mut self, token: &str, verb: &str, target: &str, body: &Value) -> Result<Value, Refusal> {
        let mut request = Request::builder().method(verb).uri(target).header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let call = Call::find(verb, parts.uri.path()).expect("an address of the API");
        let bytes = if verb == "GET" { Vec::new() } else { body.to_string().into_bytes() };
        self.0.call(&parts, &call, &bytes)
    }

    fn get(&mut self, target: &str) -> Value {
        self.send("t", "GET", &format!("/v4/spreadsheets/s{target}"), &Value::Null).unwrap()
    }

    fn post(&mut self, target: &str, body: &Value) -> Result<Value, Refusal> {
        self.send("t", "POST", &format!("/v4/spreadsheets/s{target}"), body)
    }

    fn batch(&mut self, requests: Value) -> Result<Value, Refusal> {
        self.post(":batchUpdate", &json!({ "requests": requests }))
    }

    fn refused(&mut self, requests: Value) -> String {
        let before = self.book().clone();
        let refusal = self.batch(requests).unwrap_err();
        assert_eq!((refusal.code, refusal.status), (400, "INVALID_ARGUMENT"));
        assert_eq!(*self.book(), before, "a refused batch must change nothing");
        refusal.message
    }

    fn book(&mut self) -> &mut Spreadsheet {
        &mut self.0.books.get_mut("s").unwrap().book
    }

    fn rows(&mut self) -> Vec<String> {
        let shown = |value: &CellValue| match value {
            CellValue::Empty => "·".to_owned(),
            CellValue::Text(text) | CellValue::Formula(text) => text.clone(),
            CellValue::Number(number) => number.to_string(),
            CellValue::Bool(value) => value.to_string(),
        };
        let rows = self.book().rows("Sheet1");
        rows.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join(" ")).collect()
    }
}

fn texts(values: &[&str]) -> Value {
    let cell = |text: &&str| match *text {
        "" => json!({}),
        text => json!({ "userEnteredValue": { "stringValue": text } }),
    };
    json!({ "values": values.iter().map(cell).collect::<Vec<_>>() })
}

fn write(row: usize, column: usize, rows: &[&[&str]]) -> Value {
    let rows: Vec<Value> = rows.iter().map(|row| texts(row)).collect();
    let start = json!({ "rowIndex": row, "columnIndex": column });
    json!({ "updateCells": { "start": start, "rows": rows, "fields": "userEnteredValue" } })
}

fn append(rows: &[&[&str]]) -> Value {
    let rows: Vec<Value> = rows.iter().map(|row| texts(row)).collect();
    json!({ "appendCells": { "rows": rows, "fields": "userEnteredValue" } })
}

fn guard(name: &str) -> Value {
    let range = json!({ "endRowIndex": 1, "endColumnIndex": 1 });
    json!({ "addNamedRange": { "namedRange": { "name": name, "range": range } } })
}

fn row_metadata(row: usize, value: &str) -> Value {
    let range = json!({ "dimension": "ROWS", "startIndex": row, "endIndex": row + 1 });
    json!({ "createDeveloperMetadata": { "developerMetadata": {
        "metadataKey": "row", "metadataValue": value, "visibility": "DOCUMENT",
        "location": { "dimensionRange": range },
    } } })
}

#[test]
fn a_batch_is_applied_whole_or_not_at_all() {
    let mut bench = Bench::new();
    let message = bench.refused(json!([
        write(0, 0, &[&["a"]]),
        { "addSheet": { "properties": { "title": "Other" } } },
        { "updateCells": { "start": { "sheetId": 999_999 }, "rows": [], "fields": "*" } },
    ]));
    assert_eq!(message, "Invalid requests[2].updateCells: No grid with id: 999999");
    let answer = bench.batch(json!([write(0, 0, &[&["a"]]), guard("g")])).unwrap();
    assert_eq!(answer["replies"][0], json!({}));
    assert_eq!(answer["replies"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["commentUpdateState"], "NO_UPDATES_REQUESTED");
    assert_eq!(bench.rows(), ["a"]);
    let message = bench.refused(json!([]));
    assert_eq!(message, "Must specify at least one request.");
}

#[test]
fn values_batches_are_atomic_too() {
    let mut bench = Bench::new();
    let refusal = bench
        .post(
            "/values:batchUpdate",
            &json!({ "valueInputOption": "RAW", "data": [
                { "range": "Sheet1!A1", "values": [["a"]] },
                { "range": "NoSuchTab!A1", "values": [["b"]] },
            ] }),
        )
        .unwrap_err();
    assert_eq!(refusal.message, "Invalid data[1]: Unable to parse range: NoSuchTab!A1");
    assert!(bench.rows().is_empty());
}

#[test]
fn a_name_is_taken_once_and_said_so_in_the_known_words() {
    let mut bench = Bench::new();
    bench.batch(json!([guard("bankfeed_household_000042"), append(&[&["row"]])])).unwrap();
    let again = json!([guard("Bankfeed_household_000042"), append(&[&["row"]])]);
    assert_eq!(
        bench.refused(again.clone()),
        "Invalid requests[0].addNamedRange: Cannot add named range with name: Bankfeed_household_000042, a named range \
         with that name already exists."
    );
    bench.0.manner.wording.without_colon = true;
    assert!(bench.refused(again).contains("with name Bankfeed_household_000042, a named range"));
    assert_eq!(bench.rows(), ["row"]);
    for bad in ["A1", "R1C1", "1st", "a b", "", "TRUE"] {
        assert!(bench.refused(json!([guard(bad)])).contains("Invalid name"), "{bad}");
    }
    let gone = json!([{ "deleteNamedRange": { "namedRangeId": "gone" } }]);
    assert!(bench.refused(gone).contains("gone"));
}

#[test]
fn appended_rows_land_below_the_last_value_in_any_column() {
    let mut bench = Bench::new();
    bench.batch(json!([write(0, 0, &[&["id"]]), write(4, 9, &[&["stray"]])])).unwrap();
    bench.batch(json!([append(&[&["=1+1", "", "c"]])])).unwrap();
    assert_eq!(bench.rows()[5], "=1+1 · c");
    assert_eq!(*bench.book().sheets[0].value(5, 0), CellValue::Text("=1+1".to_owned()), "text stays text");
    // A format alone, or a value taken away again, is no data.
    let formats = json!({ "cell": { "userEnteredFormat": { "textFormat": { "bold": true } } },
        "range": { "startRowIndex": 500, "endRowIndex": 501 }, "fields": "userEnteredFormat" });
    bench.batch(json!([{ "repeatCell": formats }, append(&[&["next"]])])).unwrap();
    assert_eq!(bench.rows()[6], "next");
    bench.book().set_cell("Sheet1", 999, 0, CellValue::Text("last".to_owned()));
    bench.batch(json!([append(&[&["grown"]])])).unwrap();
    assert_eq!(bench.book().sheets[0].row_count, 1001);
    let wide = vec!["x"; 27];
    let message = bench.refused(json!([append(&[&wide])]));
    assert!(message.starts_with("Invalid requests[0].appendCells: Attempting to write column: 26"), "{message}");
}

#[test]
fn tables_are_as_they_were_measured() {
    let mut bench = Bench::new();
    let range = |top: usize, bottom: usize| json!({ "startRowIndex": top, "endRowIndex": bottom, "startColumnIndex": 0, "endColumnIndex": 2 });
    let columns = json!([{ "columnIndex": 1, "columnName": "Amount", "columnType": "CURRENCY" }]);
    let table = json!({ "tableId": "t", "name": "T", "range": range(0, 3), "columnProperties": columns });
    let rows: [&[&str]; 3] = [&["Date", "Amount"], &["a"], &["b"]];
    bench.batch(json!([write(0, 0, &rows), { "addTable": { "table": table } }])).unwrap();
    let area = |bench: &mut Bench| bench.book().sheets[0].tables[0].area;
    // An append to the sheet lands below the table, and outside of it.
    bench.batch(json!([append(&[&["c"]])])).unwrap();
    assert_eq!((bench.rows()[3].as_str(), area(&mut bench).bottom), ("c", 3));
    let update = json!({ "updateTable": { "table": { "tableId": "t", "range": range(0, 4) }, "fields": "range" } });
    bench.batch(json!([update])).unwrap();
    assert_eq!(area(&mut bench).bottom, 4);
    // An append to the table makes it grow, and the values are lost.
    let lost = json!({ "appendCells": { "tableId": "t", "rows": [texts(&["d"])], "fields": "*" } });
    bench.batch(json!([lost])).unwrap();
    assert_eq!((bench.rows().len(), area(&mut bench).bottom), (4, 5));
    // Types are the table's.
    let format = json!({ "cell": { "userEnteredFormat": { "numberFormat": { "type": "NUMBER", "pattern": "0" } } },
        "range": range(0, 5), "fields": "userEnteredFormat.numberFormat" });
    bench.batch(json!([{ "repeatCell": format }])).unwrap();
    let cells = [0, 1]
        .map(|column| bench.book().sheets[0].cell(2, column).and_then(|cell| cell.number_format().is_some().into()));
    assert_eq!(cells.map(|known| known.unwrap_or(false)), [true, false]);
    let message = bench.refused(json!([{ "setDataValidation": { "range": range(1, 2) } }]));
    assert_eq!(
        message,
        "Invalid requests[0].setDataValidation: This operation is not allowed on cells in typed columns"
    );
    // A row inside makes the table longer; an update without a last row takes in every row below.
    let inside = json!({ "dimension": "ROWS", "startIndex": 1, "endIndex": 2 });
    bench.batch(json!([{ "insertDimension": { "range": inside } }])).unwrap();
    assert_eq!(area(&mut bench).bottom, 6);
    let message = bench.refused(json!([{ "updateTable": { "table": { "tableId": "other" }, "fields": "name" } }]));
    assert!(message.contains("No table with id: other"), "{message}");
    let shown = bench.get("?fields=sheets.tables(tableId,range,columnProperties(columnIndex,columnType))");
    assert_eq!(shown["sheets"][0]["tables"][0]["columnProperties"][0]["columnType"], "CURRENCY");
    bench.batch(json!([{ "deleteTable": { "tableId": "t" } }])).unwrap();
    assert!(bench.book().sheets[0].tables.is_empty());
}

#[test]
fn appending_keeps_the_formats_its_mask_does_not_name() {
    let mut bench = Bench::new();
    let bold = json!({ "textFormat": { "bold": true } });
    bench
        .batch(json!([{ "repeatCell": { "range": { "endRowIndex": 2, "endColumnIndex": 1 },
            "cell": { "userEnteredFormat": bold }, "fields": "userEnteredFormat.textFormat.bold" } }]))
        .unwrap();
    let dated = json!({ "values": [{ "userEnteredValue": { "numberValue": 46000 },
        "userEnteredFormat": { "numberFormat": { "type": "DATE", "pattern": "yyyy-mm-dd" } } }] });
    let fields = "userEnteredValue,userEnteredFormat.numberFormat";
    bench.batch(json!([{ "appendCells": { "rows": [dated], "fields": fields } }])).unwrap();
    let cell = bench.book().sheets[0].cell(0, 0).unwrap().clone();
    assert_eq!(cell.number_format(), Some(("DATE", "yyyy-mm-dd")));
    assert_eq!(cell.format().unwrap()["textFormat"], bold["textFormat"]);
    bench.batch(json!([{ "updateCells": { "start": {}, "rows": [texts(&["x"])], "fields": "*" } }])).unwrap();
    assert!(bench.book().sheets[0].cell(0, 0).unwrap().format().is_none(), "a star resets formats");
}

#[test]
fn metadata_names_and_filters_follow_rows_and_columns() {
    let mut bench = Bench::new();
    let rows: &[&[&str]] = &[&["k", "v"], &["b", "2"], &["c", "3"], &["a", "1"]];
    let filter = json!({ "setBasicFilter": { "filter": { "range": { "endRowIndex": 4, "endColumnIndex": 2 } } } });
    let named = json!({ "addNamedRange": { "namedRange": { "name": "data", "range": {
        "startRowIndex": 1, "endRowIndex": 4, "startColumnIndex": 1, "endColumnIndex": 2 } } } });
    let column = json!({ "createDeveloperMetadata": { "developerMetadata": {
        "metadataKey": "column", "visibility": "DOCUMENT",
        "location": { "dimensionRange": { "dimension": "COLUMNS", "startIndex": 1, "endIndex": 2 } } } } });
    let places = json!([write(0, 0, rows), row_metadata(1, "b"), row_metadata(3, "a"), column, filter, named]);
    bench.batch(places).unwrap();
    let place = |bench: &mut Bench, value: &str| {
        bench.book().metadata().iter().find(|entry| entry.value.as_deref() == Some(value)).map(|entry| entry.location)
    };
    // A sort over all columns carries the rows' metadata along.
    let sort = json!([{ "sortRange": { "range": { "startRowIndex": 1, "endRowIndex": 4, "endColumnIndex": 2 },
        "sortSpecs": [{ "dimensionIndex": 0, "sortOrder": "ASCENDING" }] } }]);
    bench.batch(sort).unwrap();
    assert_eq!(bench.rows(), ["k v", "a 1", "b 2", "c 3"]);
    assert_eq!(place(&mut bench, "a"), Some(Location::Row(0, 1)));
    // Inserted rows push it down, inside a named range they widen it.
    let insert = json!([{ "insertDimension": {
        "range": { "dimension": "ROWS", "startIndex": 2, "endIndex": 4 }, "inheritFromBefore": true } }]);
    bench.batch(insert).unwrap();
    assert_eq!(place(&mut bench, "b"), Some(Location::Row(0, 4)));
    assert_eq!((bench.book().named_ranges()[0].area.top, bench.book().named_ranges()[0].area.bottom), (1, 6));
    assert_eq!(bench.book().sheets[0].filter_area().unwrap().bottom, 6);
    // A moved column takes its metadata, its name and its cells along.
    bench.book().move_column("Sheet1", 1, 0);
    assert_eq!(bench.rows()[0], "v k");
    assert_eq!(bench.book().metadata()[2].location, Location::Column(0, 0));
    assert_eq!((bench.book().named_ranges()[0].area.left, bench.book().named_ranges()[0].area.right), (0, 1));
    // Deleted rows take theirs away; the rest moves up.
    let delete = json!([{ "deleteDimension": { "range": { "dimension": "ROWS", "startIndex": 1, "endIndex": 4 } } }]);
    bench.batch(delete).unwrap();
    assert_eq!(place(&mut bench, "a"), None);
    assert_eq!(place(&mut bench, "b"), Some(Location::Row(0, 1)));
    assert_eq!(bench.rows(), ["v k", "2 b", "3 c"]);
}

#[test]
fn a_moved_column_lands_where_a_sheet_would_put_it() {
    use super::dimension::Shift;
    // Columns 1 and 2 to before column 5: 0 3 4 1 2 5.
    let shift = Shift::Move { start: 1, end: 3, to: 5 };
    let after: Vec<usize> = (0..6).map(|index| shift.index(index).unwrap()).collect();
    assert_eq!(after, [0, 3, 4, 1, 2, 5]);
    let back = Shift::Move { start: 3, end: 5, to: 1 };
    assert!((0..6).all(|index| back.index(shift.index(index).unwrap()) == Some(index)));
}

#[test]
fn metadata_storage_ends_where_it_was_seen_to_end() {
    let mut bench = Bench::new();
    bench.book().sheets[0].row_count = 2000;
    let entry = |number: usize| {
        let mut request = row_metadata(number, &format!("bulk-{number}"));
        request["createDeveloperMetadata"]["developerMetadata"]["metadataKey"] = json!("harvester.row-key");
        request
    };
    // The real service took the entries 0 to 1195, 29,986 characters in all; the next would have made 30,012.
    bench.batch((0..1196).map(entry).collect()).unwrap();
    let message = bench.refused(json!([entry(1196)]));
    assert!(message.ends_with("would exceed the allowed storage limit."), "{message}");
    // The spreadsheet's own storage is another.
    let ledger = json!({ "createDeveloperMetadata": { "developerMetadata": { "metadataId": 7, "metadataKey": "ledger",
        "metadataValue": "x".repeat(20_000), "visibility": "DOCUMENT", "location": { "spreadsheet": true } } } });
    bench.batch(json!([ledger])).unwrap();
    assert_eq!(bench.get("/developerMetadata/7")["location"]["locationType"], "SPREADSHEET");
    assert!(bench.refused(json!([ledger])).contains("7"), "an id is unique");
}

#[test]
fn search_answers_with_the_filters_that_matched() {
    let mut bench = Bench::new();
    bench.batch(json!([row_metadata(2, "x"), row_metadata(5, "y")])).unwrap();
    let filter = json!({ "developerMetadataLookup": { "metadataKey": "row", "metadataValue": "y" } });
    let found = bench.post("/developerMetadata:search", &json!({ "dataFilters": [filter] })).unwrap();
    let found = &found["matchedDeveloperMetadata"];
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    assert_eq!(found[0]["dataFilters"][0], filter);
    assert_eq!(
        found[0]["developerMetadata"]["location"],
        json!({ "locationType": "ROW", "dimensionRange": { "dimension": "ROWS", "startIndex": 5, "endIndex": 6 } })
    );
    let none = json!({ "dataFilters": [{ "developerMetadataLookup": { "metadataKey": "none" } }] });
    assert_eq!(bench.post("/developerMetadata:search", &none).unwrap(), json!({}));
}

#[test]
fn a_grid_that_shrinks_takes_along_what_hung_on_it() {
    let mut bench = Bench::new();
    let filter = json!({ "setBasicFilter": { "filter": { "range": {} } } });
    bench.batch(json!([write(9, 0, &[&["x"]]), row_metadata(2, "a"), row_metadata(9, "b"), filter])).unwrap();
    let shrink = json!({ "properties": { "gridProperties": { "rowCount": 5 } }, "fields": "gridProperties.rowCount" });
    bench.batch(json!([{ "updateSheetProperties": shrink }])).unwrap();
    assert!(bench.rows().is_empty());
    assert_eq!(bench.book().metadata().len(), 1);
    assert_eq!(bench.book().sheets[0].filter_area().unwrap().bottom, 5);
    assert_eq!(bench.get("/values/Sheet1")["range"], "Sheet1!A1:Z5");
    let beyond = bench.send("t", "GET", "/v4/spreadsheets/s/values/Sheet1!A6", &Value::Null).unwrap_err();
    assert_eq!(beyond.message, "Range (Sheet1!A6) exceeds grid limits. Max rows: 5, max columns: 26");
}

#[test]
fn unknown_names_and_wrong_types_are_refused_at_any_depth() {
    let mut bench = Bench::new();
    let mut say = |requests: Value| {
        let refusal = bench.batch(requests).unwrap_err();
        assert_eq!(refusal.details[0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
        refusal.message
    };
    assert_eq!(
        say(json!([{ "nonsense": {} }])),
        "Invalid JSON payload received. Unknown name \"nonsense\" at 'requests[0]': Cannot find field."
    );
    let deep = json!([{ "updateCells": { "start": {}, "fields": "*",
        "rows": [{ "values": [{ "userEnteredFormat": { "numberFormat": { "style": "x" } } }] }] } }]);
    assert_eq!(
        say(deep),
        "Invalid JSON payload received. Unknown name \"style\" at \
         'requests[0].update_cells.rows[0].values[0].user_entered_format.number_format': Cannot find field."
    );
    assert!(say(json!([{ "deleteSheet": { "sheetId": "seven" } }])).contains("(TYPE_INT32), \"seven\""));
    assert!(say(json!([{ "deleteSheet": { "sheetId": 3_000_000_000_u64 } }])).contains("TYPE_INT32"));
    assert!(say(json!([{ "appendDimension": { "dimension": "rows" } }])).contains("dimension"));
    assert!(say(json!([{ "addSheet": {}, "deleteSheet": {} }])).contains("oneof field 'kind' is already set"));
    let two = json!([{ "updateCells": { "start": {}, "fields": "*",
        "rows": [{ "values": [{ "userEnteredValue": { "stringValue": "1", "numberValue": 1 } }] }] } }]);
    assert!(say(two).contains("oneof field 'value' is already set"));
    // Null is the same as absent, wherever it stands.
    bench
        .batch(json!([{ "addSheet": { "properties": { "title": "T", "sheetId": null } }, "deleteSheet": null }]))
        .unwrap();
}

#[test]
fn updates_need_a_mask_of_names_that_exist() {
    let mut bench = Bench::new();
    let mut say = |fields: &str| {
        let request = json!({ "updateCells": { "start": {}, "rows": [texts(&["x"])], "fields": fields } });
        bench.refused(json!([request]))
    };
    assert_eq!(
        say(""),
        "Invalid requests[0].updateCells: At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)"
    );
    assert!(say("userEnteredValues").contains("userEnteredValues"));
    assert!(say("userEnteredFormat.numberFormat.kind").contains("numberFormat.kind"));
}

#[test]
fn a_mask_projects_exactly() {
    let mut bench = Bench::new();
    bench.batch(json!([write(0, 0, &[&["a", "b"]]), guard("g")])).unwrap();
    assert_eq!(
        bench.get("?fields=sheets.properties(sheetId,title),namedRanges.name"),
        json!({ "sheets": [{ "properties": { "sheetId": 0, "title": "Sheet1" } }], "namedRanges": [{ "name": "g" }] })
    );
    assert_eq!(
        bench.get("?ranges=Sheet1!B1:B&fields=sheets/data/rowData/values/userEnteredValue"),
        json!({ "sheets": [{ "data": [{ "rowData": [
            { "values": [{ "userEnteredValue": { "stringValue": "b" } }] }] }] }] })
    );
    assert_eq!(bench.get("?ranges=Sheet1!D9&fields=sheets.data.rowData"), json!({ "sheets": [{ "data": [{}] }] }));
    let refusal = bench.send("t", "GET", "/v4/spreadsheets/s?fields=sheets.nonsense", &Value::Null).unwrap_err();
    assert_eq!(refusal.message, "Request contains an invalid argument.");
    let refusal = bench.send("t", "GET", "/v4/spreadsheets/s?nonsense=1", &Value::Null).unwrap_err();
    assert!(refusal.message.contains("Unknown name \"nonsense\": Cannot bind query parameter."));
}

#[test]
fn the_state_after_a_write_comes_with_it_when_asked_for() {
    let mut bench = Bench::new();
    let body = json!({ "requests": [append(&[&["id-1"]]), append(&[&["id-2"]])],
        "includeSpreadsheetInResponse": true, "responseRanges": ["Sheet1!A:A"] });
    let answer = bench.post(":batchUpdate?fields=updatedSpreadsheet.sheets.data.rowData.values.formattedValue", &body);
    assert_eq!(
        answer.unwrap(),
        json!({ "updatedSpreadsheet": { "sheets": [{ "data": [{ "rowData": [
            { "values": [{ "formattedValue": "id-1" }] }, { "values": [{ "formattedValue": "id-2" }] }] }] }] } })
    );
    let plain = bench
        .post(":batchUpdate", &json!({ "requests": [append(&[&["id-3"]])], "includeSpreadsheetInResponse": true }));
    assert!(plain.unwrap()["updatedSpreadsheet"]["sheets"][0].get("data").is_none(), "cells only when asked for");
}

#[test]
fn what_the_owner_protects_is_not_written() {
    let mut bench = Bench::new();
    bench.book().protect("Sheet1", 0, 1);
    let message = bench.refused(json!([write(0, 3, &[&["x"]])]));
    assert!(message.contains("You are trying to edit a protected cell or object."), "{message}");
    bench.batch(json!([write(1, 3, &[&["x"]])])).unwrap();
    bench.book().unprotect("Sheet1");
    bench.batch(json!([write(0, 3, &[&["x"]])])).unwrap();
    let warned = json!({ "protectedRange": { "range": { "endRowIndex": 1 }, "warningOnly": true } });
    bench.batch(json!([{ "addProtectedRange": warned }, write(0, 0, &[&["x"]])])).unwrap();
}

#[test]
fn a_filter_hides_rows_and_leaves_appended_ones_where_they_belong() {
    let mut bench = Bench::new();
    bench.batch(json!([write(0, 0, &[&["k"], &["a"], &["b"]])])).unwrap();
    bench.book().set_filter("Sheet1", 0, &["b"]);
    assert!(bench.book().sheets[0].row_hidden(2) && !bench.book().sheets[0].row_hidden(1));
    bench.batch(json!([append(&[&["b"]])])).unwrap();
    assert_eq!(bench.rows(), ["k", "a", "b", "b"], "below the hidden row, not over it");
    assert!(bench.book().sheets[0].row_hidden(3));
    bench.batch(json!([{ "clearBasicFilter": {} }])).unwrap();
    assert!(!bench.book().sheets[0].row_hidden(2));
}

#[test]
fn a_filter_goes_along_with_its_columns_and_ends_with_them() {
    let mut bench = Bench::new();
    bench.batch(json!([write(0, 0, &[&["k", "v"], &["a", "1"], &["b", "2"]])])).unwrap();
    bench.book().set_filter("Sheet1", 0, &["b"]);
    bench.book().move_column("Sheet1", 0, 1);
    bench.batch(json!([append(&[&["3", "b"], &["b", "c"]])])).unwrap();
    let hidden = |bench: &mut Bench| (0..5).map(|row| bench.book().sheets[0].row_hidden(row)).collect::<Vec<_>>();
    assert_eq!(hidden(&mut bench), [false, false, true, true, false]);
    bench.book().delete_column("Sheet1", 1);
    assert_eq!(hidden(&mut bench), [false; 5]);
}

#[test]
fn a_filter_view_hides_and_sorts_only_for_who_looks_through_it() {
    let mut bench = Bench::new();
    let rows: &[&[&str]] = &[&["k", "v"], &["a", "1"], &["b", "2"], &["c", "3"]];
    let view = json!({ "title": "mine", "filterViewId": 7,
        "range": { "startRowIndex": 0, "endRowIndex": 4, "startColumnIndex": 0, "endColumnIndex": 2 },
        "sortSpecs": [{ "dimensionIndex": 0, "sortOrder": "DESCENDING" }],
        "filterSpecs": [{ "columnIndex": 1, "filterCriteria": { "hiddenValues": ["2"] } }] });
    let add = json!({ "addFilterView": { "filter": view } });
    let reply = bench.batch(json!([write(0, 0, rows), add])).unwrap();
    assert_eq!(reply["replies"][1]["addFilterView"]["filter"]["filterViewId"], 7);
    let seen = |bench: &mut Bench| bench.book().sheets[0].seen_through("mine").unwrap();
    assert_eq!(seen(&mut bench), [3, 1]);
    // Other readers see the whole tab, and the API reads and appends as ever.
    assert!((0..5).all(|row| !bench.book().sheets[0].row_hidden(row)));
    bench.batch(json!([append(&[&["d", "2"]])])).unwrap();
    assert_eq!(bench.rows(), ["k v", "a 1", "b 2", "c 3", "d 2"]);
    assert_eq!(bench.get("/values/Sheet1!A:A")["values"], json!([["k"], ["a"], ["b"], ["c"], ["d"]]));
    assert_eq!(seen(&mut bench), [3, 1], "its range ends before the new row");
    // A view follows rows and columns.
    bench.book().insert_row("Sheet1", 2);
    bench.book().move_column("Sheet1", 1, 0);
    let shown = bench.get("?fields=sheets.filterViews")["sheets"][0]["filterViews"][0].clone();
    assert_eq!((&shown["range"]["endRowIndex"], &shown["filterSpecs"][0]["columnIndex"]), (&json!(5), &json!(0)));
    assert_eq!(seen(&mut bench), [4, 1, 2], "the blank row last");
    // Ids are taken once, changes name their fields, and a deleted view stays deleted.
    let message = bench.refused(json!([add]));
    assert!(message.ends_with("a filter view with that id already exists."), "{message}");
    let change = json!({ "filter": { "filterViewId": 7, "title": "ours" }, "fields": "title" });
    let copy = json!({ "duplicateFilterView": { "filterId": 7 } });
    bench.batch(json!([{ "updateFilterView": change }, copy])).unwrap();
    let titles: Vec<String> = bench.book().sheets[0].filter_views.iter().map(|view| view.title().to_owned()).collect();
    assert_eq!(titles, ["ours", "Copy of ours"]);
    bench.batch(json!([{ "deleteFilterView": { "filterId": 7 } }])).unwrap();
    bench.refused(json!([{ "deleteFilterView": { "filterId": 7 } }]));
    bench.book().delete_column("Sheet1", 0);
    bench.book().delete_column("Sheet1", 0);
    assert!(bench.book().sheets[0].filter_views.is_empty(), "it went with its columns");
}

#[test]
fn limits_are_the_documented_ones() {
    let mut bench = Bench::new();
    let message = bench.refused(json!([write(0, 0, &[&["я".repeat(50_001).as_str()]])]));
    assert!(message.ends_with("Your input contains more than the maximum of 50000 characters in a single cell."));
    bench.batch(json!([write(0, 0, &[&["я".repeat(50_000).as_str()]])])).unwrap();
    let more = |length: usize| json!([{ "appendDimension": { "dimension": "ROWS", "length": length } }]);
    let message = bench.refused(more(384_000));
    assert_eq!(
        message,
        "Invalid requests[0].appendDimension: This action would increase the number of cells in the workbook above the \
         limit of 10000000 cells."
    );
    bench.batch(more(383_000)).unwrap();
    let outside = json!([{ "repeatCell": { "range": { "startRowIndex": 400_000 }, "cell": {}, "fields": "note" } }]);
    assert!(bench.refused(outside).contains("exceeds grid limits. Max rows: 384000, max columns: 26"));
}

#[test]
fn typed_values_are_parsed_and_raw_ones_are_not() {
    let mut bench = Bench::new();
    let body = json!({ "values": [["2026-11-24", "=1+2", "1,234.50", "TRUE", "12%", "'0123", "text", null, ""]] });
    let target = "/v4/spreadsheets/s/values/Sheet1!A1:I1?valueInputOption=";
    bench.send("t", "PUT", &format!("{target}USER_ENTERED"), &body).unwrap();
    let read = bench.get("/values/Sheet1!A1:I1?valueRenderOption=UNFORMATTED_VALUE");
    assert_eq!(read["values"], json!([[46350, 3, 1234.5, true, 0.12, "0123", "text"]]));
    let read = bench.get("/values/Sheet1!A1:I1");
    assert_eq!(read["values"], json!([["2026-11-24", "3", "1,234.50", "TRUE", "12.00%", "0123", "text"]]));
    bench.send("t", "PUT", &format!("{target}RAW"), &body).unwrap();
    let read = bench.get("/values/Sheet1!A1:C1?valueRenderOption=UNFORMATTED_VALUE");
    assert_eq!(read["values"], json!([["2026-11-24", "=1+2", "1,234.50"]]));
    let refusal = bench.send("t", "PUT", "/v4/spreadsheets/s/values/Sheet1!A1", &body).unwrap_err();
    assert_eq!(refusal.message, "'valueInputOption' is required but not specified");
    let over = bench.send("t", "PUT", "/v4/spreadsheets/s/values/Sheet1!A1:B1?valueInputOption=RAW", &body);
    let message = over.unwrap_err().message;
    assert_eq!(message, "Requested writing within range [Sheet1!A1:B1], but tried writing to column [C]");
}

#[test]
fn a_formula_that_is_not_understood_is_no_number() {
    let mut bench = Bench::new();
    bench.book().set_cell("Sheet1", 0, 0, CellValue::Number(2.0));
    for (at, formula) in ["=A1*3+SUM(A1:A1)", "=IMPORTXML(A1)", "=B9/0", "=E1+1"].iter().enumerate() {
        bench.book().set_cell("Sheet1", 0, at + 1, CellValue::Formula((*formula).to_owned()));
    }
    assert_eq!(bench.get("/values/A1:E1")["values"], json!([["2", "8", "#NAME?", "#DIV/0!", "#NAME?"]]));
}

#[test]
fn who_may_do_what() {
    let mut bench = Bench::new();
    bench.grant("reader", &["spreadsheets.readonly"]);
    bench.grant("own", &["drive.file"]);
    let (get, write) = ("/v4/spreadsheets/s", "/v4/spreadsheets/s:batchUpdate");
    let body = json!({ "requests": [append(&[&["x"]])] });
    let code = |bench: &mut Bench, token: &str, verb: &str, target: &str| {
        bench.send(token, verb, target, &body).map_or_else(|refusal| refusal.code, |_| 200)
    };
    assert_eq!(code(&mut bench, "", "GET", get), 403);
    assert_eq!(code(&mut bench, "made up", "GET", get), 401);
    assert_eq!(code(&mut bench, "reader", "GET", get), 200);
    assert_eq!(code(&mut bench, "reader", "POST", write), 403);
    let refusal = bench.send("reader", "POST", write, &body).unwrap_err();
    assert_eq!(refusal.message, "Request had insufficient authentication scopes.");
    assert_eq!(refusal.details[0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    assert_eq!(refusal.details[0]["metadata"]["service"], "sheets.googleapis.com");
    assert_eq!(code(&mut bench, "own", "GET", get), 404);
    assert_eq!(code(&mut bench, "t", "GET", "/v4/spreadsheets/other"), 404);
    bench.0.books.get_mut("s").unwrap().access = Access::Viewer;
    assert_eq!((code(&mut bench, "t", "GET", get), code(&mut bench, "t", "POST", write)), (200, 403));
    bench.0.books.get_mut("s").unwrap().access = Access::None;
    assert_eq!(code(&mut bench, "t", "GET", get), 403);
    bench.0.disabled = true;
    let refusal = bench.send("t", "GET", get, &Value::Null).unwrap_err();
    assert_eq!(refusal.details[1]["reason"], "SERVICE_DISABLED");
    let made =
        Bench::new().send("t", "POST", "/v4/spreadsheets", &json!({ "properties": { "title": "Made" } })).unwrap();
    assert_eq!(made["properties"]["title"], "Made");
}

#[test]
fn a_minute_allows_so_much_and_no_more() {
    let mut bench = Bench::new();
    bench.0.quota = Some(3);
    let start = Instant::now();
    for second in 0..3 {
        bench.0.spend(true, start + Duration::from_secs(second)).unwrap();
    }
    let refusal = bench.0.spend(true, start + Duration::from_secs(59)).unwrap_err();
    assert_eq!((refusal.code, refusal.status), (429, "RESOURCE_EXHAUSTED"));
    assert!(refusal.message.contains("'Write requests per minute per user'"));
    assert_eq!(refusal.details[0]["metadata"]["quota_limit_value"], "3");
    bench.0.spend(false, start + Duration::from_secs(59)).unwrap();
    bench.0.spend(true, start + Duration::from_secs(60)).unwrap();
    assert!(bench.0.spend(true, start + Duration::from_secs(60)).is_err(), "only the oldest has aged");
    bench.0.refill();
    assert!((0..3).all(|_| bench.send("t", "GET", "/v4/spreadsheets/s", &Value::Null).is_ok()));
    assert_eq!(bench.send("t", "GET", "/v4/spreadsheets/s", &Value::Null).unwrap_err().code, 429);
}

fn statement(header: &Value, claims: &Value) -> String {
    let der: String = token::PRIVATE_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = KeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    // Padded on purpose: that is how the client in use sends it.
    let signed = format!("{}.{}", URL_SAFE.encode(header.to_string()), URL_SAFE.encode(claims.to_string()));
    let mut signature = vec![0; key.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    key.sign(&ring::signature::RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE.encode(signature))
}

fn form(assertion: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .append_pair("assertion", assertion)
        .finish()
}

fn claims(now: u64) -> Value {
    let scope = "https://www.googleapis.com/auth/spreadsheets";
    json!({ "iss": EMAIL, "aud": AUDIENCE, "iat": now, "exp": now + 3595, "sub": null, "scope": scope })
}

#[test]
fn only_a_true_and_timely_statement_gets_a_token() {
    let now = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let ask = |form: &str| token::grant(form, EMAIL, &[AUDIENCE.to_owned()], now);
    let rs256 = json!({ "alg": "RS256", "typ": "JWT" });
    let good = claims(1_795_000_000);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        ask(&form(&statement(&rs256, &claims))).unwrap_err()
    };
    let token = ask(&form(&statement(&rs256, &good))).unwrap();
    assert_eq!((token.scopes, token.until), (vec!["spreadsheets".to_owned()], now + Duration::from_secs(3599)));
    let tampered = statement(&rs256, &good).replacen("eyJhdWQi", "eyJhdWRi", 1);
    assert_eq!(ask(&form(&tampered)).unwrap_err(), Refused("invalid_grant", "Invalid JWT Signature.".to_owned()));
    assert_eq!(ask(&form("a.b")).unwrap_err().0, "invalid_grant");
    assert!(ask(&form(&statement(&json!({ "alg": "none" }), &good))).unwrap_err().1.contains("RS256"));
    assert_eq!(with("iss", json!("somebody@example.com")).1, "Invalid grant: account not found");
    assert_eq!(with("aud", json!("https://example.com/token")).1, "Invalid JWT: Failed audience check.");
    assert_eq!(with("sub", json!("owner@example.com")).0, "unauthorized_client");
    for (name, value) in
        [("iat", 1_795_000_400), ("exp", 1_795_004_000), ("exp", 1_794_999_000), ("iat", 1_794_999_000)]
    {
        let Refused(error, text) = with(name, json!(value));
        assert!(error == "invalid_grant" && text.contains("short-lived token (60 minutes)"), "{name} {value}: {text}");
    }
    assert_eq!(with("scope", json!("https://www.googleapis.com/auth/nonsense")).0, "invalid_scope");
    assert_eq!(with("scope", Value::Null).0, "invalid_scope");
    assert_eq!(ask("grant_type=password").unwrap_err().0, "unsupported_grant_type");
}

#[tokio::test]
async fn the_handle_serves_what_it_hands_out() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let google = Google::start().await.unwrap();
    let id = google.create_spreadsheet("Household");
    let key: Value = serde_json::from_str(&google.service_account_key()).unwrap();
    assert_eq!(key["token_uri"], format!("{}/token", google.server.url()));
    assert_eq!(key["client_email"], google.client_email());
    let address = google.server.url().replace("http://", "");
    let ask = async |head: &str, body: &str| {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let length = body.len();
        let text = format!("{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = claims(now);
    claims["aud"] = key["token_uri"].clone();
    let form = form(&statement(&json!({ "alg": "RS256", "typ": "JWT" }), &claims));
    let answer = ask("POST /token HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded", &form).await;
    assert!(answer.contains("\"expires_in\": 3599") && answer.contains("\"token_type\": \"Bearer\""), "{answer}");
    let token = answer.split("\"access_token\": \"").nth(1).unwrap().split('"').next().unwrap();
    let get = format!("GET /v4/spreadsheets/{id}?fields=properties.title HTTP/1.1\r\nauthorization: Bearer {token}");
    let answer = ask(&get, "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(answer.contains("{\n  \"properties\": {\n    \"title\": \"Household\"\n  }\n}\n"), "{answer}");
    google.expire_tokens();
    assert!(ask(&get, "").await.starts_with("HTTP/1.1 401"));
    assert!(ask("GET /v4/spreadsheets/a/values/A/B HTTP/1.1", "").await.contains("text/html"));
}
