//! The form of records on disk. Every value is `[version][crc32][payload]`; a transaction's payload is compressed against
//! a dictionary that ships with the program, so that a row with its raw payload stays around two hundred bytes.
//!
//! Stored formats freeze: a new shape gets a new version byte and the old one stays readable.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, Offset};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};

use crate::model::{Enrichment, Row};

/// Plain JSON payload.
const JSON: u8 = 1;
/// postcard, compressed against `dictionary-1.txt`.
const ROW_1: u8 = 2;
/// Bytes as they are.
const BYTES: u8 = 3;

/// Text that resembles what banks send. Changing it makes every record unreadable: add another instead.
const DICTIONARY_1: &[u8] = include_bytes!("dictionary-1.txt");

/// Half the work of the levels that save a few bytes more: a first pull compresses a whole history at once.
const LEVEL: i32 = 3;

/// Longest row before it is compressed: a longer one is refused when it is to be written, and damage when it is read.
const MAX_ROW_BYTES: usize = 4 * 1024 * 1024;

/// Part of it that is left to what rules add.
const ENRICHMENT_BYTES: usize = 256 * 1024;

/// Longest value of any record, on both sides like the longest row.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

/// A record that could not be read back, and why it is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit(pub String);

impl Unfit {
    /// Too long, and how long it may be.
    pub fn too_long(bytes: usize, most: usize) -> Unfit {
        let (bytes, most) = (bytes / 1024, most / 1024);
        Unfit(format!("{bytes} KiB of data, more than the {most} KiB that can be stored"))
    }
}

fn broken(what: impl std::fmt::Display) -> Broken {
    Broken(what.to_string())
}

/// A transaction as stored: the account by number, the id without what the account already says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Number of its account.
    pub account: u16,
    /// The bank no longer shows it.
    pub vanished: bool,
    /// The bank's data.
    pub row: Row,
    /// The values that rules added.
    pub enrichment: Enrichment,
}

/// The frozen shape of a row, version 1. Field order is the format.
#[derive(Serialize, Deserialize)]
struct Row1<'a> {
    account: u16,
    vanished: bool,
    id: &'a str,
    id_is_suffix: bool,
    seconds: i64,
    offset_seconds: i32,
    date: i32,
    value_date: Option<i32>,
    amount: Amount1,
    balance: Option<Amount1>,
    currency: &'a str,
    kind: &'a str,
    kind_code: &'a str,
    reference: &'a str,
    counterparty: &'a str,
    counterparty_account: &'a str,
    description: &'a str,
    enrichment: Option<Enrichment>,
    /// UTF-8; whoever has no use for it is spared the proof.
    #[serde(serialize_with = "as_bytes")]
    raw: &'a [u8],
}

/// Bytes look like text on disk: their number, then they themselves.
fn as_bytes<S: Serializer>(raw: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(raw)
}

/// The part of a row that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole row.
    Whole,
    /// The row with an empty payload, which is most of its bytes. Not to be stored again.
    WithoutRaw,
}

#[derive(Serialize, Deserialize)]
struct Amount1 {
    mantissa: i128,
    scale: u32,
}

impl Amount1 {
    fn of(amount: Decimal) -> Amount1 {
        Amount1 { mantissa: amount.mantissa(), scale: amount.scale() }
    }

    fn decimal(&self) -> Result<Decimal, Broken> {
        Decimal::try_from_i128_with_scale(self.mantissa, self.scale).map_err(broken)
    }
}

/// Compresses and decompresses rows. The contexts are made when first needed and can be dropped again, because an idle
/// daemon must stay small.
#[derive(Default)]
pub struct Codec {
    compressor: Mutex<Option<zstd::bulk::Compressor<'static>>>,
    decompressor: Mutex<Option<Decompressor>>,
}

struct Decompressor {
    zstd: zstd::bulk::Decompressor<'static>,
    /// The last row decompressed; its room serves the next one.
    plain: Vec<u8>,
}

impl Codec {
    /// A row as a value. `prefix` is what ids of its account begin with; it is not stored again.
    pub fn encode_row(&self, stored: &StoredRow, prefix: &str) -> Result<Vec<u8>, Unfit> {
        let plain = plain_row(stored, prefix)?;
        if plain.len() > MAX_ROW_BYTES {
            return Err(Unfit::too_long(plain.len(), MAX_ROW_BYTES));
        }
        let mut slot = lock(&self.compressor);
        if slot.is_none() {
            *slot = Some(zstd::bulk::Compressor::with_dictionary(LEVEL, DICTIONARY_1).map_err(unfit)?);
        }
        let compressor = slot.as_mut().ok_or_else(|| unfit("no compressor"))?;
        Ok(seal(ROW_1, &compressor.compress(&plain).map_err(unfit)?))
    }

    /// A row from a value.
    pub fn decode_row<'p>(
        &self,
        value: &[u8],
        part: Part,
        prefix_of: impl Fn(u16) -> &'p str,
    ) -> Result<StoredRow, Broken> {
        self.with_shape(value, |shape| shape.into_row(part, prefix_of))
    }

    /// Proves that a value holds a row.
    pub fn check_row(&self, value: &[u8]) -> Result<(), Broken> {
        self.with_shape(value, |shape| {
            std::str::from_utf8(shape.raw).map_err(broken)?;
            shape.figures().map(drop)
        })
    }

    fn with_shape<T>(&self, value: &[u8], read: impl FnOnce(Row1<'_>) -> Result<T, Broken>) -> Result<T, Broken> {
        let payload = unseal(ROW_1, value)?;
        let size = zstd::zstd_safe::get_frame_content_size(payload).map_err(|_| broken("not a compressed record"))?;
        let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MAX_ROW_BYTES);
        let size = size.ok_or_else(|| broken("a record of impossible size"))?;
        let mut slot = lock(&self.decompressor);
        if slot.is_none() {
            let zstd = zstd::bulk::Decompressor::with_dictionary(DICTIONARY_1).map_err(broken)?;
            *slot = Some(Decompressor { zstd, plain: Vec::new() });
        }
        let Decompressor { zstd, plain } = slot.as_mut().ok_or_else(|| broken("no decompressor"))?;
        plain.clear();
        plain.reserve(size);
        zstd.decompress_to_buffer(payload, plain).map_err(broken)?;
        read(postcard::from_bytes(plain).map_err(broken)?)
    }

    /// Drops what only work needs.
    pub fn rest(&self) {
        *lock(&self.compressor) = None;
        *lock(&self.decompressor) = None;
    }
}

/// A row in the frozen shape, not yet compressed.
fn plain_row(stored: &StoredRow, prefix: &str) -> Result<Vec<u8>, Unfit> {
    let row = &stored.row;
    let suffix = row.id.strip_prefix(prefix).filter(|_| !prefix.is_empty());
    let enriched = stored.enrichment != Enrichment::default();
    let shape = Row1 {
        account: stored.account,
        vanished: stored.vanished,
        id: suffix.unwrap_or(&row.id),
        id_is_suffix: suffix.is_some(),
        seconds: row.time.timestamp(),
        offset_seconds: row.time.offset().fix().local_minus_utc(),
        date: row.date.num_days_from_ce(),
        value_date: row.value_date.map(|date| date.num_days_from_ce()),
        amount: Amount1::of(row.amount),
        balance: row.balance.map(Amount1::of),
        currency: &row.currency,
        kind: &row.kind,
        kind_code: &row.kind_code,
        reference: &row.reference,
        counterparty: &row.counterparty,
        counterparty_account: &row.counterparty_account,
        description: &row.description,
        enrichment: enriched.then(|| stored.enrichment.clone()),
        raw: row.raw.as_bytes(),
    };
    postcard::to_stdvec(&shape).map_err(unfit)
}

/// Refuses a row that cannot be stored, with room for what rules may add.
pub fn fits(row: &Row) -> Result<(), Unfit> {
    let texts = [&row.counterparty, &row.counterparty_account, &row.description, &row.kind, &row.kind_code];
    let others = [&row.id, &row.reference, &row.currency, &row.raw];
    let bytes = texts.iter().chain(&others).map(|text| text.len()).sum::<usize>();
    let most = MAX_ROW_BYTES - ENRICHMENT_BYTES;
    if bytes > most { Err(Unfit::too_long(bytes, most)) } else { Ok(()) }
}

fn unfit(why: impl std::fmt::Display) -> Unfit {
    Unfit(why.to_string())
}

/// The figures of a row in their types.
struct Figures {
    time: DateTime<FixedOffset>,
    date: NaiveDate,
    value_date: Option<NaiveDate>,
    amount: Decimal,
    balance: Option<Decimal>,
}

impl Row1<'_> {
    fn figures(&self) -> Result<Figures, Broken> {
        let offset = FixedOffset::east_opt(self.offset_seconds).ok_or_else(|| broken("impossible offset"))?;
        let time = DateTime::from_timestamp(self.seconds, 0).ok_or_else(|| broken("impossible time"))?;
        let date = |days| NaiveDate::from_num_days_from_ce_opt(days).ok_or_else(|| broken("impossible date"));
        Ok(Figures {
            time: time.with_timezone(&offset),
            date: date(self.date)?,
            value_date: self.value_date.map(date).transpose()?,
            amount: self.amount.decimal()?,
            balance: self.balance.as_ref().map(Amount1::decimal).transpose()?,
        })
    }

    fn into_row<'p>(self, part: Part, prefix_of: impl Fn(u16) -> &'p str) -> Result<StoredRow, Broken> {
        let Figures { time, date, value_date, amount, balance } = self.figures()?;
        let id = if self.id_is_suffix { [prefix_of(self.account), self.id].concat() } else { self.id.to_owned() };
        let row = Row {
            id,
            time,
            date,
            value_date,
            amount,
            currency: self.currency.to_owned(),
            balance,
            counterparty: self.counterparty.to_owned(),
            counterparty_account: self.counterparty_account.to_owned(),
            description: self.description.to_owned(),
            kind: self.kind.to_owned(),
            kind_code: self.kind_code.to_owned(),
            reference: self.reference.to_owned(),
            raw: match part {
                Part::Whole => std::str::from_utf8(self.raw).map_err(broken)?.to_owned(),
                Part::WithoutRaw => String::new(),
            },
        };
        let enrichment = self.enrichment.unwrap_or_default();
        Ok(StoredRow { account: self.account, vanished: self.vanished, row, enrichment })
    }
}

/// Any small record as a value.
pub fn encode_json<T: Serialize>(record: &T) -> Result<Vec<u8>, Unfit> {
    Ok(seal(JSON, &serde_json::to_vec(record).map_err(unfit)?))
}

/// A small record from a value.
pub fn decode_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, Broken> {
    serde_json::from_slice(unseal(JSON, value)?).map_err(broken)
}

/// Bytes as a value.
pub fn encode_bytes(bytes: &[u8]) -> Vec<u8> {
    seal(BYTES, bytes)
}

/// Bytes from a value.
pub fn decode_bytes(value: &[u8]) -> Result<&[u8], Broken> {
    unseal(BYTES, value)
}

/// Proves that a value of any version is as it was written.
pub fn check(value: &[u8]) -> Result<(), Broken> {
    unseal(*value.first().ok_or_else(|| broken("a record without a head"))?, value).map(drop)
}

fn seal(version: u8, payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(payload.len() + 5);
    value.push(version);
    value.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    value.extend_from_slice(payload);
    value
}

fn unseal(version: u8, value: &[u8]) -> Result<&[u8], Broken> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(broken("a record of impossible size"));
    }
    let Some((head, payload)) = value.split_at_checked(5) else { return Err(broken("a record without a head")) };
    if head[0] != version {
        return Err(Broken(format!("record version {} where {version} was due", head[0])));
    }
    if crc32fast::hash(payload).to_le_bytes() != head[1..] {
        return Err(broken("a record whose checksum does not match"));
    }
    Ok(payload)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A codec holds no state between calls, so one that panicked midway is as good as new.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StoredRow {
        let time = DateTime::parse_from_rfc3339("2026-02-03T10:11:12+02:00").unwrap();
        let row = Row {
            id: "fibank:BG32FINV91501000000001:900000001".into(),
            time,
            date: time.date_naive(),
            value_date: NaiveDate::from_ymd_opt(2026, 2, 3),
            amount: "-9.50".parse().unwrap(),
            currency: "EUR".into(),
            balance: Some("90.5".parse().unwrap()),
            counterparty: "ИЗМИСЛЕН ЕООД".into(),
            counterparty_account: "BG05FINV91501000000002".into(),
            description: "Фактура 0000 =IMPORTXML(\"x\")".into(),
            kind: "Измислен превод".into(),
            kind_code: "FAK".into(),
            reference: "FAKE0000001".into(),
            raw: r#"{"acEntrySrNo":900000001,"reference":"FAKE0000001","trnType":"ZZ","trnCode":"FAK","dtkt":"D","amount":9.5,"acBal":90.5,"dateTime":"2026-02-03T10:11:12+0200","valueDt":"2026-02-03T00:00:00+0200","trname":"Измислен превод","contragent":"ИЗМИСЛЕН ЕООД","trnAccount":"BG05FINV91501000000002","remI":"Фактура 0000 =IMPORTXML(\"x\")","isEbankOper":"Y"}"#.into(),
        };
        StoredRow { account: 3, vanished: false, row, enrichment: Enrichment::default() }
    }

    #[test]
    fn a_row_survives_the_round_trip_and_stays_small() {
        let codec = Codec::default();
        let prefix = "fibank:BG32FINV91501000000001:";
        let value = codec.encode_row(&sample(), prefix).unwrap();
        assert_eq!(codec.decode_row(&value, Part::Whole, |_| prefix), Ok(sample()));
        assert!(value.len() < 260, "{} bytes for a payload of {}", value.len(), sample().row.raw.len());
    }

    #[test]
    fn a_row_that_is_written_can_be_read_and_one_that_could_not_is_refused() {
        let codec = Codec::default();
        let of = |bytes: usize| {
            let mut stored = sample();
            stored.row.raw = "x".repeat(bytes);
            stored
        };
        let mut refused = 0;
        for bytes in (MAX_ROW_BYTES - 300..MAX_ROW_BYTES + 100).step_by(20) {
            match codec.encode_row(&of(bytes), "") {
                Ok(value) => assert_eq!(codec.decode_row(&value, Part::Whole, |_| ""), Ok(of(bytes)), "{bytes}"),
                Err(Unfit(why)) => {
                    assert_eq!(why, "4096 KiB of data, more than the 4096 KiB that can be stored");
                    refused += 1;
                }
            }
        }
        assert!((5..20).contains(&refused), "{refused}");
        assert!(fits(&of(MAX_ROW_BYTES - ENRICHMENT_BYTES - 1000).row).is_ok());
        assert!(fits(&of(MAX_ROW_BYTES - ENRICHMENT_BYTES).row).is_err());
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let codec = Codec::default();
        let value = codec.encode_row(&sample(), "").unwrap();
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(codec.decode_row(&damaged, Part::Whole, |_| "").is_err(), "byte {at}");
        }
        assert!(codec.decode_row(&[], Part::Whole, |_| "").is_err());
    }
}
