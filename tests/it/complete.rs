//! Accounts for whose rows the bank's reply has no list: `status` and the column beside the rows say the same about
//! them.

use bankfeed::simulator::fibank::{Account, Bank, Entry, Options, Stmt};
use bankfeed::simulator::google::CellValue;
use bankfeed::sync::Report;
use chrono::Utc;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::world::World;

/// An account without any booked entry.
const EMPTY: &str = "BG46FINV91501000000009";

async fn command(world: &World, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(arguments).env_remove("BANKFEED_CONFIG");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The completeness of each account as `status` reports it, with the reason.
async fn standing(world: &World) -> Vec<(bool, String)> {
    let told: Value = serde_json::from_str(&command(world, &["status", "--json"]).await).unwrap();
    let text = command(world, &["status"]).await;
    let accounts = told["accounts"].as_array().unwrap().iter().map(|account| {
        let problem = account["problem"].as_str().unwrap_or_default().to_owned();
        assert!(text.contains(&problem), "{problem} is not in {text}");
        (account["complete"].as_bool().unwrap(), problem)
    });
    accounts.collect()
}

/// The first line of the tab, and the completeness of each account.
fn shown(world: &World) -> (String, Vec<String>) {
    let rows = world.google.read(&world.spreadsheet, |book| book.rows("Balances"));
    let show = |cell: &CellValue| if let CellValue::Text(text) = cell { text.clone() } else { String::new() };
    let at = rows[1].iter().position(|cell| show(cell) == "Complete").unwrap();
    (show(&rows[0][0]), rows[2..].iter().map(|row| show(&row[at])).collect())
}

fn notes(report: &Report) -> String {
    report.sources[0].notes.join("\n")
}

fn set(world: &World, change: impl FnOnce(&mut Options)) {
    world.bank.edit(|bank| change(&mut bank.options));
}

fn book(world: &World, account: usize, cents: i64) {
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[account].iban.clone(), bank.last_number() + 1);
        let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let (value_date, amount) = (time.date_naive(), Decimal::new(cents, 2));
        bank.add(&iban, Entry { number, time, value_date, amount, ..Entry::default() });
    });
}

#[tokio::test]
async fn an_account_without_a_list_of_rows_is_complete_where_nothing_speaks_against_it() {
    let mut bank = Bank::small();
    bank.options.stmt = Stmt::OmittedWhenEmpty;
    let empty = Account { iban: EMPTY.into(), currency: "EUR".into(), ..Account::default() };
    bank.customers[0].accounts.push(empty);
    let world = World::new(bank).await;
    for _ in 0..2 {
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{report:?}");
        assert!(notes(&report).contains("has no list of rows"), "it is reported: {report:?}");
        assert!(!notes(&report).contains("vanished"), "{report:?}");
        // A history that was never read proves no completeness.
        let said = standing(&world).await;
        assert!(said[0].0 && said[1].0 && !said[2].0 && said[2].1.contains("has no list of rows"), "{said:?}");
    }
    let (_, complete) = shown(&world);
    assert_eq!(complete[..2], ["yes"; 2]);
    set(&world, |options| options.stmt = Stmt::Present);
    world.cycle().await;
    assert_eq!(standing(&world).await, vec![(true, String::new()); 3]);
    // Rows that are known do not vanish, and the balance says that there are no others.
    set(&world, |options| options.stmt = Stmt::Omitted);
    let report = world.cycle().await;
    assert_eq!((report.sources[0].vanished, report.exit_status()), (0, 0), "{report:?}");
    assert_eq!(standing(&world).await, vec![(true, String::new()); 3]);
    // A balance that was nought and moves proves that entries were booked.
    book(&world, 2, 500);
    for _ in 0..2 {
        world.cycle().await;
        let said = standing(&world).await;
        assert!(said[0].0 && !said[2].0 && said[2].1.contains("its balance of 5.00 EUR does not follow"), "{said:?}");
    }
    set(&world, |options| options.stmt = Stmt::Present);
    world.cycle().await;
    assert_eq!(standing(&world).await, vec![(true, String::new()); 3]);
    world.assert_delivered();
}

#[tokio::test]
async fn an_account_whose_balance_speaks_of_rows_that_have_not_come_says_so_until_they_come() {
    let world = World::new(Bank::small()).await;
    set(&world, |options| options.stmt = Stmt::Omitted);
    for known in [false, true] {
        let report = world.cycle().await;
        let doubt = "does not follow from the rows known";
        assert!(notes(&report).contains(doubt), "{report:?}");
        let said = standing(&world).await;
        assert!(!said[0].0 && said[0].1.contains(doubt), "{said:?}");
        if !known {
            let (line, complete) = shown(&world);
            assert!(line.starts_with("Rows may be missing in"), "{line}");
            assert_eq!(complete[0], said[0].1);
        }
        set(&world, |options| options.stmt = Stmt::Present);
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{report:?}");
        assert_eq!(standing(&world).await, vec![(true, String::new()); 2]);
        world.assert_delivered();
        assert!(shown(&world).0.starts_with("All is well"));
        book(&world, 0, -240);
        set(&world, |options| options.stmt = Stmt::Omitted);
    }
}

#[tokio::test]
async fn an_account_the_reply_does_not_hold_says_so() {
    let world = World::new(Bank::small()).await;
    set(&world, |options| options.acc_elements = 0);
    let report = world.cycle().await;
    assert_eq!(notes(&report).matches("nothing is known of its rows").count(), 2, "once an account: {report:?}");
    for (complete, why) in standing(&world).await {
        assert!(!complete && why.contains("does not hold it"), "{why}");
    }
    set(&world, |options| options.acc_elements = 1);
    world.cycle().await;
    assert_eq!(standing(&world).await, vec![(true, String::new()); 2]);
}

#[tokio::test]
async fn an_account_with_a_row_that_cannot_be_read_names_it() {
    let world = World::new(Bank::small()).await;
    book(&world, 0, -240);
    let number = world.bank.edit(|bank| {
        let entry = bank.customers[0].accounts[0].entries.last_mut().unwrap();
        entry.extra.insert("dtkt".into(), "?".into());
        entry.number
    });
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 1, "{report:?}");
    let said = standing(&world).await;
    assert!(!said[0].0 && said[0].1.contains(&format!("entry {number}")), "{said:?}");
    assert!(said[1].0, "the other account is whole");
}

#[tokio::test]
async fn an_account_that_the_bank_lists_no_more_is_told_until_it_is_back_or_left_out() {
    let mut world = World::new(Bank::small()).await;
    world.cycle().await;
    assert!(standing(&world).await.iter().all(|(complete, _)| *complete));
    let (at, gone) = world.bank.edit(|bank| {
        let accounts = &mut bank.customers[0].accounts;
        (accounts.len() - 1, accounts.pop().unwrap())
    });
    for _ in 0..2 {
        let report = world.cycle().await;
        assert!(notes(&report).contains(&format!("{}: the bank does not list it any more", gone.iban)), "{report:?}");
        let standing = standing(&world).await;
        assert!(!standing[at].0 && standing[at].1.contains("does not list it any more"), "{standing:?}");
        assert!(standing[..at].iter().all(|(complete, _)| *complete), "{standing:?}");
    }
    world.bank.edit(|bank| bank.customers[0].accounts.push(gone.clone()));
    let report = world.cycle().await;
    assert_eq!((notes(&report), standing(&world).await[at].0), (String::new(), true));

    let others: Vec<String> = world.bank.edit(|bank| {
        bank.customers[0].accounts.pop();
        bank.customers[0].accounts.iter().map(|account| format!("\"{}\"", account.iban)).collect()
    });
    world.cycle().await;
    world.extra[0] = format!("accounts = [{}]", others.join(", "));
    world.write_config();
    let report = world.cycle().await;
    assert_eq!((notes(&report), standing(&world).await[at].0), (String::new(), true));
    world.extra[0].clear();
    world.write_config();
    world.bank.edit(|bank| bank.customers[0].accounts.clear());
    assert!(notes(&world.cycle().await).contains("the bank lists no account for this login"));
}
