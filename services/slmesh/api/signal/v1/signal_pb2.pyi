from google.api import field_behavior_pb2 as _field_behavior_pb2
from slmesh.api.classify.v1 import classify_pb2 as _classify_pb2
from slmesh.api.extract.v1 import extract_pb2 as _extract_pb2
from slmesh.api.guard.v1 import guard_pb2 as _guard_pb2
from slmesh.api.rank.v1 import rank_pb2 as _rank_pb2
from slmesh.api.score.v1 import score_pb2 as _score_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Signal(_message.Message):
    __slots__ = ("step", "classification", "extraction", "ranking", "screening", "scoring")
    STEP_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    EXTRACTION_FIELD_NUMBER: _ClassVar[int]
    RANKING_FIELD_NUMBER: _ClassVar[int]
    SCREENING_FIELD_NUMBER: _ClassVar[int]
    SCORING_FIELD_NUMBER: _ClassVar[int]
    step: str
    classification: _classify_pb2.ClassifyResponse
    extraction: _extract_pb2.ExtractResponse
    ranking: _rank_pb2.RankResponse
    screening: _guard_pb2.ScreenResponse
    scoring: _score_pb2.ScoreResponse
    def __init__(self, step: _Optional[str] = ..., classification: _Optional[_Union[_classify_pb2.ClassifyResponse, _Mapping]] = ..., extraction: _Optional[_Union[_extract_pb2.ExtractResponse, _Mapping]] = ..., ranking: _Optional[_Union[_rank_pb2.RankResponse, _Mapping]] = ..., screening: _Optional[_Union[_guard_pb2.ScreenResponse, _Mapping]] = ..., scoring: _Optional[_Union[_score_pb2.ScoreResponse, _Mapping]] = ...) -> None: ...
