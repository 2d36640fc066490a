"""The pictures of the tutorial's pages: `python -m outlive.report.tutorial` draws them into docs/tutorial/pictures.

With the folder of a report after it, such as reports/latest, it first takes that run's figures for the picture of a fail-over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from outlive.base.clock import Instant
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.program import ended
from outlive.base.verdict import Verdict
from outlive.drill.timeline import Moment, Timeline, ordered
from outlive.report import pictures, terminal
from outlive.report.diagrams import LANGUAGES, Arrow, Box, Diagram, Label, Language, Words, file, same
from outlive.report.lab_description import TOLERATION
from outlive.report.model import timeline_of

FOLDER = ROOT / "docs/tutorial/pictures"
RECORD = FOLDER / "failover.json"
"""The day of a run, and its moments in seconds after the power-off; docs/results.md says where it ran."""

POD = Words("pod", "Pod")

EMPTYDIR = Diagram(
    "emptydir",
    Words(
        "Two containers of a pod share its emptyDir, a folder on the node", "同一个 Pod 的两个容器共用它的 emptyDir，也就是节点上的一个目录"
    ),
    Words(
        "On a node, a pod has two containers, producer and consumer. Both mount the pod's volume shared-volume of the type emptyDir; the producer writes, "
        "the consumer reads. The volume is a folder on the node. When a container restarts, the files stay. When the pod is deleted, so is the folder.",
        "节点上有一个 Pod，Pod 里有两个容器：producer 和 consumer。两者都挂载这个 Pod 的 emptyDir 卷 shared-volume，producer 写，consumer 读。"
        "这个卷是节点上的一个目录。容器重启，文件还在；Pod 被删除，目录也随之删除。",
    ),
    364,
    (
        Box("frame", 8, 8, 344, 284, Words("node", "节点")),
        Box("frame", 20, 38, 320, 166, Words("pod producer-consumer", "Pod producer-consumer")),
        Box("pod", 32, 70, 142, 64, same("producer"), Words("container\n/producer_dir", "容器\n/producer_dir")),
        Box("pod", 186, 70, 142, 64, same("consumer"), Words("container\n/consumer_dir", "容器\n/consumer_dir")),
        Arrow(((103, 134), (103, 162))),
        Label(Words("writes", "写"), 110, 152),
        Arrow(((257, 162), (257, 134))),
        Label(Words("reads", "读"), 264, 152),
        Box("object", 32, 162, 296, 30, same("shared-volume: emptyDir")),
        Arrow(((180, 192), (180, 226))),
        Box("storage", 20, 226, 320, 54, Words("folder on the node", "节点上的目录"), same("/var/lib/kubelet/pods/…/shared-volume")),
        Box("object", 8, 304, 166, 52, Words("container restarts", "容器重启"), Words("the files stay", "文件还在")),
        Box("gone", 186, 304, 166, 52, Words("pod is deleted", "Pod 被删除"), Words("so is the folder", "目录也随之删除")),
    ),
)

HOSTPATH = Diagram(
    "hostpath",
    Words(
        "A hostPath folder stays on its node when the pod starts on another one", "Pod 换到另一个节点启动，hostPath 目录留在原来的节点上"
    ),
    Words(
        "On k8s-node1 a pod mounted the hostPath folder /srv/tutorial-hostpath and wrote the file greeting. The pod is deleted and started on k8s-node2. "
        "It mounts a folder of the same path there, which is empty: the file stays on k8s-node1.",
        "k8s-node1 上的 Pod 挂载了 hostPath 目录 /srv/tutorial-hostpath，写了文件 greeting。Pod 被删除，又在 k8s-node2 上启动。"
        "它在那里挂载的是路径相同的目录，里面是空的：文件留在 k8s-node1 上。",
    ),
    320,
    (
        Box("frame", 8, 8, 344, 120, same("k8s-node1")),
        Box("gone", 20, 40, 112, 76, POD, Words("deleted", "已删除")),
        Arrow(((132, 78), (164, 78)), gone=True),
        Box("storage", 164, 40, 176, 76, same("hostPath"), Words("/srv/tutorial-hostpath\ngreeting", "/srv/tutorial-hostpath\ngreeting")),
        Arrow(((76, 116), (76, 224))),
        Label(Words("starts on another node;\nthe file isn't moved with it", "在另一个节点上启动；\n文件不会跟着走"), 86, 152),
        Box("frame", 8, 192, 344, 120, same("k8s-node2")),
        Box("pod", 20, 224, 112, 76, POD, Words("running", "运行中")),
        Arrow(((132, 262), (164, 262))),
        Box("storage", 164, 224, 176, 76, same("hostPath"), Words("/srv/tutorial-hostpath\nempty", "/srv/tutorial-hostpath\n空目录")),
    ),
)

STATIC = Diagram(
    "static-provisioning",
    Words(
        "The administrator makes the PV, the user makes PVC and pod, the cluster binds", "管理员创建 PV，用户创建 PVC 和 Pod，集群负责绑定"
    ),
    Words(
        "Static provisioning. The user makes a pod and a PVC in a namespace; the pod names the PVC by claimName. The administrator makes the PV, which belongs "
        "to no namespace and names the NFS export. The cluster binds one PVC and one PV to each other. The kubelet mounts the export into the pod.",
        "静态制备。用户在命名空间里创建 Pod 和 PVC，Pod 用 claimName 写明 PVC。管理员创建 PV，PV 不属于任何命名空间，写明 NFS 导出的目录。"
        "集群把一个 PVC 和一个 PV 互相绑定。kubelet 把导出的目录挂载到 Pod 里。",
    ),
    292,
    (
        Box("frame", 8, 8, 344, 104, Words("user makes, in a namespace", "用户在命名空间里创建")),
        Box("pod", 20, 40, 120, 60, POD, same("mypod1")),
        Arrow(((140, 70), (224, 70))),
        Label(same("claimName"), 181, 62, "middle"),
        Box("object", 224, 40, 116, 60, same("PVC"), same("mypvc1")),
        Arrow(((80, 212), (80, 100))),
        Label(Words("the kubelet\nmounts", "kubelet\n挂载"), 88, 142),
        Arrow(((282, 100), (282, 212)), both=True),
        Label(Words("the cluster\nbinds", "集群\n绑定"), 274, 142, "end"),
        Box("frame", 8, 180, 344, 104, Words("administrator makes", "管理员创建")),
        Box("storage", 20, 212, 120, 60, Words("NFS export", "NFS 导出"), same("/nfsdata/pv1")),
        Arrow(((224, 242), (140, 242))),
        Label(same("nfs.path"), 181, 234, "middle"),
        Box("object", 224, 212, 116, 60, same("PV"), same("mypv1")),
    ),
)

DYNAMIC = Diagram(
    "dynamic-provisioning",
    Words(
        "The provisioner that a StorageClass names makes a PV for each PVC of the class",
        "存储类写明的制备器（provisioner）为该类的每个 PVC 创建 PV",
    ),
    Words(
        "Dynamic provisioning. The administrator makes a StorageClass, which names a provisioner. The user makes a pod and a PVC, which names the StorageClass. "
        "The provisioner sees the PVC and makes a folder and a PV for it. The cluster binds PVC and PV. The kubelet mounts the folder into the pod.",
        "动态制备。管理员创建存储类（StorageClass），其中写明制备器（provisioner）。用户创建 Pod 和 PVC，PVC 写明存储类。"
        "制备器看到 PVC，为它创建目录和 PV。集群把 PVC 和 PV 绑定。kubelet 把目录挂载到 Pod 里。",
    ),
    464,
    (
        Box("frame", 8, 8, 344, 104, Words("user makes", "用户创建")),
        Box("pod", 20, 40, 104, 60, POD),
        Arrow(((124, 70), (212, 70))),
        Label(same("claimName"), 168, 62, "middle"),
        Box("object", 212, 40, 112, 60, same("PVC")),
        Arrow(((76, 212), (76, 100))),
        Label(Words("the kubelet\nmounts", "kubelet\n挂载"), 84, 142),
        Arrow(((268, 100), (268, 212)), both=True),
        Label(Words("the cluster\nbinds", "集群\n绑定"), 260, 142, "end"),
        Box("frame", 8, 180, 330, 104, Words("provisioner makes", "制备器创建")),
        Box("storage", 20, 212, 112, 60, Words("folder", "目录"), same("/nfsdata/…")),
        Arrow(((212, 242), (132, 242))),
        Box("object", 212, 212, 112, 60, same("PV"), same("pvc-…")),
        Arrow(((76, 384), (76, 284))),
        Label(Words("makes both\nfor each PVC", "为每个 PVC\n创建两者"), 84, 314),
        Arrow(((324, 70), (345, 70), (345, 414), (330, 414))),
        Label(Words("the PVC\nnames it", "PVC\n写明"), 336, 314, "end"),
        Box("frame", 8, 352, 344, 104, Words("administrator makes", "管理员创建")),
        Box("pod", 20, 384, 112, 60, Words("provisioner", "制备器"), POD),
        Arrow(((200, 414), (132, 414))),
        Label(Words("names", "写明"), 166, 406, "middle"),
        Box("object", 200, 384, 130, 60, same("StorageClass"), same("nfs-dynamic")),
    ),
)

ATTACH = Diagram(
    "attach-and-mount",
    Words("NFS is only mounted; a volume that is attached stays with a dead node", "NFS 只需挂载；挂接到节点的卷，节点失效后仍留在那里"),
    Words(
        "Two steps bring a volume to a pod: attach it to the node, by the CSI driver, and mount it into the pod, by the kubelet. NFS needs no attach: when the "
        "old node is off, the kubelet of the new node mounts the same export, and the pod moves by itself. A volume that has to be attached keeps its "
        "VolumeAttachment with the dead node, and the new pod waits, until the node is back, gets the taint out-of-service, or 6 minutes after "
        "somebody deleted the old pod by force.",
        "卷到达 Pod 要两步：挂接（attach）到节点，由 CSI 驱动完成；挂载（mount）到 Pod，由 kubelet 完成。NFS 不需要挂接：旧节点关机后，新节点的 kubelet "
        "挂载同一个导出目录，Pod 自己就能转移。需要挂接的卷，VolumeAttachment 仍指向失效的节点，新 Pod 一直等待，直到节点恢复，或节点得到污点 "
        "out-of-service，或有人强制删除旧 Pod 的 6 分钟之后。",
    ),
    544,
    (
        Box(
            "object",
            8,
            8,
            166,
            70,
            Words("1 attach", "1 挂接（attach）"),
            Words("volume to node,\nby the CSI driver", "卷到节点，\n由 CSI 驱动完成"),
        ),
        Arrow(((174, 43), (186, 43))),
        Box(
            "object",
            186,
            8,
            166,
            70,
            Words("2 mount", "2 挂载（mount）"),
            Words("volume into pod,\nby the kubelet", "卷到 Pod，\n由 kubelet 完成"),
        ),
        Box("frame", 8, 90, 344, 178, Words("NFS: mount only", "NFS：只需挂载")),
        Box("gone", 20, 122, 176, 54, Words("k8s-node1: off", "k8s-node1：关机"), Words("old pod", "旧 Pod")),
        Arrow(((196, 149), (230, 149))),
        Box("pod", 230, 122, 110, 54, same("k8s-node2"), Words("new pod", "新 Pod")),
        Arrow(((288, 176), (288, 212))),
        Label(Words("mounts", "挂载"), 280, 198, "end"),
        Box("storage", 170, 212, 170, 44, Words("NFS server", "NFS 服务器")),
        Label(Words("The pod moves\nby itself.", "Pod 自己\n就能转移。"), 20, 230),
        Box("frame", 8, 280, 344, 256, Words("volume that has to be attached", "需要挂接的卷")),
        Box("gone", 20, 312, 176, 54, Words("k8s-node1: off", "k8s-node1：关机"), Words("pod Terminating", "Pod Terminating")),
        Box("pod", 230, 312, 110, 54, same("k8s-node2"), Words("new pod waits", "新 Pod 在等待")),
        Arrow(((100, 402), (100, 366))),
        Label(Words("stays", "仍在"), 108, 388),
        Box("object", 20, 402, 176, 54, same("VolumeAttachment"), Words("volume to k8s-node1", "卷到 k8s-node1")),
        Arrow(((196, 429), (230, 429))),
        Arrow(((288, 366), (288, 402)), gone=True),
        Label(Words("can't attach", "无法挂接"), 280, 388, "end"),
        Box("storage", 230, 402, 110, 54, Words("volume", "卷"), Words("a disk", "一块磁盘")),
        Label(
            Words(
                "Free when the node is back, gets the\ntaint out-of-service, or 6 minutes\nafter a forced deletion of the old pod.",
                "节点恢复、节点得到污点 out-of-service，\n或强制删除旧 Pod 的 6 分钟之后，\n卷才能挂接到新节点。",
            ),
            20,
            484,
        ),
    ),
)

DIAGRAMS = (EMPTYDIR, HOSTPATH, STATIC, DYNAMIC, ATTACH)

MOMENTS: Mapping[str, tuple[Words, Words]] = {
    "power_off": (Words("power off", "关机"), Words("the node of MySQL's pod", "MySQL 的 Pod 所在的节点")),
    "last_answer": (Words("last answer", "最后一次应答"), Words("of the old pod", "来自旧 Pod")),
    "process_gone": (Words("node is off", "节点已关机"), Words("lease not renewed: 50 s of grace", "租约不再续订，宽限期 50 s")),
    "not_ready": (Words("node NotReady", "节点 NotReady"), Words("taint unreachable:NoExecute", "污点 unreachable:NoExecute")),
    "evicted": (Words("pod Terminating", "Pod Terminating"), Words("after 300 s of toleration", "容忍度的 300 s 已过")),
    "replacement_created": (Words("new pod", "新 Pod"), Words("created by the ReplicaSet", "由 ReplicaSet 创建")),
    "replacement_scheduled": (Words("scheduled", "已调度"), Words("to the other node", "到另一个节点")),
    "replacement_running": (Words("running", "容器运行"), Words("mysqld gets its lock on NFS", "mysqld 取得 NFS 服务器上的锁")),
    "replacement_ready": (Words("new pod Ready", "新 Pod Ready"), Words("the Service leads to it", "Service 指向它")),
    "first_answer": (Words("first answer", "第一次应答"), Words("row 111 is there", "数据 111 还在")),
}
"""What the page says of each moment of a fail-over."""


@dataclass(frozen=True)
class Failover:
    """The picture of a run's fail-over, drawn as its report draws it."""

    date: str
    seconds: Mapping[str, float]
    name: ClassVar = "failover"
    title: ClassVar = Words(
        "MySQL's fail-over as it was measured, from power off to the first answer", "实测的 MySQL 故障转移：从关机到第一次应答"
    )

    def svg(self, language: Language) -> str:
        """Return the file."""
        begin = datetime.fromisoformat(self.date).replace(tzinfo=UTC)
        moments = [
            Moment(key, MOMENTS[key][0].of(language), Instant(at, begin + timedelta(seconds=at)), MOMENTS[key][1].of(language))
            for key, at in self.seconds.items()
        ]
        drawn = pictures.draw(Timeline(self.title.of(language), Instant(0.0, begin), ordered(moments)))
        description = same("; ".join(f"{each.seconds:.1f} s: {each.title}, {each.note}" for each in drawn.labels))
        told = Words(f"seconds after power off, run of {self.date}", f"关机后的秒数，{self.date} 实测").of(language)
        return file("failover.svg.j2", language, self.title, description, drawn.height + 24, drawn=drawn, told=told)


def recorded() -> Failover:
    """Return the picture of the run whose figures are kept beside the pictures."""
    return Failover(**json.loads(RECORD.read_text(encoding="utf-8")))


def record_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a run, as its ``timeline.json`` tells of it.

    Raises:
        LabError: the run didn't pass, it has no fail-over, or the lab didn't have Kubernetes' defaults, which the picture speaks of.
    """
    found = next((timeline_of(each) for each in run["timelines"] if each["key"] == "fail-over"), None)
    toleration = run["settings"].get(TOLERATION)
    if run["verdict"] != Verdict.PASS.value or found is None or toleration != "300":
        seen = f"the verdict {run['verdict']}, {'a' if found else 'no'} fail-over and the {TOLERATION} {toleration}"
        raise LabError(
            f"The run {run['name']} has {seen}: take one of `outlive verify` that passed with the recovery profile default, 300 s."
        )
    return {"date": f"{found.origin.wall:%Y-%m-%d}", "seconds": {key: at for key in MOMENTS if (at := found.seconds(key)) is not None}}


def files() -> dict[Path, str]:
    """Return all files with what has to be in them."""
    return {FOLDER / f"{each.name}.{language}.svg": each.svg(language) for each in (*DIAGRAMS, recorded()) for language in LANGUAGES}


def draw(report: Path | None = None) -> None:
    """Write all pictures, the fail-over with the figures of a report's folder where one is given.

    Raises:
        LabError: it isn't a report's folder, or not of a run that can be drawn.
    """
    if report:
        RECORD.write_text(json.dumps(record_of(terminal.read(report)), indent=2) + "\n", encoding="utf-8")
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(ended(lambda: draw(*map(Path, sys.argv[1:2]))))
