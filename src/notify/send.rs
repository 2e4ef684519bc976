//! Notices over HTTP: a topic of ntfy, a webhook, a ping of a dead man's switch.
//!
//! Every notice is one request, and no redirect is followed: a refused notice is told at the next cycle. No error names
//! the address.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use super::plan::Notice;
use crate::config::{Notifier, NotifierKind, On};
use crate::remote::{Client, Counter};
use crate::settings::Secret;

/// Longest time that one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// ntfy turns a longer message into an attachment.
const LONGEST_MESSAGE: usize = 3500;

/// The notifier's target as one text: its mail server and recipients, or its address.
pub fn target(notifier: &Notifier) -> String {
    match &notifier.kind {
        NotifierKind::Email(email) => format!("email {}:{} {}", email.host, email.port, email.to.join(" ")),
        _ => {
            let address = notifier.address().ok().flatten();
            address.map_or(String::new(), |address| address.to_string())
        }
    }
}

/// Sends a notice to ntfy or to a webhook.
pub async fn post(notifier: &Notifier, notice: &Notice) -> Result<(), String> {
    let url = notifier.address()?.ok_or("has no address")?;
    let client = client(notifier, &url)?;
    let request = client.request(Method::POST, url);
    let request = match &notifier.kind {
        NotifierKind::Ntfy { token, .. } => authorised(ntfy(request, notice), token.as_ref())?,
        NotifierKind::Webhook { token, .. } => authorised(request.json(&body(notice)), token.as_ref())?,
        NotifierKind::Healthchecks { .. } | NotifierKind::Email(_) => return Err("takes no notice by POST".into()),
    };
    deliver(&client, request).await
}

/// Pings a dead man's switch: `path` is `start`, `fail`, or empty for success.
pub async fn ping(notifier: &Notifier, path: &str, text: &str) -> Result<(), String> {
    let mut url = notifier.address()?.ok_or("has no address")?;
    if !path.is_empty() {
        let path = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    let client = client(notifier, &url)?;
    let request = client.request(Method::POST, url).body(text.to_owned());
    deliver(&client, request).await
}

fn client(notifier: &Notifier, url: &Url) -> Result<Client, String> {
    let client = Client::at(url, &notifier.name, Counter::default(), false, TIMEOUT);
    client.map_err(|error| error.message)
}

fn authorised(request: RequestBuilder, token: Option<&Secret>) -> Result<RequestBuilder, String> {
    let Some(token) = token else { return Ok(request) };
    let token = token.reveal().map_err(|why| format!("token: {why}"))?;
    Ok(request.bearer_auth(token.expose_secret()))
}

async fn deliver(client: &Client, request: RequestBuilder) -> Result<(), String> {
    let status = client.send_for_status(request).await.map_err(|error| error.message)?;
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(format!("redirected elsewhere (HTTP {status}); set url to the final address")),
        401 | 403 => Err(format!("refused (HTTP {status}); look at url and token")),
        404 | 410 => Err(format!("not there (HTTP {status}); look at url")),
        429 => Err("too many messages (HTTP 429)".into()),
        status => Err(format!("not taken (HTTP {status})")),
    }
}

fn ntfy(request: RequestBuilder, notice: &Notice) -> RequestBuilder {
    let (priority, tags) = match notice.on {
        On::Attention if notice.again => ("5", "rotating_light"),
        On::Attention => ("4", "warning"),
        On::Failure if notice.again => ("4", "x"),
        On::Failure => ("3", "x"),
        On::Recovery => ("3", "white_check_mark"),
        On::NewRows => ("2", "moneybag"),
    };
    let mut text = notice.text();
    if text.len() > LONGEST_MESSAGE {
        text.truncate(text.floor_char_boundary(LONGEST_MESSAGE));
        text.push('…');
    }
    request
        .header("Title", &notice.title)
        .header("Priority", priority)
        .header("Tags", format!("{tags},{}", notice.kind()))
        .header("Content-Type", "text/plain; charset=utf-8")
        .body(text)
}

/// The body of a webhook's call. Slack, Mattermost and the like show `text` alone.
fn body(notice: &Notice) -> serde_json::Value {
    let time = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let events: Vec<serde_json::Value> = notice
        .events
        .iter()
        .map(|event| {
            json!({
                "kind": event.on.as_str(),
                "subject": event.subject,
                "cause": event.cause,
                "text": event.text,
                "since": time(event.since),
                "again": event.again,
            })
        })
        .collect();
    json!({
        "kind": notice.kind(),
        "title": notice.title,
        "text": format!("{}\n{}", notice.title, notice.text()),
        "time": time(notice.at),
        "new": notice.new,
        "summary": notice.summary,
        "events": events,
    })
}
