"""NVIDIA's congestion control: its OpenSM sets it on the whole fabric, with algorithms of the HCAs by a policy file.

Facts: UFM user manual 6.17 to 6.22, "OpenSM Configuration" (``mlnx_congestion_control`` 1 off and 2 on, the policy file and its
example, ``ppcc_algo_dir``); MLNXSM release notes 5.15 (programmable congestion control). What else a policy file may hold is not
published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fabctl.errors import UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import FABRIC, Change, Plan
from fabctl.offload import nvidia
from fabctl.offload.feature import Request, planned
from fabctl.offload.features.settings import refuse_disabling
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM

FEATURE_NAME = "congestion-control"
POLICY = "congestion-control-policy.conf"
SWITCH, OFF, ON = "mlnx_congestion_control", "1", "2"
KEYS: Mapping[str, str] = {
    "algorithm": "NVIDIA's OpenSM: algorithm profile, a file of ppcc_algo_dir; several: FILE,FILE",
    "parameters": "NVIDIA's OpenSM: of the algorithm, by the names of its profile: BW_G=400,ALPHA=3932; of several: ...;...",
    "ppcc_algo_dir": "NVIDIA's OpenSM: folder of the algorithm profiles on the subnet manager's machine",
    "conf_dir": "with the driver files: folder of opensm.conf on the subnet manager's machine [default: /etc/opensm]",
}
_STATES = {
    "0": (Status.OFF, "leaves switches and HCAs as they are"),
    OFF: (Status.OFF, "is off"),
    ON: (Status.ON, "is on"),
}
_FILE = re.compile(r"[\w.-]+", re.ASCII)
_PARAMETER = re.compile(r"(\w+)=(-?\d+)", re.ASCII)


def wanted(site: Site, values: Mapping[str, str]) -> bool:
    """Return whether this is meant, and not congestion control of single switches by MADs.

    Raises
    ------
    UsageError
        If the driver is of the one, and a key of the other.
    """
    own = sorted(values.keys() & KEYS.keys())
    if "mad" not in site.drivers:
        return bool(own) or nvidia.FILES in site.drivers or nvidia.runs(site)
    if own:
        raise UsageError(f"--set {own[0]} is of NVIDIA's OpenSM, and --driver mad sets switches one by one", hint="leave one out")
    return False


def assess(site: Site) -> tuple[Assessed, ...]:
    """Return what NVIDIA's OpenSM is told; nothing where none is known."""
    value, source = nvidia.conf_value(site, SWITCH)
    if not source or value not in _STATES:
        return ()
    status, words = _STATES[value]
    return (Assessed(FEATURE_NAME, FABRIC, status, f"{SWITCH} {value}: NVIDIA's congestion control {words}", source),)


def plan(site: Site, request: Request) -> Plan:
    """Plan NVIDIA's congestion control on or off, and its policy file where an algorithm is named.

    Raises
    ------
    RefusedError
        If another OpenSM runs, or only some switches are meant.
    UsageError
        For values that are not NVIDIA's, or cannot be written.
    """
    driver = nvidia.conf_driver(site, "NVIDIA's congestion control")
    nvidia.refuse_some_switches(site, request, "congestion control", "--driver mad sets single switches")
    values = request.values
    if foreign := sorted(set(values) - set(KEYS)):
        raise UsageError(f"{foreign[0]} is set on switches and HCAs, not in NVIDIA's OpenSM", hint="--driver mad")
    keys: dict[str, str | None] = {SWITCH: ON if request.enable else OFF}
    changes: tuple[Change, ...] = ()
    if not request.enable:
        refuse_disabling(values, but=("conf_dir",))
    text = policy(values)
    if text:
        kept = nvidia.conf_value(site, "congestion_control_policy_file")[0]
        folder = nvidia.conf_folder(driver, request)
        keys["congestion_control_policy_file"] = kept if kept and driver.name in OPENSM else f"{folder}/{POLICY}"
        changes = nvidia.file_change(driver, POLICY, text, nvidia.key_risk(SWITCH), "the algorithms of HCAs")
    if "ppcc_algo_dir" in values:
        keys["ppcc_algo_dir"] = values["ppcc_algo_dir"]
    why = "NVIDIA's congestion control" if request.enable else "no congestion control"
    changes = (*changes, *nvidia.conf_changes(site, driver, keys, why))
    return planned(site, request, FEATURE_NAME, changes, (), [*_notes(site, request), *nvidia.reach_notes(site, driver, keys)])


def policy(values: Mapping[str, str]) -> str:
    """Return the policy file for ``algorithm`` and ``parameters``; empty if there is no algorithm.

    Raises
    ------
    UsageError
        For names and parameters that cannot be written.
    """
    names = values["algorithm"].split(",") if values.get("algorithm") else []
    given = values["parameters"].split(";") if values.get("parameters") else []
    if len(given) > len(names):
        raise UsageError("parameters belong to an algorithm", hint="--set algorithm=FILE --set parameters=BW_G=400,ALPHA=3932")
    lines = ["ca_algo_import_start"]
    for number, name in enumerate(names, start=1):
        if not _FILE.fullmatch(name):
            raise UsageError(f"'{name}' is no name of a file in ppcc_algo_dir")
        lines += ["    algo_start", f"        algo_id:{number}", f"        algo_file_name: {name}"]
        if number <= len(given) and given[number - 1]:
            lines.append(f"        parameters: {_parameters(given[number - 1])}")
        lines.append("    algo_end")
    return "\n".join([*lines, "ca_algo_import_end", ""]) if names else ""


def _parameters(text: str) -> str:
    found = [_PARAMETER.fullmatch(part) for part in text.split(",")]
    if not all(found):
        raise UsageError(f"'{text}' are no parameters", hint="--set parameters=BW_G=400,ALPHA=3932")
    return ",".join(f"({match[1]},{match[2]})" for match in found if match)


def _notes(site: Site, request: Request) -> Iterator[str]:
    if not request.enable:
        return
    if "algorithm" in request.values:
        yield "the algorithm profiles must lie in ppcc_algo_dir: fabctl does not see them, and their parameters are not checked"
    if site.fabric.is_aggregation.any():
        yield "SHARP: congestion control cannot be configured on the service levels that sharp_am uses (known issue 3371820)"
