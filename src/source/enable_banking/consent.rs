//! The owner's consent: the whole answer of the service to the sign-in, as the session file keeps it. Names, products and
//! account numbers are never given again without a new consent.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::EnableBankingSettings;
use crate::remote::{Cause, Error};
use crate::source::{Lifetime, SavedSession};

/// The time after consent for which a bank shows the whole history. Some banks stop after minutes.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// The kept answer, with the bank that it was asked for.
#[derive(Serialize, Deserialize)]
struct Kept {
    application: String,
    bank: String,
    country: String,
    answer: Value,
}

/// A consent.
#[derive(Debug)]
pub(super) struct Consent {
    /// Id of the session.
    pub session: String,
    /// When it was given and when it ends.
    pub life: Option<Lifetime>,
    /// The accounts.
    pub accounts: Vec<BankAccount>,
}

/// An account as the answer describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BankAccount {
    /// The id of the account in this session; `None`: the bank does not let it be read.
    pub uid: Option<String>,
    /// A text that stays the same from one consent to the next.
    pub key: String,
    /// The IBAN without spaces, else another identification; may be empty.
    pub number: String,
    /// True where the number is an IBAN.
    pub is_iban: bool,
    /// ISO 4217 code; empty where the bank gives none.
    pub currency: String,
    /// The owner's nickname, else the product.
    pub name: String,
    /// The holder.
    pub holder: String,
}

impl Consent {
    /// The session file's content for the service's answer to a sign-in.
    pub fn saved(settings: &EnableBankingSettings, answer: &Value, now: DateTime<Utc>) -> Option<SavedSession> {
        let kept = Kept {
            application: settings.application.clone(),
            bank: settings.bank.clone(),
            country: settings.country.clone(),
            answer: answer.clone(),
        };
        // One line: the lifetime stands behind it.
        let token = SecretString::from(serde_json::to_string(&kept).ok()?);
        let until = time(&answer["access"]["valid_until"]);
        let life = until.map(|until| Lifetime { from: now.min(until), until });
        Some(SavedSession { token, life })
    }

    /// The consent that the owner has given for this bank.
    pub fn read(service: &str, settings: &EnableBankingSettings) -> Result<Consent, Error> {
        let path = &settings.session;
        let missing = |why: String| {
            let remedy = format!("run `bankfeed login {service}`");
            Error::attention(Cause::AccessEnded, format!("{service}: {why}: {remedy}"))
        };
        let saved = SavedSession::read(path).map_err(|error| {
            let why = format!("{service}: cannot read the consent in {}: {error}", path.display());
            Error::attention(Cause::Machine, why)
        })?;
        let saved = saved.ok_or_else(|| missing("nobody has given consent at the bank yet".into()))?;
        let kept: Option<Kept> = serde_json::from_str(saved.token.expose_secret()).ok();
        let kept = kept.ok_or_else(|| missing(format!("the consent in {} cannot be read", path.display())))?;
        let asked = (&settings.application, &settings.bank, &settings.country);
        if (&kept.application, &kept.bank, &kept.country) != asked {
            return Err(missing(format!("the consent is for `{}` in {}", kept.bank, kept.country)));
        }
        let session = kept.answer["session_id"].as_str().unwrap_or_default();
        let accounts = kept.answer["accounts"].as_array().into_iter().flatten().map(BankAccount::read).collect();
        Ok(Consent { session: session.to_owned(), life: saved.life, accounts })
    }

    /// True as long as the bank shows the whole history.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.life.is_some_and(|life| life.from <= now && now - life.from < FRESH)
    }

    /// The end, once it has come.
    pub fn ended(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.life.map(|life| life.until).filter(|until| *until <= now)
    }
}

impl BankAccount {
    fn read(account: &Value) -> BankAccount {
        let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
        let compact = |value: &Value| text(value).split_whitespace().collect::<String>();
        let iban = compact(&account["account_id"]["iban"]).to_uppercase();
        let others = account["all_account_ids"].as_array().into_iter().flatten();
        let others = [&account["account_id"]["other"]].into_iter().chain(others).map(|other| {
            let is_iban = other["scheme_name"].as_str() == Some("IBAN");
            (compact(&other["identification"]), is_iban)
        });
        let found = std::iter::once((iban, true)).chain(others).find(|(number, _)| !number.is_empty());
        let (number, is_iban) = found.unwrap_or_default();
        let currency = text(&account["currency"]).to_uppercase();
        let currency = if currency == NO_CURRENCY { String::new() } else { currency };
        let hash = text(&account["identification_hash"]);
        // Sessions of an earlier API have no hash.
        let key = if hash.is_empty() { format!("{number} {currency}") } else { hash };
        let (nickname, product) = (text(&account["details"]), text(&account["product"]));
        let name = if nickname.is_empty() { product } else { nickname };
        let uid = Some(text(&account["uid"])).filter(|uid| !uid.is_empty());
        BankAccount { uid, key, number, is_iban, currency, name, holder: text(&account["name"]) }
    }
}

/// The code of an account whose currency the bank does not tell.
const NO_CURRENCY: &str = "XXX";

fn time(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|time| time.to_utc())
}
