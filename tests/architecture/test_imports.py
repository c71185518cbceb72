"""Tests of imports.py, on small workspaces:

    python3 -m unittest discover -s tests/architecture
"""

import pathlib
import tempfile
import unittest

import imports

PICTURE = """# Architecture

```text
train/                    the program
command-line/             what it shares

bitnet/src/
  model/                  the top
  ops/  norm              the middle
    flex/                 a part of it
  cpu/                    the bottom
```
"""


class Imports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("ARCHITECTURE.md", PICTURE)
        self.write("bitnet/src/lib.rs", "mod cpu;\nmod model;\nmod norm;\npub mod ops;\n")
        self.write("bitnet/src/cpu.rs", "pub fn add() {}\n")
        self.write("bitnet/src/norm.rs", "pub struct Norm;\n")
        self.write("bitnet/src/ops/mod.rs", "mod flex;\nmod sum;\npub use sum::sum;\n")
        self.write("bitnet/src/ops/sum.rs", "use super::flex;\npub fn sum() { flex::sum() }\n")
        self.write("bitnet/src/ops/flex.rs", "pub fn sum() { crate::cpu::add() }\n")
        self.write("bitnet/src/model.rs", "use crate::{norm::Norm, ops::sum};\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def wrong(self):
        return "\n".join(imports.check(self.root))

    def test_imports_downwards_are_right(self):
        self.assertEqual(self.wrong(), "")

    def test_an_import_of_what_stands_above_is_wrong(self):
        for code in (
            "use crate::ops::sum;",
            "use crate::{norm, ops::{self, sum as plus}};",
            "pub fn add() { crate::ops::sum() }",
            "use crate::ops;\npub fn add() { ops::sum() }",
            "mod inner {\n    use super::super::ops::sum;\n}",
            "pub use crate::ops::sum;\npub fn add() { sum() }",
            "use crate::ops::*;",
        ):
            self.write("bitnet/src/cpu.rs", code)
            wrong = self.wrong()
            self.assertIn("bitnet/src/cpu.rs: imports", wrong, code)
            self.assertIn("from above", wrong, code)

    def test_a_part_of_a_module_stands_where_it_does(self):
        self.write("bitnet/src/ops/flex.rs", "use crate::norm::Norm;")
        self.assertEqual(self.wrong(), "")
        self.write("bitnet/src/ops/flex.rs", "use crate::model::Model;")
        self.write("bitnet/src/model.rs", "pub struct Model;")
        self.assertIn("bitnet/src/ops/flex.rs: imports crate::model::Model from above", self.wrong())

    def test_programs_stand_above_the_library(self):
        self.write("train/src/main.rs", "mod run;\nuse bitnet::ops::sum;\n")
        self.write("train/src/run.rs", "use bitnet::ops::sum;\nuse command_line::usage;\n")
        self.write("command-line/src/lib.rs", "pub fn usage() {}\n")
        self.assertEqual(self.wrong(), "")
        self.write("bitnet/src/cpu.rs", "use command_line::usage;")
        self.assertIn("bitnet/src/cpu.rs: imports command_line::usage from above", self.wrong())

    def test_the_root_of_a_crate_is_above_its_files(self):
        self.write("bitnet/src/lib.rs", "mod cpu;\nmod model;\nmod norm;\npub mod ops;\npub struct Top;")
        self.write("bitnet/src/model.rs", "use crate::Top;")
        self.assertIn("imports crate::Top from above, bitnet/src/lib.rs", self.wrong())

    def test_what_is_no_code_imports_nothing(self):
        self.write(
            "bitnet/src/cpu.rs",
            "// use crate::ops::sum;\n/* use crate::ops::sum; /* and */ more */\n"
            "/// [`crate::ops::sum`]\n"
            'const A: &str = "\\" use crate::ops::sum;";\nconst B: &str = r#"" crate::ops::sum "#;\n'
            "const C: [char; 2] = ['\"', '\\''];\nfn f<'a>(x: &'a str) -> &'a str { x }\n"
            "#[cfg(test)]\nmod tests {\n    use crate::ops::sum;\n}\n"
            '#[cfg(all(test, feature = "x"))]\nuse crate::ops::sum;\n'
            "#[cfg(test)]\nmod more;\n",
        )
        self.write("bitnet/src/cpu/more.rs", "use crate::ops::sum;")
        self.assertEqual(self.wrong(), "")

    def test_code_for_one_system_is_code(self):
        self.write("bitnet/src/cpu.rs", "#[cfg(unix)]\nuse crate::ops::sum;")
        self.assertIn("from above", self.wrong())

    def test_circles_are_named(self):
        self.write("bitnet/src/ops/flex.rs", "use super::sum::Parts;\npub fn sum() {}\n")
        self.write(
            "bitnet/src/ops/sum.rs", "use super::flex;\npub struct Parts;\npub fn sum() { flex::sum() }\n"
        )
        wrong = self.wrong()
        self.assertIn("a circle of 2 files:", wrong)
        self.assertIn("bitnet/src/ops/flex.rs imports super::sum::Parts from bitnet/src/ops/sum.rs", wrong)
        self.assertIn("bitnet/src/ops/sum.rs imports flex::sum from bitnet/src/ops/flex.rs", wrong)

    def test_circles_through_what_is_handed_on_are_found(self):
        self.write("bitnet/src/ops/mod.rs", "mod flex;\nmod sum;\npub use sum::{Parts, sum};\n")
        self.write("bitnet/src/ops/flex.rs", "use crate::ops::Parts;\npub fn sum() {}\n")
        self.write(
            "bitnet/src/ops/sum.rs",
            "use super::flex::*;\npub struct Parts;\npub fn sum() { super::flex::sum() }\n",
        )
        self.assertIn("a circle of 2 files:", self.wrong())

    def test_handing_on_is_no_import(self):
        self.write("bitnet/src/ops/mod.rs", "mod flex;\nmod sum;\npub use sum::sum;\npub struct Size;\n")
        self.write("bitnet/src/ops/sum.rs", "use super::Size;\npub fn sum() {}\n")
        self.assertEqual(self.wrong(), "")
        self.write(
            "bitnet/src/ops/mod.rs",
            "mod flex;\nmod sum;\npub use sum::sum;\npub struct Size;\nfn f() { sum() }\n",
        )
        self.assertIn("a circle of 2 files:", self.wrong())

    def test_picture_and_modules_are_the_same(self):
        self.write("bitnet/src/lib.rs", "mod cpu;\nmod model;\npub mod ops;\nmod loss;\n")
        self.write("bitnet/src/model.rs", "")
        self.assertEqual(
            self.wrong(),
            "loss: is not in ARCHITECTURE.md's picture\nnorm: is in the picture, and no module",
        )


if __name__ == "__main__":
    unittest.main()
