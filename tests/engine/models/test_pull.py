"""`pull`: from a local folder and from a hub on this computer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.models import download
from engine.models import pull as pull_module
from engine.models.hub import HubFile
from engine.models.pull import Progress, choose_files, is_safe_name, pull
from engine.models.store import list_models, verify
from engine.system import disk
from engine.system.paths import user_data_dir
from tests.engine.models.fake_hub import COMMIT, REPOSITORY, FakeHub, serving
from tests.tiny_model import save_tiny

WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
CONTENT = os.urandom(3_000_000)
TOKEN = "hf_secret"


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = save_tiny(tmp_path_factory.mktemp("hub") / "tiny").folder
    return {
        f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with an autoencoder and things that nobody should take."""
    fake = FakeHub(
        {
            "README.md": b"# Weights\n",
            "vae/config.json": b'{"a": 1}',
            WEIGHTS: CONTENT,
            "run.py": b"raise SystemExit(3)\n",
            "model.ckpt": b"a pickle",
            "model.bin": b"another",
            ".hidden/config.json": b"{}",
        }
    )
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with serving(fake) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield fake


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }


def weights() -> Path:
    return user_data_dir() / "weights" / "owner--name"


def nothing_appeared() -> bool:
    return not weights().exists() and [e for e in list_models()[0] if not e.built_in] == []


# From a hub


def test_starting_weights_are_downloaded_whole_and_nothing_that_can_run(hub: FakeHub) -> None:
    total, there = [], []
    pulled = pull(REPOSITORY, progress=Progress(total.append, there.append))
    wanted = ("README.md", "vae/config.json", WEIGHTS)
    assert files_in(weights()) == {name: hub.files[name] for name in wanted}
    assert (pulled.folder, pulled.commit, pulled.model) == (weights(), COMMIT, None)
    assert sum(there) == total[0] == sum(len(hub.files[name]) for name in wanted)
    assert list((user_data_dir() / "downloads").iterdir()) == []


def test_a_model_goes_into_the_store_intact(hub: FakeHub, model_files: dict[str, bytes]) -> None:
    hub.files = {**model_files, "evil.py": b"1", "notes.json": b"{}"}
    entry = pull(REPOSITORY).model
    assert entry is not None and entry.folder.parent == user_data_dir() / "models"
    assert files_in(entry.folder) == model_files and verify(entry) == []
    assert not (user_data_dir() / "weights").exists()
    with pytest.raises(UserError, match="is there already"):
        pull(REPOSITORY)
    assert len(hub.asked(next(n for n in model_files if n.endswith("safetensors")))) == 1


def test_a_download_that_broke_off_goes_on_where_it_stopped(hub: FakeHub) -> None:
    hub.stop_after[WEIGHTS] = 1_234_567
    with pytest.raises(UserError, match=r"broke off|can't be reached"):
        pull(REPOSITORY)
    assert nothing_appeared()
    (partial,) = (user_data_dir() / "downloads").rglob("*.partial")
    there = partial.read_bytes()
    assert 0 < len(there) <= 1_234_567 and CONTENT.startswith(there)
    told: list[int] = []
    pull(REPOSITORY, progress=Progress(advance=told.append))
    assert [h.get("range") for h in hub.asked(WEIGHTS)] == [None, f"bytes={len(there)}-"]
    assert (weights() / WEIGHTS).read_bytes() == CONTENT
    assert sum(told) == sum(len(c) for c in files_in(weights()).values())
    assert len(hub.asked("vae/config.json")) == 1  # whole files are not fetched again


def test_a_host_that_can_not_begin_elsewhere_sends_all_of_it_again(hub: FakeHub) -> None:
    hub.stop_after[WEIGHTS] = 1_000_000
    hub.ranges = False
    with pytest.raises(UserError):
        pull(REPOSITORY)
    pull(REPOSITORY)
    assert (weights() / WEIGHTS).read_bytes() == CONTENT


@pytest.mark.parametrize("name", [WEIGHTS, "vae/config.json"])
def test_a_flipped_byte_is_refused_and_the_file_deleted(hub: FakeHub, name: str) -> None:
    hub.described[name] = hub.files[name]
    changed = bytearray(hub.files[name])
    changed[len(changed) // 2] ^= 1
    hub.files[name] = bytes(changed)
    with pytest.raises(UserError, match=f"{name} is not the file .* its hash differs"):
        pull(REPOSITORY)
    assert nothing_appeared()
    assert [f for f in user_data_dir().rglob("*") if f.name.startswith(Path(name).name)] == []
    hub.files[name] = hub.described[name]
    pull(REPOSITORY)
    assert (weights() / name).read_bytes() == hub.files[name]


def test_a_partial_file_that_was_changed_is_noticed(hub: FakeHub) -> None:
    hub.stop_after[WEIGHTS] = 1_500_000
    with pytest.raises(UserError):
        pull(REPOSITORY)
    (partial,) = (user_data_dir() / "downloads").rglob("*.partial")
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    with pytest.raises(UserError, match="hash differs"):
        pull(REPOSITORY)
    assert nothing_appeared()


def test_a_partial_file_that_is_too_long_is_begun_again(hub: FakeHub) -> None:
    hub.stop_after[WEIGHTS] = 1_500_000
    with pytest.raises(UserError):
        pull(REPOSITORY)
    (partial,) = (user_data_dir() / "downloads").rglob("*.partial")
    partial.write_bytes(CONTENT + b"and more")
    pull(REPOSITORY)
    assert (weights() / WEIGHTS).read_bytes() == CONTENT


def test_more_bytes_than_were_told_are_not_read(hub: FakeHub) -> None:
    hub.described[WEIGHTS] = CONTENT[:1000]
    with pytest.raises(UserError, match="hash differs"):
        pull(REPOSITORY)
    assert nothing_appeared()


def test_an_unknown_repository_and_revision_are_named(hub: FakeHub) -> None:
    with pytest.raises(UserError, match=r"owner/other is not on 127\.0\.0\.1"):
        pull("owner/other")
    with pytest.raises(UserError, match="no such revision"):
        pull(REPOSITORY, "v9")
    pull(REPOSITORY, "v1")
    assert (weights() / WEIGHTS).is_file()


def test_a_closed_port_reads_as_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UserError, match="can't be reached; this computer may be offline") as caught:
        pull(REPOSITORY)
    assert "\n" not in caught.value.message and "Connect to the network" in caught.value.hint


def test_a_name_that_leaves_the_folder_refuses_the_whole_repository(hub: FakeHub) -> None:
    hub.files["../../evil.json"] = b"{}"
    with pytest.raises(UserError, match="would leave its folder"):
        pull(REPOSITORY)
    assert nothing_appeared() and hub.asked(WEIGHTS) == []
    assert list(user_data_dir().rglob("evil.json")) == []


@pytest.mark.parametrize(
    ("code", "words"), [("", "or needs a login"), ("GatedRepo", "needs a login")]
)
def test_a_login_is_asked_for_and_the_token_stays_with_the_hub(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    hub.token, hub.code = TOKEN, code
    with pytest.raises(UserError, match=words) as caught:
        pull(REPOSITORY)
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    pull(REPOSITORY)
    assert (weights() / WEIGHTS).read_bytes() == CONTENT
    assert [h.get("authorization") for h in hub.asked(WEIGHTS)] == [None]  # another host


def test_a_token_never_goes_over_an_open_line_to_another_computer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    assert pull_module.Hub()._token == ""
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    assert pull_module.Hub()._token == TOKEN


@pytest.mark.parametrize("endpoint", ["ftp://x", "hub", "http://", "http://x:port"])
def test_an_endpoint_that_is_no_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(UserError, match="HF_ENDPOINT is no address"):
        pull(REPOSITORY)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b'{"sha": "a", "siblings": [{}]}', b"[" * 99_999]
)
def test_a_host_that_is_no_hub_is_told(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(hub, "listing", lambda: answer)
    with pytest.raises(UserError, match="not as a Hugging Face hub"):
        pull(REPOSITORY)


def test_a_full_disk_and_a_huge_repository_are_refused_before_anything_is_loaded(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage(1, 1, disk.SPARE + 1_000_000))
    with pytest.raises(UserError, match="GB left"):
        pull(REPOSITORY)
    with pytest.raises(UserError, match="more than the 20 GB"):
        pull_module._check_size([HubFile("a.safetensors", 21_000_000_000)], "x")
    assert hub.asked(WEIGHTS) == [] and nothing_appeared()


def test_weights_that_are_there_are_not_loaded_again_and_never_overwritten(hub: FakeHub) -> None:
    pull(REPOSITORY)
    pull(REPOSITORY)
    assert len(hub.asked(WEIGHTS)) == 1
    (weights() / WEIGHTS).write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already, with other files"):
        pull(REPOSITORY)
    assert (weights() / WEIGHTS).read_bytes() == b"mine"


def test_the_hub_here_answers_as_the_real_client_expects(hub: FakeHub, tmp_path: Path) -> None:
    """Else the tests above would try our own idea of a hub alone."""
    code = f"""
from huggingface_hub import HfApi, hf_hub_download
info = HfApi().model_info({REPOSITORY!r}, files_metadata=True)
print(info.sha, {{s.rfilename: s.lfs.sha256 for s in info.siblings if s.lfs}}[{WEIGHTS!r}])
print(hf_hub_download({REPOSITORY!r}, {WEIGHTS!r}, local_dir={str(tmp_path)!r}))
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(COMMIT)
    assert (tmp_path / WEIGHTS).read_bytes() == CONTENT
    theirs = {(m, p) for m, p, _ in hub.requests if m == "GET"}
    hub.requests.clear()
    pull(REPOSITORY, names=[WEIGHTS])
    assert {(m, p) for m, p, _ in hub.requests if "/cdn/" in p or "/api/" in p} <= theirs


# Which files


def listed(*names: str) -> list[HubFile]:
    return [HubFile(name, 5) for name in names]


def chosen(files: list[HubFile], *names: str) -> list[str]:
    return [file.name for file in choose_files(files, names)]


def test_a_single_checkpoint_may_be_named_and_code_never() -> None:
    files = listed("a.ckpt", "a.safetensors", "b.safetensors", "a.bin", "a.pt", "a.py", "c/x.json")
    assert chosen(files, "a.ckpt") == ["a.ckpt"]
    assert chosen(files, "b.safetensors") == ["b.safetensors"]
    assert chosen(files, "b.safetensors", "c") == ["b.safetensors", "c/x.json"]
    assert chosen(files) == ["a.safetensors", "b.safetensors", "c/x.json"]
    for names in (["a.bin"], ["a.pt"], ["a.py"], ["a.ckpt", "a.safetensors"]):
        with pytest.raises(UserError, match="is not downloaded"):
            choose_files(files, names)
    with pytest.raises(UserError, match=r"has no file d\.json"):
        choose_files(files, ["d.json"])


def test_a_repository_of_pickles_alone_has_nothing_to_take() -> None:
    with pytest.raises(UserError, match="no weights in safetensors"):
        choose_files(listed("pytorch_model.bin", "config.json"))


@pytest.mark.parametrize("name", [
    "../a.json", "a/../b.json", "/a.json", "a//b.json", "./a.json", "a\\b.json", "C:a.json",
    "a\0.json", "a\n.json", "con.json", "a/NUL", "a./b.json", "a /b.json", "", "x" * 201,
])  # fmt: skip
def test_names_that_leave_the_folder_or_mean_something_else_on_windows(name: str) -> None:
    assert not is_safe_name(name)


@pytest.mark.parametrize("name", ["a.json", "vae/a b.safetensors", "ünï/LICENSE", "contents.json"])
def test_ordinary_names_are_fine(name: str) -> None:
    assert is_safe_name(name)


@pytest.mark.parametrize(
    "name", ["no-such-folder", "../x", "a/b/c", "owner/na..me", "a/b?c", "-a/b"]
)
def test_what_is_neither_folder_nor_repository_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="neither a folder nor OWNER/NAME"):
        pull(name)


# From a folder


def test_a_local_model_goes_into_the_store(tmp_path: Path) -> None:
    entry = save_tiny(tmp_path / "there")
    pulled = pull(str(tmp_path / "there"))
    assert pulled.model is not None and pulled.model.sha256 == entry.sha256
    assert verify(pulled.model) == [] and verify(entry) == []


def test_local_starting_weights_are_copied_without_what_can_run(tmp_path: Path) -> None:
    source = tmp_path / "vae"
    source.mkdir()
    for name in ("config.json", "a.safetensors", "a.py", "a.bin"):
        (source / name).write_bytes(name.encode())
    pulled = pull(str(source))
    assert pulled.folder == user_data_dir() / "weights" / "vae"
    assert set(files_in(pulled.folder)) == {"config.json", "a.safetensors"}
    with pytest.raises(UserError, match="is there already"):
        pull(str(source))
    with pytest.raises(UserError, match="no revisions"):
        pull(str(source), "v1")


def test_git_hashes_are_as_git_makes_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    assert download._git_sha1(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"
