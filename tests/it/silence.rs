//! Silence is no answer: a selection without rows, a request without sense, a store without rows and a finished export
//! are told in one honest line beside the data; and days, accounts and texts are understood as people write them.

use bankfeed::simulator::fibank::Bank;
use chrono::{Days, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{Daemon, run};
use crate::web::{Site, TOKEN};
use crate::world::World;

/// Status, data, and the lines of talk.
async fn told(world: &World, arguments: &[&str]) -> (i32, String, Vec<String>) {
    let output = run(world, arguments).await;
    let talk = String::from_utf8(output.stderr).unwrap();
    let lines = talk.lines().map(str::to_owned).collect();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned(), lines)
}

/// A command that ends with this status, this data, and one line that has all of these words.
async fn tells(world: &World, arguments: &[&str], status: i32, data: &str, words: &[&str]) {
    let (ended, said, lines) = told(world, arguments).await;
    assert_eq!((ended, said.as_str(), lines.len()), (status, data, 1), "{arguments:?}: {said} {lines:?}");
    for word in words {
        assert!(lines[0].contains(word), "{arguments:?}: `{word}` is not in {}", lines[0]);
    }
}

async fn filled() -> World {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    world
}

/// The ids that a selection lists.
async fn listed(world: &World, selection: &[&str]) -> Vec<String> {
    let (status, rows) = crate::cli::json(world, &[&["transactions", "--json"], selection].concat()).await;
    assert_eq!(status, 0, "{selection:?}");
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_says_that_it_is_empty() {
    let world = World::new(Bank::small()).await;
    let empty = "the store holds no transactions yet; `bankfeed sync` fetches them";
    let file = |name: &str| world.dir.path().join(name).display().to_string();
    for beside_daemon in [false, true] {
        let daemon = if beside_daemon { Some(Daemon::start(&world).await) } else { None };
        tells(&world, &["accounts"], 0, "", &["no account is known yet", "`bankfeed sync`"]).await;
        tells(&world, &["accounts", "--json"], 0, "[]\n", &["no account is known yet"]).await;
        tells(&world, &["transactions"], 0, "", &[empty]).await;
        tells(&world, &["transactions", "--json"], 0, "[]\n", &[empty]).await;
        tells(&world, &["transactions", "--account", "Everyday"], 2, "", &["none is known yet"]).await;
        tells(&world, &["export", "--format", "jsonl"], 0, "", &[empty]).await;
        tells(&world, &["export", "--format", "csv", "--output", &file("money.csv")], 0, "", &[empty]).await;
        for format in ["xlsx", "sqlite"] {
            let name = file(&format!("money.{format}"));
            tells(&world, &["export", "--format", format, "--output", &name], 0, "", &[empty]).await;
            assert!(std::path::Path::new(&name).exists());
        }
        tells(&world, &["sql", "SELECT id FROM transactions", "--format", "json"], 0, "[]\n", &[empty]).await;
        if let Some(daemon) = daemon {
            daemon.stop().await;
        }
    }
    let (status, said, _) = told(&world, &["verify"]).await;
    let untouched = "nothing has been delivered there yet";
    assert_eq!((status, said.matches(untouched).count(), said.lines().count()), (0, 2, 2), "{said}");
    let (_, verified) = crate::cli::json(&world, &["verify", "--json"]).await;
    assert_eq!(verified[0]["notes"], json!([untouched]));
    // A name cannot mean anything in a configuration without destinations.
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let bare = text.split("[[destination]]").next().unwrap();
    crate::world::write_private(&world.config_path(), bare);
    let (status, said, lines) = told(&world, &["verify"]).await;
    assert_eq!((status, said.as_str()), (2, ""));
    assert!(lines.last().unwrap().contains("no [[destination]], so there is nothing to verify"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_by_name() {
    let world = filled().await;
    let account = world.bank.edit(|bank| bank.customers[0].accounts[0].iban.clone());
    let commands: [&[&str]; 5] = [
        &["transactions"],
        &["transactions", "--json"],
        &["export", "--format", "csv"],
        &["export", "--format", "jsonl"],
        &["export", "--format", "sqlite"],
    ];
    for command in commands {
        let with = |selection: &[&'static str]| [command, selection].concat();
        for unknown in ["BG99NOWHERE", "-x", ""] {
            let asked = [command, &["--account", unknown]].concat();
            let named = format!("no account is called `{unknown}`; there are: ");
            tells(&world, &asked, 2, "", &[&named, &account]).await;
        }
        let reversed = "since 2026-02-01 is after until 2026-01-31, so no day is meant";
        tells(&world, &with(&["--since", "2026-02", "--until", "2026-01"]), 2, "", &[reversed]).await;
        for no_day in ["gestern", "2026-02-30", "-3d", "30"] {
            let asked = [command, &["--since", no_day]].concat();
            let named = format!("--since `{no_day}`: expected a day such as 2026-01-31");
            tells(&world, &asked, 2, "", &[&named, "yesterday", "30d"]).await;
        }
        assert_eq!(told(&world, &with(&["--limit", "0"])).await.0, 2);
        let (status, _, lines) = told(&world, &with(&["--search", "никъде го няма"])).await;
        assert_eq!((status, lines), (0, vec!["no transaction matches".to_owned()]), "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_says_that_it_is_done() {
    let world = filled().await;
    let count = world.booked().len();
    for format in ["csv", "jsonl", "xlsx", "sqlite"] {
        let file = world.dir.path().join(format!("money.{format}")).display().to_string();
        let line = format!("{count} transactions are in {file}");
        tells(&world, &["export", "--format", format, "--output", &file], 0, "", &[&line]).await;
        let (status, data, lines) = told(&world, &["export", "--format", format]).await;
        assert_eq!((status, lines), (0, vec![format!("{count} transactions exported")]), "{format}");
        assert!(!data.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_accounts_and_texts_are_understood_as_people_write_them() {
    let mut bank = Bank::small();
    bank.customers[0].accounts[0].alias = "За Всеки ден".into();
    let account = bank.customers[0].accounts[0].iban.clone();
    let number = bank.last_number() + 1;
    let yesterday = (Utc::now() - Days::new(1)).with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    bank.customers[0].accounts[0].entries.push(bankfeed::simulator::fibank::Entry {
        number,
        time: yesterday,
        value_date: yesterday.date_naive(),
        amount: rust_decimal::Decimal::new(-70_000, 2),
        ..Default::default()
    });
    let world = World::new(bank).await;
    world.cycle().await;
    let own = format!("fibank:{account}:{number}");
    assert_eq!(listed(&world, &["--search", "-700"]).await, std::slice::from_ref(&own));
    assert_eq!(listed(&world, &["--search=-700.00"]).await, std::slice::from_ref(&own));
    let day = yesterday.date_naive();
    let (dotted, month) = (day.format("%d.%m.%Y").to_string(), day.format("%Y-%m").to_string());
    for since in ["yesterday", "Вчера", "1d", "30d", "1w", &dotted, &month] {
        assert!(listed(&world, &["--since", since]).await.contains(&own), "{since}");
    }
    assert!(!listed(&world, &["--until", "2d"]).await.contains(&own));
    assert!(listed(&world, &["--until", &month]).await.contains(&own), "to the end of the month");
    let all = listed(&world, &["--account", &account]).await;
    assert!(all.contains(&own) && all.len() < world.booked().len());
    let spaced =
        account.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).unwrap()).collect::<Vec<_>>().join(" ");
    for spelled in [account.to_lowercase().as_str(), &spaced, &spaced.to_lowercase(), "за всеки ден", "ЗА ВСЕКИ ДЕН"]
    {
        assert_eq!(listed(&world, &["--account", spelled]).await, all, "{spelled}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_understands_the_same_and_says_what_it_does_not() {
    let site = Site::open(Bank::small()).await;
    site.sync().await;
    let get = async |path: String| {
        let answer = site.ask(Method::GET, &path).bearer_auth(TOKEN).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for path in ["/api/transactions", "/api/transactions.csv"] {
        for (asked, word) in [
            ("since=gestern", "since: expected a day such as 2026-01-31"),
            ("until=2026-13", "until: expected a day such as 2026-01-31"),
            ("since=2026-02-01&until=2026-01-01", "since 2026-02-01 is after until 2026-01-01"),
            ("account=nobody", "no account is called `nobody`; there are: "),
        ] {
            let (status, said) = get(format!("{path}?{asked}")).await;
            assert!(status == 400 && said.contains(word), "{path}?{asked}: {status} {said}");
        }
        assert_eq!(get(format!("{path}?since=30d&until=today")).await.0, 200);
    }
    let account = site.world.bank.edit(|bank| bank.customers[0].accounts[0].iban.to_lowercase());
    let (_, said) = get(format!("/api/transactions?account={account}")).await;
    let found: Value = serde_json::from_str(&said).unwrap();
    assert!(!found["transactions"].as_array().unwrap().is_empty(), "{found}");
    let cookie = site.sign_in().await;
    for asked in ["account=nobody", "since=2026-02-01&until=2026-01-01"] {
        let page = site.page(&cookie, &format!("/?lang=en&{asked}")).await;
        assert!(page.contains("One of the filters could not be understood and was left out."), "{asked}");
    }
}
