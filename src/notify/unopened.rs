//! A store that a daemon cannot open: nobody else would tell the owner. Once for each cause, also where the service is
//! started again and again.
//!
//! The store itself cannot remember that, so a small file beside it does. It is written before anything is sent: whoever
//! is stopped in the middle tells too little rather than the same every few minutes.

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

/// What each notifier was last told, as a fingerprint.
type Told = BTreeMap<String, u64>;

/// Tells everybody who was not told of it yet.
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

/// The store is open: what was told is over.
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

/// What cannot be read counts as nothing told.
fn read(path: &Path) -> Told {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn write(path: &Path, told: &Told) -> io::Result<()> {
    write_private(path, &serde_json::to_string(told)?)
}
