//! Weighted kernels, every instruction set side by side in one process: quartile of the time of a call, and what it is in operations.
//!
//! Buffers are hot and one thread runs, so the figures say what a kernel can do, not what a network does. Trust ratios within a run.

#![expect(clippy::print_stdout, reason = "a benchmark's result is its output")]

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use planish_kernels::{
    Codes, Contract, Epilogue, Isa, Kernel, KernelSpec, Unit, WeightScales, pack,
};
use planish_runtime::{Call, Entry, Library};

/// Layers of ResNet-50 and `MobileNetV2`, with the height and width of their images; for a linear layer the rows.
const LAYERS: [(&str, usize); 11] = [
    ("conv2d_u8s8u8 i3 o64 k7x7 s2x2 p3x3 d1x1 g1", 224),
    ("conv2d_u8s8u8 i64 o64 k3x3 s1x1 p1x1 d1x1 g1", 56),
    ("conv2d_u8s8u8 i256 o256 k3x3 s1x1 p1x1 d1x1 g1", 14),
    ("conv2d_u8s8u8 i512 o512 k3x3 s1x1 p1x1 d1x1 g1", 7),
    ("conv2d_u8s8u8 i64 o256 k1x1 s1x1 p0x0 d1x1 g1", 56),
    ("conv2d_u8s8u8 i1024 o256 k1x1 s1x1 p0x0 d1x1 g1", 14),
    ("conv2d_u8s8u8 i32 o16 k1x1 s1x1 p0x0 d1x1 g1", 112),
    ("conv2d_u8s8u8 i144 o144 k3x3 s1x1 p1x1 d1x1 g144", 56),
    ("conv2d_u8s8u8 i960 o960 k3x3 s1x1 p1x1 d1x1 g960", 7),
    ("linear_u8s8u8 i2048 o1000", 1),
    ("linear_u8s8u8 i2048 o1000", 32),
];

/// Calls for each figure.
const CALLS: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let isas: Vec<Isa> = Isa::ALL
        .into_iter()
        .filter(|isa| isa.is_supported())
        .collect();
    let mut entries = HashMap::new();
    for isa in &isas {
        let kernels =
            LAYERS.map(|(text, _)| Ok(Kernel::new(text.parse()?, Contract::Fbgemm, *isa)?));
        let mut kernels: Vec<Kernel> =
            kernels.into_iter().collect::<Result<_, Box<dyn Error>>>()?;
        kernels.dedup();
        for unit in Unit::join(&kernels) {
            entries.extend(compile(&unit)?);
        }
    }
    for (text, size) in LAYERS {
        let spec: KernelSpec = text.parse()?;
        let mut times = Vec::new();
        let mut line = format!("{text:50} @{size:<4}");
        for isa in &isas {
            let entry = &entries[&Kernel::new(spec, Contract::Fbgemm, *isa)?];
            let (seconds, operations) = time(spec, entry, size)?;
            times.push(seconds);
            let (us, gops) = (seconds * 1e6, operations / seconds / 1e9);
            write!(line, " {isa:>12} {us:9.1} us {gops:7.1} GOPS")?;
        }
        if let [first, .., last] = times[..] {
            write!(line, "   {:.1} x", first / last)?;
        }
        println!("{line}");
    }
    Ok(())
}

/// Seconds of a call, and the multiplications and additions in it.
fn time(spec: KernelSpec, entry: &Entry, size: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let isa = entry.kernel().isa();
    let packing = spec.packing().ok_or("a layer has weights")?;
    let outputs = packing.groups * packing.outputs;
    let (inputs, image, out) = match spec {
        KernelSpec::Conv2d(conv) => (conv.inputs, [1, size, size], conv.output_size([size, size])),
        _ => (packing.inputs, [1, 1, size], Some([1, size])),
    };
    let [out_height, out_width] = out.ok_or("the window fits the image")?;
    let x: Vec<u8> = (0..image[1] * image[2] * inputs)
        .map(|at| (at * 7 % 251) as u8)
        .collect();
    let weights: Vec<i8> = (0..packing.weights())
        .map(|at| (at * 13 % 255) as u8 as i8)
        .collect();
    let weights = pack(&spec, isa, &weights)?;
    let bias = vec![0.1; outputs];
    let epilogue = Epilogue::new(
        &spec,
        Contract::Fbgemm,
        0.02,
        WeightScales::PerTensor(0.002),
        Some(&bias),
        0.05,
    )?;
    let mut scratch = vec![0; entry.kernel().scratch_len([image[1], image[2]])];
    let mut y = vec![0; out_height * out_width * outputs];
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let start = Instant::now();
        entry.call(Call::Weighted {
            x: &x,
            size: image,
            zero: 3,
            weights: &weights,
            epilogue: &epilogue,
            codes: Codes::u8(3).relu(),
            scratch: &mut scratch,
            out: &mut y,
        })?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let products = packing.inputs * packing.taps * outputs * out_height * out_width;
    Ok((times[CALLS / 4], 2.0 * products as f64))
}

/// Kernels as they are compiled for a module.
fn compile(unit: &Unit) -> Result<Vec<(Kernel, Entry)>, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (c, so) = (dir.path().join("kernel.c"), dir.path().join("kernel.so"));
    std::fs::write(&c, unit.source())?;
    let status = Command::new("cc")
        .args(unit.flags())
        .arg("-o")
        .args([&so, &c])
        .status()?;
    if !status.success() {
        return Err(format!("failed to compile {unit}: {status}").into());
    }
    let object = std::fs::read(so)?;
    let library = Library::load(&object, &blake3::hash(&object), unit.kernels())?;
    let entries = unit.kernels().iter();
    let entries = entries.map(|kernel| Ok((*kernel, library.entry(*kernel)?)));
    entries.collect()
}
