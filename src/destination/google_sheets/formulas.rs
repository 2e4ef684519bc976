//! Formulas: how functions are called under the spreadsheet's locale, and how columns are referred to. Pure.

use super::layout::letters;

/// The facts of the spreadsheet that formulas depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Formulas {
    /// Title of the tab with the transactions.
    pub tab: String,
    /// The character between the arguments of a function.
    pub separator: char,
}

impl Formulas {
    /// A call of a function.
    pub fn call(&self, function: &str, arguments: &[&str]) -> String {
        format!("{function}({})", arguments.join(&self.separator.to_string()))
    }

    /// A reference to a whole column of the transactions.
    pub fn column(&self, column: u32) -> String {
        whole_column(&self.tab, column)
    }
}

/// The character between the arguments of a function. A locale whose decimals have a point takes a comma; the others a
/// semicolon, which is also the safer guess, for it means nothing else anywhere.
pub(super) fn separator(locale: &str) -> char {
    let (language, region) = locale.split_once('_').unwrap_or((locale, ""));
    let point = matches!(language, "en" | "zh" | "ja" | "ko" | "th" | "iw" | "he" | "hi" | "cy" | "ga" | "fil")
        && region != "ZA"
        || (language == "es" && region == "MX");
    if point { ',' } else { ';' }
}

/// A reference to a whole column of a tab: whatever rows come and go, the reference means all of them.
pub(super) fn whole_column(tab: &str, column: u32) -> String {
    let name = letters(column);
    format!("'{}'!${name}:${name}", tab.replace('\'', "''"))
}
