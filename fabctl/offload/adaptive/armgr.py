"""The old form of adaptive routing: the plugin ``armgr`` of MLNX_OFED 2.1 to 2.3, with a file of its own (``ar_mgr.conf``).

Keys, values and defaults: Mellanox OFED user manual, rev. 2.1 to 2.3, "Adaptive Routing". That lines end in ``;`` and how a block
of one switch looks is not on the pages that could be read: the first is general knowledge, the second is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from fabctl.errors import UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Plan, Risk
from fabctl.offload import nvidia
from fabctl.offload.adaptive import words
from fabctl.offload.adaptive.groups import PLUGIN, adaptive_plan
from fabctl.offload.adaptive.levels import N_SLS
from fabctl.offload.driver import Driver
from fabctl.offload.feature import Request, planned
from fabctl.offload.site import Site

CONFIG = "ar_mgr.conf"
NAME = "armgr"
LOG = "/var/log/armgr.log"
MODES = ("bounded", "free")
MAX_AGEING = 2**32 - 1
KEYS = {
    "algorithm": "with form=armgr: lag or tree [default: tree on trees, else lag]",
    "mode": "with form=armgr: bounded [default] or free",
    "ageing": "with form=armgr: microseconds [default: 30]",
}
NOTES = (
    "which switches can, armgr asks them: it leaves the others as they are",
    "the plugin is of MLNX_OFED 2.1 to 2.3; since UFM 6.4 adaptive routing is part of NVIDIA's OpenSM",
    f"if it cannot parse its file, armgr gives all options their defaults in silence: look into {LOG}",
    "while it is active, smpquery, dump_fts and fabctl read usual tables that nobody follows (smparquery reads those in force)",
    "that its lines end in ';' is general knowledge, not on the pages of the manual that could be read: compare with yours",
    "single switches (SWITCH blocks) are not planned: how such a block is written is not published",
)

_HEAD = """\
# Adaptive routing by the plugin armgr. Upper and lower case matter. Read again at every heavy sweep; a mistake in this file
# gives all options their defaults, in silence: look into LOG_FILE.
"""


def rendered(*, enable: bool, algorithm: str, mode: str = "bounded", ageing_us: str = "30") -> str:
    """Return an ``ar_mgr.conf``.

    Parameters
    ----------
    algorithm : str
        One of `PLUGIN`.
    mode : str
        One of `MODES`.
    ageing_us : str
        How long a burst must be over before ``bounded`` routing takes another port, microseconds.

    Raises
    ------
    UsageError
        For other values.
    """
    if algorithm not in PLUGIN:
        raise UsageError(f"armgr has no algorithm '{algorithm}'", hint=f"--set algorithm={'|'.join(PLUGIN)}")
    if mode not in MODES:
        raise UsageError(f"armgr has no mode '{mode}'", hint=f"--set mode={'|'.join(MODES)}")
    if not ageing_us.isdecimal() or int(ageing_us) > MAX_AGEING:
        raise UsageError(f"'{ageing_us}' is no ageing time in microseconds", hint="--set ageing=30")
    lines = {
        "ENABLE": str(enable).lower(),
        "AR_ALGORITHM": algorithm.upper(),
        "AR_MODE": mode,
        "AGEING_TIME": ageing_us,
        "MAX_ERRORS": "10",
        "ERROR_WINDOW": "5",
        "LOG_FILE": LOG,
        "LOG_SIZE": "5",
    }
    return _HEAD + "".join(f"{key}: {value};\n" for key, value in lines.items())


def algorithm_of(fabric: Fabric, values: Mapping[str, str]) -> str:
    """Return the algorithm that is asked for, by default the one that fits."""
    return values.get("algorithm", "tree" if fabric.tiers.max(initial=0) > 0 else "lag")


def plan(site: Site, request: Request, driver: Driver) -> Plan:
    """Return the plan of the plugin and its file; with ``--disable`` the file says so.

    Raises
    ------
    UsageError
        For values that do not exist.
    RefusedError
        If there is nothing to choose, or it could stop traffic.
    """
    values = request.values
    algorithm = algorithm_of(site.fabric, values)
    text = rendered(
        enable=request.enable, algorithm=algorithm, mode=values.get("mode", "bounded"), ageing_us=values.get("ageing", "30")
    )
    loaded = {key: nvidia.conf_value(site, key)[0] for key in ("event_plugin_name", "event_plugin_options")}
    if not request.enable and NAME not in (loaded["event_plugin_name"] or "").split():
        return planned(site, request, "adaptive-routing", (), (), ["the plugin armgr is not loaded: there is nothing to disable"])
    files = nvidia.file_change(driver, CONFIG, text, Risk.SWEEP, "what the plugin does")
    if not request.enable:
        return planned(site, request, "adaptive-routing", files, (), NOTES)
    what = adaptive_plan(site, algorithm, tuple(range(N_SLS)))
    meaning = [*words.group_notes(what), *words.safety_notes(what), *words.hca_notes(site.fabric, asked=True)]
    wanted: dict[str, str | None] = {**plugin_keys(loaded, f"{nvidia.conf_folder(driver, request)}/{CONFIG}")}
    if algorithm == "tree":
        wanted["routing_engine"] = "updn"
    changes = (*files, *nvidia.conf_changes(site, driver, wanted, "loads the plugin armgr"))
    notes = (*meaning, *NOTES, *nvidia.reach_notes(site, driver, wanted))
    return planned(site, request, "adaptive-routing", changes, (), notes)


def plugin_keys(current: Mapping[str, str | None], path: str) -> dict[str, str]:
    """Return the keys of ``opensm.conf`` that load the plugin beside those that it loads already.

    Parameters
    ----------
    current : mapping of str to (str or None)
        ``event_plugin_name`` and ``event_plugin_options`` as they are.
    path : str
        Where ``ar_mgr.conf`` lies.

    Examples
    --------
    >>> plugin_keys({"event_plugin_name": "ccmgr"}, "/etc/opensm/ar_mgr.conf")["event_plugin_name"]
    'ccmgr armgr'
    """
    added = {"event_plugin_name": NAME, "event_plugin_options": f"{NAME} --conf_file {path}"}
    found = {}
    for key, more in added.items():
        old = current.get(key) or ""
        found[key] = old if NAME in old.split() else f"{old} {more}".strip()
    return found
