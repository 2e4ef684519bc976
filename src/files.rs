//! Files that hold secrets or money: made for their owner alone, whole or not at all, and never through a link that
//! somebody else has planted in a directory of the program's.
//!
//! [`OutputFile`] is for files that a person names on the command line; there a link is the person's own and is
//! followed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Links followed from the name that a person gave to the file it means; as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Makes a file that its owner alone may read. A name that is taken, be it by a dangling link, is an error.
pub fn create_new(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file of the program's own for reading and writing, made if it is missing; a link of that name is an error.
pub fn open_own(path: &Path) -> io::Result<File> {
    let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    no_follow(options, path)
}

/// Opens a file of the program's own for reading; a link of that name is an error.
pub fn read_own(path: &Path) -> io::Result<File> {
    no_follow(File::options().read(true).clone(), path)
}

fn no_follow(mut options: fs::OpenOptions, path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    options.custom_flags(flags).open(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            io::Error::other("is a symbolic link, which bankfeed does not make; remove it")
        }
        _ => error,
    })
}

/// Writes a file that its owner alone may read, whole or not at all. A link of that name is replaced, not followed.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let draft = part_beside(path);
    let written = (|| {
        let mut file = create_new(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_file(&draft));
    }
    written
}

/// The output file of a command, under a name given by a person. The older file stays untouched until
/// [`OutputFile::finish`]; a link stays a link, a pipe or terminal gets the bytes, and only plain files are replaced.
pub struct OutputFile {
    staged: BufWriter<File>,
    staged_path: PathBuf,
    to: To,
}

/// The target of a finished file.
enum To {
    /// A name in the same directory.
    Name(PathBuf),
    /// A pipe, a terminal or another stream, by this name.
    Stream(PathBuf),
}

impl OutputFile {
    /// Begins the file. A directory and a block device are refused.
    pub fn create(path: &Path) -> io::Result<OutputFile> {
        let begin = || {
            let to = destination(path)?;
            let staged_path = match &to {
                To::Name(path) => part_beside(path),
                To::Stream(_) => part_beside(&std::env::temp_dir().join("output")),
            };
            let staged = BufWriter::new(create_new(&staged_path)?);
            Ok(OutputFile { staged, staged_path, to })
        };
        begin().map_err(|error: io::Error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })
    }

    /// The staged file, whole on the disk, so that the caller can check it before it gets its name.
    pub fn staged(&mut self) -> io::Result<&Path> {
        self.staged.flush()?;
        self.staged.get_ref().sync_all()?;
        Ok(&self.staged_path)
    }

    /// Gives the file its name, or the stream its bytes.
    pub fn finish(mut self) -> io::Result<()> {
        self.staged()?;
        match &self.to {
            To::Name(path) => {
                fs::rename(&self.staged_path, path)?;
                File::open(folder_of(path))?.sync_all()
            }
            To::Stream(path) => {
                let mut stream = File::options().append(true).open(path)?;
                io::copy(&mut File::open(&self.staged_path)?, &mut stream)?;
                stream.flush()
            }
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.staged.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.staged.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // A finished file has lost its staged name by the rename, so this removes only unfinished ones.
        drop(fs::remove_file(&self.staged_path));
    }
}

/// Follows the links of a name, one by one, so that the link itself is never replaced.
fn destination(path: &Path) -> io::Result<To> {
    let mut name = path.to_owned();
    for _ in 0..MAX_LINKS {
        let kind = match fs::symlink_metadata(&name) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(To::Name(name)),
            Err(error) => return Err(error),
        };
        if kind.is_file() {
            return Ok(To::Name(name));
        } else if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        } else if kind.is_block_device() {
            return Err(io::Error::other("it is a block device; name a file"));
        } else if kind.is_symlink() && !is_magic(&name) {
            name = folder_of(&name).join(fs::read_link(&name)?);
        } else {
            return Ok(To::Stream(name));
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// True for a link that stands for an open file of a process, as `/dev/stdout` does in the end: the link's text is no
/// path.
fn is_magic(link: &Path) -> bool {
    folder_of(link).canonicalize().is_ok_and(|folder| folder.starts_with("/proc"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An unforeseeable name in the same directory.
fn part_beside(path: &Path) -> PathBuf {
    folder_of(path).join(format!(".bankfeed-{:016x}.part", fastrand::u64(..)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn put(path: &Path, text: &str) -> io::Result<()> {
        let mut file = OutputFile::create(path)?;
        file.write_all(text.as_bytes())?;
        file.finish()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn links_stay_links_and_what_they_mean_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("there")).unwrap();
        fs::write(dir.path().join("there/old"), "old").unwrap();
        symlink("there/old", dir.path().join("one")).unwrap();
        symlink(dir.path().join("one"), dir.path().join("two")).unwrap();
        symlink("there/new", dir.path().join("dangling")).unwrap();
        for (name, file) in [("one", "there/old"), ("two", "there/old"), ("dangling", "there/new")] {
            put(&dir.path().join(name), name).unwrap();
            assert!(dir.path().join(name).is_symlink(), "{name}");
            let file = dir.path().join(file);
            assert_eq!(fs::read_to_string(&file).unwrap(), name);
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(names(&dir.path().join("there")), ["new", "old"], "no part is left");
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(put(&dir.path().join("loop"), "x").is_err());
        assert!(put(dir.path(), "x").unwrap_err().to_string().contains("directory"));
    }

    #[test]
    fn a_pipe_gets_the_bytes_and_stays_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        put(&pipe, "hello").unwrap();
        assert_eq!(reader.join().unwrap(), "hello");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        put(Path::new("/dev/null"), "nothing").unwrap();
        assert!(fs::symlink_metadata("/dev/null").unwrap().file_type().is_char_device());
        let open = File::create(dir.path().join("open")).unwrap();
        put(&PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open))), "through").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("open")).unwrap(), "through");
    }

    #[test]
    fn an_output_that_is_not_finished_leaves_the_older_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.csv");
        fs::write(&path, "older").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"half of").unwrap();
        drop(file);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(dir.path()).len()), ("older", 1));
    }

    #[test]
    fn own_files_are_never_reached_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        for target in ["outside", "nowhere"] {
            fs::write(&outside, "theirs").unwrap();
            let link = dir.path().join(format!("link-to-{target}"));
            symlink(target, &link).unwrap();
            assert!(create_new(&link).is_err() && open_own(&link).is_err(), "{target}");
            let why = read_own(&link).unwrap_err().to_string();
            assert_eq!(why, "is a symbolic link, which bankfeed does not make; remove it");
            write_private(&link, "ours").unwrap();
            assert!(!link.is_symlink() && fs::read_to_string(&link).unwrap() == "ours", "{target}");
            assert_eq!(fs::read_to_string(&outside).unwrap(), "theirs");
            assert!(!dir.path().join("nowhere").exists());
        }
    }
}
