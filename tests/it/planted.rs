//! Links in the data directory, and outputs that are no plain files: no file outside is written through a planted link,
//! and only plain files are ever replaced.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use bankfeed::simulator::fibank::Bank;

use crate::cli::run;
use crate::world::World;

/// A user without other files.
const SERVICE: u32 = 54_321;

async fn filled() -> World {
    let world = World::new(Bank::small()).await;
    assert_eq!(world.cycle().await.exit_status(), 0);
    world
}

fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(SERVICE), Some(SERVICE)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

/// Only root is in danger: for other users a planted link leads to no file that is not open to them anyway.
#[tokio::test(flavor = "multi_thread")]
async fn root_is_not_led_out_of_a_service_s_directory() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = filled().await;
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("shadow"), "root's own").unwrap();
    for planted in ["backups/next.bankfeed.part", "FORMAT.new", "http-token", "store/db.part", "logins"] {
        let link = world.data_dir().join(planted);
        drop(fs::create_dir(link.parent().unwrap()));
        give(&world.data_dir());
        symlink(outside.join("shadow"), &link).unwrap();
        let ended = run(&world, &["sync"]).await;
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(4), "{planted}: {said}");
        assert!(said.contains(&format!("{planted}: a symbolic link")) && said.contains("remove it"), "{said}");
        fs::remove_file(&link).unwrap();
        assert_eq!(fs::read_to_string(outside.join("shadow")).unwrap(), "root's own");
        assert_eq!(fs::metadata(outside.join("shadow")).unwrap().uid(), 0, "{planted}");
    }
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0), "without them everything works");
    let made = fs::metadata(world.data_dir().join("store/db")).unwrap();
    assert_eq!(made.uid(), SERVICE, "files stay the service's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_an_export_replace_plain_files_alone() {
    let world = filled().await;
    let dir = world.dir.path();
    let name = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    fs::write(dir.join("older"), "older").unwrap();
    for (link, arguments) in [
        ("link-1", vec!["backup"]),
        ("link-2", vec!["export", "--format", "csv", "--output"]),
        ("link-3", vec!["export", "--format", "jsonl", "--output"]),
        ("link-4", vec!["export", "--format", "sqlite", "--output"]),
        ("link-5", vec!["export", "--format", "xlsx", "--output"]),
    ] {
        symlink("older", dir.join(link)).unwrap();
        let path = name(link);
        let ended = run(&world, &[arguments.as_slice(), &[path.as_str()]].concat()).await;
        assert_eq!(ended.status.code(), Some(0), "{link}: {ended:?}");
        assert!(dir.join(link).is_symlink() && fs::read(dir.join("older")).unwrap().len() > 100, "{link}");
        assert_eq!(fs::metadata(dir.join("older")).unwrap().mode() & 0o777, 0o600, "{link}");
        let null = run(&world, &[arguments.as_slice(), &["/dev/null"]].concat()).await;
        assert_eq!(null.status.code(), Some(0), "{link}: {null:?}");
        assert!(fs::symlink_metadata("/dev/null").unwrap().file_type().is_char_device(), "{link}");
    }
    let pipe = name("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = tokio::task::spawn_blocking({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    assert_eq!(run(&world, &["backup", &pipe]).await.status.code(), Some(0));
    assert!(reader.await.unwrap().starts_with(b"bankfeed backup\n"));
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_fails_leaves_the_older_file() {
    let world = filled().await;
    let path = world.dir.path().join("rows");
    // A store that cannot be opened gives no rows.
    fs::write(world.data_dir().join("FORMAT"), "something else").unwrap();
    for format in ["csv", "jsonl", "sqlite", "xlsx"] {
        fs::write(&path, "older").unwrap();
        let ended = run(&world, &["export", "--format", format, "--output", path.to_str().unwrap()]).await;
        assert_eq!(ended.status.code(), Some(4), "{format}: {ended:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "older", "{format}");
    }
    let names = fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_str().unwrap().ends_with(".part")));
}
