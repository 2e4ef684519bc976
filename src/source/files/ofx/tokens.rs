//! The tags and values of OFX, whether it is SGML, XML or between.

/// A tag, or a leaf with its value. Names are in capitals.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A tag without a value of its own: an aggregate, or an empty leaf.
    Open(String),
    /// A leaf.
    Value(String, String),
    /// A closing tag.
    Close(String),
}

/// Walks through a text, tag by tag.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    counted: usize,
    breaks: u64,
}

/// The longest tag name.
const LONGEST_NAME: usize = 64;

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0, counted: 0, breaks: 0 }
    }

    /// The line that the walk has come to, counted from 1.
    pub(super) fn line(&mut self) -> u64 {
        let new = self.text.as_bytes().get(self.counted..self.at).unwrap_or_default();
        self.breaks += new.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = self.at;
        self.breaks + 1
    }

    /// Passes over what stands up to and including `end`.
    fn skip_past(&mut self, end: &str) {
        self.at = self.text[self.at..].find(end).map_or(self.text.len(), |found| self.at + found + end.len());
    }

    /// The value behind an opening tag: text up to the next tag or the end of the line, or a CDATA section.
    fn value(&mut self) -> String {
        let rest = &self.text[self.at..];
        let end = next_tag(rest);
        let text = &rest[..end];
        if text.trim().is_empty() && rest[end..].starts_with("<![CDATA[") {
            self.at += end + "<![CDATA[".len();
            let from = self.at;
            self.skip_past("]]>");
            let until = if self.text[..self.at].ends_with("]]>") { self.at - 3 } else { self.at };
            return self.text.get(from..until).unwrap_or_default().trim().to_owned();
        }
        self.at += end;
        // A value that stands on a line of its own is the first that is not blank.
        let line = text.trim_start().lines().next().unwrap_or_default();
        unescape(line.trim())
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            self.at += next_tag(&self.text[self.at..]);
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return None;
            }
            for (start, end) in [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<!", ">"), ("<?", "?>")] {
                if rest.starts_with(start) {
                    self.skip_past(end);
                    break;
                }
            }
            if rest.starts_with("<!") || rest.starts_with("<?") {
                continue;
            }
            let Some(end) = rest.find(['>', '\n']) else {
                self.at = self.text.len();
                return None;
            };
            self.at += end + usize::from(rest[end..].starts_with('>'));
            let inner = rest[1..end].trim();
            let (closing, inner) = inner.strip_prefix('/').map_or((false, inner), |name| (true, name));
            let empty = inner.ends_with('/');
            let name = inner.split(|char: char| char.is_whitespace() || char == '/').next().unwrap_or_default();
            if name.is_empty() || name.len() > LONGEST_NAME {
                continue;
            }
            let name = name.rsplit(':').next().unwrap_or(name).to_ascii_uppercase();
            if closing {
                return Some(Token::Close(name));
            }
            let value = if empty { String::new() } else { self.value() };
            return Some(if value.is_empty() { Token::Open(name) } else { Token::Value(name, value) });
        }
    }
}

/// The place of the next tag: a `<` with a letter, `/`, `!` or `?` behind it. Any other `<` is text.
fn next_tag(text: &str) -> usize {
    let mut from = 0;
    while let Some(found) = text[from..].find('<') {
        let at = from + found;
        let behind = text.as_bytes().get(at + 1).copied().unwrap_or_default();
        if behind.is_ascii_alphabetic() || matches!(behind, b'/' | b'!' | b'?') {
            return at;
        }
        from = at + 1;
    }
    text.len()
}

/// Entities of XML and those of HTML that banks use; a bare `&` is itself.
fn unescape(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.char_indices().take(10).find(|(_, char)| *char == ';').map(|(end, _)| end);
        match end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            Some((char, end)) => {
                out.push(char);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out.trim().to_owned()
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|char| !char.is_control())?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_at_a_tag_or_a_line() {
        let value = |name: &str, value: &str| Token::Value(name.to_owned(), value.to_owned());
        let open = |name: &str| Token::Open(name.to_owned());
        let tokens: Vec<Token> =
            Tokens::new("<a><Name>A & B &amp; C\nrest<MEMO></MEMO>\n<X><![CDATA[ 1 < 2 ]]></X><FITID>a<1</a>")
                .collect();
        assert_eq!(tokens[..3], [open("A"), value("NAME", "A & B & C"), open("MEMO")]);
        assert_eq!(tokens[4], value("X", "1 < 2"));
        assert_eq!(tokens[6], value("FITID", "a<1"));
    }
}
