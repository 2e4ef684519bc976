//! Duplicates of our tab: rows go to the one that is ours, whether developer metadata is copied with a tab or not.

use super::*;
use crate::simulator::google::Copied;

const COPY: &str = "Copy of Transactions";

/// The ids in one tab.
fn ids_in(bench: &Bench, tab: &str) -> Vec<String> {
    let rows = bench.google.read(&bench.id, |book| book.rows(tab));
    let at = rows[0].iter().position(|cell| *cell == CellValue::Text("Transaction ID".into())).unwrap();
    let text = |row: &Vec<CellValue>| match row.get(at) {
        Some(CellValue::Text(text)) => text.clone(),
        other => panic!("no id: {other:?}"),
    };
    rows[1..].iter().map(text).collect()
}

#[tokio::test]
async fn a_duplicate_gets_no_rows_while_the_original_is_there() {
    for copied in [Copied::No, Copied::NewIds] {
        let mut bench = Bench::new().await;
        bench.cycle(&new(1..=3)).await.unwrap();
        bench.edit(|book| {
            assert_eq!(book.duplicate_tab(TAB, copied), COPY);
            // The owner goes on in the original, which need not be the first or look like it any more.
            book.move_column(TAB, 11, 0);
            book.insert_column(COPY, 0);
            book.sort_by_column(COPY, 12, true);
        });
        let before = bench.google.read(&bench.id, |book| book.tab(COPY).unwrap().clone());
        bench.google.server.clear_log();
        bench.cycle(&new(4..=4)).await.unwrap();
        assert_eq!(bench.asked(), STEADY, "{copied:?}: it costs nothing");
        bench.cycle(&[corrected(2), late(1, MARK)]).await.unwrap();
        // A lost store asks the original what is there.
        (bench.memory, bench.number) = (Vec::new(), 0);
        let mut sheets = bench.sheets();
        assert_eq!(sheets.open(None).await.unwrap().last_batch, 3);
        assert_eq!(ids(&mut sheets).await, ids_of(1..=4), "{copied:?}");
        bench.cycle(&new(5..=5)).await.unwrap();
        assert_eq!(ids_in(&bench, TAB), ids_of(1..=5), "{copied:?}");
        assert_eq!(bench.google.read(&bench.id, |book| book.tab(COPY).unwrap().clone()), before, "{copied:?}");
    }
}

#[tokio::test]
async fn a_duplicate_takes_the_place_of_a_deleted_original() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    bench.edit(|book| {
        book.delete_column(TAB, 2);
        book.set_cell(TAB, 0, 0, CellValue::Text("Day".into()));
    });
    bench.cycle(&new(4..=4)).await.unwrap();
    bench.edit(|book| {
        book.duplicate_tab(TAB, Copied::NewIds);
        book.delete_tab(TAB);
        book.rename_tab(COPY, "2026");
    });
    let before = bench.google.read(&bench.id, |book| book.rows("2026")[0].clone());
    bench.cycle(&new(5..=5)).await.unwrap();
    assert_eq!(bench.google.read(&bench.id, |book| book.titles()), ["Sheet1", "2026"], "no other tab is made");
    assert_eq!(ids_in(&bench, "2026"), ids_of(1..=5));
    assert_eq!(bench.google.read(&bench.id, |book| book.rows("2026")[0].clone()), before, "deleted columns stay away");
    bench.google.server.clear_log();
    bench.cycle(&new(6..=6)).await.unwrap();
    assert_eq!(bench.asked(), STEADY, "now it is ours");
    bench.cycle(&[corrected(2)]).await.unwrap();
    assert_eq!(ids_in(&bench, "2026"), ids_of(1..=6));
}

#[tokio::test]
async fn of_several_duplicates_the_owner_says_which() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=2)).await.unwrap();
    bench.edit(|book| {
        book.duplicate_tab(TAB, Copied::NewIds);
        book.duplicate_tab(TAB, Copied::NewIds);
        book.delete_tab(TAB);
    });
    let error = bench.cycle(&new(3..=3)).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Layout), "{error}");
    assert!(
        error.message.ends_with(
            "the tab `Transactions` was deleted and has several duplicates (`Copy 2 of Transactions`, `Copy of \
             Transactions`): rename the one to go on with to `Transactions`"
        ),
        "{error}"
    );
    assert_eq!([ids_in(&bench, COPY), ids_in(&bench, "Copy 2 of Transactions")], [ids_of(1..=2), ids_of(1..=2)]);
    bench.edit(|book| book.rename_tab(COPY, TAB));
    bench.cycle(&new(3..=3)).await.unwrap();
    assert_eq!([ids_in(&bench, TAB), ids_in(&bench, "Copy 2 of Transactions")], [ids_of(1..=3), ids_of(1..=2)]);
    // And so it goes on, though the other one is still there.
    bench.edit(|book| book.rename_tab(TAB, "2026"));
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(ids_in(&bench, "2026"), ids_of(1..=4));
}

#[tokio::test]
async fn a_duplicate_without_metadata_goes_on_under_the_originals_title() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    bench.edit(|book| {
        book.duplicate_tab(TAB, Copied::No);
        book.delete_tab(TAB);
        book.rename_tab(COPY, TAB);
    });
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(ids_in(&bench, TAB), ids_of(1..=4));
    // Under another title nothing tells it from a tab of the owner's: ours is made again, and the copy stays as it is.
    bench.edit(|book| {
        book.duplicate_tab(TAB, Copied::No);
        book.delete_tab(TAB);
    });
    bench.cycle(&new(5..=5)).await.unwrap();
    assert_eq!([ids_in(&bench, COPY), ids_in(&bench, TAB)], [ids_of(1..=4), ids_of(5..=5)]);
}

#[tokio::test]
async fn a_lost_store_finds_the_duplicate_that_took_the_originals_place() {
    let mut bench = Bench::new().await;
    bench.cycle(&new(1..=3)).await.unwrap();
    bench.edit(|book| {
        book.duplicate_tab(TAB, Copied::NewIds);
        book.delete_tab(TAB);
        book.delete_row(COPY, 1);
    });
    (bench.memory, bench.number) = (Vec::new(), 0);
    let said = bench.sheets().check().await.unwrap().join("\n");
    assert!(!said.contains("will be created"), "{said}");
    let mut sheets = bench.sheets();
    assert_eq!(sheets.open(None).await.unwrap().last_batch, 1);
    let mut found = Ids::default();
    let digest = sheets.read(Reading::Ids, &mut found).await.unwrap().unwrap();
    assert_eq!(found.0, ids_of(2..=3));
    assert_eq!(digest.rows, 3, "so the row that is not there was deleted");
    bench.cycle(&new(4..=4)).await.unwrap();
    assert_eq!(ids_in(&bench, COPY), ids_of(2..=4));
}
