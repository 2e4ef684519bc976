//! The checks, each for a household with an empty place.

use super::*;

pub async fn rows_arrive_once_and_cost_what_they_cost(grid: Grid) {
    let report = grid.good_cycle().await;
    // The list of tables, the table, a search, and twelve rows by tens.
    assert_eq!((report.appended, report.requests), (12, 5));
    grid.settled("the first rows").await;
    (0..3).for_each(|_| drop(grid.book("КАФЕ")));
    let report = grid.good_cycle().await;
    assert_eq!((report.appended, report.updated, report.requests), (3, 0, 2));
    grid.settled("twins").await;
    (0..105).for_each(|_| drop(grid.book("МНОГО")));
    let report = grid.good_cycle().await;
    assert_eq!((report.appended, report.requests), (105, 2 + 11));
    grid.settled("more than a batch").await;
}

pub async fn cells_have_types_and_lose_nothing(mut grid: Grid) {
    grid.extra = "columns = [\"id\", \"time\", \"date\", \"amount\", \"balance\", \"counterparty\", \"description\", \"value_date\"]".into();
    let payees = [
        "=IMPORTXML(\"x\")",
        "+359 2 000",
        "'апостроф",
        "О'Нийл \\ {x} \"ц\"",
        "🌿 Аптека 🇧🇬",
        "0042",
        "ред\u{2028}нов",
        "(a,b)~and",
    ];
    let ids: Vec<String> = payees.iter().map(|payee| grid.book(payee)).collect();
    grid.change(&ids[0], |entry| entry.amount = "-123456789012.34".parse().unwrap());
    grid.good_cycle().await;
    let kinds = ["SingleLineText", "DateTime", "Date", "Decimal", "Decimal", "SingleLineText", "LongText", "Date"];
    let table = grid.described().await;
    let found: Vec<&str> =
        table["fields"].as_array().unwrap()[1..].iter().map(|field| field["type"].as_str().unwrap()).collect();
    assert_eq!(found, kinds);
    for (id, payee) in ids.iter().zip(payees) {
        let row = grid.row(id).await.unwrap();
        assert_eq!(row["Counterparty"], *payee);
        assert!(
            row["Date"].as_str().unwrap().len() == 10 && row["Time"].as_str().unwrap().ends_with("+00:00"),
            "{row:?}"
        );
    }
    assert_eq!(grid.row(&ids[0]).await.unwrap()["Amount"].to_string(), "-123456789012.34");
    let verified = grid.verify(false).await;
    assert!(verified.is_clean(), "{verified:?}");
}

pub async fn corrections_marks_and_deletions_reach_their_rows(mut grid: Grid) {
    let ids: Vec<String> = (0..3).map(|_| grid.book("РЕД")).collect();
    grid.good_cycle().await;
    grid.write(&ids[0], "Description", "мое".into()).await;
    ids.iter().for_each(|id| grid.change(id, |entry| entry.counterparty = "ПОПРАВЕН".into()));
    let report = grid.good_cycle().await;
    // A search, the table because something was found, and the rows.
    assert_eq!((report.appended, report.updated, report.requests), (0, 3, 3));
    grid.settled("corrections").await;
    assert_eq!(grid.row(&ids[0]).await.unwrap()["Description"], "мое");
    // The balance after the next entry changes as well.
    let entry = grid.take_back(&ids[1]);
    assert_eq!(grid.good_cycle().await.updated, 2);
    assert_eq!(grid.row(&ids[1]).await.unwrap()["Vanished"], true);
    grid.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(entry));
    assert_eq!(grid.good_cycle().await.updated, 1);
    assert_eq!(grid.row(&ids[1]).await.unwrap()["Vanished"], false);
    grid.extra = "vanished = \"delete\"\nupdates = \"ignore\"".into();
    grid.change(&ids[2], |entry| entry.counterparty = "ПАК".into());
    let entry = grid.take_back(&ids[1]);
    grid.good_cycle().await;
    assert_eq!(grid.row(&ids[1]).await, None);
    assert_eq!(grid.row(&ids[2]).await.unwrap()["Counterparty"], "ПОПРАВЕН");
    grid.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(entry));
    grid.good_cycle().await;
    assert_eq!(grid.row(&ids[1]).await.unwrap()["Counterparty"], "ПОПРАВЕН");
    assert_eq!(grid.cycle().await.requests, 0);
}

pub async fn a_lost_answer_doubles_nothing_wherever_it_is_lost(grid: Grid) {
    // The table itself, first.
    grid.proxy.lose("POST", 0, Loss::Answer);
    grid.proxy.lose("POST", 0, Loss::Answer);
    grid.good_cycle().await;
    grid.settled("the first rows").await;
    for loss in [Loss::Request, Loss::Answer, Loss::Late] {
        for (matching, skip) in [("GET", 0), ("POST", 0), ("POST", 1), ("POST", 2)] {
            let ids: Vec<String> = (0..23).map(|_| grid.book("ХЛЯБ")).collect();
            grid.proxy.lose(matching, skip, loss);
            let report = grid.good_cycle().await;
            assert!(!grid.proxy.losses_left() && report.appended == 23, "{loss:?} {matching} {skip}: {report:?}");
            grid.proxy.land().await;
            grid.settled(&format!("{loss:?} {matching} {skip}")).await;
            grid.change(&ids[7], |entry| entry.counterparty = "ПОПРАВЕН".into());
            grid.proxy.lose("PATCH", 0, loss);
            assert_eq!(grid.good_cycle().await.updated, 1);
            grid.proxy.land().await;
            grid.settled(&format!("{loss:?} of a correction")).await;
        }
    }
    // Every try of a cycle is lost, and meanwhile the row is corrected.
    for loss in [Loss::Answer, Loss::Late] {
        let ids: Vec<String> = (0..3).map(|_| grid.book("КАФЕ")).collect();
        (0..4).for_each(|_| grid.proxy.lose("POST", 0, loss));
        let report = grid.cycle().await;
        assert_eq!(
            (report.outcome, report.waiting),
            if loss == Loss::Late { (Outcome::Failed, 3) } else { (Outcome::Ok, 0) }
        );
        grid.proxy.forget_losses();
        grid.change(&ids[1], |entry| entry.counterparty = "ПОПРАВЕН".into());
        grid.good_cycle().await;
        grid.proxy.land().await;
        grid.settled(&format!("every {loss:?}")).await;
    }
}

/// The owner's table has no unique field: only looking keeps a late insertion from doubling a row.
pub async fn a_late_insertion_is_kept_out_or_deleted(grid: Grid) {
    grid.make_table(&[("Transaction ID", "SingleLineText"), ("Amount", "Decimal"), ("Counterparty", "SingleLineText")])
        .await;
    grid.good_cycle().await;
    let ids: Vec<String> = (0..12).map(|_| grid.book("ХЛЯБ")).collect();
    grid.proxy.lose("POST", 1, Loss::Late);
    assert_eq!(grid.good_cycle().await.appended, 12);
    let first = grid.row(&ids[11]).await.unwrap()["Id"].clone();
    grid.proxy.land().await;
    let times = |seen: &BTreeMap<String, Vec<_>>, id: &String| seen[id].len();
    let seen = grid.seen().await;
    assert_eq!((times(&seen, &ids[0]), times(&seen, &ids[11])), (1, 2), "the store keeps nothing out");
    grid.book("СЛЕДВАЩ");
    grid.good_cycle().await;
    grid.settled("a late insertion").await;
    assert_eq!(grid.row(&ids[11]).await.unwrap()["Id"], first, "the older row stays");
    // A copy that the owner made is the owner's.
    let copy = json!([{ "fields": { "Transaction ID": ids[3], "Counterparty": "копие" } }]);
    grid.ask("POST", &grid.records().await, copy).await;
    grid.book("ОЩЕ");
    grid.good_cycle().await;
    assert_eq!(times(&grid.seen().await, &ids[3]), 2);
    // The process dies with an insertion under way, which arrives after the next cycle's.
    let late = grid.book("КЪСНО");
    (0..4).for_each(|_| grid.proxy.lose("POST", 0, Loss::Late));
    assert_eq!(grid.cycle().await.outcome, Outcome::Failed);
    grid.good_cycle().await;
    grid.proxy.land().await;
    assert_eq!(times(&grid.seen().await, &late), 5);
    grid.book("СЛЕД ТОВА");
    grid.good_cycle().await;
    assert_eq!(times(&grid.seen().await, &late), 1);
}

pub async fn the_owner_renames_swaps_adds_and_deletes(grid: Grid) {
    grid.good_cycle().await;
    let id = grid.book("ПЪРВИ");
    grid.good_cycle().await;
    grid.change_field("Transaction ID", json!({ "title": "Ключ" })).await;
    grid.change_field("Counterparty", json!({ "title": "X" })).await;
    grid.change_field("Description", json!({ "title": "Counterparty" })).await;
    grid.change_field("X", json!({ "title": "Description" })).await;
    let table = grid.described().await["id"].as_str().unwrap().to_owned();
    grid.meta("POST", &format!("tables/{table}/fields"), json!({ "title": "Моя", "type": "SingleLineText" })).await;
    grid.write(&id, "Моя", "бележка".into()).await;
    grid.change(&id, |entry| entry.counterparty = "ПОПРАВЕН".into());
    let other = grid.book("ВТОРИ");
    let report = grid.good_cycle().await;
    assert_eq!((report.appended, report.updated), (1, 1));
    let row = grid.row(&id).await.unwrap();
    assert_eq!((&row["Ключ"], &row["Description"], &row["Моя"]), (&json!(id), &json!("ПОПРАВЕН"), &json!("бележка")));
    assert_eq!(grid.row(&other).await.unwrap()["Description"], "ВТОРИ");
    assert!(grid.verify(false).await.is_clean());
    // A column that the owner takes away stays away, and rows come without it.
    grid.delete_field("Currency").await;
    let third = grid.book("ТРЕТИ");
    grid.good_cycle().await;
    assert!(!grid.row(&third).await.unwrap().contains_key("Currency"));
    assert!(grid.verify(false).await.is_clean());
    // Without the ids nothing is found: the field is made again, and the owner is told.
    grid.delete_field("Ключ").await;
    let fourth = grid.book("ЧЕТВЪРТИ");
    let report = grid.cycle().await;
    let said = report.error.clone().unwrap_or_default();
    assert!(report.outcome == Outcome::Attention && said.contains("made again"), "{report:?}");
    assert_eq!(grid.row(&fourth).await.unwrap()["Description"], "ЧЕТВЪРТИ");
    assert_eq!(grid.cycle().await.requests, 0);
    // A table taken away is not made again.
    grid.meta("DELETE", &format!("tables/{table}"), Value::Null).await;
    grid.book("ПЕТИ");
    let report = grid.cycle().await;
    let said = report.error.clone().unwrap_or_default();
    assert!(
        report.outcome == Outcome::Attention && said.contains("restore it, or name another one in `table`"),
        "{report:?}"
    );
}

pub async fn a_row_the_owner_deleted_stays_deleted_until_it_is_restored(grid: Grid) {
    grid.good_cycle().await;
    let ids: Vec<String> = (0..2).map(|_| grid.book("РЕД")).collect();
    grid.good_cycle().await;
    grid.delete(&ids[0]).await;
    grid.change(&ids[0], |entry| entry.counterparty = "ПОПРАВЕН".into());
    let report = grid.good_cycle().await;
    assert_eq!((report.appended, report.updated), (0, 0));
    assert_eq!(grid.row(&ids[0]).await, None);
    let engine = grid.engine();
    let restored = engine.restore(&engine.config.destinations[0], &ids, &watcher()).await.unwrap();
    drop(engine);
    assert!(format!("{restored:?}").contains(&format!("put_back: [\"{}\"]", ids[0])), "{restored:?}");
    grid.settled("a row restored").await;
}

pub async fn a_table_of_the_owners_is_used_as_it_is(mut grid: Grid) {
    let fields = [
        ("Мое", "SingleLineText"),
        ("amount", "Currency"),
        ("Дата", "DateTime"),
        ("Counterparty", "LongText"),
        ("Transaction ID", "LongText"),
        ("Balance", "SingleLineText"),
    ];
    grid.make_table(&fields).await;
    grid.extra = "columns = [\"date\", \"amount\", \"counterparty\", \"balance\", \"id\", \"reference\"]".into();
    let id = grid.book("КАФЕ");
    assert_eq!(grid.good_cycle().await.appended, 13);
    let row = grid.row(&id).await.unwrap();
    assert_eq!((row["amount"].to_string().as_str(), &row["Counterparty"]), ("-1.5", &json!("КАФЕ")));
    let titles: Vec<Value> =
        grid.described().await["fields"].as_array().unwrap().iter().map(|field| field["title"].clone()).collect();
    assert_eq!(titles, ["Id", "Мое", "amount", "Дата", "Counterparty", "Transaction ID", "Balance", "Reference"]);
    assert!(grid.verify(false).await.is_clean());
    let lines = grid.connector().check().await.unwrap();
    assert!(
        lines.iter().any(|line| line.starts_with("field `Transaction ID` takes the same value twice")),
        "{lines:?}"
    );
    // A type that cannot hold the column is told, and rows wait.
    grid.change_field("Balance", json!({ "type": "Checkbox" })).await;
    grid.change(&id, |entry| entry.counterparty = "ПОПРАВЕН".into());
    let report = grid.cycle().await;
    let said = report.error.clone().unwrap_or_default();
    assert_eq!((report.outcome, report.waiting), (Outcome::Attention, 1), "{report:?}");
    assert!(said.contains("field `Balance` is of type Checkbox") && said.contains("change its type"), "{said}");
    grid.change_field("Balance", json!({ "type": "SingleLineText" })).await;
    grid.good_cycle().await;
}

pub async fn what_rules_set_is_written_once(mut grid: Grid) {
    let rule = |category: &str| {
        format!("[[rule]]\nwhen = {{ counterparty = \"кафе\" }}\nset = {{ category = \"{category}\" }}\n")
    };
    grid.extra = rule("Кафе");
    let ids: Vec<String> = (0..3).map(|_| grid.book("КАФЕ")).collect();
    grid.good_cycle().await;
    assert_eq!(grid.row(&ids[0]).await.unwrap()["Category"], "Кафе");
    grid.write(&ids[1], "Category", "мое".into()).await;
    grid.change(&ids[1], |entry| entry.remittance[0] = "ново".into());
    grid.good_cycle().await;
    assert_eq!(grid.row(&ids[1]).await.unwrap()["Category"], "мое");
    grid.write(&ids[2], "Category", Value::Null).await;
    grid.extra = rule("Излизане");
    grid.engine().apply_rules(false, &watcher()).await.unwrap();
    grid.good_cycle().await;
    assert_eq!(grid.row(&ids[1]).await.unwrap()["Category"], "мое");
    assert!(grid.verify(false).await.is_clean());
}

pub async fn verify_finds_what_is_wrong_and_repair_sets_it_right(grid: Grid) {
    grid.make_table(&[("Transaction ID", "SingleLineText"), ("Amount", "Decimal"), ("Counterparty", "SingleLineText")])
        .await;
    let ids: Vec<String> = (0..3).map(|_| grid.book("РЕД")).collect();
    grid.good_cycle().await;
    grid.write(&ids[0], "Amount", "7.77".into()).await;
    grid.delete(&ids[1]).await;
    let records = grid.records().await;
    grid.ask("POST", &records, json!([{ "fields": { "Transaction ID": ids[2], "Counterparty": "копие" } }])).await;
    let verified = grid.verify(false).await;
    assert_eq!((&verified.missing, &verified.doubled), (&vec![ids[1].clone()], &vec![ids[2].clone()]));
    let different: Vec<_> = verified.different.iter().map(|one| (one.id.as_str(), one.found.as_deref())).collect();
    assert_eq!(different, [(ids[0].as_str(), Some("7.77"))]);
    grid.verify(true).await;
    grid.settled("repaired").await;
    assert!(grid.verify(false).await.is_clean());
}

pub async fn no_id_breaks_a_search(grid: Grid) {
    grid.good_cycle().await;
    let engine = grid.engine();
    let number = engine.store.numbers().unwrap().into_values().next().unwrap();
    let some: Transaction = engine.store.transaction(number).unwrap();
    drop(engine);
    let mut ids: Vec<String> = ('!'..='~').map(|c| format!("odd:x{c}y:1")).collect();
    ids.extend([
        "odd:'); DROP TABLE x;--".to_owned(),
        format!("odd:{}:1", "\"\\,)(~".repeat(40)),
        format!("odd:{}:1", "9".repeat(3_000)),
    ]);
    let change = |op, id: &String, payee: &str| {
        let mut transaction = some.clone();
        (transaction.row.id, transaction.row.counterparty) = (id.clone(), payee.into());
        RowChange::new(1, op, transaction, Some(some.clone()))
    };
    let mut connector = grid.connector();
    connector.open(None).await.unwrap();
    // The second time everything is there.
    for (op, payee) in [
        (RowOp::Insert, "A"),
        (RowOp::Insert, "A"),
        (RowOp::Update { cells: true, mark: None }, "B"),
        (RowOp::Restore, "B"),
        (RowOp::Delete, "B"),
    ] {
        let items: Vec<RowChange> = ids.iter().map(|id| change(op, id, payee)).collect();
        let batch = connector.prepare(1, &items).await.unwrap();
        assert_eq!(batch.taken, ids.len());
        connector.write(&batch, &items).await.unwrap();
        let mut seen = grid.seen().await;
        seen.retain(|id, _| id.starts_with("odd:"));
        let wanted: Vec<&String> = if op == RowOp::Delete { Vec::new() } else { ids.iter().collect() };
        assert_eq!(seen.len(), wanted.len(), "{op:?}");
        for id in wanted {
            assert_eq!(seen[id].iter().map(|(payee, _)| payee.as_str()).collect::<Vec<_>>(), [payee], "{op:?} {id}");
        }
    }
}

pub async fn a_text_too_long_sets_only_its_row_aside(grid: Grid) {
    grid.good_cycle().await;
    let ids: Vec<String> = (0..3).map(|_| grid.book("РЕД")).collect();
    grid.change(&ids[1], |entry| entry.counterparty = "х".repeat(100_001));
    let report = grid.cycle().await;
    assert_eq!((report.outcome, report.appended, report.rejected), (Outcome::Ok, 2, 1), "{report:?}");
    assert_eq!(grid.cycle().await.requests, 0);
    grid.change(&ids[1], |entry| entry.counterparty = "КЪСО".into());
    assert_eq!(grid.good_cycle().await.appended, 1);
    grid.settled("a row mended").await;
}

pub async fn whatever_stands_in_the_way_is_told_with_its_remedy(mut grid: Grid) {
    let (token, base, url) = (grid.token.clone(), grid.base.clone(), grid.url.clone());
    for (what, cause, remedy) in [
        ("token", Cause::Token, "put it into `token`"),
        ("base", Cause::NotFound, "check `base`"),
        ("path", Cause::NotFound, "check `url`"),
    ] {
        match what {
            "token" => grid.token = "wrong".into(),
            "base" => grid.base = "pwrong".into(),
            _ => grid.path = "/nothing/here/".into(),
        }
        for error in [grid.connector().check().await.err(), grid.connector().open(None).await.err()] {
            let error = error.unwrap_or_else(|| panic!("{what} is taken"));
            assert!(error.cause() == Some(cause) && error.message.contains(remedy), "{what}: {error:?}");
            assert!(!error.message.contains(&token), "{error}");
        }
        (grid.token, grid.base, grid.path, grid.url) = (token.clone(), base.clone(), "/".into(), url.clone());
    }
    let lines = grid.connector().check().await.unwrap();
    assert!(lines[0].ends_with("will be created") && lines[1].contains("of the base"), "{lines:?}");
    grid.good_cycle().await;
    let lines = grid.connector().check().await.unwrap();
    assert!(lines.iter().any(|line| line == "column `amount`: field `Amount` found"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("twice")), "{lines:?}");
    // Ids of tables are never made.
    grid.table = "m00000000000000".into();
    let error = grid.connector().check().await.unwrap_err();
    assert!(error.cause() == Some(Cause::NotFound) && error.message.contains("name another one"), "{error}");
}
