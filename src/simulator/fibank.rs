//! The simulated bank: My Fibank's two web applications on one origin, `/oauth2-server/…` (sign-in, tokens) and
//! `/EBank/…` (page and API), over a [`Bank`] that a test may change at any moment.
//!
//! The simulator promises to be stateful and strict: no token without the whole ceremony, no data without token and
//! customer. Every uncertain behaviour of the real service has a switch in [`Options`] whose default is the likelier
//! reading. The simulator knows no code of the connector: its wire format is written here by hand, number by number.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use chrono::{DateTime, FixedOffset, NaiveDate};
use http_body_util::BodyExt;
use rust_decimal::Decimal;
use url::form_urlencoded;

use crate::simulator::{Server, lock};

mod api;
mod json;
mod options;
mod pages;
mod sign_in;
mod statement;
#[cfg(test)]
mod tests;

pub use options::{Absent, Amounts, Expired, LongAnswer, Offsets, Options, PageStyle, RowOrder, Stmt};

/// The running bank. Clones share it.
#[derive(Clone)]
pub struct Fibank {
    /// The server, with its address, its log of requests and its faults on the level of the connection.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

/// The bank's knowledge: one login and its customers.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    /// The login's user name.
    pub username: String,
    /// The login's password.
    pub password: String,
    /// The customers this login may act for.
    pub customers: Vec<Customer>,
    /// The step that follows the right password.
    pub door: Door,
    /// Switches for behaviour of the real service that is unknown or varies.
    pub options: Options,
}

/// The obstacle between the right password and a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// Nothing.
    #[default]
    Open,
    /// Too many wrong passwords: the right one is refused, too.
    Locked,
    /// The password must be changed first.
    PasswordChange,
    /// A code from a text message is asked for, and none is taken.
    SecondFactor,
    /// The service asks for this code; too many wrong codes end the sign-in.
    Code {
        /// The right one.
        code: String,
        /// Wrong ones in one sign-in.
        tries: u32,
    },
    /// Everything answers 503 with a page.
    Maintenance,
    /// An unknown page.
    Unknown(String),
}

/// A person or a company.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Customer {
    /// `ibCustomerId`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Accounts.
    pub accounts: Vec<Account>,
}

/// An account with its entries in the order they were booked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// IBAN without spaces.
    pub iban: String,
    /// ISO 4217 code of today.
    pub currency: String,
    /// `acDesc`: the owner's alias, may be empty.
    pub alias: String,
    /// `description`: the product's name. A name with `карт` makes the account a card account.
    pub product: String,
    /// Balance before the first entry.
    pub opening: Decimal,
    /// Entries in booking order; the running balance follows this order.
    pub entries: Vec<Entry>,
    /// Requests for the account's statement are answered with 500.
    pub fails: bool,
}

/// A booked entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// `acEntrySrNo`; unique in the bank.
    pub number: u64,
    /// Booking time.
    pub time: DateTime<FixedOffset>,
    /// Value date.
    pub value_date: NaiveDate,
    /// Signed: money out is negative.
    pub amount: Decimal,
    /// Name of the other side; may be empty.
    pub counterparty: String,
    /// Account of the other side; may be empty (the wire then shows the entry's own account).
    pub counterparty_account: String,
    /// Reference of the operation; several entries may share it.
    pub reference: String,
    /// `trnCode`.
    pub type_code: String,
    /// `trname`.
    pub type_name: String,
    /// `remI`, `remIi`, `remIii`; empty lines are absent on the wire.
    pub remittance: [String; 3],
    /// Balance after the entry where it is not the sum; the chain goes on from it.
    pub balance: Option<Decimal>,
    /// Further keys of the row. A key that the row has anyway is replaced, or removed by `null`.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Fibank {
    /// Opens the bank on a free loopback port.
    pub async fn start(bank: Bank) -> io::Result<Fibank> {
        Fibank::start_on(bank, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Opens the bank on this address.
    pub async fn start_on(bank: Bank, address: SocketAddr) -> io::Result<Fibank> {
        let state = Arc::new(Mutex::new(State { bank, ..State::default() }));
        let serving = state.clone();
        let router = Router::new().fallback(move |request: Request<Body>| answer(serving.clone(), request));
        Ok(Fibank { server: Server::start_on(router, address).await?, state })
    }

    /// Changes the bank between two requests. Opening a locked door forgives the wrong passwords that locked it.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Bank) -> T) -> T {
        let mut state = lock(&self.state);
        state.prepared.clear();
        let locked = state.bank.door == Door::Locked;
        let result = change(&mut state.bank);
        if locked && state.bank.door != Door::Locked {
            state.wrong = 0;
        }
        result
    }

    /// Number of times that a user name and a password were posted, with any result.
    pub fn login_attempts(&self) -> u32 {
        lock(&self.state).login_attempts
    }

    /// Number of times that a code was posted, with any result.
    pub fn codes(&self) -> u32 {
        lock(&self.state).codes
    }

    /// Tokens issued at the end of a sign-in.
    pub fn sign_ins(&self) -> u32 {
        lock(&self.state).sign_ins
    }

    /// A valid token as the owner would copy it out of a browser; it counts as no sign-in.
    pub fn issue_token(&self) -> String {
        lock(&self.state).issue_token()
    }

    /// Takes this token from now on, as if the bank had issued it.
    pub fn take_token(&self, token: &str) {
        lock(&self.state).tokens.insert(token.to_owned(), 0);
    }

    /// Ends every session and token, as a restart of the bank's servers does.
    pub fn forget_sessions(&self) {
        let mut state = lock(&self.state);
        state.sessions.clear();
        state.tokens.clear();
    }
}

impl Bank {
    /// Books an entry on this account, after the others; an unknown account is ignored.
    pub fn add(&mut self, iban: &str, entry: Entry) {
        if let Some(account) = self.account_mut(iban) {
            account.entries.push(entry);
        }
    }

    /// The account with this IBAN.
    pub fn account_mut(&mut self, iban: &str) -> Option<&mut Account> {
        self.customers.iter_mut().flat_map(|customer| &mut customer.accounts).find(|account| account.iban == iban)
    }

    /// Every entry with its account and the balance after it, account by account in booking order.
    pub fn transactions(&self) -> Vec<(String, Entry, Decimal)> {
        let accounts = self.customers.iter().flat_map(|customer| &customer.accounts);
        let rows = accounts.flat_map(|account| {
            let balances = statement::balances(account, &self.options);
            account.entries.iter().zip(balances).map(|(entry, balance)| (account.iban.clone(), entry.clone(), balance))
        });
        rows.collect()
    }

    /// The balance of this account today.
    pub fn balance(&self, iban: &str) -> Option<Decimal> {
        let accounts = self.customers.iter().flat_map(|customer| &customer.accounts);
        accounts
            .into_iter()
            .find(|account| account.iban == iban)
            .map(|account| statement::current_balance(account, &self.options))
    }

    /// The highest entry number in the bank, so that a test can book the next one.
    pub fn last_number(&self) -> u64 {
        let accounts = self.customers.iter().flat_map(|customer| &customer.accounts);
        accounts.flat_map(|account| &account.entries).map(|entry| entry.number).max().unwrap_or_default()
    }
}

/// The balance after each entry of an account.
pub(super) fn balances(account: &Account, options: &Options) -> Vec<Decimal> {
    statement::balances(account, options)
}

/// The bank and the memory of its servers.
#[derive(Default)]
struct State {
    bank: Bank,
    /// Browser sessions by cookie.
    sessions: BTreeMap<String, sign_in::Session>,
    /// Calls made with each token.
    tokens: BTreeMap<String, u32>,
    /// Wrong passwords in a row.
    wrong: u32,
    login_attempts: u32,
    sign_ins: u32,
    codes: u32,
    pages: usize,
    /// Rows as text, by account: writing 100,000 of them for every reply would be most of a benchmark's time.
    prepared: BTreeMap<String, statement::Prepared>,
}

impl State {
    fn issue_token(&mut self) -> String {
        let token = uuid();
        self.tokens.insert(token.clone(), 0);
        token
    }
}

/// A request taken apart.
struct Asked {
    method: String,
    path: String,
    /// Path and query as sent.
    target: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Asked {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.get_all("cookie").iter().filter_map(|header| header.to_str().ok());
        pairs.flat_map(|header| header.split("; ")).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The fields of a form; empty for any other body.
    fn form(&self) -> Vec<(String, String)> {
        let kind = self.header("content-type").unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Vec::new();
        }
        form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return pages::html(400, pages::BAD_REQUEST) };
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        query: form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body: body.to_bytes().to_vec(),
    };
    lock(&state).answer(&asked)
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Response<Body> {
        if self.bank.door == Door::Maintenance {
            if asked.method == "POST" && asked.path == "/oauth2-server/login" {
                self.login_attempts += 1;
            }
            return pages::html(503, pages::MAINTENANCE);
        }
        if let Some(call) = asked.path.strip_prefix("/EBank/api/v1/") {
            return self.api(asked, call);
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/oauth2-server/login") => self.login_page(asked),
            ("POST", "/oauth2-server/login") => self.login(asked),
            ("GET", "/oauth2-server/oauth/authorize") => self.authorize(asked),
            ("GET", "/oauth2-server/api/v1/sywscertificate/fnGetCertsForLogin") => self.certificates(asked),
            ("GET", "/oauth2-server/confirm") => self.code_page(asked, None),
            ("POST", "/oauth2-server/confirm") => self.take_code(asked),
            ("GET", "/oauth2-server/continue") => self.go_on(asked),
            ("GET", "/oauth2-server/changePassword") => pages::html(200, pages::PASSWORD_CHANGE),
            // The application routes in the browser: each of its addresses is the same page.
            ("GET", path) if path.starts_with("/EBank/") => pages::application(&uuid()),
            _ => pages::html(404, pages::NOT_FOUND),
        }
    }
}

/// A random UUID of version 4, the shape of the bank's tokens.
fn uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
