//! The promises of the simulated Airtable, asked for over its own front door.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Airtable, Role, serve};

/// A base with one table for transactions, and the token to write it.
struct Bench {
    airtable: Airtable,
    base: String,
    table: String,
    token: String,
}

const FIELDS: [(&str, &str); 8] = [
    ("txid", "singleLineText"),
    ("amount", "currency"),
    ("date", "date"),
    ("time", "dateTime"),
    ("kind", "singleSelect"),
    ("done", "checkbox"),
    ("tags", "multipleSelects"),
    ("n", "autoNumber"),
];

impl Bench {
    async fn new() -> Bench {
        let airtable = Airtable::start().await.unwrap();
        airtable.rate_limit(None, Duration::ZERO);
        let base = airtable.create_base("Household");
        let table = airtable.create_table(&base, "Trans/actions", &FIELDS);
        let token = airtable.token();
        Bench { airtable, base, table, token }
    }

    async fn ask(&self, method: &str, target: &str, body: Value) -> (u16, Value) {
        self.ask_as(&self.token, method, target, body).await
    }

    async fn ask_as(&self, token: &str, method: &str, target: &str, body: Value) -> (u16, Value) {
        let (status, text) = self.raw(token, method, target, &body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn raw(&self, token: &str, method: &str, target: &str, body: &str) -> (u16, String) {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        let body = Bytes::from(body.to_owned());
        let method: Method = method.parse().unwrap();
        let state = Shared(self.airtable.state.clone());
        let answer = serve(state, method, target.parse().unwrap(), headers, body).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn records(&self) -> String {
        format!("/v0/{}/{}", self.base, self.table)
    }

    async fn upsert(&self, rows: Value) -> (u16, Value) {
        let records: Vec<Value> = rows.as_array().unwrap().iter().map(|row| json!({ "fields": row })).collect();
        let body = json!({"performUpsert": {"fieldsToMergeOn": ["txid"]}, "records": records, "typecast": true});
        self.ask("PATCH", &self.records(), body).await
    }

    async fn create(&self, rows: Value) -> (u16, Value) {
        let records: Vec<Value> = rows.as_array().unwrap().iter().map(|row| json!({ "fields": row })).collect();
        self.ask("POST", &self.records(), json!({ "records": records })).await
    }

    fn rows(&self) -> Vec<Value> {
        let rows = self.airtable.read(&self.base, |base| base.records(&self.table));
        rows.into_iter().map(|row| serde_json::to_value(row).unwrap()).collect()
    }
}

fn kind(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["type"].as_str().unwrap_or_default())
}

fn message(answer: &(u16, Value)) -> &str {
    answer.1["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn upsert_creates_updates_and_answers_in_the_order_of_the_request() {
    let bench = Bench::new().await;
    let (status, first) = bench.upsert(json!([{"txid": "b", "amount": 2}])).await;
    assert_eq!(status, 200);
    let b = first["createdRecords"][0].as_str().unwrap().to_owned();
    let (status, second) =
        bench.upsert(json!([{"txid": "a", "amount": 1.5}, {"txid": "b", "amount": -2.25}, {"txid": "c"}])).await;
    assert_eq!(status, 200);
    let shown: Vec<&Value> = second["records"].as_array().unwrap().iter().map(|row| &row["fields"]["txid"]).collect();
    assert_eq!(shown, ["a", "b", "c"]);
    assert_eq!(second["updatedRecords"], json!([b]));
    assert_eq!(second["createdRecords"], json!([second["records"][0]["id"], second["records"][2]["id"]]));
    let rows =
        json!([{"txid": "b", "amount": -2.25, "n": 1}, {"txid": "a", "amount": 1.5, "n": 2}, {"txid": "c", "n": 3}]);
    assert_eq!(json!(bench.rows()), rows);
}

#[tokio::test]
async fn upsert_of_a_key_that_two_rows_carry_fails_and_changes_nothing() {
    let bench = Bench::new().await;
    bench.create(json!([{"txid": "x"}, {"txid": "x"}])).await;
    let before = bench.rows();
    let refused = bench.upsert(json!([{"txid": "new"}, {"txid": "x", "amount": 1}])).await;
    assert_eq!(refused.0, 422);
    assert!(message(&refused).contains("Cannot update more than one record"));
    assert_eq!(bench.rows(), before);
}

#[tokio::test]
async fn upsert_with_an_empty_key_creates_every_time() {
    let bench = Bench::new().await;
    for _ in 0..2 {
        for key in [json!(null), json!("")] {
            assert_eq!(bench.upsert(json!([{"txid": key}])).await.1["updatedRecords"], json!([]));
        }
    }
    assert_eq!(bench.rows().len(), 4);
}

#[tokio::test]
async fn upsert_without_the_key_is_refused() {
    let bench = Bench::new().await;
    assert_eq!(bench.upsert(json!([{"txid": "a"}, {"amount": 1}])).await.0, 422);
    assert!(bench.rows().is_empty());
}

#[tokio::test]
async fn upsert_takes_the_id_before_the_key_and_refuses_an_unknown_one() {
    let bench = Bench::new().await;
    let (_, made) = bench.create(json!([{"txid": "a"}, {"txid": "b"}])).await;
    let first = &made["records"][0]["id"];
    let body = |id: &Value| {
        json!({"performUpsert": {"fieldsToMergeOn": ["txid"]},
               "records": [{"id": id, "fields": {"txid": "b", "amount": 7}}]})
    };
    let (status, answer) = bench.ask("PATCH", &bench.records(), body(first)).await;
    assert_eq!((status, &answer["updatedRecords"]), (200, &json!([first])));
    assert_eq!(bench.rows()[0], json!({"txid": "b", "amount": 7, "n": 1}));
    let refused = bench.ask("PATCH", &bench.records(), body(&json!("rec00000000000000"))).await;
    assert_eq!(kind(&refused), (422, "ROW_DOES_NOT_EXIST"));
    assert_eq!(bench.rows().len(), 2);
}

#[tokio::test]
async fn one_new_key_twice_in_a_call_makes_two_rows() {
    let bench = Bench::new().await;
    let (status, answer) = bench.upsert(json!([{"txid": "a"}, {"txid": "a"}])).await;
    assert_eq!((status, answer["createdRecords"].as_array().unwrap().len()), (200, 2));
    assert_eq!(bench.rows().len(), 2);
}

#[tokio::test]
async fn upsert_merges_on_documented_types_only_and_on_one_to_three_fields() {
    let bench = Bench::new().await;
    let ask = async |fields: Value, row: Value| {
        let body =
            json!({"performUpsert": {"fieldsToMergeOn": fields}, "records": [{"fields": row}], "typecast": true});
        bench.ask("PATCH", &bench.records(), body).await
    };
    assert_eq!(ask(json!(["time"]), json!({"time": "2026-01-05T07:00:00Z"})).await.0, 422);
    assert_eq!(ask(json!(["n"]), json!({})).await.0, 422);
    assert_eq!(ask(json!([]), json!({})).await.0, 422);
    assert_eq!(ask(json!(["txid", "date", "kind", "tags"]), json!({})).await.0, 422);
    assert_eq!(kind(&ask(json!(["no"]), json!({})).await), (422, "UNKNOWN_FIELD_NAME"));
    let row = json!({"txid": "a", "date": "2026-01-05", "kind": "x"});
    for made in [1, 0] {
        let (status, answer) = ask(json!(["txid", "date", "kind"]), row.clone()).await;
        assert_eq!((status, answer["createdRecords"].as_array().unwrap().len()), (200, made));
    }
}

#[tokio::test]
async fn put_empties_what_is_not_sent_and_patch_does_not() {
    let bench = Bench::new().await;
    let (_, made) = bench.create(json!([{"txid": "a", "amount": 1, "date": "2026-01-05"}])).await;
    let id = &made["records"][0]["id"];
    let record = format!("{}/{}", bench.records(), id.as_str().unwrap());
    let (_, patched) = bench.ask("PATCH", &record, json!({"fields": {"amount": null}})).await;
    assert_eq!(patched["fields"], json!({"txid": "a", "date": "2026-01-05", "n": 1}));
    let body = json!({"records": [{"id": id, "fields": {"amount": 2}}]});
    bench.ask("PUT", &bench.records(), body).await;
    assert_eq!(bench.rows(), [json!({"amount": 2, "n": 1})]);
    assert_eq!(bench.ask("PUT", &record, json!({"fields": {}})).await.1["fields"], json!({"n": 1}));
}

#[tokio::test]
async fn a_refused_batch_leaves_no_trace_not_even_a_number_or_a_choice() {
    let bench = Bench::new().await;
    bench.create(json!([{"txid": "a"}])).await;
    let refused = bench.create(json!([{"txid": "b"}, {"txid": "c", "n": 40}])).await;
    assert_eq!(kind(&refused), (422, "INVALID_VALUE_FOR_COLUMN"));
    assert_eq!(message(&refused), "Field \"n\" cannot accept a value because the field is computed");
    let refused = bench.upsert(json!([{"txid": "d", "kind": "Fresh"}, {"txid": "e", "amount": "no number"}])).await;
    assert_eq!(kind(&refused), (422, "INVALID_VALUE_FOR_COLUMN"));
    assert_eq!(message(&refused), "Field \"amount\" cannot accept the provided value");
    bench.create(json!([{"txid": "b"}])).await;
    assert_eq!(bench.rows(), [json!({"txid": "a", "n": 1}), json!({"txid": "b", "n": 2})]);
    let choices = bench
        .airtable
        .read(&bench.base, |base| base.table(&bench.table).unwrap().field("kind").unwrap().choices().len());
    assert_eq!(choices, 0);
}

#[tokio::test]
async fn more_than_ten_records_are_refused() {
    let bench = Bench::new().await;
    let rows = json!(vec![json!({"txid": "a"}); 11]);
    let refused = bench.create(rows.clone()).await;
    assert_eq!(kind(&refused), (422, "INVALID_RECORDS"));
    assert_eq!(message(&refused), "A maximum of 10 records can be created per request but you have provided 11.");
    assert_eq!(kind(&bench.upsert(rows).await), (422, "INVALID_RECORDS"));
    assert_eq!(kind(&bench.upsert(json!([])).await), (422, "INVALID_RECORDS"));
    let ids: String = (0..11).map(|at| format!("records[]=rec{at:014}&")).collect();
    assert_eq!(kind(&bench.ask("DELETE", &format!("{}?{ids}", bench.records()), json!({})).await).0, 422);
}

#[tokio::test]
async fn unknown_fields_and_choices_are_named() {
    let bench = Bench::new().await;
    let refused = bench.create(json!([{"txid": "a", "Vendor": "x"}])).await;
    assert_eq!(kind(&refused), (422, "UNKNOWN_FIELD_NAME"));
    assert_eq!(message(&refused), "Unknown field name: \"Vendor\"");
    let refused = bench.create(json!([{"kind": "Fresh"}])).await;
    assert_eq!(kind(&refused), (422, "INVALID_MULTIPLE_CHOICE_OPTIONS"));
    assert_eq!(message(&refused), "Insufficient permissions to create new select option \"Fresh\"");
    assert_eq!(bench.upsert(json!([{"txid": "a", "kind": "Fresh"}])).await.0, 200);
    assert_eq!(bench.create(json!([{"kind": "Fresh"}])).await.0, 200);
}

#[tokio::test]
async fn empty_cells_are_absent() {
    let bench = Bench::new().await;
    let row = json!({"txid": "", "amount": null, "done": false, "tags": [], "kind": null});
    let (status, answer) = bench.create(json!([row, {"amount": 0}])).await;
    assert_eq!(status, 200);
    assert_eq!(answer["records"][0]["fields"], json!({"n": 1}));
    assert_eq!(answer["records"][1]["fields"], json!({"amount": 0, "n": 2}));
}

#[tokio::test]
async fn values_without_typecast_must_have_the_type_of_the_column() {
    let bench = Bench::new().await;
    for wrong in [
        json!({"txid": 5}),
        json!({"amount": "5"}),
        json!({"date": "5.1.2026"}),
        json!({"date": "2026-02-30"}),
        json!({"time": "yesterday"}),
        json!({"done": "true"}),
        json!({"tags": "a"}),
    ] {
        assert_eq!(kind(&bench.create(json!([wrong])).await), (422, "INVALID_VALUE_FOR_COLUMN"), "{wrong}");
    }
    let row =
        json!({"txid": 5, "amount": "€ 1.50", "done": "true", "tags": "a, b", "time": "2026-01-05T07:00:00+02:00"});
    assert_eq!(bench.upsert(json!([row])).await.0, 200);
    let shown = json!({"txid": "5", "amount": 1.5, "done": true, "tags": ["a", "b"],
                       "time": "2026-01-05T05:00:00.000Z", "n": 1});
    assert_eq!(bench.rows(), [shown]);
}

#[tokio::test]
async fn the_rate_limit_closes_the_base_for_the_whole_penalty() {
    let bench = Bench::new().await;
    let other = bench.airtable.create_base("Other");
    let other_table = bench.airtable.create_table(&other, "T", &[("Name", "singleLineText")]);
    bench.airtable.rate_limit(Some(2), Duration::from_secs(3600));
    for expected in [200, 200, 429, 429] {
        assert_eq!(bench.ask("GET", &bench.records(), json!({})).await.0, expected);
    }
    // More than a second's worth of calls would be allowed again by now, were it not for the penalty.
    let refused = bench.upsert(json!([{"txid": "a"}])).await;
    assert_eq!(kind(&refused), (429, "RATE_LIMIT_REACHED"));
    assert_eq!(message(&refused), "Rate limit exceeded. Please try again later");
    assert!(bench.rows().is_empty());
    assert_eq!(bench.ask("GET", &format!("/v0/{other}/{other_table}"), json!({})).await.0, 200);
    assert_eq!(bench.airtable.calls_this_month(), 3);
}

#[tokio::test]
async fn the_limit_is_five_a_second_by_default() {
    let airtable = Airtable::start().await.unwrap();
    let base = airtable.create_base("Household");
    let table = airtable.create_table(&base, "T", &[("txid", "singleLineText")]);
    let token = airtable.token();
    let bench = Bench { airtable, base, table, token };
    for expected in [200, 200, 200, 200, 200, 429] {
        assert_eq!(bench.ask("GET", &bench.records(), json!({})).await.0, expected);
    }
}

#[tokio::test]
async fn a_spent_month_stops_data_but_not_the_schema() {
    let bench = Bench::new().await;
    bench.airtable.monthly_limit(Some(2));
    bench.upsert(json!([{"txid": "a"}])).await;
    bench.ask("GET", &bench.records(), json!({})).await;
    let (status, refused) = bench.upsert(json!([{"txid": "b"}])).await;
    assert_eq!(status, 429);
    assert_eq!(refused["errors"][0]["error"], "PUBLIC_API_BILLING_LIMIT_EXCEEDED");
    assert!(refused.get("error").is_none());
    assert_eq!(bench.ask("GET", &format!("/v0/meta/bases/{}/tables", bench.base), json!({})).await.0, 200);
    assert_eq!(bench.rows().len(), 1);
    bench.airtable.start_month();
    assert_eq!(bench.upsert(json!([{"txid": "b"}])).await.0, 200);
}

#[tokio::test]
async fn the_record_cap_counts_all_tables_and_spares_updates() {
    let bench = Bench::new().await;
    let other = bench.airtable.create_table(&bench.base, "Other", &[("Name", "singleLineText")]);
    bench.airtable.edit(&bench.base, |base| base.add_record(&other, &[("Name", json!("x"))]));
    bench.airtable.record_cap(Some(2));
    assert_eq!(bench.upsert(json!([{"txid": "a"}])).await.0, 200);
    assert_eq!(bench.upsert(json!([{"txid": "a", "amount": 1}, {"txid": "b"}])).await.0, 422);
    assert_eq!(bench.upsert(json!([{"txid": "a", "amount": 2}])).await.0, 200);
    assert_eq!(bench.rows(), [json!({"txid": "a", "amount": 2, "n": 1})]);
}

#[tokio::test]
async fn tokens_have_scopes_roles_and_a_list_of_bases() {
    let bench = Bench::new().await;
    let airtable = &bench.airtable;
    let reader = airtable.token_with(&["data.records:read"], Role::Create);
    assert_eq!(bench.ask_as(&reader, "GET", &bench.records(), json!({})).await.0, 200);
    let refused = bench.ask_as(&reader, "POST", &bench.records(), json!({"fields": {}})).await;
    assert_eq!(kind(&refused), (403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND"));
    let commenter = airtable.token_with(&super::SCOPES, Role::Comment);
    let refused = bench.ask_as(&commenter, "POST", &bench.records(), json!({"fields": {}})).await;
    assert_eq!(kind(&refused), (403, "INVALID_PERMISSIONS"));
    let editor = airtable.token_with(&super::SCOPES, Role::Edit);
    assert_eq!(bench.ask_as(&editor, "POST", &bench.records(), json!({"fields": {}})).await.0, 200);
    let tables = format!("/v0/meta/bases/{}/tables", bench.base);
    let table = json!({"name": "T", "fields": [{"name": "Name", "type": "singleLineText"}]});
    assert_eq!(kind(&bench.ask_as(&editor, "POST", &tables, table.clone()).await), (403, "INVALID_PERMISSIONS"));
    assert_eq!(bench.ask("POST", &tables, table).await.0, 200);
    airtable.limit_token(&editor, &["appSomethingElse1"]);
    let refused = bench.ask_as(&editor, "GET", &bench.records(), json!({})).await;
    assert_eq!(kind(&refused), (403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND"));
    assert_eq!(bench.ask_as(&editor, "GET", "/v0/meta/bases", json!({})).await.1, json!({"bases": []}));
    airtable.revoke(&editor);
    assert_eq!(kind(&bench.ask_as(&editor, "GET", &tables, json!({})).await), (401, "AUTHENTICATION_REQUIRED"));
}

#[tokio::test]
async fn every_envelope_occurs() {
    let bench = Bench::new().await;
    let records = bench.records();
    assert_eq!(kind(&bench.ask("GET", "/v0/appAAAAAAAAAAAAAA/T", json!({})).await).0, 403);
    assert_eq!(kind(&bench.ask("GET", &format!("/v0/{}/None", bench.base), json!({})).await).0, 403);
    let offset = format!("{records}?offset=itrAAAAAAAAAAAAAA%2FrecAAAAAAAAAAAAAA");
    let silent = bench.ask("GET", &offset, json!({})).await;
    assert_eq!(silent, (422, json!({"error": {"type": "LIST_RECORDS_ITERATOR_NOT_AVAILABLE"}})));
    assert_eq!(bench.ask("GET", "/v0/junk/T", json!({})).await, (404, json!({"error": "NOT_FOUND"})));
    assert_eq!(bench.raw(&bench.token, "POST", &records, "{").await.0, 400);
    let long = format!("{records}?filterByFormula={}", "x".repeat(16_000));
    let (status, page) = bench.raw(&bench.token, "GET", &long, "").await;
    assert!(status == 414 && page.starts_with("<html>"));
    bench.airtable.old_errors(true);
    let missing = bench.ask("GET", &format!("/v0/{}/None", bench.base), json!({})).await;
    assert_eq!(kind(&missing), (404, "TABLE_NOT_FOUND"));
    assert_eq!(message(&missing), format!("Could not find table None in application {}", bench.base));
}

#[tokio::test]
async fn lists_come_in_pages_until_the_offset_expires() {
    let bench = Bench::new().await;
    for at in 0..5 {
        bench.create(json!([{"txid": format!("t{at}"), "amount": 5 - at}])).await;
    }
    let records = bench.records();
    let mut seen = Vec::new();
    let mut offset = String::new();
    loop {
        let (status, page) = bench.ask("GET", &format!("{records}?pageSize=2{offset}"), json!({})).await;
        assert_eq!(status, 200);
        seen.extend(page["records"].as_array().unwrap().iter().map(|row| row["fields"]["txid"].clone()));
        let Some(next) = page["offset"].as_str() else { break };
        offset = format!("&offset={}", next.replace('/', "%2F"));
    }
    assert_eq!(seen, ["t0", "t1", "t2", "t3", "t4"]);
    bench.airtable.expire_offsets();
    let late = bench.ask("GET", &format!("{records}?pageSize=2{offset}"), json!({})).await;
    assert_eq!(kind(&late), (422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE"));
    let mangled = bench.ask("GET", &format!("{records}?offset=recXXXXXXXXXXXXXX"), json!({})).await;
    assert_eq!(kind(&mangled), (422, "INVALID_OFFSET_VALUE"));
    let body = json!({"sort": [{"field": "amount"}], "maxRecords": 2, "fields": ["txid"]});
    let (_, page) = bench.ask("POST", &format!("{records}/listRecords"), body).await;
    let cells: Vec<&Value> = page["records"].as_array().unwrap().iter().map(|row| &row["fields"]).collect();
    assert_eq!(cells, [&json!({"txid": "t4"}), &json!({"txid": "t3"})]);
    assert_eq!(bench.ask("GET", &format!("{records}?pageSize=101"), json!({})).await.0, 422);
}

#[tokio::test]
async fn formulas_find_rows_by_text_that_needs_escapes() {
    let bench = Bench::new().await;
    bench.create(json!([{"txid": "O'Neil \\ {x}", "amount": 2}, {"txid": "b"}, {"txid": "c", "amount": -1}])).await;
    let found = async |formula: &str| {
        let body = json!({"filterByFormula": formula});
        let (status, page) = bench.ask("POST", &format!("{}/listRecords", bench.records()), body).await;
        let rows = page["records"].as_array().cloned().unwrap_or_default();
        (status, rows.iter().map(|row| row["fields"]["n"].as_u64().unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(found(r"{txid}='O\'Neil \\ {x}'").await, (200, vec![1]));
    assert_eq!(found("OR({txid}='b', {txid} = \"c\")").await, (200, vec![2, 3]));
    assert_eq!(found("AND(amount, {amount}>0)").await, (200, vec![1]));
    assert_eq!(found("NOT({amount})").await, (200, vec![2]));
    assert_eq!(found("LOWER('B')&''=txid").await, (200, vec![2]));
    assert_eq!(found("FIND('Neil', {txid})").await, (200, vec![1]));
    for broken in ["{txid}='a''b'", "{none}='a'", "OR(", "NOW()", "{txid", "'"] {
        assert_eq!(found(broken).await.0, 422, "{broken}");
    }
    assert_eq!(found(&"(".repeat(100_000)).await.0, 422);
    assert_eq!(found(&format!("1{}", "+1".repeat(100_000))).await.0, 422);
}

#[tokio::test]
async fn the_owner_renames_and_ids_go_on_working() {
    let bench = Bench::new().await;
    bench.create(json!([{"txid": "a"}])).await;
    let fields = bench.airtable.read(&bench.base, |base| base.fields("Trans/actions"));
    bench.airtable.edit(&bench.base, |base| {
        base.rename_field("Trans/actions", "txid", "Reference no.");
        base.rename_table("Trans/actions", "Money");
        base.add_field("Money", "My notes", "multilineText");
        let id = base.record_ids("Money")[0].clone();
        base.set_cell("Money", &id, "My notes", json!("mine"));
    });
    assert_eq!(kind(&bench.upsert(json!([{"txid": "a"}])).await), (422, "UNKNOWN_FIELD_NAME"));
    let by_name = format!("/v0/{}/Trans%2Factions", bench.base);
    assert_eq!(bench.ask("GET", &by_name, json!({})).await.0, 403);
    let key = &fields[0].0;
    let body = json!({"performUpsert": {"fieldsToMergeOn": [key]}, "returnFieldsByFieldId": true,
                      "records": [{"fields": {key: "a", fields[1].0.clone(): 3}}]});
    let (status, answer) = bench.ask("PATCH", &bench.records(), body).await;
    assert_eq!((status, &answer["records"][0]["fields"][key]), (200, &json!("a")));
    assert_eq!(bench.rows(), [json!({"Reference no.": "a", "amount": 3, "My notes": "mine", "n": 1})]);
}

#[tokio::test]
async fn odd_but_legal_addresses_work() {
    let bench = Bench::new().await;
    let by_name = format!("/v0/{}/Trans%2Factions", bench.base);
    let (status, made) = bench.ask("POST", &format!("{by_name}/?"), json!({"records": [{"fields": {}}]})).await;
    assert_eq!(status, 200);
    let id = made["records"][0]["id"].as_str().unwrap();
    let (_, other) = bench.ask("POST", &by_name, json!({"fields": {"txid": "a"}})).await;
    let other = other["id"].as_str().unwrap();
    assert_eq!(bench.ask("GET", &format!("{by_name}/{id}?"), json!({})).await.0, 200);
    assert_eq!(bench.ask("DELETE", &format!("{by_name}?records={id}"), json!({})).await.0, 200);
    let gone = bench.ask("DELETE", &format!("{by_name}?records%5B%5D={other}"), json!({})).await;
    assert_eq!(gone.1, json!({"records": [{"id": other, "deleted": true}]}));
    let missing = bench.ask("GET", &format!("{by_name}/{other}"), json!({})).await;
    assert_eq!(kind(&missing), (404, "MODEL_ID_NOT_FOUND"));
}

#[tokio::test]
async fn the_schema_is_made_and_told() {
    let bench = Bench::new().await;
    let tables = format!("/v0/meta/bases/{}/tables", bench.base);
    let wanted = json!({"name": "New", "description": "d", "fields": [
        {"name": "Id", "type": "singleLineText"},
        {"name": "Amount", "type": "currency", "options": {"precision": 2, "symbol": "€"}},
        {"name": "Day", "type": "date", "options": {"dateFormat": {"name": "iso"}}},
        {"name": "Kind", "type": "singleSelect", "options": {"choices": [{"name": "EUR"}]}},
    ]});
    let (status, table) = bench.ask("POST", &tables, wanted.clone()).await;
    assert_eq!(status, 200, "{table}");
    assert_eq!(table["primaryFieldId"], table["fields"][0]["id"]);
    assert_eq!(table["fields"][2]["options"]["dateFormat"], json!({"name": "iso", "format": "YYYY-MM-DD"}));
    assert_eq!(bench.ask("POST", &tables, wanted).await.0, 422);
    let fields = format!("{tables}/{}/fields", table["id"].as_str().unwrap());
    let (status, field) = bench.ask("POST", &fields, json!({"name": "Note", "type": "multilineText"})).await;
    assert_eq!(status, 200);
    for wrong in [
        json!({"name": "note", "type": "multilineText"}),
        json!({"name": "A", "type": "autoNumber"}),
        json!({"name": "B", "type": "number"}),
        json!({"name": "C", "type": "number", "options": {"precision": 9}}),
        json!({"name": "D", "type": "singleLineText", "options": {"x": 1}}),
        json!({"name": "E", "type": "dateTime", "options": {"timeZone": "utc", "dateFormat": {"name": "iso"}}}),
    ] {
        assert_eq!(bench.ask("POST", &fields, wrong.clone()).await.0, 422, "{wrong}");
    }
    let one = format!("{fields}/{}", field["id"].as_str().unwrap());
    assert_eq!(bench.ask("PATCH", &one, json!({"name": "Remark"})).await.1["name"], "Remark");
    assert_eq!(bench.ask("PATCH", &one, json!({"type": "number"})).await.0, 422);
    let (_, told) = bench.ask("GET", &format!("{tables}?include=visibleFieldIds"), json!({})).await;
    let names: Vec<&Value> = told["tables"][1]["fields"].as_array().unwrap().iter().map(|f| &f["name"]).collect();
    assert_eq!(names, ["Id", "Amount", "Day", "Kind", "Remark"]);
}

#[tokio::test]
async fn whoever_lost_an_answer_over_the_wire_can_ask_again() {
    use crate::simulator::Fault;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bench = Bench::new().await;
    let send = async || {
        let body = json!({"performUpsert": {"fieldsToMergeOn": ["txid"]}, "records": [{"fields": {"txid": "a"}}]});
        let body = body.to_string();
        let address = bench.airtable.server.url().replace("http://", "");
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "PATCH {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            bench.records(),
            bench.token,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that the fault closes may end in an error; the bytes that arrived until then count.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    bench.airtable.server.fail_next("PATCH", Fault::ApplyThenDrop);
    assert_eq!(send().await, "");
    assert_eq!(bench.rows().len(), 1);
    bench.airtable.server.fail_next("PATCH", Fault::ApplyThenStatus(503, super::RETRIABLE.to_owned()));
    assert!(send().await.contains("RETRIABLE_ERROR"));
    assert!(send().await.contains("\"createdRecords\":[]"));
    assert_eq!(bench.rows().len(), 1);
}

#[tokio::test]
async fn the_owner_changes_types_and_deletes() {
    let bench = Bench::new().await;
    bench.create(json!([{"txid": "12", "amount": 1.5}, {"txid": "x"}])).await;
    bench.airtable.edit(&bench.base, |base| {
        base.add_formula("Trans/actions", "both", "{txid}&'/'&{n}");
        base.change_field("Trans/actions", "amount", "singleLineText");
        base.change_field("Trans/actions", "txid", "number");
    });
    assert_eq!(
        bench.rows(),
        [json!({"txid": 12, "amount": "1.5", "n": 1, "both": "12/1"}), json!({"n": 2, "both": "/2"})]
    );
    assert_eq!(kind(&bench.create(json!([{"amount": 2}])).await), (422, "INVALID_VALUE_FOR_COLUMN"));
    assert_eq!(kind(&bench.create(json!([{"both": "x"}])).await), (422, "INVALID_VALUE_FOR_COLUMN"));
    bench.airtable.edit(&bench.base, |base| {
        let id = base.find("Trans/actions", "txid", &json!(12)).unwrap();
        base.delete_record("Trans/actions", &id);
        base.delete_field("Trans/actions", "both");
        base.delete_field("Trans/actions", "amount");
    });
    assert_eq!(bench.rows(), [json!({"n": 2})]);
    bench.airtable.edit(&bench.base, |base| base.delete_table("Trans/actions"));
    assert_eq!(bench.upsert(json!([{"txid": "a"}])).await.0, 403);
}

#[tokio::test]
async fn lists_without_order_may_come_shuffled() {
    let bench = Bench::new().await;
    bench.create(json!([{"txid": "a"}, {"txid": "b"}, {"txid": "c"}, {"txid": "d"}, {"txid": "e"}])).await;
    let listed = async |query: &str| {
        let (_, page) = bench.ask("GET", &format!("{}?{query}", bench.records()), json!({})).await;
        let keys = page["records"].as_array().unwrap().iter().map(|row| row["fields"]["txid"].as_str().unwrap());
        keys.collect::<String>()
    };
    assert_eq!(listed("").await, "abcde");
    bench.airtable.shuffle(true);
    let shuffled = listed("").await;
    assert!(shuffled != "abcde" && shuffled.len() == 5, "{shuffled}");
    assert_eq!(listed("view=Grid+view").await, "abcde");
    assert_eq!(listed("sort[0][direction]=desc&sort[0][field]=txid").await, "edcba");
}

#[tokio::test]
async fn a_state_can_be_put_in_place_from_outside() {
    let bench = Bench::new().await;
    let state = json!({"bases": [{"id": "appPut", "name": "Put", "tables": [{"id": "tblPut", "name": "T",
        "fields": [{"id": "fldPut", "name": "Name", "type": "singleLineText"}, {"name": "No", "type": "autoNumber"},
                   {"name": "Kind", "type": "singleSelect"}],
        "records": [{"id": "recPut", "number": 41, "fields": {"Name": "a", "Kind": "new"}}]}]}]});
    let answer = bench.ask_as("", "POST", "/simulator/bases", state).await;
    assert_eq!(answer, (200, json!({})));
    let (_, made) = bench.ask("POST", "/v0/appPut/tblPut", json!({"fields": {"fldPut": "b"}})).await;
    assert_eq!(made["fields"], json!({"Name": "b", "No": 42}));
    let (status, before) = bench.ask("POST", "/simulator/settings", json!({"monthlyCalls": 0, "perSecond": 9})).await;
    assert_eq!(status, 200);
    assert_eq!(bench.ask("GET", "/v0/appPut/tblPut", json!({})).await.0, 429);
    assert_eq!(bench.ask("POST", "/simulator/settings", before.clone()).await.1["perSecond"], 9);
    assert_eq!(bench.ask("GET", "/v0/appPut/tblPut", json!({})).await.0, 200);
    assert_eq!(bench.ask("POST", "/simulator/settings", json!({})).await.1, before);
    assert_eq!(bench.ask("POST", "/simulator/settings", json!({"typo": 0})).await.0, 422);
}

#[tokio::test]
async fn whoami_tells_the_address_to_a_token_that_may_know_it() {
    let bench = Bench::new().await;
    let me = json!({"id": "usrSimulatedOwner", "email": "ivan@example.com"});
    assert_eq!(bench.ask("GET", "/v0/meta/whoami", json!({})).await, (200, me));
    let plain = bench.airtable.token_with(&["data.records:read"], Role::Read);
    let me = json!({"id": "usrSimulatedOwner"});
    assert_eq!(bench.ask_as(&plain, "GET", "/v0/meta/whoami", json!({})).await, (200, me));
}
