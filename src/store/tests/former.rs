//! A store and its backup as the release before the one map of row states wrote them, with each of its lists in use.

use super::*;
use crate::destination::Rewrite;
use crate::store::backup;

/// Checks every fate of the frozen record. The ids are those of the first nine rows.
fn assert_fates(store: &Store) {
    let rows = store.transactions_after(0, 10).unwrap();
    let id = |n: usize| rows[n].1.row.id.clone();
    let state = store.destination("sheet", "frozen").unwrap();
    let fate = |n: usize| state.rows.get(&id(n)).cloned().unwrap();
    let rejected = Some(Absence::Rejected("the service says no".into()));
    let deleted = |noticed| Some(Absence::Deleted { noticed });
    let (plain, rewrite) = (RowState::default, Some(Rewrite::default()));
    assert_eq!(fate(0), RowState { absent: rejected, restore: true, ..plain() });
    assert_eq!(fate(1), RowState { absent: Some(Absence::Suppressed), ..plain() });
    assert_eq!(fate(2), RowState { outside_filter: true, ..plain() });
    assert_eq!(fate(3), RowState { absent: deleted(false), outside_filter: true, ..plain() });
    assert_eq!(fate(4), RowState { absent: deleted(true), ..plain() });
    assert_eq!(fate(5), RowState { absent: deleted(false), restore: true, ..plain() });
    assert_eq!(fate(6), RowState { restore: true, ..plain() });
    assert_eq!(fate(7), RowState { repair: true, rewrite: rewrite.clone(), ..plain() });
    assert_eq!(fate(8), RowState { rewrite, ..plain() });
    assert_eq!(state.rows.get(&id(9)), None);
    assert_eq!((state.rows.retry_on, state.rows.retry_waited), (NaiveDate::from_ymd_opt(2026, 12, 24), 4));
    let unverified = UnverifiedBatch { since: 3, ids: vec![id(8)], strikes: true };
    let by_position = Some(unverified.clone());
    let pending = PendingBatch { number: 8, hash: 99, through: 41, returning: vec![id(1)], by_position };
    assert_eq!((&state.pending[..], &state.unverified[..]), (&[pending][..], &[unverified][..]));
    assert_eq!((state.watermark, state.last_batch, state.transfers), (40, 7, 12));
    assert_eq!((&state.foreign_ids[..], state.connector()), (&[5, 6][..], b"kept by the connector".to_vec()));
    // A record of this release is read back as it was written.
    store.put_destination("sheet", "frozen", &state).unwrap();
    assert_eq!(store.destination("sheet", "frozen").unwrap(), state);
}

#[test]
fn lists_of_former_releases_become_row_states() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let frozen = lay_out(&image(&data.join("store-v2")));
    let store = Store::open(frozen.path()).unwrap();
    assert!(!store.destination("sheet", "frozen").unwrap().needs_inventory);
    assert_fates(&store);

    let recovered = tempfile::tempdir().unwrap();
    backup::restore(recovered.path(), &data.join("store-v2.bankfeed"), DateTime::UNIX_EPOCH).unwrap();
    let store = Store::open(recovered.path()).unwrap();
    assert!(store.destination("sheet", "frozen").unwrap().needs_inventory);
    assert_fates(&store);
}
