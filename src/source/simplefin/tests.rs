#![allow(clippy::unwrap_used)]

use super::reply::Reply;
use super::*;

fn listings(json: &str) -> Vec<Listing> {
    Reply::read(json.into()).unwrap().accounts
}

fn seen(within: &str) -> Seen {
    Seen { within: within.into(), ..Seen::default() }
}

#[test]
fn accounts_that_share_an_id_are_told_apart_and_keep_their_names() {
    let both =
        listings(r#"{"accounts":[{"id":"1","conn_id":"C1"},{"id":"1","conn_id":"C2"},{"id":"2","conn_id":"C2"}]}"#);
    let alone = listings(r#"{"accounts":[{"id":"1","conn_id":"C2"}]}"#);
    let mut memory = Memory::default();
    let none = BTreeMap::new();
    assert_eq!(names(&both, &memory, &none), ["1", "1@C2", "2"]);
    memory.seen.insert("1".into(), seen("C2"));
    assert_eq!(names(&both, &memory, &none), ["1@C1", "1", "2"], "the bare id stays with the account that had it");
    assert_eq!(names(&alone, &memory, &none), ["1"]);
    memory.seen = [("1".into(), seen("C1")), ("1@C2".into(), seen("C2"))].into();
    assert_eq!(names(&both, &memory, &none), ["1", "1@C2", "2"]);
    assert_eq!(names(&alone, &memory, &none), ["1@C2"], "an account keeps its name while the other one is away");
}

#[test]
fn an_adopted_account_has_its_old_id_unless_that_is_in_use() {
    let adopted = |pairs: &[(&str, &str)]| pairs.iter().map(|(new, old)| ((*new).into(), (*old).into())).collect();
    let two = listings(r#"{"accounts":[{"id":"new"},{"id":"other"}]}"#);
    let memory = Memory::default();
    assert_eq!(names(&two, &memory, &adopted(&[("new", "old")])), ["old", "other"]);
    assert_eq!(names(&two, &memory, &adopted(&[("new", "old"), ("other", "old")])), ["old", "other"]);
    assert_eq!(names(&two, &memory, &adopted(&[("new", "other")])), ["new", "other"]);
    assert_eq!(names(&two, &memory, &adopted(&[("new", "new")])), ["new", "other"]);
}

#[test]
fn rows_of_several_answers_are_one_listing() {
    let early = Reply::read(
        r#"{"accounts":[{"id":"A","transactions":[{"id":"a","posted":100,"amount":"1"},{"id":"b","posted":90,"amount":"9"}]}]}"#
            .into(),
    );
    let late =
        Reply::read(r#"{"accounts":[{"id":"A","transactions":[{"id":"b","posted":86500,"amount":"2"}]}]}"#.into());
    let (early, late) = (Arc::new(early.unwrap()), Arc::new(late.unwrap()));
    let mut gathered = Gathered::default();
    gathered.add(0, NaiveDate::MAX, late.accounts.first(), false);
    gathered.add(1, NaiveDate::MIN, early.accounts.first(), false);
    let places = gathered.places(None);
    let owner = Owner { account: "A b".into(), currency: "USD".into(), is_inverted: false };
    let rows: Vec<_> = Rows::new(owner, vec![late.clone(), early.clone()], places).map(Result::unwrap).collect();
    let shown: Vec<String> = rows.iter().map(|row| format!("{} {} {}", row.id, row.date, row.amount)).collect();
    assert_eq!(shown, ["simplefin:A%20b:a 1970-01-01 1", "simplefin:A%20b:b 1970-01-02 2"]);
    assert_eq!(gathered.lacking, None);
    gathered.add(2, NaiveDate::MIN, None, false);
    assert_eq!(gathered.lacking, Some(NaiveDate::MIN));
}

/// Answers that were garbled on their way are read or refused, and nothing else happens.
#[test]
fn no_garbled_answer_makes_the_reader_fall() {
    let whole = r#"{"errlist":[{"code":"act.failed","msg":"no","account_id":"A"}],"connections":[{"conn_id":"C","name":"B"}],
        "accounts":[{"id":"A","conn_id":"C","name":"N","currency":"USD","balance":"-05.50","balance-date":1791014400,
        "transactions":[{"id":"a","posted":1791014400,"amount":".5","description":"d\u00e9","payee":"p","memo":"m"},
        {"id":"b","posted":0,"pending":true,"amount":"1"}]}]}"#;
    let pieces = ["\"", "{", "}", "[", "]", ",", ":", "\\", "null", "-", "99999999999999999999", "\\ud83c", "é", "0"];
    let mut random = fastrand::Rng::with_seed(12);
    for _ in 0..3_000 {
        let mut text = whole.to_owned();
        for _ in 0..random.usize(1..6) {
            let at = text.floor_char_boundary(random.usize(0..=text.len()));
            let end = text.ceil_char_boundary((at + random.usize(0..12)).min(text.len()));
            text.replace_range(at..end, pieces[random.usize(0..pieces.len())]);
        }
        let Ok(reply) = Reply::read(text.as_str().into()) else { continue };
        let reply = Arc::new(reply);
        for listing in &reply.accounts {
            let places = listing.rows.iter().flatten().map(|place| (0, *place)).collect();
            let owner = Owner { account: listing.id.clone(), currency: "USD".into(), is_inverted: true };
            for row in Rows::new(owner, vec![reply.clone()], places) {
                let id = row.as_ref().map_or_else(|refused| refused.id.clone(), |row| Some(row.id.clone()));
                assert!(id.is_none_or(|id| id.is_ascii() && !id.contains(' ')), "{text}");
            }
        }
    }
}
