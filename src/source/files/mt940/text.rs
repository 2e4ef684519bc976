//! The text of an entry, `:86:`, in the dialects of the banks: sub-fields (`?20`, `>20`, `+20`, `^20`), slash fields
//! (`/NAME/…/REMI/…`), or columns and free text. A text that no dialect explains is the description, whole.

use crate::source::files::statement::{looks_like_iban, says_none};

mod slashes;
mod subfields;

/// The content of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) counterparty: String,
    pub(super) account: String,
    pub(super) description: String,
    pub(super) reference: String,
    pub(super) kind: String,
    pub(super) code: String,
}

/// The length from which a line was broken because it was full, not because a thought ended.
const FULL_LINE: usize = 60;

/// Reads the texts of one entry; several fields are the lines of one text.
pub(super) fn read(texts: &[String]) -> About {
    let lines: Vec<&str> = texts.iter().flat_map(|text| text.split('\n')).collect();
    let joined: String = lines.iter().map(|line| line.trim_end_matches('\r')).collect();
    if let Some(about) = subfields::read(joined.trim_start()) {
        return about;
    }
    if joined.trim_start().starts_with('/')
        && let Some(about) = slashes::read(&lines)
    {
        return about;
    }
    free(&lines)
}

/// Columns and free text: everything is the description. Dutch files name account and name behind `REK:` and `NAAM:`.
fn free(lines: &[&str]) -> About {
    let description = collapse(&join(lines, |_, _| false));
    let after = |key: &str| description.find(key).map(|at| description[at + key.len()..].trim_start());
    let account = after("REK:").and_then(|rest| rest.split([' ', '/']).next()).unwrap_or_default();
    let account = if looks_like_iban(account) { account.to_owned() } else { String::new() };
    let counterparty = after("NAAM:").map(str::to_owned).unwrap_or_default();
    About { counterparty, account, description, ..About::default() }
}

/// The text of `:NS:` fields: two digits before each line say what it is.
pub(super) fn non_swift(text: &str) -> About {
    let mut about = About::default();
    let mut description: Vec<&str> = Vec::new();
    for line in text.lines() {
        let Some((code, value)) = line.split_at_checked(2) else { continue };
        let value = value.trim();
        match code.parse::<u8>() {
            Ok(1..=14) => description.push(value),
            Ok(15 | 16) => {
                push(&mut about.counterparty, value, false);
            }
            Ok(17) => value.clone_into(&mut about.kind),
            Ok(34) if value.len() >= 8 => value.clone_into(&mut about.account),
            _ => {}
        }
    }
    about.description = collapse(&description.join(" "));
    about
}

/// Lines as one text. A line that was full runs on without a blank, and so does one that `glued` says was cut amid a word.
fn join(lines: &[&str], glued: impl Fn(&str, &str) -> bool) -> String {
    let mut joined = String::new();
    let mut before: Option<usize> = None;
    for line in lines {
        let line = line.trim_end_matches('\r');
        if let Some(length) = before {
            let starts_anew = line.starts_with("REK:") || line.starts_with("NAAM:");
            let full = length >= FULL_LINE && !starts_anew;
            let runs_on = full || joined.ends_with(' ') || line.starts_with(' ') || glued(&joined, line);
            if !runs_on {
                joined.push(' ');
            }
        }
        joined.push_str(line);
        // The tag counts to the length of the first line.
        before = Some(line.chars().count() + if before.is_none() { ":86:".len() } else { 0 });
    }
    joined
}

/// Appends a piece, with a blank between where the piece before was not full.
fn push(text: &mut String, piece: &str, full: bool) {
    if !text.is_empty() && !full && !text.ends_with(' ') && !piece.starts_with(' ') {
        text.push(' ');
    }
    text.push_str(piece);
}

/// White space as single blanks.
fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A reference, or nothing where it says that there is none.
fn reference(text: &str) -> String {
    let text = text.trim();
    if says_none(text) { String::new() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> About {
        read(&[text.to_owned()])
    }

    #[test]
    fn german_subfields_name_the_other_side() {
        let found = about(
            "166?00SEPA-UEBERWEISUNG?20EREF+RE-7?21SVWZ+Miete Dezember,\n Haus 4?30GENODE61KA1?31DE89370400440532013000?32Petra\nTester?33in",
        );
        assert_eq!(found.kind, "SEPA-UEBERWEISUNG");
        assert_eq!(found.code, "166");
        assert_eq!(found.reference, "RE-7");
        assert_eq!(found.description, "Miete Dezember, Haus 4");
        assert_eq!(found.account, "DE89370400440532013000");
        assert_eq!(found.counterparty, "PetraTester in");
        let wide = about("166?00X?20a?32Richter Renate und Maria Be?33ginn");
        assert_eq!(wide.counterparty, "Richter Renate und Maria Be ginn".replace("Be ginn", "Beginn"));
    }

    #[test]
    fn fibank_puts_the_account_where_others_have_the_bank() {
        let found = about("^00ПРЕВОД^20Наем за май^30BG80BNBA96611020345678^32Иван Петров^38123456789");
        assert_eq!(found.account, "BG80BNBA96611020345678");
        assert_eq!(found.counterparty, "Иван Петров");
        assert_eq!(found.description, "Наем за май");
    }

    #[test]
    fn bulbank_separates_by_plus_and_its_phones_stay_whole() {
        let found = about("051+00Transfer+20tel +359888123456+21second+30UNCRBGSF+31BG80BNBA96611020345678+32Maria");
        assert_eq!(found.account, "BG80BNBA96611020345678");
        assert!(found.description.contains("+359888123456"), "{found:?}");
    }

    #[test]
    fn triodos_separates_by_angles() {
        let found = about("000>100390123456\n>20ALGEMENE TUSSENREKENING KOS>21TEN VAN 01-10-2010>310390123456");
        assert_eq!(found.description, "ALGEMENE TUSSENREKENING KOSTEN VAN 01-10-2010");
        assert_eq!(found.account, "0390123456");
    }

    #[test]
    fn subfield_numbers_may_be_cut_in_two() {
        let found = about("020?00Kind?20first?2\n1second?3\n2Name");
        assert_eq!(found.description, "first second");
        assert_eq!(found.counterparty, "Name");
    }

    #[test]
    fn dutch_slash_fields() {
        let found = about(
            "/TRTP/SEPA OVERBOEKING/IBAN/NL91ABNA0417164300/BIC/ABNANL2A\n/NAME/A/B HOLDING/REMI/Factuur 10/EREF/NOTPRO\nVIDED",
        );
        assert_eq!(found.account, "NL91ABNA0417164300");
        assert_eq!(found.counterparty, "A/B HOLDING");
        assert_eq!(found.description, "Factuur 10");
        assert_eq!(found.reference, "");
        assert_eq!(found.kind, "SEPA OVERBOEKING");
    }

    #[test]
    fn ing_slash_fields() {
        let found = about("/EREF/27-02//CNTP/NL91ABNA0417164300/ABNANL2A/J Jansen/Delft//RE\nMI/USTD//Order 5/");
        assert_eq!(found.account, "NL91ABNA0417164300");
        assert_eq!(found.counterparty, "J Jansen");
        assert_eq!(found.description, "Order 5");
        assert_eq!(found.reference, "27-02");
    }

    #[test]
    fn rabobank_slash_fields_with_repeated_keywords() {
        let found = about("/ORDP//NAME/Bedrijf B.V./REMI//REMI/NR.1/ISDT/2013-04-03");
        assert_eq!(found.counterparty, "Bedrijf B.V.");
        assert_eq!(found.description, "NR.1");
    }

    #[test]
    fn unknown_dialects_lose_nothing() {
        let found = about("Betaalautomaat 14:23 pasnr. 065\nREK: NL91ABNA0417164300/NAAM: SOME NAME");
        assert_eq!(found.description, "Betaalautomaat 14:23 pasnr. 065 REK: NL91ABNA0417164300/NAAM: SOME NAME");
        assert_eq!(found.account, "NL91ABNA0417164300");
        assert_eq!(found.counterparty, "SOME NAME");
        assert_eq!(about("999PN5477SCHECK-NR. 7").description, "999PN5477SCHECK-NR. 7");
    }
}
