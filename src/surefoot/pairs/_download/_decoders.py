"""The decoders of a run: programs apart, each with one picture at a time, replaced when they fail."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.pairs._download._address import STATES, Ended

_PROGRAM = Path(__file__).with_name("_decode.py")
_MEMORY = 1 << 30
_SECONDS = 20.0
_LARGEST_ANSWER = 1 << 27
_SMALLEST = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")  # a GIF
_SIZES = ("original_width", "original_height", "width", "height")


class Decoders:
    """A number of decoders that share the work; made inside a running loop."""

    def __init__(self, count: int, options: dict[str, Any]) -> None:
        self._options = options
        self._idle: asyncio.LifoQueue[_Decoder] = asyncio.LifoQueue()
        for _ in range(count):
            self._idle.put_nowait(_Decoder(options))

    async def check(self) -> None:
        """Raise `SurefootError` when decoders do not work at all: else every picture would pass for a broken one."""
        try:
            await self.decode(_SMALLEST)
        except Ended as ended:
            raise SurefootError(f"The picture decoder does not work ({ended.reason}: {ended.detail}).") from None

    async def decode(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        """What a decoder says of the bytes, and the JPEG. Raises `Ended` for what gives no picture."""
        decoder = await self._idle.get()
        try:
            async with asyncio.timeout(_SECONDS):
                told, picture = await decoder.ask(data)
            return _checked(told, picture)
        except Ended:
            raise
        except BaseException as error:  # also when the run is stopped: the decoder still works on this picture
            decoder.close()
            decoder = _Decoder(self._options)
            if not isinstance(error, Exception):
                raise
            late = isinstance(error, TimeoutError)  # perhaps the machine was busy
            end = ("retryable", "decoding time") if late else ("undecodable", "decoder failed")
            raise Ended(*end, type(error).__name__) from None
        finally:
            self._idle.put_nowait(decoder)

    def close(self) -> None:
        """End all decoders."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


class _Decoder:
    def __init__(self, options: dict[str, Any]) -> None:
        self._line, other = socket.socketpair()
        self._line.setblocking(False)
        given = json.dumps({"options": options, "memory": _MEMORY})
        one = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with other:
            command = [sys.executable, "-P", str(_PROGRAM), given]
            self._process = subprocess.Popen(
                command, stdin=other.fileno(), stdout=subprocess.DEVNULL, env=os.environ | one
            )

    async def ask(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._line, struct.pack("<I", len(data)) + data)
        words, picture = struct.unpack("<II", await self._read(8))
        if words + picture > _LARGEST_ANSWER:
            raise ConnectionError("a decoder answers too much")
        return json.loads(await self._read(words)), await self._read(picture)

    async def _read(self, length: int) -> bytes:
        whole, loop = memoryview(bytearray(length)), asyncio.get_running_loop()
        place = 0
        while place < length:
            read = await loop.sock_recv_into(self._line, whole[place:])
            if not read:
                raise ConnectionError("a decoder has ended")
            place += read
        return bytes(whole)

    def close(self) -> None:
        self._line.close()
        self._process.kill()
        self._process.wait()


def _checked(told: dict[str, Any], picture: bytes) -> tuple[dict[str, Any], bytes]:
    """A decoder handles hostile bytes and is not trusted: its answer has the form that it must have, or is an error."""
    if not picture:
        if told["state"] not in STATES:
            raise ValueError("a decoder names no state")
        raise Ended(told["state"], *(re.sub(r"[^ -~]", "", str(told[name]))[:200] for name in ("reason", "detail")))
    if picture[:2] != b"\xff\xd8" or not re.fullmatch(r"[0-9a-f]{16}", told["phash"]):
        raise ValueError("a decoder answers with something else")
    return {name: int(told[name]) for name in _SIZES} | {"phash": told["phash"]}, picture
