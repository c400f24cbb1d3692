"""Reads HDF5 files from strangers, without HDF5's library.

That library is made for files that one trusts: damaged ones lead it round in circles or out of its memory, and honest
ones may ask it to open other files, or to unpack a few bytes into gigabytes. A weight file needs little of all that:
groups, arrays of plain numbers as they lie in the file, and attributes. So that little is read here, every address and
length checked against the file's end before it is followed, and what goes beyond it is refused by name.

    file.py       from a path to its root group; groups, datasets
    walk.py       what our readers ask for: a member, all datasets, one text or number
    attributes.py texts and numbers that belong to them
    headers.py    superblock and object headers, in both of their forms
    groups.py     the links of a group: symbol tables, link messages
    types.py      datatypes and dataspaces
    heaps.py      where names and texts lie
    content.py    bytes that cannot be read past their end

What h5py writes by default, whatever its version, is covered; of `libver="latest"` the groups with an index are not.

Source: HDF5 File Format Specification, version 3.0; section numbers stand where each structure is read.
"""

from pure_detect.hdf5.attributes import Attribute
from pure_detect.hdf5.content import DamagedError
from pure_detect.hdf5.file import Dataset, Group, open_hdf5
from pure_detect.hdf5.headers import MAGIC
from pure_detect.hdf5.walk import MOST_OBJECTS, attribute, checked, datasets, has, member

__all__ = [
    "MAGIC",
    "MOST_OBJECTS",
    "Attribute",
    "DamagedError",
    "Dataset",
    "Group",
    "attribute",
    "checked",
    "datasets",
    "has",
    "member",
    "open_hdf5",
]
