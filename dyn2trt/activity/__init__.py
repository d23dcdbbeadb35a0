"""Activity: what the gates of a network decided on images, and the work that follows from it. numpy alone is needed.

`halo` says which input sites active sites read, `work` counts multiply-accumulates, `summary` sums both up over images
and blocks, and `archive` is the ``activity.npz`` in which decisions are handed from one verb to the next. Training
counts the same on its device, with a gradient (`dyn2trt.macs`); a test holds the two to each other.
"""
