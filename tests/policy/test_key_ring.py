"""A mesh gets a new key while calls go on: nothing is dropped, and the old key ends."""

from __future__ import annotations

import pytest
from tests.services import settings_for

from slmesh.mesh.errors import FailedPrecondition, PermissionDenied
from slmesh.policy.key_ring import KEY_OVERLAP_S, KeyRing
from slmesh.policy.seal import Facts, Sealer

FACTS = Facts("d", "acme", "support", ("personal",), False, "r", "near", 1 << 40)
OLD, NEW, OTHER = "o" * 64, "n" * 64, "x" * 64


class Clock:
    """Seconds that pass when they are told to."""

    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "mesh.key").write_text(OLD)
    return settings_for(tmp_path, mesh_key=tmp_path / "mesh.key")


def sealed(key):
    return Sealer(key.encode()).seal(FACTS)


def replace(settings, key):
    fresh = settings.mesh_key.with_name("fresh")
    fresh.write_text(key + "\n")
    fresh.replace(settings.mesh_key)


def opens(ring, seal, clock):
    try:
        return ring.open(seal, "near", clock()) == FACTS
    except PermissionDenied as error:
        return error.reason != "POLICY_CONTEXT_INVALID"


def test_a_new_key_seals_and_the_one_before_opens_for_a_while(settings, clock):
    ring = KeyRing(settings, now_s=clock)
    before = ring.seal(FACTS)
    replace(settings, NEW)
    ring.look()
    assert ring.seal(FACTS) == sealed(NEW)
    clock.now_s += KEY_OVERLAP_S - 1
    assert opens(ring, before, clock)
    clock.now_s += 2
    assert not opens(ring, before, clock)
    assert opens(ring, ring.seal(FACTS), clock)


def test_a_receiver_that_has_not_looked_yet_takes_the_new_key_by_itself(settings, clock):
    sender, receiver = KeyRing(settings, now_s=clock), KeyRing(settings, now_s=clock)
    replace(settings, NEW)
    sender.look()
    assert opens(receiver, sender.seal(FACTS), clock)
    assert receiver.seal(FACTS) == sealed(NEW)


def test_an_accepted_key_opens_and_never_seals(settings, clock):
    settings.mesh_key.with_name("mesh.key.accepted").write_text(OTHER)
    ring = KeyRing(settings, now_s=clock)
    assert ring.seal(FACTS) == sealed(OLD)
    assert opens(ring, sealed(OTHER), clock)
    settings.mesh_key.with_name("mesh.key.accepted").unlink()
    ring.look()
    assert not opens(ring, sealed(OTHER), clock)


@pytest.mark.parametrize("key", ["short", ""])
def test_a_changed_key_that_cannot_be_used_changes_nothing(settings, clock, key, caplog):
    ring = KeyRing(settings, now_s=clock)
    replace(settings, key)
    ring.look()
    assert ring.seal(FACTS) == sealed(OLD)
    assert not opens(ring, sealed("short"), clock)
    assert "a changed key cannot be used" in caplog.text
    replace(settings, NEW)
    ring.look()
    assert ring.seal(FACTS) == sealed(NEW)


def test_no_other_key_opens(settings, clock):
    ring = KeyRing(settings, now_s=clock)
    replace(settings, NEW)
    assert not opens(ring, sealed(OTHER), clock)


def test_a_short_accepted_key_is_refused_at_the_start(settings):
    settings.mesh_key.with_name("mesh.key.accepted").write_text("short")
    with pytest.raises(FailedPrecondition, match=r"mesh\.key\.accepted has 5 characters"):
        KeyRing(settings)


def test_an_expired_seal_of_the_key_before_is_expired(settings, clock):
    ring = KeyRing(settings, now_s=clock)
    replace(settings, NEW)
    late = Sealer(OLD.encode()).seal(FACTS._replace(expiry_s=10))
    with pytest.raises(PermissionDenied) as caught:
        ring.open(late, "near", clock())
    assert caught.value.reason == "POLICY_CONTEXT_EXPIRED"
