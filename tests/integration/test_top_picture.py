"""The picture of `top` in the documentation is what the command shows."""

from __future__ import annotations

from tests.support.top_picture import in_the_page, take_picture, without_figures


async def test_the_picture_is_what_a_real_server_shows() -> None:
    """But for its figures. If this fails: python -m tests.support.top_picture makes it anew."""
    assert without_figures(in_the_page()) == without_figures(await take_picture(0.0))
