//! A session that the owner has opened by hand, as it lies on disk: the token, and where it is known how long it lasts.
//!
//! It promises that what an older release wrote is still read: the bare token.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::sign_in::Token;

/// A session and its life.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The bearer token.
    pub token: SecretString,
    /// From when until when, where that is known.
    pub life: Option<Life>,
}

/// From when until when a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was opened, as far as is known.
    pub from: DateTime<Utc>,
    /// When it ends.
    pub until: DateTime<Utc>,
}

impl Life {
    /// When it is time to say that it ends: a day before, of a short one when a tenth of it is left.
    pub fn notice(&self) -> DateTime<Utc> {
        self.until - ((self.until - self.from) / 10).clamp(TimeDelta::zero(), TimeDelta::days(1))
    }

    /// Whether it is time to say that it ends.
    pub fn is_ending(&self, now: DateTime<Utc>) -> bool {
        now >= self.notice()
    }
}

impl Kept {
    /// The session that a sign-in has just opened.
    pub(super) fn fresh(token: &Token, now: DateTime<Utc>) -> Kept {
        let lasts = token.lasts.and_then(|lasts| TimeDelta::from_std(lasts).ok());
        let until = lasts.and_then(|lasts| now.checked_add_signed(lasts));
        let life = until.map(|until| Life { from: now, until }).or_else(|| written_in(&token.secret, now));
        Kept { token: token.secret.clone(), life }
    }

    /// The session whose token somebody has copied out of a browser.
    pub fn pasted(token: &str, now: DateTime<Utc>) -> Kept {
        let token = SecretString::from(token.trim());
        Kept { life: written_in(&token, now), token }
    }

    /// Reads one; `None`: there is none.
    pub fn read(path: &Path) -> io::Result<Option<Kept>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (token, life) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        let time = |text: &str| DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.to_utc());
        let life = life.split_once(' ').and_then(|(from, until)| Some(Life { from: time(from)?, until: time(until)? }));
        Ok(Some(Kept { token: SecretString::from(token.trim()), life }))
    }

    /// The text that [`Kept::read`] reads.
    pub fn to_text(&self) -> String {
        let life = self.life.map(|life| format!("\n{} {}\n", life.from.to_rfc3339(), life.until.to_rfc3339()));
        format!("{}{}", self.token.expose_secret(), life.unwrap_or_default())
    }
}

/// The life that a token tells of itself, where it is a JWT. It is only a date to remind of: nothing is proved.
fn written_in(token: &SecretString, now: DateTime<Utc>) -> Option<Life> {
    let mut parts = token.expose_secret().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: serde_json::Value = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
    let time = |key: &str| {
        let seconds = claims[key].as_i64().or_else(|| claims[key].as_f64().map(|seconds| seconds as i64))?;
        DateTime::from_timestamp(seconds, 0)
    };
    let until = time("exp").filter(|until| *until > now)?;
    Some(Life { from: time("iat").filter(|from| *from < until).unwrap_or(now), until })
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
        assert!(Kept::read(&path).unwrap().is_none());
        let now = at("2026-03-01T10:00:00Z");
        let token = Token { secret: SecretString::from("t-1"), lasts: Some(std::time::Duration::from_secs(1800)) };
        std::fs::write(&path, Kept::fresh(&token, now).to_text()).unwrap();
        let kept = Kept::read(&path).unwrap().unwrap();
        assert_eq!(kept.token.expose_secret(), "t-1");
        assert_eq!(kept.life, Some(Life { from: now, until: at("2026-03-01T10:30:00Z") }));
        for (text, token) in [("t-2", "t-2"), (" t-2\n", "t-2"), ("t-2\nsomething else", "t-2")] {
            std::fs::write(&path, text).unwrap();
            let kept = Kept::read(&path).unwrap().unwrap();
            assert_eq!((kept.token.expose_secret(), kept.life), (token, None));
        }
    }

    #[test]
    fn a_token_that_tells_its_end_is_believed_and_any_other_is_just_a_token() {
        let now = at("2026-03-01T10:00:00Z");
        let jwt = |claims: &str| format!("eyJhbGciOiJub25lIn0.{}.c2ln", BASE64.encode(claims));
        let (from, until) = (at("2026-03-01T09:00:00Z"), at("2026-03-02T09:00:00Z"));
        let (iat, exp) = (from.timestamp(), until.timestamp());
        let told = |claims: String| Kept::pasted(&jwt(&claims), now).life;
        assert_eq!(told(format!(r#"{{"iat":{iat},"exp":{exp}}}"#)), Some(Life { from, until }));
        assert_eq!(told(format!(r#"{{"exp":{exp}.0}}"#)), Some(Life { from: now, until }));
        assert_eq!(told(format!(r#"{{"exp":{iat}}}"#)), None, "over already: it lies");
        assert_eq!(told(r#"{"exp":"soon"}"#.into()), None);
        for token in ["0b1c2d3e-1111-4222-8333-444455556666", "a.b.c", "a.!.c", ""] {
            assert_eq!(Kept::pasted(token, now).life, None, "{token}");
        }
    }

    #[test]
    fn the_end_is_told_a_day_before_and_of_a_short_session_in_its_last_tenth() {
        let from = at("2026-03-01T00:00:00Z");
        let life = |hours: i64| Life { from, until: from + TimeDelta::hours(hours) };
        for (hours, notice) in [(10, 1), (100, 10), (24 * 180, 24)] {
            let life = life(hours);
            let due = life.until - TimeDelta::hours(notice);
            assert!(!life.is_ending(due - TimeDelta::seconds(1)) && life.is_ending(due), "{hours}");
        }
    }
}
