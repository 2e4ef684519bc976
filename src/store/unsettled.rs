//! Passwords and codes that were sent and whose outcome nobody has learnt: counted until the bank says something, because
//! the bank may count each of them as a wrong one.

use serde::{Deserialize, Serialize};

use crate::remote::attempts::Attempt;

/// The number in a row that is left to the owner: a bank locks a login at five.
const AT_MOST: u32 = 2;

/// Attempts since the bank last gave an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unsettled {
    /// Passwords.
    #[serde(rename = "unfinished_sign_ins")]
    pub passwords: u32,
    /// Codes.
    #[serde(rename = "unfinished_codes")]
    pub codes: u32,
    /// Fingerprint of the configuration that the last one went with, once they are too many; empty: not known.
    #[serde(rename = "unfinished_with")]
    pub config: String,
    /// The last one was sent by `login`.
    #[serde(rename = "unfinished_by_login")]
    pub by_login: bool,
}

impl Unsettled {
    /// Counts an attempt that is about to leave.
    pub fn begin(&mut self, attempt: Attempt, by_login: bool) {
        let count = match attempt {
            Attempt::Password => &mut self.passwords,
            Attempt::Code => &mut self.codes,
        };
        *count = count.saturating_add(1);
        self.by_login = by_login;
        self.config.clear();
    }

    /// The bank has said what it thinks of the last one.
    pub fn answered(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Password => self.passwords = 0,
            Attempt::Code => self.codes = 0,
        }
    }

    /// The owner has acted, or the bank is open without a password: one more try of each kind, not several.
    pub fn lift(&mut self) {
        self.passwords = self.passwords.min(AT_MOST - 1);
        self.codes = self.codes.min(AT_MOST - 1);
    }

    /// True where the owner has to look first.
    pub fn are_too_many(&self) -> bool {
        self.passwords.max(self.codes) >= AT_MOST
    }

    /// True where they went with this configuration.
    pub fn went_with(&self, config: &str) -> bool {
        self.config.is_empty() || self.config == config
    }

    /// The number of attempts, in words.
    pub fn words(&self) -> String {
        let (count, what) =
            if self.codes > self.passwords { (self.codes, Attempt::Code) } else { (self.passwords, Attempt::Password) };
        format!("{count} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_in_a_row_are_too_many_and_a_lift_allows_one() {
        let mut unsettled = Unsettled::default();
        for attempt in [Attempt::Password, Attempt::Code] {
            let begin = |unsettled: &mut Unsettled| unsettled.begin(attempt, false);
            begin(&mut unsettled);
            assert!(!unsettled.are_too_many());
            begin(&mut unsettled);
            assert!(unsettled.are_too_many());
            assert_eq!(unsettled.words(), format!("2 {attempt}s"));
            unsettled.lift();
            assert!(!unsettled.are_too_many());
            begin(&mut unsettled);
            assert!(unsettled.are_too_many());
            unsettled.answered(attempt);
            assert!(!unsettled.are_too_many());
        }
    }

    #[test]
    fn an_answer_to_the_password_says_nothing_of_codes() {
        let mut unsettled = Unsettled::default();
        for _ in 0..2 {
            unsettled.begin(Attempt::Password, true);
            unsettled.answered(Attempt::Password);
            unsettled.begin(Attempt::Code, true);
        }
        assert!(unsettled.are_too_many() && unsettled.words() == "2 codes");
    }

    #[test]
    fn a_record_of_an_earlier_release_counts() {
        let state: crate::store::SourceState = serde_json::from_str(r#"{"unfinished_sign_ins":3}"#).unwrap();
        assert!(state.unsettled.are_too_many());
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<crate::store::SourceState>(&text).unwrap(), state);
    }
}
