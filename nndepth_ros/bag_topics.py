"""The topics of a bag that belong to one camera or rig: named by the user, or found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nndepth_ros.bag import BagError, BagReader
from nndepth_ros.live_scale import (
    SCALE_DEPTH,
    SCALE_DISPARITY,
    SCALE_POINTS,
    SOURCES,
    STEREO,
)

if TYPE_CHECKING:
    from typing_extensions import Self

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
CLOUD_TYPE = 'sensor_msgs/msg/PointCloud2'
DISPARITY_TYPE = 'stereo_msgs/msg/DisparityImage'
# The last parts of topic names that are looked for, the best first.
IMAGE_NAMES = (
    'image_rect',
    'image_rect_color',
    'image_rect_mono',
    'image_rect_raw',
    'image_raw',
    'image_color',
    'image_mono',
    'image',
)
_COMPRESSED = '/compressed'
_MAPS = ('depth', 'disparity')
"""Words in the names of topics whose images are no pictures of a camera."""


@dataclass(frozen=True)
class Topics:
    """The topics that are read of a bag; empty ones are to be found, or are not there."""

    @property
    def images(self) -> dict[str, str]:
        """The side of each image topic; a single camera has the side ''."""
        raise NotImplementedError

    @property
    def infos(self) -> dict[str, str]:
        """The topic of the camera_info of each side."""
        raise NotImplementedError

    @property
    def depths(self) -> dict[str, str]:
        """The topics with known depths, each with its name in SCALE_INPUTS."""
        return {}

    @property
    def all(self) -> set[str]:
        """All topics that are there."""
        return {*self.images, *self.infos.values(), *self.depths} - {''}

    @property
    def main(self) -> str:
        """The topic of the images to which the results belong."""
        return next(iter(self.images))

    @property
    def namespace(self) -> str:
        """The namespace of the outputs, without the last slash."""
        return self.main.removesuffix(_COMPRESSED).rpartition('/')[0]

    @property
    def rectified(self) -> bool:
        """Whether the name of the main topic says that its images are rectified."""
        return _says_rectified(self.main)

    def found(self, bag: BagReader, calibrated: bool, raw: bool) -> Self:
        """Find the topics that are not named; BagError says which can be chosen."""
        raise NotImplementedError


@dataclass(frozen=True)
class StereoTopics(Topics):
    """The topics of one stereo camera in a bag."""

    left: str = ''
    right: str = ''
    left_info: str = ''
    right_info: str = ''

    @property
    def images(self) -> dict[str, str]:
        """The side of each image topic."""
        return {self.left: 'left', self.right: 'right'}

    @property
    def infos(self) -> dict[str, str]:
        """The topic of the camera_info of each side."""
        return {'left': self.left_info, 'right': self.right_info}

    @property
    def namespace(self) -> str:
        """The part before left/ in the left image topic, without the last slash."""
        parts = self.left.removesuffix(_COMPRESSED).split('/')[:-1]
        if _other_side(self.left) == self.right:
            while len(parts) > 1 and 'left' not in parts[-1]:
                parts.pop()
        return '/'.join(parts[:-1])

    def found(self, bag: BagReader, calibrated: bool, raw: bool) -> Self:
        """Find a pair of image topics and the camera_info beside them."""
        images = _of_types(bag, IMAGE_TYPES)
        left, right = self.left, self.right
        if not left and not right:
            left, right = _best_pair(images, raw)
        left, right = left or _other_side(right), right or _other_side(left)
        if left and left == right:
            raise BagError(f'--left and --right are both {left!r}; give the topics of two cameras')
        for option, topic in (('left', left), ('right', right)):
            _require(topic, images, option, 'image')
        if calibrated:
            return replace(self, left=left, right=right, left_info='', right_info='')
        infos = _of_types(bag, (INFO_TYPE,))
        found = []
        for option, image, topic in (
            ('left-info', left, self.left_info),
            ('right-info', right, self.right_info),
        ):
            if topic:
                _require(topic, infos, option, 'camera_info', ', or give --calibration')
            elif _info_beside(image) not in infos:
                choice = f', or choose by --{option} from {_list(infos)}' if infos else ''
                raise BagError(
                    f'the bag holds no {_info_beside(image)}, the camera_info of {image}; give '
                    f'--calibration{choice}'
                )
            found.append(topic or _info_beside(image))
        return type(self)(left, right, *found)


@dataclass(frozen=True)
class MonoTopics(Topics):
    """The topics of one camera in a bag, and of depths that tell the scale of its images."""

    image: str = ''
    camera_info: str = ''
    scale_depth: str = ''
    scale_points: str = ''
    scale_disparity: str = ''

    @property
    def images(self) -> dict[str, str]:
        """The image topic, of the side ''."""
        return {self.image: ''}

    @property
    def infos(self) -> dict[str, str]:
        """The topic of the camera_info."""
        return {'': self.camera_info}

    @property
    def depths(self) -> dict[str, str]:
        """The topics with known depths, each with its name in SCALE_INPUTS."""
        named = {
            self.scale_depth: SCALE_DEPTH,
            self.scale_points: SCALE_POINTS,
            self.scale_disparity: SCALE_DISPARITY,
        }
        return {topic: name for topic, name in named.items() if topic}

    def found(self, bag: BagReader, calibrated: bool, raw: bool) -> Self:
        """Find the image topic and the camera_info beside it, which need not be there."""
        images = _of_types(bag, IMAGE_TYPES)
        image = self.image or _best_single(images, raw)
        _require(image, images, 'image', 'image')
        if calibrated:
            return replace(self, image=image, camera_info='')
        infos, info = _of_types(bag, (INFO_TYPE,)), self.camera_info
        if info:
            _require(info, infos, 'camera-info', 'camera_info', ', or give --calibration')
        beside = _info_beside(image)
        return replace(self, image=image, camera_info=info or (beside if beside in infos else ''))

    def with_depths(self, bag: BagReader, source: str) -> MonoTopics:
        """Find what tells the scale, unless it is named.

        Args:
            bag: the bag.
            source: one of SOURCES.

        Raises:
            BagError: what is named does not exist or is not for the source, nothing is named and
                there is nothing or more than one topic; the message lists the topics.
        """
        known = {
            SCALE_DEPTH: _of_types(bag, IMAGE_TYPES[:1]),
            SCALE_POINTS: _of_types(bag, (CLOUD_TYPE,)),
            SCALE_DISPARITY: _of_types(bag, (DISPARITY_TYPE,)),
        }
        for topic, name in self.depths.items():
            if name not in SOURCES[source]:
                raise BagError(
                    f'--{_option(name)} is {topic!r} and --scale-source is {source}, which does '
                    'not use it; give the source that does, or leave it out'
                )
            if topic == self.image:
                raise BagError(
                    f'--{_option(name)} is {topic!r}, the topic of the images themselves; give '
                    'the topic of depths in metres'
                )
            _require(topic, known[name], _option(name), name.rpartition('/')[2])
        if self.depths or not SOURCES[source]:
            return self
        names = SOURCES[source]
        if source == STEREO and known[SCALE_DISPARITY]:
            names = (SCALE_DISPARITY,)
        candidates = {topic: name for name in names for topic in known[name]}
        candidates = {
            topic: name
            for topic, name in candidates.items()
            if topic != self.image and (name != SCALE_DEPTH or _says_depth(topic))
        }
        if len(candidates) != 1:
            options = ' or '.join(f'--{_option(name)}' for name in SOURCES[source])
            listed = _list({topic: known[name][topic] for topic, name in candidates.items()})
            raise BagError(
                f'the bag holds {len(candidates)} topics for --scale-source {source}; choose by '
                f'{options} from {listed}'
            )
        ((topic, name),) = candidates.items()
        return replace(self, **{name.replace('/', '_'): topic})


def find_topics(
    bag: BagReader, chosen: Topics, calibrated: bool = False, raw: bool = False
) -> Topics:
    """Find the topics that are not chosen yet.

    Args:
        bag: the bag.
        chosen: the topics that are named already.
        calibrated: whether the calibration is known, so that no camera_info is needed.
        raw: whether images that are not rectified are preferred.

    Raises:
        BagError: a topic does not exist, or there is no such camera, or several are; the message
            lists the topics.
    """
    try:
        return chosen.found(bag, calibrated, raw)
    except BagError as error:
        raise BagError('; '.join(filter(None, (str(error), bag.remarks)))) from error


def _says_rectified(topic: str) -> bool:
    """Judge by the last part that has rect... or raw in it; with both in it, rect counts."""
    for part in reversed(topic.removesuffix(_COMPRESSED).split('/')):
        words = part.lower().split('_')
        if any(word.startswith('rect') and not word.startswith('rectang') for word in words):
            return True
        if 'raw' in words:
            return False
    return False


def _says_depth(topic: str) -> bool:
    """Whether a name says that the images hold metres."""
    name = topic.lower()
    return 'depth' in name and not any(f'{kind}_depth' in name for kind in ('inverse', 'relative'))


def _of_types(bag: BagReader, types: Sequence[str]) -> dict[str, int]:
    return {topic: bag.counts[topic] for topic, kind in bag.topics.items() if kind in types}


def _best_pair(images: Mapping[str, int], raw: bool) -> tuple[str, str]:
    pairs = [topic for topic in images if 'left' in topic and _other_side(topic) in images]
    best = _best(pairs, raw)
    if len(best) != 1:
        what = f'{len(best)} stereo cameras ({", ".join(best)})' if best else 'no stereo images'
        raise BagError(f'the bag holds {what}; choose by --left and --right from {_list(images)}')
    return best[0], _other_side(best[0])


def _best_single(images: Mapping[str, int], raw: bool) -> str:
    """Choose the images of the only camera; of a stereo camera the left ones."""
    pictures = [topic for topic in images if not any(word in topic.lower() for word in _MAPS)]
    best = _best(
        [topic for topic in pictures if 'right' not in topic or _other_side(topic) not in images],
        raw,
    )
    if len(best) != 1:
        what = f'{len(best)} cameras ({", ".join(best)})' if best else 'no images of a camera'
        raise BagError(f'the bag holds {what}; choose by --image from {_list(images)}')
    return best[0]


def _best(topics: Sequence[str], raw: bool) -> list[str]:
    """Those topics whose names are the best: rectified, or else `raw`; raw transport."""
    ranked: dict[tuple[bool, int, bool], list[str]] = {}
    for topic in topics:
        name = topic.removesuffix(_COMPRESSED).rpartition('/')[2]
        if name in IMAGE_NAMES:
            unwanted = _says_rectified(topic) == raw
            rank = unwanted, IMAGE_NAMES.index(name), topic.endswith(_COMPRESSED)
            ranked.setdefault(rank, []).append(topic)
    return ranked[min(ranked)] if ranked else []


def _other_side(topic: str) -> str:
    """Replace the last left of a topic by right, or else right by left; '' if it has neither."""
    for side, other in (('left', 'right'), ('right', 'left')):
        before, found, after = topic.rpartition(side)
        if found:
            return f'{before}{other}{after}'
    return ''


def _info_beside(image: str) -> str:
    return f'{image.removesuffix(_COMPRESSED).rpartition("/")[0]}/camera_info'


def _option(name: str) -> str:
    return name.replace('/', '-')


def _require(
    topic: str, known: Mapping[str, int], option: str, kind: str, otherwise: str = ''
) -> None:
    if topic not in known:
        raise BagError(
            f'--{option} {topic!r} is no {kind} topic of this bag; choose from '
            f'{_list(known)}{otherwise}'
        )


def _list(topics: Mapping[str, int]) -> str:
    listed = (f'{topic} ({count} messages)' for topic, count in sorted(topics.items()))
    return ', '.join(listed) or 'nothing, since it holds no such messages'
