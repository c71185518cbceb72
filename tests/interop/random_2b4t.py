"""A checkpoint of the shape of microsoft/bitnet-b1.58-2B-4T with random weights.

    python tests/interop/random_2b4t.py packed|bf16 FOLDER

Written tensor by tensor; needs numpy alone, and 1.2 or 4.9 GB of disk.
"""

import json
import pathlib
import sys

import numpy as np

DIM, LAYERS, HEADS, KV_HEADS, HEAD, HIDDEN, VOCABULARY = 2560, 30, 20, 5, 128, 6912, 128_256
SHARD_LAYERS = 10


def bf16(values):
    """The upper halves of 32 bits, rounded."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


RANDOM = np.random.default_rng(1)
# Weights repeat after so many; a prime, so that rows do not.
POOL = 16_777_213
NORMAL = bf16(RANDOM.normal(0.0, 0.02, POOL))
# All bytes of four codes 0, 1 and 2.
BYTES = np.array([b for b in range(256) if all(b >> s & 3 != 3 for s in (0, 2, 4, 6))], np.uint8)
PACKED = BYTES[RANDOM.integers(0, len(BYTES), POOL)]


def linears():
    width, kv = HEADS * HEAD, KV_HEADS * HEAD
    yield "self_attn.q_proj", width, DIM
    yield "self_attn.k_proj", kv, DIM
    yield "self_attn.v_proj", kv, DIM
    yield "self_attn.o_proj", DIM, width
    yield "mlp.gate_proj", HIDDEN, DIM
    yield "mlp.up_proj", HIDDEN, DIM
    yield "mlp.down_proj", DIM, HIDDEN


def tensors(packed, layers):
    """Name, type, shape and pool of the tensors of some layers."""
    if 0 in layers:
        yield "model.embed_tokens.weight", "BF16", [VOCABULARY, DIM], NORMAL
    ones = bf16(np.ones(HIDDEN))
    for layer in layers:
        prefix = f"model.layers.{layer}."
        for name, size in (("input_layernorm", DIM), ("post_attention_layernorm", DIM),
                           ("self_attn.attn_sub_norm", HEADS * HEAD), ("mlp.ffn_sub_norm", HIDDEN)):
            yield f"{prefix}{name}.weight", "BF16", [size], ones
        for name, rows, columns in linears():
            if packed:
                yield f"{prefix}{name}.weight", "U8", [rows // 4, columns], PACKED
                yield f"{prefix}{name}.weight_scale", "BF16", [1], bf16(np.array([0.02]))
            else:
                yield f"{prefix}{name}.weight", "BF16", [rows, columns], NORMAL
    if LAYERS - 1 in layers:
        yield "model.norm.weight", "BF16", [DIM], ones


def write(path, all_):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, pool in all_:
        size = int(np.prod(shape)) * pool.itemsize
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _, _, shape, pool in all_:
            left = int(np.prod(shape))
            while left:
                count = min(left, len(pool))
                file.write(pool[:count].tobytes())
                left -= count


def main(form, folder):
    packed = form == "packed"
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    config = {
        "architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "vocab_size": VOCABULARY,
        "hidden_size": DIM, "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "hidden_act": "relu2",
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet", "linear_class": "autobitlinear",
            "quantization_mode": "offline" if packed else "online",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible}
    letters |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    vocabulary = {letters[byte]: byte for byte in range(256)}
    vocabulary |= {f"token{n}": n for n in range(256, VOCABULARY)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
             "use_regex": True}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": level, "decoder": level,
                 "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    if packed:
        write(folder / "model.safetensors", list(tensors(True, range(LAYERS))))
        return
    index, shards = {}, range(0, LAYERS, SHARD_LAYERS)
    for number, first in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        part = list(tensors(False, range(first, first + SHARD_LAYERS)))
        write(folder / name, part)
        index |= {tensor: name for tensor, *_ in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


if __name__ == "__main__":
    main(*sys.argv[1:])
