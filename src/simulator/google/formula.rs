//! The part of formulas that tests and demos look at: numbers, cells, `+ - * /`, brackets and SUM.
//!
//! Any other formula is kept as text and has the value `#NAME?`: a formula that is not understood must never look like
//! a number.

use super::a1;
use super::model::{CellValue, Sheet};

/// The computed value of a cell. Formulas become numbers or the text of an error.
pub(super) fn value_at(sheet: &Sheet, row: usize, column: usize) -> CellValue {
    evaluate_at(sheet, row, column, 0)
}

/// True for a name that reads as an address like `R1C1`.
pub(super) fn looks_like_r1c1(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let Some((row, column)) = name.strip_prefix('R').and_then(|rest| rest.split_once('C')) else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(row) && digits(column)
}

/// Formulas may stand on formulas this deep; a circle ends there too.
const DEPTH: usize = 32;

fn evaluate_at(sheet: &Sheet, row: usize, column: usize, depth: usize) -> CellValue {
    match sheet.value(row, column) {
        CellValue::Formula(formula) => {
            let mut reader = Reader { text: formula.trim_start_matches('=').as_bytes(), at: 0, sheet, depth };
            match reader.sum().filter(|_| reader.rest().is_empty()) {
                Some(number) if number.is_finite() => CellValue::Number(number),
                Some(_) => CellValue::Text("#DIV/0!".to_owned()),
                None => CellValue::Text("#NAME?".to_owned()),
            }
        }
        value => value.clone(),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    sheet: &'a Sheet,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or(&[]).trim_ascii_start()
    }

    fn take(&mut self, sign: u8) -> bool {
        self.at = self.text.len() - self.rest().len();
        let found = self.text.get(self.at) == Some(&sign);
        self.at += usize::from(found);
        found
    }

    fn sum(&mut self) -> Option<f64> {
        let mut sum = self.product()?;
        loop {
            if self.take(b'+') {
                sum += self.product()?;
            } else if self.take(b'-') {
                sum -= self.product()?;
            } else {
                return Some(sum);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut product = self.factor()?;
        loop {
            if self.take(b'*') {
                product *= self.factor()?;
            } else if self.take(b'/') {
                product /= self.factor()?;
            } else {
                return Some(product);
            }
        }
    }

    fn factor(&mut self) -> Option<f64> {
        if self.take(b'-') {
            return Some(-self.factor()?);
        }
        if self.take(b'(') {
            let inner = self.sum()?;
            return self.take(b')').then_some(inner);
        }
        let word = self.word();
        if word.eq_ignore_ascii_case("SUM") && self.take(b'(') {
            let mut total = 0.0;
            loop {
                let range = self.word();
                total += self.total(&range)?;
                if self.take(b')') {
                    return Some(total);
                }
                if !self.take(b',') && !self.take(b';') {
                    return None;
                }
            }
        }
        match word.parse() {
            Ok(number) => Some(number),
            Err(_) if word.contains(':') => None,
            Err(_) => self.total(&word),
        }
    }

    fn word(&mut self) -> String {
        self.at = self.text.len() - self.rest().len();
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'$');
        let end = self.rest().iter().position(|byte| !part(byte)).unwrap_or(self.rest().len());
        let word = String::from_utf8_lossy(&self.rest()[..end]).into_owned();
        self.at += end;
        word
    }

    /// The sum of the numbers in a range of this sheet.
    fn total(&self, range: &str) -> Option<f64> {
        if self.depth >= DEPTH {
            return None;
        }
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let ((left, top), (right, bottom)) = (a1::cell(first)?, a1::cell(last)?);
        if !range.contains(':') && (left.is_none() || top.is_none()) {
            return None;
        }
        let rows = top.unwrap_or(0)..bottom.map_or(self.sheet.rows.len(), |row| row + 1).min(self.sheet.rows.len());
        let columns = left.unwrap_or(0)..right.map_or(self.sheet.column_count, |column| column + 1);
        let mut total = 0.0;
        for row in rows {
            for column in columns.clone() {
                match evaluate_at(self.sheet, row, column, self.depth + 1) {
                    CellValue::Number(number) => total += number,
                    // An error stays one, however many cells it goes through.
                    CellValue::Text(_) if matches!(self.sheet.value(row, column), CellValue::Formula(_)) => {
                        return None;
                    }
                    _ => {}
                }
            }
        }
        Some(total)
    }
}
