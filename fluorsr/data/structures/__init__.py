"""Specimens: where the fluorophores are, in micrometres and in three dimensions, drawn as points of light.

registry.py   the names                 field.py   an endless plane of a structure, cut anywhere
one structure a file                    draw.py    points -> voxels
"""
