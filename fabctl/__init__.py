"""fabctl opens the InfiniBand fabric of an AI cluster: routes, congestion, collectives and offloads."""

__version__ = "0.1.0"
