//! The whole line over the digits model: outputs, kernels, report, the same bytes each time.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::command::{Outcome, Room, digits, samples};

/// What a finalized digits model prints of its check.
const CHECKED: [&str; 3] = [
    "500 inputs, 5,000 values, 0 mismatches, accuracy 0.984",
    "all multiply-accumulates in integer kernels",
    "no fallback",
];

/// A compiler that notes who starts it with what.
fn noting_compiler(room: &Room, name: &str) -> std::path::PathBuf {
    let log = room.path("log");
    let script = format!(
        "echo \"$* by $(tr '\\0' ' ' < /proc/$PPID/cmdline)\" >> '{}'\nexec cc \"$@\"",
        log.display()
    );
    room.program(name, &script)
}

/// The lines of the log, which starts anew.
fn starts(room: &Room) -> Vec<String> {
    let log = fs::read_to_string(room.path("log")).unwrap_or_default();
    let _ = fs::remove_file(room.path("log"));
    log.lines().map(str::to_owned).collect()
}

fn finalize(room: &Room, compiler: &Path, jobs: &str, output: &str) -> Outcome {
    room.planish("finalize")
        .arg(digits())
        .arg("--check")
        .arg(samples())
        .args(&[
            "-o",
            output,
            "--report",
            "report.json",
            "--jobs",
            jobs,
            // The compiler takes notes outside of its directory.
            "--sandbox",
            "off",
            "--cc",
        ])
        .arg(compiler)
        .cache(room.path(&format!("cache{jobs}")))
        .env("RAYON_NUM_THREADS", if jobs == "1" { "1" } else { "4" })
        .succeeds()
}

fn report(room: &Room) -> Value {
    let text = fs::read(room.path("report.json")).expect("a report");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn the_whole_line() {
    let room = Room::new();
    let compiler = noting_compiler(&room, "noting");

    // Everything is compiled, by workers, while the passes run.
    finalize(&room, &compiler, "2", "first.planish").prints(&CHECKED);
    let first = report(&room);
    check_report(&first);
    let kernels = &first["kernels"];
    assert_eq!(kernels["from_cache"], 0);
    let compiled = kernels["compiled"].as_u64().expect("a number");
    let started = starts(&room);
    let compiles: Vec<_> = started
        .iter()
        .filter(|line| line.contains("kernel.c"))
        .collect();
    assert_eq!(kernels["units"], compiles.len(), "{started:?}");
    assert!((compiles.len() as u64) < compiled, "{started:?}");
    assert!(
        compiles
            .iter()
            .all(|line| line.contains("--planish-worker")),
        "{started:?}"
    );

    // The second time nothing is, and no compiler is started, not even to ask for its version.
    finalize(&room, &compiler, "2", "second.planish").prints(&CHECKED);
    let second = report(&room);
    assert_eq!(second["kernels"]["compiled"], 0);
    assert_eq!(second["kernels"]["from_cache"].as_u64(), Some(compiled));
    assert_eq!(starts(&room), [""; 0]);

    // With one job the compiler is a child of the program itself.
    finalize(&room, &compiler, "1", "third.planish").prints(&CHECKED);
    check_report(&report(&room));
    let started = starts(&room);
    assert!(
        started.iter().any(|line| line.contains("kernel.c")),
        "{started:?}"
    );
    assert!(
        !started.iter().any(|line| line.contains("--planish-worker")),
        "{started:?}"
    );

    finalize(&room, &compiler, "4", "fourth.planish").prints(&CHECKED);
    assert!(!starts(&room).is_empty());

    // The same bytes each time, whatever the number of threads and workers.
    let bytes = |name: &str| fs::read(room.path(name)).expect("an artefact");
    assert!(
        bytes("first.planish") == bytes("second.planish"),
        "two runs differ"
    );
    assert!(
        bytes("first.planish") == bytes("third.planish"),
        "one thread and several differ"
    );
    assert!(
        bytes("first.planish") == bytes("fourth.planish"),
        "two workers and four differ"
    );

    // Nothing that was installed is needed to run it.
    room.planish("run")
        .arg(room.path("first.planish"))
        .arg("--inputs")
        .arg(samples())
        .env("PATH", "")
        .succeeds()
        .prints(&["output.0: Float[500, 10]"])
        .prints(&CHECKED);
    assert_eq!(starts(&room), [""; 0]);
}

/// What the report of a checked run of the digits model says, wherever its kernels come from.
fn check_report(report: &Value) {
    let passes = report["passes"].as_array().expect("passes");
    let names: Vec<_> = passes
        .iter()
        .filter_map(|pass| pass["name"].as_str())
        .collect();
    let finalize = planish::passes::FINALIZE.iter().map(|pass| pass.name());
    assert_eq!(names, finalize.collect::<Vec<_>>());
    let number = |value: &Value| value.as_f64().expect("a number");
    let mut clock = 0.0;
    for pass in passes {
        let (start, end) = (number(&pass["start"]), number(&pass["end"]));
        assert!(clock <= start && start <= end, "{pass}");
        assert!(
            (end - start - number(&pass["seconds"])).abs() < 1e-6,
            "{pass}"
        );
        clock = end;
    }
    let pass = |name: &str| {
        let found = passes.iter().find(|pass| pass["name"] == name);
        found.expect("a pass of Finalize")
    };
    assert!(number(&pass("quant-fusion")["rewrites"]) > 0.0);
    assert!(
        pass("quant-fusion")["nodes_after"].as_u64()
            < pass("quant-fusion")["nodes_before"].as_u64()
    );

    let kernels = &report["kernels"];
    let requests = kernels["requests"].as_array().expect("requests");
    let count = |name: &str| kernels[name].as_u64().expect("a number");
    assert_eq!(count("requested"), requests.len() as u64);
    assert_eq!(count("failed"), 0);
    assert_eq!(
        count("compiled") + count("from_cache") + count("cancelled"),
        count("requested")
    );
    let asked: u64 = passes
        .iter()
        .filter_map(|pass| pass["kernels_requested"].as_u64())
        .sum();
    assert_eq!(asked, count("requested"));

    // Fused kernels are on their way before freezing begins.
    let fusion = number(&pass("quant-fusion")["end"]);
    let freeze = number(&pass("freeze")["start"]);
    let fused: Vec<_> = requests
        .iter()
        .filter(|request| request["pass"] == "quant-fusion")
        .collect();
    assert!(!fused.is_empty());
    for request in fused {
        let submitted = number(&request["submitted"]);
        assert!(fusion <= submitted && submitted <= freeze, "{request}");
    }

    assert_eq!(report["coverage"], 1.0);
    assert_eq!(report["fallbacks"].as_array().map(Vec::len), Some(0));
    let check = &report["check"];
    assert_eq!(check["inputs"], 500);
    assert_eq!(check["values"], 5000);
    assert_eq!(check["mismatches"], 0);
    assert_eq!(check["max_abs_diff"], 0.0);
    assert_eq!(check["accuracy"], 0.984);
}

#[test]
fn any_processor_gives_the_same_outputs() {
    let room = Room::new();
    for isa in ["portable", "host"] {
        let outcome = room
            .planish("finalize")
            .arg(digits())
            .args(&["--isa", isa, "--report", "report.json", "--check"])
            .arg(samples())
            .succeeds();
        outcome.prints(&CHECKED);
        check_report(&report(&room));
    }
}

#[test]
fn remarks_tell_of_every_rewrite() {
    let room = Room::new();
    let run = || room.planish("finalize").arg(digits());
    let quiet = run().succeeds();
    assert_eq!(quiet.stderr, "");
    let told = run().arg("--remarks").succeeds().stderr;
    for part in [
        "passed insert-prepack-unpack 86 conv_prepack conv2d: aten::conv2d %",
        "): quantized::conv2d_prepack, quantized::conv2d_unpack, aten::dequantize.self, aten::conv2d\n",
        "passed quant-fusion 4 weighted conv2d relu: aten::conv2d %",
        "): quantized::conv2d_relu.new\n",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn what_stays_in_float_is_told_with_the_reason() {
    let room = Room::new();
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle");
    let run = |case: &str, args: &[&str]| {
        let model = oracle.join(case).join("before.pt");
        room.planish("finalize").arg(model).args(args)
    };
    let told = "quantized: 1 of 2 operators that multiply weights or matrices (50.0 %)";
    let float = "float: aten::conv1d %4";
    let args = ["--quant-type", "dynamic", "--report", "report.json"];
    run("dyn_pc_conv_mix", &args)
        .succeeds()
        .prints(&[told, "  float: aten::conv1d %4"]);
    let quantized = &report(&room)["quantized"];
    assert_eq!(quantized["share"], 0.5);
    let entry = &quantized["float"][0];
    assert_eq!(entry["operator"], "aten::conv1d");
    assert_eq!(
        entry["reason"],
        "no rule of dynamic quantization fuses aten::conv1d"
    );
    let args = ["--quant-type", "dynamic", "--min-coverage", "0.6"];
    run("dyn_pc_conv_mix", &args).fails(1, &["quantize at least 60.0 %", told, float]);
    let args = ["--quant-type", "dynamic", "--min-coverage", "0.5"];
    run("dyn_pc_conv_mix", &args).succeeds();
    run("op_gelu", &["--min-coverage", "2"]).fails(2, &["a number from 0 to 1"]);
}

#[test]
fn usage_is_explained() {
    let room = Room::new();
    room.planish("polish")
        .fails(2, &["unrecognized subcommand 'polish'", "Usage"]);
    room.planish("finalize").fails(2, &["<MODEL>"]);
    room.planish("finalize")
        .arg("m.pt")
        .args(&["--isa", "amx"])
        .fails(2, &["'amx'", "host, portable"]);
    room.planish("finalize")
        .arg("m.pt")
        .args(&["--jobs", "0"])
        .fails(2, &["'0'", "--jobs"]);
    room.planish("finalize")
        .arg("m.pt")
        .args(&["--quant-type", "odd"])
        .fails(2, &["static, dynamic"]);
    room.planish("--version").succeeds().prints(&["planish 0."]);
    room.planish("--help")
        .succeeds()
        .prints(&["Finishes quantized", "Usage"]);
}
