"""Whole programs as they are written for PyTorch, short: only their import lines name tgrad.

Each has ``main()``, which prints as it goes and returns the numbers that it came to. Data and first
weights are drawn by NumPy, so that the same text gives the same numbers on either library.
"""
