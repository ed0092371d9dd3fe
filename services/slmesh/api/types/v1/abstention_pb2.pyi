from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AbstentionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ABSTENTION_REASON_UNSPECIFIED: _ClassVar[AbstentionReason]
    ABSTENTION_REASON_OUT_OF_SCOPE: _ClassVar[AbstentionReason]
    ABSTENTION_REASON_LOW_CONFIDENCE: _ClassVar[AbstentionReason]
    ABSTENTION_REASON_NO_CONTENT: _ClassVar[AbstentionReason]
ABSTENTION_REASON_UNSPECIFIED: AbstentionReason
ABSTENTION_REASON_OUT_OF_SCOPE: AbstentionReason
ABSTENTION_REASON_LOW_CONFIDENCE: AbstentionReason
ABSTENTION_REASON_NO_CONTENT: AbstentionReason

class Abstention(_message.Message):
    __slots__ = ("reason", "confidence")
    REASON_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    reason: AbstentionReason
    confidence: float
    def __init__(self, reason: _Optional[_Union[AbstentionReason, str]] = ..., confidence: _Optional[float] = ...) -> None: ...
