"""What NVIDIA's OpenSM alone has: rendered to golden files, edited byte by byte, refused where it would break something.

The formats are those of NVIDIA's public documents; no OpenSM of NVIDIA's runs here. ``python tests/offload/test_nvidia_features.py``
writes the golden files again; read them then.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path

import pytest

from fabctl.errors import FabctlError, RefusedError, UsageError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Plan, Risk
from fabctl.offload.driver import Manager, Observed
from fabctl.offload.drivers.files import FilesDriver
from fabctl.offload.drivers.opensm_conf import value_of, with_value
from fabctl.offload.planning import make_plan
from fabctl.offload.site import Site

GOLDEN = Path(__file__).parent / "golden_nvidia"
CONF = "opensm.conf"
TREE = "family: leaf-spine\nhosts_per_leaf: 2\nleaves: 4\nspines: 2\nspeed: NDR\nswitch: QM9700\n"
CASES: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "adaptive-routing": ("adaptive-routing", True, ("sls=0,2-3", "roots=spine-[01-02]", "ar_tree_asymmetric_flow=1")),
    "adaptive-routing-off": ("adaptive-routing", False, ("engine=minhop",)),
    "armgr": ("adaptive-routing", True, ("form=armgr", "mode=free", "ageing=40")),
    "shield": ("shield", True, ("pfrn=off", "fast_recovery=on")),
    "shield-default": ("shield", True, ("pfrn_sl=1", "pfrn_mask_clear_timeout=60")),
    "hbf": ("hbf", True, ("sls=4-7", "hbf_hash_type=0")),
    "congestion-control": ("congestion-control", True, ("algorithm=zero.bin,rtt.bin", "parameters=;BW_G=400,ALPHA=3932")),
    "congestion-control-off": ("congestion-control", False, ()),
}


def tree() -> Fabric:
    return parse(TREE, "spec.yaml")[0]


def rendered(folder: Path, feature: str, enable: bool, settings: tuple[str, ...]) -> tuple[Plan, dict[str, str]]:
    """Return a plan on a captured ``opensm.conf`` and the files that it makes."""
    driver = FilesDriver(folder)
    captured = {CONF: (GOLDEN / CONF).read_text()}
    if feature == "shield" and "pfrn=off" not in settings:
        captured[CONF] = with_value(captured[CONF], "routing_engine", "ar_updn")
    site = Site(tree(), {"files": driver}, captured=captured)
    plan = make_plan(site, feature, enable=enable, settings=settings)
    for change in plan.changes:
        driver.write(change.place, change.new)
    files = {path.name: path.read_text() for path in sorted(folder.iterdir())}
    edited = files.get(CONF, captured[CONF]).splitlines(keepends=True)
    before = (GOLDEN / CONF).read_text().splitlines(keepends=True)
    text = "".join(unified_diff(before, edited, CONF, CONF, n=0))
    return plan, {**files, "opensm.conf.diff": text, CONF: ""}


def golden(name: str) -> Mapping[str, str]:
    return {path.name: path.read_text() for path in sorted((GOLDEN / name).iterdir())}


@pytest.mark.parametrize("name", CASES)
def test_files_are_the_golden_ones(name: str, tmp_path: Path) -> None:
    plan, files = rendered(tmp_path, *CASES[name])
    assert {key: text for key, text in files.items() if text} == golden(name)
    assert plan.risk is Risk.NONE
    assert any(note.startswith("rendered, not in force") for note in plan.notes)


@pytest.mark.parametrize("name", CASES)
def test_undone_every_byte_is_back_and_a_second_plan_is_empty(name: str, tmp_path: Path) -> None:
    shutil.copy(GOLDEN / CONF, tmp_path / CONF)
    feature, enable, settings = CASES[name]
    driver = FilesDriver(tmp_path)
    site = Site(tree(), {"files": driver})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    plan = make_plan(site, feature, enable=enable, settings=settings)
    assert plan.changes
    for change in plan.changes:
        driver.write(change.place, change.new)
    assert make_plan(site, feature, enable=enable, settings=settings).stages == ()
    for stage in plan.undo:
        for change in stage.changes:
            driver.write(change.place, change.new)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@dataclass
class FakeManager:
    """The driver of an OpenSM that is not here: what `manager` says, and keys."""

    flavour: str
    version: str
    keys: dict[str, str] = field(default_factory=dict)
    name: str = "opensm"
    options: Mapping[str, str] = field(default_factory=lambda: {"conf": "/etc/opensm"})
    written: list[Place] = field(default_factory=list)

    def manager(self) -> Manager:
        return Manager(self.flavour, self.version, "0x1", "its log says so")

    def read(self, place: Place) -> str | None:
        return self.keys.get(place.key.partition(":")[2])

    def write(self, place: Place, value: str | None) -> None:
        self.written.append(place)

    def settle(self, risk: Risk) -> None:
        raise AssertionError("nothing is to be settled")

    def observe(self, place: Place) -> Observed:
        return Observed(None, "")


@pytest.mark.parametrize("feature", ["adaptive-routing", "shield", "hbf"])
@pytest.mark.parametrize("flavour", ["upstream", "unknown"])
def test_another_opensm_is_refused_by_name_and_nothing_is_written(feature: str, flavour: str) -> None:
    driver = FakeManager(flavour, "3.3.23")
    site = Site(tree(), {"opensm": driver})
    with pytest.raises(RefusedError) as error:
        make_plan(site, feature)
    assert f"{flavour} 3.3.23 (its log says so)" in error.value.message
    assert driver.written == []
    assert next(iter(feature_rows(site, feature).values())) == ("cannot" if flavour == "upstream" else "unknown")


def feature_rows(site: Site, name: str) -> dict[str, str]:
    from fabctl.offload import FEATURES

    return {row.target: str(row.status) for row in FEATURES.load(name).assess(site)}


def test_nvidias_policy_given_to_upstream_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"upstream 3\.3\.23"):
        make_plan(Site(tree(), {"opensm": FakeManager("upstream", "3.3.23")}), "congestion-control", settings=["algorithm=a.bin"])


def test_risks_are_by_key_and_the_engine_is_read_back() -> None:
    site = Site(tree(), {"opensm": FakeManager("nvidia", "5.21.12.MLNX20250617", {"root_guid_file": "/roots"})})
    plan = make_plan(site, "adaptive-routing", settings=["sls=1"])
    assert {change.place.key: (change.new, change.risk) for change in plan.changes} == {
        "conf:routing_engine": ("ar_updn", Risk.SWEEP),
        "conf:ar_sl_mask": ("0x0002", Risk.RESTART),
    }
    (check,) = plan.stages[0].checks
    assert (check.place.key, check.value) == ("routing-engine", "ar_updn")
    assert "the roots are those of /roots" in plan.notes


def test_settings_that_hold_already_are_no_change() -> None:
    keys = {"routing_engine": "ar_updn", "root_guid_file": "/roots", "shield_mode": "2", "hbf_sl_mask": "0x000f"}
    site = Site(tree(), {"opensm": FakeManager("nvidia", "5.21.12", keys)})
    assert make_plan(site, "adaptive-routing").stages == ()
    assert make_plan(site, "shield", settings=["pfrn=off"]).stages == ()
    assert make_plan(site, "hbf", settings=["sls=0-3"]).stages == ()


def test_shield_by_default_is_what_nvidia_has_by_default() -> None:
    site = Site(tree(), {"opensm": FakeManager("nvidia", "5.21.12", {"routing_engine": "ar_updn", "shield_mode": "0"})})
    (change,) = make_plan(site, "shield").changes
    assert (change.place.key, change.old, change.new, change.risk) == ("conf:shield_mode", "0", None, Risk.RESTART)


@pytest.mark.parametrize(
    ("switch", "engine", "obstacle"),
    [
        ("SB7800", "ar_updn", "all switches must have it, and 6 of 6 are not known to"),
        ("Q3400", "ar_updn", "are not known to"),
        ("QM9700", "updn", "routing_engine is updn"),
    ],
)
def test_pfrn_only_if_all_switches_and_the_routes_have_it(switch: str, engine: str, obstacle: str) -> None:
    fabric = parse(TREE.replace("QM9700", switch).replace("speed: NDR\n", ""), "spec.yaml")[0]
    site = Site(fabric, {"opensm": FakeManager("nvidia", "5.21.12", {"routing_engine": engine})})
    with pytest.raises(RefusedError, match=obstacle):
        make_plan(site, "shield", settings=["pfrn=on"])
    plan = make_plan(site, "shield")
    assert [change.new for change in plan.changes] == ["2"]
    assert obstacle in plan.notes[0]


@pytest.mark.parametrize(("feature", "settings"), [("hbf", ()), ("shield", ("pfrn=on",))])
def test_what_an_older_opensm_lacks_is_refused(feature: str, settings: tuple[str, ...]) -> None:
    site = Site(tree(), {"opensm": FakeManager("nvidia", "5.10.0.MLNX2021", {"routing_engine": "ar_updn"})})
    with pytest.raises(RefusedError, match=r"needs NVIDIA's OpenSM 5.11, and this is 5.10.0.MLNX2021"):
        make_plan(site, feature, settings=settings)


def site_of(spec: str) -> Site:
    return Site(parse(spec, "spec.yaml")[0], {"files": FilesDriver(Path("/nonexistent"))})


def test_hcas_that_need_packets_in_order_are_refused_unless_levels_are_chosen() -> None:
    site = site_of("family: rail-optimised\nnode_type: dgx-1\nunits: 2\nnodes_per_unit: 4\n")
    with pytest.raises(RefusedError, match="32 ConnectX-4"):
        make_plan(site, "adaptive-routing")
    plan = make_plan(site, "adaptive-routing", settings=["sls=1"])
    assert "32 ConnectX-4 do not take packets in any order: they must not use these service levels" in plan.notes


def test_switches_that_cannot_are_refused() -> None:
    site = site_of("family: leaf-spine\nhosts_per_leaf: 2\nleaves: 4\nspines: 2\nswitch: SX6036\n")
    with pytest.raises(RefusedError, match="none of these switches routes adaptively"):
        make_plan(site, "adaptive-routing")


def test_xdr_takes_ar_updn_alone_and_gets_a_file_of_roots() -> None:
    site = site_of("family: leaf-spine\nhosts_per_leaf: 2\nleaves: 4\nspines: 2\nswitch: Q3400\n")
    with pytest.raises(RefusedError, match="XDR fabrics are routed by ar_updn alone, not by ar_ftree"):
        make_plan(site, "adaptive-routing", settings=["engine=ar_ftree"])
    plan = make_plan(site, "adaptive-routing")
    assert [change.place.key for change in plan.changes] == ["file:root-guids.txt", "file:opensm.conf"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("adaptive-routing", "engine=minhop"), UsageError),
        (("adaptive-routing", "sls=16"), UsageError),
        (("adaptive-routing", "sls=a"), UsageError),
        (("adaptive-routing", "sls="), UsageError),
        (("adaptive-routing", "form=new"), UsageError),
        (("adaptive-routing", "mode=free"), UsageError),
        (("adaptive-routing", "form=armgr", "engine=ar_updn"), UsageError),
        (("adaptive-routing", "form=armgr", "mode=both"), UsageError),
        (("adaptive-routing", "form=armgr", "ageing=-1"), UsageError),
        (("adaptive-routing", "form=armgr", "algorithm=torus"), UsageError),
        (("adaptive-routing", "ar_tree_asymmetric_flow=2"), UsageError),
        (("adaptive-routing", "ar_mode=on"), UsageError),
        (("adaptive-routing", "roots=nobody"), FabctlError),
        (("shield", "pfrn=maybe"), UsageError),
        (("shield", "pfrn=on", "shield_mode=1"), UsageError),
        (("shield", "pfrn_sl=16"), UsageError),
        (("shield", "fast_recovery=2"), UsageError),
        (("hbf", "sls=0-16"), UsageError),
        (("hbf", "hbf_hash_type=crc"), UsageError),
        (("congestion-control", "algorithm=../../etc/passwd"), UsageError),
        (("congestion-control", "algorithm=a b"), UsageError),
        (("congestion-control", "parameters=BW_G=400"), UsageError),
        (("congestion-control", "algorithm=a", "parameters=BW_G=4x"), UsageError),
        (("congestion-control", "threshold=3", "algorithm=a"), UsageError),
    ],
)
def test_values_that_do_not_exist(words: tuple[str, ...], error: type[FabctlError]) -> None:
    with pytest.raises(error):
        make_plan(site_of(TREE), words[0], settings=words[1:])


@pytest.mark.parametrize("feature", ["adaptive-routing", "shield", "hbf"])
def test_single_switches_are_refused(feature: str) -> None:
    with pytest.raises(RefusedError, match="on all switches or on none"):
        make_plan(site_of(TREE), feature, switches="leaf-01")


@pytest.mark.parametrize(("feature", "setting"), [("shield", "pfrn=on"), ("hbf", "sls=1"), ("adaptive-routing", "sls=1")])
def test_switching_off_takes_no_settings(feature: str, setting: str) -> None:
    with pytest.raises(UsageError):
        make_plan(site_of(TREE), feature, enable=False, settings=[setting])


def test_a_captured_secret_is_not_copied(tmp_path: Path) -> None:
    conf = (GOLDEN / CONF).read_text() + "\nm_key 0x123456789\n"
    site = Site(tree(), {"files": FilesDriver(tmp_path)}, captured={CONF: conf})
    with pytest.raises(RefusedError, match="holds a secret, m_key"):
        make_plan(site, "hbf")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / CONF).write_text(conf)
    (change,) = make_plan(site, "hbf").changes
    assert "0x123456789" not in (change.old or "") + (change.new or "")
    site.drivers["files"].write(change.place, change.new)
    assert value_of((tmp_path / CONF).read_text(), "m_key") == "0x123456789"


def test_the_plugin_groups_parallel_cables_only_where_there_are_some() -> None:
    torus = "family: torus\ndims: [5, 5]\nhosts_per_switch: 2\nspeed: EDR\n"
    with pytest.raises(RefusedError, match=r"nothing to choose: no group \(LAG\)"):
        make_plan(site_of(torus), "adaptive-routing", settings=["form=armgr"])
    plan = make_plan(site_of(torus + "cables: 2\n"), "adaptive-routing", settings=["form=armgr"])
    assert "AR_ALGORITHM: LAG;\n" in (plan.changes[0].new or "")
    assert any("can wait in a circle" in note for note in plan.notes)


def test_the_plugin_is_switched_off_in_its_file_and_only_where_it_is_loaded(tmp_path: Path) -> None:
    site = Site(tree(), {"files": FilesDriver(tmp_path)}, captured={CONF: "event_plugin_name ccmgr armgr\n"})
    (change,) = make_plan(site, "adaptive-routing", enable=False, settings=["form=armgr"]).changes
    assert (change.place.key, "ENABLE: false;\n" in (change.new or "")) == ("file:ar_mgr.conf", True)
    assert make_plan(Site(tree(), site.drivers), "adaptive-routing", enable=False, settings=["form=armgr"]).stages == ()


def test_engines_behind_the_first_stay(tmp_path: Path) -> None:
    site = Site(tree(), {"files": FilesDriver(tmp_path)}, captured={CONF: "routing_engine ar_updn,updn\nroot_guid_file /roots\n"})
    (change,) = make_plan(site, "adaptive-routing", settings=["sls=1"]).changes
    assert change.new == "routing_engine ar_updn,updn\nroot_guid_file /roots\nar_sl_mask 0x0002\n"


def test_edits_of_a_captured_file_are_told(tmp_path: Path) -> None:
    site = Site(tree(), {"files": FilesDriver(tmp_path)}, captured={CONF: (GOLDEN / CONF).read_text()})
    assert "the captured opensm.conf, edited: hbf_sl_mask 0x0000 -> 0x0003" in make_plan(site, "hbf", settings=["sls=0-1"]).notes


def test_upstreams_configuration_is_pointed_out(tmp_path: Path) -> None:
    site = Site(tree(), {"files": FilesDriver(tmp_path)}, captured={CONF: "routing_engine minhop\nqos TRUE\n"})
    assert any("sets no option of NVIDIA's OpenSM" in note for note in make_plan(site, "hbf").notes)


@pytest.mark.parametrize(
    ("conf", "feature", "status"),
    [
        ("routing_engine ar_updn\n", "adaptive-routing", "on"),
        ("routing_engine updn\n", "adaptive-routing", "off"),
        ("routing_engine dfp2,updn\n", "adaptive-routing", "on"),
        ("routing_engine kdor\n", "adaptive-routing", "unknown"),
        ("ar_mode 1\n", "adaptive-routing", "unknown"),
        ("shield_mode 0\n", "shield", "off"),
        ("shield_mode 2\n", "shield", "on"),
        ("qos TRUE\n", "shield", "unknown"),
        ("hbf_sl_mask 0xffff\n", "hbf", "on"),
        ("hbf_sl_mask 0\n", "hbf", "off"),
        ("hbf_sl_mask some\n", "hbf", "unknown"),
        ("qos TRUE\n", "hbf", "unknown"),
        ("mlnx_congestion_control 2\n", "congestion-control", "on"),
        ("mlnx_congestion_control 1\n", "congestion-control", "off"),
    ],
)
def test_what_a_captured_configuration_says(conf: str, feature: str, status: str) -> None:
    assert feature_rows(Site(tree(), captured={CONF: conf}), feature)["fabric"] == status


def test_switches_and_hcas_are_assessed_by_the_catalogue() -> None:
    site = Site(parse("family: rail-optimised\nnode_type: dgx-1\nunits: 2\nnodes_per_unit: 4\n", "spec.yaml")[0])
    rows = feature_rows(site, "adaptive-routing")
    assert rows.pop("fabric") == "unknown"
    fabric = site.fabric
    assert {rows[label] for label in fabric.labels[: fabric.n_switches]} == {"can"}
    assert {rows[label] for label in fabric.labels[fabric.n_switches :]} == {"cannot"}


if __name__ == "__main__":
    import tempfile

    for case, words in CASES.items():
        with tempfile.TemporaryDirectory() as temporary:
            shutil.rmtree(GOLDEN / case, ignore_errors=True)
            (GOLDEN / case).mkdir()
            for file_name, content in rendered(Path(temporary), *words)[1].items():
                if content:
                    (GOLDEN / case / file_name).write_text(content)
    sys.stdout.write("written\n")
