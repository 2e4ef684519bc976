//! Where the accounts and rows of a statement stand in its text, found by brackets and quotation marks alone.
//!
//! One pass, without recursion, whatever the values are: what is broken inside of a row or a value stays inside of it,
//! and the others are found all the same. What the values mean is decided elsewhere.

/// Most accounts and rows in one reply. A real row has some 450 bytes; a place for it takes memory even if it has two.
const ACCOUNTS: usize = 1_000;
const ROWS: usize = 1_000_000;

/// What of a reply cannot be made out at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// The text ends in the middle.
    CutOff,
    /// Something else stands at this byte.
    Shape(usize),
    /// A list is longer than this.
    TooMany(usize),
}

/// A reply.
#[derive(Debug, Default)]
pub(super) struct Outline<'a> {
    /// The elements of `acc` that are objects; `None` where there is no such list.
    pub accounts: Option<Vec<Listed<'a>>>,
}

/// An account in it.
#[derive(Debug, Default)]
pub(super) struct Listed<'a> {
    /// Keys and values as they stand there, but for the rows.
    members: Vec<(&'a str, &'a str)>,
    /// The rows; `None` where no list of them is there.
    pub rows: Option<Vec<Span>>,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first byte.
    pub start: u32,
    /// Its bytes.
    pub length: u32,
}

impl Span {
    /// The piece of that text.
    pub fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start as usize..).and_then(|rest| rest.get(..self.length as usize)).unwrap_or_default()
    }
}

impl<'a> Listed<'a> {
    /// The value of this key as it stands there; `None` where it is absent or `null`.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.members.iter().find(|(name, _)| *name == key).map(|(_, value)| *value).filter(|value| *value != "null")
    }
}

impl<'a> Outline<'a> {
    /// Finds everything.
    pub fn find(text: &'a str) -> Result<Outline<'a>, Defect> {
        let mut scanner = Scanner { text, at: 0 };
        let mut outline = Outline::default();
        scanner.blank();
        if scanner.peek() != Some(b'{') {
            return Err(scanner.defect());
        }
        scanner.object(|scanner, key| {
            if key == Some("acc") && scanner.peek() == Some(b'[') {
                scanner.list(ACCOUNTS, |scanner| {
                    let accounts = outline.accounts.get_or_insert_default();
                    if scanner.peek() == Some(b'{') {
                        accounts.push(scanner.account()?);
                        return Ok(());
                    }
                    let defect = scanner.defect();
                    if scanner.value()? == "null" { Ok(()) } else { Err(defect) }
                })?;
                outline.accounts.get_or_insert_default();
                return Ok(());
            }
            // What is nothing is an empty list.
            if scanner.value()? == "null" && key == Some("acc") {
                outline.accounts.get_or_insert_default();
            }
            Ok(())
        })?;
        Ok(outline)
    }
}

/// The elements of a list as they stand there.
pub(super) fn elements(text: &str) -> Result<Vec<&str>, Defect> {
    let mut scanner = Scanner { text, at: 0 };
    let mut elements = Vec::new();
    scanner.blank();
    if scanner.peek() != Some(b'[') {
        return Err(scanner.defect());
    }
    scanner.list(ACCOUNTS, |scanner| {
        elements.push(scanner.value()?);
        Ok(())
    })?;
    Ok(elements)
}

/// A place in a text.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// An account: a list of rows is taken apart, everything else kept as it stands there.
    fn account(&mut self) -> Result<Listed<'a>, Defect> {
        let mut account = Listed::default();
        let base = self.text.as_ptr() as usize;
        self.object(|scanner, key| {
            let (start, value_begins) = (scanner.at, scanner.peek());
            let Some(key) = key else {
                // `12,50` is one broken value, not the number twelve.
                scanner.value()?;
                if let Some((_, value)) = account.members.last_mut() {
                    let start = value.as_ptr() as usize - base;
                    *value = scanner.text.get(start..scanner.at).unwrap_or_default();
                }
                return Ok(());
            };
            if key != "stmt" || value_begins != Some(b'[') {
                account.members.push((key, scanner.value()?));
                return Ok(());
            }
            account.members.push((key, scanner.text.get(start..=start).unwrap_or_default()));
            let rows = account.rows.get_or_insert_default();
            scanner.list(ROWS, |scanner| {
                let row = scanner.value()?;
                // Both point into the same text, so their distance is where the row begins.
                rows.push(Span { start: (row.as_ptr() as usize - base) as u32, length: row.len() as u32 });
                Ok(())
            })
        })?;
        Ok(account)
    }

    /// Walks over an object; `member` stands before the value of a key and goes behind it. Without a key it stands before
    /// what a broken value has left over.
    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Option<&'a str>) -> Result<(), Defect>,
    ) -> Result<(), Defect> {
        self.at += 1;
        loop {
            self.blank();
            match self.peek() {
                None => return Err(Defect::CutOff),
                Some(b'}') => break self.at += 1,
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    let start = self.at;
                    self.string()?;
                    let key = self.text.get(start + 1..self.at - 1).unwrap_or_default();
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

    /// Goes behind the value that begins here and gives it.
    fn value(&mut self) -> Result<&'a str, Defect> {
        let (start, mut depth) = (self.at, 0_usize);
        loop {
            match self.peek() {
                None => return Err(Defect::CutOff),
                Some(b'"') => self.string()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b',' | b'}' | b']') if depth == 0 => break,
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
                break;
            }
        }
        let value = self.text.get(start..self.at).unwrap_or_default().trim_end();
        if value.is_empty() { Err(self.defect()) } else { Ok(value) }
    }

    /// Goes behind the string that begins here.
    fn string(&mut self) -> Result<(), Defect> {
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(next) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
                return Err(Defect::CutOff);
            };
            let is_end = rest[next] == b'"';
            self.at += next + if is_end { 1 } else { 2 };
            if is_end {
                return Ok(());
            }
        }
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn defect(&self) -> Defect {
        if self.at < self.text.len() { Defect::Shape(self.at) } else { Defect::CutOff }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<&str> {
        let outline = Outline::find(text).unwrap();
        outline.accounts.unwrap()[0].rows.iter().flatten().map(|row| row.of(text)).collect()
    }

    #[test]
    fn accounts_and_rows_are_found_with_everything_else_around_them() {
        let text = r#" {"x":[{"acc":[]}],"acc" : [ {"iban":"A","n":{"stmt":[1]},"stmt":[ {"a":"]}\"" } , [{}],7 ],"z":-1.5 } ] } "#;
        let outline = Outline::find(text).unwrap();
        let account = &outline.accounts.as_ref().unwrap()[0];
        assert_eq!(
            [account.value("iban"), account.value("z"), account.value("y")],
            [Some(r#""A""#), Some("-1.5"), None]
        );
        assert_eq!(rows(text), [r#"{"a":"]}\"" }"#, "[{}]", "7"]);
        for nothing in [r#"{"acc":[]}"#, r#"{"acc":null}"#, r#"{"acc":[null]}"#] {
            assert!(Outline::find(nothing).unwrap().accounts.unwrap().is_empty(), "{nothing}");
        }
        for none in [r#"{}"#, r#"{"acc":"[]"}"#, r#"{"acc":{"stmt":[]}}"#] {
            assert!(Outline::find(none).unwrap().accounts.is_none(), "{none}");
        }
        for none in [r#"{"acc":[{}]}"#, r#"{"acc":[{"stmt":null}]}"#, r#"{"acc":[{"stmt":{"0":{}}}]}"#] {
            assert!(Outline::find(none).unwrap().accounts.unwrap()[0].rows.is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_broken_stays_where_it_is() {
        let around = |row: &str| format!(r#"{{"acc":[{{"b":12,50,"stmt":[{{"n":1}},{row},{{"n":2}}],"c":NaN}}]}}"#);
        for row in ["{\"n\":\"a\tb\\x\"}", "{\"n\":1,50}", "{\"n\":}", "{n:NaN}", "null", "{\"n\" \"m\"}", "[[[]]]"] {
            assert_eq!(rows(&around(row)), [r#"{"n":1}"#, row, r#"{"n":2}"#], "{row}");
        }
        let text = around("7");
        let outline = Outline::find(&text).unwrap();
        assert_eq!(outline.accounts.unwrap()[0].value("b"), Some("12,50"));
        assert_eq!(rows(r#"{"acc":[{"stmt":[,{"n":1}{"n":2},]}]}"#), [r#"{"n":1}"#, r#"{"n":2}"#]);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(rows(&around(&deep)).len(), 3);
    }

    #[test]
    fn the_elements_of_a_list_are_found_whatever_they_are() {
        assert_eq!(elements(r#" [{"a":[1]}, NaN,"],"] "#), Ok(vec![r#"{"a":[1]}"#, "NaN", r#""],""#]));
        assert_eq!((elements("[]"), elements("[1")), (Ok(Vec::new()), Err(Defect::CutOff)));
        assert_eq!(elements(r#"{"a":[]}"#), Err(Defect::Shape(0)));
    }

    #[test]
    fn longer_lists_than_any_bank_has_are_not_read() {
        let accounts = |count| format!(r#"{{"acc":[{}]}}"#, "{},".repeat(count));
        let rows = |count| format!(r#"{{"acc":[{{"stmt":[{}]}}]}}"#, "0,".repeat(count));
        for (text, most) in [(accounts(ACCOUNTS + 1), ACCOUNTS), (rows(ROWS + 1), ROWS)] {
            assert_eq!(Outline::find(&text).err(), Some(Defect::TooMany(most)));
        }
        assert!(Outline::find(&accounts(ACCOUNTS)).is_ok() && Outline::find(&rows(ROWS)).is_ok());
    }

    #[test]
    fn a_text_that_ends_too_early_is_cut_off_and_another_has_no_shape() {
        let whole = r#"{"acc":[{"iban":"A\"","stmt":[{"a":"я"},2]}]}"#;
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert_eq!(Outline::find(&whole[..end]).err(), Some(Defect::CutOff), "{}", &whole[..end]);
        }
        for (other, at) in
            [("[1]", 0), ("x", 0), (r#"{"acc":[{"stmt":[1}]}"#, 18), (r#"{"acc":]}"#, 7), (r#"{"acc":[5]}"#, 8)]
        {
            assert_eq!(Outline::find(other).err(), Some(Defect::Shape(at)), "{other}");
        }
    }
}
