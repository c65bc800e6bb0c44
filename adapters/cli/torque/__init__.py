"""The console of a torque driver: what it says is in `dialogue.py`, everything else moves messages and lines."""
