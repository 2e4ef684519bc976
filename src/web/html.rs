//! Text for a page: escaped, with numbers and dates as people of either language write them.

use std::fmt::{self, Display, Formatter, Write};

use chrono::{Datelike, NaiveDate};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::model::{Language, money_text};

/// Text from anywhere, safe in an element and in a quoted attribute.
pub(super) struct E<'a>(pub &'a str);

impl Display for E<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Control characters are invisible and not allowed in HTML.
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// An amount of any currency as people write it.
pub(super) fn money(amount: Decimal, language: Language) -> String {
    let text = money_text(amount.abs());
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let (group, point) = match language {
        Language::En => (',', '.'),
        Language::Bg => ('\u{a0}', ','),
    };
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(group);
        }
        grouped.push(digit);
    }
    // The minus sign, not a hyphen: it is as wide as a digit and never broken after.
    let sign = if amount.is_sign_negative() && !amount.is_zero() { "\u{2212}" } else { "" };
    format!("{sign}{grouped}{point}{cents}")
}

/// A sum, to the cent.
pub(super) fn sum(amount: Decimal, language: Language) -> String {
    money(amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero), language)
}

/// A whole number.
pub(super) fn count(number: u64, language: Language) -> String {
    let mut text = money(Decimal::from(number), language);
    // The point and two noughts.
    text.truncate(text.len() - 3);
    text
}

/// A day.
pub(super) fn date(date: NaiveDate, language: Language) -> String {
    match language {
        Language::En => date.to_string(),
        Language::Bg => format!("{:02}.{:02}.{}", date.day(), date.month(), date.year()),
    }
}

/// A moment that stands as RFC 3339 in the owner's zone, without its seconds and offset.
pub(super) fn moment(time: &str, language: Language) -> String {
    match chrono::DateTime::parse_from_rfc3339(time) {
        Ok(time) => format!("{} {}", date(time.date_naive(), language), time.format("%H:%M")),
        Err(_) => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_inert_everywhere_in_a_page() {
        let shown = E("<script>'&\"</script>\u{0}\n").to_string();
        assert_eq!(shown, "&lt;script&gt;&#39;&amp;&quot;&lt;/script&gt;  ");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        let amount = |text: &str, language| money(text.parse().unwrap(), language);
        assert_eq!(amount("-1234567.5", Language::En), "\u{2212}1,234,567.50");
        assert_eq!(amount("1234.5", Language::Bg), "1\u{a0}234,50");
        assert_eq!(amount("-0.00", Language::En), "0.00");
        assert_eq!(amount("999", Language::En), "999.00");
        assert_eq!(count(1_234_567, Language::En), "1,234,567");
        assert_eq!(count(2_820, Language::Bg), "2\u{a0}820");
        assert_eq!(moment("2026-11-22T03:00:05+02:00", Language::Bg), "22.11.2026 03:00");
    }
}
