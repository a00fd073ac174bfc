"""Restoration out of core: plan, journal, run."""
