//! The place of new rows, for any shape of the owner's tab: titles above the headers, columns filled down in advance,
//! Google's tables. Rows follow the last of ours directly, below the headers and inside the table that holds them.

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::{Area, CellValue, OPEN, Sheet, Spreadsheet};
use bankfeed::sync::{Outcome, Report};
use chrono::Utc;

use crate::world::World;

const TAB: &str = "Transactions";
const ORDERS: [&str; 2] = ["oldest-first", "newest-first"];

fn text(text: &str) -> CellValue {
    CellValue::Text(text.into())
}

/// A world with an account without rows, and a sheet without other tabs of ours.
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

/// The guarded batches since the log was cleared.
fn guarded(world: &World) -> usize {
    let log = world.google.server.log();
    let is_batch = |target: &str| target.split('?').next().is_some_and(|path| path.ends_with(":batchUpdate"));
    log.iter().filter(|one| is_batch(&one.target) && one.body.contains("addNamedRange")).count()
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
            // Cells that look like a header and like rows.
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
                // Another store finds the rows, and more new rows come than the prepared formats cover.
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

    /// The owner's content as text, its making, and the row of its headers.
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
    async fn a_title_that_comes_between_look_and_write_leaves_no_row_above_the_headers() {
        for order in ORDERS {
            for rows in 1..3 {
                let world = world(order, "").await;
                book(&world, 3);
                cycle(&world, "").await;
                let (google, id) = (world.google.clone(), world.spreadsheet.clone());
                world.google.server.meanwhile("developerMetadata:search", move || {
                    google.edit(&id, |book| above(book, rows));
                });
                book(&world, 2);
                cycle(&world, "").await;
                assert_in_place(&world, order, rows + 1, 5, "in that instant");
                assert_verified(&world, order).await;
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

/// Faults for the answer of a write, and a late request.
fn faults() -> [Fault; 6] {
    [
        Fault::Drop,
        Fault::ApplyThenDrop,
        Fault::CutBody,
        Fault::Status(503, String::new()),
        Fault::ApplyThenStatus(500, String::new()),
        Fault::Held(1),
    ]
}

/// The owner's action in the instant between look and write.
type Move = (&'static str, fn(&mut Spreadsheet));

const MOVES: [Move; 6] = [
    ("sorts", |book| book.sort_by_column(TAB, 11, true)),
    ("inserts a row above", |book| book.insert_row(TAB, 1)),
    ("inserts two rows above", |book| (0..2).for_each(|_| book.insert_row(TAB, 2))),
    ("deletes a row above", |book| book.delete_row(TAB, 1)),
    ("drags a row down", |book| book.move_row(TAB, 1, 3)),
    ("writes a title", |book| book.put_title_above(TAB, "Our money")),
];

/// Checks that every row is there once with the right cells, but for one that the owner deleted.
fn assert_once(world: &World, count: u64, what: &str) {
    let deleted = u64::from(what.contains("deletes"));
    let mut found: Vec<u64> = world.google.read(&world.spreadsheet, |book| {
        let tab = book.tab(TAB).unwrap();
        let header = id_header(tab).0;
        let rows = ids(tab);
        for (row, number) in &rows {
            assert!(*row > header, "{what}: row {number} stands above the headers");
            assert_eq!(*tab.value(*row, 3), text(&format!("ПОЛУЧАТЕЛ {number}")), "{what}");
            assert_eq!(*tab.value(*row, 1), CellValue::Number(-(*number as f64)), "{what}");
        }
        rows.into_iter().map(|(_, number)| number).collect()
    });
    found.sort_unstable();
    let before = found.len();
    found.dedup();
    assert_eq!(found.len(), before, "{what}: a row is doubled");
    assert_eq!(found.len() as u64, count - deleted, "{what}: {found:?}");
}

mod prefilled {
    use super::*;

    const MINE: usize = 12;

    fn fillings() -> [(&'static str, usize, CellValue); 4] {
        [
            ("check boxes", MINE, CellValue::Bool(false)),
            ("a formula", MINE, CellValue::Formula("=B2*2".into())),
            ("a formula in a column between", 2, CellValue::Formula("=1+1".into())),
            ("a formula for categories", 5, CellValue::Formula("=\"\"".into())),
        ]
    }

    fn filled(world: &World, column: usize, value: &CellValue) -> Vec<usize> {
        world.google.read(&world.spreadsheet, |book| {
            let tab = book.tab(TAB).unwrap();
            (0..tab.row_count).filter(|row| tab.value(*row, column) == value).collect()
        })
    }

    #[tokio::test]
    async fn new_rows_follow_the_last_of_ours_and_what_is_filled_in_stays() {
        for order in ORDERS {
            for (what, column, value) in fillings() {
                let world = world(order, "").await;
                book(&world, 3);
                cycle(&world, what).await;
                edit(&world, |book| {
                    if column == 2 {
                        book.insert_column(TAB, column);
                        book.set_cell(TAB, 0, column, text("Mine"));
                    }
                    book.prefill(TAB, column, 1, 1_000, &value);
                });
                book(&world, 2);
                cycle(&world, what).await;
                assert_in_place(&world, order, 1, 5, what);
                for count in 6..9 {
                    book(&world, 1);
                    cycle(&world, what).await;
                    assert_in_place(&world, order, 1, count, what);
                    assert_eq!(guarded(&world), 1, "{what}, {order}");
                    assert!(world.google.server.requests() <= 4, "{what}, {order}");
                }
                let wanted: Vec<usize> = match order {
                    "newest-first" => (6..1_005).collect(),
                    _ => (1..1_000).collect(),
                };
                assert_eq!(filled(&world, column, &value), wanted, "{what}, {order}");
                // Past the last that is filled in, and of the grid.
                book(&world, 1_100);
                cycle(&world, what).await;
                assert_in_place(&world, order, 1, 1_108, what);
                assert_eq!(filled(&world, column, &value).len(), 999, "{what}, {order}");
                assert_verified(&world, what).await;
            }
        }
    }

    #[tokio::test]
    async fn a_tab_that_was_filled_in_before_the_first_row_is_filled_from_its_top() {
        for order in ORDERS {
            let world = world(order, "").await;
            edit(&world, |book| {
                book.rename_tab("Sheet1", TAB);
                for (at, name) in ["Date", "Amount", "Mine", "Counterparty"].iter().enumerate() {
                    book.set_cell(TAB, 2, at, text(name));
                }
                book.set_cell(TAB, 0, 0, text("Our money"));
                book.prefill(TAB, 2, 3, 1_000, &CellValue::Bool(false));
            });
            book(&world, 4);
            cycle(&world, order).await;
            assert_in_place(&world, order, 3, 4, order);
            assert_eq!(filled(&world, 2, &CellValue::Bool(false)).len(), 997);
        }
    }

    #[tokio::test]
    async fn a_steady_cycle_costs_three_requests_again_once_nothing_is_filled_in_any_more() {
        let world = world("oldest-first", "").await;
        book(&world, 3);
        cycle(&world, "").await;
        edit(&world, |book| book.prefill(TAB, MINE, 1, 500, &CellValue::Bool(false)));
        book(&world, 1);
        cycle(&world, "").await;
        edit(&world, |book| book.prefill(TAB, MINE, 1, 500, &CellValue::Empty));
        for requests in [4, 3, 3] {
            book(&world, 1);
            cycle(&world, "").await;
            assert_eq!(world.google.server.requests(), requests);
        }
        assert_in_place(&world, "oldest-first", 1, 7, "");
    }

    #[tokio::test]
    async fn nothing_is_lost_where_the_owner_moves_rows_in_that_instant() {
        for (what, act) in MOVES {
            let world = world("oldest-first", "").await;
            book(&world, 4);
            cycle(&world, what).await;
            edit(&world, |book| book.prefill(TAB, MINE, 1, 1_000, &CellValue::Bool(false)));
            book(&world, 1);
            cycle(&world, what).await;
            book(&world, 2);
            let (google, id) = (world.google.clone(), world.spreadsheet.clone());
            world.google.server.meanwhile("getByDataFilter", move || google.edit(&id, act));
            cycle(&world, what).await;
            assert_once(&world, 7, what);
            book(&world, 1);
            cycle(&world, what).await;
            assert_once(&world, 8, what);
            let last = world.google.read(&world.spreadsheet, |book| ids(book.tab(TAB).unwrap()).last().unwrap().0);
            assert!(last < 14, "{what}: row {last}");
        }
    }

    #[tokio::test]
    async fn lost_answers_and_late_requests_double_nothing() {
        for fault in faults() {
            let what = format!("{fault:?}");
            let world = world("oldest-first", "").await;
            book(&world, 3);
            cycle(&world, &what).await;
            edit(&world, |book| book.prefill(TAB, MINE, 1, 1_000, &CellValue::Bool(false)));
            for count in [5, 7, 9] {
                book(&world, 2);
                world.google.server.fail_next(":batchUpdate", fault.clone());
                cycle(&world, &what).await;
                assert_once(&world, count, &what);
            }
            book(&world, 1);
            cycle(&world, &what).await;
            assert_in_place(&world, "oldest-first", 1, 10, &what);
        }
    }
}

mod tables {
    use super::*;

    /// Checks that the table holds every row of ours; returns its area.
    fn assert_inside(world: &World, table: &str, what: &str) -> Area {
        world.google.read(&world.spreadsheet, |book| {
            let tab = book.tab(TAB).unwrap();
            let area = tab.tables.iter().find(|one| one.id == table).unwrap().area;
            let (header, _) = id_header(tab);
            assert_eq!(area.top, header, "{what}");
            for (row, number) in ids(tab) {
                assert!(row > area.top && row < area.bottom, "{what}: row {number} at {row}, {area:?}");
            }
            area
        })
    }

    fn convert(world: &World, types: &[(usize, &str)]) -> String {
        world.google.edit(&world.spreadsheet, |book| {
            let tab = book.tab(TAB).unwrap();
            let (top, column) = id_header(tab);
            let area = Area { sheet: 0, top, bottom: tab.used_rows(), left: column - 11, right: column + 1 };
            book.make_table(TAB, area, types)
        })
    }

    #[tokio::test]
    async fn rows_go_into_the_table_and_it_grows_by_one_guarded_request() {
        for order in ORDERS {
            let world = world(order, "").await;
            book(&world, 3);
            cycle(&world, order).await;
            let table = convert(&world, &[(1, "CURRENCY"), (5, "DROPDOWN"), (8, "DOUBLE")]);
            book(&world, 2);
            cycle(&world, order).await;
            assert_in_place(&world, order, 1, 5, order);
            assert_eq!(assert_inside(&world, &table, order).bottom, 6, "{order}");
            for count in 6..12 {
                book(&world, 1);
                cycle(&world, order).await;
                assert_in_place(&world, order, 1, count, order);
                assert_eq!(assert_inside(&world, &table, order).bottom as u64, count + 1, "{order}");
                assert_eq!((guarded(&world), world.google.server.requests()), (1, 4), "{order}");
            }
            world.google.read(&world.spreadsheet, |book| {
                let cell = book.tab(TAB).unwrap().cell(8, 0).unwrap();
                assert_eq!(
                    cell.number_format(),
                    Some(("DATE", "yyyy-mm-dd")),
                    "a column without a type has our format"
                );
            });
            // Rows go on as ever after the tables are turned back into plain cells.
            edit(&world, |book| book.unmake_tables(TAB));
            for _ in 0..2 {
                book(&world, 1);
                cycle(&world, order).await;
            }
            assert_in_place(&world, order, 1, 13, order);
            assert_eq!(world.google.server.requests(), 3, "{order}");
            assert_verified(&world, order).await;
        }
    }

    #[tokio::test]
    async fn what_stands_below_and_beside_a_table_keeps_its_place() {
        for order in ORDERS {
            let world = world(order, "").await;
            book(&world, 3);
            cycle(&world, order).await;
            let table = convert(&world, &[]);
            let other = world.google.edit(&world.spreadsheet, |book| {
                // A title above, a column before, totals below, one table beside and one further down.
                book.put_title_above(TAB, "Our money");
                book.insert_row(TAB, 1);
                book.insert_column(TAB, 0);
                book.set_cell(TAB, 7, 2, text("a sum, one day"));
                let beside = Area { sheet: 0, top: 0, bottom: 20, left: 20, right: 22 };
                book.prefill(TAB, 20, 0, 20, &text("theirs"));
                book.prefill(TAB, 1, 30, 33, &text("another"));
                book.make_table(TAB, Area { top: 30, bottom: 33, left: 1, right: 3, ..beside }, &[]);
                book.make_table(TAB, beside, &[])
            });
            for count in [5, 7, 16] {
                book(&world, count - ids_count(&world));
                cycle(&world, order).await;
                assert_in_place(&world, order, 3, count as u64, order);
                assert_eq!(assert_inside(&world, &table, order).bottom as i64, count + 3, "{order}");
            }
            world.google.read(&world.spreadsheet, |book| {
                let tab = book.tab(TAB).unwrap();
                assert_eq!(*tab.value(7 + 13, 2), text("a sum, one day"), "{order}");
                let beside = tab.tables.iter().find(|one| one.id == other).unwrap();
                let rows = (0..tab.used_rows()).filter(|row| *tab.value(*row, 20) == text("theirs")).count();
                assert_eq!((beside.area.top, rows), (0, 20), "{order}");
                let below = tab.tables.iter().find(|one| one.area.left == 1 && one.id != table).unwrap();
                assert_eq!(*tab.value(below.area.top, 1), text("another"), "{order}");
                assert_eq!(below.area.bottom - below.area.top, 3, "{order}");
            });
            assert_verified(&world, order).await;
        }
    }

    fn ids_count(world: &World) -> i64 {
        world.google.read(&world.spreadsheet, |book| ids(book.tab(TAB).unwrap()).len() as i64)
    }

    #[tokio::test]
    async fn a_table_made_before_the_first_row_and_one_without_an_end_take_rows_in() {
        for order in ORDERS {
            for (what, bottom) in [("a header and blank rows", 6), ("without an end", OPEN)] {
                let world = world(order, "").await;
                let table = world.google.edit(&world.spreadsheet, |book| {
                    book.rename_tab("Sheet1", TAB);
                    let names = ["Date", "Amount", "Counterparty", "Transaction ID"];
                    names.iter().enumerate().for_each(|(at, name)| book.set_cell(TAB, 1, at + 2, text(name)));
                    book.make_table(TAB, Area { sheet: 0, top: 1, bottom, left: 2, right: 6 }, &[(3, "CURRENCY")])
                });
                for count in [2, 4, 8] {
                    book(&world, count - ids_count(&world));
                    cycle(&world, what).await;
                    assert_in_place(&world, order, 2, count as u64, what);
                    assert_inside(&world, &table, what);
                }
            }
        }
    }

    #[tokio::test]
    async fn lost_answers_and_late_requests_leave_no_row_outside() {
        for order in ORDERS {
            for fault in faults() {
                let what = format!("{fault:?}, {order}");
                let world = world(order, "").await;
                book(&world, 3);
                cycle(&world, &what).await;
                let table = convert(&world, &[(1, "CURRENCY")]);
                for count in [5, 7, 9] {
                    book(&world, 2);
                    world.google.server.fail_next(":batchUpdate", fault.clone());
                    cycle(&world, &what).await;
                    assert_once(&world, count, &what);
                }
                book(&world, 1);
                cycle(&world, &what).await;
                assert_in_place(&world, order, 1, 10, &what);
                assert_inside(&world, &table, &what);
            }
        }
    }

    #[tokio::test]
    async fn no_row_is_outside_whatever_the_owner_does_in_that_instant() {
        for order in ORDERS {
            for (what, act) in MOVES {
                let what = &format!("{what}, {order}");
                let world = world(order, "").await;
                book(&world, 4);
                cycle(&world, what).await;
                let table = convert(&world, &[]);
                book(&world, 1);
                cycle(&world, what).await;
                book(&world, 2);
                let (google, id) = (world.google.clone(), world.spreadsheet.clone());
                world.google.server.meanwhile("getByDataFilter", move || google.edit(&id, act));
                cycle(&world, what).await;
                assert_once(&world, 7, what);
                book(&world, 1);
                cycle(&world, what).await;
                assert_once(&world, 8, what);
                assert_inside(&world, &table, what);
            }
        }
    }
}
