//! Trouble with the server: each kind is told with its remedy, nothing of the address but host and database is shown, and
//! rows wait.

use std::path::Path;
use std::process::Command;

use bankfeed::remote::Cause;
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::Bank;
use bankfeed::sync::Outcome;

use super::server::PASSWORD;
use super::table::{book, deliver};
use super::{Postgres, Proxy, door, fresh_schema, shared, table, world};
use crate::world::World;

/// A world that reaches the database under another address.
async fn world_at(url: &str) -> World {
    let mut world = World::new(Bank::small()).await;
    let door = Proxy::open(shared().port).await;
    super::attach(&mut world, &door, url, &fresh_schema(), "");
    world
}

async fn expect(world: &World, outcome: Outcome, words: &[&str]) {
    let report = deliver(world).await;
    let error = report.error.clone().unwrap_or_default();
    assert_eq!(report.outcome, outcome, "{words:?}: {report:?}");
    assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    for secret in [PASSWORD, "guest", "wrong"] {
        assert!(!error.contains(secret), "{secret}: {error}");
    }
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test]
async fn each_kind_of_trouble_is_told_with_its_remedy() {
    let port = shared().port;
    let refused = world_at(&format!("postgres://bankfeed:wrong@127.0.0.1:{port}/money")).await;
    for _ in 0..2 {
        expect(&refused, Outcome::Attention, &["database `money` at 127.0.0.1 refuses the password"]).await;
    }
    let unknown =
        world_at(&format!("postgres://bankfeed:{}@127.0.0.1:{port}/nothing", PASSWORD.replace('/', "%2F"))).await;
    expect(&unknown, Outcome::Attention, &["there is no database `nothing`", "CREATE DATABASE"]).await;
    let guest = world_at(&format!("postgres://guest:guest@127.0.0.1:{port}/money")).await;
    expect(&guest, Outcome::Attention, &["permission denied", "GRANT"]).await;
    let nobody = world_at("postgres://bankfeed:x@127.0.0.1:9/money").await;
    expect(&nobody, Outcome::Failed, &["cannot connect to database `money` at 127.0.0.1"]).await;
    let untold = world_at(&format!("postgres://bankfeed:x@127.0.0.1:{port}/money?sslmode=require")).await;
    expect(&untold, Outcome::Attention, &["offers no TLS"]).await;
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test]
async fn a_table_that_takes_no_rows_makes_them_wait() {
    let world = world(Bank::small()).await;
    let name = table(&world);
    deliver(&world).await;
    let (schema, _) = name.split_once('.').unwrap();
    shared().sql(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader"
    ));
    let mut reading = World::new(Bank::small()).await;
    let url = format!("postgres://reader:reader@127.0.0.1:{}/money", shared().port);
    super::attach(&mut reading, &door(&world), &url, schema, "");
    book(&reading, "НОВ", -1);
    expect(&reading, Outcome::Attention, &["permission denied", "GRANT SELECT, INSERT, UPDATE, DELETE"]).await;
    // A column of the owner's that nothing fills.
    shared().sql(&format!(
        "ALTER TABLE {name} ADD mine text; UPDATE {name} SET mine = ''; ALTER TABLE {name} ALTER mine SET NOT NULL"
    ));
    book(&world, "ЧАКАЩ", -1);
    expect(&world, Outcome::Attention, &["column `mine` demands a value", "SET DEFAULT"]).await;
    shared().sql(&format!("ALTER TABLE {name} ALTER mine SET DEFAULT ''"));
    assert_eq!(deliver(&world).await.appended, 1);
    // As a standby or a full disk answers.
    for (code, words) in [("25006", "is read-only"), ("53100", "is full: make room")] {
        book(&world, "ЧАКАЩ", -1);
        door(&world).fail("COMMIT", 0, 1, Fault::Status(503, code.into()));
        let report = deliver(&world).await;
        assert_eq!((report.outcome, report.rejected, report.waiting), (Outcome::Attention, 0, 1), "{report:?}");
        assert!(report.error.unwrap().contains(words));
        assert_eq!(deliver(&world).await.appended, 1);
    }
    assert_eq!(state_cause(&world), None);
}

fn state_cause(world: &World) -> Option<Cause> {
    let engine = world.engine();
    let state = engine.store.destination("warehouse", &engine.config.destinations[2].target()).unwrap();
    state.attention.map(|attention| attention.cause)
}

/// A disk of the server's own that is really full, where this machine lets one be mounted.
#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_rows_wait_and_refuses_none() {
    let dir = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(dir.path()).output().unwrap();
    if !mounted.status.success() {
        println!("no disk can be mounted here: {}", String::from_utf8_lossy(&mounted.stderr));
        return;
    }
    let unmount = Unmount(dir.path().to_owned());
    let server = Postgres::start("-c fsync=off");
    let place = dir.path().join("space");
    std::fs::create_dir(&place).unwrap();
    assert!(Command::new("chown").arg("-R").arg("postgres").arg(dir.path()).status().unwrap().success());
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    server.sql("ALTER DATABASE money SET default_tablespace = small");
    let mut world = World::new(Bank::small()).await;
    let door = Proxy::open(server.port).await;
    super::attach(&mut world, &door, &server.url(door.port), "public", "");
    assert_eq!(deliver(&world).await.outcome, Outcome::Ok);
    std::fs::write(dir.path().join("ballast"), vec![0; 8 << 20]).unwrap_err();
    for _ in 0..800 {
        book(&world, &"дълго име ".repeat(12), -1);
    }
    let report = deliver(&world).await;
    assert_eq!((report.outcome, report.rejected, report.waiting), (Outcome::Attention, 0, 800), "{report:?}");
    assert!(report.error.as_deref().unwrap_or_default().contains("is full: make room"), "{report:?}");
    std::fs::remove_file(dir.path().join("ballast")).unwrap();
    Command::new("mount").args(["-o", "remount,size=40m"]).arg(dir.path()).status().unwrap();
    assert_eq!(deliver(&world).await.appended, 800);
    drop(server);
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test]
async fn tls_proves_what_sslmode_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(dir.path().join("leaf.cnf"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    for ca in ["ca", "other"] {
        let (key, pem, subject) = (format!("{ca}.key"), format!("{ca}.pem"), format!("/CN={ca}"));
        openssl(
            dir.path(),
            &[
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &pem, "-subj", &subject,
                "-days", "2",
            ],
        );
    }
    openssl(
        dir.path(),
        &["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=db"],
    );
    openssl(
        dir.path(),
        &[
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "leaf.cnf",
            "-out",
            "leaf.pem",
        ],
    );
    Command::new("chmod").args(["755", &dir.path().display().to_string()]).status().unwrap();
    if rustix::process::getuid().is_root() {
        Command::new("chown").args(["postgres", &at("leaf.key"), &at("leaf.pem")]).status().unwrap();
    }
    Command::new("chmod").args(["600", &at("leaf.key")]).status().unwrap();
    let options =
        format!("-c fsync=off -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}", at("leaf.pem"), at("leaf.key"));
    let server = Postgres::start(&options);
    let mut world = World::new(Bank::small()).await;
    let door = Proxy::open(server.port).await;
    for (host, mode, refused) in [
        ("127.0.0.1", "require".to_owned(), None),
        ("localhost", format!("verify-full&sslrootcert={}", at("ca.pem")), None),
        ("127.0.0.1", format!("verify-ca&sslrootcert={}", at("ca.pem")), None),
        ("127.0.0.1", format!("verify-full&sslrootcert={}", at("ca.pem")), Some("sslmode=require goes without")),
        ("localhost", format!("verify-full&sslrootcert={}", at("other.pem")), Some("does not prove that it is")),
        ("localhost", format!("require&sslrootcert={}", at("other.pem")), Some("does not prove that it is")),
        ("localhost", "verify-full".to_owned(), Some("does not prove that it is")),
        ("localhost", "verify-full&sslrootcert=/nowhere".to_owned(), Some("sslrootcert: cannot use")),
    ] {
        let url =
            format!("postgres://bankfeed:{}@{host}:{}/money?sslmode={mode}", PASSWORD.replace('/', "%2F"), server.port);
        super::attach(&mut world, &door, &url, "public", "");
        book(&world, "ХЛЯБ", -1);
        match refused {
            None => assert_eq!(deliver(&world).await.outcome, Outcome::Ok, "{host} {mode}"),
            Some(words) => expect(&world, Outcome::Attention, &[words]).await,
        }
    }
}
