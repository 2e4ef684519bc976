//! Arithmetic on money: what an amount may be, and sums that never overflow.
//!
//! An amount has at most fifteen digits before the point: every sheet and database keeps that many, and no sum of such
//! amounts comes near what a decimal holds. Stores of release 1 may hold larger ones, so no sum trusts in it.

use rust_decimal::Decimal;

/// The smallest amount with sixteen digits before the point: 10^15.
const BEYOND: Decimal = Decimal::from_parts(0xA4C6_8000, 0x0003_8D7E, 0, false, 0);

/// True if an amount has at most fifteen digits before the point.
pub fn is_in_bounds(amount: Decimal) -> bool {
    amount.abs() < BEYOND
}

/// A sum that ends at the largest decimal there is.
pub fn plus(one: Decimal, other: Decimal) -> Decimal {
    one.saturating_add(other)
}

/// A difference that ends at the largest decimal there is.
pub fn minus(one: Decimal, other: Decimal) -> Decimal {
    one.saturating_sub(other)
}

/// The sum of many.
pub fn total(amounts: impl IntoIterator<Item = Decimal>) -> Decimal {
    amounts.into_iter().fold(Decimal::ZERO, plus)
}

/// True if two amounts differ by at most `slack`.
pub fn is_near(one: Decimal, other: Decimal, slack: Decimal) -> bool {
    one.checked_sub(other).is_some_and(|difference| difference.abs() <= slack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn fifteen_digits_before_the_point_are_the_most() {
        for text in ["999999999999999.99", "-999999999999999.999999999", "0", "0.0000000000000000000000000001"] {
            assert!(is_in_bounds(decimal(text)), "{text}");
        }
        for text in ["1000000000000000", "-1000000000000000.01", "79228162514264337593543950335"] {
            assert!(!is_in_bounds(decimal(text)), "{text}");
        }
    }

    #[test]
    fn no_sum_overflows() {
        let (most, least) = (Decimal::MAX, Decimal::MIN);
        assert_eq!([plus(most, most), minus(least, most), total([most, most, most])], [most, least, most]);
        assert!(!is_near(most, least, most) && is_near(most, most, Decimal::ZERO));
    }
}
