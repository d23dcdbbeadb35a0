"""Names of the dynamic dimensions; a size that must be a multiple of 64 is written ``64*H``."""

BATCH, HEIGHT, WIDTH = "N", "H", "W"
