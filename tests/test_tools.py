"""The tools that check the code are pinned once, and the hooks of a commit and CI run the same ones."""

import re
from importlib.metadata import PackageNotFoundError, version

import pytest
import yaml

from scripts.common.paths import ROOT

PINS = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "tests" / "tools.txt").read_text(), re.M))
HOOKS = [hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]]
CI = (ROOT / ".ci" / "run").read_text()


def test_every_line_is_an_exact_version():
    lines = [line for line in (ROOT / "tests" / "tools.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [f"{name}=={pin}" for name, pin in PINS.items()] == lines


def test_the_hooks_run_the_pinned_tools_and_fetch_none():
    assert {hook["language"] for hook in HOOKS} == {"system"}
    tools = {hook["entry"].split()[0] for hook in HOOKS}
    assert tools | {".venv/bin/pre-commit"} == {f".venv/bin/{name}" for name in PINS}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_ci_runs_what_a_commit_is_checked_with(hook):
    assert f"step {hook['entry']}\n" in CI


def test_ci_installs_the_pins_and_ends_with_the_whole_suite():
    assert "install -q -r tests/tools.txt" in CI
    assert [line for line in CI.splitlines() if "./scripts/test.sh" in line][-1].startswith("./scripts/test.sh -ra --durations=10 <")


@pytest.mark.parametrize("name", PINS)
def test_what_is_installed_is_what_is_pinned(name):
    try:
        assert version(name) == PINS[name]
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed: pip install -r tests/tools.txt")


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    assert commands["test"] == ["./.ci/run"]
    assert commands["image"][:2] == ["python -m scripts.build_image", "python -m scripts.release --check"]
