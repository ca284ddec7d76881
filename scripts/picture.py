#!/usr/bin/env python3
"""picture.py: makes docs/terminal.svg, and the same as text in README.md, from a run of scripts/demo.sh in a terminal.

The terminal is real: demo.sh runs in a pseudo-terminal of 100 columns, and pyte (from PyPI) keeps its screen. What was
on the screen at the end is drawn, the progress bar of the fetch that was killed among it. Light or dark as the reader's
page is.
"""
import fcntl
import html
import os
import pty
import re
import struct
import termios
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 100, 200
# The size of a character, and what is left free around all of them.
WIDTH, HEIGHT, MARGIN = 8.4, 19, 20

STYLE = """
svg { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
rect { fill: #fbfbfa; stroke: #dcdcd8; } text { fill: #55554f; white-space: pre; } .typed { fill: #16161a; font-weight: 600; }
@media (prefers-color-scheme: dark) { rect { fill: #17181b; stroke: #303238; } text { fill: #b4b6bd; } .typed { fill: #f2f2f0; } }
"""


def run():
    """What the screen shows when the demo has ended, a string a line, from the first command on."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", COLUMNS=str(COLUMNS), LC_ALL="C.UTF-8")
        os.execv(ROOT / "scripts/demo.sh", ["demo.sh"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    while True:
        try:
            said = os.read(terminal, 65536)
        except OSError:  # how Linux tells that nobody writes to it any more
            said = b""
        if not said:
            break
        stream.feed(said)
    _, ended = os.waitpid(pid, 0)
    if ended:
        raise SystemExit("picture.py: demo.sh failed:\n" + "\n".join(screen.display))
    lines = [line.rstrip() for line in screen.display]
    first = next(n for n, line in enumerate(lines) if line.startswith("$ toller"))
    while not lines[-1]:
        lines.pop()
    return lines[first:]


def picture(lines):
    width, height = COLUMNS * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    drawn, typed = [], False
    for row, line in enumerate(lines):
        # A line that is as wide as the terminal goes on in the next one.
        typed = line.startswith("$ ") or (typed and len(lines[row - 1]) == COLUMNS)
        if line:
            text, kind = html.escape(line, quote=False), ' class="typed"' if typed else ""
            at = f'x="{MARGIN}" y="{MARGIN + row * HEIGHT + 14}" textLength="{len(line) * WIDTH:.1f}"'
            drawn.append(f'<text{kind} {at} xml:space="preserve">{text}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" role="img">'
    title = "<title>A terminal: toller loads 12,217 GUIDs, is killed half way, goes on, and all of them are there</title>"
    frame = f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="8"/>'
    return "\n".join([head, title, f"<style>{STYLE}</style>", frame, *drawn, "</svg>", ""])


def main():
    lines = run()
    (ROOT / "docs/terminal.svg").write_text(picture(lines))
    readme = ROOT / "README.md"
    # As text, a line that the terminal has wrapped is one line.
    text = "".join(line if len(line) == COLUMNS else line + "\n" for line in lines)
    block = f"```console\n{text}```"
    text, found = re.subn(r"```console\n.*?\n```", lambda _: block, readme.read_text(), count=1, flags=re.DOTALL)
    if not found:
        raise SystemExit("picture.py: README.md has no ```console block")
    readme.write_text(text)


if __name__ == "__main__":
    main()
