//! The chain of balances: `previous + amount = balance` over the rows of one account. A break means a missing row; rows
//! of other sources explain a break where their amounts close it.

use std::ops::RangeInclusive;

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;

use crate::model::{Row, bgn_to_eur, is_near, minus, plus};

/// A break in the chain of balances: a row is missing at this point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Date of the row whose balance does not follow.
    pub date: NaiveDate,
    /// The balance of the row before plus the amount of this row.
    pub expected: Decimal,
    /// The balance that the bank states.
    pub found: Decimal,
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Break { date, expected, found } = self;
        write!(f, "balance chain broken at {date}: {expected} expected, {found} found; ")?;
        match found.checked_sub(*expected) {
            Some(missing) => write!(f, "an entry of {missing} is missing"),
            None => f.write_str("amounts so large cannot be added up"),
        }
    }
}

/// The bank's own number, where an id ends in one.
pub fn number_in(id: &str) -> Option<u64> {
    id.rsplit(':').next().and_then(|number| number.parse().ok())
}

/// The parts of a row that the chain needs.
#[derive(Clone, Debug)]
struct Link {
    time: DateTime<FixedOffset>,
    /// The bank's own number, where the id ends in one.
    number: Option<u64>,
    date: NaiveDate,
    /// A row that cannot be read stands here: any balance may follow it.
    is_hole: bool,
    amount: Decimal,
    balance: Decimal,
    leva: bool,
    /// A euro row of before 2026: converted figures may be off by a cent.
    converted: bool,
}

/// A row of another source, which this one lacks: its day is known, its place among the links is not.
#[derive(Clone, Debug)]
struct Loose {
    date: NaiveDate,
    amount: Decimal,
    leva: bool,
}

/// Checks `previous + amount = balance` over the rows of one account.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    links: Vec<Link>,
    loose: Vec<Loose>,
    /// A row that cannot be read stands at an unknown place.
    is_blind: bool,
}

/// The balance after the links so far.
#[derive(Clone, Copy, Debug)]
struct Standing {
    balance: Decimal,
    leva: bool,
    /// The day of the last link.
    date: NaiveDate,
}

/// Most loose rows on the edges of a gap of which every selection is tried.
const MOST_ON_EDGES: usize = 10;

impl Chain {
    /// Adds a row; rows without a balance say nothing about the chain.
    pub fn add(&mut self, row: &Row) {
        let Some(balance) = row.balance else { return };
        self.links.push(Link {
            time: row.time,
            number: number_in(&row.id),
            date: row.date,
            is_hole: false,
            amount: row.amount,
            balance,
            leva: row.currency == "BGN",
            converted: row.currency == "EUR" && row.date < NaiveDate::from_ymd_opt(2026, 1, 1).unwrap_or_default(),
        });
    }

    /// Adds a row of another source that this one lacks, whose amount closes a gap around its day.
    pub fn add_loose(&mut self, row: &Row) {
        self.loose.push(Loose { date: row.date, amount: row.amount, leva: row.currency == "BGN" });
    }

    /// True where loose rows of these days explain a gap of this size, in leva or not. Rows that explain a gap explain no
    /// other.
    pub fn explain(&mut self, missing: Decimal, days: RangeInclusive<NaiveDate>, leva: bool) -> bool {
        explain(&mut self.loose, missing, days, leva)
    }

    /// Adds a row that cannot be read, with its time and number if they are known. Without a time the chain proves
    /// nothing.
    pub fn add_hole(&mut self, time: Option<DateTime<FixedOffset>>, number: Option<u64>) {
        let Some(time) = time else {
            self.is_blind = true;
            return;
        };
        self.links.push(Link {
            time,
            number,
            date: time.date_naive(),
            is_hole: true,
            amount: Decimal::ZERO,
            balance: Decimal::ZERO,
            leva: false,
            converted: false,
        });
    }

    /// The breaks of the chain. Rows were added by time; rows of one instant may stand in any order. A bank that books
    /// a late row under an early date keeps its balances in the order of its own numbers instead: a chain that holds in
    /// either order is whole.
    pub fn breaks(&mut self, opening: Option<Decimal>, closing: Option<Decimal>) -> Vec<Break> {
        if self.is_blind {
            return Vec::new();
        }
        if self.links.iter().any(|link| link.is_hole) {
            // Rows that cannot be read come before the others, whenever they were booked.
            self.links.sort_by_key(|link| link.time);
        }
        let by_time = breaks(&self.links, self.loose.clone(), opening, closing);
        if by_time.is_empty() || self.links.iter().any(|link| link.number.is_none()) {
            return by_time;
        }
        let mut by_number = self.links.clone();
        by_number.sort_by_key(|link| link.number);
        if breaks(&by_number, self.loose.clone(), opening, closing).is_empty() { Vec::new() } else { by_time }
    }
}

/// The breaks in words; `None`: there is none.
pub fn worded(breaks: &[Break]) -> Option<String> {
    let first = breaks.first()?;
    Some(match breaks.len() {
        1 => first.to_string(),
        more => format!("{first} (and {} more)", more - 1),
    })
}

fn breaks(links: &[Link], mut loose: Vec<Loose>, opening: Option<Decimal>, closing: Option<Decimal>) -> Vec<Break> {
    let mut breaks = Vec::new();
    let first_in_leva = links.first().is_some_and(|link| link.leva);
    let date = NaiveDate::MIN;
    let mut standing = opening.map(|balance| Standing { balance, leva: first_in_leva, date });
    let mut rest = links;
    while let Some(first) = rest.first() {
        let same_instant = rest.iter().take_while(|link| link.time == first.time).count();
        let (instant, later) = rest.split_at(same_instant);
        standing = match instant.iter().any(|link| link.is_hole) {
            true => None,
            false => follow(instant, standing, &mut loose, &mut breaks),
        };
        rest = later;
    }
    if let (Some(Standing { balance, leva, .. }), Some(closing), Some(last)) = (standing, closing, links.last()) {
        let in_euros = if leva { bgn_to_eur(balance) } else { balance };
        let is_whole = is_near(balance, closing, tolerance(last)) || is_near(in_euros, closing, Decimal::new(1, 2));
        let mut is_explained =
            |balance| explain(&mut loose, minus(closing, balance), last.date..=NaiveDate::MAX, leva && last.leva);
        if !is_whole && !is_explained(balance) {
            breaks.push(Break { date: last.date, expected: balance, found: closing });
        }
    }
    breaks
}

/// Walks the rows of one instant in an order in which their balances follow, if there is one.
fn follow(
    instant: &[Link],
    mut standing: Option<Standing>,
    loose: &mut Vec<Loose>,
    breaks: &mut Vec<Break>,
) -> Option<Standing> {
    let mut open: Vec<&Link> = instant.iter().collect();
    while !open.is_empty() {
        let mut at = open.iter().position(|link| follows(link, standing));
        if let (None, Some(standing), false) = (at, standing, loose.is_empty()) {
            at = open.iter().position(|link| {
                let missing = minus(link.balance, plus(carried(standing, link), link.amount));
                explain(loose, missing, standing.date..=link.date, link.leva)
            });
        }
        let link = open.remove(at.unwrap_or(0));
        if at.is_none()
            && let Some(standing) = standing
        {
            let expected = plus(carried(standing, link), link.amount);
            breaks.push(Break { date: link.date, expected, found: link.balance });
        }
        standing = Some(Standing { balance: link.balance, leva: link.leva, date: link.date });
    }
    standing
}

/// Takes the loose rows that explain a gap: all of the days inside it, and some of the days at its edges, where a row may
/// as well stand before or after the gap.
fn explain(loose: &mut Vec<Loose>, missing: Decimal, days: RangeInclusive<NaiveDate>, leva: bool) -> bool {
    let amount = |row: &Loose| if row.leva && !leva { bgn_to_eur(row.amount) } else { row.amount };
    let (mut inside, mut edges) = (Vec::new(), Vec::new());
    for (at, row) in loose.iter().enumerate().filter(|(_, row)| days.contains(&row.date)) {
        let is_edge = row.date == *days.start() || row.date == *days.end();
        if is_edge { edges.push(at) } else { inside.push(at) }
    }
    if inside.is_empty() && edges.is_empty() {
        return false;
    }
    let within: Decimal = inside.iter().map(|at| amount(&loose[*at])).fold(Decimal::ZERO, plus);
    let slack = if loose.iter().any(|row| row.leva != leva) { Decimal::new(1, 2) } else { Decimal::ZERO };
    let every = (1u32 << edges.len().min(MOST_ON_EDGES)) - 1;
    let bound = if edges.len() > MOST_ON_EDGES { 0 } else { every };
    // The largest selection comes first.
    let mut selections: Vec<u32> = (0..=bound).collect();
    selections.sort_by_key(|chosen| std::cmp::Reverse(chosen.count_ones()));
    for chosen in selections {
        let is_chosen = |place: usize| place < MOST_ON_EDGES && chosen >> place & 1 == 1;
        let taken: Vec<usize> =
            edges.iter().enumerate().filter(|(place, _)| is_chosen(*place)).map(|(_, at)| *at).collect();
        if taken.is_empty() && inside.is_empty() {
            continue;
        }
        let sum = taken.iter().map(|at| amount(&loose[*at])).fold(within, plus);
        if is_near(sum, missing, slack) {
            let mut at = 0;
            loose.retain(|_| {
                at += 1;
                !taken.contains(&(at - 1)) && !inside.contains(&(at - 1))
            });
            return true;
        }
    }
    false
}

fn follows(link: &Link, standing: Option<Standing>) -> bool {
    let Some(standing) = standing else { return true };
    let slack = if standing.leva == link.leva { tolerance(link) } else { Decimal::new(1, 2) };
    carried(standing, link).checked_add(link.amount).is_some_and(|expected| is_near(expected, link.balance, slack))
}

/// The balance before, in the currency of the row that follows.
fn carried(standing: Standing, link: &Link) -> Decimal {
    if standing.leva && !link.leva { bgn_to_eur(standing.balance) } else { standing.balance }
}

fn tolerance(link: &Link) -> Decimal {
    if link.converted { Decimal::new(1, 2) } else { Decimal::ZERO }
}
