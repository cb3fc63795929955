#!/usr/bin/env python3
"""Measures how far the models of models/family carry past their training length: tables, pictures and data of
docs/extrapolation.md.

    scripts/extrapolation.py [--models FOLDER] [--tokens N] [--work FOLDER] [--docs FOLDER]

Perplexity by length, chunked and sliding, of every position scheme and of every extension of the rotary model at
inference time; by position; passkeys by depth. The texts are two novels that no model was trained on, of the data
directory (LONGHAND_SHARED, or ../shared), with lines joined as scripts/corpus.py does it for training. An interrupted
run goes on where it ended (FOLDER of --work keeps what was measured). A model that is not there is left out.

It reports whether the results of the literature show, and ends with 0 whether they do or not.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import corpus
from plot import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, STYLE, UNTRAINED, YELLOW, draw_shares, save
from report import DATA, ROOT, digits, longhand, machine, put, table, write_csv

TRAINED = 256
NOVELS = ("Cbronte_Jane_1847.txt", "Conrad_Nostromo_1904.txt")
LENGTHS = [256, 512, 1024, 2048, 4096, 8192, 16384]
SLIDING_LENGTHS = LENGTHS[:5]
LONGER = 16  # the factor of what is stretched
HEALTH = ("attention_entropy", "repetition", "text_repetition")
DEPTHS, KEYS = [0, 25, 50, 75, 100], 4

SCHEMES = {  # by file: what it is, and how it is drawn
    "sinusoidal": ("sinusoidal", RED, "-"),
    "learned": ("learned", YELLOW, "-"),
    "none": ("none (NoPE)", INK, ":"),
    "rope": ("rotary", ORANGE, "-"),
    "rope-nope": ("rotary, last layer none", ORANGE, "--"),
    "transformer-xl": ("Transformer-XL", PINK, "-"),
    "disentangled": ("disentangled", PINK, "--"),
    "t5": ("T5", GREEN, "-"),
    "kerple": ("KERPLE", SKY, "-"),
    "alibi": ("ALiBi", BLUE, "-"),
}
EXTENSIONS = {  # of the rotary model: what it is told, how it is drawn, the longest text
    "none": ([], INK, ":", LENGTHS[-1]),
    "linear": (["--rope-scaling", "linear", "--rope-factor", LONGER], RED, "-", LENGTHS[-1]),
    "NTK": (["--rope-scaling", "ntk", "--rope-factor", LONGER], ORANGE, "-", LENGTHS[-1]),
    # Turns every key anew for every token: the time grows with the square of the length.
    "dynamic NTK": (["--rope-scaling", "dynamic"], ORANGE, "--", 4096),
    "YaRN": (["--rope-scaling", "yarn", "--rope-factor", LONGER], GREEN, "-", LENGTHS[-1]),
    "self-extend": (["--context", "self-extend,group=32,window=64"], PINK, "-", LENGTHS[-1]),
    "LM-Infinite": (["--context", "lm-infinite"], SKY, "-", LENGTHS[-1]),
    "ReRoPE": (["--context", "rerope"], YELLOW, "-", LENGTHS[-1]),
    "sinks + window": (["--context", "sinks=4"], BLUE, "-", LENGTHS[-1]),
    "window": (["--context", f"window={TRAINED}"], BLUE, "--", LENGTHS[-1]),
}
MAPS = [("rope", "none"), ("t5", "none"), ("alibi", "none"), ("longhand", "none"),
        ("rope", "YaRN"), ("rope", "self-extend"), ("rope", "ReRoPE"), ("rope", "sinks + window")]

# Press et al. 2021 (arXiv:2108.12409), tables 2 to 4: WikiText-103, trained on 512 tokens, chunked.
PAPER_LENGTHS = [512, 532, 612, 712, 1012, 1512, 2512, 5512, 10512, 15512]
PAPER = {
    "sinusoidal": [20.05, 19.91, 20.59, 24.86, 43.54, 76.23, 132.41, 240.44, 341.53, 406.01],
    "rope": [20.07, 19.98, 19.81, 19.79, 21.37, 25.99, 31.58, 43.14, 60.77, 79.25],
    "t5": [19.65, 19.53, 19.27, 19.10, 18.79, 18.91, 20.41, 29.54, 52.95],
    "alibi": [19.73, 19.61, 19.38, 19.14, 18.73, 18.52, 18.41, 18.36, 18.32, 18.31],
}


# --- Measuring --------------------------------------------------------------------------------------------------------


class Sweep:
    """The rows of all results, as they go into docs/."""

    def __init__(self, models, tokens, work):
        self.tokens, self.work = tokens, work
        self.models = {name: models / f"{name}.gguf" for name in SCHEMES if (models / f"{name}.gguf").exists()}
        if missing := [name for name in SCHEMES if name not in self.models]:
            print(f"not there, and left out: {', '.join(missing)}")
        self.asked = dict(self.models)  # for keys
        if (default := models.parent / "longhand.gguf").exists():
            self.asked["longhand"] = default
        if not self.models:
            raise SystemExit(f"{models}: no models")
        self.perplexity, self.positions, self.passkey = [], [], []
        self.seconds, self.curve_seconds = 0.0, 0.0  # of all, and of one curve by position
        self.texts = self.prepare_texts()

    def prepare_texts(self):
        self.work.mkdir(parents=True, exist_ok=True)
        texts = []
        for name in NOVELS:
            novel = DATA / "novels" / "test" / name
            if not novel.exists():
                raise SystemExit(f"{novel}: not there, and nothing to measure with")
            text = corpus.PARAGRAPH_BREAK.join(corpus.paragraphs(novel.read_text(encoding="utf-8")))
            texts.append(self.work / name)
            texts[-1].write_text(text, encoding="utf-8")
        return texts

    def measure(self, name, extension, mode, lengths, texts):
        longest = min(self.tokens, TRAINED if name == "learned" else EXTENSIONS[extension][3])
        if not (lengths := [length for length in lengths if length <= longest]):
            return
        command = ["perplexity", "-m", self.models[name], *EXTENSIONS[extension][0], "--mode", mode, "-n", self.tokens]
        command += ["--lengths", ",".join(map(str, lengths)), "--json", "--csv", self.work / "perplexity.csv"]
        for result in longhand(*command, *(word for text in texts for word in ("-f", text))):
            if "error" in result:  # the program has said it, and goes on
                continue
            row = {"model": name, "extension": extension}
            values = {key: result[key] for key in ("tokens", "loss", "perplexity")}
            if result["whole"]:
                self.seconds += result["seconds"]
                if (name, mode) == ("alibi", "positions"):
                    self.curve_seconds = result["seconds"] / len(texts)
                others = ("perplexity_low", "perplexity_high", "bits_per_byte", *HEALTH)
                values |= {key: result[key] for key in others}
                kept = "sliding" if mode == "sliding" else "chunked"  # the mean over all positions is the chunked one
                self.perplexity.append({**row, "mode": kept, "length": result["length"], **values})
            else:
                self.positions.append({**row, "first": result["first"], "last": result["last"], **values})

    def measure_passkey(self, name, extension):
        command = ["passkey", "-m", self.asked[name], *EXTENSIONS[extension][0], "--json", "--keys", KEYS]
        command += ["--lengths", ",".join(map(str, SLIDING_LENGTHS)), "--depths", ",".join(map(str, DEPTHS))]
        for cell in longhand(*command, "--csv", self.work / "passkey.csv"):
            self.seconds += cell["seconds"]
            kept = {key: cell[key] for key in ("length", "depth", "keys", "right")}
            self.passkey.append({"model": name, "extension": extension, **kept})

    def run(self):
        kinds = [(name, "none") for name in self.models]
        kinds += [("rope", extension) for extension in EXTENSIONS if extension != "none" and "rope" in self.models]
        for number, (name, extension) in enumerate(kinds):
            begun = time.monotonic()
            self.measure(name, extension, "chunked", LENGTHS[:-1], self.texts)
            self.measure(name, extension, "positions", LENGTHS[-1:], self.texts)
            self.measure(name, extension, "sliding", SLIDING_LENGTHS, self.texts[:1])
            said = name if extension == "none" else f"{name}, {extension}"
            print(f"{number + 1} of {len(kinds)}: {said}  {time.monotonic() - begun:.0f} s", flush=True)
        for name, extension in self.maps():
            self.measure_passkey(name, extension)

    def maps(self):
        return [(name, extension) for name, extension in MAPS if name in self.asked]

    def keep(self, folder):
        for name in ("perplexity", "positions", "passkey"):
            if rows := getattr(self, name):
                shown = [{key: f"{x:.6g}" if isinstance(x, float) else x for key, x in row.items()} for row in rows]
                write_csv(folder / f"{name}.csv", shown)

    def at(self, name, length, extension="none", mode="chunked", what="perplexity"):
        """The perplexity, or what else is asked for, or None."""
        wanted = (name, extension, mode, length)
        found = (row[what] for row in self.perplexity
                 if tuple(row[key] for key in ("model", "extension", "mode", "length")) == wanted)
        return next(found, None)

    def curve(self, name, extension="none"):
        """(tokens before, loss) of the bins of the longest pass."""
        rows = [row for row in self.positions if (row["model"], row["extension"]) == (name, extension)]
        return np.array([((row["first"] * row["last"]) ** 0.5, row["loss"]) for row in rows]).reshape(-1, 2).T

    def ratio(self, name, length, extension="none"):
        """The perplexity at a length in that of the same model at the training length."""
        there, trained = self.at(name, length, extension), self.at(name, TRAINED)
        return there / trained if there and trained else None


# --- Tables -----------------------------------------------------------------------------------------------------------


def worse_from(sweep, name, share=1.05):
    """The first length at which a model is so much worse than at the length of its training, in words."""
    ratios = [(length, sweep.ratio(name, length)) for length in LENGTHS]
    return next((f"{length:,}" for length, ratio in ratios if ratio and ratio > share), "never")


def scheme_table(sweep, mode, lengths):
    rows = []
    for name in sorted(sweep.models, key=lambda name: -(sweep.ratio(name, 4096) or np.inf)):
        found = [sweep.at(name, length, mode=mode) for length in lengths]
        trained, longer = found[0], found[lengths.index(4096)]
        ratio = f"{longer / trained:.2f}" if trained and longer else "-"
        ending = [worse_from(sweep, name) if found[1] else "ends"] if mode == "chunked" else []
        rows.append([SCHEMES[name][0], *map(digits, found), ratio, *ending])
    ending = ["5 % worse from"] if mode == "chunked" else []
    return table(["scheme", *(f"{length:,}" for length in lengths), "4,096 / 256", *ending], rows)


def extension_table(sweep, mode, lengths):
    rows = []
    for extension, (options, *_) in EXTENSIONS.items():
        found = [sweep.at("rope", length, extension, mode) for length in lengths]
        words = " ".join(map(str, options))
        rows.append([extension, f"`{words}`" if words else "", *map(digits, found)])
    return table(["extension", "options", *(f"{length:,}" for length in lengths)], rows, left=2)


def health_table(sweep):
    """Over how many keys attention spreads, and how often what a model expects most, or the text, is what was just
    there."""
    lengths = [256, 1024, 4096]

    def cells(name, what, shown):
        found = [sweep.at(name, length, what=what) for length in lengths]
        return ["-" if x is None else shown(x) for x in found]

    def percent(x):
        return f"{100 * x:.1f} %"

    names = sorted(sweep.models, key=lambda name: -(sweep.ratio(name, 4096) or np.inf))
    rows = [[SCHEMES[name][0], *cells(name, "attention_entropy", lambda x: digits(np.exp(x))),
             *cells(name, "repetition", percent)] for name in names]
    rows.append(["the text itself", *["-"] * len(lengths), *cells(names[-1], "text_repetition", percent)])
    return table(["scheme", *(f"keys, {n:,}" for n in lengths), *(f"repeats, {n:,}" for n in lengths)], rows)


def paper_table():
    ratios = [[SCHEMES[name][0], *(f"{x:.2f}" for x in values)] for name, values in PAPER.items()]
    rows = [row + ["-"] * (len(PAPER_LENGTHS) + 1 - len(row)) for row in ratios]
    return table(["scheme", *(f"{length:,}" for length in PAPER_LENGTHS)], rows)


def claims(sweep):
    """What the literature has found, and whether it shows here."""
    ratios = {name: sweep.ratio(name, 4096) for name in ("sinusoidal", "rope", "t5", "alibi")}
    ratios = {name: ratio for name, ratio in ratios.items() if ratio}  # of the models that are there
    holds = []
    if "alibi" in ratios:
        holds.append(("ALiBi at 4,096 tokens is within 5 % of its perplexity at 256", f"{ratios['alibi']:.3f} of it",
                      ratios["alibi"] <= 1.05))
    if "sinusoidal" in ratios:
        holds.append(("sinusoidal at 4,096 is at least 3 times worse than at 256",
                      f"{ratios['sinusoidal']:.2f} times", ratios["sinusoidal"] >= 3))
    order = [*ratios.values()]
    shown = ", ".join(f"{SCHEMES[name][0]} {ratio:.2f}" for name, ratio in ratios.items())
    holds.append((f"the order of failure is the paper's: {', '.join(SCHEMES[name][0] for name in ratios)}", shown,
                  order == sorted(order, reverse=True)))
    return table(["expected", "measured", "shows"], [[*said, "yes" if yes else "no"] for *said, yes in holds], left=3)


def map_title(name, extension):
    what = SCHEMES[name][0] if name in SCHEMES else f"{name}.gguf"
    return what if extension == "none" else f"{what}, {extension}"


def passkey_table(sweep):
    rows = []
    for name, extension in sweep.maps():
        cells = [cell for cell in sweep.passkey if (cell["model"], cell["extension"]) == (name, extension)]
        shares = []
        for length in SLIDING_LENGTHS:
            at = [cell for cell in cells if cell["length"] == length]
            n = sum(cell["keys"] for cell in at)
            shares.append(f"{100 * sum(cell['right'] for cell in at) / n:.0f} %" if n else "-")
        rows.append([map_title(name, extension), *shares])
    return table(["model", *(f"{length:,}" for length in SLIDING_LENGTHS)], rows)


# --- Pictures ---------------------------------------------------------------------------------------------------------


DOTS = {"marker": "o", "markersize": 3, "clip_on": False}


def by_length(axes, lengths):
    """Both axes logarithmic, with the lengths as they are spoken of."""
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(lengths, [f"{length:,}" if length < 1024 else f"{length // 1024}k" for length in lengths])
    axes.set_xlim(lengths[0], lengths[-1])


def by_factors(axes, plain):
    """A logarithmic axis of what is at least a little spread, with numbers as they are spoken of."""
    axes.set_yscale("log")
    axes.minorticks_off()
    low, high = axes.get_ylim()
    low, high = min(low, plain[0] / 1.1), max(high, plain[1] * 1.1)
    ticks = [digit * 10.0**power for power in range(-1, 9) for digit in (1, 2, 3, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.set_ylim(low, high)


def draw_schemes(sweep, folder):
    figure, (here, paper) = plt.subplots(1, 2, figsize=(9, 3.9), sharey=True)
    for name, (title, colour, line) in SCHEMES.items():
        points = [(length, sweep.ratio(name, length)) for length in LENGTHS if sweep.ratio(name, length)]
        if points:
            x, y = zip(*points)
            here.plot(x, y, color=colour, linestyle=line, label=title, **DOTS)
        if name in PAPER:
            y = np.array(PAPER[name]) / PAPER[name][0]
            label = None if points else title
            paper.plot(PAPER_LENGTHS[: len(y)], y, color=colour, linestyle=line, label=label, **DOTS)
    by_length(here, LENGTHS)
    by_length(paper, [512 * 2**i for i in range(6)])
    by_factors(here, (1, 20))
    here.set_title(f"here: trained on {TRAINED}, 4 M weights")
    paper.set_title("Press et al. 2021: trained on 512, 247 M weights")
    here.set_ylabel("perplexity / that at the training length")
    for axes in (here, paper):
        axes.set_xlabel("tokens of a segment")
    figure.legend(fontsize=8, loc="outside right center")
    save(figure, folder, "schemes")


def draw_positions(sweep, folder):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
    reference = sweep.curve("alibi")
    for name, (title, colour, line) in SCHEMES.items():
        x, loss = sweep.curve(name)
        if not len(x):
            continue
        left.plot(x, np.exp(loss), color=colour, linestyle=line, label=title)
        if reference.size:
            right.plot(x, loss - reference[1], color=colour, linestyle=line)
    for axes in (left, right):
        by_length(axes, [16, 64, *LENGTHS[::2]])
        axes.axvspan(TRAINED, LENGTHS[-1], **UNTRAINED)
        axes.set_xlabel("tokens before the one predicted")
    by_factors(left, (50, 200))
    left.set_ylabel("perplexity")
    left.set_title("of one pass over 16,384 tokens")
    right.set_ylabel("nats a token")
    right.set_title("the same, above ALiBi's")
    figure.legend(fontsize=8, loc="outside right center")
    save(figure, folder, "positions")


def draw_extensions(sweep, folder):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
    for extension, (_, colour, line, _) in EXTENSIONS.items():
        points = [(length, sweep.at("rope", length, extension)) for length in LENGTHS]
        points = [(length, found) for length, found in points if found]
        if points:
            left.plot(*zip(*points), color=colour, linestyle=line, label=extension, **DOTS)
        x, loss = sweep.curve("rope", extension)
        if len(x):
            right.plot(x, np.exp(loss), color=colour, linestyle=line)
    by_length(left, LENGTHS)
    by_length(right, [16, 64, *LENGTHS[::2]])
    right.axvspan(TRAINED, LENGTHS[-1], **UNTRAINED)
    for axes in (left, right):
        by_factors(axes, (50, 200))
        axes.set_ylabel("perplexity")
    left.set_title("chunked")
    right.set_title("by position, of one pass over 16,384 tokens")
    left.set_xlabel("tokens of a segment")
    right.set_xlabel("tokens before the one predicted")
    figure.legend(fontsize=8, loc="outside right center")
    save(figure, folder, "extensions")


def draw_passkey(sweep, folder):
    figure, grid = plt.subplots(2, 4, figsize=(9, 4.4), sharex=True, sharey=True)
    for axes in grid.flat[len(sweep.maps()):]:
        axes.set_visible(False)
    for axes, (name, extension) in zip(grid.flat, sweep.maps()):
        shares = np.full((len(DEPTHS), len(SLIDING_LENGTHS)), np.nan)
        for cell in sweep.passkey:
            if (cell["model"], cell["extension"]) == (name, extension):
                place = DEPTHS.index(cell["depth"]), SLIDING_LENGTHS.index(cell["length"])
                shares[place] = cell["right"] / cell["keys"]
        draw_shares(axes, shares, SLIDING_LENGTHS, [f"{depth} %" for depth in DEPTHS])
        axes.axvline(1, color=RED, linewidth=1.2)
        axes.set_title(map_title(name, extension), fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("depth of the key")
    for axes in grid[-1]:
        axes.set_xlabel("tokens of the prompt")
    save(figure, folder, "passkey")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models" / "family", help="%(default)s unless told")
    parser.add_argument("--tokens", type=int, default=LENGTHS[-1], help="of each novel, %(default)s unless told")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "extrapolation", help="%(default)s unless told")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="%(default)s unless told")
    options = parser.parse_args()
    page, folder = options.docs / "extrapolation.md", options.docs / "extrapolation"
    sweep = Sweep(options.models, options.tokens, options.work)
    sweep.run()
    sweep.keep(folder)

    plt.rcParams.update(STYLE)
    for draw in (draw_schemes, draw_positions, draw_extensions, draw_passkey):
        draw(sweep, folder)
    for name, text in {
        "claims": claims(sweep),
        "chunked": scheme_table(sweep, "chunked", LENGTHS),
        "health": health_table(sweep),
        "paper": paper_table(),
        "sliding": scheme_table(sweep, "sliding", SLIDING_LENGTHS),
        "extensions": extension_table(sweep, "chunked", LENGTHS),
        "extensions sliding": extension_table(sweep, "sliding", SLIDING_LENGTHS),
        "passkey": passkey_table(sweep),
        "machine": f"{sweep.seconds / 60:.1f} minutes of measuring on {machine()}; ALiBi's curve by position, up to "
        f"16,384 tokens of one novel, takes {sweep.curve_seconds:.1f} s of them.",
    }.items():
        put(page, name, text)
    print(claims(sweep))
    print(f"{sweep.seconds / 60:.1f} minutes of measuring; {page}")


if __name__ == "__main__":
    main()
