"""`failsoft demo` as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]


def run_demo(bootstrap: str, report: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run it in the checkout; return its exit code, its report and what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "failsoft", "demo", "--bootstrap", bootstrap, "--json", str(report), *options],
        cwd=CHECKOUT,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert report.exists(), ran.stderr
    return ran.returncode, json.loads(report.read_text()), ran.stdout + ran.stderr
