//! The owner at work between cycles: a seed makes rounds of what people do to a sheet and a base, and of what the bank
//! does meanwhile. After each cycle every row is there once and says what it should, and everything that is the owner's
//! (cells, colours, notes, hidden columns, filters) is where he left it and as he left it.
//!
//! Nothing fails here, so that each cycle has one right outcome; faults are the affair of `explore`.
//! `BANKFEED_OWNER_SEEDS=FROM..TO` says which seeds; without it a few. A failure prints its seed and what happened.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt;

mod bank;
mod base;
mod life;
mod model;
mod sheet;

use life::Life;

/// Seeds that share a runtime, so that one works while another waits.
const TOGETHER: usize = 8;

/// Seeds that found a mistake once.
const KNOWN: [u64; 2] = [41, 67];

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("BANKFEED_OWNER_SEEDS") else { return 0..16 };
    let (from, to) = text.split_once("..").expect("BANKFEED_OWNER_SEEDS=FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn whatever_the_owner_does_rows_arrive_once_and_his_cells_stay_his() {
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
                    failures.lock().unwrap().extend(live(some));
                }
            });
        }
    });
    let (failures, took) = (failures.into_inner().unwrap(), started.elapsed());
    println!("lived {} seeds ({seeds:?} and {} known) in {took:.1?}", all.len(), KNOWN.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Lives these seeds on a runtime of their own: with it end their servers.
fn live(seeds: &[u64]) -> Vec<String> {
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
            "seed {seed}: {why}\n  {trail}\nagain: BANKFEED_OWNER_SEEDS={seed}..{} cargo test --test it owner::",
            seed + 1
        ))
    });
    runtime.block_on(futures_util::future::join_all(lives)).into_iter().flatten().collect()
}
