"""Writes GGUF files of random weights for llama.cpp, in the shapes of `infer bench --shape`."""

from pathlib import Path

import gguf
import numpy as np

# Width, blocks, heads, heads of keys and values, feed-forward width, vocabulary, base of the rotary
# embedding.
SHAPES = {
    "2b4t": (2560, 30, 20, 5, 6912, 128256, 5e5),
    "large": (1536, 24, 16, 16, 4096, 32002, 1e4),
    "tiny": (512, 6, 8, 8, 2048, 32002, 1e4),
}
# Weights of a block of TQ2_0 and of Q6_K.
BLOCK = 256


def ternary(rng, outputs, inputs):
    """TQ2_0: 64 bytes of four codes 0, 1 or 2, then the scale in 16 bits."""
    valid = np.array([b for b in range(256) if all((b >> s) & 3 < 3 for s in (0, 2, 4, 6))], np.uint8)
    blocks = np.empty((outputs, inputs // BLOCK, 66), np.uint8)
    blocks[..., :64] = valid[rng.integers(0, len(valid), blocks[..., :64].shape, np.uint8)]
    scale = np.float16((1.5 / inputs) ** 0.5)
    blocks[..., 64:] = np.frombuffer(scale.tobytes(), np.uint8)
    return blocks.reshape(outputs, -1)


def embedding(rng, rows, dim):
    """Q6_K: 192 bytes of codes, 16 scales of 8 bits, then their scale in 16 bits."""
    blocks = np.empty((rows, dim // BLOCK, 210), np.uint8)
    blocks[..., :192] = rng.integers(0, 256, blocks[..., :192].shape, np.uint8)
    blocks[..., 192:208] = rng.integers(16, 127, blocks[..., 192:208].shape, np.uint8)
    # Codes are −32 to 31, scales up to 127: numbers of about 0.02.
    blocks[..., 208:] = np.frombuffer(np.float16(1.5e-5).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def write(shape, folder):
    """Writes the file of a shape unless it is there; gives its path."""
    path = Path(folder, f"{shape}-tq2_0.gguf")
    if path.exists():
        return path
    dim, blocks, heads, kv_heads, hidden, vocabulary, base = SHAPES[shape]
    kv_dim = dim // heads * kv_heads
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path.with_suffix(".part"), "bitnet")
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(4096)
    writer.add_embedding_length(dim)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(dim // heads)
    writer.add_rope_freq_base(base)
    writer.add_file_type(37)
    writer.add_tokenizer_model("no_vocab")

    def add(name, array, kind=None):
        writer.add_tensor(name, array, raw_dtype=kind)

    tq2_0, ones = gguf.GGMLQuantizationType.TQ2_0, lambda n: np.ones(n, np.float32)
    add("token_embd.weight", embedding(rng, vocabulary, dim), gguf.GGMLQuantizationType.Q6_K)
    add("output_norm.weight", ones(dim))
    for block in range(blocks):
        for name, outputs, inputs in [
            ("attn_q", dim, dim),
            ("attn_k", kv_dim, dim),
            ("attn_v", kv_dim, dim),
            ("attn_output", dim, dim),
            ("ffn_gate", hidden, dim),
            ("ffn_up", hidden, dim),
            ("ffn_down", dim, hidden),
        ]:
            add(f"blk.{block}.{name}.weight", ternary(rng, outputs, inputs), tq2_0)
        for name, size in [("attn_norm", dim), ("attn_sub_norm", dim), ("ffn_norm", dim)]:
            add(f"blk.{block}.{name}.weight", ones(size))
        add(f"blk.{block}.ffn_sub_norm.weight", ones(hidden))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".part").rename(path)
    return path
