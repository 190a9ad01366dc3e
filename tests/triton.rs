//! Kernels for devices: their arithmetic by Triton's interpreter against the reference, and what the command line makes of them.
//!
//! The tests need a Python with Triton and numpy, which `PLANISH_TRITON_PYTHON` names. Without it each of them is listed as skipped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Trial};
use planish::kernels::reference::{self, Stage};
use planish::kernels::{
    Affine, Code, Codes, Contract, Epilogue, KernelSpec, Linear, TritonKernel, WeightScales,
};
use planish::pool::{Kind, Value};
use serde_json::{Map, json};

fn main() -> ExitCode {
    let python = std::env::var_os("PLANISH_TRITON_PYTHON").map(PathBuf::from);
    let numpy = python.as_deref().is_some_and(has_numpy);
    let tests: [(&str, fn(), bool); 7] = [
        ("linear_of_unsigned_codes", linear_unsigned, true),
        ("linear_of_signed_codes", linear_signed, true),
        ("sums_with_and_without_relu", sums, true),
        ("cubins_repeat_on_three_devices", cubins_repeat, false),
        ("a_file_by_its_signature", own_file, false),
        ("wrong_calls", wrong_calls, false),
        ("doctor", doctor, false),
    ];
    let trials = tests.into_iter().map(|(name, run, needs_numpy)| {
        let trial = Trial::test(name, move || {
            run();
            Ok(())
        });
        let reason = match (&python, numpy) {
            (None, _) => "skipped: PLANISH_TRITON_PYTHON is not set",
            (Some(_), false) if needs_numpy => "skipped: PLANISH_TRITON_PYTHON has no numpy",
            _ => return trial,
        };
        trial.with_kind(reason).with_ignored_flag(true)
    });
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(2));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn python() -> PathBuf {
    let python = std::env::var_os("PLANISH_TRITON_PYTHON");
    python.expect("PLANISH_TRITON_PYTHON").into()
}

fn has_numpy(python: &Path) -> bool {
    let asked = Command::new(python)
        .args(["-c", "import numpy"])
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// A launch to be interpreted, and the codes that must come out.
struct Launch {
    what: String,
    job: serde_json::Value,
    expected: Vec<u8>,
}

impl Launch {
    /// `arguments` are those of a launch; the constants are the kernel's.
    fn new<const N: usize>(
        what: String,
        kernel: TritonKernel,
        arguments: [(&str, serde_json::Value); N],
        result: &str,
        expected: Vec<u8>,
    ) -> Self {
        let source = planish::triton::source(&kernel).expect("a source");
        let named = arguments.map(|(name, value)| (name.to_owned(), value));
        let mut arguments: Map<String, serde_json::Value> = named.into_iter().collect();
        let programs = source
            .grid()
            .programs(|name| arguments.get(name)?.as_u64())
            .expect("programs");
        for parameter in source.signature().parameters() {
            let Kind::Constant(value) = parameter.kind else {
                assert!(
                    arguments.contains_key(&parameter.name),
                    "{}",
                    parameter.name
                );
                continue;
            };
            let value = match value {
                Value::Bool(value) => json!(value),
                Value::Int(value) => json!(value),
            };
            arguments.insert(parameter.name.clone(), value);
        }
        let job = json!({
            "text": source.text(),
            "function": source.function(),
            "programs": programs,
            "arguments": arguments,
            "result": result,
        });
        Self {
            what,
            job,
            expected,
        }
    }
}

/// Interprets all launches in one process, whose start takes longer than any of them.
fn interpret(launches: Vec<Launch>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/triton/interpret.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let jobs: Vec<_> = launches.iter().map(|launch| &launch.job).collect();
    let mut input = child.stdin.take().expect("its input");
    serde_json::to_writer(&mut input, &jobs).expect("write");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let got: Vec<Vec<i64>> = serde_json::from_slice(&output.stdout).expect("codes");
    assert_eq!(got.len(), launches.len());
    // Codes that saturate everywhere would agree whatever the arithmetic is.
    let all = launches.iter().flat_map(|launch| &launch.expected);
    assert!(all.collect::<BTreeSet<_>>().len() > 64);
    for (launch, got) in launches.into_iter().zip(got) {
        let got: Vec<u8> = got.into_iter().map(|code| code as u8).collect();
        assert_eq!(got, launch.expected, "{}", launch.what);
    }
}

fn buffer<T: serde::Serialize>(dtype: &str, values: &[T]) -> serde_json::Value {
    json!({ "type": dtype, "values": values })
}

/// Numbers that look like chance and are the same each time, with the largest and the smallest often.
fn codes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 29 {
                0 => 0,
                1 => 255,
                2 => 128,
                _ => (state >> 16) as u8,
            }
        })
        .collect()
}

fn linear_unsigned() {
    // Tiles that are full, one that is not along each of the three extents, and one input.
    let mut launches = Vec::new();
    for (rows, inputs, outputs) in [(64, 128, 16), (67, 70, 23), (1, 1, 1), (3, 200, 130)] {
        for zero in [0, 128, 255] {
            launches.extend(linear(rows, Linear { inputs, outputs }, Code::U8, zero));
        }
    }
    interpret(launches);
}

fn linear_signed() {
    let mut launches = Vec::new();
    for (rows, inputs, outputs) in [(64, 128, 16), (5, 70, 23)] {
        for zero in [-128, 0, 127] {
            launches.extend(linear(rows, Linear { inputs, outputs }, Code::S8, zero));
        }
    }
    interpret(launches);
}

/// One layer, whose multipliers are powers of two times 1 ± ulp, so that many results are ties or nearly
/// so, and whose outputs saturate on both sides.
fn linear(rows: usize, linear: Linear, code: Code, x_zero: i32) -> Vec<Launch> {
    let mut launches = Vec::new();
    let Linear { inputs, outputs } = linear;
    let x = codes(rows * inputs, 1);
    let weights: Vec<i8> = codes(outputs * inputs, 2)
        .into_iter()
        .map(u8::cast_signed)
        .collect();
    let bias: Vec<f32> = (0..outputs).map(|at| at as f32 * 0.37 - 3.0).collect();
    let spread = ((inputs as f32).sqrt() * 64.0).log2().ceil().exp2();
    for (per_channel, nudge) in [(false, 0), (false, 1), (true, -1)] {
        let scale = f32::from_bits(0x3f00_0000_u32.wrapping_add_signed(nudge));
        let scales = vec![scale; outputs];
        let weight = if per_channel {
            WeightScales::PerChannel(&scales)
        } else {
            WeightScales::PerTensor(scale)
        };
        let spec = KernelSpec::Linear(linear);
        let epilogue = Epilogue::new(&spec, Contract::Fbgemm, 0.25, weight, Some(&bias), spread);
        let epilogue = epilogue.expect("an output stage");
        let out = match code {
            Code::U8 => Codes::u8(7).relu(),
            Code::S8 => Codes::s8(-5),
        };
        let (name, values) = match code {
            Code::U8 => ("uint8", buffer("uint8", &x)),
            Code::S8 => {
                let x: Vec<i8> = x.iter().map(|code| code.cast_signed()).collect();
                ("int8", buffer("int8", &x))
            }
        };
        let correction = TritonKernel::correction(&linear, code, x_zero, &weights);
        let arguments = [
            ("x", values),
            ("w", buffer("int8", &weights)),
            ("correction", buffer("int32", &correction)),
            ("stage", buffer("float32", epilogue.values())),
            ("y", buffer(name, &vec![0; rows * outputs])),
            ("rows", json!(rows)),
            ("zero", json!(out.zero)),
            ("lo", json!(out.lo)),
            ("hi", json!(out.hi)),
        ];
        let kernel = TritonKernel::linear(linear, code).expect("a kernel");
        let slots = epilogue.values().len() / 3;
        let mut expected = Vec::new();
        for row in x.chunks(inputs) {
            for (output, weights) in weights.chunks(inputs).enumerate() {
                let code = |byte: u8| match code {
                    Code::U8 => i32::from(byte),
                    Code::S8 => i32::from(byte.cast_signed()),
                };
                let products = row.iter().zip(weights);
                let sum = products
                    .map(|(x, w)| (code(*x) - x_zero) * i32::from(*w))
                    .sum();
                let value = |section: usize| epilogue.values()[section * slots + output];
                let stage = Stage {
                    bias: value(0),
                    inv: value(1),
                    mult: value(2),
                };
                expected.push(stage.code(sum, out));
            }
        }
        let what = format!("{kernel} of {rows} rows, zero point {x_zero}, scale {scale}");
        launches.push(Launch::new(what, kernel, arguments, "y", expected));
    }
    launches
}

fn sums() {
    let mut launches = Vec::new();
    for count in [1, 63, 64, 1024, 1024 + 64 + 5] {
        let (x, y) = (codes(count, 3), codes(count, 4));
        for (scale_x, scale_y, out_scale) in
            [(0.05, 0.071, 0.1), (0.5, 0.25, 0.5), (1.5, 1e-3, 3.0)]
        {
            let (a, b) = (
                Affine {
                    scale: scale_x,
                    zero: 3,
                },
                Affine {
                    scale: scale_y,
                    zero: 250,
                },
            );
            for out in [Codes::u8(100), Codes::u8(100).relu()] {
                let multiplier: f32 = 1.0 / out_scale;
                let arguments = [
                    ("x", buffer("uint8", &x)),
                    ("y", buffer("uint8", &y)),
                    ("out", buffer("uint8", &vec![0; count])),
                    ("count", json!(count)),
                    ("scale_x", json!(a.scale)),
                    ("zero_x", json!(a.zero)),
                    ("scale_y", json!(b.scale)),
                    ("zero_y", json!(b.zero)),
                    ("multiplier", json!(multiplier)),
                    ("zero", json!(out.zero)),
                    ("lo", json!(out.lo)),
                    ("hi", json!(out.hi)),
                ];
                let expected =
                    reference::add((&x, a.scale, a.zero), (&y, b.scale, b.zero), out_scale, out);
                let what = format!("{count} elements, scales {scale_x}, {scale_y}");
                let kernel = TritonKernel::AddRelu;
                launches.push(Launch::new(what, kernel, arguments, "out", expected));
            }
        }
    }
    interpret(launches);
}

fn planish(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_planish"))
        .args(arguments)
        .env_remove("PLANISH_WORKER")
        .env("RUST_BACKTRACE", "0")
        .output();
    output.expect("planish starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cubins_repeat() {
    for kernel in [
        "linear_u8s8u8 i512 o256",
        "linear_s8s8s8 i100 o10",
        "add_relu_u8",
    ] {
        let made = || {
            let room = tempfile::tempdir().expect("a directory");
            let directory = room.path().display().to_string();
            let call = [
                "triton",
                kernel,
                "--no-cache",
                "--jobs",
                "2",
                "-o",
                &directory,
            ];
            let output = planish(&call);
            assert!(output.status.success(), "{}", text(&output.stderr));
            let digests: Vec<String> = text(&output.stdout)
                .lines()
                .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
                .collect();
            let mut files = Vec::new();
            let mut entries: Vec<PathBuf> = std::fs::read_dir(room.path())
                .expect("read")
                .map(|entry| entry.expect("an entry").path())
                .collect();
            entries.sort();
            for path in entries {
                let name = path.file_name().expect("a name").display().to_string();
                files.push((name, std::fs::read(path).expect("read")));
            }
            (digests, files)
        };
        let (digests, files) = made();
        assert_eq!(digests.len(), 3, "{kernel}");
        let again = made();
        assert_eq!(digests, again.0, "{kernel}");
        assert!(files == again.1, "{kernel}");
        for (name, bytes) in files {
            let ptx = Path::new(&name)
                .extension()
                .is_some_and(|found| found == "ptx");
            let text = text(&bytes);
            if ptx {
                // Products and sums are rounded one by one, subnormal numbers are kept, and a code is rounded half to even by the sum alone.
                assert!(
                    text.contains("fma.rn.f32") && text.contains("mul.rn.f32"),
                    "{name}"
                );
                assert!(
                    !text.contains(".ftz") && !text.contains("mad.f32"),
                    "{name}"
                );
            }
            if ptx && kernel.starts_with("linear") {
                let cores = ["mma.sync", "wgmma", "tcgen05"];
                assert!(cores.iter().any(|core| text.contains(core)), "{name}");
            }
        }
    }
}

const DOUBLE: &str = "
import triton
import triton.language as tl


@triton.jit
def double(x, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at, mask=at < n) * 2, mask=at < n)
";

fn own_file() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("double.py");
    std::fs::write(&path, DOUBLE).expect("write");
    let (file, out) = (
        path.display().to_string(),
        room.path().display().to_string(),
    );
    let signature = "x: *fp32@16, y: *fp32@16, n: i32, BLOCK: 128";
    let call = [
        "triton",
        &file,
        "--arch=sm_90",
        "--grid",
        "cdiv(n, BLOCK)",
        "--signature",
        signature,
        "--warps=2",
        "--no-cache",
        "-o",
        &out,
    ];
    let output = planish(&call);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("sm_90   "));
    let names = std::fs::read_dir(room.path()).expect("a folder");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let mut names = names.filter_map(|name| name.into_string().ok());
    let record = names.find(|name| name.starts_with("double-") && name.ends_with(".sm_90.json"));
    let record = std::fs::read(room.path().join(record.expect("a record"))).expect("read");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    assert_eq!(record["grid"], "cdiv(n, 128), 1, 1");
    assert_eq!(record["target"], "sm_90a");
    assert_eq!(record["warps"], 2);
    assert_eq!(
        record["arguments"][2],
        json!({"name": "n", "type": "i32", "bytes": 4, "divisor": 1})
    );
    assert_eq!(record["scratch"].as_array().map(Vec::len), Some(2));
}

fn wrong_calls() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("double.py");
    std::fs::write(&path, DOUBLE).expect("write");
    let file = path.display().to_string();
    let fails = |arguments: &[&str], code: i32, part: &str| {
        let arguments = [&["triton"], arguments, &["--no-cache"]].concat();
        let output = planish(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    };
    fails(&[&file], 2, "needs --signature and --grid");
    fails(
        &["linear_u8s8u8 i1", "--arch=sm_80"],
        1,
        "failed to read kernel `linear_u8s8u8 i1`",
    );
    fails(&["add_relu_u8", "--grid=1"], 2, "one of planish's own");
    fails(
        &["add_relu_u8", "--arch=sm_9x"],
        2,
        "expected a device such as sm_80",
    );
    fails(&["add_relu_u8", "--cc=gcc"], 2, "--cc names a C compiler");
    fails(
        &["add_relu_u8", "--python=/nonexistent"],
        1,
        "failed to use the Python /nonexistent",
    );
    let signature = "--signature=x: *fp32, y: *fp32, n: i32, BLOCK: 128";
    fails(
        &[&file, signature, "--grid=cdiv(m, 128)"],
        1,
        "failed to use the grid `cdiv(m, 128), 1, 1`: there is no number `m`",
    );
    fails(
        &[&file, "--signature=x: *fp32", "--grid=1", "--arch=sm_80"],
        1,
        "`double` takes (x, y, n, BLOCK), and the signature has (x)",
    );
}

fn doctor() {
    let output = planish(&["doctor", "--json", "--no-cache"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["triton"]["found"], true);
    let ptxas = &found["triton"]["ptxas"];
    for arch in ["sm_80", "sm_90", "sm_100"] {
        assert!(
            ptxas[arch]["path"].is_string() && ptxas[arch]["digest"].is_string(),
            "{ptxas}"
        );
    }
    let output = planish(&["doctor", "--no-cache", "--python=/nonexistent/python"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("failed to use the Python /nonexistent/python"),
        "{said}"
    );
    // The rest is told all the same.
    assert!(text(&output.stdout).contains("compiler "));
}
