//! A backup becomes the store again. It is read and checked whole first; the new store is built beside the old one and
//! proven; only then it takes the old one's place, and the old one is kept.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::disk::{Disk, surely};
use super::portable::{self, Contents, Head};
use super::records::Sums;
use super::witness::{Noted, Witness};
use super::{DestinationState, Error, Meta, Result, SCHEMA, Store, codec, place, private};

/// Records per batch of writes, and bytes.
const RECORDS_PER_BATCH: usize = 1000;
const BYTES_PER_BATCH: usize = 4 * 1024 * 1024;

/// What a recovery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Head of the backup.
    pub head: Head,
    /// Transactions there are now.
    pub rows: u64,
    /// Where the former store is kept.
    pub kept: Option<PathBuf>,
}

/// Puts the store of a backup in the place of the one in this data directory, whatever state that is in. Rows that
/// were delivered after the backup was made must not arrive twice, so every destination will be asked what is there
/// before anything is appended.
pub fn recover(data_dir: &Path, backup: &Path, now: DateTime<Utc>) -> Result<Recovered> {
    let contents = portable::inspect(backup)?;
    place::create_private_dir(data_dir)?;
    private::close_to_others(data_dir);
    let _lock = place::lock(data_dir)?;
    let building = place::start_building(data_dir)?;
    let built = build(data_dir, &building, backup, &contents);
    let rows = match built {
        Ok(rows) => rows,
        Err(error) => {
            place::remove_dir(&building)?;
            return Err(error);
        }
    };
    let kept = place::take_place(data_dir, now)?;
    Ok(Recovered { head: contents.head, rows, kept })
}

fn build(data_dir: &Path, building: &Path, backup: &Path, contents: &Contents) -> Result<u64> {
    // Never behind what the former store had come to: its witness must not be mistaken for this one's.
    let former =
        surely(|| place::witness(&place::store_dir(data_dir)))?.map_or(0, |witness| witness.noted().generation);
    Witness::create(building, Noted::default())?;
    let (disk, ()) = Disk::open(building, |_| Ok(()))?;
    let (mut read, mut written) = (Sums::default(), Sums::default());
    let (mut batch, mut bytes) = (Vec::new(), 0);
    portable::read(backup, |key, value| {
        read.add(key, value);
        let value = if key.first() == Some(&b'd') { needs_inventory(value)? } else { value.to_vec() };
        written.add(key, &value);
        bytes += value.len();
        batch.push((key.to_vec(), Some(value)));
        if batch.len() >= RECORDS_PER_BATCH || bytes >= BYTES_PER_BATCH {
            bytes = 0;
            disk.apply(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    if contents.meta.schema == SCHEMA && read != contents.meta.sums {
        return Err(Error::Backup(format!("{}: this backup does not hold every record", backup.display())));
    }
    let generation = contents.meta.generation.max(former) + 1;
    let meta = Meta { schema: SCHEMA, sums: written, generation, ..contents.meta.clone() };
    batch.push((b"m".to_vec(), Some(codec::encode_json(&meta)?)));
    disk.apply(batch)?;
    drop(disk);
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
