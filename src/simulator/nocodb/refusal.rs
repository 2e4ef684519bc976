//! The refusals of NocoDB in their two envelopes. The conditions of a refusal are not decided here.

use axum::body::Body;
use axum::http::{Response, header};
use serde_json::{Value, json};

/// Why a call is not served, as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    status: u16,
    body: Value,
}

impl Refusal {
    /// `{"error","message"}`.
    pub fn new(status: u16, kind: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, body: json!({ "error": kind, "message": message.into() }) }
    }

    /// `{"msg"}`, the second envelope.
    pub fn msg(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, body: json!({ "msg": message.into() }) }
    }

    /// No body at all.
    pub fn empty(status: u16) -> Refusal {
        Refusal { status, body: Value::Null }
    }

    pub fn unauthenticated() -> Refusal {
        Refusal::new(401, "ERR_AUTHENTICATION_REQUIRED", "Authentication required - Invalid token")
    }

    pub fn record(id: &str) -> Refusal {
        Refusal::new(404, "ERR_RECORD_NOT_FOUND", format!("Record '{id}' not found"))
    }

    pub fn value(value: &str, kind: &str, title: &str) -> Refusal {
        let text = format!("Invalid value '{value}' for type '{kind}' on column '{title}'");
        Refusal::new(422, "ERR_INVALID_VALUE_FOR_FIELD", text)
    }

    pub fn length(length: usize, most: usize, kind: &str, title: &str) -> Refusal {
        let text = format!(
            "Value length '{length}' is exceeding allowed limit '{most}' for type '{kind}' on column '{title}'"
        );
        Refusal::new(422, "ERR_INVALID_VALUE_FOR_FIELD", text)
    }

    pub fn choice(value: &str, title: &str) -> Refusal {
        let text = format!("Invalid option(s) \"{value}\" provided for column \"{title}\"");
        Refusal::new(422, "ERR_INVALID_VALUE_FOR_FIELD", text)
    }

    /// A refusal of the database behind the server, which may be without words.
    pub fn database(code: &str) -> Refusal {
        Refusal { status: 422, body: json!({ "error": "ERR_DATABASE_OP_FAILED", "code": code }) }
    }

    pub fn taken(title: &str, value: &str) -> Refusal {
        let text = format!("{title} field unique constraint violation. Value '{value}' already exists.");
        let body = json!({
            "error": "FIELD_UNIQUE_CONSTRAINT_VIOLATION", "message": text, "fieldName": title, "value": value,
        });
        Refusal { status: 409, body }
    }

    pub fn filter(text: impl Into<String>) -> Refusal {
        Refusal::new(422, "ERR_INVALID_FILTER", text)
    }

    /// The refusal as an HTTP answer.
    pub fn answer(self) -> Response<Body> {
        let text = if self.body.is_null() { String::new() } else { self.body.to_string() };
        let mut answer = Response::new(Body::from(text));
        *answer.status_mut() = super::super::status(self.status);
        let kind = header::HeaderValue::from_static("application/json; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}
