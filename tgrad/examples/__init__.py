"""Whole programs, each run as ``python -m tgrad.examples.<name>``; ``--help`` says what it does."""
