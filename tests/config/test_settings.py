"""gateway.config and gateway.config.fields: values, where they come from, and what is refused."""

from __future__ import annotations

import pickle
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from gateway.config import SECTIONS, Config, LimitsSettings, changed_settings, load, rows
from gateway.config.fields import in_toml, of
from gateway.config.passwords import password_of
from gateway.errors import ConfigError
from gateway.log.postgres.archive import dsn_of
from gateway.redislink.address import parse


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


def source_of(config: Config, name: str) -> str:
    return next(row.source for row in rows(config) if row.name == name)


def test_every_default_is_within_its_own_bounds() -> None:
    assert Config() == load(environ={})


def test_the_rate_of_rfc_002_is_the_default() -> None:
    limits = Config().limits
    assert (limits.operations_per_minute, limits.operations_burst) == (100, 10)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_tunable_is_documented_and_every_number_is_bounded(section: str) -> None:
    for item in fields(getattr(Config(), section)):
        declared = of(item)
        assert declared.help
        if type(declared.default) in (int, float):
            assert declared.least is not None, item.name
            assert declared.most is not None, item.name


@pytest.mark.parametrize("section", SECTIONS)
def test_a_name_that_ends_in_a_unit_has_that_unit(section: str) -> None:
    for item in fields(getattr(Config(), section)):
        unit = of(item).unit
        ending = item.name.removesuffix("_max").rsplit("_", 1)[-1]
        if ending in ("s", "ms", "h", "bytes"):
            assert unit == ending, item.name


def test_a_file_gives_values_and_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path, '[server]\n\n# none\nport = 0\norigins = ["https://a.example"]\n[limits]\ndepth_max=9\n'
    )
    config = load(path, environ={})
    assert config.server.port == 0
    assert config.server.origins == ("https://a.example",)
    assert config.limits.depth_max == 9
    assert source_of(config, "server.port") == f"{path}:4"
    assert source_of(config, "limits.depth_max") == f"{path}:7"
    assert source_of(config, "limits.document_bytes_max") == "default"


def test_a_dotted_key_and_an_inline_table_are_found_too(tmp_path: Path) -> None:
    path = written(
        tmp_path, 'limits.depth_max = 10\nserver = {port = 1}\n[auth.default_grants]\n"event:*" = "viewer"\n'
    )
    config = load(path, environ={})
    assert config.limits.depth_max == 10
    assert config.auth.default_grants == {"event:*": "viewer"}
    assert source_of(config, "limits.depth_max") == f"{path}:1"
    assert source_of(config, "server.port") == str(path)


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\ndepth_max = 10\nsubscriptions_max = 11\noperations_burst = 12\n")
    environ = {"GATEWAY_LIMITS_DEPTH_MAX": "20", "GATEWAY_LIMITS_SUBSCRIPTIONS_MAX": "21"}
    config = load(path, {"limits.depth_max": "30"}, environ)
    limits = config.limits
    assert (limits.depth_max, limits.subscriptions_max, limits.operations_burst) == (30, 21, 12)
    assert source_of(config, "limits.depth_max") == "command line"
    assert source_of(config, "limits.subscriptions_max") == "environment GATEWAY_LIMITS_SUBSCRIPTIONS_MAX"
    assert source_of(config, "limits.operations_burst") == f"{path}:4"


def test_text_is_read_as_the_type_of_the_tunable() -> None:
    environ = {
        "GATEWAY_LIMITS_MESSAGE_BYTES_MAX": "512 KiB",
        "GATEWAY_FEATURES_KILL_SWITCH": "yes",
        "GATEWAY_FEATURES_ENABLED": "0",
        "GATEWAY_FEATURES_SEGMENTS": "beta, staff,",
        "GATEWAY_TIMEOUTS_IDLE_TIMEOUT_S": "1.5",
        "GATEWAY_AUTH_DEFAULT_GRANTS": "event:*=editor, *=viewer",
        "GATEWAY_SERVER_NODE": "  as it is  ",
    }
    config = load(environ=environ)
    assert config.limits.message_bytes_max == 512 * 1024
    assert config.features.kill_switch is True
    assert config.features.enabled is False
    assert config.features.segments == ("beta", "staff")
    assert config.timeouts.idle_timeout_s == 1.5
    assert config.auth.default_grants == {"event:*": "editor", "*": "viewer"}
    assert config.server.node == "  as it is  "


def test_an_override_may_be_typed_and_none_is_not_given() -> None:
    config = load(overrides={"server.port": 0, "server.host": None, "features.enabled": False}, environ={})
    assert (config.server.port, config.server.host, config.features.enabled) == (0, "127.0.0.1", False)
    assert source_of(config, "server.host") == "default"


def test_other_environment_variables_are_left_alone() -> None:
    environ = {"GATEWAY_SPEEDUPS": "off", "GATEWAY_TOKEN": "x", "GATEWAYS_LIMITS_X": "1", "PATH": "/bin"}
    assert load(environ=environ) == Config()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "[limits]\ndepth_mx = 3",
            r'gateway\.toml:2: unknown setting limits\.depth_mx; did you mean "depth_max"',
        ),
        ("[limit]\ndepth_max = 3", r'unknown section .limit.; did you mean "limits"'),
        ("[limits]\nzzz = 3", "known are .*depth_max"),
        ("port = 3", "port stands outside of a section"),
        (
            "[limits]\ndepth_max = 3",
            r"gateway\.toml:2: limits\.depth_max = 3: must be a whole number, 4 to 200",
        ),
        ('[limits]\ndepth_max = "9"', "limits.depth_max = '9': must be a whole number"),
        ("[limits]\ndepth_max = 9.0", "must be a whole number"),
        ("[limits]\ndepth_max = true", "must be a whole number"),
        ("[features]\nenabled = 1", "features.enabled = 1: must be true or false"),
        ("[timeouts]\nidle_timeout_s = nan", "must be a number"),
        ("[timeouts]\nidle_timeout_s = inf", "must be a number"),
        ("[timeouts]\nidle_timeout_s = -1", "must be a number"),
        ("[server]\norigins = [1]", "must be a list of strings"),
        ('[server]\norigins = "*"', "must be a list of strings"),
        (
            '[server]\norigins = ["calendar.example"]',
            "'calendar.example' is no origin; write https://calendar",
        ),
        ('[server]\norigins = ["*", "https://a.example/app"]', "'https://a.example/app' is no origin"),
        ('[server]\norigins = ["https://*.example"]', r"'https://\*.example' is no origin"),
        ('[server]\ntransport = "fats"', 'did you mean "fast"'),
        ('[auth]\nalgorithms = ["none"]', "'none' is not allowed"),
        ('[auth]\ndefault_grants = ["x"]', "must be a table of strings"),
        ("[auth]\ndefault_grants = {a = 1}", "must be a table of strings"),
        (
            '[limits]\nmessage_bytes_max = "1 parsec"',
            'must be a whole number, .* bytes, or a size such as "256 KiB"',
        ),
        ('[limits]\nmessage_bytes_max = "256_ KiB"', "must be a whole number, .* bytes"),
        ('[limits]\nmessage_bytes_max = "2__56 KiB"', "must be a whole number, .* bytes"),
        ("[server", "is not valid TOML"),
        (f"[limits]\ndepth_max = {'9' * 5000}", "is not valid TOML"),
        (f"[limits]\ndepth_max = {'[' * 100_000}", "is not valid TOML"),
        (f"[limits]\ndepth_max = 0x{'f' * 5000}", "more digits than can be shown: must be a whole number"),
        (f"[limits]\ndepth_max = {'9' * 400}", r"limits\.depth_max = 9+\.\.\.: must be a whole number"),
        (f"[timeouts]\nidle_timeout_s = -{'9' * 400}", r"idle_timeout_s = -9+\.\.\.: must be a number"),
        ("[limits]\nchanges_default = 50\nchanges_max = 10", "must not exceed"),
        ("[limits]\nmessage_bytes_max = 512\nframe_bytes_max = 256", "exceed limits.frame_bytes_max = 256"),
        (
            '[limits]\ndocument_bytes_max = "65 MiB"',
            r"document_bytes_max = 68_157_440: must not exceed limits\.unfinished_bytes_max = 67_108_864",
        ),
        ("[timeouts]\nreconnect_min_s = 31", r"must not exceed timeouts\.reconnect_max_s = 30"),
        ("[redis]\nnode_lease_s = 3", r"node_heartbeat_s = 3: must be below redis\.node_lease_s = 3"),
        ('[server]\ntls_cert = "a"', "go together"),
        ('[redis]\nurls = ["redis://a"]\ncluster_url = "redis://b"', "exclude each other"),
    ],
)
def test_a_wrong_file_is_refused_with_name_value_and_way_out(tmp_path: Path, text: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        load(written(tmp_path, text), environ={})


@pytest.mark.parametrize(
    "origin", ["*", "null", "file://", "https://a.example/", "http://[::1]:3000", "capacitor://localhost"]
)
def test_what_browsers_send_may_be_an_origin(origin: str) -> None:
    assert Config().with_(server={"origins": (origin,)}).server.origins == (origin,)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        (
            {"GATEWAY_LIMITS_DEPTH_MAX": "lots"},
            "environment GATEWAY_LIMITS_DEPTH_MAX: limits.depth_max = 'lots'",
        ),
        ({"GATEWAY_LIMITS_MESSAGE_BYTES_MAX": "10_"}, "message_bytes_max = '10_': must be a whole number"),
        ({"GATEWAY_LIMITS_MESSAGE_BYTES_MAX": "9" * 5000}, "9...: must be a whole number"),
        ({"GATEWAY_AUTH_DEFAULT_GRANTS": f"{{a = {'9' * 5000}}}"}, "9...: must be a table of strings"),
        ({"GATEWAY_SERVER_NODE": "caf\udce9"}, r"server.node = 'caf\udce9': must be printable, in UTF-8"),
        ({"GATEWAY_SERVER_NODE": "a\nb"}, r"server.node = 'a\nb': must be printable"),
        ({"GATEWAY_LIMITS_DEPHT_MAX": "9"}, 'did you mean "depth_max"'),
        ({"GATEWAY_FEATURES_ENABLED": "perhaps"}, "must be true or false"),
        ({"GATEWAY_AUTH_DEFAULT_GRANTS": "event:*"}, "must be a table of strings"),
        ({"GATEWAY_TIMEOUTS_IDLE_TIMEOUT_S": "1e999"}, "must be a number"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(environ: dict[str, str], wanted: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        load(environ=environ)


@pytest.mark.parametrize(
    ("name", "why"),
    [("none", "No such file or directory"), (".", "Is a directory"), ("binary", "it isn't UTF-8 ")],
)
def test_a_missing_or_unreadable_file_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    file = tmp_path / name
    with pytest.raises(ConfigError, match=re.escape(f"can't read the configuration file {file}: {why}")):
        load(file, environ={})


def test_a_file_may_begin_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_text("[limits]\ndepth_max = 9\n", encoding="utf-8-sig")
    assert load(file, environ={}).limits.depth_max == 9


def test_a_section_checks_its_values_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match=r"limits\.depth_max = 1"):
        LimitsSettings(depth_max=1)


def test_a_copy_with_changes_is_checked_and_remembers_them() -> None:
    config = Config().with_(limits={"operations_per_minute": 0}, server={"port": 0, "data_dir": "x"})
    assert (config.limits.operations_per_minute, config.server.port, config.server.data_dir) == (0, 0, "x")
    assert Config().limits.operations_per_minute == 100
    assert source_of(config, "server.port") == "code"
    with pytest.raises(ConfigError, match=r"limits\.operations_per_minute"):
        config.with_(limits={"operations_per_minute": -1})
    with pytest.raises(ConfigError, match='did you mean "limits"'):
        config.with_(limit={"depth_max": 9})
    with pytest.raises(ConfigError, match='did you mean "depth_max"'):
        config.with_(limits={"depth_mx": 9})


def test_an_error_does_not_show_a_password() -> None:
    with pytest.raises(ConfigError, match=r"redis\.urls = \(not shown\): must be a list of strings"):
        load(overrides={"redis.urls": 5}, environ={})


def test_sections_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Config().limits.depth_max = 3  # type: ignore[misc]


def test_a_configuration_can_be_sent_to_another_process() -> None:
    config = load(overrides={"auth.default_grants": {"*": "viewer"}}, environ={})
    assert pickle.loads(pickle.dumps(config)) == config


def test_rows_show_each_tunable_once_with_unit_bounds_and_help() -> None:
    shown = list(rows(Config()))
    names = [row.name for row in shown]
    assert (
        len(names) == len(set(names)) == sum(len(fields(getattr(Config(), section))) for section in SECTIONS)
    )
    row = next(row for row in shown if row.name == "limits.operations_per_minute")
    assert (row.value, row.unit, row.default, row.source) == (100, "operations/min", 100, "default")
    assert row.bounds == "0 to 10,000,000"
    assert "0 switches" in row.help


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("postgres.dsn", "postgresql://u:hunter2@h/db", "postgresql://u:***@h/db"),
        ("postgres.dsn", "host=h password=hunter2 user=u", "host=h password=*** user=u"),
        ("postgres.dsn", r"host=h password='hunter2 it\'s' user=u", "host=h password=*** user=u"),
        ("redis.urls", ("redis://:hunter2@h:1", "redis://h:2"), ("redis://:***@h:1", "redis://h:2")),
        ("redis.cluster_url", "rediss://u:hunt@er2@h", "rediss://u:***@h"),
        ("redis.cluster_url", "rediss://u:hu/nt er:2@h", "rediss://u:***@h"),
        ("redis.password", 'p@ss:/w"ord', "***"),
        ("redis.password", "", ""),
        ("postgres.password", "a b'c", "***"),
        ("postgres.dsn", "postgresql://h/db?sslmode=require", "postgresql://h/db?sslmode=require"),
        ("authoriser.url", "https://h:8443/may?code=hunter2&v=1", "https://h:8443/may?***"),
        ("authoriser.url", "HTTPS://u:p@h/may?hunter2", "HTTPS://u:***@h/may?***"),
        ("authoriser.url", "https://h/may", "https://h/may"),
        ("search.url", "https://u:hunter2@h:9200", "https://u:***@h:9200"),
        ("tracing.endpoint", "https://u:hunter2@h:4318/v1/traces", "https://u:***@h:4318/v1/traces"),
    ],
)
def test_passwords_are_not_shown(name: str, value: object, shown: object) -> None:
    config = load(overrides={name: value}, environ={})
    assert next(row.value for row in rows(config) if row.name == name) == shown


# ------------------------------------------------------------------------------------ TOML as text


@pytest.mark.parametrize("section", SECTIONS)
def test_what_gateway_config_prints_is_taken_by_the_command_line_and_the_environment(section: str) -> None:
    for item in fields(getattr(Config(), section)):
        default = getattr(getattr(Config(), section), item.name)
        if of(item).secret and isinstance(default, str):
            continue  # shown as ***, and taken as it is
        for given in (
            load(overrides={f"{section}.{item.name}": in_toml(default)}, environ={}),
            load(environ={f"GATEWAY_{section}_{item.name}".upper(): in_toml(default)}),
        ):
            assert getattr(getattr(given, section), item.name) == default


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server.origins", ("http://a",)),
        ("features.segments", ("http://a", "https://b,c", 'quo"ted', "back\\slash", "né 👩", "\x7f", "a\tb")),
        ("server.origins", ()),
        ("auth.default_grants", {"event:*": "viewer", "a,b=c": "editor"}),
        ("auth.default_grants", {}),
        ("server.node", 'a "node"'),
        ("redis.urls", ("redis://:p,w@h:1", "redis://h:2")),
    ],
)
def test_lists_and_tables_of_any_strings_survive_as_text(name: str, value: Any) -> None:
    section, _, key = name.partition(".")
    assert getattr(getattr(load(overrides={name: in_toml(value)}, environ={}), section), key) == value


@pytest.mark.parametrize("text", ["", " ", ","])
def test_empty_text_is_an_empty_list_or_table(text: str) -> None:
    from_environment = load(environ={"GATEWAY_SERVER_ORIGINS": text, "GATEWAY_AUTH_DEFAULT_GRANTS": text})
    from_command_line = load(overrides={"server.origins": text, "auth.default_grants": text}, environ={})
    for config in (from_environment, from_command_line):
        assert (config.server.origins, config.auth.default_grants) == ((), {})


def test_the_shorter_forms_are_taken_too() -> None:
    config = load(overrides={"server.origins": "http://a, http://b", "server.node": "plain"}, environ={})
    assert config.server.origins == ("http://a", "http://b")
    assert config.server.node == "plain"


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("server.origins", '["http://a"', r'a list of strings, such as \["a", "b"\]'),
        ("server.origins", "[1, 2]", "a list of strings"),
        ("server.origins", '["a"]\nport = 1', "a list of strings"),
        ("auth.default_grants", '{"event:*" = 1}', "a table of strings"),
        ("auth.default_grants", '{"event:*": "viewer"}', "a table of strings, such as"),
        ("auth.default_grants", "{" * 5000, "a table of strings"),
    ],
)
def test_text_that_looks_like_toml_and_isn_t_is_refused(name: str, text: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        load(overrides={name: text}, environ={})


def test_changes_between_two_configurations_have_names() -> None:
    changed = Config().with_(server={"origins": ("http://a",)}, features={"kill_switch": True})
    assert changed_settings(Config(), changed) == {"server.origins", "features.kill_switch"}
    assert changed_settings(changed, changed) == set()


# -------------------------------------------------------------------------------------- passwords

ODD = """ p@s:s/w"o'r\\d %?#& é"""


def test_a_password_comes_from_the_environment_or_a_file_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(ODD + "\n", encoding="utf-8")
    quoted = f'"{ODD}"'
    assert password_of(load(environ={"GATEWAY_REDIS_PASSWORD": ODD}).redis, "redis") == ODD
    assert password_of(load(environ={"GATEWAY_REDIS_PASSWORD": quoted}).redis, "redis") == quoted
    from_file = load(environ={"GATEWAY_POSTGRES_PASSWORD_FILE": str(file)})
    assert password_of(from_file.postgres, "postgres") == ODD
    assert password_of(Config().redis, "redis") == ""


def test_a_password_file_that_can_not_be_used_says_so(tmp_path: Path) -> None:
    for settings, wanted in (
        ({"password_file": str(tmp_path / "none")}, "can't read redis.password_file"),
        ({"password_file": str(tmp_path)}, "can't read redis.password_file"),
        ({"password_file": str(tmp_path / "empty")}, "is empty"),
        ({"password_file": "x", "password": "y"}, "exclude each other"),
    ):
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(ConfigError, match=wanted):
            password_of(Config().with_(redis=settings).redis, "redis")


def test_a_password_that_stands_apart_is_for_an_address_without_one() -> None:
    assert parse("redis://h:1", ODD).password == ODD
    assert parse("redis://:own@h:1", ODD).password == "own"
    postgres = Config().with_(postgres={"dsn": "postgresql://u@h/db", "password": ODD}).postgres
    assert conninfo_to_dict(dsn_of(postgres))["password"] == ODD
    given = Config().with_(postgres={"dsn": "postgresql://u:own@h/db", "password": ODD}).postgres
    assert dsn_of(given) == "postgresql://u:own@h/db"


@pytest.mark.parametrize("password", ["", "x"])
@pytest.mark.parametrize(
    "dsn",
    [
        "no = such = thing",
        "mysql://h/db",
        "host=h,10.0.0..6 dbname=db",
        "hostaddr=10.0.0..6 dbname=db",
        "hostaddr=10.0.0.6,localhost",
        "postgresql://u@h:abc/db",
        "postgresql://h:5432,i:0/db",
        "host=h port=65536",
    ],
)
def test_what_names_no_database_is_a_wrong_setting_and_not_waited_for(dsn: str, password: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://USER@HOST/DATABASE"):
        dsn_of(Config().with_(postgres={"dsn": dsn, "password": password}).postgres)


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "dbname=db",
        "postgresql:///db?host=/run/../run",
        "host=::1,h dbname=db",
        "postgresql://h:65535,[::1],i:1/db",
        "hostaddr=10.0.0.6,,fe80::1%eth0 port=5432 dbname=db",
    ],
)
def test_a_database_may_be_anywhere(dsn: str) -> None:
    assert dsn_of(Config().with_(postgres={"dsn": dsn}).postgres) == dsn
