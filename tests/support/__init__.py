"""Test equipment: the scripted LiveKit double, the real LiveKit server, real participants and Redis."""
