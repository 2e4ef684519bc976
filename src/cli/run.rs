//! `run`: the daemon, which is awake while there is something to do and rests otherwise.

use std::io;
use std::path::Path;

use chrono::{TimeDelta, Utc};
use tokio::runtime::Runtime;

use super::{
    ATTENTION, FAILED, Opened, STORE, USAGE, explain, log, open_store, refuse, runtime, terminal, with_config,
};
use crate::config::{self, Config};
use crate::daemon::signals::Signals;
use crate::daemon::{self, Ended, Handover, Woken};
use crate::notify::unopened;
use crate::store::{self, Store};

/// How long a daemon waits before it looks again whether there is room on a full disk, or whether a store that could not
/// be read can be; a command makes it look at once.
const ANOTHER_TRY: TimeDelta = TimeDelta::minutes(1);

/// Starts the daemon, or goes on with it after a rest.
pub(super) fn run(path: Option<&Path>) -> io::Result<u8> {
    let signals = Signals::take()?;
    let rested = Handover::receive().unwrap_or_else(|error| {
        tracing::warn!("what the daemon kept over a rest is lost, it starts afresh: {error}");
        None
    });
    let Some(rested) = rested else { return with_config(path, |config| start(config, &signals)) };
    match config::reload(&rested.notes.path, &rested.notes.text) {
        Ok(config) => {
            log::use_zone(config.timezone);
            go_on(config, Some(rested), &signals)
        }
        Err(error) => {
            terminal::complain(&error);
            Ok(USAGE)
        }
    }
}

fn start(config: Config, signals: &Signals) -> io::Result<u8> {
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Err(error) = config.check_secrets() {
        terminal::complain(&error);
        return Ok(USAGE);
    }
    go_on(config, None, signals)
}

fn go_on(mut config: Config, mut rested: Option<Handover>, signals: &Signals) -> io::Result<u8> {
    loop {
        let runtime = runtime()?;
        let mut reload = false;
        if let Some(rested) = &rested {
            match runtime.block_on(daemon::rest(rested, rested.notes.clock.due(), signals))? {
                Woken::Stop => return Ok(0),
                woken => reload = woken == Woken::Reload,
            }
        }
        let store = match open(&runtime, &config, rested.as_ref(), signals, &mut reload)? {
            Ok(store) => store,
            Err(status) => return Ok(status),
        };
        let ended = runtime.block_on(daemon::run(config, store, signals, rested.take(), reload))?;
        runtime.shutdown_background();
        let Ended::Resting(handover, present) = ended else { return Ok(0) };
        // Where that is forbidden the daemon rests as it is.
        let error = handover.start_anew();
        tracing::debug!("the daemon cannot start anew for its rest: {error}");
        (config, rested) = ((*present).clone(), Some(*handover));
    }
}

/// Opens the store; `Err`: the exit status. A daemon that has been at work waits for what may pass: systemd would
/// start it again a few times and then give up.
fn open(
    runtime: &Runtime,
    config: &Config,
    rested: Option<&Handover>,
    signals: &Signals,
    reload: &mut bool,
) -> io::Result<Result<Store, u8>> {
    let mut said = false;
    loop {
        let lock = rested.map(|rested| rested.socket.lock.try_clone()).transpose()?;
        let error = match open_store(config, lock) {
            Ok(Opened::Ours(store)) => {
                unopened::forget(&config.data_dir);
                return Ok(Ok(*store));
            }
            Ok(Opened::Theirs(_)) => {
                let dir = config.data_dir.display();
                terminal::complain(&format!("another bankfeed process owns {dir}; only one daemon can"));
                return Ok(Err(STORE));
            }
            Err(error) => error,
        };
        let may_pass = matches!(error, store::Error::Full | store::Error::Io(_));
        let Some(rested) = rested.filter(|_| may_pass) else {
            let status = refuse(&error, config);
            // Whoever has it will let go of it, and a service is started again after a while, when there may be space:
            // nothing that the owner has to know.
            if !matches!(error, store::Error::InUse(_) | store::Error::Full) {
                let why = explain(&error, config);
                runtime.block_on(async {
                    tokio::select! {
                        () = unopened::tell(config, &why, Utc::now()) => {}
                        () = signals.stop() => {}
                    }
                });
            }
            return Ok(Err(if may_pass { FAILED } else { status }));
        };
        if !std::mem::replace(&mut said, true) {
            tracing::error!("{error}");
        }
        daemon::turn_away(rested, &error.to_string(), if error == store::Error::Full { ATTENTION } else { STORE });
        match runtime.block_on(daemon::rest(rested, Some(Utc::now() + ANOTHER_TRY), signals))? {
            Woken::Stop => return Ok(Err(0)),
            Woken::Reload => *reload = true,
            Woken::Needed => {}
        }
    }
}
