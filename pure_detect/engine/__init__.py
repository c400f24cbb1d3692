"""The fast engine: a graph becomes a plan of steps, and one compiled function walks the plan.

`plan.py` decides, `run.py` walks, `team.py` is the threads; `simd.py` is the vocabulary of vectors in which every
kernel is written, one kernel a file. The plain kernels of `pure_detect/ops` are what each is measured against.
"""
