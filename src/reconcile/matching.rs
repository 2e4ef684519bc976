//! Rows that come under an unknown id compared with the known rows of their account and day: finds the rows that are the
//! same, by content and by count. Pure: no store, no clock.
//!
//! Within one source equal rows pair off by their number, and a row that is alone with its date, amount and currency on
//! both sides is the same row in other words. Two candidates are no match, because twins are real.
//!
//! Between two sources the words differ, so balance, reference and text decide among rows of one amount, as far as they
//! point to exactly one. Rows that nothing decides are kept apart.

use std::collections::HashMap;

use rust_decimal::Decimal;

use crate::model::{Row, bgn_to_eur, is_near};

/// The relation of a fetched row to the known rows of its own source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// The known row at this place has the same content.
    Same(usize),
    /// The known row at this place is the same entry in other words.
    Reworded(usize),
    /// No known row is the same.
    New,
}

/// The relation of a fetched row to the known rows of other sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Between {
    /// The known row at this place is the same entry.
    Same(usize),
    /// No known row is the same.
    New,
    /// Any of the known rows at these places may be the same entry, and nothing decides.
    Doubtful(Vec<usize>),
}

/// Compares rows of one day with the rows that the same source gave before and shows no more under their ids. Known rows
/// that stand first are preferred among equal ones.
pub fn within_one_source(fetched: &[&Row], known: &[&Row]) -> Vec<Within> {
    let mut matches = vec![Within::New; fetched.len()];
    let mut sides = Sides::new(fetched, known);
    for group in sides.groups() {
        equal_content(&group, &mut sides, &mut matches);
        let (mut left, mut right) = (sides.open_fetched(&group), sides.open_known(&group));
        if let (Some(fetched), Some(known), None, None) = (left.next(), right.next(), left.next(), right.next()) {
            drop((left, right));
            let (mine, theirs) = (sides.fetched[fetched], sides.known[known]);
            if same_money(mine, theirs) && !contradict(mine, theirs) {
                matches[fetched] = Within::Reworded(known);
                sides.take(fetched, known);
            }
        }
    }
    matches
}

/// True where both sides hold the same amounts equally often.
pub fn have_equal_amounts(fetched: &[&Row], known: &[&Row]) -> bool {
    let sides = Sides::new(fetched, known);
    sides.groups().iter().all(|group| group.fetched.len() == group.known.len())
}

/// Pairs rows of equal content by their number; of several, rows with the same balance first.
fn equal_content(group: &Group, sides: &mut Sides<'_>, matches: &mut [Within]) {
    let mut by_content: HashMap<String, Vec<usize>> = HashMap::new();
    for known in sides.open_known(group) {
        by_content.entry(content(sides.known[known])).or_default().push(known);
    }
    for with_balance in [true, false] {
        let fetched: Vec<usize> = sides.open_fetched(group).collect();
        for fetched in fetched {
            let row = sides.fetched[fetched];
            let Some(equal) = by_content.get_mut(&content(row)) else { continue };
            let fits = |known: &usize| {
                let known = sides.known[*known];
                same_money(row, known) && (!with_balance || agreement(row, known) == Some(true))
            };
            if let Some(at) = equal.iter().position(fits) {
                let known = equal.remove(at);
                matches[fetched] = Within::Same(known);
                sides.take(fetched, known);
            }
        }
    }
}

/// Compares rows of one day with the rows of other sources that this answer has not shown under any id. Both lists hold
/// every such row of the day.
pub fn between_sources(fetched: &[&Row], known: &[&Row]) -> Vec<Between> {
    let mut sides = Sides::new(fetched, known);
    let groups = sides.groups();
    let mut pairs = Vec::new();
    for group in &groups {
        decide(group, &mut sides, &mut pairs);
    }
    let count = |group: &Group| (sides.open_fetched(group).count(), sides.open_known(group).count());
    let is_equal = |group: &Group| matches!(count(group), (fetched, known) if fetched == known);
    if groups.iter().all(is_equal) {
        groups.iter().for_each(|group| pair_in_order(group, &mut sides, &mut pairs));
    }
    let mut matches = vec![Between::New; fetched.len()];
    for group in &groups {
        let candidates: Vec<usize> = sides.open_known(group).collect();
        if !candidates.is_empty() {
            for fetched in sides.open_fetched(group) {
                matches[fetched] = Between::Doubtful(candidates.clone());
            }
        }
    }
    for (fetched, known) in pairs {
        matches[fetched] = Between::Same(known);
    }
    matches
}

/// Pairs the rows of one amount that a balance, a reference or a text decides, and the last one on both sides.
fn decide(group: &Group, sides: &mut Sides<'_>, pairs: &mut Vec<(usize, usize)>) {
    type Key = fn(&Row) -> String;
    type Evidence = fn(&Row, &Row) -> bool;
    let evidence: [(Key, Evidence); 4] = [
        (|row| balance(row).unwrap_or_default(), |a, b| agreement(a, b) == Some(true)),
        (reference, |a, b| !reference(a).is_empty() && reference(a) == reference(b)),
        (text, |a, b| !contradict(a, b) && text(a) == text(b)),
        (text, |a, b| !contradict(a, b) && one_contains_the_other(&text(a), &text(b))),
    ];
    if group.fetched.len().saturating_mul(group.known.len()) > MOST_COMPARED {
        return;
    }
    if !group.is_single() {
        for (key, is_related) in evidence {
            while pair_classes(group, sides, key, is_related, pairs) {}
        }
    }
    let (mut left, mut right) = (sides.open_fetched(group), sides.open_known(group));
    if let (Some(fetched), Some(known), None, None) = (left.next(), right.next(), left.next(), right.next())
        && same_money(sides.fetched[fetched], sides.known[known])
        && !contradict(sides.fetched[fetched], sides.known[known])
    {
        drop((left, right));
        sides.take(fetched, known);
        pairs.push((fetched, known));
    }
}

/// Most comparisons for one amount of one day; rows beyond them stay undecided.
const MOST_COMPARED: usize = 1_000_000;

/// Pairs classes of equal rows that point to each other alone. True where some were paired.
fn pair_classes(
    group: &Group,
    sides: &mut Sides<'_>,
    key: fn(&Row) -> String,
    is_related: fn(&Row, &Row) -> bool,
    pairs: &mut Vec<(usize, usize)>,
) -> bool {
    let fetched = classes(sides.open_fetched(group).map(|at| (at, key(sides.fetched[at]))));
    let known = classes(sides.open_known(group).map(|at| (at, key(sides.known[at]))));
    let related = |a: &[usize], b: &[usize]| {
        let of = |a: usize, b: usize| {
            same_money(sides.fetched[a], sides.known[b]) && is_related(sides.fetched[a], sides.known[b])
        };
        a.iter().any(|a| b.iter().any(|b| of(*a, *b)))
    };
    let mut links = Vec::new();
    for (at, class) in fetched.iter().enumerate() {
        let mut candidates = (0..known.len()).filter(|other| related(class, &known[*other]));
        if let (Some(only), None) = (candidates.next(), candidates.next()) {
            links.push((at, only));
        }
    }
    let mut new = Vec::new();
    for (at, other) in &links {
        let points_back = fetched.iter().enumerate().all(|(i, class)| i == *at || !related(class, &known[*other]));
        let (mine, theirs) = (&fetched[*at], &known[*other]);
        // Rows of a class that differ in their words are not interchangeable.
        let is_uniform = |rows: &[usize], of: &[&Row]| rows.iter().all(|row| text(of[*row]) == text(of[rows[0]]));
        let pairs_off = mine.len() == 1 && theirs.len() == 1
            || (is_uniform(mine, &sides.fetched) && is_uniform(theirs, &sides.known));
        if points_back && pairs_off {
            let mut open: Vec<usize> = theirs.clone();
            for mine in mine {
                let fits = |known: &usize| is_related(sides.fetched[*mine], sides.known[*known]);
                if let Some(at) = open.iter().position(fits) {
                    new.push((*mine, open.remove(at)));
                }
            }
        }
    }
    new.iter().for_each(|(fetched, known)| sides.take(*fetched, *known));
    let found = !new.is_empty();
    pairs.extend(new);
    found
}

/// Rows by their key, in the order in which the keys come.
fn classes(rows: impl Iterator<Item = (usize, String)>) -> Vec<Vec<usize>> {
    let (mut places, mut classes) = (HashMap::new(), Vec::<Vec<usize>>::new());
    for (row, key) in rows {
        let place = *places.entry(key).or_insert(classes.len());
        if place == classes.len() {
            classes.push(Vec::new());
        }
        classes[place].push(row);
    }
    classes
}

/// Pairs the open rows of one amount in the order of their texts.
fn pair_in_order(group: &Group, sides: &mut Sides<'_>, pairs: &mut Vec<(usize, usize)>) {
    let mut fetched: Vec<usize> = sides.open_fetched(group).collect();
    let mut known: Vec<usize> = sides.open_known(group).collect();
    fetched.sort_by_cached_key(|at| text(sides.fetched[*at]));
    known.sort_by_cached_key(|at| text(sides.known[*at]));
    for (fetched, known) in fetched.into_iter().zip(known) {
        let (mine, theirs) = (sides.fetched[fetched], sides.known[known]);
        if same_money(mine, theirs) && !contradict(mine, theirs) {
            sides.take(fetched, known);
            pairs.push((fetched, known));
        }
    }
}

/// The rows of one day that have one amount and currency.
#[derive(Clone, Debug, Default)]
struct Group {
    fetched: Vec<usize>,
    known: Vec<usize>,
}

impl Group {
    fn is_single(&self) -> bool {
        self.fetched.len() == 1 && self.known.len() == 1
    }
}

/// The rows of both sides, and those of them that have found their match.
struct Sides<'a> {
    fetched: Vec<&'a Row>,
    known: Vec<&'a Row>,
    is_taken_fetched: Vec<bool>,
    is_taken_known: Vec<bool>,
}

impl<'a> Sides<'a> {
    fn new(fetched: &[&'a Row], known: &[&'a Row]) -> Sides<'a> {
        Sides {
            fetched: fetched.to_vec(),
            known: known.to_vec(),
            is_taken_fetched: vec![false; fetched.len()],
            is_taken_known: vec![false; known.len()],
        }
    }

    fn take(&mut self, fetched: usize, known: usize) {
        (self.is_taken_fetched[fetched], self.is_taken_known[known]) = (true, true);
    }

    fn open_fetched(&self, group: &Group) -> impl Iterator<Item = usize> {
        group.fetched.iter().copied().filter(|at| !self.is_taken_fetched[*at])
    }

    fn open_known(&self, group: &Group) -> impl Iterator<Item = usize> {
        group.known.iter().copied().filter(|at| !self.is_taken_known[*at])
    }

    /// The rows by amount and currency, in the order in which they come. An amount in leva stands with the amount in euros
    /// that it became.
    fn groups(&self) -> Vec<Group> {
        let mut places: HashMap<(Decimal, &str), usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let has = |currency: &str| self.fetched.iter().chain(&self.known).any(|row| row.currency == currency);
        let is_restated = has("BGN") && has("EUR");
        for (at, row) in self.known.iter().enumerate() {
            let place = *places.entry(key(row, is_restated)).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Group::default());
            }
            groups[place].known.push(at);
        }
        for (at, row) in self.fetched.iter().enumerate() {
            let (amount, currency) = key(row, is_restated);
            let cent = Decimal::new(1, 2);
            // The bank's way of rounding what it restates is unknown.
            let nearby = [amount.checked_add(cent), amount.checked_sub(cent)].into_iter().flatten();
            let nearby = nearby.filter(|_| is_restated);
            let place = std::iter::once(amount).chain(nearby).find_map(|amount| {
                let place = *places.get(&(amount, currency))?;
                groups[place].known.iter().any(|known| same_money(row, self.known[*known])).then_some(place)
            });
            let place = place.unwrap_or_else(|| *places.entry((amount, currency)).or_insert(groups.len()));
            if place == groups.len() {
                groups.push(Group::default());
            }
            groups[place].fetched.push(at);
        }
        groups
    }
}

fn key(row: &Row, is_restated: bool) -> (Decimal, &str) {
    if is_restated && row.currency == "BGN" { (bgn_to_eur(row.amount), "EUR") } else { (row.amount, &row.currency) }
}

/// True where two rows move the same money, perhaps restated from leva to euros.
pub fn same_money(a: &Row, b: &Row) -> bool {
    let near = |leva: &Row, euros: &Row| is_near(bgn_to_eur(leva.amount), euros.amount, Decimal::new(1, 2));
    match (a.currency.as_str(), b.currency.as_str()) {
        ("BGN", "EUR") => near(a, b),
        ("EUR", "BGN") => near(b, a),
        (a_currency, b_currency) => a_currency == b_currency && a.amount == b.amount,
    }
}

/// True where two rows of one answer are one entry: the same content, with the same balance after it.
pub fn is_repeated(a: &Row, b: &Row) -> bool {
    a.date == b.date && same_money(a, b) && agreement(a, b) == Some(true) && content(a) == content(b)
}

/// True where the balances after two rows agree; `None`: they cannot be compared.
fn agreement(a: &Row, b: &Row) -> Option<bool> {
    match (a.balance, b.balance) {
        (Some(of_a), Some(of_b)) if a.currency == b.currency => Some(of_a == of_b),
        _ => None,
    }
}

fn contradict(a: &Row, b: &Row) -> bool {
    agreement(a, b) == Some(false)
}

fn balance(row: &Row) -> Option<String> {
    row.balance.map(|balance| format!("{} {}", balance.normalize(), row.currency))
}

/// The words of a row that stay when it comes under another id.
fn content(row: &Row) -> String {
    let texts = [&row.counterparty, &row.counterparty_account, &row.description];
    let mut content = texts.map(|text| folded(text)).join("\n");
    content.push('\n');
    content += &reference(row);
    content
}

/// Counterparty and description, which sources divide in different ways.
fn text(row: &Row) -> String {
    folded(&row.counterparty) + &folded(&row.description)
}

fn reference(row: &Row) -> String {
    let reference = folded(&row.reference);
    if NO_REFERENCE.contains(&reference.as_str()) { String::new() } else { reference }
}

/// Texts by which services say that there is no reference, folded.
const NO_REFERENCE: [&str; 6] = ["nonref", "notprovided", "none", "n/a", "-", "0"];

fn one_contains_the_other(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    !short.is_empty() && long.contains(short)
}

/// A text without case and without white space.
fn folded(text: &str) -> String {
    text.chars().filter(|char| !char.is_whitespace()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests;
