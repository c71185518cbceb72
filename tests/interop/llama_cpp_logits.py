"""llama.cpp against this project.

    python tests/interop/llama_cpp_logits.py TEXT MODEL ...

after `cargo build --release --workspace --bins --examples`. Each MODEL, a folder, is exported to the
GGUF types that llama.cpp knows; logits, greedy tokens and the perplexity of the first bytes of TEXT
are compared. llama.cpp quantises the activations of TQ1_0 and TQ2_0 in blocks of 256 with a scale
each, and those of F16 not at all: only weights can be the same.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
from llama_cpp import Llama

import ours

GREEDY = 200
WINDOWS = 40


def log_softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def perplexity(llama, text, context):
    """Over disjoint windows, every token but the first of the text predicted once."""
    nats = 0.0
    for start in range(0, len(text) - 1, context):
        window = text[start:start + context + 1]
        llama.reset()
        llama.eval(list(window[:-1]))
        logits = log_softmax(np.array(llama.scores[:len(window) - 1], dtype=np.float64))
        nats -= logits[np.arange(len(window) - 1), list(window[1:])].sum()
    return float(np.exp(nats / (len(text) - 1)))


def main(text, models):
    text = pathlib.Path(text).read_bytes()
    print(ours.HEADER)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for number, model in enumerate(map(pathlib.Path, models)):
            config = json.loads((model / "config.json").read_text())
            context = config["max_position_embeddings"]
            assert config["vocab_size"] == 256, "bytes are tokens here"
            sample = root / "sample.txt"
            sample.write_bytes(text[:context * WINDOWS + 1])
            tokens = list(text[1000:1048])
            kind = f"{number + 1} ({config['hidden_act']})"
            for type_ in ("f32", "f16", "bf16", "q8_0", "tq2_0", "tq1_0"):
                path = root / f"{number}-{type_}.gguf"
                ours.infer("export", "--model", model, "--format", "gguf", "--type", type_, "--out", path)
                llama = Llama(str(path), n_ctx=context, n_batch=context, logits_all=True,
                              n_threads=2, verbose=False)
                # The tokenizer that it builds gives the same tokens.
                piece = text[2000:2200]
                assert llama.tokenize(piece, add_bos=False, special=False) == list(piece)
                theirs = perplexity(llama, sample.read_bytes(), context)
                mine = json.loads(ours.infer(
                    "eval", "--model", path, "--packed", "--head", "f32", "--data", sample, "--json"))
                llama.reset()
                llama.eval(tokens)
                greedy = [int(llama.scores[llama.n_tokens - 1].argmax())]
                while len(greedy) < min(GREEDY, context - len(tokens)):
                    llama.eval(greedy[-1:])
                    greedy.append(int(llama.scores[llama.n_tokens - 1].argmax()))
                logits = np.array(llama.scores[:llama.n_tokens], dtype=np.float64)
                ours.compare(f"llama.cpp, {kind}: {type_}", path, tokens, greedy, logits, same=0.5)
                print(f"    perplexity {theirs:.4f} there, {mine['perplexity']:.4f} here, "
                      f"{path.stat().st_size} bytes", flush=True)
                assert abs(theirs / mine["perplexity"] - 1) < 0.05, type_
                del llama


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
