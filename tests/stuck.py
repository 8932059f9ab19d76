"""Stops one thread of a process, and no other, until standard input ends: stuck.py TID"""

import ctypes
import os
import sys

# Unlike PTRACE_ATTACH these send no SIGSTOP, which could stop the whole process when it is let go.
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000  # also threads that are no process

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, tid):
    if libc.ptrace(request, tid, None, None) != 0:
        sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")


tid = int(sys.argv[1])
ptrace(PTRACE_SEIZE, tid)
ptrace(PTRACE_INTERRUPT, tid)
os.waitpid(tid, WALL)
print("stopped", flush=True)
sys.stdin.read()
# The thread goes on when its tracer ends.
