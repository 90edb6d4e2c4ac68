"""Writes down what it was asked to install, where ``ASKED_FOR`` names a file.

The lines of a file of requirements come behind its name.
"""

import itertools
import json
import os
import sys

if "ASKED_FOR" in os.environ:
    asked = sys.argv[1:]
    for option, name in itertools.pairwise(sys.argv):
        if option == "-r":
            with open(name, encoding="utf-8") as requirements:
                asked += requirements.read().splitlines()
    with open(os.environ["ASKED_FOR"], "a", encoding="utf-8") as file:
        file.write(json.dumps(asked) + "\n")
