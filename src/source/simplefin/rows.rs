//! The rows of a page, made one by one from the texts of the answers.

use std::sync::Arc;

use super::reply::{Place, Reply};
use super::wire::Entry;
use crate::model::Row;
use crate::remote::packed::Unpacker;
use crate::source::Refused;
use crate::source::content_id::plain;

/// The id of a row here.
pub(super) fn row_id(account: &str, native: &str) -> String {
    format!("simplefin:{}:{}", plain(account), plain(native))
}

/// The account that rows are of.
pub(super) struct Owner {
    /// The account's id here.
    pub account: String,
    pub currency: String,
    /// The feed states money out as positive.
    pub is_inverted: bool,
}

/// The rows of a page.
pub(super) struct Rows {
    pub owner: Owner,
    replies: Vec<Arc<Reply>>,
    /// The places of the rows, oldest first, each with the number of its answer.
    places: Vec<(u16, Place)>,
    next: usize,
    /// The answer that was read last, and the means to read it.
    unpacker: (u16, Unpacker),
}

impl Rows {
    /// The rows at these places.
    pub fn new(owner: Owner, replies: Vec<Arc<Reply>>, places: Vec<(u16, Place)>) -> Rows {
        Rows { owner, replies, places, next: 0, unpacker: (0, Unpacker::default()) }
    }

    fn row(&mut self, number: u16, place: &Place) -> Result<Row, Refused> {
        let Some(reply) = self.replies.get(usize::from(number)) else { return Err(self.refused(None, place, "")) };
        if self.unpacker.0 != number {
            self.unpacker = (number, Unpacker::default());
        }
        let raw = self.unpacker.1.get(std::slice::from_ref(&reply.text), 0, place.span.range()).to_owned();
        let mut room = String::new();
        let Some(entry) = Entry::read(&raw, &mut room) else {
            return Err(self.refused(None, place, "it is no JSON object with one value a key"));
        };
        let native = entry.id().unwrap_or_default();
        let amount = entry.amount().map_err(|why| self.refused(Some(&native), place, &why))?;
        let [description, payee, memo] = entry.texts();
        let id = row_id(&self.owner.account, &native);
        Ok(Row {
            id,
            time: place.posted.fixed_offset(),
            date: place.posted.date_naive(),
            value_date: None,
            amount: if self.owner.is_inverted { -amount } else { amount },
            currency: self.owner.currency.clone(),
            balance: None,
            counterparty: payee,
            counterparty_account: String::new(),
            description: if description.is_empty() { memo } else { description },
            kind: String::new(),
            kind_code: String::new(),
            reference: String::new(),
            raw,
        })
    }

    fn refused(&self, native: Option<&str>, place: &Place, why: &str) -> Refused {
        let day = place.posted.date_naive();
        let name = native.map_or_else(|| "a row".to_owned(), |id| format!("entry {}", super::wire::short(id)));
        Refused {
            id: native.map(|native| row_id(&self.owner.account, native)),
            time: Some(place.posted.fixed_offset()),
            since: day,
            why: format!("{name} of {day} cannot be read: {why}"),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Refused>;

    fn next(&mut self) -> Option<Result<Row, Refused>> {
        let (number, place) = *self.places.get(self.next)?;
        self.next += 1;
        Some(self.row(number, &place))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.places.len() - self.next;
        (left, Some(left))
    }
}
