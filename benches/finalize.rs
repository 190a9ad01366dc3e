//! Answers how long Finalize takes, to a script that asks another implementation the same (`benches/peers/finalize.py`).
//!
//! It reads requests, one a line, and answers each with a line of JSON:
//!
//! - `file PATH` imports a model and runs the passes of Finalize over it. `import_ms`: from the path to the module. `finalize_ms`: all
//!   passes and the verification before the first and after the last; weights come out quantized and packed, as values (`PackedParams`), and no kernel is compiled.
//! - `made NETWORK` measures each pass, once, on a network that it makes itself (`resnet18`, `resnet50`, `mobilenet_v2`, `densenet121`, or
//!   a number: a chain of as many convolutions): `passes_ms`.
//! - `peak` tells the most memory that this process has had: `peak_bytes`.

#![expect(clippy::print_stdout, reason = "its answers are what it is for")]

mod networks;
#[expect(dead_code, reason = "single passes are for the other benches")]
mod stages;

use std::error::Error;
use std::io::BufRead;
use std::time::{Duration, Instant};

use networks::Network;
use planish::passes::{FINALIZE, PassReport};
use serde_json::{Value, json};

/// As in the program that users run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        println!("{}", answer(&line?)?);
    }
    Ok(())
}

fn answer(request: &str) -> Result<Value, Box<dyn Error>> {
    match request.split_once(' ').unwrap_or((request, "")) {
        ("file", path) => file(path),
        ("made", network) => made(network),
        ("peak", _) => Ok(json!({ "peak_bytes": peak()? })),
        _ => Err(format!("answer {request:?}: it is file, made or peak").into()),
    }
}

fn file(path: &str) -> Result<Value, Box<dyn Error>> {
    let start = Instant::now();
    let mut module = planish::import::open(path)?;
    let imported = start.elapsed();
    let start = Instant::now();
    let reports = stages::run_all(FINALIZE, &mut module);
    let finalized = start.elapsed();
    Ok(json!({
        "import_ms": millis(imported),
        "finalize_ms": millis(finalized),
        "passes_ms": by_pass(&reports),
    }))
}

fn made(network: &str) -> Result<Value, Box<dyn Error>> {
    let network = match network {
        "resnet18" => Network::ResNet18,
        "resnet50" => Network::ResNet50,
        "mobilenet_v2" => Network::MobileNetV2,
        "densenet121" => Network::DenseNet121,
        layers => Network::Chain(layers.parse()?),
    };
    let reports = stages::run_all(FINALIZE, &mut network.build(1));
    Ok(json!({ "passes_ms": by_pass(&reports) }))
}

fn by_pass(reports: &[PassReport]) -> Value {
    let times = reports.iter().map(|report| {
        let time = report.end.saturating_sub(report.start);
        (report.name.to_owned(), millis(time))
    });
    Value::Object(times.collect())
}

/// The most resident memory so far, file pages included, as the kernel counts it.
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = kibibytes
        .ok_or("find VmHWM in /proc/self/status")?
        .parse()?;
    Ok(kibibytes * 1024)
}

fn millis(time: Duration) -> Value {
    json!(time.as_secs_f64() * 1e3)
}
