//! A call as it arrives: path and query decoded, the token and the body taken out.
//!
//! Decoding is what real clients need: a table name may hold an encoded slash, a path may end in one, a query may be
//! empty, `+` is a space in a query and itself in a path.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri, header};
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// A call of the API.
pub(super) struct Call {
    pub method: Method,
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub token: Option<String>,
    json: bool,
    body: Bytes,
}

/// The documented longest address; past it a client has to list by POST.
const LONGEST_TARGET: usize = 16_000;

impl Call {
    pub fn read(method: Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Result<Call, Refusal> {
        if uri.to_string().len() > LONGEST_TARGET {
            // The real answer is not documented; a client is least prepared for a proxy's page.
            return Err(Refusal::html(414, "<html><body><h1>414 Request-URI Too Large</h1></body></html>"));
        }
        let mut path = Vec::new();
        for segment in uri.path().trim_start_matches('/').split('/') {
            path.push(decode(segment).ok_or_else(Refusal::not_found)?);
        }
        if path.last().is_some_and(String::is_empty) {
            path.pop();
        }
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let token = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        let json = text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
        Ok(Call { method, path, query, token, json, body })
    }

    /// The body as an object. A body that is no JSON is a 400 (documented without a text); one that is not announced
    /// as JSON is not looked at, so that everything in it is missing.
    pub fn object(&self) -> Result<Map<String, Value>, Refusal> {
        if !self.json {
            return if self.body.is_empty() { Ok(Map::new()) } else { Err(Refusal::invalid_request()) };
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(Refusal::invalid_request()),
            Err(_) => Err(Refusal::bare(400, "BAD_REQUEST")),
        }
    }
}

/// Takes percent encoding out of one segment of a path.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_path_keeps_its_plus_and_its_encoded_slash() {
        assert_eq!(decode("Tr%C3%A4ns+actions%2F2026").as_deref(), Some("Träns+actions/2026"));
        assert_eq!(decode("100%"), None);
        assert_eq!(decode("%+1"), None);
    }
}
