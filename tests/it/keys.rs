//! A Google key that came through an environment or an editor works as the file that was downloaded, or is named as
//! damaged.

use bankfeed::simulator::fibank::Bank;
use bankfeed::sync::Outcome;
use base64::Engine as _;

use crate::cli::bankfeed;
use crate::world::World;

#[tokio::test]
async fn a_key_that_was_wrapped_on_its_way_signs_in() {
    let world = World::new(Bank::small()).await;
    let key = world.google.service_account_key();
    for (what, text) in [
        ("every escape doubled", key.replace("\\n", "\\\\n")),
        ("real line breaks inside", key.replace("\\n", "\n")),
        ("in base64", base64::engine::general_purpose::STANDARD.encode(&key)),
        ("in quotation marks, with a byte order mark", format!("\u{feff}'{key}'\r\n")),
        ("its marks escaped", key.replace('\\', "\\\\").replace('"', "\\\"")),
    ] {
        std::fs::write(world.dir.path().join("google-key.json"), &text).unwrap();
        let report = world.cycle().await.destinations.swap_remove(0);
        assert_eq!(report.outcome, Outcome::Ok, "{what}: {report:?}");
        // The key may come from the environment as well.
        let text_of = std::fs::read_to_string(world.config_path()).unwrap();
        let line = text_of.lines().find(|line| line.starts_with("service_account = ")).unwrap().to_owned();
        std::fs::write(world.config_path(), text_of.replace(&line, "service_account = { env = \"GOOGLE_KEY\" }"))
            .unwrap();
        let mut command = bankfeed(&world, &["check"]);
        command.env("GOOGLE_KEY", &text);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{what}: {said}");
        world.write_config();
    }
}

#[tokio::test]
async fn a_key_that_is_damaged_is_named_and_not_shown() {
    let world = World::new(Bank::small()).await;
    let key = world.google.service_account_key();
    let cut = key.replace("-----END PRIVATE KEY-----", "");
    let letter = key.replacen("\\nMII", "\\nM!I", 1);
    assert!(cut != key && letter != key);
    for text in [cut, letter] {
        std::fs::write(world.dir.path().join("google-key.json"), &text).unwrap();
        let report = world.cycle().await.destinations.swap_remove(0);
        let error = report.error.unwrap();
        assert_eq!(report.outcome, Outcome::Attention, "{error}");
        assert!(error.contains("private_key that was damaged on its way here: create a JSON key"), "{error}");
        assert!(!error.contains("MII"), "{error}");
    }
}

/// Texts that ask for a key name the ways out for an organisation that forbids keys.
#[test]
fn the_ways_out_of_an_organisation_that_forbids_keys_are_named() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for (path, ways) in [
        ("README.md", ["iam.disableServiceAccountKeyCreation", "private Google account", "Organization Policy"]),
        (
            "src/destination/google_sheets/interview.rs",
            ["forbid such keys", "private Google account", "Organization Policy Administrator"],
        ),
    ] {
        let text = read(path);
        for way in ways {
            assert!(text.contains(way), "{path}: {way}");
        }
    }
}
