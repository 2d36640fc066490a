"""The cluster through its API, from the host: reads, watches and the few objects that the verifications make."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3.exceptions
from kubernetes import client, config
from urllib3 import BaseHTTPResponse

from outlive.base.errors import ConflictError, LabError, NotFoundError, UnreachableError
from outlive.base.paths import ROOT, kubectl
from outlive.lab import objects
from outlive.lab.objects import Claim, Deployment, Json, Node, Pod, SecretKey, Volume

CALL_TIMEOUT = (10.0, 60.0)
"""Seconds to connect and to wait for an answer; an emulated API server is slow, not dead."""
ENDS_WITHIN = 90.0
"""Seconds in which a stream that was hung up has ended: an API server that is away is waited for until ``CALL_TIMEOUT`` has passed."""
LEASES = "kube-node-lease"
"""Namespace of the nodes' leases."""
MERGE_PATCH = "application/merge-patch+json"
"""Type of a patch that is a dictionary: the client's own choice for one is a type that the API refuses."""
STALLED_AFTER = CALL_TIMEOUT[1]
"""Seconds without a byte that a stream has come to an end by where it is a ``StalledError``."""
WATCH_SECONDS = 45
"""Seconds after which the API server ends a watch, which is then taken up where it ended; shorter than an answer may take."""


class StalledError(UnreachableError):
    """A stream that brought nothing for ``STALLED_AFTER`` seconds: nobody knows since when it was dead."""


class Line:
    """The line by which a stream comes from the API server; another thread may hang up, which ends the stream, or the next one at once."""

    def __init__(self) -> None:
        """Nothing comes by it yet, and nobody has hung up."""
        self._lock = threading.Lock()
        self._response: BaseHTTPResponse | None = None
        self.hung_up = False

    def take(self, response: BaseHTTPResponse) -> None:
        """Let a stream come by it."""
        with self._lock:
            self._response = response
            self._shut()

    def hang_up(self) -> None:
        """End what comes by it, and what will: who reads gets ``UnreachableError`` or the stream's end."""
        with self._lock:
            self.hung_up = True
            self._shut()

    def _shut(self) -> None:
        if self.hung_up and self._response is not None:
            with suppress(ValueError, RuntimeError, OSError):  # it has ended by itself
                self._response.shutdown()


@dataclass(frozen=True)
class Event:
    """One line of a watch: ``kind`` is LISTED, ADDED, MODIFIED or DELETED; ``data`` the object's JSON."""

    kind: str
    data: Json


class Cluster:
    """The cluster that a kubeconfig leads to."""

    def __init__(self, kubeconfig: Path) -> None:
        """Read the kubeconfig; nothing is sent yet."""
        if not kubeconfig.is_file():
            raise LabError(
                f"The kubeconfig {kubeconfig} (KUBECONFIG) isn't there: it has to be a file that `outlive provision` writes, "
                "so run that first or correct KUBECONFIG."
            )
        settings: Any = client.Configuration
        load: Any = config.load_kube_config
        configuration = settings()
        try:
            load(config_file=str(kubeconfig), client_configuration=configuration)
        except Exception as error:  # the loader raises whatever its YAML and base64 readers raise
            raise LabError(
                f"The kubeconfig {kubeconfig} (KUBECONFIG) can't be read ({_first_line(error)}): "
                "remove it and run `outlive provision`, which writes it again."
            ) from error
        configuration.retries = False
        self.kubeconfig = kubeconfig
        self.server = str(configuration.host)
        api_client: Any = client.ApiClient
        self._core: Any = client.CoreV1Api(api_client(configuration))
        self._apps: Any = client.AppsV1Api(self._core.api_client)
        self._leases: Any = client.CoordinationV1Api(self._core.api_client)
        self._lists: dict[str, Any] = {
            "namespaces": self._core.list_namespace,
            "persistentvolumes": self._core.list_persistent_volume,
            "persistentvolumeclaims": self._core.list_namespaced_persistent_volume_claim,
            "pods": self._core.list_namespaced_pod,
            "events": self._core.list_namespaced_event,
            "deployments": self._apps.list_namespaced_deployment,
            "networkpolicies": client.NetworkingV1Api(self._core.api_client).list_namespaced_network_policy,
        }

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program to this cluster, and a shell to the kubectl of its version.

        Raises:
            LabError: that kubectl isn't there.
        """
        return {"KUBECONFIG": str(self.kubeconfig), "PATH": f"{kubectl().parent}:{os.environ.get('PATH', os.defpath)}"}

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes."""
        return tuple(map(objects.node, self._list(self._core.list_node)))

    def node(self, name: str) -> Node:
        """Return one node."""
        return objects.node(self._get(f"node {name}", self._core.read_node, name))

    def heartbeat(self, name: str) -> str:
        """Return when a node's kubelet renewed its lease last, by its own clock: only a change of it says anything."""
        data = self._get(f"lease of node {name}", self._leases.read_namespaced_lease, name, LEASES)
        return str(data["spec"].get("renewTime", ""))

    def pods(self, namespace: str, selector: str = "") -> tuple[Pod, ...]:
        """Return the pods of a namespace that a label selector picks."""
        return tuple(map(objects.pod, self._list(self._core.list_namespaced_pod, namespace, label_selector=selector or None)))

    def all_pods(self) -> tuple[Pod, ...]:
        """Return the pods of all namespaces."""
        return tuple(map(objects.pod, self._list(self._core.list_pod_for_all_namespaces)))

    def pod(self, namespace: str, name: str) -> Pod:
        """Return one pod."""
        return objects.pod(self._get(f"pod {namespace}/{name}", self._core.read_namespaced_pod, name, namespace))

    def commands(self, namespace: str, selector: str) -> tuple[str, ...]:
        """Return command and arguments of the first pod that a selector picks, to read settings from."""
        for data in self._list(self._core.list_namespaced_pod, namespace, label_selector=selector):
            container = data["spec"]["containers"][0]
            return (*container.get("command", ()), *container.get("args", ()))
        return ()

    def kubelet_configuration(self, name: str) -> Json:
        """Return the configuration that a node's kubelet runs with, defaults included, as it says itself."""
        answer = self._get(f"configuration of {name}'s kubelet", self._core.connect_get_node_proxy_with_path, name, "configz")
        configuration: Json | None = answer.get("kubeletconfig")
        if configuration is None:
            raise LabError(f"The kubelet of {name} doesn't say how it is configured: it answers with {', '.join(answer) or 'nothing'}.")
        return configuration

    def deployment(self, namespace: str, name: str) -> Deployment:
        """Return one Deployment."""
        return objects.deployment(self._get(f"deployment {namespace}/{name}", self._apps.read_namespaced_deployment, name, namespace))

    def volumes(self) -> tuple[Volume, ...]:
        """Return all PersistentVolumes."""
        return tuple(map(objects.volume, self._list(self._core.list_persistent_volume)))

    def volume(self, name: str) -> Volume:
        """Return one PersistentVolume."""
        return objects.volume(self._get(f"volume {name}", self._core.read_persistent_volume, name))

    def claims(self, namespace: str) -> tuple[Claim, ...]:
        """Return the PersistentVolumeClaims of a namespace."""
        return tuple(map(objects.claim, self._list(self._core.list_namespaced_persistent_volume_claim, namespace)))

    def claim(self, namespace: str, name: str) -> Claim:
        """Return one PersistentVolumeClaim."""
        read = self._core.read_namespaced_persistent_volume_claim
        return objects.claim(self._get(f"claim {namespace}/{name}", read, name, namespace))

    def listing(self, kind: str, namespace: str = "") -> list[Json]:
        """Return all objects of a kind as the API gives them; of a kind that has them, those of a namespace."""
        return self._list(self._lists[kind], *([namespace] if namespace else []))

    def service_address(self, namespace: str, name: str) -> str:
        """Return the cluster address of a Service."""
        data = self._get(f"service {namespace}/{name}", self._core.read_namespaced_service, name, namespace)
        return str(data["spec"]["clusterIP"])

    def secret(self, namespace: str, reference: SecretKey) -> str:
        """Return the text that a key of a Secret holds."""
        read = self._core.read_namespaced_secret
        data = self._get(f"secret {namespace}/{reference.name}", read, reference.name, namespace)
        values = data.get("data", {})
        if reference.key not in values:
            raise NotFoundError(
                f"The secret {namespace}/{reference.name} has no key {reference.key!r}: `outlive tutorial apply` writes it."
            )
        return base64.b64decode(values[reference.key]).decode()

    def create_pod(self, namespace: str, manifest: Json) -> None:
        """Create a pod."""
        self._call(f"pod {manifest['metadata']['name']}", self._core.create_namespaced_pod, namespace, dict(manifest))

    def delete_pod(self, namespace: str, name: str, grace: int | None = None, uid: str = "") -> None:
        """Delete a pod; one that isn't there is no error.

        Args:
            namespace: Its namespace.
            name: Its name.
            grace: Its seconds to end; 0 forgets it at once.
            uid: Its uid, where a namesake has to be left alone: then it isn't there any more either.
        """
        # All in the body: where there is one, the API server doesn't heed the query.
        body: Json = ({} if grace is None else {"gracePeriodSeconds": grace}) | ({"preconditions": {"uid": uid}} if uid else {})
        gone = (NotFoundError, ConflictError) if uid else (NotFoundError,)
        with suppress(*gone):
            self._call(f"pod {namespace}/{name}", self._core.delete_namespaced_pod, name, namespace, body=body)

    def scale(self, namespace: str, deployment: str, replicas: int) -> None:
        """Set how many pods a Deployment wants."""
        body = {"spec": {"replicas": replicas}}
        self._call(
            f"deployment {namespace}/{deployment}",
            self._apps.patch_namespaced_deployment_scale,
            deployment,
            namespace,
            body,
            _content_type=MERGE_PATCH,
        )

    def create_service(self, namespace: str, manifest: Json) -> Json:
        """Create a Service and return it as the API made it, with the ports that it was given."""
        made: Json = json.loads(
            self._call(f"service {manifest['metadata']['name']}", self._core.create_namespaced_service, namespace, dict(manifest)).data
        )
        return made

    def delete_service(self, namespace: str, name: str) -> None:
        """Delete a Service; one that isn't there is no error."""
        try:
            self._call(f"service {namespace}/{name}", self._core.delete_namespaced_service, name, namespace)
        except NotFoundError:
            return

    def watch_nodes(self, line: Line) -> Iterator[Event]:
        """List the nodes, then follow their changes until the watch breaks (``UnreachableError``)."""
        return self._watch(line, self._core.list_node)

    def watch_pods(self, line: Line, namespace: str) -> Iterator[Event]:
        """List the pods of a namespace, then follow their changes until the watch breaks (``UnreachableError``)."""
        return self._watch(line, self._core.list_namespaced_pod, namespace)

    def log(self, namespace: str, name: str, lines: int, *, previous: bool = False) -> str:
        """Return the last lines of a pod's log, or of that of its container before the present one."""
        read = self._core.read_namespaced_pod_log
        return str(
            self._call(f"log of {namespace}/{name}", read, name, namespace, tail_lines=lines, previous=previous).data.decode(
                errors="replace"
            )
        )

    def follow_log(self, line: Line, namespace: str, name: str) -> Iterator[str]:
        """Yield the lines that a pod writes from now on, as they come, until the stream ends."""
        response = self._call(
            f"log of pod {namespace}/{name}",
            self._core.read_namespaced_pod_log,
            name,
            namespace,
            follow=True,
            tail_lines=0,
        )
        line.take(response)
        yield from _lines(response)

    def _watch(self, line: Line, list_call: Callable[..., Any], *arguments: str) -> Iterator[Event]:
        listing = json.loads(self._call("watch", list_call, *arguments).data)
        for item in listing["items"]:
            yield Event("LISTED", item)
        version = listing["metadata"]["resourceVersion"]
        while not line.hung_up:
            response = self._call("watch", list_call, *arguments, watch=True, resource_version=version, timeout_seconds=WATCH_SECONDS)
            line.take(response)
            for told in _lines(response):
                event = json.loads(told)
                if event["type"] == "ERROR":  # 410 Gone: the version is too old, list again
                    raise UnreachableError(f"the API server ended a watch ({event['object'].get('message', '')})")
                version = event["object"]["metadata"]["resourceVersion"]
                yield Event(event["type"], event["object"])

    def _list(self, call: Callable[..., Any], *arguments: str, **options: object) -> list[Json]:
        answer = json.loads(self._call("list", call, *arguments, **options).data)
        items: list[Json] = answer["items"]
        return items

    def _get(self, subject: str, call: Callable[..., Any], *arguments: str) -> Json:
        answer: Json = json.loads(self._call(subject, call, *arguments).data)
        return answer

    def _call(self, subject: str, call: Callable[..., Any], *arguments: object, **options: object) -> BaseHTTPResponse:
        """Send a request and return its raw response, read to its end where it isn't a stream; errors become sentences."""
        stream = "watch" in options or "follow" in options
        try:
            response: BaseHTTPResponse = call(*arguments, **options, _preload_content=False, _request_timeout=CALL_TIMEOUT)
            if not stream or response.status >= HTTPStatus.BAD_REQUEST:
                response.read(cache_content=True)  # an API server that ends may end in the midst of an answer
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"the API server {self.server} gave no answer ({_first_line(error)})") from error
        except client.ApiException as error:
            raise self._refused(subject, error.status or 0, str(error.reason)) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise self._refused(subject, response.status, _message(response.data))
        return response

    def _refused(self, subject: str, status: int, message: str) -> LabError:
        """Return the error for an answer that isn't the wanted one."""
        if status == HTTPStatus.FORBIDDEN and not self._ready():
            # While it starts, the API server knows no roles yet and refuses even its administrator.
            return UnreachableError(f"the API server {self.server} answered {status} while it starts ({message})")
        return _refusal(subject, self, status, message)

    def _ready(self) -> bool:
        """Say whether the API server calls itself ready."""
        try:
            answer = self._core.api_client.call_api("GET", f"{self.server}/readyz", header_params={}, _request_timeout=CALL_TIMEOUT)
        except (urllib3.exceptions.HTTPError, OSError, client.ApiException):
            return False
        return bool(answer.status == HTTPStatus.OK)


def connect() -> Cluster:
    """Return the cluster of ``KUBECONFIG``, else of the lab's own kubeconfig."""
    return Cluster(Path(os.environ.get("KUBECONFIG") or ROOT / ".lab" / "kubeconfig"))


def _refusal(subject: str, cluster: Cluster, status: int, message: str) -> LabError:
    """Return the error for an answer that isn't the wanted one."""
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(
            f"The cluster has no {subject}: `kubectl get` shows what it has; `outlive tutorial apply` applies the manifests."
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return LabError(
            f"The API server {cluster.server} refuses the credentials of {cluster.kubeconfig} ({message}): "
            "the kubeconfig has to be of this cluster, so run `outlive provision`, which writes it again."
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnreachableError(f"the API server {cluster.server} answered {status} ({message})")
    kind = ConflictError if status == HTTPStatus.CONFLICT else LabError
    return kind(f"The API server {cluster.server} refuses {subject} with {status} ({message}).")


def _lines(response: BaseHTTPResponse) -> Iterator[str]:
    """Yield the lines of a streamed response as they arrive."""
    rest = b""
    try:
        for piece in response.stream(amt=None, decode_content=False):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole if line)
        if rest:
            yield rest.decode(errors="replace")
    except urllib3.exceptions.ReadTimeoutError as error:
        raise StalledError(f"a stream from the API server brought nothing for {STALLED_AFTER:.0f} s") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UnreachableError(f"a stream from the API server broke ({_first_line(error)})") from error
    finally:
        response.close()


def _message(body: bytes) -> str:
    """Return the message in the API's answer to a refused request."""
    try:
        return str(json.loads(body).get("message", ""))
    except (json.JSONDecodeError, AttributeError):
        return body.decode(errors="replace")[:200]


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
