//! `run`: the daemon, which is active while it has work and idle otherwise.

use std::io;
use std::path::Path;

use chrono::{TimeDelta, Utc};
use tokio::runtime::Runtime;

use super::call::{Opened, open_store, refuse};
use super::terminal::complain;
use super::{log, runtime, with_config};
use crate::commands::{ATTENTION, FAILED, STORE, USAGE, explain};
use crate::config::{self, Config};
use crate::daemon::idle::{self, Woken};
use crate::daemon::signals::Signals;
use crate::daemon::{self, Ended, IdleDaemon};
use crate::notify::unopened;
use crate::store::{self, Store};

/// Pause before a daemon tries again to open a store on a full disk or one that could not be read. A command makes the
/// daemon try at once.
const ANOTHER_TRY: TimeDelta = TimeDelta::minutes(1);

/// Starts the daemon, or goes on with it after a re-execution.
pub(super) fn run(path: Option<&Path>) -> io::Result<u8> {
    let signals = Signals::take()?;
    let idle = IdleDaemon::receive().unwrap_or_else(|error| {
        tracing::warn!("what the daemon kept over a rest is lost, it starts afresh: {error}");
        None
    });
    let Some(idle) = idle else { return with_config(path, |config| start(config, &signals)) };
    match config::reload(&idle.saved.path, &idle.saved.text) {
        Ok(config) => {
            log::use_zone(config.timezone);
            go_on(config, Some(idle), &signals)
        }
        Err(error) => {
            complain(&error);
            Ok(USAGE)
        }
    }
}

fn start(config: Config, signals: &Signals) -> io::Result<u8> {
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Err(error) = config.check_secrets() {
        complain(&error);
        return Ok(USAGE);
    }
    go_on(config, None, signals)
}

fn go_on(mut config: Config, mut idle: Option<IdleDaemon>, signals: &Signals) -> io::Result<u8> {
    loop {
        let runtime = runtime()?;
        let mut reload = false;
        if let Some(idle) = &idle {
            match runtime.block_on(idle::wait(idle, idle.saved.timetable.due(), signals))? {
                Woken::Stop => return Ok(0),
                woken => reload = woken == Woken::Reload,
            }
        }
        let store = match open(&runtime, &config, idle.as_ref(), signals, &mut reload)? {
            Ok(store) => store,
            Err(status) => return Ok(status),
        };
        let ended = runtime.block_on(daemon::run(config, store, signals, idle.take(), reload))?;
        runtime.shutdown_background();
        let Ended::Idle(ended, present) = ended else { return Ok(0) };
        // A system that forbids the re-execution leaves the daemon idle as it is.
        let error = ended.reexec();
        tracing::debug!("the daemon cannot start anew for its rest: {error}");
        (config, idle) = ((*present).clone(), Some(*ended));
    }
}

/// Opens the store; `Err`: the exit status. A daemon that has run before waits for trouble that may pass, because systemd
/// would restart it a few times and then give up.
fn open(
    runtime: &Runtime,
    config: &Config,
    idle: Option<&IdleDaemon>,
    signals: &Signals,
    reload: &mut bool,
) -> io::Result<Result<Store, u8>> {
    let mut said = false;
    loop {
        let lock = idle.map(|idle| idle.socket.lock.try_clone()).transpose()?;
        let error = match open_store(config, lock) {
            Ok(Opened::Ours(store)) => {
                unopened::forget(&config.data_dir);
                return Ok(Ok(*store));
            }
            Ok(Opened::Theirs(_)) => {
                let dir = config.data_dir.display();
                complain(&format!("another bankfeed process owns {dir}; only one daemon can"));
                return Ok(Err(STORE));
            }
            Err(error) => error,
        };
        let may_pass = matches!(error, store::Error::Full | store::Error::Io(_));
        let Some(idle) = idle.filter(|_| may_pass) else {
            let status = refuse(&error, config);
            // The other process will release the store, and systemd starts the service again when there may be space: the
            // owner need not know.
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
        idle::reject_connections(idle, &error.to_string(), if error == store::Error::Full { ATTENTION } else { STORE });
        match runtime.block_on(idle::wait(idle, Some(Utc::now() + ANOTHER_TRY), signals))? {
            Woken::Stop => return Ok(Err(0)),
            Woken::Reload => *reload = true,
            Woken::Needed => {}
        }
    }
}
