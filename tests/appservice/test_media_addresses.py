"""Which files are a leg's: what a client's message names, and nothing of anybody else's server."""

from typing import Any

import pytest

from appservice.media_addresses import MOST, media_of

FILE = {"url": "mxc://ruh.test/abc", "key": {}}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"msgtype": "m.file", "file": FILE}, ["mxc://ruh.test/abc"]),
        ({"msgtype": "m.image", "url": "mxc://ruh.test/a-B_9"}, ["mxc://ruh.test/a-B_9"]),
        (
            {"file": FILE, "info": {"thumbnail_file": {"url": "mxc://ruh.test/small"}}},
            ["mxc://ruh.test/abc", "mxc://ruh.test/small"],
        ),
        ({"m.new_content": {"file": FILE}}, ["mxc://ruh.test/abc"]),
        ({"file": FILE, "m.new_content": {"file": FILE}}, ["mxc://ruh.test/abc"]),
        ({"msgtype": "m.text", "body": "mxc://ruh.test/abc"}, []),
        ({"url": "mxc://elsewhere.test/abc"}, []),
        ({"url": "mxc://ruh.test/../../v1/users"}, []),
        ({"url": "mxc://ruh.test/"}, []),
        ({"url": "mxc://ruh.test/é"}, []),
        ({"url": "mxc://ruh.test/" + "a" * 300}, []),
        ({"url": 7, "file": "x", "info": [], "m.new_content": None}, []),
    ],
)
def test_addresses(content: dict[str, Any], found: list[str]) -> None:
    assert media_of(content, "ruh.test") == found


def test_no_message_names_more_than_it_can_have() -> None:
    both = {"file": FILE, "info": {"thumbnail_url": "mxc://ruh.test/t"}, "url": "mxc://ruh.test/u"}
    assert len(media_of(both | {"m.new_content": both}, "ruh.test")) <= MOST
