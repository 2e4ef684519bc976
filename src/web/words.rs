//! The page's words in English and Bulgarian.

use axum::http::{HeaderMap, header};

use crate::model::Language;
use crate::remote::Cause;
use crate::sync::Outcome;

/// Every word of the page.
#[allow(missing_docs)]
pub(super) struct Words {
    pub language: Language,
    /// For the `lang` attribute.
    pub code: &'static str,
    /// The other language, by its own name.
    pub other: (&'static str, &'static str),
    pub skip: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub token: &'static str,
    pub token_where: &'static str,
    pub token_wrong: &'static str,
    pub token_too_often: &'static str,
    pub attention: &'static str,
    pub source: &'static str,
    pub destination: &'static str,
    pub failed_later: &'static str,
    pub all_well: &'static str,
    pub accounts: &'static str,
    pub balance: &'static str,
    pub complete: &'static str,
    pub incomplete: &'static str,
    pub no_accounts: &'static str,
    pub sync_now: &'static str,
    pub try_again: &'static str,
    pub running: &'static str,
    pub last_run: &'static str,
    pub next_run: &'static str,
    pub never: &'static str,
    pub none: &'static str,
    pub filters: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub account: &'static str,
    pub all_accounts: &'static str,
    pub search: &'static str,
    pub currency: &'static str,
    pub apply: &'static str,
    pub reset: &'static str,
    pub whole_history: &'static str,
    pub bad_date: &'static str,
    pub figures: &'static str,
    pub money_in: &'static str,
    pub money_out: &'static str,
    pub difference: &'static str,
    pub fees: &'static str,
    pub by_month: &'static str,
    pub by_year: &'static str,
    pub by_category: &'static str,
    pub by_kind: &'static str,
    pub paid_to: &'static str,
    pub received_from: &'static str,
    pub fees_over_time: &'static str,
    pub balances_over_time: &'static str,
    pub period: &'static str,
    pub name: &'static str,
    pub amount: &'static str,
    pub as_table: &'static str,
    pub rest: &'static str,
    pub no_name: &'static str,
    pub no_category: &'static str,
    pub nothing_here: &'static str,
    pub other_units: &'static str,
    pub own_transfers: &'static str,
    pub in_euros: &'static str,
    pub transactions: &'static str,
    pub shown: &'static str,
    pub date: &'static str,
    pub counterparty: &'static str,
    pub description: &'static str,
    pub category: &'static str,
    pub kind: &'static str,
    pub vanished: &'static str,
    pub older: &'static str,
    pub newest: &'static str,
    pub download: &'static str,
    pub destinations: &'static str,
    pub last_success: &'static str,
    pub waiting: &'static str,
    pub refused: &'static str,
    pub runs: &'static str,
    pub no_runs: &'static str,
    pub started: &'static str,
    pub took: &'static str,
    pub outcome: &'static str,
    pub new: &'static str,
    pub changed: &'static str,
    pub delivered: &'static str,
    pub seconds: &'static str,
    pub months: [&'static str; 12],
    pub outcomes: [&'static str; 4],
}

impl Words {
    /// The word for how something fared.
    pub(super) fn outcome(&self, outcome: Outcome) -> &'static str {
        let [ok, failed, attention, skipped] = self.outcomes;
        match outcome {
            Outcome::Ok => ok,
            Outcome::Failed => failed,
            Outcome::Attention => attention,
            Outcome::Skipped => skipped,
        }
    }

    /// What the owner does about it.
    pub(super) fn remedy(&self, is_source: bool, cause: Cause) -> &'static str {
        let (english, bulgarian) = remedy(is_source, cause);
        if self.language == Language::Bg { bulgarian } else { english }
    }
}

/// The words of the language that is asked for in the address, else the one the browser prefers.
pub(super) fn choose(asked: Option<&str>, headers: &HeaderMap) -> &'static Words {
    match asked {
        Some("bg") => &BULGARIAN,
        Some("en") => &ENGLISH,
        _ => preferred(headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default()),
    }
}

fn preferred(accepted: &str) -> &'static Words {
    let weighed = accepted.split(',').filter_map(|part| {
        let (tag, rest) = part.split_once(';').unwrap_or((part, "q=1"));
        let weight: f32 = rest.trim().strip_prefix("q=")?.parse().ok()?;
        let words = match tag.trim().split('-').next()?.to_ascii_lowercase().as_str() {
            "bg" => &BULGARIAN,
            "en" => &ENGLISH,
            _ => return None,
        };
        Some((weight, words))
    });
    // Where two weigh the same the first one counts.
    weighed.reduce(|best, next| if next.0 > best.0 { next } else { best }).map_or(&ENGLISH, |(_, words)| words)
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
        Cause::Machine => (
            "Look at this machine: its disk may be full or its clock wrong. Then press “Sync now”.",
            "Проверете тази машина: дискът може да е пълен или часовникът да е грешен. После натиснете „Синхронизирай сега“.",
        ),
    }
}

static ENGLISH: Words = Words {
    language: Language::En,
    code: "en",
    other: ("bg", "Български"),
    skip: "Skip to the transactions",
    sign_in: "Sign in",
    sign_out: "Sign out",
    token: "Token",
    token_where: "It is the token of [http] in the configuration; without one there, it stands in the file http-token in bankfeed's data directory.",
    token_wrong: "That is not the token.",
    token_too_often: "Too many wrong tokens. Try again in a few seconds.",
    attention: "Needs you",
    source: "Source",
    destination: "Destination",
    failed_later: "Failed, will be tried again",
    all_well: "Everything is up to date.",
    accounts: "Accounts",
    balance: "Balance",
    complete: "complete",
    incomplete: "incomplete",
    no_accounts: "No account is known yet. The first run brings them.",
    sync_now: "Sync now",
    try_again: "It is done: try again",
    running: "A cycle is running. This page looks again every few seconds.",
    last_run: "Last run",
    next_run: "Next run",
    never: "never",
    none: "none",
    filters: "Filters",
    from: "From",
    to: "To",
    account: "Account",
    all_accounts: "All accounts",
    search: "Text",
    currency: "Currency of the charts",
    apply: "Show",
    reset: "Last 12 months",
    whole_history: "Whole history",
    bad_date: "One of the filters could not be understood and was left out.",
    figures: "Charts",
    money_in: "Money in",
    money_out: "Money out",
    difference: "Difference",
    fees: "Bank fees",
    by_month: "Debit and credit by month",
    by_year: "Debit and credit by year",
    by_category: "Money out by category",
    by_kind: "Money out by kind of operation",
    paid_to: "Paid to",
    received_from: "Received from",
    fees_over_time: "Bank fees over time",
    balances_over_time: "Balance over time",
    period: "Period",
    name: "Name",
    amount: "Amount",
    as_table: "The same as a table",
    rest: "All others",
    no_name: "(no name)",
    no_category: "(no category)",
    nothing_here: "Nothing to show for this selection.",
    other_units: "Not in these charts, because it is another currency:",
    own_transfers: "Transfers between your own accounts, left out of the charts:",
    in_euros: "Leva are shown in euros at 1.95583.",
    transactions: "Transactions",
    shown: "newest first",
    date: "Date",
    counterparty: "Counterparty",
    description: "Description",
    category: "Category",
    kind: "Kind of operation",
    vanished: "taken back by the bank",
    older: "Older",
    newest: "Newest",
    download: "Download as CSV",
    destinations: "Sources and destinations",
    last_success: "Last success",
    waiting: "Waiting",
    refused: "Refused",
    runs: "Run history",
    no_runs: "No run yet.",
    started: "Started",
    took: "Took",
    outcome: "Outcome",
    new: "New",
    changed: "Changed",
    delivered: "Rows delivered",
    seconds: "s",
    months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    outcomes: ["done", "failed", "needs you", "skipped"],
};

static BULGARIAN: Words = Words {
    language: Language::Bg,
    code: "bg",
    other: ("en", "English"),
    skip: "Към транзакциите",
    sign_in: "Вход",
    sign_out: "Изход",
    token: "Токен",
    token_where: "Това е токенът от [http] в конфигурацията; ако там няма такъв, той е във файла http-token в папката с данни на bankfeed.",
    token_wrong: "Това не е токенът.",
    token_too_often: "Твърде много грешни токени. Опитайте пак след няколко секунди.",
    attention: "Нужно е Вашето внимание",
    source: "Източник",
    destination: "Получател",
    failed_later: "Не успя, ще се опита отново",
    all_well: "Всичко е актуално.",
    accounts: "Сметки",
    balance: "Салдо",
    complete: "пълна",
    incomplete: "непълна",
    no_accounts: "Още няма известна сметка. Първото изпълнение ще ги донесе.",
    sync_now: "Синхронизирай сега",
    try_again: "Готово: опитай отново",
    running: "В момента тече синхронизация. Страницата се обновява на няколко секунди.",
    last_run: "Последно изпълнение",
    next_run: "Следващо изпълнение",
    never: "никога",
    none: "няма",
    filters: "Филтри",
    from: "От",
    to: "До",
    account: "Сметка",
    all_accounts: "Всички сметки",
    search: "Текст",
    currency: "Валута на графиките",
    apply: "Покажи",
    reset: "Последните 12 месеца",
    whole_history: "Цялата история",
    bad_date: "Един от филтрите не беше разбран и не е приложен.",
    figures: "Графики",
    money_in: "Постъпления",
    money_out: "Разходи",
    difference: "Разлика",
    fees: "Банкови такси",
    by_month: "Дебит и кредит по месеци",
    by_year: "Дебит и кредит по години",
    by_category: "Разходи по категории",
    by_kind: "Разходи по вид операция",
    paid_to: "Платено на",
    received_from: "Получено от",
    fees_over_time: "Банкови такси във времето",
    balances_over_time: "Салдо във времето",
    period: "Период",
    name: "Име",
    amount: "Сума",
    as_table: "Същото като таблица",
    rest: "Всички останали",
    no_name: "(без име)",
    no_category: "(без категория)",
    nothing_here: "Няма какво да се покаже за този избор.",
    other_units: "Не са в тези графики, защото са в друга валута:",
    own_transfers: "Преводи между собствени сметки, които не са в графиките:",
    in_euros: "Левовете са показани в евро по курс 1,95583.",
    transactions: "Транзакции",
    shown: "най-новите са отгоре",
    date: "Дата",
    counterparty: "Контрагент",
    description: "Основание",
    category: "Категория",
    kind: "Вид операция",
    vanished: "оттеглена от банката",
    older: "По-стари",
    newest: "Най-нови",
    download: "Изтегли като CSV",
    destinations: "Източници и получатели",
    last_success: "Последен успех",
    waiting: "Чакащи",
    refused: "Отказани",
    runs: "История на изпълненията",
    no_runs: "Още няма изпълнение.",
    started: "Начало",
    took: "Времетраене",
    outcome: "Резултат",
    new: "Нови",
    changed: "Променени",
    delivered: "Доставени редове",
    seconds: "сек",
    months: ["яну", "фев", "мар", "апр", "май", "юни", "юли", "авг", "сеп", "окт", "ное", "дек"],
    outcomes: ["готово", "неуспех", "нужно е внимание", "пропуснато"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_gets_the_language_it_prefers() {
        for (accepted, code) in [
            ("bg", "bg"),
            ("bg-BG,bg;q=0.9,en;q=0.8", "bg"),
            ("en-GB,en;q=0.9,bg;q=0.8", "en"),
            ("de,bg;q=0.5", "bg"),
            ("de", "en"),
            ("", "en"),
            ("en;q=0.1,bg;q=0.2", "bg"),
        ] {
            assert_eq!(preferred(accepted).code, code, "{accepted}");
        }
    }
}
