//! A session that the owner has opened interactively, as it lies on disk: the token, and its lifetime where known.
//!
//! Promise: files of older releases, which hold the bare token, are still read.

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

/// A session and its lifetime.
#[derive(Clone, Debug)]
pub struct SavedSession {
    /// The bearer token.
    pub token: SecretString,
    /// The lifetime of the session, where known.
    pub life: Option<Lifetime>,
}

/// The time that a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The time at which the session was opened, as far as known.
    pub from: DateTime<Utc>,
    /// The time at which it ends.
    pub until: DateTime<Utc>,
}

/// Days before the end at which the owner is told of it.
const NOTICE_DAYS: [i64; 3] = [14, 7, 1];

/// A notice is no earlier than in this part of a session's life, counted from the end.
const LATE: i32 = 6;

impl Lifetime {
    /// The times at which the owner is told of the end, the earliest first: 14, 7 and 1 days before, as far as that is late
    /// in the life of the session; of a short session in its last tenth.
    pub fn notices(&self) -> Vec<DateTime<Utc>> {
        let life = (self.until - self.from).max(TimeDelta::zero());
        let days = NOTICE_DAYS.map(TimeDelta::days).into_iter().filter(|ahead| *ahead <= life / LATE);
        let notices: Vec<_> = days.map(|ahead| self.until - ahead).collect();
        if notices.is_empty() { vec![self.until - life / 10] } else { notices }
    }

    /// Number of the notices that are due.
    pub fn notices_due(&self, now: DateTime<Utc>) -> usize {
        self.notices().iter().filter(|due| **due <= now).count()
    }

    /// True once the owner is to be told of the end.
    pub fn is_ending(&self, now: DateTime<Utc>) -> bool {
        self.notices_due(now) > 0
    }
}

impl SavedSession {
    /// The session that a sign-in has just opened.
    pub fn fresh(token: &SecretString, lasts: Option<Duration>, now: DateTime<Utc>) -> SavedSession {
        let lasts = lasts.and_then(|lasts| TimeDelta::from_std(lasts).ok());
        let until = lasts.and_then(|lasts| now.checked_add_signed(lasts));
        let life = until.map(|until| Lifetime { from: now, until }).or_else(|| written_in(token, now));
        SavedSession { token: token.clone(), life }
    }

    /// The session whose token a person has copied out of a browser.
    pub fn pasted(token: &str, now: DateTime<Utc>) -> SavedSession {
        let token = SecretString::from(token.trim());
        SavedSession { life: written_in(&token, now), token }
    }

    /// Reads a session; `None`: there is none.
    pub fn read(path: &Path) -> io::Result<Option<SavedSession>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (token, life) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        let time = |text: &str| DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.to_utc());
        let life =
            life.split_once(' ').and_then(|(from, until)| Some(Lifetime { from: time(from)?, until: time(until)? }));
        Ok(Some(SavedSession { token: SecretString::from(token.trim()), life }))
    }

    /// The text that [`SavedSession::read`] reads.
    pub fn to_text(&self) -> String {
        let life = self.life.map(|life| format!("\n{} {}\n", life.from.to_rfc3339(), life.until.to_rfc3339()));
        format!("{}{}", self.token.expose_secret(), life.unwrap_or_default())
    }
}

/// The lifetime that a token states, where the token is a JWT. The date serves as a reminder only: nothing is proved.
fn written_in(token: &SecretString, now: DateTime<Utc>) -> Option<Lifetime> {
    let mut parts = token.expose_secret().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: serde_json::Value = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
    let time = |key: &str| {
        let seconds = claims[key].as_i64().or_else(|| claims[key].as_f64().map(|seconds| seconds as i64))?;
        DateTime::from_timestamp(seconds, 0)
    };
    let until = time("exp").filter(|until| *until > now)?;
    Some(Lifetime { from: time("iat").filter(|from| *from < until).unwrap_or(now), until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_so_is_what_an_older_release_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept");
        assert!(SavedSession::read(&path).unwrap().is_none());
        let now = at("2026-03-01T10:00:00Z");
        let session = SavedSession::fresh(&SecretString::from("t-1"), Some(Duration::from_secs(1800)), now);
        std::fs::write(&path, session.to_text()).unwrap();
        let kept = SavedSession::read(&path).unwrap().unwrap();
        assert_eq!(kept.token.expose_secret(), "t-1");
        assert_eq!(kept.life, Some(Lifetime { from: now, until: at("2026-03-01T10:30:00Z") }));
        for (text, token) in [("t-2", "t-2"), (" t-2\n", "t-2"), ("t-2\nsomething else", "t-2")] {
            std::fs::write(&path, text).unwrap();
            let kept = SavedSession::read(&path).unwrap().unwrap();
            assert_eq!((kept.token.expose_secret(), kept.life), (token, None));
        }
    }

    #[test]
    fn a_token_that_tells_its_end_is_believed_and_any_other_is_just_a_token() {
        let now = at("2026-03-01T10:00:00Z");
        let jwt = |claims: &str| format!("eyJhbGciOiJub25lIn0.{}.c2ln", BASE64.encode(claims));
        let (from, until) = (at("2026-03-01T09:00:00Z"), at("2026-03-02T09:00:00Z"));
        let (iat, exp) = (from.timestamp(), until.timestamp());
        let told = |claims: String| SavedSession::pasted(&jwt(&claims), now).life;
        assert_eq!(told(format!(r#"{{"iat":{iat},"exp":{exp}}}"#)), Some(Lifetime { from, until }));
        assert_eq!(told(format!(r#"{{"exp":{exp}.0}}"#)), Some(Lifetime { from: now, until }));
        assert_eq!(told(format!(r#"{{"exp":{iat}}}"#)), None, "over already: it lies");
        assert_eq!(told(r#"{"exp":"soon"}"#.into()), None);
        for token in ["0b1c2d3e-1111-4222-8333-444455556666", "a.b.c", "a.!.c", ""] {
            assert_eq!(SavedSession::pasted(token, now).life, None, "{token}");
        }
    }

    #[test]
    fn the_end_is_told_days_before_and_of_a_short_session_in_its_last_tenth() {
        let from = at("2026-03-01T00:00:00Z");
        let life = |hours: i64| Lifetime { from, until: from + TimeDelta::hours(hours) };
        let (day, week) = (24, 7 * 24);
        for (hours, notices) in [
            (10, &[1][..]),
            (100, &[10]),
            (10 * day, &[day]),
            (60 * day, &[week, day]),
            (90 * day, &[2 * week, week, day]),
            (180 * day, &[2 * week, week, day]),
        ] {
            let life = life(hours);
            for (told, hours_ahead) in (1..).zip(notices) {
                let due = life.until - TimeDelta::hours(*hours_ahead);
                assert_eq!(life.notices_due(due - TimeDelta::seconds(1)), told - 1, "{hours}");
                assert_eq!(life.notices_due(due), told, "{hours}");
            }
            assert_eq!(life.notices().len(), notices.len());
        }
    }
}
