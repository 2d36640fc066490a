"""A server of the mirror's, as long as a test needs it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from outlive.mirror.serve import Server


@contextmanager
def serving(server: Server) -> Iterator[str]:
    """Serve in a thread, and give the address; the server is closed at the end."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
