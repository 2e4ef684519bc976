//! Strangers at the page's door: guessers, foreign sites, silent connections, slow readers. The owner gets in at once
//! and is served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bankfeed::simulator::fibank::{Bank, Entry};
use reqwest::{Method, RequestBuilder, StatusCode};

use crate::cli::{Daemon, json};
use crate::web::{IMPORT_TOKEN, Site, TOKEN};
use crate::world::World;

const CSV: &str = "/api/transactions.csv";

async fn status(asked: RequestBuilder) -> u16 {
    asked.send().await.unwrap().status().as_u16()
}

fn csv(site: &Site, token: &str) -> RequestBuilder {
    site.ask(Method::GET, &format!("{CSV}?token={token}"))
}

fn bearer(site: &Site, token: &str) -> RequestBuilder {
    site.ask(Method::GET, "/api/status").bearer_auth(token)
}

fn sign_in(site: &Site, token: &str) -> RequestBuilder {
    site.ask(Method::POST, "/sign-in").form(&[("token", token)])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_token_passes_at_once_whatever_was_guessed() {
    let site = Site::open(Bank::small()).await;
    let mut refused = Vec::new();
    for at in 0..60 {
        let wrong = format!("guess-{at}");
        refused.push(status(if at % 2 == 0 { bearer(&site, &wrong) } else { sign_in(&site, &wrong) }).await);
    }
    assert_eq!(refused[..20], [401; 20]);
    assert!(refused[30..].iter().filter(|status| **status == 429).count() > 20, "guessing goes on slowly: {refused:?}");
    for _ in 0..3 {
        assert_eq!(status(bearer(&site, "another guess")).await, 429);
        assert_eq!(status(bearer(&site, TOKEN)).await, 200);
        assert_eq!(status(sign_in(&site, TOKEN)).await, 303);
    }
    // Guesses at one token do not count against the other.
    assert_eq!(status(csv(&site, "guess")).await, 401);
    assert_eq!(status(csv(&site, IMPORT_TOKEN)).await, 200);

    let site = Site::open(Bank::small()).await;
    let mut refused = Vec::new();
    for at in 0..40 {
        refused.push(status(csv(&site, &format!("guess-{at}"))).await);
    }
    assert_eq!((refused[0], refused.contains(&429)), (401, true), "{refused:?}");
    assert_eq!(status(csv(&site, IMPORT_TOKEN)).await, 200);
    assert_eq!(status(bearer(&site, "guess")).await, 401);
    assert_eq!(status(bearer(&site, TOKEN)).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_site_makes_a_browser_ask_is_no_guess() {
    let site = Site::open(Bank::small()).await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("referer", "https://evil.example/page"),
    ] {
        for _ in 0..30 {
            assert_eq!(status(csv(&site, "x").header(name, value)).await, 401, "{name}: {value}");
            assert_eq!(status(bearer(&site, "x").header(name, value)).await, 401, "{name}: {value}");
        }
        // A link in a spreadsheet opens it all the same.
        assert_eq!(status(csv(&site, IMPORT_TOKEN).header(name, value)).await, 200, "{name}: {value}");
    }
    for _ in 0..30 {
        let posted = sign_in(&site, "x").header("sec-fetch-site", "cross-site");
        assert_eq!(status(posted).await, 403, "a form of another site is not even looked at");
    }
    assert_eq!(status(csv(&site, "x")).await, 401, "nothing was counted");
    assert_eq!(status(sign_in(&site, "x")).await, 401, "nothing was counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_https_the_cookie_never_leaves_without() {
    let site = Site::open(Bank::small()).await;
    let https = format!("https://{}", site.address);
    let http = format!("http://{}", site.address);
    for (headers, secure) in [
        (vec![], false),
        (vec![("origin", http.as_str())], false),
        (vec![("origin", https.as_str())], true),
        (vec![("origin", "null")], false),
        (vec![("origin", "null"), ("x-forwarded-proto", "https")], true),
        (vec![("origin", "null"), ("forwarded", "for=192.0.2.7;proto=https")], true),
        (vec![("x-forwarded-proto", "https,http")], true),
        (vec![("origin", "null"), ("x-forwarded-proto", "http")], false),
    ] {
        let asked = headers.iter().fold(sign_in(&site, TOKEN), |asked, (name, value)| asked.header(*name, *value));
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{headers:?}");
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        assert_eq!(cookie.ends_with("; Secure"), secure, "{headers:?}: {cookie}");
    }
}

/// A connection from an address of this machine; `window` bytes are taken before somebody reads.
async fn connect(site: &Site, from: [u8; 4], window: Option<u32>) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    window.iter().for_each(|window| socket.set_recv_buffer_size(*window).unwrap());
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(site.address.parse().unwrap()).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// The status line of the answer on a connection.
fn answered(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_leave_room_for_others() {
    let site = Site::open(Bank::small()).await;
    let health = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let status =
        format!("GET /api/status HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n");
    let mut early = connect(&site, [127, 0, 0, 3], None).await;
    let mut crowd = Vec::new();
    for at in 0..150 {
        let mut half = connect(&site, [127, 0, 0, 2], None).await;
        // A header is no address: it buys no place.
        if at % 2 == 0 {
            half.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.{at}\r\n").as_bytes())
                .unwrap();
        }
        crowd.push(half);
        if at % 50 == 49 {
            let mut same = connect(&site, [127, 0, 0, 2], None).await;
            assert_eq!(answered(&mut same, health), "HTTP/1.1 200 OK");
            let mut other = connect(&site, [127, 0, 0, 1], None).await;
            assert_eq!(answered(&mut other, &status), "HTTP/1.1 200 OK");
        }
    }
    // The oldest connections are closed, and none of another address is.
    assert!(matches!(crowd[0].read(&mut [0; 512]), Ok(0) | Err(_)));
    assert_eq!(answered(&mut early, &status), "HTTP/1.1 200 OK");
    let mut last = crowd.pop().unwrap();
    assert_eq!(answered(&mut last, health), "HTTP/1.1 200 OK");

    // Many addresses, each within its share, fill the page: the address with most connections makes room.
    let mut many = Vec::new();
    for at in 0..80_u8 {
        many.push(connect(&site, [127, 0, 1, 1 + at / 4], None).await);
    }
    let mut late = connect(&site, [127, 0, 0, 1], None).await;
    assert_eq!(answered(&mut late, &status), "HTTP/1.1 200 OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_take_their_time_take_no_turn_of_the_owner() {
    let mut bank = Bank::small();
    let iban = bank.customers[0].accounts[0].iban.clone();
    let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    for at in 0..2_000 {
        let remittance = [format!("ред {at}"), "я".repeat(300), "ю".repeat(300)];
        let (number, value_date) = (bank.last_number() + 1, now.date_naive());
        bank.add(&iban, Entry { number, time: now, value_date, amount: (-1).into(), remittance, ..Entry::default() });
    }
    let site = Site::open(bank).await;
    site.command(&["sync", "--source", "fibank"]).await;
    let whole = site.get(CSV).await.text().await.unwrap();
    assert!(whole.len() > 1 << 20, "{}", whole.len());

    let mut slow = Vec::new();
    for at in 0..8 {
        let mut reader = connect(&site, [127, 0, 0, 2], Some(4096)).await;
        let path = if at % 2 == 0 { format!("{CSV}?token={IMPORT_TOKEN}") } else { "/all-transactions/".into() };
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        let request = if at % 2 == 0 { request.replace("authorization", "x") } else { request };
        reader.write_all(request.as_bytes()).unwrap();
        slow.push(reader);
    }
    // The readers whose turn it is have begun to get their answer.
    let mut first = [0; 15];
    slow[0].read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let cookie = site.sign_in().await;
    site.page(&cookie, "/").await;
    site.json("/api/status").await;
    site.json("/api/transactions?limit=5").await;
    // A long answer waits until one of the slow ones has lost its turn.
    assert_eq!(site.get(CSV).await.text().await.unwrap(), whole);
    // A reader that was cut off cannot take a part for the whole.
    let is_cut = |reader: &mut TcpStream| {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).is_err() || !rest.ends_with(b"0\r\n\r\n")
    };
    assert!(slow.iter_mut().any(is_cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_hold_up_no_cycle() {
    let world = World::new(Bank::small()).await;
    let daemon = Daemon::start(&world).await;
    let path = world.data_dir().join("control.sock");
    let silent: Vec<UnixStream> = (0..600)
        .map(|at| {
            let mut client = UnixStream::connect(&path).unwrap();
            // A client that sends half a request counts as silent.
            if at % 2 == 0 {
                client.write_all(br#"{"status":{"js"#).unwrap();
            }
            client
        })
        .collect();
    let (status, report) = json(&world, &["sync", "--json"]).await;
    assert_eq!((status, report["sources"][0]["outcome"].as_str()), (0, Some("ok")), "{report}");
    world.assert_delivered();
    // The oldest were sent away at once, and the latest may go on.
    let mut oldest = &silent[0];
    oldest.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(oldest.read(&mut [0; 64]), Ok(0)));
    drop(silent);
    let mut slow = UnixStream::connect(&path).unwrap();
    slow.write_all(br#"{"status":{"js"#).unwrap();
    slow.write_all(b"on\":true}}\n").unwrap();
    let mut said = String::new();
    slow.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("{\"exit\":0}\n"), "{said}");
    daemon.stop().await;
}
