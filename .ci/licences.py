"""Checks the dependency tree: every licence on the list, one TLS stack, one crypto provider, the store's crate pinned.

Advisories are advisories.py's work.
"""

import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "Unicode-3.0", "Unlicense", "Zlib",
}
BANNED = {"openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "rsa"}


def acceptable(expression):
    """An SPDX expression with OR, AND and parentheses, decided over the allow-list."""
    text = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|AND|OR|[^\s()]+(?:\s+WITH\s+[^\s()]+)?", text)
    python = " ".join(
        {"AND": "and", "OR": "or", "(": "(", ")": ")"}.get(token, str(token in ALLOWED)) for token in tokens
    )
    return eval(python, {"__builtins__": {}})  # only True, False, and, or, parentheses are left


def main():
    metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version=1", "--locked"]))
    linked = subprocess.check_output(
        ["cargo", "tree", "--locked", "--edges=normal,build", "--prefix=none", "--target=all", "--format={p}"], text=True
    )
    linked = {line.split()[0] for line in linked.splitlines() if line.strip()}
    problems = []
    checked = 0
    for package in metadata["packages"]:
        if package["source"] is None:
            continue
        checked += 1
        licence = package["license"]
        if not licence or not acceptable(licence):
            problems.append(f"{package['name']} {package['version']}: licence {licence!r} is not on the list")
        if package["name"] in BANNED and package["name"] in linked:
            problems.append(f"{package['name']}: a second TLS stack or crypto provider")
        if package["name"] == "sled" and package["version"] != "0.34.7":
            problems.append(f"sled {package['version']}: only 0.34.7 is known to keep data")
        if package["source"] and not package["source"].startswith("registry+"):
            problems.append(f"{package['name']}: not from the registry")
    for problem in problems:
        print(problem)
    print(f"licences: {checked} packages checked, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
