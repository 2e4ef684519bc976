//! The one place that waits and tries again, and the signal that ends all waiting.

use std::time::Duration;

use super::rate_limit::Paces;
use super::{Error, Kind};

/// Tells everything that waits that the program is being stopped.
#[derive(Clone, Debug)]
pub struct Shutdown(tokio::sync::watch::Receiver<bool>);

impl Shutdown {
    /// A switch and its listening end.
    pub fn new() -> (tokio::sync::watch::Sender<bool>, Shutdown) {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        (sender, Shutdown(receiver))
    }

    /// A signal that never comes.
    pub fn never() -> Shutdown {
        Shutdown::new().1
    }

    /// True once a stop has been asked for.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it is asked for; never, if nobody can ask any more.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The length and number of waits for a service that is down or asks for patience. A value, so that tests can make it
/// short; connectors and the engine use the same one.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// First pause; doubles each time.
    pub first: Duration,
    /// Longest pause of our own choosing.
    pub longest: Duration,
    /// Tries in all.
    pub tries: u32,
    /// Longest wait a service may ask for within one cycle.
    pub patience: Duration,
    /// The time for which a destination may leave a cycle without a good answer. Beyond, the cycle ends without it.
    pub silence: Duration,
    /// Limits that everybody shares who got this value by cloning.
    pub paces: Paces,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            tries: 4,
            patience: Duration::from_secs(80),
            silence: Duration::from_secs(90),
            paces: Paces::default(),
        }
    }
}

impl Backoff {
    /// For tests: the same number of tries with next to no pause.
    pub fn immediate() -> Backoff {
        Backoff {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(5),
            patience: Duration::from_millis(50),
            ..Backoff::default()
        }
    }

    /// The pause before try number `tried + 1`, or `None` where trying again is pointless or patience has ended.
    pub fn pause(&self, tried: u32, error: &Error) -> Option<Duration> {
        if tried >= self.tries || !error.is_transient() {
            return None;
        }
        let own = self.first.saturating_mul(1 << (tried - 1).min(16)).min(self.longest);
        let jittered = own.mul_f64(0.75 + fastrand::f64() / 2.0);
        match error.kind {
            Kind::Throttled { retry_after: Some(asked) } if asked > self.patience => None,
            Kind::Throttled { retry_after: Some(asked) } => Some(asked.max(jittered)),
            // Without a hint quotas refill by the minute: wait longer than for a hiccup.
            Kind::Throttled { retry_after: None } => Some((jittered * 10).min(self.patience)),
            _ => Some(jittered),
        }
    }

    /// Waits before the next try, or gives the error back where another try is pointless.
    pub async fn wait(&self, shutdown: &Shutdown, tried: u32, error: Error) -> Result<(), Error> {
        let Some(pause) = self.pause(tried, &error) else { return Err(error) };
        tracing::debug!("{error}; trying again in {pause:?}");
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = shutdown.wait() => Err(Error::stopped()),
        }
    }

    /// Tries `attempt` on a connector until it succeeds, fails for good, or patience ends. Only for what may be repeated
    /// safely: reads, and writes that cannot apply twice.
    pub async fn retry<D: Send + ?Sized, T>(
        &self,
        shutdown: &Shutdown,
        connector: &mut D,
        mut attempt: impl for<'a> FnMut(&'a mut D) -> Attempt<'a, T> + Send,
    ) -> Result<T, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match attempt(connector).await {
                Err(error) => self.wait(shutdown, tried, error).await?,
                done => return done,
            }
        }
    }

    /// Runs `operation` until it succeeds, fails for good, or patience ends. Only for what may be repeated safely:
    /// reads, and writes that cannot apply twice.
    pub async fn run<T, F: Future<Output = Result<T, Error>>>(
        &self,
        shutdown: &Shutdown,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut tried = 0;
        loop {
            if shutdown.requested() {
                return Err(Error::stopped());
            }
            tried += 1;
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            self.wait(shutdown, tried, error).await?;
        }
    }
}

/// A single try of a connector's work.
pub type Attempt<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;
