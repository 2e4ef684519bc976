//! The currency of the rows from before 2026-01-01, on an account that is kept in euros today.
//!
//! On that day every account in leva became one in euros under the same IBAN, and rows carry no currency. The bank
//! may show the old rows in leva or restated, and an account that was always in euros looks the same from today's
//! currency. The running balance decides: the balance after the last row of 2025 and the balance before the
//! first row of 2026 are one sum, in one currency or in two; or two rows carry the sum over, closing leva and opening
//! euros.

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;

use crate::model::{Row, bgn_to_eur};

/// The currency of the older rows, by the balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Euros, always or restated.
    Euro,
    /// Leva.
    Leva,
    /// Two readings fit, or none: the bank's own word for the account, which is euros, is taken.
    Unclear,
}

/// The instant from which all amounts are in euros.
pub(super) fn changeover() -> DateTime<FixedOffset> {
    super::wire::in_sofia(NaiveDate::from_ymd_opt(2026, 1, 1).unwrap_or_default().into())
}

/// Compares the `last` balance of 2025 with what the same moment's balance is in euros; the first of `then` that fits
/// one reading decides.
pub(super) fn before(last: Decimal, then: impl IntoIterator<Item = Decimal>) -> Before {
    for euros in then {
        match (last == euros, bgn_to_eur(last) == euros) {
            (true, false) => return Before::Euro,
            (false, true) => return Before::Leva,
            _ => {}
        }
    }
    Before::Unclear
}

/// True for two neighbours that are the change itself: one empties the account of leva, the next fills it with euros.
pub(super) fn is_exchange(closing: &Row, opening: &Row) -> bool {
    closing.balance == Some(Decimal::ZERO)
        && opening.balance == Some(opening.amount)
        && opening.amount == bgn_to_eur(-closing.amount)
        && opening.amount != -closing.amount
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(last: &str, then: &[&str]) -> Before {
        before(last.parse().unwrap(), then.iter().map(|sum| sum.parse().unwrap()))
    }

    #[test]
    fn the_same_sum_means_euros_and_the_converted_one_leva() {
        assert_eq!(decide("1234.56", &["1234.56"]), Before::Euro);
        assert_eq!(decide("195.58", &["100.00"]), Before::Leva);
        assert_eq!(decide("-1000", &["-511.29"]), Before::Leva);
    }

    #[test]
    fn what_fits_both_or_neither_is_unclear() {
        assert_eq!(decide("0", &["0.00"]), Before::Unclear);
        assert_eq!(decide("0.01", &["0.01"]), Before::Unclear);
        assert_eq!(decide("100", &["77"]), Before::Unclear);
        assert_eq!(decide("100", &[]), Before::Unclear);
    }

    #[test]
    fn the_next_witness_is_heard_where_the_first_does_not_fit() {
        assert_eq!(decide("1000", &["3", "511.29"]), Before::Leva);
    }

    #[test]
    fn the_year_begins_in_sofia() {
        assert_eq!(changeover().to_rfc3339(), "2026-01-01T00:00:00+02:00");
    }
}
