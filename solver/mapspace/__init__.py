"""Which mappings a layer may have: all of them, pools of good ones, and those near a given one.

Knows single layers and their profiles; nothing of plans, banks or other layers.
"""
