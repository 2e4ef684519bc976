"""Checks Cargo.lock against a list of known advisories that is kept in the repository, and says how old the list is.

The list (advisories.json) is made from a checkout of the RustSec advisory database, which is in the public domain:
`python3 .ci/advisories.py --update DIRECTORY`. It holds the advisories of every package that Cargo.lock names. A package
that came later is named as not yet covered. An advisory that touches a locked version fails the check unless `accepted`
gives the reason why it does no harm here, and README.md names it.
"""

import datetime
import json
import pathlib
import re
import subprocess
import sys
import textwrap
import tomllib

HERE = pathlib.Path(__file__).parent
LIST = HERE / "advisories.json"


def locked():
    """Name and version of every package from the registry."""
    lock = tomllib.loads((HERE.parent / "Cargo.lock").read_text())
    return [(package["name"], package["version"]) for package in lock["package"] if "source" in package]


def version(text):
    """A version as something that compares: a pre-release comes before its release."""
    core, _, pre = text.split("+")[0].partition("-")
    numbers = [int(part) for part in core.split(".")]
    return (tuple(numbers + [0] * (3 - len(numbers))), pre == "", pre)


def caret(text):
    """The first version that a caret requirement no longer allows."""
    parts = [int(part) for part in text.split("-")[0].split(".")]
    first = next((at for at, part in enumerate(parts) if part), len(parts) - 1)
    return version(".".join(map(str, parts[:first] + [parts[first] + 1])))


def matches(wanted, has):
    """Whether a version fulfils a requirement of Cargo's notation, e.g. `>= 0.3.24, < 0.4.0` or `^0.2.15`."""
    for comparator in wanted.split(","):
        sign, text = re.fullmatch(r"\s*([<>=^~]*)\s*([0-9][^\s]*)\s*", comparator).groups()
        bound = version(text)
        fits = {
            "<": has < bound, "<=": has <= bound, ">": has > bound, ">=": has >= bound, "=": has == bound,
        }.get(sign)
        if sign in ("", "^"):
            fits = bound <= has < caret(text)
        elif sign == "~":
            fits = bound <= has and has[0][:2] == bound[0][:2]
        if not fits:
            return False
    return True


def touches(advisory, has):
    return not any(matches(fine, version(has)) for fine in advisory["fine"])


def prove():
    """Proves the matcher on requirements of the database's own notation."""
    cases = [
        (">= 0.3.24, < 0.4.0", "0.3.26", True), (">= 0.3.24, < 0.4.0", "0.4.0", False), ("^0.2.15", "0.2.20", True),
        ("^0.2.15", "0.3.0", False), ("^1.4", "1.9.0", True), ("~1.4.2", "1.5.0", False), ("< 0.9.0", "0.9.20", False),
        (">= 0.104.0-alpha.6", "0.104.0", True), ("= 1.2.3", "1.2.3+build", True), (">=0.9.20", "0.9.18", False),
    ]
    for wanted, has, expected in cases:
        assert matches(wanted, version(has)) == expected, (wanted, has)


def update(database):
    """Makes the list anew; what was accepted stays accepted."""
    old = json.loads(LIST.read_text()) if LIST.exists() else {"accepted": {}, "advisories": []}
    names = sorted({name for name, _ in locked()})
    found = {}
    for name in names:
        for path in sorted(pathlib.Path(database, "crates", name).glob("RUSTSEC-*.md")):
            head = tomllib.loads(path.read_text().split("```toml")[1].split("```")[0])
            advisory, versions = head["advisory"], head.get("versions", {})
            if "withdrawn" in advisory:
                continue
            found[advisory["id"]] = {
                "id": advisory["id"],
                "package": name,
                "kind": advisory.get("informational", "vulnerability"),
                "fine": versions.get("patched", []) + versions.get("unaffected", []),
            }
    # Advisories that were read elsewhere and are younger than the database.
    for advisory in old["advisories"]:
        found.setdefault(advisory["id"], advisory)
    day = subprocess.check_output(["git", "-C", database, "log", "-1", "--format=%cs"], text=True).strip()
    text = ",\n".join("  " + json.dumps(found[key]) for key in sorted(found))
    LIST.write_text(
        f'{{\n"as_of": "{day}",\n"accepted": {json.dumps(old["accepted"], indent=1)},\n'
        f'"covered": {textwrap.fill(json.dumps(names), 118, break_on_hyphens=False)},\n"advisories": [\n{text}\n]\n}}\n'
    )


def main():
    prove()
    known = json.loads(LIST.read_text())
    readme = (HERE.parent / "README.md").read_text()
    problems, accepted = [], set()
    for name, has in locked():
        for advisory in known["advisories"]:
            if advisory["package"] != name or not touches(advisory, has):
                continue
            if advisory["id"] not in known["accepted"]:
                problems.append(f"{name} {has}: {advisory['id']} ({advisory['kind']}); fine: {advisory['fine']}")
                continue
            accepted.add(advisory["id"])
            if advisory["id"] not in readme or f"`{name}`" not in readme:
                problems.append(f"{name} {has}: {advisory['id']} is accepted, but README.md does not name it")
    for stale in set(known["accepted"]) - accepted:
        problems.append(f"{stale}: accepted, but no locked version is touched by it any more")
    uncovered = sorted({name for name, _ in locked()} - set(known["covered"]))
    age = (datetime.date.today() - datetime.date.fromisoformat(known["as_of"])).days
    for problem in problems:
        print(problem)
    if uncovered:
        print(f"not covered by the list: {', '.join(uncovered)}")
    print(
        f"advisories: list of {known['as_of']}, {age} days old; {len(known['covered'])} packages, "
        f"{len(known['advisories'])} advisories, {len(accepted)} accepted, {len(problems)} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--update"]:
        update(sys.argv[2])
    sys.exit(main())
