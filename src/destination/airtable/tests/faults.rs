//! Faults on the way: lost answers, refusals, limits.

use super::*;

const VALUE: &str =
    r#"{"error":{"type":"INVALID_VALUE_FOR_COLUMN","message":"Field \"x\" cannot accept the provided value"}}"#;
const RATE: &str = r#"{"error":{"type":"RATE_LIMIT_REACHED","message":"Rate limit exceeded. Please try again later"}}"#;

#[tokio::test]
async fn whatever_happens_to_an_answer_each_row_is_there_once() {
    let faults = [
        Fault::Drop,
        Fault::ApplyThenDrop,
        Fault::Truncate,
        Fault::CutBody,
        Fault::Status(502, "<html>Bad Gateway</html>".into()),
        Fault::Status(503, String::new()),
        Fault::ApplyThenStatus(500, String::new()),
        Fault::ApplyThenStatus(503, r#"{"error":{"type":"RETRIABLE_ERROR"}}"#.into()),
    ];
    let items: Vec<RowChange> = (0..12).map(new).collect();
    for fault in faults {
        let mut world = World::new().await;
        world.service.server.fail_next("PATCH", fault.clone());
        let verdicts = world.deliver(&items).await.unwrap();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Appended | Verdict::Updated)), "{fault:?}");
        assert_eq!(world.count("PATCH"), 3, "{fault:?}");
        assert!(!world.service.server.faults_left());
        world.assert_ids(12);
    }
}

#[tokio::test]
async fn a_request_that_arrives_late_adds_no_row() {
    let mut world = World::filled(1).await;
    world.service.server.fail_next("PATCH", Fault::Late(Duration::from_millis(15)));
    world.deliver(&[new(1), new(2)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(40)).await;
    world.assert_ids(3);
}

#[tokio::test]
async fn making_the_table_and_its_fields_survives_lost_answers() {
    for fault in [Fault::ApplyThenDrop, Fault::CutBody, Fault::ApplyThenStatus(500, String::new()), Fault::Drop] {
        let mut world = World::new().await;
        world.service.server.fail_next("POST", fault.clone());
        world.deliver(&[new(0)]).await.unwrap();
        assert_eq!(world.service.read(&world.base, |base| base.tables.len()), 1, "{fault:?}");
        let before = world.service.read(&world.base, |base| base.fields(TABLE).len());
        world.columns.insert(0, Column { field: Field::Customer, header: "Who".into() });
        world.columns.push(Column { field: Field::Time, header: "When".into() });
        world.service.server.fail_next("/fields", fault.clone());
        world.deliver(&[new(1)]).await.unwrap();
        assert_eq!(world.service.read(&world.base, |base| base.fields(TABLE).len()), before + 2, "{fault:?}");
        assert_eq!(world.cell(1, "Who"), json!("Ivan Petrov"));
        assert_eq!(world.cell(0, "Who"), Json::Null);
    }
}

#[tokio::test]
async fn one_bad_row_is_set_aside_and_the_nine_others_land() {
    let mut world = World::filled(0).await;
    world.deliver(&[new(99)]).await.unwrap();
    world.service.edit(&world.base, |base| {
        let record = base.record_ids(TABLE)[0].clone();
        base.delete_record(TABLE, &record);
    });
    world.service.server.clear_log();
    // The last of ten is to blame: refused with all, with its half, and so on until it is alone.
    let bad = || Fault::Status(422, VALUE.into());
    world.service.server.fail("PATCH", 0, 1, bad());
    // Every later refusal follows one half that passes.
    for _ in 0..4 {
        world.service.server.fail("PATCH", 1, 1, bad());
    }
    let items: Vec<RowChange> = (0..10).map(new).collect();
    let verdicts = world.deliver(&items).await.unwrap();
    assert_eq!(verdicts[..9], vec![Verdict::Appended; 9]);
    assert_eq!(verdicts[9], Verdict::Rejected("Field \"x\" cannot accept the provided value".into()));
    world.assert_ids(9);
    assert_eq!((world.count("GET"), world.count("PATCH")), (1, 9));
    assert!(!world.service.server.faults_left());
}

/// Other rows, which only the engine has, decide if the rows or the place are to blame.
#[tokio::test]
async fn a_refusal_for_an_unknown_reason_is_handed_on_as_it_is() {
    let mut world = World::filled(1).await;
    let strange = r#"{"error":{"type":"SOMETHING_NEW","message":"Not today"}}"#;
    world.service.server.fail("PATCH", 0, u32::MAX, Fault::Status(422, strange.into()));
    let error = world.deliver(&[new(1), new(2), new(3)]).await.unwrap_err();
    assert_eq!((&error.kind, world.count("PATCH")), (&Kind::Unexplained, 1));
    has(&error.message, &["table `Transactions`", "Not today"]);
}

fn with_category(n: usize, category: &str) -> RowChange {
    let mut item = new(n);
    item.transaction.enrichment.category = category.into();
    item
}

#[tokio::test]
async fn a_choice_that_may_not_be_made_is_told_with_field_and_remedy() {
    for (field, message) in [("Category", "choice `Rent \"flat\"`"), ("Category", "choice `Food`")] {
        let mut world = World::filled(1).await;
        world.service.edit(&world.base, |base| {
            base.change_field(TABLE, field, "singleSelect");
            base.fix_choices(TABLE, field);
        });
        let category = message.trim_start_matches("choice `").trim_end_matches('`');
        let verdicts = world.deliver(&[new(1), with_category(2, category), new(3)]).await.unwrap();
        assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Appended, &Verdict::Appended));
        let Verdict::Rejected(reason) = &verdicts[1] else { panic!("{verdicts:?}") };
        has(reason, &["field `Category`", message, "add it to the field", "role creator", "single line text"]);
    }
}

#[tokio::test]
async fn a_field_without_any_choice_a_row_needs_waits_for_the_owner() {
    let mut world = World::filled(1).await;
    world.service.edit(&world.base, |base| {
        base.change_field(TABLE, "Category", "singleSelect");
        base.fix_choices(TABLE, "Category");
    });
    let items: Vec<RowChange> = (1..9).map(|n| with_category(n, "Food")).collect();
    let message = attention(world.deliver(&items).await, Cause::Layout);
    has(&message, &["table `Transactions`", "field `Category`", "choice `Food`", "add it to the field"]);
    world.assert_ids(1);
    assert!(world.count("PATCH") <= 8, "{}", world.count("PATCH"));
}

#[tokio::test]
async fn a_text_that_no_field_holds_is_refused_by_name_and_never_sent() {
    for (text, refused) in [("х".repeat(100_001), true), ("😀".repeat(50_001), true), ("х".repeat(100_000), false)]
    {
        let mut world = World::filled(1).await;
        let mut long = new(2);
        long.transaction.row.description = text;
        let verdicts = world.deliver(&[new(1), long, new(3)]).await.unwrap();
        let expected = Verdict::Rejected("`description` is longer than the 100000 characters a field holds".into());
        assert_eq!(verdicts[1] == expected, refused, "{:?}", verdicts[1]);
        assert_eq!((world.count("PATCH"), &verdicts[0], &verdicts[2]), (1, &Verdict::Appended, &Verdict::Appended));
        let mut corrected = new(1);
        corrected.op = UPDATE;
        corrected.previous = Some(Box::new(corrected.transaction.clone()));
        corrected.transaction.row.description = "х".repeat(200_000);
        assert_eq!(world.deliver(&[corrected]).await.unwrap(), [expected]);
    }
}

#[tokio::test]
async fn a_request_too_large_is_halved() {
    let mut world = World::filled(1).await;
    world.service.server.fail_next("PATCH", Fault::Status(413, String::new()));
    let items: Vec<RowChange> = (1..5).map(new).collect();
    assert_eq!(world.deliver(&items).await.unwrap(), vec![Verdict::Appended; 4]);
    assert_eq!(world.count("PATCH"), 3);
    world.assert_ids(5);
}

#[tokio::test]
async fn a_row_the_base_holds_twice_is_named_and_the_others_land() {
    let mut world = World::filled(2).await;
    let double = world.service.edit(&world.base, |base| base.add_record(TABLE, &[("Transaction ID", json!(id(1)))]));
    let first = world.record(1).unwrap();
    let mut corrected = new(1);
    corrected.transaction.row.reference = "R1b".into();
    corrected.transaction.enrichment.category = "Rent".into();
    let verdicts = world.deliver(&[new(2), corrected, new(3)]).await.unwrap();
    assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Appended, &Verdict::Appended));
    let Verdict::Rejected(reason) = &verdicts[1] else { panic!("{verdicts:?}") };
    has(reason, &["2 times", &first, &double]);
    // Refused upsert, listing, update of the oldest, upsert of the rest.
    assert_eq!(world.service.server.requests(), 4);
    let cell = |record: &str, field: &str| {
        world.service.read(&world.base, |base| {
            let table = base.table(TABLE).unwrap();
            table.shown(table.record(record).unwrap(), table.field(field).unwrap())
        })
    };
    assert_eq!(cell(&first, "Reference"), Some(json!("R1b")));
    assert_eq!((cell(&first, "Category"), cell(&double, "Reference")), (None, None));
}

#[tokio::test]
async fn too_many_requests_ask_for_half_a_minute() {
    let mut world = World::filled(1).await;
    world.service.server.fail_next("PATCH", Fault::Status(429, RATE.into()));
    let error = world.deliver(&[new(1)]).await.unwrap_err();
    let Kind::Throttled { retry_after: Some(wait) } = error.kind else { panic!("{error:?}") };
    assert!(wait >= Duration::from_secs(30) && wait < Duration::from_secs(36), "{wait:?}");
    assert_eq!(world.service.server.requests(), 1);
    world.deliver(&[new(1)]).await.unwrap();
    world.assert_ids(2);
}

#[tokio::test]
async fn the_pace_of_every_day_is_four_requests_a_second() {
    let world = World::new().await;
    let context = Context::new(Shutdown::never(), Backoff::default());
    let connector = Airtable::new("household", &world.config(), context, &[]).unwrap();
    assert_eq!(connector.client.limits.base.window(), Duration::from_millis(250));
}

fn november() -> DateTime<Utc> {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn december() -> DateTime<Utc> {
    "2026-12-01T00:00:01Z".parse().unwrap()
}

#[tokio::test]
async fn a_plan_used_up_is_left_alone_until_the_month_ends() {
    let mut world = World::filled(1).await;
    world.clock = november;
    world.service.monthly_limit(Some(0));
    let message = attention(world.deliver(&[new(1)]).await, Cause::Quota);
    has(&message, &["2026-12-01", "monthly_requests"]);
    assert_eq!(world.service.server.requests(), 1);
    for _ in 0..3 {
        assert_eq!(attention(world.deliver(&[new(1)]).await, Cause::Quota), message);
    }
    assert_eq!(world.service.server.requests(), 1, "remembered, not asked again");
    world.clock = december;
    world.service.monthly_limit(None);
    world.deliver(&[new(1)]).await.unwrap();
    world.assert_ids(2);
}

#[tokio::test]
async fn the_monthly_budget_is_never_spent_past() {
    let mut world = World::new().await;
    world.clock = november;
    world.monthly_requests = Some(4);
    let items: Vec<RowChange> = (0..50).map(new).collect();
    let message = attention(world.deliver(&items).await, Cause::Quota);
    has(&message, &["4 requests", "2026-12-01", "`monthly_requests`"]);
    assert_eq!(world.service.server.requests(), 4);
    world.assert_ids(20);
    attention(world.deliver(&items[20..]).await, Cause::Quota);
    assert_eq!(world.service.server.requests(), 4, "counted over cycles");
    world.clock = december;
    world.deliver(&items[20..50]).await.unwrap();
    assert_eq!(world.service.server.requests(), 7);
    world.assert_ids(50);
}

#[tokio::test]
async fn a_full_base_waits_for_the_owner_and_nothing_is_set_aside() {
    let mut world = World::filled(3).await;
    world.service.record_cap(Some(4));
    let message = attention(world.deliver(&[new(3), new(4)]).await, Cause::Quota);
    has(&message, &["is full"]);
    assert_eq!(world.service.server.requests(), 1);
}

#[tokio::test]
async fn little_room_in_a_base_is_told_before_it_is_full() {
    let mut world = World::filled(1).await;
    world.memory = Vec::new();
    world.service.edit(&world.base, |base| {
        (0..897).for_each(|_| drop(base.add_record(TABLE, &[("Reference", json!("mine"))])));
    });
    let mut connector = world.connector();
    connector.open(None).await.unwrap();
    ids(&mut connector).await;
    assert_eq!(connector.state().notes, Vec::<String>::new(), "898 are not many");
    cycle(&mut connector, &[new(1), new(2)]).await.unwrap();
    let notes = connector.state().notes;
    assert!(notes.len() == 1 && notes[0].contains("900 records, and a base of the Free plan takes 1000"), "{notes:?}");
    // Remembered, and it sinks with what is taken away again.
    world.memory = connector.state().memory;
    assert_eq!(world.connector().notes(), notes);
    world.vanished = Vanished::Delete;
    let mut connector = world.connector();
    cycle(&mut connector, &[item(RowOp::Delete, new(1).transaction)]).await.unwrap();
    assert_eq!(connector.state().notes, Vec::<String>::new());
}

#[tokio::test]
async fn a_token_without_what_it_takes_is_told_which_scope_or_role_is_missing() {
    let without = |scope: &str| SCOPES.iter().copied().filter(|other| *other != scope).collect::<Vec<_>>();
    for (scope, role, cause, parts) in [
        ("schema.bases:read", Role::Create, Cause::NotFound, ["scope schema.bases:read", "base `app"]),
        ("schema.bases:write", Role::Create, Cause::NotPermitted, ["scope schema.bases:write", "table `Transactions`"]),
        ("none", Role::Edit, Cause::NotPermitted, ["role creator", "schema.bases:write"]),
    ] {
        let mut world = World::new().await;
        world.token = world.service.token_with(&without(scope), role);
        has(&attention(world.deliver(&[new(0)]).await, cause), &parts);
    }
    for (scope, role, cause) in
        [("data.records:write", Role::Create, Cause::NotFound), ("none", Role::Comment, Cause::NotPermitted)]
    {
        let mut world = World::filled(1).await;
        world.token = world.service.token_with(&without(scope), role);
        has(&attention(world.deliver(&[new(1)]).await, cause), &["data.records:write", "editor", "`Transactions`"]);
        world.assert_ids(1);
    }
}

#[tokio::test]
async fn a_revoked_token_and_a_base_not_on_its_list_are_told_apart() {
    let mut world = World::filled(1).await;
    world.service.limit_token(&world.token, &[]);
    has(&attention(world.deliver(&[new(1)]).await, Cause::NotFound), &["the token's list", "base `app"]);
    world.service.revoke(&world.token);
    let message = attention(world.deliver(&[new(1)]).await, Cause::Token);
    has(&message, &["airtable.com/create/tokens"]);
    assert!(!message.contains(&world.token));
}
