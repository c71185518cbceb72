"""BitNetForCausalLM of `transformers` against this project, both ways.

    python tests/interop/transformers_logits.py [MODEL ...]

after `cargo build --release --workspace --bins --examples`. Random models of `transformers` in each
form that it saves are opened here; MODELs trained here are exported, and opened there.
"""

import json
import os
import pathlib
import sys
import tempfile
from functools import partial

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitNetConfig, BitNetForCausalLM
from transformers.integrations.bitnet import pack_weights

import ours

GREEDY = 200


def tokens_of(vocabulary):
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, vocabulary, (48,), generator=generator).tolist()


@torch.no_grad()
def run(path, tokens, steps=GREEDY):
    """A folder in `transformers`: its model, greedy tokens, and the logits on the way."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return model, *generate(model, tokens, steps)


@torch.no_grad()
def generate(model, tokens, steps):
    out = model(torch.tensor([tokens]), use_cache=True)
    logits, greedy = [out.logits[0].numpy()], []
    while True:
        greedy.append(int(out.logits[0, -1].argmax()))
        if len(greedy) == steps:
            return greedy, np.concatenate(logits)
        cache = out.past_key_values
        out = model(torch.tensor([greedy[-1:]]), past_key_values=cache, use_cache=True)
        logits.append(out.logits[0].numpy())


def perturbed(model, tokens):
    """What `transformers` itself gives after a change of its embedding by one part in ten million:
    a yardstick."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        weight = model.model.embed_tokens.weight
        weight.mul_(1 + 1e-7 * torch.randn(weight.shape, generator=generator))
        return model(torch.tensor([tokens])).logits[0].numpy()


def set_quantization(path, linear_class, mode):
    """Says in config.json how weights are stored."""
    file = path / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"] = {
        "quant_method": "bitnet", "linear_class": linear_class, "quantization_mode": mode,
    }
    file.write_text(json.dumps(config))


def pack(source, target, linear_class):
    """The packed form of a folder, by the functions of `transformers`."""
    target.mkdir()
    for file in ("config.json", "tokenizer.json"):
        (target / file).write_text((source / file).read_text())
    tensors = {}
    for name, weight in load_file(source / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            tensors[name] = weight
            continue
        scale = 1.0 / weight.float().abs().mean().clamp(min=1e-5)
        tensors[name] = pack_weights((weight * scale).round().clamp(-1, 1))
        divides = linear_class == "bitlinear"
        tensors[name + "_scale"] = (scale if divides else 1.0 / scale).reshape(1)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    set_quantization(target, linear_class, "offline")


def random_models(root):
    for tied in (True, False):
        kind = "tied, grouped" if tied else "untied"
        torch.manual_seed(int(tied))
        config = BitNetConfig(
            vocab_size=256, hidden_size=256, intermediate_size=512, num_hidden_layers=3,
            num_attention_heads=8, num_key_value_heads=2 if tied else 8,
            max_position_embeddings=512, tie_word_embeddings=tied, initializer_range=0.1,
            rope_theta=500000.0, bos_token_id=None, eos_token_id=None, pad_token_id=None,
        )
        model = BitNetForCausalLM(config)
        for name, parameter in model.named_parameters():
            if "norm" in name:
                torch.nn.init.normal_(parameter, 1.0, 0.2)
        online = root / f"online-{tied}"
        model.save_pretrained(online)
        (online / "tokenizer.json").write_text(ours.byte_tokenizer())
        set_quantization(online, "autobitlinear", "online")
        tokens = tokens_of(256)
        model, greedy, logits = run(online, tokens)
        compare = partial(ours.compare, exact=True, same=0.9)
        compare(f"random, {kind}: latent f32", online, tokens, greedy, logits)

        # As it saves a model in shards.
        shards = root / f"shards-{tied}"
        model.save_pretrained(shards, max_shard_size="500KB")
        assert (shards / "model.safetensors.index.json").exists()
        (shards / "tokenizer.json").write_text(ours.byte_tokenizer())
        compare(f"random, {kind}: in shards", shards, tokens, greedy, logits)
        moved = np.abs(perturbed(model, tokens + greedy[:-1]) - logits).max(axis=1)
        print(f"{'transformers, its embedding changed by 1e-7':44} {'-':7} {ours.steps(moved)[0]}")

        for linear_class in ("autobitlinear", "bitlinear"):
            packed = root / f"{linear_class}-{tied}"
            pack(online, packed, linear_class)
            packed_model, greedy, logits = run(packed, tokens)
            compare(f"random, {kind}: packed {linear_class}", packed, tokens, greedy, logits)
            if linear_class == "autobitlinear":
                saved = root / f"saved-{tied}"
                packed_model.save_pretrained(saved)
                (saved / "tokenizer.json").write_text(ours.byte_tokenizer())
                compare(f"random, {kind}: unpacked codes", saved, tokens, greedy, logits)


def trained_models(root, models):
    for number, model in enumerate(map(pathlib.Path, models)):
        config = json.loads((model / "config.json").read_text())
        tokens = tokens_of(config["vocab_size"])
        steps = min(GREEDY, config["max_position_embeddings"] - len(tokens))
        kind = "tied" if config["tie_word_embeddings"] else "untied"
        kind = f"trained, {kind}, {config['hidden_act']}"
        _, greedy, logits = run(model, tokens, steps)
        compare = partial(ours.compare, exact=True, same=0.9)
        compare(f"{kind}: as it is", model, tokens, greedy, logits)
        for form in ("hf-packed", "hf-bf16"):
            path = root / f"{form}-{number}"
            print(ours.infer("export", "--model", model, "--format", form, "--out", path), end="")
            _, greedy, logits = run(path, tokens, steps)
            compare(f"{kind}: {form}", path, tokens, greedy, logits)
            if form == "hf-packed":
                compare(f"{kind}: {form} there, original here", model, tokens, greedy, logits)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(ours.HEADER)
        random_models(pathlib.Path(folder))
        trained_models(pathlib.Path(folder), sys.argv[1:])
