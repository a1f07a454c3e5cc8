"""The plan of packets: what is wanted is decoded, what it leans on is decoded, and little else."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordframe.video._plan import DecodePlan, PlannedPacket, WantedTimes


class ListSource:
    """Packets of a list; seeks among its keyframes."""

    def __init__(self, packets: list[PlannedPacket], *, can_seek: bool = False) -> None:
        self.packets, self.place, self.can_seek, self.seeks = packets, 0, can_seek, 0

    def __iter__(self) -> Iterator[PlannedPacket]:
        return self

    def __next__(self) -> PlannedPacket:
        if self.place >= len(self.packets):
            raise StopIteration
        self.place += 1
        return self.packets[self.place - 1]

    def seek_towards(self, seconds: float, *, position: float) -> bool:
        keys = [
            place
            for place, packet in enumerate(self.packets)
            if packet.is_key and packet.seconds is not None and position < packet.seconds <= seconds
        ]
        if not self.can_seek or not keys:
            return False
        self.place, self.seeks = keys[-1], self.seeks + 1
        return True


def group(start: int, num_minigroups: int, num_b: int, *, is_open: bool) -> list[tuple[int, bool]]:
    """(display number, is key) in file order: I, then P B B…; an open group's leading B come before its I on screen."""
    packets = [(start, True)]
    if is_open:
        packets += [(start - 1 - number, False) for number in range(min(num_b, start))]
    for mini in range(num_minigroups):
        anchor = start + (mini + 1) * (num_b + 1)
        packets += [(anchor, False)] + [(anchor - 1 - number, False) for number in range(num_b)]
    return packets


def stream(groups: list[tuple[int, int, bool]], rate: float) -> list[PlannedPacket]:
    packets: list[PlannedPacket] = []
    start = 0
    for num_minigroups, num_b, is_open in groups:
        lead = num_b if is_open and packets else 0
        entries = group(start + lead, num_minigroups, num_b, is_open=lead > 0)
        packets += [PlannedPacket(number / rate, is_key, False, 100, number) for number, is_key in entries]
        start = max(number for number, _ in entries) + 1
    return packets


def needed(packets: list[PlannedPacket], times: list[float]) -> set[int]:
    """Display numbers of the frames shown at the times."""
    shown = sorted(packet.seconds for packet in packets if packet.seconds is not None)
    return {
        packet.packet
        for packet in packets
        for time in times
        if packet.seconds == max((seconds for seconds in shown if seconds <= time), default=shown[0])
    }


groups = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(groups, st.sampled_from([5.0, 30.0]), st.lists(st.floats(0, 60), max_size=8), st.booleans())
def test_every_wanted_packet_is_decoded_with_its_whole_group_before_it(
    shape: list[tuple[int, int, bool]], rate: float, times: list[float], can_seek: bool
) -> None:
    packets = stream(shape, rate)
    times = sorted(time for time in times if time >= 0)
    steps = list(DecodePlan(ListSource(packets, can_seek=can_seek), WantedTimes(times)))
    order = {packet.packet: place for place, packet in enumerate(packets)}
    decoded = [order[step.planned.packet] for step in steps]
    assert decoded == sorted(set(decoded))
    assert needed(packets, times) <= {step.planned.packet for step in steps if step.is_wanted}
    for before, step in zip([-1, *decoded], steps, strict=False):  # a gap in the file ends at a keyframe, told
        place = order[step.planned.packet]
        if place != before + 1:
            assert step.restart
        if step.restart:
            assert step.planned.is_key
    restarts = [step.planned for step in steps if step.restart]
    for key in restarts:  # no frame shown before a keyframe, but stored after it, may be wanted: it leans on the past
        assert key.seconds is not None
        later = [packet for packet in packets[order[key.packet] :] if (packet.seconds or 0.0) < key.seconds]
        assert not {packet.packet for packet in later} & needed(packets, times)


def test_all_intra_decodes_only_what_is_wanted() -> None:
    packets = [PlannedPacket(number / 30, True, False, 10, number) for number in range(300)]
    steps = list(DecodePlan(ListSource(packets), WantedTimes([0.5, 1.5, 2.5, 9.0])))
    assert [step.planned.packet for step in steps][:6] == [15, 45, 75, 270, 271, 272]  # then the reader stops
    assert all(step.restart and step.is_wanted for step in steps[:4])


def test_short_groups_are_decoded_up_to_the_wanted_frame() -> None:
    packets = [PlannedPacket(number / 30, number % 15 == 0, False, 10, number) for number in range(300)]
    steps = list(DecodePlan(ListSource(packets), WantedTimes([1.1, 4.0])))
    assert [step.planned.packet for step in steps][:6] == [30, 31, 32, 33, 120, 121]
    assert [step.is_wanted for step in steps][:6] == [False, False, False, True, True, False]


def test_far_times_are_sought() -> None:
    packets = [PlannedPacket(number / 30, number % 30 == 0, False, 10, number) for number in range(30_000)]
    source = ListSource(packets, can_seek=True)
    steps = list(DecodePlan(source, WantedTimes([0.0, 900.5])))
    assert [step.planned.packet for step in steps][:2] == [0, 27_000]
    assert source.seeks == 1


def test_a_packet_without_a_time_ends_all_cleverness() -> None:
    packets = [PlannedPacket(number / 30 if number < 100 else None, True, False, 10, number) for number in range(200)]
    steps = list(DecodePlan(ListSource(packets), WantedTimes([0.0])))
    assert [step.planned.packet for step in steps][-100:] == list(range(100, 200))


def test_large_packets_keep_the_window_short() -> None:
    packets = [PlannedPacket(number / 30, number == 0, False, 20 << 20, number) for number in range(50)]
    source = ListSource(packets)
    steps = iter(DecodePlan(source, WantedTimes([0.0, 1.0])))
    next(steps)
    assert source.place <= 3


def test_hidden_packets_are_decoded_but_never_wanted() -> None:
    packets = [PlannedPacket(number / 10 - 1, number == 0, number < 10, 10, number) for number in range(30)]
    steps = list(DecodePlan(ListSource(packets), WantedTimes([0.0])))
    assert [step.planned.packet for step in steps if step.is_wanted] == [10]
    assert [step.planned.packet for step in steps][:11] == list(range(11))


@pytest.mark.parametrize("times", [[1.0, 0.5], [-1.0], [math.nan], [math.inf]])
def test_times_must_ascend_from_zero(times: list[float]) -> None:
    wanted = WantedTimes(times)
    with pytest.raises(ValueError, match="times must be ascending seconds from 0 on, got"):
        wanted.any_within(2.0, 100.0)


def test_times_that_were_taken_off_are_past() -> None:
    wanted = WantedTimes([1.0, 2.0, 5.0])
    assert [wanted.pop(), wanted.pop()] == [1.0, 2.0]
    assert wanted.first_from(0.5) == 5.0
    assert wanted.pop() == 5.0
    assert wanted.first_from(0.5) == math.inf


def test_endless_times_are_looked_up_within_bounds() -> None:
    wanted = WantedTimes(number * 1e-6 for number in range(10_000_000))
    assert wanted.any_within(9.0, 9.1)
    assert wanted.pop() == 0.0
