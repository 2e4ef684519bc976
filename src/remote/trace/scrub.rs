//! From a value to what may be shown of it. A value that is on no list becomes a stand-in of its shape and a number.

use std::collections::HashMap;

use serde_json::{Map, Value};
use url::Url;

use super::words::{CODE_KEYS, HARMLESS, WORDS};

/// The items of a long list that are shown at either end: rows that are no transactions stand there.
const SHOWN: usize = 4;

/// Longest name of a field or header that is kept.
const LONGEST_NAME: usize = 48;

/// Replaces values.
pub(super) struct Scrubber {
    numbers: HashMap<String, usize>,
    /// In lower case.
    secrets: Vec<String>,
}

impl Scrubber {
    pub fn new(secrets: Vec<String>) -> Scrubber {
        Scrubber { numbers: HashMap::new(), secrets }
    }

    /// A value: itself where it is known to be harmless, else its stand-in.
    pub fn value(&mut self, text: &str) -> String {
        if text.is_empty() || HARMLESS.contains(text) { text.to_owned() } else { self.stand_in(text, shape(text)) }
    }

    /// A name of the interface: of a field, a parameter, a header, an input. A text with many digits is no name.
    pub fn name(&mut self, text: &str) -> String {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:[]".contains(&byte));
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let fitting = plain && digits <= 2 && text.len() <= LONGEST_NAME;
        if fitting { text.to_owned() } else { self.stand_in(text, shape(text)) }
    }

    /// A word, kept if it is on the list.
    pub fn word(&mut self, text: &str) -> String {
        if is_known(text) { text.to_owned() } else { self.value(text) }
    }

    /// Words of a page: those on the list stay, any others become dots.
    pub fn words(&self, text: &str) -> String {
        let mut shown: Vec<&str> = Vec::new();
        for word in text.split_whitespace() {
            let core = word.trim_matches(|char: char| !char.is_alphanumeric());
            let harmless =
                is_known(core) && word.chars().all(|char| char.is_alphabetic() || ",.:;!?()-\"„“".contains(char));
            let word = if harmless { word } else { "…" };
            if word != "…" || shown.last() != Some(&"…") {
                shown.push(word);
            }
        }
        shown.join(" ")
    }

    /// An address: known words of its path stay, and the names of what it carries.
    pub fn url(&mut self, text: &str) -> String {
        let base = Url::parse("relative://here/").ok();
        let Some(url) = base.and_then(|base| base.join(text).ok()) else { return self.value(text) };
        let mut shown = String::new();
        if url.scheme() != "relative" {
            shown = match url.scheme() {
                scheme @ ("http" | "https") => format!("{scheme}://"),
                _ => return self.value(text),
            };
            let host = url.host_str().unwrap_or_default();
            shown += &if host == "my.fibank.bg" { host.to_owned() } else { self.stand_in(host, "host") };
        }
        shown += &self.path(url.path());
        for (sign, part) in [('?', url.query()), ('#', url.fragment())] {
            if let Some(part) = part {
                let pairs: Vec<String> = part.split('&').map(|pair| self.pair(pair)).collect();
                shown.push(sign);
                shown += &pairs.join("&");
            }
        }
        shown
    }

    fn path(&mut self, path: &str) -> String {
        let segments = path.split('/').map(|segment| match segment {
            "" => String::new(),
            _ if is_composed(segment) => segment.to_owned(),
            _ => self.stand_in(segment, "segment"),
        });
        segments.collect::<Vec<_>>().join("/")
    }

    fn pair(&mut self, pair: &str) -> String {
        let decoded = |text: &str| {
            let parsed = url::form_urlencoded::parse(text.as_bytes()).next();
            parsed.map_or(String::new(), |(name, _)| name.into_owned())
        };
        match pair.split_once('=') {
            Some((name, value)) => {
                // A `=` inside a value is one of its characters.
                let value = decoded(&value.replace('=', "%3D"));
                let value = if value.starts_with('/') { self.path(&value) } else { self.value(&value) };
                format!("{}={value}", self.name(&decoded(name)))
            }
            None => self.word(&decoded(pair)),
        }
    }

    /// A header's value.
    pub fn header(&mut self, name: &str, value: &str) -> String {
        match name {
            "location" | "referer" | "content-location" => self.url(value),
            "set-cookie" => self.cookie(value),
            _ => {
                let pieces = value.split([',', ';']).map(|piece| self.piece(piece.trim()));
                let separator = if value.contains(';') { "; " } else { ", " };
                pieces.collect::<Vec<_>>().join(separator)
            }
        }
    }

    /// `no-cache`, `charset=UTF-8`, `Bearer 1234`.
    fn piece(&mut self, piece: &str) -> String {
        if HARMLESS.contains(piece) {
            return piece.to_owned();
        }
        match (piece.split_once('='), piece.split_once(' ')) {
            (Some((name, value)), _) if !name.contains(' ') => {
                format!("{}={}", self.name(name), self.value(value.trim_matches('"')))
            }
            (_, Some(("Bearer", value))) => format!("Bearer {}", self.piece(value)),
            _ => self.value(piece),
        }
    }

    fn cookie(&mut self, value: &str) -> String {
        let mut parts = value.split(';').map(str::trim);
        let (name, content) = parts.next().unwrap_or_default().split_once('=').unwrap_or_default();
        let mut shown = format!("{}={}", self.name(name), self.value(content));
        for part in parts {
            shown += "; ";
            shown += &match part.split_once('=') {
                Some((name, path)) if name.eq_ignore_ascii_case("path") => format!("{name}={}", self.path(path)),
                Some((name, value)) => format!("{}={}", self.name(name), self.value(value)),
                None => self.value(part),
            };
        }
        shown
    }

    /// JSON of the same structure.
    pub fn json(&mut self, key: &str, value: &Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Number(number) => Value::String(self.stand_in(&number.to_string(), "number")),
            Value::String(text) => Value::String(self.json_text(key, text)),
            Value::Object(object) => {
                let fields = object.iter().map(|(name, value)| (self.name(name), self.json(name, value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Value::Array(items) if items.len() > 2 * SHOWN + 1 => {
                let mut shown: Vec<Value> = items[..SHOWN].iter().map(|item| self.json(key, item)).collect();
                shown.push(Value::String(format!("‹and {} more›", items.len() - 2 * SHOWN)));
                shown.extend(items[items.len() - SHOWN..].iter().map(|item| self.json(key, item)));
                Value::Array(shown)
            }
            Value::Array(items) => Value::Array(items.iter().map(|item| self.json(key, item)).collect()),
        }
    }

    fn json_text(&mut self, key: &str, text: &str) -> String {
        let code = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if code && CODE_KEYS.contains(key) { text.to_owned() } else { self.value(text) }
    }

    /// The stand-in of a value: its shape, a number that is always the same for it, and how it is written where that says
    /// nothing more.
    fn stand_in(&mut self, text: &str, shape: &str) -> String {
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry(text.to_owned()).or_insert(next);
        let like = match shape {
            "number" | "decimal" => format!(" like {}", decimal_form(text)),
            "time" => format!(" like {}", time_form(text)),
            _ => String::new(),
        };
        format!("‹{shape} {number}{like}›")
    }

    /// Takes out what must not pass even if it spells a word that may.
    pub fn without_secrets(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in &self.secrets {
            let mut clean = String::with_capacity(shown.len());
            let mut rest = shown.as_str();
            while let Some(first) = rest.chars().next() {
                let matched =
                    rest.char_indices().map(|(at, char)| at + char.len_utf8()).take(secret.chars().count()).last();
                match matched.filter(|end| rest[..*end].to_lowercase() == *secret) {
                    Some(end) => {
                        clean.push_str("‹secret›");
                        rest = &rest[end..];
                    }
                    None => {
                        clean.push(first);
                        rest = &rest[first.len_utf8()..];
                    }
                }
            }
            shown = clean;
        }
        shown
    }
}

fn is_known(word: &str) -> bool {
    WORDS.contains(&word.to_lowercase().as_str())
}

/// True for a name that consists of known words, as in `changePassword` or `oauth2-server`.
fn is_composed(name: &str) -> bool {
    let mut words = vec![String::new()];
    for char in name.chars() {
        if ['-', '_', '.'].contains(&char) {
            words.push(String::new());
            continue;
        }
        if char.is_uppercase() && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        words.last_mut().iter_mut().for_each(|word| word.push(char));
    }
    is_known(name) || words.iter().all(|word| is_known(word))
}

fn shape(text: &str) -> &'static str {
    let bytes = text.as_bytes();
    let all = |test: fn(&u8) -> bool| !bytes.is_empty() && bytes.iter().all(test);
    let dashes = || [8, 13, 18, 23].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    match text {
        _ if bytes.len() == 36 && dashes() => "uuid",
        _ if all(u8::is_ascii_digit) => "digits",
        _ if text.parse::<iban::Iban>().is_ok() => "iban",
        _ if bytes.len() >= 10 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-' && bytes[7] == b'-' => {
            "time"
        }
        _ if all(|byte| byte.is_ascii_digit() || b".-".contains(byte)) => "decimal",
        _ if bytes.len() >= 16 && all(u8::is_ascii_hexdigit) => "hex",
        _ if text.contains(char::is_whitespace) => "text",
        _ => "word",
    }
}

/// Sign, point and decimal places; how large it is stays out.
fn decimal_form(text: &str) -> String {
    let sign = if text.starts_with('-') { "-" } else { "" };
    let exponent = if text.contains(['e', 'E']) { "E9" } else { "" };
    let places =
        text.split(['e', 'E']).next().and_then(|plain| plain.split_once('.')).map_or(0, |(_, places)| places.len());
    let point = if places > 0 { "." } else { "" };
    format!("{sign}9{point}{}{exponent}", "9".repeat(places.min(6)))
}

/// Digits become nines, but for an offset, which only says where the clock is.
fn time_form(text: &str) -> String {
    let known = ["+0200", "+0300", "+02:00", "+03:00", "Z"];
    let offset = known.iter().find(|offset| text.ends_with(**offset)).copied().unwrap_or_default();
    let digits = text[..text.len() - offset.len()].chars().map(|char| match char {
        '0'..='9' => '9',
        'T' | ' ' | ':' | '-' | '.' | '+' => char,
        _ => '?',
    });
    digits.take(32).collect::<String>() + offset
}
