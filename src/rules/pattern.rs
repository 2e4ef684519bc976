//! Regular expressions as owners write them: blind to case, and to the difference between a Cyrillic and a Latin letter
//! that look the same. Banks and shops mix the two freely (`КАФЕ` with a Latin K), and no reader sees the difference.
//!
//! The text is left as it is; the pattern is widened. Every literal letter that has a twin becomes a class of the two,
//! and a bracketed class gets the twins of its members before it is negated. Classes such as `\w` stay as they are.
//! Pattern and text are in NFC, so that an accent typed as a letter of its own makes no difference.
//!
//! Only the two smallest suitable regex engines are built in, without the tables of Unicode's properties: the program
//! has to stay one small file, and an owner's rule needs no whole categories of letters.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{Config, NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_syntax::ast::{self, Ast, ClassSetItem, Visitor};
use serde::{Deserialize, Serialize};

/// Pairs of a Cyrillic and a Latin letter that look the same. Few lower-case pairs look the same, but patterns ignore
/// case, so every upper-case pair has its lower-case pair here.
const TWINS: [(char, char); 24] = [
    ('А', 'A'),
    ('В', 'B'),
    ('Е', 'E'),
    ('К', 'K'),
    ('М', 'M'),
    ('Н', 'H'),
    ('О', 'O'),
    ('Р', 'P'),
    ('С', 'C'),
    ('Т', 'T'),
    ('У', 'Y'),
    ('Х', 'X'),
    ('а', 'a'),
    ('в', 'b'),
    ('е', 'e'),
    ('к', 'k'),
    ('м', 'm'),
    ('н', 'h'),
    ('о', 'o'),
    ('р', 'p'),
    ('с', 'c'),
    ('т', 't'),
    ('у', 'y'),
    ('х', 'x'),
];

/// Largest compiled pattern; a person's patterns take a hundredth of it.
const MOST_BYTES: usize = 10 * 1024 * 1024;

const NO_PROPERTIES: &str = r"\p{…} is not known here, use \w, \d or a range of letters such as [а-я]";

/// A regular expression that is known to be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    written: String,
    widened: String,
}

impl Pattern {
    /// Checks a pattern; the error describes the mistake in one line.
    pub fn new(written: &str) -> Result<Pattern, String> {
        let pattern = Pattern { written: written.to_owned(), widened: widen(&composed(written))? };
        build(&pattern.widened).map(|_| pattern)
    }

    /// The pattern as the owner wrote it.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Compiles the pattern. Compiled patterns are large, so they are made for the time of the work only.
    pub(super) fn compile(&self) -> Finder {
        build(&self.widened).expect("a pattern is only made of text that has compiled before")
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(written: String) -> Result<Pattern, String> {
        Pattern::new(&written)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.written
    }
}

/// The text in NFC, as patterns expect it.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// A compiled pattern: a quick engine for nearly every text, and a slow one for the texts that the quick one gives up
/// on.
pub(super) struct Finder {
    dfa: DFA,
    cache: Cache,
    sure: PikeVM,
}

impl Finder {
    /// True if the pattern is found anywhere in this text.
    pub fn is_match(&mut self, text: &str) -> bool {
        match self.dfa.try_search_fwd(&mut self.cache, &Input::new(text).earliest(true)) {
            Ok(found) => found.is_some(),
            // The quick engine gives up on word borders among letters that are not ASCII, and on a pattern of too many
            // states.
            Err(_) => self.sure.is_match(&mut self.sure.create_cache(), text),
        }
    }
}

fn build(widened: &str) -> Result<Finder, String> {
    let config = syntax::Config::new().case_insensitive(true);
    let tree = syntax::parse_with(widened, &config).map_err(|error| match error {
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        // Twins take the place of a letter, so the widened text is a pattern as well.
        error => error.to_string().replace('\n', " "),
    })?;
    let config = Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(MOST_BYTES));
    let nfa = NFA::compiler().configure(config).build_from_hir(&tree);
    let nfa = nfa.map_err(|_| "it is too large, use fewer or smaller repetitions")?;
    let config = DFA::config().unicode_word_boundary(true).skip_cache_capacity_check(true);
    let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone()).map_err(|error| error.to_string())?;
    let sure = PikeVM::new_from_nfa(nfa).map_err(|error| error.to_string())?;
    Ok(Finder { cache: dfa.create_cache(), dfa, sure })
}

/// The pattern with the twin of every letter that has one.
fn widen(pattern: &str) -> Result<String, String> {
    let tree = ast::parse::Parser::new().parse(pattern).map_err(|error| {
        let at = pattern[..error.span().start.offset].chars().count() + 1;
        format!("{} at character {at}", error.kind())
    })?;
    let widening = Widening { pattern, out: String::with_capacity(pattern.len() * 2), copied: 0 };
    ast::visit(&tree, widening)
}

/// Copies a pattern from left to right, putting twins in.
struct Widening<'a> {
    pattern: &'a str,
    out: String,
    /// Number of bytes of the pattern that have been copied.
    copied: usize,
}

impl Widening<'_> {
    fn copy_until(&mut self, offset: usize) {
        self.out.push_str(&self.pattern[self.copied..offset]);
        self.copied = offset;
    }
}

impl Visitor for Widening<'_> {
    type Output = String;
    type Err = String;

    fn finish(mut self) -> Result<String, String> {
        self.copy_until(self.pattern.len());
        Ok(self.out)
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), String> {
        if let Ast::ClassUnicode(_) = tree {
            return Err(NO_PROPERTIES.into());
        }
        if let Ast::Literal(literal) = tree
            && let Some(twin) = twin(literal.c)
        {
            self.copy_until(literal.span.start.offset);
            self.out.extend(['[', literal.c, twin, ']']);
            self.copied = literal.span.end.offset;
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        let (members, end) = match item {
            ClassSetItem::Literal(literal) => (literal.c..=literal.c, literal.span.end.offset),
            ClassSetItem::Range(range) => (range.start.c..=range.end.c, range.span.end.offset),
            ClassSetItem::Unicode(_) => return Err(NO_PROPERTIES.into()),
            _ => return Ok(()),
        };
        self.copy_until(end);
        for (cyrillic, latin) in TWINS {
            if members.contains(&cyrillic) {
                self.out.push(latin);
            }
            if members.contains(&latin) {
                self.out.push(cyrillic);
            }
        }
        Ok(())
    }
}

fn twin(letter: char) -> Option<char> {
    TWINS.iter().find_map(|(cyrillic, latin)| match letter {
        c if c == *cyrillic => Some(*latin),
        c if c == *latin => Some(*cyrillic),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().compile().is_match(&composed(text))
    }

    #[test]
    fn case_and_look_alikes_make_no_difference() {
        for text in ["КАФЕ", "кафе", "KAФE", "Kaфе", "kАФe"] {
            assert!(finds("кафе", text), "{text}");
            assert!(finds("^КАФЕ$", text), "{text}");
            assert!(finds("^KAФE$", text), "{text}");
        }
        // Every pair, in both directions and both cases.
        let cyrillic: String = TWINS.iter().map(|(cyrillic, _)| cyrillic).collect();
        let latin: String = TWINS.iter().map(|(_, latin)| latin).collect();
        for (pattern, text) in [(&cyrillic, &latin), (&latin, &cyrillic)] {
            assert!(finds(&format!("^{pattern}$"), text));
            assert!(finds(&format!("^{pattern}$"), &text.to_lowercase()));
        }
        assert!(!finds("лидъл", "lidl") && !finds("д", "d"), "what does not look alike is not alike");
    }

    #[test]
    fn letters_that_are_syntax_stay_syntax() {
        assert!(finds(r"^\bOMV\b \d{2}\s\w+$", "ОМV 24 бензин"));
        assert!(finds(r"^(?P<c>a)(?:b)$", "ав"));
        assert!(finds(r"(?x) a  c # the letters a and c", "ас"));
        assert!(finds(r"^\x41\u{410}$", "АA"), "letters by their number");
        assert!(finds(r"^a{2}$", "аa") && !finds(r"^a{2}$", "a"));
        assert!(!finds(r"(?-i)^a$", "А") && finds(r"(?-i)^a$", "а"));
        assert!(finds(r"^\.\*\+\?\(\)\[\]\\$", r".*+?()[]\"));
    }

    #[test]
    fn borders_of_words_hold_among_cyrillic_letters_too() {
        assert!(finds(r"\bкафе\b", "Голямо КАФЕ, 2 бр.") && !finds(r"\bкафе\b", "кафемашина"));
        assert!(finds(r"\bcafe\b", "big CAFE, 2") && !finds(r"\bcafe\b", "cafeteria"));
        assert!(finds(r"^$", "") && finds(r"a*", "") && !finds(r".", ""));
        assert!(finds(r"(?s)^a.*z$", &format!("a{}z", "ю\n".repeat(5_000))));
    }

    #[test]
    fn classes_take_twins_in_before_they_are_negated() {
        assert!(finds("^[а-г]+$", "abв"));
        assert!(finds("^[xyz]$", "Х"));
        assert!(!finds("^[^а]$", "A") && finds("^[^а]$", "б"));
        assert!(!finds("^[^a-z]$", "К") && finds("^[^a-z]$", "Щ"));
        assert!(finds("^[а-я&&[^ав]]$", "e") && !finds("^[а-я&&[^ав]]$", "a") && !finds("^[а-я&&[^ав]]$", "b"));
        assert!(finds("^[]a]$", "]") && finds("^[a-]$", "-") && finds(r"^[\]\-х]$", "x"));
        assert!(finds(r"^[\d\s]+$", "1 2") && finds(r"^\w+$", "Щука") && !finds(r"^\W$", "щ"));
        assert!(finds("^[[:alpha:]]$", "k"));
    }

    #[test]
    fn an_accent_of_its_own_makes_no_difference() {
        assert!(finds("трамваи\u{306}", "ТРАМВАЙ"));
        assert!(finds("трамвай", "ТРАМВАИ\u{306}"));
        assert!(finds("^.$", "и\u{306}"));
    }

    #[test]
    fn a_mistake_is_told_in_a_line() {
        for (pattern, told) in [
            ("лидъл(", "unclosed group at character 6"),
            ("[a-", "unclosed character class at character 1"),
            ("лa{1", "unclosed counted repetition at character 3"),
            (r"\p{Cyrillic}", NO_PROPERTIES),
            (r"[\pL]", NO_PROPERTIES),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported at character 1"),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap_err(), told);
        }
        assert!(Pattern::new(r"(\w{100}){1000}").unwrap_err().starts_with("it is too large"));
    }
}
