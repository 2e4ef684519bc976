//! The owner gives a field of the base another type: writing and reading back agree about it.

use std::sync::Arc;

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::sync::{Outcome, Verification, Verified};
use chrono::Utc;
use rust_decimal::Decimal;

use crate::world::World;

const TAB: &str = "Transactions";

fn book(world: &World) {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let (number, amount, value_date) = (bank.last_number() + 1, Decimal::new(-425, 2), time.date_naive());
        bank.add(&iban, Entry { number, time, value_date, amount, counterparty: "КИНО".into(), ..Entry::default() });
    });
}

async fn read_back(world: &World, repair: bool) -> Verified {
    let asked = Verification { destinations: Some(vec!["base".into()]), repair };
    world.engine().verify(&asked, &(Arc::new(|_| {}) as bankfeed::sync::Watcher)).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_type_that_can_take_the_values_is_written_and_read_back_alike() {
    for (field, kind) in [
        ("Date", "dateTime"),
        ("Value date", "dateTime"),
        ("Amount", "percent"),
        ("Amount", "currency"),
        ("Amount", "duration"),
        ("Balance", "singleLineText"),
        ("Date", "singleLineText"),
        ("Counterparty", "singleSelect"),
        ("Counterparty", "multilineText"),
    ] {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        world.airtable.edit(&world.base, |base| base.change_field(TAB, field, kind));
        let verified = read_back(&world, false).await;
        assert!(verified.is_clean() && verified.outcome == Outcome::Ok, "{field} to {kind}: {verified:?}");
        // The second run proves that the first has used the knowledge of the read-back.
        for _ in 0..2 {
            book(&world);
            let report = world.cycle().await.destinations.swap_remove(1);
            assert_eq!((report.outcome, report.appended), (Outcome::Ok, 1), "{field} to {kind}: {report:?}");
            let is_odd = ["percent", "duration"].contains(&kind);
            let told = report
                .notes
                .iter()
                .any(|note| note.contains(&format!("field `{field}`")) && note.contains("make it number"));
            assert_eq!(told, is_odd, "{field} to {kind}: {:?}", report.notes);
        }
        let verified = read_back(&world, false).await;
        assert!(verified.is_clean() && verified.outcome == Outcome::Ok, "{field} to {kind}: {verified:?}");
    }
}

#[tokio::test]
async fn a_type_that_cannot_is_attention_for_both_with_field_and_remedy() {
    for (field, kind) in [
        ("Amount", "formula"),
        ("Amount", "checkbox"),
        ("Amount", "rating"),
        ("Counterparty", "number"),
        ("Date", "number"),
        ("Date", "createdTime"),
    ] {
        for verify_first in [true, false] {
            let world = World::new(Bank::small()).await;
            world.cycle().await;
            world.airtable.edit(&world.base, |base| base.change_field(TAB, field, kind));
            book(&world);
            let mut said = Vec::new();
            for at in 0..2 {
                if (at == 0) == verify_first {
                    let verified = read_back(&world, false).await;
                    said.push((verified.outcome, verified.error.unwrap_or_default()));
                } else {
                    let report = world.cycle().await.destinations.swap_remove(1);
                    assert_eq!((report.waiting, report.rejected), (1, 0), "{report:?}");
                    said.push((report.outcome, report.error.unwrap_or_default()));
                }
            }
            assert_eq!(said[0], said[1], "{field} to {kind}");
            assert_eq!(said[0].0, Outcome::Attention, "{said:?}");
            for part in [format!("field `{field}`"), kind.into(), "change its type".into()] {
                assert!(said[0].1.contains(&part), "{part} is not in {said:?}");
            }
            world.airtable.edit(&world.base, |base| {
                let was = match field {
                    "Amount" => "number",
                    "Date" => "date",
                    _ => "singleLineText",
                };
                base.change_field(TAB, field, was);
            });
            let report = world.cycle().await.destinations.swap_remove(1);
            assert_eq!((report.outcome, report.appended), (Outcome::Ok, 1), "{report:?}");
        }
    }
}
