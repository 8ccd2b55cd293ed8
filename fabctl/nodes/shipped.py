"""The node types that come with fabctl, and the names by which topology specs call them."""

from __future__ import annotations

from pathlib import Path

ALIASES = {"dgx-1": "dgx-1-v100"}
"""What topology specs call a machine where the inside comes in several kinds: DGX-1 of 2017 and later have V100."""


def node_folders() -> list[Path]:
    """Return where node types lie: in the package, or in the checkout."""
    package = Path(__file__).resolve().parent.parent
    return [package / "topologies" / "nodes", package.parent / "topologies" / "nodes"]


def node_names() -> tuple[str, ...]:
    """Return the names of the shipped node types, sorted."""
    return tuple(sorted({path.stem for folder in node_folders() for path in folder.glob("*.yaml")}))


def shipped_path(name: str) -> Path | None:
    """Return the file of a shipped node type by name or alias; None if there is none."""
    candidates = (folder / f"{ALIASES.get(name, name)}.yaml" for folder in node_folders())
    return next((path for path in candidates if path.exists()), None) if "/" not in name else None
