//! The simulator against recorded traffic: the same keys and types of values at every level.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::*;

/// A client with the application's key.
struct Client(EnableBanking, reqwest::Client);

impl Client {
    async fn new(accounts: Vec<Account>) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let service = EnableBanking::start(vec![Bank::new("DSK Bank", accounts)]).await.unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().tls_certs_only([]);
        Client(service, http.build().unwrap())
    }

    async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.0.server.url());
        let request = self.1.request(method.parse().unwrap(), url).bearer_auth(token);
        let request = body.map_or(request.try_clone().unwrap(), |body| request.json(&body));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, &token(&json!({})), None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, &token(&json!({})), Some(body)).await
    }

    /// A session, from the wish for consent on.
    async fn session(&self) -> Value {
        let (_, begun) = self.post("/auth", wish(170)).await;
        let back = self.1.get(begun["url"].as_str().unwrap()).send().await.unwrap();
        let back = url::Url::parse(back.headers()["location"].to_str().unwrap()).unwrap();
        let code = back.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned();
        let (status, session) = self.post("/sessions", json!({"code": code})).await;
        assert_eq!(status, 200, "{session}");
        let (status, again) = self.post("/sessions", json!({"code": code})).await;
        assert_eq!((status, &again["error"]), (400, &json!("ALREADY_AUTHORIZED")));
        session
    }
}

fn wish(days: i64) -> Value {
    json!({
        "access": {"valid_until": (Utc::now() + TimeDelta::days(days)).to_rfc3339(), "balances": true, "transactions": true},
        "aspsp": {"name": "DSK Bank", "country": "BG"}, "state": "s", "redirect_url": REDIRECT_URL, "psu_type": "personal",
    })
}

/// A token with some claims or header fields changed.
fn token(change: &Value) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let now = Utc::now().timestamp();
    let value = |key: &str, usual: Value| change.get(key).cloned().unwrap_or(usual);
    let head = json!({"typ": "JWT", "alg": value("alg", json!("RS256")), "kid": value("kid", json!(APPLICATION))});
    let claims = json!({
        "iss": value("iss", json!("enablebanking.com")), "aud": value("aud", json!("api.enablebanking.com")),
        "iat": value("iat", json!(now - 5)), "exp": value("exp", json!(now + 300)),
    });
    let der: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = ring::rsa::KeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signature = vec![0; pair.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    pair.sign(&ring::signature::RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
    if change.get("forged").is_some() {
        signature[7] ^= 1;
    }
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn tokens_are_checked() {
    let client = Client::new(Vec::new()).await;
    let now = Utc::now().timestamp();
    assert_eq!(client.get("/application").await.0, 200);
    for wrong in [
        json!({"alg": "none"}),
        json!({"kid": "another"}),
        json!({"iss": "x"}),
        json!({"aud": "x"}),
        json!({"exp": now - 1}),
        json!({"iat": now + 60}),
        json!({"exp": now + 90_000}),
        json!({"forged": true}),
    ] {
        let (status, body) = client.call("GET", "/application", &token(&wrong), None).await;
        assert_eq!((status, body.get("error")), (401, None), "{wrong}");
    }
    client.0.edit(|service| service.application.is_active = false);
    let (status, body) = client.get("/application").await;
    assert_eq!((status, &body["message"], body.get("error")), (403, &json!("Application is not active"), None));
}

#[tokio::test]
async fn consents_are_no_longer_than_the_bank_gives() {
    let client = Client::new(vec![Account::new("BG32FINV91501000000001")]).await;
    for (change, status) in [
        (json!({}), 200),
        (json!({"redirect_url": "https://x.example/"}), 400),
        (json!({"aspsp": {"name": "DSK", "country": "BG"}}), 400),
        (json!({"access": {"valid_until": (Utc::now() + TimeDelta::days(181)).to_rfc3339()}}), 422),
    ] {
        let mut body = wish(100);
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(client.post("/auth", body).await.0, status, "{change}");
    }
}

/// The shape of a value: its keys at every level, and the types of what is there.
fn shape(value: &Value, path: &str, found: &mut std::collections::BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => return,
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            items.iter().for_each(|item| shape(item, &format!("{path}[]"), found));
            "list"
        }
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| shape(value, &format!("{path}.{key}"), found));
            "object"
        }
    };
    found.insert(path.to_owned(), kind);
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().into_iter().flat_map(|members| members.keys()).collect()
}

/// Compares with the body of a recording: the same keys at the top and in the first elements, and no value of another type.
fn compare(name: &str, answer: &Value, recordings: &std::path::Path) {
    let text = std::fs::read_to_string(recordings.join(format!("{name}.json"))).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let recorded = &recorded["response"]["body"];
    let own: Vec<_> = keys(answer);
    assert_eq!(own, keys(recorded), "{name}");
    for (key, value) in recorded.as_object().unwrap() {
        let first = |list: &Value| list[0].clone();
        if value[0].is_object() && answer[key][0].is_object() {
            let (own, theirs) = (first(&answer[key]), first(value));
            let missing: Vec<_> = keys(&own).into_iter().filter(|key| theirs.get(key).is_none()).cloned().collect();
            let allowed = ["required_psu_headers", "reference_date", "last_change_date_time", "name"];
            assert!(missing.iter().all(|key| allowed.contains(&key.as_str())), "{name}: {key}: {missing:?}");
        }
    }
    let (mut own, mut theirs) = Default::default();
    shape(answer, "", &mut own);
    shape(recorded, "", &mut theirs);
    for (path, kind) in &own {
        assert!(theirs.get(path).is_none_or(|other| other == kind), "{name}: {path} is {kind}");
    }
}

#[tokio::test]
async fn answers_have_the_shapes_of_recorded_ones() {
    let Some(folder) = std::env::var_os("BANKFEED_RECORDINGS") else {
        let _ = writeln!(std::io::stderr(), "skipped: BANKFEED_RECORDINGS names no folder of recordings");
        return;
    };
    let recordings = PathBuf::from(folder).join("enable-banking");
    let today = Utc::now().date_naive();
    let entries = vec![entry(today, "-1.00", "Cafe", "espresso"), entry(today, "-2.00", "Lidl", "food")];
    let client = Client::new(vec![Account { entries, ..Account::new("BG32FINV91501000000001") }]).await;
    compare("doc_application_200", &client.get("/application").await.1, &recordings);
    compare("aspsps_200_fi_business", &client.get("/aspsps?country=BG").await.1, &recordings);
    compare("auth_start_200", &client.post("/auth", wish(90)).await.1, &recordings);
    let session = client.session().await;
    compare("session_create_200", &session, &recordings);
    let id = session["session_id"].as_str().unwrap();
    compare("doc_session_get_200", &client.get(&format!("/sessions/{id}")).await.1, &recordings);
    let path = format!("/accounts/{}", session["accounts"][0]["uid"].as_str().unwrap());
    compare("account_details_200", &client.get(&format!("{path}/details")).await.1, &recordings);
    compare("balances_200_itav_itbd", &client.get(&format!("{path}/balances")).await.1, &recordings);
    client.0.bank(|bank| (bank.traps.page_rows, bank.traps.quota) = (1, Some(3)));
    let from = format!("{path}/transactions?date_from={today}");
    let (_, page) = client.get(&from).await;
    compare("transactions_200_page1_with_key", &page, &recordings);
    let key: String =
        url::form_urlencoded::byte_serialize(page["continuation_key"].as_str().unwrap().as_bytes()).collect();
    compare("transactions_200_page2_last", &client.get(&format!("{from}&continuation_key={key}")).await.1, &recordings);
    let refused = async |name: &str, path: &str, expected: u16| {
        let (status, body) = client.get(path).await;
        assert_eq!(status, expected, "{body}");
        compare(name, &body, &recordings);
    };
    refused("err_422_continuation_key_other_params", &format!("{path}/transactions?continuation_key={key}"), 422).await;
    client.get(&from).await;
    client.get(&from).await;
    refused("err_429_aspsp_rate_limit", &from, 429).await;
    client.0.bank(|bank| bank.traps.quota = None);
    client.0.edit(|service| service.sessions[0].created -= TimeDelta::hours(2));
    refused("err_422_wrong_transactions_period", &format!("{path}/transactions?date_from=2020-01-01"), 422).await;
    client.0.edit(|service| service.sessions[0].status = "CLOSED");
    refused("err_401_closed_session", &from, 401).await;
    client.0.edit(|service| service.sessions[0].status = "EXPIRED");
    refused("err_401_expired_session", &from, 401).await;
    client.0.edit(|service| service.application.is_active = false);
    let (status, body) = client.get("/application").await;
    assert_eq!((status, body.get("error")), (403, None));
}
