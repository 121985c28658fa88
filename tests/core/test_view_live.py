"""Live views: the newest picture of a camera, videos, and the server for Foxglove."""

import asyncio
import json
import signal
import struct
import subprocess
import sys
import threading
from base64 import b64decode

import cv2
import numpy as np
import pytest
from scenes import slope

from nndepth_core import cli, io
from nndepth_core.testing.recordings import protobuf, read_rrd
from nndepth_core.view import SourceLostError, capture

SGBM = '--model', 'sgbm', '--max-disparity', '32'
CALIBRATED = '--calibration', '100,100,79.5,47.5,0.2'
WIDE = np.hstack(slope(160)[:2])


class FakeCamera:
    """Gives pictures one after the other, whose grey level is their number, until the last."""

    def __init__(self, count: int, wide: np.ndarray | None = None) -> None:
        self.count, self.taken, self.wide = count, 0, wide
        self.may_take = threading.Semaphore(0)
        self.released = threading.Event()

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.may_take.acquire()
        self.taken += 1
        if self.taken > self.count:
            return False, None
        if self.wide is not None:
            return True, self.wide
        return True, np.full((2, 4, 3), self.taken, np.uint8)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def plug_in(monkeypatch):
    """Let the next camera that is opened be a fake one."""

    def plug(camera: FakeCamera) -> FakeCamera:
        monkeypatch.setattr(cv2, 'VideoCapture', lambda source: camera)
        return camera

    return plug


def wait_until_put(mailbox, count: int) -> None:
    """Wait until so many items were deposited that only the last of them waits."""
    with mailbox._condition:
        assert mailbox._condition.wait_for(lambda: mailbox.dropped == count - 1, timeout=30)


def test_a_slow_view_gets_the_newest_picture_and_no_old_ones(plug_in):
    camera = plug_in(FakeCamera(100))
    reader = capture._Reader(camera, '0')
    camera.may_take.release()
    pictures = iter(reader)
    first = next(pictures)
    assert first.rgb[0, 0, 0] == 1
    camera.may_take.release(50)
    wait_until_put(reader._mailbox, 50)
    second = next(pictures)
    assert second.rgb[0, 0, 0] == 51  # the 49 between are gone
    assert second.stamp > first.stamp
    camera.may_take.release()
    reader.close()
    assert camera.released.is_set()


def test_a_camera_that_is_lost_is_told_and_released(plug_in):
    camera = plug_in(FakeCamera(1))
    camera.may_take.release()
    with capture.pictures('0') as taken:
        assert next(taken).rgb.shape == (2, 4, 3)
        camera.may_take.release()
        with pytest.raises(SourceLostError, match='camera 0 gives no more pictures'):
            next(taken)
    assert camera.released.is_set()


def test_what_a_lost_camera_showed_is_saved(plug_in, tmp_path, capsys):
    pytest.importorskip('rerun')
    camera = plug_in(FakeCamera(1, WIDE))
    shown = threading.Event()
    camera.may_take.release()

    def lose() -> None:
        assert shown.wait(60)
        camera.may_take.release()

    thread = threading.Thread(target=lose)
    thread.start()
    from nndepth_core.view import rerun_sink

    show = rerun_sink.RerunSink.show

    def show_and_tell(sink, frame):
        show(sink, frame)
        shown.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rerun_sink.RerunSink, 'show', show_and_tell)
        code = cli.main(
            ['view', '--camera', '0', '--split', *SGBM, '--save', str(tmp_path / 'x.rrd')]
        )
    thread.join()
    assert code == 2
    assert 'camera 0 gives no more pictures' in capsys.readouterr().err
    (row,) = read_rrd(tmp_path / 'x.rrd')['world/camera/image']
    assert row.times['stamp'] > 1_600_000_000_000_000_000


def test_a_video_is_shown_whole_under_its_own_times(tmp_path, capsys):
    pytest.importorskip('rerun')
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, WIDE.shape[1::-1])
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no videos')
    for _ in range(4):
        writer.write(WIDE)
    writer.release()
    code = cli.main(
        [
            *('view', '--camera', str(path), '--split', *SGBM, *CALIBRATED),
            *('--save', str(tmp_path / 'x.rrd'), '--filter-smoothing', '0.5'),
        ]
    )
    assert code == 0
    rows = read_rrd(tmp_path / 'x.rrd')['world/camera/depth']
    assert [row.times['stamp'] for row in rows] == [100_000_000 * at for at in range(4)]


def test_odd_widths_cannot_be_halved():
    with pytest.raises(ValueError, match='the picture is 5 pixels wide, which cannot be halved'):
        capture.halves(np.zeros((2, 5, 3), np.uint8))


# --- Foxglove ------------------------------------------------------------------------------------


def test_recorded_frames_wait_for_a_viewer_and_come_at_their_pace(monkeypatch):
    foxglove = pytest.importorskip('foxglove')
    from nndepth_core.view import Frame, foxglove_sink

    now, waits = [100.0], []
    monkeypatch.setattr(foxglove_sink.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(foxglove_sink.time, 'sleep', waits.append)
    viewers = foxglove_sink._Viewers()
    sink = foxglove_sink._RecordedSink(foxglove.Context(), viewers)
    image = np.zeros((4, 6, 3), np.uint8)
    viewer = threading.Thread(target=viewers.on_subscribe, args=(None, None))
    viewer.start()
    for seconds, at in ((5.0, 100.0), (5.5, 100.1), (6.0, 102.0)):
        now[0] = at
        sink.show(Frame(image, stamp=round(seconds * 1e9)))
    viewer.join()
    assert waits == pytest.approx([0, 0.4, 0])  # the last one is late


@pytest.fixture
def server(tmp_path):
    """`nndepth view` that serves a pair; returns the process and its port."""
    pytest.importorskip('foxglove')
    for name, image in zip('lr', slope(160)[:2], strict=True):
        io.write_image(tmp_path / f'{name}.png', image)
    process = subprocess.Popen(
        [
            *(sys.executable, '-m', 'nndepth_core', 'view', 'l.png', 'r.png', *SGBM, *CALIBRATED),
            *('--to', 'foxglove', '--port', '0'),
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    assert 'serving ws://127.0.0.1:' in line
    yield process, int(line.partition('127.0.0.1:')[2].partition(';')[0])
    process.kill()
    process.wait()
    process.stderr.close()


async def received(port: int, count: int) -> tuple[dict[str, dict], dict[str, bytes]]:
    """The channels of a server, and the first message of each, from so many of them."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f'ws://127.0.0.1:{port}', protocols=['foxglove.sdk.v1'], max_msg_size=0
        ) as socket,
    ):
        channels: dict[int, dict] = {}
        messages: dict[str, bytes] = {}
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                new = {at['id']: at for at in json.loads(message.data).get('channels', ())}
                channels |= new
                asked = [{'id': number, 'channelId': number} for number in new]
                if asked:
                    await socket.send_json({'op': 'subscribe', 'subscriptions': asked})
            elif message.type is aiohttp.WSMsgType.BINARY:
                kind, number, _ = struct.unpack_from('<BIQ', message.data)
                if kind == 1:
                    messages.setdefault(channels[number]['topic'], message.data[13:])
            if len(messages) == count:
                break
        return {channel['topic']: channel for channel in channels.values()}, messages


def test_a_viewer_that_comes_late_gets_images_depth_and_points(server):
    pytest.importorskip('aiohttp')
    pytest.importorskip('google.protobuf')
    process, port = server
    for _ in range(2):  # viewers may come and go
        channels, messages = asyncio.run(asyncio.wait_for(received(port, 10), 120))
        assert channels['/points2']['schemaName'] == 'foxglove.PointCloud'
        schema = b64decode(channels['/depth/image']['schema'])
        depth = protobuf('foxglove.RawImage', schema, messages['/depth/image'])
        assert (depth.width, depth.height, depth.encoding) == (160, 96, '32FC1')
        assert np.isfinite(np.frombuffer(depth.data, '<f4')).mean() > 0.5
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


def test_a_port_in_use_is_one_clear_error(server, tmp_path, capsys):
    _, port = server
    left, right = (str(tmp_path / f'{name}.png') for name in 'lr')
    code = cli.main(
        ['view', left, right, '--model', 'sgbm', '--to', 'foxglove', '--port', str(port)]
    )
    assert code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f'127.0.0.1:{port} cannot be served' in error
    assert 'give another --port (0: a free one), or a --host' in error
