//! Running balances: they say in which order the rows stand and prove that none is missing.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::super::statement::{Balance, Statement};

/// The evidence of the balances of the rows so far.
#[derive(Default)]
pub(super) struct Running {
    rows: usize,
    with_balance: usize,
    first: Option<(NaiveDate, Decimal, Decimal)>,
    last: Option<(NaiveDate, Decimal, Decimal)>,
    first_date: Option<NaiveDate>,
    last_date: Option<NaiveDate>,
    /// A balance does not follow from the one of the row before.
    breaks_forward: bool,
    /// A balance does not follow from the one of the row behind.
    breaks_backward: bool,
    falls: bool,
    rises: bool,
}

impl Running {
    /// Takes the next row of the file.
    pub(super) fn row(&mut self, date: NaiveDate, amount: Decimal, balance: Option<Decimal>) {
        self.rows += 1;
        self.falls |= self.last_date.is_some_and(|last| date < last);
        self.rises |= self.last_date.is_some_and(|last| date > last);
        self.first_date.get_or_insert(date);
        self.last_date = Some(date);
        let Some(balance) = balance else { return };
        self.with_balance += 1;
        if let Some((_, before, before_amount)) = self.last {
            self.breaks_forward |= before.checked_add(amount) != Some(balance);
            self.breaks_backward |= balance.checked_add(before_amount) != Some(before);
        }
        self.first.get_or_insert((date, balance, amount));
        self.last = Some((date, balance, amount));
    }

    /// Tells the statement what the balances prove.
    pub(super) fn settle(self, statement: &mut Statement) {
        statement.newest_first = self.falls && !self.rises;
        let whole = self.with_balance == self.rows && !(self.breaks_forward && self.breaks_backward);
        let (Some(mut first), Some(mut last)) = (self.first, self.last) else { return };
        if self.rows > 1 && whole {
            let both = !self.breaks_forward && !self.breaks_backward;
            statement.newest_first = if both { statement.newest_first } else { self.breaks_forward };
        }
        if statement.newest_first {
            std::mem::swap(&mut first, &mut last);
        }
        if !whole {
            // Rows out of order prove nothing, and neither do balances at the end of each day alone.
            let in_order = !(self.falls && self.rises) && self.with_balance == self.rows;
            statement.adds_up = in_order.then_some(false);
            return;
        }
        statement.adds_up = (self.rows > 1).then_some(true);
        statement.opening = first.1.checked_sub(first.2).map(|amount| Balance { date: Some(first.0), amount });
        statement.closing = Some(Balance { date: Some(last.0), amount: last.1 });
    }
}
