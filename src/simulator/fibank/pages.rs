//! The simulated bank's HTML, in Bulgarian as the real one's, and the few kinds of response it sends.

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, LOCATION};

use super::options::PageStyle;
use crate::simulator::status;

pub(super) const WRONG_PASSWORD: &str = "Грешно потребителско име или парола.";
pub(super) const LOCKED: &str = "Достъпът Ви до Моята Fibank е блокиран поради въведена неколкократно грешна парола. \
                                 За отблокиране се обърнете към Контактния център на банката.";
pub(super) const BAD_REQUEST: &str = "<!DOCTYPE html><html lang=\"bg\"><head><meta charset=\"utf-8\">\
    <title>Грешка</title></head><body><h1>Невалидна заявка</h1>\
    <p>Заявката не може да бъде обработена. Моля, презаредете страницата и опитайте отново.</p></body></html>";
pub(super) const FORBIDDEN: &str = "<!DOCTYPE html><html lang=\"bg\"><head><meta charset=\"utf-8\">\
    <title>Отказан достъп</title></head><body><h1>Отказан достъп</h1>\
    <p>Вашата сесия е изтекла или е невалидна. Моля, влезте отново.</p></body></html>";
pub(super) const NOT_FOUND: &str = "<!DOCTYPE html><html lang=\"bg\"><head><meta charset=\"utf-8\">\
    <title>Страницата не е намерена</title></head><body><h1>404</h1><p>Страницата не е намерена.</p></body></html>";
pub(super) const FAILURE: &str = "<!DOCTYPE html><html lang=\"bg\"><head><meta charset=\"utf-8\">\
    <title>Системна грешка</title></head><body><h1>Възникна системна грешка</h1>\
    <p>Моля, опитайте отново по-късно.</p></body></html>";
pub(super) const MAINTENANCE: &str = "<!DOCTYPE html><html lang=\"bg\"><head><meta charset=\"utf-8\">\
    <title>Моята Fibank - профилактика</title></head><body><h1>Уважаеми клиенти,</h1>\
    <p>В момента се извършва профилактика на системата. Моля, опитайте отново по-късно.</p></body></html>";
pub(super) const PASSWORD_CHANGE: &str = "<!DOCTYPE html>\n<html lang=\"bg\">\n<head><meta charset=\"utf-8\">\
    <title>Смяна на парола</title></head>\n<body><h1>Смяна на парола</h1>\n\
    <p>Срокът на Вашата парола е изтекъл. За да продължите, моля въведете нова парола.</p>\n\
    <form action=\"/oauth2-server/changePassword\" method=\"post\"><input type=\"password\" name=\"oldPassword\">\
    <input type=\"password\" name=\"newPassword\"><input type=\"password\" name=\"confirmPassword\">\
    <button>Смени паролата</button></form></body>\n</html>";
pub(super) const SECOND_FACTOR: &str = "<!DOCTYPE html>\n<html lang=\"bg\">\n<head><meta charset=\"utf-8\">\
    <title>Потвърждение на вход</title></head>\n<body><h1>Потвърждение на вход</h1>\n\
    <p>За Вашата сигурност е необходимо допълнително потвърждение. Въведете кода, изпратен Ви със SMS, \
    или потвърдете входа с Fibank Token.</p>\n<form action=\"/oauth2-server/confirm\" method=\"post\">\
    <input type=\"text\" name=\"otp\" autocomplete=\"one-time-code\"><button>Потвърди</button></form></body>\n</html>";

pub(super) const WRONG_CODE: &str = "Невалиден код. Изпратихме Ви нов.";

/// The page that asks for a code; its form counts only whole.
pub(super) fn code(csrf: &str, step: &str, message: Option<&str>) -> String {
    let message = message.map_or(String::new(), |text| format!("<div class=\"alert\">{text}</div>\n"));
    format!(
        "<!DOCTYPE html>\n<html lang=\"bg\">\n<head><meta charset=\"utf-8\"><title>Потвърждение на вход</title></head>\n\
         <body><form action=\"/oauth2-server/lang\" method=\"post\"><input type=\"hidden\" name=\"lang\" value=\"en\">\
         <button>English</button></form>\n<h1>Потвърждение на вход</h1>\n{message}\
         <p>Въведете кода, който Ви изпратихме със SMS на номер ***\u{1b}[5m*12.</p>\n\
         <form action=\"confirm\" method=\"post\"><input type=\"hidden\" name=\"_csrf\" value=\"{csrf}\">\
         <input type=\"hidden\" name=\"step\" value=\"{step}\"><input type=\"tel\" name=\"otp\" maxlength=\"6\">\
         <button name=\"_eventId\" value=\"confirm\">Потвърди</button>\
         <button name=\"_eventId\" value=\"cancel\">Отказ</button></form></body>\n</html>"
    )
}

pub(super) fn html(code: u16, page: impl Into<Body>) -> Response<Body> {
    reply(code, "text/html;charset=UTF-8", page.into())
}

pub(super) fn json(code: u16, text: impl Into<Body>) -> Response<Body> {
    reply(code, "application/json;charset=UTF-8", text.into())
}

pub(super) fn redirect(location: &[u8]) -> Response<Body> {
    let mut answer = reply(302, "text/html;charset=UTF-8", Body::empty());
    if let Ok(location) = axum::http::HeaderValue::from_bytes(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn reply(code: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status(code);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(kind));
    headers.insert("cache-control", axum::http::HeaderValue::from_static("no-cache, no-store, max-age=0"));
    answer
}

/// The login page; `message` is the failure before it.
pub(super) fn login(style: PageStyle, csrf: &str, message: Option<&str>) -> String {
    let tags = metas(style, &[("_csrf", csrf), ("_csrf_header", "X-CSRF-TOKEN")]);
    let message = message.map_or(String::new(), |text| {
        format!("    <div class=\"alert alert-danger\" role=\"alert\">\n      <span>{text}</span>\n    </div>\n")
    });
    format!(
        "<!DOCTYPE html>\n<html lang=\"bg\" ng-app=\"sgOAuth2\">\n<head>\n<meta charset=\"utf-8\" />\n{tags}\
         <title>Вход в Моята Fibank</title>\n<script>var csrf = document.querySelector('meta[name=\"_csrf\"]');</script>\n\
         </head>\n<body>\n  <div class=\"login-box\">\n    <h1>Вход в Моята Fibank</h1>\n{message}\
         \x20   <form name=\"loginForm\" action=\"/oauth2-server/login\" method=\"post\">\n\
         \x20     <input type=\"text\" name=\"username\" placeholder=\"Потребителско име\" />\n\
         \x20     <input type=\"password\" name=\"password\" placeholder=\"Парола\" />\n\
         \x20     <button type=\"submit\" id=\"submitBtn\">Вход</button>\n    </form>\n\
         \x20   <a id=\"demo-link\" href=\"#\">Демо версия</a> <a href=\"?lang=en\">English</a>\n\
         \x20   <p>Никога не въвеждайте паролата си на адрес, получен по e-mail или SMS.</p>\n  </div>\n</body>\n</html>\n"
    )
}

/// The page of the application.
pub(super) fn application(public_token: &str) -> Response<Body> {
    html(
        200,
        format!(
            "<!DOCTYPE html>\n<html lang=\"bg\" ng-app=\"sgEbank\">\n<head>\n<base href=\"/EBank/\">\n\
             <meta name=\"EBank_publicToken\" content=\"{public_token}\" />\n\
             <title>Първа инвестиционна банка - Моята Fibank</title>\n</head>\n\
             <body><div ng-view></div></body>\n</html>\n"
        ),
    )
}

fn metas(style: PageStyle, tags: &[(&str, &str)]) -> String {
    let lines = tags.iter().map(|(name, content)| match style {
        PageStyle::Xhtml => format!("<meta name=\"{name}\" content=\"{content}\" />\n"),
        PageStyle::Html => format!("<meta name=\"{name}\" content=\"{content}\">"),
        PageStyle::Reversed => format!("<META content='{content}' name='{name}'/>\n"),
        PageStyle::Wrapped => format!(
            "<!-- <meta name=\"{name}\" content=\"00000000-0000-0000-0000-000000000000\"/> -->\n\
             <meta\n    name=\"{name}\"\n    content=\"{content}\"\n/>\n"
        ),
    });
    lines.collect()
}
