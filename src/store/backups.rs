//! Backups as files: how one comes into being whole or not at all, and the two that are kept by themselves.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::portable::{self, Head};
use super::{Error, Result, Store, place};

/// A backup is kept at most this often.
const KEEP_EVERY: TimeDelta = TimeDelta::hours(24);

/// A file in the making beside its final name; gone again unless it is finished.
pub struct Part {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Part {
    /// Begins a file that only its owner can read.
    pub fn create(path: &Path) -> Result<Part> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = file.map_err(|error| cannot(path, error))?;
        Ok(Part { file: BufWriter::new(file), part, path: path.to_owned(), finished: false })
    }

    /// Reads back what was written, and only then gives the file its name.
    pub fn finish(mut self) -> Result<portable::Contents> {
        let cannot = |error| cannot(&self.path, error);
        self.file.flush().map_err(cannot)?;
        self.file.get_ref().sync_all().map_err(cannot)?;
        let contents = portable::inspect(&self.part)?;
        fs::rename(&self.part, &self.path).map_err(cannot)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        place::sync_dir(parent)?;
        self.finished = true;
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

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            // Nobody can do anything about a part that stays.
            drop(fs::remove_file(&self.part));
        }
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
    keep(store, now)?;
    Ok(true)
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
    if path.exists() {
        let link = dir.join("link.part");
        drop(fs::remove_file(&link));
        fs::hard_link(&path, &link).or_else(|_| fs::copy(&path, &link).map(drop))?;
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
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| cannot(&path, error))?;
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

fn cannot(path: &Path, error: io::Error) -> Error {
    match error.into() {
        Error::Io(what) => Error::Backup(format!("cannot write {}: {what}", path.display())),
        other => other,
    }
}
