//! The reload: another configuration while the daemon runs. The daemon proves it first: its text, its secrets, the address of its
//! page. A good configuration counts once the request at hand has ended; a bad one changes nothing.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use super::make_page;
use crate::config::{self, Config};
use crate::service::{ReloadRequest, StoreService, WorkerRequest};
use crate::sync::Engine;
use crate::web;

/// A proved configuration that waits until the worker uses it.
pub struct NewConfig {
    /// The service under the new configuration.
    pub service: StoreService,
    /// The page under the new configuration.
    pub page: Option<web::ReadyPage>,
    /// The channel of the command that waits for the result.
    pub reply: Option<mpsc::Sender<Result<(), String>>>,
    /// Ends when the worker uses the new configuration.
    taken_up: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl NewConfig {
    /// Proves a configuration and hands it to the worker. `page` is the present page: where the new one has another address
    /// of the same port, the present one is closed to make room.
    pub async fn prove(
        present: &StoreService,
        page: &mut Option<web::Page>,
        request: &ReloadRequest,
    ) -> Result<NewConfig, String> {
        let config = read(&present.engine.config, request.text.as_deref())?;
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let Engine { store, backoff, shutdown, .. } = &*present.engine;
        let engine = Arc::new(Engine {
            config: Arc::new(config),
            store: store.clone(),
            backoff: backoff.clone(),
            shutdown: shutdown.clone(),
        });
        let service = StoreService { engine: engine.clone(), ..present.clone() };
        let page = prepare_page(&service, present, page).await.map_err(|error| error.to_string())?;
        let (reply, taken_up) = oneshot::channel();
        let requests = service.requests.clone();
        let taken_up = Box::pin(async move {
            if requests.send(WorkerRequest::Renew(engine, reply)).await.is_ok() {
                drop(taken_up.await);
            }
        });
        Ok(NewConfig { service, page, reply: request.reply.clone(), taken_up })
    }

    /// True if the runs stay at the times of the present configuration.
    pub fn keeps_times_of(&self, present: &Config) -> bool {
        let config = &self.service.engine.config;
        let texts = |config: &Config| config.schedule.iter().map(|line| line.text().to_owned()).collect::<Vec<_>>();
        (texts(config), config.timezone, config.jitter) == (texts(present), present.timezone, present.jitter)
    }
}

/// Returns when the worker uses the new configuration; never returns where there is none.
pub async fn taken_up(new: &mut Option<NewConfig>) {
    match new {
        Some(new) => new.taken_up.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Reads the configuration again; `Err`: why the present one has to stay.
fn read(present: &Config, text: Option<&str>) -> Result<Config, String> {
    let path = &present.path;
    let config = match text {
        Some(text) => config::reload(path, text),
        None if is_a_copy(path) => {
            return Err(format!(
                "{}: the service may not read it and has only the copy that systemd made when it started; use `systemctl \
                 reload bankfeed`, which hands it over",
                path.display()
            ));
        }
        None => config::load(path),
    };
    let config = config.map_err(|error| error.to_string())?;
    config.check_secrets().map_err(|error| error.to_string())?;
    if config.data_dir != present.data_dir {
        return Err(format!(
            "{}: data_dir is {} now, and a daemon keeps to the one it has, {}; restart it",
            path.display(),
            config.data_dir.display(),
            present.data_dir.display()
        ));
    }
    Ok(config)
}

/// True if the configuration is a credential of the systemd service: such a copy never changes while the service runs.
fn is_a_copy(path: &Path) -> bool {
    let is_forbidden = std::fs::File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    is_forbidden && std::env::var_os("CREDENTIALS_DIRECTORY").is_some()
}

/// The page under the new configuration, not yet open.
async fn prepare_page(
    service: &StoreService,
    present: &StoreService,
    page: &mut Option<web::Page>,
) -> io::Result<Option<web::ReadyPage>> {
    let address = |service: &StoreService| service.engine.config.http.as_ref().map(|http| http.listen);
    let kept = page.as_ref().filter(|_| address(service) == address(present));
    let made = make_page(service, kept.map(web::Page::listener).transpose()?);
    let in_use = made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    let ours = |page: &web::Page| address(service).is_some_and(|address| address.port() == page.address.port());
    match page.take() {
        Some(former) if in_use && ours(&former) => {
            drop(former.close().await?);
            let made = make_page(service, None);
            if made.is_err() {
                *page = super::open_page(present, None)?;
            }
            made
        }
        former => {
            *page = former;
            made
        }
    }
}
