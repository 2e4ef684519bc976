//! An owner copies tabs and the whole file: rows go to one place only, and none comes twice.

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::google::{CellValue, Copied, Spreadsheet};
use bankfeed::sync::{Outcome, Report};
use chrono::Utc;
use rust_decimal::Decimal;

use crate::world::World;

fn edit<T>(world: &World, change: impl FnOnce(&mut Spreadsheet) -> T) -> T {
    world.google.edit(&world.spreadsheet, change)
}

fn book(world: &World, payee: &str) {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let (number, amount) = (bank.last_number() + 1, Decimal::new(-420, 2));
        let (value_date, counterparty) = (time.date_naive(), payee.to_owned());
        bank.add(&iban, Entry { number, time, value_date, amount, counterparty, ..Entry::default() });
    });
}

/// A day passes, so that the balances are written too.
fn forget_today(world: &World) {
    let store = world.engine().store;
    let target = bankfeed::config::load(&world.config_path()).unwrap().destinations[0].target();
    let mut state = store.destination("household", &target).unwrap();
    state.published = None;
    store.put_destination("household", &target, &state).unwrap();
}

fn sheets_of(report: &Report) -> (Outcome, u64, u64, Option<String>) {
    let one = &report.destinations[0];
    (one.outcome, one.appended, one.waiting, one.error.clone())
}

#[tokio::test]
async fn duplicates_of_every_tab_change_nothing() {
    for copied in [Copied::No, Copied::NewIds] {
        let mut world = World::new(Bank::small()).await;
        world.extra[1] = "rules_tab = \"Rules\"\n".into();
        world.write_config();
        world.cycle().await;
        let tabs = ["Transactions", "Balances", "Dashboard", "Rules"];
        let copies: Vec<String> = edit(&world, |book| tabs.map(|tab| book.duplicate_tab(tab, copied)).into());
        let copy = |world: &World| {
            world.google.read(&world.spreadsheet, |book| {
                copies.iter().map(|title| book.tab(title).unwrap().clone()).collect::<Vec<_>>()
            })
        };
        let before = copy(&world);
        book(&world, "ПЕКАРНА");
        forget_today(&world);
        let report = world.cycle().await;
        assert_eq!(sheets_of(&report), (Outcome::Ok, 1, 0, None), "{copied:?}");
        world.assert_delivered();
        assert!(copy(&world) == before, "{copied:?}: the copies stay as they are");
        // Only the copies are left: the derived tabs are made anew beside them, and the rows go on in the copy that can
        // be told from the others.
        edit(&world, |book| tabs.iter().for_each(|tab| book.delete_tab(tab)));
        book(&world, "АПТЕКА");
        let report = world.cycle().await;
        assert_eq!(sheets_of(&report), (Outcome::Ok, 1, 0, None), "{copied:?}");
        let titles = world.google.read(&world.spreadsheet, |book| book.titles());
        assert!(titles.contains(&"Balances".into()) && !titles.contains(&"Dashboard".into()), "{titles:?}");
        if copied == Copied::NewIds {
            edit(&world, |book| book.rename_tab("Copy of Transactions", "Transactions"));
            let ids: Vec<String> = world.in_sheet().into_iter().map(|(id, _)| id).collect();
            let booked: Vec<String> = world.booked().into_keys().collect();
            let (mut found, last) = (ids.clone(), booked.len() - 1);
            found.sort();
            // The row that came after the copy was made went with the original.
            let late = booked.iter().filter(|id| !found.contains(id)).count();
            assert_eq!((found.len(), late), (last, 1), "{titles:?}");
            found.dedup();
            assert_eq!(found.len(), last, "nothing twice");
        }
    }
}

#[tokio::test]
async fn a_copy_of_the_whole_file_goes_on_where_the_original_was() {
    for copied in [Copied::Yes, Copied::NewIds, Copied::No] {
        let mut world = World::new(Bank::small()).await;
        world.cycle().await;
        // The owner deletes a row and adds a column of his own.
        let gone = edit(&world, |book| {
            let gone = book.rows("Transactions")[1][11].clone();
            book.delete_row("Transactions", 1);
            book.set_cell("Transactions", 1, 12, CellValue::Text("мое".into()));
            gone
        });
        let before = world.google.read(&world.spreadsheet, Spreadsheet::clone);
        let copy = world.google.copy_spreadsheet(&before.id, copied);
        let original = std::mem::replace(&mut world.spreadsheet, copy);
        world.write_config();
        book(&world, "ПЕКАРНА");
        let report = world.cycle().await;
        let CellValue::Text(gone) = gone else { panic!("no id") };
        let metadata = copied != Copied::No;
        let (appended, rows) = if metadata { (1, world.booked().len() - 1) } else { (2, world.booked().len()) };
        assert_eq!(sheets_of(&report), (Outcome::Ok, appended, 0, None), "{copied:?}");
        let mut ids: Vec<String> = world.in_sheet().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids.contains(&gone), !metadata, "{copied:?}: a deleted row stays deleted where that can be known");
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), world.in_sheet().len()), (rows, rows), "{copied:?}");
        assert_eq!(world.google.read(&original, Spreadsheet::clone), before, "{copied:?}: the original is left alone");
        // Guards of the original have no effect in the copy.
        let guards =
            |book: &Spreadsheet| book.named_ranges().iter().filter(|one| one.name.starts_with("bankfeed")).count();
        assert!(world.google.read(&world.spreadsheet, guards) <= 4 || !metadata, "{copied:?}");
        world.clear_logs();
        assert_eq!(sheets_of(&world.cycle().await), (Outcome::Ok, 0, 0, None));
        assert_eq!(world.google.server.requests(), 0, "{copied:?}");
    }
}
