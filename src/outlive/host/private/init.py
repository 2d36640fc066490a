"""Process 1 of the private libvirt's namespaces: libvirtd and the mirror's server run below it and end with it.

Started by `src/outlive/host/private/__init__.py` in new mount, network and process namespaces, with Debian's own Python and the standard
library only. It lays the lab's folders over libvirt's, starts libvirtd, and on SIGHUP the mirror's server; it reaps
what dies. When it ends, the kernel ends every process of the lab, the VMs included: nothing is left behind.
"""

from __future__ import annotations

import argparse
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

OVERLAYS = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
}
"""Folders below the lab's state and where libvirt looks for them."""

QEMU_CONF = """\
# No sandbox of its own around each VM: these namespaces are the lab's already, and libvirt's private /dev fails where
# /dev/kvm is hidden.
namespaces = []
cgroup_controllers = []
security_driver = "none"
# Consoles go to files directly: no second daemon for them.
stdio_handler = "file"
max_core = 0
"""

LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "+{group}"
unix_sock_rw_perms = "0770"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

AGENT = Path("/usr/bin/pkttyagent")
"""What virsh starts in a terminal, to ask for passwords: nobody asks for any in here, and it complains that it finds no polkit."""


def mount(*arguments: str) -> None:
    """Mount a file system."""
    subprocess.run(["mount", *arguments], check=True)


def lay_folders(state: Path, group: int) -> None:
    """Lay the lab's folders over libvirt's, and a /sys that shows this network namespace; libvirt answers members of a group."""
    for name, target in OVERLAYS.items():
        source = state / name
        source.mkdir(parents=True, exist_ok=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        mount("--bind", str(source), target)
    for folder in ("lib/images", "lib/qemu", "etc/qemu"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    # QEMU runs as libvirt's own user and has to pass through.
    for passage in (state / "lib", state / "lib/images"):
        passage.chmod(0o755)
    (state / "etc/qemu.conf").write_text(QEMU_CONF, encoding="ascii")
    (state / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF.format(group=group), encoding="ascii")
    for stale in (state / "run").glob("*.pid"):
        stale.unlink()
    mount("-t", "sysfs", "sysfs", "/sys")
    if AGENT.exists():
        mount("--bind", "/dev/null", str(AGENT))


def hide_kvm() -> None:
    """Give these namespaces a /dev without kvm.

    libvirt probes QEMU anew at every look-up where /dev/kvm is there but its own user can't open it, which takes it the
    better part of a minute each time.
    """
    nodes = ["full", "null", "random", "tty", "urandom", "zero", "net", "pts", "shm"]
    fresh = Path("/run/libvirt/dev")
    fresh.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=755", "dev", str(fresh))
    for name in nodes:
        there, here = Path("/dev") / name, fresh / name
        if not there.exists():
            continue
        if there.is_dir():
            here.mkdir()
            mount("--rbind", str(there), str(here))
        else:
            here.touch()
            mount("--bind", str(there), str(here))
    # A node of its own: the kernel looks for pts/ beside it, where a bind mount would not have it.
    os.mknod(fresh / "ptmx", stat.S_IFCHR | 0o666, os.makedev(5, 2))
    (fresh / "ptmx").chmod(0o666)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (fresh / name).symlink_to(target)
    mount("--move", str(fresh), "/dev")


class Init:
    """Starts the daemons and keeps an eye on them."""

    def __init__(self, state: Path, mirror: list[str]) -> None:
        """Remember where the state lies and the mirror server's command line."""
        self._state = state
        self._mirror_argv = mirror
        self._mirror: subprocess.Popen[bytes] | None = None
        self._libvirtd: subprocess.Popen[bytes] | None = None
        self._ending = False

    def start_libvirtd(self) -> None:
        """Start libvirtd, with its pid file in the lab's own folder: in its usual place, /run, it would meet another lab's."""
        argv = ["/usr/sbin/libvirtd", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", "/run/libvirt/libvirtd.pid"]
        self._libvirtd = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def wait_for_libvirtd(self, seconds: float) -> None:
        """Wait until libvirtd answers.

        Raises:
            SystemExit: it ended, or didn't answer in time.
        """
        deadline = time.monotonic() + seconds
        assert self._libvirtd is not None
        while True:
            if subprocess.run(["virsh", "-c", "qemu:///system", "uri"], capture_output=True, check=False).returncode == 0:
                return
            if self._libvirtd.poll() is not None:
                raise SystemExit(f"libvirtd ended with status {self._libvirtd.returncode}")
            if time.monotonic() > deadline:
                raise SystemExit(f"libvirtd did not answer within {seconds:.0f} s")
            time.sleep(0.1)

    def serve_mirror(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Start the mirror's server, if it isn't running."""
        if self._mirror_argv and (self._mirror is None or self._mirror.poll() is not None):
            with (self._state / "mirror.log").open("ab") as log:
                self._mirror = subprocess.Popen(self._mirror_argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask the daemons to end; the kernel ends the rest when this process does."""
        self._ending = True
        for process in (self._mirror, self._libvirtd):
            if process is not None and process.poll() is None:
                process.terminate()

    def reap(self) -> int:
        """Wait for children, whoever's they were, until libvirtd ends; return the exit status."""
        assert self._libvirtd is not None
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self._libvirtd.pid:
                return 0 if self._ending else os.waitstatus_to_exitcode(status) or 1
            if self._mirror is not None and pid == self._mirror.pid:
                self._mirror.returncode = os.waitstatus_to_exitcode(status)


def main() -> int:
    """Run as process 1 until told to end.

    Raises:
        SystemExit: a program is missing, or libvirtd doesn't run.
    """
    try:
        return _run()
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is missing: `outlive doctor` says how to get the tools") from error


def _run() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--group", type=int, default=0, help="the group, by its number, whose members libvirt answers")
    parser.add_argument("--hide-kvm", action="store_true")
    parser.add_argument("mirror", nargs="*", help="the mirror server's command line")
    options = parser.parse_args()
    init = Init(options.state, options.mirror)
    signal.signal(signal.SIGTERM, init.end)
    signal.signal(signal.SIGHUP, init.serve_mirror)
    # Not SIG_IGN, which libvirtd and all below it would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    lay_folders(options.state, options.group)
    if options.hide_kvm:
        hide_kvm()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # The mirror's server is an ordinary user's, and the network the lab's own: any port may be his.
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="ascii")
    init.start_libvirtd()
    init.wait_for_libvirtd(60)
    (options.state / "ready").write_text("ready\n", encoding="ascii")
    return init.reap()


if __name__ == "__main__":
    sys.exit(main())
