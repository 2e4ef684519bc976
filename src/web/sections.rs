//! The parts of the page as HTML. Every text that is not from `words` goes through [`E`]; the bank's and the services'
//! words stand in `<bdi>`, so that letters that run the other way turn nothing around them.

use std::fmt::Write;

use chrono::DateTime;
use rust_decimal::Decimal;

use super::causes;
use super::html::{E, count, date, moment, money};
use super::page::View;
use super::words::Words;
use crate::commands::status::{DoubtfulStatus, ServiceStatus, SourceStatus};
use crate::model::{Direction, Transaction};
use crate::remote::Cause;
use crate::sync::{Outcome, Report};

mod charts;

/// Everything between `<body>` and `</body>`.
pub(super) fn page(view: &View) -> String {
    let words = view.words;
    let mut html = format!("<a class=\"skip\" href=\"#transactions\">{}</a>{}<main>", words.skip, header(view));
    html += &notices(view);
    html += &accounts(view);
    html += &filters(view);
    html += &charts::charts(view);
    html += &transactions(view);
    html += &services(view);
    html += &runs(view);
    html + "</main>"
}

fn header(view: &View) -> String {
    let words = view.words;
    let (code, name) = words.other;
    let other = view.asked.address(&[("lang", Some(code))]);
    let mut html = format!(
        "<header><h1>bankfeed</h1><nav><a href=\"{}\" lang=\"{code}\" hreflang=\"{code}\">{name}</a>",
        E(&other)
    );
    if !view.form_proof.is_empty() {
        let _ = write!(
            html,
            "<form method=\"post\" action=\"/sign-out\">{}<button>{}</button></form>",
            proof(view),
            words.sign_out
        );
    }
    html + "</nav></header>"
}

/// The hidden field that shows where a form comes from.
fn proof(view: &View) -> String {
    format!("<input type=\"hidden\" name=\"form_proof\" value=\"{}\">", E(&view.form_proof))
}

/// The troubles that need the owner, and the button.
fn notices(view: &View) -> String {
    let words = view.words;
    let mut html = String::new();
    let attentions: Vec<_> = view.status.services().filter_map(|service| Some((service.attention?, service))).collect();
    if !attentions.is_empty() {
        let _ = write!(
            html,
            "<section class=\"attention\" aria-labelledby=\"attention\"><h2 id=\"attention\">{}</h2><ul>",
            words.attention
        );
        for (attention, service) in &attentions {
            let what = kind(words, service);
            let _ = write!(
                html,
                "<li><strong>{what} <bdi>{}</bdi></strong>: {}</li>",
                E(service.name),
                causes::attention(words, service.is_source, service.name, attention)
            );
        }
        html += "</ul>";
        html += &try_again(view);
        html += "</section>";
    }
    let failing: Vec<String> = view
        .status
        .services()
        .filter(|service| service.attention.is_none())
        .filter_map(|service| {
            let told = causes::failure(words, service.name, service.error?, latest_cause(view, service.name));
            Some(format!("<li>{} <bdi>{}</bdi>: {told}</li>", kind(words, &service), E(service.name)))
        })
        .collect();
    if !failing.is_empty() {
        let _ = write!(
            html,
            "<section class=\"failing\" aria-labelledby=\"failing\"><h2 id=\"failing\">{}</h2><ul>{}</ul></section>",
            words.failed_later,
            failing.concat()
        );
    }
    html + &run_now(view)
}

/// The button that says that the owner has acted, where a source waits for that.
fn try_again(view: &View) -> String {
    let waits = |cause: Cause| cause.blocks_schedule() && !cause.needs_new_config();
    let is_waiting = |source: &SourceStatus| source.attention.as_ref().is_some_and(|attention| waits(attention.cause));
    if !view.status.sources.iter().any(is_waiting) {
        return String::new();
    }
    let disabled = if view.is_running { " disabled" } else { "" };
    format!(
        "<form method=\"post\" action=\"/api/sync\">{}<input type=\"hidden\" name=\"lang\" value=\"{}\">\
         <input type=\"hidden\" name=\"retry\" value=\"true\"><button{disabled}>{}</button></form>",
        proof(view),
        E(view.asked.language.as_deref().unwrap_or_default()),
        view.words.try_again
    )
}

fn run_now(view: &View) -> String {
    let words = view.words;
    let is_well = view.status.services().all(|service| {
        service.attention.is_none() && service.error.is_none() && service.waiting == 0 && service.last_success.is_some()
    });
    let state = if view.is_running {
        format!("<p role=\"status\" class=\"running\">{}</p>", words.running)
    } else if is_well {
        format!("<p class=\"well\">{}</p>", words.all_well)
    } else {
        String::new()
    };
    let last = view.runs.first().map_or(words.never.to_owned(), |run| moment(&run.started, words.language));
    let next = view.status.next_run.as_deref().map_or(words.none.to_owned(), |time| moment(time, words.language));
    let disabled = if view.is_running { " disabled" } else { "" };
    format!(
        "<section class=\"now\"><div>{state}<p class=\"quiet\">{}: {last} · {}: {next}</p></div>\
         <form method=\"post\" action=\"/api/sync\">{}<input type=\"hidden\" name=\"lang\" value=\"{}\">\
         <button class=\"main\"{disabled}>{}</button></form></section>",
        words.last_run,
        words.next_run,
        proof(view),
        E(view.asked.language.as_deref().unwrap_or_default()),
        words.sync_now
    )
}

fn accounts(view: &View) -> String {
    let words = view.words;
    let mut html = format!("<section aria-labelledby=\"accounts\"><h2 id=\"accounts\">{}</h2>", words.accounts);
    if view.status.accounts.is_empty() {
        return html + &format!("<p>{}</p></section>", words.no_accounts);
    }
    html += "<ul class=\"tiles\">";
    for account in &view.status.accounts {
        let known = view.accounts.iter().find(|known| known.account.account == account.account);
        let name = known.map_or("", |known| known.account.name.as_str());
        let customer = known.map_or("", |known| known.account.customer.as_str());
        let balance: Option<Decimal> = account.balance.as_deref().and_then(|balance| balance.parse().ok());
        let balance = balance.map_or("–".to_owned(), |balance| money(balance, words.language));
        let (class, word) =
            if account.complete { ("complete", words.complete) } else { ("incomplete", words.incomplete) };
        let _ = write!(
            html,
            "<li><h3><bdi>{}</bdi></h3><p class=\"balance\">{balance} <span>{}</span></p><p class=\"quiet\">{}<br><bdi>{}</bdi></p><p class=\"{class}\">{word}</p>",
            E(if name.is_empty() { &account.account } else { name }),
            E(&account.currency),
            E(&in_fours(&account.account)),
            E(customer)
        );
        if let Some(problem) = &account.problem {
            let _ = write!(html, "<p class=\"problem\">{}</p>", causes::problem(words, known, problem));
        }
        if !account.doubtful.is_empty() {
            html += &doubtful(words, &account.doubtful);
        }
        html += "</li>";
    }
    html + "</ul></section>"
}

/// Rows of an account that are kept apart, with the commands that decide.
fn doubtful(words: &Words, rows: &[DoubtfulStatus]) -> String {
    let mut html = format!("<p class=\"problem\">{}</p><ul>", words.kept_apart);
    for row in rows {
        let _ = write!(
            html,
            "<li><bdi>{}</bdi><br><code>bankfeed match same {1} {2}</code><br><code>bankfeed match different {1}</code></li>",
            E(&row.text()),
            E(&row.id),
            E(row.candidates.first().map_or("", String::as_str))
        );
    }
    html + "</ul>"
}

/// An account number as it is printed on paper.
fn in_fours(account: &str) -> String {
    let letters: Vec<char> = account.chars().collect();
    letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

fn filters(view: &View) -> String {
    let (words, asked) = (view.words, &view.asked);
    let selection = &asked.selection;
    let day = |day: Option<chrono::NaiveDate>| day.map_or(String::new(), |day| day.to_string());
    let mut accounts = format!("<option value=\"\">{}</option>", words.all_accounts);
    for stored in &view.accounts {
        let account = &stored.account;
        let selected = selection.account.as_deref() == Some(&account.account);
        let label = if account.name.is_empty() { in_fours(&account.account) } else { account.name.clone() };
        let _ = write!(
            accounts,
            "<option value=\"{}\"{}>{}</option>",
            E(&account.account),
            if selected { " selected" } else { "" },
            E(&label)
        );
    }
    let misread =
        if asked.misread { format!("<p role=\"alert\" class=\"wrong\">{}</p>", words.bad_date) } else { String::new() };
    let mut html = format!(
        "<section aria-labelledby=\"filters\"><h2 id=\"filters\">{}</h2>{misread}<form class=\"filters\" method=\"get\" action=\"/\">\
         <p><label for=\"since\">{}</label><input id=\"since\" name=\"since\" type=\"date\" value=\"{}\"></p>\
         <p><label for=\"until\">{}</label><input id=\"until\" name=\"until\" type=\"date\" value=\"{}\"></p>\
         <p><label for=\"account\">{}</label><select id=\"account\" name=\"account\">{accounts}</select></p>\
         <p><label for=\"search\">{}</label><input id=\"search\" name=\"search\" type=\"search\" maxlength=\"200\" value=\"{}\"></p>",
        words.filters,
        words.from,
        day(selection.since),
        words.to,
        day(selection.until),
        words.account,
        words.search,
        E(selection.search.as_deref().unwrap_or_default())
    );
    if view.figures.units.len() > 1 {
        let _ = write!(
            html,
            "<p><label for=\"currency\">{}</label><select id=\"currency\" name=\"currency\">",
            words.currency
        );
        for unit in view.figures.units.keys() {
            let selected = if *unit == view.figures.unit { " selected" } else { "" };
            let _ = write!(html, "<option{selected}>{}</option>", E(unit));
        }
        html += "</select></p>";
    }
    if let Some(language) = &asked.language {
        let _ = write!(html, "<input type=\"hidden\" name=\"lang\" value=\"{}\">", E(language));
    }
    let language = asked.language.as_deref().map_or(String::new(), |language| format!("lang={language}"));
    html + &format!(
        "<p class=\"buttons\"><button>{}</button><a href=\"/?{language}\">{}</a><a href=\"{}\">{}</a></p></form></section>",
        words.apply,
        words.reset,
        E(&asked.address(&[("since", Some("")), ("until", None)])),
        words.whole_history
    )
}

fn transactions(view: &View) -> String {
    let (words, asked) = (view.words, &view.asked);
    let mut html = format!(
        "<section aria-labelledby=\"transactions\"><h2 id=\"transactions\" tabindex=\"-1\">{} <span class=\"quiet\">{}</span></h2>",
        words.transactions, words.shown
    );
    if view.rows.rows.is_empty() {
        return html + &format!("<p>{}</p></section>", words.nothing_here);
    }
    let _ = write!(
        html,
        "<table class=\"rows\" aria-labelledby=\"transactions\"><thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}, {}</th><th scope=\"col\" class=\"wide\">{}</th><th scope=\"col\" class=\"wide\">{}</th><th scope=\"col\" class=\"number\">{}</th><th scope=\"col\" class=\"number wide\">{}</th></tr></thead><tbody>",
        words.date,
        words.counterparty,
        words.description,
        if view.figures.by_rules { words.category } else { words.kind },
        words.account,
        words.amount,
        words.balance
    );
    view.rows.rows.iter().for_each(|(_, transaction)| html += &row(view, transaction));
    html += "</tbody></table><p class=\"buttons\">";
    if asked.cursor.is_some() {
        let _ = write!(html, "<a href=\"{}#transactions\">{}</a>", E(&asked.address(&[])), words.newest);
    }
    if let Some(next) = &view.rows.next {
        let address = asked.address(&[("cursor", Some(next))]);
        let _ = write!(html, "<a rel=\"next\" href=\"{}#transactions\">{}</a>", E(&address), words.older);
    }
    let csv = asked.address(&[("currency", None), ("lang", None)]).replacen("/?", "/api/transactions.csv?", 1);
    html + &format!("<a href=\"{}\" download>{}</a></p></section>", E(&csv), words.download)
}

fn row(view: &View, transaction: &Transaction) -> String {
    let (words, row) = (view.words, &transaction.row);
    let enrichment = &transaction.enrichment;
    let party = [&enrichment.vendor, &row.counterparty, &row.kind].into_iter().find(|text| !text.is_empty());
    let account = if transaction.account_name.is_empty() { &transaction.account } else { &transaction.account_name };
    let category = if view.figures.by_rules { &enrichment.category } else { &row.kind };
    let told = [&**account, category.as_str()].into_iter().filter(|text| !text.is_empty());
    let told: Vec<String> = told.map(|text| format!("<bdi>{}</bdi>", E(text))).collect();
    let description = match row.description.as_str() {
        "" => String::new(),
        text => format!("<br><bdi class=\"quiet\">{}</bdi>", E(text)),
    };
    let (class, sign) = match row.direction() {
        Direction::Debit => ("out", ""),
        Direction::Credit => ("in", "+"),
    };
    let vanished = match transaction.vanished {
        true => format!(" <strong class=\"gone\">{}</strong>", words.vanished),
        false => String::new(),
    };
    format!(
        "<tr{}><td class=\"date\">{}</td><td><bdi class=\"party\">{}</bdi>{vanished}{description}<span class=\"narrow quiet\">{}</span></td><td class=\"wide\"><bdi>{}</bdi></td><td class=\"wide\"><bdi>{}</bdi></td><td class=\"number {class}\">{sign}{} <span>{}</span></td><td class=\"number wide quiet\">{}</td></tr>",
        if transaction.vanished { " class=\"vanished\"" } else { "" },
        date(row.date, words.language),
        E(party.map_or("–", String::as_str)),
        told.join(" · "),
        E(category),
        E(account),
        money(row.amount, words.language),
        E(&row.currency),
        row.balance.map_or(String::new(), |balance| money(balance, words.language))
    )
}

/// The word for what last went wrong with a source or destination.
fn latest_cause<'a>(view: &'a View, name: &str) -> Option<&'a str> {
    let mut errors = view.runs.iter().flat_map(Report::errors);
    errors.find(|(failed, ..)| *failed == name).and_then(|(.., cause)| cause)
}

/// The word for a source or a destination.
fn kind(words: &Words, service: &ServiceStatus<'_>) -> &'static str {
    if service.is_source { words.source } else { words.destination }
}

fn services(view: &View) -> String {
    let words = view.words;
    let mut html = format!(
        "<section aria-labelledby=\"parties\"><h2 id=\"parties\">{}</h2><table aria-labelledby=\"parties\"><thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}</th><th scope=\"col\" class=\"number\">{}</th><th scope=\"col\" class=\"number\">{}</th></tr></thead><tbody>",
        words.destinations, words.name, words.last_success, words.waiting, words.refused
    );
    for service in view.status.services() {
        let what = kind(words, &service);
        let last = service.last_success.map_or(words.never.to_owned(), |time| moment(time, words.language));
        let numbers = if service.is_source {
            "<td class=\"number\">–</td><td class=\"number\">–</td>".to_owned()
        } else {
            let number = |number: u64| format!("<td class=\"number\">{}</td>", count(number, words.language));
            number(service.waiting) + &number(service.rejected)
        };
        let _ = write!(
            html,
            "<tr><th scope=\"row\"><span class=\"quiet\">{what}</span><br><bdi>{}</bdi></th><td>{}</td>{numbers}</tr>",
            E(service.name),
            E(&last)
        );
    }
    html + "</tbody></table></section>"
}

fn runs(view: &View) -> String {
    let words = view.words;
    let mut html = format!("<section aria-labelledby=\"runs\"><h2 id=\"runs\">{}</h2>", words.runs);
    if view.runs.is_empty() {
        return html + &format!("<p>{}</p></section>", words.no_runs);
    }
    let _ = write!(
        html,
        "<table aria-labelledby=\"runs\"><thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}</th><th scope=\"col\" class=\"number\">{}</th><th scope=\"col\" class=\"number wide\">{}</th><th scope=\"col\" class=\"number\">{}</th><th scope=\"col\" class=\"number wide\">{}</th></tr></thead><tbody>",
        words.started, words.outcome, words.new, words.changed, words.delivered, words.took
    );
    view.runs.iter().for_each(|report| html += &run(view, report));
    html + "</tbody></table></section>"
}

fn run(view: &View, report: &Report) -> String {
    let words = view.words;
    let (class, outcome) = match report.exit_status() {
        0 => ("complete", Outcome::Ok),
        3 => ("incomplete", Outcome::Attention),
        _ => ("incomplete", Outcome::Failed),
    };
    let number = |number: u64| count(number, words.language);
    let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    let took = time(&report.started).zip(time(&report.finished)).map(|(began, ended)| (ended - began).num_seconds());
    let errors: String = report
        .errors()
        .map(|(name, error, cause)| {
            let told = causes::failure(words, name, error, cause);
            format!("<br><span class=\"problem\"><bdi>{}</bdi>: {told}</span>", E(name))
        })
        .collect();
    format!(
        "<tr><th scope=\"row\">{}</th><td><span class=\"{class}\">{}</span>{errors}</td><td class=\"number\">{}</td><td class=\"number wide\">{}</td><td class=\"number\">{}</td><td class=\"number wide\">{} {}</td></tr>",
        E(&moment(&report.started, words.language)),
        words.outcome(outcome),
        number(report.sources.iter().map(|source| source.new).sum()),
        number(report.sources.iter().map(|source| source.changed).sum()),
        number(report.destinations.iter().map(|to| to.appended + to.updated).sum()),
        took.unwrap_or_default(),
        words.seconds
    )
}
