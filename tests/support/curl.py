"""Lines with curl and jq, as pages and scripts have them, run in a shell against a server of a test."""

from __future__ import annotations

import subprocess

# The two lines that users of such a service have in their scripts, with what they pipe into jq.
USUAL = (
    'curl -F "file=@person_001.png" http://localhost:8080/embed | jq .dim,.embedding[0:8]',
    'curl -F "file=@person_001.png" "http://localhost:8080/embed?as_base64=true" | jq .',
)


def said_by(line: str, port: object) -> str:
    """What a line prints in a shell that stops at the first failure."""
    command = line.replace("localhost:8080", f"localhost:{port}").replace("curl ", "curl -sSf ", 1)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout
