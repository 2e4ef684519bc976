//! `check --trace`: the bank's answers can be shown to somebody, and no part of them tells the owner's name.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Door, Options};

use crate::cli::run;
use crate::world::World;

/// Everything planted, as it would be found again.
#[derive(Default)]
struct Planted(Vec<String>);

impl Planted {
    fn plant(&mut self, what: &str) -> String {
        let planted = format!("{what}Вълшебна{:04}qz", 4711 + self.0.len());
        self.0.push(planted.clone());
        planted
    }

    fn letters(&mut self, what: &str) -> String {
        self.0.push(what.to_owned());
        what.to_owned()
    }

    fn assert_gone(&self, text: &str, what: &str) {
        let text = text.to_lowercase();
        for planted in &self.0 {
            assert!(!text.contains(&planted.to_lowercase()), "{planted} survives in {what}:\n{text}");
        }
    }
}

/// A bank in which every value is a secret.
fn planted_bank(planted: &mut Planted) -> Bank {
    let mut bank = Bank::small();
    bank.username = planted.letters("gorazdn");
    bank.password = planted.plant("парола");
    bank.options.unknown_keys = true;
    for customer in &mut bank.customers {
        customer.name = planted.letters("Горазд Недялков");
        customer.id = "73519284".into();
        planted.0.push(customer.id.clone());
        for account in &mut customer.accounts {
            planted.0.push(account.iban.clone());
            account.alias = planted.letters("За внучето");
            account.product = planted.plant("сметка");
            for entry in &mut account.entries {
                entry.counterparty = planted.letters("BEATRIKS OOD");
                entry.counterparty_account = planted.letters("BG05FINV91501000000002");
                entry.reference = planted.plant("R");
                entry.type_code = planted.letters("QZXW");
                entry.type_name = planted.plant("вид");
                entry.remittance = [planted.plant("a"), planted.letters("MARIQ"), planted.plant("c")];
                entry.time = chrono::Utc::now().fixed_offset();
                entry.amount = "-13579.24".parse().unwrap();
                let nested = serde_json::json!({planted.plant("key"): [planted.plant("v"), 864_213_579]});
                entry.extra.insert("moreData".into(), nested);
            }
        }
    }
    planted.0.extend(["13579".into(), "864213579".into()]);
    bank
}

async fn trace(world: &World, name: &str) -> (i32, String) {
    if world.data_dir().exists() {
        std::fs::remove_dir_all(world.data_dir()).unwrap();
    }
    let path = world.dir.path().join(name);
    let output = run(world, &["check", "--trace", path.to_str().unwrap()]).await;
    assert!(output.stdout.is_empty());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    (output.status.code().unwrap(), std::fs::read_to_string(path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_planted_survives_whatever_the_bank_answers() {
    let mut planted = Planted::default();
    let world = World::new(planted_bank(&mut planted)).await;
    let (status, text) = trace(&world, "open").await;
    assert_eq!(status, 0, "{text}");
    planted.assert_gone(&text, "an ordinary pull");
    for kept in [
        "> GET http://‹host",
        "/oauth2-server/oauth/authorize?response_type=token&client_id=E_BANK&redirect_uri=/EBank/&scope=E_BANK&state=‹uuid",
        "< status 302",
        "#access_token=‹uuid",
        "<input name=\"password\" placeholder=\"Парола\" type=\"password\">",
        "> form username=‹word",
        "> authorization: Bearer ‹uuid",
        "\"ibCustomerId\": \"‹number",
        "\"acEntrySrNo\": \"‹number",
        "\"dtkt\": \"D\"",
        "\"trnType\": \"OP\"",
        "\"amount\": \"‹number",
        "GetCustBal?FromDate=‹time",
        "# it ended as: Ok",
    ] {
        assert!(text.contains(kept), "{kept} is not in\n{text}");
    }
    let customer = text.split("\"ibCustomerId\": \"").nth(1).unwrap().split('"').next().unwrap();
    let number = customer.split(' ').nth(1).unwrap().trim_end_matches('›');
    let header = text.split("ebank-cust-id: ").nth(1).unwrap().lines().next().unwrap();
    assert!(header.contains(&format!(" {number}")), "{header} and {customer} are the same customer");

    let page = format!(
        "<title>{}</title><h1>Здравей, {}!</h1><p>Въведете кода, изпратен на {}</p><a href='/oauth2-server/{}?{}={}#{}'>x</a>\
         <form action='https://{}.example/confirm' class='{}'><input name='smsCode' value='{}' data-x='{}'></form>\
         <script>{}</script><!-- {} -->",
        planted.plant("t"),
        planted.letters("Гергана"),
        planted.letters("0888765432"),
        planted.plant("p"),
        planted.plant("n"),
        planted.plant("v"),
        planted.plant("f"),
        planted.letters("host9876qz"),
        planted.plant("c"),
        planted.plant("i"),
        planted.plant("d"),
        planted.plant("s"),
        planted.plant("k"),
    );
    let foreign = format!("https://{}.example/a?b={}", planted.letters("fremd4711qz"), planted.letters("wert4711qz"));
    for (door, name, kept) in [
        (Door::Unknown(page.clone()), "unknown", "Въведете кода, изпратен на …"),
        (Door::SecondFactor, "second", "<input autocomplete=\"one-time-code\" name=\"otp\" type=\"text\">"),
        (Door::Locked, "locked", "блокиран"),
        (Door::Maintenance, "closed", "< status 503"),
    ] {
        world.bank.edit(|bank| bank.door = door);
        let (status, text) = trace(&world, name).await;
        assert_eq!(status, 3, "{text}");
        planted.assert_gone(&text, name);
        assert!(text.contains(kept) && text.contains("# it ended as: Attention"), "{kept} is not in\n{text}");
    }
    world.bank.edit(|bank| {
        bank.door = Door::Open;
        bank.options = Options { foreign_redirect: Some(foreign), ..Options::default() };
    });
    let (status, text) = trace(&world, "foreign").await;
    assert_eq!(status, 3);
    planted.assert_gone(&text, "a redirect elsewhere");
    world.bank.edit(|bank| bank.options.foreign_redirect = None);
    for (body, name) in
        [(page, "a page instead of JSON"), (format!("{{\"acc\":[{{\"x\":\"{}\"", planted.plant("cut")), "cut JSON")]
    {
        world.bank.server.fail("GetCustBal", 0, u32::MAX, Fault::Status(200, body));
        let (_, text) = trace(&world, name).await;
        planted.assert_gone(&text, name);
        assert!(text.contains("GetCustBal"));
        world.bank.server.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_replaces_no_file_and_works_beside_the_daemon() {
    let world = World::new(Bank::small()).await;
    let path = world.dir.path().join("trace.txt");
    std::fs::write(&path, "precious").unwrap();
    let output = run(&world, &["check", "--trace", path.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is there already"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(world.bank.server.requests(), 0);

    let daemon = crate::cli::Daemon::start(&world).await;
    let beside = world.dir.path().join("beside.txt");
    let output = run(&world, &["check", "--trace", beside.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(read(&beside).contains("getCustQuery"));
    daemon.stop().await;

    // A password that was refused is not tried again, not even for a recording.
    world.write_config_with_password("wrong");
    assert_eq!(run(&world, &["check"]).await.status.code(), Some(3));
    let before = world.bank.login_attempts();
    let refused = world.dir.path().join("refused.txt");
    assert_eq!(run(&world, &["check", "--trace", refused.to_str().unwrap()]).await.status.code(), Some(3));
    assert_eq!(world.bank.login_attempts(), before);
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
