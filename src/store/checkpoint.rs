//! A small file beside the database that says how far the store had come when it last acknowledged something. A
//! database that lost its tail looks like a younger one; this tells the two apart.
//!
//! Two places are written in turn, each in a block of its own, so that a power cut in the middle of a write leaves the
//! other; a torn note was never acknowledged. The file never grows, so it can be written on a full disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Error, Result};
use crate::files;

/// Name inside the store's directory.
pub const NAME: &str = "witness";

/// Distance of the two places: disks write blocks of up to this size at once.
const BLOCK: usize = 4096;

const MAGIC: &[u8; 8] = b"bankfeed";

/// The progress that is noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Durable writes so far.
    pub generation: u64,
    /// Last change given out, for the owner's eyes.
    pub last_seq: u64,
}

/// The open file.
pub struct Checkpoint {
    file: File,
    noted: Mark,
    next: usize,
}

impl Checkpoint {
    /// Makes the file.
    pub fn create(dir: &Path, noted: Mark) -> Result<Checkpoint> {
        let file = files::open_own(&dir.join(NAME))?;
        file.set_len(0)?;
        file.write_all_at(&[0; 2 * BLOCK], 0)?;
        let mut checkpoint = Checkpoint { file, noted, next: 0 };
        checkpoint.write(noted)?;
        checkpoint.file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(checkpoint)
    }

    /// Opens the file; `None`: there is none.
    pub fn open(dir: &Path) -> Result<Option<Checkpoint>> {
        let file = match OpenOptions::new().read(true).write(true).open(dir.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let (newest, noted) = match [read_slot(&file, 0)?, read_slot(&file, 1)?] {
            [Some(first), Some(second)] if first > second => (0, first),
            [_, Some(second)] => (1, second),
            [Some(first), None] => (0, first),
            [None, None] => return Err(Error::Damaged(format!("the file {NAME} in it is unreadable"))),
        };
        Ok(Some(Checkpoint { file, noted, next: 1 - newest }))
    }

    /// The last mark.
    pub fn noted(&self) -> Mark {
        self.noted
    }

    /// Notes this durably.
    pub fn note(&mut self, noted: Mark) -> Result<()> {
        if noted != self.noted {
            self.write(noted)?;
            self.noted = noted;
        }
        Ok(())
    }

    fn write(&mut self, noted: Mark) -> Result<()> {
        self.file.write_all_at(&encode(noted), (self.next * BLOCK) as u64)?;
        self.file.sync_data()?;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn encode(noted: Mark) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&noted.generation.to_le_bytes());
    bytes[16..24].copy_from_slice(&noted.last_seq.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// `None`: torn, or never written.
fn read_slot(file: &File, slot: usize) -> Result<Option<Mark>> {
    let mut bytes = [0; 28];
    match file.read_exact_at(&mut bytes, (slot * BLOCK) as u64) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let word = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    let noted = Mark { generation: word(8), last_seq: word(16) };
    Ok((encode(noted) == bytes).then_some(noted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_note_counts_and_a_torn_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let noted = |n| Mark { generation: n, last_seq: n * 10 };
        let mut checkpoint = Checkpoint::create(dir.path(), noted(0)).unwrap();
        for n in 1..6 {
            checkpoint.note(noted(n)).unwrap();
            assert_eq!(Checkpoint::open(dir.path()).unwrap().unwrap().noted(), noted(n));
        }
        let whole = std::fs::read(dir.path().join(NAME)).unwrap();
        checkpoint.note(noted(6)).unwrap();
        let next = std::fs::read(dir.path().join(NAME)).unwrap();
        for cut in 0..28 {
            let at = (0..next.len()).find(|at| next[*at] != whole[*at]).unwrap() / BLOCK * BLOCK;
            let mut torn = whole.clone();
            torn[at..at + cut].copy_from_slice(&next[at..at + cut]);
            std::fs::write(dir.path().join(NAME), &torn).unwrap();
            let found = Checkpoint::open(dir.path()).unwrap().unwrap().noted();
            assert!([noted(5), noted(6)].contains(&found), "cut at {cut}: {found:?}");
        }
        std::fs::write(dir.path().join(NAME), [0; 2 * BLOCK]).unwrap();
        assert!(matches!(Checkpoint::open(dir.path()), Err(Error::Damaged(_))));
    }
}
