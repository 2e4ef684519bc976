//! The table: made or found, typed, the owner's as well.

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::sync::{DestinationReport, Outcome, Request, Verification};

use super::{shared, table, world};
use crate::world::World;

/// A cycle in which only this destination is served.
pub async fn deliver(world: &World) -> DestinationReport {
    let request = Request { destinations: Some(vec!["warehouse".into()]), by_hand: true, ..Request::default() };
    world.cycle_with(request).await.destinations.swap_remove(2)
}

pub async fn verify(world: &World, repair: bool) -> bankfeed::sync::Verified {
    let request = Verification { destinations: Some(vec!["warehouse".into()]), repair };
    let nobody: bankfeed::sync::Watcher = std::sync::Arc::new(|_| {});
    world.engine().verify(&request, &nobody).await.unwrap().swap_remove(0)
}

/// Books a new entry.
pub fn book(world: &World, payee: &str, cents: i64) -> u64 {
    let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let (amount, counterparty) = (rust_decimal::Decimal::new(cents, 2), payee.to_owned());
        let entry = Entry { number, time: now, value_date: now.date_naive(), amount, counterparty, ..Entry::default() };
        bank.add(&iban, entry);
        number
    })
}

fn correct(world: &World, number: u64, payee: &str) {
    world.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        entries.iter_mut().find(|entry| entry.number == number).unwrap().counterparty = payee.into();
    });
}

fn one(sql: &str) -> String {
    shared().sql(sql).first().and_then(|row| row.first().cloned()).unwrap_or_default()
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test]
async fn the_table_that_is_made_is_typed_and_has_a_view_of_monthly_figures() {
    let world = world(Bank::small()).await;
    book(&world, "a\0b \u{1}", -1234);
    assert_eq!(deliver(&world).await.outcome, Outcome::Ok);
    let name = table(&world);
    let (schema, _) = name.split_once('.').unwrap();
    let types = one(&format!(
        "SELECT string_agg(column_name || ' ' || udt_name, ',' ORDER BY ordinal_position) \
         FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name = 'transactions'"
    ));
    assert_eq!(
        types,
        "id text,source text,account text,account_name text,customer text,time timestamptz,date date,value_date date,\
         amount numeric,currency text,direction text,debit numeric,credit numeric,amount_eur numeric,balance numeric,\
         counterparty text,counterparty_account text,description text,type text,type_code text,reference text,\
         transfer text,category text,vendor text,tags text,note text,raw jsonb,vanished bool"
    );
    let rows = world.booked().len();
    assert_eq!(one(&format!("SELECT count(raw) FROM {name} WHERE jsonb_typeof(raw) = 'object'")), rows.to_string());
    let (sum, net) = (
        one(&format!("SELECT sum(amount) FROM {name} WHERE transfer IS NULL AND currency = 'EUR'")),
        one(&format!("SELECT sum(net) FROM {name}_monthly WHERE currency = 'EUR'")),
    );
    assert_eq!(sum, net, "the view leaves out what moves between the owner's accounts");
    assert_ne!(sum, "");
    assert!(verify(&world, false).await.is_clean());
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test]
async fn the_owners_columns_renames_and_drops_are_respected() {
    let world = world(Bank::small()).await;
    deliver(&world).await;
    let name = table(&world);
    shared().sql(&format!(
        "ALTER TABLE {name} RENAME counterparty TO payee; ALTER TABLE {name} DROP COLUMN type_code; \
         ALTER TABLE {name} ADD mine text DEFAULT 'x'; CREATE INDEX ON {name} (payee); \
         UPDATE {name} SET category = 'моя'"
    ));
    let number = book(&world, "НОВ", -100);
    assert_eq!(deliver(&world).await.appended, 1);
    correct(&world, number, "ПОПРАВЕН");
    assert_eq!(deliver(&world).await.updated, 1);
    assert_eq!(one(&format!("SELECT payee || mine FROM {name} WHERE id LIKE '%:{number}'")), "ПОПРАВЕНx");
    assert_eq!(one(&format!("SELECT count(*) FROM {name} WHERE category = 'моя'")), "12");
    assert!(verify(&world, true).await.is_clean());
    let gone = one(&format!(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attname = 'type_code'"
    ));
    assert_eq!(gone, "0", "a dropped column stays away");
    shared().sql(&format!("DROP TABLE {name} CASCADE"));
    book(&world, "ЧАКАЩ", -1);
    let report = deliver(&world).await;
    assert_eq!((report.outcome, report.waiting), (Outcome::Attention, 1));
    assert!(report.error.unwrap().contains("is gone: bring it back"));
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test]
async fn a_table_of_the_owners_is_used_where_its_types_fit_and_named_where_not() {
    let mut world = world(Bank::small()).await;
    let name = table(&world);
    let (schema, _) = name.split_once('.').unwrap();
    shared().sql(&format!(
        "CREATE SCHEMA {schema}; CREATE TABLE {name} (id bigserial PRIMARY KEY, \"Дата\" timestamp, amount numeric(9,2), \
         payee varchar(60) NOT NULL, memo text)"
    ));
    world.extra[2] += "columns = [\"id\", { field = \"date\", header = \"Дата\" }, \"amount\", { field = \"counterparty\", header = \"payee\" }, \"currency\"]\n";
    world.write_config();
    let report = deliver(&world).await;
    assert_eq!(report.outcome, Outcome::Attention);
    let error = report.error.unwrap();
    assert!(
        error.contains("column `id` is of type bigint") && error.contains("ALTER COLUMN \"id\" TYPE text"),
        "{error}"
    );
    world.extra[2] = world.extra[2].replace("[\"id\",", "[{ field = \"id\", header = \"bank_id\" },");
    world.write_config();
    let number = book(&world, "ГОЛЯМА", 1_234_567_890);
    let long = book(&world, &"дълго ".repeat(11), -100);
    let report = deliver(&world).await;
    assert_eq!((report.outcome, report.appended, report.rejected), (Outcome::Ok, 12, 2), "{report:?}");
    let engine = world.engine();
    let state = engine.store.destination("warehouse", &engine.config.destinations[2].target()).unwrap();
    let reasons: Vec<(String, String)> = state.rows.rejected().map(|(id, why)| (id.clone(), why.clone())).collect();
    let why = |number: u64| &reasons.iter().find(|(id, _)| id.ends_with(&number.to_string())).unwrap().1;
    assert!(why(number).contains("`amount` is larger than numeric(9,2) holds"), "{reasons:?}");
    assert!(why(long).contains("`counterparty` is longer than the 60 characters"), "{reasons:?}");
    drop(engine);
    shared().sql(&format!("ALTER TABLE {name} ALTER amount TYPE numeric(12,2), ALTER payee TYPE text"));
    let found = verify(&world, true).await;
    assert_eq!((found.put_back.len(), found.open), (2, false), "{found:?}");
    assert_eq!(one(&format!("SELECT count(DISTINCT bank_id) FROM {name} WHERE \"Дата\" IS NOT NULL")), "14");
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test]
async fn verify_repair_and_restore_work() {
    let world = world(Bank::small()).await;
    deliver(&world).await;
    let name = table(&world);
    shared().sql(&format!("ALTER TABLE {name} DROP CONSTRAINT transactions_pkey"));
    let ids: Vec<String> = world.booked().into_keys().collect();
    let (gone, doubled, wrong) = (&ids[0], &ids[1], &ids[2]);
    shared().sql(&format!(
        "DELETE FROM {name} WHERE id = '{gone}'; INSERT INTO {name} SELECT * FROM {name} WHERE id = '{doubled}'; \
         UPDATE {name} SET amount = amount + 1, value_date = NULL WHERE id = '{wrong}'"
    ));
    let found = verify(&world, false).await;
    assert_eq!((&found.missing, &found.doubled), (&vec![gone.clone()], &vec![doubled.clone()]));
    let columns: Vec<&str> = found.different.iter().map(|one| one.column.as_str()).collect();
    assert_eq!(columns, ["value_date", "amount"], "{found:?}");
    let mended = verify(&world, true).await;
    assert!(!mended.open, "{mended:?}");
    assert!(verify(&world, false).await.is_clean());
    assert_eq!(one(&format!("SELECT count(*) || '/' || count(DISTINCT id) FROM {name}")), "12/12");
    // A row that the owner deletes is back only on request.
    shared().sql(&format!("DELETE FROM {name} WHERE id = '{gone}'"));
    book(&world, "НОВ", -1);
    assert_eq!(deliver(&world).await.appended, 1);
    let (engine, nobody): (_, bankfeed::sync::Watcher) = (world.engine(), std::sync::Arc::new(|_| {}));
    let config = engine.config.destinations[2].clone();
    let back = engine.restore(&config, std::slice::from_ref(gone), &nobody).await.unwrap();
    assert!(matches!(back, bankfeed::sync::Restored::Done { put_back, .. } if put_back == [gone.clone()]));
}
