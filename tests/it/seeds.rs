//! Runs one life per seed, on every processor, and reports the failing seeds with their events.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};

/// Seeds that share a runtime, so that one works while another waits for a timer. The number is small, because each
/// holds sockets.
const TOGETHER: usize = 8;

/// Failures after which no more seeds are tried.
const ENOUGH: usize = 5;

/// The events of a life, line by line.
pub type Trail = Mutex<Vec<String>>;

/// A kind of life and its seeds.
pub struct Seeds {
    /// Says which seeds, as `FROM..TO`.
    pub variable: &'static str,
    /// The seeds without the variable.
    pub usual: Range<u64>,
    /// Seeds that found a mistake once; they run always, as long as the same seed makes the same life.
    pub known: &'static [u64],
    /// The module, for the command that tries a seed again.
    pub module: &'static str,
    /// Lives one.
    pub live: for<'a> fn(u64, &'a Trail) -> LocalBoxFuture<'a, Result<(), String>>,
}

impl Seeds {
    /// Tries them all.
    pub fn run(&self) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (asked, started) = (self.asked(), Instant::now());
        let all: Vec<u64> = self.known.iter().copied().chain(asked.clone()).collect();
        let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    loop {
                        let from = next.fetch_add(TOGETHER as u64, Ordering::Relaxed) as usize;
                        let some = &all[from.min(all.len())..(from + TOGETHER).min(all.len())];
                        if some.is_empty() || failures.lock().unwrap().len() >= ENOUGH {
                            return;
                        }
                        failures.lock().unwrap().extend(self.together(some));
                    }
                });
            }
        });
        let (failures, took) = (failures.into_inner().unwrap(), started.elapsed());
        let (module, known) = (self.module, self.known.len());
        println!("{module}: tried {} seeds ({asked:?} and {known} known) in {took:.1?}", all.len());
        assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    }

    fn asked(&self) -> Range<u64> {
        let Ok(text) = std::env::var(self.variable) else { return self.usual.clone() };
        let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
        ends.unwrap_or_else(|| panic!("{} is {text:?}, expected FROM..TO", self.variable))
    }

    /// Lives these seeds on a runtime of their own: with it end their servers.
    fn together(&self, seeds: &[u64]) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lives = seeds.iter().map(|&seed| async move {
            let trail = Trail::default();
            let why = match AssertUnwindSafe((self.live)(seed, &trail)).catch_unwind().await {
                Ok(Ok(())) => return None,
                Ok(Err(why)) => why,
                Err(panic) => {
                    panic.downcast_ref::<String>().map_or("a panic".to_owned(), |text| format!("panic: {text}"))
                }
            };
            let trail = trail.into_inner().unwrap().join("\n  ");
            let (variable, module, next) = (self.variable, self.module, seed + 1);
            let again = format!("again: {variable}={seed}..{next} cargo test --test it {module}::");
            Some(format!("seed {seed}: {why}\n  {trail}\n{again}"))
        });
        runtime.block_on(join_all(lives)).into_iter().flatten().collect()
    }
}
