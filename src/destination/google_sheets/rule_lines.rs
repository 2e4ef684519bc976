//! The content of the tab with the owner's rules: columns by their headers, each line as a rule, and the word that is
//! written beside the line.
//!
//! Pure. A line that cannot be used is left out and told, and never stands in the way of another. Headers are known in
//! both languages, wherever the owner has moved them.

use iban::IbanLike;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::destination::OwnRules;
use crate::destination::readback::id_text;
use crate::model::{Direction, Enrichment, Field, Language};
use crate::rules::{Condition, Pattern, Rule, SET_BY_RULES, Test, put};

/// Lines looked at: what a person keeps in a tab takes a tenth of it.
const MOST_LINES: usize = 1_000;

/// Problems told in `status`; the tab itself tells all of them.
const MOST_NOTES: usize = 10;

/// Headers that make a row the one with the headers, should the owner have put something above it.
const FEWEST_HEADERS: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleColumn {
    Counterparty,
    Description,
    Type,
    Direction,
    Account,
    From,
    To,
    Category,
    Vendor,
    Tags,
    Note,
    Off,
    Status,
}

/// Every column with its headers, in the order in which they are made.
pub(super) const RULE_COLUMNS: [(RuleColumn, &str, &str); 13] = [
    (RuleColumn::Counterparty, "Counterparty", "Контрагент"),
    (RuleColumn::Description, "Description", "Описание"),
    (RuleColumn::Type, "Type", "Вид"),
    (RuleColumn::Direction, "Direction", "Посока"),
    (RuleColumn::Account, "Account", "Сметка"),
    (RuleColumn::From, "Amount from", "Сума от"),
    (RuleColumn::To, "Amount to", "Сума до"),
    (RuleColumn::Category, "Set category", "Задай категория"),
    (RuleColumn::Vendor, "Set vendor", "Задай търговец"),
    (RuleColumn::Tags, "Set tags", "Задай етикети"),
    (RuleColumn::Note, "Set note", "Задай бележка"),
    (RuleColumn::Off, "Off", "Изключено"),
    (RuleColumn::Status, "Status", "Състояние"),
];

/// Columns without which a rule would fit more than it says.
const CONDITIONS: [RuleColumn; 7] = [
    RuleColumn::Counterparty,
    RuleColumn::Description,
    RuleColumn::Type,
    RuleColumn::Direction,
    RuleColumn::Account,
    RuleColumn::From,
    RuleColumn::To,
];

/// Everything that was found in the tab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub own: OwnRules,
    /// The column for the status, its first row, and its cells as they should be; `None`: they are so already.
    pub status: Option<(u32, u32, Vec<String>)>,
}

/// The header of a column.
pub(super) fn header(part: (RuleColumn, &'static str, &'static str), language: Language) -> &'static str {
    if language == Language::En { part.1 } else { part.2 }
}

impl Lines {
    /// Reads the cells of a tab, row by row.
    pub fn read(cells: &[Vec<Value>], title: &str, language: Language) -> Lines {
        let mut lines = Lines::default();
        let note = |lines: &mut Lines, english: String, bulgarian: String| {
            let note = match language {
                Language::En => format!("tab `{title}`{english}"),
                Language::Bg => format!("лист `{title}`{bulgarian}"),
            };
            lines.own.notes.push(note);
        };
        let known = |row: &Vec<Value>| RULE_COLUMNS.iter().filter(|part| column(row, part.0).is_some()).count();
        let Some(top) = cells.iter().position(|row| known(row) >= FEWEST_HEADERS) else {
            if cells.iter().flatten().any(|cell| !text(cell).is_empty()) {
                note(
                    &mut lines,
                    ": no row has the headers of rules, so none are read there".to_owned(),
                    ": няма ред със заглавията на правилата, затова не се четат никакви".to_owned(),
                );
            }
            return lines;
        };
        let header = &cells[top];
        for part in RULE_COLUMNS.iter().filter(|part| CONDITIONS.contains(&part.0) && column(header, part.0).is_none())
        {
            let name = self::header(*part, language);
            note(
                &mut lines,
                format!(": there is no column `{name}`, so no rule looks at it"),
                format!(": няма колона `{name}`, затова никое правило не я гледа"),
            );
        }
        let mut statuses = Vec::new();
        for (at, row) in cells.iter().enumerate().skip(top + 1) {
            let line = Line { header, row };
            let said = if at - top > MOST_LINES { Err(Problem::TooMany) } else { line.rule(at + 1) };
            statuses.push(match said {
                Ok(Meaning::Nothing) => String::new(),
                Ok(Meaning::Off) => if language == Language::En { "off" } else { "изключено" }.to_owned(),
                Ok(Meaning::Rule(rule)) => {
                    lines.own.rules.push(rule);
                    if language == Language::En { "ok" } else { "добре" }.to_owned()
                }
                Err(problem) => {
                    let (sentence, line) = (problem.told(language), at + 1);
                    note(&mut lines, format!(", line {line}: {sentence}"), format!(", ред {line}: {sentence}"));
                    sentence
                }
            });
        }
        let more = lines.own.notes.len().saturating_sub(MOST_NOTES);
        lines.own.notes.truncate(MOST_NOTES);
        if more > 0 {
            note(
                &mut lines,
                format!(": and {more} more, see its column for the status"),
                format!(": и още {more}, вижте колоната за състоянието"),
            );
        }
        if let Some(at) = column(header, RuleColumn::Status) {
            let is = |row: &Vec<Value>| row.get(at).map(text).unwrap_or_default();
            let same = cells[top + 1..].iter().map(is).eq(statuses.iter().cloned());
            lines.status = (!same).then(|| (at as u32, top as u32 + 1, statuses));
        }
        lines
    }
}

/// The meaning of a line.
enum Meaning {
    Nothing,
    Off,
    Rule(Rule),
}

/// Why a line cannot be used.
enum Problem {
    Formula(String),
    Pattern(String, String),
    Direction(String),
    Account(String),
    Amount(String),
    Negative,
    Upside,
    NoCondition,
    SetsNothing,
    TooMany,
}

impl Problem {
    fn told(&self, language: Language) -> String {
        let (en, bg) = match self {
            Problem::Formula(cell) => (format!("a formula gives {cell}"), format!("формула дава {cell}")),
            Problem::Pattern(cell, why) => (
                format!("`{cell}` is not a regular expression: {why}"),
                format!("`{cell}` не е регулярен израз: {why}"),
            ),
            Problem::Direction(cell) => (
                format!("the direction is debit or credit, not `{cell}`"),
                format!("посоката е debit или credit (дебит или кредит), а не `{cell}`"),
            ),
            Problem::Account(cell) => (format!("`{cell}` is not an IBAN"), format!("`{cell}` не е IBAN")),
            Problem::Amount(cell) => (format!("`{cell}` is not an amount"), format!("`{cell}` не е сума")),
            Problem::Negative => (
                "amounts have no sign here: the direction says debit or credit".to_owned(),
                "сумите тук са без знак: посоката казва дебит или кредит".to_owned(),
            ),
            Problem::Upside => (
                "the lower amount is more than the upper one".to_owned(),
                "долната сума е по-голяма от горната".to_owned(),
            ),
            Problem::NoCondition => (
                "there is no condition, and it would fit every transaction".to_owned(),
                "няма условие и би важало за всяка транзакция".to_owned(),
            ),
            Problem::SetsNothing => ("it sets nothing".to_owned(), "не задава нищо".to_owned()),
            Problem::TooMany => (
                format!("only the first {MOST_LINES} lines are read"),
                format!("четат се само първите {MOST_LINES} реда"),
            ),
        };
        if language == Language::En { en } else { bg }
    }
}

struct Line<'a> {
    header: &'a [Value],
    row: &'a [Value],
}

impl Line<'_> {
    fn cell(&self, part: RuleColumn) -> String {
        column(self.header, part).and_then(|at| self.row.get(at)).map(text).unwrap_or_default()
    }

    fn rule(&self, line: usize) -> Result<Meaning, Problem> {
        let ours = |part: &&(RuleColumn, &str, &str)| !matches!(part.0, RuleColumn::Status | RuleColumn::Off);
        let cells = RULE_COLUMNS.iter().filter(ours).map(|part| self.cell(part.0));
        let filled: Vec<String> = cells.filter(|cell| !cell.is_empty()).collect();
        if filled.is_empty() {
            return Ok(Meaning::Nothing);
        }
        // An unticked box is no mark.
        if !["", "FALSE", "0"].contains(&self.cell(RuleColumn::Off).as_str()) {
            return Ok(Meaning::Off);
        }
        const BROKEN: [&str; 8] = ["#REF!", "#N/A", "#VALUE!", "#NAME?", "#ERROR!", "#DIV/0!", "#NUM!", "#NULL!"];
        if let Some(broken) = filled.iter().find(|cell| BROKEN.contains(&cell.as_str())) {
            return Err(Problem::Formula(broken.clone()));
        }
        let when = self.conditions()?;
        if when.is_empty() {
            return Err(Problem::NoCondition);
        }
        let mut set = Enrichment::default();
        for (field, part) in
            SET_BY_RULES.iter().zip([RuleColumn::Category, RuleColumn::Vendor, RuleColumn::Tags, RuleColumn::Note])
        {
            put(&mut set, field, &self.cell(part));
        }
        if set == Enrichment::default() {
            return Err(Problem::SetsNothing);
        }
        Ok(Meaning::Rule(Rule { line, when, set }))
    }

    fn conditions(&self) -> Result<Vec<Condition>, Problem> {
        let mut when = Vec::new();
        let patterns = [
            (RuleColumn::Counterparty, Field::Counterparty),
            (RuleColumn::Description, Field::Description),
            (RuleColumn::Type, Field::Type),
        ];
        for (part, field) in patterns {
            let cell = self.cell(part);
            if !cell.is_empty() {
                let pattern = Pattern::new(&cell).map_err(|why| Problem::Pattern(cell, why))?;
                when.push(Condition { field, test: Test::Matches(pattern) });
            }
        }
        if let Some(direction) = direction(&self.cell(RuleColumn::Direction))? {
            when.push(Condition { field: Field::Direction, test: Test::Is(direction.as_str().to_owned()) });
        }
        let account = self.cell(RuleColumn::Account);
        if !account.is_empty() {
            let compact: String = account.chars().filter(|c| !c.is_whitespace()).collect();
            let iban = compact.to_uppercase().parse::<iban::Iban>().map_err(|_| Problem::Account(account))?;
            when.push(Condition { field: Field::Account, test: Test::Is(iban.electronic_str().to_owned()) });
        }
        let (min, max) = (amount(&self.cell(RuleColumn::From))?, amount(&self.cell(RuleColumn::To))?);
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            return Err(Problem::Upside);
        }
        if min.is_some() || max.is_some() {
            when.push(Condition { field: Field::Amount, test: Test::Size { min, max } });
        }
        Ok(when)
    }
}

fn direction(cell: &str) -> Result<Option<Direction>, Problem> {
    match cell.to_lowercase().as_str() {
        "" => Ok(None),
        "debit" | "дебит" => Ok(Some(Direction::Debit)),
        "credit" | "кредит" => Ok(Some(Direction::Credit)),
        _ => Err(Problem::Direction(cell.to_owned())),
    }
}

/// An amount as a number, or as text with a point or a comma before the last one or two digits.
fn amount(cell: &str) -> Result<Option<Decimal>, Problem> {
    let compact: String = cell.chars().filter(|c| !c.is_whitespace()).collect();
    if compact.is_empty() {
        return Ok(None);
    }
    // With both, or a third digit behind it, it may be a separator of thousands: nobody can tell which.
    let plain = compact.replace(',', ".");
    let doubtful = compact.contains(',') && compact.rsplit(',').next().is_some_and(|digits| digits.len() > 2);
    let amount: Option<Decimal> = if doubtful { None } else { plain.parse().ok() };
    match amount {
        None => Err(Problem::Amount(cell.to_owned())),
        Some(amount) if amount.is_sign_negative() && !amount.is_zero() => Err(Problem::Negative),
        Some(amount) => Ok(Some(amount)),
    }
}

/// The leftmost column with a header of this part.
fn column(header: &[Value], part: RuleColumn) -> Option<usize> {
    let (_, en, bg) = RULE_COLUMNS.iter().find(|known| known.0 == part)?;
    let same = |name: &str| name == en.to_lowercase() || name == bg.to_lowercase();
    header.iter().position(|cell| same(&text(cell).to_lowercase()))
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Bool(true) => "TRUE".to_owned(),
        Value::Bool(false) => "FALSE".to_owned(),
        Value::Number(number) => id_text(cell).unwrap_or_else(|| number.to_string()),
        Value::String(text) => text.trim().to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HEADER: [&str; 9] =
        ["Set note", "Counterparty", "mine", "direction", "Amount from", "Сума до", "Account", "Off", "Status"];

    fn read(rows: &[[Value; 9]]) -> Lines {
        let mut cells = vec![HEADER.map(|header| json!(header)).to_vec()];
        cells.extend(rows.iter().map(|row| row.to_vec()));
        Lines::read(&cells, "Rules", Language::En)
    }

    fn one(cells: [Value; 8]) -> (String, Vec<String>) {
        let mut row = cells.to_vec();
        row.push(json!(""));
        let lines = read(&[row.try_into().unwrap()]);
        let status = lines.status.map(|(_, _, statuses)| statuses.concat()).unwrap_or_default();
        (status, lines.own.rules.iter().map(Rule::to_string).collect())
    }

    #[test]
    fn a_line_is_a_rule_whatever_the_cells_hold() {
        let rule = |cells| one(cells).1.concat();
        let no = || json!("");
        assert_eq!(
            rule([json!("x"), json!("lidl"), json!("?"), json!("Debit"), json!(5), json!("7,50"), no(), json!(false)]),
            "counterparty ~ \"lidl\", direction = \"debit\", 5.00 <= |amount| <= 7.50 -> note \"x\""
        );
        assert_eq!(
            rule([
                json!(12),
                json!(112),
                no(),
                json!("кредит"),
                no(),
                no(),
                json!("bg32 finv 9150 1000 0000 01"),
                no()
            ]),
            "counterparty ~ \"112\", direction = \"credit\", account = \"BG32FINV91501000000001\" -> note \"12\""
        );
    }

    #[test]
    fn a_bad_line_is_told_and_left_out() {
        let no = || json!("");
        let line = |note: Value, name: Value, from: Value, to: Value, off: Value| {
            let (status, rules) = one([note, name, no(), no(), from, to, no(), off]);
            assert!(rules.is_empty(), "{rules:?}");
            status
        };
        let x = || json!("x");
        assert!(line(x(), json!("(a"), no(), no(), no()).starts_with("`(a` is not a regular expression: "));
        assert_eq!(line(x(), x(), json!("much"), no(), no()), "`much` is not an amount");
        assert_eq!(line(x(), x(), json!("1,000"), no(), no()), "`1,000` is not an amount", "a thousand, or one");
        assert_eq!(
            line(x(), x(), json!(-5), no(), no()),
            "amounts have no sign here: the direction says debit or credit"
        );
        assert_eq!(line(x(), x(), json!(5), json!(4), no()), "the lower amount is more than the upper one");
        assert_eq!(line(no(), x(), no(), no(), no()), "it sets nothing");
        assert_eq!(line(x(), no(), no(), no(), no()), "there is no condition, and it would fit every transaction");
        assert_eq!(line(x(), json!("#REF!"), no(), no(), no()), "a formula gives #REF!");
        assert_eq!(line(x(), x(), no(), no(), x()), "off");
        assert_eq!(line(x(), x(), no(), no(), json!(true)), "off");
        assert_eq!(line(no(), no(), no(), no(), x()), "", "nothing else is there");
    }

    #[test]
    fn a_status_that_is_right_is_not_written_again() {
        let row = |status: &str| ["x", "lidl", "", "", "", "", "", "", status].map(|cell| json!(cell));
        assert_eq!(read(&[row("ok")]).status, None);
        assert_eq!(read(&[row("old")]).status, Some((8, 1, vec!["ok".to_owned()])));
        let blank = ["", "", "mine", "", "", "", "", "", ""].map(|cell| json!(cell));
        assert_eq!(read(&[blank, row("")]).status, Some((8, 1, vec![String::new(), "ok".to_owned()])));
    }

    #[test]
    fn a_missing_column_and_a_missing_header_are_told() {
        let notes = read(&[]).own.notes;
        assert_eq!(notes[0], "tab `Rules`: there is no column `Description`, so no rule looks at it");
        let lost = Lines::read(&[vec![json!("Counterparty"), json!("lidl")]], "Rules", Language::En);
        assert_eq!(lost.own.notes, ["tab `Rules`: no row has the headers of rules, so none are read there"]);
        assert_eq!(Lines::read(&[], "Rules", Language::En), Lines::default(), "an empty tab has none");
        let line = [json!("Контрагент"), json!("Описание"), json!("Вид"), json!("Посока"), json!("Сметка")];
        let header = [&line[..], &[json!("Сума от"), json!("Сума до")]].concat();
        let told = Lines::read(&[header, vec![json!("lidl")]], "Правила", Language::Bg);
        assert_eq!(told.own.notes, ["лист `Правила`, ред 2: не задава нищо"]);
    }
}
