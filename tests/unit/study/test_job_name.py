"""Names of trials' jobs."""

from __future__ import annotations

from katibflow.study.job_name import job_name


def test_job_names_are_the_same_whenever_asked_for_and_fit_a_label() -> None:
    assert job_name("sample", "0a1b2c3d", 7) == "sample-0a1b2c3d-7"
    assert len(job_name("a" * 40, "b" * 12, 999_999_999)) <= 63
