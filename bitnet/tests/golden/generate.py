"""Golden vectors for the BitNet layers and decoder, from plain PyTorch.

Regenerate with

    pip install torch==2.9.0 safetensors numpy && python bitnet/tests/golden/generate.py

which writes bit_linear, transformer and muon.{safetensors,json} next to this file.

The formulas are those of the papers:

    B1     BitNet, arXiv 2310.11453
    B1.58  The Era of 1-bit LLMs, arXiv 2402.17764
    TT     The Era of 1-bit LLMs: Training Tips, Code and FAQ
    2B4T   BitNet b1.58 2B4T Technical Report, arXiv 2504.12285

Random cases are drawn again until no value lies close to a rounding boundary, so that another
order of summation in float32 cannot flip a quantised code and every code is well defined.
"""

import json
import math
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

HERE = Path(__file__).resolve().parent
NORM_EPS = 1e-5  # of the norm inside a layer
SCALE_MIN = 1e-5  # smallest mean|w| or max|x| a scale is made from
Q_B = 128.0  # B1: 2^(b-1) for b = 8 bits
ACTIVATION_MARGIN = 5e-4  # least distance of a scaled activation from a half-integer
WEIGHT_MARGIN = 1e-5  # the same for scaled weights


# ---- staying clear of rounding boundaries ----


class NearTie(Exception):
    """A value of a random case is too close to a rounding boundary."""


UNGUARDED = set()  # "weight" or "activation" where a case holds exact ties on purpose


def guard(kind, distance, margin):
    if kind not in UNGUARDED and distance.min().item() <= margin:
        raise NearTie(kind)


def round_clamp(v, low, high):
    """clamp(round(v), low, high), rounding half to even; `v` are scaled activations."""
    inside = v.clamp(low, high)  # the code changes at half-integers within [low, high] only
    guard("activation", (inside - inside.floor() - 0.5).abs(), ACTIVATION_MARGIN)
    return torch.round(v).clamp(low, high)


def redraw_until_clear(seed, draw):
    """The first result of draw(), over consecutive seeds, that meets no near tie."""
    for attempt in range(20000):
        torch.manual_seed(seed * 100000 + attempt)
        try:
            return draw()
        except NearTie:
            continue
    raise RuntimeError("no draw without a near tie")


# ---- weight quantisers ----


def row_groups(w, group_size):
    """w [out, in] as [out, in / g, g], or as one group [1, 1, out * in] for the whole tensor."""
    return w.reshape(1, 1, -1) if group_size is None else w.reshape(w.shape[0], -1, group_size)


def ternary_weight(w, group_size=None):
    """B1.58 section 2, and the weight_quant of TT: absmean scale, RoundClip(., -1, 1)."""
    v = row_groups(w, group_size)
    s = 1.0 / v.abs().mean(dim=-1, keepdim=True).clamp(min=SCALE_MIN)
    guard("weight", ((v * s).abs() - 0.5).abs(), WEIGHT_MARGIN)
    u = torch.round(v * s).clamp(-1, 1)
    return (u / s).reshape(w.shape)


def binary_weight(w, group_size=None):
    """TT figure 5: sign(w - mean w) * mean|w|, with sign(0) = 0."""
    v = row_groups(w, group_size)
    scale = v.abs().mean(dim=-1, keepdim=True)
    centred = v - v.mean(dim=-1, keepdim=True)
    guard("weight", centred.abs() / scale, WEIGHT_MARGIN)
    return (torch.sign(centred) * scale).reshape(w.shape)


def paper_binary_weight(w, group_size=None):
    """B1 section 2.1: Sign(W - alpha) * beta, Sign(0) = -1, beta = mean|W| of the uncentred W.

    B1 section 2.2 (group quantisation): the inputs are partitioned, and a group's alpha and beta
    are over all outputs and the group's inputs.
    """
    g = w.shape[1] if group_size is None else group_size
    v = w.reshape(w.shape[0], -1, g)
    alpha = v.mean(dim=(0, 2), keepdim=True)
    beta = v.abs().mean(dim=(0, 2), keepdim=True)
    guard("weight", (v - alpha).abs() / beta, WEIGHT_MARGIN)
    codes = torch.where(v - alpha > 0, 1.0, -1.0).to(w.dtype)
    return (codes * beta).reshape(w.shape)


def quantise_weight(w, mode, group_size=None):
    quantisers = {"ternary": ternary_weight, "binary": binary_weight, "binary-paper": paper_binary_weight}
    return w.clone() if mode == "none" else quantisers[mode](w, group_size)


# ---- activation quantisers ----


def int8_activation(x, per_token):
    """The activation_quant of TT (B1.58 section 2): absmax to [-128, 127], per token or tensor."""
    top = x.abs().amax(dim=-1, keepdim=True) if per_token else x.abs().max()
    s = 127.0 / top.clamp(min=SCALE_MIN)
    return round_clamp(x * s, -128, 127) / s


def paper_activation(x, training, before_nonlinearity, group_size=None):
    """B1 section 2.1: absmax with Q_b = 128; before a non-linearity the minimum eta is subtracted.

    gamma and eta are over the whole tensor in training and over a token in inference, and over a
    group of features each where there are groups (B1 section 2.2). eta is not added back.
    """
    g = x.shape[-1] if group_size is None else group_size
    v = x.reshape(*x.shape[:-1], -1, g)
    scope = tuple(d for d in range(v.dim()) if d != v.dim() - 2) if training else -1
    gamma = v.abs().amax(dim=scope, keepdim=True).clamp(min=SCALE_MIN)
    if before_nonlinearity:
        eta = v.amin(dim=scope, keepdim=True)
        q = round_clamp((v - eta) * Q_B / gamma, 0, 127)
    else:
        q = round_clamp(v * Q_B / gamma, -127, 127)
    return (q * gamma / Q_B).reshape(x.shape)


def quantise_activation(x, mode, training=True, before_nonlinearity=False, group_size=None):
    if mode == "none":
        return x.clone()
    if mode == "paper":
        return paper_activation(x, training, before_nonlinearity, group_size)
    return int8_activation(x, per_token=mode == "int8-per-token")


# ---- the layer ----


class StraightThrough(torch.autograd.Function):
    """quant(x) forward, the gradient of x unchanged backward (B1 section 2.3)."""

    @staticmethod
    def forward(ctx, x, quant):
        return quant(x)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def inner_norm(x, kind, group_size=None):
    """The norm without gain before the activation quantiser: LayerNorm (B1), RMSNorm (TT)."""
    g = x.shape[-1] if group_size is None else group_size
    v = x.reshape(*x.shape[:-1], -1, g)
    if kind == "rms":
        v = v / torch.sqrt((v * v).mean(dim=-1, keepdim=True) + NORM_EPS)
    elif kind == "layer":
        centred = v - v.mean(dim=-1, keepdim=True)
        v = centred / torch.sqrt((centred * centred).mean(dim=-1, keepdim=True) + NORM_EPS)
    return v.reshape(x.shape)


def bit_linear(x, w, bias, weight, activation, norm, group_size=None, before_nonlinearity=False, training=True):
    """B1 section 2.1, TT: norm, quantised activations, quantised weights, product, bias."""
    # Groups of features share their norm and scale in B1 only (section 2.2).
    feature_groups = group_size if weight == "binary-paper" else None
    x = inner_norm(x, norm, feature_groups)
    x = StraightThrough.apply(
        x, lambda t: quantise_activation(t, activation, training, before_nonlinearity, feature_groups)
    )
    w = StraightThrough.apply(w, lambda t: quantise_weight(t, weight, group_size))
    return F.linear(x, w, bias)


# ---- golden vectors of the layer ----


def case(name, weight, activation, norm, d_input, d_output, shape=(2, 3), group_size=None, bias=False,
         before_nonlinearity=False, training=True, x=None, w=None, x_scale=1.0, w_scale=1.0, zero_row=False,
         zero_group=False, exact=()):
    """A case's public configuration, and how its tensors are made."""
    config = {
        "name": name, "weight": weight, "activation": activation, "norm": norm, "group_size": group_size,
        "bias": bias, "before_nonlinearity": before_nonlinearity, "training": training,
        "d_input": d_input, "d_output": d_output,
    }
    recipe = {"shape": shape, "x": x, "w": w, "x_scale": x_scale, "w_scale": w_scale, "zero_row": zero_row,
              "zero_group": zero_group, "exact": set(exact)}
    return config, recipe


# mean|w| is exactly 1, so that w * s = +-0.5 and +-1.5 are exact ties.
TIED_WEIGHTS = [
    [0.5, -0.5, 1.5, -1.5, 1.0, -1.0, 0.5, 1.5],
    [-1.5, 0.5, 2.0, 0.0, -0.5, 1.5, -1.0, 1.0],
    [0.0, 0.5, -0.5, 2.5, -2.5, 0.5, 1.0, -0.5],
]
# Every token's max|x| is 127, so that x * s = x, a tie wherever it is a half-integer.
TIED_ACTIVATIONS = [
    [127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5],
    [-127.0, 3.5, -3.5, 4.5, -4.5, 0.0, -126.5, 125.5],
]
# The whole tensor's max|x| is Q_b = 128; +-128 clamp to +-127.
PAPER_TIED_ACTIVATIONS = [
    [128.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5],
    [-128.0, 126.5, -126.5, 127.0, -127.0, 127.5, 0.0],
]
# Every row sums to exactly 0, and so does the tensor: the zeros equal the mean.
ZERO_MEAN_WEIGHTS = [
    [-1.0, 0.0, 1.0, -0.5, 0.5, 0.25, -0.25],
    [0.0, 0.0, -2.0, 2.0, 0.75, 0.0, -0.75],
    [0.5, -1.5, 0.0, 1.0, 0.0, -1.0, 1.0],
]

BIT_LINEAR_CASES = [
    case("ternary-token-rms", "ternary", "int8-per-token", "rms", 16, 12),
    case("ternary-token-layer", "ternary", "int8-per-token", "layer", 33, 17, bias=True),
    case("ternary-token-none", "ternary", "int8-per-token", "none", 13, 5, shape=(4,)),
    case("ternary-tensor-rms", "ternary", "int8-per-tensor", "rms", 7, 5, bias=True),
    case("ternary-weight-only", "ternary", "none", "rms", 13, 17),
    case("ternary-one-output", "ternary", "int8-per-token", "rms", 33, 1, shape=(5,), bias=True),
    case("ternary-group", "ternary", "int8-per-token", "rms", 24, 5, group_size=8),
    case("ternary-zero-group", "ternary", "int8-per-token", "none", 24, 3, group_size=8, zero_group=True),
    case("ternary-zero-row-none", "ternary", "int8-per-token", "none", 7, 5, bias=True, zero_row=True),
    case("ternary-zero-row-rms", "ternary", "int8-per-token", "rms", 13, 5, zero_row=True),
    case("ternary-tiny-weights", "ternary", "int8-per-token", "rms", 13, 5, bias=True, w_scale=1e-34),
    case("ternary-huge-none", "ternary", "int8-per-token", "none", 13, 5, x_scale=1e30),
    case("ternary-huge-rms", "ternary", "int8-per-token", "rms", 13, 5, x_scale=1e15),
    case("ternary-ties", "ternary", "int8-per-token", "none", 8, 3, x=TIED_ACTIVATIONS, w=TIED_WEIGHTS,
         exact=("weight", "activation")),
    case("binary-token-rms", "binary", "int8-per-token", "rms", 16, 12),
    case("binary-tensor-layer", "binary", "int8-per-tensor", "layer", 33, 17, bias=True),
    case("binary-weight-only", "binary", "none", "none", 7, 5, shape=(4,)),
    case("binary-group", "binary", "int8-per-token", "rms", 24, 5, group_size=8, bias=True),
    case("binary-zeros", "binary", "int8-per-token", "rms", 7, 3, w=ZERO_MEAN_WEIGHTS, exact=("weight",)),
    case("binary-tiny-weights", "binary", "int8-per-token", "none", 13, 5, w_scale=1e-34),
    case("paper-layer", "binary-paper", "paper", "layer", 16, 12),
    case("paper-layer-inference", "binary-paper", "paper", "layer", 33, 17, bias=True, training=False),
    case("paper-rms", "binary-paper", "paper", "rms", 13, 5, bias=True),
    case("paper-weight-only", "binary-paper", "none", "layer", 13, 1, shape=(4,)),
    case("paper-nonlinear", "binary-paper", "paper", "layer", 13, 5, before_nonlinearity=True),
    case("paper-nonlinear-inference", "binary-paper", "paper", "none", 7, 5, before_nonlinearity=True,
         training=False, zero_row=True),
    case("paper-group", "binary-paper", "paper", "layer", 24, 5, group_size=8, bias=True),
    case("paper-group-inference", "binary-paper", "paper", "layer", 24, 5, group_size=8, training=False),
    case("paper-group-nonlinear", "binary-paper", "paper", "layer", 24, 17, group_size=8,
         before_nonlinearity=True),
    case("paper-zero-row", "binary-paper", "paper", "none", 7, 5, zero_row=True, training=False),
    case("paper-zeros-ties", "binary-paper", "paper", "none", 7, 3, x=PAPER_TIED_ACTIVATIONS,
         w=ZERO_MEAN_WEIGHTS, exact=("weight", "activation")),
    case("none-rms", "none", "none", "rms", 13, 5, bias=True),
    case("none-layer", "none", "none", "layer", 7, 17, zero_row=True),
    case("none-none", "none", "none", "none", 33, 5, shape=(4,), bias=True),
]


def draw_bit_linear(config, recipe):
    """A case's tensors; everything is drawn anew at each attempt."""
    d_input, d_output = config["d_input"], config["d_output"]
    # Off-centre weights and activations, so that a mean left out or put in shows.
    x = (torch.randn(*recipe["shape"], d_input) + 0.2) * recipe["x_scale"]
    w = (torch.randn(d_output, d_input) + 0.1) * recipe["w_scale"]
    if recipe["x"] is not None:
        x = torch.tensor(recipe["x"])
    if recipe["w"] is not None:
        w = torch.tensor(recipe["w"])
    if recipe["zero_row"]:
        x[..., -1, :] = 0.0
    if recipe["zero_group"]:
        w[1, : config["group_size"]] = 0.0
    bias = torch.randn(d_output) if config["bias"] else None
    leaves = {"x": x, "w": w} | ({"b": bias} if config["bias"] else {})
    for leaf in leaves.values():
        leaf.requires_grad_()
    options = {k: v for k, v in config.items() if k not in ("name", "bias", "d_input", "d_output")}
    y = bit_linear(x, w, bias, **options)
    tensors = {"x": x, "weight": w, "y": y, "w_quant": quantise_weight(w, config["weight"], config["group_size"])}
    if bias is not None:
        tensors["bias"] = bias
    if config["training"]:
        dy = torch.randn_like(y)
        tensors["dy"] = dy
        grads = torch.autograd.grad(y, list(leaves.values()), dy)
        tensors |= {f"d{name}": grad for name, grad in zip(leaves, grads)}
    assert all(torch.isfinite(t).all() for t in tensors.values()), config["name"]
    return tensors


def generate_bit_linear():
    tensors = {}
    for index, (config, recipe) in enumerate(BIT_LINEAR_CASES):
        UNGUARDED.clear()
        UNGUARDED.update(recipe["exact"])
        drawn = redraw_until_clear(1 + index, lambda: draw_bit_linear(config, recipe))
        tensors |= {f"{config['name']}.{k}": v for k, v in drawn.items()}
    UNGUARDED.clear()
    write("bit_linear", [config for config, _ in BIT_LINEAR_CASES], tensors)


# ---- the decoder ----


def decoder(name, quant, norms, feed_forward, dim, dim_head, ff_dim, kv_heads, tie_embeddings, rope_theta=10000.0,
            norm_eps=1e-5, qk_norm=False, bias=False):
    return {
        "name": name, "vocab_size": 31, "dim": dim, "depth": 2, "heads": 4, "kv_heads": kv_heads,
        "dim_head": dim_head, "ff_dim": ff_dim, "max_seq_len": 16, "rope_theta": rope_theta,
        "norm_eps": norm_eps, "feed_forward": feed_forward, "norms": norms, "quant": quant,
        "tie_embeddings": tie_embeddings, "qk_norm": qk_norm, "bias": bias,
    }


DECODER_CASES = [
    decoder("ternary-subnorm-relu2", "ternary", "sub-norm", "relu2-gated", 16, 4, 24, 2, True, 500000.0),
    decoder("ternary-inlinear-swiglu", "ternary", "in-linear", "swiglu", 20, 6, 28, 4, False),
    decoder("none-subnorm-swiglu", "none", "sub-norm", "swiglu", 24, 6, 20, 1, False, 100.0, norm_eps=1e-3,
            qk_norm=True, bias=True),
    decoder("binary-subnorm-gelu", "binary", "sub-norm", "gelu", 16, 4, 32, 2, True),
    decoder("paper-inlinear-gelu", "binary-paper", "in-linear", "gelu", 16, 4, 32, 4, False),
    decoder("ternary-subnorm-relu2-bias", "ternary", "sub-norm", "relu2-gated", 24, 6, 20, 2, False, qk_norm=True,
            bias=True),
]


def draw_parameters(c):
    """Random parameters by their Hugging Face names; norm gains around 1, so that they matter."""
    params = {"model.embed_tokens.weight": 0.5 * torch.randn(c["vocab_size"], c["dim"])}

    def gain(name, size):
        params[f"{name}.weight"] = 1.0 + 0.1 * torch.randn(size)

    def projection(name, d_input, d_output):
        params[f"{name}.weight"] = 0.3 * torch.randn(d_output, d_input)
        if c["bias"]:
            params[f"{name}.bias"] = 0.1 * torch.randn(d_output)

    inner, kv_inner = c["heads"] * c["dim_head"], c["kv_heads"] * c["dim_head"]
    for n in range(c["depth"]):
        attn, mlp = f"model.layers.{n}.self_attn", f"model.layers.{n}.mlp"
        projection(f"{attn}.q_proj", c["dim"], inner)
        projection(f"{attn}.k_proj", c["dim"], kv_inner)
        projection(f"{attn}.v_proj", c["dim"], kv_inner)
        projection(f"{attn}.o_proj", inner, c["dim"])
        if c["feed_forward"] != "gelu":
            projection(f"{mlp}.gate_proj", c["dim"], c["ff_dim"])
        projection(f"{mlp}.up_proj", c["dim"], c["ff_dim"])
        projection(f"{mlp}.down_proj", c["ff_dim"], c["dim"])
        if c["qk_norm"]:
            gain(f"{attn}.q_norm", c["dim_head"])
            gain(f"{attn}.k_norm", c["dim_head"])
        if c["norms"] == "sub-norm":
            gain(f"model.layers.{n}.input_layernorm", c["dim"])
            gain(f"model.layers.{n}.post_attention_layernorm", c["dim"])
            gain(f"{attn}.attn_sub_norm", inner)
            gain(f"{mlp}.ffn_sub_norm", c["ff_dim"])
    gain("model.norm", c["dim"])
    if not c["tie_embeddings"]:
        params["lm_head.weight"] = 0.3 * torch.randn(c["vocab_size"], c["dim"])
    return params


def gained_rms_norm(x, gain, eps):
    return gain * (x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + eps))


def rotate(x, theta):
    """Half-split RoPE of x [b, heads, t, d]: pair (i, i + d/2) turns by p * theta^(-2i/d)."""
    d, t = x.shape[-1], x.shape[-2]
    frequencies = theta ** (-2.0 * torch.arange(d // 2, dtype=torch.float64) / d)
    angles = torch.arange(t, dtype=torch.float64)[:, None] * frequencies[None, :]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def decoder_logits(c, params, tokens):
    """2B4T section 2 for "sub-norm"; TT (LLaMA with the norm inside each BitLinear) for "in-linear"."""
    paper, sub_norm = c["quant"] == "binary-paper", c["norms"] == "sub-norm"
    activation = {"none": "none", "binary-paper": "paper"}.get(c["quant"], "int8-per-token")
    inside = "none" if sub_norm else ("layer" if paper else "rms")

    def project(name, x, before_nonlinearity=False):
        return bit_linear(x, params[f"{name}.weight"], params.get(f"{name}.bias"), c["quant"], activation, inside,
                          before_nonlinearity=before_nonlinearity and paper)

    def norm(name, x):
        return gained_rms_norm(x, params[f"{name}.weight"], c["norm_eps"])

    def block_norm(name, x):
        return norm(name, x) if sub_norm else x

    def attention(name, x):
        b, t, _ = x.shape
        q, k, v = (
            project(f"{name}.{p}_proj", x).reshape(b, t, heads, c["dim_head"])
            for p, heads in (("q", c["heads"]), ("k", c["kv_heads"]), ("v", c["kv_heads"]))
        )
        if c["qk_norm"]:
            q, k = norm(f"{name}.q_norm", q), norm(f"{name}.k_norm", k)
        q, k, v = (z.transpose(1, 2) for z in (q, k, v))
        q, k = rotate(q, c["rope_theta"]), rotate(k, c["rope_theta"])
        # Key-value head j serves the consecutive query heads from j * (heads / kv_heads) on.
        repeats = c["heads"] // c["kv_heads"]
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(c["dim_head"])
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        attended = scores.masked_fill(future, float("-inf")).softmax(dim=-1) @ v
        attended = attended.transpose(1, 2).reshape(b, t, -1)
        return project(f"{name}.o_proj", block_norm(f"{name}.attn_sub_norm", attended))

    def feed_forward(name, x):
        if c["feed_forward"] == "gelu":
            act = F.gelu(project(f"{name}.up_proj", x, before_nonlinearity=True))  # exact, by erf
        else:
            gate = project(f"{name}.gate_proj", x, before_nonlinearity=True)
            gate = F.silu(gate) if c["feed_forward"] == "swiglu" else F.relu(gate) ** 2
            act = gate * project(f"{name}.up_proj", x)
        return project(f"{name}.down_proj", block_norm(f"{name}.ffn_sub_norm", act))

    x = params["model.embed_tokens.weight"][tokens]
    for n in range(c["depth"]):
        layer = f"model.layers.{n}"
        x = x + attention(f"{layer}.self_attn", block_norm(f"{layer}.input_layernorm", x))
        x = x + feed_forward(f"{layer}.mlp", block_norm(f"{layer}.post_attention_layernorm", x))
    head = params["model.embed_tokens.weight" if c["tie_embeddings"] else "lm_head.weight"]
    return F.linear(norm("model.norm", x), head)


def draw_decoder(c):
    params = {name: p.requires_grad_() for name, p in draw_parameters(c).items()}
    tokens = torch.randint(0, c["vocab_size"], (2, 9))
    targets = torch.randint(0, c["vocab_size"], (2, 9))
    logits = decoder_logits(c, params, tokens)
    loss = F.cross_entropy(logits.reshape(-1, c["vocab_size"]), targets.reshape(-1))
    grads = torch.autograd.grad(loss, list(params.values()))
    tensors = {"tokens": tokens, "targets": targets, "logits": logits, "loss": loss.reshape(1)}
    tensors |= {f"param.{name}": p for name, p in params.items()}
    tensors |= {f"grad.{name}": g for name, g in zip(params, grads)}
    assert all(torch.isfinite(t).all() for t in tensors.values()), c["name"]
    return tensors


def generate_decoder():
    tensors = {}
    for index, c in enumerate(DECODER_CASES):
        drawn = redraw_until_clear(1001 + index, lambda: draw_decoder(c))
        tensors |= {f"{c['name']}.{k}": v for k, v in drawn.items()}
    write("transformer", DECODER_CASES, tensors)


# ---- Muon ----


def muon_case(name, shape, momentum=0.95, iterations=5, weight_decay=0.0, zero_step=None):
    return {"name": name, "d_input": shape[0], "d_output": shape[1], "momentum": momentum, "iterations": iterations,
            "weight_decay": weight_decay, "lr": 0.02, "steps": 3, "zero_step": zero_step}


MUON_CASES = [
    muon_case("square", (12, 12)),
    muon_case("wide", (7, 20), weight_decay=0.5),
    muon_case("tall", (24, 5), momentum=0.8),
    muon_case("three-iterations", (9, 6), iterations=3),
    muon_case("no-gradient", (6, 10), weight_decay=0.1, zero_step=0),
]


def generate_muon():
    """PyTorch's own Muon, scaled to match AdamW, but with its Newton-Schulz iteration in float32."""
    tensors = {}
    for index, c in enumerate(MUON_CASES):
        torch.manual_seed(2001 + index)
        w = torch.nn.Parameter(0.5 * torch.randn(c["d_input"], c["d_output"]))
        optimizer = torch.optim.Muon([w], lr=c["lr"], weight_decay=c["weight_decay"], momentum=c["momentum"],
                                     nesterov=True, ns_steps=c["iterations"], adjust_lr_fn="match_rms_adamw")
        tensors[f"{c['name']}.weight"] = w.detach().clone()
        for step in range(c["steps"]):
            w.grad = torch.zeros_like(w) if step == c["zero_step"] else torch.randn_like(w)
            tensors[f"{c['name']}.grad.{step}"] = w.grad.clone()
            with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
                optimizer.step()
            tensors[f"{c['name']}.step.{step}"] = w.detach().clone()
    write("muon", MUON_CASES, tensors)


def write(stem, cases, tensors):
    names = [c["name"] for c in cases]
    assert len(set(names)) == len(names)
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, str(HERE / f"{stem}.safetensors"))
    text = "[\n" + ",\n".join("  " + json.dumps(c) for c in cases) + "\n]\n"
    (HERE / f"{stem}.json").write_text(text)


if __name__ == "__main__":
    generate_bit_linear()
    generate_decoder()
    generate_muon()
