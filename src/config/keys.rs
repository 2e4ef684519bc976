//! Every key a configuration may hold, with what is expected of it: the one list that the parser, its error messages
//! and the test of `config.example.toml` share. Kinds that later versions will know are listed too, so that they are
//! refused by name.

/// A key and what belongs behind it.
#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    /// Ends the sentence "expected …".
    pub expected: &'static str,
}

/// A kind of source, destination or notifier and the keys it has beside the common ones; `None`: not in this version.
pub(super) struct Kind {
    pub name: &'static str,
    pub keys: Option<&'static [Key]>,
}

const fn key(name: &'static str, expected: &'static str) -> Key {
    Key { name, expected }
}

const SECRET_EXPECTED: &str = "text in quotes, or a table with exactly one of env, file, credential";
const URL_EXPECTED: &str = "an address in quotes, or a table with exactly one of env, file, credential";
const TAB_EXPECTED: &str = "the title of a tab in quotes, or false";
const LIMIT_EXPECTED: &str = "an amount such as -12.50";
const BASE_URL_EXPECTED: &str = "an address in quotes such as \"https://example.com\"";

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

pub(super) const SOURCE: &[Key] = &[key("name", "a name of your choice in quotes"), key("kind", "`fibank` in quotes")];

pub(super) const SOURCE_KINDS: &[Kind] =
    &[Kind { name: "fibank", keys: Some(FIBANK) }, Kind { name: "files", keys: None }];

pub(super) const FIBANK: &[Key] = &[
    key("username", "the login name at the bank in quotes"),
    key("password", SECRET_EXPECTED),
    key("base_url", BASE_URL_EXPECTED),
    key("accounts", "a list of IBANs in quotes"),
    key("history_from", "a date such as 2015-01-01"),
    key("overlap_days", "a whole number from 0 to 3650"),
];

pub(super) const DESTINATION: &[Key] = &[
    key("name", "a name of your choice in quotes"),
    key("kind", "`google-sheets` or `airtable` in quotes"),
    key("base_url", BASE_URL_EXPECTED),
    key("columns", "a list of fields, each a name in quotes or { field = \"…\", header = \"…\" }"),
    key("updates", "`apply` or `ignore` in quotes"),
    key("vanished", "`mark`, `ignore` or `delete` in quotes"),
    key("language", "`en` or `bg` in quotes"),
    key("since", "a date such as 2024-01-01"),
    key("accounts", "a list of IBANs in quotes"),
    key("direction", "`debit` or `credit` in quotes"),
    key("min_amount", "an amount of at least 0 such as 50 or 12.50"),
    key("type", "a type of operation in quotes as the bank calls it, or a list of them"),
];

pub(super) const DESTINATION_KINDS: &[Kind] = &[
    Kind { name: "google-sheets", keys: Some(GOOGLE_SHEETS) },
    Kind { name: "airtable", keys: Some(AIRTABLE) },
    Kind { name: "odoo", keys: None },
];

pub(super) const GOOGLE_SHEETS: &[Key] = &[
    key("spreadsheet", "the address of the spreadsheet or its id, in quotes"),
    key("tab", "the title of a tab in quotes"),
    key("service_account", SECRET_EXPECTED),
    key("order", "`oldest-first` or `newest-first` in quotes"),
    key("balances_tab", TAB_EXPECTED),
    key("dashboard_tab", TAB_EXPECTED),
    key("rules_tab", TAB_EXPECTED),
    key("oauth", "a table such as { client = { file = \"/etc/bankfeed/google-client.json\" } }"),
];

pub(super) const OAUTH: &[Key] =
    &[key("client", "the JSON of an OAuth client as a secret, or { id = \"…\", secret = … }")];

pub(super) const CLIENT: &[Key] = &[
    key("id", "the client's id in quotes, such as \"….apps.googleusercontent.com\""),
    key("secret", SECRET_EXPECTED),
    key("auth_uri", BASE_URL_EXPECTED),
    key("token_uri", BASE_URL_EXPECTED),
];

pub(super) const AIRTABLE: &[Key] = &[
    key("base", "the base's id `app…` in quotes"),
    key("table", "the table's name or its id `tbl…`, in quotes"),
    key("token", SECRET_EXPECTED),
    key("monthly_requests", "a whole number of at least 1"),
    key("accounts_table", "the name of a table in quotes, or false"),
];

pub(super) const HTTP: &[Key] = &[
    key("listen", "an address and a port in quotes such as \"127.0.0.1:8350\""),
    key("token", SECRET_EXPECTED),
    key("import_token", SECRET_EXPECTED),
];

pub(super) const NOTIFY: &[Key] = &[
    key("name", "a name of your choice in quotes"),
    key("kind", "`ntfy`, `webhook`, `email` or `healthchecks` in quotes"),
    key("on", "a list such as [\"attention\", \"failure\", \"new-rows\", \"recovery\"]"),
    key("amounts", "true or false"),
];

pub(super) const NOTIFY_KINDS: &[Kind] = &[
    Kind { name: "ntfy", keys: Some(PUSHED) },
    Kind { name: "webhook", keys: Some(PUSHED) },
    Kind { name: "email", keys: Some(EMAIL) },
    Kind { name: "healthchecks", keys: Some(PINGED) },
];

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

pub(super) const SECRET: &[Key] = &[
    key("env", "the name of an environment variable in quotes"),
    key("file", "the path of a file in quotes"),
    key("credential", "the name of a systemd credential in quotes"),
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

pub(super) const COLUMN: &[Key] =
    &[key("field", "the name of a field in quotes"), key("header", "the column's header in quotes")];

/// Every key this version accepts, with the section it belongs to: empty (top of the file), `source`, `source fibank`,
/// `destination`, `destination airtable`, `rule`, `http` and so on. A key of `source`, `destination` or `notify` belongs to
/// every kind of them.
pub fn known_keys() -> Vec<(String, &'static str)> {
    let mut sections = vec![(String::new(), TOP), ("source".into(), SOURCE), ("destination".into(), DESTINATION)];
    sections.push(("http".into(), HTTP));
    sections.push(("notify".into(), NOTIFY));
    for (section, kinds) in [("source", SOURCE_KINDS), ("destination", DESTINATION_KINDS), ("notify", NOTIFY_KINDS)] {
        sections.extend(kinds.iter().filter_map(|kind| Some((format!("{section} {}", kind.name), kind.keys?))));
    }
    sections.push(("rule".into(), RULE));
    sections.into_iter().flat_map(|(section, keys)| keys.iter().map(move |key| (section.clone(), key.name))).collect()
}
