//! Transfers between the owner's own accounts: one rule, and one figure on page, workbook, lists and sheet.

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::CellValue;
use bankfeed::simulator::world::History;
use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::cli::{json, run};
use crate::export::part;
use crate::web::{Site, TOKEN};
use crate::world::World;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn january(date: NaiveDate) -> bool {
    (date.year(), date.month()) == (2026, 1)
}

/// What really left the household in January, and what moved: by what the bank knows of both sides.
fn spent_and_moved(bank: &Bank) -> (Decimal, Decimal) {
    let ibans: Vec<&String> =
        bank.customers.iter().flat_map(|customer| &customer.accounts).map(|account| &account.iban).collect();
    let (mut spent, mut moved) = (Decimal::ZERO, Decimal::ZERO);
    for account in bank.customers.iter().flat_map(|customer| &customer.accounts).filter(|one| one.currency == "EUR") {
        for entry in account.entries.iter().filter(|entry| january(entry.time.date_naive())) {
            if entry.amount < Decimal::ZERO {
                let own = ibans.contains(&&entry.counterparty_account);
                *(if own { &mut moved } else { &mut spent }) -= entry.amount;
            }
        }
    }
    (spent, moved)
}

/// As the page writes it.
fn grouped(amount: Decimal) -> String {
    let text = format!("{amount:.2}");
    let (whole, cents) = text.split_once('.').unwrap();
    let (thousands, rest) = whole.split_at(whole.len() - 3);
    format!("{thousands},{rest}.{cents}")
}

/// The result of a formula of the workbook's sheet of figures.
fn result(figures: &str, cell: &str) -> Decimal {
    let cell = figures.split(&format!("<c r=\"{cell}\"")).nth(1).unwrap();
    let value = cell.split("<v>").nth(1).unwrap().split("</v>").next().unwrap();
    Decimal::from_scientific(value).or_else(|_| value.parse()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_out_of_a_month_is_one_figure_wherever_it_is_shown() {
    let bank = Bank::household_between(day("2025-12-20"), day("2026-02-05"), History::Restated);
    let (spent, moved) = spent_and_moved(&bank);
    assert!(spent > Decimal::from(1000) && moved > Decimal::ZERO, "{spent} {moved}");
    let site = Site::over(World::new(bank).await, &format!("token = \"{TOKEN}\"\n"));
    assert_eq!(site.sync().await.status(), 200);
    let page = site.get("/?since=2026-01-01&until=2026-01-31").await.text().await.unwrap();
    let shown = format!("<dt class=\"out\">Money out</dt><dd>{} <span>EUR", grouped(spent));
    assert!(page.contains(&shown), "{shown}: {}", page.split("class=\"sums\"").nth(1).unwrap());

    let world = &site.world;
    let file = world.dir.path().join("money.xlsx");
    let file_name = file.to_str().unwrap();
    let month = ["--since", "2026-01-01", "--until", "2026-01-31"];
    let ended = run(world, &[&["export", "--format", "xlsx", "--output", file_name][..], &month].concat()).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(result(&part(&file, "xl/worksheets/sheet3.xml"), "B6"), spent);

    let question = "SELECT -SUM(amount) AS spent FROM transactions WHERE transfer IS NULL AND amount < 0 \
                    AND currency = 'EUR' AND date LIKE '2026-01-%'";
    let (_, answer) = json(world, &["sql", question, "--format", "json"]).await;
    assert_eq!(answer[0]["spent"].as_str().unwrap().parse::<Decimal>().unwrap(), spent);

    let (_, listed) = json(world, &[&["transactions", "--json"][..], &month].concat()).await;
    let sum = |is_transfer: bool| -> Decimal {
        let counted = listed.as_array().unwrap().iter().filter(|row| {
            row["currency"] == "EUR" && row["direction"] == "debit" && row["transfer"].is_string() == is_transfer
        });
        counted.map(|row| row["debit"].as_str().unwrap().parse::<Decimal>().unwrap()).sum()
    };
    assert_eq!([sum(false), sum(true)], [spent, moved]);
    let csv = run(world, &["export", "--format", "csv", "--limit", "1"]).await;
    assert!(String::from_utf8(csv.stdout).unwrap().lines().next().unwrap().contains(",reference,transfer,category,"));
    let api = site.json("/api/transactions?since=2026-01-01&until=2026-01-31&limit=1000").await;
    let halves = api["transactions"].as_array().unwrap().iter().filter(|row| row["transfer"].is_string()).count();
    assert_eq!(halves, listed.as_array().unwrap().iter().filter(|row| row["transfer"].is_string()).count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_names_no_other_account_is_understood_by_its_references() {
    let mut bank = Bank::small();
    bank.options.own_trn_account = true;
    let world = World::new(bank).await;
    assert_eq!(world.cycle().await.exit_status(), 0);
    let accounts = world.bank.edit(|bank| {
        let accounts = &bank.customers[0].accounts;
        [accounts[0].iban.clone(), accounts[1].iban.clone()]
    });
    let (_, listed) = json(&world, &["transactions", "--json"]).await;
    let halves: Vec<[&Value; 3]> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["transfer"].is_string())
        .map(|row| [&row["account"], &row["transfer"], &row["amount"]])
        .collect();
    let [daily, savings] = accounts.each_ref().map(|iban| Value::from(iban.as_str()));
    let (out, into) = (Value::from("-200.00"), Value::from("200.00"));
    assert_eq!(halves, [[&daily, &savings, &out], [&savings, &daily, &into]]);
}

fn book(world: &World, account: usize, cents: i64, names: Option<usize>, reference: &str) -> String {
    world.bank.edit(|bank| {
        let ibans: Vec<String> = bank.customers[0].accounts.iter().map(|account| account.iban.clone()).collect();
        let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let entry = Entry {
            number: bank.last_number() + 1,
            time: now,
            value_date: now.date_naive(),
            amount: Decimal::new(cents, 2),
            counterparty: "Иван Измислен".into(),
            counterparty_account: names.map(|at| ibans[at].clone()).unwrap_or_default(),
            reference: reference.into(),
            ..Entry::default()
        };
        let id = format!("fibank:{}:{}", ibans[account], entry.number);
        bank.add(&ibans[account], entry);
        id
    })
}

fn shown(world: &World, id: &str) -> CellValue {
    let at = world.column("Transaction ID").iter().position(|cell| *cell == CellValue::Text(id.into())).unwrap();
    world.column("Transfer")[at].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_transfers_follows_late_halves_once_and_is_then_at_rest() {
    let mut world = World::new(Bank::small()).await;
    let columns = "columns = [\"date\", \"amount\", \"counterparty\", \"transfer\", \"id\"]\n";
    world.extra = [String::new(), columns.into(), columns.into()];
    world.write_config();
    let half = book(&world, 0, -30_000, Some(1), "");
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_eq!(shown(&world, &half), CellValue::Empty);
    let late = book(&world, 1, 30_000, None, "");
    let twin = book(&world, 1, 12_300, None, "");
    assert_eq!(world.cycle().await.exit_status(), 0);
    let ibans =
        world.bank.edit(|bank| bank.customers[0].accounts.iter().map(|one| one.iban.clone()).collect::<Vec<_>>());
    let expected = [CellValue::Text(ibans[1].clone()), CellValue::Text(ibans[0].clone()), CellValue::Empty];
    assert_eq!([shown(&world, &half), shown(&world, &late), shown(&world, &twin)], expected);
    let (status, verified) = json(&world, &["verify", "--json"]).await;
    assert_eq!(status, 0, "{verified}");
    for _ in 0..2 {
        world.clear_logs();
        assert_eq!(world.cycle().await.exit_status(), 0);
        assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));
    }
    // The bank takes the other half back: the first is none any more.
    world
        .bank
        .edit(|bank| bank.customers[0].accounts[1].entries.retain(|entry| !late.ends_with(&entry.number.to_string())));
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_eq!(shown(&world, &half), CellValue::Empty);
    let (status, verified) = json(&world, &["verify", "--json"]).await;
    assert_eq!(status, 0, "{verified}");
}
