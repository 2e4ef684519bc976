//! Link options that a manifest cannot express. Smaller tables keep the single binary small.

use std::path::Path;

/// Tables that only unwinding needs. A release ends at a panic, with its message and place but without a backtrace.
const NO_TABLES: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) } } INSERT AFTER .text;\n";

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    // Tests against the real server are ignored, and say so, where there is none.
    println!("cargo::rerun-if-changed=/usr/lib");
    println!("cargo::rustc-check-cfg=cfg(has_postgres)");
    if Path::new("/usr/lib/postgresql").is_dir() {
        println!("cargo::rustc-cfg=has_postgres");
    }
    let given = |name: &str| std::env::var(name).unwrap_or_default();
    if given("CARGO_CFG_TARGET_OS") != "linux" || given("CARGO_CFG_TARGET_ENV") != "gnu" {
        return Ok(());
    }
    // A tenth of the file would be a table of relocations; packed it is a hundredth. Older linkers ignore the option.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Releases abort at a panic; tests unwind.
    if given("PROFILE") == "release" {
        let script = Path::new(&given("OUT_DIR")).join("no-tables.ld");
        std::fs::write(&script, NO_TABLES)?;
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
    Ok(())
}
