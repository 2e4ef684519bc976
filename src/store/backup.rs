//! Backups: how one comes into being whole or not at all, the two that are kept by themselves, and how one becomes the
//! store again.
//!
//! A restored backup is read and checked whole first; the new store is built beside the old one and proven; only then
//! does the new one take the old one's place, and the old one is kept.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::backup_format::{self, Contents, Head};
use super::checkpoint::{Checkpoint, Mark};
use super::records::Sums;
use super::sled_db::{SledDb, surely};
use super::{DestinationState, Error, Meta, Result, SCHEMA, Store, codec, data_dir, private};
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
    pub fn finish(mut self) -> Result<backup_format::Contents> {
        let path = self.path;
        let contents = backup_format::read_back(self.file.staged().map_err(|error| cannot(&path, error))?)?;
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
    kept.filter_map(|path| backup_format::inspect(&path).ok().map(|contents| (path, contents.head))).next()
}

/// Keeps a backup if the last one is a day old and something has been fetched or delivered since.
pub fn keep_if_due(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    if let Ok(head) = backup_format::head(&last_good(store.data_dir())) {
        let age = now - head.made;
        let changed = (head.last_seq, head.delivered) != (store.meta().last_seq, store.delivered()?);
        // A backup from the future was made while the clock was wrong.
        if !changed || (TimeDelta::zero()..KEEP_EVERY).contains(&age) {
            return Ok(false);
        }
    } else if store.meta().last_seq == 0 {
        return Ok(false);
    }
    surely(|| keep(store, now).map_err(may_pass))?;
    Ok(true)
}

/// A hindrance of a file of our own may pass.
fn may_pass(error: Error) -> Error {
    match error {
        Error::Backup(what) => Error::Io(what),
        other => other,
    }
}

/// Keeps a backup, and the one before it, with no instant in between that has none.
pub fn keep(store: &Store, now: DateTime<Utc>) -> Result<()> {
    let data_dir = store.data_dir();
    let (path, before) = (last_good(data_dir), one_before(data_dir));
    let dir = data_dir.join("backups");
    data_dir::create_private_dir(&dir)?;
    let mut part = Part::create(&dir.join("next.bankfeed"))?;
    store.write_backup(now, &mut part)?;
    part.finish()?;
    // An unreadable backup is no reason to give up the one before it.
    if path.try_exists()? && backup_format::inspect(&path).is_ok() {
        let link = dir.join(format!("link-{:016x}.part", fastrand::u64(..)));
        fs::hard_link(&path, &link).or_else(|_| copy(&path, &link))?;
        fs::rename(&link, &before)?;
    }
    fs::rename(dir.join("next.bankfeed"), &path)?;
    data_dir::sync_dir(&dir)?;
    data_dir::keep_owner(data_dir, &dir)
}

/// Streams a backup of the store as it is now. The backup goes into a file first, so that a slow reader holds nobody up.
pub fn stream(
    store: &Store,
    now: DateTime<Utc>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<io::Result<()>> {
    use std::io::Read;
    let dir = store.data_dir().join("backups");
    data_dir::create_private_dir(&dir)?;
    let path = dir.join(format!("asked-{:08x}.part", fastrand::u32(..)));
    let file = files::create_new(&path).map_err(|error| cannot(&path, error))?;
    // Open but without a name it goes away by itself, whatever happens.
    fs::remove_file(&path)?;
    let mut out = BufWriter::new(file);
    store.write_backup(now, &mut out)?;
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

/// Records per batch of writes, and bytes.
const RECORDS_PER_BATCH: usize = 1000;
const BYTES_PER_BATCH: usize = 4 * 1024 * 1024;

/// The outcome of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Head of the backup.
    pub head: Head,
    /// Transactions there are now.
    pub rows: u64,
    /// The place where the former store is kept.
    pub kept: Option<PathBuf>,
}

/// Puts the store of a backup in the place of the one in this data directory, whatever state that is in. Rows that
/// were delivered after the backup was made must not arrive twice, so every destination will be asked what is there
/// before anything is appended.
pub fn restore(data_dir: &Path, backup: &Path, now: DateTime<Utc>) -> Result<Recovered> {
    let contents = backup_format::inspect(backup)?;
    data_dir::create_private_dir(data_dir)?;
    private::close_to_others(data_dir);
    let _lock = data_dir::lock(data_dir)?;
    let building = data_dir::start_building(data_dir)?;
    let built = build(data_dir, &building, backup, &contents);
    let rows = match built {
        Ok(rows) => rows,
        Err(error) => {
            data_dir::remove_dir(&building)?;
            return Err(error);
        }
    };
    let kept = data_dir::take_place(data_dir, now)?;
    Ok(Recovered { head: contents.head, rows, kept })
}

fn build(data_dir: &Path, building: &Path, backup: &Path, contents: &Contents) -> Result<u64> {
    // Never behind what the former store had come to: its checkpoint must not be mistaken for this one's.
    let former = surely(|| data_dir::checkpoint(&data_dir::store_dir(data_dir)))?
        .map_or(0, |checkpoint| checkpoint.noted().generation);
    Checkpoint::create(building, Mark::default())?;
    let (db, ()) = SledDb::open(building, |_| Ok(()))?;
    let (mut read, mut written) = (Sums::default(), Sums::default());
    let (mut batch, mut bytes) = (Vec::new(), 0);
    backup_format::read(backup, |key, value| {
        read.add(key, value);
        let value = if key.first() == Some(&b'd') { needs_inventory(value)? } else { value.to_vec() };
        written.add(key, &value);
        bytes += value.len();
        batch.push((key.to_vec(), Some(value)));
        if batch.len() >= RECORDS_PER_BATCH || bytes >= BYTES_PER_BATCH {
            bytes = 0;
            db.apply(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    if contents.meta.schema == SCHEMA && read != contents.meta.sums {
        return Err(Error::Backup(format!("{}: this backup does not hold every record", backup.display())));
    }
    let generation = contents.meta.generation.max(former) + 1;
    let meta = Meta { schema: SCHEMA, sums: written, generation, ..contents.meta.clone() };
    batch.push((b"m".to_vec(), Some(codec::encode_json(&meta)?)));
    db.apply(batch)?;
    drop(db);
    let store = Store::at(data_dir, building)?;
    store.prove()?;
    store.sync()?;
    Ok(meta.rows)
}

/// The state of a destination that does not know any more what is there.
fn needs_inventory(value: &[u8]) -> Result<Vec<u8>> {
    let mut state: DestinationState = codec::decode_json(value)?;
    state.needs_inventory = true;
    Ok(codec::encode_json(&state)?)
}
