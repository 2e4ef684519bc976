//! Charts as SVG: columns, lines, and bars beside names. A chart has a title and a description for screen readers, and
//! every mark has a value for the pointer. Colours come from the page's style, by class.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::html::{E, sum};
use crate::model::Language;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 240.0;
/// Room for the numbers at the left, for air at the top and right, for two lines of words below.
const LEFT: f64 = 68.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 8.0;
const BOTTOM: f64 = 38.0;

/// Points of a line; more would be finer than a pixel.
const POINTS: usize = 240;

/// Kinds of line that can be told apart.
pub(super) const STYLES: usize = 6;

/// The names of a chart.
pub(super) struct Caption<'a> {
    /// Unique in the page.
    pub id: &'a str,
    pub title: &'a str,
    pub description: &'a str,
    pub language: Language,
    pub unit: &'a str,
}

/// A group of columns: its word below, its year below that, its full name, and one value per series.
pub(super) struct Group {
    pub label: String,
    pub sublabel: String,
    pub name: String,
    pub values: Vec<Decimal>,
}

/// A series: the class that colours it, and its name.
pub(super) type Series<'a> = (&'a str, &'a str);

/// Columns side by side.
pub(super) fn columns(caption: &Caption<'_>, series: &[Series<'_>], groups: &[Group]) -> String {
    let highest = groups.iter().flat_map(|group| &group.values).copied().max().unwrap_or_default();
    let scale = Scale::new(0.0, pixels(highest));
    let mut svg = open(caption);
    svg += &scale.grid(caption.language);
    let step = (WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64;
    let width = (step * 0.72 / series.len().max(1) as f64).min(34.0);
    let every = groups.len().div_ceil(14).max(1);
    for (at, group) in groups.iter().enumerate() {
        let middle = LEFT + step * (at as f64 + 0.5);
        for (place, ((class, name), value)) in series.iter().zip(&group.values).enumerate() {
            let left = middle + width * (place as f64 - series.len() as f64 / 2.0);
            let top = scale.y(pixels(*value));
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}, {}: {} {}</title></rect>",
                width - 1.0,
                scale.y(0.0) - top,
                E(&group.name),
                E(name),
                sum(*value, caption.language),
                E(caption.unit)
            );
        }
        if at % every == 0 {
            let bottom = HEIGHT - BOTTOM;
            let _ = write!(
                svg,
                "<text class=\"x\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text><text class=\"x\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 15.0,
                E(&group.label),
                bottom + 30.0,
                E(&group.sublabel)
            );
        }
    }
    svg + "</svg>"
}

/// Values that hold until the next one, one line per name.
pub(super) fn lines(caption: &Caption<'_>, lines: &[(String, Vec<(NaiveDate, Decimal)>)]) -> String {
    let days = || lines.iter().flat_map(|(_, points)| points).map(|(day, _)| *day);
    let values = || lines.iter().flat_map(|(_, points)| points).map(|(_, value)| pixels(*value));
    let (Some(first), Some(last)) = (days().min(), days().max()) else { return String::new() };
    let scale = Scale::new(values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    let span = (last - first).num_days().max(1) as f64;
    let x = |day: NaiveDate| LEFT + (WIDTH - LEFT - RIGHT) * (day - first).num_days() as f64 / span;
    let mut svg = open(caption);
    svg += &scale.grid(caption.language);
    for (at, (name, points)) in lines.iter().enumerate() {
        let mut path = String::new();
        let kept = points.len().div_ceil(POINTS).max(1);
        for (number, (day, value)) in points.iter().enumerate() {
            // The last one of each handful, so that the line ends where the account stands.
            if number % kept != 0 && number + 1 != points.len() {
                continue;
            }
            let y = scale.y(pixels(*value));
            let _ = if path.is_empty() {
                write!(path, "M{:.1} {y:.1}", x(*day))
            } else {
                write!(path, "H{:.1}V{y:.1}", x(*day))
            };
        }
        let _ = write!(
            svg,
            "<path class=\"line line{}\" d=\"{path}H{:.1}\"><title>{}</title></path>",
            at % STYLES,
            WIDTH - RIGHT,
            E(name)
        );
    }
    svg += &months(first, last, x);
    svg + "</svg>"
}

/// A few dates below a time axis, on firsts of months.
fn months(first: NaiveDate, last: NaiveDate, x: impl Fn(NaiveDate) -> f64) -> String {
    let index = |day: NaiveDate| day.year() * 12 + day.month0() as i32;
    let every = (index(last) - index(first) + 5).div_euclid(6).max(1);
    let mut text = String::new();
    for at in (index(first) + 1)..=index(last) {
        let day = NaiveDate::from_ymd_opt(at.div_euclid(12), at.rem_euclid(12) as u32 + 1, 1);
        if let Some(day) = day.filter(|_| (at - index(first) - 1) % every == 0) {
            let (x, y) = (x(day), HEIGHT - BOTTOM);
            let _ = write!(
                text,
                "<path class=\"grid\" d=\"M{x:.1} {y:.1}v5\"/><text class=\"x\" x=\"{x:.1}\" y=\"{:.1}\">{:02}.{}</text>",
                y + 18.0,
                day.month(),
                day.year()
            );
        }
    }
    text
}

/// A bar, as wide as its share of the largest. The number is beside the bar, so screen readers skip it.
pub(super) fn bar(class: &str, value: Decimal, largest: Decimal) -> String {
    let share = if largest.is_zero() { 0.0 } else { pixels(value) / pixels(largest) * 100.0 };
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"{class}\" width=\"{share:.1}\" height=\"10\"/></svg>"
    )
}

/// The key to a line.
pub(super) fn swatch(at: usize) -> String {
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 26 10\" aria-hidden=\"true\" focusable=\"false\"><path class=\"line line{}\" d=\"M1 5H25\"/></svg>",
        at % STYLES
    )
}

fn open(caption: &Caption<'_>) -> String {
    let Caption { id, title, description, .. } = caption;
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\"><title id=\"{id}-title\">{}</title><desc id=\"{id}-desc\">{}</desc>",
        E(title),
        E(description)
    )
}

/// The last step before the picture: nothing is added up after it.
fn pixels(amount: Decimal) -> f64 {
    amount.to_f64().unwrap_or_default()
}

/// The vertical axis, with round numbers on it.
struct Scale {
    lowest: f64,
    highest: f64,
    step: f64,
}

impl Scale {
    fn new(lowest: f64, highest: f64) -> Scale {
        let span = (highest - lowest).max(1.0);
        let power = 10_f64.powf((span / 4.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|round| round * power);
        let step = step.into_iter().find(|step| span / step <= 4.5).unwrap_or(power * 10.0);
        let floor = (lowest / step).floor() * step;
        Scale { lowest: floor, highest: ((highest / step).ceil() * step).max(floor + step), step }
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.lowest) / (self.highest - self.lowest);
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }

    fn grid(&self, language: Language) -> String {
        let mut text = String::new();
        let steps = ((self.highest - self.lowest) / self.step).round() as usize;
        for at in 0..=steps {
            let value = self.lowest + self.step * at as f64;
            let y = self.y(value);
            let class = if value.abs() < self.step / 1000.0 { "grid zero" } else { "grid" };
            let _ = write!(
                text,
                "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{:.1}\"/><text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                tick(value, self.step, language)
            );
        }
        text
    }
}

/// A number on the axis: whole where the steps are.
fn tick(value: f64, step: f64, language: Language) -> String {
    let places = if step.fract() == 0.0 { 0 } else { 2 };
    let amount = Decimal::try_from(value).unwrap_or_default().round_dp(places);
    let mut text = sum(amount, language);
    if places == 0 {
        text.truncate(text.len() - 3);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption<'a>() -> Caption<'a> {
        Caption { id: "c", title: "A & B", description: "<x>", language: Language::En, unit: "EUR" }
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn columns_stand_on_zero_and_reach_their_value() {
        let group = |value: &str| Group {
            label: "Jan".into(),
            sublabel: String::new(),
            name: "Jan \"26".into(),
            values: vec![value.parse().unwrap(), Decimal::ZERO],
        };
        let svg = columns(&caption(), &[("in", "In"), ("out", "Out")], &[group("400"), group("200")]);
        assert!(svg.contains("<title id=\"c-title\">A &amp; B</title><desc id=\"c-desc\">&lt;x&gt;</desc>"), "{svg}");
        let full = HEIGHT - BOTTOM - TOP;
        assert!(svg.contains(&format!("height=\"{full:.1}\"><title>Jan &quot;26, In: 400.00 EUR")), "{svg}");
        assert!(svg.contains(&format!("height=\"{:.1}\"", full / 2.0)), "{svg}");
    }

    #[test]
    fn lines_hold_their_value_until_the_next_and_may_be_negative() {
        let points = vec![(day("2026-01-01"), "-100".parse().unwrap()), (day("2026-01-11"), "100".parse().unwrap())];
        let svg = lines(&caption(), &[("<b>".into(), points)]);
        let plot = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        assert!(svg.contains(&format!("d=\"M{LEFT:.1} {:.1}H{:.1}V{TOP:.1}H{:.1}\"", plot.1, plot.0, plot.0)), "{svg}");
        assert!(svg.contains("<title>&lt;b&gt;</title>") && svg.contains("grid zero"));
        assert_eq!(lines(&caption(), &[]), "");
    }

    #[test]
    fn a_scale_has_few_round_steps() {
        for (lowest, highest) in
            [(0.0, 0.0), (0.0, 0.04), (0.0, 9.99), (0.0, 1234.0), (-70.0, 12.0), (-5.0, 0.0), (0.0, 1e9)]
        {
            let scale = Scale::new(lowest, highest);
            let steps = (scale.highest - scale.lowest) / scale.step;
            assert!(scale.lowest <= lowest && scale.highest >= highest && (1.0..=6.0).contains(&steps.round()));
        }
    }
}
