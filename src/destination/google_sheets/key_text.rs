//! Reads the JSON that Google's console lets one download, however it came here: through an environment variable that
//! doubled every backslash, in quotation marks, with its line breaks lost or made real, in base64, with a byte order mark.
//!
//! Pure. A text that is read means the same as the file that was downloaded. The caller reports a text that cannot be read
//! and shows no part of it.

use serde_json::Value;

use crate::settings::pem::decoded;

/// Most wrappings, one inside the other, that are taken off.
const DEPTH: u32 = 4;

/// The JSON object that a text holds.
pub fn json(text: &str) -> Option<Value> {
    unwrap(text, DEPTH)
}

fn unwrap(text: &str, depth: u32) -> Option<Value> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    match read(text) {
        Some(Value::String(inner)) if depth > 0 => return unwrap(&inner, depth - 1),
        Some(value) => return Some(value).filter(Value::is_object),
        None => {}
    }
    if let Some(value) = read(&mended(text)).filter(Value::is_object) {
        return Some(value);
    }
    if depth == 0 {
        return None;
    }
    let quoted = ['\'', '"', '`'].iter().find_map(|mark| text.strip_prefix(*mark)?.strip_suffix(*mark));
    let escaped = || serde_json::from_str::<String>(&format!("\"{}\"", text.replace(['\n', '\r'], ""))).ok();
    quoted
        .and_then(|inner| unwrap(inner, depth - 1))
        .or_else(|| escaped().filter(|inner| inner != text).and_then(|inner| unwrap(&inner, depth - 1)))
        .or_else(|| decoded(text).and_then(|inner| unwrap(&inner, depth - 1)))
}

/// Line breaks that became real inside strings, or letters outside of them.
fn mended(text: &str) -> String {
    let (mut out, mut inside, mut letters) = (String::with_capacity(text.len()), false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                inside = !inside;
                out.push(letter);
            }
            '\\' if inside => {
                out.push(letter);
                out.extend(letters.next());
            }
            '\\' if letters.next_if(|next| ['n', 'r', 't'].contains(next)).is_some() => out.push(' '),
            '\n' if inside => out.push_str("\\n"),
            '\r' if inside => {}
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::settings::pem;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nAAAABBBBCCCCDDDDEEEEFFFFGGGGHHHHAAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH\nAAAA/+==\n-----END PRIVATE KEY-----\n";

    fn file() -> String {
        format!(
            "{:#}",
            serde_json::json!({"type": "service_account", "private_key": PEM, "client_email": "a@b.example"})
        )
    }

    #[test]
    fn a_file_is_read_however_it_came() {
        let file = file();
        let base64 = STANDARD.encode(&file);
        let lines: Vec<&str> = base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        for (what, text) in [
            ("as it is", file.clone()),
            ("with a byte order mark and the ends of Windows", format!("\u{feff}{}", file.replace('\n', "\r\n"))),
            ("every escape doubled", file.replace("\\n", "\\\\n")),
            ("doubled twice", file.replace("\\n", "\\\\\\\\n")),
            ("real line breaks inside", file.replace("\\n", "\n")),
            ("the ends of Windows inside", file.replace("\\n", "\r\n")),
            ("its own line breaks as letters", file.replace("\\n", "\\\\n").replace('\n', "\\n")),
            ("in single quotation marks", format!("'{file}'")),
            ("in double ones", format!("\"{file}\"")),
            ("as a JSON string", serde_json::json!(file).to_string()),
            ("its marks escaped", file.replace('\\', "\\\\").replace('"', "\\\"")),
            ("in base64", base64.clone()),
            ("in base64 with lines", lines.join("\n")),
        ] {
            let value = json(&text).unwrap_or_else(|| panic!("{what}"));
            assert_eq!(pem::read(value["private_key"].as_str().unwrap()).unwrap().to_text(), PEM, "{what}");
        }
        for text in ["", "hunter2", "-----BEGIN PRIVATE KEY-----", "[1]", "'''", "\"x\""] {
            assert_eq!(json(text), None, "{text}");
        }
    }
}
