#!/usr/bin/env python3
"""What formats and instruction sets do to a model: perplexity on a novel and on WikiText-2, for the model as it is and
quantised, by every tier of kernels; prints a Markdown table.

    scripts/quality.py [MODEL.gguf] [--tokens N]

The scalar tier multiplies in f32 and is the reference for its format; the other tiers round activations to 8 bits.
Ends with 1 where a tier's perplexity differs from it by more than 0.1 %. The texts are those of the data directory
(LONGHAND_SHARED, or ../shared).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "longhand"
DATA = Path(os.environ.get("LONGHAND_SHARED", ROOT / ".." / "shared")) / "data"
TEXTS = {"novel": "novels/test/Conrad_Nostromo_1904.txt", "WikiText-2": "wikitext-2/test.txt"}
FORMATS = ("f16", "bf16", "q8_0", "q6_k", "q4_k", "q4_0")
ALLOWED = 1e-3


def tiers():
    """A wrong name lists what this CPU and build have."""
    said = subprocess.run([PROGRAM, "bench", "--isa", "?"], capture_output=True, text=True).stderr
    return re.search(r"offer (.*)", said)[1].split()


def perplexity(model, text, tier, tokens):
    command = [PROGRAM, "perplexity", "-m", model, "-f", DATA / text, "--isa", tier, "--lengths", "256", "--json"]
    run = subprocess.run([*command, "-n", str(tokens)], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)["perplexity"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=ROOT / "models" / "longhand.gguf")
    parser.add_argument("--tokens", type=int, default=16384, help="of each text (16384)")
    options = parser.parse_args()
    missing = [text for text in TEXTS.values() if not (DATA / text).exists()]
    if missing:
        print(f"quality: skipped, {DATA / missing[0]} is not here")
        return
    names = tiers()
    others = [name for name in names if name != "scalar"]
    print("| text | format | scalar | " + " | ".join(others) + " |\n|---|---|---" + "|---" * len(others) + "|")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("as it is", *FORMATS):
            model = options.model
            if kind in FORMATS:
                model = Path(folder, f"{kind}.gguf")
                subprocess.run([PROGRAM, "quantize", options.model, model, kind, "-q"], check=True)
            for title, text in TEXTS.items():
                reference = perplexity(model, text, "scalar", options.tokens)
                cells = []
                for name in others:
                    found = perplexity(model, text, name, options.tokens)
                    difference = found / reference - 1
                    failed |= not abs(difference) <= ALLOWED
                    mark = "" if abs(difference) <= ALLOWED else " TOO MUCH"
                    cells.append(f"{found:.3f} ({100 * difference:+.3f} %{mark})")
                print(f"| {title} | {kind} | {reference:.3f} | {' | '.join(cells)} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
