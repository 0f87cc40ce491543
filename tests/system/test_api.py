#!/usr/bin/python3
"""The API as clients use it: through curl and through Python's http.client, from an empty process to a guest's end.

Prints a line per claim, "ok   <claim>" or "FAIL <claim>: <what was seen>", and "claims: N" at last. Exit status 1 if any failed.
"""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

WICK_DIR = os.environ.get("WICK_DIR", "/wick")
WICK = os.path.join(WICK_DIR, "wick")
DEADLINE_S = 180	# against hanging only

count = 0
failed = 0


def claim(text, holds, seen=""):
    global count, failed
    count += 1
    failed += not holds
    print("ok   %s" % text if holds else "FAIL %s: %r" % (text, seen), flush=True)
    return holds


def equal(text, got, want):
    return claim(text, got == want, got)


class Connection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self.path)


class Wick:
    """A wick in a folder of its own."""

    def __init__(self, *args):
        self.dir = tempfile.mkdtemp(prefix="wick-api-")
        self.socket = os.path.join(self.dir, "api.sock")
        self.process = subprocess.Popen([WICK, "--api-sock", self.socket, "--log-path", "log"] + list(args), cwd=self.dir,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.wait_socket()
        self.client = Connection(self.socket)

    def wait_socket(self):
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                try:
                    s.connect(self.socket)
                    return
                except OSError:
                    time.sleep(0.02)
        raise RuntimeError("the API socket does not come")

    def request(self, method, path, body=None):
        """Over one connection that is kept: (status, decoded body or None, response)."""
        text = None if body is None else body if isinstance(body, str) else json.dumps(body)
        self.client.request(method, path, body=text)
        response = self.client.getresponse()
        data = response.read()
        return response.status, json.loads(data) if data else None, response

    def get(self, path):
        return self.request("GET", path)[1]

    def put(self, path, body):
        return self.request("PUT", path, body)[:2]

    def patch(self, path, body):
        return self.request("PATCH", path, body)[:2]

    def curl(self, *args):
        """(status, body text)"""
        done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", str(DEADLINE_S), "--unix-socket", self.socket,
                               "--write-out", "\n%{http_code}"] + list(args), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status) if status.isdigit() else status, body

    def raw(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(DEADLINE_S)
        s.connect(self.socket)
        return s

    def end(self):
        """What it has printed, and its exit code."""
        self.client.close()
        output, _ = self.process.communicate(timeout=DEADLINE_S)
        return output.decode(errors="replace"), self.process.returncode

    def kill(self):
        self.client.close()
        self.process.kill()
        self.process.wait()

    def wait_output(self, text):
        """Reads stdout up to this text; the rest stays for end()."""
        seen = b""
        while text not in seen:
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                raise RuntimeError("wick ended without saying %r: %r" % (text, seen))
            seen += data


FAULT = "fault_message"
NOT_AFTER = {FAULT: "The requested operation is not supported after starting the microVM."}
NOT_BEFORE = {FAULT: "The requested operation is not supported before starting the microVM."}
START = {"action_type": "InstanceStart"}


def guest(name):
    return os.path.join(WICK_DIR, "guest", name + ".img")


def disk(wick, name, size):
    path = os.path.join(wick.dir, name)
    with open(path, "wb") as f:
        f.write(b"\xa5" * size)
    return path


def before_start():
    """The whole configuration before boot, in an order that no document promises, and every state on the way."""
    wick = Wick("--id", "vm-1")
    info = wick.get("/")
    equal("GET / of an empty process", info, {"id": "vm-1", "state": "Not started", "vmm_version": "1.17.0", "app_name": "Firecracker"})
    equal("GET /version", wick.get("/version"), {"firecracker_version": "1.17.0"})
    equal("the defaults are 1 vCPU and 128 MiB", wick.get("/machine-config"),
          {"vcpu_count": 1, "mem_size_mib": 128, "smt": False, "track_dirty_pages": False, "huge_pages": "None"})
    equal("PATCH /vm before the start", wick.patch("/vm", {"state": "Paused"}), (400, NOT_BEFORE))
    equal("a start without a kernel is refused", wick.put("/actions", START),
          (400, {FAULT: "Start microvm error: Cannot start microvm without kernel configuration."}))

    equal("PUT /entropy first of all", wick.put("/entropy", {}), (204, None))
    for name, root in (("b", False), ("a", True), ("c", False)):
        equal("PUT /drives/%s" % name, wick.put("/drives/" + name, {
            "drive_id": name, "path_on_host": disk(wick, name, 1 << 16), "is_root_device": root, "is_read_only": name == "c"}),
              (204, None))
    status, body = wick.put("/drives/d", {"drive_id": "d", "path_on_host": disk(wick, "d", 512), "is_root_device": True})
    equal("a second root drive is refused", (status, body), (400, {FAULT: "Drive config error: A root block device already exists!"}))
    equal("PUT /boot-source before /machine-config", wick.put("/boot-source", {
        "kernel_image_path": guest("hang"), "boot_args": "console=ttyS0 one=1"}), (204, None))
    equal("PUT /machine-config", wick.put("/machine-config", {"vcpu_count": 2, "mem_size_mib": 192}), (204, None))
    equal("PATCH /machine-config", wick.patch("/machine-config", {"mem_size_mib": 256}), (204, None))
    equal("PATCH changes what it names and nothing else", wick.get("/machine-config"),
          {"vcpu_count": 2, "mem_size_mib": 256, "smt": False, "track_dirty_pages": False, "huge_pages": "None"})
    equal("PUT /logger", wick.put("/logger", {"log_path": os.path.join(wick.dir, "log2"), "level": "Debug", "show_level": True}), (204, None))

    config = wick.get("/vm/config")
    equal("the root drive is in front, the others in their order", [d["drive_id"] for d in config["drives"]], ["a", "b", "c"])
    equal("GET /vm/config has every section", sorted(config),
          sorted(["balloon", "drives", "boot-source", "cpu-config", "logger", "machine-config", "metrics", "mmds-config",
                  "network-interfaces", "vsock", "entropy", "pmem", "memory-hotplug"]))
    equal("the state is still \"Not started\"", wick.get("/")["state"], "Not started")
    return wick, config


def after_start(wick):
    equal("PUT /actions InstanceStart", wick.put("/actions", START), (204, None))
    equal("the state is \"Running\"", wick.get("/")["state"], "Running")
    wick.wait_output(b"HANGING")
    for method, path, body in (
            ("PUT", "/actions", START),
            ("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 128}),
            ("PATCH", "/machine-config", {"vcpu_count": 1}),
            ("PUT", "/boot-source", {"kernel_image_path": guest("hang")}),
            ("PUT", "/entropy", {}),
            ("PUT", "/logger", {"level": "Info"})):
        equal("%s %s after the start" % (method, path), wick.request(method, path, body)[:2], (400, NOT_AFTER))
    status, body = wick.put("/actions", {"action_type": "SendCtrlAltDel"})
    equal("SendCtrlAltDel is not for arm64", (status, body), (400, {FAULT: "SendCtrlAltDel does not supported on aarch64."}))
    equal("FlushMetrics without a sink", wick.put("/actions", {"action_type": "FlushMetrics"}), (204, None))
    for state, shown in (("Paused", "Paused"), ("Paused", "Paused"), ("Resumed", "Running"), ("Resumed", "Running"), ("Paused", "Paused")):
        equal("PATCH /vm %s" % state, wick.patch("/vm", {"state": state}), (204, None))
        equal("then the state is \"%s\"" % shown, wick.get("/")["state"], shown)
    status, body = wick.patch("/vm", {"state": "Stopped"})
    claim("PATCH /vm with an unknown state", status == 400 and "unknown variant `Stopped`" in body[FAULT], body)
    equal("the configuration is readable while paused", wick.get("/machine-config")["mem_size_mib"], 256)


def config_again(config):
    """What GET /vm/config prints makes the same microVM."""
    folder = tempfile.mkdtemp(prefix="wick-config-")
    path = os.path.join(folder, "vm.json")
    with open(path, "w") as f:
        json.dump(config, f)
    wick = Wick("--config-file", path, "--id", "vm-1")
    equal("a VM from the printed configuration runs", wick.get("/")["state"], "Running")
    equal("and prints the same again", wick.get("/vm/config"), config)
    wick.wait_output(b"HANGING")
    wick.kill()
    shutil.rmtree(folder)


def dialect(wick):
    """What is special in the bytes."""
    s = wick.raw()
    s.sendall(b"GET /version HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\nGET /version HTTP/1.0\r\n\r\n")
    data = b""
    while data.count(b"HTTP/1.1 200 ") < 3 or not data.endswith(b"}"):
        chunk = s.recv(4096)
        if not chunk:
            break
        data += chunk
    equal("three pipelined requests get three answers, whatever Connection says", data.count(b"HTTP/1.1 200 \r\n"), 3)
    head = data.split(b"\r\n\r\n")[0].decode()
    claim("the head is Firecracker's, in its order", re.match(
        r"HTTP/1\.1 200 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: \d+$",
        head) is not None, head)
    s.close()

    s = wick.raw()
    s.sendall(b"PATCH /machine-config HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 17\r\n\r\n")
    claim("Expect: 100-continue is answered", s.recv(4096).startswith(b"HTTP/1.1 100 "))
    s.sendall(b'{"vcpu_count": 4}')
    answer = s.recv(4096)
    equal("204 has neither type nor length", answer, b"HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n")
    # One byte at a time.
    for byte in b"GET /machine-config HTTP/1.1\r\nX: y\r\n\r\n":
        s.sendall(bytes([byte]))
    claim("a request byte by byte is a request", b'"vcpu_count":4' in s.recv(4096))
    s.close()


def eleven_connections(wick):
    wick.client.close()
    held = [wick.raw() for _ in range(10)]
    for s in held:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
    equal("ten connections are served", [s.recv(4096)[:13] for s in held], [b"HTTP/1.1 200 "] * 10)
    late = wick.raw()
    data = b""
    while True:
        chunk = late.recv(4096)
        if not chunk:
            break
        data += chunk
    claim("the eleventh gets 503 and is closed", data.startswith(b"HTTP/1.1 503") and
          data.endswith(b'\r\n\r\n{ "error": "Too many open connections" }') and b"Connection: close" in data, data)
    held[0].sendall(b"GET /version HTTP/1.1\r\n\r\n")
    claim("the ten go on", held[0].recv(4096).startswith(b"HTTP/1.1 200 "))
    for s in held:
        s.close()
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        s = wick.raw()
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = s.recv(4096)
        s.close()
        if answer.startswith(b"HTTP/1.1 200 "):
            break
    claim("when they are gone there is room again", answer.startswith(b"HTTP/1.1 200 "), answer)


def by_curl():
    """Firecracker's own getting-started, in curl."""
    wick = Wick()
    equal("curl: GET /", wick.curl("http://localhost/"),
          (200, '{"id":"anonymous-instance","state":"Not started","vmm_version":"1.17.0","app_name":"Firecracker"}'))
    equal("curl: PUT /boot-source, with the content type that --data gives", wick.curl(
        "-X", "PUT", "http://localhost/boot-source", "--data",
        json.dumps({"kernel_image_path": guest("psci"), "boot_args": "console=ttyS0 reboot=k panic=1"})), (204, ""))
    equal("curl: PUT /drives/rootfs", wick.curl(
        "-X", "PUT", "http://localhost/drives/rootfs", "-H", "Accept: application/json", "-H", "Content-Type: application/json", "-d",
        json.dumps({"drive_id": "rootfs", "path_on_host": disk(wick, "rootfs", 4096), "is_root_device": True, "is_read_only": False})),
          (204, ""))
    status, body = wick.curl("-X", "PUT", "http://localhost/no-such-thing", "-d", "{}")
    equal("curl: an unknown path", (status, json.loads(body)), (400, {FAULT: "Invalid request method and/or path: PUT no-such-thing."}))
    status, body = wick.curl("-X", "POST", "http://localhost/actions", "-d", "{}")
    equal("curl: a method that the parser does not know", status, 400)
    # curl asks with Expect: 100-continue for what is large.
    status, body = wick.curl("-X", "PUT", "http://localhost/machine-config", "-H", "Expect: 100-continue", "-d",
                             '{"vcpu_count": 1, "mem_size_mib": 128}' + " " * 40000)
    equal("curl: a large body with Expect: 100-continue", (status, body), (204, ""))
    equal("curl: start", wick.curl("-X", "PUT", "http://localhost/actions", "-d", json.dumps(START)), (204, ""))
    output, code = wick.end()
    claim("the guest ran and its power-off ended wick with exit code 0", code == 0 and "ends" in output, (code, output))


def main():
    wick, config = before_start()
    after_start(wick)
    after = wick.get("/vm/config")
    equal("the start does not change the configuration", after, config)
    wick.kill()
    config_again(config)
    wick = Wick()
    dialect(wick)
    eleven_connections(wick)
    wick.kill()
    by_curl()
    print("claims: %d" % count)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
