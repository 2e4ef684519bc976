//! Transfers between the owner's own accounts: one rule, and one figure on page, workbook, lists and sheet.

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::CellValue;
use bankfeed::simulator::world::History;
use chrono::{Datelike, Days, Months, NaiveDate};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::cli::{json, run};
use crate::export::part;
use crate::web::{Site, TOKEN};
use crate::world::World;

/// The month before this one, and the day before the next.
fn last_month() -> [NaiveDate; 2] {
    let today = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive();
    let first = today.with_day(1).unwrap();
    [first - Months::new(1), first - Days::new(1)]
}

/// The household's real spending in a month, and the money moved between its accounts, from the bank's knowledge of
/// both sides.
fn spent_and_moved(bank: &Bank, [since, until]: [NaiveDate; 2]) -> (Decimal, Decimal) {
    let ibans: Vec<&String> =
        bank.customers.iter().flat_map(|customer| &customer.accounts).map(|account| &account.iban).collect();
    let (mut spent, mut moved) = (Decimal::ZERO, Decimal::ZERO);
    for account in bank.customers.iter().flat_map(|customer| &customer.accounts).filter(|one| one.currency == "EUR") {
        for entry in account.entries.iter().filter(|entry| (since..=until).contains(&entry.time.date_naive())) {
            if entry.amount < Decimal::ZERO {
                let own = ibans.contains(&&entry.counterparty_account);
                *(if own { &mut moved } else { &mut spent }) -= entry.amount;
            }
        }
    }
    (spent, moved)
}

/// The amount as the page writes it.
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

/// Money in of a month in euros, without transfers between own accounts.
fn earned(world: &World, since: NaiveDate, until: NaiveDate) -> Decimal {
    let bank = world.bank.edit(|bank| bank.clone());
    let accounts = || bank.customers.iter().flat_map(|customer| &customer.accounts);
    let own = |entry: &&Entry| accounts().any(|account| account.iban == entry.counterparty_account);
    let entries = accounts().filter(|one| one.currency == "EUR").flat_map(|account| &account.entries);
    let entries = entries.filter(|entry| (since..=until).contains(&entry.time.date_naive()) && !own(entry));
    entries.map(|entry| entry.amount).filter(|amount| *amount > Decimal::ZERO).sum()
}

/// The value of the dashboard's formula for a month.
fn dashboard(world: &World, month: NaiveDate, column: usize) -> Decimal {
    world.google.read(&world.spreadsheet, |book| {
        let today = chrono::Utc::now().date_naive();
        let back = (today.year() * 12 + today.month0() as i32) - (month.year() * 12 + month.month0() as i32);
        let row = 4 + 23 - usize::try_from(back).unwrap();
        let cells = book.rows("Dashboard");
        let CellValue::Formula(formula) = &cells[row][column] else { panic!("{:?}", cells[row]) };
        let CellValue::Text(currency) = &cells[0][1] else { panic!("{:?}", cells[0]) };
        assert_eq!(currency, "EUR");
        let column_of = |range: &str| -> Vec<CellValue> {
            let (tab, range) =
                range.rsplit_once('!').map_or(("Dashboard", range), |(tab, range)| (tab.trim_matches('\''), range));
            let letters = range.split(':').next().unwrap().trim_start_matches('$');
            let at = letters.bytes().fold(0, |at, letter| at * 26 + usize::from(letter - b'A') + 1) - 1;
            book.rows(tab).iter().map(|row| row.get(at).cloned().unwrap_or_default()).collect()
        };
        sum_of(formula.trim_start_matches('='), &column_of, currency, month)
    })
}

/// `-SUMIFS(…)-SUMIFS(…)` with the conditions that the dashboard uses.
fn sum_of(formula: &str, column: &dyn Fn(&str) -> Vec<CellValue>, currency: &str, month: NaiveDate) -> Decimal {
    let serial = |day: NaiveDate| (day - NaiveDate::from_ymd_opt(1899, 12, 30).unwrap()).num_days() as f64;
    let mut total = Decimal::ZERO;
    for (at, _) in formula.match_indices("SUMIFS(") {
        let arguments = arguments(&formula[at + "SUMIFS(".len()..]);
        let holds = |cell: &CellValue, condition: &str| match (condition, cell) {
            ("$B$1", CellValue::Text(text)) => text == currency,
            ("\"<0\"", CellValue::Number(number)) => *number < 0.0,
            ("\">0\"", CellValue::Number(number)) => *number > 0.0,
            (from, CellValue::Number(number)) if from.starts_with("\">=\"&$A") => *number >= serial(month),
            (until, CellValue::Number(number)) if until.starts_with("\"<\"&EDATE($A") => {
                *number < serial(month + Months::new(1))
            }
            _ => false,
        };
        let sums = column(&arguments[0]);
        let conditions: Vec<(Vec<CellValue>, &String)> =
            arguments[1..].chunks(2).map(|pair| (column(&pair[0]), &pair[1])).collect();
        let counted = (0..sums.len()).filter(|row| {
            conditions.iter().all(|(cells, condition)| cells.get(*row).is_some_and(|cell| holds(cell, condition)))
        });
        let numbers = counted.map(|row| if let CellValue::Number(number) = sums[row] { number } else { 0.0 });
        let sum: Decimal = numbers.map(|number| Decimal::try_from(number).unwrap().round_dp(2)).sum();
        if formula[..at].ends_with('-') { total -= sum } else { total += sum }
    }
    total
}

/// The arguments up to the closing bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut depth, mut quoted) = (vec![String::new()], 0, false);
    for letter in text.chars() {
        quoted ^= letter == '"';
        match letter {
            ')' if depth == 0 && !quoted => break,
            ',' if depth == 0 && !quoted => {
                found.push(String::new());
                continue;
            }
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        found.last_mut().unwrap().push(letter);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn money_out_of_a_month_is_one_figure_wherever_it_is_shown() {
    let [since, until] = last_month();
    let bank = Bank::household_between(since - Days::new(10), until + Days::new(1), History::Restated);
    let (spent, moved) = spent_and_moved(&bank, [since, until]);
    assert!(spent > Decimal::from(1000) && moved > Decimal::ZERO, "{spent} {moved}");
    let site = Site::over(World::new(bank).await, &format!("token = \"{TOKEN}\"\n"));
    assert_eq!(site.sync().await.status(), 200);
    let page = site.get(&format!("/?since={since}&until={until}")).await.text().await.unwrap();
    let shown = format!("<dt class=\"out\">Money out</dt><dd>{} <span>EUR", grouped(spent));
    assert!(page.contains(&shown), "{shown}: {}", page.split("class=\"sums\"").nth(1).unwrap());

    let world = &site.world;
    let file = world.dir.path().join("money.xlsx");
    let file_name = file.to_str().unwrap();
    let (from, to) = (since.to_string(), until.to_string());
    let month = ["--since", &from, "--until", &to];
    let ended = run(world, &[&["export", "--format", "xlsx", "--output", file_name][..], &month].concat()).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(result(&part(&file, "xl/worksheets/sheet3.xml"), "B6"), spent);

    let question = format!(
        "SELECT -SUM(amount) AS spent FROM transactions WHERE transfer IS NULL AND amount < 0 AND currency = 'EUR' \
         AND date BETWEEN '{from}' AND '{to}'"
    );
    let (_, answer) = json(world, &["sql", &question, "--format", "json"]).await;
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
    let api = site.json(&format!("/api/transactions?since={from}&until={to}&limit=1000")).await;
    assert_eq!(dashboard(world, since, 1), spent);
    assert_eq!(dashboard(world, since, 2), earned(world, since, until));
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
    // The bank takes the other half back: the first half is no half of a transfer any more.
    world
        .bank
        .edit(|bank| bank.customers[0].accounts[1].entries.retain(|entry| !late.ends_with(&entry.number.to_string())));
    assert_eq!(world.cycle().await.exit_status(), 0);
    assert_eq!(shown(&world, &half), CellValue::Empty);
    let (status, verified) = json(&world, &["verify", "--json"]).await;
    assert_eq!(status, 0, "{verified}");
}

/// The amounts that the dashboard leaves out: debit and credit of the table beside its charts.
fn left_out(world: &World) -> (f64, f64) {
    let rows = world.google.read(&world.spreadsheet, |book| book.rows("Dashboard"));
    let header = rows.iter().position(|row| row.len() > 23 && row[23] == CellValue::Text("Month".into())).unwrap();
    let sum = |at: usize| -> f64 {
        rows[header + 1..]
            .iter()
            .filter_map(|row| if let Some(CellValue::Number(number)) = row.get(at) { Some(number) } else { None })
            .sum()
    };
    (sum(28), sum(29))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dashboard_leaves_out_is_kept_up_to_date() {
    for balances in ["", "balances_tab = false\n"] {
        let mut world = World::new(Bank::small()).await;
        world.extra[1] = balances.into();
        world.write_config();
        assert_eq!(world.cycle().await.exit_status(), 0);
        assert_eq!(left_out(&world), (200.0, 200.0), "{balances}");
        book(&world, 0, -30_000, Some(1), "");
        let late = book(&world, 1, 30_000, Some(0), "");
        let coffee = book(&world, 0, -250, None, "");
        assert_eq!(world.cycle().await.exit_status(), 0);
        assert_eq!(left_out(&world), (500.0, 500.0), "{balances}");
        world.clear_logs();
        assert_eq!(world.cycle().await.exit_status(), 0);
        assert_eq!(world.google.server.requests(), 0, "{balances}");
        // The bank takes a coffee and one half back.
        for id in [coffee, late] {
            let gone = |entry: &Entry| id.ends_with(&format!(":{}", entry.number));
            world.bank.edit(|bank| {
                bank.customers[0].accounts.iter_mut().for_each(|one| one.entries.retain(|entry| !gone(entry)))
            });
        }
        assert_eq!(world.cycle().await.exit_status(), 0);
        assert_eq!(left_out(&world), (202.5, 500.0), "{balances}");
        // The figures follow the owner's move of their columns; a deleted tab is no failure.
        world.google.edit(&world.spreadsheet, |sheets| sheets.insert_column("Dashboard", 0));
        book(&world, 0, -100, None, "");
        assert_eq!(world.cycle().await.exit_status(), 0);
        world.google.edit(&world.spreadsheet, |sheets| sheets.delete_tab("Dashboard"));
        book(&world, 0, -30_000, Some(1), "");
        book(&world, 1, 30_000, Some(0), "");
        let report = world.cycle().await;
        assert_eq!(report.exit_status(), 0, "{balances}: {report:?}");
    }
}
