"""Names from the fabric as text that is safe to show: a node description may hold anything, terminal escapes too."""

from __future__ import annotations

LINES = "\n\t"
"""What a text of several lines keeps."""


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in which every character that a terminal would obey or hide is written out.

    Parameters
    ----------
    keep : str
        Such characters that stay: `LINES` for a text of several lines.

    Examples
    --------
    >>> print(printable("leaf-1"), printable("leaf\x1b[2J"), printable("a\u202eb"))
    leaf-1 leaf\x1b[2J a\u202eb
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
