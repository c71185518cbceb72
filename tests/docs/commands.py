#!/usr/bin/env python3
"""Runs the commands of README.md, docs/*.md and data/README.md, one after the other, in a copy of
the repository's files, with the programs as they are built:

    python3 tests/docs/commands.py [--programs target/release] [--also network,packages] [--keep]

Commands are the lines of fenced blocks of the language `sh`. A mark may stand in the line before:

    <!-- run: tiny -->            new runs take a few steps, models of random weights are small
    <!-- run: needs NEED, ... --> not run: needs what is not here

What is not run is still read: programs must know the flags, and files that are named must be there.
A `cargo run --features X` is run if X is built in, and read if not. Fails if a command fails, and
if a mark does not fit the block after it: `tiny` where nothing could be smaller, a need that is not seen.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

PROGRAMS = ("train", "infer")
# Seconds that a command may take, and all of them.
LIMIT, ALL = 300, 900
SHORT = (
    "train.steps=4 train.batch=1 train.accumulation=1 train.workers=1 train.warmup=1 eval.every=4 "
    "eval.windows=2 eval.final_windows=2 checkpoint.every=4 sample.tokens=4 log.ceiling=false"
).split()
# For what makes many runs.
SMALL = (
    "model.dim=32 model.depth=1 model.heads=2 model.ff_dim=64 model.context=32"
).split()
FETCHED = re.compile(r"\b(enwik8|tinyshakespeare)\b")


class Wrong(Exception):
    """What is wrong with a document."""


@dataclasses.dataclass
class Block:
    """A block of commands."""

    place: str
    tiny: bool
    needs: list[str]
    commands: list[str]


def blocks(name, text):
    """The blocks of a document."""
    found, mark, marked_at, block = [], None, 0, None
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            if line.strip() == fence:
                fence = None
            elif block:
                block.commands.append(line)
            continue
        begins = re.match(r"\s*(```+|~~~+)\s*(\w*)", line)
        is_mark = re.fullmatch(r"\s*<!--\s*run:\s*(.*?)\s*-->\s*", line)
        if begins:
            fence, language = begins.groups()
            if language in ("bash", "shell", "console", "zsh"):
                raise Wrong(f"{name}:{number}: a block of {language}; commands are `sh`")
            block = None
            if language == "sh":
                block = Block(f"{name}:{number}", *read_mark(mark, f"{name}:{marked_at}"), [])
                found.append(block)
                mark = None
        if mark is not None and not is_mark:
            raise Wrong(f"{name}:{marked_at}: a mark that stands before no block of commands")
        if is_mark:
            mark, marked_at = is_mark.group(1), number
    if mark is not None or fence:
        raise Wrong(f"{name}: ends in a mark or in a block")
    for block in found:
        lines = "\n".join(block.commands).replace("\\\n", " ").splitlines()
        block.commands = [line.strip() for line in lines if line.strip()]
    return found


def read_mark(mark, place):
    """Whether a mark says tiny, and the needs that it says."""
    if mark is None:
        return False, []
    if mark == "tiny":
        return True, []
    needs = re.fullmatch(r"needs (\w+(?:, \w+)*)", mark)
    needs = needs.group(1).split(", ") if needs else [mark]
    for need in needs:
        if need not in NEEDS:
            raise Wrong(f"{place}: unknown mark \"{mark}\"")
    return False, needs


def calls(command):
    """The programs that a command calls, with their arguments, as lists of words."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    words, lists, current = list(lexer), [], []
    for word in words + ["&&"]:
        if re.fullmatch(r"[&|;]+", word):
            lists.append(current)
            current = []
        elif current or not re.match(r"\w+=", word):
            current.append(word)
    return [call for call in lists if call]


def cargo(args):
    """What `cargo ARGS` runs of what is built: the program's name, its arguments and the features
    that it is to have. A name of None is a build of what is there."""
    ours, _, theirs = " ".join(args).partition(" -- ")
    words = ours.split()
    match = re.fullmatch(r"(run|build) --release --bin (\w+)((?: --features [\w,]+)?)", ours)
    if not match or match.group(2) not in PROGRAMS:
        raise Wrong(f"`cargo {ours}` compiles something else than the programs")
    features = words[-1].split(",") if match.group(3) else []
    at = args.index("--") + 1 if theirs else len(args)
    return (match.group(2) if match.group(1) == "run" else None), args[at:], features


def program(call):
    """The program of ours that a call runs, its arguments and features, or Nones."""
    name = os.path.basename(call[0])
    if name == "cargo":
        try:
            return cargo(call[1:])
        except Wrong:
            return None, None, []
    return (name, call[1:], []) if name in PROGRAMS else (None, None, [])


def tiny(name, args):
    """The arguments of a program with which what it makes is small; as they are where that is
    nothing."""
    if "--resume" in args or "--print-config" in args:
        return args
    if name == "infer":
        # The shape's name.
        return ["tiny" if flag == "--shape" else arg for flag, arg in zip(["", *args], args)]
    if args[:1] in (["twin"], ["lr-find"]):
        pairs = SHORT + SMALL
    elif "--config" in args and args[0] != "bench":
        pairs = SHORT
    else:
        return args
    return args + [word for pair in pairs for word in ("--set", pair)]


def compiles(root, call):
    """Whether a call compiles what is not built."""
    if os.path.basename(call[0]) != "cargo":
        return False
    try:
        cargo(call[1:])
        return False
    except Wrong:
        return True


def fetches(root, call):
    """Whether a call loads something from the network."""
    text = " ".join(call)
    if re.search(r"\bpip3? install|\bapt-get install|\bhf download", text):
        return True
    name, args, _ = program(call)
    if name is None:
        return False
    files = [root / value for flag, value in zip(args, args[1:]) if flag == "--config"]
    texts = map(read, filter(pathlib.Path.is_file, files))
    sources = re.findall(r"(?m)^sources = .*", "\n".join(texts))
    return bool(FETCHED.search(" ".join([text, *sources])))


def imports(root, call):
    """Whether a call runs a script that takes packages, which are listed beside it."""
    scripts = [root / word for word in call[1:] if word.endswith(".py")]
    return any((script.parent / "requirements.txt").exists() for script in scripts)


def uses_cuda(root, call):
    """Whether a call computes by CUDA."""
    return bool(re.search(r"--(backend|features)[ =]\S*cuda", " ".join(call)))


# What a command may need that is not here, and how that is seen.
NEEDS = {"build": compiles, "network": fetches, "packages": imports, "gpu": uses_cuda}


def read(path):
    return path.read_text(encoding="utf-8")


def check_marks(root, block):
    """Sees that a block is as its mark says."""
    called = [call for command in block.commands for call in calls(command)]
    for need in block.needs:
        if not any(NEEDS[need](root, call) for call in called):
            raise Wrong(f"{block.place}: the mark says that it needs {need}; nothing in it does")
    ours = [(name, args) for name, args, _ in map(program, called) if name]
    if block.tiny and all(tiny(name, args) == args for name, args in ours):
        raise Wrong(f"{block.place}: the mark says tiny; nothing in it can be made smaller")


def check_call(root, programs, call):
    """Sees that a call that is not run could be."""
    top = {path.name for path in root.iterdir()} - {"runs", "target"}
    for word in call[1:]:
        is_ours = word.partition("/")[0] in top and "/" in word and not set("*?[") & set(word)
        if is_ours and not (root / word).exists():
            raise Wrong(f"there is no {word}")
    if os.path.basename(call[0]) == "cargo":
        for kind, name in re.findall(r"--(test|bench|example) (\S+)", " ".join(call)):
            folder = {"test": "tests", "bench": "benches", "example": "examples"}[kind]
            if not any(root.glob(f"*/{folder}/{name}*")):
                raise Wrong(f"there is no {kind} {name}")
        for name in re.findall(r" fuzz run (\S+)", " ".join(call)):
            if not (root / f"fuzz/fuzz_targets/{name}.rs").exists():
                raise Wrong(f"there is no fuzz target {name}")
    name, args, _ = program(call)
    if name is None:
        return
    new_run = name == "train" and "--config" in args and args[0].startswith("-")
    args = args + (["--print-config"] if new_run else ["--help"])
    done = subprocess.run(
        [programs / name, *args], cwd=root, capture_output=True, text=True, timeout=LIMIT
    )
    if done.returncode:
        raise Wrong(done.stderr.strip())


def stand_in(name, args):
    """What a program's name stands for in a command that is run. Does not return."""
    features = []
    try:
        if name == "cargo":
            name, args, features = cargo(args)
    except Wrong as wrong:
        sys.exit(f"{wrong}: mark it as `needs build`")
    if name is None:
        sys.exit(0)
    if os.environ["DOCS_TINY"] == "1":
        args = tiny(name, args)
    path = os.path.join(os.environ["DOCS_PROGRAMS"], name)
    os.execv(path, [path, *args])


def copy(root, to):
    """Copies the repository's files, without what is built."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True).stdout.split(b"\0")
        names = [os.fsdecode(name) for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        # No repository: the files of an archive.
        names = [path.relative_to(root) for path in root.rglob("*")]
        names = [name for name in names if name.parts[0] not in ("target", "runs")]
    for name in names:
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, to / name)


def prepare(root, programs, scratch):
    """A folder with the repository's files, and the environment of the commands."""
    clone, names = scratch / "clone", scratch / "bin"
    copy(root, clone)
    names.mkdir()
    for name in ("cargo", *PROGRAMS):
        script = names / name
        script.write_text(
            f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} --as {name} "
            '"$@"\n'
        )
        script.chmod(0o755)
    built = clone / "target/release"
    built.mkdir(parents=True)
    for name in PROGRAMS:
        (built / name).symlink_to(names / name)
    environment = os.environ | {
        "PATH": f"{names}:{os.environ['PATH']}",
        "BITNET_CACHE": str(scratch / "cache"),
        "DOCS_PROGRAMS": str(programs),
    }
    return clone, environment


def documents(root):
    """The documents, in the order in which they are read."""
    return [root / "README.md", *sorted(root.glob("docs/*.md")), root / "data/README.md"]


def features(programs):
    """The backends that are built in."""
    version = subprocess.run([programs / "train", "--version"], capture_output=True, text=True)
    return set(re.search(r"backends ([\w ]*)\)", version.stdout).group(1).split())


def run(root, programs, also, scratch):
    """Runs all commands; gives what is wrong."""
    clone, environment = prepare(root, programs, scratch)
    if "network" not in also:
        environment["BITNET_OFFLINE"] = "1"
    built = features(programs)
    wrong, begun = [], time.monotonic()
    for document in documents(clone):
        try:
            found = blocks(str(document.relative_to(clone)), read(document))
        except Wrong as error:
            wrong.append(str(error))
            continue
        for block in found:
            environment["DOCS_TINY"] = str(int(block.tiny))
            needs = [need for need in block.needs if need not in also]
            try:
                check_marks(clone, block)
            except Wrong as error:
                wrong.append(str(error))
            for command in block.commands:
                asked = {name for call in calls(command) for name in program(call)[2]}
                missing = needs + sorted(asked - built)
                start = time.monotonic()
                try:
                    if missing:
                        for call in calls(command):
                            check_call(clone, programs, call)
                    else:
                        execute(clone, environment, command)
                    state = f"needs {', '.join(missing)}" if missing else "ok"
                except Wrong as error:
                    state = "FAILED"
                    wrong.append(f"{block.place}: {command}\n  {error}")
                seconds = time.monotonic() - start
                print(f"{state:<14} {seconds:5.1f} s  {block.place}  {command}", flush=True)
    seconds = time.monotonic() - begun
    print(f"{seconds:.0f} s in all")
    if seconds > ALL:
        wrong.append(f"{seconds:.0f} s are more than {ALL}")
    return wrong


def execute(clone, environment, command):
    """Runs a command."""
    try:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise Wrong(f"takes more than {LIMIT} s") from None
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()[-5:]
        raise Wrong(f"exit code {done.returncode}: " + "\n  ".join(lines))


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--programs", type=pathlib.Path, default=root / "target/release")
    parser.add_argument("--also", default="", help="needs that are met here, e.g. network")
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder")
    args = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="docs-commands-"))
    try:
        also = set(filter(None, args.also.split(",")))
        wrong = run(root, args.programs.resolve(), also, scratch)
    finally:
        if args.keep:
            print(f"kept: {scratch}")
        else:
            shutil.rmtree(scratch)
    if wrong:
        sys.exit("\n".join(["", f"{len(wrong)} wrong:", *wrong]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        stand_in(sys.argv[2], sys.argv[3:])
    main()
