//! Questions in SQL: through the real binary, beside a daemon and without one; sums to the cent, and no question that
//! writes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use bankfeed::simulator::fibank::{Bank, Entry};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::cli::{json as json_of, run};
use crate::world::World;

async fn filled() -> World {
    let world = World::new(Bank::small()).await;
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let mut fee = bank.customers[0].accounts[0].entries.last().unwrap().clone();
        (fee.number, fee.type_name) = (bank.last_number() + 1, "Такси и комисиони".into());
        bank.add(&iban, fee);
    });
    // Cents that no double can hold: a naive sum of them shows more than two decimals.
    for cents in [-10, -20, -3001, 70, 10_000_010] {
        let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        world.bank.edit(|bank| {
            let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
            let (amount, counterparty) = (Decimal::new(cents, 2), "КАФЕ „ПРИ БАЙ ГАНЬО“".to_owned());
            let value_date = now.date_naive();
            bank.add(&iban, Entry { number, time: now, value_date, amount, counterparty, ..Entry::default() });
        });
    }
    assert_eq!(world.cycle().await.exit_status(), 0);
    world
}

async fn ask(world: &World, question: &str) -> Value {
    let (status, answer) = json_of(world, &["sql", question, "--format", "json"]).await;
    assert_eq!(status, 0, "{question}");
    answer
}

/// Asks by way of standard input.
async fn pipe(world: &World, input: &'static str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(["sql", "--format", "csv"]).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let asked = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    asked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_exact_and_come_in_three_forms() {
    let world = filled().await;
    let (_, transactions) = json_of(&world, &["transactions", "--json"]).await;
    let transactions = transactions.as_array().unwrap();
    let sum = |key: &str| -> Decimal {
        transactions.iter().filter_map(|row| row[key].as_str()).map(|text| text.parse::<Decimal>().unwrap()).sum()
    };
    let answer = ask(
        &world,
        "SELECT COUNT(*) AS n, SUM(amount) AS total, SUM(debit) AS out, SUM(credit) AS \"in\" FROM transactions",
    )
    .await;
    assert_eq!(
        answer,
        json!([{
            "n": transactions.len(),
            "total": format!("{:.2}", sum("amount")),
            "out": format!("{:.2}", sum("debit")),
            "in": format!("{:.2}", sum("credit")),
        }])
    );
    // Every field equals that of `transactions --json`.
    let rows = ask(&world, "SELECT * FROM transactions ORDER BY time, id").await;
    let mut listed = transactions.clone();
    listed.sort_by_key(|row| (row["time"].to_string(), row["id"].to_string()));
    for (asked, listed) in rows.as_array().unwrap().iter().zip(&listed) {
        let mut asked = asked.as_object().unwrap().clone();
        let raw: Value = serde_json::from_str(asked.remove("raw").unwrap().as_str().unwrap()).unwrap();
        assert_eq!((raw, asked.remove("vanished").unwrap()), (listed["raw"].clone(), json!(0)));
        asked.iter().for_each(|(key, value)| assert_eq!(*value, listed[key], "{key}"));
    }
    let (_, accounts) = json_of(&world, &["accounts", "--json"]).await;
    let asked = ask(&world, "SELECT account, balance, complete FROM accounts").await;
    assert_eq!(asked[0], json!({"account": accounts[0]["account"], "balance": accounts[0]["balance"], "complete": 1}));
    let deliveries = ask(&world, "SELECT destination, state, COUNT(*) AS n FROM deliveries GROUP BY 1, 2").await;
    let n = transactions.len();
    assert_eq!(
        deliveries,
        json!([
            {"destination": "base", "state": "delivered", "n": n},
            {"destination": "household", "state": "delivered", "n": n}
        ])
    );
    let csv = run(&world, &["sql", "SELECT '=1+1' AS a, -0.5 AS b, NULL AS c, 'x,y' AS a", "--format", "csv"]).await;
    assert_eq!(String::from_utf8_lossy(&csv.stdout), "a,b,c,a_2\n'=1+1,-0.50,,\"x,y\"\n");
    let table = run(&world, &["sql", "SELECT counterparty AS who, SUM(amount) AS sum FROM transactions WHERE who LIKE '%при бай ганьо%' GROUP BY 1"]).await;
    assert_eq!(
        String::from_utf8_lossy(&table.stdout),
        "who                        sum\n--------------------  --------\nКАФЕ „ПРИ БАЙ ГАНЬО“  99970.49\n"
    );
    assert_eq!(ask(&world, "SELECT 1 WHERE 0").await, json!([]));
}

/// The questions of the README, as they stand there.
#[tokio::test(flavor = "multi_thread")]
async fn the_questions_of_the_readme_have_answers() {
    let world = filled().await;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let block = readme.split("```sql\n").nth(1).unwrap().split("\n```").next().unwrap();
    let code: String = block.lines().filter(|line| !line.starts_with("--")).map(|line| format!("{line}\n")).collect();
    let questions: Vec<&str> = code.split(';').map(str::trim).filter(|question| !question.is_empty()).collect();
    assert!(questions.len() >= 5, "{questions:?}");
    for question in questions {
        assert!(!ask(&world, question).await.as_array().unwrap().is_empty(), "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_written_and_no_file_opened() {
    let world = filled().await;
    let file = world.dir.path().join("stolen.db");
    let path = file.display();
    for question in [
        "DELETE FROM transactions".to_owned(),
        "UPDATE accounts SET balance = 0".into(),
        "DROP TABLE accounts".into(),
        "CREATE TEMP TABLE t (a)".into(),
        "PRAGMA query_only = OFF".into(),
        "PRAGMA writable_schema = ON".into(),
        format!("ATTACH '{path}' AS x"),
        format!("VACUUM INTO '{path}'"),
        "VACUUM".into(),
        "BEGIN".into(),
        "REINDEX".into(),
        "ANALYZE".into(),
        "INSERT INTO deliveries DEFAULT VALUES RETURNING 1".into(),
        "SELECT load_extension('x')".into(),
        "SELECT amnt FROM transactions".into(),
        "SELEC 1".into(),
        "SELECT 1; SELECT 2".into(),
        "SELECT readfile('/etc/passwd')".into(),
        "SELECT json_extract('{', '$')".into(),
        " ; ".into(),
    ] {
        let ended = run(&world, &["sql", &question]).await;
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), said.lines().count()), (Some(2), 1), "{question}: {said}");
        assert!(said.starts_with("bankfeed: ") && !file.exists(), "{question}: {said}");
        assert_eq!(ended.stdout, b"", "{question}");
    }
    let unknown = run(&world, &["sql", "SELECT amnt FROM transactions"]).await;
    assert_eq!(String::from_utf8(unknown.stderr).unwrap(), "bankfeed: no such column: amnt\n");
    assert_eq!(ask(&world, "SELECT name FROM pragma_table_info('accounts') LIMIT 1").await[0]["name"], "account");
    assert_eq!(ask(&world, "PRAGMA table_info(accounts)").await[1]["name"], "account_name");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_come_by_pipe_and_beside_a_daemon() {
    let world = filled().await;
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_bankfeed"))
        .arg("--config")
        .arg(world.config_path())
        .arg("run")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !world.data_dir().join("control.sock").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for (input, printed, status) in [
        ("SELECT COUNT(*) AS n FROM transactions\n", "n\n18\n", 0),
        ("SELECT 1 AS a\nSELECT 2 AS b\n", "a\n1\nb\n2\n", 0),
        ("SELECT 1\n  AS a;\nSELECT ';' AS b;\n", "a\n1\nb\n\";\"\n", 0),
        ("SELECT\n  1 AS a\n", "a\n1\n", 0),
        ("SELECT nothing;\nSELECT 1 AS a;", "a\n1\n", 2),
        ("", "", 0),
    ] {
        let ended = pipe(&world, input).await;
        assert_eq!(String::from_utf8_lossy(&ended.stdout), printed, "{input}");
        assert_eq!(ended.status.code(), Some(status), "{input}");
    }
    let (_, standing) = json_of(&world, &["status", "--json"]).await;
    assert_eq!(standing["daemon"], true);
    Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();
}
