"""The dependencies that README.md tells an app to have are those of the app in bitnet/examples/embed."""

import pathlib
import re
import tomllib
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def dependencies(toml):
    """The dependencies of a manifest. Where the library lies is for each to say: of its path the
    last name counts."""
    found = tomllib.loads(toml)["dependencies"]
    for dependency in found.values():
        if isinstance(dependency, dict) and "path" in dependency:
            dependency["path"] = pathlib.PurePosixPath(dependency["path"]).name
    return found


def snippet(readme):
    """The one block of a document that has dependencies."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if "[dependencies]" in block]
    return block


class Manifest(unittest.TestCase):
    def test_the_app_uses_what_the_readme_says(self):
        manifest = (ROOT / "bitnet/examples/embed/Cargo.toml").read_text()
        readme = (ROOT / "README.md").read_text()
        self.assertEqual(dependencies(snippet(readme)), dependencies(manifest))
        self.assertEqual(list(dependencies(manifest)), ["bitnet", "burn"])

    def test_differences_are_seen(self):
        written = '# A\n\n```toml\n[dependencies]\na = { path = "../a", features = ["b"] }\n```\n'
        same = 'name = "x"\n[dependencies]\na = { features = ["b"], path = "../../a" }\n'
        self.assertEqual(dependencies(snippet(written)), dependencies(same))
        for other in (same.replace('"b"', '"c"'), same.replace("/a", "/d"), same + 'e = "1"\n'):
            self.assertNotEqual(dependencies(snippet(written)), dependencies(other))
        for broken in ("# A\n", written + written):
            with self.assertRaises(ValueError):
                snippet(broken)


if __name__ == "__main__":
    unittest.main()
