//! Slash fields: `/KEYWORD/value/KEYWORD/value`. A value may hold slashes, so only known keywords cut.

use super::{About, collapse, join, push, reference};
use crate::source::files::statement::looks_like_iban;

const KEYWORDS: [&str; 30] = [
    "TRTP", "IBAN", "BIC", "NAME", "REMI", "EREF", "BENM", "ORDP", "CNTP", "CSID", "MARF", "ISDT", "TRCD", "RTRN",
    "USTD", "STRD", "SVCL", "PREF", "OCMT", "CHGS", "EXCH", "PURP", "ULTB", "ULTC", "ULTD", "ADDR", "IACC", "KREF",
    "INIT", "SUM",
];

/// The text by its keywords; `None` where it has none.
pub(super) fn read(lines: &[&str]) -> Option<About> {
    let text = join(lines, cut_amid_a_keyword);
    let fields = split(text.trim());
    let mut about = About::default();
    let mut remittance = String::new();
    let mut party_of = "";
    for (keyword, value) in &fields {
        let value = value.trim_matches(['/', ' ']);
        match *keyword {
            "TRTP" => value.clone_into(&mut about.kind),
            "TRCD" | "SVCL" => value.clone_into(&mut about.code),
            "IBAN" => value.clone_into(&mut about.account),
            "BENM" | "ORDP" | "ULTB" | "ULTC" | "ULTD" => party_of = keyword,
            "NAME" if about.counterparty.is_empty() || !party_of.starts_with("ULT") => {
                about.counterparty = collapse(value);
            }
            "CNTP" => counterparty(value, &mut about),
            "EREF" => about.reference = reference(value),
            "REMI" | "USTD" | "STRD" => {
                let value = value.strip_prefix("CUR/").unwrap_or(value);
                push(&mut remittance, value, false);
            }
            _ => {}
        }
    }
    if fields.is_empty() {
        return None;
    }
    about.description = collapse(&remittance);
    if about.description.is_empty() && about.counterparty.is_empty() {
        about.description = collapse(&text);
    }
    Some(about)
}

/// `iban/bic/name/city`.
fn counterparty(value: &str, about: &mut About) {
    let mut parts = value.split('/');
    let account = parts.next().unwrap_or_default().trim();
    if !account.is_empty() {
        account.clone_into(&mut about.account);
    }
    let name = parts.nth(if looks_like_iban(account) || !account.is_empty() { 1 } else { 0 }).unwrap_or_default();
    about.counterparty = collapse(name);
}

/// The values with their keywords. The slash that ends one keyword may begin the next.
fn split(text: &str) -> Vec<(&'static str, &str)> {
    let mut found: Vec<(&'static str, usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some(slash) = text[at..].find('/') {
        let start = at + slash;
        at = match keyword(&text[start..]) {
            Some(keyword) => {
                found.push((keyword, start, start + keyword.len() + 2));
                start + keyword.len() + 1
            }
            None => start + 1,
        };
    }
    let ends = found.iter().map(|mark| mark.1).skip(1).chain([text.len()]).collect::<Vec<_>>();
    found.iter().zip(ends).map(|((keyword, _, from), end)| (*keyword, text.get(*from..end).unwrap_or(""))).collect()
}

/// The keyword between the slash that a text begins with and the next one.
fn keyword(text: &str) -> Option<&'static str> {
    let rest = text.strip_prefix('/')?;
    KEYWORDS.into_iter().find(|keyword| rest.strip_prefix(keyword).is_some_and(|rest| rest.starts_with('/')))
}

/// A short line was cut amid a keyword where one spans the break, or amid the word that means "none".
fn cut_amid_a_keyword(before: &str, line: &str) -> bool {
    let part = |char: char| char == '/' || char.is_ascii_uppercase();
    if !before.ends_with(part) || !line.starts_with(part) {
        return false;
    }
    let from = before.char_indices().rev().nth(11).map_or(0, |(at, _)| at);
    let tail = &before[from..];
    let end = line.char_indices().nth(12).map_or(line.len(), |(at, _)| at);
    let whole = format!("{tail}{}", &line[..end]);
    let spans = |word: &str| whole.match_indices(word).any(|(at, _)| at < tail.len() && at + word.len() > tail.len());
    spans("NOTPROVIDED") || KEYWORDS.iter().any(|keyword| spans(&format!("/{keyword}/")))
}
