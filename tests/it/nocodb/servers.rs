//! Servers with other limits, stores and rights than the usual one: properties that only the simulator can be given.

use bankfeed::simulator::Fault;
use bankfeed::simulator::nocodb::Role;

use super::*;

async fn grid() -> (Grid, Nocodb) {
    let grid = Grid::simulated().await;
    let simulator = grid.simulator.clone().unwrap();
    (grid, simulator)
}

#[tokio::test]
async fn a_servers_own_limits_are_kept() {
    let (grid, simulator) = grid().await;
    simulator.limit_rows(4, 7);
    // The list of tables, the table, a search, one request too large and three.
    assert_eq!(grid.good_cycle().await.requests, 7);
    (0..9).for_each(|_| drop(grid.book("МНОГО")));
    grid.good_cycle().await;
    grid.settled("fewer rows at once").await;
    // Twenty-one rows stand on three pages, which are read from the last to the first after the first and a count.
    let verified = grid.verify(false).await;
    assert!(verified.is_clean() && verified.requests == 6, "{verified:?}");
}

#[tokio::test]
async fn a_row_that_is_deleted_while_pages_are_read_hides_no_other() {
    let (grid, simulator) = grid().await;
    simulator.limit_rows(10, 3);
    grid.good_cycle().await;
    let base = grid.base.clone();
    let (deleting, table) = (simulator.clone(), grid.table.clone());
    // The owner deletes the first two rows when the last page has been read.
    simulator.server.meanwhile("page=4", move || {
        deleting.edit(&base, |base| {
            base.table_mut(&table).delete(1);
            base.table_mut(&table).delete(2);
        });
    });
    assert_eq!(grid.verify(false).await.missing.len(), 2);
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let (mut grid, simulator) = grid().await;
    for (role, words) in [
        (Role::NoAccess, "give them the role"),
        (Role::Viewer, "needs the role creator"),
        (Role::Editor, "needs the role creator"),
    ] {
        grid.token = simulator.token_with(role);
        let error = grid.connector().check().await.unwrap_err();
        assert!(error.cause() == Some(Cause::NotPermitted) && error.message.contains(words), "{role:?}: {error}");
        let report = grid.cycle().await;
        let said = report.error.unwrap_or_default();
        assert!(report.outcome == Outcome::Attention && said.contains("give them the role"), "{role:?}: {said}");
    }
    grid.token = simulator.token();
    grid.good_cycle().await;
    grid.token = simulator.token_with(Role::Editor);
    grid.book("КАФЕ");
    grid.good_cycle().await;
    let lines = grid.connector().check().await.unwrap();
    assert_eq!(lines.last().map(String::as_str), Some("the token's user is editor of the base"));
    grid.token = simulator.token_with(Role::Viewer);
    grid.book("ЧАЙ");
    let report = grid.cycle().await;
    assert!(report.error.is_some_and(|said| said.contains("give them the role editor")));
    grid.token = simulator.token_with(Role::Editor);
    grid.good_cycle().await;
    grid.settled("an editor").await;
}

/// A store without unique fields: rows are kept single by looking, and what comes late goes with the next delivery.
#[tokio::test]
async fn a_store_that_enforces_nothing_holds_each_row_once_too() {
    let (grid, simulator) = grid().await;
    simulator.enforce_unique(false);
    for (skip, loss) in [(0, Loss::Answer), (1, Loss::Late), (2, Loss::Answer), (3, Loss::Request), (2, Loss::Late)] {
        (0..23).for_each(|_| drop(grid.book("ХЛЯБ")));
        grid.proxy.lose("POST", skip, loss);
        grid.good_cycle().await;
        grid.proxy.land().await;
        grid.book("СЛЕДВАЩ");
        grid.good_cycle().await;
        grid.settled(&format!("{skip} {loss:?}")).await;
    }
}

/// A page in place of the API, an answer cut short, and limits that a proxy in front of the server keeps.
#[tokio::test]
async fn answers_that_are_none_of_nocodbs_are_told_and_lose_nothing() {
    let (grid, simulator) = grid().await;
    grid.good_cycle().await;
    let page = |status| Fault::Status(status, "<html>nginx</html>".into());
    for (fault, outcome, words) in [
        (
            Fault::Answer(&[("content-type", "text/html")], b"<!doctype html><p>NocoDB".to_vec()),
            Outcome::Failed,
            "check `url`",
        ),
        (Fault::Answer(&[], br#"{"list":[]}"#.to_vec()), Outcome::Failed, "has not the shape"),
        (page(404), Outcome::Attention, "check `url`"),
        (page(301), Outcome::Attention, "check `url`"),
        (page(413), Outcome::Ok, ""),
        (page(502), Outcome::Ok, ""),
        (page(429), Outcome::Ok, ""),
        (
            Fault::Status(402, r#"{"error":"ERR_PLAN_LIMIT_EXCEEDED","message":"Upgrade"}"#.into()),
            Outcome::Attention,
            "is full",
        ),
        (
            Fault::Status(422, r#"{"error":"ERR_DATABASE_OP_FAILED","code":"53100"}"#.into()),
            Outcome::Attention,
            "is full",
        ),
    ] {
        (0..3).for_each(|_| drop(grid.book("РЕД")));
        simulator.server.fail_next("POST", fault.clone());
        let report = grid.cycle().await;
        let said = report.error.unwrap_or_default();
        assert!(report.outcome == outcome && said.contains(words) && !said.contains("nginx"), "{fault:?}: {said}");
        grid.good_cycle().await;
        grid.settled(&format!("{fault:?}")).await;
    }
}
