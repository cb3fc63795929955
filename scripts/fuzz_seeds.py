#!/usr/bin/env python3
"""Writes the small model files from which tests/fuzz/fuzz_checkpoint.c and fuzz_safetensors.c start.

    scripts/fuzz_seeds.py [FOLDER]      default: tests/fuzz
"""

import json
import math
import struct
import sys
from pathlib import Path

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?",
        U64: "<Q", I64: "<q", F64: "<d"}
# ggml type: numbers in a block, bytes of a block
FORMATS = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
           10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136)}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(kind, data) -> bytes:
    if kind == STRING:
        return text(data)
    if kind == ARRAY:
        item, items = data
        return struct.pack("<IQ", item, len(items)) + b"".join(value(item, i) for i in items)
    return struct.pack(PACK[kind], data)


def gguf(entries, tensors, version=3, alignment=32) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries))
    for key, kind, data in entries:
        head += text(key) + struct.pack("<I", kind) + value(kind, data)
    blocks = b""
    for name, kind, shape in tensors:
        blocks += bytes(-len(blocks) % alignment)
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(blocks))
        count = 1
        for extent in shape:
            count *= extent
        per_block, size = FORMATS[kind]
        blocks += bytes(count // per_block * size)
    return head + bytes(-len(head) % alignment) + blocks


def llama2c(tied: bool) -> bytes:
    dim, hidden, layers, heads, kv_heads, vocab, length = 2, 1, 1, 1, 1, 2, 1
    weights = vocab * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + dim + length * dim
    weights += 0 if tied else vocab * dim
    header = struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocab if tied else -vocab, length)
    return header + bytes(4 * weights)


def safetensors(tensors) -> bytes:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, dtype, shape in tensors:
        start = len(data)
        data += bytes({"F32": 4, "F16": 2, "BF16": 2}[dtype] * math.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, len(data)]}
    head = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(head)) + head + data


def write(folder, seeds):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (folder / name).write_bytes(content)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests/fuzz")
    architecture = ("general.architecture", STRING, "llama")
    scalars = [(f"k{kind}", kind, 1) for kind in PACK]
    arrays = [(f"a{kind}", ARRAY, (kind, [1, 0])) for kind in PACK]
    strings = [("tokenizer.ggml.tokens", ARRAY, (STRING, ["<s>", "", "\u2581a"]))]
    split = [("split.no", U16, 0), ("split.count", U16, 2), ("split.tensors.count", I32, 1)]
    aligned = [("general.alignment", U32, 8)]
    seeds = {
        "empty.gguf": gguf([], []),
        "version-2.gguf": gguf([architecture], [("a", 0, [4, 2])], version=2),
        "scalars.gguf": gguf([architecture, *scalars], []),
        "arrays.gguf": gguf([architecture, *arrays, *strings], [("a", 0, [1])]),
        "formats.gguf": gguf([], [(f"t{kind}", kind, [FORMATS[kind][0]]) for kind in FORMATS]),
        "shapes.gguf": gguf([], [("a", 0, [2]), ("b", 0, [2, 2]), ("c", 0, [2, 1, 2]), ("d", 0, [1, 2, 1, 2])]),
        "alignment.gguf": gguf(aligned, [("a", 0, [1]), ("b", 1, [3])], alignment=8),
        "split.gguf": gguf(split, [("a", 0, [1])]),
        "tied.bin": llama2c(True),
        "untied.bin": llama2c(False),
    }
    write(folder / "fuzz_checkpoint.seeds", seeds)
    types = [("a", "F32", [2]), ("b", "F16", [1, 3]), ("c", "BF16", [2, 1, 2, 1])]
    write(folder / "fuzz_safetensors.seeds", {"empty": safetensors([]), "types": safetensors(types)})


if __name__ == "__main__":
    main()
