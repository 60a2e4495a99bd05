"""What tests ask a segmenter, and how often its parts were called."""

from dataclasses import replace
from typing import Any

import torch

from engine.domain.requests import Proposal, SegmentRequest
from engine.sdseg.segmenter import Segmenter


def request_of(scan: Any, **changes: Any) -> SegmentRequest:
    return replace(SegmentRequest(scan, range(scan.slice_count)), **changes)


def answers(segmenter: Segmenter, request: SegmentRequest) -> dict[int, Proposal]:
    return {p.index: p for p in segmenter.segment(request)}


def count_calls(module: torch.nn.Module) -> list[int]:
    rows: list[int] = []
    module.register_forward_pre_hook(lambda _m, args: rows.append(len(args[0])))
    return rows
