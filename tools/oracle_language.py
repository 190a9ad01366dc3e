"""Modules that use the language: in-place operators, containers, classes, hooks, states, and numbers at the ends of their range.

The tables of `oracle_cases.py` go through operators and layers; these go through what a program can be besides. `--only 'say_*'` makes
them alone.
"""

import enum
import math
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oracle_cases import IMAGE, LINE, ROW, VOLUME, Case, conv, warmed, written

CONFIGS = ("pt7", "pc7", "pc8", "pt8", "fbgemm", "x86", "qnnpack", "onednn")
DYNAMIC = ("dyn", "dyn_pc", "fp16")
# What tracing loses.
FLOWS = ("if ", "while", "for ", "item")

# Lines of `forward` of a module with the convolutions `c` (padded) and `c2`, a number `p` to learn and a plain one `v`.
LINES = {
    "inplace_unsqueeze": "y = s.c(x)\ny.unsqueeze_(0)\nreturn y.squeeze(0) + 1",
    "inplace_squeeze": "y = s.c(x)[:, :1]\ny.squeeze_(1)\nreturn y.unsqueeze(1)",
    "inplace_t": "y = s.c(x)[0, 0]\ny.t_()\nreturn y @ y.t()",
    "inplace_transpose": "y = s.c(x)\ny.transpose_(2, 3)\nreturn s.c2(y)",
    "inplace_swapaxes": "y = s.c(x)\ny.swapaxes_(2, 3)\nreturn s.c2(y)",
    "inplace_input_unsqueeze": "x.unsqueeze_(0)\nreturn s.c(x.squeeze(0)) + x.dim()",
    "inplace_input_transpose": "x.transpose_(2, 3)\nreturn s.c(x)",
    "inplace_resize": "y = s.c(x)\ny.resize_(2, 4, 6, 7)\nreturn s.c2(y)",
    "inplace_detach": "y = s.c(x)\ny.detach_()\nreturn s.c2(y)",
    "inplace_alias_unsqueeze": "y = s.c(x)\nz = y\nz.unsqueeze_(0)\nreturn y",
    "inplace_unsqueeze_branch": "y = s.c(x)\nif y.size(0) > 1:\n    y.unsqueeze_(0)\nreturn y",
    "inplace_unsqueeze_loop": "y = s.c(x)\nfor i in range(2):\n    y.unsqueeze_(0)\nreturn y",
    "inplace_unsqueeze_chain": "return s.c2(s.c(x).unsqueeze_(0).squeeze_(0))",
    "inplace_unsqueeze_view": "y = s.c(x)\nv = y[0]\nv.unsqueeze_(0)\nv.add_(1.0)\nreturn y + v",
    "set_item_mask": "y = s.c(x)\ny[y < 0] = 0.25\nreturn s.c2(y)",
    "set_item_slice_tensor": "y = s.c(x)\ny[:, 1:3] = x[:, :2]\nreturn s.c2(y)",
    "iadd_item": "y = s.c(x)\ny[:, 0] += 1.0\nreturn y",
    "out_variant": "y = s.c(x)\nz = torch.empty_like(y)\ntorch.add(y, y, out=z)\nreturn z",
    "fill_": "y = s.c(x)\ny[0].fill_(1.5)\nreturn s.c2(y)",
    "masked_fill_": "y = s.c(x)\ny.masked_fill_(y < 0, 0.5)\nreturn s.c2(y)",
    "add__alpha": "y = s.c(x)\ny.add_(s.c(x), alpha=2)\nreturn y",
    "sub__": "y = s.c(x)\ny -= 1.0\nreturn y",
    "div__": "y = s.c(x)\ny /= 2.0\nreturn s.c2(y)",
    "mul_tensor_scalar": "return s.c(x) * torch.tensor(0.5)",
    "mul_0d_param": "return s.c(x) * s.p",
    "add_0d_param": "return F.relu(s.c(x) + s.p)",
    "floor_divide": "return s.c(x) // 0.5",
    "remainder": "return s.c(x) % 0.5",
    "fmod": "return torch.fmod(s.c(x), 0.5)",
    "pow_int": "return s.c(x).pow(3)",
    "pow_neg": "return (s.c(x).abs() + 1.0).pow(-0.5)",
    "rpow": "return 2.0 ** s.c(x)",
    "rdiv": "return 1.0 / (s.c(x).abs() + 1.0)",
    "true_divide": "return torch.true_divide(s.c(x), 3)",
    "div_rounding": "return torch.div(s.c(x), 0.3, rounding_mode='trunc')",
    "logical": "y = s.c(x)\nreturn torch.logical_and(y > 0, y < 1).float()",
    "bitand": "y = s.c(x)\nreturn ((y > 0) & (y < 1)).float() * y",
    "isnan": "y = s.c(x)\nreturn torch.isnan(y).any().float() + y",
    "nan_to_num": "return s.c2(torch.nan_to_num(s.c(x)))",
    "any_all": "y = s.c(x)\nif bool((y > -1000).all()):\n    y = y + 1\nreturn y",
    "item_cond": "y = s.c(x)\nif y.sum().item() > 1e6:\n    y = y * 2\nreturn s.c2(y)",
    "int_of_tensor": "y = s.c(x)\nn = int(y.max())\nreturn y + n",
    "float_of_tensor": "y = s.c(x)\nreturn y * float(y.mean())",
    "shape_unpack": "y = s.c(x)\nn, c, h, w = y.size()\nreturn y.reshape(n * c, h * w)",
    "size_list": "y = s.c(x)\nreturn y.reshape(y.shape[:2] + [-1])",
    "list_comp": "ys = [s.c(x) + float(i) for i in range(3)]\nreturn torch.stack(ys).sum(0)",
    "list_index": "ys = [s.c(x), s.c2(x)]\nreturn ys[-1]",
    "list_slice": "y = s.c(x)\nys = [y, y + 1, y + 2]\nreturn torch.cat(ys[1:], 1)",
    "list_reverse": "y = s.c(x)\nys = [y, y * 2]\nys.reverse()\nreturn torch.cat(ys, 1)",
    "list_insert": "y = s.c(x)\nys = [y]\nys.insert(0, y * 2)\nreturn torch.cat(ys, 1)",
    "list_extend": "y = s.c(x)\nys = [y]\nys.extend([y, F.relu(y)])\nreturn torch.cat(ys, 1)",
    "list_pop": "y = s.c(x)\nys = [y, F.relu(y)]\nz = ys.pop()\nreturn z + ys[0]",
    "list_clear": "y = s.c(x)\nys = [y, F.relu(y)]\nys.clear()\nys.append(y)\nreturn ys[0]",
    "list_mul": "y = s.c(x)\nreturn torch.cat([y] * 3, 1)",
    "list_setitem": "y = s.c(x)\nys = [y, y]\nys[0] = F.relu(y)\nreturn torch.cat(ys, 1)",
    "list_of_lists": "y = s.c(x)\nys = [[y, y], [F.relu(y)]]\nreturn torch.cat(ys[0] + ys[1], 1)",
    "dict_loop": "y = s.c(x)\nd = {'a': y, 'b': F.relu(y)}\nz = torch.zeros_like(y)\nfor k, v in d.items():\n    z = z + v\nreturn z",
    "dict_get": "y = s.c(x)\nd = {'a': y}\nz = d.get('b')\nif z is None:\n    z = y\nreturn z",
    "dict_int_key": "y = s.c(x)\nd = {1: y, 2: F.relu(y)}\nreturn d[1] + d[2]",
    "dict_contains": "y = s.c(x)\nd = {'a': y}\nif 'a' in d:\n    y = d['a'] + 1\nreturn y",
    "dict_update": "y = s.c(x)\nd = {'a': y}\nd['a'] = F.relu(y)\nd['b'] = y\nreturn torch.cat(list(d.values()), 1)",
    "dict_pop": "y = s.c(x)\nd = {'a': y, 'b': y * 2}\nz = d.pop('a')\nreturn z + len(d)",
    "dict_keys": "y = s.c(x)\nd = {'a': y, 'b': y * 2}\nn = 0\nfor k in d.keys():\n    n += len(k)\nreturn d['a'] + n",
    "dict_comp": "y = s.c(x)\nd = {i: y * float(i) for i in range(3)}\nreturn d[2]",
    "tuple_index": "t = (s.c(x), s.c2(x))\nreturn t[1]",
    "tuple_swap": "a, b = s.c(x), s.c(x + 1)\na, b = b, a\nreturn a - b",
    "tuple_slice": "t = (s.c(x), 3, 4)\nu = t[1:]\nreturn t[0] * (u[0] + u[1])",
    "tuple_eq": "t = (x.size(0), x.size(1))\ny = s.c(x)\nif t == (2, 4):\n    y = y + 1\nreturn y",
    "str_ops": "n = 'abc'.upper().find('C')\nreturn s.c(x) + n",
    "str_format": "m = 'shape {} {:}'.format(x.size(0), 'a')\nreturn s.c(x) + len(m)",
    "fstring": "m = f'n={x.size(0)}'\nreturn s.c(x) + len(m)",
    "str_compare": "m = 'relu'\ny = s.c(x)\nif m == 'relu':\n    y = F.relu(y)\nelif m == 'gelu':\n    y = F.gelu(y)\nreturn y",
    "str_join": "m = ','.join(['a', 'bc'])\nreturn s.c(x) + len(m.split(','))",
    "math_sqrt": "return s.c(x) / math.sqrt(x.size(1))",
    "math_ceil": "return F.adaptive_avg_pool2d(s.c(x), math.ceil(x.size(2) / 2))",
    "math_log": "return s.c(x) * math.log(x.size(1) + math.pi) * math.pow(2, 0.5)",
    "math_floor": "return s.c(x) * math.floor(2.7) + math.fabs(-1.5)",
    "int_arith": "n = x.size(2)\nreturn s.c(x) + (n // 2 + n % 3 - n ** 2 + (n << 1) + abs(-n) + min(n, 3) + max(n, 9))",
    "float_arith": "f = 2.5\nreturn s.c(x) + (f // 2.0 + f % 2.0 - f ** 2 + round(f) + int(f) + float(3))",
    "bool_arith": "a = x.size(0) == 2\nb = not a\nreturn s.c(x) + int(a or b) + float(a and not b)",
    "ternary": "y = s.c(x)\nreturn F.relu(y) if x.size(0) > 1 else y",
    "ternary_nested": "y = s.c(x)\nreturn (F.relu(y) if x.size(1) == 3 else s.c2(y)) if x.size(0) > 1 else y",
    "chained_compare": "y = s.c(x)\nif 1 < x.size(0) <= 4:\n    y = y * 2\nreturn y",
    "while_cond": "y = s.c(x)\ni = 0\nwhile i < 10 and i * i < 20:\n    y = y + 1\n    i += 1\nreturn y",
    "while_tensor": "y = s.c(x)\nn = 0\nwhile bool(y.abs().max() > 0.5):\n    y = y * 0.5\n    n += 1\nreturn y + n",
    "loop_continue": "y = s.c(x)\nfor i in range(5):\n    if i % 2 == 0:\n        continue\n    y = y + float(i)\nreturn y",
    "loop_return": "y = s.c(x)\nfor i in range(5):\n    y = y + 1\n    if i > 2:\n        return y * 2\nreturn y",
    "loop_nested": "y = s.c(x)\nfor i in range(2):\n    for j in range(i + 1):\n        y = F.relu(s.c(y)) + j\nreturn y",
    "loop_step": "y = s.c(x)\nfor i in range(4, 0, -2):\n    y = y * float(i)\nreturn y",
    "loop_tensor": "y = s.c(x)\nz = torch.zeros_like(y[0])\nfor r in y:\n    z = z + r\nreturn z",
    "loop_zip": "y = s.c(x)\nfor a, b in zip([1, 2], [3.0, 4.0]):\n    y = y * b + a\nreturn y",
    "loop_enum": "y = s.c(x)\nfor i, a in enumerate([1.5, 2.5]):\n    y = y * a + i\nreturn y",
    "loop_str": "y = s.c(x)\nfor k in 'abc':\n    if k == 'b':\n        y = y + 1\nreturn y",
    "sorted": "n = sorted([3, 1, 2])\nreturn s.c(x) + n[0] + sum(n)",
    "len_list": "n = [1, 2, 3]\nreturn s.c(x) * len(n) + max(n) + min(n)",
    "del_var": "y = s.c(x)\nz = y * 2\ndel z\nreturn y",
    "assert_shape": "y = s.c(x)\nassert y.shape[1] == 4, f'channels {y.shape[1]}'\nreturn s.c2(y)",
    "torch_check": "torch._assert(x.size(0) == 2, 'two')\nreturn s.c(x)",
    "no_grad_nest": "with torch.no_grad():\n    y = s.c(x)\n    with torch.autograd.profiler.record_function('part'):\n        y = F.relu(y)\nreturn y",
    "annotated_list": "a = torch.jit.annotate(List[Tensor], [])\na.append(s.c(x))\nreturn a[0]",
    "optional_var": "z: Optional[Tensor] = None\nif x.size(0) > 1:\n    z = s.c(x)\nif z is None:\n    return x\nelse:\n    return z",
    "unchecked_opt": "z: Optional[Tensor] = s.c(x)\nassert z is not None\nreturn s.c2(z)",
    "cast_int": "return s.c(x).int().float()",
    "cast_long": "return s.c(x).to(torch.int64)",
    "cast_half_back": "return s.c2(s.c(x).half().float())",
    "cast_bfloat": "return s.c2(s.c(x).bfloat16().float())",
    "cast_double_back": "return s.c2(s.c(x).double().float())",
    "cast_bool": "return s.c(x).bool().float()",
    "cast_u8": "return (s.c(x).clamp(0, 5) * 10).to(torch.uint8)",
    "to_other": "return s.c(x).to(x)",
    "to_copy": "return s.c2(s.c(x).to(torch.float32, copy=True))",
    "cpu": "return s.c2(s.c(x).cpu())",
    "requires_grad": "return s.c2(s.c(x).requires_grad_(False))",
    "data_attr": "return s.c2(s.c(x).data)",
    "T": "return s.c(x)[0, 0].T",
    "mT": "return s.c(x).mT",
    "view_as": "return s.c(x).view_as(x)",
    "reshape_as": "return s.c(x).reshape_as(x)",
    "expand_as": "y = s.c(x)\nreturn y[:, :1].expand_as(y)",
    "flatten2": "return torch.flatten(s.c(x), start_dim=2)",
    "ravel": "return s.c(x).ravel()",
    "squeeze_all": "return s.c(x)[:1, :1].squeeze()",
    "squeeze_multi": "return s.c(x)[:1, :1].squeeze([0, 1])",
    "permute_f": "return torch.permute(s.c(x), [0, 2, 3, 1])",
    "permute_conv": "return s.c2(s.c(x).permute(0, 1, 3, 2))",
    "moveaxis": "return s.c(x).moveaxis(1, -1)",
    "rot90": "return torch.rot90(s.c(x), 1, [2, 3])",
    "fliplr": "return torch.fliplr(s.c(x))",
    "diagonal": "return s.c(x)[0, 0].diagonal()",
    "tril": "return torch.tril(s.c(x)[0, 0])",
    "triu": "return torch.triu(s.c(x)[0, 0], 1)",
    "diag_embed": "return torch.diag_embed(s.c(x)[0, 0, 0])",
    "as_strided": "return s.c(x).as_strided([2, 3], [1, 2])",
    "unfold_m": "return s.c(x).unfold(2, 3, 1)",
    "vsplit": "return torch.cat(torch.vsplit(s.c(x)[0, 0, :6], 2), 1)",
    "dsplit": "return s.c(x).hsplit(2)[0]",
    "column_stack": "y = s.c(x)[0, 0]\nreturn torch.column_stack([y, y])",
    "vstack": "y = s.c(x)\nreturn torch.vstack([y, y])",
    "dstack": "y = s.c(x)\nreturn torch.dstack([y, y])",
    "block_diag": "y = s.c(x)[0, 0]\nreturn torch.block_diag(y, y)",
    "cross": "y = s.c(x)[:, :3]\nreturn torch.cross(y, y + 1, dim=1)",
    "cdist": "y = s.c(x).flatten(2)\nreturn torch.cdist(y, y)",
    "baddbmm": "y = s.c(x)[0]\nreturn torch.baddbmm(torch.zeros([4, 7, 7]), y, y.transpose(1, 2))",
    "addmv": "y = s.c(x)[0, 0]\nreturn torch.mv(y, y[0])",
    "outer": "y = s.c(x)[0, 0, 0]\nreturn torch.outer(y, y)",
    "dot": "y = s.c(x).flatten()\nreturn torch.dot(y, y)",
    "tensordot": "y = s.c(x)[0]\nreturn torch.tensordot(y, y, dims=([0, 1, 2], [0, 1, 2]))",
    "kron": "y = s.c(x)[0, 0]\nreturn torch.kron(y, y)",
    "matmul_self": "y = s.c(x)\nreturn y @ y.transpose(-1, -2)",
    "sum_all": "return s.c(x).sum()",
    "sum_keep": "return s.c2(s.c(x).sum(1, keepdim=True).expand(2, 4, 7, 6))",
    "var": "return s.c(x).var([2, 3])",
    "var_mean": "v, m = torch.var_mean(s.c(x), [2, 3])\nreturn v + m",
    "std_unbiased": "return s.c(x).std(1, unbiased=False)",
    "median": "return s.c(x).median()",
    "median_dim": "return s.c(x).median(1)[0]",
    "kthvalue": "return s.c(x).kthvalue(2, 1)[0]",
    "quantile": "return torch.quantile(s.c(x), 0.5, 1)",
    "mode": "return s.c(x).mode(1)[0]",
    "cumprod": "return s.c(x).cumprod(1)",
    "cummax": "return s.c(x).cummax(1)[0]",
    "logcumsumexp": "return s.c(x).logcumsumexp(1)",
    "logsumexp": "return s.c(x).logsumexp([1])",
    "max_pair": "return torch.max(s.c(x), x)",
    "min_pair": "return torch.min(s.c(x), x)",
    "minimum": "return torch.minimum(s.c(x), s.c(x + 1))",
    "aminmax": "a, b = torch.aminmax(s.c(x), dim=1)\nreturn a + b",
    "argmin": "return s.c(x).argmin(1)",
    "argsort": "return s.c(x).argsort(1)",
    "nonzero": "return (s.c(x) > 1e6).nonzero()",
    "count_nonzero": "return torch.count_nonzero(s.c(x) > 0)",
    "unique": "return (s.c(x) > 0).unique()",
    "bincount": "return torch.bincount((s.c(x) > 0).int().flatten())",
    "scatter": "y = s.c(x)\nreturn y.scatter(1, torch.zeros([2, 1, 7, 6], dtype=torch.long), 1.0)",
    "scatter_add": "y = s.c(x)\nreturn y.scatter_add(1, torch.zeros([2, 1, 7, 6], dtype=torch.long), x)",
    "index_add": "y = s.c(x)\nreturn y.index_add(1, torch.tensor([0, 2]), x[:, :2])",
    "index_put": "y = s.c(x)\ny[torch.tensor([0]), torch.tensor([1])] = 0.5\nreturn y",
    "index_fill": "return s.c(x).index_fill(1, torch.tensor([0]), 0.5)",
    "index_copy": "return s.c(x).index_copy(1, torch.tensor([0]), x[:, :1])",
    "masked_select": "y = s.c(x)\nreturn y.masked_select(y > 0)",
    "masked_scatter": "y = s.c(x)\nreturn y.masked_scatter(x > 0, x)",
    "take": "return s.c(x).take(torch.tensor([1, 5]))",
    "take_along": "y = s.c(x)\nreturn torch.take_along_dim(y, y.argsort(1), 1)",
    "where_scalar": "y = s.c(x)\nreturn torch.where(y > 0, y, 0.5)",
    "heaviside": "y = s.c(x)\nreturn torch.heaviside(y, torch.tensor(0.5))",
    "clamp_tensor": "return torch.clamp(s.c(x), min=torch.tensor(0.1))",
    "clamp_param": "return s.c(x).clamp(max=s.v)",
    "clamp_max_": "return s.c2(s.c(x).clamp_max_(0.4))",
    "clamp_min_": "return s.c2(s.c(x).clamp_min_(0.1))",
    "relu6_after_add": "return F.relu6(s.c(x) + s.c(x + 1))",
    "hardswish_after_add": "return F.hardswish(s.c(x) + s.c(x + 1), inplace=True)",
    "hardtanh_0_6": "return F.hardtanh(s.c(x), 0.0, 6.0)",
    "relu_relu6": "return F.relu6(F.relu(s.c(x)))",
    "rrelu": "return F.rrelu(s.c(x), 0.1, 0.3, False)",
    "prelu_f": "return F.prelu(s.c(x), torch.tensor([0.2]))",
    "glu": "return F.glu(s.c(x), 1)",
    "silu_": "return s.c2(F.silu(s.c(x), inplace=True))",
    "gelu_tanh": "return s.c2(F.gelu(s.c(x), approximate='tanh'))",
    "softmin": "return F.softmin(s.c(x), 1)",
    "softmax_dtype": "return F.softmax(s.c(x), 1, dtype=torch.float32)",
    "gumbel_hard": "return F.softplus(s.c(x), 2.0, 3.0)",
    "hardshrink": "return F.hardshrink(s.c(x), 0.3)",
    "threshold_": "return s.c2(F.threshold_(s.c(x), 0.1, 0.0))",
    "celu_": "return s.c2(F.celu_(s.c(x)))",
    "selu_": "return s.c2(F.selu_(s.c(x)))",
    "logit": "return torch.logit(torch.sigmoid(s.c(x)), 1e-3)",
    "log1p": "return torch.log1p(s.c(x).abs())",
    "expm1": "return torch.expm1(s.c(x))",
    "exp2": "return torch.exp2(s.c(x))",
    "log2": "return torch.log2(s.c(x).abs() + 1)",
    "log10": "return torch.log10(s.c(x).abs() + 1)",
    "cos": "return torch.cos(s.c(x))",
    "tan": "return torch.tan(s.c(x) * 0.1)",
    "atan": "return torch.atan(s.c(x))",
    "atan2": "return torch.atan2(s.c(x), x)",
    "asin": "return torch.asin(s.c(x).clamp(-1, 1))",
    "sinh": "return torch.sinh(s.c(x))",
    "cosh": "return torch.cosh(s.c(x))",
    "acosh": "return torch.asinh(s.c(x))",
    "erfc": "return torch.erfc(s.c(x))",
    "lgamma": "return torch.lgamma(s.c(x).abs() + 1)",
    "digamma": "return torch.digamma(s.c(x).abs() + 1)",
    "sinc": "return torch.sinc(s.c(x))",
    "xlogy": "return torch.xlogy(s.c(x).abs(), x.abs() + 1)",
    "hypot": "return torch.hypot(s.c(x), x)",
    "copysign": "return torch.copysign(s.c(x), x)",
    "trunc": "return s.c2(torch.trunc(s.c(x)))",
    "frac": "return s.c2(torch.frac(s.c(x)))",
    "ceil": "return s.c2(torch.ceil(s.c(x)))",
    "round_dec": "return torch.round(s.c(x), decimals=1)",
    "deg2rad": "return torch.deg2rad(s.c(x))",
    "mse": "return F.mse_loss(s.c(x), x)",
    "l1": "return F.l1_loss(s.c(x), x, reduction='none')",
    "smooth_l1": "return F.smooth_l1_loss(s.c(x), x)",
    "bce": "return F.binary_cross_entropy_with_logits(s.c(x), torch.ones_like(x))",
    "cross_entropy": "return F.cross_entropy(s.c(x).mean([2, 3]), torch.tensor([0, 1]))",
    "kl_div": "return F.kl_div(F.log_softmax(s.c(x), 1), F.softmax(x, 1), reduction='sum')",
    "cosine": "return F.cosine_similarity(s.c(x), x, dim=1)",
    "pairwise": "return F.pairwise_distance(s.c(x).flatten(1), x.flatten(1))",
    "lrn": "return F.local_response_norm(s.c(x), 2)",
    "rms_norm": "return F.rms_norm(s.c(x), [6])",
    "batch_norm_f": "return F.batch_norm(s.c(x), torch.zeros(4), torch.ones(4))",
    "batch_norm_train": "return F.batch_norm(s.c(x), torch.zeros(4), torch.ones(4), training=True)",
    "instance_norm_in": "return s.c2(F.instance_norm(s.c(x), None, None, torch.ones(4), torch.zeros(4)))",
    "group_norm_w": "return s.c2(F.group_norm(s.c(x), 4, torch.ones(4), torch.zeros(4), 1e-3))",
    "layer_norm_w": "return s.c2(F.layer_norm(s.c(x), [6], torch.ones(6), torch.zeros(6), 1e-3))",
    "pad_replicate": "return s.c2(F.pad(s.c(x), [1, 0, 2, 1], mode='replicate'))",
    "pad_circular": "return s.c2(F.pad(s.c(x), [1, 1, 1, 1], mode='circular'))",
    "pad_negative": "return s.c2(F.pad(s.c(x), [-1, -1, 0, 0]))",
    "pad_channels": "return F.pad(s.c(x), [0, 0, 0, 0, 0, 2])",
    "pad_inf": "return F.max_pool2d(F.pad(s.c(x), [1, 1, 1, 1], value=float('-inf')), 2)",
    "avg_pool_opts": "return s.c2(F.avg_pool2d(s.c(x), [3, 2], [1, 1], [1, 1], False, False))",
    "max_pool_stride1": "return s.c2(F.max_pool2d(s.c(x), 3, stride=1, padding=1))",
    "lp_pool": "return F.lp_pool2d(s.c(x), 2.0, 2)",
    "adaptive_max_idx": "a, b = F.adaptive_max_pool2d(s.c(x), 2, return_indices=True)\nreturn a + b",
    "max_unpool": "a, b = F.max_pool2d(s.c(x), 2, return_indices=True)\nreturn F.max_unpool2d(a, b, 2)",
    "fold": "return F.fold(F.unfold(s.c(x), [2, 2]), [7, 6], [2, 2])",
    "interp_area": "return F.interpolate(s.c(x), size=[4, 4], mode='area')",
    "interp_down": "return s.c2(F.interpolate(s.c(x), scale_factor=0.8))",
    "interp_recompute": "return F.interpolate(s.c(x), scale_factor=1.3, recompute_scale_factor=True)",
    "interp_aa": "return F.interpolate(s.c(x), size=[4, 4], mode='bilinear', antialias=True)",
    "interp_bicubic_ac": "return F.interpolate(s.c(x), size=[9, 4], mode='bicubic', align_corners=True)",
    "affine_grid": "g = F.affine_grid(torch.tensor([[[1.0, 0.1, 0.0], [0.0, 1.0, 0.2]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), [2, 4, 7, 6], align_corners=False)\nreturn F.grid_sample(s.c(x), g, mode='nearest', padding_mode='border', align_corners=True)",
    "pixel_unshuffle": "return F.pixel_unshuffle(s.c(x)[:, :, :6], 2)",
    "embedding_arg": "return F.embedding(s.c(x).argmax(1), torch.arange(20.0).view(4, 5))",
    "one_hot": "return F.one_hot(s.c(x).argmax(1), 4)",
    "sdpa": "y = s.c(x)\nreturn F.scaled_dot_product_attention(y, y, y)",
    "sdpa_causal": "y = s.c(x)\nreturn F.scaled_dot_product_attention(y, y, y, is_causal=True)",
    "linspace": "y = s.c(x)\nreturn y + torch.linspace(0, 1, 6)",
    "eye": "y = s.c(x)\nreturn y[:, :, :6] @ torch.eye(6)",
    "new_zeros": "y = s.c(x)\nreturn y + y.new_zeros([6])",
    "new_full": "y = s.c(x)\nreturn y + y.new_full([6], 2.0)",
    "ones_like": "y = s.c(x)\nreturn y * torch.ones_like(y)",
    "full_like": "y = s.c(x)\nreturn y * torch.full_like(y, 0.5)",
    "empty_fill": "y = s.c(x)\nz = torch.empty([6])\nz.fill_(2.0)\nreturn y + z",
    "rand_seed": "y = s.c(x)\nreturn y + torch.zeros([6]).bernoulli_(0.0)",
    "tensor_list": "y = s.c(x)\nreturn y + torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])",
    "tensor_nested": "y = s.c(x)\nreturn y[0, 0, :2, :2] @ torch.tensor([[1.0, 2.0], [3.0, 4.0]])",
    "as_tensor": "y = s.c(x)\nreturn y + torch.as_tensor(3)",
    "mesh": "a, b = torch.meshgrid(torch.arange(7), torch.arange(6), indexing='ij')\nreturn s.c(x) + a + b",
    "cartesian": "return torch.cartesian_prod(torch.arange(2), torch.arange(3)) + s.c(x)[0, 0, :6, :2]",
    "broadcast_tensors": "a, b = torch.broadcast_tensors(s.c(x), torch.ones(6))\nreturn a * b",
    "broadcast_to": "return torch.broadcast_to(s.c(x)[:, :1], [2, 4, 7, 6])",
    "repeat_chan": "return s.c2(s.c(x)[:, :2].repeat(1, 2, 1, 1))",
    "repeat_inter_t": "return s.c(x).repeat_interleave(torch.tensor([1, 2, 0, 1]), 1)",
    "chunk3": "a, b, c = s.c(x).chunk(3, 2)\nreturn torch.cat([a, b, c], 2)",
    "chunk_dyn": "ys = s.c(x).chunk(2, 1)\nreturn ys[0] * ys[1]",
    "split_loop": "ys: List[Tensor] = []\nfor y in s.c(x).split(1, 1):\n    ys.append(F.relu(y))\nreturn torch.cat(ys, 1)",
    "stack_mean": "return torch.stack([s.c(x), s.c(x + 1)]).mean(0)",
    "sum_list": "ys = [s.c(x), s.c(x + 1), s.c(x + 2)]\nreturn ys[0] + ys[1] + ys[2]",
    "residual_chain": "y = F.relu(s.c(x) + x)\ny = F.relu(s.c(y) + y)\nreturn F.relu(s.c(y) + y)",
    "residual_inplace": "y = s.c(x)\ny += x\nF.relu_(y)\nreturn y",
    "relu_stmt": "y = s.c(x)\nF.relu(y, inplace=True)\nreturn s.c2(y)",
    "hardtanh_stmt": "y = s.c(x)\nF.hardtanh_(y, -0.5, 0.5)\nreturn s.c2(y)",
    "dropout_stmt": "y = s.c(x)\nF.dropout(y, 0.3, False, True)\nreturn s.c2(y)",
    "mul_stmt": "y = s.c(x)\ny.mul_(2)\nreturn s.c2(y)",
    "add_stmt": "y = s.c(x)\ny.add_(x)\nreturn s.c2(y)",
    "view_inplace": "y = s.c(x)\nv = y.view(2, -1)\nv.mul_(2.0)\nreturn y",
    "slice_inplace_two": "y = s.c(x)\na, b = y[:, :2], y[:, 2:]\na.add_(b)\nreturn s.c2(y)",
    "chunk_inplace": "y = s.c(x)\na, b = y.chunk(2, 1)\na.relu_()\nreturn s.c2(y)",
    "expand_write": "y = s.c(x).clone()\ny[0] = y[1]\nreturn y",
    "swish": "y = s.c(x)\nreturn y * torch.sigmoid(y)",
    "hswish_inplace_hand": "y = s.c(x)\nreturn y.mul(F.hardtanh(y + 3.0, 0.0, 6.0)).div(6.0)",
    "se": "y = s.c(x)\nreturn y * F.hardsigmoid(y.mean([2, 3], keepdim=True))",
    "attn_gate": "y = s.c(x)\nreturn y + y * torch.sigmoid(s.c(y))",
    "mean_mul": "y = s.c(x)\nreturn y * y.mean(1, keepdim=True)",
    "global_pool_conv": "return F.conv2d(F.adaptive_avg_pool2d(s.c(x), 1), s.c2.weight[:, :, :1, :1], None)",
    "conv_f_opts": "return F.conv2d(x, s.c.weight, None, stride=2, padding=1)",
    "conv_f_tuple": "return F.conv2d(x, s.c.weight, s.c.bias, (1, 2), (0, 1), (1, 1), 1)",
    "conv_f_same": "return F.conv2d(x, s.c.weight, s.c.bias, padding='same')",
    "torch_conv": "return torch.conv2d(x, s.c.weight, s.c.bias)",
    "conv_weight_scaled": "return F.conv2d(x, s.c.weight * 0.5, s.c.bias)",
    "conv_weight_norm": "return F.conv2d(x, s.c.weight / s.c.weight.norm(), s.c.bias)",
    "conv_weight_two": "return F.conv2d(x, s.c.weight, s.c.bias) + F.conv2d(x, s.c.weight, None)",
    "conv_weight_stride2": "return F.conv2d(F.conv2d(x, s.c.weight, s.c.bias, padding=1), s.c.weight, s.c.bias, 2)",
    "conv_weight_read": "return s.c(x) * s.c.weight.sum()",
    "conv_bias_read": "return s.c(x) + s.c.bias.view(1, 4, 1, 1)",
    "conv_dilated_f": "return F.conv2d(x, s.c.weight, s.c.bias, 1, 2, 2)",
    "conv_tr_f": "return F.conv_transpose2d(x, s.c.weight, s.c.bias, 2, 1, 1)",
    "linear_of_conv": "return F.linear(s.c(x), torch.ones([5, 6]))",
    "conv_nan": "return s.c(torch.where(x > 1, float('nan'), x))",
    "conv_inf": "return s.c(torch.where(x > 1, float('inf'), x))",
    "conv_tiny": "return s.c(x * 1e-30)",
    "conv_huge": "return s.c(x * 1e30)",
    "conv_zero": "return s.c(x * 0.0)",
    "conv_denormal": "return s.c(x * 1e-42)",
    "conv_const": "return s.c(torch.ones_like(x) * 3)",
    "saturate": "return s.c2(s.c(x).clamp(-0.01, 0.01) * 1e6)",
    "zero_batch": "return s.c(x[:0])",
    "one_batch": "return s.c2(s.c(x[:1]))",
    "noncontig": "return s.c(x.transpose(2, 3))",
    "strided_in": "return s.c(x[:, :, ::2])",
    "cl_output": "return s.c(x).to(memory_format=torch.channels_last)",
    "cl_view": "return s.c(x).contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).reshape(-1, 4)",
    "cl_clone": "return s.c2(s.c(x).clone(memory_format=torch.channels_last))",
    "stride_of": "return s.c(x) + s.c(x).stride(0)",
    "is_contig": "y = s.c(x)\nif y.is_contiguous():\n    y = y + 1\nreturn y",
    "is_float": "y = s.c(x)\nif y.is_floating_point():\n    y = y + 1\nreturn y",
    "is_quantized": "y = s.c(x)\nif y.is_quantized:\n    y = y + 1\nreturn y",
    "dtype_of": "y = s.c(x)\nif y.dtype == torch.float32:\n    y = y + 1\nreturn y.to(x.dtype)",
    "device_of": "y = s.c(x)\nreturn y + torch.ones([6], device=y.device, dtype=y.dtype)",
    "ndim": "y = s.c(x)\nreturn y + y.ndim + y.dim()",
    "size_neg": "y = s.c(x)\nreturn y + y.size(-1) * y.shape[-2]",
    "equal": "y = s.c(x)\nif torch.equal(y, y):\n    y = y + 1\nreturn y",
    "allclose": "y = s.c(x)\nif torch.allclose(y, y):\n    y = y + 1\nreturn y",
    "renorm": "return torch.renorm(s.c(x), 2, 1, 0.5)",
    "norm_dim": "return torch.norm(s.c(x), p=2.0, dim=1)",
    "linalg_norm": "return torch.linalg.vector_norm(s.c(x), dim=1)",
    "cumsum_flip": "return s.c(x).flip([1]).cumsum(1).flip([1])",
    "diff": "return s.c(x).diff(dim=2)",
    "searchsorted": "return torch.searchsorted(torch.tensor([0.0, 0.5]), s.c(x))",
    "bucketize": "return torch.bucketize(s.c(x), torch.tensor([0.0, 0.5]))",
    "histc": "return torch.histc(s.c(x), 4, -1.0, 1.0)",
    "trapz": "return torch.trapezoid(s.c(x))",
    "trace": "return s.c(x)[0, 0].trace()",
    "det": "return torch.det(s.c(x)[0, 0, :3, :3])",
    "quantize_hand": "q = torch.quantize_per_tensor(s.c(x), 0.05, 10, torch.quint8)\nreturn s.c2(q.dequantize())",
    "quantize_hand_int": "q = torch.quantize_per_tensor(s.c(x), 0.05, 10, torch.quint8)\nreturn q.int_repr()",
    "quantize_hand_scale": "q = torch.quantize_per_tensor(s.c(x), 0.05, 10, torch.quint8)\nreturn s.c2(x) * q.q_scale() + q.q_zero_point()",
    "fake_quant": "return s.c2(torch.fake_quantize_per_tensor_affine(s.c(x), 0.05, 10, 0, 255))",
    "qint8_hand": "return torch.dequantize(torch.quantize_per_tensor(s.c(x), 0.05, 0, torch.qint8))",
    "quantize_dyn": "return torch.quantize_per_tensor_dynamic(s.c(x), torch.quint8, False).dequantize()",
    "two_outputs_shared": "y = F.relu(s.c(x))\nreturn y + s.c2(F.pad(y, [1, 1, 1, 1]))",
}
# Lines that give something else than a tensor, and what.
MULTI = {
    "ret_optional_none": ("Optional[Tensor]", "y = s.c(x)\nif x.size(0) > 5:\n    return None\nreturn y"),
    "ret_dict_nested": ("Dict[str, List[Tensor]]", "y = s.c(x)\nreturn {'a': [y], 'b': [F.relu(y)]}"),
    "ret_tuple_same": ("Tuple[Tensor, Tensor]", "y = s.c(x)\nreturn y, y"),
    "ret_tuple_inplace": ("Tuple[Tensor, Tensor]", "y = s.c(x)\nz = y + 1\ny.add_(2)\nreturn y, z"),
    "ret_input": ("Tuple[Tensor, Tensor]", "return s.c(x), x"),
    "ret_list_slices": ("List[Tensor]", "return list(s.c(x).split(1, 1))"),
    "ret_tuple3": ("Tuple[Tensor, Tensor, Tensor]", "y = s.c(x)\nreturn y, y.mean([2, 3]), y.flatten(1)"),
    "ret_unbind": ("List[Tensor]", "return s.c(x).unbind(1)"),
    "ret_topk": ("Tuple[Tensor, Tensor]", "return s.c(x).topk(2, 1)"),
    "ret_max": ("Tuple[Tensor, Tensor]", "return s.c(x).max(1)"),
    "ret_sort": ("Tuple[Tensor, Tensor]", "y = s.c(x)\na, b = y.sort(1)\nreturn a, b"),
    "ret_param": ("Tuple[Tensor, Tensor]", "return s.c(x), s.c.bias"),
    "ret_views": ("Tuple[Tensor, Tensor]", "y = s.c(x)\nv = y[:, 0]\nv.add_(1.0)\nreturn y, v"),
    "ret_list_mut": ("List[Tensor]", "ys = [s.c(x)]\nfor i in range(2):\n    ys.append(s.c(ys[-1]))\nys[0] = F.relu(ys[0])\nreturn ys"),
}

class Mode(enum.Enum):
    A = 1
    B = 2

@torch.jit.script
class Box:
    """A class of the program's own."""

    def __init__(self, x: Tensor, n: int):
        self.x = x
        self.n = n
    def grow(self, y: Tensor) -> Tensor:
        self.x = self.x + y
        self.n += 1
        return self.x * self.n

class Pt(NamedTuple):
    a: Tensor
    n: int

def helper(x: Tensor, w: Tensor, b: Optional[Tensor] = None, k: int = 2) -> Tensor:
    return F.relu(F.conv2d(x, w, b)) * k

def recursive_free(x: Tensor) -> Tensor:
    return torch.sigmoid(x)

def inner_act(x: Tensor, kind: str) -> Tensor:
    if kind == "relu":
        return F.relu(x)
    elif kind == "hswish":
        return F.hardswish(x)
    return x

class EnumAttr(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.mode = conv(), Mode.B
    def forward(s, x):
        y = s.c(x)
        if s.mode == Mode.B:
            y = F.relu(y)
        return y + s.mode.value

class EnumLoop(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
    def forward(s, x):
        y = s.c(x)
        for m in Mode:
            y = y + m.value
        return y

class UsesBox(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
    def forward(s, x):
        y = s.c(x)
        b = Box(y, 1)
        z = b.grow(y)
        return z + b.x

class UsesPt(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
    def mk(s, x: Tensor) -> Pt:
        return Pt(s.c(x), 3)
    def forward(s, x):
        p = s.mk(x)
        return F.relu(p.a) * p.n

class CallsHelper(nn.Module):
    def __init__(s):
        super().__init__()
        s.w, s.b = nn.Parameter(torch.randn(4, 4, 3, 3)), nn.Parameter(torch.randn(4))
    def forward(s, x):
        return helper(x, s.w, s.b) + helper(x, s.w, k=3)

class ActByName(nn.Module):
    def __init__(s, kind):
        super().__init__()
        s.c, s.c2, s.kind = conv(), conv(), kind
    def forward(s, x):
        return inner_act(s.c2(inner_act(s.c(x), s.kind)), "relu")

class Hooked(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.c2 = conv(), conv()
    def forward(s, x):
        return s.c2(s.c(x))

def pre_hook(self, input: Tuple[Tensor]) -> Tuple[Tensor]:
    return (input[0] * 2,)
def fwd_hook(self, input: Tuple[Tensor], output: Tensor) -> Tensor:
    return F.relu(output)

class Inner(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv(padding=1)
    def forward(s, x: Tensor) -> Tensor:
        return s.c(x)

class HookedSub(nn.Module):
    def __init__(s, pre, post):
        super().__init__()
        s.i, s.c2 = Inner(), conv()
        if pre: s.i.register_forward_pre_hook(pre_hook)
        if post: s.i.register_forward_hook(fwd_hook)
    def forward(s, x):
        return s.c2(s.i(x))

def hooked_root():
    net = Inner()
    net.register_forward_hook(fwd_hook)
    return net

class ParamList(nn.Module):
    def __init__(s):
        super().__init__()
        s.ws = nn.ParameterList([nn.Parameter(torch.randn(4, 4, 3, 3)) for _ in range(2)])
    def forward(s, x):
        for w in s.ws:
            x = F.relu(F.conv2d(x, w))
        return x

class ParamDict(nn.Module):
    def __init__(s):
        super().__init__()
        s.ws = nn.ParameterDict({"a": nn.Parameter(torch.randn(5, 5)), "b": nn.Parameter(torch.randn(5))})
    def forward(s, x):
        return F.linear(x, s.ws["a"], s.ws["b"])

class BufferState(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv(padding=1)
        s.register_buffer("avg", torch.zeros(4))
    def forward(s, x):
        y = s.c(x)
        s.avg = s.avg * 0.9 + y.mean([0, 2, 3]) * 0.1
        return y - s.avg.view(1, 4, 1, 1)

class BufferInplace(BufferState):
    def forward(s, x):
        y = s.c(x)
        s.avg.mul_(0.9).add_(y.mean([0, 2, 3]), alpha=0.1)
        return y - s.avg.view(1, 4, 1, 1)

class BufferItem(BufferState):
    def forward(s, x):
        y = s.c(x)
        s.avg[0] = 5.0
        return y + s.avg.view(1, 4, 1, 1)

class Ring(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv(padding=1)
        s.seen: List[Tensor] = []
    def forward(s, x):
        y = s.c(x)
        s.seen.append(y)
        return torch.cat(s.seen, 1)

class DictState(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv(padding=1)
        s.d: Dict[str, int] = {"n": 0}
    def forward(s, x):
        s.d["n"] = s.d["n"] + 1
        return s.c(x) + s.d["n"]

class OptAttr(nn.Module):
    def __init__(s, v):
        super().__init__()
        s.c = conv()
        s.v: Optional[Tensor] = v
    def forward(s, x):
        y = s.c(x)
        v = s.v
        if v is not None:
            y = y + v
        return y

class NoneSub(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.down = None
    def forward(s, x):
        y = s.c(x)
        if s.down is not None:
            y = s.down(y)
        return F.relu(y)

class TupleAttr(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.t: Tuple[Tensor, Tensor] = (torch.randn(4, 1, 1), torch.randn(4, 1, 1))
        s.names = ["a", "b"]
    def forward(s, x):
        return s.c(x) * s.t[0] + s.t[1] + len(s.names)

class DictTensorAttr(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.d: Dict[str, Tensor] = {"a": torch.randn(4, 1, 1)}
    def forward(s, x):
        return s.c(x) * s.d["a"]

class NestedDeep(nn.Module):
    def __init__(s, n):
        super().__init__()
        s.c = conv(padding=1)
        s.n = NestedDeep(n - 1) if n else nn.Identity()
    def forward(s, x):
        return s.n(F.relu(s.c(x)))

class SharedConvTwoBN(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.b1, s.b2 = conv(padding=1), warmed(nn.BatchNorm2d(4)), warmed(nn.BatchNorm2d(4))
    def forward(s, x):
        return s.b1(s.c(x)) + s.b2(s.c(x))

class SharedBN(nn.Module):
    def __init__(s):
        super().__init__()
        s.c1, s.c2, s.b = conv(padding=1), conv(padding=1), warmed(nn.BatchNorm2d(4))
    def forward(s, x):
        return s.b(s.c2(s.b(s.c1(x))))

class TiedTranspose(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = nn.Linear(5, 5)
    def forward(s, x):
        return F.linear(s.a(x), s.a.weight.t())

class TiedConvs(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = conv(padding=1), conv(padding=2, dilation=2)
        s.b.weight = s.a.weight
    def forward(s, x):
        return s.a(x) + s.b(x)

class TiedEmbedding(nn.Module):
    def __init__(s):
        super().__init__()
        s.e = nn.Embedding(10, 6)
        s.l = nn.Linear(6, 10, bias=False)
        s.l.weight = s.e.weight
    def forward(s, x):
        return s.l(s.e((x.abs() * 3).long().clamp(0, 9)))

class ViewBuffers(nn.Module):
    def __init__(s):
        super().__init__()
        base = torch.randn(8, 5)
        s.register_buffer("w1", base[:4])
        s.register_buffer("w2", base[4:])
    def forward(s, x):
        return F.linear(x, s.w1) + F.linear(x, s.w2)

class HalfBuffer(nn.Module):
    def __init__(s, dtype):
        super().__init__()
        s.c = conv()
        s.register_buffer("h", torch.randn(4, 1, 1).to(dtype))
    def forward(s, x):
        return s.c(x) + s.h.float()

class IntBuffer(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.Linear(5, 5)
        s.register_buffer("idx", torch.tensor([4, 0, 1, 2, 3]))
    def forward(s, x):
        return s.l(x)[:, s.idx]

class ZeroDim(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.scale = nn.Parameter(torch.tensor(0.5))
        s.n: int = 3
    def forward(s, x):
        return s.c(x) * s.scale + s.n

class LoopModules(nn.Module):
    def __init__(s):
        super().__init__()
        s.convs = nn.ModuleList([conv(padding=1) for _ in range(4)])
        s.acts = nn.ModuleList([nn.ReLU(), nn.Hardswish(), nn.Identity(), nn.ReLU6()])
    def forward(s, x):
        outs = []
        for c, a in zip(s.convs, s.acts):
            x = a(c(x))
            outs.append(x)
        return torch.cat(outs[1::2], 1)

class SliceList(LoopModules):
    def forward(s, x):
        for c in s.convs[1:3]:
            x = c(x)
        return s.convs[-1](x)

class DictOfModules(nn.Module):
    def __init__(s):
        super().__init__()
        s.d = nn.ModuleDict({"stem": conv(padding=1), "head": conv()})
    def forward(s, x):
        return s.d["head"](F.relu(s.d["stem"](x)))

class SeqOfSeq(nn.Module):
    def __init__(s):
        super().__init__()
        blk = lambda: nn.Sequential(conv(padding=1, bias=False), warmed(nn.BatchNorm2d(4)), nn.ReLU(True))
        s.m = nn.Sequential(blk(), nn.Sequential(blk(), blk()), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    def forward(s, x):
        return s.m(x)

class UNet(nn.Module):
    def __init__(s):
        super().__init__()
        s.d1, s.d2, s.up, s.o = conv(padding=1), conv(padding=1), nn.ConvTranspose2d(4, 4, 2, 2), conv(8, 3, 1)
    def forward(s, x):
        a = F.relu(s.d1(x))
        b = F.relu(s.d2(F.max_pool2d(a, 2)))
        u = s.up(b)
        u = F.pad(u, [0, a.size(3) - u.size(3), 0, a.size(2) - u.size(2)])
        return s.o(torch.cat([a, u], 1))

class UNetInterp(UNet):
    def forward(s, x):
        a = F.relu(s.d1(x))
        b = F.relu(s.d2(F.max_pool2d(a, 2)))
        return s.o(torch.cat([a, F.interpolate(b, size=a.shape[-2:], mode="bilinear", align_corners=False)], 1))

class FPN(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b, s.l1, s.l2 = conv(padding=1), conv(padding=1, stride=2), conv(4, 4, 1), conv(4, 4, 1)
    def forward(s, x):
        p1 = F.relu(s.a(x))
        p2 = F.relu(s.b(p1))
        t2 = s.l2(p2)
        t1 = s.l1(p1) + F.interpolate(t2, size=p1.shape[-2:], mode="nearest")
        return {"p1": t1, "p2": t2}

class ASPP(nn.Module):
    def __init__(s):
        super().__init__()
        s.b = nn.ModuleList([conv(padding=d, dilation=d) for d in (1, 2, 3)])
        s.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(4, 4, 1), nn.ReLU())
        s.o = conv(16, 4, 1)
    def forward(s, x):
        r = [F.relu(b(x)) for b in s.b]
        g = F.interpolate(s.pool(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        r.append(g)
        return s.o(torch.cat(r, 1))

class TCN(nn.Module):
    def __init__(s):
        super().__init__()
        s.c1, s.c2 = nn.Conv1d(4, 4, 3, padding=2), nn.Conv1d(4, 4, 3, padding=4, dilation=2)
    def forward(s, x):
        y = F.relu(s.c1(x)[:, :, :-2])
        y = F.relu(s.c2(y)[:, :, :-4])
        return F.relu(y + x)

class WaveGate(nn.Module):
    def __init__(s):
        super().__init__()
        s.f, s.g, s.o = nn.Conv1d(4, 4, 2), nn.Conv1d(4, 4, 2), nn.Conv1d(4, 4, 1)
    def forward(s, x):
        z = torch.tanh(s.f(x)) * torch.sigmoid(s.g(x))
        return s.o(z) + x[:, :, 1:]

class ECA(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.k = conv(padding=1), nn.Conv1d(1, 1, 3, padding=1, bias=False)
    def forward(s, x):
        y = s.c(x)
        g = y.mean([2, 3]).unsqueeze(1)
        g = torch.sigmoid(s.k(g)).squeeze(1).unsqueeze(-1).unsqueeze(-1)
        return y * g.expand_as(y)

class GhostConv(nn.Module):
    def __init__(s):
        super().__init__()
        s.p, s.q = conv(4, 4, 1), conv(padding=1, groups=4)
    def forward(s, x):
        a = F.relu(s.p(x))
        b = F.relu(s.q(a))
        return torch.cat([a, b], 1)[:, :7]

class ConvNext(nn.Module):
    def __init__(s):
        super().__init__()
        s.d, s.n, s.a, s.b, s.g = conv(kernel=7, padding=3, groups=4), nn.LayerNorm(4), nn.Linear(4, 16), nn.Linear(16, 4), nn.Parameter(torch.ones(4) * 0.3)
    def forward(s, x):
        y = s.d(x).permute(0, 2, 3, 1)
        y = s.b(F.gelu(s.a(s.n(y)))) * s.g
        return x + y.permute(0, 3, 1, 2)

class ViT(nn.Module):
    def __init__(s):
        super().__init__()
        s.p = nn.Conv2d(4, 8, 2, 2)
        s.cls, s.pos = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 10, 8))
        s.n, s.qkv, s.o, s.h = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 3)
    def forward(s, x):
        x = s.p(x).flatten(2).transpose(1, 2)
        x = torch.cat([s.cls.expand(x.shape[0], -1, -1), x], 1) + s.pos
        b, t, d = x.shape
        qkv = s.qkv(s.n(x)).reshape(b, t, 3, 2, d // 2 // 1 // 1 // 1 // 1 if False else 4).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        a = F.softmax((q @ k.transpose(-2, -1)) * 0.5, dim=-1)
        y = (a @ v).transpose(1, 2).reshape(b, t, d)
        x = x + s.o(y)
        return s.h(x[:, 0])

class MLPMixer(nn.Module):
    def __init__(s):
        super().__init__()
        s.n1, s.n2, s.t, s.c = nn.LayerNorm(5), nn.LayerNorm(5), nn.Linear(4, 4), nn.Linear(5, 5)
    def forward(s, x):
        x = x + s.t(s.n1(x).transpose(1, 2)).transpose(1, 2)
        return x + F.gelu(s.c(s.n2(x)))

class Seq2(nn.Module):
    def __init__(s):
        super().__init__()
        s.emb, s.rnn, s.out = nn.Embedding(10, 5), nn.GRU(5, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)
    def forward(s, x):
        y, h = s.rnn(s.emb((x.abs() * 3).long().clamp(0, 9)))
        return s.out(y), h

class CellLoop(nn.Module):
    def __init__(s, kind):
        super().__init__()
        s.r = kind(5, 4)
    def forward(s, x):
        h = torch.zeros([x.size(1), 4])
        ys: List[Tensor] = []
        for t in range(x.size(0)):
            h = s.r(x[t], h)
            ys.append(h)
        return torch.stack(ys)

class LstmCellLoop(nn.Module):
    def __init__(s):
        super().__init__()
        s.r = nn.LSTMCell(5, 4)
    def forward(s, x):
        h, c = torch.zeros([x.size(1), 4]), torch.zeros([x.size(1), 4])
        for t in x.unbind(0):
            h, c = s.r(t, (h, c))
        return h

class RnnStates(nn.Module):
    def __init__(s, kind, **o):
        super().__init__()
        s.r = kind(5, 4, **o)
    def forward(s, x):
        return s.r(x)

class LstmGivenState(nn.Module):
    def __init__(s, **o):
        super().__init__()
        s.r = nn.LSTM(5, 4, **o)
    def forward(s, x, h, c):
        y, hc = s.r(x, (h, c))
        return y, hc[0], hc[1]

class EncDec(nn.Module):
    def __init__(s):
        super().__init__()
        s.e = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
    def forward(s, x):
        return s.e(x)

class CrossMHA(nn.Module):
    def __init__(s):
        super().__init__()
        s.m, s.l = nn.MultiheadAttention(8, 2), nn.Linear(8, 8)
    def forward(s, x, y):
        a, w = s.m(s.l(x), y, y)
        return a, w

class MaskedMHA(nn.Module):
    def __init__(s):
        super().__init__()
        s.m = nn.MultiheadAttention(8, 2, batch_first=True)
    def forward(s, x):
        mask = torch.triu(torch.ones(x.size(1), x.size(1), dtype=torch.bool), 1)
        return s.m(x, x, x, attn_mask=mask, need_weights=False)[0]

class EmbBagLinear(nn.Module):
    def __init__(s, **o):
        super().__init__()
        s.e, s.l = nn.EmbeddingBag(10, 8, **o), nn.Linear(8, 3)
    def forward(s, i, o):
        return s.l(s.e(i, o))

class Emb(nn.Module):
    def __init__(s, **o):
        super().__init__()
        s.e, s.l = nn.Embedding(10, 8, **o), nn.Linear(8, 3)
    def forward(s, i):
        return s.l(s.e(i))

class Fut(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.ModuleList([nn.Linear(5, 5) for _ in range(3)])
    def forward(s, x):
        fs: List[torch.jit.Future[Tensor]] = []
        for l in s.l:
            fs.append(torch.jit.fork(l, x))
        ys = [torch.jit.wait(f) for f in fs]
        return torch.cat(ys, 1)

class ForkNested(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = nn.Linear(5, 5), nn.Linear(5, 5)
    def inner(s, x):
        f = torch.jit.fork(s.b, x)
        return torch.jit.wait(f) + 1
    def forward(s, x):
        f = torch.jit.fork(s.inner, x)
        return torch.jit.wait(f) + s.a(x)

class Exported(nn.Module):
    def __init__(s):
        super().__init__()
        s.enc, s.dec = nn.Linear(5, 3), nn.Linear(3, 5)
    @torch.jit.export
    def encode(s, x: Tensor) -> Tensor:
        return F.relu(s.enc(x))
    @torch.jit.export
    def decode(s, x: Tensor, scale: float = 1.0) -> Tensor:
        return s.dec(x) * scale
    @torch.jit.export
    def count(s) -> int:
        return 3
    def forward(s, x):
        return s.decode(s.encode(x))

class Props(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.k = conv(), 3
    @property
    def scale(s) -> float:
        return s.k * 0.5
    def forward(s, x):
        return s.c(x) * s.scale

class Unused(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.dead = conv(), nn.Linear(3, 3)
    @torch.jit.unused
    def slow(s, x: Tensor) -> Tensor:
        return x
    def forward(s, x):
        if x.size(0) > 100:
            return s.slow(x)
        return s.c(x)

class Aux(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.h, s.aux = conv(padding=1), nn.Linear(4, 3), nn.Linear(4, 3)
    def forward(s, x) -> Tuple[Tensor, Optional[Tensor]]:
        y = F.relu(s.c(x)).mean([2, 3])
        if s.training:
            return s.h(y), s.aux(y)
        return s.h(y), None

class WeightNorm(nn.Module):
    def __init__(s):
        super().__init__()
        s.v, s.g = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.rand(6, 1) + 0.5)
    def forward(s, x):
        w = s.v * (s.g / s.v.norm(2, 1, keepdim=True))
        return F.linear(x, w)

class Lora(nn.Module):
    def __init__(s):
        super().__init__()
        s.l, s.a, s.b = nn.Linear(5, 5), nn.Linear(5, 2, bias=False), nn.Linear(2, 5, bias=False)
    def forward(s, x):
        return s.l(x) + s.b(s.a(x)) * 0.5

class MoE(nn.Module):
    def __init__(s):
        super().__init__()
        s.g, s.e = nn.Linear(5, 3), nn.ModuleList([nn.Linear(5, 5) for _ in range(3)])
    def forward(s, x):
        w = F.softmax(s.g(x), -1)
        y = torch.zeros_like(x)
        for i, e in enumerate(s.e):
            y = y + w[:, i:i + 1] * e(x)
        return y

class IfElseConvs(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b, s.c = conv(padding=1), conv(padding=1), conv()
    def forward(s, x):
        if bool(x.sum() > 0):
            y = F.relu(s.a(x))
        else:
            y = F.relu(s.b(x))
        return s.c(y)

class IfQuantBoth(IfElseConvs):
    def forward(s, x):
        y = s.a(x)
        if x.size(0) == 2:
            y = F.max_pool2d(y, 2)
            z = y * 2
        else:
            z = F.avg_pool2d(y, 2)
        return s.c(z)

class LoopState(IfElseConvs):
    def forward(s, x):
        y = s.a(x)
        z = s.b(x)
        for i in range(3):
            y, z = F.relu(z), s.a(y)
        return y + z

class LoopTrip(IfElseConvs):
    def forward(s, x):
        n = int(x.size(0)) * 2 - 1
        for i in range(n):
            x = F.relu(s.a(x)) + s.b(x)
        return s.c(x)

class Interp2(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv(padding=1)
    def up(s, x: Tensor, k: int = 2) -> Tensor:
        return F.interpolate(x, scale_factor=float(k))
    def forward(s, x):
        return s.up(s.c(x), k=3) .sum() + s.up(s.c(x)).mean()

@torch.jit.interface
class Act(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pass
    def scale(self) -> float:
        pass

class ActA(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)
    def scale(self) -> float:
        return 2.0

class ActB(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.Linear(5, 5)
    def forward(self, x: Tensor) -> Tensor:
        return self.l(x)
    def scale(self) -> float:
        return 0.5

class TwoIface(nn.Module):
    a: Act
    b: Act
    def __init__(s):
        super().__init__()
        s.l, s.a, s.b = nn.Linear(5, 5), ActA(), ActB()
    def forward(s, x):
        y = s.a.forward(s.l(x)) * s.a.scale()
        return s.b.forward(y) * s.b.scale()

class GaussianNoise(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
    def forward(s, x):
        if s.training:
            x = x + torch.randn_like(x)
        return s.c(x)

class PosEnc(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.Linear(6, 6)
    def forward(s, x):
        t = torch.arange(x.size(1), dtype=torch.float32)
        f = torch.exp(torch.arange(0, 6, 2).float() * (-math.log(10000.0) / 6))
        e = torch.cat([torch.sin(t[:, None] * f), torch.cos(t[:, None] * f)], -1)
        return s.l(x + e)

class Rope(nn.Module):
    def __init__(s):
        super().__init__()
        s.q = nn.Linear(8, 8)
        s.register_buffer("cos", torch.cos(torch.arange(20.0).view(5, 4)))
        s.register_buffer("sin", torch.sin(torch.arange(20.0).view(5, 4)))
    def forward(s, x):
        q = s.q(x)
        a, b = q[..., ::2], q[..., 1::2]
        return torch.stack([a * s.cos - b * s.sin, a * s.sin + b * s.cos], -1).flatten(-2)

# Modules with the shapes of their inputs.
MODULES = {
    "enum_attr": (EnumAttr, (IMAGE,)), "enum_loop": (EnumLoop, (IMAGE,)), "script_class": (UsesBox, (IMAGE,)),
    "namedtuple_method": (UsesPt, (IMAGE,)), "function_weights": (CallsHelper, (IMAGE,)),
    "act_hswish": (lambda: ActByName("hswish"), (IMAGE,)), "act_none": (lambda: ActByName("none"), (IMAGE,)),
    "hook_pre": (lambda: HookedSub(True, False), (IMAGE,)), "hook_post": (lambda: HookedSub(False, True), (IMAGE,)),
    "hook_both": (lambda: HookedSub(True, True), (IMAGE,)), "hook_root": (hooked_root, (IMAGE,)),
    "param_list": (ParamList, (IMAGE,)), "param_dict": (ParamDict, (ROW,)),
    "buffer_state": (BufferState, (IMAGE,)), "buffer_inplace": (BufferInplace, (IMAGE,)), "buffer_item": (BufferItem, (IMAGE,)),
    "ring": (Ring, (IMAGE,)), "dict_state": (DictState, (IMAGE,)),
    "opt_attr": (lambda: OptAttr(torch.ones(1)), (IMAGE,)), "opt_none": (lambda: OptAttr(None), (IMAGE,)),
    "none_sub": (NoneSub, (IMAGE,)), "tuple_attr": (TupleAttr, (IMAGE,)), "dict_tensor_attr": (DictTensorAttr, (IMAGE,)),
    "nested_deep": (lambda: NestedDeep(6), (IMAGE,)), "shared_conv_two_bn": (SharedConvTwoBN, (IMAGE,)), "shared_bn": (SharedBN, (IMAGE,)),
    "tied_transpose": (TiedTranspose, (ROW,)), "tied_convs": (TiedConvs, (IMAGE,)), "tied_embedding": (TiedEmbedding, ((3, 2),)),
    "view_buffers": (ViewBuffers, (ROW,)), "half_buffer": (lambda: HalfBuffer(torch.half), (IMAGE,)), "bf16_buffer": (lambda: HalfBuffer(torch.bfloat16), (IMAGE,)),
    "double_buffer": (lambda: HalfBuffer(torch.double), (IMAGE,)), "int8_buffer": (lambda: HalfBuffer(torch.int8), (IMAGE,)), "int_buffer": (IntBuffer, (ROW,)),
    "zero_dim": (ZeroDim, (IMAGE,)), "loop_modules": (LoopModules, (IMAGE,)), "slice_list": (SliceList, (IMAGE,)),
    "dict_of_modules": (DictOfModules, (IMAGE,)), "seq_of_seq": (SeqOfSeq, (IMAGE,)), "unet": (UNet, (IMAGE,)), "unet_interp": (UNetInterp, (IMAGE,)),
    "fpn": (FPN, (IMAGE,)), "aspp": (ASPP, (IMAGE,)), "tcn": (TCN, (LINE,)), "wave_gate": (WaveGate, (LINE,)), "eca": (ECA, (IMAGE,)),
    "ghost": (GhostConv, (IMAGE,)), "convnext": (ConvNext, (IMAGE,)), "vit": (ViT, ((2, 4, 6, 6),)), "mixer": (MLPMixer, ((2, 4, 5),)),
    "fut_list": (Fut, (ROW,)), "fork_nested": (ForkNested, (ROW,)), "exported": (Exported, (ROW,)), "props": (Props, (IMAGE,)), "unused": (Unused, (IMAGE,)),
    "aux": (Aux, (IMAGE,)), "weight_norm": (WeightNorm, (ROW,)), "lora": (Lora, (ROW,)), "moe": (MoE, (ROW,)),
    "if_else_convs": (IfElseConvs, (IMAGE,)), "if_quant_both": (IfQuantBoth, (IMAGE,)), "loop_state": (LoopState, (IMAGE,)), "loop_trip": (LoopTrip, (IMAGE,)),
    "interp2": (Interp2, (IMAGE,)), "two_iface": (TwoIface, (ROW,)), "noise": (GaussianNoise, (IMAGE,)),
    "posenc": (PosEnc, ((2, 5, 6),)), "rope": (Rope, ((2, 5, 8),)), "cross_mha": (CrossMHA, ((4, 2, 8), (5, 2, 8))), "masked_mha": (MaskedMHA, ((2, 4, 8),)),
    "encoder": (EncDec, ((2, 4, 8),)), "emb": (Emb, ((3, 2),)),
    "lstm_states": (lambda: RnnStates(nn.LSTM, num_layers=2, dropout=0.2), ((3, 2, 5),)), "lstm_proj": (lambda: RnnStates(nn.LSTM, proj_size=3), ((3, 2, 5),)),
    "lstm_nobias": (lambda: RnnStates(nn.LSTM, bias=False, bidirectional=True), ((3, 2, 5),)), "lstm_unbatched": (lambda: RnnStates(nn.LSTM), ((3, 5),)),
    "gru_states": (lambda: RnnStates(nn.GRU, num_layers=2, bidirectional=True, batch_first=True), ((3, 2, 5),)), "rnn_relu": (lambda: RnnStates(nn.RNN, nonlinearity="relu"), ((3, 2, 5),)),
    "lstm_given": (LstmGivenState, ((3, 2, 5), (1, 2, 4), (1, 2, 4))), "gru_cell_loop": (lambda: CellLoop(nn.GRUCell), ((3, 2, 5),)), "rnn_cell_loop": (lambda: CellLoop(nn.RNNCell), ((3, 2, 5),)),
    "lstm_cell_loop": (LstmCellLoop, ((3, 2, 5),)), "seq2": (Seq2, ((3, 4),)),
    "transpose_chain": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, dilation=2, bias=False)), (IMAGE,)),
    "transpose1d_chain": (lambda: nn.Sequential(nn.ConvTranspose1d(4, 6, 3, 2, 1, 1), nn.ReLU(), nn.Conv1d(6, 4, 1)), (LINE,)),
    "transpose3d_chain": (lambda: nn.Sequential(nn.ConvTranspose3d(4, 4, (2, 3, 1), (1, 2, 1), groups=2), nn.ReLU()), (VOLUME,)),
    "conv3d_pool": (lambda: nn.Sequential(nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(6), nn.ReLU(), nn.MaxPool3d((1, 2, 2)), nn.Conv3d(6, 4, (3, 1, 1))), (VOLUME,)),
    "conv1d_full": (lambda: nn.Sequential(nn.Conv1d(4, 8, 3, padding="same", dilation=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(32, 3)), (LINE,)),
    "big_kernel": (lambda: nn.Sequential(conv(kernel=(7, 1), padding=(3, 0)), conv(kernel=(1, 5), padding=(0, 2))), (IMAGE,)),
    "stride_gt_kernel": (lambda: nn.Sequential(conv(kernel=1, stride=3)), (IMAGE,)),
    "linear_0d": (lambda: nn.Sequential(nn.Linear(5, 1), nn.Flatten(0), nn.Sigmoid()), (ROW,)),
    "linear_big_k": (lambda: nn.Sequential(nn.Linear(600, 7)), ((2, 600),)),
    "linear_one_in": (lambda: nn.Sequential(nn.Linear(1, 7), nn.ReLU(), nn.Linear(7, 1)), ((4, 1),)),
    "linear_5d": (lambda: nn.Sequential(nn.Linear(6, 3)), (VOLUME,)),
    "ln_chain": (lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(), nn.LayerNorm(6), nn.Linear(6, 2)), (ROW,)),
    "act_zoo": (lambda: nn.Sequential(*[m for a in (nn.Hardswish(), nn.ELU(), nn.LeakyReLU(0.2), nn.Sigmoid(), nn.Tanh(), nn.ReLU6(), nn.Hardtanh(-0.2, 0.4), nn.Hardsigmoid(), nn.PReLU(4), nn.SiLU(), nn.GELU()) for m in (conv(padding=1), a)]), (IMAGE,)),
    "pool_zoo": (lambda: nn.Sequential(conv(padding=1), nn.MaxPool2d(2, 1), conv(padding=1), nn.AvgPool2d(2, 1), conv(padding=1), nn.AdaptiveAvgPool2d((3, 2)), conv(padding=1), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 2)), (IMAGE,)),
}

class Scaled(nn.Module):
    """A layer whose weights and biases are scaled, and a relu."""

    def __init__(s, layer, k, b=1.0):
        super().__init__()
        s.l = layer
        with torch.no_grad():
            s.l.weight.mul_(k)
            if s.l.bias is not None: s.l.bias.mul_(b)
    def forward(s, x):
        return F.relu(s.l(x))

# Factors of weights and of biases.
MAGNITUDES = {
    "w_tiny": (1e-20, 1.0), "w_subnormal": (1e-39, 1.0), "w_huge": (1e20, 1.0), "w_overflow": (1e36, 1.0), "b_huge": (1.0, 1e9), "b_overflow": (1e-6, 1e9), "b_zero": (1.0, 0.0), "w_one_hot": (0.0, 1.0),
}

# Lines of `forward` of a module with the linear layers `l` and `m`.
DYNAMIC_LINES = {
    "view": "return s.l(x.view(-1, 5))", "reshape_relu": "return F.relu(s.l(x)).reshape(-1)", "residual": "return x + s.l(x)", "chain3": "return s.l(F.relu(s.l(F.relu(s.l(x)))))",
    "matmul": "return torch.matmul(s.l(x), s.l.weight)", "addmm": "return torch.addmm(s.l.bias, x, s.l.weight.t())", "transposed_in": "return s.l(x.t().contiguous()[:, :].t())", "slice_w": "return F.linear(x, s.l.weight[:3], s.l.bias[:3])",
    "nan": "return s.l(torch.where(x > 1, float('nan'), x))", "inf": "return s.l(torch.where(x > 1, float('inf'), x))", "zero": "return s.l(x * 0)", "const": "return s.l(torch.full_like(x, 3.0))", "huge": "return s.l(x * 1e30)", "tiny": "return s.l(x * 1e-30)",
    "neg_only": "return s.l(-x.abs() - 1)", "pos_only": "return s.l(x.abs() + 1)", "inplace_relu": "y = s.l(x)\ny.relu_()\nreturn y", "inplace_unsq": "y = s.l(x)\ny.unsqueeze_(0)\nreturn y + 1", "iadd": "y = s.l(x)\ny += x\nreturn F.relu(y)",
    "if_relu": "y = s.l(x)\nif y.size(0) > 1:\n    y = F.relu(y)\nreturn y", "dropout": "return F.dropout(s.l(x), 0.3, s.training)", "softmax": "return F.softmax(s.l(x), -1)", "two_heads": "y = F.relu(s.l(x))\nreturn s.l(y) + s.m(y)", "half_in": "return s.l(x.half().float())", "bias_reuse": "return F.linear(x, s.m.weight, s.l.bias)",
    "noncontig": "return s.l(x.repeat(1, 2)[:, ::2])", "empty": "return s.l(x[:0])", "row": "return s.l(x[0])", "unsq": "return s.l(x[:, None, None])", "relu6": "return F.relu6(s.l(x))", "gelu_l": "return s.m(F.gelu(s.l(x)))",
}


def language():
    """What a program says."""
    layers = lambda: {"c": conv(padding=1), "c2": conv(), "p": nn.Parameter(torch.tensor(0.7)), "v": 0.4}
    for at, (name, text) in enumerate(LINES.items()):
        make = lambda text=text: written(text, **layers())
        yield Case(f"say_{name}", make, (IMAGE,), CONFIGS[at % 4])
        if at % 2 == 0 and not any(word in text for word in FLOWS):
            yield Case(f"say_{name}_traced", make, (IMAGE,), "pc7", mode="trace")
    for name, (returns, text) in MULTI.items():
        make = lambda text=text, returns=returns: written(text, returns=returns, **layers())
        yield Case(f"say_{name}", make, (IMAGE,), "pc7")
    for at, (name, (make, shapes)) in enumerate(MODULES.items()):
        values = (lambda: (torch.randint(0, 10, (3, 2)),)) if name == "emb" else None
        yield Case(f"say_{name}", make, shapes, CONFIGS[at % 8], values=values)
        yield Case(f"say_{name}_dyn", make, shapes, DYNAMIC[at % 3], "dynamic", values=values)
        if at % 2:
            yield Case(f"say_{name}_traced", make, shapes, CONFIGS[(at + 3) % 8], mode="trace", values=values)
    for at, (name, text) in enumerate(DYNAMIC_LINES.items()):
        parts = lambda text=text: {part: nn.Linear(5, 5) for part in "lm" if f"s.{part}" in text}
        make = lambda text=text, parts=parts: written(text, **parts())
        for config in (DYNAMIC[at % 3], DYNAMIC[(at + 1) % 3]):
            yield Case(f"say_{config}_{name}", make, (ROW,), config, "dynamic")
    for kept in (("encode",), ("encode", "decode"), ("encode", "decode", "count"), ("enc",)):
        yield Case(f"say_preserved_{'_'.join(kept)}", Exported, (ROW,), "pc7", preserved=kept)
        yield Case(f"say_preserved_{'_'.join(kept)}_dyn", Exported, (ROW,), "dyn", "dynamic", preserved=kept)
    for name, make, shape, kept in (
        ("property", Props, IMAGE, "k"),
        ("state", BufferInplace, IMAGE, "avg"),
        ("interface", TwoIface, ROW, "a"),
    ):
        yield Case(f"say_preserved_{name}", make, (shape,), "pc7", preserved=(kept,))
    for name in ("seq_of_seq", "noise", "act_zoo", "shared_bn", "unet"):
        make, shapes = MODULES[name]
        yield Case(f"say_{name}_trains", make, shapes, "pc7", training=True)


def extremes():
    """Weights and inputs at the ends of their range (`far_*`), and inputs of other types (`typed_*`)."""
    layers = {"conv": (lambda: conv(), IMAGE, ()), "linear": (lambda: nn.Linear(5, 4), ROW, DYNAMIC)}
    special = {"nan": math.nan, "big": 3e38, "zero": 0.0, "subnormal": 1e-40}
    for kind, (layer, shape, dynamic) in layers.items():
        for name, factors in MAGNITUDES.items():
            make = lambda layer=layer, factors=factors: Scaled(layer(), *factors)
            for config in ("pt7", "pc8", *dynamic):
                qt = "dynamic" if config in DYNAMIC else "static"
                yield Case(f"far_{kind}_{name}_{config}", make, (shape,), config, qt)
        for name, value in special.items():
            make = lambda layer=layer: Scaled(layer(), 1.0)
            values = lambda shape=shape, value=value: (with_every_fifth(torch.randn(shape), value),)
            for config in ("pc7", *dynamic):
                qt = "dynamic" if config in DYNAMIC else "static"
                yield Case(f"far_{kind}_{name}_input_{config}", make, (), config, qt, values=values)
    typed = {
        "half": ("return s.c(x.float())", lambda: torch.randn(IMAGE).half()),
        "double": ("return s.c(x.float())", lambda: torch.randn(IMAGE).double()),
        "bytes": ("return s.c(x.float() / 255.0)", lambda: torch.randint(0, 255, IMAGE, dtype=torch.uint8)),
        "bools": ("return s.c(x.float()) * x[:, :, 1:-1, 1:-1]", lambda: torch.rand(IMAGE) > 0.5),
    }
    for name, (text, value) in typed.items():
        make = lambda text=text: written(text, c=conv())
        yield Case(f"typed_{name}", make, (), "pc7", values=lambda value=value: (value(),))
    yield Case("typed_unused", lambda: written("return s.c(x)", "x, y", c=conv()), (IMAGE, ROW), "pc7")


def with_every_fifth(x, value):
    """The tensor with another value at every fifth place."""
    x.view(-1)[::5] = value
    return x
