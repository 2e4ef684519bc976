//! The owner sorts, inserts, deletes or drags rows in the very instant between our look at the sheet and our write by
//! position: no row may be lost or say what another should, whatever was written, struck through or deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::{CellValue, Spreadsheet};
use bankfeed::sync::{Report, Verification, Watcher};
use chrono::Utc;

use crate::world::World;

const TAB: &str = "Transactions";
/// Where the id column and the owner's own column are.
const ID: usize = 11;
const MINE: usize = 12;
const LOOK: &str = "values:batchGetByDataFilter";
const WRITE: &str = ":batchUpdate";

/// What the owner does in that instant. Our row is the third: it stands at index 3.
type Move = fn(&mut Spreadsheet);

const MOVES: [(&str, Move); 6] = [
    ("sorts", |book| book.sort_by_column(TAB, ID, true)),
    ("inserts a row above", |book| book.insert_row(TAB, 1)),
    ("inserts a row right there", |book| book.insert_row(TAB, 3)),
    ("deletes a row above", |book| book.delete_row(TAB, 1)),
    ("drags our row to the end", |book| book.move_row(TAB, 3, 6)),
    ("deletes our row", |book| book.delete_row(TAB, 3)),
];

fn text(text: &str) -> CellValue {
    CellValue::Text(text.into())
}

fn nobody() -> Watcher {
    Arc::new(|_| {})
}

/// Six rows, with a word of the owner's beside each.
async fn world(sheets: &str) -> World {
    let mut bank = Bank::small();
    bank.customers[0].accounts.truncate(1);
    let account = &mut bank.customers[0].accounts[0];
    account.entries.clear();
    for n in 1..=6 {
        let time = (Utc::now() - chrono::TimeDelta::seconds(60 - n)).with_timezone(&chrono_tz::Europe::Sofia);
        account.entries.push(Entry {
            number: 900_000_000 + n as u64,
            time: time.fixed_offset(),
            value_date: time.date_naive(),
            amount: rust_decimal::Decimal::new(-100 * n, 2),
            counterparty: format!("ПОЛУЧАТЕЛ {n}"),
            ..Entry::default()
        });
    }
    let mut world = World::new(bank).await;
    world.extra[1] = format!("balances_tab = false\ndashboard_tab = false\n{sheets}\n");
    world.write_config();
    assert_eq!(world.cycle().await.exit_status(), 0);
    world.google.edit(&world.spreadsheet, |book| {
        book.set_cell(TAB, 0, MINE, text("Mine"));
        for row in 1..=6 {
            let CellValue::Text(id) = book.rows(TAB)[row][ID].clone() else { panic!() };
            book.set_cell(TAB, row, MINE, text(&format!("beside {id}")));
        }
    });
    world
}

/// After so many looks at the sheet the owner acts.
fn meanwhile(world: &World, looks: u32, act: Move) {
    let (google, id) = (world.google.clone(), world.spreadsheet.clone());
    let inner = world.google.clone();
    if looks > 1 {
        world.google.server.meanwhile(LOOK, move || {
            inner.server.meanwhile(LOOK, move || google.edit(&id, act));
        });
    } else {
        world.google.server.meanwhile(LOOK, move || google.edit(&id, act));
    }
}

fn change(world: &World, n: u64, change: impl FnOnce(&mut Entry)) {
    world.bank.edit(|bank| {
        let mut entries = bank.customers[0].accounts[0].entries.iter_mut();
        change(entries.find(|entry| entry.number == 900_000_000 + n).unwrap());
    });
}

fn vanish(world: &World, n: u64) {
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.retain(|entry| entry.number != 900_000_000 + n));
}

/// A row of the sheet that has an id: payee, category, the owner's word, and whether it is struck through.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    payee: String,
    category: String,
    mine: String,
    struck: bool,
}

fn seen(world: &World) -> BTreeMap<u64, Seen> {
    world.google.read(&world.spreadsheet, |book| {
        let tab = book.tab(TAB).unwrap();
        let said = |row: usize, column: usize| match tab.value(row, column) {
            CellValue::Text(text) => text.clone(),
            CellValue::Empty => String::new(),
            other => panic!("{other:?}"),
        };
        let mut rows = BTreeMap::new();
        for row in 1..tab.used_rows() {
            let id = said(row, ID);
            let struck = |column: usize| {
                let format = tab.cell(row, column).and_then(|cell| cell.format());
                format.is_some_and(|format| format["textFormat"]["strikethrough"] == true)
            };
            assert_eq!(struck(0), struck(ID), "row {row} is struck through in part");
            let row = Seen { payee: said(row, 3), category: said(row, 5), mine: said(row, MINE), struck: struck(0) };
            let Some((_, number)) = id.rsplit_once(':') else {
                assert!(id.is_empty(), "{id}");
                assert_eq!(row, Seen { payee: "".into(), category: "".into(), mine: "".into(), struck: row.struck });
                continue;
            };
            let number = number.parse::<u64>().unwrap() - 900_000_000;
            assert!(rows.insert(number, row).is_none(), "{number} is there twice");
        }
        rows
    })
}

/// What should be there, had nobody interfered. Rows that were put back have lost the owner's word.
fn wanted(world: &World, gone: &[u64]) -> BTreeMap<u64, Seen> {
    let iban = world.bank.edit(|bank| bank.customers[0].accounts[0].iban.clone());
    let all = (1..=6).filter(|n| !gone.contains(n)).map(|n| {
        let mine = format!("beside fibank:{iban}:{}", 900_000_000 + n);
        let seen = Seen { payee: format!("ПОЛУЧАТЕЛ {n}"), category: String::new(), mine, struck: false };
        (n, seen)
    });
    all.collect()
}

/// The row that a move deletes.
fn deleted(what: &str) -> Vec<u64> {
    match what {
        "deletes a row above" => vec![1],
        "deletes our row" => vec![3],
        _ => vec![],
    }
}

fn assert_fine(report: &Report, what: &str) {
    assert_eq!(report.exit_status(), 0, "{what}: {report:?}");
}

/// Nothing is left to be done: another cycle sends nothing and a read-back finds nothing.
async fn assert_calm(world: &World, what: &str) {
    world.clear_logs();
    assert_fine(&world.cycle().await, what);
    assert_eq!(world.google.server.requests(), 0, "{what}");
    let verified = world.engine().verify(&Verification::default(), &nobody()).await.unwrap();
    assert!(verified[0].different.is_empty() && verified[0].doubled.is_empty(), "{what}: {verified:?}");
}

#[tokio::test]
async fn a_correction_reaches_its_row_and_no_other() {
    for (what, act) in MOVES {
        let world = world("").await;
        change(&world, 3, |entry| entry.counterparty = "ПОПРАВЕН".into());
        meanwhile(&world, 1, act);
        assert_fine(&world.cycle().await, what);
        let mut wanted = wanted(&world, &deleted(what));
        wanted.entry(3).and_modify(|row| row.payee = "ПОПРАВЕН".into());
        assert_eq!(seen(&world), wanted, "{what}");
        assert_calm(&world, what).await;
    }
}

#[tokio::test]
async fn the_row_that_is_struck_through_is_the_one_that_was_taken_back() {
    for (what, act) in MOVES {
        let world = world("vanished = \"mark\"").await;
        vanish(&world, 3);
        meanwhile(&world, 1, act);
        assert_fine(&world.cycle().await, what);
        let mut wanted = wanted(&world, &deleted(what));
        wanted.entry(3).and_modify(|row| row.struck = true);
        assert_eq!(seen(&world), wanted, "{what}");
        assert_calm(&world, what).await;
    }
}

#[tokio::test]
async fn the_row_that_is_deleted_is_the_one_that_was_taken_back() {
    for (what, act) in MOVES {
        let world = world("vanished = \"delete\"").await;
        vanish(&world, 3);
        meanwhile(&world, 1, act);
        assert_fine(&world.cycle().await, what);
        let (found, mut wanted) = (seen(&world), wanted(&world, &[vec![3], deleted(what)].concat()));
        // What stood beside a row that was deleted by mistake is lost.
        for (n, row) in &found {
            wanted.entry(*n).and_modify(|wanted| {
                if row.mine.is_empty() {
                    wanted.mine.clear();
                }
            });
        }
        assert_eq!(found, wanted, "{what}");
        assert!(found.values().filter(|row| row.mine.is_empty()).count() <= 1, "{what}");
        assert_calm(&world, what).await;
    }
}

#[tokio::test]
async fn what_rules_say_reaches_its_row_and_no_other() {
    for (what, act) in MOVES {
        let mut world = world("").await;
        world.extra[2] = "[[rule]]\nwhen = { counterparty = \"ПОЛУЧАТЕЛ 3\" }\nset = { category = \"Трето\" }\n".into();
        world.write_config();
        meanwhile(&world, 2, act);
        assert_fine(&world.cycle().await, what);
        let mut wanted = wanted(&world, &deleted(what));
        wanted.entry(3).and_modify(|row| row.category = "Трето".into());
        assert_eq!(seen(&world), wanted, "{what}");
        assert_calm(&world, what).await;
    }
}

#[tokio::test]
async fn a_repair_reaches_its_row_and_no_other() {
    for (what, act) in MOVES {
        let world = world("").await;
        world.google.edit(&world.spreadsheet, |book| book.set_cell(TAB, 3, 3, text("чуждо")));
        // The read-back is the first look.
        meanwhile(&world, 2, act);
        let request = Verification { destinations: Some(vec!["household".into()]), repair: true };
        let verified = world.engine().verify(&request, &nobody()).await.unwrap();
        assert!(verified[0].error.is_none(), "{what}: {verified:?}");
        assert_eq!(seen(&world), wanted(&world, &deleted(what)), "{what}");
        assert_calm(&world, what).await;
    }
}

#[tokio::test]
async fn nothing_more_is_asked_where_nobody_interferes() {
    let world = world("").await;
    change(&world, 3, |entry| entry.counterparty = "ПОПРАВЕН".into());
    world.clear_logs();
    assert_fine(&world.cycle().await, "calm");
    let log = world.google.server.log();
    let asked: Vec<&str> = log.iter().map(|one| one.target.rsplit('/').next().unwrap()).collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    let answer = "updatedSpreadsheet.sheets.data(startRow,rowData.values.effectiveValue";
    assert!(asked[3].contains(answer), "{asked:?}");
}

#[tokio::test]
async fn where_google_gives_no_ids_along_with_a_write_they_are_read_after_it() {
    for (what, act) in MOVES {
        let world = world("").await;
        change(&world, 3, |entry| entry.counterparty = "ПОПРАВЕН".into());
        meanwhile(&world, 1, act);
        let said = r#"{"error": {"code": 400, "message": "The response is too large.", "status": "INVALID_ARGUMENT"}}"#;
        world.google.server.fail_next(WRITE, Fault::Status(400, said.into()));
        assert_fine(&world.cycle().await, what);
        let mut wanted = wanted(&world, &deleted(what));
        wanted.entry(3).and_modify(|row| row.payee = "ПОПРАВЕН".into());
        assert_eq!(seen(&world), wanted, "{what}");
        assert_calm(&world, what).await;
    }
}

/// What happens in the first half of a case: the bank's doing, and how many looks pass before the owner acts.
type Doing = (&'static str, &'static str, u32, fn(&mut World));

const DOINGS: [Doing; 4] = [
    ("corrected", "", 1, |world| change(world, 3, |entry| entry.counterparty = "ПОПРАВЕН".into())),
    ("marked", "vanished = \"mark\"", 1, |world| vanish(world, 3)),
    ("deleted", "vanished = \"delete\"", 1, |world| vanish(world, 3)),
    ("filled", "", 2, |world| {
        world.extra[2] = "[[rule]]\nwhen = { counterparty = \"ПОЛУЧАТЕЛ 3\" }\nset = { category = \"Трето\" }\n".into();
        world.write_config();
    }),
];

/// What the third row is by then.
fn done(doing: &str, wanted: &mut BTreeMap<u64, Seen>) {
    let Some(row) = wanted.get_mut(&3) else { return };
    match doing {
        "corrected" => row.payee = "ПОПРАВЕН".into(),
        "marked" => row.struck = true,
        "filled" => row.category = "Трето".into(),
        _ => drop(wanted.remove(&3)),
    }
}

/// As wanted, but for what stood beside one row at most that was deleted by mistake.
fn assert_seen(world: &World, mut wanted: BTreeMap<u64, Seen>, what: &str) {
    let found = seen(world);
    let bare: Vec<u64> = found.iter().filter(|(_, row)| row.mine.is_empty()).map(|(n, _)| *n).collect();
    assert!(bare.len() <= 1, "{what}: {found:?}");
    wanted.iter_mut().filter(|(n, _)| bare.contains(n)).for_each(|(_, row)| row.mine.clear());
    assert_eq!(found, wanted, "{what}");
}

#[tokio::test]
async fn a_lost_answer_hides_nothing_that_went_astray() {
    for (doing, sheets, looks, act) in DOINGS {
        for (what, moves) in MOVES {
            let what = format!("{doing}, {what}");
            let mut world = world(sheets).await;
            act(&mut world);
            meanwhile(&world, looks, moves);
            world.google.server.fail_next(WRITE, Fault::ApplyThenDrop);
            assert_fine(&world.cycle().await, &what);
            assert!(!world.google.server.faults_left(), "{what}");
            let mut wanted = wanted(&world, &deleted(what.split_once(", ").unwrap().1));
            done(doing, &mut wanted);
            assert_seen(&world, wanted, &what);
            assert_calm(&world, &what).await;
        }
    }
}

/// The process dies before it learns of the answer: the next one knows no more than which rows were written to.
#[tokio::test]
async fn what_went_astray_is_found_by_the_next_process() {
    for (doing, sheets, looks, act) in DOINGS {
        for (what, moves) in MOVES {
            // What stands in a row without an id is not read back, nor is what rules say; and of absent rows nobody can say
            // by then which of them the owner has deleted.
            let unknown = doing == "corrected" && what == "inserts a row right there"
                || doing == "deleted" && what.starts_with("deletes")
                || doing == "filled";
            if unknown {
                continue;
            }
            let what = format!("{doing}, {what}");
            let mut world = world(sheets).await;
            act(&mut world);
            meanwhile(&world, looks, moves);
            // From the write on nothing gets through.
            world.google.server.fail_next(WRITE, Fault::ApplyThenDrop);
            let google = world.google.clone();
            world.google.server.meanwhile(WRITE, move || {
                google.server.fail("", 0, u32::MAX, Fault::Status(503, String::new()));
            });
            assert_eq!(world.cycle().await.exit_status(), 1, "{what}");
            world.google.server.heal();
            assert_fine(&world.cycle().await, &what);
            let mut wanted = wanted(&world, &deleted(what.split_once(", ").unwrap().1));
            done(doing, &mut wanted);
            assert_seen(&world, wanted, &what);
            assert_calm(&world, &what).await;
        }
    }
}
