#!/usr/bin/env python3
"""Draws the pictures of docs/positions.md from what `longhand info --json` says.

    scripts/plot.py positions [--longhand PROGRAM] [--out FOLDER]

Nothing of position encoding is computed here: biases, rotations, frequencies, and which keys a query sees at which
distance, are the engine's own numbers.
"""

import argparse
import json
import re
import subprocess
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "data" / "positions"
ROTARY = ROOT / "models" / "family" / "rope.gguf"

# Okabe and Ito's colours: told apart by everybody, also by brightness.
BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a800",
)
INK, FAINT = "#222222", "#dddddd"
STYLE = {
    "font.size": 9,
    "figure.facecolor": "white",  # also on a dark page
    "axes.facecolor": "white",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 180,  # of maps, which are images within the SVG
    "svg.hashsalt": "longhand",  # the same picture, the same file
}
UNTRAINED = {"color": RED, "alpha": 0.08, "linewidth": 0}  # the ground behind what a model was not trained on


class Longhand:
    """The program, asked about model files."""

    def __init__(self, program):
        self.program = program

    def info(self, model, *options):
        command = [self.program, "info", "-m", model, "--json", *options]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def curve(self, model, what, *options, upto=512):
        """(distances, values, training length): "bias" (heads, n) or "rotation" (n) of the first layer that has it."""
        info = self.info(model, *options)
        distances = np.array(info["curves"]["distances"])
        values = next(layer[what] for layer in info["curves"]["layers"] if what in layer)
        near = distances <= upto
        return distances[near], np.array(values, dtype=float)[..., near], info["training_length"]

    def frequencies(self, model, length, *options):
        """Radians a place of every pair in a text of `length` tokens."""
        return np.array(self.info(model, "--at", str(length - 1), *options)["curves"]["layers"][0]["frequencies"])

    def segments(self, model, policy, query, *options):
        info = self.info(model, "--context", policy, "--at", str(query), *options)
        return info["query"]["layers"][0]["segments"]

    def longest_distance(self, model, policy, length):
        """Of the last token of a text, which for these policies sees farther than any before it."""
        return max(segment["distances"][1] for segment in self.segments(model, policy, length - 1))


def save(figure, folder, name):
    path = folder / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)  # the library's version is none of it
    text = re.sub(r' d="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)  # nobody sees more
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    print(path)


def draw_shares(axes, shares, columns, rows):
    """A map of shares (rows, columns), from 0 to 1 or NaN, with their names; numbers are percent."""
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolor=FAINT, linewidth=0.6)
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            colour = "white" if share > 0.6 else INK
            place = {"ha": "center", "va": "center"}
            axes.text(column + 0.5, row + 0.5, f"{100 * share:.0f}", fontsize=7, color=colour, **place)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=7)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=7)
    axes.set_ylim(len(rows), 0)
    axes.grid(False)


def mark_untrained(axes, trained):
    """Shades the distances that the model never met in training."""
    axes.axvspan(trained, axes.get_xlim()[1], **UNTRAINED)


# --- Score against distance -------------------------------------------------------------------------------------------

BIASES = [  # fixtures, how many heads to draw, what it is
    ("alibi", 6, "ALiBi: a line"),
    ("kerple-log", 4, "KERPLE: a logarithm"),
    ("kerple-power", 4, "KERPLE: a power"),
    ("t5", 2, "T5: a number for each bucket"),
    ("sandwich", 4, "Sandwich: a sum of cosines"),
    ("fire", 4, "FIRE: a curve over shares"),
]


def draw_biases(longhand, folder):
    figure, grid = plt.subplots(2, 3, figsize=(9, 4.8), sharex=True)
    for axes, (name, n_heads, title) in zip(grid.flat, BIASES):
        distances, heads, trained = longhand.curve(FIXTURES / f"{name}.gguf", "bias", upto=144)
        drawstyle = "steps-mid" if name == "t5" else "default"
        for head, (bias, colour) in enumerate(zip(heads[:n_heads], (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW))):
            axes.plot(distances, bias, color=colour, label=f"head {head}", drawstyle=drawstyle)
        axes.set_xlim(0, distances[-1])
        axes.set_xticks(range(0, 145, 48))
        axes.set_title(title)
        mark_untrained(axes, trained)
    for axes in grid[:, 0]:
        axes.set_ylabel("added to the score")
    for axes in grid[-1]:
        axes.set_xlabel("distance")
    grid[0, 0].legend(fontsize=7, ncols=2, loc="lower left")
    save(figure, folder, "bias")


def draw_rotation(longhand, folder):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for name, scheme, colour in (("rope", "RoPE", BLUE), ("xpos", "xPos", ORANGE)):
        distances, rotation, trained = longhand.curve(FIXTURES / f"{name}.gguf", "rotation", upto=192)
        left.plot(distances, rotation, color=colour, label=scheme)
    left.set_title(f"4 pairs a head, trained on {trained} tokens")
    left.set_xlim(0, distances[-1])
    left.set_xticks(range(0, 193, 48))
    mark_untrained(left, trained)
    for kind, colour in (("none", BLUE), ("linear", RED), ("ntk", GREEN), ("yarn", PINK)):
        distances, rotation, _ = longhand.curve(ROTARY, "rotation", *scaling(kind), upto=96)
        right.plot(distances, rotation, color=colour, label=kind)
    n_pairs = len(longhand.frequencies(ROTARY, STRETCHED))
    right.set_title(f"{n_pairs} pairs, near by, stretched for {LONGER} times the length")
    right.set_xlim(0, distances[-1])
    right.set_xticks(range(0, 97, 16))
    for axes in (left, right):
        axes.set_xlabel("distance")
        axes.legend(fontsize=8)
    left.set_ylabel("mean of cos(angle) over the pairs")
    save(figure, folder, "rotation")


# --- RoPE scaling -----------------------------------------------------------------------------------------------------

STRETCHED = 4096  # what is taken for the training length
LONGER = 8  # times as much


def scaling(kind):
    factor = () if kind == "none" or kind.startswith("dynamic") else ("--rope-factor", str(LONGER))
    return ("--train-length", str(STRETCHED), "--rope-scaling", kind, *factor)


def draw_frequencies(longhand, folder):
    plain = longhand.frequencies(ROTARY, STRETCHED, *scaling("none"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for kind, colour in (("linear", RED), ("ntk", GREEN), ("yarn", PINK), ("llama3", BLUE)):
        left.plot(longhand.frequencies(ROTARY, STRETCHED, *scaling(kind)) / plain, color=colour, label=kind)
    left.set_title(f"factor {LONGER}, texts of any length")
    for kind, colour, line in (("dynamic", GREEN, "-"), ("dynamic-yarn", PINK, "--")):
        for times, alpha in ((2, 0.45), (4, 0.7), (8, 1)):
            ratio = longhand.frequencies(ROTARY, times * STRETCHED, *scaling(kind)) / plain
            right.plot(ratio, color=colour, linestyle=line, alpha=alpha, label=f"{kind}, at {times * STRETCHED}")
    right.set_title("by the length of the text: at 8192, 16384, 32768")
    whole_turns = np.argmax(plain * STRETCHED < 2 * np.pi)
    for axes in (left, right):
        axes.axvspan(whole_turns - 0.5, len(plain) - 1, color=INK, alpha=0.05, linewidth=0)
        axes.set_xlim(0, len(plain) - 1)
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("pair, from the fastest to the slowest")
    left.text(len(plain) - 1.5, 0.97, f"less than one turn\nin {STRETCHED} tokens", fontsize=8, ha="right", va="top")
    left.set_ylabel("frequency / as trained")
    left.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.14))
    right.legend(fontsize=7, loc="upper right")
    save(figure, folder, "frequencies")


# --- Context policies -------------------------------------------------------------------------------------------------

TRAINED = 32  # the length that the maps take for the training length
QUERIES = 64
POLICIES = [
    "all",
    "window=16",
    "sinks=4,window=16",
    "lm-infinite,global=4,window=16,cap=24",
    "rerope,window=16",
    "leaky-rerope,window=16,factor=4",
    "self-extend,group=4,window=16",
    "dual-chunk,chunk=20,cap=24",
]
# Distances that were trained on from dark to light blue; the others from orange to red.
TRAINED_SHADES = matplotlib.colormaps["Blues_r"](np.linspace(0.05, 0.8, TRAINED))
UNTRAINED_SHADES = matplotlib.colormaps["YlOrRd"](np.linspace(0.3, 0.9, QUERIES - TRAINED))
SHADES = ListedColormap(np.concatenate([TRAINED_SHADES, UNTRAINED_SHADES]))


def distance_map(longhand, policy):
    """(query, key): the distance at which the query sees the key; NaN: not at all. Of each segment the engine tells
    the place of the last key; since all keys are the last ones once, that is the place of every key in every form."""
    model = FIXTURES / "rope.gguf"
    places = {}
    distances = np.full((QUERIES, QUERIES), np.nan)
    for query in range(QUERIES):
        for segment in longhand.segments(model, policy, query, "--train-length", str(TRAINED)):
            first, last = segment["keys"]
            places[segment["stored"], last] = segment["key_places"][1]
            for key in range(first, last + 1):
                distances[query, key] = segment["query_place"] - places[segment["stored"], key]
    return distances


def draw_policies(longhand, folder):
    figure, grid = plt.subplots(2, 4, figsize=(9, 5.2), sharex=True, sharey=True)
    place = {"extent": (0, QUERIES, QUERIES, 0), "interpolation": "nearest"}
    earlier = np.where(np.tri(QUERIES) > 0, 1.0, np.nan)
    for axes, policy in zip(grid.flat, POLICIES):
        axes.imshow(earlier, cmap=ListedColormap([FAINT]), **place)
        image = axes.imshow(distance_map(longhand, policy), cmap=SHADES, vmin=0, vmax=QUERIES, **place)
        axes.set_title(policy.replace(",", ",\n", 1), fontsize=8)
        axes.set_xticks(range(0, QUERIES + 1, 16))
        axes.set_yticks(range(0, QUERIES + 1, 16))
        axes.grid(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("query")
    for axes in grid[-1]:
        axes.set_xlabel("key")
    bar = figure.colorbar(image, ax=grid, ticks=range(0, QUERIES + 1, 16), shrink=0.8, aspect=30)
    bar.set_label(f"distance; from {TRAINED} on: never met in training")
    bar.outline.set_visible(False)
    save(figure, folder, "policies")


def draw_growth(longhand, folder):
    figure, axes = plt.subplots(figsize=(7, 3.6))
    trained = longhand.info(ROTARY)["training_length"]
    lengths = 4 ** np.arange(2, 9)
    for policy, colour, line in (
        ("all", INK, "-"), ("self-extend,group=4", PINK, "-"), ("leaky-rerope", SKY, "-"), ("lm-infinite", RED, "-"),
        ("sinks=4", BLUE, "--"), ("dual-chunk", GREEN, "-"), ("rerope", ORANGE, "-"),
    ):
        every = np.unique((2 ** np.arange(4, 16.01, 0.5)).astype(int))
        longest = [longhand.longest_distance(ROTARY, policy, length) for length in every]
        axes.loglog(every, longest, color=colour, linestyle=line, label=policy)
    axes.minorticks_off()
    axes.set_xticks(lengths, lengths)
    axes.set_yticks(lengths, lengths)
    axes.set_xlim(lengths[0], lengths[-1])
    axes.set_ylim(lengths[0] * 0.9, lengths[-1])
    axes.axhspan(trained, lengths[-1], **UNTRAINED)
    axes.text(20, trained * 1.15, "never met in training", fontsize=8)
    axes.set_xlabel("tokens of the text")
    axes.set_ylabel("longest distance")
    figure.legend(fontsize=8, loc="outside right center")
    save(figure, folder, "growth")


PICTURES = [draw_biases, draw_rotation, draw_frequencies, draw_policies, draw_growth]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["positions"], help="the page whose pictures to draw")
    parser.add_argument("--longhand", type=Path, default=ROOT / "longhand", help="the program, ./longhand unless told")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "positions", help="%(default)s unless told")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update(STYLE)
    for draw in PICTURES:
        draw(Longhand(options.longhand.resolve()), options.out)


if __name__ == "__main__":
    main()
