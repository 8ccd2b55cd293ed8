"""The old names of `fabctl.routing.exports`."""

from fabctl.model.routes import Assessment
from fabctl.routing.exports.lfts import lft_dump
from fabctl.routing.exports.opensm import opensm
from fabctl.routing.options import DEFAULTS

__all__ = ["export_opensm", "lft_dump"]


def export_opensm(assessment: Assessment, folder: str) -> None:
    """Write the folder for OpenSM."""
    opensm(assessment, folder, DEFAULTS)
