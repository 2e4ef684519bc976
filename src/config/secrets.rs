//! The secrets of a configuration: looked up once before anything starts, so that a missing one is told with file and
//! line.

use std::fmt::Display;

use secrecy::ExposeSecret;

use super::{Config, Error, Http};
use crate::settings::{KeyPath, Secret};

impl Config {
    /// Resolves every secret once, so that a missing one is told before anything starts.
    pub fn check_secrets(&self) -> Result<(), Error> {
        self.missing_secrets().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every secret that cannot be read, one line each.
    pub fn missing_secrets(&self) -> Vec<Error> {
        let revealed = self.secrets().into_iter().map(|(place, secret)| (place, secret.reveal()));
        let missing =
            revealed.filter_map(|(place, secret)| Some(self.error_at(&place, format!(": {}", secret.err()?))));
        let mut missing: Vec<Error> = missing.collect();
        if missing.is_empty() {
            missing.extend(self.http.as_ref().and_then(|http| self.check_tokens(http).err()));
        }
        for (at, notifier) in self.notifiers.iter().enumerate() {
            // An address that is not there has been told.
            let is_there = notifier.secrets().first().is_some_and(|(_, address)| address.reveal().is_ok());
            if let Some(why) = notifier.address().err().filter(|_| is_there) {
                let place = KeyPath { list: "notify", entry: Some((at, notifier.name.clone())), key: "url" };
                missing.push(self.error_at(&place, why.strip_prefix("url").unwrap_or(&why)));
            }
        }
        missing
    }

    /// Every secret with the path of its key in the file.
    pub(super) fn secrets(&self) -> Vec<(KeyPath, &Secret)> {
        let place = |list, at, name: &String, key| KeyPath { list, entry: Some((at, name.clone())), key };
        let sources = self.sources.iter().enumerate().flat_map(|(at, source)| {
            let secrets = source.settings.secrets().into_iter();
            secrets.map(move |(key, secret)| (place("source", at, &source.name, key), secret))
        });
        let destinations = self.destinations.iter().enumerate().flat_map(|(at, destination)| {
            let secrets = destination.settings.secrets().into_iter();
            secrets.map(move |(key, secret)| (place("destination", at, &destination.name, key), secret))
        });
        let http = self.http.iter().flat_map(|http| {
            let tokens = [("token", &http.token), ("import_token", &http.import_token)];
            tokens.into_iter().filter_map(|(key, secret)| Some((KeyPath::http(key), secret.as_ref()?)))
        });
        let notifiers = self.notifiers.iter().enumerate().flat_map(|(at, notifier)| {
            let secrets = notifier.secrets().into_iter();
            secrets.map(move |(key, secret)| (place("notify", at, &notifier.name, key), secret))
        });
        sources.chain(destinations).chain(http).chain(notifiers).collect()
    }

    /// Tokens must fit into a request, and the one that stands in addresses must not open everything.
    fn check_tokens(&self, http: &Http) -> Result<(), Error> {
        let reveal = |key: &'static str, secret: &Option<Secret>| {
            let revealed = secret.as_ref().map(Secret::reveal).transpose();
            let token = revealed.map_err(|error| self.http_error(key, format!(": {error}")))?;
            match &token {
                Some(token) if !token.expose_secret().chars().all(|c| c.is_ascii_graphic()) => Err(self.http_error(
                    key,
                    ": must consist of ASCII letters, digits and signs without spaces, to fit into a request",
                )),
                _ => Ok(token),
            }
        };
        let (token, import) = (reveal("token", &http.token)?, reveal("import_token", &http.import_token)?);
        match (token, import) {
            (Some(token), Some(import)) if token.expose_secret() == import.expose_secret() => Err(self.http_error(
                "import_token",
                ": is the same as token; it stands in addresses and must open nothing but the CSV",
            )),
            _ => Ok(()),
        }
    }

    /// An error about a secret, as one about any other value of the file.
    fn error_at(&self, path: &KeyPath, message: impl Display) -> Error {
        let name = self.path.display();
        match path.line(self.text.expose_secret()) {
            Some(line) => Error(format!("{name}:{line}: {path}{message}")),
            None => Error(format!("{name}: {path}{message}")),
        }
    }

    /// An error about a token of `[http]`; the message follows the key.
    pub fn http_error(&self, key: &'static str, message: impl Display) -> Error {
        self.error_at(&KeyPath::http(key), message)
    }
}
