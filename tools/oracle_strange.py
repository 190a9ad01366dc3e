"""Modules of unusual structure, names and contents (`odd_*`), and operators that the other tables leave out (`more_*`)."""

import enum
import math
from typing import Any, Dict, Final, List, NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from oracle_cases import IMAGE, LINE, ROW, VOLUME, Case, conv, written

CONFIGS = ("pc7", "pt8", "fbgemm", "pc8", "x86", "pt7", "qnnpack")

# Lines of `forward` of a module with the convolutions `c` (padded) and `c2`, a linear layer `l` and a number `k`.
LINES = {
    # What other functions of `torch` do to a quantized value.
    "addcdiv": "y = s.c(x)\nreturn torch.addcdiv(y, y, y.abs() + 1.0, value=0.5)",
    "addr": "y = s.c(x)[0, 0]\nreturn torch.addr(y, y[:, 0], y[0])",
    "addbmm": "y = s.c(x)[0]\nreturn torch.addbmm(torch.zeros([7, 7]), y, y.transpose(1, 2))",
    "chain_matmul": "y = s.c(x)[0, 0]\nreturn torch.linalg.multi_dot([y, y.t(), y])",
    "std_mean": "a, b = torch.std_mean(s.c(x), [2, 3])\nreturn a * b",
    "nanmean": "return torch.nanmean(s.c(x), [2, 3])",
    "nansum": "return torch.nansum(s.c(x), 1)",
    "nanmedian": "return torch.nanmedian(s.c(x))",
    "isin": "y = s.c(x).round()\nreturn torch.isin(y, torch.tensor([0.0, 1.0])).float()",
    "float_power": "return torch.float_power(s.c(x).abs(), 2)",
    "lerp_tensor": "y = s.c(x)\nreturn torch.lerp(y, y * 2, torch.sigmoid(y))",
    "ldexp": "return torch.ldexp(s.c(x), torch.tensor([2]))",
    "frexp": "a, b = torch.frexp(s.c(x))\nreturn a + b",
    "nextafter": "y = s.c(x)\nreturn torch.nextafter(y, y + 1)",
    "signbit": "return torch.signbit(s.c(x))",
    "sgn": "return s.c2(torch.sgn(s.c(x)))",
    "positive": "return s.c2(torch.positive(s.c(x)))",
    "logaddexp": "y = s.c(x)\nreturn torch.logaddexp(y, y + 1)",
    "logaddexp2": "y = s.c(x)\nreturn torch.logaddexp2(y, y + 1)",
    "gcd": "y = (s.c(x) * 10).int()\nreturn torch.gcd(y, y + 2) + torch.lcm(y, y + 1)",
    "shifts": "y = s.c(x).abs().int() + 1\nreturn (y << 2) + (y >> 1)",
    "bitwise": "y = (s.c(x) * 10).int()\nreturn (y & 6) | (y ^ 3) | ~y",
    "logical": "y = s.c(x) > 0\nz = s.c(x) < 1\nreturn torch.logical_xor(y, z) | torch.logical_not(y) | torch.logical_or(y, z)",
    "select_scatter": "y = s.c(x)\nreturn s.c2(torch.select_scatter(y, y[:, 0], 1, 2))",
    "slice_scatter": "y = s.c(x)\nreturn s.c2(torch.slice_scatter(y, y[:, :2] * 2, 1, 2, 4))",
    "diagonal_scatter": "y = s.c(x)[0, 0]\nreturn torch.diagonal_scatter(y, y[0], 0)",
    "scatter_reduce": "y = s.c(x)\nreturn y.scatter_reduce(1, torch.zeros([2, 2, 7, 6], dtype=torch.long), x, 'amax')",
    "scatter_reduce_sum": "y = s.c(x)\nreturn y.scatter_reduce(1, torch.zeros([2, 2, 7, 6], dtype=torch.long), x, 'sum', include_self=False)",
    "index_reduce": "y = s.c(x)\nreturn y.index_reduce(1, torch.tensor([0, 2]), x[:, :2], 'amin')",
    "put": "y = s.c(x)\nreturn y.put(torch.tensor([0, 3]), torch.tensor([1.0, 2.0]))",
    "put_": "y = s.c(x)\ny.put_(torch.tensor([0, 3]), torch.tensor([1.0, 2.0]), True)\nreturn s.c2(y)",
    "fill_diagonal": "y = s.c(x)[0, 0]\ny.fill_diagonal_(2.0)\nreturn y",
    "unique_consecutive": "return torch.unique_consecutive((s.c(x) > 0).flatten())",
    "argwhere": "return torch.argwhere(s.c(x) > 1e6)",
    "swapdims": "return s.c2(s.c(x).swapdims(2, 3))",
    "narrow_copy": "return s.c2(torch.narrow_copy(s.c(x), 2, 1, 4))",
    "expand_minus": "return s.c2(s.c(x)[:, :1].expand(-1, 4, -1, -1))",
    "view_dtype": "return s.c(x).view(torch.int32)",
    "tril_indices": "y = s.c(x)[0, 0]\ni = torch.tril_indices(6, 6)\nreturn y[i[0], i[1]]",
    "combinations": "return torch.combinations(s.c(x)[0, 0, 0], 2)",
    "vander": "return torch.vander(s.c(x)[0, 0, 0], 3)",
    "logspace": "return s.c(x) + torch.logspace(0, 1, 6)",
    "range_step": "return s.c(x) + torch.arange(0.0, 3.0, 0.5)",
    "polygamma": "return torch.polygamma(1, s.c(x).abs() + 1)",
    "i0": "return torch.i0(s.c(x))",
    "erfinv": "return torch.erfinv(s.c(x).clamp(-0.9, 0.9))",
    "expit": "return torch.special.expit(s.c(x))",
    "log_ndtr": "return torch.special.ndtr(s.c(x))",
    "entr": "return torch.special.entr(s.c(x).abs())",
    "xlog1py": "return torch.special.xlog1py(s.c(x), x.abs())",
    "mvlgamma": "return torch.mvlgamma(s.c(x).abs() + 3, 2)",
    "inverse": "return torch.linalg.inv(s.c(x)[0, 0, :3, :3] + 4 * torch.eye(3))",
    "solve": "y = s.c(x)[0, 0, :3, :3] + 4 * torch.eye(3)\nreturn torch.linalg.solve(y, y[:, :1])",
    "cholesky": "y = s.c(x)[0, 0, :3, :3]\nreturn torch.linalg.cholesky(y @ y.t() + 4 * torch.eye(3))",
    "matrix_power": "return torch.linalg.matrix_power(s.c(x)[0, 0, :3, :3], 3)",
    "matrix_norm": "return torch.linalg.matrix_norm(s.c(x))",
    "slogdet": "a, b = torch.linalg.slogdet(s.c(x)[0, 0, :3, :3])\nreturn a + b",
    "segment": "return torch.segment_reduce(s.c(x)[0, 0, 0], 'sum', lengths=torch.tensor([2, 4]))",
    "corrcoef": "return torch.cov(s.c(x)[0, 0])",
    "histogram": "return torch.histc(s.c(x), 5)",
    "nanquantile": "return torch.nanquantile(s.c(x), 0.3, 1)",
    "cumulative_trapezoid": "return torch.cumulative_trapezoid(s.c(x), dim=2)",
    "cummin": "a, b = s.c(x).cummin(2)\nreturn a + b",
    "dropout_p0": "return s.c2(F.dropout(s.c(x), 0.0, True))",
    "dropout_p1": "return F.dropout(s.c(x), 1.0, True)",
    "tensor_pow": "y = s.c(x).abs() + 0.5\nreturn torch.pow(y, y)",
    "scalar_first": "return torch.pow(2, s.c(x)) + torch.sub(1, s.c(x)) + torch.mul(s.c(x), 3)",
    "rsub_alpha": "return torch.rsub(s.c(x), 2.0, alpha=2)",
    "add_int_alpha": "return torch.add(s.c(x), s.c(x + 1), alpha=1)",
    "add_float_alpha": "return torch.add(s.c(x), s.c(x + 1), alpha=1.0)",
    "add_zero": "return s.c2(s.c(x) + 0)",
    "mul_one": "return s.c2(s.c(x) * 1)",
    "mul_minus": "return s.c2(s.c(x) * -1)",
    "mul_zero": "return s.c2(s.c(x) * 0)",
    "mul_huge": "return s.c(x) * 1e38",
    "mul_tiny": "return s.c(x) * 1e-38",
    "add_scalar_negative": "return s.c2(s.c(x) + -2.5)",
    "add_bool": "return s.c(x) + True",
    "mul_bool": "return s.c(x) * (s.c(x) > 0)",
    "add_int_tensor": "return s.c(x) + torch.ones([6], dtype=torch.int32)",
    "add_double_tensor": "return s.c(x) + torch.ones([6], dtype=torch.double)",
    "add_double_scalar": "return s.c(x) + torch.tensor(1.5, dtype=torch.double)",
    "add_size": "y = s.c(x)\nreturn y + y.size(1) * 0.5",
    "mul_itself": "y = s.c(x)\nreturn y * y",
    "add_itself_inplace": "y = s.c(x)\ny += y\nreturn s.c2(y)",
    "add_broadcast_c": "y = s.c(x)\nreturn F.relu(y + y.mean([2, 3], keepdim=True))",
    "mul_broadcast_row": "y = s.c(x)\nreturn y * y[:, :, :1]",
    "relu_of_cat_of_relu": "y = s.c(x)\nreturn F.relu(torch.cat([F.relu(y), s.c(F.relu(x))], 1))",
    "cat_nested": "y = s.c(x)\nreturn torch.cat([torch.cat([y, y], 2), torch.cat((y, y), 2)], 3)",
    "cat_empty": "y = s.c(x)\nreturn torch.cat([y, torch.empty([0])], 1)",
    "stack_unbind": "y = s.c(x)\na, b = torch.stack([y, y + 1]).unbind(0)\nreturn s.c2(a) + s.c2(b)",
    "split_uneven": "a, b, c = torch.split(s.c(x), [1, 0, 3], 1)\nreturn torch.cat([c, b, a], 1)",
    "unflatten_neg": "return s.c(x).unflatten(-1, [2, -1])",
    "flatten_neg": "return s.c(x).flatten(-2, -1)",
    "permute_neg": "return s.c2(s.c(x).permute(0, 1, -1, -2))",
    "reshape_minus": "return s.c2(s.c(x).reshape(-1, 4, 7, 6))",
    "view_of_transposed": "return s.c(x).transpose(0, 1).reshape(4, -1)",
    "slice_negative_step": "return s.c2(s.c(x)[:, :, 1:-1:2, -5:])",
    "slice_empty": "return s.c(x)[:, 3:1]",
    "index_two": "return s.c(x)[:, [0, 2], 1:, torch.tensor([0, 1])]",
    "index_mask": "y = s.c(x)\nreturn y[y[:, 0, 0, 0] > -1e6]",
    "index_none_ellipsis": "return s.c(x)[None, ..., None, 1]",
    "setitem_list": "y = s.c(x)\ny[:, [0, 1]] = 0.5\nreturn s.c2(y)",
    "setitem_step": "y = s.c(x)\ny[..., ::2] = -1\nreturn s.c2(y)",
    "setitem_self": "y = s.c(x)\ny[:, 0], y[:, 1] = y[:, 1].clone(), y[:, 0].clone()\nreturn y",
    "setitem_broadcast": "y = s.c(x)\ny[:, 1] = y[0, 0]\nreturn y",
    "augmented_slice": "y = s.c(x)\ny[:, 1:3] *= 2.0\ny[0] -= 1.0\ny[1] /= 2.0\nreturn s.c2(y)",
    "relu_inplace_of_input_view": "y = x[:, :, 1:]\nF.relu_(y)\nreturn s.c(x)",
    "write_after_conv": "y = s.c(x)\nx.zero_()\nreturn y + x[:, :, :, :6]",
    "write_between": "z = x.clone()\ny = s.c(z)\nz.add_(1.0)\nreturn y + s.c(z)",
    "alias_of_relu": "y = s.c(x)\nz = F.relu_(y)\nreturn y + z",
    "sigmoid_stmt": "y = s.c(x)\ny.sigmoid_()\nreturn s.c2(y)",
    "tanh_stmt": "y = s.c(x)\ntorch.tanh_(y)\nreturn s.c2(y)",
    "hardswish_stmt": "y = s.c(x)\nF.hardswish(y, inplace=True)\nreturn s.c2(y)",
    "leaky_stmt": "y = s.c(x)\nF.leaky_relu(y, 0.1, True)\nreturn s.c2(y)",
    "elu_stmt": "y = s.c(x)\nF.elu(y, 1.0, True)\nreturn s.c2(y)",
    "sigmoid_three": "a, b, c = s.c(x), s.c(x + 1), s.c(x * 2)\nreturn torch.sigmoid(a) + torch.sigmoid(b) * torch.sigmoid(c)",
    "tanh_sigmoid": "a, b = s.c(x), s.c(x + 1)\nreturn torch.tanh(a) * torch.sigmoid(b) + F.hardsigmoid(a)",
    "clamp_int_float": "return torch.clamp(s.c(x), -1, 0.5)",
    "clamp_inverted": "return torch.clamp(s.c(x), 0.5, -0.5)",
    "clamp_inf": "return torch.clamp(s.c(x), -math.inf, 0.5)",
    "clamp_attr": "return torch.clamp(s.c(x), -s.k, s.k)",
    "clamp_size": "return torch.clamp(s.c(x), 0, x.size(1))",
    "hardtanh_clamp": "return torch.clamp(F.hardtanh(s.c(x)), -0.5, 0.5)",
    "relu6_relu6": "return F.relu6(s.c(x)) + F.relu6(s.c(x + 1))",
    "hardtanh_args": "return F.hardtanh(s.c(x), min_val=-2, max_val=2)",
    "mean_tuple": "return s.c(x).mean((1, 2, 3))",
    "mean_keep_neg": "return s.c2(s.c(x) * s.c(x).mean((-2, -1), True))",
    "mean_double": "return s.c(x).mean([2], dtype=torch.double)",
    "mean_batch": "return s.c(x).mean(0)",
    "mean_empty": "return s.c(x).mean([])",
    "avg_pool_int": "return F.avg_pool2d(s.c(x), 3, 2, 1, True)",
    "avg_pool_rect": "return F.avg_pool2d(s.c(x), (2, 3), (2, 1), (1, 1), ceil_mode=True, divisor_override=2)",
    "max_pool_rect": "return F.max_pool2d(s.c(x), (2, 3), (2, 1), (1, 1), (1, 1), True)",
    "pool_one": "return s.c2(F.avg_pool2d(F.max_pool2d(s.c(x), 1), 1))",
    "adaptive_up": "return F.adaptive_avg_pool2d(s.c(x), (9, 8))",
    "adaptive_none": "return F.adaptive_avg_pool2d(s.c(x), [None, 1])",
    "adaptive_size": "return F.adaptive_avg_pool2d(s.c(x), [x.size(2) // 2, 1])",
    "interp_scale_list": "return F.interpolate(s.c(x), scale_factor=[1.5, 2.0], mode='bilinear', align_corners=False)",
    "interp_size_int": "return F.interpolate(s.c(x), 8)",
    "interp_twice": "y = s.c(x)\nreturn F.interpolate(F.interpolate(y, size=[14, 12]), size=[7, 6])",
    "interp_one": "return F.interpolate(s.c(x), size=[1, 1], mode='bilinear', align_corners=True)",
    "interp_same": "return s.c2(F.interpolate(s.c(x), size=[7, 6], mode='bilinear', align_corners=False))",
    "interp_in_if": "y = s.c(x)\nif x.size(0) > 1:\n    y = F.interpolate(y, scale_factor=2.0)\nreturn y",
    "interp_in_loop": "y = s.c(x)\nfor i in range(2):\n    y = F.interpolate(y, scale_factor=2.0, mode='nearest')\nreturn s.c2(y)",
    "upsample_deprecated": "return F.upsample(s.c(x), scale_factor=2.0)",
    "pad_asym_value": "return s.c2(F.pad(s.c(x), [0, 1, 2, 0], 'constant', -0.5))",
    "pad_batch": "return F.pad(s.c(x), [0, 0, 0, 0, 0, 0, 1, 0])",
    "pad_crop": "return s.c2(F.pad(s.c(x), [1, -2, -1, 2]))",
    "conv_padding_tuple": "return F.conv2d(x, s.c.weight, s.c.bias, padding=(2, 0), dilation=(1, 2))",
    "conv_stride_one_item": "return F.conv2d(x, s.c.weight, s.c.bias, [2], [1])",
    "conv_groups": "return F.conv2d(x, s.c.weight[:, :2], s.c.bias, groups=2)",
    "conv_weight_view": "return F.conv2d(x, s.c.weight.view(4, 4, 3, 3), s.c.bias)",
    "conv_weight_transposed": "return F.conv2d(x, s.c.weight.transpose(2, 3), s.c.bias)",
    "conv_weight_float_cast": "return F.conv2d(x, s.c.weight.float(), s.c.bias.to(torch.float))",
    "conv_weight_detach": "return F.conv2d(x, s.c.weight.detach().clone(), s.c.bias.data)",
    "conv_bias_none_if": "b: Optional[Tensor] = None\nif s.k > 10:\n    b = s.c.bias\nreturn F.conv2d(x, s.c.weight, b)",
    "conv_on_int": "return s.c((x * 10).int().float())",
    "conv1d_in_2d": "return F.conv1d(s.c(x).flatten(2), s.c.weight[:, :, 0], None)",
    "conv_two_inputs": "return s.c(x) + s.c(x.flip([3])) + s.c(x * 0.5)",
    "linear_then_conv": "return s.c(F.linear(x, torch.eye(6)))",
    "embedding_bag": "i = s.c(x).argmax(1).flatten(1)\nreturn F.embedding_bag(i, torch.arange(20.0).view(4, 5))",
    "bilinear": "y = s.c(x).flatten(1)[:, :5]\nreturn F.bilinear(y, y, torch.ones([3, 5, 5]), torch.zeros([3]))",
    "nll": "return F.nll_loss(F.log_softmax(s.c(x).mean([2, 3]), 1), torch.tensor([0, 1]))",
    "huber": "return F.huber_loss(s.c(x), x, delta=0.5)",
    "hinge": "return F.hinge_embedding_loss(s.c(x), torch.sign(x))",
    "margin": "return F.margin_ranking_loss(s.c(x), x, torch.sign(x))",
    "triplet": "y = s.c(x).flatten(1)\nreturn F.triplet_margin_loss(y, y + 1, y - 2)",
    "soft_margin": "return F.soft_margin_loss(s.c(x), torch.sign(x))",
    "poisson": "return F.poisson_nll_loss(s.c(x), x.abs())",
    "gaussian": "return F.gaussian_nll_loss(s.c(x), x, x.abs() + 1)",
    "multi_margin": "return F.multi_margin_loss(s.c(x).mean([2, 3]), torch.tensor([0, 1]))",
    "bce_probability": "return F.binary_cross_entropy(torch.sigmoid(s.c(x)), torch.ones_like(x))",
    "cross_entropy_smooth": "return F.cross_entropy(s.c(x), torch.zeros([2, 7, 6], dtype=torch.long), label_smoothing=0.1)",
    "rms": "return s.c2(F.rms_norm(s.c(x), [6], torch.ones([6]), 1e-5))",
    "batch_norm_nostats": "return F.batch_norm(s.c(x), None, None, training=True)",
    "layer_norm_partial": "return F.layer_norm(s.c(x), [7, 6], torch.ones([7, 6]), None)",
    "normalize_l1": "return F.normalize(s.c(x), 1.0, 2)",
    "softmax_neg": "return s.c2(F.softmax(s.c(x), -1))",
    "log_softmax_double": "return F.log_softmax(s.c(x), 1, dtype=torch.double)",
    "gumbel_free": "y = s.c(x)\nreturn y * F.softmin(y, dim=1) + F.logsigmoid(y) + F.tanhshrink(y) + F.softsign(y)",
    "glu_channels": "return s.l(F.glu(F.relu(s.c(x)), 1).mean([2, 3]))",
    "mish_": "return s.c2(F.mish(s.c(x), inplace=True))",
    "hardshrink_soft": "return s.c2(F.softshrink(F.hardshrink(s.c(x), 0.1), 0.2))",
    "channel_shuffle": "return s.c2(F.channel_shuffle(s.c(x), 2) if False else s.c(x).view(2, 2, 2, 7, 6).transpose(1, 2).reshape(2, 4, 7, 6))",
    "native_channel_shuffle": "return s.c2(torch.channel_shuffle(s.c(x), 2))",
    "sdpa_mask": "y = s.c(x)\nm = torch.ones([7, 7]).tril().bool()\nreturn F.scaled_dot_product_attention(y, y, y, attn_mask=m)",
    "einsum_linear": "return torch.einsum('bchw,oc->bohw', s.c(x), s.c2.weight[:, :, 0, 0])",
    "matmul_weight": "return s.c(x) @ s.c.weight[0, :, :, :1].expand(4, 3, 1)[:, :1].expand(4, 6, 1)",
    # What the language has besides.
    "print": "print('shape', x.size(0), s.c.bias.numel())\nreturn s.c(x)",
    "warn": "import warnings\nwarnings.warn('careful')\nreturn s.c(x)",
    "ord_chr": "return s.c(x) + ord('a') + len(chr(98)) + len(hex(255)) + len(bin(5)) + len(oct(8))",
    "str_escape": "t = 'a\\\\n\\\\t\\\"\\'\\\\\\\\ ä 漢 \\\\x00'\nreturn s.c(x) + len(t)",
    "str_methods": "t = ' Ab,c '.strip().lower()\nn = len(t.split(',')[0]) + t.count('c') + int(t.startswith('ab')) + int(t.isalpha())\nreturn s.c(x) + n",
    "str_slice": "t = 'abcdef'[1:5:2]\nreturn s.c(x) + len(t + t * 2) + int('b' in t)",
    "str_format_more": "t = '{0} {1} {0}'.format(1, 'x') if False else '{} {}'.format(1.5, True)\nreturn s.c(x) + len(t)",
    "str_percent": "t = 'a%s' % 'bc'\nreturn s.c(x) + len(t)",
    "int_of_str": "return s.c(x) + int('12') + float('1.5') + int('101', 2)",
    "int_limits": "return s.c(x) + (9223372036854775807 - 9223372036854775806) + (-9223372036854775807 + 9223372036854775806)",
    "float_limits": "return s.c(x) + min(math.inf, 1e308) * 1e-308 + (-0.0) + 5e-324 + 0.1 + 1e22 * 1e-22",
    "float_nan": "f = float('nan')\ny = s.c(x)\nif f != f:\n    y = y + 1\nreturn y",
    "int_division": "return s.c(x) + (-7 // 2) + (-7 % 3) + (7 // -2) + divmod(7, 2)[0] + (2 ** 3) + (2 ** -1)",
    "math_more": "return s.c(x) + math.gcd(12, 8) + math.factorial(4) + math.hypot(3, 4) + math.atan2(1.0, 1.0) + math.fmod(7.0, 3.0) + math.copysign(1.0, -2.0)",
    "math_special": "return s.c(x) + math.erf(0.5) + math.gamma(4.0) + math.expm1(0.1) + math.log1p(0.1) + math.degrees(1.0) + math.ldexp(1.0, 3) + math.trunc(2.5)",
    "math_frexp": "a, b = math.frexp(6.5)\nc, d = math.modf(2.25)\nreturn s.c(x) + a + b + c + d",
    "round_half": "return s.c(x) + round(2.5) + round(0.5) + round(1.2345, 2)",
    "bool_list": "return s.c(x) + float(any([x.size(0) > 1, False])) + float(all([True, x.size(1) == 4]))",
    "in_list": "y = s.c(x)\nif x.size(0) in [1, 2, 3] and 'a' not in ['b']:\n    y = y + 1\nreturn y",
    "is_none": "z: Optional[int] = None\nreturn s.c(x) + (1 if z is None else z)",
    "union": "z: Union[int, Tensor] = 3\nif x.size(0) > 1:\n    z = s.c(x)\nif isinstance(z, Tensor):\n    return z + 1\nelse:\n    return s.c(x) + z",
    "any_type": "z: Any = s.c(x)\nif isinstance(z, Tensor):\n    return z + 1\nreturn x",
    "list_bool_index": "a = [s.c(x), s.c(x + 1)]\nreturn a[int(x.size(0) > 1)]",
    "list_compare": "y = s.c(x)\nif [x.size(0), x.size(1)] == [2, 4]:\n    y = y * 2\nreturn y",
    "list_sort": "n = [3, 1, 2]\nn.sort()\nm = [1.5, 0.5]\nm.sort(reverse=True)\nreturn s.c(x) + n[0] + m[0] + n.index(2) + n.count(1)",
    "list_copy": "a = [s.c(x)]\nb = a.copy()\nb.append(s.c(x + 1))\nreturn torch.cat(b, 1) + len(a)",
    "list_remove": "n = [1, 2, 3]\nn.remove(2)\ndel n[0]\nreturn s.c(x) + n[0] + len(n)",
    "list_of_tuples": "ys: List[Tuple[str, Tensor]] = [('a', s.c(x)), ('b', s.c(x + 1))]\nz = ys[0][1]\nfor k, v in ys:\n    if k == 'b':\n        z = z + v\nreturn z",
    "list_star": "a, *b = [s.c(x), s.c(x + 1), s.c(x + 2)]\nreturn a + torch.cat(b, 1)[:, :4]",
    "dict_of_tuples": "d = {'a': (s.c(x), 2)}\nt, n = d['a']\nreturn t * n",
    "dict_setdefault": "d: Dict[str, Tensor] = {}\nd['a'] = s.c(x)\nz = d.setdefault('b', s.c(x + 1))\nreturn z + d.get('a', x)",
    "dict_update_two": "d = {'a': s.c(x)}\nd.update({'b': s.c(x + 1)})\nz = d['a']\nfor v in d.values():\n    z = z + v\nreturn z",
    "dict_popitem": "d = {'a': s.c(x)}\nk, v = d.popitem()\nreturn v + len(d) + len(k)",
    "dict_clear": "d = {'a': s.c(x)}\ne = d.copy()\nd.clear()\nreturn e['a'] + len(d)",
    "dict_del": "d = {'a': s.c(x), 'b': x}\ndel d['b']\nreturn d['a'] + len(d)",
    "dict_float_key": "d = {1.5: s.c(x), 2.5: x}\nreturn d[1.5]",
    "dict_order": "d = {'b': 1, 'a': 2}\nt = ''\nfor k in d:\n    t = t + k\nreturn s.c(x) + float(t == 'ba')",
    "dict_zip": "ks = ['a', 'b']\nd = {k: s.c(x) * float(i) for i, k in enumerate(ks)}\nreturn d['a'] + d['b']",
    "tuple_add": "t = (s.c(x),) + (s.c2(x), 3)\nreturn t[0] + t[2]",
    "tuple_nested": "t = ((s.c(x), 1), [2.0])\n(a, b), c = t\nreturn a * b * c[0]",
    "tuple_loop": "y = s.c(x)\nfor k in (1, 2, 3):\n    y = y + k\nreturn y",
    "tuple_in_loop": "t = (s.c(x), 0)\nfor i in range(3):\n    t = (F.relu(t[0] + 1), t[1] + i)\nreturn t[0] * t[1]",
    "while_true": "y = s.c(x)\ni = 0\nwhile True:\n    y = F.relu(y - 0.25)\n    i += 1\n    if i >= 3:\n        break\nreturn y",
    "while_else_state": "y = s.c(x)\nn = x.size(2)\nwhile n > 1:\n    if n % 2 == 0:\n        n = n // 2\n        continue\n    y = y + 1\n    n = n - 1\nreturn y",
    "loop_reversed": "y = s.c(x)\nfor i in reversed([1, 2, 3]):\n    y = y * 0.5 + i\nreturn y",
    "loop_range_dyn": "y = s.c(x)\nfor i in range(0, y.size(1), 2):\n    y = torch.cat([y[:, i:], y[:, :i]], 1)\nreturn s.c2(y)",
    "loop_conv_if": "y = x\nfor i in range(4):\n    if i % 2 == 0:\n        y = F.relu(s.c(y))\n    else:\n        y = torch.sigmoid(y)\nreturn s.c2(y)",
    "loop_zero": "y = s.c(x)\nfor i in range(0):\n    y = s.c2(y)\nreturn y",
    "loop_many": "y = s.c(x)\nfor i in range(100):\n    y = y + 0.125\nreturn y",
    "loop_list_state": "ys = [s.c(x)]\nfor i in range(3):\n    ys.append(F.relu(ys[-1] + ys[0]))\nreturn s.c2(ys[-1])",
    "loop_dict_state": "d = {'h': s.c(x)}\nfor i in range(3):\n    d['h'] = torch.tanh(d['h'] + x)\nreturn d['h']",
    "if_in_if_conv": "y = s.c(x)\nif x.dim() == 4:\n    if x.size(0) == 2:\n        y = F.relu(s.c(y))\n    elif x.size(0) == 3:\n        y = s.c2(y)\nelse:\n    y = y[0]\nreturn y",
    "if_both_quant": "if x.size(0) > 1:\n    y = F.relu(s.c(x))\nelse:\n    y = F.relu(s.c(x + 1))\nreturn s.c2(y)",
    "if_none_else": "y: Optional[Tensor] = None\nif x.size(0) > 1:\n    y = s.c(x)\nz = y if y is not None else x\nreturn s.c2(z)",
    "if_bool_tensor": "y = s.c(x)\nif (x > 1e6).any():\n    y = y * 2\nreturn s.c2(y)",
    "if_swap": "a, b = s.c(x), s.c(x + 1)\nif x.size(0) > 1:\n    a, b = b, a\nreturn torch.cat([a, b], 1)",
    "if_raise": "y = s.c(x)\nif y.size(1) != 4:\n    raise ValueError('channels')\nreturn F.relu(y)",
    "early_exit_loop": "y = s.c(x)\nfor i in range(3):\n    y = s.c(y)\n    if y.size(0) > i:\n        return F.relu(y)\nreturn y",
    "assert_not": "assert not x.is_cuda and x.device.type == 'cpu' and x.layout == torch.strided, 'where'\nreturn s.c(x)",
    "dtype_compare": "y = s.c(x)\nif x.dtype in (torch.float32, torch.float64):\n    y = y + 1\nreturn y.to(dtype=x.dtype, device=x.device)",
    "device_new": "return s.c(x) + torch.zeros([6], device=torch.device('cpu'), dtype=torch.half)",
    "finfo": "return s.c(x).clamp(min=torch.finfo(torch.float32).min, max=torch.finfo(torch.float32).max)",
    "numel_item": "y = s.c(x)\nreturn y + y.numel() + y.element_size() + y.storage_offset() + y.stride()[0]",
    "item_arith": "y = s.c(x)\nreturn y + y.max().item() * 2 - y.min().item()",
    "tolist": "y = s.c(x)\nn: List[float] = y[0, 0, 0].tolist()\nreturn y + n[0]",
    "tensor_bool_ops": "a, b = x.sum() > 1e6, x.sum() < 1e6\ny = s.c(x)\nif a or (b and not a):\n    y = y + 1\nreturn y",
    "tensor_as_index": "y = s.c(x)\ni = torch.tensor(1)\nreturn y[i] + y[:, i].unsqueeze(1).mean()",
    "tensor_len_loop": "y = s.c(x)\nz = y[0]\nfor i in range(len(y)):\n    z = z + y[i]\nreturn z",
    "del_item": "y = s.c(x)\nd = {'a': y}\nz = d['a']\ndel d, y\nreturn z + 1",
    "shadow": "y = s.c(x)\nx = F.relu(y)\ny = x + y\nx = s.c(y)\nreturn x",
    "walrus_free_names": "_ = s.c(x)\n__ = _ + 1\nπ = __ * 2\nreturn π",
    "keywords_as_names": "self = s.c(x)\nNone_ = self + 1\nCONSTANTS = None_ * 2\ntorch_ = CONSTANTS\nops = torch_\nreturn ops",
    "grad_modes": "with torch.no_grad():\n    y = s.c(x)\nwith torch.enable_grad():\n    y = F.relu(y)\nreturn y",
    "inference_detach": "y = s.c(x).detach().requires_grad_(True)\nreturn s.c2(y.detach())",
    "is_scripting": "if torch.jit.is_scripting():\n    return F.relu(s.c(x))\nelse:\n    return s.c(x)",
    "is_tracing": "y = s.c(x)\nif not torch.jit.is_tracing():\n    y = y + 1\nreturn y",
    "hasattr": "y = s.c(x)\nif hasattr(s, 'k'):\n    y = y * s.k\nif hasattr(s, 'nothing'):\n    y = y * 3\nreturn y",
    "getattr": "return s.c(x) * getattr(s, 'k') + s.c.stride[0] + s.c.kernel_size[1] + s.c.groups",
    "annotate": "z = torch.jit.annotate(Optional[Tensor], None)\nif z is None:\n    z = s.c(x)\nreturn torch.jit._unwrap_optional(z)",
    "recursive_types": "z: Dict[str, List[Tuple[int, Tensor]]] = {'a': [(1, s.c(x))]}\nn, y = z['a'][0]\nreturn y + n",
    "async_lists": "fs: List[torch.jit.Future[Tensor]] = []\nfor i in range(2):\n    fs.append(torch.jit.fork(F.relu, s.c(x + i)))\nreturn torch.jit.wait(fs[0]) + fs[1].wait()",
}


class Kind(enum.Enum):
    RELU = "relu"
    TANH = "tanh"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 3


class Point(NamedTuple):
    a: Tensor
    n: int
    inner: Optional[Tuple[Tensor, float]]


class Deeper(NamedTuple):
    p: Point
    tags: List[str]


@torch.jit.script
class Counter:
    """A class with a state."""

    def __init__(self, start: int, step: float = 0.5):
        self.n = start
        self.step = step
        self.seen: Dict[str, int] = {}

    def __len__(self) -> int:
        return self.n

    def __contains__(self, name: str) -> bool:
        return name in self.seen

    def __getitem__(self, at: int) -> float:
        return self.step * at

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.step

    def add(self, name: str) -> int:
        self.n += 1
        self.seen[name] = self.n
        return self.n

    @property
    def twice(self) -> int:
        return self.n * 2

    @staticmethod
    def of(x: Tensor) -> Tensor:
        return F.relu(x)


@torch.jit.script
class Vector:
    """A class with operators."""

    def __init__(self, x: Tensor, k: float):
        self.x = x
        self.k = k

    def __add__(self, other: "Vector") -> "Vector":
        return Vector(self.x + other.x, self.k)

    def __mul__(self, k: float) -> "Vector":
        return Vector(self.x * k, self.k)

    def __eq__(self, other: "Vector") -> bool:
        return self.k == other.k

    def __lt__(self, other: "Vector") -> bool:
        return self.k < other.k

    def __neg__(self) -> "Vector":
        return Vector(-self.x, self.k)


@torch.jit.script
class Scope:
    """A context manager."""

    def __init__(self, depth: int):
        self.depth = depth

    def __enter__(self) -> int:
        self.depth += 1
        return self.depth

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.depth -= 1


class UsesCounter(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        k = Counter(2)
        n = k.add("a") + len(k) + k.twice
        y = k(s.c(x)) + k[3] + n
        if "a" in k and "b" not in k:
            y = Counter.of(y)
        return y


class UsesVector(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.d = conv(padding=1), conv()

    def forward(s, x):
        v = Vector(s.c(x), 1.0) + -Vector(s.c(x + 1), 2.0) * 3.0
        if v == Vector(x, 1.0) and v < Vector(x, 2.0):
            return s.d(v.x)
        return v.x


class UsesScope(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        scope = Scope(1)
        with scope as depth:
            y = s.c(x) + depth
            with Scope(5) as inner:
                y = y * inner
        return F.relu(y + scope.depth)


class UsesKind(nn.Module):
    def __init__(s, kind):
        super().__init__()
        s.c, s.kind = conv(), kind
        s.table: Dict[str, float] = {"relu": 0.5, "tanh": 2.0}

    def forward(s, x):
        y = s.c(x)
        if s.kind == Kind.RELU:
            y = F.relu(y)
        elif s.kind is Kind.TANH or s.kind != Kind.RELU:
            y = torch.tanh(y)
        return y * s.table[s.kind.value] + len(s.kind.name)


class UsesDeeper(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def part(s, p: Point) -> Tensor:
        """What a tuple in a tuple is."""
        inner = p.inner
        y = p.a
        if inner is not None:
            y = inner[0]
        return y * p.n

    def forward(s, x):
        y = s.c(x)
        d = Deeper(Point(y, 2, (F.relu(y), 0.5)), ["a", "b"])
        return s.part(d.p) + s.part(Point(n=3, a=d.p.a, inner=None)) + len(d.tags)


class Named(nn.Module):
    """Parts whose names are no names of Python."""

    def __init__(s):
        super().__init__()
        s.parts = nn.ModuleDict()
        for name in ("in_", "1", "x_1", "self", "__x", "forward_", "training_"):
            s.parts[name] = conv(padding=1)

    def forward(s, x):
        for layer in s.parts.values():
            x = F.relu(layer(x))
        return x


class NumberedSequence(nn.Module):
    def __init__(s):
        super().__init__()
        s.seq = nn.Sequential()
        s.seq.add_module("10", conv(padding=1))
        s.seq.add_module("0x", nn.ReLU())
        s.seq.add_module("9", conv())

    def forward(s, x):
        return s.seq(x)


def same_names():
    """Classes with the same name, in the scope of a function."""

    class Part(nn.Module):
        def __init__(s):
            super().__init__()
            s.c, s.k_ = conv(), 0.5

        def forward(s, x):
            return s.c(x) * s.k_

    first = Part

    class Part(nn.Module):
        def __init__(s):
            super().__init__()
            s.a, s.b = first(), nn.Tanh()

        def forward(s, x):
            return s.b(s.a(x))

    return Part()


class Constants(nn.Module):
    """Every kind of plain value that a module can hold."""

    limits: Final[Tuple[int, int]]
    sizes: Final[List[int]]
    label: Final[str]
    nothing: Optional[Tensor]
    empty_list: List[Tensor]
    empty_dict: Dict[str, Tensor]
    table: Dict[int, List[float]]
    nested: Dict[str, Dict[str, int]]
    maybe: List[Optional[int]]
    either: Union[int, str]

    def __init__(s):
        super().__init__()
        s.c = conv()
        s.limits, s.sizes, s.label = (-(2**63), 2**63 - 1), [1, 2, 3], "a'b\"c\\d\ne\tfä漢\U0001f600"
        s.inf, s.minus, s.nan, s.zero = math.inf, -math.inf, math.nan, -0.0
        s.small, s.large = 5e-324, 1.7976931348623157e308
        s.where, s.kind, s.layout = torch.device("cpu"), torch.float16, torch.strided
        s.flags: List[bool] = [True, False]
        s.nothing = None
        s.empty_list = []
        s.empty_dict = {}
        s.pairs: List[Tuple[str, float]] = [("a", 0.5), ("b", 1.5)]
        s.table = {3: [0.1, 0.2], -1: []}
        s.nested = {"x": {"y": 4}, "": {}}
        s.maybe = [1, None]
        s.either = "z"
        
        s.tensors: Dict[str, Tensor] = {"one": torch.ones(1), "two": torch.full([1, 1], 2.0)}

    def forward(s, x):
        y = s.c(x) + float(s.limits[0] < s.limits[1]) + len(s.label) + s.sizes[-1]
        if s.inf > s.large and s.minus < 0 and s.nan != 0.0 and s.small > 0.0 and s.zero == 0.0:
            y = y + 1
        if s.flags[0] and s.nothing is None and len(s.empty_list) + len(s.empty_dict) == 0:
            y = y * s.pairs[1][1] + s.table[3][1] + s.nested["x"]["y"]
        n = s.maybe[0]
        if n is not None and x.device == s.where:
            y = y * n
        return (y + s.tensors["two"]).to(s.kind).to(torch.float32)


class Buffers(nn.Module):
    """Tensors of every type, layout and size."""

    def __init__(s):
        super().__init__()
        s.c = conv()
        base = torch.arange(24.0)
        for name, value in {
            "halves": torch.tensor([0.5, 1.5], dtype=torch.half),
            "brains": torch.tensor([0.5, 1.5], dtype=torch.bfloat16),
            "doubles": torch.tensor([0.5], dtype=torch.double),
            "flags": torch.tensor([True, False]),
            "bytes": torch.tensor([1, 255], dtype=torch.uint8),
            "shorts": torch.tensor([-300], dtype=torch.int16),
            "empty": torch.empty(0, 3),
            "wide": torch.ones(1).expand(6),
            "swapped": base.view(4, 6).t(),
            "offset": base[5:9],
            "stepped": base[::5],
            "last": base.view(1, 4, 2, 3).contiguous(memory_format=torch.channels_last),
            "zero": torch.tensor(3.0),
        }.items():
            s.register_buffer(name, value)

    def forward(s, x):
        y = s.c(x) * s.halves.float()[0] + s.brains.float()[1] + s.doubles.float() + s.flags.sum() + s.bytes[1]
        y = y + s.shorts + s.empty.size(1) + s.wide.sum() + s.swapped[5, 3] + s.offset[1] + s.stepped[2]
        return y + s.last.sum() + s.zero


class QuantizedBuffers(nn.Module):
    """Quantized tensors as attributes, per tensor and per channel."""

    def __init__(s):
        super().__init__()
        s.c = conv(4, 4, 1)
        s.register_buffer("q", torch.quantize_per_tensor(torch.randn(4, 1, 1), 0.05, 100, torch.quint8))
        s.register_buffer(
            "r", torch.quantize_per_channel(torch.randn(4, 4), torch.full([4], 0.02).double(), torch.zeros(4).long(), 0, torch.qint8)
        )

    def forward(s, x):
        return s.c(x) + s.q.dequantize() + s.r.dequantize().sum()


class LastWeights(nn.Module):
    """Weights in channels-last order, and a bias that does not start where its storage does."""

    def __init__(s):
        super().__init__()
        s.c, s.d = conv().to(memory_format=torch.channels_last), conv()
        whole = torch.randn(9)
        s.d.bias = nn.Parameter(whole[5:])

    def forward(s, x):
        return s.d(F.relu(s.c(x)))


class SharedBlock(nn.Module):
    """A block that two parents own, and a weight that two layers share with another view of it."""

    def __init__(s):
        super().__init__()
        block = nn.Sequential(conv(padding=1), nn.ReLU())
        s.a, s.b = nn.Sequential(block, conv(padding=1)), nn.ModuleList([block, block])
        s.t = conv(padding=1)
        s.t.weight = s.a[1].weight

    def forward(s, x):
        y = s.a(x)
        for layer in s.b:
            y = layer(y)
        return s.t(y)


class ManyMethods(nn.Module):
    """Methods with default, keyword and optional arguments that call each other."""

    def __init__(s):
        super().__init__()
        s.c, s.d = conv(padding=1), conv()

    def first(s, x: Tensor, k: float = 0.5, relu: bool = True, add: Optional[Tensor] = None) -> Tensor:
        y = s.c(x) * k
        if add is not None:
            y = y + add
        return F.relu(y) if relu else y

    def second(s, x: Tensor, ns: List[int], d: Dict[str, float]) -> Tuple[Tensor, int]:
        return s.first(x, d["k"], relu=False, add=x), sum(ns)

    @torch.jit.export
    def third(s, x: Tensor) -> Tensor:
        return s.d(s.first(x))

    def forward(s, x):
        y, n = s.second(s.first(x), [1, 2], {"k": 0.25})
        return s.third(y) + n


class Ignored(nn.Module):
    """Methods that scripting leaves out."""

    def __init__(s):
        super().__init__()
        s.c = conv()

    @torch.jit.unused
    def never(s, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(s, x):
        y = s.c(x)
        if y.dim() > 9:
            y = s.never(y)
        return F.relu(y)


class TracedIn(nn.Module):
    """A traced part in a scripted module."""

    def __init__(s):
        super().__init__()
        s.part = torch.jit.trace(nn.Sequential(conv(padding=1), nn.ReLU()).eval(), torch.randn(IMAGE))
        s.c = conv()

    def forward(s, x):
        if x.size(0) > 1:
            x = s.part(x)
        return s.c(x)


@torch.jit.script
def branching(x: Tensor, n: int) -> Tensor:
    """A scripted function that a trace calls."""
    if n > 1:
        x = F.relu(x)
    for i in range(n):
        x = x + i
    return x


class ScriptedIn(nn.Module):
    """Scripted parts in a traced module."""

    def __init__(s):
        super().__init__()
        s.part = torch.jit.script(nn.Sequential(conv(padding=1), nn.Hardtanh()))
        s.c = conv()

    def forward(s, x):
        return s.c(branching(s.part(x), x.size(0)))


class TracedReturns(nn.Module):
    """A trace that answers a dict."""

    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        y = s.c(x)
        return y, (F.relu(y), [y * 2])


class TracedConstants(nn.Module):
    """What a trace makes constants of."""

    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        y = s.c(x)
        mask = torch.ones(y.shape[2:]).tril().bool()
        y = y.masked_fill(mask, float("-inf")).clamp(min=-1.0)
        return y + torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, -1, 1, 1) + torch.arange(y.shape[3]).half().float()


class Bare(nn.Module):
    """A parameter and no layer."""

    def __init__(s):
        super().__init__()
        s.w, s.b = nn.Parameter(torch.randn(4, 4, 3, 3)), nn.Parameter(torch.randn(4))
        s.l = nn.ParameterList([nn.Parameter(torch.randn(6, 6)) for _ in range(2)])

    def forward(s, x):
        y = F.conv2d(x, s.w, s.b, padding=1)
        for w in s.l:
            y = F.relu(F.linear(y, w))
        return y


class Gates(nn.Module):
    """A recurrence over rows with quantized states in a tuple."""

    def __init__(s):
        super().__init__()
        s.i, s.h = nn.Linear(5, 8), nn.Linear(4, 8)

    def forward(s, x):
        state = (torch.zeros(4), torch.zeros(4))
        out: List[Tensor] = []
        for row in x.unbind(0):
            g = s.i(row) + s.h(state[0])
            a, b = g.chunk(2, -1)
            state = (torch.tanh(a) * torch.sigmoid(b), state[1] + 1)
            out.append(state[0])
        return torch.stack(out) + state[1]


class KeepsQuantized(nn.Module):
    """A state that a quantized layer writes on every call."""

    history: List[int]
    memory: Dict[str, Tensor]

    def __init__(s):
        super().__init__()
        s.c = conv(padding=1)
        s.register_buffer("state", torch.zeros(2, 4, 7, 6))
        s.history = []
        s.memory = {"last": torch.zeros(1)}

    def forward(s, x):
        y = F.relu(s.c(x) + s.state)
        s.state.copy_(y)
        s.history.append(y.size(0))
        s.memory["last"] = y.mean()
        return y + len(s.history) + s.memory["last"]


class SwitchedPart(nn.Module):
    """A part that is there or not."""

    def __init__(s, there):
        super().__init__()
        s.c, s.part = conv(), nn.BatchNorm2d(4) if there else None

    def forward(s, x):
        y = s.c(x)
        if s.part is not None:
            y = s.part(y)
        return y


@torch.jit.interface
class Stage(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pass

    def scale(self) -> float:
        pass


class StageA(nn.Module):
    def __init__(s, k):
        super().__init__()
        s.w, s.b, s.k = nn.Parameter(torch.randn(4, 4, 3, 3)), nn.Parameter(torch.randn(4)), k

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, self.w, self.b, padding=1))

    def scale(self) -> float:
        return self.k


class StageB(StageA):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.w, self.b, padding=1) * self.scale()


class Stages(nn.Module):
    first: Stage
    second: Stage

    def __init__(s):
        super().__init__()
        s.first, s.second = StageA(0.5), StageB(2.0)

    def run(s, stage: Stage, x: Tensor) -> Tensor:
        return stage.forward(x) * stage.scale()

    def forward(s, x):
        y = s.first.forward(x) * s.first.scale()
        return s.second.forward(y) + s.second.scale()


class StageList(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.ModuleList([StageA(0.5), StageB(2.0), StageA(1.5)])

    def forward(s, x):
        for layer in s.l:
            x = layer.forward(x)
        return s.l[1].forward(x) + len(s.l)


class ForkMethods(nn.Module):
    """Tasks that start tasks, and a task whose answer is a tuple."""

    def __init__(s):
        super().__init__()
        s.c, s.d = conv(padding=1), conv(padding=1)

    def pair(s, x: Tensor) -> Tuple[Tensor, int]:
        inner = torch.jit.fork(s.d, x)
        return F.relu(s.c(x)) + torch.jit.wait(inner), x.size(0)

    def forward(s, x):
        task = torch.jit.fork(s.pair, x)
        y = s.d(x)
        z, n = torch.jit.wait(task)
        return torch.cat([y, z * n], 1)


class Dotted(nn.Module):
    """Preserved names with dots, deep inside."""

    def __init__(s):
        super().__init__()
        s.a = nn.Sequential(StageA(0.5), nn.Sequential(StageB(2.0)))
        s.k = 3

    def forward(s, x):
        return s.a(x) * s.k


class Inherits(Dotted):
    """A class that calls its base's method."""

    def forward(s, x):
        return F.relu(s.a(x)) + s.k


def pruned():
    """Weights that pruning has set to zero, with the mask still there."""
    net = nn.Sequential(conv(), nn.ReLU(), conv(4, 4, 1))
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    prune.remove(net[0], "weight")
    return net


def normed():
    """A weight that is computed from another on every call."""
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
    nn.utils.weight_norm(net[0])
    return net


class ByHand(nn.Module):
    """A layer that is quantized in its own text: its input, its weight and its answer are numbers on a grid."""

    def __init__(s, layer):
        super().__init__()
        s.layer, s.scale = layer, float(layer.weight.abs().max()) / 127

    def weight(s) -> Tensor:
        return torch.quantize_per_tensor(s.layer.weight, s.scale, 0, torch.qint8).dequantize()

    def forward(s, x: Tensor) -> Tensor:
        x = torch.quantize_per_tensor(x, 0.05, 64, torch.quint8).dequantize()
        y = F.linear(x, s.weight(), s.layer.bias)
        return torch.quantize_per_tensor(y, 0.1, 60, torch.quint8).dequantize()


class ConvByHand(ByHand):
    def forward(s, x: Tensor) -> Tensor:
        x = torch.quantize_per_tensor(x, 0.05, 64, torch.quint8).dequantize()
        layer = s.layer
        y = F.conv2d(x, s.weight(), layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        return torch.quantize_per_tensor(y, 0.1, 60, torch.quint8).dequantize()


def by_hand(net, batches):
    """Every layer quantized by hand, and then scripted."""
    whole = nn.ModuleDict({"net": net})
    done = {}
    for owner in list(whole.modules()):
        for name, layer in list(owner._modules.items()):
            if type(layer) in (nn.Conv2d, nn.Linear):
                kind = ConvByHand if type(layer) is nn.Conv2d else ByHand
                owner._modules[name] = done.setdefault(id(layer), kind(layer))
    return torch.jit.script(whole["net"].eval())


MODULES = {
    "counter": (UsesCounter, (IMAGE,)),
    "vector": (UsesVector, (IMAGE,)),
    "scope": (UsesScope, (IMAGE,)),
    "kind_relu": (lambda: UsesKind(Kind.RELU), (IMAGE,)),
    "kind_tanh": (lambda: UsesKind(Kind.TANH), (IMAGE,)),
    "deeper": (UsesDeeper, (IMAGE,)),
    "named": (Named, (IMAGE,)),
    "numbered": (NumberedSequence, (IMAGE,)),
    "same_names": (same_names, (IMAGE,)),
    "constants": (Constants, (IMAGE,)),
    "buffers": (Buffers, (IMAGE,)),
    "quantized_buffers": (QuantizedBuffers, (IMAGE,)),
    "last_weights": (LastWeights, (IMAGE,)),
    "shared_block": (SharedBlock, (IMAGE,)),
    "many_methods": (ManyMethods, (IMAGE,)),
    "ignored": (Ignored, (IMAGE,)),
    "traced_in": (TracedIn, (IMAGE,)),
    "bare": (Bare, (IMAGE,)),
    "gates": (Gates, (ROW,)),
    "keeps_quantized": (KeepsQuantized, (IMAGE,)),
    "part_there": (lambda: SwitchedPart(True), (IMAGE,)),
    "part_missing": (lambda: SwitchedPart(False), (IMAGE,)),
    "stages": (Stages, (IMAGE,)),
    "stage_list": (StageList, (IMAGE,)),
    "fork_methods": (ForkMethods, (IMAGE,)),
    "dotted": (Dotted, (IMAGE,)),
    "inherits": (Inherits, (IMAGE,)),
    "pruned": (pruned, (IMAGE,)),
}
TRACED = {
    "scripted_in": (ScriptedIn, (IMAGE,)),
    "returns": (TracedReturns, (IMAGE,)),
    "constants": (TracedConstants, (IMAGE,)),
    "named": (Named, (IMAGE,)),
    "gates": (Gates, (ROW,)),
    "last_weights": (LastWeights, (IMAGE,)),
    "bare": (Bare, (IMAGE,)),
    "normed": (normed, (ROW,)),
}
# Inputs of other layouts, sizes and types.
INPUTS = {
    "last": lambda: torch.randn(IMAGE).contiguous(memory_format=torch.channels_last),
    "one": lambda: torch.randn(1, 4, 3, 3),
    "none": lambda: torch.randn(0, 4, 7, 6),
    "wide": lambda: torch.randn(1, 4, 3, 70),
    "unbatched": lambda: torch.randn(4, 7, 6),
    "transposed": lambda: torch.randn(2, 4, 6, 7).transpose(2, 3),
    "expanded": lambda: torch.randn(1, 1, 7, 6).expand(2, 4, 7, 6),
    "ramp": lambda: torch.linspace(-2, 2, 336).view(IMAGE),
    "halves": lambda: (torch.randint(-9, 9, IMAGE).float() + 0.5) / 16,
    "constant": lambda: torch.full(IMAGE, 0.25),
    "infinite": lambda: torch.randn(IMAGE).masked_fill(torch.rand(IMAGE) > 0.9, math.inf),
    "minus_zero": lambda: -torch.zeros(IMAGE),
}


def strange():
    """All of them."""
    layers = lambda: {"c": conv(padding=1), "c2": conv(), "l": nn.Linear(2, 3), "k": 0.75}
    for at, (name, text) in enumerate(LINES.items()):
        make = lambda text=text: written(text, **layers())
        yield Case(f"more_{name}", make, (IMAGE,), CONFIGS[at % 7])
    for at, (name, (make, shapes)) in enumerate(MODULES.items()):
        yield Case(f"odd_{name}", make, shapes, CONFIGS[at % 7])
        yield Case(f"odd_{name}_dyn", make, shapes, ("dyn", "dyn_pc", "fp16")[at % 3], "dynamic")
        yield Case(f"odd_{name}_hand", make, shapes, way=by_hand)
    for at, (name, (make, shapes)) in enumerate(TRACED.items()):
        yield Case(f"odd_traced_{name}", make, shapes, CONFIGS[at % 7], mode="trace")
    for at, (name, value) in enumerate(INPUTS.items()):
        for net, text in {"conv": "return F.relu(s.c2(s.c(x)))", "add": "return F.hardswish(s.c(x) + x)"}.items():
            make = lambda text=text: written(text, **layers())
            yield Case(f"odd_input_{name}_{net}", make, (), CONFIGS[at % 7], values=lambda value=value: (value(),))
    kept = (
        ("a.0.k",),
        ("a.1.0.b",),
        ("a.0.scale", "a.1.0.scale"),
        ("a.1", "k"),
        ("a.0.w",),
        ("a.1.0.forward",),
        ("k", "a.0.w", "a"),
    )
    for at, names in enumerate(kept):
        yield Case(f"odd_kept_{at}", Dotted, (IMAGE,), CONFIGS[at % 7], preserved=names)
    yield Case("odd_kept_third", ManyMethods, (IMAGE,), "pc7", preserved=("third",))
    yield Case("odd_kept_state", KeepsQuantized, (IMAGE,), "pc7", preserved=("memory", "state"))
