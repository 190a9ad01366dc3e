//! `planish cache`: what is kept, what is removed, and what is damaged.

use std::fs;
use std::path::PathBuf;

use crate::command::{Room, digits};

#[test]
fn a_cache_is_counted_checked_trimmed_and_cleared() {
    let room = Room::new();
    let cache = room.path("cache");
    let ask = |verb: &str| room.planish("cache").arg(verb).arg("--cache").arg(&cache);
    assert!(
        ask("stats")
            .succeeds()
            .stdout
            .ends_with("nothing is kept\n")
    );
    assert!(!cache.exists());
    // Nor does a directory of something else become one.
    fs::create_dir(&cache).expect("create");
    for verb in ["stats", "gc", "verify", "clear"] {
        let said = ask(verb).succeeds().stdout;
        assert!(
            said.ends_with("cache: this is no cache, nothing is kept\n"),
            "{said}"
        );
    }
    assert_eq!(fs::read_dir(&cache).expect("read").count(), 0);
    fs::remove_dir(&cache).expect("remove");
    room.planish("finalize")
        .arg(digits())
        .cache(&cache)
        .succeeds();
    // The kernels, and what the compiler said of itself.
    let entries = entries(&room);
    let counted = format!("\nentries       {}\n", entries.len());
    let said = ask("stats").succeeds().stdout;
    assert!(
        said.contains(&counted) && said.contains("\nset aside     0\n"),
        "{said}"
    );
    fs::write(&entries[0], "torn").expect("write");
    let said = ask("verify").succeeds().stdout;
    let end = format!("\n{} entries sound, 1 damaged\n", entries.len() - 1);
    assert!(
        said.contains("it has only 4 bytes; set aside") && said.ends_with(&end),
        "{said}"
    );
    let all = format!("{} entries sound, 0 damaged\n", entries.len() - 1);
    assert_eq!(ask("verify").succeeds().stdout, all);
    let said = ask("gc").succeeds().stdout;
    assert!(said.starts_with("0 entries removed"), "{said}");
    let said = ask("gc").args(&["--max-size", "16K"]).succeeds().stdout;
    assert!(!said.starts_with("0 entries"), "{said}");
    ask("clear").succeeds();
    assert_eq!(self::entries(&room), Vec::<PathBuf>::new());
    ask("gc")
        .args(&["--max-size", "much"])
        .fails(2, &["expected a number of bytes such as 4096, 512M or 2G"]);
}

fn entries(room: &Room) -> Vec<PathBuf> {
    let shelves = fs::read_dir(room.path("cache/v1")).expect("read").flatten();
    let mut entries: Vec<PathBuf> = shelves
        .filter(|shelf| shelf.file_name().len() == 2)
        .flat_map(|shelf| fs::read_dir(shelf.path()).expect("read").flatten())
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries
}
