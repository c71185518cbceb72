#!/usr/bin/env python3
"""Checks that imports point one way:

    python3 tests/architecture/imports.py [ROOT]

Reads the Rust files of the workspace's crates, without their tests, and finds what each imports from
the others: `use` declarations and paths within the code, looked through re-exports to the file that
defines the name. Fails on

- an import of a module (or crate) that stands above the importing one in the picture at the top of
  ARCHITECTURE.md, whose lines are the order of the layers; modules of one line may import each other;
- a module that the picture does not have, and one of the picture that there is not;
- a circle of files that import each other. Folders below a module are part of it for the order.

A re-export (`pub use`) is no import, unless the file itself uses the name. The root of a crate
(`lib.rs`, `main.rs`) may import everything; nothing may import a name that is defined there.
"""

import argparse
import dataclasses
import pathlib
import re
import sys

NAME = r"[A-Za-z_]\w*"
# What a file defines, in any namespace.
DEFINITION = re.compile(
    rf"\b(?:struct|enum|union|trait|fn|type|const|static|macro_rules!)\s+(?:mut\s+)?({NAME})"
)
# A path within the code.
PATH = re.compile(rf"(?<![\w:$])({NAME}(?:\s*::\s*{NAME})+)")
USE = re.compile(r"(?<!\w)(pub(?:\s*\([^)]*\))?\s+)?use\s+([^;]+);")
CHILD = re.compile(rf"(?<!\w)mod\s+({NAME})\s*;")
# A name with a dollar sign is one that a macro is given.
INLINE = re.compile(rf"(?<!\w)mod\s+(\$?{NAME})\s*{{")
TEST = re.compile(r"#\[cfg\((?:test\b|all\(test\b)[^\]]*\]")


class Wrong(Exception):
    """What keeps the check from being made."""


@dataclasses.dataclass
class Layer:
    """A line of the picture: what stands there, by crates and, in `bitnet`, by modules."""

    crates: list[str]
    modules: list[str]


def picture(text):
    """The layers of ARCHITECTURE.md, from the top."""
    block = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    if not block:
        raise Wrong("ARCHITECTURE.md has no picture, which is its first block of `text`")
    layers = []
    for line in block.group(1).splitlines():
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        # Names, then what they are; a line of a crate alone has no more than its name.
        columns = re.split(r"\s{2,}", line.strip())
        names = [name.rstrip("/") for name in (columns[:-1] or columns)]
        if depth == 0:
            layers.append(Layer([name.removesuffix("/src") for name in names], []))
        elif depth == 2:
            layers.append(Layer([], names))
    return layers


def strip(code):
    """Code without comments, and with empty literals."""
    out, at = [], 0
    literal = re.compile(
        r'//[^\n]*|/\*|\bb?r(#*)"|\b[bc]?"|b?\'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\\'])\'|"'
    )
    while found := literal.search(code, at):
        out.append(code[at : found.start()])
        token = found.group()
        if token.startswith("//"):
            at = found.end()
        elif token == "/*":
            depth, at = 1, found.end()
            while depth:
                edge = re.compile(r"/\*|\*/").search(code, at)
                if not edge:
                    raise Wrong("a comment does not end")
                depth += 1 if edge.group() == "/*" else -1
                at = edge.end()
        elif "r" in token and token.endswith('"'):
            out.append('""')
            at = code.index('"' + found.group(1), found.end()) + 1 + len(found.group(1))
        elif token.endswith('"'):
            out.append('""')
            at = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL).match(code, found.end()).end()
        else:
            out.append("' '")
            at = found.end()
    return "".join(out) + code[at:]


def block_end(code, at):
    """The index after the item that goes on at an index: after its block, or its semicolon."""
    depth = 0
    for index in range(at, len(code)):
        letter = code[index]
        depth += (letter in "{([") - (letter in "})]")
        if depth == 0 and letter in "};":
            return index + 1
    return len(code)


def without_tests(code):
    """Code without the items that are compiled for tests alone."""
    while found := TEST.search(code):
        code = code[: found.start()] + code[block_end(code, found.end()) :]
    return code


def uses(tree, before=()):
    """The paths of a use declaration, each with the name that it binds: `*` for a glob."""
    tree = tree.strip()
    group = re.fullmatch(r"(?:(.*?)::)?\s*\{(.*)\}", tree, re.DOTALL)
    if group:
        before += segments(group.group(1) or "")
        depth, part = 0, ""
        for letter in group.group(2) + ",":
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                if part.strip():
                    yield from uses(part, before)
                part = ""
            else:
                part += letter
        return
    path, _, alias = tree.partition(" as ")
    path = before + segments(path)
    if path[-1] == "self" and len(path) > 1:
        path = path[:-1]
    yield path, alias.strip() or path[-1]


def segments(path):
    """The names of a path."""
    return tuple(name.strip() for name in path.split("::") if name.strip())


@dataclasses.dataclass
class Module:
    """A module of a crate."""

    crate: str
    path: tuple[str, ...]
    # The path of the module that is its whole file; its own, but for what is written within one.
    home: tuple[str, ...]
    file: pathlib.Path
    # Without use declarations and the modules within.
    code: str
    children: set[str]
    defined: set[str]
    # Names that are bound by use declarations, and the paths of globs.
    bound: dict[str, tuple[str, ...]]
    globs: list[tuple[str, ...]]
    # Names that are only handed on.
    reexported: set[str]


def read(crate, path, home, file, code):
    """The module of some code, and those written within it."""
    modules, children = [], set(CHILD.findall(code))
    while found := INLINE.search(code):
        end = block_end(code, found.end() - 1)
        name, inner = found.group(1), code[found.end() : end - 1]
        modules += read(crate, (*path, name), home, file, inner)
        children.add(name)
        code = code[: found.start()] + code[end:]
    bound, globs, reexported = {}, [], set()
    rest = CHILD.sub("", USE.sub("", code))
    for found in USE.finditer(code):
        for target, name in uses(found.group(2)):
            if name == "*":
                globs.append(target[:-1])
                continue
            bound[name] = target
            if found.group(1) and not re.search(rf"(?<!\w){name}(?!\w)", rest):
                reexported.add(name)
    defined = set(DEFINITION.findall(rest))
    own = Module(crate, path, home, file, rest, children, defined, bound, globs, reexported)
    return [own, *modules]


class Workspace:
    """The files of all crates."""

    def __init__(self, root, crates):
        self.root, self.modules = root, {}
        for crate in crates:
            name = crate.replace("-", "_")
            roots = [root / crate / "src" / file for file in ("lib.rs", "main.rs")]
            for file in filter(pathlib.Path.is_file, roots):
                # A program beside its library is a crate of its own.
                self.add(name if (name, ()) not in self.modules else f"{name}!", (), file)

    def add(self, crate, path, file):
        """Adds a file and those of the modules that it declares."""
        code = without_tests(strip(file.read_text()))
        modules = read(crate, path, path, file, code)
        self.modules |= {(crate, module.path): module for module in modules}
        folder = file.parent if file.stem in ("lib", "main", "mod") else file.with_suffix("")
        for child in sorted(modules[0].children):
            for place in (folder / f"{child}.rs", folder / child / "mod.rs"):
                if place.is_file():
                    self.add(crate, (*path, child), place)

    def resolve(self, module, path, seen=frozenset()):
        """The module that defines what a path names, and whether it is the module itself. `None`
        for what is of no crate here."""
        key = (module.crate, module.path, path)
        if key in seen:
            return None
        seen = seen | {key}
        first, rest = path[0], path[1:]
        if first == "crate":
            return self.walk(self.modules[module.crate, ()], rest, seen)
        if first == "self":
            return self.walk(module, rest, seen)
        if first == "super":
            return self.walk_up(module, rest, seen)
        if first in module.children:
            return self.walk(module, path, seen)
        if first in module.bound and module.bound[first][0] != first:
            return self.resolve(module, (*module.bound[first], *rest), seen)
        if (first, ()) in self.modules:
            return self.walk(self.modules[first, ()], rest, seen)
        return None

    def walk_up(self, module, rest, seen):
        """Resolves what comes after `super`."""
        parent = self.modules.get((module.crate, module.path[:-1]))
        if parent is None or not module.path:
            return None
        if rest and rest[0] == "super":
            return self.walk_up(parent, rest[1:], seen)
        return self.walk(parent, rest, seen)

    def walk(self, module, path, seen):
        """Resolves a path from within a module."""
        if not path:
            return module, True
        first, rest = path[0], path[1:]
        child = self.modules.get((module.crate, (*module.path, first)))
        if first in module.children and child and rest:
            return self.walk(child, rest, seen)
        if first in module.bound:
            found = self.resolve(module, (*module.bound[first], *rest), seen)
            if found:
                return found
        if first in module.defined:
            return module, False
        if first in module.children and child:
            return child, True
        for glob in module.globs:
            found = self.resolve(module, (*glob, *path), seen)
            if found and first in found[0].defined | set(found[0].bound):
                return found
        return module, False

    def imports(self):
        """For each file, by its module, those that define what it imports, with a path that does."""
        found = {(module.crate, module.home): {} for module in self.modules.values()}
        for module in self.modules.values():
            paths = [path for name, path in module.bound.items() if name not in module.reexported]
            paths += [(*glob, "*") for glob in module.globs]
            paths += [segments(path) for path in PATH.findall(module.code)]
            home = (module.crate, module.home)
            for path in paths:
                target = self.resolve(module, path)
                # A module by itself is only a name for the paths that begin with it.
                if target and not target[1] and (target[0].crate, target[0].home) != home:
                    found[home].setdefault((target[0].crate, target[0].home), "::".join(path))
        return found


def circles(graph):
    """The strongly connected parts of a graph that have several nodes (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(stack[at:])
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def is_root(importer, target):
    """Whether a file imports what the root of its crate defines."""
    return importer[0] == target[0] and importer[1] and not target[1]


def height(heights, key):
    """The line on which a file stands in the picture; that of its crate where it has none."""
    crate, path = key
    crate = crate.rstrip("!")
    return heights.get((crate, path[0] if path else None), heights.get((crate, None), 0))


def check(root):
    """What is wrong in a repository, a line each."""
    layers = picture((root / "ARCHITECTURE.md").read_text())
    crates = [crate for layer in layers for crate in layer.crates]
    workspace = Workspace(root, crates)
    heights = {}
    for line, layer in enumerate(layers):
        heights |= {(crate.replace("-", "_"), None): line for crate in layer.crates}
        heights |= {("bitnet", name): line for name in layer.modules}
    wrong = []
    place = lambda key: workspace.modules[key].file.relative_to(root).as_posix()
    if ("bitnet", ()) in workspace.modules:
        declared = workspace.modules["bitnet", ()].children
        drawn = {name for _, name in heights if name}
        wrong += [f"{name}: is not in ARCHITECTURE.md's picture" for name in sorted(declared - drawn)]
        wrong += [f"{name}: is in the picture, and no module" for name in sorted(drawn - declared)]
    graph = workspace.imports()
    for key, found in graph.items():
        for target, name in found.items():
            if is_root(key, target) or height(heights, target) < height(heights, key):
                wrong.append(f"{place(key)}: imports {name} from above, {place(target)}")
    # The root of a crate is above all of its files, whatever it uses.
    graph = {
        key: {target: name for target, name in found.items() if key[1] and target[1]}
        for key, found in graph.items()
    }
    for circle in circles(graph):
        lines = [
            f"  {place(key)} imports {name} from {place(target)}"
            for key in sorted(circle)
            for target, name in sorted(graph[key].items())
            if target in circle
        ]
        wrong.append("\n".join([f"a circle of {len(circle)} files:", *lines]))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    here = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=here)
    try:
        wrong = check(parser.parse_args().root.resolve())
    except Wrong as error:
        sys.exit(str(error))
    if wrong:
        sys.exit("\n".join([*wrong, f"{len(wrong)} wrong"]))


if __name__ == "__main__":
    main()
