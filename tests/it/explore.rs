//! A seed makes a bank's history, an owner's doings, faults at any request and crashes at any await point; afterwards
//! each booked transaction is exactly once in each destination and equals the bank's.
//!
//! `BANKFEED_SEEDS=FROM..TO` chooses the seeds; without it a few hundred run. A failure prints its seed and all its
//! events; the same seed gives the same events again, because no step waits for a clock.

use futures_util::FutureExt;

use crate::seeds::Seeds;

mod doings;
pub mod life;
mod look;

use life::Life;

#[test]
fn every_transaction_is_exactly_once_in_each_destination_whatever_happens() {
    let seeds = Seeds {
        variable: "BANKFEED_SEEDS",
        usual: 0..300,
        // The faults that these seeds found have tests of their own in `sync` or `verify`.
        known: &[254, 2395, 2953, 3169, 3185, 5326],
        module: "explore",
        live: |seed, trail| Life::live(seed, trail).boxed_local(),
    };
    seeds.run();
}
