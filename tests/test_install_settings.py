"""What a running OpenSM goes by: its settings file, what its command line overrides, and which settings would bend SLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabctl.errors import ExitCode, RefusedError
from fabctl.install.settings import Settings, read_settings, refuse_other_settings
from fabctl.routing.exports.opensm import LFTS, POLICY

FILE = ["routing_engine file,no_fallback", "lfts_file /etc/opensm/opensm-lfts.dump"]
LANES = [
    *FILE,
    "qos TRUE",
    "qos_policy_file /etc/opensm/qos-policy.conf",
    "qos_max_vls 3",
    "max_op_vls 3",
    "qos_sl2vl 0,1,2,0,1,2,0,1,2,0,1,2,0,1,2,0",
]


def settings(tmp_path: Path, config: str, *arguments: str) -> Settings:
    (tmp_path / "opensm.conf").write_text(config)
    return read_settings(["opensm", "-F", str(tmp_path / "opensm.conf"), *arguments], tmp_path, tmp_path)


def test_the_last_line_and_the_command_line_count(tmp_path: Path) -> None:
    config = '# lfts_file no\nlfts_file first\n  lfts_file\t"second"  # said later\nqos_policy_file (null)\nlog_file x.log\n'
    assert settings(tmp_path, config).targets(policy=True) == {LFTS: tmp_path / "second"}
    for told in (["-U", "third"], ["-Uthird"], ["--lfts_file", "third"], ["--lfts_file=third"]):
        found = settings(tmp_path, config, *told, "-Q", "-Y", "/policy", "-D", "0x43")
        assert found.targets(policy=True) == {LFTS: tmp_path / "third", POLICY: Path("/policy")}
        assert found.values["qos"] == "TRUE"
    assert settings(tmp_path, config).log == tmp_path / "x.log"
    assert settings(tmp_path, "").log == Path("/var/log/opensm.log")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to("real")
    assert settings(tmp_path, "lfts_file link\n").targets(policy=False) == {LFTS: tmp_path / "real"}


@pytest.mark.parametrize(
    ("lines", "n_vls", "missing"),
    [
        (FILE, 1, []),
        (["routing_engine file", FILE[1]], 1, []),
        (["routing_engine minhop,file", FILE[1]], 1, [FILE[0]]),
        ([FILE[1]], 1, [FILE[0]]),
        (LANES, 3, []),
        ([*FILE, "qos true", LANES[3]], 3, []),
        ([*LANES[:2], *LANES[3:]], 3, ["qos TRUE"]),
        ([*LANES, "qos FALSE"], 3, ["qos TRUE"]),
        ([*LANES, "qos_max_vls 2"], 3, ["qos_max_vls 3"]),
        ([*LANES, "qos_max_vls 0"], 3, []),
        ([*LANES, "max_op_vls 2"], 3, ["max_op_vls 3"]),
        ([*LANES, "max_op_vls 5"], 3, []),
        ([*LANES, "qos_sl2vl 0,1,1,3"], 3, ["qos_sl2vl 0,1,2,0,1,2,0,1,2,0,1,2,0,1,2,0"]),
        ([*LANES, "qos_sl2vl 0, 1, 2, 2"], 3, []),
        ([*LANES, "qos_swe_sl2vl 0,0,0"], 3, ["qos_swe_sl2vl 0,1,2,0,1,2,0,1,2,0,1,2,0,1,2,0"]),
        ([*FILE, "qos_swe_sl2vl 0,0,0"], 1, []),
    ],
)
def test_settings_that_would_install_other_routes_are_listed(
    lines: list[str], n_vls: int, missing: list[str], tmp_path: Path
) -> None:
    found = settings(tmp_path, "\n".join(lines))
    wanted = LANES if n_vls > 1 else FILE
    if not missing:
        refuse_other_settings(found, wanted, n_vls)
        return
    with pytest.raises(RefusedError) as caught:
        refuse_other_settings(found, wanted, n_vls)
    assert caught.value.message.splitlines()[1:] == [f"  {line}" for line in missing]
    assert caught.value.exit_code == ExitCode.REFUSED
