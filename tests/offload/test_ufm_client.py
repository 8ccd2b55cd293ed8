"""UFM's REST interface: every failure by its name, secrets nowhere, writes never twice in the dark; against the UFM of `emulator`."""

from __future__ import annotations

import base64
import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emulator.ufm_server import PASSWORD, TOKEN, USER, Certificate, UfmServer
from small_fabrics import two_levels

from fabctl.errors import ExitCode, FabctlError, InputError, LockedError, RefusedError, SourceError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.offload.drivers.ufm_access import read_credentials
from fabctl.offload.drivers.ufm_client import PAUSES_S, AbsentError, ConflictError, InDoubtError, UfmClient

SECRETS = (PASSWORD, TOKEN, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())


@pytest.fixture
def server(ufm: Callable[[Fabric], UfmServer]) -> UfmServer:
    return ufm(two_levels(4, 2, 2))


class Patient(UfmClient):
    """Does not really wait, and knows how long it would have."""

    def __init__(self, server: UfmServer, auth: Path | None = None, **options: Any) -> None:
        self.waited: list[float] = []
        super().__init__(server.url, auth or server.auth, server.ca, pause=self.waited.append, **options)


def version(client: UfmClient) -> str:
    return client.get("app", "ufm_version")["ufm_release_version"]


# ---- who is asking, and whom --------------------------------------------------------------------------------------


def test_a_password_and_a_token_each_have_their_own_paths(server):
    assert version(Patient(server)) == version(Patient(server, server.token)) == "6.22.1-6"


@pytest.mark.parametrize(("mode", "words"), [(0o644, "mode 644"), (0o640, "mode 640"), (0o602, "mode 602")])
def test_a_secret_that_others_may_use_is_refused(server, mode, words):
    server.auth.chmod(mode)
    with pytest.raises(RefusedError, match=words) as caught:
        Patient(server)
    assert caught.value.hint == f"chmod 600 {server.auth}"
    assert server.requests == []


def test_a_secret_is_read_from_a_file_and_nothing_else(tmp_path, server):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(server.auth)
    os.mkfifo(pipe, 0o600)
    for path, words in ((link, "symlink"), (pipe, "no file"), (tmp_path, "no file")):
        with pytest.raises(RefusedError, match=words):
            read_credentials(path)
    with pytest.raises(InputError, match="No such file"):
        read_credentials(tmp_path / "absent")


@pytest.mark.parametrize(
    "text", ["", "\n", "one\ntwo\n", "user:\n", ":password\n", "to ken\n", "to\x1bken\n", "tökén\n", "\xff", "x" * 5000]
)
def test_what_is_no_token_and_no_password_is_refused_without_showing_it(tmp_path, text):
    path = tmp_path / "auth"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(InputError, match="one line with a TOKEN, or USER:PASSWORD") as caught:
        read_credentials(path)
    assert not text.strip() or text.strip() not in str(caught.value)


def test_a_password_may_hold_colons_blanks_and_umlauts(tmp_path):
    path = tmp_path / "auth"
    path.write_text("admin:a: ü\n", encoding="utf-8")
    path.chmod(0o600)
    assert read_credentials(path).header == "Basic " + base64.b64encode("admin:a: ü".encode()).decode()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ufm",
        "http://ufm",
        "https://",
        "https://ufm/ufmRest",
        "https://ufm?x=1",
        "https://ufm:port",
        "https://[::1",
        "ftp://ufm",
        "https://u fm",
        "https://u\x7ffm",
        "https://\u00fcfm",
    ],
)
def test_an_address_is_https_and_a_host(server, url):
    with pytest.raises(UsageError):
        UfmClient(url, server.auth)


def test_a_password_in_the_address_is_refused_and_not_repeated(server):
    with pytest.raises(UsageError, match="a secret does not belong into a url") as caught:
        UfmClient("https://admin:hunter2@ufm", server.auth)
    assert "hunter2" not in str(caught.value)


# ---- certificates -------------------------------------------------------------------------------------------------


def test_an_authority_that_is_not_known_is_refused(server):
    client = UfmClient(server.url, server.auth)
    with pytest.raises(RefusedError, match=r"a certificate that does not verify: self.signed certificate") as caught:
        client.get("app", "ufm_version")
    assert "ca=FILE" in caught.value.hint
    assert server.requests == []


def test_a_certificate_for_another_host_is_refused(identities: Callable[[str], Certificate], tmp_path):
    with UfmServer(two_levels(2, 2, 1), tmp_path, identities("DNS:elsewhere")) as server:
        with pytest.raises(RefusedError, match=r"does not verify.*127\.0\.0\.1"):
            version(Patient(server))
        assert server.requests == []


def test_a_file_that_is_no_certificate_is_an_input_error(server, tmp_path):
    path = tmp_path / "ca.pem"
    for text, words in ((None, "No such file"), ("not one", "it holds no certificate")):
        if text is not None:
            path.write_text(text)
        with pytest.raises(InputError, match=words):
            UfmClient(server.url, server.auth, path)


def test_nobody_at_home_and_no_tls(server, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(SourceError, match="cannot be reached: Connection refused"):
        UfmClient(f"https://127.0.0.1:{port}", server.auth, server.ca).get("app")
    with pytest.raises(SourceError, match="cannot be reached: this is no host name"):
        UfmClient(f"https://{'a' * 70}.b", server.auth, server.ca).get("app")
    with pytest.raises(SourceError, match="cannot be reached"):
        UfmClient("https://no-such-host.invalid", server.auth, server.ca).get("app")


# ---- failures, each by its name -----------------------------------------------------------------------------------

READS = [
    ("401", RefusedError, ExitCode.REFUSED, "does not know who is asking"),
    ("403-not your site", RefusedError, ExitCode.REFUSED, "does not let this account do that (403): not your site"),
    ("404", AbsentError, ExitCode.REFUSED, "has no such thing (404)"),
    ("409", ConflictError, ExitCode.LOCKED, "is changing the same already (409)"),
    ("400-what?", RefusedError, ExitCode.REFUSED, "refuses (400): what?"),
    ("302", SourceError, ExitCode.SOURCE, "sends us elsewhere (302)"),
    ("html", SourceError, ExitCode.SOURCE, "bytes of text/html that are no JSON"),
    ("garbage", SourceError, ExitCode.SOURCE, "that are no JSON"),
    ("empty", SourceError, ExitCode.SOURCE, "0 bytes of application/json that are no JSON"),
    ("half-json", SourceError, ExitCode.SOURCE, "that are no JSON"),
]


@pytest.mark.parametrize(("word", "kind", "code", "message"), READS, ids=[read[0] for read in READS])
def test_what_does_not_pass_is_not_asked_again(server, word, kind, code, message):
    server.fault(word, times=9)
    client = Patient(server)
    with pytest.raises(kind) as caught:
        version(client)
    assert message in caught.value.message
    assert caught.value.exit_code is code
    assert len(server.requests) == 1
    assert client.waited == []


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("500-disk full", "fails (500): disk full"),
        ("503", "fails (503): it does not work"),
        ("429", "fails (429)"),
        ("drop", "drops the connection without an answer"),
        ("half", "ends in the middle of its answer: "),
    ],
)
def test_what_may_pass_is_asked_again_with_growing_pauses(server, word, message):
    client = Patient(server)
    server.fault(word, times=3)
    assert version(client) == "6.22.1-6"
    assert client.waited == ([7.0] * 3 if word == "429" else list(PAUSES_S))
    server.fault(word, times=9)
    with pytest.raises(SourceError) as caught:
        version(client)
    assert message in caught.value.message
    assert "GET /app/ufm_version" in caught.value.message
    assert len(server.requests) == 8


@pytest.mark.parametrize("word", ["slow", "drip"])
def test_an_answer_that_does_not_end_is_given_up(server, word):
    server.fault(word, times=9)
    client = Patient(server, answer_s=0.3)
    with pytest.raises(SourceError, match=r"gives no whole answer in 0\.3 s"):
        version(client)
    with pytest.raises(InDoubtError, match=r"gives no whole answer") as caught:
        client.send("PUT", "app", "smconf", body={"sm_priority": 3})
    assert not caught.value.again
    assert len(server.requests) == 2


def test_words_of_a_failure_are_short_and_safe_to_show(server):
    server.fault("403-<h1>no</h1>\x1b[2J\n" + "x" * 5000)
    with pytest.raises(RefusedError) as caught:
        version(Patient(server))
    assert "\x1b" not in str(caught.value)
    assert r"no \x1b[2J xxx" in caught.value.message
    assert len(caught.value.message) < 350


# ---- writes -------------------------------------------------------------------------------------------------------


def put(client: UfmClient, server: UfmServer) -> None:
    client.change(lambda: server.state.smconf["sm_priority"] == 3, "PUT", "app", "smconf", body={"sm_priority": 3})


@pytest.mark.parametrize(
    ("word", "sent"), [("drop", 2), ("500", 2), ("503", 2), ("done-drop", 1), ("done-500", 1), ("half", 1), ("", 1)]
)
def test_a_write_is_sent_again_only_after_a_look(server, word, sent):
    server.fault(word, method="PUT")
    put(Patient(server), server)
    assert server.state.smconf["sm_priority"] == 3
    assert len(server.requests) == sent


def test_a_write_that_makes_something_is_never_sent_again_in_the_dark(server):
    client = Patient(server)
    server.fault("drop", times=9)
    with pytest.raises(SourceError, match=r"drops the connection .*UFM was asked, and it is not done") as caught:
        client.change(lambda: False, "POST", "app", "sharp", "resources", body={})
    assert caught.value.exit_code is ExitCode.SOURCE
    assert len(server.requests) == 1


def test_a_write_that_goes_on_failing_ends(server):
    server.fault("500", times=99)
    with pytest.raises(SourceError, match=r"fails \(500\).*it is not done"):
        put(Patient(server), server)
    assert len(server.requests) == 4


def test_a_conflict_is_no_failure_if_it_is_as_wanted(server):
    server.fault("409", times=2)
    with pytest.raises(LockedError):
        put(Patient(server), server)
    server.state.smconf["sm_priority"] = 3
    put(Patient(server), server)


def test_names_never_leave_their_part_of_a_path(server):
    with pytest.raises(AbsentError):
        Patient(server).get("app", "sharp", "allocate_resources", "../../smconf?param_name=m_key#")
    assert server.requests[-1][1] == "app/sharp/allocate_resources/..%2F..%2Fsmconf%3Fparam_name%3Dm_key%23"


# ---- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [False, True])
def test_secrets_are_in_no_repr_error_traceback_or_log(server, token, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    client = Patient(server, server.token if token else server.auth)
    shown = [repr(client), repr(vars(client)), repr(read_credentials(server.token if token else server.auth))]
    for word in (*(read[0] for read in READS), "500", "drop", "half", "echo"):
        server.fault(word, times=5 if word in {"500", "drop", "half"} else 1)
        for act in (lambda: version(client), lambda: client.send("PUT", "app", "smconf", body={})):
            try:
                act()
            except FabctlError as error:
                shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
    server.fault("echo")
    with pytest.raises(RefusedError, match=r"\*\*\*") as caught:
        version(client)
    streams = capfd.readouterr()
    text = "\n".join([*shown, str(caught.value), caplog.text, streams.out, streams.err])
    mine = (SECRETS[1],) if token else (SECRETS[0], SECRETS[2])
    assert [secret for secret in mine if secret in text or secret.replace("/", "\\/") in text] == []
