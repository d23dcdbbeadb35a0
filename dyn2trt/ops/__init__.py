"""The ops of domain ``dyn2trt``; importing this package registers ``torch.ops.dyn2trt.*``."""

from dyn2trt.ops.register import register_torch_ops
from dyn2trt.ops.schema import COMPOSITES, DOMAIN, PRIMITIVES, SCHEMAS, VERSION

register_torch_ops()

__all__ = ["COMPOSITES", "DOMAIN", "PRIMITIVES", "SCHEMAS", "VERSION"]
