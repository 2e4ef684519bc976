//! The refusal of a file whose layout nobody knows: it shows the header and gives a `[[source.csv]]` block to start from.

use super::super::charset::shown;
use super::super::numbers;
use super::super::statement::Refusal;
use super::columns::tidy;
use super::records::{DELIMITERS, Record, Records, plain};
use super::row;

/// The date formats that the block may propose; the first that reads every row in view.
const FORMATS: [&str; 9] =
    ["%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d."];

/// Says what was seen. `near` are the layouts that nearly fit.
pub(super) fn refusal(name: &str, text: &str, near: &[String]) -> Refusal {
    let Some((delimiter, head)) = table(text) else {
        return Refusal::whole("no statement: neither MT940, CAMT nor OFX, and no table with columns either");
    };
    let width = head.iter().map(|record| record.fields.len()).max().unwrap_or_default();
    let at = head.iter().position(|record| record.fields.len() * 2 > width && looks_like_a_header(record));
    let header = at.map(|at| &head[at]);
    let rows: Vec<&Record> =
        head.iter().skip(at.map_or(0, |at| at + 1)).filter(|row| row.fields.len() * 2 > width).collect();
    let mut why = match header {
        Some(header) => {
            let names: Vec<String> = header.fields.iter().map(|field| format!("`{}`", shown(&tidy(field)))).collect();
            format!("no CSV layout has these columns: {}", names.join(" "))
        }
        None => format!("no CSV layout fits this table of {width} columns without a header"),
    };
    for line in near {
        why.push_str("; ");
        why.push_str(line);
    }
    why.push_str("; add to the source, corrected:\n");
    why.push_str(&block(name, delimiter, header, &rows));
    Refusal { line: header.map(|header| header.line), entry: None, why }
}

/// The delimiter that cuts the first records into the most columns, and these records.
fn table(text: &str) -> Option<(u8, Vec<Record>)> {
    let heads = DELIMITERS.into_iter().map(|delimiter| (delimiter, Records::new(text, delimiter, 0).head()));
    let weight = |head: &[Record]| head.iter().map(|record| record.fields.len() - 1).sum::<usize>();
    heads.max_by_key(|(_, head)| weight(head)).filter(|(_, head)| head.iter().any(|record| record.fields.len() >= 3))
}

/// Words and no numbers.
fn looks_like_a_header(record: &Record) -> bool {
    let filled: Vec<&str> = record.fields.iter().map(|field| plain(field)).filter(|field| !field.is_empty()).collect();
    filled.len() >= 2
        && filled.iter().all(|field| !field.starts_with(|char: char| char.is_ascii_digit() || char == '-'))
}

/// A block to start from.
fn block(name: &str, delimiter: u8, header: Option<&Record>, rows: &[&Record]) -> String {
    let column = |at: usize| match header.and_then(|header| header.fields.get(at)).map(|field| tidy(field)) {
        Some(text) if !text.is_empty() => format!("{text:?}"),
        _ => (at + 1).to_string(),
    };
    let width = rows.iter().map(|record| record.fields.len()).max().unwrap_or_default();
    let every = |at: usize, good: &dyn Fn(&str) -> bool| {
        let mut cells = rows.iter().map(|record| record.field(at)).filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some() && cells.all(good)
    };
    let found = (0..width).find_map(|at| {
        let format = FORMATS.into_iter().find(|format| every(at, &|cell| row::date(cell, format).is_some()))?;
        Some((at, format))
    });
    let decimal = |point: char| {
        let thousands = if point == ',' { '.' } else { ',' };
        (0..width).find(|at| {
            every(*at, &|cell| cell.contains(point) && numbers::written(cell, point, Some(thousands)).is_some())
        })
    };
    let (point, amount) = match (decimal(','), decimal('.')) {
        (Some(at), _) => (',', Some(at)),
        (None, at) => ('.', at),
    };
    let stem: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    let stem = if stem.is_empty() { "mybank".to_owned() } else { stem.to_lowercase() };
    let mut lines = vec!["[[source.csv]]".to_owned(), format!("name = {stem:?}")];
    match found {
        Some((at, format)) => {
            lines.push(format!("date = {}", column(at)));
            lines.push(format!("date_format = {format:?}"));
        }
        None => lines.push("date = \"…\"\ndate_format = \"%d.%m.%Y\"".to_owned()),
    }
    match amount {
        Some(at) => lines.push(format!("amount = {}   # or debit = \"…\" and credit = \"…\"", column(at))),
        None => lines.push("amount = \"…\"   # or debit = \"…\" and credit = \"…\"".to_owned()),
    }
    lines.push(format!("decimal = \"{point}\""));
    let thousands = if point == ',' { '.' } else { ',' };
    lines.push(format!("thousands = \"{thousands}\""));
    lines.push(format!("delimiter = {:?}", char::from(delimiter).to_string()));
    if header.is_none() {
        lines.push("header = false".to_owned());
    }
    lines.push("# currency = \"EUR\" · account · counterparty · description: a column each".to_owned());
    lines.join("\n")
}
