//! Sums over several currencies: each by itself, in the demo's last line and where a sheet has no column of currencies.

use bankfeed::simulator::fibank::Bank;
use bankfeed::simulator::google::CellValue;
use bankfeed::simulator::world::History;
use chrono::{Days, Utc};
use rust_decimal::Decimal;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_adds_no_dollars_to_euros() {
    let demo = || std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed")).arg("demo").output().unwrap();
    let ended = tokio::task::spawn_blocking(demo).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let said = String::from_utf8(ended.stdout).unwrap();
    let sums = said.lines().last().unwrap().split_once("the amounts agree: ").unwrap().1.trim_end_matches('.');
    let sums: Vec<(&str, Decimal)> = sums
        .split(", ")
        .map(|sum| sum.split_once(' ').unwrap())
        .map(|(currency, sum)| (currency, sum.parse().unwrap()))
        .collect();
    let currencies: Vec<&str> = sums.iter().map(|(currency, _)| *currency).collect();
    assert_eq!(currencies, ["EUR", "USD"]);
    assert!(sums.iter().all(|(_, sum)| sum.scale() == 2), "{sums:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_without_a_column_of_currencies_adds_only_one() {
    let today = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive();
    let household = Bank::household_between(today - Days::new(20), today, History::Restated);
    for (bank, has_sums) in [(household, false), (Bank::small(), true)] {
        let mut world = World::new(bank).await;
        world.extra[1] = "columns = [\"date\", \"amount\", \"account\", \"id\"]\n".into();
        world.write_config();
        assert_eq!(world.cycle().await.exit_status(), 0);
        let cells = world.google.read(&world.spreadsheet, |book| book.rows("Dashboard"));
        let is_sum = |cell: &CellValue| matches!(cell, CellValue::Formula(formula) if formula.contains("SUMIFS("));
        assert_eq!(cells.iter().flatten().any(is_sum), has_sums);
    }
}
