//! Text that is longer than a cell may be: it is truncated, marked at its end and counted, so that the loss is seen.

use std::borrow::Cow;

/// Letters of a cell, as Excel counts them: UTF-16 units.
const MOST_LETTERS: usize = 32_767;

/// The mark at the end of a truncated text.
const MARK: &str = "… [cut by bankfeed]";

/// Number of transactions that the note names.
const NAMED: usize = 3;

/// The truncated cells.
#[derive(Default)]
pub(super) struct Truncations {
    cells: u64,
    /// Ids of the first transactions with such cells.
    ids: Vec<String>,
    more: bool,
}

/// A text as it fits into a cell.
pub(super) fn fitting(text: &str) -> Cow<'_, str> {
    // A letter has at least as many bytes as UTF-16 units, so most texts need not be counted.
    if text.len() <= MOST_LETTERS || text.encode_utf16().count() <= MOST_LETTERS {
        return Cow::Borrowed(text);
    }
    let mut room = MOST_LETTERS - MARK.encode_utf16().count();
    let end = text.char_indices().find(|(_, char)| match room.checked_sub(char.len_utf16()) {
        Some(left) => {
            room = left;
            false
        }
        None => true,
    });
    Cow::Owned(format!("{}{MARK}", &text[..end.map_or(text.len(), |(at, _)| at)]))
}

impl Truncations {
    /// Counts a truncated cell of the transaction with this id.
    pub fn add(&mut self, id: &str) {
        self.cells += 1;
        if self.ids.iter().any(|known| known == id) {
            return;
        }
        match self.ids.len() {
            NAMED => self.more = true,
            _ => self.ids.push(id.to_owned()),
        }
    }

    /// The note for the owner; `None`: no text was truncated.
    pub fn note(&self) -> Option<String> {
        let (what, is) = match self.cells {
            0 => return None,
            1 => ("1 text is".to_owned(), "is"),
            more => (format!("{more} texts are"), "are"),
        };
        let (ids, more) = (self.ids.join(", "), if self.more { " and others" } else { "" });
        Some(format!(
            "{what} longer than the 32,767 characters of a cell and {is} cut there, with a mark at the end: {ids}{more}; csv, jsonl \
             and sqlite hold everything"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_a_cell_ends_and_never_inside_a_letter() {
        let halves = |text: &str| text.encode_utf16().count();
        for (letter, width) in [("x", 1), ("я", 1), ("🌿", 2)] {
            let full = letter.repeat(MOST_LETTERS / width);
            assert_eq!(fitting(&full), full);
            let cut = fitting(&format!("{full}{letter}")).into_owned();
            assert!((MOST_LETTERS - 1..=MOST_LETTERS).contains(&halves(&cut)), "{letter}: {}", halves(&cut));
            let rest = cut.strip_suffix(MARK).unwrap();
            assert!(full.starts_with(rest) && !rest.is_empty());
        }
    }

    #[test]
    fn the_first_transactions_are_named_once() {
        let mut cuts = Truncations::default();
        assert_eq!(cuts.note(), None);
        cuts.add("a:1");
        assert!(cuts.note().unwrap().starts_with("1 text is longer"));
        ["a:1", "a:2", "a:3"].iter().for_each(|id| cuts.add(id));
        assert!(cuts.note().unwrap().contains("4 texts are longer"));
        assert!(cuts.note().unwrap().contains(": a:1, a:2, a:3; csv"));
        cuts.add("a:4");
        assert!(cuts.note().unwrap().contains(": a:1, a:2, a:3 and others; csv"));
    }
}
