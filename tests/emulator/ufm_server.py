"""Test equipment, no part of fabctl: a UFM that exists only on loopback, with real HTTPS, accounts, state and faults.

It keeps what UFM keeps of a `Fabric` (settings of its OpenSM, partitions, unhealthy ports, SHARP reservations, counters) and
answers in the words of public samples: ``resources/systems``, ``ports``, ``links`` and ``pkeys`` as NVIDIA's UFM SDK shows them,
``app/unhealthy_ports``, ``app/sharp`` and ``app/ufm_version`` as the UFM Enterprise REST API Guide does. No such sample was found of
``PUT app/smconf`` (here: ``{KEY: VALUE}``) and of what a snapshot of counters holds for a port (here: ``statistics``).
What is not modelled: roles, sessions, jobs, most fields of most objects, and everything that OpenSM does.

A fault is one word, for the next requests that it fits (`UfmServer.fault`):

===========  ===================================================================================================================
401, 403, 404, 409, 429, 500, 503, 302   that status, and nothing is done; after a dash words to answer with: ``500-disk full``
drop         the connection is closed before an answer, and nothing is done
done-drop    it is done, then the connection is closed
done-500     it is done, then 500
half         the first half of the answer, then the connection is closed
half-json    half of the JSON, as a whole answer
html, garbage, empty, scalar             an answer that is no JSON, or not that JSON
slow, drip   no answer, or one byte after the other, until nobody waits any more
echo         400 with the credentials that were sent, as a careless server does
deaf         200, and nothing is done
===========  ===================================================================================================================
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from fabctl.model.fabric import Fabric, NodeKind
from fabctl.units import Speed

USER, PASSWORD = "operator", "correct horse: battery/staple"
TOKEN = "QlvDkZ8sT0k3nTh4tN0b0dyM4ySee"
DEFAULT = "0x7fff"
WRITES = {"PUT", "POST", "DELETE"}


@dataclass(frozen=True)
class Certificate:
    """A certificate for a name, which signs itself."""

    certificate: Path
    key: Path


def certificate(folder: Path, name: str) -> Certificate:
    """Make a certificate for an address (``IP:127.0.0.1``) or a name (``DNS:elsewhere``) with openssl."""
    stem = name.partition(":")[2]
    made = Certificate(folder / f"{stem}.pem", folder / f"{stem}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2",
         "-subj", "/CN=UFM of a test", "-addext", f"subjectAltName={name}", "-out", made.certificate, "-keyout", made.key],
        check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return made


@dataclass
class Fault:
    """What goes wrong with so many requests that it fits, after some that it spares."""

    word: str
    method: str
    path: str
    times: int
    after: int


@dataclass
class State:
    """What this UFM holds."""

    smconf: dict[str, Any]
    pkeys: dict[str, dict[str, Any]]
    unhealthy: dict[str, str] = field(default_factory=dict)
    reservations: dict[str, dict[str, Any]] = field(default_factory=dict)


class UfmServer:
    """A UFM of a fabric, as a context manager.

    Parameters
    ----------
    fabric : Fabric
    folder : Path
        Where the files with its credentials are made.
    identity : Certificate
        What it shows, and what those who ask must believe.

    Attributes
    ----------
    state : State
        To be looked at, and to be changed behind fabctl's back.
    requests : list of (str, str)
        Method and path of each, in order.
    by_pkeys : bool
        SHARP reservations are made from partitions, and requests for them ignored with a 200.
    modern : bool
        A partition that is not there is a 404, and not ``{}`` with a 200.
    restarts : bool
        Whether a new ``routing_engine`` comes into force.
    lag : int
        How many reads still show the state before a write.
    """

    def __init__(self, fabric: Fabric, folder: Path, identity: Certificate) -> None:
        self.fabric = fabric
        self.requests: list[tuple[str, str]] = []
        self.by_pkeys = False
        self.modern = True
        self.restarts = True
        self.lag = 0
        self.counters: dict[tuple[int, int], dict[str, int]] = {}
        self.state = State(
            {
                "m_key": "0x5ec4e7", "sm_key": "0x1", "sm_priority": 15, "max_wire_smps": 8, "exit_on_fatal": True,
                "routing_engine": "minhop", "routing_engine_active": "minhop", "root_guid_file": "(null)", "max_op_vls": 5,
            },
            {DEFAULT: {"partition": "management", "ip_over_ib": True, "guids": [], "qos_conf": _quality()}},
        )  # fmt: skip
        self.ca = identity.certificate
        self.auth = _secret(folder / "ufm.auth", f"{USER}:{PASSWORD}\n")
        self.token = _secret(folder / "ufm.token", f"{TOKEN}\n")
        self._faults: list[Fault] = []
        self._before: list[State] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"ufm": self}))
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def options(self) -> dict[str, str]:
        """What ``UfmDriver.make`` takes."""
        return {"url": self.url, "auth": str(self.auth), "ca": str(self.ca)}

    @property
    def driver_option(self) -> str:
        """What ``--driver`` takes."""
        return "ufm:" + ",".join(f"{key}={value}" for key, value in self.options.items())

    def fault(self, word: str, path: str = "", method: str = "", times: int = 1, after: int = 0) -> None:
        """Have something go wrong with the next `times` requests whose path holds `path`, but for the first `after`."""
        self._faults.append(Fault(word, method, path, times, after))

    def mend(self) -> None:
        """Have nothing go wrong any more."""
        self._faults.clear()

    def written(self) -> list[tuple[str, str]]:
        """Return the requests that could have changed something."""
        return [(method, path) for method, path in self.requests if method in WRITES and "monitoring" not in path]

    # ---- what UFM does ---------------------------------------------------------------------------------------------

    def due(self, method: str, path: str) -> str:
        """Return the fault that a request meets, and count it."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self._faults:
                if fault.times > 0 and fault.path in path and fault.method in {"", method}:
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault.word
        return ""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return status and JSON for a request of somebody who may ask it."""
        with self._lock:
            if method in WRITES and "monitoring" not in path:
                self._before = [deepcopy(self.state)] * self.lag
                return self._write(method, path, body)
            return self._read(self._before.pop() if self._before else self.state, path, query, body)

    def _read(self, state: State, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        match path.split("/"):
            case ["app", "ufm_version"]:
                return 200, {"ufm_release_version": "6.22.1-6", "opensm_version": "5.24.0.MLNX20250904.5f3ee65"}
            case ["app", "smconf"]:
                key = query.get("param_name")
                if key is None:
                    return 200, state.smconf
                return (200, {key: state.smconf[key]}) if key in state.smconf else (404, "no such parameter")
            case ["app", "unhealthy_ports"]:
                return 200, [_unhealthy(name, why) for name, why in state.unhealthy.items()]
            case ["app", "sharp", "allocate_resources"]:
                return 200, self._reservations(state)
            case ["app", "sharp", "allocate_resources", app]:
                found = self._reservations(state).get(app)
                return (404, "not found") if found is None else (200, {app: found})
            case ["resources", "pkeys"]:
                return 200, {pkey: _shown(found, query) for pkey, found in state.pkeys.items()}
            case ["resources", "pkeys", pkey]:
                if pkey in state.pkeys:
                    return 200, _shown(state.pkeys[pkey], query)
                return (404, f"PKey {pkey} not found") if self.modern else (200, {})
            case ["resources", ("systems" | "ports" | "links") as what]:
                found = {"systems": systems, "ports": ports, "links": links}[what](self.fabric)
                return 200, [one for one in found if query.get("type") in (None, one.get("type"))]
            case ["monitoring", "snapshot"]:
                return 200, {"2026-11-28 09:00:00": {"Device": {}, "Port": self._statistics(body)}}
        return 404, "not found"

    def _write(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        match method, path.split("/"):
            case "PUT", ["app", "smconf"]:
                return self._set(body)
            case "PUT", ["app", "unhealthy_ports"]:
                return self._mark(body)
            case "PUT", ["resources", "pkeys"]:
                return self._partition(body)
            case "PUT", ["resources", "pkeys", "qos_conf"]:
                if body["pkey"] not in self.state.pkeys:
                    return 404, f"PKey {body['pkey']} not found"
                self.state.pkeys[body["pkey"]]["qos_conf"] = {key: body[key] for key in _quality()}
                return 200, body
            case "DELETE", ["resources", "pkeys", pkey]:
                return (200, {}) if self.state.pkeys.pop(pkey, None) else (404, f"PKey {pkey} not found")
            case "POST", ["app", "sharp", "resources"]:
                return self._reserve(body)
            case "DELETE", ["app", "sharp", "resources", app]:
                if self.by_pkeys:
                    return 200, {}
                return (200, {}) if self.state.reservations.pop(app, None) else (404, "not found")
        return 404, "not found"

    def _set(self, body: dict[str, Any]) -> tuple[int, Any]:
        state = self.state.smconf
        for key, value in body.items():
            if key not in state or type(value) is not type(state[key]):
                return 400, f"{key} cannot be {value}"
        state |= body
        if self.restarts:
            state["routing_engine_active"] = state["routing_engine"].split(",")[0]
        return 200, body

    def _mark(self, body: dict[str, Any]) -> tuple[int, Any]:
        known = {_name(self.fabric, port) for port in range(len(self.fabric.port_node))}
        if not set(body["ports"]) <= known or body["ports_policy"] not in {"HEALTHY", "UNHEALTHY"}:
            return 400, "bad request"
        for port in body["ports"]:
            if body["ports_policy"] == "HEALTHY":
                self.state.unhealthy.pop(port, None)
            else:
                self.state.unhealthy[port] = {"isolate": "MANUAL", "no_discover": "MANUAL"}[body["action"]]
        return 200, {}

    def _partition(self, body: dict[str, Any]) -> tuple[int, Any]:
        number = int(body["pkey"], 16)
        guids, kinds = body["guids"], body["memberships"]
        if (
            not 0 < number < 0x7FFF
            or not guids
            or len(guids) != len(kinds)
            or not all(re.fullmatch("[0-9a-f]{16}", g) for g in guids)
        ):
            return 400, "bad request"
        old = self.state.pkeys.get(body["pkey"], {})
        self.state.pkeys[body["pkey"]] = {
            "partition": old.get("partition", f"api_pkey_{body['pkey']}"),
            "ip_over_ib": body["ip_over_ib"],
            "guids": [{"guid": g, "membership": k, "index0": body["index0"]} for g, k in zip(guids, kinds, strict=True)],
            "qos_conf": old.get("qos_conf", _quality()),
        }
        return 200, {}

    def _reserve(self, body: dict[str, Any]) -> tuple[int, Any]:
        if self.by_pkeys:
            return 200, {}
        if body["app_id"] in self.state.reservations:
            return 400, f"{body['app_id']} exists"
        hosts = self.fabric.hosts
        wanted = {hosts.name.index(name) for name in body["hosts_names"].split(",")}
        guids = [
            f"0x{int(self.fabric.port_guid[port]):016x}"
            for port in self.fabric.endpoints
            if hosts.node_host[self.fabric.port_node[port]] in wanted
        ]
        self.state.reservations[body["app_id"]] = {"pkey": body.get("pkey", DEFAULT), "guids": guids}
        return 202, {}

    def _reservations(self, state: State) -> dict[str, Any]:
        if not self.by_pkeys:
            return state.reservations
        return {
            found["partition"]: {"pkey": pkey, "guids": [f"0x{member['guid']}" for member in found["guids"]]}
            for pkey, found in state.pkeys.items()
            if pkey != DEFAULT
        }

    def _statistics(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = {asked.removeprefix("Grid.default.") for asked in body["objects"]}
        out = {}
        for port in range(len(self.fabric.port_node)):
            name = _name(self.fabric, port)
            if {name.partition("_")[0], "Grid.default"} & wanted and self.fabric.port_number[port]:
                held = self.counters.get((int(name.partition("_")[0], 16), int(self.fabric.port_number[port])), {})
                out[name] = {
                    "dname": name,
                    "last_updated": "2026-11-28 09:00:00",
                    "statistics": {attribute: held.get(attribute, 0) for attribute in body["attributes"]},
                }
        return out

    def rest(self, seconds: float) -> bool:
        """Wait, unless the test is over; return whether it is."""
        return self._over.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ufm: ClassVar[UfmServer]
    timeout = 20

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._serve()

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        prefix, _, path = parts.path.lstrip("/").partition("/")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        word = self.ufm.due(self.command, path + (f"?{parts.query}" if parts.query else ""))
        with suppress(OSError):  # nobody waits any more
            if word.startswith(("drop", "slow", "drip", "echo")) or word[:3].isdigit():
                self._fail(word)
            elif not self._known(prefix):
                self._send(401, "Unauthorized")
            elif word == "deaf":
                self._send(200, {})
            else:
                plain = "/".join(unquote(part) for part in path.split("/"))
                self._finish(word, *self.ufm.answer(self.command, plain, dict(parse_qsl(parts.query)), body))

    def _known(self, prefix: str) -> bool:
        wanted = {"ufmRest": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), "ufmRestV3": TOKEN}
        return prefix in wanted and self.headers["Authorization"] == f"Basic {wanted[prefix]}"

    def _fail(self, word: str) -> None:
        if word == "slow":
            self.ufm.rest(30)
        elif word == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(1000):
                if self.ufm.rest(0.02):
                    break
                self.wfile.write(b" ")
        elif word == "echo":
            self._send(400, {"headers": dict(self.headers), "user": USER, "password": PASSWORD, "token": TOKEN})
        elif word != "drop":
            status, _, words = word.partition("-")
            self._send(int(status), words or "it does not work")

    def _finish(self, word: str, status: int, answer: Any) -> None:
        texts: dict[str, Callable[[str], str]] = {
            "half-json": lambda text: text[: len(text) // 2],
            "html": lambda text: "<html><style>b {}</style><body><b>Log in</b></body></html>",
            "garbage": lambda text: "\x00\xff{]",
            "empty": lambda text: "",
            "scalar": lambda text: "7",
        }
        text = texts.get(word, lambda text: text)(json.dumps(answer))
        if word == "done-500":
            self._send(500, "it broke afterwards")
        elif word != "done-drop":
            self._send(status, text, half=word == "half", kind="text/html" if word == "html" else "application/json")

    def _send(self, status: int, answer: Any, *, half: bool = False, kind: str = "application/json") -> None:
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 302:
            self.send_header("Location", "https://127.0.0.1:9/")
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        self.close_connection = True


def _secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _quality() -> dict[str, float]:
    return {"mtu_limit": 2, "rate_limit": 2.5, "service_level": 0}


def _shown(found: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    out = {"partition": found["partition"], "ip_over_ib": found["ip_over_ib"]}
    if query.get("guids_data") == "true":
        out["guids"] = found["guids"]
    if query.get("qos_conf") == "true":
        out["qos_conf"] = found["qos_conf"]
    return out


def _unhealthy(name: str, why: str) -> dict[str, Any]:
    guid, _, number = name.partition("_")
    return {
        "PeerLID": "Unknown", "UnhealthyPortNumber": int(number), "UnhealthyGUID": guid, "UnhealthyPortDname": number,
        "Condition": [why], "State": "Warning", "StatusTime": "Sat Nov 28 09:00:00 2026",
    }  # fmt: skip


# ---- the fabric, as UFM shows it -----------------------------------------------------------------------------------


def _guid(fabric: Fabric, port: int) -> str:
    """Return the GUID by which UFM calls a port's device: a switch by its own, an HCA by the port's."""
    node = int(fabric.port_node[port])
    return f"{int(fabric.node_guid[node] if _is_switch(fabric, node) else fabric.port_guid[port] or fabric.node_guid[node]):016x}"


def _name(fabric: Fabric, port: int) -> str:
    return f"{_guid(fabric, port)}_{int(fabric.port_number[port])}"


def _is_switch(fabric: Fabric, node: int) -> bool:
    return bool(fabric.node_kind[node] == NodeKind.SWITCH)


def systems(fabric: Fabric) -> list[dict[str, Any]]:
    """Return ``resources/systems``: switches and hosts, a host under the GUID of its first HCA."""
    hosts = fabric.hosts
    groups: dict[str, list[int]] = {}
    of_node: list[list[str]] = [[] for _ in range(fabric.n_nodes)]
    for port in np.flatnonzero(fabric.port_number).tolist():
        of_node[fabric.port_node[port]].append(_name(fabric, port))
    for node in range(fabric.n_nodes):
        switch = _is_switch(fabric, node)
        groups.setdefault(fabric.node_name[node] if switch else hosts.name[hosts.node_host[node]], []).append(node)
    out = []
    for name, nodes in groups.items():
        guid = f"{int(fabric.node_guid[nodes[0]]):016x}"
        switch = _is_switch(fabric, nodes[0])
        ports = [name for node in nodes for name in of_node[node]]
        out.append({
            "description": "MQM8700" if switch else "server", "fw_version": "N/A", "guid": guid, "name": guid, "ports": ports,
            "model": "MQM8700" if switch else "Computer", "role": "tor" if switch else "endpoint", "sm_mode": "noSM",
            "state": "active", "system_guid": guid, "system_name": name, "type": "switch" if switch else "host", "vendor": "Mellanox",
        })  # fmt: skip
    return out


def ports(fabric: Fabric) -> list[dict[str, Any]]:
    """Return ``resources/ports``."""
    out = []
    for port in range(len(fabric.port_node)):
        if not fabric.port_number[port]:
            continue
        peer = int(fabric.port_peer[port])
        here, there = _end(fabric, port), _end(fabric, peer) if peer >= 0 else {}
        kind = "Switch" if _is_switch(fabric, int(fabric.port_node[port])) else "Computer"
        lanes, speed = int(fabric.port_lanes[port]), Speed(int(fabric.port_speed[port])).name
        out.append({
            "name": _name(fabric, port), "guid": here["guid"], "systemID": here["guid"], "number": here["number"],
            "external_number": here["number"], "dname": str(here["number"]), "lid": here["lid"], "description": f"{kind} IB Port",
            "node_description": here["description"], "system_name": here["system"],
            "active_speed": speed if peer >= 0 else "N/A", "active_width": f"{lanes}x" if peer >= 0 else "N/A",
            "enabled_speed": ["SDR", "EDR", "HDR"], "enabled_width": ["1x", "4x"], "mtu": 2048,
            "logical_state": "Active" if peer >= 0 else "Down", "physical_state": "Link Up" if peer >= 0 else "Polling",
            "peer": _name(fabric, peer) if peer >= 0 else "N/A", "peer_guid": there.get("guid", "N/A"),
            "peer_lid": there.get("lid", "N/A"), "peer_node_description": there.get("description", "N/A"),
            "peer_node_guid": there.get("guid", "N/A"), "peer_node_name": there.get("system", "N/A"),
            "peer_port_dname": str(there.get("number", "N/A")),
        })  # fmt: skip
    return out


def links(fabric: Fabric) -> list[dict[str, Any]]:
    """Return ``resources/links``: each cable once."""
    out = []
    for port in fabric.channel_port.tolist():
        peer = int(fabric.port_peer[port])
        if peer < port:
            continue
        here, there = _end(fabric, port), _end(fabric, peer)
        out.append({
            "name": f"{_name(fabric, port)}:{_name(fabric, peer)}", "severity": "Info", "width": f"{int(fabric.port_lanes[port])}x",
            "source_guid": here["guid"], "source_port": str(here["number"]), "source_port_dname": str(here["number"]),
            "source_port_node_description": here["description"], "destination_guid": there["guid"],
            "destination_port": str(there["number"]), "destination_port_dname": str(there["number"]),
            "destination_port_node_description": there["description"], "cable_info": {}, "capabilities": [],
        })  # fmt: skip
    return out


def _end(fabric: Fabric, port: int) -> dict[str, Any]:
    node, number = int(fabric.port_node[port]), int(fabric.port_number[port])
    name = fabric.node_name[node]
    switch = _is_switch(fabric, node)
    lid = fabric.node_lid(node) if switch else int(fabric.port_lid[port])
    return {
        "guid": _guid(fabric, port), "number": number, "lid": lid, "system": name.partition(" ")[0],
        "description": f"{name}:{number}" if switch else name,
    }  # fmt: skip
