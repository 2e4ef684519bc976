//! The network face of a real daemon over real sockets: access, answers, and the powerlessness of a hostile payee, page
//! or client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::world::World;

pub const TOKEN: &str = "a-token-that-opens-everything";
pub const IMPORT_TOKEN: &str = "a-token-for-the-csv-alone";

/// A daemon with a page, and a browser.
pub struct Site {
    pub world: World,
    pub address: String,
    client: Client,
    daemon: Child,
    log: Arc<Mutex<String>>,
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

impl Site {
    pub async fn open(bank: Bank) -> Site {
        Site::open_with(bank, &format!("token = \"{TOKEN}\"\nimport_token = \"{IMPORT_TOKEN}\"\n")).await
    }

    async fn open_with(bank: Bank, tokens: &str) -> Site {
        Site::over(World::new(bank).await, tokens)
    }

    /// A site over a world that has a past.
    pub fn over(mut world: World, tokens: &str) -> Site {
        world.extra[2] = format!("[http]\nlisten = \"127.0.0.1:0\"\n{tokens}");
        world.write_config();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
        command.arg("--config").arg(world.config_path()).arg("run").env("NO_COLOR", "1").stderr(Stdio::piped());
        let mut daemon = command.spawn().unwrap();
        let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("the page is at http://")?.1.to_owned())).unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let sink = log.clone();
        std::thread::spawn(move || lines.for_each(|line| *sink.lock().unwrap() += &(line + "\n")));
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Site { world, address, client, daemon, log }
    }

    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// Asks as a program with the token.
    pub async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).bearer_auth(TOKEN).send().await.unwrap()
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    pub async fn sync(&self) -> Response {
        self.ask(Method::POST, "/api/sync").bearer_auth(TOKEN).send().await.unwrap()
    }

    /// Runs a command beside the daemon; returns its output.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
        command.arg("--config").arg(self.world.config_path()).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Signs in and returns the cookie.
    pub async fn sign_in(&self) -> String {
        let answer = self.ask(Method::POST, "/sign-in").form(&[("token", TOKEN)]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(answer.headers()["location"], "/");
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
            assert!(cookie.contains(part), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    pub async fn page(&self, cookie: &str, path: &str) -> String {
        let answer = self.ask(Method::GET, path).header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// Books an entry for now, on the first account.
    fn book(&self, counterparty: &str, description: &str) {
        self.world.bank.edit(|bank| {
            let iban = bank.customers[0].accounts[0].iban.clone();
            let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
            let entry = Entry {
                number: bank.last_number() + 1,
                time: now,
                value_date: now.date_naive(),
                amount: "-4.20".parse().unwrap(),
                counterparty: counterparty.into(),
                type_name: "Превод".into(),
                remittance: [description.into(), String::new(), String::new()],
                ..Entry::default()
            };
            bank.add(&iban, entry);
        });
    }
}

/// Every address that says something, and how it is asked.
const ADDRESSES: [(&str, &str); 11] = [
    ("GET", "/api/accounts"),
    ("GET", "/api/status"),
    ("GET", "/api/transactions"),
    ("GET", "/api/transactions?search=x&limit=1"),
    ("GET", "/api/transactions.csv"),
    ("GET", "/all-transactions/"),
    ("GET", "/metrics"),
    ("POST", "/api/sync"),
    ("POST", "/sign-out"),
    ("GET", "/nowhere"),
    ("DELETE", "/api/status"),
];

/// The front page of a daemon over this world in English and Bulgarian, as a visitor signed in with the token sees it.
pub async fn front_pages(world: &World, token: &str) -> [String; 2] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).arg("run").env("NO_COLOR", "1").stderr(Stdio::piped());
    let start = move || {
        let mut daemon = command.spawn().unwrap();
        let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("the page is at http://")?.1.to_owned())).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        (daemon, address)
    };
    let (mut daemon, address) = tokio::task::spawn_blocking(start).await.unwrap();
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let signed_out = client.get(format!("http://{address}/")).send().await.unwrap().text().await.unwrap();
    assert!(!signed_out.contains("class=\"attention\"") && !signed_out.contains("class=\"failing\""), "{signed_out}");
    let mut pages = [String::new(), String::new()];
    for (page, language) in pages.iter_mut().zip(["en", "bg"]) {
        let address = format!("http://{address}/?lang={language}");
        let answer = client.get(address).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        *page = answer.text().await.unwrap();
    }
    Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_health_is_said_without_the_token() {
    let site = Site::open(Bank::small()).await;
    let health = site.ask(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "ok\n"));

    let mut answers = Vec::new();
    let without = ["", "Basic YTpi", "Bearer", TOKEN];
    let wrong = [
        "Bearer x",
        &format!("Bearer {TOKEN}x"),
        &format!("Bearer {}", &TOKEN[1..]),
        &format!("Bearer {IMPORT_TOKEN}"),
    ];
    for (method, path) in ADDRESSES {
        for authorization in without {
            let method = method.parse().unwrap();
            let mut asked = site.ask(method, path);
            if !authorization.is_empty() {
                asked = asked.header("authorization", authorization);
            }
            let answer = asked.send().await.unwrap();
            answers.push((answer.status().as_u16(), answer.text().await.unwrap()));
        }
    }
    for authorization in wrong {
        let answer = site.ask(Method::GET, "/api/status").header("authorization", authorization).send().await.unwrap();
        answers.push((answer.status().as_u16(), answer.text().await.unwrap()));
    }
    // The import token opens only one address; the other token is not accepted in any address.
    for path in [
        format!("/api/transactions?token={IMPORT_TOKEN}"),
        format!("/all-transactions/?token={IMPORT_TOKEN}"),
        format!("/api/transactions.csv?token={TOKEN}"),
        format!("/api/status?token={TOKEN}"),
    ] {
        let answer = site.ask(Method::GET, &path).send().await.unwrap();
        answers.push((answer.status().as_u16(), answer.text().await.unwrap()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "every refusal reads the same: {answers:?}");
    assert_eq!(answers[0].0, 401);
    let page = site.ask(Method::GET, "/").send().await.unwrap();
    assert_eq!(page.status(), 401);
    let page = page.text().await.unwrap();
    assert!(page.contains("action=\"/sign-in\"") && !page.contains("FINV915"), "{page}");
    assert_eq!(site.world.bank.login_attempts(), 0, "nobody without a token made it knock at the bank");

    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/api/accounts", 200),
        ("GET", "/api/transactions.csv", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/status", 405),
        ("GET", "/api/sync", 405),
        ("GET", "/api/transactions?sinc=2026-01-01", 400),
        ("GET", "/api/transactions?cursor=x", 400),
    ] {
        let answer = site.ask(method.parse().unwrap(), path).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let csv = site.ask(Method::GET, &format!("/api/transactions.csv?token={IMPORT_TOKEN}")).send().await.unwrap();
    assert_eq!(csv.status(), 200);
    let log = site.log.lock().unwrap().clone();
    assert!(!log.contains(TOKEN) && !log.contains(IMPORT_TOKEN), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_says_what_the_commands_say() {
    let site = Site::open(Bank::small()).await;
    let report: Value = site.sync().await.json().await.unwrap();
    assert_eq!(report["sources"][0]["outcome"], "ok", "{report}");
    assert_eq!(report["sources"][0]["new"], site.world.booked().len());
    site.world.assert_delivered();
    site.book("=1+1", "ред, \"с кавички\"\nи нов ред");
    site.sync().await;

    for (path, arguments) in [("/api/accounts", ["accounts", "--json"]), ("/api/status", ["status", "--json"])] {
        let printed: Value = serde_json::from_str(&site.command(&arguments).await).unwrap();
        assert_eq!(site.json(path).await, printed, "{path}");
    }
    let csv = site.get("/api/transactions.csv").await;
    assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8");
    let csv = csv.text().await.unwrap();
    assert!(csv.contains(",'=1+1,"), "{csv}");
    assert_eq!(csv, site.command(&["export", "--format", "csv"]).await);
    let printed = site.command(&["export", "--format", "csv", "--search", "кафе", "--limit", "1"]).await;
    let selected = site.get("/api/transactions.csv?search=%D0%9A%D0%90%D0%A4%D0%95&limit=1").await;
    assert_eq!(selected.text().await.unwrap(), printed);

    // Page by page, newest first, while a row is added at the top and one in the past is corrected.
    let printed: Vec<Value> = serde_json::from_str(&site.command(&["transactions", "--json"]).await).unwrap();
    let mut paged = Vec::new();
    let mut path = "/api/transactions?limit=3".to_owned();
    loop {
        let page = site.json(&path).await;
        paged.extend(page["transactions"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/transactions?limit=3&cursor={cursor}");
        if paged.len() == 3 {
            site.book("Междувременно", "нов ред");
            site.sync().await;
        }
    }
    paged.reverse();
    assert_eq!(paged, printed);

    let metrics = site.get("/metrics").await.text().await.unwrap();
    for line in [
        &format!("bankfeed_transactions {}\n", site.world.booked().len()),
        "bankfeed_attention{kind=\"source\",name=\"fibank\"} 0\n",
        "bankfeed_waiting{kind=\"destination\",name=\"base\"} 0\n",
        "bankfeed_cycles_total 3\n",
        "# TYPE bankfeed_last_success_timestamp_seconds gauge\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(!metrics.contains("BG32"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_former_connector_find_its_answer() {
    let site = Site::open(Bank::small()).await;
    site.sync().await;
    let all = site.json("/all-transactions/").await;
    let result = all["result"].as_array().unwrap();
    assert_eq!(result.len(), site.world.booked().len());
    let first = &result[0];
    let names = [
        "account_entry_serial_number",
        "reference",
        "account_balance",
        "amount",
        "dtkt",
        "time",
        "value_time",
        "partner",
        "beneficiary_order_party",
        "transaction_name",
        "transaction_account",
        "transaction_type",
        "transaction_code",
        "is_ebank_operation",
        "is_payment",
        "load_as_new",
        "remark_1",
        "remark_2",
        "remark_3",
        "acEntrySrNo",
        "acBal",
        "dateTime",
        "valueDt",
        "contragent",
        "trnType",
        "remI",
        "iban",
        "ccy",
    ];
    for name in names {
        assert!(first.get(name).is_some(), "{name}: {first}");
    }
    assert_eq!(first["account_entry_serial_number"], 900_000_001);
    assert_eq!((first["amount"].as_str(), first["dtkt"].as_str()), (Some("1850.00"), Some("C")));
    assert_eq!(first["time"], "2026-02-02T07:00:05Z");
    assert_eq!(first["partner"], "ИЗМИСЛЕН РАБОТОДАТЕЛ ООД");
    assert_eq!((first["remark_1"].as_str(), first["iban"].as_str()), (Some("Заплата 01/2026"), first["iban"].as_str()));
    assert_eq!(result[1]["amount"], "3.20");
    assert_eq!(result[1]["dtkt"], "D");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_inert_whatever_a_payee_is_called() {
    let site = Site::open(Bank::small()).await;
    let payee = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    site.book(payee, "</td></table><svg onload=alert(2)>&amp;");
    site.sync().await;
    let cookie = site.sign_in().await;
    for path in [
        "/",
        "/?search=%3Cscript%3Ealert%281%29&lang=bg",
        "/?since=%22%3E%3Cscript%3E&currency=%3Cscript%3E&account=%22%3E%3Cb%3E",
    ] {
        let page = site.page(&cookie, path).await;
        for hostile in ["<script", "<img", "onerror=alert(1)>", "<svg onload", "\"><b>", "javascript:"] {
            assert!(!page.contains(hostile), "{hostile} in {path}");
        }
        for secret in [TOKEN, IMPORT_TOKEN, cookie.split('=').nth(1).unwrap()] {
            assert!(!page.contains(secret), "a secret in {path}");
        }
        // No link leads elsewhere, no content is fetched from elsewhere, and only the style with the nonce is inline.
        for attribute in [" src=\"", "href=\"", "action=\"", "url("] {
            let targets = page.split(attribute).skip(1);
            let strange: Vec<&str> =
                targets.filter(|to| !to.starts_with(['/', '#']) && !to.starts_with("data:")).collect();
            assert!(strange.is_empty() && !page.contains(&format!("{attribute}//")), "{attribute}{strange:?}");
        }
        assert!(!page.contains(" style=") && !page.contains(" onclick="));
    }
    let answer = site.ask(Method::GET, "/").header("cookie", &cookie).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let page = answer.text().await.unwrap();
    let nonce = page.split("<style nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.contains(&format!("style-src 'nonce-{nonce}'")) && policy.contains("script-src 'none'"), "{policy}");
    assert!(!site.page(&cookie, "/").await.contains(nonce), "a nonce is used once");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img src=x onerror=alert(1)&gt;"));
    for part in [
        "role=\"img\"",
        "<desc id=",
        "<label for=\"since\"",
        "scope=\"col\"",
        "<html lang=\"en\">",
        "name=\"viewport\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let bulgarian =
        site.ask(Method::GET, "/").header("cookie", &cookie).header("accept-language", "bg-BG,bg;q=0.9,en;q=0.5");
    let bulgarian = bulgarian.send().await.unwrap().text().await.unwrap();
    assert!(bulgarian.contains("<html lang=\"bg\">") && bulgarian.contains("Транзакции"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_page_s_own_forms_do_anything() {
    let site = Site::open(Bank::small()).await;
    let wrong = site.ask(Method::POST, "/sign-in").form(&[("token", "x")]).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert!(wrong.headers().get("set-cookie").is_none() && wrong.text().await.unwrap().contains("role=\"alert\""));
    let foreign = site.ask(Method::POST, "/sign-in").header("origin", "https://evil.example").form(&[("token", TOKEN)]);
    assert_eq!(foreign.send().await.unwrap().status(), 403);

    let cookie = site.sign_in().await;
    let own = format!("http://{}", site.address);
    let post = |headers: &[(&'static str, &str)], form: &[(&str, &str)]| {
        let mut asked = site.ask(Method::POST, "/api/sync").header("cookie", &cookie).form(form);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        asked
    };
    let page = site.page(&cookie, "/").await;
    let proof = page.split("name=\"form_proof\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    for (headers, form) in [
        (vec![], vec![]),
        (vec![("origin", "null")], vec![]),
        (vec![("origin", "https://evil.example")], vec![("form_proof", proof)]),
        (vec![("origin", "null"), ("sec-fetch-site", "cross-site")], vec![("form_proof", proof)]),
        (vec![("sec-fetch-site", "same-site")], vec![("form_proof", proof)]),
        (vec![], vec![("form_proof", "x")]),
    ] {
        assert_eq!(post(&headers, &form).send().await.unwrap().status(), 403, "{headers:?} {form:?}");
    }
    assert_eq!(site.world.bank.login_attempts(), 0);
    let button =
        post(&[("origin", "null"), ("sec-fetch-site", "same-origin")], &[("form_proof", proof), ("lang", "bg")]);
    let button = button.send().await.unwrap();
    assert_eq!((button.status().as_u16(), button.headers()["location"].to_str().unwrap()), (303, "/?lang=bg#runs"));
    let by_program = post(&[("origin", &own)], &[]).send().await.unwrap();
    assert_eq!(by_program.status(), 200);
    assert_eq!(by_program.json::<Value>().await.unwrap()["sources"][0]["outcome"], "ok");
    assert_eq!(site.world.bank.login_attempts(), 2);

    let out = site
        .ask(Method::POST, "/sign-out")
        .header("cookie", &cookie)
        .form(&[("form_proof", proof)])
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), 303);
    let after = site.ask(Method::GET, "/").header("cookie", &cookie).send().await.unwrap();
    assert_eq!(after.status(), 401, "the session is gone on the server, not only in the browser");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_ask_at_once_get_one_cycle() {
    let site = Site::open(Bank::small()).await;
    site.world.google.server.fail("", 0, u32::MAX, Fault::Slow(Duration::from_millis(60)));
    let asked = site.ask(Method::POST, "/api/sync").bearer_auth(TOKEN);
    let first = tokio::spawn(async move { asked.send().await.unwrap().status() });
    while site.world.bank.login_attempts() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let cookie = site.sign_in().await;
    assert!(site.page(&cookie, "/").await.contains("http-equiv=\"refresh\""), "the page says that a cycle runs");
    assert_eq!(site.sync().await.status(), 409);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(site.world.bank.login_attempts(), 1);
    assert!(!site.page(&cookie, "/").await.contains("http-equiv=\"refresh\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_needs_the_owner_and_what_to_do() {
    let site = Site::open(Bank::small()).await;
    site.world.bank.edit(|bank| bank.password = "changed at the bank".into());
    let report: Value = site.sync().await.json().await.unwrap();
    assert_eq!(report["sources"][0]["outcome"], "attention", "{report}");
    let cookie = site.sign_in().await;
    let page = site.page(&cookie, "/?lang=bg").await;
    assert!(page.contains("Нужно е Вашето внимание") && page.contains("Поправете паролата в конфигурацията"), "{page}");
    assert!(site.page(&cookie, "/?lang=en").await.contains("Correct the password in the configuration"));
    let metrics = site.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("bankfeed_attention{kind=\"source\",name=\"fibank\"} 1\n"), "{metrics}");
    assert!(metrics.contains("bankfeed_last_cycle_status 3\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_in_the_file_one_is_made_that_nobody_else_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::open_with(Bank::small(), "").await;
    let file = site.world.data_dir().join("http-token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.trim().len() >= 32, "{token}");
    let status = |token: &str| site.ask(Method::GET, "/api/status").bearer_auth(token).send();
    assert_eq!(status(token.trim()).await.unwrap().status(), 200);
    assert_eq!(status("").await.unwrap().status(), 401);
    let csv = site.ask(Method::GET, "/api/transactions.csv?token=").send().await.unwrap();
    assert_eq!(csv.status(), 401, "no import token is no open door");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_bodies_and_heads_have_limits() {
    let site = Site::open(Bank::small()).await;
    let large = "x".repeat(64 * 1024);
    let body = site.ask(Method::POST, "/api/sync").bearer_auth(TOKEN).body(large.clone()).send().await.unwrap();
    assert_eq!(body.status(), 413);
    let mut head = TcpStream::connect(&site.address).unwrap();
    let line = format!("x-large: {}\r\n", "x".repeat(1000));
    head.write_all(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", line.repeat(17)).as_bytes()).unwrap();
    let mut answer = String::new();
    // Closing on a client that still sends may reset the connection before the answer is read.
    if head.read_to_string(&mut answer).is_ok() {
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    let cookie = site.sign_in().await;
    for at in 0..25 {
        let token = format!("guess-{at}");
        let answer = site.ask(Method::POST, "/sign-in").form(&[("token", token)]).send().await.unwrap();
        assert_eq!(answer.status(), if at < 20 { 401 } else { 429 });
    }
    let answer = site.ask(Method::GET, "/api/status").bearer_auth("guess").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    site.page(&cookie, "/").await;
}
