"""The calibration doctor: finds what is wrong with the messages of cameras, and names the cure.

It only reads messages, by the names of their fields; the node keeps, logs and publishes findings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nndepth_core.camera import CalibrationError
from nndepth_core.plausibility import (
    BaselineLimits,
    Finding,
    Level,
    examine_baseline,
)
from nndepth_core.plausibility.projections import examine_projections
from nndepth_core.spec import ModelSpec
from nndepth_ros.conversions import effective_camera, stamp_ns, stereo_camera
from nndepth_ros.outputs import CONFIDENCE, DEPTH_INFO, POINTS
from nndepth_ros.synchronizer import SyncCounts

ENOUGH_MESSAGES = 10
PATIENCE = 10.0
"""Seconds in which a missing publisher is no finding, since cameras may start later."""
LONG_WORK = 10.0
"""Seconds in which every pair or image should be finished."""


def calibration_key(*infos: Any) -> tuple[Any, ...]:
    """All that the examination of CameraInfo depends on; it is examined again if this changes."""
    return tuple(
        (
            info.header.frame_id,
            info.width,
            info.height,
            info.distortion_model,
            tuple(info.d),
            tuple(info.k),
            tuple(info.r),
            tuple(info.p),
            info.binning_x,
            info.binning_y,
            *(getattr(info.roi, name) for name in ('x_offset', 'y_offset', 'width', 'height')),
        )
        for info in infos
    )


def examine_calibration(
    left_info: Any, right_info: Any, *, baseline: BaselineLimits | None = None
) -> list[Finding]:
    """Examine both CameraInfo.

    Args:
        left_info: the CameraInfo of the left images.
        right_info: the CameraInfo of the right images.
        baseline: the baselines that are plausible; None takes the defaults.
    """
    if left_info.p[3] < 0 and right_info.p[3] == 0:
        return [
            Finding(
                'swapped',
                Level.ERROR,
                f'the left camera_info carries the baseline (P[3] = {left_info.p[3]:.6g}) and the '
                'right one none: left and right are swapped; exchange the topics',
            )
        ]
    found = []
    width, height = _delivered_size(left_info)
    other = _delivered_size(right_info)
    if (width, height) != other:
        found.append(
            Finding(
                'info_size',
                Level.ERROR,
                f'camera_info sizes differ: left {width}x{height}, right {other[0]}x{other[1]}; '
                'run both cameras at one resolution',
            )
        )
    else:
        try:
            rig = stereo_camera(left_info, right_info, width, height)
            fx = float(left_info.p[0])
            found += examine_baseline(rig.baseline, fx, baseline or BaselineLimits())
        except CalibrationError as error:
            found.append(Finding('calibration', Level.ERROR, str(error)))
    rows = left_info.roi.y_offset, right_info.roi.y_offset
    if rows[0] != rows[1]:
        text = (
            f'the window (roi) of the left camera begins at row {rows[0]} and that of the right '
            f'one at row {rows[1]}; pairs need equal rows: set the same y_offset in both drivers'
        )
        found.append(Finding('roi_rows', Level.ERROR, text))
    full = int(left_info.width), int(left_info.height)
    found += examine_projections(left_info.p, right_info.p, *full)
    found += _look_at_frames(left_info, right_info)
    for side, info in (('left', left_info), ('right', right_info)):
        found += _look_at_distortion(side, info)
    return found


def examine_camera(info: Any) -> list[Finding]:
    """Examine the CameraInfo of a single camera."""
    found = []
    try:
        effective_camera(info, *_delivered_size(info))
    except CalibrationError as error:
        text = f'camera_info: {error}; {DEPTH_INFO} and {POINTS} need it'
        found.append(Finding('calibration', Level.WARN, text))
    if not info.header.frame_id:
        text = 'camera_info has an empty frame_id; tf needs a name: set it in the driver'
        found.append(Finding('frames', Level.WARN, text))
    return found + _look_at_distortion('', info)


def examine_missing(topics: Collection[str], spec: ModelSpec) -> list[Finding]:
    """Explain why nothing comes on topics that somebody subscribes to.

    Args:
        topics: the topics that the model cannot fill.
        spec: the spec of the model.
    """
    found = []
    if CONFIDENCE in topics:
        text = (
            f'nothing comes on {CONFIDENCE}: {spec.title} has none of its own; set the parameter '
            'model to a network that has one'
        )
        found.append(Finding('no_confidence', Level.WARN, text))
    if others := sorted({*topics} - {CONFIDENCE}):
        gives, cure = 'depth in metres', ''
        if spec.output != 'depth':
            gives = f'{spec.output.replace("_", " ")} without a scale, never metres'
            cure = (
                ', set the parameter scale_source to what tells the scale, or model to a network '
                'that gives metres'
            )
        text = (
            f'nothing comes on {", ".join(others)}: {spec.title} gives {gives}; subscribe to '
            f'{spec.output}/image{cure}'
        )
        found.append(Finding('not_given', Level.WARN, text))
    return found


def filters_without_use(spec: ModelSpec) -> Finding:
    """Tell that filters are on, but the model gives no metres, which they need."""
    text = (
        f'filters are on, but {spec.title} gives no metres, and what has no scale is not '
        'filtered; set scale_source to what tells the scale, or filter.* to 0'
    )
    return Finding('filters_without_use', Level.WARN, text)


def scale_without_use(source: str, spec: ModelSpec) -> Finding:
    """Tell that a model gives metres although something else is to tell its scale."""
    text = (
        f'scale_source is {source}, but {spec.title} gives metres, which are published as they '
        'are; set scale_source to none, or model to a network without a scale'
    )
    return Finding('scale_without_use', Level.WARN, text)


def scale_from_images(name: str, topic: str) -> Finding:
    """Tell that the topic of known depths is remapped to the images themselves."""
    text = f'{name} is remapped to {topic}, the images themselves; remap it to depths in metres'
    return Finding('scale_from_images', Level.ERROR, text)


def examine_headers(
    sides: Sequence[str], images: Sequence[Any], infos: Sequence[Any]
) -> list[Finding]:
    """Compare the headers of images with those of their CameraInfo.

    Args:
        sides: the names of the cameras; a single camera has the name ''.
        images: the Image or CompressedImage of each camera.
        infos: the CameraInfo of each camera, None if there is none.
    """
    found = []
    for side, image, info in zip(sides, images, infos, strict=True):
        if stamp_ns(image.header.stamp) == 0:
            text = 'images have the stamp 0; their ages mean nothing until the driver stamps them'
            if side:
                text = (
                    f'{side} images have the stamp 0; pairs and ages mean nothing until the '
                    'driver stamps them'
                )
            found.append(Finding(_code('stamp_zero', side), Level.WARN, text))
        if info is not None and image.header.frame_id != info.header.frame_id:
            text = (
                f'{side} image is in frame {image.header.frame_id!r} and its camera_info in '
                f'{info.header.frame_id!r}; the driver must write one name into both'
            )
            found.append(Finding(_code('frame', side), Level.WARN, text.lstrip()))
    return found


def _code(kind: str, side: str) -> str:
    return f'{kind}_{side}' if side else kind


def examine_stamps(counts: SyncCounts, offset_ns: int | None) -> list[Finding]:
    """Examine the messages that the synchroniser could not pair."""
    if counts.paired or min(counts.received_left, counts.received_right) < ENOUGH_MESSAGES:
        return []
    measured = 'their offset is unknown'
    cure = 'synchronise the cameras or raise sync_tolerance'
    if offset_ns is not None:
        measured = f'right minus left is {offset_ns / 1e6:+.3f} ms at the closest'
        if abs(offset_ns) < 50_000_000:
            cure = (
                'trigger the cameras together, or set sync_tolerance to '
                f'{abs(offset_ns) * 1.2e-9:.4f} s if they see the same moment'
            )
        else:
            cure = 'the cameras run on different clocks: stamp them from one'
    return [
        Finding(
            'stamps',
            Level.ERROR,
            f'no pair in {counts.received_left} left and {counts.received_right} right images: '
            f'{measured}; {cure}',
        )
    ]


@dataclass(frozen=True)
class InputState:
    """What is known of an input topic; times are in seconds of the steady clock.

    Attributes:
        topic: its full name.
        since: when it was subscribed to.
        heard: when the last message arrived; None if none has.
        latched: whether a message stays valid until the next one.
        publishers: the number of publishers.
        offered_since: when the first publisher was seen; None if there is none.
    """

    topic: str
    since: float
    heard: float | None = None
    latched: bool = False
    publishers: int = 0
    offered_since: float | None = None

    def speaks(self, timeout: float, now: float) -> bool:
        """Whether its last message is valid or not older than the seconds that are allowed."""
        return self.heard is not None and (self.latched or now - self.heard <= timeout)


def examine_silence(states: Iterable[InputState], timeout: float, now: float) -> list[Finding]:
    """Find inputs that give no messages.

    Args:
        states: the states of all inputs.
        timeout: the seconds of silence that are allowed.
        now: the present time on the clock of the states.
    """
    found = []
    for state in states:
        if state.heard is not None:
            silent = not state.speaks(timeout, now)
        else:
            silent = state.offered_since is not None and now - state.offered_since > timeout
            if not state.publishers and now - state.since > max(timeout, PATIENCE):
                text = (
                    f'{state.topic}: nobody publishes it yet; check the remapping and that the '
                    'camera runs'
                )
                found.append(Finding(f'waiting {state.topic}', Level.WARN, text))
                continue
        if silent:
            found.append(Finding(f'silent {state.topic}', Level.ERROR, _silent(state, timeout)))
    return found


def _silent(state: InputState, timeout: float) -> str:
    if state.publishers:
        why = (
            f'{state.publishers} publisher(s) are there: the camera may hang, reliability may not '
            "fit, or Fast DDS drops large messages (start the camera with nndepth's "
            'config/fastdds.xml in FASTRTPS_DEFAULT_PROFILES_FILE)'
        )
    else:
        why = 'nobody publishes it; check the remapping and that the camera runs'
    return f'{state.topic} is silent for {timeout:g} s or more: {why}'


def examine_twins(name: str, publishers: Mapping[str, Iterable[str]]) -> list[Finding]:
    """Find other nodes that publish the same outputs.

    Args:
        name: the full name of this node, which publishes each output once.
        publishers: the full names of the nodes that publish each topic.
    """
    shared: dict[str, list[str]] = {}
    for topic, nodes in publishers.items():
        others = list(nodes)
        if name in others:
            others.remove(name)
        for other in sorted(set(others)):
            shared.setdefault(other, []).append(topic)
    found = []
    for other, topics in shared.items():
        who = 'another node of the same name' if other == name else other
        text = (
            f'{who} publishes {", ".join(topics)} too, so subscribers get both: end one of the '
            'two, or start one in another namespace'
        )
        found.append(Finding(f'twin {other}', Level.WARN, text))
    return found


def examine_work(busy: float | None, what: str = 'pair') -> list[Finding]:
    """Check that the present work does not take too long.

    Args:
        busy: the seconds it has taken so far; None if there is no work.
        what: 'pair' or 'image'.
    """
    if busy is None or busy < LONG_WORK:
        return []
    text = (
        f'one {what} has been in work for more than {LONG_WORK:g} s: set processing_width or '
        'processing_height to a smaller size, or choose a faster model, engine or device'
    )
    return [Finding('slow', Level.ERROR, text)]


def _delivered_size(info: Any) -> tuple[int, int]:
    source = info.roi if info.roi.width and info.roi.height else info
    width, height = source.width, source.height
    return int(width) // max(1, info.binning_x), int(height) // max(1, info.binning_y)


def _look_at_distortion(side: str, info: Any) -> list[Finding]:
    if not any(info.d):
        return []
    text = (
        f'{side} camera_info has distortion {[round(float(v), 6) for v in info.d]}: '
        'fine if it describes the raw camera of an image rectified by image_proc; if '
        'the image itself is raw, set rectify'
    )
    return [Finding(_code('distortion', side), Level.WARN, text.lstrip())]


def _look_at_frames(left_info: Any, right_info: Any) -> list[Finding]:
    left, right = left_info.header.frame_id, right_info.header.frame_id
    if not left:
        text = 'left camera_info has an empty frame_id; tf needs a name: set it in the driver'
    elif left != right:
        text = (
            f'frames differ: left {left!r}, right {right!r}; a rectified pair shares the left '
            'optical frame (image_geometry insists); outputs use the left one'
        )
    else:
        return []
    return [Finding('frames', Level.WARN, text)]
