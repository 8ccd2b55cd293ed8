"""What ibdmchk needs to judge routes without a subnet manager: the fabric, its tables, and the SL of each path."""

from __future__ import annotations

from fabctl.model.routes import Assessment
from fabctl.routing.exports.bundle import refuse_unsafe, write_bundle
from fabctl.routing.options import Options


def ibdm(assessment: Assessment, folder: str, _options: Options) -> None:
    """Write the folder.

    Raises
    ------
    RefusedError
        If the tables are not safe.
    InputError
        If the folder cannot be made or written.
    """
    refuse_unsafe(assessment, folder)
    write_bundle(folder, "ibdm", assessment, {})
