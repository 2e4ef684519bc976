//! The rows of a page, made one by one from the texts of the replies, and the currency of those from before the euro.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Europe::Sofia;
use rust_decimal::Decimal;

use super::{AccountRef, Place, defect, refusal, short};
use crate::model::{Account, Row};
use crate::remote::packed::{PackedText, Unpacker};
use crate::source::Refused;
use crate::source::fibank::redenomination::{self, Before};
use crate::source::fibank::wire::{self, Entry};

/// Deepest nesting of a row: in a list of rows it must be readable, too.
const ROW_DEPTH: usize = 100;

/// The rows of a page.
pub(super) struct Rows {
    wanted: AccountRef,
    currency: String,
    /// The currency of rows before the turn; `None` where it cannot be told.
    older_currency: Option<String>,
    /// Time and number of the first row after the change to euros.
    turn: (DateTime<Utc>, u64),
    texts: Vec<PackedText>,
    unpacker: Unpacker,
    places: Vec<Place>,
    next: usize,
}

impl Iterator for Rows {
    type Item = Result<Row, Refused>;

    fn next(&mut self) -> Option<Result<Row, Refused>> {
        let place = *self.places.get(self.next)?;
        self.next += 1;
        Some(self.row(&place).map_err(|why| self.refused(&place, &why)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.places.len() - self.next;
        (left, Some(left))
    }
}

impl Rows {
    /// The rows at these places, oldest first; `refused` have no place among them.
    pub fn new(
        wanted: &AccountRef,
        account: &Account,
        texts: Vec<PackedText>,
        places: Vec<Place>,
        refused: &[Refused],
        closing: Option<Decimal>,
    ) -> Rows {
        let mut rows = Rows {
            wanted: wanted.clone(),
            currency: account.currency.clone(),
            older_currency: Some(account.currency.clone()),
            turn: (redenomination::changeover().to_utc(), 0),
            texts,
            unpacker: Unpacker::default(),
            places,
            next: 0,
        };
        rows.settle_currency([account.balance, closing], refused);
        rows
    }

    fn refused(&self, place: &Place, why: &str) -> Refused {
        let time = place.time.with_timezone(&Sofia).fixed_offset();
        let day = time.date_naive();
        let name = format!("entry {}", place.serial);
        let id = Some(self.wanted.id(place.serial));
        Refused { id, time: Some(time), since: day, why: refusal(&name, Some(day), why) }
    }

    /// Decides in which currency the rows before the change to euros are. Without a clear sign the bank's word for the
    /// account holds: a balance that fits both readings is nought, one that fits neither is a broken chain, which is
    /// reported anyway. A row that cannot be read may hide the sign: then no reading is taken for granted.
    fn settle_currency(&mut self, today: [Option<Decimal>; 2], refused: &[Refused]) {
        let older = self.places.partition_point(|place| place.time < self.turn.0);
        if older == 0 || self.currency != "EUR" {
            return;
        }
        let (exchange, mut is_hidden) = self.exchange();
        if let Some(place) = exchange {
            self.turn = (place.time, place.serial);
            self.older_currency = Some("BGN".into());
            return;
        }
        let before = self.before(older, today).unwrap_or_else(|_| {
            is_hidden = true;
            Before::Unclear
        });
        let (last, first) = (self.places[older - 1].time, self.places.get(older).map(|place| place.time));
        let is_between = |time: DateTime<Utc>| time >= last && first.is_none_or(|first| time <= first);
        is_hidden |= refused.iter().any(|row| row.time.is_none_or(|time| is_between(time.to_utc())));
        self.older_currency = match before {
            Before::Leva => Some("BGN".into()),
            Before::Unclear if is_hidden => None,
            Before::Unclear | Before::Euro => Some(self.currency.clone()),
        };
    }

    /// The row that opens the account in euros, where the change was booked as two rows; they may be dated a few days
    /// off. Beside it, whether a row there cannot be read.
    fn exchange(&mut self) -> (Option<Place>, bool) {
        let near = |place: &Place| (place.time - self.turn.0).abs() < TimeDelta::days(4);
        let from = self.places.iter().position(near).unwrap_or(self.places.len());
        let mut previous: Option<Row> = None;
        let mut is_hidden = false;
        let end = from + self.places[from..].iter().take_while(|place| near(place)).count();
        for place in from..end {
            let place = self.places[place];
            let row = self.row(&place).ok();
            if previous.zip(row.as_ref()).is_some_and(|(closing, row)| redenomination::is_exchange(&closing, row)) {
                return (Some(place), false);
            }
            is_hidden |= row.is_none();
            previous = row;
        }
        (None, is_hidden)
    }

    /// The currency of the first `older` rows, by the balance.
    fn before(&mut self, older: usize, today: [Option<Decimal>; 2]) -> Result<Before, String> {
        let last = self.places[older - 1];
        let Some(first) = self.places.get(older).copied() else {
            let last = self.row(&last)?.balance;
            return Ok(last.map_or(Before::Unclear, |last| redenomination::before(last, today.into_iter().flatten())));
        };
        match (self.compare(&last, &first)?, self.turn_by_number()) {
            (Before::Unclear, Some((last, first))) => self.compare(&last, &first),
            (clear, _) => Ok(clear),
        }
    }

    /// The two entries at the change in the order of their numbers: the balance runs as entries are booked, and one
    /// booked late under an early date stands elsewhere by its time.
    fn turn_by_number(&self) -> Option<(Place, Place)> {
        let mut places = self.places.clone();
        places.sort_unstable_by_key(|place| place.serial);
        let turn = places.windows(2).find(|pair| pair[0].time < self.turn.0 && pair[1].time >= self.turn.0)?;
        Some((turn[0], turn[1]))
    }

    fn compare(&mut self, last: &Place, first: &Place) -> Result<Before, String> {
        let (last, first) = (self.row(last)?, self.row(first)?);
        let then = first.balance.and_then(|balance| balance.checked_sub(first.amount));
        Ok(last.balance.map_or(Before::Unclear, |last| redenomination::before(last, then)))
    }

    fn row(&mut self, place: &Place) -> Result<Row, String> {
        let raw = self.unpacker.get(&self.texts, place.reply as usize, place.span.range());
        // The payload is kept as it came, and later readers read no deeper. Most rows have too few brackets to be deep.
        let brackets = raw.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        if brackets > ROW_DEPTH && wire::depth(raw) > ROW_DEPTH {
            return Err(format!("it is nested deeper than {ROW_DEPTH}, the most that is read"));
        }
        let mut room = String::new();
        let entry: Entry = wire::parse(raw, &mut room).map_err(|error| defect("the row", raw.len(), &error))?;
        let amount = wire::money(entry.amount).map_err(|why| format!("amount {why}"))?.ok_or("it has no amount")?;
        let money_out = is_debit(entry.dtkt.get())
            .ok_or_else(|| format!("dtkt `{}` is neither debit nor credit", short(entry.dtkt.get())))?;
        let balance = wire::money(entry.ac_bal).map_err(|why| format!("acBal {why}"))?;
        let is_older = (place.time, place.serial) < self.turn;
        let currency = if is_older { self.older_currency.as_ref() } else { Some(&self.currency) };
        let currency = currency.ok_or("a row at the change to euros cannot be read, so its currency is not certain")?;
        let time = place.time.with_timezone(&Sofia).fixed_offset();
        let other = entry.trn_account.get();
        Ok(Row {
            id: self.wanted.id(place.serial),
            time,
            date: time.date_naive(),
            value_date: value_date(entry.value_dt.get())?,
            amount: if money_out && !amount.is_zero() { -amount } else { amount },
            currency: currency.clone(),
            balance,
            counterparty: if entry.contragent.is_empty() { &entry.ben_order_party } else { &entry.contragent }.owned(),
            counterparty_account: if super::super::compact(other) == self.wanted.iban { "" } else { other }.to_owned(),
            description: joined([entry.rem_i.get(), entry.rem_ii.get(), entry.rem_iii.get()]),
            kind: entry.trname.owned(),
            kind_code: if entry.trn_code.is_empty() { &entry.trn_type } else { &entry.trn_code }.owned(),
            reference: entry.reference.owned(),
            raw: raw.to_owned(),
        })
    }
}

fn value_date(text: &str) -> Result<Option<NaiveDate>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = wire::time(text).ok_or_else(|| format!("valueDt `{}` is no date", short(text)))?;
    Ok(Some(time.date_naive()))
}

/// True where money went out, in the spellings of a bank that writes both alphabets: D, DT, Д, ДТ against C, CT, K, KT, К,
/// КТ, Кт.
fn is_debit(dtkt: &str) -> Option<bool> {
    let latin = |letter: char| match letter {
        'Д' => 'D',
        'Т' => 'T',
        'К' => 'K',
        'С' => 'C',
        other => other,
    };
    let code: String = dtkt.to_uppercase().chars().map(latin).collect();
    match code.as_str() {
        "D" | "DT" => Some(true),
        "C" | "CT" | "K" | "KT" => Some(false),
        _ => None,
    }
}

fn joined(lines: [&str; 3]) -> String {
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
