//! Texts of a bank that would steer a terminal: lines for people never carry them, data for programs do, to the letter.

use bankfeed::simulator::fibank::{Bank, Door, Entry};

use crate::cli::{json, run};
use crate::world::World;

const PAYEE: &str = "ЗЛО\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}txt\u{2066}";
const STEERS: [char; 5] = ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}'];

fn is_harmless(text: &[u8]) -> bool {
    !String::from_utf8_lossy(text).contains(STEERS)
}

async fn world_of_a_hostile_payee() -> World {
    let world = World::new(Bank::small()).await;
    let time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let (amount, counterparty) = (rust_decimal::Decimal::new(-666, 2), PAYEE.to_owned());
        bank.add(
            &iban,
            Entry { number, time, value_date: time.date_naive(), amount, counterparty, ..Entry::default() },
        );
        bank.customers[0].accounts[0].alias = format!("Сметка {PAYEE}");
    });
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_people_steer_no_terminal() {
    let world = world_of_a_hostile_payee().await;
    for arguments in [
        &["sync"][..],
        &["transactions"],
        &["accounts"],
        &["status"],
        &["sql", "SELECT counterparty FROM transactions"],
        &["rules", "test"],
        &["verify"],
        &["check"],
    ] {
        let ended = run(&world, arguments).await;
        assert!(is_harmless(&ended.stdout) && is_harmless(&ended.stderr), "{arguments:?}: {ended:?}");
    }
    let shown = String::from_utf8(run(&world, &["transactions"]).await.stdout).unwrap();
    assert!(shown.contains("ЗЛО") && shown.contains("[2J"), "{shown}");
    // A service's own words are no better.
    world.bank.edit(|bank| bank.door = Door::Unknown(format!("<p>{PAYEE}</p>")));
    let ended = run(&world, &["sync"]).await;
    assert_eq!(ended.status.code(), Some(3));
    assert!(is_harmless(&ended.stdout) && is_harmless(&ended.stderr), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_for_programs_are_kept_to_the_letter() {
    let world = world_of_a_hostile_payee().await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    let (_, rows) = json(&world, &["transactions", "--json"]).await;
    let has_payee = |rows: &serde_json::Value| rows.as_array().unwrap().iter().any(|row| row["counterparty"] == PAYEE);
    assert!(has_payee(&rows), "{rows}");
    let csv = run(&world, &["export", "--format", "csv"]).await.stdout;
    assert!(String::from_utf8(csv).unwrap().contains(PAYEE));
}
