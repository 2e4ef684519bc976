//! Ten million cells are all that a spreadsheet holds: the owner hears of it in time, and no row is lost if he did not.

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::{CellValue, Spreadsheet};
use bankfeed::sync::Outcome;
use chrono::Utc;
use rust_decimal::Decimal;

use crate::cli::json;
use crate::world::World;

const WARNING: &str = "the spreadsheet has 91 % of the 10000000 cells that Google allows, empty ones included: ";

fn book(world: &World, payee: &str) {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let (number, amount) = (bank.last_number() + 1, Decimal::new(-420, 2));
        let (value_date, counterparty) = (time.date_naive(), payee.to_owned());
        bank.add(&iban, Entry { number, time, value_date, amount, counterparty, ..Entry::default() });
    });
}

/// The owner's own tab gets so many cells that all are about this many.
fn fill(world: &World, cells: usize) {
    world.google.edit(&world.spreadsheet, |book| {
        let others = book.cell_count() - book.sheets[0].row_count * book.sheets[0].column_count;
        book.sheets[0].row_count = (cells - others) / book.sheets[0].column_count;
    });
}

fn status_line(world: &World, tab: &str) -> String {
    match &world.google.read(&world.spreadsheet, |book| book.rows(tab))[0][0] {
        CellValue::Text(text) => text.clone(),
        other => panic!("no status line: {other:?}"),
    }
}

#[tokio::test]
async fn little_room_is_told_while_rows_still_go() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    fill(&world, 9_150_000);
    book(&world, "ПЕКАРНА");
    world.clear_logs();
    let report = world.cycle().await;
    let sheets = &report.destinations[0];
    assert_eq!((sheets.outcome, sheets.appended), (Outcome::Ok, 1), "it is no attention");
    assert!(sheets.notes.len() == 1 && sheets.notes[0].starts_with(WARNING), "{:?}", sheets.notes);
    assert_eq!(world.google.server.requests(), 4, "token, search, rows; and once that the balances say it");
    let said = status_line(&world, "Balances");
    assert!(said.starts_with("The spreadsheet has 91 %") && said.contains(". All is well: "), "{said}");
    let (code, status) = json(&world, &["status", "--json"]).await;
    assert_eq!((code, &status["destinations"][0]["attention"]), (0, &serde_json::Value::Null));
    assert!(status["destinations"][0]["notes"][0].as_str().unwrap().starts_with(WARNING), "{status}");
    // A known warning costs no further request.
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!((world.google.server.requests(), report.destinations[0].notes.len()), (0, 1));
    book(&world, "АПТЕКА");
    world.cycle().await;
    assert_eq!(world.google.server.requests(), 3);
    // The warning ends with the next rows after room was made.
    fill(&world, 200_000);
    book(&world, "КИНО");
    let report = world.cycle().await;
    assert_eq!(report.destinations[0].notes, Vec::<String>::new());
    assert!(!status_line(&world, "Balances").contains("10000000"));
    world.assert_delivered();
}

#[tokio::test]
async fn a_bulgarian_owner_reads_it_in_his_words() {
    let mut world = World::new(Bank::small()).await;
    world.extra[1] = "language = \"bg\"\n".into();
    world.write_config();
    world.cycle().await;
    fill(&world, 9_150_000);
    book(&world, "ПЕКАРНА");
    world.cycle().await;
    let tab = world.google.read(&world.spreadsheet, |book| book.titles()).swap_remove(2);
    let said = status_line(&world, &tab);
    assert!(said.starts_with("Таблицата има 91 % от 10000000 клетки, които Google допуска"), "{tab}: {said}");
}

#[tokio::test]
async fn a_full_spreadsheet_waits_for_room_and_nothing_is_lost() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    // Every row of our tab is used, and no cell fits beside it.
    world.google.edit(&world.spreadsheet, |book| book.trim("Transactions"));
    fill(&world, 10_000_000);
    let full = |book: &Spreadsheet| book.rows("Transactions").len();
    let before = world.google.read(&world.spreadsheet, full);
    for payee in ["ПЕКАРНА", "АПТЕКА"] {
        book(&world, payee);
        let report = world.cycle().await;
        let sheets = &report.destinations[0];
        assert_eq!(sheets.outcome, Outcome::Attention);
        let error = sheets.error.as_deref().unwrap();
        assert!(error.contains("above the limit of 10000000 cells): delete empty rows, columns and tabs"), "{error}");
    }
    assert_eq!(world.google.read(&world.spreadsheet, full), before);
    let (_, status) = json(&world, &["status", "--json"]).await;
    assert_eq!(status["destinations"][0]["waiting"], 2);
    fill(&world, 5_000_000);
    let report = world.cycle().await;
    assert_eq!((report.destinations[0].outcome, report.destinations[0].appended), (Outcome::Ok, 2));
    world.assert_delivered();
}
