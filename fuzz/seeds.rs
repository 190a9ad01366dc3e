//! Writes the inputs that fuzzing begins with, taken from the fixtures of planish's tests: `cargo run --release --example seeds`.

use std::fs;
use std::path::{Path, PathBuf};

use planish_import::torchscript::zip::{Archive, Limits};
use planish_pool::Remains;
use planish_pool::wire::{Bounds, Echo, Failure, Frame, FrameKind, JobKind, Order, Region, Welcome};

/// Larger inputs slow a fuzzer down more than they teach it.
const LARGEST: usize = 16 << 10;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Seeds {
        corpus: here.join("corpus"),
        written: 0,
    };
    for file in files(&here.join("../tests")) {
        let Ok(bytes) = fs::read(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("pt") => seeds.archive(bytes),
            Some("ir") => seeds.add("text", &bytes),
            _ => {}
        }
    }
    seeds.frames();
    println!("{} seeds in {}", seeds.written, seeds.corpus.display());
}

struct Seeds {
    corpus: PathBuf,
    written: usize,
}

impl Seeds {
    fn archive(&mut self, bytes: Vec<u8>) {
        self.add("zip", &bytes);
        let Ok(archive) = Archive::open(bytes.into(), Limits::default()) else {
            return;
        };
        let read = |name| Some((name, archive.read(name).ok()?));
        let entries: Vec<_> = archive.names().filter_map(read).collect();
        for (name, content) in &entries {
            if name.ends_with(".pkl") {
                self.add("pickle", content);
            } else if name.ends_with(".py") {
                self.add("code", content);
            }
        }
        // Places in the source are never read.
        let read = entries
            .iter()
            .filter(|(name, _)| !name.ends_with("debug_pkl"));
        let read = read.map(|(name, content)| (*name, &content[..]));
        self.add("import", &planish_fuzz::flatten(read));
    }

    /// The frames of a worker's life; the byte before them is the length of the pieces they come in.
    fn frames(&mut self) {
        let welcome = Welcome {
            program_version: "1".into(),
            process: 7,
        };
        let echo = Echo {
            payload: vec![1, 2, 3].into(),
            hold_ms: 4,
        };
        let bounds = Bounds {
            wall_ms: 1,
            cpu_s: 2,
            memory: 3,
            output: 4,
            processes: 5,
        };
        let order = Order {
            kind: JobKind::Echo(echo),
            bounds,
            environment: vec![("LANG".into(), "C".into())],
            region: None,
        };
        let region = Region {
            offset: 4096,
            length: 70_000,
        };
        let elsewhere = Order {
            region: Some(region),
            ..order.clone()
        };
        let failure = Failure::Compile {
            code: 1,
            remains: Remains {
                stderr: "no".into(),
                ..Remains::default()
            },
        };
        let frames = [
            Frame::with(FrameKind::Hello, 0, &welcome),
            Frame::ordering(1, &order),
            Frame::ordering(4, &elsewhere),
            Frame::with(FrameKind::Failed, 1, &failure),
            Ok(Frame::new(FrameKind::Cancel, 2, Vec::new())),
            Ok(Frame::new(FrameKind::Returned, 4, Vec::new())),
            Frame::with(FrameKind::Placed, 4, &region),
            Ok(Frame::new(FrameKind::Done, 3, b"object".to_vec())),
        ];
        let mut all = vec![5];
        for frame in frames.into_iter().flatten() {
            let mut one = vec![1];
            for bytes in [&mut one, &mut all] {
                frame.encode(bytes).expect("it is short");
            }
            self.add("frames", &one);
        }
        self.add("frames", &all);
    }

    fn add(&mut self, target: &str, content: &[u8]) {
        if content.is_empty() || content.len() > LARGEST {
            return;
        }
        let folder = self.corpus.join(target);
        let file = folder.join(format!("seed-{:05}", self.written));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, content));
        match written {
            Ok(()) => self.written += 1,
            Err(error) => eprintln!("failed to write {}: {error}", file.display()),
        }
    }
}

/// All files below a folder, in a fixed order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    found
}
