"""The ops of domain ``dyn2trt``; importing this package registers ``torch.ops.dyn2trt.*``."""

from dyn2trt.contract import COMPOSITES, DOMAIN, PRIMITIVES, SCHEMAS, VERSION
from dyn2trt.ops.register import register_torch_ops

register_torch_ops()

__all__ = ["COMPOSITES", "DOMAIN", "PRIMITIVES", "SCHEMAS", "VERSION"]
