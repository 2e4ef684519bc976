//! From a value of the file to a type that cannot be wrong: names, days, account numbers, addresses, amounts, secrets,
//! titles, fields. An error repeats a value only where the value can be no secret.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use iban::{IbanLike, ParseBaseIbanError, ParseIbanError};
use rust_decimal::Decimal;
use secrecy::SecretString;
use toml::de::DeValue;
use url::{Host, Url};

use super::reader::{Table, Value};
use super::words::{nearest, one_of, quote};
use super::{Error, Key, Secret, key};
use crate::model::{Field, Language};

/// The ways to say where a secret is.
const SECRET: &[Key] = &[
    key("env", "the name of an environment variable in quotes"),
    key("file", "the path of a file in quotes"),
    key("credential", "the name of a systemd credential in quotes"),
];

/// Longest name of an entry: names stand in every report line.
const LONGEST_NAME: usize = 60;

/// The name of an entry.
pub fn name(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    if text.trim() != text {
        return Err(value.error("starts or ends with a space"));
    }
    if text.chars().count() > LONGEST_NAME {
        return Err(value.error(format!("is longer than {LONGEST_NAME} characters")));
    }
    Ok(text.to_owned())
}

/// A day, as TOML's own date or in quotes.
pub fn date(value: &Value<'_>) -> Result<NaiveDate, Error> {
    let parsed = match value.value {
        DeValue::Datetime(stamp) => {
            let day = stamp.date.filter(|_| stamp.time.is_none() && stamp.offset.is_none());
            day.and_then(|day| NaiveDate::from_ymd_opt(day.year.into(), day.month.into(), day.day.into()))
        }
        DeValue::String(text) if text.len() == 10 => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
        DeValue::String(_) => None,
        _ => return Err(value.wrong()),
    };
    parsed.ok_or_else(|| value.error("expected a day as year-month-day, such as 2024-01-31"))
}

/// A list of accounts by IBAN, spaces removed.
pub fn accounts(value: &Value<'_>) -> Result<Vec<String>, Error> {
    account_list(value, iban)
}

/// A list of accounts by the names that a service has for them.
pub fn account_names(value: &Value<'_>) -> Result<Vec<String>, Error> {
    account_list(value, |item| Ok(item.text()?.trim().to_owned()))
}

fn account_list(value: &Value<'_>, read: impl Fn(&Value<'_>) -> Result<String, Error>) -> Result<Vec<String>, Error> {
    let items = value.list()?;
    if items.is_empty() {
        return Err(value.error("names no account, leave the key out to mean all"));
    }
    let mut accounts = Vec::new();
    for item in items {
        let account = read(&item)?;
        if accounts.contains(&account) {
            return Err(item.error(format!("`{account}` stands in the list twice")));
        }
        accounts.push(account);
    }
    Ok(accounts)
}

/// The number of an account, spaces removed.
pub fn iban(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
    match compact.parse::<iban::Iban>() {
        Ok(iban) => Ok(iban.electronic_str().to_owned()),
        Err(error) => {
            let why = match error {
                ParseIbanError::InvalidBaseIban { source: ParseBaseIbanError::InvalidChecksum } => {
                    "its check digits do not fit, look for a typing error"
                }
                ParseIbanError::InvalidBaseIban { .. } => "expected a country, two digits and the account number",
                ParseIbanError::InvalidBban(_) => "it is too long, too short or oddly composed for its country",
                ParseIbanError::UnknownCountry(_) => "its country has none",
            };
            Err(value.error(format!("{} is not an IBAN: {why}", quote(text))))
        }
    }
}

/// A decimal, with or without quotes: without them too it is read as it is written, and never as a float.
pub fn amount(value: &Value<'_>) -> Result<Decimal, Error> {
    let text = match value.value {
        DeValue::Float(float) => float.as_str(),
        DeValue::String(text) => text,
        DeValue::Integer(_) => {
            let number = value.integer().and_then(|number| Decimal::try_from_i128_with_scale(number, 0).ok());
            return number.ok_or_else(|| value.wrong());
        }
        _ => return Err(value.wrong()),
    };
    text.replace('_', "").parse().map_err(|_| value.error("expected an amount such as -12.50"))
}

/// The origin of a service: scheme, host and port only.
pub fn origin(value: &Value<'_>) -> Result<Url, Error> {
    let url = address(value)?;
    if url.path() != "/" {
        return Err(value.error("must end after the host, without a path"));
    }
    Ok(url)
}

/// The root of a service: an origin, perhaps with a path, which then ends in a slash.
pub fn root(value: &Value<'_>) -> Result<Url, Error> {
    let mut url = address(value)?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// An address that secrets may be sent to. No error repeats the address: a password may be part of it.
pub fn address(value: &Value<'_>) -> Result<Url, Error> {
    service_address(value.text()?, false).map_err(|why| value.error(why))
}

/// An address from plain text; `query`: one may be part of it.
pub fn service_address(text: &str, query: bool) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| url.has_host() && ["https", "http"].contains(&url.scheme()));
    let url = url.ok_or("expected an address such as \"https://example.com\"")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password");
    }
    if url.fragment().is_some() || (url.query().is_some() && !query) {
        return Err("must not hold a `?` or `#`");
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() != "https" && !loopback {
        return Err("must begin with https, plain http is accepted for this machine only (127.0.0.1)");
    }
    Ok(url)
}

/// A path, relative to the file's folder; `~/` is the owner's home.
pub fn path(value: &Value<'_>) -> Result<PathBuf, Error> {
    let text = value.text()?;
    if let Some(rest) = text.strip_prefix("~/") {
        let home = value.file.home.as_ref().ok_or_else(|| value.error("starts with ~/, but $HOME is not set"))?;
        return Ok(home.join(rest));
    }
    Ok(value.file.folder.join(Path::new(text)))
}

/// A secret: plain text, or the place that holds the secret. No place is looked up yet, and no error repeats the value.
pub fn secret(value: &Value<'_>) -> Result<Secret, Error> {
    if let Some(text) = value.value.as_str() {
        let empty = text.trim().is_empty();
        return if empty { Err(value.error("is empty")) } else { Ok(Secret::Plain(SecretString::from(text))) };
    }
    let table = value.table(None, SECRET).ok_or_else(|| value.wrong())?;
    let names = || SECRET.iter().map(|key| key.name);
    // An unknown key is named only where it resembles a known one: it may be the secret itself in the wrong place.
    if let Some(stranger) = table.names().find(|found| names().all(|name| name != *found))
        && let Some(near) = nearest(stranger, names())
    {
        return Err(value.error(format!("unknown key {}, did you mean `{near}`?", quote(stranger))));
    }
    if table.names().count() != 1 || !table.names().all(|found| names().any(|name| name == found)) {
        return Err(value.error(format!("expected a table with exactly one of {}", one_of(names()))));
    }
    if let Some(name) = table.read("env", env_name)? {
        return Ok(Secret::Env(name));
    }
    if let Some(path) = table.read("file", path)? {
        return Ok(Secret::File(path));
    }
    table.require("credential", credential_name).map(Secret::Credential)
}

/// The name of an environment variable. A secret pasted here by mistake would be printed later, when the variable is
/// not found: what cannot be a name is refused unseen.
fn env_name(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    let fitting =
        text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !text.starts_with(|c: char| c.is_ascii_digit());
    if fitting {
        Ok(text.to_owned())
    } else {
        Err(value.error("expected the name of an environment variable, such as \"AIRTABLE_TOKEN\""))
    }
}

/// The name of a systemd credential: a file name.
fn credential_name(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    let fitting = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !text.starts_with('.');
    if fitting {
        Ok(text.to_owned())
    } else {
        Err(value.error("expected the name of a credential, such as \"fibank-password\""))
    }
}

/// A tab's title, or `false` for none.
pub fn title_or_false(value: &Value<'_>) -> Result<Option<String>, Error> {
    if value.value.as_bool() == Some(false) { Ok(None) } else { title(value).map(Some) }
}

/// The title of a tab, table or column.
pub fn title(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?.trim();
    if text.chars().count() > 100 { Err(value.error("is longer than 100 characters")) } else { Ok(text.to_owned()) }
}

/// A field of a transaction.
pub fn field(value: &Value<'_>) -> Result<Field, Error> {
    field_called(value.text()?).map_err(|message| value.error(message))
}

/// The field of this name, or the words for an error.
pub fn field_called(text: &str) -> Result<Field, String> {
    let whole_path = text.strip_prefix("raw.").is_none_or(|path| path.split('.').all(|part| !part.is_empty()));
    text.parse().ok().filter(|_| whole_path).ok_or_else(|| {
        let keys: Vec<String> = Field::all().map(|field| field.key().into_owned()).collect();
        let names = || keys.iter().map(String::as_str);
        // The owner may have written the header instead.
        let by_header =
            Field::all().find(|field| [Language::En, Language::Bg].iter().any(|l| field.header(*l) == text));
        let near =
            by_header.map(|field| field.key().into_owned()).or_else(|| nearest(text, names()).map(str::to_owned));
        let hint = match near {
            Some(near) => format!(", did you mean `{near}`?"),
            None => format!(", expected {}", one_of(names().chain(["raw.<path>"]))),
        };
        format!("no field is called {}{hint}", quote(text))
    })
}

/// The address of a service as the program knows it.
pub fn fixed(address: &str) -> Result<Url, Error> {
    Url::parse(address).map_err(|error| Error(format!("{address}: {error}")))
}

/// Titles inside one spreadsheet or base must differ, by more than capitals.
pub fn check_titles(table: &Table<'_>, titles: &[(&str, Option<&String>)]) -> Result<(), Error> {
    let mut seen: Vec<(&str, String)> = Vec::new();
    for (key, title) in titles {
        let Some(title) = title.map(|title| title.to_lowercase()) else { continue };
        if let Some((other, _)) = seen.iter().find(|(_, known)| *known == title) {
            return Err(table.error(format!("{other} and {key} have the same title, give one of them another")));
        }
        seen.push((key, title));
    }
    Ok(())
}
