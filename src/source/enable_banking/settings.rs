//! The entry of Enable Banking in the configuration: its keys, their errors, and the lines of the example.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::EnableBanking;
use crate::remote::Error;
use crate::settings::values::{self, service_address};
use crate::settings::{self, BASE_URL_EXPECTED, Entry, SECRET_EXPECTED, Secret, Value, key, login_file};
use crate::source::{Kind, Scope, Settings, Setup, Source};

/// `kind = "enable-banking"`.
pub const KIND: Kind = Kind {
    name: "enable-banking",
    title: "Enable Banking",
    keys: &[
        key("application", APPLICATION_EXPECTED),
        key("private_key", SECRET_EXPECTED),
        key("bank", "the name of a bank in quotes, one of those that `bankfeed login NAME --banks` lists"),
        key("country", "a country in quotes, two letters such as \"BG\""),
        key("redirect_url", "an address in quotes that the application has registered"),
        key("customer", "\"personal\" or \"business\""),
        key("daily_calls", "a whole number from 1 to 1000"),
        key("base_url", BASE_URL_EXPECTED),
    ],
    example: EXAMPLE,
    questions: super::interview::questions,
    read: |entry| Ok(Arc::new(EnableBankingSettings::read(entry)?)),
    scope: |table| Scope::read_with(table, values::account_names),
    aliases: |_| Vec::new(),
};

const APPLICATION_EXPECTED: &str =
    "the id of the application in quotes, such as \"00000000-0000-4000-8000-000000000000\"";

/// Unattended calls a day where the configuration names no number: the least that the law grants.
const DAILY_CALLS: u32 = 4;

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"# Enable Banking, the way to about 2,500 banks in Europe. Register an application at https://enablebanking.com/cp/, free
# of charge, and activate it by linking your accounts there. Then `bankfeed login dsk` gives consent for up to 180 days;
# bankfeed says 14, 7 and 1 days ahead that it ends, and the same command renews it.
kind = "enable-banking"

# The id of the application, and its private key: the .pem file that belongs to it.
application = "00000000-0000-4000-8000-000000000000"
private_key = { credential = "enable-banking-key" }

# The bank, by its name in the list of `bankfeed login dsk --banks`, and its country.
bank = "DSK Bank"
country = "BG"

# An address that the application has registered. No page need be there: the browser ends on it, and `bankfeed login`
# asks you to copy it.
redirect_url = "https://localhost/bankfeed"

# Whose accounts these are: "personal" or "business". Left out: "personal".
# customer = "personal"

# How often the bank may be asked without you: calls per account, kind of question and day. Left out: 4, as the law says.
# daily_calls = 4
"#;

/// The kind of customer that the bank takes the owner for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Customer {
    /// A person.
    Personal,
    /// A company.
    Business,
}

impl Customer {
    /// The word of the API and the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Customer::Personal => "personal",
            Customer::Business => "business",
        }
    }
}

/// A bank behind Enable Banking, with the application that asks for it.
#[derive(Clone, Debug)]
pub struct EnableBankingSettings {
    /// Id of the application.
    pub application: String,
    /// Private key of the application, in PEM.
    pub private_key: Secret,
    /// Name of the bank.
    pub bank: String,
    /// Country of the bank, two capital letters.
    pub country: String,
    /// The address on which the browser ends, as it is registered.
    pub redirect_url: String,
    /// The kind of customer.
    pub customer: Customer,
    /// Unattended calls per account, endpoint and day.
    pub daily_calls: u32,
    /// Root of the API, which ends in a slash; https, or http on loopback.
    pub base_url: Url,
    /// The file of the session that the owner has opened.
    pub session: PathBuf,
}

impl EnableBankingSettings {
    fn read(entry: &Entry<'_>) -> Result<EnableBankingSettings, settings::Error> {
        let table = &entry.table;
        let customer =
            |value: &Value<'_>| value.choice(&[("personal", Customer::Personal), ("business", Customer::Business)]);
        Ok(EnableBankingSettings {
            application: table.require("application", application)?,
            private_key: table.require("private_key", values::secret)?,
            bank: table.require("bank", |value| value.text().map(|bank| bank.trim().to_owned()))?,
            country: table.require("country", country)?,
            redirect_url: table.require("redirect_url", redirect_url)?,
            customer: table.read("customer", customer)?.unwrap_or(Customer::Personal),
            daily_calls: table.read("daily_calls", |value| value.whole(1..=1000))?.unwrap_or(DAILY_CALLS),
            base_url: table
                .read("base_url", values::root)?
                .map_or_else(|| values::fixed("https://api.enablebanking.com/"), Ok)?,
            session: login_file(entry.data_dir, KIND.name, &entry.name),
        })
    }
}

fn application(value: &Value<'_>) -> Result<String, settings::Error> {
    application_id(value.text()?).ok_or_else(|| value.wrong_value())
}

/// The id of an application; `None`: the text is no such id.
pub(super) fn application_id(text: &str) -> Option<String> {
    let id = text.trim();
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    let fitting = lengths == [8, 4, 4, 4, 12] && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    fitting.then(|| id.to_owned())
}

fn country(value: &Value<'_>) -> Result<String, settings::Error> {
    country_code(value.text()?).ok_or_else(|| value.wrong_value())
}

/// A country as two capital letters; `None`: the text is none.
pub(super) fn country_code(text: &str) -> Option<String> {
    let country = text.trim().to_ascii_uppercase();
    (country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase())).then_some(country)
}

fn redirect_url(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?;
    // The service compares the address letter by letter with the registered one.
    service_address(text, true).map(|_| text.to_owned()).map_err(|why| value.error(why))
}

impl Settings for EnableBankingSettings {
    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        vec![("private_key", &self.private_key)]
    }

    fn private_texts(&self) -> Vec<SecretString> {
        vec![self.private_key.reveal().unwrap_or_default(), SecretString::from(self.application.as_str())]
    }

    fn login_identity(&self) -> Option<SecretString> {
        let key = self.private_key.reveal().ok()?;
        let (customer, key) = (self.customer.as_str(), key.expose_secret());
        let place = [self.base_url.as_str(), &self.application, &self.bank, &self.country, customer].join("\0");
        Some(format!("{place}\0{key}").into())
    }

    fn connect(&self, setup: Setup) -> Result<Box<dyn Source>, Error> {
        Ok(Box::new(EnableBanking::new(self, setup)))
    }

    fn session_file(&self) -> Option<&Path> {
        Some(&self.session)
    }

    fn is_pulled_after_login(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_known_by_its_form() {
        let id = "0A1B2C3D-0000-4000-8000-00000000000f";
        assert_eq!(application_id(&format!(" {id} ")), Some(id.to_owned()));
        for text in ["", "0a1b2c3d00004000800000000000000f", "0a1b2c3g-0000-4000-8000-00000000000f", "a-b-c-d-e"] {
            assert_eq!(application_id(text), None, "{text}");
        }
    }
}
