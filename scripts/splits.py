#!/usr/bin/env python3
"""Writes tests/data/splits.txt: how each pre-tokenizer splits difficult texts, by the Hugging Face
tokenizers library with the patterns of the models' own tokenizer.json.

A line "# NAME" starts a rule; every other line is one text, its pieces in hexadecimal."""
import random
import sys

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Punctuation, Sequence, Split

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def split(pattern):
    return Split(Regex(pattern), "isolated")


RULES = {
    "gpt-2": split(GPT2),
    "llama-bpe": split(LLAMA3),
    "qwen2": split(QWEN2),
    "falcon": Sequence([Punctuation("contiguous"), split(GPT2), split("[0-9][0-9][0-9]")]),
    "starcoder": Sequence([Digits(individual_digits=True), split(GPT2)]),
    "deepseek-coder": Sequence([split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                                split("[一-龥ࠀ-一가-퟿]+"), Digits(individual_digits=True)]),
    "bloom": split(BLOOM),
}

PARTS = ["'s", "'RE", "'ll", "'", " ", "  ", "   ", "\n", "\r\n", "\t", "a", "Zed", "é", "É", "ß", "1", "12",
         "1234567", "½", "٣", "_", "-", "...", "!?", "$", "+", "<", "|", "`", "(", ")", "。", "，", "中文",
         "日本", "한국", "ﬁ", "Ａ", "～", "\u00a0", "\u3000", "\u200b", "\u0301", "🙂", "👨‍👩‍👧", "हिन्दी", "ไทย",
         "العربية", "۔", "\u0085", "\x0b", "\x00", "\u180e", "\u00ad", "ǅ", "ʰ", "Ⅷ", "\U0001d7d8"]


def main():
    random.seed(7)
    texts = ["".join(random.choice(PARTS) for _ in range(random.randrange(1, 14))) for _ in range(120)]
    texts += ["I've been 'told he's there, 'RE you sure? We'Ve a'lL", "   x\n\n \n  y  ", "3 33 333 3333 33333.3"]
    with open(sys.argv[1], "w", encoding="ascii") as out:
        for name, rule in RULES.items():
            out.write(f"# {name}\n")
            for text in texts:
                pieces = [piece for piece, _ in rule.pre_tokenize_str(text)]
                assert "".join(pieces) == text
                out.write(" ".join(piece.encode().hex() for piece in pieces) + "\n")


if __name__ == "__main__":
    main()
