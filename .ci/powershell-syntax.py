"""Checks the syntax of PowerShell scripts: prints each place that does not parse."""

import sys

import tree_sitter
import tree_sitter_powershell


def faults(node):
    if node.is_error or node.is_missing:
        yield node
    for child in node.children:
        yield from faults(child)


parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
wrong = 0
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        tree = parser.parse(file.read().removeprefix(b"\xef\xbb\xbf"))
    for node in faults(tree.root_node):
        line, column = node.start_point
        print(f"{path}:{line + 1}:{column + 1}: does not parse: {node.text[:60]!r}")
        wrong += 1
sys.exit(1 if wrong or len(sys.argv) < 2 else 0)
