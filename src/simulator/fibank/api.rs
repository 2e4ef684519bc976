//! `/EBank/api/v1`: the asking session (a bearer token), its customer (`EBank-Cust-Id`), and the three calls that are
//! known.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderValue, Response};
use rust_decimal::Decimal;

use super::json::Object;
use super::options::{Expired, LongAnswer, Options};
use super::statement::{self, Prepared, Window};
use super::{Account, Asked, Customer, State, pages, uuid};

/// Headers that the page still sends after a client's author pruned them; the ones that count are unknown.
const HEADERS: [&str; 8] = [
    "accept",
    "user-agent",
    "referer",
    "cache-control",
    "pragma",
    "ebank-device-id",
    "ebank-client-time",
    "ebank-referer",
];

impl State {
    pub(super) fn api(&mut self, asked: &Asked, call: &str) -> Response<Body> {
        if let Some(refusal) = self.refusal(asked) {
            return refusal;
        }
        let options = &self.bank.options;
        if asked.method != "GET" {
            return failure(405, "Method Not Allowed", "");
        }
        if options.html_instead_of_json {
            return pages::application(&uuid());
        }
        if let Some(missing) = HEADERS.iter().find(|name| options.headers_required && asked.header(name).is_none()) {
            return failure(400, "Bad Request", missing);
        }
        if call == "sywsquery/sywsquery/getCustQuery" {
            return pages::json(200, garbled(self.customers(), &self.bank.options));
        }
        let id = asked.header("ebank-cust-id");
        let Some(customer) = self.bank.customers.iter().find(|customer| id == Some(&customer.id)) else {
            return failure(options.wrong_customer, "Internal Server Error", "EBank-Cust-Id");
        };
        match call {
            "sywspicklist/sywspicklist/getFilteredAccounts" => {
                pages::json(200, garbled(account_list(customer, options), options))
            }
            "sywsquery/sywsquery/GetCustBal" => balances(asked, customer, &mut self.prepared, options),
            _ => failure(404, "Not Found", call),
        }
    }

    /// Checks the token and counts the call; returns the answer to a token that is no good.
    fn refusal(&mut self, asked: &Asked) -> Option<Response<Body>> {
        let limit = self.bank.options.token_calls.unwrap_or(u32::MAX);
        let given = asked.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        let calls = given.and_then(|token| self.tokens.get_mut(token));
        let known = calls.is_some();
        if let Some(calls) = calls.filter(|calls| **calls < limit) {
            *calls += 1;
            return None;
        }
        Some(match self.bank.options.expired {
            Expired::Unauthorized => unauthorized(given, known),
            Expired::Redirect => pages::redirect(b"/oauth2-server/login?client_id=E_BANK"),
            Expired::Page => pages::html(200, pages::login(self.next_style(), &uuid(), None)),
        })
    }

    fn customers(&self) -> String {
        let options = &self.bank.options;
        let describe = |customer: &Customer| {
            let mut object = Object::new(options);
            match customer.id.parse::<u64>() {
                Ok(id) if !options.customer_id_as_text => object.raw("ibCustomerId", &id.to_string()),
                _ => object.text("ibCustomerId", &customer.id),
            };
            object.text(&options.customer_name_key, &customer.name);
            object.text("activeBanking", "ACTIVE").text("menuWizard", "W");
            object.raw(
                "menuResource",
                r#"[{"menuAction":"/accounts","hasNewFunc":"Y","menuResource":[]},{"menuAction":"/cards"}]"#,
            );
            object.finish()
        };
        let all: Vec<String> = self.bank.customers.iter().map(describe).collect();
        let mut object = Object::new(options);
        object.raw("customer", &format!("[{}]", all.join(",")));
        object.raw("mainCustomer", all.first().map_or("null", String::as_str));
        object.finish()
    }
}

/// `GetCustBal`: with an IBAN a statement, without one the balances of all accounts.
fn balances(
    asked: &Asked,
    customer: &Customer,
    prepared: &mut BTreeMap<String, Prepared>,
    options: &Options,
) -> Response<Body> {
    if asked.parameter("StmtType") != Some("T") {
        return failure(400, "Bad Request", "StmtType");
    }
    let Some(iban) = asked.parameter("Iban") else { return pages::json(200, overview(customer, options)) };
    let Some(account) = customer.accounts.iter().find(|account| account.iban == iban) else {
        return failure(options.wrong_customer, "Internal Server Error", "Iban");
    };
    if !matches!(asked.parameter("isAccountFromPSD2"), Some("true" | "false")) {
        return failure(400, "Bad Request", "isAccountFromPSD2");
    }
    let window = match Window::parse(asked.parameter("FromDate"), asked.parameter("ToDate")) {
        Ok(window) => window,
        Err(parameter) => return failure(400, "Bad Request", parameter),
    };
    let is_long = options.max_window_days.is_some_and(|limit| window.days() > i64::from(limit));
    match &options.long_answer {
        _ if !is_long => {}
        None => return failure(options.long_window, "Internal Server Error", "ToDate"),
        Some(LongAnswer::Success(text)) if text.starts_with('{') => return pages::json(200, text.clone()),
        Some(LongAnswer::Success(page)) => return pages::html(200, page.clone()),
        Some(LongAnswer::Failure(status, page)) => return pages::html(*status, page.clone()),
        Some(LongAnswer::Redirect(location)) => return pages::redirect(location.as_bytes()),
        Some(LongAnswer::Cut) => {
            let whole = statement::reply(account, None, &Prepared::new(account, options), &window, options);
            let half = (0..=whole.len() / 2).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or_default();
            return pages::json(200, whole[..half].to_owned());
        }
    }
    if account.fails {
        return failure(500, "Internal Server Error", "");
    }
    if !prepared.contains_key(iban) {
        prepared.insert(iban.to_owned(), Prepared::new(account, options));
    }
    let stranger = customer.accounts.iter().find(|other| other.iban != iban);
    pages::json(200, garbled(statement::reply(account, stranger, &prepared[iban], &window, options), options))
}

/// A reply with its garbled pieces.
fn garbled(reply: String, options: &Options) -> Vec<u8> {
    options.garbled.iter().fold(reply.into_bytes(), |reply, (piece, instead)| {
        let (mut rest, mut written) = (&reply[..], Vec::new());
        while let Some(at) = rest.windows(piece.len()).position(|bytes| bytes == piece.as_bytes()) {
            written.extend_from_slice(&rest[..at]);
            written.extend_from_slice(instead);
            rest = &rest[at + piece.len()..];
        }
        written.extend_from_slice(rest);
        written
    })
}

/// The 401 of an OAuth resource server; like the real server's model, the text repeats the token.
fn unauthorized(given: Option<&str>, known: bool) -> Response<Body> {
    let (error, description) = match given {
        None => ("unauthorized", "Full authentication is required to access this resource".to_owned()),
        Some(token) if known => ("invalid_token", format!("Access token expired: {token}")),
        Some(token) => ("invalid_token", format!("Invalid access token: {token}")),
    };
    let body = serde_json::json!({ "error": error, "error_description": description });
    let mut answer = pages::json(401, body.to_string());
    let challenge = HeaderValue::from_static("Bearer realm=\"oauth2-resource\", error=\"invalid_token\"");
    answer.headers_mut().insert("www-authenticate", challenge);
    answer
}

fn failure(status: u16, error: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({
        "status": status, "error": error, "message": message, "errorText": "Възникна системна грешка.",
    });
    pages::json(status, body.to_string())
}

fn account_list(customer: &Customer, options: &Options) -> String {
    let describe = |account: &Account| {
        let mut object = Object::new(options);
        object.text("ibanAcNo", &account.iban).text("ccy", &account.currency);
        object.optional("acDesc", &account.alias).optional("description", &account.product);
        object.finish()
    };
    let all: Vec<String> = customer.accounts.iter().map(describe).collect();
    format!("[{}]", all.join(","))
}

fn overview(customer: &Customer, options: &Options) -> String {
    let mut totals: Vec<(&str, Decimal)> = Vec::new();
    let mut all = Vec::new();
    for account in &customer.accounts {
        let balance = statement::current_balance(account, options);
        let category = statement::category(account);
        match totals.iter_mut().find(|(name, _)| *name == category) {
            Some((_, total)) => *total += balance,
            None => totals.push((category, balance)),
        }
        all.push(statement::describe(account, account.opening, options).finish());
    }
    let totals: Vec<String> = totals
        .iter()
        .map(|(name, total)| {
            let mut object = Object::new(options);
            object.amount("bal", *total).text("category", name);
            object.finish()
        })
        .collect();
    let mut object = Object::new(options);
    object.raw("acc", &format!("[{}]", all.join(",")));
    object.raw("categoryBal", &format!("[{}]", totals.join(",")));
    object.finish()
}
