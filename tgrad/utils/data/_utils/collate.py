"""``tgrad.utils.data.default_collate`` under the path of older programs."""

from tgrad.utils.data.collate import default_collate, default_convert

__all__ = ["default_collate", "default_convert"]
