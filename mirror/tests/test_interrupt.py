"""An interrupted build ends what it started and says how to go on."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mirror.paths import PACKAGE

pytestmark = pytest.mark.unit

# The build itself is replaced by one command that would run for ever, in a thread as the real ones.
PROGRAM = textwrap.dedent(
    """
    import os
    import signal
    import sys
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from mirror import __main__, build, shell

    def pass_on():
        signal.raise_signal(int(os.read(0, 20) or 0))

    def endless(*arguments):
        threading.Thread(target=pass_on, daemon=True).start()
        try:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(shell.run, ["sh", "-c", "echo $$ > pid; exec tail -f /dev/null"], Path("log")).result()
        finally:
            shell.run(["sh", "-c", "sleep 0.3; touch cleaned"], Path("log"), cleans_up=True)

    build.build = endless
    sys.exit(__main__.main(["build"]))
    """
)


@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_build(tmp_path: Path, number: signal.Signals, asleep: bool) -> None:
    os.mkfifo(tmp_path / "pid")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OUTLIVE_CACHE": str(tmp_path / "cache")},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # A build that ends before it has begun its command writes nothing.
    pipe = os.open(tmp_path / "pid", os.O_RDONLY | os.O_NONBLOCK)
    assert select.select([pipe], [], [], 60)[0]
    child = int(os.read(pipe, 20))
    os.close(pipe)
    if asleep:
        # Another thread gets it: the main thread, which waits for the build, isn't woken by it.
        said = process.communicate(f"{number:d}\n", timeout=60)[1]
    else:
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert (tmp_path / "cleaned").exists()
    assert said == "mirror: interrupted: run the command again, it goes on from the last finished step\n"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
