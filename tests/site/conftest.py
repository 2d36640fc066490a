"""The site as it is built from this checkout, once for all tests, and a server of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.site import build, serve


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site; its log is beside it, and not where the next build's would replace it."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "LOGS", folder)
        return build.build(folder / "site")


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[str]:
    """Return the address of a server of the site, such as http://127.0.0.1:8482."""
    with serve.server("127.0.0.1", 0, site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
