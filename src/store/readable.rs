//! The proof that a record can be read: its length, and its meaning. A checksum only says that a record
//! is as it was written.

use serde::de::IgnoredAny;

use super::codec::{Codec, MAX_VALUE_BYTES, Unfit, check, decode_json};
use super::keys::{parse_day, parse_day_key};
use super::read::parse_change;
use super::{DestinationState, DoubtfulRow, Error, Meta, NotifierState, Result, SourceState, StoredAccount};

/// Refuses a record too long to be read back.
pub fn short_enough(key: &[u8], bytes: usize) -> Result<()> {
    if bytes <= MAX_VALUE_BYTES {
        return Ok(());
    }
    let Unfit(why) = Unfit::too_long(bytes, MAX_VALUE_BYTES);
    Err(Error::Unfit(format!("{} cannot be stored: {why}", name(key))))
}

/// Reads a record as whoever needs it would.
pub fn read(codec: &Codec, key: &[u8], value: &[u8]) -> Result<()> {
    match key.first() {
        Some(b't') => codec.check_row(value)?,
        Some(b'c') => codec.check_row(&parse_change(value)?.former)?,
        Some(b'k' | b'i') => drop(parse_day(value, parse_day_key(key)?.0)?),
        Some(b'a') => drop(decode_json::<StoredAccount>(value)?),
        Some(b's') => drop(decode_json::<SourceState>(value)?),
        Some(b'd') => drop(decode_json::<DestinationState>(value)?),
        Some(b'n') => drop(decode_json::<NotifierState>(value)?),
        Some(b'u') => drop(decode_json::<DoubtfulRow>(value)?),
        Some(b'r') => drop(decode_json::<IgnoredAny>(value)?),
        Some(b'm') => drop(decode_json::<Meta>(value)?),
        _ => check(value)?,
    }
    Ok(())
}

/// A record in words.
fn name(key: &[u8]) -> String {
    let named = || String::from_utf8_lossy(key[1..].split(|byte| *byte == 0).next().unwrap_or_default());
    match key.first() {
        Some(b's') => format!("what is remembered of source `{}`", named()),
        Some(b'd') => format!("what is remembered of destination `{}`", named()),
        Some(b'n') => format!("what is remembered of notifier `{}`", named()),
        Some(b'a') => "what is known of an account".into(),
        Some(b'u') => "a row that is kept apart".into(),
        Some(b'r') => "the report of a run".into(),
        Some(b'k' | b'i') => "the index of a day".into(),
        _ => "a transaction".into(),
    }
}
