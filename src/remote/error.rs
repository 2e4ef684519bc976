//! Failures of a service, named by the reaction that it causes. A message names the thing and the remedy and
//! holds neither an address nor a secret.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Why only the owner can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The service refused the password: never tried again until the configuration changes.
    PasswordRefused,
    /// The login is locked.
    Locked,
    /// The service demands a new password.
    PasswordChange,
    /// A second factor is asked for.
    SecondFactor,
    /// The service is closed for maintenance; the next scheduled run tries again.
    Maintenance,
    /// A page nobody has seen before stands where the sign-in should go on.
    UnknownPage,
    /// Passwords or codes were sent, and nobody learnt what became of them.
    OutcomeUnknown,
    /// The owner's consent or subscription at the service has ended, or was revoked.
    AccessEnded,
    /// One of the bank logins behind the service wants its owner, who ends that on the service's own page; the others go on.
    BankLogin,
    /// A token or key is refused, revoked or lacks a scope.
    Token,
    /// The sheet or base is missing, or not shared with this login.
    NotFound,
    /// The login may see the thing but not write it.
    NotPermitted,
    /// The layout (headers, id column) was changed in a way that cannot be followed.
    Layout,
    /// A plan's monthly budget or a document's size is used up.
    Quota,
    /// The place takes nothing for a reason that no right of this login changes: switched off, suspended, forbidden by an
    /// organisation, or refusing every row alike.
    Closed,
    /// The machine itself (disk full, clock wrong) stands in the way.
    Machine,
}

impl Cause {
    /// True where the service is left alone until the owner says that he has acted (`bankfeed sync --retry`) or the
    /// configuration changes: everything that another sign-in could make worse.
    pub fn blocks_schedule(self) -> bool {
        use Cause::*;
        matches!(
            self,
            PasswordRefused | Locked | PasswordChange | SecondFactor | UnknownPage | OutcomeUnknown | AccessEnded
        )
    }

    /// The word for it in reports and notices, e.g. `password-refused`.
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// True where only a changed configuration lifts the attention.
    pub fn needs_new_config(self) -> bool {
        self == Cause::PasswordRefused
    }
}

/// The kinds of failure, by the engine's reaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never retried by itself; the owner is told.
    Attention(Cause),
    /// The whole service waits.
    Throttled {
        /// The wait that the service asked for, if any.
        retry_after: Option<Duration>,
    },
    /// The service wants no more requests before this time, and nothing is wrong: a daily quota is used up, or a bank
    /// pauses.
    Resting {
        /// The time at which the service takes requests again.
        until: DateTime<Utc>,
    },
    /// Back off and retry. A write that fails so has an unknown outcome.
    Unavailable,
    /// The request is refused as it stands; nothing was applied.
    Rejected,
    /// Refused as it stands, and the words do not tell whether a row or the place is to blame: other rows decide.
    Unexplained,
    /// The answer is not what the service's API promises: stop this service.
    Malformed,
    /// The answer is larger than is ever read: ask for less, or stop this service.
    TooLarge,
    /// The program is being stopped.
    Stopped,
}

/// A failure of a remote service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The engine's reaction.
    pub kind: Kind,
    /// A line for the owner: lower case, names the thing and the remedy, no full stop, no secret.
    pub message: String,
}

impl Error {
    /// A failure that only the owner can end.
    pub fn attention(cause: Cause, message: impl fmt::Display) -> Error {
        Error { kind: Kind::Attention(cause), message: message.to_string() }
    }

    /// Too many requests.
    pub fn throttled(retry_after: Option<Duration>, message: impl fmt::Display) -> Error {
        Error { kind: Kind::Throttled { retry_after }, message: message.to_string() }
    }

    /// Nothing more before a certain time, though nothing is wrong.
    pub fn resting(until: DateTime<Utc>, message: impl fmt::Display) -> Error {
        Error { kind: Kind::Resting { until }, message: message.to_string() }
    }

    /// Down, slow or cut off.
    pub fn unavailable(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Unavailable, message: message.to_string() }
    }

    /// Refused as it stands.
    pub fn rejected(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Rejected, message: message.to_string() }
    }

    /// Refused as it stands, and nobody knows for whose sake.
    pub fn unexplained(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Unexplained, message: message.to_string() }
    }

    /// Not what the API promises.
    pub fn malformed(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Malformed, message: message.to_string() }
    }

    /// The program is being stopped.
    pub fn stopped() -> Error {
        Error { kind: Kind::Stopped, message: "stopped before it was done".into() }
    }

    /// The word for the cause in reports: that of [`Cause`], or of the kind of failure.
    pub fn word(&self) -> String {
        match self.kind {
            Kind::Attention(cause) => cause.word(),
            Kind::Throttled { .. } => "throttled".to_owned(),
            Kind::Resting { .. } => "resting".to_owned(),
            Kind::Unavailable => "unavailable".to_owned(),
            Kind::Rejected | Kind::Unexplained => "rejected".to_owned(),
            Kind::Malformed => "malformed".to_owned(),
            Kind::TooLarge => "too-large".to_owned(),
            Kind::Stopped => "stopped".to_owned(),
        }
    }

    /// The time at which the service goes on, where nothing is wrong but its quota used up.
    pub fn resting_until(&self) -> Option<DateTime<Utc>> {
        if let Kind::Resting { until } = self.kind { Some(until) } else { None }
    }

    /// The cause, where the owner must act.
    pub fn cause(&self) -> Option<Cause> {
        if let Kind::Attention(cause) = self.kind { Some(cause) } else { None }
    }

    /// True where the request as it stands was refused, so that another one may pass.
    pub fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Rejected | Kind::Unexplained)
    }

    /// True where trying the same thing again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Throttled { .. } | Kind::Unavailable)
    }
}

/// The innermost reason of an error: the part a person can use.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
