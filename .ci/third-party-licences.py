"""Writes the licences of every crate that is part of the command; reads `cargo metadata`.

    cargo metadata --format-version 1 --filter-platform TARGET | python3 third-party-licences.py
"""

import collections
import json
import pathlib
import sys

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}


def linked(root):
    """The crates that are linked into the program: no build scripts, no tests."""
    found, waiting = set(), [root]
    while waiting:
        for dep in nodes[waiting.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dep["dep_kinds"])
            if normal and dep["pkg"] not in found:
                found.add(dep["pkg"])
                waiting.append(dep["pkg"])
    return sorted((packages[crate] for crate in found), key=lambda crate: crate["name"])


def texts(crate):
    folder = pathlib.Path(crate["manifest_path"]).parent
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.upper().startswith(("LICEN", "COPYING", "NOTICE", "UNLICENSE")):
            yield path.read_text(encoding="utf-8", errors="replace").strip()


crates = linked(metadata["resolve"]["root"])
print("labpack contains these crates. Where one offers a choice of licences, any may be taken.\n")
for crate in crates:
    print(f"  {crate['name']} {crate['version']}: {crate['license'] or 'see its text'}")
print("  the standard library of Rust: MIT OR Apache-2.0")
who = collections.defaultdict(list)
for crate in crates:
    for text in texts(crate):
        who[text].append(f"{crate['name']} {crate['version']}")
for text, names in who.items():
    print(f"\n{'=' * 80}\n{', '.join(names)}\n\n{text}")
