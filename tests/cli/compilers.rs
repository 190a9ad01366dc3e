//! Compilers that are missing or broken, and `doctor`, which says so.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use planish::kernels::Isa;
use planish::package::Package;
use serde_json::Value;

use crate::command::{Outcome, Room, digits, samples};

/// What a check of the digits says.
const CHECKED: &str = "500 inputs, 5,000 values, 0 mismatches";

#[test]
fn a_missing_compiler_is_named() {
    let room = Room::new();
    let finalize = || {
        room.planish("finalize")
            .arg(digits())
            .args(&["-o", "digits.planish"])
            .cache(room.path("cache"))
    };
    let nowhere = room.path("nowhere/cc");
    let said = format!(
        "failed to use the C compiler {}: No such file",
        nowhere.display()
    );
    finalize()
        .arg("--cc")
        .arg(&nowhere)
        .fails(1, &[&said, "hint: ", "--cc"]);
    finalize().env("CC", &nowhere).fails(1, &[&said]);
    finalize()
        .env("PATH", "")
        .fails(1, &["failed to find a C compiler", "cc", "gcc", "clang"]);
    finalize()
        .args(&["--cc", "no-such-compiler"])
        .fails(1, &["`no-such-compiler` is not in the PATH"]);
    let text = room.file("not-executable", "");
    finalize()
        .arg("--cc")
        .arg(text)
        .fails(1, &["not-executable: it is not an executable file"]);
    assert_eq!(room.names(), ["cache", "not-executable"]);
}

#[test]
fn a_broken_compiler_costs_the_run_and_nothing_else() {
    let room = Room::new();
    for (name, script, parts) in [(
        "refuses",
        "echo 'out of luck' >&2; exit 1",
        &["exit code 1", "out of luck"][..],
    )] {
        let compiler = room.compiler(name, script);
        for jobs in ["1", "2"] {
            let outcome = room
                .planish("finalize")
                .arg(digits())
                .args(&["-o", "digits.planish", "--report", "report.json"])
                .args(&["--jobs", jobs, "--cc"])
                .arg(&compiler)
                .no_cache()
                .fails(1, parts);
            // Kernel and compiler are named, each once.
            let said = &outcome.stderr;
            assert_eq!(said.matches("fbgemm").count(), 1, "{said}");
            assert!(said.contains(&format!("the compiler is {}", compiler.display())));
        }
    }
    assert_eq!(room.names(), ["refuses"]);
}

#[test]
fn a_compiler_that_fails_costs_speed_and_is_told_of() {
    let room = Room::new();
    for (name, script, part) in [
        (
            "crashes",
            "kill -SEGV $$",
            "the compiler was killed by SIGSEGV (11)",
        ),
        (
            "chatters",
            "head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >&2",
            "expected an ELF shared object from the compiler, got no file",
        ),
        (
            "scribbles",
            "echo 'not an object' > kernel.so",
            "expected an ELF shared object from the compiler, got a file of 14 bytes",
        ),
        (
            "starves",
            "echo 'cc1: out of memory allocating 1 bytes' >&2; exit 1",
            "within its 2048 MiB of memory",
        ),
    ] {
        let compiler = room.compiler(name, script);
        let outcome = finalize_by(&room, &compiler, "2");
        outcome.prints(&[CHECKED]);
        let told = "(eval), since planish failed to finish";
        assert!(
            outcome.stdout.contains(told) && outcome.stdout.contains(part),
            "{outcome:?}"
        );
        let record = degraded(&room);
        assert!(
            record
                .iter()
                .all(|(rung, because)| rung == "eval" && because.contains(part))
        );
        assert!(!record.is_empty());
    }
}

#[test]
fn each_rung_of_the_ladder_is_tried() {
    let room = Room::new();
    for (name, script, rung, part) in [
        // Optimising crashes.
        (
            "optimiser",
            "for flag; do case \"$flag\" in -O3|-O) kill -SEGV $$;; esac; done; exec cc \"$@\"",
            "plain",
            "the compiler was killed by SIGSEGV (11)",
        ),
        // So does every vector unit.
        (
            "vectors",
            "for flag; do case \"$flag\" in -O3|-O|-mavx*) kill -SEGV $$;; esac; done; exec cc \"$@\"",
            "portable",
            "the compiler was killed by SIGSEGV (11)",
        ),
        // What is optimised computes something else, or nothing.
        (
            "miscompiler",
            "for flag; do case \"$flag\" in -O3|-O) sed -i 's/a->zo/(a->zo+1)/g' kernel.c;; esac; done; exec cc \"$@\"",
            "plain",
            "what the compiler made is wrong: ",
        ),
        (
            "trapper",
            "for flag; do case \"$flag\" in -O3|-O) sed -i 's/    return 0;/    __builtin_trap();/' kernel.c;; esac; done; exec cc \"$@\"",
            "plain",
            "the result was killed by SIGILL (4)",
        ),
    ] {
        if rung == "portable" && !Isa::Avx512Vnni.is_supported() {
            continue;
        }
        let compiler = room.compiler(name, script);
        let outcome = finalize_by(&room, &compiler, "1");
        let told = format!("({rung}), since planish failed to finish");
        outcome.prints(&[CHECKED, "no fallback"]);
        assert!(outcome.stdout.contains(&told), "{outcome:?}");
        let record = degraded(&room);
        let noted = |(found, because): &(String, String)| found == rung && because.contains(part);
        assert!(record.iter().all(noted), "{name}: {record:?}");
        room.planish("run")
            .arg(room.path("digits.planish"))
            .arg("--inputs")
            .arg(samples())
            .succeeds()
            .prints(&[CHECKED, "no fallback"]);
    }
}

#[test]
fn a_kernel_that_fails_leaves_those_it_was_joined_with_where_they_are() {
    // Two kernels that are joined on every processor; the second one fails.
    const GOOD: &str = "quantize_f32u8";
    const BAD: &str = "nchw_to_nhwc_u8";
    let room = Room::new();
    for (name, change, part) in [
        (
            "crashes",
            "kill -SEGV $$",
            "the compiler was killed by SIGSEGV (11)",
        ),
        (
            "miscompiles",
            "sed -i '/ENTRY planish_nchw/,/return 0;/s/= x.i . columns . j./= 1/' kernel.c",
            "what the compiler made is wrong: ",
        ),
        (
            "traps",
            "sed -i '/ENTRY planish_nchw/,/return 0;/s/return 0;/__builtin_trap();/' kernel.c",
            "the result was killed by SIGILL (4)",
        ),
    ] {
        let script = format!(
            "for flag; do case \"$flag\" in -O3) if grep -q 'ENTRY planish_{BAD}' kernel.c; then {change}; fi;; esac; done; exec cc \"$@\""
        );
        let compiler = room.compiler(name, &script);
        let mut artefacts = Vec::new();
        for jobs in ["1", "2"] {
            finalize_by(&room, &compiler, jobs).prints(&[CHECKED, "no fallback"]);
            let record = degraded(&room);
            assert_eq!(record.len(), 1, "{record:?}");
            let (rung, because) = &record[0];
            let noted = [part, BAD].iter().all(|word| because.contains(word));
            assert!(rung == "plain" && noted, "{record:?}");
            for request in requests(&room) {
                let kernel = request["kernel"].as_str().expect("a text");
                let rung = if kernel.starts_with(BAD) {
                    "plain"
                } else {
                    "optimised"
                };
                assert_eq!(request["rung"], rung, "{request}");
                if [GOOD, BAD].iter().any(|name| kernel.starts_with(name)) {
                    assert_eq!(request["joined"], 1, "{request}");
                    let apart = request["apart"].as_str().expect("a text");
                    assert!(apart.contains(part), "{request}");
                    assert!(apart.contains(GOOD) && apart.contains(BAD), "{request}");
                }
            }
            artefacts.push(fs::read(room.path("digits.planish")).expect("an artefact"));
        }
        assert!(artefacts[0] == artefacts[1], "{name}: other bytes");
    }
}

#[test]
fn a_unit_in_quarantine_falls_apart() {
    let room = Room::new();
    let script = "if grep -q 'ENTRY planish_lut' kernel.c; then kill -SEGV $$; fi; exec cc \"$@\"";
    let compiler = room.compiler("crashes", script);
    for given_up in [false, false, true] {
        room.planish("finalize")
            .arg(digits())
            .args(&["-o", "digits.planish", "--report", "report.json", "--cc"])
            .arg(&compiler)
            .cache(room.path("cache"))
            .succeeds();
        let requests = requests(&room);
        let (fell, stayed): (Vec<_>, Vec<_>) = requests
            .iter()
            .partition(|request| request["rung"] != "optimised");
        assert!(
            fell.len() == 1 && fell[0]["rung"] == "eval",
            "{:?}",
            degraded(&room)
        );
        let apart = stayed.iter().find_map(|request| request["apart"].as_str());
        let apart = apart.expect("it was joined with others");
        assert!(
            apart.contains("lut_u8") && apart.contains("kernels: "),
            "{apart}"
        );
        assert_eq!(apart.contains("it is not tried again"), given_up, "{apart}");
    }
}

fn finalize_by(room: &Room, compiler: &Path, jobs: &str) -> Outcome {
    room.planish("finalize")
        .arg(digits())
        .arg("--check")
        .arg(samples())
        .args(&["-o", "digits.planish", "--report", "report.json"])
        .args(&["--jobs", jobs, "--cc"])
        .arg(compiler)
        .no_cache()
        .succeeds()
}

/// Rung and reason of each kernel that the report and the artefact say is slower.
fn degraded(room: &Room) -> Vec<(String, String)> {
    let requests = requests(room);
    assert!(
        requests
            .iter()
            .any(|request| request["rung"] != "optimised")
    );
    let bytes = fs::read(room.path("digits.planish")).expect("an artefact");
    let package = Package::read(&bytes.into(), "digits.planish").expect("it reads");
    let record = package.manifest.degraded.into_iter();
    record.map(|entry| (entry.rung, entry.because)).collect()
}

/// What the report says of each kernel.
fn requests(room: &Room) -> Vec<Value> {
    let text = fs::read(room.path("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    let requests = report["kernels"]["requests"].as_array();
    requests.expect("a list").clone()
}

#[test]
fn a_compiler_that_does_not_say_what_it_is_is_not_used() {
    let room = Room::new();
    let mute = room.program("mute", "exit 3");
    for verb in ["finalize", "doctor"] {
        let mut run = room.planish(verb).no_cache().arg("--cc").arg(&mute);
        if verb == "finalize" {
            run = run.arg(digits());
        }
        run.fails(1, &["mute: it answered -dumpmachine with exit status: 3"]);
    }
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    let room = Room::new();
    let open = room.path("open");
    fs::create_dir(&open).expect("create");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("open it");
    for cache in [&open, &open.join("below")] {
        room.planish("finalize")
            .arg(digits())
            .cache(cache)
            .fails(1, &["failed to use the cache directory", "/open"]);
    }
    assert_eq!(fs::read_dir(&open).expect("read").count(), 0);
    let file = room.file("file", "");
    room.planish("doctor")
        .cache(file)
        .fails(1, &["file: ", "not a directory"]);
}

#[test]
fn a_cache_that_cannot_be_written_costs_time_only() {
    let room = Room::new();
    // A file limit that the kernels fit in and their entries, which are larger by a header, do not, is hard to hit: the shelves are files.
    let cache = room.path("cache");
    room.planish("doctor").cache(&cache).succeeds();
    for shelf in 0..=255 {
        let shelf = cache.join(format!("v1/{shelf:02x}"));
        let _ = fs::remove_dir_all(&shelf);
        fs::write(shelf, "").expect("write");
    }
    let outcome = room
        .planish("finalize")
        .arg(digits())
        .arg("--isa=portable")
        .cache(&cache)
        .succeeds();
    assert!(
        outcome
            .stderr
            .contains("kernels could not be kept in the cache"),
        "{outcome:?}"
    );
    outcome.prints(&["no fallback"]);
}

#[test]
fn doctor_finds_what_finalizing_needs() {
    let room = Room::new();
    for flags in [&["--jobs", "1"][..], &["--jobs", "2"]] {
        room.planish("doctor")
            .args(flags)
            .no_cache()
            .succeeds()
            .prints(&[
                "planish ",
                "kernels ",
                "cache        none",
                "workers ",
                "sandbox      best-effort gives ",
                "compiler ",
                "kernel       lut_u8 fbgemm",
                "all is well",
            ]);
    }
    room.planish("doctor")
        .no_cache()
        .env("PATH", "")
        .fails(1, &["failed to find a C compiler"])
        .prints(&["planish ", "kernels ", "workers "]);
    let compiler = room.compiler("refuses", "echo 'out of luck' >&2; exit 1");
    room.planish("doctor")
        .no_cache()
        .arg("--cc")
        .arg(compiler)
        .fails(1, &["failed to compile `lut_u8 fbgemm", "out of luck"]);
}

#[test]
fn doctor_misses_an_assembler_that_was_named_also_where_no_python_is() {
    let room = Room::new();
    for variable in ["TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"] {
        room.planish("doctor")
            .no_cache()
            .env("PATH", "")
            .env("PLANISH_TRITON_PYTHON", "")
            .env(variable, "/nonexistent/ptxas")
            .fails(1, &["failed to use the ptxas /nonexistent/ptxas"]);
    }
}
