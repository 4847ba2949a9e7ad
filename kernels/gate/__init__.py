"""The gate: what a GPU's kernels compile to, judged on a machine without a GPU.

``variants`` records every launch of the samples, ``facts`` compiles them and reads the machine
code, ``rules`` says what may not be, ``report`` prints and stores. Run ``python -m tgrad.kernels``.
"""
