//! The charts with their sums and footnotes. Words or a table repeat the values of every chart.

use std::fmt::Write;

use rust_decimal::Decimal;

use super::in_fours;
use crate::figures::{Balance, Flow, Share, Shares};
use crate::model::{minus, total};
use crate::web::chart::{self, Caption, Group};
use crate::web::html::{E, count, sum};
use crate::web::page::View;

/// The section of all charts.
pub(super) fn charts(view: &View) -> String {
    let (words, figures) = (view.words, &view.figures);
    let mut html = format!("<section aria-labelledby=\"charts\"><h2 id=\"charts\">{}</h2>", words.figures);
    if figures.units.is_empty() {
        return html + &format!("<p>{}</p></section>", words.nothing_here);
    }
    let Flow { debit, credit, fees } = figures.total;
    html += "<dl class=\"sums\">";
    for (class, name, amount) in [
        ("in", words.money_in, credit),
        ("out", words.money_out, debit),
        ("", words.difference, minus(credit, debit)),
        ("", words.fees, fees),
    ] {
        let _ = write!(
            html,
            "<div><dt class=\"{class}\">{name}</dt><dd>{} <span>{}</span></dd></div>",
            sum(amount, words.language),
            E(&figures.unit)
        );
    }
    html += "</dl><div class=\"charts\">";
    html += &flow_chart(view);
    html += &balance_chart(view);
    let by = if figures.by_rules { words.by_category } else { words.by_kind };
    let no_category = if figures.by_rules { words.no_category } else { words.no_name };
    html += &shares_chart(view, "categories", by, &figures.categories, "out", no_category);
    html += &shares_chart(view, "paid", words.paid_to, &figures.paid_to, "out", words.no_name);
    html += &shares_chart(view, "received", words.received_from, &figures.received_from, "in", words.no_name);
    html += &fees_chart(view);
    html += "</div>";
    html + &footnotes(view) + "</section>"
}

/// Notes on the rows that the charts leave out, and on the exchange rate.
fn footnotes(view: &View) -> String {
    let (words, figures) = (view.words, &view.figures);
    let mut notes = Vec::new();
    if figures.own_transfers > 0 {
        notes.push(format!("{} {}.", words.own_transfers, count(figures.own_transfers, words.language)));
    }
    if !figures.impossible.is_empty() {
        notes.push(format!("{} <bdi>{}</bdi>.", words.impossible, E(&figures.impossible.join(", "))));
    }
    let others = figures.units.iter().filter(|(unit, _)| **unit != figures.unit);
    let others: Vec<String> = others
        .map(|(unit, rows)| {
            let address = view.asked.address(&[("currency", Some(unit))]);
            format!("<a href=\"{}\">{}</a> ({})", E(&address), E(unit), count(*rows, words.language))
        })
        .collect();
    if !others.is_empty() {
        notes.push(format!("{} {}.", words.other_units, others.join(", ")));
    }
    if figures.unit == "EUR"
        && view.accounts.iter().any(|stored| {
            stored.account.currency == "BGN" || stored.former_currencies.iter().any(|(_, code)| code == "BGN")
        })
    {
        notes.push(words.in_euros.to_owned());
    }
    if notes.is_empty() { String::new() } else { format!("<p class=\"quiet\">{}</p>", notes.join(" ")) }
}

/// The periods with a value for each series.
fn groups(view: &View, values: impl Fn(&Flow) -> Vec<Decimal>) -> Vec<Group> {
    let mut year = None;
    let periods = view.figures.periods.iter().map(|(period, flow)| {
        let (label, name) = match period.month {
            Some(month) => {
                let month = view.words.months[(month as usize).clamp(1, 12) - 1];
                (month.to_owned(), format!("{month} {}", period.year))
            }
            None => (period.year.to_string(), period.year.to_string()),
        };
        let is_new = period.month.is_some() && year.replace(period.year) != Some(period.year);
        let sublabel = if is_new { period.year.to_string() } else { String::new() };
        Group { label, sublabel, name, values: values(flow) }
    });
    periods.collect()
}

fn flow_chart(view: &View) -> String {
    let (words, figures) = (view.words, &view.figures);
    let by_year = figures.periods.first().is_some_and(|(period, _)| period.month.is_none());
    let title = if by_year { words.by_year } else { words.by_month };
    let series = [("in", words.money_in), ("out", words.money_out)];
    let groups = groups(view, |flow| vec![flow.credit, flow.debit]);
    let key = "<p class=\"key\"><span class=\"in\">".to_owned()
        + words.money_in
        + "</span> <span class=\"out\">"
        + words.money_out
        + "</span></p>";
    column_chart(view, "flow", title, &series, &groups, &key)
}

fn fees_chart(view: &View) -> String {
    let words = view.words;
    let groups = groups(view, |flow| vec![flow.fees]);
    column_chart(view, "fees", words.fees_over_time, &[("out", words.fees)], &groups, "")
}

fn column_chart(
    view: &View,
    id: &str,
    title: &str,
    series: &[chart::Series<'_>],
    groups: &[Group],
    key: &str,
) -> String {
    let (words, unit) = (view.words, view.figures.unit.as_str());
    if groups.iter().all(|group| group.values.iter().all(Decimal::is_zero)) {
        return figure(id, title, &format!("<p>{}</p>", words.nothing_here));
    }
    let of = |at: usize| total(groups.iter().map(|group| group.values[at]));
    let sums =
        series.iter().enumerate().map(|(at, (_, name))| format!("{name}: {} {unit}", sum(of(at), words.language)));
    let ends = [groups.first(), groups.last()].map(|group| group.map_or("", |group| &group.name));
    let description = format!("{} – {}. {}", ends[0], ends[1], sums.collect::<Vec<_>>().join("; "));
    let caption = Caption { id, title, description: &description, language: words.language, unit };
    let mut table = format!("<table><thead><tr><th scope=\"col\">{}</th>", words.period);
    series.iter().for_each(|(_, name)| table += &format!("<th scope=\"col\" class=\"number\">{name}</th>"));
    table += "</tr></thead><tbody>";
    for group in groups {
        let _ = write!(table, "<tr><th scope=\"row\">{}</th>", E(&group.name));
        group
            .values
            .iter()
            .for_each(|value| table += &format!("<td class=\"number\">{}</td>", sum(*value, words.language)));
        table += "</tr>";
    }
    table += "</tbody></table>";
    let drawn = chart::columns(&caption, series, groups);
    figure(id, title, &format!("{key}{drawn}<details><summary>{}</summary>{table}</details>", words.as_table))
}

fn figure(id: &str, title: &str, inside: &str) -> String {
    format!("<figure aria-labelledby=\"{id}\"><h3 id=\"{id}\">{title}</h3>{inside}</figure>")
}

fn balance_chart(view: &View) -> String {
    let (words, unit) = (view.words, view.figures.unit.as_str());
    let name = |balance: &Balance| {
        if balance.name.is_empty() { in_fours(&balance.account) } else { balance.name.clone() }
    };
    // The largest first, and only as many as can be told apart.
    let mut balances: Vec<&Balance> = view.figures.balances.iter().collect();
    let last = |balance: &Balance| balance.days.last().map(|(_, amount)| *amount).unwrap_or_default();
    balances.sort_by_key(|balance| std::cmp::Reverse(last(balance)));
    balances.truncate(chart::STYLES);
    let title = words.balances_over_time;
    if balances.is_empty() {
        return figure("balances", title, &format!("<p>{}</p>", words.nothing_here));
    }
    let (mut key, mut said) = (String::from("<ul class=\"key\">"), Vec::new());
    for (at, balance) in balances.iter().enumerate() {
        let amount = sum(last(balance), words.language);
        let _ = write!(
            key,
            "<li>{} <bdi>{}</bdi> <span class=\"quiet\">{amount} {}</span></li>",
            chart::swatch(at),
            E(&name(balance)),
            E(unit)
        );
        said.push(format!("{}: {amount} {unit}", name(balance)));
    }
    key += "</ul>";
    let description = said.join("; ");
    let caption = Caption { id: "balances", title, description: &description, language: words.language, unit };
    let lines: Vec<_> = balances.iter().map(|balance| (name(balance), balance.days.clone())).collect();
    figure("balances", title, &format!("{}{key}", chart::lines(&caption, &lines)))
}

fn shares_chart(view: &View, id: &str, title: &str, shares: &Shares, class: &str, no_name: &str) -> String {
    let words = view.words;
    if shares.largest.is_empty() {
        return figure(id, title, &format!("<p>{}</p>", words.nothing_here));
    }
    let largest = shares.largest.iter().chain(&shares.rest).map(|share| share.amount).max().unwrap_or_default();
    let mut html = format!(
        "<table class=\"shares\" aria-labelledby=\"{id}\"><thead class=\"unseen\"><tr><th scope=\"col\">{}</th><th scope=\"col\">{}, {}</th></tr></thead><tbody>",
        words.name,
        words.amount,
        E(&view.figures.unit)
    );
    let mut row = |name: &str, share: &Share| {
        let _ = write!(
            html,
            "<tr><th scope=\"row\"><bdi>{}</bdi> <span class=\"quiet\">×{}</span>{}</th><td class=\"number\">{}</td></tr>",
            E(name),
            count(share.count, words.language),
            chart::bar(class, share.amount, largest),
            sum(share.amount, words.language)
        );
    };
    for share in &shares.largest {
        row(if share.name.is_empty() { no_name } else { &share.name }, share);
    }
    shares.rest.iter().for_each(|share| row(words.rest, share));
    html += "</tbody></table>";
    figure(id, title, &html)
}
