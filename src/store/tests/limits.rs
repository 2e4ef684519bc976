//! Everything that the store accepts can be read back, whatever kind of record; and a backup holds nothing else.

use super::*;
use crate::store::backup;
use chrono::{DateTime, Utc};

type Record = (Vec<u8>, Vec<u8>);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn long(number: u32, bytes: usize) -> Row {
    Row { raw: format!("\"{}\"", "x".repeat(bytes)), ..row(number, 3, "-1") }
}

#[test]
fn a_row_too_long_to_be_read_back_is_refused_and_its_batch_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1")]);
    let mut writer = store.writer();
    let refused = writer.add(0, long(2, 5 << 20));
    assert!(matches!(&refused, Err(Error::Unfit(why)) if why.contains("5120 KiB")), "{refused:?}");
    writer.add(0, long(3, 3 << 20)).unwrap();
    writer.commit().unwrap();
    let known = *store.known(0, days()).unwrap().get(&id_hash(&row(1, 3, "-1").id)).unwrap();
    let former = store.stored(1).unwrap();
    let mut writer = store.writer();
    let refused = writer.change(known, &former, long(1, 5 << 20), ChangeKind::Changed, 7);
    assert!(matches!(refused, Err(Error::Unfit(_))));
    let note = Enrichment { note: "x".repeat(5 << 20), ..Enrichment::default() };
    assert!(matches!(writer.enrich(1, note, 7), Err(Error::Unfit(_))));
    writer.commit().unwrap();
    store.sync().unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.walk(|_, _| Ok(())).unwrap();
    let ids: Vec<String> = store.by_date(None, None).map(|found| found.unwrap().1.row.id).collect();
    assert_eq!(ids, [row(1, 3, "-1").id, row(3, 3, "-1").id]);
}

#[test]
fn other_records_too_long_to_be_read_back_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1")]);
    let text = || "x".repeat(17 << 20);
    let mut destination = delivered(1);
    destination.error = Some(text());
    let source = SourceState { error: Some(text()), ..SourceState::default() };
    let notifier = NotifierState { error: Some(text()), ..NotifierState::default() };
    let mut writer = store.writer();
    writer.put_account("fibank", &Account { name: text(), ..account() }, |_| {}).unwrap();
    for (refused, name) in [
        (store.put_source("fibank", &source), "source `fibank`"),
        (store.put_destination("household", "sheet", &destination), "destination `household`"),
        (store.put_notifier("phone", &notifier), "notifier `phone`"),
        (store.put_run(&text()), "the report of a run"),
        (writer.commit(), "an account"),
    ] {
        assert!(
            matches!(&refused, Err(Error::Unfit(why)) if why.contains(name) && why.contains("17408 KiB")),
            "{name}: {refused:?}"
        );
    }
    store.put_source("fibank", &SourceState::default()).unwrap();
    drop(store);
    Store::open(dir.path()).unwrap().walk(|_, _| Ok(())).unwrap();
}

/// A backup with other records in it, right in every sum.
fn rebuilt(backup: &[u8], edit: impl FnOnce(&mut Vec<Record>)) -> Vec<u8> {
    use xxhash_rust::xxh3::xxh3_64;
    let (head, rest) = backup.split_at(52);
    let plain = zstd::stream::decode_all(&rest[..rest.len() - 8]).unwrap();
    let (mut records, mut at) = (Vec::new(), 0);
    while plain[at..at + 2] != [0xff, 0xff] {
        let key = usize::from(u16::from_le_bytes(plain[at..at + 2].try_into().unwrap()));
        let value = u32::from_le_bytes(plain[at + 2..at + 6].try_into().unwrap()) as usize;
        at += 6;
        records.push((plain[at..at + key].to_vec(), plain[at + key..at + key + value].to_vec()));
        at += key + value;
    }
    let (_, meta) = records.pop().unwrap();
    edit(&mut records);
    let mut meta: Meta = codec::decode_json(&meta).unwrap();
    meta.sums = Default::default();
    records.iter().for_each(|(key, value)| meta.sums.add(key, value));
    meta.rows = records.iter().filter(|(key, _)| key[0] == b't').count() as u64;
    records.push((b"m".to_vec(), codec::encode_json(&meta).unwrap()));
    let mut plain = Vec::new();
    for (key, value) in &records {
        plain.extend((key.len() as u16).to_le_bytes());
        plain.extend((value.len() as u32).to_le_bytes());
        plain.extend(key.iter().chain(value));
    }
    let sum = xxh3_64(&plain);
    plain.extend([0xff, 0xff]);
    plain.extend((records.len() as u64).to_le_bytes());
    plain.extend(sum.to_le_bytes());
    let mut file = head.to_vec();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    io::Write::write_all(&mut encoder, &plain).unwrap();
    file.extend(encoder.finish().unwrap());
    let sum = xxh3_64(&file);
    file.extend(sum.to_le_bytes());
    file
}

fn backup(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.write_backup(now(), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_backup_with_a_record_that_nobody_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1"), row(2, 3, "-1")]);
    store.put_destination("household", "sheet", &delivered(1)).unwrap();
    let (good, all) = (backup(&store), contents(&store));
    drop(store);
    let file = dir.path().join("b");
    let recovered = |edit: fn(&mut Vec<Record>)| {
        std::fs::write(&file, rebuilt(&good, edit)).unwrap();
        backup::restore(dir.path(), &file, now()).map(|recovered| recovered.rows)
    };
    type Edit = fn(&mut Vec<Record>);
    fn replace(records: &mut [Record], kind: u8, value: Vec<u8>) {
        records.iter_mut().rfind(|record| record.0[0] == kind).unwrap().1 = value;
    }
    let edits: [(&str, Edit); 4] = [
        ("row", |all| replace(all, b't', codec::encode_bytes(b"no row"))),
        ("day", |all| replace(all, b'k', codec::encode_bytes(b"no day"))),
        ("state", |all| replace(all, b'd', codec::encode_json(&"none").unwrap())),
        ("account", |all| replace(all, b'a', codec::encode_json(&1).unwrap())),
    ];
    for (what, edit) in edits {
        let refused = recovered(edit);
        assert!(matches!(&refused, Err(Error::Backup(why)) if why.contains("cannot be used")), "{what}: {refused:?}");
        assert_eq!(contents(&Store::open(dir.path()).unwrap()), all, "{what}: nothing happened to the store");
    }
    assert_eq!(recovered(|_| {}), Ok(2), "nothing but the record is wrong with it");
}

#[test]
fn a_store_with_a_record_that_nobody_can_read_never_replaces_a_good_backup() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1"), row(2, 4, "-1")]);
    backup::keep(&store, now()).unwrap();
    let kept = || std::fs::read(backup::latest(dir.path()).unwrap().0).unwrap();
    let good = kept();
    let unreadable = (numbered(b't', 2).to_vec(), Some(codec::encode_bytes(b"no row")));
    store.apply(Batch(BTreeMap::from([unreadable])), |_| {}).unwrap();
    let refused = backup::keep(&store, now());
    assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
    assert_eq!(kept(), good);
    let Error::Damaged(named) = store.note(refused.unwrap_err()) else { panic!("no damage") };
    assert!(named.contains("transaction number 2 of BG32FINV91501000000001 on 2026-02-04"), "{named}");
}

#[test]
fn a_small_file_that_unpacks_to_very_much_is_refused_early() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1")]);
    let good = backup(&store);
    drop(store);
    let file = dir.path().join("b");
    type Edit = fn(&mut Vec<Record>);
    fn megabyte(number: u64) -> Record {
        (numbered(b'r', number).to_vec(), codec::encode_json(&"x".repeat(1 << 20)).unwrap())
    }
    let edits: [(&str, Edit); 2] = [
        ("many", |all| all.extend((1..80).map(megabyte))),
        ("one", |all| all.push((b"r".to_vec(), vec![0; 17 << 20]))),
    ];
    for (what, edit) in edits {
        let bytes = rebuilt(&good, edit);
        assert!(bytes.len() < 40_000, "{what}: {} bytes", bytes.len());
        std::fs::write(&file, bytes).unwrap();
        let refused = backup::restore(dir.path(), &file, now());
        assert!(matches!(&refused, Err(Error::Backup(why)) if why.contains("unpacks to more")), "{what}: {refused:?}");
    }
}

#[test]
fn an_opening_that_went_wrong_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (1..=2000).map(|number| row(number, 1 + number % 28, "-1")).collect();
    let store = filled(dir.path(), &rows);
    store.put_run(&fastrand::Rng::with_seed(1).bytes_of(200_000)).unwrap();
    drop(store);
    let store_dir = data_dir::store_dir(dir.path());
    let before = image(&store_dir);
    let preimage = preimage::Preimage::read(&store_dir).unwrap();
    // The changes are those that sled makes when it takes a read that failed for the end of its log.
    let mut db = before[Path::new("db")].clone();
    let half = db.len() / 2;
    db[half..].fill(0);
    db.truncate(half + 1);
    std::fs::write(store_dir.join("db"), db).unwrap();
    for name in before.keys().filter(|name| name.starts_with("blobs") || *name == Path::new("conf")) {
        std::fs::remove_file(store_dir.join(name)).unwrap();
    }
    std::fs::write(store_dir.join("snap.00000000000FFFFF"), b"of less").unwrap();
    preimage.put_back().unwrap();
    assert_eq!(image(&store_dir), before);
    Store::open(dir.path()).unwrap().walk(|_, _| Ok(())).unwrap();
}

/// Bytes that nothing makes smaller, as text.
trait Ballast {
    fn bytes_of(self, length: usize) -> String;
}

impl Ballast for fastrand::Rng {
    fn bytes_of(mut self, length: usize) -> String {
        std::iter::repeat_with(|| self.alphanumeric()).take(length).collect()
    }
}
