from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.rpc import status_pb2 as _status_pb2
from slmesh.api.types.v1 import abstention_pb2 as _abstention_pb2
from slmesh.api.types.v1 import provenance_pb2 as _provenance_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RankRequest(_message.Message):
    __slots__ = ("query", "candidates", "collection", "top_k")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    query: str
    candidates: Candidates
    collection: str
    top_k: int
    def __init__(self, query: _Optional[str] = ..., candidates: _Optional[_Union[Candidates, _Mapping]] = ..., collection: _Optional[str] = ..., top_k: _Optional[int] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("ranking", "abstention", "nearest", "collection_revision", "truncated_at", "provenance")
    RANKING_FIELD_NUMBER: _ClassVar[int]
    ABSTENTION_FIELD_NUMBER: _ClassVar[int]
    NEAREST_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_REVISION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_AT_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    ranking: Ranking
    abstention: _abstention_pb2.Abstention
    nearest: _containers.RepeatedCompositeFieldContainer[RankedPassage]
    collection_revision: str
    truncated_at: int
    provenance: _provenance_pb2.Provenance
    def __init__(self, ranking: _Optional[_Union[Ranking, _Mapping]] = ..., abstention: _Optional[_Union[_abstention_pb2.Abstention, _Mapping]] = ..., nearest: _Optional[_Iterable[_Union[RankedPassage, _Mapping]]] = ..., collection_revision: _Optional[str] = ..., truncated_at: _Optional[int] = ..., provenance: _Optional[_Union[_provenance_pb2.Provenance, _Mapping]] = ...) -> None: ...

class BatchRankRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RankRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[RankRequest, _Mapping]]] = ...) -> None: ...

class BatchRankResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchRankResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchRankResult, _Mapping]]] = ...) -> None: ...

class Candidates(_message.Message):
    __slots__ = ("candidates",)
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    def __init__(self, candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("id", "text")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Ranking(_message.Message):
    __slots__ = ("passages",)
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    passages: _containers.RepeatedCompositeFieldContainer[RankedPassage]
    def __init__(self, passages: _Optional[_Iterable[_Union[RankedPassage, _Mapping]]] = ...) -> None: ...

class RankedPassage(_message.Message):
    __slots__ = ("id", "text", "score", "probability")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    score: float
    probability: float
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., score: _Optional[float] = ..., probability: _Optional[float] = ...) -> None: ...

class BatchRankResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: RankResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[RankResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
