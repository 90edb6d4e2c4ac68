"""A pipeline that tunes, trains the final model with the best parameters, and evaluates it.

Compile it for upload: ``python examples/tune_train_evaluate.py tune_train_evaluate.yaml``
"""

import sys
from pathlib import Path

from kfp import compiler, dsl

from katibflow.pipelines import experiment

MNIST = Path(__file__).with_name("mnist.yaml")


@dsl.component(base_image="python:3.11-slim", packages_to_install=["scikit-learn==1.9.1"])
def train(best: dict, model: dsl.Output[dsl.Model]):
    """Trains on the digits of scikit-learn; the values are texts, as in Katib."""
    import pickle

    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    x, _, y, _ = train_test_split(digits.data / 16, digits.target, random_state=0)
    network = MLPClassifier(
        solver="sgd",
        learning_rate_init=float(best["lr"]),
        momentum=float(best["momentum"]),
        batch_size=int(best["batchSize"]),
        early_stopping=True,
        random_state=0,
    ).fit(x, y)
    model.metadata.update(best)
    with open(model.path, "wb") as file:
        pickle.dump(network, file)


@dsl.component(base_image="python:3.11-slim", packages_to_install=["scikit-learn==1.9.1"])
def evaluate(model: dsl.Input[dsl.Model], metrics: dsl.Output[dsl.Metrics]):
    """The share of digits that the model tells right and has not been trained with."""
    import pickle

    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    _, x, _, y = train_test_split(digits.data / 16, digits.target, random_state=0)
    with open(model.path, "rb") as file:
        network = pickle.load(file)
    metrics.log_metric("accuracy", network.score(x, y))


@dsl.pipeline
def tune_train_evaluate(trials: str = "8"):
    """Tunes as examples/mnist.yaml says, with as many trials as the run is told."""
    tuning = experiment(MNIST, max_trial_count=trials)
    model = train(best=tuning.outputs["best_parameters"])
    evaluate(model=model.outputs["model"])


if __name__ == "__main__":
    compiler.Compiler().compile(tune_train_evaluate, sys.argv[1])
