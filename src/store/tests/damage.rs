//! A damaged store is noticed and named: bits flipped, blocks zeroed, files halved, emptied or gone.

use super::*;

const ROWS: u32 = 3000;

fn grown() -> (Image, BTreeMap<Vec<u8>, Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (1..=ROWS).map(|number| row(number, 1 + number % 28, "-1.50")).collect();
    let store = filled(dir.path(), &rows);
    store.put_destination("household", "sheet", &delivered(9)).unwrap();
    store.put_source("fibank", &SourceState::default()).unwrap();
    drop(store);
    // A second start, so that there is a snapshot of it all.
    let store = Store::open(dir.path()).unwrap();
    store.put_run(&"a run").unwrap();
    let contents = contents(&store);
    drop(store);
    (image(dir.path()), contents)
}

/// The outcome of opening a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fared {
    /// Everything is there.
    Whole,
    RefusedAtStart,
    FoundByReading,
}

fn judge(disk: &Image, all: &BTreeMap<Vec<u8>, Vec<u8>>, what: &str) -> Fared {
    let dir = lay_out(disk);
    let store = match Store::open(dir.path()) {
        Ok(store) => store,
        Err(Error::Damaged(text)) => {
            assert!(!text.is_empty() && !text.contains('\n'), "{what}: {text:?}");
            return Fared::RefusedAtStart;
        }
        Err(other) => panic!("{what}: {other}"),
    };
    match store.prove() {
        Ok(()) => {
            assert_eq!(&contents(&store), all, "{what}: silently different");
            Fared::Whole
        }
        Err(Error::Damaged(text)) => {
            assert!(!text.is_empty() && !text.contains('\n'), "{what}: {text:?}");
            assert_eq!(store.prove(), Err(Error::Damaged(text)), "{what}: it stays damaged");
            Fared::FoundByReading
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn no_damage_goes_unnoticed() {
    let (disk, all) = grown();
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let db = PathBuf::from("store/db");
    let snapshot = disk.keys().find(|name| name.to_string_lossy().contains("snap.")).unwrap().clone();
    let mut fared: BTreeMap<(&str, Fared), u32> = BTreeMap::new();
    for round in 0..12 {
        for kind in ["bit", "block", "halved", "snapshot gone", "bit without snapshot", "block without snapshot"] {
            let mut disk = disk.clone();
            if kind.contains("snapshot") {
                disk.remove(&snapshot);
            }
            let file = disk.get_mut(&db).unwrap();
            let used = file.iter().rposition(|byte| *byte != 0).unwrap();
            let at = rng.usize(..used);
            match kind.split(' ').next().unwrap() {
                "bit" => file[at] ^= 1 << rng.u8(..8),
                "block" => file[at / 4096 * 4096..].iter_mut().take(4096).for_each(|byte| *byte = 0),
                "halved" => file.truncate(rng.usize(..used / 2)),
                _ => {}
            }
            let result = judge(&disk, &all, &format!("seed {seed}, round {round}, {kind} at {at}"));
            *fared.entry((kind, result)).or_default() += 1;
        }
    }
    assert_eq!(fared.get(&("snapshot gone", Fared::Whole)), Some(&12), "{fared:?}");
    assert_eq!(fared.get(&("halved", Fared::Whole)), None, "{fared:?}");
}

#[test]
fn a_snapshot_that_is_empty_or_garbled_is_made_anew_where_nothing_else_is_wrong() {
    let (disk, all) = grown();
    let snapshot = disk.keys().find(|name| name.to_string_lossy().contains("snap.")).unwrap().clone();
    for what in ["empty", "garbled"] {
        let mut disk = disk.clone();
        let file = disk.get_mut(&snapshot).unwrap();
        if what == "empty" {
            file.clear()
        } else {
            file[20] ^= 1
        }
        assert_eq!(judge(&disk, &all, what), Fared::Whole, "{what}");
    }
    // With something else wrong the original is refused and stays as it was.
    let mut disk = disk.clone();
    disk.get_mut(&snapshot).unwrap().clear();
    disk.get_mut(Path::new("store/db")).unwrap()[300_000..301_000].fill(0);
    let dir = lay_out(&disk);
    assert!(matches!(Store::open(dir.path()), Err(Error::Damaged(_))));
    assert!(!data_dir::building_dir(dir.path()).exists());
    assert_eq!(std::fs::read(dir.path().join(&snapshot)).unwrap(), b"");
}

#[test]
fn files_of_the_store_that_are_gone_or_garbled_are_named() {
    let (disk, _) = grown();
    for (name, bytes) in [
        ("FORMAT", None),
        ("FORMAT", Some(&b"\xff\0garbled"[..])),
        ("store/witness", None),
        ("store/witness", Some(b"")),
    ] {
        let mut disk = disk.clone();
        match bytes {
            Some(bytes) => drop(disk.insert(name.into(), bytes.to_vec())),
            None => drop(disk.remove(Path::new(name))),
        }
        let dir = lay_out(&disk);
        let error = Store::open(dir.path()).map(drop).unwrap_err();
        assert!(
            matches!(&error, Error::Damaged(text) if text.contains(Path::new(name).file_name().unwrap().to_str().unwrap())),
            "{error}"
        );
    }
    let mut disk = disk;
    disk.remove(Path::new("store/db"));
    let dir = lay_out(&disk);
    assert!(matches!(Store::open(dir.path()), Err(Error::Damaged(_))));
}

#[test]
fn an_unreadable_record_is_named_by_account_day_and_number_and_the_rest_still_works() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1"), row(2, 4, "-2"), row(3, 5, "-3")]);
    let mut value = store.db.get(numbered(b't', 2)).unwrap().unwrap().to_vec();
    let last = value.len() - 1;
    value[last] ^= 1;
    store.db.apply([(numbered(b't', 2).to_vec(), Some(value))]).unwrap();
    let Err(Error::Damaged(text)) = store.prove() else { panic!("unnoticed") };
    assert!(text.contains("transaction number 2 of BG32FINV91501000000001 on 2026-02-04 cannot be read"), "{text}");
    assert_eq!(store.transaction(1).unwrap().row, row(1, 3, "-1"));
    assert_eq!(store.known(0, days()).unwrap().len(), 3);
    assert!(store.transaction(2).is_err());
    assert_eq!(store.damage(), Some(text));
}

#[test]
fn a_record_that_is_gone_or_older_than_it_should_be_is_noticed() {
    for (what, key, value) in
        [("gone", numbered(b't', 2).to_vec(), None), ("older", named(b'd', "household\0sheet"), Some(delivered(1)))]
    {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), &[row(1, 3, "-1"), row(2, 4, "-2")]);
        store.put_destination("household", "sheet", &delivered(2)).unwrap();
        let value = value.map(|state| codec::encode_json(&state).unwrap());
        store.db.apply([(key, value)]).unwrap();
        let found = store.prove();
        assert!(matches!(found, Err(Error::Damaged(_))), "{what}: {found:?}");
        drop(store);
        let opened = Store::open(dir.path()).map(drop);
        // The states of destinations are compared at every start: an older one would send rows again.
        assert_eq!(opened.is_err(), what == "older", "{opened:?}");
    }
}

/// The number of slices of a proof, and its result; `between` runs after the first.
fn in_slices(store: &Store, size: usize, between: impl FnOnce()) -> (u32, Result<()>) {
    let (mut proof, mut slices, mut between) = (Proof::default(), 0, Some(between));
    loop {
        slices += 1;
        match store.prove_on(&mut proof, size) {
            Ok(true) => return (slices, Ok(())),
            Ok(false) => between.take().into_iter().for_each(|between| between()),
            Err(error) => return (slices, Err(error)),
        }
    }
}

#[test]
fn a_proof_in_slices_is_a_proof_of_the_whole() {
    let grown = || {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), &(1..=20).map(|number| row(number, number, "-1")).collect::<Vec<_>>());
        (dir, store)
    };
    let (_dir, store) = grown();
    let records = contents(&store).len() + 1;
    assert_eq!(in_slices(&store, records, || {}), (2, Ok(())), "the second slice is empty");
    let (_dir, store) = grown();
    let (slices, proven) = in_slices(&store, 7, || {});
    assert_eq!((slices as usize, proven), (1 + records / 7, Ok(())));
    // A write in between makes the proof begin anew: otherwise a record would be counted and its change not.
    let (_dir, store) = grown();
    let write = || store.put_destination("household", "sheet", &delivered(2)).unwrap();
    assert_eq!(in_slices(&store, 7, write), (2 + (records as u32 + 1) / 7, Ok(())));
    let (_dir, store) = grown();
    store.db.apply([(numbered(b't', 20).to_vec(), None)]).unwrap();
    assert!(matches!(in_slices(&store, 7, || {}).1, Err(Error::Damaged(_))));
}

#[test]
fn after_a_failed_write_the_store_comes_back_with_what_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1")]);
    let all = contents(&store);
    store.db.failed.store(true, std::sync::atomic::Ordering::SeqCst);
    lock(&store.meta).last_seq = 99;
    store.revive().unwrap();
    store.prove().unwrap();
    assert_eq!((store.meta().last_seq, contents(&store)), (1, all));
    store.put_source("fibank", &SourceState::default()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::InUse(_))), "it never stopped being ours");
}

#[test]
fn a_full_disk_is_told_from_other_trouble() {
    let full = || io::Error::from_raw_os_error(28);
    assert_eq!(Error::from(sled::Error::Io(full())), Error::Full);
    assert_eq!(Error::from(full()), Error::Full);
    // sled keeps an error for later callers by making a new one of the same kind.
    assert_eq!(Error::from(sled::Error::Io(io::Error::new(full().kind(), "No space left"))), Error::Full);
    assert!(matches!(Error::from(io::Error::from_raw_os_error(5)), Error::Io(_)));
}
