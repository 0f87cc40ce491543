"""Root archives for Linux: what tools/devhost and tools/mkguest share."""

import os
import stat
import subprocess

TOOLS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.environ.get("WICK_BUILD", os.path.join(os.path.dirname(TOOLS), "build"))
# Applets that a root without a package manager has no use for.
BUSYBOX_NOT = ("busybox", "rpm", "rpm2cpio", "dpkg", "dpkg-deb", "linuxrc")


class Failure(Exception):
    """A message for the user; devhost ends with EXIT_DEVHOST."""


class Cpio:
    """Writes a newc archive that the kernel unpacks as its root; nothing in it depends on the time or the builder."""

    def __init__(self, out):
        self.out = out
        self.inode = 0
        self.known = {"bin", "sbin", "usr/sbin", "lib"}		# links in the base archive: no folder may replace them

    def entry(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self.out.write(header + b"\0" * (-len(header) % 4))
        self.out.write(data)
        self.out.write(b"\0" * (-len(data) % 4))

    def folders(self, name):
        parts = name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folder and folder not in self.known:
                self.known.add(folder)
                self.entry(folder, stat.S_IFDIR | 0o755)

    def folder(self, name):
        self.folders(name + "/")

    def link(self, name, target):
        self.folders(name)
        self.entry(name, stat.S_IFLNK | 0o777, target.encode())

    def text(self, name, text, mode=0o644):
        self.folders(name)
        self.entry(name, stat.S_IFREG | mode, text.encode("utf-8", "surrogateescape"))

    def copy(self, name, path):
        """A file as it is, or a folder with all that is in it."""
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            self.folder(name)
            for child in sorted(os.listdir(path)):
                self.copy(name + "/" + child, os.path.join(path, child))
        elif stat.S_ISLNK(status.st_mode):
            self.link(name, os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            self.folders(name)
            with open(path, "rb") as source:
                data = source.read()
            self.entry(name, stat.S_IFREG | stat.S_IMODE(status.st_mode), data)

    def end(self):
        self.entry("TRAILER!!!", 0)


def fetch(*words):
    if subprocess.call([os.path.join(TOOLS, "debian-arm64")] + list(words)) != 0:
        raise Failure("tools/debian-arm64 %s failed; its message is above" % " ".join(words))


def busybox_names(path):
    """Applet names, as the binary lists them for itself: strings in one row from "[" to an empty one."""
    with open(path, "rb") as source:
        data = source.read()
    start = data.find(b"[\0[[\0")
    if start < 0:
        raise Failure("%s does not list its applets as Debian's busybox does" % path)
    return data[start:data.index(b"\0\0", start)].decode().split("\0")


def add_busybox(cpio, tree):
    """busybox with a link for each applet, and one folder for all programs under its four names."""
    for name in ("bin", "sbin", "usr/sbin"):
        cpio.link(name, "/usr/bin")
    cpio.link("lib", "usr/lib")
    cpio.folder("usr/lib")
    binary = os.path.join(tree, "usr/bin/busybox")
    cpio.copy("usr/bin/busybox", binary)
    for name in busybox_names(binary):
        if name not in BUSYBOX_NOT:
            cpio.link("usr/bin/" + name, "busybox")


def release_of(kernel):
    """What uname -r says under that kernel."""
    with open(os.path.join(BUILD, "kernel", kernel, "release")) as line:
        return line.read().strip()


def module_chains(kernel):
    """Module name -> the files to load for it, in order; nothing for one that is built in."""
    with open(os.path.join(BUILD, "kernel", kernel, "modules", "order")) as lines:
        return {name: chain.split() for name, _, chain in (line.partition(":") for line in lines)}
