//! The directories of sources that read files. The daemon pulls such a source soon after a file in its directory is whole,
//! and delivers the rows. The kernel reports closed and moved files (inotify), so the daemon wakes for nothing else.
//!
//! The queue of the kernel goes through the re-execution of the idle daemon like its sockets, so that no file is missed. A
//! file system of another machine may report nothing; such files are read by the next scheduled run.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::service::{StoreService, WorkerRequest};
use crate::source::WatchedDirectory;
use crate::sync::{Request, Watcher};

/// Time for further files of one copy to arrive.
const GATHERING: Duration = Duration::from_millis(300);

/// The watched directories.
#[derive(Debug)]
pub struct Directories {
    queue: OwnedFd,
    /// The kernel's number of each watched directory, with the source that reads it.
    watched: Mutex<Vec<(i32, String)>>,
}

impl Directories {
    /// Watches the directories of these sources; `None`: no source reads a directory, or the kernel has no room.
    pub fn watch(config: &Config) -> Option<Arc<Directories>> {
        config.sources.iter().find(|source| source.settings.watched_directory().is_some())?;
        match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
            Ok(queue) => Some(Directories::again(queue, Vec::new())),
            Err(error) => {
                tracing::warn!("new files are read by scheduled runs alone: their folders cannot be watched: {error}");
                None
            }
        }
    }

    /// The directories again after the re-execution of this process.
    pub fn again(queue: OwnedFd, watched: Vec<(i32, String)>) -> Arc<Directories> {
        Arc::new(Directories { queue, watched: Mutex::new(watched) })
    }

    /// The queue of the kernel.
    pub fn queue(&self) -> &OwnedFd {
        &self.queue
    }

    /// The kernel's number of each watched directory, with the source that reads it.
    pub fn watched(&self) -> MutexGuard<'_, Vec<(i32, String)>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the kernel has something to report.
    #[expect(
        deprecated,
        reason = "the safe way is deprecated for types that lie about their descriptor; this does not"
    )]
    pub async fn changed(&self) -> io::Result<()> {
        let queue = AsyncFd::with_interest(self.queue.as_fd(), Interest::READABLE)?;
        queue.readable().await.map(drop)
    }

    /// Watches the directories that are not watched yet. Returns the sources in whose directories files lie already.
    fn watch_missing(&self, config: &Config) -> BTreeSet<String> {
        let mut waiting = BTreeSet::new();
        for source in &config.sources {
            let Some(directory) = source.settings.watched_directory() else { continue };
            if self.watched().iter().any(|(_, name)| *name == source.name) {
                continue;
            }
            let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            match inotify::add_watch(&self.queue, directory.path, flags) {
                Ok(number) => {
                    self.watched().push((number, source.name.clone()));
                    if holds_files(directory) {
                        waiting.insert(source.name.clone());
                    }
                }
                // A missing directory is told by each run.
                Err(error) => tracing::debug!("{} is not watched: {error}", directory.path.display()),
            }
        }
        waiting
    }

    /// The sources in whose directories files have become whole since the last call.
    fn take(&self, config: &Config) -> BTreeSet<String> {
        let mut sources = BTreeSet::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        while let Ok(event) = reader.next() {
            let number = event.wd();
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                sources.extend(self.watched().iter().map(|(_, name)| name.clone()));
            }
            if event.events().contains(ReadFlags::IGNORED) {
                self.watched().retain(|(watched, _)| *watched != number);
            }
            let Some(file) = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())) else { continue };
            let watched = self.watched();
            let readers = watched.iter().filter(|(watched, _)| *watched == number).map(|(_, name)| name);
            sources.extend(readers.filter(|name| wants(config, name, file)).cloned());
        }
        sources
    }
}

/// True if this source reads files of this name.
fn wants(config: &Config, source: &str, file: &OsStr) -> bool {
    let source = config.sources.iter().find(|one| one.name == source);
    source.and_then(|source| source.settings.watched_directory()).is_some_and(|directory| (directory.is_wanted)(file))
}

fn holds_files(directory: WatchedDirectory<'_>) -> bool {
    let Ok(entries) = std::fs::read_dir(directory.path) else { return false };
    entries.flatten().any(|entry| (directory.is_wanted)(&entry.file_name()) && entry.path().is_file())
}

/// Pulls each source soon after a file in its directory is whole; never returns.
pub async fn run(service: StoreService, directories: Arc<Directories>) {
    loop {
        let busy = service.activity.begin();
        let mut sources = directories.watch_missing(&service.engine.config);
        sources.extend(directories.take(&service.engine.config));
        if !sources.is_empty() {
            tokio::time::sleep(GATHERING).await;
            sources.extend(directories.take(&service.engine.config));
            pull(&service, sources).await;
        }
        drop(busy);
        if let Err(error) = directories.changed().await {
            return tracing::warn!("new files are read by scheduled runs alone: {error}");
        }
    }
}

async fn pull(service: &StoreService, sources: BTreeSet<String>) {
    let request = Request { sources: Some(sources.into_iter().collect()), ..Request::default() };
    let (reply, answer) = oneshot::channel();
    let watcher: Watcher = Arc::new(|_| {});
    if service.requests.send(WorkerRequest::Cycle(request, watcher, reply)).await.is_ok() {
        // The worker logs the result.
        drop(answer.await);
    }
}
