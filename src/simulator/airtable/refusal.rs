//! The refusals of the Airtable Web API in its five known shapes.
//!
//! Types and texts are those of the documentation and of recorded traffic if such exist; the constructor of a guessed
//! refusal says that it is a guess. The conditions of a refusal are not decided here.

use axum::body::Body;
use axum::http::{Response, header};
use serde_json::{Value, json};

/// The documented body of a 503, for a scripted fault: no state of the service leads to it.
pub const RETRIABLE: &str = "{\"error\":{\"type\":\"RETRIABLE_ERROR\",\"message\":\"Server encountered an error while \
                             processing your request, and it is safe to retry the request\"}}";

/// The documented body of a 429 by the rate limit, for a scripted fault.
pub const RATE_LIMITED: &str =
    "{\"error\":{\"type\":\"RATE_LIMIT_REACHED\",\"message\":\"Rate limit exceeded. Please try again later\"}}";

/// The body of a 502 from a proxy in front of the service, for a scripted fault.
pub const BAD_GATEWAY: &str = "<html><head><title>502 Bad Gateway</title></head><body></body></html>";

/// Why a call is not served, as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub status: u16,
    body: Shape,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Json(Value),
    Html(&'static str),
}

impl Refusal {
    /// `{"error":{"type","message"}}`.
    pub fn new(status: u16, kind: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, body: Shape::Json(json!({"error": {"type": kind, "message": message.into()}})) }
    }

    /// `{"error":{"type"}}`, without a message.
    pub fn silent(status: u16, kind: &str) -> Refusal {
        Refusal { status, body: Shape::Json(json!({"error": {"type": kind}})) }
    }

    /// `{"error":"NOT_FOUND"}`: a bare string.
    pub fn bare(status: u16, kind: &str) -> Refusal {
        Refusal { status, body: Shape::Json(json!({ "error": kind })) }
    }

    /// A page from a proxy in front of the service.
    pub fn html(status: u16, page: &'static str) -> Refusal {
        Refusal { status, body: Shape::Html(page) }
    }

    pub fn not_found() -> Refusal {
        Refusal::bare(404, "NOT_FOUND")
    }

    pub fn unauthenticated() -> Refusal {
        Refusal::new(401, "AUTHENTICATION_REQUIRED", "Authentication required")
    }

    /// The refusal that hides on purpose if the thing is missing or forbidden.
    pub fn forbidden_or_missing() -> Refusal {
        let text = "Invalid permissions, or the requested model was not found. Check that both your user and your token \
                    have the required permissions, and that the model names and/or ids are correct.";
        Refusal::new(403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", text)
    }

    pub fn forbidden() -> Refusal {
        Refusal::new(403, "INVALID_PERMISSIONS", "You are not permitted to perform this operation")
    }

    pub fn rate_limited() -> Refusal {
        Refusal::new(429, "RATE_LIMIT_REACHED", "Rate limit exceeded. Please try again later")
    }

    /// `{"errors":[{"error","message"}]}`: the one answer with a plural key.
    pub fn month_spent() -> Refusal {
        let text = "API billing plan limit exceeded. You've reached the maximum number of requests allowed for this \
                    month.";
        let body = json!({"errors": [{"error": "PUBLIC_API_BILLING_LIMIT_EXCEEDED", "message": text}]});
        Refusal { status: 429, body: Shape::Json(body) }
    }

    pub fn invalid_request() -> Refusal {
        let text = "Invalid request: parameter validation failed. Check your request data.";
        Refusal::new(422, "INVALID_REQUEST_UNKNOWN", text)
    }

    /// [`Refusal::invalid_request`] with the fault named, for the author of a client; the real text is unknown.
    pub fn invalid(why: impl std::fmt::Display) -> Refusal {
        Refusal::new(422, "INVALID_REQUEST_UNKNOWN", format!("Invalid request: {why}"))
    }

    pub fn unknown_field(name: &str) -> Refusal {
        Refusal::new(422, "UNKNOWN_FIELD_NAME", format!("Unknown field name: \"{name}\""))
    }

    pub fn value(field: &str) -> Refusal {
        let text = format!("Field \"{field}\" cannot accept the provided value");
        Refusal::new(422, "INVALID_VALUE_FOR_COLUMN", text)
    }

    pub fn computed(field: &str) -> Refusal {
        let text = format!("Field \"{field}\" cannot accept a value because the field is computed");
        Refusal::new(422, "INVALID_VALUE_FOR_COLUMN", text)
    }

    pub fn choice(name: &str) -> Refusal {
        let text = format!("Insufficient permissions to create new select option \"{name}\"");
        Refusal::new(422, "INVALID_MULTIPLE_CHOICE_OPTIONS", text)
    }

    pub fn records_shape() -> Refusal {
        let text = "You must provide an array of up to 10 record objects, each with an 'id' ID field and a 'fields' \
                    object for cell values.";
        Refusal::new(422, "INVALID_RECORDS", text)
    }

    pub fn row_missing(id: &str) -> Refusal {
        let text = format!("Record ID {id} does not exist in this table");
        Refusal::new(422, "ROW_DOES_NOT_EXIST", text)
    }

    /// The service's real text for a key that several rows carry is known only as far as clients look for its start.
    pub fn many_rows() -> Refusal {
        Refusal::invalid("Cannot update more than one record matching the fields to merge on")
    }

    /// Refusal by a full base. The real answer is not known: a 422 with this type is a guess.
    pub fn base_full(cap: usize) -> Refusal {
        let text = format!("This base has reached the limit of {cap} records of its plan");
        Refusal::new(422, "RECORD_LIMIT_EXCEEDED", text)
    }

    /// The refusal as an HTTP answer.
    pub fn answer(self) -> Response<Body> {
        let (kind, text) = match self.body {
            Shape::Json(body) => ("application/json; charset=utf-8", body.to_string()),
            Shape::Html(page) => ("text/html", page.to_owned()),
        };
        let mut answer = Response::new(Body::from(text));
        *answer.status_mut() = super::super::status(self.status);
        answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        answer
    }
}
