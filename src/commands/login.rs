//! `bankfeed login`: signs in to banks and keeps sessions in the data directory, which only the process with the store may
//! write. The command line does the browser's part.

use std::io;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use secrecy::SecretString;
use tokio::sync::oneshot;

use super::{ATTENTION, Done, FAILED, Failure, USAGE};
use crate::config::Config;
use crate::control::{HiddenText, Output};
use crate::destination::kind::BrowserSignIn;
use crate::files::write_private;
use crate::service::{StoreService, WorkerRequest};
use crate::source::{Bank, CodeRequest, SavedSession};
use crate::sync::{Interactive, Outcome, Request};

/// Keeps a session in the data directory.
pub(super) fn keep(service: &StoreService, name: &str, session: &HiddenText, output: &mut dyn Output) -> Done {
    let config = &service.engine.config;
    if let Some(browser) = browser_sign_in(config, name) {
        return tell_kept(name, browser.session_file(), browser.save(&session.0), output);
    }
    let Some(source) = config.sources.iter().find(|source| source.name == name) else {
        return tell_other_config(output);
    };
    let kept = SavedSession::pasted(&session.0, Utc::now());
    // The token is proved first, because otherwise only the next run would find out that it is wrong.
    match tokio::runtime::Handle::current().block_on(service.engine.prove_token(source, &kept.token)) {
        Ok(()) => keep_bank(service, name, &kept, output),
        Err((outcome, why)) => stopped(outcome, &why, output),
    }
}

/// Signs in to a bank. The caller is asked for the code that the bank sends.
pub(super) fn sign_in(service: &StoreService, name: &str, at_terminal: bool, output: &mut dyn Output) -> Done {
    let engine = &service.engine;
    let Some(source) = engine.config.sources.iter().find(|source| source.name == name) else {
        return tell_other_config(output);
    };
    output.talk(&format!("signing in at {name}; nothing is fetched\n"))?;
    let mut gone = None;
    let mut ask = |question: &CodeRequest| {
        let again = if question.number > 1 { "\nThat code was not taken; once more. " } else { "" };
        let asked = output.talk(&format!("{again}{}\n\n", question.words)).and_then(|()| output.ask(question.prompt));
        match asked {
            Ok(answer) => answer.map(|answer| SecretString::from(answer.0)),
            Err(error) => {
                gone = Some(error);
                None
            }
        }
    };
    let signed_in =
        tokio::runtime::Handle::current().block_on(engine.sign_in_interactively(source, at_terminal, &mut ask))?;
    if let Some(error) = gone {
        return Err(error.into());
    }
    match signed_in {
        Interactive::WithoutCode => {
            release(service, name, output)?;
            output.talk(&format!(
                "the sign-in at `{name}` works, and no code was asked for; there is nothing to keep\n"
            ))?;
            Ok(0)
        }
        Interactive::Session(kept) => keep_bank(service, name, &kept, output),
        Interactive::Stopped(outcome, why) => stopped(outcome, &why, output),
    }
}

fn stopped(outcome: Outcome, why: &str, output: &mut dyn Output) -> Done {
    output.talk(&format!("bankfeed: {why}\n"))?;
    Ok(if outcome == Outcome::Attention { ATTENTION } else { FAILED })
}

fn tell_other_config(output: &mut dyn Output) -> Done {
    output.talk(
        "bankfeed: the daemon runs with another configuration; have it read this one (`systemctl reload bankfeed`), then sign in again\n",
    )?;
    Ok(USAGE)
}

fn keep_bank(service: &StoreService, name: &str, session: &SavedSession, output: &mut dyn Output) -> Done {
    let Some(path) = session_file(&service.engine.config, name) else { return tell_other_config(output) };
    let kept = write_private(path, &session.to_text());
    let is_kept = kept.is_ok();
    if is_kept {
        service.session_kept.notify_one();
        release(service, name, output)?;
    }
    let status = tell_kept(name, path, kept, output)?;
    if is_kept {
        pull_at_once(service, name, output)?;
    }
    Ok(status)
}

/// Has a running daemon pull this source now, where the history of the bank is not there later. Without a daemon the
/// owner is told to.
fn pull_at_once(service: &StoreService, name: &str, output: &mut dyn Output) -> io::Result<()> {
    let source = service.engine.config.sources.iter().find(|source| source.name == name);
    if !source.is_some_and(|source| source.settings.is_pulled_after_login()) {
        return Ok(());
    }
    if service.reloads.is_none() {
        return output.talk("the bank shows the whole history only now, for about an hour: run `bankfeed sync`\n");
    }
    let request = Request { sources: Some(vec![name.to_owned()]), ..Request::default() };
    let (reply, _) = oneshot::channel();
    let asked = service.requests.try_send(WorkerRequest::Cycle(request, Arc::new(|_| {}), reply));
    output.talk(match asked {
        Ok(()) => "the daemon fetches the whole history now\n",
        Err(_) => "the daemon is busy: run `bankfeed sync` within the hour, because the bank shows the whole history only now\n",
    })
}

/// Lists the banks that a source may choose from.
pub(super) fn banks(service: &StoreService, name: &str, json: bool, output: &mut dyn Output) -> Done {
    let engine = &service.engine;
    let Some(source) = engine.config.sources.iter().find(|source| source.name == name) else {
        return tell_other_config(output);
    };
    let banks = match tokio::runtime::Handle::current().block_on(engine.banks(source)) {
        Ok(Some(banks)) => banks,
        Ok(None) => {
            output.talk(&format!("bankfeed: `{name}` is a source for one bank; there is no list to choose from\n"))?;
            return Ok(USAGE);
        }
        Err((outcome, why)) => return stopped(outcome, &why, output),
    };
    let days = |bank: &Bank| bank.consent.map(|consent| consent.as_secs() / 86_400);
    if json {
        let list: Vec<_> = banks
            .iter()
            .map(|bank| serde_json::json!({"name": bank.name, "customers": bank.customers, "consent_days": days(bank)}))
            .collect();
        output.data(&format!("{}\n", serde_json::Value::from(list)))?;
        return Ok(0);
    }
    for bank in &banks {
        let consent = match (days(bank), bank.consent) {
            (Some(days), _) if days > 0 => format!("consent for {days} days"),
            (_, Some(consent)) => format!("consent for {} minutes", consent.as_secs() / 60),
            _ => "consent of unknown length".to_owned(),
        };
        output.data(&format!("{}\t{}\t{consent}\n", bank.name, bank.customers.join(", ")))?;
    }
    if banks.is_empty() {
        output.talk("there is no bank in this country\n")?;
    }
    Ok(0)
}

/// Lets scheduled runs go on, because the owner has done what the bank asked for. A refused password still blocks them: it
/// would be sent again once this session has ended.
fn release(service: &StoreService, name: &str, output: &mut dyn Output) -> Result<(), Failure> {
    let state = service.engine.store.change_source(name, |state| {
        state.attention = state.attention.take().filter(|attention| attention.cause.needs_new_config());
        // A new session is worth a look, whatever the former one was told to wait for.
        state.resting = None;
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

/// The file of this bank's session.
fn session_file<'a>(config: &'a Config, name: &str) -> Option<&'a Path> {
    config.sources.iter().find(|source| source.name == name)?.settings.session_file()
}

/// The way to sign in to this destination in a browser.
pub fn browser_sign_in<'a>(config: &'a Config, name: &str) -> Option<Box<dyn BrowserSignIn + 'a>> {
    config.destinations.iter().find(|destination| destination.name == name)?.settings.browser_sign_in()
}
