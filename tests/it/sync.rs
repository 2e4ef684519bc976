//! Whole cycles through the real stack: simulated bank, store, simulated destinations.

use bankfeed::remote::Cause;
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Door, Entry};
use bankfeed::simulator::google::CellValue;
use bankfeed::sync::{Outcome, Request};
use chrono::{NaiveDate, Utc};

use crate::world::World;

fn today() -> NaiveDate {
    Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive()
}

fn entry(number: u64, cents: i64, payee: &str) -> Entry {
    let now = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    Entry {
        number,
        time: now,
        value_date: now.date_naive(),
        amount: rust_decimal::Decimal::new(cents, 2),
        counterparty: payee.into(),
        type_name: "Плащане".into(),
        ..Entry::default()
    }
}

fn book(world: &World, cents: i64, payee: &str) -> u64 {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let number = bank.last_number() + 1;
        bank.add(&iban, entry(number, cents, payee));
        number
    })
}

#[tokio::test]
async fn every_booked_transaction_arrives_once_and_the_second_cycle_sends_nothing() {
    let world = World::new(Bank::small()).await;
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    let booked = world.booked().len() as u64;
    assert_eq!((report.sources[0].fetched, report.sources[0].new), (booked, booked));
    assert_eq!(report.destinations[0].appended, booked);
    assert_eq!(report.destinations[1].appended, booked);
    assert!(report.sources[0].requests <= 9, "{} requests to the bank", report.sources[0].requests);
    world.assert_delivered();
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!((report.sources[0].new, report.sources[0].changed, report.sources[0].vanished), (0, 0, 0));
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    assert_eq!(world.bank.server.requests(), report.sources[0].requests);
    assert!(report.sources[0].requests <= 9, "{} requests to the bank", report.sources[0].requests);
}

#[tokio::test]
async fn new_rows_and_only_new_rows_follow() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    book(&world, -240, "КАФЕ");
    book(&world, -240, "КАФЕ");
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.sources[0].new, 2);
    assert_eq!((report.destinations[0].appended, report.destinations[1].appended), (2, 2));
    assert_eq!(world.airtable.server.requests(), 1, "two rows, one request");
    assert!(world.google.server.requests() <= 3, "{} requests", world.google.server.requests());
    assert_eq!(report.destinations[0].requests, world.google.server.requests());
    assert_eq!(report.destinations[1].requests, world.airtable.server.requests());
    world.assert_delivered();
}

#[tokio::test]
async fn the_household_arrives_whole_with_typed_cells_and_unchanged_text() {
    let world = World::new(Bank::household(today())).await;
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    world.assert_delivered();
    let booked = world.bank.edit(|bank| bank.transactions());
    let ids = world.column("Transaction ID");
    let (dates, payees, balances) = (world.column("Date"), world.column("Counterparty"), world.column("Balance"));
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30).unwrap();
    for (iban, entry, balance) in booked {
        let at = ids.iter().position(|id| *id == CellValue::Text(format!("fibank:{iban}:{}", entry.number))).unwrap();
        let day = entry.time.with_timezone(&chrono_tz::Europe::Sofia).date_naive();
        assert_eq!(dates[at], CellValue::Number((day - epoch).num_days() as f64));
        if !entry.counterparty.trim().is_empty() {
            assert_eq!(payees[at], CellValue::Text(entry.counterparty.trim().to_owned()));
        }
        assert_eq!(balances[at], CellValue::Number(balance.to_string().parse().unwrap()));
    }
    let engine = world.engine();
    assert!(engine.store.accounts().iter().all(|account| account.is_complete()), "{:?}", engine.store.accounts());
}

#[tokio::test]
async fn a_destination_that_is_down_for_three_cycles_catches_up_and_delays_nobody() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    world.google.server.fail("", 0, u32::MAX, Fault::Status(503, String::new()));
    for _ in 0..3 {
        book(&world, -100, "МАГАЗИН");
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 1);
        assert_eq!(report.destinations[0].outcome, Outcome::Failed);
        assert_eq!(report.destinations[1].outcome, Outcome::Ok);
    }
    let report = world.cycle().await;
    assert_eq!(report.destinations[0].waiting, 3);
    world.google.server.heal();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!(report.destinations[0].appended, 3);
    world.assert_delivered();
}

#[tokio::test]
async fn a_lost_answer_never_doubles_a_row() {
    for fault in [
        Fault::ApplyThenDrop,
        Fault::ApplyThenStatus(503, String::new()),
        Fault::ApplyThenStatus(500, String::new()),
        Fault::Truncate,
        Fault::CutBody,
        Fault::Drop,
        Fault::Status(502, "<html>bad gateway</html>".into()),
    ] {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        for _ in 0..2 {
            book(&world, -150, "ХЛЯБ");
            world.google.server.fail_next(":batchUpdate", fault.clone());
            world.airtable.server.fail_next("PATCH", fault.clone());
            let report = world.cycle().await;
            assert_eq!(report.exit_status(), 0, "{fault:?}: {report:?}");
            world.assert_delivered();
        }
        assert!(!world.google.server.faults_left() && !world.airtable.server.faults_left());
    }
}

#[tokio::test]
async fn a_refused_password_is_tried_once_until_the_configuration_changes() {
    let world = World::new(Bank::small()).await;
    world.write_config_with_password("грешна-парола");
    for _ in 0..3 {
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 3);
        assert_eq!(report.sources[0].outcome, Outcome::Attention);
        world.scheduled_cycle().await;
    }
    assert_eq!(world.bank.login_attempts(), 1);
    let attention = world.engine().store.source("fibank").unwrap().attention.unwrap();
    assert_eq!(attention.cause, Cause::PasswordRefused);
    assert!(!attention.message.contains("грешна"), "{}", attention.message);
    world.write_config();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!(world.bank.login_attempts(), 2);
    world.assert_delivered();
}

#[tokio::test]
async fn what_only_the_owner_can_end_is_not_looped_on() {
    for (door, cause) in [
        (Door::SecondFactor, Cause::SecondFactor),
        (Door::Locked, Cause::Locked),
        (Door::PasswordChange, Cause::PasswordChange),
        (Door::Unknown("<html><body><h1>Нещо съвсем ново</h1></body></html>".into()), Cause::UnknownPage),
    ] {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        world.bank.edit(|bank| bank.door = door.clone());
        let before = world.bank.login_attempts();
        for _ in 0..3 {
            let report = world.scheduled_cycle().await;
            assert_eq!(report.exit_status(), 3, "{door:?}: {report:?}");
        }
        assert_eq!(world.bank.login_attempts(), before + 1, "{door:?}");
        assert_eq!(world.engine().store.source("fibank").unwrap().attention.unwrap().cause, cause);
        world.bank.edit(|bank| bank.door = Door::Open);
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{door:?}: the owner has put it right and asked: {report:?}");
        assert_eq!(world.engine().store.source("fibank").unwrap().attention, None);
    }
}

#[tokio::test]
async fn maintenance_is_tried_again_at_the_next_run() {
    let world = World::new(Bank::small()).await;
    world.bank.edit(|bank| bank.door = Door::Maintenance);
    assert_eq!(world.scheduled_cycle().await.exit_status(), 3);
    world.bank.edit(|bank| bank.door = Door::Open);
    assert_eq!(world.scheduled_cycle().await.exit_status(), 0);
    world.assert_delivered();
}

#[tokio::test]
async fn one_broken_account_does_not_stop_the_others() {
    let world = World::new(Bank::small()).await;
    let broken = world.bank.edit(|bank| {
        bank.customers[0].accounts[1].fails = true;
        bank.customers[0].accounts[1].iban.clone()
    });
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 1);
    assert!(report.sources[0].error.as_deref().unwrap().contains(&broken), "{report:?}");
    assert!(!world.in_sheet().is_empty());
    assert!(world.in_sheet().iter().all(|(id, _)| !id.contains(&broken)));
    world.bank.edit(|bank| bank.customers[0].accounts[1].fails = false);
    assert_eq!(world.cycle().await.exit_status(), 0);
    world.assert_delivered();
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let world = World::new(Bank::small()).await;
    let dry = Request { dry_run: true, by_hand: true, ..Request::default() };
    let report = world.cycle_with(dry.clone()).await;
    let booked = world.booked().len() as u64;
    assert!(report.dry_run);
    assert_eq!(report.sources[0].new, booked);
    assert_eq!((report.destinations[0].appended, report.destinations[1].appended), (booked, booked));
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    assert_eq!(world.engine().store.meta().rows, 0);
    world.cycle().await;
    let report = world.cycle_with(dry).await;
    assert_eq!((report.sources[0].new, report.destinations[0].appended), (0, 0));
}

#[tokio::test]
async fn a_correction_by_the_bank_reaches_the_row_it_had() {
    let world = World::new(Bank::small()).await;
    let number = book(&world, -700, "СТАРО ИМЕ");
    world.cycle().await;
    world.bank.edit(|bank| {
        let account = &mut bank.customers[0].accounts[0];
        let entry = account.entries.iter_mut().find(|entry| entry.number == number).unwrap();
        entry.counterparty = "НОВО ИМЕ".into();
    });
    let report = world.cycle().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed), (0, 1), "{report:?}");
    assert_eq!((report.destinations[0].updated, report.destinations[1].updated), (1, 1), "{report:?}");
    world.assert_delivered();
    assert!(world.column("Counterparty").contains(&CellValue::Text("НОВО ИМЕ".into())));
    assert!(!world.column("Counterparty").contains(&CellValue::Text("СТАРО ИМЕ".into())));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(["transactions", "--json", "--search", "НОВО ИМЕ"]);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed[0]["history"][0]["what"], "changed");
    assert_eq!(listed[0]["history"][0]["before"]["counterparty"], "СТАРО ИМЕ");
    world.clear_logs();
    world.cycle().await;
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
}

#[tokio::test]
async fn a_row_the_bank_takes_back_is_marked_and_stays() {
    let world = World::new(Bank::small()).await;
    let number = book(&world, -700, "СТОРНО");
    world.cycle().await;
    let rows = world.sheet().len();
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.retain(|entry| entry.number != number));
    let report = world.cycle().await;
    assert_eq!(report.sources[0].vanished, 1, "{report:?}");
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!(world.sheet().len(), rows, "the row stays");
    assert!(world.engine().store.accounts()[0].is_complete());
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.sources[0].vanished, 0, "once is enough");
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
}

#[tokio::test]
async fn a_lost_store_doubles_nothing() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    book(&world, -100, "СЛЕД ЗАГУБАТА");
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!(report.destinations[0].appended, 1);
    world.assert_delivered();
}

#[tokio::test]
async fn history_restated_in_euros_is_no_correction() {
    let world = World::new(Bank::small()).await;
    world.bank.edit(|bank| {
        let account = &mut bank.customers[0].accounts[0];
        account.currency = "BGN".into();
    });
    world.cycle().await;
    let before = world.sheet();
    world.bank.edit(|bank| {
        let euro = |amount: rust_decimal::Decimal| bankfeed::model::bgn_to_eur(amount);
        let account = &mut bank.customers[0].accounts[0];
        account.currency = "EUR".into();
        account.opening = euro(account.opening);
        account.entries.iter_mut().for_each(|entry| entry.amount = euro(entry.amount));
    });
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed, report.sources[0].vanished), (0, 0, 0), "{report:?}");
    assert_eq!(world.google.server.requests(), 0);
    assert_eq!(world.sheet(), before);
    let account = &world.engine().store.accounts()[0];
    assert_eq!(account.former_currencies.len(), 1);
    assert_eq!(account.former_currencies[0].1, "BGN");
}

/// Restated and corrected at once; and one whose balance another row has moved, for a late one was booked before it.
#[tokio::test]
async fn a_row_corrected_while_history_is_restated_keeps_its_currency_and_gets_only_the_correction() {
    let world = World::new(Bank::small()).await;
    world.bank.edit(|bank| bank.customers[0].accounts[0].currency = "BGN".into());
    let (corrected, moved) = (book(&world, 5555, "СТАРО ИМЕ"), book(&world, -1956, "ПО-КЪСЕН"));
    world.cycle().await;
    let cells = |number: u64| {
        let sheet = world.sheet();
        let row = sheet.iter().position(|row| {
            row.iter().any(|cell| matches!(cell, CellValue::Text(id) if id.ends_with(&format!(":{number}"))))
        });
        let at = |header: &str| sheet[0].iter().position(|cell| *cell == CellValue::Text(header.into())).unwrap();
        ["Amount", "Currency", "Balance", "Counterparty"].map(|header| sheet[row.unwrap()][at(header)].clone())
    };
    let (before, before_moved) = (cells(corrected), cells(moved));
    assert_eq!(before[..2], [CellValue::Number(55.55), CellValue::Text("BGN".into())]);
    let account = world.bank.edit(|bank| {
        let euro = |amount: rust_decimal::Decimal| bankfeed::model::bgn_to_eur(amount);
        let account = &mut bank.customers[0].accounts[0];
        account.currency = "EUR".into();
        account.opening = euro(account.opening);
        account.entries.iter_mut().for_each(|entry| entry.amount = euro(entry.amount));
        let at = account.entries.iter().position(|entry| entry.number == corrected).unwrap();
        account.entries[at].counterparty = "НОВО ИМЕ".into();
        let mut late = entry(moved + 1, 1000, "ЗАКЪСНЯЛ");
        late.time = account.entries[at + 1].time;
        account.entries.insert(at + 1, late);
        account.iban.clone()
    });
    let report = world.cycle().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed, report.sources[0].vanished), (1, 1, 0), "{report:?}");
    let [amount, currency, balance, name] = cells(corrected);
    assert_eq!([amount, currency, balance], before[..3], "amounts stay as first seen");
    assert_eq!(name, CellValue::Text("НОВО ИМЕ".into()));
    assert_eq!(cells(moved), before_moved, "a balance that the late row has moved is no other entry");
    let payload = |transaction: bankfeed::model::Transaction| {
        serde_json::from_str::<serde_json::Value>(&transaction.row.raw).unwrap()
    };
    let engine = world.engine();
    let number = engine.store.find(&format!("fibank:{account}:{corrected}")).unwrap().unwrap();
    assert_eq!(payload(engine.store.transaction(number).unwrap())["amount"], 28.4, "the payload is the one received");
    drop(engine);
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!((report.sources[0].changed, report.exit_status()), (0, 0), "{report:?}");
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
}

/// Rows that were delivered after the copy of the store was made are in the sheet, and the restored store finds them
/// there.
#[tokio::test]
async fn a_store_put_back_to_an_older_state_doubles_nothing() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let older = world.dir.path().join("older");
    world.copy_data(&world.data_dir(), &older);
    let number = book(&world, -100, "СЛЕД КОПИЕТО");
    book(&world, -150, "СЛЕД КОПИЕТО");
    world.cycle().await;
    world.copy_data(&older, &world.data_dir());
    correct(&world, number, |entry| entry.counterparty = "ПОПРАВЕН".into());
    book(&world, -200, "СЛЕД ВРЪЩАНЕТО");
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!(report.destinations[0].appended, 1, "{report:?}");
    world.assert_delivered();
}

#[tokio::test]
async fn two_processes_with_stores_of_their_own_share_one_sheet() {
    let world = World::new(Bank::small()).await;
    let other = world.dir.path().join("other");
    for _ in 0..3 {
        book(&world, -100, "ДВАМА");
        for data_dir in [world.data_dir(), other.clone()] {
            let report = world.cycle_in(&data_dir).await;
            assert_eq!(report.exit_status(), 0, "{report:?}");
            world.assert_delivered();
        }
    }
    book(&world, -100, "ЕДНОВРЕМЕННО");
    let (first, second) = (world.engine_in(&world.data_dir()), world.engine_in(&other));
    let (request, nobody) = (Request { by_hand: true, ..Request::default() }, nobody());
    let (first, second) = tokio::join!(first.cycle(&request, &nobody), second.cycle(&request, &nobody));
    assert_eq!((first.unwrap().exit_status(), second.unwrap().exit_status()), (0, 0));
    world.assert_delivered();
}

/// Two stores have seen the row go before it was ever delivered; when the row returns, only one of them brings it.
#[tokio::test]
async fn a_row_that_two_processes_set_aside_returns_once() {
    let world = World::new(Bank::small()).await;
    let other = world.dir.path().join("other");
    let both = [world.data_dir(), other];
    for data_dir in &both {
        world.cycle_in(data_dir).await;
    }
    let number = book(&world, -700, "ИЗЧЕЗВАЩ");
    let (pull_only, nobody) =
        (Request { destinations: Some(Vec::new()), by_hand: true, ..Request::default() }, nobody());
    for data_dir in &both {
        world.engine_in(data_dir).cycle(&pull_only, &nobody).await.unwrap();
    }
    let away = take_back(&world, number);
    for data_dir in &both {
        world.cycle_in(data_dir).await;
    }
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(away));
    for data_dir in &both {
        assert_eq!(world.cycle_in(data_dir).await.exit_status(), 0);
        world.assert_delivered();
    }
    correct(&world, number, |entry| entry.counterparty = "ПОПРАВЕН".into());
    for data_dir in &both {
        assert_eq!(world.cycle_in(data_dir).await.destinations[0].updated, 1);
        world.assert_delivered();
    }
}

#[tokio::test]
async fn an_account_that_comes_to_light_after_a_lost_store_is_not_doubled() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    world.bank.edit(|bank| bank.customers[0].accounts[1].fails = true);
    assert_eq!(world.cycle().await.exit_status(), 1);
    world.bank.edit(|bank| bank.customers[0].accounts[1].fails = false);
    for _ in 0..2 {
        let report = world.cycle().await;
        assert_eq!((report.exit_status(), report.destinations[0].appended), (0, 0), "{report:?}");
        world.assert_delivered();
    }
}

/// A row that vanished before its first delivery, came back and was delivered, but the answer was lost with the
/// process.
#[tokio::test]
async fn a_row_set_aside_that_arrived_unanswered_is_there_from_then_on() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let number = book(&world, -700, "ИЗЧЕЗВАЩ");
    let pull_only = Request { destinations: Some(Vec::new()), by_hand: true, ..Request::default() };
    world.cycle_with(pull_only).await;
    let away = take_back(&world, number);
    assert_eq!(world.cycle().await.exit_status(), 0);
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(away));
    world.google.server.fail(":batchUpdate", 0, 1, Fault::ApplyThenDrop);
    world.google.server.fail("developerMetadata:search", 1, u32::MAX, Fault::Status(503, String::new()));
    assert_eq!(world.cycle().await.destinations[0].outcome, Outcome::Failed);
    world.google.server.heal();
    assert_eq!(world.cycle().await.exit_status(), 0);
    world.assert_delivered();
    correct(&world, number, |entry| entry.counterparty = "ПОПРАВЕН".into());
    let report = world.cycle().await;
    assert_eq!((report.destinations[0].appended, report.destinations[0].updated), (0, 1), "{report:?}");
    world.assert_delivered();
}

/// The row of a batch that is still under way vanishes, and no other row is to be sent: the batch must not arrive any
/// more, for the row counts as never delivered.
#[tokio::test]
async fn a_batch_that_will_not_be_sent_again_can_never_arrive() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let number = book(&world, -700, "ИЗЧЕЗВАЩ");
    world.google.server.fail(":batchUpdate", 0, u32::MAX, Fault::Held(1_000));
    assert_eq!(world.cycle().await.destinations[0].outcome, Outcome::Failed);
    world.google.server.heal();
    let away = take_back(&world, number);
    let report = world.cycle().await;
    assert_eq!(report.destinations[0].outcome, Outcome::Ok, "{report:?}");
    assert_eq!(report.destinations[0].requests, 4, "token, what is where, the ledger, the number taken");
    assert!(world.google.server.held() > 0);
    world.google.server.land().await;
    assert_eq!(world.in_sheet().len(), world.booked().len());
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(away));
    let report = world.cycle().await;
    assert_eq!(report.destinations[0].appended, 1, "{report:?}");
    world.assert_delivered();
}

#[tokio::test]
async fn a_row_that_returns_with_other_words_has_them_everywhere() {
    let world = World::new(Bank::small()).await;
    let number = book(&world, -700, "СТАРО ИМЕ");
    world.cycle().await;
    let mut away = take_back(&world, number);
    world.cycle().await;
    away.counterparty = "НОВО ИМЕ".into();
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(away));
    let report = world.cycle().await;
    assert_eq!((report.destinations[0].updated, report.destinations[1].updated), (1, 1), "{report:?}");
    world.assert_delivered();
    assert!(world.column("Counterparty").contains(&CellValue::Text("НОВО ИМЕ".into())));
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    assert!(records.iter().any(|record| record.get("Counterparty").is_some_and(|name| name == "НОВО ИМЕ")));
}

#[tokio::test]
async fn a_correction_that_a_filter_lets_through_brings_the_row() {
    let mut world = World::new(Bank::small()).await;
    world.extra[1] = "direction = \"debit\"".into();
    world.extra[2] = "direction = \"debit\"".into();
    world.write_config();
    let number = book(&world, 700, "ОБЪРНАТ");
    world.cycle().await;
    let id = |rows: Vec<(String, String)>| rows.into_iter().find(|(id, _)| id.ends_with(&number.to_string()));
    assert_eq!((id(world.in_sheet()), id(world.in_base())), (None, None));
    for amount in ["-700.00", "700.00"] {
        correct(&world, number, |entry| entry.amount = amount.parse().unwrap());
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{report:?}");
        let found = [id(world.in_sheet()), id(world.in_base())].map(|row| row.map(|(_, amount)| amount));
        assert_eq!(found, [Some(amount.to_owned()), Some(amount.to_owned())], "it stays, and is kept right");
    }
}

#[tokio::test]
async fn a_cell_emptied_between_two_tries_of_a_batch_is_empty() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let number = book(&world, -700, "СТАРО ИМЕ");
    world.airtable.server.fail("PATCH", 0, u32::MAX, Fault::ApplyThenDrop);
    assert_eq!(world.cycle().await.destinations[1].outcome, Outcome::Failed);
    world.airtable.server.heal();
    correct(&world, number, |entry| entry.counterparty = String::new());
    assert_eq!(world.cycle().await.exit_status(), 0);
    world.assert_delivered();
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    assert!(records.iter().all(|record| record.get("Counterparty").is_none_or(|name| name != "СТАРО ИМЕ")));
}

/// Numbers that are taken without the ledger saying so, as if somebody were always first.
#[tokio::test]
async fn a_writer_that_is_always_first_does_not_keep_a_cycle_going_for_ever() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let guard = world.google.read(&world.spreadsheet, |book| {
        book.named_ranges().iter().map(|range| range.name.clone()).find(|name| name.ends_with("_000001")).unwrap()
    });
    world.google.edit(&world.spreadsheet, |book| {
        for number in 2..20 {
            book.name_range("Transactions", &guard.replace("_000001", &format!("_{number:06}")));
        }
    });
    book(&world, -100, "ЧАКАЩ");
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!((report.exit_status(), report.destinations[0].outcome), (1, Outcome::Failed), "{report:?}");
    assert!(world.google.server.requests() <= 50, "{} requests", world.google.server.requests());
    for _ in 0..3 {
        world.cycle().await;
    }
    world.assert_delivered();
}

/// Two entries may fill two tabs of one spreadsheet; each has its own ledger and guards.
#[tokio::test]
async fn two_destinations_share_a_spreadsheet() {
    let mut world = World::new(Bank::small()).await;
    world.extra[2] = format!(
        r#"
[[destination]]
name = "second"
kind = "google-sheets"
spreadsheet = "{}"
tab = "Second"
service_account = {{ file = "{}" }}
base_url = "{}/"
"#,
        world.spreadsheet,
        world.dir.path().join("google-key.json").display(),
        world.google.server.url()
    );
    world.write_config();
    for fault in [None, Some(Fault::ApplyThenDrop), Some(Fault::Held(2))] {
        book(&world, -150, "ДВА РАЗДЕЛА");
        fault.iter().for_each(|fault| world.google.server.fail(":batchUpdate", 0, 2, fault.clone()));
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{fault:?}: {report:?}");
        world.google.server.land().await;
        world.assert_delivered();
        let (first, second) =
            world.google.read(&world.spreadsheet, |book| (book.rows("Transactions"), book.rows("Second")));
        let sorted = |mut rows: Vec<Vec<CellValue>>| {
            rows.sort_by_key(|row| format!("{row:?}"));
            rows
        };
        assert_eq!(sorted(first), sorted(second), "{fault:?}");
    }
    world.clear_logs();
    world.cycle().await;
    assert_eq!(world.google.server.requests(), 0);
}

fn correct(world: &World, number: u64, change: impl FnOnce(&mut Entry)) {
    world.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        change(entries.iter_mut().find(|entry| entry.number == number).unwrap());
    });
}

/// The bank takes an entry back.
fn take_back(world: &World, number: u64) -> Entry {
    world.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        let at = entries.iter().position(|entry| entry.number == number).unwrap();
        entries.remove(at)
    })
}

fn nobody() -> bankfeed::sync::Watcher {
    std::sync::Arc::new(|_| {})
}

/// A gap that no fetching closes must not keep a later one from being closed, nor make every pull a long one.
#[tokio::test]
async fn a_gap_that_cannot_be_mended_does_not_hide_one_that_can() {
    let world = World::new(Bank::small()).await;
    let old =
        |days| (Utc::now() - chrono::TimeDelta::days(days)).with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    let add = |days: i64, balance: Option<i64>| {
        world.bank.edit(|bank| {
            let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
            let time = old(days);
            let balance = balance.map(rust_decimal::Decimal::from);
            bank.add(&iban, Entry { time, value_date: time.date_naive(), balance, ..entry(number, -700, "КЪСНА") });
            number
        })
    };
    world.bank.edit(|bank| bank.options.balances_by_time = true);
    add(60, None);
    add(3, Some(1_000_000));
    for _ in 0..3 {
        world.cycle().await;
    }
    let account = |world: &World| world.engine().store.accounts()[0].clone();
    assert!(account(&world).problem.is_some());
    let late = add(50, None);
    let mut fetched = Vec::new();
    for _ in 0..6 {
        fetched.push(world.cycle().await.sources[0].fetched);
    }
    assert!(world.in_sheet().iter().any(|(id, _)| id.ends_with(&late.to_string())), "{fetched:?}");
    assert!(account(&world).problem.is_some());
    let whole = world.booked().len() as u64;
    assert!(fetched[3..].iter().all(|rows| *rows < whole), "{fetched:?} of {whole}");
}

/// The first look at an account finds the bank in the middle of something: no row may be lost by that, nor a gap be
/// complained of for ever.
#[tokio::test]
async fn a_gap_of_the_first_pull_is_looked_at_again() {
    for days in [1, 60] {
        let world = World::new(Bank::small()).await;
        let at = |days| (Utc::now() - chrono::TimeDelta::days(days)).with_timezone(&chrono_tz::Europe::Sofia);
        let (late, after) = world.bank.edit(|bank| {
            bank.options.balances_by_time = true;
            let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
            for (number, days) in [(number, days + 1), (number + 1, days)] {
                let time = at(days).fixed_offset();
                bank.add(&iban, Entry { time, value_date: time.date_naive(), ..entry(number, -700, "КЪСНА") });
            }
            let booked = bank.transactions();
            let balance = booked.iter().find(|(_, entry, _)| entry.number == number + 1).unwrap().2;
            (number, balance)
        });
        let held_back = take_back(&world, late);
        correct(&world, late + 1, |entry| entry.balance = Some(after));
        let complete = || world.engine().store.accounts().iter().all(|account| account.is_complete());
        world.cycle().await;
        assert!(!complete(), "{days}");
        world.bank.edit(|bank| {
            let iban = bank.customers[0].accounts[0].iban.clone();
            bank.add(&iban, held_back);
        });
        let report = world.cycle().await;
        assert!(complete(), "{days}: {report:?}");
        world.assert_delivered();
        let whole = world.booked().len() as u64;
        assert!(world.cycle().await.sources[0].fetched < whole, "{days}");
    }
}

#[tokio::test]
async fn what_the_payload_says_can_be_a_column() {
    let mut world = World::new(Bank::small()).await;
    for at in [1, 2] {
        world.extra[at] =
            "columns = [\"id\", \"date\", \"amount\", { field = \"raw.reference\", header = \"As received\" }]".into();
    }
    world.write_config();
    let number = book(&world, -100, "С ОСНОВАНИЕ");
    correct(&world, number, |entry| entry.reference = "FT2632900001".into());
    assert_eq!(world.cycle().await.exit_status(), 0);
    let wanted = CellValue::Text("FT2632900001".into());
    assert!(world.column("As received").contains(&wanted), "{:?}", world.column("As received"));
    let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
    assert!(records.iter().any(|record| record.get("As received").is_some_and(|text| text == "FT2632900001")));
}

/// A cycle whose turn comes when the program is being stopped has done no work, and says so.
#[tokio::test]
async fn a_cycle_that_is_stopped_before_it_begins_has_not_been_done() {
    let world = World::new(Bank::small()).await;
    let (stop, shutdown) = bankfeed::remote::Shutdown::new();
    stop.send(true).unwrap();
    let engine = bankfeed::sync::Engine { shutdown, ..world.engine() };
    let report = engine.cycle(&Request::default(), &nobody()).await.unwrap();
    assert_eq!((report.exit_status(), world.bank.server.requests()), (1, 0), "{report:?}");
    let request = Request { destinations: Some(vec!["base".into()]), ..Request::default() };
    let report = engine.cycle(&request, &nobody()).await.unwrap();
    assert_eq!(report.destinations[0].outcome, bankfeed::sync::Outcome::Skipped, "it was not asked for");
}

/// The machine's clock was ahead for a while: late rows of these days are looked for all the same.
#[tokio::test]
async fn a_day_in_the_future_does_not_narrow_the_window() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    {
        let engine = world.engine();
        let account = engine.store.accounts()[0].clone();
        let mut writer = engine.store.writer();
        let ahead = Utc::now().date_naive() + chrono::Days::new(400);
        writer.put_account(&account.source, &account.account, |stored| stored.fetched_until = Some(ahead)).unwrap();
        writer.commit().unwrap();
    }
    book(&world, -300, "КЪСНА");
    world.bank.edit(|bank| {
        let late = bank.customers[0].accounts[0].entries.last_mut().unwrap();
        late.time -= chrono::TimeDelta::days(5);
    });
    world.cycle().await;
    world.assert_delivered();
}
