//! Words in error messages: near misses, lists, and user's text made safe to print on one line.

/// Longest piece of the owner's text that an error repeats.
const LONGEST_QUOTE: usize = 60;

/// The candidate that was probably meant, if one is close: a typing error away, or the same word shortened or extended.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.trim().to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    let length = word.chars().count();
    let distance = |candidate: &str| {
        let candidate = plain(candidate);
        let shorter = length.min(candidate.chars().count());
        if shorter >= 3 && (candidate.starts_with(&word) || word.starts_with(&candidate)) {
            // As good as one typing error, however much was left out.
            return Some(1);
        }
        let distance = strsim::osa_distance(&word, &candidate);
        (distance <= (length / 3).max(1)).then_some(distance)
    };
    // Words of a single letter are near to everything.
    let candidates = candidates.into_iter().filter(|_| length > 1);
    candidates
        .filter_map(|candidate| Some((distance(candidate)?, candidate)))
        .min_by_key(|near| near.0)
        .map(|near| near.1)
}

/// `, did you mean …?`, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |near| format!(", did you mean `{near}`?"))
}

/// The owner's text in backticks, on one line and of bounded length.
pub fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_QUOTE).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST_QUOTE).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// `a, b or c`, each in backticks.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses() {
        let keys = ["name", "kind", "tab", "spreadsheet", "username", "accounts", "jitter", "newest-first"];
        for (word, meant) in [
            ("tabb", Some("tab")),
            ("spreadsheet_id", Some("spreadsheet")),
            ("spredsheet", Some("spreadsheet")),
            ("user", Some("username")),
            ("account", Some("accounts")),
            ("jiter", Some("jitter")),
            ("newest_first", Some("newest-first")),
            ("KIND", Some("kind")),
            ("token", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }

    #[test]
    fn quotes_stay_on_one_line() {
        assert_eq!(quote("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert_eq!(quote(&"я".repeat(61)), format!("`{}…`", "я".repeat(60)));
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
