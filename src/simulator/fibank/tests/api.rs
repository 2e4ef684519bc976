//! The API, asked by hand.

use serde_json::Value;

use super::*;
use crate::simulator::world;

const ALWAYS: [&str; 2] = ["1993-02-27T00:00:00+0200", "2026-12-31T00:00:00+0200"];

fn window<'a>(iban: &'a str, from: &'a str, to: &'a str) -> [(&'a str, &'a str); 5] {
    [("FromDate", from), ("ToDate", to), ("Iban", iban), ("StmtType", "T"), ("isAccountFromPSD2", "false")]
}

impl Browser {
    /// A browser that has a token already.
    async fn with_token(bank: Bank) -> Browser {
        let mut browser = Browser::open(bank).await;
        browser.token = browser.bank.issue_token();
        browser
    }

    async fn json(&self, call: &str, customer: &str, query: &[(&str, &str)]) -> Value {
        let answer = self.api(call, Some(customer), query).await;
        assert_eq!(answer.status(), 200, "{call}");
        answer.json().await.unwrap()
    }

    /// The statement of the first account of [`Bank::small`].
    async fn statement(&self, from: &str, to: &str) -> Response {
        self.api("sywsquery/sywsquery/GetCustBal", Some("1000001"), &window(&world::iban("00000001"), from, to)).await
    }

    async fn rows(&self, from: &str, to: &str) -> Vec<Value> {
        let answer = self.statement(from, to).await;
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()["acc"][0]["stmt"].as_array().unwrap().clone()
    }
}

fn transactions(rows: &[Value]) -> Vec<&Value> {
    rows.iter().filter(|row| !matches!(row["trnType"].as_str(), Some("OP" | "DT" | "CT" | "CL"))).collect()
}

#[tokio::test]
async fn the_api_wants_a_token_and_a_customer() {
    let mut browser = Browser::open(Bank::small()).await;
    let who = "sywsquery/sywsquery/getCustQuery";
    browser.token = "guess".to_owned();
    let answer = browser.api(who, None, &[]).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"], "invalid_token");
    browser.sign_in().await.unwrap();
    for nobody in [None, Some("0"), Some("")] {
        let answer: Value = browser.api(who, nobody, &[]).await.json().await.unwrap();
        assert_eq!(answer["customer"][0]["ibCustomerId"], 1_000_001);
        assert_eq!(answer["mainCustomer"]["name"], "Иван Измислен");
    }
    let accounts = "sywspicklist/sywspicklist/getFilteredAccounts";
    assert_eq!(browser.api(accounts, None, &[]).await.status(), 500);
    assert_eq!(browser.api(accounts, Some("1000002"), &[]).await.status(), 500);
    let list = browser.json(accounts, "1000001", &[]).await;
    assert_eq!(list[0]["ibanAcNo"], world::iban("00000001"));
    assert_eq!((list.as_array().unwrap().len(), list[1]["ccy"].as_str()), (2, Some("EUR")));
    assert!(list[1].get("acDesc").is_none());
}

#[tokio::test]
async fn a_token_ends_after_its_calls() {
    let mut bank = Bank::small();
    bank.options.token_calls = Some(2);
    let mut browser = Browser::open(bank).await;
    browser.sign_in().await.unwrap();
    let who = "sywsquery/sywsquery/getCustQuery";
    for expected in [200, 200, 401, 401] {
        assert_eq!(browser.api(who, None, &[]).await.status(), expected);
    }
    browser.bank.edit(|bank| bank.options.expired = Expired::Redirect);
    assert_eq!(browser.api(who, None, &[]).await.status(), 302);
    browser.bank.edit(|bank| bank.options.expired = Expired::Page);
    assert!(browser.api(who, None, &[]).await.text().await.unwrap().contains("_csrf"));
    browser.token = browser.bank.issue_token();
    assert_eq!(browser.api(who, None, &[]).await.status(), 200);
    assert_eq!(browser.bank.sign_ins(), 1);
}

#[tokio::test]
async fn a_window_takes_both_encodings_and_no_bare_plus() {
    let mut browser = Browser::open(Bank::small()).await;
    browser.sign_in().await.unwrap();
    let iban = world::iban("00000001");
    let ask = async |from: &str, to: &str| {
        let query = format!("FromDate={from}&ToDate={to}&Iban={iban}&StmtType=T&isAccountFromPSD2=false");
        let path = format!("sywsquery/sywsquery/GetCustBal?{query}");
        browser.api(&path, Some("1000001"), &[]).await
    };
    let from = "2026-02-03T08%3A15%3A00";
    let to = "2026-02-04T10%3A11%3A12";
    for (first, second) in [("%2B0200", "%2B0200"), ("%252B0200", "%2B0200"), ("%2B0200", "%252B0200")] {
        let answer = ask(&format!("{from}{first}"), &format!("{to}{second}")).await;
        assert_eq!(answer.status(), 200);
        let reply: Value = answer.json().await.unwrap();
        let rows = reply["acc"][0]["stmt"].as_array().unwrap();
        let numbers: Vec<u64> = transactions(rows).iter().map(|row| row["acEntrySrNo"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [900_000_002, 900_000_003, 900_000_004, 900_000_005], "both ends belong to it");
    }
    assert_eq!(ask(&format!("{from}+0200"), &format!("{to}%2B0200")).await.status(), 400);
    assert_eq!(ask(&format!("{to}%2B0200"), &format!("{from}%2B0200")).await.status(), 400);
    let narrow = ask(&format!("{from}%2B0200"), "2026-02-04T10%3A11%3A12%2B0300").await;
    let reply: Value = narrow.json().await.unwrap();
    assert_eq!(transactions(reply["acc"][0]["stmt"].as_array().unwrap()).len(), 2, "an offset is an hour");
}

#[tokio::test]
async fn a_statement_adds_up() {
    let mut browser = Browser::open(Bank::small()).await;
    browser.sign_in().await.unwrap();
    let reply: Value = browser.statement(ALWAYS[0], ALWAYS[1]).await.json().await.unwrap();
    let account = &reply["acc"][0];
    let rows = account["stmt"].as_array().unwrap();
    let kinds: Vec<&str> = rows.iter().filter_map(|row| row["trnType"].as_str()).collect();
    assert_eq!((kinds[0], &kinds[kinds.len() - 3..]), ("OP", &["DT", "CT", "CL"][..]));
    assert_eq!(rows[0]["acBal"], 100);
    assert_eq!(rows[rows.len() - 1]["acBal"], account["acyCurrBalance"]);
    let expected = browser.bank.edit(|bank| bank.transactions());
    let expected: Vec<_> = expected.iter().filter(|(iban, ..)| *iban == account["iban"]).collect();
    assert_eq!(transactions(rows).len(), expected.len());
    let mut balance = Decimal::from(100);
    for (row, (_, entry, after)) in transactions(rows).into_iter().zip(expected) {
        let amount: Decimal = row["amount"].to_string().parse().unwrap();
        balance += if row["dtkt"] == "D" { -amount } else { amount };
        assert_eq!(row["acBal"].to_string().parse::<Decimal>().unwrap(), balance);
        assert_eq!((*after, row["reference"].as_str()), (balance, Some(entry.reference.as_str())));
        assert!(amount > Decimal::ZERO && row.get("remIii").is_none());
    }
    assert_eq!(transactions(rows)[7]["contragent"], "Супермаркет „Изобилие“");
}

#[tokio::test]
async fn customers_are_isolated() {
    let bank = Bank::household(world::day(2026, 11, 22));
    let (person, company) = (bank.customers[0].clone(), bank.customers[1].clone());
    let browser = Browser::with_token(bank).await;
    let who = browser.json("sywsquery/sywsquery/getCustQuery", "", &[]).await;
    assert_eq!(who["customer"].as_array().unwrap().len(), 2);
    for customer in [&person, &company] {
        let list = browser.json("sywspicklist/sywspicklist/getFilteredAccounts", &customer.id, &[]).await;
        let list: Vec<&str> =
            list.as_array().unwrap().iter().filter_map(|account| account["ibanAcNo"].as_str()).collect();
        assert_eq!(list, customer.accounts.iter().map(|account| account.iban.as_str()).collect::<Vec<_>>());
        let balances = browser.json("sywsquery/sywsquery/GetCustBal", &customer.id, &[("StmtType", "T")]).await;
        assert_eq!(balances["acc"].as_array().unwrap().len(), customer.accounts.len());
        assert!(balances["acc"][0].get("stmt").is_none() && balances["categoryBal"][0]["bal"].is_number());
    }
    let query = window(&company.accounts[0].iban, ALWAYS[0], ALWAYS[1]);
    assert_eq!(browser.api("sywsquery/sywsquery/GetCustBal", Some(&person.id), &query).await.status(), 500);
    browser.bank.edit(|bank| bank.options.wrong_customer = 403);
    assert_eq!(browser.api("sywsquery/sywsquery/GetCustBal", Some(&person.id), &query).await.status(), 403);
    assert_eq!(browser.api("sywsquery/sywsquery/GetCustBal", Some(&company.id), &query).await.status(), 200);
}

#[tokio::test]
async fn the_household_on_the_wire_is_the_one_in_the_books() {
    let browser = Browser::with_token(Bank::household(world::day(2026, 11, 22))).await;
    let (customers, books) = browser.bank.edit(|bank| (bank.customers.clone(), bank.transactions()));
    let mut found = Vec::new();
    for customer in &customers {
        for account in &customer.accounts {
            let query = window(&account.iban, ALWAYS[0], ALWAYS[1]);
            let reply = browser.json("sywsquery/sywsquery/GetCustBal", &customer.id, &query).await;
            let account = &reply["acc"][0];
            for row in transactions(account["stmt"].as_array().unwrap()) {
                let time = row["dateTime"].as_str().unwrap();
                let time = DateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S%z").unwrap();
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                found.push((text("contragent"), text("remI"), time, row["acBal"].to_string(), text("valueDt")));
            }
        }
    }
    let expected = books.into_iter().map(|(_, entry, balance)| {
        let [line, ..] = entry.remittance;
        let value_date = format!("{}T00:00:00+0200", entry.value_date);
        (entry.counterparty, line, entry.time, balance.normalize().to_string(), value_date)
    });
    assert!(expected.eq(found));
}

/// The statement of [`Bank::small`]'s first account after this change to the bank.
async fn after(change: impl FnOnce(&mut Bank)) -> Value {
    let mut bank = Bank::small();
    change(&mut bank);
    let browser = Browser::with_token(bank).await;
    browser.statement(ALWAYS[0], ALWAYS[1]).await.json().await.unwrap()
}

fn stmt(reply: &Value) -> Vec<&Value> {
    reply["acc"][0]["stmt"].as_array().unwrap().iter().collect()
}

#[tokio::test]
async fn amounts_come_in_every_notation() {
    for (amounts, expected) in [
        (Amounts::Shortest, ["3.2", "100", "12345678.9"]),
        (Amounts::TwoPlaces, ["3.20", "100.00", "12345678.90"]),
        (Amounts::Text, ["\"3.20\"", "\"100.00\"", "\"12345678.90\""]),
        (Amounts::Double, ["3.2", "100.0", "1.23456789E7"]),
    ] {
        let written =
            ["3.20", "100.00", "12345678.90"].map(|amount| json::write_amount(amount.parse().unwrap(), amounts));
        assert_eq!(written, expected);
        let reply = after(|bank| bank.options.amounts = amounts).await;
        assert_eq!(stmt(&reply)[2]["amount"].is_string(), amounts == Amounts::Text);
    }
    assert_eq!(json::write_amount(Decimal::from(-20_000_000), Amounts::Double), "-2.0E7");
}

#[tokio::test]
async fn a_reply_may_lack_what_was_expected() {
    for (elements, position) in [(0, None), (1, Some(0)), (2, Some(1))] {
        let reply = after(|bank| bank.options.acc_elements = elements).await;
        let acc = reply["acc"].as_array().unwrap();
        assert_eq!(acc.len(), usize::from(elements));
        assert_eq!(acc.iter().position(|account| account["iban"] == world::iban("00000001")), position);
    }
    let reply = after(|bank| bank.options.stmt = Stmt::Omitted).await;
    assert!(reply["acc"][0].get("stmt").is_none());
    let reply = after(|bank| bank.options.stmt = Stmt::Null).await;
    assert!(reply["acc"][0]["stmt"].is_null() && reply["acc"][0].get("stmt").is_some());
    let empty = |bank: &mut Bank| {
        bank.customers[0].accounts[0].entries.clear();
        bank.options.stmt = Stmt::OmittedWhenEmpty;
    };
    assert!(after(empty).await["acc"][0].get("stmt").is_none());
    let reply = after(|bank| bank.options.balance_rows = false).await;
    assert_eq!(stmt(&reply)[0]["acEntrySrNo"], 900_000_001);
    let reply = after(|bank| bank.options.absent = Absent::Null).await;
    assert!(stmt(&reply)[1]["remIi"].is_null() && stmt(&reply)[1].get("remIi").is_some());
    let reply = after(|bank| bank.options.absent = Absent::Empty).await;
    assert_eq!(stmt(&reply)[1]["remIi"], "");
}

#[tokio::test]
async fn a_row_may_hold_more_or_something_else() {
    let reply = after(|bank| bank.options.unknown_keys = true).await;
    assert!(reply["acc"][0].get("описание").is_some() && stmt(&reply)[1]["sgRev"] == 17);
    let reply = after(|bank| {
        bank.options.debit_credit_amounts = true;
        bank.options.dtkt = ("Д".to_owned(), "К".to_owned());
        bank.options.own_trn_account = true;
        let extra = &mut bank.customers[0].accounts[0].entries[3].extra;
        extra.insert("amount".to_owned(), serde_json::json!(-600));
        extra.insert("reference".to_owned(), Value::Null);
        extra.insert("isPayment".to_owned(), "Y".into());
    })
    .await;
    let row = stmt(&reply)[4];
    assert_eq!((&row["amount"], &row["isPayment"], row.get("reference")), (&(-600).into(), &"Y".into(), None));
    assert_eq!((row["dtkt"].as_str(), stmt(&reply)[1]["dtkt"].as_str()), (Some("Д"), Some("К")));
    assert_eq!((&row["drAmount"], &row["crAmount"]), (&600.into(), &0.into()));
    assert_eq!(row["trnAccount"], world::iban("00000001"));
    let reply = after(|bank| bank.options.blocked = [(world::iban("00000001"), Decimal::new(1050, 2))].into()).await;
    let account = &reply["acc"][0];
    assert_eq!(account["blockedAmount"], 10.5);
    assert_eq!(account["acyCurrBalance"].as_f64().unwrap() - account["acyAvlBal"].as_f64().unwrap(), 10.5);
}

#[tokio::test]
async fn rows_come_in_the_order_that_is_asked_for() {
    let numbers = async |order: RowOrder| {
        let reply = after(|bank| {
            bank.options.order = order;
            let mut late = bank.customers[0].accounts[0].entries[2].clone();
            late.number = 900_000_099;
            bank.add(&world::iban("00000001"), late);
        })
        .await;
        let rows = reply["acc"][0]["stmt"].as_array().unwrap().clone();
        transactions(&rows).iter().map(|row| row["acEntrySrNo"].as_u64().unwrap() % 100).collect::<Vec<_>>()
    };
    assert_eq!(numbers(RowOrder::Booked).await, [1, 2, 3, 4, 5, 6, 8, 9, 12, 99]);
    assert_eq!(numbers(RowOrder::Time).await, [1, 2, 3, 99, 4, 5, 6, 8, 9, 12]);
    assert_eq!(numbers(RowOrder::NewestFirst).await, [99, 12, 9, 8, 6, 5, 4, 3, 2, 1]);
    let unordered = numbers(RowOrder::Unordered).await;
    assert!(!unordered.is_sorted() && unordered.len() == 10);
    assert_eq!(unordered, numbers(RowOrder::Unordered).await);
}

#[tokio::test]
async fn a_late_row_takes_the_balance_of_its_booking_or_of_its_time() {
    let balances = async |by_time: bool| {
        let reply = after(|bank| {
            bank.options.balances_by_time = by_time;
            let mut late = bank.customers[0].accounts[0].entries[0].clone();
            (late.number, late.amount) = (900_000_099, Decimal::from(-50));
            bank.add(&world::iban("00000001"), late);
        })
        .await;
        let rows = stmt(&reply);
        let balance = |at: usize| rows[at]["acBal"].as_f64().unwrap();
        (balance(1), balance(2), balance(10), reply["acc"][0]["acyCurrBalance"].as_f64().unwrap())
    };
    assert_eq!(balances(false).await, (1950.0, 1946.8, 1022.69, 1022.69));
    assert_eq!(balances(true).await, (1950.0, 1896.8, 1900.0, 1022.69));
}

#[tokio::test]
async fn times_are_written_in_every_way() {
    for (offsets, time, date) in [
        (Offsets::Winter, "2026-04-01T06:30:00+0200", "2026-04-01T00:00:00+0200"),
        (Offsets::Sofia, "2026-04-01T07:30:00+0300", "2026-04-01T00:00:00+0300"),
        (Offsets::WallClock, "2026-04-01T07:30:00+0200", "2026-04-01T00:00:00+0200"),
        (Offsets::Colon, "2026-04-01T07:30:00+03:00", "2026-04-01T00:00:00+03:00"),
        (Offsets::Utc, "2026-04-01T04:30:00Z", "2026-03-31T21:00:00Z"),
    ] {
        let reply = after(|bank| bank.options.offsets = offsets).await;
        let row = stmt(&reply)[9];
        assert_eq!((row["dateTime"].as_str(), row["valueDt"].as_str()), (Some(time), Some(date)), "{offsets:?}");
    }
    let mut bank = Bank::small();
    bank.options.reads_wall_clock = true;
    let browser = Browser::with_token(bank).await;
    let found = browser.rows("2026-04-01T07:30:00+0200", "2026-04-01T07:30:00+0200").await;
    assert_eq!(transactions(&found).len(), 1);
}

#[tokio::test]
async fn the_api_refuses_what_an_option_forbids() {
    let browser = Browser::with_token(Bank::small()).await;
    browser.bank.edit(|bank| bank.options.max_window_days = Some(30));
    assert_eq!(browser.statement("2026-01-01T00:00:00+0200", "2026-02-01T00:00:00+0200").await.status(), 500);
    assert_eq!(browser.statement("2026-02-01T00:00:00+0200", "2026-03-03T23:59:59+0200").await.status(), 200);
    browser.bank.edit(|bank| bank.options.long_window = 400);
    assert_eq!(browser.statement(ALWAYS[0], ALWAYS[1]).await.status(), 400);
    browser.bank.edit(|bank| bank.options.max_window_days = None);
    browser.bank.edit(|bank| bank.customers[0].accounts[0].fails = true);
    assert_eq!(browser.statement(ALWAYS[0], ALWAYS[1]).await.status(), 500);
    browser.bank.edit(|bank| bank.customers[0].accounts[0].fails = false);
    browser.bank.edit(|bank| bank.options.headers_required = true);
    assert_eq!(browser.statement(ALWAYS[0], ALWAYS[1]).await.status(), 400);
    browser.bank.edit(|bank| bank.options.html_instead_of_json = true);
    let answer = browser.statement(ALWAYS[0], ALWAYS[1]).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().starts_with("<!DOCTYPE")), (200, true));
}

#[tokio::test]
async fn a_window_opens_and_closes_with_the_balances_around_it() {
    let mut bank = Bank::small();
    bank.customers[0].accounts[0].currency = "BGN".to_owned();
    bank.customers[0].accounts[0].entries.truncate(2);
    bank.customers[0].accounts[0].entries[0].time = world::sofia(world::day(2025, 12, 31), 12, 0, 0);
    bank.introduce_euro(world::History::Kept);
    let browser = Browser::with_token(bank).await;
    let ends = async |from: &str, to: &str| {
        let rows = browser.rows(from, to).await;
        (rows[0]["acBal"].as_f64().unwrap(), rows[rows.len() - 1]["acBal"].as_f64().unwrap())
    };
    // 1,950 leva are 997.02 euros.
    assert_eq!(ends(ALWAYS[0], "2025-12-31T23:59:59+0200").await, (100.0, 1950.0));
    assert_eq!(ends("2026-01-01T00:00:00+0200", ALWAYS[1]).await, (997.02, 993.82));
    assert_eq!(ends("2026-03-01T00:00:00+0200", ALWAYS[1]).await, (993.82, 993.82));
    assert_eq!(ends("2025-01-01T00:00:00+0200", "2025-02-01T00:00:00+0200").await, (100.0, 100.0));
}

#[tokio::test]
async fn twenty_thousand_rows_come_whole() {
    let browser = Browser::with_token(Bank::large(20_000)).await;
    let query = window("", ALWAYS[0], ALWAYS[1]);
    let mut count = 0;
    for part in ["10000001", "10000002"] {
        let iban = world::iban(part);
        let mut query = query;
        query[2].1 = &iban;
        let reply = browser.json("sywsquery/sywsquery/GetCustBal", "1000001", &query).await;
        let rows = reply["acc"][0]["stmt"].as_array().unwrap();
        count += transactions(rows).len();
        assert!(rows[1]["acEntrySrNo"].as_u64().unwrap() > 1 << 53);
    }
    assert_eq!(count, 20_000);
}
