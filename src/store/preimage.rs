//! The files that sled may change while it opens, as they were before. sled takes a read that failed for the end of its log and wipes
//! what follows; so an opening that is not known to have gone well is undone.
//!
//! sled keeps everything in a log of segments, each with its place in the log (LSN) in its head. Opening reads the log
//! from the snapshot on, and only there may it find an end: what lies before is held by the snapshot and stays.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::sled_db::{LOCK_PATIENCE, PAUSE};
use super::{Error, Result, data_dir};
use crate::files;

/// Length of sled's segments, and of their heads.
const SEGMENT_BYTES: u64 = 512 * 1024;
const HEAD_BYTES: usize = 20;

/// Part of the log held in memory at most. [`super::disk`] keeps what follows a snapshot far below; a larger part, of a
/// log that lost its snapshot, is opened as it is.
const MOST_BYTES: u64 = 192 * 1024 * 1024;

/// Tries to undo an opening: whatever hinders it may pass.
const TRIES: u32 = 3;

/// The files of a database that opening may change.
pub struct Preimage {
    dir: PathBuf,
    log: Option<Log>,
    /// Every small file, by its path below the directory.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// The part of the log that follows the snapshot.
struct Log {
    length: u64,
    segments: Vec<(u64, Vec<u8>)>,
}

impl Preimage {
    /// Reads everything that opening will read of the log. No other process has the database open.
    pub fn read(dir: &Path) -> Result<Preimage> {
        let mut files = BTreeMap::new();
        let mut since = 0;
        for name in names(dir)? {
            if let Some(lsn) = name.strip_prefix("snap.").and_then(|lsn| i64::from_str_radix(lsn, 16).ok()) {
                since = since.max(lsn);
                files.insert(PathBuf::from(&name), content(&dir.join(&name))?);
            } else if name == "conf" {
                files.insert(PathBuf::from(&name), content(&dir.join(&name))?);
            }
        }
        since -= since % SEGMENT_BYTES as i64;
        for name in names(&dir.join("blobs"))? {
            if name.parse::<i64>().is_ok_and(|lsn| lsn >= since) {
                let path = Path::new("blobs").join(name);
                files.insert(path.clone(), content(&dir.join(path))?);
            }
        }
        let log = match alone(&dir.join("db"))? {
            Some(file) => Some(Log::read(&file, since)?),
            None => None,
        };
        Ok(Preimage { dir: dir.to_owned(), log, files })
    }

    /// Makes the files what they were.
    pub fn put_back(&self) -> Result<()> {
        self.surely(false)
    }

    /// Writes everything once more: after a write that failed, what is read may be in the system's memory only.
    pub fn rewrite(&self) -> Result<()> {
        self.surely(true)
    }

    fn surely(&self, all: bool) -> Result<()> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.write(all) {
                Err(Error::Io(_)) if tried < TRIES => std::thread::sleep(PAUSE),
                Err(Error::InUse(_)) => return Err(Error::Io("it is still in use after a failure".into())),
                written => return written,
            }
        }
    }

    fn write(&self, all: bool) -> Result<()> {
        let path = self.dir.join("db");
        match (&self.log, alone(&path)?) {
            (Some(log), Some(file)) => log.write(&file, all)?,
            (Some(_), None) => return Err(Error::Io(format!("{} is gone", path.display()))),
            (None, Some(_)) => fs::remove_file(&path)?,
            (None, None) => {}
        }
        for name in names(&self.dir)? {
            let is_ours = name.starts_with("snap.") || name == "conf";
            if is_ours && !self.files.contains_key(Path::new(&name)) {
                fs::remove_file(self.dir.join(name))?;
            }
        }
        for (name, bytes) in &self.files {
            let path = self.dir.join(name);
            if all || !content(&path).is_ok_and(|found| found == *bytes) {
                self.replace(&path, bytes)?;
            }
        }
        data_dir::sync_dir(&self.dir)
    }

    /// Replaces a file so that there is the old one or the new one at every instant.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        // An unfinished one is removed with the unfinished snapshots.
        let temporary = self.dir.join("snap.generating");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut file = files::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        data_dir::keep_owner(&self.dir, &temporary)?;
        Ok(fs::rename(&temporary, path)?)
    }
}

impl Log {
    fn read(file: &File, since: i64) -> Result<Log> {
        let length = file.metadata()?.len();
        let (mut segments, mut bytes) = (Vec::new(), 0);
        let mut head = [0; HEAD_BYTES];
        for at in (0..length).step_by(SEGMENT_BYTES as usize) {
            let part = SEGMENT_BYTES.min(length - at);
            if part < HEAD_BYTES as u64 {
                continue;
            }
            file.read_exact_at(&mut head, at)?;
            if lsn(&head).is_some_and(|lsn| lsn >= since) && bytes < MOST_BYTES {
                let mut segment = vec![0; part as usize];
                file.read_exact_at(&mut segment, at)?;
                bytes += part;
                segments.push((at, segment));
            }
        }
        Ok(Log { length, segments })
    }

    fn write(&self, file: &File, all: bool) -> Result<()> {
        let mut present = Vec::new();
        for (at, segment) in &self.segments {
            present.resize(segment.len(), 0);
            let same = !all && file.read_exact_at(&mut present, *at).is_ok() && present == *segment;
            if !same {
                file.write_all_at(segment, *at)?;
            }
        }
        if file.metadata()?.len() != self.length {
            file.set_len(self.length)?;
        }
        Ok(file.sync_all()?)
    }
}

/// A segment's place in the log; none where it holds nothing.
fn lsn(head: &[u8; HEAD_BYTES]) -> Option<i64> {
    let lsn: [u8; 8] = head[4..12].try_into().ok()?;
    head.iter().any(|byte| *byte != 0).then(|| i64::from_le_bytes(lsn) ^ i64::MAX)
}

/// The file, once nobody has the database open any more; `None`: there is none.
fn alone(path: &Path) -> Result<Option<File>> {
    if !path.try_exists()? {
        return Ok(None);
    }
    let file = files::open_own(path)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_PATIENCE => {
                return Err(Error::InUse(path.display().to_string()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
        }
    }
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    files::read_own(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
