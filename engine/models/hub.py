"""A Hugging Face hub, as far as `models pull` needs it; the program's only way to the network.

huggingface_hub is not used: version 2.4 forgets what an interrupted download had got.
Two kinds of request are made, as it makes them: ``/api/models/OWNER/NAME`` for the list of files,
``/OWNER/NAME/resolve/COMMIT/FILE`` for their content. Its variables HF_ENDPOINT, HF_TOKEN,
HF_TOKEN_PATH and HF_HOME count here too. No telemetry is sent.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import SplitResult, quote, urlsplit

from engine import __version__
from engine.errors import UserError

DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT = 30.0  # seconds without a byte
MAX_LISTING_BYTES = 20_000_000
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
OFFLINE_HINT = (
    "Connect to the network and run the command again; what was loaded is kept. A folder that was "
    "loaded elsewhere can be named in place of the repository."
)
LOGIN_HINT = "Accept its terms on the hub's page, and let HF_TOKEN hold your access token."


@dataclass(frozen=True)
class HubFile:
    """One file of a repository.

    Attributes:
        name: path inside the repository, as the hub says it; not to be trusted.
        size: bytes.
        sha256: of the content, where the hub keeps the file as a large one; else "".
        git_sha1: git's hash of the content, where it is a small one; else "".
    """

    name: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True)
class Listing:
    """A repository at one commit."""

    commit: str
    files: tuple[HubFile, ...]


class Hub:
    """The hub that HF_ENDPOINT names.

    Raises:
        UserError: HF_ENDPOINT is no address.
    """

    def __init__(self) -> None:
        self.endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        parts = _address_parts(self.endpoint)
        self.host = parts.netloc.rpartition("@")[2]
        # A secret goes over an encrypted line, or stays on this computer.
        private = parts.scheme == "https" or parts.hostname in LOOPBACK
        self._token = _token() if private else ""
        self._open = urllib.request.build_opener(_Redirects).open

    def listing(self, repository: str, revision: str = "") -> Listing:
        """The files of OWNER/NAME at a branch, tag or commit ("" is the main one).

        Raises:
            UserError: offline, not found, needs a login, or no sensible answer.
        """
        address = f"{self.endpoint}/api/models/{quote(repository)}"
        if revision:
            address += f"/revision/{quote(revision, safe='')}"
        what = f"{repository} at {revision}" if revision else repository
        with self._answer(f"{address}?blobs=true", what) as answer:
            content = answer.read(MAX_LISTING_BYTES + 1)
        try:
            if len(content) > MAX_LISTING_BYTES:
                raise ValueError("too long")
            return _listing(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.host} answers, but not as a Hugging Face hub.",
                hint="Check HF_ENDPOINT, and whether a proxy asks for a login.",
            ) from error

    @contextmanager
    def content(
        self, repository: str, commit: str, name: str, start: int = 0
    ) -> Iterator[tuple[IO[bytes], int]]:
        """The content of one file from byte `start` on.

        Yields:
            the stream, and where in the file it begins: `start`, or 0 from a host that can't
            begin elsewhere.

        Raises:
            UserError: offline, not found, or needs a login; also if the line breaks meanwhile.
        """
        address = f"{self.endpoint}/{quote(repository)}/resolve/{quote(commit)}/{quote(name)}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._answer(address, f"{repository}/{name}", headers) as answer:
            yield answer, _first_byte(answer, start)

    @contextmanager
    def _answer(
        self, address: str, what: str, headers: dict[str, str] | None = None
    ) -> Iterator[Any]:
        request = urllib.request.Request(address, headers=headers or {})
        request.add_header("User-Agent", f"sdseg-studio/{__version__}")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._open(request, timeout=TIMEOUT) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refusal(error, what) from error
        except _BROKEN_LINE as error:
            raise self._unreachable(error) from error
        except (http.client.HTTPException, UnicodeError) as error:
            raise UserError(f"{self.host} gave an answer that makes no sense.") from error

    def _refusal(self, error: urllib.error.HTTPError, what: str) -> UserError:
        code = error.headers.get("X-Error-Code", "") if error.headers else ""
        if code == "GatedRepo" or error.code == 403:
            return UserError(f"{what} needs a login on {self.host}.", hint=LOGIN_HINT)
        if code == "RevisionNotFound":
            return UserError(f"{what} is not on {self.host}: there is no such revision.")
        if error.code == 401:  # the hub's answer for a missing repository, too
            return UserError(
                f"{what} is not on {self.host}, or needs a login.",
                hint=f"Check the name. {LOGIN_HINT}",
            )
        if error.code == 404:
            return UserError(f"{what} is not on {self.host}.", hint="Check the name.")
        return UserError(
            f"{self.host} refuses {what}: {error.code} {error.reason}.", hint="Try again later."
        )

    def _unreachable(self, error: BaseException) -> UserError:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLError):
            return UserError(
                f"{self.host} can't be trusted: its certificate can't be checked.",
                hint="Behind a proxy, let SSL_CERT_FILE name its certificates.",
            )
        if isinstance(reason, TimeoutError):
            why = "it does not answer"
        elif isinstance(reason, socket.gaierror):
            why = "its name is not known here"
        elif isinstance(reason, OSError):
            why = (reason.strerror or str(reason)).lower()
        else:
            why = str(reason)
        return UserError(
            f"{self.host} can't be reached; this computer may be offline ({why}).",
            hint=OFFLINE_HINT,
        )


_BROKEN_LINE = (
    urllib.error.URLError,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
    http.client.IncompleteRead,
    http.client.RemoteDisconnected,
)


def _address_parts(endpoint: str) -> SplitResult:
    try:
        parts = urlsplit(endpoint)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a port that is no number, say
        pass
    raise UserError(f"HF_ENDPOINT is no address: {endpoint}.", hint=f"As in {DEFAULT_ENDPOINT}.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where large files lie; the access token stays with the hub."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """As of the base class; never from an encrypted line to an open one."""
        onward = super().redirect_request(req, fp, code, msg, headers, newurl)
        if onward is None:
            return None
        if onward.type not in {req.type, "https"}:
            raise urllib.error.URLError(f"it leads to {onward.type}")
        if onward.host != req.host or onward.type != req.type:
            onward.remove_header("Authorization")
        return onward


def _listing(answer: dict[str, Any]) -> Listing:
    commit = answer["sha"]
    if not isinstance(commit, str) or not commit:
        raise ValueError("a commit is missing")
    return Listing(commit, tuple(_hub_file(row) for row in answer["siblings"]))


def _hub_file(row: dict[str, Any]) -> HubFile:
    large = row.get("lfs") or {}
    size = large.get("size", row.get("size"))
    if not isinstance(row["rfilename"], str) or not isinstance(size, int) or size < 0:
        raise ValueError("a name or a size is missing")
    if large:
        return HubFile(row["rfilename"], size, sha256=str(large["sha256"]))
    return HubFile(row["rfilename"], size, git_sha1=str(row.get("blobId") or ""))


def _first_byte(answer: Any, start: int) -> int:
    """Where an answer begins: 206 says it, 200 is the whole."""
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or int(first) != start:
        raise http.client.HTTPException("another range than was asked for")
    return start


def _token() -> str:
    """The access token of a user who is logged in; "" for one who is not."""
    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or ""
    if not token:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
        file = Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
        try:
            token = file.read_text("utf-8")
        except (OSError, UnicodeError):
            return ""
    token = token.strip()
    return token if token.isascii() and token.isprintable() else ""
