//! The connector against the simulated service, driven the way the engine drives it: open, settle, prepare, deliver.

use std::time::Duration;

mod copies;
mod hazards;
mod owner;
mod tables;

use super::cells::tests::transaction;
use super::ledger::Guards;
use super::*;
use crate::destination::google_sheets::settings::Order;
use crate::destination::policy::{Column, Rows, Updates, Vanished};
use crate::destination::readback::Ids;
use crate::destination::row_op::RowOp;
use crate::destination::{BatchStatus, Outcome, RowChange, Verdict};
use crate::model::{Field, Language};
use crate::remote::{Backoff, Kind, Shutdown};
use crate::settings::Secret;
use crate::simulator::Fault;
use crate::simulator::google::{Access, Area, CellValue, Google};

/// The number format of an amount with a direction.
const SIGNED: &str = "[Color10]#,##0.00;[Red]-#,##0.00;#,##0.00";

const TAB: &str = "Transactions";
const WRITE: &str = ":batchUpdate";

/// A simulated Google with one spreadsheet, and what an engine remembers between cycles.
struct Bench {
    google: Google,
    id: String,
    config: GoogleSheetsSettings,
    memory: Vec<u8>,
    number: u64,
    /// Requests counted by the connector in the latest cycle.
    counted: u64,
}

impl Bench {
    async fn new() -> Bench {
        let google = Google::start().await.unwrap();
        let id = google.create_spreadsheet("Money");
        let columns =
            Field::default_columns().into_iter().map(|field| Column { header: field.header(Language::En), field });
        let config = GoogleSheetsSettings {
            spreadsheet: id.clone(),
            tab: TAB.into(),
            login: None,
            client: None,
            service_account: Secret::Plain(google.service_account_key().into()),
            base_url: format!("{}/", google.server.url()).parse().unwrap(),
            rows: Rows {
                columns: columns.collect(),
                updates: Updates::Apply,
                vanished: Vanished::Mark,
                language: Language::En,
            },
            order: Order::OldestFirst,
            balances_tab: None,
            dashboard_tab: None,
            rules_tab: None,
        };
        Bench { google, id, config, memory: Vec::new(), number: 0, counted: 0 }
    }

    fn sheets(&self) -> GoogleSheets {
        let context = Context::new(Shutdown::never(), Backoff::immediate());
        GoogleSheets::new("home", &self.config, context, &self.memory).unwrap()
    }

    /// A cycle with a connector of its own.
    async fn cycle(&mut self, items: &[RowChange]) -> Result<Vec<Verdict>, Error> {
        let mut sheets = self.sheets();
        let result = self.drive(&mut sheets, items).await;
        self.memory = sheets.state().memory;
        self.counted = sheets.context.requests.get();
        result
    }

    async fn drive(&mut self, sheets: &mut GoogleSheets, items: &[RowChange]) -> Result<Vec<Verdict>, Error> {
        self.number = self.number.max(sheets.open(None).await?.last_batch);
        let (mut verdicts, mut rest) = (Vec::new(), items);
        while !rest.is_empty() {
            let batch = sheets.prepare(self.number + 1, rest).await?;
            let (covered, after) = rest.split_at(batch.taken);
            verdicts.extend(self.send(sheets, &batch, covered).await?);
            rest = after;
        }
        Ok(verdicts)
    }

    async fn send(
        &mut self,
        sheets: &mut GoogleSheets,
        batch: &Batch,
        items: &[RowChange],
    ) -> Result<Vec<Verdict>, Error> {
        for tried in 1.. {
            match sheets.write(batch, items).await {
                Ok(Outcome::Done(Written { verdicts, .. })) => {
                    self.number += u64::from(!batch.body.is_empty());
                    return Ok(verdicts);
                }
                Ok(Outcome::Superseded { hash }) => panic!("superseded by {hash}"),
                Err(error) if tried == 4 || !error.is_transient() => return Err(error),
                Err(_) => {
                    let _ = sheets.status(batch.number, batch.hash).await?.0;
                }
            }
        }
        unreachable!("the loop ends by itself")
    }

    fn column(&self, tab: &str, at: usize) -> Vec<CellValue> {
        let rows = self.google.read(&self.id, |book| book.rows(tab));
        rows.into_iter().map(|mut row| if at < row.len() { row.swap_remove(at) } else { CellValue::Empty }).collect()
    }

    /// The ids in the sheet, from the second row down.
    fn ids(&self) -> Vec<String> {
        let header = CellValue::Text("Transaction ID".into());
        let tab = self.google.read(&self.id, |book| {
            let with_id = |title: &String| book.rows(title).first().is_some_and(|row| row.contains(&header));
            book.titles().into_iter().find(with_id)
        });
        let Some(tab) = tab else { return Vec::new() };
        let at = self.google.read(&self.id, |book| book.rows(&tab)[0].iter().position(|cell| *cell == header)).unwrap();
        let text = |cell| if let CellValue::Text(text) = cell { text } else { String::new() };
        self.column(&tab, at).into_iter().skip(1).map(text).collect()
    }

    /// `METHOD path` of the requests since the log was cleared, ids and query left out.
    fn asked(&self) -> Vec<String> {
        let short = |target: &str| target.split('?').next().unwrap_or("").replace(&self.id, "ID");
        self.google.server.log().iter().map(|one| format!("{} {}", one.method, short(&one.target))).collect()
    }

    fn edit(&self, change: impl FnOnce(&mut crate::simulator::google::Spreadsheet)) {
        self.google.edit(&self.id, change);
    }
}

fn new(numbers: std::ops::RangeInclusive<u32>) -> Vec<RowChange> {
    let item = |n: u32| RowChange::new(n.into(), RowOp::Insert, transaction(n), None);
    numbers.map(item).collect()
}

const UPDATE: RowOp = RowOp::Update { cells: true, mark: None };
const MARK: RowOp = RowOp::Update { cells: false, mark: Some(true) };
const UNMARK: RowOp = RowOp::Update { cells: true, mark: Some(false) };

fn late(n: u32, op: RowOp) -> RowChange {
    let previous = (op != MARK).then(|| transaction(n));
    RowChange::new(1_000 + u64::from(n), op, transaction(n), previous)
}

fn corrected(n: u32) -> RowChange {
    let mut item = late(n, UPDATE);
    item.previous = Some(item.transaction.clone().into());
    item.transaction.row.description = "corrected".into();
    item
}

fn ids_of(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|n| transaction(n).row.id).collect()
}

const SETUP: [&str; 5] = [
    "POST /token",
    "POST /v4/spreadsheets/ID/developerMetadata:search",
    "GET /v4/spreadsheets/ID",
    "POST /v4/spreadsheets/ID:batchUpdate",
    "POST /v4/spreadsheets/ID:batchUpdate",
];
const STEADY: [&str; 3] =
    ["POST /token", "POST /v4/spreadsheets/ID/developerMetadata:search", "POST /v4/spreadsheets/ID:batchUpdate"];

/// With a column of the owner's among ours: its number format is looked at, so that it can be carried along.
const AMONG: [&str; 4] = [
    "POST /token",
    "POST /v4/spreadsheets/ID/developerMetadata:search",
    "POST /v4/spreadsheets/ID:getByDataFilter",
    "POST /v4/spreadsheets/ID:batchUpdate",
];

#[tokio::test]
async fn the_first_cycle_makes_the_tab_and_a_steady_one_costs_three_requests() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.cycle(&new(1..=3)).await.unwrap(), vec![Verdict::Appended; 3]);
    assert_eq!(bench.asked(), SETUP);
    bench.google.server.clear_log();
    bench.cycle(&new(4..=5)).await.unwrap();
    assert_eq!(bench.asked(), STEADY);
    assert_eq!(bench.counted, 3);
    assert_eq!(bench.ids(), ids_of(1..=5));
    bench.google.read(&bench.id, |book| {
        let tab = book.tab(TAB).unwrap();
        assert_eq!(*tab.value(0, 0), CellValue::Text("Date".into()));
        assert_eq!(*tab.value(5, 0), CellValue::Number(46027.0));
        assert_eq!(tab.cell(5, 0).unwrap().number_format(), Some(("DATE", "yyyy-mm-dd")));
        assert_eq!(*tab.value(5, 1), CellValue::Number(-12.3));
        assert_eq!(tab.cell(5, 1).unwrap().number_format(), Some(("NUMBER", SIGNED)));
        assert_eq!(*tab.value(5, 3), CellValue::Text("=IMPORTXML(\"x\")".into()));
        assert_eq!(*tab.value(5, 10), CellValue::Text("0012".into()));
        assert!(tab.filter_area().is_some());
    });
}

#[tokio::test]
async fn the_one_scope_is_that_for_spreadsheets() {
    use base64::Engine;
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=1)).await.unwrap();
    bench.cycle(&[corrected(1)]).await.unwrap();
    let tokens: Vec<String> =
        bench.google.server.log().iter().filter(|one| one.target == "/token").map(|one| one.body.clone()).collect();
    assert_eq!(tokens.len(), 2);
    for form in tokens {
        let form: std::collections::HashMap<String, String> =
            url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let claims = form["assertion"].split('.').nth(1).unwrap().trim_end_matches('=').to_owned();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["scope"], oauth::SCOPE);
    }
}

#[tokio::test]
async fn what_the_owner_moves_and_renames_is_followed() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    bench.edit(|book| {
        book.move_column(TAB, 11, 0);
        book.insert_column(TAB, 1);
        book.set_cell(TAB, 0, 1, CellValue::Text("Mine".into()));
        book.set_cell(TAB, 1, 1, CellValue::Text("note".into()));
        book.set_cell(TAB, 0, 2, CellValue::Text("Day".into()));
        book.sort_by_column(TAB, 0, true);
        book.rename_tab(TAB, "Счетоводство");
    });
    bench.google.server.clear_log();
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(bench.asked(), AMONG);
    assert_eq!(bench.ids(), [ids_of(1..=3).into_iter().rev().collect(), ids_of(4..=4)].concat());
    bench.google.read(&bench.id, |book| {
        let row = &book.rows("Счетоводство")[4];
        assert_eq!(
            (&row[1], &row[2], &row[3]),
            (&CellValue::Empty, &CellValue::Number(46027.0), &CellValue::Number(-12.3))
        );
        assert_eq!(book.titles(), ["Sheet1", "Счетоводство"]);
    });
}

#[tokio::test]
async fn rows_arrive_exactly_once_whatever_happens_to_an_answer() {
    let faults = [
        Fault::Drop,
        Fault::ApplyThenDrop,
        Fault::Status(503, String::new()),
        Fault::Status(502, "<html>Bad Gateway</html>".into()),
        Fault::ApplyThenStatus(
            503,
            r#"{"error":{"code":503,"message":"The service is currently unavailable.","status":"UNAVAILABLE"}}"#.into(),
        ),
        Fault::ApplyThenStatus(500, "<html></html>".into()),
        Fault::Truncate,
        Fault::CutBody,
        Fault::Status(429, r#"{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}"#.into()),
        Fault::StatusRetryAfter(429, String::new(), 0),
    ];
    for fault in faults {
        let mut bench = Bench::new().await;
        bench.google.quota(None);
        // The set-up, then the rows of a cycle, then corrections.
        bench.google.server.fail_next(WRITE, fault.clone());
        bench.cycle(&new(1..=2)).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        bench.google.server.fail_next(WRITE, fault.clone());
        let verdicts = bench.cycle(&new(3..=4)).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(verdicts, vec![Verdict::Appended; 2], "{fault:?}");
        // Token, read, write, a read that settles it; then a look at the new rows, or another write where the first was not
        // applied.
        assert_eq!(bench.counted, 5, "{fault:?}");
        let last = bench.google.server.log().pop().unwrap().target;
        assert!(last.contains(WRITE) || last.contains(":getByDataFilter"), "{fault:?}: {last}");
        bench.google.server.fail_next(WRITE, fault.clone());
        assert_eq!(bench.cycle(&[corrected(2)]).await.unwrap(), [Verdict::Updated], "{fault:?}");
        assert!(!bench.google.server.faults_left(), "{fault:?}");
        assert_eq!(bench.ids(), ids_of(1..=4), "{fault:?}");
        bench.google.read(&bench.id, |book| {
            assert_eq!(book.titles(), ["Sheet1", TAB], "{fault:?}");
            let ledgers = book.metadata().iter().filter(|entry| entry.key == ledger::LEDGER_KEY);
            assert_eq!(ledgers.count(), 1, "{fault:?}");
            assert_eq!(book.metadata().len(), 15, "{fault:?}");
            assert_eq!(*book.tab(TAB).unwrap().value(2, 4), CellValue::Text("corrected".into()), "{fault:?}");
        });
    }
}

#[tokio::test]
async fn faults_of_reads_are_tried_again() {
    for fault in [Fault::Drop, Fault::CutBody, Fault::Truncate, Fault::Status(503, "{}".into())] {
        for read in ["developerMetadata:search", "GET ", "POST /token"] {
            let mut bench = Bench::new().await;
            bench.google.server.fail_next(read, fault.clone());
            bench.cycle(&new(1..=1)).await.unwrap_or_else(|error| panic!("{fault:?} of {read}: {error}"));
            assert_eq!(bench.ids(), ids_of(1..=1));
            assert_eq!(bench.counted, bench.google.server.requests(), "{fault:?} of {read}");
        }
    }
}

#[tokio::test]
async fn a_request_that_arrives_late_is_refused_by_its_guard() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=1)).await.unwrap();
    bench.google.server.fail_next(WRITE, Fault::Late(Duration::from_millis(200)));
    bench.cycle(&new(2..=3)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=3));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(bench.ids(), ids_of(1..=3));
}

#[tokio::test]
async fn both_spellings_of_the_guards_refusal_are_understood() {
    for colon in [true, false] {
        let mut bench = Bench::new().await;
        bench.google.named_range_colon(colon);
        bench.cycle(&new(1..=1)).await.unwrap();
        let items = new(2..=3);
        let mut sheets = bench.sheets();
        let number = sheets.open(None).await.unwrap().last_batch + 1;
        let batch = sheets.prepare(number, &items).await.unwrap();
        // A connector that does not know that the batch was applied sends it again.
        let mut again = bench.sheets();
        again.open(None).await.unwrap();
        assert_eq!(sheets.write(&batch, &items).await.unwrap(), Outcome::Done(vec![Verdict::Appended; 2].into()));
        assert_eq!(again.write(&batch, &items).await.unwrap(), Outcome::Done(vec![Verdict::Appended; 2].into()));
        // A batch with other rows has the same number.
        let mut other = bench.sheets();
        other.open(None).await.unwrap();
        let rival = other.prepare(number, &new(7..=7)).await.unwrap();
        assert_ne!(rival.hash, batch.hash);
        assert_eq!(other.write(&rival, &new(7..=7)).await.unwrap(), Outcome::Superseded { hash: batch.hash });
        assert_eq!(other.status(number, rival.hash).await.unwrap().0, BatchStatus::Superseded { hash: batch.hash });
        assert_eq!(other.status(number, batch.hash).await.unwrap().0, BatchStatus::Applied);
        assert_eq!(other.status(number + 1, 5).await.unwrap().0, BatchStatus::NotApplied);
        assert_eq!(bench.ids(), ids_of(1..=3));
        // Planned anew it goes through.
        let next = other.prepare(number + 1, &new(7..=7)).await.unwrap();
        assert_eq!(other.write(&next, &new(7..=7)).await.unwrap(), Outcome::Done(vec![Verdict::Appended].into()));
    }
}

#[tokio::test]
async fn no_row_is_refused_because_the_size_is_asked_for() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    let said = r#"{"error": {"code": 400, "message": "The response is too large.", "status": "INVALID_ARGUMENT"}}"#;
    bench.google.server.fail_next(WRITE, Fault::Status(400, said.into()));
    bench.google.server.clear_log();
    let mut sheets = bench.sheets();
    assert_eq!(bench.drive(&mut sheets, &new(3..=3)).await.unwrap(), [Verdict::Appended]);
    bench.drive(&mut sheets, &new(4..=4)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=4));
    let log = bench.google.server.log();
    let asks = log.iter().filter(|one| one.target.contains(WRITE));
    let asks: Vec<bool> = asks.map(|one| one.body.contains("includeSpreadsheetInResponse")).collect();
    assert_eq!(asks, [true, false, false], "and it is not asked for again");
    // A row that is to blame is found out once.
    for _ in 0..4 {
        bench.google.server.fail_next(WRITE, Fault::Status(400, said.into()));
    }
    let mut sheets = bench.sheets();
    for _ in 0..2 {
        assert_eq!(bench.drive(&mut sheets, &new(5..=5)).await.unwrap_err().kind, Kind::Unexplained);
    }
    assert_eq!(bench.drive(&mut sheets, &new(5..=5)).await.unwrap_err().kind, Kind::Unexplained);
    assert!(!bench.google.server.faults_left());
}

#[tokio::test]
async fn another_400_is_a_refusal_and_applies_nothing() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=1)).await.unwrap();
    let refusal = r#"{"error":{"code":400,"message":"Invalid value at 'requests[1]'","status":"INVALID_ARGUMENT"}}"#;
    bench.google.server.fail_next(WRITE, Fault::Status(400, refusal.into()));
    assert_eq!(bench.cycle(&new(2..=2)).await.unwrap_err().kind, Kind::Unexplained);
    bench.cycle(&new(2..=2)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=2));
}

#[tokio::test]
async fn corrections_find_their_row_and_touch_only_the_banks_cells() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    bench.edit(|book| {
        book.set_cell(TAB, 2, 5, CellValue::Text("my category".into()));
        book.set_cell(TAB, 2, 2, CellValue::Text("my edit".into()));
        book.sort_by_column(TAB, 11, true);
        book.delete_row(TAB, 1);
    });
    bench.google.server.clear_log();
    let verdicts = bench.cycle(&[corrected(1), corrected(2), corrected(3)]).await.unwrap();
    assert_eq!(verdicts, [Verdict::Updated, Verdict::Updated, Verdict::Deleted]);
    assert_eq!(bench.asked()[2], "POST /v4/spreadsheets/ID/values:batchGetByDataFilter");
    assert_eq!(bench.asked().len(), 4);
    bench.google.read(&bench.id, |book| {
        let row = &book.rows(TAB)[1];
        assert_eq!(row[11], CellValue::Text(transaction(2).row.id));
        assert_eq!(row[4], CellValue::Text("corrected".into()));
        assert_eq!((&row[5], &row[2]), (&CellValue::Text("my category".into()), &CellValue::Text("my edit".into())));
    });
    assert_eq!(bench.ids(), ids_of(1..=2).into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn corrections_sent_again_look_for_their_rows_again() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    let (mut sheets, items) = (bench.sheets(), [corrected(1)]);
    let number = sheets.open(None).await.unwrap().last_batch + 1;
    let batch = sheets.prepare(number, &items).await.unwrap();
    bench.google.server.fail_next(WRITE, Fault::Drop);
    assert!(sheets.write(&batch, &items).await.unwrap_err().is_transient());
    bench.edit(|book| book.sort_by_column(TAB, 11, true));
    assert_eq!(sheets.write(&batch, &items).await.unwrap(), Outcome::Done(vec![Verdict::Updated].into()));
    assert_eq!(bench.column(TAB, 4)[1..3], vec![CellValue::Text(transaction(2).row.description); 2]);
    assert_eq!(bench.column(TAB, 4)[3], CellValue::Text("corrected".into()));
}

#[tokio::test]
async fn a_number_is_used_up_even_where_the_row_has_gone_meanwhile() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    let (mut sheets, items) = (bench.sheets(), [corrected(1)]);
    let number = sheets.open(None).await.unwrap().last_batch + 1;
    let batch = sheets.prepare(number, &items).await.unwrap();
    bench.google.server.fail_next(WRITE, Fault::Late(Duration::from_millis(150)));
    sheets.write(&batch, &items).await.unwrap_err();
    bench.edit(|book| book.delete_row(TAB, 1));
    let Outcome::Done(written) = sheets.write(&batch, &items).await.unwrap() else { panic!("the number is free") };
    assert_eq!((written.verdicts, written.misplaced.unverified), (vec![Verdict::Deleted], true));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!bench.column(TAB, 4).contains(&CellValue::Text("corrected".into())), "the late one hits another row");
    assert_eq!(bench.sheets().open(None).await.unwrap().last_batch, number);
}

#[tokio::test]
async fn what_needs_no_request_sends_none() {
    let mut bench = Bench::new().await;
    bench.config.rows.updates = Updates::Ignore;
    bench.config.rows.vanished = Vanished::Ignore;
    bench.cycle(&new(1..=1)).await.unwrap();
    bench.google.server.clear_log();
    let ignored = RowOp::Update { cells: false, mark: None };
    let corrected = RowChange { op: ignored, ..corrected(1) };
    let verdicts = bench.cycle(&[corrected, late(1, RowOp::Leave), late(1, ignored)]).await.unwrap();
    assert_eq!(verdicts, vec![Verdict::Unchanged; 3]);
    assert_eq!(bench.asked(), STEADY[..2]);
    assert_eq!(bench.number, 1);
}

#[tokio::test]
async fn vanished_rows_are_marked_or_deleted() {
    let struck = |bench: &Bench, row: usize| {
        bench.google.read(&bench.id, |book| {
            let cell = book.tab(TAB).unwrap().cell(row, 0).cloned().unwrap_or_default();
            cell.format().is_some_and(|format| format["textFormat"]["strikethrough"] == true)
        })
    };
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    bench.cycle(&[late(2, MARK)]).await.unwrap();
    assert_eq!([1, 2, 3].map(|row| struck(&bench, row)), [false, true, false]);
    bench.cycle(&[late(2, UNMARK)]).await.unwrap();
    assert!(!struck(&bench, 2));
    bench.config.rows.vanished = Vanished::Delete;
    bench.cycle(&[late(1, RowOp::Delete), late(3, RowOp::Delete)]).await.unwrap();
    assert_eq!(bench.ids(), ids_of(2..=2));
    assert_eq!(bench.cycle(&[late(1, RowOp::Reinsert { cells: true })]).await.unwrap(), [Verdict::Appended]);
    assert_eq!(bench.ids(), [ids_of(2..=2), ids_of(1..=1)].concat());
}

#[tokio::test]
async fn newest_first_stands_under_the_header() {
    let mut bench = Bench::new().await;
    bench.config.order = Order::NewestFirst;
    bench.cycle(&new(1..=2)).await.unwrap();
    bench.cycle(&[late(2, MARK)]).await.unwrap();
    bench.google.server.clear_log();
    bench.cycle(&new(3..=4)).await.unwrap();
    assert_eq!(bench.asked(), STEADY);
    assert_eq!(bench.ids(), ids_of(1..=4).into_iter().rev().collect::<Vec<_>>());
    bench.google.read(&bench.id, |book| {
        let cell = book.tab(TAB).unwrap().cell(1, 0).unwrap();
        assert_eq!(cell.number_format(), Some(("DATE", "yyyy-mm-dd")));
        assert!(cell.format().unwrap()["textFormat"]["strikethrough"] != true);
    });
}

#[tokio::test]
async fn a_deleted_column_stays_away_and_the_id_column_returns() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    bench.edit(|book| book.delete_column(TAB, 2));
    bench.cycle(&new(3..=3)).await.unwrap();
    bench.google.server.clear_log();
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(bench.asked(), STEADY, "once looked for, a deleted column costs nothing");
    assert!(!bench.column(TAB, 2).contains(&CellValue::Text("EUR".into())));
    bench.edit(|book| book.delete_column(TAB, 10));
    bench.cycle(&new(5..=5)).await.unwrap();
    let told = bench.sheets().extras().publish().await.unwrap_err();
    assert_eq!(told.cause(), Some(Cause::Layout));
    assert!(told.message.contains("the column with the transaction ids was deleted and has been made again"), "{told}");
    bench.google.read(&bench.id, |book| {
        let header = &book.rows(TAB)[0];
        assert_eq!(header.iter().filter(|cell| **cell == CellValue::Text("Transaction ID".into())).count(), 1);
        assert!(!header.contains(&CellValue::Text("Currency".into())));
    });
    assert_eq!(bench.ids().last().unwrap(), &transaction(5).row.id);
}

#[tokio::test]
async fn a_deleted_tab_is_made_again() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    bench.edit(|book| book.delete_tab(TAB));
    let mut sheets = bench.sheets();
    bench.drive(&mut sheets, &new(3..=3)).await.unwrap();
    assert!(sheets.state().notes[0].starts_with("there was no tab `Transactions` any more and it has been made again"));
    assert_eq!(bench.ids(), ids_of(3..=3));
    let mut sheets = bench.sheets();
    assert_eq!(sheets.open(None).await.unwrap().last_batch, 2);
    assert_eq!(ids(&mut sheets).await, ids_of(3..=3));
}

#[tokio::test]
async fn a_tab_made_by_hand_is_taken_over_with_its_ids() {
    let mut bench = Bench::new().await;
    // A title in which every character means something to a path, a query or a range.
    let title = "It's 100%/ours? #1+2!A1";
    bench.config.tab = title.into();
    bench.edit(|book| {
        book.rename_tab("Sheet1", title);
        for (at, header) in ["Description", "Бележки", "ID", "Сума"].iter().enumerate() {
            book.set_cell(title, 0, at, CellValue::Text((*header).into()));
        }
        book.set_cell(title, 1, 1, CellValue::Text("mine".into()));
        book.set_cell(title, 2, 2, CellValue::Text(transaction(1).row.id));
        book.set_cell(title, 2, 3, CellValue::Number(5.0));
    });
    let mut sheets = bench.sheets();
    assert_eq!(sheets.open(None).await.unwrap().last_batch, 0);
    assert_eq!(ids(&mut sheets).await, ids_of(1..=1));
    bench.cycle(&new(2..=3)).await.unwrap();
    bench.google.read(&bench.id, |book| {
        let rows = book.rows(title);
        assert_eq!(rows[0].len(), 13, "nine columns joined the four");
        assert_eq!(rows[3][1], CellValue::Empty);
        assert_eq!((&rows[3][2], &rows[3][3]), (&CellValue::Text(transaction(2).row.id), &CellValue::Number(-12.3)));
        let tab = book.tab(title).unwrap();
        assert_eq!(tab.cell(3, 3).unwrap().number_format(), Some(("NUMBER", SIGNED)));
        assert_eq!(tab.cell(2, 3).unwrap().number_format(), None);
    });
    bench.google.server.clear_log();
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(bench.asked(), AMONG);
}

#[tokio::test]
async fn a_lost_ledger_and_lost_notes_are_made_again_without_double_rows() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    bench.edit(|book| {
        for key in [ledger::LEDGER_KEY, metadata::TAB_KEY, metadata::COLUMN_KEY] {
            book.delete_metadata(key);
        }
    });
    // The local store is lost, too.
    (bench.memory, bench.number) = (Vec::new(), 0);
    let mut sheets = bench.sheets();
    assert_eq!(sheets.open(None).await.unwrap().last_batch, 1, "the guard that stands tells the number");
    assert_eq!(ids(&mut sheets).await, ids_of(1..=2));
    assert_eq!(sheets.status(1, 77).await.unwrap().0, BatchStatus::Superseded { hash: 0 });
    bench.cycle(&new(3..=3)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=3));
}

#[tokio::test]
async fn a_large_batch_is_formatted_by_column_and_below_two_megabytes() {
    let mut bench = Bench::new().await;
    let verdicts = bench.cycle(&new(1..=4_000)).await.unwrap();
    assert_eq!(verdicts.len(), 4_000);
    assert_eq!(bench.ids(), ids_of(1..=4_000));
    let writes: Vec<usize> =
        bench.google.server.log().iter().filter(|one| one.target.contains(WRITE)).map(|one| one.body.len()).collect();
    assert!(writes.len() <= 4 && writes.iter().all(|length| *length < 1_950_000), "{writes:?}");
    assert_eq!(bench.counted, 3 + writes.len() as u64);
    bench.google.read(&bench.id, |book| {
        let tab = book.tab(TAB).unwrap();
        for row in [1, 999, 1_000, 3_000, 4_000] {
            assert_eq!(tab.cell(row, 0).unwrap().number_format(), Some(("DATE", "yyyy-mm-dd")), "row {row}");
        }
        assert!(tab.row_count >= 4_001);
    });
}

#[tokio::test]
async fn a_row_that_fits_no_cell_is_refused_alone() {
    let mut bench = Bench::new().await;
    let mut items = new(1..=3);
    items[1].transaction.row.description = "x".repeat(50_001);
    let verdicts = bench.cycle(&items).await.unwrap();
    assert!(matches!(&verdicts[..], [Verdict::Appended, Verdict::Rejected(_), Verdict::Appended]), "{verdicts:?}");
    assert_eq!(bench.ids(), [ids_of(1..=1), ids_of(3..=3)].concat());
}

#[tokio::test]
async fn old_guards_go_and_an_owner_who_tidied_up_does_no_harm() {
    let mut bench = Bench::new().await;
    for n in 1..=4 {
        bench.cycle(&new(n..=n)).await.unwrap();
    }
    let guards = Guards::new(&bench.id, "home");
    let names = |bench: &Bench| {
        bench
            .google
            .read(&bench.id, |book| book.named_ranges().iter().map(|range| range.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(&bench).len(), 4);
    bench.edit(|book| book.delete_named_range(&guards.name(2)));
    for n in 5..=6 {
        // As if the guards were sent long ago.
        let (mut sheets, items) = (bench.sheets(), new(n..=n));
        let number = sheets.open(None).await.unwrap().last_batch + 1;
        if let Some((_, ledger)) = &mut sheets.known.ledger {
            *ledger = serde_json::from_str(&aged(&ledger.to_json())).unwrap();
        }
        let batch = sheets.prepare(number, &items).await.unwrap();
        let request = sheets.prepared.as_ref().and_then(|prepared| prepared.request.as_ref()).unwrap();
        assert!(!request.removals.is_empty());
        assert_eq!(sheets.write(&batch, &items).await.unwrap(), Outcome::Done(vec![Verdict::Appended].into()));
    }
    assert_eq!(bench.ids(), ids_of(1..=6));
    // The removal that was refused for the missing range was given up; the next removal went through.
    let left = names(&bench);
    assert!(left.contains(&guards.name(5)) && left.contains(&guards.name(6)), "{left:?}");
    assert!(!left.contains(&guards.name(4)), "{left:?}");
}

/// A ledger whose guards were sent in 1970.
fn aged(ledger: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(ledger).unwrap();
    for run in value["guards"].as_array_mut().unwrap() {
        run["sent"] = 0.into();
    }
    value.to_string()
}

#[tokio::test]
async fn errors_name_the_remedy() {
    let mut bench = Bench::new().await;
    let check = async |bench: &Bench| bench.sheets().check().await;
    let news = check(&bench).await.unwrap();
    assert!(news.iter().any(|line| line.contains("`Transactions` will be created")), "{news:?}");
    let writes: Vec<_> =
        bench.google.server.log().into_iter().filter(|one| one.target.contains("batchUpdate")).collect();
    assert_eq!(writes.iter().map(|one| one.status).collect::<Vec<_>>(), [400], "check writes nothing: {writes:?}");
    bench.cycle(&new(1..=1)).await.unwrap();
    assert!(check(&bench).await.unwrap()[1].contains("12 columns"));

    bench.google.share(&bench.id, Access::None);
    let denied = check(&bench).await.unwrap_err();
    assert_eq!(denied.cause(), Some(Cause::NotFound));
    assert!(denied.message.contains(&bench.google.client_email()), "{denied}");
    bench.google.share(&bench.id, Access::Viewer);
    let viewer = check(&bench).await.unwrap_err();
    assert_eq!(viewer.cause(), Some(Cause::NotPermitted), "{viewer}");
    assert_eq!(bench.cycle(&new(2..=2)).await.unwrap_err().cause(), Some(Cause::NotPermitted));
    bench.google.share(&bench.id, Access::Editor);
    bench.google.disable_api(true);
    let off = check(&bench).await.unwrap_err();
    assert!(off.message.contains("enable it") && !off.message.contains("://"), "{off}");
    bench.google.disable_api(false);
    bench.edit(|book| book.protect(TAB, 0, 1_000));
    let protected = bench.cycle(&new(2..=2)).await.unwrap_err();
    assert_eq!(protected.cause(), Some(Cause::NotPermitted), "{protected}");
    bench.config.spreadsheet = "1Missing".into();
    assert_eq!(check(&bench).await.unwrap_err().cause(), Some(Cause::NotFound));
    bench.config.service_account = Secret::Plain("no key".into());
    let key = check(&bench).await.unwrap_err();
    assert!(key.cause() == Some(Cause::Token) && key.message.contains("is not JSON"), "{key}");
}

#[tokio::test]
async fn an_answer_without_a_token_is_not_remembered() {
    let mut bench = Bench::new().await;
    bench.google.server.fail_next("/token", Fault::Status(200, r#"{"token_type":"Bearer"}"#.into()));
    bench.google.server.fail_next("/token", Fault::Status(200, "<html>Sign in</html>".into()));
    bench.cycle(&new(1..=1)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=1));
    assert_eq!(bench.asked()[..3], ["POST /token"; 3]);
    assert_eq!(bench.counted, bench.google.server.requests());
    let refused = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    bench.google.server.fail("/token", 0, u32::MAX, Fault::Status(400, refused.into()));
    bench.google.server.clear_log();
    let error = bench.cycle(&new(2..=2)).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Token));
    assert_eq!(bench.asked(), ["POST /token"], "a refused key is tried once");
}

#[tokio::test]
async fn a_token_taken_back_is_told_apart_from_one_that_ran_out() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=1)).await.unwrap();
    let mut sheets = bench.sheets();
    sheets.open(None).await.unwrap();
    bench.google.expire_tokens();
    let items = new(2..=2);
    let batch = sheets.prepare(2, &items).await.unwrap();
    // Seconds after it was handed out nothing but a refused key explains it.
    assert_eq!(sheets.write(&batch, &items).await.unwrap_err().cause(), Some(Cause::Token));
    // Asked again, a new token is fetched.
    assert_eq!(sheets.write(&batch, &items).await.unwrap(), Outcome::Done(vec![Verdict::Appended].into()));
}

#[tokio::test]
async fn silence_ends() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=1)).await.unwrap();
    let short = Limits { read: Duration::from_millis(300), write: Duration::from_millis(300), grace: Duration::ZERO };
    let (mut sheets, items) = (bench.sheets(), new(2..=2));
    sheets.limits = short;
    bench.google.server.fail_next("developerMetadata:search", Fault::Hang);
    let number = sheets.open(None).await.unwrap().last_batch + 1;
    let batch = sheets.prepare(number, &items).await.unwrap();
    bench.google.server.fail_next(WRITE, Fault::Hang);
    let error = sheets.write(&batch, &items).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert_eq!(sheets.status(number, batch.hash).await.unwrap().0, BatchStatus::NotApplied);
    assert_eq!(sheets.write(&batch, &items).await.unwrap(), Outcome::Done(vec![Verdict::Appended].into()));
    assert_eq!(bench.ids(), ids_of(1..=2));
}

#[tokio::test]
async fn where_https_is_configured_nothing_goes_out_in_the_clear() {
    let mut bench = Bench::new().await;
    bench.config.base_url = bench.config.base_url.as_str().replace("http:", "https:").parse().unwrap();
    let error = bench.sheets().check().await.unwrap_err();
    // The machine may be one without certificates.
    assert!(error.kind == Kind::Unavailable || error.cause() == Some(Cause::Machine), "{error}");
    assert!(bench.asked().iter().all(|one| one == "POST /token"), "{:?}", bench.asked());
}

#[tokio::test]
async fn a_stop_ends_whatever_is_under_way() {
    let bench = Bench::new().await;
    let (stop, shutdown) = Shutdown::new();
    let context = Context::new(shutdown, Backoff::immediate());
    let mut sheets = GoogleSheets::new("home", &bench.config, context, &[]).unwrap();
    bench.google.server.fail_next("developerMetadata:search", Fault::Hang);
    let (opened, ()) = tokio::join!(sheets.open(None), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        stop.send(true).unwrap();
    });
    assert_eq!(opened.unwrap_err().kind, Kind::Stopped);
}

#[tokio::test]
async fn two_tabs_of_one_spreadsheet_do_not_mix() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=1)).await.unwrap();
    // With another tab the rows of the same destination go there, and its numbers go on.
    bench.config.tab = "Other".into();
    bench.cycle(&new(2..=2)).await.unwrap();
    let other = Bench {
        google: bench.google.clone(),
        id: bench.id.clone(),
        config: bench.config.clone(),
        memory: vec![],
        number: 0,
        counted: 0,
    };
    let context = Context::new(Shutdown::never(), Backoff::immediate());
    let mut config = other.config.clone();
    config.tab = "Third".into();
    let mut third = GoogleSheets::new("office", &config, context, &[]).unwrap();
    assert_eq!(third.open(None).await.unwrap().last_batch, 0);
    bench.google.read(&bench.id, |book| {
        assert_eq!(book.titles(), ["Sheet1", TAB, "Other", "Third"]);
        assert_eq!([TAB, "Other", "Third"].map(|tab| book.rows(tab).len()), [2, 2, 1]);
    });
    // Renamed in both places it is still the same tab.
    bench.edit(|book| book.rename_tab("Other", "Renamed"));
    bench.config.tab = "Renamed".into();
    bench.cycle(&new(3..=3)).await.unwrap();
    assert_eq!(bench.google.read(&bench.id, |book| book.rows("Renamed").len()), 3);
    bench.google.server.clear_log();
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(bench.asked(), STEADY);
}

/// The ids that the destination shows.
async fn ids(destination: &mut dyn Destination) -> Vec<String> {
    let mut ids = Ids::default();
    destination.read(Reading::Ids, &mut ids).await.unwrap();
    ids.0
}

/// The files that make no request.
const PURE: [&str; 23] = [
    "answer",
    "balances",
    "cells",
    "dashboard",
    "drawing",
    "entries",
    "errors",
    "expected_rows",
    "formulas",
    "header_row",
    "key_text",
    "layout",
    "ledger",
    "left_out",
    "metadata",
    "placing",
    "request",
    "requests",
    "row_batch",
    "rule_lines",
    "rules_layout",
    "setup",
    "spreadsheet",
];

#[test]
fn the_pure_half_names_no_file_of_the_connected_half() {
    for file in PURE {
        let path = format!("{}/src/destination/google_sheets/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("use super::")) {
            let named = line.split([':', ';']).next().unwrap();
            assert!(PURE.contains(&named), "{file} names {named}");
        }
    }
}
