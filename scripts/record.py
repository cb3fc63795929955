#!/usr/bin/env python3
"""Records the program in a terminal, as the animated pictures of the README.

    scripts/record.py chat docs/recordings/chat.gif [--longhand ./longhand]
    scripts/record.py summarize docs/recordings/summarize.gif --file book.txt

A recording is a list of steps: what a person types, and what must stand on the screen before the next step. What the
program writes is shown as it came, at the speed it came; only pauses longer than LONGEST_PAUSE are cut short. The
terminal is pyte's, the letters are DejaVu Sans Mono.
"""

import argparse
import codecs
import dataclasses
import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import tempfile
import termios
import time
from pathlib import Path

import matplotlib
import pyte
from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS = 84, 22
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"
FONT_SIZE = 13
MARGIN = 8
BACKGROUND, INK, CURSOR = "#fbfbf8", "#222222", "#9a9a9a"
COLOURS = {
    "red": "#b3261e", "green": "#00693e", "brown": "#8a6d00", "blue": "#0b5394", "magenta": "#8e3b76",
    "cyan": "#0e6f7c", "black": "#222222", "white": "#777777",
}
FRAME = 0.08  # seconds: the screen is looked at this often
LONGEST_PAUSE = 1.2
LAST_PAUSE = 3.0
LETTER = 0.045  # seconds for a typed one
PATIENCE = 120  # seconds that a step may take


@dataclasses.dataclass
class Step:
    typed: str
    until: str  # the screen's last line, once it is done


class Terminal:
    """A shell's screen with the program on it, and every picture of it."""

    def __init__(self, command):
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.Stream(self.screen)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.frames = []  # (seconds, image)
        self.shown = None
        self.ended = False
        self.child, self.master = pty.fork()
        if self.child == 0:
            os.execvpe(command[0], command, {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"})
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def watch(self, seconds):
        """Reads what comes for so long, and looks at the screen every FRAME."""
        end = time.monotonic() + seconds
        while not self.ended and (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self.master], [], [], min(left, FRAME))
            if ready:
                try:
                    read = os.read(self.master, 65536)
                except OSError:  # a pty whose other side is closed
                    read = b""
                self.ended = not read
                self.stream.feed(self.decoder.decode(read))
                self.look()

    def look(self):
        now = time.monotonic()
        if self.frames and now - self.frames[-1][0] < FRAME:
            return
        lines = tuple(tuple(self.screen.buffer[y][x] for x in range(COLUMNS)) for y in range(ROWS))
        state = (lines, self.screen.cursor.x, self.screen.cursor.y, self.screen.cursor.hidden)
        if state != self.shown:
            self.shown = state
            self.frames.append((now, draw(*state)))

    def type(self, text):
        for letter in text:
            os.write(self.master, b"\r" if letter == "\n" else letter.encode())  # as the Enter key does
            self.watch(LETTER)

    def last_line(self):
        lines = [line.rstrip() for line in self.screen.display]
        return next((line for line in reversed(lines) if line), "")

    def wait(self, until):
        begun = time.monotonic()
        while self.last_line() != until:
            self.watch(FRAME)
            self.look()
            if self.ended or time.monotonic() - begun > PATIENCE:
                raise SystemExit(f"the screen never showed {until!r}:\n" + "\n".join(self.screen.display))
        self.watch(2 * FRAME)

    def close(self):
        os.kill(self.child, signal.SIGHUP)
        os.close(self.master)
        os.waitpid(self.child, 0)


def draw(lines, cursor_x, cursor_y, hidden):
    font = ImageFont.truetype(FONT, FONT_SIZE)
    width, height = round(font.getlength("M")), sum(font.getmetrics()) + 1
    image = Image.new("RGB", (COLUMNS * width + 2 * MARGIN, ROWS * height + 2 * MARGIN), BACKGROUND)
    pen = ImageDraw.Draw(image)
    if not hidden:
        x, y = MARGIN + cursor_x * width, MARGIN + cursor_y * height
        pen.rectangle((x, y, x + width - 1, y + height - 1), fill=CURSOR)
    for y, line in enumerate(lines):
        for x, cell in enumerate(line):
            if cell.data.strip():
                ink = COLOURS.get(cell.fg, INK)
                pen.text((MARGIN + x * width, MARGIN + y * height), cell.data, font=font, fill=ink)
    return image


def save(frames, path):
    times = [at for at, _ in frames]
    pauses = [min(LONGEST_PAUSE, later - at) for at, later in zip(times, times[1:])] + [LAST_PAUSE]
    images = [image.quantize(16, dither=Image.Dither.NONE) for _, image in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [max(20, round(1000 * pause)) for pause in pauses]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)
    print(f"{path}: {len(frames)} pictures, {sum(durations) / 1000:.0f} s, {path.stat().st_size / 1e3:.0f} kB")


SHELL, CHAT = "$", ">"  # their prompts, without the space


def scenario(options):
    if options.scenario == "summarize":
        return [Step(f"longhand summarize -v -f {shlex.quote(options.file.name)}\r", SHELL)]
    return [
        Step("longhand chat --temperature 0\r", CHAT),
        Step("Hello!\r", CHAT),
        Step("My name is Clara and I live in Lisbon.\r", CHAT),
        Step("Where do I live?\r", CHAT),
        Step("Thank you.\r", CHAT),
        Step("/undo\r", CHAT),
        Step("/stats\r", CHAT),
        Step("/quit\r", SHELL),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=("chat", "summarize"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--longhand", type=Path, default=Path("longhand"), help="the program, %(default)s unless told")
    parser.add_argument("--file", type=Path, help="with summarize: the document")
    options = parser.parse_args()
    out = options.out.resolve()
    if options.scenario == "summarize" and not options.file:
        parser.error("summarize: which --file?")

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "longhand").symlink_to(options.longhand.resolve())
        os.environ.update(PATH=f"{folder}:{os.environ['PATH']}", PS1=f"{SHELL} ", HOME=folder)
        if options.file:
            os.chdir(options.file.resolve().parent)
        terminal = Terminal(["sh", "-i"])
        try:
            terminal.wait(SHELL)
            terminal.frames.clear()
            for step in scenario(options):
                terminal.type(step.typed)
                terminal.watch(6 * FRAME)
                terminal.wait(step.until)
        finally:
            terminal.close()
    save(terminal.frames, out)


if __name__ == "__main__":
    main()
