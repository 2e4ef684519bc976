//! Broken parts in a bank's replies: each affects itself alone, is named, and keeps its account from being called
//! complete.

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry, Options};
use bankfeed::simulator::google::CellValue;
use bankfeed::sync::Report;
use chrono::{TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::world::World;

async fn command(world: &World, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(arguments).env_remove("BANKFEED_CONFIG");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The completeness of each account as `status` reports it, with the reason.
async fn standing(world: &World) -> Vec<(bool, String)> {
    let told: Value = serde_json::from_str(&command(world, &["status", "--json"]).await).unwrap();
    let accounts = told["accounts"].as_array().unwrap().iter();
    accounts
        .map(|account| {
            (account["complete"].as_bool().unwrap(), account["problem"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

async fn assert_whole(world: &World, accounts: usize) {
    assert_eq!(standing(world).await, vec![(true, String::new()); accounts]);
    world.assert_delivered();
}

fn notes(report: &Report) -> String {
    report.sources[0].notes.join("\n")
}

fn set(world: &World, change: impl FnOnce(&mut Options)) {
    world.bank.edit(|bank| change(&mut bank.options));
}

/// Replies hold these bytes in place of a piece of text.
fn garble(world: &World, pieces: &[(&str, &[u8])]) {
    let pieces = pieces.iter().map(|(piece, bytes)| ((*piece).to_owned(), bytes.to_vec()));
    set(world, |options| options.garbled = pieces.collect());
}

/// Books an entry so many days ago and gives its number. The running balance follows the order of time.
fn book(world: &World, days_ago: i64, cents: i64, text: &str) -> u64 {
    world.bank.edit(|bank| {
        bank.options.balances_by_time = true;
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let time = (Utc::now() - TimeDelta::days(days_ago)).with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let (value_date, amount) = (time.date_naive(), Decimal::new(cents, 2));
        let remittance = [text.to_owned(), String::new(), String::new()];
        bank.add(&iban, Entry { number, time, value_date, amount, remittance, ..Entry::default() });
        number
    })
}

#[tokio::test]
async fn a_broken_character_is_shown_as_one_and_the_payload_stays() {
    let world = World::new(Bank::small()).await;
    let numbers: Vec<u64> = ["ПЪРВИ", "ВТОРИ", "ТРЕТИ"].iter().map(|text| book(&world, 2, -150, text)).collect();
    garble(&world, &[("ПЪРВИ", b"x \\ud83c"), ("ВТОРИ", b"y \xd0"), ("ТРЕТИ", b"z\tz\\x")]);
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert!(numbers.iter().all(|number| notes(&report).contains(&number.to_string())), "{report:?}");
    assert_whole(&world, 2).await;
    for shown in ["x \u{fffd}", "y \u{fffd}", "z\tz\u{fffd}x"] {
        assert!(world.column("Description").contains(&CellValue::Text(shown.into())), "{shown:?}");
    }
    // The same reply again gives the same rows.
    let report = world.cycle().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed, report.exit_status()), (0, 0, 0), "{report:?}");
    let lines = command(&world, &["export", "--format", "jsonl"]).await;
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), world.booked().len());
    assert!(rows.iter().any(|row| row["raw"]["remI"] == "x \u{fffd}" && row["description"] == "x \u{fffd}"));
    let raw = command(&world, &["sql", "--format", "json", "SELECT raw FROM transactions"]).await;
    let raw: Value = serde_json::from_str(&raw).unwrap();
    assert!(raw.to_string().contains(r#"x \\ud83c"#), "kept as it came: {raw}");
    garble(&world, &[]);
    let report = world.cycle().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed), (0, 3), "{report:?}");
    assert_whole(&world, 2).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_the_others_arrive() {
    for (piece, instead, named) in [
        ("\"acEntrySrNo\":{},", "\"acEntrySrNo\":null,", "no acEntrySrNo"),
        ("\"acEntrySrNo\":{},", "\"acEntrySrNo\":{\"n\":{}},", "acEntrySrNo"),
        ("{\"acEntrySrNo\":{},", "null,{\"trnType\":\"DT\",", "it is no object"),
        ("\"acEntrySrNo\":{},", "\"acEntrySrNo\":{},\"amount\":\"abc\",", "entry {}"),
        ("\"acEntrySrNo\":{},", "\"acEntrySrNo\":{},\"dtkt\":{},", "entry {}"),
    ] {
        let world = World::new(Bank::small()).await;
        // Older than any overlap: it must be asked for again all the same.
        let number = book(&world, 100, -150, "СТАР").to_string();
        let filled = |text: &str| text.replace("{}", &number);
        if instead.contains("amount") || instead.contains("dtkt") {
            world.bank.edit(|bank| {
                let entry = bank.customers[0].accounts[0].entries.last_mut().unwrap();
                let (key, value) = if instead.contains("dtkt") { ("dtkt", "?") } else { ("amount", "abc") };
                entry.extra.insert(key.into(), value.into());
            });
        } else {
            garble(&world, &[(&filled(piece), filled(instead).as_bytes())]);
        }
        let booked = world.booked().len();
        for run in 0..3 {
            let report = world.cycle().await;
            let source = &report.sources[0];
            assert_eq!((report.exit_status(), source.vanished), (1, 0), "{instead}: {report:?}");
            assert_eq!(source.new, if run == 0 { booked as u64 - 1 } else { 0 }, "{instead}: {report:?}");
            assert!(notes(&report).contains(&filled(named)), "{instead}: {report:?}");
            let error = source.error.as_deref().unwrap();
            assert!(error.contains(&filled(named)) && error.contains("BG"), "{error}");
            let said = standing(&world).await;
            assert!(!said[0].0 && said[0].1.contains(&filled(named)) && said[1].0, "{said:?}");
            assert!(!said[0].1.contains("chain"), "{said:?}");
            assert_eq!(world.in_sheet().len(), booked - 1, "{instead}");
        }
        garble(&world, &[]);
        world.bank.edit(|bank| bank.customers[0].accounts[0].entries.last_mut().unwrap().extra.clear());
        let report = world.cycle().await;
        assert_eq!((report.exit_status(), report.sources[0].new), (0, 1), "{instead}: {report:?}");
        assert_whole(&world, 2).await;
    }
}

#[tokio::test]
async fn a_known_row_that_cannot_be_read_any_more_has_not_vanished() {
    for (piece, instead) in [
        ("\"acEntrySrNo\":{}", "\"acEntrySrNo\":null"),
        ("\"dtkt\":\"C\",\"amount\":1.5", "\"dtkt\":\"\",\"amount\":1.5"),
    ] {
        let world = World::new(Bank::small()).await;
        let number = book(&world, 2, 150, "ИЗВЕСТЕН").to_string();
        world.cycle().await;
        garble(&world, &[(&piece.replace("{}", &number), instead.as_bytes())]);
        let added = book(&world, 1, -70, "НОВ");
        let report = world.cycle().await;
        assert_eq!((report.sources[0].new, report.sources[0].vanished), (1, 0), "{instead}: {report:?}");
        assert!(world.in_sheet().iter().any(|(id, _)| id.ends_with(&added.to_string())));
        assert!(!standing(&world).await[0].0);
        garble(&world, &[]);
        let report = world.cycle().await;
        assert_eq!((report.exit_status(), report.sources[0].changed), (0, 0), "{report:?}");
        assert_whole(&world, 2).await;
    }
}

#[tokio::test]
async fn a_balance_that_cannot_be_read_holds_no_row_back() {
    let world = World::new(Bank::small()).await;
    garble(&world, &[("\"acyCurrBalance\":", b"\"acyCurrBalance\":\"abc\",\"was\":")]);
    let report = world.cycle().await;
    assert!(notes(&report).contains("acyCurrBalance"), "{report:?}");
    world.assert_delivered();
    for (complete, why) in standing(&world).await {
        assert!(!complete && why.contains("acyCurrBalance"), "{why}");
    }
    garble(&world, &[]);
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_whole(&world, 2).await;
}

#[tokio::test]
async fn an_entry_of_the_lists_that_cannot_be_read_leaves_the_others_alone() {
    let mut bank = Bank::household(Utc::now().date_naive());
    let (name, alias) = ("ПЪРВИ КЛИЕНТ", "ПЪРВА СМЕТКА");
    bank.customers.truncate(2);
    bank.customers[0].name = name.into();
    bank.customers[0].accounts[0].alias = alias.into();
    let (customer, iban) = (bank.customers[0].id.clone(), bank.customers[0].accounts[0].iban.clone());
    let accounts: usize = bank.customers.iter().map(|customer| customer.accounts.len()).sum();
    let world = World::new(bank).await;
    // Names are text like any other.
    garble(&world, &[(name, b"\\ud83c"), (alias, b"\xd0")]);
    let report = world.cycle().await;
    assert_eq!((report.exit_status(), report.sources[0].accounts), (0, accounts as u64), "{report:?}");
    for (piece, instead, named) in [
        (format!("\"ibanAcNo\":\"{iban}\""), "\"ibanAcNo\":{}", "no readable IBAN"),
        (format!("{{\"ibanAcNo\":\"{iban}\""), "NaN,{\"x\":1", "no readable IBAN"),
        (format!("\"ibCustomerId\":{customer}"), "\"ibCustomerId\":null", "no readable ibCustomerId"),
    ] {
        garble(&world, &[(&piece, instead.as_bytes())]);
        let report = world.cycle().await;
        let error = report.sources[0].error.as_deref().unwrap();
        assert!(report.exit_status() == 1 && error.contains(named), "{error}");
        let whole = standing(&world).await.iter().filter(|(complete, _)| *complete).count();
        assert!(whole > 0 && whole < accounts, "{piece}: {whole} of {accounts}");
    }
    garble(&world, &[]);
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_whole(&world, accounts).await;
}

#[tokio::test]
async fn an_account_that_cannot_be_fetched_is_not_complete() {
    let world = World::new(Bank::small()).await;
    let iban = world.bank.edit(|bank| bank.customers[0].accounts[0].iban.clone());
    for known in [false, true] {
        world.bank.server.fail(&iban, 0, u32::MAX, Fault::Status(500, "{}".into()));
        assert_eq!(world.cycle().await.exit_status(), 1);
        let said = standing(&world).await;
        let (whole, broken): (Vec<_>, Vec<_>) = said.iter().partition(|(complete, _)| *complete);
        assert_eq!((whole.len(), broken.len()), (1, 1), "known: {known}, {said:?}");
        assert!(broken[0].1.contains("500"), "{said:?}");
        world.bank.server.heal();
        assert_eq!(world.cycle().await.exit_status(), 0);
        assert_whole(&world, 2).await;
    }
}

#[tokio::test]
async fn a_reply_without_a_list_of_rows_is_no_fetch() {
    let own = Bank::small().customers[0].accounts[0].iban.clone();
    let other = Bank::small().customers[0].accounts[1].iban.clone();
    for (at, reply) in [
        r#"{"acc":[{}]}"#.to_owned(),
        r#"{"acc":[{"iban":null,"stmt":null}]}"#.into(),
        r#"{"acc":[]}"#.into(),
        r#"{"acc":null}"#.into(),
        r#"{"acc":[null]}"#.into(),
        r#"{"acc":[{},{}]}"#.into(),
        format!(r#"{{"acc":[{{"iban":"{own}","ccy":"EUR","acyCurrBalance":0}}]}}"#),
        format!(r#"{{"acc":[{{"iban":"{own}","ccy":"EUR","acyCurrBalance":0,"stmt":{{}}}}]}}"#),
        format!(r#"{{"acc":[{{"iban":"{own}","ccy":"EUR","stmt":"[]"}}]}}"#),
        format!(r#"{{"acc":[{{"iban":"{other}","ccy":"EUR","stmt":[]}}]}}"#),
        r#"{"acc":[{"iban":{},"ccy":"EUR","stmt":[]}]}"#.into(),
        format!(r#"{{"acc":[{{"iban":"{own}","stmt":[]}},{{"iban":"{own}"}}]}}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let mut world = World::new(Bank::small()).await;
        if at % 2 == 0 {
            world.extra[0] = "history_from = 2015-01-01".into();
            world.write_config();
        }
        world.bank.server.fail_next(&own, Fault::Status(200, reply.clone()));
        world.cycle().await;
        let said = standing(&world).await;
        assert!(!said[0].0 && said[0].1.contains("reply") && said[1].0, "{reply}: {said:?}");
        assert!(!world.bank.server.faults_left());
        world.cycle().await;
        assert_whole(&world, 2).await;
        // Known rows are not doubted because of the bad reply, and no row has vanished.
        world.bank.server.fail_next(&own, Fault::Status(200, reply.clone()));
        let report = world.cycle().await;
        assert_eq!(report.sources[0].vanished, 0, "{reply}");
        assert!(!standing(&world).await[0].0, "{reply}");
        world.cycle().await;
        assert_whole(&world, 2).await;
    }
}

#[tokio::test]
async fn a_small_window_without_a_list_is_asked_for_again_however_old() {
    let mut bank = Bank::small();
    bank.options.max_window_days = Some(90);
    let own = bank.customers[0].accounts[0].iban.clone();
    let mut world = World::new(bank).await;
    world.extra[0] = "history_from = 2025-11-01".into();
    world.write_config();
    let unlisted = format!(r#"{{"acc":[{{"iban":"{own}","ccy":"EUR"}}]}}"#);
    let windows = |world: &World| world.bank.server.log().iter().filter(|logged| logged.target.contains(&own)).count();
    world.cycle().await;
    let whole = windows(&world);
    assert_whole(&world, 2).await;
    for from_end in [1, 2] {
        let mut bank = Bank::small();
        bank.options.max_window_days = Some(90);
        let mut world = World::new(bank).await;
        world.extra[0] = "history_from = 2025-11-01".into();
        world.write_config();
        world.bank.server.fail(&own, (whole - from_end) as u32, 1, Fault::Status(200, unlisted.clone()));
        let report = world.cycle().await;
        assert!(!world.bank.server.faults_left());
        let said = standing(&world).await;
        assert!(!said[0].0 && said[0].1.contains("no list of rows for days from 202"), "{said:?}");
        assert_eq!(report.sources[0].vanished, 0);
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{report:?}");
        assert_whole(&world, 2).await;
    }
}
