//! From a TOML file to a [`Config`]: the file as a whole, its entries, and what must hold between them.

use std::fs::File as DiskFile;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};
use toml::de::DeTable;

use super::keys::{self, Kind};
use super::locate::{self, Environment};
use super::place::Place;
use super::reader::{File, Table, Value};
use super::words::{did_you_mean, one_of, quote};
use super::{
    Airtable, Config, Destination, DestinationKind, Error, Fibank, Filter, GoogleSheets, Http, Order, Rows, Secret,
    Source, SourceKind, Updates, Vanished, enrichment, notifier, oauth, values,
};
use crate::model::{Direction, Language};

/// How many days each pull looks back where nothing is said.
const OVERLAP_DAYS: u32 = 14;

/// A token with fewer characters is warned of.
pub(super) const SHORTEST_TOKEN: usize = 16;

/// Larger than any configuration a person writes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads and validates a configuration file; what it leaves open comes from this process's environment.
pub fn load(path: &Path) -> Result<Config, Error> {
    load_with(path, &Environment::process())
}

/// [`load`] with the environment as an argument.
pub fn load_with(path: &Path, environment: &Environment) -> Result<Config, Error> {
    let name = path.display().to_string();
    let (bytes, others_can_read) =
        read(path).or_else(|error| as_credential(path, environment, error)).map_err(|error| {
            let missing = error.kind() == ErrorKind::NotFound;
            let remedy = if missing { ", `bankfeed init` writes one" } else { "" };
            Error(format!("{name}: cannot read it: {error}{remedy}"))
        })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error(format!("{name}: larger than {MAX_FILE_BYTES} bytes, is this the configuration?")));
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            return Err(Error(format!("{name}:{line}: not UTF-8 text, save the file as UTF-8")));
        }
    };
    let mut config = from_text(path, text, environment)?;
    if others_can_read {
        config.warnings.extend(plain_secrets(&config, &name));
    }
    Ok(config)
}

/// A configuration once more from what stood in its file when it was read.
pub fn reload(path: &Path, text: &str) -> Result<Config, Error> {
    from_text(path, text, &Environment::process())
}

fn from_text(path: &Path, text: &str, environment: &Environment) -> Result<Config, Error> {
    let name = path.display().to_string();
    let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    let file = File { name, text, folder, home: environment.get("HOME").map(PathBuf::from) };
    let root = DeTable::parse(text).map_err(|error| syntax_error(&file, &error))?;
    let mut config = config(&Table::root(&file, root.get_ref()), &file, environment)?;
    (config.path, config.text) = (path.to_owned(), text.into());
    Ok(config)
}

/// The file's bytes, and whether others than its owner can read them.
fn read(path: &Path) -> std::io::Result<(Vec<u8>, bool)> {
    let file = DiskFile::open(path)?;
    let others_can_read = readable_by_others(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes, others_can_read))
}

/// The service runs as a user who may not read the owner's file; systemd hands it over as a credential of the same name.
fn as_credential(path: &Path, environment: &Environment, error: std::io::Error) -> std::io::Result<(Vec<u8>, bool)> {
    let folder = environment.get("CREDENTIALS_DIRECTORY").filter(|_| error.kind() == ErrorKind::PermissionDenied);
    let copy = folder.zip(path.file_name()).map(|(folder, name)| Path::new(folder).join(name));
    copy.and_then(|copy| read(&copy).ok()).ok_or(error)
}

#[cfg(unix)]
fn readable_by_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o044 != 0
}

#[cfg(not(unix))]
fn readable_by_others(_metadata: &std::fs::Metadata) -> bool {
    false
}

/// What the TOML parser says, with the line and without its excerpt of the file.
fn syntax_error(file: &File<'_>, error: &toml::de::Error) -> Error {
    let span = error.span().unwrap_or(file.text.len()..file.text.len());
    let message = error.message().replace('\n', " ");
    if message == "duplicate key" {
        // The key is named only if it is a known one: whatever else stands there may be part of a secret.
        let key = file.text.get(span.clone()).unwrap_or_default();
        let known = keys::known_keys().iter().any(|(_, name)| *name == key);
        return file.error(
            span.start,
            match key {
                "source" | "destination" | "rule" | "notify" => {
                    format!("{key} is given twice, write [[{key}]] in double brackets each time")
                }
                _ if known => format!("{key} is given twice"),
                _ => "a key is given twice".into(),
            },
        );
    }
    file.error(span.start, format!("not valid TOML: {message}"))
}

fn config(top: &Table<'_>, file: &File<'_>, environment: &Environment) -> Result<Config, Error> {
    top.check_keys()?;
    let mut warnings = Vec::new();
    let data_dir = match top.read("data_dir", values::path)? {
        Some(path) => path,
        None => {
            let chosen = locate::data_dir(environment).ok_or_else(|| {
                Error(format!(
                    "{}: data_dir is missing, and neither $STATE_DIRECTORY nor $HOME says where data may go",
                    file.name
                ))
            })?;
            warnings.extend(locate::other_than_the_service(environment, &file.name).map(|service| {
                format!(
                    "{}: data_dir is missing: this looks into {}, the service keeps its data in {service}; set data_dir = \"{service}\"",
                    file.name,
                    chosen.display()
                )
            }));
            chosen
        }
    };
    let timezone = match top.read("timezone", values::timezone)? {
        Some(zone) => zone,
        None => machine_timezone(environment).unwrap_or_else(|| {
            warnings.push(format!("{}: the machine has no named time zone, times are in UTC; set timezone", file.name));
            Tz::UTC
        }),
    };
    let schedule = top.read("schedule", values::schedules)?.unwrap_or_default();
    let catch_up = top.read("catch_up", Value::boolean)?.unwrap_or(true);
    let jitter = top.read("jitter", values::jitter)?.unwrap_or(Duration::ZERO);
    let mut sources = sources(top)?;
    for source in &mut sources {
        let SourceKind::Fibank(fibank) = &mut source.kind;
        fibank.login = Some(login_file(&data_dir, "fibank", &source.name));
    }
    if sources.is_empty() {
        return Err(Error(format!("{}: no source, add a [[source]] with kind = \"fibank\"", file.name)));
    }
    let mut destinations = destinations(top)?;
    for destination in &mut destinations {
        if let DestinationKind::GoogleSheets(GoogleSheets { login: Some(login), .. }) = &mut destination.kind {
            *login = login_file(&data_dir, "google", &destination.name);
        }
    }
    if destinations.is_empty() {
        warnings.push(format!("{}: no destination, rows are only stored; add a [[destination]]", file.name));
    }
    let http = top.read("http", http)?;
    warnings.extend(http.iter().flat_map(|http| short_tokens(http, file)));
    let path = PathBuf::new();
    let rules = top.read("rule", enrichment::rules)?.unwrap_or_default();
    let notifiers = notifier::notifiers(top)?;
    Ok(Config {
        path,
        text: SecretString::default(),
        data_dir,
        timezone,
        schedule,
        catch_up,
        jitter,
        sources,
        destinations,
        rules,
        http,
        notifiers,
        warnings,
    })
}

/// Where a sign-in by hand is kept. Any name is a good one for an entry, but not for a file.
fn login_file(data_dir: &Path, kind: &str, name: &str) -> PathBuf {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    data_dir.join("logins").join(format!("{kind}-{name}.json"))
}

fn http(value: &Value<'_>) -> Result<Http, Error> {
    if value.value.is_array() {
        return Err(value.error("expected [http] in single brackets, there is only one"));
    }
    let table = value.table(None, keys::HTTP).ok_or_else(|| value.wrong())?;
    table.check_keys()?;
    let listen = table.require("listen", values::listen)?;
    let token = table.read("token", values::secret)?;
    if token.is_none() && !listen.ip().is_loopback() {
        return Err(table.error(
            "token is missing, but listen is an address that others can reach; give a token, or listen on 127.0.0.1",
        ));
    }
    Ok(Http { listen, token, import_token: table.read("import_token", values::secret)? })
}

/// Tokens that could be guessed, as far as they stand in the file itself.
fn short_tokens(http: &Http, file: &File<'_>) -> Vec<String> {
    let tokens = [("token", &http.token), ("import_token", &http.import_token)];
    let short = tokens.into_iter().filter(
        |(_, secret)| matches!(secret, Some(Secret::Plain(secret)) if secret.expose_secret().len() < SHORTEST_TOKEN),
    );
    short
        .map(|(key, _)| {
            let place = Place::http(key);
            let at = place.line(file.text).map_or(file.name.clone(), |line| format!("{}:{line}", file.name));
            format!("{at}: {place} is short and could be guessed; `openssl rand -hex 20` makes a good one")
        })
        .collect()
}

/// `$TZ` where it is a name, else what the machine is set to.
pub fn machine_timezone(environment: &Environment) -> Option<Tz> {
    let variable = environment.get("TZ").and_then(|zone| zone.to_str());
    let given = variable.and_then(|zone| zone.strip_prefix(':').unwrap_or(zone).parse().ok());
    given.or_else(|| iana_time_zone::get_timezone().ok()?.parse().ok())
}

/// One warning for all secrets that stand in the file itself.
fn plain_secrets(config: &Config, file: &str) -> Option<String> {
    let secrets = config.secrets();
    let plain: Vec<String> = secrets
        .iter()
        .filter(|(_, secret)| matches!(secret, Secret::Plain(_)))
        .map(|(place, _)| place.to_string())
        .collect();
    let places = plain.join(" and ");
    (!plain.is_empty()).then(|| format!("{file}: others can read {places}; run chmod 600 {file}"))
}

/// An entry whose name and kind are known and whose keys have been checked.
pub(super) struct Entry<'a> {
    pub table: Table<'a>,
    pub kind: &'static str,
    pub name: String,
}

fn sources(top: &Table<'_>) -> Result<Vec<Source>, Error> {
    let entries = entries(top, "source", keys::SOURCE, keys::SOURCE_KINDS)?;
    entries
        .iter()
        .map(|entry| Ok(Source { name: entry.name.clone(), kind: SourceKind::Fibank(fibank(&entry.table)?) }))
        .collect()
}

fn destinations(top: &Table<'_>) -> Result<Vec<Destination>, Error> {
    let entries = entries(top, "destination", keys::DESTINATION, keys::DESTINATION_KINDS)?;
    let mut destinations: Vec<Destination> = Vec::new();
    for entry in &entries {
        let table = &entry.table;
        let kind = match entry.kind {
            "airtable" => DestinationKind::Airtable(airtable(table)?),
            _ => DestinationKind::GoogleSheets(google_sheets(table)?),
        };
        // Two connectors that keep the same rows would undo each other's work.
        if let Some(other) = destinations.iter().find(|other| same_place(&other.kind, &kind)) {
            return Err(table.error(format!("writes to the same place as destination `{}`", other.name)));
        }
        destinations.push(Destination { name: entry.name.clone(), kind, filter: filter(table)? });
    }
    Ok(destinations)
}

/// The entries of a list, named: by themselves, or by their kind where that is unmistakable.
pub(super) fn entries<'a>(
    top: &Table<'a>,
    list: &'static str,
    common: &'static [keys::Key],
    kinds: &'static [Kind],
) -> Result<Vec<Entry<'a>>, Error> {
    let Some(items) = top.read(list, |value| entry_tables(value, list, common))? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (number, mut table) in (1..).zip(items) {
        table.label = format!("{list} {number}");
        let name = table.read("name", values::name)?;
        if let Some(name) = &name {
            table.label = format!("{list} `{name}`");
        }
        let (kind, keys) = table.require("kind", |value| entry_kind(value, kinds))?;
        let table = table.with_keys(keys);
        table.check_keys()?;
        found.push((table, kind, name));
    }
    let kinds: Vec<&str> = found.iter().map(|(_, kind, _)| *kind).collect();
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for (table, kind, name) in found {
        let alone = kinds.iter().filter(|other| **other == kind).count() == 1;
        let given = name.is_some();
        // Whom to tell is never named on the command line or in a sheet: a number will do.
        let number = || entries.iter().filter(|other| other.kind == kind).count() + 1;
        let numbered = || (list == "notify").then(|| format!("{kind} {}", number()));
        let Some(name) = name.or_else(|| alone.then(|| kind.to_owned())).or_else(numbered) else {
            return Err(table.error(format!("name is missing, expected one because several have the kind `{kind}`")));
        };
        if entries.iter().any(|other| other.name == name) {
            let taken = format!("the name {} is taken by another {list}", quote(&name));
            let place = table.read("name", |value| Ok(value.at))?;
            return Err(place.filter(|_| given).map_or_else(|| table.error(&taken), |at| table.error_at(at, &taken)));
        }
        entries.push(Entry { table, kind, name });
    }
    Ok(entries)
}

/// The tables of `[[source]]`, `[[destination]]` or `[[rule]]`.
pub(super) fn entry_tables<'a>(
    value: &Value<'a>,
    list: &str,
    common: &'static [keys::Key],
) -> Result<Vec<Table<'a>>, Error> {
    if value.value.is_table() {
        return Err(value.error(format!("expected [[{list}]] in double brackets, one for each {list}")));
    }
    let items = value.list()?;
    items.iter().map(|item| item.table(None, common).ok_or_else(|| item.wrong())).collect()
}

fn entry_kind(value: &Value<'_>, kinds: &'static [Kind]) -> Result<(&'static str, &'static [keys::Key]), Error> {
    let text = value.text()?;
    let possible = || kinds.iter().filter(|kind| kind.keys.is_some()).map(|kind| kind.name);
    match kinds.iter().find(|kind| kind.name == text) {
        Some(Kind { name, keys: Some(keys) }) => Ok((name, keys)),
        Some(Kind { name, keys: None }) => Err(value.error(format!("`{name}` is not supported yet in this version"))),
        None => {
            let near = did_you_mean(text, possible());
            Err(value.error(format!("expected {}, found {}{near}", one_of(possible()), quote(text))))
        }
    }
}

fn fibank(table: &Table<'_>) -> Result<Fibank, Error> {
    Ok(Fibank {
        username: table.require("username", |value| value.text().map(str::to_owned))?,
        password: table.require("password", values::secret)?,
        base_url: table.read("base_url", values::origin)?.map_or_else(|| fixed("https://my.fibank.bg"), Ok)?,
        accounts: table.read("accounts", values::accounts)?,
        history_from: table.read("history_from", values::date)?,
        overlap_days: table.read("overlap_days", |value| value.whole(0..=3650))?.unwrap_or(OVERLAP_DAYS),
        login: None,
    })
}

fn google_sheets(table: &Table<'_>) -> Result<GoogleSheets, Error> {
    let rows = rows(table)?;
    let oauth = table.read("oauth", oauth::read)?;
    let key = table.read("service_account", values::service_account)?;
    let login = oauth.is_some().then(PathBuf::new);
    let (oauth, client) = oauth.map_or((None, None), |(secret, client)| (Some(secret), client));
    let service_account = match (key, oauth) {
        (Some(_), Some(_)) => {
            let at = table.read("oauth", |value| Ok(value.at))?.unwrap_or_default();
            return Err(table.error_at(at, "oauth and service_account exclude each other, give one of them"));
        }
        (Some(key), None) | (None, Some(key)) => key,
        (None, None) => table.require("service_account", values::service_account)?,
    };
    let orders = [("oldest-first", Order::OldestFirst), ("newest-first", Order::NewestFirst)];
    let sheets = GoogleSheets {
        spreadsheet: table.require("spreadsheet", values::spreadsheet)?,
        tab: table.read("tab", values::title)?.unwrap_or_else(|| transactions(rows.language)),
        service_account,
        login,
        client: client.map(Box::new),
        base_url: table.read("base_url", values::root)?.map_or_else(|| fixed("https://sheets.googleapis.com/"), Ok)?,
        order: table.read("order", |value| value.choice(&orders))?.unwrap_or_default(),
        balances_tab: extra(table, "balances_tab", rows.language, "Balances", "Салда")?,
        dashboard_tab: extra(table, "dashboard_tab", rows.language, "Dashboard", "Табло")?,
        rules_tab: table.read("rules_tab", values::title_or_false)?.flatten(),
        rows,
    };
    let (balances, dashboard) = (sheets.balances_tab.as_ref(), sheets.dashboard_tab.as_ref());
    let (tab, rules) = (Some(&sheets.tab), sheets.rules_tab.as_ref());
    check_titles(
        table,
        &[("tab", tab), ("balances_tab", balances), ("dashboard_tab", dashboard), ("rules_tab", rules)],
    )?;
    Ok(sheets)
}

/// The title of a tab or table beside the transactions: as configured, the usual one, or none.
fn extra(table: &Table<'_>, key: &str, language: Language, en: &str, bg: &str) -> Result<Option<String>, Error> {
    let usual = if language == Language::En { en } else { bg };
    Ok(table.read(key, values::title_or_false)?.unwrap_or_else(|| Some(usual.to_owned())))
}

/// Titles inside one spreadsheet or base must differ, by more than capitals.
fn check_titles(table: &Table<'_>, titles: &[(&str, Option<&String>)]) -> Result<(), Error> {
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

fn airtable(table: &Table<'_>) -> Result<Airtable, Error> {
    let rows = rows(table)?;
    let airtable = Airtable {
        base: table.require("base", values::base)?,
        table: table.read("table", values::title)?.unwrap_or_else(|| transactions(rows.language)),
        token: table.require("token", values::secret)?,
        base_url: table.read("base_url", values::origin)?.map_or_else(|| fixed("https://api.airtable.com"), Ok)?,
        monthly_requests: table.read("monthly_requests", |value| value.whole(1..=u32::MAX))?,
        accounts_table: table.read("accounts_table", values::title_or_false)?.flatten(),
        rows,
    };
    let accounts = airtable.accounts_table.as_ref();
    check_titles(table, &[("table", Some(&airtable.table)), ("accounts_table", accounts)])?;
    Ok(airtable)
}

fn rows(table: &Table<'_>) -> Result<Rows, Error> {
    let updates = [("apply", Updates::Apply), ("ignore", Updates::Ignore)];
    let vanished = [("mark", Vanished::Mark), ("ignore", Vanished::Ignore), ("delete", Vanished::Delete)];
    let languages = [("en", Language::En), ("bg", Language::Bg)];
    let language = table.read("language", |value| value.choice(&languages))?.unwrap_or_default();
    let columns = table.read("columns", |value| values::columns(value, language))?;
    Ok(Rows {
        columns: columns.unwrap_or_else(|| values::default_columns(language)),
        updates: table.read("updates", |value| value.choice(&updates))?.unwrap_or_default(),
        vanished: table.read("vanished", |value| value.choice(&vanished))?.unwrap_or_default(),
        language,
    })
}

fn filter(table: &Table<'_>) -> Result<Filter, Error> {
    let directions = [Direction::Debit, Direction::Credit].map(|direction| (direction.as_str(), direction));
    Ok(Filter {
        since: table.read("since", values::date)?,
        accounts: table.read("accounts", values::accounts)?,
        direction: table.read("direction", |value| value.choice(&directions))?,
        min_amount: table.read("min_amount", values::least)?,
        types: table.read("type", values::types)?,
    })
}

/// Titles of tabs and tables differ by more than capitals in both services.
fn same_place(one: &DestinationKind, other: &DestinationKind) -> bool {
    match (one, other) {
        (DestinationKind::GoogleSheets(one), DestinationKind::GoogleSheets(other)) => {
            let same_tab = one.tab.to_lowercase() == other.tab.to_lowercase();
            same_tab && one.spreadsheet == other.spreadsheet && one.base_url == other.base_url
        }
        (DestinationKind::Airtable(one), DestinationKind::Airtable(other)) => {
            let same_table = one.table.to_lowercase() == other.table.to_lowercase();
            same_table && one.base == other.base && one.base_url == other.base_url
        }
        _ => false,
    }
}

/// The usual title of the tab or table with the transactions.
fn transactions(language: Language) -> String {
    match language {
        Language::En => "Transactions".into(),
        Language::Bg => "Транзакции".into(),
    }
}

/// A service's own address.
fn fixed(address: &str) -> Result<url::Url, Error> {
    url::Url::parse(address).map_err(|error| Error(format!("{address}: {error}")))
}
