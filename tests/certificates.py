"""Certificates of a test's own authority, made by openssl."""

import subprocess
from pathlib import Path

from tests import peers

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """Who signs; `file` is what those who trust it need."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "ca.pem"
        self._openssl("req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem",
                      "-subj", "/CN=plant", "-days", "9")  # fmt: skip
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")

    def _openssl(self, *words: str) -> None:
        command = [peers.program("openssl"), *words]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)

    def issue(self, name: str, *, days: int = 9) -> tuple[Path, Path]:
        """The certificate and key of `name`, both PEM; with 0 days it has expired."""
        self._openssl("req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                      "-subj", f"/CN={name}")  # fmt: skip
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                      "-CAcreateserial", "-extfile", "names", "-days", str(days),
                      "-out", f"{name}.pem")  # fmt: skip
        for path in self._folder.glob("*.key"):
            path.chmod(0o644)  # a server may run as another user
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"
