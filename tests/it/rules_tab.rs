//! The tab in which an owner keeps rules, through the real stack: made once, read with the rows, followed wherever it
//! goes.

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::{CellValue, Spreadsheet};
use chrono::{Days, Utc};
use rust_decimal::Decimal;

use crate::cli::run;
use crate::world::World;

const COLUMNS: &str = "columns = [\"date\", \"amount\", \"counterparty\", \"category\", \"vendor\", \"id\"]\n";
const CAFE: &str = "КАФЕ ПРИ МЕЧО";

async fn world(sheets: &str) -> World {
    let mut world = World::new(Bank::small()).await;
    world.extra[1] = format!("{COLUMNS}rules_tab = \"Rules\"\n{sheets}");
    world.extra[2] = COLUMNS.into();
    world.write_config();
    world
}

async fn cycle(world: &World) {
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
}

/// Books a new entry, so that there is a row to deliver.
fn book(world: &World, payee: &str) {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let now = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let entry = Entry {
            number: bank.last_number() + 1,
            time: now,
            value_date: now.date_naive(),
            amount: Decimal::new(-240, 2),
            counterparty: payee.into(),
            type_name: "Плащане".into(),
            ..Entry::default()
        };
        bank.add(&iban, entry);
    });
}

fn edit(world: &World, change: impl FnOnce(&mut Spreadsheet)) {
    world.google.edit(&world.spreadsheet, change);
}

fn show(cell: &CellValue) -> String {
    if let CellValue::Text(text) = cell { text.clone() } else { String::new() }
}

fn rows(world: &World, tab: &str) -> Vec<Vec<String>> {
    let rows = world.google.read(&world.spreadsheet, |book| book.rows(tab));
    rows.iter().map(|row| row.iter().map(show).collect()).collect()
}

/// The owner types into a line of the tab, by the headers.
fn fill_in(world: &World, tab: &str, line: usize, cells: &[(&str, CellValue)]) {
    let header = rows(world, tab).remove(0);
    edit(world, |book| {
        for (name, cell) in cells {
            let at = header.iter().position(|header| header == name).unwrap_or_else(|| panic!("no column {name}"));
            book.set_cell(tab, line, at, cell.clone());
        }
    });
}

fn text(text: &str) -> CellValue {
    CellValue::Text(text.into())
}

fn statuses(world: &World, tab: &str) -> Vec<String> {
    let mut rows = rows(world, tab);
    let at = rows[0].iter().position(|header| header == "Status").unwrap();
    rows.drain(1..).map(|row| row.get(at).cloned().unwrap_or_default()).collect()
}

/// The cells of a column in sheet and base for the rows of a counterparty.
fn found(world: &World, header: &str, counterparty: &str) -> [Vec<String>; 2] {
    let names = world.column("Counterparty");
    let cells = world.column(header);
    let sheet = names.iter().zip(&cells).filter(|(name, _)| show(name) == counterparty).map(|(_, cell)| show(cell));
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    let of = |record: &std::collections::BTreeMap<String, serde_json::Value>, key: &str| {
        record.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let base = records.iter().filter(|record| of(record, "Counterparty") == counterparty);
    [sheet.collect(), base.map(|record| of(record, header)).collect()]
}

fn both(cells: &[&str]) -> [Vec<String>; 2] {
    let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
    [cells.clone(), cells]
}

/// Runs a command; returns its exit status, its output and its complaints.
async fn told(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let output = run(world, arguments).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Moves the last reading of the rules back to the day before.
fn yesterday(world: &World) {
    let engine = world.engine();
    for destination in &engine.config.destinations {
        let mut state = engine.store.destination(&destination.name, &destination.target()).unwrap();
        state.rules.day = state.rules.day.and_then(|day| day.checked_sub_days(Days::new(1)));
        engine.store.put_destination(&destination.name, &destination.target(), &state).unwrap();
    }
}

#[tokio::test]
async fn a_rule_of_the_owner_fills_old_rows_and_new_ones_in_every_destination() {
    let world = world("").await;
    cycle(&world).await;
    let made = rows(&world, "Rules");
    assert_eq!(made[0][0], "Counterparty");
    assert_eq!(made[1], ["lidl|kaufland|billa", "", "", "debit", "", "", "", "Groceries", "", "", "", "x", "off"]);
    world.clear_logs();
    cycle(&world).await;
    assert_eq!(world.google.server.requests(), 0, "nothing is new");

    // Typed with a Latin K; the example is switched on.
    let amount = CellValue::Number(2.0);
    fill_in(
        &world,
        "Rules",
        2,
        &[("Counterparty", text("^kaфe")), ("Amount from", amount), ("Set category", text("Coffee"))],
    );
    fill_in(&world, "Rules", 1, &[("Off", CellValue::Empty)]);
    cycle(&world).await;
    assert_eq!(statuses(&world, "Rules"), ["off", ""], "a cycle with nothing new does not look");
    book(&world, "LIDL");
    world.clear_logs();
    cycle(&world).await;
    assert_eq!(world.google.server.requests(), 6, "token, search, rows; the rules, their status, and a look at that");
    assert_eq!(statuses(&world, "Rules"), ["ok", "ok"]);
    assert_eq!(found(&world, "Category", CAFE), both(&["", ""]), "it counts from the next cycle on");
    book(&world, "Lidl 2");
    cycle(&world).await;
    assert_eq!(found(&world, "Category", CAFE), both(&["Coffee", "Coffee"]));
    assert_eq!(found(&world, "Category", "LIDL"), both(&["Groceries"]));
    assert_eq!(found(&world, "Category", "Lidl 2"), both(&["Groceries"]));
    world.assert_delivered();
    world.clear_logs();
    cycle(&world).await;
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));

    // The tab is read once a day, even without new rows.
    fill_in(&world, "Rules", 2, &[("Set vendor", text("Мечо"))]);
    yesterday(&world);
    cycle(&world).await;
    cycle(&world).await;
    assert_eq!(found(&world, "Vendor", CAFE), both(&["Мечо", "Мечо"]));
}

#[tokio::test]
async fn the_owner_may_move_rename_and_sort_and_a_lost_store_reads_again() {
    let world = world("balances_tab = false\ndashboard_tab = false\n").await;
    cycle(&world).await;
    fill_in(&world, "Rules", 2, &[("Counterparty", text("кафе")), ("Set category", text("Coffee"))]);
    fill_in(&world, "Rules", 3, &[("Counterparty", text("мечо")), ("Set category", text("Bear"))]);
    edit(&world, |book| {
        book.rename_tab("Rules", "It's mine");
        book.move_column("It's mine", 12, 0);
        book.insert_column("It's mine", 3);
        book.set_cell("It's mine", 0, 3, CellValue::Text("why".into()));
        book.set_cell("It's mine", 2, 3, CellValue::Text("mine".into()));
        book.sort_by_column("It's mine", 1, true);
    });
    let before = rows(&world, "It's mine");
    assert_eq!(before[1][1], "мечо", "{before:?}");
    book(&world, "ЕДНО");
    cycle(&world).await;
    let after = rows(&world, "It's mine");
    assert_eq!(statuses(&world, "It's mine"), ["ok", "ok", "off"]);
    let without = |rows: &[Vec<String>]| rows.iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>();
    assert_eq!(without(&after), without(&before), "only the status is written");
    // The last one wins, after the owner's own sorting.
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    cycle(&world).await;
    cycle(&world).await;
    assert_eq!(found(&world, "Category", CAFE), both(&["Coffee", "Coffee"]));
    assert!(world.google.read(&world.spreadsheet, |book| book.tab("Rules").is_none()), "it was not made again");
}

/// The owner acts in the instant between reading the rules and writing their status.
fn in_that_instant(world: &World, change: impl FnOnce(&mut Spreadsheet) + Send + 'static) {
    let (google, id) = (world.google.clone(), world.spreadsheet.clone());
    world.google.server.meanwhile("values:batchGetByDataFilter", move || google.edit(&id, change));
}

#[tokio::test]
async fn a_status_stands_beside_its_line_whatever_the_owner_does_in_that_instant() {
    let world = world("balances_tab = false\ndashboard_tab = false\n").await;
    cycle(&world).await;
    fill_in(&world, "Rules", 2, &[("Counterparty", text("(bad")), ("Set category", text("Coffee"))]);
    fill_in(&world, "Rules", 3, &[("Counterparty", text("мечо")), ("Set category", text("Bear"))]);
    book(&world, "ЕДНО");
    in_that_instant(&world, |book| book.sort_by_column("Rules", 0, true));
    cycle(&world).await;
    let lines: Vec<(String, String)> = rows(&world, "Rules")
        .into_iter()
        .skip(1)
        .map(|row| (row[0].clone(), row.get(12).cloned().unwrap_or_default()))
        .collect();
    let beside = |payee: &str| &lines.iter().find(|(name, _)| name == payee).unwrap().1;
    assert_eq!([beside("мечо"), beside("lidl|kaufland|billa")], ["ok", "off"], "{lines:?}");
    assert!(beside("(bad").starts_with("`(bad` is not"), "{lines:?}");

    // A column of his that he moves in that instant is not written to either.
    fill_in(&world, "Rules", 4, &[("Counterparty", text("още")), ("Set category", text("More"))]);
    let header = rows(&world, "Rules").remove(0);
    in_that_instant(&world, |book| {
        book.move_column("Rules", 12, 0);
        book.set_cell("Rules", 0, 13, CellValue::Text("why".into()));
        book.set_cell("Rules", 2, 13, CellValue::Text("mine".into()));
    });
    book(&world, "ДВЕ");
    cycle(&world).await;
    let after = rows(&world, "Rules");
    assert_eq!(after[0][..1], header[12..]);
    assert_eq!(after[0][1..13], header[..12]);
    assert_eq!((after[2][13].as_str(), after[4][1].as_str(), after[4][8].as_str()), ("mine", "още", "More"));
    assert!(after.iter().skip(1).all(|row| row.get(12).is_none_or(|off| off.is_empty() || off == "x")), "{after:?}");
    assert!(statuses(&world, "Rules").contains(&"ok".to_owned()), "{after:?}");
}

#[tokio::test]
async fn a_tab_of_an_earlier_release_and_a_renamed_status_column_are_followed() {
    let world = world("balances_tab = false\ndashboard_tab = false\n").await;
    cycle(&world).await;
    edit(&world, |book| book.delete_metadata("bankfeed.rules.status"));
    fill_in(&world, "Rules", 2, &[("Counterparty", text("мечо")), ("Set category", text("Bear"))]);
    book(&world, "ЕДНО");
    cycle(&world).await;
    assert_eq!(statuses(&world, "Rules"), ["off", "ok"]);
    // The owner takes that column for himself and has the status elsewhere.
    edit(&world, |book| {
        book.set_cell("Rules", 0, 12, CellValue::Text("mine".into()));
        book.set_cell("Rules", 2, 12, CellValue::Text("my word".into()));
        book.set_cell("Rules", 0, 13, CellValue::Text("Състояние".into()));
    });
    book(&world, "ДВЕ");
    cycle(&world).await;
    let after = rows(&world, "Rules");
    assert_eq!((after[2][12].as_str(), after[1][13].as_str(), after[2][13].as_str()), ("my word", "off", "ok"));
    let entries = world.google.read(&world.spreadsheet, |book| {
        book.metadata().iter().filter(|entry| entry.key == "bankfeed.rules.status").count()
    });
    assert_eq!(entries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_told_and_hinders_no_other() {
    let world = world("").await;
    cycle(&world).await;
    fill_in(&world, "Rules", 2, &[("Counterparty", text("(кафе")), ("Set category", text("Coffee"))]);
    fill_in(&world, "Rules", 3, &[("Description", text("x")), ("Direction", text("out")), ("Set note", text("y"))]);
    fill_in(&world, "Rules", 5, &[("Counterparty", text("кафе")), ("Set category", text("Coffee"))]);
    book(&world, "ЕДНО");
    cycle(&world).await;
    let said = statuses(&world, "Rules");
    assert!(said[1].starts_with("`(кафе` is not a regular expression: "), "{said:?}");
    assert_eq!(said[2..], ["the direction is debit or credit, not `out`", "", "ok"]);
    cycle(&world).await;
    assert_eq!(found(&world, "Category", CAFE), both(&["Coffee", "Coffee"]));
    let (code, output, _) = told(&world, &["status"]).await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("  note: tab `Rules`, line 4: the direction is debit or credit, not `out`\n"), "{output}");
    assert!(!output.contains("needs you"), "{output}");
    let (_, output, _) = told(&world, &["rules", "test"]).await;
    assert!(output.contains("   1     6         2         2  household: counterparty ~ \"кафе\""), "{output}");

    // A protected tab is read, rows arrive, and its mistakes are reported without alarm.
    edit(&world, |book| book.protect("Rules", 0, 100));
    fill_in(&world, "Rules", 5, &[("Set category", text(""))]);
    book(&world, "ДВЕ");
    cycle(&world).await;
    world.assert_delivered();
    let (_, output, _) = told(&world, &["status"]).await;
    assert!(output.contains("  note: tab `Rules`: its status cannot be written: "), "{output}");
}

#[tokio::test]
async fn a_deleted_tab_stays_away_and_its_rules_end() {
    let world = world("").await;
    cycle(&world).await;
    fill_in(&world, "Rules", 2, &[("Counterparty", text("кафе")), ("Set category", text("Coffee"))]);
    book(&world, "ЕДНО");
    cycle(&world).await;
    cycle(&world).await;
    assert_eq!(found(&world, "Category", CAFE), both(&["Coffee", "Coffee"]));
    edit(&world, |book| book.delete_tab("Rules"));
    for payee in ["ДВЕ", "КАФЕ ТРИ"] {
        book(&world, payee);
        cycle(&world).await;
    }
    assert_eq!(found(&world, "Category", "КАФЕ ТРИ"), both(&[""]));
    assert_eq!(found(&world, "Category", CAFE), both(&["Coffee", "Coffee"]), "what was filled stays");
    assert!(world.google.read(&world.spreadsheet, |book| book.tab("Rules").is_none()));
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_apply_reads_them_first_and_the_file_comes_before_the_tab() {
    let mut world = world("").await;
    world.extra[2] +=
        "[[rule]]\nwhen = { counterparty = \"кафе\" }\nset = { category = \"File\", vendor = \"From file\" }\n";
    cycle(&world).await;
    world.write_config();
    fill_in(&world, "Rules", 2, &[("Counterparty", text("кафе")), ("Set category", text("Tab"))]);
    let (code, output, errors) = told(&world, &["rules", "apply"]).await;
    assert_eq!(code, 0, "{output}{errors}");
    assert_eq!(found(&world, "Category", CAFE), both(&["Tab", "Tab"]));
    assert_eq!(found(&world, "Vendor", CAFE), both(&["From file", "From file"]));
}

#[tokio::test]
async fn a_lost_answer_makes_one_tab() {
    for fault in [Fault::ApplyThenDrop, Fault::Drop, Fault::Status(503, String::new())] {
        let world = world("balances_tab = false\ndashboard_tab = false\n").await;
        // The first write sets the sheet up, the second brings the rows.
        world.google.server.fail(":batchUpdate", 2, 1, fault.clone());
        cycle(&world).await;
        assert!(!world.google.server.faults_left());
        let titles = world.google.read(&world.spreadsheet, |book| book.titles());
        assert_eq!(titles, ["Sheet1", "Transactions", "Rules"], "{fault:?}");
        world.assert_delivered();
    }
}
