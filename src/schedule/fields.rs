//! The fields of a crontab line, read the way crontab(5) describes them and turned into plain lists of numbers that the
//! `cron` crate understands without interpretation of its own. The module knows no clock.

use std::collections::BTreeSet;

/// A parsed line: the allowed values of each field, as the `cron` crate writes them.
#[derive(Debug)]
pub(super) struct Fields {
    second: String,
    minute: String,
    hour: String,
    day: String,
    month: String,
    weekday: String,
    /// Day of month and weekday are both restricted: either is enough.
    day_or_weekday: bool,
    /// The hour field starts with `*`.
    pub every_hour: bool,
}

/// The range and the names that a field accepts.
struct Unit {
    name: &'static str,
    least: u32,
    greatest: u32,
    /// Names of the values from `least` on; three letters are enough.
    names: &'static [&'static str],
}

const SECOND: Unit = Unit { name: "second", least: 0, greatest: 59, names: &[] };
const MINUTE: Unit = Unit { name: "minute", least: 0, greatest: 59, names: &[] };
const HOUR: Unit = Unit { name: "hour", least: 0, greatest: 23, names: &[] };
const DAY: Unit = Unit { name: "day of month", least: 1, greatest: 31, names: &[] };
const MONTH: Unit = Unit {
    name: "month",
    least: 1,
    greatest: 12,
    names: &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ],
};
const WEEKDAY: Unit = Unit {
    name: "weekday",
    least: 0,
    greatest: 7,
    names: &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"],
};

/// Words for whole lines, in the order in which an error lists them.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Reads five or six fields, or a word.
pub(super) fn parse(text: &str) -> Result<Fields, String> {
    let mut fields: Vec<&str> = text.split_whitespace().collect();
    if let [word] = fields[..]
        && word.starts_with('@')
    {
        let found = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let (_, line) = found.ok_or_else(|| {
            let known: Vec<&str> = WORDS.iter().map(|(name, _)| *name).collect();
            let (last, others) = (known[known.len() - 1], known[..known.len() - 1].join(", "));
            format!("`{}` is not supported, expected {others} or {last}", word.escape_debug())
        })?;
        fields = line.split_whitespace().collect();
    }
    let (second, [minute, hour, day, month, weekday]) = match fields[..] {
        [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
        [second, minute, hour, day, month, weekday] => (second, [minute, hour, day, month, weekday]),
        _ => {
            let found = if fields.is_empty() { "nothing".into() } else { plural(fields.len(), "field") };
            return Err(format!(
                "expected five fields (minute, hour, day of month, month, weekday), six with seconds first, or a word like @daily; found {found}"
            ));
        }
    };
    Ok(Fields {
        second: SECOND.read(second)?,
        minute: MINUTE.read(minute)?,
        hour: HOUR.read(hour)?,
        day: DAY.read(day)?,
        month: MONTH.read(month)?,
        weekday: WEEKDAY.read(weekday)?,
        day_or_weekday: !day.starts_with('*') && !weekday.starts_with('*'),
        every_hour: hour.starts_with('*'),
    })
}

impl Fields {
    /// Lines for the `cron` crate; the earliest match of any of them counts.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |day: &str, weekday: &str| {
            format!("{} {} {} {day} {} {weekday}", self.second, self.minute, self.hour, self.month)
        };
        if self.day_or_weekday {
            vec![line(&self.day, "*"), line("*", &self.weekday)]
        } else {
            vec![line(&self.day, &self.weekday)]
        }
    }
}

impl Unit {
    /// A field as a list of numbers, or `*` where it allows everything.
    fn read(&self, field: &str) -> Result<String, String> {
        let mut values = BTreeSet::new();
        for part in field.split(',') {
            if part.is_empty() {
                return Err(format!("{}: a value is missing next to a comma", self.name));
            }
            values.extend(self.part(part)?);
        }
        if values.len() == self.different() as usize {
            return Ok("*".into());
        }
        // The crate counts weekdays from 1.
        let first_weekday = u32::from(self.is_weekday());
        Ok(values.iter().map(|value| (value + first_weekday).to_string()).collect::<Vec<_>>().join(","))
    }

    /// `*`, `n`, `n-m`, each with or without `/step`.
    fn part(&self, part: &str) -> Result<Vec<u32>, String> {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => {
                let longest = self.different();
                let step = number(step).filter(|step| (1..=longest).contains(step)).ok_or_else(|| {
                    let part = part.escape_debug();
                    format!(
                        "{}: `{part}` has no step, expected a number from 1 to {longest} after the slash",
                        self.name
                    )
                })?;
                (range, Some(step))
            }
        };
        let (first, last) = match range.split_once('-') {
            None if range == "*" => (self.least, self.greatest),
            None => {
                let first = self.value(range)?;
                // `20/15` means from 20 on, as in newer crons; a number alone means itself.
                (first, if step.is_some() { self.greatest } else { first })
            }
            Some((from, to)) => (self.value(from)?, self.value(to)?),
        };
        let length = match last.checked_sub(first) {
            Some(length) => length,
            // The week goes round; elsewhere a range that runs backwards is refused, as cron does.
            None if self.is_weekday() => last + 7 - first,
            None => return Err(self.backwards(range)),
        };
        let values = (0..=length).step_by(step.unwrap_or(1) as usize).map(|distance| first + distance);
        Ok(values.map(|value| if self.is_weekday() { value % 7 } else { value }).collect())
    }

    /// A number or a name.
    fn value(&self, text: &str) -> Result<u32, String> {
        let shown = text.escape_debug();
        let Some(value) = number(text) else {
            let lower = text.to_ascii_lowercase();
            let named = |name: &&str| name[..3] == lower || **name == lower;
            return match (self.names.iter().position(named), self.names) {
                (Some(at), _) => Ok(self.least + at as u32),
                (None, []) => Err(format!("{}: `{shown}` is not a number", self.name)),
                (None, names) => {
                    Err(format!("{}: `{shown}` is neither a number nor a name such as {}", self.name, &names[1][..3]))
                }
            };
        };
        if (self.least..=self.greatest).contains(&value) {
            return Ok(value);
        }
        let remark = if self.is_weekday() { " (0 and 7 are Sunday)" } else { "" };
        Err(format!("{}: `{shown}` is not between {} and {}{remark}", self.name, self.least, self.greatest))
    }

    fn backwards(&self, range: &str) -> String {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (name, least, greatest) = (self.name, self.least, self.greatest);
        format!("{name}: the range `{range}` runs backwards, write `{from}-{greatest},{least}-{to}`")
    }

    /// Number of different values: 0 and 7 are the same day.
    fn different(&self) -> u32 {
        if self.is_weekday() { 7 } else { self.greatest - self.least + 1 }
    }

    fn is_weekday(&self) -> bool {
        self.name == WEEKDAY.name
    }
}

/// Reads digits only: no sign, no blank, no overflow.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
