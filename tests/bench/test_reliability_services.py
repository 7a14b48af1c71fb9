import os
import re
from pathlib import Path

import pytest
from test_reliability import kept

from serendip.errors import UnsupportedError
from serendip.runtime.progress import SilentProgress
from serendip_bench.reliability.damage import Damage
from serendip_bench.reliability.full_disk import FullDisk, mount_memory
from serendip_bench.reliability.hot_swaps import HotSwaps
from serendip_bench.reliability.inputs.fuzz import Fuzz
from serendip_bench.reliability.inputs.verdict import Tally
from serendip_bench.reliability.service_kills import ServiceKills
from serendip_bench.reliability.several_services import SeveralServices
from serendip_bench.service import Reply


def test_no_damaged_file_is_read(trained_folder: Path) -> None:
    harness = Damage(flips=12, cuts=3, exchanges=3, nans=5, control=3, workspace=trained_folder)
    kept(harness.run(SilentProgress()))


def test_a_killed_service_has_stored_what_it_acknowledged(trained_folder: Path) -> None:
    kept(ServiceKills(kills=1, control_kills=1, workspace=trained_folder).run(SilentProgress()))


def test_a_swap_fails_no_request(trained_folder: Path) -> None:
    harness = HotSwaps(swaps=2, requests=20, control_swaps=1, workspace=trained_folder)
    found = harness.run(SilentProgress())
    assert found.is_sound, found.controls
    bars = {bar.name: bar.measured for bar in found.bars}
    assert bars["requests that failed"] == bars["answers that name two generations"] == 0
    assert found.counts["swaps"] == 2


def test_two_services_obey_each_other_while_clients_write_and_read(trained_folder: Path) -> None:
    harness = SeveralServices(
        seconds=2.0, control_seconds=1.0, publish_s=1.0, workspace=trained_folder
    )
    found = harness.run(SilentProgress())
    assert found.is_sound, found.controls
    of_time = ("seconds until the other service obeyed, at most", "answers that failed")
    assert all(bar.is_met for bar in found.bars if bar.name not in of_time), found
    # Beside other work answers may be too late, or refused: both say so.
    assert all(re.search(": (429|503) ", example) for example in found.examples), found


def test_a_full_disk_refuses_writes_and_loses_nothing(trained_folder: Path) -> None:
    try:
        with mount_memory(1 << 20) as disk:
            assert os.statvfs(disk).f_blocks
    except UnsupportedError as error:
        pytest.skip(str(error))
    found = FullDisk(rounds=1, writes=2, workspace=trained_folder).run(SilentProgress())
    assert found.is_sound, found.controls
    bars = {bar.name: bar.measured for bar in found.bars}
    assert bars["acknowledged events that are lost"] == 0
    assert bars["writes answered with something else than 507"] == 0
    assert bars["reads that failed while full"] == 0
    assert found.counts["writes refused with 507"] == 2


def test_no_input_makes_the_service_fail(trained_folder: Path) -> None:
    harness = Fuzz(schema_cases=0, mutations=200, control=80, workspace=trained_folder)
    kept(harness.run(SilentProgress()))


ERROR = b'{"error":{"type":"busy","message":"m","hint":"h","request_id":"r"}}'
HEADERS = {"x-request-id": "r", "content-type": "application/json"}


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, b"{}", ""),
        (422, ERROR, ""),
        (503, ERROR, ""),
        (500, ERROR, "failed"),
        (507, ERROR, "failed"),  # of another type than a full disk
        (0, b"", "failed"),
        (200, b'{"score": NaN}', "malformed"),
        (422, b'{"detail": "no"}', "malformed"),
        (404, b"not found", "malformed"),
    ],
)
def test_an_answer_is_judged_by_its_status_and_form(status: int, body: bytes, fault: str) -> None:
    tally = Tally()
    tally.ask("a request", lambda: Reply(status, HEADERS, body, 0.1))
    assert [name for name in ("failed", "slow", "malformed") if getattr(tally, name)] == (
        [fault] if fault else []
    )


@pytest.mark.parametrize(
    ("status", "is_page", "body", "faults"),
    [
        (422, True, b"<title>422 \xc2\xb7 Serendip</title>", 0),
        (422, False, b"<title>422 \xc2\xb7 Serendip</title>", 1),  # a page in place of JSON
        (422, True, b"Traceback", 1),
        (200, True, b"<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>", 0),
        (200, True, b"<h1><script>alert(1)</script></h1>", 1),
    ],
)
def test_a_page_of_an_error_names_its_status_and_no_page_has_markup_that_was_sent(
    status: int, is_page: bool, body: bytes, faults: int
) -> None:
    tally = Tally()
    tally.add("a page", Reply(status, {**HEADERS, "content-type": "text/html"}, body, 0.1), is_page)
    assert tally.faults == faults


def test_what_is_slow_twice_is_slow() -> None:
    tally, seconds = Tally(), iter([3.0, 0.1, 3.0, 3.0])
    for _ in range(2):
        tally.ask("a request", lambda: Reply(200, HEADERS, b"{}", next(seconds)))
    assert tally.slow == ["a request: 3.0 s"]
