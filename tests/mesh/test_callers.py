"""Whose request it is, for a service that calls others."""

from __future__ import annotations

from slmesh.api.classify.v1 import classify_pb2
from slmesh.mesh.callers import Callers
from slmesh.mesh.context import RequestContext

ACME, OTHER = RequestContext(tenant="acme"), RequestContext(tenant="other")
ONE, TWO = (classify_pb2.ClassifyRequest(text="same") for _ in range(2))


def test_equal_requests_of_two_callers_are_told_apart():
    callers = Callers()
    with callers.known([ONE], ACME), callers.known([TWO], OTHER):
        assert (callers.of(ONE), callers.of(TWO)) == (ACME, OTHER)


def test_a_request_that_was_answered_is_forgotten():
    callers = Callers()
    with callers.known([ONE, TWO], ACME):
        pass
    assert callers.of(ONE) == RequestContext()
    assert callers._contexts == {}


def test_one_object_sent_by_two_callers_belongs_to_neither():
    callers = Callers()
    with callers.known([ONE], ACME):
        with callers.known([ONE], OTHER):
            assert callers.of(ONE) == RequestContext()
        with callers.known([ONE], ACME):
            assert callers.of(ONE) == ACME
        assert callers.of(ONE) == ACME
