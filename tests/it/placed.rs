//! Where new rows go, whatever the owner has made of the tab: titles above the headers, columns filled down in advance,
//! Google's tables. Rows follow the last of ours directly, below the headers and inside the table that holds them.

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::{CellValue, Sheet, Spreadsheet};
use bankfeed::sync::{Outcome, Report};
use chrono::Utc;

use crate::world::World;

const TAB: &str = "Transactions";
const ORDERS: [&str; 2] = ["oldest-first", "newest-first"];

fn text(text: &str) -> CellValue {
    CellValue::Text(text.into())
}

/// One account without rows, and a sheet without other tabs of ours.
async fn world(order: &str, sheets: &str) -> World {
    let mut bank = Bank::small();
    bank.customers[0].accounts.truncate(1);
    bank.customers[0].accounts[0].entries.clear();
    let mut world = World::new(bank).await;
    world.extra[1] = format!("balances_tab = false\ndashboard_tab = false\norder = \"{order}\"\n{sheets}\n");
    world.write_config();
    world
}

/// The bank books so many rows more.
fn book(world: &World, count: i64) {
    world.bank.edit(|bank| {
        let account = &mut bank.customers[0].accounts[0];
        for _ in 0..count {
            let n = account.entries.len() as i64 + 1;
            let time = (Utc::now() - chrono::TimeDelta::seconds(50_000 - n)).with_timezone(&chrono_tz::Europe::Sofia);
            account.entries.push(Entry {
                number: 900_000_000 + n as u64,
                time: time.fixed_offset(),
                value_date: time.date_naive(),
                amount: rust_decimal::Decimal::new(-100 * n, 2),
                counterparty: format!("ПОЛУЧАТЕЛ {n}"),
                ..Entry::default()
            });
        }
    });
}

async fn cycle(world: &World, what: &str) -> Report {
    world.clear_logs();
    let report = world.cycle().await;
    let sheet = &report.destinations[0];
    assert_eq!((sheet.outcome, sheet.waiting, sheet.rejected), (Outcome::Ok, 0, 0), "{what}: {report:?}");
    report
}

/// The row that is headed `Transaction ID`, and the column.
fn id_header(tab: &Sheet) -> (usize, usize) {
    let width = tab.column_count;
    let at = |row: usize| (0..width).find(|at| *tab.value(row, *at) == text("Transaction ID")).map(|at| (row, at));
    (0..tab.used_rows()).find_map(at).unwrap_or_else(|| panic!("no header"))
}

/// The rows with ids: where each is, and the number of its entry counted from one.
fn ids(tab: &Sheet) -> Vec<(usize, u64)> {
    let (_, column) = id_header(tab);
    let number = |row: usize| match tab.value(row, column) {
        CellValue::Text(id) => Some((row, id.rsplit_once(':')?.1.parse::<u64>().ok()?.checked_sub(900_000_000)?)),
        _ => None,
    };
    (0..tab.used_rows()).filter_map(number).collect()
}

/// Rows `1..=count` stand one below the other from `first` on, each whole.
fn assert_in_place(world: &World, order: &str, first: usize, count: u64, what: &str) {
    world.google.read(&world.spreadsheet, |book| {
        let tab = book.tab(TAB).unwrap();
        let numbers = (0..count).map(|n| if order == "newest-first" { count - n } else { n + 1 });
        let wanted: Vec<(usize, u64)> = (first..).zip(numbers).collect();
        assert_eq!(ids(tab), wanted, "{what}, {order}");
        let (header, _) = id_header(tab);
        let column = |name: &str| (0..tab.column_count).find(|at| *tab.value(header, *at) == text(name)).unwrap();
        for (row, number) in wanted {
            assert_eq!(*tab.value(row, column("Amount")), CellValue::Number(-(number as f64)), "{what}, {order}");
            let payee = format!("ПОЛУЧАТЕЛ {number}");
            assert_eq!(*tab.value(row, column("Counterparty")), text(&payee), "{what}, {order}");
        }
    });
}

fn edit(world: &World, change: impl FnOnce(&mut Spreadsheet)) {
    world.google.edit(&world.spreadsheet, change);
}

async fn assert_verified(world: &World, what: &str) {
    let nobody: bankfeed::sync::Watcher = std::sync::Arc::new(|_| {});
    let verified = world.engine().verify(&Default::default(), &nobody).await.unwrap();
    let found = &verified[0];
    assert!(
        found.missing.is_empty() && found.doubled.is_empty() && found.different.is_empty() && found.error.is_none(),
        "{what}: {verified:?}"
    );
}

mod headers {
    use super::*;

    fn above(book: &mut Spreadsheet, rows: usize) {
        (0..rows).for_each(|_| book.insert_row(TAB, 0));
        book.set_cell(TAB, 0, 0, text("Our household, all accounts"));
        if rows > 2 {
            // Something that reads like a header, and like rows.
            book.set_cell(TAB, 1, 1, text("Amount"));
            book.set_cell(TAB, 1, 11, text("updated daily"));
        }
    }

    #[tokio::test]
    async fn titles_above_the_headers_are_no_rows_and_rows_stay_below_them() {
        for order in ORDERS {
            for rows in [1, 2, 5] {
                let what = format!("{rows} above");
                let world = world(order, "").await;
                book(&world, 3);
                cycle(&world, &what).await;
                edit(&world, |book| above(book, rows));
                book(&world, 2);
                cycle(&world, &what).await;
                assert_in_place(&world, order, rows + 1, 5, &what);
                world.bank.edit(|bank| bank.customers[0].accounts[0].entries[1].counterparty = "ПОПРАВЕН".into());
                cycle(&world, &what).await;
                world.bank.edit(|bank| bank.customers[0].accounts[0].entries[1].counterparty = "ПОЛУЧАТЕЛ 2".into());
                cycle(&world, &what).await;
                // Another store finds them, and more than carry their formats come.
                std::fs::remove_dir_all(world.data_dir()).unwrap();
                book(&world, 600);
                cycle(&world, &what).await;
                assert_in_place(&world, order, rows + 1, 605, &what);
                assert_verified(&world, &what).await;
                edit(&world, |book| {
                    assert_eq!(book.rows(TAB)[0][0], text("Our household, all accounts"));
                    book.delete_row(TAB, 0);
                });
                book(&world, 1);
                cycle(&world, &what).await;
                assert_in_place(&world, order, rows, 606, &what);
            }
        }
    }

    #[tokio::test]
    async fn columns_that_come_later_get_their_headers_beside_the_others() {
        for order in ORDERS {
            let columns = "columns = [\"date\", \"amount\", \"counterparty\", \"id\"]";
            let mut world = world(order, columns).await;
            book(&world, 3);
            cycle(&world, "").await;
            edit(&world, |book| above(book, 4));
            world.extra[1] = world.extra[1].replace(", \"id\"", ", \"id\", \"category\", \"balance\"");
            world.write_config();
            book(&world, 1);
            cycle(&world, "").await;
            assert_in_place(&world, order, 5, 4, "late columns");
            world.google.read(&world.spreadsheet, |book| {
                let tab = book.tab(TAB).unwrap();
                let headers: Vec<&CellValue> = (0..6).map(|at| tab.value(4, at)).collect();
                let wanted = ["Date", "Amount", "Counterparty", "Transaction ID", "Category", "Balance"].map(text);
                assert_eq!(headers, wanted.iter().collect::<Vec<_>>(), "{order}");
                assert!((0..4).all(|row| (4..6).all(|at| *tab.value(row, at) == CellValue::Empty)), "{order}");
            });
        }
    }

    /// What the owner has, how it is made, and where its headers are.
    type Make = (&'static str, fn(&mut Spreadsheet), usize);

    /// The owner has a tab of his own with headers in some row, before there is any of ours.
    async fn tab_of_the_owner(order: &str, what: &str, make: fn(&mut Spreadsheet), header: usize) {
        let world = world(order, "").await;
        edit(&world, |book| {
            book.rename_tab("Sheet1", TAB);
            make(book);
        });
        book(&world, 3);
        cycle(&world, what).await;
        book(&world, 2);
        cycle(&world, what).await;
        assert_in_place(&world, order, header + 1, 5, what);
        world.google.read(&world.spreadsheet, |book| {
            assert_eq!(id_header(book.tab(TAB).unwrap()).0, header, "{what}, {order}");
        });
        assert_verified(&world, what).await;
    }

    fn headers(book: &mut Spreadsheet, row: usize, names: &[&str]) {
        for (at, name) in names.iter().enumerate() {
            book.set_cell(TAB, row, at, text(name));
        }
    }

    #[tokio::test]
    async fn the_row_that_names_most_of_the_fields_is_the_one_with_the_headers() {
        const SOME: [&str; 4] = ["Date", "Amount", "Mine", "Counterparty"];
        let makes: [Make; 4] = [
            (
                "a title",
                |book| {
                    book.set_cell(TAB, 0, 0, text("Our money"));
                    headers(book, 2, &SOME);
                },
                2,
            ),
            ("blank rows", |book| headers(book, 3, &SOME), 3),
            (
                "a line that names fewer",
                |book| {
                    headers(book, 0, &["Balance", "Amount"]);
                    headers(book, 4, &SOME);
                },
                4,
            ),
            (
                "two alike, of which one is frozen",
                |book| {
                    headers(book, 1, &SOME);
                    headers(book, 3, &SOME);
                    book.freeze(TAB, 4);
                },
                3,
            ),
        ];
        for order in ORDERS {
            for (what, make, header) in makes {
                tab_of_the_owner(order, what, make, header).await;
            }
        }
    }

    #[tokio::test]
    async fn a_row_of_headers_that_is_gone_is_no_row_of_data() {
        for order in ORDERS {
            let world = world(order, "").await;
            book(&world, 3);
            cycle(&world, "").await;
            edit(&world, |book| book.delete_row(TAB, 0));
            book(&world, 2);
            cycle(&world, "").await;
            let found = world.google.read(&world.spreadsheet, |book| {
                let rows = book.rows(TAB);
                rows.iter().filter(|row| row.len() > 11).map(|row| row[11].clone()).collect::<Vec<_>>()
            });
            assert_eq!(found.len(), 5, "{order}: {found:?}");
            assert_verified(&world, order).await;
        }
    }
}
