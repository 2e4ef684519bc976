//! `[[notify]]` entries: whom to tell what, and how to reach them.
//!
//! An address counts as a secret: whoever knows an ntfy topic, a webhook or a ping address can read or write there. An
//! address may therefore be given in every way of a secret, and no error repeats it.

use std::path::Path;

use secrecy::ExposeSecret;
use url::Url;

use super::{Error, keys};
use crate::settings::entries::entries;
use crate::settings::values::{self, service_address};
use crate::settings::{Secret, Table, Value};

/// Ports that mail is handed over at: with STARTTLS, with TLS from the start, or on this very machine.
const PORTS: [u16; 3] = [587, 465, 25];

/// A `[[notify]]`.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// The name in logs and in `status`.
    pub name: String,
    /// The way to reach it.
    pub kind: NotifierKind,
    /// The events that it is told.
    pub on: Vec<On>,
    /// Messages may name amounts of money.
    pub amounts: bool,
}

/// The events that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The owner must act.
    Attention,
    /// A failure that will be tried again.
    Failure,
    /// Transactions were seen for the first time.
    NewRows,
    /// The end of an event that was told.
    Recovery,
}

impl On {
    /// Every one with its word in the configuration and in messages.
    pub const ALL: [(&'static str, On); 4] =
        [("attention", On::Attention), ("failure", On::Failure), ("new-rows", On::NewRows), ("recovery", On::Recovery)];

    /// The word.
    pub fn as_str(self) -> &'static str {
        On::ALL.iter().find(|(_, on)| *on == self).map_or("", |(word, _)| word)
    }
}

/// Ways to tell somebody.
#[derive(Clone, Debug)]
pub enum NotifierKind {
    /// A topic of an ntfy server.
    Ntfy {
        /// Address of the topic.
        url: Secret,
        /// Access token, where the topic wants one.
        token: Option<Secret>,
    },
    /// A program that takes JSON.
    Webhook {
        /// The address.
        url: Secret,
        /// Sent as a bearer token, where given.
        token: Option<Secret>,
    },
    /// A dead man's switch of the healthchecks.io kind.
    Healthchecks {
        /// The ping address.
        url: Secret,
    },
    /// A mail server.
    Email(Email),
}

/// `kind = "email"`.
#[derive(Clone, Debug)]
pub struct Email {
    /// The mail server.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The protection of the connection.
    pub safety: Safety,
    /// Login name and password, where the server wants them.
    pub login: Option<(String, Secret)>,
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
}

/// The protection of a connection to a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// None: the connection never leaves this machine.
    Local,
    /// TLS by STARTTLS, and nothing without it.
    StartTls,
    /// TLS before the first word.
    Implicit,
}

impl Email {
    /// True where the server is this very machine: then no mail leaves the machine in the clear.
    pub fn is_local(&self) -> bool {
        let ip: Option<std::net::IpAddr> = self.host.parse().ok();
        self.host == "localhost" || ip.is_some_and(|ip| ip.is_loopback())
    }
}

impl Notifier {
    /// Every secret with its key.
    pub(super) fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        match &self.kind {
            NotifierKind::Ntfy { url, token } | NotifierKind::Webhook { url, token } => {
                [("url", url)].into_iter().chain(token.iter().map(|token| ("token", token))).collect()
            }
            NotifierKind::Healthchecks { url } => vec![("url", url)],
            NotifierKind::Email(email) => email.login.iter().map(|(_, password)| ("password", password)).collect(),
        }
    }

    /// The address as it is now.
    pub fn address(&self) -> Result<Option<Url>, String> {
        let (NotifierKind::Ntfy { url, .. } | NotifierKind::Webhook { url, .. } | NotifierKind::Healthchecks { url }) =
            &self.kind
        else {
            return Ok(None);
        };
        let text = url.reveal().map_err(|why| format!("url: {why}"))?;
        checked(text.expose_secret(), &self.kind).map(Some).map_err(|why| format!("url: {why}"))
    }
}

fn checked(text: &str, kind: &NotifierKind) -> Result<Url, String> {
    let url = service_address(text.trim(), true)?;
    if matches!(kind, NotifierKind::Ntfy { .. }) && url.path().trim_matches('/').is_empty() {
        return Err("the topic is missing, expected an address such as \"https://ntfy.sh/my-topic\"".into());
    }
    Ok(url)
}

/// Every notifier, in the order of the file.
pub(super) fn notifiers(top: &Table<'_>, data_dir: &Path) -> Result<Vec<Notifier>, Error> {
    let entries = entries(top, &keys::notify(), data_dir)?;
    entries.iter().map(|entry| notifier(&entry.table, entry.kind, &entry.name)).collect()
}

fn notifier(table: &Table<'_>, kind: &str, name: &str) -> Result<Notifier, Error> {
    let url = || table.require("url", values::secret);
    let token = || table.read("token", values::secret);
    let kind = match kind {
        "ntfy" => NotifierKind::Ntfy { url: url()?, token: token()? },
        "webhook" => NotifierKind::Webhook { url: url()?, token: token()? },
        "healthchecks" => NotifierKind::Healthchecks { url: url()? },
        _ => NotifierKind::Email(email(table)?),
    };
    let usual = [On::Attention, On::Failure, On::Recovery];
    let on = table.read("on", wanted)?.unwrap_or_else(|| usual.to_vec());
    let amounts = table.read("amounts", Value::boolean)?.unwrap_or(false);
    let notifier = Notifier { name: name.to_owned(), kind, on, amounts };
    // An address in the file itself is proved now, any other when it is looked up.
    if let Some((_, Secret::Plain(_))) = notifier.secrets().first()
        && let Err(why) = notifier.address()
    {
        let place = table.read("url", |value| Ok(value.at))?;
        return Err(place.map_or_else(|| table.error(&why), |at| table.error_at(at, &why)));
    }
    Ok(notifier)
}

/// A word or a list of words, none of them twice.
fn wanted(value: &Value<'_>) -> Result<Vec<On>, Error> {
    let words = On::ALL;
    if !value.value.is_array() {
        return Ok(vec![value.choice(&words)?]);
    }
    let mut on = Vec::new();
    for item in value.list()? {
        let word = item.choice(&words)?;
        if on.contains(&word) {
            return Err(item.error(format!("`{}` stands in the list twice", word.as_str())));
        }
        on.push(word);
    }
    Ok(on)
}

fn email(table: &Table<'_>) -> Result<Email, Error> {
    let host = table.require("host", host)?;
    let username = table.read("username", |value| value.text().map(str::to_owned))?;
    let password = table.read("password", values::secret)?;
    let login = match (username, password) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => return Err(table.error("password is missing, it belongs to username")),
        (None, Some(_)) => return Err(table.error("username is missing, it belongs to password")),
    };
    let from = table.require("from", mailbox)?;
    let to = table.require("to", mailboxes)?;
    let port = table.read("port", |value| value.whole(1..=65_535))?;
    let tls =
        table.read("tls", |value| value.choice(&[("starttls", Safety::StartTls), ("implicit", Safety::Implicit)]))?;
    let mut email = Email { host, port: 0, safety: Safety::Local, login, from, to };
    let usual = if email.is_local() { PORTS[2] } else { PORTS[0] };
    email.port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
    email.safety = tls.unwrap_or(match email.port {
        _ if email.is_local() => Safety::Local,
        port if port == PORTS[1] => Safety::Implicit,
        _ => Safety::StartTls,
    });
    Ok(email)
}

/// A name or an address without scheme, port or path.
fn host(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let known = bare.parse::<std::net::IpAddr>().is_ok() || (!bare.contains(':') && url::Host::parse(bare).is_ok());
    if known { Ok(bare.to_owned()) } else { Err(value.wrong_value()) }
}

/// `name@example.com`, or with the person's name: `Ivan <name@example.com>`.
fn mailbox(value: &Value<'_>) -> Result<String, Error> {
    let text = value.text()?;
    let known: Result<lettre::message::Mailbox, _> = text.parse();
    known.map(|_| text.to_owned()).map_err(|_| value.wrong_value())
}

fn mailboxes(value: &Value<'_>) -> Result<Vec<String>, Error> {
    if !value.value.is_array() {
        return Ok(vec![mailbox(value)?]);
    }
    let items = value.list()?;
    if items.is_empty() {
        return Err(value.error("names nobody"));
    }
    items.iter().map(mailbox).collect()
}
