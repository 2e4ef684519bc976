//! `bankfeed login [NAME]`: signs in by hand where a key in the configuration is not enough.
//!
//! This file does the browser's part; [`crate::commands::login`] keeps the session.

use std::io::{self, Write};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::call::call_owner;
use super::init::ask::Asker;
use super::runtime;
use super::terminal::{Terminal, complain, is_attended};
use crate::commands::login::browser_sign_in;
use crate::commands::{ATTENTION, FAILED, USAGE};
use crate::config::{Config, Destination};
use crate::control::{Command, HiddenText, Output};
use crate::daemon::signals::Signals;
use crate::destination::kind::BrowserVisit;
use crate::settings::interview::{Interview, Stop};
use crate::source::SessionPaste;

/// The time that a person may take in the browser.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Signs in.
pub(super) fn run(config: Config, name: Option<String>, pastes: bool) -> io::Result<u8> {
    let Some(name) = name else { return list(&config) };
    let Some(browser) = browser_sign_in(&config, &name) else {
        let Some(source) = config.sources.iter().find(|source| source.name == name) else {
            let known = names(&config).join(", ");
            complain(&format!("`{name}` is neither a bank nor a destination with `oauth`; there are: {known}"));
            return Ok(USAGE);
        };
        return match source.settings.session_paste() {
            Some(way) if pastes => paste(&config, name, way),
            _ => {
                let at_terminal = is_attended();
                call_owner(&config, &Command::SignIn { name, at_terminal }, &mut Terminal::stdout())
            }
        };
    };
    if pastes {
        complain(&format!("destination `{name}` is no bank; without --paste it signs in in a browser"));
        return Ok(USAGE);
    }
    let visit = runtime()?.block_on(async {
        match browser.begin().await? {
            Ok(visit) => visited(visit).await.map(Ok),
            Err(why) => Ok(Err(why)),
        }
    })?;
    let session = match visit {
        Ok(Ok(session)) => HiddenText(session),
        Ok(Err((status, why))) => {
            complain(&format!("{why}; to try again: bankfeed login {name}"));
            return Ok(status);
        }
        Err(why) => {
            complain(&format!("destination `{name}`: {why}"));
            return Ok(USAGE);
        }
    };
    call_owner(&config, &Command::KeepLogin { name, session }, &mut Terminal::stdout())
}

/// Sends a person to the browser and waits for the answer.
async fn visited(visit: Box<dyn BrowserVisit>) -> io::Result<Result<String, (u8, String)>> {
    let signals = Signals::take()?;
    let port = visit.port();
    let text = format!(
        "Open this address in a browser on this machine and allow access to your spreadsheets:\n\n{}\n\n\
         If the browser is on another machine, run this there first, so that it finds its way back:\n\
         \x20 ssh -L {port}:127.0.0.1:{port} THIS-MACHINE\n",
        visit.address()
    );
    io::stderr().write_all(text.as_bytes())?;
    let ended = tokio::select! {
        done = visit.finish() => done.map_err(|why| (ATTENTION, why)),
        () = tokio::time::sleep(PATIENCE) => Err((ATTENTION, "nobody came back from the browser".into())),
        () = signals.stop() => Err((FAILED, "interrupted".into())),
    };
    signals.give_back()?;
    Ok(ended)
}

/// Takes the token of a session that the owner has opened in a browser: a person can answer whatever the bank asks there.
fn paste(config: &Config, name: String, way: SessionPaste) -> io::Result<u8> {
    let mut asker = Asker::new();
    asker.say(way.instructions);
    let token = asker.ask_secret("The token (it is not shown)", &way.token);
    let session = match token {
        Ok(token) => HiddenText(token.expose_secret().to_owned()),
        Err(Stop(why)) => {
            complain(&format!("{why}; nothing was kept"));
            return Ok(USAGE);
        }
    };
    call_owner(config, &Command::KeepLogin { name, session }, &mut Terminal::stdout())
}

fn names(config: &Config) -> Vec<String> {
    let in_browser = |destination: &&Destination| destination.settings.browser_sign_in().is_some();
    let destinations = config.destinations.iter().filter(in_browser);
    let sources = config.sources.iter().map(|source| &source.name);
    let names = sources.chain(destinations.map(|destination| &destination.name));
    names.map(|name| format!("bankfeed login {name}")).collect()
}

fn list(config: &Config) -> io::Result<u8> {
    let mut output = Terminal::stdout();
    let names = names(config);
    if names.is_empty() {
        output.talk("the configuration names nothing to sign in to\n")?;
    }
    names.iter().try_for_each(|name| output.data(&format!("{name}\n")))?;
    Ok(0)
}
