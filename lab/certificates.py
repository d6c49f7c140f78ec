# SPDX-License-Identifier: Apache-2.0
"""Certificates for IKE: a CA of the lab's own, one certificate for the DVIPA, one for the client.

The cluster's certificates (XCF and etcd) are another matter: tools/make-certificates.sh makes them.
"""
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def make_ike(directory: Path, alt_names: dict[str, str]) -> None:
    """ca.pem, and NAME.pem with NAME.key for every NAME: SUBJECT-ALTERNATIVE-NAME, as `IP:192.0.2.100`."""
    directory.mkdir(parents=True, exist_ok=True)
    _openssl(directory, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem"
                        " -sha256 -days 7 -subj /CN=Testudo-lab-IKE-CA")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: _issue(directory, *item), alt_names.items()))


def make_cluster(directory: Path, cluster: str, members: dict[str, str]) -> None:
    """The cluster's CA (ca.crt) and NAME.crt, NAME.key for every NAME: XCF-ADDRESS, by the operators' script."""
    script = str(REPOSITORY / "tools" / "make-certificates.sh")
    _check([script, str(directory), cluster, *[f"{name}={address}" for name, address in members.items()]])


def _issue(directory: Path, name: str, alt_name: str) -> None:
    (directory / f"{name}.ext").write_text(f"subjectAltName={alt_name}\n", encoding="ascii")
    _openssl(directory, "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
                        f" -keyout {name}.key -out {name}.csr -subj /CN={name}")
    _openssl(directory, f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial 0x{name.encode().hex()}"
                        f" -days 7 -sha256 -extfile {name}.ext -out {name}.pem")


def _openssl(directory: Path, arguments: str) -> None:
    _check(["openssl", *arguments.split()], directory)


def _check(argv: list[str], directory: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv[:3])} … failed: {done.stderr.strip()[-500:]}")
