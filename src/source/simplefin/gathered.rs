//! The rows of one account from several answers, as one listing.

use chrono::NaiveDate;

use super::reply::{Listing, Place, Unread};
use super::rows::row_id;
use crate::source::Refused;

/// The rows of one account from several answers.
#[derive(Default)]
pub(super) struct Gathered<'a> {
    places: Vec<(u16, Place)>,
    unread: Vec<(NaiveDate, &'a Unread)>,
    /// The first day of the parts that have no list of rows, or none that is whole.
    pub lacking: Option<NaiveDate>,
    /// True where an answer at least has a list of rows.
    pub is_listed: bool,
}

impl<'a> Gathered<'a> {
    /// Adds the rows of an answer that was asked for from this day on.
    pub fn add(&mut self, number: u16, from: NaiveDate, listing: Option<&'a Listing>, is_spoilt: bool) {
        let rows = listing.and_then(|listing| listing.rows.as_ref());
        self.is_listed |= rows.is_some();
        if rows.is_none() || is_spoilt {
            self.lack(from);
        }
        self.places.extend(rows.into_iter().flatten().map(|place| (number, *place)));
        self.unread.extend(listing.into_iter().flat_map(|listing| &listing.unread).map(|unread| (from, unread)));
    }

    /// Notes that everything from this day on may not be whole.
    pub fn lack(&mut self, from: NaiveDate) {
        self.lacking = Some(self.lacking.map_or(from, |known| known.min(from)));
    }

    /// The places of the rows from a day on, oldest first, each id once: the newest answer's word counts.
    pub fn places(&mut self, floor: Option<NaiveDate>) -> Vec<(u16, Place)> {
        let mut places = std::mem::take(&mut self.places);
        places.sort_by_key(|(number, place)| (place.id, *number));
        places.dedup_by_key(|(_, place)| place.id);
        places.retain(|(_, place)| floor.is_none_or(|floor| place.posted.date_naive() >= floor));
        places.sort_by_key(|(_, place)| (place.posted, place.span.start));
        places
    }

    /// The rows that cannot be read, from a day on.
    pub fn refused(&self, account: &str, floor: Option<NaiveDate>) -> Vec<Refused> {
        let wanted =
            |unread: &Unread| unread.posted.is_none_or(|time| floor.is_none_or(|floor| time.date_naive() >= floor));
        let refused = |(from, unread): &(NaiveDate, &Unread)| Refused {
            id: unread.id.as_ref().map(|id| row_id(account, id)),
            time: unread.posted.map(|time| time.fixed_offset()),
            since: unread.posted.map_or(*from, |time| time.date_naive()),
            why: unread.why.clone(),
        };
        self.unread.iter().filter(|(_, unread)| wanted(unread)).map(refused).collect()
    }
}
