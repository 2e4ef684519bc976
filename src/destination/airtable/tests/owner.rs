//! The owner's actions in the base, and the bank's corrections and withdrawals.

use super::*;

fn edit(world: &World, change: impl FnOnce(&mut crate::simulator::airtable::Base)) {
    world.service.edit(&world.base, change);
}

fn delete(world: &World, n: usize) {
    let record = world.record(n).unwrap();
    edit(world, |base| base.delete_record(TABLE, &record));
}

#[tokio::test]
async fn a_renamed_table_and_renamed_fields_are_followed_without_a_read() {
    let mut world = World::filled(1).await;
    edit(&world, |base| {
        base.rename_field(TABLE, "Amount", "Sum");
        base.rename_field(TABLE, "Transaction ID", "Key");
        base.rename_table(TABLE, "Money");
    });
    world.deliver(&[new(0), new(1)]).await.unwrap();
    assert_eq!(world.service.server.requests(), 1);
    let rows = world.service.read(&world.base, |base| base.records("Money"));
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[1]["Sum"], &rows[1]["Key"]), (&json!(-20.34), &json!(id(1))));
}

#[tokio::test]
async fn a_correction_follows_a_renamed_id_column_even_where_another_took_its_name() {
    let mut world = World::filled(2).await;
    edit(&world, |base| {
        base.rename_field(TABLE, "Transaction ID", "Key");
        base.add_field(TABLE, "Transaction ID", "singleLineText");
    });
    let verdicts = world.deliver(&[changed(0, |now| now.row.reference = "new".into())]).await.unwrap();
    assert_eq!(verdicts, [Verdict::Updated]);
    // In vain by the old name, the layout, by the new name, the update.
    assert_eq!((world.count("GET"), world.count("PATCH")), (3, 1));
}

#[tokio::test]
async fn a_correction_follows_a_renamed_id_column() {
    let mut world = World::filled(1).await;
    edit(&world, |base| base.rename_field(TABLE, "Transaction ID", "Key {1}"));
    let correction = || changed(0, |now| now.row.reference = "new".into());
    assert_eq!(world.deliver(&[correction()]).await.unwrap(), [Verdict::Updated]);
    // Refused by the old name, the layout, by the new name, the update.
    assert_eq!((world.count("GET"), world.count("PATCH")), (3, 1));
    assert_eq!(world.deliver(&[correction()]).await.unwrap(), [Verdict::Updated]);
    assert_eq!((world.count("GET"), world.count("PATCH")), (4, 2));
}

#[tokio::test]
async fn the_owners_own_table_is_used_as_it_is() {
    let mut world = World::new().await;
    world.service.create_table(
        &world.base,
        "transactions",
        &[
            ("Name", "singleLineText"),
            ("transaction id", "multilineText"),
            ("сума", "currency"),
            ("Currency", "singleSelect"),
            ("TAGS", "multipleSelects"),
            ("Balance", "singleLineText"),
        ],
    );
    world.columns = columns(&[Field::Id, Field::Amount, Field::Currency, Field::Balance, Field::Tags, Field::Date]);
    let mut first = new(0);
    first.transaction.enrichment.tags = "food, home".into();
    world.deliver(&[first]).await.unwrap();
    let rows = world.service.read(&world.base, |base| base.records("transactions"));
    assert_eq!(
        serde_json::to_value(&rows[0]).unwrap(),
        json!({
            "transaction id": id(0), "сума": -20.34, "Currency": "EUR", "Balance": "1234.50",
            "TAGS": ["food", "home"], "Date": "2026-01-05",
        })
    );
    // Reading, making the one missing field, writing.
    assert_eq!(world.service.server.requests(), 3);
    assert_eq!(world.service.read(&world.base, |base| base.tables.len()), 1);
}

#[tokio::test]
async fn a_field_that_cannot_take_its_column_is_named() {
    let mut world = World::new().await;
    world.service.create_table(&world.base, TABLE, &[("Transaction ID", "singleLineText"), ("Date", "createdTime")]);
    let message = attention(world.deliver(&[new(0)]).await, Cause::Layout);
    has(&message, &["field `Date` for `date` is computed (createdTime)", "table `Transactions`"]);
    assert_eq!(world.service.server.requests(), 1);
}

#[tokio::test]
async fn a_field_that_became_a_select_or_a_formula_is_noticed() {
    let mut world = World::filled(1).await;
    edit(&world, |base| base.change_field(TABLE, "Type", "singleSelect"));
    let mut transfer = new(1);
    transfer.transaction.row.kind = "Transfer".into();
    world.deliver(&[transfer]).await.unwrap();
    // Refused, read once, sent again with typecast; from then on at once.
    assert_eq!((world.count("GET"), world.count("PATCH")), (1, 2));
    world.deliver(&[new(2)]).await.unwrap();
    assert_eq!((world.count("GET"), world.count("PATCH")), (1, 3));
    assert_eq!(world.cell(2, "Type"), json!("Card payment"));

    edit(&world, |base| base.change_field(TABLE, "Amount", "formula"));
    let message = attention(world.deliver(&[new(3)]).await, Cause::Layout);
    has(&message, &["field `Amount` for `amount` is computed (formula)"]);
    world.assert_ids(3);
}

#[tokio::test]
async fn a_field_the_owner_deletes_stays_away_and_may_come_back() {
    let mut world = World::filled(1).await;
    edit(&world, |base| base.delete_field(TABLE, "Balance"));
    assert_eq!(world.deliver(&[new(1)]).await.unwrap(), [Verdict::Appended]);
    // Refused, the layout read once, sent again; from then on at once.
    assert_eq!((world.count("GET"), world.count("PATCH"), world.count("POST")), (1, 2, 0));
    world.deliver(&[new(2), changed(0, |now| now.row.balance = None)]).await.unwrap();
    assert_eq!(
        (world.count("GET"), world.count("POST")),
        (1, 0),
        "a correction of nothing that is shown costs nothing"
    );
    world.deliver(&[changed(0, |now| now.row.reference = "new".into())]).await.unwrap();
    assert_eq!((world.cell(0, "Reference"), world.cell(2, "Balance")), (json!("new"), Json::Null));
    let fields = world.service.read(&world.base, |base| base.fields(TABLE));
    assert!(fields.iter().all(|(_, name, _)| name != "Balance"), "{fields:?}");
    let said = world.connector().check().await.unwrap().join("; ");
    has(&said, &["column `balance`: its field `Balance` was deleted and stays away"]);
    world.assert_ids(3);
    // A field of that name, made by the owner, is used from the next look on.
    edit(&world, |base| drop(base.add_field(TABLE, "Balance", "number")));
    let verdict = shows_also(&mut world, Field::Note).await;
    assert_eq!(verdict, Verdict::Appended);
    assert_eq!(world.cell(3, "Balance"), json!(1234.5));
}

/// A column more makes the layout be looked at again.
async fn shows_also(world: &mut World, field: Field) -> Verdict {
    world.columns.extend(columns(&[field]));
    world.deliver(&[new(3)]).await.unwrap().remove(0)
}

#[tokio::test]
async fn the_field_of_the_ids_is_made_again_and_the_owner_told_once() {
    let mut world = World::new().await;
    world.service.create_table(&world.base, TABLE, &[("Name", "singleLineText")]);
    world.columns = columns(&[Field::Date, Field::Amount, Field::Id]);
    world.deliver(&[new(0)]).await.unwrap();
    edit(&world, |base| base.delete_field(TABLE, "Transaction ID"));
    let mut connector = world.connector();
    connector.open(None).await.unwrap();
    assert_eq!(cycle(&mut connector, &[new(1)]).await.unwrap(), [Verdict::Appended]);
    let told = connector.extras().publish().await.unwrap_err();
    assert_eq!(told.cause(), Some(Cause::Layout));
    has(&told.message, &["the column with the transaction ids was deleted and has been made again", "undo"]);
    connector.extras().publish().await.unwrap();
    let ids: Vec<Json> =
        world.rows().iter().map(|row| row.get("Transaction ID").cloned().unwrap_or(Json::Null)).collect();
    assert_eq!(ids, [Json::Null, json!(id(1))]);
}

#[tokio::test]
async fn a_table_taken_away_is_missed_and_not_made_again() {
    for old_errors in [false, true] {
        let mut world = World::filled(1).await;
        world.service.old_errors(old_errors);
        edit(&world, |base| base.delete_table(TABLE));
        let message = attention(world.deliver(&[new(1)]).await, Cause::NotFound);
        has(&message, &["table `Transactions` is not in base `app", "restore it"]);
        assert_eq!(attention(world.deliver(&[new(1)]).await, Cause::NotFound), message);
        assert_eq!(world.service.read(&world.base, |base| base.tables.len()), 0);
    }
}

#[tokio::test]
async fn a_correction_is_written_over_the_banks_cells_only() {
    let mut world = World::filled(2).await;
    let record = world.record(0).unwrap();
    edit(&world, |base| {
        base.set_cell(TABLE, &record, "Category", json!("Mine"));
        base.add_field(TABLE, "Owner's", "singleLineText");
        base.set_cell(TABLE, &record, "Owner's", json!("note"));
    });
    let correction = changed(0, |now| {
        now.row.amount = "-21.00".parse().unwrap();
        now.row.reference = String::new();
        now.enrichment.category = "Food".into();
    });
    assert_eq!(world.deliver(std::slice::from_ref(&correction)).await.unwrap(), [Verdict::Updated]);
    assert_eq!(world.service.server.requests(), 2);
    for (field, value) in
        [("Amount", json!(-21)), ("Reference", Json::Null), ("Category", json!("Mine")), ("Owner's", json!("note"))]
    {
        assert_eq!(world.cell(0, field), value, "{field}");
    }
    world.service.server.fail_next("PATCH", Fault::ApplyThenDrop);
    assert_eq!(world.deliver(&[correction]).await.unwrap(), [Verdict::Updated]);
    world.assert_ids(2);
}

#[tokio::test]
async fn a_correction_does_not_bring_back_a_row_the_owner_deleted() {
    let mut world = World::filled(3).await;
    delete(&world, 1);
    let items = [0, 1, 2].map(|n| changed(n, |now| now.row.balance = None));
    let verdicts = world.deliver(&items).await.unwrap();
    assert_eq!(verdicts, [Verdict::Updated, Verdict::Deleted, Verdict::Updated]);
    assert_eq!((world.record(1), world.cell(2, "Balance")), (None, Json::Null));
    // The requests are one listing, one look at the layout before a row counts as deleted for good, one update.
    assert_eq!(world.service.server.requests(), 3);
}

#[tokio::test]
async fn a_row_deleted_between_listing_and_update_stays_deleted() {
    let mut world = World::filled(2).await;
    let gone = r#"{"error":{"type":"ROW_DOES_NOT_EXIST","message":"Record ID rec1 does not exist in this table"}}"#;
    // The pair is refused, the first passes alone, the second is gone.
    world.service.server.fail("PATCH", 0, 1, Fault::Status(422, gone.into()));
    world.service.server.fail("PATCH", 1, 1, Fault::Status(422, gone.into()));
    let items = [0, 1].map(|n| changed(n, |now| now.row.balance = None));
    assert_eq!(world.deliver(&items).await.unwrap(), [Verdict::Updated, Verdict::Deleted]);
}

#[tokio::test]
async fn a_correction_no_column_shows_or_nobody_wants_costs_nothing() {
    let mut world = World::filled(1).await;
    let unseen = changed(0, |now| now.row.counterparty_account = "BG80BNBG96611020345678".into());
    let by_rule = changed(0, |now| now.enrichment.category = "Food".into());
    assert_eq!(world.deliver(&[unseen, by_rule]).await.unwrap(), vec![Verdict::Unchanged; 2]);
    world.updates = Updates::Ignore;
    let seen = changed(0, |now| now.row.balance = None);
    let seen = RowChange { op: RowOp::Update { cells: false, mark: None }, ..seen };
    assert_eq!(world.deliver(&[seen]).await.unwrap(), [Verdict::Unchanged]);
    assert_eq!(world.service.server.requests(), 0);
}

#[tokio::test]
async fn vanished_rows_are_ticked_and_unticked() {
    let mut world = World::filled(3).await;
    delete(&world, 2);
    // No row has been ticked yet, so there is no tick to remove.
    assert_eq!(world.deliver(&[item(UNMARK, transaction(0))]).await.unwrap(), [Verdict::Unchanged]);
    assert_eq!(world.service.server.requests(), 0);
    world.service.server.fail_next("/fields", Fault::Drop);
    let items = [0, 2].map(|n| item(MARK, transaction(n)));
    assert_eq!(world.deliver(&items).await.unwrap(), [Verdict::Updated, Verdict::Deleted]);
    assert_eq!((world.cell(0, "Vanished"), world.cell(1, "Vanished")), (json!(true), Json::Null));
    let before = world.service.server.requests();
    assert_eq!(world.deliver(&[item(UNMARK, transaction(0))]).await.unwrap(), [Verdict::Updated]);
    assert_eq!(world.cell(0, "Vanished"), Json::Null);
    assert_eq!(world.service.server.requests(), before + 2, "the tick field is remembered");
}

#[tokio::test]
async fn a_tick_field_that_cannot_be_made_keeps_no_other_row_waiting() {
    let mut world = World::filled(1).await;
    world.token = world.service.token_with(&SCOPES, Role::Edit);
    let verdicts = world.deliver(&[item(MARK, transaction(0)), new(1)]).await.unwrap();
    let Verdict::Rejected(reason) = &verdicts[0] else { panic!("{verdicts:?}") };
    has(reason, &["checkbox field `Vanished`", "creator"]);
    assert_eq!(verdicts[1], Verdict::Appended);
    edit(&world, |base| drop(base.add_field(TABLE, "Изчезнал", "checkbox")));
    assert_eq!(world.deliver(&[item(MARK, transaction(0))]).await.unwrap(), [Verdict::Updated]);
    assert_eq!(world.cell(0, "Изчезнал"), json!(true));
}

#[tokio::test]
async fn vanished_rows_are_deleted_or_left_alone_as_configured() {
    let mut world = World::filled(3).await;
    world.vanished = Vanished::Ignore;
    assert_eq!(world.deliver(&[item(RowOp::Leave, transaction(0))]).await.unwrap(), [Verdict::Unchanged]);
    assert_eq!(world.service.server.requests(), 0);
    world.vanished = Vanished::Delete;
    let gone = [0, 1].map(|n| item(RowOp::Delete, transaction(n)));
    world.service.server.fail_next("DELETE", Fault::ApplyThenDrop);
    // The answer to the deletion is lost; on the second try nothing is left to delete.
    assert_eq!(world.deliver(&gone).await.unwrap(), vec![Verdict::Unchanged; 2]);
    assert_eq!((world.record(0), world.rows().len()), (None, 1));
    assert_eq!(world.deliver(&[item(RowOp::Delete, transaction(2))]).await.unwrap(), [Verdict::Updated]);
    assert_eq!(
        world.deliver(&[item(RowOp::Reinsert { cells: true }, transaction(0))]).await.unwrap(),
        [Verdict::Appended]
    );
    world.assert_ids(1);
}

#[tokio::test]
async fn a_mixed_batch_takes_one_request_of_each_kind() {
    let mut world = World::filled(4).await;
    let items = [
        new(4),
        changed(0, |now| now.row.balance = None),
        new(5),
        changed(1, |now| now.row.balance = None),
        changed(2, |_| {}),
    ];
    use Verdict::*;
    assert_eq!(world.deliver(&items).await.unwrap(), [Appended, Updated, Appended, Updated, Unchanged]);
    assert_eq!(world.service.server.requests(), 3);
    world.assert_ids(6);
}

#[tokio::test]
async fn ids_with_quotes_and_very_long_ones_are_found() {
    let mut world = World::new().await;
    let odd = |n: usize, id: String| {
        let mut transaction = transaction(n);
        transaction.row.id = id;
        transaction
    };
    let mut ids: Vec<String> = vec!["files:x'y\\z\"".into()];
    ids.extend((0..6).map(|n| format!("files:{n}:{}", "a".repeat(3000))));
    let rows: Vec<RowChange> = ids.iter().map(|id| item(RowOp::Insert, odd(0, id.clone()))).collect();
    world.deliver(&rows).await.unwrap();
    let corrections: Vec<RowChange> = ids
        .iter()
        .map(|id| {
            let mut now = odd(0, id.clone());
            now.row.reference = "corrected".into();
            RowChange { previous: Some(odd(0, id.clone()).into()), ..item(UPDATE, now) }
        })
        .collect();
    assert_eq!(world.deliver(&corrections).await.unwrap(), vec![Verdict::Updated; 7]);
    assert!(world.asked().iter().any(|line| line.ends_with("/listRecords")), "{:?}", world.asked());
}
