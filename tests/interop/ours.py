"""This project's programs, for the scripts beside this file."""

import json
import math
import pathlib
import subprocess

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target" / "release"
HEADER = (
    f"{'program, form':44} {'ours':7} {'before':>8} {'at':>8} {'after':>8} {'greedy':>8} "
    f"{'same next':>9}"
)
# Rounding of 32 bits stays below this; another 8-bit code of an input does not.
ROUNDING = 1e-4


def infer(*args):
    """Runs `infer` and gives its output."""
    command = [RELEASE / "infer", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def logits(model, tokens):
    """Logits [tokens, vocabulary] of the packed engine and of the float model."""
    command = [RELEASE / "examples" / "logits", model, "1"]
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, input=json.dumps(tokens)
    )
    return {kind: np.array(each["logits"]) for kind, each in json.loads(run.stdout).items()}


def steps(differences):
    """Largest difference before the first token that differs by more than rounding, where that
    token is, and the largest of all."""
    beyond = np.flatnonzero(differences > ROUNDING)
    first = beyond[0] if len(beyond) else len(differences)
    before = f"{differences[:first].max():8.1e}" if first else "       -"
    return f"{before} {first:4}/{len(differences)} {differences.max():8.1e}", first


def compare(name, model, prompt, greedy, theirs, exact=False, same=0.0):
    """Prints a row of the table for each of our two ways to compute; fails beyond the limits.

    `theirs` are the logits at each token of the prompt and at each of the greedy ones that follow
    but the last. Where an input of a layer lies on the boundary between two 8-bit codes, the
    rounding of 32 bits decides which one it becomes; all tokens from there on see it. Hence the
    largest difference `before` that token, which one it is, and the largest `after`. `greedy` is
    the number of tokens up to the first other one; `same next` compares each step on their text.
    """
    for kind, logits_ in logits(model, prompt + greedy[:-1]).items():
        differences = np.abs(logits_ - theirs).max(axis=1)
        agree = logits_[len(prompt) - 1:].argmax(axis=1) == np.array(greedy)
        prefix = len(greedy) if agree.all() else int(np.argmin(agree))
        row, first = steps(differences)
        print(f"{name:44} {kind:7} {row} {prefix:4}/{len(greedy)} {agree.sum():5}/{len(greedy)}",
              flush=True)
        assert np.isfinite(theirs).all() and np.abs(theirs).mean() > 0.1, name
        assert not exact or first > 0, f"{name}: not even the first token is the same"
        assert agree.mean() >= same, name


def byte_tokenizer():
    """A tokenizer.json of one token a byte, as the `tokenizers` library writes it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    characters = {byte: chr(byte) for byte in visible}
    characters |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    vocabulary = {characters[byte]: byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer.to_str()
