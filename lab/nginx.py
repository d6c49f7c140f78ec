# SPDX-License-Identifier: Apache-2.0
"""An unmodified nginx per target. It listens on the DVIPAs, serves its own name and files shared by all
targets, and takes uploads (PUT /upload/NAME)."""
import signal
from dataclasses import dataclass
from pathlib import Path

from lab import wait
from lab.host import LabHost
from lab.http import url_host
from lab.process import Process


@dataclass
class Nginx:
    host: LabHost
    listen: list[str]
    files: Path
    process: Process | None = None

    def start(self) -> Process:
        directory = self.host.dir / "nginx"
        directory.mkdir(exist_ok=True)
        pid_file = directory / "nginx.pid"
        pid_file.unlink(missing_ok=True)
        config = directory / "nginx.conf"
        config.write_text(_CONF.format(
            dir=directory, name=self.host.name, files=self.files,
            listen="\n".join(f"    listen {url_host(address)}:80;" for address in self.listen)), encoding="utf-8")
        # A service address that comes and goes: every operator of one sets this, and starts nginx at any time.
        families = {"ipv6" if ":" in address else "ipv4" for address in self.listen}
        self.host.run("sysctl", "-q", "-w", *(f"net.{family}.ip_nonlocal_bind=1" for family in families))
        self.process = self.host.start("nginx", "nginx", "-c", str(config), "-e", str(directory / "error.log"))
        # nginx writes the file when its sockets listen.
        wait.until(f"nginx on {self.host.name} to listen", lambda: pid_file.exists() and pid_file.stat().st_size)
        return self.process

    def uploaded(self, name: str) -> Path:
        return self.host.dir / "nginx" / "upload" / name

    def quit(self) -> None:
        """The graceful stop: closes the listening sockets at once and lets running requests end."""
        assert self.process
        self.process.signal(signal.SIGQUIT)


_CONF = """\
daemon off;
user root;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{
  worker_connections 1024;
}}
http {{
  access_log {dir}/access.log;
  sendfile on;
  tcp_nopush on;
  default_type application/octet-stream;
  client_body_temp_path {dir}/tmp;
  proxy_temp_path {dir}/tmp;
  fastcgi_temp_path {dir}/tmp;
  uwsgi_temp_path {dir}/tmp;
  scgi_temp_path {dir}/tmp;
  server {{
{listen}
    root {files};
    add_header X-Served-By {name} always;
    location = /name {{
      return 200 "{name}\\n";
    }}
    location = /slow {{
      limit_rate 1m;
    }}
    location /upload/ {{
      root {dir};
      dav_methods PUT;
      create_full_put_path on;
      client_max_body_size 0;
    }}
  }}
}}
"""
