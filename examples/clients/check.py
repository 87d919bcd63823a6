"""python3 check.py BINARY PORT README..

Runs every `$ command` of these READMEs against development clusters of its own, and compares what
it says, line by line, with what stands below it. Ports, folders and entry numbers are replaced.
"""

import json
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile

CODES = {"not verified": 3, "refused": 1}  # how a command ends that prints this at last


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
    return re.sub(r"entry [0-9]+", "entry N", line)


def check(readme, binary, port, folder):
    place = {"cluster/": f"{folder}/cluster/", "quorate fault": f"{binary} fault"}
    for replica in range(4):
        place[f":740{replica}"] = f":{port + replica}"
        place[f":750{replica}"] = f":{port + 100 + replica}"
    count = 0
    for command, expected in commands(readme):
        print(f"$ {command}", flush=True)
        for written, meant in place.items():
            command = command.replace(written, meant)
        if " fault " in command:
            command += f" --url http://127.0.0.1:{port + 100}"
        ran = subprocess.run(command, shell=True, capture_output=True, timeout=120, text=True)
        said = [*ran.stdout.splitlines(), *ran.stderr.splitlines()]
        print("\n".join(said), flush=True)
        if [same(line) for line in said] != [same(line) for line in expected]:
            sys.exit(f"{readme}: expected {expected}")
        last = expected[-1] if expected else ""
        code = next((code for words, code in CODES.items() if last.startswith(words)), 0)
        if ran.returncode != code:
            sys.exit(f"{readme}: the command ended with {ran.returncode}, not {code}")
        count += 1
    if count == 0:
        sys.exit(f"{readme} has no command")
    return count


def with_cluster(readme, binary, port):
    with tempfile.TemporaryDirectory() as folder:
        options = ["--dir", f"{folder}/cluster", "--port", str(port), "--output", "json"]
        environment = {**os.environ, "XDG_CONFIG_HOME": folder}
        cluster = subprocess.Popen(
            [binary, "dev", *options], stdout=subprocess.PIPE, env=environment, text=True
        )
        try:
            readable, _, _ = select.select([cluster.stdout], [], [], 60)
            if not readable or json.loads(cluster.stdout.readline())["event"] != "ready":
                sys.exit("the cluster is not ready within a minute")
            return check(readme, binary, port, folder)
        finally:
            cluster.terminate()
            cluster.wait(timeout=30)


def main():
    binary, port, *readmes = sys.argv[1:]
    binary = os.path.abspath(binary)
    os.chdir(pathlib.Path(__file__).resolve().parents[2])
    count = sum(with_cluster(pathlib.Path(readme), binary, int(port)) for readme in readmes)
    print(f"commands: {count}")


if __name__ == "__main__":
    main()
