"""The key that the mirror's apt repositories are signed with: made once, kept in the cache."""

from pathlib import Path

from outlive.mirror.store import Store
from outlive.mirror.tools import capture, run

_IDENTITY = "outlive mirror"


class Signer:
    """Signs apt repositories with the cache's own key."""

    def __init__(self, store: Store) -> None:
        """Use the key in the store's cache, made now if there is none."""
        self._home = store.cache / "gnupg"
        self._log = store.log("signing")
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home.chmod(0o700)
        if not self._fingerprints():
            self._gpg("--passphrase", "", "--quick-gen-key", _IDENTITY, "rsa3072", "sign", "never")
        self.fingerprint = self._fingerprints()[0]
        # apt reads the plain form; the armored one is what the upstream repository publishes.
        self.keyring = self._home / "mirror.gpg"
        self.keyring.unlink(missing_ok=True)
        self._gpg("--output", self.keyring, "--export", self.fingerprint)

    def export_armored(self, target: Path) -> None:
        """Write the public key, armored."""
        self._gpg("--armor", "--output", target, "--export", self.fingerprint)

    def sign_release(self, release: Path) -> None:
        """Sign an apt Release file, detached and inline, as apt wants them beside it."""
        self._gpg("--armor", "--detach-sign", "--output", release.with_name("Release.gpg"), release)
        self._gpg("--clearsign", "--output", release.with_name("InRelease"), release)

    def close(self) -> None:
        """End the agent that gpg started."""
        run(["gpgconf", "--homedir", self._home, "--kill", "gpg-agent"], self._log, cleanup=True)

    def _gpg(self, *words: str | Path) -> None:
        run(["gpg", "--batch", "--yes", "--pinentry-mode", "loopback", "--homedir", self._home, *words], self._log)

    def _fingerprints(self) -> list[str]:
        listing = capture(["gpg", "--batch", "--homedir", self._home, "--list-secret-keys", "--with-colons"])
        return [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]
