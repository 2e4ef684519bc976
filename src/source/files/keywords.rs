//! Keywords inside the remittance text of SEPA entries, `EREF+…SVWZ+…`, as German banks pack them into MT940, CAMT and CSV.

use super::statement::{looks_like_iban, says_none};

const KEYWORDS: [&str; 14] =
    ["EREF", "KREF", "MREF", "CRED", "DEBT", "SVWZ", "ABWA", "ABWE", "IBAN", "BIC", "COAM", "OAMT", "BREF", "RREF"];

/// The parts of a remittance text. A text without keywords is its own subject.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remittance {
    pub(super) subject: String,
    pub(super) reference: String,
    pub(super) account: String,
    /// The name of a person behind the other side.
    pub(super) party: String,
}

/// The keyword that a text begins with, and the length of the keyword's mark.
fn keyword_at(text: &str) -> Option<(&'static str, usize)> {
    KEYWORDS.into_iter().find_map(|keyword| {
        let rest = text.strip_prefix(keyword)?;
        match rest.as_bytes() {
            [b'+', ..] => Some((keyword, keyword.len() + 1)),
            [b':', b' ', ..] => Some((keyword, keyword.len() + 2)),
            _ => None,
        }
    })
}

/// True if a text begins with a keyword.
pub(super) fn begins_with_one(text: &str) -> bool {
    keyword_at(text).is_some()
}

/// Takes a text apart by its keywords.
pub(super) fn read(text: &str) -> Remittance {
    let mut marks: Vec<(usize, &str, usize)> = Vec::new();
    for (at, _) in text.char_indices() {
        let after_a_blank = at == 0 || text[..at].ends_with(' ');
        if let Some((keyword, length)) = keyword_at(&text[at..])
            && (after_a_blank || text.as_bytes().get(at + length - 1) == Some(&b'+'))
        {
            marks.push((at, keyword, length));
        }
    }
    let mut found = Remittance::default();
    let mut free = text[..marks.first().map_or(text.len(), |mark| mark.0)].trim_end().to_owned();
    for (index, (at, keyword, length)) in marks.iter().enumerate() {
        let end = marks.get(index + 1).map_or(text.len(), |next| next.0);
        let value = text[at + length..end].trim();
        match *keyword {
            "EREF" => found.reference = reference(value),
            "KREF" if found.reference.is_empty() => found.reference = reference(value),
            "SVWZ" => {
                free.push(' ');
                free.push_str(value);
            }
            "IBAN" if looks_like_iban(value) => value.clone_into(&mut found.account),
            "ABWA" | "ABWE" => found.party = collapse(value),
            _ => {}
        }
    }
    found.subject = collapse(if free.trim().is_empty() { text } else { &free });
    found
}

/// A reference, or nothing where it says that there is none.
fn reference(text: &str) -> String {
    if says_none(text) { String::new() } else { text.to_owned() }
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_stand_anywhere_and_plain_texts_stay_whole() {
        let found =
            read("EREF+R 1MREF+M2CRED+DE98ZZZ09999999999SVWZ+Invoice 7 IBAN: DE89370400440532013000 ABWA+Maria  Test");
        assert_eq!((found.subject.as_str(), found.reference.as_str()), ("Invoice 7", "R 1"));
        assert_eq!((found.account.as_str(), found.party.as_str()), ("DE89370400440532013000", "Maria Test"));
        assert_eq!(read("my IBAN is A+B").subject, "my IBAN is A+B");
        assert_eq!(read("EREF+NOTPROVIDED").reference, "");
    }
}
