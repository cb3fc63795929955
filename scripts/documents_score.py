#!/usr/bin/env python3
"""Asks models about documents that scripts/documents.py makes up, once, 4 and 16 times as long as they were trained
for: tables, pictures and data of docs/documents.md.

    scripts/documents_score.py [--model MODEL.gguf ...] [--n N] [--work FOLDER] [--docs FOLDER]

Seeds and prose are none of the training's. Every kind of document is asked through the command that one would use:
keys and logs go to `generate`, which writes the answer; reports to `summarize`, whole and in chunks; of conversations
the user's turns go to `chat`, which answers all of them. Always the likeliest token is taken. An interrupted run goes
on where it ended (FOLDER of --work keeps the answers).
"""

import argparse
import hashlib
import json
import random
import re
import subprocess
import time
from pathlib import Path

import gguf
import numpy as np
from matplotlib import pyplot as plt
from tokenizers import Tokenizer, models, pre_tokenizers

import corpus
import documents
from plot import BLUE, GREEN, ORANGE, STYLE, draw_shares, save
from report import DATA, PROGRAM, ROOT, digits, longhand, machine, put, table, write_csv

FACTORS = (1, 4, 16)  # of the training length
DEPTHS = 5  # parts of a document that facts are counted by
REPLY = 48  # tokens at most of an answer in a conversation
TITLES = {"passkey": "keys", "log": "logs", "report": "reports, whole", "chunks": "reports, in chunks",
          "dialogue": "conversations"}


def tokenizer_of(model):
    """Counts as longhand does, in this process."""
    fields = gguf.GGUFReader(model).fields
    tokens, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges"))
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([documents.TURN_START, documents.TURN_END])
    return tokenizer


def depth_of(text, words):
    """Where in a text the sentence, or line, stands that has most of these words: from 0 to 1."""
    pieces = re.finditer(r"[^\n]+?(?:[.!?](?= )|$)", text, re.MULTILINE)
    best = max(pieces, key=lambda piece: sum(has(piece[0], word) for word in words))
    return best.start() / len(text)


def has(text, words):
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def turns_of(text):
    """(role, text) of a conversation in ChatML."""
    pattern = rf"{re.escape(documents.TURN_START)}(\w+)\n(.*?){re.escape(documents.TURN_END)}\n"
    return re.findall(pattern, text, re.DOTALL)


# --- Asking -----------------------------------------------------------------------------------------------------------


def fact(depth, answer, right, form=None):
    return {"depth": round(depth, 4), "answer": answer, "right": right, "form": form}


def form(answer):
    """What kind of answer it is: a number, a place, a time, somebody..."""
    first = re.match(r"\w+", answer)
    if not first or first[0][0].isdigit():
        return "number" if first else ""
    return first[0] if first[0] in ("At", "In", "The", "You", "Your") else "name"


def judge(depth, reply, answer):
    return fact(depth, reply, reply.startswith(answer.rstrip(".")), form(reply) == form(answer))


def ask_generate(model, document, work):
    """Of keys and logs: the last question."""
    question, answer = document.questions[-1]
    body = document.text[: document.text.index(document.questions[0][0])]
    depth = depth_of(body, re.findall(r"\w[\w:-]*", f"{question} {answer}"))
    prompt = work / "prompt.txt"
    prompt.write_text(document.prompt, encoding="utf-8")
    said = longhand("generate", "-m", model, "-f", prompt, "-n", 24, "--stop", "\n", "--temperature", 0, "--json")[0]
    return {"facts": [judge(depth, said["text"].strip(), answer)]}


def ask_summarize(strategy):
    def ask(model, document, work):
        text, reference = work / "report.txt", work / "reference.txt"
        body = document.prompt.removesuffix("\n\nSummary:")
        text.write_text(body, encoding="utf-8")
        reference.write_text(document.questions[0][1].strip(), encoding="utf-8")
        command = ["summarize", "-m", model, "-f", text, "--reference", reference, "--strategy", strategy]
        said = longhand(*command, "--wording", "report", "--temperature", 0, "--json")[0]
        lines = said["summary"].splitlines()
        facts = []
        for parts in document.facts:
            right = any(all(has(line, part) for part in parts) for line in lines)
            facts.append(fact(depth_of(body, parts), ", ".join(parts), right))
        kept = ("prompt_tokens", "prompt_seconds", "new_tokens", "new_seconds", "memory_bytes")
        rouge = {name: scores["f1"] for name, scores in said["rouge"].items()}
        return {"facts": facts, "rouge": rouge, **{name: said[name] for name in kept}}

    return ask


def ask_chat(model, document, work):
    """What was told and is asked for again, as far as the user's turns go."""
    turns = turns_of(document.prompt)
    system = [word for role, text in turns if role == "system" for word in ("--system", text)]
    users = [text for role, text in turns if role == "user"]
    command = [PROGRAM, "chat", "-m", model, "-n", REPLY, "--temperature", 0, "--json", *system]
    run = subprocess.run(list(map(str, command)), input="\n".join(users) + "\n", stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(run.returncode)
    replies = [json.loads(line)["reply"] for line in run.stdout.splitlines()]
    facts = []
    for question, answer in document.questions:
        told = max(range(len(users)), key=lambda i: sum(has(users[i], word) for word in re.findall(r"\w+", answer)[2:]))
        reply = replies[len(users) - 1 - users[::-1].index(question)]
        facts.append(judge(told / len(users), reply.strip(), answer))
    return {"facts": facts}


ASK = {  # by what is counted: the kind of document, and who is asked
    "passkey": ("passkey", ask_generate),
    "log": ("log", ask_generate),
    "report": ("report", ask_summarize("whole")),
    "chunks": ("report", ask_summarize("chunks")),
    "dialogue": ("dialogue", ask_chat),
}


def suits(document):
    """Conversations that `chat` can be given a line a turn, and that ask for what was told."""
    if document.kind != "dialogue":
        return True
    turns = turns_of(document.prompt)
    return bool(document.questions) and not any("\n" in text for _, text in turns)


def documents_of(kind, n_tokens, n, count, prose):
    """The first n seeds whose documents suit."""
    seed = found = 0
    while found < n:
        document = documents.make(kind, random.Random(seed), 0 if kind == "dialogue" else 200, prose)
        if suits(document):
            document = documents.make_tokens(kind, seed, n_tokens, count, prose)
        if suits(document):
            found += 1
            yield seed, document
        seed += 1


class Answers:
    """One object a line in a file, by what was asked; what is there is not asked again."""

    def __init__(self, path):
        self.path, self.known = path, {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.endswith("}"):  # the last one may be cut off
                    answer = json.loads(line)
                    self.known[answer["asked"]] = answer

    def get(self, asked, ask):
        if asked not in self.known:
            self.known[asked] = {"asked": asked, **ask()}
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.known[asked]) + "\n")
        return self.known[asked]


def ask_all(model, n, answers, work):
    """{(what, factor): answers of n documents}"""
    begun = time.monotonic()
    trained = longhand("info", "-m", model, "--json")[0]["training_length"]
    tokenizer = tokenizer_of(model)
    prose = corpus.sentences(corpus.read_documents(DATA / "novels" / "test"))
    identity = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
    found = {}
    for what, (kind, ask) in ASK.items():
        for factor in FACTORS:
            made = documents_of(kind, factor * trained, n, lambda text: len(tokenizer.encode(text).ids) + 1, prose)
            found[what, factor] = [
                answers.get(f"{identity} {what} {factor * trained} {seed}", lambda: ask(model, document, work))
                for seed, document in made
            ]
            print(f"{model.stem}, {TITLES[what]}, {factor * trained} tokens: {recall(found[what, factor])}", flush=True)
    print(f"{model.stem}: {time.monotonic() - begun:.0f} s", flush=True)
    return found


# --- What came of it --------------------------------------------------------------------------------------------------


def facts_of(some):
    return [fact for answer in some for fact in answer["facts"]]


def recall(some, key="right"):
    facts = [fact[key] for fact in facts_of(some) if fact[key] is not None]
    return f"{100 * np.mean(facts):.0f} % of {len(facts)}" if facts else "-"


def recall_table(results, key="right"):
    rows = [[name, TITLES[what], *(recall(found[what, factor], key) for factor in FACTORS)]
            for name, found in results.items() for what in ASK if recall(found[what, 1], key) != "-"]
    return table(["model", "facts of", *(f"{factor} x" for factor in FACTORS)], rows, left=2)


def rouge_table(results):
    def mean(some, name):
        return f"{100 * np.mean([answer['rouge'][name] for answer in some]):.1f}"

    rows = [[name, TITLES[what], f"{factor} x",
             *(mean(found[what, factor], score) for score in ("rouge1", "rouge2", "rougeL"))]
            for name, found in results.items() for what in ("report", "chunks") for factor in FACTORS]
    return table(["model", "", "length", "ROUGE-1", "ROUGE-2", "ROUGE-L"], rows, left=3)


def milliseconds(some, part):
    """A token, of the prompts or of what is new."""
    return 1000 * sum(answer[f"{part}_seconds"] for answer in some) / max(1, sum(a[f"{part}_tokens"] for a in some))


def megabytes(some):
    return np.mean([answer["memory_bytes"] for answer in some]) / 1e6


def cost_table(results):
    rows = []
    for name, found in results.items():
        for what in ("report", "chunks"):
            for factor in FACTORS:
                some = found[what, factor]
                costs = milliseconds(some, "prompt"), milliseconds(some, "new"), megabytes(some)
                rows.append([name, TITLES[what], f"{factor} x", *map(digits, costs)])
    head = ["model", "", "length", "ms a token read", "ms a token written", "MB beyond the weights"]
    return table(head, rows, left=3)


def by_depth(some):
    """(right, asked) of each part of a document."""
    counts = np.zeros((DEPTHS, 2), int)
    for fact in facts_of(some):
        counts[min(DEPTHS - 1, int(fact["depth"] * DEPTHS))] += fact["right"], 1
    return counts


def keep(results, folder):
    rows = [{"model": name, "what": what, "length": factor, "depth": part / DEPTHS, "asked": asked, "right": right}
            for name, found in results.items() for (what, factor), some in found.items()
            for part, (right, asked) in enumerate(by_depth(some))]
    write_csv(folder / "facts.csv", rows)
    rows = [{"model": name, "what": what, "length": factor, "document": number,
             **{key: f"{value:.4f}" for key, value in answer["rouge"].items()}}
            for name, found in results.items() for (what, factor), some in found.items()
            for number, answer in enumerate(some) if "rouge" in answer]
    write_csv(folder / "rouge.csv", rows)


def draw_depths(results, folder):
    figure, grid = plt.subplots(len(results), len(ASK), figsize=(9, 0.6 + 2 * len(results)), squeeze=False, sharey=True)
    for line, (name, found) in zip(grid, results.items()):
        for axes, what in zip(line, ASK):
            right, asked = np.stack([by_depth(found[what, factor]) for factor in FACTORS]).T
            shares = np.divide(right, asked, out=np.full(right.shape, np.nan), where=asked > 0)
            parts = [f"{100 * part // DEPTHS}-{100 * (part + 1) // DEPTHS} %" for part in range(DEPTHS)]
            draw_shares(axes, shares, [f"{factor} x" for factor in FACTORS], parts)
            axes.set_title(f"{name}: {TITLES[what]}" if what == "passkey" else TITLES[what], fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("place of the fact")
    for axes in grid[-1]:
        axes.set_xlabel("training length")
    save(figure, folder, "recall")


def draw_cost(results, folder):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    for (name, found), colour in zip(results.items(), (BLUE, ORANGE, GREEN)):
        for what, line in ("report", "-"), ("chunks", "--"):
            drawn = {"color": colour, "linestyle": line, "marker": "o", "markersize": 3}
            some = [found[what, factor] for factor in FACTORS]
            left.plot(FACTORS, [milliseconds(x, "prompt") for x in some], label=f"{name}, {TITLES[what]}", **drawn)
            right.plot(FACTORS, [megabytes(x) for x in some], **drawn)
    for axes, label in (left, "ms a token read"), (right, "MB beyond the weights"):
        axes.set_xscale("log", base=2)
        axes.set_xticks(FACTORS, [f"{factor} x" for factor in FACTORS])
        axes.set_ylim(0)
        axes.set_xlabel("tokens of the document, in training lengths")
        axes.set_ylabel(label)
    figure.legend(fontsize=8, loc="outside right center")
    save(figure, folder, "cost")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = [ROOT / "models" / "longhand.gguf", ROOT / "models" / "family" / "rope.gguf"]
    parser.add_argument("--model", action="append", type=Path, help="default: longhand.gguf and family/rope.gguf")
    parser.add_argument("--n", type=int, default=20, help="documents of a kind and a length, %(default)s unless told")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "documents", help="%(default)s unless told")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="%(default)s unless told")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    answers = Answers(options.work / "answers.jsonl")
    chosen = options.model or [model for model in shipped if model.exists()]
    results = {model.stem: ask_all(model, options.n, answers, options.work) for model in chosen}

    page, folder = options.docs / "documents.md", options.docs / "documents"
    keep(results, folder)
    plt.rcParams.update(STYLE)
    draw_depths(results, folder)
    draw_cost(results, folder)
    for name, text in {
        "recall": recall_table(results),
        "form": recall_table(results, "form"),
        "rouge": rouge_table(results),
        "cost": cost_table(results),
        "machine": f"{options.n} documents of each kind and length, on {machine()}.",
    }.items():
        put(page, name, text)
    print(f"{time.monotonic() - begun:.0f} s; {page}")


if __name__ == "__main__":
    main()
