//! Every cause that only the owner can end, and a failing service for comparison: from the event to the exit status,
//! the sentence, the single message, the page and its advice, and to the message that the cause is over. A case is a
//! row of the table.
//!
//! A full disk, a damaged store and a session about to end stand in notify.rs; a store that cannot be opened stands in
//! integrity.rs.

use bankfeed::remote::Cause;
use bankfeed::simulator::Fault;
use bankfeed::simulator::airtable::{Role, SCOPES};
use bankfeed::simulator::fibank::Door;
use bankfeed::simulator::google::{Access, CellValue};
use bankfeed::sync::Report;

use crate::notify::{NEEDS_YOU, Stage, TOKEN, door, message, open};
use crate::world::write_private;

/// A cause: its beginning, its consequences, and its end.
struct Case {
    name: &'static str,
    /// The cause in the store; `None`: the cycle tries again without the owner.
    cause: Option<Cause>,
    begins: fn(&Stage),
    ends: fn(&Stage),
    /// Parts of the sentence.
    says: &'static [&'static str],
    /// The subject of the message that the cause is over.
    recovered: &'static str,
    /// Part of the page's advice.
    remedy: &'static str,
    /// True if a daemon starts at all with the cause.
    starts: bool,
    /// True if the cause stays until it is ended; otherwise the message is all that comes of it.
    lasts: bool,
}

const FAILED: &str = "bankfeed: something failed";
const REFUSED_PASSWORD: &str = "грешна-парола";

/// Common values of the cases.
const AT_THE_BANK: Case = Case {
    name: "",
    cause: None,
    begins: |_| {},
    ends: open,
    says: &[],
    recovered: "source fibank",
    remedy: "",
    starts: true,
    lasts: true,
};
const IN_THE_SHEET: Case = Case { ends: heal, recovered: "destination household", ..AT_THE_BANK };
const IN_THE_BASE: Case = Case { ends: heal, recovered: "destination base", ..AT_THE_BANK };

const CASES: &[Case] = &[
    // ---- the bank ----
    Case {
        name: "a refused password",
        cause: Some(Cause::PasswordRefused),
        begins: |stage| stage.world.write_config_with_password(REFUSED_PASSWORD),
        ends: as_before,
        says: &["needs you: fibank: ", "password"],
        remedy: "Correct the password in the configuration",
        ..AT_THE_BANK
    },
    Case {
        name: "a locked login",
        cause: Some(Cause::Locked),
        begins: |stage| door(stage, Door::Locked),
        says: &["needs you: fibank: ", "блокиран"],
        remedy: "Have the bank unlock the login",
        ..AT_THE_BANK
    },
    Case {
        name: "a new password wanted",
        cause: Some(Cause::PasswordChange),
        begins: |stage| door(stage, Door::PasswordChange),
        says: &["needs you: fibank: ", "password"],
        remedy: "Set a new password on the bank's own page",
        ..AT_THE_BANK
    },
    Case {
        name: "a second factor",
        cause: Some(Cause::SecondFactor),
        begins: |stage| door(stage, Door::SecondFactor),
        says: &["needs you: fibank: ", "SMS"],
        remedy: "Run “bankfeed login” with this source",
        ..AT_THE_BANK
    },
    Case {
        name: "a session opened by hand that has ended",
        cause: Some(Cause::SecondFactor),
        begins: |stage| {
            door(stage, Door::SecondFactor);
            keep(stage, "logins/fibank-fibank.json", "a-token-the-bank-has-forgotten");
        },
        says: &["needs you: fibank: ", "`bankfeed login fibank`"],
        remedy: "Run “bankfeed login” with this source",
        ..AT_THE_BANK
    },
    Case {
        name: "maintenance",
        cause: Some(Cause::Maintenance),
        begins: |stage| door(stage, Door::Maintenance),
        says: &["needs you: fibank: ", "maintenance"],
        remedy: "the next scheduled run tries again",
        ..AT_THE_BANK
    },
    Case {
        name: "maintenance that begins after the sign-in",
        cause: Some(Cause::Maintenance),
        begins: |stage| {
            let page = "<html><body><p>В момента се извършва профилактика.</p></body></html>";
            stage.world.bank.server.fail("getCustQuery", 0, u32::MAX, Fault::Status(200, page.into()));
        },
        ends: heal,
        says: &["needs you: fibank: ", "maintenance", "профилактика"],
        remedy: "the next scheduled run tries again",
        ..AT_THE_BANK
    },
    Case {
        name: "an unknown page",
        cause: Some(Cause::UnknownPage),
        begins: |stage| {
            let page = format!(
                "<html><body><h1>Нещо ново</h1><p>&lt;img src=x onerror='alert(1)'&gt; &amp;amp; {}</p></body></html>",
                "думи ".repeat(400)
            );
            door(stage, Door::Unknown(page));
        },
        says: &["needs you: fibank: ", "Нещо ново", "…"],
        remedy: "do what it asks for",
        ..AT_THE_BANK
    },
    Case {
        name: "accounts that the login does not have",
        cause: Some(Cause::NotFound),
        begins: |stage| {
            config(stage, "kind = \"fibank\"", "kind = \"fibank\"\naccounts = [\"BG33FINV91501099999999\"]")
        },
        ends: as_before,
        says: &["needs you: fibank: ", "shows this login no account BG33…9999", "correct `accounts`"],
        remedy: "Name accounts of this login in the configuration",
        ..AT_THE_BANK
    },
    Case {
        name: "a password that is not where it should be",
        cause: Some(Cause::Machine),
        begins: |stage| {
            let password = stage.world.bank.edit(|bank| bank.password.clone());
            config(stage, &format!("password = \"{password}\""), "password = { file = \"/nowhere/at/all\" }");
        },
        ends: as_before,
        says: &["needs you: fibank: password: cannot read /nowhere/at/all", "put the secret there"],
        starts: false,
        ..AT_THE_BANK
    },
    Case {
        name: "sign-ins cut off again and again",
        cause: Some(Cause::OutcomeUnknown),
        begins: |stage| {
            let store = stage.world.engine().store;
            store.change_source("fibank", |state| state.unsettled.passwords = 3).unwrap();
        },
        says: &["needs you: fibank: 3 passwords in a row were sent to the bank", "run `bankfeed sync --retry`"],
        remedy: "see that the login is not locked",
        ..AT_THE_BANK
    },
    Case {
        name: "a bank that is down",
        begins: |stage| stage.world.bank.server.fail("", 0, u32::MAX, Fault::Status(503, String::new())),
        ends: heal,
        says: &["failed, will be tried again: fibank: "],
        ..AT_THE_BANK
    },
    // ---- Airtable ----
    Case {
        name: "a refused token",
        cause: Some(Cause::Token),
        begins: |stage| airtable_says(stage, 401, r#"{"error":{"type":"AUTHENTICATION_REQUIRED","message":"no"}}"#),
        says: &["needs you: airtable `base`: ", "the token is refused: make a new one"],
        remedy: "Make a new token or key",
        ..IN_THE_BASE
    },
    Case {
        name: "a token that cannot be one",
        cause: Some(Cause::Token),
        begins: |stage| with_token(stage, "pat with a gap"),
        ends: as_before,
        says: &["needs you: airtable `base`: token: ", "copy it once more"],
        remedy: "Make a new token or key",
        ..IN_THE_BASE
    },
    Case {
        name: "a token without the scope to write",
        cause: Some(Cause::NotFound),
        begins: |stage| {
            let scopes: Vec<&str> = SCOPES.into_iter().filter(|scope| *scope != "data.records:write").collect();
            with_token(stage, &stage.world.airtable.token_with(&scopes, Role::Create));
        },
        ends: as_before,
        says: &["needs you: airtable `base`: ", "give the token the scope data.records:write", "in all it needs data"],
        remedy: "Check that the sheet or base exists",
        ..IN_THE_BASE
    },
    Case {
        name: "a token without the base in its list",
        cause: Some(Cause::NotFound),
        begins: |stage| {
            let token = stage.world.airtable.token();
            stage.world.airtable.limit_token(&token, &["appOther"]);
            with_token(stage, &token);
        },
        ends: as_before,
        says: &["needs you: airtable `base`: ", "add the base to the token's list"],
        remedy: "Check that the sheet or base exists",
        ..IN_THE_BASE
    },
    Case {
        name: "a token whose user may only read",
        cause: Some(Cause::NotPermitted),
        begins: |stage| with_token(stage, &stage.world.airtable.token_with(&SCOPES, Role::Read)),
        ends: as_before,
        says: &["needs you: airtable `base`: ", "at least the role editor"],
        remedy: "the right to edit",
        ..IN_THE_BASE
    },
    Case {
        name: "a base that is gone",
        cause: Some(Cause::NotFound),
        begins: |stage| airtable_says(stage, 404, r#"{"error":"NOT_FOUND"}"#),
        says: &["needs you: airtable `base`: ", "check `base` and `table`"],
        remedy: "Check that the sheet or base exists",
        ..IN_THE_BASE
    },
    Case {
        name: "a table that was deleted",
        cause: Some(Cause::NotFound),
        begins: |stage| {
            stage.book(-150);
            stage.world.airtable.edit(&stage.world.base, |base| base.delete_table("Transactions"));
        },
        ends: |stage| config(stage, "table = \"Transactions\"", "table = \"Rows\""),
        says: &["needs you: airtable `base`: table `Transactions` is not in base", "name another one in `table`"],
        remedy: "Check that the sheet or base exists",
        ..IN_THE_BASE
    },
    Case {
        name: "a field that was made a formula",
        cause: Some(Cause::Layout),
        begins: |stage| {
            stage.book(-150);
            stage
                .world
                .airtable
                .edit(&stage.world.base, |base| base.change_field("Transactions", "Reference", "formula"));
        },
        ends: |stage| {
            let base = &stage.world.base;
            stage.world.airtable.edit(base, |base| base.change_field("Transactions", "Reference", "singleLineText"));
        },
        says: &[
            "needs you: airtable `base`: table `Transactions`: field `Reference`",
            "is computed",
            "change its type",
        ],
        remedy: "Put back the missing column",
        ..IN_THE_BASE
    },
    Case {
        name: "an id field that was deleted",
        cause: Some(Cause::Layout),
        begins: |stage| {
            stage.book(-150);
            stage.world.airtable.edit(&stage.world.base, |base| base.delete_field("Transactions", "Transaction ID"));
        },
        says: &["needs you: airtable `base`: table `Transactions`: the column with the transaction ids was deleted"],
        remedy: "Put back the missing column",
        lasts: false,
        ..IN_THE_BASE
    },
    Case {
        name: "a base that is full",
        cause: Some(Cause::Quota),
        begins: |stage| {
            stage.book(-150);
            stage.world.airtable.record_cap(Some(12));
        },
        ends: |stage| stage.world.airtable.record_cap(None),
        says: &["needs you: airtable `base`: base `app", "is full: delete rows or change the plan"],
        remedy: "Make room or raise the plan's limit",
        ..IN_THE_BASE
    },
    Case {
        name: "a month's budget of the plan spent",
        cause: Some(Cause::Quota),
        begins: |stage| {
            let body = r#"{"errors":[{"error":"PUBLIC_API_BILLING_LIMIT_EXCEEDED","message":"API billing plan limit exceeded."}]}"#;
            airtable_says(stage, 429, body);
        },
        ends: |stage| {
            heal(stage);
            // Another budget lets the next cycle try again within the month.
            config(stage, "[[notify]]", "monthly_requests = 100000\n\n[[notify]]");
        },
        says: &["needs you: airtable `base`: ", "API calls of this month's plan are used up", "it goes on on "],
        remedy: "raise the plan's limit",
        ..IN_THE_BASE
    },
    Case {
        name: "a month's budget of the owner's own spent",
        cause: Some(Cause::Quota),
        begins: |stage| {
            stage.book(-150);
            config(stage, "[[notify]]", "monthly_requests = 1\n\n[[notify]]");
        },
        ends: as_before,
        says: &["needs you: airtable `base`: this month's 1 requests are spent", "raise `monthly_requests`"],
        remedy: "raise the plan's limit",
        ..IN_THE_BASE
    },
    // ---- Google Sheets ----
    Case {
        name: "a sheet that is no longer shared",
        cause: Some(Cause::NotFound),
        begins: |stage| share(stage, Access::None),
        ends: |stage| share(stage, Access::Editor),
        says: &["needs you: google-sheets `household`: ", "share the spreadsheet with "],
        remedy: "shared with bankfeed's account",
        ..IN_THE_SHEET
    },
    Case {
        name: "a sheet that may only be read",
        cause: Some(Cause::NotPermitted),
        begins: |stage| share(stage, Access::Viewer),
        ends: |stage| share(stage, Access::Editor),
        says: &["needs you: google-sheets `household`: ", "as editor"],
        remedy: "the right to edit",
        ..IN_THE_SHEET
    },
    Case {
        name: "a range that is protected",
        cause: Some(Cause::NotPermitted),
        begins: |stage| {
            stage.book(-150);
            stage.world.google.edit(&stage.world.spreadsheet, |sheet| sheet.protect("Transactions", 0, 2000));
        },
        ends: |stage| stage.world.google.edit(&stage.world.spreadsheet, |sheet| sheet.unprotect("Transactions")),
        says: &["needs you: google-sheets `household`: a protected range stands in the way: allow "],
        remedy: "the right to edit",
        ..IN_THE_SHEET
    },
    Case {
        name: "an API that is off",
        cause: Some(Cause::Closed),
        begins: |stage| {
            stage.book(-150);
            stage.world.google.disable_api(true);
        },
        ends: |stage| stage.world.google.disable_api(false),
        says: &["needs you: google-sheets `household`: the Google Sheets API is off: enable it"],
        remedy: "Do what the service's own words ask for",
        ..IN_THE_SHEET
    },
    Case {
        name: "a spreadsheet that is gone",
        cause: Some(Cause::NotFound),
        begins: |stage| google_says(stage, 404, "NOT_FOUND", "Requested entity was not found."),
        says: &["needs you: google-sheets `household`: there is no spreadsheet `", "check `spreadsheet`"],
        remedy: "Check that the sheet or base exists",
        ..IN_THE_SHEET
    },
    Case {
        name: "an Excel file in its place",
        cause: Some(Cause::NotFound),
        begins: |stage| {
            google_says(stage, 400, "FAILED_PRECONDITION", "This operation is not supported for this document");
        },
        says: &["needs you: google-sheets `household`: the document is an Excel file: open it and save it as Google"],
        remedy: "Check that the sheet or base exists",
        ..IN_THE_SHEET
    },
    Case {
        name: "a spreadsheet that is full",
        cause: Some(Cause::Quota),
        begins: |stage| {
            let text =
                "This action would increase the number of cells in the workbook above the limit of 10000000 cells.";
            google_says(stage, 400, "INVALID_ARGUMENT", text);
        },
        says: &[
            "needs you: google-sheets `household`: the spreadsheet is full (This action",
            "10000000 cells): delete empty rows",
        ],
        remedy: "Make room",
        ..IN_THE_SHEET
    },
    Case {
        name: "a store for metadata that is full",
        cause: Some(Cause::Quota),
        begins: |stage| {
            google_says(
                stage,
                400,
                "INVALID_ARGUMENT",
                "The developer metadata would exceed the limit of 30000 characters.",
            );
        },
        says: &["needs you: google-sheets `household`: the spreadsheet's store for developer metadata is full"],
        remedy: "Make room",
        ..IN_THE_SHEET
    },
    Case {
        name: "two id columns",
        cause: Some(Cause::Layout),
        begins: |stage| {
            stage.book(-150);
            stage.world.google.edit(&stage.world.spreadsheet, |sheet| {
                sheet.delete_tab("Transactions");
                sheet.rename_tab("Balances", "Transactions");
                sheet.set_cell("Transactions", 0, 0, CellValue::Text("Transaction ID".into()));
                sheet.set_cell("Transactions", 0, 1, CellValue::Text("id".into()));
            });
        },
        ends: |stage| {
            stage.world.google.edit(&stage.world.spreadsheet, |sheet| sheet.delete_tab("Transactions"));
        },
        says: &["needs you: google-sheets `household`: ", "two columns headed `Transaction ID` (A and B): rename one"],
        remedy: "Put back the missing column",
        ..IN_THE_SHEET
    },
    Case {
        name: "an id column that was deleted",
        cause: Some(Cause::Layout),
        begins: |stage| {
            stage.book(-150);
            stage.world.google.edit(&stage.world.spreadsheet, |sheet| sheet.delete_column("Transactions", 11));
        },
        says: &[
            "needs you: google-sheets `household`: tab `Transactions`: the column with the transaction ids was deleted",
        ],
        remedy: "Put back the missing column",
        lasts: false,
        ..IN_THE_SHEET
    },
    Case {
        name: "a key that was deleted",
        cause: Some(Cause::Token),
        begins: |stage| sign_in_says(stage, "Invalid JWT Signature."),
        says: &["needs you: google-sheets `household`: the sign-in as ", "create a new JSON key"],
        remedy: "Make a new token or key",
        ..IN_THE_SHEET
    },
    Case {
        name: "a key that is none",
        cause: Some(Cause::Token),
        begins: |stage| {
            stage.book(-150);
            std::fs::write(stage.world.dir.path().join("google-key.json"), "-----BEGIN").unwrap();
        },
        ends: as_before,
        says: &["needs you: google-sheets `household`: `service_account` is not JSON: create a JSON key"],
        remedy: "Make a new token or key",
        ..IN_THE_SHEET
    },
    Case {
        name: "a token without the scope for spreadsheets",
        cause: Some(Cause::Token),
        begins: |stage| {
            google_says(stage, 403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.");
        },
        says: &["needs you: google-sheets `household`: the token lacks the scope for spreadsheets: make a new key"],
        remedy: "Make a new token or key",
        ..IN_THE_SHEET
    },
    Case {
        name: "a clock that is wrong",
        cause: Some(Cause::Machine),
        begins: |stage| {
            let text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.";
            sign_in_says(stage, text);
        },
        says: &["needs you: google-sheets `household`: ", "this machine's clock is wrong: set it, best by NTP"],
        remedy: "its clock wrong",
        ..IN_THE_SHEET
    },
    Case {
        name: "a sign-in that nobody has made",
        cause: Some(Cause::Token),
        begins: |stage| owner_signs_in(stage, &stage.world.google.oauth_client(), None),
        ends: as_before,
        says: &["needs you: google-sheets `household`: nobody has signed in yet: run `bankfeed login household`"],
        remedy: "Make a new token or key",
        ..IN_THE_SHEET
    },
    Case {
        name: "a sign-in that Google has ended",
        cause: Some(Cause::Token),
        begins: |stage| {
            let client = stage.world.google.oauth_client();
            owner_signs_in(stage, &client, Some(&client));
        },
        ends: as_before,
        says: &["needs you: google-sheets `household`: Google has ended the sign-in", "run `bankfeed login household`"],
        remedy: "Make a new token or key",
        ..IN_THE_SHEET
    },
    Case {
        name: "a sign-in of another OAuth client",
        cause: Some(Cause::Token),
        begins: |stage| {
            let client = stage.world.google.oauth_client();
            owner_signs_in(stage, &client, Some(&client.replace("simulated-client", "another-client")));
        },
        ends: as_before,
        says: &[
            "needs you: google-sheets `household`: the sign-in belongs to another OAuth client: run `bankfeed login",
        ],
        remedy: "Make a new token or key",
        ..IN_THE_SHEET
    },
    Case {
        name: "an OAuth client that Google does not know",
        cause: Some(Cause::Token),
        begins: |stage| {
            let client = stage.world.google.oauth_client().replace("simulated-client", "another-client");
            owner_signs_in(stage, &client, Some(&client));
        },
        ends: as_before,
        says: &["needs you: google-sheets `household`: Google does not know the OAuth client: download its JSON again"],
        remedy: "Make a new token or key",
        ..IN_THE_SHEET
    },
    Case {
        name: "a service that is down",
        begins: |stage| {
            stage.book(-150);
            stage.world.google.server.fail("", 0, u32::MAX, Fault::Drop);
        },
        says: &["failed, will be tried again: google-sheets `household`: "],
        ..IN_THE_SHEET
    },
];

fn heal(stage: &Stage) {
    stage.world.google.server.heal();
    stage.world.airtable.server.heal();
    stage.world.bank.server.heal();
}

fn as_before(stage: &Stage) {
    stage.world.write_config();
}

fn config(stage: &Stage, from: &str, to: &str) {
    let text = std::fs::read_to_string(stage.world.config_path()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    write_private(&stage.world.config_path(), &text.replacen(from, to, 1));
}

fn keep(stage: &Stage, file: &str, text: &str) {
    let path = stage.world.data_dir().join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_private(&path, text);
}

fn airtable_says(stage: &Stage, status: u16, body: &str) {
    stage.book(-150);
    stage.world.airtable.server.fail("", 0, u32::MAX, Fault::Status(status, body.into()));
}

/// A row to write, with this token.
fn with_token(stage: &Stage, token: &str) {
    stage.book(-150);
    let text = std::fs::read_to_string(stage.world.config_path()).unwrap();
    let line = text.lines().find(|line| line.starts_with("token = ")).unwrap();
    config(stage, line, &format!("token = \"{token}\""));
}

fn share(stage: &Stage, access: Access) {
    stage.book(-150);
    stage.world.google.share(&stage.world.spreadsheet, access);
}

fn google_says(stage: &Stage, status: u16, kind: &str, text: &str) {
    stage.book(-150);
    let body = serde_json::json!({"error": {"code": status, "message": text, "status": kind}});
    stage.world.google.server.fail("/v4/", 0, u32::MAX, Fault::Status(status, body.to_string()));
}

fn sign_in_says(stage: &Stage, text: &str) {
    stage.book(-150);
    let body = serde_json::json!({"error": "invalid_grant", "error_description": text});
    stage.world.google.server.fail("/token", 0, u32::MAX, Fault::Status(400, body.to_string()));
}

/// The sheet is written in the owner's name: by this client, with a sign-in of that one, which Google takes for ended.
fn owner_signs_in(stage: &Stage, client: &str, signed_in: Option<&str>) {
    stage.book(-150);
    write_private(&stage.world.dir.path().join("client.json"), client);
    let text = std::fs::read_to_string(stage.world.config_path()).unwrap();
    let line = text.lines().find(|line| line.starts_with("service_account = ")).unwrap();
    config(stage, line, "oauth = { client = { file = \"client.json\" } }");
    if let Some(client) = signed_in {
        let client: serde_json::Value = serde_json::from_str(client).unwrap();
        let session = serde_json::json!({"client_id": client["installed"]["client_id"], "refresh_token": "1//gone"});
        keep(stage, "logins/google-household.json", &session.to_string());
    }
}

/// Each case is told once, with the exit status, the sentence and the message; no message comes while it lasts, and one
/// at its end.
#[tokio::test(flavor = "multi_thread")]
async fn every_cause_is_told_once_and_so_is_its_end() {
    let running: Vec<_> = CASES.iter().map(|case| (case.name, tokio::spawn(is_told_once(case)))).collect();
    let mut failed = Vec::new();
    for (name, case) in running {
        if case.await.is_err() {
            failed.push(name);
        }
    }
    assert_eq!(failed, Vec::<&str>::new());
}

/// A cause that somebody adds has to be put into the list here before anything compiles, and then has to have a row.
#[test]
fn every_cause_there_is_has_a_row() {
    use Cause::*;
    let all = [
        PasswordRefused,
        Locked,
        PasswordChange,
        SecondFactor,
        Maintenance,
        UnknownPage,
        OutcomeUnknown,
        Token,
        NotFound,
        NotPermitted,
        Layout,
        Quota,
        Closed,
        Machine,
    ];
    for cause in all {
        match cause {
            PasswordRefused | Locked | PasswordChange | SecondFactor | Maintenance | UnknownPage | OutcomeUnknown
            | Token | NotFound | NotPermitted | Layout | Quota | Closed | Machine => {}
            // Causes of a service between bankfeed and the banks, which this household has none of.
            AccessEnded | BankLogin => continue,
        }
        assert!(CASES.iter().any(|case| case.cause == Some(cause)), "{cause:?}");
    }
}

async fn is_told_once(case: &Case) {
    let stage = Stage::new().await;
    let (report, arrived) = stage.cycle().await;
    assert_eq!((report.exit_status(), message(&arrived).1), (0, "bankfeed: 12 new transactions"), "{}", case.name);
    (case.begins)(&stage);
    let (report, arrived) = stage.scheduled().await;
    let attention = case.says[0].starts_with("needs you: ");
    let status = if attention { 3 } else { 1 };
    assert_eq!(report.exit_status(), status, "{}: {report:?}", case.name);
    let (_, title, text) = message(&arrived);
    assert_eq!(title, if attention { NEEDS_YOU } else { FAILED }, "{}", case.name);
    for part in case.says {
        assert!(text.contains(part), "{}: `{part}` is not in: {text}", case.name);
    }
    assert!(text.lines().next().unwrap().chars().count() < 350, "{}: {text}", case.name);
    assert!(!text.contains(REFUSED_PASSWORD) && !text.contains("FINV91501"), "{}: {text}", case.name);
    assert_eq!(remembered(case, &stage), case.cause, "{}", case.name);
    if case.starts {
        is_on_the_page(case, &stage, &report).await;
    } else {
        let refused = crate::cli::run(&stage.world, &["run"]).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && said.contains(case.says[1]), "{}: {said}", case.name);
    }
    if case.lasts {
        for _ in 0..2 {
            let (report, arrived) = stage.scheduled().await;
            assert_eq!((report.exit_status(), arrived), (status, Vec::new()), "{}: told again", case.name);
        }
        (case.ends)(&stage);
    }
    let (report, arrived) = stage.cycle().await;
    assert_eq!(report.exit_status(), 0, "{}: {report:?}", case.name);
    let (_, title, text) = message(&arrived);
    assert_eq!(title, "bankfeed works again", "{}", case.name);
    assert!(text.contains("works again, after ") && text.contains(case.recovered), "{}: {text}", case.name);
    assert_eq!(stage.cycle().await.1, Vec::new(), "{}: its end is told once", case.name);
}

/// The owner's task as the store remembers it.
fn remembered(case: &Case, stage: &Stage) -> Option<Cause> {
    let engine = stage.world.engine();
    let attention = match case.recovered.split_once(' ') {
        Some(("source", name)) => engine.store.source(name).unwrap().attention,
        Some((_, name)) => {
            let config = engine.config.destinations.iter().find(|destination| destination.name == name).unwrap();
            engine.store.destination(name, &config.target()).unwrap().attention
        }
        None => None,
    };
    attention.map(|attention| attention.cause)
}

/// A visitor signed in to the page reads the sentence, without the name that stands before it anyway, and the advice.
async fn is_on_the_page(case: &Case, stage: &Stage, report: &Report) {
    let [page, bulgarian] = crate::web::front_pages(&stage.world, TOKEN).await;
    let (name, sentence, _) = report.errors().next().unwrap();
    let escaped = |text: &str| {
        [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")]
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let bare = sentence.trim_start_matches("airtable ").trim_start_matches("google-sheets ");
    let bare = bare.trim_start_matches(&format!("`{name}`: ")).trim_start_matches(&format!("{name}: "));
    let section = section_about(case, &page);
    let shown = format!(": <bdi lang=\"en\">{}</bdi>", escaped(bare));
    assert!(section.contains(&shown), "{}: `{shown}` is not in {section}", case.name);
    let remedy = section.split("<span class=\"remedy\">").nth(1).unwrap_or_default().split("</span>").next().unwrap();
    assert!(remedy.contains(case.remedy), "{}: `{}` is not in {section}", case.name, case.remedy);
    assert_eq!(remedy.is_empty(), case.remedy.is_empty(), "{}: {section}", case.name);
    assert!(!page.contains("<img src=x") && !page.contains(REFUSED_PASSWORD), "{}", case.name);
    is_told_in_bulgarian(case, &bulgarian);
}

/// Causes on a Bulgarian page are Bulgarian sentences: of the English ones only names are left.
fn is_told_in_bulgarian(case: &Case, page: &str) {
    let texts = page.split_once("<main>").unwrap().1.split('<').filter_map(|part| part.split_once('>'));
    let texts = texts.filter(|(tag, _)| *tag != "code").map(|(_, text)| text);
    let lower = |word: &&str| word.len() > 2 && word.chars().all(|c| c.is_ascii_lowercase());
    let english: Vec<&str> = texts.filter(|text| text.split_whitespace().filter(lower).count() > 2).collect();
    assert_eq!(english, Vec::<&str>::new(), "{}", case.name);
    let section = section_about(case, page);
    assert!(!section.contains("lang=\"en\"") && !section.contains("status "), "{}: {section}", case.name);
}

fn section_about<'a>(case: &Case, page: &'a str) -> &'a str {
    let class = if case.remedy.is_empty() { "failing" } else { "attention" };
    let section = page.split(&format!("<section class=\"{class}\"")).nth(1);
    let section = section.and_then(|rest| rest.split("</section>").next());
    section.unwrap_or_else(|| panic!("{}: the page says nothing of it: {page}", case.name))
}
