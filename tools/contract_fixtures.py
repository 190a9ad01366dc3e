#!/usr/bin/env python3
"""Makes src/eval/tests/fixtures/contracts.safetensors: what PyTorch 2.15's other engines compute for linear maps and convolutions.

    tools/contract_fixtures.py --out src/eval/tests/fixtures/contracts.safetensors

Data are made to tie, as in eval_fixtures.py. Some scales lie between two values of a float, where it shows when they are rounded.
Transposed convolutions have as many inputs as outputs: with other numbers oneDNN's are wrong.
"""

import argparse

import numpy as np
import torch

from fixture import Case, bias, codes, rng, save, ulps, weight

arguments = argparse.ArgumentParser(description="Makes what PyTorch's other engines compute.")
arguments.add_argument("--out", required=True)
options = arguments.parse_args()


def scale(x, between):
    """A scale near x: a float, or a number between two floats."""
    low = ulps(x)
    return (low + float(np.nextafter(np.float32(low), np.float32(np.inf)))) / 2 * (1 + 1e-12) if between else low


def static(contract, op, x_shape, w_shape, per_channel, geometry=(), with_bias=True, relu=False, between=False):
    case = Case(f"{op} {list(w_shape)} {contract}, per channel {per_channel}, bias {with_bias}", contract)
    sx = scale(2.0**-5, between)
    x, w = codes(x_shape, sx, 67, high=127), weight(w_shape, per_channel)
    outputs = w_shape[1] * geometry[-1] if "transpose" in op else w_shape[0]
    packed = case.call(f"quantized::{op}_prepack", w, bias(w, sx, outputs) if with_bias else None, *geometry)
    full = f"quantized::{op}" + ("_relu" if relu else "") + (".new" if op in ("conv2d", "conv3d") else "")
    case.expect(case.call(full, x, packed, scale(2.0**-5, between), 91))


def dynamic(contract, op, x_shape, w_shape, per_channel, geometry=(), relu=False, reduced=False):
    case = Case(f"{op}_dynamic {list(w_shape)} {contract}, per channel {per_channel}, relu {relu}, reduced {reduced}", contract)
    # Halves of a step, from -37 to 90 or 218: codes tie, and the step is a power of two.
    top = 127 if reduced and contract != "qnnpack" else 255
    x = rng.integers(0, 2 * top + 1, x_shape) / 2 - 37
    x.flat[0], x.flat[1] = -37, top - 37
    x = torch.from_numpy((x * 2.0**-5).astype(np.float32))
    outputs = w_shape[1] * geometry[-1] if "transpose" in op else w_shape[0]
    packed = case.call(f"quantized::{op}_prepack", weight(w_shape, per_channel), torch.randn(outputs), *geometry)
    case.expect(case.call(f"quantized::{op}" + ("_relu" if relu else "") + "_dynamic", x, packed, reduced))


for contract in ("qnnpack", "onednn"):
    for per_channel in (False, True):
        for with_bias in (False, True):
            for relu, between in ((False, True), (True, False)):
                rest = {"with_bias": with_bias, "relu": relu, "between": between and contract == "onednn"}
                static(contract, "linear", (60, 24), (16, 24), per_channel, **rest)
                static(contract, "conv2d", (1, 16, 9, 8), (24, 16, 1, 1), per_channel, ([1, 1], [0, 0], [1, 1], 1), **rest)
                static(contract, "conv2d", (1, 6, 9, 8), (12, 3, 3, 3), per_channel, ([2, 1], [1, 1], [1, 1], 2), **rest)
                static(contract, "conv2d", (1, 16, 9, 8), (16, 1, 3, 3), per_channel, ([1, 1], [1, 1], [1, 1], 16), **rest)
                static(contract, "conv1d", (1, 16, 70), (8, 16, 3), per_channel, ([1], [1], [1], 1), **rest)
                if contract == "onednn" or not relu:
                    static(contract, "conv3d", (1, 4, 5, 6, 5), (6, 4, 3, 3, 3), per_channel, ([1, 1, 1], [1, 1, 1], [1, 1, 1], 1), **rest)
        for relu in (False, True):
            for reduced in (False, True):
                dynamic(contract, "linear", (40, 5), (12, 5), per_channel, (), relu, reduced)
    for with_bias in (False, True):
        static(contract, "conv_transpose1d", (1, 8, 40), (8, 8, 3), False, ([2], [1], [0], [1], 1), with_bias)
        static(contract, "conv_transpose2d", (1, 8, 7, 6), (8, 8, 3, 3), False, ([2, 2], [1, 1], [0, 0], [1, 1], 1), with_bias)
        if contract == "onednn":
            static(contract, "conv_transpose3d", (1, 4, 4, 3, 4), (4, 4, 3, 3, 3), False, ([2, 2, 2], [1, 1, 1], [0, 0, 0], [1, 1, 1], 1), with_bias)
for contract in ("fbgemm", "qnnpack", "onednn"):
    for reduced in (False, True):
        dynamic(contract, "conv1d", (1, 4, 40), (6, 4, 3), False, ([1], [1], [1], 1), False, reduced)
        dynamic(contract, "conv2d", (1, 4, 9, 8), (6, 4, 3, 3), True, ([1, 1], [1, 1], [1, 1], 1), False, reduced)
        dynamic(contract, "conv_transpose2d", (1, 4, 7, 6), (4, 4, 3, 3), False, ([2, 2], [1, 1], [0, 0], [1, 1], 1), False, reduced)
        if contract != "qnnpack":
            dynamic(contract, "conv3d", (1, 4, 5, 6, 5), (6, 4, 3, 3, 3), True, ([1, 1, 1], [1, 1, 1], [1, 1, 1], 1), False, reduced)
save(options.out)
