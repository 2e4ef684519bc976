//! The tabs beside the transactions, through the real stack: the words of the proof, the time of its writing, its cost.

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Door, Entry};
use bankfeed::simulator::google::{CellValue, Spreadsheet};
use chrono::{Days, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::world::World;

fn book(world: &World, cents: i64, payee: &str) -> u64 {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let number = bank.last_number() + 1;
        let now = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let entry = Entry {
            number,
            time: now,
            value_date: now.date_naive(),
            amount: Decimal::new(cents, 2),
            counterparty: payee.into(),
            type_name: "Плащане".into(),
            ..Entry::default()
        };
        bank.add(&iban, entry);
        number
    })
}

/// A line of the tab, by header.
struct Line(Vec<(String, CellValue)>);

impl Line {
    fn get(&self, header: &str) -> &CellValue {
        &self.0.iter().find(|(name, _)| name == header).unwrap_or_else(|| panic!("no column {header}")).1
    }

    fn text(&self, header: &str) -> String {
        match self.get(header) {
            CellValue::Text(text) | CellValue::Formula(text) => text.clone(),
            CellValue::Empty => String::new(),
            other => panic!("{header}: {other:?}"),
        }
    }

    fn money(&self, header: &str) -> Decimal {
        match self.get(header) {
            CellValue::Number(number) => Decimal::try_from(*number).unwrap().round_dp(2),
            CellValue::Empty => Decimal::ZERO,
            other => panic!("{header}: {other:?}"),
        }
    }
}

fn show(cell: &CellValue) -> String {
    if let CellValue::Text(text) = cell { text.clone() } else { String::new() }
}

/// The tab below its status line.
fn lines(world: &World, tab: &str) -> Vec<Line> {
    let rows = world.google.read(&world.spreadsheet, |book| book.rows(tab));
    let header: Vec<String> = rows[1].iter().map(show).collect();
    rows[2..]
        .iter()
        .map(|row| {
            let cell = |at: usize| row.get(at).cloned().unwrap_or_default();
            Line(header.iter().cloned().enumerate().map(|(at, name)| (name, cell(at))).collect())
        })
        .collect()
}

fn status(world: &World, tab: &str) -> String {
    show(&world.google.read(&world.spreadsheet, |book| book.rows(tab))[0][0])
}

/// The result of SUMIFS: the sum of the rows with this account and currency.
fn sum(world: &World, account: &str, currency: &str) -> Decimal {
    let text = |text: &str| CellValue::Text(text.into());
    let columns = [world.column("Account"), world.column("Currency"), world.column("Amount")];
    let rows = (0..columns[0].len()).filter(|at| columns[0][*at] == text(account) && columns[1][*at] == text(currency));
    rows.map(|at| match columns[2][at] {
        CellValue::Number(amount) => Decimal::try_from(amount).unwrap().round_dp(2),
        _ => panic!("an amount that is no number"),
    })
    .sum()
}

fn assert_proof(world: &World) {
    for line in lines(world, "Balances") {
        let (account, currency) = (line.text("Account"), line.text("Currency"));
        let rows = sum(world, &account, &currency);
        let difference =
            line.money("Bank balance") - line.money("Opening balance") - rows + line.money("Taken back by the bank");
        assert_eq!(difference, Decimal::ZERO, "{account} {currency}");
        assert_eq!(line.text("Complete"), "yes", "{account}");
    }
}

fn edit(world: &World, change: impl FnOnce(&mut Spreadsheet)) {
    world.google.edit(&world.spreadsheet, change);
}

/// Moves the last writing of the balances back to the day before.
fn yesterday(world: &World) {
    let engine = world.engine();
    for destination in &engine.config.destinations {
        let mut state = engine.store.destination(&destination.name, &destination.target()).unwrap();
        if let Some(published) = &mut state.published {
            published.day = published.day.checked_sub_days(Days::new(1)).unwrap();
        }
        engine.store.put_destination(&destination.name, &destination.target(), &state).unwrap();
    }
    // The sheet remembers the day, too.
    edit(world, |book| {
        book.change_metadata("bankfeed.balances", |value| {
            let mut note: serde_json::Value = serde_json::from_str(value).unwrap();
            note["told"] = "2020-01-01 0".into();
            note.to_string()
        });
    });
}

#[tokio::test]
async fn the_rows_add_up_to_the_banks_balance_and_nothing_is_sent_twice_a_day() {
    let today = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive();
    let world = World::new(Bank::household(today)).await;
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_proof(&world);
    let lines = lines(&world, "Balances");
    let accounts: usize = world.bank.edit(|bank| bank.customers.iter().map(|one| one.accounts.len()).sum());
    assert!(lines.len() >= accounts, "{} lines for {accounts} accounts", lines.len());
    let first = &lines[0];
    assert_eq!(
        first.text("Sum of rows"),
        "=SUMIFS('Transactions'!$B:$B,'Transactions'!$H:$H,$A3,'Transactions'!$C:$C,$D3)"
    );
    assert_eq!(first.text("Difference"), "=ROUND(E3-F3-G3+H3,2)");
    assert_eq!(first.text("Next run"), "only when asked");
    assert!(matches!(first.get("Last successful run"), CellValue::Number(_)));
    assert!(status(&world, "Balances").starts_with("All is well: every account is complete."));
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    // A lost store is no reason for a write either: the sheet itself shows its contents.
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    world.cycle().await;
    assert!(world.google.server.log().iter().all(|one| !one.target.contains(":batchUpdate")));
    world.clear_logs();
    yesterday(&world);
    world.cycle().await;
    assert_eq!(world.google.server.requests(), 3, "token, search, one write");
    assert_eq!(world.google.server.log()[2].body.matches("formulaValue").count(), 0, "formulas stay as they are");
    world.clear_logs();
    world.cycle().await;
    assert_eq!(world.google.server.requests(), 0);
}

#[tokio::test]
async fn the_balances_travel_with_the_rows_they_speak_of() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let before = lines(&world, "Balances")[0].money("Bank balance");
    book(&world, -240, "КАФЕ");
    world.clear_logs();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    assert_eq!(world.google.server.requests(), 3);
    let body: serde_json::Value = serde_json::from_str(&world.google.server.log()[2].body).unwrap();
    let kinds: Vec<&String> = body["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_object().unwrap().keys().next().unwrap())
        .collect();
    assert_eq!((kinds[0].as_str(), kinds[1].as_str()), ("addNamedRange", "appendCells"));
    assert!(kinds[2..].iter().filter(|kind| **kind == "updateCells").count() >= 2, "{kinds:?}");
    assert_eq!(lines(&world, "Balances")[0].money("Bank balance"), before - Decimal::new(240, 2));
    assert_proof(&world);
}

#[tokio::test]
async fn an_attention_is_told_when_it_begins_and_when_it_ends() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    world.bank.edit(|bank| bank.door = Door::SecondFactor);
    world.clear_logs();
    assert_eq!(world.scheduled_cycle().await.exit_status(), 3);
    assert_eq!(world.google.server.requests(), 3);
    assert!(status(&world, "Balances").starts_with("Needs you: "), "{}", status(&world, "Balances"));
    world.scheduled_cycle().await;
    assert_eq!(world.google.server.requests(), 3, "it lasts, but it is told already");
    world.bank.edit(|bank| bank.door = Door::Open);
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_eq!(world.google.server.requests(), 6);
    assert!(status(&world, "Balances").starts_with("All is well"));
}

#[tokio::test]
async fn a_row_the_bank_took_back_is_accounted_for() {
    let world = World::new(Bank::small()).await;
    let number = book(&world, -700, "СТОРНО");
    world.cycle().await;
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.retain(|entry| entry.number != number));
    world.cycle().await;
    assert_eq!(lines(&world, "Balances")[0].money("Taken back by the bank"), Decimal::new(-700, 2));
    assert_proof(&world);
}

#[tokio::test]
async fn whatever_the_owner_does_to_the_tab_rows_arrive_and_the_proof_comes_back() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    edit(&world, |book| {
        book.move_column("Transactions", 1, 11);
        book.rename_tab("Transactions", "It's mine");
        book.rename_tab("Balances", "Proof");
        book.insert_column("Proof", 0);
        book.set_cell("Proof", 2, 0, CellValue::Text("note".into()));
    });
    book(&world, -100, "ПРЕМЕСТЕНО");
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    let rows = world.google.read(&world.spreadsheet, |book| book.rows("Proof"));
    assert_eq!(rows[2][0], CellValue::Text("note".into()));
    let moved = &lines(&world, "Proof")[0];
    assert_eq!(moved.text("Sum of rows"), "=SUMIFS('It''s mine'!$L:$L,'It''s mine'!$G:$G,$B3,'It''s mine'!$B:$B,$E3)");
    assert_eq!(moved.text("Difference"), "=ROUND(F3-G3-H3+I3,2)");

    // Deleted, it is made again; protected, it keeps no row waiting.
    edit(&world, |book| book.delete_tab("Proof"));
    book(&world, -100, "ИЗТРИТО");
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_eq!(lines(&world, "Balances").len(), 2);
    edit(&world, |book| book.protect("Balances", 0, 100));
    book(&world, -100, "ЗАЩИТЕНО");
    let report = world.cycle().await;
    assert_eq!((report.destinations[0].appended, report.exit_status()), (1, 3), "{report:?}");
    assert!(report.destinations[0].error.as_deref().unwrap().contains("a protected range"), "{report:?}");
}

#[tokio::test]
async fn a_lost_answer_to_the_balances_alone_is_settled() {
    for fault in [Fault::ApplyThenDrop, Fault::Drop, Fault::Status(503, String::new()), Fault::CutBody] {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        yesterday(&world);
        world.google.server.fail_next(":batchUpdate", fault.clone());
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{fault:?}: {report:?}");
        assert!(!world.google.server.faults_left());
        book(&world, -100, "СЛЕД ТОВА");
        assert_eq!(world.cycle().await.exit_status(), 0);
        world.assert_delivered();
        assert_proof(&world);
    }
}

#[tokio::test]
async fn a_bulgarian_spreadsheet_gets_its_separators_and_words() {
    let mut world = World::new(Bank::small()).await;
    world.extra[1] = "language = \"bg\"\n".into();
    world.write_config();
    edit(&world, |book| book.locale = "bg_BG".into());
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    let titles = world.google.read(&world.spreadsheet, |book| book.titles());
    assert_eq!(titles, ["Sheet1", "Транзакции", "Салда", "Табло"]);
    let first = &lines(&world, "Салда")[0];
    assert_eq!(first.text("Разлика"), "=ROUND(E3-F3-G3+H3;2)");
    world.google.read(&world.spreadsheet, |book| {
        for row in book.rows("Табло").iter().flatten() {
            assert!(!matches!(row, CellValue::Formula(formula) if formula.split('"').step_by(2).any(|code| code.contains(','))), "{row:?}");
        }
    });
}

#[tokio::test]
async fn where_rows_are_left_out_so_is_the_difference() {
    let mut world = World::new(Bank::small()).await;
    let middle = {
        let mut days: Vec<NaiveDate> =
            world.bank.edit(|bank| bank.transactions()).iter().map(|(_, entry, _)| entry.time.date_naive()).collect();
        days.sort();
        days[days.len() / 2]
    };
    let iban = world.bank.edit(|bank| bank.customers[0].accounts[0].iban.clone());
    world.extra[1] = format!("since = {middle}\naccounts = [\"{iban}\"]\n");
    world.write_config();
    assert_eq!(world.cycle().await.exit_status(), 0);
    let lines = lines(&world, "Balances");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].text("Difference"), format!("left out: only rows since {middle} are here"));
    assert!(lines[0].text("Sum of rows").starts_with("=SUMIFS("));
}

#[tokio::test]
async fn the_dashboard_is_made_once_and_then_the_owners() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let charts = world.google.read(&world.spreadsheet, |book| {
        let tab = book.tab("Dashboard").unwrap();
        assert_eq!(tab.slicers.len(), 1);
        tab.charts.len()
    });
    assert!(charts >= 4, "{charts} charts");
    edit(&world, |book| book.set_cell("Dashboard", 0, 1, CellValue::Text("USD".into())));
    book(&world, -100, "ЕДНО");
    world.cycle().await;
    assert_eq!(
        world.google.read(&world.spreadsheet, |book| book.rows("Dashboard")[0][1].clone()),
        CellValue::Text("USD".into())
    );
    edit(&world, |book| book.delete_tab("Dashboard"));
    std::fs::remove_dir_all(world.data_dir()).unwrap();
    book(&world, -100, "ДВЕ");
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert!(
        world.google.read(&world.spreadsheet, |book| book.tab("Dashboard").is_none()),
        "a deleted one stays deleted"
    );
}

#[tokio::test]
async fn both_tabs_can_be_left_out_and_a_tab_of_the_same_title_is_left_alone() {
    let mut world = World::new(Bank::small()).await;
    world.extra[1] = "balances_tab = false\ndashboard_tab = false\n".into();
    world.write_config();
    world.cycle().await;
    assert_eq!(world.google.read(&world.spreadsheet, |book| book.titles()), ["Sheet1", "Transactions"]);
    edit(&world, |book| book.rename_tab("Sheet1", "balances"));
    world.extra[1] = String::new();
    world.write_config();
    assert_eq!(world.cycle().await.exit_status(), 0, "nothing is new, but there is something to tell");
    let titles = world.google.read(&world.spreadsheet, |book| book.titles());
    assert_eq!(titles, ["balances", "Transactions", "Balances (household)", "Dashboard"]);
    assert_eq!(lines(&world, "Balances (household)").len(), 2);
}

#[tokio::test]
async fn airtable_gets_a_row_per_account_where_it_is_asked_for() {
    let mut world = World::new(Bank::small()).await;
    world.extra[2] = "accounts_table = \"Accounts\"\nmonthly_requests = 1000\n".into();
    world.write_config();
    let report = world.cycle().await;
    assert_eq!(report.exit_status(), 0, "{report:?}");
    let accounts = world.airtable.read(&world.base, |base| base.records("Accounts"));
    assert_eq!(accounts.len(), 2);
    let money = |record: &std::collections::BTreeMap<String, serde_json::Value>, field: &str| {
        Decimal::try_from(record[field].as_f64().unwrap()).unwrap().round_dp(2)
    };
    for account in &accounts {
        assert_eq!(money(account, "Difference"), Decimal::ZERO);
        assert_eq!(money(account, "Bank balance"), money(account, "Opening balance") + money(account, "Sum of rows"));
        assert_eq!(account["Complete"], "yes");
        assert!(account["Status"].as_str().unwrap().starts_with("All is well"));
    }
    let before = money(&accounts[0], "Bank balance");
    world.clear_logs();
    world.cycle().await;
    assert_eq!(world.airtable.server.requests(), 0);
    book(&world, -240, "КАФЕ");
    world.cycle().await;
    assert_eq!(world.airtable.server.requests(), 2, "the row, and the accounts");
    let accounts = world.airtable.read(&world.base, |base| base.records("Accounts"));
    assert_eq!(accounts.len(), 2, "updated, not doubled");
    assert_eq!(money(&accounts[0], "Bank balance"), before - Decimal::new(240, 2));
    world.assert_delivered();
}
