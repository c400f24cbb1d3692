"""Turns the weight files of other programs into Pure Detect's HDF5 files, and back where that is possible."""
