//! A power cut at every point: whatever part of the writes since the last acknowledgement reached the disk, the store
//! opens with everything that was acknowledged, or is refused by name. The store is never silently shorter.
//!
//! After a cut a disk holds the state at the last acknowledgement plus any part of the later writes, in sectors of 512
//! bytes; a file that grew may have either length, and a new one may be missing.

use super::*;

const SECTOR: usize = 512;

/// A state of the disk, and what the store had acknowledged by then.
struct Point {
    disk: Image,
    generation: u64,
    contents: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A write of a store at work, acknowledged when it returns.
fn work(store: &Store, rng: &mut fastrand::Rng, round: u32) {
    if rng.u8(..3) == 0 {
        let mut writer = store.writer();
        for n in 0..rng.u32(1..30) {
            writer.add(0, row(round * 100 + n, 1 + round % 28, "-1")).unwrap();
        }
        writer.commit().unwrap();
        store.sync().unwrap();
    } else {
        let mut state = store.destination("household", "sheet").unwrap();
        state.watermark += 1;
        // Large enough that the log turns round and reuses what it has freed.
        state.set_connector(&std::iter::repeat_with(|| rng.u8(..)).take(60_000).collect::<Vec<_>>());
        store.put_destination("household", "sheet", &state).unwrap();
    }
}

fn point(dir: &Path, store: &Store) -> Point {
    Point { disk: image(dir), generation: store.meta().generation, contents: contents(store) }
}

/// Sectors that differ, by file.
fn written(before: &Image, after: &Image) -> Vec<(PathBuf, usize)> {
    let mut sectors = Vec::new();
    for (name, new) in after {
        let old = before.get(name).map_or(&[][..], Vec::as_slice);
        let sector = |bytes: &'_ [u8], at: usize| bytes.get(at..bytes.len().min(at + SECTOR)).map(<[u8]>::to_vec);
        let changed = (0..new.len()).step_by(SECTOR).filter(|at| sector(old, *at) != sector(new, *at));
        sectors.extend(changed.map(|at| (name.clone(), at)));
    }
    sectors
}

/// The disk after a cut that let only these sectors through.
fn cut(before: &Image, after: &Image, through: &[(PathBuf, usize)], grown: bool) -> Image {
    let mut disk = before.clone();
    for (name, at) in through {
        let new = &after[name];
        let end = new.len().min(at + SECTOR);
        let file = disk.entry(name.clone()).or_default();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[*at..end].copy_from_slice(&new[*at..end]);
    }
    if grown {
        disk.iter_mut().for_each(|(name, file)| file.resize(after.get(name).map_or(0, Vec::len).max(file.len()), 0));
    }
    disk
}

/// Opens what a cut left. `true`: with everything; `false`: refused by name. Anything else is a failure.
fn opens_whole(disk: &Image, acknowledged: &Point, next: &Point, what: &str) -> bool {
    let dir = lay_out(disk);
    let store = match Store::open(dir.path()).and_then(|store| store.prove().map(|()| store)) {
        Ok(store) => store,
        Err(Error::Damaged(_)) => return false,
        Err(other) => panic!("{what}: {other}"),
    };
    let (found, generation) = (contents(&store), store.meta().generation);
    assert!(generation >= acknowledged.generation, "{what}: silently older");
    // A batch is there whole or not at all, so it is one of the two.
    assert!(found == acknowledged.contents || found == next.contents, "{what}: neither before nor after");
    true
}

/// Runs a store through `rounds` writes and gives the disk before and after each to `judge`.
fn at_work(seed: u64, rounds: u32, mut judge: impl FnMut(u32, &Point, &Point, &mut fastrand::Rng)) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1"), row(2, 4, "-2")]);
    let mut before = point(dir.path(), &store);
    for round in 1..=rounds {
        work(&store, &mut rng, round);
        let after = point(dir.path(), &store);
        judge(round, &before, &after, &mut rng);
        before = after;
    }
}

#[test]
fn a_cut_in_the_order_of_writing_always_leaves_a_store_that_opens() {
    at_work(1, 48, |round, before, after, rng| {
        if round % 6 != 0 {
            return;
        }
        let mut sectors = written(&before.disk, &after.disk);
        // The checkpoint is written only once the database is on the disk.
        sectors.sort_by_key(|(name, at)| (name.ends_with(checkpoint::NAME), name.clone(), *at));
        let some = [0, 1, 2, sectors.len() / 2, sectors.len() - 1, sectors.len(), rng.usize(..sectors.len())];
        for (through, grown) in some.into_iter().zip([true, false].into_iter().cycle()) {
            let what = format!("round {round}, {through} of {} sectors, grown: {grown}", sectors.len());
            let disk = cut(&before.disk, &after.disk, &sectors[..through.min(sectors.len())], grown);
            assert!(opens_whole(&disk, before, after, &what), "{what}: refused");
        }
    });
}

#[test]
fn a_cut_that_let_any_part_through_never_leaves_a_store_that_is_silently_older() {
    let seed = fastrand::u64(..);
    let mut opened = 0;
    at_work(seed, 60, |round, before, after, rng| {
        if round % 6 != 0 {
            return;
        }
        let mut sectors = written(&before.disk, &after.disk);
        sectors.retain(|(name, _)| !name.ends_with(checkpoint::NAME));
        for _ in 0..3 {
            rng.shuffle(&mut sectors);
            let through = rng.usize(..=sectors.len());
            let mut disk = cut(&before.disk, &after.disk, &sectors[..through], rng.bool());
            if rng.u8(..3) == 0 {
                disk.retain(|name, _| !name.to_string_lossy().contains("snap."));
            }
            let what = format!("seed {seed}, round {round}, {through} sectors");
            if !opens_whole(&disk, before, after, &what) {
                continue;
            }
            opened += 1;
            // The power fails again while the start after the first cut writes its snapshot.
            let dir = lay_out(&disk);
            drop(Store::open(dir.path()).unwrap());
            let started = image(dir.path());
            let mut sectors = written(&disk, &started);
            rng.shuffle(&mut sectors);
            let again = cut(&disk, &started, &sectors[..rng.usize(..=sectors.len())], rng.bool());
            opens_whole(&again, before, after, &format!("{what}, cut again"));
        }
    });
    assert!(opened > 0, "seed {seed}: none opened");
}

#[test]
fn a_lost_tail_is_noticed_wherever_it_begins_and_whether_or_not_there_is_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = filled(dir.path(), &[row(1, 3, "-1")]);
    let mut points = Vec::new();
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 1..=12 {
        if round % 5 == 0 {
            // A start writes a snapshot.
            drop(store);
            store = Store::open(dir.path()).unwrap();
        }
        work(&store, &mut rng, round);
        points.push(point(dir.path(), &store));
    }
    let last = points.last().unwrap();
    let mut refused = 0;
    for (at, earlier) in points.iter().enumerate() {
        for without_snapshot in [false, true] {
            // The database as it was earlier, beside the checkpoint of today: what a lost tail looks like.
            let mut disk = earlier.disk.clone();
            let checkpoint = Path::new("store").join(checkpoint::NAME);
            disk.insert(checkpoint.clone(), last.disk[&checkpoint].clone());
            disk.retain(|name, _| !(without_snapshot && name.to_string_lossy().contains("snap.")));
            let what = format!("as of write {at}, without snapshot: {without_snapshot}");
            let whole = opens_whole(&disk, last, last, &what);
            assert_eq!(whole, at + 1 == points.len(), "{what}");
            refused += u32::from(!whole);
        }
    }
    assert_eq!(refused, 22);
    // The tail of the file cut off, with and without a snapshot.
    let db = Path::new("store/db");
    let end = last.disk[db].iter().rposition(|byte| *byte != 0).unwrap();
    for (cut, without_snapshot) in (0..end).rev().step_by(4096).take(60).zip([false, true].into_iter().cycle()) {
        let mut disk = last.disk.clone();
        let file = disk.get_mut(db).unwrap();
        if cut % 2 == 0 {
            file.truncate(cut)
        } else {
            file[cut..].fill(0)
        }
        disk.retain(|name, _| !(without_snapshot && name.to_string_lossy().contains("snap.")));
        opens_whole(&disk, last, last, &format!("cut at {cut} of {end}, without snapshot: {without_snapshot}"));
    }
}

#[test]
fn a_part_of_a_snapshot_that_a_cut_left_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &[row(1, 3, "-1")]));
    std::fs::write(dir.path().join("store/snap.00000000000000FF.generating"), b"half").unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().meta().rows, 1);
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("damaged")), "nothing was wrong with it");
}

#[test]
fn a_cut_while_the_very_first_store_is_made_leaves_nothing_in_the_way() {
    let made = tempfile::tempdir().unwrap();
    drop(Store::open(made.path()).unwrap());
    for left in [
        &["store.building/witness"][..],
        &["store/witness"],
        &["store/witness", "FORMAT.new"],
        &["store/witness", "FORMAT"],
        &["lock"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        for name in left {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match *name {
                "FORMAT" => std::fs::copy(made.path().join("FORMAT"), path).map(drop).unwrap(),
                name if name.ends_with("witness") => {
                    checkpoint::Checkpoint::create(path.parent().unwrap(), Default::default()).map(drop).unwrap();
                }
                _ => std::fs::write(path, b"").unwrap(),
            }
        }
        assert_eq!(Store::open(dir.path()).unwrap().meta().rows, 0, "{left:?}");
    }
}
