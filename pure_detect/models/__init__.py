"""The networks, one file a paper, and the reader of Darknet cfgs."""
