//! An answer of a person to `bankfeed init`, checked as the same value in the configuration file would be.

use toml::de::DeTable;

use super::reader::{File, Table, Value};
use super::{Error, Key, key};

const ANSWER: &[Key] = &[key("answer", "an answer")];

/// Text of one line that is not empty.
pub fn line(text: &str) -> Result<String, String> {
    read(text, |value| value.text().map(str::to_owned))
}

/// A text as TOML writes it: in double quotes, whatever is in it.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            _ if char.is_control() => quoted += &format!("\\u{:04X}", u32::from(char)),
            _ => quoted.push(char),
        }
    }
    quoted + "\""
}

/// Reads an answer the way a value of the file is read. The error ends the sentence "this is no good: …".
pub fn read<T>(text: &str, how: impl FnOnce(&Value<'_>) -> Result<T, Error>) -> Result<T, String> {
    let text = format!("answer = {}", quoted(text));
    let file = File { name: String::new(), text: &text, folder: Default::default(), home: None, top: ANSWER };
    let parsed = DeTable::parse(&text).map_err(|_| "cannot be read".to_owned())?;
    let table = Table::root(&file, parsed.get_ref());
    // The words before the reason name the place in the file, and there is no file yet.
    table.require("answer", how).map_err(|error| {
        let why = error.0.strip_prefix(":1: answer: ").map(str::to_owned);
        why.unwrap_or(error.0)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_as_the_file_would_be() {
        assert_eq!(line("ivan").unwrap(), "ivan");
        assert!(line(" ").unwrap_err().starts_with("is empty"));
    }

    #[test]
    fn any_text_survives_its_quotes() {
        for text in ["тайна", "a\"b\\c", "\u{7f}\u{1}\t", "# '''", "{}"] {
            let line = format!("x = {}", quoted(text));
            let table: toml::Table = line.parse().unwrap();
            assert_eq!(table["x"].as_str(), Some(text));
        }
    }
}
