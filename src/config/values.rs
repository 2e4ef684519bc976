//! From a value of the file to a type that cannot be wrong: dates, durations, account numbers, addresses, secrets,
//! columns. An error repeats a value only where it can be no secret.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use chrono_tz::Tz;
use iban::{IbanLike, ParseBaseIbanError, ParseIbanError};
use rust_decimal::Decimal;
use secrecy::SecretString;
use toml::de::DeValue;
use url::{Host, Url};

use super::keys::{COLUMN, SECRET};
use super::reader::Value;
use super::words::{did_you_mean, nearest, one_of, quote};
use super::{Column, Error, Secret};
use crate::model::{Field, Language};
use crate::schedule::Schedule;

/// Longest name of an entry: names stand in every report line.
const LONGEST_NAME: usize = 60;

/// The longest random delay that still leaves a daily schedule daily.
const LONGEST_JITTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of an entry.
pub(super) fn name(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    if text.trim() != text {
        return Err(value.error("starts or ends with a space"));
    }
    if text.chars().count() > LONGEST_NAME {
        return Err(value.error(format!("is longer than {LONGEST_NAME} characters")));
    }
    Ok(text.to_owned())
}

/// One crontab line or a list of them.
pub(super) fn schedules(value: &Value<'_>) -> Result<Vec<Schedule>, Error> {
    let lines = if value.value.is_array() { value.list()? } else { return Ok(vec![schedule(value)?]) };
    lines.iter().map(schedule).collect()
}

fn schedule(value: &Value<'_>) -> Result<Schedule, Error> {
    let text = value.text()?;
    Schedule::parse(text).map_err(|error| value.error(format!("{}: {error}", quote(text))))
}

/// An IANA time zone.
pub(super) fn timezone(value: &Value<'_>) -> Result<Tz, Error> {
    let text = value.text()?;
    text.parse().map_err(|_| {
        let near = did_you_mean(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        value.error(format!("no time zone is called {}{near}", quote(text)))
    })
}

/// `"5m"`, `"1h30m"`, or 0.
pub(super) fn jitter(value: &Value<'_>) -> Result<Duration, Error> {
    if value.integer() == Some(0) {
        return Ok(Duration::ZERO);
    }
    let text = value.text()?;
    let duration = duration(text).ok_or_else(|| {
        value.error(format!("expected a length of time such as \"5m\", \"30s\" or \"1h\", found {}", quote(text)))
    })?;
    if duration > LONGEST_JITTER {
        return Err(value.error("is longer than a day"));
    }
    Ok(duration)
}

fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text.trim(), 0_u64);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match rest[digits..].chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let amount: u64 = rest[..digits].parse().ok()?;
        seconds = seconds.checked_add(amount.checked_mul(unit)?)?;
        rest = rest[digits + 1..].trim_start();
    }
    Some(Duration::from_secs(seconds))
}

/// A day, as TOML's own date or in quotes.
pub(super) fn date(value: &Value<'_>) -> Result<NaiveDate, Error> {
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
pub(super) fn accounts(value: &Value<'_>) -> Result<Vec<String>, Error> {
    let items = value.list()?;
    if items.is_empty() {
        return Err(value.error("names no account, leave the key out to mean all"));
    }
    let mut accounts = Vec::new();
    for item in items {
        let account = iban(&item)?;
        if accounts.contains(&account) {
            return Err(item.error(format!("`{account}` stands in the list twice")));
        }
        accounts.push(account);
    }
    Ok(accounts)
}

/// An amount that says nothing of the way money went.
pub(super) fn least(value: &Value<'_>) -> Result<Decimal, Error> {
    let amount = super::enrichment::amount(value)?;
    match amount.is_sign_negative() && !amount.is_zero() {
        true => Err(value.error("is negative; it is the least amount either way, `direction` says which")),
        false => Ok(amount),
    }
}

/// Types of operations, one or a list, as they are compared.
pub(super) fn types(value: &Value<'_>) -> Result<Vec<String>, Error> {
    let items = if value.value.is_array() { value.list()? } else { Vec::new() };
    if value.value.is_array() && items.is_empty() {
        return Err(value.error("names no type, leave the key out to mean all"));
    }
    let lower = |value: &Value<'_>| value.text().map(|text| text.trim().to_lowercase());
    if items.is_empty() { Ok(vec![lower(value)?]) } else { items.iter().map(lower).collect() }
}

pub(super) fn iban(value: &Value<'_>) -> Result<String, Error> {
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

/// The origin of a service: scheme, host and port only.
pub(super) fn origin(value: &Value<'_>) -> Result<Url, Error> {
    let url = address(value)?;
    if url.path() != "/" {
        return Err(value.error("must end after the host, without a path"));
    }
    Ok(url)
}

/// The root of a service: an origin, perhaps with a path, which then ends in a slash.
pub(super) fn root(value: &Value<'_>) -> Result<Url, Error> {
    let mut url = address(value)?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// An address that secrets may be sent to. Never repeated in errors: it may have a password in it.
pub(super) fn address(value: &Value<'_>) -> Result<Url, Error> {
    service_address(value.text()?, false).map_err(|why| value.error(why))
}

/// The same from plain text; `query`: one may be part of it.
pub(super) fn service_address(text: &str, query: bool) -> Result<Url, &'static str> {
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
pub(super) fn path(value: &Value<'_>) -> Result<PathBuf, Error> {
    let text = value.text()?;
    if let Some(rest) = text.strip_prefix("~/") {
        let home = value.file.home.as_ref().ok_or_else(|| value.error("starts with ~/, but $HOME is not set"))?;
        return Ok(home.join(rest));
    }
    Ok(value.file.folder.join(Path::new(text)))
}

/// An address of this machine and a port.
pub(super) fn listen(value: &Value<'_>) -> Result<SocketAddr, Error> {
    let text = value.text()?;
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().map_err(|_| {
        let hint = match text {
            _ if text.contains("://") => ", without http://",
            _ if text.parse::<std::net::IpAddr>().is_ok() => ", the port is missing",
            _ if text.starts_with(':') || text.chars().all(|c| c.is_ascii_digit()) => ", the address is missing",
            _ => "",
        };
        value.error(format!(
            "expected {}, found {}{hint}",
            "an address and a port such as \"127.0.0.1:8350\"",
            quote(text)
        ))
    })
}

/// A secret: plain text, or where to find it. Nothing is looked up yet, and no error repeats what was found.
pub(super) fn secret(value: &Value<'_>) -> Result<Secret, Error> {
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

/// A service account's key: JSON, so that a file's path written where the key belongs is noticed here.
pub(super) fn service_account(value: &Value<'_>) -> Result<Secret, Error> {
    if let Some(text) = value.value.as_str()
        && !text.trim().is_empty()
        && !text.trim_start().starts_with('{')
    {
        return Err(value.error("expected the JSON key itself, or { file = \"…\" } with the path of the key file"));
    }
    secret(value)
}

/// A spreadsheet's id, also out of its address.
pub(super) fn spreadsheet(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?.trim();
    let is_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_id(text) {
        return Ok(text.to_owned());
    }
    let expected =
        || value.error("expected the address of a spreadsheet, https://docs.google.com/spreadsheets/d/…, or its id");
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|_| expected())?;
    if url.host_str() != Some("docs.google.com") {
        return Err(expected());
    }
    // Also /spreadsheets/u/0/d/… where several Google accounts are signed in.
    let parts: Vec<&str> = url.path().split('/').collect();
    let id = parts.iter().position(|part| *part == "d").and_then(|at| parts.get(at + 1)).copied();
    if id == Some("e") {
        return Err(
            value.error("is the address of a published copy, take it from the browser while editing the spreadsheet")
        );
    }
    let spreadsheets = parts.get(1) == Some(&"spreadsheets");
    id.filter(|id| spreadsheets && is_id(id)).map(str::to_owned).ok_or_else(expected)
}

/// A base's id.
pub(super) fn base(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    let rest =
        text.strip_prefix("app").filter(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric()));
    let expected = "expected the base's id, which begins with app: the first part of its address after airtable.com/";
    rest.map(|_| text.to_owned()).ok_or_else(|| value.error(expected))
}

/// A tab's title, or `false` for none.
pub(super) fn title_or_false(value: &Value<'_>) -> Result<Option<String>, Error> {
    if value.value.as_bool() == Some(false) { Ok(None) } else { title(value).map(Some) }
}

/// The title of a tab, table or column.
pub(super) fn title(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?.trim();
    if text.chars().count() > 100 { Err(value.error("is longer than 100 characters")) } else { Ok(text.to_owned()) }
}

/// Columns as they will stand, the id column among them.
pub(super) fn columns(value: &Value<'_>, language: Language) -> Result<Vec<Column>, Error> {
    let items = value.list()?;
    if items.is_empty() {
        return Err(value.error("names no field, leave the key out for the usual columns"));
    }
    let mut columns = Vec::new();
    for item in &items {
        let column = column(item, language)?;
        check_column(item, &column, &columns)?;
        columns.push(column);
    }
    if !columns.iter().any(|column| column.field == Field::Id) {
        let id = Column { header: Field::Id.header(language), field: Field::Id };
        check_column(value, &id, &columns)?;
        columns.push(id);
    }
    Ok(columns)
}

/// The columns of a destination that does not say.
pub(super) fn default_columns(language: Language) -> Vec<Column> {
    let column = |field: Field| Column { header: field.header(language), field };
    Field::default_columns().into_iter().map(column).collect()
}

fn column(value: &Value<'_>, language: Language) -> Result<Column, Error> {
    let Some(table) = value.table(None, COLUMN) else {
        let field = field(value)?;
        return Ok(Column { header: field.header(language), field });
    };
    table.check_keys()?;
    let field = table.require("field", field)?;
    let header = table.read("header", title)?.unwrap_or_else(|| field.header(language));
    Ok(Column { field, header })
}

fn field(value: &Value<'_>) -> Result<Field, Error> {
    field_called(value.text()?).map_err(|message| value.error(message))
}

/// The field of this name, or the words for an error.
pub(super) fn field_called(text: &str) -> Result<Field, String> {
    let whole_path = text.strip_prefix("raw.").is_none_or(|path| path.split('.').all(|part| !part.is_empty()));
    text.parse().ok().filter(|_| whole_path).ok_or_else(|| {
        let keys: Vec<String> = Field::all().map(|field| field.key().into_owned()).collect();
        let names = || keys.iter().map(String::as_str);
        // Somebody may have written the header instead.
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

/// Two columns of one field or one header could not be told apart when the sheet is read back.
fn check_column(value: &Value<'_>, column: &Column, others: &[Column]) -> Result<(), Error> {
    if others.iter().any(|other| other.field == column.field) {
        return Err(value.error(format!("the field {} stands in two columns", quote(&column.field.key()))));
    }
    let plain = |header: &str| header.trim().to_lowercase();
    let taken: BTreeSet<String> = others.iter().map(|other| plain(&other.header)).collect();
    if taken.contains(&plain(&column.header)) {
        return Err(value.error(format!("two columns have the header {}", quote(&column.header))));
    }
    Ok(())
}
