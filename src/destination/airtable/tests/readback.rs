//! Listing the whole table: pages, expired places, lost answers, fields that cannot be compared.

use crate::destination::readback::{Cell, FoundRow, Reader, Shown};

use super::*;

/// Keeps what it hears, and may act when it hears the first row.
#[derive(Default)]
struct Ear {
    shown: Option<Shown>,
    rows: Vec<FoundRow>,
    beginnings: u32,
    act: Option<Box<dyn FnOnce() + Send>>,
}

impl Reader for Ear {
    fn begin(&mut self, shown: Shown) {
        self.shown = Some(shown);
        self.rows.clear();
        self.beginnings += 1;
    }

    fn row(&mut self, found: FoundRow) {
        self.act.take().into_iter().for_each(|act| act());
        self.rows.push(found);
    }
}

async fn heard(world: &World, mut ear: Ear) -> Result<Ear, Error> {
    world.connector().read(Reading::Rows, &mut ear).await?;
    Ok(ear)
}

#[tokio::test]
async fn every_row_is_heard_once_a_hundred_a_request_and_holds_what_it_should() {
    let world = World::filled(105).await;
    world.service.shuffle(true);
    world.service.server.fail_next("GET", Fault::Drop);
    let ear = heard(&world, Ear::default()).await.unwrap();
    assert_eq!((world.count("GET"), ear.beginnings), (4, 1), "one lost, the tables, two pages");
    let shown = ear.shown.unwrap();
    assert!(!shown.fields.iter().any(|field| field.belongs_to_owner() || *field == Field::Id));
    let mut ids: Vec<&str> = ear.rows.iter().map(|row| row.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 105);
    for row in &ear.rows {
        let n = (0..105).find(|n| id(*n) == row.id).unwrap();
        assert!(shown.differences(&new(n).transaction, &row.cells).is_empty(), "{row:?}");
    }
    let amount = shown.fields.iter().position(|field| *field == Field::Amount).unwrap();
    let mut wrong = ear.rows[0].clone();
    wrong.cells[amount] = Cell::Number(0.01);
    let n = (0..105).find(|n| id(*n) == wrong.id).unwrap();
    assert_eq!(shown.differences(&new(n).transaction, &wrong.cells), [amount]);
}

#[tokio::test]
async fn an_expired_place_begins_the_listing_anew() {
    let world = World::filled(105).await;
    let service = world.service.clone();
    let ear = Ear { act: Some(Box::new(move || service.expire_offsets())), ..Ear::default() };
    let ear = heard(&world, ear).await.unwrap();
    assert_eq!((ear.rows.len(), ear.beginnings, world.count("GET")), (105, 2, 5));
}

#[tokio::test]
async fn rich_text_is_never_compared_and_nothing_is_made() {
    let mut world = World::filled(1).await;
    world.service.edit(&world.base, |base| base.change_field(TABLE, "Description", "richText"));
    let ear = heard(&world, Ear::default()).await.unwrap();
    assert!(!ear.shown.unwrap().fields.contains(&Field::Description));
    world.columns.push(Column { field: Field::Source, header: "Source".into() });
    let error = heard(&world, Ear::default()).await.err().unwrap();
    assert_eq!(error.cause(), Some(Cause::Layout));
    has(&error.message, &["Source", "--repair"]);
    assert!(world.asked().iter().all(|line| line.starts_with("GET ")), "{:?}", world.asked());
}

#[tokio::test]
async fn a_table_of_another_making_is_looked_at_before_anything_is_added() {
    let mut world = World::filled(3).await;
    world.memory = Vec::new();
    let mut connector = world.connector();
    connector.open(None).await.unwrap();
    let mut ids = ids(&mut connector).await;
    ids.sort();
    assert_eq!((ids, world.count("GET")), ((0..3).map(id).collect(), 2));
}
