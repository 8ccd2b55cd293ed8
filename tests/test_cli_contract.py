"""What scripts may rely on: exit codes, streams, plain text off terminals, help that is true, a light start."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from fabctl import errors
from fabctl.cli.common import TEXT_FORMATS
from fabctl.cli.help import ENVELOPE, ENVIRONMENT, FORMATS, TOPICS
from fabctl.cli.lazy import LazyGroup
from fabctl.cli.main import COMMANDS
from fabctl.errors import ExitCode
from fabctl.generate import FAMILIES
from fabctl.registry import Entry
from fabctl.traffic.job import KEYS, parse_job, parse_jobs
from fabctl.traffic.model_presets import preset_names
from fabctl.traffic.training_spec import PARALLELISM

HEAVY = {"numpy", "networkx", "rich", "yaml", "numba", "scipy"}
FABCTL = [sys.executable, "-m", "fabctl"]
SOURCE_COMMANDS = ("discover", "route", "bench")

PROBE = """
import atexit, sys
atexit.register(lambda: print("MODULES", *sys.modules, file=sys.stderr))
from fabctl.cli.main import run
sys.argv = ["fabctl", *sys.argv[1:]]
run()
"""


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FABCTL", "_FABCTL", "NO_COLOR", "TERM"))}
    return {**kept, **changes}


def fabctl(*argv: object, **options: Any) -> subprocess.CompletedProcess[str]:
    options.setdefault("env", environment())
    return subprocess.run([*FABCTL, *map(str, argv)], capture_output=True, text=True, check=False, timeout=120, **options)


def heavy_modules(*argv: str, **variables: str) -> set[str]:
    """Run fabctl in a fresh process and return which heavy packages it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *argv], capture_output=True, text=True, check=True, env=environment(**variables)
    )
    modules = done.stderr.rpartition("MODULES ")[2].split()
    assert "fabctl.cli.main" in modules
    return HEAVY & set(modules)


def completions(words: str) -> list[str]:
    """Return what TAB offers after `words`."""
    done = fabctl(env=environment(_FABCTL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))))
    assert done.returncode == 0
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Register a function as the command ``probe``."""

    def register(body: Callable[[], object]) -> None:
        module = ModuleType("probe_command")
        module.probe = click.command(name="probe")(body)
        monkeypatch.setitem(sys.modules, "probe_command", module)
        monkeypatch.setitem(COMMANDS.entries, "probe", Entry("probe_command:probe", "A command of this test."))

    return register


# ---- start-up ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["help", "exit-codes"], *([name, "--help"] for name in COMMANDS.names())]
)
def test_help_and_version_import_nothing_heavy(argv: list[str]) -> None:
    assert heavy_modules(*argv) == set()


@pytest.mark.parametrize("words", ["fabctl ", "fabctl discover --", "fabctl route --engine ", "fabctl bench "])
def test_tab_imports_nothing_heavy(words: str) -> None:
    variables = {"_FABCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert heavy_modules(**variables) == set()


def test_the_probe_sees_heavy_modules(tmp_path: Path) -> None:
    net = tmp_path / "fabric.txt"
    net.write_text('Switch 2 "S-1" # "leaf" base port 0 lid 1 lmc 0\n')
    assert "numpy" in heavy_modules("discover", str(net))


# ---- exit codes --------------------------------------------------------------------------------------------------------


def test_a_bare_command_line_shows_help_and_is_a_usage_error(run: Any) -> None:
    done = run()
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "Usage: fabctl" in done.err


def test_unknown_command_suggests_the_nearest(run: Any) -> None:
    done = run("dicover")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert done.err.startswith("fabctl: unknown command 'dicover'\n  hint: did you mean 'discover'?")


@pytest.mark.parametrize("name", SOURCE_COMMANDS)
def test_unknown_option_suggests_the_nearest_and_names_the_help(run: Any, name: str) -> None:
    done = run(name, "--strct", "fabric.txt")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "No such option '--strct'" in done.err
    assert "'--strict'" in done.err
    assert f"hint: fabctl {name} --help" in done.err


@pytest.mark.parametrize("name", SOURCE_COMMANDS)
def test_unknown_format_is_a_usage_error(run: Any, name: str) -> None:
    done = run(name, "fabric.txt", "-o", "jsn")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "jsn" in done.err


@pytest.mark.parametrize("name", SOURCE_COMMANDS)
def test_no_source_is_a_usage_error(run: Any, name: str) -> None:
    done = run(name)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "fabctl: " in done.err


@pytest.mark.parametrize("name", ["discover", "route"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"\x7fELF\x00\x00", "binary"),
        (b"\x1f\x8b\x08\x00 cut", "gzip"),
        (b"no fabric at all\n", "no known source format"),
    ],
)
def test_bad_input_is_code_3_and_names_the_file(run: Any, tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / "fabric.txt"
    if content is not None:
        path.write_bytes(content)
    done = run(name, path)
    assert (done.code, done.out) == (ExitCode.INPUT, "")
    assert f"{path}: " in done.err
    assert message in done.err


@pytest.mark.parametrize("name", ["discover", "route"])
def test_a_directory_is_code_3(run: Any, tmp_path: Path, name: str) -> None:
    done = run(name, tmp_path)
    assert (done.code, done.out) == (ExitCode.INPUT, "")
    assert "directory" in done.err


def test_unknown_source_format_suggests_the_nearest(run: Any, fixtures: Path) -> None:
    done = run("discover", fixtures / "tool-output/ibnetdiscover.txt", "--from", "ibnetdiscovery")
    assert done.code == ExitCode.USAGE
    assert "did you mean 'ibnetdiscover'?" in done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("so", hint="why"), ExitCode.USAGE),
        (errors.InputError("so", where="a.txt:3", hint="why"), ExitCode.INPUT),
        (errors.SourceError("so", hint="why"), ExitCode.SOURCE),
        (errors.RefusedError("so", hint="why"), ExitCode.REFUSED),
        (click.BadParameter("so"), ExitCode.USAGE),
        (click.FileError("a.txt"), ExitCode.USAGE),
        (PermissionError(13, "Permission denied", "a.txt"), ExitCode.INPUT),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (click.Abort(), ExitCode.INTERRUPTED),
        (KeyError("bug"), ExitCode.INTERNAL),
        (EOFError(), ExitCode.INTERNAL),
        (ValueError("bug"), ExitCode.INTERNAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(int(value)),
)
def test_each_error_has_its_code_and_one_message(run: Any, command: Any, error: BaseException, code: ExitCode) -> None:
    def probe() -> None:
        raise error

    command(probe)
    done = run("probe")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("fabctl: ")
    assert "Traceback" not in done.err
    if isinstance(error, errors.FabctlError):
        assert done.err == f"fabctl: {error}\n"


def test_internal_errors_show_their_traceback_on_demand(run: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe() -> None:
        raise KeyError("bug")

    command(probe)
    assert "FABCTL_DEBUG=1" in run("probe").err
    monkeypatch.setenv("FABCTL_DEBUG", "1")
    with pytest.raises(KeyError):
        run("probe")


@pytest.mark.parametrize(
    ("result", "code"), [(None, 0), ("text", 0), (object(), 0), ([1], 0), (ExitCode.FINDINGS, 1), (ExitCode.PARTIAL, 5)]
)
def test_what_a_command_returns_is_its_code_if_it_is_one(run: Any, command: Any, result: object, code: int) -> None:
    command(lambda: result)
    assert run("probe").code == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_reading_stdin(number: signal.Signals) -> None:
    with subprocess.Popen(
        ["env", "--default-signal=INT", *FABCTL, "discover", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        process.stdin.write(b"#")
        process.stdin.flush()
        wait_until_it_wants_more(process)
        process.send_signal(number)
        errors = process.stderr.read().decode()
        assert process.wait(timeout=60) == ExitCode.INTERRUPTED
    assert errors == "fabctl: interrupted\n"


def wait_until_it_wants_more(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has read all of its stdin and sleeps, waiting for more."""
    while True:
        unread = int.from_bytes(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)), sys.byteorder)
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0]
        if unread == 0 and state == "S":
            return
        time.sleep(0.01)


@pytest.fixture
def broken_pipe() -> Iterator[int]:
    """A pipe to write to whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("argv", [["--help"], ["help", "formats"], ["discover", "dgx1-16", "-o", "jsonl"]])
def test_broken_pipe_is_silent(broken_pipe: int, argv: list[str]) -> None:
    done = subprocess.run([*FABCTL, *argv], stdout=broken_pipe, stderr=subprocess.PIPE, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (ExitCode.BROKEN_PIPE, b"")


def test_head_reads_what_it_wants() -> None:
    pipeline = f'"{sys.executable}" -m fabctl discover dgx1-16 -o json | head -c 1; echo " ${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, env=environment(), check=True)
    letter, code = done.stdout.split()
    assert letter == "{"
    assert int(code) in (ExitCode.DONE, ExitCode.BROKEN_PIPE)  # DONE if the pipe took all before head closed it
    assert done.stderr == ""


def test_a_reader_of_stderr_that_went_away_does_not_change_the_code(broken_pipe: int) -> None:
    done = subprocess.run([*FABCTL, "dicover"], stdout=subprocess.PIPE, stderr=broken_pipe, env=environment(), check=False)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, b"")


@pytest.mark.parametrize("argv", [["--help"], ["discover", "dgx1-16", "-o", "jsonl"]])
def test_a_full_disk_under_stdout_is_said(argv: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*FABCTL, *argv], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (ExitCode.INPUT, "fabctl: stdout: No space left on device\n")


@pytest.mark.parametrize(("closed", "code"), [("<&-", ExitCode.INPUT), (">&-", ExitCode.INPUT), ("2>&-", ExitCode.INPUT)])
def test_closed_streams_do_not_crash(closed: str, code: ExitCode) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m fabctl discover - {closed}'],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


# ---- streams and text ---------------------------------------------------------------------------------------------------


def test_warnings_never_reach_stdout(run: Any, fixtures: Path) -> None:
    text = (fixtures / "tool-output/ibnetdiscover.txt").read_text() + "\na line of something else\n"
    done = run("discover", "-", "-o", "json", stdin=text)
    assert json.loads(done.out)["kind"]
    assert "1 lines not understood" in done.err
    strict = run("discover", "-", "--strict", stdin=text)
    assert (strict.code, strict.out) == (ExitCode.INPUT, "")


def on_terminal(*argv: str, **variables: str) -> str:
    """Return what fabctl prints when stdout is a terminal."""
    parent, child = pty.openpty()
    with subprocess.Popen([*FABCTL, *argv], stdout=child, stderr=subprocess.DEVNULL, env=environment(**variables)) as process:
        os.close(child)
        chunks = []
        while True:
            try:
                chunk = os.read(parent, 1 << 16)
            except OSError:  # the terminal's other side is closed
                break
            if not chunk:
                break
            chunks.append(chunk)
        os.close(parent)
        assert process.wait(timeout=60) in (ExitCode.DONE, ExitCode.FINDINGS)
    return b"".join(chunks).decode()


def test_terminals_get_escapes_only_if_they_want_them() -> None:
    assert "\x1b[" in on_terminal("discover", "dgx1-16", TERM="xterm")
    assert "\x1b" not in on_terminal("discover", "dgx1-16", TERM="xterm", NO_COLOR="1")
    assert "\x1b" not in on_terminal("discover", "dgx1-16", TERM="dumb")


@pytest.mark.parametrize("argv", [["--help"], ["discover", "dgx1-16"], ["route", "dgx1-16", "--engine", "ftree"], ["dicover"]])
def test_no_escapes_off_terminals(argv: list[str]) -> None:
    done = fabctl(*argv, env=environment(TERM="xterm-256color", FORCE_COLOR="1"))
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("fmt", TEXT_FORMATS)
@pytest.mark.parametrize("argv", [["discover", "dgx1-16"], ["route", "dgx1-16", "--engine", "ftree"]], ids=lambda argv: argv[0])
def test_every_format_prints_the_same_bytes_twice(argv: list[str], fmt: str, run: Any) -> None:
    first, second = (run(*argv, "-o", fmt) for _ in range(2))
    assert first.code == ExitCode.DONE
    assert first.out
    assert first.out == second.out


@pytest.mark.parametrize("argv", [["discover", "dgx1-16", "-o", "json"], ["route", "dgx1-16", "--engine", "updn", "-o", "json"]])
def test_hash_seeds_do_not_show(argv: list[str]) -> None:
    first, second = (fabctl(*argv, env=environment(PYTHONHASHSEED=seed)) for seed in ("1", "2"))
    assert first.returncode == ExitCode.DONE
    assert first.stdout == second.stdout


# ---- help ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS.names())
def test_every_command_explains_itself(run: Any, name: str) -> None:
    command: click.Command = COMMANDS.load(name)
    assert command.get_short_help_str(limit=1000) == COMMANDS.entries[name].summary
    done = run(name, "--help")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    assert done == run(name, "-h")
    assert "\\b" not in done.out, "the docstring is raw: click needs the real backspace character"
    examples = re.search(r"^  Examples:\n((?:    .*\n)+)", done.out, re.MULTILINE)
    assert examples, "no Examples: block"
    lines = [line for line in examples[1].splitlines() if f"fabctl {name}" in line]
    assert lines, f"no example begins with fabctl {name}"
    parts = [command, *(map(command.table.load, command.table.names()) if isinstance(command, LazyGroup) else ())]
    known = {option for part in parts for parameter in part.params for option in parameter.opts}
    used = {option for line in lines for option in re.findall(r"(?<!\w)--?[a-z][\w-]*", line.split(f"fabctl {name}")[1])}
    assert used <= known
    undocumented = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert undocumented == []


def test_the_group_lists_every_command(run: Any) -> None:
    out = run("--help").out
    for name, entry in COMMANDS.entries.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", out, re.MULTILINE)


def test_help_topics(run: Any) -> None:
    listed = run("help")
    assert listed.code == ExitCode.DONE
    for name, entry in TOPICS.entries.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", listed.out, re.MULTILINE)
        topic = run("help", name)
        assert (topic.code, topic.err) == (ExitCode.DONE, "")
        assert topic.out.endswith("\n")
    unknown = run("help", "exit-code")
    assert unknown.code == ExitCode.USAGE
    assert "did you mean 'exit-codes'?" in unknown.err


def test_the_exit_code_topic_is_the_whole_table(run: Any) -> None:
    table = dict(re.findall(r"^ +(\d+) +(.+)$", run("help", "exit-codes").out, re.MULTILINE))
    assert table == {str(int(code)): code.meaning for code in ExitCode}


def test_the_environment_topic_names_what_the_code_reads(project: Path) -> None:
    code = "".join(path.read_text() for path in (project / "fabctl").rglob("*.py"))
    read = re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', code) + re.findall(r'^VARIABLE = "([A-Z_]+)"', code, re.MULTILINE)
    assert set(ENVIRONMENT) == set(read)


def test_the_formats_topic_is_the_whole_list(run: Any) -> None:
    assert tuple(FORMATS) == TEXT_FORMATS
    document = json.loads(run("discover", "dgx1-16", "-o", "json").out)
    assert tuple(ENVELOPE) == tuple(document)


def test_the_topologies_topic_lists_shipped_and_site_topologies(
    run: Any, project: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "lab-2.yaml").write_text("# The lab on the second floor.\n")
    monkeypatch.setenv("FABCTL_TOPOLOGY_PATH", str(tmp_path))
    topologies, _, families = run("help", "topologies").out.partition("So can a YAML file")
    lines = dict(re.findall(r"^  (\S+) +(\S.*)$", topologies, re.MULTILINE))
    assert lines["lab-2"] == "The lab on the second floor."
    shipped = {path.stem for path in (project / "topologies").glob("*.yaml")}
    assert set(lines) == shipped | {"lab-2"}
    assert re.findall(r"^  (\S+)  ", families, re.MULTILINE) == FAMILIES.names()


def test_the_job_topic_has_job_files_with_every_key(run: Any) -> None:
    _, plain, training, several, rest = re.split(r"^# .*:\n|^Models .*:\n", run("help", "job").out, flags=re.MULTILINE)
    keys = {key for text in (plain, training) for key in re.findall(r"^(?:# )?(\w+): ?", text, re.MULTILINE)}
    assert keys | {"sizes", "gpus_per_host"} == set(KEYS)
    assert "sizes: " in plain
    assert "or gpus_per_host" in plain
    assert set(re.findall(r"^  (\w+): ", training, re.MULTILINE)) == set(PARALLELISM)
    assert parse_job(plain, "job.yaml").collectives
    assert [job.name for job in parse_jobs(several, "jobs.yaml")] == ["one", "two"]
    assert re.findall(r"^  (\S+)  ", rest.partition("\nRead in place")[0], re.MULTILINE) == list(preset_names())


def test_the_training_of_the_job_topic_can_be_read(run: Any) -> None:
    training = run("help", "job").out.split("as above:\n")[1].partition("\n# Several")[0]
    lines = [line for line in training.splitlines() if not line.strip().startswith("layers_per_stage")]
    spec = parse_job("hosts: 16\n" + "\n".join(lines), "job.yaml")
    assert spec.training is not None
    assert (spec.training.parallelism.dp, spec.training.overlap) == (128, ("dp",))


# ---- completion ---------------------------------------------------------------------------------------------------------


def test_tab_offers_commands_options_and_formats() -> None:
    assert completions("fabctl ") == COMMANDS.names()
    assert "--strict" in completions("fabctl discover --st")
    assert set(TEXT_FORMATS) < set(completions("fabctl discover -o "))
    assert completions("fabctl help exit") == ["exit-codes"]


def test_tab_offers_topologies_and_the_files_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(project))
    for name in ("dump.txt", "other.txt"):
        (tmp_path / name).touch()
    offered = completions("fabctl discover d")
    assert "dgx1-16" in offered
    assert "dump.txt" in offered
    assert "other.txt" not in offered
    assert completions("fabctl discover oth") == ["oth"]  # the shell completes files itself


def test_tab_offers_engines_one_after_the_other() -> None:
    assert set(completions("fabctl bench --engine ")) >= {"minhop", "updn", "ftree"}
    assert completions("fabctl bench --engine minhop,u") == ["minhop,updn"]


@pytest.mark.parametrize("value", ["bash_sauce", "csh_source"])
def test_a_wrong_completion_request_is_a_usage_error(value: str) -> None:
    done = fabctl(env=environment(_FABCTL_COMPLETE=value))
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
