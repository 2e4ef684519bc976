//! What is to be said before the next cycle: the clock wakes at the instant when it becomes due, and for nothing else.

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::{Job, Owner, sleep_until};
use crate::notify::Teller;
use crate::sync::Engine;

/// Sleeps until that instant, or for ever, and says on the way what becomes due after `looked`. `false`: stopped before.
pub(super) async fn sleep_reminding(owner: &Owner, until: Option<DateTime<Utc>>, looked: &mut DateTime<Utc>) -> bool {
    let shutdown = &owner.engine.shutdown;
    loop {
        let next = owner.engine.next_notice(*looked).into_iter().chain(until).min();
        let sleep = async {
            match next {
                Some(next) => sleep_until(next, shutdown).await,
                None => {
                    shutdown.wait().await;
                    false
                }
            }
        };
        tokio::select! {
            woken = sleep => if !woken { return false },
            // Another session, with another end.
            () = owner.kept.notified() => {
                *looked = DateTime::<Utc>::MIN_UTC;
                continue;
            }
        }
        *looked = Utc::now();
        if until.is_some_and(|until| until <= *looked) {
            // The cycle says it.
            return true;
        }
        let (reply, said) = oneshot::channel();
        if owner.jobs.send(Job::Remind(reply)).await.is_ok() {
            drop(said.await);
        }
    }
}

/// Says what is due, in the log and to the notifiers.
pub(super) async fn remind(engine: &Engine, teller: &mut Teller) {
    let now = Utc::now();
    for source in &engine.config.sources {
        if let Some(note) = engine.session_note(source, now) {
            tracing::warn!("{}: {note}", source.name);
        }
    }
    teller.remind(now).await;
}
