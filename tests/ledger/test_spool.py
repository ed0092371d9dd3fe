"""The spool keeps what was appended, in order, through kills, torn ends and full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from slmesh.ledger.frames import MAGIC, framed, scan
from slmesh.ledger.spool import _TRIAL, Position, Spool
from slmesh.mesh.errors import Unavailable

MIB = 1 << 20


def open_spool(folder, **values):
    return Spool.open(folder, **({"limit_bytes": 64 * MIB} | values))


def everything(spool, batch=7):
    found, place = [], spool.start
    while True:
        payloads, place = spool.read(place, records=batch)
        if not payloads:
            return found
        found += payloads


def records(count, size=100):
    return [f"{number:08d}".encode() * (size // 8) for number in range(count)]


def files(folder):
    return sorted(folder.glob("*.spool"))


def test_records_come_out_in_the_order_they_went_in(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=1000)
    sent = [*records(50), b"", b"x" * 5000, *records(50)]
    for payload in sent:
        spool.append(payload)
    assert everything(spool) == sent
    assert len(files(tmp_path)) > 5
    spool.close()


@pytest.mark.parametrize("shipped", [0, 1, 20, 49, 50])
def test_what_was_not_shipped_is_there_after_a_new_start(tmp_path, shipped):
    spool = open_spool(tmp_path, segment_bytes=1000)
    sent = records(50)
    for payload in sent:
        spool.append(payload)
    if shipped:
        place = spool.start
        for _ in range(shipped):
            _, place = spool.read(place, records=1)
        spool.release(place)
    spool.close()
    again = open_spool(tmp_path, segment_bytes=1000)
    assert everything(again) == sent[shipped:]
    again.append(b"new")
    assert everything(again) == [*sent[shipped:], b"new"]
    again.close()


def test_files_go_when_all_of_them_is_shipped(tmp_path):
    now_s = [0.0]
    spool = open_spool(tmp_path, segment_bytes=1000, clock=lambda: now_s[0])
    for payload in records(50):
        spool.append(payload)
    end = spool.start
    while True:
        payloads, end = spool.read(end, records=100)
        if not payloads:
            break
    spool.release(end)
    assert len(files(tmp_path)) == 1
    assert spool.waiting_bytes == 0
    spool.retire(60)
    assert len(files(tmp_path)) == 1
    now_s[0] = 61
    spool.retire(60)
    assert files(tmp_path) == []
    spool.append(b"later")
    assert everything(spool) == [b"later"]
    spool.close()


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 50, 115])
def test_a_torn_end_is_cut_off_and_the_rest_is_kept(tmp_path, cut):
    spool = open_spool(tmp_path)
    sent = records(10, 104)
    for payload in sent:
        spool.append(payload)
    spool.close()
    (file,) = files(tmp_path)
    os.truncate(file, file.stat().st_size - cut)
    again = open_spool(tmp_path)
    lost = 1 if cut <= 112 else 2
    assert everything(again) == sent[: 10 - lost]
    assert again.damaged_bytes == 0
    again.close()


def test_zeros_and_rubbish_at_the_end_are_no_records(tmp_path):
    spool = open_spool(tmp_path)
    spool.append(b"good")
    spool.close()
    (file,) = files(tmp_path)
    with file.open("ab") as end:
        end.write(framed(b"flipped")[:-1] + b"X")
    again = open_spool(tmp_path)
    assert everything(again) == [b"good"]
    assert again.damaged_bytes == len(framed(b"flipped"))
    assert (tmp_path / file.with_suffix(".damaged").name).read_bytes().endswith(b"X")
    again.close()


def test_a_damaged_file_does_not_hold_up_the_next(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=500)
    for payload in records(20):
        spool.append(payload)
    spool.close()
    first = files(tmp_path)[0]
    data = bytearray(first.read_bytes())
    data[len(MAGIC) + 8 + 3] ^= 1
    first.write_bytes(data)
    again = open_spool(tmp_path, segment_bytes=500)
    kept = everything(again)
    assert kept == records(20)[20 - len(kept) :]
    assert 10 < len(kept) < 20
    again.close()


def test_a_record_is_found_by_its_key_until_it_is_shipped_and_after_a_new_start(tmp_path):
    def keys_of(payload):
        return (payload[:8].decode(),)

    spool = open_spool(tmp_path, segment_bytes=500, keys_of=keys_of)
    for payload in records(20):
        spool.append(payload, keys_of(payload))
    assert spool.find("00000013") == records(20)[13]
    assert spool.find("nothing") is None
    spool.close()
    again = open_spool(tmp_path, keys_of=keys_of)
    assert again.find("00000013") == records(20)[13]
    _, place = again.read(again.start, records=4)
    again.release(place)
    assert again.find("00000000") is None
    assert again.find("00000013") == records(20)[13]
    again.close()


def test_a_folder_has_one_writer(tmp_path):
    spool = open_spool(tmp_path)
    with pytest.raises(BlockingIOError):
        open_spool(tmp_path)
    spool.close()
    open_spool(tmp_path).close()


def test_a_full_spool_refuses_until_there_is_room(tmp_path):
    spool = open_spool(tmp_path, limit_bytes=MIB, segment_bytes=100_000)
    sent = 0

    def fill():
        nonlocal sent
        while True:
            spool.append(b"x" * 10_000)
            sent += 1

    with pytest.raises(Unavailable) as caught:
        fill()
    assert caught.value.reason == "LEDGER_SPOOL_FULL"
    assert caught.value.retry_delay_s
    assert spool.size_bytes <= MIB
    assert len(everything(spool)) == sent
    with pytest.raises(Unavailable):
        spool.check_room()
    _, place = spool.read(spool.start, records=20)
    _, place = spool.read(place, records=20)
    while place < Position(5, 0):
        _, place = spool.read(place, records=20)
    spool.release(place)
    spool.check_room()
    spool.append(b"x" * 10_000)
    spool.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from slmesh.ledger.spool import Spool
from slmesh.mesh.errors import Unavailable

now_s = [0.0]
spool = Spool.open(Path(sys.argv[1]), limit_bytes=1 << 26, clock=lambda: now_s[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
sent = 0
try:
    while True:
        spool.append(b"%06d" % sent + b"x" * 1000)
        sent += 1
except Unavailable as error:
    print(error.reason, sent)
for now_s[0] in (0.5, 5.0):
    try:
        spool.check_room()
    except Unavailable as error:
        print(error.reason)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append(b"%06d" % sent)
spool.check_room()
spool.close()
"""


def test_a_full_disk_refuses_and_tears_nothing(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    reason, sent = process.stdout.splitlines()[0].split()
    assert reason == "LEDGER_DISK_FULL"
    assert int(sent) > 40
    assert process.stdout.splitlines()[1:] == ["LEDGER_DISK_FULL"] * 2
    spool = open_spool(tmp_path)
    assert [int(payload[:6]) for payload in everything(spool)] == list(range(int(sent) + 1))
    assert spool.damaged_bytes == 0
    spool.close()


def test_room_that_was_tried_leaves_no_trace(tmp_path):
    spool = open_spool(tmp_path, segment_bytes=100_000)
    for payload in records(3):
        spool.append(payload)
        spool.try_room()
    assert everything(spool) == records(3)
    (file,) = files(tmp_path)
    assert file.stat().st_size == spool.size_bytes
    spool.close()


def test_a_process_that_died_trying_for_room_has_torn_nothing(tmp_path):
    spool = open_spool(tmp_path)
    spool.append(b"good")
    spool.close()
    (file,) = files(tmp_path)
    with file.open("ab") as end:
        end.write(_TRIAL)
    again = open_spool(tmp_path)
    assert everything(again) == [b"good"]
    assert again.damaged_bytes == 0
    again.close()


ENDLESS = """
import sys
from pathlib import Path
from slmesh.ledger.spool import Spool

spool = Spool.open(Path(sys.argv[1]), limit_bytes=1 << 30, segment_bytes=200_000)
number = 0
while True:
    spool.append(b"%08d" % number + b"x" * 500)
    sys.stdout.write("%d\\n" % number)
    sys.stdout.flush()
    number += 1
"""


@pytest.mark.parametrize("after_s", [0.05, 0.2])
def test_a_killed_process_has_lost_nothing_it_had_answered_for(tmp_path, after_s):
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    answered = int(process.stdout.readline())
    end_s = time.monotonic() + after_s
    while time.monotonic() < end_s:
        answered = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    answered = max([answered, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.stdout.close()
    spool = open_spool(tmp_path)
    numbers = [int(payload[:8]) for payload in everything(spool, batch=500)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) - 1 >= answered
    spool.close()


def test_the_form_of_version_one_is_read_for_ever():
    # written by hand, so that a change of the code that writes cannot change it too
    data = bytes.fromhex("736c6d657368310a03000000c24124356162630000000000000000")
    found = scan(data)
    assert [frame.payload for frame in found.frames] == [b"abc", b""]
    assert found.end == len(data)
