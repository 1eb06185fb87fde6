"""The list of fault points is the points that there are: a journey that walks the list misses none."""

import re
from pathlib import Path

import appservice
from appservice.faults import POINTS

PLACE = re.compile(r'\bpoint\("([a-z.]+)"\)')


def test_every_point_in_the_code_is_in_the_list_and_the_other_way_round() -> None:
    sources = Path(appservice.__file__).parent.rglob("*.py")
    found = {name for source in sources for name in PLACE.findall(source.read_text())}
    assert found == set(POINTS)
