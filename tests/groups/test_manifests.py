from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_timer.errors import ManifestError
from durable_timer.groups import load_manifests
from durable_timer.models.group import TimerGroupSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = "apiVersion: durabletimer.dev/v1alpha1\nkind: TimerGroup\n"


def group(name: str, spec: str = "{}") -> str:
    return f"{HEAD}metadata: {{name: {name}}}\nspec: {spec}\n"


def refusals(path: Path) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(ManifestError) as caught:
        load_manifests(path)
    folder = path if path.is_dir() else path.parent
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "g.yaml"


def test_the_example_is_the_group_demo() -> None:
    (demo,) = load_manifests(EXAMPLES / "timergroup.yaml")
    assert demo.manifest.group_id == "demo"
    assert demo.owner == "file:demo"
    spec = demo.manifest.spec
    assert spec == TimerGroupSpec(callback=spec.callback.model_copy(update={"max_in_flight": 100}))


def test_what_the_example_has_as_comments_can_be_taken_up(tmp_path: Path) -> None:
    text = (EXAMPLES / "timergroup.yaml").read_text()
    file = tmp_path / "example.yaml"
    file.write_text(re.sub(r"(?m)^( +)# (groupId:|rateLimit:|signing:|schema:|  )", r"\1\2", text))
    (demo,) = load_manifests(file)
    spec = demo.manifest.spec
    assert spec.group_id
    assert spec.callback.rate_limit
    assert spec.callback.signing
    assert spec.payload.json_schema


def test_a_folders_files_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(group("b1") + "---\n" + group("b2"))
    (tmp_path / "a.yaml").write_text(group("a"))
    (tmp_path / "c.json").write_text(
        '{"apiVersion": "durabletimer.dev/v1alpha1", "kind": "TimerGroup",\n\t"metadata": {"name": "c"}, "spec": {}}'
    )
    (tmp_path / "README.md").write_text("not a manifest")
    (tmp_path / "d.yaml").mkdir()
    assert [one.manifest.group_id for one in load_manifests(tmp_path)] == ["a", "b1", "b2", "c"]
    assert [one.manifest.group_id for one in load_manifests(EXAMPLES / "groups")] == [
        "invoices",
        "reminders",
        "reminder-events",
    ]


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "---\n---\n", "\ufeff"])
def test_an_empty_file_has_no_groups(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_manifests(file) == []


def test_every_wrong_field_of_every_document_is_named_with_its_line(file: Path) -> None:
    file.write_text(
        "apiVersion: durabletimer.dev/v1\n"
        "kind: TimerGroup\n"
        "metadata: {name: Demo}\n"
        "spec:\n"
        "  shard: 3\n"
        "---\n"
        f"{HEAD}"
        "metadata:\n"
        "  name: x\n"
        "spec:\n"
        '  shards: "16"\n'
        "  paused: maybe\n"
        "  callback:\n"
        "    timeout: 10\n"
        "    method: HEAD\n"
        "    maxInFlight: 0\n"
        "    signing:\n"
        "      secretRefs:\n"
        "        - {name: a, key: b}\n"
        "        - name: a\n"
        "  retryPolicy:\n"
        "    initialInterval: 1h\n"
        "  payload:\n"
        "    schema: {type: nonsense}\n"
        "  retention: [1]\n"
        "---\n"
        f"{HEAD}"
        "metadata: {}\n"
    )
    characters = "lower-case letters, digits and, inside, hyphens and dots"
    no_type = "\"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword"
    assert refusals(file) == [
        "g.yaml:1: apiVersion: must be 'durabletimer.dev/v1alpha1', not \"durabletimer.dev/v1\"",
        f'g.yaml:3: metadata.name: must be a DNS name ({characters}), not "Demo"',
        "g.yaml:5: spec.shard: is not a field here; did you mean shards?",
        'g.yaml:12: spec.shards: must be a valid integer, not "16"',
        'g.yaml:13: spec.paused: must be a valid boolean, not "maybe"',
        "g.yaml:15: spec.callback.timeout: must be a duration string such as 10s, not 10",
        "g.yaml:16: spec.callback.method: must be 'POST', 'PUT', 'PATCH', 'GET' or 'DELETE', not \"HEAD\"",
        "g.yaml:17: spec.callback.maxInFlight: must be greater than or equal to 1, not 0",
        "g.yaml:21: spec.callback.signing.secretRefs[1].key: is required",
        "g.yaml:22: spec.retryPolicy: maxInterval (15m) must be at least initialInterval (1h)",
        f"g.yaml:25: spec.payload.schema: must be a valid JSON Schema: {no_type}",
        "g.yaml:26: spec.retention: must be a mapping, not [1]",
        "g.yaml:28: spec: is required",
        "g.yaml:30: metadata.name: is required",
    ]


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("kind: Timer\n", "g.yaml:1: kind: a Timer is declared in Kubernetes only; create it over REST here"),
        ("\nkind: ConfigMap\n", 'g.yaml:2: kind: must be TimerGroup, not "ConfigMap"'),
        ("kind: List\nitems: []\n", 'g.yaml:1: kind: must be TimerGroup, not "List"'),
        ("- a\n", 'g.yaml:1: must be a mapping, not ["a"]'),
        ("text\n", 'g.yaml:1: must be a mapping, not "text"'),
        (group("x", "{shards: 1, shards: 2}"), "g.yaml:4: spec.shards: must be given once; it is on line 4, too"),
        (group("x", "{shards: !!binary aGk=}"), "g.yaml:4: spec.shards: must be plain YAML, without tag:yaml.org,2002:binary"),
        (group("x", "{shards: !!python/object:os.system 1}"),
         "g.yaml:4: spec.shards: must be plain YAML, without tag:yaml.org,2002:python/object:os.system"),
        (group("x", "{? [a] : 1}"), "g.yaml:4: spec: must have plain keys only (no merge keys, no lists)"),
        (group("x", "{<<: {shards: 2}}"), "g.yaml:4: spec: must have plain keys only (no merge keys, no lists)"),
        (group("x", "{payload: {schema: {const: .nan}}}"), "g.yaml:4: spec.payload.schema.const: must be a finite number"),
        (group("x", "{payload: {schema: {const: 18446744073709551616}}}"),
         "g.yaml:4: spec.payload.schema.const: must be an integer of 64 bits"),
        (group("x") + "a: [1\n", "g.yaml:6: must be YAML: expected ',' or ']', but got '<stream end>'"),
        (group("x", "*nothing"), "g.yaml:4: must be YAML: found undefined alias 'nothing'"),
        (group("x", "&again {payload: *again}"), "g.yaml:4: spec.payload.payload: must not nest deeper than 64 levels"),
        (group("x", "[" * 4000), "g.yaml:1: must not nest deeper than 64 levels"),
        ("a: \x01\n", "g.yaml:1: must be YAML: special characters are not allowed (character 3)"),
    ],
    ids=lambda part: repr(part)[-40:],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_with_its_line(file: Path, text: str, refusal: str) -> None:
    file.write_text(text)
    assert refusal in refusals(file)


def test_a_document_of_aliases_of_aliases_ends(file: Path) -> None:
    levels = "".join(f"    l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))
    file.write_text(group("x", f"\n  payload:\n   schema:\n    l0: &l0 [a]\n{levels}"))
    assert any("must have at most 50000 values" in line for line in refusals(file))


def test_dates_in_a_schema_stay_text(file: Path) -> None:
    file.write_text(group("x", "{payload: {schema: {const: 2026-01-01}}}"))
    (one,) = load_manifests(file)
    assert one.manifest.spec.payload.json_schema == {"const": "2026-01-01"}


def test_a_json_file_may_escape_what_it_likes(tmp_path: Path) -> None:
    file = tmp_path / "g.json"
    schema = {"const": "\U0001f600 \t / ä", "\U0001f600": 1}
    spec = {"payload": {"schema": schema}}
    document = {
        "apiVersion": "durabletimer.dev/v1alpha1",
        "kind": "TimerGroup",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    file.write_text(json.dumps(document, indent="\t").replace("/", "\\/"))
    (one,) = load_manifests(file)
    assert one.manifest.spec.payload.json_schema == schema


def test_half_a_character_is_refused(file: Path) -> None:
    file.write_text(group("x", '{payload: {schema: {const: "\\ud83d", "\\ude00": 1}}}'))
    assert refusals(file) == [
        "g.yaml:4: spec.payload.schema.const: must be text of whole characters",
        "g.yaml:4: spec.payload.schema: must be text of whole characters",
    ]


def test_what_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes(group("x").encode() + b"# \xff\n")
    assert refusals(file) == ["g.yaml:1: must be UTF-8"]


def test_a_group_is_declared_once_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(group("one") + "---\n" + group("two"))
    (tmp_path / "b.yaml").write_text(group("three", "{groupId: two}"))
    assert refusals(tmp_path) == [
        f"b.yaml:4: spec.groupId: group 'two' is declared in {tmp_path}/a.yaml:8, too",
    ]


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(ManifestError, match=r"g\.yaml: cannot be read: No such file"):
        load_manifests(file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="{}[]:-&*!|>#'\"\n ab01?,", max_size=60))
def test_any_text_is_read_or_refused(file: Path, text: str) -> None:
    file.write_text(group("x", "{}") + "---\n" + text, encoding="utf-8", errors="replace")
    try:
        load_manifests(file)
    except ManifestError as error:
        assert str(error).startswith(str(file))  # noqa: PT017 - other texts are right
