//! `bankfeed login [NAME]`: signs in by hand where a key in the configuration is not enough.
//!
//! The browser's part is done by whoever runs the command; what comes of it is kept by the owner of the data directory,
//! who alone may write there.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};

use super::init::ask::{Asker, Stop};
use super::terminal::{Terminal, complain, is_attended};
use super::{ATTENTION, Done, FAILED, Failure, USAGE, in_turn, runtime};
use crate::config::{Config, Destination};
use crate::control::{Command, Hidden, Output};
use crate::daemon::Owner;
use crate::daemon::signals::Signals;
use crate::destination::kind::{BrowserSignIn, BrowserVisit};
use crate::files::write_private;
use crate::source::{CodeRequest, SavedSession, SessionPaste};
use crate::sync::{Interactive, Outcome};

/// How long a person may take in the browser.
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
                in_turn(&config, &Command::SignIn { name, at_terminal }, &mut Terminal::stdout())
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
        Ok(Ok(session)) => Hidden(session),
        Ok(Err((status, why))) => {
            complain(&format!("{why}; to try again: bankfeed login {name}"));
            return Ok(status);
        }
        Err(why) => {
            complain(&format!("destination `{name}`: {why}"));
            return Ok(USAGE);
        }
    };
    in_turn(&config, &Command::KeepLogin { name, session }, &mut Terminal::stdout())
}

/// Keeps the session; runs in the process that owns the data directory.
pub(super) fn keep(owner: &Owner, name: &str, session: &Hidden, output: &mut dyn Output) -> Done {
    let config = &owner.engine.config;
    if let Some(browser) = browser_sign_in(config, name) {
        return tell_kept(name, browser.session_file(), browser.save(&session.0), output);
    }
    let Some(source) = config.sources.iter().find(|source| source.name == name) else {
        return another_configuration(output);
    };
    let kept = SavedSession::pasted(&session.0, Utc::now());
    // Kept unproved, a wrong one would only be found out by a run at night.
    match tokio::runtime::Handle::current().block_on(owner.engine.prove_token(source, &kept.token)) {
        Ok(()) => keep_bank(owner, name, &kept, output),
        Err((outcome, why)) => stopped(outcome, &why, output),
    }
}

/// Signs in to a bank; runs in the process that owns the data directory, and asks whoever wants it for the code.
pub(super) fn sign_in(owner: &Owner, name: &str, at_terminal: bool, output: &mut dyn Output) -> Done {
    let engine = &owner.engine;
    let Some(source) = engine.config.sources.iter().find(|source| source.name == name) else {
        return another_configuration(output);
    };
    output.talk(&format!("signing in at {name}; nothing is fetched\n"))?;
    let mut gone = None;
    let mut ask = |question: &CodeRequest| {
        let again = if question.number > 1 { "\nThat code was not taken; once more. " } else { "" };
        let asked = output
            .talk(&format!("{again}The bank says:\n\n  {}\n\n", question.words))
            .and_then(|()| output.ask("The code (it is not shown)"));
        match asked {
            Ok(answer) => answer.map(|answer| SecretString::from(answer.0)),
            Err(error) => {
                gone = Some(error);
                None
            }
        }
    };
    let came =
        tokio::runtime::Handle::current().block_on(engine.sign_in_interactively(source, at_terminal, &mut ask))?;
    if let Some(error) = gone {
        return Err(error.into());
    }
    match came {
        Interactive::WithoutCode => {
            release(owner, name, output)?;
            output.talk(&format!(
                "the sign-in at `{name}` works, and no code was asked for; there is nothing to keep\n"
            ))?;
            Ok(0)
        }
        Interactive::Session(kept) => keep_bank(owner, name, &kept, output),
        Interactive::Stopped(outcome, why) => stopped(outcome, &why, output),
    }
}

fn stopped(outcome: Outcome, why: &str, output: &mut dyn Output) -> Done {
    output.talk(&format!("bankfeed: {why}\n"))?;
    Ok(if outcome == Outcome::Attention { ATTENTION } else { FAILED })
}

fn another_configuration(output: &mut dyn Output) -> Done {
    output.talk(
        "bankfeed: the daemon runs with another configuration; have it read this one (`systemctl reload bankfeed`), then sign in again\n",
    )?;
    Ok(USAGE)
}

fn keep_bank(owner: &Owner, name: &str, session: &SavedSession, output: &mut dyn Output) -> Done {
    let Some(path) = session_file(&owner.engine.config, name) else { return another_configuration(output) };
    let kept = write_private(path, &session.to_text());
    if kept.is_ok() {
        owner.kept.notify_one();
        release(owner, name, output)?;
    }
    tell_kept(name, path, kept, output)
}

/// What the bank wanted of the owner has been done: scheduled runs may go on. Not with a password that was refused, which
/// would be sent again once this session has ended.
fn release(owner: &Owner, name: &str, output: &mut dyn Output) -> Result<(), Failure> {
    let state = owner.engine.store.change_source(name, |state| {
        state.attention = state.attention.take().filter(|attention| attention.cause.needs_new_config());
        state.unsettled.lift();
    })?;
    let attention = state.attention.iter();
    Ok(attention.into_iter().try_for_each(|attention| output.talk(&format!("still: {}\n", attention.message)))?)
}

fn tell_kept(name: &str, path: &Path, kept: io::Result<()>, output: &mut dyn Output) -> Done {
    if let Err(error) = kept {
        output.talk(&format!("bankfeed: cannot keep the sign-in in {}: {error}\n", path.display()))?;
        return Ok(FAILED);
    }
    output.talk(&format!("signed in; `{name}` uses it from the next run on\n"))?;
    Ok(0)
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
    let token = asker.ask_secret("The token (it is not shown)", way.token);
    let session = match token {
        Ok(token) => Hidden(token.expose_secret().to_owned()),
        Err(Stop(why)) => {
            complain(&format!("{why}; nothing was kept"));
            return Ok(USAGE);
        }
    };
    in_turn(config, &Command::KeepLogin { name, session }, &mut Terminal::stdout())
}

/// The file of this bank's session.
fn session_file<'a>(config: &'a Config, name: &str) -> Option<&'a Path> {
    config.sources.iter().find(|source| source.name == name)?.settings.session_file()
}

/// The way to sign in to this destination in a browser.
fn browser_sign_in<'a>(config: &'a Config, name: &str) -> Option<Box<dyn BrowserSignIn + 'a>> {
    config.destinations.iter().find(|destination| destination.name == name)?.settings.browser_sign_in()
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
