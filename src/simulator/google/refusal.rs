//! A request the service refuses, and the body it says so with.

use serde_json::{Value, json};

/// Why a request was refused, in the service's own words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The canonical name of the status, such as `INVALID_ARGUMENT`.
    pub status: &'static str,
    /// The sentence.
    pub message: String,
    /// Typed details, often none.
    pub details: Vec<Value>,
}

impl From<String> for Refusal {
    fn from(message: String) -> Refusal {
        Refusal::invalid(message)
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Refusal {
        Refusal::invalid(message)
    }
}

impl Refusal {
    /// A plain 400.
    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal { code: 400, status: "INVALID_ARGUMENT", message: message.into(), details: Vec::new() }
    }

    /// A 400 that names the fields at fault, as the JSON parser gives it.
    pub fn fields(violations: Vec<(String, String)>) -> Refusal {
        let message = violations.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
        let violations: Vec<Value> = violations
            .into_iter()
            .map(|(field, description)| match field.is_empty() {
                true => json!({ "description": description }),
                false => json!({ "field": field, "description": description }),
            })
            .collect();
        let detail = json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations });
        Refusal { details: vec![detail], ..Refusal::invalid(message) }
    }

    /// A 404; a token limited to its own files gets it, too, for a spreadsheet it may not see.
    pub fn not_found() -> Refusal {
        Refusal { code: 404, status: "NOT_FOUND", ..Refusal::invalid("Requested entity was not found.") }
    }

    /// A 403.
    pub fn forbidden(message: impl Into<String>) -> Refusal {
        Refusal { code: 403, status: "PERMISSION_DENIED", ..Refusal::invalid(message) }
    }

    /// A 401. The wording is a guess; the status is not.
    pub fn unauthenticated() -> Refusal {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                       other valid authentication credential. See \
                       https://developers.google.com/identity/sign-in/web/devconsole-project.";
        Refusal { code: 401, status: "UNAUTHENTICATED", ..Refusal::invalid(message) }
    }

    /// The refusal of a real feature that this model lacks, so that no test passes by accident.
    pub fn not_simulated(what: &str) -> Refusal {
        Refusal { code: 501, status: "UNIMPLEMENTED", ..Refusal::invalid(format!("not simulated: {what}")) }
    }

    /// The refusal with `Invalid requests[0].addSheet: ` or the like before its sentence.
    pub fn within(mut self, place: &str) -> Refusal {
        self.message = format!("Invalid {place}: {}", self.message);
        self
    }

    /// The body. With `old_list` it carries `errors[]` too, as bodies of 2017 to 2020 did.
    pub fn body(&self, old_list: bool) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message, "status": self.status });
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        if old_list {
            let reason = if self.code == 400 { "badRequest" } else { "forbidden" };
            error["errors"] = json!([{ "message": self.message, "domain": "global", "reason": reason }]);
        }
        json!({ "error": error })
    }
}
