//! The rows, columns and language of each destination follow its own section.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::{CellValue, Spreadsheet};
use bankfeed::sync::{Verification, Watcher};
use serde_json::Value;

use crate::world::World;

async fn world(sheets: &str, base: &str) -> World {
    let mut world = World::new(Bank::small()).await;
    world.extra = [String::new(), sheets.to_owned(), base.to_owned()];
    world.write_config();
    world
}

/// The ids of entries that `suits` picks.
fn ids(world: &World, suits: impl Fn(&Entry) -> bool) -> BTreeSet<String> {
    let booked = world.bank.edit(|bank| bank.transactions());
    let suiting = booked.iter().filter(|(_, entry, _)| suits(entry));
    suiting.map(|(iban, entry, _)| format!("fibank:{iban}:{}", entry.number)).collect()
}

fn in_sheet(world: &World) -> BTreeSet<String> {
    world.in_sheet().into_iter().map(|(id, _)| id).collect()
}

fn in_base(world: &World) -> BTreeSet<String> {
    world.in_base().into_iter().map(|(id, _)| id).collect()
}

fn change(world: &World, number: u64, change: impl FnOnce(&mut Entry)) {
    world.bank.edit(|bank| {
        let accounts = bank.customers[0].accounts.iter_mut();
        change(accounts.flat_map(|account| &mut account.entries).find(|entry| entry.number == number).unwrap());
    });
}

#[tokio::test]
async fn least_amounts_and_types_leave_out_the_rest_and_corrections_are_followed() {
    let world = world("min_amount = 50.00", "type = [\"такса\", \"KLT\"]").await;
    let last = world.bank.edit(|bank| bank.last_number());
    change(&world, last, |entry| (entry.type_name, entry.amount) = ("Такса".into(), "-49.99".parse().unwrap()));
    change(&world, last - 1, |entry| (entry.type_code, entry.amount) = ("klt".into(), "-50".parse().unwrap()));
    assert_eq!(world.cycle().await.exit_status(), 0);
    let large = ids(&world, |entry| entry.amount.abs() >= "50".parse().unwrap());
    assert!(large.len() > 3 && large.len() < world.booked().len());
    assert_eq!(in_sheet(&world), large);
    assert_eq!(in_base(&world), ids(&world, |entry| entry.number >= last - 1));
    let balances = world.google.read(&world.spreadsheet, |book| format!("{:?}", book.rows("Balances")));
    assert!(balances.contains("left out: only some of the rows are here"), "{balances}");

    // A correction brings a row in; a delivered row stays right, also outside the filter.
    world.bank.edit(|bank| {
        for entry in bank.customers[0].accounts.iter_mut().flat_map(|account| &mut account.entries) {
            let days = chrono::Utc::now() - entry.time.to_utc();
            entry.time = if entry.number >= last - 1 { entry.time + days } else { entry.time };
        }
    });
    change(&world, last, |entry| entry.amount = "-51".parse().unwrap());
    change(&world, last - 1, |entry| entry.amount = "-1".parse().unwrap());
    world.cycle().await;
    let mut now = large.clone();
    now.extend(ids(&world, |entry| entry.number == last));
    assert_eq!(in_sheet(&world), now);
    let amounts: BTreeMap<String, String> = world.in_sheet().into_iter().collect();
    let small = ids(&world, |entry| entry.number == last - 1).pop_first().unwrap();
    assert_eq!(amounts[&small], "-1.00");
}

#[tokio::test]
async fn every_field_can_be_a_column_with_a_header_of_its_own() {
    let keys = bankfeed::model::Field::all().map(|field| field.key().into_owned());
    let keys: Vec<String> = keys.chain(["raw.reference".into(), "raw.acEntrySrNo".into()]).collect();
    let named: Vec<String> =
        keys.iter().map(|key| format!("{{ field = \"{key}\", header = \"Колона {key}\" }}")).collect();
    let columns = format!("columns = [{}]", named.join(", "));
    let world = world(&columns, &columns).await;
    assert_eq!(world.cycle().await.exit_status(), 0);
    let booked = world.bank.edit(|bank| bank.transactions());
    let (iban, entry, balance) = booked.iter().find(|(_, entry, _)| !entry.reference.is_empty()).unwrap().clone();
    let id = format!("fibank:{iban}:{}", entry.number);
    let of_sheet = |key: &str| {
        let at = world.column("Колона id").iter().position(|cell| *cell == CellValue::Text(id.clone())).unwrap();
        world.column(&format!("Колона {key}"))[at].clone()
    };
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    let record = records.into_iter().find(|cells| cells["Колона id"] == id).unwrap();
    let of_base = |key: &str| record.get(&format!("Колона {key}")).cloned().unwrap_or(Value::Null);
    for (key, text) in [
        ("account", iban.as_str()),
        ("reference", &entry.reference),
        ("raw.reference", &entry.reference),
        ("raw.acEntrySrNo", &entry.number.to_string()),
        ("type", &entry.type_name),
        ("type_code", &entry.type_code),
        ("source", "fibank"),
        ("direction", "credit"),
    ] {
        assert_eq!(of_sheet(key), CellValue::Text(text.to_owned()), "{key}");
        assert_eq!(of_base(key), Value::from(text), "{key}");
    }
    let number = |amount: rust_decimal::Decimal| amount.to_string().parse::<f64>().unwrap();
    for (key, amount) in [("amount", entry.amount), ("credit", entry.amount), ("balance", balance)] {
        assert_eq!(of_sheet(key), CellValue::Number(number(amount)), "{key}");
        assert_eq!(of_base(key).as_f64(), Some(number(amount)), "{key}");
    }
    assert_eq!((of_sheet("debit"), of_base("debit")), (CellValue::Empty, Value::Null));
}

#[tokio::test]
async fn a_bulgarian_destination_is_bulgarian_throughout() {
    let world = world("language = \"bg\"", "language = \"bg\"\naccounts_table = \"Сметки\"").await;
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    crate::world::write_private(&world.config_path(), &text.replace("table = \"Transactions\"\n", ""));
    assert_eq!(world.cycle().await.exit_status(), 0);
    let bulgarian = |text: &str| !text.replace("bankfeed", "").chars().any(|c| c.is_ascii_lowercase());
    world.google.edit(&world.spreadsheet, |book| book.delete_tab("Sheet1"));
    world.google.read(&world.spreadsheet, |book| {
        assert_eq!(book.titles().len(), 3, "{:?}", book.titles());
        for title in book.titles() {
            assert!(bulgarian(&title), "{title}");
            for cell in book.rows(&title).iter().take(if title == "Транзакции" { 1 } else { 99 }).flatten() {
                if let CellValue::Text(text) = cell {
                    assert!(bulgarian(text) || text.starts_with("fibank"), "{title}: {text}");
                }
            }
        }
    });
    world.airtable.read(&world.base, |base| {
        let tables: Vec<&str> = base.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(tables, ["Транзакции", "Сметки"]);
        for (_, name, _) in tables.iter().flat_map(|table| base.fields(table)) {
            assert!(bulgarian(&name), "{name}");
        }
    });
}

/// The owner asks for more columns than before.
fn ask_for(world: &mut World, columns: &str) {
    for extra in 1..3 {
        world.extra[extra] = format!("columns = [{columns}]\n");
    }
    world.write_config();
}

async fn verify(world: &World, repair: bool) -> Vec<bankfeed::sync::Verified> {
    let nobody: bankfeed::sync::Watcher = std::sync::Arc::new(|_| {});
    let request = bankfeed::sync::Verification { destinations: None, repair };
    world.engine().verify(&request, &nobody).await.unwrap()
}

#[tokio::test]
async fn a_column_asked_for_later_is_added_and_older_rows_get_it_on_request() {
    let mut world = world("", "").await;
    ask_for(&mut world, r#""date", "amount", "counterparty", "id""#);
    assert_eq!(world.cycle().await.exit_status(), 0);
    world.google.edit(&world.spreadsheet, |book| {
        book.insert_column("Transactions", 1);
        book.set_cell("Transactions", 0, 1, CellValue::Text("Мое".into()));
        book.set_cell("Transactions", 2, 1, CellValue::Text("моя бележка".into()));
        book.sort_by_column("Transactions", 2, true);
    });
    let mine = world.column("Мое");
    ask_for(
        &mut world,
        r#""date", "amount", "counterparty", "type", { field = "raw.reference", header = "Код" }, "id""#,
    );
    // Without new rows no request is sent; the columns come with the next row.
    world.clear_logs();
    world.cycle().await;
    assert_eq!(world.google.server.requests() + world.airtable.server.requests(), 0);
    let booked = world.bank.edit(|bank| bank.transactions());
    let empty = |cells: &[CellValue]| cells.iter().filter(|cell| **cell == CellValue::Empty).count();
    world.bank.edit(|bank| {
        let number = bank.last_number() + 1;
        let (iban, entry, _) = &booked[0];
        bank.add(iban, Entry { number, time: chrono::Utc::now().fixed_offset(), ..entry.clone() });
    });
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_eq!(empty(&world.column("Type")), booked.len(), "only the new row has it yet");

    // A verification with repair fills the older rows, and no other cell is touched.
    let found = verify(&world, false).await;
    assert!(found.iter().all(|one| one.different.iter().all(|one| ["type", "raw.reference"].contains(&&*one.column))));
    assert!(found.iter().all(|one| !one.different.is_empty() && one.missing.is_empty()), "{found:?}");
    verify(&world, true).await;
    let by_id: BTreeMap<String, (String, String)> = world
        .bank
        .edit(|bank| bank.transactions())
        .into_iter()
        .map(|(iban, entry, _)| (format!("fibank:{iban}:{}", entry.number), (entry.type_name, entry.reference)))
        .collect();
    let (types, codes) = (world.column("Type"), world.column("Код"));
    for (at, (id, _)) in world.in_sheet().iter().enumerate() {
        let text = |text: &str| if text.is_empty() { CellValue::Empty } else { CellValue::Text(text.into()) };
        assert_eq!((&types[at], &codes[at]), (&text(&by_id[id].0), &text(&by_id[id].1)), "{id}");
    }
    for cells in world.airtable.read(&world.base, |base| base.records("Transactions")) {
        let (kind, code) = &by_id[cells["Transaction ID"].as_str().unwrap()];
        let text = |name: &str| cells.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert_eq!((&text("Type"), &text("Код")), (kind, code));
    }
    assert_eq!(world.column("Мое")[..mine.len()], mine);
    assert!(verify(&world, false).await.iter().all(|one| one.is_clean()));
}

#[tokio::test]
async fn a_repair_alone_adds_and_fills_a_column_asked_for_later() {
    let mut world = world("", "").await;
    ask_for(&mut world, r#""date", "amount", "id""#);
    assert_eq!(world.cycle().await.exit_status(), 0);
    ask_for(&mut world, r#""date", "amount", "counterparty", "id""#);
    let found = verify(&world, false).await;
    assert!(found.iter().all(|one| one.error.as_ref().unwrap().contains("verify")), "{found:?}");
    let mended = verify(&world, true).await;
    assert!(mended.iter().all(|one| one.error.is_none() && !one.open), "{mended:?}");
    let named =
        world.bank.edit(|bank| bank.transactions()).iter().filter(|(_, one, _)| !one.counterparty.is_empty()).count();
    assert_eq!(world.column("Counterparty").iter().filter(|cell| **cell != CellValue::Empty).count(), named);
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    assert_eq!(records.iter().filter(|cells| cells.contains_key("Counterparty")).count(), named);
}

#[tokio::test]
async fn a_column_of_rules_asked_for_later_is_filled_by_rules_apply_and_then_the_owners() {
    let mut world = world("", "").await;
    let rule = "[[rule]]\nwhen = { amount = { max = 0 } }\nset = { vendor = \"Навън\" }\n";
    ask_for(&mut world, r#""date", "amount", "id""#);
    world.extra[2] += rule;
    world.write_config();
    assert_eq!(world.cycle().await.exit_status(), 0);
    ask_for(&mut world, r#""date", "amount", "vendor", "id""#);
    world.extra[2] += rule;
    world.write_config();
    let nobody: bankfeed::sync::Watcher = std::sync::Arc::new(|_| {});
    // The answer is lost on the way, and the next try finds the rows written.
    world.google.server.fail(":batchUpdate", 1, 1, bankfeed::simulator::Fault::ApplyThenDrop);
    let (_, report) = world.engine().apply_rules(false, &nobody).await.unwrap();
    let out = ids(&world, |entry| entry.amount <= rust_decimal::Decimal::ZERO);
    for destination in &report.destinations {
        assert_eq!((destination.error.as_deref(), destination.updated), (None, out.len() as u64), "{report:?}");
    }
    let vendors = |world: &World| -> BTreeSet<String> {
        let column = world.column("Vendor").into_iter().zip(world.in_sheet());
        column.filter(|(cell, _)| *cell == CellValue::Text("Навън".into())).map(|(_, (id, _))| id).collect()
    };
    let in_base = |world: &World| -> BTreeSet<String> {
        let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
        let filled = records.iter().filter(|cells| cells.get("Vendor").is_some_and(|vendor| vendor == "Навън"));
        filled.map(|cells| cells["Transaction ID"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((vendors(&world), in_base(&world)), (out.clone(), out.clone()));

    // From now on the cells are the owner's, emptied ones too.
    let at = world.sheet()[0].iter().position(|cell| *cell == CellValue::Text("Vendor".into())).unwrap();
    let row = 1 + world.column("Vendor").iter().position(|cell| *cell != CellValue::Empty).unwrap();
    world.google.edit(&world.spreadsheet, |book| book.set_cell("Transactions", row, at, CellValue::Empty));
    let writes =
        |world: &World| world.google.server.log().iter().filter(|one| one.target.contains(":batchUpdate")).count();
    let before = writes(&world);
    world.engine().apply_rules(false, &nobody).await.unwrap();
    assert_eq!((vendors(&world).len(), writes(&world)), (out.len() - 1, before));
}

#[tokio::test]
async fn a_field_of_the_base_that_comes_back_is_filled_by_a_repair() {
    let world = world("", "").await;
    assert_eq!(world.cycle().await.exit_status(), 0);
    let booked = world.booked().len();
    world.airtable.edit(&world.base, |base| base.delete_field("Transactions", "Currency"));
    let book = |world: &World| {
        world.bank.edit(|bank| {
            let number = bank.last_number() + 1;
            let (iban, entry, _) = bank.transactions().remove(0);
            bank.add(&iban, Entry { number, time: chrono::Utc::now().fixed_offset(), ..entry });
        });
    };
    book(&world);
    let report = world.cycle().await;
    assert_eq!((report.exit_status(), report.destinations[1].appended), (0, 1), "{report:?}");
    assert!(
        verify(&world, false).await.iter().all(|one| one.is_clean() && one.error.is_none()),
        "it is missed by nobody"
    );
    world.airtable.edit(&world.base, |base| drop(base.add_field("Transactions", "Currency", "singleLineText")));
    assert_eq!(verify(&world, false).await[1].different.len(), booked + 1);
    verify(&world, true).await;
    assert!(verify(&world, false).await[1].is_clean());
    book(&world);
    assert_eq!(world.cycle().await.exit_status(), 0);
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    assert!(records.iter().all(|cells| cells["Currency"] == "EUR"), "{records:?}");
}

#[tokio::test]
async fn a_row_that_crosses_the_line_more_than_once_stays_one_row_and_right() {
    let world = world("min_amount = 50", "min_amount = 50\nvanished = \"delete\"").await;
    let number = world.bank.edit(|bank| {
        let number = bank.last_number() + 1;
        let (iban, entry, _) = bank.transactions().remove(0);
        bank.add(&iban, Entry { number, time: chrono::Utc::now().fixed_offset(), ..entry });
        number
    });
    let id = ids(&world, |entry| entry.number == number).pop_first().unwrap();
    for (amount, there) in [("-10", 0), ("-60", 1), ("-20", 1), ("-30", 1), ("-70", 1), ("-5", 1)] {
        change(&world, number, |entry| entry.amount = amount.parse().unwrap());
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{report:?}");
        for (place, rows) in [("sheet", world.in_sheet()), ("base", world.in_base())] {
            let found: Vec<&String> = rows.iter().filter(|(found, _)| *found == id).map(|(_, amount)| amount).collect();
            assert_eq!(found, vec![&format!("{amount}.00"); there], "{place}");
        }
    }
    // A delivered row is deleted at the destination as well, though it is below the limit by now.
    world.bank.edit(|bank| {
        for account in &mut bank.customers[0].accounts {
            account.entries.retain(|entry| entry.number != number);
        }
    });
    world.cycle().await;
    assert!(!in_base(&world).contains(&id));
}

/// An owner's action on columns while a write waits for its second try.
type Move = (&'static str, fn(&mut Spreadsheet));

const MOVES: [Move; 4] = [
    ("inserts one at the left", |book| {
        book.insert_column(TAB, 0);
        book.set_cell(TAB, 0, 0, CellValue::Text("Mine".into()));
        book.set_cell(TAB, 1, 0, CellValue::Text("mine".into()));
    }),
    ("moves the amount", |book| book.move_column(TAB, 1, 6)),
    ("moves the id to the left", |book| book.move_column(TAB, 11, 0)),
    ("deletes one of ours", |book| book.delete_column(TAB, 3)),
];

const TAB: &str = "Transactions";

#[tokio::test]
async fn columns_moved_between_two_tries_are_followed() {
    let busy = r#"{"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}"#;
    let faults = [
        Fault::Status(429, busy.into()),
        Fault::Status(503, String::new()),
        Fault::ApplyThenStatus(503, String::new()),
        Fault::Drop,
        Fault::ApplyThenDrop,
        // The request arrives when its number is taken.
        Fault::Held(6),
    ];
    for (what, act) in MOVES {
        for fault in &faults {
            for late in [false, true] {
                let what = format!("{what}, {fault:?}, late {late}");
                let world = world("balances_tab = false\ndashboard_tab = false", "").await;
                assert_eq!(world.cycle().await.exit_status(), 0, "{what}");
                let entry = world.bank.edit(|bank| {
                    let account = &mut bank.customers[0].accounts[0];
                    let last = account.entries.last().unwrap().clone();
                    let (time, number) = (chrono::Utc::now().with_timezone(last.time.offset()), 999_999_999);
                    account.entries.push(Entry { number, time, ..last });
                    number
                });
                if late {
                    let before = world
                        .bank
                        .edit(|bank| bank.customers[0].accounts[0].entries.iter().rev().nth(1).unwrap().number);
                    change(&world, before, |entry| entry.counterparty = "поправено".into());
                }
                world.google.server.fail_next(":batchUpdate", fault.clone());
                let (google, id) = (world.google.clone(), world.spreadsheet.clone());
                world.google.server.meanwhile(":batchUpdate", move || google.edit(&id, act));
                let report = world.cycle().await;
                assert_eq!(report.exit_status(), 0, "{what}: {report:?}");
                assert!(!world.google.server.faults_left(), "{what}");
                world.google.server.land().await;
                assert!(in_sheet(&world).iter().any(|id| id.ends_with(&entry.to_string())), "{what}");
                world.assert_delivered();
                let verified =
                    world.engine().verify(&Verification::default(), &(Arc::new(|_| {}) as Watcher)).await.unwrap();
                assert!(verified[0].is_clean() && verified[0].error.is_none(), "{what}: {verified:?}");
                if what.starts_with("inserts") {
                    let mine: Vec<CellValue> =
                        world.column("Mine").into_iter().filter(|cell| *cell != CellValue::Empty).collect();
                    assert_eq!(mine, [CellValue::Text("mine".into())], "{what}");
                }
            }
        }
    }
}
