//! Keys of the store and the index of account-days, to bytes and back.

use std::ops::Bound;

use chrono::{Datelike, NaiveDate};

use super::{Error, Result, codec};
use crate::reconcile::Known;

/// Rows of one account-day as reconciling sees them.
pub(super) type Day = Vec<(u64, Known)>;

pub(super) fn named(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes()].concat()
}

pub(super) fn numbered(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn after(kind: u8, number: u64) -> (Bound<[u8; 9]>, Bound<[u8; 9]>) {
    (Bound::Excluded(numbered(kind, number)), Bound::Included(numbered(kind, u64::MAX)))
}

pub(super) fn parse_number(key: &[u8]) -> Result<u64> {
    let digits = key.get(1..).and_then(|digits| digits.try_into().ok());
    digits.map(u64::from_be_bytes).ok_or_else(|| Error::Damaged("a key of impossible length".into()))
}

/// The two indexes of account-days, by the first byte of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DayIndex {
    /// The ids under which rows are stored.
    Ids = b'k' as isize,
    /// Further ids that a source has given to rows, also to rows of other sources.
    Aliases = b'i' as isize,
}

pub(super) fn day_key(date: NaiveDate, account: u16) -> [u8; 7] {
    index_key(DayIndex::Ids, date, account)
}

pub(super) fn index_key(index: DayIndex, date: NaiveDate, account: u16) -> [u8; 7] {
    let mut key = [index as u8; 7];
    // Flipping the sign bit makes byte order the order of dates.
    let day = (date.num_days_from_ce() as u32) ^ 0x8000_0000;
    key[1..5].copy_from_slice(&day.to_be_bytes());
    key[5..].copy_from_slice(&account.to_be_bytes());
    key
}

pub(super) fn parse_day_key(key: &[u8]) -> Result<(NaiveDate, u16)> {
    let odd = || Error::Damaged("a key that names no day".into());
    let key: &[u8; 7] = key.try_into().map_err(|_| odd())?;
    let day = u32::from_be_bytes([key[1], key[2], key[3], key[4]]) ^ 0x8000_0000;
    let date = NaiveDate::from_num_days_from_ce_opt(day as i32).ok_or_else(odd)?;
    Ok((date, u16::from_be_bytes([key[5], key[6]])))
}

/// Bytes per row of an account-day: hash of the id, number with the vanished flag on top, fingerprint.
const KNOWN_BYTES: usize = 8 + 5 + 8;
const VANISHED: u64 = 1 << 39;

pub(super) fn format_day(day: &Day) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(day.len() * KNOWN_BYTES);
    for (hash, known) in day {
        let number = known.number | if known.vanished { VANISHED } else { 0 };
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes()[..5]);
        bytes.extend_from_slice(&known.fingerprint.to_le_bytes());
    }
    codec::encode_bytes(&bytes)
}

pub(super) fn parse_day(value: &[u8], date: NaiveDate) -> Result<Day> {
    let bytes = codec::decode_bytes(value)?;
    if bytes.len() % KNOWN_BYTES != 0 {
        return Err(Error::Damaged("an index entry of impossible length".into()));
    }
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let known = |entry: &[u8]| {
        let number = word(&entry[8..13]);
        let known = Known {
            number: number & !VANISHED,
            fingerprint: word(&entry[13..]),
            date,
            vanished: number & VANISHED != 0,
        };
        (word(&entry[..8]), known)
    };
    Ok(bytes.chunks_exact(KNOWN_BYTES).map(known).collect())
}
