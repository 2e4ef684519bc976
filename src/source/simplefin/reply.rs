//! An answer of the service: its accounts with the places of their rows, and its complaints.
//!
//! The text of the answer is kept compressed, with a small place per row; rows are made one by one later (see `rows`). A
//! version 2 answer is told by its keys, and anything else is read as version 1.

use std::collections::HashMap;
use std::hash::Hasher;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{self, Entry, money_in, short, words, words_in};
use crate::remote::outline::{Defect, Listed, Outline, Shape, Span};
use crate::remote::packed::{PackedText, Unpacker};

/// The parts of an answer that are read.
const SHAPE: Shape = Shape {
    accounts: "accounts",
    rows: "transactions",
    wanted: &["id", "name", "currency", "balance", "balance-date", "conn_id", "org"],
    beside: &["errlist", "connections", "errors"],
};

/// An answer, its rows found but not yet made.
pub(super) struct Reply {
    pub text: PackedText,
    pub accounts: Vec<Listing>,
    pub complaints: Vec<Complaint>,
}

/// An account in an answer.
#[derive(Debug)]
pub(super) struct Listing {
    /// The service's id.
    pub id: String,
    /// The connection (version 2) or bank (version 1) that the id is unique within.
    pub within: String,
    /// The bank, as people know it.
    pub bank: String,
    pub name: String,
    /// The code or address of the currency, as it stands there; may be empty.
    pub currency: String,
    pub balance: Result<Option<rust_decimal::Decimal>, String>,
    /// The instant that the balance is of.
    pub balance_time: Option<DateTime<Utc>>,
    /// The booked rows; `None`: there is no list of rows.
    pub rows: Option<Vec<Place>>,
    /// The rows that cannot be read.
    pub unread: Vec<Unread>,
}

/// The place of a row in time and in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub posted: DateTime<Utc>,
    /// Hash of the service's id.
    pub id: u64,
    pub span: Span,
}

/// A row that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    /// The service's id, where that much can be read.
    pub id: Option<String>,
    pub posted: Option<DateTime<Utc>>,
    /// The row and its fault.
    pub why: String,
}

/// A complaint in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub about: About,
    /// The service's words, as they came.
    pub words: String,
}

/// The subject of a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The answer as a whole may not be complete.
    Answer,
    /// The access URL is refused.
    Access,
    /// The subscription has lapsed.
    Payment,
    /// The bank login of this connection wants its owner; `within` is the id of the connection, where it is told, and the
    /// bank's name is in the words.
    Login { within: Option<String> },
    /// An account could not be read, or not whole.
    Account { id: Option<String> },
}

/// An answer that cannot be read; the text ends the sentence "the service's answer …".
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The answer ends too early: another one may be whole.
    CutOff(String),
    /// The answer is not what the service promises.
    Shape(String),
}

impl Reply {
    /// Finds accounts, rows and complaints.
    pub fn read(text: PackedText) -> Result<Reply, Unreadable> {
        let outline = Outline::find(&text, &SHAPE).map_err(|defect| match defect {
            Defect::CutOff => Unreadable::CutOff(format!("is cut off after {} bytes", text.len())),
            Defect::Shape(at) => Unreadable::Shape(format!("is no JSON at byte {at}")),
            Defect::TooMany(most) => {
                Unreadable::Shape(format!("lists more than {most} things, the most that are read"))
            }
        })?;
        let connections = list::<Connection>(outline.value("connections"));
        let is_second = outline.value("errlist").is_some() || outline.value("connections").is_some();
        let banks: Vec<(String, String)> = connections.iter().map(Connection::names).collect();
        let mut piece = Pieces { text: &text, unpacker: Unpacker::default() };
        let listed = outline.accounts.as_ref().ok_or_else(|| Unreadable::Shape("has no list of accounts".into()))?;
        let accounts = listed.iter().map(|listed| piece.listing(listed, &banks)).collect();
        let mut complaints = Vec::new();
        if is_second {
            let coded = list::<Coded>(outline.value("errlist"));
            complaints.extend(coded.iter().map(|coded| coded.complaint(&banks)));
        }
        let known: Vec<String> = complaints.iter().map(|complaint: &Complaint| complaint.words.clone()).collect();
        // A version 2 answer may repeat its complaints in the old form.
        let plain = list::<&RawValue>(outline.value("errors")).into_iter().map(|raw| words(Some(raw)));
        let plain =
            plain.filter(|words| !words.is_empty() && !known.iter().any(|known| known.contains(words.as_str())));
        complaints.extend(plain.map(|words| Complaint { about: about(&words), words }));
        Ok(Reply { text, accounts, complaints })
    }

    /// Number of rows in it.
    pub fn rows(&self) -> usize {
        self.accounts
            .iter()
            .map(|listing| listing.rows.iter().map(Vec::len).sum::<usize>() + listing.unread.len())
            .sum()
    }
}

/// The elements of a list; nothing where there is no list, and no element that has another shape.
fn list<'a, T: Deserialize<'a>>(raw: Option<&'a str>) -> Vec<T> {
    let elements: Vec<&RawValue> = raw.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
    elements.into_iter().filter_map(|element| serde_json::from_str(element.get()).ok()).collect()
}

/// A connection of a version 2 answer.
#[derive(Deserialize)]
struct Connection<'a> {
    #[serde(borrow)]
    conn_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    org_name: Option<&'a RawValue>,
    #[serde(borrow)]
    org_id: Option<&'a RawValue>,
}

impl Connection<'_> {
    /// The id, and the best name that there is.
    fn names(&self) -> (String, String) {
        let names = [self.name, self.org_name, self.org_id, self.conn_id].map(words);
        (words(self.conn_id), names.into_iter().find(|name| !name.is_empty()).unwrap_or_default())
    }
}

/// The bank of a version 1 account.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Org<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    domain: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    sfin_url: Option<&'a RawValue>,
}

/// A complaint of a version 2 answer.
#[derive(Deserialize)]
struct Coded<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    conn_id: Option<&'a RawValue>,
    #[serde(borrow)]
    account_id: Option<&'a RawValue>,
}

impl Coded<'_> {
    fn complaint(&self, banks: &[(String, String)]) -> Complaint {
        let (code, within, id) = (words(self.code), words(self.conn_id), words(self.account_id));
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let about = match code.split('.').next().unwrap_or_default() {
            _ if code == "gen.auth" => About::Access,
            "con" => About::Login { within: some(&within) },
            "act" => About::Account { id: some(&id) },
            _ => About::Answer,
        };
        let said = [self.msg, self.message].map(words).into_iter().find(|words| !words.is_empty());
        let mut words = said.unwrap_or_else(|| format!("code {code}"));
        let bank = banks.iter().find(|(id, _)| *id == within).map(|(_, bank)| bank.as_str()).unwrap_or(&within);
        if !bank.is_empty() && !words.contains(bank) {
            words = format!("{bank}: {words}");
        }
        Complaint { about, words }
    }
}

/// The subject of a version 1 complaint, which has no code.
fn about(words: &str) -> About {
    let lower = words.to_lowercase();
    match () {
        () if lower.contains("payment required") => About::Payment,
        () if lower.contains("attention") || lower.contains("reauthenticate") => About::Login { within: None },
        () => About::Answer,
    }
}

/// The text of an answer, piece by piece.
struct Pieces<'a> {
    text: &'a PackedText,
    unpacker: Unpacker,
}

impl Pieces<'_> {
    fn at(&mut self, span: Span) -> &str {
        self.unpacker.get(std::slice::from_ref(self.text), 0, span.range())
    }

    fn listing(&mut self, listed: &Listed, banks: &[(String, String)]) -> Listing {
        let text = |key| listed.value(key).map(words_in).unwrap_or_default();
        let org: Org = listed.value("org").and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        let connection = text("conn_id");
        let bank = banks.iter().find(|(id, _)| *id == connection).map(|(_, bank)| bank.clone());
        let named = [org.name, org.domain, org.id].map(words).into_iter().find(|name| !name.is_empty());
        let within = [org.id, org.domain, org.name, org.sfin_url].map(words).into_iter().find(|name| !name.is_empty());
        let (rows, unread) = match &listed.rows {
            None => (None, Vec::new()),
            Some(spans) => self.rows(spans),
        };
        Listing {
            id: text("id"),
            within: Some(connection).filter(|id| !id.is_empty()).or(within).unwrap_or_default(),
            bank: bank.or(named).unwrap_or_default(),
            name: text("name"),
            currency: text("currency"),
            balance: listed.value("balance").map_or(Ok(None), money_in),
            balance_time: wire::instant(&text("balance-date")).filter(|time| time.timestamp() > 0),
            rows,
            unread,
        }
    }

    /// The places of the booked rows, and the rows that cannot be read. Two different rows under one id are neither.
    fn rows(&mut self, spans: &[Span]) -> (Option<Vec<Place>>, Vec<Unread>) {
        let (mut places, mut unread) = (Vec::new(), Vec::new());
        // The place of each id among `places`.
        let mut known: HashMap<u64, usize> = HashMap::new();
        let mut contradicted = Vec::new();
        for (number, span) in (1..).zip(spans) {
            let raw = self.at(*span).to_owned();
            let place = match place(&raw, *span) {
                Ok(Some(place)) => place,
                Ok(None) => continue,
                Err(fault) => {
                    unread.push(Unread { why: fault.sentence(number), id: fault.id, posted: fault.posted });
                    continue;
                }
            };
            match known.get(&place.id).copied() {
                None => {
                    known.insert(place.id, places.len());
                    places.push(place);
                }
                Some(first) => {
                    let other: &Place = &places[first];
                    if self.at(other.span) != raw && !contradicted.contains(&place.id) {
                        contradicted.push(place.id);
                        let mut room = String::new();
                        let id = Entry::read(&raw, &mut room).and_then(|entry| entry.id()).unwrap_or_default();
                        let why = "it stands there twice, differently".to_owned();
                        let fault = Fault { id: Some(id), posted: Some(place.posted), why };
                        unread.push(Unread { why: fault.sentence(number), id: fault.id, posted: fault.posted });
                    }
                }
            }
        }
        places.retain(|place| !contradicted.contains(&place.id));
        places.sort_by_key(|place| (place.posted, place.id));
        (Some(places), unread)
    }
}

/// The fault of a row.
struct Fault {
    id: Option<String>,
    posted: Option<DateTime<Utc>>,
    why: String,
}

impl Fault {
    fn sentence(&self, number: usize) -> String {
        let name = self.id.as_ref().map_or_else(|| format!("row {number}"), |id| format!("entry {}", short(id)));
        let day = self.posted.map(|time| format!(" of {}", time.date_naive())).unwrap_or_default();
        format!("{name}{day} cannot be read: {}", self.why)
    }
}

/// The place of a row; `Ok(None)` for one that is not booked yet.
fn place(raw: &str, span: Span) -> Result<Option<Place>, Fault> {
    let mut room = String::new();
    let Some(entry) = Entry::read(raw, &mut room) else {
        return Err(Fault { id: None, posted: None, why: "it is no JSON object with one value a key".into() });
    };
    if entry.is_pending() {
        return Ok(None);
    }
    let id = entry.id();
    let posted = entry.posted();
    match (id, posted) {
        (Some(id), Ok(posted)) => Ok(Some(Place { posted, id: hash(&id), span })),
        (None, posted) => Err(Fault { id: None, posted: posted.ok(), why: "it has no id".into() }),
        (id, Err(why)) => Err(Fault { id, posted: None, why }),
    }
}

/// The hash of an id within one answer.
fn hash(id: &str) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.write(id.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Reply {
        Reply::read(json.into()).unwrap()
    }

    #[test]
    fn both_versions_are_told_by_their_keys() {
        let second = read(
            r#"{"errlist":[{"code":"con.auth","msg":"Authentication failed","conn_id":"C1"},
               {"code":"act.missingdata","message":"some are missing","account_id":"A 1"},{"code":"gen.api","msg":"capped"},
               {"code":"xyz.new"},{"code":"gen.auth","msg":"no"},5],"errors":["capped","You must reauthenticate."],
               "connections":[{"conn_id":"C1","name":"Bank - Alex","org_name":"Bank"}],
               "accounts":[{"id":"A 1","conn_id":"C1","name":"Checking","currency":"USD","balance":"-05.50",
               "balance-date":1791014400,"transactions":[]},{"id":"A2","conn_id":"C9"}]}"#,
        );
        let account = &second.accounts[0];
        assert_eq!((&*account.id, &*account.within, &*account.bank), ("A 1", "C1", "Bank - Alex"));
        assert_eq!(account.balance, Ok(Some("-5.50".parse().unwrap())));
        assert!(account.rows.as_ref().is_some_and(Vec::is_empty) && second.accounts[1].rows.is_none());
        let complaints: Vec<_> = second.complaints.iter().map(|found| (&found.about, &*found.words)).collect();
        let (login, account) = (About::Login { within: Some("C1".into()) }, About::Account { id: Some("A 1".into()) });
        assert_eq!(
            complaints,
            [
                (&login, "Bank - Alex: Authentication failed"),
                (&account, "some are missing"),
                (&About::Answer, "capped"),
                (&About::Answer, "code xyz.new"),
                (&About::Access, "no"),
                (&About::Login { within: None }, "You must reauthenticate."),
            ]
        );
        let first = read(
            r#"{"errors":["Connection to The Bank may need attention","Payment required.","other"],"accounts":[
               {"org":{"name":"The Bank","domain":"bank.example"},"id":"1","currency":"","balance":"x"}]}"#,
        );
        assert_eq!((&*first.accounts[0].within, &*first.accounts[0].bank), ("bank.example", "The Bank"));
        assert_eq!(first.accounts[0].balance, Err("x".into()));
        let abouts: Vec<_> = first.complaints.into_iter().map(|complaint| complaint.about).collect();
        assert_eq!(abouts, [About::Login { within: None }, About::Payment, About::Answer]);
    }

    #[test]
    fn rows_are_found_and_pending_ones_are_held_back() {
        let reply = read(
            r#"{"accounts":[{"id":"A","transactions":[
              {"id":"late","posted":200,"amount":"1"},{"id":"p","posted":0,"amount":"1"},{"id":"early","posted":100},
              {"id":"late","posted":200,"amount":"1"},{"id":"q","posted":9,"pending":true},
              {"id":"two","posted":5,"amount":"1"},{"id":"two","posted":5,"amount":"2"},{"id":"two","posted":5,"amount":"3"},
              {"posted":7},{"id":"x","posted":"soon"},8]}]}"#,
        );
        let account = &reply.accounts[0];
        let posted: Vec<i64> = account.rows.iter().flatten().map(|place| place.posted.timestamp()).collect();
        assert_eq!(posted, [100, 200]);
        let why: Vec<&str> = account.unread.iter().map(|unread| &*unread.why).collect();
        assert_eq!(
            why,
            [
                "entry two of 1970-01-01 cannot be read: it stands there twice, differently",
                "row 9 of 1970-01-01 cannot be read: it has no id",
                "entry x cannot be read: its date (`posted`) `soon` is no number of seconds",
                "row 11 cannot be read: it is no JSON object with one value a key",
            ]
        );
    }

    #[test]
    fn an_answer_without_accounts_is_none() {
        for (bad, why) in [
            ("{\"accounts\":[{\"id\":\"A\",\"transactions\":[{\"id\"", "is cut off after"),
            ("{}", "has no list of accounts"),
            ("{\"errors\":[]}", "has no list of accounts"),
            ("{\"accounts\":]}", "is no JSON at byte"),
        ] {
            let (Unreadable::CutOff(error) | Unreadable::Shape(error)) = Reply::read(bad.into()).err().unwrap();
            assert!(error.starts_with(why), "{bad}: {error}");
        }
    }

    /// Every recorded answer can be read, and says what the notes on the recordings say.
    #[test]
    fn recorded_answers_are_read() {
        let Some(folder) = std::env::var_os("BANKFEED_RECORDINGS").map(std::path::PathBuf::from) else {
            println!("skipped: BANKFEED_RECORDINGS is not set");
            return;
        };
        let mut read = 0;
        for entry in std::fs::read_dir(folder.join("simplefin")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if !["v1_", "v2_", "invented"].iter().any(|kind| name.starts_with(kind)) {
                continue;
            }
            read += 1;
            let recording: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let body = recording["response"]["body"].to_string();
            let reply = Reply::read(body.as_str().into()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let complaints: Vec<&About> = reply.complaints.iter().map(|complaint| &complaint.about).collect();
            match name.as_str() {
                "v2_accounts_200_demo" => assert_eq!(reply.rows(), 4),
                "v1_accounts_200_with_errors" => assert_eq!(complaints, [&About::Login { within: None }; 2]),
                "v2_errlist_range_capped_200" | "v2_errlist_range_recommended_200" => {
                    assert_eq!(complaints, [&About::Answer])
                }
                "v2_doc_errlist_codes" => assert_eq!(complaints.len(), 3),
                "invented_v2_accounts_id_traps" => assert_eq!((reply.rows(), reply.accounts.len()), (4, 3)),
                _ => assert!(complaints.is_empty() && !reply.accounts.is_empty(), "{name}"),
            }
            for listing in &reply.accounts {
                assert!(listing.unread.is_empty() && listing.balance.is_ok(), "{name}: {listing:?}");
            }
        }
        assert_eq!(read, 10);
    }
}
