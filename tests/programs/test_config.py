"""Where settings come from, which wins, and what a wrong one is told."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from durable_timer.cli import cli
from durable_timer.config import Settings, load
from durable_timer.config.sources import setting_names
from durable_timer.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(f"DURABLE_TIMER_{name.replace('.', '__').upper()}", raising=False)


def refusal(file: Path | None = None, **flags: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, {name.replace("__", "."): value for name, value in flags.items()})
    return str(caught.value)


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("listen: ':1'\npool: file\nengine: {slots: 1, slots_per_target: 1}\n")
    monkeypatch.setenv("DURABLE_TIMER_LISTEN", ":2")
    monkeypatch.setenv("DURABLE_TIMER_ENGINE__SLOTS", "2")
    settings = load(file, {"listen": ":3", "store": None})
    assert settings.listen == ":3"
    assert (settings.engine.slots, settings.engine.slots_per_target) == (2, 1)
    assert settings.pool == "file"
    assert settings.store == "sqlite:///durable-timer.sqlite"


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    as_yaml, as_toml = tmp_path / "a.yaml", tmp_path / "a.toml"
    as_yaml.write_text("listen: ':9'\nengine:\n  look_ahead: 50ms\n  deny_private_targets: false\n")
    as_toml.write_text("listen = ':9'\n[engine]\nlook_ahead = '50ms'\ndeny_private_targets = false\n")
    name = {"member_name": "one"}
    assert load(as_yaml, name) == load(as_toml, name)
    assert load(as_yaml, name).engine.look_ahead == timedelta(milliseconds=50)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing yet\n")
    assert load(file, {"member_name": "one"}) == load(None, {"member_name": "one"})


def test_an_unknown_key_is_named_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("engine: {slot: 1}\nlisten_on: ':1'\n")
    message = refusal(file)
    assert f"{file}: engine.slot: no such setting; did you mean engine.slots?" in message
    assert f"{file}: listen_on: no such setting" in message


def test_an_unknown_variable_of_a_part_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TIMER_ENGINE__SLOT", "1")
    assert "DURABLE_TIMER_ENGINE__SLOT: no such setting; did you mean engine.slots?" in refusal()


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TIMER_GROUPS", "")
    monkeypatch.setenv("DURABLE_TIMER_ENGINE__SLOTS", "")
    settings = load(None, {})
    assert settings.groups is None
    assert settings.engine.slots == 1000


def test_variables_that_kubernetes_adds_for_a_service_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TIMER_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("DURABLE_TIMER_PORT", "tcp://10.0.0.1:80")
    assert load(None, {}).listen == "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("listen: [", ":1: must be YAML"),
        ("- listen", "must be a mapping of settings"),
        ("engine: 3", "engine: must be a valid dictionary"),
    ],
)
def test_a_file_that_is_no_settings_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    assert said in refusal(file)


def test_broken_toml_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("listen = ")
    assert f"{file}: must be TOML" in refusal(file)
    assert f"{tmp_path / 'none.yaml'}: cannot be read: No such file" in refusal(tmp_path / "none.yaml")


BOUNDS = [
    ("listen", "localhost:0", "localhost"),
    ("listen", "[::1]:65535", "[::1]:65536"),
    ("engine.look_ahead", "0s", "soon"),
    ("engine.look_ahead", "1s", "1001ms"),
    ("engine.slots", "1", "0"),
    ("engine.slots", "10000", "10001"),
    ("engine.slots_per_target", "1", "0"),
    ("engine.slots_per_target", "10000", "10001"),
    ("engine.max_answer_bytes", "1024", "1023"),
    ("engine.max_answer_bytes", "1048576", "1048577"),
    ("engine.dead_after", "2s", "1999ms"),
    ("engine.trust", "1s", "999ms"),
    ("engine.trust", "1500ms", "1501ms"),
    ("http.request_timeout", "1s", "999ms"),
    ("http.request_timeout", "60s", "60s1ms"),
    ("http.keep_alive", "300s", "300s1ms"),
    ("database.pool_size", "2", "1"),
    ("pool", "a" * 63, "a" * 64),
    ("log.level", "debug", "loud"),
    ("log.format", "json", "xml"),
    ("tracing.endpoint", "http://localhost:4318", "localhost:4318"),
    ("tracing.sample_ratio", "1", "1.1"),
    ("store", "sqlite:///x", "x.sqlite"),
]


@pytest.mark.parametrize(("name", "good", "bad"), BOUNDS)
def test_each_bound_holds_from_both_sides(name: str, good: str, bad: str) -> None:
    load(None, {name: good})
    with pytest.raises(ConfigError, match=r"must|trust") as caught:
        load(None, {name: bad})
    assert name.partition(".")[0] in str(caught.value)


def test_trust_must_end_half_a_second_before_a_death() -> None:
    message = refusal(engine__trust="1900ms")
    assert "trust (1s900ms) must be at least 500ms less than dead_after (2s)" in message


def test_trust_must_outlast_a_beat_and_its_answer() -> None:
    message = refusal(engine__beat_interval="1s", engine__beat_timeout="600ms")
    assert "trust (1s500ms) must be at least beat_interval + beat_timeout (1s600ms)" in message


def test_all_wrong_settings_are_told_at_once_and_by_their_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TIMER_LOG__LEVEL", "loud")
    message = refusal(listen="nowhere", engine__slots="0")
    assert "--listen: must be HOST:PORT" in message
    assert "--set engine.slots: must be at least 1, not '0'" in message
    assert "DURABLE_TIMER_LOG__LEVEL: must be 'debug', 'info', 'warning' or 'error', not 'loud'" in message


def test_a_wrong_store_url_is_not_repeated() -> None:
    assert "secret" not in refusal(store="user:secret@host")
    assert "secret" not in refusal(store="postgresql://user:sec ret secret@host")


def test_config_show_masks_passwords_and_can_be_read_back(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli, ["config", "show", "--store", "postgresql://u:hunter2@h/d", "--set", "tracing.endpoint=http://u:hunter2@h"]
    )
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    shown = yaml.safe_load(result.output)
    assert shown["store"] == "postgresql://u:***@h/d"
    file = tmp_path / "shown.yaml"
    file.write_text(result.output)
    assert load(file, {}).engine == Settings().engine


def test_config_validate_checks_settings_and_manifests(tmp_path: Path) -> None:
    good = CliRunner().invoke(cli, ["config", "validate", "--groups", "examples/timergroup.yaml"])
    assert (good.exit_code, good.output) == (0, "The settings are valid, and so is 1 group.\n")
    manifest = tmp_path / "group.yaml"
    manifest.write_text(
        "apiVersion: durabletimer.dev/v1alpha1\nkind: TimerGroup\nmetadata: {name: a}\nspec: {shard: 3}\n"
    )
    bad = CliRunner().invoke(cli, ["config", "validate", "--groups", str(manifest)])
    assert "spec.shard" in str(bad.exception)


def test_every_setting_can_be_set_by_flag_and_described() -> None:
    for name in setting_names():
        *parts, last = name.split(".")
        model = Settings if not parts else Settings.model_fields[parts[0]].annotation
        assert model is not None
        assert model.model_fields[last].description, name


def test_set_needs_a_name_and_a_value() -> None:
    result = CliRunner().invoke(cli, ["config", "validate", "--set", "engine.slots"])
    assert result.exit_code == 2
    assert "must be NAME=VALUE" in result.output


def test_a_setting_given_twice_is_refused() -> None:
    result = CliRunner().invoke(cli, ["config", "validate", "--listen", ":1", "--set", "listen=:2"])
    assert result.exit_code == 2


@pytest.mark.parametrize("text", ["team-a,team-b", " team-a , team-b,"])
def test_names_are_listed_with_commas(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DURABLE_TIMER_KUBERNETES__SECRET_NAMESPACES", text)
    assert load(None, {}).kubernetes.secret_namespaces == ("team-a", "team-b")
    assert load(None, {"kubernetes.secret_namespaces": "team-c"}).kubernetes.secret_namespaces == ("team-c",)
    file = tmp_path / "settings.yaml"
    file.write_text("kubernetes: {secret_namespaces: [team-d]}\n")
    monkeypatch.delenv("DURABLE_TIMER_KUBERNETES__SECRET_NAMESPACES")
    assert load(file, {}).kubernetes.secret_namespaces == ("team-d",)


def test_a_listed_name_that_is_none_is_refused() -> None:
    assert "--set kubernetes.secret_namespaces.0: must be a DNS label" in refusal(
        kubernetes__secret_namespaces="Team A"
    )
