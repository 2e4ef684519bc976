//! `export --format xlsx` and `--format sqlite`: files that other programs open, beside a daemon or not.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bankfeed::simulator::fibank::{Bank, Entry};

use crate::cli::{json, run};
use crate::world::World;

const FORMULA: &str = "=IMPORTXML(\"http://example.com\";\"//a\") *~?";

async fn filled() -> World {
    let world = World::new(Bank::small()).await;
    let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let (amount, counterparty) = (rust_decimal::Decimal::new(-12_345, 2), FORMULA.to_owned());
        let value_date = now.date_naive();
        bank.add(&iban, Entry { number, time: now, value_date, amount, counterparty, ..Entry::default() });
    });
    assert_eq!(world.cycle().await.exit_status(), 0);
    world
}

async fn export(world: &World, format: &str, file: &Path) {
    let ended = run(world, &["export", "--format", format, "--output", file.to_str().unwrap()]).await;
    assert_eq!((ended.status.code(), &ended.stdout[..]), (Some(0), &b""[..]), "{ended:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "it holds somebody's money");
    let left = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let names: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.ends_with(".part")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_holds_everything_and_takes_the_place_of_an_older_one() {
    let world = filled().await;
    let file = world.dir.path().join("money.db");
    export(&world, "sqlite", &file).await;
    export(&world, "sqlite", &file).await;
    let db = rusqlite::Connection::open(&file).unwrap();
    let ask = |question: &str| db.query_row(question, (), |row| row.get::<_, f64>(0)).unwrap();
    let booked = world.booked();
    assert_eq!(ask("SELECT COUNT(*) FROM transactions"), booked.len() as f64);
    let sum: f64 = booked.values().map(|amount| amount.parse::<f64>().unwrap()).sum();
    assert!((ask("SELECT SUM(amount) FROM transactions") - sum).abs() < 0.001);
    assert_eq!(ask("SELECT COUNT(*) FROM deliveries WHERE state = 'delivered'"), 2.0 * booked.len() as f64);
    assert_eq!(ask("SELECT COUNT(*) FROM transactions WHERE json_valid(raw)"), booked.len() as f64);
    let text = db.query_row("SELECT counterparty FROM transactions WHERE amount = -123.45", (), |row| row.get(0));
    assert_eq!(text, Ok(FORMULA.to_owned()));
    // A pipe gets the same file.
    let piped = run(&world, &["export", "--format", "sqlite"]).await;
    assert!(piped.stdout.starts_with(b"SQLite format 3\0"), "{:?}", piped.status);
    assert!(file.metadata().unwrap().len() == piped.stdout.len() as u64);
    let nowhere = run(&world, &["export", "--format", "sqlite", "--output", "/nowhere/money.db"]).await;
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert!(
        nowhere.status.code() == Some(1) && said.starts_with("bankfeed: cannot write /nowhere/money.db: "),
        "{said}"
    );
}

/// Reads a part of a workbook.
pub fn part(file: &Path, name: &str) -> String {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(file).unwrap()).unwrap();
    let mut text = String::new();
    zip.by_name(name).unwrap_or_else(|error| panic!("{name}: {error}")).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_has_typed_cells_and_charts_fed_by_formulas() {
    let world = filled().await;
    let file = world.dir.path().join("money.xlsx");
    export(&world, "xlsx", &file).await;
    let book = part(&file, "xl/workbook.xml");
    for name in ["Transactions", "Dashboard", "Figures", "Accounts"] {
        assert!(book.contains(&format!("name=\"{name}\"")), "{book}");
    }
    let rows = part(&file, "xl/worksheets/sheet1.xml");
    assert_eq!(rows.matches("<row ").count(), world.booked().len() + 1);
    assert!(!rows.contains("<f>"), "nothing a bank says is a formula");
    assert!(rows.contains("<is><t>=IMPORTXML("), "{rows}");
    assert!(rows.contains("<v>-123.45</v>"), "{rows}");
    let today = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive();
    let serial = (today - "1899-12-30".parse::<chrono::NaiveDate>().unwrap()).num_days();
    assert!(rows.contains(&format!("<v>{serial}</v>")), "dates are dates");
    let charts: Vec<String> = (1..=5).map(|at| part(&file, &format!("xl/charts/chart{at}.xml"))).collect();
    for chart in &charts {
        assert!(chart.contains("Figures!$"), "{chart}");
    }
    let (_, transactions) = json(&world, &["transactions", "--json"]).await;
    let debit: f64 = transactions
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["date"].as_str().unwrap()[..7] == today.to_string()[..7] && row["currency"] == "EUR")
        .filter_map(|row| row["debit"].as_str()?.parse::<f64>().ok())
        .sum();
    let figures = part(&file, "xl/worksheets/sheet3.xml");
    assert!(figures.contains("SUMIFS(Transactions!") && figures.contains(&format!("<v>{debit}</v>")), "{figures}");
    let one = world.dir.path().join("one.xlsx");
    let ended = run(&world, &["export", "--format", "xlsx", "--limit", "1", "--output", one.to_str().unwrap()]).await;
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(part(&one, "xl/worksheets/sheet1.xml").matches("<row ").count(), 2);
}

/// Excel counts halves of UTF-16: 20,000 leaves are too many, and 32,767 Cyrillic letters are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_no_cell_can_hold_is_cut_with_a_mark_and_a_warning() {
    let world = World::new(Bank::small()).await;
    let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    let texts = [("x".repeat(40_000), "🌿".repeat(20_000)), ("я".repeat(32_767), String::new())];
    let first = world.bank.edit(|bank| {
        let (iban, first) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        for (number, (counterparty, line)) in (first..).zip(texts.clone()) {
            let (amount, remittance) = (rust_decimal::Decimal::new(-100, 2), [line, String::new(), String::new()]);
            let value_date = now.date_naive();
            bank.add(
                &iban,
                Entry { number, time: now, value_date, amount, counterparty, remittance, ..Entry::default() },
            );
        }
        format!("fibank:{iban}:{first}")
    });
    let synced = run(&world, &["sync", "--source", "fibank", "--destination", "base"]).await;
    assert!(matches!(synced.status.code(), Some(0 | 1)), "{synced:?}");
    let file = world.dir.path().join("long.xlsx");
    let ended = run(&world, &["export", "--format", "xlsx", "--output", file.to_str().unwrap()]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("2 texts are longer") && said.contains(&first), "{said}");
    assert!(said.contains("csv, jsonl and sqlite") && said.lines().count() == 2, "the warning and the end: {said}");
    let rows = part(&file, "xl/worksheets/sheet1.xml");
    assert_eq!(rows.matches("xxx… [cut by bankfeed]<").count(), 1);
    assert_eq!(rows.matches("🌿🌿… [cut by bankfeed]<").count(), 1);
    assert!(rows.contains(&texts[1].0) && rows.matches("[cut by").count() == 2);
    // Other formats have the whole text, without a warning.
    let whole = run(&world, &["export", "--format", "jsonl"]).await;
    assert!(String::from_utf8(whole.stdout).unwrap().contains(&texts[0].0));
    let usual =
        run(&world, &["export", "--format", "xlsx", "--limit", "1", "--since", "2026-03-01", "--until", "2026-04-02"])
            .await;
    assert_eq!(String::from_utf8(usual.stderr).unwrap(), "1 transactions exported\n");
}
