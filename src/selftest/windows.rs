//! Kernels that look at images: pools and changes of layout.

use planish_kernels::{KernelSpec, Layout, reference};
use planish_runtime::{Call, Entry};

use super::values::Values;
use super::{call, same};

/// Two registers of channels and a rest that fills none.
const CHANNELS: usize = 64 + 35;

pub(super) fn pool(spec: &KernelSpec, entry: &Entry) -> Result<(), String> {
    let zero = 77;
    // Images of a few windows, the last of them over the edge where there is padding.
    let along = |kernel: usize, stride: usize, padding: usize, dilation: usize| {
        let reach = dilation * (kernel - 1) + 1;
        let size = (reach + 2 * stride + 1).saturating_sub(padding).max(1);
        let out = (size + 2 * padding).saturating_sub(reach) / stride + 1;
        (size, out)
    };
    let [(height, out_height), (width, out_width)] = match spec {
        KernelSpec::MaxPool2d(pool) => [0, 1].map(|dim| {
            along(
                pool.kernel[dim],
                pool.stride[dim],
                pool.padding[dim],
                pool.dilation[dim],
            )
        }),
        KernelSpec::AvgPool2d(pool) => {
            [0, 1].map(|dim| along(pool.kernel[dim], pool.stride[dim], pool.padding[dim], 1))
        }
        _ => [(6, 3), (4, 2)],
    };
    let (size, out_size) = ([2, height, width, CHANNELS], [out_height, out_width]);
    let x = Values::new(31).codes(size.iter().product(), zero);
    let mut out = vec![0xa5; 2 * out_height * out_width * CHANNELS];
    call(
        entry,
        Call::Pool {
            x: &x,
            size,
            zero,
            out_size,
            out: &mut out,
        },
    )?;
    let zero = i32::from(zero);
    let expected = match spec {
        KernelSpec::MaxPool2d(pool) => reference::max_pool2d(pool, &x, size, out_size),
        KernelSpec::AvgPool2d(pool) => reference::avg_pool2d(pool, &x, size, out_size, zero),
        _ => reference::adaptive_avg_pool2d(&x, size, out_size, zero),
    };
    same(&out, &expected)
}

pub(super) fn relayout(layout: Layout, entry: &Entry) -> Result<(), String> {
    let size @ [images, channels, height, width] = [2, 37, 5, 7];
    let x = Values::new(32).codes(images * channels * height * width, 0);
    let mut out = vec![0xa5; x.len()];
    let (x, out_slice) = (&x[..], &mut out[..]);
    call(
        entry,
        Call::Relayout {
            x,
            size,
            out: out_slice,
        },
    )?;
    let pixels = height * width;
    let expected = match layout {
        Layout::NchwToNhwc => reference::transpose(x, images, channels, pixels),
        Layout::NhwcToNchw => reference::transpose(x, images, pixels, channels),
    };
    same(&out, &expected)
}
