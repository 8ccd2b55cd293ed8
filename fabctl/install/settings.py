"""What a running OpenSM was told: its ``opensm.conf``, and its command line, which overrides it.

OpenSM 3.3.23 reads ``opensm.conf`` when it starts. On a HUP it reads those files again that were named there, and heeds no new
names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fabctl.errors import InputError, RefusedError
from fabctl.routing.exports.opensm import LFTS, OPERATIONAL, POLICY

CONFIG = "opensm.conf"
DEFAULT_CONFIG = Path("/etc/opensm") / CONFIG
DEFAULT_LOG = "/var/log/opensm.log"

_FLAGS = {
    "-F": "config",
    "--config": "config",
    "-R": "routing_engine",
    "--routing_engine": "routing_engine",
    "-U": "lfts_file",
    "--lfts_file": "lfts_file",
    "-Y": "qos_policy_file",
    "--qos_policy_file": "qos_policy_file",
    "-f": "log_file",
    "--log_file": "log_file",
    "-P": "partition_config_file",
    "--Pconfig": "partition_config_file",
}
_SWITCHES = {"-Q": ("qos", "TRUE"), "--qos": ("qos", "TRUE")}
_LINE = re.compile(r"^\s*([a-z0-9_]+)\s+(\S.*?)\s*$")
_IDENTITY = ",".join(map(str, range(15)))
_SL2VL = ("qos_sl2vl", "qos_ca_sl2vl", "qos_rtr_sl2vl", "qos_swe_sl2vl")


@dataclass(frozen=True)
class Settings:
    """What OpenSM goes by.

    Parameters
    ----------
    values : mapping of str to str
        By the names of ``opensm.conf``; what is not set is missing.
    folder : Path
        To which relative paths belong.
    config : Path
        The ``opensm.conf`` that was read.
    told : collection of str
        Names that the command line sets, whatever ``opensm.conf`` says.
    """

    values: Mapping[str, str]
    folder: Path
    config: Path
    told: Collection[str] = ()

    def path(self, key: str) -> Path | None:
        """Return a file's path, links followed; None if it is not set."""
        return (self.folder / self.values[key]).resolve() if key in self.values else None

    @property
    def log(self) -> Path:
        """OpenSM's log."""
        return self.path("log_file") or Path(DEFAULT_LOG)

    def targets(self, *, policy: bool) -> dict[str, Path]:
        """Return the files that OpenSM reads, by their names in an export."""
        keys = {LFTS: "lfts_file", **({POLICY: "qos_policy_file"} if policy else {})}
        return {name: path for name, key in keys.items() if (path := self.path(key)) is not None}


def read_settings(arguments: Sequence[str], folder: Path, conf_dir: Path) -> Settings:
    """Return the settings of an OpenSM with this command line and current folder.

    Raises
    ------
    InputError
        If ``opensm.conf`` cannot be read.
    RefusedError
        If OpenSM reads another ``opensm.conf`` than that in `conf_dir`.
    """
    told = _told(arguments)
    config = (folder / told["config"]).resolve() if "config" in told else DEFAULT_CONFIG
    given = conf_dir / CONFIG
    if given.resolve() != config.resolve():
        raise RefusedError(
            f"this OpenSM reads {config}, not {given}", where=str(conf_dir), hint=f"--conf-dir {config.parent} names its settings"
        )
    try:
        text = config.read_text(errors="replace") if config.exists() else ""
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(config)) from error
    lines = [_LINE.match(line.partition("#")[0]) for line in text.splitlines()]
    values = {line[1]: line[2].strip('"') for line in lines if line}
    return Settings({key: value for key, value in {**values, **told}.items() if value != "(null)"}, folder, config, told.keys())


def _told(arguments: Sequence[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    words = iter(arguments[1:])
    for word in words:
        name, equals, value = word.partition("=")
        if word in _SWITCHES:
            told.update([_SWITCHES[word]])
        elif word in _FLAGS:
            told[_FLAGS[word]] = next(words, "")
        elif equals and name in _FLAGS:
            told[_FLAGS[name]] = value
        elif word[:2] in _FLAGS and len(word) > 2 and word[1] != "-":
            told[_FLAGS[word[:2]]] = word[2:]
    return told


def refuse_other_settings(settings: Settings, wanted: Sequence[str], n_vls: int) -> None:
    """Raise `RefusedError` with the lines that are missing, if OpenSM does not read an export's files or bends its SLs.

    Parameters
    ----------
    wanted : sequence of str
        Lines that `fabctl.routing.exports.opensm.settings` asks for.
    n_vls : int
        Virtual lanes that the routes use.
    """
    asked = dict(line.split(" ", 1) for line in wanted)
    missing = [f"{key} {value}" for key, value in asked.items() if not _holds(settings.values, key, n_vls)]
    missing += [f"{key} {asked['qos_sl2vl']}" for key in _SL2VL[1:] if "qos" in asked and not _holds(settings.values, key, n_vls)]
    if missing:
        raise RefusedError(
            "this OpenSM would not install these routes as they are: its settings lack\n  " + "\n  ".join(missing),
            where=str(settings.config),
            hint="add these lines and restart OpenSM: it takes them at its start only",
        )


def _holds(values: Mapping[str, str], key: str, n_vls: int) -> bool:
    value = values.get(key)
    if key == "routing_engine":
        return value is not None and value.split(",")[0].strip() == "file"
    if key in ("lfts_file", "qos_policy_file"):
        return value is not None
    if key == "qos":
        return value is not None and value.upper() == "TRUE"
    if key in _SL2VL:
        lanes = [lane.strip() for lane in (value or _IDENTITY).split(",")]
        return lanes[:n_vls] == _IDENTITY.split(",")[:n_vls]
    if key == "qos_max_vls":
        return value is None or not value.isdigit() or int(value) == 0 or int(value) >= n_vls
    if key == "max_op_vls":
        most = {str(code): lanes for lanes, code in OPERATIONAL.items()}
        return value is None or most.get(value, n_vls) >= n_vls
    return True
