//! From a TOML file to a [`Config`]: the file as a whole, its entries, and what must hold between them.

use std::fs::File as DiskFile;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};
use toml::de::DeTable;

use super::locate::{self, Environment};
use super::{Config, Destination, Error, Http, Source, enrichment, general, keys, notifier};
use crate::destination;
use crate::destination::policy::Filter;
use crate::settings::entries::entries;
use crate::settings::reader::File;
use crate::settings::{KeyPath, Secret, Table, Value, values};
use crate::source;

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
    let file = File { name, text, folder, home: environment.get("HOME").map(PathBuf::from), top: keys::TOP };
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

/// The message of the TOML parser, with the line and without the parser's excerpt of the file.
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
    let timezone = match top.read("timezone", general::timezone)? {
        Some(zone) => zone,
        None => machine_timezone(environment).unwrap_or_else(|| {
            warnings.push(format!("{}: the machine has no named time zone, times are in UTC; set timezone", file.name));
            Tz::UTC
        }),
    };
    let schedule = top.read("schedule", general::schedules)?.unwrap_or_default();
    let catch_up = top.read("catch_up", Value::boolean)?.unwrap_or(true);
    let jitter = top.read("jitter", general::jitter)?.unwrap_or(Duration::ZERO);
    let sources = sources(top, &data_dir)?;
    if sources.is_empty() {
        let kinds: Vec<&str> = source::KINDS.iter().map(|kind| kind.name).collect();
        return Err(Error(format!(
            "{}: no source, add a [[source]] with kind = \"{}\"",
            file.name,
            kinds.join("\" or \"")
        )));
    }
    let destinations = destinations(top, &data_dir)?;
    if destinations.is_empty() {
        warnings.push(format!("{}: no destination, rows are only stored; add a [[destination]]", file.name));
    }
    let http = top.read("http", http)?;
    warnings.extend(http.iter().flat_map(|http| short_tokens(http, file)));
    let path = PathBuf::new();
    let rules = top.read("rule", enrichment::rules)?.unwrap_or_default();
    let notifiers = notifier::notifiers(top, &data_dir)?;
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

fn http(value: &Value<'_>) -> Result<Http, Error> {
    if value.value.is_array() {
        return Err(value.error("expected [http] in single brackets, there is only one"));
    }
    let table = value.table(None, keys::HTTP).ok_or_else(|| value.wrong())?;
    table.check_keys()?;
    let listen = table.require("listen", general::listen)?;
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
            let place = KeyPath::http(key);
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

/// A warning for all secrets that stand in the file itself.
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

fn sources(top: &Table<'_>, data_dir: &Path) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for entry in &entries(top, &keys::source(), data_dir)? {
        let Some(kind) = source::KINDS.iter().find(|kind| kind.name == entry.kind) else { continue };
        let settings = (kind.read)(entry)?;
        sources.push(Source { name: entry.name.clone(), kind, settings, scope: (kind.scope)(&entry.table)? });
    }
    Ok(sources)
}

fn destinations(top: &Table<'_>, data_dir: &Path) -> Result<Vec<Destination>, Error> {
    let mut destinations: Vec<Destination> = Vec::new();
    for entry in &entries(top, &keys::destination(), data_dir)? {
        let Some(kind) = destination::KINDS.iter().find(|kind| kind.name == entry.kind) else { continue };
        let settings = (kind.read)(entry)?;
        // Two connectors that keep the same rows would undo each other's work.
        let is_same = |other: &&Destination| other.kind.name == kind.name && other.settings.place() == settings.place();
        if let Some(other) = destinations.iter().find(is_same) {
            return Err(entry.table.error(format!("writes to the same place as destination `{}`", other.name)));
        }
        let filter = Filter::read(&entry.table)?;
        destinations.push(Destination { name: entry.name.clone(), kind, settings, filter });
    }
    Ok(destinations)
}
