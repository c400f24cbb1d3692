"""Boxes: coordinates, decoding, non-maximum suppression."""
