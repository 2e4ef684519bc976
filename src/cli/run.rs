//! `run`: the daemon, which is awake while there is something to do and rests otherwise.

use std::io;
use std::path::Path;

use chrono::{TimeDelta, Utc};
use tokio::runtime::Runtime;

use super::{ATTENTION, FAILED, Opened, STORE, USAGE, open_store, refuse, runtime, terminal, with_config};
use crate::config::{self, Config};
use crate::daemon::{self, Ended, Handover};
use crate::remote::Shutdown;
use crate::store::{self, Store};

/// How long a daemon waits for room on a full disk before it looks again; a command makes it look at once.
const ANOTHER_TRY: TimeDelta = TimeDelta::minutes(1);

/// Starts the daemon, or goes on with it after a rest.
pub(super) fn run(path: Option<&Path>) -> io::Result<u8> {
    let rested = Handover::receive().unwrap_or_else(|error| {
        tracing::warn!("what the daemon kept over a rest is lost, it starts afresh: {error}");
        None
    });
    let Some(rested) = rested else { return with_config(path, start) };
    match config::reload(&rested.notes.path, &rested.notes.text) {
        Ok(config) => go_on(&config, Some(rested)),
        Err(error) => {
            terminal::complain(&error);
            Ok(USAGE)
        }
    }
}

fn start(config: Config) -> io::Result<u8> {
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Err(error) = config.check_secrets() {
        terminal::complain(&error);
        return Ok(USAGE);
    }
    go_on(&config, None)
}

fn go_on(config: &Config, mut rested: Option<Handover>) -> io::Result<u8> {
    loop {
        let runtime = runtime()?;
        if let Some(rested) = &rested
            && !runtime.block_on(daemon::rest(rested, rested.notes.due))?
        {
            return Ok(0);
        }
        let store = match open(&runtime, config, rested.as_ref())? {
            Ok(store) => store,
            Err(status) => return Ok(status),
        };
        let (stop, shutdown) = Shutdown::new();
        let ended = runtime.block_on(daemon::run(config.clone(), store, stop, shutdown, rested.take()))?;
        runtime.shutdown_background();
        let Ended::Resting(handover) = ended else { return Ok(0) };
        // Where that is forbidden the daemon rests as it is.
        let error = handover.start_anew();
        tracing::debug!("the daemon cannot start anew for its rest: {error}");
        rested = Some(*handover);
    }
}

/// Opens the store; `Err`: the exit status. A daemon that has been at work waits where the disk is full: systemd would
/// start it again a few times and then give up.
fn open(runtime: &Runtime, config: &Config, rested: Option<&Handover>) -> io::Result<Result<Store, u8>> {
    let mut said = false;
    loop {
        let lock = rested.map(|rested| rested.lock.try_clone()).transpose()?;
        let error = match open_store(config, lock) {
            Ok(Opened::Ours(store)) => return Ok(Ok(*store)),
            Ok(Opened::Theirs(_)) => {
                let dir = config.data_dir.display();
                terminal::complain(&format!("another bankfeed process owns {dir}; only one daemon can"));
                return Ok(Err(STORE));
            }
            Err(error) => error,
        };
        let Some(rested) = rested.filter(|_| error == store::Error::Full) else {
            // A service is started again after a while, and by then there may be space.
            return Ok(Err(Some(refuse(&error, config)).filter(|status| *status != ATTENTION).unwrap_or(FAILED)));
        };
        if !std::mem::replace(&mut said, true) {
            tracing::error!("{error}");
        }
        daemon::turn_away(rested, &error.to_string());
        if !runtime.block_on(daemon::rest(rested, Some(Utc::now() + ANOTHER_TRY)))? {
            return Ok(Err(0));
        }
    }
}
