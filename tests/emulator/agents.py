"""Test equipment, no part of fabctl: switch and HCA agents behind the command names of infiniband-diags.

Each LID of a fabric has a file of ``name value`` lines in ``$FABCTL_EMULATOR/nodes``; a Set changes it, a query shows it, in the
words of the real tools (infiniband-diags 44, whose output was copied from runs on ibsim, and whose CC fields are those of libibmad's
``fields.c``). What ibsim cannot do is done here: congestion control that is kept per switch and per HCA port, and ports whose other
end notices. What is not modelled: routes (a node answers whatever is cut off), M_Keys, CC_Keys.

Faults of a LID, in ``$FABCTL_EMULATOR/faults/LID``, one word each; a word may name a tool: ``timeout:ibccquery``.

timeout    no answer, as the real tools say it: two lines on stderr, exit code 255
zeros      all fields zero, exit code 0: what ibsim answers to congestion control
half       the first half of the answer, exit code 0
deaf       a Set changes nothing, exit code 0
partial    a Set changes the first field only, exit code 0
nocc       the node says that it does not have the class (MAD status 0x4)
lost       the first Set is taken, but its answer is lost: exit code 255
dies       the same, and nothing is answered any more

Every call is a line of ``$FABCTL_EMULATOR/log``. It imports little: a test starts it hundreds of times.
"""

# ruff: noqa: PTH105, PTH119, PTH123

from __future__ import annotations

import os
import sys
from itertools import pairwise

ROOT = os.environ.get("FABCTL_EMULATOR", "")
OPTIONS_WITH_VALUE = ("-C", "-P", "-z", "-c", "-t", "-y", "-s")
BASE = {"2.5 Gbps": 1, "5.0 Gbps": 2, "10.0 Gbps": 4}
EXTENDED = {"14.0625 Gbps": 1, "25.78125 Gbps": 2, "53.125 Gbps": 4, "106.25 Gbps": 8}
WIDTHS = {"1X": 1, "4X": 2, "8X": 4, "12X": 8, "2X": 16}
COUNTERS = (
    "SymbolErrorCounter",
    "LinkErrorRecoveryCounter",
    "LinkDownedCounter",
    "PortRcvErrors",
    "PortRcvRemotePhysicalErrors",
    "PortRcvSwitchRelayErrors",
    "PortXmitDiscards",
    "PortXmitConstraintErrors",
    "PortRcvConstraintErrors",
    "CounterSelect2",
    "LocalLinkIntegrityErrors",
    "ExcessiveBufferOverrunErrors",
    "QP1Dropped",
    "VL15Dropped",
    "PortXmitData",
    "PortRcvData",
    "PortXmitPkts",
    "PortRcvPkts",
    "PortXmitWait",
)
CC_CLASS, SET, NO_CLASS = ("ibccquery", "ibccconfig"), ("ibccconfig", "ibportstate"), 0x4

Fields = "list[tuple[str, str]]"


class GoneError(Exception):
    """The node does not answer."""


class Node:
    """What a LID holds: text by name, kept in a file that is replaced whole."""

    def __init__(self, lid: int) -> None:
        self.lid = lid
        self.path = f"{ROOT}/nodes/{lid}"
        try:
            with open(self.path) as file:
                self.values = dict(line.rstrip("\n").split(" ", 1) for line in file)
        except FileNotFoundError:
            raise GoneError from None

    def save(self) -> None:
        with open(f"{self.path}.{os.getpid()}", "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in self.values.items())
        os.replace(f"{self.path}.{os.getpid()}", self.path)

    def get(self, name: str, default: str = "0") -> str:
        return self.values.get(name, default)


def faults(lid: int, tool: str) -> set[str]:
    """Return the faults of a LID that meet a tool."""
    try:
        with open(f"{ROOT}/faults/{lid}") as file:
            words = [word.partition(":") for word in file.read().split()]
    except FileNotFoundError:
        return set()
    return {word for word, _, only in words if only in ("", tool)}


def dotted(fields: Fields) -> str:
    return "".join(f"{name}:{'.' * (32 - len(name))}{value}\n" for name, value in fields)


def bits(text: str, table: dict[str, int]) -> int:
    return sum(bit for name, bit in table.items() if name in text.split(" or "))


def named(value: int, table: dict[str, int]) -> str:
    return " or ".join(name for name, bit in table.items() if value & bit) or "0"


# ---- congestion control --------------------------------------------------------------------------------------------------------

SWITCH_SETTING = (
    ("Control_Map", "0x{:08x}", 0, 0),
    ("Victim_Mask", "{:064x}", 16, 0),
    ("Credit_Mask", "{:064x}", 16, 1),
    ("Threshold", "0x{:02x}", 0, 2),
    ("Packet_Size", "{}", 0, 2),
    ("CS_Threshold", "0x{:02x}", 0, 3),
    ("CS_ReturnDelay", "0x{:04x}", 0, 3),
    ("Marking_Rate", "{}", 0, 4),
)
"""Name, format, base of its number on the command line, and the bit of the control map that makes it count in a Set."""

REACTION = ("CCTI_Timer", "CCTI_Increase", "Trigger_Threshold", "CCTI_Min")


def cc_query(node: Node, operation: str, _: list[str]) -> str:
    lid = node.lid
    if operation in ("cp", "classportinfo"):
        head = [("BaseVersion", "1"), ("ClassVersion", "2"), ("CapabilityMask", "0x0000"), ("CapabilityMask2", "0x0000000")]
        return f"# ClassPortInfo: Lid {lid}\n" + dotted([*head, ("RespTimeVal", "18")])
    if operation in ("ci", "congestioninfo"):
        return f"# CongestionInfo: Lid {lid}\n" + dotted(
            [("CongestionInfo", node.get("cc.info", "0x0000")), ("ControlTableCap", node.get("cc.cap"))]
        )
    if operation in ("ss", "switchcongestionsetting"):
        fields = [(name, form.format(int(node.get(f"cc.{name}"), 0))) for name, form, _, _ in SWITCH_SETTING]
        return f"# SwitchCongestionSetting: Lid {lid}\n" + dotted(fields)
    if operation in ("cs", "cacongestionsetting"):
        head = [("Port_Control", f"0x{int(node.get('cc.Port_Control')):04x}"), ("Control_Map", "0xffff")]
        text = f"# CACongestionSetting: Lid {lid}\n" + dotted(head) + "\n"
        for sl in range(16):
            text += dotted([("SL", str(sl)), *((name, node.get(f"cc.{sl}.{name}")) for name in REACTION)]) + "\n"
        return text
    if operation in ("ct", "congestioncontroltable"):
        limit = int(node.get("cc.limit"))
        text = f"# CongestionControlTable: Lid {lid}\n" + dotted([("CCTI_Limit", str(limit))]) + "\n"
        for entry in range(limit + 1 if limit else 0):
            shift, multiplier = node.get(f"cc.entry.{entry}", "0:0").split(":")
            text += dotted([("Entry", str(entry)), ("CCT_Shift", shift), ("CCT_Multiplier", multiplier)]) + "\n"
        return text
    return f"ibccquery: iberror: failed: operation '{operation}' not supported"


def cc_config(node: Node, operation: str, words: list[str]) -> str:
    if operation in ("ss", "switchcongestionsetting"):
        shift, multiplier = (int(part, 0) for part in words[6].split(":"))
        given = [*words[:6], str(multiplier | shift << 14), words[7]]
        ports = (1 << int(node.get("ports")) + 1) - 1
        valid = int(given[0], 0)
        for (name, _, base, bit), word in zip(SWITCH_SETTING[1:], given[1:], strict=True):
            if valid >> bit & 1:
                node.values[f"cc.{name}"] = str(int(word, base) & ports if base else int(word, 0))
    elif operation in ("cs", "cacongestionsetting"):
        node.values["cc.Port_Control"] = str(int(words[0], 0))
        for sl in range(16):
            if int(words[1], 0) >> sl & 1:
                node.values.update({f"cc.{sl}.{name}": str(int(word, 0)) for name, word in zip(REACTION, words[2:], strict=True)})
    elif operation in ("ct", "congestioncontroltable"):
        limit, block, entries = int(words[0]), int(words[1]), words[2:]
        if limit and limit + 1 != block * 64 + len(entries):
            return "ibccconfig: iberror: failed: invalid number of cct entries input given ccti_limit and index"
        node.values["cc.limit"] = str(limit)
        node.values.update({f"cc.entry.{block * 64 + index}": word for index, word in enumerate(entries)})
    else:
        return f"ibccconfig: iberror: failed: operation '{operation}' not supported"
    return ""


# ---- ports ---------------------------------------------------------------------------------------------------------------------


def port_info(node: Node, port: str) -> str:
    def value(name: str, default: str = "0") -> str:
        return node.get(f"port.{port}.{name}", default)

    fields = [
        ("Mkey", "<not displayed>"),
        ("LinkWidthEnabled", named(int(value("width")), WIDTHS)),
        ("LinkWidthSupported", named(int(value("widths")), WIDTHS)),
        ("LinkWidthActive", "4X"),
        ("LinkSpeedSupported", named(int(value("bases")), BASE)),
        ("LinkState", value("state")),
        ("PhysLinkState", value("physical")),
        ("LinkDownDefState", "Polling"),
        ("LinkSpeedEnabled", named(int(value("base")), BASE)),
        ("LinkSpeedExtSupported", named(int(value("extendeds")), EXTENDED)),
        ("LinkSpeedExtEnabled", named(int(value("extended")), EXTENDED)),
    ]
    return f"# Port info: Lid {node.lid} port {port}\n" + dotted(fields)


def set_port(node: Node, _: str, words: list[str]) -> str:
    port, given = words[0], words[1:]
    if f"port.{port}.physical" not in node.values:
        return "ibportstate: iberror: failed: smp query portinfo failed"
    for name, word in pairwise(given):
        if name == "speed" and int(word):
            node.values[f"port.{port}.base"] = word
        if name == "espeed" and int(word):
            node.values[f"port.{port}.extended"] = "0" if word == "30" else word
        if name == "width" and int(word):
            node.values[f"port.{port}.width"] = word
    peer = node.get(f"port.{port}.peer", "")
    if "disable" in given:
        _link(node, port, peer, "Disabled")
    elif set(given) & {"enable", "reset"}:
        _link(node, port, peer, "LinkUp" if peer and _peer_is_willing(peer) else "Polling")
    return ""


def _link(node: Node, port: str, peer: str, physical: str) -> None:
    up = physical == "LinkUp"
    node.values[f"port.{port}.physical"] = physical
    node.values[f"port.{port}.state"] = "Active" if up else "Down"
    if peer:
        lid, _, number = peer.partition("/")
        other = Node(int(lid))
        if other.get(f"port.{number}.physical") != "Disabled":
            other.values[f"port.{number}.physical"] = "LinkUp" if up else "Polling"
            other.values[f"port.{number}.state"] = "Active" if up else "Down"
            other.save()


def _peer_is_willing(peer: str) -> bool:
    lid, _, number = peer.partition("/")
    return Node(int(lid)).get(f"port.{number}.physical") != "Disabled"


def counters(node: Node, ports: str) -> str:
    text = ""
    for port in ports.split(","):
        fields = [("PortSelect", port), ("CounterSelect", "0x0000")]
        fields += [(name, "0x00" if "Select" in name else node.get(f"port.{port}.{name}")) for name in COUNTERS]
        text += f"# Port counters: Lid {node.lid} port {port} (CapMask: 0x1300)\n" + dotted(fields)
    return text


def smp_query(node: Node, operation: str, words: list[str]) -> str:
    if operation in ("nodeinfo", "ni"):
        kind = "Switch" if node.get("kind") == "switch" else "Channel Adapter"
        fields = [("BaseVers", "1"), ("ClassVers", "1"), ("NodeType", kind), ("NumPorts", node.get("ports"))]
        return f"# Node info: Lid {node.lid}\n" + dotted(
            [*fields, ("Guid", node.get("guid")), ("PortGuid", node.get("port_guid"))]
        )
    if operation in ("portinfo", "pi"):
        return port_info(node, words[0])
    return f"smpquery: iberror: failed: operation '{operation}' not supported"


# ---- the command line ----------------------------------------------------------------------------------------------------------


def main() -> int:
    """Do what the tool of this name would."""
    tool = os.path.basename(sys.argv[0])
    words = [word for word in sys.argv[1:] if word != "-e"]
    while words and words[0] in OPTIONS_WITH_VALUE:
        del words[:2]
    with open(f"{ROOT}/log", "a") as log:
        log.write(" ".join([tool, *words]) + "\n")
    if tool == "ibnetdiscover":
        return show(f"{ROOT}/ibnetdiscover")
    if tool == "sminfo":
        return show(f"{ROOT}/sminfo")
    if words[:2] == ["-D", "nodeinfo"]:
        with open(f"{ROOT}/local") as file:
            words = ["nodeinfo", file.read().strip()]
    if tool in ("ibportstate", "perfquery"):
        operation, lid, rest = "", int(words.pop(1 if words[0] == "-l" else 0), 0), [word for word in words if word != "-l"]
    else:
        operation, lid, rest = words[0].lower(), int(words[1], 0), words[2:]
    return answer(tool, operation, lid, rest)


def answer(tool: str, operation: str, lid: int, words: list[str]) -> int:
    """Answer for a node, faults and all."""
    active = faults(lid, tool)
    if "nocc" in active and tool in CC_CLASS:
        return failed(tool, f"mad_rpc: MAD completed with error status {NO_CLASS:#x}; dport (Lid {lid})")
    if "timeout" in active:
        return failed(tool, f"mad_rpc: _do_madrpc failed; dport (Lid {lid})")
    try:
        node = Node(lid)
    except GoneError:
        return failed(tool, f"mad_rpc: _do_madrpc failed; dport (Lid {lid})")
    before = dict(node.values)
    does = {
        "ibccquery": cc_query,
        "ibccconfig": cc_config,
        "ibportstate": set_port,
        "smpquery": smp_query,
        "perfquery": lambda node, _, words: counters(node, words[0]),
    }[tool]
    text = "" if tool in SET and "deaf" in active else does(node, operation, words)
    if "iberror" in text:
        sys.stderr.write(text + "\n")
        return 255
    if tool in SET:
        if "partial" in active:
            changed = [name for name, value in node.values.items() if before.get(name) != value]
            node.values = before | {name: node.values[name] for name in changed[:1]}
        node.save()
    if active & {"lost", "dies"} and tool in SET:
        with open(f"{ROOT}/faults/{lid}", "w") as file:
            file.write("timeout" if "dies" in active else "")
        return failed(tool, f"mad_rpc: _do_madrpc failed; dport (Lid {lid})")
    if "zeros" in active:
        text = zeroed(text)
    sys.stdout.write(text[: len(text) // 2] if "half" in active else text)
    return 0


def zeroed(text: str) -> str:
    """Return an answer with all its values zero."""
    out = []
    for line in text.splitlines():
        name, colon, value = line.partition(":.")
        digits = value.lstrip(".")
        if not colon or line.startswith("#") or name in ("SL", "Port", "PortSelect"):
            out.append(line)
        elif name in ("LinkState", "PhysLinkState"):
            out.append(line.removesuffix(digits) + "NoChange")
        else:
            zeros = "".join("0" if digit.isalnum() and digit != "x" else digit for digit in digits)
            out.append(line.removesuffix(digits) + (zeros if "x" in digits[:2] or len(digits) == 64 else "0"))
    return "\n".join(out) + "\n"


def failed(tool: str, why: str) -> int:
    """Say on stderr, as the real tools, that nobody answered."""
    sys.stderr.write(f"ibwarn: [{os.getpid()}] {why}\n{tool}: iberror: failed: query\n")
    return 255


def show(path: str) -> int:
    """Print a file."""
    with open(path) as file:
        sys.stdout.write(file.read())
    return 0
