//! `login`: the owner's own sign-in at Google, from the browser to rows in the sheet, and its end.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Door, Expired};
use url::Url;

use crate::cli::{Daemon, run};
use crate::world::World;

/// A household whose sheet is written in the owner's name.
async fn world() -> World {
    let world = World::new(Bank::small()).await;
    std::fs::write(world.dir.path().join("client.json"), world.google.oauth_client()).unwrap();
    configure(&world);
    world
}

fn configure(world: &World) {
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let text = text.replace("service_account = { file =", "oauth = { client = { file =");
    let text = text.replace("google-key.json\" }", "client.json\" } }");
    std::fs::write(world.config_path(), text).unwrap();
}

/// Configures the client by its parts, with the secret in a file.
fn configure_by_parts(world: &World) {
    let client: serde_json::Value = serde_json::from_str(&world.google.oauth_client()).unwrap();
    let part = |name: &str| client["installed"][name].as_str().unwrap().to_owned();
    crate::world::write_private(&world.dir.path().join("secret"), &(part("client_secret") + "\n"));
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let line = text.lines().find(|line| line.starts_with("oauth = ")).unwrap();
    let parts = format!(
        "oauth = {{ client = {{ id = \"{}\", secret = {{ file = \"secret\" }}, auth_uri = \"{}\", token_uri = \"{}\" }} }}",
        part("client_id"),
        part("auth_uri"),
        part("token_uri")
    );
    std::fs::write(world.config_path(), text.replace(line, &parts)).unwrap();
}

/// A browser: goes to an address and reports status and `Location`.
async fn visit(address: &str) -> (u16, Option<String>) {
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let answer = http.get(address).send().await.unwrap();
    let location = answer.headers().get("location").map(|location| location.to_str().unwrap().to_owned());
    (answer.status().as_u16(), location)
}

/// `login` at work, with the address that it asks to be opened.
struct Login(Child, String);

impl Login {
    async fn begin(world: &World) -> Login {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
        command.arg("--config").arg(world.config_path()).args(["login", "household"]).env_remove("BANKFEED_CONFIG");
        let begin = move || {
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = Vec::new();
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            while !lines.last().is_some_and(|line: &String| line.contains("ssh -L")) {
                let mut line = String::new();
                assert!(stderr.read_line(&mut line).unwrap() > 0, "{lines:?}");
                lines.push(line);
            }
            let address = lines.iter().find(|line| line.starts_with("http")).unwrap().trim().to_owned();
            child.stderr = Some(stderr.into_inner());
            Login(child, address)
        };
        tokio::task::spawn_blocking(begin).await.unwrap()
    }

    /// The program's exit status, and its last output.
    async fn end(mut self) -> (i32, String) {
        let end = move || {
            let mut said = String::new();
            self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            (self.0.wait().unwrap().code().unwrap(), said)
        };
        tokio::task::spawn_blocking(end).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_two_parts_is_as_good_as_its_json() {
    let world = world().await;
    configure_by_parts(&world);
    sign_in(&world).await;
    let output = run(&world, &["sync"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    world.assert_delivered();
    std::fs::remove_file(world.dir.path().join("secret")).unwrap();
    let missing = run(&world, &["check"]).await;
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(missing.status.code() == Some(2) && said.contains("destination `household`: oauth: cannot read"), "{said}");
}

async fn sign_in(world: &World) {
    let login = Login::begin(world).await;
    let (status, back) = visit(&login.1).await;
    assert_eq!(status, 302);
    assert_eq!(visit(&back.unwrap()).await.0, 200);
    let (status, said) = login.end().await;
    assert_eq!(status, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_signs_in_once_and_rows_arrive_until_google_ends_it() {
    let world = world().await;
    let list = run(&world, &["login"]).await;
    assert_eq!(String::from_utf8(list.stdout).unwrap(), "bankfeed login fibank\nbankfeed login household\n");
    let early = run(&world, &["sync"]).await;
    assert_eq!(early.status.code(), Some(3));
    let said = String::from_utf8(early.stdout).unwrap();
    assert!(said.contains("nobody has signed in yet: run `bankfeed login household`"), "{said}");

    sign_in(&world).await;
    let kept = world.data_dir().join("logins/google-household.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&kept).unwrap().contains("1//simulated-refresh"));
    let output = run(&world, &["check"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    world.assert_delivered();

    world.google.withdraw_logins();
    let ended = run(&world, &["check"]).await;
    assert_eq!(ended.status.code(), Some(3));
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.contains("Google has ended the sign-in") && said.contains("run `bankfeed login household`"), "{said}");
    // The daemon says it where everybody looks, and takes the new sign-in at once.
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let entry = bank.customers[0].accounts[0].entries.last().unwrap().clone();
        bank.add(
            &iban,
            bankfeed::simulator::fibank::Entry { number, time: chrono::Utc::now().fixed_offset(), ..entry },
        );
    });
    let daemon = Daemon::start(&world).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    let (_, state) = crate::cli::json(&world, &["status", "--json"]).await;
    let attention = state["destinations"][0]["attention"].as_str().unwrap().to_owned();
    assert!(attention.contains("bankfeed login household"), "{attention}");
    sign_in(&world).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    let (_, state) = crate::cli::json(&world, &["status", "--json"]).await;
    assert!(state["destinations"][0]["attention"].is_null(), "{state}");
    daemon.stop().await;
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_our_own_browser_with_our_own_proof_gets_in() {
    let world = world().await;
    let login = Login::begin(&world).await;
    let asked = Url::parse(&login.1).unwrap();
    let value = |name: &str| asked.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!((value("code_challenge_method").as_str(), value("access_type").as_str()), ("S256", "offline"));
    let redirect = value("redirect_uri");
    assert!(redirect.starts_with("http://127.0.0.1:"), "{redirect}");
    // A stranger's code is refused, because its state is not the program's.
    for query in ["?code=4/evil&state=guessed", "?code=4/evil", "?error=access_denied", "favicon.ico"] {
        assert_eq!(visit(&format!("{redirect}/{query}")).await.0, 404);
    }
    // A code that was made for another challenge does not fit the proof.
    let stolen = login.1.replace(&value("code_challenge"), &"A".repeat(43));
    let (_, back) = visit(&stolen).await;
    assert_eq!(visit(&back.unwrap()).await.0, 200);
    let (status, said) = login.end().await;
    assert_eq!(status, 3);
    assert!(said.contains("does not take the browser's answer (status 400, invalid_grant)"), "{said}");
    assert!(!world.data_dir().join("logins").exists());

    let login = Login::begin(&world).await;
    let asked = Url::parse(&login.1).unwrap();
    let state = asked.query_pairs().find(|(key, _)| key == "state").unwrap().1.into_owned();
    let redirect = asked.query_pairs().find(|(key, _)| key == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(visit(&format!("{redirect}/?error=access_denied&state={state}")).await.0, 200);
    let (status, said) = login.end().await;
    assert_eq!(status, 3);
    assert!(said.contains("access was refused in the browser"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_signed_in_to_is_told_in_one_line() {
    let world = world().await;
    for (name, expected) in
        [("base", "is neither a bank nor a destination with `oauth`"), ("nowhere", "bankfeed login household")]
    {
        let output = run(&world, &["login", name]).await;
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
    }
    std::fs::write(world.dir.path().join("client.json"), r#"{"type":"service_account","private_key":"hush"}"#).unwrap();
    let output = run(&world, &["login", "household"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not the JSON of an OAuth client") && !said.contains("hush"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_is_unwell_costs_no_sign_in() {
    let world = world().await;
    sign_in(&world).await;
    let kept = std::fs::read_to_string(world.data_dir().join("logins/google-household.json")).unwrap();
    for (answer, status) in [
        (Fault::Status(200, r#"{"token_type":"Bearer"}"#.into()), 0),
        (Fault::Status(200, "<html>Sign in</html>".into()), 0),
        (Fault::Status(503, String::new()), 0),
        (Fault::Status(400, r#"{"error":"invalid_client"}"#.into()), 3),
    ] {
        world.google.server.fail_next("/token", answer);
        let output = run(&world, &["check"]).await;
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(std::fs::read_to_string(world.data_dir().join("logins/google-household.json")).unwrap(), kept);
}

/// `login fibank --paste` with this answer on a pipe.
pub async fn paste(world: &World, answer: &str) -> (i32, String) {
    answer_to(world, &["login", "fibank", "--paste"], answer).await
}

/// `login fibank` with these codes on a pipe, one a line.
pub async fn code(world: &World, answers: &str) -> (i32, String) {
    answer_to(world, &["login", "fibank"], answers).await
}

pub async fn answer_to(world: &World, arguments: &[&str], answer: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(arguments).env_remove("BANKFEED_CONFIG");
    let answer = format!("{answer}\n");
    let run = move || {
        use std::io::Write;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opened_in_the_browser_serves_until_it_ends() {
    let world = World::new(Bank::small()).await;
    world.bank.edit(|bank| bank.door = bankfeed::simulator::fibank::Door::SecondFactor);
    let refused = run(&world, &["sync"]).await;
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8(refused.stdout).unwrap().contains("give its code to `bankfeed login fibank`"));
    assert_eq!(world.scheduled_cycle().await.exit_status(), 3, "scheduled runs leave the bank alone");

    assert_eq!(paste(&world, "no token").await.0, 2);
    let token = world.bank.issue_token();
    let daemon = Daemon::start(&world).await;
    let (status, said) = paste(&world, &format!("Bearer {token}")).await;
    assert_eq!(status, 0, "{said}");
    assert!(!said.contains(&token), "{said}");
    daemon.stop().await;
    let kept = world.data_dir().join("logins/fibank-fibank.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = world.bank.login_attempts();
    assert_eq!(world.scheduled_cycle().await.exit_status(), 0, "what the bank wanted has been done");
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    assert_eq!(world.bank.login_attempts(), before, "no password was sent");
    world.assert_delivered();

    world.bank.forget_sessions();
    let ended = run(&world, &["sync"]).await;
    assert_eq!(ended.status.code(), Some(3), "the ordinary sign-in is tried, once, and says what it needs");
    assert_eq!(world.bank.login_attempts(), before + 1);
    assert!(!kept.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_token_is_kept_only_if_the_bank_takes_it() {
    let world = World::new(Bank::small()).await;
    let kept = world.data_dir().join("logins/fibank-fibank.json");
    for expired in [Expired::Unauthorized, Expired::Redirect, Expired::Page] {
        world.bank.edit(|bank| bank.options.expired = expired);
        world.clear_logs();
        for wrong in ["not-a-token", "0b1c2d3e-1111-4222-8333-444455556666"] {
            let (status, said) = paste(&world, wrong).await;
            assert_eq!(status, 3, "{expired:?}: {said}");
            let last = said.lines().last().unwrap();
            assert!(last.contains("fibank: the bank does not take this token") && last.contains("--paste"), "{said}");
            assert!(!said.contains(wrong), "{said}");
            assert!(!kept.exists());
        }
        assert_eq!((world.bank.server.requests(), world.bank.login_attempts()), (2, 0), "one request each");
    }
    let token = world.bank.issue_token();
    door(&world, Door::Maintenance);
    let (status, said) = paste(&world, &token).await;
    assert!(status == 3 && said.contains("closed for maintenance") && !said.contains("next run"), "{said}");
    door(&world, Door::Open);
    world.bank.server.fail("", 0, u32::MAX, Fault::Status(503, String::new()));
    let (status, said) = paste(&world, &token).await;
    let last = said.lines().last().unwrap();
    assert_eq!(status, 1, "{said}");
    assert!(last.contains("the bank answers 503") && last.contains("was not kept; try again later"), "{said}");
    assert!(!kept.exists() && !last.contains("next run"), "{said}");
    world.bank.server.heal();
    world.bank.server.fail_next("getCustQuery", Fault::Status(200, "{}".into()));
    let (status, said) = paste(&world, &token).await;
    assert!(status == 1 && said.contains("names no customer") && !kept.exists(), "{said}");
    world.clear_logs();
    let (status, said) = paste(&world, &token).await;
    assert_eq!((status, world.bank.server.requests()), (0, 1), "{said}");
    // A wrong one does not take the place of a good one.
    assert_eq!(paste(&world, "not-a-token").await.0, 3);
    assert!(std::fs::read_to_string(&kept).unwrap().contains(&token));
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    assert_eq!(world.bank.login_attempts(), 0);
}

pub fn door(world: &World, door: Door) {
    world.bank.edit(|bank| bank.door = door);
}

/// A bank that wants this code, with a cycle behind it that could not get in.
async fn bank_with_code(tries: u32) -> World {
    let world = World::new(Bank::small()).await;
    door(&world, Door::Code { code: "271828".into(), tries });
    let refused = run(&world, &["sync"]).await;
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8(refused.stdout).unwrap().contains("give its code to `bankfeed login fibank`"));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_opens_a_session_that_serves_the_next_runs() {
    let world = bank_with_code(5).await;
    world.bank.edit(|bank| bank.options.expires_in = Some(7 * 86400));
    let before = world.bank.login_attempts();
    let (status, said) = code(&world, "271 828").await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Въведете кода, който Ви изпратихме със SMS"), "the page's own words: {said}");
    assert!(!said.contains('\u{1b}') && !said.contains("<p>") && !said.contains("271"), "{said}");
    assert_eq!((world.bank.login_attempts(), world.bank.codes()), (before + 1, 1));
    let kept = world.data_dir().join("logins/fibank-fibank.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.scheduled_cycle().await.exit_status(), 0, "what the bank wanted has been done");
    assert_eq!((world.bank.login_attempts(), world.bank.codes()), (before + 1, 1), "the session is used");
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_given_beside_a_running_daemon_and_wrong_ones_are_asked_for_again() {
    let world = bank_with_code(5).await;
    let daemon = Daemon::start(&world).await;
    let before = world.bank.login_attempts();
    let (status, said) = code(&world, "111111\n222222\n271828").await;
    assert_eq!(status, 0, "{said}");
    assert_eq!(said.matches("Невалиден код.").count(), 2, "{said}");
    assert_eq!((world.bank.login_attempts(), world.bank.codes()), (before + 1, 3));
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    assert_eq!(world.bank.login_attempts(), before + 1, "the password is never sent again");
    // Without a typed code the bank hears of no code.
    let (status, said) = code(&world, "").await;
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("no code was given; to begin anew: `bankfeed login fibank`"), "{said}");
    assert_eq!(world.bank.codes(), 3);
    daemon.stop().await;
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_wrong_codes_are_enough_and_none_is_taken_for_a_wrong_password() {
    // The bank would take more; it ends the sign-in at the second, by its login page.
    for (tries, sent) in [(9, 3), (2, 2)] {
        let world = bank_with_code(tries).await;
        let before = world.bank.login_attempts();
        let (status, said) = code(&world, "1\n2\n3\n271828").await;
        assert_eq!(status, 3, "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains(&format!("the bank has not taken any of {sent} codes; wait for a new one")), "{said}");
        assert_eq!((world.bank.login_attempts(), world.bank.codes()), (before + 1, sent));
        assert!(!world.data_dir().join("logins").exists());
        let (_, state) = crate::cli::json(&world, &["status", "--json"]).await;
        assert!(state["sources"][0]["attention"].as_str().unwrap().contains("`bankfeed login fibank`"), "{state}");
        let (status, said) = code(&world, "271828").await;
        assert_eq!(status, 0, "the password was right, and another code may be tried: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_asks_for_nothing_keeps_nothing_and_lets_runs_go_on() {
    let world = bank_with_code(5).await;
    door(&world, Door::Open);
    let (status, said) = code(&world, "271828").await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("works, and no code was asked for"), "{said}");
    assert_eq!(world.bank.codes(), 0);
    assert!(!world.data_dir().join("logins").exists());
    assert_eq!(world.scheduled_cycle().await.exit_status(), 0);
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_code_goes_into_a_form_that_leaves_a_doubt() {
    let elsewhere = "<form method=post action='http://127.0.0.1:9/confirm'><input name=otp></form>";
    let scripted = "<form><input name=otp></form>";
    for form in ["", elsewhere, scripted] {
        let world = World::new(Bank::small()).await;
        door(&world, Door::Unknown(format!("<html><body>Потвърдете входа с Fibank Token. {form}</body></html>")));
        let (status, said) = code(&world, "271828").await;
        assert_eq!(status, 3, "{said}");
        let last = said.lines().last().unwrap();
        assert!(
            last.contains("no form bankfeed can fill in") && last.contains("`bankfeed login fibank --paste`"),
            "{said}"
        );
        assert_eq!((world.bank.login_attempts(), world.bank.codes()), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_not_sent_by_login_again() {
    let world = World::new(Bank::small()).await;
    world.write_config_with_password("грешна-парола");
    for _ in 0..2 {
        let (status, said) = code(&world, "271828").await;
        assert_eq!(status, 3, "{said}");
        assert!(said.contains("the bank refuses the user name or password"), "{said}");
        assert_eq!(world.bank.login_attempts(), 1);
    }
    assert_eq!(world.scheduled_cycle().await.exit_status(), 3);
    assert_eq!(world.bank.login_attempts(), 1);
}
