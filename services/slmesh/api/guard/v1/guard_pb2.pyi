from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.rpc import status_pb2 as _status_pb2
from slmesh.api.types.v1 import provenance_pb2 as _provenance_pb2
from slmesh.api.types.v1 import span_pb2 as _span_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Origin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORIGIN_UNSPECIFIED: _ClassVar[Origin]
    ORIGIN_USER: _ClassVar[Origin]
    ORIGIN_DOCUMENT: _ClassVar[Origin]
    ORIGIN_TOOL: _ClassVar[Origin]

class CheckType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHECK_TYPE_UNSPECIFIED: _ClassVar[CheckType]
    CHECK_TYPE_PERSONAL_DATA: _ClassVar[CheckType]
    CHECK_TYPE_INJECTION: _ClassVar[CheckType]

class CheckState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHECK_STATE_UNSPECIFIED: _ClassVar[CheckState]
    CHECK_STATE_COMPLETED: _ClassVar[CheckState]
    CHECK_STATE_FAILED: _ClassVar[CheckState]

class Coverage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COVERAGE_UNSPECIFIED: _ClassVar[Coverage]
    COVERAGE_COMPLETE: _ClassVar[Coverage]
    COVERAGE_PARTIAL: _ClassVar[Coverage]
ORIGIN_UNSPECIFIED: Origin
ORIGIN_USER: Origin
ORIGIN_DOCUMENT: Origin
ORIGIN_TOOL: Origin
CHECK_TYPE_UNSPECIFIED: CheckType
CHECK_TYPE_PERSONAL_DATA: CheckType
CHECK_TYPE_INJECTION: CheckType
CHECK_STATE_UNSPECIFIED: CheckState
CHECK_STATE_COMPLETED: CheckState
CHECK_STATE_FAILED: CheckState
COVERAGE_UNSPECIFIED: Coverage
COVERAGE_COMPLETE: Coverage
COVERAGE_PARTIAL: Coverage

class ScreenRequest(_message.Message):
    __slots__ = ("segments", "checks", "redaction")
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    checks: _containers.RepeatedScalarFieldContainer[CheckType]
    redaction: Redaction
    def __init__(self, segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., checks: _Optional[_Iterable[_Union[CheckType, str]]] = ..., redaction: _Optional[_Union[Redaction, _Mapping]] = ...) -> None: ...

class ScreenResponse(_message.Message):
    __slots__ = ("coverage", "checks", "findings", "redacted_segments", "provenance")
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    REDACTED_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    coverage: Coverage
    checks: _containers.RepeatedCompositeFieldContainer[Check]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    redacted_segments: _containers.RepeatedCompositeFieldContainer[RedactedSegment]
    provenance: _provenance_pb2.Provenance
    def __init__(self, coverage: _Optional[_Union[Coverage, str]] = ..., checks: _Optional[_Iterable[_Union[Check, _Mapping]]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., redacted_segments: _Optional[_Iterable[_Union[RedactedSegment, _Mapping]]] = ..., provenance: _Optional[_Union[_provenance_pb2.Provenance, _Mapping]] = ...) -> None: ...

class BatchScreenRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ScreenRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ScreenRequest, _Mapping]]] = ...) -> None: ...

class BatchScreenResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchScreenResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchScreenResult, _Mapping]]] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("text", "origin")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    text: str
    origin: Origin
    def __init__(self, text: _Optional[str] = ..., origin: _Optional[_Union[Origin, str]] = ...) -> None: ...

class Redaction(_message.Message):
    __slots__ = ("kinds",)
    KINDS_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kinds: _Optional[_Iterable[str]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("type", "state", "provenance")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    type: CheckType
    state: CheckState
    provenance: _provenance_pb2.Provenance
    def __init__(self, type: _Optional[_Union[CheckType, str]] = ..., state: _Optional[_Union[CheckState, str]] = ..., provenance: _Optional[_Union[_provenance_pb2.Provenance, _Mapping]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("check", "kind", "segment_index", "span", "probability")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    check: CheckType
    kind: str
    segment_index: int
    span: _span_pb2.Span
    probability: float
    def __init__(self, check: _Optional[_Union[CheckType, str]] = ..., kind: _Optional[str] = ..., segment_index: _Optional[int] = ..., span: _Optional[_Union[_span_pb2.Span, _Mapping]] = ..., probability: _Optional[float] = ...) -> None: ...

class RedactedSegment(_message.Message):
    __slots__ = ("text", "placeholders")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PLACEHOLDERS_FIELD_NUMBER: _ClassVar[int]
    text: str
    placeholders: _containers.RepeatedCompositeFieldContainer[Placeholder]
    def __init__(self, text: _Optional[str] = ..., placeholders: _Optional[_Iterable[_Union[Placeholder, _Mapping]]] = ...) -> None: ...

class Placeholder(_message.Message):
    __slots__ = ("token", "kind", "original_span", "redacted_span")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_SPAN_FIELD_NUMBER: _ClassVar[int]
    REDACTED_SPAN_FIELD_NUMBER: _ClassVar[int]
    token: str
    kind: str
    original_span: _span_pb2.Span
    redacted_span: _span_pb2.Span
    def __init__(self, token: _Optional[str] = ..., kind: _Optional[str] = ..., original_span: _Optional[_Union[_span_pb2.Span, _Mapping]] = ..., redacted_span: _Optional[_Union[_span_pb2.Span, _Mapping]] = ...) -> None: ...

class BatchScreenResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: ScreenResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[ScreenResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
