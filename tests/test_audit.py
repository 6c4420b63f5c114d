"""What the audit of dependencies says, and when it fails."""

from __future__ import annotations

from tests.audit import judged

GOOD = {"name": "trio", "version": "1", "vulns": []}
BAD = {"name": "h11", "version": "0.1", "vulns": [{"id": "CVE-1", "fix_versions": ["0.16"]}]}
UNKNOWN = {"name": "ours", "skip_reason": "not found"}


def test_a_known_weakness_fails_and_names_the_release_that_mends_it():
    status, said = judged([GOOD, BAD], "")
    assert status == 1
    assert said[0] == "audit: h11 0.1: CVE-1; mended in 0.16"
    assert said[-1] == "audit: 2 packages, 1 with known weaknesses"


def test_without_one_it_passes_and_says_what_it_could_not_look_at():
    assert judged([GOOD, UNKNOWN], "") == (
        0,
        ["audit: 1 packages, 0 with known weaknesses; 1 are not known there"],
    )


def test_advisories_out_of_reach_are_told_and_no_failure():
    for found, trouble in (([], "no route"), ([UNKNOWN], "")):
        status, [said] = judged(found, trouble)
        assert status == 0
        assert said.startswith("audit: NOT DONE")
