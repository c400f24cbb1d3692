"""One file a network family: which tensor of a source file is which parameter of ours."""
