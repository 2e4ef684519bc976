//! The duties of every destination towards the engine, tested against its simulator through the real stack. A line per
//! destination stands at the end of this file; its differences (the owner's way to delete a row, the cost of a request)
//! stand in its [`Place`].
//!
//! An answer that never comes is not tested here. The connectors wait 60 s and more for an answer, and a test will not.

use std::collections::BTreeMap;
use std::sync::Arc;

use bankfeed::remote::Cause;
use bankfeed::simulator::airtable::RATE_LIMITED;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::CellValue;
use bankfeed::simulator::odoo::Line;
use bankfeed::simulator::{Fault, Server};
use bankfeed::sync::{DestinationReport, Outcome, Request};
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::database;
use crate::world::World;

/// The way to a service, with its counter and its faults.
trait Door {
    fn requests(&self) -> u64;
    fn clear(&self);
    fn fail(&self, matching: &str, skip: u32, times: u32, fault: Fault);
    fn heal(&self);
    fn faults_left(&self) -> bool;
    fn land(&self) -> BoxFuture<'_, ()>;

    fn fail_next(&self, matching: &str, fault: Fault) {
        self.fail(matching, 0, 1, fault);
    }
}

macro_rules! door {
    ($($kind:ty),*) => { $(impl Door for $kind {
        fn requests(&self) -> u64 { <$kind>::requests(self) }
        fn clear(&self) { <$kind>::clear_log(self) }
        fn fail(&self, matching: &str, skip: u32, times: u32, fault: Fault) {
            <$kind>::fail(self, matching, skip, times, fault)
        }
        fn heal(&self) { <$kind>::heal(self) }
        fn faults_left(&self) -> bool { <$kind>::faults_left(self) }
        fn land(&self) -> BoxFuture<'_, ()> { Box::pin(<$kind>::land(self)) }
    })* };
}

door!(Server, database::Proxy);

/// Rows by id: payee and amount, once for each time the row is there.
type Found = BTreeMap<String, Vec<(String, String)>>;

/// A 429, with the outcome of the cycle and its number of requests.
type Throttle = (&'static str, Fault, Outcome, u64);

/// A destination, seen by its owner.
struct Place {
    name: &'static str,
    /// Index of the destination in the world's configuration.
    at: usize,
    server: fn(&World) -> Arc<dyn Door>,
    /// Text by which a request that writes rows is recognised.
    writes: &'static str,
    rows: fn(&World) -> Found,
    /// The owner deletes a row.
    delete: fn(&World, &str),
    /// Makes this new entry's row, and no other, impossible to write; `mend` undoes it.
    spoil: fn(&World, u64),
    mend: fn(&World, u64),
    /// Entries that make more than one batch, and their requests.
    more_than_a_batch: (usize, usize),
    costs: Costs,
    /// The refusal of an invalid token: address, status and body.
    bad_token: (&'static str, u16, &'static str),
    /// 429s, with the outcome of the cycle and its number of requests.
    throttles: fn() -> Vec<Throttle>,
}

/// Requests, sign-in included.
struct Costs {
    /// The first dozen rows, with everything that has to be made for them.
    first: u64,
    /// A few new rows.
    new: u64,
    /// A few corrections.
    correction: u64,
    /// New rows that exceed a batch.
    over_limit: u64,
    /// New rows whose answer is lost, where they had been written, and where not.
    lost_after: u64,
    lost_before: u64,
    /// A lost request that arrives after the sender has given up: before the next request, and just before the next
    /// try.
    late: [u64; 2],
    /// A few new rows with one among them that is refused.
    bad_row: u64,
}

impl Place {
    fn google_sheets() -> Place {
        Place {
            name: "household",
            at: 0,
            server: |world| Arc::new(world.google.server.clone()),
            writes: ":batchUpdate",
            rows: |world| {
                let (payees, ids) = (world.column("Counterparty"), world.in_sheet());
                let text =
                    |cell: &CellValue| if let CellValue::Text(text) = cell { text.clone() } else { String::new() };
                gather(ids.into_iter().zip(&payees).map(|((id, amount), payee)| (id, text(payee), amount)))
            },
            delete: |world, id| {
                let at = world.in_sheet().iter().position(|(there, _)| there == id).unwrap();
                world.google.edit(&world.spreadsheet, |book| book.delete_row("Transactions", at + 1));
            },
            spoil: |world, number| change(world, number, |entry| entry.counterparty = "х".repeat(50_001)),
            mend: |world, number| change(world, number, |entry| entry.counterparty = "КЪСО".into()),
            more_than_a_batch: (30, 40_000),
            costs: Costs {
                first: 6,
                new: 3,
                correction: 4,
                over_limit: 4,
                lost_after: 5,
                lost_before: 5,
                late: [5, 7],
                bad_row: 4,
            },
            bad_token: ("/token", 400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#),
            throttles: || {
                let quota = r#"{"error":{"code":429,"message":"Quota exceeded for quota metric 'Write requests'","status":"RESOURCE_EXHAUSTED"}}"#;
                vec![
                    ("without a hint", Fault::Status(429, quota.into()), Outcome::Ok, 5),
                    ("with a short one", Fault::StatusRetryAfter(429, quota.into(), 0), Outcome::Ok, 5),
                    ("with a long one", Fault::StatusRetryAfter(429, quota.into(), 60), Outcome::Failed, 3),
                    ("without a body", Fault::Status(429, String::new()), Outcome::Ok, 5),
                ]
            },
        }
    }

    fn airtable() -> Place {
        Place {
            name: "base",
            at: 1,
            server: |world| Arc::new(world.airtable.server.clone()),
            writes: "PATCH",
            rows: |world| {
                let records = world.airtable.read(&world.base, |base| base.records("Transactions"));
                let text = |cell: Option<&Value>| cell.and_then(Value::as_str).unwrap_or_default().to_owned();
                gather(records.iter().filter(|record| record.contains_key("Amount")).map(|record| {
                    let amount = format!("{:.2}", record["Amount"].as_f64().unwrap());
                    (text(record.get("Transaction ID")), text(record.get("Counterparty")), amount)
                }))
            },
            delete: |world, id| {
                let found =
                    world.airtable.read(&world.base, |base| base.find("Transactions", "Transaction ID", &id.into()));
                world.airtable.edit(&world.base, |base| base.delete_record("Transactions", &found.unwrap()));
            },
            // The owner has pasted the row twice, so that the right one of the two cannot be told.
            spoil: |world, number| {
                let id = id_of(world, number);
                world.airtable.edit(&world.base, |base| {
                    (0..2)
                        .for_each(|_| drop(base.add_record("Transactions", &[("Transaction ID", id.clone().into())])));
                });
            },
            mend: |world, number| {
                let id = Value::from(id_of(world, number));
                world.airtable.edit(&world.base, |base| {
                    while let Some(record) = base.find("Transactions", "Transaction ID", &id) {
                        base.delete_record("Transactions", &record);
                    }
                });
                change(world, number, |entry| entry.counterparty = "КЪСО".into());
            },
            more_than_a_batch: (25, 10),
            costs: Costs {
                first: 4,
                new: 1,
                correction: 2,
                over_limit: 3,
                lost_after: 2,
                lost_before: 2,
                late: [2, 2],
                bad_row: 4,
            },
            bad_token: ("", 401, r#"{"error":{"type":"AUTHENTICATION_REQUIRED","message":"Authentication required"}}"#),
            throttles: || {
                let plain = |body: &str| Fault::Status(429, body.into());
                vec![
                    ("type and message", plain(RATE_LIMITED), Outcome::Failed, 1),
                    ("type alone", plain(r#"{"error":{"type":"RATE_LIMIT_REACHED"}}"#), Outcome::Failed, 1),
                    ("a bare word", plain(r#"{"error":"RATE_LIMIT_REACHED"}"#), Outcome::Failed, 1),
                    (
                        "the plural",
                        plain(r#"{"errors":[{"error":"RATE_LIMIT_REACHED","message":"slow"}]}"#),
                        Outcome::Failed,
                        1,
                    ),
                    ("a page", plain("<html>slow</html>"), Outcome::Failed, 1),
                    ("nothing", plain(""), Outcome::Failed, 1),
                    ("with a hint", Fault::StatusRetryAfter(429, RATE_LIMITED.into(), 1), Outcome::Failed, 1),
                ]
            },
        }
    }

    fn nocodb() -> Place {
        Place {
            name: "grid",
            at: 2,
            server: |world| Arc::new(world.nocodb.server.clone()),
            writes: "POST /api/v3/data",
            rows: |world| {
                let rows = world.nocodb.read(&world.grid, |base| base.table("Transactions").rows());
                gather(rows.iter().map(|row| {
                    let text = |title: &str| row.get(title).and_then(Value::as_str).unwrap_or_default().to_owned();
                    let amount: rust_decimal::Decimal = text("Amount").parse().unwrap();
                    (text("Transaction ID"), text("Counterparty"), format!("{amount:.2}"))
                }))
            },
            delete: |world, id| {
                world.nocodb.edit(&world.grid, |base| {
                    let table = base.table_mut("Transactions");
                    table.find("Transaction ID", id).into_iter().for_each(|record| table.delete(record));
                });
            },
            spoil: |world, number| change(world, number, |entry| entry.counterparty = "х".repeat(100_001)),
            mend: |world, number| change(world, number, |entry| entry.counterparty = "КЪСО".into()),
            more_than_a_batch: (105, 10),
            costs: Costs {
                first: 5,
                new: 2,
                correction: 3,
                over_limit: 13,
                // The rows are found, with them the titles of their fields are read, and once more at the end.
                lost_after: 5,
                lost_before: 6,
                late: [5, 7],
                bad_row: 2,
            },
            bad_token: (
                "",
                401,
                r#"{"error":"ERR_AUTHENTICATION_REQUIRED","message":"Authentication required - Invalid token"}"#,
            ),
            throttles: || {
                vec![
                    ("without a hint", Fault::Status(429, "slow".into()), Outcome::Ok, 6),
                    ("with a short one", Fault::StatusRetryAfter(429, "{}".into(), 0), Outcome::Ok, 6),
                    ("with a long one", Fault::StatusRetryAfter(429, "{}".into(), 60), Outcome::Failed, 2),
                ]
            },
        }
    }

    fn odoo() -> Place {
        Place {
            name: "books",
            at: 2,
            server: |world| Arc::new(world.odoo.server.clone()),
            writes: "/load",
            rows: |world| {
                world.odoo.edit(|books| {
                    let id = |line: i64| {
                        books.external_id(line).map(|id| id.replace("bankfeed.tx_", "").replace("_3a", ":"))
                    };
                    let row = |line: &Line| {
                        let id = id(line.id).unwrap_or_default();
                        (id, line.partner_name.clone(), format!("{:.2}", line.amount))
                    };
                    gather(books.lines.values().map(row))
                })
            },
            delete: |world, id| {
                let name = format!("bankfeed.tx_{}", id.replace(':', "_3a"));
                world.odoo.edit(|books| {
                    let (_, line) = books.external_ids[&name].clone();
                    books.delete_line(line);
                });
            },
            // No double holds the amount.
            spoil: |world, number| change(world, number, |entry| entry.amount = "-99999999999999.99".parse().unwrap()),
            mend: |world, number| change(world, number, |entry| entry.amount = "-1.50".parse().unwrap()),
            more_than_a_batch: (130, 10),
            costs: Costs {
                // The version, journals, currencies, companies and the key; the ids there; a look, the rows, their dates.
                first: 9,
                new: 3,
                // A look, the ids, the lines, and a write for each.
                correction: 6,
                over_limit: 7,
                lost_after: 5,
                lost_before: 5,
                late: [5, 5],
                bad_row: 3,
            },
            bad_token: (
                "",
                401,
                r#"{"name":"werkzeug.exceptions.Unauthorized","message":"Invalid apikey","arguments":["Invalid apikey",401],"context":{},"debug":""}"#,
            ),
            throttles: || {
                vec![
                    ("without a hint", Fault::Status(429, String::new()), Outcome::Ok, 5),
                    ("with a page", Fault::Status(429, "<html>slow</html>".into()), Outcome::Ok, 5),
                    ("with a short hint", Fault::StatusRetryAfter(429, String::new(), 0), Outcome::Ok, 5),
                    ("with a long one", Fault::StatusRetryAfter(429, String::new(), 60), Outcome::Failed, 2),
                ]
            },
        }
    }

    fn postgres() -> Place {
        Place {
            name: "warehouse",
            at: 2,
            server: |world| database::door(world),
            writes: "COMMIT",
            rows: |world| {
                let columns = "id, coalesce(counterparty, ''), amount::numeric(20,2)";
                let rows = database::shared().sql(&format!("SELECT {columns} FROM {}", database::table(world)));
                gather(rows.into_iter().map(|row| (row[0].clone(), row[1].clone(), row[2].clone())))
            },
            delete: |world, id| {
                database::shared().sql(&format!("DELETE FROM {} WHERE id = '{id}'", database::table(world)));
            },
            // The owner has made a rule that the row breaks.
            spoil: |world, number| {
                change(world, number, |entry| entry.counterparty = "ЛОШО".into());
                let table = database::table(world);
                database::shared().sql(&format!("ALTER TABLE {table} ADD CHECK (counterparty <> 'ЛОШО')"));
            },
            mend: |world, number| change(world, number, |entry| entry.counterparty = "КЪСО".into()),
            more_than_a_batch: (25, 10),
            costs: Costs {
                // A connection, its settings, the table looked for, made and looked at, the ledger looked for and made.
                first: 17,
                // A connection, its settings, table, ledger; BEGIN, the number, a look, the rows, COMMIT.
                new: 9,
                // A statement for each row, and the same for the rows' transfers, which a correction may have ended.
                correction: 18,
                over_limit: 9,
                lost_after: 12,
                lost_before: 17,
                late: [12, 12],
                bad_row: 29,
            },
            bad_token: ("", 401, "28P01"),
            throttles: || {
                vec![
                    ("too many connections", Fault::Status(429, "53300".into()), Outcome::Ok, 17),
                    ("starting up", Fault::Status(429, "57P03".into()), Outcome::Ok, 17),
                ]
            },
        }
    }

    /// A world in which this destination is served.
    async fn world(&self) -> World {
        if self.name == "warehouse" {
            return database::world(Bank::small()).await;
        }
        let mut world = World::new(Bank::small()).await;
        let entry = match self.name {
            "grid" => world.services.grid(),
            "books" => world.services.books(),
            _ => return world,
        };
        world.extra[2] = format!("\n{entry}");
        world.write_config();
        world
    }

    /// A cycle in which only this destination is served.
    async fn cycle(&self, world: &World) -> DestinationReport {
        world.clear_logs();
        (self.server)(world).clear();
        let request = Request { destinations: Some(vec![self.name.into()]), by_hand: true, ..Request::default() };
        let mut report = world.cycle_with(request).await;
        let report = report.destinations.swap_remove(self.at);
        assert_eq!(report.requests, (self.server)(world).requests(), "{}: what it counts is what was sent", self.name);
        report
    }

    /// A world in which the first rows have been delivered.
    async fn filled(&self) -> World {
        let world = self.world().await;
        assert_eq!(self.cycle(&world).await.outcome, Outcome::Ok);
        world
    }

    /// Checks that every row of the bank is there once with the bank's cells, and that no side has work left.
    async fn settled(&self, world: &World, what: &str) {
        let mut wanted = BTreeMap::new();
        for (iban, entry, _) in world.bank.edit(|bank| bank.transactions()) {
            let row = (entry.counterparty.trim().to_owned(), format!("{:.2}", entry.amount));
            wanted.insert(format!("fibank:{iban}:{}", entry.number), vec![row]);
        }
        assert_eq!((self.rows)(world), wanted, "{}: {what}", self.name);
        let report = self.cycle(world).await;
        assert_eq!((report.outcome, report.requests, report.waiting), (Outcome::Ok, 0, 0), "{}: {what}", self.name);
    }

    /// Delivers three new rows with this fault at the request that writes them: the outcome and the requests of that
    /// cycle. In the end the rows are there once.
    async fn write_through(&self, fault: Fault, what: &str) -> (Outcome, u64) {
        let world = self.filled().await;
        for _ in 0..3 {
            book(&world, "ХЛЯБ");
        }
        (self.server)(&world).fail_next(self.writes, fault);
        let report = self.cycle(&world).await;
        assert!(!(self.server)(&world).faults_left(), "{}: {what}: the fault struck", self.name);
        if report.outcome != Outcome::Ok {
            assert_eq!(self.cycle(&world).await.outcome, Outcome::Ok, "{}: {what}", self.name);
        }
        (self.server)(&world).land().await;
        self.settled(&world, what).await;
        (report.outcome, report.requests)
    }
}

async fn rows_arrive_once_and_cost_what_they_cost(place: Place) {
    let world = place.world().await;
    let report = place.cycle(&world).await;
    assert_eq!((report.appended, report.requests), (12, place.costs.first));
    place.settled(&world, "the first rows").await;
    for _ in 0..3 {
        book(&world, "КАФЕ");
    }
    let report = place.cycle(&world).await;
    assert_eq!((report.appended, report.updated, report.requests), (3, 0, place.costs.new));
    place.settled(&world, "twins").await;
}

async fn corrections_reach_the_rows_they_are_of(place: Place) {
    let world = place.filled().await;
    let numbers: Vec<u64> = (0..3).map(|_| book(&world, "РЕД")).collect();
    place.cycle(&world).await;
    numbers.iter().for_each(|number| change(&world, *number, |entry| entry.counterparty = "ПОПРАВЕН".into()));
    let report = place.cycle(&world).await;
    assert_eq!((report.appended, report.updated, report.requests), (0, 3, place.costs.correction));
    place.settled(&world, "corrections").await;
}

async fn more_than_a_batch_goes_in_several(place: Place) {
    let world = place.filled().await;
    let (rows, length) = place.more_than_a_batch;
    for at in 0..rows {
        let number = book(&world, "МНОГО");
        change(&world, number, |entry| entry.remittance[0] = format!("{at} {}", "д".repeat(length)));
    }
    let report = place.cycle(&world).await;
    assert_eq!((report.appended, report.requests), (rows as u64, place.costs.over_limit));
    place.settled(&world, "more than a batch").await;
}

async fn a_refused_token_is_the_owners_affair_and_loses_nothing(place: Place) {
    let world = place.filled().await;
    book(&world, "ЧАКАЩ");
    let (matching, status, body) = place.bad_token;
    (place.server)(&world).fail(matching, 0, u32::MAX, Fault::Status(status, body.into()));
    for _ in 0..2 {
        let report = place.cycle(&world).await;
        assert_eq!((report.outcome, report.waiting), (Outcome::Attention, 1));
        assert_eq!(report.requests, 1, "tried once");
        assert!(report.error.as_deref().is_some_and(|error| error.contains(place.name)), "{report:?}");
    }
    (place.server)(&world).heal();
    assert_eq!(place.cycle(&world).await.outcome, Outcome::Ok);
    place.settled(&world, "a token put right").await;
}

async fn every_429_is_waited_out(place: Place) {
    for (what, fault, outcome, requests) in (place.throttles)() {
        assert_eq!(place.write_through(fault, what).await, (outcome, requests), "{}: {what}", place.name);
    }
}

async fn every_5xx_before_and_after_the_rows_were_written_is_survived(place: Place) {
    for status in [500, 502, 503] {
        for body in ["", "<html>oops</html>"] {
            let before = place.write_through(Fault::Status(status, body.into()), "5xx before").await;
            assert_eq!(before, (Outcome::Ok, place.costs.lost_before), "{}: {status} before", place.name);
            let after = place.write_through(Fault::ApplyThenStatus(status, body.into()), "5xx after").await;
            assert_eq!(after, (Outcome::Ok, place.costs.lost_after), "{}: {status} after", place.name);
        }
    }
}

async fn a_lost_or_broken_answer_doubles_nothing(place: Place) {
    let (before, after) = (place.costs.lost_before, place.costs.lost_after);
    for (fault, requests) in [
        (Fault::Drop, before),
        (Fault::ApplyThenDrop, after),
        (Fault::Truncate, after),
        (Fault::CutBody, after),
        (Fault::Held(0), place.costs.late[0]),
        (Fault::Held(1), place.costs.late[1]),
        (Fault::Held(100), before),
    ] {
        let what = format!("{fault:?}");
        assert_eq!(place.write_through(fault, &what).await, (Outcome::Ok, requests), "{}: {what}", place.name);
    }
}

/// Every try of a cycle is lost, applied or not, and the next cycle is another process's.
async fn a_batch_nobody_answered_for_is_settled_by_the_next_cycle(place: Place) {
    for fault in [Fault::ApplyThenDrop, Fault::Drop, Fault::ApplyThenStatus(503, String::new()), Fault::Held(100)] {
        let world = place.filled().await;
        for _ in 0..3 {
            book(&world, "ХЛЯБ");
        }
        let server = (place.server)(&world);
        server.fail(place.writes, 0, u32::MAX, fault.clone());
        // The ledger cannot be read either after the rows were sent, nor can the rows be looked for.
        match place.name {
            "household" => server.fail("developerMetadata:search", 1, u32::MAX, Fault::Status(503, String::new())),
            "warehouse" => server.fail("SELECT hash", 0, u32::MAX, Fault::Status(503, String::new())),
            "grid" => server.fail("where=", 1, u32::MAX, Fault::Status(503, String::new())),
            "books" => server.fail("line/search", 1, u32::MAX, Fault::Status(503, String::new())),
            _ => {}
        }
        let report = place.cycle(&world).await;
        assert_eq!((report.outcome, report.waiting), (Outcome::Failed, 3), "{fault:?}");
        server.heal();
        // Meanwhile a new row comes, and the sent row is corrected.
        let number = book(&world, "ДРУГ");
        change(&world, number - 1, |entry| entry.counterparty = "ПОПРАВЕН".into());
        assert_eq!(place.cycle(&world).await.outcome, Outcome::Ok, "{fault:?}");
        server.land().await;
        if matches!(fault, Fault::Held(_)) && ["base", "books"].contains(&place.name) {
            // Airtable and Odoo apply any request at any time: the old words are back until the next correction.
            change(&world, number - 1, |entry| entry.counterparty = "ПАК ПОПРАВЕН".into());
            place.cycle(&world).await;
        }
        place.settled(&world, &format!("{fault:?}")).await;
    }
}

async fn a_row_that_is_refused_keeps_no_other_waiting(place: Place) {
    let world = place.filled().await;
    let numbers: Vec<u64> = (0..3).map(|_| book(&world, "РЕД")).collect();
    (place.spoil)(&world, numbers[1]);
    let report = place.cycle(&world).await;
    assert_eq!(
        (report.outcome, report.appended, report.rejected, report.requests),
        (Outcome::Ok, 2, 1, place.costs.bad_row),
        "{report:?}"
    );
    for number in [numbers[0], numbers[2]] {
        assert_eq!((place.rows)(&world)[&id_of(&world, number)].len(), 1, "{number}");
    }
    assert_eq!(place.cycle(&world).await.requests, 0, "it is not tried again as it is");
    (place.mend)(&world, numbers[1]);
    let report = place.cycle(&world).await;
    assert_eq!((report.appended, report.rejected), (1, 0), "{report:?}");
    place.settled(&world, "a row mended").await;
}

async fn text_is_text(place: Place) {
    let world = place.filled().await;
    for payee in [
        "=IMPORTXML(\"http://127.0.0.1/\";\"//a\")",
        "+359 2 000",
        "-5%",
        "@SUM(A1)",
        "'апостроф",
        "О'Нийл \\ {x} \"ц\"",
        "🌿 Аптека 🇧🇬",
        "ред\u{2028}нов",
        "0042",
        "TRUE",
        "1/2",
        "а\u{301} \u{200f}дясно",
    ] {
        book(&world, payee);
    }
    assert_eq!(place.cycle(&world).await.outcome, Outcome::Ok);
    place.settled(&world, "text").await;
}

async fn a_row_the_owner_deleted_stays_deleted(place: Place) {
    let world = place.filled().await;
    let numbers: Vec<u64> = (0..2).map(|_| book(&world, "РЕД")).collect();
    place.cycle(&world).await;
    let gone = id_of(&world, numbers[0]);
    (place.delete)(&world, &gone);
    book(&world, "НОВ");
    assert_eq!(place.cycle(&world).await.appended, 1);
    for payee in ["ПОПРАВЕН", "ПАК"] {
        change(&world, numbers[0], |entry| entry.counterparty = payee.into());
        let report = place.cycle(&world).await;
        assert_eq!((report.outcome, report.appended, report.updated), (Outcome::Ok, 0, 0), "{report:?}");
    }
    // The row vanishes and comes back at the bank.
    let entry = world.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        entries.remove(entries.iter().position(|entry| entry.number == numbers[0]).unwrap())
    });
    place.cycle(&world).await;
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(entry));
    place.cycle(&world).await;
    assert!(!(place.rows)(&world).contains_key(&gone));
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.retain(|entry| entry.number != numbers[0]));
    place.cycle(&world).await;
    place.settled(&world, "what is left").await;
}

/// The month's budget of the plan is spent: no request is sent until the month or the configuration changes.
#[tokio::test]
async fn airtables_monthly_quota_is_told_and_not_knocked_at() {
    let (place, bodies) = (
        Place::airtable(),
        [
            r#"{"errors":[{"error":"PUBLIC_API_BILLING_LIMIT_EXCEEDED","message":"API billing plan limit exceeded."}]}"#,
            r#"{"error":{"type":"PUBLIC_API_BILLING_LIMIT_EXCEEDED","message":"API billing plan limit exceeded."}}"#,
        ],
    );
    for body in bodies {
        let mut world = place.filled().await;
        book(&world, "ЧАКАЩ");
        world.airtable.server.fail_next("PATCH", Fault::Status(429, body.into()));
        for requests in [1, 0, 0] {
            let report = place.cycle(&world).await;
            assert_eq!(
                (report.outcome, report.requests, report.waiting),
                (Outcome::Attention, requests, 1),
                "{report:?}"
            );
        }
        let config = world.engine().config.destinations[1].target();
        let attention = world.engine().store.destination("base", &config).unwrap().attention.unwrap();
        assert_eq!(attention.cause, Cause::Quota);
        world.extra[2] = "monthly_requests = 100000".into();
        world.write_config();
        assert_eq!(place.cycle(&world).await.outcome, Outcome::Ok);
        place.settled(&world, "a larger plan").await;
    }
}

fn gather(rows: impl Iterator<Item = (String, String, String)>) -> Found {
    let mut gathered: Found = Found::new();
    rows.for_each(|(id, payee, amount)| gathered.entry(id).or_default().push((payee, amount)));
    gathered
}

fn book(world: &World, payee: &str) -> u64 {
    let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let amount = rust_decimal::Decimal::new(-150, 2);
        let entry = Entry {
            number,
            time: now,
            value_date: now.date_naive(),
            amount,
            counterparty: payee.into(),
            ..Entry::default()
        };
        bank.add(&iban, entry);
        number
    })
}

fn change(world: &World, number: u64, change: impl FnOnce(&mut Entry)) {
    world.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        change(entries.iter_mut().find(|entry| entry.number == number).unwrap());
    });
}

fn id_of(world: &World, number: u64) -> String {
    world.bank.edit(|bank| format!("fibank:{}:{number}", bank.customers[0].accounts[0].iban))
}

macro_rules! keeps_the_contract {
    ($($destination:ident),*) => { $(mod $destination {
        use super::*;
        keeps_the_contract!(@ $destination:
            rows_arrive_once_and_cost_what_they_cost
            corrections_reach_the_rows_they_are_of
            more_than_a_batch_goes_in_several
            a_refused_token_is_the_owners_affair_and_loses_nothing
            every_429_is_waited_out
            every_5xx_before_and_after_the_rows_were_written_is_survived
            a_lost_or_broken_answer_doubles_nothing
            a_batch_nobody_answered_for_is_settled_by_the_next_cycle
            a_row_that_is_refused_keeps_no_other_waiting
            text_is_text
            a_row_the_owner_deleted_stays_deleted
        );
    })* };
    (@ $destination:ident: $($check:ident)*) => { $(
        #[tokio::test]
        async fn $check() {
            super::$check(Place::$destination()).await;
        }
    )* };
}

keeps_the_contract!(google_sheets, airtable, nocodb, odoo);

#[cfg(has_postgres)]
keeps_the_contract!(postgres);
