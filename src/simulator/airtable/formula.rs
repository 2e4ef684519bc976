//! The part of Airtable's formula language that clients filter with: fields, strings, numbers, comparisons, `&`,
//! arithmetic, and the functions for logic and text.
//!
//! A formula outside this part is refused as the service refuses a broken one: better than a wrong selection.

use serde_json::{Value, json};

use super::model::{Field, Record, Table};
use super::refusal::Refusal;

/// A formula ready to be asked about rows.
#[derive(Debug)]
pub(super) struct Formula(Node);

#[derive(Debug)]
enum Node {
    Const(Cell),
    /// Name or id of a column.
    Field(String),
    Call(String, Vec<Node>),
    Infix(Box<Node>, &'static str, Box<Node>),
}

#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Blank,
    Text(String),
    Number(f64),
    Bool(bool),
}

/// Formula columns that show each other are followed this far.
const DEEPEST: u8 = 8;

/// Parentheses may nest this deep.
const NESTED: usize = 100;

/// Infix signs in one formula: each makes the tree deeper, and a client must not reach the end of the stack with it.
const CHAINED: usize = 1000;

impl Formula {
    /// Reads a filter; fields it names must exist in `table`.
    pub fn parse(text: &str, table: &Table) -> Result<Formula, Refusal> {
        let refused = |why: String| {
            let text = format!("The formula for filtering records is invalid: {why}");
            Refusal::new(422, "INVALID_FILTER_BY_FORMULA", text)
        };
        let formula = Formula(Parser::read(text).map_err(refused)?);
        match formula.0.unknown_field(table) {
            Some(name) => Err(refused(format!("Unknown field names: {}", name.to_lowercase()))),
            None => Ok(formula),
        }
    }

    /// True if the formula accepts the row.
    pub fn accepts(&self, table: &Table, record: &Record) -> bool {
        truth(&self.0.value(table, record, 0))
    }
}

/// The value of a formula column; `None` if the value is blank or the formula uses functions unknown to this simulator.
pub(super) fn column(table: &Table, record: &Record, field: &Field, depth: u8) -> Option<Value> {
    let text = field.options.as_ref()?.get("formula")?.as_str()?;
    let node = Parser::read(text).ok()?;
    match node.value(table, record, depth + 1) {
        Cell::Blank => None,
        Cell::Text(text) => Some(json!(text)),
        Cell::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(json!(number as i64)),
        Cell::Number(number) if number.is_finite() => Some(json!(number)),
        Cell::Number(_) => Some(json!({"specialValue": "NaN"})),
        Cell::Bool(truth) => Some(json!(i32::from(truth))),
    }
}

/// A value as the page shows it in one line.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let known = ["name", "text", "label", "filename", "email", "id"];
            known.iter().find_map(|key| map.get(*key)).map_or_else(String::new, text_of)
        }
        other => other.to_string(),
    }
}

impl Node {
    fn unknown_field(&self, table: &Table) -> Option<&str> {
        match self {
            Node::Const(_) => None,
            Node::Field(name) => named(table, name).is_none().then_some(name.as_str()),
            Node::Call(_, parts) => parts.iter().find_map(|part| part.unknown_field(table)),
            Node::Infix(left, _, right) => left.unknown_field(table).or_else(|| right.unknown_field(table)),
        }
    }

    fn value(&self, table: &Table, record: &Record, depth: u8) -> Cell {
        match self {
            Node::Const(cell) => cell.clone(),
            Node::Field(_) if depth > DEEPEST => Cell::Blank,
            Node::Field(name) => match named(table, name) {
                Some(field) => cell(table.shown_at(record, field, depth)),
                None => Cell::Blank,
            },
            Node::Call(name, parts) if name == "RECORD_ID" && parts.is_empty() => Cell::Text(record.id.clone()),
            Node::Call(name, parts) => {
                let values: Vec<Cell> = parts.iter().map(|part| part.value(table, record, depth)).collect();
                call(name, &values)
            }
            Node::Infix(left, sign, right) => {
                infix(sign, &left.value(table, record, depth), &right.value(table, record, depth))
            }
        }
    }
}

fn cell(value: Option<Value>) -> Cell {
    match value {
        None | Some(Value::Null) => Cell::Blank,
        Some(Value::Bool(truth)) => Cell::Bool(truth),
        Some(Value::Number(number)) => Cell::Number(number.as_f64().unwrap_or(f64::NAN)),
        Some(other) => Cell::Text(text_of(&other)),
    }
}

fn truth(cell: &Cell) -> bool {
    match cell {
        Cell::Blank => false,
        Cell::Text(text) => !text.is_empty(),
        Cell::Number(number) => *number != 0.0,
        Cell::Bool(truth) => *truth,
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Blank => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
        Cell::Bool(truth) => i32::from(*truth).to_string(),
    }
}

fn number(cell: &Cell) -> f64 {
    match cell {
        Cell::Blank => 0.0,
        Cell::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
        Cell::Number(number) => *number,
        Cell::Bool(truth) => f64::from(u8::from(*truth)),
    }
}

fn equal(left: &Cell, right: &Cell) -> bool {
    match (left, right) {
        (Cell::Text(_), _) | (_, Cell::Text(_)) => text(left) == text(right),
        _ => number(left) == number(right),
    }
}

fn infix(sign: &str, left: &Cell, right: &Cell) -> Cell {
    let both_text = matches!((left, right), (Cell::Text(_), Cell::Text(_)));
    let less = |a: &Cell, b: &Cell| if both_text { text(a) < text(b) } else { number(a) < number(b) };
    match sign {
        "=" => Cell::Bool(equal(left, right)),
        "!=" => Cell::Bool(!equal(left, right)),
        "<" => Cell::Bool(less(left, right)),
        ">" => Cell::Bool(less(right, left)),
        "<=" => Cell::Bool(less(left, right) || equal(left, right)),
        ">=" => Cell::Bool(less(right, left) || equal(left, right)),
        "&" => Cell::Text(text(left) + &text(right)),
        "+" => Cell::Number(number(left) + number(right)),
        "-" => Cell::Number(number(left) - number(right)),
        "*" => Cell::Number(number(left) * number(right)),
        _ => Cell::Number(number(left) / number(right)),
    }
}

/// Functions with the fewest and most arguments they take.
const FUNCTIONS: [(&str, usize, usize); 22] = [
    ("AND", 1, 999),
    ("OR", 1, 999),
    ("NOT", 1, 1),
    ("IF", 2, 3),
    ("TRUE", 0, 0),
    ("FALSE", 0, 0),
    ("BLANK", 0, 0),
    ("RECORD_ID", 0, 0),
    ("CONCATENATE", 1, 999),
    ("EXACT", 2, 2),
    ("LOWER", 1, 1),
    ("UPPER", 1, 1),
    ("TRIM", 1, 1),
    ("LEN", 1, 1),
    ("LEFT", 2, 2),
    ("RIGHT", 2, 2),
    ("FIND", 2, 2),
    ("SEARCH", 2, 2),
    ("VALUE", 1, 1),
    ("ABS", 1, 1),
    ("SUM", 1, 999),
    ("T", 1, 1),
];

fn call(name: &str, values: &[Cell]) -> Cell {
    let blank = Cell::Blank;
    let at = |place: usize| values.get(place).unwrap_or(&blank);
    let count = |place: usize| number(at(place)).max(0.0) as usize;
    match name {
        "AND" => Cell::Bool(values.iter().all(truth)),
        "OR" => Cell::Bool(values.iter().any(truth)),
        "NOT" => Cell::Bool(!truth(at(0))),
        "IF" => at(if truth(at(0)) { 1 } else { 2 }).clone(),
        "TRUE" => Cell::Bool(true),
        "FALSE" => Cell::Bool(false),
        "CONCATENATE" => Cell::Text(values.iter().map(text).collect()),
        "EXACT" => Cell::Bool(text(at(0)) == text(at(1))),
        "LOWER" => Cell::Text(text(at(0)).to_lowercase()),
        "UPPER" => Cell::Text(text(at(0)).to_uppercase()),
        "TRIM" => Cell::Text(text(at(0)).trim().to_owned()),
        "LEN" => Cell::Number(text(at(0)).chars().count() as f64),
        "LEFT" => Cell::Text(text(at(0)).chars().take(count(1)).collect()),
        "RIGHT" => {
            let whole: Vec<char> = text(at(0)).chars().collect();
            Cell::Text(whole[whole.len().saturating_sub(count(1))..].iter().collect())
        }
        "FIND" => Cell::Number(found(&text(at(0)), &text(at(1)))),
        "SEARCH" => match found(&text(at(0)).to_lowercase(), &text(at(1)).to_lowercase()) {
            0.0 => Cell::Blank,
            place => Cell::Number(place),
        },
        "VALUE" => Cell::Number(number(at(0))),
        "ABS" => Cell::Number(number(at(0)).abs()),
        "SUM" => Cell::Number(values.iter().map(number).sum()),
        "T" => match at(0) {
            Cell::Text(text) => Cell::Text(text.clone()),
            _ => Cell::Blank,
        },
        _ => Cell::Blank,
    }
}

/// The position of `part` in `whole`, counted from one in characters; zero if `part` does not occur.
fn found(part: &str, whole: &str) -> f64 {
    whole.find(part).map_or(0.0, |at| (whole[..at].chars().count() + 1) as f64)
}

struct Parser {
    rest: Vec<char>,
    at: usize,
    depth: usize,
    chained: usize,
}

impl Parser {
    fn read(text: &str) -> Result<Node, String> {
        let mut parser = Parser { rest: text.chars().collect(), at: 0, depth: 0, chained: 0 };
        let node = parser.comparison()?;
        match parser.peek() {
            None => Ok(node),
            Some(extra) => Err(format!("unexpected {extra:?} at {}", parser.at)),
        }
    }

    fn peek(&mut self) -> Option<char> {
        while self.rest.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.rest.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        self.peek();
        let wanted: Vec<char> = wanted.chars().collect();
        let fits = self.rest[self.at..].starts_with(&wanted);
        if fits {
            self.at += wanted.len();
        }
        fits
    }

    fn one_of(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        signs.iter().find(|sign| self.eat(sign)).copied()
    }

    fn comparison(&mut self) -> Result<Node, String> {
        self.level(&["!=", "<=", ">=", "=", "<", ">"], |parser| {
            parser.level(&["&"], |parser| parser.level(&["+", "-"], |parser| parser.level(&["*", "/"], Parser::atom)))
        })
    }

    fn level(
        &mut self,
        signs: &[&'static str],
        next: impl Fn(&mut Parser) -> Result<Node, String>,
    ) -> Result<Node, String> {
        let mut left = next(self)?;
        while let Some(sign) = self.one_of(signs) {
            self.chained += 1;
            if self.chained > CHAINED {
                return Err("it is too long".to_owned());
            }
            left = Node::Infix(Box::new(left), sign, Box::new(next(self)?));
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > NESTED {
            return Err("nested too deeply".to_owned());
        }
        let node = match self.peek() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(|text| Node::Const(Cell::Text(text))),
            Some('{') => self.quoted('}').map(Node::Field),
            Some('(') => {
                self.at += 1;
                let inner = self.comparison()?;
                if self.eat(")") { Ok(inner) } else { Err("missing )".to_owned()) }
            }
            Some('-') => {
                self.at += 1;
                let zero = Node::Const(Cell::Number(0.0));
                Ok(Node::Infix(Box::new(zero), "-", Box::new(self.atom()?)))
            }
            Some(digit) if digit.is_ascii_digit() || digit == '.' => self.number(),
            Some(letter) if letter.is_alphabetic() || letter == '_' => self.word(),
            Some(other) => Err(format!("unexpected {other:?} at {}", self.at)),
            None => Err("it ends too early".to_owned()),
        };
        self.depth -= 1;
        node
    }

    /// Text up to `close`, the opening character skipped; a backslash takes the next character as it is.
    fn quoted(&mut self, close: char) -> Result<String, String> {
        self.at += 1;
        let mut text = String::new();
        while let Some(&c) = self.rest.get(self.at) {
            self.at += 1;
            match c {
                '\\' => {
                    match self.rest.get(self.at) {
                        Some('n') if close != '}' => text.push('\n'),
                        Some('t') if close != '}' => text.push('\t'),
                        Some('r') if close != '}' => text.push('\r'),
                        Some(escaped) => text.push(*escaped),
                        None => return Err("it ends too early".to_owned()),
                    }
                    self.at += 1;
                }
                c if c == close => return Ok(text),
                c => text.push(c),
            }
        }
        Err(format!("missing {close}"))
    }

    fn taken(&mut self, fits: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.rest.get(self.at).is_some_and(|c| fits(*c)) {
            self.at += 1;
        }
        self.rest[start..self.at].iter().collect()
    }

    fn number(&mut self) -> Result<Node, String> {
        let digits = self.taken(|c| c.is_ascii_digit() || c == '.');
        let parsed = digits.parse().map_err(|_| format!("bad number {digits}"))?;
        Ok(Node::Const(Cell::Number(parsed)))
    }

    fn word(&mut self) -> Result<Node, String> {
        let word = self.taken(|c| c.is_alphanumeric() || c == '_');
        if !self.eat("(") {
            return Ok(Node::Field(word));
        }
        let name = word.to_uppercase();
        let mut parts = Vec::new();
        if !self.eat(")") {
            loop {
                parts.push(self.comparison()?);
                if self.eat(")") {
                    break;
                }
                if !self.eat(",") {
                    return Err("missing )".to_owned());
                }
            }
        }
        match FUNCTIONS.iter().find(|(known, ..)| *known == name) {
            Some((_, least, most)) if (*least..=*most).contains(&parts.len()) => Ok(Node::Call(name, parts)),
            Some(_) => Err(format!("wrong number of arguments for {name}")),
            None => Err(format!("unknown function {name}")),
        }
    }
}
/// Formulas know fields by name only: the real service answers an id with "Unknown field names".
fn named<'a>(table: &'a Table, name: &str) -> Option<&'a super::model::Field> {
    table.fields.iter().find(|field| field.name == name)
}
