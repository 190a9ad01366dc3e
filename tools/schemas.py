#!/usr/bin/env python3
"""Writes the operator schema table `src/ir/schemas.txt` from an installed PyTorch.

A TorchScript archive names operators without their overload and leaves defaulted arguments out, so
whoever reads one needs the schemas. planish carries them as data; this script is the only place that
asks PyTorch for them.

An operator enters the table when it belongs to one of the NAMESPACES and its name does not match OTHER:
what is internal to PyTorch's executors and backends, gradients, linear algebra, sparse and nested tensors.

Every overload of such a name is written, in the order in which PyTorch registered it (the order in
which TorchScript tries overloads). Names that only write to a tensor that is given (`out`) and have
no plain overload stay out.

    tools/schemas.py --out src/ir/schemas.txt
"""

import argparse
import re
import sys
import warnings
from pathlib import Path

import torch
import torch.ao.quantization.fx._decomposed  # registers `quantized_decomposed`

NAMESPACES = ("aten", "prim", "quantized", "_quantized", "quantized_decomposed", "profiler")

# Names that no quantized module holds: the graph executor's own machinery, other backends, gradients, global switches.
OTHER = re.compile(
    r"Group|Guard|Graph|Subgraph|MKLDNN|Bailout|Broadcast|Sizes|Concat|PythonOp|BatchSide|GradCheck|TypeCheck|StaticRuntime"
    r"|AddStatValue|TimePoint|autocast|cufft|(?<!is_)cuda|cudnn|distributed|profil|autograd|rpc|vulkan|nnpack|sym_constrain"
    r"|backward|foreach|miopen|mps|xpu|nested|_test|mkldnn|sparse|cslt|_fused_|_fft_|flash|efficient|_sobol|_amp|compressed"
    r"|padded_dense|jagged|_convert_weight|_weight_int|_dyn_quant|wrapped_|grouped|_mixed|_sym_|_make_|_values|_indices|_nnz|_cholesky"
    r"|linalg_|special_|::fft_|::sym_|_symint|_functional_|_batch_dim|_version|fbgemm|dist_|_copy$|_triton|_propagate|_dirichlet|_functional$"
    r"|^profiler::|^quantized_decomposed::(?!(de)?quantize_per_(tensor|channel)$)"
)

# Names that a quantized module does hold, though they look like those.
KEPT = re.compile(
    r"::max_pool[123]d_with_indices$|::tri[lu]_indices$|::index_copy$|::linalg_(vector_norm|norm|matrix_norm|matmul|det|inv|matrix_power|multi_dot|slogdet|solve|cross|diagonal|vecdot)$"
    r"|::special_(expit|erf|erfc|exp2|expm1|log1p|logit|logsumexp|log_softmax|softmax|round|xlogy|xlog1py|entr|ndtr|sinc|digamma|gammaln|psi)$"
    r"|::narrow_copy$|^profiler::_record_function_(enter_new|exit)$"
)


def main():
    """Parses the command line, gathers operator names, writes the table."""
    args = parse_args()
    warnings.filterwarnings("ignore")
    schemas = torch._C._jit_get_all_schemas()

    wanted = lambda name: KEPT.search(name) or not OTHER.search(name)
    names = {s.name for s in schemas if s.name.split("::")[0] in NAMESPACES and wanted(s.name)}
    table = render(names)
    args.out.write_text(table)
    lines = [line for line in table.splitlines() if not line.startswith("#")]
    print(f"{args.out}: {len(lines)} schemas", file=sys.stderr)


def parse_args():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    return parser.parse_args()


def render(names):
    """The table as text: names in ASCII order, overloads in registration order."""
    lines = [
        f"# Operator schemas of PyTorch {torch.__version__.split('+')[0]}, made by tools/schemas.py.",
        "# One schema a line; names in ASCII order, overloads of one name in the order of registration,",
        "# which is the order in which TorchScript tries them. SymInt is written int.",
    ]
    for name in sorted(names):
        overloads = torch._C._jit_get_schemas_for_operator(name)
        if not all(any(a.kwarg_only and a.is_out for a in schema.arguments) for schema in overloads):
            lines.extend(str(schema).replace("SymInt", "int") for schema in overloads)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
