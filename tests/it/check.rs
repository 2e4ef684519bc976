//! `check`, from each cause to its sentence and its exit status: one line that names the thing and the way to mend it.

use bankfeed::simulator::Fault;
use bankfeed::simulator::airtable::Role;
use bankfeed::simulator::fibank::{Bank, Door};
use bankfeed::simulator::google::Access;

use crate::cli::run;
use crate::world::World;

const SCOPES: [&str; 4] = ["data.records:read", "data.records:write", "schema.bases:read", "schema.bases:write"];

/// Runs `check` with a store of its own; its status, and its lines of failure.
async fn check(world: &World) -> (i32, Vec<String>) {
    if world.data_dir().exists() {
        std::fs::remove_dir_all(world.data_dir()).unwrap();
    }
    let output = run(world, &["check"]).await;
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let bad = |line: &&str| line.starts_with("FAIL") || line.starts_with("bankfeed:");
    (output.status.code().unwrap(), said.lines().filter(bad).map(str::to_owned).collect())
}

/// Expects a single line of failure with all of these words, and this status.
async fn expect(world: &World, status: i32, words: &[&str]) {
    let (found, lines) = check(world).await;
    assert_eq!((found, lines.len()), (status, 1), "{lines:?}");
    for word in words {
        assert!(lines[0].contains(word), "`{word}` is not in: {}", lines[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn google_says_what_to_do() {
    let world = World::new(Bank::small()).await;
    let account = world.google.client_email();
    let sheet = "destination household: google-sheets `household`: ";
    assert_eq!(check(&world).await, (0, Vec::new()));
    world.google.share(&world.spreadsheet, Access::None);
    expect(&world, 3, &[sheet, "share the spreadsheet with", &account, "as editor"]).await;
    world.google.share(&world.spreadsheet, Access::Viewer);
    expect(&world, 3, &[sheet, "share the spreadsheet with", &account, "as editor"]).await;
    world.google.share(&world.spreadsheet, Access::Editor);
    world.google.disable_api(true);
    expect(&world, 3, &[sheet, "the Google Sheets API is off: enable it in the Google Cloud console for project"])
        .await;
    world.google.disable_api(false);
    for (description, words) in [
        ("Invalid JWT Signature.", &["the key was deleted, or is not this account's: create a new JSON key"][..]),
        ("Invalid JWT: Token must be a short-lived token (60 minutes)", &["this machine's clock is wrong: set it"]),
    ] {
        let body = serde_json::json!({"error": "invalid_grant", "error_description": description}).to_string();
        world.google.server.fail("/token", 0, u32::MAX, Fault::Status(400, body));
        expect(&world, 3, &[&[sheet], words].concat()).await;
        world.google.server.heal();
    }
    std::fs::write(world.dir.path().join("google-key.json"), "-----BEGIN").unwrap();
    expect(&world, 3, &[sheet, "`service_account` is not JSON: create a JSON key"]).await;
    let mut world = world;
    world.spreadsheet = "1WrongId".into();
    world.write_config();
    expect(&world, 3, &[sheet, "no spreadsheet `1WrongId`", "check `spreadsheet` in the configuration", &account])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn airtable_says_what_to_do() {
    let mut world = World::new(Bank::small()).await;
    let base = world.base.clone();
    let own = "destination base: airtable `base`: ";
    let with_token = |world: &World, token: &str| {
        let text = std::fs::read_to_string(world.config_path()).unwrap();
        let lines = text.lines().map(|line| match line.starts_with("token = ") {
            true => format!("token = \"{token}\"\n"),
            false => format!("{line}\n"),
        });
        std::fs::write(world.config_path(), lines.collect::<String>()).unwrap();
    };
    let without = |world: &World, scope: &str| {
        let others: Vec<&str> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        with_token(world, &world.airtable.token_with(&others, Role::Create));
    };
    world.airtable.create_table(&base, "Table 1", &[("Name", "singleLineText")]);
    // With the table still to be made, and with the table in place.
    for _ in 0..2 {
        for scope in ["data.records:read", "schema.bases:read"] {
            without(&world, scope);
            let all = "in all it needs data.records:read, data.records:write and schema.bases:read";
            expect(&world, 3, &[own, &format!("the scope {scope}"), all, &base]).await;
        }
        world.write_config();
        assert_eq!(check(&world).await, (0, Vec::new()));
        assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    }
    // Airtable does not tell the scopes of a personal token, and the check writes no row to find them out.
    without(&world, "data.records:write");
    assert_eq!(check(&world).await, (0, Vec::new()));
    let said = String::from_utf8(run(&world, &["check"]).await.stdout).unwrap();
    assert!(said.contains("only a write shows whether data.records:write is among them"), "{said}");
    for scope in ["data.records:write", "schema.bases:write"] {
        std::fs::remove_dir_all(world.data_dir()).unwrap();
        world.airtable.edit(&base, |base| base.delete_table("Transactions"));
        without(&world, scope);
        let synced = run(&world, &["sync"]).await;
        let said = String::from_utf8(synced.stdout).unwrap() + &String::from_utf8(synced.stderr).unwrap();
        assert!(synced.status.code() == Some(3) && said.contains(&format!("the scope {scope}")), "{said}");
    }
    with_token(&world, &world.airtable.token_with(&SCOPES, Role::Edit));
    expect(&world, 3, &[own, "needs the role creator in base", &base]).await;
    with_token(&world, &world.airtable.token_with(&SCOPES, Role::Read));
    expect(&world, 3, &[own, "needs the role editor in base", &base]).await;
    let token = world.airtable.token();
    world.airtable.limit_token(&token, &["appOther"]);
    with_token(&world, &token);
    expect(&world, 3, &[own, "check `base` and `table`, add the base to the token's list", &base]).await;
    world.airtable.revoke(&token);
    expect(&world, 3, &[own, "the token is refused: make a new one at airtable.com/create/tokens"]).await;
    world.write_config();
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), text.replace("table = \"Transactions\"", "table = \"tbl12345678901234\""))
        .unwrap();
    expect(&world, 3, &[own, "table `tbl12345678901234` is not in base", "name another one in `table`"]).await;
    world.base = "appNone".into();
    world.write_config();
    expect(&world, 3, &[own, "check `base`", "appNone"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_says_what_to_do() {
    let world = World::new(Bank::small()).await;
    for (door, words) in [
        (Door::Locked, &["the login is locked; have the bank unlock it", "блокиран"][..]),
        (Door::PasswordChange, &["the bank demands a new password; change it in My Fibank", "Смяна на парола"]),
        (Door::SecondFactor, &["the bank asks for a second factor", "допълнително потвърждение"]),
        (Door::Maintenance, &["the bank is closed for maintenance; the next run tries again", "профилактика"]),
        (
            Door::Unknown("<p>Ново приложение</p>".into()),
            &["a page bankfeed does not know", "look at My Fibank in a browser", "Ново приложение"],
        ),
    ] {
        world.bank.edit(|bank| bank.door = door);
        expect(&world, 3, &[&["source fibank: fibank: "], words].concat()).await;
    }
    world.bank.edit(|bank| bank.door = Door::Open);
    world.write_config_with_password("wrong");
    let before = world.bank.login_attempts();
    expect(&world, 3, &["the bank refuses the user name or password; correct them in the configuration"]).await;
    assert_eq!(world.bank.login_attempts(), before + 1);
    assert_eq!(run(&world, &["check"]).await.status.code(), Some(3));
    assert_eq!(world.bank.login_attempts(), before + 1, "a refused password is not tried again");
    world.write_config();
    world.bank.server.fail("getCustQuery", 0, u32::MAX, Fault::Status(200, "{}".into()));
    expect(&world, 1, &["fibank: the bank names no customer for this login; the bank's interface may have changed"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_that_is_missing_is_named_before_anything_is_asked() {
    let world = World::new(Bank::small()).await;
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let password = world.bank.edit(|bank| bank.password.clone());
    let text = text.replace(&format!("password = \"{password}\""), "password = { env = \"NOT_THERE_4711\" }");
    std::fs::write(world.config_path(), text).unwrap();
    let key = world.dir.path().join("google-key.json");
    std::fs::remove_file(&key).unwrap();
    let (status, lines) = check(&world).await;
    assert_eq!((status, lines.len()), (2, 2), "{lines:?}");
    // The mistake is reported like every other in the file: with the file and the line.
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let line = |key: &str| 1 + text.lines().position(|line| line.starts_with(key)).unwrap();
    let file = world.config_path().display().to_string();
    let (password, key) = (line("password"), line("service_account"));
    let unset = "source `fibank`: password: the environment variable `NOT_THERE_4711` is not set";
    assert!(lines[0].contains(&format!("{file}:{password}: {unset}")), "{lines:?}");
    assert!(
        lines[1].contains(&format!("{file}:{key}: destination `household`: service_account: cannot read")),
        "{lines:?}"
    );
    assert_eq!(world.bank.server.requests() + world.google.server.requests(), 0);
}
