//! Convolutions, linear layers, and the kernels that pack their weights.

use planish_kernels::reference::{self, Stage};
use planish_kernels::{
    Codes, Conv2d, Epilogue, Kernel, KernelSpec, Linear, Packing, WeightScales, pack as packed,
};
use planish_runtime::{Call, Entry};

use super::values::Values;
use super::{call, same};

/// Multiplications that the reference does for one trial: a millisecond or two. With more weights, only some output
/// channels have any, spread over all lanes; the others must come out as if theirs were zero.
const BUDGET: usize = 1 << 20;
/// Pixels in a row of the output: a full tile of at most 8 and a rest of it.
const COLUMNS: usize = 9;

/// A problem small enough to compute twice.
struct Problem {
    conv: Conv2d,
    packing: Packing,
    size: [usize; 3],
    /// Output channels with weights.
    channels: Vec<usize>,
    /// Their weights.
    weights: Vec<Vec<i8>>,
    epilogue: Epilogue,
}

/// Tries a kernel twice: with and without an activation.
pub(super) fn compute(kernel: &Kernel, entry: &Entry) -> Result<(), String> {
    let mut values = Values::new(11);
    let problem = Problem::new(kernel, &mut values)?;
    for (zero, codes) in [(0, Codes::u8(117).relu()), (131, Codes::u8(3))] {
        problem.compare(kernel, entry, &mut values, zero, codes)?;
    }
    Ok(())
}

impl Problem {
    fn new(kernel: &Kernel, values: &mut Values) -> Result<Self, String> {
        let spec = kernel.spec();
        let packing = spec.packing().ok_or("it has no weights")?;
        let conv = match spec {
            KernelSpec::Conv2d(conv) => *conv,
            KernelSpec::Linear(linear) => Conv2d::new(linear.inputs, linear.outputs, [1, 1]),
            other => return Err(format!("{} has no weights", other.operator())),
        };
        let per_output = conv.inputs / conv.groups * conv.kernel[0] * conv.kernel[1];
        let rows =
            if conv.outputs * per_output > BUDGET / 8 || matches!(spec, KernelSpec::Linear(_)) {
                1
            } else {
                2
            };
        let images = if rows == 2 { 2 } else { 1 };
        let along = |dim: usize, out: usize| {
            let reach = conv.dilation[dim] * (conv.kernel[dim] - 1) + 1;
            let padded = (out - 1) * conv.stride[dim] + reach;
            padded.saturating_sub(2 * conv.padding[dim]).max(1)
        };
        let size = [images, along(0, rows), along(1, COLUMNS)];
        let pixels = images * rows * COLUMNS;
        let most = (BUDGET / 2 / (pixels * per_output)).clamp(4, conv.outputs.max(4));
        let channels = spread(conv.outputs, most);
        let weights = channels
            .iter()
            .map(|_| values.weights(per_output))
            .collect();
        // Sums of so many products are of this size; so codes of all sizes come out.
        let reach = (per_output as f32).sqrt() * 74.0 * 90.0;
        let scales: Vec<f32> = (0..conv.outputs)
            .map(|_| 0.01 * (1.0 + 0.5 * values.real()))
            .collect();
        let y = 0.02 * 0.01 * reach / 100.0;
        let bias: Vec<f32> = (0..conv.outputs)
            .map(|_| values.real() * y * 40.0)
            .collect();
        let scales = WeightScales::PerChannel(&scales);
        let epilogue = Epilogue::new(spec, kernel.contract(), 0.02, scales, Some(&bias), y)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            conv,
            packing,
            size,
            channels,
            weights,
            epilogue,
        })
    }

    fn compare(
        &self,
        kernel: &Kernel,
        entry: &Entry,
        values: &mut Values,
        zero: u8,
        codes: Codes,
    ) -> Result<(), String> {
        let [images, height, width] = self.size;
        let out_size = self.conv.output_size([height, width]);
        let [out_height, out_width] = out_size.ok_or("its window fits no small image")?;
        let pixels = images * out_height * out_width;
        let x = values.codes(images * height * width * self.conv.inputs, zero);
        let rows = self
            .channels
            .iter()
            .copied()
            .zip(self.weights.iter().map(Vec::as_slice));
        let weights = self.packing.pack(kernel.isa(), rows);
        let mut scratch = vec![0; kernel.scratch_len([height, width])];
        let mut out = vec![0xa5; pixels * self.conv.outputs];
        call(
            entry,
            Call::Weighted {
                x: &x,
                size: self.size,
                zero,
                weights: &weights,
                epilogue: &self.epilogue,
                codes,
                scratch: &mut scratch,
                out: &mut out,
            },
        )?;
        same(&out, &self.expected(&x, zero, codes, pixels))
    }

    /// By the reference, one group of channels after the other.
    fn expected(&self, x: &[u8], zero: u8, codes: Codes, pixels: usize) -> Vec<u8> {
        let Conv2d {
            inputs,
            outputs,
            groups,
            ..
        } = self.conv;
        let (inputs_each, outputs_each) = (inputs / groups, outputs / groups);
        let row: Vec<u8> = (0..outputs)
            .map(|channel| self.stage(channel).code(0, codes))
            .collect();
        let mut expected = row.repeat(pixels);
        for group in 0..groups {
            let mine: Vec<usize> = (0..self.channels.len())
                .filter(|at| self.channels[*at] / outputs_each == group)
                .collect();
            if mine.is_empty() {
                continue;
            }
            let conv = Conv2d {
                inputs: inputs_each,
                outputs: mine.len(),
                groups: 1,
                ..self.conv
            };
            let start = group * inputs_each;
            let x: Vec<u8> = x
                .chunks_exact(inputs)
                .flat_map(|pixel| &pixel[start..start + inputs_each])
                .copied()
                .collect();
            let weights: Vec<i8> = mine
                .iter()
                .flat_map(|at| &self.weights[*at])
                .copied()
                .collect();
            let stages: Vec<Stage> = mine
                .iter()
                .map(|at| self.stage(self.channels[*at]))
                .collect();
            let zero = i32::from(zero);
            let part = reference::conv2d(&conv, &x, self.size, zero, &weights, &stages, codes);
            for (pixel, part) in part.chunks_exact(mine.len()).enumerate() {
                for (at, code) in mine.iter().zip(part) {
                    expected[pixel * outputs + self.channels[*at]] = *code;
                }
            }
        }
        expected
    }

    fn stage(&self, channel: usize) -> Stage {
        let (slot, slots) = (self.packing.slot(channel), self.packing.slots());
        let values = self.epilogue.values();
        Stage {
            bias: values[slot],
            inv: values[slots + slot],
            mult: values[2 * slots + slot],
        }
    }
}

/// At most `most` of `count` channels: the first, the last, and others of all lanes.
fn spread(count: usize, most: usize) -> Vec<usize> {
    if most >= count {
        return (0..count).collect();
    }
    // One more in each step, so that not all of them share a lane.
    let mut chosen: Vec<usize> = (0..most)
        .map(|at| (at * count / most + at) % count)
        .collect();
    chosen.push(count - 1);
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// Tries a packing kernel with geometries that fill no block and no quad.
pub(super) fn pack(kernel: &Kernel, entry: &Entry) -> Result<(), String> {
    let mut values = Values::new(12);
    let conv = |conv: Conv2d| KernelSpec::Conv2d(conv);
    let specs = match kernel.spec() {
        KernelSpec::PackLinear => [(65, 33), (5, 3)]
            .map(|(inputs, outputs)| KernelSpec::Linear(Linear { inputs, outputs }))
            .to_vec(),
        _ => vec![
            conv(Conv2d::new(17, 33, [3, 3])),
            conv(Conv2d {
                groups: 2,
                ..Conv2d::new(8, 12, [3, 2])
            }),
            conv(Conv2d {
                groups: 19,
                dilation: [2, 2],
                ..Conv2d::new(19, 19, [3, 3])
            }),
        ],
    };
    for spec in specs {
        let packing = spec.packing().ok_or("it has no weights")?;
        let weights = values.weights(packing.weights());
        let expected = packed(&spec, kernel.isa(), &weights).map_err(|error| error.to_string())?;
        let mut out = vec![0xa5; expected.len()];
        call(
            entry,
            Call::Pack {
                packing,
                weights: &weights,
                out: &mut out,
            },
        )?;
        same(&out, &expected).map_err(|fault| format!("{spec}: {fault}"))?;
    }
    Ok(())
}
