//! A backup brings everything back, on any machine, and nothing else is taken for one.

use super::*;
use crate::store::backup;
use chrono::{DateTime, TimeDelta, Utc};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn backed_up(store: &Store, path: &Path) {
    let mut part = backup::Part::create(path).unwrap();
    store.write_backup(now(), &mut part).unwrap();
    part.finish().unwrap();
}

fn sample(dir: &Path) -> Store {
    let store = filled(dir, &(1..=50).map(|number| row(number, 1 + number % 28, "-1")).collect::<Vec<_>>());
    let known = *store.known(0, days()).unwrap().values().next().unwrap();
    let former = store.stored(known.number).unwrap();
    let mut writer = store.writer();
    writer.change(known, &former, former.row.clone(), ChangeKind::Vanished, 7).unwrap();
    writer.commit().unwrap();
    let state = delivered(51);
    store.put_destination("household", "sheet", &state).unwrap();
    store.put_run(&"a run").unwrap();
    store
}

#[test]
fn a_backup_brings_everything_back_and_the_former_store_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = dir.path().join("b.bankfeed");
    let store = sample(dir.path());
    backed_up(&store, &file);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!dir.path().join("b.bankfeed.part").exists());
    let (all, salt) = (contents(&store), store.meta().salt);
    let mut writer = store.writer();
    writer.add(0, row(99, 9, "-9")).unwrap();
    writer.commit().unwrap();
    store.sync().unwrap();
    let generation = store.meta().generation;
    drop(store);
    for data_dir in [dir.path(), elsewhere.path()] {
        let recovered = backup::restore(data_dir, &file, now()).unwrap();
        assert_eq!((recovered.rows, recovered.head.made), (50, now()));
        let store = Store::open(data_dir).unwrap();
        store.prove().unwrap();
        assert!(store.destination("household", "sheet").unwrap().needs_inventory, "what is there is asked first");
        let without = |all: &BTreeMap<Vec<u8>, Vec<u8>>| {
            let kept = all.iter().filter(|(key, _)| key[0] != b'd');
            kept.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
        };
        assert_eq!(without(&contents(&store)), without(&all));
        assert_eq!(store.meta().salt, salt);
        if data_dir == dir.path() {
            assert!(store.meta().generation > generation);
            let kept = recovered.kept.unwrap();
            assert!(kept.file_name().unwrap().to_str().unwrap().starts_with("store.damaged-"));
            let kept = Store::at(dir.path(), &kept).unwrap();
            assert_eq!(kept.meta().rows, 51, "nothing of the former store is lost");
        }
    }
}

#[test]
fn no_truncated_flipped_or_foreign_file_is_taken_for_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    let store = sample(dir.path());
    backed_up(&store, &good);
    let all = contents(&store);
    drop(store);
    let bytes = std::fs::read(&good).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = (0..bytes.len())
        .step_by(7)
        .flat_map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            [(format!("cut at {at}"), bytes[..at].to_vec()), (format!("flipped at {at}"), flipped)]
        })
        .collect();
    files.push(("longer".into(), [&bytes[..], b"x"].concat()));
    files.push(("twice".into(), [&bytes[..], &bytes[..]].concat()));
    files.push(("foreign".into(), b"PK\x03\x04 something else entirely, and long enough to hold a head".to_vec()));
    for (what, bytes) in files {
        std::fs::write(&bad, bytes).unwrap();
        let refused = backup_format::inspect(&bad);
        assert!(matches!(&refused, Err(Error::Backup(text)) if !text.contains('\n')), "{what}: {refused:?}");
    }
    assert!(matches!(backup::restore(dir.path(), &bad, now()), Err(Error::Backup(_))));
    assert!(matches!(backup::restore(dir.path(), &dir.path().join("none"), now()), Err(Error::Backup(_))));
    assert_eq!(contents(&Store::open(dir.path()).unwrap()), all, "nothing happened to the store");
}

#[test]
fn a_backup_of_a_later_release_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("b");
    backed_up(&sample(dir.path()), &file);
    let bytes = std::fs::read(&file).unwrap();
    for at in [16, 20] {
        let mut later = bytes.clone();
        later[at] += 1;
        let sum = crc32fast::hash(&later[..48]).to_le_bytes();
        later[48..52].copy_from_slice(&sum);
        std::fs::write(&file, later).unwrap();
        let refused = backup_format::inspect(&file);
        assert!(matches!(&refused, Err(Error::Backup(text)) if text.contains("later release")), "{refused:?}");
    }
}

#[test]
fn the_last_two_good_backups_are_kept_and_a_damaged_store_never_becomes_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = sample(dir.path());
    let (day, folder) = (TimeDelta::days(1), dir.path().join("backups"));
    assert!(backup::keep_if_due(&store, now()).unwrap());
    assert!(!backup::keep_if_due(&store, now() + day).unwrap(), "nothing has changed");
    let grow = |number| {
        let mut writer = store.writer();
        writer.add(0, row(number, 9, "-9")).unwrap();
        writer.commit().unwrap();
        store.sync().unwrap();
    };
    grow(100);
    assert!(!backup::keep_if_due(&store, now() + day / 2).unwrap(), "once a day is enough");
    assert!(backup::keep_if_due(&store, now() + day).unwrap());
    let rows = |name: &str| backup_format::inspect(&folder.join(name)).unwrap().meta.rows;
    assert_eq!((rows("last-good.bankfeed"), rows("last-good-before.bankfeed")), (51, 50));
    grow(101);
    store.db.apply([(numbered(b't', 7).to_vec(), None)]).unwrap();
    assert!(matches!(backup::keep_if_due(&store, now() + day * 2), Err(Error::Damaged(_))));
    assert_eq!((rows("last-good.bankfeed"), rows("last-good-before.bankfeed")), (51, 50));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "no part stays");
    std::fs::write(folder.join("last-good.bankfeed"), b"damaged too").unwrap();
    assert_eq!(backup::latest(dir.path()).unwrap().0, folder.join("last-good-before.bankfeed"));
}

#[test]
fn a_cut_in_the_middle_of_a_recovery_leaves_the_old_store_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("b");
    let store = sample(dir.path());
    backed_up(&store, &file);
    drop(store);
    let before = image(dir.path());
    let renamed = |from: &str, to: &str| {
        let mut disk = Image::new();
        for (name, bytes) in &before {
            let moved = name.strip_prefix(from).map_or_else(|_| name.clone(), |rest| Path::new(to).join(rest));
            disk.insert(moved, bytes.clone());
        }
        disk
    };
    // Built and set aside, the old one still in its place; then the old one moved away.
    let mut built = before.clone();
    built.extend(renamed("store", "store.new"));
    let mut half = renamed("store", "store.new");
    half.extend(renamed("store", "store.damaged-1"));
    for disk in [built, half] {
        let left = lay_out(&disk);
        if !disk.contains_key(Path::new("store/db")) {
            std::fs::remove_dir_all(left.path().join("store")).unwrap();
            std::fs::create_dir_all(left.path().join("store.new/blobs")).unwrap();
        }
        assert_eq!(Store::open(left.path()).unwrap().meta().rows, 50);
    }
}

#[test]
fn a_store_of_the_first_format_is_backed_up_and_brought_to_the_present_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = sample(dir.path());
    let all = contents(&store);
    // As the first release left it: no sums, no generation, no checkpoint, the last change in a file of text.
    let Meta { last_seq, rows, runs, salt, .. } = store.meta();
    let old = serde_json::json!({"schema": 1, "last_seq": last_seq, "rows": rows, "runs": runs, "salt": salt});
    store.db.apply([(b"m".to_vec(), Some(codec::encode_json(&old).unwrap()))]).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("store/witness")).unwrap();
    std::fs::write(dir.path().join("FORMAT"), "bankfeed store 1\n").unwrap();
    std::fs::write(dir.path().join("high-water"), format!("{}\n", last_seq + 1)).unwrap();
    let refused = Store::open(dir.path()).map(drop);
    assert!(matches!(refused, Err(Error::Damaged(_))), "it lost its last change: {refused:?}");
    std::fs::write(dir.path().join("high-water"), format!("{last_seq}\n")).unwrap();
    for _ in 0..2 {
        let store = Store::open(dir.path()).unwrap();
        store.prove().unwrap();
        assert_eq!((store.meta().schema, contents(&store)), (SCHEMA, all.clone()));
    }
    assert_eq!(backup::latest(dir.path()).unwrap().1.schema, 1);
    let recovered = backup::restore(dir.path(), &dir.path().join("backups/last-good.bankfeed"), now()).unwrap();
    assert_eq!(recovered.rows, 50);
}
