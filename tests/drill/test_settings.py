"""Which recovery profile a lab has, by what is in force there: all of one's settings, or none is the lab's."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import yaml

from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict, of_error
from outlive.base.wait import SilenceError
from outlive.drill import profiles, run, settings
from outlive.drill.profiles import PROFILES
from outlive.lab import inventory, playbook
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Output
from tests import samples
from tests.course.stages import FakeRemote
from tests.fake_api import FakeApi, listing
from tests.samples import ManualClock

OF_THE_LAB = yaml.safe_load((ROOT / "inventories/common/group_vars/all/recovery.yml").read_text(encoding="utf-8"))
MANAGER = "/api/v1/namespaces/kube-system/pods"
MYSQL = "/apis/apps/v1/namespaces/default/deployments/mysql"
KUBELETS = {name: f"/api/v1/nodes/{name}/proxy/configz" for name in ("n1", "n2")}
PERIODS = ("shutdownGracePeriod", "shutdownGracePeriodCriticalPods")
TUNED = {
    "--node-monitor-grace-period of kube-controller-manager": "30s",
    "the tolerationSeconds of MySQL's Deployment for not-ready": 10,
    "the tolerationSeconds of MySQL's Deployment for unreachable": 10,
    "the NFSv4 lease of m (s)": 15,
    "the NFSv4 grace period of m (s)": 15,
    "shutdownGracePeriod of n1's kubelet": "40s",
    "shutdownGracePeriodCriticalPods of n1's kubelet": "10s",
    "shutdownGracePeriod of n2's kubelet": "40s",
    "shutdownGracePeriodCriticalPods of n2's kubelet": "10s",
    "MySQL's waiting pods": 0,
}
DEFAULT = dict(zip(TUNED, ["50s", 300, 300, 90, 90, "0s", "0s", "0s", "0s", 0], strict=True))
STANDBY = DEFAULT | {"MySQL's waiting pods": 1}


def described(**variables: object) -> Inventory:
    """Return the small inventory with the lab's recovery profiles, or others."""
    listed = deepcopy(samples.INVENTORY)
    for host in listed["_meta"]["hostvars"].values():
        host.update({**OF_THE_LAB, **variables})
    return inventory.parse(listed, "of the tests")


HELD = "kubelet 0 root 812 kubelet shutdown Kubelet needs time to handle node shutdown delay\n"
OTHERS = (
    "Unattended Upgrades Shutdown 0 root 640 unattended-upgr shutdown Stop ongoing upgrades or perform upgrades before shutdown delay\n"
)


class Machines(FakeRemote):
    """An NFS server that says lease and grace period, and nodes that say who holds up their shutdown."""

    def __init__(self) -> None:
        """Have those of the default."""
        super().__init__()
        self.lease, self.grace = "90", "90"
        self.held = OTHERS + HELD

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Say what is asked for."""
        super().run(name, command, *arguments)
        if "systemd-inhibit" in command:
            return Output(0, self.held, "")
        return Output(0, f"{self.lease if 'lease' in command else self.grace}\n", "")


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def lab(fake_cluster: Cluster, api: FakeApi, machines: Machines, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(settings, "ANSWER_WITHIN", 3.0)
    has(api, machines, DEFAULT)
    return Lab(described(), fake_cluster, machines, clock)


def has(api: FakeApi, machines: Machines, found: Mapping[str, Any]) -> None:
    """Let the lab have these settings."""
    values = [*found.values()]
    manager = samples.pod()
    manager["spec"]["containers"] = [{"command": ["kube-controller-manager", "--v=1"]}]
    if values[0] != "50s":
        manager["spec"]["containers"][0]["command"].append(f"--node-monitor-grace-period={values[0]}")
    tolerated = [{**each, "tolerationSeconds": seconds} for each, seconds in zip(samples.tolerations(0), values[1:3], strict=True)]
    api.answers[MANAGER] = [listing(manager)]
    api.answers[MYSQL] = [samples.deployment(tolerated=tolerated, wanted=1 + values[9], standby=values[9] > 0)]
    machines.lease, machines.grace = map(str, values[3:5])
    for path, periods in zip(KUBELETS.values(), (values[5:7], values[7:9]), strict=True):
        api.answers[path] = [{"kubeletconfig": {"kind": "KubeletConfiguration", **dict(zip(PERIODS, periods, strict=True))}}]


def test_the_lab_has_the_profiles_that_the_program_knows() -> None:
    assert list(settings.of_profiles(described())) == list(PROFILES)
    assert settings.of_profiles(described())["tuned"] == TUNED
    assert settings.differences(STANDBY, settings.of_profiles(described())["standby"]) == ()
    assert settings.chosen(described()) == "default"


def test_settings_are_read_where_they_are_in_force(lab: Lab, api: FakeApi, machines: Machines) -> None:
    assert settings.of_lab(lab) == DEFAULT
    has(api, machines, TUNED)
    assert settings.of_lab(lab) == TUNED


def test_grace_period_that_logind_does_not_keep_is_none(lab: Lab, api: FakeApi, machines: Machines) -> None:
    """Else a fail-over would be as slow as without, and look tuned."""
    machines.held = OTHERS
    assert settings.of_lab(lab) == DEFAULT
    has(api, machines, TUNED)
    with pytest.raises(
        SilenceError, match=r"n1's kubelet has a shutdownGracePeriod of 40s and doesn't hold up a shutdown: its lock isn't in `sys"
    ):
        settings.of_lab(lab)


@pytest.mark.parametrize(
    ("found", "names"),
    [(DEFAULT, ("default", "fenced")), (TUNED, ("tuned",)), (STANDBY, ("standby",))],
    ids=["Kubernetes' own settings", "tuned", "standby"],
)
def test_profiles_of_which_a_lab_has_all(lab: Lab, api: FakeApi, machines: Machines, found: Mapping[str, Any], names: tuple[str]) -> None:
    has(api, machines, found)
    assert settings.matching(lab) == names
    for name in PROFILES:
        if name in names:
            settings.check(lab, name)
        else:
            with pytest.raises(
                LabError, match=f"The lab doesn't have the recovery profile '{name}', but {' and '.join(map(repr, names))} "
            ):
                settings.check(lab, name)


def test_two_pods_of_which_none_waits_are_no_standby(lab: Lab, api: FakeApi, machines: Machines) -> None:
    """As `kubectl scale` makes them: the second mysqld tries the first one's files."""
    has(api, machines, DEFAULT)
    api.answers[MYSQL] = [samples.deployment(tolerated=samples.tolerations(300), wanted=2)]
    assert settings.matching(lab) == ("default", "fenced")


@pytest.mark.parametrize("setting", [each for each in TUNED if TUNED[each] != DEFAULT[each]])
@pytest.mark.parametrize(("whole", "other"), [(DEFAULT, TUNED), (TUNED, DEFAULT)], ids=["default but for", "tuned but for"])
def test_a_single_setting_of_another_profile_is_found(
    lab: Lab, api: FakeApi, machines: Machines, whole: dict[str, Any], other: dict[str, Any], setting: str
) -> None:
    has(api, machines, whole | {setting: other[setting]})
    assert settings.matching(lab) == ()
    assert profiles.current(lab) is None
    for name in PROFILES:
        with pytest.raises(LabError, match="nor another as a whole") as refused:
            settings.check(lab, name)
        assert of_error(refused.value) is Verdict.UNKNOWN
        wanted = {"tuned": TUNED, "standby": STANDBY}.get(name, DEFAULT)
        assert str(refused.value).count(" (in the profile ") == sum(
            (whole | {setting: other[setting]})[each] != wanted[each] for each in wanted
        )


def test_the_sentence_names_each_setting_and_the_cure(lab: Lab, api: FakeApi, machines: Machines) -> None:
    has(api, machines, DEFAULT | {"the NFSv4 lease of m (s)": 15, "shutdownGracePeriod of n2's kubelet": "40s"})
    with pytest.raises(LabError) as refused:
        settings.check(lab, "fenced")
    assert str(refused.value) == (
        "The lab doesn't have the recovery profile 'fenced', nor another as a whole (the NFSv4 lease of m (s) is 15 (in the profile 90); "
        "shutdownGracePeriod of n2's kubelet is 40s (in the profile not set)): apply it with `ansible-playbook playbooks/site.yml "
        "playbooks/tutorial.yml --tags recovery_profile -e recovery_profile=fenced`."
    )
    has(api, machines, DEFAULT)
    with pytest.raises(LabError, match=r"`, or take one that the lab has\.$"):
        settings.check(lab, "tuned")
    with pytest.raises(LabError, match="recovery profile 'tuned' any more after the drill, but "):
        settings.check(lab, "tuned", " any more after the drill")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("30s", "0m30s", True),
        ("1m", "60s", True),
        ("1m30s", "90s", True),
        ("1.5s", "1500ms", True),
        ("90", 90, True),
        (30, "30s", True),
        (None, "0s", True),
        ("", "0s", True),
        (None, [], True),
        ("40s", None, False),
        ("40s", "41s", False),
        ("40s", "40m", False),
        ("for ever", 300, False),
        ("for ever", None, False),
        ("30 s", "30s", False),
        ([{"priority": 1, "shutdownGracePeriodSeconds": 9}], [{"priority": 1, "shutdownGracePeriodSeconds": 8}], False),
    ],
)
def test_values_are_compared_by_what_they_mean(one: object, other: object, same: bool) -> None:
    assert (settings.differences({"a": one}, {"a": other}) == ()) is same
    assert (settings.differences({"a": other}, {"a": one}) == ()) is same


def test_what_was_not_read_is_no_match() -> None:
    with pytest.raises(LabError, match=r"The lab's b wasn't read, so whether the lab has the recovery profile isn't known"):
        settings.names({"a": 1}, {"default": {"a": 1, "b": None}})


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--node-monitor-grace-period=30s"], "30s"),
        (["--node-monitor-grace-period", "30s"], "30s"),
        (["--node-monitor-grace-period=30s", "--v=1", "--node-monitor-grace-period=20s"], "20s"),
        (["--node-monitor-grace-periods=30s"], "50s"),
        ([], "50s"),
    ],
)
def test_the_controller_managers_patience(lab: Lab, api: FakeApi, words: list[str], value: str) -> None:
    manager = samples.pod()
    manager["spec"]["containers"] = [{"command": ["kube-controller-manager", *words]}]
    api.answers[MANAGER] = [listing(manager)]
    assert settings.of_lab(lab)["--node-monitor-grace-period of kube-controller-manager"] == value


def test_a_deployment_that_says_nothing_of_a_lost_node_has_kubernetes_300_seconds(lab: Lab, api: FakeApi) -> None:
    api.answers[MYSQL] = [samples.deployment()]
    assert settings.matching(lab) == ("default", "fenced")


def test_a_deployment_that_tolerates_a_lost_node_for_ever_has_no_profile(lab: Lab, api: FakeApi) -> None:
    api.answers[MYSQL] = [samples.deployment(tolerated=[{"operator": "Exists"}])]
    with pytest.raises(LabError, match=r"for not-ready is for ever \(in the profile 300\); "):
        settings.check(lab, "default")


def test_a_kubelet_that_leaves_out_what_it_has_not(lab: Lab, api: FakeApi) -> None:
    api.answers[KUBELETS["n1"]] = [{"kubeletconfig": {}}]
    assert settings.matching(lab) == ("default", "fenced")


@pytest.mark.parametrize("silent", [MANAGER, MYSQL, *KUBELETS.values()])
def test_a_lab_that_gives_no_answer_has_no_profile_that_is_known(lab: Lab, api: FakeApi, clock: ManualClock, silent: str) -> None:
    api.answers[silent] = [503]
    for look in (settings.matching, profiles.current, lambda lab: settings.check(lab, "default")):
        with pytest.raises(SilenceError, match="the lab's recovery settings: wanted an answer, last seen no answer") as unknown:
            look(lab)
        assert of_error(unknown.value) is Verdict.UNKNOWN
    assert clock.seconds >= 3 * settings.ANSWER_WITHIN


def test_a_server_that_gives_no_answer(lab: Lab, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: str) -> Output:
        raise UnreachableError("ssh to m failed")

    monkeypatch.setattr(machines, "run", silent)
    with pytest.raises(SilenceError, match="ssh to m failed"):
        settings.matching(lab)


@pytest.mark.parametrize("text", ["", "soon"])
def test_a_server_that_says_no_number(lab: Lab, machines: Machines, text: str) -> None:
    machines.lease = text
    with pytest.raises(LabError, match=r"nfsv4leasetime on m holds .*: it has to be a number of seconds"):
        settings.matching(lab)


def test_a_manager_that_is_being_replaced_is_waited_for(lab: Lab, api: FakeApi) -> None:
    api.answers[MANAGER] = [listing(), *api.answers[MANAGER]]
    assert settings.matching(lab) == ("default", "fenced")
    api.answers[MANAGER] = [listing()]
    with pytest.raises(SilenceError, match="the API server knows no kube-controller-manager just now"):
        settings.matching(lab)


def test_no_mysql(lab: Lab, api: FakeApi) -> None:
    api.answers[MYSQL] = [404]
    with pytest.raises(LabError, match=r"no deployment default/mysql.*outlive tutorial apply"):
        settings.check(lab, "default")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"recovery_profiles": None}, "has no recovery_profiles: it needs them as inventories/common has them"),
        ({"recovery_profiles": {"default": {"nfs_lease_time": 90}}}, "'default' of the inventory has no node_monitor_grace_period, tol"),
        ({"recovery_profiles": {"default": None}}, "'default' of the inventory has no node_monitor_grace_period, tol"),
        (
            {"recovery_profiles": {"default": OF_THE_LAB["recovery_profiles"]["default"] | {"nfs_lease_time": "{{ patience }}"}}},
            "'default' of the inventory isn't literal",
        ),
        (
            {"recovery_profiles": {"default": OF_THE_LAB["recovery_profiles"]["default"] | {"kubelet_configuration": "none"}}},
            "its kubelet_configuration has to be a dictionary",
        ),
    ],
)
def test_an_inventory_that_does_not_say_what_a_profile_sets(lab: Lab, variables: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabError, match=sentence):
        settings.matching(Lab(described(**variables), lab.cluster, lab.remote, lab.clock))


def test_a_profile_that_the_inventory_does_not_have(lab: Lab) -> None:
    with pytest.raises(LabError, match="'swift' isn't in recovery_profiles of the inventory: it has default, tuned, fenced"):
        settings.check(lab, "swift")


@pytest.mark.parametrize("name", [None, "{{ x }}"])
def test_an_inventory_without_a_profile_of_its_own(name: str | None) -> None:
    with pytest.raises(LabError, match="has no literal recovery_profile"):
        settings.chosen(described(recovery_profile=name))


@pytest.mark.parametrize(
    ("own", "found", "name"),
    [("default", DEFAULT, "default"), ("fenced", DEFAULT, "fenced"), ("tuned", DEFAULT, "default"), ("default", TUNED, "tuned")],
)
def test_the_profile_that_a_lab_has(lab: Lab, api: FakeApi, machines: Machines, own: str, found: Mapping[str, Any], name: str) -> None:
    """Of two that set the same it's the inventory's own."""
    has(api, machines, found)
    assert profiles.current(Lab(described(recovery_profile=own), lab.cluster, lab.remote, lab.clock)) == name


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return the playbooks that are played, with their options, in place of playing them."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(playbook, "play", lambda *words: calls.append(words))
    monkeypatch.setattr(run, "await_steady", lambda _: calls.append(("steady",)))
    return calls


def test_a_profile_is_applied_where_it_is_not_by_one_command(lab: Lab, played: list[tuple[Any, ...]]) -> None:
    said: list[str] = []
    profiles.apply(lab, "tuned", said.append)
    (playbooks, *options), *after = played
    assert ["ansible-playbook", *playbooks, *options] == settings.command("tuned").split()
    assert after == [("steady",)]
    assert said == ["applying the recovery profile tuned ..."]


@pytest.mark.parametrize("profile", ["default", "fenced"])
def test_nothing_is_applied_where_all_is_there(lab: Lab, played: list[tuple[Any, ...]], profile: str) -> None:
    profiles.apply(lab, profile, pytest.fail)
    assert played == []


def test_what_was_applied_by_half_is_applied_again(lab: Lab, api: FakeApi, machines: Machines, played: list[tuple[Any, ...]]) -> None:
    has(api, machines, DEFAULT | {"the NFSv4 grace period of m (s)": 15})
    profiles.apply(lab, "default")
    assert [*played[0]] == [settings.PLAYBOOKS, *settings.options("default")]


def test_nothing_is_applied_to_a_lab_that_is_not_steady(lab: Lab, api: FakeApi, played: list[tuple[Any, ...]]) -> None:
    api.answers["/api/v1/nodes"] = [listing(samples.node("m"), samples.node("n1", ready="False"), samples.node("n2"))]
    with pytest.raises(LabError, match="Not every node is Ready"):
        profiles.apply(lab, "tuned")
    assert played == []
