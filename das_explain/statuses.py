"""Every status that an image, a mask or a score can have, with its meaning, once.

``SCORED`` are those whose value counts in means and comparisons. ``no_background`` is among them: B equals R, sfd is 1
by Eq. 5, and leaving it out would drop exactly the images on which the map lies inside the object. So is ``faint_cam``,
which says of a map that is scored as any other how little stands behind it; a reading leaves these maps out.
"""

from __future__ import annotations

STATUSES = {
    "ok": "scored",
    "no_background": "box B holds nothing but the object: sfd is 1 by definition (Eq. 5), and counts",
    "no_object": "no object was found, region R is empty",
    "whole_frame": "the object fills the frame: there is no pixel outside it to be told from it",
    "faint_cam": "the map is so faint beside the logits that it may be rounding noise; it is scored, and counts",
    "zero_cam": "the map is zero everywhere: there is nothing to score",
    "nonfinite_cam": "the map holds NaN or infinity",
    "nonfinite_output": "the network answers a changed photo with NaN or infinity",
    "no_confidence": "the network gives the class no probability at all: nothing can drop",
    "unreadable": "the image could not be read",
    "no_mask": "the data has no mask for this image",
    "mask_unreadable": "the mask could not be read",
    "mask_mismatch": "the mask has another size than the image",
    "unknown_label": "the label is none of the model's classes",
    "not_asked": "the network has not been asked about this blind map yet: the same sfd command goes on",
    "no_partner": "there is no other image whose map could be taken",
}
SCORED = ("ok", "no_background", "faint_cam")
UNREAD = ("unreadable", "mask_unreadable")  # which may be otherwise elsewhere, or later
WITHOUT_REGION = ("no_object", "no_mask", "mask_unreadable", "mask_mismatch")
