"""What both processes do alike: each rule that holds for the service and for the edge stands here, once.

It knows neither of them, and nothing of whose a room is. Each module can be imported by itself and
imports no more than it needs: gRPC, for one, must not be loaded by the process that forks the edge's workers.
"""
