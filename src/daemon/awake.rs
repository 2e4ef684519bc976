//! The daemon awake: everything it runs, from the opening of the store until it is told to stop or may rest.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::clock::{self, Clock};
use super::handover::{Handover, Notes};
use super::renewal::{Reload, Renewal, taken_up};
use super::signals::{Signals, Wanted};
use super::{GRACE, Started, next_text, notify, open_page, rest, serve, show_page, start, watchdog};
use crate::config::Config;
use crate::control::{self, Socket};
use crate::remote::Shutdown;
use crate::store::Store;
use crate::web;

/// How the daemon's time awake ended.
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// There is nothing to do; the store is closed.
    Resting(Box<Handover>, Arc<Config>),
}

/// Runs the daemon, anew or after a rest, until it is told to stop or may rest. `reload`: it was asked for at rest.
pub async fn run(
    config: Config,
    store: Store,
    signals: &Signals,
    rested: Option<Handover>,
    mut reload: bool,
) -> io::Result<Ended> {
    let (stop, shutdown) = Shutdown::new();
    let (reloads, mut asked) = mpsc::channel(1);
    let mut awake = Awake::begin(config, store, shutdown, rested, reloads)?;
    let mut renewal = None;
    let stopped = loop {
        if renewal.is_none() && std::mem::take(&mut reload) {
            renewal = awake.renew(Reload { text: None, reply: None }).await;
        }
        tokio::select! {
            wanted = signals.next() => match wanted? {
                Wanted::Stop => break true,
                Wanted::Reload => reload = true,
            },
            Some(asked) = asked.recv(), if renewal.is_none() => renewal = awake.renew(asked).await,
            () = taken_up(&mut renewal) => {
                if let Some(renewal) = renewal.take() {
                    awake.adopt(renewal)?;
                }
            }
            () = awake.may_rest(), if renewal.is_none() => break false,
        }
    };
    awake.end(stopped, &stop).await
}

/// What a daemon runs and holds.
struct Awake {
    started: Started,
    page: Option<web::Page>,
    clock: JoinHandle<()>,
    watchdog: JoinHandle<()>,
    /// How long to stay awake with nothing to do.
    patience: Duration,
    socket: Socket,
}

impl Awake {
    fn begin(
        config: Config,
        store: Store,
        shutdown: Shutdown,
        rested: Option<Handover>,
        reloads: mpsc::Sender<Reload>,
    ) -> io::Result<Awake> {
        let is_new = rested.is_none();
        let (socket, page, notes) = match rested {
            Some(Handover { socket, page, notes }) => (socket, page, Some(notes)),
            None => (control::listen(store.data_dir(), store.lock()?)?, None, None),
        };
        let patience = rest::patience(notes.as_ref());
        let started = start(config, store, shutdown, &socket, Some((notes.unwrap_or_default(), reloads)))?;
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
            tell_page(page.as_ref());
            notify(&[sd_notify::NotifyState::Ready]);
            tracing::info!("ready, {}", next_text(owner));
        }
        let clock = tokio::spawn(clock::run(owner.clone(), is_new));
        let watchdog = tokio::spawn(watchdog());
        Ok(Awake { started, page, clock, watchdog, patience, socket })
    }

    /// Proves another configuration. `None`: it is no good, and the present one stays.
    async fn renew(&mut self, reload: Reload) -> Option<Renewal> {
        let mut states = vec![sd_notify::NotifyState::Reloading];
        states.extend(sd_notify::NotifyState::monotonic_usec_now());
        notify(&states);
        let renewal = Renewal::begin(&self.started.owner, &mut self.page, &reload).await;
        notify(&[sd_notify::NotifyState::Ready]);
        match renewal {
            Ok(renewal) => Some(renewal),
            Err(why) => {
                tracing::error!("the configuration is not reloaded, the one before stays: {why}");
                if let Some(reply) = reload.reply {
                    // Whoever asked may have gone away.
                    drop(reply.send(Err(why)));
                }
                None
            }
        }
    }

    /// Goes on under another configuration, which the worker has taken up.
    fn adopt(&mut self, renewal: Renewal) -> io::Result<()> {
        self.started.serving.abort();
        self.clock.abort();
        let keeps_times = renewal.keeps_times_of(&self.started.owner.engine.config);
        let Renewal { owner, page, reply, .. } = renewal;
        if !keeps_times {
            let mut clock = clock::note(&owner.noted);
            *clock = Clock { asked: None, run: None, ..*clock };
        }
        let address = self.page.as_ref().map(|page| page.address);
        self.page = page.map(|page| show_page(&owner, page)).transpose()?;
        if self.page.as_ref().map(|page| page.address) != address {
            tell_page(self.page.as_ref());
        }
        self.started.serving = serve(&self.socket, &owner)?;
        self.clock = tokio::spawn(clock::run(owner.clone(), false));
        tracing::info!("the configuration is reloaded, {}", next_text(&owner));
        self.started.owner = owner;
        if let Some(reply) = reply {
            // Whoever asked may have gone away.
            drop(reply.send(Ok(())));
        }
        Ok(())
    }

    /// Returns when there is nothing to do.
    async fn may_rest(&self) {
        let owner = &self.started.owner;
        let due = || clock::note(&owner.noted).due();
        let is_held = || !owner.engine.store.is_well() || self.page.as_ref().is_some_and(web::Page::is_in_use);
        owner.activity.may_rest(self.patience, due, is_held).await;
    }

    /// Ends everything. Nobody is let in any more from the first moment on: whoever comes waits at the sockets.
    async fn end(self, stopped: bool, stop: &watch::Sender<bool>) -> io::Result<Ended> {
        let Started { owner, worker, serving } = self.started;
        serving.abort();
        let page = self.page.map(web::Page::close);
        let clock: Clock = *clock::note(&owner.noted);
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
        let config = owner.engine.config.clone();
        let (path, text, data_dir) =
            (config.path.clone(), config.text.expose_secret().to_owned(), config.data_dir.clone());
        let notes = Notes { path, text, data_dir, journal, told, clock, patience: self.patience };
        Ok(Ended::Resting(Box::new(Handover { socket: self.socket, page, notes }), config))
    }
}

fn tell_page(page: Option<&web::Page>) {
    page.iter().for_each(|page| tracing::info!("the page is at http://{}", page.address));
}
