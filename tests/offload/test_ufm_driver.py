"""UFM's places read, written, settled and taken back through the cycle; against the UFM of `emulator`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from emulator.ufm_server import DEFAULT, PASSWORD, TOKEN, UfmServer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_fabrics import HCA, LEAF, two_levels

from fabctl.errors import FabctlError, InputError, RefusedError, SourceError, UnverifiedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Change, Check, Place, Plan, Risk, Stage
from fabctl.model.operation import State
from fabctl.offload import DRIVERS
from fabctl.offload.apply import apply
from fabctl.offload.basis import basis_of
from fabctl.offload.drivers import ufm_client
from fabctl.offload.drivers.ufm import UfmDriver
from fabctl.offload.drivers.ufm_values import Partition, Reservation, setting_text, setting_value
from fabctl.offload.history import operations
from fabctl.offload.journal import Journal
from fabctl.offload.reach import reached
from fabctl.offload.recover import recover
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored

FABRIC = two_levels(4, 2, 2)
PORTS = [HCA + 256 * host for host in range(4)]


@pytest.fixture
def server(ufm: Callable[[Fabric], UfmServer], monkeypatch: pytest.MonkeyPatch) -> UfmServer:
    monkeypatch.setattr(ufm_client, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(ufm_client, "_POLL_S", 0.0)
    return ufm(FABRIC)


@pytest.fixture
def driver(server: UfmServer) -> UfmDriver:
    return UfmDriver.make(server.options, FABRIC)


def fabric(key: str) -> Place:
    return Place("ufm", "fabric", key)


PKEY = fabric("pkey.0x8012")
PORT = Place("ufm", f"{LEAF:#018x}/P3", "port-health")
MEMBERS = Partition({PORTS[0]: True, PORTS[1]: False}).text


# ---- made ---------------------------------------------------------------------------------------------------------


def test_it_is_made_again_from_its_options_which_hold_no_secret(server, driver, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = UfmDriver.make({**server.options, "auth": server.token.name}, FABRIC)
    assert made.options == {**server.options, "auth": str(server.token)}
    again = UfmDriver.make(made.options, FABRIC)
    assert again.read(fabric("smconf.sm_priority")) == "15"
    assert DRIVERS.load("ufm") is UfmDriver
    assert not any(secret in json.dumps(dict(made.options)) for secret in (PASSWORD, TOKEN))


@pytest.mark.parametrize(
    "options", [{}, {"url": "https://ufm"}, {"auth": "x"}, {"url": "https://ufm", "auth": "x", "password": "y"}]
)
def test_options_it_does_not_know_or_misses_are_refused(options):
    with pytest.raises(UsageError, match="url and auth must be there"):
        UfmDriver.make(options, FABRIC)


def test_a_wrong_password_shows_at_once(server):
    server.auth.write_text("operator:wrong\n")
    with pytest.raises(RefusedError, match="does not know who is asking"):
        UfmDriver.make(server.options, FABRIC)


def test_a_ufm_of_another_fabric_is_refused(server):
    other = two_levels(2, 2, 1)
    object.__setattr__(other, "node_guid", other.node_guid + np.uint64(1 << 40))
    with pytest.raises(RefusedError, match="manages another fabric: none of its 4 switches is in this one"):
        UfmDriver.make(server.options, other)
    object.__setattr__(other, "system_guid", other.node_guid - np.uint64(1 << 40))
    UfmDriver.make(server.options, other)


def test_its_subnet_manager_is_nvidias(driver):
    found = driver.manager()
    assert (found.flavour, found.version) == ("nvidia", "5.24.0.MLNX20250904.5f3ee65 (UFM 6.22.1-6)")
    assert "GET app/ufm_version" in found.evidence


def test_a_version_page_of_another_shape_is_no_crash(server):
    server.fault("scalar")
    assert UfmDriver.make(server.options, FABRIC).manager().version == "of UFM "


# ---- values -------------------------------------------------------------------------------------------------------

guids = st.integers(1, 2**64 - 1)


@given(st.dictionaries(guids, st.booleans(), max_size=9), st.booleans(), st.sampled_from([True, False, None]))
def test_a_partition_is_what_its_text_says(members, ipoib, index0):
    partition = Partition(members, ipoib, index0)
    assert Partition.parse(partition.text) == partition


@given(st.lists(guids, min_size=1, unique=True), st.integers(1, 0x7FFF))
def test_a_reservation_is_what_its_text_says(ports, pkey):
    reservation = Reservation(tuple(sorted(ports)), pkey)
    assert Reservation.parse(reservation.text) == reservation


@given(st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False) | st.lists(st.integers()))
def test_a_setting_keeps_its_kind(value):
    again = setting_value(setting_text(value), value)
    assert again == value
    assert type(again) is type(value)


@given(st.text())
def test_what_is_no_value_is_an_input_error(text):
    for parse in (Partition.parse, Reservation.parse):
        with pytest.raises(InputError):
            parse(text)


# ---- read and written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        (fabric("smconf.sm_priority"), "15", "3"),
        (fabric("smconf.exit_on_fatal"), "true", "false"),
        (fabric("smconf.root_guid_file"), "(null)", "/opt/ufm/files/conf/roots"),
        (fabric("smconf.routing_engine"), "minhop", "ar_updn,minhop"),
        (PKEY, None, MEMBERS),
        (PORT, "healthy", "unhealthy"),
        (Place("ufm", f"{PORTS[0]:#018x}/P1", "port-health"), "healthy", "unhealthy"),
        (fabric("sharp.job-7"), None, Reservation((PORTS[0], PORTS[2]), 0x12).text),
    ],
    ids=lambda value: value.key if isinstance(value, Place) else None,
)
def test_a_value_is_written_settled_read_back_and_taken_back(server, driver, place, old, new):
    server.lag = 2
    for wanted in (new, new, old):
        if driver.read(place) != wanted:
            driver.write(place, wanted)
            driver.settle(Risk.SWEEP)
        assert driver.read(place) == wanted
        assert driver.observe(place).value == wanted
        assert (wanted or "absent") in driver.observe(place).evidence
    assert len(server.written()) == 2


def test_members_and_their_kind_are_those_of_ufm(server, driver):
    driver.write(PKEY, Partition({PORTS[0]: True, PORTS[1]: False}, ipoib=False, index0=True).text)
    assert server.state.pkeys["0x12"]["guids"] == [
        {"guid": "0000000000100000", "membership": "full", "index0": True},
        {"guid": "0000000000100100", "membership": "limited", "index0": True},
    ]
    assert server.state.pkeys["0x12"]["ip_over_ib"] is False


def test_the_qos_of_a_partition_is_a_place_of_its_own(server, driver):
    quality = fabric("pkey-qos.0x8012")
    assert driver.read(quality) is None
    driver.write(quality, None)
    driver.write(PKEY, MEMBERS)
    assert driver.read(quality) == "mtu=2 rate=2.5 sl=0"
    driver.write(quality, "mtu=4 rate=100 sl=3")
    assert server.state.pkeys["0x12"]["qos_conf"] == {"mtu_limit": 4, "rate_limit": 100.0, "service_level": 3}
    assert driver.read(quality) == "mtu=4 rate=100 sl=3"
    with pytest.raises(RefusedError, match="goes with the partition"):
        driver.write(quality, None)
    with pytest.raises(InputError):
        driver.write(quality, "fast")


def test_counters_are_those_of_the_specification(server, driver):
    server.counters = {(LEAF, 3): {"Infiniband_SymbolErrors": 17, "Infiniband_XmitWait": 4}}
    place = Place("ufm", f"{LEAF:#018x}", "counters")
    counted = json.loads(driver.read(place))
    assert list(counted) == ["1", "2", "3", "4"]
    assert (counted["3"]["SymbolErrorCounter"], counted["3"]["PortXmitWait"], counted["1"]["SymbolErrorCounter"]) == (17, 4, 0)
    with pytest.raises(RefusedError, match="can only be read"):
        driver.write(place, "{}")
    assert driver.read(Place("ufm", f"{7:#018x}", "counters")) is None
    assert [path for _, path in server.requests].count("monitoring/snapshot") == 1


def test_partitions_and_reservations_are_listed(server, driver):
    assert (driver.read(fabric("pkeys")), driver.read(fabric("reservations"))) == ("0xffff", "")
    driver.write(PKEY, MEMBERS)
    driver.write(fabric("pkey.0x8003"), MEMBERS)
    for name in ("b", "a"):
        driver.write(fabric(f"sharp.{name}"), Reservation((PORTS[0],)).text)
    assert (driver.read(fabric("pkeys")), driver.read(fabric("reservations"))) == ("0x8003 0x8012 0xffff", "a b")


# ---- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (fabric("smconf.m_key"), "0x1", "m_key is a secret"),
        (fabric("smconf.routing_engine_active"), "updn", "is what OpenSM does"),
        (fabric("smconf.no_such"), "1", "neither added nor removed"),
        (fabric("smconf.sm_priority"), None, "neither added nor removed"),
        (fabric("pkey.0xffff"), MEMBERS, "keeps the default partition"),
        (PKEY, Partition({}).text, "has no members"),
        (PKEY, Partition({1: True}, index0=None).text, "first in the tables of some"),
        (fabric("sharp.job-7"), Reservation((PORTS[0], 0x77)).text, "no host of this fabric has port 0x0000000000000077"),
        (fabric("pkey.0x0012"), MEMBERS, "has no place"),
        (fabric("pkey.0x12"), MEMBERS, "has no place"),
        (fabric("sharp.../../x"), None, "has no place"),
        (fabric("sharp."), None, "has no place"),
        (fabric("smconf"), None, "has no place"),
        (fabric("port-health"), "healthy", "has no place"),
        (fabric("pkeys"), "0x8012", "can only be read"),
        (Place("ufm", "0x1", "pkey.0x8012"), MEMBERS, "has no place"),
        (Place("ufm", "../../etc", "counters"), None, "has no place"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_sent(server, driver, place, value, words):
    with pytest.raises(RefusedError, match=words):
        driver.write(place, value)
    assert server.written() == []


@pytest.mark.parametrize(
    ("place", "value"),
    [(PORT, "broken"), (PORT, None), (PKEY, "all"), (fabric("smconf.sm_priority"), "high"), (fabric("smconf.exit_on_fatal"), "1"),
     (fabric("smconf.sm_priority"), "true"), (fabric("sharp.job"), "")],
)  # fmt: skip
def test_what_is_no_value_of_a_place_is_refused_before_anything_is_sent(server, driver, place, value):
    with pytest.raises(InputError):
        driver.write(place, value)
    assert server.written() == []


def test_a_partition_that_could_not_be_put_back_is_left_alone(server, driver):
    member = {"guid": "0000000000100000", "membership": "full"}
    for guids, words in (
        ([{**member, "index0": True}, {**member, "guid": "0000000000100100", "index0": False}], "some members only"),
        ([], "no members"),
    ):
        server.state.pkeys["0x12"] = {**server.state.pkeys[DEFAULT], "guids": guids}
        for value in (MEMBERS, None):
            with pytest.raises(RefusedError, match=f"as it is there now has .*{words}"):
                driver.write(PKEY, value)
    assert server.written() == []


def test_a_reservation_is_for_whole_hosts(ufm, monkeypatch):
    monkeypatch.setattr(ufm_client, "_POLL_S", 0.0)
    rails = two_levels(2, 2, 1, rails=2)
    server = ufm(rails)
    driver = UfmDriver.make(server.options, rails)
    with pytest.raises(RefusedError, match="UFM reserves for whole hosts, and n0000 has port"):
        driver.write(fabric("sharp.job"), Reservation((HCA,)).text)
    driver.write(fabric("sharp.job"), Reservation((HCA, HCA + 1)).text)
    assert server.written() == [("POST", "app/sharp/resources?partially_alloc=false")]
    with pytest.raises(RefusedError, match="is there already"):
        driver.write(fabric("sharp.job"), Reservation((HCA, HCA + 1), 5).text)


def test_a_ufm_that_reserves_by_itself_is_found_out(server, driver):
    server.by_pkeys = True
    with pytest.raises(RefusedError, match=r"said yes, and did nothing .*it makes them from partitions itself"):
        driver.write(fabric("sharp.job"), Reservation((PORTS[0],)).text)
    driver.write(PKEY, MEMBERS)
    assert driver.read(fabric("sharp.api_pkey_0x12")) == Reservation((PORTS[0], PORTS[1]), 0x12).text


def test_a_routing_engine_that_does_not_come_into_force_is_found_out(server, driver):
    server.restarts = False
    driver.write(fabric("smconf.routing_engine"), "ar_updn")
    with pytest.raises(SourceError, match="its OpenSM routes on with minhop"):
        driver.settle(Risk.RESTART)


# ---- odd answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        fabric("smconf.sm_priority"),
        PKEY,
        fabric("pkey-qos.0x8012"),
        PORT,
        fabric("sharp.a"),
        fabric("pkeys"),
        fabric("reservations"),
        Place("ufm", f"{LEAF:#018x}", "counters"),
    ],
    ids=lambda place: place.key,
)
@pytest.mark.parametrize("word", ["scalar", "half-json", "half", "garbage", "html", "500", "drop"])
def test_an_odd_answer_is_a_source_error(server, driver, place, word):
    driver.write(PKEY, MEMBERS)
    driver.write(fabric("sharp.a"), Reservation((PORTS[0],)).text)
    server.fault(word, times=9)
    with pytest.raises(SourceError):
        driver.read(place)


@pytest.mark.parametrize("place", [PKEY, fabric("pkey-qos.0x8012"), fabric("pkeys"), PORT], ids=lambda place: place.key)
def test_an_empty_answer_is_not_taken_for_an_empty_fabric(server, driver, place):
    driver.write(PKEY, MEMBERS)
    server.fault("deaf", times=9)
    with pytest.raises(SourceError):
        driver.read(place)


class Babbler:
    """A client to which UFM answers with whatever comes to its mind."""

    label = "UFM"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def get(self, *path: str, **query: str) -> object:
        return self.answer

    query = get


KEYS = [
    "sm_priority",
    "guids",
    "guid",
    "pkey",
    "membership",
    "index0",
    "ip_over_ib",
    "qos_conf",
    "mtu_limit",
    "rate_limit",
    "Port",
]
KEYS += ["service_level", "a", "UnhealthyGUID", "UnhealthyPortNumber", "Condition", "0000000000001000_1", "statistics"]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["full", "0x12", f"{PORTS[0]:016x}", "x", "5"])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    JSON,
    st.sampled_from(
        [
            fabric("smconf.sm_priority"),
            PKEY,
            fabric("pkey-qos.0x8012"),
            fabric("sharp.a"),
            fabric("pkeys"),
            fabric("reservations"),
            PORT,
            Place("ufm", f"{LEAF:#018x}", "counters"),
        ]
    ),
)
@example({"qos_conf": []}, Place("ufm", "fabric", "pkey-qos.0x8012"))
def test_any_json_is_a_value_or_an_error_of_ours(answer, place):
    driver = UfmDriver(Babbler(answer), FABRIC, {})
    with suppress(FabctlError):
        value = driver.read(place)
        assert value is None or isinstance(value, str)
        assert driver.observe(place).value == value


def test_json_of_another_shape_is_a_source_error_that_does_not_repeat_it(server, driver):
    server.state.pkeys["0x12"] = {**server.state.pkeys[DEFAULT], "guids": [{"guid": "hunter2", "membership": "full"}]}
    server.state.unhealthy["hunter2_1"] = "MANUAL"
    for place in (PKEY, PORT):
        with pytest.raises(SourceError, match="JSON that is not") as caught:
            driver.read(place)
        assert "hunter2" not in str(caught.value)


def test_older_releases_answer_with_nothing_instead_of_404_and_the_list_must_agree(server, driver):
    server.modern = False
    assert driver.read(PKEY) is None
    assert driver.read(fabric("pkey-qos.0x8012")) is None
    driver.write(PKEY, MEMBERS)
    server.fault("deaf")
    with pytest.raises(SourceError, match="lists partition 0x8012, and answers with nothing"):
        driver.read(PKEY)
    server.fault("deaf", times=2)
    with pytest.raises(SourceError, match="not a list of partitions"):
        driver.read(PKEY)


def test_terminal_escapes_of_ufm_are_written_out(server, driver):
    server.state.smconf["root_guid_file"] = "/opt\x1b[2J"
    server.state.reservations["job\x1b[2J"] = {"guids": []}
    assert "\x1b" not in driver.observe(fabric("smconf.root_guid_file")).evidence
    assert driver.read(fabric("reservations")) == r"job\x1b[2J"


# ---- through the cycle --------------------------------------------------------------------------------------------


def plan_of(site: Site, wanted: Sequence[tuple[Place, str | None]]) -> Plan:
    driver = site.driver("ufm")
    changes = tuple(Change(place, driver.read(place), new, Risk.SWEEP) for place, new in wanted)
    checks = tuple(Check(place, new) for place, new in wanted if new is not None)
    stages = (Stage("all", changes, checks),)
    return Plan("test", "test", basis_of(site, changes), stages, mirrored(stages))


WANTED = [(fabric("smconf.sm_priority"), "3"), (PKEY, MEMBERS), (PORT, "unhealthy")]


@pytest.fixture
def site(driver: UfmDriver, tmp_path: Path) -> Site:
    return Site(FABRIC, {"ufm": driver}, source=str(tmp_path / "fabric.json"))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    with Journal(tmp_path / "state") as journal:
        yield journal


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setattr("fabctl.offload.work.PATIENCE_S", 0.0)


def test_a_plan_is_applied_kept_idempotent_and_rolled_back(server, site, journal):
    before = json.dumps(vars(server.state), sort_keys=True)
    operation = apply(plan_of(site, WANTED), site, journal)
    assert operation.state is State.APPLIED
    assert [reading.holds for reading in operation.readings] == [True] * 3
    assert apply(plan_of(site, WANTED), site, journal).id == 0
    assert rollback(operation.id, reached(journal, operation.id, anew=False), journal).state is State.ROLLED_BACK
    assert json.dumps(vars(server.state), sort_keys=True) == before


@pytest.mark.parametrize(
    ("word", "path", "words"),
    [
        ("403-no", "unhealthy_ports", "does not let this account do that"),
        ("400-no", "pkeys", "refuses \\(400\\): no"),
        ("409", "unhealthy_ports", "is changing the same already"),
        ("500", "unhealthy_ports", "fails \\(500\\)"),
        ("deaf", "unhealthy_ports", "UFM took port-health and does not show it"),
    ],
)
def test_a_write_that_fails_takes_everything_back(server, site, journal, word, path, words):
    before = json.dumps(vars(server.state), sort_keys=True)
    plan = plan_of(site, WANTED)
    server.fault(word, path, "PUT", times=4)
    with pytest.raises(UnverifiedError, match=words):
        apply(plan, site, journal)
    assert json.dumps(vars(server.state), sort_keys=True) == before
    assert operations(journal)[-1].state is State.ROLLED_BACK


def test_a_fate_that_is_unknown_is_looked_up_and_nothing_is_done_twice(server, site, journal):
    plan = plan_of(site, WANTED)
    for path in ("smconf", "pkeys", "unhealthy_ports"):
        server.fault("done-drop", path, "PUT")
    assert apply(plan, site, journal).state is State.APPLIED
    assert len(server.written()) == 3


def test_a_ufm_that_is_gone_in_the_middle_leaves_a_state_that_recover_ends(server, site, journal):
    before = json.dumps(vars(server.state), sort_keys=True)
    plan = plan_of(site, WANTED)
    server.fault("503", "unhealthy_ports", "PUT", times=999)
    server.fault("503", "pkeys", "DELETE", times=999)
    with pytest.raises(FabctlError) as caught:
        apply(plan, site, journal)
    assert caught.value.exit_code == 8
    assert operations(journal)[-1].state is State.ROLLBACK_FAILED
    server.mend()
    assert [recovered.done for recovered in recover(site, journal)] == ["undone"]
    assert json.dumps(vars(server.state), sort_keys=True) == before


@pytest.mark.parametrize(
    ("word", "times"), [("done-drop", 1), ("done-500", 1), ("deaf", 1), ("drop", 99), ("403", 99), ("deaf", 99)]
)
def test_a_fault_at_any_request_leaves_the_old_state_the_new_one_or_one_that_recover_ends(server, site, tmp_path, word, times):
    before = json.dumps(vars(server.state), sort_keys=True)
    plan = plan_of(site, WANTED[1:])
    ended = set()
    for after in count():
        folder = tmp_path / f"state-{after}"
        folder.mkdir(mode=0o700)
        server.requests.clear()
        server.fault(word, times=times, after=after)
        with Journal(folder) as journal:
            with suppress(FabctlError):
                apply(plan, site, journal)
            met = len(server.requests) > after
            server.mend()
            recover(site, journal)
            states = {operation.state for operation in operations(journal)}
            assert states <= {State.APPLIED, State.ROLLED_BACK}
            assert (json.dumps(vars(server.state), sort_keys=True) == before) == (states != {State.APPLIED})
            ended |= states
            for operation in operations(journal):
                rollback(operation.id, site, journal)
        assert json.dumps(vars(server.state), sort_keys=True) == before
        if not met:
            break
    assert State.APPLIED in ended


def test_no_secret_is_in_the_journal_or_any_other_file(server, site, journal, tmp_path):
    server.fault("echo", "unhealthy_ports", "PUT")
    with pytest.raises(UnverifiedError, match=r"\*\*\*"):
        apply(plan_of(site, WANTED), site, journal)
    with sqlite3.connect(next((tmp_path / "state").glob("*.db*"), tmp_path / "state" / "journal.sqlite")) as held:
        text = "\n".join(held.iterdump())
    held.close()
    assert "port-health" in text
    for secret in (PASSWORD, TOKEN, server.state.smconf["m_key"]):
        assert secret not in text
        written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert not any(secret.encode() in path.read_bytes() for path in written)
