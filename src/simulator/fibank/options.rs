//! Switches for the unknown or varying behaviour of the real service. The default of each is the likelier reading, so
//! that a test names only the switch that it is about.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

/// Behaviour of the service. `Options::default()` is the service's likely behaviour.
#[derive(Clone, Debug)]
pub struct Options {
    /// Style of the page's `meta` tags; `None`: pages take the styles in turn.
    pub page_style: Option<PageStyle>,
    /// `authorize` is refused unless the login page was opened in the same session before.
    pub login_page_first: bool,
    /// A login is refused unless `fnGetCertsForLogin` was called in the same session before.
    pub certs_required: bool,
    /// A login is refused unless all eight fields of the form are there and `time` is well-formed.
    pub form_complete: bool,
    /// Locations are paths; otherwise whole addresses.
    pub relative_locations: bool,
    /// Bytes in the query of every Location, sent as they are.
    pub raw_words: Vec<u8>,
    /// Bytes in the Location after a wrong password, sent as they are.
    pub refusal_words: Vec<u8>,
    /// Login and token are one more redirect apart.
    pub extra_redirect: bool,
    /// After the login the browser is sent to this address, e.g. on another host.
    pub foreign_redirect: Option<String>,
    /// The token stands in the query of the last Location; otherwise in its fragment.
    pub token_in_query: bool,
    /// The `state` that comes back is not the one that was sent.
    pub wrong_state: bool,
    /// `state` comes back at all.
    pub state_echoed: bool,
    /// `expires_in`; `None`: left out.
    pub expires_in: Option<u64>,
    /// Wrong passwords in a row that lock the login.
    pub lock_after: u32,
    /// A refused password is answered with the login page at once; otherwise with a redirect to it.
    pub refuse_in_place: bool,
    /// A new token ends the older ones.
    pub single_session: bool,

    /// API calls after which a token is over.
    pub token_calls: Option<u32>,
    /// The answer to a missing or expired token.
    pub expired: Expired,
    /// API calls are refused without the whole set of headers the page sends.
    pub headers_required: bool,
    /// Status for a missing or foreign `EBank-Cust-Id`, or an account of somebody else.
    pub wrong_customer: u16,
    /// `ibCustomerId` is text; otherwise a number.
    pub customer_id_as_text: bool,
    /// The key under which a customer's name stands in `getCustQuery`.
    pub customer_name_key: String,
    /// Every API call is answered with 200 and a page.
    pub html_instead_of_json: bool,

    /// Pieces of replies that are written as these bytes instead, even if that breaks the reply.
    pub garbled: Vec<(String, Vec<u8>)>,
    /// The spelling of amounts.
    pub amounts: Amounts,
    /// Elements of `acc` in a statement: 0, 1, or 2, where a stranger comes first.
    pub acc_elements: u8,
    /// Presence of `stmt` in a statement.
    pub stmt: Stmt,
    /// The rows OP, DT, CT and CL are there.
    pub balance_rows: bool,
    /// Longest window in days.
    pub max_window_days: Option<u32>,
    /// Status for a longer one.
    pub long_window: u16,
    /// The answer to a longer one in place of the status.
    pub long_answer: Option<LongAnswer>,
    /// The offset of a window's ends is ignored and their wall-clock time taken as Bulgarian.
    pub reads_wall_clock: bool,
    /// The spelling of times.
    pub offsets: Offsets,
    /// The order of rows.
    pub order: RowOrder,
    /// The running balance follows the time of the entries; otherwise their order in the account, so that a late entry
    /// with an early time takes the balance of the moment it was booked.
    pub balances_by_time: bool,
    /// Unknown keys in every object.
    pub unknown_keys: bool,
    /// The spelling of an optional key without a value.
    pub absent: Absent,
    /// `drAmount` and `crAmount` are there.
    pub debit_credit_amounts: bool,
    /// `trnAccount` is always the entry's own account; otherwise the other side's where there is one.
    pub own_trn_account: bool,
    /// The words in `dtkt` for debit and credit.
    pub dtkt: (String, String),
    /// Blocked amounts by IBAN.
    pub blocked: BTreeMap<String, Decimal>,
    /// Accounts that became euro accounts while their entries of before 2026 stayed in leva
    /// (see [`Bank::introduce_euro`](super::Bank::introduce_euro)).
    pub kept_in_leva: Vec<String>,
    /// Numbers of entries that no statement shows, although the balances count them.
    pub withheld: Vec<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            page_style: None,
            login_page_first: false,
            certs_required: false,
            form_complete: true,
            relative_locations: false,
            raw_words: Vec::new(),
            refusal_words: Vec::new(),
            extra_redirect: false,
            foreign_redirect: None,
            token_in_query: false,
            wrong_state: false,
            state_echoed: true,
            expires_in: Some(1799),
            lock_after: 5,
            refuse_in_place: false,
            single_session: false,
            token_calls: None,
            expired: Expired::Unauthorized,
            headers_required: false,
            wrong_customer: 500,
            customer_id_as_text: false,
            customer_name_key: "name".to_owned(),
            html_instead_of_json: false,
            garbled: Vec::new(),
            amounts: Amounts::Shortest,
            acc_elements: 1,
            stmt: Stmt::Present,
            balance_rows: true,
            max_window_days: None,
            long_window: 500,
            long_answer: None,
            reads_wall_clock: false,
            offsets: Offsets::Winter,
            order: RowOrder::Booked,
            balances_by_time: false,
            unknown_keys: false,
            absent: Absent::Missing,
            debit_credit_amounts: false,
            own_trn_account: false,
            dtkt: ("D".to_owned(), "C".to_owned()),
            blocked: BTreeMap::new(),
            kept_in_leva: Vec::new(),
            withheld: Vec::new(),
        }
    }
}

/// The spelling of a `meta` tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStyle {
    /// `<meta name="_csrf" content="…" />` alone on its line.
    Xhtml,
    /// `<meta name="_csrf" content="…">`, several on a line.
    Html,
    /// `<META content='…' name='_csrf'/>`.
    Reversed,
    /// A tag over several lines, after an old one in a comment.
    Wrapped,
}

impl PageStyle {
    /// Every style, in the order pages take turns.
    pub const ALL: [PageStyle; 4] = [PageStyle::Xhtml, PageStyle::Html, PageStyle::Reversed, PageStyle::Wrapped];
}

/// The answer to an API call whose token is missing or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// 401 with an OAuth error in JSON.
    Unauthorized,
    /// 302 to the login page.
    Redirect,
    /// 200 with the login page.
    Page,
}

/// The answer to a window that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LongAnswer {
    /// 200 with this page, or this JSON.
    Success(String),
    /// The given status with the given page.
    Failure(u16, String),
    /// 302 to this address.
    Redirect(String),
    /// 200 with the first half of the reply.
    Cut,
}

/// The spelling of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amounts {
    /// `9.5`, `100`.
    Shortest,
    /// `9.50`, `100.00`.
    TwoPlaces,
    /// The form in which Java prints a double: `9.5`, `100.0`, `1.2345678E7`.
    Double,
    /// `"9.50"`.
    Text,
}

/// Presence of `stmt` in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stmt {
    /// Always.
    Present,
    /// Absent from a statement without transactions.
    OmittedWhenEmpty,
    /// Never.
    Omitted,
    /// Present as `null`.
    Null,
}

/// The spelling of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// The right instant, always at `+0200`.
    Winter,
    /// Bulgarian time: `+0200`, in summer `+0300`.
    Sofia,
    /// Bulgarian wall-clock time with `+0200` behind it, in summer an hour off.
    WallClock,
    /// [`Offsets::Sofia`] with a colon.
    Colon,
    /// UTC with `Z`.
    Utc,
}

/// The order of rows in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// Booking order.
    Booked,
    /// Order of time, and booking order within an instant.
    Time,
    /// Booking order, newest first.
    NewestFirst,
    /// No order at all, but always the same one.
    Unordered,
}

/// An optional key that has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The key is absent.
    Missing,
    /// The value is `null`.
    Null,
    /// The value is `""`.
    Empty,
}
