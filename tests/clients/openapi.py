"""Schemathesis makes requests of the router's own OpenAPI document, valid ones and others: none may be answered with a server's error, and
every answer has to be one that the document describes.

usage: openapi.py HTTP [EXAMPLES [SEED]], HTTP as HOST:PORT
"""

import os
import pathlib
import subprocess
import sys
import tempfile

CHECKS = "only_meant_server_errors,status_code_conformance,content_type_conformance,response_schema_conformance"


def is_meant(path, status, error):
    """What the documentation promises: a router never changes the view, and a context may be of what has not happened yet, or is lost."""
    return (path, status) == ("/kv-store/view-change", 501) or (
        path.startswith("/kv-store/") and status == 503 and error == "Unable to satisfy request"
    )


def register():
    import schemathesis

    @schemathesis.check
    def only_meant_server_errors(ctx, response, case):
        if response.status_code >= 500:
            error = response.json().get("error")
            assert is_meant(case.operation.path, response.status_code, error), f"{response.status_code} {response.text}"


def main():
    http, examples, seed = sys.argv[1:] + ["20", "1"][len(sys.argv) - 2 :]
    here = pathlib.Path(__file__)
    print(f"seed {seed}, {examples} examples")
    command = ["-m", "schemathesis.cli", "run", f"http://{http}/openapi.json", "--checks", CHECKS, "--seed", seed]
    command += ["--max-examples", examples, "--no-color", "--suppress-health-check", "all"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": here.stem, "PYTHONPATH": str(here.parent)}
    # What it remembers of a run is of no use to the next.
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run([sys.executable, *command], env=environment, cwd=directory)
    if done.returncode:
        sys.exit("some answers were wrong")
    print("fine")


if __name__ == "__main__":
    main()
else:
    register()
