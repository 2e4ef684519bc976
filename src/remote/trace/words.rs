//! The words that are known to be harmless, from `words.txt`. Every other word is replaced.

use std::collections::HashSet;
use std::sync::LazyLock;

/// A list of `words.txt`, read when it is first asked for.
pub(super) type Words = LazyLock<HashSet<&'static str>>;

/// Values that say nothing about anybody.
pub(super) static HARMLESS: Words = LazyLock::new(|| list("harmless"));

/// Fields whose short values are codes of the bank's.
pub(super) static CODE_KEYS: Words = LazyLock::new(|| list("code-keys"));

/// Tags of HTML.
pub(super) static TAGS: Words = LazyLock::new(|| list("tags"));

/// Attributes of HTML.
pub(super) static ATTRIBUTES: Words = LazyLock::new(|| list("attributes"));

/// Words of addresses and pages, in lower case.
pub(super) static WORDS: Words = LazyLock::new(|| list("words"));

/// The words under this heading.
fn list(heading: &str) -> HashSet<&'static str> {
    let under = include_str!("words.txt").lines().skip_while(|line| line.trim_matches(['[', ']']) != heading).skip(1);
    let words = under.take_while(|line| !line.starts_with('['));
    words.filter(|line| !line.is_empty() && !line.starts_with("# ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_its_words_and_no_other_s() {
        let lists = [&HARMLESS, &CODE_KEYS, &TAGS, &ATTRIBUTES, &WORDS];
        assert_eq!(lists.map(|list| list.len()), [85, 12, 56, 31, 363]);
        assert!(HARMLESS.contains("*/*") && TAGS.contains("ul") && WORDS.contains("код"));
        assert!(lists.iter().all(|list| !list.contains("") && !list.contains("[words]")));
    }
}
