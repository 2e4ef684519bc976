//! A test for every thing an owner may have in the tab: with it and without it our rows are the same, in the same
//! order, and it stays as he left it.

use super::*;
use crate::simulator::google::{Location, Sheet, Spreadsheet};

fn text(text: &str) -> CellValue {
    CellValue::Text(text.into())
}

/// New rows, a correction, a row taken back, one that the owner deletes, and new rows again.
async fn live(order: Order, hazard: impl Fn(&mut Spreadsheet)) -> Bench {
    let mut bench = Bench::new().await;
    bench.config.order = order;
    bench.cycle(&new(1..=4)).await.unwrap();
    bench.edit(hazard);
    bench.cycle(&new(5..=6)).await.unwrap();
    bench.cycle(&[corrected(3), late(1, MARK)]).await.unwrap();
    let second = text(&transaction(2).row.id);
    let id = column(&bench, "id");
    let row = bench.google.read(&bench.id, |book| {
        let tab = book.tab(TAB).unwrap();
        (1..tab.used_rows()).find(|row| *tab.value(*row, id) == second).unwrap()
    });
    bench.edit(|book| book.delete_row(TAB, row));
    assert_eq!(bench.cycle(&[corrected(2), corrected(5)]).await.unwrap(), [Verdict::Deleted, Verdict::Updated]);
    bench.cycle(&new(7..=8)).await.unwrap();
    // And one that is too many to carry its formats.
    bench.cycle(&new(9..=520)).await.unwrap();
    bench
}

/// The position of a field's column.
fn column(bench: &Bench, field: &str) -> usize {
    let is = |value: &Option<String>| value.as_ref().is_some_and(|value| value.contains(&format!("\"{field}\"")));
    bench.google.read(&bench.id, |book| {
        let entry = book.metadata().iter().find(|entry| entry.key == metadata::COLUMN_KEY && is(&entry.value)).unwrap();
        let Location::Column(_, at) = entry.location else { panic!("{entry:?}") };
        at
    })
}

/// Our cells of the rows that have an id, from top to bottom, with what tells a date and a row taken back.
fn ours(bench: &Bench) -> Vec<String> {
    let places: Vec<usize> =
        ["id", "date", "amount", "currency", "counterparty", "description", "reference", "balance"]
            .iter()
            .map(|field| column(bench, field))
            .collect();
    bench.google.read(&bench.id, |book| {
        let tab = book.tab(TAB).unwrap();
        let show = |row: usize| {
            let cells: Vec<&CellValue> = places.iter().map(|at| tab.value(row, *at)).collect();
            let date = tab.cell(row, places[1]).unwrap();
            let struck = date.format().is_some_and(|format| format["textFormat"]["strikethrough"] == true);
            format!("{cells:?} {:?} {struck}", date.number_format())
        };
        (1..tab.used_rows()).filter(|row| *tab.value(*row, places[0]) != CellValue::Empty).map(show).collect()
    })
}

/// Our rows where the owner has nothing in the tab.
async fn calm(order: Order) -> &'static [String] {
    static CALM: tokio::sync::OnceCell<[Vec<String>; 2]> = tokio::sync::OnceCell::const_new();
    let both = async || {
        let one = async |order| ours(&live(order, |_| {}).await);
        [one(Order::OldestFirst).await, one(Order::NewestFirst).await]
    };
    &CALM.get_or_init(both).await[usize::from(order == Order::NewestFirst)]
}

/// Lives with the hazard and without; `is_left` looks at what the owner has.
async fn survives(hazard: impl Fn(&mut Spreadsheet), is_left: impl Fn(&Sheet, Order) -> bool) {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let beset = live(order, &hazard).await;
        let (wanted, found) = (calm(order).await, ours(&beset));
        assert_eq!(wanted.len(), 519);
        assert!(wanted == found, "{order:?}: {:?}", wanted.iter().zip(&found).find(|(wanted, found)| wanted != found));
        beset.google.read(&beset.id, |book| assert!(is_left(book.tab(TAB).unwrap(), order), "{order:?}"));
    }
}

/// Rows that came on top of what the owner had.
fn above(order: Order) -> usize {
    if order == Order::NewestFirst { 516 } else { 0 }
}

#[tokio::test]
async fn an_active_filter() {
    let filtered = |book: &mut Spreadsheet| book.set_filter(TAB, 2, &["EUR"]);
    survives(filtered, |tab, _| (1..520).all(|row| tab.row_hidden(row))).await;
}

#[tokio::test]
async fn a_filter_over_some_of_our_rows_and_columns() {
    let part = |book: &mut Spreadsheet| {
        let area = Area { top: 2, bottom: 4, left: 1, right: 3, ..book.tab(TAB).unwrap().whole() };
        book.set_filter_over(TAB, area, 2, &["EUR"]);
    };
    survives(part, |tab, order| tab.filter_area().unwrap().top == 2 + above(order)).await;
}

#[tokio::test]
async fn a_filter_view() {
    let view = |book: &mut Spreadsheet| {
        let area = Area { bottom: 5, ..book.tab(TAB).unwrap().whole() };
        book.set_filter_view(TAB, "mine", area, 11, &["no such id"]);
    };
    survives(view, |tab, _| tab.seen_through("mine").is_some_and(|rows| !rows.is_empty())).await;
}

#[tokio::test]
async fn colours() {
    let coloured = |book: &mut Spreadsheet| {
        for at in 0..14 {
            book.colour(TAB, 4, at, 0.5);
            book.colour(TAB, 700, at, 0.5);
        }
    };
    let shade =
        |tab: &Sheet, row: usize| tab.cell(row, 13).and_then(|cell| cell.format()?["backgroundColor"]["red"].as_f64());
    survives(coloured, |tab, order| order == Order::NewestFirst || shade(tab, 3) == Some(0.5)).await;
}

#[tokio::test]
async fn notes() {
    let noted = |book: &mut Spreadsheet| {
        book.set_note(TAB, 4, 0, "about it");
        book.set_note(TAB, 900, 3, "far below");
    };
    survives(noted, |tab, _| {
        let notes = tab.rows.iter().flat_map(|row| row.cells.iter().filter_map(|cell| cell.note()));
        notes.collect::<Vec<_>>() == ["about it", "far below"]
    })
    .await;
}

#[tokio::test]
async fn stray_cells_far_below() {
    let stray = |book: &mut Spreadsheet| {
        book.set_cell(TAB, 600, 1, text("a sum, one day"));
        book.set_cell(TAB, 700, 14, CellValue::Formula("=SUM(B1:B10)".into()));
    };
    survives(stray, |tab, order| {
        let find = |wanted: &CellValue| {
            (0..tab.used_rows()).find(|row| [1, 14].iter().any(|at| tab.value(*row, *at) == wanted))
        };
        // The row that the owner deleted is above.
        find(&text("a sum, one day")) == Some(599 + above(order))
            && find(&CellValue::Formula("=SUM(B1:B10)".into())) == Some(699 + above(order))
    })
    .await;
}

#[tokio::test]
async fn an_array_formula_among_our_columns() {
    let formula = || CellValue::Formula("=ARRAYFORMULA(B1:B*2)".into());
    let filled = |book: &mut Spreadsheet| {
        book.insert_column(TAB, 2);
        book.set_cell(TAB, 0, 2, formula());
    };
    // A value in it, even an empty one, would break it.
    survives(filled, |tab, _| {
        *tab.value(0, 2) == formula() && (1..tab.used_rows()).all(|row| *tab.value(row, 2) == CellValue::Empty)
    })
    .await;
}

#[tokio::test]
async fn merged_cells() {
    let merged = |book: &mut Spreadsheet| {
        book.insert_column(TAB, 5);
        book.merge(TAB, 3, 5, 2, 1);
    };
    // Under the newest it is the row of the second that goes, one of the two merged.
    let height = |order: Order| if order == Order::NewestFirst { 1 } else { 2 };
    survives(merged, |tab, order| tab.merges.len() == 1 && tab.merges[0].bottom - tab.merges[0].top == height(order))
        .await;
}

#[tokio::test]
async fn a_hidden_tab_with_hidden_columns() {
    let hidden = |book: &mut Spreadsheet| {
        book.hide_tab(TAB, true);
        book.hide_column(TAB, 11);
    };
    survives(hidden, |tab, _| tab.hidden && tab.columns[&11].hidden_by_user).await;
}

#[tokio::test]
async fn a_grid_that_is_full() {
    survives(|book| book.trim(TAB), |tab, _| tab.row_count == 520).await;
}

#[tokio::test]
async fn protected_ranges_elsewhere() {
    // The ranges that are protected against us are the owner's own: a column beside ours, and a row of his far below.
    let protected = |book: &mut Spreadsheet| {
        book.set_cell(TAB, 900, 13, text("mine"));
        book.protect_columns(TAB, 13, 14);
    };
    let left =
        |tab: &Sheet| tab.rows.iter().any(|row| row.cells.get(13).is_some_and(|cell| cell.value == text("mine")));
    survives(protected, |tab, _| tab.protected.len() == 1 && left(tab)).await;
}
