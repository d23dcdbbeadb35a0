"""Training of gated networks. Start at `dyn2trt.train.trainer`; the methods' own parts are what `criterion` lists."""
