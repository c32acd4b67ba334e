# The extension module: cffi's ffi and lib, and the door (native/python).
#
# The build makes the docstrings of the native functions out of this file, so that names,
# types and texts stand here once. What ends in "/" gets its arguments by position only.
from collections.abc import Callable, Iterable, Mapping
from typing import Self, TypeAlias

from slipstream._native.cdef import FFI, Lib

ffi: FFI
lib: Lib

_Bytes: TypeAlias = bytes | bytearray | memoryview

class Door:
    """The native calls that send events; keeps its sequencer alive.

    Args:
        address: Of an ss_sequencer.
    """

    def __new__(cls, address: int, /) -> Self: ...
    def mapping_update(
        self,
        program_id: _Bytes,
        mapping_name: _Bytes,
        key: _Bytes,
        value: _Bytes,
        height: int | None,
        encoding: int = 0,
        /,
    ) -> None:
        """Tell all subscribers that a mapping's key got a value, without an object in between.

        Args:
            program_id: The program's bytes, e.g. 07 "credits" 04 "aleo".
            mapping_name: The mapping's identifier bytes.
            key: Plaintext bytes.
            value: Value bytes.
            height: The block's height, or None.
            encoding: How the source has written the bytes (`SLIPSTREAM_ENCODING_*`).

        Raises:
            BroadcastError: It is too large for a frame or for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def mapping_removal(
        self,
        program_id: _Bytes,
        mapping_name: _Bytes,
        key: _Bytes | None,
        height: int | None,
        encoding: int = 0,
        /,
    ) -> None:
        """Tell all subscribers that a key left a mapping.

        Args:
            program_id: The program's bytes.
            mapping_name: The mapping's identifier bytes.
            key: Plaintext bytes; None is the whole mapping.
            height: The block's height, or None.
            encoding: How the source has written the bytes (`SLIPSTREAM_ENCODING_*`).

        Raises:
            BroadcastError: It is too large for a frame or for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def staking_reward(
        self,
        staker: _Bytes,
        validator: _Bytes,
        reward: int,
        new_stake: int,
        height: int | None,
        encoding: int = 0,
        /,
    ) -> None:
        """Tell all subscribers of a staker's reward in one block.

        Args:
            staker: The address, 32 raw bytes.
            validator: The address, 32 raw bytes.
            reward: Microcredits.
            new_stake: Microcredits.
            height: The block's height, or None.
            encoding: How the source has written the bytes (`SLIPSTREAM_ENCODING_*`).

        Raises:
            BroadcastError: It is too large for a frame or for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def block(self, block: _Bytes, height: int | None, encoding: int = 0, /) -> None:
        """Tell all subscribers that a block was added.

        Args:
            block: Its serialised bytes, or a prefix of them.
            height: Its height, or None.
            encoding: How the source has written the bytes (`SLIPSTREAM_ENCODING_*`).

        Raises:
            BroadcastError: It is too large for a frame or for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def payload(
        self,
        source: _Bytes | None,
        name: _Bytes,
        body: _Bytes,
        height: int | None,
        encoding: int = 0,
        /,
    ) -> None:
        """Send an application's own message to all subscribers.

        Args:
            source: Who sent it; None if nobody says.
            name: What kind of message it is; UTF-8 by convention.
            body: Its bytes.
            height: A block's height, or None.
            encoding: How the source has written the bytes (`SLIPSTREAM_ENCODING_*`).

        Raises:
            BroadcastError: It is too large for a frame or for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def route(
        self,
        source: _Bytes | None,
        name: _Bytes,
        body: _Bytes,
        height: int | None,
        encoding: int = 0,
        /,
    ) -> bool:
        """Send an application's own message to the first plugin that claims its name.

        Args:
            source: Who sent it; None if nobody says.
            name: What kind of message it is.
            body: Its bytes.
            height: A block's height, or None.
            encoding: How the source has written the bytes (`SLIPSTREAM_ENCODING_*`).

        Returns:
            True if a plugin claims the name.

        Raises:
            BroadcastError: It is too large for a frame or for the plugin's ring.
            ClosedError: The manager is closed.
        """

    def broadcast(self, event: object, /) -> None:
        """Send one event to all subscribers. What a plugin does with it is never raised here.

        Args:
            event: An event of slipstream.events, or the bytes of one frame.

        Raises:
            FrameError: The bytes are not exactly one well-formed frame.
            BroadcastError: It is too large for a frame or for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def broadcast_many(self, events: Iterable[object], /) -> int:
        """Send events and frames to all subscribers; if one is refused none is sent.

        Args:
            events: A list or any iterable of what `broadcast` takes.

        Returns:
            Their number.

        Raises:
            FrameError: One is refused; `index` is its place.
            BroadcastError: One is too large for a frame or for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def broadcast_frames(self, frames: _Bytes, /) -> int:
        """Send a run of frames to all subscribers.

        Args:
            frames: Whole frames, one behind the other.

        Returns:
            Their number.

        Raises:
            FrameError: One is refused; those before it were sent, `index` is their number.
            BroadcastError: One is too large for some plugin's ring.
            ClosedError: The manager is closed.
        """

    def has_subscribers(self, kind: int, /) -> bool:
        """Say whether any plugin wants a kind of event: ask before making anything expensive.

        Args:
            kind: 0 to 63; nobody wants any other number.

        Raises:
            ClosedError: The manager is closed.
        """

def encode_frame(
    kind: int,
    flags: int,
    stream: int,
    sequence: int,
    time_ns: int,
    height: int | None,
    word: int,
    spans: tuple[bytes | None, ...],
    numbers: tuple[int, ...],
    /,
) -> bytes:
    """Return the frame of these values; spans and numbers as many as the kind has."""

def decode_frame(
    buffer: _Bytes, offset: int, /
) -> tuple[
    int,
    int,
    int,
    int,
    int,
    int,
    int | None,
    int,
    tuple[bytes | None, ...],
    tuple[int, ...],
]:
    """Return the values of the frame at an offset.

    Returns:
        The frame's length in bytes, kind, flags, stream, sequence, time in nanoseconds, height,
        the word behind fixed_len, spans, numbers.
    """

def repeated_key(line: bytes, /) -> bytes | None:
    """Return the first key that the object of a line has twice; None if all differ.

    Args:
        line: JSON, as a decoder has found.
    """

def set_encoder(
    encoder: Callable[[object, int], bytes | None],
    fields: dict[type, tuple[int | str, ...]],
    /,
) -> None:
    """Say what makes a frame of an event that is not bytes.

    Args:
        encoder: Gets the event and the bit set of the kinds that are wanted; returns the frame,
            or None if the event's kind is not among them.
        fields: Of a class whose events all have one kind that number, and the names of what is
            bytes in it: it is not asked about events that nobody wants and that hold nothing else.
    """

def serve(
    desk: int,
    asked: int,
    methods: Mapping[int, tuple[Callable[..., object], int, int, int, str, bool]],
    begin: Callable[[], object],
    /,
) -> object:
    """Have a method answer what a plugin wants.

    The answer is given at once if it is plain: bytes of a length that is allowed, or None where
    that means something. Otherwise the question stays in hand: its `taken_ns` is not 0. So it does
    where the method raises, which is raised here.

    Args:
        desk: The address of an ss_desk.
        asked: The address of the ss_asked that ss_desk_take has filled.
        methods: Of what is asked, shifted by 32, and its number: the method; the bytes of an
            answer, at least and at most; and the status of None, FAILED if it means nothing.
        begin: Called before the method if no other thread waits for what is wanted.

    Returns:
        What the method has returned. Not in the child of a method that has forked: it ends.
    """

def park(error: BaseException, /) -> None:
    """Keep an exception of a callback until the core has returned to Python; the first wins."""

def raise_parked() -> None:
    """Raise what a callback left behind, after a call of the core that is not the door's."""
