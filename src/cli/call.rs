//! The way of a command to the process with the store: the daemon, or this process if no daemon runs.

use std::io;
use std::path::Path;

use secrecy::ExposeSecret;

use super::runtime;
use super::terminal::{SharedFile, Terminal, complain};
use crate::commands::{self, ATTENTION, FAILED, STORE, USAGE, explain};
use crate::config::Config;
use crate::control::{self, Command, HiddenText, Output};
use crate::daemon::signals::Signals;
use crate::daemon::{self, Owned};
use crate::service::StoreService;
use crate::store::{self, Store};

/// Attempts at a store that passes from one short-lived process to the next.
const ATTEMPTS: usize = 20;

/// Has a command carried out and prints its answer, or writes the data into this file.
pub(super) fn call_and_print(config: Config, command: Command, file: Option<&Path>) -> io::Result<u8> {
    let file = file.map(SharedFile::create).transpose()?;
    let mut output = match &file {
        Some(file) => Terminal::file(file),
        None if command.is_text() => Terminal::lines(),
        None => Terminal::stdout(),
    };
    let status = call_owner(&config, &command, &mut output)?;
    output.finish()?;
    file.map_or(Ok(()), |file| file.end(status == 0))?;
    Ok(status)
}

/// Has a command carried out by the process with the store. Tries until there is such a process, be it this one.
pub(super) fn call_owner<O: Output + Clone + 'static>(
    config: &Config,
    command: &Command,
    output: &mut O,
) -> io::Result<u8> {
    for _ in 0..ATTEMPTS {
        let asked = match control::connect(&config.data_dir) {
            Ok(Some(owner)) => control::call(owner, command, output)?,
            // No process has the store, or opening the store will complain about the directory.
            Ok(None) | Err(_) => own(config.clone(), command.clone(), output.clone())?,
        };
        if let Some(status) = asked {
            return Ok(status);
        }
    }
    complain(&"the store changes hands too quickly; try again");
    Ok(FAILED)
}

/// Owns the store for one command. `None`: another process owned it and went away; see [`control::call`].
fn own(config: Config, command: Command, mut output: impl Output + 'static) -> io::Result<Option<u8>> {
    config.warnings.iter().for_each(|warning| complain(warning));
    let sends = matches!(
        command,
        Command::Sync { .. }
            | Command::Check
            | Command::CheckNotify
            | Command::Trace { .. }
            | Command::Verify { .. }
            | Command::Restore { .. }
            | Command::RulesApply { .. }
    );
    let missing = if sends { config.missing_secrets() } else { Vec::new() };
    if let Some(first) = missing.first() {
        // A check prints all reasons at once; for the other commands one reason is enough.
        let told = if matches!(command, Command::Check | Command::CheckNotify) {
            &missing[..]
        } else {
            std::slice::from_ref(first)
        };
        told.iter().for_each(|error| complain(error));
        return Ok(Some(USAGE));
    }
    let signals = Signals::take()?;
    let store = match open_store(&config, None) {
        Ok(Opened::Ours(store)) => *store,
        Ok(Opened::Theirs(daemon)) => {
            signals.give_back()?;
            return control::call(daemon, &command, &mut output);
        }
        Err(error) => return Ok(Some(refuse(&error, &config))),
    };
    // The report of a cycle names everything that was left undone.
    let speaks = matches!(command, Command::Sync { .. });
    let work = Box::new(move |service: StoreService| commands::execute(&service, &command, &mut output));
    let runtime = runtime()?;
    let Owned { status, stopped } = runtime.block_on(daemon::own(config, store, &signals, work))?;
    // A request that may still hang on a dead service is not waited for.
    runtime.shutdown_background();
    signals.give_back()?;
    // A signal means that the output is not wanted any more.
    Ok(Some(if stopped && status == 0 && !speaks { FAILED } else { status }))
}

/// The process that has the store.
pub(super) enum Opened {
    /// The present process.
    Ours(Box<Store>),
    /// A process at the other end of this connection.
    Theirs(std::os::unix::net::UnixStream),
}

/// Opens the store, under a lock if that is held already, or connects to the process that has just opened it.
pub(super) fn open_store(config: &Config, lock: Option<std::fs::File>) -> Result<Opened, store::Error> {
    let opened = match lock {
        Some(lock) => Store::open_under(&config.data_dir, lock),
        None => Store::open(&config.data_dir),
    };
    let error = match opened {
        Ok(store) => return Ok(Opened::Ours(Box::new(store))),
        Err(error) => error,
    };
    if matches!(error, store::Error::InUse(_))
        && let Ok(Some(daemon)) = control::connect(&config.data_dir)
    {
        return Ok(Opened::Theirs(daemon));
    }
    Err(error)
}

/// Prints why the store cannot be opened and returns the exit status.
pub(super) fn refuse(error: &store::Error, config: &Config) -> u8 {
    complain(&explain(error, config));
    if *error == store::Error::Full { ATTENTION } else { STORE }
}

/// Hands the configuration to the daemon, which may not be able to read the file.
pub(super) fn reload(config: &Config) -> io::Result<u8> {
    let text = HiddenText(config.text.expose_secret().to_owned());
    let asked = match control::connect(&config.data_dir)? {
        Some(daemon) => control::call(daemon, &Command::Reload { text }, &mut Terminal::stdout())?,
        None => None,
    };
    Ok(asked.unwrap_or_else(|| {
        complain(&format!("no daemon runs with the data in {}", config.data_dir.display()));
        FAILED
    }))
}
