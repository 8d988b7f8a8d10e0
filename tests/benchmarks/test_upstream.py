"""LiveKit's own count of its calls is read from its metrics."""

from benchmarks.upstream import CALLS

METRICS = """\
# TYPE livekit_node_twirp_request_latency_ms histogram
livekit_node_twirp_request_latency_ms_count{method="ListRooms",service="RoomService",status="200"} 9
# TYPE livekit_node_twirp_request_status counter
livekit_node_twirp_request_status{code="",method="ListRooms",service="RoomService",status="200"} 3
livekit_node_twirp_request_status{code="not_found",method="ListParticipants",status="404"} 1.5e+06
"""


def test_calls_of_all_methods_and_outcomes_are_counted() -> None:
    assert [float(count) for count in CALLS.findall(METRICS)] == [3, 1_500_000]
