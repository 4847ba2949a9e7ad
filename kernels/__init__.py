"""Kernels, one folder per device and one file per op family. They fill arrays and check nothing."""
