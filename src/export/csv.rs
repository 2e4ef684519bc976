//! CSV for spreadsheets.
//!
//! Spreadsheets take text that begins with `=`, `+`, `-`, `@`, a tab or a return for a formula. Such text gets one
//! apostrophe in front, as does text that begins with an apostrophe itself. A reader that removes one leading apostrophe
//! gets the bank's text back letter by letter. Numbers and dates stay as they are.

use std::io;

use super::json::plain;
use crate::model::Value;

/// A value as the text of a cell.
pub fn cell(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => inert(text),
        other => plain(other).unwrap_or_default(),
    }
}

/// Text that no spreadsheet takes for a formula.
pub fn inert(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

/// A line of CSV.
pub fn line(cells: &[String]) -> io::Result<String> {
    // A program may take a semicolon, a tab or a bar for the separator, even if the header suggests the comma.
    let is_usual = cells.iter().any(|cell| cell.contains([';', '\t', '|']));
    let quote_style = if is_usual { csv::QuoteStyle::NonNumeric } else { csv::QuoteStyle::Necessary };
    let mut writer = csv::WriterBuilder::new().quote_style(quote_style).from_writer(Vec::new());
    writer.write_record(cells).map_err(io::Error::other)?;
    let line = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(line).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_separator_in_a_field_is_quoted() {
        let line = |cells: [&str; 3]| super::line(&cells.map(str::to_owned)).unwrap();
        assert_eq!(line(["a", "-12.34", ""]), "a,-12.34,\n");
        assert_eq!(line(["a;b", "-12.34", "c"]), "\"a;b\",-12.34,\"c\"\n");
        for separator in [";", "\t", "|", ",", "\n", "\r"] {
            let field = format!("a{separator}b");
            assert_eq!(line([&field, "1", "2"]), format!("\"{field}\",1,2\n"), "{separator:?}");
        }
        assert_eq!(line(["a\"b", "1", "2"]), "\"a\"\"b\",1,2\n");
    }

    #[test]
    fn formulas_are_made_inert_and_can_be_restored() {
        for text in ["=IMPORTXML(1)", "+359", "-5% отстъпка", "@home", "'tis", "\tx", "plain", "3-1"] {
            let cell = cell(&Value::Text(text.into()));
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t']), "{cell}");
            assert_eq!(cell.strip_prefix('\'').unwrap_or(&cell), text);
        }
        assert_eq!(cell(&Value::Money("-12.34".parse().unwrap())), "-12.34");
    }
}
