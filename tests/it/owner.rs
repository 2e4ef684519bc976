//! The owner at work between cycles: a seed makes rounds of what people do to a sheet and a base, and of what the bank
//! does meanwhile. After each cycle every row is there once and says what it should, and everything that is the owner's
//! (cells, colours, notes, hidden columns, filters) is where he left it and as he left it.
//!
//! Nothing fails here, so that each cycle has one right outcome; faults are the affair of `explore`.
//! `BANKFEED_OWNER_SEEDS=FROM..TO` says which seeds; without it a few. A failure prints its seed and what happened.

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
