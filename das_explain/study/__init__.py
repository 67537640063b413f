"""Studies: designs in, several trained copies of each, one page out. A STUDY.yaml says which; needs the extra ``train``."""
