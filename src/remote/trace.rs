//! The real answers of a service, written down so that it can be shown to somebody: structure kept, values replaced.
//!
//! Promises: nothing passes that is not known to be harmless. Names of fields and headers, status codes, tags, and words
//! of a fixed list stay; every other value becomes a stand-in such as `‹uuid 3›`, the same for the same value wherever it
//! stands, so that what belongs together can still be seen. Values are replaced when they are recorded: what they were is
//! kept nowhere but in the table of stand-ins, and that ends with the recording.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::header::HeaderMap;

use self::scrub::Scrubber;

mod page;
mod scrub;
mod words;

/// A recording. Clones share it.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Recording>>);

struct Recording {
    text: String,
    scrubber: Scrubber,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recording(…)")
    }
}

impl Trace {
    /// An empty recording. `secrets` never pass, even where they spell a harmless word.
    pub fn new(secrets: &[&str]) -> Trace {
        let secrets = secrets.iter().map(|secret| secret.to_lowercase()).filter(|secret| !secret.is_empty());
        let scrubber = Scrubber::new(secrets.collect());
        Trace(Arc::new(Mutex::new(Recording { text: String::new(), scrubber })))
    }

    /// A line of our own; it must hold nothing that came from outside.
    pub fn note(&self, line: &str) {
        self.recording().text += &format!("# {line}\n");
    }

    /// A request that is about to leave.
    pub(super) fn request(&self, request: &reqwest::Request) {
        let mut recording = self.recording();
        let Recording { text, scrubber } = &mut *recording;
        let _ =
            writeln!(text, "\n> {} {}", scrubber.word(request.method().as_str()), scrubber.url(request.url().as_str()));
        headers(text, scrubber, '>', request.headers());
        if let Some(body) = request.body().and_then(reqwest::Body::as_bytes) {
            let pairs: Vec<String> = url::form_urlencoded::parse(body)
                .map(|(name, value)| format!("{}={}", scrubber.name(&name), scrubber.value(&value)))
                .collect();
            let _ = writeln!(text, "> form {}", pairs.join(" "));
        }
    }

    /// Writes an answer down.
    pub(super) fn response(&self, status: u16, header_map: &HeaderMap, body: &[u8]) {
        let mut recording = self.recording();
        let Recording { text, scrubber } = &mut *recording;
        let _ = writeln!(text, "< status {status}");
        headers(text, scrubber, '<', header_map);
        let body = String::from_utf8_lossy(body);
        let body = body.trim_start_matches('\u{feff}').trim();
        let shown = match serde_json::from_str::<serde_json::Value>(body) {
            _ if body.is_empty() => "no body\n".to_owned(),
            Ok(json) => {
                let json = scrubber.json("", &json);
                format!("json\n{}\n", serde_json::to_string_pretty(&json).unwrap_or_default())
            }
            Err(error) if body.starts_with(['{', '[']) => {
                format!("like JSON, but broken at line {} column {}\n", error.line(), error.column())
            }
            Err(_) => format!("page\n{}", page::outline(body, scrubber)),
        };
        text.push_str("< ");
        text.push_str(&shown);
    }

    /// No answer came.
    pub(super) fn broken(&self, how: &str) {
        let _ = writeln!(self.recording().text, "< nothing: {how}");
    }

    /// Everything recorded so far.
    pub fn text(&self) -> String {
        let recording = self.recording();
        recording.scrubber.without_secrets(&recording.text)
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn headers(text: &mut String, scrubber: &mut Scrubber, arrow: char, headers: &HeaderMap) {
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = writeln!(text, "{arrow} {}: {}", scrubber.name(name.as_str()), scrubber.header(name.as_str(), &value));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(headers: &[(&'static str, &str)], body: &str) -> String {
        let trace = Trace::new(&["ivan", "Login"]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        trace.response(200, &map, body.as_bytes());
        trace.text()
    }

    #[test]
    fn structure_stays_and_values_go() {
        let text = record(
            &[
                ("content-type", "application/json;charset=UTF-8"),
                ("set-cookie", "JSESSIONID=ABCDEF0123456789ABCDEF; Path=/oauth2-server; HttpOnly; Secret=x"),
                (
                    "location",
                    "https://my.fibank.bg/EBank/#access_token=11111111-2222-4333-8444-555555555555&token_type=bearer",
                ),
                ("x-name", "Ivan Ivanov"),
            ],
            r#"{"acc":[{"iban":"BG32FINV91501000000001","ccy":"EUR","acDesc":"Иван","acyCurrBalance":1234.5,
                "BG32FINV91501000000001":{"dtkt":"D"},"stmt":[{"amount":"7.10","trnType":"OP","trname":"OPERA","x":null,
                "dateTime":"2026-02-03T10:11:12+0200","token":"11111111-2222-4333-8444-555555555555","trnCode":"SECRETCODE"}]}]}"#,
        );
        for kept in [
            "content-type: application/json; charset=UTF-8",
            "set-cookie: JSESSIONID=‹hex",
            "; Path=/oauth2-server; HttpOnly; Secret=‹",
            "#access_token=‹uuid",
            "&token_type=bearer",
            r#""ccy": "EUR""#,
            r#""dtkt": "D""#,
            r#""trnType": "OP""#,
            "like 9.9›",
            "like 9.99›",
            "like 9999-99-99T99:99:99+0200›",
            r#""x": null"#,
        ] {
            assert!(text.contains(kept), "{kept} is not in\n{text}");
        }
        for gone in ["ABCDEF01", "BG32", "Ivan", "Иван", "1234", "7.10", "OPERA", "2026", "11111111", "SECRETCODE"]
        {
            assert!(!text.contains(gone), "{gone} is in\n{text}");
        }
        let token = text.split("access_token=").nth(1).unwrap().split('&').next().unwrap();
        assert_eq!(text.matches(token).count(), 2, "the same value, the same stand-in: {text}");
        let iban = text.split(r#""iban": ""#).nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(text.matches(iban).count(), 2, "{text}");
    }

    #[test]
    fn a_page_shows_what_it_asks_for_and_no_name() {
        let text = record(
            &[],
            "<html><head><title>Потвърждение на вход</title><meta name='_csrf' content='tajna1'><script>var s='tajna2'</script>\
             <!-- tajna3 --></head><body data-user='tajna4'><h1>Здравей, Тайна Пета!</h1><p>Въведете кода, изпратен Ви със SMS на 0888123456</p>\
             <form action='/oauth2-server/confirm?u=tajna6' method='post'><input type=hidden name=_csrf value='tajna7'>\
             <input name='otp' autocomplete='one-time-code' value='tajna8'><tajna9>x</tajna9></form></body></html>",
        );
        for kept in [
            "<meta content=\"‹word 1›\" name=\"_csrf\">",
            "кода, изпратен Ви със SMS на",
            "action=\"/oauth2-server/confirm?u=‹",
            "<input autocomplete=\"one-time-code\" name=\"otp\" value=\"‹",
            "method=\"post\"",
            "<script>",
        ] {
            assert!(text.contains(kept), "{kept} is not in\n{text}");
        }
        for gone in ["tajna", "Тайна", "Пета", "0888"] {
            assert!(!text.contains(gone), "{gone} is in\n{text}");
        }
    }

    #[test]
    fn a_secret_that_spells_a_harmless_word_goes_too() {
        let text = record(&[("x-any", "login")], "<p>login</p><input name='LOGIN'>");
        assert!(!text.to_lowercase().contains("login"), "{text}");
    }
}
