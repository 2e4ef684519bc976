//! Contents of the owner beside our cells: they stay untouched, and no row is lost or misplaced for them.

use super::*;

fn text(text: &str) -> CellValue {
    CellValue::Text(text.into())
}

/// The ids in their order, where there may be gaps between them.
fn found(bench: &Bench) -> Vec<String> {
    bench.ids().into_iter().filter(|id| !id.is_empty()).collect()
}

/// Everything in the tab.
fn rows(bench: &Bench) -> Vec<Vec<CellValue>> {
    bench.google.read(&bench.id, |book| book.rows(TAB))
}

#[tokio::test]
async fn formulas_merges_colours_and_notes_stay_where_they_are() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut bench = Bench::new().await;
        bench.config.order = order;
        bench.cycle(&new(1..=3)).await.unwrap();
        bench.edit(|book| {
            book.insert_column(TAB, 2);
            // A formula fills the whole column: a value of ours in it would break it.
            book.set_cell(TAB, 0, 2, CellValue::Formula("=ARRAYFORMULA(B1:B*2)".into()));
            book.insert_column(TAB, 5);
            book.set_cell(TAB, 0, 5, text("Mine"));
            book.set_cell(TAB, 2, 5, text("beside the second"));
            book.merge(TAB, 2, 5, 2, 1);
            book.set_note(TAB, 3, 0, "about the last");
            if order == Order::OldestFirst {
                book.colour(TAB, 3, 0, 0.5);
            }
            book.hide_column(TAB, 4);
            book.hide_tab(TAB, true);
            book.set_filter(TAB, 3, &["EUR"]);
        });
        bench.cycle(&new(4..=5)).await.unwrap();
        bench.cycle(&[corrected(3), late(1, MARK)]).await.unwrap();
        let ids: Vec<String> = match order {
            Order::OldestFirst => ids_of(1..=5),
            Order::NewestFirst => ids_of(1..=5).into_iter().rev().collect(),
        };
        assert_eq!(bench.ids(), ids, "{order:?}");
        bench.google.read(&bench.id, |book| {
            let tab = book.tab(TAB).unwrap();
            let below = if order == Order::NewestFirst { 2 } else { 0 };
            assert_eq!(*tab.value(0, 2), CellValue::Formula("=ARRAYFORMULA(B1:B*2)".into()));
            assert!((1..tab.used_rows()).all(|row| *tab.value(row, 2) == CellValue::Empty), "{order:?}");
            let mine: Vec<(usize, &CellValue)> = (1..tab.used_rows())
                .map(|row| (row, tab.value(row, 5)))
                .filter(|(_, cell)| **cell != CellValue::Empty)
                .collect();
            assert_eq!(mine, [(2 + below, &text("beside the second"))], "{order:?}");
            let merge = &tab.merges[0];
            assert_eq!((tab.merges.len(), merge.top, merge.bottom), (1, 2 + below, 4 + below), "{order:?}");
            let noted = tab.cell(3 + below, 0).unwrap();
            assert_eq!(noted.note(), Some("about the last"));
            assert!(order == Order::NewestFirst || noted.format().unwrap()["backgroundColor"]["red"] == 0.5);
            assert!(tab.hidden && tab.columns[&4].hidden_by_user && tab.filter_area().is_some(), "{order:?}");
        });
    }
}

/// The owner's words beside transactions, by their ids.
fn beside(bench: &Bench, column: usize) -> Vec<(String, CellValue)> {
    let (ids, words) = (bench.ids(), bench.column(TAB, column));
    ids.into_iter().zip(words.into_iter().skip(1)).filter(|(_, word)| *word != CellValue::Empty).collect()
}

#[tokio::test]
async fn filters_and_views_hide_and_sort_and_no_row_is_lost_or_misplaced() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut bench = Bench::new().await;
        bench.config.order = order;
        bench.cycle(&new(1..=4)).await.unwrap();
        let second = bench.ids()[1].clone();
        bench.edit(|book| {
            book.set_cell(TAB, 0, 12, text("Mine"));
            book.set_cell(TAB, 2, 12, text("beside it"));
            // The filter that was made with the tab now hides every row of ours, those to come as well.
            let area = book.tab(TAB).unwrap().filter_area().unwrap();
            book.set_filter_over(TAB, area, 2, &["EUR"]);
            // And a view ends where the rows end now.
            book.set_filter_view(TAB, "mine", Area { bottom: 5, ..area }, 2, &["EUR"]);
        });
        assert!(bench.google.read(&bench.id, |book| book.tab(TAB).unwrap().row_hidden(1)));
        bench.cycle(&new(5..=7)).await.unwrap();
        bench.edit(|book| book.sort_by_filter(TAB, 11, order == Order::OldestFirst));
        bench.cycle(&[corrected(2), late(6, MARK)]).await.unwrap();
        bench.cycle(&new(8..=9)).await.unwrap();
        let mut ids = bench.ids();
        let (fresh, old) = match order {
            Order::OldestFirst => (ids.split_off(7), ids),
            Order::NewestFirst => (ids.drain(..2).rev().collect(), ids),
        };
        let mut sorted = ids_of(1..=7);
        if order == Order::OldestFirst {
            sorted.reverse();
        }
        assert_eq!((old, fresh), (sorted, ids_of(8..=9)), "{order:?}");
        assert_eq!(beside(&bench, 12), [(second, text("beside it"))], "{order:?}: sorted along");
        bench.google.read(&bench.id, |book| {
            let tab = book.tab(TAB).unwrap();
            let row = |id: &str| (1..10).find(|row| *tab.value(*row, 11) == text(id)).unwrap();
            let (two, six) = (row(&transaction(2).row.id), row(&transaction(6).row.id));
            assert_eq!(*tab.value(two, 4), text("corrected"), "{order:?}");
            assert!(tab.cell(six, 0).unwrap().format().unwrap()["textFormat"]["strikethrough"] == true, "{order:?}");
            let grown = if order == Order::NewestFirst { 5 } else { 0 };
            assert_eq!(tab.filter_views[0].area.bottom, 5 + grown, "{order:?}");
            assert!((1..10).all(|row| tab.row_hidden(row)), "{order:?}: the owner's filter goes on filtering");
        });
        bench.edit(|book| {
            book.clear_filter(TAB);
            book.delete_filter_view(TAB, "mine");
        });
        bench.cycle(&new(10..=10)).await.unwrap();
        assert_eq!(bench.ids().len(), 10, "{order:?}");
    }
}

#[tokio::test]
async fn stray_cells_far_below_are_never_written_over() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    bench.edit(|book| {
        book.set_cell(TAB, 500, 1, text("a sum, one day"));
        book.set_cell(TAB, 999, 30, text("at the very end"));
    });
    bench.cycle(&new(3..=4)).await.unwrap();
    assert_eq!(found(&bench), ids_of(1..=4));
    let rows = rows(&bench);
    assert_eq!((&rows[500][1], &rows[999][30]), (&text("a sum, one day"), &text("at the very end")));
    assert_eq!(rows[1000][11], text(&transaction(3).row.id), "below what is there, never into it");
    bench.google.read(&bench.id, |book| {
        assert_eq!(book.tab(TAB).unwrap().cell(1001, 0).unwrap().number_format(), Some(("DATE", "yyyy-mm-dd")));
    });
}

#[tokio::test]
async fn a_full_grid_grows() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    bench.edit(|book| {
        book.trim(TAB);
        book.insert_column(TAB, 3);
        book.set_cell(TAB, 0, 3, text("Mine"));
    });
    bench.cycle(&new(3..=5)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=5));
}

#[tokio::test]
async fn many_rows_get_their_formats_whatever_the_owner_did_to_the_rows_they_land_in() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    bench.edit(|book| {
        // The whole column gets another date format, money as text, a colour, and rows added by hand.
        book.trim(TAB);
        book.add_rows(TAB, 40);
        book.format_column(TAB, 0, "DATE", "dd.mm.yyyy");
        book.format_column(TAB, 1, "TEXT", "");
        (1..44).for_each(|row| book.colour(TAB, row, 1, 0.5));
        book.add_rows(TAB, 400);
    });
    bench.google.server.clear_log();
    bench.cycle(&new(4..=1_300)).await.unwrap();
    assert_eq!(bench.asked().len(), 4, "token, search, the ids, rows: {:?}", bench.asked());
    bench.cycle(&new(1_301..=2_000)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=2_000));
    bench.google.read(&bench.id, |book| {
        let tab = book.tab(TAB).unwrap();
        let format = |row: usize, column: usize| tab.cell(row, column).and_then(|cell| cell.number_format());
        for row in 4..=2_000 {
            assert_eq!(format(row, 0), Some(("DATE", "yyyy-mm-dd")), "row {row}");
            assert_eq!(
                [format(row, 1), format(row, 8)],
                [Some(("NUMBER", SIGNED)), Some(("NUMBER", "#,##0.00"))],
                "row {row}"
            );
        }
        assert_eq!([format(1, 0), format(3, 1)], [Some(("DATE", "dd.mm.yyyy")), Some(("TEXT", ""))], "his choice");
        assert!((1..44).all(|row| tab.cell(row, 1).unwrap().format().unwrap()["backgroundColor"]["red"] == 0.5));
        assert!(tab.row_count < 2_050, "{} rows: empty ones count, too", tab.row_count);
    });
}

#[tokio::test]
async fn newest_first_is_as_safe_as_below() {
    let faults = [
        Fault::Drop,
        Fault::ApplyThenDrop,
        Fault::CutBody,
        Fault::Status(503, String::new()),
        Fault::ApplyThenStatus(500, "<html></html>".into()),
        Fault::Late(Duration::from_millis(60)),
    ];
    for fault in faults {
        let mut bench = Bench::new().await;
        bench.config.order = Order::NewestFirst;
        bench.cycle(&new(1..=2)).await.unwrap();
        bench.edit(|book| book.set_cell(TAB, 1, 13, text("mine")));
        bench.google.server.fail_next(WRITE, fault.clone());
        bench.cycle(&new(3..=5)).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        bench.cycle(&new(6..=6)).await.unwrap();
        if matches!(fault, Fault::Late(_)) {
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        assert_eq!(bench.ids(), ids_of(1..=6).into_iter().rev().collect::<Vec<_>>(), "{fault:?}");
        assert_eq!(rows(&bench)[5][13], text("mine"), "{fault:?}: it stands beside the second transaction");
    }
}

#[tokio::test]
async fn a_protected_range_is_named_and_nothing_is_lost_for_it() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut bench = Bench::new().await;
        bench.config.order = order;
        bench.cycle(&new(1..=2)).await.unwrap();
        bench.edit(|book| book.protect(TAB, 0, 1_000));
        let error = bench.cycle(&new(3..=3)).await.unwrap_err();
        assert_eq!(error.cause(), Some(Cause::NotPermitted), "{error}");
        assert!(error.message.contains("a protected range stands in the way: allow bankfeed@"), "{error}");
        bench.edit(|book| book.unprotect(TAB));
        bench.cycle(&new(3..=3)).await.unwrap();
        let mut ids = bench.ids();
        ids.sort();
        assert_eq!(ids, ids_of(1..=3));
    }
}

#[tokio::test]
async fn a_spreadsheet_that_fills_up_is_told_in_time_and_waits_when_full() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    assert!(!bench.sheets().check().await.unwrap().join("\n").contains("10000000"));
    assert_eq!(bench.sheets().state().notes, Vec::<String>::new());
    bench.edit(|book| book.sheets[0].row_count = 9_383_900 / 26);
    let said = bench.sheets().check().await.unwrap().join("\n");
    let warning =
        "the spreadsheet has 93 % of the 10000000 cells that Google allows, empty ones included: delete empty rows";
    assert!(said.contains(warning), "{said}");
    // The answer to new rows tells it, without a request for that, and the next process knows it still.
    bench.google.server.clear_log();
    bench.cycle(&new(3..=3)).await.unwrap();
    assert_eq!(bench.asked(), STEADY);
    let notes = bench.sheets().state().notes;
    assert!(notes.len() == 1 && notes[0].starts_with(warning), "{notes:?}");
    // Every row is used, so that the next one needs a cell more than there may be.
    bench.edit(|book| {
        book.set_cell(TAB, 999, 0, text("mine"));
        book.sheets[0].row_count = (10_000_000 - 16_000) / 26;
    });
    let error = bench.cycle(&new(4..=4)).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Quota), "{error}");
    assert!(error.message.contains("delete empty rows, columns and tabs, or move older rows"), "{error}");
    assert_eq!(found(&bench), ids_of(1..=3));
    bench.edit(|book| book.sheets[0].row_count = 100);
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(found(&bench), ids_of(1..=4));
    assert_eq!(bench.sheets().state().notes, Vec::<String>::new(), "there is room again");
}

#[tokio::test]
async fn headers_matter_only_where_nothing_else_tells() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    // Bound by their notes, columns may be called anything.
    bench.edit(|book| {
        book.set_cell(TAB, 0, 1, CellValue::Empty);
        book.set_cell(TAB, 0, 4, text("Transaction ID"));
    });
    bench.google.server.clear_log();
    bench.cycle(&new(3..=3)).await.unwrap();
    assert_eq!(bench.asked(), STEADY);
    // Without notes (another program removed them) two columns of one name are a question for the owner.
    bench.edit(|book| {
        book.delete_metadata(metadata::COLUMN_KEY);
        book.delete_metadata(metadata::TAB_KEY);
    });
    let before = rows(&bench);
    let error = bench.cycle(&new(4..=4)).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Layout));
    assert!(error.message.ends_with("has two columns headed `Transaction ID` (E and L): rename one"), "{error}");
    assert_eq!(rows(&bench), before, "nothing was written");
    bench.edit(|book| book.set_cell(TAB, 0, 4, text("Description")));
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(bench.ids(), ids_of(1..=4));
}
