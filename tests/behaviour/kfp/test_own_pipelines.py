"""Experiments as steps of a pipeline of one's own.

KFP reads the annotations here, so they are no texts.
"""

from pathlib import Path

from kfp import compiler, dsl

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.pipelines import experiment
from tests.doubles.kfp.lab import experiment_file, katibflow, put_trial
from tests.doubles.kfp.server import KfpServer
from tests.doubles.kubernetes.lab import Lab


def test_each_experiment_of_a_run_is_known_with_what_it_is_given(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    file = str(experiment_file(tmp_path))

    @dsl.pipeline(name="own")
    def own(trials: str = "4") -> None:
        experiment(file, name="first", max_trial_count=trials, image="python:x")
        experiment(file, name="second", goal=0.1, image="python:x")

    compiler.Compiler().compile(own, str(tmp_path / "own.yaml"))
    pipelines = connect(Access(kfp_server.url))
    version, _ = pipelines.upload("own", "own-1", (tmp_path / "own.yaml").read_text(), "")
    run = pipelines.start("own", "mine", version, {"trials": "3"})
    put_trial(cluster.server, run.run_id, 0, 0.25, name="second")

    to = ("--host", kfp_server.url)
    rows = [line.split()[3:7] for line in katibflow("list", *to).out.splitlines()[1:]]
    assert rows == [["first", "PENDING", "0/3", "-"], ["second", "PENDING", "1/6", "loss=0.25"]]
    assert katibflow("best", "mine/second", *to).out == "x=1\n"
    pipelines.start("own", "with defaults", version, {})
    assert "  0/4  " in katibflow("list", *to).out
    which = katibflow("best", "mine", *to)
    assert which.code == 2
    assert which.err == 'RUN: found "mine"; allowed: mine/first, mine/second\n'
