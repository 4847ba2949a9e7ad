"""The handle that every ``register_*hook`` returns."""

from tgrad.autograd.graph import RemovableHandle

__all__ = ["RemovableHandle"]
