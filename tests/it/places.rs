//! Places that are full or closed: rows wait for them, few requests tell so, and no row is set aside for their sake.

use bankfeed::remote::{Backoff, Cause};
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::{Fault, Server};
use bankfeed::sync::{DestinationReport, Outcome, Request};
use chrono::Utc;
use rust_decimal::Decimal;

use crate::cli::json;
use crate::world::World;

fn book(world: &World, payee: &str) -> String {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let (number, amount) = (bank.last_number() + 1, Decimal::new(-420, 2));
        let (value_date, counterparty) = (time.date_naive(), payee.to_owned());
        bank.add(&iban, Entry { number, time, value_date, amount, counterparty, ..Entry::default() });
        format!("fibank:{iban}:{number}")
    })
}

/// A destination and the way its service refuses.
struct Place {
    at: usize,
    server: fn(&World) -> &Server,
    writes: &'static str,
    says: fn(&str) -> String,
}

const SHEET: Place = Place {
    at: 0,
    server: |world| &world.google.server,
    writes: ":batchUpdate",
    says: |message| {
        serde_json::json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}).to_string()
    },
};
const BASE: Place = Place {
    at: 1,
    server: |world| &world.airtable.server,
    writes: "PATCH",
    says: |message| serde_json::json!({"error": {"type": "SOMETHING_NEW", "message": message}}).to_string(),
};

impl Place {
    async fn cycle(&self, world: &World) -> DestinationReport {
        world.clear_logs();
        world.cycle().await.destinations.swap_remove(self.at)
    }

    /// Five new rows against a place that answers every write like this: they wait, and arrive once it is over.
    async fn refuses_all(&self, status: u16, message: &str, first: u64, later: u64, cause: Cause) {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        (0..5).for_each(|_| drop(book(&world, "ПЕКАРНА")));
        let server = (self.server)(&world);
        server.fail(self.writes, 0, u32::MAX, Fault::Status(status, (self.says)(message)));
        for most in [first, later, later] {
            let report = self.cycle(&world).await;
            let error = report.error.clone().unwrap_or_default();
            assert_eq!(
                (report.outcome, report.rejected, report.waiting),
                (Outcome::Attention, 0, 5),
                "{message}: {report:?}"
            );
            assert!(error.contains(message.trim_end_matches('.')) && error.contains("rows wait"), "{error}");
            assert!(report.requests <= most, "{message}: {} requests where {most} do", report.requests);
        }
        let (code, status) = json(&world, &["status", "--json"]).await;
        let destination = &status["destinations"][self.at];
        assert_eq!((&destination["waiting"], &destination["rejected"]), (&5.into(), &serde_json::json!([])), "{code}");
        let engine = world.engine();
        let config = &engine.config.destinations[self.at];
        let attention = engine.store.destination(&config.name, &config.target()).unwrap().attention.unwrap();
        assert_eq!(attention.cause, cause);
        drop(engine);
        server.heal();
        let report = self.cycle(&world).await;
        assert_eq!((report.outcome, report.appended), (Outcome::Ok, 5), "{report:?}");
        world.assert_delivered();
    }

    /// Checks that the bad ones of five rows are refused for an unknown reason and the others arrive.
    async fn refuses_some(&self, bad: &[usize]) {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        let payees: Vec<String> =
            (0..5).map(|n| if bad.contains(&n) { format!("ЛОШ{n}") } else { "ДОБЪР".into() }).collect();
        let ids: Vec<String> = payees.iter().map(|payee| book(&world, payee)).collect();
        let texts: Vec<&str> = bad.iter().map(|n| payees[*n].as_str()).collect();
        (self.server)(&world).fail_on(
            self.writes,
            &texts,
            Fault::Status(if self.at == 0 { 400 } else { 422 }, (self.says)("Not this one")),
        );
        let report = self.cycle(&world).await;
        let counts = (report.outcome, report.appended, report.rejected, report.waiting);
        assert_eq!(counts, (Outcome::Ok, 5 - bad.len() as u64, bad.len() as u64, 0), "{bad:?}: {report:?}");
        let (_, status) = json(&world, &["status", "--json"]).await;
        let rejected = status["destinations"][self.at]["rejected"].to_string();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(rejected.contains(id.as_str()), bad.contains(&n), "{n}: {rejected}");
        }
        assert_eq!(self.cycle(&world).await.requests, 0, "what is refused for good costs nothing more");
    }
}

#[tokio::test]
async fn a_full_spreadsheet_whatever_it_says() {
    for (status, message) in [
        (
            400,
            "Invalid requests[1].appendCells: This action would increase the number of cells in the workbook above the limit of 10000000 cells.",
        ),
        (400, "This action would increase the number of cells in the workbook above the limit of 20000000 cells."),
        (400, "Your spreadsheet has reached its maximum size"),
        (403, "The user's Drive storage quota has been exceeded"),
        (413, "The document is too large"),
    ] {
        SHEET.refuses_all(status, message, 4, 4, Cause::Quota).await;
    }
}

#[tokio::test]
async fn a_spreadsheet_that_may_only_be_read() {
    for (status, message) in [(400, "This document is locked"), (403, "The file is read-only")] {
        SHEET.refuses_all(status, message, 4, 4, Cause::NotPermitted).await;
    }
}

#[tokio::test]
async fn a_spreadsheet_that_refuses_every_row_in_words_nobody_knows() {
    for message in ["Not today please", "Invalid requests[1].appendCells: Sorry."] {
        SHEET.refuses_all(400, message, 10, 6, Cause::Closed).await;
    }
}

#[tokio::test]
async fn a_full_base_whatever_it_says() {
    for (status, message) in [
        (422, "This base has reached the limit of 1000 records of its plan"),
        (403, "Upgrade your plan to add more records"),
        (402, "The workspace is over its limits"),
    ] {
        BASE.refuses_all(status, message, 1, 1, Cause::Quota).await;
    }
    BASE.refuses_all(403, "This table is locked", 1, 1, Cause::NotPermitted).await;
    BASE.refuses_all(403, "Your organization has suspended it", 1, 1, Cause::Closed).await;
}

#[tokio::test]
async fn a_base_that_refuses_every_row_in_words_nobody_knows() {
    BASE.refuses_all(422, "Not today", 5, 1, Cause::Closed).await;
}

#[tokio::test]
async fn rows_refused_beside_others_that_are_taken_are_named_and_keep_nobody_waiting() {
    for place in [SHEET, BASE] {
        for bad in [&[0][..], &[2], &[4], &[0, 1, 2], &[1, 3]] {
            place.refuses_some(bad).await;
        }
    }
}

#[tokio::test]
async fn a_lone_row_refused_in_words_nobody_knows_waits_until_another_shows_who_is_to_blame() {
    for place in [SHEET, BASE] {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        let id = book(&world, "ЛОШ");
        let status = if place.at == 0 { 400 } else { 422 };
        (place.server)(&world).fail_on(place.writes, &["ЛОШ"], Fault::Status(status, (place.says)("Not this one")));
        let report = place.cycle(&world).await;
        assert_eq!((report.outcome, report.waiting, report.rejected), (Outcome::Attention, 1, 0), "{report:?}");
        book(&world, "ДОБЪР");
        let report = place.cycle(&world).await;
        assert_eq!((report.outcome, report.appended, report.rejected), (Outcome::Ok, 1, 1), "{report:?}");
        let (_, status) = json(&world, &["status", "--json"]).await;
        assert!(status["destinations"][place.at]["rejected"].to_string().contains(&id), "{status}");
    }
}

#[tokio::test]
async fn a_403_says_what_google_says_and_advises_sharing_for_a_plain_missing_right_alone() {
    let forbidden = |message: &str, reason: &str| {
        let details = serde_json::json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]);
        let error =
            serde_json::json!({"code": 403, "message": message, "status": "PERMISSION_DENIED", "details": details});
        Fault::Status(403, serde_json::json!({ "error": error }).to_string())
    };
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    book(&world, "ПЕКАРНА");
    for (message, reason, share) in [
        ("The caller does not have permission", "PERMISSION_DENIED", true),
        ("Permission denied: Consumer 'projects/42' has been suspended.", "CONSUMER_SUSPENDED", false),
        ("Request is prohibited by organization's policy", "SECURITY_POLICY_VIOLATED", false),
        ("The user's Drive storage quota has been exceeded.", "storageQuotaExceeded", false),
        ("This API method requires billing to be enabled", "BILLING_DISABLED", false),
    ] {
        world.google.server.fail("v4/spreadsheets", 0, u32::MAX, forbidden(message, reason));
        let report = SHEET.cycle(&world).await;
        let error = report.error.unwrap();
        assert_eq!(report.outcome, Outcome::Attention, "{error}");
        assert!(error.contains(message.trim_end_matches('.')), "{error}");
        assert_eq!(error.contains("share the spreadsheet"), share, "{error}");
        let (_, status) = json(&world, &["status", "--json"]).await;
        assert_eq!(status["destinations"][0]["attention"].to_string().contains("share the spreadsheet"), share);
        world.google.server.heal();
    }
    assert_eq!(SHEET.cycle(&world).await.appended, 1);
}

/// The destinations in one base share its rate limit, at the pace of every day.
#[tokio::test]
async fn two_tables_of_one_base_cost_no_refused_request() {
    let mut world = World::new(Bank::small()).await;
    world.extra[2] = format!(
        "\n[[destination]]\nname = \"second\"\nkind = \"airtable\"\nbase = \"{}\"\ntable = \"Other\"\ntoken = \"{}\"\nbase_url = \"{}\"\n",
        world.base,
        world.airtable.token(),
        world.airtable.server.url()
    );
    world.write_config();
    world.airtable.rate_limit(Some(5), std::time::Duration::from_secs(30));
    let mut engine = world.engine();
    engine.backoff = Backoff::default();
    let nobody: bankfeed::sync::Watcher = std::sync::Arc::new(|_| {});
    let report = engine.cycle(&Request { by_hand: true, ..Request::default() }, &nobody).await.unwrap();
    assert_eq!(report.exit_status(), 0, "{report:?}");
    let refused = world.airtable.server.log().iter().filter(|one| one.status == 429).count();
    assert_eq!((refused, world.airtable.server.requests() > 5), (0, true));
}
