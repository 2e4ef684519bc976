//! The files of the data directory, who owns them, and how one store takes the place of another.
//!
//! ```text
//! data_dir/FORMAT             what this is; says that there must be a store
//! data_dir/lock               held by the process that owns the store
//! data_dir/store/             the database and its checkpoint
//! data_dir/store.building/    a store in the making; worth nothing
//! data_dir/store.new/         a whole store on its way into its place: a start that finds no store takes it
//! data_dir/store.damaged-*/   stores that another took the place of; never touched again
//! data_dir/backups/           the last good backups
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Mark};
use super::sled_db::LOCK_PATIENCE;
use super::{Error, Result};
use crate::files;

const FORMAT: &str = "bankfeed store 2\n";
const FORMAT_1: &str = "bankfeed store 1\n";

/// The kind of store that lies in the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A store of this release.
    Present,
    /// A store of the first format, to be migrated.
    Former,
}

/// Directory of the store.
pub fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// Directory in which another store is built.
pub fn building_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store.building")
}

fn new_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store.new")
}

/// Makes a directory that only its owner can read.
pub fn create_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| in_path(dir, error))
}

/// Makes this process the owner of the data directory for as long as the file stays open. The kernel lets go of it the
/// moment the process ends, however it ends.
pub fn lock(data_dir: &Path) -> Result<File> {
    refuse_planted_links(data_dir)?;
    let path = data_dir.join("lock");
    let file = files::open_own(&path).map_err(|error| in_path(&path, error))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(in_path(&path, error)),
            Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_PATIENCE => {
                return Err(Error::InUse(data_dir.display().to_string()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Sees to it that there is a store to open, and refuses a directory that holds something else: sled would open it as
/// an empty database, and everything would be delivered again.
pub fn prepare(data_dir: &Path) -> Result<Found> {
    let (store, new) = (store_dir(data_dir), new_dir(data_dir));
    let exists = store.try_exists()?;
    if !exists && new.try_exists()? {
        // A power cut in the middle of `take_place`.
        fs::rename(&new, &store)?;
        sync_dir(data_dir)?;
    }
    let exists = store.try_exists()?;
    let path = data_dir.join("FORMAT");
    match fs::read_to_string(&path) {
        Ok(text) if text == FORMAT || text == FORMAT_1 => {
            if !exists {
                return Err(Error::Damaged(format!("its folder {} is gone", store.display())));
            }
            Ok(if text == FORMAT { Found::Present } else { Found::Former })
        }
        Ok(text) if text.starts_with("bankfeed store ") && text.len() < 30 => Err(Error::Foreign(format!(
            "{}: written by another release of bankfeed; install that release",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !exists => {
            create(data_dir)?;
            Ok(Found::Present)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_unused(&store)? => {
            mark(data_dir)?;
            Ok(Found::Present)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::Damaged(format!("{} is missing beside a store", path.display())))
        }
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(in_path(&path, error)),
        _ if is_ours(&store)? => Err(Error::Damaged(format!("the file {} is garbled", path.display()))),
        _ => Err(Error::Foreign(format!("{}: not bankfeed's; choose another data_dir", path.display()))),
    }
}

/// Says in the data directory that there must be a store of this format from now on.
pub fn mark(data_dir: &Path) -> Result<()> {
    write_whole(data_dir, "FORMAT", FORMAT)
}

/// A new store: its directory comes into being whole, and only then is it said that there must be one.
fn create(data_dir: &Path) -> Result<()> {
    let building = start_building(data_dir)?;
    Checkpoint::create(&building, Mark::default())?;
    fs::rename(&building, store_dir(data_dir))?;
    sync_dir(data_dir)?;
    mark(data_dir)
}

/// An empty directory to build a store in.
pub fn start_building(data_dir: &Path) -> Result<PathBuf> {
    let building = building_dir(data_dir);
    remove_dir(&building)?;
    create_private_dir(&building)?;
    Ok(building)
}

/// Made by [`create`] and not written to since.
fn is_unused(store: &Path) -> Result<bool> {
    let noted = checkpoint(store)?.map(|checkpoint| checkpoint.noted());
    Ok(noted == Some(Mark::default()) && !store.join("db").try_exists()?)
}

/// Holds a checkpoint, so it was made by this program.
fn is_ours(store: &Path) -> Result<bool> {
    Ok(checkpoint(store)?.is_some())
}

/// The checkpoint of a store; a garbled one counts as none.
pub fn checkpoint(store: &Path) -> Result<Option<Checkpoint>> {
    match Checkpoint::open(store) {
        Err(Error::Damaged(_)) => Ok(None),
        found => found,
    }
}

/// Puts the store that was built into its place. The former store is kept beside it, and its new path returned. At no
/// instant is there less than before: a power cut leaves the old one in its place or the new one ready to take it.
pub fn take_place(data_dir: &Path, at: chrono::DateTime<chrono::Utc>) -> Result<Option<PathBuf>> {
    let (store, new) = (store_dir(data_dir), new_dir(data_dir));
    keep_owner(data_dir, &building_dir(data_dir))?;
    remove_dir(&new)?;
    fs::rename(building_dir(data_dir), &new)?;
    sync_dir(data_dir)?;
    let mut kept = None;
    if store.try_exists()? {
        let stamp = at.format("%Y%m%dT%H%M%SZ");
        let free = (0..).map(|n| match n {
            0 => data_dir.join(format!("store.damaged-{stamp}")),
            n => data_dir.join(format!("store.damaged-{stamp}-{n}")),
        });
        let aside = free.into_iter().find(|path| !path.exists());
        let aside = aside.ok_or_else(|| Error::Io("no name is left to keep the old store under".into()))?;
        fs::rename(&store, &aside)?;
        kept = Some(aside);
    }
    fs::rename(&new, &store)?;
    mark(data_dir)?;
    keep_owner(data_dir, &data_dir.join("FORMAT"))?;
    Ok(kept)
}

/// Files made by root in somebody else's data directory must stay that somebody's: the service runs as its own user.
/// Only what this process has made changes hands; a link changes hands itself, never the file it names.
pub fn keep_owner(data_dir: &Path, path: &Path) -> Result<()> {
    let owner = fs::metadata(data_dir)?;
    let own = rustix::process::geteuid().as_raw();
    if owner.uid() == own {
        return Ok(());
    }
    let present = fs::symlink_metadata(path)?;
    if present.uid() == own && (present.is_dir() || present.nlink() == 1) {
        std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid())).map_err(|error| in_path(path, error))?;
    }
    if present.is_dir() {
        for entry in fs::read_dir(path)? {
            keep_owner(data_dir, &entry?.path())?;
        }
    }
    Ok(())
}

/// Refuses symbolic links in a data directory of somebody else's: whoever runs the service could lead root, which may
/// write everywhere, out of the directory with them.
fn refuse_planted_links(data_dir: &Path) -> Result<()> {
    let is_another_s = fs::metadata(data_dir).is_ok_and(|dir| dir.uid() != rustix::process::geteuid().as_raw());
    if is_another_s { find_links(data_dir) } else { Ok(()) }
}

fn find_links(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|error| in_path(dir, error))? {
        let entry = entry.map_err(|error| in_path(dir, error))?;
        let kind = entry.file_type().map_err(|error| in_path(&entry.path(), error))?;
        if kind.is_symlink() {
            return Err(Error::Foreign(format!(
                "{}: a symbolic link in a data directory of another user's; remove it, or run this command as that user",
                entry.path().display()
            )));
        } else if kind.is_dir() {
            find_links(&entry.path())?;
        }
    }
    Ok(())
}

/// Replaces a small file so that a power cut leaves the old or the new one.
fn write_whole(dir: &Path, name: &str, text: &str) -> Result<()> {
    Ok(files::write_private(&dir.join(name), text)?)
}

/// Makes names in this directory survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<()> {
    Ok(File::open(dir)?.sync_all()?)
}

/// Removes a directory that is worth nothing; there may be none.
pub fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(in_path(dir, error)),
        _ => Ok(()),
    }
}

fn in_path(path: &Path, error: io::Error) -> Error {
    match error.into() {
        Error::Io(what) => Error::Io(format!("{}: {what}", path.display())),
        other => other,
    }
}
