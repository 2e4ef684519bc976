//! Amounts that no sum can hold: refused by name where the bank's row is read, and harmless in every output where an
//! older release stored them.

use bankfeed::model::{Account, Row};
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::sync::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::cli::{json, run};
use crate::web::{Site, TOKEN};
use crate::world::World;

const HUGE: &str = "79228162514264337593543950335";

fn now() -> chrono::DateTime<chrono::FixedOffset> {
    chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset()
}

/// Books an entry of ten euros whose amount, and balance, reads like this on the wire.
fn book(world: &World, amount: &str, balance: &str) -> u64 {
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let extra: Map<String, Value> = [("amount", amount), ("acBal", balance)]
            .map(|(key, text)| (key.to_owned(), text.into()))
            .into_iter()
            .collect();
        let amount = Decimal::TEN;
        bank.add(
            &iban,
            Entry { number, time: now(), value_date: now().date_naive(), amount, extra, ..Entry::default() },
        );
        number
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_an_impossible_amount_is_named_and_the_others_arrive() {
    for (amount, balance) in
        [(HUGE, HUGE), ("1000000000000000", "1"), ("1", "-1000000000000000.01"), ("1e400", "1"), ("NaN", "1")]
    {
        let world = World::new(Bank::small()).await;
        let count = world.booked().len();
        let numbers = [book(&world, amount, balance), book(&world, amount, balance)];
        let report = world.cycle().await;
        let error = report.sources[0].error.clone().unwrap_or_default();
        assert!(error.contains(&numbers[0].to_string()), "{amount}: {report:?}");
        assert_eq!((world.in_sheet().len(), world.in_base().len()), (count, count), "{amount}");
        let (_, status) = json(&world, &["status", "--json"]).await;
        let account = &status["accounts"][0];
        assert_eq!(account["complete"], false, "{amount}: {status}");
        assert!(account["problem"].as_str().unwrap().contains(&numbers[0].to_string()), "{amount}: {status}");
    }
}

/// Rows as a release before the bounds has stored them.
fn store(world: &World, amounts: &[(Decimal, Option<Decimal>, &str)]) {
    let engine = world.engine();
    let mut writer = engine.store.writer();
    let iban = world.bank.edit(|bank| bank.customers[0].accounts[0].iban.clone());
    let account = Account {
        account: iban.clone(),
        name: "Ежедневна".into(),
        customer: "Иван Измислен".into(),
        currency: "EUR".into(),
        balance: amounts.last().and_then(|(_, balance, _)| *balance),
    };
    let number = writer.put_account("fibank", &account, |_| {}).unwrap();
    for (at, (amount, balance, currency)) in amounts.iter().enumerate() {
        let row = Row {
            id: format!("fibank:{iban}:{}", 700_000_000 + at),
            time: now(),
            date: now().date_naive(),
            value_date: None,
            amount: *amount,
            currency: (*currency).into(),
            balance: *balance,
            counterparty: format!("Контрагент {}", at % 7),
            counterparty_account: String::new(),
            description: String::new(),
            kind: if at % 3 == 0 { "Такси и комисиони".into() } else { "Превод".into() },
            kind_code: String::new(),
            reference: String::new(),
            raw: format!("{{\"amount\":\"{amount}\"}}"),
        };
        writer.add(number, row).unwrap();
    }
    writer.commit().unwrap();
    engine.store.sync().unwrap();
}

fn decimals(text: &[u8], key: &str) -> Vec<Decimal> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()[key].as_str().unwrap().parse().unwrap()).collect()
}

/// Every output over a store of these rows.
async fn look_at_everything(amounts: Vec<(Decimal, Option<Decimal>, &str)>) {
    let mut bank = Bank::small();
    bank.customers[0].accounts.truncate(1);
    bank.customers[0].accounts[0].entries.clear();
    let mut world = World::new(bank).await;
    world.extra[2] = "accounts_table = \"Accounts\"\n".into();
    world.write_config();
    store(&world, &amounts);
    let impossible = amounts.iter().any(|(amount, ..)| amount.abs() >= Decimal::from(1_000_000_000_000_000_i64));
    let jsonl = run(&world, &["export", "--format", "jsonl"]).await;
    assert_eq!(decimals(&jsonl.stdout, "amount"), amounts.iter().map(|(amount, ..)| *amount).collect::<Vec<_>>());
    for format in ["csv", "sqlite", "xlsx"] {
        let ended = run(&world, &["export", "--format", format]).await;
        assert_eq!(ended.status.code(), Some(0), "{format}: {}", String::from_utf8_lossy(&ended.stderr));
        let named = String::from_utf8_lossy(&ended.stderr).contains("fifteen digits before the point");
        assert_eq!(named, format == "xlsx" && impossible, "{format}");
    }
    for question in [
        "SELECT SUM(amount), TOTAL(balance), AVG(amount_eur) FROM transactions",
        "SELECT amount * amount FROM transactions",
    ] {
        for format in ["json", "csv", "table"] {
            let ended = run(&world, &["sql", question, "--format", format]).await;
            assert_eq!(ended.status.code(), Some(0), "{question}: {ended:?}");
        }
    }
    for arguments in [&["accounts"][..], &["status"], &["transactions"], &["rules", "test"]] {
        let ended = run(&world, arguments).await;
        assert!(ended.status.code().is_some_and(|code| code < 4), "{arguments:?}: {ended:?}");
        assert!(!String::from_utf8_lossy(&ended.stderr).contains("panicked"), "{arguments:?}: {ended:?}");
    }
    // The bank of this world shows none of these rows, and where it lacks few of them they count as vanished: no pull.
    let report = world.cycle_with(Request { sources: Some(Vec::new()), ..Request::default() }).await;
    let delivered: Vec<u64> = report.destinations.iter().map(|to| to.appended).collect();
    assert_eq!(delivered, [amounts.len() as u64; 2], "{report:?}");
    let (_, verified) = json(&world, &["verify", "--json"]).await;
    assert!(verified.as_array().unwrap().iter().all(|one| one["missing"] == Value::Array(Vec::new())), "{verified}");
    let site = Site::over(world, &format!("token = \"{TOKEN}\"\n"));
    for currency in ["EUR", "BGN", "USD"] {
        let page = site.get(&format!("/?since=&currency={currency}")).await;
        assert_eq!(page.status(), 200);
        let page = page.text().await.unwrap();
        assert_eq!(page.contains("fifteen digits before the point"), impossible, "{page}");
        assert!(!page.contains("NaN") && !page.contains("inf\""), "{page}");
    }
    let listed = site.json("/api/transactions?limit=1000").await;
    assert_eq!(listed["transactions"].as_array().unwrap().len(), amounts.len());
    for path in ["/api/accounts", "/api/status", "/api/transactions.csv", "/all-transactions/", "/metrics"] {
        assert_eq!(site.get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_release_1_with_impossible_amounts_is_shown_and_they_are_named() {
    let huge: Decimal = HUGE.parse().unwrap();
    look_at_everything(vec![(huge, Some(huge), "EUR"), (huge, Some(huge), "EUR"), (-huge, Some(-huge), "BGN")]).await;
    look_at_everything(vec![
        (huge, None, "USD"),
        (-huge, None, "USD"),
        (huge, None, "EUR"),
        (Decimal::new(-250, 2), None, "EUR"),
    ])
    .await;
}

/// Any decimal at all, the extreme ones more often.
fn extreme() -> impl Strategy<Value = Decimal> {
    let mantissa = prop_oneof![
        Just(0_i128),
        Just(79_228_162_514_264_337_593_543_950_335),
        Just(1_000_000_000_000_000),
        Just(99_999_999_999_999_999),
        0_i128..79_228_162_514_264_337_593_543_950_335,
    ];
    (mantissa, any::<bool>(), prop_oneof![Just(0_u32), Just(2), Just(28), 0_u32..=28]).prop_map(
        |(mantissa, minus, scale)| Decimal::from_i128_with_scale(if minus { -mantissa } else { mantissa }, scale),
    )
}

#[test]
fn no_decimal_is_too_much_for_any_output() {
    let currency = prop_oneof![Just("EUR"), Just("BGN"), Just("USD")];
    let rows = proptest::collection::vec((extreme(), proptest::option::of(extreme()), currency), 1..60);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 6, max_shrink_iters: 0, failure_persistence: None, ..Config::default() });
    let looked = runner.run(&rows, |rows| {
        runtime.block_on(look_at_everything(rows));
        Ok(())
    });
    looked.unwrap();
}
