"""Whole small networks at the sizes of practice (`net_*`): the first example of each kind, quantized in several ways.

Sums over more numbers than a vector holds, rows that end within a vector, channels beyond a tile: the other tables' modules have a few
channels of a few pixels.
"""

import torch
from torch import nn

from oracle_cases import CONV, Case, warmed, written

STATIC = ("pc7", "fbgemm", "pt7", "x86", "pt8", "qnnpack", "pc8", "onednn")
PER_TENSOR = ("pt7", "pt8", "qnnpack")
TRANSPOSED = ("unet_transposed", "generator", "autoencoder", "wave_up")
DYNAMIC = ("dyn", "dyn_pc", "fp16")
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def networks():
    """Each network as scripted and as traced, by configurations in turn; what is made of linear layers by those of its kind besides."""
    turn = 0
    for name, (make, *shapes) in NETWORKS.items():
        # Per channel PyTorch refuses transposed convolutions; it traces no dicts.
        configs = PER_TENSOR if name in TRANSPOSED else STATIC
        for mode in ("script", "trace")[: 1 if name == "two_heads" else 2]:
            config, turn = configs[turn % len(configs)], turn + 1
            yield Case(f"net_{name}_{mode}", make, tuple(shapes), config, mode=mode)
    for name, (make, *shapes) in LINEAR.items():
        for at, config in enumerate((*DYNAMIC, STATIC[turn % len(STATIC)])):
            mode, turn = ("script", "trace")[(turn + at) % 2], turn + 1
            yield Case(f"net_{name}_{config}", make, tuple(shapes), config, "static" if config in STATIC else "dynamic", mode=mode)


def normed(channels, to, kernel=3, stride=1, groups=1, act=nn.ReLU, rank=2, padding=None, dilation=1):
    """A convolution, its norm and its activation."""
    padding = dilation * (kernel - 1) // 2 if padding is None else padding
    layers = [CONV[rank](channels, to, kernel, stride, padding, dilation, groups, bias=False), warmed(NORM[rank](to))]
    return nn.Sequential(*layers, *([act()] if act else []))


def residual(channels, to, stride=1, act=nn.ReLU, rank=2):
    """Two convolutions and the way around them."""
    way = nn.Identity() if channels == to and stride == 1 else normed(channels, to, 1, stride, act=None, rank=rank)
    body = nn.Sequential(normed(channels, to, 3, stride, act=act, rank=rank), normed(to, to, act=None, rank=rank))
    return written("return s.act(s.body(x) + s.way(x))", body=body, way=way, act=act())


def bottleneck(channels, inner, stride=1):
    """Narrow, convolve, widen; added in place."""
    body = nn.Sequential(normed(channels, inner, 1), normed(inner, inner, 3, stride), normed(inner, 4 * inner, 1, act=None))
    way = normed(channels, 4 * inner, 1, stride, act=None)
    return written("y = s.body(x)\ny += s.way(x)\nreturn s.act(y)", body=body, way=way, act=nn.ReLU(True))


def inverted(channels, to, stride, act, kernel=3, expand=4):
    """Widen, convolve by channel, narrow."""
    wide = expand * channels
    body = nn.Sequential(
        normed(channels, wide, 1, act=act), normed(wide, wide, kernel, stride, wide, act), normed(wide, to, 1, act=None)
    )
    return written("return x + s.body(x)" if channels == to and stride == 1 else "return s.body(x)", body=body)


def excited(channels, squeeze, gate=nn.Sigmoid):
    """Channels weighed by what is seen in all of the image."""
    fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeeze, 1), nn.ReLU(), nn.Conv2d(squeeze, channels, 1), gate())
    return written("return x * s.fc(x)", fc=fc)


def shuffled(channels):
    """Half of the channels convolved, then the halves dealt out."""
    body = nn.Sequential(
        normed(channels // 2, channels // 2, 1), normed(channels // 2, channels // 2, 3, 1, channels // 2, None), normed(channels // 2, channels // 2, 1)
    )
    deal = "b, c, h, w = x.shape\nx = x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)"
    return written(f"a, b = x.chunk(2, 1)\nx = torch.cat((a, s.body(b)), 1)\n{deal}\nreturn x", body=body)


def dense(channels, growth, layers):
    """Each layer sees what all before it made."""
    parts = {f"l{at}": nn.Sequential(warmed(nn.BatchNorm2d(channels + at * growth)), nn.ReLU(), nn.Conv2d(channels + at * growth, growth, 3, 1, 1)) for at in range(layers)}
    lines = [f"x = torch.cat([x, s.l{at}(x)], 1)" for at in range(layers)]
    return written("\n".join(lines) + "\nreturn x", **parts)


def inception(channels, to):
    """Four views beside each other."""
    parts = {
        "a": normed(channels, to, 1),
        "b": nn.Sequential(normed(channels, to, 1), normed(to, to)),
        "c": nn.Sequential(normed(channels, to, 1), normed(to, to, 5)),
        "d": nn.Sequential(nn.MaxPool2d(3, 1, 1), normed(channels, to, 1)),
    }
    return written("return torch.cat([s.a(x), s.b(x), s.c(x), s.d(x)], 1)", **parts)


def head(channels, classes=10, rank=2):
    """The mean of all that is left, and classes."""
    one = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[rank]
    return nn.Sequential(one(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, classes))


def chain(*layers):
    """Layers one after the other, made anew on each call."""
    return lambda: nn.Sequential(*[layer() for layer in layers])


def lenet(act=nn.ReLU, pool=nn.MaxPool2d):
    """Two convolutions and three linear layers."""
    body = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), act(), pool(2), nn.Conv2d(6, 16, 5), act(), pool(2), nn.Flatten())
    return nn.Sequential(*body, nn.Linear(400, 120), act(), nn.Linear(120, 84), act(), nn.Linear(84, 10))


def unet(up, norm=True):
    """Down, up, and across."""
    block = lambda a, b: nn.Sequential(normed(a, b), normed(b, b)) if norm else nn.Sequential(nn.Conv2d(a, b, 3, 1, 1), nn.ReLU(True))
    rise = {
        "transposed": lambda a: nn.ConvTranspose2d(a, a // 2, 2, 2),
        "bilinear": lambda a: nn.Sequential(nn.Upsample(size=(16, 16), mode="bilinear", align_corners=False), nn.Conv2d(a, a // 2, 1)),
        "nearest": lambda a: nn.Sequential(nn.UpsamplingNearest2d((16, 16)), nn.Conv2d(a, a // 2, 1)),
    }[up]
    text = "a = s.a(x)\nb = s.b(s.p(a))\nreturn s.o(s.c(torch.cat([a, s.u(b)], 1)))"
    return lambda: written(text, a=block(3, 16), p=nn.MaxPool2d(2), b=block(16, 32), u=rise(32), c=block(32, 16), o=nn.Conv2d(16, 2, 1))


def attention(width, heads, mask=False):
    """Attention written out."""
    lines = [
        "b, t, d = x.shape",
        f"q, k, v = s.qkv(x).view(b, t, 3, {heads}, {width // heads}).permute(2, 0, 3, 1, 4).unbind(0)",
        f"a = torch.matmul(q, k.transpose(-2, -1)) * {(width // heads) ** -0.5}",
        "a = a.masked_fill(torch.triu(torch.ones(t, t), 1) > 0, -1e9)" if mask else "",
        "y = torch.matmul(torch.softmax(a, -1), v).transpose(1, 2).reshape(b, t, d)",
        "return s.o(y)",
    ]
    return written("\n".join(line for line in lines if line), qkv=nn.Linear(width, 3 * width), o=nn.Linear(width, width))


def encoder(width, heads, first=True, act=nn.GELU, mask=False):
    """Attention and two linear layers, with norms before or after."""
    text = (
        "x = x + s.a(s.n1(x))\nreturn x + s.f(s.n2(x))" if first else "x = s.n1(x + s.a(x))\nreturn s.n2(x + s.f(x))"
    )
    feed = nn.Sequential(nn.Linear(width, 4 * width), act(), nn.Dropout(0.1), nn.Linear(4 * width, width))
    return written(text, a=attention(width, heads, mask), n1=nn.LayerNorm(width), n2=nn.LayerNorm(width), f=feed)


def vit():
    """Patches of an image through an encoder."""
    text = "x = s.p(x).flatten(2).transpose(1, 2) + s.pos\nx = s.n(s.e(x))\nreturn s.h(x.mean(1))"
    return written(text, p=nn.Conv2d(3, 32, 4, 4), pos=nn.Parameter(torch.randn(1, 16, 32) / 4), e=encoder(32, 4), n=nn.LayerNorm(32), h=nn.Linear(32, 10))


def mixer():
    """Linear layers over patches and over channels."""
    text = "x = s.p(x).flatten(2).transpose(1, 2)\nx = x + s.t(s.n1(x).transpose(1, 2)).transpose(1, 2)\nx = x + s.c(s.n2(x))\nreturn s.h(x.mean(1))"
    mlp = lambda a, b: nn.Sequential(nn.Linear(a, b), nn.GELU(), nn.Linear(b, a))
    return written(text, p=nn.Conv2d(3, 24, 4, 4), n1=nn.LayerNorm(24), n2=nn.LayerNorm(24), t=mlp(16, 32), c=mlp(24, 48), h=nn.Linear(24, 7))


def convnext(width):
    """A wide kernel by channel, and linear layers per pixel."""
    text = "y = s.d(x).permute(0, 2, 3, 1)\ny = s.b(s.act(s.a(s.n(y))))\nreturn x + (s.g * y).permute(0, 3, 1, 2)"
    return written(text, d=nn.Conv2d(width, width, 7, padding=3, groups=width), n=nn.LayerNorm(width), a=nn.Linear(width, 4 * width), act=nn.GELU(), b=nn.Linear(4 * width, width), g=nn.Parameter(torch.rand(width)))


def cbam(width):
    """Attention over channels, then over places."""
    text = "\n".join(
        (
            "c = torch.sigmoid(s.mlp(F.adaptive_avg_pool2d(x, 1)) + s.mlp(F.adaptive_max_pool2d(x, 1)))",
            "x = x * c",
            "m = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)",
            "return x * torch.sigmoid(s.k(m))",
        )
    )
    mlp = nn.Sequential(nn.Conv2d(width, width // 4, 1), nn.ReLU(), nn.Conv2d(width // 4, width, 1))
    return written(text, mlp=mlp, k=nn.Conv2d(2, 1, 7, padding=3))


def aspp(width):
    """Dilations beside each other, and the mean of all."""
    text = "g = F.interpolate(s.g(x), size=x.shape[-2:], mode='bilinear', align_corners=False)\nreturn s.o(torch.cat([s.a(x), s.b(x), s.c(x), g], 1))"
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 8, 1), nn.ReLU())
    return written(text, a=normed(width, 8, 1), b=normed(width, 8, dilation=2), c=normed(width, 8, dilation=4), g=pool, o=nn.Conv2d(32, 5, 1))


def pyramid():
    """Coarse features added to fine ones."""
    text = "a = s.a(x)\nb = s.b(a)\nc = s.c(b)\nr = s.lc(c)\nq = s.lb(b) + F.interpolate(r, scale_factor=2.0)\np = s.la(a) + F.interpolate(q, scale_factor=2.0)\nreturn torch.cat([s.o(p).flatten(1), s.o(q).flatten(1), s.o(r).flatten(1)], 1)"
    return written(text, a=normed(3, 16, 3, 2), b=normed(16, 24, 3, 2), c=normed(24, 32, 3, 2), la=nn.Conv2d(16, 16, 1), lb=nn.Conv2d(24, 16, 1), lc=nn.Conv2d(32, 16, 1), o=nn.Conv2d(16, 16, 3, 1, 1))


def generator():
    """From noise to an image."""
    layers = [nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh()]
    return written("return s.body(F.relu(s.l(x)).view(-1, 32, 4, 4))", l=nn.Linear(20, 512), body=nn.Sequential(*layers))


def temporal(width, dilation):
    """Causal convolutions that are cut at their end."""
    cut = 2 * dilation
    text = f"y = F.relu(s.a(x)[:, :, :-{cut}])\ny = F.relu(s.b(y)[:, :, :-{cut}])\nreturn F.relu(y + x)"
    part = lambda: nn.Conv1d(width, width, 3, padding=cut, dilation=dilation)
    return written(text, a=part(), b=part())


def gated(width, dilation):
    """Tanh by sigmoid, and what goes past."""
    text = "z = torch.tanh(s.f(x)) * torch.sigmoid(s.g(x))\nreturn s.r(z) + x[:, :, -z.size(2):], s.k(z)"
    part = lambda: nn.Conv1d(width, width, 2, dilation=dilation)
    return written(text, returns="Tuple[Tensor, Tensor]", f=part(), g=part(), r=nn.Conv1d(width, width, 1), k=nn.Conv1d(width, 8, 1))


def hourglass(depth):
    """Itself within itself, at half the size."""
    inner = hourglass(depth - 1) if depth > 1 else normed(16, 16)
    text = "y = s.c(s.inner(s.b(F.max_pool2d(x, 2))))\nreturn s.a(x) + F.interpolate(y, size=[x.size(2), x.size(3)])"
    return written(text, a=normed(16, 16), b=normed(16, 16), c=normed(16, 16), inner=inner)


def siamese():
    """One network on two images, and their distance."""
    body = nn.Sequential(normed(1, 8), nn.MaxPool2d(2), normed(8, 16), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return written("return s.l(torch.abs(s.body(x) - s.body(y)))", "x, y", body=body, l=nn.Linear(64, 1))


def points():
    """Points in space: the same for each, then the largest."""
    body = nn.Sequential(normed(3, 32, 1, rank=1), normed(32, 64, 1, rank=1))
    return written("y = torch.max(s.body(x), 2)[0]\nreturn F.log_softmax(s.l(y), 1)", body=body, l=nn.Linear(64, 5))


def two_heads():
    """Boxes and classes of one image, as a dict."""
    text = "y = s.body(x)\nreturn {'boxes': s.b(y).permute(0, 2, 3, 1).reshape(x.size(0), -1, 4), 'scores': torch.sigmoid(s.s(y)).flatten(1)}"
    return written(text, returns="Dict[str, Tensor]", body=nn.Sequential(normed(3, 16, 3, 2), normed(16, 24, 3, 2)), b=nn.Conv2d(24, 12, 1), s=nn.Conv2d(24, 3, 1))


def recurrent(kind, **options):
    """A recurrent layer between linear ones."""
    wide = 2 if options.get("bidirectional") else 1
    text = "y, h = s.r(s.a(x))\nreturn s.b(torch.relu(y))"
    return lambda: written(text, a=nn.Linear(12, 16), r=kind(16, 24, **options), b=nn.Linear(24 * wide, 6))


def mlp(*widths, act=nn.ReLU, norm=None):
    """Linear layers."""
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), *([norm(b)] if norm else []), act()]
    return nn.Sequential(*layers[:-1])


IMAGE = (2, 3, 32, 32)
FEATURES = (2, 16, 14, 14)
NETWORKS = {
    "lenet": (lenet, (3, 1, 28, 28)),
    "lenet_tanh": (lambda: lenet(nn.Tanh, nn.AvgPool2d), (2, 1, 28, 28)),
    "lenet_sigmoid": (lambda: lenet(nn.Sigmoid, nn.AvgPool2d), (1, 1, 28, 28)),
    "alex": (chain(lambda: nn.Conv2d(3, 24, 11, 4, 2), lambda: nn.ReLU(True), lambda: nn.MaxPool2d(3, 2), lambda: nn.Conv2d(24, 32, 5, padding=2), lambda: nn.ReLU(True), lambda: nn.AdaptiveAvgPool2d(2), nn.Flatten, nn.Dropout, lambda: nn.Linear(128, 48), lambda: nn.ReLU(True), lambda: nn.Linear(48, 10)), (1, 3, 63, 63)),
    "vgg": (chain(lambda: normed(3, 16), lambda: normed(16, 16), lambda: nn.MaxPool2d(2), lambda: normed(16, 32), lambda: normed(32, 32), lambda: nn.MaxPool2d(2), lambda: head(32)), IMAGE),
    "resnet": (chain(lambda: normed(3, 16), lambda: residual(16, 16), lambda: residual(16, 32, 2), lambda: residual(32, 32), lambda: head(32)), IMAGE),
    "resnet_stem": (chain(lambda: normed(3, 16, 7, 2), lambda: nn.MaxPool2d(3, 2, 1), lambda: bottleneck(16, 8), lambda: bottleneck(32, 8, 2), lambda: head(32)), (1, 3, 33, 33)),
    "mobile2": (chain(lambda: normed(3, 8, 3, 2, act=nn.ReLU6), lambda: inverted(8, 8, 1, nn.ReLU6), lambda: inverted(8, 16, 2, nn.ReLU6), lambda: head(16)), IMAGE),
    "mobile3": (chain(lambda: normed(3, 8, 3, 2, act=nn.Hardswish), lambda: inverted(8, 8, 1, nn.Hardswish, 5), lambda: excited(8, 4, nn.Hardsigmoid), lambda: head(8)), IMAGE),
    "efficient": (chain(lambda: normed(3, 8, 3, 2, act=nn.SiLU), lambda: inverted(8, 8, 1, nn.SiLU), lambda: excited(8, 2), lambda: head(8)), IMAGE),
    "mnas": (chain(lambda: normed(3, 8, 3, 2), lambda: inverted(8, 8, 1, nn.ReLU, 3, 3), lambda: inverted(8, 16, 2, nn.ReLU, 5, 6), lambda: head(16)), IMAGE),
    "shuffle": (chain(lambda: normed(3, 16, 3, 2), lambda: shuffled(16), lambda: shuffled(16), lambda: head(16)), IMAGE),
    "dense": (chain(lambda: nn.Conv2d(3, 16, 3, 2, 1), lambda: dense(16, 8, 3), lambda: nn.Conv2d(40, 20, 1), lambda: nn.AvgPool2d(2), lambda: head(20)), IMAGE),
    "inception": (chain(lambda: normed(3, 16, 3, 2), lambda: inception(16, 8), lambda: inception(32, 8), lambda: head(32)), IMAGE),
    "squeeze": (chain(lambda: normed(3, 16, 3, 2), lambda: nn.MaxPool2d(3, 2, ceil_mode=True), lambda: nn.Conv2d(16, 10, 1), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(1), nn.Flatten), IMAGE),
    "excited": (chain(lambda: normed(3, 24), lambda: excited(24, 6), lambda: head(24)), IMAGE),
    "unet_transposed": (unet("transposed"), (1, 3, 16, 16)),
    "unet_bilinear": (unet("bilinear"), (2, 3, 16, 16)),
    "unet_nearest": (unet("nearest", False), (2, 3, 16, 16)),
    "hourglass": (chain(lambda: normed(3, 16), lambda: hourglass(2), lambda: nn.Conv2d(16, 4, 1)), (1, 3, 16, 16)),
    "pyramid": (pyramid, IMAGE),
    "aspp": (chain(lambda: normed(3, 16, 3, 2), lambda: aspp(16)), IMAGE),
    "cbam": (chain(lambda: normed(3, 16), lambda: cbam(16), lambda: head(16)), (2, 3, 12, 12)),
    "convnext": (chain(lambda: nn.Conv2d(3, 16, 4, 4), lambda: convnext(16), lambda: head(16)), IMAGE),
    "vit": (vit, (2, 3, 16, 16)),
    "mixer": (mixer, (2, 3, 16, 16)),
    "generator": (generator, (2, 20)),
    "discriminator": (chain(lambda: nn.Conv2d(3, 16, 4, 2, 1), lambda: nn.LeakyReLU(0.2, True), lambda: nn.Conv2d(16, 32, 4, 2, 1), lambda: warmed(nn.BatchNorm2d(32)), lambda: nn.LeakyReLU(0.2, True), lambda: nn.Conv2d(32, 1, 8), nn.Sigmoid, nn.Flatten), IMAGE),
    "super": (chain(lambda: nn.Conv2d(1, 16, 5, padding=2), nn.Tanh, lambda: nn.Conv2d(16, 9, 3, padding=1), lambda: nn.PixelShuffle(3)), (1, 1, 13, 11)),
    "style": (chain(lambda: nn.ReflectionPad2d(4), lambda: nn.Conv2d(3, 16, 9), lambda: nn.InstanceNorm2d(16, affine=True), nn.ReLU, lambda: nn.Upsample(size=(24, 24)), lambda: nn.Conv2d(16, 3, 3, padding=1)), (1, 3, 16, 16)),
    "autoencoder": (chain(lambda: normed(1, 8, 3, 2), lambda: normed(8, 16, 3, 2), lambda: nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.ReLU, lambda: nn.ConvTranspose2d(8, 1, 3, 2, 1, 1), nn.Sigmoid), (2, 1, 28, 28)),
    "groups": (chain(lambda: nn.Conv2d(16, 32, 3, padding=1, groups=4), lambda: nn.GroupNorm(8, 32), nn.ReLU, lambda: nn.Conv2d(32, 16, 1)), FEATURES),
    "group_norm_silu": (chain(lambda: nn.GroupNorm(4, 16), nn.SiLU, lambda: nn.Conv2d(16, 16, 3, padding=1), lambda: nn.GroupNorm(4, 16), nn.SiLU, lambda: nn.Conv2d(16, 16, 3, padding=1)), FEATURES),
    "activations": (chain(lambda: normed(16, 16, act=nn.ELU), lambda: normed(16, 16, act=nn.Hardswish), lambda: normed(16, 16, act=nn.LeakyReLU), lambda: normed(16, 16, act=nn.Hardsigmoid), lambda: normed(16, 16, act=nn.Tanh), lambda: normed(16, 16, act=nn.PReLU)), FEATURES),
    "siamese": (siamese, (2, 1, 20, 20), (2, 1, 20, 20)),
    "two_heads": (two_heads, IMAGE),
    "speech": (chain(lambda: nn.Conv1d(1, 16, 80, 16), lambda: warmed(nn.BatchNorm1d(16)), nn.ReLU, lambda: nn.MaxPool1d(4), lambda: normed(16, 32, rank=1), lambda: nn.MaxPool1d(4), lambda: head(32, 7, 1)), (2, 1, 800)),
    "signal": (chain(lambda: normed(6, 16, 5, rank=1), lambda: residual(16, 16, rank=1), lambda: residual(16, 32, 2, rank=1), lambda: head(32, 5, 1)), (3, 6, 50)),
    "temporal": (chain(lambda: nn.Conv1d(4, 16, 1), lambda: temporal(16, 1), lambda: temporal(16, 2), lambda: nn.Conv1d(16, 3, 1)), (2, 4, 40)),
    "gated": (lambda: gated(16, 2), (2, 16, 30)),
    "points": (points, (2, 3, 50)),
    "wave_up": (chain(lambda: nn.Conv1d(8, 16, 7, padding=3), lambda: nn.LeakyReLU(0.1), lambda: nn.ConvTranspose1d(16, 8, 8, 4, 2), lambda: nn.LeakyReLU(0.1), lambda: nn.Conv1d(8, 1, 7, padding=3), nn.Tanh), (1, 8, 12)),
    "video": (chain(lambda: normed(3, 8, rank=3), lambda: nn.MaxPool3d((1, 2, 2)), lambda: normed(8, 16, rank=3), lambda: nn.AvgPool3d(2), lambda: head(16, 5, 3)), (1, 3, 6, 12, 12)),
    "video_residual": (chain(lambda: normed(3, 8, rank=3), lambda: residual(8, 8, rank=3), lambda: residual(8, 16, 2, rank=3), lambda: head(16, 5, 3)), (1, 3, 4, 10, 10)),
    "volume_unet": (lambda: written("a = s.a(x)\nb = s.b(F.max_pool3d(a, 2))\nreturn s.o(torch.cat([a, F.interpolate(b, size=[8, 8, 8])], 1))", a=normed(1, 8, rank=3), b=normed(8, 8, rank=3), o=nn.Conv3d(16, 2, 1)), (1, 1, 8, 8, 8)),
}
LINEAR = {
    "mlp": (lambda: mlp(784, 128, 64, 10), (4, 784)),
    "mlp_bn": (lambda: mlp(40, 64, 32, 3, norm=lambda to: warmed(nn.BatchNorm1d(to))), (8, 40)),
    "mlp_ln": (lambda: mlp(40, 64, 32, 3, act=nn.GELU, norm=nn.LayerNorm), (8, 40)),
    "mlp_sigmoid": (lambda: mlp(13, 50, 50, 1, act=nn.Sigmoid), (6, 13)),
    "mlp_relu6": (lambda: mlp(20, 33, 17, 5, act=nn.ReLU6), (5, 20)),
    "autoencoder_rows": (lambda: mlp(100, 32, 8, 32, 100, act=nn.Tanh), (3, 100)),
    "encoder": (lambda: nn.Sequential(encoder(32, 4), encoder(32, 4)), (2, 12, 32)),
    "encoder_after": (lambda: encoder(48, 6, False, nn.ReLU), (1, 17, 48)),
    "decoder": (lambda: nn.Sequential(encoder(32, 2, mask=True), nn.Linear(32, 50)), (2, 9, 32)),
    "lstm": (recurrent(nn.LSTM), (10, 3, 12)),
    "lstm_both": (recurrent(nn.LSTM, bidirectional=True, batch_first=True), (3, 10, 12)),
    "gru": (recurrent(nn.GRU, num_layers=2), (7, 2, 12)),
    "rnn": (recurrent(nn.RNN, nonlinearity="relu"), (7, 2, 12)),
    "gate": (lambda: written("return s.v(x) * torch.sigmoid(s.g(x))", v=nn.Linear(64, 64), g=nn.Linear(64, 64)), (5, 64)),
    "swiglu": (lambda: written("return s.o(F.silu(s.g(x)) * s.u(x))", g=nn.Linear(32, 96, bias=False), u=nn.Linear(32, 96, bias=False), o=nn.Linear(96, 32, bias=False)), (2, 6, 32)),
    "experts": (lambda: written("w = torch.softmax(s.r(x), -1)\nreturn w[:, :1] * s.a(x) + w[:, 1:] * s.b(x)", r=nn.Linear(24, 2), a=mlp(24, 48, 24), b=mlp(24, 48, 24)), (6, 24)),
    "tied": (lambda: written("h = torch.relu(F.linear(x, s.w, s.b))\nreturn F.linear(h, s.w.t(), s.d)", w=nn.Parameter(torch.randn(16, 40) / 6), b=nn.Parameter(torch.randn(16)), d=nn.Parameter(torch.randn(40))), (4, 40)),
    "residual_rows": (lambda: written("x = s.i(x)\nfor l in s.ls:\n    x = x + torch.relu(l(x))\nreturn s.o(x)", i=nn.Linear(10, 40), ls=nn.ModuleList([nn.Linear(40, 40) for _ in range(3)]), o=nn.Linear(40, 2)), (7, 10)),
    "q_values": (lambda: written("h = F.relu(s.b(F.relu(s.a(x))))\nv, a = s.v(h), s.u(h)\nreturn v + a - a.mean(1, keepdim=True)", a=nn.Linear(8, 64), b=nn.Linear(64, 64), v=nn.Linear(64, 1), u=nn.Linear(64, 4)), (3, 8)),
    "large": (lambda: mlp(512, 1024, 257), (2, 512)),
}

# How a quantized tensor comes to lie otherwise than in rows: lines that make `x` of an input of 8 channels.
LAYOUTS = {
    "line": (1, "x = s.c(x)"),
    "image": (2, "x = s.c(x)"),
    "volume": (3, "x = s.c(x)"),
    "turned": (2, "x = s.c(x).transpose(2, 3)"),
    "cut": (2, "x = s.c(x)[:, :, 1:, ::2]"),
    "halved": (1, "x = s.c(x).chunk(2, 1)[1]"),
    "last": (2, "x = s.c(x).permute(0, 2, 3, 1)"),
    "opened": (1, "x = s.c(x).unsqueeze(2)"),
}
# What reads it.
READERS = {
    "leaky_relu": "x = F.leaky_relu(x, 0.1)",
    "leaky_relu_": "x = F.leaky_relu_(x, 0.25)",
    "hardswish": "x = F.hardswish(x)",
    "elu": "x = F.elu(x)",
    "sigmoid": "x = torch.sigmoid(x)",
    "tanh": "x = torch.tanh(x)",
    "hardsigmoid": "x = F.hardsigmoid(x)",
    "relu6": "x = F.relu6(x)",
    "clamp": "x = torch.clamp(x, -0.3, 0.7)",
    "add": "x = x + F.relu(x)",
    "add_relu": "x = F.relu(x + torch.sigmoid(x))",
    "mul": "x = x * torch.sigmoid(x)",
    "add_number": "x = x + 0.7",
    "mul_number": "x = x * -1.3",
    "cat": "x = torch.cat([x, F.leaky_relu(x, 0.2)], 1)",
    "stack": "x = torch.stack([x, F.relu(x)], 1)",
    "mean": "x = x.mean(-1)",
    "mean_channels": "x = x.mean(1)",
    "mean_rest": "x = x.flatten(2).mean(2)",
    "layer_norm": "x = F.layer_norm(x, x.shape[2:])",
    "group_norm": "x = F.group_norm(x, 1)",
    "softmax": "x = torch.softmax(x, 1)",
    "gelu": "x = F.gelu(x)",
    "silu": "x = F.silu(x)",
    "linear": "x = s.l(x.flatten(1)[:, :40])",
    "max": "x = x.amax(1) + x.max(1)[0]",
    "sum": "x = x.sum(-1)",
    "reshape": "x = F.leaky_relu(x.reshape(x.size(0), -1), 0.1)",
}


def layouts():
    """Every reader of every layout (`lay_*`)."""
    for at, (layout, (rank, made)) in enumerate(LAYOUTS.items()):
        size = {1: (2, 8, 53), 2: (2, 8, 13, 11), 3: (1, 8, 5, 7, 6)}[rank]
        for also, (reader, read) in enumerate(READERS.items()):
            text = f"{made}\n{read}\nreturn x"
            make = lambda text=text, rank=rank: written(text, c=CONV[rank](8, 8, 3, padding=1), l=nn.Linear(40, 5))
            config, mode = STATIC[(at + also) % len(STATIC)], ("script", "trace")[(at + also) % 3 == 2]
            yield Case(f"lay_{layout}_{reader}", make, (size,), config, mode=mode)
