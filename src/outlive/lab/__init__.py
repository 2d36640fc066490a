"""The library beneath the tests, in layers that call only downward.

From the top: ``faults`` · ``steady`` · ``failover`` · ``report`` · ``picture`` use ``machines`` · ``kube`` ·
``recorder`` · ``mysql`` · ``nfs`` · ``remote``, and those use ``inventory`` · ``wait`` · ``clock`` · ``errors``.
"""
