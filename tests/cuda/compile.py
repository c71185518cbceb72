#!/usr/bin/env python3
"""Compiles every kernel in CUDA's language with NVIDIA's run-time compiler, which needs no GPU:

    python3 tests/cuda/compile.py

NVRTC is that of LibTorch's wheel (`torch`) or of `nvidia-cuda-nvrtc-cu12`, in the Python environment
that runs this; `--nvrtc FILE` takes another. Each source is compiled in every variant in which
`bitnet/src/ops/cube/cuda` launches it, for the oldest GPUs that it is for and for newer ones; a
warning fails, too.
"""

import argparse
import ctypes
import itertools
import pathlib
import site
import sys

SOURCES = pathlib.Path(__file__).parents[2] / "bitnet/src/ops/cube/cuda"


def variants(**values):
    """All combinations of values of macros."""
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination))


def kernels():
    """Each source file, its architectures, and the macros of its variants."""
    # A product has scales with or without a residual, or is plain, of which one operand may be
    # taken twice.
    scaled = list(variants(SCALED=[1], RESIDUAL=[0, 1], TWICE_A=[0], TWICE_B=[0]))
    plain = [
        dict(SCALED=0, RESIDUAL=0, TWICE_A=a, TWICE_B=b) for a, b in [(0, 0), (0, 1), (1, 0)]
    ]
    layouts = list(variants(A_BY_K=[0, 1], B_BY_K=[0, 1]))
    for layout, what in itertools.product(layouts, scaled + plain):
        yield "gemm.cu", ["sm_80", "sm_90a"], {**layout, **what}
        for wide in [128, 192, 256]:
            yield "gemm_hopper.cu", ["sm_90a"], {**layout, **what, "WIDE": wide}
    for macros in variants(PART=[0, 1, 2, 3], DIM=[32, 64, 128]):
        yield "attention.cu", ["sm_80", "sm_90a"], macros


def find():
    """NVRTC of the Python environment."""
    for folder in site.getsitepackages():
        for library in sorted(pathlib.Path(folder).glob("nvidia/*/lib/libnvrtc.so.*")):
            return library
    sys.exit("there is no NVRTC here: pip install nvidia-cuda-nvrtc-cu12")


class Nvrtc:
    """NVIDIA's run-time compiler."""

    def __init__(self, library):
        # NVRTC opens this one by its name alone.
        for builtins in sorted(library.parent.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(library))

    def compile(self, source, architecture):
        """What the compiler says of a source, and whether it made machine code of it."""
        program = ctypes.c_void_p()
        create = self.library.nvrtcCreateProgram
        if create(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None):
            sys.exit("NVRTC takes no program")
        options = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
        failed = self.library.nvrtcCompileProgram(program, 1, options)
        size = ctypes.c_size_t()
        self.library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(max(size.value, 1))
        self.library.nvrtcGetProgramLog(program, log)
        code = ctypes.c_size_t()
        if not failed:
            self.library.nvrtcGetCUBINSize(program, ctypes.byref(code))
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return log.value.decode().strip(), code.value > 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nvrtc", type=pathlib.Path, metavar="FILE", help="libnvrtc.so")
    args = parser.parse_args()
    nvrtc = Nvrtc(args.nvrtc or find())
    count, wrong, seen = 0, 0, set()
    for name, architectures, macros in kernels():
        seen.add(name)
        defines = "".join(f"#define {macro} {value}\n" for macro, value in macros.items())
        text = (SOURCES / name).read_text()
        for architecture in architectures:
            said, has_code = nvrtc.compile(defines + text, architecture)
            count += 1
            if said or not has_code:
                wrong += 1
                print(f"{name} for {architecture} with {macros}:\n{said or 'no code'}\n")
    missing = {path.name for path in SOURCES.glob("*.cu")} - seen
    for name in sorted(missing):
        print(f"{name} is compiled in no variant")
    print(f"{count} variants of {len(seen)} sources, {wrong} wrong")
    sys.exit(1 if wrong or missing else 0)


if __name__ == "__main__":
    main()
