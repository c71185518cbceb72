"""Small files by `transformers` and `gguf`, which the tests of this project read.

    python tests/interop/make_fixtures.py

writes bitnet/tests/golden/interop: three folders of a BitNetForCausalLM with their logits, and a GGUF
file of ternary tensors in each type, quantised by the `gguf` package.
"""

import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
from gguf.quants import quantize
from safetensors.torch import save_file
from transformers import BitNetConfig, BitNetForCausalLM

import ours
from transformers_logits import pack, run, set_quantization

FOLDER = ours.ROOT / "bitnet" / "tests" / "golden" / "interop"
TOKENS = [66, 105, 116, 78, 101, 116, 0, 255]


def transformers_folder(tied):
    """A model of 16 features, in bf16, computed in f32."""
    torch.manual_seed(3 + tied)
    config = BitNetConfig(
        vocab_size=256, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2 if tied else 4, max_position_embeddings=64,
        tie_word_embeddings=tied, initializer_range=0.3, hidden_act="relu2" if tied else "silu",
        rope_theta=500000.0, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )
    model = BitNetForCausalLM(config)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    online = FOLDER / ("online" if tied else "untied")
    model.to(torch.bfloat16).save_pretrained(online)
    (online / "generation_config.json").unlink(missing_ok=True)
    set_quantization(online, "autobitlinear", "online")
    (online / "tokenizer.json").write_text("{}")
    folders = [online]
    if tied:
        folders.append(FOLDER / "packed")
        pack(online, folders[-1], "autobitlinear")
    for folder in folders:
        _, _, logits = run(folder, TOKENS, 1)
        (folder / "tokenizer.json").unlink()
        save_file({"logits": torch.tensor(logits)}, folder / "logits.safetensors")


def gguf_file():
    """One ternary matrix of two rows in all types, and its codes."""
    codes = np.random.default_rng(5).integers(-1, 2, (2, 512)).astype(np.float32)
    # A block of zeros, whose scale is zero.
    codes[1, :256] = 0
    weights = codes * np.float32(0.0625)
    types = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(FOLDER / "ternary.gguf", "bitnet")
    writer.add_string("test.text", "señor")
    writer.add_array("test.texts", ["a", "", "語"])
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_float32("test.float", 0.5)
    writer.add_bool("test.bool", True)
    for kind in (types.F16, types.BF16, types.Q8_0, types.TQ1_0, types.TQ2_0):
        data = quantize(weights, kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
    writer.add_tensor("codes", codes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    transformers_folder(True)
    transformers_folder(False)
    gguf_file()
    (FOLDER / "tokens.json").write_text(json.dumps(TOKENS) + "\n")
