"""From loads to times: the cost of a collective on a fabric's routes, in nccl-tests' terms."""
