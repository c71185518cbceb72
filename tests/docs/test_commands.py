"""Tests of commands.py, with programs that are scripts:

    python3 -m unittest discover -s tests/docs
"""

import contextlib
import io
import pathlib
import tempfile
import unittest

import commands

# Fails where an argument is --bad; keeps its arguments.
PROGRAM = """#!/bin/sh
case " $* " in *" --version "*) echo "train 0.1.0 (backends flex ndarray)"; exit;; esac
case " $* " in *" --bad "*) echo "error: unknown argument" >&2; exit 1;; esac
echo "$(basename "$0") $*" >> "$(dirname "$0")/log"
"""


class Commands(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "repository"
        self.programs = pathlib.Path(folder.name) / "programs"
        self.scratch = pathlib.Path(folder.name) / "scratch"
        self.programs.mkdir()
        for name in commands.PROGRAMS:
            (self.programs / name).write_text(PROGRAM)
            (self.programs / name).chmod(0o755)
        self.write("docs/a.md", "")
        self.write("data/README.md", "")
        self.write("configs/a.toml", 'sources = ["kjv"]\n')
        self.write("configs/b.toml", 'sources = ["enwik8"]\n')

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def wrong(self, readme):
        """What is wrong with a README."""
        self.write("README.md", readme)
        commands.shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            return "\n".join(commands.run(self.root, self.programs, set(), self.scratch))

    def block(self, command, mark=None):
        mark = f"<!-- run: {mark} -->\n" if mark else ""
        return f"Text\n\n{mark}```sh\n{command}\n```\n"

    def log(self):
        return (self.programs / "log").read_text().splitlines()

    def test_commands_run_in_order_whatever_their_program_is_called(self):
        lines = [
            "train a 'b c' \\\n  d",
            "cargo run --release --bin infer -- e --f",
            "cargo build --release --bin train",
            "target/release/train g > out",
            "X=1 cargo run --release --bin train",
            "test -f out && infer h | cat",
        ]
        self.assertEqual(self.wrong(self.block("\n".join(lines))), "")
        self.assertEqual(self.log(), ["train a b c d", "infer e --f", "train g", "train ", "infer h"])

    def test_failures_are_named(self):
        self.assertIn("README.md:3: false\n  exit code 1", self.wrong(self.block("false")))
        self.assertIn("unknown argument", self.wrong(self.block("infer --bad")))
        self.assertIn("exit code 1", self.wrong(self.block("infer --bad | cat")))
        self.assertIn("mark it as `needs build`", self.wrong(self.block("cargo test")))
        self.assertIn("mark it as", self.wrong(self.block("cargo run --release --bin other")))
        self.assertIn("commands are `sh`", self.wrong("```bash\ntrue\n```\n"))

    def test_what_needs_something_is_read(self):
        self.write("docs/requirements.txt", "numpy\n")
        self.write("docs/a.py", "")
        for command, need in [
            ("cargo test --release", "build"),
            ("pip install x", "network"),
            ("train --config configs/b.toml", "network"),
            ("infer eval --data enwik8", "network"),
            ("train --backend cuda", "gpu"),
            ("X=$PWD/a:b cargo bench", "build"),
            ("python3 docs/a.py", "packages"),
        ]:
            self.assertEqual(self.wrong(self.block(command, f"needs {need}")), "", command)
            other = "gpu" if need != "gpu" else "build"
            wrong = self.wrong(self.block(command, f"needs {other}"))
            self.assertIn(f"says that it needs {other}; nothing in it does", wrong)
        self.assertIn("nothing in it does", self.wrong(self.block("train a", "needs network")))
        for command in ("train a --bad", "train --config configs/c.toml", "cargo test --test none"):
            wrong = self.wrong(self.block(f"{command}\npip install x\ncargo test", "needs network, build"))
            self.assertIn(command, wrong)

    def test_features_that_are_not_built_are_read(self):
        with_feature = "X=$PWD/a:b cargo run --release --bin train --features {} -- backends"
        self.assertEqual(self.wrong(self.block(with_feature.format("wgpu"))), "")
        self.assertEqual(self.log(), ["train backends --help"])
        self.assertEqual(self.wrong(self.block(with_feature.format("flex"))), "")
        self.assertEqual(self.log()[1:], ["train backends"])

    def test_tiny_reaches_new_runs_alone(self):
        lines = ["train --config configs/a.toml", "train --resume runs/a", "train backends"]
        self.assertEqual(self.wrong(self.block("\n".join(lines), "tiny")), "")
        new, resumed, other = self.log()
        self.assertIn("--set train.steps=4", new)
        self.assertEqual((resumed, other), ("train --resume runs/a", "train backends"))
        wrong = self.wrong(self.block("train --resume runs/a", "tiny"))
        self.assertIn("nothing in it can be made smaller", wrong)

    def test_tiny_reaches_shapes(self):
        self.assertEqual(self.wrong(self.block("infer bench --shape 2b4t -p 9", "tiny")), "")
        self.assertEqual(self.log(), ["infer bench --shape tiny -p 9"])

    def test_marks_stand_before_blocks(self):
        self.assertIn("unknown mark", self.wrong(self.block("true", "sometimes")))
        self.assertIn("before no block", self.wrong("<!-- run: tiny -->\n\n```sh\ntrue\n```\n"))
        self.assertIn("ends in", self.wrong("<!-- run: tiny -->\n"))


if __name__ == "__main__":
    unittest.main()
