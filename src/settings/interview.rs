//! The questions of `bankfeed init`: a connector asks what it needs to know of its own entry, and drafts the lines.

use std::path::PathBuf;

use secrecy::SecretString;

/// Why there is no answer; the beginning of one line.
#[derive(Debug)]
pub struct Stop(pub String);

/// A person who can be asked.
pub trait Interview {
    /// Says something.
    fn say(&mut self, text: &str);

    /// Asks until `take` takes the answer; `usual` is the meaning of an empty answer.
    fn ask(
        &mut self,
        question: &str,
        usual: Option<&str>,
        take: &mut dyn FnMut(&str) -> Result<(), String>,
    ) -> Result<(), Stop>;

    /// Asks for a secret: the answer is not trimmed, shown or repeated.
    fn ask_secret(
        &mut self,
        question: &str,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<SecretString, Stop>;
}

/// Asks until `read` can read the answer.
pub fn ask<T>(
    person: &mut dyn Interview,
    question: &str,
    usual: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Stop> {
    let mut answer = None;
    person.ask(question, usual, &mut |text| {
        answer = Some(read(text)?);
        Ok(())
    })?;
    answer.ok_or_else(|| Stop(format!("there is no answer to the question \"{question}\"")))
}

/// An entry as the answers make it: `head`, the secret, `tail`, a line with another address where one is wanted, and
/// `options`.
pub struct Draft {
    /// The name of the entry.
    pub name: &'static str,
    /// The lines up to the secret.
    pub head: String,
    /// The secret of the entry, where it has one.
    pub secret: Option<DraftSecret>,
    /// The rest of the line with the secret.
    pub tail: &'static str,
    /// Options at rest.
    pub options: &'static str,
    /// A file that the entry names and that must stay where it is.
    pub kept_file: Option<PathBuf>,
    /// The service where the owner has to sign in before anything works.
    pub sign_in_at: Option<&'static str>,
}

/// The secret of a draft.
pub struct DraftSecret {
    /// The name of the secret among systemd's credentials.
    pub credential: &'static str,
    /// The secret itself.
    pub text: SecretString,
    /// The TOML of the secret where there is no store of credentials.
    pub otherwise: String,
}
