"""Plans as files: what comes out is what went in, and anything else is an error."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.errors import FabctlError, InputError, RefusedError
from fabctl.model.offload_plan import Basis, Change, Check, Place, Plan, Risk, Stage
from fabctl.model.operation import Reach
from fabctl.offload.planfile import load_plan, load_reach, plan_id, save_plan
from fabctl.offload.secrets import bare_secret, mask, unmask

ALL_BYTES = bytes(range(256)).decode("latin-1")
FILE = Place("opensm", "fabric", "file:opensm.conf")
LEAF = Place("mad", "0x0c42a103002559fe", "cc.threshold")
STAGE = Stage(
    "qos",
    (Change(FILE, ALL_BYTES * 3, None, Risk.RESTART, "why not"), Change(LEAF, "0", "15", Risk.HOT)),
    (Check(LEAF, "15"),),
)
PLAN = Plan(
    "qos",
    "enable qos --switch $(reboot)",
    Basis("ab" * 32, "", "upstream 3.3.23 at 0x1", ((FILE, "cd" * 32), (LEAF, "ef" * 32))),
    (STAGE,),
    (Stage("back", STAGE.changes, ()),),
    ("a note",),
)
REACH = Reach("live", (("ufm", (("token_file", "/root/token"), ("url", "https://ufm"))),))

texts = st.text(max_size=400)
places = st.builds(Place, texts, texts, texts)
changes = st.builds(Change, places, st.none() | texts, st.none() | texts, st.sampled_from(Risk), texts)
stages = st.builds(Stage, texts, st.tuples(changes), st.tuples(st.builds(Check, places, texts)))
bases = st.builds(Basis, texts, texts, texts, st.tuples(st.tuples(places, texts)))
plans = st.builds(Plan, texts, texts, bases, st.tuples(stages, stages), st.tuples(stages), st.tuples(texts))


@given(plans)
def test_a_plan_comes_back_as_it_went(plan: Plan) -> None:
    held = [value for change in plan.changes for value in (change.old, change.new) if value is not None]
    if not any(map(bare_secret, held)):
        assert load_plan(save_plan(plan), "p") == plan


def test_bytes_of_files_and_the_way_to_the_site_come_back() -> None:
    text = save_plan(PLAN, REACH)
    assert load_plan(text, "p") == PLAN
    assert load_reach(text, "p") == REACH
    assert load_reach(save_plan(PLAN), "p") is None
    assert text.isascii()


def test_the_same_plan_is_the_same_text_and_its_id_does_not_depend_on_the_way_to_its_site() -> None:
    assert save_plan(PLAN) == save_plan(load_plan(save_plan(PLAN), "p"))
    assert plan_id(PLAN) == plan_id(load_plan(save_plan(PLAN, REACH), "p"))
    assert plan_id(PLAN) != plan_id(replace(PLAN, feature="x"))
    assert len(plan_id(PLAN)) == 12


def test_a_plan_cut_anywhere_is_an_error() -> None:
    text = save_plan(PLAN, REACH)
    for end in range(0, len(text) - 2, 7):
        with pytest.raises(InputError) as caught:
            load_plan(text[:end], "p")
        assert caught.value.where.startswith("p:")
        assert caught.value.hint == "was it cut short?"


def test_any_digit_that_was_edited_is_noticed() -> None:
    text = save_plan(PLAN, REACH)
    for at in [at for at, letter in enumerate(text) if letter.isdigit()][::11]:
        edited = f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}"
        with pytest.raises(FabctlError):
            load_plan(edited, "p")


def test_an_edited_plan_is_refused() -> None:
    with pytest.raises(RefusedError, match="edited: its content does not match its digest"):
        load_plan(save_plan(PLAN).replace('"15"', '"14"', 1), "p")


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda plan: plan | {"version": 2}, RefusedError, "a plan of version 2; this fabctl knows version 1"),
        (lambda plan: plan | {"version": "1"}, InputError, "no plan of version 1"),
        (lambda plan: plan | {"format": "other"}, InputError, "its format is not"),
        (lambda plan: [], InputError, "its format is not"),
        (lambda plan: plan | {"plan": 7}, InputError, "damaged plan"),
        (lambda plan: {name: plan[name] for name in ("format", "version")}, InputError, "damaged plan"),
    ],
)
def test_what_is_no_plan_is_an_error(damage, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        load_plan(json.dumps(damage(json.loads(save_plan(PLAN)))), "p")


@pytest.mark.parametrize("name", ["feature", "request", "basis", "stages", "undo", "notes", "texts", "reach"])
@pytest.mark.parametrize("value", [7, None, {}, [7], [[]], "x"])
def test_a_sealed_plan_with_wrong_content_is_an_error_or_a_plan(name: str, value: object) -> None:
    document = json.loads(save_plan(PLAN))
    document["plan"][name] = value
    body = json.dumps(document["plan"], sort_keys=True, separators=(",", ":"))
    document["digest"] = hashlib.sha256(body.encode()).hexdigest()
    for read in (load_plan, load_reach):
        with suppress(InputError):
            read(json.dumps(document), "p")


def test_deep_json_and_pickles_are_errors() -> None:
    for text in ("[" * 100_000, "\x80\x04K\x01.", "null", "NaN", "1" * 5000):
        with pytest.raises(InputError):
            load_plan(text, "p")


def test_secrets_do_not_go_into_plans() -> None:
    leak = replace(PLAN, undo=(Stage("back", (Change(FILE, None, "m_key 0x00c0ffee\n", Risk.HOT),), ()),))
    with pytest.raises(RefusedError, match=r"the value of file:opensm.conf holds a secret \(m_key\)"):
        save_plan(leak)


CONF = "# keys\nm_key 0x0000000000c0ffee  # ours\nsm_key 0x0000000000000001\ncc_key=0xdead\r\n\tpassword : hunter2\nm_key_lease_period 60\nqos TRUE\n"


def test_masked_files_hold_no_secret_and_come_back_to_the_byte() -> None:
    masked = mask(CONF)
    assert bare_secret(CONF) == "m_key"
    assert bare_secret(masked) is None
    assert not [word for word in ("c0ffee", "dead", "hunter2") if word in masked]
    assert "sm_key 0x0000000000000001" in masked
    assert "m_key_lease_period 60" in masked
    assert unmask(masked, CONF) == CONF
    assert unmask(masked.replace("qos TRUE", "qos FALSE"), CONF) == CONF.replace("qos TRUE", "qos FALSE")
    assert mask(masked) == masked


def test_evidence_of_tools_is_masked_too() -> None:
    assert (
        mask("Mkey:............................0x00000000c0ffee00\n") == "Mkey:............................<kept-in-place:Mkey>\n"
    )
    assert mask("Mkey:............................0x0000000000000000\n").endswith("0000\n")


def test_a_secret_that_is_gone_from_the_file_is_not_made_up() -> None:
    with pytest.raises(RefusedError, match="the file in place holds no m_key"):
        unmask(mask(CONF), "qos TRUE\n")
