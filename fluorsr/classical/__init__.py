"""The non-learned baselines, under the same Restorer contract."""
