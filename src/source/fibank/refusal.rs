//! The errors of a sign-in that does not get through: each names the obstacle and tells the owner the way out.

use super::html::WebPage;
use super::sign_in::{Door, EndPage, read};
use crate::remote::{Cause, Error, Response};

impl Door<'_> {
    /// The error of an answer that says "not now".
    pub(super) fn down(&self, response: &Response) -> Option<Error> {
        let status = response.status;
        if status == 429 {
            let message = format!("{}: the bank asks for a pause during the sign-in", self.service);
            return Some(Error::throttled(response.retry_after(), message));
        }
        if status < 500 {
            return None;
        }
        let page = read(response);
        if page.is_maintenance() {
            return Some(self.obstacle(&page, status, ""));
        }
        Some(Error::unavailable(format!(
            "{}: the bank answers {status} during the sign-in; the page says: {}",
            self.service,
            page.quote(&self.secrets())
        )))
    }

    /// The reason why a page came, after the password, in the place of the token.
    pub(super) fn turned_away(&self, end_page: &EndPage) -> Error {
        let EndPage { page, status, hint, .. } = end_page;
        let (status, hint) = (*status, hint.as_str());
        let session_lost = status == 403 && page.obstacle(hint) != Cause::Locked && !page.login_form
            || page.login_form && ["expired", "timeout", "invalid_session"].contains(&hint);
        if session_lost {
            return Error::unavailable(format!(
                "{}: the bank lost the session during the sign-in (status {status}); the password is not sent again in \
                 this run; the page says: {}",
                self.service,
                page.quote(&self.secrets())
            ));
        }
        self.obstacle(page, status, hint)
    }

    pub(super) fn obstacle(&self, page: &WebPage, status: u16, hint: &str) -> Error {
        let cause = match page.obstacle(hint) {
            Cause::UnknownPage if status == 401 => Cause::PasswordRefused,
            cause => cause,
        };
        let code = format!(
            "the bank asks for a second factor; give its code to `bankfeed login {}`, or sign in to My Fibank by hand, then \
             run `bankfeed sync --retry`",
            self.service
        );
        let what = match cause {
            Cause::PasswordRefused => {
                "the bank refuses the user name or password; correct them in the configuration (until then bankfeed does \
                 not try again, because a few more refusals would lock the login)"
            }
            Cause::Locked => "the login is locked; have the bank unlock it, then run `bankfeed sync --retry`",
            Cause::PasswordChange => {
                "the bank demands a new password; change it in My Fibank, then put the new one into the configuration"
            }
            Cause::SecondFactor => &code,
            Cause::Maintenance => "the bank is closed for maintenance; the next run tries again",
            _ => {
                "a page bankfeed does not know stands in the way of the sign-in; look at My Fibank in a browser, then run \
                 `bankfeed sync --retry`"
            }
        };
        let words = page.quote(&self.secrets());
        Error::attention(cause, format!("{}: {what} (status {status}); the page says: {words}", self.service))
    }

    pub(super) fn unknown(&self, what: &str) -> Error {
        let remedy = "sign in to My Fibank in a browser to see what has changed, then run `bankfeed sync --retry`";
        Error::attention(Cause::UnknownPage, format!("{}: {what}; {remedy}", self.service))
    }
}
