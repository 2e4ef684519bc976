//! The pages of a listing, one after the other, with every way in which banks fail to come to an end.

use std::collections::HashSet;

use chrono::Utc;

use super::{Endpoint, Pull, Target};
use crate::remote::packed::PackedText;
use crate::remote::{Error, REPLY_BYTES};
use crate::source::enable_banking::failure::{Failure, Reaction, Refusal};
use crate::source::enable_banking::listing::{Next, Pages};
use crate::source::enable_banking::window::Window;

/// Most pages of one listing. Real ones need two.
const MOST_PAGES: usize = 100;

/// A listing as it is asked for.
pub(super) struct Asked<'a> {
    pub window: &'a Window,
    pub currency: &'a str,
    pub is_restarted: bool,
}

impl Pull {
    /// Fetches page after page. `Err` inside: the refusal of the listing as a whole.
    pub(super) async fn pages(
        &mut self,
        target: &Target<'_>,
        asked: &Asked<'_>,
    ) -> Result<Result<Pages, Refusal>, Error> {
        let mut pages = Pages::new(asked.window.taken, asked.currency);
        let (mut key, mut keys, mut left) = (None::<String>, HashSet::new(), REPLY_BYTES);
        loop {
            let is_first = pages.count() == 0;
            let text = match self.page(target, asked.window, key.as_deref(), left).await {
                Ok(text) => text,
                Err(Failure::Refused(refusal)) => {
                    let is_stale = refusal.reaction() == Reaction::Parameters && !asked.is_restarted;
                    if is_first || is_stale {
                        return Ok(Err(refusal));
                    }
                    let error = self.refused(target, Endpoint::Transactions, &refusal)?;
                    if error.cause().is_some() {
                        return Err(error);
                    }
                    pages.incomplete = Some(self.without_name(&error));
                    break;
                }
                Err(Failure::Error(error)) if is_first || error.cause().is_some() => return Err(error),
                Err(Failure::Error(error)) => {
                    pages.incomplete = Some(self.without_name(&error));
                    break;
                }
            };
            left = left.saturating_sub(text.len());
            match pages.add(text) {
                Err(why) if is_first => {
                    return Err(Error::malformed(format!(
                        "{}: account {}: the listing {why}",
                        self.service, target.name
                    )));
                }
                Err(why) => pages.incomplete = Some(format!("the listing {why}")),
                Ok(Next::End) => break,
                Ok(Next::Repeated) => pages.incomplete = Some("the bank gives the same page again and again".into()),
                Ok(Next::Key(next)) if !keys.insert(next.clone()) => {
                    pages.incomplete = Some("the bank gives the key of the same page again and again".into());
                }
                Ok(Next::Key(_)) if keys.len() >= MOST_PAGES => {
                    pages.incomplete = Some(format!("the listing has more than {MOST_PAGES} pages"));
                }
                Ok(Next::Key(next)) => key = Some(next),
            }
            if pages.incomplete.is_some() {
                break;
            }
        }
        self.settle_breaks(target, asked.window, &mut pages).await?;
        Ok(Ok(pages))
    }

    /// Finds out whether rows on both sides of a page break are one or two: where the first page has not changed, nothing
    /// was booked between the pages, and they are two.
    async fn settle_breaks(&mut self, target: &Target<'_>, window: &Window, pages: &mut Pages) -> Result<(), Error> {
        if !pages.is_doubtful() {
            return Ok(());
        }
        match self.page(target, window, None, REPLY_BYTES).await {
            Ok(text) => {
                if !pages.begins_with(text) {
                    pages.join_at_breaks();
                }
                Ok(())
            }
            Err(failure) => {
                let error = failure.error(&self.service, &format!("account {}", target.name));
                pages.join_at_breaks();
                let why = self.without_name(&error);
                pages.incomplete.get_or_insert(format!("rows at a page break are not certain: {why}"));
                if error.cause().is_some() { Err(error) } else { Ok(()) }
            }
        }
    }

    /// Fetches a page: once more where the service has trouble and the bank's limit leaves room.
    async fn page(
        &mut self,
        target: &Target<'_>,
        window: &Window,
        key: Option<&str>,
        most: usize,
    ) -> Result<PackedText, Failure> {
        let path = ["accounts", target.uid, Endpoint::Transactions.as_str()];
        let day = window.asked.map(|day| day.to_string());
        let mut query = Vec::new();
        query.extend(day.as_deref().map(|day| ("date_from", day)));
        query.extend(window.is_longest.then_some(("strategy", "longest")));
        query.extend((!self.notebook.memory.takes_no_filter).then_some(("transaction_status", "BOOK")));
        query.extend(key.map(|key| ("continuation_key", key)));
        let mut is_second = false;
        loop {
            self.count(target, Endpoint::Transactions)?;
            let presence = self.presence.clone();
            match self.api.page(&path, &query, &presence, most).await {
                Err(Failure::Error(error)) if error.is_transient() && !is_second => {
                    self.may_call(target, Endpoint::Transactions, Utc::now()).map_err(|_| error)?;
                    is_second = true;
                }
                done => return done,
            }
        }
    }
}
