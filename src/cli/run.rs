//! `run`: the daemon, which is awake while there is something to do and rests otherwise.

use std::io;
use std::path::Path;

use super::{ATTENTION, FAILED, Opened, STORE, USAGE, open_store, runtime, terminal, with_config};
use crate::config::{self, Config};
use crate::daemon::{self, Ended, Handover};
use crate::remote::Shutdown;

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
            && !runtime.block_on(daemon::rest(rested))?
        {
            return Ok(0);
        }
        let lock = rested.as_ref().map(|rested| rested.lock.try_clone()).transpose()?;
        let store = match open_store(config, lock) {
            Ok(Opened::Ours(store)) => *store,
            Ok(Opened::Theirs(_)) => {
                let dir = config.data_dir.display();
                terminal::complain(&format!("another bankfeed process owns {dir}; only one daemon can"));
                return Ok(STORE);
            }
            // A service is started again after a while, and by then there may be space.
            Err(ATTENTION) => return Ok(FAILED),
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
