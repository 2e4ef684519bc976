//! The fields of MT940 messages: a tag and its lines. A line begins a field only where its tag may stand and its value looks
//! like one; every other line continues the field before.

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) tag: Tag,
    /// The line it begins on, counted from 1.
    pub(super) line: u64,
    pub(super) lines: Vec<&'a str>,
}

/// The tags that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// `:20:`
    Message,
    /// `:25:`
    Account,
    /// `:28:`, `:28C:`
    Number,
    /// `:34F:`, `:13D:`, `:90D:`: only interim reports have them.
    Interim,
    /// `:60F:`, `:60M:`
    Opening { page: bool },
    /// `:61:`
    Entry,
    /// `:86:`
    Text,
    /// `:NS:`
    NonSwift,
    /// `:62F:`, `:62M:`
    Closing { page: bool },
    /// `:21:`, `:64:`, `:65:`
    Other,
}

impl<'a> Field<'a> {
    /// The first line of its value.
    pub(super) fn first_line(&self) -> &'a str {
        self.lines.first().copied().unwrap_or_default()
    }

    /// The lines as received.
    pub(super) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// The part of a message that has been reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Place {
    Outside,
    Header,
    Entries,
    Closed,
}

/// Walks through a text, field by field.
pub(super) struct Fields<'a> {
    lines: Vec<(u64, &'a str)>,
    next: usize,
    place: Place,
    in_text: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(text: &'a str) -> Fields<'a> {
        let lines = text.split('\n').zip(1..).flat_map(|(line, number)| {
            // Old Macs end lines with a carriage return alone.
            line.trim_end_matches('\r').split('\r').map(move |line| (number, without_envelope(line)))
        });
        Fields { lines: lines.collect(), next: 0, place: Place::Outside, in_text: false }
    }

    /// The tag of a line and its value, where a tag may stand there.
    fn tag(&self, at: usize) -> Option<(Tag, &'a str)> {
        let line = self.lines[at].1;
        let (name, value) = line.strip_prefix(':')?.split_once(':')?;
        let tag = known(name)?;
        let balance =
            || value.starts_with(['C', 'D']) && value.bytes().skip(1).take(6).all(|byte| byte.is_ascii_digit());
        let legal = match tag {
            Tag::Message => match self.place {
                Place::Outside | Place::Closed => true,
                _ => self.begins_a_message(at),
            },
            Tag::Account | Tag::Number => matches!(self.place, Place::Outside | Place::Header),
            Tag::Opening { .. } => self.place < Place::Entries && (!self.in_text || balance()),
            Tag::Closing { .. } => self.place != Place::Closed && (!self.in_text || balance()),
            Tag::Entry => super::entry::looks_like_one(value),
            Tag::Text | Tag::NonSwift => true,
            Tag::Interim => !self.in_text || name != "13",
            Tag::Other if name == "21" => matches!(self.place, Place::Outside | Place::Header),
            Tag::Other => !self.in_text || balance() || self.place == Place::Closed,
        };
        legal.then_some((tag, value))
    }

    /// A `:20:` amid a message whose end is missing begins the next one only where its account or number follows.
    fn begins_a_message(&self, at: usize) -> bool {
        self.lines[at + 1..].iter().take(4).any(|(_, line)| {
            [":21:", ":25:", ":25P:", ":28:", ":28C:", ":60F:", ":60M:"].iter().any(|tag| line.starts_with(tag))
        }) || at + 1 == self.lines.len()
    }

    /// A line that ends a message: `-`, `-}`, `-}{5:}`, `-XXX`. A lone hyphen may stand in a text; it ends a message only
    /// where the next field is the first of another.
    fn ends_message(&self, at: usize) -> bool {
        let line = self.lines[at].1.trim_end();
        let Some(rest) = line.strip_prefix('-') else { return false };
        if rest.starts_with(['}', 'å', 'Å', ')']) {
            return true;
        }
        if !(rest.is_empty() || rest == "XXX" || rest.chars().all(char::is_control)) {
            return false;
        }
        let next = self.lines[at + 1..].iter().map(|(_, line)| *line).take(50).find(|line| {
            line.starts_with(':') && line[1..].split_once(':').is_some_and(|(name, _)| known(name).is_some())
        });
        next.is_none_or(|line| line.starts_with(":20:"))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (tag, value) = loop {
            if self.next >= self.lines.len() {
                return None;
            }
            match self.tag(self.next) {
                Some(found) => break found,
                None => self.next += 1,
            }
        };
        let mut field = Field { tag, line: self.lines[self.next].0, lines: vec![value] };
        self.place = match tag {
            Tag::Message => Place::Header,
            Tag::Entry => Place::Entries,
            Tag::Closing { .. } => Place::Closed,
            Tag::Opening { .. } => self.place.max_of(Place::Header),
            _ => self.place,
        };
        self.in_text = matches!(tag, Tag::Text | Tag::NonSwift);
        self.next += 1;
        while self.next < self.lines.len() {
            if self.ends_message(self.next) {
                self.place = Place::Closed;
                self.in_text = false;
                self.next += 1;
                self.skip_to_tag();
                break;
            }
            if self.tag(self.next).is_some() {
                break;
            }
            field.lines.push(self.lines[self.next].1);
            self.next += 1;
        }
        Some(field)
    }
}

impl Fields<'_> {
    /// Passes over what stands between two messages.
    fn skip_to_tag(&mut self) {
        while self.next < self.lines.len() && self.tag(self.next).is_none() {
            self.next += 1;
        }
    }
}

impl Place {
    fn max_of(self, other: Place) -> Place {
        if self > other { self } else { other }
    }
}

fn known(name: &str) -> Option<Tag> {
    Some(match name {
        "20" => Tag::Message,
        "25" | "25P" => Tag::Account,
        "28" | "28C" => Tag::Number,
        "13" | "13D" | "34F" | "90D" | "90C" => Tag::Interim,
        "60F" => Tag::Opening { page: false },
        "60M" => Tag::Opening { page: true },
        "61" => Tag::Entry,
        "86" => Tag::Text,
        "NS" => Tag::NonSwift,
        "62F" => Tag::Closing { page: false },
        "62M" => Tag::Closing { page: true },
        "21" | "64" | "65" => Tag::Other,
        _ => return None,
    })
}

/// A line without the control characters that transmissions leave and without the SWIFT blocks before a first field on the
/// same line.
fn without_envelope(line: &str) -> &str {
    let line = line.trim_matches(['\u{1}', '\u{3}', '\u{1a}', '\u{feff}', '\0']);
    match line.find("4::") {
        Some(at) if line[..at].ends_with(['{', 'Ä', 'ä']) => &line[at + 2..],
        _ if line.starts_with(" :") => line.trim_start(),
        _ => line,
    }
}
