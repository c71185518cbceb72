"""Trains the same model here and in PyTorch, in turns, and prints the ratio of their speeds.

    cargo build --release --bin train
    python3 benches/pytorch/compare.py --config configs/quickstart.toml

Both sides train on random bytes, with the configuration that `train --print-config` prints. PyTorch
runs in each mode; the ratio is to its fastest. In bf16 mode attention, output head and the gradients
of our quantised linears are products in bf16, as in PyTorch's bf16 modes all products are. Where we
compute micro-batches at the same time, PyTorch has them as one batch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def output(command, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads))
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{run.stderr[-2000:]}")
    return run.stdout


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--train", default="target/release/train", help="the program `train`")
    parser.add_argument("--modes", default="eager,compile,eager-bf16,compile-bf16")
    parser.add_argument("--no-composed", action="store_true", help="leave out our slowest side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    overrides = [word for key in args.set for word in ("--set", key)]

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "config.toml")
        show = [args.train, "--config", args.config, *overrides, "--print-config"]
        whole.write_text(output(show, args.threads))
        steps = ["--config", str(whole), "--steps", str(args.steps)]
        twin = ["--set", "model.quant=none"]
        sides = {
            "ternary, here": [args.train, "bench", "--json", *steps],
            "ternary, here, bf16": [
                *[args.train, "bench", "--json", *steps],
                *["--set", "backend.precision=bf16"],
            ],
            "ternary, here, composed": [args.train, "bench", "--json", "--composed", *steps],
            "full precision, here": [args.train, "bench", "--json", *steps, *twin],
        }
        if args.no_composed:
            del sides["ternary, here, composed"]
        for mode in args.modes.split(","):
            script = [sys.executable, str(HERE / "bench.py"), "--threads", str(args.threads)]
            sides[f"ternary, PyTorch {mode}"] = [*script, "--mode", mode, *steps]
        speeds = {name: [] for name in sides}
        memory = {}
        for _ in range(args.rounds):
            for name, command in sides.items():
                measured = json.loads(output(command, args.threads))
                speeds[name].append(measured["tokens_per_second"])
                peak = measured.get("peak_resident_mb")
                memory[name] = peak or (measured["peak_resident_bytes"] or 0) / 2**20

    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, median in medians.items():
        print(f"{name:32} {median:9.0f} tokens/s  {memory[name]:7.0f} MiB")
    best = max(median for name, median in medians.items() if "PyTorch" in name)
    print(f"{'ratio of ternary, here':32} {'f32':>6} {'bf16':>6}")
    for what, peer in {
        "to the fastest of PyTorch": best,
        "to full precision here": medians["full precision, here"],
        "to composed here": medians.get("ternary, here, composed"),
    }.items():
        if peer is None:
            continue
        ratios = [medians[name] / peer for name in ("ternary, here", "ternary, here, bf16")]
        print(f"{what:32} {ratios[0]:6.2f} {ratios[1]:6.2f}")


if __name__ == "__main__":
    main()
