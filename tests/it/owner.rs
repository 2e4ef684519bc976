//! The owner at work between cycles: a seed makes rounds of a person's actions in a sheet and a base, and of the bank's
//! entries meanwhile. After each cycle every row is there once with the right cells, and everything of the owner's
//! (cells, colours, notes, hidden columns, filters) is as and where he left it.
//!
//! No request fails here, so that each cycle has one right outcome; faults are the affair of `explore`.
//! `BANKFEED_OWNER_SEEDS=FROM..TO` chooses the seeds; without it a few run. A failure prints its seed and its events.

use futures_util::FutureExt;

use crate::seeds::Seeds;

mod bank;
mod base;
mod life;
mod model;
mod sheet;

use life::Life;

#[test]
fn whatever_the_owner_does_rows_arrive_once_and_his_cells_stay_his() {
    let seeds = Seeds {
        variable: "BANKFEED_OWNER_SEEDS",
        usual: 0..16,
        known: &[41, 67, 1347],
        module: "owner",
        live: |seed, trail| Life::live(seed, trail).boxed_local(),
    };
    seeds.run();
}
