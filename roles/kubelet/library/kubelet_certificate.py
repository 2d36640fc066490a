#!/usr/bin/python
"""Ansible module that lets the cluster sign the serving certificate of a kubelet, and waits until the API server reaches the kubelet by it.

A kubelet asks for a certificate by itself (``serverTLSBootstrap``), and Kubernetes signs what was approved; it approves nothing by itself, as only
the administrator knows which names and addresses are a node's own.
"""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import urllib3.exceptions
from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.x509.oid import NameOID
from kubernetes import client, config

DOCUMENTATION = r"""
module: kubelet_certificate
short_description: Let the cluster sign the serving certificate of a kubelet
description:
  - Approves the requests that the kubelet of a node made for a serving certificate, where they ask for the node's own name and address and nothing else.
  - Waits until the API server reaches the kubelet, which it does by a certificate of the cluster only.
  - Runs on the machine that has the kubeconfig. Run again it approves what the kubelet asked for meanwhile, as it does before a certificate runs out.
author: The outlive developers
options:
  kubeconfig:
    description: Kubeconfig of an administrator.
    type: path
    required: true
  node:
    description: Name of the node in the cluster.
    type: str
    required: true
  address:
    description: Address of the node, the only one that its certificate may have.
    type: str
    required: true
  timeout:
    description: Seconds until the API server must reach the kubelet. A kubelet asks for its certificate when its node is known, on a slow machine a while after it joined.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Let the cluster sign the kubelet's serving certificate
  kubelet_certificate:
    kubeconfig: /etc/kubernetes/admin.conf
    node: k8s-node1
    address: 192.0.2.11
  delegate_to: localhost
"""

RETURN = r"""
approved:
  description: Names of the requests that were approved; in check mode those that would be.
  type: list
  elements: str
  returned: always
"""

SIGNER = "kubernetes.io/kubelet-serving"
USAGES = {"digital signature", "key encipherment", "server auth"}
"""What a serving certificate may be used for; the signer takes no other ones."""
CALL_TIMEOUT = (10.0, 60.0)
"""Seconds to connect and to wait for an answer; an emulated API server is slow, not dead."""
MERGE_PATCH = "application/merge-patch+json"
"""Type of a patch that is a dictionary: the client's own choice for one is a type that the API refuses."""
EVERY = 1.0
"""Seconds from one look to the next."""


def objection(request: dict[str, Any], node: str, address: str) -> str:
    """Return what is wrong with the certificate that a node's kubelet asks for; nothing where it may have it."""
    try:
        asked = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    except ValueError as error:
        return f"can't be read ({error})"
    names = {
        kind: [str(each.value) for each in asked.subject.get_attributes_for_oid(kind)] for kind in {each.oid for each in asked.subject}
    }
    if names != {NameOID.COMMON_NAME: [f"system:node:{node}"], NameOID.ORGANIZATION_NAME: ["system:nodes"]}:
        return f"is for {asked.subject.rfc4514_string()}"
    try:
        subjects: list[x509.GeneralName] = list(asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        subjects = []
    found = {str(each.value) for each in subjects}
    known = all(isinstance(each, x509.DNSName | x509.IPAddress) for each in subjects)
    if not known or address not in found or not found <= {node, address}:
        return f"is for {', '.join(sorted(found)) or 'no address'}, and only {node} and {address} are the node's own"
    if not set(request["spec"]["usages"]) <= USAGES:
        return f"is for {', '.join(request['spec']['usages'])}"
    return ""


class Requests:
    """A cluster's certificate requests, and its way to a kubelet."""

    def __init__(self, kubeconfig: str, node: str) -> None:
        """Read the kubeconfig; nothing is sent yet."""
        settings: Any = client.Configuration
        configuration = settings()
        load: Any = config.load_kube_config
        load(config_file=kubeconfig, client_configuration=configuration)
        configuration.retries = False
        api_client: Any = client.ApiClient
        self._node = node
        self._core: Any = client.CoreV1Api(api_client(configuration))
        self._certificates: Any = client.CertificatesV1Api(self._core.api_client)

    def pending(self) -> list[dict[str, Any]]:
        """Return the node's requests for a serving certificate that nobody has decided on. The API server writes down who asks."""
        listing = json.loads(
            self._certificates.list_certificate_signing_request(
                field_selector=f"spec.signerName={SIGNER}", _preload_content=False, _request_timeout=CALL_TIMEOUT
            ).data
        )
        return [
            each
            for each in listing["items"]
            if each["spec"].get("username") == f"system:node:{self._node}" and not each.get("status", {}).get("conditions")
        ]

    def approve(self, request: dict[str, Any]) -> None:
        """Approve a request."""
        condition = {"type": "Approved", "status": "True", "reason": "OwnNameAndAddress", "message": "Approved by Ansible."}
        self._certificates.patch_certificate_signing_request_approval(
            request["metadata"]["name"],
            {"status": {"conditions": [condition]}},
            _content_type=MERGE_PATCH,
            _preload_content=False,
            _request_timeout=CALL_TIMEOUT,
        )

    def reached(self) -> None:
        """Ask the kubelet through the API server how it is.

        Raises:
            ApiException: the API server doesn't reach it.
        """
        self._core.connect_get_node_proxy_with_path(self._node, "healthz", _preload_content=False, _request_timeout=CALL_TIMEOUT)


def reason(error: Exception) -> str:
    """Return in one line why something can't be had."""
    if isinstance(error, client.ApiException):
        text = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
        with suppress(ValueError, KeyError, TypeError):
            text = json.loads(text)["message"]
    else:
        text = str(error)
    return " ".join(text.split())


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "node": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    node, address = module.params["node"], module.params["address"]
    try:
        requests = Requests(module.params["kubeconfig"], node)
    except Exception as error:  # the loader raises whatever its YAML and base64 readers raise
        module.fail_json(
            msg=f"The kubeconfig {module.params['kubeconfig']} can't be read ({reason(error)}): run playbooks/site.yml again, which writes it."
        )
    approved: list[str] = []
    end = time.monotonic() + module.params["timeout"]
    while True:
        refused = ""
        try:
            for request in requests.pending():
                name = request["metadata"]["name"]
                wrong = objection(request, node, address)
                if wrong:
                    refused = f"the request {name} of its kubelet {wrong}, and was not approved"
                    continue
                if not module.check_mode:
                    requests.approve(request)
                approved.append(name)
            if module.check_mode:
                break
            requests.reached()
            break
        except client.ApiException as error:
            last = reason(error)
            if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                # While it starts, the API server knows no roles yet and refuses even its administrator.
                last = f"the API server refuses the kubeconfig: {last}"
        except (urllib3.exceptions.HTTPError, OSError) as error:
            last = f"no answer: {reason(error)}"
        if time.monotonic() > end:
            module.fail_json(
                msg=f"The API server doesn't reach the kubelet of {node} at {address} within {module.params['timeout']} s ({'; '.join(filter(None, [last, refused]))}): "
                "look at `kubectl get csr` and at `journalctl -u kubelet` on the node, then run this again."
            )
        time.sleep(EVERY)
    if refused:
        module.warn(f"{node}: {refused}.")
    module.exit_json(changed=bool(approved), approved=approved)


if __name__ == "__main__":
    main()
