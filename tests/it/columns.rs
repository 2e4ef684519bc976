//! Which rows a destination gets, in which columns, in which language: each destination as its own section says.

use std::collections::{BTreeMap, BTreeSet};

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::CellValue;
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

    // A correction brings a row in; one that is in stays right, whatever it says now.
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
