"""Routes into the subnet manager that runs: files exchanged whole, read back from the switches, put back if they differ."""
