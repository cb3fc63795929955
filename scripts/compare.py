#!/usr/bin/env python3
"""Holds longhand against llama.cpp on the same model files and prints a Markdown table.

    scripts/compare.py MODEL.gguf ... [--text FILE]     do both expect the same next tokens?
    scripts/compare.py MODEL.gguf ... --speed           how fast is each?

Both engines get the same token ids, so that only the transformer is compared. llama.cpp is driven through the low-level
calls of llama-cpp-python; for speed, --peer 'NAME=COMMAND' adds any llama-bench program, with its best flags. Of
longhand, `make all build/logits` must have built

    build/logits MODEL IDS OUT        little-endian int32 ids in, float32 logits of shape (ids, vocabulary) out
    longhand bench ... --json         one JSON object a test
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from engines import F16, ROOT, LlamaBench, LlamaCpp, Longhand
from report import longhand_logits


def log_probabilities(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def compare_predictions(options):
    print("| model | tokens | mean KL divergence | largest | same best token |")
    print("|---|---:|---:|---:|---:|")
    for model in options.models:
        with LlamaCpp(model, options.tokens, options.threads) as peer:
            ids = peer.tokenize(options.text.read_text(encoding="utf-8"))[: options.tokens]
            theirs = log_probabilities(peer.logits(ids))
        ours = log_probabilities(longhand_logits(model, ids))
        divergence = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
        same_best = np.mean(theirs.argmax(axis=1) == ours.argmax(axis=1))
        mean, largest = divergence.mean(), divergence.max()
        print(f"| {model.stem} | {len(ids)} | {mean:.1e} | {largest:.1e} | {same_best:.1%} |", flush=True)


def open_engines(stack, model, options, n_ctx):
    engines = {"longhand": Longhand(model, options.threads, options.isa)}
    for name, flash in (("llama.cpp", False), ("flash attention", True)):
        peer = LlamaCpp(model, n_ctx, options.threads, cache_type=F16, flash_attention=flash)
        engines[name] = stack.enter_context(peer)
    for peer in options.peer:
        name, command = peer.split("=", 1)
        engines[name] = LlamaBench(command, model, options.threads)
    return engines


def compare_speed(options):
    """The engines take turns, so that a slow spell of the machine hits all of them; the medians are compared."""
    tests = [(f"prompt of {n}", "prompt", (n,)) for n in options.prompts]
    n = options.new_tokens
    tests += [(f"{n} generated after {depth}", "generate", (n, depth)) for depth in options.depths]
    n_ctx = max([*options.prompts, *(depth + n for depth in options.depths)])
    header = None
    for model in options.models:
        with ExitStack() as stack:
            engines = open_engines(stack, model, options, n_ctx)
            if not header:
                header = [*engines, "longhand / best other", "of the limit"]
                print("| model | |", " | ".join(header), "|\n|---|---|" + "---:|" * len(header))
            for what, method, arguments in tests:
                if options.runs > 1:  # the first run reads the file and allocates
                    for engine in engines.values():
                        getattr(engine, method)(*arguments)
                runs = [
                    [getattr(engine, method)(*arguments) for engine in engines.values()] for _ in range(options.runs)
                ]
                ours, *others = np.median(runs, axis=0)
                speeds = " | ".join(f"{speed:.1f}" for speed in (ours, *others))
                share = list(engines["longhand"].share.values())[-1]
                print(f"| {model.stem} | {what} | {speeds} | {ours / max(others):.2f} | {share:.0%} |", flush=True)


def numbers(text):
    return [int(number) for number in text.split(",") if number]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--text", type=Path, default=ROOT / "README.md", help="to predict, README.md unless told")
    parser.add_argument("--tokens", type=int, default=512, help="of the text, %(default)s unless told")
    parser.add_argument("--speed", action="store_true", help="measure tokens a second instead")
    parser.add_argument("--prompts", type=numbers, default="512", metavar="N,...", help="%(default)s unless told")
    parser.add_argument("--depths", type=numbers, default="512", metavar="N,...", help="%(default)s unless told")
    parser.add_argument("--new-tokens", type=int, default=32, help="generated at each depth, %(default)s unless told")
    parser.add_argument("--runs", type=int, default=5, help="of each engine, %(default)s unless told")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="one more llama-bench")
    parser.add_argument("--isa", help="of longhand")
    parser.add_argument("--threads", type=int, default=2, help="%(default)s unless told")
    options = parser.parse_args()
    (compare_speed if options.speed else compare_predictions)(options)


if __name__ == "__main__":
    main()
