"""Which active ratios are measured: masks at a ratio, for all gates of a network, and what runs with them."""
