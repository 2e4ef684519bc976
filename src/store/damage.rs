//! Naming damage: which account, day and number cannot be read any more. Slow, and only ever run on a store that is
//! known to be damaged.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::keys::{numbered, parse_day, parse_day_key, parse_number};
use super::{Error, Part, Result, Store, lock, readable};

/// Records named one by one.
const NAMED: usize = 3;

impl Store {
    /// Names what is damaged, where the error says that something is and a second reading, of a database opened anew,
    /// finds it as well. The damage is remembered, and nothing is sent from then on.
    pub fn note(&self, error: Error) -> Error {
        let Error::Damaged(why) = error else { return error };
        if let Some(known) = self.damage() {
            return Error::Damaged(known);
        }
        match self.read_again() {
            Ok(()) => return Error::Io(format!("{why}; a second reading finds everything, so it is tried again")),
            Err(Error::Damaged(_)) => {}
            Err(other) => return other,
        }
        let named = self.survey();
        let named = match named.len() {
            0 => why,
            few if few <= NAMED => format!("{} ({why})", named.join("; ")),
            many => format!("{}; and {} more ({why})", named[..NAMED].join("; "), many - NAMED),
        };
        *lock(&self.damage) = Some(named.clone());
        Error::Damaged(named)
    }

    fn read_again(&self) -> Result<()> {
        self.db.fail();
        self.revive()?;
        self.walk(|_, _| Ok(())).map(drop)
    }

    /// The known damage.
    pub fn damage(&self) -> Option<String> {
        lock(&self.damage).clone()
    }

    /// Everything that cannot be read, in words.
    fn survey(&self) -> Vec<String> {
        let mut unreadable = Vec::new();
        let index = self.index(&mut unreadable);
        let last_seq = self.meta().last_seq;
        let mut transactions = Vec::new();
        for seq in 1..=last_seq {
            let place = index.get(&seq);
            match (self.db.get(numbered(b't', seq)), place) {
                (Ok(Some(value)), _) if self.decode(&value, Part::Whole).is_ok() => {}
                (Ok(None), None) => {
                    let change = self.db.get(numbered(b'c', seq));
                    if !change.is_ok_and(|value| value.is_some_and(|value| self.parse_former(&value).is_ok())) {
                        unreadable.push(format!("change {seq} cannot be read"));
                    }
                }
                (Ok(None), Some(place)) => transactions.push((seq, place.clone(), "is gone")),
                (_, Some(place)) => transactions.push((seq, place.clone(), "cannot be read")),
                (_, None) => unreadable.push(format!("change {seq} cannot be read")),
            }
        }
        let named = transactions.into_iter().map(|(number, (account, date), what)| {
            format!("transaction number {number} of {account} on {date} {what}")
        });
        let mut all: Vec<String> = named.collect();
        all.extend(unreadable);
        all.extend(self.identities());
        all.extend(self.small_records());
        all
    }

    /// Account and day of every transaction, as far as the index can be read.
    fn index(&self, unreadable: &mut Vec<String>) -> BTreeMap<u64, (String, NaiveDate)> {
        let accounts = self.feeds();
        let mut index = BTreeMap::new();
        let mut last = None;
        for entry in self.db.prefix(b"k") {
            let Ok((key, value)) = entry else {
                let after = last.map_or("from its beginning".into(), |date| format!("after {date}"));
                unreadable.push(format!("the index of days {after} cannot be read"));
                break;
            };
            let Ok((date, account)) = parse_day_key(&key) else { continue };
            let name = accounts.get(usize::from(account)).map_or("?", |account| account.account.account.as_str());
            last = Some(date);
            match parse_day(&value, date) {
                Ok(day) => index.extend(day.iter().map(|(_, known)| (known.number, (name.to_owned(), date)))),
                Err(_) => unreadable.push(format!("the index of {name} on {date} cannot be read")),
            }
        }
        index
    }

    /// Further ids and rows kept apart that cannot be read.
    fn identities(&self) -> Vec<String> {
        let mut named = Vec::new();
        for (kind, word) in [(b'i', "days with further ids of rows"), (b'u', "rows that are kept apart")] {
            let mut count = 0;
            for entry in self.db.prefix(&[kind]) {
                let is_readable = entry.is_ok_and(|(key, value)| readable::read(&self.codec, &key, &value).is_ok());
                count += usize::from(!is_readable);
            }
            if count > 0 {
                named.push(format!("{count} {word} cannot be read"));
            }
        }
        named
    }

    /// Sources, destinations and runs that cannot be read.
    fn small_records(&self) -> Vec<String> {
        let mut named = Vec::new();
        for (kind, word) in
            [(b'a', "account"), (b's', "source"), (b'd', "destination"), (b'n', "notifier"), (b'r', "run")]
        {
            for entry in self.db.prefix(&[kind]) {
                let Ok((key, value)) = entry else {
                    named.push(format!("what is remembered of {word}s cannot be read"));
                    break;
                };
                if readable::read(&self.codec, &key, &value).is_err() {
                    let name = match kind {
                        b'r' => parse_number(&key).map_or_else(|_| "?".into(), |number| number.to_string()),
                        b'a' => key.last().map_or_else(|| "?".into(), |number| format!("number {number}")),
                        _ => {
                            let name = key[1..].split(|byte| *byte == 0).next().unwrap_or_default();
                            format!("`{}`", String::from_utf8_lossy(name))
                        }
                    };
                    named.push(format!("what is remembered of {word} {name} cannot be read"));
                }
            }
        }
        named
    }
}
