"""Settings in Quorum's form: what it reads is read, what is wrong is told with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipstream.errors import ConfigError, PackageError
from slipstream.packages.flags import Flags
from slipstream.packages.minisign import generate
from slipstream.packages.providers import Providers
from slipstream.packages.settings import (
    Central,
    PluginSettings,
    config_of,
    path_of_uri,
    read_settings,
)

# As Quorum's own pages have them.
JSON = """{
  "baseDir": "./build/bin",
  "central": {
    "baseURL": "https://plugins.mycorp.com",
    "certFingerprint": "%(digest)s",
    "publicKeyURI": "/.pgp/central.asc",
    "insecureSkipTLSVerify": false,
    "pluginDistPathTemplate": "bin/{{.Name}}/{{.Version}}/{{.Name}}-{{.Version}}-{{.OS}}-{{.Arch}}.zip",
    "pluginSigPathTemplate": "bin/{{.Name}}-{{.Version}}-sha256.checksum.asc"
  },
  "providers": {
    "helloworld": {
      "name": "quorum-plugin-hello-world",
      "version": "1.0.0",
      "config": "file://./plugins/helloworld-plugin-config.json"
    },
    "security": {"name": "quorum-security-plugin", "version": "21.4.2", "config": ["1", "2", "3"]},
    "account": {"name": "quorum-account-plugin-hashicorp-vault", "version": "0.2.0",
                "config": {"vault": "https://localhost:8200", "kvEngineName": "engine"}}
  }
}
"""
TOML = """[Node]
DataDir = "data"

[Node.Plugins]
    BaseDir = "./build/bin"

    [Node.Plugins.Central]
        BaseURL = "https://plugins.mycorp.com"
        CertFingerPrint = "%(digest)s"
        PublicKeyURI = "/.pgp/central.asc"
        InsecureSkipTLSVerify = false
        PluginDistPathTemplate = "bin/{{.Name}}/{{.Version}}/{{.Name}}-{{.Version}}-{{.OS}}-{{.Arch}}.zip"
        PluginSigPathTemplate = "bin/{{.Name}}-{{.Version}}-sha256.checksum.asc"

    %(helloworld)s
        Name = "quorum-plugin-hello-world"
        Version = "1.0.0"
        Config = "file://./plugins/helloworld-plugin-config.json"

    %(security)s
        Name = "quorum-security-plugin"
        Version = "21.4.2"
        Config = ["1", "2", "3"]

    %(account)s
        Name = "quorum-account-plugin-hashicorp-vault"
        Version = "0.2.0"
        Config = { vault = "https://localhost:8200", kvEngineName = "engine" }
"""
NAMES = ("helloworld", "security", "account")
DIGEST = "ab" * 32
TABLES = {name: f"[Node.Plugins.Providers.{name}]" for name in NAMES}
ARRAYS = {name: f"[[Node.Plugins.Providers.{name}]]" for name in NAMES}
ARRAYS["helloworld"] = f"[[Node.Plugins.Providers]]\n{ARRAYS['helloworld']}"


def written(folder: Path, text: str, name: str = "plugins.json") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("form", ["json", "json5", "toml", "toml arrays", "toml, our spelling"])
def test_quorum_s_settings_are_read_unchanged(tmp_path: Path, form: str) -> None:
    if form.startswith("json"):
        text = JSON % {"digest": DIGEST.upper()}
        text = text.replace('"baseDir"', "// a comment\nbaseDir") if form == "json5" else text
        found = read_settings(written(tmp_path, text))
    else:
        tables = ARRAYS if form == "toml arrays" else TABLES
        text = TOML % {"digest": DIGEST, **tables}
        if form == "toml, our spelling":
            for key in (
                "BaseDir",
                "BaseURL",
                "PublicKeyURI",
                "InsecureSkip",
                " Name =",
                " Config =",
            ):
                text = text.replace(key, key.lower() if key[0] == " " else key[0].lower() + key[1:])
            text = text.replace("CertFingerPrint", "certFingerprint")
        found = read_settings(written(tmp_path, text, "config.toml"), in_node=True)
        assert read_settings(tmp_path / "config.toml").providers == found.providers
    assert found.base_dir == tmp_path / "build" / "bin"
    assert found.central == Central(
        base_url="https://plugins.mycorp.com/",
        fingerprint=DIGEST,
        public_key_uri="/.pgp/central.asc",
        dist="bin/{{.Name}}/{{.Version}}/{{.Name}}-{{.Version}}-{{.OS}}-{{.Arch}}.zip",
        sig="bin/{{.Name}}-{{.Version}}-sha256.checksum.asc",
    )
    assert list(found.providers) == list(NAMES)
    hello = found.providers["helloworld"]
    assert (hello.name, hello.version) == ("quorum-plugin-hello-world", "1.0.0")
    assert found.providers["security"].config == ["1", "2", "3"]
    assert found.providers["account"].config == {
        "vault": "https://localhost:8200", "kvEngineName": "engine",
    }  # fmt: skip


def test_a_base_dir_of_the_environment(tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path, '{"baseDir": "env://MY_BASE_DIR"}')
    monkeypatch.setenv("MY_BASE_DIR", "/opt/plugins")
    assert read_settings(path).base_dir == Path("/opt/plugins")
    monkeypatch.delenv("MY_BASE_DIR")
    with pytest.raises(ConfigError, match="MY_BASE_DIR is not set"):
        read_settings(path)


P = '"name": "a", "version": "1"'
WRONG = {
    '{"basedir": "x"}': (1, 2, "did you mean baseDir?"),
    '{"providers": {"x": {"nmae": "a"}}}': (1, 22, "did you mean name?"),
    '{"central": {\n  "baseUrl": "https://a"}}': (2, 3, "did you mean baseURL?"),
    '{"central": {"baseURL": "http://a.example"}}': (1, 25, "https://"),
    '{"central": {"baseURL": "https://a", "certFingerprint": "abc"}}': (1, 57, "openssl"),
    '{"providers": {"x": {' + P + ', "config": 5}}}': (1, 61, "an object, an array or a text"),
    '{"providers": {"x": {' + P + ', "config": true}}}': (1, 61, "an object, an array or a text"),
    '{"providers": {"x": {"name": "a/b", "version": "1"}}}': (1, 30, 'write name: "..."'),
    '{"providers": {"x": {"name": "a"}}}': (1, 21, 'write version: "..."'),
    '{"providers": {"x y": {}}}': (1, 16, "use letters"),
    '{"providers": {"x": {' + P + '}, "X": {' + P + "}}}": (1, 52, "keep one"),
    '{"trust": [{"names": "a"}]}': (1, 12, "write key"),
    '{"trust": 1}': (1, 11, "write ["),
}  # fmt: skip
WRONG_TOML = {
    '[Node.Plugins]\nBasDir = "x"\n': (2, 1, "did you mean baseDir?"),
    '[Node.Plugins.Providers.x]\nName = "a"\nVersoin = "1"\n': (3, 1, "did you mean version?"),
    '[[Node.Plugins.Providers]]\n[[Node.Plugins.Providers.x]]\n  Nmae = "a"\n': (
        3,
        3,
        "mean name?",
    ),
    "[Node.Plugins.Providers.x]\nName = 'a'\nVersion = '1'\nConfig = 5\n": (4, 10, "an object"),
}


@pytest.mark.parametrize("text", [*WRONG, *WRONG_TOML])
def test_what_is_wrong_has_a_place_and_a_next_step(tmp_path: Path, text: str) -> None:
    is_toml = text in WRONG_TOML
    line, column, hint = (WRONG_TOML if is_toml else WRONG)[text]
    path = written(tmp_path, text, "c.toml" if is_toml else "c.json")
    with pytest.raises(ConfigError) as caught:
        read_settings(path, in_node=is_toml)
    assert f"{path}:{line}:{column}: " in caught.value.message
    assert hint in caught.value.hint


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unsupported scheme http"):
        path_of_uri("http://a/b.json", "plugins")
    assert path_of_uri("file:///a/b%20c.json", "plugins") == Path("/a/b c.json")
    for name, content, text in (
        ("none.json", None, "does not exist"),
        ("a.json", b"\xff", "are not UTF-8"),
        ("a.toml", b"x = [", "is not TOML"),
        ("a.toml", b"[Node]\n", r"has no \[Node.Plugins\]"),
        ("a.json", b"[]", "a config is one object"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=text):
            read_settings(tmp_path / name, in_node=b"[Node]" in (content or b""))


# ---- A provider's config ---------------------------------------------------------------------


def config(tmp_path: Path, value: object) -> tuple[object, str]:
    provider = {"name": "a", "version": "1", "config": value}
    text = json.dumps({"providers": {"x": provider}})
    return config_of(read_settings(written(tmp_path, text)).providers["x"], tmp_path)


def test_each_form_of_a_config(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a b.json").write_text('{"language": "en"}')
    monkeypatch.setenv("HELLO", '{"language": "es"}')
    monkeypatch.setenv("HELLO_FILE", "a b.json")
    monkeypatch.setenv("WORDS", "just words")
    monkeypatch.setenv("BROKEN", '{"password": hunter2}')
    monkeypatch.setenv("OPEN", '{"password": "hunter2" "x"}')
    english, spanish = {"language": "en"}, {"language": "es"}
    cases: list[tuple[object, object, str]] = [
        ({"a": [1, None]}, {"a": [1, None]}, ""),
        (["1", "2"], {"config": ["1", "2"]}, ""),
        ("file://a%20b.json", english, "file://a%20b.json"),
        (f"file://{tmp_path}/a%20b.json", english, f"file://{tmp_path}/a%20b.json"),
        ("env://HELLO", spanish, "env://HELLO"),
        ("env://HELLO_FILE?type=file", english, "env://HELLO_FILE?type=file"),
        ("env://WORDS", {"config": "just words"}, "env://WORDS"),
        ("any text", {"config": "any text"}, ""),
        ("https://a/b", {"config": "https://a/b"}, ""),
        ('{"inline": 1}', {"inline": 1}, ""),
        ("[1, 2]", {"config": [1, 2]}, ""),
        (None, {}, ""),
    ]
    for value, own, source in cases:
        assert config(tmp_path, value) == (own, source), value
    (tmp_path / "a b.json").write_text('{"language": "fr"}')  # read at each start
    assert config(tmp_path, "file://a%20b.json")[0] == {"language": "fr"}
    for value, text in (
        ("env://NOT_THERE", "env variable NOT_THERE not found"),
        ("env://a b", "does not name an environment variable"),
        ("env://HELLO?type=dir", "does not name an environment variable"),
        ("file://none.json", "does not exist"),
        ("{broken", "its config is no JSON"),
        ("env://BROKEN", '"\\*\\*\\*" is not a value'),
        ("env://OPEN", 'expected a "," or "}"'),
    ):
        with pytest.raises(ConfigError, match=text):
            config(tmp_path, value)


# ---- Flags -----------------------------------------------------------------------------------


def made(tmp_path: Path, settings: dict[str, object], **flags: object) -> Providers:
    path = written(tmp_path, json.dumps(settings))
    found: PluginSettings = read_settings(path)
    return Providers(found, Flags(**flags), tmp_path / "data")  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [[], ["one"], ["one", "other"]])
def test_a_provider_that_there_is_not_is_told_from_those_that_there_are(tmp_path, names) -> None:
    found = made(
        tmp_path, {"providers": {name: {"name": "a", "version": "1.0.0"} for name in names}}
    )
    with pytest.raises(PackageError, match="third comes from no package") as caught:
        found.provider("third")
    assert caught.value.hint == f"packages provide {', '.join(names) or 'nothing'}"


def test_the_flags_exclude_each_other_as_quorum_s_do() -> None:
    for flags, text in (
        (Flags(skip_verify=True, local_verify=True),
         "only --plugins.skipverify or --plugins.localverify must be set"),
        (Flags(public_key="file:///a"),
         "--plugins.localverify is required for setting --plugins.publickey"),
        (Flags(public_key="file:///a", skip_verify=True),
         "--plugins.localverify is required for setting --plugins.publickey"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            flags.check()
        assert caught.value.message == text
    Flags(local_verify=True, public_key="file:///a").check()
    Flags(skip_verify=True).check()


def test_which_keys_count(tmp_path: Path) -> None:
    public = generate().public
    key = written(tmp_path, public.to_text(), "a.pub")
    central = {"baseURL": "https://a.example:8443/x", "publicKeyURI": f"file://{key}"}
    found = made(tmp_path, {"central": central}).store.keys
    assert [(one.id, one.names, one.origin) for one in found] == [
        (public.id, "*", "https://a.example:8443")
    ]
    # What the central alone gives is none.
    with pytest.raises(PackageError, match="only https://a.example itself vouches"):
        made(tmp_path, {"central": {"baseURL": "https://a.example", "publicKeyURI": "k.asc"}})
    trust = [{"key": "a.pub", "names": "hello*", "origin": "local"}]
    found = made(tmp_path, {"central": central, "trust": trust}, local_verify=True,
                 public_key=f"file://{key}").store.keys  # fmt: skip
    assert [(one.names, one.origin) for one in found] == [("hello*", "local"), ("*", "*")]
    with pytest.raises(ConfigError, match="must be set"):
        made(tmp_path, {}, local_verify=True, skip_verify=True)
    with pytest.raises(PackageError, match=r"Central\.pgp\.pk does not exist"):
        made(tmp_path, {}, local_verify=True)
    (tmp_path / "data" / "plugins").mkdir(parents=True)
    key.rename(tmp_path / "data" / "plugins" / "Central.pgp.pk")
    assert len(made(tmp_path, {}, local_verify=True).store.keys) == 1
    assert made(tmp_path, {"trust": trust}, skip_verify=True).store.keys == ()
    with pytest.raises(PackageError, match="does not exist"):
        made(tmp_path, {"trust": trust})
