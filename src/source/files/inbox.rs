//! The directory in which statement files lie: the files that are whole, and the way of a file into `done` or `rejected`.
//!
//! A file moves in one step and never onto another one, so a file is always either here or there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::content::Content;

/// The directory of files whose rows are stored.
pub const DONE: &str = "done";
/// The directory of files that were refused.
pub const REJECTED: &str = "rejected";

/// The time for which a file that changed lately is watched, and the pause between two looks.
const WATCHED: Duration = Duration::from_millis(900);
const PAUSE: Duration = Duration::from_millis(225);

/// A file that has not changed for this long is whole without being watched.
const LATELY: Duration = Duration::from_secs(5);

/// The most files of one name in a directory of read files.
const MOST_NAMESAKES: u32 = 100_000;

/// A file in the directory.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The name.
    pub name: OsString,
    /// The whole path.
    pub path: PathBuf,
    /// The length in bytes.
    pub size: u64,
    /// The time of the last change in nanoseconds.
    pub modified: i64,
    /// The time of the last change of the file or of its entry in the file system.
    changed: i64,
}

impl Candidate {
    fn new(directory: &Path, name: OsString) -> io::Result<Option<Candidate>> {
        let path = directory.join(&name);
        let found = match fs::metadata(&path) {
            Ok(found) => found,
            // The file was taken away meanwhile, or a link leads nowhere.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(found.is_file().then(|| Candidate {
            name,
            path,
            size: found.size(),
            modified: modified(&found),
            changed: modified(&found).max(nanos(found.ctime(), found.ctime_nsec())),
        }))
    }

    /// The name for people.
    pub fn shown(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// The present state of the file, if the file is there.
    fn again(&self) -> Option<Candidate> {
        Candidate::new(self.path.parent()?, self.name.clone()).ok().flatten()
    }

    /// True if the file is as it was.
    pub fn is_unchanged(&self) -> bool {
        self.again().is_some_and(|now| now.size == self.size && now.modified == self.modified)
    }

    fn changed_lately(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        self.changed > now.saturating_sub(i64::try_from(LATELY.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The content of the file, with its SHA-256; `Ok(None)`: the file is longer than is ever read.
    pub fn read(&self) -> io::Result<Option<(Content, String)>> {
        Content::read(File::open(&self.path)?)
    }
}

fn modified(found: &Metadata) -> i64 {
    nanos(found.mtime(), found.mtime_nsec())
}

fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// True for a name of a file that is meant to be read: not hidden, and no download that goes on.
pub fn is_wanted(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !name.starts_with('.') && !name.ends_with('~') && !is_partial(&name)
}

fn is_partial(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("part" | "crdownload" | "tmp" | "partial" | "download"))
}

/// The files in a directory, by name.
pub fn list(directory: &Path) -> io::Result<Vec<Candidate>> {
    let (mut found, mut downloads) = (Vec::new(), false);
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        downloads |= is_partial(&name.to_string_lossy());
        if is_wanted(&name) {
            found.extend(Candidate::new(directory, name)?);
        }
    }
    // A browser keeps the place of a download with an empty file of the final name.
    found.retain(|candidate| candidate.size > 0 || !downloads);
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The files that do not change while they are watched, and the number of the others. Only files that changed lately are
/// watched.
pub async fn whole(mut found: Vec<Candidate>) -> (Vec<Candidate>, usize) {
    let before = found.len();
    let mut watched = Duration::ZERO;
    while watched < WATCHED && found.iter().any(Candidate::changed_lately) {
        tokio::time::sleep(PAUSE).await;
        watched += PAUSE;
        found.retain(|candidate| !candidate.changed_lately() || candidate.is_unchanged());
    }
    let growing = before - found.len();
    (found, growing)
}

/// Moves a file whose rows are stored into `done`.
pub fn put_away(candidate: &Candidate) -> io::Result<()> {
    let folder = beside(candidate, DONE)?;
    for number in 1..MOST_NAMESAKES {
        if move_to(&candidate.path, &folder.join(numbered(&candidate.name, number)))? {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("{} holds too many files of this name", folder.display())))
}

/// Moves a refused file into `rejected`, with a text beside it. Returns the new path.
pub fn reject(candidate: &Candidate, reason: &str) -> io::Result<PathBuf> {
    let folder = beside(candidate, REJECTED)?;
    for number in 1..MOST_NAMESAKES {
        let name = numbered(&candidate.name, number);
        let path = folder.join(&name);
        let mut text = name;
        text.push(".txt");
        let text = folder.join(text);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        let mut file = match File::options().write(true).create_new(true).open(&text) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        file.write_all(reason.as_bytes())?;
        match move_to(&candidate.path, &path) {
            Ok(true) => return Ok(path),
            moved => {
                drop(fs::remove_file(&text));
                moved?;
            }
        }
    }
    Err(io::Error::other(format!("{} holds too many files of this name", folder.display())))
}

/// A directory beside the file, made if it is missing.
fn beside(candidate: &Candidate, name: &str) -> io::Result<PathBuf> {
    let folder = candidate.path.parent().unwrap_or(Path::new(".")).join(name);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(folder),
    }
}

/// `statement.csv`, `statement-2.csv` and so on.
fn numbered(name: &OsStr, number: u32) -> OsString {
    if number == 1 {
        return name.to_owned();
    }
    let path = Path::new(name);
    let mut numbered = path.file_stem().unwrap_or(name).to_owned();
    numbered.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        numbered.push(".");
        numbered.push(extension);
    }
    numbered
}

/// Moves a file; `false`: the name is taken.
fn move_to(from: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(true),
        Err(rustix::io::Errno::EXIST) => return Ok(false),
        // Not every file system can do so.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {}
        Err(error) => return Err(error.into()),
    }
    if to.symlink_metadata().is_ok() {
        return Ok(false);
    }
    fs::rename(from, to).map(|()| true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        list(directory).unwrap().iter().map(Candidate::shown).collect()
    }

    #[test]
    fn hidden_files_downloads_and_folders_are_passed_over() {
        let inbox = tempfile::tempdir().unwrap();
        for name in ["b.csv", "A.STA", ".hidden.csv", "c.csv.part", "d.csv.crdownload", "e.tmp", "f.csv~"] {
            fs::write(inbox.path().join(name), "x").unwrap();
        }
        fs::create_dir(inbox.path().join("done")).unwrap();
        std::os::unix::fs::symlink("nowhere", inbox.path().join("link.csv")).unwrap();
        assert_eq!(names(inbox.path()), ["A.STA", "b.csv"]);
        // The empty file keeps the place of a download.
        fs::write(inbox.path().join("c.csv"), "").unwrap();
        assert_eq!(names(inbox.path()), ["A.STA", "b.csv"]);
        fs::remove_file(inbox.path().join("c.csv.part")).unwrap();
        fs::remove_file(inbox.path().join("d.csv.crdownload")).unwrap();
        fs::remove_file(inbox.path().join("e.tmp")).unwrap();
        assert_eq!(names(inbox.path()), ["A.STA", "b.csv", "c.csv"]);
    }

    #[test]
    fn no_file_is_ever_overwritten() {
        let inbox = tempfile::tempdir().unwrap();
        let drop_file = |name: &str, text: &str| {
            fs::write(inbox.path().join(name), text).unwrap();
            list(inbox.path()).unwrap().into_iter().find(|candidate| candidate.name == name).unwrap()
        };
        for text in ["one", "two", "three"] {
            put_away(&drop_file("a.b.csv", text)).unwrap();
        }
        for text in ["four", "five"] {
            reject(&drop_file("a", text), &format!("no {text}")).unwrap();
        }
        let read = |name: &str| fs::read_to_string(inbox.path().join(name)).unwrap();
        assert_eq!([read("done/a.b.csv"), read("done/a.b-2.csv"), read("done/a.b-3.csv")], ["one", "two", "three"]);
        assert_eq!([read("rejected/a"), read("rejected/a-2")], ["four", "five"]);
        assert_eq!([read("rejected/a.txt"), read("rejected/a-2.txt")], ["no four", "no five"]);
        assert_eq!(names(inbox.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_file_that_grows_waits_for_the_next_look() {
        let inbox = tempfile::tempdir().unwrap();
        let (still, grows) = (inbox.path().join("still.csv"), inbox.path().join("grows.csv"));
        fs::write(&still, "x").unwrap();
        fs::write(&grows, "x").unwrap();
        let found = list(inbox.path()).unwrap();
        let writer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            fs::write(&grows, "xx").unwrap();
        });
        let (found, growing) = whole(found).await;
        writer.await.unwrap();
        assert_eq!((found.len(), growing), (1, 1));
        assert_eq!(found[0].name, "still.csv");
    }
}
