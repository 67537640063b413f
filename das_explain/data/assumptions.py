"""What is assumed of the masks that come with the data, where nothing tells and it changes numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from das_explain.data.coco.masks import CocoMasks
from das_explain.data.images import ImageError
from das_explain.data.sources import Files, Source, find_unconfirmed_turns
from das_explain.text import plural
from das_explain.types import Sample

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")
OF_FILES = {  # a note of mask_pixels -> what it says of these masks
    "soft": "with soft values (mattes, soft or resized edges): an object's pixel is one above half the mask's maximum",
    "left out": "with soft values and areas of one value that is not above half the maximum ({values} in the first): no part "
    "of R; --mask-value says what the object is",
    "lossy": "stored with loss (WebP, AVIF, HEIF), which scatters values: an object's pixel is one above half the file's maximum",
    "void": "with class numbers in which 255 is void (in colours #e0e0c0): no part of R; --mask-value takes it in",
    "spaced": "with grey values in even steps up to 255 (as 85, 170, 255): 255 is taken for one of the objects, not for void; "
    "--mask-value says which of them is the photo's",
    "several": "with several class numbers or colours: all but the background is R; --mask-value says which of them is "
    "the photo's class, --instances largest takes one",
    "whole": "with several class numbers or colours, none of them 0 or black: all is R, the whole photo; --mask-value says "
    "which of them is the object",
    "voc": "in PASCAL VOC's palette: R is the photo's class by its number there; --mask-value says what else it is",
    "voc kind": "in PASCAL VOC's palette, whose photo's label is another name for one of VOC's classes or a kind of it "
    "({values} in the first): R is that class by its number there; --mask-value says what else it is",
}
OF_COCO = {  # a note of coco.masks -> what it says of these photos
    "loose": "whose label is a category of the COCO file without regard to case, spaces, _ and - or by a synonym",
    "any": "whose label is no category of the COCO file: all annotations of the photo are R; --mask-value FILE.csv "
    "(label,value) says which category is which class",
    "unlabelled": "without a label and with annotations of several categories in the COCO file: all of them are R; "
    "--mask-value says which category is",
    "crowd": "with crowd regions (iscrowd) of the object in the COCO file: no part of R; --crowd takes them in",
    "broken": "with shapes in the COCO file that enclose nothing or cannot be read: R is the others",
    "holes": "with outlines within the outline of one object in the COCO file: taken as holes",
}
OF_PHOTOS = {  # a note of segment.masks -> what it says of these photos
    "turned": "with an EXIF orientation that the mask's size cannot confirm: masks are taken as drawn on the upright photo; if "
    "they are not, store the photos upright, or give each mask the orientation tag of its photo",
}
WORDS = OF_COCO | OF_FILES | OF_PHOTOS


class Assumed:
    """What was assumed of masks as they were read (``assumed`` in a region's ``detail``), counted: a sentence each."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str, str]] = {}  # note -> how many, the first photo's name, the note's values

    def add(self, image: str, notes: object) -> None:
        """Takes those of one photo, some of which name values (``left out: 127``); what is no note of ours is passed over."""
        for note in notes if isinstance(notes, (list, tuple)) else ():
            word, _, values = note.partition(": ") if isinstance(note, str) else ("", "", "")
            if word in WORDS:
                count, *first = self._found.get(word, (0, image, values))
                self._found[word] = (count + 1, first[0], first[1])

    def sentences(self) -> list[str]:
        """In the order of ``OF_COCO``, ``OF_FILES`` and ``OF_PHOTOS``."""
        return [
            f"{plural(self._found[note][0], noun)}, {first} {self._found[note][1]}, "
            + told.replace("{values}", self._found[note][2])
            for noun, first, words in (
                ("photo", "first", OF_COCO),
                ("mask", "first that of", OF_FILES),
                ("photo", "first", OF_PHOTOS),
            )
            for note, told in words.items()
            if note in self._found
        ]


def assume_of_masks(samples: Sequence[Sample], source: Source | None = None) -> list[str]:
    """One sentence for each assumption about the samples' masks; none where there is nothing to assume.

    Photos are opened for it, and of a ``source`` that reads masks from files each is decoded: what a run does not do, whose
    evidence tells.
    """
    assumed = Assumed()
    masked = [sample for sample in samples if sample.mask_path is not None]
    if isinstance(source, CocoMasks):
        for sample in masked:
            assumed.add(sample.name, source.notes(sample))
    elif isinstance(source, Files):
        with ThreadPoolExecutor() as threads:  # Pillow decodes without the interpreter's lock
            for sample, notes in zip(masked, threads.map(_of_file(source), masked)):
                assumed.add(sample.name, notes)
    for sample in find_unconfirmed_turns(samples):
        assumed.add(sample.name, ["turned"])
    return [*assumed.sentences(), *assume_unread(samples, source)]


def assume_unread(samples: Sequence[Sample], source: Source | None = None) -> list[str]:
    """What is assumed of masks whatever is in them and in their photos: no file is opened."""
    told = []
    masked = [sample for sample in samples if sample.mask_path is not None]
    lossy = [each for each in masked if each.mask_path is not None and each.mask_path.suffix.lower() in LOSSY]
    if lossy and not isinstance(source, CocoMasks):
        told.append(
            f"{plural(len(lossy), 'mask')}, first that of {lossy[0].name}, stored as JPEG, which scatters small values: an "
            "object's pixel is one above half the file's maximum"
        )
    if any(each.mask_values for each in masked) and (rest := [each for each in masked if not each.mask_values]):
        told.append(f"{plural(len(rest), 'photo')}, first {rest[0].name}, not named in --mask-value: read without it")
    return told


def _of_file(source: Files) -> Callable[[Sample], Sequence[str]]:
    def notes(sample: Sample) -> Sequence[str]:
        try:
            return source.read_pixels(sample, sample.mask_path).notes if sample.mask_path is not None else ()
        except ImageError:  # the run will tell
            return ()

    return notes
