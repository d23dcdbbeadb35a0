"""Training of gated networks. Start at `dyn2trt.train.trainer`; the method's own part is `dyn2trt.train.criterion`."""
