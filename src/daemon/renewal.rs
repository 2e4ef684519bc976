//! Another configuration while the daemon runs. It is proven whole first (what it says, its secrets, the address of its
//! page); then it counts from the moment the work at hand has ended. One that is no good changes nothing.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use super::{Job, Owner, make_page};
use crate::config::{self, Config};
use crate::sync::Engine;
use crate::web;

/// Somebody wants the configuration to be read again.
pub struct Reload {
    /// What stands in it; `None`: the daemon reads the file.
    pub text: Option<String>,
    /// Who waits for it.
    pub reply: Option<mpsc::Sender<Result<(), String>>>,
}

/// A configuration that is good, on its way.
pub struct Renewal {
    /// The owner of the store under it.
    pub owner: Owner,
    /// Its page.
    pub page: Option<web::Closed>,
    /// Who waits for it.
    pub reply: Option<mpsc::Sender<Result<(), String>>>,
    /// Ends when the worker has taken it up.
    taken_up: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Renewal {
    /// Proves a configuration and hands it to the worker. `page` is the present one: where the other is at another address
    /// of the same port, it is closed to make room.
    pub async fn begin(present: &Owner, page: &mut Option<web::Page>, reload: &Reload) -> Result<Renewal, String> {
        let config = read(&present.engine.config, reload.text.as_deref())?;
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let Engine { store, backoff, shutdown, .. } = &*present.engine;
        let engine = Arc::new(Engine {
            config: Arc::new(config),
            store: store.clone(),
            backoff: backoff.clone(),
            shutdown: shutdown.clone(),
        });
        let owner = Owner { engine: engine.clone(), ..present.clone() };
        let page = prepare_page(&owner, present, page).await.map_err(|error| error.to_string())?;
        let (reply, taken_up) = oneshot::channel();
        let jobs = owner.jobs.clone();
        let taken_up = Box::pin(async move {
            if jobs.send(Job::Renew(engine, reply)).await.is_ok() {
                drop(taken_up.await);
            }
        });
        Ok(Renewal { owner, page, reply: reload.reply.clone(), taken_up })
    }

    /// Whether its runs are those of another one.
    pub fn keeps_times_of(&self, present: &Config) -> bool {
        let config = &self.owner.engine.config;
        let texts = |config: &Config| config.schedule.iter().map(|line| line.text().to_owned()).collect::<Vec<_>>();
        (texts(config), config.timezone, config.jitter) == (texts(present), present.timezone, present.jitter)
    }
}

/// Returns when the worker has taken it up; never, where there is none.
pub async fn taken_up(renewal: &mut Option<Renewal>) {
    match renewal {
        Some(renewal) => renewal.taken_up.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Reads the configuration again; `Err`: why it cannot take the place of the present one.
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

/// Whether the configuration is a credential of the service: that never changes while the service runs.
fn is_a_copy(path: &Path) -> bool {
    let is_forbidden = std::fs::File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    is_forbidden && std::env::var_os("CREDENTIALS_DIRECTORY").is_some()
}

/// The page of the owner to come, ready to be opened.
async fn prepare_page(owner: &Owner, present: &Owner, page: &mut Option<web::Page>) -> io::Result<Option<web::Closed>> {
    let address = |owner: &Owner| owner.engine.config.http.as_ref().map(|http| http.listen);
    let kept = page.as_ref().filter(|_| address(owner) == address(present));
    let made = make_page(owner, kept.map(web::Page::listener).transpose()?);
    let in_use = made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    let ours = |page: &web::Page| address(owner).is_some_and(|address| address.port() == page.address.port());
    match page.take() {
        Some(former) if in_use && ours(&former) => {
            drop(former.close().await?);
            let made = make_page(owner, None);
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
