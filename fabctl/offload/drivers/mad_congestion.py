"""IBA congestion control of one switch or HCA port, by ``ibccquery`` and ``ibccconfig`` (class 0x21).

Traps of these tools (infiniband-diags 44): a Set has no answer that they show, so what holds is known only by a query. A node
without congestion control that answers nonetheless (ibsim does) shows zeros and exit code 0; so zeros are believed only of a node
whose ClassPortInfo says that it has the class. `SwitchPortCongestionSetting` is not used: the specification puts 32 ports in a
block, ``ibccquery`` counts 48, and ``ibccconfig`` reads by 32 and writes by 48, so that port 40 would be written as port 8. A
CC_Key could be given on the command line only, where all users see it: it is not.
"""

from __future__ import annotations

from fabctl.errors import RefusedError, SourceError
from fabctl.offload.congestion_values import IDLE, CaSetting, Reaction, SwitchSetting, parse_table, table_text
from fabctl.offload.driver import Observed
from fabctl.offload.drivers.mad_text import blocks, fields, numbers
from fabctl.offload.drivers.mad_tools import Answer, Target, Tools
from fabctl.offload.simulator import refuse_congestion_control

CLASS_VERSION = 2
"""Of the congestion control class."""

BLOCK = 64
"""Entries of a congestion control table in one MAD."""

_ALL_FIELDS = "0x1f"
"""Control map of a Set: all fields count, so that the order in which one reads its five bits does not matter."""


def read_info(tools: Tools, target: Target) -> Observed:
    """Return how many blocks of a congestion control table a node has (switches: 0).

    Raises
    ------
    SourceError
        If it does not answer, or its answer is not that of a node with congestion control.
    RefusedError
        If it says that it has no congestion control.
    """
    refuse_congestion_control()
    info = _class_info(tools, target)
    answer = tools.ask("ibccquery", "CI", target)
    (cap,) = numbers(fields(answer.text), ["ControlTableCap"], target.label)
    return Observed(f"class_version={CLASS_VERSION} table_blocks={cap}", f"{_quoted(info)}\n{_quoted(answer)}")


def read_switch(tools: Tools, target: Target) -> Observed:
    """Return how a switch marks packets."""
    refuse_congestion_control()
    answer = tools.ask("ibccquery", "SS", target)
    found = fields(answer.text)
    threshold, marking, size, starving, delay = numbers(
        found, ["Threshold", "Marking_Rate", "Packet_Size", "CS_Threshold", "CS_ReturnDelay"], target.label
    )
    setting = SwitchSetting(
        threshold,
        marking,
        size,
        _mask(found, "Victim_Mask", target),
        _mask(found, "Credit_Mask", target),
        starving,
        f"{delay >> 14}:{delay & 0x3FFF}",
    )
    return Observed(setting.text, _believed(tools, target, answer, zero=setting == SwitchSetting()))


def write_switch(tools: Tools, target: Target, value: str) -> None:
    """Set how a switch marks packets, all fields at once."""
    setting = SwitchSetting.parse(value)
    tools.ask(
        "ibccconfig",
        "SS",
        target,
        _ALL_FIELDS,
        f"{setting.victims:#x}",
        f"{setting.credits:#x}",
        str(setting.threshold),
        str(setting.size),
        str(setting.starving),
        setting.delay,
        str(setting.rate),
    )


def read_ca(tools: Tools, target: Target) -> Observed:
    """Return how an HCA's port reacts to marked packets."""
    refuse_congestion_control()
    answer = tools.ask("ibccquery", "CS", target)
    levels = blocks(answer.text, "SL")
    if [level["SL"] for level in levels] != [str(sl) for sl in range(16)]:
        raise SourceError(f"{target.label}: the answer does not hold all 16 SLs; the tool printed half of it")
    names = ["CCTI_Timer", "CCTI_Increase", "Trigger_Threshold", "CCTI_Min"]
    reactions = tuple(Reaction(*numbers(level, names, target.label)) for level in levels)
    (control,) = numbers(fields(answer.text), ["Port_Control"], target.label)
    setting = CaSetting(control, reactions)
    return Observed(setting.text, _believed(tools, target, answer, zero=setting == CaSetting(0, (IDLE,) * 16)))


def write_ca(tools: Tools, target: Target, value: str) -> None:
    """Set how an HCA's port reacts, with one Set for each group of SLs that react alike: all that ``ibccconfig`` can."""
    setting = CaSetting.parse(value)
    for reaction in dict.fromkeys(setting.reactions):
        chosen = sum(1 << sl for sl, other in enumerate(setting.reactions) if other == reaction)
        words = (setting.port_control, f"{chosen:#x}", reaction.timer, reaction.increase, reaction.trigger, reaction.minimum)
        tools.ask("ibccconfig", "CS", target, *map(str, words))


def read_table(tools: Tools, target: Target) -> Observed:
    """Return the congestion control table of an HCA's port; ``0:0`` where it ends with its first entry."""
    refuse_congestion_control()
    answer = tools.ask("ibccquery", "CT", target)
    (limit,) = numbers(fields(answer.text), ["CCTI_Limit"], target.label)
    found = blocks(answer.text, "Entry")
    if not limit:
        return Observed("0:0", _believed(tools, target, answer, zero=True))
    if [entry["Entry"] for entry in found] != [str(index) for index in range(limit + 1)]:
        raise SourceError(f"{target.label}: the answer does not hold {limit + 1} entries; the tool printed half of it")
    entries = [numbers(entry, ["CCT_Shift", "CCT_Multiplier"], target.label) for entry in found]
    return Observed(table_text([(shift, multiplier) for shift, multiplier in entries]), _quoted(answer))


def write_table(tools: Tools, target: Target, value: str) -> None:
    """Set the congestion control table of an HCA's port, block by block; the last one sets its limit."""
    entries = parse_table(value)
    for first in range(0, len(entries), BLOCK):
        block = entries[first : first + BLOCK]
        words = [str(first + len(block) - 1), str(first // BLOCK), *(f"{shift}:{multiplier}" for shift, multiplier in block)]
        tools.ask("ibccconfig", "CT", target, *words)


def prove_class(tools: Tools, target: Target) -> None:
    """Make sure that a node has congestion control before it is sent a Set of it.

    Raises
    ------
    RefusedError, SourceError
        If it has not, or does not say so.
    """
    refuse_congestion_control()
    _class_info(tools, target)


def _class_info(tools: Tools, target: Target) -> Answer:
    try:
        answer = tools.ask("ibccquery", "CP", target)
    except RefusedError as error:
        if "MAD status" not in error.message:
            raise
        raise RefusedError(f"{target.label} has no congestion control: {error.message}", hint="leave it out: --switch") from error
    found = fields(answer.text)
    if (found.get("BaseVersion"), found.get("ClassVersion")) != ("1", str(CLASS_VERSION)):
        raise SourceError(
            f"{target.label} answers for congestion control, but not as a node that has it: ClassVersion"
            f" {found.get('ClassVersion', 'missing')}, not {CLASS_VERSION}",
            hint="zeros that a tool prints are no data",
        )
    return answer


def _believed(tools: Tools, target: Target, answer: Answer, *, zero: bool) -> str:
    """Return an answer as evidence; zeros only with the node's word that it has the class."""
    return f"{_quoted(answer)}\n{_quoted(_class_info(tools, target))}" if zero else _quoted(answer)


def _mask(found: dict[str, str], name: str, target: Target) -> int:
    text = found.get(name, "")
    if len(text) != 64:
        raise SourceError(f"{target.label}: the answer holds no {name}; the tool printed half of it")
    return int(text, 16)


def _quoted(answer: Answer) -> str:
    return f"$ {answer.command}\n{answer.text.strip()}"
