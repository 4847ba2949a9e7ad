"""The parts of ``compare.py``: cases, libraries, timing, tables, the page."""
