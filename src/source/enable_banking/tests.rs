//! The connector's readers against recorded traffic and against listings that were reported.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::{Reaction, Refusal, tests::refusal};
use super::listing::{Frame, Next, Pages, balance};
use super::transaction::Transaction;
use crate::model::{Account, Row};

/// The private key of the simulated application, in both forms.
pub mod keys {
    pub const PKCS8: &str = include_str!("../../simulator/enable_banking/key.pem");
    pub const PKCS1: &str = include_str!("../../simulator/enable_banking/key-pkcs1.pem");
}

fn row(id: Value, amount: &str, text: &str) -> Value {
    json!({
        "entry_reference": id, "transaction_amount": {"amount": amount, "currency": "EUR"}, "status": "BOOK",
        "credit_debit_indicator": "DBIT", "booking_date": "2026-11-22", "remittance_information": [text],
    })
}

fn with_balance(mut row: Value, balance: &str) -> Value {
    row["balance_after_transaction"] = json!({"currency": "EUR", "amount": balance});
    row
}

fn page(rows: &[Value], key: Option<&str>) -> crate::remote::packed::PackedText {
    json!({"transactions": rows, "continuation_key": key}).to_string().into()
}

fn rows(pages: Pages) -> Vec<Row> {
    let account = Account {
        account: "BG1".into(),
        name: String::new(),
        customer: String::new(),
        currency: "EUR".into(),
        balance: None,
    };
    let today = chrono::NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
    let (from, unlisted, doubt, notes) = (None, None, None, Vec::new());
    let page = pages.finish().page(Frame { account, own: "BG1".into(), from, today, unlisted, doubt, notes });
    page.rows.map(|row| row.unwrap_or_else(|refused| panic!("{}", refused.why))).collect()
}

fn listed(list: &[Value]) -> Vec<Row> {
    let mut pages = Pages::new(None, "EUR");
    assert_eq!(pages.add(page(list, None)), Ok(Next::End));
    rows(pages)
}

#[test]
fn a_row_that_comes_twice_is_one_where_an_id_or_a_balance_proves_it() {
    let count = |list: &[Value]| listed(list).len();
    let coffee = |id: Value| row(id, "3.50", "coffee");
    assert_eq!(count(&[coffee(json!("a")), coffee(json!("a"))]), 1);
    assert_eq!(count(&[coffee(json!("a")), coffee(json!("b"))]), 2);
    assert_eq!(count(&[coffee(json!(null)), coffee(json!(null))]), 2);
    assert_eq!(count(&[coffee(json!("0")), coffee(json!("0"))]), 2);
    // An id that stands at other rows, too, is none.
    assert_eq!(count(&[coffee(json!("x")), coffee(json!("x")), row(json!("x"), "1.00", "tea")]), 3);
    let after = |id: &str, balance: &str| with_balance(coffee(json!(id)), balance);
    assert_eq!(count(&[after("a", "10.00"), after("b", "10.0")]), 1);
    assert_eq!(count(&[after("a", "10.00"), after("b", "6.50")]), 2);
}

#[test]
fn ids_do_not_depend_on_the_order_or_on_the_ids_of_the_bank() {
    let list = |ids: [&str; 4]| {
        let [a, b, c, d] = ids.map(|id| json!(id));
        [row(a, "3.50", "coffee"), row(b, "3.50", "coffee"), row(c, "1", "tea"), row(d, "1", "milk")]
    };
    let ids = |list: &[Value]| {
        let mut ids: Vec<String> = listed(list).into_iter().map(|row| row.id).collect();
        ids.sort();
        ids
    };
    let first = ids(&list(["1", "2", "3", "4"]));
    assert!(first.iter().all(|id| id.starts_with("enable-banking:BG1:2026-11-22:")), "{first:?}");
    let mut again = list(["9", "8", "7", "6"]);
    again.reverse();
    assert_eq!(ids(&again), first);
}

#[test]
fn a_page_that_comes_again_ends_the_listing() {
    let (coffee, tea) = (row(json!("a"), "3.50", "coffee"), row(json!("b"), "1", "tea"));
    let mut pages = Pages::new(None, "EUR");
    assert_eq!(pages.add(page(&[], Some("k1"))), Ok(Next::Key("k1".into())));
    assert_eq!(pages.add(page(std::slice::from_ref(&coffee), Some("k2"))), Ok(Next::Key("k2".into())));
    assert_eq!(pages.add(page(std::slice::from_ref(&coffee), Some("k3"))), Ok(Next::Repeated));
    assert_eq!(pages.add(page(&[tea], None)), Ok(Next::End));
    assert_eq!(rows(pages).len(), 2);
    for (text, why) in
        [("{\"transactions\":[{", "cut off"), ("<html>", "no JSON"), ("{\"transactions\":null}", "no list")]
    {
        assert!(Pages::new(None, "EUR").add(text.into()).unwrap_err().contains(why), "{text}");
    }
}

#[test]
fn equal_rows_at_a_page_break_are_in_doubt_and_others_are_not() {
    let coffee = || row(json!(null), "3.50", "coffee");
    let pages = |before: Value, after: Value| {
        let mut pages = Pages::new(None, "EUR");
        pages.add(page(&[row(json!(null), "9", "first"), before], Some("k"))).unwrap();
        pages.add(page(&[after, row(json!(null), "8", "last")], None)).unwrap();
        pages
    };
    let mut doubtful = pages(coffee(), coffee());
    assert!(doubtful.is_doubtful());
    assert!(doubtful.begins_with(page(&[row(json!(null), "9", "first"), coffee()], Some("other"))));
    assert!(!doubtful.begins_with(page(&[row(json!(null), "7", "new"), row(json!(null), "9", "first")], None)));
    doubtful.join_at_breaks();
    assert_eq!(rows(doubtful).len(), 3);
    assert_eq!(rows(pages(coffee(), coffee())).len(), 4);
    assert!(!pages(coffee(), row(json!(null), "3.50", "other coffee")).is_doubtful());
    assert!(!pages(with_balance(coffee(), "1"), with_balance(coffee(), "2")).is_doubtful());
}

#[test]
fn a_row_that_cannot_be_read_is_named_and_holds_back_no_other() {
    let mut undated = row(json!("a"), "1", "x");
    undated["booking_date"] = Value::Null;
    let odd = [json!(7), row(json!("b"), "1,5", "y"), undated, row(json!("c"), "2", "good")];
    let mut pages = Pages::new(None, "EUR");
    pages.add(page(&odd, None)).unwrap();
    let account = Account {
        account: "BG1".into(),
        name: String::new(),
        customer: String::new(),
        currency: "EUR".into(),
        balance: None,
    };
    let today = chrono::NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
    let (from, unlisted, doubt, notes) = (None, None, None, Vec::new());
    let page = pages.finish().page(Frame { account, own: String::new(), from, today, unlisted, doubt, notes });
    let (good, bad): (Vec<_>, Vec<_>) = page.rows.partition(Result::is_ok);
    assert_eq!((good.len(), page.count), (1, 4));
    let why: Vec<String> = bad.into_iter().map(|row| row.unwrap_err().why).collect();
    for (why, expected) in why.iter().zip(["no JSON object", "`1,5` is not a plain decimal", "neither a booking date"])
    {
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn a_booked_balance_is_preferred_to_one_with_an_overdraft() {
    let of = |kind: &str, amount: &str| json!({"balance_type": kind, "balance_amount": {"currency": "EUR", "amount": amount}});
    let chosen = |list: Value| balance(&json!({"balances": list}), "EUR").map(|amount| amount.to_string());
    assert_eq!(chosen(json!([of("ITAV", "1100.00"), of("CLBD", "100.00")])).as_deref(), Some("100.00"));
    assert_eq!(chosen(json!([of("XPCD", "5.00")])).as_deref(), Some("5.00"));
    let other = json!({"balance_type": "CLBD", "balance_amount": {"currency": "USD", "amount": "9"}});
    assert_eq!(chosen(json!([other, of("ITAV", "7.00")])).as_deref(), Some("7.00"));
    assert_eq!(chosen(json!([])), None);
}

/// The body of a recording; `None`: no folder of recordings is named.
fn recorded(name: &str) -> Option<(u16, Value)> {
    let folder = PathBuf::from(std::env::var_os("BANKFEED_RECORDINGS")?).join("enable-banking");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let recording: Value = serde_json::from_str(&text).unwrap();
    let response = &recording["response"];
    Some((response["status"].as_u64().unwrap() as u16, response["body"].clone()))
}

fn skipped() {
    let _ = writeln!(std::io::stderr(), "skipped: BANKFEED_RECORDINGS names no folder of recordings");
}

#[test]
fn recorded_refusals_have_their_reactions() {
    for (name, expected) in [
        ("err_400_aspsp_error_detail_null", Reaction::BankTrouble),
        ("err_400_aspsp_error_detail_object", Reaction::BankTrouble),
        ("err_400_aspsp_error_detail_string", Reaction::BankTrouble),
        ("err_401_closed_session", Reaction::ConsentEnded),
        ("err_401_expired_session", Reaction::ConsentEnded),
        ("err_403_application_not_active", Reaction::Application),
        ("err_422_consent_validity_too_long", Reaction::Parameters),
        ("err_422_continuation_key_other_params", Reaction::Parameters),
        ("err_422_transaction_does_not_exist", Reaction::Other),
        ("err_422_wrong_transactions_period", Reaction::Period),
        ("err_429_aspsp_rate_limit", Reaction::RateLimited),
    ] {
        let Some((status, body)) = recorded(name) else {
            return skipped();
        };
        let refusal: Refusal = refusal(status, &body.to_string());
        assert_eq!(refusal.reaction(), expected, "{name}");
    }
}

#[test]
fn recorded_listings_are_read() {
    for (name, booked) in [
        ("transactions_200_page1_with_key", 2),
        ("transactions_200_page2_last", 1),
        ("sample_transactions_ynabber", 2),
        ("sample_transactions_quirks_actual", 4),
        ("reported_pending_ing_no_indicator", 0),
        ("invented_transactions_id_traps", 8),
    ] {
        let Some((_, body)) = recorded(name) else {
            return skipped();
        };
        let list = body["transactions"].as_array().unwrap();
        let read: Vec<_> = list.iter().map(|row| Transaction::read(&row.to_string()).unwrap()).collect();
        let good = read.iter().filter(|row| row.is_booked && row.fault().is_none()).count();
        assert_eq!(good, booked, "{name}");
        if booked == 8 {
            let ids = |list: &[Value]| {
                let mut ids: Vec<String> = listed(list).into_iter().map(|row| row.id).collect();
                ids.sort();
                ids
            };
            let mut reversed = list.clone();
            reversed.reverse();
            assert_eq!((ids(list).len(), ids(&reversed)), (8, ids(list)));
        }
    }
}
