"""The architecture as tests: directions of imports, sizes, dependencies, banned patterns."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("engine", "sdseg_gui")
LONGEST_FILE = 400
LONGEST_FUNCTION = 40  # lines, without the docstring
LONGEST_MEDIAN = 12
MAY_PRINT = ("engine/cli/", "sdseg_gui/__main__.py", "sdseg_gui/commands.py", "sdseg_gui/app.py")
NETWORK = {"socket", "ssl", "http", "urllib", "urllib3", "requests", "httpx", "huggingface_hub"}
UNPICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
PARTS_OF_QT = {"PySide6", "shiboken6"}
# What only packages that are imported import: pydicom's decoders, MONAI's distances.
FOR_OTHERS = {"pylibjpeg", "pylibjpeg-openjpeg", "pyjpegls", "scipy"}
DIRECT = {  # module -> the package that brings it
    "PySide6": "pyside6-essentials",
    "torch": "torch",
    "diffusers": "diffusers",
    "numpy": "numpy",
    "pydicom": "pydicom",
    "nibabel": "nibabel",
    "monai": "monai",
    "qimage2ndarray": "qimage2ndarray",
    "pyqtgraph": "pyqtgraph",
}
ALLOWED_AT_THE_TOP = {
    "main.py", "pyproject.toml", "engine", "sdseg_gui", "resources", "tests",
    "docs", "benchmarks", "Makefile", "README.md", "CONTRIBUTING.md", "LICENSE",
    "THIRD_PARTY_NOTICES.md",
    "requirements.lock", ".ci", ".gitignore", ".gitattributes", ".pre-commit-config.yaml",
}  # fmt: skip


@lru_cache(maxsize=1)
def trees() -> dict[str, ast.Module]:
    """Every source file of the program, parsed: path from the root -> tree."""
    files = [f for name in SOURCE for f in sorted((ROOT / name).rglob("*.py"))] + [ROOT / "main.py"]
    return {f.relative_to(ROOT).as_posix(): ast.parse(f.read_text("utf-8")) for f in files}


@lru_cache(maxsize=1)
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def functions() -> Iterator[tuple[str, int]]:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    words = node.body[0]
                    assert words.end_lineno is not None
                    length -= words.end_lineno - words.lineno + 1
                yield f"{path}:{node.lineno} {node.name}", length


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of the modules that a file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(place, written name, call) of every call in the source."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield f"{path}:{node.lineno}", ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str, str]:
    return {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg}


def requirements(*lists: list[str]) -> dict[str, Requirement]:
    found = [Requirement(text) for some in lists for text in some]
    return {canonicalize_name(r.name): r for r in found}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after some code."""
    full = f"import sys\n{code}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", full], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


# Directions


def test_the_import_contracts_hold() -> None:
    code = "from importlinter.cli import lint_imports_command as run; run()"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert run.returncode == 0, run.stdout
    assert re.search(r"Contracts: [4-9] kept, 0 broken", run.stdout)


def test_no_module_of_the_engine_names_qt() -> None:
    qt = {"PySide6", "shiboken6", "pyqtgraph", "qimage2ndarray", "sdseg_gui"}
    found = {path: imported(tree) & qt for path, tree in trees().items() if path[:6] == "engine"}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_window_starts_without_the_heavy_packages() -> None:
    heavy = {
        "torch", "diffusers", "monai", "transformers", "nibabel", "pydicom", "SimpleITK",
        "highdicom", "scipy", "skimage", "PIL", "nilearn", "tifffile",
    }  # fmt: skip
    loaded = loaded_by("import sdseg_gui.app")
    assert "PySide6" in loaded and loaded & heavy == set()


@pytest.mark.parametrize(
    "code",
    [
        "import sdseg_gui.commands",
        "import sdseg_gui.__main__ as m; m.main(['--help'])",
        "from engine.cli.main import build_parser; build_parser()",
        "import engine.io, engine.models.store, engine.models.card, engine.system.children",
    ],
)
def test_what_is_quick_loads_neither_qt_nor_torch(code: str) -> None:
    heavy = {"PySide6", "pyqtgraph", "torch", "diffusers", "scipy", "nibabel", "pydicom", "monai"}
    assert loaded_by(code) & heavy == set()


@pytest.mark.parametrize("module", ["engine.cli.segment_run", "engine.training.finish"])
def test_neither_masks_nor_training_wait_for_the_metrics(module: str) -> None:
    loaded = loaded_by(f"import {module}, engine.sdseg.segmenter")
    assert "torch" in loaded and "monai" not in loaded


def test_the_command_table_needs_nothing_but_python() -> None:
    assert imported(trees()["sdseg_gui/commands.py"]) <= {"__future__", "dataclasses"}
    assert "numpy" not in loaded_by("import sdseg_gui.commands")


# Sizes


def test_no_file_is_too_long() -> None:
    lengths = {p: len((ROOT / p).read_text("utf-8").splitlines()) for p in trees()}
    assert len(lengths) > 80
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_too_long_and_most_are_short() -> None:
    lengths = dict(functions())
    assert len(lengths) > 500
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}
    assert statistics.median(lengths.values()) < LONGEST_MEDIAN


# Dependencies


@pytest.mark.parametrize("module", DIRECT)
def test_a_promised_package_is_a_direct_dependency_and_used(module: str) -> None:
    assert DIRECT[module] in requirements(project()["dependencies"])
    users = [path for path, tree in trees().items() if module in imported(tree)]
    assert users, f"nothing imports {module}"


def test_pytest_qt_is_a_dependency_of_the_tests_and_used() -> None:
    assert "pytest-qt" in requirements(project()["optional-dependencies"]["dev"])
    texts = [f.read_text("utf-8") for f in (ROOT / "tests").rglob("*.py")]
    assert any("from pytestqt" in text for text in texts)
    assert any("qtbot" in text for text in texts)


def test_every_import_is_declared_and_every_dependency_imported() -> None:
    used = {name for tree in trees().values() for name in imported(tree)}
    outside = used - set(sys.stdlib_module_names) - set(SOURCE) - PARTS_OF_QT
    packages = packages_distributions()
    needed = {canonicalize_name(packages[name][0]) for name in outside} | {DIRECT["PySide6"]}
    assert needed | FOR_OTHERS == set(requirements(project()["dependencies"]))


def test_the_lock_pins_what_the_project_asks_for() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    assert lines.count("torch==2.13.0") == 1
    pins = requirements([line for line in lines if line and not line.startswith("#")])
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) for pin in pins.values())
    extras = project()["optional-dependencies"]
    wanted = requirements(project()["dependencies"], extras["train"], extras["dev"])
    for name, requirement in wanted.items():
        version = str(pins[name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), name
    assert not set(pins) & {"transformers", "pylibjpeg-libjpeg", "pyqt5", "pyqt6"}


def test_what_the_project_file_names_is_there() -> None:
    named = [project()["readme"], *project()["license-files"]]
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert project()["scripts"] == {"sdseg": "sdseg_gui.__main__:main"}


def test_a_wheel_carries_the_resources_where_they_are_looked_for() -> None:
    from engine.system.resources import WHEEL_FOLDER

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]
    wheel = settings["build"]["targets"]["wheel"]
    assert sorted(wheel["packages"]) == ["engine", "sdseg_gui"]
    assert wheel["force-include"] == {"resources": f"engine/{WHEEL_FOLDER}"}


def test_the_top_level_is_as_agreed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: files of other tools can't be told apart")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = {line.strip('"').split("/")[0] for line in run.stdout.splitlines()}
    assert names <= ALLOWED_AT_THE_TOP
    assert {"main.py", "pyproject.toml", "engine", "sdseg_gui", "resources", "tests"} <= names


# Banned


def test_nothing_unpickles_runs_text_or_starts_a_shell() -> None:
    found = {path: imported(tree) & UNPICKLES for path, tree in trees().items()}
    assert {path: names for path, names in found.items() if names} == {}
    banned = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.jit.load"}
    assert [place for place, name, _ in calls() if name in banned] == []
    for place, _, call in calls():
        assert keywords(call).get("allow_pickle", "False") == "False", place
        assert keywords(call).get("shell", "False") == "False", place


def test_torch_load_is_used_in_two_places_and_only_for_weights() -> None:
    loads = [(place, call) for place, name, call in calls() if name == "torch.load"]
    assert {place.split(":")[0] for place, _ in loads} <= {
        "engine/sdseg/trunk.py",
        "engine/sdseg/unpickle.py",
    }
    assert all(keywords(call).get("weights_only") == "True" for _, call in loads)


def test_no_error_is_swallowed_whole() -> None:
    bare = [
        f"{path}:{node.lineno}"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def test_only_the_command_line_prints() -> None:
    printed = [place for place, name, _ in calls() if name == "print"]
    assert [place for place in printed if not place.startswith(MAY_PRINT)] == []
    assert printed


def test_a_volume_is_never_read_as_float64() -> None:
    assert [place for place, name, _ in calls() if name.endswith("get_fdata")] == []


def test_the_program_has_one_way_to_the_network_and_one_command_takes_it() -> None:
    found = {path for path, tree in trees().items() if imported(tree) & NETWORK}
    assert found == {"engine/models/hub.py"}
    users = {"engine.models.hub", "engine.models.download", "engine.models.pull"}
    takers = {
        path
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in users
    }
    assert takers == {
        "engine/models/download.py", "engine/models/pull.py", "engine/cli/models.py",
    }  # fmt: skip


def test_the_libraries_are_told_to_stay_offline() -> None:
    code = (
        "import contextlib, io, os\n"
        "os.environ.pop('HF_HUB_OFFLINE', None)\n"
        "from sdseg_gui.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        "assert os.environ['HF_HUB_OFFLINE'] == '1'"
    )
    loaded_by(code)


def test_the_engine_refuses_input_by_its_own_error_not_by_assert() -> None:
    asserts = [
        f"{path}:{node.lineno}"
        for path, tree in trees().items()
        if path.startswith("engine/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert asserts == []
