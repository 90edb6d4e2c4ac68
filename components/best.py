"""The component `best`: outputs the best trial of an experiment inside another pipeline.

It is that experiment's last step, and runs without the library.
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped,type-arg"

from kfp.dsl import OutputPath

__all__ = ["best"]


def best(
    result: dict,
    best_parameters: OutputPath(dict),
    best_value: OutputPath(float),
) -> None:
    """Outputs the best trial; fails if the experiment failed or no trial has a value."""
    import json

    chosen = result.get("best")
    if chosen is None or not result["succeeded"]:
        lacking = "" if chosen else "; no trial has a finite objective value"
        raise SystemExit(
            f"katibflow: experiment {result['experiment']} has no best parameters to hand on: "
            f"{result['reason']}: {result['message']}{lacking}"
        )
    for path, value in (
        (best_parameters, chosen["assignments"]),
        (best_value, chosen["objective"]),
    ):
        with open(path, "w") as file:
            json.dump(value, file)
