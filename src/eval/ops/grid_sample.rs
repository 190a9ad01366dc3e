//! Images and volumes read at places that another tensor gives.

use planish_ir::Dims;

use super::{Kernel, Table, cubic};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::grid_sampler", One(grid_sampler)),
    ("aten::grid_sampler_2d", One(grid_sampler)),
    ("aten::grid_sampler_3d", One(grid_sampler)),
];

/// How what lies between pixels is made of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Linear,
    Nearest,
    Cubic,
}

/// What lies outside of the image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// One dimension of an image.
#[derive(Clone, Copy)]
struct Side {
    size: i64,
    padding: Padding,
    corners: bool,
}

impl Side {
    /// The place that the coordinate -1 … 1 names, in pixels.
    fn place(self, coordinate: f32) -> f32 {
        let size = self.size as f32;
        if self.corners {
            (coordinate + 1.0) * 0.5 * (size - 1.0)
        } else {
            ((coordinate + 1.0) * size - 1.0) / 2.0
        }
    }

    /// A place brought into the image, where the padding does that.
    fn inside(self, place: f32) -> f32 {
        let last = (self.size - 1) as f32;
        match self.padding {
            Padding::Zeros => place,
            Padding::Border => place.max(0.0).min(last),
            Padding::Reflection => {
                let (low, high) = if self.corners {
                    (0, 2 * (self.size - 1))
                } else {
                    (-1, 2 * self.size - 1)
                };
                reflected(place, low, high).max(0.0).min(last)
            }
        }
    }

    /// The pixel at a whole place, if it is one.
    fn pixel(self, place: f32) -> Option<usize> {
        (place >= 0.0 && place < self.size as f32).then_some(place as usize)
    }
}

/// A place mirrored at two bounds, given as their doubles, until it lies between them.
fn reflected(place: f32, low: i64, high: i64) -> f32 {
    if low == high {
        return 0.0;
    }
    let least = low as f32 / 2.0;
    let span = (high - low) as f32 / 2.0;
    let place = (place - least).abs();
    let extra = place % span;
    if (place / span).floor() % 2.0 == 0.0 {
        extra + least
    } else {
        span - extra + least
    }
}

/// `grid_sampler(input, grid, mode, padding, align_corners)`
fn grid_sampler(call: &Call<'_>) -> Result<Value> {
    let (input, grid) = (call.tensor(0)?, call.tensor(1)?);
    let mode = match call.int(2)? {
        0 => Mode::Linear,
        1 => Mode::Nearest,
        2 => Mode::Cubic,
        _ => return Err(call.wrong(2, "0, 1 or 2")),
    };
    let padding = match call.int(3)? {
        0 => Padding::Zeros,
        1 => Padding::Border,
        2 => Padding::Reflection,
        _ => return Err(call.wrong(3, "0, 1 or 2")),
    };
    let corners = call.bool_or(4, false)?;
    let spatial = input.rank().saturating_sub(2);
    if !(2..=3).contains(&spatial) || !input.dtype().is_floating_point() || input.numel() == 0 {
        return Err(call.wrong(0, "a batch of images or volumes of floats"));
    }
    if mode == Mode::Cubic && spatial == 3 {
        return Err(call.wrong(2, "0 or 1 for volumes"));
    }
    let (batch, channels) = (input.shape()[0], input.shape()[1]);
    let fits = grid.rank() == input.rank()
        && grid.shape()[0] == batch
        && grid.shape().last() == Some(&(spatial as i64));
    if !fits {
        return Err(call.wrong(1, "a place for each pixel of each result"));
    }
    let sides: Vec<Side> = input.shape()[2..]
        .iter()
        .map(|size| Side {
            size: *size,
            padding,
            corners,
        })
        .collect();
    let mut shape = Dims::from_slice(&[batch, channels]);
    shape.extend_from_slice(&grid.shape()[1..=spatial]);
    let out = Tensor::zeros(input.dtype(), &shape, MemoryFormat::Contiguous)?;
    call.work(out.numel() as u64 * 16)?;
    let cells = sides.iter().map(|side| side.size).product::<i64>() as usize;
    let places = shape[2..].iter().product::<i64>() as usize;
    let (values, grid) = (input.to_f32()?, grid.to_f32()?);
    let mut sampled = Vec::with_capacity(out.numel());
    for (at, plane) in values.chunks_exact(cells).enumerate() {
        let first = at / channels.max(1) as usize * places;
        for place in first..first + places {
            // The last coordinate belongs to the first dimension.
            let place: Vec<f32> = grid[place * spatial..(place + 1) * spatial]
                .iter()
                .rev()
                .zip(&sides)
                .map(|(coordinate, side)| side.place(*coordinate))
                .collect();
            sampled.push(sample(plane, &sides, &place, mode));
        }
    }
    out.write_f32(&sampled)?;
    Ok(out.into())
}

/// The value of a plane at a place.
fn sample(plane: &[f32], sides: &[Side], place: &[f32], mode: Mode) -> f32 {
    // What lies at whole places; outside there are zeros.
    let pixel = |at: &[f32]| {
        let mut index = Some(0);
        for (side, at) in sides.iter().zip(at) {
            index = index
                .zip(side.pixel(*at))
                .map(|(index, at)| index * side.size as usize + at);
        }
        index.map_or(0.0, |index| plane[index])
    };
    if mode == Mode::Cubic {
        let corner = [place[0].floor(), place[1].floor()];
        let [high, wide] = [0, 1].map(|d| cubic::weights(place[d] - corner[d]));
        let inside = |d: usize, at: usize| sides[d].inside(corner[d] - 1.0 + at as f32);
        return cubic::between(high, |h| {
            cubic::between(wide, |w| pixel(&[inside(0, h), inside(1, w)]))
        });
    }
    let place: Vec<f32> = place
        .iter()
        .zip(sides)
        .map(|(at, side)| side.inside(*at))
        .collect();
    if mode == Mode::Nearest {
        return pixel(
            &place
                .iter()
                .map(|at| at.round_ties_even())
                .collect::<Vec<_>>(),
        );
    }
    // Each corner by the volume on the other side of it.
    let mut sum = 0.0;
    for corner in 0..1usize << sides.len() {
        let mut weight = 1.0;
        let mut at = Vec::with_capacity(sides.len());
        for (d, place) in place.iter().enumerate() {
            let low = place.floor();
            let high = corner >> (sides.len() - 1 - d) & 1 == 1;
            weight *= if high { place - low } else { low + 1.0 - place };
            at.push(if high { low + 1.0 } else { low });
        }
        sum += pixel(&at) * weight;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(grid: &[f32], mode: i64, padding: i64, corners: bool) -> Vec<f32> {
        let image = Tensor::from_values(&[1, 1, 2, 3], &[1f32, 2., 3., 4., 5., 6.]).unwrap();
        let places = grid.len() as i64 / 2;
        let grid = Tensor::from_values(&[1, 1, places, 2], grid).unwrap();
        let args = [
            image.into(),
            grid.into(),
            Value::Int(mode),
            Value::Int(padding),
            corners.into(),
        ];
        let out = apply(Op::of("aten::grid_sampler"), &args, Contract::Fbgemm).unwrap();
        out[0].as_tensor().unwrap().to_f32().unwrap()
    }

    #[test]
    fn corners_and_middles_are_where_they_should_be() {
        assert_eq!(run(&[-1., -1., 1., 1., 0., 0.], 0, 0, true), [1., 6., 3.5]);
        assert_eq!(run(&[-1., -1.], 0, 0, false), [0.25]);
        assert_eq!(run(&[-1., -1.], 0, 1, false), [1.]);
        assert_eq!(run(&[3., 0.], 1, 0, true), [0.]);
        assert_eq!(run(&[2., -1., 0.1, -1.], 1, 2, true), [2., 2.]);
        assert_eq!(run(&[0., -1.], 2, 1, true), [2.]);
    }
}
