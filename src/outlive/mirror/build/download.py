"""Fetch files over HTTP: resumed where they were cut, tried again, their checksum verified."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from outlive.base.errors import LabError

_TRIES = 4
_TIMEOUT_SECONDS = 60.0
_CHUNK = 1 << 20
_LATER = "try again later"


@dataclass(frozen=True)
class Download:
    """A file to fetch: where from (in order of preference), where to, and its checksum.

    `digest` is in hex, of the hashlib algorithm `algorithm`. `cure` is the end of the sentence told
    when none of the addresses has the file any more; an address that can't be reached is one to try again later.
    """

    urls: tuple[str, ...]
    target: Path
    digest: str
    algorithm: str = "sha256"
    cure: str = _LATER


class _GoneError(Exception):
    """The server doesn't have the file."""


def fetch_all(downloads: Sequence[Download], workers: int = 8) -> None:
    """Fetch many files side by side; raise the first LabError."""
    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(fetch, download) for download in downloads]:
            future.result()


def fetch(download: Download) -> None:
    """Fetch one file unless it's there already and right; raise LabError if it can't be had."""
    if download.target.exists() and _digest(download.target, download.algorithm) == download.digest:
        return
    download.target.parent.mkdir(parents=True, exist_ok=True)
    partial = download.target.with_name(f"{download.target.name}.partial")
    problem, cure = "no address is given", download.cure
    for url in download.urls:
        for _ in range(_TRIES):
            try:
                _transfer(url, partial)
            except _GoneError as error:
                problem, cure = str(error), download.cure
                break
            except (OSError, http.client.HTTPException) as error:
                problem, cure = f"{url}: {getattr(error, 'reason', None) or error}", _LATER
                continue
            if _digest(partial, download.algorithm) == download.digest:
                partial.replace(download.target)
                return
            problem, cure = f"{url} has another {download.algorithm} than the lock file's {download.digest}", download.cure
            partial.unlink()
    raise LabError(f"{download.target.name} can't be downloaded ({problem}): {cure}")


def _transfer(url: str, partial: Path) -> None:
    """Fetch what `partial` lacks; raise OSError or HTTPException if it doesn't come whole, and keep what came."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
            with partial.open("ab" if goes_on else "wb") as file:
                begin = file.tell()
                shutil.copyfileobj(response, file, _CHUNK)
                came = file.tell() - begin
            # A read of so many bytes doesn't raise where the other side hangs up early: it's as if the file ended there.
            told = response.headers["Content-Length"]
            if told is not None and came < int(told):
                raise ConnectionError(f"the connection ended after {came} of {told} bytes")
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE, http.HTTPStatus.FORBIDDEN):
            raise _GoneError(f"{url} answers {error.code} {error.reason}") from error
        raise


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
