"""Pictures as bytes that a page holds: JPEG photographs, one-bit masks, data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

MIN_PIXELS = 448
"""Pictures narrower than this are enlarged, by whole factors."""


def enlarged(photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Scale a small photograph [H, W, 3] up to `MIN_PIXELS` or somewhat more, so that its heat map has sharp sites."""
    height, width = photograph.shape[:2]
    factor = max(1, -(-MIN_PIXELS // width))
    return np.asarray(Image.fromarray(photograph).resize((width * factor, height * factor), Image.Resampling.BICUBIC))


def as_jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def mask_png(mask: npt.NDArray[np.bool_]) -> bytes:
    """One bit per site, active white."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
