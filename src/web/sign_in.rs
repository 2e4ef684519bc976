//! Sign-in and sign-out of the page: the token, sent as a form, for a cookie that lasts half a day.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State as Of};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use url::form_urlencoded;

use super::access::{self, Caller, no_cookie, session_cookie};
use super::error::ApiError;
use super::guesses::TokenCheck;
use super::html::E;
use super::words::{Words, choose};
use super::{State, query};

/// Largest form; all forms of the page are small.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Longest time for a form to arrive.
const FORM_PATIENCE: Duration = Duration::from_secs(10);

const STYLE: &str = include_str!("style.css");

/// The note of the sign-in form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    /// No note.
    None,
    /// The token was wrong.
    Wrong,
    /// Too many tokens were wrong.
    TooOften,
}

/// `POST /sign-in`
pub(super) async fn sign_in(Of(state): Of<Arc<State>>, request: Request) -> Result<Response, ApiError> {
    let from = access::sender(&request);
    let (parts, body) = request.into_parts();
    let form = read_form(body).await?;
    let words = choose(form.get("lang").map(String::as_str), &parts.headers);
    let given = form.get("token").map(|token| token.trim()).unwrap_or_default();
    let note = match state.access.judge(given.as_bytes(), from).await {
        TokenCheck::Right => {
            let secret = state.access.begin_session().map_err(ApiError::failed)?;
            return Ok(enter(&secret, &parts.headers, form.get("lang").map(String::as_str)));
        }
        TokenCheck::Wrong => Note::Wrong,
        TokenCheck::TooOften => Note::TooOften,
    };
    Ok(show(words, note))
}

fn enter(secret: &str, headers: &HeaderMap, language: Option<&str>) -> Response {
    let to = match language {
        Some("bg") => "/?lang=bg",
        Some("en") => "/?lang=en",
        _ => "/",
    };
    ([(header::SET_COOKIE, session_cookie(secret, is_over_https(headers)))], Redirect::to(to)).into_response()
}

/// True if the browser's own connection is encrypted. The browser's `Origin` says so, or, where the browser hides its
/// origin, the headers of the proxy. A browser without encryption would discard a cookie marked as secure.
fn is_over_https(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(origin) = text("origin").filter(|origin| *origin != "null") {
        return is_https(origin.split("://").next());
    }
    // The first value is of the proxy nearest to the browser.
    let first = |value: Option<&str>| value.and_then(|value| value.split(',').next()).map(str::to_owned);
    let forwarded = first(text("forwarded")).unwrap_or_default();
    let proto = forwarded.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut proto =
        proto.filter(|(name, _)| name.eq_ignore_ascii_case("proto")).map(|(_, proto)| proto.trim_matches('"'));
    is_https(first(text("x-forwarded-proto")).as_deref()) || is_https(proto.next_back())
}

fn is_https(scheme: Option<&str>) -> bool {
    scheme.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// `POST /sign-out`
pub(super) async fn sign_out(
    Of(state): Of<Arc<State>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let form = read_form(body).await?;
    if !access::is_on_purpose(&caller, &parts.headers, form.get("form_proof").map(String::as_str)) {
        return Err(ApiError::foreign());
    }
    state.access.end_session(&parts.headers);
    Ok(([(header::SET_COOKIE, no_cookie())], Redirect::to("/")).into_response())
}

/// The fields of a form; the first value of a name counts. A body that is no form has no fields.
pub(super) async fn read_form(body: Body) -> Result<HashMap<String, String>, ApiError> {
    let bytes = match tokio::time::timeout(FORM_PATIENCE, axum::body::to_bytes(body, MAX_FORM_BYTES)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broke off")),
        Err(_) => return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    let mut form = HashMap::new();
    for (name, value) in form_urlencoded::parse(&bytes) {
        form.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    Ok(form)
}

/// The sign-in form for a request without a session.
pub(super) fn form(request: &Request) -> Response {
    let language = query::parameter(request.uri().query().unwrap_or_default(), "lang");
    show(choose(language.as_deref(), request.headers()), Note::None)
}

fn show(words: &Words, note: Note) -> Response {
    let (status, note) = match note {
        Note::None => (StatusCode::UNAUTHORIZED, String::new()),
        Note::Wrong => (StatusCode::UNAUTHORIZED, words.token_wrong.to_owned()),
        Note::TooOften => (StatusCode::TOO_MANY_REQUESTS, words.token_too_often.to_owned()),
    };
    let note = if note.is_empty() { note } else { format!("<p class=\"wrong\" role=\"alert\">{}</p>", E(&note)) };
    let body = format!(
        "<main class=\"sign-in\"><h1>bankfeed</h1>{note}<form method=\"post\" action=\"/sign-in\">\
         <input type=\"hidden\" name=\"lang\" value=\"{}\">\
         <label for=\"token\">{}</label>\
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus aria-describedby=\"where\">\
         <p id=\"where\" class=\"quiet\">{}</p><button class=\"main\">{}</button></form>\
         <p><a href=\"/?lang={}\" lang=\"{}\" hreflang=\"{}\">{}</a></p></main>",
        words.code,
        words.token,
        words.token_where,
        words.sign_in,
        words.other.0,
        words.other.0,
        words.other.0,
        words.other.1
    );
    document(status, words, "", &body)
}

/// A whole page. The content security policy admits the page's own style and no script.
pub(super) fn document(status: StatusCode, words: &Words, head: &str, body: &str) -> Response {
    const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' fill='%23155e75'/%3E%3Cpath d='M3 12V8h2v4zm4 0V4h2v8zm4 0V6h2v6z' fill='%23fff'/%3E%3C/svg%3E";
    let nonce = match access::random_text() {
        Ok(nonce) => nonce,
        Err(error) => return ApiError::failed(error).into_response(),
    };
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\"><title>bankfeed</title>\
         <link rel=\"icon\" href=\"{ICON}\">{head}<style nonce=\"{nonce}\">{STYLE}</style></head><body>{body}</body></html>\n",
        words.code
    );
    let policy = format!(
        "default-src 'self'; script-src 'none'; style-src 'nonce-{nonce}'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let mut answer = (status, Html(text)).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[test]
    fn a_browser_over_https_is_told_by_itself_or_by_who_passes_it_on() {
        for (pairs, expected) in [
            (vec![], false),
            (vec![("origin", "https://bank.example.com")], true),
            (vec![("origin", "HTTPS://bank.example.com")], true),
            (vec![("origin", "null")], false),
            (vec![("origin", "null"), ("x-forwarded-proto", "https")], true),
            (vec![("origin", "null"), ("x-forwarded-proto", "HTTPS, http")], true),
            (vec![("origin", "null"), ("x-forwarded-proto", "http, https")], false),
            (vec![("x-forwarded-proto", "https")], true),
            (vec![("origin", "null"), ("forwarded", "for=192.0.2.7;proto=https;host=x")], true),
            (vec![("forwarded", "for=192.0.2.7; Proto=\"https\", for=10.0.0.1;proto=http")], true),
            (vec![("origin", "null"), ("forwarded", "for=\"https\"")], false),
            // A browser in the clear would not keep such a cookie.
            (vec![("origin", "http://192.0.2.1:8350"), ("x-forwarded-proto", "https")], false),
            (vec![("origin", "httpsx://bank.example.com")], false),
        ] {
            let header = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            let headers: HeaderMap = pairs.iter().copied().map(header).collect();
            assert_eq!(is_over_https(&headers), expected, "{pairs:?}");
        }
    }
}
