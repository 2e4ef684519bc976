//! The query of an address: a selection like that of the commands, and the cursor of the next page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, NaiveDate, Utc};
use url::form_urlencoded;

use crate::model::Transaction;
use crate::selection::Selection;
use crate::selection::day::{Edge, day};

/// Longest text to search for.
const LONGEST_SEARCH: usize = 200;

/// Parameters that select transactions.
pub(super) const SELECTING: [&str; 5] = ["since", "until", "account", "search", "limit"];

/// The selection of an address. The error names a parameter that is not `allowed` or that makes no sense.
pub(super) fn selection(query: &str, allowed: &[&str], today: NaiveDate) -> Result<Selection, String> {
    let date = |key: &str, text: &str, edge: Edge| day(text, edge, today).map_err(|why| format!("{key}: {why}"));
    let mut selection = Selection::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        if !allowed.contains(&key.as_ref()) {
            // The error does not repeat the unknown parameter, which may be a token in the wrong place.
            return Err(format!("unknown parameter; there are: {}", allowed.join(", ")));
        }
        if value.is_empty() {
            continue;
        }
        match key.as_ref() {
            "since" => selection.since = Some(date("since", &value, Edge::First)?),
            "until" => selection.until = Some(date("until", &value, Edge::Last)?),
            "account" => selection.account = Some(value.into_owned()),
            "search" if value.chars().count() > LONGEST_SEARCH => {
                return Err(format!("search: longer than {LONGEST_SEARCH} characters"));
            }
            "search" => selection.search = Some(value.into_owned()),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit > 0);
                selection.limit = Some(limit.ok_or("limit: expected a whole number of at least 1")?);
            }
            _ => {}
        }
    }
    selection.contradiction().map_or(Ok(selection), Err)
}

/// The value of one parameter.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The position of a transaction in the order of time. A page goes on after a position and not after a count, so that
/// rows added meanwhile shift nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    date: NaiveDate,
    time: DateTime<Utc>,
    number: u64,
}

impl Cursor {
    /// The position of a transaction.
    pub(super) fn of(number: u64, transaction: &Transaction) -> Cursor {
        Cursor { date: transaction.row.date, time: transaction.row.time.to_utc(), number }
    }

    /// The day of the transaction.
    pub(super) fn date(&self) -> NaiveDate {
        self.date
    }

    /// The cursor as opaque text.
    pub(super) fn to_cursor(self) -> String {
        let nanoseconds = self.time.timestamp_subsec_nanos();
        BASE64.encode(format!("{} {} {nanoseconds} {}", self.date, self.time.timestamp(), self.number))
    }

    /// Reads the text of a cursor.
    pub(super) fn from_cursor(cursor: &str) -> Result<Cursor, String> {
        let read = || {
            let text = String::from_utf8(BASE64.decode(cursor).ok()?).ok()?;
            let parts: Vec<&str> = text.split(' ').collect();
            let [date, seconds, nanoseconds, number] = parts[..] else { return None };
            let time = DateTime::from_timestamp(seconds.parse().ok()?, nanoseconds.parse().ok()?)?;
            Some(Cursor { date: date.parse().ok()?, time, number: number.parse().ok()? })
        };
        read().ok_or_else(|| "cursor: not one that was given out here; leave it out to begin anew".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_selects_as_a_command_line_does() {
        let today = NaiveDate::from_ymd_opt(2026, 3, 31).unwrap();
        let selection = |query: &str, allowed: &[&str]| super::selection(query, allowed, today);
        let found = selection("since=2026-01-02&until=&search=%D1%85%D0%BB%D1%8F%D0%B1+1&limit=3", &SELECTING).unwrap();
        assert_eq!(found.since, NaiveDate::from_ymd_opt(2026, 1, 2));
        assert_eq!((found.until, found.search.as_deref(), found.limit), (None, Some("хляб 1"), Some(3)));
        for (query, error) in [
            ("limit=0", "limit: expected a whole number of at least 1"),
            ("token=secret", "unknown parameter; there are: since, until, account, search, limit"),
            (
                "since=2026-02-01&until=2026-01",
                "since 2026-02-01 is after until 2026-01-31, so no day is meant; swap them",
            ),
        ] {
            assert_eq!(selection(query, &SELECTING).unwrap_err(), error);
        }
        let found = selection("since=60d&until=2026-02", &SELECTING).unwrap();
        assert_eq!(found.since, NaiveDate::from_ymd_opt(2026, 1, 30));
        assert_eq!(found.until, NaiveDate::from_ymd_opt(2026, 2, 28));
        let error = selection("since=gestern", &SELECTING).unwrap_err();
        assert!(error.starts_with("since: expected a day such as 2026-01-31"), "{error}");
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let time = DateTime::from_timestamp(1_700_000_000, 5).unwrap();
        let place = Cursor { date: time.date_naive(), time, number: 7 };
        assert_eq!(Cursor::from_cursor(&place.to_cursor()), Ok(place));
        for text in ["", "x", "MSAyIDM", "!!!", &"A".repeat(4000)] {
            assert!(Cursor::from_cursor(text).is_err(), "{text}");
        }
    }
}
