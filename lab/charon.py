# SPDX-License-Identifier: Apache-2.0
"""strongSwan as it comes from Debian: charon-systemd with a configuration directory of its own, and swanctl."""
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lab import wait
from lab.host import LabHost
from lab.process import Process

DAEMON = "/usr/sbin/charon-systemd"

# Nothing that a client needs here is left out, nothing is loaded by accident.
CRYPTO = "random nonce openssl kdf pem pkcs1 pkcs8 x509 pubkey constraints revocation"


@dataclass(frozen=True)
class Charon:
    host: LabHost
    start_seconds: ClassVar[float] = 10.0

    @property
    def dir(self) -> Path:
        return self.host.dir / "strongswan"

    @property
    def log(self) -> Path:
        return self.dir / "charon.log"

    @property
    def uri(self) -> str:
        return f"unix://{self.dir}/charon.vici"

    @property
    def _settings(self) -> Path:
        return self.dir / "strongswan.conf"

    def configure(self, plugins: str, settings: str, swanctl: str, certificate: Path, ca: Path,
                  key_log: bool = False) -> None:
        """`plugins`: the load list behind the crypto plugins. `settings`: more lines for strongswan.conf's
        `charon-systemd { plugins { … } }`. `certificate`: NAME.pem with NAME.key beside it. `key_log`: the log has the
        keys of CHILD_SAs, for tests that forge packets."""
        for folder in ("x509", "x509ca", "private"):
            (self.dir / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(certificate, self.dir / "x509")
        shutil.copy(certificate.with_suffix(".key"), self.dir / "private")
        shutil.copy(ca, self.dir / "x509ca")
        (self.dir / "swanctl.conf").write_text(swanctl, encoding="utf-8")
        self._settings.write_text(_STRONGSWAN_CONF.format(
            plugins=f"{CRYPTO} {plugins}", crypto=CRYPTO, settings=settings, uri=self.uri, log=self.log,
            child_level=4 if key_log else 1), encoding="utf-8")

    def start(self, preload: Path | None = None) -> Process:
        (self.dir / "charon.vici").unlink(missing_ok=True)
        # By env(1): into charon alone, not into the `ip` that starts it.
        command = ["env", f"LD_PRELOAD={preload}", DAEMON] if preload else [DAEMON]
        process = self.host.start("charon", *command, env={"STRONGSWAN_CONF": str(self._settings)})
        wait.until(f"charon on {self.host.name} to take its configuration (see {self.log})", self._load,
                   self.start_seconds)
        return process

    def swanctl(self, *arguments: str, check: bool = True, timeout: float = 30) -> str:
        done = self.host.run("swanctl", *arguments, "--uri", self.uri, check=check, timeout=timeout,
                             env={"SWANCTL_DIR": str(self.dir), "STRONGSWAN_CONF": str(self._settings)})
        return done.stdout

    def initiate(self, child: str) -> str:
        return self.swanctl("--initiate", "--child", child)

    def _load(self) -> bool:
        return (self.dir / "charon.vici").exists() and "loaded connection" in self.swanctl("--load-all")


_STRONGSWAN_CONF = """\
charon-systemd {{
  load_modular = no
  load = {plugins}
  install_virtual_ip = no
  plugins {{
    vici {{
      socket = {uri}
    }}
{settings}
  }}
  filelog {{
    main {{
      path = {log}
      time_format = %H:%M:%S
      flush_line = yes
      default = 1
      chd = {child_level}
    }}
  }}
  journal {{
    default = -1
  }}
}}
swanctl {{
  load = {crypto}
}}
"""
