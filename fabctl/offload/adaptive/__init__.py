"""Adaptive routing planned.

`groups` finds what each switch may choose among, `levels` reads service levels, `words` says what must be known before, `armgr`
writes the file of the old plugin.
"""
