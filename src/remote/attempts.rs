//! Attempts that a service counts against its owner before it locks a login: passwords, and codes that come after them.
//!
//! A connector tells of each before it leaves, and of the service's answer; who listens keeps account. An attempt of
//! which nothing more is told (an answer lost, a crash) stays an attempt.

use std::fmt;

use super::Error;

/// An attempt that a service counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// A password.
    Password,
    /// A code of a second factor.
    Code,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attempt::Password => "password",
            Attempt::Code => "code",
        })
    }
}

/// Keeps account of attempts.
pub trait Attempts: Send + Sync {
    /// An attempt is about to leave. The call returns once it is noted durably; after an `Err` nothing may leave.
    fn begin(&self, attempt: Attempt) -> Result<(), Error>;

    /// The service has said what it thinks of the last one.
    fn answered(&self, attempt: Attempt) -> Result<(), Error>;

    /// The service has let its owner in: nothing that was sent before counts any more.
    fn admitted(&self) -> Result<(), Error>;
}
