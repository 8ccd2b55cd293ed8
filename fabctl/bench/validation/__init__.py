"""Runs of benchmarks beside what they should have reached, and what may explain the difference."""
