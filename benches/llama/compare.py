"""Runs llama.cpp and `infer bench` in turns on random weights of the same shapes: prompt and
generation, tokens/s, medians, and the ratio of the two.

    cargo build --release --bin infer
    pip install -r benches/llama/requirements.txt
    python3 benches/llama/compare.py --folder target/llama

llama.cpp has the ternary weights in TQ2_0 and embedding and head in Q6_K; here they are at two bits
and in int8. Nothing else should run on the machine: llama.cpp's threads wait for each other at every
product.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import shapes

HERE = Path(__file__).parent
KEYS = {"prompt": "prompt_tokens_per_second", "generation": "generated_tokens_per_second"}


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True, help="where the GGUF files are kept")
    parser.add_argument("--infer", default="target/release/infer", help="the program `infer`")
    parser.add_argument("--shapes", default="2b4t,large,tiny")
    parser.add_argument("--threads", default="2,1")
    parser.add_argument("-p", "--prompt", type=int, default=128)
    parser.add_argument("-n", "--generate", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--inner", type=int, default=2, help="rounds of a process")
    args = parser.parse_args()
    Path(args.folder).mkdir(parents=True, exist_ok=True)

    for shape in args.shapes.split(","):
        model = str(shapes.write(shape, args.folder))
        for threads in args.threads.split(","):
            sizes = ["-p", str(args.prompt), "-n", str(args.generate)]
            common = ["--threads", threads, *sizes, "--rounds", str(args.inner)]
            sides = {
                "llama.cpp": [sys.executable, str(HERE / "bench.py"), "--model", model, *common],
                "here": [args.infer, "bench", "--shape", shape, "--json", *common],
            }
            runs = {name: [] for name in sides}
            for _ in range(args.rounds):
                for name, command in sides.items():
                    runs[name].append(run(command))
            print(f"{shape}, {threads} threads (load {os.getloadavg()[0]:.1f})")
            for what, key in KEYS.items():
                theirs, ours = (statistics.median(r[key] for r in runs[n]) for n in sides)
                print(
                    f"  {what:10} llama.cpp {theirs:8.1f}  here {ours:8.1f}  {ours / theirs:.2f}x",
                )
            share = statistics.median(r["share_of_ceiling"] for r in runs["here"])
            peak = max(r["peak_resident_bytes"] for r in runs["here"])
            print(f"  {100 * share:.0f} % of plain reading, {peak / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
