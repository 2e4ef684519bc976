//! The application, the banks with their traps, and the sessions.

use std::collections::VecDeque;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

use super::REDIRECT_URL;
use super::token::APPLICATION;

/// The application of the owner.
pub struct Application {
    /// The accounts were linked, so that it is active.
    pub is_active: bool,
    /// The registered addresses.
    pub redirect_urls: Vec<String>,
}

impl Default for Application {
    fn default() -> Application {
        Application { is_active: true, redirect_urls: vec![REDIRECT_URL.to_owned()] }
    }
}

impl Application {
    pub(super) fn describe(&self) -> Value {
        json!({
            "name": "bankfeed at home", "description": null, "kid": APPLICATION, "environment": "PRODUCTION",
            "redirect_urls": self.redirect_urls, "active": self.is_active, "countries": ["BG", "FI"], "services": ["AIS"],
        })
    }
}

/// The owner's decision at the bank's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Consent.
    Consent,
    /// No consent.
    Deny,
    /// The browser comes back with another state.
    WrongState,
}

/// The ids that a bank gives its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// The rows' own.
    Own,
    /// None.
    Null,
    /// The same for every row.
    Placeholder,
    /// Day and position, given anew when a row arrives.
    Positional,
    /// New ones at each fetch.
    New,
}

/// The way in which a bank pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// As described.
    Usual,
    /// An empty page with a key stands before the rows.
    EmptyFirst,
    /// The same page and key again and again.
    Repeats,
    /// Empty pages without end, each with a new key.
    Endless,
}

/// The reaction to a period that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Any period is served.
    Any,
    /// A 422 with a code for the period; `true`: with the first day allowed.
    Refused(bool),
    /// A 400 that looks like any trouble of the bank.
    Trouble,
    /// The older rows are left out without a word.
    Cut,
}

/// The peculiarities of a bank.
#[derive(Clone, Debug)]
pub struct Traps {
    /// Ids of rows.
    pub references: References,
    /// Every row comes twice in one answer: `true`: under the same id.
    pub doubles: Option<bool>,
    /// Rows of a page.
    pub page_rows: usize,
    /// Pages.
    pub paging: Paging,
    /// Long periods.
    pub period: Period,
    /// Days back that are served once the whole history is not.
    pub days: i64,
    /// Minutes after a consent for which the whole history is served.
    pub history_minutes: i64,
    /// Unattended calls per account, endpoint and day.
    pub quota: Option<usize>,
    /// Pages count as calls.
    pub counts_pages: bool,
    /// Newest rows first.
    pub newest_first: bool,
    /// The order within a day is another one at each fetch.
    pub shuffles: bool,
    /// `date_from` is not looked at.
    pub ignores_dates: bool,
    /// The filter by date looks at the transaction date.
    pub filters_by_transaction_date: bool,
    /// The bank fails where it is told of the owner's presence.
    pub fails_with_presence: bool,
    /// The filter by status is refused.
    pub takes_no_filter: bool,
    /// The code of the kind of a row is another one at each fetch.
    pub codes_change: bool,
    /// The status and body of every answer about these endpoints.
    pub failing: Vec<(&'static str, u16, Value)>,
    /// Rows that are booked after the first page of the next listing.
    pub booked_meanwhile: Vec<Value>,
}

impl Default for Traps {
    fn default() -> Traps {
        Traps {
            references: References::Own,
            doubles: None,
            page_rows: 1000,
            paging: Paging::Usual,
            period: Period::Refused(false),
            days: 90,
            history_minutes: 60,
            quota: Some(4),
            counts_pages: false,
            newest_first: true,
            shuffles: false,
            ignores_dates: false,
            filters_by_transaction_date: false,
            fails_with_presence: false,
            takes_no_filter: false,
            codes_change: false,
            failing: Vec::new(),
            booked_meanwhile: Vec::new(),
        }
    }
}

/// A bank.
pub struct Bank {
    /// Name.
    pub name: String,
    /// Country.
    pub country: String,
    /// Kinds of customer.
    pub customers: Vec<String>,
    /// Longest consent in seconds.
    pub consent_seconds: i64,
    /// Headers that a call with the owner present must have.
    pub required_headers: Vec<String>,
    /// `REDIRECT` or `DECOUPLED`.
    pub approach: &'static str,
    /// The decisions of the owner, one for each consent; none left: consent.
    pub decisions: VecDeque<Decision>,
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Peculiarities.
    pub traps: Traps,
}

impl Bank {
    /// A bank in Bulgaria for everybody, with consent for 180 days.
    pub fn new(name: &str, accounts: Vec<Account>) -> Bank {
        Bank {
            name: name.into(),
            country: "BG".into(),
            customers: vec!["personal".into(), "business".into()],
            consent_seconds: 15_552_000,
            required_headers: Vec::new(),
            approach: "REDIRECT",
            decisions: VecDeque::new(),
            accounts,
            traps: Traps::default(),
        }
    }

    pub(super) fn describe(&self) -> Value {
        let method =
            |customer: &String| json!({"psu_type": customer, "approach": self.approach, "hidden_method": false});
        let mut bank = json!({
            "name": self.name, "country": self.country,
            "logo": format!("https://enablebanking.com/brands/{}/{}/", self.country, self.name),
            "psu_types": self.customers, "auth_methods": self.customers.iter().map(method).collect::<Vec<_>>(),
            "maximum_consent_validity": self.consent_seconds, "beta": false,
        });
        if !self.required_headers.is_empty() {
            bank["required_psu_headers"] = json!(self.required_headers);
        }
        bank
    }
}

/// An account.
#[derive(Default)]
pub struct Account {
    /// IBAN, where it has one.
    pub iban: Option<String>,
    /// Another identification.
    pub other: Option<String>,
    /// Currency; `XXX`: not told.
    pub currency: String,
    /// Product.
    pub product: String,
    /// The part of the hash that is the account's own.
    pub key: String,
    /// Linked in the control panel.
    pub is_linked: bool,
    /// Readable at the bank.
    pub is_readable: bool,
    /// Entries, the oldest first.
    pub entries: Vec<Value>,
    /// Balances, by type.
    pub balances: Vec<(&'static str, String)>,
    /// Calls with their endpoints that count against the quota.
    pub calls: Vec<(&'static str, DateTime<Utc>)>,
}

impl Account {
    /// An account in euros, linked and readable, without entries.
    pub fn new(iban: &str) -> Account {
        Account {
            iban: Some(iban.to_owned()),
            currency: "EUR".into(),
            product: "Current account".into(),
            key: iban.to_owned(),
            is_linked: true,
            is_readable: true,
            balances: vec![("CLBD", "100.00".into()), ("ITAV", "1100.00".into())],
            ..Account::default()
        }
    }

    /// The hash that stays the same from one consent to the next.
    pub(super) fn hash(&self) -> String {
        use base64::Engine as _;
        let digest = ring::digest::digest(&ring::digest::SHA256, self.key.as_bytes());
        let digest = base64::engine::general_purpose::STANDARD.encode(digest);
        format!("WwpbCiJhY2NvdW50IiwKImFjY291bnRfaWQiLAoiaWJhbiIKXQpd.{digest}")
    }

    pub(super) fn describe(&self, uid: &str) -> Value {
        let other = self.other.as_ref().map(|id| json!({"identification": id, "scheme_name": "BBAN", "issuer": null}));
        let iban = self.iban.as_ref().map(|id| json!({"identification": id, "scheme_name": "IBAN", "issuer": null}));
        let all: Vec<Value> = iban.into_iter().chain(other.clone()).collect();
        let mut account = json!({
            "account_id": {"iban": self.iban, "other": other}, "all_account_ids": all, "account_servicer": null,
            "name": "IVAN PETROV", "details": null, "usage": "PRIV", "cash_account_type": "CACC", "product": self.product,
            "currency": self.currency, "psu_status": null, "credit_limit": null,
            "identification_hash": self.hash(), "identification_hashes": [self.hash()],
        });
        if self.is_readable {
            account["uid"] = json!(uid);
        }
        account
    }
}

/// A booked entry in euros: money out has a minus.
pub fn entry(date: NaiveDate, amount: &str, party: &str, text: &str) -> Value {
    let is_debit = amount.starts_with('-');
    let named = json!({"name": party, "postal_address": null, "organisation_id": null, "private_id": null, "contact_details": null});
    let (creditor, debtor) = if is_debit { (named, Value::Null) } else { (Value::Null, named) };
    let id = format!("{:016x}", fastrand::u64(..));
    json!({
        "entry_reference": id, "merchant_category_code": null,
        "transaction_amount": {"currency": "EUR", "amount": amount.trim_start_matches('-')},
        "creditor": creditor, "creditor_account": null, "creditor_agent": null,
        "debtor": debtor, "debtor_account": null, "debtor_agent": null,
        "bank_transaction_code": {"description": "CARD", "code": null, "sub_code": null},
        "credit_debit_indicator": if is_debit { "DBIT" } else { "CRDT" }, "status": "BOOK",
        "booking_date": date.to_string(), "value_date": date.to_string(), "transaction_date": date.to_string(),
        "balance_after_transaction": null, "reference_number": null, "remittance_information": [text],
        "debtor_account_additional_identification": null, "creditor_account_additional_identification": null,
        "exchange_rate": null, "note": null, "transaction_id": null,
    })
}

/// A session.
pub struct Session {
    /// Id.
    pub id: String,
    /// Status, as the API words it.
    pub status: &'static str,
    /// The position of the bank.
    pub bank: usize,
    /// Uids with the positions of their accounts.
    pub accounts: Vec<(String, usize)>,
    /// Kind of customer.
    pub customer: String,
    /// Time of consent.
    pub created: DateTime<Utc>,
    /// Time of its end.
    pub valid_until: DateTime<Utc>,
    /// The listings that go on.
    pub keys: Vec<Continuation>,
}

/// A listing that goes on: its key, its parameters, and the number of the next row.
pub type Continuation = (String, Vec<(String, String)>, usize);
