"""python3 check.py BINARY PORT README..

Runs every `$ command` of these READMEs, each README in a shell of its own, and compares what a
command says, line by line, with what stands below it. A README that starts no cluster gets one.
What ends in `&` goes on, and has to say what stands below it, among other things. `quorate` is
BINARY. Ports, folders, and the numbers of entries and times are replaced; a multiple of ten is
PORT; that and 400 ports from there on have to be free.
"""

import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import time

CODES = {"not verified": 3, "refused": 1}  # how a command ends that prints this at last
CLUSTER = ("quorate dev --dir cluster &", ["ready: 4 replicas of kv under pbft"])
SOON = 120  # seconds
ABOUT_A_JOB = re.compile(r"\[[0-9]+\][-+ ]+(Terminated|Killed|Done|Exit)\b")  # the shell's word


def commands(readme):
    """The commands of a README, each with the lines below it."""
    found, fenced = [], False
    for line in readme.read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced and line.startswith("$ "):
            found.append((line[2:], []))
        elif fenced and found:
            found[-1][1].append(line)
    return found


def same(line):
    """A line without what differs from run to run."""
    return re.sub(r"[0-9.]+ ms\b", "N ms", re.sub(r"(entry|slot) [0-9]+", r"\1 N", line))


class Shell:
    """A shell for the commands of one README, with its jobs."""

    def __init__(self, binary, port, folder):
        self.folder = pathlib.Path(folder)
        self.count = 0
        fault = f"--url http://127.0.0.1:{port + 100}"
        # Ports stand in READMEs with a digit, `$i` or `{i}` at the end.
        self.places = {
            "cluster/": f"{folder}/cluster/",
            "--dir cluster": f"--dir {folder}/cluster --port {port}",
            "quorate fault set": f"quorate fault set {fault}",
            "quorate fault clear": f"quorate fault clear {fault}",
            **{f":{740 + 10 * i}": f":{port // 10 + 10 * i}" for i in range(2)},
            **{f"{before}900": f"{before}{port // 10 + 30}" for before in (":", "PORT=", "--port ")},
            ":8400": f":{port + 310}",
            "orders at 900": f"orders at {port // 10 + 30}",
            "baskets at 900": f"baskets at {port // 10 + 30}",
            "venv/": f"{folder}/venv/",
        }
        search = f"{pathlib.Path(binary).parent}:{os.environ['PATH']}"
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "XDG_CONFIG_HOME": folder, "PATH": search},
            text=True,
        )
        self.tell("set -m")  # so that each job is a group of processes, which ends as a whole

    def tell(self, command):
        print(command, file=self.bash.stdin, flush=True)

    def place(self, text):
        written = "|".join(map(re.escape, self.places))
        return re.sub(written, lambda found: self.places[found[0]], text)

    def run(self, command, expected):
        """Runs it; what it said, and how it ended."""
        self.count += 1
        out, err = (self.folder / f"{self.count}.{name}" for name in ("out", "err"))
        self.tell(f"{{ {self.place(command)}\n}} < /dev/null > {out} 2> {err}; echo $?")
        until = time.monotonic() + SOON
        readable, _, _ = select.select([self.bash.stdout], [], [], SOON)
        if not readable:
            sys.exit(f"not done within {SOON} s: {command}")
        code = int(self.bash.stdout.readline())
        while True:
            said = [*out.read_text().splitlines(), *err.read_text().splitlines()]
            said = [line for line in said if not ABOUT_A_JOB.match(line)]
            if not goes_on(command) or not missing(said, expected) or time.monotonic() > until:
                return said, code
            time.sleep(0.05)

    def close(self):
        self.tell("for job in $(jobs -p); do kill -- -$job; done 2> /dev/null; wait; exit")
        try:
            self.bash.wait(timeout=30)
        finally:
            self.bash.kill()


def goes_on(command):
    return re.search(r"&($| done$)", command) is not None


def missing(said, expected):
    return {same(line) for line in expected} - {same(line) for line in said}


def check(readme, shell):
    found = commands(readme)
    if not found:
        sys.exit(f"{readme} has no command")
    if not any(command.startswith("quorate dev ") for command, _ in found):
        found.insert(0, CLUSTER)
    for command, expected in found:
        print(f"$ {command}", flush=True)
        expected = [shell.place(line) for line in expected]
        said, code = shell.run(command, expected)
        print("\n".join(said), flush=True)
        if goes_on(command):
            right = not missing(said, expected)
        else:
            right = [same(line) for line in said] == [same(line) for line in expected]
        if not right:
            sys.exit(f"{readme}: expected {expected}")
        last = expected[-1] if expected else ""
        right = next((code for words, code in CODES.items() if last.startswith(words)), 0)
        if code != right:
            sys.exit(f"{readme}: the command ended with {code}, not {right}")
    return len(commands(readme))


def in_a_shell(readme, binary, port):
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(binary, port, folder)
        try:
            return check(readme, shell)
        finally:
            shell.close()


def main():
    binary, port, *readmes = sys.argv[1:]
    binary = os.path.abspath(binary)
    os.chdir(pathlib.Path(__file__).resolve().parents[1])
    count = sum(in_a_shell(pathlib.Path(readme), binary, int(port)) for readme in readmes)
    print(f"commands: {count}")


if __name__ == "__main__":
    main()
