"""What `make manifests` writes is what stands there, and the image's locks are the project's."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from docs import chart
from tests.support.helm import Helm

RUNTIME = ("kubernetes", "otel", "postgresql")


def pages() -> dict[Path, str]:
    return {
        chart.CHART / "values.schema.json": chart.schema_text(),
        chart.CHART / "README.md": chart.readme(),
        **chart.crd_templates(),
    }


@pytest.mark.parametrize(("path", "text"), [pytest.param(path, text, id=path.name) for path, text in pages().items()])
def test_the_chart_is_what_its_sources_say(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `make manifests`"


def test_the_manifests_are_what_the_chart_renders(helm: Helm) -> None:
    for path, text in chart.rendered(helm.program).items():
        assert path.read_text() == text, "run `make manifests`"


def test_the_kustomization_names_all_manifests() -> None:
    kustomization = yaml.safe_load((chart.MANIFESTS / "kustomization.yaml").read_text())
    files = {file.name for file in chart.MANIFESTS.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    version = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["appVersion"]
    assert kustomization["images"] == [{"name": "durable-timer", "newTag": version}]


def test_the_image_has_what_the_lock_pins_and_no_tools() -> None:
    everything, runtime, build = (
        locked(name) for name in ("requirements", "requirements-runtime", "requirements-build")
    )
    assert runtime.items() <= everything.items(), "run `make lock`"
    assert build.items() <= everything.items(), "run `make lock`"
    project = tomllib.loads((chart.ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for name in RUNTIME for line in project["optional-dependencies"][name]]
    needed = {Requirement(line).name for line in [*project["dependencies"], *extras]}
    assert needed <= runtime.keys()
    assert not {"pytest", "mypy", "ruff", "hypothesis", "uv", "pip"} & runtime.keys()


def locked(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes of each package of a lock."""
    text = (chart.ROOT / f"{name}.lock").read_text()
    found = re.findall(r"^([a-z0-9-]+)==([^\s;]+)[^\n]*\n((?: +--hash=.*\n)+)", text, re.MULTILINE)
    return {package: (version, frozenset(re.findall(r"sha256:\w+", hashes))) for package, version, hashes in found}
