//! The values of the options at the top of the file and of `[http]`: schedules, time zones, delays, addresses to listen
//! on.

use std::net::SocketAddr;
use std::time::Duration;

use chrono_tz::Tz;

use super::Error;
use crate::schedule::Schedule;
use crate::settings::Value;
use crate::settings::words::{did_you_mean, quote};

/// The longest random delay that still leaves a daily schedule daily.
const LONGEST_JITTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A crontab line or a list of them.
pub(super) fn schedules(value: &Value<'_>) -> Result<Vec<Schedule>, Error> {
    let lines = if value.value.is_array() { value.list()? } else { return Ok(vec![schedule(value)?]) };
    lines.iter().map(schedule).collect()
}

fn schedule(value: &Value<'_>) -> Result<Schedule, Error> {
    let text = value.text()?;
    Schedule::parse(text).map_err(|error| value.error(format!("{}: {error}", quote(text))))
}

/// An IANA time zone.
pub(super) fn timezone(value: &Value<'_>) -> Result<Tz, Error> {
    let text = value.text()?;
    text.parse().map_err(|_| {
        let near = did_you_mean(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        value.error(format!("no time zone is called {}{near}", quote(text)))
    })
}

/// `"5m"`, `"1h30m"`, or 0.
pub(super) fn jitter(value: &Value<'_>) -> Result<Duration, Error> {
    if value.integer() == Some(0) {
        return Ok(Duration::ZERO);
    }
    let text = value.text()?;
    let duration = duration(text).ok_or_else(|| {
        value.error(format!("expected a length of time such as \"5m\", \"30s\" or \"1h\", found {}", quote(text)))
    })?;
    if duration > LONGEST_JITTER {
        return Err(value.error("is longer than a day"));
    }
    Ok(duration)
}

fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text.trim(), 0_u64);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match rest[digits..].chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let amount: u64 = rest[..digits].parse().ok()?;
        seconds = seconds.checked_add(amount.checked_mul(unit)?)?;
        rest = rest[digits + 1..].trim_start();
    }
    Some(Duration::from_secs(seconds))
}

/// An address of this machine and a port.
pub(super) fn listen(value: &Value<'_>) -> Result<SocketAddr, Error> {
    let text = value.text()?;
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().map_err(|_| {
        let hint = match text {
            _ if text.contains("://") => ", without http://",
            _ if text.parse::<std::net::IpAddr>().is_ok() => ", the port is missing",
            _ if text.starts_with(':') || text.chars().all(|c| c.is_ascii_digit()) => ", the address is missing",
            _ => "",
        };
        value.error(format!(
            "expected {}, found {}{hint}",
            "an address and a port such as \"127.0.0.1:8350\"",
            quote(text)
        ))
    })
}
