//! Events in the format that Chrome and Perfetto read, and their files: the whole one, and the one that grows.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

/// A line of the picture, which the format calls a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// What planish itself does, one thing after another.
    Main,
    /// What the cache had.
    Cache,
    /// A place of the pool.
    Worker(usize),
}

/// One event. Times are microseconds from the beginning of the trace.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Event {
    name: Cow<'static, str>,
    #[serde(rename = "cat")]
    category: &'static str,
    #[serde(rename = "ph")]
    phase: &'static str,
    #[serde(rename = "ts")]
    at: f64,
    #[serde(rename = "dur", skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(rename = "pid")]
    process: u32,
    #[serde(rename = "tid")]
    lane: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

/// What else is known of an event.
pub(super) type Args = Map<String, Value>;

impl Event {
    /// Something that took time.
    pub(super) fn span(
        lane: Lane,
        category: &'static str,
        name: impl Into<Cow<'static, str>>,
        (from, to): (f64, f64),
        args: Args,
    ) -> Self {
        Self {
            duration: Some((to - from).max(0.0)),
            ..Self::of("X", lane, category, name.into(), from, args)
        }
    }

    /// The beginning of something that takes time, for a record that may never hear of its end.
    pub(super) fn begin(
        lane: Lane,
        category: &'static str,
        name: Cow<'static, str>,
        at: f64,
    ) -> Self {
        Self::of("B", lane, category, name, at, Args::new())
    }

    /// The end of what began last in the lane.
    pub(super) fn end(
        lane: Lane,
        category: &'static str,
        name: Cow<'static, str>,
        at: f64,
        args: Args,
    ) -> Self {
        Self::of("E", lane, category, name, at, args)
    }

    /// Something that happened.
    pub(super) fn instant(
        lane: Lane,
        category: &'static str,
        name: impl Into<Cow<'static, str>>,
        at: f64,
        args: Args,
    ) -> Self {
        Self {
            scope: Some("t"),
            ..Self::of("i", lane, category, name.into(), at, args)
        }
    }

    /// The beginning (`b`) or end (`e`) of something that has a line of its own.
    pub(super) fn edge(
        phase: &'static str,
        name: impl Into<Cow<'static, str>>,
        id: u64,
        at: f64,
        args: Args,
    ) -> Self {
        Self {
            id: Some(id),
            ..Self::of(phase, Lane::Main, "job", name.into(), at, args)
        }
    }

    /// The state of counters.
    pub(super) fn counters(name: &'static str, at: f64, values: Args) -> Self {
        Self::of("C", Lane::Main, "counter", name.into(), at, values)
    }

    /// What a lane is called.
    pub(super) fn title(lane: Lane) -> Self {
        let name = match lane {
            Lane::Main => "planish".to_owned(),
            Lane::Cache => "cache".to_owned(),
            Lane::Worker(slot) => format!("worker {slot}"),
        };
        let args = args([("name", name.into())]);
        Self::of("M", lane, "lane", "thread_name".into(), 0.0, args)
    }

    fn of(
        phase: &'static str,
        lane: Lane,
        category: &'static str,
        name: Cow<'static, str>,
        at: f64,
        args: Args,
    ) -> Self {
        Self {
            name,
            category,
            phase,
            at,
            duration: None,
            process: 1,
            lane: lane.number(),
            id: None,
            scope: None,
            args,
        }
    }
}

impl Lane {
    fn number(self) -> u64 {
        match self {
            Self::Main => 1,
            Self::Cache => 2,
            Self::Worker(slot) => 10 + slot as u64,
        }
    }
}

/// Names and values.
pub(super) fn args<const N: usize>(pairs: [(&str, Value); N]) -> Args {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A file to which events are written as they happen, so that a run that is killed leaves what it had come to.
///
/// It is the array form of the format, whose last bracket need not be there.
#[derive(Debug)]
pub(super) struct Journal(File);

impl Journal {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(b"[\n")?;
        Ok(Self(file))
    }

    /// Writes one event, at once: what a buffer holds is lost with the process.
    pub(super) fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.extend_from_slice(b",\n");
        self.0.write_all(&line)
    }
}

/// The whole file: titles of the lanes, then the events by time, what surrounds others before them.
pub(super) fn file(mut events: Vec<Event>, lanes: impl IntoIterator<Item = Lane>) -> Vec<u8> {
    events.sort_by(|a, b| {
        let length = |event: &Event| event.duration.unwrap_or(0.0);
        a.at.total_cmp(&b.at).then(length(b).total_cmp(&length(a)))
    });
    let titles: Vec<Event> = lanes.into_iter().map(Event::title).collect();
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"planish\":\"{version}\"}},\"traceEvents\":["
    )
    .into_bytes();
    for (number, event) in titles.iter().chain(&events).enumerate() {
        text.extend_from_slice(if number == 0 { b"\n" } else { b",\n" });
        // Writing plain data into memory does not fail; if it did, the file would still be whole.
        text.extend(serde_json::to_vec(event).unwrap_or_else(|_| b"{}".to_vec()));
    }
    text.extend_from_slice(b"\n]}\n");
    text
}
