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
    STRICT_CXX_WARNINGS,
    STRICT_WARNINGS,
    WARNINGS,
    between,
    code_of,
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
STRUCTS = re.findall(r"^typedef struct (\w+) \{", code_of(HEADER), re.MULTILINE)
TWICE = "#include <slipstream.h>\n#include <slipstream.h>\n" + "".join(
    f"SLIPSTREAM_STATIC_ASSERT(sizeof({name}) > 0);\n" for name in STRUCTS
)
TWICE += (
    "__attribute__((unused)) static uint64_t uses_macros(const slipstream_plugin *p, uint32_t kind) {\n"
    "    return SLIPSTREAM_KIND_BIT(kind) | SLIPSTREAM_HAS(slipstream_plugin, p, flush); }\n"
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
static int32_t P reject(void *c, uint64_t o, int32_t s, const char *t, size_t n) { (void)c; (void)t; (void)n; return o > 7 ? s : 0; }
static int32_t P send_(void *c, uint32_t h, const uint8_t *p, size_t pn, const uint8_t *n, size_t nn, const uint8_t *b, size_t bn, uint64_t *t) {
    (void)c; (void)h; (void)p; (void)pn; (void)n; (void)nn; (void)b; (void)bn; *t = 0; return 0; }
static int32_t P lookup(void *c, const uint8_t *p, size_t n, uint32_t f, uint8_t *b, size_t *l) { (void)c; (void)p; (void)n; (void)b; *l = 0; return f > 2; }
static int32_t P peer_at(void *c, uint32_t i, uint8_t *b, size_t *l) { (void)c; (void)b; *l = i; return 0; }
static int32_t P public_key(void *c, uint8_t *b, size_t *l) { (void)c; (void)b; *l = 0; return 0; }
static int32_t P sign(void *c, const uint8_t *d, size_t n, uint8_t *s) { (void)c; (void)d; (void)s; return n > 9; }
static int32_t P open_(void *c, const uint8_t *d, size_t n, uint8_t *b, size_t *l) { (void)c; (void)d; (void)b; *l = n; return 0; }
SLIPSTREAM_INFO({"name": "all", "version": "1.0.0", "abi": 1});
slipstream_settle_v1 settle = {sizeof settle, 0, reject};
slipstream_send_v1 sends = {sizeof sends, 0, send_};
slipstream_peers_v1 peers = {sizeof peers, 0, lookup, peer_at};
slipstream_identity_v1 identity = {sizeof identity, 0, public_key, sign, open_};
slipstream_host host_ = {sizeof host_, 0, NULL, "", "", enabled, log_, set_error, ack, stopping, extension};
slipstream_plugin plugin = {SLIPSTREAM_PLUGIN_HEAD, 0, NULL, "", "", destroy, on_load, timed,
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
    strict = STRICT_CXX_WARNINGS[compiler] if is_cxx(standard) else STRICT_C_WARNINGS
    strict = (*STRICT_WARNINGS, *strict)
    for source in (TWICE, TWICE.replace("slipstream.h>", "slipstream_host.h>")):
        done = compiles(compiler, standard, source, *WARNINGS, *strict, *freestanding)
        assert (done.returncode, done.stderr.decode()) == (0, "")


@pytest.mark.parametrize("standard", ["c11", "c++17"])
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (("    uint32_t reasons;\n    uint32_t reserved;", "    uint32_t reasons;"), "padd"),
        (("? UINT64_C(1) <<", "? (uint64_t)1 <<"), "old-style"),
        (("    uint32_t abi_minor; /*", "    uint64_t abi_minor; /*"), "assert"),
        (("out->via = slipstream_word(frame);", "out->via = -1;"), "sign"),
    ],
)
def test_the_matrix_would_notice(
    tmp_path: Path, compiler: str, standard: str, edit: tuple[str, str], complaint: str
) -> None:
    require(driver_of(compiler, standard), "-fsyntax-only")
    old, new = edit
    if "reserved;" in old:  # the reader must not fail for want of the field
        fill = "out->reasons = slipstream_word(frame);\n"
        include = header_with(tmp_path, edit, (f"{fill}        out->reserved = 0;", fill))
    else:
        include = header_with(tmp_path, edit)
    flags = (*WARNINGS, *STRICT_WARNINGS)
    if complaint == "old-style":
        if not is_cxx(standard):
            pytest.skip("C has no other casts")
        flags = (*flags, *STRICT_CXX_WARNINGS[compiler])
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
    exported = succeed((*assembly, "-"), ALL_FUNCTIONS.encode())
    directive = re.compile(rb"/EXPORT:_?(\w+)")
    both = {b"slipstream_create_plugin_v1", b"slipstream_info_v1"}
    assert set(directive.findall(exported)) == both
    host = succeed((*assembly, "-DSLIPSTREAM_HOST", "-"), ALL_FUNCTIONS.encode())
    assert directive.findall(host) == []


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
def test_example_exports_exactly_the_constructor_and_its_info(
    tmp_path: Path, compiler: str, standard: str
) -> None:
    require(driver_of(compiler, standard))
    library = tmp_path / "minimal.so"
    command = (*front_end(compiler, standard), *WARNINGS, *STRICT_WARNINGS)
    shared = ("-shared", "-fPIC", "-fvisibility=hidden", "-I", INCLUDE)
    succeed((*command, *shared, "-o", library, EXAMPLE))
    assert exported_by(library) == ["slipstream_create_plugin_v1", "slipstream_info_v1"]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_export_macro_can_be_overridden(tmp_path: Path, compiler: str) -> None:
    require_both(compiler)
    library = tmp_path / "minimal.so"
    shared = ("-shared", "-fPIC", "-fvisibility=hidden", "-I", INCLUDE, *WARNINGS)
    for standard in ("c11", "c++11"):
        override = "-DSLIPSTREAM_EXPORT="
        succeed((*front_end(compiler, standard), *shared, override, "-o", library, EXAMPLE))
        assert exported_by(library) == [], f"as {standard}"


def test_example_in_the_header_is_the_file() -> None:
    inside = between(HEADER.read_text(), "* example:begin", "* example:end")
    assert inside.encode() == EXAMPLE.read_bytes()


def test_header_includes_two_standard_headers_only() -> None:
    assert re.findall(r"^\s*#\s*include\s*(.*?)\s*$", code_of(HEADER), re.MULTILINE) == [
        "<stddef.h>",
        "<stdint.h>",
    ]
