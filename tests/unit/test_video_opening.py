"""No file makes the reader open another one, or an address: playlists, scripts, descriptions, sequences, odd names."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.errors import VideoError, WordframeError
from wordframe.extraction import Failure, Job, extract
from wordframe.search import Query, encode
from wordframe.video import VIDEO_SUFFIXES, export_moment, open_frames


def by_frames(path: Path) -> None:
    with open_frames(path, [0.0, 1.0]) as frames:
        assert list(frames)


def by_export(path: Path) -> None:
    for copy in (True, False):
        with contextlib.suppress(VideoError):
            export_moment(path, path.parent / "out.mp4", 0.0, 1.0, copy=copy, overwrite=True)
            return
    raise VideoError("neither copied nor encoded")


def by_query(path: Path) -> None:
    class OneEncoder:
        encoder = ColourEncoder()
        model = type("AnyModel", (), {"max_words": None})

    encode(OneEncoder(), Query(clip=path))  # type: ignore[arg-type]


def by_extraction(path: Path) -> None:
    (result,) = extract([Job("it", str(path))], ColourEncoder(), times=lambda info: [0.0])
    if isinstance(result, Failure):
        raise VideoError(result.reason)


@pytest.fixture(params=[by_frames, by_export, by_query, by_extraction], ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """One of the ways by which a file is read."""
    chosen: Callable[[Path], None] = request.param
    return chosen


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A good video beside the one that is asked for."""
    return write_scenes(tmp_path / "secret.mp4", ("red", 2.0))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port of this machine that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


def follows(path: Path, **options: str) -> bool:
    """Whether FFmpeg by itself shows a picture of what ``path`` points to."""
    try:
        with av.open(f"file:{path}", container_options={"protocol_whitelist": "file", **options}) as container:
            return next(container.decode(video=0), None) is not None
    except (av.FFmpegError, ValueError):
        return False


def sdp(port: int) -> str:
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 33\n"


def mpd(address: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
        f'bandwidth="1000"><BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )


class TestTextsThatPointElsewhere:
    """Each by every door, under its own ending and as .mp4."""

    @pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
    def test_playlists_of_files(self, secret: Path, door: Callable[[Path], None], name: str) -> None:
        path = secret.parent / name
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.mp4\n#EXT-X-ENDLIST\n")
        assert follows(path) == (name == "list.m3u8")
        with pytest.raises(VideoError):
            door(path)

    @pytest.mark.parametrize("name", ["list.ffconcat", "list.mp4"])
    def test_concat_scripts(self, secret: Path, door: Callable[[Path], None], name: str) -> None:
        path = secret.parent / name
        path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
        assert follows(path)
        with pytest.raises(VideoError):
            door(path)

    @pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.sdp", "list.mpd", "list.asx", "list.ram"])
    def test_addresses(self, tmp_path: Path, listener: socket.socket, door: Callable[[Path], None], name: str) -> None:
        port = listener.getsockname()[1]
        address = f"http://127.0.0.1:{port}/x.ts"
        texts = {
            "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n",
            "concat": f"ffconcat version 1.0\nfile '{address}'\n",
            "sdp": sdp(port),
            "mpd": mpd(address),
            "asx": f'<asx version="3.0"><entry><ref href="{address}"/></entry></asx>',
            "ram": f"rtsp://127.0.0.1:{port}/x\n",
        }
        for text in texts.values():
            (tmp_path / name).write_text(text)
            with pytest.raises(VideoError):
                door(tmp_path / name)


class TestNames:
    """A name is a name: no protocol, no pattern, no option."""

    @pytest.mark.parametrize(
        "name",
        [
            "http:127.0.0.1.mp4",
            "data:video;base64,AAAA.mp4",
            "concat:secret.mp4|secret.mp4",
            "subfile,,start,0,end,99,,:secret.mp4",
            "pipe:0.mp4",
            "async:cache:crypto:secret.mp4",
            "clip%03d.mp4",
            "clip*.mp4",
            "-i.mp4",
        ],
    )
    def test_a_file_of_that_name_is_read_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.chdir(tmp_path)  # where the protocols that the names spell would find the secret
        for other in ("secret.mp4", "clip000.mp4", "clip001.mp4"):
            write_scenes(tmp_path / other, ("red", 1.0))
        write_scenes(tmp_path / name, ("blue", 1.0))
        with open_frames(name, [0.0]) as frames:
            (frame,) = frames
        assert abs(frame.rgb[24, 32].astype(int) - COLOURS["blue"]).max() < 20
        assert open_of_missing(tmp_path / f"no-{name}")

    def test_image_sequences(self, tmp_path: Path, door: Callable[[Path], None]) -> None:
        for number in range(3):
            Image.new("RGB", (64, 48), "red").save(tmp_path / f"img{number:03d}.png")
        path = tmp_path / "img%03d.png"
        Image.new("RGB", (64, 48), "blue").save(path)
        assert follows(path)  # the three beside it
        with pytest.raises(VideoError):
            door(path)


def open_of_missing(path: Path) -> bool:
    with pytest.raises(VideoError, match="No such file"):
        open_frames(path, [0.0])
    return True


def external(path: Path, secret: Path) -> Path:
    """The header of ``secret`` alone, whose data reference names the file ``secret`` (ISO 14496-12, 8.7.2): by a URL,
    and by the alias record that QuickTime writes."""
    data = secret.read_bytes()
    at = data.index(b"dref") - 4
    (size,) = struct.unpack(">I", data[at : at + 4])
    name = secret.name.encode()
    # FFmpeg's ``mov_read_dref``: volume and file name at fixed places, then the path in a tagged record (type 2)
    record = bytearray(150)
    record[10] = 27
    record[50] = len(name)
    record[51 : 51 + len(name)] = name
    record[130:134] = struct.pack(">hh", 0, 1)
    tagged = struct.pack(">hh", 2, len(str(secret))) + str(secret).encode() + bytes(len(str(secret)) % 2)
    tail = tagged + struct.pack(">hh", 18, 1) + b"/\x00" + struct.pack(">hh", -1, 0)
    entry = bytes(4) + bytes(record) + tail  # version and flags: not in this file
    box = struct.pack(">I", 8 + len(entry)) + b"alis" + entry
    dref = struct.pack(">I", 16 + len(box)) + b"dref" + bytes(4) + struct.pack(">I", 1) + box
    grown = bytearray(data[:at] + dref + data[at + size :])
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        place = grown.index(parent) - 4
        grown[place : place + 4] = struct.pack(
            ">I", struct.unpack(">I", grown[place : place + 4])[0] + len(dref) - size
        )
    media = grown.index(b"mdat")
    stop = media - 4 + struct.unpack(">I", grown[media - 4 : media])[0]
    grown[media + 4 : stop] = bytes(stop - media - 4)  # no picture of its own
    path.write_bytes(grown)
    return path


class TestExternalDataReferences:
    """A QuickTime header may say that the pictures lie in another file."""

    @pytest.mark.parametrize("name", ["points.mov", "points.mp4"])
    def test_are_not_followed(self, secret: Path, door: Callable[[Path], None], name: str) -> None:
        path = external(secret.parent / name, secret)
        assert follows(path, enable_drefs="1", use_absolute_path="1")
        with pytest.raises(WordframeError):
            door(path)


def test_every_ending_that_is_taken_names_a_container_that_is_read(tmp_path: Path) -> None:
    """FFmpeg's own table of endings, over those of the containers it can write here."""
    read = 0
    for suffix in sorted(VIDEO_SUFFIXES & {".avi", ".mkv", ".mov", ".mp4", ".mxf", ".ts", ".flv", ".mpg", ".webm"}):
        path = tmp_path / f"x{suffix}"
        codec = {".webm": "libvpx", ".mpg": "mpeg2video", ".mxf": "mpeg2video"}.get(suffix, "libx264")
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(5):
                output.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
            output.mux(stream.encode())
        with open_frames(path, [0.0]) as frames:
            read += len(list(frames))
    assert read == 9
