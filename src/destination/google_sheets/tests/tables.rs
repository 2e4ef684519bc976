//! A thousand rows into a table of Google's, few at a time.

use super::*;

#[tokio::test]
async fn after_a_thousand_rows_none_is_outside_and_each_batch_took_one_guarded_request() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut bench = Bench::new().await;
        bench.config.order = order;
        bench.google.quota(None);
        bench.edit(|book| {
            book.rename_tab("Sheet1", TAB);
            let headers = ["Date", "Amount", "Counterparty", "Transaction ID"];
            headers
                .iter()
                .enumerate()
                .for_each(|(at, header)| book.set_cell(TAB, 2, at + 1, CellValue::Text((*header).into())));
            let area = Area { sheet: 0, top: 2, bottom: 4, left: 1, right: 5 };
            book.make_table(TAB, area, &[(2, "CURRENCY")]);
        });
        bench.cycle(&new(1..=5)).await.unwrap();
        bench.google.server.clear_log();
        for n in 1..200 {
            bench.cycle(&new(5 * n + 1..=5 * n + 5)).await.unwrap();
        }
        let writes = bench.asked().iter().filter(|asked| asked.ends_with(":batchUpdate")).count();
        assert_eq!(writes, 199, "{order:?}");
        bench.google.read(&bench.id, |book| {
            let tab = book.tab(TAB).unwrap();
            let area = tab.tables[0].area;
            let rows: Vec<usize> = (0..tab.used_rows())
                .filter(|row| matches!(tab.value(*row, 4), CellValue::Text(id) if id.starts_with("fibank:")))
                .collect();
            assert_eq!(rows, (3..1_003).collect::<Vec<_>>(), "{order:?}");
            assert!(area.top == 2 && area.bottom >= 1_003 && area.bottom <= 1_004, "{area:?}");
        });
    }
}
