#!/usr/bin/env python3
"""lint.py: what neither the compiler nor clang-format sees.

  arrows     which folder of src/ may include which; the table below is the one place where that is said
  libraries  a foreign header with one owner is included by its owner alone
  openings   every source file opens with a comment that says what it is for
  links      every link from a page of the documentation to a file or a heading leads somewhere

Prints "file:line: what is wrong" for each finding; ends with 1 when there is one."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A folder may include itself and these (docs/architecture.md draws it).
ARROWS = {
    "base": [],
    "link": ["base"],
    "chat": ["base", "link"],
    "home": ["base"],
    "net": ["base"],
    "models": ["base", "home"],
    "instances": ["base", "link", "chat", "home", "models"],
    "api": ["base", "link", "chat", "home", "net", "models", "instances"],
    "daemon": ["base", "link", "chat", "home", "net", "models", "instances", "api"],
    "engine": ["base", "link"],
    "cli": ["base", "home", "net"],
}
# Narrower than the folder: lms links no HTTP server.
ONLY = {("cli", "net"): ["net/ws.h", "net/probe.h"]}

# Foreign headers, and the sources that may include them.
OWNERS = [
    (r"microhttpd\.h", r"src/net/http(-\w+)?\.[ch]"),
    (r"wslay/wslay\.h", r"src/net/ws(-\w+)?\.[ch]"),
    (r"curl/curl\.h", r"src/net/fetch(-\w+)?\.[ch]"),
    (r"sqlite3\.h", r"src/store/.*"),
    (r"yaml\.h", r"src/models/.*"),
    (r"seccomp\.h", r"src/engine/sandbox\.c|tests/.*"),
    (r"(llama|llama-cpp|ggml|ggml-\w+|gguf|speculative|sampling|common)\.h", r"src/engine/.*|tests/(bench|unit)/.*"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")

findings = 0


def report(path, line, text):
    global findings
    findings += 1
    print(f"{path}:{line}: {text}")


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
                         cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in sorted(out.splitlines()) if (ROOT / name).is_file()]


def target_of(source, name):
    """The file below src/ that a quoted include means, as "folder/file.h", or None: a foreign header."""
    for start in ((ROOT / source).parent, ROOT / "src"):
        found = (start / name).resolve()
        if found.is_file() and found.is_relative_to(ROOT / "src"):
            return str(found.relative_to(ROOT / "src"))
    return None


def check_includes(source, lines):
    folder = source.parts[1] if source.parts[0] == "src" else None
    if folder and folder not in ARROWS:
        report(source, 1, f"src/{folder}/ has no row in the table of arrows (tests/lint.py)")
        return
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        name = found[2]
        target = target_of(source, name) if found[1] == '"' else None
        if target is None:
            for header, owner in OWNERS:
                if re.fullmatch(header, name) and not re.fullmatch(owner, str(source)):
                    report(source, number, f"{name} belongs to {owner}")
        elif folder:
            other = target.split("/")[0]
            if other != folder and other not in ARROWS[folder]:
                report(source, number, f"{folder} must not include {other} ({target})")
            elif target not in ONLY.get((folder, other), [target]):
                report(source, number, f"of {other}, {folder} may include only {', '.join(ONLY[(folder, other)])}")


def check_opening(source, lines):
    opening = {".mjs": "//", ".py": "#!", ".js": "//"}.get(source.suffix, "/*")
    if not lines or not lines[0].startswith(opening):
        report(source, 1, f"does not open with a comment ({opening})")


def anchors(page):
    """The anchors of a page's headings, as forges make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    heads = re.findall(r"^#+ +(.+?) *$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def check_links(page, lines):
    for number, line in enumerate(lines, 1):
        for link in LINK.findall(line):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (ROOT / page).parent / name if name else ROOT / page
            if not target.exists():
                report(page, number, f"{link} leads nowhere")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                report(page, number, f"{link}: no such heading")


for source in tracked("src/*.c", "src/*.h", "src/*.cpp", "tests/*.c", "tests/*.h", "tests/*.cpp", "tests/*.mjs", "tests/*.py"):
    lines = (ROOT / source).read_text().splitlines()
    check_opening(source, lines)
    if source.suffix in (".c", ".h", ".cpp"):
        check_includes(source, lines)
for page in tracked("*.md", "docs/*.md"):
    check_links(page, (ROOT / page).read_text().splitlines())
sys.exit(1 if findings else 0)
