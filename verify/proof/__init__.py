"""Proofs that the checks can fail: data that may be lost is lost on purpose, and the checks have to say so."""
