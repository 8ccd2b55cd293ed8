"""Routing engines under OpenSM's names, one file each."""
