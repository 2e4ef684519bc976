//! Rules through the real stack: the values of new rows, the effect of changed rules on existing rows, and that the
//! owner's own words stay.

use std::process::{Command, Output, Stdio};

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::CellValue;
use serde_json::{Value, json};

use crate::world::World;

const TAB: &str = "Transactions";
const COLUMNS: &str =
    "columns = [\"date\", \"amount\", \"counterparty\", \"category\", \"vendor\", \"tags\", \"note\", \"id\"]\n";
const COFFEE: &str = "[[rule]]\nwhen = { counterparty = \"kaфe\" }\nset = { category = \"Coffee\" }\n";
const RENT: &str = "[[rule]]\nwhen = { description = \"^наем\", debit = { min = 500, max = 700 } }\n\
                    set = { category = \"Rent\", tags = [\"home\", \"fixed\"] }\n";

async fn world(rules: &str) -> World {
    let mut world = World::new(Bank::small()).await;
    set_rules(&mut world, rules);
    world
}

fn set_rules(world: &mut World, rules: &str) {
    world.extra[1] = COLUMNS.into();
    world.extra[2] = format!("{COLUMNS}{rules}");
    world.write_config();
}

/// The cells of a column in sheet and base for the rows of a counterparty, in the order of the ids.
fn found(world: &World, header: &str, counterparty: &str) -> [Vec<String>; 2] {
    let text = |cell: CellValue| match cell {
        CellValue::Text(text) | CellValue::Formula(text) => text,
        _ => String::new(),
    };
    let column = |header| world.column(header).into_iter().map(text);
    let mut rows: Vec<(String, String, String)> = column("Transaction ID")
        .zip(column("Counterparty"))
        .zip(column(header))
        .map(|((id, name), cell)| (id, name, cell))
        .collect();
    rows.sort();
    let records = world.airtable.read(&world.base, |base| base.records(TAB));
    let of = |record: &std::collections::BTreeMap<String, Value>, key: &str| {
        record.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut others: Vec<(String, String, String)> = records
        .iter()
        .map(|record| (of(record, "Transaction ID"), of(record, "Counterparty"), of(record, header)))
        .collect();
    others.sort();
    [rows, others].map(|rows| {
        rows.into_iter().filter(|(_, name, _)| name == counterparty).map(|(_, _, cell)| cell).collect::<Vec<_>>()
    })
}

/// The owner writes into the cell of the nth row of a counterparty, in both destinations.
fn write_by_hand(world: &World, header: &str, counterparty: &str, nth: usize, cell: CellValue) {
    let sheet = world.sheet();
    let at = |header: &str| sheet[0].iter().position(|cell| *cell == CellValue::Text(header.into())).unwrap();
    let (name, id) = (at("Counterparty"), at("Transaction ID"));
    let mut rows: Vec<(String, usize)> = (1..sheet.len())
        .filter(|row| sheet[*row].get(name) == Some(&CellValue::Text(counterparty.into())))
        .map(|row| if let CellValue::Text(id) = &sheet[row][id] { (id.clone(), row) } else { panic!("no id") })
        .collect();
    rows.sort();
    let (id, row) = rows[nth].clone();
    world.google.edit(&world.spreadsheet, |book| book.set_cell(TAB, row, at(header), cell.clone()));
    world.airtable.edit(&world.base, |base| {
        let record = base.find(TAB, "Transaction ID", &json!(id)).unwrap();
        let value = if let CellValue::Text(text) = cell { json!(text) } else { Value::Null };
        base.set_cell(TAB, &record, header, value);
    });
}

fn both(cells: &[&str]) -> [Vec<String>; 2] {
    let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
    [cells.clone(), cells]
}

const CAFE: &str = "КАФЕ ПРИ МЕЧО";
const LANDLORD: &str = "Радка Измислена";

#[tokio::test]
async fn new_rows_get_what_the_rules_say_and_unchanged_rules_cost_nothing() {
    let world = world(&format!("{COFFEE}{RENT}")).await;
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    world.assert_delivered();
    assert_eq!(found(&world, "Category", CAFE), both(&["Coffee", "Coffee"]), "Cyrillic and Latin look alike");
    assert_eq!(found(&world, "Category", LANDLORD), both(&["Rent"]));
    assert_eq!(found(&world, "Tags", LANDLORD), both(&["home, fixed"]));
    assert_eq!(found(&world, "Category", "Иван Измислен"), both(&["", ""]));
    let last = world.engine().store.meta().last_seq;
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    assert_eq!(world.engine().store.meta().last_seq, last);
}

#[tokio::test]
async fn a_change_of_rules_fills_empty_cells_and_only_those() {
    let mut world = world("").await;
    world.cycle().await;
    write_by_hand(&world, "Category", CAFE, 0, CellValue::Text("mine".into()));
    world.google.edit(&world.spreadsheet, |book| {
        // A formula that shows an empty text is content.
        let row = book.rows(TAB).iter().position(|row| row.contains(&CellValue::Text(LANDLORD.into()))).unwrap();
        book.set_cell(TAB, row, 5, CellValue::Formula("=IF(1>2,1,\"\")".into()));
        book.sort_by_column(TAB, 7, true);
        book.move_column(TAB, 3, 0);
    });
    set_rules(&mut world, &format!("{COFFEE}{RENT}"));
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!((report.destinations[0].updated, report.destinations[1].updated), (2, 2), "{report:?}");
    assert_eq!(world.airtable.server.requests(), 2, "one look, one write");
    // The last two: titles for the formulas of the balances, whose column was moved, and the balances themselves.
    assert!(world.google.server.requests() <= 7, "{} requests", world.google.server.requests());
    assert_eq!(found(&world, "Category", CAFE), both(&["mine", "Coffee"]));
    assert_eq!(found(&world, "Category", LANDLORD), both(&["Rent"]));
    let [sheet, base] = found(&world, "Tags", LANDLORD);
    assert!(sheet[0].starts_with("=IF"), "{sheet:?}");
    assert_eq!(base, ["home, fixed"]);
    world.assert_delivered();
    // The next cycle has nothing to do, and rules without new values change no cell.
    for rules in [format!("{COFFEE}{RENT}"), COFFEE.to_owned()] {
        set_rules(&mut world, &rules);
        world.clear_logs();
        world.cycle().await;
        assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    }
    // Another category for the same rows fills no cell, because the cells are not empty any more.
    set_rules(&mut world, &COFFEE.replace("Coffee", "Drinks"));
    world.cycle().await;
    assert_eq!(found(&world, "Category", CAFE), both(&["mine", "Coffee"]));
}

#[tokio::test]
async fn what_no_column_shows_needs_no_request() {
    let mut world = World::new(Bank::small()).await;
    world.cycle().await;
    world.extra[2] = "[[rule]]\nwhen = { counterparty = \"кафе\" }\nset = { vendor = \"Мечо\" }\n".into();
    world.write_config();
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!((report.destinations[0].waiting, report.destinations[1].waiting), (0, 0));
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    let engine = world.engine();
    let stored = engine.store.by_date(None, None).map(|found| found.unwrap().1.enrichment.vendor);
    assert_eq!(stored.filter(|vendor| vendor == "Мечо").count(), 2);
}

#[tokio::test]
async fn a_lost_answer_fills_once_and_a_deleted_row_stays_deleted() {
    for fault in [Fault::ApplyThenDrop, Fault::Drop, Fault::ApplyThenStatus(503, String::new())] {
        let mut world = world("").await;
        world.cycle().await;
        let rows = world.sheet().len();
        world.google.edit(&world.spreadsheet, |book| {
            let row = book.rows(TAB).iter().position(|row| row.contains(&CellValue::Text(LANDLORD.into()))).unwrap();
            book.delete_row(TAB, row);
        });
        set_rules(&mut world, &format!("{COFFEE}{RENT}"));
        world.google.server.fail_next(":batchUpdate", fault.clone());
        world.airtable.server.fail_next("PATCH", fault.clone());
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{fault:?}: {report:?}");
        assert_eq!(found(&world, "Category", CAFE), both(&["Coffee", "Coffee"]));
        assert_eq!(world.sheet().len(), rows - 1);
        assert_eq!(world.airtable.read(&world.base, |base| base.records(TAB)).len(), rows - 1);
        assert!(!world.google.server.faults_left() && !world.airtable.server.faults_left());
    }
}

#[tokio::test]
async fn a_row_the_bank_corrects_keeps_what_it_has_and_gets_what_it_lacks() {
    let world = world(COFFEE).await;
    let rename = |from: &'static str, to: &'static str| {
        world.bank.edit(|bank| {
            let entries = &mut bank.customers[0].accounts[0].entries;
            entries
                .iter_mut()
                .filter(|entry| entry.counterparty == from)
                .for_each(|entry| entry.counterparty = to.into());
        });
    };
    for name in ["КАФЕ А", "ХЛЯБ"] {
        world.bank.edit(|bank| {
            let (iban, now) = (bank.customers[0].accounts[0].iban.clone(), chrono::Utc::now().fixed_offset());
            let (number, counterparty) = (bank.last_number() + 1, name.to_owned());
            let amount = rust_decimal::Decimal::new(-100, 2);
            bank.add(
                &iban,
                Entry { number, time: now, value_date: now.date_naive(), amount, counterparty, ..Entry::default() },
            );
        });
    }
    world.cycle().await;
    rename("КАФЕ А", "ЧАЙНА");
    rename("ХЛЯБ", "КАФЕ Б");
    let report = world.cycle().await;
    assert_eq!((report.sources[0].changed, report.exit_status()), (2, 0), "{report:?}");
    assert_eq!(found(&world, "Category", "ЧАЙНА"), both(&["Coffee"]));
    assert_eq!(found(&world, "Category", "КАФЕ Б"), both(&["Coffee"]));
    world.assert_delivered();
}

fn bankfeed(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(arguments);
    command.env_remove("BANKFEED_CONFIG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

async fn run(world: &World, arguments: &[&str]) -> Output {
    let mut command = bankfeed(world, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting_asks_first_and_replaces_what_rules_gave_before() {
    let mut world = world(COFFEE).await;
    world.cycle().await;
    write_by_hand(&world, "Category", CAFE, 0, CellValue::Text("mine".into()));
    write_by_hand(&world, "Vendor", CAFE, 1, CellValue::Text("mine too".into()));
    set_rules(&mut world, &COFFEE.replace("category = \"Coffee\"", "category = \"Drinks\", vendor = \"Мечо\""));
    let asked = run(&world, &["rules", "apply", "--overwrite"]).await;
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    assert!(talk(&asked).contains("--yes"), "{asked:?}");
    assert_eq!(run(&world, &["rules", "apply", "--yes"]).await.status.code(), Some(2));
    let filled = run(&world, &["rules", "apply"]).await;
    assert_eq!(filled.status.code(), Some(0), "{filled:?}");
    assert!(String::from_utf8_lossy(&filled.stdout).contains("2 filled, 2 left as they were"), "{filled:?}");
    assert_eq!(found(&world, "Category", CAFE), both(&["mine", "Coffee"]));
    assert_eq!(found(&world, "Vendor", CAFE), both(&["Мечо", "mine too"]));
    let overwritten = run(&world, &["rules", "apply", "--overwrite", "--yes"]).await;
    assert_eq!(overwritten.status.code(), Some(0), "{overwritten:?}");
    assert_eq!(found(&world, "Category", CAFE), both(&["Drinks", "Drinks"]));
    assert_eq!(
        found(&world, "Vendor", CAFE),
        both(&["Мечо", "mine too"]),
        "rules gave this one once, and give it still"
    );
    world.assert_delivered();
    assert_eq!(world.bank.login_attempts(), 1, "the bank is not asked");
    let listed = run(&world, &["transactions", "--json", "--search", "мечо"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["category"], "Drinks");
    assert_eq!(listed[0]["history"].as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["history"][1]["what"], "enriched");
    assert_eq!(listed[0]["history"][1]["before"]["category"], "Coffee");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_tried_beside_a_daemon_that_knows_others() {
    let mut world = world(COFFEE).await;
    world.cycle().await;
    let mut daemon = bankfeed(&world, &["run"]).stderr(Stdio::null()).spawn().unwrap();
    while !world.data_dir().join("control.sock").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let never = "[[rule]]\nwhen = { counterparty = \"никога\" }\nset = { note = \"x\" }\n";
    set_rules(&mut world, &format!("{COFFEE}{}{never}{RENT}", COFFEE.replace("Coffee", "Drinks")));
    let tested = run(&world, &["rules", "test", "--json"]).await;
    assert_eq!(tested.status.code(), Some(0), "{tested:?}");
    let tested: Value = serde_json::from_slice(&tested.stdout).unwrap();
    let counts =
        |key: &str| tested["rules"].as_array().unwrap().iter().map(|rule| rule[key].clone()).collect::<Vec<_>>();
    assert_eq!(counts("matched"), [2, 2, 0, 1]);
    assert_eq!(counts("decided"), [0, 2, 0, 1]);
    assert_eq!(tested["rules"][0]["ids"].as_array().unwrap().len(), 2);
    assert_eq!(tested["rules"][3]["set"], json!({"category": "Rent", "tags": "home, fixed"}));
    let rows = world.booked().len();
    assert_eq!((&tested["transactions"], &tested["unmatched"]["transactions"]), (&json!(rows), &json!(rows - 3)));
    let shown = String::from_utf8(run(&world, &["rules", "test"]).await.stdout).unwrap();
    assert!(shown.contains("no rule fits 9 of 12 transactions") && shown.contains(CAFE), "{shown}");
    // The daemon would apply the rules it was started with.
    let refused = run(&world, &["rules", "apply"]).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(talk(&refused).contains("systemctl reload"), "{refused:?}");
    set_rules(&mut world, COFFEE);
    assert_eq!(run(&world, &["rules", "apply"]).await.status.code(), Some(0));
    Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();
}
