//! The bank, met with steps of the tests' own: a client that knows the facts and no code of the connector.
#![allow(clippy::unwrap_used)]

use reqwest::{Client, Response, redirect};

use super::*;

mod api;

/// A browser that follows no redirect by itself.
struct Browser {
    client: Client,
    bank: Fibank,
    csrf: String,
    token: String,
}

const TIME: &str = "2026-11-22T03:00:00+0200";
const AUTHORIZE: [(&str, &str); 5] = [
    ("response_type", "token"),
    ("client_id", "E_BANK"),
    ("redirect_uri", "/EBank/"),
    ("scope", "E_BANK"),
    ("state", "1b4e28ba-2fa1-41d2-883f-0016d3cca427"),
];

impl Browser {
    async fn open(bank: Bank) -> Browser {
        Browser::at(&Fibank::start(bank).await.unwrap())
    }

    fn at(bank: &Fibank) -> Browser {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            Client::builder().no_proxy().cookie_store(true).redirect(redirect::Policy::none()).build().unwrap();
        Browser { client, bank: bank.clone(), csrf: String::new(), token: String::new() }
    }

    fn address(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.bank.server.url()) }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Response {
        let mut request = self.client.get(self.address(path));
        if !query.is_empty() {
            request = request.query(query);
        }
        request.send().await.unwrap()
    }

    async fn first_page(&self) -> String {
        self.get("/oauth2-server/login", &[("client_id", "E_BANK")]).await.text().await.unwrap()
    }

    /// `authorize`, and the login page it leads to.
    async fn authorize(&mut self) {
        let answer = self.get("/oauth2-server/oauth/authorize", &AUTHORIZE).await;
        assert_eq!(answer.status(), 302);
        self.csrf = csrf_of(&self.get(&location(&answer), &[]).await.text().await.unwrap());
    }

    async fn certificates(&self) -> Response {
        let query = [("client_id", "E_BANK"), ("userName", "ivan")];
        self.get("/oauth2-server/api/v1/sywscertificate/fnGetCertsForLogin", &query).await
    }

    async fn password(&self, password: &str) -> Response {
        self.form(&[
            ("username", "ivan"),
            ("password", password),
            ("system", ""),
            ("client_id", "E_BANK"),
            ("lang", "bg"),
            ("time", TIME),
            ("_csrf", &self.csrf),
            ("sig", ""),
        ])
        .await
    }

    async fn form(&self, fields: &[(&str, &str)]) -> Response {
        self.client.post(self.address("/oauth2-server/login")).form(fields).send().await.unwrap()
    }

    /// Follows redirects to their end: every Location, and the last page.
    async fn follow(&self, mut answer: Response) -> (Vec<String>, u16, String) {
        let mut locations = Vec::new();
        while answer.status() == 302 {
            locations.push(location(&answer));
            answer = self.get(&location(&answer), &[]).await;
        }
        (locations, answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The whole way; the token where one came of it.
    async fn sign_in(&mut self) -> Option<String> {
        self.first_page().await;
        self.authorize().await;
        self.certificates().await;
        let answer = self.password("correct horse").await;
        let (locations, ..) = self.follow(answer).await;
        self.token = token_in(&locations)?;
        Some(self.token.clone())
    }

    async fn api(&self, call: &str, customer: Option<&str>, query: &[(&str, &str)]) -> Response {
        let mut request = self.client.get(self.address(&format!("/EBank/api/v1/{call}"))).bearer_auth(&self.token);
        if let Some(customer) = customer {
            request = request.header("EBank-Cust-Id", customer);
        }
        if !query.is_empty() {
            request = request.query(query);
        }
        request.send().await.unwrap()
    }
}

fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

fn csrf_of(page: &str) -> String {
    let document = scraper::Html::parse_document(page);
    let selector = scraper::Selector::parse("meta[name=_csrf]").unwrap();
    let found: Vec<_> = document.select(&selector).filter_map(|meta| meta.attr("content")).collect();
    assert_eq!(found.len(), 1, "{page}");
    found[0].to_owned()
}

fn token_in(locations: &[String]) -> Option<String> {
    let (_, after) = locations.iter().find_map(|location| location.split_once("access_token="))?;
    Some(after.split('&').next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_whole_way_leads_to_a_token() {
    let mut browser = Browser::open(Bank::small()).await;
    let page = browser.first_page().await;
    assert!(page.contains("Вход в Моята Fibank") && page.contains("X-CSRF-TOKEN"));
    let first = csrf_of(&page);
    browser.authorize().await;
    assert_eq!(browser.csrf, first, "one value per session");
    let certificates = browser.certificates().await;
    assert!(certificates.headers().contains_key("set-cookie"));
    assert_eq!(certificates.text().await.unwrap(), "[]");
    let answer = browser.password("correct horse").await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("JSESSIONID=") && cookie.contains("Path=/oauth2-server"));
    let (locations, status, page) = browser.follow(answer).await;
    assert_eq!(locations.len(), 2);
    assert!(locations[0].contains("/oauth2-server/oauth/authorize?response_type=token"));
    assert!(locations[1].contains("/EBank/#access_token="));
    assert!(locations[1].contains("&token_type=bearer&state=1b4e28ba-2fa1-41d2-883f-0016d3cca427&expires_in=1799"));
    assert_eq!(token_in(&locations).unwrap().len(), 36);
    assert_eq!(status, 200);
    assert!(page.contains("EBank_publicToken"));
    assert_eq!((browser.bank.login_attempts(), browser.bank.sign_ins()), (1, 1));
}

#[tokio::test]
async fn the_first_page_and_the_certificates_are_needed_only_where_an_option_says_so() {
    let mut browser = Browser::open(Bank::small()).await;
    browser.authorize().await;
    let answer = browser.password("correct horse").await;
    assert!(token_in(&browser.follow(answer).await.0).is_some());

    let mut bank = Bank::small();
    bank.options.certs_required = true;
    let mut browser = Browser::open(bank).await;
    browser.authorize().await;
    assert_eq!(browser.password("correct horse").await.status(), 400);
    browser.certificates().await;
    assert_eq!(browser.password("correct horse").await.status(), 302);

    let mut bank = Bank::small();
    bank.options.login_page_first = true;
    let mut browser = Browser::open(bank).await;
    assert_eq!(browser.get("/oauth2-server/oauth/authorize", &AUTHORIZE).await.status(), 403);
    assert!(browser.sign_in().await.is_some());
}

#[tokio::test]
async fn without_authorize_there_is_no_token() {
    let mut browser = Browser::open(Bank::small()).await;
    browser.csrf = csrf_of(&browser.first_page().await);
    let answer = browser.password("correct horse").await;
    let (locations, status, page) = browser.follow(answer).await;
    assert_eq!((token_in(&locations), status, browser.bank.sign_ins()), (None, 200, 0));
    assert!(page.contains("sgEbank"));
}

#[tokio::test]
async fn a_wrong_csrf_or_a_lost_session_is_refused() {
    let mut browser = Browser::open(Bank::small()).await;
    browser.authorize().await;
    let right = std::mem::replace(&mut browser.csrf, "guess".to_owned());
    let answer = browser.password("correct horse").await;
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("Отказан достъп"));
    let mut stranger = Browser::at(&browser.bank);
    stranger.csrf = right.clone();
    assert_eq!(stranger.password("correct horse").await.status(), 403);
    browser.csrf = right;
    assert_eq!(browser.password("correct horse").await.status(), 302);
    assert_eq!(browser.bank.login_attempts(), 3);
}

#[tokio::test]
async fn wrong_passwords_are_counted_and_lock() {
    let mut browser = Browser::open(Bank::small()).await;
    browser.authorize().await;
    for _ in 0..4 {
        let answer = browser.password("wrong").await;
        let (locations, status, page) = browser.follow(answer).await;
        assert_eq!((locations.len(), status), (1, 200));
        assert!(locations[0].contains("error") && page.contains(pages::WRONG_PASSWORD));
    }
    let answer = browser.password("correct horse").await;
    assert!(token_in(&browser.follow(answer).await.0).is_some(), "four are forgiven");
    browser.bank.edit(|bank| bank.options.lock_after = 2);
    let mut browser = Browser::at(&browser.bank);
    browser.authorize().await;
    browser.password("wrong").await;
    for password in ["wrong", "correct horse"] {
        let answer = browser.password(password).await;
        let (locations, _, page) = browser.follow(answer).await;
        assert!(token_in(&locations).is_none() && page.contains(pages::LOCKED));
    }
    assert_eq!(browser.bank.edit(|bank| bank.door.clone()), Door::Locked);
    assert_eq!((browser.bank.login_attempts(), browser.bank.sign_ins()), (8, 1));
    browser.bank.edit(|bank| bank.door = Door::Open);
    browser.password("wrong").await;
    let answer = browser.password("correct horse").await;
    assert!(token_in(&browser.follow(answer).await.0).is_some(), "unlocking forgives");
}

#[tokio::test]
async fn every_door_but_the_open_one_gives_no_token() {
    let unknown = "<html><body>Нови общи условия</body></html>".to_owned();
    let doors = [
        (Door::Locked, 200, "блокиран"),
        (Door::PasswordChange, 200, "нова парола"),
        (Door::SecondFactor, 200, "Въведете кода"),
        (Door::Maintenance, 503, "профилактика"),
        (Door::Unknown(unknown), 200, "общи условия"),
    ];
    for (door, expected, words) in doors {
        let mut browser = Browser::open(Bank::small()).await;
        browser.authorize().await;
        browser.bank.edit(|bank| bank.door = door.clone());
        let answer = browser.password("correct horse").await;
        let (locations, status, page) = browser.follow(answer).await;
        assert_eq!((token_in(&locations), status), (None, expected), "{door:?}");
        assert!(page.contains(words), "{door:?}: {page}");
        assert_eq!((browser.bank.login_attempts(), browser.bank.sign_ins()), (1, 0));
        browser.bank.edit(|bank| bank.door = Door::Open);
        let mut browser = Browser::at(&browser.bank);
        assert!(browser.sign_in().await.is_some(), "{door:?} opened again");
    }
}

#[tokio::test]
async fn the_form_is_wanted_whole() {
    let mut browser = Browser::open(Bank::small()).await;
    browser.authorize().await;
    let csrf = browser.csrf.clone();
    let short = [("username", "ivan"), ("password", "correct horse"), ("_csrf", csrf.as_str())];
    assert_eq!(browser.form(&short).await.status(), 400);
    browser.bank.edit(|bank| bank.options.form_complete = false);
    assert_eq!(browser.form(&short).await.status(), 302);
}

#[tokio::test]
async fn every_style_of_page_holds_one_csrf() {
    for style in PageStyle::ALL {
        let mut bank = Bank::small();
        bank.options.page_style = Some(style);
        assert!(Browser::open(bank).await.sign_in().await.is_some(), "{style:?}");
    }
}

#[tokio::test]
async fn the_chain_of_redirects_varies() {
    let mut bank = Bank::small();
    bank.options.relative_locations = true;
    bank.options.extra_redirect = true;
    bank.options.expires_in = None;
    bank.options.wrong_state = true;
    bank.options.token_in_query = true;
    let mut browser = Browser::open(bank).await;
    browser.authorize().await;
    let answer = browser.password("correct horse").await;
    let (locations, status, _) = browser.follow(answer).await;
    assert_eq!((locations.len(), status), (3, 200));
    assert!(locations.iter().all(|location| location.starts_with('/')));
    assert!(locations[2].starts_with("/EBank/?access_token=") && !locations[2].contains("expires_in"));
    assert!(!locations[2].contains("1b4e28ba"));

    let mut bank = Bank::small();
    bank.options.foreign_redirect = Some("http://127.0.0.1:9/elsewhere".to_owned());
    let mut browser = Browser::open(bank).await;
    browser.authorize().await;
    assert_eq!(location(&browser.password("correct horse").await), "http://127.0.0.1:9/elsewhere");
}

#[tokio::test]
async fn a_refusal_may_come_without_a_redirect() {
    let mut bank = Bank::small();
    bank.options.refuse_in_place = true;
    let mut browser = Browser::open(bank).await;
    browser.authorize().await;
    let answer = browser.password("wrong").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains(pages::WRONG_PASSWORD));
}

#[tokio::test]
async fn a_new_token_may_end_the_old_one() {
    let mut bank = Bank::small();
    bank.options.single_session = true;
    let mut first = Browser::open(bank).await;
    first.sign_in().await.unwrap();
    let mut second = Browser::at(&first.bank);
    second.sign_in().await.unwrap();
    let who = "sywsquery/sywsquery/getCustQuery";
    assert_eq!(first.api(who, None, &[]).await.status(), 401);
    assert_eq!(second.api(who, None, &[]).await.status(), 200);
    second.bank.forget_sessions();
    assert_eq!(second.api(who, None, &[]).await.status(), 401);
}
