//! The nature of one of the bank's HTML pages: a page to sign in on, or else an obstacle of a certain kind.
//!
//! Structure speaks first (forms, inputs, meta tags), words second, in Bulgarian and English. No refusal of the real
//! bank has ever been seen, so a page that is not understood stays [`Cause::UnknownPage`] and its words go to the
//! owner.

use scraper::{ElementRef, Html, Selector};

use super::form::{CodeForm, wants_code};
use crate::printable::is_printable;
use crate::remote::Cause;
use crate::remote::document::{self, Excess};

/// Longest quotation of a page in a message.
const QUOTE_CHARS: usize = 200;

/// Longest text of a page shown to a person who is to answer it.
const SHOWN_CHARS: usize = 1000;

/// Longest style of an element that is looked at.
const STYLE_BYTES: usize = 256;

/// Words of error boxes that are kept.
const ALERT_BYTES: usize = 4096;

/// The facts of a page; plain data, because a parsed document cannot be kept across a wait.
#[derive(Default)]
pub(super) struct WebPage {
    /// The token that a form sent back must carry.
    pub csrf: Option<String>,
    /// The page asks for user name and password.
    pub login_form: bool,
    /// The form to send a code with, where there is no doubt which one it is.
    pub code_form: Option<CodeForm>,
    /// Number of password inputs.
    passwords: usize,
    /// Names of the inputs a person fills in, in lower case.
    inputs: Vec<String>,
    /// Every visible word.
    text: String,
    /// The visible words of its error boxes.
    alerts: String,
    /// The reason why the page is unknown.
    excess: Option<Excess>,
}

impl WebPage {
    /// Reads a page. Text that is no HTML gives a page of these words; a page beyond the limits of reading is an
    /// unknown page whose words say so.
    pub fn read(body: &str) -> WebPage {
        match document::parse(body) {
            Ok(document) => WebPage::of(&document),
            Err(excess) => WebPage { excess: Some(excess), ..WebPage::default() },
        }
    }

    fn of(document: &Html) -> WebPage {
        let inputs: Vec<_> = select(document, "input").filter(|input| is_filled_in(*input)).collect();
        let named = |name: &str| inputs.iter().any(|input| input.attr("name") == Some(name));
        let mut text = String::new();
        for body in select(document, "body") {
            collect_words(body, &mut text, usize::MAX);
        }
        if text.is_empty() {
            select(document, "title").for_each(|title| collect_words(title, &mut text, usize::MAX));
        }
        let alerts = alerts(document);
        let csrf = csrf(document);
        WebPage {
            code_form: CodeForm::find(document, csrf.as_deref()),
            csrf,
            login_form: named("username") && named("password"),
            passwords: inputs.iter().filter(|input| input.attr("type") == Some("password")).count(),
            inputs: inputs.iter().filter_map(|input| input.attr("name").or(input.attr("id"))).map(lower).collect(),
            text,
            alerts,
            excess: None,
        }
    }

    /// The login form as such, for when its page could not be read.
    pub fn bare_login_form() -> WebPage {
        WebPage { login_form: true, ..WebPage::default() }
    }

    /// True for a page beyond the limits of reading: another look would cost as much and show no more.
    pub fn is_unread(&self) -> bool {
        self.excess.is_some()
    }

    /// The obstacle on a page that should have gone on. `hint` is the error that the address of the page tells.
    pub fn obstacle(&self, hint: &str) -> Cause {
        if self.login_form {
            return self.refusal(hint);
        }
        let words = Words::of(&format!("{} {}", self.text, hint));
        if self.asks_new_password() {
            Cause::PasswordChange
        } else if self.asks_code() {
            Cause::SecondFactor
        } else if words.have(&LOCKED) {
            Cause::Locked
        } else if words.have(&CHANGE) {
            Cause::PasswordChange
        } else if self.inputs.is_empty() && words.have(&MAINTENANCE) {
            // Before the second factor: a page of good-byes may well mention the bank's token application.
            Cause::Maintenance
        } else if words.have(&SECOND_FACTOR) {
            Cause::SecondFactor
        } else {
            Cause::UnknownPage
        }
    }

    /// True for a page that says that the bank is closed for maintenance and has no fields to fill in.
    pub fn is_maintenance(&self) -> bool {
        self.inputs.is_empty() && self.obstacle("") == Cause::Maintenance
    }

    /// The login form came back: a refused password, unless the page says something graver. Words that may be static
    /// advice ("after five attempts the login will be locked", "in maintenance on Sunday") must not hide a refusal,
    /// since a refused password must never be tried again.
    fn refusal(&self, hint: &str) -> Cause {
        let complaint = Words::of(&format!("{} {}", self.alerts, hint));
        if complaint.have(&LOCKED) || Words::of(&self.text).have(&LOCKED_NOW) {
            Cause::Locked
        } else if complaint.have(&CHANGE) {
            Cause::PasswordChange
        } else {
            Cause::PasswordRefused
        }
    }

    fn asks_new_password(&self) -> bool {
        let renewed = |name: &String| {
            name.contains("pass") && ["new", "old", "conf", "repeat", "again"].iter().any(|part| name.contains(part))
        };
        self.passwords > 1 || self.inputs.iter().any(renewed)
    }

    fn asks_code(&self) -> bool {
        self.inputs.iter().any(|name| wants_code(name))
    }

    /// The page's own words, error boxes first, cut short, without any of `secrets`.
    pub fn quote(&self, secrets: &[&str]) -> String {
        if let Some(excess) = self.excess {
            return format!("nothing that bankfeed reads, because {excess}");
        }
        let words = if self.alerts.is_empty() { &self.text } else { &self.alerts };
        quote(words, secrets)
    }

    /// The words of the page, error boxes first, for a person who is to answer; without any of `secrets`.
    pub fn words(&self, secrets: &[&str]) -> String {
        if self.excess.is_some() {
            return self.quote(secrets);
        }
        let said =
            if self.text.contains(&self.alerts) { self.text.clone() } else { format!("{} {}", self.alerts, self.text) };
        quote_up_to(SHOWN_CHARS, &said, secrets)
    }
}

/// Text fit for a message: one line, none of `secrets`, at most some 200 characters.
pub(super) fn quote(text: &str, secrets: &[&str]) -> String {
    quote_up_to(QUOTE_CHARS, text, secrets)
}

fn quote_up_to(longest: usize, text: &str, secrets: &[&str]) -> String {
    let text: String = text
        .chars()
        .map(|char| if char.is_whitespace() { ' ' } else { char })
        .filter(|char| is_printable(*char))
        .collect();
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut secrets: Vec<String> = secrets.iter().map(|secret| secret.trim().to_lowercase()).collect();
    // The longer one first: a password may contain the user name.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        line = without(&line, &secret.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if line.is_empty() {
        return "nothing".into();
    }
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// `line` with every occurrence of `secret` (lower case) blotted out, whatever its case.
fn without(line: &str, secret: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        match prefix_ignoring_case(rest, secret) {
            Some(length) => {
                clean.push('…');
                rest = &rest[length..];
            }
            None => {
                clean.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    clean
}

/// The number of bytes of `text` that spell `word`, which is in lower case.
fn prefix_ignoring_case(text: &str, word: &str) -> Option<usize> {
    let mut wanted = word.chars();
    let mut next = wanted.next();
    for (at, char) in text.char_indices() {
        let Some(_) = next else { return Some(at) };
        for lowered in char.to_lowercase() {
            if next != Some(lowered) {
                return None;
            }
            next = wanted.next();
        }
    }
    next.is_none().then_some(text.len())
}

const LOCKED: [&str; 6] = ["блокиран", "заключен", "locked", "blocked", "suspended", "disabled"];
/// Words that state the present, as opposed to advice.
const LOCKED_NOW: [&str; 8] = [
    " е блокиран",
    " са блокирани",
    " е временно блокиран",
    " е заключен",
    " is locked",
    " been locked",
    " is blocked",
    " been blocked",
];
const CHANGE: [&str; 16] = [
    "смяна на парола",
    "смяна на паролата",
    "смените парола",
    "смените своята парола",
    "промените парола",
    "променете парола",
    "промяна на парола",
    "нова парола",
    "изтекла парола",
    "паролата ви е изтекла",
    "паролата ви изтече",
    "паролата е изтекла",
    "срокът на паролата",
    "password has expired",
    "password expired",
    "change your password",
];
const MAINTENANCE: [&str; 6] =
    ["профилактик", "поддръжка", "временно недостъпн", "временно не работи", "maintenance", "out of service"];
const SECOND_FACTOR: [&str; 15] = [
    "еднократ",
    "одноразов",
    "код за потвърждение",
    "втори фактор",
    "двуфактор",
    "допълнително потвърждение",
    "потвърдете вход",
    "потвърждаване на вход",
    "токен",
    " token ",
    " sms",
    " смс",
    "one-time",
    "verification code",
    "two-factor",
];

/// Text made comparable: lower case, single spaces, one at either end.
struct Words(String);

impl Words {
    fn of(text: &str) -> Words {
        let words: Vec<&str> = text.split_whitespace().collect();
        Words(format!(" {} ", words.join(" ")).to_lowercase())
    }

    fn have(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.0.contains(phrase))
    }
}

fn csrf(document: &Html) -> Option<String> {
    let meta = select(document, "meta[name=_csrf]").find_map(|meta| meta.attr("content"));
    let input = || select(document, "input[name=_csrf]").find_map(|input| input.attr("value"));
    meta.or_else(input).map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned)
}

fn is_filled_in(input: ElementRef) -> bool {
    !matches!(input.attr("type"), Some("hidden" | "submit" | "button" | "checkbox" | "radio" | "image" | "reset"))
}

fn select<'a>(document: &'a Html, selector: &'static str) -> impl Iterator<Item = ElementRef<'a>> {
    // The selectors are constants of this file; a wrong one selects nothing and the tests below fail.
    let selector = Selector::parse(selector).ok();
    document
        .root_element()
        .descendent_elements()
        .filter(move |element| selector.as_ref().is_some_and(|selector| selector.matches(element)))
}

/// The words of every error box.
fn alerts(document: &Html) -> String {
    let mut alerts = String::new();
    for alert in select(document, "[class*=error], [class*=alert], [id*=error], [role=alert]") {
        let mut words = String::new();
        collect_words(alert, &mut words, ALERT_BYTES);
        // A box inside a box says it once.
        if !alerts.contains(&words) {
            alerts = format!("{alerts} {words}").trim().to_owned();
        }
        if alerts.len() >= ALERT_BYTES {
            break;
        }
    }
    alerts
}

/// Appends the words a person would see in `element`, until there are so many bytes of them.
fn collect_words(element: ElementRef, words: &mut String, most: usize) {
    if is_unseen(element) {
        return;
    }
    // Not by recursion: a page may be of any depth.
    let mut open = vec![element.children()];
    while let Some(children) = open.last_mut() {
        let Some(child) = children.next() else {
            open.pop();
            continue;
        };
        if let Some(text) = child.value().as_text() {
            append_words(text, words);
        } else if let Some(child) = ElementRef::wrap(child).filter(|child| !is_unseen(*child)) {
            open.push(child.children());
        }
        if words.len() >= most {
            return;
        }
    }
}

fn append_words(text: &str, words: &mut String) {
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
}

/// True where a person sees nothing of an element and its content.
fn is_unseen(element: ElementRef) -> bool {
    matches!(element.value().name(), "script" | "style" | "template" | "noscript") || is_hidden(element)
}

/// True for an element that is marked as not shown.
pub(super) fn is_hidden(element: ElementRef) -> bool {
    let style = element.attr("style").unwrap_or_default();
    let style = &style[..style.floor_char_boundary(STYLE_BYTES)];
    element.attr("hidden").is_some() || style.replace(' ', "").to_lowercase().contains("display:none")
}

fn lower(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = r#"<form><input id="u" name="username"><input type="password" name="password">
        <input type="hidden" name="smsToken"></form>"#;

    fn page(body: &str) -> WebPage {
        WebPage::read(&format!("<html><head><title>Вход</title></head><body>{body}</body></html>"))
    }

    #[test]
    fn the_form_token_is_found_however_the_tag_is_written() {
        for tag in [
            r#"<meta name="_csrf" content="11-22" />"#,
            r#"<meta name="_csrf" content="11-22">"#,
            r#"<META content='11-22' name='_csrf'>"#,
            r#"<meta name=_csrf content=11-22><meta name="_csrf_header" content="X-CSRF-TOKEN"/>"#,
            r#"<input type="hidden" name="_csrf" value="11-22">"#,
        ] {
            assert_eq!(WebPage::read(tag).csrf.as_deref(), Some("11-22"), "{tag}");
        }
        assert_eq!(WebPage::read(r#"<meta name="_csrf_header" content="X">"#).csrf, None);
        assert_eq!(WebPage::read(r#"<meta name="_csrf" content=" ">"#).csrf, None);
    }

    #[test]
    fn the_login_form_again_is_a_refusal_unless_something_graver_is_said() {
        let refused = |text: &str| page(&format!("{text}{FORM}")).obstacle("");
        assert_eq!(refused(""), Cause::PasswordRefused);
        assert_eq!(refused("<div class='error'>Грешно потребителско име или парола</div>"), Cause::PasswordRefused);
        assert_eq!(refused("<p>След 5 грешни опита достъпът ще бъде блокиран.</p>"), Cause::PasswordRefused);
        assert_eq!(refused("<p>Профилактика в неделя. Смяна на парола. Токен</p>"), Cause::PasswordRefused);
        assert_eq!(refused("<p>Вашият достъп е блокиран.</p>"), Cause::Locked);
        assert_eq!(refused("<div class='alert'>Потребителят е заключен</div>"), Cause::Locked);
        assert_eq!(refused("<div role=alert>Необходима е смяна на паролата</div>"), Cause::PasswordChange);
        assert_eq!(page(FORM).obstacle("error locked"), Cause::Locked);
    }

    #[test]
    fn other_pages_are_told_apart_by_structure_then_by_words() {
        let obstacle = |text: &str| page(text).obstacle("");
        assert_eq!(obstacle("<input name='smsCode'>"), Cause::SecondFactor);
        assert_eq!(obstacle("Въведете еднократния код от Fibank Token"), Cause::SecondFactor);
        assert_eq!(obstacle("Enter the verification code <input name=x>"), Cause::SecondFactor);
        assert_eq!(obstacle("<input type=password name=a><input type=password name=b>"), Cause::PasswordChange);
        assert_eq!(obstacle("<input type=password name=newPassword>"), Cause::PasswordChange);
        assert_eq!(obstacle("<p>Паролата Ви е изтекла. Изберете друга.</p>"), Cause::PasswordChange);
        assert_eq!(obstacle("<p>Вашата сесия е изтекла</p>"), Cause::UnknownPage);
        assert_eq!(obstacle("Моля, сменете я. Необходима е смяна на парола."), Cause::PasswordChange);
        assert_eq!(obstacle("Вашият потребител е заключен"), Cause::Locked);
        assert_eq!(obstacle("Your account has been LOCKED"), Cause::Locked);
        assert_eq!(obstacle("Системата е в профилактика. Ползвайте Fibank Token."), Cause::Maintenance);
        assert_eq!(obstacle("Scheduled maintenance"), Cause::Maintenance);
        assert_eq!(obstacle("Нови общи условия. Приемам"), Cause::UnknownPage);
        assert_eq!(obstacle(""), Cause::UnknownPage);
    }

    #[test]
    fn quotes_are_the_visible_words_without_secrets() {
        let page = page(
            "<style>x{}</style><script>let a = 1</script><p>Здравей,&nbsp;<b>Ivan</b>!</p> \
             <p style='display: none'>тайно</p><i>p&amp;ss Word</i> и толкова",
        );
        assert_eq!(page.quote(&["ivan", "p&ss Word"]), "Здравей, … ! … и толкова");
        assert_eq!(quote(&"я".repeat(500), &[]).chars().count(), QUOTE_CHARS + 1);
        assert_eq!(quote("ivan123 and IVAN", &["ivan", "ivan123"]), "… and …");
        assert_eq!(quote("  ", &["ivan"]), "nothing");
        assert_eq!(quote("\u{1b}[31mчервено\u{7}\u{202e}\nдве", &[]), "[31mчервено две");
    }

    #[test]
    fn a_page_beyond_what_is_read_is_unknown_and_says_its_limit() {
        for (page, limit) in [
            ("<div>".repeat(50_000) + FORM, "deeper than 512"),
            (FORM.to_owned() + &"<table><tr><td>".repeat(36_000), "deeper than 512"),
            ("<b x><p></b>".repeat(36_000), "more than 50000"),
            ("<i></i>".repeat(290_000), "more than 50000"),
            (FORM.to_owned() + &"x".repeat(2 << 20), "larger than 2 MiB"),
        ] {
            let page = WebPage::read(&page);
            assert_eq!(page.obstacle(""), Cause::UnknownPage);
            assert!(!page.login_form && page.csrf.is_none() && page.code_form.is_none());
            assert!(page.quote(&[]).contains(limit) && page.words(&[]).contains(limit), "{}", page.quote(&[]));
        }
    }

    #[test]
    fn what_is_read_of_a_large_page_is_bounded() {
        let boxes = format!("{}вътре", "<div class=error>".repeat(500));
        assert_eq!(page(&boxes).quote(&[]), "вътре");
        let many: String = (0..9_000).map(|at| format!("<p class=alert>грешка {at}</p>")).collect();
        let many = page(&many);
        assert!(many.alerts.len() < ALERT_BYTES + 100 && many.quote(&[]).starts_with("грешка 0 грешка 1 "));
        let style = "a: b; ".repeat(500);
        let fields = "<input type=text name=x style='display:none'>".repeat(2_000);
        let deep = format!("{}<form method=post>{fields}</form>", format!("<div style='{style}'>").repeat(400));
        assert_eq!(page(&deep).code_form, None);
    }

    #[test]
    fn error_boxes_are_quoted_first() {
        let page = page("<h1>Вход в Моята Fibank</h1><div class='login-error'>Грешна парола</div>");
        assert_eq!(page.quote(&[]), "Грешна парола");
    }
}
