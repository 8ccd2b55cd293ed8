"""``opensm.conf`` as text: one value read as OpenSM reads it, or exchanged with every other byte left as it was.

OpenSM 3.3.23 takes the last line of a key; what follows a ``#`` is a comment, and so are blanks and quotes around the value. Only
``TRUE`` is true: ``true`` is read as false.
"""

from __future__ import annotations

import re

from fabctl.errors import InputError
from fabctl.model.offload_plan import Risk

LONGEST = 1022
"""OpenSM cuts longer lines in two (``fgets`` into 1024 bytes, ``osm_subn_parse_conf_file``)."""

_NAMES = """
    guid subnet_prefix lmc lmc_esp0 partition_config_file allow_both_pkeys port_prof_ignore_file hop_weights_file
    dimn_ports_file port_search_ordering_file routing_engine avoid_throttled_links use_ucast_cache lid_matrix_dump_file
    lfts_file root_guid_file cn_guid_file io_guid_file max_reverse_hops ids_guid_file guid_routing_order_file
    nue_include_switches guid_routing_order_no_scatter sa_db_file transaction_timeout transaction_retries
    long_transaction_timeout single_thread daemon perfmgr perfmgr_redir perfmgr_sweep_time_s perfmgr_max_outstanding_queries
    perfmgr_ignore_cas perfmgr_rm_nodes perfmgr_log_errors perfmgr_query_cpi perfmgr_xmit_wait_log perfmgr_xmit_wait_threshold
    event_db_dump_file event_plugin_name event_plugin_options node_name_map_name log_file per_module_logging_file
    dump_files_dir console console_port qos_policy_file cc_key cc_max_outstanding_mads prefix_routes_file
"""
RESTART_KEYS = frozenset(_NAMES.split())
"""Keys that upstream OpenSM heeds at its start only; a HUP ignores them in silence (``can_update`` of ``osm_subnet.c``, and
measured on 3.3.23)."""


def key_risk(key: str) -> Risk:
    """Return how disruptive the change of a key of upstream OpenSM is."""
    return Risk.RESTART if key in RESTART_KEYS else Risk.SWEEP


def value_of(text: str, key: str) -> str | None:
    r"""Return a key's value as OpenSM reads it; None if the file does not set it.

    Examples
    --------
    >>> value_of('qos FALSE\n  routing_engine  "ftree,updn"  # ours\n', "routing_engine")
    'ftree,updn'
    """
    line = _last(text, key)
    return line["value"] if line else None


def with_value(text: str, key: str, value: str | None) -> str:
    r"""Return the file with one value exchanged in its place; None removes the key's last line.

    A new line goes to the end, before a last line that no line feed ends: taken away again, it leaves the bytes that were there.

    Raises
    ------
    InputError
        If OpenSM would not read the value back as it is.

    Examples
    --------
    >>> with_value("qos FALSE   # for now\n", "qos", "TRUE")
    'qos TRUE   # for now\n'
    >>> with_value("# ours\nlmc 0", "qos", "TRUE")
    '# ours\nqos TRUE\nlmc 0'
    """
    line = _last(text, key)
    if value is None:
        return text[: line.start()] + text[line.end() :] if line else text
    if line:
        out = text[: line.start("value")] + value + text[line.end("value") :]
    else:
        end = text.rfind("\n") + 1
        out = f"{text[:end]}{key} {value}\n{text[end:]}"
    written = _last(out, key)
    if written is None or written["value"] != value or len(written[0]) > LONGEST:
        raise InputError(f"opensm.conf cannot hold this value of {key}: {value[:80]!r}")
    return out


def _last(text: str, key: str) -> re.Match[str] | None:
    """Return the line that OpenSM goes by, with its line feed."""
    pattern = rf'^[ \t]*{re.escape(key)}[ \t]+"?(?P<value>[^\s"#](?:[^"#\r\n]*[^\s"#])?)[^\r\n]*\r?(?:\n|\Z)'
    return next(reversed(list(re.finditer(pattern, text, re.MULTILINE))), None)
