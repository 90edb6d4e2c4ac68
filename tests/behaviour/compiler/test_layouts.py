"""Which layout holds an experiment: the sizes are measured, the edges are what is tested here."""

from __future__ import annotations

import math
import random
import re
from bisect import bisect
from itertools import pairwise

import pytest

from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.layouts import Choice, choose_layout
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.steps.capacity import AUTO_SHARE, MAX_ROUNDS, OBJECT_LIMIT, Capacity
from tests.shell_trials import experiment

LIBRARY = 90_000
MOST = 2_000
"""More trials than any run of rounds holds."""

SAMPLE = experiment("echo loss=1")
NAMED = SAMPLE.metadata.model_copy(update={"name": "another-name"})


def counts(most: int | None, parallel: int, tried: Experiment = SAMPLE) -> Experiment:
    changed = {"max_trial_count": most, "parallel_trial_count": parallel}
    return tried.model_copy(update={"spec": tried.spec.model_copy(update=changed)})


def chosen(
    most: int | None, parallel: int, layout: str = "auto", *, is_part: bool = False
) -> Choice:
    tried = counts(most, parallel)
    return choose_layout(tried, layout, library=LIBRARY, is_part=is_part)


def is_taken(most: int, parallel: int, *, is_part: bool = False) -> bool:
    """Whether the layout rounds takes an experiment."""
    try:
        return chosen(most, parallel, "rounds", is_part=is_part).layout == "rounds"
    except InputError:
        return False


def edge(parallel: int, *, is_part: bool = False) -> int:
    """The most trials that the layout rounds takes; fewer are all taken, more are all refused."""
    refused = bisect(
        range(parallel, MOST),
        False,
        key=lambda most: not is_taken(most, parallel, is_part=is_part),
    )
    return parallel + refused - 1


class TestRounds:
    @pytest.mark.parametrize("parallel", [1, 2, 3, 8, 25])
    def test_exactly_as_many_trials_as_fit_are_taken(self, parallel: int) -> None:
        most = edge(parallel)
        room = chosen(most, parallel, "rounds").room
        fitting = Capacity.of(counts(most, parallel)).most_rounds(parallel, room)
        assert most == fitting * parallel
        assert all(is_taken(fewer, parallel) for fewer in range(parallel, most, most // 9 + 1))
        assert not any(is_taken(more, parallel) for more in range(most + 1, MOST, MOST // 9))
        told = (
            f"experiment sample: spec.maxTrialCount: found {most + 1}, which is {fitting + 1} "
            f"rounds of {parallel}; allowed: at most {most}"
        )
        with pytest.raises(InputError, match=f"^{re.escape(told)}.*--layout controller"):
            chosen(most + 1, parallel, "rounds")

    def test_more_at_a_time_are_fewer_rounds_and_more_trials(self) -> None:
        edges = [edge(parallel) for parallel in (1, 2, 4, 8)]
        assert edges == sorted(edges)
        rounds = [most // parallel for most, parallel in zip(edges, (1, 2, 4, 8), strict=True)]
        assert rounds == sorted(rounds, reverse=True)
        assert rounds[0] <= MAX_ROUNDS

    def test_a_part_of_a_pipeline_has_half_the_object(self) -> None:
        whole, part = chosen(6, 2).room, chosen(6, 2, is_part=True).room
        base = Capacity.of(counts(6, 2), LIBRARY).base
        assert whole + base == pytest.approx(2 * (part + base), rel=1e-4)
        assert edge(2, is_part=True) < edge(2)

    def test_the_library_takes_its_characters_of_the_room(self) -> None:
        with_it = choose_layout(SAMPLE, "rounds", library=1_000, is_part=False)
        without = choose_layout(SAMPLE, "rounds", library=0, is_part=False)
        assert without.room - with_it.room == pytest.approx(1_000, abs=1)

    @pytest.mark.parametrize("most", [None, MOST], ids=str)
    def test_a_round_that_is_too_large_is_refused_with_the_largest(self, most: int | None) -> None:
        with pytest.raises(InputError, match=r"spec\.parallelTrialCount: found 2000") as told:
            chosen(most, MOST, "rounds")
        match = re.search(r"allowed: at most (\d+)", str(told.value))
        assert match is not None
        widest = int(match[1])
        assert is_taken(widest, widest) and not is_taken(widest + 1, widest + 1)

    def test_long_assignments_leave_room_for_fewer_trials(self) -> None:
        values = ["x" * 2_000, "y"]
        space = {"name": "x", "parameterType": "categorical", "feasibleSpace": {"list": values}}
        long = Capacity.of(experiment("echo loss=1", {"spec.parameters": [space]}))
        assert long.trial > Capacity.of(SAMPLE).trial + 2_000
        assert long.most_rounds(3, 500_000) < Capacity.of(SAMPLE).most_rounds(3, 500_000)


class TestCapacity:
    def test_the_number_that_fits_fits_and_one_more_does_not(self) -> None:
        capacity = Capacity.of(SAMPLE)
        for room in range(0, OBJECT_LIMIT, 40_000):
            for parallel in (1, 3, 10):
                most = capacity.most_rounds(parallel, room)
                assert most == 0 or capacity.of_rounds(most, parallel) <= room
                assert most == MAX_ROUNDS or capacity.of_rounds(most + 1, parallel) > room

    def test_no_room_holds_more_than_argos_depth(self) -> None:
        assert Capacity.of(SAMPLE).most_rounds(1, math.inf) == MAX_ROUNDS

    def test_each_round_is_larger_than_the_one_before(self) -> None:
        sizes = [Capacity.of(SAMPLE).of_rounds(rounds, 3) for rounds in range(5)]
        grown = [after - before for before, after in pairwise(sizes)]
        assert sizes[0] == 0
        assert grown == sorted(grown) and len(set(grown)) == 4


class TestAuto:
    def test_a_few_trials_are_rounds_and_from_some_number_on_they_are_not(self) -> None:
        layouts = [chosen(most, 3).layout for most in range(3, MOST, 3)]
        flip = layouts.index("controller")
        assert set(layouts[:flip]) == {"rounds"}
        assert set(layouts[flip:]) == {"controller"}
        assert 3 * flip < edge(3)
        capacity = Capacity.of(counts(3 * flip, 3), LIBRARY)
        share = (capacity.base + capacity.of_rounds(flip, 3)) / OBJECT_LIMIT
        assert share <= AUTO_SHARE
        assert chosen(3 * flip, 3).why == (
            f"{3 * flip} trials in rounds of 3 take {share:.0%} of what Argo can store of a run"
        )

    def test_a_part_of_a_pipeline_flips_earlier(self) -> None:
        most = next(m for m in range(3, MOST, 3) if chosen(m, 3, is_part=True).layout != "rounds")
        assert chosen(most, 3).layout == "rounds"

    def test_without_max_trial_count_it_is_the_controller(self) -> None:
        choice = chosen(None, 3)
        assert choice.layout == "controller"
        assert "without maxTrialCount" in choice.why

    def test_more_rounds_than_argos_depth_are_the_controller(self) -> None:
        choice = chosen(MAX_ROUNDS + 1, 1)
        assert choice.layout == "controller"
        assert f"{MAX_ROUNDS + 1} rounds, and a run holds {MAX_ROUNDS}" in choice.why

    def test_what_was_asked_for_is_taken_whatever_fits_better(self) -> None:
        assert chosen(3, 3, "controller") == Choice(
            "controller", "it was asked for", chosen(3, 3).room
        )
        assert chosen(None, 3, "rounds").layout == "rounds"

    def test_the_file_is_for_the_run_s_counts_with_the_files_defaults(self) -> None:
        compiled = compile_experiment(SAMPLE, image="i", run_as=counts(None, 3))
        assert compiled.layout == "controller"
        assert "#   maxTrialCount: 6\n" in compiled.text

    @pytest.mark.parametrize("layout", ["rounds", "controller"])
    def test_all_runs_of_one_layout_have_the_same_file(self, layout: str) -> None:
        other = counts(12, 1)
        texts = {
            compile_experiment(SAMPLE, image="i", layout=layout, run_as=run_as).text
            for run_as in (None, counts(3, 3), other.model_copy(update={"metadata": NAMED}))
        }
        assert len(texts) == 1


@pytest.mark.parametrize("layout", ["auto", "rounds", "controller"])
def test_a_template_that_is_too_large_is_refused_with_its_place(layout: str) -> None:
    tried = experiment("echo " + "x" * (OBJECT_LIMIT // 2))
    with pytest.raises(InputError, match=r"^huge\.yaml: spec\.trialTemplate: found") as told:
        choose_layout(tried, layout, library=0, is_part=False, source="huge.yaml")
    assert "in a ConfigMap" in str(told.value)


def test_a_layout_that_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(InputError, match='found "loops"; allowed: auto, rounds, controller'):
        chosen(6, 3, "loops")


def test_rounds_without_max_trial_count_are_warned_of_with_their_end() -> None:
    endless = counts(None, 3)
    compiled = compile_experiment(endless, layout="rounds", image="i")
    (warning,) = compiled.warnings
    room = choose_layout(endless, "rounds", library=0, is_part=False).room
    rounds = Capacity.of(endless).most_rounds(3, room)
    assert f"after {rounds} rounds at the latest, which is {rounds * 3} trials" in warning
    assert "--layout controller" in warning
    assert compile_experiment(endless, layout="controller", image="i").warnings == ()
    assert compile_experiment(SAMPLE, layout="rounds", image="i").warnings == ()


def test_the_turns_of_a_loop_share_the_object() -> None:
    def chosen(layout: str, copies: int | None) -> Choice:
        return choose_layout(SAMPLE, layout, library=0, is_part=True, copies=copies)

    once, twice = (chosen("rounds", copies).room for copies in (1, 2))
    assert 0 < twice < once / 2  # each further turn has its own first and last steps
    assert [chosen("auto", copies).layout for copies in (1, 2, 8, None)] == [
        *("rounds", "rounds", "controller", "controller")
    ]
    with pytest.raises(InputError, match=r"found it 90 times in a loop; allowed: at most \d\d "):
        chosen("auto", 90)


def test_a_long_text_that_does_not_pack_takes_more_of_a_run() -> None:
    def base(text: str) -> float:
        return Capacity.of(experiment(f"echo {text}")).base

    packs, does_not = "a" * 86_000, random.Random(1).randbytes(43_000).hex()
    assert base(packs) - base("") == 7 * 86_000
    # On the engine a run took 1,116,230 bytes in all with such an Experiment, and was dead.
    assert 800_000 < base(does_not) - base("") < 900_000
