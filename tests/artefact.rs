//! The artefact: what is written is what is read, and what was not written is refused without a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bytes::Bytes;
use planish::check::{Samples, check};
use planish::ir::GraphModule;
use planish::ir::text::{Printer, Style};
use planish::package::Package;
use planish::pool::{Pool, Toolchain, ToolchainSearch, WorkerCommand};
use planish::runtime::Stats;
use planish::{Artefact, Finalize, Finalized, Target};

/// The digits model, finalized once for all tests.
static DIGITS: LazyLock<Finalized> = LazyLock::new(|| {
    let worker = WorkerCommand::verb(env!("CARGO_BIN_EXE_planish"), "--planish-worker");
    let pool = Pool::builder()
        .worker(worker)
        .cache(Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels"))
        .build()
        .expect("a pool");
    let search = ToolchainSearch::in_path(std::env::var_os("PATH").unwrap_or_default());
    let toolchain = Toolchain::find(&search).expect("a compiler");
    let module = planish::import::open(example("digits_int8.pt")).expect("a model");
    Finalize::for_target(Target::host())
        .compiler(&pool, &toolchain)
        .run(module)
        .expect("it is finalized")
});

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("digits.planish");
    DIGITS.save(&path).expect("it is saved");
    fs::read(path).expect("it is there")
});

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/digits")
        .join(name)
}

fn text(module: &GraphModule) -> String {
    Printer::new(Style::Canonical).module(module)
}

fn read(bytes: &[u8]) -> Result<Package, String> {
    Package::read(&Bytes::copy_from_slice(bytes), "m.planish").map_err(|error| error.to_string())
}

/// Opens a file with these bytes.
fn open(bytes: &[u8]) -> Result<Artefact, String> {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("m.planish");
    fs::write(&path, bytes).expect("write");
    Artefact::open(&path).map_err(|error| error.to_string())
}

/// Numbers that are the same in every run (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

#[test]
fn an_artefact_reads_back() {
    let artefact = open(&BYTES).expect("an artefact");
    let module = artefact.module().expect("a module");
    assert_eq!(text(&module), text(&DIGITS.module));
    assert_eq!(module.phase, DIGITS.module.phase);

    let package = read(&BYTES).expect("a package");
    let manifest = &package.manifest;
    assert_eq!(manifest, artefact.manifest());
    assert_eq!(manifest.origin, "digits_int8.pt");
    assert_eq!(manifest.isa, DIGITS.target.isa.to_string());
    assert_eq!(manifest.contract, "fbgemm");
    assert_eq!(manifest.kernels.len(), DIGITS.kernels.len());
    for (entry, compiled) in manifest.kernels.iter().zip(&DIGITS.kernels) {
        let kernels: Vec<_> = compiled.kernels.iter().map(ToString::to_string).collect();
        assert_eq!(entry.kernels, kernels);
        assert_eq!(
            package.blobs[&entry.blob].bytes()[..],
            compiled.artefact.bytes[..]
        );
    }
    assert_eq!(manifest.packed.len(), DIGITS.packed.len());
    for (entry, (name, kernel, bytes)) in manifest.packed.iter().zip(&DIGITS.packed) {
        assert_eq!(entry.attribute, name.to_string());
        assert_eq!(entry.kernel, kernel.to_string());
        assert_eq!(package.blobs[&entry.blob].bytes(), bytes);
    }
    assert!(
        package.to_bytes() == *BYTES,
        "written again it has other bytes"
    );
}

#[test]
fn what_was_read_computes_what_was_written() {
    let samples = Samples::open(&example("digits_test.safetensors")).expect("samples");
    let artefact = open(&BYTES).expect("an artefact");
    for program in [
        DIGITS.program().expect("it runs"),
        artefact.program().expect("it runs"),
    ] {
        assert!(program.fallbacks().is_empty());
        let mut stats = Stats::default();
        let found = check(&program, &samples, &mut stats).expect("it is checked");
        assert_eq!((found.values, found.mismatches), (5000, 0));
        assert_eq!((stats.coverage(), stats.not_taken.len()), (1.0, 0));
    }
}

#[test]
fn no_byte_of_the_index_can_change() {
    let index = BYTES
        .windows(9)
        .position(|found| found == b"module __")
        .expect("the first blob is the module's text");
    for at in 0..index {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = BYTES.clone();
            bytes[at] ^= mask;
            let error = read(&bytes).expect_err("a byte was changed");
            assert!(error.contains("m.planish"), "{error}");
        }
    }
}

#[test]
fn no_byte_of_a_blob_can_change() {
    let mut chance = Chance(1);
    for _ in 0..200 {
        let (at, bit) = (chance.below(BYTES.len()), chance.below(8));
        let mut bytes = BYTES.clone();
        bytes[at] ^= 1 << bit;
        assert!(read(&bytes).is_err(), "bit {bit} of byte {at}");
    }
}

#[test]
fn no_part_is_taken_for_the_whole() {
    let mut chance = Chance(2);
    let lengths = (0..64).chain((0..200).map(|_| chance.below(BYTES.len())));
    for length in lengths {
        assert!(read(&BYTES[..length]).is_err(), "{length} bytes");
    }
    assert!(read(&[BYTES.as_slice(), &[0]].concat()).is_err());
}

/// Whoever can write the digests can write anything; it must still not make the reader fall over.
#[test]
fn a_forged_index_is_refused_or_read() {
    let length = u64::from_le_bytes(BYTES[16..24].try_into().expect("8 bytes")) as usize;
    let index = &BYTES[56..56 + length];
    let mut chance = Chance(3);
    for _ in 0..500 {
        let mut forged = index.to_vec();
        let at = chance.below(length);
        match chance.below(3) {
            0 => forged[at] = b"0123456789\"{}[],:x"[chance.below(18)],
            1 => drop(forged.drain(at..length.min(at + 1 + chance.below(20)))),
            _ => forged
                .splice(at..at, *b"99999999999999999999")
                .for_each(drop),
        }
        let mut bytes = BYTES[..16].to_vec();
        bytes.extend((forged.len() as u64).to_le_bytes());
        bytes.extend(blake3::hash(&forged).as_bytes());
        bytes.extend(&forged);
        bytes.resize(bytes.len().next_multiple_of(64), 0);
        bytes.extend(&BYTES[(56 + length).next_multiple_of(64)..]);
        if let Ok(artefact) = open(&bytes) {
            let _ = artefact.program();
        }
    }
}

/// A text that was changed by a byte is another program, or none.
#[test]
fn a_forged_text_is_refused_or_run() {
    let samples = Samples::open(&example("digits_test.safetensors")).expect("samples");
    let package = read(&BYTES).expect("a package");
    let text = package.blobs["module.ir"].bytes().clone();
    let mut chance = Chance(4);
    let mut ran = 0;
    for _ in 0..300 {
        let mut forged = text.to_vec();
        let at = chance.below(forged.len());
        match chance.below(3) {
            0 => forged[at] = b"0123456789%()[]=:,-. "[chance.below(21)],
            1 => drop(forged.remove(at)),
            _ => forged.insert(at, b"0123456789"[chance.below(10)]),
        }
        let mut package = package.clone();
        package.blobs["module.ir"] = Bytes::from(forged).into();
        let artefact = open(&package.to_bytes()).expect("every digest is right");
        if let Ok(program) = artefact.program() {
            let _ = program.call(&samples.values());
            ran += 1;
        }
    }
    assert!(ran > 0, "some changes are other programs");
}
