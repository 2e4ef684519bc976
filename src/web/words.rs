//! The page's words in English and Bulgarian, from `words.txt`.

use std::sync::LazyLock;

use axum::http::{HeaderMap, header};

use crate::model::Language;
use crate::sync::Outcome;

macro_rules! words {
    ($($name:ident)*) => {
        /// Every word of the page.
        #[allow(missing_docs)]
        pub(super) struct Words {
            pub language: Language,
            /// For the `lang` attribute.
            pub code: &'static str,
            /// The other language, by its own name.
            pub other: (&'static str, &'static str),
            pub months: [&'static str; 12],
            pub outcomes: [&'static str; 4],
            $(pub $name: &'static str,)*
        }

        impl Words {
            #[cfg(test)]
            const NAMES: &'static str = stringify!($($name)*);

            fn read(language: Language, code: &'static str, other: (&'static str, &'static str)) -> Words {
                let (months, outcomes) = (list(language, "months"), list(language, "outcomes"));
                $(let $name = word(language, stringify!($name));)*
                Words { language, code, other, months, outcomes, $($name,)* }
            }
        }
    };
}

words! {
    skip sign_in sign_out token token_where token_wrong token_too_often attention source destination
    failed_later named command page_says all_well accounts balance complete incomplete kept_apart no_accounts sync_now
    try_again running last_run next_run never none filters from to account all_accounts search currency apply
    reset whole_history bad_date figures money_in money_out difference fees by_month by_year by_category
    by_kind paid_to received_from fees_over_time balances_over_time period name amount as_table rest no_name
    no_category nothing_here other_units own_transfers impossible in_euros transactions shown date
    counterparty description category kind vanished older newest download destinations last_success waiting
    refused runs no_runs started took outcome new changed delivered seconds
}

static ENGLISH: LazyLock<Words> = LazyLock::new(|| Words::read(Language::En, "en", ("bg", "Български")));
static BULGARIAN: LazyLock<Words> = LazyLock::new(|| Words::read(Language::Bg, "bg", ("en", "English")));

/// A word of `words.txt`; a test proves that all are there.
fn word(language: Language, name: &str) -> &'static str {
    let line = include_str!("words.txt").lines().find(|line| line.split('\t').next() == Some(name));
    let column = match language {
        Language::En => 1,
        Language::Bg => 2,
    };
    line.and_then(|line| line.split('\t').nth(column)).unwrap_or_default()
}

fn list<const N: usize>(language: Language, name: &str) -> [&'static str; N] {
    let mut words = word(language, name).split('|');
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

impl Words {
    /// The word for how something fared.
    pub(super) fn outcome(&self, outcome: Outcome) -> &'static str {
        let [ok, failed, attention, skipped] = self.outcomes;
        match outcome {
            Outcome::Ok => ok,
            Outcome::Failed => failed,
            Outcome::Attention => attention,
            Outcome::Skipped => skipped,
        }
    }
}

/// The words of the language that is asked for in the address, else the one the browser prefers.
pub(super) fn choose(asked: Option<&str>, headers: &HeaderMap) -> &'static Words {
    match asked {
        Some("bg") => &BULGARIAN,
        Some("en") => &ENGLISH,
        _ => preferred(headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default()),
    }
}

fn preferred(accepted: &str) -> &'static Words {
    let weighed = accepted.split(',').filter_map(|part| {
        let (tag, rest) = part.split_once(';').unwrap_or((part, "q=1"));
        let weight: f32 = rest.trim().strip_prefix("q=")?.parse().ok()?;
        let words = match tag.trim().split('-').next()?.to_ascii_lowercase().as_str() {
            "bg" => &BULGARIAN,
            "en" => &ENGLISH,
            _ => return None,
        };
        Some((weight, words))
    });
    // The first of two languages with the same weight counts.
    weighed.reduce(|best, next| if next.0 > best.0 { next } else { best }).map_or(&ENGLISH, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_there_in_both_languages() {
        let lines: Vec<&str> = include_str!("words.txt").lines().skip(1).collect();
        assert!(lines.iter().all(|line| line.split('\t').filter(|word| !word.is_empty()).count() == 3), "{lines:?}");
        let names: Vec<&str> = Words::NAMES.split_whitespace().collect();
        assert_eq!(lines.len(), names.len() + 2);
        for language in [Language::En, Language::Bg] {
            assert!(names.iter().all(|name| !word(language, name).is_empty()), "{names:?}");
            assert!(list::<12>(language, "months").iter().all(|month| !month.is_empty()));
            assert!(list::<4>(language, "outcomes").iter().all(|outcome| !outcome.is_empty()));
        }
    }

    #[test]
    fn the_browser_gets_the_language_it_prefers() {
        for (accepted, code) in [
            ("bg", "bg"),
            ("bg-BG,bg;q=0.9,en;q=0.8", "bg"),
            ("en-GB,en;q=0.9,bg;q=0.8", "en"),
            ("de,bg;q=0.5", "bg"),
            ("de", "en"),
            ("", "en"),
            ("en;q=0.1,bg;q=0.2", "bg"),
        ] {
            assert_eq!(preferred(accepted).code, code, "{accepted}");
        }
    }
}
