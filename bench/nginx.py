"""The reference: nginx with one worker, before the same stub, and with the model list as a file."""

import os
import pwd
import shutil
from pathlib import Path

from bench.processes import BenchError
from bench.traffic import MODELS_PATH, models_body

_CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75;
  keepalive_requests 100000000;
  client_max_body_size 128m;
  client_body_buffer_size 128k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream stub {{
    server 127.0.0.1:{stub_port};
    keepalive 64;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = {models_path} {{
      alias {folder}/models.json;
      default_type application/json;
    }}
    location / {{
      proxy_pass http://stub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""
"""Streams are not buffered: the stub asks for that with `X-Accel-Buffering`, for them alone."""


def find_nginx() -> str:
    """Return the program's path. Raises `BenchError` where there is none."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
    found = shutil.which("nginx", path=places)
    if found is None:
        raise BenchError("nginx, the reference, is missing: sudo apt-get install nginx (macOS: brew install nginx).")
    return found


def nginx_command(folder: Path, port: int, stub_port: int) -> list[str]:
    """Write what nginx needs into `folder`, and return its command."""
    (folder / "models.json").write_bytes(models_body())
    # Its worker would change to a user that may not read the folder.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    text = _CONFIGURATION.format(user=user, folder=folder, port=port, stub_port=stub_port, models_path=MODELS_PATH)
    (folder / "nginx.conf").write_text(text)
    return [find_nginx(), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
