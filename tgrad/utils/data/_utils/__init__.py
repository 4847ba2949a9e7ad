"""The path by which older programs import what joins samples into batches."""

from tgrad.utils.data._utils import collate

__all__ = ["collate"]
