"""The attention modules of both papers and those they are compared with, one file each, DAS a folder."""
