import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
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

class FieldSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIELD_SOURCE_UNSPECIFIED: _ClassVar[FieldSource]
    FIELD_SOURCE_RULE: _ClassVar[FieldSource]
    FIELD_SOURCE_MODEL: _ClassVar[FieldSource]
FIELD_SOURCE_UNSPECIFIED: FieldSource
FIELD_SOURCE_RULE: FieldSource
FIELD_SOURCE_MODEL: FieldSource

class ExtractRequest(_message.Message):
    __slots__ = ("text", "field_set", "fields", "locale", "time_zone", "default_currency", "reference_time")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIELD_SET_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_TIME_FIELD_NUMBER: _ClassVar[int]
    text: str
    field_set: str
    fields: _containers.RepeatedScalarFieldContainer[str]
    locale: str
    time_zone: str
    default_currency: str
    reference_time: _timestamp_pb2.Timestamp
    def __init__(self, text: _Optional[str] = ..., field_set: _Optional[str] = ..., fields: _Optional[_Iterable[str]] = ..., locale: _Optional[str] = ..., time_zone: _Optional[str] = ..., default_currency: _Optional[str] = ..., reference_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExtractResponse(_message.Message):
    __slots__ = ("fields", "truncated_at", "provenance")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_AT_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[Field]
    truncated_at: int
    provenance: _provenance_pb2.Provenance
    def __init__(self, fields: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., truncated_at: _Optional[int] = ..., provenance: _Optional[_Union[_provenance_pb2.Provenance, _Mapping]] = ...) -> None: ...

class BatchExtractRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ExtractRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ExtractRequest, _Mapping]]] = ...) -> None: ...

class BatchExtractResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchExtractResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchExtractResult, _Mapping]]] = ...) -> None: ...

class Field(_message.Message):
    __slots__ = ("name", "span", "text", "value", "probability", "source")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    span: _span_pb2.Span
    text: str
    value: Value
    probability: float
    source: FieldSource
    def __init__(self, name: _Optional[str] = ..., span: _Optional[_Union[_span_pb2.Span, _Mapping]] = ..., text: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., probability: _Optional[float] = ..., source: _Optional[_Union[FieldSource, str]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("money", "date", "time", "date_time", "interval", "duration", "number", "ordinal", "percentage", "email", "phone", "iban", "card", "account_number", "order_number", "person", "place", "organisation", "url", "ip_address", "keyword")
    MONEY_FIELD_NUMBER: _ClassVar[int]
    DATE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DATE_TIME_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    PERCENTAGE_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    IBAN_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ORDER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    ORGANISATION_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    IP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    money: Money
    date: str
    time: str
    date_time: str
    interval: str
    duration: _duration_pb2.Duration
    number: float
    ordinal: int
    percentage: float
    email: str
    phone: str
    iban: str
    card: str
    account_number: str
    order_number: str
    person: str
    place: str
    organisation: str
    url: str
    ip_address: str
    keyword: str
    def __init__(self, money: _Optional[_Union[Money, _Mapping]] = ..., date: _Optional[str] = ..., time: _Optional[str] = ..., date_time: _Optional[str] = ..., interval: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., number: _Optional[float] = ..., ordinal: _Optional[int] = ..., percentage: _Optional[float] = ..., email: _Optional[str] = ..., phone: _Optional[str] = ..., iban: _Optional[str] = ..., card: _Optional[str] = ..., account_number: _Optional[str] = ..., order_number: _Optional[str] = ..., person: _Optional[str] = ..., place: _Optional[str] = ..., organisation: _Optional[str] = ..., url: _Optional[str] = ..., ip_address: _Optional[str] = ..., keyword: _Optional[str] = ...) -> None: ...

class Money(_message.Message):
    __slots__ = ("currency_code", "minor_units")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    MINOR_UNITS_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    minor_units: int
    def __init__(self, currency_code: _Optional[str] = ..., minor_units: _Optional[int] = ...) -> None: ...

class BatchExtractResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: ExtractResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[ExtractResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
