"""``fabctl offload`` through UFM: the password stays in its file, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emulator.ufm_server import PASSWORD, UfmServer
from fabric_plans import leaf_spine

from fabctl.errors import ExitCode
from fabctl.model.fabric import Fabric
from fabctl.model.snapshot import dump_snapshot

M_KEY = "5ec4e7"


def test_the_password_stays_in_its_file(
    run: Any, ufm: Callable[[Fabric], UfmServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, saved = tmp_path / "state", tmp_path / "plan.json"
    monkeypatch.setenv("FABCTL_STATE_DIR", str(state))
    fabric = leaf_spine().build()
    (tmp_path / "fabric.json").write_text(dump_snapshot(fabric))
    server = ufm(fabric)
    driver = ("--driver", f"ufm:url={server.url},auth={server.auth},ca={server.ca}")
    where = (tmp_path / "fabric.json", *driver)
    said = ""
    for words, code in (
        (("list", *where), None),
        (("plan", "adaptive-routing", *where, "--set", "engine=ar_updn", "--save", saved), 1),
        (("diff", saved), 1),
        (("apply", saved), 0),
        (("verify", 1, "-o", "wide"), 0),
        (("history", 1, "-o", "json"), 0),
        (("drift", "-o", "json"), 0),
        (("rollback", 1), 0),
    ):
        done = run("offload", *words)
        assert code is None or done.code == code, done.out + done.err
        said += done.out + done.err
    server.auth.write_text("admin:wrong-password-9\n")
    done = run("offload", "list", *where)
    assert done.code == ExitCode.REFUSED
    said += done.out + done.err
    kept = b"".join(path.read_bytes() for path in (saved, *state.rglob("*")) if path.is_file())
    assert b"routing_engine" in kept
    for secret in (PASSWORD, "wrong-password-9", M_KEY):
        assert secret not in said
        assert secret.encode() not in kept
