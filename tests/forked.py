"""Programs of Python, forked from a process in which torch and lliptools are loaded: that takes seconds of each.

A program is as python's command line has it: ("-m", "lliptools", ...) or (path, ...). It has one thread, as torchrun
gives each of its processes.
"""

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
SERVER = """
import json, os, runpy, signal, socket, sys
import torch, torch.distributed.nn
import lliptools.cli, lliptools.batchwise, lliptools.certificates.report, lliptools.training, lliptools.nets.zoo

def start(argv, out, environment):
    child = os.fork()
    if child:
        return child
    signal.alarm(600)
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(os.open(f"{out}.{number}", os.O_WRONLY | os.O_CREAT), number)
    module = argv[0] == "-m"
    sys.argv = argv[1:] if module else argv
    if module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()

for line in sys.stdin:
    programs, folder, as_team = json.loads(line)
    environments = [{} for _ in programs]
    if as_team:
        with socket.create_server(("localhost", 0)) as free:
            port = free.getsockname()[1]
        team = {"WORLD_SIZE": str(len(programs)), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        team["TORCHELASTIC_RUN_ID"] = "forked"
        environments = [{"RANK": str(k), "LOCAL_RANK": str(k), **team} for k in range(len(programs))]
    children = {start(argv, f"{folder}/{k}", environments[k]): k for k, argv in enumerate(programs)}
    codes = [0] * len(programs)
    while children:
        pid, status = os.wait()
        codes[children.pop(pid)] = code = os.waitstatus_to_exitcode(status)
        for other in children if code and as_team else ():  # as torchrun does
            os.kill(other, signal.SIGTERM)
    print(json.dumps(codes), flush=True)
"""


@cache
def _server():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVER]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    @atexit.register
    def stop():
        with server:
            server.stdin.close()

    return server


def beside(*programs, as_team=False):
    """Programs that run at the same time, and what each has said: CompletedProcess."""
    programs = [[*map(str, program)] for program in programs]
    with TemporaryDirectory() as folder:
        print(json.dumps([programs, folder, as_team]), file=_server().stdin, flush=True)
        codes = json.loads(_server().stdout.readline())
        out, err = ([Path(f"{folder}/{k}.{number}").read_text() for k in range(len(programs))] for number in (1, 2))
    return [subprocess.CompletedProcess(*each) for each in zip(programs, codes, out, err, strict=True)]


def alone(*program):
    """A program in one process."""
    return beside(program)[0]


def launched(*program, processes=2):
    """A program in several processes of torch.distributed on this machine, as torchrun starts them."""
    done = beside(*[program] * processes, as_team=True)
    code = next((each.returncode for each in done if each.returncode), 0)
    said = ["".join(getattr(each, name) for each in done) for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(program, code, *said)
