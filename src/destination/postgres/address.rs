//! The address of a database: a secret as a whole, of which host and database alone may be shown.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{ChannelBinding, SslMode};
use url::Url;

/// Longest time that making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How far the other end must prove that it is the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// No TLS: the connection stays on this machine.
    Off,
    /// TLS without proof, as `sslmode=require` means it: no one can listen, though someone in between could answer.
    Unproven,
    /// The certificate is of a trusted authority.
    Authority(Roots),
    /// The certificate is of a trusted authority and names the host.
    Full(Roots),
}

/// The trusted authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// Those of the system.
    System,
    /// Those in a file, `sslrootcert=…`.
    File(PathBuf),
}

/// A database and the way to it.
#[derive(Clone)]
pub(super) struct Address {
    /// Host and database in words, without a user.
    pub shown: String,
    /// The parameters of a connection, password included.
    pub config: tokio_postgres::Config,
    pub tls: Tls,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.shown)
    }
}

/// The parts of an address as they are collected.
#[derive(Default)]
struct Parts {
    host: String,
    port: Option<u16>,
    user: String,
    password: String,
    database: String,
    sslmode: Option<String>,
    roots: Option<PathBuf>,
}

impl Address {
    /// Reads an address. The error says what is wrong and repeats no part of the address.
    pub(super) fn read(secret: &SecretString) -> Result<Address, String> {
        const FORM: &str =
            "expected an address such as postgres://user:password@host:5432/database?sslmode=verify-full";
        let url = Url::parse(secret.expose_secret().trim()).map_err(|_| {
            format!("{FORM}; a character such as @ / ? # % inside user or password is written as %40 %2F %3F %23 %25")
        })?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(FORM.into());
        }
        let decoded = |text: &str| decoded(text).ok_or("holds a `%` that is not followed by two digits of a byte");
        let mut config = tokio_postgres::Config::new();
        config.connect_timeout(CONNECT_TIMEOUT).ssl_mode(SslMode::Disable).application_name("bankfeed");
        let host = decoded(url.host_str().unwrap_or_default())?;
        let mut parts = Parts {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port(),
            user: decoded(url.username())?,
            password: decoded(url.password().unwrap_or_default())?,
            database: decoded(url.path().trim_start_matches('/'))?,
            ..Parts::default()
        };
        for (name, value) in url.query_pairs() {
            parts.take(&name, &value, &mut config)?;
        }
        parts.finish(config)
    }
}

impl Parts {
    /// Takes in a parameter of the query, as libpq names them.
    fn take(&mut self, name: &str, value: &str, config: &mut tokio_postgres::Config) -> Result<(), String> {
        match name {
            "host" => self.host = value.into(),
            "port" => self.port = Some(value.parse().map_err(|_| "port is no number from 1 to 65535")?),
            "user" => self.user = value.into(),
            "password" => self.password = value.into(),
            "dbname" => self.database = value.into(),
            "sslmode" => self.sslmode = Some(value.into()),
            "sslrootcert" => self.roots = (value != "system").then(|| PathBuf::from(value)),
            "application_name" => drop(config.application_name(value)),
            "options" => drop(config.options(value)),
            // The time limits are the program's own.
            "connect_timeout" | "gssencmode" | "target_session_attrs" => {}
            "channel_binding" => {
                let binding = match value {
                    "disable" => ChannelBinding::Disable,
                    "prefer" => ChannelBinding::Prefer,
                    "require" => ChannelBinding::Require,
                    _ => return Err("channel_binding: expected disable, prefer or require".into()),
                };
                config.channel_binding(binding);
            }
            _ => {
                return Err("holds an unknown parameter after `?`: known are sslmode, sslrootcert, host, port, user, \
                            password, dbname, application_name, options and channel_binding"
                    .into());
            }
        }
        Ok(())
    }

    fn finish(self, mut config: tokio_postgres::Config) -> Result<Address, String> {
        if self.user.is_empty() {
            return Err("names no user".into());
        }
        let host = if self.host.is_empty() { "/var/run/postgresql".to_owned() } else { self.host.clone() };
        if host.contains(',') {
            return Err("names several hosts; name the one that may be written to".into());
        }
        let database = if self.database.is_empty() { self.user.clone() } else { self.database.clone() };
        let tls = self.tls(&host)?;
        if tls != Tls::Off {
            config.ssl_mode(SslMode::Require);
        }
        config.host(&host).port(self.port.unwrap_or(5432)).user(&self.user).dbname(&database);
        if !self.password.is_empty() {
            config.password(&self.password);
        }
        Ok(Address { shown: format!("database `{database}` at {host}"), config, tls })
    }

    /// `sslmode` as libpq means it. Its default, `prefer`, would go on without TLS where somebody in between asks for
    /// that, so that no mode, `allow` and `prefer` mean the strictest one towards other machines.
    fn tls(&self, host: &str) -> Result<Tls, String> {
        let is_local = is_local(host);
        let roots = self.roots.clone().map_or(Roots::System, Roots::File);
        if host.starts_with('/') {
            return Ok(Tls::Off);
        }
        match self.sslmode.as_deref() {
            None | Some("prefer" | "allow") if is_local => Ok(Tls::Off),
            Some("disable") if is_local => Ok(Tls::Off),
            Some("disable") => Err("sslmode=disable is accepted for this machine only (127.0.0.1 or a socket): the \
                                    password and the rows would be readable on the way; sslmode=require encrypts them"
                .into()),
            Some("require") if self.roots.is_none() => Ok(Tls::Unproven),
            Some("require" | "verify-ca") => Ok(Tls::Authority(roots)),
            None | Some("prefer" | "allow" | "verify-full") => Ok(Tls::Full(roots)),
            Some(_) => Err("sslmode: expected disable, require, verify-ca or verify-full".into()),
        }
    }
}

/// True for a socket of this machine, or its loopback addresses.
fn is_local(host: &str) -> bool {
    host.starts_with('/') || host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The text with its `%XX` read as bytes of UTF-8.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn read(text: &str) -> Result<Address, String> {
        Address::read(&SecretString::from(text.to_owned()))
    }

    #[test]
    fn every_part_of_an_address_is_read() {
        let found = read("postgres://iv%40n:p%2Fa%25ss@db.example.com:6543/money?sslmode=verify-full").unwrap();
        assert_eq!((found.config.get_user(), found.config.get_password()), (Some("iv@n"), Some(&b"p/a%ss"[..])));
        assert_eq!((found.config.get_dbname(), found.config.get_ports()), (Some("money"), &[6543][..]));
        assert_eq!(found.tls, Tls::Full(Roots::System));
        assert_eq!(format!("{found:?}"), "Address(database `money` at db.example.com)");
        let socket = read("postgresql:///money?host=/run/postgresql&user=ivan").unwrap();
        assert_eq!(socket.config.get_hosts(), &[Host::Unix("/run/postgresql".into())]);
        assert_eq!(socket.tls, Tls::Off);
        assert_eq!(read("postgres://ivan@%2Frun%2Fpg/money").unwrap().tls, Tls::Off);
        assert_eq!(read("postgres://ivan@[::1]/money").unwrap().tls, Tls::Off);
    }

    #[test]
    fn sslmode_is_read_as_libpq_means_it_and_never_weaker() {
        let file = || Roots::File("/ca.pem".into());
        for (host, query, expected) in [
            ("db.example.com", "", Some(Tls::Full(Roots::System))),
            ("db.example.com", "?sslmode=prefer", Some(Tls::Full(Roots::System))),
            ("db.example.com", "?sslmode=require", Some(Tls::Unproven)),
            ("db.example.com", "?sslmode=require&sslrootcert=/ca.pem", Some(Tls::Authority(file()))),
            ("db.example.com", "?sslmode=verify-ca", Some(Tls::Authority(Roots::System))),
            ("db.example.com", "?sslmode=verify-full&sslrootcert=/ca.pem", Some(Tls::Full(file()))),
            ("db.example.com", "?sslmode=disable", None),
            ("db.example.com", "?sslmode=off", None),
            ("192.168.1.4", "?sslmode=disable", None),
            ("127.0.0.1", "", Some(Tls::Off)),
            ("127.0.0.1", "?sslmode=disable", Some(Tls::Off)),
            ("127.0.0.1", "?sslmode=require", Some(Tls::Unproven)),
            ("localhost", "?sslmode=verify-full", Some(Tls::Full(Roots::System))),
        ] {
            let found = read(&format!("postgres://ivan:geheim@{host}/money{query}"));
            assert_eq!(found.as_ref().ok().map(|address| &address.tls), expected.as_ref(), "{host}{query}");
        }
    }

    #[test]
    fn no_error_repeats_a_part_of_the_address() {
        for text in [
            "geheim",
            "mysql://ivan:geheim@db/money",
            "postgres://ivan:geheim@db/money?geheim=1",
            "postgres://ivan:geheim@db:geheim/money",
            "postgres://ivan:ge%heim@db/money",
            "postgres://:geheim@db/money",
            "postgres://ivan:geheim@db/money?sslmode=geheim",
        ] {
            let why = read(text).unwrap_err();
            assert!(!why.contains("geheim") && !why.contains("ivan"), "{text}: {why}");
        }
    }
}
