//! Reading destinations back: the effects of owners and accidents on rows, the report about them, and the repair.

use std::collections::BTreeMap;
use std::sync::Arc;

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::Bank;
use bankfeed::simulator::google::CellValue;
use bankfeed::store::{DestinationState, RowStates};
use bankfeed::sync::{Left, Outcome, Restored, Verification, Verified, Watcher};
use serde_json::{Value, json};

use crate::cli;
use crate::world::World;

const TAB: &str = "Transactions";

/// Indexes of the two kinds of destination in the configuration.
const BOTH: [usize; 2] = [0, 1];

fn nobody() -> Watcher {
    Arc::new(|_| {})
}

async fn read_back(world: &World, repair: bool) -> Vec<Verified> {
    world.engine().verify(&Verification { destinations: None, repair }, &nobody()).await.unwrap()
}

async fn assert_clean(world: &World) {
    for one in read_back(world, false).await {
        assert!(one.is_clean() && one.outcome == Outcome::Ok, "{one:?}");
    }
}

async fn restore(world: &World, which: usize, ids: &[&str]) -> Restored {
    let engine = world.engine();
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    engine.restore(&engine.config.destinations[which], &ids, &nobody()).await.unwrap()
}

fn state(world: &World, which: usize) -> DestinationState {
    let engine = world.engine();
    let config = &engine.config.destinations[which];
    engine.store.destination(&config.name, &config.target()).unwrap()
}

fn deleted(world: &World, which: usize) -> Vec<String> {
    state(world, which).rows.deleted().cloned().collect()
}

/// The id of the nth row in the sheet.
pub fn id(world: &World, n: usize) -> String {
    match &world.column("Transaction ID")[n] {
        CellValue::Text(id) => id.clone(),
        other => panic!("{other:?}"),
    }
}

fn row(world: &World, id: &str) -> usize {
    world.column("Transaction ID").iter().position(|cell| *cell == CellValue::Text(id.into())).unwrap() + 1
}

fn column(world: &World, header: &str) -> usize {
    world.sheet()[0].iter().position(|cell| *cell == CellValue::Text(header.into())).unwrap()
}

fn record(world: &World, id: &str) -> String {
    world.airtable.read(&world.base, |base| base.find(TAB, "Transaction ID", &json!(id)).unwrap())
}

/// The owner deletes a row.
pub fn delete(world: &World, which: usize, id: &str) {
    if which == 0 {
        let row = row(world, id);
        world.google.edit(&world.spreadsheet, |sheet| sheet.delete_row(TAB, row));
    } else {
        let record = record(world, id);
        world.airtable.edit(&world.base, |base| base.delete_record(TAB, &record));
    }
}

/// The owner copies a row and pastes it below the others.
fn copy(world: &World, which: usize, id: &str) {
    if which == 0 {
        let (sheet, from) = (world.sheet(), row(world, id));
        world.google.edit(&world.spreadsheet, |book| {
            for (column, value) in sheet[from].iter().enumerate() {
                book.set_cell(TAB, sheet.len(), column, value.clone());
            }
        });
    } else {
        let of = |records: Vec<BTreeMap<String, Value>>| {
            records.into_iter().find(|record| record["Transaction ID"] == json!(id)).unwrap()
        };
        let cells = of(world.airtable.read(&world.base, |base| base.records(TAB)));
        let cells: Vec<(&str, Value)> = cells.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        world.airtable.edit(&world.base, |base| base.add_record(TAB, &cells));
    }
}

/// The owner types into a cell.
fn set(world: &World, which: usize, id: &str, header: &str, value: Value) {
    if which == 0 {
        let (row, column) = (row(world, id), column(world, header));
        let value = match value {
            Value::Number(number) => CellValue::Number(number.as_f64().unwrap()),
            Value::String(text) => CellValue::Text(text),
            _ => CellValue::Empty,
        };
        world.google.edit(&world.spreadsheet, |sheet| sheet.set_cell(TAB, row, column, value));
    } else {
        let record = record(world, id);
        world.airtable.edit(&world.base, |base| base.set_cell(TAB, &record, header, value));
    }
}

fn writes(world: &World) -> u64 {
    let google = world.google.server.log().iter().filter(|line| line.target.contains(":batchUpdate")).count();
    let airtable = world.airtable.server.log().iter().filter(|line| line.method != "GET").count();
    (google + airtable) as u64
}

async fn delivered() -> World {
    let world = World::new(Bank::small()).await;
    assert_eq!(world.cycle().await.exit_status(), 0);
    world
}

#[tokio::test]
async fn what_is_as_it_was_left_needs_a_few_reads_and_no_write() {
    let world = delivered().await;
    world.google.edit(&world.spreadsheet, |sheet| {
        sheet.sort_by_column(TAB, 1, true);
        sheet.move_column(TAB, 0, 5);
        sheet.insert_column(TAB, 2);
        sheet.set_cell(TAB, 3, 2, CellValue::Text("бележка".into()));
        sheet.set_cell(TAB, 60, 2, CellValue::Number(1.0));
        sheet.hide_column(TAB, 4);
    });
    world.clear_logs();
    for repair in [false, true] {
        for one in read_back(&world, repair).await {
            assert!(one.is_clean() && one.outcome == Outcome::Ok && !one.open, "{one:?}");
            assert!(one.put_back.is_empty() && one.mended.is_empty());
            assert!(one.requests <= 4, "{} requests", one.requests);
        }
    }
    assert_eq!(writes(&world), 0, "{:?}", world.google.server.log());
}

#[tokio::test]
async fn what_is_wrong_is_named_exactly_and_mended() {
    for which in BOTH {
        let world = delivered().await;
        let (gone, copied, edited, owned) = (id(&world, 1), id(&world, 2), id(&world, 3), id(&world, 4));
        copy(&world, which, &copied);
        copy(&world, which, &copied);
        set(&world, which, &edited, "Amount", json!(-99.99));
        set(&world, which, &edited, "Counterparty", json!("преписано"));
        set(&world, which, &owned, "Category", json!("Храна"));
        set(&world, which, &edited, "Category", json!("Дом"));
        delete(&world, which, &gone);
        let found = read_back(&world, true).await;
        let other = &found[1 - which];
        assert!(other.is_clean() && other.put_back.is_empty() && other.mended.is_empty(), "{other:?}");
        let one = &found[which];
        assert_eq!((&one.missing, &one.doubled), (&vec![gone.clone()], &vec![copied.clone()]), "{one:?}");
        let different: Vec<(&str, &str, Option<&str>)> =
            one.different.iter().map(|cell| (cell.id.as_str(), cell.column.as_str(), cell.found.as_deref())).collect();
        assert_eq!(
            different,
            [(edited.as_str(), "amount", Some("-99.99")), (&edited, "counterparty", Some("преписано"))]
        );
        assert_eq!(one.different[0].expected.as_deref(), Some(world.booked()[&edited].as_str()));
        assert_eq!((&one.put_back, &one.mended), (&vec![gone], &vec![copied, edited.clone()]));
        assert!(!one.open);
        world.assert_delivered();
        assert_clean(&world).await;
        let categories: Vec<Value> = if which == 0 {
            let texts = world.column("Category").into_iter();
            texts.filter_map(|cell| if let CellValue::Text(text) = cell { Some(json!(text)) } else { None }).collect()
        } else {
            let records = world.airtable.read(&world.base, |base| base.records(TAB));
            records.iter().filter_map(|record| record.get("Category").cloned()).collect()
        };
        assert_eq!(categories.len(), 2, "the owner's cells stay: {categories:?}");
        world.clear_logs();
        read_back(&world, true).await;
        assert_eq!(writes(&world), 0, "mended is mended");
        world.cycle().await;
        world.assert_delivered();
    }
}

#[tokio::test]
async fn the_topmost_or_oldest_copy_stays_with_what_hangs_on_it() {
    let world = delivered().await;
    let copied = id(&world, 2);
    BOTH.iter().for_each(|which| copy(&world, *which, &copied));
    world.google.edit(&world.spreadsheet, |sheet| sheet.set_note(TAB, 3, 0, "моя бележка"));
    // The order of rows in a base does not tell their age.
    world.airtable.edit(&world.base, |base| base.reverse_records(TAB));
    read_back(&world, true).await;
    assert_eq!(row(&world, &copied), 3);
    world.google.read(&world.spreadsheet, |book| {
        assert_eq!(book.tab(TAB).unwrap().cell(3, 0).unwrap().note(), Some("моя бележка"));
    });
    world.assert_delivered();
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_repair_happens_once_whatever_becomes_of_its_answers() {
    for fault in [
        Fault::ApplyThenDrop,
        Fault::ApplyThenStatus(503, String::new()),
        Fault::CutBody,
        Fault::Drop,
        Fault::Status(502, "<html>bad gateway</html>".into()),
    ] {
        let world = delivered().await;
        let (gone, copied, edited) = (id(&world, 0), id(&world, 2), id(&world, 3));
        for which in BOTH {
            copy(&world, which, &copied);
            set(&world, which, &edited, "Description", json!("друго"));
            delete(&world, which, &gone);
        }
        world.google.server.fail(":batchUpdate", 0, 1, fault.clone());
        world.google.server.fail(":batchUpdate", 1, 1, fault.clone());
        world.airtable.server.fail_next("PATCH", fault.clone());
        world.airtable.server.fail_next("DELETE", fault.clone());
        for one in read_back(&world, true).await {
            assert_eq!((one.outcome, one.open), (Outcome::Ok, false), "{fault:?}: {one:?}");
        }
        world.assert_delivered();
        assert_clean(&world).await;
    }
}

#[tokio::test]
async fn a_repair_that_is_cut_off_goes_on_with_the_next_cycle_and_nothing_happens_twice() {
    for fault in [Fault::ApplyThenDrop, Fault::Drop] {
        let world = delivered().await;
        let (gone, copied) = (id(&world, 0), id(&world, 2));
        for which in BOTH {
            copy(&world, which, &copied);
            delete(&world, which, &gone);
        }
        for server in [&world.google.server, &world.airtable.server] {
            // The write's fate stays unknown, because the requests that would settle it fail as well.
            server.fail(":batchUpdate", 0, u32::MAX, fault.clone());
            server.fail("PATCH", 0, u32::MAX, fault.clone());
        }
        world.google.server.fail("developerMetadata:search", 2, u32::MAX, Fault::Drop);
        let found = read_back(&world, true).await;
        assert!(found.iter().all(|one| one.missing == [gone.clone()]), "{found:?}");
        assert_eq!((found[0].outcome, found[0].open), (Outcome::Failed, true), "{found:?}");
        // A base needs no answer to know: looking once more, it finds the row there.
        let is_known = fault == Fault::ApplyThenDrop;
        assert_eq!((found[1].outcome == Outcome::Ok, found[1].open), (is_known, !is_known), "{found:?}");
        world.google.server.heal();
        world.airtable.server.heal();
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{report:?}");
        world.assert_delivered();
        assert_clean(&world).await;
        world.clear_logs();
        world.cycle().await;
        assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    }
}

#[tokio::test]
async fn a_deletion_that_is_noticed_is_remembered_and_respected_until_a_repair() {
    let world = delivered().await;
    let gone = id(&world, 3);
    BOTH.iter().for_each(|which| delete(&world, *which, &gone));
    for one in read_back(&world, false).await {
        assert_eq!((one.missing, one.open), (vec![gone.clone()], true));
        assert!(one.deleted.is_empty());
    }
    for one in read_back(&world, false).await {
        assert_eq!((one.missing, one.deleted, one.open), (vec![], vec![gone.clone()], false));
    }
    BOTH.iter().for_each(|which| assert_eq!(deleted(&world, *which), std::slice::from_ref(&gone)));
    world.bank.edit(|bank| {
        let number: u64 = gone.rsplit(':').next().unwrap().parse().unwrap();
        for account in bank.customers.iter_mut().flat_map(|customer| &mut customer.accounts) {
            account.entries.iter_mut().filter(|entry| entry.number == number).for_each(|entry| {
                entry.counterparty = "ПОПРАВЕНО ИМЕ".into();
                entry.time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
            });
        }
    });
    world.cycle().await;
    assert!(!world.in_sheet().iter().any(|(id, _)| *id == gone), "a correction does not bring it back");
    assert!(!world.in_base().iter().any(|(id, _)| *id == gone));
    for one in read_back(&world, true).await {
        assert_eq!((one.put_back, one.outcome), (vec![gone.clone()], Outcome::Ok));
    }
    BOTH.iter().for_each(|which| assert!(deleted(&world, *which).is_empty()));
    world.assert_delivered();
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_row_found_gone_by_a_correction_is_left_to_restore() {
    let world = delivered().await;
    let gone = id(&world, 3);
    BOTH.iter().for_each(|which| delete(&world, *which, &gone));
    let engine = world.engine();
    for config in &engine.config.destinations {
        let mut state = engine.store.destination(&config.name, &config.target()).unwrap();
        state.rows.delete(gone.clone(), false);
        engine.store.put_destination(&config.name, &config.target(), &state).unwrap();
    }
    drop(engine);
    for one in read_back(&world, true).await {
        assert_eq!((one.put_back, one.deleted, one.open), (vec![], vec![gone.clone()], false));
    }
    // The owner's own undo counts, too.
    copy_back(&world, &gone).await;
}

/// Restores in both and looks.
async fn copy_back(world: &World, id: &str) {
    for which in BOTH {
        assert!(matches!(restore(world, which, &[id]).await, Restored::Done { put_back, .. } if put_back == [id]));
    }
    world.assert_delivered();
    assert_clean(world).await;
}

#[tokio::test]
async fn restore_puts_rows_back_exactly_once() {
    for fault in [None, Some(Fault::ApplyThenDrop), Some(Fault::Drop)] {
        let world = delivered().await;
        let (one, two, there) = (id(&world, 1), id(&world, 5), id(&world, 2));
        for which in BOTH {
            delete(&world, which, &one);
            delete(&world, which, &two);
        }
        read_back(&world, false).await;
        for which in BOTH {
            let unknown = restore(&world, which, &[&one, &there, "nonsense"]).await;
            assert!(matches!(unknown, Restored::Unknown(ids) if ids == ["nonsense"]));
            assert!(
                matches!(restore(&world, which, &[&there]).await, Restored::Done { left, .. } if left == is_there(&there))
            );
            world.google.server.clear_log();
            if let Some(fault) = &fault {
                world.google.server.fail_next(":batchUpdate", fault.clone());
                world.airtable.server.fail_next("PATCH", fault.clone());
            }
            let Restored::Done { report, put_back, .. } = restore(&world, which, &[&two, &one]).await else {
                panic!("they are known");
            };
            assert_eq!((report.outcome, put_back), (Outcome::Ok, vec![two.clone(), one.clone()]), "{report:?}");
            assert!(state(&world, which).rows == RowStates::default());
            let again = restore(&world, which, &[&one]).await;
            assert!(matches!(again, Restored::Done { left, .. } if left == is_there(&one)), "once is enough");
            world.google.server.heal();
            world.airtable.server.heal();
        }
        world.assert_delivered();
        assert_clean(&world).await;
    }
}

fn is_there(id: &str) -> [(String, Left); 1] {
    [(id.to_owned(), Left::There)]
}

#[tokio::test]
async fn a_restore_that_fails_stays_asked_for() {
    let world = delivered().await;
    let gone = id(&world, 1);
    delete(&world, 0, &gone);
    read_back(&world, false).await;
    world.google.server.fail("", 0, u32::MAX, Fault::Status(503, String::new()));
    let Restored::Done { report, put_back, .. } = restore(&world, 0, &[&gone]).await else { panic!("it is known") };
    assert_eq!((report.outcome, put_back.len()), (Outcome::Failed, 0));
    assert_eq!(deleted(&world, 0), [gone]);
    world.google.server.heal();
    world.cycle().await;
    world.assert_delivered();
    assert!(deleted(&world, 0).is_empty());
}

#[tokio::test]
async fn a_place_that_was_emptied_is_filled_again_and_not_taken_for_single_deletions() {
    let world = delivered().await;
    world.google.edit(&world.spreadsheet, |sheet| sheet.delete_tab(TAB));
    let ids = world.airtable.read(&world.base, |base| base.record_ids(TAB));
    world.airtable.edit(&world.base, |base| ids.iter().for_each(|id| base.delete_record(TAB, id)));
    for _ in 0..2 {
        for one in read_back(&world, false).await {
            assert_eq!(one.missing.len(), world.booked().len(), "{one:?}");
            assert_eq!(one.notes.len(), 1);
        }
    }
    BOTH.iter().for_each(|which| assert!(deleted(&world, *which).is_empty()));
    read_back(&world, true).await;
    world.assert_delivered();
    assert_clean(&world).await;
}

#[tokio::test]
async fn policies_decide_what_ought_to_be_there() {
    let mut world = World::new(Bank::small()).await;
    let policy = "updates = \"ignore\"\nvanished = \"delete\"\ndirection = \"debit\"";
    world.extra = ["".into(), policy.into(), policy.into()];
    world.write_config();
    let (changed, taken_back) = world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let mut entry = bank.customers[0].accounts[0].entries.last().unwrap().clone();
        entry.time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        (entry.amount, entry.balance) = (rust_decimal::Decimal::new(-100, 2), None);
        let number = bank.last_number();
        for number in [number + 1, number + 2] {
            entry.number = number;
            bank.add(&iban, entry.clone());
        }
        (number + 1, number + 2)
    });
    world.cycle().await;
    world.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        entries.retain(|entry| entry.number != taken_back);
        entries
            .iter_mut()
            .filter(|entry| entry.number == changed)
            .for_each(|entry| entry.counterparty = "ДРУГО".into());
    });
    let report = world.cycle().await;
    assert_eq!((report.sources[0].changed, report.sources[0].vanished), (1, 1), "{report:?}");
    assert_clean(&world).await;
    let wrong = world.in_sheet().iter().find(|(id, _)| id.ends_with(&changed.to_string())).unwrap().0.clone();
    BOTH.iter().for_each(|which| set(&world, *which, &wrong, "Counterparty", json!("нищо такова")));
    for one in read_back(&world, true).await {
        assert_eq!((one.different.len(), one.open), (1, false), "{one:?}");
        assert_ne!(one.different[0].expected.as_deref(), Some("ДРУГО"), "rows stay as first written");
    }
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_row_the_bank_took_back_returns_with_its_mark() {
    let world = World::new(Bank::small()).await;
    let number = world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let mut entry = bank.customers[0].accounts[0].entries.last().unwrap().clone();
        entry.time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        (entry.number, entry.balance) = (bank.last_number() + 1, None);
        bank.add(&iban, entry.clone());
        entry.number
    });
    world.cycle().await;
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.retain(|entry| entry.number != number));
    world.cycle().await;
    let gone = world.in_sheet().into_iter().find(|(id, _)| id.ends_with(&number.to_string())).unwrap().0;
    BOTH.iter().for_each(|which| delete(&world, *which, &gone));
    for one in read_back(&world, true).await {
        assert_eq!((one.put_back, one.open), (vec![gone.clone()], false));
    }
    let (row, amount) = (row(&world, &gone), column(&world, "Amount"));
    let struck = world.google.read(&world.spreadsheet, |book| {
        let cell = book.tab(TAB).unwrap().cell(row, amount).unwrap();
        cell.format().is_some_and(|format| format["textFormat"]["strikethrough"] == true)
    });
    assert!(struck);
    let records = world.airtable.read(&world.base, |base| base.records(TAB));
    let back = records.iter().find(|record| record["Transaction ID"] == json!(gone)).unwrap();
    assert_eq!(back["Vanished"], json!(true));
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_lost_store_adopts_what_is_there_and_keeps_the_owners_cells() {
    let world = delivered().await;
    let (owned, copied) = (id(&world, 4), id(&world, 5));
    for which in BOTH {
        set(&world, which, &owned, "Category", json!("Мое"));
        copy(&world, which, &copied);
    }
    let rows = world.sheet().len();
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!((report.destinations[0].appended, report.destinations[1].appended), (0, 0));
    assert_eq!(world.sheet().len(), rows);
    assert_eq!(writes(&world), 0, "everything is there");
    assert_eq!(world.airtable.server.requests(), 2, "the layout and one page of ids");
    let found = read_back(&world, true).await;
    assert!(
        found.iter().all(|one| one.doubled == [copied.clone()] && one.missing.is_empty() && one.different.is_empty())
    );
    world.assert_delivered();
    assert_eq!(world.column("Category")[row(&world, &owned) - 1], CellValue::Text("Мое".into()));
    let records = world.airtable.read(&world.base, |base| base.records(TAB));
    assert!(records.iter().any(|record| record.get("Category") == Some(&json!("Мое"))));
}

#[tokio::test]
async fn a_lost_store_delivers_what_is_missing_and_doubles_nothing() {
    let world = delivered().await;
    let gone = id(&world, 3);
    BOTH.iter().for_each(|which| delete(&world, *which, &gone));
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    let report = world.cycle().await;
    // A sheet's ledger proves that the row was written once and then deleted; a base has no such proof.
    assert_eq!((report.destinations[0].appended, report.destinations[1].appended), (0, 1), "{report:?}");
    assert_eq!(deleted(&world, 0), std::slice::from_ref(&gone));
    assert!(matches!(restore(&world, 0, &[&gone]).await, Restored::Done { .. }));
    world.assert_delivered();
    // The same once more, with a row put back in the past and an entry that was posted late: no conclusion is certain
    // now.
    let late = world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let mut entry = bank.customers[0].accounts[0].entries.first().unwrap().clone();
        (entry.number, entry.balance) = (bank.last_number() + 1, None);
        bank.add(&iban, entry.clone());
        entry.number
    });
    delete(&world, 0, &gone);
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    let report = world.cycle().await;
    assert_eq!((report.destinations[0].appended, report.destinations[1].appended), (2, 1), "{late}: {report:?}");
    world.assert_delivered();
}

#[tokio::test]
async fn rows_under_older_ids_are_adopted_and_get_the_present_ones() {
    for store_lost in [true, false] {
        let world = delivered().await;
        let ids: Vec<String> = world.in_sheet().into_iter().map(|(id, _)| id).collect();
        for (n, id) in ids.iter().enumerate().take(6) {
            let (iban, number) = id.strip_prefix("fibank:").unwrap().split_once(':').unwrap();
            let number_cell = json!(number.parse::<u64>().unwrap());
            let behind = json!(format!("{iban}-{number}"));
            set(&world, 1, id, "Transaction ID", if n % 2 == 0 { json!(number) } else { behind.clone() });
            set(&world, 0, id, "Transaction ID", if n % 2 == 0 { number_cell } else { behind });
        }
        if store_lost {
            std::fs::remove_dir_all(world.data_dir()).unwrap();
            let report = world.cycle().await;
            assert_eq!(report.exit_status(), 0, "{report:?}");
            assert_eq!((report.destinations[0].appended, report.destinations[1].appended), (0, 0), "{report:?}");
        } else {
            for one in read_back(&world, true).await {
                assert!(one.missing.is_empty() && one.doubled.is_empty(), "{one:?}");
                assert!(one.different.len() == 6 && one.different.iter().all(|cell| cell.column == "id"), "{one:?}");
            }
        }
        world.assert_delivered();
        assert_clean(&world).await;
    }
}

#[tokio::test]
async fn trouble_is_said_and_nothing_is_remembered_of_it() {
    let world = delivered().await;
    let gone = id(&world, 1);
    delete(&world, 0, &gone);
    world.google.server.fail("", 0, u32::MAX, Fault::Status(503, String::new()));
    let all = ["GET", "POST"];
    all.iter().for_each(|method| world.airtable.server.fail(method, 0, u32::MAX, Fault::Status(401, String::new())));
    let found = read_back(&world, false).await;
    assert_eq!((found[0].outcome, found[1].outcome), (Outcome::Failed, Outcome::Attention), "{found:?}");
    assert!(found[0].missing.is_empty() && deleted(&world, 0).is_empty());
    // A hiccup is no trouble.
    world.google.server.heal();
    world.airtable.server.heal();
    world.google.server.fail_next("batchGetByDataFilter", Fault::Truncate);
    world.airtable.server.fail_next("GET", Fault::Drop);
    let found = read_back(&world, false).await;
    assert_eq!((found[0].missing.len(), found[1].is_clean()), (1, true), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_speak_json_and_by_status() {
    let world = World::new(Bank::small()).await;
    let (status, nothing) = cli::json(&world, &["verify", "--json"]).await;
    assert_eq!((status, world.google.server.requests()), (0, 0), "nothing delivered, nothing to look at: {nothing}");
    cli::run(&world, &["sync"]).await;
    let (gone, edited) = (id(&world, 1), id(&world, 2));
    let (status, clean) = cli::json(&world, &["verify", "--json"]).await;
    assert_eq!(status, 0, "{clean}");
    let names: Vec<&str> = clean.as_array().unwrap().iter().map(|one| one["destination"].as_str().unwrap()).collect();
    assert_eq!(names, ["household", "base"]);
    delete(&world, 0, &gone);
    set(&world, 0, &edited, "Amount", json!(1.5));
    let (status, found) = cli::json(&world, &["verify", "household", "--json"]).await;
    assert_eq!((status, found.as_array().unwrap().len()), (1, 1));
    assert_eq!((&found[0]["missing"], &found[0]["doubled"]), (&json!([gone]), &json!([])));
    let expected = world.booked()[&edited].clone();
    let different = json!([{ "id": edited, "column": "amount", "expected": expected, "found": "1.50" }]);
    assert_eq!(found[0]["different"], different);
    let (_, state) = cli::json(&world, &["status", "--json"]).await;
    assert_eq!(state["destinations"][0]["deleted"], json!([gone]));
    assert_eq!(cli::run(&world, &["verify", "nowhere"]).await.status.code(), Some(2));
    let unknown = cli::run(&world, &["restore", "household", &gone, "fibank:X:1"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("fibank:X:1") && !said.contains(&gone), "{said}");
    assert_eq!(cli::run(&world, &["restore", "household", &gone]).await.status.code(), Some(0));
    let (_, state) = cli::json(&world, &["status", "--json"]).await;
    assert_eq!(state["destinations"][0]["deleted"], json!([]));
    assert_eq!(cli::run(&world, &["restore", "household", &gone]).await.status.code(), Some(2));
    let repaired = cli::run(&world, &["verify", "household", "--repair"]).await;
    assert_eq!(repaired.status.code(), Some(0), "{}", String::from_utf8_lossy(&repaired.stdout));
    world.assert_delivered();
    world.airtable.server.fail("", 0, u32::MAX, Fault::Status(401, String::new()));
    assert_eq!(cli::run(&world, &["verify", "base"]).await.status.code(), Some(3));
}

/// The number of missing rows is that of a deletion, but one of them was never there: a late posting, which must
/// arrive.
#[tokio::test]
async fn a_late_posting_after_a_lost_store_is_not_taken_for_a_deleted_row() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let ids = world.in_sheet();
    let (gone, _) = &ids[2];
    let number: u64 = gone.rsplit(':').next().unwrap().parse().unwrap();
    world.google.edit(&world.spreadsheet, |book| book.delete_row(TAB, 3));
    world.bank.edit(|bank| {
        for account in &mut bank.customers[0].accounts {
            let Some(at) = account.entries.iter().position(|entry| entry.number == number) else { continue };
            let taken_back = account.entries.remove(at);
            account.entries.push(bankfeed::simulator::fibank::Entry { number: number + 500, ..taken_back });
        }
    });
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    let report = world.cycle().await;
    assert_eq!((report.exit_status(), report.destinations[0].appended), (0, 1), "{report:?}");
    assert!(deleted(&world, 0).is_empty());
    assert!(world.in_sheet().iter().any(|(id, _)| id.ends_with(&format!(":{}", number + 500))));
}

/// The store was put back to an older state, and a repair comes before the next cycle: the later batches are still
/// found in the sheet.
#[tokio::test]
async fn a_repair_over_an_older_store_does_not_hide_that_the_sheet_is_ahead() {
    let world = delivered().await;
    let older = world.dir.path().join("older");
    world.copy_data(&world.data_dir(), &older);
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let last = bank.customers[0].accounts[0].entries.last().unwrap().clone();
        let time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        bank.add(&iban, bankfeed::simulator::fibank::Entry { number, time, balance: None, ..last });
    });
    assert_eq!(world.cycle().await.destinations[0].appended, 1);
    world.copy_data(&older, &world.data_dir());
    read_back(&world, true).await;
    let report = world.cycle().await;
    assert_eq!((report.exit_status(), report.destinations[0].appended), (0, 0), "{report:?}");
    world.assert_delivered();
}

/// A service refuses a row for a reason that ends later, without a word to bankfeed.
#[tokio::test]
async fn a_refused_row_is_missing_and_is_tried_again() {
    let refusals = [
        (
            ":batchUpdate",
            r#"{"error": {"code": 400, "message": "Your input contains more than the maximum of 50000 characters in a single cell.", "status": "INVALID_ARGUMENT"}}"#,
            400,
        ),
        (
            "PATCH",
            r#"{"error": {"type": "INVALID_VALUE_FOR_COLUMN", "message": "Field \"Amount\" cannot accept the provided value"}}"#,
            422,
        ),
    ];
    for (which, (target, body, status)) in refusals.into_iter().enumerate() {
        for way in ["repair", "restore", "another day", "a later day"] {
            let world = World::new(Bank::small()).await;
            world.cycle().await;
            let late = world.bank.edit(|bank| {
                let (number, account) = (bank.last_number() + 1, &mut bank.customers[0].accounts[0]);
                let last = account.entries.last().unwrap().clone();
                let time = chrono::Utc::now().with_timezone(last.time.offset());
                account.entries.push(bankfeed::simulator::fibank::Entry { number, time, ..last });
                format!("fibank:{}:{number}", account.iban)
            });
            let server = if which == 0 { &world.google.server } else { &world.airtable.server };
            let refuse = |times| server.fail(target, 0, times, Fault::Status(status, body.into()));
            refuse(u32::MAX);
            let report = world.cycle().await;
            assert_eq!(report.destinations[which].rejected, 1, "{way}: {report:?}");
            server.heal();
            // The row is reported as missing, and not as deleted by the owner.
            for _ in 0..2 {
                let found = read_back(&world, false).await.swap_remove(which);
                assert_eq!((found.missing, found.open), (vec![late.clone()], true), "{way}");
                assert_eq!(deleted(&world, which), Vec::<String>::new(), "{way}");
            }
            world.clear_logs();
            world.cycle().await;
            assert_eq!(server.requests(), 0, "it is not tried again as it is");
            let pass = |days: u64| {
                let engine = world.engine();
                let config = &engine.config.destinations[which];
                let mut state = engine.store.destination(&config.name, &config.target()).unwrap();
                state.rows.retry_on = state.rows.retry_on.map(|day| day - chrono::Days::new(days));
                engine.store.put_destination(&config.name, &config.target(), &state).unwrap();
            };
            match way {
                "repair" => drop(read_back(&world, true).await),
                "restore" => assert!(matches!(restore(&world, which, &[&late]).await, Restored::Done { .. })),
                "another day" => {
                    pass(1);
                    assert_eq!(world.cycle().await.destinations[which].appended, 1);
                }
                _ => {
                    refuse(u32::MAX);
                    pass(1);
                    assert_eq!(world.cycle().await.destinations[which].rejected, 1);
                    server.heal();
                    world.clear_logs();
                    pass(1);
                    world.cycle().await;
                    assert_eq!(server.requests(), 0, "the second wait is longer");
                    pass(1);
                    assert_eq!(world.cycle().await.destinations[which].appended, 1);
                }
            }
            world.assert_delivered();
            assert_clean(&world).await;
            let rows = state(&world, which).rows;
            assert!(rows.rejected().next().is_none() && rows.retry_on.is_none(), "{way}");
        }
    }
}

/// Ids and texts of the rows that have an id, wherever a header may be.
fn in_tab(world: &World) -> Vec<String> {
    let said = |cell: &CellValue| matches!(cell, CellValue::Text(text) if text.starts_with("fibank:"));
    world.sheet().iter().filter(|row| row.iter().any(said)).map(|row| format!("{row:?}")).collect()
}

#[tokio::test]
async fn without_a_header_the_first_row_is_a_row() {
    let acts: [fn(&mut bankfeed::simulator::google::Spreadsheet); 2] =
        [|book| book.delete_row(TAB, 0), |book| book.move_row(TAB, 0, 3)];
    for act in acts {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        let (first, count) = (id(&world, 0), in_tab(&world).len());
        world.google.edit(&world.spreadsheet, act);
        assert_clean(&world).await;
        world.bank.edit(|bank| {
            for entry in bank.customers[0].accounts.iter_mut().flat_map(|account| &mut account.entries) {
                // The entries move into the window that is fetched again.
                entry.time += chrono::Utc::now().fixed_offset() - entry.time - chrono::TimeDelta::hours(1);
                entry.counterparty = format!("ПОПРАВЕН {}", entry.number);
            }
        });
        let report = world.cycle().await;
        assert_eq!(report.destinations[0].updated, count as u64, "{report:?}");
        for one in read_back(&world, true).await {
            assert!(one.is_clean() && one.put_back.is_empty(), "{one:?}");
        }
        let rows = in_tab(&world);
        assert_eq!(rows.len(), count);
        assert!(rows.iter().all(|row| row.contains("ПОПРАВЕН")), "{rows:?}");
        assert!(rows.iter().any(|row| row.contains(&first)));
    }
}

#[tokio::test]
async fn rows_that_lost_their_ids_get_them_again_and_are_not_doubled() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    // The sheet has two rows that differ only in their ids, and gets a line of the owner's.
    let at = column(&world, "Transaction ID");
    world.google.edit(&world.spreadsheet, |book| {
        let below = book.rows(TAB).len();
        book.set_cell(TAB, below, 3, CellValue::Text("cash".into()));
        book.set_cell(TAB, below, 1, CellValue::Number(-5.0));
        book.delete_column(TAB, at);
    });
    assert_eq!(world.cycle().await.exit_status(), 0, "nothing is sent, so nothing is noticed");
    let late = world.bank.edit(|bank| {
        let (number, account) = (bank.last_number() + 1, &mut bank.customers[0].accounts[0]);
        let last = account.entries.last().unwrap().clone();
        let time = chrono::Utc::now().with_timezone(last.time.offset());
        account.entries.push(bankfeed::simulator::fibank::Entry { number, time, ..last });
        number
    });
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 3, "{report:?}");
    assert!(report.destinations[0].error.as_ref().unwrap().contains("verify household --repair"), "{report:?}");
    let found = read_back(&world, false).await.swap_remove(0);
    let booked = world.booked().len();
    assert_eq!((found.missing.len(), found.doubled.len(), found.different.len()), (0, 0, booked - 1), "{found:?}");
    assert!(found.different.iter().all(|one| one.column == "id" && one.found.is_none()), "{found:?}");
    let repaired = read_back(&world, true).await.swap_remove(0);
    assert_eq!((repaired.mended.len(), repaired.put_back.len()), (booked - 1, 0), "{repaired:?}");
    assert_clean(&world).await;
    let rows = in_tab(&world);
    assert_eq!(rows.len(), booked, "late {late}: {rows:?}");
    // Header, rows and the owner's line.
    assert_eq!(world.sheet().len(), booked + 2);
}

/// A refused change may have been a correction of a delivered row: the second try must bring the correction.
#[tokio::test]
async fn a_refused_correction_is_tried_again_too() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let late = world.bank.edit(|bank| {
        let account = &mut bank.customers[0].accounts[0];
        let last = account.entries.last_mut().unwrap();
        last.time = chrono::Utc::now().with_timezone(last.time.offset());
        format!("fibank:{}:{}", account.iban, account.entries.last().unwrap().number)
    });
    world.cycle().await;
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.last_mut().unwrap().counterparty = "ПОПРАВЕН".into());
    let body = r#"{"error": {"type": "INVALID_VALUE_FOR_COLUMN", "message": "no"}}"#;
    world.airtable.server.fail("PATCH", 0, u32::MAX, Fault::Status(422, body.into()));
    let report = world.cycle().await;
    assert_eq!(report.destinations[1].rejected, 1, "{report:?}");
    world.airtable.server.heal();
    {
        let engine = world.engine();
        let config = &engine.config.destinations[1];
        let mut state = engine.store.destination(&config.name, &config.target()).unwrap();
        assert!(state.rows.is_rejected(&late));
        state.rows.retry_on = state.rows.retry_on.map(|day| day - chrono::Days::new(1));
        engine.store.put_destination(&config.name, &config.target(), &state).unwrap();
    }
    world.cycle().await;
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    let record = records.iter().find(|record| record["Transaction ID"] == late).unwrap();
    assert_eq!(record["Counterparty"], "ПОПРАВЕН");
    assert_clean(&world).await;
}
