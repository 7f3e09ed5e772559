#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pages.py [--check]: makes docs/architecture.md from the heads of the files, docs/compatibility.md from stack/api/intercept.def, stack/api/option.def and the options that
shim/option.c serves itself, and docs/configuration.md from dpdk/limits.def and stack/core/tcp_config.def, docs/tcp-states.md from tests/world/tcp_table.def; the text around the tables is in docs/*.in.md.
With --check: exit 1 when a page in the tree is another."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ("architecture", "compatibility", "configuration", "tcp-states")


def names():
    """(kind, name, target, heading) of intercept.def, in its order. A comment on a line of its own is the heading of
    what follows."""
    text = (ROOT / "stack/api/intercept.def").read_text()
    heading = ""
    first = text.index("*/") + 2  # the file's own head
    pattern = re.compile(r"^/\*(.*?)\*/|^([XVAE])\((.*?)\)$", re.S | re.M)
    for comment, kind, rest in pattern.findall(text[first:]):
        if not kind:
            heading = " ".join(comment.replace("*", " ").split())
            continue
        depth, parts, start = 0, [], 0
        for at, letter in enumerate(rest):
            depth += (letter == "(") - (letter == ")")
            if letter == "," and depth == 0:
                parts.append(rest[start:at].strip())
                start = at + 1
        parts.append(rest[start:].strip())
        yield kind, parts[1], parts[-1] if kind == "A" else "", heading


def engine_options():
    text = (ROOT / "stack/api/option.def").read_text()
    for name, level, option, kind in re.findall(r"^X\((\w+), (\w+), (\w+), (\w+)\)", text, re.M):
        if not option.startswith("0x"):
            yield level, option, kind


def shim_options():
    """What option_get answers itself: its cases, and the options named in record_set."""
    text = (ROOT / "shim/option.c").read_text()
    return sorted(set(re.findall(r"\b(SO_[A-Z_]+)\b", text)) - {"SO_REUSEADDR", "SO_MARK"})


def calls_table():
    heading_now, lines = None, []
    for kind, name, target, heading in names():
        if heading != heading_now:
            lines += ["", f"**{heading}**", "", "| call | |", "|---|---|"]
            heading_now = heading
        lines.append(f"| `{name}` | {f'as `{target}`' if target else 'served'} |")
    return "\n".join(lines).strip()


def options_table():
    lines = ["| level | option | served by |", "|---|---|---|"]
    lines += [f"| `SOL_SOCKET` | `{name}` | library |" for name in shim_options()]
    lines += [f"| `{level}` | `{name}` | engine |" for level, name, kind in engine_options()]
    return "\n".join(lines)


def limits_table():
    text = (ROOT / "dpdk/limits.def").read_text()
    lines = ["| key | from | to | default | |", "|---|---|---|---|---|"]
    pattern = r'^X\((\w+), \w+, (\d+), (\d+), (\d+), "([^"]*)"\)'
    for key, least, most, default, what in re.findall(pattern, text, re.M):
        lines.append(f"| `{key}` | {least} | {most} | {'by the engine' if default == '0' else default} | {what} |")
    return "\n".join(lines)


def tcp_table():
    text = (ROOT / "stack/core/tcp_config.def").read_text()
    lines = ["| key | from | to | default | |", "|---|---|---|---|---|"]
    pattern = r'^X\((\w+), (\d+), (\d+), (\d+),\s*"([^"]*)"\)'
    for key, least, most, default, what in re.findall(pattern, text, re.M):
        lines.append(f"| `{key}` | {least} | {most} | {default} | {what} |")
    return "\n".join(lines)


STATES = (
    "CLOSED LISTEN SYN_SENT SYN_RECEIVED SYN_RECEIVED_ACTIVE ESTABLISHED CLOSE_WAIT FIN_WAIT_1 CLOSING LAST_ACK FIN_WAIT_2 TIME_WAIT"
).split()
SYNCHRONISED = STATES[4:11]


def states_table():
    """tests/world/tcp_table.def, a section for each state: the rows that speak of it, in their order."""
    text = (ROOT / "tests/world/tcp_table.def").read_text()
    words = {"NOTHING": "nothing", "ACK_NOW": "ACK", "SYN_ACK": "SYN-ACK", "RST_OF_ACK": "RST", "RST_WITH_ACK": "RST and ACK"}
    words |= {"ANY_SEQ": "any", "ANY_ACK": "any", "ANY_TEXT": "", "EMPTY": "none", "BYTES": "some", "NO": "", "YES": "text taken", "LATER": "kept for later"}

    def said(mask):
        return words.get(mask, mask.lower().replace("|", ", ").replace("_", " "))

    lines = []
    for state in STATES:
        lines += ["", f"## {state}", "", "| segment | sequence | acknowledgment | text | state after | answer | | source |", "|---|---|---|---|---|---|---|---|"]
        for row in re.findall(r'^X\((.*)\)$', text, re.M):
            *cells, why = re.match(r'([^"]*), "(.*)"', row).groups()
            states, has, hasnt, seq, ack, text_, after, answer, taken = cells[0].split(", ")
            if state not in states.split("|") and not (states == "SYNCHRONISED" and state in SYNCHRONISED):
                continue
            flags = " ".join(has.split("|")) if has != "0" else "any"
            flags += " without " + ", ".join(hasnt.split("|")) if hasnt != "0" else ""
            after = "" if after in ("SAME", state) else f"**{after}**"
            line = (flags, said(seq), said(ack), said(text_), after, said(answer), said(taken), why)
            lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines).strip()


def first_sentence(path):
    """Of the comment, or docstring, at a file's head; a header's speaks for the source that says "see" it."""
    text = path.read_text()
    if path.suffix == ".py":
        head = re.search(r'"""(.*?)"""', text, re.S)
    elif path.suffix == ".sh":
        head = re.search(r"SPDX[^\n]*\n((?:# [^\n]*\n)+)", text)
    else:
        head = re.search(r"/\*(?! SPDX)(.*?)\*/", text, re.S)
    if not head:
        return ""
    words = " ".join(re.sub(r"^ *[*#] ?", "", head.group(1), flags=re.M).split())
    return re.split(r"(?<=[a-z0-9)`])\. (?=[A-Z`A-Za-z])", words)[0].rstrip(".:;")


def files_table(directory):
    lines = []
    for path in sorted((ROOT / directory).iterdir()):
        if path.suffix in (".c", ".h", ".def", ".sh", ".py"):
            lines.append(f"- `{directory}/{path.name}`: {first_sentence(path)}")
    return "\n".join(lines)


def page(name):
    text = (ROOT / f"docs/{name}.in.md").read_text()
    return (
        re.sub(r"@FILES (\S+)@", lambda m: files_table(m.group(1)), text)
        .replace("@CALLS@", calls_table())
        .replace("@OPTIONS@", options_table())
        .replace("@LIMITS@", limits_table())
        .replace("@TCP@", tcp_table())
        .replace("@STATES@", states_table())
        .replace("@COUNT@", str(len(list(names()))))
    )


for name in PAGES:
    path = ROOT / f"docs/{name}.md"
    if "--check" not in sys.argv:
        path.write_text(page(name))
    elif not path.exists() or path.read_text() != page(name):
        sys.exit(f"docs/{name}.md is not what dev.d/pages.py makes of the code: run it and commit the page")
