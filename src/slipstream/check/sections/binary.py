"""The library's file, without anything of it running."""

from __future__ import annotations

import functools
import mmap
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from slipstream._platform import who_may_replace
from slipstream.check.linked import Linked, NoLiefError, linked
from slipstream.check.subject import Subject
from slipstream.check.trial import Findings, Trial, check
from slipstream.errors import PluginLoadError, Refusal
from slipstream.library import LibraryFile, PluginInfo, kind_name, read_file
from slipstream.library.info import FLAGS

_OWN = {"slipstream_create_plugin_v1", "slipstream_info_v1"}
_SHOWN = 8  # names in one finding
_GLIBC = (2, 34)
_OTHERS = (
    (re.compile(r"_create_plugin"), ""),
    (re.compile(r"PyInit_\w+|init_?\w+_module"), "a Python extension module"),
    (re.compile(r"plugin_get_required_api_version"), "a Falco plugin"),
    (re.compile(r"JNI_OnLoad|Java_\w+"), "a library for Java (JNI)"),
    (re.compile(r"napi_register_module_v1"), "an add-on of Node.js"),
    (re.compile(r"sqlite3_\w*_?init"), "an extension of SQLite"),
    (re.compile(r"Pg_magic_func"), "an extension of PostgreSQL"),
)  # what else exports such a name
# By the names of the crate and of the trait, which symbols hold, and perhaps panics of a stripped
# library; and by the texts of Geyser's errors, as agave-geyser-plugin-interface 2.3 has them.
_RUST_PLUGINS = (
    (
        re.compile(
            rb"geyser.plugin.interface|GeyserPlugin"
            rb"|Error updating (account|slot status|transaction)\. Error message: "
        ),
        "a Geyser plugin of Solana",
    ),
    (re.compile(rb"slipstream.plugin.interface|SlipstreamPlugin"), "a plugin of snarkVM"),
)
# What languages put among the exports of every library, whether its author wants it or not.
_OF_LANGUAGES = re.compile(
    r"_cgo_\w+|_cgoexp_\w+|crosscall2|x_cgo_\w+|_?runtime[./]\S+|go\.\S+"  # Go
    r"|__sanitizer_\S*|__sancov_\S*|__(start|stop)___sancov_\w+"
    r"|_init|_fini|__bss_start|_edata|_end|__end__|_ITM_\w+|__gmon_start__"
)
# Names of the C library, of the thread library and of the runtime of C++ that others call.
_SYSTEM = re.compile(
    r"(m|c|re|v|p)alloc|malloc_\w+|free|cfree|reallocarray|memalign|posix_memalign|aligned_alloc"
    r"|(w?mem(cpy|move|set|cmp|chr|rchr|mem|pcpy))|bzero|bcopy|bcmp"
    r"|str(n?cpy|n?cat|n?cmp|n?casecmp|r?chr|n?len|n?dup|str|tok|tok_r|spn|cspn|sep|error|error_r"
    r"|coll|xfrm|to(l|ll|ul|ull|d|f|ld|imax|umax))|stpn?cpy|ato[ifl]l?|qsort|bsearch|getenv|setenv"
    r"|unsetenv|putenv|exit|_exit|abort|atexit|system|fork|vfork|clone|exec[lv]p?e?|wait(pid|id)?"
    r"|kill|raise|signal|sig(action|procmask|altstack|wait|suspend)|sleep|usleep|nanosleep"
    r"|open(at)?(64)?|close|p?read(64)?|p?write(64)?|readv|writev|lseek(64)?|f?stat(64)?|mmap(64)?"
    r"|munmap|mprotect|mremap|brk|sbrk|ioctl|fcntl(64)?|dup[23]?|pipe2?|socket|connect|accept4?|bind"
    r"|listen|send(to|msg)?|recv(from|msg)?|select|poll|epoll_\w+|f?open(64)?|fclose|fread|fwrite"
    r"|fflush|v?(f|s|sn|d|as)?printf|v?(f|s)?scanf|puts|fputs|putchar|getchar|fgets|perror"
    r"|time|clock(_\w+)?|gettimeofday|localtime(_r)?|gmtime(_r)?|mktime|strftime|setlocale"
    r"|rand|srand|random|getrandom|dl(open|sym|close|error|addr|vsym)|pthread_\w+|sem_\w+|thrd_\w+"
    r"|mtx_\w+|cnd_\w+|tss_\w+|set(jmp|itimer)|longjmp|syscall|errno|environ|_Zn[wa][mj]\w*"
    r"|_Zd[la]Pv\w*|__cxa_(throw|allocate_exception|begin_catch|end_catch|rethrow|atexit|finalize)"
    r"|__libc_\w+|_Unwind_\w+|__tls_get_addr|__stack_chk_fail"
)
_PYTHON = re.compile(
    r"libpython\S*|python\d+\.dll|.*Python\.framework.*|.*/libpython\S*", re.IGNORECASE
)
_SYSTEM_FOLDERS = ("/usr/lib/", "/System/", "@rpath/", "@loader_path/", "@executable_path/")
_FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
_OWN_FOLDER = ("$ORIGIN", "${ORIGIN}", "@loader_path", "@rpath")


# ---- What is known of the file -------------------------------------------------------------------


def _file(trial: Trial) -> LibraryFile:
    """Read the file; a check of a file that cannot be read is not begun."""
    return read_file(trial.subject.path)


def _linked(trial: Trial) -> Linked:
    try:
        found = linked(trial.subject.path)
    except NoLiefError:
        trial.skip("it needs LIEF, which is not installed: pip install 'slipstream[check]'")
    if found is None:
        trial.skip("LIEF cannot read how it is linked")
    return found


def _info(trial: Trial) -> PluginInfo | None:
    try:
        return _file(trial).info()
    except PluginLoadError:
        return None


def _of_format(trial: Trial, value: bool | None) -> bool:  # noqa: FBT001 - it is what was read
    if value is None:
        trial.skip(f"{_linked(trial).format} files have no such thing")
    return value


def _names(names: Iterable[str]) -> str:
    """Return names in one line; of many the first."""
    found = sorted(set(names))
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _has_flag(subject: Subject, info: PluginInfo | None, flag: str) -> bool | None:
    """Say whether the plugin has a flag, by its table or its info; None if neither tells."""
    if subject.table is not None:
        return subject.has(flag)
    return None if info is None or info.flags is None else flag in info.flags


# ---- What it is ----------------------------------------------------------------------------------


@check("binary.kind")
def kind(trial: Trial) -> Findings:
    """A shared library of a format that is known."""
    try:
        file = read_file(trial.subject.path)
    except PluginLoadError as error:
        yield f"{error.message}; {error.hint}"
        return
    refusal = file.refusal
    if refusal is not None and refusal.refusal is Refusal.NOT_A_LIBRARY:
        yield f"{refusal.message}; {refusal.hint}"


@check("binary.constructor")
def constructor(trial: Trial) -> Findings:
    """The constructor is exported, as a function."""
    file = _file(trial)
    if file.has_constructor or file.refusal is None:
        return
    yield f"{file.refusal.message}; {file.refusal.hint}"
    other = _what_else(trial.subject.path, file)
    if other:
        yield f"it is {other}, and not a slipstream plugin"


def _what_else(path: Path, file: LibraryFile) -> str:
    """Return what a library is that has no constructor; "" if that is not seen."""
    try:
        found = linked(path)
    except NoLiefError:
        found = None
    rust = file.refusal is not None and file.refusal.refusal is Refusal.RUST_ABI_PLUGIN
    if rust and path.stat().st_size > 0:
        with path.open("rb") as opened:
            data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            return next((what for words, what in _RUST_PLUGINS if words.search(data)), "")
    for name in found.exports if found is not None else ():
        other = next((what for pattern, what in _OTHERS if pattern.fullmatch(name)), "")
        if other:
            return other
    return "a library in Go" if file.is_go else ""


@check("binary.info")
def info_(trial: Trial) -> Findings:
    """The info is one that a host reads."""
    try:
        _file(trial).info()
    except PluginLoadError as error:
        if error.refusal not in {Refusal.NO_CONSTRUCTOR, Refusal.RUST_ABI_PLUGIN}:
            yield f"{_without_path(error.message, trial)}; {error.hint}"


def _without_path(message: str, trial: Trial) -> str:
    return message.removeprefix(f"{trial.subject.path}: ")


@check("binary.info-agrees")
def info_agrees(trial: Trial) -> Findings:
    """The info says what the table says."""
    info, table = _info(trial), trial.subject.table
    if info is None or table is None:
        trial.skip("it has no info" if info is None else "its table could not be read")
    for what, said, has in (
        ("name", info.name, table.name),
        ("version", info.version, table.version),
    ):
        if said != has:
            yield f"{what} is {said!r} in the info, and {has!r} in the table"
    if info.min_host_minor != table.min_host_minor:
        yield (
            f"min_host_minor is {info.min_host_minor} in the info, and {table.min_host_minor} in "
            "the table"
        )
    if info.flag_bits is not None and info.flag_bits != table.flags:
        said, has = _flags(info.flag_bits), _flags(table.flags)
        yield f"flags are {said} in the info, and {has} in the table"
    beyond = trial.subject.kinds & ~info.kind_bits
    if beyond:
        kinds = (kind_name(at) for at in range(64) if beyond >> at & 1)
        yield f"subscribed_events returns {_names(kinds)}, which its info does not list in kinds"


def _flags(bits: int) -> str:
    names = [name for name, bit in FLAGS.items() if bits & bit]
    rest = bits & ~sum(FLAGS.values())
    return " ".join(names + ([f"{rest:#x}"] if rest else [])) or "none"


# ---- What it exports and needs -------------------------------------------------------------------


def _exporting(trial: Trial) -> Linked:
    """Return how it is linked; what it exports has to be among that."""
    found = _linked(trial)
    if _file(trial).has_constructor and not _OWN.intersection(found.exports):
        trial.skip("LIEF cannot read what it exports")
    return found


def _foreign_exports(found: Linked) -> Iterator[str]:
    for name in found.exports:
        if name not in _OWN and not _OF_LANGUAGES.fullmatch(name):
            yield name


@check("binary.exports")
def exports(trial: Trial) -> Findings:
    """Nothing but the two names is exported."""
    found = _exporting(trial)
    names = [
        name
        for name in _foreign_exports(found)
        if name not in found.unique and not _SYSTEM.fullmatch(name)  # have checks of their own
    ]
    if names:
        yield f"it exports {_names(names)}"


@check("binary.interposes")
def interposes(trial: Trial) -> Findings:
    """No name of the system is exported."""
    names = [name for name in _exporting(trial).exports if _SYSTEM.fullmatch(name)]
    if names:
        yield f"it exports {_names(names)}"


@check("binary.unique-symbols")
def unique_symbols(trial: Trial) -> Findings:
    """No symbol is unique in the process."""
    found = _linked(trial)
    _of_format(trial, found.no_delete)
    if found.unique:
        yield f"unique in the process: {_names(found.unique)}"


@check("binary.libpython")
def libpython(trial: Trial) -> Findings:
    """The interpreter's library is not needed."""
    names = [name for name in _linked(trial).needed if _PYTHON.fullmatch(name)]
    if names:
        yield f"it needs {_names(names)}"


@check("binary.needed")
def needed(trial: Trial) -> Findings:
    """Needed libraries are named without a folder, and found."""
    found = _linked(trial)
    for name in found.needed:
        if "/" in name and not name.startswith(_SYSTEM_FOLDERS):
            yield f"it needs {name}: a path of the machine that it was built on"
        elif found.format == "ELF" and not trial.subject.foreign and not _is_found(trial, name):
            yield f"it needs {name}, which is not found on this machine"


def _is_found(trial: Trial, name: str) -> bool:
    """Look for a library as the loader does, but run nothing."""
    folder = str(trial.subject.path.resolve().parent)
    own = (
        path.replace("${ORIGIN}", folder).replace("$ORIGIN", folder)
        for path in _linked(trial).paths or ()
    )
    given = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if any(Path(place, name).is_file() for place in (*filter(None, (*own, *given)), *_FOLDERS)):
        return True
    cached = _cached_libraries()
    return cached is None or name in cached


@functools.cache
def _cached_libraries() -> frozenset[str] | None:
    """Return the names of the libraries that the loader's cache knows; None: there is no cache."""
    tool = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if tool is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - found where systems have it
            [tool, "-p"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = frozenset(line.split()[0] for line in done.stdout.splitlines() if "=>" in line)
    return names or None


@check("binary.rpath")
def rpath(trial: Trial) -> Findings:
    """Libraries are looked for beside it, or where the system has them."""
    found = _linked(trial)
    _of_format(trial, found.paths is not None or None)
    for path in found.paths or ():
        if not path:
            yield "an empty entry in its RPATH: the folder in which the host was started"
        elif not path.startswith(_OWN_FOLDER):
            yield f"{path} in its RPATH: a folder of the machine that it was built on"


@check("binary.glibc")
def glibc(trial: Trial) -> Findings:
    """No version of glibc is needed that is newer than those of common systems."""
    found = _linked(trial).glibc
    _of_format(trial, found is not None or None)
    newer = [(version, name) for version, name in found or () if version > _GLIBC]
    if newer:
        version, name = max(newer)
        said = f" ({name})" if name else ""
        yield f"it needs glibc {'.'.join(map(str, version))}{said}; 2.34 is what RHEL 9 has"


# ---- What it asks of the loader ------------------------------------------------------------------


@check("binary.nodelete")
def nodelete(trial: Trial) -> Findings:
    """It can be unmapped, or says that it cannot."""
    if not _of_format(trial, _linked(trial).no_delete):
        return
    if not _has_flag(trial.subject, _info(trial), "RESIDENT"):
        yield "it is linked with -z nodelete, and has no flag RESIDENT"


@check("binary.static-tls")
def static_tls(trial: Trial) -> Findings:
    """Its thread-local storage can be had late."""
    if _of_format(trial, _linked(trial).static_tls):
        yield "its thread-local storage is static (DF_STATIC_TLS)"


@check("binary.text-relocations")
def text_relocations(trial: Trial) -> Findings:
    """Its code is not written to."""
    if _of_format(trial, _linked(trial).text_relocations):
        yield "the loader has to write to its code (DT_TEXTREL)"


@check("binary.executable-stack")
def executable_stack(trial: Trial) -> Findings:
    """Stacks stay data."""
    if _linked(trial).executable_stack:
        yield "it wants executable stacks"


@check("binary.writable-code")
def writable_code(trial: Trial) -> Findings:
    """What can be executed cannot be written."""
    for where in _linked(trial).writable_code:
        yield f"both writable and executable: {where}"


@check("binary.relro")
def relro(trial: Trial) -> Findings:
    """Relocated data become read-only."""
    if not _of_format(trial, _linked(trial).relro):
        yield "its relocated data stays writable (no PT_GNU_RELRO)"


@check("binary.go-resident")
def go_resident(trial: Trial) -> Findings:
    """Go's runtime stays; the plugin says so."""
    if not _file(trial).is_go:
        return
    resident = _has_flag(trial.subject, _info(trial), "RESIDENT")
    if resident is None:
        trial.skip("it is a library in Go, but neither its table nor an info tells its flags")
    if not resident:
        yield "it holds the runtime of Go, and has no flag RESIDENT"


@check("binary.writable-file")
def writable_file(trial: Trial) -> Findings:
    """Nobody else can change the file."""
    path = trial.subject.path.resolve()
    for what, place in (("the file", path), ("its folder", path.parent)):
        found = who_may_replace(str(place), place.lstat())
        if found is not None:
            yield f"{what} {found[0]}; {found[1]} {place}"
