"""SHARP switched on and off: NVIDIA's files edited byte by byte, what is left out read back, what cannot be refused by name.

The formats are those of NVIDIA's manuals; no OpenSM and no aggregation manager of NVIDIA's runs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_fabrics import two_levels

from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.assessment import Status
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Plan, Risk
from fabctl.model.operation import State
from fabctl.offload.apply import apply
from fabctl.offload.driver import Manager, Observed
from fabctl.offload.drivers.files import FilesDriver
from fabctl.offload.features.sharp import FEATURE, trees
from fabctl.offload.journal import Journal
from fabctl.offload.planning import make_plan
from fabctl.offload.rollback import rollback
from fabctl.offload.sharp.files import excluded
from fabctl.offload.sharp.policy import exclusion, with_excluded
from fabctl.offload.sharp.settings import settings_of
from fabctl.offload.site import Site
from fabctl.offload.state import state_folder
from fabctl.sources.reading import load_fabric
from fabctl.traffic.job import parse_job
from fabctl.traffic.placement import place

GROUPS, DEVICES, CONF, AM_CFG = "sharp-port-groups.conf", "sharp-devices.conf", "opensm.conf", "sharp_am.cfg"


def fabric_of(switch: int = 0xD2F0, hca: int = 0x101B) -> Fabric:
    fabric = two_levels(8, 2, 2)
    device_id = np.where(np.arange(fabric.n_nodes) < fabric.n_switches, switch, hca).astype(np.uint32)
    return replace(fabric, device_id=device_id)


def site_of(folder: Path, fabric: Fabric | None = None, **captured: str) -> Site:
    return Site(fabric or fabric_of(), {"files": FilesDriver(folder)}, captured=captured)


def write(site: Site, plan: Plan) -> dict[str, str]:
    """Write a plan's values and return the files."""
    for change in plan.changes:
        site.drivers["files"].write(change.place, change.new)
    return texts(site)


def texts(site: Site) -> dict[str, str]:
    folder = Path(site.drivers["files"].options["folder"])
    return {path.name: path.read_bytes().decode("latin-1") for path in sorted(folder.iterdir())} if folder.exists() else {}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path / "state"))


# ---- which switches are left out -----------------------------------------------------------------------------------------

OPERATORS = """# port groups of the site
port-group
\tname: STORAGE        # gateways
\tuse: storage
\tport-name: gw-1/mlx5_0 P1
end-port-group

port-group
    name: NON_SHARP_SWITCHES
    port-guid: 0xa, 0xB,0x000000000000000c   # rack 7
    # rack 8
    port-guid: 0xd
end-port-group
# the end, without a line feed"""
SETTINGS = "port-conf\r\n  port-group-name: NON_SHARP_SWITCHES # ours\r\n  sharp-enabled: 0\r\nend-port-conf\r\n"


def test_what_is_left_out_is_read_as_the_manual_writes_it() -> None:
    assert exclusion(OPERATORS, SETTINGS).guids == {10, 11, 12, 13}
    assert exclusion(OPERATORS, "").guids == set()
    assert exclusion(OPERATORS, SETTINGS.replace(": 0", ": 1")).guids == set()


@pytest.mark.parametrize(
    ("guids", "old", "new"),
    [
        ({10, 11, 12, 13}, "", ""),
        ({11, 12, 13}, " 0xa, 0xB", " 0xB"),
        ({10, 12, 13}, "0xa, 0xB,", "0xa,"),
        ({10, 11, 13}, "0xB,0x000000000000000c", "0xB"),
        ({10, 11, 12}, "    port-guid: 0xd\n", ""),
        ({10, 11, 12, 13, 14}, "0xd\n", "0xd\n    port-guid: 0x000000000000000e\n"),
    ],
)
def test_edits_touch_single_guids_and_no_other_byte(guids: set[int], old: str, new: str) -> None:
    groups, devices = with_excluded(OPERATORS, SETTINGS, guids)
    assert groups == OPERATORS.replace(old, new, 1)
    assert devices == SETTINGS
    assert exclusion(groups, devices).guids == guids


def test_what_is_empty_is_taken_out_whole() -> None:
    assert with_excluded(OPERATORS, SETTINGS, ()) == (
        OPERATORS[: OPERATORS.index("port-group\n    name")] + "# the end, without a line feed",
        "",
    )


@given(
    st.sets(st.integers(1, 2**64 - 1), max_size=5),
    st.sets(st.integers(1, 2**64 - 1), max_size=5),
    st.sampled_from(["", "# a comment", OPERATORS.replace("NON_SHARP", "OTHER")]),
)
def test_any_set_is_read_back_and_taken_back(first: set[int], second: set[int], groups: str) -> None:
    before = with_excluded(groups, "", first)
    after = with_excluded(*before, second)
    assert exclusion(*after).guids == second
    assert exclusion(*with_excluded(*after, first)).guids == first
    assert "".join(with_excluded(*after, ())).rstrip("\n") == groups.rstrip("\n")


@pytest.mark.parametrize(
    ("groups", "devices", "error", "message"),
    [
        (
            OPERATORS,
            SETTINGS.replace("NON_SHARP_SWITCHES", "ALL_ANS"),
            RefusedError,
            "ALL_ANS, whose members are given in no file",
        ),
        (
            OPERATORS,
            SETTINGS.replace("NON_SHARP_SWITCHES", "STORAGE"),
            RefusedError,
            "STORAGE, whose members are given by port-name",
        ),
        (OPERATORS.replace("0xd", "rack9"), SETTINGS, InputError, "'rack9' is no port GUID"),
        (OPERATORS, SETTINGS.replace("end-port-conf", ""), InputError, "a port-conf has no end-port-conf"),
        (OPERATORS.replace("end-port-group\n#", "#"), SETTINGS, InputError, "a port-group has no end-port-group"),
    ],
)
def test_what_cannot_be_understood_is_not_edited(groups: str, devices: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        with_excluded(groups, devices, {1})


def test_a_group_that_sets_something_else_too_keeps_its_switches() -> None:
    more = SETTINGS.replace("sharp-enabled: 0", "sharp-enabled: 0\r\n  hbf-enabled: 1")
    with pytest.raises(RefusedError, match="sets hbf-enabled too"):
        with_excluded(OPERATORS, more, {10})
    assert exclusion(*with_excluded(OPERATORS, more, {10, 11, 12, 13, 14})).guids == {10, 11, 12, 13, 14}


# ---- plans ---------------------------------------------------------------------------------------------------------------


def test_on_everywhere_is_one_key(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    plan = make_plan(site, "sharp")
    assert write(site, plan) == {CONF: "sharp_enabled 2\n"}
    assert plan.risk is Risk.NONE
    assert make_plan(site, "sharp").stages == ()


def test_on_for_some_leaves_the_others_out_and_more_are_added_one_by_one(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    files = write(site, make_plan(site, "sharp", switches="leaf-[0-1],spine-[0-1]"))
    assert files[CONF] == (
        f"sharp_enabled 2\npgrp_policy_file /etc/opensm/{GROUPS}\ndevice_configuration_file /etc/opensm/{DEVICES}\n"
    )
    assert {site.fabric.labels[switch] for switch in excluded(site)} == {"leaf-2", "leaf-3"}
    write(site, make_plan(site, "sharp", switches="leaf-2"))
    assert {site.fabric.labels[switch] for switch in excluded(site)} == {"leaf-3"}
    rows = {row.target: row.status for row in FEATURE.assess(site)}
    assert (rows["fabric"], rows["leaf-2"], rows["leaf-3"]) == (Status.ON, Status.CAN, Status.OFF)
    write(site, make_plan(site, "sharp"))
    assert excluded(site) == set()


def test_off_for_some_and_every_byte_comes_back(tmp_path: Path) -> None:
    conf = "# ours\nsharp_enabled 2   # since May\nrouting_engine ar_updn\npgrp_policy_file /etc/opensm/groups.conf # all\nx\xe9"
    (tmp_path / CONF).write_bytes(conf.encode("latin-1"))
    (tmp_path / "groups.conf").write_text(OPERATORS)
    site = site_of(tmp_path)
    before = texts(site)
    plan = make_plan(site, "sharp", enable=False, switches="spine-0")
    files = write(site, plan)
    assert files[CONF] == conf.replace("x\xe9", f"device_configuration_file /etc/opensm/{DEVICES}\nx\xe9")
    assert files["groups.conf"].startswith(OPERATORS), "the operator's group of that name is not used by any setting"
    assert "name: NON_SHARP_SWITCHES_2\n    port-guid: 0x0000000000002000\n" in files["groups.conf"]
    for stage in plan.undo:
        for change in stage.changes:
            site.drivers["files"].write(change.place, change.new)
    assert texts(site) == before


@pytest.mark.parametrize("key", ["pgrp_policy_file", "device_configuration_file"])
def test_a_file_that_nobody_has_is_not_written_anew(tmp_path: Path, key: str) -> None:
    site = site_of(tmp_path, **{CONF: f"sharp_enabled 2\n{key} /opt/ufm/files/conf/opensm/there.conf\n"})
    with pytest.raises(
        RefusedError, match=rf"{key} is /opt/ufm/files/conf/opensm/there.conf, and fabctl does not have that file"
    ):
        make_plan(site, "sharp", enable=False, switches="leaf-0")
    assert texts(site) == {}
    (status,) = {row.status for row in FEATURE.assess(site) if row.target == "leaf-0"}
    assert status is Status.CAN
    (tmp_path / "there.conf").write_text("")
    assert "there.conf" in write(site, make_plan(site, "sharp", enable=False, switches="leaf-0"))


def test_off_everywhere_is_said_to_be_no_documented_value(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    plan = make_plan(site, "sharp", enable=False)
    assert write(site, plan) == {CONF: "sharp_enabled 1\n"}
    assert any("its manual documents 2 alone" in note for note in plan.notes)


def test_the_aggregation_managers_file_keeps_its_bytes_and_its_key(tmp_path: Path) -> None:
    cfg = "# factory\r\ndynamic_tree_allocation FALSE # why?\r\nam_key 0x1234abcd\r\nper_prio_default_quota 20\r\n"
    (tmp_path / AM_CFG).write_bytes(cfg.encode())
    site = site_of(tmp_path)
    plan = make_plan(site, "sharp", settings=["quota=10"])
    assert "1234abcd" not in repr(plan)
    assert write(site, plan)[AM_CFG] == cfg.replace("FALSE", "TRUE").replace("quota 20", "quota 10")
    with pytest.raises(RefusedError, match="holds a secret, am_key"):
        make_plan(site_of(tmp_path / "other", **{AM_CFG: cfg}), "sharp")


def test_trees_are_made_by_the_fabrics_structure(tmp_path: Path) -> None:
    from fabctl.generate.spec import parse

    ring = parse("family: torus\ndims: [4, 4]\nhosts_per_switch: 2\nspeed: HDR\n", "spec.yaml")[0]
    device_id = np.where(np.arange(ring.n_nodes) < ring.n_switches, 0xD2F0, 0x101B).astype(np.uint32)
    site = site_of(tmp_path, replace(ring, device_id=device_id))
    assert write(site, make_plan(site, "sharp"))[AM_CFG] == "dynamic_tree_algorithm 1\n"


def test_without_a_driver_nothing_is_planned_to_be_written() -> None:
    plan = make_plan(Site(fabric_of()), "sharp")
    assert plan.stages == ()
    assert any("NCCL_COLLNET_ENABLE=1" in note for note in plan.notes)


def test_applied_by_the_cycle_and_taken_back_to_the_byte_with_its_secret_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "rendered"
    folder.mkdir()
    (folder / CONF).write_bytes(b"# ours\r\nsm_key 0x1234abcd\r\nrouting_engine updn\r\n")
    (folder / AM_CFG).write_bytes(b"am_key 0x77aa\ndynamic_tree_allocation FALSE\n")
    site = site_of(folder)
    before = texts(site)
    plan = make_plan(site, "sharp", switches="leaf-0,spine-[0-1]")
    with Journal(state_folder()) as journal:
        done = apply(plan, site, journal)
        assert done.state is State.APPLIED
        assert texts(site)[CONF].startswith("# ours\r\nsm_key 0x1234abcd\r\nrouting_engine updn\r\n")
        assert texts(site)[AM_CFG] == "am_key 0x77aa\ndynamic_tree_allocation TRUE\n"
        assert len(excluded(site)) == 3
        assert apply(make_plan(site, "sharp"), site, journal).to_change > 0
        assert excluded(site) == set()
        rollback(2, site, journal, print)
        rollback(1, site, journal, print)
    assert texts(site) == before
    stored = b"".join(path.read_bytes() for path in state_folder().iterdir() if path.is_file())
    assert b"1234abcd" not in stored
    assert b"77aa" not in stored


# ---- refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("routing_engine minhop\n", "SHARP does not work with the routing engine minhop"),
        ("routing_engine ar_updn,dfsssp\n", "SHARP does not work with the routing engine dfsssp"),
        ("routing_engine dor\n", "dor_hyper_cube_mode is not TRUE"),
    ],
)
def test_routing_engines_without_sharp_are_refused(tmp_path: Path, conf: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        make_plan(site_of(tmp_path, **{CONF: conf}), "sharp")
    assert texts(site_of(tmp_path)) == {}


def test_the_subnet_managers_own_host_cannot_run_the_job(tmp_path: Path) -> None:
    fabric = replace(fabric_of(), sm_lid=0x402)
    job = place(parse_job("hosts: all\ncollective: all_reduce\n", "job.yaml"), fabric)
    with pytest.raises(RefusedError, match=r"runs on n0002 mlx5_0/P1, an HCA of the job"):
        make_plan(replace(site_of(tmp_path, fabric), jobs=(job,)), "sharp")


def test_switches_without_sharp_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no switch of this fabric has SHARP: Switch-IB has no SHARP"):
        make_plan(site_of(tmp_path, fabric_of(0xCB20)), "sharp")
    fabric = fabric_of()
    fabric.device_id[fabric.labels.index("leaf-1")] = 0xCB20
    with pytest.raises(RefusedError, match="leaf-1 cannot: Switch-IB has no SHARP"):
        make_plan(site_of(tmp_path, fabric), "sharp", switches="leaf-[0-1]")


@pytest.mark.parametrize(("settings", "message"), [(["quota=0"], "'0' is no quota"), (["radix=x"], "'x' is no radix")])
def test_values_are_checked(tmp_path: Path, settings: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(site_of(tmp_path), "sharp", settings=settings)
    with pytest.raises(UsageError, match="--disable takes no"):
        make_plan(site_of(tmp_path), "sharp", enable=False, settings=["quota=5"])


def test_a_managers_file_that_makes_no_sense_is_refused() -> None:
    shared = "dynamic_tree_allocation FALSE\n"
    assert settings_of({}, f"{shared}per_prio_default_quota 10,20,30\n").jobs_per_switch == 10
    assert settings_of({"sat-quota": "50"}, f"{shared}per_prio_default_quota 10\n").jobs_per_switch == 2
    assert settings_of({}, "per_prio_default_quota 10\n").jobs_per_switch == 0, "each job has trees of its own"
    with pytest.raises(InputError, match="per_prio_default_quota is 'ten'"):
        settings_of({}, "per_prio_default_quota ten\n")


@dataclass
class FakeManager:
    """The driver of an OpenSM that is not here."""

    flavour: str
    files: dict[str, str | None] = field(default_factory=dict)
    name: str = "opensm"
    options: Mapping[str, str] = field(default_factory=lambda: {"conf": "/etc/opensm"})

    def manager(self) -> Manager:
        return Manager(self.flavour, "3.3.23", "0x1", "its log says so")

    def read(self, place: Place) -> str | None:
        return self.files.get(place.key)

    def write(self, place: Place, value: str | None) -> None:
        self.files[place.key] = value

    def settle(self, risk: Risk) -> None:
        raise AssertionError("nothing is to be settled")

    def observe(self, place: Place) -> Observed:
        return Observed(None, "")


def test_upstream_opensm_is_refused_by_name_and_nothing_is_written() -> None:
    driver = FakeManager("upstream")
    with pytest.raises(RefusedError, match=r"SHARP needs NVIDIA's OpenSM, and this one is upstream 3\.3\.23 \(its log says so\)"):
        make_plan(Site(fabric_of(), {"opensm": driver}), "sharp")
    assert driver.files == {}
    assert FEATURE.assess(Site(fabric_of(), {"opensm": driver}))[0].status is Status.CANNOT


def test_nvidias_opensm_gets_keys_and_files_of_its_own() -> None:
    driver = FakeManager("nvidia", {"conf:routing_engine": "ar_updn"})
    site = Site(fabric_of(), {"opensm": driver})
    plan = make_plan(site, "sharp", switches="leaf-[0-2],spine-[0-1]")
    assert [(change.place.key, change.risk) for change in plan.changes] == [
        (f"file:{GROUPS}", Risk.RESTART),
        (f"file:{DEVICES}", Risk.RESTART),
        ("conf:sharp_enabled", Risk.RESTART),
        ("conf:pgrp_policy_file", Risk.RESTART),
        ("conf:device_configuration_file", Risk.RESTART),
    ]
    for change in plan.changes:
        driver.write(change.place, change.new)
    assert {site.fabric.labels[switch] for switch in excluded(site)} == {"leaf-3"}
    assert make_plan(site, "sharp", switches="leaf-[0-2],spine-[0-1]").stages == ()


def test_trees_keep_to_what_the_files_say(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    write(site, make_plan(site, "sharp", enable=False, switches="leaf-3"))
    jobs = tuple(place(parse_job(f"hosts: {hosts}\ncollective: all_reduce\n", "job.yaml"), site.fabric) for hosts in ("all", "4"))
    found = trees(replace(site, jobs=jobs), ["whole", "half"], {})
    assert [(job.name, job.refused.constraint if job.refused else "") for job in found.jobs] == [
        ("whole", "excluded"),
        ("half", ""),
    ]


def test_what_ibdiagnet_saw_is_what_is_on(fixtures: Path) -> None:
    selene = load_fabric(str(fixtures / "ibnetdiscover/selene-compute-2021.txt")).fabric
    node = int(np.flatnonzero(selene.is_aggregation)[7])
    (channel,) = range(selene.channel_ptr[node], selene.channel_ptr[node + 1])
    switch, guid = int(selene.channel_dst[channel]), int(selene.port_guid[selene.channel_port[channel]])
    dump = (
        "TreeID:0, Max Radix:2\n"
        f"(0), AN:Mellanox Technologies Aggregation Node, lid:48, port guid:0x{guid:x}, Child index:0, "
        "parent QPn:0x00000000, remote parent QPn:0x00000000, radix:2\n"
    )
    rows = {row.target: row for row in FEATURE.assess(Site(selene, captured={"ibdiagnet2.sharp": dump}))}
    on = [target for target, row in rows.items() if row.status is Status.ON]
    assert on == [selene.labels[switch]]
    assert rows[on[0]].source == "ibdiagnet2.sharp"
    assert {row.fact for row in rows.values() if row.status is Status.CAN} == {
        "Quantum: low-latency and streaming trees; its aggregation node is there; firmware unknown",
        "ConnectX-6 streams",
    }
