"""The engines that `benchmarks/compare.py` compares, one file each."""
