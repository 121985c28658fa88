"""The replay of single images, with what the bag holds to tell their scale."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from nndepth_core.scale import Scale, ScaledResult
from nndepth_ros import doctor
from nndepth_ros.bag import BagError, BagReader, Record
from nndepth_ros.bag_survey import Frame
from nndepth_ros.bag_topics import MonoTopics, Topics
from nndepth_ros.conversions import ConversionError
from nndepth_ros.doctor import Finding, Level
from nndepth_ros.live_scale import NONE
from nndepth_ros.mono_pipeline import MonoPipeline, offered, scale_fields
from nndepth_ros.outputs import CLOUDS, DEPTH_INFO, OTHER_FORMS, STATS
from nndepth_ros.pipeline import Estimate
from nndepth_ros.replay.processor import Processor, RecordedMoment
from nndepth_ros.synchronizer import SingleStream

LATEST = 5_000_000_000
"""Nanoseconds for which an image waits at most for depths that were recorded after it."""


class MonoProcessor(Processor):
    """Processes every image; see `Processor`.

    An image is processed once all depths up to its stamp are read that lie within the tolerance,
    so that late ones tell its scale too.
    """

    noun = 'image'
    default_topics = MonoTopics()
    pipeline_class = MonoPipeline
    pipeline: MonoPipeline

    def __init__(self, bag: BagReader, *others: Any) -> None:
        super().__init__(bag, *others)
        spec, scale = self.estimator.engine.spec, self.settings.scale
        self._scaled = scale.applies_to(spec)
        self._scales: list[Scale | None] = []
        self.pipeline.scale.configure(scale)
        self.pipeline.scale.names = {name: topic for topic, name in self.topics.depths.items()}
        if scale.source != NONE and not self._scaled:
            self.find([doctor.scale_without_use(scale.source, spec)])
        if spec.output != 'depth' and not self._scaled and self.settings.messages.filters.any:
            self.find([doctor.filters_without_use(spec)])

    def synchronizer(self) -> SingleStream:
        """Make a stream in which every image is complete without others."""
        return SingleStream()

    def needs_info(self) -> bool:
        """Whether model or rectification need the camera; outputs that do are left out without."""
        return self.settings.rectify or self.estimator.engine.spec.needs_camera

    def find_topics(self) -> Topics:
        """Find images, camera_info and what tells the scale."""
        topics = super().find_topics()
        assert isinstance(topics, MonoTopics)
        spec, scale = self.estimator.engine.spec, self.settings.scale
        if scale.source != NONE and not scale.applies_to(spec):
            topics = MonoTopics(topics.image, topics.camera_info)
        else:
            topics = topics.with_depths(self.bag, scale.source)
        if not topics.camera_info and not self.settings.calibration and self.needs_info():
            what = '--rectify' if self.settings.rectify else spec.title
            raise BagError(
                f'{what} needs the camera and there is no camera_info beside '
                f'{topics.image}; give --camera-info or --calibration'
            )
        return topics

    def choose_outputs(self) -> Collection[str]:
        """Choose the outputs to write: those that the model, the scale and the camera allow."""
        spec, wanted = self.estimator.engine.spec, {*self.settings.outputs}
        given = {*offered(spec, self.settings.scale.applies_to(spec)), STATS}
        if missing := sorted(wanted - given):
            cure = '' if spec.output == 'depth' else ', or give --scale-source for metres'
            raise ValueError(
                f'{spec.title} gives no {" and no ".join(missing)}; choose from '
                f'{", ".join(sorted(given))}{cure}'
            )
        wanted = wanted or given - OTHER_FORMS
        of_camera = wanted & {DEPTH_INFO, *CLOUDS}
        if of_camera and not (self.settings.calibration or self.topics.infos['']):
            text = (
                f'there is no camera_info beside {self.topics.main}; '
                f'{" and ".join(sorted(of_camera))} are not written (give --camera-info or '
                '--calibration)'
            )
            self.find([Finding('no_camera', Level.WARN, text)])
            wanted -= of_camera
        return wanted

    def moments(self, records: Iterable[Record]) -> Iterator[RecordedMoment]:
        """Yield images once the depths that belong to them have been offered."""
        known = sorted(self.survey.depths)
        waiting: deque[tuple[int, RecordedMoment]] = deque()
        for moment in super().moments(self._offering(records)):
            waiting.append((self._due(moment.frames[0], known), moment))
            while waiting and waiting[0][0] < moment.time:
                yield waiting.popleft()[1]
        for _, moment in waiting:
            yield moment

    def _offering(self, records: Iterable[Record]) -> Iterator[Record]:
        names = self.topics.depths
        for record in records:
            if record.topic in names:
                try:
                    message = self.bag.decode(record)
                except ConversionError:  # the survey has counted it
                    continue
                self.pipeline.scale.offer(names[record.topic], message)
            else:
                yield record

    def _due(self, frame: Frame, known: Sequence[tuple[int, int]]) -> int:
        """The time of recording of the last depth that an image waits for; 0 if it waits for none.

        Args:
            frame: the image.
            known: stamp and time of all known depths, in order.
        """
        tolerance = round(self.settings.scale.following.tolerance * 1e9)
        first = bisect_left(known, (frame.stamp - tolerance, 0))
        last = bisect_left(known, (frame.stamp + 1, 0))
        times = [time for _, time in known[first:last] if time <= frame.time + LATEST]
        return max(times, default=0)

    def note(self, estimate: Estimate) -> None:
        """Keep the scale of a result that was brought to metres."""
        result = estimate.result
        self._scales.append(result.scale if isinstance(result, ScaledResult) else None)

    def measured(self, result: Any) -> dict[str, Any]:
        """The scale with which a result was brought to metres."""
        return scale_fields(self.settings.scale, self.estimator.engine.spec, result)

    def described(self) -> dict[str, Any]:
        """What told the scale, and in how many images it was known."""
        if not self._scaled:
            return {}
        known = [scale for scale in self._scales if scale is not None]
        mean = {}
        if known:
            mean = {
                name: sum(getattr(scale, name) for scale in known) / len(known)
                for name in ('factor', 'shift', 'residual')
            }
        counts = {'known': len(known), 'unknown': len(self._scales) - len(known)}
        return {'scale': {'source': self.settings.scale.source, **counts, 'mean': mean}}
