//! A statement file that was read once and found good, and its rows one after the other in the order of their times.
//!
//! A long file stands in memory as its bytes alone. The first reading notes the time and the weight of each row. The rows
//! then come in blocks of bounded weight: each block takes one more reading, which keeps the rows of the block and passes
//! over the others. A file whose newest entry comes first is turned round in this way without all of its rows in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;

use super::Options;
use super::content::Content;
use super::identity::{self, Repeats};
use super::statement::{Clock, FileRow, Refusal, Statement};
use crate::model::{Row, is_in_bounds};
use crate::source::content_id::Occurrences;

/// The weight of the rows that are in memory at once.
const BLOCK_BYTES: usize = 6 << 20;

/// The longest row that is read.
const LONGEST_ROW_BYTES: usize = 1 << 20;

/// A file that can be read.
pub struct Prepared {
    name: String,
    content: Content,
    options: Arc<Options>,
    reading: super::Reading,
    zone: Tz,
    /// The statements with an account, in the order of their days.
    order: Vec<usize>,
    /// The place of each statement in that order.
    turns: Vec<usize>,
    /// The place of each row of the file in the order of rows.
    ranks: Vec<u32>,
    /// The rank behind the last row of each block.
    block_ends: Vec<u32>,
}

/// A row during the first reading.
struct Place {
    statement: usize,
    seconds: i64,
    weight: usize,
}

impl Prepared {
    /// Reads a file whole. A day without a time begins in `zone`.
    pub fn new(name: &str, content: Content, options: Arc<Options>, zone: Tz) -> Result<Prepared, Refusal> {
        let (mut places, mut entries) = (Vec::new(), HashMap::new());
        let mut unfit: Option<Refusal> = None;
        let reading = content.inspect(name, &options, &mut |statement, row| {
            let entry = entries.entry(statement).or_insert(0usize);
            *entry += 1;
            let weight = weight(&row);
            if unfit.is_none()
                && let Some(why) = why_unfit(&row, weight)
            {
                unfit = Some(Refusal::whole(why).of_entry(*entry));
            }
            places.push(Place { statement, seconds: moment(row.date, row.time, zone).timestamp(), weight });
        })?;
        if let Some(unfit) = unfit {
            return Err(unfit);
        }
        let order = order_of_statements(&reading.statements);
        let mut turns = vec![usize::MAX; reading.statements.len()];
        for (turn, statement) in order.iter().enumerate() {
            turns[*statement] = turn;
        }
        let (ranks, block_ends) = order_of_rows(&places, &reading.statements, &turns);
        let name = name.to_owned();
        Ok(Prepared { name, content, options, reading, zone, order, turns, ranks, block_ends })
    }

    /// The statements in the order of the file.
    pub fn statements(&self) -> &[Statement] {
        &self.reading.statements
    }

    /// Oddities of the file as a whole.
    pub fn notes(&self) -> &[String] {
        &self.reading.notes
    }

    /// The numbers of the statements with an account, in the order in which their rows come.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The first and the last day that the file speaks of, by which files are read in order.
    pub fn days(&self) -> (Option<NaiveDate>, Option<NaiveDate>) {
        let statements = || self.order.iter().map(|index| &self.reading.statements[*index]);
        (statements().filter_map(|one| one.from).min(), statements().filter_map(|one| one.until).max())
    }

    /// The bytes of the file that are in memory.
    pub fn len_bytes(&self) -> usize {
        self.content.len_bytes()
    }

    /// Reads the rows of one block, in order.
    fn block(&self, number: usize) -> Result<VecDeque<(usize, FileRow)>, Refusal> {
        let end = self.block_ends[number];
        let start = number.checked_sub(1).map_or(0, |before| self.block_ends[before]);
        let mut slots: Vec<Option<(usize, FileRow)>> = Vec::new();
        slots.resize_with((end - start) as usize, || None);
        let mut at = 0;
        self.content.rows(&self.name, &self.options, &self.reading, &mut |statement, row| {
            let rank = self.ranks.get(at).copied().unwrap_or(u32::MAX);
            at += 1;
            if (start..end).contains(&rank) {
                slots[(rank - start) as usize] = Some((statement, row));
            }
        })?;
        Ok(slots.into_iter().flatten().collect())
    }
}

/// The statements that have an account and a currency, the oldest first.
fn order_of_statements(statements: &[Statement]) -> Vec<usize> {
    let named = |one: &Statement| one.account.is_some() && one.currency.is_some();
    let mut order: Vec<usize> = (0..statements.len()).filter(|index| named(&statements[*index])).collect();
    order.sort_by_key(|index| (statements[*index].from, statements[*index].until));
    order
}

/// The rank of each row, and the ranks at which blocks end.
fn order_of_rows(places: &[Place], statements: &[Statement], turns: &[usize]) -> (Vec<u32>, Vec<u32>) {
    let mut sorted: Vec<u32> = (0..u32::try_from(places.len()).unwrap_or(u32::MAX)).collect();
    sorted.sort_by_key(|at| {
        let place = &places[*at as usize];
        let newest_first = statements.get(place.statement).is_some_and(|one| one.newest_first);
        let within = if newest_first { -i64::from(*at) } else { i64::from(*at) };
        (turns.get(place.statement).copied(), place.seconds, within)
    });
    let (mut ranks, mut ends, mut weight) = (vec![0; places.len()], Vec::new(), 0);
    for (rank, at) in (0u32..).zip(&sorted) {
        ranks[*at as usize] = rank;
        weight += places[*at as usize].weight;
        if weight >= BLOCK_BYTES {
            ends.push(rank + 1);
            weight = 0;
        }
    }
    if weight > 0 {
        ends.push(u32::try_from(places.len()).unwrap_or(u32::MAX));
    }
    (ranks, ends)
}

/// The memory that a row takes.
fn weight(row: &FileRow) -> usize {
    let texts = [&row.counterparty, &row.counterparty_account, &row.description, &row.reference, &row.kind, &row.raw];
    size_of::<FileRow>() + texts.iter().map(|text| text.len() + 16).sum::<usize>()
}

/// Why the store cannot take a row.
fn why_unfit(row: &FileRow, weight: usize) -> Option<String> {
    if !is_in_bounds(row.amount) {
        return Some(format!("the amount {} has more than fifteen digits before the point", row.amount));
    }
    (weight > LONGEST_ROW_BYTES).then(|| format!("its texts are longer than {} KiB", LONGEST_ROW_BYTES >> 10))
}

/// The rows of a file in order, with their ids.
pub struct RowReader {
    prepared: Arc<Prepared>,
    block: VecDeque<(usize, FileRow)>,
    next_block: usize,
    /// The listings that the file consists of, by the number of the document and the account.
    listings: HashMap<(usize, String), (Occurrences, Repeats)>,
}

impl RowReader {
    /// Begins before the first row.
    pub fn new(prepared: Arc<Prepared>) -> RowReader {
        RowReader { prepared, block: VecDeque::new(), next_block: 0, listings: HashMap::new() }
    }

    /// The next row of this statement; `None`: its rows are over. Statements come in the order of the file's rows.
    pub fn next(&mut self, statement: usize) -> Result<Option<Row>, Refusal> {
        loop {
            if self.block.is_empty() {
                if self.next_block >= self.prepared.block_ends.len() {
                    return Ok(None);
                }
                self.block = self.prepared.block(self.next_block)?;
                self.next_block += 1;
                continue;
            }
            match self.block.front() {
                Some((of, _)) if *of == statement => {}
                // Rows of an earlier statement that nobody has asked for.
                Some((of, _)) if self.prepared.turns[*of] < self.prepared.turns[statement] => {
                    self.block.pop_front();
                    continue;
                }
                _ => return Ok(None),
            }
            let Some((_, row)) = self.block.pop_front() else { continue };
            if let Some(row) = self.named(statement, row) {
                return Ok(Some(row));
            }
        }
    }

    /// The row with its id; `None`: the listing holds the row already.
    fn named(&mut self, statement: usize, row: FileRow) -> Option<Row> {
        let of = &self.prepared.reading.statements[statement];
        let account = of.account.clone().unwrap_or_default();
        let (occurrences, repeats) = self.listings.entry((of.document, account.clone())).or_default();
        if repeats.holds(&account, &row) {
            return None;
        }
        let id = identity::id(occurrences, &account, &row);
        // Balances of some rows alone, or of rows in no order, are not the balances after the rows.
        let has_chain = of.opening.is_some() || of.adds_up.is_some();
        Some(Row {
            id,
            time: moment(row.date, row.time, self.prepared.zone),
            date: row.date,
            value_date: row.value_date,
            amount: row.amount,
            currency: row.currency,
            balance: row.balance.filter(|balance| has_chain && is_in_bounds(*balance)),
            counterparty: row.counterparty,
            counterparty_account: row.counterparty_account,
            description: row.description,
            kind: row.kind,
            kind_code: row.code,
            reference: row.reference,
            raw: row.raw,
        })
    }
}

/// The instant of an entry: as written where the file has a time, else the beginning of the day in `zone`.
fn moment(date: NaiveDate, clock: Option<Clock>, zone: Tz) -> DateTime<FixedOffset> {
    let time = clock.map_or(NaiveTime::MIN, |clock| clock.time);
    let written = date.and_time(time.with_nanosecond(0).unwrap_or(time));
    if let Some(offset) = clock.and_then(|clock| clock.offset)
        && let Some(time) = offset.from_local_datetime(&written).single()
    {
        return time;
    }
    // In some zones the clocks go forward at midnight, so that the day begins an hour later.
    let local = |time| zone.from_local_datetime(&time).earliest();
    let found = local(written).or_else(|| local(written + TimeDelta::hours(1)));
    found.map_or_else(|| written.and_utc().fixed_offset(), |time| time.fixed_offset())
}
