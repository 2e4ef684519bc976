//! Notices about a store that the daemon cannot open: no other process would tell the owner. A cause is told once, even
//! if the service is started again and again.
//!
//! The closed store cannot remember the notice, so a small file beside it does. The file is written before the notice
//! is sent: a daemon that is stopped in the middle tells too little rather than the same every few minutes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64;

use super::plan::Notice;
use super::{hand_over, send, within_patience};
use crate::config::{Config, Notifier, NotifierKind, On};
use crate::files::write_private;

/// Name of the file in the data directory.
const FILE: &str = "told-at-start";

/// The fingerprint of the cause that each notifier was told last.
type Told = BTreeMap<String, u64>;

/// Tells the cause to every notifier that was not told of it yet.
pub async fn tell(config: &Config, why: &str, now: DateTime<Utc>) {
    let (path, cause) = (file(&config.data_dir), xxh3_64(why.as_bytes()));
    let before = read(&path);
    let wants = |notifier: &&Notifier| {
        let listens = notifier.on.contains(&On::Attention) || is_switch(notifier);
        listens && before.get(&notifier.name) != Some(&cause)
    };
    let notifiers: Vec<&Notifier> = config.notifiers.iter().filter(wants).collect();
    if notifiers.is_empty() {
        return;
    }
    let mut told = before.clone();
    told.extend(notifiers.iter().map(|notifier| (notifier.name.clone(), cause)));
    if let Err(error) = write(&path, &told) {
        return tracing::warn!("nobody is told, because that could not be noted in {}: {error}", path.display());
    }
    let notice = Notice::of_the_store(why, now);
    let telling = notifiers.iter().map(|notifier| async {
        within_patience(async {
            if is_switch(notifier) {
                send::ping(notifier, "fail", &notice.text()).await
            } else {
                hand_over(notifier, &notice).await
            }
        })
        .await
    });
    for (notifier, sent) in notifiers.iter().zip(futures_util::future::join_all(telling).await) {
        if let Err(why) = sent {
            tracing::warn!("notify `{}`: {why}; it is tried again at the next start", notifier.name);
            told.remove(&notifier.name);
        }
    }
    if let Err(error) = write(&path, &told) {
        tracing::warn!("{}: {error}", path.display());
    }
}

/// Forgets the told causes, because the store is open.
pub fn forget(data_dir: &Path) {
    let path = file(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!("{}: {error}", path.display()),
        _ => {}
    }
}

fn is_switch(notifier: &Notifier) -> bool {
    matches!(notifier.kind, NotifierKind::Healthchecks { .. })
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// The told causes; a file that cannot be read counts as empty.
fn read(path: &Path) -> Told {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn write(path: &Path, told: &Told) -> io::Result<()> {
    write_private(path, &serde_json::to_string(told)?)
}
