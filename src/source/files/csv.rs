//! CSV exports by their layouts. A layout is known by its columns: the header is looked for below whatever a bank writes
//! above it. A date format is never guessed from a row, and a direction that the layout does not know refuses the file.

use std::borrow::Cow;
use std::collections::HashMap;

use super::charset::{self, shown};
use super::layouts::{self, Layout};
use super::statement::{Format, Refusal, Rows, Statement};
use super::{Options, layouts::Column};

mod balances;
mod columns;
mod records;
mod row;
mod unknown;

use balances::Running;
use columns::Columns;
use records::{Record, Records};

/// The most accounts and currencies in one file.
const MOST_STATEMENTS: usize = 1000;
/// The most columns of a table that may be a statement.
const MOST_COLUMNS: usize = 500;

/// Reads a file.
pub(super) fn read(
    name: &str,
    bytes: &[u8],
    options: &Options,
    rows: &mut Rows<'_>,
    notes: &mut Vec<String>,
) -> Result<(), Refusal> {
    let candidates = layouts::candidates(&options.layouts, options.layout.as_deref())?;
    let of_a_layout =
        candidates.iter().take(options.layouts.len().max(1)).find_map(|layout| layout.encoding.as_deref());
    let own = !options.layouts.is_empty() || options.layout.is_some();
    let declared = options.encoding.as_deref().or(of_a_layout.filter(|_| own));
    let mut text = charset::decode(bytes, declared, notes)?;
    let found = match find(&text, &candidates) {
        Ok(found) => found,
        Err(near) => return Err(unknown::refusal(name, &text, &near)),
    };
    if options.encoding.is_none() && matches!(text, Cow::Owned(_)) && found.layout.encoding.is_some() {
        notes.clear();
        text = charset::decode(bytes, found.layout.encoding.as_deref(), notes)?;
    }
    let layout = found.layout;
    let found = find(&text, &[layout]).unwrap_or(found);
    let format = date_format(&text, &found)?;
    let mut reader = Reader { found: &found, format, running: Vec::new(), groups: HashMap::new(), left_out: 0, rows };
    let mut records = Records::new(&text, found.delimiter, layout.skip_lines);
    while let Some(record) = records.next()? {
        if found.header_at.is_none_or(|header| record.at > header) {
            reader.record(&record)?;
        }
    }
    reader.finish(notes);
    Ok(())
}

/// A layout that a file has, and where its columns are.
struct Found<'o> {
    layout: &'o Layout,
    delimiter: u8,
    columns: Columns,
    /// The place of the header; `None`: the file has no header.
    header_at: Option<u64>,
    header: Vec<String>,
}

/// The first layout whose columns the file has; else what each of the owner's layouts misses.
fn find<'o>(text: &str, candidates: &[&'o Layout]) -> Result<Found<'o>, Vec<String>> {
    let mut heads: HashMap<(u8, usize), Vec<Head>> = HashMap::new();
    let mut near = Vec::new();
    for layout in candidates {
        let delimiters = match layout.delimiter {
            Some(delimiter) => vec![u8::try_from(delimiter).unwrap_or(b',')],
            None => records::DELIMITERS.to_vec(),
        };
        for delimiter in delimiters {
            let head = heads
                .entry((delimiter, layout.skip_lines))
                .or_insert_with(|| with_keys(Records::new(text, delimiter, layout.skip_lines).head()));
            match fit(layout, delimiter, head) {
                Ok(found) => return Ok(found),
                Err(missing) => near.extend(missing),
            }
        }
    }
    near.truncate(5);
    Err(near)
}

/// A record that may be a header, and its texts as headers are compared.
type Head = (Record, Vec<String>);

/// Records that may be a header, each with its texts as headers are compared.
fn with_keys(head: Vec<Record>) -> Vec<Head> {
    let narrow = head.into_iter().filter(|record| record.fields.len() <= MOST_COLUMNS);
    narrow.map(|record| (record.clone(), record.fields.iter().map(|field| columns::key(field)).collect())).collect()
}

/// Fits a layout to the beginning of a file; else says what is missing where most of its columns are there.
fn fit<'o>(layout: &'o Layout, delimiter: u8, head: &[Head]) -> Result<Found<'o>, Option<String>> {
    if !layout.has_header() {
        let columns = Columns::by_number(layout).ok_or(None)?;
        let records: Vec<&Record> = head.iter().map(|(record, _)| record).collect();
        return match row::fits(layout, &columns, &records) {
            true => Ok(Found { layout, delimiter, columns, header_at: None, header: Vec::new() }),
            false => Err(None),
        };
    }
    let mut near = None;
    for (record, keys) in head {
        match Columns::by_header(layout, keys) {
            Ok(columns) => {
                let header = record.fields.iter().map(|field| columns::tidy(field)).collect();
                return Ok(Found { layout, delimiter, columns, header_at: Some(record.at), header });
            }
            Err(missing) => {
                if missing.few() {
                    near = Some(format!("the layout `{}` misses {}", layout.name, missing));
                }
            }
        }
    }
    Err(near)
}

/// The one date format that reads every row. Several that read all rows differently decide nothing.
fn date_format(text: &str, found: &Found<'_>) -> Result<String, Refusal> {
    let formats = &found.layout.date_format;
    if let [only] = formats.as_slice() {
        return Ok(only.clone());
    }
    let mut left: Vec<&String> = formats.iter().collect();
    let mut differ = false;
    let mut records = Records::new(text, found.delimiter, found.layout.skip_lines);
    while let Some(record) = records.next()? {
        let cell = record.field(found.columns.date);
        if found.header_at.is_some_and(|header| record.at <= header) || row::left_out(found, &record) || cell.is_empty()
        {
            continue;
        }
        let fitting: Vec<&String> = left.iter().copied().filter(|format| row::date(cell, format).is_some()).collect();
        if fitting.is_empty() {
            // A line of prose; the reading proper judges it.
            continue;
        }
        left = fitting;
        differ |= left.iter().any(|format| row::date(cell, format) != row::date(cell, left[0]));
    }
    if left.len() > 1 && differ {
        let still = left.iter().skip(1).any(|format| *format != left[0]);
        if still {
            let names: Vec<String> = left.iter().map(|format| format!("`{format}`")).collect();
            return Err(Refusal::whole(format!(
                "the dates of this file can be read as {}: set `date_format` in a `[[source.csv]]` of your own",
                names.join(" and as ")
            )));
        }
    }
    Ok(left.first().map_or_else(|| formats[0].clone(), |format| (*format).clone()))
}

struct Reader<'f, 'o, 'r, 's> {
    found: &'f Found<'o>,
    format: String,
    running: Vec<Running>,
    groups: HashMap<(String, String), usize>,
    left_out: usize,
    rows: &'r mut Rows<'s>,
}

impl Reader<'_, '_, '_, '_> {
    fn record(&mut self, record: &Record) -> Result<(), Refusal> {
        if row::left_out(self.found, record) {
            self.left_out += 1;
            return Ok(());
        }
        let of_line = |why: String| Refusal::line(record.line, why);
        let read = row::read(self.found, &self.format, record).map_err(of_line)?;
        let row = match read {
            row::Read::Row(row) => *row,
            row::Read::Nothing => return Ok(()),
            row::Read::Skipped(why) => {
                let index = self.group(record)?;
                let statement = self.rows.statement(index);
                if statement.notes.len() < 20 {
                    statement.notes.push(format!("line {} was left out: {why}", record.line));
                }
                return Ok(());
            }
        };
        let index = self.group(record)?;
        self.running[index].row(row.date, row.amount, row.balance);
        self.rows.statement(index).cover(row.date);
        self.rows.row(index, row).map_err(|refusal| Refusal { line: Some(record.line), ..refusal })
    }

    /// The statement of a row: files may hold several accounts and currencies.
    fn group(&mut self, record: &Record) -> Result<usize, Refusal> {
        let columns = &self.found.columns;
        let account = columns.account.map(|at| record.field(at)).unwrap_or_default().to_owned();
        let currency = match (&columns.currency, &self.found.layout.currency) {
            (Some(at), _) => record.field(*at).to_ascii_uppercase(),
            (None, Some(Column::Name(fixed))) => fixed.clone(),
            _ => String::new(),
        };
        if let Some(index) = self.groups.get(&(account.clone(), currency.clone())) {
            return Ok(*index);
        }
        if self.groups.len() >= MOST_STATEMENTS {
            return Err(Refusal::line(record.line, "the file names more accounts than one file can"));
        }
        let index = self.rows.begin(Statement {
            account: Some(account.clone()).filter(|account| !account.is_empty()),
            currency: Some(currency.clone()).filter(|currency| !currency.is_empty()),
            ..Statement::new(Format::Csv)
        });
        self.running.push(Running::default());
        self.groups.insert((account, currency), index);
        Ok(index)
    }

    fn finish(self, notes: &mut Vec<String>) {
        for (index, running) in self.running.into_iter().enumerate() {
            running.settle(self.rows.statement(index));
        }
        if self.rows.len() == 0 {
            self.rows.begin(Statement::new(Format::Csv));
        }
        notes.push(format!("read by the layout `{}`", shown(&self.found.layout.name)));
        if self.left_out > 0 {
            notes.push(format!("{} rows are no booked transactions by the layout and were left out", self.left_out));
        }
    }
}
