use super::keys::*;
use super::write::RUNS_KEPT;
use super::*;
use crate::model::{Account, ChangeKind, Enrichment, Row, Transaction, id_hash};
use chrono::{DateTime, NaiveDate};
use std::ops::RangeInclusive;

mod backup;
mod damage;
mod former;
mod limits;
mod power;

/// Every file below a directory, by its relative path.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn image(dir: &Path) -> Image {
    fn gather(dir: &Path, below: &Path, image: &mut Image) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                gather(&entry.path(), &name, image);
            } else {
                image.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut image = Image::new();
    gather(dir, Path::new(""), &mut image);
    image
}

fn lay_out(image: &Image) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("store/blobs")).unwrap();
    for (name, bytes) in image {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

fn delivered(watermark: u64) -> DestinationState {
    let mut state = DestinationState::default();
    (state.watermark, state.needs_inventory) = (watermark, false);
    state
}

/// Everything a store knows, in one comparable piece.
fn contents(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = store.db.range::<&[u8], _>(..).map(Result::unwrap);
    entries.map(|(key, value)| (key.to_vec(), value.to_vec())).filter(|(key, _)| key != b"m").collect()
}

fn row(number: u32, day: u32, amount: &str) -> Row {
    let time = DateTime::parse_from_rfc3339(&format!("2026-02-{day:02}T10:11:12+02:00")).unwrap();
    Row {
        id: format!("fibank:BG32FINV91501000000001:{number}"),
        time,
        date: time.date_naive(),
        value_date: None,
        amount: amount.parse().unwrap(),
        currency: "EUR".into(),
        balance: None,
        counterparty: "ИЗМИСЛЕН ЕООД".into(),
        counterparty_account: String::new(),
        description: format!("ред {number}"),
        kind: String::new(),
        kind_code: String::new(),
        reference: String::new(),
        raw: format!(r#"{{"acEntrySrNo":{number},"amount":{amount}}}"#),
    }
}

fn account() -> Account {
    Account {
        account: "BG32FINV91501000000001".into(),
        name: "Тестова".into(),
        customer: "ИВАН ИЗМИСЛЕН".into(),
        currency: "EUR".into(),
        balance: Some("90.5".parse().unwrap()),
    }
}

fn filled(dir: &Path, rows: &[Row]) -> Store {
    let store = Store::open(dir).unwrap();
    let mut writer = store.writer();
    let number = writer.put_account("fibank", &account(), |_| {}).unwrap();
    for row in rows {
        writer.add(number, row.clone()).unwrap();
    }
    writer.commit().unwrap();
    store.sync().unwrap();
    store
}

fn days() -> RangeInclusive<NaiveDate> {
    NaiveDate::MIN..=NaiveDate::MAX
}

#[test]
fn rows_are_there_after_reopening_in_every_order() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [row(3, 5, "-1"), row(1, 3, "-2.50"), row(2, 4, "1000000000000.01")];
    drop(filled(dir.path(), &rows));
    let store = Store::open(dir.path()).unwrap();
    let ids = |found: Vec<(u64, Transaction)>| found.into_iter().map(|(_, t)| t.row.id).collect::<Vec<_>>();
    let oldest = ids(store.by_date(None, None).map(Result::unwrap).collect());
    assert_eq!(oldest, [&rows[1].id, &rows[2].id, &rows[0].id].map(Clone::clone));
    let newest = ids(store.by_date(None, None).newest_first().map(Result::unwrap).collect());
    assert_eq!(newest, oldest.into_iter().rev().collect::<Vec<_>>());
    let log: Vec<u64> = store.changes_after(0, 10).unwrap().iter().map(|change| change.number).collect();
    assert_eq!(log, [1, 2, 3], "the change log is in the order of arrival");
    assert_eq!(store.transaction(2).unwrap().row, rows[1]);
    assert_eq!(&*store.transaction(2).unwrap().account_name, "Тестова");
    assert_eq!(store.find(&rows[2].id).unwrap(), Some(3));
    assert_eq!(store.find("fibank:BG32FINV91501000000001:9").unwrap(), None);
    let since = store.by_date(NaiveDate::from_ymd_opt(2026, 2, 4), NaiveDate::from_ymd_opt(2026, 2, 4));
    assert_eq!(since.count(), 1);
}

#[test]
fn a_change_keeps_the_former_version() {
    let dir = tempfile::tempdir().unwrap();
    let (before, mut after) = (row(1, 3, "-2.50"), row(1, 4, "-2.60"));
    after.description = "поправка".into();
    let store = filled(dir.path(), std::slice::from_ref(&before));
    let known = *store.known(0, days()).unwrap().values().next().unwrap();
    let mut writer = store.writer();
    writer.change(known, &store.stored(1).unwrap(), after.clone(), ChangeKind::Changed, 7).unwrap();
    writer.commit().unwrap();
    assert_eq!(store.transaction(1).unwrap().row, after);
    assert_eq!(store.former(2).unwrap().transaction.row, before);
    let log = store.changes_after(1, 10).unwrap();
    assert_eq!(log, [Change { seq: 2, number: 1, kind: ChangeKind::Changed, record: None }]);
    let known = store.known(0, days()).unwrap();
    assert_eq!(known.len(), 1, "the row moved from one day to the other");
    assert_eq!(known.values().next().unwrap().date, after.date);
}

#[test]
fn a_second_owner_is_refused_and_the_lock_is_free_after_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), &[row(1, 3, "-1")]);
    assert!(matches!(Store::open(dir.path()), Err(Error::InUse(_))));
    drop(store);
    assert!(Store::open(dir.path()).is_ok());
}

#[test]
fn a_store_that_lost_its_tail_says_so() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &[row(1, 3, "-1"), row(2, 3, "-1")]));
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Damaged(text)) if text.contains("is gone")));
    let store = dir.path().join("store");
    data_dir::create_private_dir(&store).unwrap();
    let noted = checkpoint::Mark { generation: 1, last_seq: 2 };
    checkpoint::Checkpoint::create(&store, noted).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Damaged(text)) if text.contains("change 2")));
}

#[test]
fn foreign_directories_and_later_releases_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("FORMAT"), "bankfeed store 9\n").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Foreign(_))));
    std::fs::write(dir.path().join("FORMAT"), "something else").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Foreign(_))));
    std::fs::remove_file(dir.path().join("FORMAT")).unwrap();
    std::fs::create_dir(dir.path().join("store")).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Damaged(_))));
}

#[test]
fn what_is_remembered_of_a_destination_is_bound_to_its_target() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut state = DestinationState::default();
    state.watermark = 7;
    state.set_connector(b"cache");
    store.put_destination("household", "sheet one", &state).unwrap();
    assert_eq!(store.destination("household", "sheet one").unwrap().connector(), b"cache");
    assert_eq!(store.destination("household", "sheet two").unwrap(), DestinationState::default());
}

#[test]
fn the_oldest_runs_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut writer = store.writer();
    writer.meta.runs = RUNS_KEPT;
    writer.batch.insert(numbered(b'r', 1).to_vec(), codec::encode_json(&"oldest").unwrap());
    writer.commit().unwrap();
    store.put_run(&"newest").unwrap();
    assert_eq!(store.runs::<String>(10).unwrap(), ["newest"]);
}
