"""How a map becomes colour: from blue (0) to red (1), in figures, reports and notebooks alike.

The paper's Figure 4 runs from blue to red, too; this is turbo (Mikhailov 2019), whose steps are even, from 7 % to 96 % of its
range: its ends are almost black.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from das_explain.errors import DasExplainError

_HEX = (
    "4143a74146ac4249b1424bb5434eba4451bf4454c34456c74559cb4559cb455ccf455ed34661d64664da4666dd4669e0"
    "466be3476ee64771e94771e94773eb4776ee4778f0477bf2467df44680f64682f84685fa4685fa4687fb458afc458cfd"
    "448ffe4391fe4294ff4196ff4099ff4099ff3e9bfe3d9efe3ba0fd3aa3fc38a5fb37a8fa35abf833adf731aff531aff5"
    "2fb2f42eb4f22cb7f02ab9ee28bceb27bee925c0e723c3e423c3e422c5e220c7df1fc9dd1ecbda1ccdd81bd0d51ad2d2"
    "1ad4d01ad4d019d5cd18d7ca18d9c818dbc518ddc218dec018e0bd19e2bb19e3b919e3b91ae4b61ce6b41de7b21fe9af"
    "20eaac22ebaa25eca727eea427eea42aefa12cf09e2ff19b32f29835f39438f4913cf58e3ff68a43f78743f78746f884"
    "4af8804ef97d52fa7a55fa7659fb735dfc6f61fc6c61fc6c65fd6969fd666dfe6271fe5f75fe5c79fe597dff5680ff53"
    "80ff5384ff5188ff4e8bff4b8fff4992ff4796fe4499fe429cfe409ffd3f9ffd3fa1fd3da4fc3ca7fc3aa9fb39acfb38"
    "affa37b1f936b4f836b4f836b7f735b9f635bcf534bef434c1f334c3f134c6f034c8ef34cbed34cbed34cdec34d0ea34"
    "d2e935d4e735d7e535d9e436dbe236dde037dde037dfdf37e1dd37e3db38e5d938e7d739e9d539ebd339ecd13aecd13a"
    "eecf3aefcd3af1cb3af2c93af4c73af5c53af6c33af7c13af8be39f8be39f9bc39faba39fbb838fbb637fcb336fcb136"
    "fdae35fdac34fdac34fea933fea732fea431fea130fe9e2ffe9b2dfe992cfe962bfe932afe932afe9029fd8d27fd8a26"
    "fc8725fc8423fb8122fb7e21fa7b1ffa7b1ff9781ef9751df8721cf76f1af66c19f56918f46617f36315f36315f26014"
    "f15d13f05b12ef5811ed5510ec530feb500eea4e0de84b0ce84b0ce7490ce5470be4450ae2430ae14109df3f08dd3d08"
    "dc3b07dc3b07da3907d83706d63506d43305d23105d02f05ce2d04cc2b04cc2b04ca2a04c82803c52603c32503c12302"
    "be2102bc2002b91e02b71d02b71d02b41b01b21a01af1801ac1701a91601a71401a41301a11201a112019e10019b0f01"
)
HEAT = np.frombuffer(bytes.fromhex(_HEX), dtype=np.uint8).reshape(256, 3)
"""uint8 (256, 3): the colours, RGB, of 256 equal steps of a map's range [0, 1]."""


def colourize(maps: np.ndarray, colours: np.ndarray = HEAT) -> np.ndarray:
    """float (...) in [0, 1] -> uint8 (..., 3)."""
    return colours[np.clip((maps * 256).astype(np.int64), 0, 255)]


def overlay(photo: np.ndarray, cam: np.ndarray, opacity: float = 0.5, colours: np.ndarray = HEAT) -> np.ndarray:
    """A map laid over a photo as colour, blue (0) to red (1), or in other ``colours``, uint8 (256, 3).

    ``photo`` uint8 (H, W, 3); ``cam`` float (h, w) in [0, 1], enlarged bilinearly with half-pixel centres to (H, W).
    Returns uint8 (H, W, 3) = (1 - opacity) * photo + opacity * colour. Another shape, dtype or range raises
    `DasExplainError`.
    """
    photo, cam = np.asarray(photo), np.asarray(cam, dtype=np.float32)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise DasExplainError(f"overlay needs a uint8 photo (H, W, 3), not {photo.dtype} {photo.shape}")
    if cam.ndim != 2 or not cam.size or not np.isfinite(cam).all() or cam.min() < -1e-6 or cam.max() > 1 + 1e-6:
        raise DasExplainError(f"overlay needs a finite map (h, w) in [0, 1], not shape {cam.shape}; scale it first")
    height, width = photo.shape[:2]
    large = np.asarray(Image.fromarray(cam).resize((width, height), Image.Resampling.BILINEAR))
    return np.rint((1 - opacity) * photo + opacity * colourize(large, colours)).astype(np.uint8)
