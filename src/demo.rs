//! `bankfeed demo`: the main job without any account. A simulated bank, Google and Airtable on loopback, a folder for
//! statement files, a temporary store and an ordinary configuration file, with the real program in between.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{Days, Utc};
use rust_decimal::Decimal;

use crate::commands;
use crate::config;
use crate::control::{Command, Output};
use crate::daemon;
use crate::daemon::signals::Signals;
use crate::model::{money_text, plus};
use crate::service::StoreService;
use crate::simulator::Fault;
use crate::simulator::fibank::{Bank, Entry};
use crate::simulator::google::CellValue;
use crate::simulator::services::Services;
use crate::store::Store;
use crate::sync::Request;
use crate::web;

/// Port of the page, if the port is free.
const PAGE_PORT: u16 = 8350;

const TAB: &str = "Transactions";

/// The beginning of the ids of rows that come from statement files.
const FROM_FILE: &str = "files:";

/// The file with the key of the simulated Google.
const KEY: &str = "google-key.json";

/// The simulated outside.
#[derive(Clone)]
struct World {
    services: Services,
    /// The folder for statement files.
    inbox: PathBuf,
    /// The base gets only what is booked from this day on: Airtable takes ten rows a request, four requests a second.
    since: chrono::NaiveDate,
}

/// Runs the demo and prints its story to this output.
pub async fn run(keep_running: bool, mut output: impl Output + 'static) -> io::Result<u8> {
    let signals = Signals::take()?;
    let today = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive();
    let services = Services::start(Bank::household(today), "Household").await?;
    let dir = TemporaryDir::new()?;
    let inbox = dir.0.join("inbox");
    std::fs::create_dir(&inbox)?;
    let world = World { services, inbox, since: today.checked_sub_days(Days::new(60)).unwrap_or(today) };
    let path = dir.0.join("config.toml");
    world.services.write_key(&dir.0.join(KEY))?;
    std::fs::write(&path, world.config(&dir.0).await)?;
    let config = config::load(&path).map_err(io::Error::other)?;
    let store = Store::open(&config.data_dir).map_err(io::Error::other)?;
    let work = Box::new(move |service: StoreService| {
        let status = show(&service, &world, &mut output)?;
        if keep_running && status == 0 {
            stay(&service, &world, &path, &mut output)?;
        }
        Ok(status)
    });
    Ok(daemon::own(config, store, &signals, work).await?.status)
}

impl World {
    async fn config(&self, dir: &Path) -> String {
        // The real daemon or a second demo may use the port already.
        let is_free = tokio::net::TcpListener::bind(("127.0.0.1", PAGE_PORT)).await.is_ok();
        let port = if is_free { PAGE_PORT } else { 0 };
        let (services, data, since) = (&self.services, dir.join("data"), self.since);
        format!(
            r#"data_dir = "{data}"
timezone = "Europe/Sofia"
schedule = "0 3 * * *"

{source}
{files}
{sheet}
{table}since = {since}

[http]
listen = "127.0.0.1:{port}"
"#,
            data = data.display(),
            source = services.source(),
            files = services.files(&self.inbox),
            sheet = services.sheet(&dir.join(KEY)),
            table = services.table(),
        )
    }

    /// The amounts at the bank by transaction id. The entry that the bank withholds comes from a file.
    fn booked(&self) -> BTreeMap<String, Decimal> {
        let (booked, withheld) = self.services.bank.edit(|bank| (bank.transactions(), bank.options.withheld.clone()));
        let id = |iban: &str, number: u64| match withheld.contains(&number) {
            true => FROM_FILE.to_owned(),
            false => format!("fibank:{iban}:{number}"),
        };
        booked.into_iter().map(|(iban, entry, _)| (id(&iban, entry.number), entry.amount)).collect()
    }

    fn sheet(&self) -> Vec<Vec<CellValue>> {
        self.services.google.read(&self.services.spreadsheet, |spreadsheet| spreadsheet.rows(TAB))
    }

    fn record_count(&self) -> usize {
        self.services.airtable.read(&self.services.base, |base| base.records(TAB).len())
    }
}

/// Runs cycles and prints the changes of each.
fn show(service: &StoreService, world: &World, output: &mut dyn Output) -> io::Result<u8> {
    output.data("A simulated bank, Google and Airtable run on this machine; nothing leaves it. The program in between is the real one.\n")?;
    let booked = world.booked().len();
    output.data(&format!(
        "\n1. First cycle: {booked} transactions of two customers at the bank, an empty sheet and an empty base.\n"
    ))?;
    let mut status = cycle(service, output)?;
    output.data(&excerpt(&world.sheet()))?;
    output.data(&format!(
        "   and {} records in the base, which takes what is booked since {}\n",
        world.record_count(),
        world.since
    ))?;

    output.data("\n2. The same again: nothing is new, so the sheet and the base are left alone.\n")?;
    status = status.max(cycle(service, output)?);

    output.data("\n3. The bank books three more, and Google's answer is lost after it wrote them: sent again, yet there once.\n")?;
    book(world)?;
    world.services.google.server.fail_next(":batchUpdate", Fault::ApplyThenDrop);
    status = status.max(cycle(service, output)?);
    output.data(&excerpt(&world.sheet()))?;

    output.data("\n4. The bank's page loses an entry. The balances tell, and no row is made up.\n")?;
    let statement = lose(world)?;
    status = status.max(cycle(service, output)?);
    output.data(&gaps(service))?;
    output.data(
        "   A statement file of the same account, dropped into a folder, holds the entry: the gap is closed.\n",
    )?;
    std::fs::write(world.inbox.join("statement.sta"), statement)?;
    status = status.max(cycle(service, output)?);
    output.data(&gaps(service))?;

    let (once, sums) = compare(world);
    if once {
        output.data(&format!(
            "\nEvery one of the {} transactions is in the sheet exactly once, and the amounts agree: {sums}.\n",
            world.booked().len()
        ))?;
    } else {
        output.data("\nThe sheet does not agree with the bank. That is a bug: please report it.\n")?;
        status = status.max(1);
    }
    Ok(status)
}

fn cycle(service: &StoreService, output: &mut dyn Output) -> io::Result<u8> {
    let request = Request { by_hand: true, ..Request::default() };
    commands::execute(service, &Command::Sync { request, json: false }, output)
}

/// Twin coffees in the same second, and a payee that looks like a formula.
fn book(world: &World) -> io::Result<()> {
    world.services.bank.edit(|bank| {
        let account = bank.customers.first().and_then(|customer| customer.accounts.first());
        let iban = account
            .map(|account| account.iban.clone())
            .ok_or_else(|| io::Error::other("the demo bank has no account"))?;
        let first = bank.last_number() + 1;
        let now = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        for (at, (payee, cents)) in
            [("КАФЕ НА ЪГЪЛА", -240), ("КАФЕ НА ЪГЪЛА", -240), ("=IMPORTXML(\"x\";\"//a\")", -1990)]
                .into_iter()
                .enumerate()
        {
            let entry = Entry {
                number: first + at as u64,
                time: now,
                value_date: now.date_naive(),
                amount: Decimal::new(cents, 2),
                counterparty: payee.into(),
                type_name: "Плащане с карта".into(),
                type_code: "POS".into(),
                reference: format!("DEMO{}", first + at as u64),
                ..Entry::default()
            };
            bank.add(&iban, entry);
        }
        Ok(())
    })
}

/// Books two entries of which the bank's page shows the second one alone. Returns the statement with the first one, as
/// MT940.
fn lose(world: &World) -> io::Result<String> {
    let now = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.services.bank.edit(|bank| {
        let account = bank.customers.first().and_then(|customer| customer.accounts.first());
        let iban = account
            .map(|account| account.iban.clone())
            .ok_or_else(|| io::Error::other("the demo bank has no account"))?;
        let first = bank.last_number() + 1;
        for (number, payee, cents) in [(first, "ИЗМИСЛЕН НАЕМ ЕООД", -33_000), (first + 1, "КАФЕ НА ЪГЪЛА", -310)]
        {
            let entry = Entry {
                number,
                time: now,
                value_date: now.date_naive(),
                amount: Decimal::new(cents, 2),
                counterparty: payee.into(),
                reference: format!("DEMO{number}"),
                ..Entry::default()
            };
            bank.add(&iban, entry);
        }
        bank.options.withheld.push(first);
        let (day, entry_day) = (now.format("%y%m%d"), now.format("%m%d"));
        Ok(format!(
            ":20:DEMO\n:25:{iban}\n:28C:1/1\n:61:{day}{entry_day}D330,00NMSCDEMO{first}\n:86:ИЗМИСЛЕН НАЕМ ЕООД\n"
        ))
    })
}

/// The completeness of the accounts, in a line.
fn gaps(service: &StoreService) -> String {
    let accounts = service.engine.store.accounts();
    let incomplete = accounts.iter().find_map(|account| account.why_incomplete());
    match incomplete {
        Some(why) => format!("   one account is incomplete: {why}\n"),
        None => format!("   all {} accounts are complete\n", accounts.len()),
    }
}

/// True if sheet and bank hold the same ids once each; and the sum of the amounts in each currency.
fn compare(world: &World) -> (bool, String) {
    let sheet = world.sheet();
    let column = |header: &str| sheet.first()?.iter().position(|cell| *cell == CellValue::Text(header.into()));
    let columns = ["Transaction ID", "Amount", "Currency"].map(column);
    let [Some(id), Some(amount), Some(currency)] = columns else { return (false, String::new()) };
    let rows = &sheet[1..];
    let (mut there, mut sums) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        if let (Some(CellValue::Text(id)), Some(CellValue::Number(amount)), Some(CellValue::Text(currency))) =
            (row.get(id), row.get(amount), row.get(currency))
        {
            let amount = Decimal::try_from(*amount).unwrap_or_default().round_dp(2);
            let id = if id.starts_with(FROM_FILE) { FROM_FILE } else { id };
            there.insert(id.to_owned(), amount);
            let sum: &mut Decimal = sums.entry(currency.as_str()).or_default();
            *sum = plus(*sum, amount);
        }
    }
    (there.len() == rows.len() && there == world.booked(), by_currency(&sums))
}

/// `EUR 12.00, USD -3.50`: currencies are never added to one another.
fn by_currency(sums: &BTreeMap<&str, Decimal>) -> String {
    let sums = sums.iter().map(|(currency, sum)| format!("{currency} {}", money_text(*sum)));
    sums.collect::<Vec<_>>().join(", ")
}

/// Header and the last rows of the sheet, cut to the width of a terminal.
fn excerpt(sheet: &[Vec<CellValue>]) -> String {
    const SHOWN: [(&str, usize); 5] =
        [("Date", 10), ("Amount", 10), ("Currency", 8), ("Counterparty", 26), ("Description", 34)];
    let Some(header) = sheet.first() else { return "   the sheet is empty\n".into() };
    let columns: Vec<(usize, usize)> = SHOWN
        .iter()
        .filter_map(|(name, width)| {
            Some((header.iter().position(|cell| *cell == CellValue::Text((*name).into()))?, *width))
        })
        .collect();
    let mut text = String::new();
    let tail = sheet.len().saturating_sub(6).max(1);
    for row in std::iter::once(&sheet[0]).chain(&sheet[tail..]) {
        let cells = columns.iter().map(|(at, width)| {
            let shown = row.get(*at).map_or(String::new(), |cell| show_cell(cell, *at == columns[0].0));
            let cut: String = shown.chars().take(*width).collect();
            format!("{cut:<width$}")
        });
        text += &format!("   │ {} │\n", cells.collect::<Vec<_>>().join(" │ "));
    }
    text + &format!("   … {} rows in the tab `{TAB}`\n", sheet.len() - 1)
}

fn show_cell(cell: &CellValue, is_date: bool) -> String {
    match cell {
        CellValue::Number(days) if is_date => {
            let epoch = chrono::NaiveDate::from_ymd_opt(1899, 12, 30).unwrap_or_default();
            epoch.checked_add_days(Days::new(*days as u64)).map_or(days.to_string(), |date| date.to_string())
        }
        CellValue::Number(number) => format!("{number:.2}"),
        CellValue::Text(text) | CellValue::Formula(text) => text.clone(),
        CellValue::Bool(value) => value.to_string(),
        CellValue::Empty => String::new(),
    }
}

/// Keeps everything running, the page too, until the program is stopped.
fn stay(service: &StoreService, world: &World, config: &Path, output: &mut dyn Output) -> io::Result<()> {
    let page = daemon::open_page(service, None)?;
    let address = page.as_ref().map_or(String::new(), |page| page.address.to_string());
    let token = std::fs::read_to_string(web::token_file(service.engine.store.data_dir()))?;
    output.data(&format!(
        "\nThe page: http://{address}\n   its token: {}\n\nStill running, until you press Ctrl-C: the bank at {}, Google at {}, Airtable at {}.\nIn another terminal: bankfeed --config {} status\n",
        token.trim(),
        world.services.bank.server.url(),
        world.services.google.server.url(),
        world.services.airtable.server.url(),
        config.display(),
    ))?;
    while !service.engine.shutdown.requested() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}

/// A directory that is removed when the demo ends.
struct TemporaryDir(std::path::PathBuf);

impl TemporaryDir {
    fn new() -> io::Result<TemporaryDir> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("bankfeed-demo-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(TemporaryDir(path))
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}
