import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from slmesh.api.signal.v1 import signal_pb2 as _signal_pb2
from slmesh.api.types.v1 import provenance_pb2 as _provenance_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Path(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PATH_UNSPECIFIED: _ClassVar[Path]
    PATH_SMALL: _ClassVar[Path]
    PATH_ESCALATED: _ClassVar[Path]
    PATH_REFUSED: _ClassVar[Path]
    PATH_FALLBACK: _ClassVar[Path]

class AnswerSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANSWER_SOURCE_UNSPECIFIED: _ClassVar[AnswerSource]
    ANSWER_SOURCE_TEMPLATE: _ClassVar[AnswerSource]
    ANSWER_SOURCE_PASSAGE: _ClassVar[AnswerSource]
    ANSWER_SOURCE_REASONER: _ClassVar[AnswerSource]
    ANSWER_SOURCE_SIGNALS: _ClassVar[AnswerSource]
    ANSWER_SOURCE_FALLBACK: _ClassVar[AnswerSource]

class StepState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_STATE_UNSPECIFIED: _ClassVar[StepState]
    STEP_STATE_SUCCEEDED: _ClassVar[StepState]
    STEP_STATE_FAILED: _ClassVar[StepState]
    STEP_STATE_TIMED_OUT: _ClassVar[StepState]
    STEP_STATE_SKIPPED: _ClassVar[StepState]
    STEP_STATE_CACHED: _ClassVar[StepState]

class HedgeOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEDGE_OUTCOME_UNSPECIFIED: _ClassVar[HedgeOutcome]
    HEDGE_OUTCOME_FIRST_WON: _ClassVar[HedgeOutcome]
    HEDGE_OUTCOME_SECOND_WON: _ClassVar[HedgeOutcome]
    HEDGE_OUTCOME_BOTH_FAILED: _ClassVar[HedgeOutcome]
    HEDGE_OUTCOME_REFUSED: _ClassVar[HedgeOutcome]

class HopState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOP_STATE_UNSPECIFIED: _ClassVar[HopState]
    HOP_STATE_ALLOWED: _ClassVar[HopState]
    HOP_STATE_REFUSED: _ClassVar[HopState]
    HOP_STATE_REFUSED_BY_SERVICE: _ClassVar[HopState]
    HOP_STATE_UNSCREENED: _ClassVar[HopState]

class BudgetOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_OUTCOME_UNSPECIFIED: _ClassVar[BudgetOutcome]
    BUDGET_OUTCOME_GRANTED: _ClassVar[BudgetOutcome]
    BUDGET_OUTCOME_KEPT: _ClassVar[BudgetOutcome]
    BUDGET_OUTCOME_EXHAUSTED: _ClassVar[BudgetOutcome]
    BUDGET_OUTCOME_NONE: _ClassVar[BudgetOutcome]
    BUDGET_OUTCOME_UNAVAILABLE: _ClassVar[BudgetOutcome]
PATH_UNSPECIFIED: Path
PATH_SMALL: Path
PATH_ESCALATED: Path
PATH_REFUSED: Path
PATH_FALLBACK: Path
ANSWER_SOURCE_UNSPECIFIED: AnswerSource
ANSWER_SOURCE_TEMPLATE: AnswerSource
ANSWER_SOURCE_PASSAGE: AnswerSource
ANSWER_SOURCE_REASONER: AnswerSource
ANSWER_SOURCE_SIGNALS: AnswerSource
ANSWER_SOURCE_FALLBACK: AnswerSource
STEP_STATE_UNSPECIFIED: StepState
STEP_STATE_SUCCEEDED: StepState
STEP_STATE_FAILED: StepState
STEP_STATE_TIMED_OUT: StepState
STEP_STATE_SKIPPED: StepState
STEP_STATE_CACHED: StepState
HEDGE_OUTCOME_UNSPECIFIED: HedgeOutcome
HEDGE_OUTCOME_FIRST_WON: HedgeOutcome
HEDGE_OUTCOME_SECOND_WON: HedgeOutcome
HEDGE_OUTCOME_BOTH_FAILED: HedgeOutcome
HEDGE_OUTCOME_REFUSED: HedgeOutcome
HOP_STATE_UNSPECIFIED: HopState
HOP_STATE_ALLOWED: HopState
HOP_STATE_REFUSED: HopState
HOP_STATE_REFUSED_BY_SERVICE: HopState
HOP_STATE_UNSCREENED: HopState
BUDGET_OUTCOME_UNSPECIFIED: BudgetOutcome
BUDGET_OUTCOME_GRANTED: BudgetOutcome
BUDGET_OUTCOME_KEPT: BudgetOutcome
BUDGET_OUTCOME_EXHAUSTED: BudgetOutcome
BUDGET_OUTCOME_NONE: BudgetOutcome
BUDGET_OUTCOME_UNAVAILABLE: BudgetOutcome

class Decision(_message.Message):
    __slots__ = ("decision_id", "request_id", "flow", "flow_revision", "create_time", "path", "reasons", "answer", "degradations", "steps", "cost", "all_llm_cost", "latency", "receipt", "budget", "cached_decision_id")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    FLOW_REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    ALL_LLM_COST_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    CACHED_DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    request_id: str
    flow: str
    flow_revision: str
    create_time: _timestamp_pb2.Timestamp
    path: Path
    reasons: _containers.RepeatedCompositeFieldContainer[PathReason]
    answer: Answer
    degradations: _containers.RepeatedCompositeFieldContainer[Degradation]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    cost: Cost
    all_llm_cost: Cost
    latency: _duration_pb2.Duration
    receipt: Receipt
    budget: BudgetState
    cached_decision_id: str
    def __init__(self, decision_id: _Optional[str] = ..., request_id: _Optional[str] = ..., flow: _Optional[str] = ..., flow_revision: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., path: _Optional[_Union[Path, str]] = ..., reasons: _Optional[_Iterable[_Union[PathReason, _Mapping]]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., degradations: _Optional[_Iterable[_Union[Degradation, _Mapping]]] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., cost: _Optional[_Union[Cost, _Mapping]] = ..., all_llm_cost: _Optional[_Union[Cost, _Mapping]] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., budget: _Optional[_Union[BudgetState, _Mapping]] = ..., cached_decision_id: _Optional[str] = ...) -> None: ...

class RouteRequest(_message.Message):
    __slots__ = ("request_id", "flow", "text", "documents", "locale", "time_zone", "default_currency", "reference_time", "decide_anew")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_TIME_FIELD_NUMBER: _ClassVar[int]
    DECIDE_ANEW_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    flow: str
    text: str
    documents: _containers.RepeatedScalarFieldContainer[str]
    locale: str
    time_zone: str
    default_currency: str
    reference_time: _timestamp_pb2.Timestamp
    decide_anew: bool
    def __init__(self, request_id: _Optional[str] = ..., flow: _Optional[str] = ..., text: _Optional[str] = ..., documents: _Optional[_Iterable[str]] = ..., locale: _Optional[str] = ..., time_zone: _Optional[str] = ..., default_currency: _Optional[str] = ..., reference_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., decide_anew: bool = ...) -> None: ...

class RouteResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class BatchRouteRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RouteRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[RouteRequest, _Mapping]]] = ...) -> None: ...

class BatchRouteResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchRouteResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchRouteResult, _Mapping]]] = ...) -> None: ...

class BatchRouteResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: RouteResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[RouteResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class RouteStreamRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: RouteRequest
    def __init__(self, request: _Optional[_Union[RouteRequest, _Mapping]] = ...) -> None: ...

class RouteStreamResponse(_message.Message):
    __slots__ = ("signal", "text_delta", "decision")
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    signal: _signal_pb2.Signal
    text_delta: str
    decision: Decision
    def __init__(self, signal: _Optional[_Union[_signal_pb2.Signal, _Mapping]] = ..., text_delta: _Optional[str] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("decision_id",)
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    def __init__(self, decision_id: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("decision", "conditions")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class PathReason(_message.Message):
    __slots__ = ("code", "step", "description")
    CODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    code: str
    step: str
    description: str
    def __init__(self, code: _Optional[str] = ..., step: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("source", "text", "provenance", "structured")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_FIELD_NUMBER: _ClassVar[int]
    source: AnswerSource
    text: str
    provenance: _provenance_pb2.Provenance
    structured: _struct_pb2.Value
    def __init__(self, source: _Optional[_Union[AnswerSource, str]] = ..., text: _Optional[str] = ..., provenance: _Optional[_Union[_provenance_pb2.Provenance, _Mapping]] = ..., structured: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class Degradation(_message.Message):
    __slots__ = ("step", "code", "description")
    STEP_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    step: str
    code: str
    description: str
    def __init__(self, step: _Optional[str] = ..., code: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("name", "service", "state", "start_offset", "latency", "signal", "error", "run_if", "hedge")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RUN_IF_FIELD_NUMBER: _ClassVar[int]
    HEDGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    service: str
    state: StepState
    start_offset: _duration_pb2.Duration
    latency: _duration_pb2.Duration
    signal: _signal_pb2.Signal
    error: _status_pb2.Status
    run_if: bool
    hedge: Hedge
    def __init__(self, name: _Optional[str] = ..., service: _Optional[str] = ..., state: _Optional[_Union[StepState, str]] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., signal: _Optional[_Union[_signal_pb2.Signal, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., run_if: bool = ..., hedge: _Optional[_Union[Hedge, _Mapping]] = ...) -> None: ...

class Hedge(_message.Message):
    __slots__ = ("start_offset", "outcome")
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    start_offset: _duration_pb2.Duration
    outcome: HedgeOutcome
    def __init__(self, start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., outcome: _Optional[_Union[HedgeOutcome, str]] = ...) -> None: ...

class Cost(_message.Message):
    __slots__ = ("prompt_tokens", "output_tokens", "usd_micros")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    output_tokens: int
    usd_micros: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., usd_micros: _Optional[int] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("code", "step", "quantity", "value", "threshold", "held", "path", "threshold_source", "values")
    CODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_SOURCE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    code: str
    step: str
    quantity: str
    value: float
    threshold: float
    held: bool
    path: Path
    threshold_source: str
    values: _containers.RepeatedCompositeFieldContainer[ConditionValue]
    def __init__(self, code: _Optional[str] = ..., step: _Optional[str] = ..., quantity: _Optional[str] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ..., held: bool = ..., path: _Optional[_Union[Path, str]] = ..., threshold_source: _Optional[str] = ..., values: _Optional[_Iterable[_Union[ConditionValue, _Mapping]]] = ...) -> None: ...

class ConditionValue(_message.Message):
    __slots__ = ("field", "number", "text", "flag")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    field: str
    number: float
    text: str
    flag: bool
    def __init__(self, field: _Optional[str] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., flag: bool = ...) -> None: ...

class RequestFacts(_message.Message):
    __slots__ = ("tenant", "locale", "time_zone", "default_currency", "reference_time", "document_count")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_TIME_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    locale: str
    time_zone: str
    default_currency: str
    reference_time: _timestamp_pb2.Timestamp
    document_count: int
    def __init__(self, tenant: _Optional[str] = ..., locale: _Optional[str] = ..., time_zone: _Optional[str] = ..., default_currency: _Optional[str] = ..., reference_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., document_count: _Optional[int] = ...) -> None: ...

class BudgetState(_message.Message):
    __slots__ = ("outcome", "scope", "quantity", "expected_gain", "least_gain", "budgets")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GAIN_FIELD_NUMBER: _ClassVar[int]
    LEAST_GAIN_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    outcome: BudgetOutcome
    scope: str
    quantity: str
    expected_gain: float
    least_gain: float
    budgets: _containers.RepeatedCompositeFieldContainer[Budget]
    def __init__(self, outcome: _Optional[_Union[BudgetOutcome, str]] = ..., scope: _Optional[str] = ..., quantity: _Optional[str] = ..., expected_gain: _Optional[float] = ..., least_gain: _Optional[float] = ..., budgets: _Optional[_Iterable[_Union[Budget, _Mapping]]] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("scope", "reset_time", "requests", "tokens", "usd_micros", "max_requests", "max_tokens", "max_usd_micros")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    RESET_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    scope: str
    reset_time: _timestamp_pb2.Timestamp
    requests: int
    tokens: int
    usd_micros: int
    max_requests: int
    max_tokens: int
    max_usd_micros: int
    def __init__(self, scope: _Optional[str] = ..., reset_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., requests: _Optional[int] = ..., tokens: _Optional[int] = ..., usd_micros: _Optional[int] = ..., max_requests: _Optional[int] = ..., max_tokens: _Optional[int] = ..., max_usd_micros: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("policy_revision", "hops")
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    policy_revision: str
    hops: _containers.RepeatedCompositeFieldContainer[Hop]
    def __init__(self, policy_revision: _Optional[str] = ..., hops: _Optional[_Iterable[_Union[Hop, _Mapping]]] = ...) -> None: ...

class Hop(_message.Message):
    __slots__ = ("step", "service", "model", "version", "zone", "region", "purpose", "redacted", "state", "rulings", "attempts")
    STEP_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RULINGS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    step: str
    service: str
    model: str
    version: str
    zone: str
    region: str
    purpose: str
    redacted: bool
    state: HopState
    rulings: _containers.RepeatedCompositeFieldContainer[ClassRuling]
    attempts: int
    def __init__(self, step: _Optional[str] = ..., service: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., zone: _Optional[str] = ..., region: _Optional[str] = ..., purpose: _Optional[str] = ..., redacted: bool = ..., state: _Optional[_Union[HopState, str]] = ..., rulings: _Optional[_Iterable[_Union[ClassRuling, _Mapping]]] = ..., attempts: _Optional[int] = ...) -> None: ...

class ClassRuling(_message.Message):
    __slots__ = ("data_class", "fields", "allowed", "rule")
    DATA_CLASS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    data_class: str
    fields: _containers.RepeatedScalarFieldContainer[str]
    allowed: bool
    rule: str
    def __init__(self, data_class: _Optional[str] = ..., fields: _Optional[_Iterable[str]] = ..., allowed: bool = ..., rule: _Optional[str] = ...) -> None: ...
