"""``fabctl offload`` from the command line, on a fabric in a folder (lab.py): what it says, its exit codes, what it leaves behind."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lab
import lab_feature
import pytest

from fabctl.errors import ExitCode
from fabctl.model.snapshot import dump_snapshot
from fabctl.offload import work
from fabctl.offload.lock import fabric_key, fabric_lock

Run = Callable[..., Any]

LEAVES = "leaf-[01-02]"


class Bench:
    """A fabric in a folder, and fabctl before it."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.fabric_path, self.plan_path = folder / "lab", folder / "fabric.json", folder / "plan.json"
        self.state = folder / "state"
        self.site = lab.make_site(self.folder)
        self.fabric_path.write_text(dump_snapshot(self.site.fabric))
        self.run = run
        self.said = ""

    def __call__(self, *words: object, code: int = 0) -> str:
        """Run ``fabctl offload`` and return what it printed."""
        done = self.run("offload", *words)
        self.said += done.out + done.err
        assert done.code == code, done.out + done.err
        assert "Traceback" not in done.err
        self.err = done.err
        return str(done.out)

    @property
    def where(self) -> tuple[object, ...]:
        return (self.fabric_path, "--driver", f"lab:folder={self.folder}")

    def plan(self, *words: object, code: int = 1) -> str:
        return self("plan", "lab", *self.where, *words, "--save", self.plan_path, code=code)

    def guid(self, label: str) -> str:
        return self.site.fabric.guid_text(self.site.fabric.labels.index(label))

    def hardware(self, label: str) -> str | None:
        return lab.read(self.folder / "hardware" / f"{self.guid(label)} cc.threshold")

    def written(self) -> dict[str, str | None]:
        return lab.state(self.folder)


@pytest.fixture
def bench(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)
    assert lab_feature.FEATURE.name == "lab"
    return Bench(tmp_path, run)


# ---- list ---------------------------------------------------------------------------------------------------------------


def test_list_counts_what_is_alike_and_names_what_differs(bench: Bench) -> None:
    out = bench("list", bench.fabric_path, "--feature", "lab")
    assert "6 switches, 4 HCAs, 4 hosts; no driver: what is on is not known" in out
    assert re.search(r"^lab +switches +4 can, 2 cannot +a leaf$", out, re.MULTILINE)
    assert re.search(r"^lab +2 cannot +spine-\[01-02\] +a spine$", out, re.MULTILINE)


def test_list_asks_the_driver(bench: Bench) -> None:
    lab.put(bench.folder / "hardware" / f"{bench.guid('leaf-03')} cc.threshold", "8")
    out = bench("list", *bench.where, "--feature", "lab", "-o", "wide")
    assert "asked through lab" in out
    assert re.search(r"^lab +switches +3 off, 2 cannot, 1 on ", out, re.MULTILINE)
    assert re.search(r"^leaf-03 +on$", out, re.MULTILINE)


def test_list_has_a_row_for_each_feature_and_switch(bench: Bench) -> None:
    rows = list(csv.DictReader(io.StringIO(bench("list", bench.fabric_path, "--feature", "lab", "-o", "csv"))))
    assert len(rows) == 7
    assert rows[1] == {
        "target": "leaf-01",
        "kind": "switch",
        "feature": "lab",
        "status": "can",
        "fact": "a leaf",
        "source": "a test",
    }


def test_a_feature_that_cannot_be_read_does_not_hide_the_others(bench: Bench) -> None:
    lab.fault(bench.folder, f"silent-{bench.guid('leaf-01')}")
    out = bench("list", *bench.where, "--feature", "lab", code=ExitCode.PARTIAL)
    assert re.search(r"^lab +fabric +unknown +0x\w+ does not answer$", out, re.MULTILINE)
    assert "lab could not be read: 0x" in bench.err


# ---- the cycle ----------------------------------------------------------------------------------------------------------


def test_the_cycle(bench: Bench) -> None:
    before = bench.written()
    out = bench.plan("--switch", LEAVES, "--set", "file=yes")
    assert "3 places to change, in 2 stages\n  risk           sweep: the subnet manager sweeps\n" in out
    assert re.search(r"^ +1 +leaf-\[01-02\] +cc.threshold +0 +8 +hot +marks packets$", out, re.MULTILINE)
    assert "\n--- opensm.conf\n+++ opensm.conf\n@@ -1,2 +1,3 @@\n # as it came\n qos FALSE\n+lab TRUE\n" in out
    assert f"fabctl offload apply {bench.plan_path} --confirm 10" in out
    assert bench.written() == before

    assert "- leaf-[01-02] cc.threshold = 0\n+ leaf-[01-02] cc.threshold = 8\n" in bench(
        "diff", bench.plan_path, code=ExitCode.FINDINGS
    )
    assert bench.written() == before

    out = bench("apply", bench.plan_path)
    assert "Operation 1: enable lab --switch leaf-[01-02] --set file=yes\n  state      applied since " in out
    assert "written    3 of 3 places\n  read back  2 of 2 values as planned\n" in out
    assert [bench.hardware(f"leaf-0{number}") for number in (1, 2, 3)] == ["8", "8", "0"]

    assert bench("diff", bench.plan_path) == "enable lab --switch leaf-[01-02] --set file=yes: 0 to change\n"
    assert bench("apply", bench.plan_path) == "enable lab --switch leaf-[01-02] --set file=yes: 0 to change, it is so already\n"
    assert re.search(
        r"^leaf-01 +cc.threshold +8 +8 +yes +query 0x\w+ cc.threshold -> 8$", bench("verify", 1, "-o", "wide"), re.MULTILINE
    )
    assert "; 0 drifted from what fabctl left" in bench("drift")

    lab.put(bench.folder / "hardware" / f"{bench.guid('leaf-01')} cc.threshold", "3")
    assert re.search(r"^leaf-01 +cc.threshold +hardware +8 +3 +1$", bench("drift", code=ExitCode.FINDINGS), re.MULTILINE)
    assert re.search(r"^leaf-01 +cc.threshold +8 +3 +no ", bench("verify", 1, code=ExitCode.FINDINGS), re.MULTILINE)

    assert "rolled-back since" in bench("rollback", 1)
    assert bench.written() == before
    assert bench("recover") == "no operation was cut off\n"
    assert bench("drift") == "nothing that fabctl applied is in place\n"
    assert re.search(r"^ 1 +\S+ \S+ +rolled-back +3 +3 +2 +2 +enable lab ", bench("history"), re.MULTILINE)


def test_what_is_in_force_needs_no_plan(bench: Bench) -> None:
    bench("enable", "lab", *bench.where, "--yes")
    assert bench("plan", "lab", *bench.where) == "Plan: enable lab\n  0 to change\n"
    assert "0 to change" in bench("enable", "lab", *bench.where, "--yes")


def test_enable_shows_the_plan_and_the_command_that_applies_it(bench: Bench) -> None:
    before = bench.written()
    out = bench("enable", "lab", *bench.where, "--switch", "leaf-01", code=ExitCode.FINDINGS)
    command = (
        f"fabctl offload enable lab --switch leaf-01 {bench.fabric_path} --driver lab:folder={bench.folder} --yes --confirm 10"
    )
    assert f"\nNext\n  {command}\n" in out
    assert bench.written() == before
    assert not bench.state.exists()
    bench("enable", "lab", *bench.where, "--switch", "leaf-01", "--yes")
    assert (bench.hardware("leaf-01"), bench.hardware("leaf-02")) == ("8", "0")
    bench("disable", "lab", *bench.where, "--switch", "leaf-01", "--yes")
    assert bench.hardware("leaf-01") == "0"


def test_plan_disable_names_itself(bench: Bench) -> None:
    bench("enable", "lab", *bench.where, "--yes")
    out = bench("plan", "lab", *bench.where, "--disable", code=1)
    assert "disable lab\n" in out
    assert " --disable --save plan.json\n" in out


def test_confirm_keeps_what_waits(bench: Bench, tmp_path: Path) -> None:
    rendered = tmp_path / "rendered"
    words = (
        "enable",
        "lab",
        bench.fabric_path,
        "--driver",
        f"files:folder={rendered}",
        "--set",
        "file=yes",
        "--yes",
        "--confirm",
        10,
    )
    out = bench(*words)
    assert "unconfirmed since" in out
    assert re.search(r"fabctl offload confirm 1, by \S+ \S+ UTC; else the old values come back", out)
    assert "applied since" in bench("confirm", 1)
    assert (rendered / "opensm.conf").read_text() == "lab TRUE\n"
    bench("rollback", 1)
    assert not (rendered / "opensm.conf").exists()


# ---- what goes wrong on the way -------------------------------------------------------------------------------------------


def test_what_does_not_hold_is_taken_back(bench: Bench) -> None:
    before = bench.written()
    bench.plan()
    lab.fault(bench.folder, f"stuck-{bench.guid('leaf-02')}")
    bench("apply", bench.plan_path, code=ExitCode.UNVERIFIED)
    assert "the old values are back in force" in bench.err
    assert bench.written() == before
    assert "rolled-back" in bench("history")


def test_some_switches_may_fail(bench: Bench) -> None:
    bench.plan()
    lab.fault(bench.folder, f"stuck-{bench.guid('leaf-02')}")
    out = bench("apply", bench.plan_path, "--batch", 2, "--max-failures", 1, code=ExitCode.PARTIAL)
    assert re.search(r"^Left as they were\n.*\nleaf-02 ", out, re.MULTILINE)


def test_old_values_that_do_not_come_back(bench: Bench) -> None:
    bench.plan()
    bench("apply", bench.plan_path)
    lab.fault(bench.folder, f"refuses-{bench.guid('leaf-02')}")
    bench("rollback", 1, code=ExitCode.ROLLBACK_FAILED)
    assert "fabctl offload recover" in bench.err
    out = bench("history", 1)
    assert "rollback-failed since" in out
    assert "next       fabctl offload recover" in out
    bench("recover", code=ExitCode.ROLLBACK_FAILED)
    (bench.folder / "faults" / f"refuses-{bench.guid('leaf-02')}").unlink()
    assert re.search(r"^ 1 .*undone +rolled-back ", bench("recover"), re.MULTILINE)
    assert bench.hardware("leaf-02") == "0"


def test_a_switch_that_does_not_answer_is_unread(bench: Bench) -> None:
    bench.plan()
    bench("apply", bench.plan_path)
    lab.fault(bench.folder, f"silent-{bench.guid('leaf-02')}")
    assert "Could not be read\n" in bench("drift", code=ExitCode.PARTIAL)


def test_two_at_once(bench: Bench) -> None:
    bench.plan()
    bench.state.mkdir(mode=0o700)
    with fabric_lock(bench.state, fabric_key(bench.site.fabric), "another apply"):
        bench("apply", bench.plan_path, code=ExitCode.LOCKED)
    assert f"another apply is at work on this fabric: process {os.getpid()}, for " in bench.err


def test_disruptive_plans_want_to_be_told_so(bench: Bench) -> None:
    out = bench.plan("--set", "file=yes", "--set", "risk=RESTART")
    assert "restart: the subnet manager restarts; apply wants --allow-disruptive" in out
    assert f"\n  fabctl offload apply {bench.plan_path} --confirm 10 --allow-disruptive\n" in out
    bench("apply", bench.plan_path, code=ExitCode.REFUSED)
    bench("apply", bench.plan_path, "--allow-disruptive")


# ---- bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("lba",), ExitCode.USAGE, "unknown feature 'lba'\n  hint: did you mean 'lab'?"),
        (("lab", "--driver", "lbb"), ExitCode.USAGE, "unknown driver 'lbb'"),
        (("lab", "--driver", "files:folder="), ExitCode.USAGE, "takes a folder and nothing else"),
        (("lab", "--driver", "files:folder=/dev/null"), ExitCode.INPUT, "/dev/null: this is no folder"),
        (("lab", "--driver", "files:foldr=x"), ExitCode.USAGE, "driver 'files' takes no 'foldr=x'\n  hint: it takes folder="),
        (("lab", "--driver", "files:folder"), ExitCode.USAGE, "driver 'files' takes no 'folder'"),
        (("lab", "--driver", "files:folder=a,folder=b"), ExitCode.USAGE, "driver 'files' has 'folder' twice"),
        (("lab", "--driver", "lab:folder=a", "--driver", "lab:folder=b"), ExitCode.USAGE, "--driver names one twice"),
        (("lab", "--set", "threshold"), ExitCode.USAGE, "--set threshold is no KEY=VALUE"),
        (("lab", "--set", "treshold=3"), ExitCode.USAGE, "lab knows no 'treshold'\n  hint: did you mean 'threshold'?"),
        (("lab", "--set", "file=1", "--set", "file=2"), ExitCode.USAGE, "--set file is given twice"),
        (("lab", "--set", "threshold=x"), ExitCode.USAGE, "threshold=x is no number"),
        (("lab", "--set", "threshold=13"), ExitCode.REFUSED, "no switch takes 13\n  hint: --set threshold=12"),
        (("lab", "--set", "threshold=14"), ExitCode.SOURCE, "the switch does not answer"),
        (("lab", "--switch", "leaf-9"), ExitCode.INPUT, "no switch 'leaf-9' in this fabric\n  hint: did you mean leaf-0"),
        (("lab", "--switch", "leaf-[1-"), ExitCode.USAGE, "bracket"),
        (("lab", "--captured", "/nowhere"), ExitCode.INPUT, "/nowhere: no such folder"),
        (("lab", "--live"), ExitCode.USAGE, "--live reads this machine's fabric, not "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_requests(bench: Bench, words: tuple[str, ...], code: ExitCode, message: str) -> None:
    before = bench.written()
    driver = () if "--driver" in words else ("--driver", f"lab:folder={bench.folder}")
    assert bench("plan", *words, bench.fabric_path, *driver, code=code) == ""
    assert message in bench.err
    assert bench.written() == before


def test_a_feature_says_which_driver_it_needs(bench: Bench) -> None:
    bench("plan", "lab", bench.fabric_path, code=ExitCode.REFUSED)
    assert "this needs --driver lab or files\n  hint: fabctl help drivers" in bench.err


def test_a_plan_from_stdin_cannot_be_saved(bench: Bench, run: Run) -> None:
    words = ("offload", "plan", "lab", "-", "--driver", f"lab:folder={bench.folder}")
    done = run(*words, "--save", bench.plan_path, stdin=bench.fabric_path.read_text())
    assert (done.code, bench.plan_path.exists()) == (ExitCode.USAGE, False)
    assert run(*words, stdin=bench.fabric_path.read_text()).code == ExitCode.FINDINGS


def edited(text: str) -> str:
    return text.replace('"8"', '"9"')


def newer(text: str) -> str:
    return text.replace('"version": 1', '"version": 2')


def truncated(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize("verb", ["apply", "diff"])
@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        (edited, ExitCode.REFUSED, "this plan was edited"),
        (newer, ExitCode.REFUSED, "a plan of version 2"),
        (truncated, ExitCode.INPUT, "was it cut short?"),
        (lambda text: "{}", ExitCode.INPUT, "no plan"),
        (lambda text: "", ExitCode.INPUT, "the file is empty"),
        (lambda text: "\x00\x01", ExitCode.INPUT, ""),
    ],
)
def test_bad_plans(bench: Bench, verb: str, damage: Callable[[str], str], code: ExitCode, message: str) -> None:
    bench.plan()
    before = bench.written()
    bench.plan_path.write_text(damage(bench.plan_path.read_text()))
    bench(verb, bench.plan_path, code=code)
    assert str(bench.plan_path) in bench.err
    assert message in bench.err
    assert bench.written() == before


def test_a_plan_of_another_fabric(bench: Bench) -> None:
    bench.plan()
    bench.fabric_path.write_text(dump_snapshot(lab.fabric(3, 2)))
    before = bench.written()
    bench("apply", bench.plan_path, code=ExitCode.REFUSED)
    assert f"the fabric has no {bench.guid('leaf-04')}" in bench.err
    bench("diff", bench.plan_path, code=ExitCode.REFUSED)
    assert "stale, apply will refuse this plan" in bench.err
    assert bench.written() == before


def test_a_plan_whose_configuration_has_changed(bench: Bench) -> None:
    bench.plan("--set", "file=yes")
    lab.put(bench.folder / "configured" / "fabric file:opensm.conf", "# of somebody else\n")
    bench("apply", bench.plan_path, code=ExitCode.REFUSED)
    assert "this plan is stale: file:opensm.conf of fabric is a text of " in bench.err


@pytest.mark.parametrize("verb", ["verify", "confirm", "rollback", "history"])
def test_an_operation_that_there_is_not(bench: Bench, verb: str) -> None:
    bench(verb, 7, code=ExitCode.USAGE)
    assert "there is no operation 7\n  hint: fabctl offload history shows them" in bench.err


def test_a_missing_plan(bench: Bench) -> None:
    bench("apply", bench.plan_path, code=ExitCode.INPUT)
    assert f"{bench.plan_path}: no such file" in bench.err


# ---- names and secrets -----------------------------------------------------------------------------------------------------

NAMES = ("leaf\x1b[2Jleaf", "$(reboot)", "../../etc", "a\nb", "x\u202ey", "leaf-05; rm -rf /")


def test_names_of_the_fabric_stay_names(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = (*NAMES, *bench.site.fabric.node_name[len(NAMES) :])
    bench.fabric_path.write_text(dump_snapshot(replace(bench.site.fabric, node_name=names)))
    monkeypatch.chdir(tmp_path)
    bench("list", bench.fabric_path, "--feature", "lab", "-o", "wide")
    bench.plan()
    bench("diff", bench.plan_path, code=1)
    bench("apply", bench.plan_path, "--canary", "$(reboot)")
    for words in (("verify", 1), ("history",), ("history", 1), ("drift",), ("rollback", 1)):
        bench(*words, "-o", "wide")
        bench(*words, "-o", "csv")
    assert "leaf\\x1b[2Jleaf" in bench.said
    assert "$(reboot)" in bench.said
    assert all(character.isprintable() or character == "\n" for character in bench.said)
    assert {path.name for path in tmp_path.iterdir()} == {"lab", "fabric.json", "plan.json", "state"}


SECRET = "0xfeedfacecafebeef"


def test_secrets_stay_in_their_files(bench: Bench, tmp_path: Path) -> None:
    rendered = tmp_path / "rendered"
    rendered.mkdir()
    conf = rendered / "opensm.conf"
    conf.write_text(f"m_key {SECRET}\nqos FALSE\n")
    files = ("--driver", f"files:folder={rendered}", "--set", "file=yes")
    bench("plan", "lab", bench.fabric_path, *files, "--save", bench.plan_path, code=1)
    for fmt in ("json", "csv", "wide", "yaml"):
        bench("plan", "lab", bench.fabric_path, *files, "-o", fmt, code=1)
        bench("diff", bench.plan_path, "-o", fmt, code=1)
    bench("apply", bench.plan_path)
    assert conf.read_text() == f"m_key {SECRET}\nqos FALSE\nlab TRUE\n"
    for words in (("verify", 1), ("history", 1), ("drift",), ("rollback", 1), ("history",)):
        bench(*words, "-o", "json")
    assert conf.read_text() == f"m_key {SECRET}\nqos FALSE\n"
    kept = b"".join(path.read_bytes() for path in (*bench.state.rglob("*"), bench.plan_path) if path.is_file())
    assert len(kept) > 10_000
    digits = SECRET.removeprefix("0x")
    assert digits.encode() not in kept
    assert digits not in bench.said
    assert str(int(SECRET, 16)) not in bench.said


def test_state_is_for_its_owner(bench: Bench) -> None:
    bench.plan()
    bench("apply", bench.plan_path)
    assert bench.state.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in bench.state.iterdir()} == {0o600}
    bench.state.chmod(0o777)
    bench("history", code=ExitCode.REFUSED)
    assert f"hint: chmod 700 {bench.state}" in bench.err


def test_many_changes_that_differ_are_cut_for_people_alone(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    site = lab.make_site(folder, leaves=50)
    (tmp_path / "large.json").write_text(dump_snapshot(site.fabric))
    for number, switch in enumerate(lab.switches(site.fabric)):
        lab.put(folder / "configured" / f"{switch} cc.threshold", str(100 + number))
    words = ("plan", "lab", tmp_path / "large.json", "--driver", f"lab:folder={folder}")
    out = bench(*words, code=1)
    assert "Changes, the first 40 of 52: -o csv has all\n" in out
    assert len(bench(*words, "-o", "name", code=1).splitlines()) == 52


def test_what_was_cut_off_is_named_and_ended(bench: Bench) -> None:
    bench.plan()
    killed = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(lab.__file__).parent)]!r}
import lab, lab_feature
from fabctl.cli.main import main
lab.Lab.step = staticmethod(lambda what: what == "after writing cc.threshold" and os.kill(os.getpid(), signal.SIGKILL))
main(["offload", "apply", {str(bench.plan_path)!r}])
"""
    assert subprocess.run([sys.executable, "-c", killed], capture_output=True, check=False).returncode == -signal.SIGKILL
    assert re.search(r"^ 1 +\S+ \S+ +applying, cut off +\d +6 ", bench("history"), re.MULTILINE)
    bench("apply", bench.plan_path, code=ExitCode.REFUSED)
    assert "has not ended: it is 'applying'\n  hint: fabctl offload recover" in bench.err
    assert re.search(r"^ 1 +cut off while new values were being written.* undone +rolled-back ", bench("recover"), re.MULTILINE)
    assert [bench.hardware(f"leaf-0{number}") for number in (1, 2, 3, 4)] == ["0", "0", "0", "0"]
    bench("apply", bench.plan_path)
