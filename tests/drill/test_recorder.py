"""The recorder of watches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
import urllib3

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.drill.recorder import Recorder
from outlive.lab import kube
from outlive.lab.kube import STALLED_AFTER, Cluster, Event, StalledError
from outlive.lab.objects import Pod
from tests import samples
from tests.fake_api import NAMESPACE, FakeApi


def test_sightings_are_stamped_in_their_order(fake_cluster: Cluster, api: FakeApi) -> None:
    api.watches[f"{NAMESPACE}/pods"] = [
        [{"type": "MODIFIED", "object": samples.pod(deleted=True)}],
        [{"type": "ERROR", "object": {"code": 410, "message": "too old"}}],
    ]
    began = HOST_CLOCK.now()
    with Recorder(fake_cluster, "default") as recorder:
        sightings = wait_for(
            "recorder",
            "a deleted pod",
            recorder.sightings,
            lambda seen: any(each.kind == "MODIFIED" for each in seen),
            within=30,
            every=0.01,
        )
        gaps = wait_for(
            "recorder",
            "a watch that was taken up again",
            lambda: recorder.gaps(began),
            lambda found: bool(found) and found[0].end < HOST_CLOCK.now().since(began),
            within=30,
            every=0.01,
        )
    assert [each.at for each in sightings] == sorted(each.at for each in sightings)
    assert [each.seen.deleted for each in sightings if isinstance(each.seen, Pod)][:2] == [False, True]
    assert {each.seen.name for each in sightings} >= {"m", "n1", "n2", "mysql-u1"}
    assert gaps[0].end > gaps[0].start >= 0


def test_a_record_that_cannot_go_on_is_no_quiet_cluster(fake_cluster: Cluster, api: FakeApi) -> None:
    api.watches["/api/v1/nodes"] = [[{"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "2"}}}]]
    with Recorder(fake_cluster, "default") as recorder:
        wait_for("recorder", "ended", lambda: recorder.failure, lambda failure: failure is not None, within=30, every=0.01)
        with pytest.raises(LabError, match=r"The record of the cluster's changes ended \(KeyError\('name'\)\): it is incomplete"):
            recorder.sightings()


def test_a_refused_watch_ends_the_recording(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers["/api/v1/nodes"] = [403]
    with pytest.raises(LabError, match="refuses the credentials"), Recorder(fake_cluster, "default"):
        pass


def test_a_watch_that_brought_nothing_was_none_since_then(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen API server breaks no connection: all that happens meanwhile is told late."""

    def stalled(*_: object) -> Iterator[Event]:
        yield Event("LISTED", samples.node())
        raise StalledError("a stream from the API server brought nothing for 60 s")

    monkeypatch.setattr(fake_cluster, "watch_nodes", stalled)
    with Recorder(fake_cluster, "default") as recorder:
        began = HOST_CLOCK.now()
        gaps = wait_for("recorder", "a gap", lambda: recorder.gaps(began), bool, within=30, every=0.01)
    assert gaps[0].start < 1 - STALLED_AFTER


def test_a_stream_without_a_byte_has_stalled() -> None:
    class Silent:
        def stream(self, **_: object) -> Iterator[bytes]:
            raise urllib3.exceptions.ReadTimeoutError(cast(urllib3.HTTPConnectionPool, None), "/", "Read timed out.")

        def close(self) -> None:
            """Do nothing."""

    with pytest.raises(StalledError, match="brought nothing for 60 s"):
        list(kube._lines(cast(urllib3.BaseHTTPResponse, Silent())))
