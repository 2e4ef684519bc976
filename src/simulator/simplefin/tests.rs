use chrono::{Days, Utc};
use serde_json::Value;

use super::*;

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

async fn start() -> SimpleFin {
    SimpleFin::start(Ledger::small(Utc::now().date_naive())).await.unwrap()
}

async fn get(service: &SimpleFin, query: &str) -> (u16, Value) {
    let url = format!("{}/simplefin/accounts{query}", service.server.url());
    let request = client().get(url).basic_auth(USER, Some(PASSWORD)).header("user-agent", "tests");
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

fn days_back(days: u64) -> i64 {
    let day = Utc::now().date_naive().checked_sub_days(Days::new(days)).unwrap();
    day.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp()
}

#[tokio::test]
async fn long_ranges_are_warned_of_and_cut_with_the_recorded_words() {
    let service = start().await;
    for (days, words) in [
        (44, None),
        (45, Some("Requested date range exceeds recommended range of 45 days. In the future, this may be capped.")),
        (89, Some("Requested date range exceeds recommended range of 45 days. In the future, this may be capped.")),
        (90, Some("Requested date range exceeds limit of 90 days and was capped.")),
    ] {
        let (_, answer) = get(&service, &format!("?version=2&start-date={}", days_back(days))).await;
        assert_eq!(answer["errlist"][0]["msg"].as_str(), words, "{days}");
        let (_, answer) = get(&service, &format!("?start-date={}", days_back(days))).await;
        assert_eq!(answer["errors"][0].as_str(), words, "{days}");
    }
    service.switch(|switches| switches.cuts_silently = true);
    let (_, answer) = get(&service, &format!("?version=2&start-date={}", days_back(200))).await;
    assert_eq!(answer["errlist"], serde_json::json!([]));
    let rows = answer["accounts"][0]["transactions"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["posted"].as_i64().unwrap() >= days_back(91)), "cut all the same");
}

#[tokio::test]
async fn the_end_is_exclusive_and_pending_rows_come_when_they_are_mentioned() {
    let service = start().await;
    let account = service.edit(|ledger| {
        let account = ledger.accounts[0].id.clone();
        ledger.reserve(&account, "-5.00", "PENDING");
        account
    });
    let posted = service.edit(|ledger| ledger.account(&account).transactions[0].posted);
    let count = async |query: String| {
        let (_, answer) = get(&service, &query).await;
        answer["accounts"][0]["transactions"].as_array().unwrap().len()
    };
    assert_eq!(count(format!("?start-date={}&end-date={posted}", posted - 1)).await, 0);
    assert_eq!(count(format!("?start-date={posted}&end-date={}", posted + 1)).await, 2);
    let with_pending = count(format!("?start-date={posted}&pending=0&unknown=1")).await;
    assert_eq!(with_pending, count(format!("?start-date={posted}")).await + 1);
    assert_eq!(count("?balances-only=1".into()).await, 0);
    service.edit(|ledger| ledger.accounts[0].id = "Demo Savings".into());
    let (_, answer) = get(&service, "?account=Demo%20Savings&account=nowhere").await;
    assert_eq!(answer["accounts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn too_many_requests_are_warned_of_and_then_end_the_access() {
    let service = start().await;
    service.switch(|switches| switches.quota = Some(2));
    for (status, warned) in [(200, false), (200, false), (200, true), (200, true), (403, false), (403, false)] {
        let (found, answer) = get(&service, "?version=2&balances-only=1").await;
        let is_warned = answer["errlist"].as_array().is_some_and(|errlist| !errlist.is_empty());
        assert_eq!((found, is_warned), (status, warned));
    }
    let service = start().await;
    service.switch(|switches| switches.quota = Some(1));
    assert_eq!(get(&service, "?balances-only=1").await.1["errors"], serde_json::json!([]));
    let alone = get(&service, "?balances-only=1&account=x").await;
    assert_eq!(alone.1["errors"], serde_json::json!([]), "an account that is asked for alone has its own allowance");
}

#[tokio::test]
async fn strangers_and_nameless_programs_get_nothing() {
    let service = start().await;
    let url = format!("{}/simplefin/accounts", service.server.url());
    let answer = client().get(&url).header("user-agent", "tests").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("Access denied"));
    let answer = client().get(&url).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 513);
}
