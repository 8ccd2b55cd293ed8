"""The house's rules that import-linter does not know: every part has a layer, stands alone, and is light where it must be."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((PROJECT / "fabctl").rglob("*.py"))
    if path.name != "__main__.py"
}
LONGEST_MODULE = 400

IMPORT_EACH_ALONE = """
import importlib, sys, traceback
for name in sys.argv[1:]:
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "fabctl"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception:
        print(name, traceback.format_exc(), sep=": ")
"""


def top_imports(path: Path) -> set[str]:
    """Return the top-level packages that importing a file imports."""

    def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in body:
            if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
                continue
            yield statement
            for field in ("body", "orelse", "handlers", "finalbody"):
                if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield from statements(getattr(statement, field, []))

    found = set()
    for statement in statements(ast.parse(path.read_text()).body):
        if isinstance(statement, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            found.add((statement.module or "").partition(".")[0])
    return found


def importers(package: str) -> set[str]:
    return {name for name, path in MODULES.items() if package in top_imports(path)}


def test_every_part_of_the_package_has_a_layer() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    placed = {name.strip() for layer in layers for name in layer.replace(":", "|").split("|")}
    parts = {".".join(name.split(".")[:2]) for name in MODULES if "." in name}
    assert placed == parts
    rows = "".join(line for line in (PROJECT / "docs/architecture.md").read_text().splitlines() if line.startswith("| `"))
    assert {part for part in parts if f"`{part.partition('.')[2]}" not in rows} == set()


def test_every_module_can_be_imported_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH_ALONE, *MODULES], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert done.stdout == ""


def test_networkx_rich_and_scipy_are_imported_when_asked_for() -> None:
    assert importers("networkx") <= {"fabctl.model.graph", "fabctl.report.exports.graphml"}
    assert importers("rich") == set()
    assert importers("scipy") == set()


def test_numba_is_imported_by_kernels_only() -> None:
    assert {name for name in importers("numba") if "kernel" not in name} == set()


def test_the_command_line_and_the_registries_do_not_import_numpy() -> None:
    light = {name for name, path in MODULES.items() if name.startswith("fabctl.cli") or path.name == "__init__.py"}
    assert light & (importers("numpy") | importers("yaml")) == set()


def test_only_main_ends_the_process() -> None:
    assert {name for name, path in MODULES.items() if "sys.exit(" in path.read_text()} == {"fabctl.cli.main"}


def test_modules_stay_short() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}, "split them by meaning"
