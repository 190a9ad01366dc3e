#!/usr/bin/env python3
"""Makes src/eval/tests/fixtures/breadth.safetensors: what PyTorch 2.15 computes for the rarer operators of quantized modules.

    tools/breadth_fixtures.py --out src/eval/tests/fixtures/breadth.safetensors
"""

import argparse

import torch

from fixture import Case, rng, save

arguments = argparse.ArgumentParser(description="Makes what PyTorch computes for the rarer operators.")
arguments.add_argument("--out", required=True)
options = arguments.parse_args()


def embeddings():
    indices = torch.from_numpy(rng.integers(0, 20, 17))
    offsets = torch.tensor([0, 3, 3, 9, 17])
    mapping = torch.from_numpy(rng.integers(-1, 20, 20).astype("int32"))
    weights = torch.randn(17)
    for name, columns in (("byte", 13), ("4bit", 14), ("2bit", 20)):
        table = torch.randn(20, columns) * torch.logspace(-3, 3, 20)[:, None]
        table[3], table[4], table[5] = 0.5, 0.0, 1e-9 * torch.randn(columns)
        for searched in (False, True)[: 1 if name == "byte" else 2]:
            how = () if name == "byte" else (searched, 60, 0.25)
            case = Case(f"embedding {name}: packed, searched {searched}")
            case.expect(case.call(f"quantized::embedding_bag_{name}_prepack", table, *how))
            case = Case(f"embedding {name}: unpacked, searched {searched}")
            packed = case.call(f"quantized::embedding_bag_{name}_prepack", table, *how)
            case.expect(case.call(f"quantized::embedding_bag_{name}_unpack", packed))
        case = Case(f"embedding {name}: packed with ranges")
        ranges = torch.stack([table.amin(1) - 0.01, table.amax(1) + 0.02], 1)
        case.expect(case.call(f"quantized::embedding_bag_{name}_prepack_with_rowwise_min_max", table, ranges))
        for tag, i, rest in [
            ("plain", indices, (offsets, False, 0, False, None, None, True)),
            ("open end", indices, (offsets[:-1], False, 0, False, weights, None, False)),
            ("pruned", indices, (offsets, False, 0, True, weights, mapping, True)),
            ("matrix", indices[:16].reshape(4, 4), (None, False, 0, False, None, None, False)),
        ]:
            case = Case(f"embedding {name}: bag, {tag}")
            packed = case.call(f"quantized::embedding_bag_{name}_prepack", table)
            case.expect(case.call(f"quantized::embedding_bag_{name}_rowwise_offsets", packed, i, *rest))
    for name, dtype in (("byte", torch.quint8), ("4bit", torch.quint4x2)):
        table, scales, zeros = torch.randn(20, 14), torch.rand(20) * 0.2, torch.rand(20) * 15
        case = Case(f"embedding {name}: rows of a packed weight")
        packed = case.call("quantized::embedding_bag_prepack", case.call("aten::quantize_per_channel", table, scales, zeros, 0, dtype))
        case.expect(case.call(f"quantized::embedding_{name}", packed, indices[:16].reshape(2, 8)))
        case = Case(f"embedding {name}: bags of a packed weight")
        packed = case.call("quantized::embedding_bag_prepack", case.call("aten::quantize_per_channel", table, scales, zeros, 0, dtype))
        case.expect(case.call(f"quantized::embedding_bag_{name}", packed, indices, offsets, False, 0, True, weights, mapping, True))
    case = Case("embedding byte: unpacked weight")
    packed = case.call("quantized::embedding_bag_prepack", case.call("aten::quantize_per_channel", table, scales, zeros, 0, torch.quint8))
    case.expect(case.call("aten::dequantize.self", case.call("quantized::embedding_bag_unpack", packed)))


embeddings()
save(options.out)
