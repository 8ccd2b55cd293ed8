"""The models that a job file can name: ``models.yaml`` of the package, each with its source."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from fabctl.traffic.model_shape import ModelShape, parse_model
from fabctl.yamlspec import Node, load, suggestion

PATH = Path(__file__).with_name("models.yaml")


@cache
def _table() -> Node:
    return load(PATH.read_text(encoding="utf-8"), PATH.name)


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets, in the file's order."""
    return tuple(key.value for key, _ in _table().yaml_node.value)


@cache
def preset(name: str) -> ModelShape:
    """Return a preset of `preset_names`."""
    return replace(parse_model(_table().mapping(preset_names())[name], ModelShape()), name=name)


def read_model(node: Node) -> ModelShape:
    """Return the model of a job file: a preset's name, or a mapping that may begin with ``preset``.

    Raises
    ------
    InputError
        With the nearest name for an unknown preset, and as `parse_model` does.
    """
    if not node.is_mapping:
        return replace(_named(node), where=node.where)
    named = node.find("preset")
    base = _named(named) if named else ModelShape(name="of its own")
    return parse_model(node, base)


def _named(node: Node) -> ModelShape:
    name = node.text()
    if name not in preset_names():
        raise node.error(f"unknown model '{name}'", hint=suggestion(name, preset_names()))
    return preset(name)
