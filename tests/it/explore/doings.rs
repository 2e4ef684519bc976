//! The actions of bank and owner between cycles, and the expected rows afterwards.

use std::collections::{BTreeMap, BTreeSet};

use bankfeed::destination::policy::Vanished;
use bankfeed::simulator::fibank::Entry;
use bankfeed::simulator::google::CellValue;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::life::Life;
use super::look::{self, Rows};

const PAYEES: [&str; 9] = [
    "КАФЕ",
    "=IMPORTXML(\"x\")",
    "Супермаркет „Изобилие“",
    "+359 2 000",
    "",
    "🌿 Аптека",
    "-5%",
    "@SUM(A1)",
    "O'Neil \\ {x}",
];

/// Knowledge about the rows beyond the bank's present entries.
pub struct Truth {
    /// Names of the base's fields by key.
    pub names: BTreeMap<&'static str, String>,
    /// The store forgot, and has not met the sheet and the base since.
    pub amnesia: [bool; 2],
    ever_forgot: bool,
    /// Time of the next entry.
    clock: DateTime<Utc>,
    last_number: u64,
    renamed: u32,
    /// Entries the bank has taken back, with their accounts.
    away: Vec<(String, Entry)>,
    ever_vanished: BTreeSet<String>,
    /// Amounts before an account went from leva to euros.
    leva: BTreeMap<String, Entry>,
    /// Rows the owner deleted in sheet and base, with true if no store can know any more that he did.
    deleted: [BTreeMap<String, bool>; 2],
    /// Rows whose latest version could not get through without a fault of the design: see [`Life::touch`].
    loose: [BTreeSet<String>; 2],
}

impl Truth {
    pub fn new(rng: &mut fastrand::Rng) -> Truth {
        let names = [
            ("id", "Transaction ID"),
            ("date", "Date"),
            ("amount", "Amount"),
            ("currency", "Currency"),
            ("counterparty", "Counterparty"),
            ("description", "Description"),
        ];
        Truth {
            names: names.map(|(key, name)| (key, name.to_owned())).into(),
            amnesia: [false; 2],
            ever_forgot: false,
            clock: Utc::now() - TimeDelta::minutes(rng.i64(9 * 1440..10 * 1440)),
            last_number: 900_000_000,
            renamed: 0,
            away: Vec::new(),
            ever_vanished: BTreeSet::new(),
            leva: BTreeMap::new(),
            deleted: Default::default(),
            loose: Default::default(),
        }
    }
}

pub fn id(iban: &str, entry: &Entry) -> String {
    format!("fibank:{iban}:{}", entry.number)
}

impl Life<'_> {
    /// The history before the first cycle.
    pub fn open_the_books(&mut self) {
        if self.rng.u8(..4) > 0 {
            let clock = std::mem::replace(&mut self.truth.clock, Utc::now() - TimeDelta::days(50));
            self.book_one_each();
            self.truth.clock = clock;
        }
        for _ in 0..self.rng.usize(..[3, 9, 26][self.rng.clone().usize(..3)]) {
            self.book();
        }
    }

    /// A few things between two cycles.
    pub fn happen(&mut self) {
        for _ in 0..self.rng.usize(..4) {
            match self.rng.u8(..16) {
                0..6 => {
                    let count = [1, 1, 2, 12][self.rng.usize(..4)];
                    (0..count).for_each(|_| self.book());
                }
                6 => self.book_twin(),
                7 => self.book_late(),
                8..11 => self.correct(),
                11..13 => self.vanish(),
                13..15 => self.reappear(),
                _ => self.introduce_euro(),
            }
        }
        for _ in 0..self.rng.usize(..3) {
            self.owner_in_sheet();
        }
        for _ in 0..self.rng.usize(..2) {
            self.owner_in_base();
        }
    }

    pub fn book_one_each(&mut self) {
        let accounts = self.world.bank.edit(|bank| bank.customers[0].accounts.len());
        for account in 0..accounts {
            let entry = self.entry();
            self.add(account, entry);
        }
    }

    fn book(&mut self) {
        let entry = self.entry();
        let account = self.account();
        self.add(account, entry);
    }

    fn account(&mut self) -> usize {
        let accounts = self.world.bank.edit(|bank| bank.customers[0].accounts.len());
        self.rng.usize(..accounts)
    }

    fn add(&mut self, account: usize, entry: Entry) {
        self.say(format!("booked {} on account {account}, {} {}", entry.number, entry.time, entry.amount));
        self.world.bank.edit(|bank| bank.customers[0].accounts[account].entries.push(entry));
    }

    fn entry(&mut self) -> Entry {
        self.truth.clock = (self.truth.clock + TimeDelta::minutes(self.rng.i64(0..200))).min(Utc::now());
        self.truth.last_number += 1;
        let time = self.truth.clock.with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        Entry {
            number: self.truth.last_number,
            time,
            value_date: time.date_naive(),
            amount: rust_decimal::Decimal::new(self.rng.i64(-9_999..5_000), 2),
            counterparty: PAYEES[self.rng.usize(..PAYEES.len())].into(),
            reference: "REF".into(),
            type_name: "Плащане".into(),
            remittance: [format!("ред {}", self.rng.u8(..)), String::new(), String::new()],
            ..Entry::default()
        }
    }

    fn book_twin(&mut self) {
        let account = self.account();
        let Some(mut twin) = self.world.bank.edit(|bank| bank.customers[0].accounts[account].entries.last().cloned())
        else {
            return;
        };
        self.truth.last_number += 1;
        twin.number = self.truth.last_number;
        self.add(account, twin);
    }

    /// Books a new entry with an old date, sometimes older than the days that a pull looks back on.
    fn book_late(&mut self) {
        let account = self.account();
        // An old entry in an account without older ones leaves no trace in a pull of the last days.
        let old = Utc::now() - TimeDelta::days(40);
        let first =
            self.world.bank.edit(|bank| bank.customers[0].accounts[account].entries.first().map(|one| one.time));
        if first.is_none_or(|first| first > old) {
            return;
        }
        let mut entry = self.entry();
        entry.time -= TimeDelta::minutes(self.rng.i64(1_000..40_000));
        self.add(account, entry);
    }

    /// An entry recent enough for a pull to see a change of its words: account and place.
    fn recent(&mut self) -> Option<(usize, usize)> {
        let account = self.account();
        let since = Utc::now() - TimeDelta::days(12);
        let places: Vec<usize> = self.world.bank.edit(|bank| {
            let entries = &bank.customers[0].accounts[account].entries;
            (0..entries.len()).filter(|at| entries[*at].time > since).collect()
        });
        // A newly booked entry is the one whose delivery is under way.
        let last = places.last().copied().filter(|_| self.rng.bool());
        last.or_else(|| self.rng.choice(places)).map(|at| (account, at))
    }

    fn correct(&mut self) {
        let Some((account, at)) = self.recent() else { return };
        let (what, amount) = (self.rng.u8(..4), self.rng.i64(-9_999..5_000));
        let payee = PAYEES[self.rng.usize(..PAYEES.len())];
        let id = self.world.bank.edit(|bank| {
            let account = &mut bank.customers[0].accounts[account];
            let entry = &mut account.entries[at];
            match what {
                0 => entry.amount = rust_decimal::Decimal::new(amount, 2),
                1 => entry.time -= TimeDelta::hours(30),
                2 => entry.remittance[0] = format!("поправка {amount}"),
                _ => entry.counterparty = payee.into(),
            }
            id(&account.iban, entry)
        });
        self.say(format!("corrected {id}"));
        // The bank shows the entry in the account's own currency from here on.
        self.touch(&id);
    }

    fn vanish(&mut self) {
        let Some((account, at)) = self.recent() else { return };
        let (iban, entry) = self.world.bank.edit(|bank| {
            let account = &mut bank.customers[0].accounts[account];
            (account.iban.clone(), account.entries.remove(at))
        });
        let id = id(&iban, &entry);
        self.say(format!("vanished {id}"));
        self.touch(&id);
        self.truth.ever_vanished.insert(id);
        self.truth.away.push((iban, entry));
    }

    fn reappear(&mut self) {
        if self.truth.away.is_empty() {
            return;
        }
        let (iban, mut entry) = self.truth.away.swap_remove(self.rng.usize(..self.truth.away.len()));
        if self.rng.u8(..3) == 0 {
            entry.counterparty = format!("завърнал се {}", self.rng.u8(..));
        }
        let id = id(&iban, &entry);
        self.say(format!("reappeared {id}"));
        self.touch(&id);
        self.world.bank.edit(|bank| {
            let entries = &mut bank.account_mut(&iban).unwrap().entries;
            let at = entries.iter().position(|other| other.number > entry.number).unwrap_or(entries.len());
            entries.insert(at, entry);
        });
    }

    /// Everything on the first account is in euros from now on, restated.
    fn introduce_euro(&mut self) {
        let euro = bankfeed::model::bgn_to_eur;
        let (iban, before) = self.world.bank.edit(|bank| {
            let account = &mut bank.customers[0].accounts[0];
            if account.currency != "BGN" {
                return (account.iban.clone(), Vec::new());
            }
            let before = account.entries.clone();
            account.currency = "EUR".into();
            account.opening = euro(account.opening);
            account.entries.iter_mut().for_each(|entry| entry.amount = euro(entry.amount));
            (account.iban.clone(), before)
        });
        if before.is_empty() {
            return;
        }
        self.say("the first account goes over to euros".into());
        let away = self.truth.away.iter_mut().filter(|(account, _)| *account == iban);
        let mut leva: Vec<Entry> = before;
        for (_, entry) in away {
            leva.push(entry.clone());
            entry.amount = euro(entry.amount);
        }
        self.truth.leva.extend(leva.into_iter().map(|entry| (id(&iban, &entry), entry)));
    }

    /// Notes that the bank now shows another version of this row.
    ///
    /// Two cases are exempt from the comparison, as the documentation says: cells of a row that a store without memory
    /// found may be the owner's and are left alone; and a request of an old version that reaches Airtable late is
    /// applied there.
    fn touch(&mut self, id: &str) {
        for (loose, amnesia) in self.truth.loose.iter_mut().zip(self.truth.amnesia) {
            if amnesia {
                loose.insert(id.to_owned());
            }
        }
        if self.world.airtable.server.held() > 0 {
            self.truth.loose[1].insert(id.to_owned());
        }
    }

    /// The first store has forgotten something, or everything. Airtable's fields and tables are known by their ids,
    /// which are forgotten, too: the owner gives them the names of the configuration again.
    pub fn forget(&mut self) {
        self.truth.amnesia = [true; 2];
        self.truth.ever_forgot = true;
        let names = Truth::new(&mut self.rng).names;
        let renamed = std::mem::replace(&mut self.truth.names, names.clone());
        self.world.airtable.edit(&self.world.base.clone(), |base| {
            let Some(table) = base.tables.first().map(|table| table.id.clone()) else { return };
            base.rename_table(&table, "Transactions");
            for (key, name) in renamed.into_iter().filter(|(key, name)| names[key] != *name) {
                base.rename_field(&table, &name, &names[key]);
            }
        });
        for deleted in &mut self.truth.deleted {
            deleted.values_mut().for_each(|unknown| *unknown = true);
        }
        let found = [look::sheet(&self.world), look::base(&self.world, &self.truth.names)];
        let pending = [self.world.google.server.held() > 0, self.world.airtable.server.held() > 0];
        let wanted = self.wanted();
        let away: Vec<String> = self.truth.away.iter().map(|(iban, entry)| id(iban, entry)).collect();
        for ((loose, found), pending) in self.truth.loose.iter_mut().zip(found).zip(pending) {
            for (id, wanted) in &wanted {
                let there = found.get(id).and_then(|rows| rows.first());
                if there.is_some_and(|row| !wanted.contains(row)) || (there.is_none() && pending) {
                    loose.insert(id.clone());
                }
            }
            loose.extend(away.iter().cloned());
        }
    }

    fn owner_in_sheet(&mut self) {
        let places = self.world.google.read(&self.world.spreadsheet, look::columns);
        let Some((tab, places)) = places else { return };
        // A request in flight speaks of columns and rows as they were when it was sent.
        if self.world.google.server.held() > 0 {
            return;
        }
        let (rows, width) = self.world.google.read(&self.world.spreadsheet, |book| {
            let sheet = book.tab(&tab).unwrap();
            (sheet.used_rows(), sheet.column_count)
        });
        let rng = &mut self.rng;
        let (row, column, other) = (rng.usize(..rows.max(1) + 3), rng.usize(..width), rng.usize(..width));
        let what = rng.u8(..24);
        let small: Vec<usize> =
            ["type", "reference", "value_date"].iter().filter_map(|field| places.get(*field).copied()).collect();
        let ids = places.get("id").copied().unwrap_or_default();
        let (named, gone) = (rng.choice(places.values().copied()).unwrap_or(0), rng.choice(small));
        self.truth.renamed += 1;
        let word = format!("Моя {}", self.truth.renamed);
        let said = match what {
            0..3 => format!("sorts by {column}"),
            3..5 => format!("moves column {column} to {other}"),
            5 => format!("renames the header of {named}"),
            6 => format!("inserts a column at {column}"),
            7 => format!("hides {named}"),
            8..14 => return self.delete_in_sheet(&tab, ids),
            14 => format!("filters by {named}"),
            15..17 => format!("notes something at {} {column}", rows + row % 4),
            17 => format!("inserts a row at {}", row.max(1)),
            18 => "renames the tab".into(),
            19 => format!("deletes column {gone:?}"),
            20 if row < 3 => "deletes the ledger".into(),
            21 => "deletes the guards".into(),
            _ => return,
        };
        self.say(format!("owner in `{tab}`: {said}"));
        self.world.google.edit(&self.world.spreadsheet.clone(), |book| match what {
            0..3 => book.sort_by_column(&tab, column, row % 2 == 0),
            3..5 => book.move_column(&tab, column, other),
            5 => book.set_cell(&tab, 0, named, CellValue::Text(word)),
            6 => book.insert_column(&tab, column),
            7 => book.hide_column(&tab, named),
            14 => match book.tab(&tab).unwrap().filter_area() {
                Some(_) if row % 2 == 0 => book.clear_filter(&tab),
                _ => book.set_filter(&tab, named, &["КАФЕ", "EUR"]),
            },
            15..17 => book.set_cell(&tab, rows + row % 4, column, CellValue::Text("бележка".into())),
            17 => book.insert_row(&tab, row.max(1)),
            18 => book.rename_tab(&tab, &word),
            19 => gone.into_iter().for_each(|at| book.delete_column(&tab, at)),
            20 => book.delete_metadata("bankfeed.ledger"),
            _ => {
                let names: Vec<String> = book.named_ranges().iter().map(|range| range.name.clone()).collect();
                names.iter().for_each(|name| book.delete_named_range(name));
            }
        });
        if what == 20 {
            // Without the ledger no process can tell if a batch with a lost answer was applied.
            let deleted = &mut self.truth.deleted[0];
            deleted.values_mut().for_each(|unknown| *unknown = true);
        }
    }

    fn delete_in_sheet(&mut self, tab: &str, column: usize) {
        let rows = self.world.google.read(&self.world.spreadsheet, |book| book.rows(tab));
        let found = rows.iter().enumerate().skip(1).filter_map(|(at, row)| match row.get(column) {
            Some(CellValue::Text(id)) if id.starts_with("fibank:") => Some((at, id.clone())),
            _ => None,
        });
        let Some((at, id)) = self.rng.choice(found.collect::<Vec<_>>()) else { return };
        self.say(format!("owner in `{tab}`: deletes {id}"));
        self.world.google.edit(&self.world.spreadsheet.clone(), |book| book.delete_row(tab, at));
        // A second process that has not met the row yet cannot know that it was there.
        let unknown = self.daemons.len() > 1 || self.truth.amnesia[0] || !self.knows(&id);
        self.truth.deleted[0].insert(id, unknown);
    }

    fn owner_in_base(&mut self) {
        let table = self.world.airtable.read(&self.world.base, |base| {
            base.tables.iter().find(|table| !table.records.is_empty()).map(|table| table.id.clone())
        });
        let Some(table) = table else { return };
        let base = self.world.base.clone();
        self.truth.renamed += 1;
        let word = format!("Мое {}", self.truth.renamed);
        match self.rng.u8(..12) {
            // A process that has never met the base, or forgot it, recognises only the configured names.
            0..5 if self.daemons.len() > 1 || self.truth.amnesia[1] => {}
            0..3 => {
                let keys: Vec<&'static str> = self.truth.names.keys().copied().collect();
                let key = keys[self.rng.usize(..keys.len())];
                let old = std::mem::replace(self.truth.names.get_mut(key).unwrap(), word.clone());
                let known = self.world.airtable.read(&base, |base| base.table(&table).unwrap().field(&old).is_some());
                if !known {
                    self.truth.names.insert(key, old);
                    return;
                }
                self.say(format!("owner in the base: renames {old} to {word}"));
                self.world.airtable.edit(&base, |base| base.rename_field(&table, &old, &word));
            }
            3 => {
                self.say("owner in the base: adds a field and a row, turns the order".into());
                self.world.airtable.edit(&base, |base| {
                    base.add_field(&table, &word, "singleLineText");
                    base.add_record(&table, &[(&word, json!("мое"))]);
                    base.reverse_records(&table);
                });
            }
            4 => {
                self.say("owner in the base: renames the table".into());
                self.world.airtable.edit(&base, |base| base.rename_table(&table, &word));
            }
            _ => self.delete_in_base(&base, &table),
        }
    }

    fn delete_in_base(&mut self, base: &str, table: &str) {
        let id_field = self.truth.names["id"].clone();
        let found: Vec<(String, String)> = self.world.airtable.read(base, |base| {
            let ids = base.record_ids(table).into_iter().zip(base.records(table));
            let text = |cells: &BTreeMap<String, serde_json::Value>| Some(cells.get(&id_field)?.as_str()?.to_owned());
            ids.filter_map(|(record, cells)| Some((record, text(&cells)?))).collect()
        });
        let Some((record, id)) = self.rng.choice(found) else { return };
        self.say(format!("owner in the base: deletes {id}"));
        self.world.airtable.edit(base, |base| base.delete_record(table, &record));
        // Airtable has no ledger: a batch whose answer was lost is written again, and a late one whenever it comes.
        let config = &self.daemons[0].engine.config;
        let target = config.destinations[1].target();
        let state = self.daemons[0].engine.store.destination("base", &target).unwrap();
        let unknown = self.daemons.len() > 1 || !state.pending.is_empty() || self.world.airtable.server.held() > 0;
        let unknown = unknown || self.truth.amnesia[1] || !self.knows(&id);
        self.truth.deleted[1].insert(id, unknown);
    }

    /// True if the first store has met this row; a store that forgot may meet the row only later, and not find it at
    /// the destination.
    fn knows(&self, id: &str) -> bool {
        self.daemons[0].engine.store.find(id).unwrap().is_some()
    }

    /// The allowed versions of each id that the bank shows: the latest version, and the version in leva if there was
    /// one.
    fn wanted(&self) -> Vec<(String, Vec<look::Seen>)> {
        self.world.bank.edit(|bank| {
            let accounts = bank.customers[0].accounts.iter();
            let rows = accounts.flat_map(|account| {
                account.entries.iter().map(|entry| {
                    let id = id(&account.iban, entry);
                    let mut versions = vec![look::expected(entry, &account.currency)];
                    versions.extend(self.truth.leva.get(&id).map(|leva| {
                        let amount = Entry { amount: leva.amount, ..entry.clone() };
                        look::expected(&amount, "BGN")
                    }));
                    (id, versions)
                })
            });
            rows.collect()
        })
    }

    /// Checks that every row is at its destinations, as often as it should be, with the right cells.
    pub fn reckon(&self) -> Result<(), String> {
        let wanted = self.wanted();
        let deletes =
            self.daemons[0].engine.config.destinations.iter().any(|one| one.rows().vanished == Vanished::Delete);
        let places = [("sheet", look::sheet(&self.world)), ("base", look::base(&self.world, &self.truth.names))];
        for (at, (place, found)) in places.iter().enumerate() {
            for (id, versions) in &wanted {
                let count = found.get(id).map_or(0, Vec::len);
                // A destination that deletes vanished rows gets a returning row again; but a store that forgot that the
                // row had vanished takes the missing row for one that the owner deleted.
                let restored = deletes && self.truth.ever_vanished.contains(id);
                let good = match self.truth.deleted[at].get(id) {
                    Some(unknown) => count == 0 || ((*unknown || restored) && count == 1),
                    None => count == 1 || (count == 0 && restored && self.truth.ever_forgot),
                };
                if !good {
                    return Err(format!("{id} is {count} times in the {place}"));
                }
                let loose = self.truth.loose[at].contains(id);
                if let Some(row) = self.first(found, id).filter(|row| !loose && !versions.contains(row)) {
                    return Err(format!("{id} in the {place} is {row:?} and should be {versions:?}"));
                }
            }
        }
        Ok(())
    }

    fn first<'r>(&self, rows: &'r Rows, id: &str) -> Option<&'r look::Seen> {
        rows.get(id).and_then(|rows| rows.first())
    }
}
