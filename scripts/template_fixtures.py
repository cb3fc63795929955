#!/usr/bin/env python3
"""Makes tests/data/templates: what transformers makes of conversations with the chat templates of models.

    scripts/template_fixtures.py FOLDER [--out tests/data/templates]

FOLDER holds templates as models have them (tokenizer.chat_template), each in a file NAME.jinja, where NAME is a row of
tokenizer/chat/families.c or NAME@WHAT a second template of that row. Of a template only the tags that tell families
apart are kept. Of each comes a NAME.json:

    family      NAME
    bos         whether the template writes the BOS token
    fragments   those tags, in the template's own spelling
    renderings  for each of conversations.json the string, or null where the template refuses the conversation, or has
                no place for its system message and drops it without a word

BOS is "<s>", EOS "</s>" and the day the fifth of March 2026.
"""

import argparse
import json
import re
from datetime import datetime
from pathlib import Path
from unittest import mock

import jinja2
from transformers.utils import chat_template_utils

ROOT = Path(__file__).resolve().parent.parent
DAY = datetime(2026, 3, 5, 12)
SPELLED = (
    "<s></s>[INST][/INST]<<SYS>><|im_start|>system\n<|im_end|><|im_sep|><|start_header_id|><|end_header_id|><|eot_id|>"
    "<start_of_turn><end_of_turn><|system|><|user|><|assistant|><|end|>[SYSTEM_PROMPT][/SYSTEM_PROMPT]"
    "<|start_of_role|><|end_of_role|><|end_of_text|><｜User｜><｜Assistant｜><｜end▁of▁sentence｜><|EOT|>"
    "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|USER_TOKEN|><|CHATBOT_TOKEN|><|END_OF_TURN_TOKEN|><|end_of_turn|>"
    "<|begin_of_text|>{{ bos_token }}{% raw %}<|im_"
)
SPACED = "  \n\t {} \n\n"
WIDE = "\u3000\u00a0\u2028{}\u2003\u0085"


def turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    """User and assistant in turns, behind the system text if there is one."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    return messages + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


CONVERSATIONS = {
    "one": turns("Hello, how are you?"),
    "one-system": turns("Hello, how are you?", system="You answer in rhymes."),
    "three": turns("Hello", "Hi there!", "Who are you?"),
    "three-system": turns("Hello", "Hi there!", "Who are you?", system="You answer in rhymes.\nShort ones."),
    "five-system": turns("One", "Two", "Three", "Four", "Five", system="Count."),
    "unicode": turns(
        "Grüß Gott, 世界 \U0001f469\u200d\U0001f680",
        "¡Olé! — naïve\u00a0café",
        "ß\u0301\U0001f600",
        system="Пиши по-русски.",
    ),
    "spaces": turns(SPACED.format("Hello"), SPACED.format("Hi"), SPACED.format("a  b")),
    "spaces-system": turns(
        SPACED.format("Hello"), SPACED.format("Hi"), SPACED.format("a  b"), system=SPACED.format("Be brief.")
    ),
    "spaces-wide": turns(WIDE.format("Hello"), WIDE.format("Hi"), WIDE.format("a"), system=WIDE.format("Be brief.")),
    "empty": turns("", "", "", system=""),
    "blank": turns(" \n", " ", "\n\n", system=" \n"),
    "thought": turns("Hello", "<think>\nHm.\n</think>\n\nHi </think>\n\n\nthere", "Bye"),
    "no-think": turns("Hello", "\n\nHi", "Bye", system="/think Be /no_thinkbrief. /no_think "),
    "spelled": turns(SPELLED, SPELLED, SPELLED),
    "spelled-system": turns(SPELLED, SPELLED, SPELLED, system=SPELLED),
    "two-users": [*turns("Hello"), *turns("Anybody?")],
}

TELLING = re.compile(
    r"^\{\{|message|role|token|add_generation|loop|el(se|if)|end(for|if)|strftime|date|think|found|query|is_tool"
)
OTHER = re.compile(r"(?<!is_)tool|document|citation|control|hallucination|image|raise_exception\([\"'](?!System)")


def fragments(template: str) -> str:
    """The tags that tell families apart, and what stands between two that follow each other."""
    parts = re.split(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", template, flags=re.S)
    kept, before = "", True
    for text, tag in zip(parts[::2], [*parts[1::2], ""]):
        keeps = bool(TELLING.search(tag)) and not OTHER.search(tag) and not tag.startswith("{#")
        kept += (text if before else "") + (tag if keeps else "")
        before = keeps
    return kept


def render(template: str, messages: list[dict[str, str]]) -> str | None:
    """What apply_chat_template makes of the messages; None where the template refuses them."""
    try:
        with mock.patch.object(chat_template_utils, "datetime") as clock:
            clock.now.return_value = DAY
            rendered, _ = chat_template_utils.render_jinja_template(
                [messages], chat_template=template, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
            )
    except jinja2.exceptions.TemplateError:
        return None
    return rendered[0]


def drops_system(template: str) -> bool:
    """Whether a system message goes missing."""
    rendered = render(template, turns("?", system="QED"))
    return rendered is not None and "QED" not in rendered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/templates")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    def write(name: str, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=1)
        (arguments.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    write("conversations", CONVERSATIONS)
    for path in sorted(arguments.folder.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        drops = drops_system(template)
        renderings = {
            name: None if drops and messages[0]["role"] == "system" else render(template, messages)
            for name, messages in CONVERSATIONS.items()
        }
        write(
            path.stem,
            {
                "family": path.stem.split("@")[0],
                "bos": (renderings["one"] or "").startswith("<s>"),
                "fragments": fragments(template),
                "renderings": renderings,
            },
        )
        print(path.stem, sum(text is not None for text in renderings.values()), "of", len(renderings))


if __name__ == "__main__":
    main()
