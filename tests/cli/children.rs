//! Models that are finalized by a child process.

use std::fs;
use std::sync::{Arc, Mutex};

use planish::Target;
use planish::offload::{Offload, Outcome};
use planish::pool::wire::Note;
use planish::pool::{JobError, Pool, Report, Status, WorkerCommand};
use serde_json::Value;

use crate::command::{Room, digits, samples};

#[test]
fn a_child_makes_the_same_artefact_and_tells_what_it_does() {
    let room = Room::new();
    let own = fs::read(room.finalized()).expect("an artefact");
    let finalize = || {
        let files = [
            "-o",
            "child.planish",
            "--trace",
            "trace.json",
            "--counters",
            "counters.json",
        ];
        room.planish("finalize")
            .arg(digits())
            .args(&["--in-child", "--jobs", "2"])
            .args(&files)
            .cache(room.path("cache"))
            .succeeds()
    };
    finalize().prints(&["quantized: 6 of 6", "wrote child.planish"]);
    assert_eq!(
        fs::read(room.path("child.planish")).expect("an artefact"),
        own
    );
    let json = |name: &str| -> Value {
        let text = fs::read(room.path(name)).expect("a file");
        serde_json::from_slice(&text).expect("it is JSON")
    };
    let counted = &json("counters.json")["counted"];
    assert!(counted["units compiled"].as_u64() > Some(0), "{counted}");
    assert!(counted["rewrites"].as_u64() > Some(0), "{counted}");
    let trace = json("trace.json");
    let events = trace["traceEvents"].as_array().expect("a list").iter();
    let phases = events.filter(|event| event["cat"] == "phase" && event["tid"] == 10);
    let phases: Vec<&str> = phases.filter_map(|event| event["name"].as_str()).collect();
    let passes = planish::passes::FINALIZE.iter().map(|pass| pass.name());
    let expected: Vec<&str> = ["import"]
        .into_iter()
        .chain(passes)
        .chain(["coverage", "compile", "package"])
        .collect();
    assert_eq!(phases, expected);

    // It shares the cache.
    finalize();
    let counted = &json("counters.json")["counted"];
    assert!(
        counted["units from the cache"].as_u64() > Some(0),
        "{counted}"
    );
    assert_eq!(counted["units compiled"], Value::Null);
    room.planish("run")
        .arg(room.path("child.planish"))
        .arg("--inputs")
        .arg(samples())
        .succeeds()
        .prints(&["500 inputs, 5,000 values, 0 mismatches"]);
}

#[test]
fn a_child_says_why_it_cannot() {
    let room = Room::new();
    room.file("bad.pt", "no model");
    room.planish("finalize")
        .arg("bad.pt")
        .args(&["--in-child", "-o", "out.planish"])
        .fails(1, &["bad.pt", "failed to do"]);
    assert!(!room.path("out.planish").exists());
    room.planish("finalize")
        .arg(digits())
        .arg("--in-child")
        .fails(2, &["--in-child needs a file"]);
}

#[test]
fn a_module_travels_as_text_and_comes_back_as_bytes() {
    let room = Room::new();
    let text = room
        .planish("import")
        .arg(digits())
        .args(&["--elements"])
        .succeeds();
    let worker = WorkerCommand::verb(env!("CARGO_BIN_EXE_planish"), "--planish-worker");
    let logs = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&logs);
    let observer = move |report: &Report| {
        if let Status::Note {
            note: Note::Log { text, .. },
            ..
        } = &report.status
        {
            heard.lock().expect("no panic").push(text.clone());
        }
    };
    let builder = Pool::builder().workers(1).in_a_process().worker(worker);
    let pool = builder
        .cache(room.path("cache"))
        .observer(observer)
        .build()
        .expect("a pool");
    let offload = Offload::text(text.stdout.clone(), Target::host());
    let made = pool
        .submit(offload.job(std::env::vars_os()))
        .wait()
        .expect("it is made");
    let outcome = Outcome::of(&made).expect("an outcome");
    assert_eq!(
        (outcome.passes.len(), outcome.coverage),
        (planish::passes::FINALIZE.len(), 1.0)
    );
    let path = room.file("text.planish", outcome.artefact.expect("bytes"));
    room.planish("run")
        .arg(path)
        .arg("--inputs")
        .arg(samples())
        .succeeds()
        .prints(&["500 inputs, 5,000 values, 0 mismatches"]);
    let logs = logs.lock().expect("no panic");
    assert!(
        logs.iter().any(|line| line.starts_with("quant-fusion: ")),
        "{logs:?}"
    );
    // What is no module is the caller's to mend, and the worker lives on.
    let failed = pool
        .submit(Offload::text("graph(", Target::host()).job([]))
        .wait();
    assert!(matches!(failed, Err(JobError::Task { .. })), "{failed:?}");
    assert_eq!(pool.stats().crashes, 0);
}
