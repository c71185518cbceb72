"""Trains the model of a configuration in PyTorch on random bytes, and prints tokens a second.

One line of JSON: {"mode": …, "tokens_per_second": median, "peak_resident_mb": …}, on a GPU with its
name and "peak_device_mb".
"""

import argparse
import contextlib
import json
import math
import resource
import statistics
import time
import tomllib

import torch
import torch.nn.functional as F

from model import Shape, Transformer

MODES = ("eager", "compile", "eager-bf16", "compile-bf16")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda"')
    parser.add_argument("--quant", choices=("ternary", "none"))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()

    with open(args.config, "rb") as file:
        config = tomllib.load(file)
    train = config["train"]
    if args.quant:
        config["model"]["quant"] = args.quant
    shape = Shape.of(config["model"])
    torch.set_num_threads(args.threads)
    torch.manual_seed(config["seed"])

    cuda = args.device.startswith("cuda")
    # As the `cuda` backend rounds f32 operands.
    torch.backends.cuda.matmul.allow_tf32 = True
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    model = Transformer(shape).to(args.device)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    gains = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": train["weight_decay"]},
         {"params": gains, "weight_decay": 0.0}],
        lr=train["lr"], betas=tuple(train["betas"]), eps=train["epsilon"], fused=True,
    )
    forward = torch.compile(model) if args.mode.startswith("compile") else model
    autocast = (
        torch.autocast("cuda" if cuda else "cpu", dtype=torch.bfloat16)
        if args.mode.endswith("bf16")
        else contextlib.nullcontext()
    )

    # Micro-batches that the other side computes at the same time are one here, which spreads over
    # the threads better.
    together = math.gcd(train["workers"], train["accumulation"])
    batch, accumulation = train["batch"] * together, train["accumulation"] // together
    text = torch.randint(0, shape.vocab, (1 << 20,), device=args.device)

    def step():
        for _ in range(accumulation):
            starts = torch.randint(0, len(text) - shape.context - 1, (batch,), device=args.device)
            windows = text[starts[:, None] + torch.arange(shape.context + 1, device=args.device)]
            with autocast:
                logits = forward(windows[:, :-1])
            loss = F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())
            (loss / accumulation).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train["clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(args.warmup):
        step()
    synchronize()
    times = []
    for _ in range(args.steps):
        start = time.perf_counter()
        step()
        synchronize()
        times.append(time.perf_counter() - start)
    tokens = batch * accumulation * shape.context
    device = {
        "device": torch.cuda.get_device_name(),
        "peak_device_mb": torch.cuda.max_memory_allocated() / (1 << 20),
    } if cuda else {}
    print(json.dumps({
        "mode": args.mode,
        "tokens_per_second": tokens / statistics.median(times),
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **device,
    }))


if __name__ == "__main__":
    main()
