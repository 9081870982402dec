"""Metadata for the package index, conda and citations agree with each other."""

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

import keras_smooth
from keras_smooth import checks

ROOT = Path(__file__).parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text()
RECIPE = (ROOT / "recipe" / "meta.yaml").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
CONDA_NAMES = {"matplotlib-base": "matplotlib"}


def requirements(text: str) -> dict[str, str]:
    """Returns the bounds of packages by name, from lines of either file."""
    bounds = re.findall(r'^ +(?:"|- )([\w-]+) ?(>=[\d.]+)', text, re.MULTILINE)
    return {CONDA_NAMES.get(name, name): bound for name, bound in bounds}


def own_requirements() -> dict[str, str]:
    dependencies = re.search(
        r"^dependencies = \[(.*?)^\]", PROJECT, re.DOTALL | re.MULTILINE
    )[1]
    return requirements(dependencies)


def test_dependencies_would_replace_no_other_packages():
    """TensorFlow beside another build, Keras over keras-nightly, and NumPy 2 instead of 1."""
    replacing = {"tensorflow", "keras", "matplotlib"}
    assert own_requirements() and not replacing & set(own_requirements())
    bounds = ", ".join(f'"{name}>={version}"' for name, version in checks.OLDEST.items())
    assert f'\ntensorflow = ["keras-smooth[plot]", {bounds}]\n' in PROJECT


def test_conda_recipe_has_the_dependencies():
    """Also those of the extra `tensorflow`: conda respects installed packages, and its builds
    of TensorFlow have one name.
    """
    python = re.search(r'requires-python = "(.*)"', PROJECT)[1]
    run = RECIPE.partition("  run:\n")[2].partition("\ntest:")[0]
    oldest = {name: f">={version}" for name, version in checks.OLDEST.items()}
    plot = re.search(r'plot = \["matplotlib(.*)"\]', PROJECT)[1]
    extras = {"matplotlib": plot, **oldest}
    assert requirements(run) == {"python": python, **extras, **own_requirements()}


def test_conda_recipe_has_the_version():
    assert f'set version = "{keras_smooth.__version__}"' in RECIPE


def test_citation_is_of_the_last_release():
    citation = (ROOT / "CITATION.cff").read_text()
    version, date = re.search(r"^## \[([\d.]+)\] - (\S+)", CHANGELOG, re.MULTILINE).groups()
    assert f"\nversion: {version}\n" in citation
    assert f'\ndate-released: "{date}"\n' in citation


def test_documented_python_versions_are_the_classifiers():
    classified = re.findall(r"Python :: (3\.\d+)", PROJECT)
    page = (ROOT / "docs" / "versions.md").read_text()
    assert f"Python {classified[0]} to {classified[-1]}" in page


@pytest.mark.parametrize(("package", "column"), [("tensorflow", 0), ("keras", 1)])
def test_oldest_supported_versions_are_in_the_tested_table(package, column):
    page = (ROOT / "docs" / "versions.md").read_text()
    tested = re.findall(r"^\| (\d\.\d+)\S* \| (\d\.\d+)\S* \|", page, re.MULTILINE)
    minor = min((row[column] for row in tested), key=lambda text: int(text.split(".")[1]))
    assert minor == checks.OLDEST[package]


@pytest.mark.skipif(not RELEASE.exists(), reason="the sdist has no workflows")
def test_release_turns_relative_links_into_addresses(tmp_path):
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    step = re.search(
        r"- name: Addresses\n +run: \|\n((?: {10}.*\n|\n)+)", RELEASE.read_text()
    )
    variables = {
        "GITHUB_SERVER_URL": "https://example.org",
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_REF_NAME": "v1.2.3",
    }
    script = textwrap.dedent(step[1])
    subprocess.run(
        ["bash", "-ec", script], cwd=tmp_path, env={**os.environ, **variables}, check=True
    )
    links = re.findall(r"\]\(([^)]*)\)", (tmp_path / "README.md").read_text())
    assert [link for link in links if not link.startswith("https://")] == []
    images = re.findall(r"!\[[^]]*\]\(([^)]*)\)", (tmp_path / "README.md").read_text())
    assert images and all("/owner/name/raw/v1.2.3/docs/" in image for image in images)
    assert "[project.urls]" in (tmp_path / "pyproject.toml").read_text()


def test_command_is_a_module_beside_the_package():
    """Importing the package would import TensorFlow even if the command does not need it."""
    script = re.search(r'^keras-smooth = "(\w+):main"$', PROJECT, re.MULTILINE)[1]
    source = re.search(rf'^"(.+)" = "{script}.py"$', PROJECT, re.MULTILINE)[1]
    assert "def main()" in (ROOT / source).read_text()
    assert f"- keras-smooth = {script}:main" in RECIPE
