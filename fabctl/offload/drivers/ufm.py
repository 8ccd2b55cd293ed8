"""The driver for UFM: the subnet manager's settings, partitions, port health, SHARP reservations and counters, over REST.

What UFM answers is its own view of the fabric. Where a switch can be asked itself, a feature does that too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from fabctl.errors import RefusedError, SourceError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Place, Risk
from fabctl.offload.driver import Manager, Observed
from fabctl.offload.drivers.ufm_client import UfmClient
from fabctl.offload.drivers.ufm_places import (
    ACTIVE_ENGINE,
    Counters,
    Health,
    Kind,
    Listing,
    Partitions,
    Qualities,
    Reservations,
    Settings,
)
from fabctl.offload.drivers.ufm_values import keys_of, reservations_of, switches_of
from fabctl.printable import printable

_POLLS = 60
_LONGEST = 200


class UfmDriver:
    """Reads and writes through one UFM.

    Parameters
    ----------
    client : UfmClient
    fabric : Fabric
    options : mapping of str to str
        What `make` takes to make it again.

    Notes
    -----
    =====================  ============  ===========================================================================
    key                    target        value
    =====================  ============  ===========================================================================
    ``smconf.KEY``         fabric        a setting of UFM's OpenSM; ``smconf.routing_engine_active`` is what it does
    ``pkey.0x8001``        fabric        ``ipoib=yes index0=no 0x0c42a10300280000=full ...``, port GUIDs in order
    ``pkey-qos.0x8001``    fabric        ``mtu=2 rate=2.5 sl=0``
    ``sharp.APP``          fabric        ``pkey=0x8012 0x0c42a10300280000 ...``, port GUIDs in order
    ``port-health``        GUID/Pn       ``healthy`` or ``unhealthy``, which is isolated
    ``counters``           GUID          JSON, counters by port number; read only
    ``pkeys``              fabric        ``0x8012 0xffff``, all partitions; read only
    ``reservations``       fabric        ``job-7 job-8``, all SHARP reservations; read only
    =====================  ============  ===========================================================================
    """

    name = "ufm"
    keys: ClassVar[Mapping[str, str]] = {
        "url": "https://HOST[:PORT] of UFM",
        "auth": "file with one line, a token or USER:PASSWORD; mode 600",
        "ca": "file with the certificates of the authorities that are believed [default: the system's]",
    }

    def __init__(self, client: UfmClient, fabric: Fabric, options: Mapping[str, str]) -> None:
        self.options = options
        self._client = client
        self._versions = client.get("app", "ufm_version")
        self._settings = Settings(client)
        self._of_fabric: Mapping[str, Kind] = {
            "smconf": self._settings,
            "pkey": Partitions(client),
            "pkey-qos": Qualities(client),
            "sharp": Reservations(client, fabric),
        }
        self._of_target: Mapping[str, Kind] = {
            "port-health": Health(client),
            "counters": Counters(client),
            "pkeys": Listing(client, ("resources", "pkeys"), keys_of),
            "reservations": Listing(client, ("app", "sharp", "allocate_resources"), reservations_of),
        }
        self._written: dict[Place, str | None] = {}

    @classmethod
    def make(cls, options: Mapping[str, str], fabric: Fabric) -> Self:
        """Return a driver; UFM is asked for its version and switches: a wrong address, password or fabric shows at once.

        Raises
        ------
        UsageError, InputError
            If an option is wrong, or a file cannot be read.
        RefusedError
            If UFM does not let us, cannot be trusted, or manages another fabric.
        SourceError
            If UFM cannot be reached.
        """
        if not {"url", "auth"} <= options.keys() <= cls.keys.keys():
            raise UsageError(
                f"the driver 'ufm' takes {', '.join(cls.keys)}; url and auth must be there",
                hint="--driver ufm:url=https://HOST,auth=FILE[,ca=FILE]",
            )
        files = {key: Path(options[key]).absolute() for key in ("auth", "ca") if key in options}
        client = UfmClient(options["url"], files["auth"], files.get("ca"))
        driver = cls(client, fabric, {"url": options["url"], **{key: str(path) for key, path in files.items()}})
        _refuse_other_fabric(client, fabric)
        return driver

    def manager(self) -> Manager | None:
        """Return UFM's own OpenSM, which is NVIDIA's; REST does not say at which port it runs."""
        release, opensm = self._version("ufm_release_version"), self._version("opensm_version")
        version = f"{opensm} (UFM {release})" if opensm else f"of UFM {release}"
        return Manager("nvidia", version, "", f"{self._client.label}, GET app/ufm_version: {release}")

    def read(self, place: Place) -> str | None:
        """Return what UFM holds.

        Raises
        ------
        RefusedError
            If UFM has no such place, or a secret is there.
        SourceError
            If UFM cannot be reached, or answers with something else.
        """
        kind, what = self._kind(place)
        return kind.read(what)

    def write(self, place: Place, value: str | None) -> None:
        """Write a value with one request; where its fate is unknown, UFM is read before it is sent again.

        Raises
        ------
        InputError
            If it is no value for this place.
        RefusedError
            If UFM does not take it, or what is there now could not be put back.
        LockedError
            If something else is changing the same.
        SourceError
            If UFM cannot be reached, or it stays unknown whether it was done.
        """
        kind, what = self._kind(place)
        kind.write(what, value)
        self._written[place] = value

    def settle(self, risk: Risk) -> None:
        """Wait until UFM shows all that was written, and its OpenSM routes with the engine that it was given."""
        written, self._written = self._written, {}
        for place, value in written.items():
            if not self._client.wait(lambda place=place, value=value: self.read(place) == value, _POLLS):  # type: ignore[misc]
                raise SourceError(f"UFM took {place.key} and does not show it", hint="UFM's log says what its OpenSM does")
        engines = written.get(Place(self.name, FABRIC, "smconf.routing_engine"))
        if engines:
            self._await_engine(engines.split(","))

    def observe(self, place: Place) -> Observed:
        """Return UFM's own answer, with the request as evidence."""
        kind, what = self._kind(place)
        value = kind.read(what)
        shown = "absent" if value is None else value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
        return Observed(value, f"{self._client.label}, {kind.request.format(what)}: {printable(shown)}")

    def _await_engine(self, wanted: list[str]) -> None:
        active = self._settings.read(ACTIVE_ENGINE)
        if active is None:
            return
        if not self._client.wait(lambda: self._settings.read(ACTIVE_ENGINE) in wanted, _POLLS):
            raise SourceError(
                f"UFM took routing_engine {','.join(wanted)}, and its OpenSM routes on with {active}",
                hint="OpenSM reads routing_engine when it starts: restart it where UFM runs, then try again",
            )

    def _kind(self, place: Place) -> tuple[Kind, str]:
        """Return what kind of place this is, and which of its kind."""
        key, _, what = place.key.partition(".")
        kind = self._of_fabric.get(key) if what and place.target == FABRIC else None
        if kind is None:
            kind, what = self._of_target.get(place.key), place.target
        if kind is None or not kind.form.fullmatch(what):
            raise RefusedError(f"the driver 'ufm' has no place {place.key} at {place.target}")
        return kind, what

    def _version(self, key: str) -> str:
        found = self._versions.get(key) if isinstance(self._versions, dict) else None
        return printable(found) if isinstance(found, str) else ""


def _refuse_other_fabric(client: UfmClient, fabric: Fabric) -> None:
    """Raise `RefusedError` if UFM has none of a fabric's switches; it calls a chassis of several by its system image GUID."""
    managed = switches_of(client.get("resources", "systems", type="switch"))
    own = slice(fabric.n_switches)
    known = {*fabric.node_guid[own].tolist(), *fabric.system_guid[own].tolist()}
    if managed and known and not managed & known:
        raise RefusedError(
            f"{client.label} manages another fabric: none of its {len(managed)} switches is in this one",
            hint="name the fabric that it manages: GET /ufmRest/resources/ports is a SOURCE",
        )
