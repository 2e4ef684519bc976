//! The daemon awake: everything it runs, from the opening of the store until it is told to stop or may rest.

use std::io;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock::{self, Clock, Noted};
use super::handover::{Handover, Notes};
use super::{GRACE, Started, next_text, notify, open_page, rest, start, stop_signal, watchdog};
use crate::config::Config;
use crate::control;
use crate::remote::Shutdown;
use crate::store::Store;
use crate::web;

/// How the daemon's time awake ended.
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// There is nothing to do; the store is closed.
    Resting(Box<Handover>),
}

/// Runs the daemon, anew or after a rest, until it is told to stop or may rest.
pub async fn run(
    config: Config,
    store: Store,
    stop: watch::Sender<bool>,
    shutdown: Shutdown,
    rested: Option<Handover>,
) -> io::Result<Ended> {
    let awake = Awake::begin(config, store, shutdown, rested)?;
    let stopped = tokio::select! {
        () = stop_signal() => true,
        () = awake.may_rest() => false,
    };
    awake.end(stopped, &stop).await
}

/// What a daemon runs and holds.
struct Awake {
    started: Started,
    page: Option<web::Page>,
    clock: JoinHandle<()>,
    watchdog: JoinHandle<()>,
    noted: Noted,
    /// How long to stay awake with nothing to do.
    patience: Duration,
    /// What a rest needs, whoever else holds it too.
    lock: std::fs::File,
    control: UnixListener,
}

impl Awake {
    fn begin(config: Config, store: Store, shutdown: Shutdown, rested: Option<Handover>) -> io::Result<Awake> {
        let lock = store.lock()?;
        let is_new = rested.is_none();
        let (control, page, notes) = match rested {
            Some(Handover { control, page, notes, .. }) => (control, page, Some(notes)),
            None => (control::listen(store.data_dir())?, None, None),
        };
        let patience = rest::patience(notes.as_ref());
        let notes = notes.unwrap_or_default();
        let noted = Noted::new(notes.clock.into());
        let started = start(config, store, shutdown, control.try_clone()?, Some(notes))?;
        let owner = &started.owner;
        let page = match open_page(owner, page) {
            // Rows matter more than the page: a daemon that has worked so far goes on without.
            Err(error) if !is_new => {
                tracing::error!("{error}");
                None
            }
            page => page?,
        };
        if is_new {
            page.iter().for_each(|page| tracing::info!("the page is at http://{}", page.address));
            notify(&[sd_notify::NotifyState::Ready]);
            tracing::info!("ready, {}", next_text(owner));
        }
        let clock = tokio::spawn(clock::run(owner.clone(), noted.clone(), is_new));
        let watchdog = tokio::spawn(watchdog());
        Ok(Awake { started, page, clock, watchdog, noted, patience, lock, control })
    }

    /// Returns when there is nothing to do.
    async fn may_rest(&self) {
        let owner = &self.started.owner;
        let due = || clock::note(&self.noted).due();
        let is_held = || !owner.engine.store.is_well() || self.page.as_ref().is_some_and(web::Page::is_in_use);
        owner.activity.may_rest(self.patience, due, is_held).await;
    }

    /// Ends everything. Nobody is let in any more from the first moment on: whoever comes waits at the sockets.
    async fn end(self, stopped: bool, stop: &watch::Sender<bool>) -> io::Result<Ended> {
        let Started { owner, worker, serving } = self.started;
        serving.abort();
        let page = self.page.map(web::Page::close);
        let clock: Clock = *clock::note(&self.noted);
        if stopped {
            notify(&[sd_notify::NotifyState::Stopping]);
            tracing::info!("stopping");
        }
        stop.send_replace(true);
        // The request in flight ends and what it did is recorded; then the worker ends.
        let worked = tokio::time::timeout(GRACE, worker).await;
        if worked.is_err() {
            let grace = GRACE.as_secs();
            tracing::warn!("a request did not end within {grace} s; what became of it is settled at the next start");
        }
        self.clock.abort();
        self.watchdog.abort();
        if stopped {
            return Ok(Ended::Stopped);
        }
        let (told, journal) = worked.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let (_, _) = tokio::join!(serving, self.clock);
        let page = match page {
            Some(page) => Some(page.await?),
            None => None,
        };
        let Config { path, text, .. } = &*owner.engine.config;
        let (path, text) = (path.clone(), text.expose_secret().to_owned());
        let notes = Notes { path, text, journal, told, clock, patience: self.patience };
        Ok(Ended::Resting(Box::new(Handover { lock: self.lock, control: self.control, page, notes })))
    }
}
