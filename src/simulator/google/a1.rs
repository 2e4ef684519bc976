//! Ranges: in A1 notation and as half-open index spans.

use super::model::{Sheet, Spreadsheet};

/// A rectangle of one sheet, half open. A bound left away in a request is the sheet's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The sheet's id.
    pub sheet: i64,
    /// First row.
    pub top: usize,
    /// Row after the last.
    pub bottom: usize,
    /// First column.
    pub left: usize,
    /// Column after the last.
    pub right: usize,
}

/// A bound left open: the range grows with its sheet.
pub const OPEN: usize = usize::MAX / 2;

impl Area {
    /// The area cut to a sheet's grid; open bounds become its edges.
    pub fn within(self, sheet: &Sheet) -> Area {
        Area { bottom: self.bottom.min(sheet.row_count), right: self.right.min(sheet.column_count), ..self }
    }

    /// True if the cell lies inside.
    pub fn contains(&self, row: usize, column: usize) -> bool {
        (self.top..self.bottom).contains(&row) && (self.left..self.right).contains(&column)
    }

    /// True if two areas share a cell.
    pub fn intersects(&self, other: &Area) -> bool {
        self.sheet == other.sheet
            && self.top < other.bottom
            && other.top < self.bottom
            && self.left < other.right
            && other.left < self.right
    }
}

/// `A`, `Z`, `AA` for 0, 25, 26.
pub fn column_name(mut column: usize) -> String {
    let mut name = Vec::new();
    loop {
        name.push(b'A' + (column % 26) as u8);
        if column < 26 {
            break;
        }
        column = column / 26 - 1;
    }
    name.iter().rev().map(|letter| char::from(*letter)).collect()
}

/// The area as an answer gives it: `Sheet1!A1:Z1000`, one cell as `Sheet1!A1`.
pub(super) fn show(title: &str, area: &Area) -> String {
    let first = format!("{}{}", column_name(area.left), area.top + 1);
    let last = format!("{}{}", column_name(area.right.max(1) - 1), area.bottom.max(1));
    let title = quote(title);
    if first == last { format!("{title}!{first}") } else { format!("{title}!{first}:{last}") }
}

/// A title as it stands before the `!`: quoted unless it is plain.
pub(super) fn quote(title: &str) -> String {
    let plain = !title.is_empty()
        && !title.starts_with(|first: char| first.is_ascii_digit())
        && title.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
        && !matches!(cell(title), Some((Some(_), Some(_))));
    if plain { title.to_owned() } else { format!("'{}'", title.replace('\'', "''")) }
}

/// Finds the sheet and the area a text means, cut to the grid. Malformed text and a missing tab are the same refusal.
pub(super) fn parse<'a>(book: &'a Spreadsheet, text: &str) -> Result<(&'a Sheet, Area), String> {
    let unreadable = || format!("Unable to parse range: {text}");
    let (title, cells) = split(text).ok_or_else(unreadable)?;
    let (sheet, cells) = match (title, cells) {
        (Some(title), cells) => (book.sheet_by_title(&title), cells),
        // Without `!` the text is a range on the first sheet, a named range, or a sheet's title.
        (None, Some(cells)) => match bounds(&cells) {
            Some(_) => (book.sheets.first(), Some(cells)),
            None => match book.named_ranges.iter().find(|range| range.name.eq_ignore_ascii_case(&cells)) {
                Some(range) => {
                    let sheet = book.sheet(range.area.sheet).ok_or_else(unreadable)?;
                    return Ok((sheet, range.area));
                }
                None => (book.sheet_by_title(&cells), None),
            },
        },
        (None, None) => (None, None),
    };
    let sheet = sheet.ok_or_else(unreadable)?;
    let Some(cells) = cells else { return Ok((sheet, sheet.whole())) };
    let bounds = bounds(&cells).ok_or_else(unreadable)?;
    let area = Area {
        sheet: sheet.id,
        top: bounds.top.unwrap_or(0),
        bottom: bounds.bottom.unwrap_or(sheet.row_count).min(sheet.row_count),
        left: bounds.left.unwrap_or(0),
        right: bounds.right.unwrap_or(sheet.column_count).min(sheet.column_count),
    };
    if area.top >= sheet.row_count || area.left >= sheet.column_count {
        // The text as a real service gives it, with the range as it was asked for.
        return Err(format!(
            "Range ({}!{cells}) exceeds grid limits. Max rows: {}, max columns: {}",
            quote(&sheet.title),
            sheet.row_count,
            sheet.column_count
        ));
    }
    Ok((sheet, area))
}

#[derive(Default)]
struct Bounds {
    top: Option<usize>,
    bottom: Option<usize>,
    left: Option<usize>,
    right: Option<usize>,
}

/// Parts a text into the title (unquoted) and the text behind the `!`.
fn split(text: &str) -> Option<(Option<String>, Option<String>)> {
    if let Some(rest) = text.strip_prefix('\'') {
        let mut title = String::new();
        let mut letters = rest.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            if letter != '\'' {
                title.push(letter);
            } else if letters.peek().is_some_and(|(_, next)| *next == '\'') {
                letters.next();
                title.push('\'');
            } else {
                return match &rest[at + 1..] {
                    "" => Some((Some(title), None)),
                    behind => Some((Some(title), Some(behind.strip_prefix('!')?.to_owned()))),
                };
            }
        }
        return None;
    }
    match text.rsplit_once('!') {
        Some((title, cells)) => Some((Some(title.to_owned()), Some(cells.to_owned()))),
        None if text.is_empty() => None,
        None => Some((None, Some(text.to_owned()))),
    }
}

fn bounds(text: &str) -> Option<Bounds> {
    let Some((first, last)) = text.split_once(':') else {
        let (column, row) = cell(text)?;
        let (column, row) = (column?, row?);
        return Some(Bounds { top: Some(row), bottom: Some(row + 1), left: Some(column), right: Some(column + 1) });
    };
    let ((left, top), (right, bottom)) = (cell(first)?, cell(last)?);
    let (top, bottom) = ordered(top, bottom);
    let (left, right) = ordered(left, right);
    Some(Bounds { top, bottom: bottom.map(|row| row + 1), left, right: right.map(|column| column + 1) })
}

fn ordered(first: Option<usize>, last: Option<usize>) -> (Option<usize>, Option<usize>) {
    match (first, last) {
        (Some(a), Some(b)) if a > b => (Some(b), Some(a)),
        // `A1:A` and `A2:2` have a bound on one side only; a lone end sets no bound above it.
        other => other,
    }
}

/// Reads `B3`, `$B$3`, `B` or `3` into column and row from 0.
pub(super) fn cell(text: &str) -> Option<(Option<usize>, Option<usize>)> {
    let text = text.replace('$', "");
    let letters = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()).len();
    let (letters, digits) = text.split_at(letters);
    if (letters.is_empty() && digits.is_empty()) || letters.len() > 3 {
        return None;
    }
    let column =
        letters.bytes().fold(0usize, |sum, letter| sum * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1);
    let row = match digits {
        "" => None,
        _ if !digits.bytes().all(|digit| digit.is_ascii_digit()) => return None,
        _ => Some(digits.parse::<usize>().ok()?.checked_sub(1)?),
    };
    Some(((column > 0).then(|| column - 1), row))
}
