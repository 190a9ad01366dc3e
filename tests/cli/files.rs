//! What is written, or is not: places that cannot be written to, full disks, readers that go away.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::command::{Room, digits, samples};

#[test]
fn a_place_that_cannot_be_written_to_is_told_before_any_work() {
    let room = Room::new();
    fs::create_dir(room.path("directory")).expect("create");
    for (place, reason) in [
        ("missing/out", "No such file or directory"),
        ("directory", "is a directory"),
        ("/proc/out", "No such file or directory"),
    ] {
        for flag in ["-o", "--report"] {
            room.planish("finalize")
                .arg("missing.pt")
                .args(&[flag, place])
                .fails(1, &[&format!("failed to write {place}: {reason}")]);
        }
        room.planish("run")
            .arg("missing.planish")
            .args(&["--inputs", "missing.safetensors", "-o", place])
            .fails(1, &[&format!("failed to write {place}: {reason}")]);
    }
    assert_eq!(room.names(), ["directory"]);
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let room = Room::new();
    let artefact = room.finalized();
    let before = fs::read(&artefact).expect("read");
    // Kernels are in the cache by now. A file may have 24 KiB: enough for a kernel, not for the artefact.
    let limited = |line: &str| room.shell(&format!("trap '' XFSZ; ulimit -f 48; exec {line}"));
    let model = digits();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let finalize = format!(
        "\"$planish\" finalize '{}' --cache '{}'",
        model.display(),
        cache.display()
    );
    for target in ["digits.planish", "new.planish"] {
        limited(&format!("{finalize} -o {target}"))
            .fails(1, &[&format!("failed to write {target}: File too large")]);
    }
    assert_eq!(fs::read(&artefact).expect("read"), before);
    assert_eq!(room.names(), ["digits.planish"]);
    // Devices are written to in place.
    for flag in ["-o", "--report"] {
        room.planish("finalize")
            .arg(&model)
            .args(&[flag, "/dev/full"])
            .fails(1, &["failed to write /dev/full: No space left on device"]);
    }
    room.planish("run")
        .arg(&artefact)
        .arg("--inputs")
        .arg(samples())
        .args(&["-o", "/dev/full"])
        .fails(1, &["failed to write /dev/full: No space left on device"]);
    assert!(!fs::metadata("/dev/full").expect("it is there").is_file());
}

#[test]
fn standard_output_may_be_full_or_closed() {
    let room = Room::new();
    let model = digits();
    let full = format!("\"$planish\" import '{}' > /dev/full", model.display());
    room.shell(&full).fails(
        1,
        &["failed to write to standard output: No space left on device"],
    );
    let deaf = format!("{full} 2> /dev/full");
    assert_eq!(room.shell(&deaf).outcome().code, Some(1));
    // Who stops reading has seen enough; what is to be done is still done.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let line = format!(
        "{{ \"$planish\" import '{0}' --elements; echo $? >&2; }} | true
         {{ \"$planish\" finalize '{0}' --cache '{1}' -o out.planish; echo $? >&2; }} | true",
        model.display(),
        cache.display()
    );
    assert_eq!(room.shell(&line).succeeds().stderr, "0\n0\n");
    assert_eq!(room.names(), ["out.planish"]);
}

#[test]
fn files_have_the_permissions_that_the_user_gives_new_ones() {
    let room = Room::new();
    let path = room.file("digits.planish", "old");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let line = format!(
        "umask 027; exec \"$planish\" finalize '{}' --cache '{}' -o digits.planish",
        digits().display(),
        cache.display()
    );
    room.shell(&line).succeeds();
    assert!(fs::read(&path).expect("read").starts_with(b"PLANISH\0"));
    assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o640);
}
