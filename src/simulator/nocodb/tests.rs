//! The promises of the simulated NocoDB, and the traffic of a real one replayed against it.

use std::collections::HashMap;
use std::path::PathBuf;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Nocodb, Role, serve};

struct Bench {
    nocodb: Nocodb,
    base: String,
    token: String,
}

impl Bench {
    async fn new() -> Bench {
        let nocodb = Nocodb::start().await.unwrap();
        let (base, token) = (nocodb.create_base("Bank"), nocodb.token());
        Bench { nocodb, base, token }
    }

    async fn ask(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        self.ask_as(&self.token, method, target, body).await
    }

    async fn ask_as(&self, token: &str, method: &str, target: &str, body: &str) -> (u16, Value) {
        let mut headers = HeaderMap::new();
        headers.insert("xc-token", token.parse().unwrap());
        headers.insert("host", "127.0.0.1:8085".parse().unwrap());
        let (state, body) = (Shared(self.nocodb.state.clone()), Bytes::from(body.to_owned()));
        let answer = serve(state, method.parse().unwrap(), target.parse().unwrap(), headers, body).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// A table with an id and an amount. Returns the address of its records.
    async fn table(&self) -> String {
        let fields =
            json!([{"title": "K", "type": "SingleLineText", "unique": true}, {"title": "A", "type": "Decimal"}]);
        let body = json!({"title": "T", "fields": fields}).to_string();
        let (status, table) = self.ask("POST", &format!("/api/v3/meta/bases/{}/tables", self.base), &body).await;
        assert_eq!(status, 200);
        format!("/api/v3/data/{}/{}/records", self.base, table["id"].as_str().unwrap())
    }
}

#[tokio::test]
async fn a_token_may_do_what_its_user_may() {
    let bench = Bench::new().await;
    let records = bench.table().await;
    for (role, read, write) in
        [(Role::NoAccess, 403, 403), (Role::Viewer, 200, 403), (Role::Editor, 200, 200), (Role::Creator, 200, 200)]
    {
        let token = bench.nocodb.token_with(role);
        assert_eq!(bench.ask_as(&token, "GET", &records, "").await.0, read, "{role:?}");
        assert_eq!(bench.ask_as(&token, "POST", &records, "[]").await.0, write, "{role:?}");
        let me = bench.ask_as(&token, "GET", &format!("/api/v1/auth/user/me?base_id={}", bench.base), "").await.1;
        assert_eq!(me["base_roles"], json!({ role.name(): true }));
    }
    assert_eq!(bench.ask_as("nope", "GET", &records, "").await.0, 401);
}

#[tokio::test]
async fn values_in_filters_are_found_but_for_quotes_and_backslashes() {
    let bench = Bench::new().await;
    let records = bench.table().await;
    for id in ["a,b", "a\"b", "a\\b", "a)b", "a'b", "~and", "a%b"] {
        bench.ask("POST", &records, &json!([{"fields": {"K": id}}]).to_string()).await;
        let filter: String =
            url::form_urlencoded::byte_serialize(format!("(K,in,\"zz\",\"{id}\")").as_bytes()).collect();
        let (status, found) = bench.ask("GET", &format!("{records}?where={filter}"), "").await;
        match id {
            "a\"b" => assert_eq!((status, found["error"].as_str()), (422, Some("ERR_INVALID_FILTER"))),
            "a\\b" => assert_eq!(found["records"], json!([])),
            _ => assert_eq!(found["records"][0]["fields"]["K"], id, "{id}"),
        }
    }
    let (_, found) = bench.ask("GET", &format!("{records}?where=(K,like,%22a_b%22)&fields=K"), "").await;
    assert_eq!(found["records"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_request_is_carried_out_whole_or_not_at_all() {
    let bench = Bench::new().await;
    let records = bench.table().await;
    bench.ask("POST", &records, r#"[{"fields":{"K":"1"}},{"fields":{"K":"2"}}]"#).await;
    for (method, body, status) in [
        ("POST", r#"[{"fields":{"K":"3"}},{"fields":{"K":"1"}}]"#, 409),
        ("POST", r#"[{"fields":{"K":"3"}},{"fields":{"A":"x"}}]"#, 422),
        ("PATCH", r#"[{"id":1,"fields":{"A":"5"}},{"id":9,"fields":{"A":"5"}}]"#, 404),
        ("PATCH", r#"[{"id":1,"fields":{"A":"5"}},{"id":1,"fields":{"A":"5"}}]"#, 422),
        ("DELETE", r#"[{"id":1},{"id":9}]"#, 404),
        ("PATCH", r#"[{"id":2,"fields":{"K":"1"}}]"#, 200),
    ] {
        assert_eq!(bench.ask(method, &records, body).await.0, status, "{body}");
    }
    let rows = bench.nocodb.read(&bench.base, |base| base.table("T").rows());
    assert_eq!(rows.iter().map(|row| row["K"].as_str().unwrap()).collect::<Vec<_>>(), ["1", "2"]);
    assert!(rows.iter().all(|row| !row.contains_key("A")));
}

/// The recordings with their requests in the order in which they were sent, as far as version 3 without links goes.
const SQLITE: &[&str] = &[
    "v3_table_create",
    "v3_table_get",
    "v3_table_by_title",
    "v3_create_one_object",
    "v3_create_two",
    "v3_create_duplicate_of_unique",
    "v3_create_bearer",
    "v3_create_unknown_field",
    "v3_create_only_unknown_field",
    "v3_create_decimal_as_string",
    "v3_create_bad_decimal",
    "v3_create_bad_date",
    "v3_create_unknown_choice",
    "v3_create_second_of_two_bad",
    "v3_list_after_half_bad_batch",
    "v3_create_11",
    "v3_create_empty_list",
    "v3_create_broken_json",
    "v3_create_long_decimal",
    "v3_list",
    "v3_list_page_2",
    "v3_list_fields",
    "v3_pageSize_5000",
    "v3_get_one",
    "v3_get_unknown_id",
    "v3_filter_eq",
    "v3_filter_eq_quoted",
    "v3_filter_id_in",
    "v3_filter_in",
    "v3_filter_in_100",
    "v3_filter_comma_in_value",
    "v3_filter_blank",
    "v3_filter_null",
    "v3_filter_and",
    "v3_filter_broken",
    "v3_filter_case",
    "v3_filter_unknown_field",
    "v3_filter_field_id",
    "v3_filter_at_prefix_quoted",
    "v3_update",
    "v3_update_numeric_id",
    "v3_update_unknown_id",
    "v3_get_after_half_bad_update",
    "v3_update_without_id",
    "v3_update_null",
    "v3_delete",
    "v3_delete_again",
    "v3_count",
    "v3_filter_date_exact",
    "v3_filter_date_ge",
    "v3_create_awkward_ids",
    "v3_filter_comma",
    "v3_filter_comma_quoted",
    "v3_filter_dquote_escaped",
    "v3_filter_backslash_escaped",
    "v3_filter_squote",
    "v3_filter_paren_quoted",
    "v3_filter_cyrillic",
    "v3_filter_null_quoted",
    "v3_long_text_100k",
    "v3_write_id_field",
    "v3_write_system_field",
    "v3_field_add",
    "v3_field_add_same_title",
    "v3_field_rename",
    "v3_create_by_field_id",
    "v3_create_by_old_title",
    "v3_field_make_unique_with_duplicates",
    "v3_field_delete",
    "v3_upsert_absent",
    "err_bad_token",
    "err_no_token",
    "err_unknown_base",
    "err_unknown_path",
    "err_unknown_table",
];

const POSTGRESQL: &[&str] = &[
    "pg_v3_table_create_unique",
    "pg_v3_create",
    "pg_v3_create_duplicate",
    "pg_v3_create_batch_with_duplicate",
    "pg_v3_list",
    "pg_v3_create_precise_decimal",
    "pg_v3_update_to_duplicate",
];

/// Parts of answers that no simulator can repeat, or that it leaves out: ids of things beside tables and fields, times,
/// views, colours.
const LEFT_OUT: [&str; 12] = [
    "CreatedAt",
    "UpdatedAt",
    "source_id",
    "workspace_id",
    "views",
    "options",
    "color",
    "default_value",
    "system",
    "base_id",
    "nestedNext",
    "unique",
];

struct Replay {
    bench: Bench,
    folder: PathBuf,
    /// Names that the real server gave to things, with those that the simulator gives them.
    ids: HashMap<String, String>,
}

impl Replay {
    fn here(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    async fn send(&mut self, name: &str) {
        let text = std::fs::read(self.folder.join(format!("{name}.json"))).unwrap();
        let recording: Value = serde_json::from_slice(&text).unwrap();
        let (request, response) = (&recording["request"], &recording["response"]);
        let token = match request["headers"].as_object() {
            Some(headers)
                if headers.values().any(|value| value.as_str().is_some_and(|text| text.contains("<API-TOKEN>"))) =>
            {
                self.bench.token.clone()
            }
            _ => "nope".to_owned(),
        };
        let body = match &request["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => self.here(&body.to_string()),
        };
        let target = self.here(request["path"].as_str().unwrap()).replace(' ', "%20").replace('"', "%22");
        let method = request["method"].as_str().unwrap();
        let (status, answer) = self.bench.ask_as(&token, method, &target, &body).await;
        assert_eq!(Some(u64::from(status)), response["status"].as_u64(), "{name}: {answer}");
        self.learn(&response["body"], &answer);
        let expected: Value = serde_json::from_str(&self.here(&response["body"].to_string())).unwrap();
        compare(name, &expected, &answer);
    }

    /// Learns which thing here is which thing there.
    fn learn(&mut self, there: &Value, here: &Value) {
        if let (Some(one), Some(other)) = (there["id"].as_str(), here["id"].as_str()) {
            self.ids.insert(one.to_owned(), other.to_owned());
        }
        if let (Some(one), Some(other)) = (there["fields"].as_array(), here["fields"].as_array()) {
            one.iter().zip(other).for_each(|(there, here)| self.learn(there, here));
        }
    }
}

/// Rows that a recording leaves out for brevity are left out of the comparison.
fn compare(name: &str, expected: &Value, found: &Value) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, expected) in expected.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())) {
                let found = found.get(key).unwrap_or_else(|| panic!("{name}: {key} is missing in {found:?}"));
                match (key.as_str(), expected, found) {
                    ("next" | "prev", Value::String(one), Value::String(other)) => {
                        assert_eq!(parts(one), parts(other), "{name}");
                    }
                    _ => compare(name, expected, found),
                }
            }
            let extra = found.keys().find(|key| !expected.contains_key(*key) && !LEFT_OUT.contains(&key.as_str()));
            assert_eq!(extra, None, "{name}");
        }
        (Value::Array(expected), Value::Array(found)) => {
            let cut = expected.last().and_then(Value::as_str).and_then(|text| text.strip_prefix("… "));
            let length = cut.map_or(expected.len(), |text| text.split(' ').next().unwrap().parse().unwrap());
            assert_eq!(length, found.len(), "{name}");
            let shown = expected.len() - usize::from(cut.is_some());
            expected[..shown].iter().zip(found).for_each(|(expected, found)| compare(name, expected, found));
        }
        (Value::Number(expected), Value::Number(found)) => assert_eq!(expected.as_f64(), found.as_f64(), "{name}"),
        _ => assert_eq!(expected, found, "{name}"),
    }
}

fn parts(address: &str) -> Vec<(String, String)> {
    let address = url::Url::parse(address).unwrap();
    let mut parts: Vec<_> = address.query_pairs().into_owned().collect();
    parts.push(("path".into(), address.path().into()));
    parts.sort();
    parts
}

/// Recorded requests that were cut for brevity, whole again.
fn whole(folder: &std::path::Path) -> HashMap<&'static str, Value> {
    let rows = |ids: Vec<String>| ids.into_iter().map(|id| json!({"fields": {"Transaction ID": id}})).collect();
    let awkward = ["a,b", "a\"b", "a'b", "a)b", "a(b", "a\\b", "null", "Кир"].map(str::to_owned).to_vec();
    assert!(folder.is_dir());
    HashMap::from([
        ("v3_create_11", rows((0..11).map(|n| format!("m{n}")).collect())),
        ("v3_create_awkward_ids", rows(awkward)),
    ])
}

#[tokio::test]
async fn recorded_traffic_is_answered_as_it_was() {
    let Some(folder) = std::env::var_os("BANKFEED_RECORDINGS").map(|folder| PathBuf::from(folder).join("nocodb"))
    else {
        return;
    };
    for (names, enforces, base) in [(SQLITE, false, "p8auuz69vrp7wuf"), (POSTGRESQL, true, "pcs8c8kam2muknv")] {
        let bench = Bench::new().await;
        bench.nocodb.enforce_unique(enforces);
        let ids = HashMap::from([(base.to_owned(), bench.base.clone())]);
        let (whole, mut replay) = (whole(&folder), Replay { bench, folder: folder.clone(), ids });
        for name in names {
            if *name == "pg_v3_create_precise_decimal" {
                // The recorded table has refused one more row by then, through version 2.
                let (target, row) = (
                    replay.here("/api/v3/data/pcs8c8kam2muknv/mzlz8sic8jmofju/records"),
                    r#"{"fields":{"Transaction ID":"t1"}}"#,
                );
                assert_eq!(replay.bench.ask("POST", &target, row).await.0, 409);
            }
            match whole.get(name) {
                Some(body) => replay.send_whole(name, body).await,
                None => replay.send(name).await,
            }
        }
    }
}

impl Replay {
    /// Sends a request whose recording is cut.
    async fn send_whole(&mut self, name: &str, body: &Value) {
        let text = std::fs::read(self.folder.join(format!("{name}.json"))).unwrap();
        let recording: Value = serde_json::from_slice(&text).unwrap();
        let target = self.here(recording["request"]["path"].as_str().unwrap());
        let (status, answer) = self.bench.ask("POST", &target, &body.to_string()).await;
        assert_eq!(Some(u64::from(status)), recording["response"]["status"].as_u64(), "{name}: {answer}");
        compare(name, &recording["response"]["body"], &answer);
    }
}
