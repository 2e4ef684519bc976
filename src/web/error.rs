//! The error of every address: a status and one line of JSON, lower case, that names the thing and the remedy.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The error instead of an answer.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    why: String,
    retry_after_s: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> ApiError {
        ApiError { status, why: why.into(), retry_after_s: None }
    }

    /// Adds the time after which another try makes sense.
    pub(super) fn for_now(self, seconds: u64) -> ApiError {
        ApiError { retry_after_s: Some(seconds), ..self }
    }

    /// An error for a request that makes no sense.
    pub(super) fn bad(why: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, why)
    }

    /// An error for a failure on this side, which is logged.
    pub(super) fn failed(error: impl std::fmt::Display) -> ApiError {
        tracing::error!("{error}");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    /// An error for a request that another site caused.
    pub(super) fn foreign() -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "the request comes from another site")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.why }).to_string() + "\n";
        let mut answer = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}
