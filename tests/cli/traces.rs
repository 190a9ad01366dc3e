//! The record of a run: whole and nested rightly, however the run ends.

use std::fs;

use serde_json::Value;

use crate::command::{Room, digits};

/// A span of the trace: its lane, category and name, and when it began and ended.
#[derive(Debug)]
struct Span {
    lane: u64,
    category: String,
    name: String,
    from: f64,
    to: f64,
    args: Value,
}

fn trace(room: &Room) -> Vec<Value> {
    let text = fs::read(room.path("trace.json")).expect("a trace");
    let file: Value = serde_json::from_slice(&text).expect("it is JSON");
    file["traceEvents"].as_array().expect("a list").clone()
}

/// The spans; of each lane two are apart, or one lies within the other.
fn spans(events: &[Value]) -> Vec<Span> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let whole = events.iter().filter(|event| event["ph"] == "X");
    let spans: Vec<Span> = whole
        .map(|event| {
            let from = event["ts"].as_f64().expect("a time");
            Span {
                lane: event["tid"].as_u64().expect("a lane"),
                category: text(&event["cat"]),
                name: text(&event["name"]),
                from,
                to: from + event["dur"].as_f64().expect("a length"),
                args: event["args"].clone(),
            }
        })
        .collect();
    for (number, a) in spans.iter().enumerate() {
        for b in spans[number + 1..].iter().filter(|b| a.lane == b.lane) {
            // Times are rounded to nanoseconds.
            let apart = a.to <= b.from + 0.002 || b.to <= a.from + 0.002;
            let within = |a: &Span, b: &Span| b.from <= a.from && a.to <= b.to + 0.002;
            assert!(apart || within(a, b) || within(b, a), "{a:?} crosses {b:?}");
        }
    }
    spans
}

fn named<'s>(spans: &'s [Span], category: &str) -> Vec<&'s Span> {
    spans
        .iter()
        .filter(|span| span.category == category)
        .collect()
}

#[test]
fn a_trace_shows_passes_jobs_phases_workers_and_hits() {
    let room = Room::new();
    let run = |room: &Room| {
        let args = [
            "--trace",
            "trace.json",
            "--counters",
            "counters.json",
            "--jobs",
            "2",
        ];
        room.planish("finalize")
            .arg(digits())
            .args(&args)
            .cache(room.path("cache"))
            .succeeds();
    };
    run(&room);
    let events = trace(&room);
    let all = spans(&events);
    let stages: Vec<&str> = named(&all, "stage")
        .iter()
        .map(|span| &*span.name)
        .collect();
    assert_eq!(stages, ["import", "finalize", "load"]);
    let finalize = named(&all, "stage")[1];
    let passes = named(&all, "pass");
    let names: Vec<&str> = passes.iter().map(|span| &*span.name).collect();
    let known: Vec<&str> = planish::passes::FINALIZE
        .iter()
        .map(|pass| pass.name())
        .collect();
    assert_eq!(names, known);
    assert!(
        passes
            .iter()
            .all(|pass| finalize.from <= pass.from && pass.to <= finalize.to)
    );
    assert!(
        passes
            .iter()
            .any(|pass| pass.args["rewrites"].as_u64() > Some(0))
    );
    let jobs = named(&all, "job");
    let made = jobs.iter().filter(|job| job.args["result"] == "made");
    for job in made.clone() {
        assert!(job.lane >= 10, "{job:?} is on a worker");
        let phases = named(&all, "phase");
        let own = phases.iter().filter(|phase| {
            phase.lane == job.lane && job.from <= phase.from && phase.to <= job.to + 0.002
        });
        assert!(own.count() >= 3, "{job:?} has its phases");
        let start = named(&all, "worker")
            .into_iter()
            .find(|start| start.lane == job.lane);
        assert!(
            start.is_some_and(|start| start.to <= job.from),
            "{job:?} follows its worker's start"
        );
    }
    let edges = |kind: &str| events.iter().filter(|event| event["ph"] == kind).count();
    assert!(edges("b") >= jobs.len() && edges("b") == edges("e"));
    let counters = fs::read(room.path("counters.json")).expect("counters");
    let counters: Value = serde_json::from_slice(&counters).expect("it is JSON");
    assert_eq!(counters["compiled"], made.count());
    assert_eq!(counters["requested"], edges("b"));

    // What the cache has needs no worker.
    run(&room);
    let events = trace(&room);
    assert!(
        named(&spans(&events), "job")
            .iter()
            .all(|job| job.args["result"] != "made")
    );
    let hits = events.iter().filter(|event| event["cat"] == "cache");
    let counters = fs::read(room.path("counters.json")).expect("counters");
    let counters: Value = serde_json::from_slice(&counters).expect("it is JSON");
    assert_eq!(
        (&counters["compiled"], &counters["from_cache"]),
        (&0.into(), &hits.count().into())
    );
}

#[test]
fn the_trace_of_a_run_that_fails_is_whole() {
    let room = Room::new();
    let broken = room.compiler("broken", "echo no >&2; exit 1");
    room.planish("finalize")
        .arg(digits())
        .args(&[
            "--trace",
            "trace.json",
            "--counters",
            "counters.json",
            "--jobs",
            "2",
            "--cc",
        ])
        .arg(broken)
        .cache(room.path("cache"))
        .fails(1, &["the compiler ended with exit code 1"]);
    let events = trace(&room);
    let all = spans(&events);
    assert!(named(&all, "pass").len() > 2);
    assert!(
        named(&all, "job")
            .iter()
            .any(|job| job.args["result"] == "failed")
    );
    let counters = fs::read(room.path("counters.json")).expect("counters");
    let counters: Value = serde_json::from_slice(&counters).expect("it is JSON");
    assert!(counters["failed"].as_u64() > Some(0));

    // One that fails before there is anything to tell.
    let bad = room.file("bad.pt", "no model");
    room.planish("finalize")
        .arg(bad)
        .args(&["--trace", "trace.json"])
        .fails(1, &["bad.pt"]);
    let names: Vec<String> = spans(&trace(&room))
        .into_iter()
        .map(|span| span.name)
        .collect();
    assert_eq!(names, ["import"]);
}

#[test]
fn the_passes_of_opt_are_traced() {
    let room = Room::new();
    room.planish("opt")
        .arg(digits())
        .args(&[
            "--trace",
            "trace.json",
            "--passes",
            "clear-profiling,inline",
        ])
        .succeeds();
    let names: Vec<String> = spans(&trace(&room))
        .into_iter()
        .map(|span| span.name)
        .collect();
    assert_eq!(names, ["import", "passes", "clear-profiling", "inline"]);
    room.planish("opt")
        .arg(digits())
        .args(&["--trace", "no/such/place.json"])
        .fails(1, &["failed to write no/such/place.json"]);
}

#[test]
fn spans_of_passes_jobs_and_the_cache_are_heard_when_asked_for() {
    let room = Room::new();
    let run = |level: &[&str]| {
        let model = room.planish("finalize").arg(digits());
        model.args(level).cache(room.path("cache")).succeeds()
    };
    let heard = run(&["--log", "debug", "--jobs", "2"]).stderr.clone();
    for part in [
        "finalize{isa=",
        "pass{name=\"quant-fusion\"}: planish_passes::pipeline: the module is valid rewrites=",
        "job{name=\"",
        "phase=\"compile\"",
        "cache_get{key=",
        "cache_put{key=",
        "close time.busy=",
    ] {
        assert!(heard.contains(part), "{part} in {heard}");
    }
    let heard = run(&["--log", "info"]).stderr.clone();
    assert!(heard.contains("found in the cache"), "{heard}");
    assert!(!heard.contains("cache_get"), "{heard}");
    assert_eq!(run(&[]).stderr, "");
}

#[test]
fn a_run_that_is_killed_leaves_what_it_had_come_to() {
    let room = Room::new();
    let slow = room.compiler("slow", "sleep 1000");
    let digits = digits();
    let line = format!(
        "\"$planish\" finalize '{}' --cc '{}' --no-cache --trace killed.json & run=$!
        until grep -q '\"ph\":\"b\"' killed.json; do sleep 0.02; done
        kill -9 $run; wait $run; exit 7",
        digits.display(),
        slow.display()
    );
    room.shell(&line).fails(7, &[]);
    let text = fs::read_to_string(room.path("killed.json")).expect("a trace");
    // Readers of the format add the bracket themselves.
    let text = text.trim_end().trim_end_matches(',').to_owned() + "]";
    let events: Vec<Value> = serde_json::from_str(&text).expect("it is JSON");
    let shows = |phase: &str, name: &str| {
        let mut events = events.iter();
        events.any(|event| event["ph"] == phase && event["name"] == name)
    };
    assert!(shows("B", "inline") && shows("E", "inline"), "{events:?}");
}
