//! Amounts and dates as banks write them. An amount goes from text to decimal, never through a double.

use chrono::{Datelike, FixedOffset, NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use super::statement::Clock;

/// The most digits before the point that the store takes.
const MOST_WHOLE_DIGITS: usize = 15;

/// An unsigned amount with a point, a comma or neither: `12,34`, `12.`, `0012`, `,5`.
pub fn unsigned(text: &str) -> Option<Decimal> {
    let (whole, fraction) = text.split_once([',', '.']).unwrap_or((text, ""));
    decimal(false, whole, fraction)
}

/// A signed amount of a machine's file: blanks around it, a sign, a point or a comma; where both stand, the last is the
/// decimal one.
pub fn signed(text: &str) -> Option<Decimal> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest.trim_start()),
        None => (false, text),
    };
    let decimal_at = digits.rfind([',', '.']);
    let mark = decimal_at.map(|at| &digits[at..=at]);
    let other = if mark == Some(",") { '.' } else { ',' };
    match decimal_at {
        Some(at) if digits[..at].contains(other) => {
            let whole = without_groups(&digits[..at], other)?;
            decimal(negative, &whole, &digits[at + 1..])
        }
        Some(at) => decimal(negative, &digits[..at], &digits[at + 1..]),
        None => decimal(negative, digits, ""),
    }
}

/// An amount as people's files write it: currency signs, blanks, `(85.00)` for a negative, a sign before or behind, `DR` and
/// `CR` behind. `None`: not a number by these separators.
pub fn written(text: &str, point: char, thousands: Option<char>) -> Option<Decimal> {
    let text = text.trim();
    let parenthesised = text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    let text = parenthesised.unwrap_or(text);
    let is_number = |char: char| char.is_ascii_digit();
    let first = text.find(|char: char| is_number(char) || char == point)?;
    let last = text.rfind(is_number)? + 1;
    let last = text[last..]
        .strip_prefix(point)
        .map_or(last, |rest| if rest.is_empty() { last + point.len_utf8() } else { last });
    let (before, number, behind) = (&text[..first], text.get(first..last)?, &text[last..]);
    let minus = affix(before)? | affix(behind)?;
    let negative = parenthesised.is_some() || minus || behind.trim().eq_ignore_ascii_case("DR");
    let (whole, fraction) = number.split_once(point).unwrap_or((number, ""));
    let blank = |char: char| char.is_whitespace();
    let separator = if whole.contains(blank) && thousands.is_none() { Some(' ') } else { thousands };
    let whole = whole.replace(blank, " ").replace('’', "'");
    let whole = match separator {
        Some(separator) if blank(separator) => without_groups(&whole, ' ')?,
        Some(separator) => without_groups(&whole, separator)?,
        None => whole,
    };
    decimal(negative, &whole, fraction)
}

/// Looks for a minus before or behind a number, among blanks and the name of a currency; `None`: other text stands there.
fn affix(text: &str) -> Option<bool> {
    let mut letters = 0;
    let (mut minus, mut plus) = (false, false);
    for char in text.chars() {
        match char {
            '-' | '−' | '–' => minus = true,
            '+' => plus = true,
            '.' if letters > 0 => {}
            _ if char.is_whitespace() || "$€£¥₴₺₽₪₹¢".contains(char) => {}
            _ if char.is_alphabetic() => letters += 1,
            _ => return None,
        }
    }
    (letters <= 4 && !(minus && plus)).then_some(minus)
}

/// Digits without their separators, which must cut off groups of three at the end and of two or three before: `1.50` with a
/// point for thousands is somebody else's decimal point.
fn without_groups(whole: &str, separator: char) -> Option<String> {
    let groups: Vec<&str> = whole.split(separator).collect();
    let last = groups.len() - 1;
    let fits = |(index, group): (usize, &&str)| match index {
        0 => true,
        _ if index == last => group.len() == 3,
        _ => matches!(group.len(), 2 | 3),
    };
    (last == 0 || groups.iter().enumerate().all(fits)).then(|| groups.concat())
}

fn decimal(negative: bool, whole: &str, fraction: &str) -> Option<Decimal> {
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    // Zeros behind more than two decimals say nothing, and a hundred of them would not fit.
    let kept = fraction.trim_end_matches('0').len().max(fraction.len().min(2));
    if whole.len() > MOST_WHOLE_DIGITS || kept > 12 {
        return None;
    }
    let text = format!(
        "{}{}.{}",
        if negative { "-" } else { "" },
        if whole.is_empty() { "0" } else { whole },
        &fraction[..kept]
    );
    Decimal::from_str_exact(text.trim_end_matches('.')).ok()
}

/// A day of a year of two digits. A day beyond the end of its month is the last day of it, as banks that count thirty days
/// to every month write it.
pub fn short_date(digits: &str) -> Option<NaiveDate> {
    let number = |part: &str| part.parse::<u32>().ok();
    if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year = number(&digits[..2])?;
    let year = if year >= 70 { 1900 + year } else { 2000 + year };
    clamped(i32::try_from(year).ok()?, number(&digits[2..4])?, number(&digits[4..])?)
}

/// The day of a month, or the month's last where the month is shorter.
pub fn clamped(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
    if !(1..=31).contains(&day) {
        return None;
    }
    (28..=day).rev().chain([day]).find_map(|day| NaiveDate::from_ymd_opt(year, month, day))
}

/// The day of an entry that is written without its year: the one nearest to `beside`.
pub fn nearest(beside: NaiveDate, month: u32, day: u32) -> Option<NaiveDate> {
    (beside.year() - 1..=beside.year() + 1)
        .filter_map(|year| clamped(year, month, day))
        .min_by_key(|date| (*date - beside).num_days().abs())
}

/// An ISO date at the start of a text, and the time with its offset that may follow. The day is the written one: it is
/// never shifted to another zone.
pub fn iso_date(text: &str) -> Option<(NaiveDate, Option<Clock>)> {
    let text = text.trim();
    let date = NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok().filter(|date| plausible(*date))?;
    let rest = text.get(10..)?;
    let clock = rest.strip_prefix(['T', ' ']).and_then(clock);
    Some((date, clock))
}

/// `12:35`, `12:35:33.115965+00:00`, `12:35:33Z`.
pub fn clock(text: &str) -> Option<Clock> {
    let end = text.find(['+', '-', 'Z', ' ']).unwrap_or(text.len());
    let time = text.get(..end)?;
    let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(time, format).ok())?;
    let zone = text[end..].trim();
    let offset = match zone {
        "" => None,
        "Z" => FixedOffset::east_opt(0),
        _ => offset(zone),
    };
    Some(Clock { time, offset })
}

/// `+02:00`, `-0330`, `+2`.
fn offset(zone: &str) -> Option<FixedOffset> {
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = digits.split_at_checked(if digits.len() < 3 { digits.len() } else { 2 })?;
    let minutes: i32 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    FixedOffset::east_opt(sign * (hours.parse::<i32>().ok()?.checked_mul(3600)? + minutes * 60))
}

/// A day on which somebody can have booked something.
pub fn plausible(date: NaiveDate) -> bool {
    (1900..2200).contains(&date.year())
}
