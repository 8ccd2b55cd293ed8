"""NCCL's own cost model: what it would choose for a message, and what that costs by its own numbers."""
