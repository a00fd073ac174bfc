"""Networks, their weights, and what must be measured of them."""
