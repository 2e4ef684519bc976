//! Days as people write them: `2026-01-31`, `31.01.2026`, a month, a year, `yesterday`, `30d`. Pure; today is an argument.

use chrono::{Datelike, Days, Months, NaiveDate};

/// The edge of a month or year that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The first day, for the beginning of a selection.
    First,
    /// The last day, for the end of a selection.
    Last,
}

/// The forms of a day, for messages and help.
pub const FORMS: &str =
    "2026-01-31, 2026-01 (a month), 2026 (a year), today, yesterday, or 30d (so many days ago; also w, m, y)";

/// Reads a day; `Err`: the forms that can be read.
pub fn day(text: &str, edge: Edge, today: NaiveDate) -> Result<NaiveDate, String> {
    let word = text.trim().to_lowercase();
    let found = match word.as_str() {
        "today" | "днес" => Some(today),
        "yesterday" | "вчера" => today.pred_opt(),
        word => whole(word).or_else(|| span(word, edge)).or_else(|| ago(word, today)),
    };
    found.filter(|day| (1..=9999).contains(&day.year())).ok_or_else(|| format!("expected a day such as {FORMS}"))
}

/// Reads a whole date.
fn whole(word: &str) -> Option<NaiveDate> {
    if let [year, month, day] = numbers(word, '-')?[..] {
        return NaiveDate::from_ymd_opt(year.try_into().ok()?, month, day);
    }
    None
}

/// Reads a date as written in Bulgaria, a month or a year.
fn span(word: &str, edge: Edge) -> Option<NaiveDate> {
    let (year, month) = match (numbers(word, '.').as_deref(), numbers(word, '-').as_deref()) {
        (Some([day, month, year]), _) => return NaiveDate::from_ymd_opt((*year).try_into().ok()?, *month, *day),
        (_, Some([year, month])) => (*year, Some(*month)),
        (_, Some([year])) if word.len() == 4 => (*year, None),
        _ => return None,
    };
    let first = NaiveDate::from_ymd_opt(year.try_into().ok()?, month.unwrap_or(1), 1)?;
    match edge {
        Edge::First => Some(first),
        Edge::Last => first.checked_add_months(Months::new(if month.is_some() { 1 } else { 12 }))?.pred_opt(),
    }
}

/// Reads a number of days, weeks, months or years ago.
fn ago(word: &str, today: NaiveDate) -> Option<NaiveDate> {
    let (last, unit) = word.char_indices().next_back()?;
    let count: u32 = word[..last].trim_end().parse().ok().filter(|_| word.starts_with(|c: char| c.is_ascii_digit()))?;
    match unit {
        'd' | 'д' => today.checked_sub_days(Days::new(count.into())),
        'w' | 'с' => today.checked_sub_days(Days::new(u64::from(count) * 7)),
        'm' | 'м' => today.checked_sub_months(Months::new(count)),
        'y' | 'г' => today.checked_sub_months(Months::new(count.checked_mul(12)?)),
        _ => None,
    }
}

/// The numbers between the separators, the first of a date with dashes and the last of one with dots in four digits.
fn numbers(word: &str, separator: char) -> Option<Vec<u32>> {
    let parts: Vec<&str> = word.split(separator).collect();
    let year = if separator == '-' { parts.first()? } else { parts.last()? };
    let digits = |part: &&str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    if year.len() != 4 || !parts.iter().all(digits) {
        return None;
    }
    parts.iter().map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn days_are_understood_as_people_write_them() {
        let today = date("2026-03-31");
        for (text, first, last) in [
            ("2026-01-31", "2026-01-31", "2026-01-31"),
            (" 2026-1-3 ", "2026-01-03", "2026-01-03"),
            ("31.01.2026", "2026-01-31", "2026-01-31"),
            ("2026-11", "2026-11-01", "2026-11-30"),
            ("2024-02", "2024-02-01", "2024-02-29"),
            ("2025-12", "2025-12-01", "2025-12-31"),
            ("2025", "2025-01-01", "2025-12-31"),
            ("today", "2026-03-31", "2026-03-31"),
            ("Yesterday", "2026-03-30", "2026-03-30"),
            ("вчера", "2026-03-30", "2026-03-30"),
            ("30d", "2026-03-01", "2026-03-01"),
            ("0d", "2026-03-31", "2026-03-31"),
            ("2w", "2026-03-17", "2026-03-17"),
            ("1m", "2026-02-28", "2026-02-28"),
            ("3M", "2025-12-31", "2025-12-31"),
            ("10y", "2016-03-31", "2016-03-31"),
        ] {
            assert_eq!(day(text, Edge::First, today), Ok(date(first)), "{text}");
            assert_eq!(day(text, Edge::Last, today), Ok(date(last)), "{text}");
        }
    }

    #[test]
    fn what_is_no_day_names_the_forms() {
        for text in [
            "",
            "gestern",
            "2026-02-30",
            "2026-13",
            "30",
            "d",
            "-3d",
            "+3d",
            "3 weeks",
            "4294967295d",
            "4294967295y",
            "99999999999d",
            "2026-",
            "01-02-2026",
            "2026/01/02",
            "٣d",
            "32.01.2026",
            "20260131",
            "0000",
        ] {
            let error = day(text, Edge::First, date("2026-03-31")).unwrap_err();
            assert!(error.contains("2026-01-31") && error.contains("yesterday") && error.contains("30d"), "{error}");
        }
    }
}
