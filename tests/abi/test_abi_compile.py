"""The header compiles everywhere without a warning, and its example is a real plugin."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

from abi_tools import (
    C_STANDARDS,
    COMPILERS,
    CXX_STANDARDS,
    EXAMPLE,
    HEADER,
    INCLUDE,
    STRICT_C_WARNINGS,
    STRICT_WARNINGS,
    WARNINGS,
    between,
    driver_of,
    front_end,
    header_with,
    is_cxx,
    require_both,
    run,
    succeed,
)
from support.toolbox import require

# clang pads a struct, and so warns of padding, only once somebody asks for its size.
STRUCTS = re.findall(
    r"^typedef struct (\w+) \{", HEADER.read_text().partition("A WHOLE PLUGIN")[0], re.MULTILINE
)
TWICE = "#include <slipstream.h>\n#include <slipstream.h>\n" + "".join(
    f"SLIPSTREAM_STATIC_ASSERT(sizeof({name}) > 0);\n" for name in STRUCTS
)
ON_X86 = platform.machine() in {"x86_64", "AMD64"}

# Every function of every table, so that one without SLIPSTREAM_CALL does not fit.
ALL_FUNCTIONS = """
#include <slipstream.h>
#define P SLIPSTREAM_CALL
static int32_t P enabled(void *c, uint32_t l) { (void)c; return l > 2; }
static void P log_(void *c, uint32_t l, const char *t, size_t n) { (void)c; (void)l; (void)t; (void)n; }
static void P set_error(void *c, const char *t, size_t n) { (void)c; (void)t; (void)n; }
static int32_t P ack(void *c, uint64_t o) { (void)c; return o > 7; }
static int32_t P stopping(void *c) { return c == NULL; }
static const void *P extension(void *c, const char *id) { (void)id; return c; }
static void P destroy(void *i) { (void)i; }
static int32_t P on_load(void *i, const char *t, size_t n, uint32_t r) { (void)i; (void)t; (void)n; return r > 2; }
static int32_t P timed(void *i, uint32_t t) { (void)i; return t > 9; }
static uint64_t P kinds(void *i) { return i == NULL; }
static int32_t P broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t n) {
    (void)i; (void)f; return d->count + n > 9; }
static int32_t P type_at(void *c, const char *p, uint32_t *t, size_t *n) { (void)c; (void)p; *t = 0; *n = 0; return 0; }
static int32_t P key_at(void *c, const char *p, size_t i, char *b, size_t *n) { (void)c; (void)p; (void)i; (void)b; *n = 0; return 0; }
static int32_t P get_bool(void *c, const char *p, uint32_t *v) { (void)c; (void)p; *v = 0; return 0; }
static int32_t P get_i64(void *c, const char *p, int64_t *v) { (void)c; (void)p; *v = 0; return 0; }
static int32_t P get_u64(void *c, const char *p, uint64_t *v) { (void)c; (void)p; *v = 0; return 0; }
static int32_t P get_f64(void *c, const char *p, double *v) { (void)c; (void)p; *v = 0; return 0; }
static int32_t P get_text(void *c, const char *p, char *b, size_t *n) { (void)c; (void)p; (void)b; *n = 0; return 0; }
static int32_t P folder(void *c, char *b, size_t *n) { (void)c; (void)b; *n = 0; return 0; }
static int32_t P counter(void *c, const char *n, const char *l, uint64_t a) { (void)c; (void)n; (void)l; return a > 9; }
static int32_t P gauge(void *c, const char *n, const char *l, double a) { (void)c; (void)n; (void)l; return a > 9; }
static const char *P name_at(void *i, uint32_t n) { (void)i; return n ? NULL : ""; }
slipstream_host host_ = {sizeof host_, 0, NULL, "", "", enabled, log_, set_error, ack, stopping, extension};
slipstream_plugin plugin = {sizeof plugin, 0, 0, 0, NULL, "", "", destroy, on_load, timed,
    kinds, broadcast, timed, extension};
slipstream_config_v1 config = {sizeof config, 0, type_at, key_at, get_bool, get_i64, get_u64,
    get_f64, get_text, get_text, folder, folder};
slipstream_metrics_v1 metrics = {sizeof metrics, 0, counter, gauge};
slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
const slipstream_plugin *P slipstream_create_plugin_v1(const slipstream_host *given) {
    slipstream_log(given, SLIPSTREAM_LOG_INFO, "up");
    return slipstream_fail(given, slipstream_is_stopping(given), "no") ? NULL : &plugin;
}
"""


def compiles(
    compiler: str, standard: str, source: str, *flags: str, include: Path = INCLUDE
) -> subprocess.CompletedProcess[bytes]:
    command = (*front_end(compiler, standard), "-fsyntax-only", "-I", include, *flags, "-")
    return run(command, source.encode())


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
@pytest.mark.parametrize("standard", C_STANDARDS + CXX_STANDARDS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_header_compiles_without_a_warning(compiler: str, standard: str, bits: str) -> None:
    freestanding = ("-ffreestanding", bits)
    require(driver_of(compiler, standard), "-fsyntax-only", *freestanding)
    strict = STRICT_WARNINGS if is_cxx(standard) else STRICT_WARNINGS + STRICT_C_WARNINGS
    done = compiles(compiler, standard, TWICE, *WARNINGS, *strict, *freestanding)
    assert (done.returncode, done.stderr.decode()) == (0, "")


@pytest.mark.parametrize("standard", ["c11", "c++17"])
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (("    uint32_t reasons;\n    uint32_t reserved;", "    uint32_t reasons;"), "padd"),
        (("    uint32_t abi_minor; /*", "    uint64_t abi_minor; /*"), "assert"),
        (("out->reserved = 0;", "out->reserved = -1;"), "sign"),
    ],
)
def test_the_matrix_would_notice(
    tmp_path: Path, compiler: str, standard: str, edit: tuple[str, str], complaint: str
) -> None:
    require(driver_of(compiler, standard), "-fsyntax-only")
    old, new = edit
    if "reserved;" in old:  # the reader must not fail for want of the field
        include = header_with(tmp_path, edit, ("out->reserved = 0;", ""))
    else:
        include = header_with(tmp_path, edit)
    flags = (*WARNINGS, *STRICT_WARNINGS)
    done = compiles(compiler, standard, TWICE, *flags, include=include)
    assert done.returncode != 0, f"{new!r} went unnoticed"
    assert complaint in done.stderr.decode()


@pytest.mark.parametrize("standard", ["c11", "c++11"])
@pytest.mark.parametrize("triple", ["i686-pc-windows-msvc", "x86_64-pc-windows-msvc"])
def test_header_compiles_for_windows(triple: str, standard: str) -> None:
    target = ("-ffreestanding", f"--target={triple}")
    require(driver_of("clang", standard), "-fsyntax-only", *target)
    warnings = (*WARNINGS, *STRICT_WARNINGS)
    assembly = (*front_end("clang", standard), "-S", "-o", "-", "-I", INCLUDE, *target, *warnings)
    exported = succeed((*assembly, "-DSLIPSTREAM_PLUGIN", "-"), ALL_FUNCTIONS.encode())
    directive = re.compile(rb"/EXPORT:_?(\w+)")
    assert directive.findall(exported) == [b"slipstream_create_plugin_v1"]
    assert directive.findall(succeed((*assembly, "-"), ALL_FUNCTIONS.encode())) == []


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_function_has_the_calling_convention(tmp_path: Path, compiler: str) -> None:
    if not ON_X86:
        pytest.skip("a second calling convention to tell apart exists on x86-64 only")
    require_both(compiler, "-fsyntax-only")
    other = ("-DSLIPSTREAM_CALL=__attribute__((ms_abi))", *WARNINGS)
    for standard in ("c11", "c++11"):
        done = compiles(compiler, standard, ALL_FUNCTIONS, *other)
        assert (done.returncode, done.stderr.decode()) == (0, "")
        bare = header_with(tmp_path, ("(SLIPSTREAM_CALL *flush)", "(*flush)"))
        assert compiles(compiler, standard, ALL_FUNCTIONS, *other, include=bare).returncode != 0


@pytest.mark.parametrize("compiler", COMPILERS)
def test_two_translation_units_link(tmp_path: Path, compiler: str) -> None:
    require_both(compiler)
    for name, standard in (("one.c", "c11"), ("two.c", "c2x"), ("three.cpp", "c++11")):
        function = name.partition(".")[0]
        (tmp_path / name).write_text(
            '#ifdef __cplusplus\nextern "C"\n#endif\n'
            f"int {function}(const unsigned char *, unsigned long);\n{TWICE}"
            f"int {function}(const unsigned char *data, unsigned long len) {{\n"
            "    slipstream_frame frame;\n"
            "    return slipstream_read_frame(data, len, &frame); }\n"
        )
        command = front_end(compiler, standard)
        object_file = tmp_path / f"{function}.o"
        succeed((*command, *WARNINGS, "-I", INCLUDE, "-c", tmp_path / name, "-o", object_file))
    main = (
        "int one(const unsigned char *, unsigned long);\n"
        "int two(const unsigned char *, unsigned long);\n"
        "int three(const unsigned char *, unsigned long);\n"
        'int main(void) { const unsigned char *none = (const unsigned char *)"";\n'
        "    return one(none, 0) == -7 && two(none, 0) == -7 && three(none, 0) == -7 ? 0 : 1; }\n"
    )
    objects = [tmp_path / f"{name}.o" for name in ("one", "two", "three")]
    link = (compiler, "-x", "c", "-", "-x", "none", *objects, "-o", tmp_path / "all")
    succeed(link, main.encode())
    succeed((tmp_path / "all",))


def exported_by(library: Path) -> list[str]:
    table = succeed(("nm", "-D", "--defined-only", library)).decode()
    return [line.split()[-1] for line in table.splitlines()]


@pytest.mark.parametrize("standard", ["c11", "c++11"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_example_exports_exactly_the_constructor(
    tmp_path: Path, compiler: str, standard: str
) -> None:
    require(driver_of(compiler, standard))
    library = tmp_path / "minimal.so"
    command = (*front_end(compiler, standard), *WARNINGS, *STRICT_WARNINGS)
    shared = ("-shared", "-fPIC", "-fvisibility=hidden", "-I", INCLUDE)
    succeed((*command, *shared, "-o", library, EXAMPLE))
    assert exported_by(library) == ["slipstream_create_plugin_v1"]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_export_macro_can_be_overridden(tmp_path: Path, compiler: str) -> None:
    require_both(compiler)
    library = tmp_path / "minimal.so"
    shared = ("-shared", "-fPIC", "-fvisibility=hidden", "-I", INCLUDE, *WARNINGS)
    for standard, export in (("c11", "extern"), ("c++11", 'extern "C"')):
        override = f"-DSLIPSTREAM_EXPORT={export}"
        succeed((*front_end(compiler, standard), *shared, override, "-o", library, EXAMPLE))
        assert exported_by(library) == [], f"as {standard}"


def test_example_in_the_header_is_the_file() -> None:
    inside = between(HEADER.read_text(), "* example:begin", "* example:end")
    assert inside.encode() == EXAMPLE.read_bytes()


def test_header_includes_two_standard_headers_only() -> None:
    code = HEADER.read_text().partition("A WHOLE PLUGIN")[0]
    assert re.findall(r"^\s*#\s*include\s*(.*?)\s*$", code, re.MULTILINE) == [
        "<stddef.h>",
        "<stdint.h>",
    ]
