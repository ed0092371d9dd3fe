import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from slmesh.api.route.v1 import route_pb2 as _route_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TextKept(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_KEPT_UNSPECIFIED: _ClassVar[TextKept]
    TEXT_KEPT_NONE: _ClassVar[TextKept]
    TEXT_KEPT_REDACTED: _ClassVar[TextKept]
    TEXT_KEPT_FULL: _ClassVar[TextKept]
TEXT_KEPT_UNSPECIFIED: TextKept
TEXT_KEPT_NONE: TextKept
TEXT_KEPT_REDACTED: TextKept
TEXT_KEPT_FULL: TextKept

class DecisionRecord(_message.Message):
    __slots__ = ("tenant", "explanation", "request", "request_digest", "text_kept", "subject_digest", "record_time", "expire_time")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TEXT_KEPT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RECORD_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    explanation: _route_pb2.ExplainResponse
    request: _route_pb2.RouteRequest
    request_digest: str
    text_kept: TextKept
    subject_digest: str
    record_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, tenant: _Optional[str] = ..., explanation: _Optional[_Union[_route_pb2.ExplainResponse, _Mapping]] = ..., request: _Optional[_Union[_route_pb2.RouteRequest, _Mapping]] = ..., request_digest: _Optional[str] = ..., text_kept: _Optional[_Union[TextKept, str]] = ..., subject_digest: _Optional[str] = ..., record_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
