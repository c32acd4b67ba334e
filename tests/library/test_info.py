"""slipstream_info_v1: what a library says of itself, and every way in which that can be wrong.

The libraries are real ones; each runs nothing, or a static constructor would have told.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream import PluginInfo, PluginLoadError, PluginManager, Refusal
from slipstream._native import lib
from slipstream.check.inspection import inspect
from slipstream.delivery.process import ProcessPlugin
from slipstream.library import judge, kinds_in_words, read_file
from slipstream.library.info import KINDS, offered_extensions, read_info
from support.wrong_infos import INVALID, SCHEMAS, json_of

MAGIC = b"SLIPINFO1\n"
ROOM = 70_000  # more than an info may have
MODES = ["inline", "thread", "process"]

ROGUE = """
#include <slipstream.h>
#include <fcntl.h>
#include <stdlib.h>

__attribute__((constructor)) static void run(void) { creat(getenv("ROGUE"), 0600); }
/* INFO */
#ifndef FLAGS
#define FLAGS SLIPSTREAM_FLAG_PROMPT
#endif
#ifndef NAME
#define NAME "rogue"
#endif
#ifndef VERSION
#define VERSION "1.0"
#endif
#ifndef KINDS
#define KINDS SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK)
#endif
static void destroy(void *i) { (void)i; }
static uint64_t kinds(void *i) { (void)i; return KINDS; }
static int32_t take(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
    (void)i, (void)d, (void)f, (void)len;
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0, FLAGS, NULL,
                                            NAME, VERSION, destroy, NULL, NULL, kinds, take, NULL,
                                            NULL};
    (void)host;
    return &table;
}
"""
CONSTANT = f"const char slipstream_info_v1[{ROOM}] = SLIPSTREAM_INFO_MAGIC;"


def rogue(info: str = CONSTANT) -> str:
    return ROGUE.replace("/* INFO */", info)


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is there once a library's static constructor has run."""
    path = tmp_path / "a library ran"
    monkeypatch.setenv("ROGUE", str(path))
    return path


@pytest.fixture
def with_info(compile_plugin, tmp_path: Path):
    """Make the rogue with this text as its info."""

    def make(text: bytes, *flags: str) -> Path:
        content = compile_plugin(rogue(), *flags, name="rogue").read_bytes()
        at = content.index(MAGIC) + len(MAGIC)
        library = tmp_path / "rogue.so"
        library.write_bytes(content[:at] + text + content[at + len(text) :])
        return library

    return make


def is_refused(library: Path, refusal: Refusal, says: str, hint: str, ran: Path, **config) -> None:
    with PluginManager(insecure_paths=True) as host, pytest.raises(PluginLoadError) as caught:
        host.load_plugin({"libpath": str(library), "mode": "inline", **config})
    found = caught.value
    assert found.refusal is refusal, str(found)
    assert says in found.message
    assert str(library) in found.message
    assert hint in found.hint
    assert found.hint
    assert not any(c < " " for c in found.message), "a control character in a message"
    problem = inspect(library).problem
    assert isinstance(problem, PluginLoadError)
    assert (problem.message, problem.hint, problem.refusal) == found.args
    assert not ran.exists(), "it was run"


@pytest.mark.parametrize("case", [*INVALID, *SCHEMAS], ids=lambda case: case.name)
def test_a_wrong_info_is_refused(with_info, ran, case) -> None:
    is_refused(with_info(case.text), case.refusal, case.says, case.hint, ran)


def test_enough_wrong_infos_are_tried() -> None:
    assert len(INVALID) + len(SCHEMAS) > 70
    assert len({(case.text, case.says) for case in [*INVALID, *SCHEMAS]}) > 70


# ---- Where it lies -----------------------------------------------------------------------------

ASSEMBLY = """__asm__(".pushsection .rodata\\n.globl slipstream_info_v1\\n"
"slipstream_info_v1: {}\\n.popsection\\n");"""


@pytest.mark.parametrize(
    ("info", "refusal", "says", "hint"),
    [
        (('void slipstream_info(void) __asm__("slipstream_info_v1");\n'
         '__attribute__((visibility("default"))) void slipstream_info(void) {}'),
         Refusal.INFO_MISPLACED, "is exported, but not as data", "SLIPSTREAM_INFO"),
        (('__attribute__((visibility("default"), tls_model("global-dynamic")))\n'
         '__thread char local[4] __asm__("slipstream_info_v1") = "x";'),
         Refusal.INFO_MISPLACED, "is exported, but not as data", "SLIPSTREAM_INFO"),
        (('__attribute__((visibility("default"))) char text[] __asm__("slipstream_info_v1") =\n'
         "SLIPSTREAM_INFO_MAGIC;"), Refusal.INFO_MISPLACED, "can be written to", "constant array"),
        (('__attribute__((visibility("default"))) const char *text __asm__("slipstream_info_v1")\n'
         "= SLIPSTREAM_INFO_MAGIC;"), Refusal.INFO_MISPLACED, "can be written", "not a pointer"),
        ('__attribute__((visibility("default"))) char text[99] __asm__("slipstream_info_v1");',
         Refusal.INFO_MISPLACED, "can be written to", "constant array"),
        ('__asm__(".globl slipstream_info_v1\\n.set slipstream_info_v1, 0x7000000\\n");',
         Refusal.INFO_MISPLACED, "is outside of what the file holds", "link again"),
        ('const char slipstream_info_v1[] = "{}";',
         Refusal.INFO_UNREADABLE, "does not begin with SLIPSTREAM_INFO_MAGIC", "begin it so"),
        ('const char slipstream_info_v1[] = "SLIPINFO1";',
         Refusal.INFO_UNREADABLE, "does not begin with SLIPSTREAM_INFO_MAGIC", "begin it so"),
        ('const char slipstream_info_v1[12] = "SLIPINFO1\\n{}";',
         Refusal.INFO_UNREADABLE, "has no NUL at its end", "end it with a NUL"),
        (ASSEMBLY.format('.ascii \\"SLIPINFO1\\\\n\\"; .fill 65536, 1, 32'),
         Refusal.INFO_UNREADABLE, "is longer than SLIPSTREAM_INFO_MAX", "shorten it"),
    ],
)  # fmt: skip
def test_an_info_in_the_wrong_place(compile_plugin, ran, info, refusal, says, hint) -> None:
    hide = "" if "const char slipstream_info_v1" in info else "#define slipstream_info_v1 hidden_\n"
    source = rogue("").replace("#include <slip", hide + "#include <slip", 1)
    source = source.replace(
        "#include <stdlib.h>", f"#include <stdlib.h>\n#undef slipstream_info_v1\n{info}"
    )
    is_refused(compile_plugin(source, name="rogue"), refusal, says, hint, ran)


def test_the_longest_info_is_taken(with_info, ran) -> None:
    longest = lib.SLIPSTREAM_INFO_MAX - len(MAGIC) - 1
    for length, fits in ((longest, True), (longest + 1, False)):
        library = with_info(json_of().ljust(length))
        if fits:
            info = judge(library, library)
            assert info is not None
            assert info.name == "rogue"
        else:
            is_refused(library, Refusal.INFO_UNREADABLE, "is longer than", "url", ran)
    assert not ran.exists()


def test_an_info_of_a_library_without_a_hash_table_of_gnu(compile_plugin, ran) -> None:
    info = 'SLIPSTREAM_INFO({"name": "rogue", "version": "1.0", "abi": 1});'
    for style in ("gnu", "sysv"):
        library = compile_plugin(rogue(info), f"-Wl,--hash-style={style}", name="rogue")
        assert judge(library, library) == PluginInfo(name="rogue", version="1.0")
    assert not ran.exists()


def test_a_library_without_an_info(compile_plugin, ran) -> None:
    library = compile_plugin(rogue(""), name="rogue")
    assert read_file(library).info() is None
    with PluginManager(insecure_paths=True) as host:
        assert host.load_plugin({"libpath": str(library), "mode": "inline"}).info is None
    assert ran.exists(), "the rogue has lost its static constructor"


# ---- What it says ------------------------------------------------------------------------------


def test_everything_is_read() -> None:
    info = read_info(
        json_of(
            min_host_minor=0, optional=["org.example.x/1"], requires=["slipstream.config/1"],
            grants=["send", "identity.open"], encodings={"BLOCK": [0, 1], "40": [2**31]},
            config_schema={"type": "object"}, sample_config={"x": 1}, licence="MIT", url="x",
            author="somebody", flags=["PROMPT", "TELEPATHIC"], kinds=["BLOCK", "DREAM", 40],
        ),
        "x.so",
    )  # fmt: skip
    assert info == PluginInfo(
        name="rogue", version="1.0", flags=("PROMPT",), kinds=(3, 40),
        requires=("slipstream.config/1",), optional=("org.example.x/1",),
        grants=("send", "identity.open"), encodings={3: (0, 1), 40: (2**31,)},
        config_schema={"type": "object"}, sample_config={"x": 1}, licence="MIT", url="x",
        unknown=("author", "flag TELEPATHIC", "kind DREAM"),
    )  # fmt: skip
    assert info.flag_bits == lib.SLIPSTREAM_FLAG_PROMPT
    assert info.kind_bits == 1 << 3 | 1 << 40
    bare = read_info(b'{"name": "x", "version": "1", "abi": 1}', "x.so")
    assert bare.flag_bits is None
    assert bare.kind_bits == 2**64 - 1


@pytest.mark.parametrize(
    ("largest", "more"),
    [
        (2**32 - 1, {"encodings": {"BLOCK": [None]}}),
        (63, {"kinds": [None]}),
    ],
)
def test_the_largest_numbers(largest: int, more: dict[str, object]) -> None:
    """Each is taken, and one more is not."""
    text = json.dumps({"name": "x", "version": "1", "abi": 1, **more})
    read_info(text.replace("null", str(largest)).encode(), "x.so")
    read_info(text.replace("null", "0").encode(), "x.so")
    for wrong in (largest + 1, -1):
        with pytest.raises(PluginLoadError, match=f"{wrong}, and must be a .* 0 to {largest}"):
            read_info(text.replace("null", str(wrong)).encode(), "x.so")


def test_the_names_are_those_of_the_header() -> None:
    assert KINDS["BLOCK"] == lib.SLIPSTREAM_KIND_BLOCK
    assert "APP_FIRST" not in KINDS
    assert "slipstream.config/1" in offered_extensions()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=8) | st.sampled_from(["type", "$ref", "default", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = st.sampled_from(
    "name version abi flags kinds requires grants encodings config_schema sample_config url".split()
)


@given(st.dictionaries(KEYS, JSON, max_size=6), st.binary(max_size=4), st.integers(0, 400))
def test_any_json_is_taken_or_refused(changes, noise, at) -> None:
    text = json.dumps({**json.loads(json_of()), **changes}).encode()
    for data in (text, text[:at] + noise + text[at:], noise):
        try:
            assert isinstance(read_info(data, "x.so"), PluginInfo)
        except PluginLoadError as error:
            assert error.refusal is not None
            assert error.hint
            assert error.message.isprintable()


# ---- Agreement with the table ------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (('-DNAME="other"',), "name is rogue in its slipstream_info_v1, and other in its table"),
        (('-DVERSION="1.1"',), "version is 1.0 in its slipstream_info_v1, and 1.1 in its"),
        (("-DFLAGS=0",), "flags is PROMPT in its slipstream_info_v1, and none in its table"),
        (("-DFLAGS=6",), "and PROMPT MULTI_INSTANCE in its table"),
        (("-DKINDS=3",), "subscribes to the kinds 0 (MAPPING_UPDATE), 1 (MAPPING_REMOVAL), but"),
        (("-DKINDS=UINT64_MAX",), '"kinds" of its slipstream_info_v1 is 3 (BLOCK), 40'),
    ],
)
def test_a_library_that_contradicts_itself(with_info, ran, mode, flags, says) -> None:
    library = with_info(json_of(), *flags)
    with PluginManager(insecure_paths=True) as host:
        with pytest.raises(PluginLoadError) as caught:
            host.load_plugin({"libpath": str(library), "mode": mode})
        assert host.list_plugins() == []
    assert caught.value.refusal is Refusal.INFO_DISAGREES, str(caught.value)
    assert says in caught.value.message
    assert ran.exists() or mode == "process"  # a worker has not the host's whole environment
    assert not [t for t in threading.enumerate() if t.name.startswith("slip-")]


@pytest.mark.parametrize("mode", MODES)
def test_a_library_that_agrees(with_info, ran, mode) -> None:
    library = with_info(json_of(kinds=["BLOCK", "PAYLOAD"], flags=["PROMPT", "NEWER"]))
    with PluginManager(insecure_paths=True) as host:
        plugin = host.load_plugin({"libpath": str(library), "mode": mode})
        assert plugin.info is not None
        assert plugin.info.kinds == (3, 4)
        assert plugin.info.unknown == ("flag NEWER",)
        if mode != "process":
            return
        # The next version is judged before the one that runs is touched.
        assert isinstance(plugin.delivery, ProcessPlugin)
        pid = plugin.pid
        with_info(json_of(abi=2))
        with pytest.raises(PluginLoadError, match="this host speaks major 1"):
            host.reload_plugin("rogue")
        assert plugin.pid == pid
        host.block(b"x", 1)
        host.flush()
        assert plugin.counters.delivered == 1


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([], "none"),
        ([4, 3], "BLOCK PAYLOAD"),
        ([40], "40"),
        ([33, 32], "32-33"),
        ([35, 32, 33, 34, 63], "32-35 63"),
        ([32, 34, 36, 37], "32 34 36-37"),
        ([0, 32, 33], "MAPPING_UPDATE 32-33"),
    ],
)
def test_kinds_in_words(kinds, words) -> None:
    assert kinds_in_words(kinds) == words
