"""The class `Experiment`, which can be run, compiled and submitted.

A user imports it from ``katibflow``. What a run returns is in `result` and `run`.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from katibflow.api.arguments import check_run_arguments
from katibflow.api.result import Result
from katibflow.api.run_keywords import given_texts, with_run_keywords
from katibflow.api.warning_listener import WarningListener
from katibflow.compiler.targets import target_of
from katibflow.engine.signals import caught
from katibflow.errors import InputError
from katibflow.experiment.config_map import ReadConfigMap, source_of, with_template
from katibflow.experiment.yaml_reader import dump_document
from katibflow.extras import require
from katibflow.printing import warn
from katibflow.runners.backends import DEFAULT, backend_of
from katibflow.study.files import write_file
from katibflow.suggestion.enqueued import ENQUEUE, read_enqueued
from katibflow.validation.reading import map_in_file, read_plain
from katibflow.validation.rules import check_document

if TYPE_CHECKING:
    from katibflow.api.run import Recurring, Run
    from katibflow.engine.events import Watcher
    from katibflow.experiment import types as model
    from katibflow.progress.status import Status
    from katibflow.runs.overrides import Overrides

__all__ = ["Experiment"]


class Experiment:
    """A checked Katib Experiment.

    Args:
        document: The Experiment as plain data, with the YAML's names.
        source: The name of its origin, as a file's name, for errors.

    Raises:
        InvalidExperiment: The Experiment has faults; the error lists all, each with its path.
    """

    def __init__(self, document: Mapping[str, Any], source: str = "experiment") -> None:
        self._document = dict(document)
        self._source = source
        self.model: model.Experiment = check_document(document, source, needs_template=False)

    @classmethod
    def from_yaml(
        cls, file: str | Path, *, name: str | None = None, config_map: str | Path | None = None
    ) -> Experiment:
        """Reads an Experiment's file.

        Args:
            file: Path of the YAML file.
            name: A name in place of ``metadata.name``; None keeps that.
            config_map: Path of the ConfigMap's YAML file with the trial template, for an Experiment
                with ``trialTemplate.configMap``. Without it a run in a cluster reads the
                ConfigMap there.

        Raises:
            InputError: A file cannot be read, or the Experiment has faults.
        """
        read = map_in_file(None if config_map is None else Path(config_map))
        document = read_plain(Path(file), name, read)
        return cls(document, str(file))

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return self.model.name

    def to_yaml(self) -> str:
        """Returns the Experiment as YAML, which ``katibflow run`` and ``from_yaml`` take."""
        return dump_document(self.model.document())

    def enqueue(self, *assignments: Mapping[str, Any]) -> Experiment:
        """Returns the Experiment with assignments that its first trials try, in this order.

        They count like all trials, and travel in an annotation of the Experiment, into pipelines
        too. A run that goes on tries only those that it has not tried.

        Args:
            *assignments: For each trial a value for each active parameter, by name.

        Raises:
            InputError: Assignments are no mapping.
            InvalidExperiment: A value is not in the search space, or the algorithm cannot begin
                with given trials; the error lists all faults.
        """
        for each in assignments:
            if not isinstance(each, Mapping):
                raise InputError(
                    f"enqueue: found {each!r}; allowed: a mapping from each active parameter to "
                    'its value, as {"lr": 0.01}'
                )
        metadata = dict(self._document["metadata"])
        annotations = dict(metadata.get("annotations") or {})
        before = read_enqueued(annotations.get(ENQUEUE, "[]"))
        texts = [{name: str(value) for name, value in each.items()} for each in assignments]
        annotations[ENQUEUE] = json.dumps([*before, *texts])
        document = {**self._document, "metadata": {**metadata, "annotations": annotations}}
        return Experiment(document, self._source)

    def run(
        self,
        *,
        on: str = DEFAULT,
        runs: str | Path = "runs",
        maps: Mapping[str, str | Path] | None = None,
        namespace: str | None = None,
        context: str | None = None,
        resume: str | None = None,
        trial_timeout: float | None = None,
        trial_start_timeout: float | None = None,
        drain: bool = False,
        storage: str | None = None,
        track: str | None = None,
        warm_start: str | Path | None = None,
        fresh: bool = False,
        keep: bool = False,
        max_trial_count: int | None = None,
        parallel_trial_count: int | None = None,
        max_failed_trial_count: int | None = None,
        goal: float | None = None,
        algorithm_name: str | None = None,
        seed: int | None = None,
        env: Mapping[str, str] | None = None,
        env_file: str | Path | Sequence[str | Path] | None = None,
        python: str | Path | None = None,
        gpus: int | None = None,
        clean_env: bool = False,
        progress: bool = True,
        **others: Any,
    ) -> Result:
        """Runs the Experiment to its end, or resumes the run of its name in ``runs``.

        If the Experiment, a tuned function or a script that it names has changed since that run,
        ``fresh`` or ``keep`` must say what to do.

        An interrupt (Ctrl-C, or a notebook's stop button) stops the running trials, which stay on
        record; the same call then resumes the run.

        Args:
            on: ``local`` for processes of this machine, ``kubernetes`` for jobs of a cluster.
            runs: Folder that holds a folder for each run.
            maps: Paths inside the trials' image, each with the path on this machine that replaces
                it.
            namespace: The jobs' namespace; by default the Experiment's, or else the kubeconfig's.
            context: The kubeconfig's context; by default the current one.
            resume: ``all``, or the id of a run in the cluster: finished trials of those runs count.
            trial_timeout: Seconds that a trial may take, above 0; no limit by default.
            trial_start_timeout: Seconds within which a trial's replicas must have started, above 0;
                600 by default.
            drain: Whether to let running trials finish when the experiment is over.
            storage: An Optuna storage to which the run is copied while it goes on: a URL, as
                ``sqlite:///studies.db``, or a journal's file.
            track: The tracker that the run is written to while it goes on, as
                ``mlflow:http://host:5000`` or ``wandb:project``.
            warm_start: The folder of an earlier run of the same search space, as ``runs/mnist``:
                the algorithm learns from its trials, which count for nothing else.
            fresh: Whether to begin anew. The folder of an earlier run is kept under a dated name.
            keep: Whether to go on with trials that ran before the Experiment or a script changed.
            max_trial_count: In place of the Experiment's ``maxTrialCount``, from 1.
            parallel_trial_count: In place of its ``parallelTrialCount``, from 1.
            max_failed_trial_count: In place of its ``maxFailedTrialCount``, from 0.
            goal: In place of the objective's goal.
            algorithm_name: In place of its algorithm, with that one's default settings.
            seed: The algorithm's seed, in place of its setting ``random_state``.
            env: Variables of the trials' container by name; the run keeps them.
            env_file: A file of variables, or several, one ``NAME=VALUE`` a line, also in place of
                Secrets and ConfigMaps on this machine; their values are not kept.
            python: The trials' Python on this machine: an interpreter, or the folder of a virtual
                environment; by default the one that runs this.
            gpus: How many GPUs of this machine the trials share that ask for some, in place of
                those that are found; 0 runs them without.
            clean_env: Whether trials inherit only PATH, HOME and the like of this process's
                environment.
            progress: Whether to show the progress on standard output.
            **others: Options of other backends, by name.

        Returns:
            The result, even if too many trials failed: see its ``succeeded``.

        Raises:
            InputError: An argument is wrong, or the trials cannot run on that backend.
            RunnerError: The backend cannot run any trial now.
            KeyboardInterrupt: The run was interrupted.
        """
        given = dict(locals())
        from katibflow.runners.stopping import StopRequest
        from katibflow.runs.options import Options
        from katibflow.runs.overrides import Overrides
        from katibflow.runs.running import run_to_end

        check_run_arguments(given, others)
        of_backend = {
            "maps": [f"{inside}={here}" for inside, here in (maps or {}).items()],
            "namespace": namespace,
            "context": context,
            "resume": resume,
            "python": None if python is None else str(python),
            "env_file": _paths(env_file),
            "gpus": gpus,
            "clean_env": clean_env or None,
            **others,
        }
        overrides = Overrides(
            max_trial_count=max_trial_count,
            parallel_trial_count=parallel_trial_count,
            max_failed_trial_count=max_failed_trial_count,
            goal=goal,
            algorithm_name=algorithm_name,
            seed=seed,
            env=env or {},
        )
        options = Options(
            source=self._source,
            on=on,
            of_backend=of_backend,
            trial_timeout=trial_timeout,
            trial_start_timeout=trial_start_timeout,
            drain=drain,
            storage=storage,
            track=track,
            warm_start=None if warm_start is None else Path(warm_start),
            fresh=fresh,
            keep=keep,
        )
        model = self._with_template(backend_of(on).template_reader(of_backend), overrides)
        show = _shown if progress else _unseen
        stop = StopRequest()
        in_main = threading.current_thread() is threading.main_thread()  # only it gets signals
        with caught(stop, (signal.SIGINT,)) if in_main else nullcontext():
            run = run_to_end(model, Path(runs), options, show=show, stop=stop)
        if run.interrupted is not None:
            raise KeyboardInterrupt(run.interrupted.text)
        return Result(run.history, run.ending, run.folder)

    def compile(
        self,
        output: str | Path,
        *,
        layout: str = "auto",
        image: str | None = None,
        package: str | None = None,
        target: str = "kfp",
        kind: str | None = None,
        schedule: str | None = None,
        service_account: str | None = None,
        artifacts: bool = False,
        argo_version: str | None = None,
    ) -> Path:
        """Compiles the Experiment to a file for Kubeflow Pipelines, or for Argo Workflows alone.

        It warns of the file's limits.

        Args:
            output: Path of the file to write.
            layout: ``rounds``: a step for each trial; ``controller``: one step for all of them;
                ``auto``: ``rounds`` where the trials fit into one run.
            image: An image with katibflow for all steps, in place of the code in the file.
            package: A release to install in each step, as ``katibflow==X``, in place of the code in
                the file.
            target: What runs the file: ``kfp`` or ``argo``.
            kind: For Argo: ``workflow``, ``workflowtemplate`` or ``cronworkflow``; by default a
                WorkflowTemplate, or with ``schedule`` a CronWorkflow.
            schedule: For Argo: a cron expression, as ``"0 3 * * *"`` for every day at 3:00 (UTC).
            service_account: For Argo: the pods' service account; by default the namespace's.
            artifacts: For Argo: whether to keep report, study and logs in its artifact repository.
            argo_version: For Argo: its version, as ``"3.7"``; by default the newest.

        Returns:
            The path of the file.

        Raises:
            InputError: The layout cannot hold the Experiment, or the file cannot be written.
        """
        from katibflow.client.compiling import ForArgo, compile_for

        compiled = compile_for(
            target_of(target, "target"),
            self._with_template(None),
            ForArgo(kind, schedule, service_account, artifacts, argo_version),
            image=image,
            package=package,
            layout=layout,
            source=self._source,
        )
        for warning in compiled.warnings:
            warnings.warn(f"{self._source}: {warning}", stacklevel=2)
        path = Path(output)
        write_file(path, compiled.text)
        return path

    @overload
    def submit(self, *, schedule: str, **arguments: Any) -> Recurring: ...

    @overload
    def submit(self, *, every: str, **arguments: Any) -> Recurring: ...

    @overload
    def submit(
        self,
        *,
        to: str = "kfp",
        host: str | None = None,
        namespace: str | None = None,
        context: str | None = None,
        ca_file: str | Path | None = None,
        parameters: Mapping[str, Any] | None = None,
        kfp_experiment: str | None = None,
        layout: str = "auto",
        image: str | None = None,
        package: str | None = None,
        schedule: None = None,
        every: None = None,
        service_account: str | None = None,
        artifacts: bool = False,
        argo_version: str | None = None,
        **run_parameters: Any,
    ) -> Run: ...

    @with_run_keywords
    def submit(
        self,
        *,
        to: str = "kfp",
        host: str | None = None,
        namespace: str | None = None,
        context: str | None = None,
        ca_file: str | Path | None = None,
        parameters: Mapping[str, Any] | None = None,
        kfp_experiment: str | None = None,
        layout: str = "auto",
        image: str | None = None,
        package: str | None = None,
        schedule: str | None = None,
        every: str | None = None,
        service_account: str | None = None,
        artifacts: bool = False,
        argo_version: str | None = None,
        **run_parameters: Any,
    ) -> Run | Recurring:
        """Compiles the Experiment and starts a run of it, in Kubeflow Pipelines or Argo alone.

        For Kubeflow Pipelines the pipeline is uploaded unless it is there. For Argo a Workflow is
        created through the kubeconfig, or from a pod of the cluster.

        With ``schedule`` or ``every`` this creates a recurring run instead; each of its runs is a
        study of its own, unless ``resume`` is given.

        Keywords for a run's parameters replace the Experiment's values; ``"none"`` removes a
        value.

        Args:
            to: What runs it: ``kfp`` or ``argo``.
            host: The installation's address; by default ``KF_PIPELINES_ENDPOINT``, the cluster
                that this process runs in, or the kubeconfig's.
            namespace: The namespace of the run and its jobs; needed where users have their own.
            context: The kubeconfig's context, for the trials' jobs; by default the current one.
            ca_file: File with the certificates to trust, in place of the usual ones.
            parameters: The run's parameters by the pipeline's names, as ``{"maxTrialCount": 20}``,
                in place of the keywords below; None removes a value.
            kfp_experiment: Name of KFP's experiment for the run; by default the Experiment's name.
            layout: ``auto``, ``rounds`` or ``controller``; see ``compile``.
            image: Image for all steps; see ``compile``.
            package: Release to install in each step; see ``compile``.
            schedule: A cron expression, as ``"0 3 * * *"`` for every day at 3:00 (UTC).
            every: The time from one start to the next, as ``"6h"``.
            service_account: For Argo: the pods' service account; by default the namespace's.
            artifacts: For Argo: whether to keep report, study and logs in its artifact repository.
            argo_version: For Argo: its version, as ``"3.7"``; by default the newest.
            **run_parameters: What the run changes, see `katibflow.steps.run_parameters`.

        Returns:
            The run, or the recurring run with its id and its link.

        Raises:
            InputError: The Experiment cannot run there, or does not fit the parameters.
            RunnerError: The server cannot be reached, or refuses.
        """
        target = target_of(to, "to")
        require(target, "Experiment.submit")
        from katibflow.api.run import Recurring, Run
        from katibflow.client.schedules import trigger_of
        from katibflow.client.submitting import Submission
        from katibflow.handles.submitting import Destination
        from katibflow.handles.submitting import submit as submit_to
        from katibflow.runners.kubernetes.config_maps import map_in_cluster

        given = given_texts(run_parameters, parameters)
        trigger = trigger_of(schedule, every)
        destination = Destination(
            target, host, namespace, context, ca_file, service_account, artifacts, argo_version
        )
        destination.check(kfp_experiment)
        submission = Submission(
            self._with_template(map_in_cluster(context)),
            self._source,
            given,
            layout,
            image,
            package,
            kfp_experiment,
        )
        listener = WarningListener(self._source)
        made = submit_to(submission, destination, listener, trigger, warn)
        return made if isinstance(made, Recurring) else Run(made)

    @with_run_keywords
    def task(
        self,
        *,
        layout: str = "auto",
        image: str | None = None,
        package: str | None = None,
        **run_parameters: Any,
    ) -> Any:
        """Returns the Experiment as one task of the pipeline in whose function this is called.

        ``katibflow.pipelines.experiment`` makes the same task. Its outputs are ``best_parameters``
        and ``best_value``. A run's parameter is a value, or an output of another task or a
        parameter of the pipeline, of type ``str``.

        Args:
            layout: ``auto``, ``rounds`` or ``controller``; see ``compile``.
            image: Image for all steps; see ``compile``.
            package: Release to install in each step; see ``compile``.
            **run_parameters: What the run changes, see `katibflow.steps.run_parameters`.

        Raises:
            InputError: An argument is wrong, or the pipeline cannot hold the Experiment.
        """
        from katibflow.api.pipeline_task import pipeline_task

        return pipeline_task(self, layout=layout, image=image, package=package, **run_parameters)

    def _with_template(
        self, read: ReadConfigMap | None, overrides: Overrides | None = None
    ) -> model.Experiment:
        """Returns the Experiment, with the template from its ConfigMap if ``read`` is given.

        Args:
            read: Reads the ConfigMap.
            overrides: Values in place of the Experiment's; None for none.
        """
        from katibflow.runs.overrides import Overrides, checked_with_overrides

        document = self._document
        reference = source_of(document)
        if reference is not None and read is not None:
            document = with_template(document, *read(reference))
        given = Overrides() if overrides is None else overrides
        if reference is None and given == Overrides():
            return self.model
        return checked_with_overrides(document, given, self._source, check_document, in_python=True)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the objective, the algorithm and the search space."""
        from katibflow.report.notebook import experiment_html

        return experiment_html(self.model)

    def __repr__(self) -> str:
        spec = self.model.spec
        names = ", ".join(parameter.name for parameter in spec.parameters)
        return f"<Experiment {self.name}: {names}; {spec.algorithm.algorithm_name}>"


def _paths(given: str | Path | Sequence[str | Path] | None) -> list[str]:
    """Returns one path, or several, as texts."""
    several = [given] if isinstance(given, str | Path) else given or []
    return [str(path) for path in several]


def _unseen(status: Status) -> AbstractContextManager[Watcher]:
    return nullcontext(lambda update: None)


def _shown(status: Status) -> AbstractContextManager[Watcher]:
    from katibflow.progress.display import progress_for

    return progress_for(status, sys.stdout, datetime.now(UTC))
