"""Scripts of this folder in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def printed(script: str, *arguments: object) -> Any:
    """Returns the last line that a script prints, which is JSON."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(done.stdout.splitlines()[-1])
