"""dyn2trt compiles gated and dynamic-kernel CNNs to TensorRT engines that skip idle work."""

__version__ = "0.1.0"
