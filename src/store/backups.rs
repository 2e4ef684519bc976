//! Backups as files: how one comes into being whole or not at all, and the two that are kept by themselves.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::disk::surely;
use super::portable::{self, Head};
use super::{Error, Result, Store, place};
use crate::files::{self, OutputFile};

/// A backup is kept at most this often.
const KEEP_EVERY: TimeDelta = TimeDelta::hours(24);

/// A backup in the making; gone again unless it is finished.
pub struct Part {
    file: OutputFile,
    path: PathBuf,
}

impl Part {
    /// Begins a file that only its owner can read.
    pub fn create(path: &Path) -> Result<Part> {
        let file = OutputFile::create(path).map_err(|error| Error::Backup(error.to_string()))?;
        Ok(Part { file, path: path.to_owned() })
    }

    /// Reads back what was written, and only then gives the file its name.
    pub fn finish(mut self) -> Result<portable::Contents> {
        let path = self.path;
        let contents = portable::inspect(self.file.staged().map_err(|error| cannot(&path, error))?)?;
        self.file.finish().map_err(|error| cannot(&path, error))?;
        Ok(contents)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The backup of the last good state.
fn last_good(data_dir: &Path) -> PathBuf {
    data_dir.join("backups").join("last-good.bankfeed")
}

/// The one before it.
fn one_before(data_dir: &Path) -> PathBuf {
    data_dir.join("backups").join("last-good-before.bankfeed")
}

/// The latest of the kept backups that can be read.
pub fn latest(data_dir: &Path) -> Option<(PathBuf, Head)> {
    let kept = [last_good(data_dir), one_before(data_dir)].into_iter();
    kept.filter_map(|path| portable::inspect(&path).ok().map(|contents| (path, contents.head))).next()
}

/// Keeps a backup if the last one is a day old and something has been fetched or delivered since.
pub fn keep_if_due(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    if let Ok(head) = portable::head(&last_good(store.data_dir())) {
        let age = now - head.made;
        let changed = (head.last_seq, head.delivered) != (store.meta().last_seq, store.delivered()?);
        // One from the future was made while the clock was wrong.
        if !changed || (TimeDelta::zero()..KEEP_EVERY).contains(&age) {
            return Ok(false);
        }
    } else if store.meta().last_seq == 0 {
        return Ok(false);
    }
    surely(|| keep(store, now).map_err(may_pass))?;
    Ok(true)
}

/// What hinders a file of our own may pass.
fn may_pass(error: Error) -> Error {
    match error {
        Error::Backup(what) => Error::Io(what),
        other => other,
    }
}

/// Keeps a backup, and the one before it. There is no instant without one.
pub fn keep(store: &Store, now: DateTime<Utc>) -> Result<()> {
    let data_dir = store.data_dir();
    let (path, before) = (last_good(data_dir), one_before(data_dir));
    let dir = data_dir.join("backups");
    place::create_private_dir(&dir)?;
    let mut part = Part::create(&dir.join("next.bankfeed"))?;
    store.write_portable(now, &mut part)?;
    part.finish()?;
    // One that cannot be read is no reason to give up the one before it.
    if path.try_exists()? && portable::inspect(&path).is_ok() {
        let link = dir.join(format!("link-{:016x}.part", fastrand::u64(..)));
        fs::hard_link(&path, &link).or_else(|_| copy(&path, &link))?;
        fs::rename(&link, &before)?;
    }
    fs::rename(dir.join("next.bankfeed"), &path)?;
    place::sync_dir(&dir)?;
    place::keep_owner(data_dir, &dir)
}

/// Streams a backup of the store as it is now. It goes into a file first, so that a slow reader holds nobody up.
pub fn stream(
    store: &Store,
    now: DateTime<Utc>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<io::Result<()>> {
    use std::io::Read;
    let dir = store.data_dir().join("backups");
    place::create_private_dir(&dir)?;
    let path = dir.join(format!("asked-{:08x}.part", fastrand::u32(..)));
    let file = files::create_new(&path).map_err(|error| cannot(&path, error))?;
    // Open but without a name it goes away by itself, whatever happens.
    fs::remove_file(&path)?;
    let mut out = BufWriter::new(file);
    store.write_portable(now, &mut out)?;
    let mut file = out.into_inner().map_err(|error| Error::from(error.into_error()))?;
    io::Seek::rewind(&mut file)?;
    let mut chunk = vec![0; 48 * 1024];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(Ok(()));
        }
        if let Err(gone) = each(&chunk[..read]) {
            return Ok(Err(gone));
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut files::read_own(from)?, &mut files::create_new(to)?).map(drop)
}

fn cannot(path: &Path, error: io::Error) -> Error {
    match error.into() {
        Error::Io(what) => Error::Backup(format!("cannot write {}: {what}", path.display())),
        other => other,
    }
}
