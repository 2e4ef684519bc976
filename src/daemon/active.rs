//! The active daemon: worker, control socket, page and timer, from the opening of the store until the daemon stops or
//! goes idle.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::directories::{self, Directories};
use super::reexec::{IdleDaemon, SavedState};
use super::reload::{NewConfig, taken_up};
use super::signals::{Signals, Wanted};
use super::{GRACE, Started, idle, notify, open_page, serve, show_page, start, timer, watchdog};
use crate::config::Config;
use crate::control::{self, Socket};
use crate::remote::Shutdown;
use crate::service::timetable::Timetable;
use crate::service::{ReloadRequest, StoreService};
use crate::store::Store;
use crate::web;

/// The end of the daemon's active time.
pub enum Ended {
    /// The daemon was told to stop.
    Stopped,
    /// The daemon has no work; the store is closed.
    Idle(Box<IdleDaemon>, Arc<Config>),
}

/// Runs the daemon, after a start or an idle time, until it is told to stop or goes idle. `reload`: a reload was asked
/// for in the idle time.
pub async fn run(
    config: Config,
    store: Store,
    signals: &Signals,
    idle: Option<IdleDaemon>,
    mut reload: bool,
) -> io::Result<Ended> {
    let (stop, shutdown) = Shutdown::new();
    let (reloads, mut asked) = mpsc::channel(1);
    let mut active = Active::begin(config, store, shutdown, idle, reloads)?;
    let mut coming = None;
    let stopped = loop {
        if coming.is_none() && std::mem::take(&mut reload) {
            coming = active.prove(ReloadRequest { text: None, reply: None }).await;
        }
        tokio::select! {
            wanted = signals.next() => match wanted? {
                Wanted::Stop => break true,
                Wanted::Reload => reload = true,
            },
            Some(asked) = asked.recv(), if coming.is_none() => coming = active.prove(asked).await,
            () = taken_up(&mut coming) => {
                if let Some(new) = coming.take() {
                    active.adopt(new)?;
                }
            }
            () = active.may_idle(), if coming.is_none() => break false,
        }
    };
    active.end(stopped, &stop).await
}

/// The tasks and sockets of the active daemon.
struct Active {
    started: Started,
    page: Option<web::Page>,
    timer: JoinHandle<()>,
    /// The watched directories of sources that read files, with the task that pulls these sources.
    directories: Option<(Arc<Directories>, JoinHandle<()>)>,
    watchdog: JoinHandle<()>,
    /// The time that the daemon stays active without work.
    patience: Duration,
    socket: Socket,
}

impl Active {
    fn begin(
        config: Config,
        store: Store,
        shutdown: Shutdown,
        idle: Option<IdleDaemon>,
        reloads: mpsc::Sender<ReloadRequest>,
    ) -> io::Result<Active> {
        let is_new = idle.is_none();
        let (socket, page, directories, saved) = match idle {
            Some(IdleDaemon { socket, page, directories, saved }) => (socket, page, directories, Some(saved)),
            None => (control::listen(store.data_dir(), store.lock()?)?, None, Directories::watch(&config), None),
        };
        let patience = idle::patience(saved.as_ref());
        let started = start(config, store, shutdown, &socket, Some((saved.unwrap_or_default(), reloads)))?;
        let service = &started.service;
        let page = match open_page(service, page) {
            // Rows matter more than the page: a daemon that has worked so far goes on without the page.
            Err(error) if !is_new => {
                tracing::error!("{error}");
                None
            }
            page => page?,
        };
        if is_new {
            tell_page(page.as_ref());
            notify(&[sd_notify::NotifyState::Ready]);
            tracing::info!("ready, {}", service.next_run_text());
        }
        let timer = tokio::spawn(timer::run(service.clone(), is_new));
        let directories = directories.map(|directories| pulling(service, directories));
        let watchdog = tokio::spawn(watchdog());
        Ok(Active { started, page, timer, directories, watchdog, patience, socket })
    }

    /// Proves another configuration. `None`: the other configuration is no good, and the present one stays.
    async fn prove(&mut self, request: ReloadRequest) -> Option<NewConfig> {
        let mut states = vec![sd_notify::NotifyState::Reloading];
        states.extend(sd_notify::NotifyState::monotonic_usec_now());
        notify(&states);
        let proved = NewConfig::prove(&self.started.service, &mut self.page, &request).await;
        notify(&[sd_notify::NotifyState::Ready]);
        match proved {
            Ok(new) => Some(new),
            Err(why) => {
                tracing::error!("the configuration is not reloaded, the one before stays: {why}");
                if let Some(reply) = request.reply {
                    // The command that asked may have gone away.
                    drop(reply.send(Err(why)));
                }
                None
            }
        }
    }

    /// Goes on under another configuration, which the worker uses already.
    fn adopt(&mut self, new: NewConfig) -> io::Result<()> {
        self.started.serving.abort();
        self.timer.abort();
        let keeps_times = new.keeps_times_of(&self.started.service.engine.config);
        let NewConfig { service, page, reply, .. } = new;
        if !keeps_times {
            let mut timetable = service.timetable.lock();
            *timetable = Timetable { asked: None, run: None, ..*timetable };
        }
        let address = self.page.as_ref().map(|page| page.address);
        self.page = page.map(|page| show_page(&service, page)).transpose()?;
        if self.page.as_ref().map(|page| page.address) != address {
            tell_page(self.page.as_ref());
        }
        self.started.serving = serve(&self.socket, &service)?;
        self.timer = tokio::spawn(timer::run(service.clone(), false));
        self.directories.iter().for_each(|(_, task)| task.abort());
        let directories = Directories::watch(&service.engine.config);
        self.directories = directories.map(|directories| pulling(&service, directories));
        tracing::info!("the configuration is reloaded, {}", service.next_run_text());
        self.started.service = service;
        if let Some(reply) = reply {
            // The command that asked may have gone away.
            drop(reply.send(Ok(())));
        }
        Ok(())
    }

    /// Returns when the daemon has no work.
    async fn may_idle(&self) {
        let service = &self.started.service;
        let due = || service.timetable.lock().due();
        let is_held = || !service.engine.store.is_well() || self.page.as_ref().is_some_and(web::Page::is_in_use);
        service.activity.may_idle(self.patience, due, is_held).await;
    }

    /// Ends everything. The sockets stop accepting first, so a client that comes now waits in their queues.
    async fn end(self, stopped: bool, stop: &watch::Sender<bool>) -> io::Result<Ended> {
        let Started { service, worker, serving } = self.started;
        serving.abort();
        let page = self.page.map(web::Page::close);
        let timetable: Timetable = *service.timetable.lock();
        if stopped {
            notify(&[sd_notify::NotifyState::Stopping]);
            tracing::info!("stopping");
        }
        stop.send_replace(true);
        // The request in flight ends, its result is recorded, and then the worker ends.
        let worked = tokio::time::timeout(GRACE, worker).await;
        if worked.is_err() {
            let grace = GRACE.as_secs();
            tracing::warn!("a request did not end within {grace} s; what became of it is settled at the next start");
        }
        self.timer.abort();
        self.directories.iter().for_each(|(_, task)| task.abort());
        self.watchdog.abort();
        if stopped {
            return Ok(Ended::Stopped);
        }
        let (told, cycle_log) = worked.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let (_, _) = tokio::join!(serving, self.timer);
        let page = match page {
            Some(page) => Some(page.await?),
            None => None,
        };
        let config = service.engine.config.clone();
        let (path, text, data_dir) =
            (config.path.clone(), config.text.expose_secret().to_owned(), config.data_dir.clone());
        let directories = match self.directories {
            Some((directories, task)) => {
                let _ = task.await;
                Some(directories)
            }
            None => None,
        };
        let watched = directories.as_ref().map(|directories| directories.watched().clone());
        let saved = SavedState { path, text, data_dir, cycle_log, told, timetable, patience: self.patience, watched };
        Ok(Ended::Idle(Box::new(IdleDaemon { socket: self.socket, page, directories, saved }), config))
    }
}

/// Watches directories, with a task that pulls their sources.
fn pulling(service: &StoreService, directories: Arc<Directories>) -> (Arc<Directories>, JoinHandle<()>) {
    let task = tokio::spawn(directories::run(service.clone(), directories.clone()));
    (directories, task)
}

fn tell_page(page: Option<&web::Page>) {
    page.iter().for_each(|page| tracing::info!("the page is at http://{}", page.address));
}
