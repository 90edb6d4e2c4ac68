"""Writes down what it was asked to install, where ``ASKED_FOR`` names a file."""

import json
import os
import sys

if "ASKED_FOR" in os.environ:
    with open(os.environ["ASKED_FOR"], "a", encoding="utf-8") as file:
        file.write(json.dumps(sys.argv[1:]) + "\n")
