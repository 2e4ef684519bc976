//! `bankfeed rules test` and `bankfeed rules apply`: the effect of the rules on the transactions in the store, and its
//! delivery to rows that are in a destination already.

use std::collections::{BTreeMap, HashMap};
use std::io;

use serde::Serialize;

use super::{Done, USAGE, print_json, sync};
use crate::control::Output;
use crate::model::{Field, Transaction, money_text};
use crate::rules::{Rule, Rules, SET_BY_RULES, value_of};
use crate::service::StoreService;

/// Examples shown for each rule.
const EXAMPLES: usize = 3;

/// Counterparties shown of the transactions that no rule fits.
const UNFITTED: usize = 10;

/// The result of `rules test`, in the shape of its JSON.
#[derive(Serialize)]
struct Tested {
    transactions: u64,
    rules: Vec<TestedRule>,
    unmatched: Unmatched,
    /// Fields that rules set and no destination has a column for.
    nowhere_shown: Vec<String>,
}

#[derive(Serialize)]
struct TestedRule {
    rule: usize,
    /// The destination in which the owner keeps the rule; `None`: the rule is in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    line: usize,
    text: String,
    set: BTreeMap<String, String>,
    /// Transactions that the rule fits.
    matched: u64,
    /// Transactions of which the rule decides a field.
    decided: u64,
    ids: Vec<String>,
    #[serde(skip)]
    examples: Vec<String>,
}

/// Transactions that no rule fits.
#[derive(Default, Serialize)]
struct Unmatched {
    transactions: u64,
    ids: Vec<String>,
    /// Number of transactions by counterparty, the most frequent first.
    counterparties: Vec<(String, u64)>,
}

/// Prints the effect of these rules on every stored transaction.
pub(super) fn test(service: &StoreService, rules: &[Rule], json: bool, output: &mut dyn Output) -> Done {
    // The rules of the file as it is now, and the rules that were last read from destinations.
    let own = service.engine.sheet_rules()?;
    let of =
        |name: &str, rules: &[Rule]| rules.iter().map(|rule| (Some(name.to_owned()), rule.clone())).collect::<Vec<_>>();
    let mut all: Vec<(Option<String>, Rule)> = rules.iter().map(|rule| (None, rule.clone())).collect();
    own.iter().for_each(|(name, rules)| all.extend(of(name, rules)));
    let rules: &[Rule] = &all.iter().map(|(_, rule)| rule.clone()).collect::<Vec<_>>();
    let mut tested = Tested {
        transactions: 0,
        rules: all.into_iter().zip(1..).map(|((from, rule), at)| TestedRule::new(at, from, &rule)).collect(),
        unmatched: Unmatched::default(),
        nowhere_shown: nowhere_shown(service, rules),
    };
    let mut strangers: HashMap<String, u64> = HashMap::new();
    service.engine.explain_all(&mut Rules::new(rules.to_vec()).ready(), |_, transaction, explained| {
        tested.transactions += 1;
        for at in &explained.fitting {
            tested.rules[*at].note(transaction, explained.set_by.contains(&Some(*at)), json);
        }
        if explained.fitting.is_empty() {
            tested.unmatched.transactions += 1;
            if json {
                tested.unmatched.ids.push(transaction.row.id.clone());
            }
            *strangers.entry(transaction.row.counterparty.clone()).or_default() += 1;
        }
    })?;
    tested.unmatched.counterparties = strangers.into_iter().collect();
    tested.unmatched.counterparties.sort_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
    if json {
        print_json(&tested, output)?;
    } else {
        output.data(&text(&tested))?;
    }
    Ok(0)
}

impl TestedRule {
    fn new(number: usize, destination: Option<String>, rule: &Rule) -> TestedRule {
        let set = SET_BY_RULES.iter().map(|field| (field.key().into_owned(), value_of(&rule.set, field).to_owned()));
        TestedRule {
            rule: number,
            destination,
            line: rule.line,
            text: rule.to_string(),
            set: set.filter(|(_, text)| !text.is_empty()).collect(),
            matched: 0,
            decided: 0,
            ids: Vec::new(),
            examples: Vec::new(),
        }
    }

    fn note(&mut self, transaction: &Transaction, decides: bool, all_ids: bool) {
        self.matched += 1;
        self.decided += u64::from(decides);
        if all_ids {
            self.ids.push(transaction.row.id.clone());
        }
        if self.examples.len() < EXAMPLES {
            let row = &transaction.row;
            let (amount, words) = (money_text(row.amount), format!("{}  {}", row.counterparty, row.description));
            self.examples.push(tame(&format!("{}  {amount:>10} {}  {words}", row.date, row.currency)));
        }
    }
}

/// Control characters from a bank must not steer anybody's terminal.
fn tame(words: &str) -> String {
    let tamed: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    tamed.trim_end().to_owned()
}

fn nowhere_shown(service: &StoreService, rules: &[Rule]) -> Vec<String> {
    let set = |field: &Field| rules.iter().any(|rule| !value_of(&rule.set, field).is_empty());
    let shown = |field: &Field| service.engine.config.destinations.iter().any(|destination| destination.shows(field));
    let nowhere = SET_BY_RULES.iter().filter(|field| set(field) && !shown(field));
    nowhere.map(|field| field.key().into_owned()).collect()
}

fn text(tested: &Tested) -> String {
    if tested.rules.is_empty() {
        return "no rules: add [[rule]] entries to the configuration\n".to_owned();
    }
    let mut text = format!("{:>4}  {:>4}  {:>8}  {:>8}\n", "rule", "line", "matched", "decided");
    for rule in &tested.rules {
        let (matched, decided) = (rule.matched, rule.decided);
        let from = rule.destination.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        text += &format!("{:>4}  {:>4}  {matched:>8}  {decided:>8}  {from}{}\n", rule.rule, rule.line, rule.text);
        rule.examples.iter().for_each(|example| text += &format!("{:32}{example}\n", ""));
    }
    let unmatched = &tested.unmatched;
    text += &format!("\nno rule fits {} of {} transactions\n", unmatched.transactions, tested.transactions);
    for (name, count) in unmatched.counterparties.iter().take(UNFITTED) {
        let name = if name.trim().is_empty() { "(no counterparty)".into() } else { tame(name) };
        text += &format!("{count:>8}  {name}\n");
    }
    for field in &tested.nowhere_shown {
        text += &format!("\nno destination has a column for {field}: name it in `columns` to see it there\n");
    }
    text
}

/// Prints the effect that `rules apply --overwrite` would have.
pub(super) fn preview(service: &StoreService, fingerprint: u64, output: &mut dyn Output) -> Done {
    if !same_rules(service, fingerprint, output)? {
        return Ok(USAGE);
    }
    let coming = service.engine.preview_rules()?;
    output.talk(&format!(
        "{} of {} transactions get something else than before; what stands in those cells now is lost, your own words too\n\
         {} have cells to be filled where they are still empty\n",
        coming.different, coming.rows, coming.filled
    ))?;
    Ok(0)
}

/// Applies the rules and prints the result.
pub(super) fn apply(service: &StoreService, fingerprint: u64, overwrite: bool, output: &mut dyn Output) -> Done {
    if !same_rules(service, fingerprint, output)? {
        return Ok(USAGE);
    }
    let (applied, report) = service.apply_rules(overwrite, output)??;
    let left = match (applied.different, overwrite) {
        (0, _) => String::new(),
        (different, true) => format!(", {different} overwritten"),
        (different, false) => format!(", {different} left as they were (--overwrite replaces them)"),
    };
    output.data(&format!("{} transactions looked at: {} filled{left}\n", applied.rows, applied.filled))?;
    let mut report = report;
    report.sources.clear();
    output.data(&sync::text(&report))?;
    Ok(report.exit_status())
}

/// A daemon that has read other rules would apply those again in its next run.
fn same_rules(service: &StoreService, fingerprint: u64, output: &mut dyn Output) -> io::Result<bool> {
    let same = service.engine.config.rules.fingerprint() == fingerprint;
    if !same {
        let remedy = "the running daemon has read other rules; have it read these (`systemctl reload bankfeed`), then run this command again";
        output.talk(&format!("bankfeed: {remedy}\n"))?;
    }
    Ok(same)
}
