//! Causes of trouble in the page's language.
//!
//! A connector says its cause in an English sentence. The English page shows that sentence; the Bulgarian page shows a
//! sentence of its own for each cause, with the names, days and Bulgarian words that the English one mentions. Neither
//! repeats the name that stands before the sentence anyway.

use std::fmt::Write;

use super::html::E;
use super::words::Words;
use crate::model::Language;
use crate::remote::Cause;
use crate::store::{Attention, KnownAccount};

/// An attention as HTML: the cause, then the remedy.
pub(super) fn attention(words: &Words, is_source: bool, name: &str, attention: &Attention) -> String {
    let (english, bulgarian) = remedy(is_source, attention.cause);
    let remedy = if words.language == Language::Bg { bulgarian } else { english };
    let told = told(words, name, &attention.message, happened(is_source, attention.cause));
    format!("{told}<br><span class=\"remedy\">{remedy}</span>")
}

/// A failure that is tried again, as HTML. `cause` is the word of the report, e.g. `unavailable`.
pub(super) fn failure(words: &Words, name: &str, message: &str, cause: Option<&str>) -> String {
    let known = cause.and_then(|word| serde_json::from_value(word.into()).ok());
    told(words, name, message, known.map_or_else(|| failed(cause), |cause| happened(true, cause)))
}

/// The reason why an account is incomplete, as HTML.
pub(super) fn problem(words: &Words, account: Option<&KnownAccount>, message: &str) -> String {
    let gap = account.is_some_and(|account| account.doubt.is_none() && account.problem.is_some());
    let bulgarian = match account {
        _ if message.contains("cannot be read: ") => {
            "Част от данните на банката не може да бъде прочетена; всичко останало е взето."
        }
        _ if gap => "Салдата не следват едно от друго: вероятно липсва транзакция.",
        Some(account) if account.fetched_until.is_none() => "Историята още не е прочетена докрай.",
        _ => "Възможно е банката да не е показала всички транзакции.",
    };
    told(words, account.map_or("", |account| &account.account.account), message, bulgarian)
}

/// An English message, or the Bulgarian sentence for it with what the message names.
fn told(words: &Words, name: &str, message: &str, bulgarian: &str) -> String {
    let message = without_name(message, name);
    if words.language == Language::En {
        return format!("<bdi lang=\"en\">{}</bdi>", E(message));
    }
    let mut html = bulgarian.to_owned();
    let (commands, names): (Vec<&str>, Vec<&str>) =
        names(message).iter().partition(|name| name.starts_with("bankfeed "));
    let listed = |names: &[&str], tag: &str| {
        names.iter().map(|name| format!("<{tag}>{}</{tag}>", E(name))).collect::<Vec<_>>().join(", ")
    };
    if !names.is_empty() {
        let _ = write!(html, " {}: {}.", words.named, listed(&names, "bdi"));
    }
    if !commands.is_empty() {
        let _ = write!(html, " {}: {}.", words.command, listed(&commands, "code"));
    }
    if let Some(quote) = quoted(message) {
        let _ = write!(html, " {}: <q><bdi lang=\"bg\">{}</bdi></q>", words.page_says, E(quote));
    }
    html
}

/// A message without the name of the service in front: `fibank: `, ``airtable `base`: ``.
fn without_name<'a>(message: &'a str, name: &str) -> &'a str {
    let mut rest = message;
    while let Some((head, tail)) = rest.split_once(": ") {
        let kind_and_name = head.strip_suffix('`').and_then(|head| head.split_once(" `"));
        if head != name && kind_and_name.is_none_or(|(kind, named)| named != name || kind.contains(' ')) {
            break;
        }
        rest = tail;
    }
    rest
}

/// Names in backquotes and days that a message mentions, each once.
fn names(message: &str) -> Vec<&str> {
    let is_day = |word: &&str| word.len() == 10 && word.parse::<chrono::NaiveDate>().is_ok();
    let quoted = message.split('`').skip(1).step_by(2);
    let days = message.split(|c: char| !c.is_ascii_digit() && c != '-').filter(is_day);
    let mut names: Vec<&str> = Vec::new();
    for name in quoted.chain(days) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The words of a page or service that a message quotes at its end, where they are Bulgarian.
fn quoted(message: &str) -> Option<&str> {
    let (_, quote) = message.split_once("says: ")?;
    let is_bulgarian = quote.chars().any(|c| ('\u{400}'..='\u{4ff}').contains(&c));
    is_bulgarian.then(|| quote.trim_end_matches(')'))
}

/// The cause in Bulgarian.
fn happened(is_source: bool, cause: Cause) -> &'static str {
    match cause {
        Cause::PasswordRefused => "Банката отказа потребителското име или паролата.",
        Cause::Locked => "Достъпът до банката е блокиран.",
        Cause::PasswordChange => "Банката иска нова парола.",
        Cause::SecondFactor => "Банката иска код за потвърждение.",
        Cause::Maintenance => "Банката извършва профилактика.",
        Cause::UnknownPage => "Входът в банката не завърши както обикновено.",
        Cause::OutcomeUnknown => "Банката не отговори дали е приела паролата или кода.",
        Cause::AccessEnded => "Съгласието или абонаментът при услугата е изтекъл или е оттеглен.",
        Cause::BankLogin => "Една от банките при услугата иска нещо от собственика си.",
        Cause::Token if is_source => "Достъпът вече не се приема.",
        Cause::Token => "Ключът или токенът не се приема.",
        Cause::NotFound if is_source => "Банката не показва на този достъп някоя от посочените сметки.",
        Cause::NotFound => "Таблицата не е намерена или не е споделена.",
        Cause::NotPermitted => "Услугата не разрешава писането.",
        Cause::Layout => "Подредбата на таблицата е променена и не може да бъде проследена.",
        Cause::Quota => "Мястото или лимитът на плана е изчерпан.",
        Cause::Closed => "Услугата не приема редове: изключена, спряна или забранена е.",
        Cause::Machine => "Пречи нещо на тази машина.",
    }
}

/// A failure of another kind, in Bulgarian.
fn failed(cause: Option<&str>) -> &'static str {
    match cause {
        Some("throttled") => "Услугата иска да се изчака.",
        Some("unavailable") => "Услугата не отговаря, както трябва.",
        Some("rejected") => "Услугата отказа заявката.",
        Some("malformed") => "Услугата отговори по непознат начин.",
        Some("too-large") => "Отговорът на услугата е по-голям, отколкото се чете.",
        Some("stopped") => "Изпълнението беше спряно.",
        _ => "Последният опит не успя.",
    }
}

fn remedy(is_source: bool, cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::PasswordRefused => (
            "Correct the password in the configuration and restart bankfeed. Until then nothing is sent to the bank.",
            "Поправете паролата в конфигурацията и рестартирайте bankfeed. Дотогава към банката не се изпраща нищо.",
        ),
        Cause::Locked => (
            "Have the bank unlock the login, then press “It is done: try again”.",
            "Помолете банката да отключи достъпа и натиснете „Готово: опитай отново“.",
        ),
        Cause::PasswordChange => (
            "Set a new password on the bank's own page, put it into the configuration and restart bankfeed.",
            "Задайте нова парола в страницата на банката, впишете я в конфигурацията и рестартирайте bankfeed.",
        ),
        Cause::SecondFactor => (
            "Run “bankfeed login” with this source's name and give it the code, or sign in once on the bank's own page; then press “It is done: try again”.",
            "Изпълнете „bankfeed login“ с името на този източник и въведете кода, или влезте веднъж в страницата на банката; после натиснете „Готово: опитай отново“.",
        ),
        Cause::Maintenance => (
            "Nothing to do: the next scheduled run tries again.",
            "Нищо не е нужно: следващото изпълнение по график ще опита отново.",
        ),
        Cause::UnknownPage => (
            "Sign in on the bank's own page and do what it asks for, then press “It is done: try again”.",
            "Влезте в страницата на банката, направете каквото иска тя и натиснете „Готово: опитай отново“.",
        ),
        Cause::OutcomeUnknown => (
            "Sign in on the bank's own page to see that the login is not locked, then press “It is done: try again”: it tries once.",
            "Влезте в страницата на банката и се уверете, че достъпът не е блокиран, после натиснете „Готово: опитай отново“: прави се един опит.",
        ),
        Cause::AccessEnded => (
            "Run “bankfeed login” with this source's name, or do what else is named here and then press “It is done: try again”.",
            "Изпълнете „bankfeed login“ с името на този източник, или направете каквото друго е посочено тук и натиснете „Готово: опитай отново“.",
        ),
        Cause::BankLogin => (
            "Sign in to that bank again on the service's own page; the other accounts go on meanwhile.",
            "Влезте отново в тази банка през страницата на услугата; останалите сметки продължават.",
        ),
        Cause::Token => (
            "Make a new token or key, put it into the configuration and restart bankfeed; or run “bankfeed login” where that is named here.",
            "Създайте нов токен или ключ, впишете го в конфигурацията и рестартирайте bankfeed; или изпълнете „bankfeed login“, ако тук е посочено.",
        ),
        Cause::NotFound if is_source => (
            "Name accounts of this login in the configuration, or none for all of them, and restart bankfeed.",
            "Впишете в конфигурацията сметки на този достъп, или никакви за всички, и рестартирайте bankfeed.",
        ),
        Cause::NotFound => (
            "Check that the sheet or base exists and is shared with bankfeed's account, and that its token has the rights named here; then press “Sync now”.",
            "Проверете дали таблицата съществува и е споделена с профила на bankfeed и дали токенът му има посочените тук права; после натиснете „Синхронизирай сега“.",
        ),
        Cause::NotPermitted => (
            "Give bankfeed's account the right to edit, or what else is asked for here, then press “Sync now”.",
            "Дайте на профила на bankfeed право да редактира, или каквото друго се иска тук, и натиснете „Синхронизирай сега“.",
        ),
        Cause::Layout => (
            "Put back the missing column or header, then press “Sync now”.",
            "Върнете липсващата колона или заглавие и натиснете „Синхронизирай сега“.",
        ),
        Cause::Quota => (
            "Make room or raise the plan's limit; delivery goes on by itself at the next run.",
            "Освободете място или увеличете лимита на плана; доставката продължава сама при следващото изпълнение.",
        ),
        Cause::Closed => (
            "Do what the service's own words ask for, or have whoever runs it do it; delivery goes on by itself at the next run.",
            "Направете каквото искат думите на услугата, или помолете този, който я управлява; доставката продължава сама при следващото изпълнение.",
        ),
        Cause::Machine => (
            "Look at this machine: its disk may be full or its clock wrong. Then press “Sync now”.",
            "Проверете тази машина: дискът може да е пълен или часовникът да е грешен. После натиснете „Синхронизирай сега“.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::words::choose;

    #[test]
    fn a_name_is_not_said_twice() {
        for (message, name, expected) in [
            ("fibank: the login is locked", "fibank", "the login is locked"),
            ("airtable `base`: table `Rows` is gone", "base", "table `Rows` is gone"),
            ("base: airtable `base`: full", "base", "full"),
            ("table `base`: field `x`", "other", "table `base`: field `x`"),
            ("the page says: fibank: no", "fibank", "the page says: fibank: no"),
        ] {
            assert_eq!(without_name(message, name), expected);
        }
    }

    #[test]
    fn bulgarian_pages_say_each_cause_in_bulgarian() {
        let words = choose(Some("bg"), &Default::default());
        let message = "airtable `base`: table `Transactions`: field `Reference` is computed (status 422)";
        assert_eq!(
            told(words, "base", message, happened(false, Cause::Layout)),
            "Подредбата на таблицата е променена и не може да бъде проследена. Отнася се за: \
             <bdi>Transactions</bdi>, <bdi>Reference</bdi>."
        );
        let message = "fibank: the bank answers 403 during the sign-in; the page says: Достъпът е <спрян>";
        assert_eq!(
            failure(words, "fibank", message, Some("unavailable")),
            "Услугата не отговаря, както трябва. На страницата пише: <q><bdi lang=\"bg\">Достъпът е &lt;спрян&gt;</bdi></q>"
        );
        let gap = "balance chain broken at 2026-01-05: 1.00 expected, 2.00 found; an entry of 1.00 is missing";
        assert!(problem(words, None, gap).ends_with("Отнася се за: <bdi>2026-01-05</bdi>."));
    }
}
