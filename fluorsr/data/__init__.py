"""Specimens, simulated pairs, and patches to train on."""
