//! A seed makes a bank's history, an owner's doings, faults at any request and crashes at any await point; afterwards
//! each booked transaction is exactly once in each destination and equals the bank's.
//!
//! `BANKFEED_SEEDS=FROM..TO` says which seeds; without it a few hundred. A failure prints its seed and everything that
//! happened in it; the same seed happens again alike, because nothing in it waits for a clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt;

mod doings;
mod life;
mod look;

use life::Life;

/// Seeds that found a mistake once; they run always, as long as the same seed makes the same life. What they found has a
/// test of its own in `sync`.
const KNOWN: [u64; 5] = [254, 2395, 2953, 3185, 5326];

/// Seeds that share a runtime, so that one works while another waits for a timer. Few: each holds sockets.
const TOGETHER: usize = 8;

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("BANKFEED_SEEDS") else { return 0..300 };
    let (from, to) = text.split_once("..").expect("BANKFEED_SEEDS=FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn every_transaction_is_exactly_once_in_each_destination_whatever_happens() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (seeds, started) = (seeds(), Instant::now());
    let all: Vec<u64> = KNOWN.into_iter().chain(seeds.clone()).collect();
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(TOGETHER as u64, Ordering::Relaxed) as usize;
                    let some = &all[from.min(all.len())..(from + TOGETHER).min(all.len())];
                    if some.is_empty() || failures.lock().unwrap().len() >= 5 {
                        return;
                    }
                    failures.lock().unwrap().extend(explore(some));
                }
            });
        }
    });
    let (failures, took) = (failures.into_inner().unwrap(), started.elapsed());
    println!("explored {} seeds ({seeds:?} and {} known) in {took:.1?}", all.len(), KNOWN.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Lives these seeds on a runtime of their own: with it end their servers.
fn explore(seeds: &[u64]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lives = seeds.iter().map(|&seed| async move {
        let trail = Mutex::new(Vec::new());
        let lived = std::panic::AssertUnwindSafe(Life::live(seed, &trail)).catch_unwind().await;
        let why = match lived {
            Ok(Ok(())) => return None,
            Ok(Err(why)) => why,
            Err(panic) => panic.downcast_ref::<String>().map_or("a panic".to_owned(), |text| format!("panic: {text}")),
        };
        let trail = trail.into_inner().unwrap().join("\n  ");
        Some(format!(
            "seed {seed}: {why}\n  {trail}\nagain: BANKFEED_SEEDS={seed}..{} cargo test --test it explore",
            seed + 1
        ))
    });
    runtime.block_on(futures_util::future::join_all(lives)).into_iter().flatten().collect()
}
