"""A folder served over HTTP, as long as a test needs it."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Files(http.server.SimpleHTTPRequestHandler):
    """Files below a folder, and what follows of one from an offset on."""

    part: int | None = None
    """How many bytes are sent of an answer, at most: then the server hangs up."""
    asked: list[str | None]
    """The ranges that files were asked for."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            super().do_GET()
            return
        wanted, content = self.headers.get("Range"), path.read_bytes()
        self.asked.append(wanted)
        if wanted:
            content = content[int(wanted.removeprefix("bytes=").removesuffix("-")) :]
        if not content:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.part])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def serving(folder: Path, part: int | None = None, asked: list[str | None] | None = None) -> Iterator[str]:
    """Serve in a thread, and give the address; the server is closed at the end."""
    handler = type("Handler", (Files,), {"part": part, "asked": [] if asked is None else asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
