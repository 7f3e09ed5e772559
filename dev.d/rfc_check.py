#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""rfc_check.py [--count]: docs/rfc.md says of each requirement whether it is done and which test shows it; this holds the page to that.
Every row has a state (done; refused, with the reason), a row that is done names a test, and every test named is one that the test run runs.
--count: rows by section and state. Exit 1 with a line for each fault."""
import collections
import functools
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/rfc.md"
REFERENCE = re.compile(r"`(unit|world|diff|programs|fuzz)/([^`:]+)(?:: ([^`]+))?`")


@functools.cache
def cases(level, name):
    """The cases of a test that runs; None: there is no such test."""
    if level == "programs":
        path = ROOT / f"tests/programs/{name}.sh"
        if not path.exists() or not path.stat().st_mode & 0o100:
            return None
        return {a or b for a, b in re.findall(r"""\bcheck (?:'([^']+)'|"([^"]+)")""", path.read_text())}
    path = ROOT / f"tests/{level}/{name}.c"
    build = (ROOT / f"tests/{level}/meson.build").read_text()
    if not path.exists() or not re.search(rf"'{re.escape(name)}(\.c)?'", build):
        return None
    text = path.read_text()
    found = set(re.findall(r"\bcmocka_unit_test(?:_\w+)?\((\w+)", text))
    return found | set(re.findall(r"^CASE(?:_LIMIT)?\((\w+)", text, re.M))


def faults_of_row(requirement, state, tests):
    if not requirement:
        yield "a row without a requirement"
    if state != "done" and not re.match(r"refused: \S", state):
        yield f"the state is '{state}', not 'done' or 'refused: reason'"
    named = REFERENCE.findall(tests)
    if state == "done" and not named:
        yield "done, but no test is named"
    if re.sub(r"[\s,;]|<br>", "", REFERENCE.sub("", tests)):
        yield f"not the name of a test: {REFERENCE.sub('', tests).strip(' ,;')}"
    for level, name, case in named:
        known = cases(level, name)
        if known is None:
            yield f"no test {level}/{name}"
        elif case and case not in known:
            yield f"no case '{case}' in {level}/{name}"
        elif not case and level != "fuzz":
            yield f"which case of {level}/{name}?"


def rows():
    """(line number, section, cells) of the tables' rows."""
    section, header = "", True
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        if line.startswith("#"):
            section = line.lstrip("# ").split(":")[0]
        if section == "Fuzzing":  # its table is of figures
            continue
        if not line.startswith("|"):
            header = True
            continue
        if header:
            header = not line.startswith("|---")
            continue
        yield number, section, [cell.strip() for cell in line.strip().strip("|").split("|")]


# RFC 9293's own numbers (its appendix B): the last of each kind.
NUMBERED = {"MUST": 69, "SHLD": 31, "MAY": 18, "REC": 1}


def unnumbered():
    """RFC 9293's requirements without a row."""
    listed = {(kind, int(n)) for _, section, cells in rows() if section == "RFC 9293"
              for kind, n in re.findall(r"\b(MUST|SHLD|MAY|REC)-(\d+)", cells[0])}
    for kind, last in NUMBERED.items():
        for n in range(1, last + 1):
            if (kind, n) not in listed:
                yield f"{kind}-{n}"


def main():
    faults = 0
    for requirement in unnumbered():
        print(f"docs/rfc.md: RFC 9293: {requirement} has no row")
        faults += 1
    count = collections.Counter()
    for number, section, cells in rows():
        wrong = ["three cells, please"] if len(cells) != 3 else faults_of_row(*cells)
        for fault in wrong:
            print(f"docs/rfc.md:{number}: {section}: {fault}")
            faults += 1
        count[section, cells[1].split(":")[0] if len(cells) == 3 else "?"] += 1
    if "--count" in sys.argv:
        for (section, state), n in sorted(count.items()):
            print(f"{section:10} {state:8} {n:4}")
        print(f"{sum(count.values())} requirements")
    sys.exit(faults > 0)


main()
