//! Every key of a configuration with its expected value: the list that the parser, its error messages and the test of
//! `config.example.toml` share. Connectors declare the keys of their own entries.

use std::sync::LazyLock;

use crate::destination::{self, policy};
use crate::settings::entries::ListKeys;
use crate::settings::words::one_of;
use crate::settings::{Key, KindKeys, SECRET_EXPECTED, key};
use crate::source;

const URL_EXPECTED: &str = "an address in quotes, or a table with exactly one of env, file, credential";
const LIMIT_EXPECTED: &str = "an amount such as -12.50";

pub(super) const TOP: &[Key] = &[
    key("data_dir", "the path of a folder in quotes"),
    key("timezone", "an IANA time zone in quotes such as \"Europe/Sofia\""),
    key("schedule", "a crontab line in quotes such as \"0 3 * * *\", or a list of them"),
    key("catch_up", "true or false"),
    key("jitter", "a length of time in quotes such as \"5m\", \"30s\" or \"1h\", or 0"),
    key("source", "[[source]] entries"),
    key("destination", "[[destination]] entries"),
    key("rule", "[[rule]] entries"),
    key("http", "an [http] table"),
    key("notify", "[[notify]] entries"),
];

static SOURCE_FIRST: LazyLock<[Key; 2]> = LazyLock::new(|| first(source::KINDS.iter().map(|kind| kind.name)));

static DESTINATION_FIRST: LazyLock<[Key; 2]> = LazyLock::new(|| first(destination::KINDS.iter().map(|kind| kind.name)));

/// The keys of every entry of such a list.
fn first(kinds: impl Iterator<Item = &'static str>) -> [Key; 2] {
    let kind = Key { name: "kind", expected: format!("{} in quotes", one_of(kinds)).into(), tables: &[] };
    [key("name", "a name of your choice in quotes"), kind]
}

/// The keys of `[[source]]`.
pub(super) fn source() -> ListKeys {
    let kinds = source::KINDS.iter().map(|kind| KindKeys { name: kind.name, keys: Some(kind.keys) });
    let (kinds, first) = (kinds.collect(), vec![&SOURCE_FIRST[..]]);
    ListKeys { list: "source", first, kinds, last: source::KEYS }
}

/// The keys of `[[destination]]`.
pub(super) fn destination() -> ListKeys {
    let kinds = destination::KINDS.iter().map(|kind| KindKeys { name: kind.name, keys: Some(kind.keys) });
    let planned = destination::PLANNED.iter().map(|name| KindKeys { name, keys: None });
    let (kinds, first) = (kinds.chain(planned).collect(), vec![&DESTINATION_FIRST[..], policy::KEYS]);
    ListKeys { list: "destination", first, kinds, last: &[] }
}

pub(super) const HTTP: &[Key] = &[
    key("listen", "an address and a port in quotes such as \"127.0.0.1:8350\""),
    key("token", SECRET_EXPECTED),
    key("import_token", SECRET_EXPECTED),
];

const NOTIFY: &[Key] = &[
    key("name", "a name of your choice in quotes"),
    key("kind", "`ntfy`, `webhook`, `email` or `healthchecks` in quotes"),
    key("on", "a list such as [\"attention\", \"failure\", \"new-rows\", \"recovery\"]"),
    key("amounts", "true or false"),
];

/// The keys of `[[notify]]`.
pub(super) fn notify() -> ListKeys {
    let kinds = [("ntfy", PUSHED), ("webhook", PUSHED), ("email", EMAIL), ("healthchecks", PINGED)];
    let kinds = kinds.map(|(name, keys)| KindKeys { name, keys: Some(keys) }).into();
    ListKeys { list: "notify", first: vec![NOTIFY], kinds, last: &[] }
}

const PUSHED: &[Key] = &[key("url", URL_EXPECTED), key("token", SECRET_EXPECTED)];

const PINGED: &[Key] = &[key("url", URL_EXPECTED)];

const EMAIL: &[Key] = &[
    key("host", "the name of a mail server in quotes such as \"smtp.example.com\""),
    key("port", "a whole number from 1 to 65535"),
    key("tls", "`starttls` or `implicit` in quotes"),
    key("username", "the login name at the mail server in quotes"),
    key("password", SECRET_EXPECTED),
    key("from", "a mail address in quotes such as \"bankfeed@example.com\""),
    key("to", "a mail address in quotes such as \"ivan@example.com\", or a list of them"),
];

pub(super) const RULE: &[Key] = &[
    key("when", "a table such as { counterparty = \"lidl|billa\", direction = \"debit\" }"),
    key("set", "a table such as { category = \"Groceries\" }"),
];

pub(super) const SET: &[Key] = &[
    key("category", "text in quotes"),
    key("vendor", "text in quotes"),
    key("tags", "text in quotes, or a list of tags in quotes"),
    key("note", "text in quotes"),
];

pub(super) const LIMITS: &[Key] = &[key("min", LIMIT_EXPECTED), key("max", LIMIT_EXPECTED)];

/// Every key this version accepts, with the section it belongs to: empty (top of the file), `source`, `source fibank`,
/// `source.csv`, `destination`, `destination airtable`, `rule`, `http` and so on. A key of `source`, `destination` or `notify`
/// belongs to every kind of them.
pub fn known_keys() -> Vec<(String, &'static str)> {
    let mut sections = vec![(String::new(), TOP), ("http".into(), HTTP), ("rule".into(), RULE)];
    for ListKeys { list, first, kinds, last } in [source(), destination(), notify()] {
        sections.extend(first.into_iter().chain([last]).map(|keys| (list.to_owned(), keys)));
        let tables = kinds.iter().filter_map(|kind| kind.keys).flatten().filter(|key| !key.tables.is_empty());
        sections.extend(tables.map(|key| (format!("{list}.{}", key.name), key.tables)));
        sections.extend(kinds.iter().filter_map(|kind| Some((format!("{list} {}", kind.name), kind.keys?))));
    }
    sections.into_iter().flat_map(|(section, keys)| keys.iter().map(move |key| (section.clone(), key.name))).collect()
}
