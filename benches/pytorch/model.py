"""The transformer of a training configuration, in PyTorch: same shapes, same arithmetic.

Covers what the benchmarks use: ternary or full precision, sub-norms, a gated feed-forward network,
tied embeddings.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    dim: int
    depth: int
    heads: int
    ff_dim: int
    context: int
    quant: str
    feed_forward: str
    qk_norm: bool
    init_std: float
    norm_eps: float
    rope_theta: float
    vocab: int = 256

    @staticmethod
    def of(model: dict) -> "Shape":
        """From the [model] section of a configuration."""
        if model.get("kv_heads", model["heads"]) != model["heads"]:
            raise ValueError("grouped queries are not part of this benchmark")
        if model["norms"] != "sub-norm" or not model["tie_embeddings"] or model["bias"]:
            raise ValueError("this benchmark has sub-norms, tied embeddings and no biases")
        if model["feed_forward"] == "gelu" or model["quant"] not in ("ternary", "none"):
            raise ValueError("this benchmark is of ternary or full-precision gated models")
        return Shape(
            **{
                name: model[name]
                for name in (
                    "dim depth heads ff_dim context quant feed_forward qk_norm init_std "
                    "norm_eps rope_theta"
                ).split()
            }
        )


class BitLinear(nn.Linear):
    """Training tips, figure 5."""

    def __init__(self, d_input: int, d_output: int, quant: str):
        super().__init__(d_input, d_output, bias=False)
        self.quant = quant

    def forward(self, x):
        if self.quant == "none":
            return F.linear(x, self.weight)
        s = 127.0 / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
        x = x + ((x * s).round().clamp(-128, 127) / s - x).detach()
        w = self.weight
        s = 1.0 / w.abs().mean().clamp(min=1e-5)
        w = w + ((w * s).round().clamp(-1, 1) / s - w).detach()
        return F.linear(x, w)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Block(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.heads = s.heads
        norm = lambda width: nn.RMSNorm(width, eps=s.norm_eps)
        linear = lambda a, b: BitLinear(a, b, s.quant)
        self.input_layernorm, self.post_attention_layernorm = norm(s.dim), norm(s.dim)
        self.attn_sub_norm, self.ffn_sub_norm = norm(s.dim), norm(s.ff_dim)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            linear(s.dim, s.dim) for _ in range(4)
        )
        self.gate_proj, self.up_proj = linear(s.dim, s.ff_dim), linear(s.dim, s.ff_dim)
        self.down_proj = linear(s.ff_dim, s.dim)
        width = s.dim // s.heads
        self.q_norm = norm(width) if s.qk_norm else nn.Identity()
        self.k_norm = norm(width) if s.qk_norm else nn.Identity()
        self.act = F.silu if s.feed_forward == "swiglu" else lambda x: F.relu(x).square()

    def forward(self, x, cos, sin):
        batch, seq, dim = x.shape
        h = self.input_layernorm(x)
        split = lambda t: t.view(batch, seq, self.heads, -1)
        q = rotate(self.q_norm(split(self.q_proj(h))).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(split(self.k_proj(h))).transpose(1, 2), cos, sin)
        v = split(self.v_proj(h)).transpose(1, 2)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h.transpose(1, 2).reshape(batch, seq, dim)
        x = x + self.o_proj(self.attn_sub_norm(h))
        h = self.post_attention_layernorm(x)
        h = self.act(self.gate_proj(h)) * self.up_proj(h)
        return x + self.down_proj(self.ffn_sub_norm(h))


class Transformer(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(s.vocab, s.dim)
        self.layers = nn.ModuleList(Block(s) for _ in range(s.depth))
        self.norm = nn.RMSNorm(s.dim, eps=s.norm_eps)
        width = s.dim // s.heads
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        angles = torch.arange(s.context, dtype=torch.float64)[:, None] / s.rope_theta**exponents
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos().float())
        self.register_buffer("sin", angles.sin().float())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=s.init_std)

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        seq = tokens.shape[1]
        for layer in self.layers:
            x = layer(x, self.cos[:seq], self.sin[:seq])
        return F.linear(self.norm(x), self.embed_tokens.weight)
