//! Keeps the data directory to its owner. Files that an earlier release, or somebody's umask, left readable or writable
//! for others are closed to them at the next start; a file that cannot be closed brings a warning. Links are never
//! followed, and files of other users are not touched.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, RawMode, Stat, fstat, openat};

/// Files that others have no business with.
const OTHERS: RawMode = 0o077;

/// Folders within folders: what lies deeper was not made by this program.
const DEEPEST: usize = 4;

/// Names in the data directory that this program gives, or begins names with.
const OURS: [&str; 9] =
    ["FORMAT", "backups", "control.sock", "high-water", "http-token", "lock", "logins", "store", "told-at-start"];

/// Closes the data directory and what this program keeps in it to everybody else.
pub fn close_to_others(data_dir: &Path) {
    if let Err(error) = close(data_dir) {
        tracing::warn!("cannot see who may read {}: {error}", data_dir.display());
    }
}

fn close(data_dir: &Path) -> io::Result<()> {
    // The directory itself may be a link: the owner, or systemd, has laid it elsewhere.
    let dir = openat(CWD, data_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&dir)?;
    let mut strangers = false;
    for name in names(&dir)? {
        match is_ours(&name) {
            true => close_entry(&dir, &name, &stat, DEEPEST)?,
            false => strangers = true,
        }
    }
    let shown = data_dir.display();
    match stat.st_mode & OTHERS {
        0 => {}
        _ if strangers => {
            tracing::warn!(
                "others can look into {shown}, where more than bankfeed's data lies; give bankfeed a directory of its own, or `chmod 700 {shown}`"
            );
        }
        _ => match restrict(&dir, &stat) {
            Ok(()) => tracing::info!("{shown} is closed to others now"),
            Err(error) => tracing::warn!("others can look into {shown} ({error}); `chmod 700 {shown}`"),
        },
    }
    Ok(())
}

fn is_ours(name: &CStr) -> bool {
    OURS.iter().any(|ours| name.to_bytes().starts_with(ours.as_bytes()))
}

/// Names in a directory.
fn names(dir: &OwnedFd) -> io::Result<Vec<CString>> {
    let readable = openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(readable)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Closes one entry, and what is in it.
fn close_entry(dir: &OwnedFd, name: &CStr, owner: &Stat, deep: usize) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = match openat(dir, name, flags, Mode::empty()) {
        // Gone meanwhile: another command was at work.
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        entry => entry?,
    };
    let stat = fstat(&entry)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let is_known = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Socket);
    // Under a second name it may be anybody's.
    let is_only_here = kind == FileType::Directory || stat.st_nlink == 1;
    if !is_known || !is_only_here || stat.st_uid != owner.st_uid {
        return Ok(());
    }
    if stat.st_mode & OTHERS != 0
        && let Err(error) = restrict(&entry, &stat)
    {
        let name = name.to_string_lossy();
        tracing::warn!("others can read {name} in the data directory ({error}); `chmod go= {name}` there");
    }
    if kind == FileType::Directory && deep > 0 {
        for name in names(&entry)? {
            close_entry(&entry, &name, owner, deep - 1)?;
        }
    }
    Ok(())
}

/// Takes away what others may do. By descriptor: a name may lead somewhere else by now.
fn restrict(entry: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", entry.as_fd().as_raw_fd());
    let mode = Mode::from_raw_mode(stat.st_mode & !OTHERS);
    Ok(rustix::fs::chmod(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())), mode)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn make(path: &Path, mode: u32) {
        fs::write(path, "x").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_could_read_is_closed_and_links_lead_nowhere() {
        let here = tempfile::tempdir().unwrap();
        let (data, outside) = (here.path().join("data"), here.path().join("outside"));
        for folder in [&data, &data.join("store"), &data.join("backups"), &data.join("store/blobs")] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        let files = ["lock", "http-token", "FORMAT", "store/db", "store/blobs/1", "backups/last-good.bankfeed"];
        files.iter().for_each(|file| make(&data.join(file), 0o664));
        make(&outside, 0o644);
        symlink(&outside, data.join("told-at-start")).unwrap();
        fs::hard_link(&outside, data.join("high-water")).unwrap();
        close_to_others(&data);
        files.iter().for_each(|file| assert_eq!(mode(&data.join(file)), 0o600, "{file}"));
        ["", "store", "backups", "store/blobs"]
            .iter()
            .for_each(|dir| assert_eq!(mode(&data.join(dir)), 0o700, "{dir}"));
        assert_eq!(mode(&outside), 0o644, "neither a link nor a second name is a way out");
    }

    #[test]
    fn a_directory_that_holds_more_than_ours_is_left_to_its_owner() {
        let here = tempfile::tempdir().unwrap();
        fs::set_permissions(here.path(), Permissions::from_mode(0o755)).unwrap();
        make(&here.path().join("letter.txt"), 0o644);
        make(&here.path().join("http-token"), 0o644);
        close_to_others(here.path());
        assert_eq!((mode(here.path()), mode(&here.path().join("letter.txt"))), (0o755, 0o644));
        assert_eq!(mode(&here.path().join("http-token")), 0o600);
    }
}
