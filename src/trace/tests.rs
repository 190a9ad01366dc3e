//! What the file says of reports that are made up.

use serde_json::Value;

use super::*;

const KEY: JobKey = JobKey::from_bytes([7; 32]);

/// A trace whose reports come a millisecond after each other.
struct Bench {
    trace: Trace,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let trace = Trace::new();
        let now = trace.began;
        Self { trace, now }
    }

    fn job(&mut self, ticket: u64, status: Status) {
        self.now += Duration::from_millis(1);
        self.trace.report(&Report {
            at: self.now,
            ticket,
            job: format!("job {ticket}"),
            key: KEY,
            status,
        });
    }

    fn worker(&mut self, worker: usize, status: WorkerStatus) {
        self.now += Duration::from_millis(1);
        self.trace.worker(&WorkerReport {
            at: self.now,
            worker,
            status,
        });
    }

    /// The events of this kind, as `lane name from+duration result`.
    fn events(&self, phase: &str) -> Vec<String> {
        let file: Value = serde_json::from_slice(&self.trace.json()).expect("it is JSON");
        let events = file["traceEvents"].as_array().expect("a list").iter();
        let events = events.filter(|event| event["ph"] == phase).map(|event| {
            let time = |name: &str| event[name].as_f64().map(|time| time / 1e3);
            let name = event["name"].as_str().expect("a name");
            let mut parts = vec![event["tid"].to_string(), name.to_owned()];
            if let (Some(at), Some(length)) = (time("ts"), time("dur")) {
                // Of what is unfinished the length is not known.
                let unfinished = event["args"]["unfinished"] == true;
                let length = if unfinished {
                    "?".to_owned()
                } else {
                    length.to_string()
                };
                parts.push(format!("{at}+{length}"));
            }
            parts.extend(event["args"]["result"].as_str().map(str::to_owned));
            parts.join(" ")
        });
        events.collect()
    }
}

fn phase(worker: usize, name: &str) -> Status {
    let name = name.to_owned();
    Status::Note {
        worker,
        note: Note::Phase { name },
    }
}

#[test]
fn a_job_stands_on_its_worker_with_its_phases_in_it() {
    let mut bench = Bench::new();
    bench.job(1, Status::Submitted);
    bench.job(1, Status::Queued);
    bench.worker(1, WorkerStatus::Starting);
    bench.worker(1, WorkerStatus::Ready { process: 77 });
    bench.job(1, Status::Started { worker: 1 });
    bench.job(1, phase(1, "write"));
    bench.job(1, phase(1, "compile"));
    // Unfinished until it is answered, and looking does not change the record.
    for _ in 0..2 {
        let unfinished = bench.events("X");
        assert_eq!(
            unfinished[..3],
            ["11 start 3+1", "11 job 1 5+?", "11 write 6+1"]
        );
        assert!(unfinished[3].starts_with("11 compile 7+"), "{unfinished:?}");
    }
    bench.job(1, Status::Done { from_cache: false });
    assert_eq!(
        bench.events("X"),
        [
            "11 start 3+1",
            "11 job 1 5+3 made",
            "11 write 6+1",
            "11 compile 7+1"
        ]
    );
    assert_eq!(
        (bench.events("b"), bench.events("e")),
        (vec!["1 job 1".to_owned()], vec!["1 job 1 made".to_owned()])
    );
}

#[test]
fn a_death_ends_the_first_try_and_a_hit_needs_no_worker() {
    let mut bench = Bench::new();
    bench.job(1, Status::Submitted);
    bench.job(1, Status::Queued);
    bench.job(1, Status::Started { worker: 0 });
    let because = "the worker was killed".to_owned();
    bench.job(1, Status::Retried { because });
    bench.job(1, Status::Started { worker: 1 });
    bench.job(
        1,
        Status::Failed {
            because: "again".to_owned(),
        },
    );
    bench.job(2, Status::Submitted);
    bench.job(2, Status::Done { from_cache: true });
    assert_eq!(bench.events("X"), ["10 job 1 3+1", "11 job 1 5+1 failed"]);
    assert_eq!(bench.events("i"), ["2 hit job 2"]);
    assert_eq!(
        bench.events("e"),
        ["1 job 1 failed", "1 job 2 from the cache"]
    );
    // Nothing waits and nothing runs at the end.
    let book = bench.trace.book();
    assert_eq!((book.queued, book.running, book.jobs.len()), (0, 0, 0));
}

#[test]
fn jobs_that_are_sent_ahead_follow_each_other_and_shared_ones_stand_once() {
    let mut bench = Bench::new();
    bench.job(1, Status::Submitted);
    bench.job(2, Status::Submitted);
    bench.job(1, Status::Started { worker: 0 });
    bench.job(2, Status::Started { worker: 0 });
    bench.job(1, Status::Done { from_cache: false });
    bench.job(2, Status::Done { from_cache: false });
    // Both have the same key here: one run.
    assert_eq!(bench.events("X"), ["10 job 1 3+2 made"]);
    let mut bench = Bench::new();
    for ticket in [1, 2] {
        bench.job(ticket, Status::Submitted);
        let mut book = bench.trace.book();
        let job = book.jobs.get_mut(&ticket).expect("it was submitted");
        job.key = JobKey::from_bytes([ticket as u8; 32]);
    }
    bench.job(1, Status::Started { worker: 0 });
    bench.job(2, Status::Started { worker: 0 });
    bench.job(1, Status::Done { from_cache: false });
    bench.job(2, Status::Done { from_cache: false });
    assert_eq!(
        bench.events("X"),
        ["10 job 1 3+2 made", "10 job 2 5+1 made"]
    );
}

#[test]
fn spans_nest_and_end_with_the_one_around_them() {
    let bench = Bench::new();
    let outer = bench.trace.span("outer");
    let inner = bench.trace.span("inner");
    std::mem::forget(bench.trace.span("forgotten"));
    drop(inner);
    drop(outer);
    let names: Vec<_> = bench
        .events("X")
        .iter()
        .map(|text| text.split(' ').nth(1).map(str::to_owned))
        .collect();
    assert_eq!(
        names,
        ["outer", "inner", "forgotten"].map(|name| Some(name.to_owned()))
    );
    assert!(bench.trace.book().open.is_empty());
}

#[test]
fn text_of_any_kind_is_kept_in_valid_json() {
    let bench = Bench::new();
    let text = "a \"quote\", a \\ and \u{1} and ü\n";
    bench.trace.report(&Report {
        at: bench.now,
        ticket: 1,
        job: text.to_owned(),
        key: KEY,
        status: Status::Submitted,
    });
    assert_eq!(bench.events("b"), [format!("1 {text}")]);
}

#[test]
fn what_is_kept_can_be_shown_at_any_time() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("trace.json");
    let trace = Trace::kept_in(&path).expect("a file");
    let kept = || {
        let text = std::fs::read_to_string(&path).expect("text");
        let text = text.trim_end().trim_end_matches(',').to_owned() + "]";
        let events: Vec<Value> = serde_json::from_str(&text).expect("it is JSON");
        let shown = events.iter().map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            text("ph") + " " + &text("name")
        });
        shown.collect::<Vec<_>>()
    };
    assert_eq!(kept(), [""; 0]);
    let outer = trace.span("outer");
    let inner = trace.span("inner");
    drop(inner);
    assert_eq!(kept(), ["M thread_name", "B outer", "B inner", "E inner"]);
    let mut bench = Bench {
        now: trace.began,
        trace,
    };
    bench.job(1, Status::Submitted);
    bench.job(1, Status::Started { worker: 0 });
    // The picture of a moment leaves nothing in what is kept.
    bench.trace.json();
    assert_eq!(kept()[4..], ["b job 1", "M thread_name", "C jobs"]);
    drop(outer);
    assert_eq!(kept().last().map(String::as_str), Some("E outer"));
}
