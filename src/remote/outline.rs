//! The places of a reply's accounts and of their rows in its text, found by brackets and quotation marks alone.
//!
//! A single pass, without recursion, whatever the values are: what is broken inside of a row or a value stays inside of it,
//! and the others are found all the same. The meaning of values is decided elsewhere.

use std::ops::Range;

use super::packed::{PackedText, Unpacker};

/// Most accounts and rows in one reply. A real row has some 450 bytes; a place for it takes memory even if it has two.
const ACCOUNTS: usize = 1_000;
const ROWS: usize = 1_000_000;

/// The reason why a reply cannot be taken apart at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The text ends in the middle.
    CutOff,
    /// The text is no JSON at this byte.
    Shape(usize),
    /// A list is longer than this.
    TooMany(usize),
}

/// The names of the things that are looked for in a reply.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The key of the list of accounts.
    pub accounts: &'static str,
    /// The key of an account's list of rows.
    pub rows: &'static str,
    /// The other keys of an account that are wanted.
    pub wanted: &'static [&'static str],
    /// The keys that are wanted beside the list of accounts.
    pub beside: &'static [&'static str],
}

/// A reply.
#[derive(Debug, Default)]
pub struct Outline {
    /// The elements of the list of accounts that are objects; `None` where there is no such list.
    pub accounts: Option<Vec<Listed>>,
    /// The wanted keys beside that list, and their values as they stand there.
    beside: Vec<(&'static str, Member)>,
}

/// An account in it.
#[derive(Debug, Default)]
pub struct Listed {
    /// The wanted keys that it has, and their values as they stand there.
    members: Vec<(&'static str, Member)>,
    /// The rows; `None` where no list of them is there.
    pub rows: Option<Vec<Span>>,
}

/// A value: its place, and its text once everything is found.
#[derive(Debug)]
struct Member {
    span: Span,
    text: String,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The number of bytes.
    pub length: u32,
}

impl Span {
    fn between(start: usize, end: usize) -> Span {
        Span { start: start as u32, length: (end - start) as u32 }
    }

    /// The bytes of the text that it spans.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.length as usize
    }
}

impl Listed {
    /// The value of this key as it stands there; `None` where it is absent or `null`.
    pub fn value(&self, key: &str) -> Option<&str> {
        value_in(&self.members, key)
    }
}

fn value_in<'a>(members: &'a [(&'static str, Member)], key: &str) -> Option<&'a str> {
    let member = members.iter().find(|(name, _)| *name == key);
    member.map(|(_, value)| value.text.as_str()).filter(|value| *value != "null")
}

impl Outline {
    /// The value of this key beside the list of accounts; `None` where it is absent or `null`.
    pub fn value(&self, key: &str) -> Option<&str> {
        value_in(&self.beside, key)
    }

    /// Finds the accounts, their values under the wanted keys, and their rows.
    pub fn find(text: &PackedText, shape: &Shape) -> Result<Outline, Defect> {
        let mut scanner = Scanner::new(text);
        let mut outline = Outline::default();
        scanner.blank();
        if scanner.peek() != Some(b'{') {
            return Err(scanner.defect());
        }
        scanner.object(|scanner, key| {
            let is_list = key.as_deref() == Some(shape.accounts);
            if is_list && scanner.peek() == Some(b'[') {
                scanner.list(ACCOUNTS, |scanner| {
                    let accounts = outline.accounts.get_or_insert_default();
                    if scanner.peek() == Some(b'{') {
                        accounts.push(scanner.account(shape)?);
                        return Ok(());
                    }
                    let defect = scanner.defect();
                    let span = scanner.value()?;
                    if scanner.text(span) == "null" { Ok(()) } else { Err(defect) }
                })?;
                outline.accounts.get_or_insert_default();
                return Ok(());
            }
            let span = scanner.value()?;
            // A null is an empty list.
            if is_list && scanner.text(span) == "null" {
                outline.accounts.get_or_insert_default();
            }
            let name = shape.beside.iter().find(|name| Some(**name) == key.as_deref());
            outline.beside.extend(name.map(|name| (*name, Member { span, text: String::new() })));
            Ok(())
        })?;
        let Scanner { mut blocks, .. } = scanner;
        let members = outline.accounts.iter_mut().flatten().flat_map(|listed| &mut listed.members);
        let members = members.chain(&mut outline.beside);
        for (_, member) in members {
            member.text = blocks.get(std::slice::from_ref(text), 0, member.span.range()).to_owned();
        }
        Ok(outline)
    }
}

/// A reply that is one list of rows, with values beside it.
#[derive(Debug, Default)]
pub struct Listing {
    /// The rows; `None` where no list of them is there.
    pub rows: Option<Vec<Span>>,
    beside: Vec<(&'static str, Member)>,
}

impl Listing {
    /// The value of this key beside the list; `None` where it is absent or `null`.
    pub fn value(&self, key: &str) -> Option<&str> {
        value_in(&self.beside, key)
    }

    /// Finds the list of rows under the key `rows`, and the values of the wanted keys `beside` it.
    pub fn find(text: &PackedText, rows: &str, beside: &[&'static str]) -> Result<Listing, Defect> {
        let mut scanner = Scanner::new(text);
        let mut listing = Listing::default();
        scanner.blank();
        if scanner.peek() != Some(b'{') {
            return Err(scanner.defect());
        }
        scanner.object(|scanner, key| {
            if key.as_deref() == Some(rows) && scanner.peek() == Some(b'[') {
                let found = listing.rows.get_or_insert_default();
                return scanner.list(ROWS, |scanner| {
                    found.push(scanner.value()?);
                    Ok(())
                });
            }
            let span = scanner.value()?;
            if let Some(name) = beside.iter().find(|name| Some(**name) == key.as_deref()) {
                let text = scanner.text(span).to_owned();
                listing.beside.push((name, Member { span, text }));
            }
            Ok(())
        })?;
        Ok(listing)
    }
}

/// The elements of a list as they stand there.
pub fn elements(text: &PackedText) -> Result<Vec<String>, Defect> {
    let mut scanner = Scanner::new(text);
    let mut elements = Vec::new();
    scanner.blank();
    if scanner.peek() != Some(b'[') {
        return Err(scanner.defect());
    }
    scanner.list(ACCOUNTS, |scanner| {
        let span = scanner.value()?;
        elements.push(scanner.text(span).to_owned());
        Ok(())
    })?;
    Ok(elements)
}

/// A place in a text, of which the bytes from the value that is being walked over are at hand.
struct Scanner<'a> {
    packed: &'a PackedText,
    blocks: Unpacker,
    /// The next block to unpack.
    next: usize,
    /// Bytes at hand, and the place of the first of them in the text.
    window: Vec<u8>,
    base: usize,
    /// The place within the window.
    at: usize,
    /// From here on the window keeps its bytes.
    kept: Option<usize>,
}

impl<'a> Scanner<'a> {
    fn new(packed: &'a PackedText) -> Scanner<'a> {
        Scanner { packed, blocks: Unpacker::default(), next: 0, window: Vec::new(), base: 0, at: 0, kept: None }
    }

    /// An account: a list of rows is taken apart, and the values of the wanted keys are noted.
    fn account(&mut self, shape: &Shape) -> Result<Listed, Defect> {
        let mut account = Listed::default();
        // The value that was walked over last, where it is noted.
        let mut last = None;
        self.object(|scanner, key| {
            let Some(key) = key else {
                // `12,50` is one broken value, not the number twelve.
                scanner.value()?;
                if let Some((_, member)) = last.and_then(|at: usize| account.members.get_mut(at)) {
                    member.span = Span::between(member.span.start as usize, scanner.place());
                }
                return Ok(());
            };
            let begins = scanner.place();
            let is_list = key == shape.rows && scanner.peek() == Some(b'[');
            let span = if is_list { Span::between(begins, begins + 1) } else { scanner.value()? };
            let name = shape.wanted.iter().find(|name| **name == key);
            let name = name.filter(|name| !account.members.iter().any(|(known, _)| known == *name));
            last = name.map(|name| {
                account.members.push((name, Member { span, text: String::new() }));
                account.members.len() - 1
            });
            if !is_list {
                return Ok(());
            }
            let rows = account.rows.get_or_insert_default();
            scanner.list(ROWS, |scanner| {
                rows.push(scanner.value()?);
                Ok(())
            })
        })?;
        Ok(account)
    }

    /// Walks over an object; `member` stands before the value of a key and goes behind it. Without a key it stands before
    /// what a broken value has left over.
    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Option<String>) -> Result<(), Defect>,
    ) -> Result<(), Defect> {
        self.at += 1;
        loop {
            self.blank();
            match self.peek() {
                None => return Err(Defect::CutOff),
                Some(b'}') => break self.at += 1,
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    self.kept = Some(self.at);
                    let start = self.place();
                    self.string()?;
                    self.kept = None;
                    let key = self.text(Span::between(start + 1, self.place() - 1)).to_owned();
                    self.blank();
                    if self.peek() == Some(b':') {
                        self.at += 1;
                        self.blank();
                        member(self, Some(key))?;
                    }
                }
                Some(_) => member(self, None)?,
            }
        }
        Ok(())
    }

    /// Walks over a list of so many elements at most; `element` stands before one and goes behind it.
    fn list(&mut self, most: usize, mut element: impl FnMut(&mut Self) -> Result<(), Defect>) -> Result<(), Defect> {
        self.at += 1;
        let mut count = 0;
        loop {
            self.blank();
            match self.peek() {
                None => return Err(Defect::CutOff),
                Some(b']') => break self.at += 1,
                Some(b',') => self.at += 1,
                Some(_) if count == most => return Err(Defect::TooMany(most)),
                Some(_) => {
                    count += 1;
                    element(self)?;
                }
            }
        }
        Ok(())
    }

    /// Goes behind the value that begins here and gives its place.
    fn value(&mut self) -> Result<Span, Defect> {
        self.kept = Some(self.at);
        let start = self.place();
        self.skip()?;
        self.kept = None;
        let length = self.text(Span::between(start, self.place())).trim_end().len();
        if length == 0 { Err(self.defect()) } else { Ok(Span::between(start, start + length)) }
    }

    fn skip(&mut self) -> Result<(), Defect> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return Err(Defect::CutOff),
                Some(b'"') => self.string()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b',' | b'}' | b']') if depth == 0 => return Ok(()),
                Some(b'}' | b']') => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(_) => {
                    self.at += 1;
                    continue;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Goes behind the string that begins here.
    fn string(&mut self) -> Result<(), Defect> {
        self.at += 1;
        while self.peek().is_some() {
            let rest = &self.window[self.at..];
            match rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
                None => self.at = self.window.len(),
                Some(next) => {
                    let is_end = rest[next] == b'"';
                    self.at += next + 1;
                    if is_end {
                        return Ok(());
                    }
                    // An escaped quotation mark ends nothing.
                    if self.peek().is_some() {
                        self.at += 1;
                    }
                }
            }
        }
        Err(Defect::CutOff)
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        if self.at == self.window.len() {
            self.fill();
        }
        self.window.get(self.at).copied()
    }

    /// Unpacks the next block.
    fn fill(&mut self) {
        let kept = self.kept.unwrap_or(self.at);
        self.window.drain(..kept);
        self.base += kept;
        self.at -= kept;
        self.kept = self.kept.map(|_| 0);
        self.window.extend_from_slice(self.blocks.block(std::slice::from_ref(self.packed), 0, self.next));
        self.next += 1;
    }

    /// The place in the whole text.
    fn place(&self) -> usize {
        self.base + self.at
    }

    /// A piece that is at hand.
    fn text(&self, span: Span) -> &str {
        let (start, end) = (span.start as usize, span.start as usize + span.length as usize);
        let bytes = start.checked_sub(self.base).and_then(|start| self.window.get(start..end - self.base));
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    fn defect(&mut self) -> Defect {
        if self.peek().is_some() { Defect::Shape(self.place()) } else { Defect::CutOff }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { accounts: "acc", rows: "stmt", wanted: &["iban", "b", "z", "y"], beside: &["x", "w"] };

    /// The outline of the text, the same whatever blocks it is packed in.
    fn find(text: &str) -> Result<Outline, Defect> {
        let whole = Outline::find(&text.into(), &SHAPE);
        if text.len() < 1_000 {
            for bytes in [4, 7, 64] {
                let outline = Outline::find(&PackedText::in_blocks_of(bytes, text), &SHAPE);
                assert_eq!(format!("{outline:?}"), format!("{whole:?}"), "in blocks of {bytes} bytes");
            }
        }
        whole
    }

    fn elements(text: &str) -> Result<Vec<String>, Defect> {
        super::elements(&text.into())
    }

    fn rows(text: &str) -> Vec<&str> {
        let outline = find(text).unwrap();
        outline.accounts.unwrap()[0].rows.iter().flatten().map(|row| &text[row.range()]).collect()
    }

    #[test]
    fn accounts_and_rows_are_found_with_everything_else_around_them() {
        let text = r#" {"x":[{"acc":[]}],"acc" : [ {"iban":"A","n":{"stmt":[1]},"stmt":[ {"a":"]}\"" } , [{}],7 ],"z":-1.5 } ] } "#;
        let outline = find(text).unwrap();
        let account = &outline.accounts.as_ref().unwrap()[0];
        assert_eq!(
            [account.value("iban"), account.value("z"), account.value("y")],
            [Some(r#""A""#), Some("-1.5"), None]
        );
        assert_eq!(rows(text), [r#"{"a":"]}\"" }"#, "[{}]", "7"]);
        assert_eq!([outline.value("x"), outline.value("w")], [Some(r#"[{"acc":[]}]"#), None]);
        for nothing in [r#"{"acc":[]}"#, r#"{"acc":null}"#, r#"{"acc":[null]}"#] {
            assert!(find(nothing).unwrap().accounts.unwrap().is_empty(), "{nothing}");
        }
        for none in [r#"{}"#, r#"{"acc":"[]"}"#, r#"{"acc":{"stmt":[]}}"#] {
            assert!(find(none).unwrap().accounts.is_none(), "{none}");
        }
        for none in [r#"{"acc":[{}]}"#, r#"{"acc":[{"stmt":null}]}"#, r#"{"acc":[{"stmt":{"0":{}}}]}"#] {
            assert!(find(none).unwrap().accounts.unwrap()[0].rows.is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_broken_stays_where_it_is() {
        let around = |row: &str| format!(r#"{{"acc":[{{"b":12,50,"stmt":[{{"n":1}},{row},{{"n":2}}],"c":NaN}}]}}"#);
        for row in ["{\"n\":\"a\tb\\x\"}", "{\"n\":1,50}", "{\"n\":}", "{n:NaN}", "null", "{\"n\" \"m\"}", "[[[]]]"] {
            assert_eq!(rows(&around(row)), [r#"{"n":1}"#, row, r#"{"n":2}"#], "{row}");
        }
        let text = around("7");
        let outline = find(&text).unwrap();
        assert_eq!(outline.accounts.unwrap()[0].value("b"), Some("12,50"));
        assert_eq!(rows(r#"{"acc":[{"stmt":[,{"n":1}{"n":2},]}]}"#), [r#"{"n":1}"#, r#"{"n":2}"#]);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(rows(&around(&deep)).len(), 3);
    }

    #[test]
    fn a_list_of_rows_is_found_with_the_values_beside_it() {
        for (text, rows, key) in [
            (r#"{"rows":[{"a":"]"},7],"key":"k=.+"}"#, Some(vec![r#"{"a":"]"}"#, "7"]), Some(r#""k=.+""#)),
            (r#"{"key":null,"rows":[]}"#, Some(vec![]), None),
            (r#"{"rows":null,"other":{"rows":[1]}}"#, None, None),
        ] {
            for bytes in [4, 7, 64] {
                let listing = Listing::find(&PackedText::in_blocks_of(bytes, text), "rows", &["key"]).unwrap();
                let found = listing.rows.as_ref().map(|rows| rows.iter().map(|row| &text[row.range()]).collect());
                assert_eq!((found, listing.value("key")), (rows.clone(), key), "{text}");
            }
        }
        assert_eq!(Listing::find(&r#"{"rows":[1"#.into(), "rows", &[]).err(), Some(Defect::CutOff));
        assert_eq!(Listing::find(&"<html>".into(), "rows", &[]).err(), Some(Defect::Shape(0)));
    }

    #[test]
    fn the_elements_of_a_list_are_found_whatever_they_are() {
        assert_eq!(
            elements(r#" [{"a":[1]}, NaN,"],"] "#),
            Ok([r#"{"a":[1]}"#, "NaN", r#""],""#].map(str::to_owned).to_vec())
        );
        assert_eq!((elements("[]"), elements("[1")), (Ok(Vec::new()), Err(Defect::CutOff)));
        assert_eq!(elements(r#"{"a":[]}"#), Err(Defect::Shape(0)));
    }

    #[test]
    fn longer_lists_than_any_bank_has_are_not_read() {
        let accounts = |count| format!(r#"{{"acc":[{}]}}"#, "{},".repeat(count));
        let rows = |count| format!(r#"{{"acc":[{{"stmt":[{}]}}]}}"#, "0,".repeat(count));
        for (text, most) in [(accounts(ACCOUNTS + 1), ACCOUNTS), (rows(ROWS + 1), ROWS)] {
            assert_eq!(find(&text).err(), Some(Defect::TooMany(most)));
        }
        assert!(find(&accounts(ACCOUNTS)).is_ok() && find(&rows(ROWS)).is_ok());
    }

    #[test]
    fn a_text_that_ends_too_early_is_cut_off_and_another_has_no_shape() {
        let whole = r#"{"acc":[{"iban":"A\"","stmt":[{"a":"я"},2]}]}"#;
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert_eq!(find(&whole[..end]).err(), Some(Defect::CutOff), "{}", &whole[..end]);
        }
        for (other, at) in
            [("[1]", 0), ("x", 0), (r#"{"acc":[{"stmt":[1}]}"#, 18), (r#"{"acc":]}"#, 7), (r#"{"acc":[5]}"#, 8)]
        {
            assert_eq!(find(other).err(), Some(Defect::Shape(at)), "{other}");
        }
    }
}
