"""What hosts are ready for: texts captured on them (or read on this one), the facts in them, and what these facts allow."""
