"""Where the time before the first guest instruction goes: reads the meter's lists (tools/bench --where)."""

import bisect
import collections
import json
import subprocess

GAP_NS = 4000		# user time between two calls that is worth a line


def call_names():
    """Numbers of arm64's system calls, which are the generic ones."""
    names = {}
    try:
        with open("/usr/include/asm-generic/unistd.h") as header:
            for line in header:
                words = line.split()
                if len(words) == 3 and words[0] == "#define" and words[1].startswith("__NR") and words[2].isdigit():
                    names[int(words[2])] = words[1].partition("_NR")[2].lstrip("3264_")
    except FileNotFoundError:
        pass			# then numbers are shown
    return names


class Symbols:
    def __init__(self, path, base):
        text = subprocess.run(["aarch64-linux-gnu-nm", "-n", path], stdout=subprocess.PIPE, check=False).stdout.decode()
        rows = [line.split() for line in text.splitlines()]
        found = [(int(row[0], 16), row[2]) for row in rows if len(row) == 3 and row[1] in "tTwWdDbBrR"]
        self.base = base
        self.starts = [start for start, _ in found]
        self.names = [name for _, name in found]

    def name(self, address):
        offset = address - self.base
        if not self.starts or not 0 <= offset < self.starts[-1] + 65536:
            return "kernel" if address >> 63 else "%#x" % address
        index = bisect.bisect(self.starts, offset) - 1
        return self.names[index] if index >= 0 else "%#x" % address


def show_calls(lines):
    events = []
    for line in lines:
        words = line.split()
        if words and words[0] == "CALL":
            events.append((int(words[1]), words[2], words[3:]))
        elif words and words[0] == "RETURN":
            events.append((int(words[1]), words[2], None))
    names = call_names()
    last = {}
    print("time of return, ns; duration, ns; call")
    for moment, thread, call in sorted(events, key=lambda event: event[0]):
        before = last.get(thread)
        if call is None and before and before[1]:
            number = int(before[1][0])
            print("%10d %9d  %s(%s)" % (moment, moment - before[0], names.get(number, number), ", ".join(before[1][1:])))
        elif call and before and not before[1] and moment - before[0] > GAP_NS:
            print("%10d %9d  . own code and page faults" % (moment, moment - before[0]))
        last[thread] = (moment, call)


def show_faults(lines, symbols):
    print("\npage faults: time, ns; by; at")
    for line in lines:
        if line.startswith("FAULT "):
            _, moment, _, ip, address = line.split()
            print("%10s  %s  %s %s" % (moment, symbols.name(int(ip, 16)), address, symbols.name(int(address, 16))))


def show_profile(lines, symbols):
    counts = collections.Counter(symbols.name(int(line.split()[3], 16)) for line in lines if line.startswith("AT "))
    total = sum(counts.values())
    print("\nown code by function, %d samples" % total)
    for name, count in counts.most_common(30):
        print("%5.1f %%  %s" % (100.0 * count / total, name))


def text_base(lines):
    """The meter tells where the program was mapped."""
    for line in lines:
        if line.startswith("BASE "):
            return int(line.split()[1], 16)
    return 0


def show(lines, debug):
    symbols = Symbols(debug, text_base(lines))
    show_calls(lines)
    show_faults(lines, symbols)
    show_profile(lines, symbols)
    for line in lines:
        if line.startswith('{"name":"list"'):
            print("\n%s" % json.loads(line))
