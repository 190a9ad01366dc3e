//! Links the C compiler's unwinder into the programs, where it can be had without a shared library.
//!
//! Rust takes it from `libgcc_s.so`, which every process then loads, and which asks the processor what it can before `main` begins. On a
//! virtual machine that is slow: a worker starts in five sixths of the time without it, and so does each process around a compiler.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let asked = |name: &str| std::env::var(name).unwrap_or_default();
    let gnu = asked("CARGO_CFG_TARGET_OS") == "linux" && asked("CARGO_CFG_TARGET_ENV") == "gnu";
    // The compiler that is asked makes programs for this machine.
    if !gnu || asked("HOST") != asked("TARGET") {
        return;
    }
    let answer = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output();
    let path = answer.map_or_else(
        |_| String::new(),
        |answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned(),
    );
    // Who has no such file answers with its name alone.
    if let Some(folder) = Path::new(&path).parent()
        && folder.is_absolute()
    {
        println!("cargo::rustc-link-search=native={}", folder.display());
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
