"""``python -m fabctl``."""

from fabctl.cli.main import run

run()
