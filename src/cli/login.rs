//! `bankfeed login [NAME]`: signs in by hand where a key in the configuration is not enough.
//!
//! The browser's part is done by whoever runs the command; what comes of it is kept by the owner of the data directory,
//! who alone may write there.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::terminal::{Terminal, complain};
use super::{ATTENTION, Done, FAILED, USAGE, in_turn, runtime};
use crate::config::{Config, DestinationKind, Secret};
use crate::control::{Command, Hidden, Output};
use crate::daemon::Owner;
use crate::destination::google_sheets::user::{self, Login, OAuthClient};

/// How long a person may take in the browser.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Signs in.
pub(super) fn run(config: Config, name: Option<String>) -> io::Result<u8> {
    let Some(name) = name else { return list(&config) };
    let Some((client, _)) = found(&config, &name) else {
        let known = names(&config);
        let known = if known.is_empty() { "there is nothing to sign in to by hand".into() } else { known.join(", ") };
        complain(&format!("`{name}` is no destination with `oauth`; {known}"));
        return Ok(USAGE);
    };
    let client = client.reveal().and_then(|text| OAuthClient::read(text.expose_secret()));
    let client = match client {
        Ok(client) => client,
        Err(why) => {
            complain(&format!("destination `{name}`: {why}"));
            return Ok(USAGE);
        }
    };
    let session = match runtime()?.block_on(browser(client))? {
        Ok(session) => Hidden(session.to_text()),
        Err((status, why)) => {
            complain(&format!("{why}; to try again: bankfeed login {name}"));
            return Ok(status);
        }
    };
    in_turn(&config, &Command::KeepLogin { destination: name, session }, &mut Terminal::stdout())
}

/// Keeps the session; runs in the process that owns the data directory.
pub(super) fn keep(owner: &Owner, destination: &str, session: &Hidden, output: &mut dyn Output) -> Done {
    let Some((_, path)) = found(&owner.engine.config, destination) else {
        output.talk("bankfeed: the daemon runs with another configuration; restart it, then sign in again\n")?;
        return Ok(USAGE);
    };
    if let Err(error) = user::keep(path, &session.0) {
        output.talk(&format!("bankfeed: cannot keep the sign-in in {}: {error}\n", path.display()))?;
        return Ok(FAILED);
    }
    output.talk(&format!("signed in; `{destination}` uses it from the next run on\n"))?;
    Ok(0)
}

async fn browser(client: OAuthClient) -> io::Result<Result<user::Session, (u8, String)>> {
    let login = Login::begin(client).await?;
    let port = login.port();
    let text = format!(
        "Open this address in a browser on this machine and allow access to your spreadsheets:\n\n{}\n\n\
         If the browser is on another machine, run this there first, so that it finds its way back:\n\
         \x20 ssh -L {port}:127.0.0.1:{port} THIS-MACHINE\n",
        login.address()
    );
    io::stderr().write_all(text.as_bytes())?;
    Ok(tokio::select! {
        done = login.finish() => done.map_err(|why| (ATTENTION, why)),
        () = tokio::time::sleep(PATIENCE) => Err((ATTENTION, "nobody came back from the browser".into())),
        () = crate::daemon::stop_signal() => Err((FAILED, "interrupted".into())),
    })
}

/// The OAuth client of this destination, and where its session lies.
fn found<'a>(config: &'a Config, name: &str) -> Option<(&'a Secret, &'a Path)> {
    let destination = config.destinations.iter().find(|destination| destination.name == name)?;
    match &destination.kind {
        DestinationKind::GoogleSheets(sheets) => Some((&sheets.service_account, sheets.login.as_deref()?)),
        DestinationKind::Airtable(_) => None,
    }
}

fn names(config: &Config) -> Vec<String> {
    let destinations = config.destinations.iter().filter(|destination| found(config, &destination.name).is_some());
    destinations.map(|destination| format!("bankfeed login {}", destination.name)).collect()
}

fn list(config: &Config) -> io::Result<u8> {
    let mut output = Terminal::stdout();
    let names = names(config);
    if names.is_empty() {
        output.talk("nothing here is signed in to by hand: no destination has `oauth`\n")?;
    }
    names.iter().try_for_each(|name| output.data(&format!("{name}\n")))?;
    Ok(0)
}
