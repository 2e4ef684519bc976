//! The connector against the simulated Airtable, driven as the engine drives it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Value as Json, json};

use crate::destination::policy::{Column, Rows, Updates, Vanished};
use crate::destination::readback::Ids;
use crate::destination::row_op::RowOp;
use crate::destination::{Batch, BatchStatus, Destination, Outcome, Reading, RowChange, Verdict, Written};
use crate::model::{Enrichment, Field, Language, Row, Transaction};
use crate::remote::{Backoff, Cause, Context, Error, Kind, Shutdown};
use crate::settings::Secret;
use crate::simulator::Fault;
use crate::simulator::airtable::{Airtable as Service, Role, SCOPES};

use super::settings::AirtableSettings;
use super::{Airtable, BATCH_LIMIT};

mod faults;
mod owner;
mod readback;

/// A simulated service with one base, and what a store would hold of the destination.
struct World {
    service: Service,
    base: String,
    token: String,
    columns: Vec<Column>,
    updates: Updates,
    vanished: Vanished,
    monthly_requests: Option<u32>,
    clock: fn() -> DateTime<Utc>,
    memory: Vec<u8>,
}

const TABLE: &str = "Transactions";

impl World {
    async fn new() -> World {
        // The program does this at its start; a second time it is refused, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let service = Service::start().await.unwrap();
        service.rate_limit(None, Duration::ZERO);
        let (base, token) = (service.create_base("Household"), service.token());
        World {
            service,
            base,
            token,
            columns: columns(&Field::default_columns()),
            updates: Updates::Apply,
            vanished: Vanished::Mark,
            monthly_requests: None,
            clock: Utc::now,
            memory: Vec::new(),
        }
    }

    /// A world in which `count` rows have been delivered; the log is empty again.
    async fn filled(count: usize) -> World {
        let mut world = World::new().await;
        let items: Vec<RowChange> = (0..count).map(new).collect();
        assert_eq!(world.deliver(&items).await.unwrap(), vec![Verdict::Appended; count]);
        world.service.server.clear_log();
        world
    }

    fn config(&self) -> AirtableSettings {
        AirtableSettings {
            base: self.base.clone(),
            table: TABLE.into(),
            token: Secret::Plain(SecretString::from(self.token.clone())),
            base_url: self.service.server.url().parse().unwrap(),
            monthly_requests: self.monthly_requests,
            accounts_table: None,
            rows: Rows {
                columns: self.columns.clone(),
                updates: self.updates,
                vanished: self.vanished,
                language: Language::En,
            },
        }
    }

    fn connector(&self) -> Airtable {
        let context = Context::new(Shutdown::never(), Backoff::immediate());
        let connector = Airtable::new("household", &self.config(), context, &self.memory).unwrap();
        connector.with_clock(self.clock)
    }

    /// Runs a cycle: a new connector with the state of the last one, batch after batch, a lost answer settled and sent
    /// again.
    async fn deliver(&mut self, items: &[RowChange]) -> Result<Vec<Verdict>, Error> {
        let mut connector = self.connector();
        let result = cycle(&mut connector, items).await;
        self.memory = connector.state().memory;
        result
    }

    /// The requests that the service got, without bodies.
    fn asked(&self) -> Vec<String> {
        let short = |target: &str| target.split('?').next().unwrap().replace(&self.base, "BASE");
        self.service.server.log().iter().map(|entry| format!("{} {}", entry.method, short(&entry.target))).collect()
    }

    fn count(&self, method: &str) -> usize {
        self.service.server.log().iter().filter(|entry| entry.method == method).count()
    }

    fn rows(&self) -> Vec<std::collections::BTreeMap<String, Json>> {
        self.service.read(&self.base, |base| base.records(TABLE))
    }

    /// The ids in the table, each once.
    fn assert_ids(&self, count: usize) {
        let mut found: Vec<String> =
            self.rows().iter().map(|row| row["Transaction ID"].as_str().unwrap().to_owned()).collect();
        found.sort();
        let mut wanted: Vec<String> = (0..count).map(id).collect();
        wanted.sort();
        assert_eq!(found, wanted);
    }

    fn record(&self, n: usize) -> Option<String> {
        self.service.read(&self.base, |base| base.find(TABLE, "Transaction ID", &json!(id(n))))
    }

    fn cell(&self, n: usize, field: &str) -> Json {
        let row = self.rows().into_iter().find(|row| row["Transaction ID"] == json!(id(n)));
        row.unwrap().get(field).cloned().unwrap_or(Json::Null)
    }
}

async fn cycle(connector: &mut Airtable, items: &[RowChange]) -> Result<Vec<Verdict>, Error> {
    assert_eq!(connector.open(None).await?.last_batch, 0);
    let mut verdicts = Vec::new();
    while verdicts.len() < items.len() {
        let offered = &items[verdicts.len()..];
        let offered = &offered[..offered.len().min(BATCH_LIMIT)];
        let batch = connector.prepare(1, offered).await?;
        let covered = &offered[..batch.taken];
        verdicts.extend(send(connector, &batch, covered).await?);
    }
    Ok(verdicts)
}

async fn send(connector: &mut Airtable, batch: &Batch, items: &[RowChange]) -> Result<Vec<Verdict>, Error> {
    for _ in 0..3 {
        match connector.write(batch, items).await {
            Ok(Outcome::Done(Written { verdicts, .. })) => {
                assert_eq!(verdicts.len(), items.len());
                return Ok(verdicts);
            }
            Ok(other) => panic!("{other:?}"),
            Err(Error { kind: Kind::Unavailable, .. }) => {
                assert_eq!(connector.status(batch.number, batch.hash).await?.0, BatchStatus::NotApplied);
            }
            Err(error) => return Err(error),
        }
    }
    panic!("it never got through");
}

fn columns(fields: &[Field]) -> Vec<Column> {
    fields.iter().map(|field| Column { field: field.clone(), header: field.header(Language::En) }).collect()
}

fn id(n: usize) -> String {
    format!("fibank:BG21FINV91501000000001:{n}")
}

fn transaction(n: usize) -> Transaction {
    Transaction {
        source: "fibank".into(),
        account: "BG21FINV91501000000001".into(),
        account_name: "Everyday".into(),
        customer: "Ivan Petrov".into(),
        row: Row {
            id: id(n),
            time: "2026-01-05T00:30:00+02:00".parse().unwrap(),
            date: "2026-01-05".parse().unwrap(),
            value_date: None,
            amount: "-20.34".parse().unwrap(),
            currency: "EUR".into(),
            balance: Some("1234.50".parse().unwrap()),
            counterparty: "=IMPORTXML(\"x\")".into(),
            counterparty_account: String::new(),
            description: "Кафе\nи кифла".into(),
            kind: "Card payment".into(),
            kind_code: "CP".into(),
            reference: format!("R{n}"),
            raw: "{}".into(),
        },
        enrichment: Enrichment::default(),
        transfer: Default::default(),
        vanished: false,
    }
}

const UPDATE: RowOp = RowOp::Update { cells: true, mark: None };
const MARK: RowOp = RowOp::Update { cells: false, mark: Some(true) };
const UNMARK: RowOp = RowOp::Update { cells: true, mark: Some(false) };

fn item(op: RowOp, transaction: Transaction) -> RowChange {
    let previous = (op == UNMARK).then(|| transaction.clone());
    RowChange::new(1, op, transaction, previous)
}

fn new(n: usize) -> RowChange {
    item(RowOp::Insert, transaction(n))
}

/// A correction by the bank: `change` makes the present version out of the former.
fn changed(n: usize, change: impl FnOnce(&mut Transaction)) -> RowChange {
    let mut now = transaction(n);
    change(&mut now);
    RowChange { previous: Some(transaction(n).into()), ..item(UPDATE, now) }
}

fn attention(result: Result<Vec<Verdict>, Error>, cause: Cause) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.cause(), Some(cause), "{error}");
    assert!(error.message.starts_with("airtable `household`: ") && !error.message.contains('\n'), "{error}");
    error.message
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test]
async fn a_first_fill_makes_the_table_and_a_later_cycle_reads_nothing() {
    let mut world = World::new().await;
    let items: Vec<RowChange> = (0..25).map(new).collect();
    assert_eq!(world.deliver(&items).await.unwrap(), vec![Verdict::Appended; 25]);
    let table = world.service.read(&world.base, |base| base.table(TABLE).unwrap().id.clone());
    let write = format!("PATCH /v0/BASE/{table}");
    let (read, make) = ("GET /v0/meta/bases/BASE/tables", "POST /v0/meta/bases/BASE/tables");
    assert_eq!(world.asked(), [read, make, &write, &write, &write]);
    world.assert_ids(25);

    // A second delivery of the same rows, as after a store restored from an old backup, takes three requests and adds
    // no row.
    world.service.server.clear_log();
    assert_eq!(world.deliver(&items).await.unwrap(), vec![Verdict::Updated; 25]);
    assert_eq!(world.asked(), [&*write, &write, &write]);
    world.assert_ids(25);
}

#[tokio::test]
async fn the_table_is_made_with_typed_fields_and_the_id_first() {
    let mut world = World::new().await;
    world.columns = columns(&[Field::Date, Field::Amount, Field::Time, Field::Description, Field::Currency, Field::Id]);
    world.deliver(&[new(0)]).await.unwrap();
    let fields = world.service.read(&world.base, |base| base.fields(TABLE));
    let fields: Vec<_> = fields.iter().map(|(_, name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("Transaction ID", "singleLineText"),
            ("Date", "date"),
            ("Amount", "number"),
            ("Time", "dateTime"),
            ("Description", "multilineText"),
            ("Currency", "singleLineText"),
        ]
    );
    assert_eq!(world.cell(0, "Time"), json!("2026-01-04T22:30:00.000Z"));
}

#[tokio::test]
async fn cells_arrive_typed_and_empty_ones_are_not_sent() {
    let world = World::filled(1).await;
    let row = serde_json::to_value(world.rows().remove(0)).unwrap();
    assert_eq!(
        row,
        json!({
            "Transaction ID": id(0), "Date": "2026-01-05", "Amount": -20.34, "Currency": "EUR",
            "Counterparty": "=IMPORTXML(\"x\")", "Description": "Кафе\nи кифла", "Type": "Card payment",
            "Account": "BG21FINV91501000000001", "Balance": 1234.5, "Reference": "R0",
        })
    );
}

#[tokio::test]
async fn names_are_never_sent_and_money_keeps_its_spelling() {
    let mut world = World::filled(1).await;
    world.deliver(&[new(1)]).await.unwrap();
    let body = world.service.server.log()[0].body.clone();
    has(&body, &["\":-20.34", "\":1234.50", "\"performUpsert\":{\"fieldsToMergeOn\":[\"fld"]);
    for name in ["Amount", "Transaction ID", "typecast"] {
        assert!(!body.contains(name), "{name} is in {body}");
    }
    assert_eq!(body.matches("null").count(), 1, "the value date, and none of the owner's cells: {body}");
}

#[tokio::test]
async fn one_id_is_never_twice_in_a_batch_and_never_empty() {
    let mut world = World::new().await;
    let mut nameless = new(7);
    nameless.transaction.row.id = String::new();
    let verdicts = world.deliver(&[new(0), new(1), nameless, new(0), new(2)]).await.unwrap();
    assert_eq!(verdicts[..2], [Verdict::Appended, Verdict::Appended]);
    assert_eq!(verdicts[2], Verdict::Rejected("it has no transaction id".into()));
    assert_eq!(verdicts[3..], [Verdict::Updated, Verdict::Appended]);
    assert_eq!(world.count("PATCH"), 2);
    world.assert_ids(3);
}

#[tokio::test]
async fn what_is_there_already_is_not_asked_for() {
    let world = World::filled(3).await;
    let mut connector = world.connector();
    connector.open(None).await.unwrap();
    assert_eq!(ids(&mut connector).await, Vec::<String>::new());
    assert_eq!(connector.status(5, 5).await.unwrap().0, BatchStatus::NotApplied);
    assert_eq!(world.service.server.requests(), 0);
}

#[tokio::test]
async fn check_says_what_is_there_and_what_will_be_made_and_writes_nothing() {
    let world = World::new().await;
    let lines = world.connector().check().await.unwrap();
    assert_eq!(lines[0], format!("base `{}` found; table `Transactions` will be created", world.base));
    has(&lines[1], &["only a write shows whether data.records:write is among them"]);

    let world = World::filled(1).await;
    world.service.edit(&world.base, |base| base.rename_field(TABLE, "Amount", "Sum"));
    let mut connector = world.connector();
    connector.rows.columns.push(Column { field: Field::Note, header: "My note".into() });
    let lines = connector.check().await.unwrap().join("\n");
    has(
        &lines,
        &[
            "table `Transactions` found",
            "column `amount`: field `Sum` found",
            "column `note`: field `My note` will be created",
        ],
    );
    assert!(world.asked().iter().all(|line| line.starts_with("GET ")), "{:?}", world.asked());
}

#[tokio::test]
async fn check_names_the_scope_or_role_that_is_missing() {
    let mut world = World::new().await;
    let mut check = async |scopes: &[&str], role| {
        world.token = world.service.token_with(scopes, role);
        world.connector().check().await.map(|lines| lines.join("\n"))
    };
    let edit = check(&SCOPES, Role::Edit).await.unwrap_err();
    assert_eq!(edit.cause(), Some(Cause::NotPermitted));
    has(&edit.message, &["role creator"]);
    let blind = check(&["data.records:read", "data.records:write"], Role::Create).await.unwrap_err();
    has(&blind.message, &["schema.bases:read"]);
    world.service.create_table(&world.base, TABLE, &[("Transaction ID", "singleLineText")]);
    world.columns = columns(&[Field::Id]);
    world.token = world.service.token_with(&SCOPES, Role::Read);
    let read = world.connector().check().await.unwrap_err();
    has(&read.message, &["role editor"]);
    world.token = world.service.token_with(&SCOPES, Role::Edit);
    world.connector().check().await.unwrap();
}

#[tokio::test]
async fn a_token_that_cannot_be_one_is_refused_before_anything_is_sent() {
    let mut world = World::new().await;
    world.token = "pat secret\n1".into();
    let context = Context::new(Shutdown::never(), Backoff::immediate());
    let error = Airtable::new("household", &world.config(), context, &[]).err().unwrap();
    assert_eq!(error.cause(), Some(Cause::Token));
    assert!(!error.message.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_costs_one_read() {
    let mut world = World::filled(1).await;
    world.memory = b"{broken".to_vec();
    world.deliver(&[new(0), new(1)]).await.unwrap();
    assert_eq!((world.count("GET"), world.count("PATCH")), (1, 1));
    world.assert_ids(2);
}

#[tokio::test]
async fn a_stop_ends_a_delivery_before_the_next_request() {
    let world = World::filled(1).await;
    let (stop, shutdown) = Shutdown::new();
    let context = Context::new(shutdown, Backoff::default());
    let mut connector = Airtable::new("household", &world.config(), context, &world.memory).unwrap();
    connector.open(None).await.unwrap();
    let items = [new(1)];
    let batch = connector.prepare(1, &items).await.unwrap();
    stop.send(true).unwrap();
    assert_eq!(connector.write(&batch, &items).await, Err(Error::stopped()));
    assert_eq!(world.service.server.requests(), 0);
}

/// The ids that the destination shows.
async fn ids(destination: &mut dyn Destination) -> Vec<String> {
    let mut ids = Ids::default();
    destination.read(Reading::Ids, &mut ids).await.unwrap();
    ids.0
}
