"""Reads a statement's text and says what to do with it: forward, hold or refuse, and why.

Text enters at `statement.read`, a `Statement` leaves; `policy` turns that into a `Verdict`. Nothing is forwarded
because nothing bad was found: it is forwarded because every part of it was recognised as harmless.
"""
